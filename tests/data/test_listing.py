"""Listings and labels of any server: every file once, no link that leads elsewhere."""

import datetime
import os
import string
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from http_server import HOSTILE, listing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lunar_potential.data.download.client import (
    retry_after,
)
from lunar_potential.data.download.listing import parse_listing, read_label, safe_name
from lunar_potential.data.download.products import (
    folder_days,
    month_folder,
)
from lunar_potential.synthetic.simulate import day_path

DIALECTS = ("apache", "nginx", "iis", "tomcat")


NAME = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='/\\:*?"<>|'),
    min_size=1,
    max_size=30,
).filter(safe_name)
NAME = st.one_of(
    NAME,
    st.from_regex(r"3D98\d{4}\.TAB", fullmatch=True),
    st.sampled_from(
        [
            "a&amp;b",
            "%2e%2e",
            "100%",
            "x;y=1",
            "été #2.TAB",
            "a+b",
            "2014-05-01 7",
            "12",
        ]
    ),
)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=60, deadline=None)
@given(
    names=st.dictionaries(NAME, st.integers(0, 10**9), max_size=6),
    folders=st.sets(NAME, max_size=2),
    when=st.datetimes(datetime.datetime(1990, 1, 1)),
)
def test_every_served_name_is_found_once_with_its_size_and_date(
    dialect, names, folders, when
):
    shown = {**names, **{folder + "/": 0 for folder in folders - set(names)}}
    page = listing(
        dialect, "/data/er x/", shown, date=when.replace(tzinfo=datetime.timezone.utc)
    )
    entries = parse_listing(page, "http://host/data/er%20x/")
    assert [(entry.name, entry.is_folder) for entry in entries] == [
        (name.rstrip("/"), name.endswith("/")) for name in shown
    ]
    for entry in entries:
        if not entry.is_folder:
            size = names[entry.name]
            assert abs(entry.size - size) <= entry.slack <= max(1100, 0.16 * size)
            assert str(when.day) in entry.shown and f"{when:%M}" in entry.shown
            assert (entry.slack == 0) == (
                dialect in ("nginx", "iis") or dialect == "apache" and size < 1024
            )


def test_coarse_sizes_have_as_much_slack():
    for shown, size in (
        ("2M", 2_490_000),
        ("2M", 1_600_000),
        ("3 KB", 3000),
        ("23.4 MB", 23_449_999),
        ("1.9G", 2_039_999_999),
    ):
        (entry,) = parse_listing(
            f'<a href="x">x</a> 2014-05-01 10:11 {shown}', "http://host/er/"
        )
        assert abs(entry.size - size) <= entry.slack < size


LINK = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=20),
    st.lists(st.sampled_from(HOSTILE + ["/", "er", "x"]), max_size=4).map("".join),
)


def assert_harmless(entries, base):
    for entry in entries:
        place = os.path.normpath(os.path.join("/root", entry.name))
        assert (
            os.path.dirname(place) == "/root"
            and "\\" not in entry.name
            and "\0" not in entry.name
        )
        assert urlsplit(entry.url)[:2] == urlsplit(base)[:2] and entry.url.startswith(
            base
        )
    assert len({entry.name for entry in entries}) == len(entries)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DIALECTS), st.lists(LINK, max_size=5))
@example("nginx", HOSTILE)
def test_hostile_links_lead_nowhere(dialect, links):
    entries = parse_listing(
        listing(dialect, "/er/", {"3D980401.TAB": 5}, links), "http://host/er/"
    )
    assert_harmless(entries, "http://host/er/")
    assert [entry.name for entry in entries].count("3D980401.TAB") == 1


MARKUP = st.lists(
    st.sampled_from(
        [
            "<a href=",
            "<a href='",
            '"',
            ">",
            "<",
            "</a>",
            "<br>",
            "<tr>",
            "<td>",
            "<!--",
            "<![CDATA[",
            "<![if",
            "<!",
            "<?",
            "&#x0;",
            "&#",
            "</",
            "x.TAB",
            "../",
            "\n",
            "<script>",
            "<pre>",
            " 12 ",
            "2014-05-01 10:11",
            "\x00",
            "]]>",
            "<table>",
        ]
    ),
    max_size=25,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(st.one_of(MARKUP, st.text(max_size=80)))
def test_any_page_is_read_without_an_error(page):
    assert_harmless(parse_listing(page, "http://host/er/"), "http://host/er/")


@pytest.mark.parametrize(
    "junk",
    ["<a ", "<!--", "<a href='", "<a href=", "&#9", "<tr><td>", "<", "1/1/11   "],
)
def test_a_hostile_page_is_read_to_its_end(junk):
    page = junk * 50_000 + '"><br><a href="3D980401.TAB">x</a> 2014-05-01 10:11 5\n'
    assert [entry.name for entry in parse_listing(page, "http://host/er/")][-1:] == [
        "3D980401.TAB"
    ]


def test_a_large_listing_is_read():
    page = listing(
        "apache",
        "/er/",
        {f"fa_esa_l2_ees_19980401000000_{n:05d}_v02.cdf": n for n in range(20_000)},
    )
    assert len(parse_listing(page, "http://host/er/")) == 20_000


@settings(deadline=None)
@given(st.text(max_size=200))
def test_labels_and_headers_never_crash(text):
    for label in (text, "<a>" + text, "MD5_CHECKSUM = " + text):
        told = read_label(label, "x")
        assert told is None or told.size is not None or len(told.md5) == 32
    assert (retry_after(text, 0) or 0) >= 0


def test_a_label_that_explodes_is_not_read():
    bomb = (
        "<!DOCTYPE x ["
        + "".join(f'<!ENTITY a{n} "&a{n - 1};&a{n - 1};">' for n in range(1, 40))
        + '<!ENTITY a0 "x">]><File><file_name>&a39;</file_name></File>'
    )
    assert read_label(bomb, "x") is None


@settings(deadline=None)
@given(st.dates(datetime.date(1998, 1, 16), datetime.date(1999, 7, 29)))
def test_folders_of_a_day_hold_it(day):
    year, month = month_folder(day).split("/")
    first, last = folder_days(month, int(year))
    assert first <= day <= last and folder_days(f"{day:%y}_{day:%m%b}".upper()) == (
        first,
        last,
    ) == folder_days(f"{day:%m}", day.year)
    assert Path(month_folder(day), f"3D{day:%y%m%d}.TAB") == day_path(Path(), day)


def test_names_for_any_system():
    for name in string.ascii_letters + string.digits:
        assert safe_name(name)
    assert not any(
        map(safe_name, ["a/b", "a\\b", "..", ".", "", "a\nb", "a:b", "a ", "a."])
    )
