"""From files to potentials where the truth is known, and published cases.

Any implementation must reproduce them."""

import numpy as np
import pytest

from lunar_potential.data.archive import Archive
from lunar_potential.data.er.counts import count_factor
from lunar_potential.data.er.erdata import ERData
from lunar_potential.physics.losscone.cells import make_cells
from lunar_potential.physics.losscone.fitter import METHODS, LossConeFitter
from lunar_potential.physics.losscone.search import U_BOUNDS
from lunar_potential.pipeline import load_all_data, process_lp_file, process_merged_data
from lunar_potential.stages import moonward_field
from lunar_potential.synthetic.instrument import (
    THETA,
    SimulationOptions,
    energy_table,
    log_compress,
    response_height,
    response_sigma,
)
from lunar_potential.synthetic.simulate import simulate_archive
from lunar_potential.synthetic.sweeps import Truth, simulate_sweeps
from lunar_potential.units import Flag

DATES = ("1998-04-03", "1998-04-11")  # solar wind and wake; lobes and plasma sheet
CELLS = make_cells(THETA, count_factor(THETA))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    "An archive of two plain days of 80 sweeps each, its truth, and the results."
    root = tmp_path_factory.mktemp("expectations")
    truth = simulate_archive(
        root,
        dates=DATES,
        sweeps_per_day=80,
        cadence=1070,
        seed=21,
        scenario="plain",
    )
    archive = Archive(root)
    return (
        archive,
        truth,
        [process_lp_file(path, archive=archive) for path in archive.files()],
    )


@pytest.fixture(scope="module")
def spec(simulated):
    "Sweep arrays of both days, in the order of the truth."
    return {
        name: np.concatenate([one.spec[name] for one in simulated[2]])
        for name in simulated[2][0].spec
    }


def angle_between(lat, lon, other_lat, other_lon):
    "Degrees along the great circle."
    unit = [
        np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)])
        for a, b in (np.radians((lat, lon)), np.radians((other_lat, other_lon)))
    ]
    return np.degrees(2 * np.arcsin(np.linalg.norm(unit[0] - unit[1], axis=0) / 2))


# --- from files to potentials


def test_every_sweep_and_every_row_is_accounted_for(simulated):
    _, truth, results = simulated
    for day, one in enumerate(results):
        mine = truth.select(truth.day == day)
        np.testing.assert_array_equal(one.spec["file_spec_no"], mine.spec_no)
        np.testing.assert_array_equal(one.spec["time_start"], mine.time)
        assert (
            one.spec["row_count"].tolist() == [15] * 80
            and len(one.rows["utc"]) == 15 * 80
            and len(one.rejected) == 0
        )


def test_a_fit_is_there_if_and_only_if_the_potential_is_a_number(spec):
    np.testing.assert_array_equal(spec["has_fit"], np.isfinite(spec["u_surface"]))
    np.testing.assert_array_equal(
        np.isfinite(spec["u_surface"]) | np.isfinite(spec["u_surface_relative"]),
        np.isfinite(spec["bs_over_bm"]),
    )
    assert (spec["flags"][~spec["has_fit"]] != 0).all()


def test_place_connection_and_sunlight_are_the_true_ones(simulated, spec):
    truth = simulated[1]
    np.testing.assert_array_equal(spec["polarity"], truth.polarity)
    near = angle_between(
        spec["projection_latitude"],
        spec["projection_longitude"],
        truth.foot_lat,
        truth.foot_lon,
    )
    assert np.nanmax(near) < 0.05 and (np.isfinite(near) == truth.connected).all()
    assert ((spec["spacecraft_in_sun"] == 1) == truth.sc_sun).mean() > 0.98
    assert ((spec["projection_in_sun"] == 1) == truth.foot_sun)[
        truth.connected
    ].mean() > 0.98
    assert (spec["projection_in_sun"][~truth.connected] == -1).all()


def test_spacecraft_potential_within_a_volt_in_sunlight_and_three_in_shade(
    simulated, spec
):
    truth = simulated[1]
    off = np.abs(spec["u_spacecraft"] - truth.u_sc)
    ordinary = (truth.u_sc > -60) & (truth.u_sc < 5)
    assert truth.sc_sun.sum() > 60 and (~truth.sc_sun & ordinary).sum() > 30
    assert np.isfinite(off).mean() > 0.98
    assert (
        np.nanmedian(off[truth.sc_sun]) < 1
        and np.nanmedian(off[~truth.sc_sun & ordinary]) < 3
    )
    assert np.nanquantile(off, 0.9) < 5


def test_signs_of_the_spacecraft_potential(simulated, spec):
    truth, u = simulated[1], spec["u_spacecraft"]
    assert (u[truth.sc_sun & np.isfinite(u)] > -0.51).all()
    cold_shade = ~truth.sc_sun & (truth.T < 60)
    assert cold_shade.sum() > 5 and (u[cold_shade] < 0).mean() > 0.9


def test_surface_potential_within_six_volts_and_rarely_far_off(simulated, spec):
    truth = simulated[1]
    fitted = truth.connected & spec["has_fit"]
    assert fitted.sum() > 0.95 * truth.connected.sum() > 80
    off = np.abs(spec["u_surface"] - truth.u_lowest)[fitted]
    assert np.median(off) < 6 and np.quantile(off, 0.95) < 60


def test_nothing_piles_up(simulated, spec):
    truth = simulated[1]
    values = spec["has_fit"] & (spec["set_kind"] != "lower limit")
    u = spec["u_surface"][truth.connected & values]
    assert len(np.unique(u.round(4))) == len(u) > 40
    assert (u > U_BOUNDS[0] + 1).all() and (u < U_BOUNDS[1] - 1).all()
    assert ((spec["flags"][truth.connected] & Flag.AT_BOUND) != 0).mean() < 0.02


def test_sets_hold_the_truth(simulated, spec):
    truth = simulated[1]
    fitted = truth.connected & spec["has_fit"]
    for level, least in (("95", 0.85), ("68", 0.55)):
        inside = (spec[f"u_surface_lower_{level}"] <= truth.u_lowest) & (
            truth.u_lowest <= spec[f"u_surface_upper_{level}"]
        )
        assert inside[fitted].mean() > least


def test_plasma_and_field_ratio_are_the_true_ones(simulated, spec):
    truth = simulated[1]
    assert np.nanmedian(np.abs(spec["electron_temperature"] / truth.T - 1)) < 0.03
    assert np.nanmedian(np.abs(spec["electron_density"] / truth.n - 1)) < 0.05
    assert np.nanmedian(np.abs(spec["kappa"] - truth.kappa)) < 0.2
    fitted = truth.connected & spec["has_fit"]
    assert np.median(np.abs(spec["bs_over_bm"] - truth.bs_over_bm)[fitted]) < 0.02


def test_a_file_alone_and_all_together_give_the_same_numbers(simulated, spec):
    archive = simulated[0]
    together = process_merged_data(
        load_all_data(archive.files(), archive.theta), archive=archive
    )
    for name in spec.keys() - {"spec_no", "file_index"}:
        np.testing.assert_array_equal(together.spec[name], spec[name], err_msg=name)
    assert len(np.unique(together.spec["spec_no"])) == 160


def test_no_files_are_no_sweeps(simulated):
    archive = simulated[0]
    er = load_all_data([], archive.theta)
    assert er.n_sweeps == 0 and er.ds.sizes["row"] == 0


def test_missing_lines_in_a_long_file_move_the_other_sweeps_within_their_errors(
    tmp_path,
):
    simulate_archive(
        tmp_path,
        dates=("1998-04-03",),
        sweeps_per_day=205,
        cadence=400,
        seed=3,
        scenario="plain",
    )
    archive = Archive(tmp_path)
    path = archive.files()[0]
    before = process_lp_file(path, archive=archive)
    lines = path.read_bytes().splitlines(keepends=True)
    gone = 15 * np.arange(5, 205, 25) + 10
    path.write_bytes(b"".join(line for k, line in enumerate(lines) if k not in gone))
    after = process_lp_file(path, archive=archive)
    untouched = ~np.isin(np.arange(205), gone // 15)
    assert (after.spec["row_count"][~untouched] == 14).all()
    one, other = (
        {name: found.spec[name][untouched] for name in found.spec}
        for found in (before, after)
    )
    np.testing.assert_array_equal(one["has_fit"], other["has_fit"])
    moved = np.abs(one["u_spacecraft"] - other["u_spacecraft"])
    assert (
        np.nanmax(moved / (one["u_spacecraft_error"] + 0.1)) < 1.5
        and np.nanmedian(moved) < 0.05
    )
    assert np.nanmedian(np.abs(one["u_surface"] - other["u_surface"])) < 0.2


# --- published cases


def measured(truth, noise, seed=0):
    return simulate_sweeps(
        truth,
        SimulationOptions(gain_error=0.0, background=0.0, flag_rate=0.0),
        noise=noise,
        seed=seed,
    )


def fitted(truth, sweeps, method="likelihood"):
    arrays = (
        sweeps.energy,
        sweeps.flux,
        sweeps.phi,
        CELLS,
        moonward_field(truth.b, truth.polarity),
    )
    return LossConeFitter(method).fit(*arrays, truth.u_sc)


def directions(size, seed=0):
    v = np.random.default_rng(seed).normal(size=(size, 3))
    return 8 * v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.mark.parametrize("method", METHODS)
def test_the_spectrum_of_29_april_1999_whatever_the_method(method):
    truth = Truth.of(
        8,
        n=2e5,
        T=150.0,
        kappa=4.0,
        u_sc=11.0,
        u_surface=-160.0,
        bs_over_bm=0.975,
        b=directions(8),
    )
    found = fitted(truth, measured(truth, noise=False), method)
    assert (
        np.abs(found.u_surface + 160).max() < 8
        and np.abs(found.bs_over_bm - 0.975).max() < 0.03
    )


def test_eight_draws_at_minus_seventy_volts():
    truth = Truth.of(8, u_surface=-70.0, bs_over_bm=0.7, b=directions(8, 3))
    off = np.abs(fitted(truth, measured(truth, noise=True)).u_surface + 70)
    assert off.mean() < 5 and off.max() < 15


def test_fits_are_deterministic():
    truth = Truth.of(4, u_surface=-70.0, b=directions(4))
    sweeps = measured(truth, noise=True)
    for method in METHODS:
        np.testing.assert_array_equal(
            fitted(truth, sweeps, method).u_surface,
            fitted(truth, sweeps, method).u_surface,
        )


# --- the instrument


@pytest.mark.parametrize(
    "code, counts",
    [
        (0x00, 0),
        (0x01, 1),
        (0x0F, 15),
        (0x10, 16),
        (0x1F, 31),
        (0x20, 32),
        (0xA0, 8192),
        (0xFF, 507904),
    ],
)
def test_counts_of_the_telemetry_code(code, counts):
    exponent, mantissa = code >> 4, code & 15
    assert counts == (mantissa if exponent == 0 else (16 + mantissa) << (exponent - 1))
    assert log_compress(counts) == counts
    step = 1 << max(exponent - 1, 0)
    assert log_compress(counts + step - 1) == counts < log_compress(counts + step)


@pytest.mark.parametrize("width", [0.3, 0.5, 1.0])
def test_the_simulated_response_is_as_wide_as_it_says(width):
    options = SimulationOptions(response_fwhm=width)
    assert response_sigma(options) == pytest.approx(
        np.arcsinh(width / 2) / np.sqrt(2 * np.log(2)), rel=1e-12
    )
    axis = np.geomspace(0.2, 5, 400_001)
    above = axis[response_height(axis, options) >= 0.5]
    assert above[-1] - above[0] == pytest.approx(width, rel=1e-3)


def test_each_channel_sees_most_of_its_own_energy():
    energy = energy_table()
    response = response_height(energy / energy[:, None], SimulationOptions())
    rows = response / response.sum(axis=1, keepdims=True)
    assert (
        np.allclose(rows.sum(axis=1), 1, atol=1e-12)
        and (rows.argmax(axis=1) == np.arange(15)).all()
    )


@pytest.mark.parametrize(
    "field, found",
    [
        ((np.nan, 1.0, 2.0), False),
        ((0.0, 0.0, 1e-10), False),
        ((1200.0, 0.0, 0.0), False),
        ((3.0, -1.0, 2.0), True),
    ],
)
def test_an_impossible_field_costs_the_sweep_its_fit_and_nothing_else(
    simulated, field, found
):
    archive, truth, _ = simulated
    first = load_all_data(archive.files()[:1], archive.theta).select(
        np.flatnonzero(truth.connected[:80])[:2]
    )
    frame = first.to_frame()
    bad = frame["spec_no"] == frame["spec_no"].iloc[0]
    frame.loc[bad, ["bx", "by", "bz"]] = field
    one = process_merged_data(
        ERData.from_dataframe(frame, first.theta), archive=archive
    )
    whole = process_merged_data(first, archive=archive)
    assert bool(one.spec["flags"][0] & Flag.NO_MAGNETIC_FIELD) != found
    if not found:
        assert np.isnan(one.spec["u_surface"][0]) and one.spec["polarity"][0] == 0
    assert one.spec["u_surface"][1] == whole.spec["u_surface"][1] and one.n_sweeps == 2
