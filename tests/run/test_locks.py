"""Locks: one run at a time, and never through a link of somebody else."""

import logging
import os
import subprocess
import sys

import pytest

from lunar_potential.data.download.client import DownloadError
from lunar_potential.data.download.manifest import folder_lock
from lunar_potential.fast.state import alone_with
from lunar_potential.run.locks import open_lock, take_lock

HOLD = """
import sys
from lunar_potential.run.locks import open_lock, take_lock
with open_lock(sys.argv[1]) as file:
    print(take_lock(file), flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_leaves_no_lock(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == "True\n"
        with open_lock(tmp_path / "lock") as file:
            assert not take_lock(file)
        other.kill()
    with open_lock(tmp_path / "lock") as file:
        assert take_lock(file)


@pytest.fixture(params=["file", "nothing", "itself"])
def link(request, tmp_path):
    "A link in the place of a lock, and what it leads to."
    folder = tmp_path / "shared"
    folder.mkdir()
    target = tmp_path / "precious"
    if request.param == "file":
        target.write_text("precious")
    return lambda name: (
        (folder / name).symlink_to(target if request.param != "itself" else name),
        folder,
        target,
    )[1:]


def unharmed(target):
    return not target.exists() or target.read_text() == "precious"


def test_a_download_is_not_locked_through_a_link(link):
    folder, target = link(".download.lock")
    with pytest.raises(DownloadError, match="download.lock: a lock is never a link"):
        with folder_lock(folder):
            pass
    assert unharmed(target) and (folder / ".download.lock").is_symlink()


def test_a_state_is_not_locked_through_a_link(link, caplog):
    folder, target = link(".state.json.lock")
    with caplog.at_level(logging.WARNING), alone_with(folder / "state.json"):
        pass
    assert "a lock is never a link" in caplog.text and unharmed(target)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_or_a_folder_is_no_lock(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="a lock is a plain file"):
        open_lock(tmp_path / "pipe")
    with pytest.raises(OSError, match="directory"):
        open_lock(tmp_path / "folder")


def test_a_link_put_there_in_the_last_moment_is_refused(tmp_path, monkeypatch):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(os.path, "islink", lambda path: False)
    with pytest.raises(OSError):
        open_lock(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()


def test_words_in_a_lock_never_act_on_a_terminal(tmp_path, caplog):
    with open_lock(tmp_path / ".state.lock") as file:
        assert take_lock(file)
        file.write("\x1b[2J")
        file.flush()
        command = [
            sys.executable,
            "-c",
            "import logging, sys; logging.basicConfig()\n"
            "from lunar_potential.fast.state import alone_with\n"
            "with alone_with(sys.argv[1]): print('mine')",
            str(tmp_path / "state"),
        ]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        other = subprocess.Popen(command, **pipes)
        said = other.stderr.readline()
    assert other.communicate(timeout=600)[0] == "mine\n" and r"by \x1b[2J;" in said
