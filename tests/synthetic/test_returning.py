"What returns and what the ground sends up: invariants of the flux that cells measure."

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from lunar_potential.synthetic.electrons import (
    isotropic_density,
    plasma_energy,
    speed_energy,
    strahl_window,
)
from lunar_potential.synthetic.instrument import (
    OPEN_TIME,
    THETA,
    SimulationOptions,
    cell_azimuths,
    cell_pieces,
    draw_efficiency,
    energy_table,
    response_nodes,
)
from lunar_potential.synthetic.path import path_loss_cone
from lunar_potential.synthetic.plasma import measured_flux, secondary_yield
from lunar_potential.synthetic.returning import (
    backscatter_parts,
    channel_tables,
    landing_secondaries,
    secondary_parts,
)
from lunar_potential.synthetic.sweeps import (
    GROUP,
    Truth,
    expected_flux,
    simulate_sweeps,
)

ENERGY = energy_table()
NOMINAL, SHARP = SimulationOptions(), SimulationOptions(response_fwhm=1e-4)
WIND = dict(T=11.0, kappa=20.0, halo=0.05, halo_T=65.0, halo_kappa=6.0)
STEPS = st.integers(0, 14)
MIRRORED = np.concatenate(  # the cell of the same azimuth at the opposite latitude
    [np.flatnonzero(THETA == -t) for t in dict.fromkeys(THETA)]
)
anytime = settings(deadline=None, max_examples=25)  # a busy machine is no failure


def flux_of(truth, options=NOMINAL, start=20.0):
    "What a noise-free instrument measures, (S, 15, 88)."
    phi = cell_azimuths(np.full(len(truth), start))
    return expected_flux(truth, ENERGY, phi, options)[0]


def same_but(one, other, row):
    "Whether two sweeps differ in one row and in no other."
    rest = np.arange(15) != row
    return np.array_equal(one[rest], other[rest]) and (one[row] != other[row]).all()


# --- electrons that return


@anytime
@given(
    st.tuples(*[st.floats(-600.0, 600.0)] * 3),
    st.floats(-0.3, 0.3),
    st.sampled_from([-1, 1]),
)
def test_where_everything_returns_mirrored_cells_see_the_same(flow, anisotropy, sign):
    "Reflection turns the velocity along the field and leaves the drift across it."
    truth = Truth.of(
        u_surface=-1e6,
        b=(0.0, 0.0, 5.0),
        polarity=sign,
        flow=flow,
        anisotropy=anisotropy,
        strahl=3.0,
        **WIND,
    )
    flux = flux_of(truth)[0]
    np.testing.assert_allclose(flux[:, MIRRORED], flux, rtol=1e-9)


def test_a_drift_across_the_field_is_seen_and_kept():
    truth = Truth.of(u_surface=-1e6, b=(0.0, 0.0, 5.0), flow=(-400.0, 0.0, 0.0), **WIND)
    flux = flux_of(truth)[0, 12]
    apart = (cell_azimuths([20.0])[0, 12] - 180 + 180) % 360 - 180
    for latitude in (11.25, -11.25):
        ring = THETA == latitude
        along = flux[ring & (np.abs(apart) < 30)].mean()
        against = flux[ring & (np.abs(apart) > 150)].mean()
        assert along > 2.5 * against


@pytest.mark.parametrize("name", ["polarity", "connected"])
def test_a_line_that_misses_the_moon_has_the_same_flux_up_and_down(name):
    truth = Truth.of(2, **{name: 0}, secondaries=1.0, beam_amp=2.0, halo=0.05)
    flux = flux_of(truth)
    assert not truth.connected.any()
    np.testing.assert_allclose(flux, np.broadcast_to(flux[..., :1], flux.shape))


def test_what_lies_on_a_line_that_misses_the_moon_does_not_matter():
    off = dict(connected=False, u_surface=np.nan, bs_over_bm=np.nan)
    known, unknown = Truth.of(connected=False), Truth.of(**off, backscatter=np.nan)
    np.testing.assert_array_equal(flux_of(known), flux_of(unknown))


@anytime
@given(st.floats(0.0, 200.0), st.floats(0.05, 0.95))
def test_a_thin_positive_sheath_changes_no_flux(u, ratio):
    truth = Truth.of(2, u_surface=[0.0, u], bs_over_bm=ratio, b=(3.0, 1.0, 2.0))
    zero, positive = flux_of(truth)
    off = np.abs(positive - zero) / zero.max(axis=1, keepdims=True)
    assert off.max() < 0.05  # a piece of a cell that lies on the edge, of 25
    assert (off > 2e-3).mean() < 5e-3


@pytest.mark.parametrize("u", [5.0, 10.0])
def test_a_barrier_acts_as_its_depth(u):
    ground = dict(u_surface=[u, -50.0], barrier=[50.0, 0.0], sheath=[3.0, 1e-3])
    hidden, bare = flux_of(Truth.of(2, **ground, b=(3.0, 1.0, 2.0)))
    off = np.abs(hidden - bare) / bare.max(axis=1, keepdims=True)
    assert off.max() < 0.05 and off.mean() < 1e-3
    open_ground = flux_of(Truth.of(u_surface=u, b=(3.0, 1.0, 2.0)))[0]
    assert (np.abs(open_ground - bare) / bare.max(axis=1, keepdims=True)).max() > 0.3


@anytime
@given(st.floats(0.1, 0.9), st.floats(-200.0, -20.0), st.floats(0.5, 4.0))
def test_gyration_spreads_the_angle_of_the_cone_and_keeps_its_mean(ratio, u, smear):
    truth = Truth.of(
        u_sc=0.0, u_surface=u, bs_over_bm=ratio, smear=smear, smear_energy=500.0
    )
    cone, down, *_ = channel_tables(truth, ENERGY, SHARP)
    weight = np.diff(down[0, :, 0], axis=-1)
    angle = np.degrees(np.arcsin(np.sqrt(np.clip(cone[0], 0, 1))))
    mean = np.average(angle, axis=-1, weights=weight)
    spread = np.sqrt(np.average((angle - mean[:, None]) ** 2, axis=-1, weights=weight))
    edge = np.degrees(np.arcsin(np.sqrt(np.maximum(ratio * (1 + u / ENERGY), 0))))
    inside = (edge > 3 * smear * 6) & (edge < 90 - 3 * smear * 6)
    np.testing.assert_allclose(mean[inside], edge[inside], rtol=1e-3)
    expected = smear * np.sqrt(1 + ENERGY / 500)
    np.testing.assert_allclose(spread[inside], expected[inside], rtol=1e-2)


# --- electrons that come down


def test_flow_and_strahl_of_a_cell_by_brute_force():
    "Downward cells: the exact energy in the frame of the plasma, piece by piece."
    b, flow = np.array([-2.0, 1.0, 2.0]) / 3, np.array([-420.0, 60.0, -30.0])
    truth = Truth.of(
        u_sc=5.0, b=5 * b, polarity=1, flow=flow, strahl=4.0, strahl_width=20.0, **WIND
    )
    phi = cell_azimuths([20.0])
    flux = expected_flux(truth, ENERGY, phi, SHARP)[0][0]
    lat, turn = (np.radians(v) for v in cell_pieces())
    lat, lon = lat[:, None, :], np.radians(phi[0])[:, :, None, None] + turn[:, :, None]
    travel = np.stack(
        np.broadcast_arrays(
            np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
        ),
        axis=-1,
    )
    ambient = (ENERGY - 5)[:, None, None, None]
    speed, size = np.sqrt(ambient / speed_energy(1.0)), np.linalg.norm(flow)
    moved = plasma_energy(ambient, speed_energy(size), travel @ flow / size)
    relative = speed[..., None] * travel - flow
    pitch = relative @ b / np.linalg.norm(relative, axis=-1)
    beam = 4 * strahl_window(moved) * np.exp((pitch - 1) / np.radians(20) ** 2)
    density = isotropic_density(moved, 5e6, **WIND) * (1 + beam)
    direct = (ENERGY[:, None, None, None] * density).mean(axis=(2, 3))
    down = (travel @ b > 0).all(axis=(2, 3))
    assert down.sum() > 300
    np.testing.assert_allclose(flux[down], direct[down], rtol=0.01)


def test_with_a_sharp_response_and_no_flow_the_flux_is_that_of_the_plasma():
    truth = Truth.of(u_sc=7.0, connected=False)
    expected = measured_flux(ENERGY, 7.0, 5e6, 12.0, 4.5)
    found = flux_of(truth, SHARP)[0]
    np.testing.assert_allclose(found, np.tile(expected, (88, 1)).T, rtol=1e-6)


def test_a_strahl_from_the_moon_is_hidden_by_it_and_seen_on_a_line_that_misses_it():
    truth = Truth.of(
        4,
        b=(0.0, 0.0, 5.0),  # polarity -1: the Moon is in the direction of -b
        strahl=[0.0, 5.0, 5.0, 5.0],
        strahl_sign=[1, -1, -1, 1],
        connected=[True, True, False, False],
    )
    none, hidden, from_moon, to_moon = flux_of(truth)
    row = np.argmin(np.abs(ENERGY - 210))
    up, down = THETA > 70, THETA < -70
    np.testing.assert_allclose(hidden, none, rtol=1e-5)
    for seen, along, against in ((from_moon, up, down), (to_moon, down, up)):
        assert (seen[row, along] > 2 * none[row, down].mean()).all()
        np.testing.assert_allclose(seen[row, against], none[row, down], rtol=1e-5)


# --- what changes within a sweep


@anytime
@given(STEPS, st.floats(1.1, 3.0))
def test_the_level_of_a_row_scales_that_row_alone(row, factor):
    level = np.ones((2, 15))
    level[1, row] = factor
    one, other = flux_of(Truth.of(2, level=level, halo=0.05))
    assert same_but(one, other, row)
    np.testing.assert_allclose(other[row], factor * one[row], rtol=1e-12)


@anytime
@given(STEPS, st.floats(1.1, 1.5))
def test_the_warmth_of_a_row_is_a_temperature_of_that_row_alone(row, factor):
    warmth = np.ones((2, 15))
    warmth[1, row] = factor
    one, other = flux_of(Truth.of(2, warmth=warmth, **WIND))
    assert same_but(one, other, row)
    hot = WIND | dict(T=11.0 * factor, halo_T=65.0 * factor)
    np.testing.assert_allclose(other[row], flux_of(Truth.of(**hot))[0, row], rtol=1e-12)


@anytime
@given(st.integers(1, 14))
def test_a_change_of_light_changes_the_spacecraft_from_that_row_on(row):
    potentials = dict(u_sc=[6.0, 6.0, -40.0], u_sc_after=[-40.0, 6.0, -40.0])
    changes, lit, dark = flux_of(
        Truth.of(3, **potentials, light_change=[row, 15, 15], secondaries=1.0)
    )
    np.testing.assert_array_equal(changes[:row], lit[:row])
    np.testing.assert_array_equal(changes[row:], dark[row:])
    assert (lit[-1] != dark[-1]).any()


def test_photoelectrons_are_seen_below_a_positive_spacecraft_alone():
    u_sc, seen = [60.0, 60.0, -60.0, -60.0], [False, True, False, True]
    truth = Truth.of(4, n=1e5, u_sc=u_sc, photoelectrons=seen)
    without, held, plain, negative = flux_of(truth)
    np.testing.assert_array_equal(negative, plain)
    assert (held[-1] > 1.5 * without[-1]).all()  # 39 eV
    np.testing.assert_array_equal(held[:12], without[:12])  # bands above 60 V


def test_photoelectrons_end_with_the_sunlight():
    "In shade a spacecraft emits none, though secondaries can make it positive."
    low = SimulationOptions(energy_min=7.2)
    truth = Truth.of(2, sc_sun=False, u_sc=8.0, photoelectrons=[False, True])
    phi = cell_azimuths([20.0, 20.0])
    without, claimed = expected_flux(truth, energy_table(7.2), phi, low)[0]
    np.testing.assert_array_equal(claimed, without)


# --- electrons of the ground


@pytest.mark.parametrize("shape", ["log", "lin", "merged"])
@pytest.mark.parametrize(
    "u, u_sc, emission", [(-120, -20, 3), (-120, 30, 3), (-400, 5, 2), (-60, 8, 4)]
)
def test_density_of_secondaries_is_conserved_on_their_way(u, u_sc, emission, shape):
    "The integral of j/E is that at the ground, N / (pi T), whatever the potentials."
    options = SimulationOptions(response_shape=shape)
    truth = Truth.of(
        u_surface=float(u), u_sc=float(u_sc), emission=emission, secondaries=0.7, T=60.0
    )
    centre = u_sc - u + emission
    energy = centre * np.geomspace(0.35, 3.0, 15)
    _, parts = secondary_parts(truth, energy, options)
    total = np.trapezoid(parts.sum(axis=-1)[0], np.log(energy))
    emitted = landing_secondaries(truth)[0] / np.pi / emission
    assert total == pytest.approx(emitted, rel=0.02)


@pytest.mark.parametrize("emission", [2.0, 5.0])
def test_density_of_secondaries_falls_as_their_temperature_says(emission):
    "f is proportional to exp(-K/T), so that its mean K is T."
    truth = Truth.of(u_surface=-20.0, u_sc=5.0, emission=emission, secondaries=1.0)
    energy = np.geomspace(8, 150, 15)
    _, parts = secondary_parts(truth, energy, NOMINAL)
    density = parts.sum(axis=-1)[0]
    ratio, weight, _ = response_nodes(NOMINAL)
    mean = np.trapezoid(density * energy, np.log(energy)) / (weight @ (1 / ratio))
    mean /= np.trapezoid(density, np.log(energy))
    assert mean == pytest.approx(25 + emission, rel=0.01)


@anytime
@given(st.floats(-1000.0, -5.0), st.floats(0.05, 0.95), st.floats(1.0, 5.0))
def test_the_cone_of_secondaries_is_as_narrow_as_their_energy_at_the_ground(
    u, ratio, emission
):
    truth = Truth.of(u_surface=u, bs_over_bm=ratio, emission=emission)
    ambient, _ = secondary_parts(truth, ENERGY, NOMINAL)
    kinetic = ambient + u
    cone = path_loss_cone(ambient, *truth.profiles())
    np.testing.assert_allclose(cone, ratio * kinetic / ambient, rtol=1e-6)


def test_secondaries_rise_inside_their_cone_alone():
    "Straight up, and no other cell, where the potential is large."
    sent = Truth.of(
        2,
        u_surface=-150.0,
        b=(0.0, 0.0, 5.0),
        secondaries=[0.0, 1.0],
        backscatter=0.0,
        bs_over_bm=0.5,
    )
    without, with_them = flux_of(sent)
    gained = with_them - without
    row = np.argmin(np.abs(ENERGY - 155))
    up = THETA > 70  # polarity -1: the Moon is in the direction of -b
    assert (gained[row, up] > 0).all() and (gained[:, THETA < 55] == 0).all()
    assert gained[row].max() > 5 * gained[row - 2].max()


def test_a_barrier_holds_the_secondaries_back():
    "Those of 2 eV do not climb 55 V."
    ground = dict(u_surface=5.0, barrier=50.0, emission=2.0)
    truth = Truth.of(2, **ground, secondaries=[0.0, 1.0])
    without, with_them = flux_of(truth)
    np.testing.assert_allclose(with_them, without, rtol=1e-12)


@pytest.mark.parametrize("u", [0.0, -60.0, -400.0, 10.0])
def test_the_number_of_secondaries_is_the_yield_of_those_that_land(u):
    def emitted(energy):
        flux = measured_flux(energy, u, 2e5, 60.0, 4.0)
        return np.pi * flux * secondary_yield(energy)

    direct = quad(emitted, 1e-3, 300, limit=200)[0]
    direct += quad(emitted, 300, 3e4, limit=200)[0]
    truth = Truth.of(2, n=2e5, T=60.0, kappa=4.0, u_surface=u, secondaries=[1.0, 0.5])
    one, half = landing_secondaries(truth)
    assert one == pytest.approx(direct, rel=0.01) and half == pytest.approx(one / 2)


@pytest.mark.parametrize("slope", [0.0, 0.6])
def test_backscatter_is_a_fraction_of_what_lands_that_falls_with_energy(slope):
    truth = Truth.of(backscatter=0.08, backscatter_slope=slope)
    found = backscatter_parts(truth, ENERGY, SHARP).sum(axis=-1)[0]
    incident = measured_flux(ENERGY, 5.0, 5e6, 12.0, 4.5)
    expected = np.minimum(0.08 * (ENERGY / 300) ** -slope, 0.6) * incident
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("width", [10.0, 25.0])
def test_backscatter_of_a_strahl_is_that_of_its_flux_through_the_ground(width):
    truth = Truth.of(3, u_sc=0.0, strahl=[0.0, 5.0, 5.0], strahl_width=width)
    truth = dataclasses.replace(truth, strahl_sign=np.array([1, 1, -1]))
    without, down, up = backscatter_parts(truth, ENERGY, SHARP).sum(axis=-1)

    def landing(cosine):
        return 2 * cosine * np.exp(-(1 - cosine) / np.radians(width) ** 2)

    more = 5 * quad(landing, 0, 1, points=[0.9])[0] * strahl_window(ENERGY)
    np.testing.assert_allclose(down / without, 1 + more, rtol=1e-4)
    np.testing.assert_array_equal(up, without)


# --- the instrument


def test_the_background_of_each_sweep_is_its_own():
    "The detector counts 10/s for the 2.5 s that a row is open."
    size = 40
    truth = Truth.of(2 * size, n=1.0, background=np.repeat([1.0, 9.0], size))
    options = SimulationOptions(gain_error=0.0, flag_rate=0.0)
    sweeps = simulate_sweeps(truth, options)
    counts = sweeps.flux * ENERGY[:, None] * 0.02 * OPEN_TIME
    nominal, raised = counts.sum(axis=2).reshape(2, -1).mean(axis=1)
    assert nominal == pytest.approx(25, rel=0.03)
    assert raised == pytest.approx(9 * 25, rel=0.03)


def test_channels_have_the_efficiency_of_their_archive():
    brightness = np.geomspace(1e8, 2e8, 64)  # all values of the code
    truth = Truth.of(64, n=brightness, T=400.0, connected=False)
    steady = dict(gain_error=0.0, flag_rate=0.0, background=0.0, count_scale=100.0)
    uneven = SimulationOptions(**steady, efficiency_scatter=0.2, efficiency_slope=0.1)
    one, other = (
        simulate_sweeps(truth, options, seed=4).flux.mean(axis=(0, 2))
        for options in (SimulationOptions(**steady), uneven)
    )
    expected = draw_efficiency(4, uneven)
    assert np.ptp(expected) > 0.4
    np.testing.assert_allclose(other / one, expected, rtol=0.01)


# --- one sweep does not know the others


def mixed(size, seed=0):
    "Sweeps of every kind, some without flow, strahl, halo or connection."
    rng = np.random.default_rng(seed)

    def some(low, high):
        return rng.uniform(low, high, size) * (rng.random(size) < 0.5)

    return Truth.of(
        size,
        b=rng.normal(size=(size, 3)),
        flow=some(200, 500)[:, None] * [-1.0, 0.1, 0.0],
        smear=3.0,
        smear_energy=500.0,
        strahl=some(0.5, 5),
        halo=some(0.02, 0.1),
        anisotropy=some(-0.2, 0.2),
        secondaries=some(0, 1),
        barrier=some(10, 60),
        beam_amp=some(0, 2),
        turning=rng.normal(size=(size, 3)),
        photoelectrons=rng.random(size) < 0.5,
        light_change=rng.integers(2, 16, size),
        u_sc=rng.uniform(2, 60, size),
        u_sc_after=-20.0,
        polarity=rng.integers(-1, 2, size),
    )


@pytest.mark.parametrize("shape", ["log", "merged"])
def test_each_sweep_alone_is_measured_as_among_others(shape):
    size, options = GROUP + 5, SimulationOptions(response_shape=shape)
    truth = mixed(size)
    phi = cell_azimuths(np.linspace(0, 300, size))
    together = expected_flux(truth, ENERGY, phi, options)
    for s in range(0, size, 3):
        alone = expected_flux(truth.select([s]), ENERGY, phi[s : s + 1], options)
        for one, all_of in zip(alone, together):
            np.testing.assert_array_equal(one[0], all_of[s], err_msg=f"sweep {s}")


def test_a_sharp_cone_is_as_sharp_beside_a_spread_one():
    truth = Truth.of(2, smear=[0.0, 3.0], b=(3.0, 1.0, 2.0))
    np.testing.assert_array_equal(flux_of(truth)[0], flux_of(truth.select([0]))[0])


@pytest.mark.parametrize("rows", [1, 3, 15])
def test_the_first_channels_do_not_know_those_below(rows):
    truth = mixed(4)
    phi = cell_azimuths(np.linspace(0, 300, 4))
    whole = expected_flux(truth, ENERGY, phi)[0][:, :rows]
    np.testing.assert_array_equal(
        expected_flux(truth, ENERGY[:rows], phi[:, :rows])[0], whole
    )
