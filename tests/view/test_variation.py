"""Plots over local time, zenith angle and time show the values that went in."""

import numpy as np
import pytest
from invented import sweeps

from lunar_potential.view.globe.footpoints import footpoints
from lunar_potential.view.globe.projection import great_circle_angle
from lunar_potential.view.globe.variation import (
    local_time_map,
    plot_timeseries,
    potential_vs_sza,
)


def test_local_time_map_bins_by_sun(figures):
    ax = local_time_map(
        {**sweeps(), "u_surface": np.full(600, -7.0)}, hours=6, degrees=90, least=1
    )
    assert (ax.collections[0].get_array() == -7).all()
    spec = sweeps(40)
    spec.update(
        projection_latitude=np.full(40, 10.0),
        projection_longitude=np.full(40, 25.0 + 45.0),
        u_surface=np.arange(40.0),
    )
    seen = (
        local_time_map(spec, hours=6, degrees=90)
        .collections[0]
        .get_array()
        .filled(np.nan)
        .reshape(2, 4)
    )
    assert seen[1, 2] == 19.5 and np.isnan(seen).sum() == 7  # 15 h, north
    with pytest.raises(ValueError, match="subsolar_latitude"):
        local_time_map({k: v for k, v in sweeps().items() if "subsolar" not in k})


def test_zenith_angle_curve_reads_back(figures):
    spec = sweeps(3000)
    ax = potential_vs_sza(spec)
    angle, median = {line.get_label(): line for line in ax.lines}["median"].get_data()
    points = footpoints(spec, max_points=None)
    truth = great_circle_angle(points["latitude"], points["longitude"], 0, 25)
    inside = (truth >= angle[4] - 3.75) & (truth < angle[4] + 3.75)
    assert median[4] == pytest.approx(np.median(points["u_surface"][inside]))
    assert np.nanmin(median[angle < 90]) > 0 > np.nanmax(median[angle > 90])


def limited(count):
    "The invented sweeps with all potentials by day as lower limits."
    spec = sweeps(count)
    day = spec["u_surface"] > 0
    spec["u_surface"] = np.where(day, -1.0, spec["u_surface"])
    spec["u_surface_lower_95"] = np.where(day, -9.0, spec["u_surface_lower_95"])
    spec["u_surface_upper_95"] = np.where(day, np.inf, spec["u_surface_upper_95"])
    return spec


def test_a_median_of_limits_is_drawn_as_one(figures):
    ax = potential_vs_sza(limited(3000))
    lines = {line.get_label(): line for line in ax.lines}
    angle, median = lines["median"].get_data()
    assert (median[angle < 86] == -9).all() and (median[angle > 94] < -60).all()
    assert (lines["lower limits"].get_ydata() == -9).all()
    top = ax.collections[-1].get_paths()[0].vertices
    assert top[top[:, 0] < 86][:, 1].max() == 0
    ax = local_time_map(limited(3000), hours=6, degrees=90, least=1)
    hours = ax.lines[0].get_xdata()
    assert sorted(hours.tolist()) == [9, 9, 15, 15] and "lower limits" in ax.get_title()


def test_a_lower_limit_reaches_the_top_of_the_time_series(figures):
    surface = plot_timeseries(limited(60))[1]
    band = np.concatenate([p.vertices for p in surface.collections[0].get_paths()])
    assert np.isfinite(band).all() and band[:, 1].max() == surface.get_ylim()[1]


def test_time_series_breaks_at_gaps(figures):
    spec = {k: np.delete(v, range(100, 130)) for k, v in sweeps(300).items()}
    craft, surface = plot_timeseries(spec)
    y = craft.lines[0].get_ydata()
    assert len(y) == 271 and np.isnan(y).sum() == 1 and np.isnan(y[100])
    assert (
        np.isfinite(surface.lines[0].get_ydata()).sum()
        == np.isfinite(spec["u_surface"]).sum()
    )


def test_nothing_to_draw_is_no_error(figures):
    empty = {k: v[:0] for k, v in sweeps().items()}
    for plot in (local_time_map, potential_vs_sza, plot_timeseries):
        plot(empty)
