"Pitch angles, sunlight in the aperture, and the meaning of the directions."

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.physics.attitude import unit_vector
from lunar_potential.physics.pitch import (
    cell_pitch,
    direction_diagnostic,
    plot_cells,
    sun_cells,
)
from lunar_potential.synthetic.instrument import cell_azimuths, energy_table
from lunar_potential.synthetic.sweeps import Truth, expected_flux
from lunar_potential.units import cells_in_ring

RINGS = [78.75, 56.25, 33.75, 11.25, -11.25, -33.75, -56.25, -78.75]
THETA = np.concatenate([np.full(cells_in_ring(ring), ring) for ring in RINGS])
PHI = np.concatenate([np.arange(n) * 360.0 / n for n in map(cells_in_ring, RINGS)])
anytime = settings(deadline=None)  # a busy machine is no failure
number = st.floats(-10, 10, allow_nan=False)
vector = st.tuples(number, number, number).filter(lambda v: np.linalg.norm(v) > 1e-2)


def angle_to_sun(phi, latitude, turn):
    "Degrees between each cell's centre and the Sun, which stands at azimuth `turn`."
    sun = unit_vector(np.array([turn]), np.array([latitude]))[0]
    return np.degrees(np.arccos(np.clip(unit_vector(phi, THETA) @ sun, -1, 1)))


def synthetic_sweeps(meaning, cone=0.3, glare=3.0, sweeps=200, seed=4):
    "Sweeps with a loss cone and sunlight, in angles of the given meaning."
    random = np.random.default_rng(seed)
    phi = (PHI + random.uniform(0, 360, (sweeps, 15, 1))) % 360
    b, polarity = random.normal(size=(sweeps, 3)), random.choice([-1, 1], sweeps)
    centre = 0 if meaning == "look" else 180
    bright = (np.abs(THETA) < 12) & (np.abs((phi - centre + 180) % 360 - 180) < 12)
    lost = cell_pitch(phi, THETA, b, polarity, direction=meaning) < -0.7
    flux = (
        random.gamma(10.0, 1.0, phi.shape)
        * np.where(lost, cone, 1)
        * np.where(bright, glare, 1)
    )
    flux[random.random(flux.shape) < 0.002] = np.nan
    return flux, phi, THETA, b, polarity, np.ones(sweeps, np.int8)


# --- pitch angle


def test_pitch_is_the_scalar_product_with_the_moonward_field():
    random = np.random.default_rng(1)
    phi, b, polarity = (
        random.uniform(-360, 720, (40, 15, 88)),
        random.normal(size=(40, 3)),
        random.choice([-1, 1], 40),
    )
    mu = cell_pitch(phi, THETA, b, polarity)
    moonward = polarity[:, None] * b / np.linalg.norm(b, axis=1, keepdims=True)
    assert np.allclose(
        mu, np.einsum("srcj,sj->src", unit_vector(phi, THETA), moonward), atol=1e-12
    )
    by_row = cell_pitch(
        phi.reshape(-1, 88), THETA, np.repeat(b, 15, axis=0), np.repeat(polarity, 15)
    )
    assert np.array_equal(by_row.reshape(mu.shape), mu)
    assert np.array_equal(cell_pitch(phi[3, 2], THETA, b[3], polarity[3]), mu[3, 2])


@anytime
@given(vector, st.sampled_from([-1, 1]))
def test_pitch_stays_in_bounds_and_turns_with_direction_field_and_polarity(b, polarity):
    mu = cell_pitch(PHI, THETA, b, polarity)
    assert np.abs(mu).max() <= 1
    for other in (
        cell_pitch(PHI, THETA, b, polarity, direction="look"),
        cell_pitch(PHI, THETA, np.negative(b), polarity),
        cell_pitch(PHI, THETA, b, -polarity),
    ):
        assert np.allclose(other, -mu, atol=1e-12)


def test_pitch_along_the_axes():
    mu = cell_pitch([0.0, 90.0, 180.0, 0.0], [0.0, 0.0, 0.0, 90.0], [-3.0, 0, 0], -1)
    assert np.allclose(mu, [1, 0, -1, 0], atol=1e-15)


def test_a_row_is_drawn_with_its_cells():
    ax = plot_cells(PHI, THETA, np.arange(88.0))
    assert len(ax.collections[0].get_array()) == 176
    plt.close(ax.figure)


def test_pitch_is_nan_where_masked_or_not_connected():
    phi = np.tile(PHI, (3, 1))
    phi[0, 5] = np.nan
    mu = cell_pitch(phi, THETA, [[0, 0, 1], [0, 0, 1], [0, 0, 0]], [1, 0, 1])
    assert (
        np.array_equal(np.isnan(mu[0]), np.arange(88) == 5) and np.isnan(mu[1:]).all()
    )


def test_pitch_refuses_wrong_shapes_and_directions():
    with pytest.raises(ValueError, match="do not fit"):
        cell_pitch(np.ones((4, 88)), THETA, np.ones((3, 3)), np.ones(3))
    with pytest.raises(ValueError, match="do not fit"):
        cell_pitch(np.ones((4, 87)), THETA, np.ones((4, 3)), np.ones(4))
    with pytest.raises(ValueError, match="not 'up'"):
        cell_pitch(np.ones((4, 88)), THETA, np.ones((4, 3)), np.ones(4), direction="up")


# --- sunlight


@pytest.mark.parametrize("latitude", [0.0, 10.0, -25.0])
@pytest.mark.parametrize(
    "direction, turn, sign", [("travel", 180.0, -1), ("look", 0.0, 1)]
)
def test_cells_that_look_at_the_sun(latitude, direction, turn, sign):
    phi = (PHI + np.random.default_rng(2).uniform(0, 360, (20, 15, 1))) % 360
    found = sun_cells(phi, THETA, np.full(20, latitude), np.ones(20), direction)
    away = angle_to_sun(phi, sign * latitude, turn)
    assert found.shape == phi.shape and found.any(axis=2).all() and found.mean() < 0.06
    assert found[away < 13].all() and not found[away > 32].any()
    nearest = np.argmin(away, axis=2)
    assert np.take_along_axis(found, nearest[..., None], axis=2).all()


def test_travel_and_look_name_opposite_cells():
    phi = (PHI + np.random.default_rng(2).uniform(0, 360, (20, 15, 1))) % 360
    look = sun_cells(phi, THETA, np.full(20, 8.0), np.ones(20), "look")
    assert np.array_equal(
        sun_cells((phi + 180) % 360, -THETA, np.full(20, 8.0), np.ones(20)), look
    )


def test_no_sunlight_in_shade_and_both_unknowns_count_as_lit_on_the_equator():
    phi = np.tile((PHI + 3.0) % 360, (5, 15, 1))
    found = sun_cells(
        phi, THETA, [0.0, 0.0, 0.0, np.nan, 20.0], [1.0, 0.0, np.nan, 0.1, 1.0]
    )
    assert (
        not found[1].any()
        and np.array_equal(found[2], found[0])
        and np.array_equal(found[3], found[0])
        and not np.array_equal(found[4], found[0])
    )
    phi[0, 0] = np.nan
    assert not sun_cells(phi, THETA, np.zeros(5), np.ones(5))[0, 0].any()


def test_every_cell_that_the_simulator_lights_is_found():
    phi = cell_azimuths(np.random.default_rng(0).uniform(0, 360, 30))
    _, sunlit = expected_flux(Truth.of(30), energy_table(), phi)
    found = sun_cells(phi, THETA, np.zeros(30), np.ones(30))
    assert (
        (sunlit > 0).any()
        and found[sunlit > 0].all()
        and found.sum() < 1.3 * (sunlit > 0).sum()
    )


# --- travel or look


@pytest.mark.parametrize("meaning", ["travel", "look"])
@pytest.mark.parametrize("cone, glare", [(0.3, 3.0), (0.3, 1.0), (1.0, 3.0)])
def test_the_diagnostic_finds_the_convention(meaning, cone, glare):
    assert (
        direction_diagnostic(*synthetic_sweeps(meaning, cone, glare)).verdict == meaning
    )


def test_the_diagnostic_stays_undecided_on_no_or_contradicting_evidence():
    assert (
        direction_diagnostic(*synthetic_sweeps("travel", 1.0, 1.0)).verdict
        == "undecided"
    )
    assert (
        direction_diagnostic(*synthetic_sweeps("travel", 3.0, 3.0)).verdict
        == "undecided"
    )  # an inverted cone against the Sun
    flux, phi, theta, b, polarity, sun = synthetic_sweeps("travel")
    nothing = direction_diagnostic(flux * np.nan, phi, theta, b, polarity, sun)
    assert (
        nothing.verdict == "undecided"
        and nothing.cone_sweeps == 0
        and "undecided" in str(nothing)
    )
