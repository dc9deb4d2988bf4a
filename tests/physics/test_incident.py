"Sums over incident cells: what is removed, and what is left alone."

import numpy as np
import pytest
from known_plasmas import FACTOR

from lunar_potential.physics.incident import (
    N_INCIDENT,
    incident_axis,
    incident_cells,
    sum_cells,
)
from lunar_potential.physics.response import (
    INCIDENT_MU,
    NOMINAL_BACKGROUND,
    RING_FACTOR,
    cell_counts,
)
from lunar_potential.synthetic.instrument import SimulationOptions
from lunar_potential.synthetic.sweeps import Truth, simulate_sweeps

BACKGROUND = NOMINAL_BACKGROUND * FACTOR / RING_FACTOR


def measured(seed=1, gains=0.0, **truth):
    "Energies, counts, azimuths, latitudes and axis of simulated sweeps."
    truth = Truth.of(**truth)
    options = SimulationOptions(gain_error=gains, flag_rate=0.0)
    sweeps = simulate_sweeps(truth, options, seed=seed)
    axis = truth.polarity[:, None] * truth.b
    axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    axis = np.repeat(axis[:, None], 15, axis=1)
    counts = cell_counts(sweeps.energy, sweeps.flux, FACTOR)
    return sweeps.energy, counts, sweeps.phi, sweeps.theta, axis


def summed(energy, counts, phi, theta, axis, bound=True):
    cells = incident_cells(energy, counts, phi, theta, axis, FACTOR, BACKGROUND)
    return sum_cells(energy, cells, np.full(len(energy), bound), 0.7)


def fields_of(n, seed=0):
    return 5 * np.random.default_rng(seed).normal(size=(n, 3))


WIND = dict(n=5e6, T=11.0, kappa=25.0, halo=0.05, u_sc=4.0)


def low(sums, limit=600.0):
    return sums.flux[:, (sums.energy[0] > 30) & (sums.energy[0] < limit)]


@pytest.mark.parametrize("polarity", [1, -1])
def test_cells_lie_along_the_axis_and_their_number_is_fixed(polarity):
    arrays = measured(n_sweeps=5, b=fields_of(5), polarity=polarity, **WIND)
    cells = incident_cells(*arrays, FACTOR, BACKGROUND)
    assert cells.mu.shape == (5, 15, N_INCIDENT)
    assert (cells.mu[cells.use] > INCIDENT_MU).all()
    length = cells.x**2 + cells.y**2 + cells.z**2
    assert length[cells.use] == pytest.approx(1.0)
    assert (cells.use.sum(-1) > 20).all()


def test_a_plasma_at_rest_is_left_alone():
    sums = summed(*measured(n_sweeps=40, b=fields_of(40), **WIND))
    assert (sums.flow == 0).mean() > 0.9 and not sums.strahl.any()
    still = (sums.flow == 0).all(1)
    assert (sums.spread[still] == 0).all() and (sums.level[still] == 0).all()


def test_flow_is_found_and_taken_out():
    b = fields_of(40)
    flow = np.tile([-400.0, 50.0, -30.0], (40, 1))
    calm = summed(*measured(n_sweeps=40, b=b, **WIND))
    windy = summed(*measured(n_sweeps=40, b=b, flow=flow, **WIND))
    assert np.median(np.abs(windy.flow - flow)) < 40
    off = np.abs(np.log(low(windy) / low(calm)))
    assert np.median(off) < 0.05 and np.percentile(off, 95) < 0.15
    assert (windy.level > 0).all()


@pytest.mark.parametrize("height, width", [(9.0, 25.0), (3.0, 10.0), (1.0, 18.0)])
def test_strahl_is_found_and_taken_out(height, width):
    b = np.abs(fields_of(40)) * [-1, 1, 1]  # antisunward to the Moon: a strahl
    calm = summed(*measured(n_sweeps=40, b=b, polarity=1, **WIND))
    more = dict(strahl=height, strahl_width=width, strahl_sign=1)
    arrays = measured(n_sweeps=40, b=b, polarity=1, **more, **WIND)
    bright = summed(*arrays)
    assert bright.strahl.mean() > 0.9
    off = np.abs(np.log(low(bright) / low(calm)))
    assert np.median(off) < 0.04 and np.percentile(off, 95) < 0.12
    unconnected = summed(*arrays, bound=False)
    assert not unconnected.strahl.any()


def test_cells_with_sunlight_or_damage_do_not_count():
    arrays = measured(n_sweeps=10, b=fields_of(10), **WIND)
    clean, counts = summed(*arrays), arrays[1].copy()
    cells = np.random.default_rng(3).random(counts.shape) < 0.05
    hurt = summed(arrays[0], np.where(cells, 30 * counts + 500, counts), *arrays[2:])
    assert np.abs(np.log(low(hurt, 200.0) / low(clean, 200.0))).max() < 0.03


def test_axis_without_a_field_line_avoids_the_strahl():
    b = np.array([[-4.0, 3.0, 2.0]])
    more = dict(strahl=5.0, strahl_sign=1, polarity=1, connected=False)
    energy, counts, phi, theta, axis = measured(n_sweeps=1, b=b, **more, **WIND)
    lost = np.full_like(axis, np.nan)
    for field in (axis, -axis):
        found, bound = incident_axis(energy, counts, phi, theta, lost, field, FACTOR)
        assert not bound[0] and found[0] == pytest.approx(-axis[0])
    blind, _ = incident_axis(energy, counts, phi, theta, lost, lost, FACTOR)
    assert np.abs(blind).sum(-1) == pytest.approx(1.0)  # some direction


def test_missing_rows_have_no_exposure():
    energy, counts, *rest = measured(n_sweeps=3, b=fields_of(3), **WIND)
    whole = summed(energy, counts, *rest)
    energy, counts = energy.copy(), counts.copy()
    energy[1, [2, 14]], counts[1, [2, 14]] = np.nan, np.nan
    sums = summed(energy, counts, *rest)
    assert (sums.exposure[1, [2, 14]] == 0).all() and (sums.exposure[0] > 0).all()
    assert np.array_equal(sums.counts[[0, 2]], whole.counts[[0, 2]])
    kept = np.setdiff1d(np.arange(15), [2, 14])
    assert sums.flux[1, kept] == pytest.approx(whole.flux[1, kept], rel=0.05)


def test_a_sweep_alone_gives_the_same_bits():
    flow = np.tile([-400.0, 0.0, 0.0], (7, 1))
    arrays = measured(n_sweeps=7, b=fields_of(7), flow=flow, strahl=3.0, **WIND)
    together = summed(*arrays)
    for s in range(7):
        alone = summed(*(a[s : s + 1] if len(a) == 7 else a for a in arrays))
        for name, values in vars(alone).items():
            assert np.array_equal(values, getattr(together, name)[s : s + 1])
