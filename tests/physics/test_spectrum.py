"The joint fit of spectrum and balance: derivatives, descent and models."

import numpy as np
import pytest
from known_plasmas import MODEL, dark, sunlit, sweep_of

from lunar_potential.physics.kappa import kappa_flux
from lunar_potential.physics.response import Response
from lunar_potential.physics.spectrum import (
    FREE_BACKGROUND,
    descend,
    expected_counts,
    misfit,
    photoelectron_flux,
    spectra_of,
    start_one,
    start_two,
    weight_of_two,
)
from lunar_potential.units import E_CHARGE

WIND = (4.7e6, 11.0, 25.0), (0.3e6, 66.0, 5.0)


def two(energy):
    return sum(kappa_flux(energy, *plasma) for plasma in WIND)


def fitted(flux, u, lit, size=1, seed=None, start=5.0, **options):
    spectra = spectra_of(sweep_of(flux, u, size, seed), np.full(size, lit), **options)
    one = descend(spectra, start_one(spectra, np.full(size, start)), 40, 1e-4)
    return spectra, one


@pytest.mark.parametrize("lit, u", [(1.0, 4.0), (1.0, -1.5), (0.0, -25.0), (0.0, 0.8)])
@pytest.mark.parametrize("number", [1, 2])
def test_gradient_is_that_of_differences(lit, u, number):
    "At fixed variance, where it is defined: with variances that do not move."
    spectra = spectra_of(sweep_of(two, max(u, 0.0)), np.full(1, lit))
    theta = start_one(spectra, np.full(1, u))
    theta = start_two(spectra, theta) if number == 2 else theta
    spectra.counts = expected_counts(spectra, theta)[0]  # no residual, no dv/dtheta
    spectra.exposure, spectra.background = (
        1e8 * spectra.exposure,
        1e8 * spectra.background,
    )
    spectra.counts = 1e8 * spectra.counts
    _, gradient, _, _, _ = misfit(spectra, theta)
    for column in range(theta.shape[1]):
        up, down = theta.copy(), theta.copy()
        up[0, column] += 1e-5
        down[0, column] -= 1e-5
        high, low = misfit(spectra, up), misfit(spectra, down)
        priors = [
            q[0][0] - q[3][0] - _log_variance(spectra, q, t)
            for q, t in ((high, up), (low, down))
        ]
        chi = (high[3][0] - low[3][0]) / 2e-5
        slope = -0.5 * ((priors[0] - priors[1]) / 2e-5 + chi)
        scale = 1e-3 * np.abs(gradient).max() + 1e-3
        assert slope == pytest.approx(gradient[0, column], rel=2e-2, abs=scale)


def _log_variance(spectra, state, theta):
    mean, _, extra = expected_counts(spectra, theta)
    variance = mean + (spectra.scatter * mean) ** 2 + 0.25 + extra
    return np.log(variance).sum()


def test_photoelectrons_are_those_of_the_curve():
    "All of them together, from every direction, are the current that is held back."
    energy = np.geomspace(1e-3, 40.0, 4000)
    held = np.trapezoid(photoelectron_flux(energy) * energy, np.log(energy))
    held *= 1e4 * np.pi * E_CHARGE
    curve = [
        MODEL.photo_a * np.exp(-u / MODEL.photo_b)
        + MODEL.photo_c * np.exp(-u / MODEL.photo_d)
        for u in (0.0, 40.0)
    ]
    assert held == pytest.approx(curve[0] - curve[1], rel=1e-3)


@pytest.mark.parametrize(
    "n, T, kappa, lit",
    [
        (5e6, 12.0, 4.5, 1.0),
        (3e5, 400.0, 4.0, 1.0),
        (3e5, 60.0, 3.2, 0.0),
        (1e6, 20.0, 4.0, 0.0),
        (3e5, 400.0, 4.0, 0.0),
    ],
)
def test_known_plasmas_come_back(n, T, kappa, lit):
    u = sunlit(n, T, kappa) if lit else dark(T, kappa)
    start = 5.0 if lit else u
    _, fit = fitted(lambda e: kappa_flux(e, n, T, kappa), u, lit, start=start)
    assert fit.theta[0, -1] == pytest.approx(u, abs=0.3 + 0.05 * abs(u))
    assert np.exp(fit.theta[0, 1]) == pytest.approx(T, rel=0.1)
    assert fit.chi2[0] < 1 and abs(fit.balance[0]) < 0.01


def test_core_and_halo_are_told_from_one_population():
    spectra, one = fitted(two, 4.0, 1.0, 20, seed=1)
    pair = descend(spectra, start_two(spectra, one.theta), 30, 1e-3)
    scale = np.maximum(pair.chi2 / 8, 1.0)
    assert (weight_of_two(one, pair, scale) > 0.99).all()
    spectra, one = fitted(lambda e: kappa_flux(e, 5e6, 12.0, 4.5), 4.0, 1.0, 20, seed=1)
    pair = descend(spectra, start_two(spectra, one.theta), 30, 1e-3)
    assert (weight_of_two(one, pair, np.ones(20)) < 0.5).mean() > 0.9


def test_misfit_never_rises():
    spectra = spectra_of(sweep_of(two, 4.0, 5, seed=2), np.ones(5))
    start = start_one(spectra, np.full(5, 12.0))
    values = [descend(spectra, start, steps, 0.0).q for steps in (0, 2, 5, 20)]
    assert (np.diff(values, axis=0) <= 0).all()


def test_particles_free_the_background():
    quiet = sweep_of(two, 4.0)
    assert spectra_of(quiet, np.ones(1)).background_sd == quiet.background_sd
    loud = sweep_of(two, 4.0)
    loud.counts[:] += 9 * loud.background
    spectra, sd = spectra_of(loud, np.ones(1)), FREE_BACKGROUND
    assert spectra.background_sd == sd
    one = descend(spectra, start_one(spectra, np.full(1, 5.0)), 40, 1e-4)
    pair = descend(spectra, start_two(spectra, one.theta), 40, 1e-4)
    assert np.exp(pair.theta[0, -3]) == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize("shape, fwhm", [("log", 0.0), ("log", 0.4), ("linear", 0.5)])
def test_any_response_can_be_fitted(shape, fwhm):
    response = Response(fwhm=fwhm, shape=shape)
    spectra, fit = fitted(lambda e: kappa_flux(e, 5e6, 12.0, 4.5), 4.0, 1.0, 2)
    other = spectra_of(sweep_of(two, 4.0), np.ones(1), response)
    assert np.isfinite(descend(other, start_one(other, np.full(1, 5.0))).q).all()
    other.cut = True
    assert np.isfinite(descend(other, start_one(other, np.full(1, 40.0))).q).all()
