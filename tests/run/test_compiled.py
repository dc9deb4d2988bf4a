"Compiled functions on disk: kept as long as the package stays the same, and no longer."

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pytest
from numba.core.errors import TypingError

import lunar_potential
from lunar_potential.physics.losscone.cells import critical_angle
from lunar_potential.run.compiled import (
    compiled,
    has_machine_code,
    inner,
    machine_code_folder,
    source_stamp,
)

CALL = """
from dataclasses import astuple
from lunar_potential.physics.currents import ChargingModel, net_current
current = net_current(-20.0, 0.0, 10.0, 100.0, 4.0, 1e-9, astuple(ChargingModel()))
print(current, sum(net_current.stats.cache_hits.values()))
"""


def call(folder):
    "Net current to a body, and the number of functions taken from the disk."
    env = {
        name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"
    } | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", CALL],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    current, hits = done.stdout.split()
    return float(current), int(hits)


def test_a_change_in_another_file_reaches_the_compiled_code(tmp_path):
    shutil.copytree(
        Path(lunar_potential.__file__).parent,
        tmp_path / "lunar_potential",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    first, _ = call(tmp_path)
    again, hits = call(tmp_path)
    assert again == first and hits == 1  # nothing changed: from the disk
    other = tmp_path / "lunar_potential" / "cli.py"
    other.write_text(other.read_text() + "\n# nothing compiled here\n")
    assert call(tmp_path) == (first, 1)
    density = "return math.exp(log_f + log_norm), w / (kappa - 1.5)"
    rooms = (tmp_path / "lunar_potential" / "physics").rglob("*.py")
    (kappa,) = [path for path in rooms if density in path.read_text()]
    doubled = density.replace("math.exp", "2 * math.exp")
    kappa.write_text(kappa.read_text().replace(density, doubled))
    twice_the_ions, hits = call(tmp_path)
    assert twice_the_ions > first and hits == 0


def test_a_compiled_function_is_the_function():
    @compiled
    def total(x):
        return x + 1

    @compiled(error_model="numpy")
    def part(x):
        return 1.0 / x

    assert (
        total(2) == 3
        and total.py_func(2) == 3
        and part(0.0) == float("inf")
        and len(source_stamp()) == 64
    )


STAMP = "from lunar_potential.run.compiled import source_stamp; print(source_stamp())"


def test_inner_functions_are_part_of_the_stamp(tmp_path):
    "A file with inner functions only decides what its callers' machine code is."
    shutil.copytree(
        Path(lunar_potential.__file__).parent,
        tmp_path / "lunar_potential",
        ignore=shutil.ignore_patterns("__pycache__"),
    )

    def stamp():
        command, env = [sys.executable, "-c", STAMP], {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | env, capture_output=True, check=True
        )
        return done.stdout

    before = stamp()
    joint = tmp_path / "lunar_potential" / "physics" / "losscone" / "joint.py"
    text = joint.read_text()
    assert "@inner" in text and "@compiled" not in text
    joint.write_text(text.replace("FAR = 4.0", "FAR = 5.0"))
    assert stamp() != before


def test_an_inner_function_answers_python_and_its_callers_alike():
    @inner(error_model="numpy")
    def ratio(x, y):
        return x / y

    @compiled(error_model="numpy")
    def twice(x, y):
        return 2 * ratio(x, y)

    assert twice(1.0, 4.0) == 2 * ratio(1.0, 4.0) == 0.5
    assert twice(1.0, 0.0) == ratio(1.0, 0.0) == float("inf")  # with its options


SLOW = """
import os, sys, time
from pathlib import Path
from numba.core import event
from lunar_potential.run.compiled import WAITING, compiled, compile_time

@compiled
def seventh_power(x):
    return x**7

class Meet(event.Listener):
    def __init__(self, mine, others):
        self.mine, self.others = Path(mine), Path(others)

    def on_start(self, event):
        self.mine.touch()
        while not self.others.exists():
            time.sleep(0.01)

    def on_end(self, event):
        pass

if __name__ == "__main__":
    if sys.argv[1] == "first":  # waits in the middle of compiling
        event.register("numba:compile", Meet("compiling", "waiting"))
    else:
        while not Path("compiling").exists():
            time.sleep(0.01)
        event.register(WAITING, Meet("waiting", "compiling"))
    if sys.argv[2:] == ["dies"]:
        event.register("numba:compile", Meet("dying", "never"))
    with compile_time() as spent:
        value = seventh_power(2.0)
    hits = sum(seventh_power.stats.cache_hits.values())
    print(value, hits, spent.seconds > 0)
"""


def two_at_once(folder, *fate):
    "Output of two processes of which the second comes while the first compiles."
    (folder / "power.py").write_text(SLOW)
    places = [str(folder), str(Path(lunar_potential.__file__).parent.parent)]
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(places),
        "NUMBA_CACHE_DIR": str(folder / "code"),
    }
    words = [sys.executable, "-m", "power"]
    how = {"cwd": folder, "env": env, "stdout": subprocess.PIPE, "text": True}
    first = subprocess.Popen([*words, "first", *fate], **how)
    second = subprocess.Popen([*words, "second"], **how)
    if fate:
        while not (folder / "waiting").exists() and second.poll() is None:
            time.sleep(0.01)
        first.kill()
    return first.communicate()[0].split(), second.communicate()[0].split()


def test_of_two_processes_one_compiles_and_the_other_waits(tmp_path):
    first, second = two_at_once(tmp_path)
    assert first == ["128.0", "0", "True"]
    assert second == ["128.0", "1", "True"]
    assert not list(tmp_path.rglob("*.lock"))


def test_a_process_that_died_is_not_waited_for(tmp_path):
    first, second = two_at_once(tmp_path, "dies")
    assert first == [] and second == ["128.0", "0", "True"]


def test_a_lock_that_is_a_link_is_not_followed(tmp_path, caplog):
    @compiled
    def eighth_power(x):
        return x**8

    eighth_power._cache.flush()  # as if it were new
    index = Path(eighth_power._cache._cache_file._index_path)
    link = index.with_name(f"{index.name}.lock")
    link.symlink_to(tmp_path / "elsewhere")
    try:
        with caplog.at_level("INFO", "lunar_potential.run.compiled"):
            assert eighth_power(2.0) == 256.0
    finally:
        link.unlink()
    assert "without a lock" in caplog.text and not (tmp_path / "elsewhere").exists()


def test_damaged_machine_code_does_not_count():
    @compiled
    def ninth_power(x):
        return x**9

    ninth_power._cache.flush()  # as if it were new
    assert not has_machine_code(ninth_power)
    assert ninth_power(2.0) == 512.0
    later = compiled(ninth_power.py_func)
    assert has_machine_code(later)
    written = machine_code_folder(later).glob("*ninth_power*.nbc")
    data = max(written, key=lambda path: path.stat().st_mtime_ns)
    data.write_bytes(data.read_bytes()[:-1])
    assert not has_machine_code(later) and later(2.0) == 512.0
    assert has_machine_code(compiled(ninth_power.py_func))


def test_an_error_of_the_compiler_ends_the_turn():
    @compiled
    def impossible(x):
        return x.nothing

    for _ in range(2):
        with pytest.raises(TypingError):
            impossible(2.0)
    lock = Path(f"{impossible._cache._cache_file._index_path}.lock")
    assert not lock.exists()


def test_code_of_other_processors_is_of_no_use(monkeypatch):
    @compiled
    def tenth_power(x):
        return x**10

    assert tenth_power(2.0) == 1024.0
    later = compiled(tenth_power.py_func)
    codegen = type(later.targetctx.codegen())
    monkeypatch.setattr(codegen, "magic_tuple", lambda self: ("another", "one"))
    assert not has_machine_code(later)


def test_without_compilation_python_does_the_same():
    "NUMBA_DISABLE_JIT is how one steps through a kernel in a debugger."
    asked = (
        "from lunar_potential.physics.losscone.cells import critical_angle; "
        "from lunar_potential.warmup import is_warm; "
        "print(critical_angle(0.25), is_warm(), type(critical_angle).__name__)"
    )
    env = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", asked], env=env, capture_output=True, text=True
    )
    angle, warm, kind = done.stdout.split()
    assert abs(float(angle) - 30) < 1e-6 and (warm, kind) == ("True", "function")


def test_an_inner_function_travels_to_workers():
    "Functions of a notebook are sent by value, and with them what they call."
    asked = [0.25, 0.5]
    here = [critical_angle(x) for x in asked]
    calls = [joblib.delayed(lambda x: critical_angle(x))(x) for x in asked]
    assert joblib.Parallel(n_jobs=2)(calls) == here
