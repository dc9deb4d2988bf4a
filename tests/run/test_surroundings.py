"""Commands in strange surroundings: no standard streams, no reader, no folder, no room.

With real processes."""

import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import jobs_work
import pytest

import lunar_potential
from lunar_potential.run.channel import use_short_sockets
from lunar_potential.run.jobs import run_jobs
from lunar_potential.run.log import progress_bar, say

PATIENCE = 600
PACKAGE = str(Path(lunar_potential.__file__).parents[1])
PATHS = os.pathsep.join([PACKAGE, str(Path(jobs_work.__file__).parent)])


def script(code):
    "Arguments that run a piece of code in a process of its own."
    return [sys.executable, "-c", textwrap.dedent(code)]


def run(arguments, **options):
    environment = os.environ | {"PYTHONPATH": PATHS} | options.pop("env", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.run(
        arguments, env=environment, timeout=PATIENCE, **streams | options
    )


COMMAND = """
import argparse, os, sys
from lunar_potential.run.command import run_command
quiet = argparse.Namespace(verbose=False)
"""


# ---- standard error


class WithoutIsatty:
    def write(self, text):
        pass


@pytest.mark.parametrize("stream", [None, WithoutIsatty(), open(os.devnull)])
@pytest.mark.parametrize("progress", [None, True])
def test_any_standard_error_will_do(monkeypatch, stream, progress, tmp_path):
    if hasattr(stream, "close"):
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(2, show=progress) as bar:
        bar.update(2)
    done = run_jobs(abs, [-1, 2], progress=progress, log_file=tmp_path / "log")
    assert [outcome.value for outcome in done] == [1, 2]


def test_without_standard_error_nothing_is_said_to_standard_output(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    say("a warning")
    assert capsys.readouterr().out == ""


def test_a_batch_with_closed_streams(archive, tmp_path):
    "And with workers, which inherit what their parent has."
    python = shlex.quote(sys.executable)
    command = f"{python} -m lunar_potential.batch --data-dir '{archive.root}'"
    options = f"--workers 2 --output-dir '{tmp_path}' --start 1998-06-14"
    ran = run(["sh", "-c", f"{command} {options} 2>&- >&- <&-"])
    assert ran.returncode == 0
    assert len(list((tmp_path / "shards").iterdir())) == 2


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    "What a library writes to standard error would otherwise end in the results."
    code = f"""
    {textwrap.indent(COMMAND, "    ").strip()}
    def command(args):
        with open({str(tmp_path / "result")!r}, "wb") as file:
            os.write(2, b"noise of a library")
            file.write(b"numbers")
        return 0
    sys.exit(run_command("x", command, quiet))
    """
    arguments = script(code)
    ran = run(["sh", "-c", '"$0" "$@" 2>&-', *arguments])
    assert ran.returncode == 0
    assert (tmp_path / "result").read_bytes() == b"numbers"


# ---- standard output


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_who_has_seen_enough_is_no_error(unbuffered):
    code = (
        COMMAND
        + """
def command(args):
    for number in range(100_000):
        print(number)
    return 0
sys.exit(run_command("x", command, quiet))
"""
    )
    process = subprocess.Popen(
        script(code),
        env=os.environ | {"PYTHONPATH": PATHS, "PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(PATIENCE) == 141


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_that_nobody_reads(unbuffered):
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from lunar_potential.cli import main; sys.exit(main())"
    environment = {"PYTHONUNBUFFERED": unbuffered}
    ran = run([*script(code), "--help"], stdout=write, env=environment)
    os.close(write)
    assert ran.returncode in (0, 141) and ran.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_finds_no_room_is_an_error(unbuffered):
    code = COMMAND + 'sys.exit(run_command("x", lambda args: print("a") or 0, quiet))'
    with open("/dev/full", "w") as full:
        ran = run(script(code), stdout=full, env={"PYTHONUNBUFFERED": unbuffered})
    assert ran.returncode == 1 and len(ran.stderr.splitlines()) == 1
    assert ran.stderr.startswith("x: ") and "No space left on device" in ran.stderr


def test_another_broken_pipe_is_an_error(capsys):
    from argparse import Namespace

    from lunar_potential.run.command import run_command

    def command(args):
        raise BrokenPipeError(32, "the encoder has gone")

    assert run_command("x", command, Namespace(verbose=False)) == 1
    assert "the encoder has gone" in capsys.readouterr().err


# ---- folders


def test_a_deleted_working_folder_is_named(archive, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    batch = [sys.executable, "-m", "lunar_potential.batch"]
    change = 'cd "$0" && rmdir "$0" && "$@"'
    named = f"the working folder {gone} was deleted"
    ran = run(["sh", "-c", change, str(gone), *batch])
    assert ran.returncode == 1 and named in ran.stderr, ran.stderr
    assert "Errno" not in ran.stderr and len(ran.stderr.splitlines()) == 1
    gone.mkdir()
    simulate = "from lunar_potential.cli import main; main(['simulate', 'here'])"
    ran = run(["sh", "-c", change, str(gone), *script(simulate)])
    assert named in ran.stderr and "Errno" not in ran.stderr


@pytest.mark.parametrize("deadline", [None, 600])
def test_work_in_a_deleted_working_folder(tmp_path, deadline):
    "No worker can start there; without a deadline none is needed."
    code = f"""
    import os
    from lunar_potential.run.jobs import run_jobs
    os.rmdir(os.getcwd())
    done = run_jobs(abs, [-1, 2, -3], 2, deadline={deadline})
    print([outcome.value for outcome in done])
    """
    folder = tmp_path / "gone"
    folder.mkdir()
    ran = run(script(code), cwd=folder)
    assert f"the working folder {folder} was deleted" in ran.stderr
    assert ran.stdout == ("" if deadline else "[1, 2, 3]\n"), ran.stderr


@pytest.mark.parametrize("deadline", [None, 600])
def test_a_long_temporary_folder_does_not_cost_the_workers(tmp_path, deadline):
    long = tmp_path / ("job." + "x" * 90)
    long.mkdir()
    code = f"""
    import multiprocessing, os
    from lunar_potential.run.jobs import run_jobs
    done = run_jobs(abs, [-1, 2, -3], 2, deadline={deadline})
    print([outcome.value for outcome in done], os.getpid() in [d.worker for d in done])
    print(multiprocessing.current_process()._config["tempdir"])
    """
    ran = run(script(code), env={"TMPDIR": str(long)})
    values, folder = ran.stdout.splitlines()
    assert values == "[1, 2, 3] False", ran.stderr
    assert len(folder) < 40 and not os.path.exists(folder), "removed at the end"


def test_where_no_short_path_is_to_be_had_nothing_changes(monkeypatch, tmp_path):
    import multiprocessing

    settings = multiprocessing.current_process()._config
    monkeypatch.setitem(settings, "tempdir", "/" + "long" * 30)
    (tmp_path / "file").touch()
    use_short_sockets((str(tmp_path / "file"), str(tmp_path / "missing")))
    assert settings["tempdir"] == "/" + "long" * 30


# ---- workers


@pytest.mark.parametrize("deadline", [None, 600])
def test_no_more_workers_than_items(deadline):
    code = f"""
    import os, time
    import psutil
    from lunar_potential.run.jobs import run_jobs
    here = os.getpid()

    def joblib_workers(number):
        time.sleep(0.5)
        family = psutil.Process(here).children(recursive=True)
        return sum("popen_loky" in " ".join(one.cmdline()) for one in family)

    def pebble_workers(number):
        time.sleep(0.5)
        return len(psutil.Process(os.getppid()).children())

    work = pebble_workers if {deadline} else joblib_workers
    print(max(one.value for one in run_jobs(work, [1, 2], 6, deadline={deadline})))
    """
    ran = run(script(code))
    assert ran.stdout == "2\n", ran.stdout + ran.stderr
