"Moments: integrals over incident spectra, completed by the kappa fit."

import math

import numpy as np
import pytest
from known_plasmas import integral, sweep_of

from lunar_potential.physics.kappa import kappa_flux, maxwellian_flux
from lunar_potential.physics.kappa_fit import fit_kappa
from lunar_potential.physics.moments import moments
from lunar_potential.units import Flag

# --- moments


@pytest.mark.parametrize("u", [-30.0, 0.0, 15.0])
@pytest.mark.parametrize("T", [5.0, 20.0, 80.0, 300.0, 1000.0])
def test_moments_of_a_kappa_plasma(T, u):
    n, kappa = 3e6, 3.8
    if u > (kappa - 1.5) * T:
        return  # the fit needs a positive width on the spacecraft
    got = moments(sweep_of(lambda e: kappa_flux(e, n, T, kappa), u), u)
    assert got.density[0] == pytest.approx(n, rel=0.03) and got.temperature[
        0
    ] == pytest.approx(T, rel=0.02)
    carried = integral(
        math.pi
        * 1e4
        * kappa_flux(wide := T * np.geomspace(1e-6, 1e7, 8001), n, T, kappa)
        * wide,
        wide,
    )
    assert got.energy_flux[0] == pytest.approx(carried, rel=0.03)


def test_the_measured_share_follows_the_energy_range():
    share = np.array(
        [
            moments(sweep_of(lambda e: kappa_flux(e, 3e6, T, 3.8))).measured[0]
            for T in (5.0, 20.0, 80.0, 300.0)
        ]
    )
    assert (
        (np.diff(share[:, 0]) > 0).all() and share[0, 0] < 0.05 and share[-1, 0] > 0.9
    )
    assert (share[:, 1] > share[:, 0]).all()


def test_moments_scatter_as_their_errors_say():
    n, T, kappa = 3e5, 80.0, 3.5
    got = moments(
        sweep_of(lambda e: kappa_flux(e, n, T, kappa), -10.0, 150, seed=4), -10.0
    )
    for value, error, truth in (
        (got.density, got.density_error, n),
        (got.temperature, got.temperature_error, T),
    ):
        assert abs(np.median(value) / truth - 1) < 0.02
        assert 0.6 < np.std(value / truth - 1) / np.median(error) < 1.4


def test_moments_of_a_measured_plasma_do_not_need_the_right_model():
    n, T = 3e5, 400.0
    sweep = sweep_of(lambda e: maxwellian_flux(e, n, T))
    assert moments(sweep).density[0] == pytest.approx(n, rel=0.015) and moments(
        sweep
    ).temperature[0] == pytest.approx(T, rel=0.015)


def test_moments_keep_failures_and_take_a_known_fit():
    sweep = sweep_of(lambda e: kappa_flux(e, 1e6, 50.0, 4.0), size=2)
    sweep.counts[1] = 0.0
    got = moments(sweep, fit=fit_kappa(sweep))
    assert (
        np.isfinite(got.density).tolist() == [True, False]
        and got.flags[1] == Flag.KAPPA_FAILED
    )
    assert np.array_equal(got.density, moments(sweep).density, equal_nan=True)
