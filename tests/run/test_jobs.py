"""The engine: categories, log, deadlines, killed workers, signals, a dask cluster."""

import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib
import jobs_work
import numpy as np
import psutil
import pytest
from dask_cluster import local_cluster

from lunar_potential.run import pools
from lunar_potential.run.channel import Task
from lunar_potential.run.jobs import default_workers, map_items, run_jobs
from lunar_potential.run.log import Tally, log_to
from lunar_potential.run.signals import Interrupted, stop_signals

PATIENCE = 60.0  # seconds for what happens at once on a machine that is not busy


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def left_after(pids, seconds=PATIENCE):
    "Processes that are alive after so long, or none as soon as that is so."
    end = time.monotonic() + seconds
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


# ---- outcomes, whatever does the work

WAYS = [dict(n_jobs=1), dict(n_jobs=2), dict(n_jobs=3), dict(n_jobs=2, deadline=600)]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_same_values_whatever_does_the_work(way):
    outcomes = run_jobs(jobs_work.square, list(range(6)), **way)
    assert [outcome.item for outcome in outcomes] == list(range(6)) and all(
        outcome.ok for outcome in outcomes
    )
    for number, outcome in enumerate(outcomes):
        assert outcome.value.tobytes() == np.sqrt(np.arange(5.0) + number).tobytes()


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_categories(way):
    outcomes = run_jobs(
        jobs_work.fails, [0, 1, 2], categorize=jobs_work.category, **way
    )
    assert [outcome.category for outcome in outcomes] == [
        "divide-by-zero",
        "generic",
        "",
    ]
    assert (
        outcomes[0].reason == "ZeroDivisionError: three"
        and "in fails" in outcomes[0].traceback
    )
    with pytest.raises(ZeroDivisionError, match="three"):
        run_jobs(jobs_work.fails, [2, 3, 5], fatal=(ZeroDivisionError,), **way)


def test_an_exception_that_cannot_travel():
    with pytest.raises(RuntimeError, match="Unpicklable: cannot travel"):
        run_jobs(jobs_work.fails_badly, [1, 2], 2, fatal=(Exception,))
    assert [
        outcome.reason for outcome in run_jobs(jobs_work.fails_badly, [1, 2], 2)
    ] == ["Unpicklable: cannot travel"] * 2


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_nothing_to_do(way):
    assert run_jobs(abs, [], **way) == [] and map_items(abs, [], way["n_jobs"]) == []


@pytest.mark.parametrize("way", WAYS[1:], ids=str)
def test_workers_follow_into_the_working_directory(way, tmp_path, monkeypatch):
    run_jobs(jobs_work.where, [1, 2], **way)
    monkeypatch.chdir(tmp_path)
    there = [outcome.value for outcome in run_jobs(jobs_work.where, [1, 2, 3], **way)]
    assert {folder for folder, _ in there} == {str(tmp_path)} and os.getpid() not in {
        pid for _, pid in there
    }


def test_without_pool_everything_runs_here(monkeypatch, caplog):
    def refuse(**kwargs):
        raise PermissionError("no pool today")

    monkeypatch.setattr(joblib, "Parallel", refuse)
    assert {
        outcome.value[1] for outcome in run_jobs(jobs_work.where, [1, 2, 3], 2)
    } == {os.getpid()}
    assert "no pool today" in caplog.text


def test_on_threads_one_item_at_a_time():
    with joblib.parallel_config(backend="threading"):
        outcomes = run_jobs(jobs_work.square, list(range(6)), 3)
    assert {outcome.worker for outcome in outcomes} == {os.getpid()} and all(
        outcome.ok for outcome in outcomes
    )
    spans = sorted(
        (outcome.started, outcome.started + outcome.seconds) for outcome in outcomes
    )
    assert all(end <= start + 0.01 for (_, end), (start, _) in zip(spans, spans[1:]))


def test_default_workers(monkeypatch):
    for cores, workers in ((1, 1), (2, 2), (3, 2), (8, 7)):
        monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
        assert default_workers() == workers


# ---- log and progress


@pytest.mark.parametrize("way", WAYS[1:], ids=str)
def test_the_log_of_the_workers_comes_through(way, tmp_path, caplog):
    caplog.set_level(logging.INFO, "lunar_potential")
    run_jobs(
        jobs_work.square, list(range(5)), log_file=tmp_path / "logs" / "run.log", **way
    )
    lines = (tmp_path / "logs" / "run.log").read_text().splitlines()
    for number in range(5):
        assert (
            sum(f"working on {number}" in line for line in lines) == 1
            and sum(f"jobs: {number} done after" in line for line in lines) == 1
        )
    assert caplog.text.count("working on") == 5, (
        "whoever listens in this process hears it too"
    )


def test_the_log_is_written_in_batches(tmp_path, monkeypatch):
    writes = []
    monkeypatch.setattr(
        logging.handlers.MemoryHandler,
        "flush",
        lambda self: (writes.append(len(self.buffer)), self.buffer.clear()),
    )
    run_jobs(
        abs,
        list(range(7)),
        log_file=tmp_path / "run.log",
        flush_batch_size=50,
        log_flush_batch_size=3,
    )
    assert [n for n in writes if n] == [3, 3, 1]
    writes.clear()
    run_jobs(abs, list(range(7)), log_file=tmp_path / "run.log", flush_batch_size=5)
    assert [n for n in writes if n] == [5, 2], (
        "as many as outcomes, unless told otherwise"
    )


def test_the_log_has_bounds(tmp_path):
    with log_to(tmp_path / "run.log", 10, max_bytes=5000):
        for number in range(1000):
            logging.getLogger("test").warning("line %d", number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.log", "run.log.1"]
    assert (
        sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_000
        and "line 999" in (tmp_path / "run.log").read_text()
    )


def test_a_log_that_cannot_be_written_says_so_once(tmp_path, capsys):
    (tmp_path / "run.log").mkdir()
    assert all(
        outcome.ok
        for outcome in run_jobs(abs, list(range(30)), log_file=tmp_path / "run.log")
    )
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_progress_goes_to_a_terminal_or_where_it_is_wanted(capsys):
    run_jobs(abs, [1, 2])
    assert capsys.readouterr().err == ""
    run_jobs(abs, [1, 2], progress=True, unit="orbit")
    assert "2/2" in (err := capsys.readouterr().err) and "orbit/s" in err


# ---- workers that hang or die


def test_hanging_items_end_at_their_deadline(tmp_path, monkeypatch):
    "Those that hang have a short deadline, the others all the time they need."
    hanging = ("python", "c", "child of a child")
    schedule = pools.schedule
    monkeypatch.setattr(
        pools,
        "schedule",
        lambda pool, task, number, item, deadline: schedule(
            pool, task, number, item, 4.0 if item[0] in hanging else deadline
        ),
    )
    kinds = ["first", "python", "second", "c", "third", "child of a child", "last"]
    outcomes = run_jobs(
        jobs_work.hangs, [(kind, tmp_path) for kind in kinds], 2, deadline=600
    )
    assert [outcome.category for outcome in outcomes] == [
        "timeout" if kind in hanging else "" for kind in kinds
    ]
    gone = [outcome.worker for outcome in outcomes]
    gone.append(int((tmp_path / "inner").read_text()))
    assert not left_after(gone), "no worker is left, nor what it had started"
    assert outcomes[1].reason == "not finished within 600 s"


@pytest.mark.parametrize("way", [dict(n_jobs=2), dict(n_jobs=2, deadline=600)], ids=str)
def test_killed_workers_lose_nothing(way, tmp_path, caplog):
    items = [1, 2, -3, 4, tmp_path / "once", 5, 6, 7, 8, 9]
    outcomes = run_jobs(jobs_work.dies, items, **way)
    assert [outcome.category for outcome in outcomes] == ["", "", "died"] + [""] * 7
    assert [outcome.value for outcome in outcomes if outcome.ok] == [
        str(item) for item in items if item != -3
    ]
    assert (
        outcomes[2].attempts == outcomes[4].attempts == 2 and "run again" in caplog.text
    )


@pytest.mark.parametrize(
    "kind, deadline", [("python", None), ("python", 600), ("c", 10)]
)
def test_no_worker_outlives_its_killed_parent(kind, deadline, tmp_path):
    items = f"[({kind!r}, Path({str(tmp_path)!r}))] * 2"
    code = f"""
from pathlib import Path
import jobs_work
from lunar_potential.run import jobs
jobs.run_jobs(jobs_work.hangs, {items}, 2, deadline={deadline})
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(jobs_work.__file__).parent,
        stderr=subprocess.DEVNULL,
    )
    while len(begun := list(tmp_path.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert not left_after([int(path.name.split()[1]) for path in begun])


def test_no_idle_worker_outlives_its_killed_parent(tmp_path):
    code = """
import jobs_work, time
from lunar_potential.run import jobs
outcomes = jobs.run_jobs(jobs_work.sleeps, [1, 2, 3, 4], 2)
print(*{outcome.worker for outcome in outcomes}, flush=True)
time.sleep(3600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(jobs_work.__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    idle = [int(pid) for pid in parent.stdout.readline().split()]
    assert all(map(alive, idle))
    parent.kill()
    parent.wait()
    assert idle and not left_after(idle)


# ---- stopping


@pytest.mark.parametrize("install", [False, True])
def test_handlers_are_what_they_were(install):
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    inside = []
    run_jobs(
        lambda item: inside.append([signal.getsignal(number) for number in numbers]),
        [1],
        install_signal_handlers=install,
    )
    assert (inside[0] != before) == install and [
        signal.getsignal(number) for number in numbers
    ] == before
    with pytest.raises(ZeroDivisionError):
        run_jobs(
            lambda item: 1 / item,
            [0],
            install_signal_handlers=install,
            fatal=(Exception,),
        )
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_flushes_and_says_how_to_go_on(number):
    seen, before = [], signal.getsignal(number)

    def work(item):
        if item == 3:
            signal.raise_signal(number)
        return item

    with pytest.raises(
        Interrupted, match="stopped with 3 of 9 orbits finished; .* does the rest"
    ) as stop:
        run_jobs(
            work,
            list(range(9)),
            on_results=seen.append,
            install_signal_handlers=True,
            unit="orbit",
        )
    assert (
        stop.value.number == number
        and [outcome.item for outcome in seen[0]] == [0, 1, 2]
        and signal.getsignal(number) == before
    )


def test_no_handlers_outside_of_the_main_thread():
    kept = []

    def elsewhere():
        with stop_signals():
            kept.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert kept == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("deadline", [None, 600])
def test_ctrl_c_ends_the_workers_at_once(deadline, tmp_path):
    "All items but the first hang for ever: if the run ends, it did not wait for them."
    seen, timer = [], threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    with pytest.raises(Interrupted):
        run_jobs(
            jobs_work.hangs,
            [("first", tmp_path)] + [("python", tmp_path)] * 19,
            2,
            deadline=deadline,
            on_results=seen.extend,
            on_outcome=lambda outcome: timer.start(),
            flush_batch_size=1000,
        )
    assert [outcome.item[0] for outcome in seen] == ["first"]
    begun = [int(path.name.split()[1]) for path in tmp_path.iterdir()]
    assert begun and not left_after(begun)


def test_an_ignored_signal_stays_ignored():
    "As under nohup, or in the background of a script."
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        raised = [3, 5]
        outcomes = run_jobs(
            lambda item: item in raised and signal.raise_signal(signal.SIGINT),
            list(range(9)),
            install_signal_handlers=True,
        )
        assert len(outcomes) == 9 and all(outcome.ok for outcome in outcomes)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with pytest.raises(Interrupted, match="SIGTERM"), stop_signals():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


# ---- a cluster


@pytest.fixture(scope="module")
def cluster():
    with local_cluster() as client:
        yield client


def test_on_dask_the_same_values(cluster):
    with joblib.parallel_config(backend="dask"):
        outcomes = run_jobs(jobs_work.square, list(range(6)), default_workers())
        failed = run_jobs(jobs_work.fails, [0, 1, 2], 2, categorize=jobs_work.category)
        with pytest.raises(ZeroDivisionError):
            run_jobs(jobs_work.fails, [2, 3, 5], 2, fatal=(ZeroDivisionError,))
        with pytest.raises(ValueError, match="cannot end an item at its deadline"):
            run_jobs(jobs_work.square, [1, 2], 2, deadline=5)
    workers = set(cluster.run(os.getpid).values())
    assert {
        outcome.worker for outcome in outcomes
    } == workers and os.getpid() not in workers
    assert b"".join(o.value.tobytes() for o in outcomes) == b"".join(
        o.value.tobytes() for o in run_jobs(jobs_work.square, list(range(6)))
    )
    assert [outcome.category for outcome in failed] == ["divide-by-zero", "generic", ""]


def test_on_dask_a_killed_worker_costs_nothing(cluster):
    victim = list(cluster.run(os.getpid).values())[0]
    with joblib.parallel_config(backend="dask"):
        outcomes = run_jobs(
            jobs_work.sleeps,
            list(range(8)),
            2,
            on_outcome=lambda outcome: (
                outcome.item == 1 and os.kill(victim, signal.SIGKILL)
            ),
        )
        assert [outcome.value for outcome in outcomes] == list(range(8))
        items = [1, -2, 3]
        assert [outcome.category for outcome in run_jobs(jobs_work.dies, items, 2)] == [
            "",
            "died",
            "",
        ]


def test_on_dask_a_cluster_that_is_gone_is_not_waited_for(cluster):
    class Gone:
        submit, cancel = cluster.submit, cluster.cancel

        def scheduler_info(self, **options):
            raise OSError("closed")

    answers = list(
        pools.work_on_dask(Task(jobs_work.sleeps), [30], [0], Gone(), patience=0.1)
    )
    assert answers == [
        (0, {"category": "died", "reason": "the cluster has had no worker for 0.1 s"})
    ]


@pytest.mark.parametrize(
    "way", [dict(n_jobs=2), dict(n_jobs=2, deadline=600)], ids=["joblib", "deadline"]
)
def test_a_value_that_cannot_travel_costs_only_its_item(way):
    outcomes = run_jobs(jobs_work.gives_a_lock_for_two, [1, 2, 3, 4], **way)
    assert [outcome.ok for outcome in outcomes] == [
        True,
        False,
        True,
        True,
    ] and "lock" in outcomes[1].reason


def test_an_item_that_exits_costs_only_itself():
    outcomes = run_jobs(jobs_work.exits_for_two, [1, 2, 3], n_jobs=2)
    assert [outcome.ok for outcome in outcomes] == [True, False, True]


def test_a_log_that_cannot_be_written_loses_no_work(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    outcomes = run_jobs(abs, [-1, -2], log_file=tmp_path / "file" / "log")
    assert [outcome.value for outcome in outcomes] == [
        1,
        2,
    ] and "cannot be written" in capsys.readouterr().err


SCRIPT = """
import dataclasses
print("first line")
from lunar_potential.{module} import {function}

@dataclasses.dataclass
class Thing:
    number: int

def doubled(thing):
    return 2 * thing.number

{call}
"""


@pytest.mark.parametrize("deadline", [None, 600])
def test_a_script_without_a_guard_runs_once(tmp_path, deadline):
    call = f"""
things = [Thing(1), Thing(2), Thing(3)]
outcomes = run_jobs(doubled, things, 2, deadline={deadline})
print([outcome.value for outcome in outcomes])
"""
    (tmp_path / "script.py").write_text(
        SCRIPT.format(module="run.jobs", function="run_jobs", call=call)
    )
    found = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (found.returncode, found.stdout, found.stderr) == (
        0,
        "first line\n[2, 4, 6]\n",
        "",
    )


def test_a_script_with_a_month_and_a_deadline(tmp_path, archive):
    call = f"""
month = run_month(1998, 6, {str(archive.root)!r}, 'out', n_jobs=2, deadline=600)
print(month.days["status"].tolist())
"""
    (tmp_path / "script.py").write_text(
        SCRIPT.format(module="batch", function="run_month", call=call)
    )
    found = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert (found.returncode, found.stdout) == (0, "first line\n['done', 'done']\n"), (
        found.stderr
    )
    assert list((tmp_path / "out").rglob("potential_batch_1998_06*.npz"))


@pytest.mark.parametrize(
    "way",
    [{"n_jobs": 1}, {"n_jobs": 2}, {"n_jobs": 2, "deadline": 60.0}],
    ids=["here", "joblib", "pebble"],
)
def test_progress_within_an_item(way, tmp_path):
    items = [(150, None), (40, None), (0, None)]
    if way["n_jobs"] > 1:
        items.append((60, tmp_path / "seen"))  # its worker dies, it counts again
    amounts, calls = [], []
    tally = Tally(amounts.append)

    def heard(item, amount):
        calls.append(amount)
        tally.report(item, amount)

    outcomes = run_jobs(
        jobs_work.counts,
        items,
        on_progress=heard,
        on_outcome=lambda outcome: tally.end(outcome.item, outcome.value),
        **way,
    )
    assert [outcome.value for outcome in outcomes] == [number for number, _ in items]
    assert sum(amounts) == sum(number for number, _ in items)
    assert 2 <= len(calls) < 100, "many steps, few messages"


def test_progress_on_dask_comes_at_the_end(cluster):
    heard = []
    with joblib.parallel_config(backend="dask"):
        outcomes = run_jobs(
            jobs_work.counts,
            [(5, None), (6, None)],
            2,
            on_progress=lambda *of: heard.append(of),
        )
    assert [outcome.value for outcome in outcomes] == [5, 6] and heard == []
