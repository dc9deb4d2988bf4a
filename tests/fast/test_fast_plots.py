"""Pictures of FAST: every value at its own time and energy, in its own category.

Limits, labels and markers are those that were given.
"""

import html

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar_potential.fast import explore, pitch, plots
from lunar_potential.fast.cusp import Cusp, read_cusp_table
from lunar_potential.fast.esa import read_esa
from lunar_potential.fast.explore import EVERY_INSTRUMENT, GIVEN, OrbitExplorer
from lunar_potential.fast.files import EmptyFile, find_orbits
from lunar_potential.fast.pitch import (
    CATEGORIES,
    category_mean,
    category_title,
    pitch_mean,
)
from lunar_potential.fast.plots import (
    FAST_plot_instrument_grid,
    FAST_plot_pitch_angle_grid,
    cusp_span,
    cusp_zoom,
    flux_row,
)
from lunar_potential.fast.simulate import simulate_archive, simulate_cdf
from lunar_potential.view.spectrogram.cells import unix_time
from lunar_potential.view.spectrogram.panels import drawn_pixels, png_bytes
from lunar_potential.view.spectrogram.spectrogram import SpectrogramImage

SMALL = {"size": (8, 6), "font_size": 8}
RECORDS, GAP = 60, 120.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fast")
    truths = simulate_archive(
        folder,
        (13519,),
        records=RECORDS,
        gap=GAP,
        faults={13600: "truncated", 13601: "empty", 13602: "not-cdf"},
    )
    return folder, {truth.instrument: truth for truth in truths}


@pytest.fixture(scope="module")
def data(archive):
    return {name: read_esa(truth.path) for name, truth in archive[1].items()}


@pytest.fixture(scope="module")
def cusps(archive):
    return read_cusp_table(archive[0] / "FAST_Cusp_Indices.csv")


def images(figure):
    return [
        artist
        for ax in figure.axes
        for artist in ax.get_children()
        if isinstance(artist, SpectrogramImage)
    ]


def texts(figure):
    return [text.get_text() for text in figure.texts] + [
        text
        for ax in figure.axes
        for text in (ax.get_title("left"), ax.get_ylabel())
        if text
    ]


def drawn(figure):
    "The pixels of the finished picture, row 0 at the bottom."
    return drawn_pixels(figure, figure.dpi)[::-1].copy()


def column(picture, image, when):
    """Energies of the pixels of a column of the finished picture, and their colours.

    Colours are steps of the colour map, -1 where there is another colour.
    """
    x, low = image.axes.transData.transform((when / 86400, image.axes.get_ylim()[0]))
    rows = np.arange(int(low) + 3, int(image.axes.bbox.y1) - 3)
    energies = image.axes.transData.inverted().transform(
        np.stack([np.full(len(rows), x), rows + 0.5], 1)
    )[:, 1]
    same = (picture[rows, int(x), None] == image.cmap(np.arange(256), bytes=True)).all(
        2
    )
    return energies, np.where(same.any(1), same.argmax(1), -1)


# energies and times


@pytest.mark.parametrize("instrument", ["ees", "eeb", "ies"])
@pytest.mark.parametrize(
    "scale", [{"y_scale": "log"}, {"y_scale": "linear", "y_max": 900.0}]
)
def test_the_quiet_peak_is_drawn_at_its_energy(archive, data, instrument, scale):
    truth = archive[1][instrument]
    figure = FAST_plot_pitch_angle_grid(
        data[instrument], z_min=1e5, z_max=3e7, **scale, **SMALL
    )
    picture = drawn(figure)
    for image in images(figure):
        for record in (3, 40, 55):
            energies, level = column(picture, image, truth.time[record])
            there = energies[level == level.max()]
            assert (
                truth.peak[record] / 1.35 < there.min()
                and there.max() < truth.peak[record] * 1.35
            ), (record, there)


def test_the_arc_is_drawn_at_its_energy_in_time(archive, data):
    truth, figure = (
        archive[1]["ees"],
        FAST_plot_pitch_angle_grid(
            data["ees"],
            y_scale="log",
            z_min=1e5,
            z_max=3e7,
            categories=("down",),
            **SMALL,
        ),
    )
    energies, level = column(drawn(figure), images(figure)[0], truth.time[RECORDS // 2])
    assert 1000 < np.median(energies[level == level.max()]) < 2200


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_gap_stays_blank_and_what_follows_is_at_its_time(archive, data, scale):
    truth = archive[1]["ees"]
    last, after = truth.time[int(0.7 * RECORDS) - 1], truth.time[int(0.7 * RECORDS)]
    assert after - last > GAP
    figure = FAST_plot_pitch_angle_grid(data["ees"], y_scale=scale, **SMALL)
    picture = drawn(figure)
    for image in images(figure):
        for when in (
            last + 3,
            (last + after) / 2,
            after - 3,
            truth.time[np.flatnonzero(truth.empty)[0]],
        ):
            assert (column(picture, image, when)[1] == -1).all(), when
        for when in (last, after):
            assert (column(picture, image, when)[1] >= 0).mean() > 0.95


def test_every_record_has_the_channels_of_its_mode(data):
    ees = data["ees"]
    cells = images(FAST_plot_pitch_angle_grid(ees, categories=("all",)))[0].cells
    expected, before = pitch_mean(ees), int(np.argmax(np.diff(ees.mode.values)))
    assert [
        len(cells.tables[cells.mode[record]].low) for record in (before, before + 1)
    ] == [47, 92]
    for record in (5, before, before + 1, RECORDS - 2):
        for channel in (0, 20, 40):
            drawn = cells.value_at(
                unix_time(ees.time.values[record]),
                float(ees.energy.values[record, channel]),
            )
            assert drawn == pytest.approx(expected[record, channel], rel=1e-12)


# categories


def by_hand(dataset, record, channel, ranges):
    "Mean weighted with solid angle and the share in the ranges, cell after cell."
    total = area = 0.0
    n = int(dataset["n_angles"][record])
    for angle in range(n):
        value, weight = (
            float(dataset["eflux"][record, angle, channel]),
            float(dataset["solid_angle"][record, angle, channel]),
        )
        points = (
            float(dataset["pitch_angle"][record, angle, channel])
            + (np.arange(2000) + 0.5) / 2000 * 360 / n
            - 180 / n
        ) % 360
        share = np.any(
            [(points >= low) & (points < high) for low, high in ranges], axis=0
        ).mean()
        if np.isfinite(value):
            total, area = total + share * weight * value, area + share * weight
    return total / area if area else np.nan


@pytest.mark.parametrize(
    "category, ranges",
    [
        ("all", [(0, 360)]),
        ("down", [(0, 30), (330, 360)]),
        ("up", [(150, 210)]),
        ("perpendicular", [(40, 140), (220, 320)]),
    ],
)
def test_categories_are_weighted_means_of_each_record(data, category, ranges):
    mean = category_mean(data["ees"], category)
    for record, channel in ((2, 30), (25, 12), (50, 60)):
        assert mean[record, channel] == pytest.approx(
            by_hand(data["ees"], record, channel, ranges), rel=2e-3
        )


def beam(n_angles, shifts, width=20.0):
    "Records with flux 1 along the field, 0 elsewhere; each is turned differently."
    n, most = len(shifts), max(n_angles)
    used = np.arange(most)[None, :] < np.asarray(n_angles)[:, None]
    pitch = (
        (np.arange(most) + 0.5)[None] * 360 / np.asarray(n_angles)[:, None]
        + np.asarray(shifts)[:, None]
    ) % 360
    flux = np.where(used, np.minimum(pitch, 360 - pitch) < width, np.nan)[
        :, :, None
    ] * np.ones(3)
    solid = np.where(used, np.abs(np.sin(np.radians(pitch))) + 1e-3, 0)[
        :, :, None
    ] * np.ones(3)
    when = np.datetime64("2000-01-01", "ns") + (np.arange(n) * 2.5e9).astype(
        "timedelta64[ns]"
    )

    def three(values):
        return (("time", "angle", "channel"), values.astype(np.float32))

    return xr.Dataset(
        {
            "eflux": three(flux),
            "solid_angle": three(solid),
            "pitch_angle": three(pitch[:, :, None] * np.ones(3)),
            "n_angles": ("time", np.asarray(n_angles)),
            "energy": (("time", "channel"), np.ones((n, 1)) * [1000.0, 100.0, 10.0]),
            "energy_width": (("time", "channel"), np.ones((n, 1)) * [200.0, 20.0, 2.0]),
            "time_start": ("time", when),
            "time_end": ("time", when + np.timedelta64(2, "s")),
        },
        {"time": when},
        {"file": "beam.cdf", "quantity": "eflux"},
    )


def test_a_beam_stays_in_its_category_while_the_instrument_turns():
    dataset = beam([32] * 36, np.arange(0, 360, 10.0))
    down, up, across = (
        category_mean(dataset, category) for category in ("down", "up", "perpendicular")
    )
    assert (down > 0.2).all() and not up.any() and not across.any()
    np.testing.assert_array_equal(category_mean(dataset, "up", "south"), down)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([16, 32, 64]), st.floats(0, 360)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(list(CATEGORIES)),
    st.integers(1, 5),
)
def test_blocks_of_records_change_nothing(records, category, together):
    dataset = beam(*zip(*records))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pitch, "_RECORDS_AT_ONCE", together)
        alone = [
            pitch_mean(dataset.isel(time=[record]), CATEGORIES[category][0])[0]
            for record in range(len(records))
        ]
        np.testing.assert_allclose(category_mean(dataset, category), alone, rtol=1e-12)


@pytest.mark.parametrize("category", list(CATEGORIES))
def test_the_hemisphere_of_each_record(data, category):
    ees = data["ees"]
    north, south = (
        category_mean(ees, category, "north"),
        category_mean(ees, category, "south"),
    )
    latitude = np.where(np.arange(ees.sizes["time"]) % 3 == 0, -70.0, 70.0)
    mixed = category_mean(ees, category, lambda times: latitude)
    np.testing.assert_array_equal(mixed, np.where(latitude[:, None] > 0, north, south))
    np.testing.assert_array_equal(category_mean(ees, category), north)
    assert np.array_equal(north, south, equal_nan=True) == (
        category in ("all", "perpendicular")
    )


def test_a_record_without_latitude_is_neither_up_nor_down(data):
    ees = data["ees"]
    latitude = np.where(np.arange(ees.sizes["time"]) == 5, np.nan, 70.0)
    down = category_mean(ees, "down", lambda times: latitude)
    assert np.isnan(down[5]).all() and np.isfinite(down[6]).any()
    assert np.isfinite(category_mean(ees, "all", lambda times: latitude)[5]).any()


@pytest.mark.parametrize(
    "category, hemisphere, words",
    [
        ("down", None, ("0° ± 30°", "northern hemisphere assumed", "towards")),
        ("up", None, ("180° ± 30°", "northern hemisphere assumed", "away")),
        ("down", "south", ("180° ± 30°", "southern hemisphere)")),
        ("up", "south", (" 0° ± 30°", "southern")),
        ("down", "north", (" 0° ± 30°", "northern hemisphere)")),
        ("up", abs, ("180° ± 30° in the north", " 0° ± 30° in the south")),
    ],
)
def test_titles_say_what_is_assumed(category, hemisphere, words):
    assert all(word in category_title(category, hemisphere) for word in words), (
        category_title(category, hemisphere)
    )


def test_the_row_drawn_as_down_is_the_one_of_the_hemisphere(data):
    north, south = (
        images(
            FAST_plot_pitch_angle_grid(
                data["ees"], hemisphere=each, categories=("down", "up")
            )
        )
        for each in ("north", "south")
    )
    np.testing.assert_array_equal(north[0].cells.values, south[1].cells.values)
    assert not np.array_equal(
        north[0].cells.values, south[0].cells.values, equal_nan=True
    )


@pytest.mark.parametrize("hemisphere", ["east", 1, lambda times: np.zeros(2)])
def test_no_hemisphere(data, hemisphere):
    with pytest.raises(ValueError, match="hemisphere"):
        FAST_plot_pitch_angle_grid(data["ees"], hemisphere=hemisphere)


# limits and labels


def test_labels_and_titles_come_from_the_data(data):
    found = texts(FAST_plot_pitch_angle_grid(data["ies"]))
    assert (
        found[0]
        == "FAST ESA ions, survey, orbit 13519, 2000-01-19 23:45:00 to 23:49:30 UTC"
    )
    assert (
        found.count("Energy (eV)") == 4
        and found.count("Differential energy flux\n(eV/(cm² s sr eV))") == 4
    )


def test_counts_are_labelled_counts(archive):
    truth = archive[1]["ees"]
    figure = FAST_plot_pitch_angle_grid(truth.path, quantity="counts")
    assert (
        texts(figure).count("Counts") == 4
        and np.nanmax(images(figure)[0].cells.values) < 1e4
    )


def test_labels_of_all_and_of_single_rows(data):
    figure = FAST_plot_pitch_angle_grid(
        data["ees"],
        z_label="Flux",
        y_label="E (eV)",
        title="mine",
        limits={"up": {"z_label": "Up flux", "title": "rising", "z_min": None}},
    )
    found = texts(figure)
    assert (
        found[0] == "mine"
        and found.count("Flux") == 3
        and found.count("Up flux") == 1
        and found.count("E (eV)") == 4
        and "rising" in found
    )


def test_limits_of_a_row_come_before_those_of_all(data):
    sources = {name: data[name] for name in ("ees", "ies")}
    figure = FAST_plot_instrument_grid(
        sources,
        y_min=7.0,
        y_max=777.0,
        z_max=1e8,
        limits={
            "ies": {"y_max": 4321.0, "z_min": 3e3, "z_max": 3e7},
            "ieb": {"y_max": 5.0},
        },
    )
    ees, ies = images(figure)
    assert ees.axes.get_ylim() == (7.0, 777.0) and ees.get_clim()[1] == 1e8
    assert ies.axes.get_ylim() == (7.0, 4321.0) and ies.get_clim() == (3e3, 3e7)


def test_log_limits_are_in_units_of_the_plot(data):
    (image,) = images(
        FAST_plot_pitch_angle_grid(
            data["ees"],
            y_scale="log",
            z_scale="log",
            y_max=4050.0,
            z_min=1e4,
            z_max=1e7,
            categories=("all",),
        )
    )
    assert (
        image.axes.get_yscale() == "log"
        and image.axes.get_ylim()[1] == 4050.0
        and image.norm(1e7) == 1
        and image.norm(10**5.5) == pytest.approx(0.5)
    )


@pytest.mark.parametrize(
    "limits, words",
    [
        ({"sideways": {}}, "sideways"),
        ({"up": {"ymax": 3}}, "ymax"),
        ({"up": {"values": 3}}, "values"),
        ({"up": {"z_min": 5.0, "z_max": 4.0}}, "z_min 5.0"),
    ],
)
def test_slips_in_limits_are_named(data, limits, words):
    with pytest.raises(ValueError, match=words):
        FAST_plot_pitch_angle_grid(data["ees"], limits=limits)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    channel=st.integers(1, 45),
    error=st.floats(-0.002, 0.002),
    record=st.sampled_from([5, 50]),
)
def test_a_limit_at_a_centre_includes_the_channel(data, channel, error, record):
    centre = float(data["ees"].energy.values[record, channel])
    row = flux_row(data["ees"], y_min=centre * (1 - error), y_max=centre * (1 + error))
    cells = plots.make_cells(
        row["time"], row["energy"], row["values"], row["energy_width"]
    )
    table = cells.tables[cells.mode[record]]
    inside = np.flatnonzero((table.low <= centre) & (centre < table.high))[0]
    assert (
        row["y_min"] <= table.low[inside] < centre < table.high[inside] <= row["y_max"]
    )
    assert row["y_max"] / row["y_min"] < 1.5


def test_other_limits_stay(data):
    centres = np.unique(
        data["ees"].energy.values[np.isfinite(data["ees"].energy.values)]
    )
    between = np.sqrt(centres[:-1] * centres[1:])[(np.diff(np.log(centres)) > 0.03)][5]
    row = flux_row(data["ees"], y_min=between / 50, y_max=between)
    assert row["y_max"] == between


def test_a_file_without_widths_can_be_drawn(data):
    figure = FAST_plot_pitch_angle_grid(
        data["ees"].assign(energy_width=np.nan * data["ees"].energy_width), y_max=1500.0
    )
    assert np.isfinite(
        images(figure)[0].cells.value_at(unix_time(data["ees"].time.values[3]), 100.0)
    )


# rows


@pytest.mark.parametrize("grid", ["pitch", "instrument"])
def test_a_row_without_data_is_kept(data, grid):
    empty = data["ies"].copy()
    empty["eflux"] = empty.eflux * np.nan
    figure = (
        FAST_plot_pitch_angle_grid(empty)
        if grid == "pitch"
        else FAST_plot_instrument_grid({"ees": data["ees"], "ies": empty})
    )
    says = [
        ax.get_title("left")
        for ax in figure.axes
        if any(text.get_text() == "no data" for text in ax.texts)
    ]
    assert says == (
        [category_title(each) for each in CATEGORIES]
        if grid == "pitch"
        else ["ies: ions, survey"]
    )
    drawn_pixels(figure, 50)


def test_rows_are_in_the_order_asked_for_on_one_time_axis(data):
    late = data["ies"].isel(time=slice(30, None))
    figure = FAST_plot_instrument_grid({"ies": late, "ees": data["ees"]}, category="up")
    ies, ees = images(figure)
    np.testing.assert_array_equal(ies.cells.values, category_mean(late, "up"))
    assert [image.axes.get_title("left") for image in (ies, ees)] == [
        "ies: ions, survey",
        "ees: electrons, survey",
    ] and ies.axes.get_xlim() == ees.axes.get_xlim()
    assert (
        FAST_plot_pitch_angle_grid(data["ees"], categories=("up", "all"))
        .axes[0]
        .get_title("left")
        .startswith("up")
    )


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda data: FAST_plot_pitch_angle_grid(
                data["ees"], categories=("down", "sideways")
            ),
            "sideways",
        ),
        (lambda data: FAST_plot_pitch_angle_grid(data["ees"], categories=()), "no row"),
        (lambda data: FAST_plot_instrument_grid({}), "no instrument"),
        (
            lambda data: FAST_plot_instrument_grid({"ees": data["ies"]}),
            "is given as ees",
        ),
        (lambda data: FAST_plot_instrument_grid({"xyz": data["ies"]}), "xyz"),
        (
            lambda data: FAST_plot_pitch_angle_grid(data["ees"], y_scale="square"),
            "square",
        ),
        (
            lambda data: FAST_plot_pitch_angle_grid(
                data["ees"], cusp=data["ees"].time.values[:2], cusp_marker_style="star"
            ),
            "star",
        ),
    ],
)
def test_what_cannot_be_drawn_is_named(data, call, words):
    with pytest.raises(ValueError, match=words):
        call(data)


def test_a_damaged_file_is_named(archive):
    path = find_orbits(archive[0])[13601]["ees"]
    for call in (
        lambda: FAST_plot_pitch_angle_grid(path),
        lambda: FAST_plot_instrument_grid({"ees": str(path)}),
    ):
        with pytest.raises(EmptyFile, match=path.name):
            call()


def test_a_picture_does_not_depend_on_those_before_it(data):
    def picture(part):
        figure = FAST_plot_pitch_angle_grid(data[part], **SMALL)
        return png_bytes(drawn_pixels(figure, 60), 60)

    first, other, again = map(picture, ("ees", "ies", "ees"))
    assert first == again != other


def test_no_figure_is_left_behind(data):
    before = plt.get_fignums()
    drawn_pixels(FAST_plot_pitch_angle_grid(data["ees"]), 30)
    assert plt.get_fignums() == before


# cusp


def lines(ax, label):
    return [line for line in ax.lines if line.get_label() == label]


@pytest.mark.parametrize(
    "style, upright, level", [("line", 2, 0), ("bracket", 2, 1), ("both", 4, 1)]
)
def test_markers_lie_at_the_crossing_with_a_rim(data, cusps, style, upright, level):
    ees = data["ees"]
    figure = FAST_plot_pitch_angle_grid(
        ees, cusp=cusps, cusp_marker_style=style, **SMALL
    )
    start, end = (
        unix_time(ees[name].values[ees.record.values == record])[0] / 86400
        for name, record in (("time_start", 30), ("time_end", 40))
    )
    for ax in figure.axes[:8]:
        for label, colour in (("event", "#e31a1c"), ("_rim", "white")):
            found = lines(ax, label)
            vertical = [
                line for line in found if line.get_xdata()[0] == line.get_xdata()[1]
            ]
            assert (
                len(vertical) == upright
                and len(found) - len(vertical) == level
                and {line.get_color() for line in found} == {colour}
            )
            assert {float(x) for line in found for x in line.get_xdata()} == {
                start,
                end,
            }
        assert min(line.get_linewidth() for line in lines(ax, "_rim")) > min(
            line.get_linewidth() for line in lines(ax, "event")
        )


def test_the_zoom_column_appears_with_the_crossing_only(data, cusps):
    ees, none = (
        data["ees"],
        Cusp(np.datetime64("NaT"), np.datetime64("NaT"), "not in the table"),
    )
    for nothing in (None, none, cusps[:0], {"ies": (0.0, 1.0)}, {"ees": None}):
        figure = FAST_plot_pitch_angle_grid(ees, cusp=nothing)
        assert len(images(figure)) == 4 and not lines(figure.axes[0], "event")
    assert (
        len(
            images(
                FAST_plot_pitch_angle_grid(ees, cusp=cusps, zoom_duration_minutes=None)
            )
        )
        == 4
    )
    figure = FAST_plot_pitch_angle_grid(ees, cusp=cusps)
    assert len(images(figure)) == 8 and tuple(figure.get_size_inches()) == (24, 12)
    low, high = np.array(images(figure)[1].axes.get_xlim()) * 86400
    assert high - low == pytest.approx(360, abs=1e-3) and (
        low + high
    ) / 2 == pytest.approx(np.mean(cusp_span(cusps, ees)), abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1e4), st.floats(1, 1e5), st.floats(0.1, 100))
def test_the_zoom_holds_the_crossing(start, length, minutes):
    low, high = cusp_zoom([(start, start + length)], minutes)
    assert (
        high - low == pytest.approx(max(60 * minutes, 1.5 * length))
        and low <= start
        and start + length <= high
    )


def test_each_instrument_has_its_own_crossing(data, cusps):
    moved = cusps.copy()
    moved.loc[moved["kind"] == "ies", ["first", "last"]] = 33, 45
    for cusp in (moved, {name: cusp_span(moved, data[name]) for name in data}):
        figure = FAST_plot_instrument_grid(data, cusp=cusp)
        edges = [
            sorted({float(x) for line in lines(ax, "event") for x in line.get_xdata()})
            for ax in figure.axes[:8:2]
        ]
        ees, _, ies, _ = edges
        assert ies[0] > ees[0] and ies[1] > ees[1] and edges[1] == ees
        low, high = np.array(figure.axes[1].get_xlim()) * 86400
        assert (low + high) / 2 == pytest.approx(
            (ees[0] + ies[1]) / 2 * 86400, abs=1e-3
        )


def test_a_crossing_outside_the_records_is_refused(data):
    with pytest.raises(ValueError, match="1999-01-01"):
        FAST_plot_pitch_angle_grid(
            data["ees"], cusp=(np.datetime64("1999-01-01"), np.datetime64("1999-01-02"))
        )
    with pytest.raises(ValueError, match="ends before"):
        FAST_plot_pitch_angle_grid(data["ees"], cusp=data["ees"].time.values[[9, 3]])


def test_times_of_the_two_columns_do_not_meet(data, cusps):
    figure = FAST_plot_pitch_angle_grid(
        data["ees"], cusp=cusps, zoom_duration_minutes=2
    )
    drawn_pixels(figure, 60)
    left, right = (
        [
            label.get_window_extent()
            for label in ax.get_xticklabels()
            if label.get_text()
        ]
        for ax in figure.axes[6:8]
    )
    assert max(box.x1 for box in left) < min(box.x0 for box in right)


@pytest.mark.parametrize(
    "z_scale, size, font_size",
    [("log", None, 12.0), ("linear", (8, 6), 8.0), ("linear", (13, 8), 10.0)],
)
def test_every_word_is_inside_the_figure(data, cusps, z_scale, size, font_size):
    for cusp in (None, cusps):
        figure = FAST_plot_instrument_grid(
            {name: data[name] for name in ("ees", "ieb")},
            category="down",
            cusp=cusp,
            z_scale=z_scale,
            y_scale="log",
            size=size,
            font_size=font_size,
        )
        drawn_pixels(figure, figure.dpi)
        for ax in figure.axes:
            box, title = ax.get_tightbbox(), figure.texts[0].get_window_extent()
            assert 0 <= title.x0 and title.x1 <= figure.bbox.x1
            assert (
                0 <= box.x0
                and box.x1 <= figure.bbox.x1
                and 0 <= box.y0
                and box.y1 <= figure.bbox.y1
            ), (ax.get_ylabel(), box)
            if ax.yaxis.get_label_position() == "right":
                assert (
                    max(label.get_window_extent().x1 for label in ax.get_yticklabels())
                    < ax.yaxis.label.get_window_extent().x0
                )


def test_the_crossing_is_named_in_the_first_row_that_has_one(data):
    span = data["ies"].time_start.values[10], data["ies"].time_end.values[20]
    figure = FAST_plot_instrument_grid(
        {name: data[name] for name in ("ees", "eeb", "ies")},
        cusp={"ies": span},
        zoom_duration_minutes=None,
        size=(7, 5),
    )
    assert [
        [text.get_text() for text in ax.texts].count("cusp") for ax in figure.axes[:3]
    ] == [0, 0, 1]
    figure = FAST_plot_instrument_grid(
        {name: data[name] for name in ("ees", "ies")},
        cusp={"ees": span, "ies": span},
        zoom_duration_minutes=None,
        size=(7, 5),
    )
    assert [
        [text.get_text() for text in ax.texts].count("cusp") for ax in figure.axes[:2]
    ] == [1, 0]


@pytest.mark.parametrize(
    "wrong, match",
    [
        ({"colormap": "virdis"}, "no colour map 'virdis'"),
        ({"cusp_marker_style": "dots"}, "cusp_marker_style is 'dots'"),
        ({"zoom_duration_minutes": -5}, "the zoom is -5 minutes"),
        ({"zoom_duration_minutes": float("nan")}, "the zoom is nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_and_without_crossing(
    data, cusps, wrong, match
):
    for cusp in (None, cusps):
        with pytest.raises(ValueError, match=match):
            FAST_plot_pitch_angle_grid(data["ees"], cusp=cusp, **wrong)


def test_a_dataset_without_records_is_refused(data):
    with pytest.raises(ValueError, match=f"{data['ees'].attrs['file']} has no records"):
        FAST_plot_pitch_angle_grid(data["ees"].isel(time=slice(0, 0)))


# browser


@pytest.fixture(scope="module")
def opened(archive):
    explorer = OrbitExplorer(archive[0], size=(7, 5), dpi=40)
    explorer.controls["category"].value = "up"
    explorer.as_opened = explorer.settings()
    return explorer


@pytest.fixture
def explorer(opened, tmp_path):
    "The browser as it was opened, with one row; it is opened only once, to save time."
    opened.controls["folder"].value = str(tmp_path)
    yield opened
    for name, value in opened.as_opened.items():
        if name != "folder" and opened.controls[name].value != value:
            opened.controls[name].value = value


def shown(figure):
    return png_bytes(drawn_pixels(figure, 40), 40)


DIRECT = {"y_scale": "log", "font_size": 9.0}
UP = DIRECT | {"categories": ("up",), "size": (7, 5 * 1.5 / 4.5)}


@pytest.mark.parametrize(
    "control, value, keywords",
    [
        ("y_scale", "linear", {"y_scale": "linear"}),
        ("z_scale", "linear", {"z_scale": "linear"}),
        ("zoom", "1", {"zoom_duration_minutes": 1.0}),
        ("zoom", "", {"zoom_duration_minutes": None}),
        ("marker", "line", {"cusp_marker_style": "line"}),
        ("colormap", "plasma", {"colormap": "plasma"}),
        ("hemisphere", "south", {"hemisphere": "south"}),
    ],
)
def test_a_control_draws_what_the_function_draws(
    explorer, data, cusps, control, value, keywords
):
    before = explorer.image.value
    explorer.controls[control].value = value
    assert explorer.image.value != before and not explorer.message.value
    assert explorer.image.value == shown(
        FAST_plot_pitch_angle_grid(data["ees"], cusp=cusps, **UP | keywords)
    )


def test_rows_of_the_browser(explorer, data, cusps):
    assert explorer.image.value == shown(
        FAST_plot_pitch_angle_grid(data["ees"], cusp=cusps, **UP)
    )
    explorer.controls["category"].value = explore.EVERY_CATEGORY
    assert explorer.image.value == shown(
        FAST_plot_pitch_angle_grid(data["ees"], cusp=cusps, size=(7, 5), **DIRECT)
    )
    explorer.controls["instrument"].value, explorer.controls["category"].value = (
        EVERY_INSTRUMENT,
        "up",
    )
    assert explorer.image.value == shown(
        FAST_plot_instrument_grid(
            data, category="up", cusp=cusps, size=(7, 5), **DIRECT
        )
    )


def test_given_limits_of_the_browser(explorer, data, cusps):
    explorer.controls["limits"].value = GIVEN
    assert not explorer.controls["z_max"].disabled
    explorer.controls["z_max"].value, explorer.controls["y_max"].value = "1e8", "2000"
    assert explorer.image.value == shown(
        FAST_plot_pitch_angle_grid(
            data["ees"], z_max=1e8, y_max=2000.0, cusp=cusps, **UP
        )
    )
    for text in ("-1", "nan", "inf", "x"):
        explorer.controls["z_max"].value = text
        assert (
            explorer.figure is None
            and explorer.image.value == b""
            and "z_max" in explorer.message.value
        ), text
    explorer.controls["z_max"].value = ""
    assert explorer.figure is not None and not explorer.message.value


@pytest.mark.parametrize("text", ["-3", "1e9", "nan", "inf", "soon"])
def test_a_zoom_that_is_none_is_a_sentence(explorer, text):
    explorer.controls["zoom"].value = text
    assert explorer.figure is None and "the zoom is" in explorer.message.value


def test_limits_of_an_archive(archive, data):
    extrema = {
        "ees_log_log_y_max": 3000.0,
        "ees_log_log_z_max": 2e6,
        "ies_log_log_z_max": 3e6,
    }
    paths = {name: archive[1][name].path for name in ("ees", "ies")}
    explorer = OrbitExplorer({13519: paths}, extrema=extrema, size=(7, 5), dpi=40)
    explorer.controls["category"].value = "up"
    explorer.controls["limits"].value = explore.ARCHIVE
    assert explorer.image.value == shown(
        FAST_plot_pitch_angle_grid(data["ees"], y_max=3000.0, z_max=2e6, **UP)
    )
    explorer.controls["instrument"].value = EVERY_INSTRUMENT
    limits, size = (
        {"ees": {"y_max": 3000.0, "z_max": 2e6}, "ies": {"z_max": 3e6}},
        (7, 5 * 2.5 / 4.5),
    )
    assert explorer.image.value == shown(
        FAST_plot_instrument_grid(
            {name: data[name] for name in paths},
            category="up",
            limits=limits,
            **DIRECT | {"size": size},
        )
    )


def test_damaged_files_are_sentences(explorer, archive, capsys):
    seen = []
    for orbit, files in list(explorer.orbits.items())[1:]:
        explorer.buttons["next ▶"].click()
        assert (
            explorer.controls["orbit"].value == orbit
            and explorer.figure is None
            and explorer.image.value == b""
        )
        assert files["ees"].name in explorer.message.value and not explorer.kept
        seen.append(explorer.message.value)
        explorer.save()
        assert "no picture" in explorer.message.value
    assert all(
        f"({kind})" in words
        for kind, words in zip(("truncated", "empty", "not-cdf"), seen)
    )
    explorer.buttons["next ▶"].click()
    assert explorer.controls["orbit"].value == 13602
    for _ in range(5):
        explorer.buttons["◀ previous"].click()
    assert (
        explorer.controls["orbit"].value == 13519
        and explorer.figure is not None
        and not explorer.message.value
    )
    assert capsys.readouterr() == ("", "")


def test_an_instrument_that_is_not_there_or_damaged(archive, data, cusps):
    broken = find_orbits(archive[0])[13600]["ees"]
    explorer = OrbitExplorer(
        {1: {"ees": archive[1]["ees"].path, "ies": broken}, 2: {"ees": broken}},
        cusps,
        size=(7, 5),
        dpi=40,
    )
    explorer.controls["instrument"].value = EVERY_INSTRUMENT
    assert (
        "ies is left out" in explorer.message.value
        and broken.name in explorer.message.value
        and len(images(explorer.figure)) == 2
    )
    explorer.controls["orbit"].value, explorer.controls["instrument"].value = 2, "ies"
    assert "no file of ies, only of ees" in explorer.message.value


def test_words_of_a_file_are_not_markup(archive, tmp_path):
    path = tmp_path / "<b>x"
    path.mkdir()
    (path / "fa_esa_l2_ees_20000119234500_00001_v02.cdf").write_bytes(
        b"<script>alert(1)</script>"
    )
    explorer = OrbitExplorer(path)
    assert "<script" not in explorer.message.value and "<script" in html.unescape(
        explorer.message.value
    )


def test_only_the_orbit_on_view_is_kept(archive, tmp_path):
    for orbit in (1, 2):
        simulate_cdf(tmp_path, "ees", orbit, records=8, spoil=False)
    explorer = OrbitExplorer(tmp_path, size=(5, 5), dpi=40)
    (first,) = explorer.kept.values()
    explorer.controls["y_scale"].value = "linear"
    assert explorer.kept and next(iter(explorer.kept.values())) is first
    explorer.step(1)
    assert [path.name for path in explorer.kept] == [
        "fa_esa_l2_ees_20000119234500_00002_v02.cdf"
    ]


def test_the_picture_is_saved_whole_or_not_at_all(explorer, tmp_path):
    explorer.buttons["save"].click()
    assert [path.name for path in tmp_path.iterdir()] == [
        "13519_pitch-angle_ESA_ees_up_y-log_z-log-viridis.png"
    ]
    (tmp_path / "file").write_text("")
    explorer.controls["folder"].value = str(tmp_path / "file")
    explorer.buttons["save"].click()
    assert (
        explorer.message.value.startswith("not saved")
        and len(list(tmp_path.iterdir())) == 2
        and explorer.figure is not None
    )


def test_an_empty_archive_is_refused(tmp_path):
    with pytest.raises(ValueError, match="fa_esa_l2"):
        OrbitExplorer(tmp_path)
    with pytest.raises(NotADirectoryError):
        OrbitExplorer(tmp_path / "nowhere")


def test_limits_of_an_archive_with_other_scales_are_a_sentence(archive, data, tmp_path):
    extrema = {
        "ees_linear_log_y_max": 2990.0,
        "ees_linear_log_z_max": 1.92e6,
        "ies_log_linear_z_max": 3e6,
    }
    paths = {name: archive[1][name].path for name in ("ees", "ies")}
    explorer = OrbitExplorer(
        {13519: paths}, extrema=extrema, size=(7, 5), dpi=40, export_folder=tmp_path
    )
    assert [explorer.controls[name].value for name in ("y_scale", "z_scale")] == [
        "log",
        "linear",
    ], "the first for which there are limits"
    explorer.controls["category"].value = "up"
    explorer.controls["limits"].value = explore.ARCHIVE
    assert (
        explorer.figure is None
        and explorer.message.value
        == "no limits for ees with log/linear; there are linear/log"
    )
    explorer.controls["y_scale"].value, explorer.controls["z_scale"].value = (
        "linear",
        "log",
    )
    assert explorer.image.value == shown(
        FAST_plot_pitch_angle_grid(
            data["ees"], y_max=3000.0, z_max=2e6, **UP | {"y_scale": "linear"}
        )
    )
    explorer.controls["instrument"].value = "ies"
    assert (
        explorer.message.value
        == "no limits for ies with linear/log; there are log/linear"
    )


def test_saving_twice_keeps_both(explorer, tmp_path):
    explorer.save()
    explorer.controls["hemisphere"].value = "south"
    explorer.save()
    first, second = sorted(tmp_path.glob("*.png"), key=lambda path: len(path.name))
    assert (
        second.stem == f"{first.stem}-2"
        and second.name in explorer.message.value
        and first.read_bytes() != second.read_bytes()
    )
