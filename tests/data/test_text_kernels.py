"""Text kernels: what SPICE would read without a word is refused with file and line."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.data import kernels
from lunar_potential.data.archive import ArchiveError
from lunar_potential.data.kernels import (
    PUBLISHED,
    ROTATION,
    check_text_kernel,
    kernel_origin,
    leap_seconds,
    read_text_kernel,
    wrong_leap_second,
)
from lunar_potential.synthetic.kernels import leap_second_text, planetary_constants_text

TEXTS = {"naif.tls": leap_second_text(), "pck.tpc": planetary_constants_text()}


def assigned(body, name="a.tpc"):
    return read_text_kernel(f"KPL/PCK\n\\begindata\n{body}".encode(), name)


@pytest.mark.parametrize("name", TEXTS)
def test_wherever_a_kernel_is_cut_nothing_wrong_is_left(name):
    whole, content = check_text_kernel(TEXTS[name].encode(), name), TEXTS[name].encode()
    refused = 0
    for size in range(len(content)):
        try:
            left = check_text_kernel(content[:size], name)
        except ArchiveError as error:
            assert name in str(error)
            refused += 1
        else:
            assert all(whole[key] == values for key, values in left.items())
            time, turn = ("DELTET/K" in left), (ROTATION[2] in left)
            assert not time or left == whole, "time is there as a whole or not at all"
            assert not turn or {key: left[key] for key in ROTATION}
    assert refused > 0.8 * (len(content) - content.index(b"\\begindata"))


@pytest.mark.parametrize(
    "body, words",
    [
        ("X = ( 1 2 3\n", "the list of X does not end"),
        ("X = ( 1 2 3\nY = 4\n", "line 4: X holds 'Y'"),
        ("X = ( 1 2\n\\begintext\n", "the list of X does not end"),
        ("X = 12", "the last line is cut"),
        ("X =\n", "X has no value"),
        ("X\n", "X has no value"),
        ("X = ()\n", "X has no value"),
        ("X = 'abc\n", "X holds"),
        ("X = 1 = 2\n", "the list of X"),
        ("X = (1) 2\n", "followed by more"),
        ("X = (1 (2)\n", "the list of X"),
        ("= 3\n", "= stands where a name should"),
        ("X = 12abc\n", "no number"),
        ("<html>\n", "<html> has no value"),
    ],
)
def test_each_kind_of_damage_is_named(body, words):
    with pytest.raises(ArchiveError) as caught:
        assigned(body)
    assert words in str(caught.value) and "a.tpc, line" in str(caught.value)


def test_the_grammar_of_naif():
    text = (
        "A = 1\r\n  B_1/X = ( 1.5D0, -2.E+1\n +.5 )\nA += ( 7 @1972-JAN-1 )\n"
        "NAME = 'it''s (not) = cut'\nC = 1 2\n\n\\begintext\nD = (\n\\begindata\nE=3\n"
    )
    assert assigned(text) == {
        "A": (1, 7, "@1972-JAN-1"),
        "B_1/X": (1.5, -20, 0.5),
        "NAME": ("'it''s (not) = cut'",),
        "C": (1, 2),
        "E": (3,),
    }


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    try:
        check_text_kernel(b"\\begindata\n" + content, "x.tls")
    except ArchiveError as error:
        assert "x.tls" in str(error)


@pytest.mark.parametrize("size", [20_000, 40_000])
@pytest.mark.parametrize(
    "piece", [b"X = ( 1 ", b"'", b"((((", b"+=+=", b"1 ", b"A=1\n"]
)
def test_long_lines_and_many_lines_are_read_once(piece, size):
    "Each byte is looked at a bounded number of times; otherwise this runs for minutes."
    try:
        read_text_kernel(b"\\begindata\nL = 'x' " + piece * size, "long.tpc")
    except ArchiveError:
        pass


# --- leap seconds

DAYS = sorted(PUBLISHED)


def leap_text(table):
    months = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
    rows = [
        f"{n:g}, @{day.item().year}-{months[day.item().month - 1]}-{day.item().day}"
        for day, n in table.items()
    ]
    head = leap_second_text().partition("DELTET/DELTA_AT")[0]
    return f"{head}DELTET/DELTA_AT = ( {', '.join(rows)} )\n\\begintext\n".encode()


def test_the_published_table_is_that_of_the_kernels():
    assert leap_seconds(check_text_kernel(leap_text(PUBLISHED), "a"), "a") == PUBLISHED
    assert PUBLISHED[np.datetime64("1997-07-01")] == 31


@settings(deadline=None, derandomize=True)
@given(last=st.integers(0, len(DAYS) - 1), until=st.integers(-400, 20000))
def test_a_table_that_ends_is_right_until_the_next_leap_second(last, until):
    table = {day: PUBLISHED[day] for day in DAYS[: last + 1]}
    day = np.datetime64("1972-01-01") + until
    following = DAYS[last + 1] if last + 1 < len(DAYS) else None
    expected = following if following is not None and following <= day else None
    assert wrong_leap_second(table, day) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace(b"@1985-JUL-1", b"@1985-JUL-31"),
        lambda t: t.replace(b"23, @1985-JUL-1, ", b""),
        lambda t: t.replace(b"@1985-JUL-1", b"@1965-JUL-1"),
        lambda t: t.replace(b"@1985-JUL-1", b"@1985-JLU-1"),
        lambda t: t.replace(b"31, @1997-JUL-1", b"31"),
        lambda t: t.replace(b"0.001657", b"0.001756"),
        lambda t: t.replace(b"32.184", b"3.184"),
        lambda t: t.replace(b"DELTET/EB", b"DELTET/BE"),
    ],
)
def test_constants_of_time_that_are_not_the_published_ones(change):
    text = change(leap_text(PUBLISHED))
    assert text != leap_text(PUBLISHED)
    try:
        table = leap_seconds(check_text_kernel(text, "bad.tls"), "bad.tls")
    except ArchiveError as error:
        assert "bad.tls cannot be used" in str(error)
    else:
        wrong = wrong_leap_second(table, np.datetime64("1998-01-01"))
        assert str(wrong) == "1985-07-01"


def test_half_of_the_rotation_and_files_of_files_are_refused():
    half = planetary_constants_text().partition("BODY301_NUT_PREC_DEC")[0]
    with pytest.raises(ArchiveError, match="half.tpc .*lacks BODY301_NUT_PREC_DEC"):
        check_text_kernel(half.encode(), "half.tpc")
    with pytest.raises(ArchiveError, match="KERNELS_TO_LOAD"):
        check_text_kernel(b"\\begindata\nKERNELS_TO_LOAD = 'a.bsp'\n", "meta.tls")
    assert check_text_kernel(b"\\begindata\nBODY301_GM = 4902.8\n", "gm.tpc")


def test_genuine_is_byte_for_byte(tmp_path, monkeypatch):
    path = tmp_path / "any name.tls"
    path.write_bytes(b"KPL/LSK\n")
    assert kernel_origin(path) == "other"
    monkeypatch.setitem(
        kernels.GENUINE, hashlib.sha1(b"KPL/LSK\n").hexdigest(), path.name
    )
    assert kernel_origin(path) == "genuine"
    path.write_bytes(b"KPL/LSK \n")
    assert kernel_origin(path) == "other"
