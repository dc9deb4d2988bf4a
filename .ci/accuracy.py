"""Measures the accuracy by scenario and writes the tables of the front page from it.

python .ci/accuracy.py            measure, store, write (a quarter of an hour)
python .ci/accuracy.py --write    write the tables from the stored numbers
python .ci/accuracy.py --check    tell whether the tables are what the numbers give
"""

import json
import subprocess
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
STORED = root / "nbs/quality/study/accuracy.json"
PAGE = root / "nbs/index.ipynb"
MARK = "<!-- accuracy: written by `make accuracy` -->"
COLUMNS = {  # heading -> format of a row
    "says": lambda row: share(row["says"]),
    "median error (V)": lambda row: volts(row["error"]),
    "95 % of errors below (V)": lambda row: volts(row["error_p95"]),
    "95 % sets hold, sun": lambda row: share(row["covered_95_sun"]),
    "95 % sets hold, shade": lambda row: share(row["covered_95_shade"]),
    "68 % sets hold": lambda row: share(row["covered_68"]),
    "width, shade (V)": lambda row: volts(row["width_shade"]),
    "without constants (V)": lambda row: volts(row["width_own"]),
    "U_sc found": lambda row: share(row["u_sc_found"]),
}


def share(value):
    "A share with two decimals; a dash where there is none."
    return "–" if value is None else f"{value:.2f}"


def volts(value):
    "Volts with two significant digits or more; a dash where there are none."
    if value is None:
        return "–"
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def tables(
    stored,  # content of accuracy.json
    scenarios,  # name -> Scenario
):  # markdown
    "The tables of the front page."
    rows = {name: stored["scenarios"][name] for name in scenarios}
    heads = ["scenario", "which Moon", *COLUMNS]
    lines = [" | ".join(heads), " | ".join(["---"] * len(heads))]
    lines += [
        " | ".join([name, scenarios[name].about, *(f(row) for f in COLUMNS.values())])
        for name, row in rows.items()
        if row["says"] is not None
    ]
    empty = ["without a loss cone | which Moon | falsely identified", "--- | --- | ---"]
    empty += [
        f"{name} | {scenarios[name].about} | {share(row['false'])}"
        for name, row in rows.items()
        if row["says"] is None
    ]
    best, area = max(
        ((name, row["roc_area"]) for name, row in stored["quality"].items()),
        key=lambda pair: pair[1],
    )
    about, null = stored["about"], stored["null"].values()
    found, given = (sum(row[key] for row in null) for key in ("identified", "sweeps"))
    return "\n\n".join(
        [
            MARK,
            f"Version {about['version']}, {about['sweeps']:,} sweeps of each scenario:",
            "\n".join(f"| {line} |" for line in lines),
            "\n".join(f"| {line} |" for line in empty),
            f"Of {given:,} sweeps without a loss cone that are not of any plasma "
            f"({', '.join(stored['null'])}), {found} "
            f"{'was' if found == 1 else 'were'} assigned a potential.",
            f"Of the figures of quality, *{best}* knows most about which answers are "
            f"wrong: the area under its ROC over all scenarios is {area:.2f} "
            "(0.5 knows nothing, 1 knows all).",
        ]
    )


def measure():
    "Runs the benchmark and stores its numbers beside the page that shows them."
    from lunar_potential.cli import main

    if main(["bench", "accuracy", "--json", str(STORED)]):
        sys.exit("the benchmark failed")


def disagreement(
    stored,  # content of accuracy.json
    version,  # of the package
    scenarios,  # names of the scenarios of the package
):  # one sentence, empty if there is none
    "Where stored numbers and package do not belong together."
    if stored["about"]["version"] != version:
        return (
            f"accuracy.json is of version {stored['about']['version']}, not {version}"
        )
    different = set(stored["scenarios"]) ^ set(scenarios)
    return f"accuracy.json and the package differ in {different}" if different else ""


if __name__ == "__main__":
    from lunar_potential import __version__
    from lunar_potential.synthetic.scenario import SCENARIOS

    if not {"--write", "--check"} & set(sys.argv):
        measure()
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    if problem := disagreement(stored, __version__, SCENARIOS):
        sys.exit(f"{problem}: run `make accuracy`.")
    text = tables(stored, SCENARIOS)
    page = json.loads(PAGE.read_text(encoding="utf-8"))
    cell = next(c for c in page["cells"] if "".join(c["source"]).startswith(MARK))
    if "--check" in sys.argv:
        if "".join(cell["source"]) != text:
            sys.exit(
                "The tables of nbs/index.ipynb are not those of accuracy.json: run "
                "`python .ci/accuracy.py --write` and `make readme`."
            )
        print("The tables of nbs/index.ipynb are those of accuracy.json.")
    else:
        cell["source"] = text.splitlines(True)
        with open(PAGE, "w", encoding="utf-8") as file:
            json.dump(page, file, indent=1, ensure_ascii=False)
            file.write("\n")
        subprocess.run([sys.executable, root / ".ci/readme.py"], check=True)
