"""Finding files: only names carry dates, and nothing missing goes unreported."""

import datetime
import os
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.data.archive import (
    Archive,
    ArchiveError,
    date_range,
    default_data_dir,
    file_date,
    file_hash,
    find_er_files,
)

DAYS = st.dates(datetime.date(1990, 1, 1), datetime.date(2089, 12, 31))
FOLDER = st.text(
    string.ascii_letters + string.digits + " ._-", min_size=1, max_size=12
).filter(lambda name: name.strip(". ") == name)
WORDS = st.one_of(
    FOLDER,
    st.sampled_from(
        [
            "1998",
            "1999 copy",
            "060_090MAR",
            "3D990101",
            "3D990101.TAB.d",
            "April",
            "TAB",
        ]
    ),
)


def name_of(day, lower=False):
    name = f"3D{day:%y%m%d}.TAB"
    return name.lower() if lower else name


def touch(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@given(DAYS, st.booleans())
def test_a_name_gives_its_day(day, lower):
    assert file_date(name_of(day, lower)) == day


@given(st.text(max_size=20))
def test_other_names_give_none_or_a_day_with_the_same_digits(name):
    day = file_date(name)
    assert day is None or f"3D{day:%y%m%d}.TAB" == os.path.basename(name).upper()


@settings(max_examples=40, deadline=None)
@given(
    places=st.dictionaries(
        DAYS,
        st.tuples(st.lists(WORDS, max_size=4), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    data=st.data(),
)
def test_search_depends_on_names_only(tmp_path_factory, places, data):
    root = tmp_path_factory.mktemp("an archive")
    for day, (folders, lower) in places.items():
        touch(root.joinpath(*folders, name_of(day, lower)))
    touch(root / "1998" / "3D98040.TAB")
    assert [file_date(path) for path in find_er_files(root)] == sorted(places)
    one = data.draw(st.sampled_from(sorted(places)))
    assert [
        file_date(path) for path in find_er_files(root, one.year, one.month, one.day)
    ] == [one]
    assert [file_date(path) for path in find_er_files(root, one.year)] == [
        day for day in sorted(places) if day.year == one.year
    ]
    assert [file_date(path) for path in find_er_files(root, start=one, limit=2)] == [
        day for day in sorted(places) if day >= one
    ][:2]


@given(st.integers(1990, 2089), st.integers(1, 12))
def test_a_month_ends_before_the_next_begins(year, month):
    first, last = date_range(year, month)
    assert (first.day, first.month, last.month) == (1, month, month)
    assert (last + datetime.timedelta(days=1)).day == 1


@pytest.mark.parametrize(
    "filters",
    [
        dict(month=4),
        dict(year=1998, day=2),
        dict(day=2),
        dict(year=98),
        dict(year=1998, month=13),
        dict(year=1998, month=2, day=29),
        dict(start="1998-04-02", end="1998-04-01"),
        dict(start="1 April"),
        dict(limit=0),
    ],
)
def test_half_and_impossible_dates_are_refused(tmp_path, filters):
    with pytest.raises(ValueError):
        find_er_files(tmp_path, **filters)


def test_two_tables_of_one_day(tmp_path):
    first, second = (
        touch(tmp_path / "a" / "3D980401.TAB"),
        touch(tmp_path / "b" / "3d980401.tab"),
    )
    with pytest.raises(ArchiveError) as caught:
        find_er_files(tmp_path)
    assert str(first) in str(caught.value) and str(second) in str(caught.value)
    assert find_er_files(tmp_path, 1999) == []


def test_links_to_one_table_are_one_table(tmp_path):
    table = touch(tmp_path / "a" / "3D980401.TAB")
    (tmp_path / "3D980401.TAB").symlink_to(table)
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert len(find_er_files(tmp_path)) == 1


def test_a_folder_with_a_table_name_is_no_table(tmp_path):
    touch(tmp_path / "3D980401.TAB" / "3D980402.TAB")
    assert [path.name for path in find_er_files(tmp_path)] == ["3D980402.TAB"]


def test_missing_and_unreadable_folders_are_named(tmp_path, monkeypatch):
    with pytest.raises(ArchiveError, match="nowhere"):
        find_er_files(tmp_path / "nowhere")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(folder):
        if os.path.basename(folder) == "closed":
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ArchiveError, match="closed cannot be read"):
        find_er_files(tmp_path)


@pytest.mark.parametrize("month, day", [(0, None), (13, None), (4, 0), (4, 31)])
def test_no_such_day(month, day):
    with pytest.raises(ValueError, match="month|day"):
        date_range(1998, month, day)


COMPLETE = (
    "1998/3D980401.TAB",
    "theta.tab",
    "x/ATTITUDE.TAB",
    "k/a.bsp",
    "k/b.TLS",
    "k/c.tpc",
)


@pytest.mark.parametrize("missing", range(len(COMPLETE)))
def test_check_names_each_missing_piece(tmp_path, missing):
    for name in COMPLETE:
        touch(tmp_path / name, name.encode())
    archive = Archive(tmp_path)
    archive.check()
    assert [path.name for path in archive.kernels] == ["a.bsp", "b.TLS", "c.tpc"]
    (tmp_path / COMPLETE[missing]).unlink()
    word = ["3Dyymmdd.TAB", "theta.tab", "attitude.tab", ".bsp", ".tls", ".tpc"][
        missing
    ]
    with pytest.raises(ArchiveError, match=word):
        archive.check()


def test_check_lists_everything_at_once(tmp_path):
    with pytest.raises(ArchiveError) as caught:
        Archive(tmp_path).check()
    assert all(
        word in str(caught.value)
        for word in (
            "3Dyymmdd.TAB",
            "theta.tab",
            "attitude.tab",
            ".bsp",
            ".tls",
            ".tpc",
            str(tmp_path),
        )
    )
    with pytest.raises(ArchiveError, match="attitude.tab"):
        Archive(tmp_path).attitude


def test_copies_must_agree(tmp_path):
    touch(tmp_path / "a" / "theta.tab", b"1"), touch(tmp_path / "b" / "THETA.TAB", b"1")
    assert (
        file_hash(Archive(tmp_path).theta)
        == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    )
    touch(tmp_path / "b" / "THETA.TAB", b"2")
    with pytest.raises(ArchiveError, match="differ"):
        Archive(tmp_path).theta


def test_data_folder_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LUNAR_POTENTIAL_DATA", str(tmp_path))
    assert default_data_dir() == tmp_path
    for unset in (
        lambda: monkeypatch.setenv("LUNAR_POTENTIAL_DATA", ""),
        lambda: monkeypatch.delenv("LUNAR_POTENTIAL_DATA"),
    ):
        unset()
        assert str(default_data_dir()) == "data"
