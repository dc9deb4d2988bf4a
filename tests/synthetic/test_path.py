"The field line between spacecraft and ground: its lowest potential and its loss cone."

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.synthetic.path import (
    HEIGHTS,
    PATH_LENGTH,
    field_profile,
    lowest_potential,
    path_loss_cone,
    potential_profile,
)
from lunar_potential.synthetic.sweeps import Truth, loss_cone_sine2

ENERGY = np.geomspace(20, 5000, 25)
anytime = settings(deadline=None)  # a busy machine is no failure
below_one, above_one = st.floats(0.02, 0.999), st.floats(1.001, 3.0)
scales, sheaths = st.floats(5.0, 100.0), st.floats(1e-3, 300.0)
repelling, attracting = st.floats(-5000.0, 0.0), st.floats(0.0, 200.0)
depths, places = st.floats(0.0, 100.0), st.floats(20.0, 60.0)


def potential(u, sheath=1e-3, depth=0.0, place=40.0, height=HEIGHTS):
    "Potential of one path."
    return potential_profile([u], [sheath], [depth], [place], height)


def cone(ratio, *ground, scale=20.0, energy=ENERGY):
    "Loss cone of one path; `ground` as for `potential`."
    field = field_profile([ratio], [scale])
    return path_loss_cone(np.atleast_2d(energy), field, potential(*ground))[0]


# --- the profiles


@anytime
@given(st.floats(0.02, 3.0), scales)
def test_the_field_has_its_ratio_at_the_ground_and_is_monotonic(ratio, scale):
    field = field_profile([ratio], [scale])[0]
    steps = np.diff(field) * (1 if ratio > 1 else -1)
    assert np.isclose(field[0], 1 / ratio) and field[-1] == 1
    assert (steps >= 0).all() and HEIGHTS[-1] == PATH_LENGTH


@anytime
@given(attracting, st.floats(1e-3, 100.0))
def test_the_lowest_potential_does_not_know_a_positive_ground(u, sheath):
    assert lowest_potential(potential(u, sheath)) == [0]


def test_where_the_whole_line_is_positive_the_lowest_is_that_of_the_plasma():
    assert lowest_potential(potential(50.0, 1e9)) == [0]


@anytime
@given(repelling, sheaths)
def test_the_lowest_potential_of_a_negative_ground_is_its_own(u, sheath):
    assert lowest_potential(potential(u, sheath)) == [u]


@anytime
@given(st.floats(0.1, 100.0), places, st.floats(0.0, 10.0))
def test_a_barrier_acts_as_its_depth_whatever_the_ground_below(depth, place, u):
    "A sheath of 2 m has decayed at 20 m; heights 12 % apart meet the minimum to 0.2 %."
    lowest = lowest_potential(potential(u, 2.0, depth, place))[0]
    assert -depth <= lowest <= -0.998 * depth + u * np.exp(-9)


def test_a_sweep_without_footpoint_has_no_lowest_potential():
    truth = Truth.of(3, u_surface=[-50.0, np.nan, 20.0])
    np.testing.assert_array_equal(truth.u_lowest, [-50, np.nan, 0])


# --- the loss cone


@anytime
@given(below_one, repelling, sheaths, scales)
def test_a_monotonic_negative_potential_gives_the_formula(ratio, u, sheath, scale):
    found = cone(ratio, u, sheath, scale=scale)
    formula = loss_cone_sine2(ENERGY, u, ratio)
    opens = ENERGY + u >= 0
    np.testing.assert_allclose(found[opens], formula[opens], rtol=1e-9, atol=1e-12)
    assert (found[~opens] < 0).all()


@anytime
@given(below_one, attracting)
def test_a_thin_positive_sheath_leaves_the_magnetic_mirror(ratio, u):
    np.testing.assert_allclose(cone(ratio, u), ratio, rtol=1e-4)


@anytime
@given(above_one, attracting)
def test_a_field_that_decreases_downward_loses_everything(ratio, u):
    np.testing.assert_allclose(cone(ratio, u), 1, rtol=1e-12)


@anytime
@given(above_one, repelling)
def test_above_one_the_cone_of_a_step_is_the_formula_up_to_one(ratio, u):
    formula = loss_cone_sine2(ENERGY, u, ratio)
    found = cone(ratio, u)
    np.testing.assert_allclose(found, np.minimum(formula, 1), rtol=1e-9, atol=1e-12)


@anytime
@given(st.floats(0.02, 3.0), st.floats(-5000.0, 200.0), sheaths, depths, places)
def test_a_cone_is_never_wider_than_everything(ratio, u, sheath, depth, place):
    assert (cone(ratio, u, sheath, depth, place) <= 1).all()


@anytime
@given(
    st.floats(0.02, 3.0),
    st.tuples(st.floats(-5000.0, 200.0), st.floats(-5000.0, 200.0)),
    st.tuples(depths, depths),
    sheaths,
    places,
)
def test_a_lower_potential_gives_a_narrower_cone(ratio, u, depth, sheath, place):
    wide = cone(ratio, max(u), sheath, min(depth), place)
    narrow = cone(ratio, min(u), sheath, max(depth), place)
    assert (narrow <= wide).all()


@anytime
@given(below_one, st.floats(5.0, 100.0), places)
def test_a_barrier_repels_as_ground_of_its_depth(ratio, depth, place):
    energy = ENERGY[ENERGY > depth]
    hidden = cone(ratio, 5.0, 2.0, depth, place, scale=60.0, energy=energy)
    bare = cone(ratio, -depth, energy=energy)
    np.testing.assert_allclose(hidden, bare, atol=0.01 * ratio)


@anytime
@given(
    st.floats(0.02, 3.0),
    st.floats(-300.0, 100.0),
    sheaths,
    depths,
    st.floats(20.0, 2000.0),
)
def test_electrons_inside_the_cone_and_no_others_reach_the_ground(
    ratio, u, sheath, depth, energy
):
    "Parallel energy along a path in steps of 1 %, away from the edge by 1 % of it."
    edge = cone(ratio, u, sheath, depth, energy=[energy])[0]
    height = np.concatenate([[0.0], np.geomspace(0.01, PATH_LENGTH, 1600)])
    field = field_profile([ratio], [20.0], height)[0]
    profile = potential(u, sheath, depth, 40.0, height)[0]
    for sine2 in (0.98 * edge - 0.005, 1.02 * edge + 0.005):
        if 0 <= sine2 <= 1:
            parallel = energy + profile - energy * sine2 * field
            assert (parallel > 0).all() == (sine2 < edge)
