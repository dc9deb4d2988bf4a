"""One panel: every cell is drawn at its own time and energy, and nothing in gaps."""

import matplotlib
import numpy as np
import pytest
from drawn_panels import BEAM, ENERGY, T0, YELLOW, beam, near, panel, rendered
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lunar_potential.view.spectrogram.spectrogram import (
    Picture,
    colour_limits,
    make_spectrogram,
)


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
def test_a_checkerboard_lands_in_its_rows_and_columns(y_scale):
    times, channel = T0 + 60.0 * np.arange(50), np.arange(96)
    values = 1.0 + (np.arange(50)[:, None] + channel) % 2
    limits = {"z_scale": "linear", "z_min": 1.0, "z_max": 2.0}
    ax, _ = panel(times, ENERGY, values, y_scale=y_scale, **limits)
    picture, unix, energy = rendered(ax)
    step = np.log(ENERGY[0] / ENERGY[1])
    row = np.rint(np.log(ENERGY[0] / energy) / step).astype(int)
    record = np.rint((unix - T0) / 60).astype(int)
    inside = np.ix_(range(3, len(energy) - 3), range(3, len(unix) - 3))  # of the frame
    high = ((row[:, None] + record) % 2 == 1)[inside]
    np.testing.assert_array_equal(near(picture[inside], YELLOW), high)


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

    def event(t, y):
        return type("Event", (), {"xdata": (T0 + t) / 86400, "ydata": y})

    assert (
        image.get_cursor_data(event(1, 20)) == 4
        and np.isnan(image.get_cursor_data(event(2, 20)))
        and np.isnan(image.get_cursor_data(event(9, 10)))
    )


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
    found = colour_limits(values, scale, low, high)
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
        make_spectrogram(Picture().add_subplot(), **{**good, **change})
