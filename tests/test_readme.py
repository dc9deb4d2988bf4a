"""Every block of README.md runs, in order, in one folder, as a reader would run it."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from http_server import Site

from lunar_potential import __version__
from lunar_potential.data.archive import walk_files
from lunar_potential.synthetic.scenario import SCENARIOS
from lunar_potential.synthetic.simulate import simulate_archive

root = Path(__file__).resolve().parent.parent
readme = (root / "README.md").read_text(encoding="utf-8")
blocks = re.findall(r"^```(\w+)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)

DOWNLOAD = "it needs NASA's servers; test_from_download_to_potentials uses a local one"
ELSEWHERE = {  # lines that are not run here, and why
    "pip install .": "it needs the package index; make demo installs the project",
    "make demo": "it makes an environment first; test_demo runs its command",
    "make test": "it is what runs this test",
    "lunar-potential download --start 1998-04-01 --end 1998-04-30": DOWNLOAD,
    "lunar-potential doctor --start 1998-04-01 --end 1998-04-30": DOWNLOAD,
    "lunar-potential batch --year 1998 --month 4": DOWNLOAD,
    "lunar-potential bench accuracy": "long; test_cli runs it with few sweeps",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("a reader")


def run(command, folder, text):
    commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": commands, "MPLBACKEND": "Agg"}
    environment.pop("LUNAR_POTENTIAL_DATA", None)
    done = subprocess.run(
        command, cwd=folder, env=environment, input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    "number", range(len(blocks)), ids=lambda n: f"{n}-{blocks[n][0]}"
)
def test_block(number, folder):
    language, text = blocks[number]
    if language == "bash":
        text = "".join(
            line for line in text.splitlines(True) if line.strip() not in ELSEWHERE
        )
        run(["bash", "-euo", "pipefail"], folder, text)
    elif language == "python":
        run([sys.executable, "-"], folder, text)
    else:
        assert language == "text"


def test_from_download_to_potentials(tmp_path, monkeypatch):
    simulate_archive(
        tmp_path / "server",
        dates=[f"1998-04-{day:02}" for day in range(1, 31)],
        sweeps_per_day=3,
        cadence=7000,
    )
    files = {
        f"/{path.relative_to(tmp_path / 'server').as_posix()}": path.read_bytes()
        for path in walk_files(tmp_path / "server")
        if path.name != "truth.npz"
    }
    commands = next(
        text for language, text in blocks if "lunar-potential download" in text
    )
    with Site(files) as site:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for name in ("flux", "theta", "attitude"):
            monkeypatch.setenv(f"LUNAR_POTENTIAL_URL_{name.upper()}", f"{site.url}/")
        for name in ("orbit", "planets", "leapseconds", "constants"):
            monkeypatch.setenv(
                f"LUNAR_POTENTIAL_URL_{name.upper()}", f"{site.url}/spice_kernels/"
            )
        (tmp_path / "reader").mkdir()
        out = run(["bash", "-euo", "pipefail"], tmp_path / "reader", commands)
    assert (
        "nothing is missing" in out
        and (
            tmp_path / "reader/artifacts/potential_cache/potential_batch_1998_04.npz"
        ).is_file()
    )


def test_lines_run_elsewhere_are_in_the_readme():
    lines = {line.strip() for _, text in blocks for line in text.splitlines()}
    assert set(ELSEWHERE) <= lines


def test_commands_wrote_what_the_readme_names(folder):
    written = {p.relative_to(folder).as_posix() for p in folder.rglob("*.npz")}
    assert {
        "artifacts/potential_cache/potential_batch_1998.npz",
        "my_cache/potential_batch_1998.npz",
    } <= written
    assert {
        f"artifacts/potential_cache/potential_batch_1998_{m}.npz"
        for m in ("01", "06", "06_15")
    } <= written


def accuracy_script():
    spec = importlib.util.spec_from_file_location("accuracy", root / ".ci/accuracy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_accuracy_is_of_this_version_and_of_these_scenarios():
    script = accuracy_script()
    stored = json.loads(script.STORED.read_text(encoding="utf-8"))
    names = dict.fromkeys(SCENARIOS)
    assert script.disagreement(stored, __version__, names) == ""
    assert script.tables(stored, SCENARIOS) in readme
    assert "version" in script.disagreement(stored, "9.9", names)
    renamed = {"another": None, **names}
    assert "another" in script.disagreement(stored, __version__, renamed)
    assert "plain" in script.disagreement(stored, __version__, list(names)[1:])


def test_every_scenario_has_its_row():
    rows = set(re.findall(r"^\| ([^|]+?) \|", readme, re.MULTILINE))
    assert set(SCENARIOS) <= rows


def test_names_it_recommends_are_public():
    import lunar_potential

    table = readme.split("## What to use when")[1].split("\n## ")[0]
    names = set(re.findall(r"`(\w+)`", table)) - {"lunar_potential"}
    assert "run_day" in names and names <= set(lunar_potential.__all__)


def test_demo(tmp_path):
    recipe = re.search(
        r"^demo:.*?\n\n", (root / "Makefile").read_text(), re.MULTILINE | re.DOTALL
    )[0]
    arguments = re.search(r"-m lunar_potential (.*)", recipe)[1].replace(
        "$(WORK)", str(tmp_path / "a folder")
    )
    out = run(["bash", "-e"], tmp_path, f"lunar-potential {arguments}")
    made = {p.suffix for p in (tmp_path / "a folder/demo").rglob("*")}
    assert {".npz", ".png", ".html"} <= made and str(tmp_path) in out


def test_files_it_links_to_exist():
    links = re.findall(r"\]\(([^)#\s]+)", readme)
    assert links and not [
        link
        for link in links
        if not link.startswith("https://") and not (root / link).is_file()
    ]
