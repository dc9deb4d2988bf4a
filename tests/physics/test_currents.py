"Currents to a body: closed forms and integrals."

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_plasmas import MODEL, mean_yield, on_body

from lunar_potential.physics.currents import (
    U_MAX,
    U_MIN_LIT,
    ion_current,
    landing_current,
    photo_current,
    photo_potential,
    secondary_current,
    secondary_yield,
)
from lunar_potential.physics.kappa import kappa_current, kappa_flux
from lunar_potential.synthetic.plasma import dark_currents, measured_flux
from lunar_potential.units import E_CHARGE, M_PROTON

anytime = settings(deadline=None)  # a busy machine is no failure
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


# --- roots in an ambient plasma


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
