"Spacecraft potentials of simulated sweeps."

import math
from dataclasses import replace

import numpy as np
import pytest
from known_plasmas import FACTOR, MODEL, arrays, dark, net, sunlit

from lunar_potential.physics.charging import spacecraft_potential
from lunar_potential.physics.currents import (
    ChargingErrors,
    landing_current,
    photo_current,
)
from lunar_potential.physics.kappa import kappa_current
from lunar_potential.physics.pitch import cell_pitch
from lunar_potential.physics.response import (
    NOMINAL_BACKGROUND,
    IncidentCounts,
    Response,
    cell_counts,
    incident_counts,
)
from lunar_potential.synthetic.instrument import SimulationOptions
from lunar_potential.synthetic.sweeps import Truth, simulate_sweeps
from lunar_potential.units import M_PROTON, Flag


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


# --- every constant can be replaced


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


def test_penumbra_is_flagged():
    sums = sweeps_of(2e5, 60.0, 3.3, -20.0, size=3)
    flags = spacecraft_potential(sums, np.array([0.0, 0.4, 1.0])).flags
    assert [bool(f & Flag.PARTLY_LIT) for f in flags] == [False, True, False]
