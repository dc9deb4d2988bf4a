"Sweeps in memory: counting noise and the loss cone of a cell."

import numpy as np
import pytest

from lunar_potential.synthetic.instrument import (
    SimulationOptions,
    cell_azimuths,
    cell_pieces,
)
from lunar_potential.synthetic.sweeps import Truth, expected_flux, simulate_sweeps


def test_count_scale_changes_the_noise_and_not_the_flux():
    truth = Truth.of(200, connected=False, polarity=0)
    plain = dict(gain_error=0.0, flag_rate=0.0, background=0.0)
    means, spreads = [], []
    for scale in (1e-3, 1e-2):
        flux = simulate_sweeps(
            truth, SimulationOptions(count_scale=scale, **plain)
        ).flux[:, 10]
        means.append(flux.mean())
        spreads.append((flux.std(axis=0) / flux.mean(axis=0)).mean())
    assert means[0] == pytest.approx(means[1], rel=0.05)
    assert spreads[0] > 2 * spreads[1]


def test_cone_of_a_cell_by_brute_force():
    """With a very narrow response, flux measures the directions beyond the edge.

    Count 100 x 100 of them."""
    options = SimulationOptions(response_fwhm=1e-4)
    b = np.array([1.0, 2.0, 2.0]) / 3
    truth = Truth.of(
        1,
        u_sc=0.0,
        u_surface=-100.0,
        bs_over_bm=0.6,
        backscatter=0.0,
        b=5 * b,
        polarity=-1,
    )
    phi = cell_azimuths([33.0])[:, :1]
    flux, _ = expected_flux(truth, np.array([300.0]), phi, options)
    latitude, azimuth = cell_pieces(100)
    lat, lon = (
        np.radians(latitude)[:, :, None],
        np.radians(phi[0, 0][:, None] + azimuth)[:, None, :],
    )
    mu = -(
        b[0] * np.cos(lat) * np.cos(lon)
        + b[1] * np.cos(lat) * np.sin(lon)
        + b[2] * np.sin(lat)
    )
    reflected = 1 - mu**2 >= 0.6 * (1 - 100 / 300)
    expected = ((mu >= 0) | reflected).mean(axis=(1, 2))
    error = flux[0, 0] / flux[0, 0].max() - expected
    assert np.abs(error).max() < 0.06 and np.abs(error).mean() < 0.01
    assert (expected == 0).any() and (expected == 1).any()


def test_no_sweeps_are_no_measurements():
    none = Truth.of(2).select(np.zeros(2, bool))
    assert simulate_sweeps(none).flux.shape == (0, 15, 88) and len(none.u_lowest) == 0
