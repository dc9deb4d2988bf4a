"""What lies in an archive and is no file of it: pipes, devices, AppleDouble copies."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from lunar_potential.config import Config, fingerprint, hash_of, input_hashes
from lunar_potential.data.archive import (
    Archive,
    ArchiveError,
    file_hash,
    file_state,
    find_er_files,
    require_files,
    special_kind,
    walk_files,
)
from lunar_potential.data.download.manifest import simulated_signs
from lunar_potential.physics.attitude import read_attitude
from lunar_potential.physics.pool import furnish
from lunar_potential.quality.doctor.report import doctor
from lunar_potential.quality.validate.fluxes import low_resolution_files
from lunar_potential.quality.validate.footpoints import footpoint_files

APPLE_DOUBLE = bytes.fromhex("00051607000200004d6163204f5320582020202020202020")


def add_apple_double(root):
    "What macOS leaves beside every file on a foreign disk."
    for path in walk_files(root):
        path.with_name(f"._{path.name}").write_bytes(APPLE_DOUBLE)


def described(root):
    return str(doctor(root, machine=False))


def test_apple_double_changes_nothing(own_archive):
    def state():
        inputs = input_hashes(own_archive)
        return (
            walk_files(own_archive.root),
            inputs,
            fingerprint("abc", inputs, Config()),
            own_archive.files(),
            [path.name for path in own_archive.kernels],
            furnish(own_archive.kernels).hashes,
            described(own_archive.root),
            simulated_signs(walk_files(own_archive.root)),
        )

    before = state()
    add_apple_double(own_archive.root)
    assert len(list(own_archive.root.rglob("._*.bsp"))) == 2
    assert state() == before


def test_apple_double_alone_is_nothing(tmp_path):
    for name in (
        "3D980401.TAB",
        "theta.tab",
        "attitude.tab",
        "a.bsp",
        "b.tls",
        "c.tpc",
    ):
        (tmp_path / f"._{name}").write_bytes(APPLE_DOUBLE)
    assert walk_files(tmp_path) == []
    with pytest.raises(ArchiveError, match="3Dyymmdd.TAB; theta.tab; attitude.tab"):
        Archive(tmp_path).check()


# --- pipes and devices

NAMES = {
    "3D980616.TAB": lambda a: a.files(),
    "theta.tab": lambda a: a.theta,
    "attitude.tab": lambda a: a.attitude,
    "lp_ask_a.bsp": lambda a: a.kernels,
    "pck00011.tpc": lambda a: a.kernels,
    "naif.tls": lambda a: a.kernels,
    "EL980616.TAB": low_resolution_files,
    "ER_220EV/199806.TAB": footpoint_files,
}
KINDS = {
    "a named pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.fixture
def watched():
    "Opens pipes after two minutes, so that a reader that waits for ever goes on."
    pipes, done = [], threading.Event()

    def release():
        if not done.wait(120):
            for path in pipes:
                os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))

    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    yield pipes
    done.set()
    thread.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_file_is_named_and_never_opened(own_archive, watched, kind, name):
    root = own_archive.root
    path = root / "odd" / name
    path.parent.mkdir(parents=True)
    KINDS[kind](path)
    watched.append(path)
    with pytest.raises(ArchiveError, match=f"{path.name} is {kind}"):
        NAMES[name](own_archive)
    found = doctor(root, machine=False)
    (finding,) = [check for check in found.checks if check.name == "no file"]
    assert str(path) in finding.found and kind in finding.found
    read_by_a_run = "EL" not in name and "ER" not in name
    assert finding.level == ("MISSING" if read_by_a_run else "note")
    assert simulated_signs(walk_files(root))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_that_is_given_by_name(own_archive, watched, tmp_path):
    pipe = tmp_path / "lp_ask_b.bsp"
    os.mkfifo(pipe)
    watched.append(pipe)
    for ask in (
        file_hash,
        file_state,
        hash_of,
        read_attitude,
        lambda path: furnish([*own_archive.kernels, path]),
    ):
        with pytest.raises(ArchiveError, match="named pipe|not exist|regular"):
            ask(pipe)


def test_kinds_of_path(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "broken").symlink_to("nowhere")
    assert special_kind(tmp_path) == "a folder"
    assert not any(special_kind(tmp_path / name) for name in ("a", "link", "broken"))
    assert require_files([tmp_path / "link"]) == [tmp_path / "link"]
    with pytest.raises(FileNotFoundError):
        file_state(tmp_path / "broken")


def test_a_pipe_of_another_day_is_no_hindrance(own_archive, watched):
    pipe = own_archive.root / "3D990101.TAB"
    os.mkfifo(pipe)
    watched.append(pipe)
    assert len(find_er_files(own_archive.root, 1998)) == 3


# --- files that are replaced


@pytest.mark.parametrize("how", ["in place", "renamed", "copied with its times"])
def test_a_hash_is_of_the_bytes_that_are_there(tmp_path, how):
    "Size and time of modification stay the same."
    path, other = tmp_path / "a.bsp", tmp_path / "b.bsp"
    for one, content in ((path, b"one"), (other, b"two")):
        one.write_bytes(content)
        os.utime(one, (1e9, 1e9))
    before, state = hash_of(path), file_state(path)
    threading.Event().wait(0.05)  # the clock of a file system has steps
    if how == "in place":
        path.write_bytes(b"two")
        os.utime(path, (1e9, 1e9))
    elif how == "renamed":
        os.replace(other, path)
    else:
        shutil.copy2(other, path)
    assert os.stat(path).st_mtime == 1e9 and Path(path).read_bytes() == b"two"
    assert file_state(path) != state and hash_of(path) == file_hash(path) != before
