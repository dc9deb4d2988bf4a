"""What a day's sweeps know together: simulated instruments and grounds are found."""

import functools
import math

import numpy as np
import pytest

from lunar_potential.config import Config
from lunar_potential.physics.losscone.joint import (
    BACK_SLOPE,
    N_SWEEP,
    PRIOR,
    PRIOR_SD,
    RESPONSE_SD,
    SKEW,
    WIDTH,
)
from lunar_potential.physics.losscone.population import (
    NAMES,
    NOMINAL,
    Population,
    learn_population,
    pool_sweeps,
)
from lunar_potential.quality.study.information import known_day
from lunar_potential.quality.study.injection import inject
from lunar_potential.synthetic.draws import draw_sweeps

BAND = 0.5 / math.sqrt(8 * math.log(2))  # standard deviation, half width of 0.5 E


@functools.cache
def day(name):
    return known_day(name, 210, seed=11)


@pytest.mark.parametrize(
    "name, parameter, truth",
    [
        ("plain", WIDTH, math.log(BAND / RESPONSE_SD)),
        ("wide response", WIDTH, math.log(1.15 * BAND / RESPONSE_SD)),
        ("plain", SKEW, 0.0),
        ("plain", BACK_SLOPE, 0.0),
        ("control", BACK_SLOPE, 0.3),
        ("backscatter", BACK_SLOPE, 0.6),
    ],
)
def test_instrument_and_ground_are_found(name, parameter, truth):
    known = day(name).population
    assert known.sweeps > 30 and known.sd[parameter] < PRIOR_SD[parameter]
    assert abs(known.mean[parameter] - truth) < 2.5 * known.sd[parameter]


def test_the_order_of_sweeps_does_not_matter():
    one = day("control")
    some = np.arange(30)
    order = np.random.default_rng(3).permutation(some)

    def learned(which):
        arrays = one.sweeps._replace(
            **{
                name: getattr(one.sweeps, name)[which]
                for name in ("energy", "flux", "phi", "b_moonward", "u_spacecraft")
            },
            background=one.sweeps.background[which],
        )
        return learn_population(arrays, one.response.half_width, one.scatter)

    first, second = learned(some), learned(order)
    assert first.sweeps == second.sweeps > 20
    np.testing.assert_allclose(first.mean, second.mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(first.sd, second.sd, rtol=1e-9)


def test_population_survives_writing():
    known = day("control").population
    again = Population.from_dict(known.to_dict())
    for q in NAMES:
        assert (again.mean[q], again.sd[q]) == (known.mean[q], known.sd[q])
    assert again.sweeps == known.sweeps
    np.testing.assert_array_equal(again.prior, known.prior)
    with pytest.raises(KeyError):
        Population.from_dict({"sweeps": 3})


def test_a_day_without_sweeps_is_nominal():
    empty = np.empty((0, N_SWEEP))
    assert pool_sweeps(empty, np.empty((0, N_SWEEP, N_SWEEP))) == NOMINAL


def test_no_sweep_decides_alone_what_a_day_has_learned():
    q, n = SKEW, 40
    best = np.tile(PRIOR, (n, 1))
    covariance = np.tile(np.diag(np.minimum(0.5 * PRIOR_SD**2, 1.0)), (n, 1, 1))
    quiet = pool_sweeps(best, covariance)
    best[7, q] += 3.0  # far off, and a hundred times as sure of itself
    covariance[7, q, q] /= 100
    loud = pool_sweeps(best, covariance)
    assert quiet.mean[q] == pytest.approx(PRIOR[q])
    assert abs(loud.mean[q] - PRIOR[q]) < 2 * quiet.sd[q]


@pytest.mark.parametrize(
    "n, config, learns",
    [
        (240, Config(), True),
        (60, Config(), False),  # too few sweeps speak for no day
        (240, Config(choose_response=False), False),
        (240, Config(fit_method="likelihood", choose_response=False), False),
    ],
)
def test_a_file_learns_if_it_may_and_has_enough_sweeps(n, config, learns):
    sweeps = draw_sweeps("control", n, seed=3, regimes=("solar_wind", "magnetosheath"))
    (calibration,) = inject(sweeps, config=config, seed=3).calibrations
    assert (calibration.population is not None) == learns
    assert not learns or calibration.population.sweeps > 30
