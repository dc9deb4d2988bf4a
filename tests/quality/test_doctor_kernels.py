"""The doctor on kernels: genuine, other or damaged; what contradicts; deep folders."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from lunar_potential.data import kernels
from lunar_potential.quality.doctor.report import doctor
from lunar_potential.synthetic.kernels import planetary_constants_text


def diagnose(root):
    return doctor(root, machine=False)


def finding(found, name):
    (check,) = [check for check in found.checks if check.name == name]
    return check


def kernel(archive, words):
    return next(path for path in archive.kernels if words in path.name)


WORDS = ["lp_ask", "lpephemu", "leapseconds", "pck"]


@pytest.mark.parametrize("words", WORDS)
def test_genuine_other_and_damaged(own_archive, monkeypatch, words):
    path = kernel(own_archive, words)
    content = path.read_bytes()
    assert finding(diagnose(own_archive.root), path.name).found.startswith("other; ")
    monkeypatch.setitem(kernels.GENUINE, hashlib.sha1(content).hexdigest(), path.name)
    assert finding(diagnose(own_archive.root), path.name).found.startswith("genuine; ")
    path.write_bytes(content[: len(content) // 2])
    check = finding(diagnose(own_archive.root), path.name)
    assert check.level == "MISSING" and check.found.startswith("damaged: ")
    assert "remove it, then lunar-potential download" in check.advice


@pytest.mark.parametrize(
    "last", ["1981-JUL-1", "1985-JUL-1", "1997-JUL-1", "1999-JAN-1"]
)
def test_leap_seconds_that_end_before_the_data(own_archive, last):
    path = kernel(own_archive, "leapseconds")
    text = path.read_text()
    cut = text.index(last) + len(last)
    path.write_text(text[:cut])
    assert finding(diagnose(own_archive.root), path.name).level == "MISSING"
    path.write_text(text[:cut] + " )\n\\begintext\n")
    found = finding(diagnose(own_archive.root), path.name)
    good = last >= "1997"  # the data end in June 1998
    assert found.level == ("ok" if good else "MISSING")
    assert good or "leap second of 198" in found.found


def test_half_a_file_of_constants(own_archive):
    path = kernel(own_archive, "pck")
    half = planetary_constants_text().partition("BODY301_NUT_PREC_RA")[0]
    path.write_text(half + "\\begintext\n")
    check = finding(diagnose(own_archive.root), path.name)
    assert check.level == "MISSING" and "lacks BODY301_NUT_PREC_RA" in check.found


@pytest.mark.parametrize(
    "turn, level", [("38.3213", None), ("38.33", "note"), ("40.0", "MISSING")]
)
def test_two_files_of_constants(own_archive, turn, level):
    text = planetary_constants_text().replace("38.3213", turn)
    kernel(own_archive, "pck").with_name("pck00012.tpc").write_text(text)
    found = diagnose(own_archive.root)
    if level is None:
        assert "constants that differ" not in str(found)
    else:
        check = finding(found, "constants that differ")
        assert check.level == level and check.found.endswith("pck00012.tpc wins")


def test_deep_folders_end_no_process(archive, tmp_path):
    "CSPICE itself ends a process that asks for the coverage of a longer name."
    deep = tmp_path.joinpath(*["d" * 100] * 3)
    deep.parent.mkdir(parents=True)
    shutil.copytree(archive.root, deep)
    done = subprocess.run(
        [sys.executable, "-m", "lunar_potential", "doctor", "--data-dir", str(deep)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode in (0, 1), done.stderr
    flat = str(diagnose(archive.root))
    told = done.stdout.replace(str(deep), str(archive.root))
    for line in flat.splitlines()[1:]:
        if line.startswith("ok      l"):  # the kernels
            assert line in told
    assert "SIGSEGV" not in done.stderr and not done.stderr.strip()
