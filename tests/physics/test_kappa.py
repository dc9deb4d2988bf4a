"Kappa plasmas: closed forms, their Maxwellian limit, and charged bodies."

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_plasmas import ENERGY, integral
from scipy.special import gamma

from lunar_potential.physics.kappa import (
    ambient_moments,
    kappa_current,
    kappa_flux,
    kappa_psd,
    maxwellian_flux,
    maxwellian_psd,
)
from lunar_potential.synthetic.plasma import ambient_flux, measured_flux
from lunar_potential.units import E_CHARGE, M_ELECTRON, electron_speed

anytime = settings(deadline=None)  # a busy machine is no failure
density, temperature, index = (
    st.floats(1e3, 1e8),
    st.floats(1.0, 3000.0),
    st.floats(1.7, 60.0),
)


def wide_axis(temperature, kappa):
    "Energies that hold all but a millionth of a plasma's density."
    width = temperature * (kappa - 1.5)
    return width * np.geomspace(1e-8, 1e2 + 1e6 ** (1 / (kappa - 0.5)), 20_001)


# --- closed forms


@anytime
@given(density, temperature, index)
def test_density_and_temperature_are_the_moments(n, T, kappa):
    energy = wide_axis(T, kappa)
    omni = 4 * np.pi * 1e4 * kappa_flux(energy, n, T, kappa) / electron_speed(energy)
    assert integral(omni, energy) == pytest.approx(n, rel=1e-3)
    if kappa > 2.5:  # below it the last per cent of the pressure lies beyond any axis
        assert 2 / 3 * integral(omni * energy, energy) / n == pytest.approx(T, rel=1e-2)


@anytime
@given(density, temperature, st.floats(2.0, 60.0))
def test_current_is_a_quarter_of_the_omnidirectional_flux(n, T, kappa):
    energy = wide_axis(T, kappa)
    numeric = (
        math.pi * E_CHARGE * 1e4 * integral(kappa_flux(energy, n, T, kappa), energy)
    )
    assert kappa_current(n, T, kappa) == pytest.approx(
        numeric, rel=2e-2 if kappa < 2.5 else 1e-3
    )


def test_current_of_the_published_case():
    n, kappa, theta = 1e6, 3.0, 1e5
    T = 0.5 * M_ELECTRON * theta**2 * kappa / (kappa - 1.5) / E_CHARGE
    closed = (
        E_CHARGE
        * n
        * theta
        * math.sqrt(kappa)
        * gamma(kappa - 1)
        / (2 * math.sqrt(math.pi) * gamma(kappa - 0.5))
    )
    assert closed == pytest.approx(5.8888e-9, rel=1e-5)
    assert kappa_current(n, T, kappa) == pytest.approx(closed, rel=1e-12)


@pytest.mark.parametrize(
    "kappa, share", [(2.5, 0.886), (4.0, 0.952), (6.0, 0.973), (1e6, 1.0)]
)
def test_current_tends_to_the_maxwellian_one(kappa, share):
    assert kappa_current(1e6, 10.0, kappa) == pytest.approx(share * 8.48e-8, rel=1e-3)


def test_current_for_every_density_and_temperature():
    assert kappa_current(4e6, 90.0, 3.3) == pytest.approx(
        4 * 3 * kappa_current(1e6, 10.0, 3.3), rel=1e-12
    )


@anytime
@given(density, index, st.floats(1e5, 1e7), st.floats(0.0, 10.0), st.floats(0.01, 10.0))
def test_phase_space_density_falls_as_the_kappa_law(n, kappa, theta, slow, more):
    T = 0.5 * M_ELECTRON * theta**2 * kappa / (kappa - 1.5) / E_CHARGE
    speed = theta * np.array([slow, slow + more])
    first, second = kappa_psd(0.5 * M_ELECTRON * speed**2 / E_CHARGE, n, T, kappa)
    assert first > second
    ratio = (
        (kappa * theta**2 + speed[0] ** 2) / (kappa * theta**2 + speed[1] ** 2)
    ) ** (-kappa - 1)
    assert first / second == pytest.approx(ratio, rel=1e-9)


@anytime
@given(density, temperature, index)
def test_flux_is_density_of_phase_space_times_speed_squared(n, T, kappa):
    energy = np.array([1.0, 30.0, 2e4])
    expected = (
        kappa_psd(energy, n, T, kappa)
        * electron_speed(energy) ** 2
        * E_CHARGE
        / M_ELECTRON
        * 1e-4
    )
    assert np.allclose(kappa_flux(energy, n, T, kappa), expected, rtol=1e-12, atol=0)


@anytime
@given(density, temperature, index, st.floats(0.1, 100.0))
def test_flux_and_current_grow_with_density(n, T, kappa, factor):
    assert np.allclose(
        kappa_flux(ENERGY, factor * n, T, kappa),
        factor * kappa_flux(ENERGY, n, T, kappa),
        rtol=1e-12,
        atol=0,
    )
    assert kappa_current(factor * n, T, kappa) == pytest.approx(
        factor * kappa_current(n, T, kappa), rel=1e-12
    )


@anytime
@given(density, temperature, index)
def test_flux_equals_that_of_the_simulator(n, T, kappa):
    assert np.allclose(
        kappa_flux(ENERGY, n, T, kappa),
        ambient_flux(ENERGY, n, T, kappa),
        rtol=1e-9,
        atol=0,
    )


# --- on a charged body


@anytime
@given(density, temperature, index, st.floats(-0.95, 3.0))
def test_a_charged_body_sees_a_kappa_plasma_of_another_width(n, T, kappa, charge):
    width = T * (kappa - 1.5)
    u = charge * width if charge < 0 else charge * 20
    body = width - u
    if body <= 0.01 * width:
        return  # attracting more than the plasma's own width: no kappa plasma any more
    energy = np.maximum(u, 0) + np.array([3.0, 60.0, 4000.0])
    flux = measured_flux(energy, u, n, T, kappa)
    log_c = np.log(flux / energy) + (kappa + 1) * np.log(body + energy)
    assert np.ptp(log_c) < 1e-9 * np.abs(log_c).max() + 1e-9
    assert ambient_moments(log_c[0], body, kappa, u) == pytest.approx((n, T), rel=1e-6)


@anytime
@given(density, temperature, index, st.floats(0.01, 0.99))
def test_density_and_temperature_on_a_negative_body(n, T, kappa, depth):
    u = -depth * T * (kappa - 1.5) / 2
    body_width = T * (kappa - 1.5) - u
    flux = measured_flux(100.0, u, n, T, kappa)
    n_body, T_body = ambient_moments(
        math.log(flux / 100) + (kappa + 1) * math.log(body_width + 100),
        body_width,
        kappa,
        0.0,
    )
    assert T_body == pytest.approx(T - u / (kappa - 1.5), rel=1e-9)
    assert n == pytest.approx(n_body * (T / T_body) ** (0.5 - kappa), rel=1e-6)


def test_no_moments_where_the_potential_exceeds_the_width():
    assert (
        np.isnan(ambient_moments(10.0, 30.0, 3.0, -30.0)).all()
        and np.isnan(ambient_moments(10.0, 30.0, 3.0, -31.0)).all()
    )
    assert np.isfinite(ambient_moments(10.0, 30.0, 3.0, -29.9)).all()


# --- the Maxwellian limit


def test_maxwellian_has_its_moments_and_its_value_at_rest():
    n, T = 3e6, 25.0
    energy = T * np.geomspace(1e-8, 60, 20_001)
    omni = 4 * np.pi * 1e4 * maxwellian_flux(energy, n, T) / electron_speed(energy)
    assert integral(omni, energy) == pytest.approx(n, rel=1e-5)
    assert 2 / 3 * integral(omni * energy, energy) / n == pytest.approx(T, rel=1e-5)
    assert maxwellian_psd(0.0, n, T) == pytest.approx(
        n * (M_ELECTRON / (2 * math.pi * E_CHARGE * T)) ** 1.5, rel=1e-12
    )


@pytest.mark.parametrize("kappa", [200.0, 1000.0, 1e5])
def test_kappa_leaves_the_maxwellian_as_its_series_says(kappa):
    x = np.linspace(0, 8, 41)
    ratio = kappa_psd(40 * x, 1e6, 40.0, kappa) / maxwellian_psd(40 * x, 1e6, 40.0)
    assert np.allclose(
        kappa * np.log(ratio), 15 / 8 - 2.5 * x + x**2 / 2, atol=150 / kappa + 1e-3
    )


@pytest.mark.parametrize("kappa", [1e7, 1e12, math.inf])
def test_an_infinite_kappa_is_a_maxwellian(kappa):
    energy = np.linspace(0, 800, 81)
    assert np.allclose(
        kappa_flux(energy, 1e6, 40.0, kappa),
        maxwellian_flux(energy, 1e6, 40.0),
        rtol=2e-5,
        atol=0,
    )
    assert kappa_current(1e6, 40.0, kappa) == pytest.approx(
        1e6 * E_CHARGE * math.sqrt(40 * E_CHARGE / (2 * math.pi * M_ELECTRON)), rel=1e-6
    )
