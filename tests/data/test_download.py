"""A download: complete files or none, nothing outside the folder, no byte twice."""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from http_server import HOSTILE, Fault, Site, listing

from lunar_potential.data.archive import find_er_files, walk_files
from lunar_potential.data.download import session as module
from lunar_potential.data.download.client import (
    Client,
    DownloadError,
    Patience,
)
from lunar_potential.data.download.listing import parse_listing
from lunar_potential.data.download.manifest import (
    MANIFEST,
    Manifest,
    folder_lock,
    simulated_signs,
)
from lunar_potential.data.download.outcome import Downloads
from lunar_potential.data.download.products import (
    BASE_URLS,
    PRODUCTS,
    base_urls,
    clip_days,
)
from lunar_potential.data.download.session import (
    add_download_arguments,
    download,
    download_command,
)
from lunar_potential.run.signals import Interrupted
from lunar_potential.synthetic.kernels import write_kernels

QUICK = Patience(first=0.01, longest=0.05, read=300, connect=300)
DIALECTS = ("apache", "nginx", "iis", "tomcat")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# an archive


def table(day):
    row = f"1998-04-{day:02d}T00:00:04      891388804  16680.334      1\r\n"
    return (row.encode() * 4000)[: 150_000 + day]


def label(path, content):
    return (
        '<?xml version="1.0"?>\n'
        '<Product_Observational xmlns="http://pds.nasa.gov/pds4/pds/v1">'
        "<File_Area_Observational><File>"
        f"<file_name>{path.rpartition('/')[2]}</file_name>"
        f'<file_size unit="byte">{len(content)}</file_size>'
        f"<md5_checksum>{hashlib.md5(content).hexdigest()}</md5_checksum>"
        "</File></File_Area_Observational></Product_Observational>"
    ).encode()


def er_files(base="/ppi/", days=range(1, 6)):
    files = {f"{base}1998/091_120APR/3D9804{day:02d}.TAB": table(day) for day in days}
    return files | {
        path.replace(".TAB", ".xml"): label(path, content)
        for path, content in files.items()
    }


SMALL = {
    "/anc/theta.tab": b" 78.75" * 88,
    "/anc/attitude.tab": b"1998-04-02T00:00, 12.007, 119.21,  87.60\r\n",
    "/spk/lp_ask_980111-980531.bsp": b"DAF/SPK orbit 1",
    "/spk/lp_ask_980601-981031.bsp": b"DAF/SPK orbit 2",
    "/spk/lpephemu.bsp": b"DAF/SPK planets",
    "/gen/latest_leapseconds.tls": b"KPL/LSK leap seconds",
    "/gen/pck00011.tpc": b"KPL/PCK constants",
}
PLACES = {
    "theta": "/anc/",
    "attitude": "/anc/",
    "orbit": "/spk/",
    "planets": "/spk/",
    "leapseconds": "/gen/",
    "constants": "/gen/",
}
DAYS = {"start": "1998-04-01", "end": "1998-04-05"}


def urls(site, **more):
    return (
        {"flux": site.url + "/ppi/"}
        | {name: site.url + place for name, place in PLACES.items()}
        | more
    )


@pytest.fixture
def archive_site():
    extra = {
        "/ppi/1998/060_090MAR/3D980331.TAB": b"march",
        "/ppi/1998/091_120APR/readme.txt": b"no table",
        "/ppi/1999/001_031JAN/3D990101.TAB": b"later",
    }
    with Site(er_files() | extra | SMALL) as site:
        yield site


def bring(site, root, **options):
    return download(
        **{**DAYS, "data_dir": root, "urls": urls(site), "patience": QUICK, **options}
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_archive_arrives_from_any_kind_of_server(archive_site, tmp_path, dialect):
    archive_site.dialect = dialect
    result = bring(archive_site, tmp_path)
    assert not result.problem and {file.status for file in result.files} == {"new"}
    assert [path.read_bytes() for path in find_er_files(tmp_path)] == [
        table(day) for day in range(1, 6)
    ]
    kernels = {path.name for path in (tmp_path / "spice_kernels").iterdir()}
    assert kernels == {
        "lp_ask_980111-980531.bsp",
        "lpephemu.bsp",
        "latest_leapseconds.tls",
        "pck00011.tpc",
    }
    names = {path.name for path in walk_files(tmp_path)}
    assert not {"3D980331.TAB", "3D990101.TAB", "readme.txt"} & names and not [
        name for name in names if ".part" in name
    ]
    assert not archive_site.asked("/ppi/1999/") and not archive_site.asked(
        "/ppi/1998/060_090MAR/"
    )


def test_the_manifest_tells_what_came_from_where(archive_site, tmp_path):
    bring(archive_site, tmp_path)
    entries = json.loads((tmp_path / MANIFEST).read_text())["files"]
    assert len(entries) == 11
    for name, entry in entries.items():
        assert (
            entry["sha256"] == sha256(tmp_path / name)
            and entry["size"] == (tmp_path / name).stat().st_size
        )
        assert (
            entry["url"].startswith(archive_site.url)
            and entry["etag"]
            and datetime.datetime.fromisoformat(entry["date"]).tzinfo
        )
        assert entry["checked"] == ("md5" if name.endswith(".TAB") else "size")


def test_a_second_run_asks_for_no_byte(archive_site, tmp_path):
    bring(archive_site, tmp_path)
    archive_site.log.clear()
    result = bring(archive_site, tmp_path)
    assert {file.status for file in result.files} == {"kept"} and result.new_bytes == 0
    gets = [request.path for request in archive_site.log if request.method == "GET"]
    assert all(path.endswith("/") for path in gets) and not [
        r for r in archive_site.log if r.method == "HEAD" and r.path.startswith("/ppi/")
    ]


def test_damage_here_and_change_there_are_mended(archive_site, tmp_path):
    bring(archive_site, tmp_path)
    first, second, *_ = find_er_files(tmp_path)
    os.utime(first)  # touched, not changed: hashed again and kept
    second.write_bytes(b"?" + second.read_bytes()[1:])
    path = "/ppi/1998/091_120APR/3D980404.TAB"
    archive_site.files[path] = new = (
        table(4) + b"longer by enough to be listed otherwise" * 100
    )
    archive_site.files[path.replace(".TAB", ".xml")] = label(path, new)
    archive_site.files["/gen/latest_leapseconds.tls"] = b"KPL/LSK one more!!!!"
    result = bring(archive_site, tmp_path)
    assert {file.name for file in result.files if file.status != "kept"} == {
        "3D980402.TAB",
        "3D980404.TAB",
        "latest_leapseconds.tls",
    }
    assert (
        second.read_bytes() == table(2)
        and (tmp_path / "1998/091_120APR/3D980404.TAB").read_bytes() == new
    )
    assert (
        tmp_path / "spice_kernels/latest_leapseconds.tls"
    ).read_bytes() == b"KPL/LSK one more!!!!"


def test_a_file_of_the_same_name_is_taken_over_or_left_alone(archive_site, tmp_path):
    mine, other = (
        tmp_path / "elsewhere/3D980401.TAB",
        tmp_path / "1998/091_120APR/3D980402.TAB",
    )
    for path, content in ((mine, table(1)), (other, b"simulated")):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    result = bring(archive_site, tmp_path, products=["flux"])
    states = {file.name: file.status for file in result.files}
    assert (
        states["3D980401.TAB"] == "adopted"
        and states["3D980402.TAB"] == "failed"
        and other.read_bytes() == b"simulated"
    )
    assert (
        "--overwrite" in result.problem and len(find_er_files(tmp_path)) == 5
    )  # no second copy of a day
    assert not bring(
        archive_site, tmp_path, products=["flux"], overwrite=True
    ).problem and other.read_bytes() == table(2)


def test_the_mirror_has_what_the_first_server_lacks(archive_site, tmp_path):
    del archive_site.files["/ppi/1998/091_120APR/3D980403.TAB"]
    archive_site.files |= er_files("/copy/")
    result = bring(
        archive_site,
        tmp_path,
        urls=urls(
            archive_site, flux=[archive_site.url + "/ppi/", archive_site.url + "/copy/"]
        ),
    )
    assert not result.problem
    assert [
        "/copy/" in file.url for file in result.files if file.product == "flux"
    ] == [False, False, True, False, False]


def test_the_mirror_steps_in_where_a_file_fails(archive_site, tmp_path):
    archive_site.files |= er_files("/copy/")
    archive_site.faults["/ppi/1998/091_120APR/3D980402.TAB"] = [Fault("status", 403)]
    archive_site.files["/ppi/1998/091_120APR/3D980403.TAB"] = b"not what the label says"
    result = bring(
        archive_site,
        tmp_path,
        products=["flux"],
        urls={"flux": [archive_site.url + "/ppi/", archive_site.url + "/copy/"]},
    )
    assert not result.problem and [
        path.read_bytes() for path in find_er_files(tmp_path)
    ] == [table(day) for day in range(1, 6)]


def test_servers_that_list_nothing_are_asked_by_name(archive_site, tmp_path):
    archive_site.lists = False
    result = bring(archive_site, tmp_path, end="1998-04-06")
    assert [(file.product, file.name) for file in result.missing] == [
        ("flux", "3D980406.TAB")
    ]
    assert (
        len(find_er_files(tmp_path)) == 5
        and (tmp_path / "spice_kernels/lp_ask_980111-980531.bsp").exists()
    )


def test_what_is_here_is_kept_when_nobody_answers(archive_site, tmp_path):
    bring(archive_site, tmp_path)
    with Site() as gone:
        nowhere = {name: gone.url + "/" for name in urls(archive_site)}
    again = bring(archive_site, tmp_path, urls=nowhere)
    assert not again.problem and {
        file.status for file in again.files if file.product == "flux"
    } == {"kept"}
    assert all("not compared with the server" in file.reason for file in again.files)


def test_a_host_that_does_not_answer_is_asked_six_times_in_all(tmp_path, monkeypatch):
    tries = []

    def refuse(self, method, url, **more):
        tries.append(url)
        raise requests.ConnectionError("nobody")

    monkeypatch.setattr(requests.Session, "request", refuse)
    nowhere = {name: "http://nowhere/" for name in PRODUCTS}
    result = download(
        **DAYS, data_dir=tmp_path, urls=nowhere, patience=QUICK, connections=1
    )
    assert len(tries) == 6 and len(result.missing) == 11


def test_a_server_that_spells_its_folders_otherwise(tmp_path):
    with Site(
        {
            "/my er/1998/091_120APR/3D980401.TAB": table(1),
            "/l2 x/a b/F980401.TAB": b"y",
        },
        "iis",
    ) as site:
        places = {"flux": site.url + "/my er/", "level2": site.url + "/l2%20X/"}
        result = download(
            "1998-04-01", "1998-04-01", tmp_path, ["flux"], places, patience=QUICK
        )
        assert [
            file.path.relative_to(tmp_path).as_posix() for file in result.files
        ] == ["1998/091_120APR/3D980401.TAB"] and not result.problem
        entries = parse_listing(
            listing("iis", "/l2 x/", {"a b/": 0}), site.url + "/l2%20X/"
        )
        assert [entry.name for entry in entries] == ["a b"]


def test_what_is_missing_is_listed(archive_site, tmp_path, capsys):
    del (
        archive_site.files["/ppi/1998/091_120APR/3D980404.TAB"],
        archive_site.files["/anc/attitude.tab"],
    )
    result = bring(archive_site, tmp_path)
    assert [(file.product, file.name) for file in result.missing] == [
        ("attitude", "attitude.tab"),
        ("flux", "1998-04-04"),
    ]
    assert (
        "2 missing" in repr(result)
        and "HTTP 404" in result.problem
        and not list(tmp_path.rglob("attitude*"))
    )


def test_hostile_listings_write_nothing_outside(archive_site, tmp_path):
    archive_site.links = {
        "/ppi/": HOSTILE,
        "/ppi/1998/": HOSTILE,
        "/ppi/1998/091_120APR/": HOSTILE
        + ["../3D980405.TAB", "..%2f3D980405.TAB", "//evil.org/3D980406.TAB"],
    }
    root = tmp_path / "a" / "b"
    bring(archive_site, root)
    assert {path.relative_to(root).parts[0] for path in walk_files(tmp_path)} == {
        "1998",
        "spice_kernels",
        "theta.tab",
        "attitude.tab",
        MANIFEST,
        ".download.lock",
    }


def test_a_listing_that_nests_for_ever_is_left(tmp_path):
    with Site(
        {f"/ppi/{'1998/' * depth}3D980401.TAB": table(1) for depth in range(1, 30)}
    ) as site:
        bring(site, tmp_path, products=["flux"])
        assert (
            max(
                request.path.count("1998/")
                for request in site.log
                if request.path.endswith("/")
            )
            == 2
        )


def test_a_dry_run_writes_nothing(archive_site, tmp_path):
    result = bring(archive_site, tmp_path / "new", dry_run=True)
    assert not (tmp_path / "new").exists() and {
        file.status for file in result.files
    } == {"planned"}
    exact = {file.name: file.size for file in result.files if file.exact}
    assert exact["theta.tab"] == 528 and "about" in repr(
        result
    )  # asked for; Apache rounds the tables
    assert (
        abs(
            sum(file.size for file in result.files)
            - sum(len(table(day)) for day in range(1, 6))
        )
        < 6000
    )
    assert not [
        request
        for request in archive_site.log
        if request.method == "GET" and not request.path.endswith("/")
    ]


def test_parallel_connections_are_as_many_as_allowed(
    archive_site, tmp_path, monkeypatch
):
    busy, most, lock, real = [0], [0], threading.Lock(), module.fetch
    together = threading.Event()  # two transfers at the same time

    def counted(*args):
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
            if busy[0] >= 2:
                together.set()
        together.wait(300)
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: busy.__setitem__(0, busy[0] - 1))
            return real(*args)

    monkeypatch.setattr(module, "fetch", counted)
    bring(archive_site, tmp_path, connections=3)
    assert 2 <= most[0] <= 3
    with pytest.raises(ValueError, match="1 to 16"):
        bring(archive_site, tmp_path, connections=50)


def test_two_runs_on_one_folder(archive_site, tmp_path):
    with (
        folder_lock(tmp_path),
        pytest.raises(DownloadError, match="another download writes to"),
    ):
        bring(archive_site, tmp_path)
    assert not archive_site.log and not bring(archive_site, tmp_path).problem


def test_a_full_disk_ends_the_run(archive_site, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "fetch", full)
    with pytest.raises(OSError, match="No space left"):
        bring(archive_site, tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"files": {"x": {}}}', '{"files": 3}']
)
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match="download.json is damaged .* delete it"):
        Manifest(tmp_path)


def test_days_that_do_not_exist():
    assert clip_days("flux", "1997-01-01", "1998-01-20")[0] == datetime.date(
        1998, 1, 16
    )
    with pytest.raises(ValueError, match="1998-01-16 to 1999-07-29"):
        clip_days("flux", "2001-01-01", "2001-01-02")
    with pytest.raises(ValueError, match="is after end"):
        download("1998-04-02", "1998-04-01")


def test_addresses(monkeypatch):
    monkeypatch.setenv("LUNAR_POTENTIAL_URL_FAST_EES", "http://a/x http://b/y/")
    assert base_urls()["fast-ees"] == ("http://a/x/", "http://b/y/") and base_urls(
        {"fast-ees": "http://c"}
    )["fast-ees"] == ("http://c/",)
    for url in (
        "ftp://host/",
        "host/x",
        "http://",
        "http://h/?q",
        "http://me:secret@host/",
    ):
        with pytest.raises(ValueError, match="not the address of a folder"):
            base_urls({"flux": url})
    assert all(
        urlsplit(url).scheme == "https" and url.endswith("/")
        for each in BASE_URLS.values()
        for url in each
    )
    assert set(BASE_URLS) == set(PRODUCTS)


def test_offline_is_said_once_and_soon(tmp_path, monkeypatch, capsys):
    tries = []

    def unknown(self, method, url, **more):
        tries.append(url)
        raise requests.ConnectionError(
            requests.packages.urllib3.exceptions.MaxRetryError(None, url, OSError("x"))
        ) from socket.gaierror(-3, "Temporary failure")

    monkeypatch.setattr(requests.Session, "request", unknown)
    result = download(
        "1998-04-01",
        "1998-04-30",
        tmp_path,
        urls={name: "http://nowhere/" for name in PRODUCTS},
        patience=QUICK,
    )
    assert len(result.missing) == 36 and len(tries) <= 2
    lines = result.problem.splitlines()
    assert (
        len(lines) <= 9
        and lines[1] == "  nowhere: name cannot be resolved; are you offline?"
    )
    assert (
        result.problem.count("offline") == 1
        and "flux 3D980401.TAB to 3D980430.TAB: nowhere was not reached"
        in result.problem
    )


def test_hosts_are_announced_once(archive_site, tmp_path, capsys):
    said = []
    bring(archive_site, tmp_path, announce=said.append)
    assert said == [f"asking {urlsplit(archive_site.url).netloc} ..."]


def test_a_mirror_laid_out_like_an_archive_needs_one_name(tmp_path, monkeypatch):
    archive = {
        path.replace("/ppi/", "/m/"): content
        for path, content in er_files(days=[1]).items()
    }
    archive |= {
        "/m/"
        + ("spice_kernels/" if not path.endswith(".tab") else "")
        + path.rpartition("/")[2]: content
        for path, content in SMALL.items()
    }
    archive["/m/lowres/1998/091_120APR/EL980401.TAB"] = table(1)
    with Site(archive) as site:
        monkeypatch.setenv("LUNAR_POTENTIAL_URL", site.url + "/m")
        needed = [name for name, product in PRODUCTS.items() if product.default]
        assert not download(
            "1998-04-01", "1998-04-01", tmp_path, [*needed, "lowres"], patience=QUICK
        ).problem
        assert base_urls()["fast-ees"] == (site.url + "/m/fast/ees/",) and base_urls()[
            "level2"
        ] == (site.url + "/m/level2/",)
        monkeypatch.setenv("LUNAR_POTENTIAL_URL_FLUX", "http://other/")
        assert base_urls()["flux"] == ("http://other/",) and base_urls(
            {"flux": "http://third/"}
        )["flux"] == ("http://third/",)


def test_a_server_without_head_is_asked_with_get(archive_site, tmp_path):
    archive_site.heads = False
    result = bring(archive_site, tmp_path / "dry", dry_run=True)
    assert {file.status for file in result.files} == {"planned"} and not (
        tmp_path / "dry"
    ).exists()
    assert {file.name: file.size for file in result.files}["theta.tab"] == 528
    assert not bring(archive_site, tmp_path).problem and {
        file.status for file in bring(archive_site, tmp_path).files
    } == {"kept"}


def test_days_of_optional_daily_products_and_of_the_orbit_are_missed(
    archive_site, tmp_path
):
    archive_site.files |= {
        f"/low/1998/091_120APR/EL98040{day}.TAB": table(day) for day in (1, 3, 5)
    }
    result = bring(
        archive_site,
        tmp_path,
        products=["lowres"],
        urls={"lowres": archive_site.url + "/low/"},
    )
    assert [(file.product, file.name) for file in result.missing] == [
        ("lowres", "1998-04-02"),
        ("lowres", "1998-04-04"),
    ]
    days = {"start": "1998-05-30", "end": "1998-06-02", "products": ["orbit"]}
    assert not bring(archive_site, tmp_path, **days).problem
    del archive_site.files["/spk/lp_ask_980601-981031.bsp"]
    assert [file.name for file in bring(archive_site, tmp_path, **days).missing] == [
        "1998-06-01",
        "1998-06-02",
    ]
    assert (
        "orbit 1998-06-01 to 1998-06-02: no server lists a file"
        in bring(archive_site, tmp_path, **days).problem
    )


def test_a_file_that_may_not_be_written_costs_no_other(
    archive_site, tmp_path, monkeypatch
):
    (tmp_path / "spice_kernels").mkdir()
    (
        tmp_path / "spice_kernels/lpephemu.bsp.part"
    ).mkdir()  # no rights needed: a folder is in the way, also for root
    result = bring(archive_site, tmp_path)
    assert [
        (file.name, file.status) for file in result.files if file.status != "new"
    ] == [("lpephemu.bsp", "failed")]
    assert "lpephemu.bsp.part" in result.problem and len(find_er_files(tmp_path)) == 5
    real = Manifest.intact
    monkeypatch.setattr(
        Manifest,
        "intact",
        lambda self, name: (
            real(self, name) if "3D980401" not in name else open(tmp_path)
        ),
    )
    again = bring(archive_site, tmp_path, dry_run=True)
    assert [file.name for file in again.files if file.status == "failed"] == [
        "3D980401.TAB"
    ] and "Is a directory" in again.problem


def test_a_simulated_archive_is_called_one(archive_site, tmp_path, capsys):
    assert not bring(archive_site, tmp_path / "real").remarks
    write_kernels(tmp_path / "sim/spice_kernels", "1998-04-01", "1998-04-03")
    assert [path.name for path in simulated_signs(walk_files(tmp_path / "sim"))] == [
        "lp_ask_980401-980403.bsp",
        "lpephemu.bsp",
    ]
    (tmp_path / "sim/truth.npz").write_bytes(b"")
    assert (
        run_command_here(archive_site, tmp_path / "sim") == 1
    )  # its lpephemu.bsp is not the server's
    said = capsys.readouterr().err
    assert (
        "files of a simulated archive "
        "(lp_ask_980401-980403.bsp, lpephemu.bsp, truth.npz)" in said
    )


# FAST and the other products


def cdf(kind, stamp, orbit, version=2):
    return f"fa_esa_l2_{kind}_{stamp}_{orbit:05d}_v{version:02d}.cdf"


def test_fast_orbits_in_their_newest_version(tmp_path):
    names = [
        "04/" + cdf("ees", "19980430235900", 6671),
        "04/" + cdf("ees", "19980430235900", 6671, 1),
        "05/" + cdf("ees", "19980501020000", 6672),
        "05/" + cdf("ees", "19980502020000", 6683),
    ]
    with Site(
        {f"/ees/1998/{name}": b"\xcd\xf3\0\1" + name.encode() for name in names}, "iis"
    ) as site:
        result = download(
            "1998-04-30",
            "1998-05-01",
            tmp_path,
            ["fast-ees"],
            {"fast-ees": site.url + "/ees/"},
            patience=QUICK,
        )
        assert sorted(
            path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.cdf")
        ) == ["fast/ees/1998/" + names[0], "fast/ees/1998/" + names[2]]
        only = download(
            "1998-04-30",
            "1998-05-01",
            tmp_path / "b",
            ["fast-ees"],
            {"fast-ees": site.url + "/ees/"},
            (6672, 6680),
            patience=QUICK,
        )
        assert [file.name for file in only.files] == [
            names[2][3:]
        ] and not result.problem


def test_products_for_validation(tmp_path):
    files = {
        "/low/1998/091_120APR/EL980402.TAB": table(2),
        "/l2/DATA/ER_220EV/F980402.TAB": b"1998-04-02 133.1 -24.0",
        "/l2/DATA/ER_220EV/F980502.TAB": b"later",
    }
    with Site(files) as site:
        result = download(
            "1998-04-02",
            "1998-04-02",
            tmp_path,
            ["lowres", "level2"],
            {"lowres": site.url + "/low/", "level2": site.url + "/l2/"},
            patience=QUICK,
        )
        assert {
            path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.TAB")
        } == {"lowres/1998/091_120APR/EL980402.TAB", "level2/DATA/ER_220EV/F980402.TAB"}
        assert not result.problem and find_er_files(tmp_path) == []


def test_files_of_one_name_in_different_folders_do_not_meet(tmp_path):
    files = {
        f"/l2/DATA/ER_{energy}EV/FP980608.TAB": f"{energy} eV".encode() * energy
        for energy in (220, 340)
    }
    with Site(files) as site:
        for status in ("new", "kept"):
            result = download(
                "1998-06-08",
                "1998-06-08",
                tmp_path,
                ["level2"],
                {"level2": site.url + "/l2/"},
                patience=QUICK,
            )
            assert [file.status for file in result.files] == [status] * 2
            assert [
                (tmp_path / "level2" / path[4:]).read_bytes() for path in files
            ] == list(files.values())


# kill, stop, command

RUN = """
import sys
from lunar_potential.batch import run_command
from lunar_potential.data.download import session
import argparse
parser = argparse.ArgumentParser()
session.add_download_arguments(parser)
arguments = parser.parse_args(sys.argv[1:])
sys.exit(run_command("download", session.download_command, arguments))
"""


def arguments(site, root, *more):
    given = [f"--base-url={name}={url}" for name, url in urls(site).items()]
    return [
        "--start=1998-04-01",
        "--end=1998-04-05",
        "--timeout=600",
        f"--data-dir={root}",
        "--quiet",
        *given,
        *more,
    ]


def start(site, root, *more):
    command = [sys.executable, "-c", RUN, *arguments(site, root, *more)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_bytes(root, count, process):
    deadline = time.monotonic() + 600
    part = root / "1998/091_120APR/3D980401.TAB.part"
    while not part.exists() or part.stat().st_size < count:
        assert process.poll() is None and time.monotonic() < deadline, (
            process.stderr.read()
        )
        time.sleep(0.01)


def test_a_killed_run_is_resumed_where_it_was(archive_site, tmp_path):
    path = "/ppi/1998/091_120APR/3D980401.TAB"
    archive_site.faults[path] = [Fault("stall", 60_000)]
    process = start(archive_site, tmp_path)
    wait_for_bytes(tmp_path, 30_000, process)
    process.kill()
    process.communicate()
    part = tmp_path / "1998/091_120APR/3D980401.TAB.part"
    size = part.stat().st_size
    assert 30_000 <= size < len(table(1)) and not part.with_suffix("").exists()
    archive_site.log.clear()
    result = bring(archive_site, tmp_path)
    assert [request.range for request in archive_site.asked(path)] == [f"bytes={size}-"]
    assert not result.problem and [
        path.read_bytes() for path in find_er_files(tmp_path)
    ] == [table(day) for day in range(1, 6)]
    assert next(
        file for file in result.files if file.name == "3D980401.TAB"
    ).pieces == [(size, len(table(1)))]
    assert not list(tmp_path.rglob("*.part*"))


def test_what_a_killed_run_was_writing_is_cleared_away(archive_site, tmp_path):
    folder = tmp_path / "1998/091_120APR"
    folder.mkdir(parents=True)
    for name in (
        ".3D980401.TAB.part.json.0a1b2c3d.tmp",
        ".3D980402.TAB.0a1b2c3d.tmp",
        ".other.tmp",
    ):
        (folder / name).write_text("half")
    assert not bring(archive_site, tmp_path).problem
    assert [path.name for path in folder.iterdir() if path.suffix == ".tmp"] == [
        ".other.tmp"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_keeps_its_parts(archive_site, tmp_path, number):
    path = "/ppi/1998/091_120APR/3D980401.TAB"
    archive_site.faults[path] = [Fault("stall", 60_000)]
    process = start(archive_site, tmp_path)
    wait_for_bytes(tmp_path, 30_000, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=600)
    assert (
        process.returncode == 128 + number
        and "run the same command again" in said
        and "Traceback" not in said
    )
    assert list(tmp_path.rglob("3D980401.TAB.part"))
    assert start(archive_site, tmp_path).wait(timeout=600) == 0
    assert archive_site.asked(path)[-1].range and not list(tmp_path.rglob("*.part*"))


def test_a_signal_while_files_are_handed_out_stops_those_that_run():
    client, started = Client(QUICK), threading.Event()

    def items():
        yield 0
        started.wait(600)
        raise Interrupted(signal.SIGTERM)

    def work(_):
        started.set()
        return client.stopped.wait(600)

    with pytest.raises(Interrupted):
        module._in_threads(client, work, items(), 2)
    assert client.stopped.is_set()


def run_command_here(site, root, *more):
    parser = argparse.ArgumentParser()
    add_download_arguments(parser)
    return download_command(parser.parse_args([*arguments(site, root), *more]))


def test_the_command_prints_and_tells(archive_site, tmp_path, capsys):
    assert run_command_here(archive_site, tmp_path, "--dry-run") == 0
    said = capsys.readouterr().out
    assert (
        "3D980405.TAB" in said
        and "11 planned" in said.splitlines()[-1]
        and "about" in said
    )
    assert (
        run_command_here(archive_site, tmp_path) == 0
        and "11 new" in capsys.readouterr().out
    )
    del archive_site.files["/ppi/1998/091_120APR/3D980403.TAB"]
    assert run_command_here(archive_site, tmp_path / "other") == 1
    assert "flux 1998-04-03: no server lists a file" in capsys.readouterr().err


def test_interrupted_in_this_process(archive_site, tmp_path, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "find_files", stopped)
    with pytest.raises(Interrupted, match="run the same command again"):
        bring(archive_site, tmp_path)


def test_an_outcome_reads_well(archive_site, tmp_path):
    result = bring(archive_site, tmp_path)
    assert (
        isinstance(result, Downloads)
        and "11 new" in repr(result).splitlines()[0]
        and len(result.table()) == 11
    )
    assert str(tmp_path) not in result._repr_html_().replace(str(tmp_path.name), "")
    with pytest.raises(ValueError, match="no such product: flx"):
        download(products=["flx"])


def test_importing_the_page_brings_no_transport():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, lunar_potential.data.download.session; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"requests", "urllib3", "pandas", "numpy"} & set(done.stdout.split())


def test_bytes_that_nobody_counted_are_called_unchecked(archive_site, tmp_path):
    archive_site.lengths = False
    archive_site.files = {
        path: content
        for path, content in archive_site.files.items()
        if not path.endswith(".xml")
    }
    archive_site.faults["/spk/lpephemu.bsp"] = [Fault("cut", 12)]
    for _ in range(2):  # arrived, then kept
        result = bring(archive_site, tmp_path)
        checked = {
            name.rpartition("/")[2]: entry["checked"]
            for name, entry in json.loads((tmp_path / MANIFEST).read_text())[
                "files"
            ].items()
        }
        assert (
            checked["theta.tab"] == "nothing" and checked["lpephemu.bsp"] == "nothing"
        )
        assert checked["3D980401.TAB"] == "about"  # Apache rounds
        assert any(
            "theta.tab" in line and "may end early" in line for line in result.remarks
        )
        assert "may end early" in repr(result) and not any(
            "3D9804" in line for line in result.remarks
        )
