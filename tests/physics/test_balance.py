"Roots of the current balance, compared with an independent balance."

import math
from dataclasses import astuple, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_plasmas import MODEL, dark, mean_yield, net, on_body, sunlit

from lunar_potential.physics.balance import (
    ROOTS,
    ambient_params,
    ambient_roots,
    balance_root,
    balance_roots,
    followed_slope,
    root_error,
)
from lunar_potential.physics.currents import (
    U_MAX,
    U_MIN_LIT,
    ChargingModel,
    ion_current,
    landing_current,
    photo_current,
    photo_potential,
    secondary_current,
)
from lunar_potential.physics.kappa import kappa_current
from lunar_potential.units import M_PROTON

anytime = settings(deadline=None)  # a busy machine is no failure


def root(n, T, kappa, lit, u, model=MODEL):
    "Potential at which the spectrum measured at `u` balances."
    return balance_root(lit, on_body(n, T, kappa, u), astuple(model), U_MAX)[0]


def every_root(lit, params, model=MODEL):
    "All potentials consistent with a spectrum."
    roots = np.empty(ROOTS)
    return roots[: balance_roots(lit, params, astuple(model), roots)]


CASES = {
    "solar wind": (5e6, 12.0, 4.0, 1.0, 4.0),
    "lobe": (8e4, 90.0, 3.0, 1.0, 24.0),
    "wake": (2e5, 60.0, 3.3, 0.0, -30.0),
    "plasma sheet": (3e5, 400.0, 4.0, 0.0, 0.0),
}

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
    if not 0.3 < expected < min(0.95 * (kappa - 1.5) * T, 140):
        return  # the grid of the search begins at 0.3 V
    roots = every_root(1.0, on_body(n, T, kappa, expected))
    assert (np.diff(roots) > 0).all()
    assert np.abs(roots - expected).min() < 0.01 + 0.06 * expected


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
