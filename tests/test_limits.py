"""What the numbers are: lowest potentials, limits where 0 is inside, never relative."""

import dataclasses

import numpy as np
import pytest
from simulated_days import same_results

from lunar_potential import stages
from lunar_potential.config import FIT_METHODS, Config
from lunar_potential.physics.losscone.jointfit import _as_record
from lunar_potential.physics.losscone.profile import JOINT_COLUMNS
from lunar_potential.pipeline import process_merged_data
from lunar_potential.potentials import limited_percentiles
from lunar_potential.quality.study.injection import fit_measured
from lunar_potential.results import (
    merge_files,
    read_meta,
    read_results,
    verify_results,
    write_results,
)
from lunar_potential.schema import ADDED
from lunar_potential.stages import in_one_light
from lunar_potential.synthetic.draws import draw_sweeps
from lunar_potential.synthetic.scenario import SCENARIOS
from lunar_potential.synthetic.sweeps import simulate_sweeps
from lunar_potential.units import Flag
from lunar_potential.view.globe.footpoints import UNTRUSTED, lower_limits, sweep_table

ENDS = [f"u_surface_{end}_{level}" for level in (95, 68) for end in ("lower", "upper")]
NEW = [key.removeprefix("spec_") for key in ADDED]
RELATIVE = [name for name in NEW if name.startswith("u_surface_relative")]


def carries(spec, flag):
    return (spec["flags"].astype(int) & int(flag)) != 0


def test_the_joint_fit_with_both_errors_is_the_default():
    assert Config().fit_method == "joint" and Config().constants_error


# ---- limits


def check_limits(spec):
    u, (lower, upper) = spec["u_surface"], (spec[end] for end in ENDS[:2])
    assert not (u > 0).any() and not (lower > 0).any()
    for end in ENDS[1::2]:
        assert not ((spec[end] >= 0) & np.isfinite(spec[end])).any()
    limit = np.isfinite(lower) & np.isposinf(upper)
    np.testing.assert_array_equal(spec["set_kind"] == "lower limit", limit)
    np.testing.assert_array_equal(carries(spec, Flag.LOWER_LIMIT), limit)
    known = np.isfinite(u) & ~np.isnan(lower)
    assert (lower[known] <= u[known]).all() and (u[known] <= upper[known]).all()
    return limit & known


@pytest.mark.parametrize("method", ["joint", "likelihood"])
def test_a_set_that_reaches_zero_is_a_lower_limit(er, archive, method):
    config = Config(fit_method=method)
    found = process_merged_data(er, archive=archive, config=config)
    limits = check_limits(found.spec)
    sunlit = found.spec["projection_in_sun"] == 1
    assert limits[sunlit].sum() > 5 > 0 < (~limits & found.spec["has_fit"]).sum()
    assert not (found.rows["projected_potential"] > 0).any()


@pytest.mark.parametrize("method", FIT_METHODS)
def test_positive_ground_is_no_positive_answer(method):
    truth = draw_sweeps("positive ground", 40, seed=2)
    sweeps = simulate_sweeps(truth, SCENARIOS["positive ground"].instrument, seed=2)
    spec, _ = fit_measured(sweeps, truth, Config(fit_method=method))
    lit = truth.connected & (truth.u_surface > 20) & np.isfinite(spec["u_surface"])
    assert lit.sum() > 5 and not (spec["u_surface"] > 0).any()
    if method in ("joint", "likelihood"):
        assert np.isposinf(spec["u_surface_upper_95"][lit]).mean() > 0.8


# ---- relative to the spacecraft


@pytest.mark.parametrize("method", ["joint", "likelihood", "halekas"])
def test_a_relative_number_never_stands_under_u_surface(
    er, archive, monkeypatch, method
):
    real = stages.spacecraft_stage

    def unknown(*args, **arrays):
        found = real(*args, **arrays)
        return {**found, "u_spacecraft": np.full_like(found["u_spacecraft"], np.nan)}

    monkeypatch.setattr(stages, "spacecraft_stage", unknown)
    config = Config(fit_method=method)
    found = process_merged_data(
        er.select(np.arange(40)), archive=archive, config=config
    )
    spec, connected = found.spec, found.spec["polarity"] != 0
    assert carries(spec, Flag.RELATIVE_TO_SPACECRAFT)[connected].all()
    assert not spec["has_fit"].any() and not spec["identified"].any()
    for name in ("u_surface", *ENDS):
        assert np.isnan(spec[name][connected]).all(), name
    for name in ("projected_potential", *ENDS):
        assert np.isnan(found.rows[name]).all(), name
    assert set(spec["set_kind"][connected]) == {"none"}
    assert not carries(spec, Flag.LOWER_LIMIT | Flag.BARRIER_OR_NEGATIVE).any()
    u, lower, upper = (spec[name][connected] for name in RELATIVE)
    known = np.isfinite(u)
    assert known.mean() > 0.8
    if method != "halekas":
        assert (lower[known] <= u[known]).all() and (u[known] <= upper[known]).all()


def test_with_a_spacecraft_potential_there_is_no_relative_number(results):
    known = np.isfinite(results.spec["u_spacecraft"])
    for name in RELATIVE:
        assert np.isnan(results.spec[name][known]).all()
    assert np.isfinite(results.spec["u_surface"][known]).any()


# ---- barriers and light


def test_barrier_or_negative_is_said_of_sunlit_ground_only(results):
    spec = results.spec
    low = (spec["projection_in_sun"] == 1) & (spec["u_surface"] < -10)
    np.testing.assert_array_equal(carries(spec, Flag.BARRIER_OR_NEGATIVE), low)
    shade = (spec["projection_in_sun"] == 0) & (spec["u_surface"] < -10)
    assert shade.any() and not carries(spec, Flag.BARRIER_OR_NEGATIVE)[shade].any()


def test_light_that_changes_within_the_sweep_makes_an_answer_untrusted():
    truth = draw_sweeps("shadow crossing", 60, seed=3)
    sweeps = simulate_sweeps(truth, SCENARIOS["shadow crossing"].instrument, seed=3)
    for config in (Config(), Config(u_spacecraft=5.0)):
        spec, _ = fit_measured(sweeps, truth, config)
        changes = truth.light_change < 15
        assert changes.sum() > 5
        np.testing.assert_array_equal(carries(spec, Flag.PARTLY_LIT), changes)


def test_information_hides_no_answer():
    assert UNTRUSTED & Flag.PARTLY_LIT and UNTRUSTED & Flag.RELATIVE_TO_SPACECRAFT
    assert not UNTRUSTED & (Flag.LOWER_LIMIT | Flag.BARRIER_OR_NEGATIVE)


# ---- error of the spacecraft's potential


def test_the_error_of_the_constants_widens_the_sets(er, archive, results):
    config = Config(constants_error=False)
    own = process_merged_data(er, archive=archive, config=config)
    assert (own.spec["u_spacecraft_constants_error"][own.spec["has_fit"]] > 0).any()
    np.testing.assert_array_equal(own.spec["u_surface"], results.spec["u_surface"])
    both = np.isfinite(own.spec["u_surface"])
    for name in ENDS:
        narrow, wide = own.spec[name][both], results.spec[name][both]
        assert (wide >= narrow if "upper" in name else wide <= narrow).all()
    error = results.spec["u_spacecraft_constants_error"]
    far = both & (error > 10) & (results.spec["u_surface"] < -30)
    moved = own.spec[ENDS[0]] - results.spec[ENDS[0]]
    assert far.sum() > 3 and (moved[far] > 1).all()


def raw_columns(**values):
    "Raw columns of the joint fit of one good sweep, some of them changed."
    good = dict(n_channels=9, u=-20, bs_over_bm=0.5, backscatter=0.1, beam_amp=0)
    good |= dict(misfit=100, gain=1e4, n_cells=130, shift=0.4, incident=1, upgoing=1)
    good |= dict(gyrophase=1, edge=1)
    good |= dict(lower_95=-28, upper_95=-13, lower_68=-24, upper_68=-17)
    good |= values
    return np.array([[float(good[name]) for name in JOINT_COLUMNS]])


def record(error, **values):
    no = np.zeros(1, bool)
    return _as_record(raw_columns(**values), np.array([error]), no, True)


def test_the_error_of_the_spacecraft_opens_sets():
    exact = record(0.0)
    assert exact.set_kind[0] == "two-sided" and exact.identified[0]
    five = record(5.0)
    assert five.u_surface_lower_95[0] < exact.u_surface_lower_95[0] - 0.5
    assert exact.u_surface_upper_95[0] < five.u_surface_upper_95[0] < 0
    wide = record(30.0)
    assert wide.set_kind[0] == "lower limit" and wide.u_surface[0] == -20
    assert np.isposinf(wide.u_surface_upper_95[0])
    assert wide.flags[0] == int(Flag.LOWER_LIMIT)


def test_an_unknown_influence_of_the_spacecraft_bounds_nothing():
    lost = record(5.0, shift=np.nan)
    assert lost.set_kind[0] == "whole domain" and np.isnan(lost.u_surface[0])
    assert lost.flags[0] & int(Flag.NOT_IDENTIFIED)
    assert record(0.0, shift=np.nan).set_kind[0] == "two-sided"


def test_near_zero_the_spacecraft_moves_the_lower_end_all_the_same():
    near = dict(u=-0.1, shift=0.001, lower_95=-30, lower_68=-14, upper_95=np.inf)
    near |= dict(upper_68=np.inf)
    exact, moved = record(0.0, **near), record(20.0, **near)
    assert moved.u_surface_lower_95[0] < exact.u_surface_lower_95[0] - 2


def test_nothing_fitted_has_no_ends():
    few = record(5.0, n_channels=1, u=np.nan, lower_95=np.nan, upper_95=np.nan)
    assert few.set_kind[0] == "none"
    assert np.isnan([few.u_surface_lower_95[0], few.u_surface_upper_95[0]]).all()


# ---- files of version 2


def old_file(results, path):
    "The results as version 2 would have held them: some relative, one positive."
    spec = {name: values.copy() for name, values in results.spec.items()}
    some = np.flatnonzero(spec["has_fit"])
    relative, positive = some[:4], some[4]
    spec["flags"] = spec["flags"] & ~np.uint32(
        Flag.LOWER_LIMIT | Flag.BARRIER_OR_NEGATIVE
    )
    spec["flags"][relative] |= np.uint32(Flag.RELATIVE_TO_SPACECRAFT)
    spec["u_surface"][positive] = 7.0
    spec["u_surface_lower_95"][positive], spec["u_surface_upper_95"][positive] = 2, 12
    spec["set_kind"][positive] = "two-sided"
    count = spec["row_count"]
    rows = {name: values.copy() for name, values in results.rows.items()}
    for name in rows.keys() & spec.keys() & {*ENDS, "set_kind", "identified"}:
        rows[name] = np.repeat(spec[name], count)
    rows["projected_potential"] = np.repeat(spec["u_surface"], count)
    whole = write_results(dataclasses.replace(results, rows=rows, spec=spec), path)
    with np.load(whole) as data:
        old = {key: data[key] for key in data if key not in ADDED}
    del old["meta_content_sha256"]
    np.savez(path, **old | {"meta_schema_version": 2})
    return spec, relative, positive


def test_files_of_version_2_are_read_with_the_meaning_of_today(results, tmp_path):
    path = tmp_path / "3D980120.npz"
    old, relative, positive = old_file(results, path)
    assert read_meta(path)["schema_version"] == 2
    back = read_results(path)
    assert back.spec.keys() == results.spec.keys()
    spec, same = back.spec, np.ones(back.n_sweeps, bool)
    same[[*relative, positive]] = False
    for name, values in results.spec.items():
        if name in NEW and name not in RELATIVE:
            assert np.isnan(spec[name]).all()  # version 2 did not judge
            continue
        np.testing.assert_array_equal(spec[name][same], values[same], err_msg=name)
    np.testing.assert_array_equal(
        spec["u_surface_relative"][relative], old["u_surface"][relative]
    )
    assert np.isnan(spec["u_surface"][relative]).all()
    assert not spec["has_fit"][relative].any()
    assert spec["u_surface"][positive] == 0 == spec["u_surface_lower_95"][positive]
    assert spec["set_kind"][positive] == "lower limit"
    assert carries(spec, Flag.LOWER_LIMIT)[positive]
    repeated = np.repeat(spec["u_surface"], spec["row_count"])
    np.testing.assert_array_equal(back.rows["projected_potential"], repeated)
    merged = merge_files([path], tmp_path / "merged.npz")
    assert read_meta(merged)["schema_version"] == 3
    verify_results(merged)
    same_results(read_results(merged), back)


# ---- statistics


def test_a_median_of_limits_is_a_limit():
    u = np.array([-80.0, -50.0, -9.0, -4.0, -1.0])
    lower, upper = u - 5, np.array([-70.0, -45.0, np.inf, np.inf, np.inf])
    least, most = limited_percentiles(u, lower, upper, (0, 25, 50, 100))
    np.testing.assert_array_equal(least, [-80, -50, -14, -6])
    np.testing.assert_array_equal(most, [-80, -50, 0, 0])
    open_below = np.array([-np.inf, *lower[1:]])
    least, most = limited_percentiles(u, open_below, upper, (0, 25))
    np.testing.assert_array_equal(least, [-np.inf, -50])
    np.testing.assert_array_equal(most, [-70, -50])


@pytest.mark.parametrize("seed", range(5))
def test_the_true_percentile_lies_between(seed):
    rng = np.random.default_rng(seed)
    truth = np.minimum(rng.normal(-15, 25, 101), 0)
    lower = truth - rng.uniform(0, 20, 101)
    limited = truth > -20
    value = np.where(limited, rng.uniform(lower, 0), truth)
    upper = np.where(limited, np.inf, truth)
    for q in (5, 25, 50, 75, 95):
        least, most = limited_percentiles(value, lower, upper, (q,))
        assert least[0] <= np.percentile(truth, q) <= most[0]
    sharp, same = limited_percentiles(truth, percent=(16, 50))
    np.testing.assert_allclose(sharp, np.percentile(truth, (16, 50)))
    np.testing.assert_array_equal(sharp, same)


def test_the_summary_says_how_many_limits_there_are(results):
    table, spec = results.summary(), results.spec
    limits = np.isfinite(spec["u_surface"]) & np.isposinf(spec["u_surface_upper_95"])
    assert table.loc["all", "lower limits"] == limits.sum()
    lit = table.loc["footpoint in sun"]
    assert lit["u_surface median"] <= lit["u_surface median at most"] <= 0
    assert lower_limits(sweep_table(spec)).sum() <= limits.sum()


# ---- quality and light


def test_a_sweep_that_the_model_does_not_describe_is_flagged():
    good, edge, misfit = record(0.0), record(0.0, edge=8), record(0.0, misfit=300)
    assert not good.flags[0] & Flag.POOR_FIT
    assert edge.flags[0] & Flag.POOR_FIT and misfit.flags[0] & Flag.POOR_FIT
    assert 0 < edge.quality[0] < good.quality[0] < 1
    assert misfit.quality[0] < good.quality[0]


def test_without_a_cone_there_is_no_quality():
    assert np.isnan(record(0.0, gain=10).quality[0])


def test_rows_on_the_other_side_of_a_change_of_light_are_left_out():
    energy = np.geomspace(2e4, 40, 15)[None]
    flux = np.ones((1, 15, 88))
    lit = (np.arange(15) < 6).astype(float)[None]  # the low energies are in shadow
    used = np.isfinite(in_one_light({"energy": energy, "flux": flux}, lit)["flux"])
    assert used[0, :, 0].tolist() == (np.arange(15) >= 6).tolist()
    late = (np.arange(15) < 12).astype(float)[None]  # too few rows after the change
    used = np.isfinite(in_one_light({"energy": energy, "flux": flux}, late)["flux"])
    assert used[0, :, 0].tolist() == (np.arange(15) < 12).tolist()
    steady = {"energy": energy, "flux": flux}
    assert in_one_light(steady, np.ones((1, 15))) is steady
