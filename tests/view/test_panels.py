"""Rows of spectrograms: limits, events and zooms of each, and their files."""

import concurrent.futures
import gc
import io
import subprocess
import sys
import weakref

import matplotlib
import numpy as np
import pytest
from drawn_panels import ENERGY, T0, assert_legible, beam, images, panel, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from lunar_potential.view.spectrogram.panels import (
    draw_events,
    drawn_pixels,
    event_spans,
    generic_plot_spectrogram_set,
    png_bytes,
    save_picture,
)


def test_limits_and_labels_of_each_row_read_back():
    figure = generic_plot_spectrogram_set(
        rows(), title="all", y_scale="log", z_scale="log", size=(8, 6), font_size=8
    )
    first, second, third = images(figure)
    table = first.cells.tables[0]
    assert (
        first.axes.get_ylim() == (table.low[0], table.high[-1])
        and first.axes.get_ylabel() == "Energy (eV)"
        and first.colorbar.ax.get_ylabel() == "Counts"
    )
    assert first.get_clim() == tuple(np.percentile(rows()[0]["values"], (1, 99)))
    assert (
        second.axes.get_ylim() == (10, 2000)
        and second.get_clim() == (2, 7e4)
        and second.axes.get_yscale() == "linear"
    )
    assert (
        second.axes.get_ylabel() == "Ion energy (eV)"
        and second.colorbar.ax.get_ylabel() == "Differential Energy Flux"
        and second.cmap.name == "plasma"
    )
    assert (
        third.get_clim() == (3, 30)
        and not isinstance(third.norm, matplotlib.colors.LogNorm)
        and third.axes.get_yscale() == "log"
    )
    assert [ax.get_title(loc="left") for ax in figure.axes[:3]] == [
        "ees",
        "ies",
        "ieb",
    ] and figure.texts[0].get_text() == "all"
    assert {tuple(ax.get_xlim()) for ax in figure.axes[:3]} == {
        ((T0 - 5) / 86400, (T0 + 895) / 86400)
    }


def test_the_set_changes_neither_rows_nor_settings():
    given_rows, before = rows(), dict(matplotlib.rcParams)
    keys = [list(row) for row in given_rows]
    generic_plot_spectrogram_set(given_rows, zoom=(T0, T0 + 60))
    assert [list(row) for row in given_rows] == keys and dict(
        matplotlib.rcParams
    ) == before


def test_zoom_column_shares_the_limits_of_its_row():
    figure = generic_plot_spectrogram_set(rows(), zoom=5, events=[(T0 + 200, T0 + 260)])
    whole, zoom = images(figure)[::2], images(figure)[1::2]
    for left, right in zip(whole, zoom):
        assert (
            left.get_clim() == right.get_clim()
            and left.axes.get_ylim() == right.axes.get_ylim()
        )
        assert np.allclose(
            np.array(right.axes.get_xlim()) * 86400, (T0 + 80, T0 + 380), atol=1e-3
        )
    assert (
        figure.get_size_inches().tolist() == [24, 9]
        and [line.get_label() for line in figure.axes[0].lines].count("zoom") == 1
    )


@pytest.mark.parametrize("style, lines", [("line", 3), ("bracket", 5), ("both", 6)])
def test_events_are_marked_at_their_times(style, lines):
    ax, _ = panel(T0 + 10.0 * np.arange(60), ENERGY, beam(range(60)))
    before = ax.get_xlim(), ax.get_ylim()
    draw_events(
        ax,
        [(T0 + 100, T0 + 200, "cusp"), T0 + 300, T0 + 9000, (T0 - 900, T0 - 800)],
        style,
    )
    drawn = [line for line in ax.lines if line.get_label() == "event"]
    assert (
        len(drawn) == lines
        and (ax.get_xlim(), ax.get_ylim()) == before
        and [t.get_text() for t in ax.texts] == ["cusp"]
    )
    x = (
        np.unique(
            np.concatenate([np.asarray(line.get_xdata(), float) for line in drawn])
        )
        * 86400
    )
    assert np.allclose(x, T0 + np.array([100, 200, 300]), atol=1e-3)
    spans = [np.ptp(np.asarray(line.get_xdata(), float)) * 86400 for line in drawn]
    assert (np.isclose(spans, 100, atol=1e-3)).any() == (style != "line")


def test_an_event_that_leaves_the_panel_is_cut():
    ax, _ = panel(T0 + 10.0 * np.arange(60), ENERGY, beam(range(60)))
    draw_events(ax, [(T0 - 500, T0 + 200)], "both")
    x = (
        np.concatenate(
            [
                np.asarray(line.get_xdata(), float)
                for line in ax.lines
                if line.get_label() == "event"
            ]
        )
        * 86400
    )
    assert x.min() == pytest.approx(T0 - 5, abs=1e-3) and x.max() == pytest.approx(
        T0 + 200, abs=1e-3
    )


def test_text_does_not_overlap():
    assert_legible(
        generic_plot_spectrogram_set(
            rows(), title="all", zoom=5, events=[(T0 + 200, T0 + 260, "cusp")]
        )
    )
    assert_legible(generic_plot_spectrogram_set(rows(), size=(9, 6), font_size=9))


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("size, font_size", [((24, 9), 12), ((9, 6), 9)])
def test_two_lines_wide_numbers_and_long_titles_fit(scale, size, font_size):
    wide = [
        {
            **row,
            "z_label": "Differential energy flux\n(eV/(cm² s sr eV))",
            "z_scale": scale,
            "vmin": 1,
            "vmax": 8e5,
        }
        for row in rows()
    ]
    figure = generic_plot_spectrogram_set(
        wide,
        title="a very long title of many words " * 8,
        zoom=(T0 + 200, T0 + 320),
        size=size,
        font_size=font_size,
    )
    assert_legible(figure)
    before = figure.texts[0].get_fontsize()
    FigureCanvasAgg(figure).draw()
    assert before < 1.25 * font_size and figure.texts[
        0
    ].get_fontsize() == pytest.approx(before, rel=0.01)
    short = generic_plot_spectrogram_set(
        rows(), title="all", size=size, font_size=font_size
    )
    FigureCanvasAgg(short).draw()
    assert short.texts[0].get_fontsize() == 1.25 * font_size


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_ticks_without_numbers_are_where_the_others_are(scale):
    figure = generic_plot_spectrogram_set(
        [{**row, "y_scale": scale, "y_min": 10, "y_max": 2000} for row in rows()],
        zoom=(T0 + 200, T0 + 320),
        size=(12, 7.5),
        font_size=8,
    )
    shown = drawn_pixels(figure, 100)[::-1]

    def dark(x, y):
        return shown[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2, :3].min() < 120

    panels = figure.axes[:6]
    assert [(ax.xaxis.get_visible(), ax.yaxis.get_visible()) for ax in panels] == [
        (False, True),
        (False, False),
    ] * 2 + [(True, True), (True, False)]
    dpi, figure.dpi = figure.dpi, 100
    for ax in panels:
        for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            places = [
                place
                for place in axis.get_majorticklocs()
                if limits[0] <= place <= limits[1]
            ]
            assert len(places) >= 2
            for place in places:
                if axis is ax.xaxis:
                    x, y = ax.transData.transform((place, ax.get_ylim()[0])) - (0, 3)
                    clear = x + 3, y
                else:
                    x, y = ax.transData.transform((ax.get_xlim()[0], place)) - (3, 0)
                    clear = x, y + 3
                assert dark(x, y) and (scale == "log" or not dark(*clear)), (
                    place,
                    x,
                    y,
                )
    figure.dpi = dpi


def test_bad_rows_events_and_zooms_are_named():
    good = rows()[0]
    for call, message in (
        (lambda: generic_plot_spectrogram_set([]), "no row"),
        (
            lambda: generic_plot_spectrogram_set([{"time": [0.0]}]),
            r"missing: \['energy', 'values'\]",
        ),
        (
            lambda: generic_plot_spectrogram_set([{**good, "ymin": 3}]),
            r"unknown: \['ymin'\]",
        ),
        (
            lambda: generic_plot_spectrogram_set([good], zoom=6),
            "together with events",
        ),
        (
            lambda: generic_plot_spectrogram_set([good], zoom=-6, events=[T0]),
            "together with events",
        ),
        (
            lambda: generic_plot_spectrogram_set([good] * 40, size=(8, 4)),
            "do not fit into",
        ),
        (
            lambda: generic_plot_spectrogram_set(
                [good], events=[T0], event_style="arrow"
            ),
            "event_style is 'arrow'",
        ),
        (lambda: event_spans([(2, 1)]), "ends before it starts"),
        (lambda: event_spans([np.nan]), "no time"),
        (lambda: event_spans([(1, 2, "a", 3)]), "an event is"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    "time, energy, values",
    [
        (np.zeros(0), [10.0, 20.0], np.ones((0, 2))),
        ([5.0], [10.0, 20.0], [[1.0, 2]]),
        ([5.0, 6], [10.0], [[1.0], [2]]),
        ([5.0, 6], [np.nan, np.nan], np.ones((2, 2))),
        ([5.0, 6], [10.0, 20.0], np.full((2, 2), np.nan)),
        ([5.0, 6], [10.0, 20.0], np.zeros((2, 2))),
        ([5.0, 6], [10.0, 20.0], np.ma.masked_less([[1, 2], [3, 4]], 3)),
    ],
)
@pytest.mark.parametrize("scale", ["log", "linear"])
def test_little_or_nothing_to_draw_is_no_error(time, energy, values, scale):
    figure = generic_plot_spectrogram_set(
        [
            {
                "time": time,
                "energy": energy,
                "values": values,
                "y_scale": scale,
                "z_scale": scale,
            }
        ],
        size=(6, 3),
    )
    figure.savefig(io.BytesIO(), format="png")
    nothing = not np.isfinite(np.ma.filled(np.ma.asarray(values, float), np.nan)).any()
    assert ("no data" in [t.get_text() for t in figure.axes[0].texts]) == nothing


def test_pyplot_is_not_needed():
    code = (
        "import sys, io, numpy as np\n"
        "from lunar_potential.view.spectrogram import panels\n"
        "values = np.ones((9, 3))\n"
        "row = {'time': np.arange(9.), 'energy': [1., 2, 4], 'values': values}\n"
        "figure = panels.generic_plot_spectrogram_set([row])\n"
        "figure.savefig(io.BytesIO(), format='png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def draw_once(number, folder):
    path = save_picture(
        generic_plot_spectrogram_set(
            rows(), zoom=5, events=[T0 + 200], size=(8, 5), font_size=8
        ),
        f"{folder}/{number}.png",
        dpi=60,
    )
    return path.read_bytes()


def test_many_figures_leave_nothing_behind(tmp_path):
    counts = []
    for number in range(8):
        draw_once(number, tmp_path)
        gc.collect()
        counts.append(len(gc.get_objects()))
    assert counts[-1] - counts[2] < 50


def test_figures_are_forgotten():
    figure = generic_plot_spectrogram_set(rows(), size=(8, 5), font_size=8)
    gone = weakref.ref(figure)
    del figure
    gc.collect()
    assert gone() is None


def test_workers_draw_the_same_pictures(tmp_path):
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        pictures = list(pool.map(draw_once, range(4), [str(tmp_path)] * 4))
    assert len(set(pictures)) == 1 and pictures[0] == draw_once(9, tmp_path)


@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 200), st.integers(1, 20), st.just(4)),
        elements=st.integers(0, 255),
        fill=st.integers(0, 255),
    )
)
@settings(max_examples=25)
def test_png_holds_the_pixels(rgba):
    with Image.open(io.BytesIO(png_bytes(rgba, 200))) as picture:
        assert picture.mode == "RGB" and picture.info["dpi"] == pytest.approx(
            (200, 200), rel=1e-3
        )
        np.testing.assert_array_equal(np.asarray(picture), rgba[..., :3])


def test_files_are_whole_or_as_before(tmp_path):
    figure = generic_plot_spectrogram_set(rows(), size=(8, 5), font_size=8)
    path = save_picture(figure, tmp_path / "new" / "set.png", dpi=100)
    with Image.open(path) as picture:
        assert picture.size == (800, 500)
        shown = np.asarray(picture)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=100)
    with Image.open(stream) as picture:
        np.testing.assert_array_equal(np.asarray(picture)[..., :3], shown)
    before = path.read_bytes()
    images(figure)[0].draw = lambda renderer: 1 / 0
    with pytest.raises(ZeroDivisionError):
        save_picture(figure, path)
    assert (
        path.read_bytes() == before
        and [p.name for p in path.parent.iterdir()] == ["set.png"]
        and figure.dpi == 100
    )


@pytest.mark.parametrize("suffix, head", [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_vector_files(tmp_path, suffix, head):
    path = save_picture(
        generic_plot_spectrogram_set(rows(), size=(8, 5), font_size=8),
        tmp_path / f"set.{suffix}",
    )
    assert path.read_bytes().startswith(head)
