"""Spectrograms: every cell is drawn at its own time and energy, nothing is drawn where nothing was measured."""

import concurrent.futures
import gc
import io
import subprocess
import sys
import weakref

import matplotlib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from lunar_potential.results import read_results, write_results
from lunar_potential.view import spectrogram as sp
from lunar_potential.view.globe import UNTRUSTED

T0 = 852076800.0  # 1997-01-01
ENERGY = np.geomspace(30000, 4, 96)  # descending, as instruments have it
BEAM = int(np.argmin(np.abs(ENERGY - 100)))


def beam(times, energy=ENERGY, at=100.0):
    "One bright channel, the one whose energy is nearest `at`, over a flat background."
    values = np.ones((len(times), len(energy)))
    values[:, np.nanargmin(np.abs(energy - at))] = 1000
    return values


def panel(*args, size=(8, 5), **options):
    ax = sp.Picture(figsize=size).add_axes([0.1, 0.15, 0.75, 0.75])
    return ax, sp.make_spectrogram(ax, *args, **{"z_min": 1, "z_max": 1000, **options})


def rendered(ax):
    "RGB of the axes as drawn, row 0 at the bottom, and the data at the centres of its pixels."
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    box = ax.bbox
    x, y = (
        np.arange(int(box.x0) + 2, int(box.x1) - 2),
        np.arange(int(box.y0) + 2, int(box.y1) - 2),
    )
    picture = np.asarray(canvas.buffer_rgba())[::-1][np.ix_(y, x)][..., :3].astype(int)
    back = ax.transData.inverted().transform
    return (
        picture,
        back(np.stack([x + 0.5, 0 * x + box.y0], 1))[:, 0] * 86400,
        back(np.stack([0 * y + box.x0, y + 0.5], 1))[:, 1],
    )


def near(picture, colour):
    return (
        np.abs(
            picture
            - 255
            * np.array(to_rgb(tuple(colour) if not isinstance(colour, str) else colour))
        ).max(-1)
        < 4
    )


YELLOW = matplotlib.colormaps["viridis"](1.0)


# -- edges -----------------------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.sampled_from([0.08, 0.1, 1.0, 1.03, 2.5, 2.6, 80.0, 700.0])
    | st.floats(0.01, 1e4),
    min_size=1,
    max_size=30,
)


@given(steps)
def test_each_centre_lies_in_its_own_cell_and_cells_do_not_overlap(steps):
    centres = np.cumsum([0.0, *steps])
    low, high = sp.intervals(centres)
    assert (low < high).all() and (low <= centres).all() and (centres <= high).all()
    assert (high[:-1] <= low[1:]).all() and (np.diff(low) > 0).all()


@given(steps, st.floats(0.1, 10), st.floats(-100, 100))
def test_edges_move_and_stretch_with_the_centres(steps, factor, shift):
    centres = np.cumsum([0.0, *steps])
    change = np.abs(np.diff(np.log(np.diff(centres))))
    gaps = np.diff(centres)
    assume(len(change) < 2 or np.abs(np.diff(change)).min() > 1e-6)
    assume(len(gaps) < 2 or np.abs(np.diff(gaps)).min() > 1e-6)
    low, high = sp.intervals(centres)
    hole = (low[1:] - high[:-1]) / np.minimum((high - low)[1:], (high - low)[:-1])
    assume((np.abs(hole - 0.6) > 0.2).all())
    for one, other in zip((low, high), sp.intervals(factor * centres + shift)):
        np.testing.assert_allclose(
            factor * one + shift, other, atol=1e-6 * factor * max(steps)
        )


@given(st.integers(2, 40), st.floats(0.05, 1e3), st.integers(0, 10))
def test_regular_records_touch_and_missing_ones_leave_their_own_place(
    count, step, lost
):
    centres = step * np.arange(count)
    low, high = sp.intervals(centres)
    assert np.allclose(low, centres - step / 2) and np.allclose(
        high, centres + step / 2
    )
    kept = np.delete(centres, slice(count // 2, count // 2 + lost))
    if len(kept) > 3 and 1 < count // 2 < count - lost - 1:
        low, high = sp.intervals(kept)
        assert np.allclose(low, kept - step / 2) and np.allclose(high, kept + step / 2)


def test_known_starts_and_ends_are_kept_and_small_holes_closed():
    low, high = sp.close_holes([0, 10, 20.5, 40], [10, 20, 30, 50])
    assert low.tolist() == [0, 10, 20.25, 40] and high.tolist() == [10, 20.25, 30, 50]
    low, high = sp.close_holes([0, 8, 16], [10, 18, 26])
    assert low.tolist() == [0, 9, 17] and high.tolist() == [9, 17, 26]


def test_cadence_changes_without_a_slit():
    slow, fast = 20.0 * np.arange(10), 192.5 + 5.0 * np.arange(10)
    low, high = sp.intervals(np.concatenate([slow, fast]))
    assert np.allclose(low[1:], high[:-1]) and low[10] == pytest.approx(190)


def test_a_lone_record_between_gaps_is_as_wide_as_its_neighbours():
    low, high = sp.intervals([0, 1, 2, 100, 200, 201])
    assert (high - low).tolist() == [1, 1, 1, 1, 1, 1]


def test_channel_widths_win_over_centres():
    table = sp.channel_table([100.0, 50.0, np.nan, 7.0], [20.0, 30.0, 5.0, 0.0])
    assert (
        np.allclose(table.low, [35, 90])
        and np.allclose(table.high, [65, 110])
        and [c.tolist() for c in table.channels] == [[1], [0]]
    )


def test_channels_of_one_energy_show_their_mean():
    cells = sp.make_cells([0.0, 1], [8.0, 4.0, 4.0, 4.0], [[1, 2, 4, np.nan]] * 2)
    assert (
        cells.value_at(0, 4.0) == 3
        and cells.value_at(0, 8.0) == 1
        and len(cells.tables[0].low) == 2
    )


def test_octave_tables_with_linear_steps_have_no_gaps():
    table = sp.channel_table(np.array([8, 7, 6, 5, 4, 3.5, 3, 2.5, 2]) * 10)
    assert np.allclose(table.low[1:], table.high[:-1])


# -- what is drawn where ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("y_scale", ["log", "linear"])
def test_electrons_of_100_ev_are_drawn_at_100_ev(y_scale):
    times = T0 + 2.5 * np.arange(300)
    ax, image = panel(times, ENERGY, beam(times), y_scale=y_scale, y_min=5, y_max=1000)
    picture, _, energy = rendered(ax)
    bright = energy[near(picture, YELLOW).all(1)]
    pixel = np.abs(np.diff(energy[np.argsort(np.abs(energy - 100))[:2]]))[0]
    table = image.cells.tables[0]
    edges = [
        side[[c.tolist() for c in table.channels].index([BEAM])]
        for side in (table.low, table.high)
    ]
    assert np.allclose(
        edges,
        [
            ENERGY[BEAM] * (ENERGY[1] / ENERGY[0]) ** 0.5,
            ENERGY[BEAM] * (ENERGY[0] / ENERGY[1]) ** 0.5,
        ],
    )
    assert bright.min() == pytest.approx(
        edges[0], abs=pixel
    ) and bright.max() == pytest.approx(edges[1], abs=pixel)
    assert edges[0] < 100 < edges[1] and (image.axes.get_ylim(), ax.get_yscale()) == (
        (5, 1000),
        y_scale,
    )


@pytest.mark.parametrize("y_scale", ["log", "linear"])
def test_an_event_after_a_gap_is_at_its_own_time_and_the_gap_is_blank(y_scale):
    times = T0 + np.concatenate([10.0 * np.arange(100), 3600 + 10.0 * np.arange(100)])
    values = np.ones((200, 96))
    values[150] = 1000  # 3600 + 500 s
    ax, image = panel(times, ENERGY, values, y_scale=y_scale)
    picture, unix, energy = rendered(ax)
    pixel, inside = unix[1] - unix[0], (energy > 5) & (energy < 29000)
    when = unix[near(picture[inside], YELLOW).all(0)]
    assert len(when) and np.abs(when - (T0 + 4100)).max() < 5 + pixel
    gap = (unix > T0 + 995 + pixel) & (unix < T0 + 3595 - pixel)
    covered = (unix < T0 + 995 - pixel) | (unix > T0 + 3595 + pixel)
    assert (
        gap.sum() > 100
        and near(picture[:, gap], "white").all()
        and not near(picture[inside][:, covered], "white").any()
    )
    assert (image.cells.record_at(T0 + np.array([1500.0, 3000])) == -1).all()


def test_a_change_of_mode_is_followed():
    times = T0 + 10.0 * np.arange(200)
    coarse = np.append(np.geomspace(20000, 6, 48), np.full(48, np.nan))
    energy = np.where(np.arange(200)[:, None] < 120, coarse, ENERGY)
    values = np.stack([beam([0], e)[0] for e in energy])
    values[:120, 48:] = np.nan
    ax, image = panel(times, energy, values)
    picture, unix, height = rendered(ax)
    bright = near(picture, YELLOW)
    for part, table in ((unix < T0 + 1190, coarse), (unix > T0 + 1200, ENERGY)):
        rows = height[bright[:, part].all(1)]
        ratio = table[0] / table[1]
        assert (
            rows.max() / rows.min() == pytest.approx(ratio, rel=0.05)
            and rows.min() < 100 * 1.03
            and rows.max() > 100 / 1.03
        )
    above = np.ix_(height > 25000, unix < T0 + 1190)
    assert (
        near(picture[above], "white").all()
        and not near(picture[height > 25000][:, unix > T0 + 1200], "white").any()
    )
    assert (
        len(image.cells.tables) == 2
        and image.cells.mode.tolist().count(image.cells.mode[0]) == 120
    )


def test_energies_that_come_back_share_their_table():
    energy = np.array([[1.0, 2], [1, 2], [1, 3], [1, 2], [np.nan, 2], [np.nan, 2]])
    cells = sp.make_cells(np.arange(6), energy, np.ones((6, 2)))
    assert (
        len(cells.tables) == 3
        and cells.mode[0] == cells.mode[1] == cells.mode[3]
        and cells.mode[4] == cells.mode[5]
    )


grey = lambda v: np.stack([np.nan_to_num(v)] * 3 + [255 * np.isfinite(v)], -1).astype(
    np.uint8
)


@given(st.data())
@settings(max_examples=60)
def test_pixels_show_the_cell_they_lie_in(data):
    starts = np.cumsum(
        data.draw(
            st.lists(st.sampled_from([1.0, 1.0, 2.0, 7.0]), min_size=1, max_size=12)
        )
    )
    energy = data.draw(
        hnp.arrays(
            float,
            (len(starts), 4),
            elements=st.sampled_from([10, 20, 40, 45, 80, np.nan]),
        )
    )
    values = data.draw(
        hnp.arrays(
            float, (len(starts), 4), elements=st.sampled_from([*range(1, 250), np.nan])
        )
    )
    cells = sp.make_cells(starts, energy, values)
    x, y = np.linspace(-1, starts[-1] + 2, 37) + 0.013, np.geomspace(7, 99, 23)
    picture = sp.pixels(cells, x, y, np.full(len(starts), -1), grey)
    expected = np.array([[cells.value_at(u, v) for u in x] for v in y])
    np.testing.assert_array_equal(picture[..., 3] == 255, np.isfinite(expected))
    np.testing.assert_array_equal(
        picture[..., 0], np.nan_to_num(expected).astype(np.uint8)
    )


@given(st.permutations(range(6)))
@settings(max_examples=20)
def test_the_order_of_channels_does_not_matter(order):
    energy, values = np.geomspace(5, 500, 6), np.arange(1.0, 25).reshape(4, 6)
    one = sp.make_cells(np.arange(4), energy, values)
    other = sp.make_cells(np.arange(4), energy[list(order)], values[:, list(order)])
    x, y, nowhere = np.linspace(-1, 4, 20), np.geomspace(3, 900, 30), np.full(4, -1)
    np.testing.assert_array_equal(
        sp.pixels(one, x, y, nowhere, grey), sp.pixels(other, x, y, nowhere, grey)
    )


@given(st.integers(1, 60), st.integers(1, 15))
@settings(max_examples=30)
def test_columns_with_many_records_show_their_mean(records, columns):
    rng = np.random.default_rng(records)
    values = np.where(
        rng.random((records, 2)) < 0.3,
        np.nan,
        rng.integers(1, 250, (records, 2)).astype(float),
    )
    cells = sp.make_cells(np.arange(records) + 0.5, [1.0, 2.0], values)
    width = records / columns
    x = (np.arange(columns) + 0.5) * width
    centre = np.minimum((np.arange(records) + 0.5) // width, columns - 1).astype(int)
    seen = {}
    sp.pixels(
        cells,
        x,
        np.array([1.0, 2.0]),
        centre,
        lambda v: seen.setdefault("v", v) is None or grey(v),
    )
    for column in range(columns):
        mine = values[centre == column]
        mine = mine if len(mine) else values[[int(x[column])]]
        expected = sp.finite_mean(mine, 0)
        np.testing.assert_allclose(seen["v"][column], expected, equal_nan=True)


def test_a_burst_narrower_than_a_pixel_is_not_lost():
    cells = sp.make_cells(
        np.array([[0, 1], [49.9, 50.0], [99, 100]], float), [1.0], [[1], [200], [1]]
    )
    picture = sp.pixels(
        cells,
        np.arange(0.5, 100, 2),
        np.array([1.0]),
        (np.array([0.5, 49.95, 99.5]) // 2).astype(int),
        grey,
    )
    assert picture[0, 24, 0] == 200 and (picture[0, 1:24, 3] == 0).all()


def test_zooming_in_redraws_the_pixels():
    times = T0 + 2.5 * np.arange(400)
    values = np.ones((400, 96))
    values[200] = 1000
    ax, image = panel(times, ENERGY, values)
    ax.set_xlim((T0 + 495) / 86400, (T0 + 505) / 86400)
    picture, unix, _ = rendered(ax)
    bright = unix[near(picture, YELLOW).all(0)]
    assert bright.min() == pytest.approx(
        T0 + 498.75, abs=0.03
    ) and bright.max() == pytest.approx(T0 + 501.25, abs=0.03)
    half, full = image.picture(1.0)[0].shape, image.picture(2.0)[0].shape
    assert abs(full[0] - 2 * half[0]) <= 2 and abs(full[1] - 2 * half[1]) <= 2


def test_the_pointer_reads_the_value():
    ax, image = panel(T0 + np.arange(3.0), [10.0, 20.0], [[1, 2], [3, 4], [5, np.nan]])
    event = lambda t, y: type("Event", (), {"xdata": (T0 + t) / 86400, "ydata": y})
    assert (
        image.get_cursor_data(event(1, 20)) == 4
        and np.isnan(image.get_cursor_data(event(2, 20)))
        and np.isnan(image.get_cursor_data(event(9, 10)))
    )


# -- colours and limits ----------------------------------------------------------------------------------------------------------


def test_zero_is_lowest_and_nan_is_blank_on_logarithmic_colours():
    ax, image = panel(
        T0 + np.arange(4.0),
        [10.0, 20.0],
        [[0, 0], [-3, 1e-9], [np.nan, np.nan], [1000, 10]],
    )
    lowest = matplotlib.colormaps["viridis"](0.0, bytes=True)
    colours = image.colours(image.cells.values)
    assert (
        (colours[:2] == lowest).all()
        and (colours[2, :, 3] == 0).all()
        and (colours[3, 0] == matplotlib.colormaps["viridis"](1.0, bytes=True)).all()
    )
    picture, unix, energy = rendered(ax)
    middle = np.argmin(np.abs(energy - 14))
    assert (
        near(picture[middle, np.abs(unix - T0 - 2) < 0.3], "white").all()
        and near(picture[middle, np.abs(unix - T0) < 0.3], np.array(lowest) / 255).all()
    )


def test_a_colour_for_what_lies_below():
    below = matplotlib.colormaps["viridis"].with_extremes(under="red", bad="blue")
    _, image = panel(T0 + np.arange(2.0), [10.0], [[0], [np.nan]], colormap=below)
    assert image.colours(image.cells.values)[:, 0].tolist() == [
        [255, 0, 0, 255],
        [0, 0, 255, 255],
    ]


def test_limits_from_percentiles_of_what_is_inside():
    values = np.arange(1.0, 1001).reshape(100, 10)
    values[:50] *= 1e6
    _, image = panel(
        T0 + np.arange(100),
        np.geomspace(1, 100, 10),
        values,
        z_min=None,
        z_max=None,
        start=T0 + 50,
        end=T0 + 98.4,
        percentiles=(5, 95),
    )
    assert image.get_clim() == pytest.approx(np.percentile(values[50:99], (5, 95)))
    unused = np.append(np.geomspace(1, 100, 9), np.nan)
    _, image = panel(
        T0 + np.arange(100),
        unused,
        np.where(np.isnan(unused), 1e30, values),
        z_min=None,
        z_max=None,
        percentiles=(0, 100),
    )
    assert image.get_clim()[1] < 1e10


@given(
    hnp.arrays(
        float,
        hnp.array_shapes(max_dims=2),
        elements=st.floats(-1e6, 1e12) | st.just(np.nan) | st.just(np.inf),
    ),
    st.sampled_from(["log", "linear"]),
    st.none() | st.floats(1e-3, 1e3),
    st.none() | st.floats(2e3, 1e6),
)
def test_limits_are_always_limits(values, scale, low, high):
    found = sp.colour_limits(values, scale, low, high)
    assert (
        np.isfinite(found).all()
        and found[0] < found[1]
        and (scale == "linear" or found[0] > 0)
    )
    assert (low is None or found[0] == low) and (high is None or found[1] == high)


def test_colour_bar_says_what_lies_beyond():
    for z, tips in (
        ((1, 1000), "neither"),
        ((2, 1000), "min"),
        ((1, 900), "max"),
        ((2, 900), "both"),
    ):
        ax, image = panel(
            T0 + np.arange(3.0), ENERGY, beam(range(3)), z_min=z[0], z_max=z[1]
        )
        assert (
            image.colorbar.extend == tips and image.colorbar.ax.get_ylabel() == "Counts"
        )
        assert (image.colorbar.vmin, image.colorbar.vmax) == pytest.approx(z)


@pytest.mark.parametrize("z", [(20, 60), (150, 800), (3, 4), (1, 1e7)])
def test_short_and_long_scales_have_numbers(z):
    ax, image = panel(
        T0 + np.arange(3.0),
        ENERGY,
        beam(range(3)),
        z_min=z[0],
        z_max=z[1],
        y_min=z[0],
        y_max=z[1],
    )
    ax.figure.canvas.draw()
    for axis in (ax.yaxis, image.colorbar.ax.yaxis):
        texts = [
            t.get_text()
            for t in axis.get_ticklabels(which="both")
            if t.get_text() and z[0] <= t.get_position()[1] <= z[1]
        ]
        assert len(texts) >= 2


def test_minor_ticks_stand_at_round_energies():
    ax, _ = panel(T0 + np.arange(3.0), ENERGY, beam(range(3)), y_min=5, y_max=5000)
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    left = np.asarray(canvas.buffer_rgba())[::-1, int(ax.bbox.x0) - 2, :3].min(1)
    dark = np.flatnonzero(left < 200)
    dark = dark[(dark > ax.bbox.y0) & (dark < ax.bbox.y1)]
    wanted = ax.transData.transform(
        [
            (0, k * 10.0**d)
            for d in range(4)
            for k in range(1, 10)
            if 5 < k * 10.0**d < 5000
        ]
    )[:, 1]
    assert all(np.abs(dark + 0.5 - w).min() < 1.5 for w in wanted) and all(
        np.abs(d + 0.5 - wanted).min() < 2.5 for d in dark
    )


# -- rows ------------------------------------------------------------------------------------------------------------------------


def rows():
    times = T0 + 10.0 * np.arange(60)
    first = {"time": times, "energy": ENERGY, "values": beam(times), "title": "ees"}
    second = {
        "time": times + 300,
        "energy": ENERGY,
        "values": 50 * beam(times),
        "y_min": 10,
        "y_max": 2000,
        "z_min": 2,
        "z_max": 7e4,
        "y_scale": "linear",
        "y_label": "Ion energy (eV)",
        "z_label": "Differential Energy Flux",
        "colormap": "plasma",
        "title": "ies",
    }
    return [
        first,
        second,
        {**first, "vmin": 3, "vmax": 30, "z_scale": "linear", "title": "ieb"},
    ]


def images(figure):
    return [
        artist
        for ax in figure.axes
        for artist in ax.get_children()
        if isinstance(artist, sp.SpectrogramImage)
    ]


def test_limits_and_labels_of_each_row_read_back():
    figure = sp.generic_plot_spectrogram_set(
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
    sp.generic_plot_spectrogram_set(given_rows, zoom=(T0, T0 + 60))
    assert [list(row) for row in given_rows] == keys and dict(
        matplotlib.rcParams
    ) == before


def test_zoom_column_shares_the_limits_of_its_row():
    figure = sp.generic_plot_spectrogram_set(
        rows(), zoom=5, events=[(T0 + 200, T0 + 260)]
    )
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
    sp.draw_events(
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
    sp.draw_events(ax, [(T0 - 500, T0 + 200)], "both")
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


def shown_texts(figure):
    "The texts that are drawn."
    return [
        t
        for t in figure.findobj(matplotlib.text.Text)
        if t.get_visible() and t.get_text().strip() and t.get_window_extent().width > 0
    ]


def assert_legible(figure):
    FigureCanvasAgg(figure).draw()
    inside = []
    for text in shown_texts(figure):
        axis = next(
            (
                a
                for ax in figure.axes
                for a in (ax.xaxis, ax.yaxis)
                if text in a.get_ticklabels(which="both")
            ),
            None,
        )
        low, high = sorted(axis.get_view_interval()) if axis is not None else (0, 0)
        at = text.get_position()[axis.axis_name == "y"] if axis is not None else 0
        if low <= at <= high:
            inside.append(text)
    boxes = [t.get_window_extent() for t in inside]
    clashes = [
        (a.get_text(), b.get_text())
        for i, a in enumerate(inside)
        for j, b in enumerate(inside[:i])
        if boxes[i].overlaps(boxes[j])
    ]
    assert not clashes
    outside = [
        t.get_text()
        for t, box in zip(inside, boxes)
        if box.x0 < 0
        or box.y0 < 0
        or box.x1 > figure.bbox.x1
        or box.y1 > figure.bbox.y1
    ]
    assert not outside


def test_text_does_not_overlap(er, results):
    assert_legible(
        sp.generic_plot_spectrogram_set(
            rows(), title="all", zoom=5, events=[(T0 + 200, T0 + 260, "cusp")]
        )
    )
    assert_legible(sp.generic_plot_spectrogram_set(rows(), size=(9, 6), font_size=9))
    assert_legible(sp.lp_day_overview(er, results, "1998-06-14", "1998-06-14"))


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
    figure = sp.generic_plot_spectrogram_set(
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
    short = sp.generic_plot_spectrogram_set(
        rows(), title="all", size=size, font_size=font_size
    )
    FigureCanvasAgg(short).draw()
    assert short.texts[0].get_fontsize() == 1.25 * font_size


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_ticks_without_numbers_are_where_the_others_are(scale):
    figure = sp.generic_plot_spectrogram_set(
        [{**row, "y_scale": scale, "y_min": 10, "y_max": 2000} for row in rows()],
        zoom=(T0 + 200, T0 + 320),
        size=(12, 7.5),
        font_size=8,
    )
    shown = sp.drawn_pixels(figure, 100)[::-1]
    dark = lambda x, y: (
        shown[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2, :3].min() < 120
    )
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


# -- bad input -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"values": np.ones((3, 5))}, "shapes do not fit"),
        ({"values": np.ones(3)}, "shapes do not fit"),
        ({"time": np.arange(4.0)}, "shapes do not fit"),
        ({"time": [0, 2, 1]}, "record 2 is not after record 1"),
        ({"time": [0, 1, 1]}, "record 2 is not after record 1"),
        ({"time": [0, np.nan, 2]}, "record 1 is not finite"),
        (
            {"time": np.array(["1997-01-01", "NaT", "1997-01-03"], "datetime64[s]")},
            "record 1 is not finite",
        ),
        ({"time": [[0, 1], [1, 1], [2, 3]]}, "record 1 ends before it starts"),
        ({"energy_width": [1.0]}, "y_width has shape"),
        ({"y_spacing": "even"}, "y_spacing is 'even'"),
        ({"y_scale": "sqrt"}, "y_scale is 'sqrt'"),
        ({"z_scale": "asinh"}, "z_scale is 'asinh'"),
        ({"y_min": 5, "y_max": 5}, "y_min 5 is not below y_max 5"),
        ({"y_min": 0}, "positive on a logarithmic scale"),
        ({"z_min": -1}, "positive on a logarithmic scale"),
        ({"z_max": np.nan}, "must be finite"),
        ({"start": 9, "end": 3}, "not after its start"),
    ],
)
def test_bad_input_is_named(change, message):
    good = {"time": [0, 1, 2], "energy": [10.0, 20.0], "values": np.ones((3, 2))}
    with pytest.raises(ValueError, match=message):
        sp.make_spectrogram(sp.Picture().add_subplot(), **{**good, **change})


def test_bad_rows_events_and_zooms_are_named():
    good = rows()[0]
    for call, message in (
        (lambda: sp.generic_plot_spectrogram_set([]), "no row"),
        (
            lambda: sp.generic_plot_spectrogram_set([{"time": [0.0]}]),
            r"missing: \['energy', 'values'\]",
        ),
        (
            lambda: sp.generic_plot_spectrogram_set([{**good, "ymin": 3}]),
            r"unknown: \['ymin'\]",
        ),
        (
            lambda: sp.generic_plot_spectrogram_set([good], zoom=6),
            "together with events",
        ),
        (
            lambda: sp.generic_plot_spectrogram_set([good], zoom=-6, events=[T0]),
            "together with events",
        ),
        (
            lambda: sp.generic_plot_spectrogram_set([good] * 40, size=(8, 4)),
            "do not fit into",
        ),
        (
            lambda: sp.generic_plot_spectrogram_set(
                [good], events=[T0], event_style="arrow"
            ),
            "event_style is 'arrow'",
        ),
        (lambda: sp.event_spans([(2, 1)]), "ends before it starts"),
        (lambda: sp.event_spans([np.nan]), "no time"),
        (lambda: sp.event_spans([(1, 2, "a", 3)]), "an event is"),
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
    figure = sp.generic_plot_spectrogram_set(
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


# -- many figures ----------------------------------------------------------------------------------------------------------------


def test_pyplot_is_not_needed():
    code = (
        "import sys, io, numpy as np, lunar_potential.view.spectrogram as sp\n"
        "row = {'time': np.arange(9.), 'energy': [1., 2, 4], 'values': np.ones((9, 3))}\n"
        "sp.generic_plot_spectrogram_set([row]).savefig(io.BytesIO(), format='png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def draw_once(number, folder):
    path = sp.save_picture(
        sp.generic_plot_spectrogram_set(
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
    figure = sp.generic_plot_spectrogram_set(rows(), size=(8, 5), font_size=8)
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
    with Image.open(io.BytesIO(sp.png_bytes(rgba, 200))) as picture:
        assert picture.mode == "RGB" and picture.info["dpi"] == pytest.approx(
            (200, 200), rel=1e-3
        )
        np.testing.assert_array_equal(np.asarray(picture), rgba[..., :3])


def test_files_are_whole_or_as_before(tmp_path):
    figure = sp.generic_plot_spectrogram_set(rows(), size=(8, 5), font_size=8)
    path = sp.save_picture(figure, tmp_path / "new" / "set.png", dpi=100)
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
        sp.save_picture(figure, path)
    assert (
        path.read_bytes() == before
        and [p.name for p in path.parent.iterdir()] == ["set.png"]
        and figure.dpi == 100
    )


@pytest.mark.parametrize("suffix, head", [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_vector_files(tmp_path, suffix, head):
    path = sp.save_picture(
        sp.generic_plot_spectrogram_set(rows(), size=(8, 5), font_size=8),
        tmp_path / f"set.{suffix}",
    )
    assert path.read_bytes().startswith(head)


# -- Lunar Prospector ------------------------------------------------------------------------------------------------------------

DAY = "1998-06-14"


@pytest.fixture(scope="module")
def overview(er, results):
    return sp.lp_day_overview(er, results, DAY, DAY)


@pytest.fixture(scope="module")
def of_day(results):
    start = results.spec["time_start"].astype("datetime64[s]").astype("datetime64[D]")
    return results.select(start == np.datetime64(DAY)).spec


def test_overview_shows_the_day_and_nothing_else(overview, of_day):
    energy, pitch, sun = images(overview)
    assert len(energy.cells.start) == len(of_day["time_start"]) == 30
    assert np.allclose(energy.cells.start, of_day["time_start"]) and np.allclose(
        energy.cells.end, of_day["time_end"] + 5
    )
    between = (of_day["time_end"][:-1] + of_day["time_start"][1:]) / 2
    assert all(
        (image.cells.record_at(between) == -1).all() for image in (energy, pitch, sun)
    )
    assert len({ax.get_xlim() for ax in overview.axes[:6]}) == 1


def test_overview_panels_hold_what_the_results_hold(overview, of_day, er, results):
    field, craft, surface = overview.axes[2:5]
    known = lambda line: line.get_ydata()[np.isfinite(line.get_ydata())]
    b = er.padded()["b"][np.isin(results.spec["time_start"], of_day["time_start"])]
    assert np.allclose(known(field.lines[0]), np.linalg.norm(b, axis=1))
    assert np.allclose(
        known(craft.lines[-1]),
        of_day["u_spacecraft"][np.isfinite(of_day["u_spacecraft"])],
    )
    trusted = np.isfinite(of_day["u_surface"]) & (
        (of_day["flags"].astype(int) & int(UNTRUSTED)) == 0
    )
    assert trusted.any() and np.allclose(
        surface.lines[-1].get_ydata(), of_day["u_surface"][trusted]
    )
    bars = np.array(
        [segment[:, 1] for segment in surface.collections[0].get_segments()]
    )
    ends = np.clip(
        np.stack([of_day["u_surface_lower_95"], of_day["u_surface_upper_95"]], 1)[
            trusted
        ],
        *surface.get_ylim(),
    )
    assert np.allclose(bars, ends)
    lit = images(overview)[2].cells.values
    for column, name in enumerate(("projection_in_sun", "spacecraft_in_sun")):
        assert np.array_equal(np.nan_to_num(lit[:, column], nan=-1), of_day[name])


def test_overview_of_results_from_a_file(er, results, tmp_path, overview):
    write_results(results, tmp_path / "run.npz")
    again = sp.lp_day_overview(er, read_results(tmp_path / "run.npz"), DAY, DAY)
    for one, other in zip(images(overview), images(again)):
        np.testing.assert_array_equal(one.cells.values, other.cells.values)


def test_overview_errors(er, results):
    with pytest.raises(ValueError, match="no sweep from 2001-01-01"):
        sp.lp_day_overview(er, results, "2001-01-01")
    other = results.select(np.zeros(results.n_sweeps, bool))
    with pytest.raises(ValueError, match="is in the results of"):
        sp.lp_day_overview(er, other)


def test_means_over_directions_and_pitch_angles():
    theta = np.repeat(
        [78.75, 56.25, 33.75, 11.25, -11.25, -33.75, -56.25, -78.75],
        [4, 8, 16, 16, 16, 16, 8, 4],
    )
    flux = np.full((2, 3, 88), 7.0)
    flux[:, :, ::3] = np.nan
    assert (
        np.allclose(sp.energy_spectrum(flux, theta), 7)
        and np.isnan(sp.energy_spectrum(flux * np.nan, theta)).all()
    )
    mu = np.broadcast_to(np.cos(np.radians(np.linspace(1, 179, 88))), flux.shape)
    shape = np.where(mu < 0, 0.25, 1.0) * np.array([1.0, 50, 3000])[:, None]
    found = sp.pitch_spectrum(
        np.tile([300.0, 500, 5000], (2, 1)), shape * flux, mu, theta
    )
    assert np.allclose(found[:, :6], 1) and np.allclose(found[:, 6:], 0.25)
    assert np.isnan(
        sp.pitch_spectrum(np.tile([300.0, 500, 5000], (2, 1)), flux, mu * np.nan, theta)
    ).all()
