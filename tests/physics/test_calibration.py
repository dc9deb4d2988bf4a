"Calibration: the simulator's values are recovered; a few sweeps change nothing."

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.data.er.counts import count_factor
from lunar_potential.data.er.erdata import ERData
from lunar_potential.physics.calibration import (
    CODE_SCATTER,
    MIN_SWEEPS,
    Calibration,
    calibrate,
    flat_field,
    tail_background,
)
from lunar_potential.physics.pitch import cell_pitch
from lunar_potential.physics.response import (
    NOMINAL_BACKGROUND,
    cell_counts,
    code_midpoint,
)
from lunar_potential.synthetic.instrument import THETA, SimulationOptions, draw_gains
from lunar_potential.synthetic.sweeps import Truth, simulate_sweeps

FACTOR = count_factor(THETA)
SIZE = 240
SEED = 5
anytime = settings(deadline=None)  # a busy machine is no failure


def a_day(seed=SEED, size=SIZE, connected=True, anisotropy=0.0, **options):
    "Energies, counts, pitch cosines and factors of a day in a varying solar wind."
    rng = np.random.default_rng(seed)
    truth = Truth.of(
        size,
        n=5e6 * np.exp(rng.normal(0, 0.6, size)),
        T=rng.uniform(8, 20, size),
        b=rng.normal(size=(size, 3)),
        polarity=-1 if connected else 0,
        anisotropy=anisotropy,
    )
    er = ERData.from_dataframe(
        simulate_sweeps(truth, SimulationOptions(**options), seed=seed).to_frame(),
        THETA,
    )
    block = er.padded()
    mu = cell_pitch(block["phi"], THETA, block["b"], truth.polarity)
    return (
        block["energy"],
        cell_counts(block["energy"], block["flux"], FACTOR),
        mu,
        FACTOR,
    )


@pytest.fixture(scope="module")
def day():
    return a_day()


@pytest.fixture(scope="module")
def found(day):
    return calibrate(*day)


# --- what comes back


def test_gains_come_back_to_half_a_per_cent(found):
    off = found.gain / draw_gains(SEED)
    assert (
        np.std(draw_gains(SEED)) > 0.03
        and np.std(off) < 0.006
        and np.abs(off - 1).max() < 0.02
    )
    assert found.sweeps == SIZE


def test_gains_have_a_geometric_mean_of_one(found):
    assert np.exp(np.log(found.gain).mean()) == pytest.approx(1, abs=1e-3)


def test_scatter_that_remains_is_that_of_the_code(found):
    assert CODE_SCATTER == pytest.approx(0.0133, abs=1e-4)
    assert CODE_SCATTER - 1e-3 <= found.scatter < 2 * CODE_SCATTER


def test_gains_that_are_equal_are_found_equal():
    flat = calibrate(*a_day(gain_error=0.0))
    assert np.abs(flat.gain - 1).max() < 0.02 and np.std(flat.gain) < 0.006


def test_sunlight_in_the_aperture_does_not_spoil_the_gains(found):
    sunny = calibrate(*a_day(hard=True))
    assert np.std(sunny.gain / draw_gains(SEED)) < 0.01


def test_sweeps_that_miss_the_moon_calibrate_as_well():
    loose = calibrate(*a_day(connected=False))
    assert np.std(loose.gain / draw_gains(SEED)) < 0.005


@pytest.mark.parametrize("rate", [7.0, 10.0, 15.0])
def test_background_comes_back(rate):
    energy, counts, mu, factor = a_day(seed=7, background=rate)
    calibration = calibrate(energy, counts, mu, factor, gains=False)
    assert calibration.background == pytest.approx(rate * 2.5 / 8, rel=0.1, abs=0.25)
    assert calibration.background_sd == 0.05


def test_without_gains_only_the_background_is_estimated(day, found):
    calibration = calibrate(*day, gains=False)
    assert (
        calibration.gain is None
        and calibration.background == found.background
        and calibration.sweeps == SIZE
    )
    assert calibration.scatter == Calibration().scatter


@pytest.mark.parametrize("scale", [0.1, 0.3, 3.0])
def test_the_size_of_a_count_comes_back(found, scale):
    assert found.count_scale == 1 == Calibration().count_scale
    calibration = calibrate(*a_day(count_scale=scale))
    assert calibration.count_scale == pytest.approx(1 / scale, rel=0.05)
    assert (
        np.std(calibration.gain / draw_gains(SEED)) < (0.006 if scale > 0.2 else 0.01)
        and calibration.scatter < 2 * CODE_SCATTER
    )


def test_gains_sunlight_and_background_are_no_other_count():
    for options in (
        dict(gain_error=0.1),
        dict(hard=True),
        dict(background=30.0),
        dict(anisotropy=0.3),
    ):
        assert calibrate(*a_day(**options)).count_scale == 1, options


# --- nominal values


def test_fewer_than_two_hundred_sweeps_are_nominal(day):
    energy, counts, mu, factor = day
    assert MIN_SWEEPS == 200
    few = calibrate(energy[:199], counts[:199], mu[:199], factor)
    assert (
        few == Calibration()
        and few.gain is None
        and few.sweeps == 0
        and few.background == NOMINAL_BACKGROUND
    )
    enough = calibrate(energy[:200], counts[:200], mu[:200], factor)
    assert enough.gain is not None and enough.sweeps == 200


def test_no_sweeps_are_nominal():
    assert (
        calibrate(
            np.zeros((0, 15)), np.zeros((0, 15, 88)), np.zeros((0, 15, 88)), FACTOR
        )
        == Calibration()
    )


@pytest.mark.parametrize("excess", [30.0, 1e3])
def test_a_background_that_cannot_be_one_is_nominal_and_uncertain(day, excess):
    energy, counts, mu, factor = day
    calibration = calibrate(
        energy, counts + excess * factor / factor.max(), mu, factor, gains=False
    )
    assert (
        calibration.background == NOMINAL_BACKGROUND
        and calibration.background_sd == Calibration().background_sd
    )


# --- robustness


def test_a_damaged_sweep_moves_the_estimates_by_one_step_at_most(day, found):
    energy, counts, mu, factor = day
    damaged = counts.copy()
    damaged[17] = np.nan
    calibration = calibrate(energy, damaged, mu, factor)
    assert (
        abs(calibration.background - found.background) <= 0.25
        and calibration.sweeps == SIZE
    )
    assert (calibration.gain == found.gain).mean() > 0.85 and np.abs(
        calibration.gain - found.gain
    ).max() < 0.0051


def test_a_missing_row_seldom_changes_a_bit_of_the_estimates(day, found):
    energy, counts, mu, factor = day
    rng, same = np.random.default_rng(0), []
    for _ in range(12):
        without = counts.copy()
        without[rng.integers(SIZE), rng.integers(15)] = np.nan
        calibration = calibrate(energy, without, mu, factor)
        same.append((calibration.gain == found.gain).mean())
        assert (
            calibration.background == found.background
            and np.abs(calibration.gain - found.gain).max() < 0.0051
        )
    assert np.mean(same) > 0.98


def test_a_masked_cell_takes_no_part(day, found):
    energy, counts, mu, factor = day
    masked, rest = counts.copy(), np.arange(88) != 7
    masked[:, :, 7] = np.nan
    without = calibrate(energy, masked, mu, factor)
    assert np.isfinite(without.gain).all() and without.gain[7] != found.gain[7]
    shift = without.gain[rest] / found.gain[rest]
    assert np.ptp(shift) < 0.012  # but for the common factor of the mean


def test_estimates_are_rounded_and_the_input_is_left_alone(day, found):
    assert np.allclose(
        found.gain * 200, np.rint(found.gain * 200)
    ) and found.background * 4 == round(found.background * 4)
    before = [a.copy() for a in day]
    calibrate(*day)
    for a, b in zip(day, before):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_sweeps_does_not_matter(day, found, seed):
    order = np.random.default_rng(seed).permutation(SIZE)
    energy, counts, mu, factor = day
    shuffled = calibrate(energy[order], counts[order], mu[order], factor)
    assert (
        shuffled.background == found.background
        and (shuffled.gain == found.gain).mean() > 0.95
    )


# --- the parts


@anytime
@given(st.floats(0.1, 20.0), st.floats(0.5, 50.0), st.floats(2.0, 6.0))
def test_a_power_law_on_a_background_gives_the_background(background, tail, slope):
    counts = background + tail * slope ** np.arange(6.0)
    assert tail_background(np.tile(counts, (4, 1))) == pytest.approx(
        background, abs=1e-6 * counts[2] * slope
    )


def test_noise_cannot_make_a_background_of_a_nearly_level_tail():
    rng = np.random.default_rng(8)
    found = [
        tail_background(
            rng.poisson(8 * np.array([3.0, 3.0, 3.05, 3.2, 4.0, 6.0]), (300, 6)) / 8
        )
        for _ in range(200)
    ]
    assert np.abs(np.array(found) - 3.0).max() < 0.35


@anytime
@given(st.floats(0.1, 1e4), st.integers(1, 30))
def test_a_level_tail_is_all_background(level, sweeps):
    assert tail_background(np.full((sweeps, 6), level)) == pytest.approx(level)


@pytest.mark.parametrize(
    "means", [(7.789, 8.156, 8.258, 9.254, 13.8), (1.519, 1.765, 1.853, 2.826, 7.53)]
)
def test_a_level_tail_with_noise_is_all_background(means):
    assert tail_background(np.tile(means, (4, 1))) == pytest.approx(means[0], rel=0.1)


def test_a_tail_that_falls_with_energy_the_wrong_way_has_no_background():
    assert math.isnan(tail_background(np.tile([90.0, 30.0, 10.0, 3.0, 1.0], (5, 1))))


def test_the_quietest_sweeps_are_used():
    rng = np.random.default_rng(0)
    quiet = 4.0 + 2.0 * 3.0 ** np.arange(5.0)
    loud = 500 + 3e3 * np.sort(rng.random((70, 5)), axis=1)
    assert tail_background(np.vstack([np.tile(quiet, (31, 1)), loud])) == pytest.approx(
        4.0, abs=1e-6
    )


def ideal(size=300, seed=0, gain_error=0.05):
    "Counts of an isotropic flux through cells of known gain; each sweep uses half."
    rng = np.random.default_rng(seed)
    gain = np.exp(rng.normal(0, gain_error, 88))
    gain /= np.exp(np.log(gain).mean())
    energy = np.tile(np.geomspace(1.6e4, 40, 15), (size, 1))
    flux = np.exp(rng.normal(0, 0.5, (size, 1, 1))) * 3e10 * energy[:, :, None] ** -3.0
    counts = rng.poisson(
        flux * gain * FACTOR * energy[:, :, None] + 3 * FACTOR / 0.05
    ).astype(float)
    use = np.broadcast_to(rng.random((size, 1, 88)) < 0.5, counts.shape).copy()
    return gain, energy, counts, use


def test_cells_that_are_not_used_keep_their_gain():
    gain, energy, counts, use = ideal()
    use[:, :, :4] = False
    counts[:, :, :4] *= 5
    found, *_ = flat_field(energy, counts, use, FACTOR, 3.0)
    assert np.ptp(found[:4]) == 0 and np.std(found[4:] / gain[4:]) < 0.003


def test_one_sweep_out_of_line_does_not_move_the_gains():
    gain, energy, counts, use = ideal()
    counts[5, :, ::2] *= 3
    found, *_ = flat_field(energy, counts, use, FACTOR, 3.0)
    assert np.std(found / gain) < 0.003


def test_more_scatter_is_seen_as_more_scatter():
    gain, energy, counts, use = ideal()
    noise = np.exp(np.random.default_rng(1).normal(0, 0.04, counts.shape))
    quiet, loud = (
        flat_field(energy, code_midpoint(np.floor(k)), use, FACTOR, 3.0)[1]
        for k in (counts, counts * noise)
    )
    assert quiet == pytest.approx(CODE_SCATTER, abs=2e-3) and loud == pytest.approx(
        0.04, abs=6e-3
    )


def test_too_little_light_leaves_the_gains_at_one():
    gain, energy, counts, use = ideal(size=20)
    found, scatter, _ = flat_field(energy, np.minimum(counts, 3.0), use, FACTOR, 3.0)
    assert (found == 1).all() and scatter == 0.0135


@pytest.mark.parametrize("size", [0.5, 1.0, 4.0])
def test_variance_over_mean_is_the_size_of_a_count(size):
    gain, energy, counts, use = ideal()
    assert flat_field(
        energy, np.random.default_rng(2).poisson(counts / size) * size, use, FACTOR, 3.0
    )[2] == pytest.approx(size + 1, rel=0.05)
