"""Explorers and their figures: they show what the fit saw, and every control works."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.callbacks import Points

from lunar_potential.data.archive import ArchiveError
from lunar_potential.physics.losscone.fitter import METHODS
from lunar_potential.view.explore.day import DayExplorer, cell_columns, day_figure
from lunar_potential.view.explore.month import REGIMES, MonthExplorer, month_map
from lunar_potential.view.explore.panels import bin_sweep, sweep_figure
from lunar_potential.view.explore.refit import (
    fit_sweep,
    open_day,
    profile_grid,
    view_sweep,
)
from lunar_potential.view.explore.sweep import SweepExplorer
from lunar_potential.view.explore.widgets import save_plotly
from lunar_potential.view.spectrogram.cells import make_cells


@pytest.fixture(scope="module")
def day(results, archive):
    "The first day of the shared archive."
    return open_day(results, archive)


def plain(value):
    "What a widget sends of a property, as plain lists."
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return (
            value.astype(str).tolist()
            if value.dtype.kind in "M" or value.ndim == 1
            else value.tolist()
        )  # one dimension goes as bytes
    return value


def test_fits_come_back_to_the_last_bit(day):
    again = np.array([fit_sweep(day, k).u_surface[0] for k in range(len(day))])
    np.testing.assert_array_equal(again, day.spec["u_surface"])


def test_day_is_found_among_several(results, archive):
    names = results.meta["files"]
    last = open_day(results, archive, names[-1])
    assert (
        last.name == names[-1]
        and np.isin(last.spec["spec_no"], results.spec["spec_no"]).all()
    )
    assert last.place(int(last.spec["spec_no"][3])) == 3


def test_unknown_day_and_missing_table(results, archive, tmp_path):
    with pytest.raises(ValueError, match="no file 3D990101.TAB"):
        open_day(results, archive, "3D990101.TAB")
    with pytest.raises(ArchiveError, match="is not below"):
        open_day(results, tmp_path)


@given(
    low=st.floats(-4000, 90),
    width=st.floats(0.5, 500),
    open_low=st.booleans(),
    open_high=st.booleans(),
)
def test_profile_grid_holds_the_set(low, width, open_low, open_high):
    lower, upper = (
        -np.inf if open_low else low,
        np.inf if open_high else min(low + width, 95.0),
    )
    u = profile_grid(lower, upper)
    assert (np.diff(u) > 0).all() and -5000 <= u[0] and u[-1] <= 100
    assert u[0] <= (lower if np.isfinite(lower) else -5000) and u[-1] >= (
        upper if np.isfinite(upper) else 100
    )


def test_bins_are_means_by_solid_angle_and_residuals_have_unit_variance():
    rng = np.random.default_rng(0)
    pitch, rings = (
        rng.uniform(0, 180, (15, 88)),
        np.repeat([4.0, 8.0, 16.0], [22, 22, 44]),
    )
    model = SimpleNamespace(
        energy=np.geomspace(2e4, 10, 15),
        pitch=pitch,
        seen=pitch / 90,
        expected=np.where(pitch > 90, 0.5, np.nan),
        residual=np.where(pitch > 90, rng.standard_normal(pitch.shape), np.nan),
    )
    binned = bin_sweep(model, SimpleNamespace(rings=rings))
    inside = (pitch[3] >= 30) & (pitch[3] < 37.5)
    assert binned.energy[11] == model.energy[3]  # low to high
    assert binned.seen[11, 4] == pytest.approx(
        np.average(pitch[3, inside] / 90, weights=1 / rings[inside])
    )
    left = binned.residual[np.isfinite(binned.residual)]
    assert len(left) > 100 and 0.85 < left.std() < 1.15
    assert (
        np.nanmax(np.abs(binned.expected[:, 13:] - 0.5)) < 1e-12
        and np.nanmin(binned.expected[:, :11]) == 1
    )


@given(st.lists(st.floats(1, 90), min_size=1, max_size=20))
def test_columns_are_sweeps_and_gaps(steps):
    start = np.cumsum(steps)
    cells = make_cells(
        np.stack([start, start + 0.9], 1),
        np.array([10.0, 100.0, 1000.0]),
        np.arange(3.0 * len(steps)).reshape(-1, 3),
    )
    edges, picture = cell_columns(cells, np.geomspace(1, 1e4, 13))
    assert picture.shape[1] == len(edges) - 1 and (np.diff(edges) > 0).all()
    for t, column in zip((edges[1:] + edges[:-1]) / 2, picture.T):
        record = int(cells.record_at(np.array([t]))[0])
        assert (
            np.isnan(column).all()
            if record < 0
            else set(column[np.isfinite(column)]) == set(cells.values[record])
        )


def test_figures_can_be_sent_to_a_browser(day, results):
    "Widgets send pictures as JSON, and JSON has no NaN."
    from lunar_potential.view.globe.footpoints import footpoints
    from lunar_potential.view.spectrogram.overview import lp_day

    k = int(np.flatnonzero(day.spec["identified"])[0])
    for figure in (
        sweep_figure(view_sweep(day, k)),
        day_figure(lp_day(day.er, results)),
        month_map(footpoints(results)),
    ):
        parts = figure.to_plotly_json()
        parts["layout"].pop("template", None)
        json.dumps(plain(parts), allow_nan=False)


def test_every_sweep_has_a_figure(day):
    for k in range(len(day)):
        figure = sweep_figure(view_sweep(day, k))
        assert f"sweep {day.spec['spec_no'][k]} of" in figure.layout.title.text
        assert (
            figure.data or "no surface potential" in figure.layout.annotations[0].text
        )
        assert figure.data or not day.spec["identified"][k]


def test_panel_texts_do_not_overlap(day):
    "Titles of the panels stand over their own panel, clear of each other."
    k = int(np.flatnonzero(day.spec["identified"])[0])
    figure = sweep_figure(view_sweep(day, k))
    inner = figure.layout.width - figure.layout.margin.l - figure.layout.margin.r
    boxes = [
        (a.x * inner - 3.9 * len(a.text), a.x * inner + 3.9 * len(a.text), a.y)
        for a in figure.layout.annotations
    ]  # 16 px type, 7.8 px a letter
    for one in range(4):
        for other in range(one):
            (a, b, y), (c, d, z) = boxes[one], boxes[other]
            assert y != z or b < c or d < a


def test_sliders_follow_methods_and_sweeps(results, archive):
    identified = np.flatnonzero(results.spec["identified"])
    explorer = SweepExplorer(
        results, archive, int(results.spec["spec_no"][identified[0]])
    )
    for method in METHODS:
        explorer.method.value = method
        best = explorer.view.best(method)
        assert np.isnan(best[0]) or explorer.parameters[0] == pytest.approx(
            best[0], abs=0.26
        )
    explorer.number.value = int(
        results.spec["spec_no"][identified[-1]]
    )  # over to another day
    assert (
        explorer.days.value
        == explorer.day.name
        == results.meta["files"][results.spec["file_index"][identified[-1]]]
    )
    first = int(results.spec["spec_no"][0])
    explorer.show_sweep(first)
    explorer.previous.click()
    assert explorer.number.value == first  # nothing before the first
    explorer.days.value = results.meta["files"][1]
    assert explorer.day.name == results.meta["files"][1]


def test_stepping_goes_through_every_sweep_once(results, archive):
    explorer, seen = (
        SweepExplorer(results, archive, int(results.spec["spec_no"][0])),
        [],
    )
    for _ in range(35):  # over the end of the first day
        seen.append(explorer.number.value)
        explorer.next.click()
    assert seen == results.spec["spec_no"][:35].tolist()


def test_click_in_the_month_opens_the_sweep(results, archive):
    month = MonthExplorer(results, archive)
    trace = month.map.data[0]
    for place in (0, len(trace.x) - 1):
        month._clicked(trace, Points(point_inds=[place]), None)
        assert month.sweep.number.value == trace.customdata[place]
    month._clicked(trace, Points(point_inds=[]), None)  # a click beside the points
    assert len(month.below.children) == 1


def test_filters_leave_what_they_say(results, archive):
    month = MonthExplorer(results, archive)
    all_of_them = len(month.map.data[0].x)
    month.dates.index = (0, 0)
    assert 0 < len(month.map.data[0].x) < all_of_them and set(
        month.points["time"].dt.strftime("%Y-%m-%d")
    ) == {month.dates.options[0]}
    month.dates.index = (0, len(month.dates.options) - 1)
    month.regimes.value = []
    assert len(month.map.data[0].x) == 0 and month.message.value.split(": ")[
        1
    ].startswith("0 of 0")
    month.tabs.selected_index = 1
    month.regimes.value = list(REGIMES)
    assert (
        sum(len(t.x) for t in month.globe.data if t.customdata is not None)
        == all_of_them
    )


def test_without_the_archive_the_map_works_and_says_what_is_missing(results, tmp_path):
    month = MonthExplorer(results, tmp_path)
    month.show_sweep(int(results.spec["spec_no"][0]))
    shown = month.message.value + "".join(
        child.message.value for child in month.below.children
    )
    assert "is not below" in shown


@pytest.mark.parametrize("name", ["a.html", "deep/b.html"])
def test_saved_figure_is_whole(day, tmp_path, name):
    figure = sweep_figure(view_sweep(day, 0))
    path = save_plotly(figure, tmp_path / name)
    assert (
        path.read_text().rstrip().endswith("</html>")
        and len(list(path.parent.iterdir())) == 1
    )


def test_other_formats_are_refused(day, tmp_path):
    with pytest.raises(ValueError, match="ends in none of"):
        save_plotly(sweep_figure(view_sweep(day, 0)), tmp_path / "a.tiff")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def gap(results, own_archive):
    "An archive whose second table is gone, and the sweeps of its three days."
    (
        own_archive.root
        / next(p for p in own_archive.files() if p.name == results.meta["files"][1])
    ).unlink()
    return own_archive, [
        np.flatnonzero(results.spec["file_index"] == day) for day in range(3)
    ]


def test_steps_pass_by_a_day_that_cannot_be_read_and_name_it(results, gap):
    archive, places = gap
    spec_no = results.spec["spec_no"]
    explorer = SweepExplorer(results, archive, int(spec_no[places[0][-1]]))
    explorer.next.click()
    assert (
        explorer.number.value == spec_no[places[2][0]]
        and results.meta["files"][1] in explorer.message.value
    )
    explorer.previous.click()
    assert explorer.number.value == spec_no[places[0][-1]]


def test_a_day_that_cannot_be_read_leaves_everything_as_it_was(results, gap):
    archive, places = gap
    explorer = SweepExplorer(
        results, archive, int(results.spec["spec_no"][places[0][4]])
    )
    before = (
        explorer.number.value,
        explorer.days.value,
        explorer.figure.layout.title.text,
    )
    explorer.days.value = results.meta["files"][1]
    assert (
        explorer.number.value,
        explorer.days.value,
        explorer.figure.layout.title.text,
    ) == before and "is not below" in explorer.message.value
    explorer.number.value = int(results.spec["spec_no"][places[1][2]])
    assert (
        explorer.number.value,
        explorer.days.value,
        explorer.figure.layout.title.text,
    ) == before
    days = DayExplorer(results, archive)
    title = days.figure.layout.title.text
    days.days.value = results.meta["files"][1]
    assert (
        days.days.value == results.meta["files"][0]
        and days.figure.layout.title.text == title
        and "is not below" in days.message.value
    )


def test_without_a_sweep_no_control_pretends_to_work(results, tmp_path):
    explorer = SweepExplorer(results, tmp_path)
    assert explorer.save.disabled and all(
        slider.disabled for slider in explorer.sliders.values()
    )
    explorer.sliders["u"].value = -20.0
    explorer.method.value = "lillis"
    explorer.path.value = str(tmp_path / "a.html")
    explorer.save.click()
    assert (
        not list(tmp_path.iterdir()) and "no sweep is shown" in explorer.message.value
    )
    days = DayExplorer(results, tmp_path)
    days.show_time("1998-06-14T12:00:00")
    assert days.sweep is None and days.message.value
    with pytest.raises(ValueError, match="no file nope.TAB"):
        DayExplorer(results, tmp_path, "nope.TAB")


@pytest.mark.parametrize("widget", [SweepExplorer, MonthExplorer, DayExplorer])
def test_results_without_a_sweep_are_refused(results, archive, widget):
    with pytest.raises(ValueError, match="hold no sweep"):
        widget(results.select(np.zeros(results.n_sweeps, bool)), archive)


def test_click_in_the_day_opens_the_sweep_of_that_time(results, archive):
    days = DayExplorer(results, archive, results.meta["files"][2])
    for row in (0, 17):
        number = int(days.day.spec["spec_no"][days.shown.table["spec_no"].iloc[row]])
        days._clicked(
            days.figure.data[0],
            Points(xs=[str(days.shown.table["time"].iloc[row])]),
            None,
        )
        assert days.sweep.number.value == number
    days._clicked(days.figure.data[0], Points(xs=[]), None)
    assert days.sweep.number.value == number


def test_potential_relative_to_the_spacecraft_is_called_so(day):
    k = int(np.flatnonzero(day.spec["identified"])[0])
    unknown = {**day.spec, "u_spacecraft": np.full(len(day), np.nan)}
    words = [
        sweep_figure(view_sweep(one, k)).layout.xaxis4.title.text
        for one in (day, dataclasses.replace(day, spec=unknown))
    ]
    assert [text.split(" ", 1)[1] for text in words] == [
        "potential relative to plasma (V)",
        "potential relative to spacecraft (V)",
    ]


def test_a_saved_figure_is_not_written_over(results, archive, tmp_path):
    explorer = SweepExplorer(results, archive)
    assert explorer.path.value == f"sweep_{explorer.number.value}.html"
    explorer.path.value = str(tmp_path / "mine.html")
    explorer.save.click()
    size = (tmp_path / "mine.html").stat().st_size
    explorer.sliders["u"].value = -30.0
    explorer.save.click()
    assert (
        "exists; choose another name" in explorer.message.value
        and (tmp_path / "mine.html").stat().st_size == size
    )
