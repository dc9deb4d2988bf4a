"Jumps of the ambient spectrum at the Moon's shadow, from plasmas in closed form."

import numpy as np
import pytest
from known_plasmas import dark, sunlit, sweep_of

from lunar_potential.physics.currents import ChargingModel
from lunar_potential.physics.kappa import kappa_flux
from lunar_potential.physics.response import Response
from lunar_potential.science.eclipses import (
    ENERGIES,
    LEAST_SIDE,
    Crossings,
    YieldCurve,
    complete,
    find_crossings,
    jumps,
    light_state,
    misfit,
    scatter_matrix,
    smooth_spectra,
    step_weights,
    take_sweeps,
    with_yield,
    yield_curve,
)

LOBE = 5e4, 60.0, 3.5  # n (m^-3), T (eV), kappa
TIMES = 80.0 * np.array([-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6])


def flux(energy):
    return kappa_flux(energy, *LOBE)


def joined(one, other):
    "Sums of sweeps after each other."
    values = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])
        for name in vars(one)
    }
    return type(one)(**values)


def eclipse(u_dark, number=3):
    "A lobe seen in sunlight, and in shade at a potential; several times."
    lit, shade = sweep_of(flux, sunlit(*LOBE), 6), sweep_of(flux, u_dark, 6)
    one = joined(lit, shade)
    which = np.tile(np.arange(12), number)
    return Crossings(
        take_sweeps(one, which),
        np.tile(TIMES, number),
        np.tile(TIMES > 0, number),
        np.repeat(np.arange(number), 12),
        Response(),
    )


@pytest.mark.parametrize("u", [-40.0, 0.0, 3.0, 25.0])
def test_spectra_between_the_channels_are_the_ambient_ones(u):
    incident = sweep_of(flux, u)
    lowest = np.array([1.5 * max(u, 0) + 15])
    found = smooth_spectra(incident, lowest).at(np.array([ENERGIES]) + u)
    np.testing.assert_allclose(
        found, [np.log(flux(np.array(ENERGIES)) / ENERGIES)], atol=0.03
    )


def test_beyond_the_channels_a_power_law():
    spectra = smooth_spectra(sweep_of(flux), np.array([0.0]))
    low = np.array([[5.0, 10.0, 20.0]])
    first, second = np.diff(spectra.at(low))[0]
    assert first == pytest.approx(second, rel=1e-9)


def test_the_spectrum_jumps_unless_the_yield_is_right():
    "A lower yield makes the body seem more negative, and the spectrum jump up."
    day = eclipse(dark(60.0, 3.5))
    found = jumps(day, with_yield(ChargingModel(), [1.35, 1.5, 1.65]))[0]
    assert np.abs(found[1]).max() < 0.1
    assert found[0].min() > 0.1 > -0.1 > found[2, 0]
    assert (np.abs(np.diff(found[0])) > 0).all() and found[0, 0] > found[0, -1]


def test_the_jump_of_a_shift_is_the_slope_of_the_spectrum_times_it():
    "delta ln f = d ln f / dE times delta U."
    day = eclipse(dark(60.0, 3.5))
    from lunar_potential.science.eclipses import potentials

    models = with_yield(ChargingModel(), [1.5, 1.45])
    u, found = potentials(day, models), jumps(day, models)[0]
    shift = np.median((u[1] - u[0])[day.dark])
    energy = np.array(ENERGIES)
    slope = -(3.5 + 1) / (60.0 * (3.5 - 1.5) + energy)
    np.testing.assert_allclose(found[1] - found[0], slope * shift, atol=0.03)
    assert shift < -5


def test_sunlit_potentials_do_not_depend_on_the_yield():
    from lunar_potential.science.eclipses import potentials

    day = eclipse(-20.0)
    u = potentials(day, with_yield(ChargingModel(), [1.2, 1.5, 1.8]))
    assert (u[:, ~day.dark] == u[0, ~day.dark]).all()
    assert (np.diff(u[:, day.dark], axis=0) > 0).all()


def test_crossings_need_whole_sweeps_of_one_light_near_each_other():
    time, light = 80.0 * np.arange(40), np.ones((40, 15))
    light[20:] = 0
    state = light_state(light)
    (at, which), *none = find_crossings(time, state)
    assert not none and at == 80.0 * 19.5 and which.tolist() == [*range(14, 26)]
    light[20, :7] = 1  # the light changes in a sweep
    assert light_state(light)[20] == -1 and len(
        find_crossings(time, light_state(light))
    )
    late = np.where(np.arange(40) >= 20, time + 400, time)
    assert find_crossings(late, state) == []
    short = np.where(np.arange(40) < 20 + LEAST_SIDE - 1, state, -1)
    assert find_crossings(time, short) == []
    assert (light_state(np.full((3, 15), np.nan)) == -1).all()
    assert (light_state(np.full((3, 15), 0.4)) == -1).all()


def test_sweeps_without_a_potential_are_left_out_and_too_few_give_no_jump():
    day = eclipse(dark(60.0, 3.5), number=2)
    day.incident.counts[[0, 1, 2]] = 0  # three sunlit sweeps of the first crossing
    found = jumps(day, with_yield(ChargingModel(), [1.5]))
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()
    assert len(complete(found)) == 1


def test_a_step_is_told_from_a_trend():
    shade = TIMES > 0
    weights = step_weights(TIMES, shade)
    assert weights @ (0.3 * shade + 2.0 + 0.004 * TIMES) == pytest.approx(0.3)


def test_single_odd_crossings_do_not_matter():
    rng = np.random.default_rng(2)
    found = rng.normal(0, 0.2, (60, 4))
    inverse = np.linalg.inv(scatter_matrix(found))
    odd = found.copy()
    odd[:3] += 30.0
    np.testing.assert_allclose(
        misfit(odd, inverse)[1], misfit(found, inverse)[1], atol=0.03
    )
    wide = np.sqrt(np.diag(scatter_matrix(odd)) / np.diag(scatter_matrix(found)))
    assert (wide < 1.5).all()


def test_the_order_of_crossings_does_not_matter():
    rng = np.random.default_rng(3)
    yields = np.array([1.3, 1.4, 1.5, 1.6])
    found = rng.normal(0, 0.2, (30, 1, 4)) + 2 * (1.45 - yields)[None, :, None]
    one, other = yield_curve(yields, found), yield_curve(yields, found[::-1])
    np.testing.assert_allclose(one.misfit, other.misfit, rtol=1e-9)
    assert abs(one.best - 1.45) < 0.03 and None not in one.bounds()


def test_bounds_that_are_not_reached_are_open():
    yields, flat = np.linspace(1, 2, 11), np.zeros(11)
    assert YieldCurve(yields, flat, np.eye(4), 9).bounds() == (None, None)
    steep = np.where(yields < 1.45, 9.0, 0.0)
    assert YieldCurve(yields, steep, np.eye(4), 9).bounds() == (1.5, None)
