"""What is drawn of the joint fit of a sweep is what the fit did."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.physics.losscone.jointfit import JointFitter
from lunar_potential.physics.losscone.predicted import (
    JointValues,
    joint_profile,
    misfit_above,
    open_joint,
    predict_sweep,
)
from lunar_potential.physics.losscone.profile import ROOT_68, ROOT_95
from lunar_potential.quality.study.injection import sweep_of
from lunar_potential.synthetic.draws import draw_sweeps
from lunar_potential.synthetic.scenario import SCENARIOS
from lunar_potential.synthetic.truth import Truth

WIND = dict(T=11.0, kappa=20.0, halo=0.05, halo_T=60.0, secondaries=0.5)
WIND |= dict(strahl=3.0, strahl_width=18.0, flow=(-400.0, 0.0, 0.0))
TAIL = dict(n=2e5, T=60.0, kappa=3.5, u_sc=-30.0, secondaries=0.5)
PLACES = {  # plasma, potential (V), field ratio
    "wind": (WIND, -60.0, 0.5),
    "tail": (TAIL, -150.0, 0.3),
    "uncharged": (TAIL, 0.0, 0.6),
}


def simulated(name, seed=3):
    "A sweep with noise at one of the places."
    plasma, u, ratio = PLACES[name]
    place = dict(u_surface=u, bs_over_bm=ratio, b=(-3.0, 4.0, 2.0))
    return sweep_of(Truth.of(1, **plasma, **place), noise=True, seed=seed)


def record_of(sweep):
    "What a run keeps of a sweep, without an error of the spacecraft potential."
    return JointFitter().fit(
        *(a[None] for a in sweep[:3]),
        sweep.cells,
        sweep.b_moonward[None],
        sweep.u_spacecraft,
        0.0,
        sweep.gain,
        sweep.background,
    )


@pytest.fixture(scope="module")
def sweeps():
    "Sweeps of all places."
    return {name: simulated(name) for name in PLACES}


@pytest.fixture(scope="module")
def fits(sweeps):
    "Their fits."
    return {name: open_joint(sweep) for name, sweep in sweeps.items()}


@pytest.mark.parametrize("name", PLACES)
def test_best_values_are_those_of_the_run_to_the_last_bit(name, sweeps, fits):
    record, values = record_of(sweeps[name]), fits[name].values
    assert values.u == record.u_surface[0]
    assert values.bs_over_bm == record.bs_over_bm[0]
    assert values.backscatter == record.backscatter[0]
    assert values.beam == record.beam_amp[0]


@pytest.mark.parametrize("name", PLACES)
def test_profile_is_least_at_the_best_value_and_crosses_at_the_ends(name, sweeps, fits):
    record, best = record_of(sweeps[name]), fits[name].values.u
    ends = [record.u_surface_lower_95[0], record.u_surface_upper_95[0]]
    width = min(ends[1], 0.0) - ends[0]
    u = np.union1d(np.linspace(ends[0] - width, min(ends[1] + width, 0), 301), best)
    rise = joint_profile(fits[name], u)
    assert rise[u == best][0] < 0.1 and rise.min() > -1
    assert abs(u[np.argmin(rise)] - best) < max(0.15 * width, 0.5)
    for root, level, near in ((ROOT_95, "95", 0.1), (ROOT_68, "68", 0.25)):
        inside = u[rise < root**2]
        low, high = (
            getattr(record, f"u_surface_{side}_{level}")[0]
            for side in ("lower", "upper")
        )
        assert abs(inside.min() - low) < max(near * width, 0.5)
        assert abs(inside.max() - min(high, 0)) < max(near * width, 0.5)


@pytest.mark.parametrize("name", PLACES)
def test_residuals_are_noise(name, fits):
    left = predict_sweep(fits[name]).residual
    left = left[np.isfinite(left)]
    assert len(left) > 100 and 0.65 < left.std() < 1.15 and abs(left.mean()) < 0.2


def test_residuals_of_ordinary_electrons_are_noise():
    drawn, left = draw_sweeps("control", 12, seed=2), []
    options = SCENARIOS["control"].instrument
    for k in np.flatnonzero(drawn.connected)[:6]:
        sweep = sweep_of(drawn.select([k]), noise=True, seed=int(k), options=options)
        left.append(predict_sweep(open_joint(sweep)).residual.ravel())
    left = np.concatenate(left)
    left = left[np.isfinite(left)]
    assert 0.7 < left.std() < 1.15 and abs(left.mean()) < 0.1


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("far", [-600.0, -300.0])
def test_a_far_potential_fits_worse_and_what_was_measured_stays(name, far, fits):
    fitted = fits[name]
    best, wrong = predict_sweep(fitted), fitted.values._replace(u=far)
    held, rest = predict_sweep(fitted, wrong), predict_sweep(fitted, wrong, rest=True)
    assert held.rise >= rest.rise > ROOT_95**2
    assert rest.values.u == far and np.isclose(rest.values[1], wrong[1])
    for found in (held, rest):
        assert np.nanstd(found.residual) > np.nanstd(best.residual)
        np.testing.assert_array_equal(found.counts, best.counts)
        np.testing.assert_array_equal(found.seen, best.seen)


def test_with_the_rest_refitted_the_misfit_is_that_of_the_profile_or_above(fits):
    fitted = fits["tail"]
    u = fitted.values.u + np.array([-8.0, -4.0, 4.0, 8.0])
    rise = joint_profile(fitted, u)
    for k in range(4):
        wrong = fitted.values._replace(u=u[k])
        assert misfit_above(fitted, wrong, rest=True) > rise[k] - 0.01
        assert misfit_above(fitted, wrong) > rise[k] - 0.01


def test_questions_do_not_change_the_fit(sweeps):
    fitted = open_joint(sweeps["tail"])
    before = predict_sweep(fitted)
    predict_sweep(fitted, fitted.values._replace(u=-10.0), rest=True)
    joint_profile(fitted, np.linspace(-300, 0, 7))
    after = predict_sweep(fitted)
    for one, other in zip(before, after):
        np.testing.assert_array_equal(one, other)


def test_upgoing_flux_is_incident_flux_where_everything_returns(fits):
    found = predict_sweep(fits["tail"])
    low = np.isfinite(found.edge) & (found.energy < 60)  # 90 eV in the plasma
    up = found.pitch[:-1] >= 90
    assert low.any() and (found.edge[low] > 179).all()
    assert np.nanmax(np.abs(found.expected[low][:, up] - 1)) < 0.05
    assert abs(np.nanmean(found.seen[low][:, up]) - 1) < 0.05


def test_edge_of_the_cone_is_the_formula_and_lies_in_its_range(fits):
    fitted = fits["tail"]
    found, v = predict_sweep(fitted), fitted.values
    share = np.clip(v.bs_over_bm * (1 + v.u / (found.energy + 30)), 0, 1)
    edge = 180 - np.degrees(np.arcsin(np.sqrt(share)))
    high = np.isfinite(found.edge) & (found.energy > 500)
    assert high.sum() >= 3 and np.abs(found.edge - edge)[high].max() < 1.5
    used = np.isfinite(found.edge)
    assert (found.edge_low <= found.edge)[used].all()
    assert (found.edge <= found.edge_high)[used].all()


def test_arrays_are_in_the_rows_of_the_sweep(sweeps):
    sweep = sweeps["tail"]
    hidden = sweep._replace(flux=sweep.flux.copy())
    hidden.flux[7] = np.nan
    found = predict_sweep(open_joint(hidden))
    np.testing.assert_array_equal(found.energy, sweep.energy)
    assert np.isnan(found.counts[7]).all() and np.isnan(found.edge[7])
    assert np.isfinite(found.counts[8]).any()
    unit = sweep.cells.factor * sweep.energy[8]
    total = np.nansum(sweep.flux[8] * unit)
    assert np.nansum(found.counts[8]) == pytest.approx(total, rel=0.1)


def test_an_unknown_spacecraft_potential_counts_from_the_spacecraft(sweeps):
    sweep = sweeps["wind"]
    unknown, at_zero = (
        open_joint(sweep._replace(u_spacecraft=u)).values for u in (np.nan, 0.0)
    )
    assert unknown == at_zero


def test_too_few_energies_are_refused(sweeps):
    few = sweeps["wind"]._replace(flux=sweeps["wind"].flux.copy())
    few.flux[2:] = np.nan
    with pytest.raises(ValueError, match="usable energies; a loss cone needs three"):
        open_joint(few)


@given(
    u=st.floats(-1e4, 200),
    ratio=st.floats(0, 3),
    backscatter=st.floats(0, 2),
    others=st.tuples(st.floats(0, 20), st.floats(0, 9), st.floats(0, 50)),
)
@settings(max_examples=25)
def test_any_slider_gives_a_finite_model_that_fits_no_better(
    fits, u, ratio, backscatter, others
):
    fitted = fits["wind"]
    found = predict_sweep(fitted, JointValues(u, ratio, backscatter, *others))
    used = np.isfinite(found.seen)
    assert np.isfinite(found.model[used]).all() and np.isfinite(found.rise)
    assert found.rise > -0.1 and -5000 <= found.values.u <= 0
