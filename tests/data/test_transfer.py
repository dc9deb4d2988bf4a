"""One file: whatever server and line do, the right bytes under its name, or none."""

import dataclasses
import datetime
import hashlib
import json
import threading
import time
from email.utils import format_datetime
from urllib.parse import urlsplit

import pytest
import requests
from http_server import Fault, Site
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar_potential.data.archive import walk_files
from lunar_potential.data.download import client as client_room
from lunar_potential.data.download import transfer as transfer_room
from lunar_potential.data.download.client import (
    Client,
    DownloadError,
    Head,
    Patience,
    Refused,
    read_page,
)
from lunar_potential.data.download.listing import Promise
from lunar_potential.data.download.transfer import Damaged, Part, fetch

QUICK = Patience(first=0.01, longest=0.05, read=300, connect=300)
DATA = bytes(hashlib.sha256(b"seed").digest()) * 8000  # 256 kB
PATH = "/er/3D980401.TAB"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def site():
    with Site({PATH: DATA}) as site:
        yield site


def get(site, folder, faults=(), promise=Promise(), patience=QUICK):
    site.faults[PATH] = list(faults)
    return fetch(Client(patience), site.url + PATH, folder / "3D980401.TAB", promise)


def only_the_file(folder):
    return [path.name for path in walk_files(folder)] == ["3D980401.TAB"] and (
        folder / "3D980401.TAB"
    ).read_bytes() == DATA


# one file


def test_a_whole_file_arrives(site, tmp_path):
    got = get(site, tmp_path)
    assert got.sha256 == hashlib.sha256(DATA).hexdigest() and got.pieces == [
        (0, len(DATA))
    ]
    assert only_the_file(tmp_path)


@pytest.mark.parametrize("kind", ["both", "etag", "modified", "weak"])
def test_a_cut_transfer_asks_for_the_rest_only(site, tmp_path, kind):
    site.kind = kind
    get(site, tmp_path, [Fault("cut", 100_000), Fault("cut", 60_000)])
    first, *others = site.asked(PATH)
    assert not first.range and len(others) == 2
    starts = [int(request.range[6:-1]) for request in others]
    assert 80_000 < starts[0] <= 100_000 and starts[0] + 40_000 < starts[1] <= 160_000
    expected = site.validators(PATH)[
        "ETag" if kind in ("both", "etag") else "Last-Modified"
    ]
    assert {request.if_range for request in others} == {expected}
    assert only_the_file(tmp_path)


def test_without_a_validator_a_transfer_starts_again(site, tmp_path):
    site.kind = "none"
    get(site, tmp_path, [Fault("cut", 100_000)])
    assert [request.range for request in site.asked(PATH)] == [
        "",
        "",
    ] and only_the_file(tmp_path)


def test_a_stalled_transfer_goes_on(site, tmp_path):
    hasty = dataclasses.replace(QUICK, read=5)
    get(site, tmp_path, [Fault("stall", 120_000)], patience=hasty)
    assert (
        len(site.asked(PATH)) == 2
        and site.asked(PATH)[1].range
        and only_the_file(tmp_path)
    )


def test_a_server_that_ignores_ranges_sends_all_again(site, tmp_path):
    site.ranges = False
    got = get(site, tmp_path, [Fault("cut", 100_000)])
    assert (
        site.asked(PATH)[1].range
        and got.pieces[-1] == (0, len(DATA))
        and only_the_file(tmp_path)
    )


def test_a_file_that_changes_in_mid_transfer_is_never_mixed(site, tmp_path):
    new = DATA[::-1] + b"more"
    get(site, tmp_path, [Fault("swap", new)])
    assert (tmp_path / "3D980401.TAB").read_bytes() == new
    assert site.asked(PATH)[1].range and [
        path.name for path in walk_files(tmp_path)
    ] == ["3D980401.TAB"]


@pytest.mark.parametrize(
    "answer",
    [f"bytes 7-{len(DATA) - 1}/{len(DATA)}", "bytes 98304-100/5", "nonsense", ""],
)
def test_a_wrong_partial_answer_is_not_appended(site, tmp_path, answer):
    get(site, tmp_path, [Fault("cut", 100_000), Fault("wrong206", answer)])
    assert only_the_file(tmp_path)


def test_a_part_longer_than_the_file_is_begun_anew(site, tmp_path):
    with pytest.raises(DownloadError):
        get(
            site,
            tmp_path,
            [Fault("cut", 100_000)],
            patience=dataclasses.replace(QUICK, attempts=1),
        )
    site.files[PATH] = short = DATA[:50_000]
    note = tmp_path / "3D980401.TAB.part.json"
    note.write_text(
        json.dumps(
            json.loads(note.read_text())
            | {"size": None, "etag": site.validators(PATH)["ETag"]}
        )
    )
    get(site, tmp_path)
    assert (
        site.asked(PATH)[1].range and (tmp_path / "3D980401.TAB").read_bytes() == short
    )


def test_a_complete_part_is_only_checked_and_named(site, tmp_path):
    part = Part(tmp_path / "3D980401.TAB")
    part.begin(site.url + PATH, Head(len(DATA), '"x"', ""))
    part.path.write_bytes(DATA)
    get(site, tmp_path)
    assert not site.log and only_the_file(tmp_path)


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"url": 3, "size": "x"}', "\udcff"])
def test_a_part_with_a_damaged_note_is_begun_anew(site, tmp_path, note):
    (tmp_path / "3D980401.TAB.part").write_bytes(b"rubbish")
    (tmp_path / "3D980401.TAB.part.json").write_bytes(
        note.encode(errors="surrogateescape")
    )
    get(site, tmp_path)
    assert not site.asked(PATH)[0].range and only_the_file(tmp_path)


def test_the_part_of_another_address_is_not_continued(site, tmp_path):
    part = Part(tmp_path / "3D980401.TAB")
    part.begin("http://elsewhere/x", Head(len(DATA), '"x"', ""))
    part.path.write_bytes(b"rubbish")
    get(site, tmp_path)
    assert not site.asked(PATH)[0].range and only_the_file(tmp_path)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_kept(site, tmp_path, status):
    get(site, tmp_path, [Fault("status", status, "1")])
    first, second = site.asked(PATH)
    assert second.time - first.time >= 1 and only_the_file(tmp_path)


def test_retry_after_holds_every_connection_back(site, tmp_path):
    other = "/er/other"
    site.files[other], site.faults[other] = b"x", []
    client, site.faults[PATH] = Client(QUICK), [Fault("status", 429, "1")]
    thread = threading.Thread(
        target=fetch, args=(client, site.url + PATH, tmp_path / "a")
    )
    thread.start()
    while not client.not_before:  # until the answer is read
        time.sleep(0.005)
    fetch(client, site.url + other, tmp_path / "b")
    thread.join()
    assert site.asked(other)[0].time - site.asked(PATH)[0].time >= 0.9


def test_retry_after_may_be_a_date(site, tmp_path):
    date = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    date += datetime.timedelta(seconds=3)
    until = time.monotonic() + date.timestamp() - time.time()
    get(site, tmp_path, [Fault("status", 503, format_datetime(date, usegmt=True))])
    _, second = site.asked(PATH)
    assert second.time >= until - 0.1


def test_a_server_that_wants_an_hour_is_left_alone(site, tmp_path):
    with pytest.raises(DownloadError, match="left alone for 3600 s"):
        get(site, tmp_path, [Fault("status", 429, "3600")])
    assert len(site.log) == 1


def test_waits_double_and_vary():
    waits = [[Patience().backoff(n) for n in range(1, 12)] for _ in range(50)]
    for n, at_step in enumerate(zip(*waits)):
        top = min(60, 2.0**n)
        assert (
            all(top / 2 <= wait <= top for wait in at_step) and len(set(at_step)) > 40
        )


def test_patience_ends(site, tmp_path):
    with pytest.raises(DownloadError, match="given up after 6 failures"):
        get(site, tmp_path, [Fault("status", 500)] * 20)
    assert len(site.log) == 6 and not (tmp_path / "3D980401.TAB").exists()


def test_a_line_that_breaks_often_but_moves_is_not_given_up(site, tmp_path):
    get(site, tmp_path, [Fault("cut", 20_000)] * 11)
    assert len(site.log) >= 12 and only_the_file(tmp_path)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416])
def test_a_definite_no_is_asked_once(site, tmp_path, status):
    with pytest.raises(Refused, match=f"HTTP {status}"):
        get(site, tmp_path, [Fault("status", status)])
    assert len(site.log) == 1 and not walk_files(tmp_path)


def test_a_web_page_is_no_table(site, tmp_path):
    with pytest.raises(Refused, match="web page instead of the file"):
        get(site, tmp_path, [Fault("page")])
    assert not walk_files(tmp_path)


def test_a_compressed_answer_is_refused(site, tmp_path):
    with pytest.raises(Refused, match="encodes the file on its way"):
        get(site, tmp_path, [Fault("encoded")])


@pytest.mark.parametrize(
    "place",
    [
        "http://localhost:{port}/er/x",
        "http://127.0.0.1:1/x",
        "ftp://127.0.0.1/x",
        "https://example.org/x",
        "file:///etc/passwd",
    ],
)
def test_redirects_to_other_places_are_refused(site, tmp_path, place):
    place = place.format(port=urlsplit(site.url).port)
    with pytest.raises(Refused, match="--base-url"):
        get(site, tmp_path, [Fault("redirect", place)])
    assert len(site.log) == 1 and not walk_files(tmp_path)


def test_a_redirect_to_no_address_is_refused(site, tmp_path):
    with pytest.raises(Refused, match="which is another place"):
        get(site, tmp_path, [Fault("redirect", "http://[")])


def test_redirects_on_one_host_are_followed_but_not_for_ever(site, tmp_path):
    site.files["/moved"] = DATA
    get(site, tmp_path, [Fault("redirect", "/moved")])
    assert only_the_file(tmp_path)
    with pytest.raises(Refused, match="too many redirects"):
        get(site, tmp_path, [Fault("redirect", PATH)] * 9)


def test_a_connection_is_never_downgraded():
    with pytest.raises(Refused, match="another place"):
        client_room._redirected("https://host/x", "http://host/x")
    assert (
        client_room._redirected("http://host/x", "https://host/y") == "https://host/y"
    )


def test_nobody_listens(tmp_path):
    with Site() as site:
        url = site.url
    with pytest.raises(DownloadError, match="connection refused"):
        fetch(Client(QUICK), url + PATH, tmp_path / "x")


def test_a_wrong_checksum_is_fetched_twice_and_then_an_error(site, tmp_path):
    with pytest.raises(Damaged, match="MD5 .* instead of"):
        get(site, tmp_path, promise=Promise(len(DATA), "0" * 32))
    assert [request.range for request in site.log] == ["", ""] and not walk_files(
        tmp_path
    )


def test_a_part_that_rotted_is_found_by_the_checksum(site, tmp_path):
    with pytest.raises(DownloadError):
        get(
            site,
            tmp_path,
            [Fault("cut", 100_000)],
            patience=dataclasses.replace(QUICK, attempts=1),
        )
    part = tmp_path / "3D980401.TAB.part"
    part.write_bytes(b"?" + part.read_bytes()[1:])
    get(site, tmp_path, promise=Promise(md5=hashlib.md5(DATA).hexdigest()))
    assert [bool(request.range) for request in site.log] == [
        False,
        True,
        False,
    ] and only_the_file(tmp_path)


@pytest.mark.parametrize(
    "promise",
    [
        Promise(len(DATA) + 1),
        Promise(about=(300_000, 20_000)),
        Promise(md5=hashlib.md5(b"").hexdigest()),
    ],
)
def test_a_truncated_file_without_length_is_found(site, tmp_path, promise):
    site.lengths = False
    with pytest.raises(Damaged):
        get(site, tmp_path, promise=promise)
    assert not walk_files(tmp_path)


def test_a_full_disk_is_no_matter_of_patience(site, tmp_path):
    def fail(count):
        if count:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fetch(Client(QUICK), site.url + PATH, tmp_path / "x", on_bytes=fail)
    assert len(site.log) == 1


FAULTS = st.one_of(
    st.builds(Fault, st.just("cut"), st.integers(0, len(DATA))),
    st.builds(Fault, st.just("status"), st.sampled_from([429, 500, 502, 503, 504])),
    st.builds(
        Fault,
        st.just("wrong206"),
        st.sampled_from(["", "bytes 0-9/10", f"bytes 16384-{len(DATA) - 1}/*"]),
    ),
    st.just(Fault("swap", DATA)),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    faults=st.lists(FAULTS, max_size=5),
    kind=st.sampled_from(["both", "etag", "weak", "none"]),
    ranges=st.booleans(),
)
def test_whatever_happens_the_bytes_are_right_and_counted(
    site, tmp_path_factory, faults, kind, ranges
):
    folder, seen = tmp_path_factory.mktemp("any"), []
    site.kind, site.ranges, site.faults[PATH] = kind, ranges, list(faults)
    fetch(
        Client(dataclasses.replace(QUICK, attempts=9, first=0.001, longest=0.001)),
        site.url + PATH,
        folder / "3D980401.TAB",
        Promise(len(DATA), hashlib.md5(DATA).hexdigest()),
        seen.append,
    )
    assert only_the_file(folder) and sum(seen) == len(DATA)


# servers and lines that give nothing new, no end, or too much


@pytest.mark.parametrize("kind", ["both", "none"])
def test_the_same_half_again_and_again_is_given_up(site, tmp_path, kind):
    site.ranges, site.kind = False, kind
    with pytest.raises(DownloadError, match="given up after 3 failures"):
        get(
            site,
            tmp_path,
            [Fault("cut", 100_000)] * 100,
            patience=dataclasses.replace(QUICK, attempts=3, first=0.001),
        )
    assert len(site.log) <= 6, (
        "the first bytes count as new, and so may a few that the last answer lost"
    )


@pytest.mark.parametrize("promise", [Promise(1000), Promise(about=(1000, 200))])
@pytest.mark.parametrize("lengths", [True, False])
def test_a_flood_ends_where_the_promise_ends(site, tmp_path, promise, lengths):
    site.files[PATH], site.lengths = DATA * 100, lengths
    with pytest.raises(Damaged, match="allows at most 1[02]00"):
        get(site, tmp_path, promise=promise)
    assert len(site.log) == 2 and not walk_files(tmp_path)


def test_a_flood_without_any_promise_ends(site, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer_room, "_LARGEST_FILE", 50_000)
    site.lengths, seen = False, []
    with pytest.raises(Damaged, match="allows at most 50000"):
        fetch(Client(QUICK), site.url + PATH, tmp_path / "x", on_bytes=seen.append)
    assert sum(seen) == 0 and max(seen) <= 70_000 and not walk_files(tmp_path)


def test_a_page_that_drips_is_left(site):
    site.faults["/er/"] = [Fault("drip")]
    with pytest.raises(DownloadError, match="had not arrived after 0.5 s"):
        read_page(Client(dataclasses.replace(QUICK, page=0.5)), site.url + "/er/")
    assert len(site.log) == 1


def test_a_server_that_was_there_is_asked_more_often_than_one_that_never_was(
    site, tmp_path, monkeypatch
):
    client = Client(QUICK)
    fetch(client, site.url + PATH, tmp_path / "a")
    tries = []

    def refuse(self, method, url, **more):
        tries.append(url)
        raise requests.ConnectionError(ConnectionRefusedError(111, "refused"))

    monkeypatch.setattr(requests.Session, "request", refuse)
    with pytest.raises(DownloadError, match="connection refused; given up after 6"):
        fetch(client, site.url + PATH, tmp_path / "b")
    assert len(tries) == 6
    with pytest.raises(DownloadError, match="nowhere: connection refused$"):
        fetch(client, "http://nowhere/x", tmp_path / "b")
    assert len(tries) == 8
