"""Runs that are killed, starved of disk, or hang; and what the next run makes of it.

With real processes and real signals."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile

import joblib
import numpy as np
import psutil
import pytest
from dask_cluster import local_cluster

from lunar_potential import batch
from lunar_potential.batch import main, run_all, run_batch
from lunar_potential.data.archive import Archive
from lunar_potential.results import read_results
from lunar_potential.shards import Period
from lunar_potential.synthetic.simulate import simulate_archive

DATES = [f"1998-04-{day:02d}" for day in range(1, 7)]

PATIENCE = 600  # seconds for what takes seconds on a machine that is not busy

PRELUDE = """
import os, sys, time
from pathlib import Path
from lunar_potential import batch

def held_day(item, **options):
    "The day; from the fourth on, its file gets no final name while the hold exists."
    replace, hold = os.replace, item.shard.parent.parent.with_suffix(".hold")

    def held(*names):
        while hold.exists() and item.source.name > "3D980403.TAB":
            time.sleep(0.02)
        replace(*names)

    os.replace = held
    try:
        return process_day(item, **options)
    finally:
        os.replace = replace

process_day, batch.process_day = batch.process_day, held_day
"""


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    "Six short days, and what an undisturbed run in one process makes of them."
    root = tmp_path_factory.mktemp("days")
    simulate_archive(
        root / "data",
        dates=DATES,
        sweeps_per_day=6,
        cadence=14000,
        seed=2,
        scenario="plain",  # every day has fits
    )
    run_all(root / "data", root / "whole", n_jobs=1)
    return root


def contents(folder):
    "Name below the folder -> bytes of every file; hidden ones are temporary."
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def start(days, folder, code="", *options):
    "A process of its own that runs the command with two workers."
    command = [
        "--data-dir",
        str(days / "data"),
        "--output-dir",
        str(folder),
        "--workers",
        "2",
        *options,
    ]
    main = f"if __name__ == '__main__':\n    sys.exit(batch.main({command!r}))\n"
    text = f"{PRELUDE}\n{textwrap.dedent(code)}\n{main}"
    script = folder.with_suffix(".py")
    script.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def start_and_hold(days, folder, *options):
    "The same, as soon as three shards stand and two days are held before their names."
    hold = folder.with_suffix(".hold")
    hold.touch()
    process = start(days, folder, "", *options)
    wait_for_held(folder, lambda: process.poll() is None)
    return process, hold


def wait_for_held(folder, is_alive):
    def count(pattern):
        return len(list((folder / "shards").glob(pattern)))

    while count("3D*.npz") < 3 or count(".3D*.tmp") < 2:
        assert is_alive()
        time.sleep(0.02)


def last_line(text):
    "What the command said; a thread of loky may have complained before."
    return text.splitlines()[-1]


def workers_of(process):
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "popen_loky" in " ".join(child.cmdline())
    ]


def gone(processes):
    _, left = psutil.wait_procs(processes, timeout=PATIENCE)
    return all(
        each.status() == psutil.STATUS_ZOMBIE for each in left if each.is_running()
    )


def check_rest(days, folder, most=len(DATES)):
    "What stands is part of the undisturbed run; the next run makes the rest of it."
    whole, part = contents(days / "whole"), contents(folder)
    assert (
        all(whole[name] == data for name, data in part.items())
        and 0 < len(part) <= most
    )
    result = run_all(days / "data", folder, n_jobs=1)
    assert contents(folder) == whole and result.days["status"].eq(
        "reused"
    ).sum() == len(part) < len(DATES)


# ---- signals


@pytest.mark.parametrize(
    "name, options, status",
    [
        ("SIGINT", [], 130),
        ("SIGTERM", [], 143),
        ("SIGKILL", [], -9),
        ("SIGTERM", ["--deadline", "600"], 143),
    ],
)
def test_a_signal_to_the_parent(days, tmp_path, name, options, status):
    "The held days would last for ever: a run that ends did not wait for them."
    folder = tmp_path / "out"
    process, hold = start_and_hold(days, folder, *options)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status and gone(family)
    if name != "SIGKILL":
        assert "of 6 days finished" in last_line(err), err
        assert "does the rest" in last_line(err), err
    check_rest(days, folder, most=3)


def test_ctrl_c_in_a_terminal_reaches_the_workers_too(days, tmp_path):
    process, hold = start_and_hold(days, tmp_path / "out")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "does the rest" in err
    check_rest(days, tmp_path / "out", most=3)


def test_a_killed_worker_costs_nothing(days, tmp_path):
    process, hold = start_and_hold(days, tmp_path / "out")
    workers_of(process)[0].kill()
    hold.unlink()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "run again" in err, err
    assert contents(tmp_path / "out") == contents(days / "whole")


def test_ctrl_c_in_a_notebook(days, tmp_path):
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=PATIENCE)
    data, folder = days / "data", tmp_path / "out"
    folder.with_suffix(".hold").touch()
    try:
        client.execute(PRELUDE)
        cell = client.execute(
            f"batch.run_month(1998, 4, {str(data)!r}, {str(folder)!r}, n_jobs=2)"
        )
        wait_for_held(folder, manager.is_alive)
        manager.interrupt_kernel()
        while True:
            reply = client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"]["msg_id"] == cell:
                break
        name, said = (reply["content"][key] for key in ("ename", "evalue"))
        assert name == "Interrupted" and "of 6 days finished" in said
        assert str(folder) in said and "does the rest" in said
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    whole, part = contents(days / "whole"), contents(folder)
    assert 0 < len(part) < len(DATES)
    assert all(whole[name] == data for name, data in part.items())


def test_what_a_killed_run_left_is_removed_the_day_after(days, tmp_path):
    (tmp_path / "shards").mkdir()
    old, new = (
        tmp_path / "shards" / f".3D980401-0123456789ab.npz.{word}.tmp"
        for word in ("0ld0", "4e30")
    )
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    run_all(days / "data", tmp_path, n_jobs=1)
    assert new.exists() and not old.exists()


# ---- hanging days


def test_a_hanging_day_ends_at_its_deadline(days, tmp_path):
    "It hangs for ever and has a short deadline, the others all the time they need."
    code = """
    import ctypes
    from lunar_potential.run import pools

    def hangs(item, **options):
        if "0403" in item.source.name:
            while True:
                ctypes.PyDLL(None).sleep(3600)  # in C, with the interpreter's lock
        return process_day(item, **options)

    def short(pool, task, number, item, deadline):
        hanging = "0403" in item.source.name
        return schedule(pool, task, number, item, 5.0 if hanging else deadline)

    batch.process_day, schedule, pools.schedule = hangs, pools.schedule, short
    """
    process = start(days, tmp_path / "out", code, "--deadline", "900")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "3D980403.TAB was left out: not finished within 900 s" in err
    part = contents(tmp_path / "out" / "shards")
    whole = contents(days / "whole" / "shards")
    assert len(part) == 5 and all(whole[name] == data for name, data in part.items())
    run_all(days / "data", tmp_path / "out", n_jobs=1)
    assert contents(tmp_path / "out") == contents(days / "whole")


# ---- disks


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_room_for_a_shard(days, tmp_path, workers):
    code = """
    import resource
    def starved(item, **options):
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
        return process_day(item, **options)
    batch.process_day = starved
    """
    process = start(days, tmp_path / "out", code, "--workers", workers)
    out, err = process.communicate(timeout=PATIENCE)
    assert (
        process.returncode == 1
        and "could not write" in last_line(err)
        and "File too large" in last_line(err)
    ), err
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    run_all(days / "data", tmp_path / "out", n_jobs=1)
    assert contents(tmp_path / "out") == contents(days / "whole")


def test_a_full_disk(days, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    shard = max(path.stat().st_size for path in (days / "whole" / "shards").iterdir())
    if subprocess.run(
        [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={3 * shard + 8192}",
            "tmpfs",
            str(folder),
        ],
        capture_output=True,
    ).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        process = start(days, folder)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1 and "No space left on device" in last_line(
            err
        ), err
        whole, part = contents(days / "whole"), contents(folder)
        assert 0 < len(part) < len(DATES) and all(
            whole[name] == data for name, data in part.items()
        )
        subprocess.run(["mount", "-o", "remount,size=10M", str(folder)], check=True)
        check_rest(days, folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_that_cannot_be_written():
    code = """
        import os, sys
        from pathlib import Path
        from lunar_potential import batch
        from lunar_potential.batch import DayItem, OutputError, run_batch
        if os.getuid() == 0:  # for whom every folder can be written
            os.setgroups([]), os.setgid(65534), os.setuid(65534)
        shard = Path(sys.argv[1], "shards", "3D980401-0.npz")
        day = DayItem(Path("3D980401.TAB"), shard, "", None, None)
        batch.plan_days = lambda *all: [day]
        batch.process_days = lambda *all, **options: sys.exit("work was begun")
        try:
            run_batch(output_dir=sys.argv[1], n_jobs=1)
        except OutputError as error:
            print(error)
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), folder],
            capture_output=True,
            text=True,
        )
        assert "could not write" in ran.stdout and "Permission denied" in ran.stdout, (
            ran
        )
        assert os.listdir(folder) == []


# ---- many days, many machines


@pytest.mark.parametrize(
    "options", [dict(n_jobs=2), dict(n_jobs=3), dict(n_jobs=2, deadline=600)], ids=str
)
def test_the_same_bytes_with_any_number_of_workers(days, tmp_path, options):
    run_all(days / "data", tmp_path, **options)
    assert contents(tmp_path) == contents(days / "whole")


def test_the_same_bytes_from_a_cluster_that_loses_a_worker(days, tmp_path):
    with local_cluster() as client, joblib.parallel_config(backend="dask"):
        run_all(days / "data", tmp_path / "one")
        assert contents(tmp_path / "one") == contents(days / "whole")
        victim = list(client.run(os.getpid).values())[0]
        with pytest.MonkeyPatch.context() as patch:
            real = batch.run_jobs

            def kill(outcome):
                if outcome.item.source.name == "3D980401.TAB":
                    os.kill(victim, signal.SIGKILL)

            patch.setattr(
                batch,
                "run_jobs",
                lambda *all, **options: real(*all, **{**options, "on_outcome": kill}),
            )
            result = run_all(days / "data", tmp_path / "two")
    assert (
        contents(tmp_path / "two") == contents(days / "whole")
        and result.days["status"].eq("done").all()
    )


def test_many_days_stay_within_bounds(tmp_path):
    dates = [
        str(date)
        for date in np.arange(
            np.datetime64("1998-02-01"), np.datetime64("1998-02-01") + 60
        )
    ]
    simulate_archive(
        tmp_path / "data", dates=dates, sweeps_per_day=4, cadence=20000, seed=4
    )
    code = f"""
        import psutil
        from lunar_potential import batch
        seen = []
        real = batch.run_jobs

        def note(outcome):
            seen.append(psutil.Process().memory_info().rss)

        def noting(*all, **options):
            return real(*all, **{{**options, "on_outcome": note}})

        batch.run_jobs = noting
        root = {str(tmp_path)!r}
        batch.run_all(root + "/data", root + "/out", n_jobs=2, log_file=root + "/log")
        print(seen[9], seen[-1])
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
    )
    early, late = map(int, ran.stdout.split())
    assert late - early < 20e6, "the parent keeps nothing of the days but their counts"
    lines = (tmp_path / "log").read_text().splitlines()
    assert (
        sum(" done after " in line for line in lines) == 60
        and (tmp_path / "log").stat().st_size < 60 * 500
    )
    assert (
        len(list((tmp_path / "out" / "shards").iterdir())) == 60
        and len(list(tmp_path.glob("out/*"))) == 2
    )
    assert read_results(tmp_path / "out").n_sweeps == 240


# ---- what was whole once


def flip(path, key):
    "Flips a bit in the middle of an array of a result file."
    with zipfile.ZipFile(path) as container:
        info = container.getinfo(f"{key}.npy")
    content = bytearray(path.read_bytes())
    content[info.header_offset + 60 + info.compress_size // 2] ^= 8
    path.write_bytes(content)


@pytest.mark.parametrize("key", ["rows_energy", "spec_u_surface", "spec_flags"])
def test_a_damaged_shard_is_found_named_and_made_again(days, tmp_path, capsys, key):
    whole = contents(days / "whole")
    out = shutil.copytree(days / "whole", tmp_path / "out")
    (out / "potential_batch_all.npz").unlink()
    shard = sorted((out / "shards").iterdir())[2]
    flip(shard, key)
    command = ["--data-dir", str(days / "data"), "--output-dir", str(out)]
    assert main([*command, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "to do" in line] == [lines[2]]
    assert f"(damaged: {shard.name})" in lines[2]
    assert main([*command, "--workers", "1"]) == 0
    assert f"done again: 1 (damaged: {shard.name})" in capsys.readouterr().out
    assert contents(out) == whole


def test_a_damaged_merged_file_is_found_named_and_made_again(days, tmp_path, caplog):
    whole = contents(days / "whole")
    out = shutil.copytree(days / "whole", tmp_path / "out")
    merged = out / "potential_batch_all.npz"
    for key in ("spec_u_surface", "meta_files"):
        flip(merged, key)
        result = run_all(days / "data", out, n_jobs=1)
        assert f"{merged} is damaged" in caplog.text and "made again" in caplog.text
        assert set(result.days["status"]) == {"reused"} and contents(out) == whole
        caplog.clear()
    run_all(days / "data", out, n_jobs=1)
    assert caplog.text == ""


def test_a_file_of_the_right_name_and_wrong_numbers_is_not_taken(days, tmp_path):
    "Its checksums are right; its digest is not."
    out = shutil.copytree(days / "whole", tmp_path / "out")
    for path in [*(out / "shards").iterdir(), out / "potential_batch_all.npz"]:
        with np.load(path) as data:
            u = data["spec_u_surface"] + 1
            np.savez(path, **{**data, "spec_u_surface": u})
    result = run_all(days / "data", out, n_jobs=1)
    assert set(result.days["status"]) == {"done"}
    assert contents(out) == contents(days / "whole")


# ---- what is done again, and why


def test_it_says_what_is_done_again_and_why(days, tmp_path, capsys, monkeypatch):
    data, out = (
        shutil.copytree(days / "data", tmp_path / "data"),
        shutil.copytree(days / "whole", tmp_path / "out"),
    )
    command = ["--data-dir", str(data), "--output-dir", str(out), "--workers", "1"]

    def why(*options):
        main([*command, "--dry-run", *options])
        lines = capsys.readouterr().out.splitlines()[:-1]
        return [line.partition("  (")[2][:-1] for line in lines]

    assert why() == [""] * 6
    assert (
        why("--u-spacecraft", "5")
        == ["changed: setting u_spacecraft (5.0, was None)"] * 6
    )
    table = Archive(data).files()[2]
    table.write_bytes(b"".join(table.read_bytes().splitlines(keepends=True)[:-15]))
    assert why() == ["", "", "changed: 3D980403.TAB", "", "", ""]
    kernel = next(path for path in Archive(data).kernels if path.suffix == ".tpc")
    kernel.write_bytes(kernel.read_bytes() + b"\n")
    assert (
        why()[0] == f"changed: {kernel.name}"
        and why()[2] == f"changed: 3D980403.TAB, {kernel.name}"
    )
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert (
        f"done again: 5 (changed: {kernel.name})" in printed
        and f"done again: 1 (changed: 3D980403.TAB, {kernel.name})" in printed
    )
    shard = sorted(
        (out / "shards").iterdir(), key=lambda path: path.stat().st_mtime_ns
    )[-1]
    shard.write_bytes(b"damaged")
    assert why() == [""] * 6, "the merged file is whole and needs no shard"
    (out / "potential_batch_all.npz").unlink()
    assert sorted(why())[-1] == f"damaged: {shard.name}"
    assert (
        main([*command, "--prune"]) == 0 and len(list((out / "shards").iterdir())) == 6
    )
    capsys.readouterr()
    for module in ("shards", "config", "pipeline"):
        monkeypatch.setattr(f"lunar_potential.{module}.__version__", "99.0")
    assert why()[0].startswith("changed: version (99.0, was ")


def test_prune_touches_nothing_else(days, tmp_path):
    run_all(days / "data", tmp_path, n_jobs=1)
    other = tmp_path / "shards" / "3D990101-0123456789ab.npz"
    other.write_bytes(b"of another run")
    before = contents(tmp_path)
    run_batch(Period(1998, 4, 1), days / "data", tmp_path, n_jobs=1, prune=True)
    assert contents(tmp_path) == before | {
        "potential_batch_1998_04_01.npz": (
            tmp_path / "potential_batch_1998_04_01.npz"
        ).read_bytes()
    }
    result = run_batch(
        Period(1998, 4, 1),
        days / "data",
        tmp_path / "files",
        n_jobs=1,
        prune=True,
        per_file=True,
    )
    assert [path.name for path in result.paths] == ["3D980401.npz"]
