"""`ERData`: constants are masked and counted exactly, every sweep is accounted for."""

import os
import pickle
import random

import numpy as np
import pandas as pd
import pytest
from er_tables import N_SWEEPS, THETA, clean, make_rows, quick, written
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.data.archive import ArchiveError
from lunar_potential.data.er.counts import count_error, count_factor, pseudo_counts
from lunar_potential.data.er.erdata import ERData, concat, plot_spectra, plot_sweep
from lunar_potential.data.er.sweeps import MASK_LABELS, REASON_COLUMNS
from lunar_potential.data.er.table import COLUMNS, write_er_table
from lunar_potential.units import Flag


@pytest.fixture(scope="module")
def tmp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables with a blank")
    clean(folder)
    return folder


def test_files_without_any_row(tmp):
    for content in (
        b"",
        b"\r\n \n",
        b"\x00" * 5000,
        b"<html>\n" * 4000,
        b"\n".join([b"1 " * 182] * 3),
        random.Random(0).randbytes(50000),
    ):
        (tmp / "none.tab").write_bytes(content)
        data = ERData.from_files([tmp / "none.tab"], THETA)
        assert data.n_sweeps == 0 and data.reasons.lost.all() and len(data.reasons) >= 1
        assert dict(data.reasons.dtypes.astype(str)) == REASON_COLUMNS
        assert data.padded()["phi"].shape == (0, 15, 88) and data.to_frame().shape == (
            0,
            184,
        )


def test_a_file_with_a_column_too_few(tmp):
    lines, _ = clean(tmp)
    (tmp / "few.tab").write_bytes(
        b"".join(b" ".join(line.split()[:-1]) + b"\n" for line in lines)
    )
    data = ERData.from_files([tmp / "few.tab"], THETA)
    assert (
        data.n_sweeps == 0
        and set(data.reasons.spec_no) == set(range(1, N_SWEEPS + 1))
        and data.reasons.lost.all()
    )
    assert set(data.reasons.reason) == {"182 fields instead of 183"}


def test_missing_files_and_folders_are_archive_errors(tmp):
    for path in (tmp / "absent.tab", tmp):
        with pytest.raises(ArchiveError, match="cannot be read"):
            ERData.from_files([path], THETA)


def test_a_read_only_folder_is_enough(tmp, tmp_path):
    folder = tmp_path / "read only"
    folder.mkdir()
    path = write_er_table(folder / "3D980401.TAB", **make_rows())
    path.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert ERData.from_files([path], THETA).n_sweeps == N_SWEEPS
        assert os.listdir(folder) == ["3D980401.TAB"]
    finally:
        folder.chmod(0o755)


# --- missing-data constants


@quick
@given(
    st.lists(
        st.tuples(
            st.integers(0, 15 * N_SWEEPS - 1), st.integers(0, 87), st.integers(0, 3)
        ),
        max_size=40,
        unique_by=lambda hit: (hit[:2], hit[2] > 1),
    )
)
def test_constants_are_masked_and_counted_exactly(tmp, hits):
    clean_table = clean(tmp)[1]

    def put(rows):
        for row, cell, kind in hits:
            rows["flux" if kind < 2 else "phi"][row, cell] = (
                np.nan,
                -9.99e-99,
                np.nan,
                998.99,
            )[kind]

    data = written(tmp, put)
    labels = [MASK_LABELS[index] for index in (0, 1, 3, 4)]
    assert [data.masked[label] for label in labels] == [
        sum(hit[2] == kind for hit in hits) for kind in range(4)
    ]
    assert data.masked["flux not finite"] == data.masked["phi not finite"] == 0
    for name, kinds, raw in (
        ("flux", (0, 1), clean_table.flux),
        ("phi", (2, 3), clean_table.phi),
    ):
        gone = np.zeros(raw.shape, bool)
        for row, cell, kind in hits:
            gone[row, cell] |= kind in kinds
        assert np.array_equal(
            data.ds[name].values, np.where(gone, np.nan, raw), equal_nan=True
        )
    flagged = {row // 15 for row, _, _ in hits}
    assert set(np.flatnonzero(data.flags & Flag.MASKED_CELLS)) == flagged


@pytest.mark.parametrize(
    "token, expected",
    [
        (b"9.999E-99", "flux 9.999E-99"),
        (b"-9.99E-99", "flux -9.99E-99"),
        (b"NaN", "flux not finite"),
        (b"inf", "flux not finite"),
    ],
)
def test_constants_in_any_column_position(tmp, token, expected):
    lines, _ = clean(tmp)
    for loose in (False, True):  # a file of fixed width, and one of single blanks
        line = lines[3][:82] + token.rjust(10) + lines[3][92:]
        content = [*lines[:3], line, *lines[4:]]
        if loose:
            content = [b" ".join(line.split()) for line in content]
        (tmp / "constant.tab").write_bytes(b"\r\n".join(content) + b"\r\n")
        data = ERData.from_files([tmp / "constant.tab"], THETA)
        assert (
            data.masked[expected] == sum(data.masked.values()) == 1
            and np.isnan(data.ds.flux.values[3, 0])
            and data.reasons.empty
        )


def test_zero_flux_is_a_measurement(tmp):
    data = written(tmp, lambda rows: rows["flux"].fill(0))
    assert (
        (data.ds.flux.values == 0).all()
        and (data.counts == 0).all()
        and (data.count_error == 1).all()
        and np.isfinite(data.rel_error).all()
    )


# --- sweeps


@quick
@given(st.permutations(range(15 * N_SWEEPS)))
def test_the_order_of_rows_does_not_matter(tmp, order):
    rows = make_rows()
    rows = {name: values[list(order)] for name, values in rows.items()}
    data = ERData.from_files([write_er_table(tmp / "shuffled.tab", **rows)], THETA)
    plain = ERData.from_files([tmp / "3D980401.TAB"], THETA)
    assert (
        data.sweep_len.tolist() == [15] * N_SWEEPS
        and data.reasons.empty
        and not data.flags.any()
    )
    number = data.padded()["spec_no"]
    assert (np.diff(data.sweep_id) >= 0).all() and sorted(number) == list(
        range(1, N_SWEEPS + 1)
    )
    back = np.argsort(number)
    for name in ("energy", "flux", "phi", "utc", "b", "time"):
        assert np.array_equal(data.padded()[name][back], plain.padded()[name])


@quick
@given(st.sets(st.integers(0, 15 * N_SWEEPS - 1), max_size=60))
def test_every_sweep_is_kept_or_told(tmp, gone):
    lines, table = clean(tmp)
    broken = [b"lost" if at in gone else line for at, line in enumerate(lines)]
    (tmp / "gone.tab").write_bytes(b"\r\n".join(broken) + b"\r\n")
    data = ERData.from_files([tmp / "gone.tab"], THETA)
    left = np.bincount(
        np.setdiff1d(np.arange(len(lines)), list(gone)) // 15, minlength=N_SWEEPS
    )
    assert data.sweep_len.tolist() == left[left > 0].tolist()
    assert ((data.flags & Flag.SHORT_SWEEP) > 0).tolist() == (
        left[left > 0] < 15
    ).tolist()
    last = np.flatnonzero(left).max(initial=-1)
    assert set(data.reasons.spec_no[data.reasons.lost]) - {-1} == set(
        np.flatnonzero(left[: max(last, 0)] == 0) + 1
    )
    block = data.padded()
    assert (block["valid"].sum(1) == block["n_rows"]).all() and np.isnan(
        block["flux"][~block["valid"]]
    ).all()


def test_a_missing_line_touches_one_sweep_only(tmp):
    lines, table = clean(tmp)
    (tmp / "short.tab").write_bytes(b"\r\n".join(lines[:20] + lines[21:]) + b"\r\n")
    data, plain = (
        ERData.from_files([tmp / "short.tab"], THETA),
        ERData.from_files([tmp / "3D980401.TAB"], THETA),
    )
    assert data.sweep_len.tolist() == [15, 14] + [15] * (N_SWEEPS - 2)
    assert (data.flags == [0, Flag.SHORT_SWEEP] + [0] * (N_SWEEPS - 2)).all()
    others = np.array([0, *range(2, N_SWEEPS)])
    for name, values in data.padded().items():
        if name != "row":
            assert values[others].tobytes() == plain.padded()[name][others].tobytes()


def test_what_makes_no_sweep_has_a_reason(tmp):
    def spoil(rows):
        rows["energy"][5] = rows["energy"][6]
        rows["spec_no"][30:32] = 2
        rows["time"][30:32] = rows["time"][15]
        rows["spec_no"][47] = 6

    data = written(tmp, spoil)
    assert sorted(set(data.ds.spec_no.values)) == [
        3,
        4,
        5,
        6,
    ] and data.sweep_len.tolist() == [13, 14, 15, 15]
    table = data.reasons.set_index("spec_no")
    assert (
        table.reason[1].endswith("eV given twice")
        and table.lost[1]
        and table.n_rows[1] == 15
    )
    assert table.lost[2] and table.n_rows[2] == 17
    assert (
        table.reason[6].startswith("time differs")
        and not table.lost[6]
        and table.line[6] == 48
    )
    assert (data.flags[:2] == Flag.SHORT_SWEEP).all()


@pytest.mark.parametrize("energy", [b"NaN", b"0.000", b"-38.641", b"inf"])
def test_a_bad_energy_costs_its_row(tmp, energy):
    lines, _ = clean(tmp)
    line = lines[18][:34] + energy.rjust(11) + lines[18][45:]
    (tmp / "energy.tab").write_bytes(
        b"\r\n".join([*lines[:18], line, *lines[19:]]) + b"\r\n"
    )
    data = ERData.from_files([tmp / "energy.tab"], THETA)
    assert (
        data.sweep_len[1] == 14
        and data.flags[1] == Flag.SHORT_SWEEP | Flag.ENERGY_INVALID
        and not data.flags[[0, 2, 3]].any()
    )
    assert data.reasons[["spec_no", "line", "n_rows", "lost"]].values.tolist() == [
        [2, 19, 15, False]
    ]


@pytest.mark.parametrize("b", [np.nan, 0.0, 2000.0])
def test_a_bad_field_is_nan_and_flagged(tmp, b):
    data = written(
        tmp,
        lambda rows: rows["b"].__setitem__(
            (slice(15, 30), 1 if b != 0 else slice(None)), b
        ),
    )
    assert (
        np.isnan(data.padded()["b"][1]).all()
        and np.isfinite(data.padded()["b"][[0, 2, 3]]).all()
    )
    assert (
        data.flags == [0, Flag.NO_MAGNETIC_FIELD] + [0] * (N_SWEEPS - 2)
    ).all() and data.sweep_len[1] == 15


def test_the_field_of_a_sweep_is_that_of_its_first_good_row(tmp):
    data = written(tmp, lambda rows: rows["b"].__setitem__(slice(15, 17), np.nan))
    assert (
        np.array_equal(data.padded()["b"][1], data.ds.b.values[17])
        and data.flags[1] == Flag.NO_MAGNETIC_FIELD
    )


# --- frames, selections, joins


def test_frames_round_trip_in_any_order_and_are_not_changed(tmp):
    def put(rows):
        rows["flux"][3, 4], rows["phi"][5, 6], rows["b"][30] = np.nan, np.nan, np.nan

    frame = written(tmp, put).to_frame()
    mixed = frame[
        random.Random(1).sample(list(frame.columns), frame.shape[1])
    ].set_index(np.arange(len(frame))[::-1])
    before = pickle.dumps(mixed)
    again = ERData.from_dataframe(mixed, THETA)
    assert pickle.dumps(mixed) == before
    pd.testing.assert_frame_equal(again.to_frame(), frame, check_exact=True)
    assert list(frame.columns) == [*COLUMNS, "file"]


def test_frames_follow_the_rules_of_files(tmp):
    frame = (
        ERData.from_files([tmp / "3D980401.TAB"], THETA).to_frame().drop(columns="file")
    )
    frame["utc"] = frame["utc"].astype(str)
    frame.loc[3, "utc"], frame.loc[20, "spec_no"], frame.loc[40, "time"] = (
        "yesterday",
        -3,
        np.nan,
    )
    data = ERData.from_dataframe(frame.assign(flux_05=9.999e-99, phi_01=998.99), THETA)
    assert data.reasons.line.tolist() == [4, 21, 41] and data.sweep_len.tolist() == [
        14
    ] * 3 + [15] * (N_SWEEPS - 3)
    assert data.masked["flux 9.999E-99"] == data.masked[
        "phi 998.99"
    ] == 15 * N_SWEEPS - 3 and set(data.reasons.file) == {"dataframe"}
    for spoiled in (
        frame.drop(columns="bz"),
        frame.assign(utc=1.0),
        pd.concat([frame, frame[["bx"]]], axis=1),
    ):
        with pytest.raises(ValueError):
            ERData.from_dataframe(spoiled, THETA)


@settings(max_examples=12, deadline=None)
@given(st.permutations(range(2 * N_SWEEPS)), st.integers(0, 2 * N_SWEEPS))
def test_parts_join_to_the_whole(tmp, order, cut):
    write_er_table(tmp / "3D980402.TAB", **make_rows(seed=5, first=3))
    whole = ERData.from_files([tmp / "3D980401.TAB", tmp / "3D980402.TAB"], THETA)
    assert whole.ds.spec_id.values[::15].tolist() == [
        1,
        2,
        3,
        4,
        5,
        6,
        9,
        10,
        11,
        12,
        13,
        14,
    ]
    parts = [whole.select(order[:cut]), whole.select(order[cut:])]
    joined = concat(parts)
    assert (
        joined.padded()["spec_id"].tolist()
        == whole.padded()["spec_id"][list(order)].tolist()
    )
    back = joined.select(np.argsort(order))
    pd.testing.assert_frame_equal(back.to_frame(), whole.to_frame(), check_exact=True)
    assert pickle.loads(pickle.dumps(back)).masked == whole.masked


def test_selections_are_checked(tmp):
    data = ERData.from_files([tmp / "3D980401.TAB"], THETA)
    assert (
        len(data.select([])) == 0 and len(data.select(data.sweep_len == 15)) == N_SWEEPS
    )
    for wrong in ([0, 0], [-1], [N_SWEEPS], [0.0], [True]):
        with pytest.raises(ValueError):
            data.select(wrong)
    with pytest.raises(ValueError):
        concat([data, data])
    with pytest.raises(ValueError):
        concat([])
    with pytest.raises(ValueError, match="twice"):
        ERData.from_files([tmp / "3D980401.TAB"] * 2, THETA)
    assert len(ERData.from_files([], THETA)) == 0 and "0 sweeps" in repr(
        ERData.from_files([], THETA)
    )


# --- counts


@quick
@given(st.lists(st.integers(0, 500_000), min_size=88, max_size=88), st.floats(7, 20000))
def test_whole_counts_come_back(counts, energy):
    flux = np.array(counts) / (count_factor(THETA) * energy)
    np.testing.assert_allclose(pseudo_counts(flux, energy, THETA), counts, rtol=1e-12)


@quick
@given(st.lists(st.floats(-1e6, 1e12), min_size=88, max_size=88))
def test_errors_are_finite_and_never_below_one_count(flux):
    counts = pseudo_counts(np.array(flux), 100.0, THETA)
    error = count_error(counts)
    assert (
        (counts >= 0).all()
        and np.isfinite(error).all()
        and (error >= 1).all()
        and (error >= np.sqrt(counts)).all()
    )


# --- pictures


def test_poor_sweeps_can_be_drawn(tmp):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    def poor(rows):
        rows["flux"][0:15] = 0
        rows["flux"][15:30] = np.nan

    lines = written(tmp, poor)
    one_row = ERData.from_dataframe(lines.to_frame().iloc[[31]], THETA)
    for data, sweep in ((lines, 0), (lines, 1), (one_row, 0)):
        figure, (left, right) = plt.subplots(1, 2)
        assert (
            plot_sweep(data, sweep, left) is left
            and plot_spectra(data, sweep, right) is right
        )
        figure.canvas.draw()
        plt.close(figure)
