"""Reading and writing tables: rows stand alone, no line is lost without a reason."""

import struct

import numpy as np
import pytest
from er_tables import (
    N_SWEEPS,
    THETA,
    clean,
    make_rows,
    quick,
    read_bytes_as_table,
    same_bits,
)
from hypothesis import given
from hypothesis import strategies as st

from lunar_potential.data.archive import ArchiveError
from lunar_potential.data.er.decode import find_layout, layout_of
from lunar_potential.data.er.table import (
    read_er_table,
    read_slow,
    read_theta,
    write_er_table,
)


@pytest.fixture(scope="module")
def tmp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables with a blank")
    clean(folder)
    return folder


# --- reading


def test_the_writers_rows_come_back(tmp):
    lines, table = clean(tmp)
    rows = make_rows()
    assert len(lines) == 15 * N_SWEEPS and {len(line) for line in lines} == {1578}
    assert (
        (table.utc == rows["utc"]).all()
        and (table.spec_no == rows["spec_no"]).all()
        and (table.time == rows["time"]).all()
    )
    np.testing.assert_allclose(table.flux, rows["flux"], rtol=5.1e-4)
    np.testing.assert_allclose(table.phi, rows["phi"], atol=0.00501)
    np.testing.assert_allclose(table.b, rows["b"], atol=0.000501)


def test_both_readers_give_the_same_bits(tmp):
    lines, table = clean(tmp)
    start = np.arange(len(lines)) * 1578
    parsed, bad = read_slow(
        np.frombuffer(b"".join(lines), np.uint8), start, start + 1578
    )
    assert not bad
    for row, (utc, head, flux, phi) in parsed.items():
        assert (utc, *head[:3]) == (
            table.utc[row],
            table.time[row],
            table.energy[row],
            table.spec_no[row],
        )
        assert (
            struct.pack("3d88d88d", *head[3:], *flux, *phi)
            == table.b[row].tobytes()
            + table.flux[row].tobytes()
            + table.phi[row].tobytes()
        )


@quick
@given(
    st.lists(st.floats(0, 9e98) | st.floats(1e-30, 1e30), min_size=88, max_size=88),
    st.lists(st.floats(0, 999), min_size=88, max_size=88),
    st.lists(st.floats(-9999, 9999), min_size=3, max_size=3),
)
def test_numbers_have_the_bits_of_float(tmp, flux, phi, b):
    flux = [0.0 if value < 1e-90 else value for value in flux]
    path = write_er_table(
        tmp / "one.tab",
        ["1998-04-01T00:00:24"],
        [891388824],
        [38.641],
        [1],
        [b],
        [flux],
        [phi],
    )
    line = path.read_bytes()[:1578]
    table, _ = read_er_table(path)
    expected = [float(field) for field in line.split()[4:]]
    assert find_layout(np.frombuffer(line, np.uint8), np.array([0]), np.array([1578]))
    assert (
        struct.pack("179d", *expected)
        == np.concatenate([table.b[0], table.flux[0], table.phi[0]]).tobytes()
    )


LAYOUTS = {
    "LF": lambda lines: b"\n".join(lines) + b"\n",
    "no last line end": lambda lines: b"\r\n".join(lines),
    "only CR at the end": lambda lines: b"\r\n".join(lines) + b"\r",
    "leading blanks": lambda lines: b"".join(b"   " + line + b"\r\n" for line in lines),
    "trailing blanks": lambda lines: b"".join(line + b"  \r\n" for line in lines),
    "single blanks": lambda lines: b"".join(
        b" ".join(line.split()) + b"\n" for line in lines
    ),
    "tabs": lambda lines: b"".join(b"\t".join(line.split()) + b"\n" for line in lines),
    "wider columns": lambda lines: b"".join(
        b"".join(
            field.rjust(14) if at else field for at, field in enumerate(line.split())
        )
        + b"\n"
        for line in lines
    ),
    "blank lines": lambda lines: b"\r\n\r\n   \r\n".join(lines) + b"\r\n\r\n",
    "unequal widths": lambda lines: b"".join(
        (b"" if at % 3 else b" ") + line + b"\r\n" for at, line in enumerate(lines)
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_widths_and_line_ends_do_not_matter(tmp, layout):
    lines, table = clean(tmp)
    read, bad = read_bytes_as_table(tmp, LAYOUTS[layout](lines))
    assert bad.empty and same_bits(read, table)


def test_wider_columns_are_read_fast(tmp):
    lines, table = clean(tmp)
    line = b"".join(
        field.rjust(14) if at else field for at, field in enumerate(lines[0].split())
    )
    assert layout_of(line).width == 19 + 182 * 14


# --- damage

GARBAGE = [
    b"",
    b"   ",
    b"*****",
    b"\x00" * 50,
    b"\xff\xfe\xfa",
    b"# comment",
    b"1998-04-01T00:00:24",
    b'"quoted',
    b"NaN " * 183,
    b"1_0 " * 183,
]
damage = st.one_of(
    st.tuples(
        st.just("replace"),
        st.sampled_from(GARBAGE)
        | st.binary(max_size=60).filter(lambda text: not set(text) & {10, 13}),
    ),
    st.tuples(st.just("cut"), st.integers(1, 1570)),
    st.tuples(st.just("stars"), st.integers(0, 182)),
    st.tuples(st.just("extra"), st.just(b" 1.0")),
    st.tuples(
        st.just("stamp"),
        st.sampled_from(
            [
                b"1998-02-30T00:00:00",
                b"1998-04-01 00:00:00",
                b"1998-04-01T24:61:00",
                b"199A-04-01T00:00:00",
            ]
        ),
    ),
)


def harm(line, kind, what):
    if kind == "replace":
        return what
    if kind == "cut":
        return line[:what]
    if kind == "extra":
        return line + what
    fields = line.split()
    fields[0 if kind == "stamp" else what] = what if kind == "stamp" else b"*******"
    return b" ".join(fields)


@quick
@given(
    st.dictionaries(st.integers(0, 15 * N_SWEEPS - 1), damage, min_size=1, max_size=12),
    st.sampled_from([b"\r\n", b"\n"]),
)
def test_damage_never_changes_other_rows(tmp, hits, end):
    lines, table = clean(tmp)
    broken = [
        harm(line, *hits[at]) if at in hits else line for at, line in enumerate(lines)
    ]
    read, bad = read_bytes_as_table(tmp, end.join(broken) + end)
    rest = np.setdiff1d(np.arange(len(lines)), list(hits))
    assert same_bits(read, table, rest)
    assert (read.line == rest + 1).all()
    told = {
        line
        for start, count in zip(bad.line, bad.lines)
        for line in range(start, start + count)
    }
    assert told == {at + 1 for at in hits if broken[at].strip()}
    for line, spec_no in zip(bad.line, bad.spec_no):
        assert spec_no in (-1, table.spec_no[line - 1])


@quick
@given(st.integers(1, 3 * 1580))
def test_a_cut_file_loses_only_its_end(tmp, cut):
    lines, table = clean(tmp)
    content = (b"\r\n".join(lines) + b"\r\n")[:-cut]
    whole = (len(content) + 2) // 1580
    read, bad = read_bytes_as_table(tmp, content)
    assert same_bits(read, table, slice(whole))
    assert len(bad) == (1 if content[whole * 1580 :].strip() else 0)


@pytest.mark.parametrize(
    "token, reason",
    [
        (b"*****", "bx is '*****', not a number"),
        (b"0x10", "bx is"),
        (b"1_0", "bx is"),
        (b"1e", "bx is"),
        (b"5,0", "bx is"),
    ],
)
def test_reasons_name_the_field(tmp, token, reason):
    lines, _ = clean(tmp)
    fields = lines[17].split()
    fields[4] = token
    _, bad = read_bytes_as_table(
        tmp, b"\n".join([*lines[:17], b" ".join(fields), *lines[18:]]) + b"\n"
    )
    assert (
        bad.line.tolist() == [18]
        and bad.spec_no.tolist() == [2]
        and bad.reason[0].startswith(reason)
    )


def test_theta_is_checked(tmp):
    path = tmp / "theta.tab"
    path.write_text(" ".join(f"{ring:6.2f}" for ring in THETA) + "\n")
    assert np.array_equal(read_theta(path), THETA)
    for content in (
        "",
        "1 2 3",
        path.read_text().replace("78.75", "77.00", 1),
        path.read_text().replace("11.25", "33.75"),
        "x" * 500,
        "nan " * 88,
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match="theta.tab is not a table"):
            read_theta(path)
    with pytest.raises(ArchiveError):
        read_theta(tmp / "absent")


# --- writing


@pytest.mark.parametrize(
    "name, value",
    [
        ("energy", 0.0),
        ("energy", 2e6),
        ("b", 1e5),
        ("flux", -1.0),
        ("flux", 1e-95),
        ("flux", np.inf),
        ("phi", -1.0),
        ("phi", 1e3),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path, name, value):
    rows = make_rows(1)
    rows[name][0] = value
    with pytest.raises(ValueError, match=name):
        write_er_table(tmp_path / "x.tab", **rows)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_er_table(tmp_path / "x.tab", **make_rows(1))
    before = path.read_bytes()
    rows = make_rows(2)
    rows["utc"] = rows["utc"][:-1]
    with pytest.raises(ValueError):
        write_er_table(path, **rows)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
