"Response: the energy band of a channel, and sums of incident counts."

import math

import numpy as np
import pytest
from known_plasmas import ENERGY, FACTOR, fields_of, spectra

from lunar_potential.physics.response import (
    INCIDENT_MU,
    NOMINAL_BACKGROUND,
    RING_FACTOR,
    Response,
    cell_counts,
    code_midpoint,
    folded_spectrum,
    incident_counts,
    response_nodes,
    usable_energy,
)
from lunar_potential.synthetic.instrument import log_compress
from lunar_potential.synthetic.plasma import ambient_flux
from lunar_potential.synthetic.sweeps import Truth


def folded(width, kappa, u=0.0, log_c=3.0, response=Response()):
    out = np.empty((3, len(ENERGY)))
    folded_spectrum(ENERGY, log_c, width, kappa, u, *response_nodes(response), *out)
    return out


# --- the band of a channel


@pytest.mark.parametrize("shape", ["log", "linear"])
@pytest.mark.parametrize("number", [3, 11, 41])
def test_band_weights_sum_to_one_and_peak_in_the_middle(shape, number):
    offset, weight = response_nodes(Response(shape=shape), number)
    assert len(offset) == len(weight) == number and (np.diff(offset) > 0).all()
    assert (
        weight.sum() == pytest.approx(1, abs=1e-12)
        and weight.argmax() == number // 2
        and np.allclose(weight, weight[::-1])
    )
    assert abs(offset[number // 2]) < 1e-12 and offset[0] < 0 < offset[-1]


@pytest.mark.parametrize("shape", ["log", "linear"])
@pytest.mark.parametrize("fwhm", [0.3, 0.5])
def test_band_is_as_wide_as_it_says(shape, fwhm):
    offset, weight = response_nodes(Response(fwhm=fwhm, shape=shape), 4001)
    above = np.exp(offset[weight >= weight.max() / 2])
    assert above[-1] - above[0] == pytest.approx(
        fwhm, rel=0.02
    )  # in ln E it is that of a sinh, 1 % more


@pytest.mark.parametrize("cut", [2.0, 2.5, 3.0])
@pytest.mark.parametrize("number", [11, 21])
def test_the_spread_of_the_band_does_not_depend_on_the_number_of_nodes(cut, number):
    spread = []
    for nodes in (number, 4001):
        offset, weight = response_nodes(Response(cut=cut), nodes)
        spread.append(weight @ offset**2)
    assert spread[0] == pytest.approx(spread[1], rel=0.01)


def test_no_band_is_one_node():
    offset, weight = response_nodes(Response(fwhm=0.0))
    assert offset.tolist() == [0] and weight.tolist() == [1]


def test_an_unknown_band_is_refused():
    with pytest.raises(ValueError, match="'box'"):
        Response(shape="box")


def test_band_of_no_width_gives_the_spectrum_itself():
    assert np.allclose(
        folded(50.0, 3.0, response=Response(fwhm=0.0))[0],
        ENERGY * math.exp(3.0) * (50 + ENERGY) ** -4.0,
        rtol=1e-12,
    )


def test_band_raises_a_power_law_by_its_closed_form():
    offset, weight = response_nodes()
    tail = folded(0.1, 4.0)[0] / folded(0.1, 4.0, response=Response(fwhm=0.0))[0]
    assert (
        np.allclose(tail, weight @ np.exp(-4.0 * offset), rtol=0.02)
        and (tail > 1.2).all()
    )


@pytest.mark.parametrize("u", [0.0, 30.0])
def test_band_derivatives_are_those_of_finite_differences(u):
    width, kappa, h = 80.0, 3.4, 1e-4
    _, by_width, by_kappa = folded(width, kappa, u)
    assert np.allclose(
        by_width,
        (folded(width + h, kappa, u)[0] - folded(width - h, kappa, u)[0]) / (2 * h),
        rtol=1e-5,
    )
    assert np.allclose(
        by_kappa,
        (folded(width, kappa + h, u)[0] - folded(width, kappa - h, u)[0]) / (2 * h),
        rtol=1e-5,
    )


def test_nothing_below_the_spacecraft_enters_the_band():
    u = 45.0
    flux = folded(80.0, 3.0, u)[0]
    uncut = folded(80.0, 3.0)[0]
    upper = ENERGY * np.exp(response_nodes()[0][-1])
    lower = ENERGY * np.exp(response_nodes()[0][0])
    assert (flux[upper <= u] == 0).all() and np.array_equal(
        flux[lower > u], uncut[lower > u]
    )
    cut = (lower <= u) & (u < upper)
    assert cut.any() and (flux[cut] < uncut[cut]).all() and (flux[cut] > 0).all()


@pytest.mark.parametrize(
    "u, expected",
    [(0.0, True), (-50.0, True), (20.0, True), (37.0, False), (50.0, False)],
)
def test_a_channel_near_the_spacecrafts_potential_is_not_used(u, expected):
    assert usable_energy(60.0, u) == expected
    assert not usable_energy(math.nan, u)


# --- counts


@pytest.mark.parametrize("octave", range(5, 15))
def test_midpoint_is_the_mean_of_all_counts_with_the_same_code(octave):
    true = np.arange(2**octave, 2 ** (octave + 1))
    code = log_compress(true)
    for value in np.unique(code):
        assert code_midpoint(float(value)) == true[code == value].mean()


def test_small_counts_are_exact():
    assert np.array_equal(code_midpoint(np.arange(32.0)), np.arange(32.0))


def test_negative_flux_is_no_count_and_missing_flux_stays_missing():
    flux = np.full((1, 15, 88), -3.0)
    flux[0, 2, 5] = np.nan
    counts = cell_counts(ENERGY[None], flux, FACTOR)
    assert (
        np.isnan(counts[0, 2, 5])
        and np.isnan(counts).sum() == 1
        and np.nansum(counts) == 0
    )


def test_only_cells_that_move_to_the_moon_are_summed():
    counts, mu = np.zeros((1, 15, 88)), np.full((1, 15, 88), -0.5)
    mu[0, :, :10], mu[0, :, 10:13], mu[0, :, 13] = 0.9, INCIDENT_MU - 1e-6, np.nan
    counts[0, :, :14], counts[0, 4, 3] = 7.0, np.nan
    sums = incident_counts(ENERGY[None], counts, mu, FACTOR, background=2.0)
    cells = np.arange(10)
    for row in (0, 4):
        used = cells[cells != 3] if row == 4 else cells
        assert sums.counts[0, row] == 7 * len(used)
        assert sums.exposure[0, row] == pytest.approx(FACTOR[used].sum() * ENERGY[row])
        assert sums.background[0, row] == pytest.approx(
            2.0 * FACTOR[used].sum() / RING_FACTOR
        )


def test_a_sweep_without_connection_uses_all_cells():
    counts, mu = np.ones((2, 15, 88)), np.full((2, 15, 88), np.nan)
    mu[1, 3, 0] = 1.0
    sums = incident_counts(np.stack([ENERGY, ENERGY]), counts, mu, FACTOR)
    assert (sums.counts[0] == 88).all() and sums.counts[1].sum() == 1
    assert sums.background[0] == pytest.approx(8 * NOMINAL_BACKGROUND)


def test_cells_with_known_gain_give_the_true_flux():
    gain = np.exp(np.random.default_rng(0).normal(0, 0.2, 88))
    counts = np.broadcast_to(3.0 * gain * FACTOR, (1, 15, 88)) * ENERGY[:, None]
    mu = np.where(np.arange(88) % 3 == 0, 0.8, -0.8) * np.ones((1, 15, 1))
    assert np.allclose(
        incident_counts(ENERGY[None], counts, mu, FACTOR, 0.0, gain=gain).flux, 3.0
    )
    assert not np.allclose(
        incident_counts(ENERGY[None], counts, mu, FACTOR, 0.0).flux, 3.0, rtol=0.01
    )


def test_flux_is_that_of_the_simulated_plasma():
    truth = Truth.of(6, u_sc=0.0, b=fields_of(6))
    sums = spectra(truth)
    offset, weight = response_nodes(Response(cut=2.4), 201)
    expected = ambient_flux(ENERGY[:, None] * np.exp(offset), 5e6, 12.0, 4.5) @ weight
    assert np.allclose(sums.flux, expected, rtol=0.02)
