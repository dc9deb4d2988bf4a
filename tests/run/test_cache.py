"""Machine code on disk: damaged, cut short, without room, without any place."""

import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lunar_potential

MODULE = """
from lunar_potential.run.compiled import compiled

@compiled
def third_power(x):
    return x * x * x
"""


def imported(folder):
    "The function as another process would find it."
    path = folder / "powers.py"
    spec = importlib.util.spec_from_file_location("powers", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["powers"] = module
    spec.loader.exec_module(module)
    return module.third_power


def called(folder):
    "The third power of 3, and whether its machine code came from the disk."
    function = imported(folder)
    return function(3.0), sum(function.stats.cache_hits.values())


def fill(folder):
    (folder / "powers.py").write_text(MODULE)
    called(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "A module with a compiled function, and its files on the disk."
    return fill(tmp_path_factory.mktemp("powers"))


def files(folder, ending):
    return sorted((folder / "__pycache__").glob(f"*third_power*.{ending}"))


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "first byte": lambda data: data[:1],
    "other": lambda data: pickle.dumps("0.0") + data,
    "zeros": lambda data: bytes(len(data)),
    "flipped": lambda data: data[:-60] + bytes([data[-60] ^ 4]) + data[-59:],
}


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_counts_as_missing_and_is_replaced(folder, ending, how):
    assert called(folder) == (27.0, 1)
    (path,) = files(folder, ending)
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    assert called(folder) == (27.0, 0)
    assert called(folder) == (27.0, 1)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_byte_of_the_files_can_be_damaged_unnoticed(folder, data):
    called(folder)
    path = data.draw(st.sampled_from(files(folder, "nb[ic]")))
    content = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert called(folder) == (27.0, 0)


def test_machine_code_under_the_name_of_another_signature_is_not_run(folder):
    function = imported(folder)
    assert function(3) == 27 and function(3.0) == 27.0
    one, two = files(folder, "nbc")
    shutil.copy(one, two)
    again = imported(folder)
    assert again(3.0) == 27.0 and again(3) == 27 and isinstance(again(3), int)
    one.unlink(), two.unlink()


WITHOUT_PRIVILEGES = """
import ctypes, os
if os.getuid() == 0:  # root may write everywhere; without capabilities it may not
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0
"""


@pytest.fixture(scope="module")
def read_only(tmp_path_factory):
    "An installation and a home in which nobody can write, and one folder for files."
    place = tmp_path_factory.mktemp("read only")
    shutil.copytree(
        Path(lunar_potential.__file__).parent,
        place / "lunar_potential",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    paths = [place, *place.rglob("*")]
    (place / "writable").mkdir()
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield place
    for path in paths:
        path.chmod(0o755)


CODE = """
from numba.core.caching import NullCache
from lunar_potential.physics.currents import secondary_yield
in_memory = isinstance(secondary_yield._cache, NullCache)
print("memory" if in_memory else secondary_yield._cache.cache_path)
print(secondary_yield(500.0), sum(secondary_yield.stats.cache_hits.values()))
"""


def in_read_only(place, temporary):
    "Where the machine code is, the value, how much came from the disk; the log."
    named = {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in named}
    places = {"PYTHONPATH": str(place), "HOME": str(place), "TMPDIR": str(temporary)}
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_PRIVILEGES + CODE],
        cwd=place,
        env=kept | places,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()[0], *ran.stdout.split()[-2:], ran.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_a_read_only_installation_uses_the_temporary_folder(read_only):
    temporary = read_only / "writable"
    where, value, hits, said = in_read_only(read_only, temporary)
    assert where.startswith(f"{temporary}/lunar_potential-") and said == ""
    assert (round(float(value), 1), hits) == (1.5, "0")
    assert in_read_only(read_only, temporary)[1:3] == (value, "1")
    (own,) = temporary.glob("lunar_potential-*")
    own.chmod(0o777)  # others could leave machine code here
    where, again, hits, said = in_read_only(read_only, temporary)
    assert (where, again, hits) == ("memory", value, "0")
    assert said.count("NUMBA_CACHE_DIR") == 1


def test_a_full_disk_costs_only_the_compiling(tmp_path):
    (tmp_path / "powers.py").write_text(MODULE)
    code = """
import resource
from powers import third_power
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
print(third_power(3.0))
"""
    path = os.pathsep.join([str(Path(lunar_potential.__file__).parents[1]), "."])
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "27.0\n", ran.stderr
    assert called(tmp_path) == (27.0, 0)
