"""The command `lunar-potential`: thin, quick to start, clear about mistakes."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lunar_potential import __version__
from lunar_potential.batch import add_batch_arguments
from lunar_potential.cli import build_parser, demo_day, error_table, main
from lunar_potential.data.archive import Archive
from lunar_potential.quality import speed
from lunar_potential.quality.history import read_history
from lunar_potential.quality.study import spacecraft
from lunar_potential.results import read_results
from lunar_potential.synthetic.simulate import simulate_archive

HEAVY = (
    "numba",
    "scipy",
    "pandas",
    "xarray",
    "matplotlib",
    "plotly",
    "spiceypy",
    "joblib",
)


@pytest.mark.parametrize(
    "module",
    [
        "lunar_potential",
        "lunar_potential.cli",
        "lunar_potential.batch",
        "lunar_potential.results",
    ],
)
def test_imports_are_light(module):
    loaded = f"[name for name in {HEAVY} if name in sys.modules]"
    code = f"import sys, {module}; print({loaded})"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_batch_has_the_options_of_the_module():
    import argparse

    own = argparse.ArgumentParser()
    add_batch_arguments(own)
    options = [
        "--year",
        "1998",
        "--month",
        "6",
        "--overwrite",
        "--limit",
        "2",
        "--workers",
        "3",
        "-v",
    ]
    mine, theirs = (
        vars(build_parser().parse_args(["batch", *options])),
        vars(own.parse_args(options)),
    )
    assert {name: mine[name] for name in theirs} == theirs


def test_batch(archive, tmp_path, capsys):
    options = [
        "--data-dir",
        str(archive.root),
        "--output-dir",
        str(tmp_path),
        "--year",
        "1998",
        "--month",
        "6",
        "--day",
        "15",
        "--no-parallel",
    ]
    assert main(["batch", *options]) == 0
    assert "potential_batch_1998_06_15.npz" in capsys.readouterr().out


def test_simulate_then_info(tmp_path, capsys):
    assert (
        main(
            [
                "simulate",
                str(tmp_path / "a"),
                "--dates",
                "1999-02-01",
                "--sweeps",
                "3",
                "--cadence",
                "9000",
                "--seed",
                "4",
            ]
        )
        == 0
    )
    assert "3 sweeps" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "a")]) == 0
    out = capsys.readouterr().out
    assert (
        __version__ in out and "1 daily tables, 1999-02-01" in out and "kernel" in out
    )


def test_demo_twice_in_a_row(tmp_path, capsys):
    numbers = []
    for _ in range(2):
        assert (
            main(
                [
                    "demo",
                    "--output-dir",
                    str(tmp_path / "demo"),
                    "--sweeps",
                    "25",
                    "--workers",
                    "1",
                ]
            )
            == 0
        )
        out = capsys.readouterr().out
        assert all(
            word in out
            for word in (
                "25 sweeps",
                "wake",
                "all",
                "potential_batch_1998_04_01.npz",
                ".png",
                ".html",
            )
        )
        numbers.append(read_results(tmp_path / "demo").spec["u_surface"])
    np.testing.assert_array_equal(*numbers)
    assert (
        (tmp_path / "demo" / "potential_batch_1998_04_01.png")
        .read_bytes()
        .startswith(b"\x89PNG")
    )
    html = (tmp_path / "demo" / "potential_batch_1998_04_01.html").read_text()
    assert "plotly" in html.lower() and "<script src=" not in html, (
        "it needs no network"
    )
    assert (
        main(["info", str(tmp_path / "demo" / "potential_batch_1998_04_01.npz")]) == 0
    )


def test_the_day_of_the_demo_is_simulated_once(tmp_path):
    day = {"sweeps_per_day": 20, "seed": 3, "scenario": "plain"}
    truth, (table,) = demo_day(tmp_path, **day), tmp_path.rglob("3D*.TAB")
    written, content = table.stat().st_mtime_ns, table.read_bytes()
    again = demo_day(tmp_path, **day)
    assert table.stat().st_mtime_ns == written
    np.testing.assert_array_equal(again.u_lowest, truth.u_lowest)
    table.write_bytes(content[:-1] + b" ")
    demo_day(tmp_path, **day)
    assert table.read_bytes() == content  # damaged, so simulated again
    (tmp_path / "demo.json").write_text("{")
    written = table.stat().st_mtime_ns
    demo_day(tmp_path, **day)
    assert table.stat().st_mtime_ns > written
    demo_day(tmp_path, **{**day, "seed": 4})
    assert table.read_bytes() != content


def test_bench(tmp_path, capsys):
    assert (
        main(
            [
                "bench",
                "accuracy",
                "--sweeps",
                "8",
                "--seed",
                "2",
                "--workers",
                "1",
                "--json",
                str(tmp_path / "bench.json"),
            ]
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert (
        all(
            word in out
            for word in (
                "plasma_sheet",
                "ordinary tail",
                "smeared edge",
                "two energies",
                "covered_95",
            )
        )
        and "scenarios" in err
    )
    tables = json.loads((tmp_path / "bench.json").read_text())
    assert (
        list(tables)
        == ["about", "scenarios", "quality", "flags", "accuracy", "null", "speed"]
        and tables["accuracy"]["all"]["sweeps"] == 40
    )
    assert {row["sweeps"] for row in tables["null"].values()} == {8}
    assert (tables["about"]["sweeps"], tables["about"]["seed"]) == (8, 2)


def test_bench_accuracy_of_the_joint_fit(tmp_path, capsys):
    where = ["--json", str(tmp_path / "joint.json"), "--workers", "1"]
    which = ["--scenarios", "control", "no cone", "--fit-method", "joint"]
    assert main(["bench", "accuracy", "--sweeps", "12", *which, *where]) == 0
    stored = json.loads((tmp_path / "joint.json").read_text())
    assert stored["about"]["fit_method"] == "joint"
    assert list(stored["scenarios"]) == ["control", "no cone"]
    assert stored["scenarios"]["control"]["covered_95"] >= 0.75
    assert stored["scenarios"]["no cone"]["false"] == 0


def test_bench_spacecraft_potential(tmp_path, capsys):
    assert (
        main(
            [
                "bench",
                "spacecraft-potential",
                "--sweeps",
                "20",
                "--workers",
                "2",
                "--json",
                str(tmp_path / "bench.json"),
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert all(
        word in out
        for word in (
            "sequential_s",
            "parallel_s",
            "speed_up",
            "identical",
            "True",
            "shade",
            "sd_robust",
        )
    )
    tables = json.loads((tmp_path / "bench.json").read_text())
    assert (
        list(tables) == ["about", "parallel", "spacecraft", "influence"]
        and tables["parallel"]["spacecraft potential"]["rows"] == 300
    )


def test_bench_month(tmp_path, capsys):
    assert (
        main(
            [
                "bench",
                "--days",
                "2",
                "--sweeps",
                "8",
                "--workers",
                "2",
                "--json",
                str(tmp_path / "bench.json"),
            ]
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert (
        all(
            word in out
            for word in (
                "efficiency",
                "sweeps_per_s",
                "worker_mb",
                "surface fit",
                "start and wait",
                "connected sweep",
            )
        )
        and "simulating" in err
    )
    tables = json.loads((tmp_path / "bench.json").read_text())
    assert list(tables) == ["about", "runs", "stages", "costs", "limits"]
    assert all(run["identical"] for run in tables["runs"].values())
    assert tables["stages"]["surface fit"]["earlier code (s)"] == 683
    assert "earlier code (s): the code this package grew from" in out
    assert tables["limits"]["read"]["unit"] == "MB" and "SPICE position" in out
    assert tables["about"]["machine"]["cores"] >= 1


def test_bench_speed(tmp_path, capsys):
    few = ["--days", "2", "--sweeps", "12", "--workers", "2"]
    where = ["--json", str(tmp_path / "speed.json"), "--record", str(tmp_path / "all")]
    parts = ["--parts", "import", "month"]
    assert main(["bench", "speed", *few, *where, *parts]) == 0
    out, err = capsys.readouterr()
    assert "import of all names" in out and "2 workers" in out and "entry 1" in err
    stored = json.loads((tmp_path / "speed.json").read_text())
    assert stored["times"]["import"]["repeats"] == 3
    assert stored["times"]["month, 2 workers"]["repeats"] == 1
    assert {"cpu", "numba", "numpy", "python"} <= set(stored["about"]["machine"])
    (entry,) = read_history(tmp_path / "all")
    assert set(entry["numbers"]) == set(stored["times"])
    assert set(entry["stages"]) == set(stored["stages"])
    assert entry["limits"]["coordinates"]["unit"] == "SPICE position"


def test_a_damaged_history_is_refused_before_anything_is_measured(
    tmp_path, monkeypatch, capsys
):
    def measure(*args):
        raise AssertionError("it measured")

    monkeypatch.setattr(speed, "speed_benchmark", measure)
    (tmp_path / "history").write_text("[")
    assert main(["bench", "speed", "--record", str(tmp_path / "history")]) == 1
    assert str(tmp_path / "history") in capsys.readouterr().err
    assert (tmp_path / "history").read_text() == "["


def test_check_spacecraft_potential(capsys):
    assert main(["check", "spacecraft-potential", "--sweeps", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and all(line.startswith("ok ") for line in lines)


@pytest.mark.parametrize("verb", ["bench", "check"])
def test_a_difference_is_a_failure(verb, monkeypatch, capsys):
    monkeypatch.setattr(spacecraft, "identical_answers", lambda one, other: False)
    assert main([verb, "spacecraft-potential", "--sweeps", "20"]) == 1
    out = capsys.readouterr().out
    assert (
        "False" in out
        if verb == "bench"
        else [line.split()[0] for line in out.splitlines()]
        == ["FAILED", "ok", "ok", "ok", "ok"]
    )


def test_error_table(results, truth):
    table = error_table(results, truth)
    assert (
        table.loc["all", "sweeps"] == len(truth)
        and table.loc["all", "connected"] == truth.connected.sum()
    )
    assert table["fitted"].iloc[:-1].sum() == results.spec["has_fit"].sum()
    assert table.loc["all", "U_surface |error|"] < 6


def test_errors_are_those_of_the_lowest_potential_on_the_path(results, truth):
    "Ground that no loss cone can see changes no error."
    higher = dataclasses.replace(truth, u_surface=np.maximum(truth.u_surface, 0) + 150)
    hidden = dataclasses.replace(
        higher, barrier=-truth.u_lowest, sheath=np.full(len(truth), 1e-3)
    )
    one, other = error_table(results, truth), error_table(results, hidden)
    column = "U_surface |error|"
    np.testing.assert_allclose(other[column], one[column], atol=0.5)


@pytest.mark.parametrize(
    "options, scenario, hard",
    [
        ([], "ordinary", None),
        (["--scenario", "plain"], "plain", None),
        (["--scenario", "plain", "--hard"], "plain", True),
    ],
)
def test_simulate_writes_the_scenario_with_its_own_instrument(
    options, scenario, hard, tmp_path
):
    few = ["--sweeps", "12", "--cadence", "7200"]
    assert main(["simulate", str(tmp_path / "one"), *few, *options]) == 0
    changed = {} if hard is None else {"hard": hard}
    simulate_archive(
        tmp_path / "other",
        sweeps_per_day=12,
        cadence=7200,
        scenario=scenario,
        **changed,
    )
    for path in Archive(tmp_path / "other").files():
        written = tmp_path / "one" / path.relative_to(tmp_path / "other")
        assert written.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "argv, status, words",
    [
        (["info", "nowhere"], 1, "does not exist"),
        (["simulate", "x", "--sweeps", "0"], 1, "sweeps"),
        (["simulate", "x", "--scenario", "moon"], 1, "plain, control, ordinary"),
        (["bench", "accuracy", "--sweeps", "0"], 1, "0 sweeps"),
        (["bench", "--days", "0"], 1, "0 days"),
        (["bench", "speed", "--repeats", "0"], 1, "0 runs"),
        (["bench", "speed", "--parts", "nap"], 1, "import, start, month"),
        (["bench", "--record", "x"], 2, "--record belongs to"),
        (["bench", "accuracy", "--parts", "month"], 2, "--parts belongs to"),
        (["movie", "nowhere"], 1, "nowhere"),
        (["bench", "--data-dir", "nowhere"], 1, "nowhere"),
        (["bench", "spacecraft-potential", "--workers", "1"], 1, "2 or more"),
        (["check", "spacecraft-potential", "--sweeps", "0"], 1, "0 sweeps"),
    ],
)
def test_mistakes(argv, status, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == status
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1 and "Traceback" not in err


def test_verbose_shows_where(tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "x", "--sweeps", "0", "-v"]) == 1
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["paint"],
        ["bench", "haste"],
        ["check"],
        ["batch", "--month", "13"],
        ["batch", "--fit-method", "magic"],
    ],
)
def test_usage(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2 and "usage" in capsys.readouterr().err


VERBS = (
    "download",
    "doctor",
    "batch",
    "warm-up",
    "calibrate",
    "simulate",
    "demo",
    "movie",
    "bench",
    "check",
    "validate",
    "info",
    "fast",
)


@pytest.mark.parametrize(
    "words",
    [
        [],
        *([verb] for verb in VERBS),
        *(["fast", verb] for verb in ("plot", "extrema", "orbit")),
    ],
    ids=" ".join,
)
def test_every_verb_has_help(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "usage: lunar-potential" in said
    assert words or all(re.search(rf"\n    {verb}\s", said) for verb in VERBS)


def test_help_and_version(capsys):
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as stop:
            main([option])
        assert stop.value.code == 0
    assert __version__ in capsys.readouterr().out


def commands_in_the_docs():
    "Command lines shown in fenced blocks of the pages."
    for page in sorted((Path(__file__).parent.parent / "nbs").rglob("*.ipynb")):
        if page.parent.name.startswith((".", "_")):
            continue
        for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
            for block in re.findall(
                r"^```(?:bash|sh|shell|console)\n(.*?)^```",
                "".join(cell["source"]),
                re.MULTILINE | re.DOTALL,
            ):
                for line in block.replace("\\\n", " ").splitlines():
                    if line.strip().startswith("lunar-potential "):
                        yield page.stem, line.strip()


@pytest.mark.parametrize("page, line", list(commands_in_the_docs()))
def test_commands_in_the_docs_make_sense(page, line):
    args = build_parser().parse_args(shlex.split(line, comments=True)[1:])
    assert callable(args.command)
