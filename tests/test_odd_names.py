"""Folders whose names are not UTF-8, and names that the locale cannot show.

In processes of their own, since a locale is chosen when Python starts."""

import os
import shutil
import subprocess
import sys

import pytest
from simulated_days import same_arrays

from lunar_potential.data.er.table import TABLE_BYTES
from lunar_potential.results import read_results

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
STRICT = {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}
CASES = {  # bytes of the name of a folder, environment
    "not UTF-8, C locale": (b"donn\xe9es", C_LOCALE),
    "UTF-8, C locale": ("données…".encode(), C_LOCALE),
    "not UTF-8, strict UTF-8": (b"donn\xe9es", STRICT),
}


def command(environment, *words):
    "Status, standard output and standard error of the command, as bytes."
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lunar_potential", *words],
        env={**os.environ, **environment},
        capture_output=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(params=CASES)
def odd(request, archive, tmp_path):
    "A folder of an odd name that holds an archive with a table too large to be one."
    name, environment = CASES[request.param]
    folder = tmp_path / os.fsdecode(name)
    try:
        shutil.copytree(archive.root, folder / "archive")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    with open(folder / "archive" / "3D980121.TAB", "wb") as file:
        file.truncate(TABLE_BYTES + 1)
    return folder, environment


def test_a_run_works_in_a_folder_of_any_name(odd, results):
    folder, environment = odd
    where = "--data-dir", folder / "archive", "--output-dir", folder / "out"
    days = "--start", "1998-01-01", "--end", "1998-01-31"
    how = "--workers", "2", "--log", folder / "run.log"
    status, said, told = command(environment, "batch", *where, *days, *how)
    assert status == 0, told
    assert b"2 files (1 done, 1 failed)" in said and b"potential_batch_from" in said
    found = read_results(folder / "out")
    same_arrays(found.spec, results.select(results.spec["file_index"] == 0).spec)
    assert "donn" in found.meta["failed"]["3D980121.TAB"]
    log = (folder / "run.log").read_bytes()
    assert b"3D980120.TAB done" in log and b"3D980121.TAB" in log
    status, said, told = command(environment, "info", folder / "out")
    assert status == 0 and b"donn" in said, told
    status, said, told = command(environment, "batch", *where, *days, "--dry-run")
    assert status == 0 and b"3D980120.TAB" in said, told


@pytest.mark.parametrize("case", CASES)
def test_what_is_missing_is_named_in_any_locale(case, tmp_path):
    name, environment = CASES[case]
    missing = tmp_path / os.fsdecode(name)
    status, said, told = command(environment, "batch", "--data-dir", missing)
    assert status == 1 and told.count(b"\n") == 1
    assert b"donn" in told and b"cannot be read" in told and b"codec" not in told
