"""A diagnosis finds each fault, names a remedy the shell accepts, touches nothing."""

import argparse
import collections
import contextlib
import datetime
import importlib.metadata
import json
import os
import re
import shlex
import shutil

import numpy as np
import pytest
import spiceypy
from http_server import Site
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.batch import run_day
from lunar_potential.data.archive import Archive, file_hash, walk_files
from lunar_potential.data.download.client import Patience
from lunar_potential.data.download.manifest import MANIFEST
from lunar_potential.data.download.session import add_download_arguments, download
from lunar_potential.physics.pool import furnish
from lunar_potential.quality.doctor.days import STATES, day_table, plot_days
from lunar_potential.quality.doctor.files import stray_files
from lunar_potential.quality.doctor.findings import Finding, day_ranges
from lunar_potential.quality.doctor.kernels import BODIES, describe_kernel, spk_coverage
from lunar_potential.quality.doctor.machine import machine_findings
from lunar_potential.quality.doctor.report import (
    add_doctor_arguments,
    doctor,
    doctor_command,
)
from lunar_potential.synthetic.kernels import utc_to_et, write_kernels
from lunar_potential.synthetic.simulate import simulate_archive


@contextlib.contextmanager
def spiceypy_segments(path):
    "The byte where the last segment of an SPK ends, read without the package."
    handle = spiceypy.dafopr(str(path))
    try:
        spiceypy.dafbfs(handle)
        ends = []
        while spiceypy.daffna():
            ends.append(8 * int(spiceypy.dafus(spiceypy.dafgs(), 2, 6)[1][5]))
        yield max(ends)
    finally:
        spiceypy.dafcls(handle)


SPAN = ("1998-06-14", "1998-06-15")


def diagnose(root, start=SPAN[0], end=SPAN[1]):
    return doctor(root, start, end, machine=False)


def levels(found):
    return {check.name: check.level for check in found.checks}


def missing(found):
    return [check.name for check in found.checks if check.level == "MISSING"]


def commands(found):
    "The download commands of a diagnosis, parsed by the command's own parser."
    parser = argparse.ArgumentParser()
    add_download_arguments(parser)
    texts = [
        match
        for check in found.checks
        for match in re.findall(r"lunar-potential download (.*)$", check.advice)
    ]
    return [parser.parse_args(shlex.split(text)) for text in texts]


def kernel(archive, words):
    return next(path for path in archive.kernels if words in path.name)


def test_a_whole_archive_has_nothing_to_mend(archive):
    before = {path: path.stat().st_mtime_ns for path in walk_files(archive.root)}
    found = diagnose(archive.root)
    assert (
        found.ok
        and {name for name, level in levels(found).items() if level != "ok"}
        == {"simulated archive"}
        and (found.days["state"] == "good").all()
    )
    assert {
        path: path.stat().st_mtime_ns for path in walk_files(archive.root)
    } == before


@pytest.mark.parametrize(
    "words, name, product",
    [
        ("lp_ask", "kernel of Lunar Prospector", "orbit"),
        ("lpephemu", "kernel of Sun", "planets"),
        ("lpephemu", "kernel of Moon", "planets"),
        ("leapseconds", "kernel of leap seconds", "leapseconds"),
        ("pck", "kernel of rotation of the Moon", "constants"),
    ],
)
def test_each_kernel_is_missed(own_archive, words, name, product):
    kernel(own_archive, words).unlink()
    found = diagnose(own_archive.root)
    assert name in missing(found) and product in [
        each for args in commands(found) for each in args.products
    ]
    assert not found.ok


@pytest.mark.parametrize("words", ["lp_ask", "lpephemu", "leapseconds", "pck"])
def test_a_web_page_is_no_kernel(own_archive, words):
    path = kernel(own_archive, words)
    path.write_text("<html>404</html>")
    assert describe_kernel(path, own_archive.root).level != "ok"
    found = diagnose(own_archive.root)
    assert not found.ok and any(args.products for args in commands(found))


@pytest.mark.parametrize("name", ["theta.tab", "attitude.tab"])
@pytest.mark.parametrize("content", [None, "<html>", ""])
def test_tables_are_missed(own_archive, name, content):
    path = own_archive.root / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    found = diagnose(own_archive.root)
    assert missing(found) == [name] and [args.products for args in commands(found)] == [
        [name[:-4]]
    ]


def test_days_that_were_asked_for_are_missed(own_archive):
    found = diagnose(own_archive.root, "1998-06-13", "1998-06-17")
    assert missing(found)[
        0
    ] == "daily tables" and "1998-06-13, 1998-06-16 to 1998-06-17" in str(found)
    args = commands(found)[0]
    assert (args.start, args.end, args.data_dir, args.products) == (
        "1998-06-13",
        "1998-06-17",
        own_archive.root,
        ["flux"],
    )


def test_gaps_that_nobody_asked_about_are_no_fault(archive):
    found = doctor(archive.root, machine=False)
    assert (
        found.ok and levels(found)["daily tables"] == "note" and len(found.days) == 147
    )
    assert found.months().loc["1998-03"].to_dict() == {
        "good": 0,
        "odd": 0,
        "uncovered": 0,
        "bad": 0,
        "missing": 31,
    }


def test_nothing_is_here(tmp_path):
    for root in (tmp_path / "no folder", tmp_path):
        found = doctor(root, machine=False)
        assert not found.ok and any(
            args.products is None and args.data_dir == root for args in commands(found)
        )


def test_days_beyond_the_kernels(own_archive):
    folder = own_archive.root / "spice_kernels"
    kernel(own_archive, "lp_ask").unlink()
    write_kernels(folder, "1998-06-13", "1998-06-15T18:00")
    found = diagnose(own_archive.root)
    assert missing(found) == ["coverage by kernels"] and list(found.days["state"]) == [
        "good",
        "uncovered",
    ]
    args = commands(found)[-1]
    assert (args.start, args.end, args.products) == (
        "1998-06-15",
        "1998-06-15",
        ["orbit", "planets"],
    )


def test_days_wholly_beyond_the_kernels_are_named(own_archive):
    for path in own_archive.kernels:
        if path.suffix == ".bsp":
            path.unlink()
    write_kernels(own_archive.root / "spice_kernels", "1998-01-01", "1998-02-01")
    assert missing(diagnose(own_archive.root)) == ["coverage by kernels"]
    alone = doctor(own_archive.root, machine=False)
    assert "not for 1998-06-14 to 1998-06-15" in str(alone)


def test_kernels_that_meet_leave_no_gap(own_archive):
    folder = own_archive.root / "spice_kernels"
    kernel(own_archive, "lp_ask").unlink()
    write_kernels(folder, "1998-06-15", "1998-06-17")
    write_kernels(folder, "1998-06-10", "1998-06-15")
    write_kernels(own_archive.root / "other", "1998-06-10", "1998-06-17")
    (folder / "lpephemu.bsp").write_bytes(
        (own_archive.root / "other/lpephemu.bsp").read_bytes()
    )
    for path in (own_archive.root / "other").iterdir():
        path.unlink()
    assert diagnose(own_archive.root).ok
    kernel(own_archive, "lp_ask_980615").unlink()
    assert list(diagnose(own_archive.root).days["kernels"]) == [True, False]


def test_attitude_that_begins_too_late_or_ends_too_early(own_archive):
    path = own_archive.root / "attitude.tab"
    row = path.read_text().splitlines()[0][16:]
    path.write_text(f"1998-06-15T00:00{row}\n")
    assert missing(diagnose(own_archive.root)) == ["coverage by attitude.tab"]
    path.write_text(f"1998-06-10T00:00{row}\n")
    found = diagnose(own_archive.root)
    assert (
        found.ok
        and levels(found)["attitude after its last record"] == "note"
        and found.days["held"].all()
    )


def test_tables_that_cannot_be_right(own_archive):
    first, last = [path for path in own_archive.files() if path.name > "3D9806"]
    first.write_bytes(b"")
    last.write_bytes(b"\n <!DOCTYPE html>")
    found = diagnose(own_archive.root)
    assert missing(found) == ["damaged tables"] and list(found.days["state"]) == [
        "bad",
        "bad",
    ]


def test_sizes_are_judged_by_label_first(own_archive):
    table = own_archive.files()[-1]
    table.write_bytes(table.read_bytes()[:5000])
    assert levels(diagnose(own_archive.root))["tables of odd size"] == "note"
    entry = {"size": 5000, "sha256": file_hash(table), "checked": "md5"}
    for recorded, states in (({}, ["good", "good"]), ({"size": 5001}, ["good", "bad"])):
        files = {table.relative_to(own_archive.root).as_posix(): entry | recorded}
        (own_archive.root / MANIFEST).write_text(json.dumps({"files": files}))
        assert list(diagnose(own_archive.root).days["state"]) == states
    (own_archive.root / MANIFEST).write_text("{")
    assert levels(diagnose(own_archive.root))["manifest"] == "note"


def test_two_tables_of_one_day_and_odd_names(own_archive):
    table = own_archive.files()[-1]
    (own_archive.root / "copy").mkdir()
    (own_archive.root / "copy" / table.name.lower()).write_bytes(b"another")
    for name in (
        "3D980614 (1).TAB",
        "LP_ER_3D19980101_V01.TAB",
        "3D980614.TAB.gz",
        "3D981341.TAB",
    ):
        (own_archive.root / name).write_bytes(b"x")
    table.with_suffix(".TAB.part").write_bytes(b"12345")
    found = diagnose(own_archive.root)
    assert (
        missing(found) == ["two tables of one day"]
        and levels(found)["names"] == levels(found)["unfinished downloads"] == "note"
    )
    assert "5 B" in str(found) and "LP_ER_3D19980101_V01.TAB" in str(found)
    assert len(stray_files(walk_files(own_archive.root))[0]) == 4


def test_kernels_that_differ_under_one_name(own_archive):
    (own_archive.root / "old").mkdir()
    (own_archive.root / "old/PCK00011.TPC").write_bytes(b"another")
    found = diagnose(own_archive.root)
    assert missing(found)[0] == "kernels" and "differ" in str(found)


def test_the_pool_of_kernels_is_left_alone(archive):
    furnish(archive.kernels)
    loaded = [spiceypy.kdata(n, "ALL")[0] for n in range(spiceypy.ktotal("ALL"))]
    diagnose(archive.root)
    assert [
        spiceypy.kdata(n, "ALL")[0] for n in range(spiceypy.ktotal("ALL"))
    ] == loaded


def test_coverage_is_that_of_the_kernel(tmp_path):
    write_kernels(tmp_path, "1998-04-01", "1998-04-03T06:00")
    for windows in spk_coverage(tmp_path.glob("*.bsp")).values():
        np.testing.assert_allclose(
            windows, utc_to_et(["1998-04-01", "1998-04-03T06:00"])[None], atol=1e-3
        )
    words = describe_kernel(next(tmp_path.glob("lp_ask*")), tmp_path).found
    assert words == "other; Lunar Prospector 1998-04-01 00:00 to 1998-04-03 06:00"


FIRST = datetime.date(1998, 12, 28)  # the leap second of 1998-12-31 lies inside


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-30, 260), st.integers(1, 120)), min_size=1, max_size=6
    )
)
def test_a_day_is_covered_when_every_hour_of_it_is(spans):
    hours = np.zeros(400, bool)  # from 48 h before FIRST
    for start, length in spans:
        hours[max(48 + start, 0) : max(48 + start + length, 0)] = True
    edges = (
        np.flatnonzero(np.diff(np.concatenate([[0], hours.astype(int), [0]]))).reshape(
            -1, 2
        )
        - 48
    )
    origin = np.datetime64(FIRST, "h")
    windows = utc_to_et((origin + edges).astype("datetime64[us]")).reshape(-1, 2)
    table = day_table(
        {},
        FIRST,
        FIRST + datetime.timedelta(9),
        dict.fromkeys(BODIES, windows),
        (0.0, 1e12),
    )
    assert list(table["kernels"]) == [
        bool(hours[48 + 24 * day : 72 + 24 * day].all()) for day in range(10)
    ]


@settings(deadline=None)
@given(
    st.sets(st.dates(datetime.date(1998, 1, 16), datetime.date(1998, 3, 1)), min_size=1)
)
def test_ranges_of_days_lose_none(days):
    text, back = day_ranges(sorted(days), most=100), set()
    for part in text.split(", "):
        first, _, last = part.partition(" to ")
        first, last = (
            datetime.date.fromisoformat(first),
            datetime.date.fromisoformat(last or first),
        )
        back |= {first + datetime.timedelta(n) for n in range((last - first).days + 1)}
    assert back == days
    assert day_ranges(sorted(days), most=1).count("1998-") <= 2


def test_days_without_data():
    with pytest.raises(ValueError, match="1998-01-16 to 1999-07-29"):
        doctor("anywhere", "2001-01-01", "2001-02-01", machine=False)
    with pytest.raises(ValueError, match="is after end"):
        doctor("anywhere", "1998-05-01", "1998-04-01", machine=False)


# what the sizes, the ends and the rights tell


@pytest.mark.parametrize("lost", [1, 1024, 3000, 0.5])
@pytest.mark.parametrize("words", ["lp_ask", "lpephemu"])
def test_a_kernel_that_was_cut_is_found_without_a_manifest(own_archive, words, lost):
    path = kernel(own_archive, words)
    content = path.read_bytes()
    with spiceypy_segments(path) as end:
        cut = end - 1 if lost == 1 else int(end * lost) if lost < 1 else end - lost
    path.write_bytes(content[:cut])
    found = diagnose(own_archive.root)
    assert path.name in missing(found) and not found.ok and "ends early" in str(found)
    assert not found.days["kernels"].any(), "no coverage may be claimed from it"


def test_recorded_files_are_compared_with_the_manifest(own_archive):
    path = kernel(own_archive, "leapseconds")
    entry = {
        "size": path.stat().st_size,
        "sha256": file_hash(path),
        "product": "leapseconds",
        "mtime_ns": path.stat().st_mtime_ns,
    }
    name = path.relative_to(own_archive.root).as_posix()
    (own_archive.root / MANIFEST).write_text(
        json.dumps({"files": {name: entry, "lpx.bsp": entry}})
    )
    found = diagnose(own_archive.root)
    assert found.ok and levels(found)["no longer where the download put them"] == "note"
    path.write_text(path.read_text() + "\n")
    found = diagnose(own_archive.root)
    assert missing(found) == ["changed since the download"] and commands(found)[
        0
    ].products == ["leapseconds"]
    path.write_bytes(
        path.read_bytes()[: entry["size"] - 1] + b" "
    )  # of the recorded size, with another last byte
    assert path.stat().st_size == entry["size"] and missing(
        diagnose(own_archive.root)
    ) == ["changed since the download"]


def test_two_orbits_that_differ_are_named_with_the_winner(own_archive):
    folder = own_archive.root / "spice_kernels"
    write_kernels(own_archive.root / "other", "1998-06-01", "1998-06-30", altitude=30.0)
    (own_archive.root / "other/lp_ask_980601-980630.bsp").rename(
        folder / "lp_ask_980111-981130.bsp"
    )
    for path in (own_archive.root / "other").iterdir():
        path.unlink()
    found = diagnose(own_archive.root)
    (check,) = [
        check for check in found.checks if check.name == "orbit kernels that differ"
    ]
    furnish(own_archive.kernels)
    handle, _, _ = spiceypy.spksfs(-25, float(utc_to_et("1998-06-14T12:00")), 60)
    used = next(
        data[0]
        for data in (spiceypy.kdata(n, "SPK") for n in range(spiceypy.ktotal("SPK")))
        if data[3] == handle
    )
    assert (
        check.level == "MISSING"
        and check.found.endswith(f"{used.rpartition('/')[2]} wins")
        and "lp_ask_980111-981130.bsp" in check.found
    )
    assert int(re.search(r"up to (\d+) km", check.found)[1]) > 50


def test_a_simulated_archive_is_called_one(own_archive):
    def signs():
        return [
            check.found
            for check in diagnose(own_archive.root).checks
            if check.name == "simulated archive"
        ]

    assert "truth.npz" in signs()[0] and "lpephemu.bsp" in signs()[0]
    (own_archive.root / "truth.npz").unlink()
    assert "truth.npz" not in signs()[0]
    for path in own_archive.kernels:
        if path.suffix == ".bsp":
            path.unlink()
    assert not signs()


def test_broken_links_and_folders_without_rights_end_nothing(own_archive, monkeypatch):
    table, real, access = own_archive.files()[-1], os.scandir, os.access
    (own_archive.root / "3D980616.TAB").symlink_to("nowhere.TAB")
    (own_archive.root / "locked").mkdir()

    def scandir(folder):
        if str(folder).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode: (
            str(path) != str(table) and not (mode & os.W_OK) and access(path, mode)
        ),
    )
    found = diagnose(own_archive.root)
    texts = {(check.name, check.level): check for check in found.checks}
    assert "nowhere.TAB" in texts["broken link", "MISSING"].found
    locked = [check for check in found.checks if check.name == "not readable"]
    assert [
        name
        for name in (table.name, "locked")
        for check in locked
        if name in check.found
    ] == [table.name, "locked"]
    assert all(check.advice.startswith("chmod") for check in locked)
    assert texts["folder", "note"].found.endswith("is read-only")
    assert levels(found)["theta.tab"] == "ok" and list(found.days["state"]) == [
        "good",
        "missing",
    ]


def test_a_manifest_that_cannot_be_read_is_a_finding(own_archive):
    (own_archive.root / MANIFEST).mkdir()
    found = diagnose(own_archive.root)
    assert levels(found)["manifest"] == "note" and MANIFEST in str(found)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "data").write_text("")
    assert "is no folder" in str(doctor(tmp_path / "data", machine=False))


def test_a_simulated_day_before_the_mission_is_judged(tmp_path):
    simulate_archive(tmp_path, ["1998-01-15"], sweeps_per_day=2, cadence=40000, seed=1)
    found = doctor(tmp_path, "1998-01-15", "1998-01-15", machine=False)
    assert found.ok and list(found.days["state"]) == ["good"]
    assert len(doctor(tmp_path, "1998-01-14", "1998-01-17", machine=False).days) == 3, (
        "the days of the mission and the table that is here"
    )


# the machine


def test_the_machine_is_described(tmp_path):
    checks = {check.name: check for check in machine_findings(tmp_path / "not" / "yet")}
    assert (
        checks["versions"].level == "ok"
        and f"numpy {np.__version__}" in checks["versions"].found
    )
    assert "cores" in checks["machine"].found and checks["disk"].level == "ok"
    assert {"FFmpeg (films only)", "Chrome (films only)"} <= set(checks)


def test_what_films_need_fails_no_diagnosis(tmp_path, monkeypatch):
    import lunar_potential.view.movie.prerequisites

    need = collections.namedtuple("Need", "name engines found advice")
    monkeypatch.setattr(
        lunar_potential.view.movie.prerequisites,
        "check_prerequisites",
        lambda: [need("Chrome", (), "", "fetch it")],
    )
    assert Finding(
        "Chrome (films only)", "note", "not found", "fetch it"
    ) in machine_findings(tmp_path)


def test_a_full_disk_and_a_missing_package(tmp_path, monkeypatch):
    usage, real = (
        collections.namedtuple("Usage", "total used free"),
        importlib.metadata.version,
    )

    def version(name):
        if name == "scipy":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10, 9, 1))
    monkeypatch.setattr(importlib.metadata, "version", version)
    checks = {check.name: check for check in machine_findings(tmp_path, 23e6)}
    assert (
        checks["disk"].level == "MISSING"
        and "23.0 MB still to come" in checks["disk"].found
    )
    assert (
        checks["versions"].level == "MISSING"
        and checks["versions"].advice == "pip install scipy"
    )


# command, figure, and the way from a server to a result


def run(*words):
    parser = argparse.ArgumentParser()
    add_doctor_arguments(parser)
    return doctor_command(parser.parse_args([str(word) for word in words]))


def test_the_command_prints_and_tells(archive, tmp_path, capsys):
    assert (
        run(
            "--data-dir",
            archive.root,
            "--start",
            SPAN[0],
            "--end",
            SPAN[1],
            "--figure",
            tmp_path / "days.png",
        )
        == 0
    )
    said = capsys.readouterr().out
    assert (
        said.splitlines()[0].endswith("nothing is missing")
        and (tmp_path / "days.png").stat().st_size > 5000
    )
    assert run("--data-dir", tmp_path / "nowhere") == 1
    assert "MISSING folder" in capsys.readouterr().out


def test_the_calendar_shows_every_day(archive):
    import matplotlib.pyplot as plt

    found = doctor(archive.root, "1998-01-16", "1999-07-29", machine=False)
    ax = plot_days(found.days)
    (squares,) = ax.collections
    assert len(squares.get_paths()) == 560 and len(ax.get_yticklabels()) == 19
    colours = [tuple(colour) for colour in squares.get_facecolors()]
    assert (
        len(set(colours)) == 2
        and sum(
            int(text.get_text().split("(")[1][:-1])
            for text in ax.get_legend().get_texts()
        )
        == 560
    )
    assert set(found.days["state"]) <= set(STATES)
    plt.close(ax.figure)


def test_from_a_server_to_potentials(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    files = {
        f"/{path.relative_to(archive.root).as_posix()}": path.read_bytes()
        for path in walk_files(archive.root)
        if path.name != "truth.npz"
    }
    with Site(files, "iis") as site:
        place = {
            name: site.url + folder
            for name, folder in (
                ("flux", "/"),
                ("theta", "/"),
                ("attitude", "/"),
                ("orbit", "/spice_kernels/"),
                ("planets", "/spice_kernels/"),
                ("leapseconds", "/spice_kernels/"),
                ("constants", "/spice_kernels/"),
            )
        }
        root = tmp_path / "data"
        assert not download(
            *SPAN, root, urls=place, patience=Patience(first=0.01)
        ).problem
    assert diagnose(root).ok and len(Archive(root).files()) == 2
    assert (
        run_day(1998, 6, 14, root, tmp_path / "out", n_jobs=1).days["fitted"].sum() > 0
    )
