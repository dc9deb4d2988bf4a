"Core, halo, strahl and photoelectrons: moments and fluxes in closed form."

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from lunar_potential.synthetic.electrons import (
    STRAHL_ENERGY,
    STRAHL_SPREAD,
    isotropic_density,
    photoelectron_flux,
    plasma_energy,
    speed_energy,
    strahl_direction,
    strahl_moment,
    strahl_window,
)
from lunar_potential.synthetic.plasma import ambient_flux, photo_current
from lunar_potential.units import E_CHARGE, M_ELECTRON

FINE = np.geomspace(1e-3, 1e6, 3000)  # eV
SPEED = np.sqrt(2 * E_CHARGE * FINE / M_ELECTRON)  # m/s
COSINE, WEIGHT = np.polynomial.legendre.leggauss(40)
HALO = dict(halo=0.05, halo_T=65.0, halo_kappa=6.0)
anytime = settings(deadline=None, max_examples=25)  # a busy machine is no failure
temperatures, kappas = st.floats(5.0, 100.0), st.floats(3.5, 40.0)
shares, speeds = st.floats(0.0, 0.2), st.floats(50.0, 900.0)


def integral(values):
    "Over energy, on a logarithmic axis."
    return np.trapezoid(values * FINE, np.log(FINE))


def moments(seen):
    "Density (m^-3), velocity along the flow (m/s), mean energy (eV) of f(E, cosine)."
    density = 2 * np.pi * 1e4 * seen * (FINE / SPEED)[:, None]
    n = integral(density @ WEIGHT)
    along = integral(density @ (WEIGHT * COSINE) * SPEED)
    return n, along / n, integral(density @ WEIGHT * FINE) / n


# --- core and halo


@anytime
@given(temperatures, kappas, shares, st.floats(30.0, 300.0))
def test_density_and_mean_energy_are_those_of_core_and_halo(T, kappa, halo, halo_T):
    f = isotropic_density(FINE, 5e6, T, kappa, halo, halo_T, 6.0)
    n, along, mean = moments(np.repeat(f[:, None], len(COSINE), axis=1))
    assert n == pytest.approx(5e6, rel=1e-3) and abs(along) < 1e-6
    assert mean == pytest.approx(1.5 * ((1 - halo) * T + halo * halo_T), rel=0.02)


def test_flux_over_energy_is_the_sum_of_the_populations():
    sum_of = ambient_flux(FINE, 0.95 * 5e6, 11.0, 20.0)
    sum_of = sum_of + ambient_flux(FINE, 0.05 * 5e6, 65.0, 6.0)
    found = FINE * isotropic_density(FINE, 5e6, 11.0, 20.0, **HALO)
    np.testing.assert_allclose(found, sum_of, rtol=1e-12)


# --- the moving plasma


@anytime
@given(
    st.tuples(*[st.floats(-3000.0, 3000.0)] * 3), st.tuples(*[st.floats(-900, 900)] * 3)
)
def test_energy_in_the_frame_of_the_plasma_is_that_of_the_relative_velocity(w, v):
    w, v = np.array(w), np.array(v)
    speed, flow = np.linalg.norm(w), np.linalg.norm(v)
    cosine = w @ v / max(speed * flow, 1e-9)
    found = plasma_energy(speed_energy(speed), speed_energy(flow), cosine)
    expected = speed_energy(np.linalg.norm(w - v))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@anytime
@given(temperatures, kappas, shares, speeds)
def test_a_moving_plasma_has_its_density_velocity_and_energy(T, kappa, halo, speed):
    "Mean energy: that at rest, and that of the flow."
    moved = plasma_energy(FINE[:, None], speed_energy(speed), COSINE)
    n, along, mean = moments(isotropic_density(moved, 5e6, T, kappa, halo, 4 * T, 6.0))
    rest = 1.5 * T * (1 + 3 * halo)
    assert n == pytest.approx(5e6, rel=2e-3)
    assert along == pytest.approx(1e3 * speed, rel=5e-3)
    assert mean == pytest.approx(rest + speed_energy(speed), rel=0.02)


@pytest.mark.parametrize("cosine", [-1.0, -0.4, 0.7, 1.0])
@pytest.mark.parametrize("energy", [30.0, 80.0, 300.0])
def test_to_first_order_the_flux_changes_with_its_slope(energy, cosine):
    "A tenth of the speed leaves a hundredth of the difference."

    def f(at):
        return isotropic_density(at, 5e6, 11.0, 20.0, **HALO)

    slope = (f(energy * 1.0001) - f(energy * 0.9999)) / (2e-4 * energy)
    left = []
    for speed in (10.0, 1.0):
        flow = speed_energy(speed)
        first = f(energy) - slope * 2 * np.sqrt(energy * flow) * cosine
        left.append(f(plasma_energy(energy, flow, cosine)) - first)
    assert left[0] / left[1] == pytest.approx(100, rel=0.1)


def test_the_energy_of_a_speed():
    expected = 0.5 * 9.1093837e-31 * 4e5**2 / 1.602176634e-19  # CODATA
    assert speed_energy(400.0) == pytest.approx(expected, rel=1e-7)


# --- the strahl


@anytime
@given(st.floats(0.05, 1.5), st.sampled_from([0, 1]))
def test_moments_of_the_strahl(width, order):
    def shape(cosine):
        return cosine**order * np.exp(-(1 - cosine) / width**2)

    near = max(0.0, 1 - 30 * width**2)
    expected = quad(shape, near, 1)[0] + quad(shape, 0, near)[0]
    assert strahl_moment(width, order) == pytest.approx(expected, rel=1e-8)


def test_the_window_of_the_strahl_is_a_bell_in_the_logarithm_of_energy():
    steps = np.array([-2, -1, 0, 1, 2])
    found = strahl_window(STRAHL_ENERGY * np.exp(STRAHL_SPREAD * steps))
    np.testing.assert_allclose(found, np.exp(-0.5 * steps**2), rtol=1e-12)


def test_the_strahl_travels_away_from_the_sun():
    "SCD: the Sun is in the direction of +x."
    moonward = [[-1.0, 0, 0], [-0.2, 1, 1], [0.2, 1, 1], [1.0, 0, 0]]
    assert list(strahl_direction(moonward)) == [1, 1, -1, -1]


# --- photoelectrons of the spacecraft


@anytime
@given(st.floats(0.5, 40.0), st.floats(1.1, 5.0))
def test_photoelectrons_between_two_energies_carry_the_measured_current(low, factor):
    high = low * factor
    held = quad(photoelectron_flux, low, high, args=(1e4,))[0]
    current = np.pi * E_CHARGE * 1e4 * held
    expected = photo_current(low) - photo_current(high)
    assert current == pytest.approx(expected, rel=1e-6)


@anytime
@given(st.floats(-50.0, 50.0), st.floats(0.1, 100.0))
def test_only_a_positive_spacecraft_holds_photoelectrons_back(u_sc, energy):
    assert (photoelectron_flux(energy, u_sc) > 0) == (energy < u_sc)
