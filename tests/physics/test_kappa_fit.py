"Kappa fits of simulated sweeps whose plasma is known."

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_plasmas import ENERGY, arrays, fields_of, ideal, spectra, sweep_of

from lunar_potential.physics.kappa import kappa_flux, maxwellian_flux
from lunar_potential.physics.kappa_fit import fit_kappa
from lunar_potential.physics.response import (
    NOMINAL_BACKGROUND,
    IncidentCounts,
    Response,
)
from lunar_potential.synthetic.instrument import SimulationOptions
from lunar_potential.synthetic.sweeps import Truth
from lunar_potential.units import E_CHARGE, M_ELECTRON, Flag

PLASMAS = {
    "solar wind": (5e6, 12.0, 4.5),
    "sheath": (1e7, 40.0, 4.0),
    "wake": (3e5, 60.0, 3.2),
    "lobe": (8e4, 90.0, 3.0),
    "plasma sheet": (3e5, 400.0, 4.0),
}

# --- fits


@pytest.mark.parametrize("u", [-30.0, 0.0, 8.0])
@pytest.mark.parametrize("name", PLASMAS)
def test_the_plasma_comes_back_without_noise(name, u):
    n, T, kappa = PLASMAS[name]
    fit = fit_kappa(
        spectra(Truth.of(4, n=n, T=T, kappa=kappa, u_sc=u, b=fields_of(4))),
        u,
        Response(cut=SimulationOptions().response_cut),
    )
    assert (
        np.allclose(fit.density, n, rtol=0.02)
        and np.allclose(fit.temperature, T, rtol=0.01)
        and np.allclose(fit.kappa, kappa, atol=0.05)
    )
    assert not fit.flags.any() and (fit.misfit < 0.01).all()


def test_the_published_case_comes_back_to_a_per_mille():
    n, kappa = 1e6, 5.0
    T = 0.5 * M_ELECTRON * 1e7**2 * kappa / (kappa - 1.5) / E_CHARGE
    energy = np.geomspace(2e4, 20.0, 15)
    fit = fit_kappa(
        ideal(kappa_flux(energy, n, T, kappa), energy), 0.0, Response(fwhm=0.0)
    )
    assert (fit.density[0], fit.temperature[0], fit.kappa[0]) == pytest.approx(
        (n, T, kappa), rel=1e-3
    )


@pytest.mark.parametrize("name", PLASMAS)
def test_noisy_plasmas_come_back_within_their_errors(name):
    n, T, kappa = PLASMAS[name]
    truth = Truth.of(100, n=n, T=T, kappa=kappa, b=fields_of(100))
    fit = fit_kappa(spectra(truth, noise=True, background=NOMINAL_BACKGROUND), 5.0)
    assert not fit.flags.any() and 0.05 < np.median(fit.misfit) < 1.5
    off = {
        "density": fit.density / n - 1,
        "temperature": fit.temperature / T - 1,
        "kappa": fit.kappa - kappa,
    }
    for name, distance in off.items():
        error = getattr(fit, f"{name}_error")
        assert abs(np.median(distance)) < 0.05, name
        assert (np.abs(distance) < 3 * error).mean() > 0.97 and np.std(
            distance
        ) > 0.05 * np.median(error), name


@pytest.mark.parametrize("true_background", [1.0, 1.5, 3.0])
def test_a_background_other_than_expected_is_found(true_background):
    sums = spectra(
        Truth.of(60, n=2e6, b=fields_of(60)),
        noise=True,
        background=true_background * NOMINAL_BACKGROUND,
    )
    fit = fit_kappa(replace(sums, background=sums.background / true_background), 5.0)
    assert np.median(fit.background_factor) == pytest.approx(true_background, rel=0.1)
    assert np.median(fit.density) == pytest.approx(2e6, rel=0.03) and np.median(
        fit.temperature
    ) == pytest.approx(12.0, rel=0.03)


def test_empty_channels_do_not_dominate():
    n, T, kappa = 3e4, 8.0, 6.0  # so thin and cold that most channels count nothing
    whole = spectra(
        Truth.of(60, n=n, T=T, kappa=kappa, u_sc=0.0, b=fields_of(60)), noise=True
    )
    populated = whole.counts > 0
    assert 0.3 < populated.mean() < 0.8
    without = replace(whole, exposure=np.where(populated, whole.exposure, 0.0))
    fits = fit_kappa(whole), fit_kappa(without)
    for name in ("density", "temperature"):
        a, b = (getattr(fit, name) for fit in fits)
        assert np.median(np.abs(a / b - 1)) < 0.1, name
    assert (
        abs(np.median(fits[0].density) / n - 1) < 0.15
        and abs(np.median(fits[0].temperature) / T - 1) < 0.1
    )


@pytest.mark.parametrize(
    "n, T, kappa", [(3e5, 400.0, 15.0), (3e5, 60.0, 30.0), (5e6, 12.0, 30.0)]
)
def test_a_nearly_maxwellian_plasma_comes_back(n, T, kappa):
    fit = fit_kappa(
        spectra(Truth.of(4, n=n, T=T, kappa=kappa, u_sc=0.0, b=fields_of(4)))
    )
    assert (
        np.allclose(fit.density, n, rtol=0.05)
        and np.allclose(fit.temperature, T, rtol=0.05)
        and (fit.misfit < 3).all()
    )


# --- fits: invariants


def test_a_fit_scales_with_density_at_equal_counts():
    sums = spectra(Truth.of(8, b=fields_of(8)), noise=True)
    one, ten = (
        fit_kappa(sums, 5.0),
        fit_kappa(replace(sums, exposure=sums.exposure / 10), 5.0),
    )
    assert np.allclose(ten.density, 10 * one.density, rtol=1e-3)
    assert np.allclose(ten.temperature, one.temperature, rtol=1e-3) and np.allclose(
        ten.kappa, one.kappa, rtol=1e-3
    )


@settings(deadline=None, max_examples=20)
@given(st.floats(0.3, 3.0))
def test_a_fit_scales_with_the_energy_axis(factor):
    flux = kappa_flux(ENERGY, 1e6, 80.0, 3.5)
    one, other = (
        fit_kappa(ideal(flux)),
        fit_kappa(ideal(flux, factor * ENERGY, 50 / factor)),
    )
    assert other.temperature[0] == pytest.approx(factor * one.temperature[0], rel=2e-3)
    assert other.kappa[0] == pytest.approx(one.kappa[0], rel=2e-3)


def test_the_order_of_channels_does_not_matter():
    sums = spectra(Truth.of(8, b=fields_of(8)), noise=True)
    order = np.random.default_rng(0).permutation(15)
    one, other = (
        fit_kappa(sums, 5.0),
        fit_kappa(
            IncidentCounts(
                *(
                    a[:, order].copy() if a.ndim == 2 else a
                    for a in arrays(sums).values()
                )
            ),
            5.0,
        ),
    )
    for name in ("density", "temperature", "kappa", "kappa_error"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=1e-3), name


def test_a_negative_spacecraft_shifts_the_plasma_and_not_the_fit():
    sums = spectra(Truth.of(6, T=60.0, n=3e5, u_sc=-30.0, b=fields_of(6)))
    one, other = fit_kappa(sums, 0.0), fit_kappa(sums, -30.0)
    assert np.array_equal(one.params, other.params)
    assert (
        np.allclose(
            one.temperature - other.temperature, 30 / (one.kappa - 1.5), rtol=1e-9
        )
        and (one.density < other.density).all()
    )


def test_a_sweep_is_fitted_as_if_it_were_alone():
    truth = Truth.of(12, T=np.geomspace(8, 500, 12), u_sc=0.0, b=fields_of(12))
    sums = spectra(truth, noise=True)
    sums.counts[3], sums.counts[7, 4:] = 0.0, 0.0
    whole = arrays(fit_kappa(sums, np.linspace(-20, 20, 12)))
    for s in range(12):
        alone = arrays(
            fit_kappa(
                IncidentCounts(*(a[s : s + 1] for a in arrays(sums).values())),
                np.linspace(-20, 20, 12)[s],
            )
        )
        for name, values in whole.items():
            np.testing.assert_array_equal(alone[name][0], values[s], err_msg=name)


def test_the_input_is_left_alone():
    sums, u = (
        spectra(Truth.of(3, b=fields_of(3)), noise=True),
        np.array([5.0, 0.0, -10.0]),
    )
    before = {name: a.copy() for name, a in arrays(sums).items()}
    fit_kappa(sums, u)
    for name, a in arrays(sums).items():
        np.testing.assert_array_equal(a, before[name], err_msg=name)
    assert u.tolist() == [5.0, 0.0, -10.0]


# --- fits that cannot be done


@pytest.mark.parametrize(
    "damage",
    [
        "no energies",
        "no counts",
        "no exposure",
        "two channels",
        "all below the spacecraft",
    ],
)
def test_a_missing_spectrum_is_flagged_and_has_no_numbers(damage):
    sums, u = spectra(Truth.of(3, b=fields_of(3))), np.zeros(3)
    if damage == "no energies":
        sums.energy[1] = np.nan
    elif damage == "no counts":
        sums.counts[1] = 0
    elif damage == "no exposure":
        sums.exposure[1] = 0
    elif damage == "two channels":
        sums.exposure[1, :13] = 0
    else:
        u[1] = 2e4
    fit = fit_kappa(sums, u)
    assert fit.flags.tolist() == [0, int(Flag.KAPPA_FAILED), 0]
    for name in (
        "density",
        "temperature",
        "kappa",
        "density_error",
        "temperature_error",
        "kappa_error",
        "misfit",
    ):
        assert np.isfinite(getattr(fit, name)).tolist() == [True, False, True], name
    assert fit.background_factor[1] == 1


def test_no_sweeps_at_all():
    fit = fit_kappa(IncidentCounts(*(np.zeros((0, 15)) for _ in range(4)), np.zeros(0)))
    assert len(fit.density) == len(fit.flags) == len(fit.background_factor) == 0


@pytest.mark.parametrize("slope", [1.62, 2.0])
def test_a_power_law_without_a_core_ends_at_a_bound_and_says_so(slope):
    fit = fit_kappa(ideal(1e9 * ENERGY**-slope))
    assert fit.flags[0] == int(Flag.KAPPA_AT_BOUND)


def test_rows_that_are_missing_cost_nothing():
    sums = spectra(Truth.of(4, b=fields_of(4)))
    whole = fit_kappa(sums, 5.0)
    sums.energy[:, [2, 9]] = np.nan
    sums.counts[:, [2, 9]] = sums.exposure[:, [2, 9]] = 0
    short = fit_kappa(sums, 5.0)
    assert (
        np.allclose(short.density, whole.density, rtol=0.02)
        and np.allclose(short.temperature, whole.temperature, rtol=0.02)
        and not short.flags.any()
    )


# --- the Maxwellian limit


@pytest.mark.parametrize("n, T", [(3e5, 60.0), (3e5, 400.0)])
def test_a_maxwellian_costs_the_kappa_fit_a_few_per_cent_and_shows_in_the_misfit(n, T):
    fit = fit_kappa(sweep_of(lambda e: maxwellian_flux(e, n, T)))
    assert (
        fit.density[0] == pytest.approx(n, rel=0.1)
        and fit.temperature[0] == pytest.approx(T, rel=0.12)
        and fit.kappa[0] > 20
    )
    assert fit.misfit[0] > 1 or fit.temperature[0] == pytest.approx(T, rel=0.02)
