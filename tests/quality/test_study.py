"""Injections: truths as drawn, numbers that repeat, right counts, null tests."""

import dataclasses
import json

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from lunar_potential import __version__, pipeline
from lunar_potential.config import Config
from lunar_potential.physics.currents import ChargingErrors
from lunar_potential.physics.pitch import cell_pitch
from lunar_potential.quality.study import robustness, spacecraft, truths
from lunar_potential.quality.study.benchmark import benchmark_json, format_benchmark
from lunar_potential.quality.study.coverage import (
    accuracy_table,
    coverage_study,
    median_by_width,
    plot_coverage,
    plot_errors,
    plot_widths,
)
from lunar_potential.quality.study.figures import (
    QUALITY_FIGURES,
    flag_table,
    join_injections,
    plot_roc,
    quality_table,
    roc_area,
)
from lunar_potential.quality.study.injection import (
    Injection,
    fit_measured,
    inject,
    measure_day,
)
from lunar_potential.quality.study.robustness import (
    MAX_FALSE_RATE,
    NULL_KINDS,
    false_identification,
    null_sweeps,
)
from lunar_potential.quality.study.scenarios import scenario_row, scenario_study
from lunar_potential.quality.study.spacecraft import (
    check_spacecraft,
    identical_answers,
    perturb_as_stated,
    spacecraft_benchmark,
    spacecraft_errors,
    spacecraft_influence,
    spacecraft_input,
)
from lunar_potential.quality.study.truths import (
    DAY,
    draw_day,
    number_sweeps,
    plot_truths,
    spacecraft_truth,
    split_days,
    truth_grid,
)
from lunar_potential.synthetic.draws import draw_sweeps
from lunar_potential.synthetic.instrument import (
    COUNT_FACTOR,
    SimulationOptions,
    draw_gains,
)
from lunar_potential.synthetic.plasma import sunlit_potential
from lunar_potential.synthetic.scenario import REGIMES
from lunar_potential.synthetic.sweeps import Truth, simulate_sweeps
from lunar_potential.units import Flag

matplotlib.use("Agg")


def same(one, other):
    assert list(one) == list(other)
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


# truths


@pytest.mark.parametrize("regime", REGIMES)
def test_a_day_of_one_regime(regime):
    truth = draw_day(regime, 1000, seed=3)
    assert (
        set(truth.regime) == {regime}
        and truth.connected.all()
        and set(truth.polarity) == {-1, 1}
    )
    assert np.isfinite(truth.u_surface).all() and np.isfinite(truth.b).all()
    assert abs(truth.foot_sun.mean() - (0.5 if regime != "wake" else 0)) < 4 * np.sqrt(
        0.25 / 1000
    )
    assert (truth.sc_sun == (regime != "wake")).all()
    np.testing.assert_array_equal(truth.u_sc, spacecraft_truth(truth))
    sunward = np.cos(np.radians(truth.foot_lat)) * np.cos(np.radians(truth.foot_lon))
    np.testing.assert_array_equal(truth.foot_sun, sunward > 0)
    direction = truth.b / np.linalg.norm(truth.b, axis=1, keepdims=True)
    assert np.abs(direction.mean(axis=0)).max() < 4 / np.sqrt(3 * 1000)
    assert not truth.beam_amp[truth.foot_sun].any()


def test_same_seed_same_day():
    same(vars(draw_day("lobe", 50, seed=4)), vars(draw_day("lobe", 50, seed=4)))
    one, other = draw_day("lobe", 50, seed=4), draw_day("lobe", 50, seed=5)
    assert not np.isin(one.u_surface, other.u_surface).any()
    assert not np.isin(one.bs_over_bm, draw_day("wake", 50, seed=4).bs_over_bm).any(), (
        "regimes do not share their draws"
    )


def test_some_field_lines_miss_the_moon():
    truth = draw_day("lobe", 2000, seed=1, connected=0.7)
    assert abs(truth.connected.mean() - 0.7) < 0.05
    np.testing.assert_array_equal(truth.connected, truth.polarity != 0)
    for name in ("u_surface", "bs_over_bm", "foot_lat"):
        np.testing.assert_array_equal(np.isnan(getattr(truth, name)), ~truth.connected)
    assert not truth.foot_sun[~truth.connected].any()


def test_regimes_take_turns():
    assert draw_day(("wake", "lobe"), 5).regime.tolist() == [
        "wake",
        "lobe",
        "wake",
        "lobe",
        "wake",
    ]


@pytest.mark.parametrize(
    "arguments, words", [(("tail",), "'tail' is unknown"), (("lobe", 0), "0 sweeps")]
)
def test_days_that_cannot_be(arguments, words):
    with pytest.raises(ValueError, match=words):
        draw_day(*arguments)


def test_grid_is_an_outer_product():
    fields = [(0, 0, 5.0), (3.0, 0, 0)]
    truth = truth_grid(
        u_surface=[-10, -20, -30], bs_over_bm=[0.2, 0.4], b=fields, T=20.0, repeat=2
    )
    rows = list(zip(truth.u_surface, truth.bs_over_bm, map(tuple, truth.b)))
    assert (
        len(truth) == len(rows) == 24
        and len(set(rows)) == 12
        and rows[:12] == rows[12:]
    )
    assert rows[:3] == [
        (-10, 0.2, fields[0]),
        (-10, 0.2, fields[1]),
        (-10, 0.4, fields[0]),
    ]
    assert (truth.T == 20).all()
    np.testing.assert_allclose(
        truth.u_sc, sunlit_potential(truth.n, truth.T, truth.kappa)
    )


def test_grid_keeps_what_is_given():
    assert (truth_grid(u_surface=[1, 2], u_sc=7.0).u_sc == 7).all()
    assert len(truth_grid(u_surface=-5.0)) == 1
    with pytest.raises(TypeError, match="u_moon"):
        truth_grid(u_moon=[1])


# injections


@pytest.fixture(scope="module")
def two_days():
    truth = draw_day(("solar_wind", "plasma_sheet", "lobe"), 24, seed=6, connected=0.8)
    truth.day[:] = np.arange(24) % 2
    return truth, inject(truth, seed=5)


def test_injection_repeats_and_does_not_depend_on_workers(two_days):
    truth, once = two_days
    same(once.spec, inject(truth, seed=5, n_jobs=2).spec)
    other = inject(truth, seed=6).spec["u_surface_lower_95"]
    assert not np.isin(other[np.isfinite(other)], once.spec["u_surface_lower_95"]).any()


def test_injection_keeps_the_order_of_the_truth(two_days):
    truth, once = two_days
    order = np.argsort(truth.day, kind="stable")
    same(
        {name: values[order] for name, values in once.spec.items()},
        inject(truth.select(order), seed=5).spec,
    )
    np.testing.assert_array_equal(
        (once.spec["flags"] & int(Flag.RELATIVE_TO_SPACECRAFT)) != 0,
        np.isnan(once.spec["u_spacecraft"]) & truth.connected,
    )
    assert (once.spec["set_kind"] == "none")[
        ~truth.connected
    ].all() and once.identified[truth.connected].mean() > 0.8
    assert not once.has_set[~truth.connected].any()


def test_days_are_cut_evenly():
    for n in (1, 1080, 1081, 5000):
        parts = split_days(np.arange(n))
        sizes = [len(part) for part in parts]
        assert (
            max(sizes) <= DAY
            and max(sizes) - min(sizes) <= 1
            and len(parts) == -(-n // DAY)
        )
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(n))


def test_the_fit_does_not_see_the_truth(two_days):
    "Other labels and places, same electrons, same answer."
    truth, once = two_days
    moved = dataclasses.replace(
        truth,
        foot_sun=~truth.foot_sun,
        foot_lat=0 * truth.foot_lat,
        regime=np.full(24, "wake"),
    )
    other = inject(moved, seed=5).spec
    of_place = ~np.uint32(Flag.BARRIER_OR_NEGATIVE)  # what sunlit ground means
    same(
        {**once.spec, "flags": once.spec["flags"] & of_place},
        {**other, "flags": other["flags"] & of_place},
    )


def test_missing_rows_are_left_out():
    found = inject(
        draw_day("solar_wind", 6), SimulationOptions(missing_rows=0.3), seed=1
    )
    assert ((found.spec["flags"] & int(Flag.SHORT_SWEEP)) != 0).sum() >= 5


def test_a_given_spacecraft_potential_is_used():
    found = inject(
        dataclasses.replace(draw_day("solar_wind", 4), u_sc=np.full(4, -30.0)),
        config=Config(u_spacecraft=-30.0),
    )
    assert (found.spec["u_spacecraft"] == -30).all()


# counting


def injection(truth, value, sets, kind="two-sided", flags=0):
    "By hand: sets maps a level to its lower and upper ends."
    n = len(truth)

    def fill(v):
        return np.broadcast_to(v, n).copy()

    spec = {"u_surface": fill(value), "set_kind": fill(kind), "flags": fill(flags)}
    for level, ends in sets.items():
        spec |= {
            f"u_surface_{side}_{level}": fill(end)
            for side, end in zip(("lower", "upper"), ends)
        }
    return Injection(truth, spec)


def test_gaussian_sets_have_their_coverage():
    rng = np.random.default_rng(1)
    n, sigma = 20000, rng.lognormal(0, 1, 20000)
    truth = Truth.of(n, u_surface=rng.uniform(-300, -100, n))
    value = truth.u_surface + sigma * rng.normal(size=n)
    sets = {
        level: (value - z * sigma, value + z * sigma)
        for level, z in ((95, norm.ppf(0.975)), (68, 1.0))
    }
    injected = injection(truth, value, sets)
    row = accuracy_table(injected).loc["all"]
    assert abs(row["covered_95"] - 0.95) < 4 * row["covered_95_se"] < 0.01
    assert abs(row["covered_68"] - 0.6827) < 4 * row["covered_68_se"] < 0.02
    assert row["covered_95_se"] == pytest.approx(np.sqrt(0.95 * 0.05 / n), rel=0.05)
    assert row["width_95"] == pytest.approx(np.median(2 * norm.ppf(0.975) * sigma))
    half, error = median_by_width(injected)
    np.testing.assert_allclose(
        error[1:-1] / half[1:-1], norm.ppf(0.75) / norm.ppf(0.975), rtol=0.15
    )


def test_known_coverage_by_group():
    truth = Truth.of(
        100,
        u_surface=-50.0,
        regime=np.repeat(["lobe", "wake"], 50),
        foot_sun=np.arange(100) % 2 == 0,
        beam_amp=np.arange(100) % 5 == 0,
    )
    upper = np.where(np.arange(100) < 7, -51.0, -40.0)
    table = accuracy_table(
        injection(truth, -48.0, {95: (-60.0, upper), 68: (-49.0, -40.0)})
    )
    assert table.index.tolist() == ["all", "lobe", "wake"] and table[
        "sweeps"
    ].tolist() == [100, 50, 50]
    np.testing.assert_allclose(table["covered_95"], [0.93, 0.86, 1.0])
    np.testing.assert_allclose(table["covered_68"], 0.0)
    np.testing.assert_allclose(table[["error", "bias", "error_p95"]], 2.0)
    assert (table["covered_95_se"] > 0).all() and (
        table["width_95"].round(6) == [20, 20, 20]
    ).all()


def test_groups():
    truth = Truth.of(
        10,
        u_surface=-50.0,
        foot_sun=np.arange(10) < 4,
        beam_amp=np.where(np.arange(10) < 3, 0.0, 1.0),
        kappa=np.repeat([3.0, 5.0], 5),
    )
    injected = injection(truth, -50.0, {95: (-60, -40), 68: (-55, -45)})

    def count(by):
        return accuracy_table(injected, by)["sweeps"].to_dict()

    assert count("sunlight") == {"all": 10, "sun": 4, "shade": 6}
    assert count("beam") == {"all": 10, "no beam": 3, "beam": 7}
    ratios = injection(
        Truth.of(4, bs_over_bm=[0.1, 0.3, 0.8, 0.9]),
        -80.0,
        {95: (-90, -70), 68: (-85, -75)},
    )
    assert accuracy_table(ratios, "ratio")["sweeps"].to_dict() == {
        "all": 4,
        "ratio below 0.3": 1,
        "ratio 0.3 to 0.8": 1,
        "ratio above 0.8": 2,
    }
    assert count("kappa") == {"all": 10, 3.0: 5, 5.0: 5}
    assert (
        count(np.repeat(["a", "b"], [1, 9]))
        == count(lambda one: np.where(np.arange(len(one)) < 1, "a", "b"))
        == {"all": 10, "a": 1, "b": 9}
    )


def test_open_sets_cover_on_their_side():
    truth = Truth.of(5, u_surface=[-50.0, -50.0, -50.0, -50.0, -50.0])
    lower, upper = (
        np.array([-np.inf, -np.inf, -60, -40, -np.inf]),
        np.array([-40, -60, np.inf, np.inf, np.inf]),
    )
    injected = injection(
        truth, np.nan, {95: (lower, upper), 68: (lower, upper)}, kind="whole domain"
    )
    assert injected.covered().tolist() == [True, False, True, False, True]
    row = accuracy_table(injected).loc["all"]
    assert row["covered_95"] == 0.6 and row["identified"] == 0
    assert (
        row[["error", "error_p95", "bias", "covered_95_identified", "width_95"]]
        .isna()
        .all()
    )


def test_ends_belong_to_the_set():
    truth = Truth.of(2, u_surface=[-40.0, -60.0])
    assert injection(truth, -50.0, {95: (-60, -40), 68: (-60, -40)}).covered().all()


def test_what_has_no_set_or_no_connection_is_not_counted():
    truth = Truth.of(
        6,
        u_surface=np.where(np.arange(6) < 4, -50.0, np.nan),
        polarity=np.where(np.arange(6) < 4, 1, 0),
    )
    kind = np.array(["two-sided", "none", "two-sided", "two-sided", "none", "none"])
    lower = np.array([-60, np.nan, -60, -49, np.nan, np.nan])
    row = accuracy_table(
        injection(
            truth,
            np.where(kind == "none", np.nan, -50.0),
            {95: (lower, -40.0), 68: (lower, -40.0)},
            kind,
        )
    ).loc["all"]
    assert (row["sweeps"], row["identified"], row["covered_95"]) == (
        4,
        0.75,
        pytest.approx(2 / 3),
    )


def test_a_number_relative_to_the_spacecraft_is_no_answer():
    truth = Truth.of(2, u_surface=-50.0, u_sc=10.0)
    value = np.array([-52.0, np.nan])
    injected = injection(
        truth,
        value,
        {95: (value - 5, value + 5), 68: (value - 2.5, value + 2.5)},
        flags=np.array([0, int(Flag.RELATIVE_TO_SPACECRAFT)]),
        kind=np.array(["two-sided", "none"]),
    )
    assert injected.identified.tolist() == injected.has_set.tolist() == [True, False]
    assert injected.covered().tolist() == [True, False]
    assert accuracy_table(injected).loc["all", "covered_95"] == 1


def test_a_lower_limit_is_as_wide_as_what_it_leaves_open():
    truth = Truth.of(3, u_surface=[-3.0, 5.0, -60.0])
    value = np.array([-1.0, -0.5, -60.0])
    ends = np.array([-8.0, -6.0, -63.0]), np.array([np.inf, np.inf, -57.0])
    injected = injection(truth, value, {95: ends, 68: ends})
    assert injected.covered().all()
    assert accuracy_table(injected).loc["all", "width_95"] == 6


# studies


@pytest.fixture(scope="module")
def study():
    return coverage_study(["solar_wind", "wake"], n_sweeps=220, seed=2)


def test_a_small_study(study):
    table = study.table
    assert table.index.tolist()[:3] == ["all", "solar_wind", "wake"] and {
        "sun",
        "shade",
        "beam",
        "no beam",
    } == set(table.index[3:7])
    assert (
        table.loc["all", "sweeps"]
        == 440
        == table.loc[["sun", "shade"], "sweeps"].sum()
        == table.loc[["beam", "no beam"], "sweeps"].sum()
        == table["sweeps"].iloc[7:].sum()
    )
    assert len(study.injection.calibrations) == 2 and all(
        one.sweeps == 220 for one in study.injection.calibrations
    )
    assert (
        table.loc["all", "identified"] > 0.95
        and table.loc["all", "error"] < 3
        and table.loc["all", "error_p95"] < 20
    )
    assert (table["covered_95"].iloc[:7] > 0.88).all() and (
        table["covered_68"].iloc[:7] > 0.55
    ).all()
    assert "solar_wind" in repr(study) and "<table" in study._repr_html_()


def test_regimes_are_days_of_one_instrument(study):
    wake = dataclasses.replace(draw_day("wake", 220, seed=2))
    np.testing.assert_array_equal(study.injection.truth.u_surface[220:], wake.u_surface)
    gains = draw_gains(2)
    assert all(
        np.corrcoef(one.gain, gains)[0, 1] > 0.9 for one in study.injection.calibrations
    )


def test_figures(study):

    for draw, data in (
        (plot_coverage, study.table),
        (plot_coverage, study.injection),
        (plot_errors, study.injection),
        (plot_widths, study.injection),
        (plot_truths, study.injection.truth),
    ):
        ax = plt.subplots()[1]
        assert draw(data, ax) is ax and ax.get_ylabel()
        ax.figure.canvas.draw()
        plt.close(ax.figure)
    ax = study.plot(plt.subplots()[1])
    points = [
        line.get_ydata()
        for line in ax.lines
        if len(line.get_ydata()) == len(study.table)
    ]
    assert any(np.allclose(y, study.table["covered_95"]) for y in points)
    plt.close(ax.figure)


# by scenario


def spec_of(truth, value, lower, upper, **others):
    "Results by hand; both levels have the same set."
    sets = {level: (lower, upper) for level in (95, 68)}
    injected = injection(truth, value, sets)
    nominal = dict(u_spacecraft=truth.u_sc, u_spacecraft_error=1.0)
    nominal |= dict(u_spacecraft_constants_error=0.0, fit_quality=1.0, n_channels=9)
    nominal |= dict(kappa_fit_quality=1.0, fit_gain=1e3, du_duspacecraft=1.0)
    nominal |= dict(background_factor=1.0, quality=0.5)
    nominal |= dict(misfit_edge=1.0, misfit_upgoing=1.0)
    for name, values in (nominal | others).items():
        injected.spec[name] = np.broadcast_to(values, len(truth)).copy()
    return injected


def test_the_target_is_the_lowest_potential():
    truth = Truth.of(
        3, u_surface=[8.0, 8.0, -40.0], barrier=[0.0, 50.0, 0.0], sheath=10.0
    )
    injected = injection(truth, 0.0, {95: (-5.0, 5.0), 68: (-1.0, 1.0)})
    np.testing.assert_allclose(injected.target, [0, -50, -40], atol=0.3)
    assert injected.covered().tolist() == [True, False, False]


def test_wrong_answers():
    truth = Truth.of(
        5,
        u_surface=[-100.0, -100.0, -100.0, -1000.0, np.nan],
        connected=np.array([True, True, True, True, False]),
    )
    value = np.array([-105.0, -112.0, -112.0, -1080.0, -30.0])
    lower = np.array([-106.0, -113.0, -113.0, -1090.0, -40.0])
    upper = np.array([-104.0, -111.0, -99.0, -1070.0, -20.0])
    # near enough; wrong; inside its set; within 10 %; no cone at all
    assert spec_of(truth, value, lower, upper).wrong.tolist() == [0, 1, 0, 0, 1]


def test_scenario_rows_are_counted_by_hand():
    truth = Truth.of(
        10,
        u_surface=np.where(np.arange(10) < 8, -50.0, np.nan),
        connected=np.arange(10) < 8,
        foot_sun=np.arange(10) % 2 == 0,
    )
    value = np.where(np.arange(10) == 9, np.nan, -52.0)
    upper = np.where(np.arange(10) < 2, -51.0, -40.0)
    row = scenario_row(
        spec_of(truth, value, -60.0, upper, u_spacecraft=truth.u_sc + 2.5)
    )
    assert row["sweeps"] == 10 and row["says"] == 1 and row["error"] == 2
    assert row["covered_95"] == 6 / 8 and row["covered_95_sun"] == 3 / 4
    assert row["covered_95_shade"] == 3 / 4 and row["width_shade"] == 20
    assert row["width_own"] == pytest.approx(20)  # the constants are exact
    assert row["false"] == 1 / 2 and row["u_sc_error"] == 2.5
    assert row["u_sc_covered"] == 0 and row["u_sc_found"] == 1


def test_a_whole_line_says_nothing():
    truth = Truth.of(2, u_surface=-50.0)
    row = scenario_row(spec_of(truth, np.nan, -np.inf, np.inf))
    assert row["says"] == 0 and np.isnan(row["covered_95"]) and np.isnan(row["error"])


def test_scenario_study_is_that_of_its_scenarios_on_any_number_of_workers():
    names = ["control", "no cone"]
    one, two = (scenario_study(names, 8, seed=3, n_jobs=n) for n in (1, 2))
    pd.testing.assert_frame_equal(one.table, two.table)
    alone = scenario_study("no cone", 8, seed=3)
    pd.testing.assert_frame_equal(one.table.iloc[1:], alone.table)
    truth = draw_sweeps("control", 8, seed=3)
    np.testing.assert_array_equal(
        one.injections["control"].truth.u_surface, truth.u_surface
    )
    with pytest.raises(ValueError, match="unknown.*plain"):
        scenario_study("the Moon of tomorrow", 8)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30), st.data())
def test_roc_area_is_the_share_of_pairs_in_order(values, data):
    wrong = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    )
    area, values = roc_area(np.array(values, float), wrong), np.array(values)
    if wrong.all() or not wrong.any():
        assert np.isnan(area)
        return
    pairs = np.sign(values[wrong][:, None] - values[~wrong][None])
    assert area == pytest.approx((pairs.mean() + 1) / 2)


def test_quality_and_flags_of_known_answers():
    truth = Truth.of(40, u_surface=-50.0)
    bad = np.arange(40) < 10
    value = np.where(bad, -150.0, -50.0)
    injected = spec_of(
        truth,
        value,
        value - 5,
        value + 5,
        fit_quality=np.where(bad, 3.0, 1.0),
        fit_gain=np.where(bad, 2e3, 1e3),
        flags=np.where(bad, int(Flag.POOR_FIT), 0) | int(Flag.MASKED_CELLS),
    )
    table = quality_table(injected)
    assert (table["answers"] == 40).all() and (table["wrong"] == 10).all()
    assert table.loc["misfit of the cone", "roc_area"] == 1
    assert table.loc["small gain of the cone", "roc_area"] == 0
    assert table.loc["few channels", "roc_area"] == 0.5
    flags = flag_table(injected)
    assert flags.loc["POOR_FIT"].tolist() == [1, 0]
    assert flags.loc["MASKED_CELLS"].tolist() == [1, 1]
    both = join_injections([injected, injected])
    assert len(both) == 80 and both.wrong.sum() == 20
    ax = plot_roc(injected, plt.subplots()[1])
    assert len(ax.lines) == len(QUALITY_FIGURES) + 1
    plt.close(ax.figure)


# without a loss cone

OPTIONS = SimulationOptions(gain_error=0.0, flag_rate=0.0)


def null(kind, n=60):
    truth, sweeps = null_sweeps(kind, n, seed=4, options=OPTIONS)
    assert (
        truth.connected.all()
        and np.isnan(truth.u_surface).all()
        and set(truth.regime) == {kind}
    )
    counts = sweeps.flux * COUNT_FACTOR * sweeps.energy[:, :, None]
    return truth, counts, cell_pitch(sweeps.phi, sweeps.theta, truth.b, truth.polarity)


def test_isotropic_sweeps_are_isotropic():
    _, counts, mu = null("isotropic")
    share = counts / COUNT_FACTOR
    down, up = (
        np.where(side, share, 0).sum((0, 2)) / side.sum((0, 2))
        for side in (mu > 0.2, mu < -0.2)
    )
    bright = down > 0.02 * down.max()
    assert bright.sum() >= 4
    np.testing.assert_allclose(up[bright], down[bright], rtol=0.08)


def test_noise_is_background():
    _, counts, _ = null("noise")
    per_row = counts.sum(2)
    assert per_row.mean() == pytest.approx(OPTIONS.background * 2.5, rel=0.03)
    assert per_row.var() == pytest.approx(per_row.mean(), rel=0.15)


def test_random_cells_know_nothing_of_their_neighbours():
    _, counts, mu = null("random")
    log = np.log(counts + 1)
    assert log.std() > 1.5
    assert abs(np.corrcoef(log[..., 1:].ravel(), log[..., :-1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(log.ravel(), mu.ravel())[0, 1]) < 0.02


def test_two_energies_are_two():
    _, counts, mu = null("two energies")
    above = counts.sum(2) > 60
    assert (above.sum(1) <= 2).all() and above.any(1).mean() > 0.9
    rows, channels = np.nonzero(above)
    assert (np.diff(channels)[np.diff(rows) == 0] == 1).all()
    lit = counts[above]
    up, down = (
        np.where(side[above], lit, 0).sum() / side[above].sum()
        for side in (mu < -0.2, mu > 0.2)
    )
    assert up == pytest.approx(down, rel=0.05)


def test_no_incident_electrons():
    _, counts, mu = null("no incident")
    down, up = counts[mu > 0.3], counts[mu < -0.3]
    assert (
        down.mean() == pytest.approx(OPTIONS.background * 2.5 / 88, rel=0.1)
        and up.mean() > 20 * down.mean()
    )


def test_null_sweeps_repeat():
    for kind in NULL_KINDS:
        one, again, other = (
            null_sweeps(kind, 3, seed=1, stream=stream)[1] for stream in (0, 0, 1)
        )
        np.testing.assert_array_equal(one.flux, again.flux)
        assert not np.array_equal(one.flux, other.flux)
    with pytest.raises(ValueError, match="'nothing' is unknown"):
        null_sweeps("nothing")


@pytest.fixture(scope="module")
def false():
    return false_identification(40, seed=3)


@pytest.mark.parametrize("kind", NULL_KINDS)
def test_no_loss_cone_is_found_where_there_is_none(false, kind):
    row = false.loc[kind]
    assert row["sweeps"] == 40 and row["identified"] <= row["fitted"]
    assert row["identified"] <= binom.ppf(0.999, 40, MAX_FALSE_RATE)


def test_most_null_sweeps_are_really_fitted(false):
    assert (false.loc[["isotropic", "random", "two energies"], "fitted"] > 30).all()
    assert false.loc["no incident", "fitted"] == 0, "the fit needs incident electrons"


def test_every_null_sweep_is_counted_once(monkeypatch):
    monkeypatch.setattr(robustness, "DAY", 60)
    table = false_identification(10, seed=1, kinds=("noise", "isotropic"))
    assert (
        table.index.tolist() == ["noise", "isotropic"] and (table["sweeps"] == 10).all()
    )
    pd.testing.assert_frame_equal(
        table, false_identification(10, seed=1, kinds=("noise", "isotropic"))
    )


# tables


def test_tables_as_text_and_json():
    table = pd.DataFrame(
        {"sweeps": [3], "error": [np.nan], "width_95": [np.inf]}, index=["all"]
    )
    stored = json.loads(benchmark_json({"accuracy": table}, seed=4))
    assert stored == {
        "about": {"version": __version__, "seed": 4},
        "accuracy": {"all": {"sweeps": 3, "error": None, "width_95": None}},
    }
    assert "volts" in format_benchmark(
        {"accuracy": table}
    ) and "all" in format_benchmark({"accuracy": table})


# spacecraft potential


@pytest.mark.parametrize("n_sweeps, factor", [(40, 1.0), (250, 1.0), (250, 0.1)])
def test_spacecraft_input_is_that_of_the_pipeline(n_sweeps, factor):
    truth, options = (
        draw_day(tuple(REGIMES), n_sweeps, seed=6),
        SimulationOptions(count_scale=factor),
    )
    er = measure_day(truth, 6, options=options)
    config = Config(choose_response=False)
    arrays, response = spacecraft_input(er, truth, config)
    _, found = pipeline._spacecraft_potential_per_row(er, arrays, config, response)
    whole, calibration = fit_measured(
        simulate_sweeps(number_sweeps(truth), options, 6), truth, config
    )
    assert (calibration.count_scale != 1) == (factor != 1)
    for name in (
        "u_spacecraft",
        "u_spacecraft_error",
        "kappa",
        "electron_density",
        "background_factor",
    ):
        np.testing.assert_array_equal(found[name], whole[name], err_msg=name)


def test_identical_is_to_the_last_bit():
    found = {"u": np.array([1.0, np.nan]), "flags": np.array([0, 64])}
    other = {**found, "u": np.array([1.0 + 2**-52, np.nan])}
    rows = np.zeros(4)
    assert identical_answers(
        (rows, found), (rows.copy(), {name: a.copy() for name, a in found.items()})
    )
    assert not identical_answers(
        (rows, found), (rows, other)
    ) and not identical_answers((rows, found), (-rows, found))
    assert not identical_answers(
        (rows, found), (rows, {"u": found["u"]})
    ) and not identical_answers((rows, found), (rows.astype(np.float32), found))


def test_spacecraft_errors():
    truth = Truth.of(
        6,
        sc_sun=np.array([True, True, True, False, False, False]),
        u_sc=np.array([1.0, 2, 3, -10, -20, -30]),
    )
    spec = {
        "u_spacecraft": truth.u_sc + [2, 0, -2, 8, np.nan, 0],
        "u_spacecraft_error": np.array([1.0, 1, 1, 4, 1, 4]),
    }
    table = spacecraft_errors(truth, spec)
    assert table["sweeps"].tolist() == [3, 3, 6] and table["found"].tolist() == [
        3,
        2,
        5,
    ]
    assert table["error"].tolist() == [2, 4, 2]
    np.testing.assert_allclose(table["sd"].iloc[:2], [np.sqrt(8 / 3), 1])
    np.testing.assert_allclose(table["sd_robust"].iloc[:2], [1.4826 * 2, 1.4826])
    assert (
        spacecraft_errors(
            draw_day("wake", 3),
            {
                "u_spacecraft": np.full(3, np.nan),
                "u_spacecraft_error": np.full(3, np.nan),
            },
        )["error"]
        .isna()
        .all()
    )


def test_spacecraft_benchmark(monkeypatch):
    monkeypatch.setattr(truths, "DAY", 25)
    monkeypatch.setattr(spacecraft, "DAY", 25)
    tables = spacecraft_benchmark(40, seed=2)
    run = tables["parallel"].iloc[0]
    assert (run["sweeps"], run["rows"], run["workers"]) == (40, 40 * 15, 2) and run[
        "identical"
    ]
    assert (run[["start_s", "sequential_s", "parallel_s"]] > 0).all() and tables[
        "spacecraft"
    ].loc["all", "sweeps"] == 40
    assert tables["spacecraft"].loc["sun", "error"] < 3
    assert (
        "every bit" in format_benchmark(tables)
        and json.loads(benchmark_json(tables))["parallel"]["spacecraft potential"][
            "identical"
        ]
        is True
    )


@pytest.mark.parametrize("compute", [spacecraft_benchmark, check_spacecraft])
def test_spacecraft_needs_sweeps_and_workers(compute):
    with pytest.raises(ValueError, match="0 sweeps"):
        compute(0)
    with pytest.raises(ValueError, match="2 or more"):
        compute(10, n_jobs=1)


def _spoiled(change):
    "The way with workers, here without them, and with changed answers."

    def per_row(er, arrays, config, response, n_jobs):
        rows, found = pipeline._spacecraft_potential_per_row(
            er, arrays, config, response
        )
        return change(rows.copy(), {name: a.copy() for name, a in found.items()})

    return per_row


def test_check_sees_a_changed_bit(monkeypatch):
    def last_bit(rows, found):
        found["u_spacecraft_error"][0] = np.nextafter(
            found["u_spacecraft_error"][0], np.inf
        )
        return rows, found

    monkeypatch.setattr(
        spacecraft,
        "_spacecraft_potential_per_row_parallel",
        _spoiled(lambda *both: both),
    )
    assert all(check_spacecraft(20).values())
    monkeypatch.setattr(
        spacecraft,
        "_spacecraft_potential_per_row_parallel",
        _spoiled(last_bit),
    )
    assert list(check_spacecraft(20).values()) == [False, True, True, True, True]


def test_check_sees_lost_potentials_missing_reasons_shifted_rows_and_other_chunks(
    monkeypatch,
):
    honest = pipeline._spacecraft_potential_per_row

    def wrong(*args):
        rows, found = honest(*args)
        assert np.isnan(found["u_spacecraft"]).any()
        half = np.where(np.arange(20) % 2, np.nan, found["u_spacecraft"])
        return np.roll(rows, 1), {
            **found,
            "u_spacecraft": half,
            "flags": 0 * found["flags"],
        }

    monkeypatch.setattr(
        spacecraft,
        "_spacecraft_potential_per_row_parallel",
        _spoiled(lambda *both: both),
    )
    monkeypatch.setattr(spacecraft, "_spacecraft_potential_per_row", wrong)
    monkeypatch.setattr(spacecraft, "chunk_size", lambda n, jobs: n)
    assert not any(check_spacecraft(20).values())


# --- the spacecraft potential and the surface


def test_drawn_errors_are_the_stated_ones():
    truth, stated = (
        draw_day("wake", 4000, seed=1),
        ChargingErrors(flux=0.03, balance=0.5),
    )
    drawn = perturb_as_stated(truth, 1, stated)
    assert np.std(drawn.n / truth.n) == pytest.approx(0.03, rel=0.05) and np.std(
        drawn.u_sc - truth.u_sc
    ) == pytest.approx(0.5, rel=0.05)
    assert all(
        np.array_equal(getattr(drawn, name), getattr(truth, name))
        for name in ("T", "kappa", "u_surface", "bs_over_bm")
    )


def test_a_moved_spacecraft_potential_stays_within_the_sets():
    table = spacecraft_influence(300, seed=3)
    assert (
        table.loc["potential as found", "moved"] == 0
        and (table["moved"].iloc[1:] > 0).all()
        and (table["sweeps"] > 150).all()
    )
    assert (table["inside_95"] >= 0.95).all()
    high = [
        binomtest(round(row.covered_95 * row.sweeps), row.sweeps)
        .proportion_ci(0.95)
        .high
        for row in table.itertuples()
    ]
    assert (
        min(high) > 0.94
    )  # with the estimated potential, a moved one and the true one


def test_the_uncertainty_of_the_constants_is_counted_when_asked_for():
    table = spacecraft_influence(200, seed=6, config=Config(constants_error=True))
    assert (
        table.loc["one error higher", "moved"] > 0.3
        and (table["inside_95"] >= 0.95).all()
    )
