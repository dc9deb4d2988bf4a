"Roots of the current balance in a given plasma, compared with an independent balance."

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_plasmas import MODEL, dark, mean_yield, net, on_body, sunlit

from lunar_potential.physics.balance import ambient_current, ambient_roots
from lunar_potential.physics.currents import (
    ion_current,
    landing_current,
    photo_potential,
    secondary_current,
)
from lunar_potential.physics.kappa import kappa_current
from lunar_potential.units import M_PROTON

anytime = settings(deadline=None, max_examples=30)  # a busy machine is no failure


@pytest.mark.parametrize("T, kappa", [(10.0, 4.0), (60.0, 3.3), (400.0, 4.0)])
def test_a_body_too_negative_for_any_electron_gains_positive_charge(T, kappa):
    for deep in (-100 * T, -1e4 * T):
        log_c, log_width, _ = params = on_body(1e6, T, kappa, deep)
        landing = landing_current(log_c, math.exp(log_width), kappa)
        ions = ion_current(1e6, T, deep, 0.5, M_PROTON)
        assert 0 < landing < 0.2 * ions and net(deep, 0.0, params) > 0
        released = secondary_current(log_c, math.exp(log_width), kappa, 1.5, 500.0)
        expected = pytest.approx(ions - landing + released, rel=1e-6)
        assert net(deep, 0.0, params) == expected


@pytest.mark.parametrize("kappa", [2.5, 3.0, 4.0, 8.0])
@pytest.mark.parametrize("T", [2.0, 10.0, 40.0, 60.0, 150.0])
def test_one_root_in_shade_is_that_of_the_simulator(T, kappa):
    expected = dark(T, kappa)
    roots = np.array([root.u for root in ambient_roots(1e6, T, kappa)])
    assert np.abs(roots - expected).min() < 0.1 + 0.01 * abs(expected)


@pytest.mark.parametrize(
    "n, T, kappa",
    [(5e6, 12.0, 4.0), (8e4, 90.0, 3.0), (3e5, 400.0, 4.0), (2e6, 8.0, 6.0)],
)
def test_root_in_sunlight_inverts_the_curve(n, T, kappa):
    expected = photo_potential(kappa_current(n, T, kappa))
    (root,) = ambient_roots(n, T, kappa, lit=1.0)
    assert root.stable and root.u == pytest.approx(expected, abs=2e-3)
    assert expected == pytest.approx(sunlit(n, T, kappa), abs=1e-6)


@pytest.mark.parametrize("T", [100.0, 200.0, 400.0])
def test_a_yield_above_one_gives_a_small_positive_root(T):
    kappa = 8.0
    assert mean_yield(T, kappa) > 1
    found = ambient_roots(1e6, T, kappa)[-1].u
    assert 0 < found < 2 * MODEL.secondary_temperature
    hotter = replace(MODEL, secondary_temperature=8.0)
    more = ambient_roots(1e6, T, kappa, model=hotter)[-1].u
    assert more == pytest.approx(4 * found, rel=0.15)


@anytime
@given(st.floats(5.0, 60.0), st.floats(2.5, 20.0), st.floats(0.2, 1.2))
def test_a_larger_yield_makes_the_body_less_negative(T, kappa, most):
    less, greater = (
        ambient_roots(1e6, T, kappa, model=replace(MODEL, yield_max=y))[0].u
        for y in (most, 1.1 * most)
    )
    assert greater > less


def test_penumbra_lies_between_shade_and_sunlight():
    shade, half, light = (
        ambient_roots(1e6, 20.0, 4.0, lit)[0].u for lit in (0, 0.5, 1)
    )
    assert shade < half < light


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
def test_stable_and_unstable_roots_alternate(n, T, kappa):
    roots = ambient_roots(n, T, kappa)
    assert [r.stable for r in roots] == [k % 2 == 0 for k in range(len(roots))]
    assert len(roots) % 2 == 1
    for u, stable in roots:
        step = 1e-3 * (1 + abs(u))
        below, above = (ambient_current(u + s, n, T, kappa) for s in (-step, step))
        assert (below > above) == stable


def test_hot_plasma_has_three_roots_and_a_denser_one_the_same():
    roots = ambient_roots(2e5, 670.0, 3.0)
    assert len(roots) == 3 and roots[0].u < -1000 < roots[1].u < 0 < roots[2].u < 2
    again = [root.u for root in ambient_roots(2e6, 670.0, 3.0)]
    assert again == pytest.approx([root.u for root in roots], rel=1e-6)
