"A simulated archive: reproducible, in the layout of the archive, with known truth."

import datetime

import numpy as np
import pytest

from lunar_potential.data.archive import Archive
from lunar_potential.data.er.counts import count_factor
from lunar_potential.data.er.erdata import ERData
from lunar_potential.data.er.table import read_theta
from lunar_potential.physics.attitude import read_attitude
from lunar_potential.physics.geometry import compute_geometry
from lunar_potential.synthetic.instrument import (
    COUNT_FACTOR,
    THETA,
    SimulationOptions,
    log_compress,
)
from lunar_potential.synthetic.scenario import REGIMES
from lunar_potential.synthetic.simulate import day_path, load_truth, simulate_archive
from lunar_potential.synthetic.sweeps import Truth, recorded_fields, simulate_sweeps
from lunar_potential.synthetic.truth import row_light

SMALL = dict(sweeps_per_day=12, cadence=7200.0)


def contents(root):
    return {
        path.relative_to(root): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("a simulated archive") / "lp"
    truth = simulate_archive(
        root,
        dates=("1998-04-01", "1998-04-11"),
        sweeps_per_day=288,
        cadence=300.0,
        seed=11,
    )
    return root, truth


def test_same_seed_same_bytes_in_one_process_or_two(tmp_path):
    dates = ("1998-04-01", "1998-04-02")
    simulate_archive(tmp_path / "one", dates=dates, **SMALL)
    simulate_archive(tmp_path / "two", dates=dates, n_jobs=2, **SMALL)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_other_seed_other_data_same_layout(tmp_path):
    for seed in (1, 2):
        simulate_archive(tmp_path / str(seed), seed=seed, **SMALL)
    first, second = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert first.keys() == second.keys()
    table = day_path("", datetime.date(1998, 4, 1))
    assert first[table] != second[table] and len(first[table]) == len(second[table])


def test_a_day_does_not_depend_on_the_number_of_days(tmp_path):
    both = simulate_archive(
        tmp_path / "both", dates=("1998-04-01", "1998-04-02"), **SMALL
    )
    one = simulate_archive(tmp_path / "one", **SMALL)
    assert np.array_equal(both.select(both.day == 0).u_sc, one.u_sc)


def test_layout(archive):
    root, truth = archive
    Archive(root).check()
    tables = Archive(root).files()
    assert [t.name for t in tables] == ["3D980401.TAB", "3D980411.TAB"]
    raw = tables[0].read_bytes()
    assert len(raw) == 288 * 15 * 1580 and raw[1578:1580] == b"\r\n"
    assert (root / "theta.tab").read_bytes().count(b"\n") == 1
    lines = (root / "attitude.tab").read_bytes().splitlines(keepends=True)
    assert {len(line) for line in lines} == {42}


def test_truth_is_stored_whole(archive):
    root, truth = archive
    stored = load_truth(root / "truth.npz")
    for name, values in vars(truth).items():
        assert np.array_equal(
            values, getattr(stored, name), equal_nan=values.dtype.kind == "f"
        )
    sample_keys = (
        "time spec_no u_surface u_sc bs_over_bm beam_amp n T kappa polarity connected "
        "foot_lat foot_lon sc_lat sc_lon sc_sun foot_sun regime"
    )
    assert set(sample_keys.split()) <= set(vars(stored))


def test_reader_sees_every_sweep_and_every_flag(archive):
    root, truth = archive
    er = ERData.from_files(Archive(root).files(), Archive(root).theta)
    assert er.n_sweeps == len(truth) and (er.sweep_len == 15).all()
    assert np.array_equal(er.ds.time.values[er.sweep_start], truth.time)
    recorded = recorded_fields(truth).reshape(-1, 3)
    assert np.allclose(er.ds.b.values, recorded, rtol=0, atol=1e-9)
    masked = np.isnan(er.ds.flux.values) | np.isnan(er.ds.phi.values)
    assert abs(masked.mean() / 0.002 - 1) < 0.1
    assert np.array_equal(read_theta(Archive(root).theta), THETA)


def test_fluxes_are_codes_of_whole_counts(archive):
    root, truth = archive
    assert np.allclose(count_factor(THETA), COUNT_FACTOR)
    er = ERData.from_files(Archive(root).files()[:1], Archive(root).theta)
    counts = er.counts[np.isfinite(er.counts)]
    small = counts[counts < 32]
    assert np.abs(small - np.rint(small)).max() < 0.02
    whole = np.rint(counts[(counts >= 32) & (counts < 512)]).astype(int)
    assert np.abs(log_compress(whole) - whole).max() <= 1


def test_geometry_page_agrees_with_the_formulas(archive):
    root, truth = archive
    attitude = read_attitude(Archive(root).attitude)
    found = compute_geometry(
        truth.time, truth.b, attitude, kernels=Archive(root).kernels
    )
    assert (found.polarity == truth.polarity).mean() > 0.998
    both = truth.connected & (found.polarity != 0)
    apart = np.hypot(
        found.foot_lat - truth.foot_lat,
        (found.foot_lon - truth.foot_lon) * np.cos(np.radians(truth.foot_lat)),
    )[both]
    assert np.quantile(np.abs(apart), 0.98) < 0.01
    assert np.abs(found.lat - truth.sc_lat).max() < 1e-3
    assert ((found.sc_sun == 1) == truth.sc_sun).mean() > 0.995
    assert ((found.foot_sun == 1) == truth.foot_sun).mean() > 0.995


def test_light_changes_in_the_row_of_the_geometry_page(archive):
    "To one row of 5 s: the Sun has a disc there and is a point here."
    root, truth = archive
    changing = truth.select(truth.light_change < 15)
    assert len(changing) > 4 and set(truth.scenario) == {"ordinary"}
    times = changing.time[:, None] + 5 * np.arange(15)
    found = compute_geometry(
        times.ravel(),
        np.repeat(changing.b, 15, axis=0),
        read_attitude(Archive(root).attitude),
        kernels=Archive(root).kernels,
    )
    lit = (found.sc_sun == 1).reshape(times.shape)
    assert ((lit == row_light(changing)).sum(axis=1) >= 14).all()


def test_seven_ev_mode_and_missing_rows(tmp_path):
    simulate_archive(tmp_path, energy_min=7.2, missing_rows=0.1, **SMALL)
    table = Archive(tmp_path).files()[0].read_text().splitlines()
    assert 0.8 * 180 < len(table) < 180
    assert min(float(line.split()[2]) for line in table) == 7.2


@pytest.mark.parametrize("regime", ["magnetosheath", "tail", "plasma_sheet"])
def test_regime_can_be_chosen(tmp_path, regime):
    truth = simulate_archive(tmp_path, regime=regime, **SMALL)
    allowed = {
        "tail": {"lobe", "plasma_sheet"},
        "magnetosheath": {"magnetosheath", "wake"},
    }.get(regime, {regime})
    assert set(truth.regime) <= allowed <= set(REGIMES)


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="regime"):
        simulate_archive(tmp_path / "a", regime="ionosphere", **SMALL)
    with pytest.raises(ValueError, match="fit into"):
        simulate_archive(tmp_path / "b", sweeps_per_day=1081)
    with pytest.raises(TypeError, match="gain_errors"):
        simulate_archive(tmp_path / "c", gain_errors=0.1)
    with pytest.raises(ValueError, match="response_shape"):
        simulate_sweeps(Truth.of(1), SimulationOptions(response_shape="box"))


def test_an_archive_that_is_not_simulated_is_left_alone(tmp_path):
    path = day_path(tmp_path, datetime.date(1998, 4, 1))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"measured")
    with pytest.raises(FileExistsError, match="simulator did not make it"):
        simulate_archive(tmp_path, **SMALL)
    assert path.read_bytes() == b"measured"
