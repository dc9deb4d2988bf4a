"Loss cone: limits of the model, and its gradients."

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from losscone_truths import PLASMA_SHEET, WAKE, anytime, directions, sweep_of, sweeps_of

from lunar_potential.physics.losscone.cells import (
    AMBIENT,
    BEAM,
    COSINE,
    COUNTS,
    ENERGY,
    FLUX,
    FULL,
    INVERSE,
    NOISE,
    NUMBER,
    U_SC,
    UP,
    critical_angle,
)
from lunar_potential.physics.losscone.fitter import METHODS, LossConeFitter
from lunar_potential.physics.losscone.likelihood import (
    BACKSCATTER,
    BACKSCATTER_SLOPE,
    BEAM_PRIOR,
    _classical_weights,
    evaluate_misfit,
)
from lunar_potential.physics.losscone.model import (
    BEAM_EMISSION,
    beam_level,
    beam_shape,
    load_sweep,
    returned_share,
)
from lunar_potential.physics.response import Response
from lunar_potential.synthetic.sweeps import Truth

# --- the angle


@anytime
@given(st.floats(0.0, 1.0))
def test_angle_is_the_inverse_sine(x):
    assert critical_angle(x) == pytest.approx(
        math.degrees(math.asin(math.sqrt(x))), abs=3e-6
    )


@pytest.mark.parametrize(
    "x, angle",
    [
        (-5.0, 0.0),
        (-1e-9, 0.0),
        (0.0, 0.0),
        (0.25, 30.0),
        (0.5, 45.0),
        (0.75, 60.0),
        (1.0, 90.0),
        (3.0, 90.0),
    ],
)
def test_angle_at_its_limits(x, angle):
    assert critical_angle(x) == pytest.approx(angle, abs=3e-6)


@anytime
@given(st.floats(-1.0, 2.0), st.floats(1e-6, 1.0))
def test_angle_grows(x, step):
    assert 0 <= critical_angle(x) <= critical_angle(x + step) <= 90


# --- the model


def prepared(truth, sweeps, s=0, method="likelihood", response=Response()):
    "Workspace with sweep s, and its number of channels."
    work = LossConeFitter(method, response=response).workspace(sweeps.energy.shape[1])
    return work, load_sweep(work, sweep_of(truth, sweeps, s), response)


def beam_in(work, channel, arriving):
    "Shape of the beam of secondaries arriving at an energy (eV), and its derivative."
    return beam_shape(work, channel, arriving, *beam_level(work, max(arriving, 1.0)))


def model(work, channel, u, ratio, backscatter, beam):
    "Expected counts of fitted cells, counts of full cells, and the four derivatives."
    shape, slope = beam_in(work, channel, work.setting[U_SC] - u + BEAM_EMISSION)
    returned_share(work, channel, u, ratio)
    n = int(work.channel[channel, NUMBER])
    cell, (s, by_u, by_ratio) = (
        work.cell[channel, :, :n],
        work.returned.reshape(5, 88)[:3, :n].astype(float),
    )
    lost, full = cell[UP] - s, cell[FULL]
    expected = 1 - (1 - backscatter) * lost + beam * shape * cell[BEAM]
    slopes = (
        (1 - backscatter) * by_u - beam * slope * cell[BEAM],
        (1 - backscatter) * by_ratio,
        lost,
        shape * cell[BEAM],
    )
    return full * expected, full, full * np.array(slopes)


@pytest.fixture(scope="module")
def wake():
    truth = Truth.of(
        12,
        **WAKE,
        u_surface=np.linspace(-300, -50, 12),
        bs_over_bm=np.linspace(0.2, 0.9, 12),
        b=directions(12),
        beam_amp=np.linspace(0, 1.5, 12),
    )
    return truth, sweeps_of(truth)


def test_a_surface_too_negative_returns_everything(wake):
    work, number = prepared(*wake)
    for i in range(number):
        counts, full, slopes = model(work, i, -1e6, 0.7, 0.05, 0.0)
        assert np.allclose(counts, full, rtol=1e-5)
        assert not slopes[:2].any()


def test_a_channel_below_the_surfaces_barrier_returns_everything(wake):
    work, number = prepared(*wake)
    below = [i for i in range(number) if work.band[AMBIENT, i].max() <= 250]
    assert 1 < len(below) < number
    for i in below:
        counts, full, _ = model(work, i, -250.0, 0.7, 0.05, 0.0)
        assert np.allclose(counts, full, rtol=1e-5)


def test_a_cone_open_to_the_horizon_returns_nothing_but_backscatter(wake):
    work, number = prepared(*wake)
    for i in range(number):
        counts, full, _ = model(work, i, 100.0, 1.2, 0.05, 0.0)
        n = len(full)
        up = work.cell[i, UP, :n]
        assert (up == 1).any() and np.allclose(
            counts, full * (1 - up + 0.05 * up), rtol=1e-5
        )


def test_a_cell_is_full_outside_the_cone_and_backscatter_inside(wake):
    truth, sweeps = wake
    work, number = prepared(truth, sweeps, response=Response(fwhm=0.0, half_width=0.01))
    seen = np.zeros(2)
    for i in range(number):
        counts, full, _ = model(work, i, -100.0, 0.95, 0.05, 0.0)
        share, cell = counts / full, work.cell[i, :, : len(full)]
        edge = critical_angle(0.95 * (1 - 100 / work.band[AMBIENT, i, 0]))
        from_field = np.degrees(np.arccos(cell[COSINE]))
        inside = (cell[UP] == 1) & (from_field < edge - 40)
        outside = from_field > edge + 40
        assert np.allclose(share[inside], 0.05, atol=1e-3) and np.allclose(
            share[outside], 1.0, atol=1e-3
        )
        assert (share > 0.05 - 1e-3).all() and (share < 1 + 1e-3).all()
        seen += [inside.sum(), outside.sum()]
    assert (seen > 20).all()


@anytime
@given(
    st.floats(-1000.0, 100.0),
    st.floats(0.02, 1.2),
    st.floats(0.0, 100.0),
    st.floats(0.0, 0.3),
)
def test_a_more_positive_surface_or_a_larger_ratio_never_returns_more(
    wake, u, ratio, more_volts, more_ratio
):
    work, number = prepared(*wake)
    for i in (0, number // 2, number - 1):
        first, full, _ = model(work, i, u, ratio, 0.05, 0.0)
        assert (
            model(work, i, u + more_volts, ratio, 0.05, 0.0)[0] <= first + 1e-5 * full
        ).all()
        assert (
            model(work, i, u, ratio + more_ratio, 0.05, 0.0)[0] <= first + 1e-5 * full
        ).all()


def test_the_model_of_the_truth_is_what_the_simulator_measures(wake):
    truth, sweeps = wake
    off = []
    for s in range(6):
        work, number = prepared(truth, sweeps, s)
        for i in range(number):
            counts, full, _ = model(
                work,
                i,
                truth.u_surface[s],
                truth.bs_over_bm[s],
                truth.backscatter[s],
                0.0,
            )
            if (
                not beam_in(
                    work, i, truth.u_sc[s] - truth.u_surface[s] + BEAM_EMISSION
                )[0]
                * truth.beam_amp[s]
            ):
                off.append((counts - work.cell[i, COUNTS, : len(full)]) / full)
    off = np.concatenate(off)
    assert (
        len(off) > 1000
        and np.sqrt(np.mean(off**2)) < 0.02
        and np.abs(off).max() < 0.2
        and abs(off.mean()) < 0.005
    )


def test_gradients_of_the_model_are_those_of_finite_differences(wake):
    truth, sweeps = wake
    steps = {"u": 0.5, "ratio": 0.002, "backscatter": 1e-3, "beam": 1e-2}
    off = {name: [] for name in steps}
    for s in range(12):
        work, number = prepared(truth, sweeps, s)
        at = np.array([truth.u_surface[s], truth.bs_over_bm[s], 0.06, 0.7])
        for i in range(number):
            _, full, basis = model(work, i, *at)
            for k, (name, h) in enumerate(steps.items()):
                above, below = (
                    model(work, i, *(at + sign * h * np.eye(4)[k]))[0]
                    for sign in (1, -1)
                )
                if np.abs(basis[k]).max() > 1e-4 * full.max():
                    off[name].append(
                        np.linalg.norm((above - below) / (2 * h) - basis[k])
                        / np.linalg.norm(basis[k])
                    )
    # the table of a cell is made of straight pieces: some steps cross a corner
    for name, values in off.items():
        assert (
            len(values) > 40
            and np.median(values) < 0.02
            and np.quantile(values, 0.9) < 0.12
        ), name


@pytest.mark.parametrize("method", ["halekas", "lillis"])
def test_gradients_of_the_classical_misfits_are_those_of_finite_differences(
    wake, method
):
    truth, sweeps = wake
    for s in (3, 6, 9):
        work, _ = prepared(truth, sweeps, s, method)
        at = np.array([truth.u_surface[s] + 15, truth.bs_over_bm[s] + 0.04, 0.05, 0.3])
        evaluate_misfit(work, at, 0.0)
        gradient = -2 * work.normal[4].copy()
        for k, h in enumerate((0.5, 0.002, 1e-3, 1e-2)):
            above, below = (
                evaluate_misfit(work, at + sign * h * np.eye(4)[k], 0.0)[0]
                for sign in (1, -1)
            )
            assert gradient[k] == pytest.approx(
                (above - below) / (2 * h),
                rel=0.08,
                abs=1e-2 * np.abs(gradient[k]) + 1e-3,
            ), (s, k)


@pytest.mark.parametrize("noise", [False, True])
def test_gradients_of_the_quasi_likelihood_are_those_of_finite_differences(wake, noise):
    truth = wake[0]
    sweeps = sweeps_of(truth, noise=noise)
    for s in (3, 6, 9):
        work, _ = prepared(truth, sweeps, s)
        at = np.array([truth.u_surface[s] + 8, truth.bs_over_bm[s] + 0.02, 0.05, 0.5])
        evaluate_misfit(work, at, 1.0)
        gradient = -2 * work.normal[4].copy()
        curvature = 2 * work.normal[2:4, 2:4].copy()
        for k, h in enumerate((0.5, 0.002, 1e-3, 1e-2)):
            above, below = (
                evaluate_misfit(work, at + sign * h * np.eye(4)[k], 0.0)[0]
                for sign in (1, -1)
            )
            # the level acts along a vector that itself changes with U and ratio, by
            # which the gradient there is a per cent off
            assert gradient[k] == pytest.approx(
                (above - below) / (2 * h), rel=0.025 if k < 2 else 1e-5
            ), (s, k)
            if k > 1:  # linear in both
                assert curvature[k - 2, k - 2] == pytest.approx(
                    (above + below - 2 * evaluate_misfit(work, at, 0.0)[0]) / h**2,
                    rel=1e-4,
                )


@pytest.mark.parametrize("method", METHODS)
def test_the_models_own_counts_have_no_misfit(wake, method):
    truth, sweeps = wake
    work, number = prepared(truth, sweeps, 4, method)
    at = np.array([-140.0, 0.45, 0.1, 0.5])
    for i in range(number):
        counts, full, _ = model(work, i, *at)
        work.cell[i, COUNTS, : len(full)] = counts + work.cell[i, NOISE, : len(full)]
    priors = ((at[2] - BACKSCATTER[0]) / BACKSCATTER[1]) ** 2 + (
        at[3] / BEAM_PRIOR
    ) ** 2
    assert evaluate_misfit(work, at, 1.0)[0] == pytest.approx(priors, abs=1e-8)
    assert evaluate_misfit(work, at + [5.0, 0.0, 0.0, 0.0], 0.0)[0] > priors + 1e-3
    assert evaluate_misfit(work, at + [0.0, 0.02, 0.0, 0.0], 0.0)[0] > priors + 1e-3


def test_the_beam_is_where_it_must_be(wake):
    truth, sweeps = wake
    work, number = prepared(truth, sweeps)
    energy, flux = work.channel[:number, ENERGY], work.channel[:number, FLUX]
    for u in (-500.0, -200.0, -100.0):
        centre = truth.u_sc[0] - u
        beam = [beam_in(work, i, centre)[0] * flux[i] for i in range(number)]
        assert np.argmax(beam) == np.abs(np.log(energy / centre)).argmin()
        far = np.abs(np.log(energy / centre)) > 1.6
        assert (np.array(beam)[far] == 0).all() and far.any()


@pytest.mark.parametrize("below", [1.01, 2.0, 4.0, 6.0, 8.0, 12.0, 20.0])
def test_a_surface_a_few_volts_below_the_spacecraft_has_no_beam_at_high_energies(
    wake, below
):
    work, number = prepared(*wake)
    shape = np.array(
        [beam_in(work, i, below + BEAM_EMISSION)[0] for i in range(number)]
    )
    assert (shape[work.channel[:number, ENERGY] > 1000] < 0.1).all()


@pytest.mark.parametrize("u", [-30.0, -30.5, 0.0, 60.0])
def test_there_is_no_beam_from_a_surface_above_the_spacecraft(wake, u):
    work, number = prepared(*wake)
    assert wake[0].u_sc[0] <= u + 1
    for i in range(number):
        without = model(work, i, u, 0.5, 0.05, 0.0)[0]
        assert np.array_equal(model(work, i, u, 0.5, 0.05, 3.0)[0], without)


@pytest.mark.parametrize(
    "ratio, inside",
    [
        (0.02, False),
        (0.06, False),
        (0.08, True),
        (0.5, True),
        (0.78, True),
        (0.8, False),
        (1.0, False),
        (2.0, False),
    ],
)
def test_lillis_uses_cells_between_its_two_thresholds(wake, ratio, inside):
    work, number = prepared(*wake, method="lillis")
    for i in range(number):
        n = int(work.channel[i, NUMBER])
        work.cell[i, COUNTS, :n] = (
            ratio * work.cell[i, FULL, :n] + work.cell[i, NOISE, :n]
        )
        returned_share(work, i, -100.0, 0.5)
        _classical_weights(work, i, np.array([-100.0, 0.5, 0.06, 0.0]), 0.0)
        assert ((work.cell[i, INVERSE, :n] > 0) == inside).all()


@pytest.mark.parametrize("slope", [-0.25, 0.25, 0.5])
def test_a_backscatter_that_falls_with_energy_costs_its_exponent_and_no_more(slope):
    truth = Truth.of(
        12,
        **PLASMA_SHEET,
        u_surface=-150.0,
        bs_over_bm=np.linspace(0.2, 0.9, 12),
        b=directions(12),
    )
    sweeps, at = sweeps_of(truth), np.array([-140.0, 0.45, 0.1, 0.3])
    priors = ((at[2] - BACKSCATTER[0]) / BACKSCATTER[1]) ** 2 + (
        at[3] / BEAM_PRIOR
    ) ** 2
    for s in (2, 6, 10):
        work, number = prepared(truth, sweeps, s)
        for i in range(number):
            share = at[2] - slope * BACKSCATTER[0] * math.log(
                work.channel[i, ENERGY] / 300
            )
            counts, full, _ = model(work, i, *at[:2], share, at[3])
            work.cell[i, COUNTS, : len(full)] = (
                counts + work.cell[i, NOISE, : len(full)]
            )
        cost = evaluate_misfit(work, at, 1.0)[0] - priors
        assert (
            0.8 * (slope / BACKSCATTER_SLOPE) ** 2
            < cost
            < (slope / BACKSCATTER_SLOPE) ** 2
        )
