"""Servers that drip, stay silent, send something else, or write to the terminal."""

import dataclasses
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from http_server import Fault, Site

from lunar_potential.cli import main
from lunar_potential.data.archive import walk_files
from lunar_potential.data.download.client import (
    Client,
    DownloadError,
    Head,
    Patience,
    Refused,
    ask_head,
    read_page,
)
from lunar_potential.data.download.listing import Promise
from lunar_potential.data.download.outcome import Downloads, FileOutcome
from lunar_potential.data.download.products import LOOK, PRODUCTS
from lunar_potential.data.download.session import download
from lunar_potential.data.download.transfer import Part, fetch
from lunar_potential.synthetic.simulate import simulate_archive

FOREVER = Patience(first=0.01, longest=0.05, read=1e6, connect=1e6, page=1e6, rate=0)
STRICT = dataclasses.replace(FOREVER, rate=9000, window=1, attempts=2)
ROW = b"1998-04-01T00:00:04      891388804  16680.334      1\r\n"
DATA, PATH = ROW * 5000, "/er/1998/091_120APR/3D980401.TAB"
DAY = {"start": "1998-04-01", "end": "1998-04-01", "products": ["flux"]}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def site():
    with Site({PATH: DATA, PATH.replace("TAB", "xml"): b"<label/>"}) as site:
        yield site


def get(site, folder, faults, patience=STRICT):
    site.faults[PATH] = list(faults)
    return fetch(Client(patience), site.url + PATH, folder / "3D980401.TAB")


# time


@pytest.mark.parametrize("kind", ["drip", "drip head", "mute"])
def test_a_transfer_that_drips_for_ever_ends(site, tmp_path, kind):
    with pytest.raises(
        DownloadError, match="fewer than 9000 bytes per second for 1 s .* 2 failures"
    ):
        get(site, tmp_path, [Fault(kind)] * 100)
    assert len(site.log) == 2 and not (tmp_path / "3D980401.TAB").exists()


def test_a_server_that_hangs_up_after_every_byte_is_given_up(site, tmp_path):
    with pytest.raises(DownloadError, match="given up after 3 failures"):
        patience = dataclasses.replace(STRICT, attempts=3)
        get(site, tmp_path, [Fault("cut", 1)] * 100, patience)
    assert len(site.log) == 3


def test_a_drip_in_between_costs_no_byte(site, tmp_path):
    faults = [Fault("cut", 100_000), Fault("drip"), Fault("cut", 50_000)]
    get(site, tmp_path, faults, dataclasses.replace(STRICT, attempts=9))
    assert (tmp_path / "3D980401.TAB").read_bytes() == DATA
    assert site.log[1].range and len(site.log) >= 3


def test_a_head_that_drips_is_left(site):
    site.heads = False  # so HEAD becomes GET
    site.faults[PATH] = [Fault("drip head")]
    hasty = Client(dataclasses.replace(FOREVER, page=0.5))
    with pytest.raises(DownloadError, match="had not arrived after 0.5 s"):
        ask_head(hasty, site.url + PATH)
    site.faults[PATH] = [Fault("drip head")]
    with pytest.raises(DownloadError, match="had not arrived after 0.5 s"):
        read_page(hasty, site.url + PATH)


def test_the_body_of_a_redirect_is_not_read(site, tmp_path):
    site.files["/moved"] = DATA
    get(site, tmp_path, [Fault("drip", "/moved")], FOREVER)
    assert (tmp_path / "3D980401.TAB").read_bytes() == DATA


def test_a_wait_that_the_server_asks_for_is_no_slowness(site, tmp_path):
    patience = dataclasses.replace(STRICT, attempts=50)
    get(site, tmp_path, [Fault("status", 503, "2")], patience)
    assert (tmp_path / "3D980401.TAB").read_bytes() == DATA


def test_rate_and_window_are_options_of_the_command(site, tmp_path, capsys):
    site.faults[PATH] = [Fault("drip")] * 9
    options = "--attempts 1 --timeout 1 --rate-window 1 --min-rate 8500".split()
    days = "--start 1998-04-01 --end 1998-04-01 --products flux --quiet".split()
    address = ["--base-url", f"flux={site.url}/er/", "--data-dir", str(tmp_path)]
    assert main(["download", *days, *address, *options]) == 1
    assert "fewer than 8500 bytes per second for 1 s" in capsys.readouterr().err


def test_the_slowest_rate_can_be_measured():
    for rate, window in ((1, 1), (100, 60), (-1, 60), (float("nan"), 60)):
        with pytest.raises(ValueError, match="rate x window"):
            Patience(rate=rate, window=window)
    assert Patience(rate=0).rate == 0


# stopping

STOPPABLE = """
import sys
from lunar_potential.data.download.client import Patience
from lunar_potential.data.download.session import download
from lunar_potential.run.signals import Interrupted, stop_signals
forever = Patience(read=1e6, connect=1e6, page=1e6, rate=0)
url, root = sys.argv[1:]
try:
    with stop_signals():
        download(
            "1998-04-01", "1998-04-01", root, ["flux"], {"flux": url},
            patience=forever, progress=False,
        )
except Interrupted as stop:
    print(stop)
    sys.exit(128 + stop.number)
"""


@pytest.mark.parametrize("kind", ["drip", "drip head", "mute"])
@pytest.mark.parametrize(
    "path", ["/er/", PATH.replace("TAB", "xml"), PATH], ids=["page", "label", "file"]
)
def test_a_signal_ends_what_would_never_end(site, tmp_path, kind, path):
    site.faults[path] = [Fault(kind)] * 100
    site.files["/er/1998/091_120APR/3D980401.xml"] = b"<label/>"
    command = [sys.executable, "-c", STOPPABLE, site.url + "/er/", str(tmp_path)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 600
    while not site.asked(path):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 130 and "run the same command again" in said
    assert not list(tmp_path.rglob("*.TAB"))


def test_a_cut_answer_of_unknown_length_is_no_file(site, tmp_path):
    site.lengths, site.faults[PATH] = False, [Fault("stall", 50_000)]
    client = Client(FOREVER)

    def stop(count):
        client.stop()

    with pytest.raises(DownloadError, match="stopped"):
        fetch(client, site.url + PATH, tmp_path / "x.TAB", on_bytes=stop)
    assert not (tmp_path / "x.TAB").exists()


# something else

LOGIN = b"<!DOCTYPE html>\n<title>Log in \x1b[2J</title>" + b"<p>room 101</p>" * 50
OTHERS = {
    "a web page": LOGIN,
    "JSON": b'{"error": 1998, "message": "token expired"}',
    "text": b"please log in\n",
    "a gzip archive": b"\x1f\x8b\x08" + bytes(100),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("name", list(PRODUCTS))
def test_what_is_not_the_product_gets_no_name(tmp_path, name, kind):
    with Site({"/x": OTHERS[kind]}) as site:
        with pytest.raises(Refused, match=f"{kind}.* arrived instead of") as caught:
            fetch(
                Client(FOREVER), site.url + "/x", tmp_path / "x", Promise(product=name)
            )
    assert str(caught.value).isprintable() and not list(tmp_path.iterdir())


def test_a_login_page_is_reported_and_the_mirror_steps_in(site, tmp_path):
    site.faults[PATH] = [Fault("instead", LOGIN)] * 2
    only = {"patience": FOREVER, "data_dir": tmp_path, **DAY}
    result = download(**only, urls={"flux": site.url + "/er/"}, labels=False)
    assert [file.status for file in result.files] == ["failed"]
    assert "a web page" in result.problem and not list(tmp_path.rglob("*.TAB*"))
    site.files["/copy" + PATH[3:]] = DATA
    both = [site.url + "/er/", site.url + "/copy/"]
    result = download(**only, urls={"flux": both}, labels=False)
    assert [file.status for file in result.files] == ["new"]


def test_bytes_that_the_label_vouches_for_are_the_archives_own(site, tmp_path):
    site.files[PATH] = odd = b"END OF DATA"
    promise = Promise(md5=hashlib.md5(odd).hexdigest(), product="flux")
    fetch(Client(FOREVER), site.url + PATH, tmp_path / "x", promise)
    assert (tmp_path / "x").read_bytes() == odd


def test_simulated_files_look_like_their_products(tmp_path):
    days = {"dates": ["1998-04-01"], "sweeps_per_day": 12, "cadence": 7000}
    simulate_archive(tmp_path, **days, seed=1)
    seen = set()
    for path in walk_files(tmp_path):
        for name, product in PRODUCTS.items():
            if product.match(path.name) and name != "level2":
                seen.add(name)
                assert product.looks_right(path.read_bytes()[:LOOK]), path.name
                assert not product.looks_right(LOGIN), name
    assert seen == {name for name, product in PRODUCTS.items() if product.default}


# the terminal

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b1m\r"


def test_words_of_a_server_never_act_on_a_terminal(site, tmp_path):
    site.faults[PATH] = [Fault("words", 403, "no " + ESCAPES)]
    command = "from lunar_potential.cli import main; raise SystemExit(main())"
    arguments = [
        *("download", "--start", "1998-04-01", "--end", "1998-04-01"),
        *("--products", "flux", "--base-url", f"flux={site.url}/er/", "-v"),
        *("--data-dir", str(tmp_path)),
    ]
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments],
        capture_output=True,
        timeout=600,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 1 and r"no \x1b[2J" in said
    assert not re.findall(r"[^\n -~]", said)


def test_outcomes_are_shown_and_never_act():
    file = FileOutcome(
        "level2", f"a{ESCAPES}.TAB", "failed", reason=f"<script>{ESCAPES}</script>"
    )
    unreachable = {f"host{ESCAPES}": f"why{ESCAPES}"}
    result = Downloads(Path("data"), [file], unreachable=unreachable)
    for line in str(result).split("\n"):
        assert line.isprintable()
    shown = result._repr_html_()
    assert "<script" not in shown and not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown
    )


def test_a_page_shows_the_names_of_files_in_the_present_folder():
    file = FileOutcome("flux", "3D980401.TAB", "new", 5, path=Path("a/3D980401.TAB"))
    shown = Downloads(Path("."), [file])._repr_html_()
    assert "3D980401.TAB" in shown and str(Path("a/3D980401.TAB")) in shown


def test_headers_that_cannot_be_sent_back_are_no_versions():
    odd = {"ETag": '"\x1b[2J"', "Last-Modified": "x" * 300, "Content-Length": "7"}
    assert Head.of(odd) == Head(7)


# parts


def test_a_part_that_is_a_link_is_not_continued(site, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_bytes(b"precious")
    part = Part(tmp_path / "er" / "3D980401.TAB")
    etag = site.validators(PATH)["ETag"]
    part.begin(site.url + PATH, Head(len(DATA), etag))
    part.path.unlink()
    part.path.symlink_to(mine)
    fetch(Client(FOREVER), site.url + PATH, part.final)
    assert mine.read_bytes() == b"precious" and part.final.read_bytes() == DATA


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "[]", '{"size": 1e999}'])
def test_a_note_of_any_content_is_only_not_continued(tmp_path, text):
    part = Part(tmp_path / "x")
    part.path.write_bytes(b"1234")
    part.note.write_text(text)
    assert part.resumable("http://host/x") == (0, Head())


@pytest.mark.parametrize("digits", ["9" * 19, "9" * 5000])
def test_a_range_of_any_length_is_read(site, tmp_path, digits):
    odd = f"bytes 98304-{digits}/{digits}"
    get(site, tmp_path, [Fault("cut", 100_000), Fault("wrong206", odd)], FOREVER)
    assert (tmp_path / "3D980401.TAB").read_bytes() == DATA
