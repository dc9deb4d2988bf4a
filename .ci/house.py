"""Checks that rooms stay small: lines of a module, definitions of a page.

    python .ci/house.py [ROOT]

Which room may import which is checked by import-linter (pyproject.toml).
"""

import ast
import json
import re
import statistics
import sys
from configparser import ConfigParser
from pathlib import Path

LINES = 800  # most lines of an exported module
MEDIAN = 500  # that the median module stays below
DEFINITIONS = 40  # most functions and classes that a page exports
EXPORT = re.compile(r"^#\| *exports?\b", re.MULTILINE)
MODULE = re.compile(r"^#\| *default_exp +(\S+)", re.MULTILINE)


def sources(
    page,  # path of a notebook
):  # list of str
    "Sources of the code cells of a page."
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


def definitions(
    cells,  # sources of the code cells of a page
):  # list of names
    "Functions and classes that a page exports, private ones included."
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    exported = [ast.parse(cell) for cell in cells if EXPORT.search(cell)]
    return [n.name for tree in exported for n in tree.body if isinstance(n, kinds)]


def rooms(
    root,  # an nbdev project
):  # {page relative to root: (lines of its module, number of its definitions)}
    "Size of every room; raises FileNotFoundError for a page that was never exported."
    config = ConfigParser(delimiters=["="])
    config.read(root / "settings.ini", encoding="utf-8")
    library = root / config["DEFAULT"]["lib_path"]
    found = {}
    for page in sorted((root / config["DEFAULT"]["nbs_path"]).rglob("*.ipynb")):
        cells = sources(page)
        module = MODULE.search("\n".join(cells))
        if module:
            path = library / f"{module[1].replace('.', '/')}.py"
            lines = len(path.read_text(encoding="utf-8").splitlines())
            found[page.relative_to(root)] = lines, len(definitions(cells))
    return found


def oversized(
    found,  # of `rooms`
):  # one sentence for each
    "Rooms that want to be split."
    problems = []
    for page, (lines, number) in found.items():
        if lines > LINES:
            problems.append(f"{page}: {lines} lines exported, at most {LINES}")
        if number > DEFINITIONS:
            problems.append(f"{page}: {number} definitions, at most {DEFINITIONS}")
    median = statistics.median(lines for lines, _ in found.values())
    if median >= MEDIAN:
        problems.append(f"the median module has {median:g} lines, not below {MEDIAN}")
    return problems


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else __file__ + "/../..").resolve()
    sizes = rooms(root)
    problems = oversized(sizes)
    print("\n".join(problems) or f"All {len(sizes)} rooms are within their limits.")
    sys.exit(1 if problems else 0)
