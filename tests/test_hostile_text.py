"""Text from files, servers and foreign results is shown and never acts."""

import ast
import dataclasses
import html.parser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented import sweeps

import lunar_potential
from lunar_potential.fast.generic import BatchSummary
from lunar_potential.quality.doctor.findings import Finding
from lunar_potential.quality.doctor.report import Diagnosis
from lunar_potential.report import BatchResult, print_outcome
from lunar_potential.run.text import html_text, printable
from lunar_potential.view.explore.panels import _heading
from lunar_potential.view.explore.widgets import html_warning, save_message
from lunar_potential.view.globe.footpoints import footpoints
from lunar_potential.view.globe.interactive import globe_page, hover_text, plotly_globe

ACTS = "<img src=x onerror=alert(1)>"
HOSTILE = f"3D{ACTS}\x1b]0;owned\a\x9b2J\u202e\n</script><!--<script>alert(2)\x7f"


class Tags(html.parser.HTMLParser):
    "The tags of a page."

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append(tag)


def harmless(page):
    "Asserts that a piece of HTML has no tag of ours and no character that acts."
    assert not {"img", "script"} & set(Tags(page).found), page
    assert_silent(page)


def assert_silent(text):
    "Asserts that text does nothing to a terminal but break lines."
    assert all(c.isprintable() or c in "\n" for c in text), ascii(text)


@given(st.text())
def test_text_acts_nowhere(text):
    assert printable(text).isprintable() and printable(printable(text)) == printable(
        text
    )
    printable(text).encode()  # for a terminal that is strict
    assert not set("<>\"'") & set(html_text(text))
    if text.isprintable():
        assert printable(text) == text and Tags(html_text(text)).found == []


# in a notebook

DAYS = {"file": HOSTILE, "date": None, "status": "failed", "sweeps": 1}
DAYS |= {"connected": 0, "fitted": 0, "lost": 0, "reason": HOSTILE}
DAYS |= {"why": f"changed {HOSTILE}"}
PICTURE = {"orbit": 1, "part": "ees", "outcome": "failed", "category": "generic"}
PICTURE |= {"message": HOSTILE, "file": HOSTILE, "seconds": 1.0}


def batch_result():
    rejected = pd.DataFrame({"reason": [HOSTILE], "lost": [True]})
    return BatchResult([Path(HOSTILE)], pd.DataFrame([DAYS]), rejected, {"fit": 1.0})


def shown():
    "Objects that show themselves in a notebook, with hostile text in them."
    return {
        "BatchResult": batch_result(),
        "Diagnosis": Diagnosis(
            Path(HOSTILE), [Finding(HOSTILE, "note", HOSTILE, HOSTILE)], pd.DataFrame()
        ),
        "BatchSummary": BatchSummary(pd.DataFrame([PICTURE]), [], Path(HOSTILE)),
    }


@pytest.mark.parametrize("name", shown())
def test_tables_in_notebooks_are_harmless(name):
    page = shown()[name]._repr_html_()
    assert not {"img", "script"} & set(Tags(page).found), page
    assert_silent(repr(shown()[name]))


def test_foreign_results_are_harmless(results):
    foreign = dataclasses.replace(
        results, meta=results.meta | {"files": [HOSTILE]}, timings={HOSTILE: 1.0}
    )
    harmless(foreign._repr_html_())
    assert_silent(repr(foreign))


def test_every_class_that_shows_itself_is_tested():
    "A new one has to be added to these tests."
    found = set()
    for path in Path(lunar_potential.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "_repr_html_" in {
                getattr(each, "name", None) for each in node.body
            }:
                found.add(node.name)
    numbers = {"CoverageStudy", "ScenarioStudy"}  # of our own
    elsewhere = {"PotentialResults", "Downloads"}  # above; tests of downloads
    assert found == {*shown(), *elsewhere, *numbers}


def test_messages_of_widgets_are_harmless(tmp_path):
    harmless(html_warning(ValueError(HOSTILE)))
    (tmp_path / "a.txt").touch()
    harmless(save_message(go.Figure(), tmp_path / "a.txt"))
    harmless(save_message(go.Figure(), tmp_path / "a.hostile <img>"))
    harmless(_heading(HOSTILE, 1, 1)["title"]["text"])


# on a page


def test_globe_pages_run_no_script_but_their_own(moon_of_one_colour):
    spec = {**sweeps(40), "regime": [HOSTILE] * 40}
    figure = plotly_globe(spec, texture=moon_of_one_colour)
    for text in hover_text(footpoints(spec)):
        assert not {"img", "script"} & set(Tags(text).found)
    figure.update_layout(title={"text": HOSTILE})  # whoever changes the figure
    page, plain = globe_page(figure, HOSTILE), globe_page(go.Figure())
    assert Tags(page).found == Tags(plain).found


@pytest.fixture
def moon_of_one_colour():
    from lunar_potential.view.globe.moon import plain_texture

    return plain_texture()


# on a terminal


def test_outcomes_are_silent(capsys):
    print_outcome(batch_result())
    print(Finding(HOSTILE, "note", HOSTILE, HOSTILE))
    assert_silent(capsys.readouterr().out)


def command(*arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "lunar_potential", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        encoding="utf-8",
        errors="strict",
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_doctor_of_an_archive_with_hostile_names(archive, tmp_path):
    name = "x\x1b]0;owned\a\x9b2J\u202e"
    root = Path(shutil.copytree(archive.root, tmp_path / name))
    table = archive.files()[0]
    (root / f"{name}.bsp").write_bytes(b"text")
    (root / f"{name}.tls").write_text("KPL/LSK\n")
    (root / f"{table.stem}{name}.TAB").write_bytes(table.read_bytes()[:999])
    said = command("doctor", "--data-dir", root, cwd=tmp_path)
    assert "owned" in said
    assert_silent(said)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_pictures_in_a_folder_with_a_hostile_name(tmp_path):
    from lunar_potential.fast.simulate import simulate_cdf

    name = "x\x1b]0;owned\a\udcff"
    path = simulate_cdf(tmp_path / "data", records=8).path
    path.write_bytes(path.read_bytes()[:999])
    options = ("--workers", 1, "--quiet", "--raw")
    said = command(
        "fast", "plot", tmp_path / "data", "-o", tmp_path / name, *options, cwd=tmp_path
    )
    assert "owned" in said and "invalid-cdf" in said
    assert_silent(said)


SAYS = """
import argparse, logging, sys
from lunar_potential.run.command import run_command
from lunar_potential.run.log import log_to
hostile = sys.argv[1]
def command(args):
    with log_to("run.log", 1):
        logging.getLogger("lunar_potential").warning("%s", hostile)
    raise ValueError(hostile)
sys.exit(run_command(hostile, command, argparse.Namespace(verbose=True)))
"""


def test_what_is_said_and_logged_is_silent(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SAYS, HOSTILE.replace("\n", "\r")],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 1 and done.stderr.count("owned") >= 4
    assert_silent(done.stderr)
    logged = (tmp_path / "run.log").read_text(encoding="utf-8")
    assert "owned" in logged
    assert_silent(logged)
