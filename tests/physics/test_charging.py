"Charging: currents in closed form, roots against an independent balance, and the potentials of simulated sweeps."

import math
from dataclasses import astuple, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.data.er import count_factor
from lunar_potential.physics.charging import (
    ROOTS,
    U_MAX,
    U_MIN_LIT,
    ChargingErrors,
    ChargingModel,
    ambient_params,
    ambient_roots,
    balance_root,
    balance_roots,
    followed_slope,
    ion_current,
    landing_current,
    net_current,
    photo_current,
    photo_potential,
    root_error,
    secondary_current,
    secondary_yield,
    spacecraft_potential,
)
from lunar_potential.physics.geometry import cell_pitch
from lunar_potential.physics.kappa import (
    NOMINAL_BACKGROUND,
    IncidentCounts,
    Response,
    cell_counts,
    incident_counts,
    kappa_current,
    kappa_flux,
)
from lunar_potential.synthetic.simulate import (
    THETA,
    SimulationOptions,
    Truth,
    dark_currents,
    measured_flux,
    shaded_potential,
    simulate_sweeps,
    sunlit_potential,
)
from lunar_potential.units import E_CHARGE, M_PROTON, Flag

FACTOR = count_factor(THETA)
MODEL = ChargingModel()
anytime = settings(deadline=None)  # a busy machine is no failure


def on_body(n, T, kappa, u):
    "ln C, ln W_m and ln(kappa - 3/2) of the spectrum that a body at `u` measures."
    width, energy = T * (kappa - 1.5) - u, 100.0 + max(u, 0)
    log_c = math.log(measured_flux(energy, u, n, T, kappa) / energy) + (
        kappa + 1
    ) * math.log(width + energy)
    return np.array([log_c, math.log(width), math.log(kappa - 1.5)])


def root(n, T, kappa, lit, u, model=MODEL):
    "Potential at which the spectrum measured at `u` balances."
    return balance_root(lit, on_body(n, T, kappa, u), astuple(model), U_MAX)[0]


def dark(T, kappa):
    "Potential in shade according to the simulator."
    return shaded_potential(np.array([float(T)]), np.array([float(kappa)]))[0]


def sunlit(n, T, kappa):
    "Potential in sunlight according to the simulator."
    return sunlit_potential(
        np.array([float(n)]), np.array([float(T)]), np.array([float(kappa)])
    )[0]


def every_root(lit, params, model=MODEL):
    "All potentials consistent with a spectrum."
    roots = np.empty(ROOTS)
    return roots[: balance_roots(lit, params, astuple(model), roots)]


def net(u, lit, params, model=MODEL):
    "Net current at `u`, as the search for roots sees it."
    width, kappa = math.exp(params[1]), 1.5 + math.exp(params[2])
    released = secondary_current(
        params[0], width, kappa, model.yield_max, model.yield_energy
    )
    return net_current(u, lit, params[0], width, kappa, released, astuple(model))


def sweeps_of(n, T, kappa, u, size=40, noise=False, seed=0):
    "Incident counts of sweeps measured at spacecraft potential `u`."
    return counts_of(
        Truth.of(
            size,
            n=n,
            T=T,
            kappa=kappa,
            u_sc=u,
            b=8 * np.random.default_rng(seed).normal(size=(size, 3)),
        ),
        noise,
        seed,
    )


def counts_of(truth, noise=True, seed=0):
    "Incident counts of simulated sweeps."
    background = NOMINAL_BACKGROUND if noise else 0.0
    measured = simulate_sweeps(
        truth,
        SimulationOptions(
            gain_error=0.0, flag_rate=0.0, background=8 / 2.5 * background
        ),
        noise=noise,
        seed=seed,
    )
    mu = cell_pitch(measured.phi, measured.theta, measured.b, truth.polarity)
    counts = (
        cell_counts(measured.energy, measured.flux, FACTOR)
        if noise
        else measured.flux * measured.energy[:, :, None] * FACTOR
    )
    return incident_counts(measured.energy, counts, mu, FACTOR, background)


def arrays(record):
    return {f.name: getattr(record, f.name) for f in fields(record)}


# --- photoelectrons


@pytest.mark.parametrize(
    "u, current",
    [
        (0, 1.086e-6),
        (5, 4.08e-7),
        (10, 1.58352e-7),
        (20, 3.11e-8),
        (50, 7.0e-9),
        (150, 1.31e-9),
    ],
)
def test_published_curve(u, current):
    assert photo_current(float(u)) == pytest.approx(
        current, rel=1e-5 if u == 10 else 4e-3
    )


def test_curve_at_zero_is_the_sum_of_both_populations():
    assert photo_current(0.0) == pytest.approx(1.07e-6 + 1.6e-8, abs=1e-12)


def test_curve_falls_above_zero_and_is_level_below():
    u = np.linspace(U_MIN_LIT, U_MAX, 400)
    assert (np.diff([photo_current(v) for v in u]) < 0).all()
    assert photo_current(-1e3) == photo_current(U_MIN_LIT) < 1.11 * photo_current(0.0)


@anytime
@given(st.floats(U_MIN_LIT, U_MAX))
def test_potential_of_a_current_is_the_inverse(u):
    assert photo_potential(photo_current(u)) == pytest.approx(u, abs=1e-6)


@pytest.mark.parametrize("share", [1.12, 5.0, 1e-3])
def test_a_current_off_the_curve_is_refused(share):
    with pytest.raises(ValueError, match="lies outside the J-U curve"):
        photo_potential(share * photo_current(0.0))


# --- electrons that land


@anytime
@given(st.floats(2.0, 1000.0), st.floats(2.0, 20.0), st.floats(-0.9, 3.0))
def test_landing_electrons_are_the_flux_that_lands(T, kappa, charge):
    u = charge * T * (kappa - 1.5)
    if u > 0:
        u = 0.5 * min(u, T * (kappa - 1.5))
    params = on_body(1e6, T, kappa, u)
    energy = math.exp(params[1]) * np.geomspace(1e-6, 1e10, 20_001)
    flux = math.exp(params[0]) * energy * (math.exp(params[1]) + energy) ** (-kappa - 1)
    assert (
        flux[3000]
        == pytest.approx(
            measured_flux(energy[3000], min(u, 0), 1e6, T, kappa), rel=1e-6
        )
        or u > 0
    )
    numeric = 1e4 * math.pi * E_CHARGE * np.trapezoid(flux * energy, np.log(energy))
    assert landing_current(params[0], math.exp(params[1]), kappa) == pytest.approx(
        numeric, rel=1e-2
    )


@anytime
@given(
    st.floats(1e3, 1e8),
    st.floats(1.0, 2000.0),
    st.floats(1.7, 40.0),
    st.floats(-0.9, 0.4),
)
def test_undisturbed_current_is_that_of_the_ambient_plasma(n, T, kappa, charge):
    u = charge * T * (kappa - 1.5)
    params = on_body(n, T, kappa, u)
    assert landing_current(params[0], math.exp(params[1]) + u, kappa) == pytest.approx(
        kappa_current(n, T, kappa), rel=1e-6
    )


@anytime
@given(st.floats(1.7, 40.0), st.floats(1.0, 500.0), st.floats(0.0, 20.0))
def test_a_negative_body_repels_by_the_kappa_law(kappa, T, depth):
    width, u = T * (kappa - 1.5), -depth * T
    share = landing_current(0.0, width - u, kappa) / landing_current(0.0, width, kappa)
    assert share == pytest.approx((1 - u / width) ** (1 - kappa), rel=1e-9)


def test_weight_of_a_retarded_spectrum():
    kappa, T, u = 4.0, 10.0, -30.0
    energy = np.geomspace(-u, 1e6, 100_001)
    ambient = kappa_flux(energy, 1e6, T, kappa)
    over_all = 1e4 * math.pi * E_CHARGE / kappa_current(1e6, T, kappa)
    weighted = over_all * np.trapezoid(
        ambient * (1 + u / energy) * energy, np.log(energy)
    )
    params = on_body(1e6, T, kappa, u)
    share = landing_current(params[0], math.exp(params[1]), kappa) / kappa_current(
        1e6, T, kappa
    )
    assert share == pytest.approx(0.0939, abs=5e-5) and share == pytest.approx(
        weighted, rel=1e-4
    )
    cut = over_all * np.trapezoid(ambient * energy, np.log(energy))
    assert cut == pytest.approx(
        0.2476, abs=1e-4
    )  # without the weight: what this must not be


def test_a_maxwellian_is_repelled_by_the_boltzmann_factor():
    kappa = 1e6
    width = (kappa - 1.5) * 10.0
    log_c = (kappa + 1) * math.log(width)
    assert landing_current(log_c, width + 25, kappa) / landing_current(
        log_c, width, kappa
    ) == pytest.approx(math.exp(-2.5), rel=1e-3)


# --- secondaries


@pytest.mark.parametrize(
    "energy, expected",
    [
        (20, 0.30),
        (40, 0.50),
        (100, 0.91),
        (200, 1.25),
        (500, 1.50),
        (1000, 1.31),
        (2000, 0.81),
        (5000, 0.20),
    ],
)
def test_yield_of_one_electron(energy, expected):
    assert secondary_yield(float(energy)) == pytest.approx(expected, abs=0.006)


@anytime
@given(st.floats(0.1, 5.0), st.floats(50.0, 2000.0), st.floats(0.01, 100.0))
def test_yield_is_largest_where_it_should_be(most, at, ratio):
    assert secondary_yield(at, most, at) == pytest.approx(
        7.4 * math.exp(-2) * most, rel=1e-12
    )
    assert secondary_yield(ratio * at, most, at) <= secondary_yield(at, most, at) * (
        1 + 1e-12
    )


MEAN_YIELDS = {
    10: 0.28,
    20: 0.47,
    30: 0.61,
    50: 0.81,
    80: 1.01,
    120: 1.17,
    200: 1.30,
    500: 1.23,
    1000: 0.92,
    2000: 0.54,
}


def mean_yield(T, kappa):
    width = T * (kappa - 1.5)
    log_c = (kappa + 1) * math.log(width)
    return secondary_current(log_c, width, kappa, 1.5, 500.0) / landing_current(
        log_c, width, kappa
    )


@pytest.mark.parametrize("T", MEAN_YIELDS)
def test_mean_yield_of_a_maxwellian(T):
    assert mean_yield(float(T), 300.0) == pytest.approx(MEAN_YIELDS[T], abs=0.012)


@pytest.mark.parametrize(
    "T, kappa", [(10.0, 3.0), (60.0, 3.5), (400.0, 4.0), (60.0, 12.0)]
)
@pytest.mark.parametrize("u", [0.0, -40.0])
def test_secondaries_and_landing_electrons_equal_those_of_the_simulator(T, kappa, u):
    _, released, landed = dark_currents(np.array([u]), np.array([T]), np.array([kappa]))
    log_c, log_width, _ = on_body(1.0, T, kappa, u)
    assert landing_current(log_c, math.exp(log_width), kappa) == pytest.approx(
        landed[0], rel=3e-3
    )
    assert secondary_current(
        log_c, math.exp(log_width), kappa, 1.5, 500.0
    ) == pytest.approx(released[0], rel=3e-3)


# --- ions


def test_ion_current_without_charge_is_the_thermal_one():
    thermal = E_CHARGE * 1e6 * math.sqrt(E_CHARGE * 10.0 / (2 * math.pi * M_PROTON))
    assert ion_current(1e6, 10.0, 0.0, 0.5, M_PROTON) == pytest.approx(
        thermal, rel=1e-12
    )


@pytest.mark.parametrize("exponent, gain", [(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_ions_are_drawn_in_by_a_negative_plane_cylinder_and_sphere(exponent, gain):
    rest = ion_current(1e6, 10.0, 0.0, exponent, M_PROTON)
    assert ion_current(1e6, 10.0, -30.0, exponent, M_PROTON) == pytest.approx(
        gain * rest, rel=1e-12
    )


@anytime
@given(
    st.floats(1.0, 1000.0),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.floats(-1e4, 100.0),
    st.floats(0.0, 100.0),
)
def test_ion_current_is_positive_and_never_grows_with_the_potential(
    T, exponent, u, step
):
    low, high = (ion_current(1e6, T, v, exponent, M_PROTON) for v in (u, u + step))
    assert low >= high >= 0 and low > 0


def test_heavy_ions_are_slow():
    assert ion_current(1e6, 10.0, -5.0, 0.5, 16 * M_PROTON) == pytest.approx(
        ion_current(1e6, 10.0, -5.0, 0.5, M_PROTON) / 4, rel=1e-12
    )


# --- the balance


@pytest.mark.parametrize("T, kappa", [(10.0, 4.0), (60.0, 3.3), (400.0, 4.0)])
def test_a_body_too_negative_for_any_electron_gains_positive_charge(T, kappa):
    for deep in (-100 * T, -1e4 * T):
        log_c, log_width, log_index = params = on_body(1e6, T, kappa, deep)
        landing = landing_current(log_c, math.exp(log_width), kappa)
        ions = ion_current(1e6, T, deep, 0.5, M_PROTON)
        assert 0 < landing < 0.2 * ions and net(deep, 0.0, params) > 0
        assert net(deep, 0.0, params) == pytest.approx(
            ions
            - landing
            + secondary_current(log_c, math.exp(log_width), kappa, 1.5, 500.0),
            rel=1e-6,
        )


@pytest.mark.parametrize("lit", [0.0, 0.5, 1.0])
def test_a_very_positive_body_loses_its_charge(lit):
    assert net(100.0, lit, on_body(1e6, 60.0, 3.3, 0.0)) < 0


def test_a_potential_that_leaves_no_plasma_has_a_positive_balance_at_its_edge():
    params = on_body(1e6, 20.0, 3.0, -10.0)
    edge = -math.exp(params[1])
    assert net(edge * (1 - 1e-6), 0.0, params) > 0 and math.isnan(
        net(edge * 1.001, 0.0, params)
    )


@pytest.mark.parametrize("kappa", [2.5, 3.0, 4.0, 8.0])
@pytest.mark.parametrize("T", [2.0, 10.0, 40.0, 60.0, 150.0, 400.0, 1500.0])
def test_root_in_shade_is_that_of_the_simulator(T, kappa):
    expected = dark(T, kappa)
    assert root(1e6, T, kappa, 0.0, expected) == pytest.approx(
        expected, abs=0.1 + 0.01 * abs(expected)
    )


@pytest.mark.parametrize(
    "n, T, kappa",
    [(5e6, 12.0, 4.0), (8e4, 90.0, 3.0), (3e5, 400.0, 4.0), (2e6, 8.0, 6.0)],
)
def test_root_in_sunlight_inverts_the_curve(n, T, kappa):
    expected = photo_potential(kappa_current(n, T, kappa))
    assert root(n, T, kappa, 1.0, expected) == pytest.approx(expected, abs=2e-3)
    assert expected == pytest.approx(sunlit(n, T, kappa), abs=1e-6)


@pytest.mark.parametrize("T", [0.5, 1.0, 5.0, 20.0, 40.0])
def test_a_cold_plasma_never_charges_a_body_in_shade_positively(T):
    for kappa in (2.0, 3.0, 6.0, 20.0):
        found = root(1e6, T, kappa, 0.0, 0.0)
        assert -T * (kappa - 1.5) <= found < 0


@pytest.mark.parametrize("T", [100.0, 200.0, 400.0, 600.0])
def test_a_yield_above_one_gives_a_small_positive_root(T):
    kappa = 8.0
    assert mean_yield(T, kappa) > 1
    found = root(1e6, T, kappa, 0.0, 0.0)
    assert 0 < found < 2 * MODEL.secondary_temperature
    assert root(
        1e6, T, kappa, 0.0, 0.0, replace(MODEL, secondary_temperature=8.0)
    ) == pytest.approx(4 * found, rel=0.15)


def test_the_root_does_not_depend_on_density_in_shade():
    assert root(1e3, 30.0, 4.0, 0.0, -20.0) == pytest.approx(
        root(1e8, 30.0, 4.0, 0.0, -20.0), abs=2e-3
    )


@anytime
@given(
    st.floats(2.0, 60.0),
    st.floats(2.0, 20.0),
    st.floats(0.2, 1.3),
    st.floats(1.02, 1.4),
)
def test_a_larger_yield_makes_the_body_less_negative(T, kappa, most, more):
    less, greater = (
        root(1e6, T, kappa, 0.0, 0.0, replace(MODEL, yield_max=y))
        for y in (most, most * more)
    )
    assert greater > less


@anytime
@given(st.floats(5e-2, 0.95), st.floats(0.02, 0.3))
def test_more_sunlight_never_lowers_the_potential(lit, more):
    params = on_body(1e6, 40.0, 4.0, 0.0)
    low, high = (
        balance_root(min(light, 1.0), params, astuple(MODEL), U_MAX)[0]
        for light in (lit, lit + more)
    )
    assert high >= low - 2e-3


def test_penumbra_lies_between_shade_and_sunlight():
    shade, half, light = (root(1e6, 20.0, 4.0, lit, 0.0) for lit in (0.0, 0.5, 1.0))
    assert shade < half < light


@pytest.mark.parametrize(
    "params, lit",
    [
        (
            on_body(1e8, 100.0, 4.0, 0.0),
            1.0,
        ),  # more electrons than photoelectrons can balance
        (on_body(1e2, 100.0, 4.0, 0.0), 1.0),  # so few that the curve has ended
    ],
)
def test_no_root_is_not_a_number(params, lit):
    u, number = balance_root(lit, params, astuple(MODEL), U_MAX)
    assert math.isnan(u) and number == 0


@pytest.mark.parametrize("n, T, kappa", [(2.0e4, 80.0, 3.26), (2.2e4, 70.0, 2.96)])
def test_thin_plasma_in_sunlight_has_several_roots_of_which_the_smallest_counts(
    n, T, kappa
):
    params = on_body(n, T, kappa, sunlit(n, T, kappa))
    found, number = balance_root(1.0, params, astuple(MODEL), U_MAX)
    axis = np.linspace(U_MIN_LIT, U_MAX, 20_001)
    current = np.array([net(v, 1.0, params) for v in axis])
    crossings = np.flatnonzero((current[:-1] > 0) != (current[1:] > 0))
    assert (
        number == len(crossings) > 1
        and axis[crossings[0]] <= found + 1e-3
        and found - 1e-3 <= axis[crossings[0] + 1]
    )
    assert (
        balance_root(1.0, params, astuple(MODEL), found + 1e-3)[1] == 1
    )  # others count only below the lowest populated energy
    assert any(abs(u - sunlit(n, T, kappa)) < 0.01 for u in every_root(1.0, params))


@anytime
@given(st.floats(5, 1000), st.floats(2.2, 8), st.floats(1e4, 2e7))
def test_the_true_potential_is_among_the_roots(T, kappa, n):
    expected = sunlit(n, T, kappa)
    if not 0.2 < expected < min(0.95 * (kappa - 1.5) * T, 140):
        return
    roots = every_root(1.0, on_body(n, T, kappa, expected))
    assert (np.diff(roots) > 0).all() and np.abs(
        roots - expected
    ).min() < 0.01 + 0.06 * expected


def test_the_unstable_root_of_three_is_called_so():
    plasma = (2e5, 670.0, 3.0)
    for root in ambient_roots(*plasma):
        assert (
            followed_slope(root.u, 0.0, ambient_params(*plasma, root.u), astuple(MODEL))
            < 0
        ) == root.stable


def test_the_error_of_a_root_on_an_exponential_curve():
    curve = replace(MODEL, photo_c=0.0)
    params = on_body(
        1e4, 1e5, 4.0, 8.0
    )  # so hot that a few volts do not change its current
    u, _ = balance_root(1.0, params, astuple(curve), U_MAX)
    for part in (0.01, 0.1, 0.3):
        up, down = (
            -curve.photo_b * math.log(1 - sign * part) * sign for sign in (1, -1)
        )
        assert root_error(
            u, part * photo_current(u, curve), 1.0, params, astuple(curve)
        ) == pytest.approx(math.sqrt((up**2 + down**2) / 2), rel=0.02)


# --- every constant can be replaced

CASES = {
    "solar wind": (5e6, 12.0, 4.0, 1.0, 4.0),
    "lobe": (8e4, 90.0, 3.0, 1.0, 24.0),
    "wake": (2e5, 60.0, 3.3, 0.0, -30.0),
    "plasma sheet": (3e5, 400.0, 4.0, 0.0, 0.0),
}


@pytest.mark.parametrize(
    "name, change, case, sign",
    [
        ("photo_a", 1.3, "solar wind", 1),
        ("photo_b", 1.3, "solar wind", 1),
        ("photo_c", 1.3, "lobe", 1),
        ("photo_d", 1.3, "lobe", 1),
        ("yield_max", 1.1, "wake", 1),
        ("yield_energy", 1.2, "wake", -1),
        ("secondary_temperature", 1.5, "plasma sheet", 1),
        ("ion_temperature_ratio", 2.0, "wake", 1),
        ("ion_exponent", 2.0, "wake", 1),
        ("ion_mass", 4.0, "wake", -1),
        ("ion_speed", 1.0, "wake", 1),
    ],
)
def test_each_constant_moves_the_root_the_right_way(name, change, case, sign):
    before = root(*CASES[case])
    after = root(
        *CASES[case], replace(MODEL, **{name: change * (getattr(MODEL, name) or 1e5)})
    )  # ions do not drift unless told to
    assert sign * (after - before) > 0.01


def test_all_constants_are_covered_above():
    assert {f.name for f in fields(ChargingModel)} == {
        "photo_a",
        "photo_b",
        "photo_c",
        "photo_d",
        "yield_max",
        "yield_energy",
        "secondary_temperature",
        "ion_temperature_ratio",
        "ion_exponent",
        "ion_mass",
        "ion_speed",
    }


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
    clean = spacecraft_potential(
        sweeps_of(n, T, kappa, expected, size=4),
        np.full(4, lit),
        response=Response(cut=SimulationOptions().response_cut),
    )
    assert (
        np.allclose(clean.u, expected, atol=0.2 if lit else 0.5)
        and not clean.flags.any()
        and (clean.n_roots == 1).all()
        and np.array_equal(clean.roots[:, 0], clean.u)
        and clean.stable[:, 0].all()
    )
    noisy = spacecraft_potential(
        sweeps_of(n, T, kappa, expected, size=60, noise=True), np.full(60, lit)
    )
    off = np.abs(noisy.u - expected)
    assert (
        np.median(off) < (0.5 if lit else 1.0)
        and (noisy.error > 0).all()
        and (off < 3 * noisy.error).mean() > 0.95
    )
    assert np.median(noisy.fit.temperature) == pytest.approx(T, rel=0.05) and np.median(
        noisy.fit.density
    ) == pytest.approx(n, rel=0.1)


def test_the_error_in_sunlight_holds_that_of_the_absolute_flux():
    sums, stated = (
        sweeps_of(3e5, 400.0, 4.0, sunlit(3e5, 400.0, 4.0), size=3),
        ChargingErrors(flux=0.03),
    )
    found = spacecraft_potential(sums, np.ones(3), stated=stated)
    moved = (
        spacecraft_potential(
            replace(sums, exposure=sums.exposure / (1 + stated.flux)), np.ones(3)
        ).u
        - found.u
    )
    bright = IncidentCounts(
        sums.energy,
        1e4 * sums.counts,
        1e4 * sums.exposure,
        sums.background,
        sums.background_sd,
    )
    assert (np.abs(moved) > 0.02).all()  # more counts do not take it away
    assert spacecraft_potential(
        bright, np.ones(3), stated=replace(stated, balance=0.0)
    ).error == pytest.approx(np.abs(moved), rel=0.1)


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
    sums = sweeps_of(
        n, T, kappa, sunlit(n, T, kappa) if lit else dark(T, kappa), size=2
    )
    none = dict.fromkeys(
        ("photo", "yield_max", "yield_energy", "secondary_temperature", "ions"), 0.0
    )
    alone = spacecraft_potential(
        sums,
        np.full(2, lit),
        stated=ChargingErrors(**none | {name: getattr(ChargingErrors(), name)}),
    )
    moved = (
        spacecraft_potential(sums, np.full(2, lit), replace(MODEL, **change)).u
        - alone.u
    )
    assert (
        alone.constants_error == pytest.approx(np.abs(moved), rel=0.5)
        and (np.abs(moved) > 0.05).all()
    )
    exact = spacecraft_potential(sums, np.full(2, lit), stated=ChargingErrors(**none))
    assert (exact.constants_error < 0.01).all() and np.array_equal(
        exact.error, alone.error
    )
    assert np.array_equal(
        alone.total_error, np.hypot(alone.error, alone.constants_error)
    )


def test_standardised_errors_have_unit_spread():
    "Sweeps whose absolute flux and balance differ as the stated uncertainties say."
    rng, z, stated = np.random.default_rng(8), [], ChargingErrors()
    for n, T, kappa, lit in [
        (5e6, 12.0, 4.0, 1.0),
        (8e4, 90.0, 3.0, 1.0),
        (3e5, 400.0, 4.0, 1.0),
        (3e5, 40.0, 5.0, 0.0),
        (2e5, 60.0, 3.3, 0.0),
        (3e5, 400.0, 4.0, 0.0),
    ]:
        balance = (sunlit(n, T, kappa) if lit else dark(T, kappa)) * np.ones(60)
        true = balance + rng.normal(0, stated.balance, 60)
        sums = sweeps_of(
            n * (1 + rng.normal(0, stated.flux, 60)),
            T,
            kappa,
            true,
            size=60,
            noise=True,
        )
        found = spacecraft_potential(
            sums,
            np.full(60, lit),
            response=Response(cut=SimulationOptions().response_cut),
        )
        z.append((found.u - true) / found.error)
    assert all(0.5 < np.std(part) < 1.5 for part in z) and 0.8 < np.std(z) < 1.2


def test_cool_dense_wind_has_two_potentials_and_says_so():
    n, T, kappa = 8e6, 5.0, 3.5  # all of its core lies below the lowest channel
    expected = sunlit(n, T, kappa)
    found = spacecraft_potential(
        sweeps_of(n, T, kappa, expected, size=20, noise=True),
        np.ones(20),
        response=Response(cut=SimulationOptions().response_cut),
    )
    assert (
        (found.n_roots == 2).all()
        and (found.flags & Flag.SEVERAL_ROOTS).all()
        and found.stable[:, :2].all()
    )
    assert (np.abs(found.roots[:, :2] - expected).min(axis=1) < 3 * found.error).all()
    assert (np.abs(found.fit.density / n - 1) < 3 * found.fit.density_error).all() and (
        np.abs(found.fit.temperature / T - 1) < 3 * found.fit.temperature_error
    ).all()


def test_plasmas_between_5_ev_and_1_kev_come_back():
    rng = np.random.default_rng(3)
    T, kappa, wanted = (
        np.geomspace(5, 1000, 60),
        rng.uniform(2.5, 6.0, 60),
        rng.uniform(3.5, 12.0, 60),
    )
    n = np.array(
        [
            1e6 * photo_current(u) / kappa_current(1e6, t, k)
            for u, t, k in zip(wanted, T, kappa)
        ]
    )
    truth = Truth.of(
        60, n=n, T=T, kappa=kappa, u_sc=wanted, b=8 * rng.normal(size=(60, 3))
    )
    found = spacecraft_potential(
        counts_of(truth),
        np.ones(60),
        response=Response(cut=SimulationOptions().response_cut),
    )
    for got, true, bar in (
        (found.fit.density, n, 0.05),
        (found.fit.temperature, T, 0.05),
    ):
        assert np.median(np.abs(got / true - 1)) < bar
    assert (
        np.median(np.abs(found.fit.kappa - kappa)) < 0.3
        and np.nanmedian(np.abs(found.u - wanted)) < 0.5
    )
    assert (np.isfinite(found.u) | (found.flags > 0)).all()


def test_thin_plasma_in_sunlight_leaves_no_wild_potential():
    rng = np.random.default_rng(5)
    n, T, kappa = (
        rng.uniform(8e3, 4e4, 40),
        rng.uniform(60, 110, 40),
        rng.uniform(3.0, 4.2, 40),
    )
    expected = np.array([sunlit(*plasma) for plasma in zip(n, T, kappa)])
    found = [
        spacecraft_potential(sweeps_of(*plasma, u, size=2, noise=True), np.ones(2))
        for *plasma, u in zip(n, T, kappa, expected)
    ]
    off, error = (
        np.concatenate([f.u - u for f, u in zip(found, expected)]),
        np.concatenate([f.error for f in found]),
    )
    known = np.isfinite(off)
    assert (
        expected.max() > 80
        and known.mean() > 0.8
        and (np.abs(off) < np.maximum(3 * error, 3))[known].mean() > 0.97
    )
    assert all(f.flags[np.isnan(f.u)].all() for f in found)


def test_fit_and_potential_agree_with_each_other():
    found = spacecraft_potential(
        sweeps_of(3e5, 60.0, 3.2, -28.0, size=5, noise=True), np.zeros(5)
    )
    for s in range(5):
        params, kappa = found.fit.params[s], found.fit.kappa[s]
        assert abs(net(found.u[s], 0.0, params)) < 1e-3 * landing_current(
            params[0], math.exp(params[1]), kappa
        )
        assert found.fit.temperature[s] * (kappa - 1.5) == pytest.approx(
            math.exp(params[1]) + found.u[s], rel=1e-6
        )


def test_unknown_sunlight_gives_a_plasma_but_no_potential():
    sums = sweeps_of(3e5, 60.0, 3.2, -28.0, size=3)
    found = spacecraft_potential(sums, np.array([0.0, np.nan, 0.0]))
    assert np.isfinite(found.u).tolist() == [True, False, True] and np.isnan(
        found.error[1]
    )
    assert (
        found.flags.tolist() == [0, int(Flag.NO_U_SPACECRAFT), 0]
        and np.isfinite(found.fit.temperature).all()
    )


def test_unknown_sunlight_has_no_roots_to_choose_from():
    n, T, kappa = 8e6, 5.0, 3.5  # two roots in sunlight
    found = spacecraft_potential(
        sweeps_of(n, T, kappa, sunlit(n, T, kappa), size=2), np.full(2, np.nan)
    )
    assert (
        (found.flags == int(Flag.NO_U_SPACECRAFT)).all()
        and (found.n_roots == 0).all()
        and np.isnan(found.roots).all()
        and np.isnan(found.total_error).all()
    )


def test_a_missing_spectrum_has_neither():
    sums = sweeps_of(3e5, 60.0, 3.2, -28.0, size=3)
    sums.counts[1] = 0
    found = spacecraft_potential(sums, np.zeros(3))
    assert (
        np.isfinite(found.u).tolist()
        == np.isfinite(found.fit.density).tolist()
        == [True, False, True]
    )
    assert found.flags.tolist() == [
        0,
        int(Flag.NO_U_SPACECRAFT | Flag.KAPPA_FAILED),
        0,
    ] and found.n_roots.tolist() == [1, 0, 1]


def test_a_balance_without_root_is_flagged():
    found = spacecraft_potential(
        sweeps_of(1e2, 200.0, 4.0, 0.0, size=2),
        np.ones(2),
        replace(MODEL, photo_d=600.0),
    )
    assert (
        np.isnan(found.u).all()
        and (found.flags == int(Flag.NO_U_SPACECRAFT)).all()
        and (found.n_roots == 0).all()
        and np.isnan(found.roots).all()
    )


@pytest.mark.parametrize("n, T, kappa", [(3e5, 400.0, 4.0), (1e6, 20.0, 4.0)])
def test_sweeps_in_penumbra_lie_between_shade_and_sunlight(n, T, kappa):
    shade, light = dark(T, kappa), sunlit(n, T, kappa)
    found = spacecraft_potential(
        sweeps_of(n, T, kappa, 0.5 * (shade + light), size=3), np.full(3, 0.33)
    )
    assert ((found.u > shade - 2) & (found.u < light + 2)).all() and (
        found.flags & Flag.PARTLY_LIT
    ).all()
    for body in (shade, light):  # where it was when half of the channels were measured
        moving = spacecraft_potential(
            sweeps_of(n, T, kappa, body, size=3), np.full(3, 0.33)
        )
        far = max(
            shade - moving.u.min(),
            moving.u.max() - shade,
            light - moving.u.min(),
            moving.u.max() - light,
        )
        assert (moving.error > 0.7 * np.abs(moving.u - body)).all() and (
            moving.error < 1.5 * far + 1
        ).all()


def test_a_sunlit_body_charged_negatively_is_not_called_neutral():
    n, T, kappa = 1e7, 40.0, 4.0
    expected = sunlit(n, T, kappa)
    assert expected < -10
    found = spacecraft_potential(sweeps_of(n, T, kappa, expected, size=2), np.ones(2))
    assert (
        np.isnan(found.u) | (np.abs(found.u - expected) < 3 * found.error + 3)
    ).all()


def test_a_sweep_is_charged_as_if_it_were_alone():
    sums = sweeps_of(3e5, np.geomspace(20, 500, 12), 3.5, -5.0, size=12, noise=True)
    sums.counts[3], sums.counts[7, 4:] = 0.0, 0.0
    lit = np.array([0.0, 1.0, 0.4, np.nan] * 3)
    whole = spacecraft_potential(sums, lit)
    for s in range(12):
        alone = spacecraft_potential(
            IncidentCounts(*(a[s : s + 1] for a in arrays(sums).values())),
            lit[s : s + 1],
        )
        for one, other in (
            (arrays(alone), arrays(whole)),
            (arrays(alone.fit), arrays(whole.fit)),
        ):
            for name in one.keys() - {"fit"}:
                np.testing.assert_array_equal(
                    one[name][0], other[name][s], err_msg=name
                )


def test_the_input_is_left_alone():
    sums, lit = (
        sweeps_of(3e5, 60.0, 3.2, -28.0, size=3, noise=True),
        np.array([0.0, 1.0, 0.5]),
    )
    before = {name: a.copy() for name, a in arrays(sums).items()}
    spacecraft_potential(sums, lit)
    for name, a in arrays(sums).items():
        np.testing.assert_array_equal(a, before[name], err_msg=name)
    assert lit.tolist() == [0.0, 1.0, 0.5]


def test_no_sweeps_at_all():
    found = spacecraft_potential(
        IncidentCounts(*(np.zeros((0, 15)) for _ in range(4)), np.zeros(0)), np.zeros(0)
    )
    assert len(found.u) == len(found.flags) == len(found.fit.density) == 0


# --- roots in an ambient plasma


@pytest.mark.parametrize(
    "n, T, kappa",
    [
        (2e5, 60.0, 3.3),
        (5e4, 40.0, 4.0),
        (3e5, 400.0, 3.8),
        (2e5, 670.0, 3.0),
        (1e6, 1500.0, 5.0),
    ],
)
def test_roots_alternate_and_a_measured_spectrum_gives_its_own_root_back(n, T, kappa):
    roots = ambient_roots(n, T, kappa)
    assert [root.stable for root in roots] == [
        k % 2 == 0 for k in range(len(roots))
    ] and len(roots) % 2 == 1
    for u, _ in roots:
        found, number = balance_root(
            0.0, ambient_params(n, T, kappa, u), astuple(MODEL), U_MAX
        )
        assert found == pytest.approx(u, rel=1e-3, abs=0.01) and number == 1


def test_hot_plasma_has_three_roots_and_a_denser_one_the_same():
    roots = ambient_roots(2e5, 670.0, 3.0)
    assert len(roots) == 3 and roots[0].u < -1000 < roots[1].u < 0 < roots[2].u < 2
    assert [root.u for root in ambient_roots(2e6, 670.0, 3.0)] == pytest.approx(
        [root.u for root in roots], rel=1e-6
    )


def test_a_root_in_full_sunlight_is_that_of_the_curve():
    (root,) = ambient_roots(5e6, 12.0, 4.5, lit=1.0)
    assert root.stable and root.u == pytest.approx(sunlit(5e6, 12.0, 4.5), abs=0.01)


def test_ions_that_drift_are_collected_by_the_whole_cross_section():
    n, T, mass = 5e6, 10.0, MODEL.ion_mass
    speed = 4e5
    assert ion_current(n, T, 0.0, 1.0, mass, speed) == pytest.approx(
        1.602176634e-19 * n * speed / 4, rel=0.01
    )
    for exponent in (0.0, 0.5, 1.0):
        slow = ion_current(n, T, -20.0, exponent, mass, 30.0)
        assert slow == pytest.approx(ion_current(n, T, -20.0, exponent, mass), rel=1e-4)
        currents = [
            ion_current(n, T, u, exponent, mass, speed)
            for u in (-50.0, -10.0, 0.0, 10.0)
        ]
        assert all(a >= b for a, b in zip(currents, currents[1:]))


def test_penumbra_is_flagged():
    sums = sweeps_of(2e5, 60.0, 3.3, -20.0, size=3)
    flags = spacecraft_potential(sums, np.array([0.0, 0.4, 1.0])).flags
    assert [bool(f & Flag.PARTLY_LIT) for f in flags] == [False, True, False]
