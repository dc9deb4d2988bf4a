"""Cells: each at its own time and energy, and so in the pixels."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lunar_potential.view.spectrogram.cells import (
    channel_table,
    close_holes,
    finite_mean,
    intervals,
    make_cells,
    pixels,
)

steps = st.lists(
    st.sampled_from([0.08, 0.1, 1.0, 1.03, 2.5, 2.6, 80.0, 700.0])
    | st.floats(0.01, 1e4),
    min_size=1,
    max_size=30,
)


@given(steps)
def test_each_centre_lies_in_its_own_cell_and_cells_do_not_overlap(steps):
    centres = np.cumsum([0.0, *steps])
    low, high = intervals(centres)
    assert (low < high).all() and (low <= centres).all() and (centres <= high).all()
    assert (high[:-1] <= low[1:]).all() and (np.diff(low) > 0).all()


@given(steps, st.floats(0.1, 10), st.floats(-100, 100))
def test_edges_move_and_stretch_with_the_centres(steps, factor, shift):
    centres = np.cumsum([0.0, *steps])
    change = np.abs(np.diff(np.log(np.diff(centres))))
    gaps = np.diff(centres)
    assume(len(change) < 2 or np.abs(np.diff(change)).min() > 1e-6)
    assume(len(gaps) < 2 or np.abs(np.diff(gaps)).min() > 1e-6)
    low, high = intervals(centres)
    hole = (low[1:] - high[:-1]) / np.minimum((high - low)[1:], (high - low)[:-1])
    assume((np.abs(hole - 0.6) > 0.2).all())
    for one, other in zip((low, high), intervals(factor * centres + shift)):
        np.testing.assert_allclose(
            factor * one + shift, other, atol=1e-6 * factor * max(steps)
        )


@given(st.integers(2, 40), st.floats(0.05, 1e3), st.integers(0, 10))
def test_regular_records_touch_and_missing_ones_leave_their_own_place(
    count, step, lost
):
    centres = step * np.arange(count)
    low, high = intervals(centres)
    assert np.allclose(low, centres - step / 2) and np.allclose(
        high, centres + step / 2
    )
    kept = np.delete(centres, slice(count // 2, count // 2 + lost))
    if len(kept) > 3 and 1 < count // 2 < count - lost - 1:
        low, high = intervals(kept)
        assert np.allclose(low, kept - step / 2) and np.allclose(high, kept + step / 2)


def test_known_starts_and_ends_are_kept_and_small_holes_closed():
    low, high = close_holes([0, 10, 20.5, 40], [10, 20, 30, 50])
    assert low.tolist() == [0, 10, 20.25, 40] and high.tolist() == [10, 20.25, 30, 50]
    low, high = close_holes([0, 8, 16], [10, 18, 26])
    assert low.tolist() == [0, 9, 17] and high.tolist() == [9, 17, 26]


def test_cadence_changes_without_a_slit():
    slow, fast = 20.0 * np.arange(10), 192.5 + 5.0 * np.arange(10)
    low, high = intervals(np.concatenate([slow, fast]))
    assert np.allclose(low[1:], high[:-1]) and low[10] == pytest.approx(190)


def test_a_lone_record_between_gaps_is_as_wide_as_its_neighbours():
    low, high = intervals([0, 1, 2, 100, 200, 201])
    assert (high - low).tolist() == [1, 1, 1, 1, 1, 1]


def test_channel_widths_win_over_centres():
    table = channel_table([100.0, 50.0, np.nan, 7.0], [20.0, 30.0, 5.0, 0.0])
    assert (
        np.allclose(table.low, [35, 90])
        and np.allclose(table.high, [65, 110])
        and [c.tolist() for c in table.channels] == [[1], [0]]
    )


def test_channels_of_one_energy_show_their_mean():
    cells = make_cells([0.0, 1], [8.0, 4.0, 4.0, 4.0], [[1, 2, 4, np.nan]] * 2)
    assert (
        cells.value_at(0, 4.0) == 3
        and cells.value_at(0, 8.0) == 1
        and len(cells.tables[0].low) == 2
    )


def test_octave_tables_with_linear_steps_have_no_gaps():
    table = channel_table(np.array([8, 7, 6, 5, 4, 3.5, 3, 2.5, 2]) * 10)
    assert np.allclose(table.low[1:], table.high[:-1])


def test_energies_that_come_back_share_their_table():
    energy = np.array([[1.0, 2], [1, 2], [1, 3], [1, 2], [np.nan, 2], [np.nan, 2]])
    cells = make_cells(np.arange(6), energy, np.ones((6, 2)))
    assert (
        len(cells.tables) == 3
        and cells.mode[0] == cells.mode[1] == cells.mode[3]
        and cells.mode[4] == cells.mode[5]
    )


def grey(values):
    "Values as grey levels, NaN transparent."
    shades = [np.nan_to_num(values)] * 3 + [255 * np.isfinite(values)]
    return np.stack(shades, -1).astype(np.uint8)


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
    cells = make_cells(starts, energy, values)
    x, y = np.linspace(-1, starts[-1] + 2, 37) + 0.013, np.geomspace(7, 99, 23)
    picture = pixels(cells, x, y, np.full(len(starts), -1), grey)
    expected = np.array([[cells.value_at(u, v) for u in x] for v in y])
    np.testing.assert_array_equal(picture[..., 3] == 255, np.isfinite(expected))
    np.testing.assert_array_equal(
        picture[..., 0], np.nan_to_num(expected).astype(np.uint8)
    )


@given(st.permutations(range(6)))
@settings(max_examples=20)
def test_the_order_of_channels_does_not_matter(order):
    energy, values = np.geomspace(5, 500, 6), np.arange(1.0, 25).reshape(4, 6)
    one = make_cells(np.arange(4), energy, values)
    other = make_cells(np.arange(4), energy[list(order)], values[:, list(order)])
    x, y, nowhere = np.linspace(-1, 4, 20), np.geomspace(3, 900, 30), np.full(4, -1)
    np.testing.assert_array_equal(
        pixels(one, x, y, nowhere, grey), pixels(other, x, y, nowhere, grey)
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
    cells = make_cells(np.arange(records) + 0.5, [1.0, 2.0], values)
    width = records / columns
    x = (np.arange(columns) + 0.5) * width
    centre = np.minimum((np.arange(records) + 0.5) // width, columns - 1).astype(int)
    seen = {}
    pixels(
        cells,
        x,
        np.array([1.0, 2.0]),
        centre,
        lambda v: seen.setdefault("v", v) is None or grey(v),
    )
    for column in range(columns):
        mine = values[centre == column]
        mine = mine if len(mine) else values[[int(x[column])]]
        expected = finite_mean(mine, 0)
        np.testing.assert_allclose(seen["v"][column], expected, equal_nan=True)


def test_a_burst_narrower_than_a_pixel_is_not_lost():
    cells = make_cells(
        np.array([[0, 1], [49.9, 50.0], [99, 100]], float), [1.0], [[1], [200], [1]]
    )
    picture = pixels(
        cells,
        np.arange(0.5, 100, 2),
        np.array([1.0]),
        (np.array([0.5, 49.95, 99.5]) // 2).astype(int),
        grey,
    )
    assert picture[0, 24, 0] == 200 and (picture[0, 1:24, 3] == 0).all()
