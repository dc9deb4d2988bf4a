"""Explorers of a run with the joint fit draw that fit, and the others beside it."""

import json

import numpy as np
import pytest

from lunar_potential.config import Config
from lunar_potential.physics.losscone.fitter import METHODS
from lunar_potential.physics.losscone.sets import ROOT_95
from lunar_potential.pipeline import load_all_data, process_merged_data
from lunar_potential.view.explore.panels import binned_view, sweep_figure
from lunar_potential.view.explore.refit import (
    SHOWN_METHODS,
    JointView,
    drawn_with,
    fit_sweep,
    method_table,
    open_day,
    view_sweep,
)
from lunar_potential.view.explore.sweep import ModelExplorer, SweepExplorer


@pytest.fixture(scope="module")
def runs(archive):
    "The first day of the shared archive, fitted by two methods."
    first = load_all_data(archive.files()[:1], archive.theta)
    return {
        method: process_merged_data(
            first, archive=archive, config=Config(fit_method=method)
        )
        for method in ("joint", "likelihood")
    }


@pytest.fixture(scope="module")
def days(runs, archive):
    "The same, opened again."
    return {method: open_day(found, archive) for method, found in runs.items()}


@pytest.fixture(scope="module")
def views(days):
    "The identified sweeps of the joint run."
    day = days["joint"]
    known = np.flatnonzero(day.spec["identified"])
    return {int(k): view_sweep(day, int(k)) for k in known}


def test_fits_of_a_joint_run_come_back_to_the_last_bit(days):
    day = days["joint"]
    for name in ("u_surface", "bs_over_bm", "u_surface_lower_95", "u_surface_upper_95"):
        again = [getattr(fit_sweep(day, k), name)[0] for k in range(len(day))]
        np.testing.assert_array_equal(again, day.spec[name])


def test_drawn_potential_is_that_of_the_run_to_the_last_bit(days, views):
    assert len(views) > 10
    for k, view in views.items():
        assert isinstance(view, JointView)
        assert view.joint.values.u == days["joint"].spec["u_surface"][k]
        drawn = sweep_figure(view).data[-1]
        assert drawn.x[0] == view.joint.values.u and drawn.y[0] == 0


def test_profile_is_least_at_the_fit_and_crosses_inside_the_set(days, views):
    spec, missed = days["joint"].spec, []
    for k, view in views.items():
        assert (view.u <= 0).all() and (np.diff(view.u) > 0).all()
        assert view.rise[view.u == view.joint.values.u][0] < 0.05
        if view.joint.values.u < -1:  # at 0 V the fit can end above its minimum
            missed.append(view.rise.min())
        inside = view.u[view.rise < ROOT_95**2]
        low, high = spec["u_surface_lower_95"][k], spec["u_surface_upper_95"][k]
        width = min(high, 0.0) - max(low, view.u[0])
        assert inside.min() > low - 0.2 * width - 1
        assert inside.max() < min(high, 0) + 0.2 * width + 1
    assert np.median(missed) > -1 and np.min(missed) > -10


def test_bins_of_the_joint_model_are_noise_about_it(views):
    left = []
    for view in views.values():
        binned, rise = binned_view(view, view.start("joint"))
        left.append(binned.residual.ravel())
        assert rise == 0 and (np.diff(binned.energy) > 0).all()
        assert binned.seen.shape == (len(binned.energy), len(binned.pitch) - 1)
        incident = binned.seen[:, binned.pitch[1:] < 75]
        assert abs(np.nanmedian(incident) - 1) < 0.05
    left = np.concatenate(left)
    left = left[np.isfinite(left)]
    assert 0.7 < left.std() < 1.2 and abs(left.mean()) < 0.1


def test_figure_of_a_joint_sweep_can_be_sent_to_a_browser(views):
    for view in list(views.values())[:3]:
        parts = json.loads(sweep_figure(view).to_json())
        assert parts["layout"]["xaxis4"]["title"]["text"].startswith("lowest potential")


def test_a_far_slider_fits_worse_and_the_rest_can_follow(runs, archive, views):
    k, view = next((k, v) for k, v in views.items() if v.joint.values.u < -30)
    number = int(runs["joint"].spec["spec_no"][k])
    explorer = SweepExplorer(runs["joint"], archive, number)
    assert explorer.parameters == tuple(view.joint.values)
    explorer.sliders["u"].value = 0.3 * view.joint.values.u
    assert explorer.figure.data[-1].y[0] > ROOT_95**2
    residual = np.array(explorer.figure.data[2].z, float)
    before = np.array(sweep_figure(view).data[2].z, float)
    assert np.nanstd(residual) > np.nanstd(before)
    u, ratio, *held = explorer.parameters
    explorer.rest.value = True
    assert explorer.parameters[0] == u and np.isclose(explorer.parameters[1], ratio)
    assert not np.allclose(explorer.parameters[2:], held)
    explorer.back.click()
    assert explorer.parameters == tuple(view.joint.values) and not explorer.rest.value


def test_potential_of_the_joint_model_ends_at_zero(runs, archive):
    explorer = SweepExplorer(runs["joint"], archive)
    assert explorer.sliders["u"].max == 0
    explorer.method.value = "likelihood"
    assert explorer.sliders["u"].max == 100
    explorer.sliders["u"].value = 50.0
    explorer.method.value = "joint"
    assert explorer.sliders["u"].max == 0 and explorer.sliders["u"].value <= 0


@pytest.mark.parametrize("run", ["joint", "likelihood"])
def test_every_method_can_be_drawn_in_every_run(runs, archive, run):
    explorer = SweepExplorer(runs[run], archive)
    assert explorer.method.value == run
    for method in (*SHOWN_METHODS, *SHOWN_METHODS[::-1]):
        explorer.method.value = method
        shown = {n for n, s in explorer.sliders.items() if s.layout.display != "none"}
        assert isinstance(explorer.view, JointView) == (method == "joint")
        assert len(shown) == len(explorer.parameters) == (6 if method == "joint" else 4)
        assert (explorer.rest.layout.display == "none") == (method != "joint")
        best = explorer.view.best(method)
        assert np.isnan(best[0]) or explorer.parameters[0] == pytest.approx(best[0])


def test_models_are_drawn_by_what_fitted_them(days):
    joint, simple = days["joint"], days["likelihood"]
    assert drawn_with(joint) == "joint" == drawn_with(simple, "joint")
    for method in METHODS:
        assert drawn_with(joint, method) == drawn_with(simple, method) == "likelihood"


def test_the_run_stands_first_in_the_table_of_methods(days, views):
    for k in list(views)[:4]:
        for run, day in days.items():
            excess = method_table(view_sweep(day, k))["excess misfit"]
            assert list(excess.index) == list(SHOWN_METHODS)
            if np.isfinite(excess[run]):
                assert excess[run] == 0 and (excess.dropna() > -5).all()


def test_every_sweep_of_a_joint_run_has_a_figure(days):
    day, empty = days["joint"], 0
    for k in range(len(day)):
        figure = sweep_figure(view_sweep(day, k))
        empty += not figure.data
        assert figure.data or not day.spec["identified"][k]
    assert 0 < empty < len(day)


def test_a_sweep_without_potential_is_drawn_at_the_attempt(days):
    day = days["joint"]
    for k in np.flatnonzero(~day.spec["identified"]):
        view = view_sweep(day, int(k))
        if not view.trouble:
            assert view.start("joint") == view.joint.values
            assert np.isnan(view.best("joint")).all()


def test_an_explorer_of_one_view_draws_only_that(days, views):
    view = next(iter(views.values()))
    explorer = ModelExplorer([days["joint"].name])
    explorer.show_view(view)
    explorer.method.value = "halekas"
    assert explorer.view is view and len(explorer.parameters) == 6
