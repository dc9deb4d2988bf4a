"""Tutorials: their sections, and intervals and bounds that mean what the text says."""

import datetime
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_potential.potentials import limited_percentiles

folder = Path(__file__).resolve().parent.parent / "nbs" / "tutorials"
SECTIONS = {
    "a_day": [
        "The files",
        "From counts to potentials",
        "The outcome of every sweep",
        "The day in one picture",
        "Where on the Moon",
        "Keeping the result",
        "How good was it?",
    ],
    "a_month": [
        "A month of files",
        "The run",
        "The outcome of every sweep",
        "Medians, and how well they are known",
        "Exposure",
        "The error that no average removes",
        "What is not identified",
        "The month on a globe",
    ],
}


def cells(name, kind):
    "Sources of the cells of a kind in a tutorial."
    notebook = json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == kind
    ]


def defined(name):
    "The functions that a tutorial defines, from its own cells."
    space = {"np": np, "pd": pd, "limited_percentiles": limited_percentiles}
    for source in cells(name, "code"):
        if re.search(r"^def ", source, re.MULTILINE):
            exec(source, space)
    return space


month = defined("a_month")


@pytest.mark.parametrize("name", SECTIONS)
def test_sections_can_be_found_and_links_lead_somewhere(name):
    text = "\n\n".join(cells(name, "markdown"))
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS[name]] == SECTIONS[
        name
    ]
    links = re.findall(r"\]\(([^):#]+\.ipynb)[^)]*\)", text)
    assert links and not [link for link in links if not (folder / link).is_file()]


@pytest.mark.parametrize("name", SECTIONS)
def test_code_is_short_public_and_cleans_up(name):
    code = cells(name, "code")
    assert not [
        source for source in code if "#| export" in source or "#| default_exp" in source
    ]
    assert not re.findall(r"(?:import|,) _\w+", "\n".join(code))
    assert (
        max(source.count("\n") + 1 for source in code if "import " not in source) <= 8
    )
    assert "temporary.cleanup()" in code[-1]


@pytest.mark.parametrize("name", SECTIONS)
def test_page_is_small_and_ran_without_an_error(name):
    path = folder / f"{name}.ipynb"
    outputs = [
        o
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        for o in cell.get("outputs", [])
    ]
    assert path.stat().st_size < 600_000
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 6
    assert not [o for o in outputs if o["output_type"] == "error"]


def correlated(rng, days=24, sweeps=20):
    "A month whose sweeps share an offset of their day; the true median is 0 V."
    dates = [
        datetime.date(1998, 4, 1) + datetime.timedelta(day)
        for day in range(days)
        for _ in range(sweeps)
    ]
    volts = np.repeat(rng.normal(0, 30, days), sweeps) + rng.normal(
        0, 30, days * sweeps
    )
    return pd.Series(volts, pd.DatetimeIndex(dates))


def test_interval_of_days_holds_the_true_median_and_that_of_sweeps_does_not():
    rng, hits = np.random.default_rng(1), {"days": 0, "sweeps": 0}
    for _ in range(200):
        group = correlated(rng)
        for unit, blocks in (
            ("days", group.index.date),
            ("sweeps", np.arange(len(group))),
        ):
            low, high = month["median_interval"](group, blocks, draws=100)
            hits[unit] += low <= 0 <= high
    # 0.86 of 200: 0.95 minus the few per cent that so few days and draws cost, minus
    # three standard errors
    assert hits["days"] >= 172
    assert hits["sweeps"] <= 120


def test_few_days_get_no_interval():
    few, many = (
        with_sets(correlated(np.random.default_rng(2), days=days)) for days in (4, 5)
    )
    assert np.isnan(month["describe"](few)[["median from", "to"]].astype(float)).all()
    row = month["describe"](many)
    assert (
        row["days"] == 5
        and row["sweeps"] == 100
        and row["median from"] <= row["median"] <= row["to"]
        and row["median"] == row["median at most"] == many["u_surface"].median()
    )


def with_sets(volts, limited=()):
    "Potentials with 95 % sets of ±10 V; those named are lower limits."
    table = pd.DataFrame({"u_surface": volts, "u_surface_lower_95": volts - 10})
    upper = np.array(volts + 10)
    upper[list(limited)] = np.inf
    return table.assign(u_surface_upper_95=upper)


def test_a_median_of_limits_says_so():
    volts = correlated(np.random.default_rng(2), days=5) - 300
    all_limits = with_sets(volts, range(len(volts)))
    row = month["describe"](all_limits)
    assert row["median"] == pytest.approx(volts.median() - 10)
    assert row["median at most"] == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-300, 20), st.booleans()), min_size=1, max_size=30)
)
def test_bounds_hold_the_median_of_all_whatever_was_not_identified(sweeps):
    volts, seen = (
        np.array([v for v, _ in sweeps], float),
        np.array([s for _, s in sweeps]),
    )
    group = {"u_surface": np.where(seen, volts, np.nan), "seen": seen, "true": volts}
    low, high, truth = month["bounds"](pd.DataFrame(group))
    assert truth == np.median(volts)
    if (
        not np.isnan([low, high]).any()
    ):  # the middle of -inf and inf, when just half of the sweeps is seen, is no number
        assert low <= np.median(volts) <= high
    if seen.all():
        assert low == high == np.median(volts)
