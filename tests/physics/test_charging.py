"Spacecraft potentials of simulated sweeps."

from dataclasses import replace

import numpy as np
import pytest
from known_plasmas import FACTOR, MODEL, dark, fields_of, sunlit

from lunar_potential.physics.charging import one_light, spacecraft_potential
from lunar_potential.physics.currents import ChargingErrors, photo_current
from lunar_potential.physics.incident import incident_axis, incident_cells, sum_cells
from lunar_potential.physics.kappa import kappa_current
from lunar_potential.physics.pitch import cell_pitch
from lunar_potential.physics.response import (
    NOMINAL_BACKGROUND,
    RING_FACTOR,
    IncidentCounts,
    Response,
    cell_counts,
    incident_counts,
)
from lunar_potential.synthetic.draws import draw_sweeps
from lunar_potential.synthetic.instrument import SimulationOptions
from lunar_potential.synthetic.scenario import SCENARIOS
from lunar_potential.synthetic.sweeps import Truth, simulate_sweeps
from lunar_potential.synthetic.truth import row_light
from lunar_potential.units import M_PROTON, Flag

NARROW = Response(cut=SimulationOptions().response_cut)


def sweeps_of(n, T, kappa, u, size=40, noise=False, seed=0):
    "Incident counts of sweeps measured at spacecraft potential `u`."
    b = fields_of(size, seed)
    truth = Truth.of(size, n=n, T=T, kappa=kappa, u_sc=u, b=b)
    return counts_of(truth, noise, seed)


def counts_of(truth, noise=True, seed=0):
    "Plain sums of the incident counts of simulated sweeps."
    background = NOMINAL_BACKGROUND if noise else 0.0
    options = SimulationOptions(
        gain_error=0.0, flag_rate=0.0, background=8 / 2.5 * background
    )
    measured = simulate_sweeps(truth, options, noise=noise, seed=seed)
    mu = cell_pitch(measured.phi, measured.theta, measured.b, truth.polarity)
    counts = measured.flux * measured.energy[:, :, None] * FACTOR
    if noise:
        counts = cell_counts(measured.energy, measured.flux, FACTOR)
    return incident_counts(measured.energy, counts, mu, FACTOR, background)


def of_scenario(name, n_sweeps=60, seed=3, **changes):
    "Truth of a scenario and what the robust estimator finds in it."
    scenario = replace(SCENARIOS[name], **changes)
    truth = draw_sweeps(scenario, n_sweeps, seed)
    options = replace(scenario.instrument, gain_error=0.0, flag_rate=0.0)
    sweeps = simulate_sweeps(truth, options, seed=seed)
    counts = cell_counts(sweeps.energy, sweeps.flux, FACTOR)
    arrays = sweeps.energy, counts, sweeps.phi, sweeps.theta
    field = sweeps.b_rows
    moonward = np.where(truth.polarity == 0, np.nan, truth.polarity)[:, None, None]
    length = np.linalg.norm(field, axis=-1, keepdims=True)
    axis, bound = incident_axis(*arrays, moonward * field / length, field, FACTOR)
    background = NOMINAL_BACKGROUND * FACTOR / RING_FACTOR
    cells = incident_cells(*arrays, axis, FACTOR, background)
    sums = sum_cells(sweeps.energy, cells, bound, 0.05)
    return truth, spacecraft_potential(sums, row_light(truth).astype(float))


# --- the ordinary Moon


@pytest.mark.parametrize(
    "name, most",
    [
        ("core and halo", 0.6),
        ("mild halo", 0.6),
        ("strahl", 0.6),
        ("flow", 1.0),
        ("ordinary solar wind", 2.5),
    ],
)
def test_ordinary_wind_keeps_its_potential(name, most):
    truth, found = of_scenario(name, crossing=0.0)
    assert np.isfinite(found.u).all(), "no sweep is lost"
    off = np.abs(found.u - truth.u_sc)
    assert np.median(off[truth.sc_sun]) < most
    assert (off < 1.96 * found.total_error)[truth.sc_sun].mean() > 0.85
    assert not (found.flags & int(Flag.NO_U_SPACECRAFT | Flag.KAPPA_FAILED)).any()


@pytest.mark.parametrize("name", ["control", "thin wake", "ordinary tail"])
def test_errors_cover_in_every_regime(name):
    truth, found = of_scenario(name, 100, crossing=0.0)
    off = np.abs(found.u - truth.u_sc)
    for regime in set(truth.regime):
        here = truth.regime == regime
        assert (off < 1.96 * found.total_error)[here].mean() > 0.85, regime


def test_core_and_halo_are_one_plasma_in_the_result():
    truth, found = of_scenario("core and halo")
    assert found.fit.two.all()
    assert np.median(np.abs(found.fit.density / truth.n - 1)) < 0.15
    mean = truth.T * (1 - truth.halo) + truth.halo_T * truth.halo
    assert np.median(np.abs(found.fit.temperature / mean - 1)) < 0.15
    assert np.median(found.fit.kappa) > 8


def test_photoelectrons_in_the_channels_are_not_a_core():
    truth, found = of_scenario(
        "control", 40, regimes=("lobe",), densities={"lobe": 2e4}, photoelectrons=True
    )
    assert truth.u_sc.min() > 25 and np.isfinite(found.u).all()
    off = np.abs(found.u - truth.u_sc)
    assert np.median(off) < 10 and (off < 1.96 * found.total_error).mean() > 0.9


def test_a_change_of_light_is_seen_and_one_side_is_fitted():
    truth, found = of_scenario("shadow crossing", 60, regimes=("solar_wind", "wake"))
    assert (found.flags & Flag.PARTLY_LIT).all()
    late = 15 - truth.light_change >= 5
    sun = np.where(late, ~truth.sc_sun, truth.sc_sun)
    expected = np.where(late, truth.u_sc_after, truth.u_sc)
    off = np.abs(found.u - expected)[sun]
    assert np.nanmedian(off) < 1.5
    assert np.nanmean(off < 1.96 * found.total_error[sun]) > 0.8


# --- every constant can be replaced


def test_replaced_constants_reach_the_sweeps():
    sums = sweeps_of(2e5, 60.0, 3.3, -30.0, size=3)
    less, more = (
        spacecraft_potential(sums, np.zeros(3), replace(MODEL, yield_max=y)).u
        for y in (1.0, 1.2)
    )
    assert (more > less + 1).all()


# --- potentials of sweeps


@pytest.mark.parametrize(
    "n, T, kappa, lit",
    [
        (5e6, 12.0, 4.5, 1.0),
        (8e4, 90.0, 3.0, 1.0),
        (3e5, 400.0, 4.0, 1.0),
        (3e5, 60.0, 3.2, 0.0),
        (1e6, 20.0, 4.0, 0.0),
        (3e5, 40.0, 5.0, 0.0),
        (8e4, 90.0, 3.0, 0.0),
        (3e5, 400.0, 4.0, 0.0),
    ],
)
def test_known_plasmas_give_their_potential(n, T, kappa, lit):
    expected = sunlit(n, T, kappa) if lit else dark(T, kappa)
    sums = sweeps_of(n, T, kappa, expected, size=4)
    clean = spacecraft_potential(sums, np.full(4, lit), response=NARROW)
    assert np.abs(clean.u - expected).max() < (0.3 if lit else 1.0)
    assert not clean.flags.any() and (clean.n_roots == 1).all()
    sums = sweeps_of(n, T, kappa, expected, size=60, noise=True)
    noisy = spacecraft_potential(sums, np.full(60, lit))
    off = np.abs(noisy.u - expected)
    assert np.median(off) < (0.5 if lit else 2.0) and (noisy.error > 0).all()
    assert (off < 3 * noisy.error).mean() > 0.95
    assert np.median(noisy.fit.temperature) == pytest.approx(T, rel=0.08)
    assert np.median(noisy.fit.density) == pytest.approx(n, rel=0.1)


def test_the_error_in_sunlight_holds_that_of_the_absolute_flux():
    sums = sweeps_of(3e5, 400.0, 4.0, sunlit(3e5, 400.0, 4.0), size=3)
    stated = ChargingErrors(flux=0.03)
    found = spacecraft_potential(sums, np.ones(3), stated=stated)
    brighter = replace(sums, exposure=sums.exposure / (1 + stated.flux))
    moved = spacecraft_potential(brighter, np.ones(3)).u - found.u
    assert (np.abs(moved) > 0.02).all() and (found.error > np.abs(moved)).all()
    less = spacecraft_potential(sums, np.ones(3), stated=replace(stated, flux=0.01))
    assert (less.error < found.error).all()


@pytest.mark.parametrize(
    "name, change, lit",
    [
        ("photo", dict(photo_a=1.1 * MODEL.photo_a, photo_c=1.1 * MODEL.photo_c), 1.0),
        ("yield_max", dict(yield_max=1.65), 0.0),
        ("yield_energy", dict(yield_energy=550.0), 0.0),
        ("secondary_temperature", dict(secondary_temperature=2.5), 0.0),
        ("ions", dict(ion_mass=M_PROTON / 1.44), 0.0),
    ],
)
def test_each_stated_uncertainty_reaches_the_error_shared_by_all_sweeps(
    name, change, lit
):
    n, T, kappa = (8e4, 90.0, 3.0) if lit else (3e5, 40.0, 5.0)
    if name == "secondary_temperature":
        n, T, kappa = 3e5, 400.0, 4.0
    u, light = sunlit(n, T, kappa) if lit else dark(T, kappa), np.full(2, lit)
    sums = sweeps_of(n, T, kappa, u, size=2)
    names = ("photo", "yield_max", "yield_energy", "secondary_temperature", "ions")
    none = dict.fromkeys(names, 0.0)
    stated = ChargingErrors(**none | {name: getattr(ChargingErrors(), name)})
    alone = spacecraft_potential(sums, light, stated=stated)
    moved = spacecraft_potential(sums, light, replace(MODEL, **change)).u - alone.u
    assert (np.abs(moved) > 0.04).all()
    ratio = alone.constants_error / np.abs(moved)
    assert ((ratio > 0.4) & (ratio < 3.5)).all()
    exact = spacecraft_potential(sums, light, stated=ChargingErrors(**none))
    assert (exact.constants_error < 0.3).all()
    assert np.array_equal(exact.error, alone.error)
    total = np.hypot(alone.error, alone.constants_error)
    assert np.array_equal(alone.total_error, total)


def test_cool_dense_wind_has_two_potentials_and_says_so():
    n, T, kappa = 8e6, 5.0, 3.5  # all of its core lies below the lowest channel
    expected = sunlit(n, T, kappa)
    sums = sweeps_of(n, T, kappa, expected, size=20, noise=True)
    found = spacecraft_potential(sums, np.ones(20), response=NARROW)
    assert (np.abs(found.u - expected) < 1.96 * found.total_error).mean() > 0.8
    several = (found.flags & int(Flag.SEVERAL_ROOTS)) > 0
    assert several.mean() > 0.5 and (found.n_roots[several] > 1).all()
    near = np.nanmin(np.abs(found.roots - expected), axis=1)
    assert np.median(near) < 3


def test_plasmas_between_5_ev_and_1_kev_come_back():
    rng = np.random.default_rng(3)
    T = np.geomspace(8, 1000, 60)
    kappa, wanted = rng.uniform(2.5, 6.0, 60), rng.uniform(3.5, 12.0, 60)
    n = np.array(
        [
            1e6 * photo_current(u) / kappa_current(1e6, t, k)
            for u, t, k in zip(wanted, T, kappa)
        ]
    )
    b = 8 * rng.normal(size=(60, 3))
    truth = Truth.of(60, n=n, T=T, kappa=kappa, u_sc=wanted, b=b)
    found = spacecraft_potential(counts_of(truth), np.ones(60), response=NARROW)
    assert np.median(np.abs(found.fit.density / n - 1)) < 0.06
    assert np.median(np.abs(found.fit.temperature / T - 1)) < 0.06
    assert np.median(np.abs(found.fit.kappa - kappa)) < 0.4
    assert np.median(np.abs(found.u - wanted)) < 0.5


def test_thin_plasma_in_sunlight_leaves_no_wild_potential():
    rng = np.random.default_rng(5)
    n, T = rng.uniform(8e3, 4e4, 40), rng.uniform(60, 110, 40)
    kappa = rng.uniform(3.0, 4.2, 40)
    u = np.array([sunlit(*plasma) for plasma in zip(n, T, kappa)])
    b = 8 * rng.normal(size=(40, 3))
    truth = Truth.of(40, n=n, T=T, kappa=kappa, u_sc=u, b=b)
    found = spacecraft_potential(counts_of(truth), np.ones(40))
    off, known = np.abs(found.u - u), np.isfinite(found.u)
    assert u.max() > 80 and known.mean() > 0.9
    assert (off < np.maximum(3 * found.error, 3))[known].mean() > 0.9
    assert found.flags[~known].all()


def test_a_sunlit_body_charged_negatively_is_not_called_neutral():
    n, T, kappa = 1e7, 40.0, 4.0
    expected = sunlit(n, T, kappa)
    assert expected < -10
    found = spacecraft_potential(sweeps_of(n, T, kappa, expected, size=2), np.ones(2))
    close = np.abs(found.u - expected) < 3 * found.error + 3
    assert (np.isnan(found.u) | close).all()


# --- light


def test_unknown_sunlight_gives_a_plasma_but_no_potential():
    sums = sweeps_of(3e5, 60.0, 3.2, -28.0, size=3)
    found = spacecraft_potential(sums, np.array([0.0, np.nan, 0.0]))
    assert np.isfinite(found.u).tolist() == [True, False, True]
    assert np.isnan(found.error[1]) and np.isfinite(found.fit.temperature).all()
    assert found.flags.tolist() == [0, int(Flag.NO_U_SPACECRAFT), 0]
    assert found.n_roots.tolist() == [1, 0, 1] and np.isnan(found.roots[1]).all()


def test_a_missing_spectrum_has_neither():
    sums = sweeps_of(3e5, 60.0, 3.2, -28.0, size=3)
    sums.counts[1] = 0
    found = spacecraft_potential(sums, np.zeros(3))
    assert np.isfinite(found.u).tolist() == [True, False, True]
    assert np.isfinite(found.fit.density).tolist() == [True, False, True]
    both = int(Flag.NO_U_SPACECRAFT | Flag.KAPPA_FAILED)
    assert found.flags.tolist() == [0, both, 0]
    assert found.fit.background_factor[1] == 1


def test_nothing_at_all():
    none = IncidentCounts(*(np.zeros((0, 15)) for _ in range(4)), np.zeros(0))
    assert len(spacecraft_potential(none, np.zeros(0)).u) == 0


def test_a_balance_without_root_is_flagged():
    sums = sweeps_of(1e2, 200.0, 4.0, 0.0, size=2)
    found = spacecraft_potential(sums, np.ones(2), replace(MODEL, photo_d=600.0))
    assert np.isnan(found.u).all() and (found.flags & Flag.NO_U_SPACECRAFT).all()
    assert (found.n_roots == 0).all() and np.isnan(found.roots).all()


@pytest.mark.parametrize("n, T, kappa", [(3e5, 400.0, 4.0), (1e6, 20.0, 4.0)])
def test_sweeps_in_penumbra_lie_between_shade_and_sunlight(n, T, kappa):
    shade, light = dark(T, kappa), sunlit(n, T, kappa)
    for body in (shade, 0.5 * (shade + light), light):
        sums = sweeps_of(n, T, kappa, body, size=3)
        found = spacecraft_potential(sums, np.full(3, 0.33))
        assert (found.flags & Flag.PARTLY_LIT).all() and np.isfinite(found.u).all()
        assert (found.error > 0.6 * np.abs(found.u - body)).all()


def test_rows_of_one_light():
    sums = sweeps_of(5e6, 12.0, 4.5, 4.0, size=4)
    light = np.ones((4, 15))
    light[0, :10] = 0.0  # five rows of low energy in sunlight
    light[1, :12] = 0.0  # three: too few
    light[2, 3] = 0.4  # penumbra
    rows, lit, partial = one_light(sums, light)
    assert rows.sum(1).tolist() == [5, 12, 14, 15]
    assert lit.tolist() == [1.0, 0.0, 1.0, 1.0]
    assert partial.tolist() == [True, True, True, False]


def test_a_given_potential_is_kept():
    sums = sweeps_of(5e6, 12.0, 4.5, 4.0, size=2)
    found = spacecraft_potential(sums, np.array([np.nan, 1.0]), held=np.full(2, 4.0))
    assert found.u.tolist() == [4.0, 4.0] and not found.flags.any()
    assert found.fit.temperature == pytest.approx(12.0, rel=0.1)


def test_company_changes_no_bit():
    truth, together = of_scenario("ordinary", 20)
    scenario = SCENARIOS["ordinary"]
    for part in (slice(0, 1), slice(5, 12), slice(19, 20)):
        sums = _sums(truth, scenario)
        some = replace(
            sums, **{name: values[part] for name, values in vars(sums).items()}
        )
        light = row_light(truth).astype(float)[part]
        alone = spacecraft_potential(some, light)
        for name in ("u", "error", "constants_error", "roots", "flags"):
            whole = getattr(together, name)[part]
            assert np.array_equal(getattr(alone, name), whole, equal_nan=True), name


def _sums(truth, scenario, seed=3):
    options = replace(scenario.instrument, gain_error=0.0, flag_rate=0.0)
    sweeps = simulate_sweeps(truth, options, seed=seed)
    arrays = (
        sweeps.energy,
        cell_counts(sweeps.energy, sweeps.flux, FACTOR),
        sweeps.phi,
        sweeps.theta,
    )
    moonward = np.where(truth.polarity == 0, np.nan, truth.polarity)[:, None, None]
    length = np.linalg.norm(sweeps.b_rows, axis=-1, keepdims=True)
    unit = moonward * sweeps.b_rows / length
    axis, bound = incident_axis(*arrays, unit, sweeps.b_rows, FACTOR)
    background = NOMINAL_BACKGROUND * FACTOR / RING_FACTOR
    cells = incident_cells(*arrays, axis, FACTOR, background)
    return sum_cells(sweeps.energy, cells, bound, 0.05)
