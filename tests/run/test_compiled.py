"Compiled functions on disk: kept as long as the package stays the same, and no longer."

import os
import shutil
import subprocess
import sys
from pathlib import Path

import lunar_potential
from lunar_potential.run.compiled import compiled, inner, source_stamp

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
