"""Rows that contradict themselves, copies, giants: told in the reasons, never taken."""

import subprocess
import sys

import numpy as np
import pytest
from er_tables import (
    N_SWEEPS,
    THETA,
    clean,
    make_rows,
    read_bytes_as_table,
    same_bits,
    written,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.data.archive import ArchiveError
from lunar_potential.data.er.erdata import ERData
from lunar_potential.data.er.sweeps import (
    DELAY_LIMITS,
    REASON_BORROWED,
    REASON_COPY,
    REASON_TABLE,
    REASON_UTC,
)
from lunar_potential.data.er.table import (
    MAX_LINES,
    parse_er_table,
    read_theta,
    write_er_table,
)
from lunar_potential.physics.attitude import read_attitude
from lunar_potential.units import Flag

MARK = b"\xef\xbb\xbf"
DAY = np.timedelta64(86400, "s")
fuzz = settings(max_examples=150, deadline=None, derandomize=True, print_blob=True)


@pytest.fixture(scope="module")
def tmp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contradictions")
    clean(folder)
    return folder


def from_lines(tmp, lines):
    (tmp / "lines.tab").write_bytes(b"\r\n".join(lines) + b"\r\n")
    return ERData.from_files([tmp / "lines.tab"], THETA)


def told(data):
    "Lines and reasons."
    return list(zip(data.reasons.line, data.reasons.reason))


# --- times


@pytest.mark.parametrize("late", [DAY, -DAY, np.timedelta64(200, "s")])
def test_a_row_with_another_date_is_refused(tmp, late):
    data = written(
        tmp, lambda rows: rows["utc"].__setitem__(20, rows["utc"][20] + late)
    )
    assert told(data) == [(21, REASON_UTC)] and data.sweep_len[1] == 14
    assert data.flags[1] == Flag.SHORT_SWEEP and not data.flags[[0, 2, 3, 4, 5]].any()


@pytest.mark.parametrize("name", ["utc", "time"])
def test_a_sweep_whose_times_contradict_each_other_is_lost(tmp, name):
    def shift(rows):
        rows[name][15:30] += 86400 if name == "time" else DAY

    data = written(tmp, shift)
    assert told(data) == [(16, REASON_UTC)] and data.reasons.lost.all()
    assert data.reasons.n_rows.tolist() == [15]
    assert sorted(set(data.ds.spec_no.values)) == [1, 3, 4, 5, 6]


def test_rows_in_the_wrong_order_are_refused(tmp):
    def swap(rows):
        rows["utc"][[18, 22]] = rows["utc"][[22, 18]]
        rows["utc"][47] += np.timedelta64(5, "s")

    data = written(tmp, swap)
    assert told(data) == [(19, REASON_UTC), (23, REASON_UTC), (48, REASON_UTC)]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 1), min_size=15, max_size=15), st.sets(st.integers(0, 89))
)
def test_ordinary_irregularities_are_no_contradictions(tmp, jitter, gone):
    "Rounded seconds, 81.41 s from sweep to sweep, numbers and rows that are missing."
    rows = make_rows()
    sweep = np.arange(15 * N_SWEEPS) // 15
    rows["time"] = 892166704 + np.floor(81.41 * 3 * sweep)
    rows["spec_no"] = 4 + 3 * sweep
    offset = np.tile(5 * np.arange(15) + jitter, N_SWEEPS)
    rows["utc"] = (rows["time"] + offset + sweep % 2).astype("datetime64[s]")
    kept = np.setdiff1d(np.arange(15 * N_SWEEPS), list(gone))
    path = tmp / "ordinary.tab"
    write_er_table(path, **{name: values[kept] for name, values in rows.items()})
    data = ERData.from_files([path], THETA)
    assert data.reasons.lost.sum() == 0 or not len(kept)
    assert data.ds.sizes["row"] == len(kept)


# --- energies


def test_a_lost_digit_of_an_energy_is_refused(tmp):
    lines, _ = clean(tmp)
    line = lines[20]
    lost = line[:34] + line[34:45].strip()[1:].rjust(11) + line[45:]
    for broken in (line[:34] + line[34:45].replace(b"1", b"7", 1) + line[45:], lost):
        assert len(broken) == len(line) and broken != line
        data = from_lines(tmp, [*lines[:20], broken, *lines[21:]])
        assert told(data) == [(21, REASON_TABLE)]
        assert data.flags[1] == Flag.SHORT_SWEEP | Flag.ENERGY_INVALID


def test_modes_and_changes_of_the_energies_are_kept(tmp):
    for modes in ([0, 0, 1, 1, 1, 0], [0, 1, 0, 1, 0, 1], [0, 0, 0, 1, 0, 0]):
        rows = make_rows()
        other = np.round(np.geomspace(20000, 7.2, 15), 3)
        second = np.repeat(np.array(modes) == 1, 15)
        rows["energy"] = np.where(second, np.tile(other, N_SWEEPS), rows["energy"])
        data = ERData.from_files([write_er_table(tmp / "modes.tab", **rows)], THETA)
        assert data.reasons.empty and not data.flags.any()


def test_a_sweep_with_rows_of_both_neighbours_is_kept(tmp):
    def change(rows):
        rows["energy"][37:] *= 1.1

    data = written(tmp, change)
    assert data.reasons.empty and data.sweep_len.tolist() == [15] * N_SWEEPS


def test_without_neighbours_nothing_is_compared(tmp):
    rows = {name: values[:15] for name, values in make_rows().items()}
    rows["energy"] = np.linspace(900, 10, 15)
    data = ERData.from_files([write_er_table(tmp / "one.tab", **rows)], THETA)
    assert data.n_sweeps == 1 and data.reasons.empty


def test_a_damaged_spectrum_number_makes_no_sweep(tmp):
    data = written(tmp, lambda rows: rows["spec_no"].__setitem__([20, 50], [903, 77]))
    assert told(data) == [(21, REASON_BORROWED), (51, REASON_BORROWED)]
    assert data.sweep_len.tolist() == [15, 14, 15, 14, 15, 15]


# --- widths


@fuzz
@given(st.integers(0, 89), st.integers(0, 1577), st.integers(1, 7), st.booleans())
def test_a_row_that_lost_or_gained_bytes_is_never_taken(tmp, row, place, n, gained):
    lines, table = clean(tmp)
    line = lines[row]
    place = min(place, 1578 - n)
    copy = line[place : place + n] if gained else b""
    harmed = line[:place] + copy * 2 + line[place + n :]
    content = b"\r\n".join([*lines[:row], harmed, *lines[row + 1 :]]) + b"\r\n"
    read, bad = parse_er_table(content)
    rest = np.delete(np.arange(15 * N_SWEEPS), row)
    if len(harmed.rstrip()) == len(line):  # blanks at the end
        rest = np.arange(15 * N_SWEEPS)
    assert same_bits(read, table, rest)
    assert bad.line.tolist() == ([row + 1] if len(rest) < 15 * N_SWEEPS else [])


def test_the_reason_gives_both_lengths(tmp):
    lines, _ = clean(tmp)
    at = lines[40].rindex(b".")  # a decimal of the last azimuth
    short = lines[40][: at + 1] + lines[40][at + 2 :]
    data = from_lines(tmp, [*lines[:40], short, *lines[41:]])
    assert told(data) == [(41, "a row of 1577 bytes, the others have 1578")]
    assert data.reasons.spec_no.tolist() == [3]


# --- copies


@pytest.mark.parametrize(
    "order",
    [
        lambda n: np.repeat(n, 2),
        lambda n: np.r_[n, n],
        lambda n: np.r_[n, n[::-1], n],
        lambda n: np.r_[n, n[20:40]],
    ],
    ids=["each twice", "the file twice", "three times", "some rows"],
)
def test_copies_are_dropped_and_counted(tmp, order):
    lines, _ = clean(tmp)
    chosen = order(np.arange(15 * N_SWEEPS))
    data = from_lines(tmp, [lines[row] for row in chosen])
    plain = ERData.from_files([tmp / "3D980401.TAB"], THETA)
    for name, values in plain.padded().items():
        if name != "row":
            assert data.padded()[name].tobytes() == values.tobytes()
    assert not data.flags.any() and not data.reasons.lost.any()
    assert set(data.reasons.reason) == {REASON_COPY}
    assert data.reasons.n_rows.sum() == len(chosen) - 15 * N_SWEEPS


def test_a_row_that_differs_in_one_number_is_no_copy(tmp):
    lines, _ = clean(tmp)
    other = lines[20][:-1] + (b"1" if lines[20].endswith(b"2") else b"2")
    data = from_lines(tmp, [*lines[:21], other, *lines[22:]])
    assert data.reasons.lost.tolist() == [True] and data.n_sweeps == N_SWEEPS - 1
    assert data.reasons.reason[0].endswith("given twice")


# --- byte order marks


def test_byte_order_marks_do_not_matter(tmp):
    lines, table = clean(tmp)
    read, bad = read_bytes_as_table(tmp, MARK + b"\r\n".join(lines) + b"\r\n")
    assert bad.empty and same_bits(read, table)
    path = tmp / "theta.tab"
    path.write_bytes(MARK + " ".join(map(str, THETA)).encode())
    assert np.array_equal(read_theta(path), THETA)
    path = tmp / "attitude.tab"
    path.write_bytes(MARK + b"1998-12-30T06:00, 12.007, 118.37,  87.53\r\n")
    assert read_attitude(path).ra.tolist() == [118.37]


# --- what is no table

GIANTS = {
    "one line": b"1 " * 12_000_000,
    "one word": b"x" * 24_000_000,
    "blanks": b" " * 24_000_000,
    "leading blanks": b" " * 24_000_000 + b"1 " * 183,
    "line ends": b"\n" * 24_000_000,
    "short lines": b"1\n" * 12_000_000,
    "stamps": b"1998-04-01T00:00:24 1 2 3 4\n" * 800_000,
    "rows too short": (b"1 " * 182 + b"\n") * 20_000,
    "rows of noughts": (b"0 " * 182 + b"0\n") * 20_000,
}
MEASURE = """
import resource, sys
import numpy as np
from lunar_potential.data.er.erdata import ERData
rings = [78.75, 56.25, 33.75, 11.25, -11.25, -33.75, -56.25, -78.75]
theta = np.repeat(rings, [4, 8, 16, 16, 16, 16, 8, 4])
memory = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
for path in sys.argv[1:]:
    data = ERData.from_files([path], theta)
    memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    print(data.n_sweeps, len(data.reasons), (memory[-1] - memory[-2]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in kB")
def test_giants_cost_little(tmp):
    "All of them in one process: no more memory than a daily table of 26 MB."
    paths = [tmp / f"giant {number}.tab" for number in range(len(GIANTS))]
    for path, content in zip(paths, GIANTS.values(), strict=True):
        path.write_bytes(content)
    command = [sys.executable, "-c", MEASURE, *paths]
    said = subprocess.run(command, capture_output=True, text=True)
    for path in paths:
        path.unlink()
    assert not said.returncode, said.stderr
    found = [tuple(map(int, line.split())) for line in said.stdout.splitlines()]
    found = dict(zip(GIANTS, found, strict=True))
    assert {sweeps for sweeps, *_ in found.values()} == {0}, found
    assert {reasons for _, reasons, _ in found.values()} == {1}, found
    assert sum(memory for *_, memory in found.values()) < 250, found


def test_good_rows_between_giants_are_read(tmp):
    lines, table = clean(tmp)
    content = [b"x" * 10**6, *lines[:30], b"1 " * 10**6, *lines[30:], b" " * 10**6]
    read, bad = parse_er_table(b"\r\n".join(content) + b"\r\n")
    assert same_bits(read, table) and bad.line.tolist() == [1, 32, 93]
    assert bad.reason.str.contains("too long for a row").all()
    _, bad = parse_er_table(b"\n" * (MAX_LINES + 1))
    assert bad.reason.str.contains("too many for a daily table").tolist() == [True]


def test_files_of_absurd_size_are_refused_by_name(tmp):
    path = tmp / "sparse.tab"
    with open(path, "wb") as file:
        file.truncate(2**32)
    for read in (lambda p: ERData.from_files([p], THETA), read_theta, read_attitude):
        with pytest.raises(ArchiveError, match="sparse.tab cannot be read.*4294967296"):
            read(path)


# --- anything

harm = st.tuples(
    st.integers(0, 15 * N_SWEEPS - 1),
    st.integers(0, 1570),
    st.integers(0, 6),
    st.binary(max_size=6).filter(lambda text: b"\n" not in text)
    | st.text("0123456789 .-+E*NT:", max_size=6).map(str.encode),
)


@settings(fuzz, max_examples=50)
@given(st.lists(harm, min_size=1, max_size=8))
def test_damage_in_lines_stays_in_their_sweeps(tmp, hits):
    lines, plain = list(clean(tmp)[0]), ERData.from_files([tmp / "3D980401.TAB"], THETA)
    for row, place, gone, put in hits:
        line = lines[row]
        lines[row] = line[:place] + put + line[place + gone :]
    data = from_lines(tmp, lines)
    hit = {row // 15 + 1 for row, *_ in hits}
    theirs = np.isin(data.ds.spec_no.values, list(hit))
    whole = np.isin(plain.ds.spec_no.values, list(hit))
    for name in ("energy", "time", "utc", "b", "flux", "phi"):
        mine = data.ds[name].values[~theirs]
        expected = plain.ds[name].values[~whole]
        assert mine.tobytes() == expected.tobytes(), name
    assert (data.ds.spec_no.values <= N_SWEEPS).all()
    named = set(data.reasons.spec_no) | set(data.ds.spec_no.values)
    assert set(range(1, N_SWEEPS + 1)) <= named or -1 in named
    delay = data.ds.utc.values.astype(np.int64) - data.ds.time.values
    assert ((delay >= DELAY_LIMITS[0]) & (delay <= DELAY_LIMITS[1])).all()


@settings(fuzz, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1580 * 30), st.integers(0, 2000), st.binary(max_size=40)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_bytes_are_read_or_told(tmp, hits):
    content = b"\r\n".join(clean(tmp)[0][:30]) + b"\r\n"
    for place, gone, put in hits:
        content = content[:place] + put + content[place + gone :]
    (tmp / "bytes.tab").write_bytes(content)
    data = ERData.from_files([tmp / "bytes.tab"], THETA)
    rows, told_rows = data.ds.sizes["row"], len(data.reasons)
    assert rows <= content.count(b"\n") + 1 and (rows or told_rows)
    assert (data.ds.energy.values > 0).all() and (data.sweep_len <= 15).all()
