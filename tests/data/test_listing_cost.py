"""What pages and labels of any content cost: time and memory by their length."""

import hashlib
import random
import subprocess
import sys

import pytest
from http_server import Site, listing
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.data.download import inventory as inventory_room
from lunar_potential.data.download.client import Client, Patience, Refused, read_page
from lunar_potential.data.download.listing import (
    _MOST_LINKS,
    NoListing,
    parse_listing,
    read_label,
    safe_name,
)
from lunar_potential.data.download.products import PRODUCTS, clip_days

QUICK = Patience(first=0.01, longest=0.05, read=300, connect=300, page=300)
HOME = "http://host/er/"


def run_apart(code):
    "What a program prints; one that takes hours is ended after minutes."
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return done.stdout.split()


# time


class Counted(str):
    "A page that counts how many of its characters are looked at."

    examined = 0

    def find(self, what, start=0, end=None):
        end = len(self) if end is None else end
        found = super().find(what, start, end)
        self.examined += 1 + (end if found < 0 else found) - start
        return found

    def rfind(self, what, start=0, end=None):
        end = len(self) if end is None else end
        found = super().rfind(what, start, end)
        self.examined += 1 + end - (start if found < 0 else found)
        return found

    def __getitem__(self, key):
        part = super().__getitem__(key)
        self.examined += len(part)
        return part

    def split(self, *arguments):
        self.examined += len(self)
        return super().split(*arguments)

    def _other(self, *arguments):
        raise AssertionError("a way to look at the page that nobody counts")

    partition = rpartition = rsplit = splitlines = replace = __iter__ = _other


FRAGMENTS = st.lists(
    st.sampled_from(
        ["<", ">", "<a", "<aaaa", " href=", '"', "'", "<br>", "<tr>", "</table>"]
        + ["<a href=x>", "\n", " ", "1/1/11 ", "&#9", "=", "x" * 50]
    ),
    min_size=1,
    max_size=8,
).map("".join)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(FRAGMENTS, st.integers(1, 300), FRAGMENTS)
def test_a_page_is_looked_at_a_fixed_number_of_times(unit, times, end):
    page = Counted(unit * times + end)
    parse_listing(page, HOME)
    assert page.examined <= 5 * len(page) + 10


HOSTILE_LABELS = [
    '"A=" + " " * 8000 + "\\"\\"x"',
    '"A=" + " " * 8000 + "\\rx"',
    '"A" * 1_000_000',
    '"A=" * 500_000',
    '" \\t" * 500_000 + "="',
    '"MD5_CHECKSUM=" + "\\"" * 1_000_000',
    '"<a>" * 1_000_000',
    '"<File>" + "<file_name>" * 90 + "x" * 1_000_000',
    '"<a " + "b" * 1_000_000',
    '"<a b=\\"" + "&lt;" * 500_000',
]
HOSTILE_PAGES = [
    '"<" + "a" * 1_000_000',
    '"<a " * 300_000',
    '">" * 1_000_000',
    '"<" * 1_000_000',
    '("<a" + " href=\\"" * 570 + ">") * 250',
    '"<a href=" * 125_000',
    '"<br><a href=x>" + "1/1/11" + " " * 1_000_000',
    '("<br><a href=x>" + "1/1/11   " * 440) * 250',
    '"<a href=x>" * 45_000',
    '"<tr>" + "<td>9" * 200_000',
    '"\\n" * 1_000_000',
]


@pytest.mark.parametrize(
    "call", ["read_label(text, 'x')", "parse_listing(text, 'http://host/er/')"]
)
def test_nothing_freezes(call):
    texts = HOSTILE_LABELS if "label" in call else HOSTILE_PAGES
    code = (
        "from lunar_potential.data.download.listing import parse_listing, read_label\n"
        f"for text in [{', '.join(texts)}]:\n"
        f"    {call}\n"
        "    print(len(text))"
    )
    assert len(run_apart(code)) == len(texts)


# memory

GROWTH = """
import resource
from lunar_potential.data.download.listing import parse_listing, read_label
text = {text}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {call}
except ValueError as error:
    print(type(error).__name__)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    "text, call, said",
    [
        (
            "''.join(f'<a href=f{n}.TAB>f{n}.TAB</a>\\n' for n in range(1_000_000))",
            "parse_listing(text, 'http://host/er/')",
            ["NoListing"],
        ),
        ("'<a href=x>' * 1_000_000", "parse_listing(text, 'http://h/')", ["NoListing"]),
        (
            "'<a href=/x>' * 1_000_000",
            "parse_listing(text, 'http://h/')",
            ["NoListing"],
        ),
        ("'<td>1 ' * 300_000", "parse_listing(text, 'http://host/')", []),
        ("'<abc>' * 3_600_000", "read_label(text, 'x')", []),
        ("'<a>' * 1_300_000", "read_label(text, 'x')", []),
        ("'<a>' + '<File/>' * 200_000 + '</a>'", "read_label(text, 'x')", []),
        ("'<a>' + 'x' * 3_900_000 + '</a>'", "read_label(text, 'x')", []),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
def test_memory_is_bounded(text, call, said):
    *words, growth = run_apart(GROWTH.format(text=text, call=call))
    assert words == said and int(growth) < 150, f"{growth} MB"


def test_a_page_of_many_megabytes_is_not_read():
    with Site({"/er/x": b"<a href=x>" * 2_000_000}) as site:
        with pytest.raises(Refused, match="are no listing and no label"):
            read_page(Client(QUICK), site.url + "/er/x")


def test_a_listing_has_fewer_links_than_a_bomb():
    assert len(parse_listing("<a href=x>" * _MOST_LINKS, HOME)) == 1
    with pytest.raises(NoListing):
        parse_listing("<a href=x>" * (_MOST_LINKS + 1), HOME)


def test_folders_without_end_are_left(monkeypatch):
    monkeypatch.setattr(inventory_room, "_MOST_PAGES", 40)
    asked = []

    def read(client, url):
        asked.append(url)
        return "".join(f"<a href='d{n}/'>d</a>\n" for n in range(90))

    monkeypatch.setattr(inventory_room, "read_page", read)
    days = clip_days("level2", "1998-06-08", "1998-06-08")
    found, trouble = inventory_room.find_files(
        Client(QUICK), "level2", *days, ("http://host/",)
    )
    assert not found and "no product of the archive" in trouble[0]
    assert len(asked) == 41 and PRODUCTS["level2"].depth == 3


def test_a_bomb_of_links_is_reported(monkeypatch):
    page = "<a href=x>" * (_MOST_LINKS + 1)
    monkeypatch.setattr(inventory_room, "read_page", lambda client, url: page)
    days = clip_days("flux", "1998-04-01", "1998-04-01")
    found, trouble = inventory_room.find_files(
        Client(QUICK), "flux", *days, ("http://host/",)
    )
    assert "http://host/: a page of more than" in trouble[0]
    assert [remote.name for remote in found] == ["3D980401.TAB"]  # by its known name


# any damage

LABELS = [
    "<P><File_Area><File><file_name>a.tab</file_name><file_size unit='byte'>12"
    f"</file_size><md5_checksum>{hashlib.md5(b'').hexdigest()}</md5_checksum>"
    "</File></File_Area></P>",
    "PDS_VERSION_ID = PDS3\r\nRECORD_TYPE = FIXED_LENGTH\r\nRECORD_BYTES = 4\r\n"
    f'FILE_RECORDS = 3\r\nMD5_CHECKSUM = "{hashlib.md5(b"").hexdigest()}"\r\nEND\r\n',
]
PAGES = [
    listing(dialect, "/er/", {"3D980401.TAB": 5, "3D980402.TAB": 24_012_345, "b/": 0})
    for dialect in ("apache", "nginx", "iis", "tomcat")
]
TOKENS = [
    *(
        "<",
        ">",
        "</",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<!DOCTYPE x>",
        "<?xml",
        "&#0;",
    ),
    *(
        "\x00",
        "\x1b[2J",
        "\x9b",
        "\u202e",
        "\ufeff",
        "\r",
        "\n",
        "\t",
        '"',
        "'",
        "=",
        "%",
    ),
    *("%2e%2e%2f", "%00", "../", "//", "\\", "href=", "9" * 30, "\U0001f600", "&amp;"),
]


def damaged(text, random):
    "The text after some accidents."
    for _ in range(random.randrange(1, 6)):
        at, end = sorted(random.choices(range(len(text) + 1), k=2))
        text = random.choice(
            [
                text[:at] + random.choice(TOKENS) + text[at:],
                text[:at] + random.choice(TOKENS) * 40 + text[end:],
                text[:at] + text[end:],
                text[:end] + text[at:end] * random.randrange(5) + text[end:],
                text[:at],
                text[:at]
                + chr(random.choice([0, 27, 155, 0x202E, 60, 62]))
                + text[at + 1 :],
            ]
        )[:20_000]
    return text


@pytest.mark.parametrize("seed", range(6))
def test_damaged_pages_and_labels_are_read_without_harm(seed):
    dice = random.Random(seed)
    for _ in range(300):
        page = Counted(damaged(dice.choice(PAGES), dice))
        for entry in parse_listing(page, HOME):
            assert safe_name(entry.name) and entry.name.isprintable(), (seed, page)
            assert entry.url.startswith(HOME) and entry.url.isprintable(), (seed, page)
            assert entry.size is None or entry.size >= 0, (seed, page)
        assert page.examined <= 5 * len(page) + 10, (seed, page)
        label = damaged(dice.choice(LABELS), dice)
        told = read_label(label, "a.tab")
        if told:
            assert len(told.md5) in (0, 32) and (told.size or 0) >= 0, (seed, label)
