"""The first run: compiled once, by one process each function, and said so."""

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numba.core import event

from lunar_potential import warmup
from lunar_potential.cli import main
from lunar_potential.run.files import OutputError
from lunar_potential.stages import Clock
from lunar_potential.synthetic.simulate import simulate_archive

LISTEN = """
import os
from numba.core import event

class Log(event.Listener):
    def on_start(self, event):
        pass

    def on_end(self, event):
        function = event.data["dispatcher"].py_func
        if function.__module__.startswith("lunar_potential"):
            line = f"{function.__module__}.{function.__qualname__} {event.data['args']}"
            with open(os.environ["COMPILED"], "a") as log:
                log.write(line.replace("\\n", " ") + "\\n")

event.register("numba:compile", Log())
"""
DAY = "batch --year 1998 --month 4 --data-dir data --overwrite --output-dir"


class Installation:
    "A folder of machine code, and a list of what was compiled into it."

    def __init__(self, root):
        self.root, self.log = root, root / "compiled.txt"
        (root / "site").mkdir()
        (root / "site" / "sitecustomize.py").write_text(LISTEN)
        places = [str(root / "site"), str(Path(warmup.__file__).parent.parent)]
        self.environment = os.environ | {
            "NUMBA_CACHE_DIR": str(root / "code"),
            "PYTHONPATH": os.pathsep.join(places),
            "COMPILED": str(self.log),
        }

    def start(self, *words):
        "Starts a command of the package in this installation."
        return subprocess.Popen(
            [sys.executable, "-m", "lunar_potential", *words],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words):
        "Standard output of such a command, and standard error."
        return ended(self.start(*words))

    def compiled(self):
        "How often each function was compiled since this was last asked."
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return Counter(lines)


def ended(process):
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out, err


def rows(out):
    "The rows of the table of stages."
    return [line.split("  ")[0] for line in out.splitlines()]


def test_the_first_run_and_the_next(tmp_path):
    simulate_archive(
        tmp_path / "data", dates=["1998-04-01"], sweeps_per_day=240, cadence=360
    )
    cold = Installation(tmp_path)
    together = [
        cold.start(*DAY.split(), "out", "--workers", "2"),
        cold.start("warm-up", "--workers", "1"),
    ]
    (out, said), (verb, _) = map(ended, together)
    compiled = cold.compiled()
    entries = ("calibration._gain_pass", "rows.read_rows")
    entries += ("descent.fit_rows", "profile.judge_fit")
    for name in entries:  # what they call is compiled in each half
        assert [n for key, n in compiled.items() if f"{name} " in key] == [1]
    assert "compiling" in rows(out) and "compiling once for this installation" in said
    assert "compiled in" in verb and str(tmp_path / "code") in verb
    assert not list((tmp_path / "code").rglob("*.lock"))
    out, said = cold.run(*DAY.split(), "again")
    assert "surface fit" in rows(out) and "compiling" not in rows(out) and said == ""
    verb, said = cold.run("warm-up")
    assert verb.startswith("nothing to do") and said == ""
    assert cold.run("warm-up", "--quiet") == ("", "")
    out, said = cold.run("demo", "--sweeps", "20")
    assert "compiling" not in rows(out) + rows(said)
    assert cold.compiled() == {}


def test_compiling_is_no_part_of_a_stage(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = Clock()
    with clock.stage("fit"):
        now[0] += 2
        with event.trigger_event("numba:compile"):
            now[0] += 30
            with event.trigger_event("numba:compile"):
                now[0] += 10
        now[0] += 1
    with clock.stage("fit"):
        now[0] += 4
    assert clock.seconds == {"compiling": 40.0, "fit": 7.0}


def cold(monkeypatch, tmp_path, work):
    "As if nothing were compiled, and compiling were some other work."
    done = []
    monkeypatch.setattr(warmup, "is_warm", lambda: bool(done))
    monkeypatch.setattr(warmup, "machine_code_place", lambda: tmp_path)
    monkeypatch.setattr(warmup, "PARTS", {"one": lambda: work(done)})


def test_it_says_how_long_it_will_take(monkeypatch, tmp_path, capsys):
    cold(monkeypatch, tmp_path, lambda done: done.append(1))
    monkeypatch.setattr(warmup, "COMPILE_SECONDS", 50.0)
    assert warmup.warm_up(n_jobs=1, spent=20.0) > 0
    assert capsys.readouterr().err.strip().endswith("about 30 s")
    assert warmup.warm_up(n_jobs=1) == 0.0


@pytest.mark.parametrize("share", [0.2, 3.0])
def test_the_bar_ends_full(monkeypatch, tmp_path, share):
    class Bar:
        n = 0.0

        def update(self, amount):
            self.n += amount
            seen.append(self.n)

    seen, bar = [], Bar()
    total = warmup.COMPILE_SECONDS
    cold(monkeypatch, tmp_path, lambda done: done.append(1))
    monkeypatch.setattr(
        warmup, "progress_bar", lambda *_, **__: contextlib.nullcontext(bar)
    )
    monkeypatch.setattr(
        warmup, "_compile_part", lambda part, progress: progress(share * total)
    )
    warmup.warm_up(n_jobs=1, quiet=True)
    assert bar.n == total and max(seen) <= total and seen[0] == min(share, 1) * total


def test_an_error_is_raised(monkeypatch, tmp_path):
    cold(monkeypatch, tmp_path, lambda done: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        warmup.warm_up(n_jobs=1, quiet=True)


def test_where_nothing_can_be_kept(monkeypatch, tmp_path, capsys):
    cold(monkeypatch, tmp_path, lambda done: 1 / 0)
    monkeypatch.setattr(warmup, "machine_code_place", lambda: None)
    assert warmup.warm_up() == 0.0
    with warmup.warm_up_beside():
        pass
    with pytest.raises(OutputError, match="NUMBA_CACHE_DIR"):
        warmup.describe_warm_up(0.0)
    assert main(["warm-up"]) == 1
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_no_place(monkeypatch, tmp_path):
    from lunar_potential.run import compiled

    monkeypatch.setattr(compiled, "machine_code_folder", lambda one: tmp_path / "none")
    assert warmup.machine_code_place() is None


def test_other_fits_are_not_prepared(monkeypatch, tmp_path):
    cold(monkeypatch, tmp_path, lambda done: 1 / 0)
    assert warmup.warm_up(warmup.Config(fit_method="halekas"), 1) == 0.0


def test_arrays_that_may_only_be_read_need_no_code_of_their_own():
    from lunar_potential.physics.losscone.rows import read_rows
    from lunar_potential.stages import surface_potential_worker

    ready, number = warmup.prepared_sweeps(), np.arange(warmup.SWEEPS)
    arrays = {name: ready.block[name] for name in ("energy", "flux", "phi")}
    arrays |= {"b_moonward": ready.b_moonward, "background_factor": number * 0.0 + 1}
    arrays |= {"u_spacecraft": number * 0.0, "u_error": number * 0.0}
    for values in arrays.values():
        values.flags.writeable = False
    settings = warmup.Config(), ready.cells, ready.calibration
    surface_potential_worker((number, number, arrays, *settings))
    assert read_rows.signatures and "readonly" not in str(read_rows.signatures)
