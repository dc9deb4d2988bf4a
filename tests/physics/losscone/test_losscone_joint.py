"""The joint fit: invariants of tables and derivatives, and sets on known truths."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.config import Config
from lunar_potential.data.er.counts import count_factor
from lunar_potential.physics.losscone.cells import Sweep, make_cells
from lunar_potential.physics.losscone.descent import factorize, fit_rows
from lunar_potential.physics.losscone.joint import (
    LOG_RATIO,
    N_ROW,
    N_SWEEP,
    PRIOR,
    SKEW,
    U,
    make_joint,
    set_cone,
    set_lines,
)
from lunar_potential.physics.losscone.jointfit import JointFitter
from lunar_potential.physics.losscone.profile import JOINT_COLUMNS, fit_joint
from lunar_potential.physics.losscone.rows import (
    HATS,
    KNOTS,
    hat_values,
    make_rows,
    read_rows,
)
from lunar_potential.quality.study.injection import fit_measured
from lunar_potential.synthetic.draws import draw_sweeps
from lunar_potential.synthetic.instrument import THETA, SimulationOptions
from lunar_potential.synthetic.sweeps import simulate_sweeps
from lunar_potential.synthetic.truth import Truth
from lunar_potential.units import Flag

IDEAL = SimulationOptions(gain_error=0.0, flag_rate=0.0)


def sweep_of(noise=False, seed=0, **values):
    "A simulated sweep as the fit reads it."
    base = dict(u_surface=-60.0, b=(-3.0, 4.0, 2.0), bs_over_bm=0.5)
    truth = Truth.of(1, **(base | values))
    measured = simulate_sweeps(truth, IDEAL, seed, noise)
    field = truth.b[0] / np.linalg.norm(truth.b[0]) * truth.polarity[0]
    return Sweep(
        measured.energy[0],
        measured.flux[0],
        measured.phi[0],
        make_cells(THETA, count_factor(THETA)),
        np.tile(field, (15, 1)),
        float(truth.u_sc[0]),
        np.ones(88),
        3.125 if noise else 0.0,
    )


def read(sweep):
    rows, velocity = make_rows(), np.empty(3)
    return read_rows(rows, sweep, 2.5, velocity), rows, velocity


@given(st.floats(0, 90))
def test_hats_interpolate(angle):
    out = np.empty(HATS)
    hat_values(angle, out)
    assert out.min() >= 0 and out.sum() == pytest.approx(1)
    assert out @ KNOTS == pytest.approx(angle, abs=1e-9)


def test_tables_hold_every_cell():
    n, rows, _ = read(sweep_of())
    for j in range(n):
        row = rows.source[j]
        unit = count_factor(THETA).sum() * rows.energy[j]
        assert rows.full[j].sum() == pytest.approx(unit)
        assert rows.cells[j].sum() == 88 and row == np.searchsorted(
            -sweep_of().energy, -rows.energy[j]
        )
    returned = rows.returned[:n]
    assert (np.diff(returned, axis=3) <= 1e-9).all()
    assert np.allclose(returned[..., 0][:, :, HATS], rows.up[:n])
    assert np.allclose(returned[..., -1], 0)


@pytest.mark.parametrize(
    "flow", [(-400.0, 0.0, 0.0), (0.0, 300.0, 0.0), (100.0, -50.0, 250.0)]
)
def test_motion_across_the_field_is_found(flow):
    sweep = sweep_of(flow=flow, T=12.0, kappa=6.0)
    _, _, velocity = read(sweep)
    field, wanted = sweep.b_moonward[0], np.array(flow) / 100
    across = wanted - (wanted @ field) * field
    np.testing.assert_allclose(velocity, across, atol=0.3)


def test_plasma_at_rest_does_not_move():
    for strahl in (0.0, 5.0):
        _, _, velocity = read(sweep_of(strahl=strahl))
        assert np.abs(velocity).max() < 0.25


@settings(deadline=None, max_examples=30)
@given(st.floats(-3000, 0), st.floats(0.03, 1.9), st.floats(0, 10))
def test_the_cone_of_a_channel_is_a_distribution(u, ratio, smear):
    work = make_joint()
    _, rows, _ = read(SWEEP)
    for name, values in zip(rows._fields, rows):
        getattr(work.rows, name)[...] = values
    p = PRIOR.copy()
    p[U], p[LOG_RATIO], p[2] = u, math.log(ratio), smear
    for j in range(work.rows.size[0]):
        set_cone(work, j, p, 0.0)
        assert work.weight.min() >= 0 and work.weight.sum() == pytest.approx(1)
        np.testing.assert_allclose(work.change.sum(axis=1), 0, atol=1e-6)


@given(st.floats(-900, -20), st.floats(-1, 2))
def test_a_line_is_seen_only_by_rows_whose_band_holds_it(u, skew):
    work = make_joint()
    _, rows, _ = read(SWEEP)
    for name, values in zip(rows._fields, rows):
        getattr(work.rows, name)[...] = values
    work.prior[0, SKEW] = skew
    for j in range(work.rows.size[0]):
        if set_lines(work, *work.line[:2], j, u, 0.5, 1.0):
            energy, line = work.rows.energy[j], work.rows.u_sc[0] - u
            assert line / 8 < energy < 5 * (line + 25)


SWEEP = sweep_of()


@given(st.integers(1, 8), st.integers(0, 2**31))
def test_factors_multiply_to_the_matrix(n, seed):
    root = np.random.default_rng(seed).normal(size=(n, n))
    matrix = root @ root.T + np.eye(n)
    factor = matrix.copy()
    factorize(factor)
    lower = np.tril(factor)
    np.testing.assert_allclose(lower @ lower.T, matrix, rtol=1e-9, atol=1e-9)


def best_of(sweep, scatter=0.02):
    work, velocity = make_joint(), np.empty(3)
    p, own = np.empty(N_SWEEP), np.zeros((15, N_ROW))
    read_rows(work.rows, sweep, 2.5, velocity)
    misfit, bins = fit_rows(work, scatter, p, own)
    return p, misfit / bins


@pytest.mark.parametrize("u", [-30.0, -150.0, -600.0])
@pytest.mark.parametrize("ratio", [0.2, 0.6])
def test_clean_sweeps_give_their_potential(u, ratio):
    hot = dict(T=60.0, n=2e6, kappa=4.0, b=(3.0, 4.0, -2.0))
    p, misfit = best_of(sweep_of(u_surface=u, bs_over_bm=ratio, **hot))
    assert p[U] == pytest.approx(u, rel=0.06, abs=3)
    assert math.exp(p[LOG_RATIO]) == pytest.approx(ratio, rel=0.06) and misfit < 0.5


def test_positive_ground_is_a_limit_from_below():
    out, work = np.full(len(JOINT_COLUMNS), np.nan), make_joint()
    for u in (5.0, 150.0):
        lit = sweep_of(True, u_surface=u, sheath=10.0)
        fit_joint(work, lit, 2.5, 0.02, True, out)
        found = dict(zip(JOINT_COLUMNS, out))
        assert np.isposinf(found["upper_95"]) and -15 < found["lower_95"] <= 0


def test_the_barrier_is_what_is_measured():
    out, work = np.full(len(JOINT_COLUMNS), np.nan), make_joint()
    barrier = dict(u_surface=8.0, barrier=50.0, sheath=10.0)
    fit_joint(work, sweep_of(True, **barrier), 2.5, 0.02, True, out)
    found = dict(zip(JOINT_COLUMNS, out))
    assert found["lower_95"] < -50 < found["upper_95"]


def test_sweeps_do_not_know_each_other():
    truth = draw_sweeps("ordinary solar wind", 9, seed=2)
    sweeps = simulate_sweeps(truth, IDEAL, seed=2)
    sign = truth.polarity[:, None] / np.linalg.norm(truth.b, axis=1, keepdims=True)
    field = np.repeat((truth.b * sign)[:, None], 15, axis=1)
    cells, gain = make_cells(THETA, count_factor(THETA)), np.ones(88)

    def fit(which):
        arrays = (sweeps.energy[which], sweeps.flux[which], sweeps.phi[which])
        u_sc = truth.u_sc[which]
        return JointFitter(scatter=0.02).fit(
            *arrays, cells, field[which], u_sc, 1.0, gain, 3.125
        )

    whole, alone = fit(slice(None)), fit(slice(4, 6))
    for name, values in vars(alone).items():
        np.testing.assert_array_equal(values, getattr(whole, name)[4:6], err_msg=name)


def test_the_pipeline_uses_it_on_request():
    truth = draw_sweeps("control", 30, seed=4)
    sweeps = simulate_sweeps(truth, SimulationOptions(response_shape="merged"), seed=4)
    config = Config(fit_method="joint", u_spacecraft=5.0, choose_response=False)
    truth = dataclasses.replace(truth, u_sc=np.full(30, 5.0))
    spec, _ = fit_measured(sweeps, truth, config)
    found = np.isfinite(spec["u_surface"])
    assert found.mean() > 0.5 and (spec["u_surface"][found] <= 0).all()
    open_above = np.isposinf(spec["u_surface_upper_95"])
    assert set(spec["set_kind"][found & open_above]) <= {"lower limit"}
    known = (spec["flags"].astype(int) & int(Flag.NOT_IDENTIFIED)) == 0
    assert (found <= known).all()


def test_sets_hold_on_ordinary_plasma_where_the_simple_ones_do_not():
    truth = draw_sweeps("control", 220, seed=7)
    sweeps = simulate_sweeps(truth, IDEAL_MERGED, seed=7)
    sign = truth.polarity[:, None] / np.linalg.norm(truth.b, axis=1, keepdims=True)
    field = np.repeat((truth.b * sign)[:, None], 15, axis=1)
    cells, gain = make_cells(THETA, count_factor(THETA)), np.ones(88)
    fit = JointFitter(scatter=0.0135).fit(
        sweeps.energy,
        sweeps.flux,
        sweeps.phi,
        cells,
        field,
        truth.u_sc,
        0.0,
        gain,
        3.125,
    )
    held = (fit.u_surface_lower_95 <= truth.u_lowest) & (
        truth.u_lowest <= fit.u_surface_upper_95
    )
    assert held.mean() > 0.93 and fit.identified.mean() > 0.95
    width = np.minimum(fit.u_surface_upper_95, 0) - fit.u_surface_lower_95
    assert np.median(width[~truth.foot_sun]) < 25


IDEAL_MERGED = dataclasses.replace(IDEAL, response_shape="merged")


def test_no_cone_is_not_identified():
    for name in ("no cone", "no cone, anisotropy"):
        truth = draw_sweeps(name, 40, seed=3)
        sweeps = simulate_sweeps(truth, IDEAL_MERGED, seed=3)
        sign = truth.polarity[:, None] / np.linalg.norm(truth.b, axis=1, keepdims=True)
        field = np.repeat((truth.b * sign)[:, None], 15, axis=1)
        fit = JointFitter(scatter=0.0135).fit(
            sweeps.energy,
            sweeps.flux,
            sweeps.phi,
            make_cells(THETA, count_factor(THETA)),
            field,
            truth.u_sc,
            0.0,
            np.ones(88),
            3.125,
        )
        assert fit.identified.mean() <= 0.05, name
