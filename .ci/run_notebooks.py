"""Runs notebooks in place, storing their outputs, and cleans them.

    python .ci/run_notebooks.py [NOTEBOOK ...]    all of nbs/ when none is named

A notebook that fails is left as it was, and the run stops there.
"""
import multiprocessing
import os
import sys
from pathlib import Path

from execnb.nbio import read_nb, write_nb
from execnb.shell import CaptureShell
from nbdev.clean import nbdev_clean

root = Path(__file__).resolve().parent.parent


def left_out(
    cell,  # of a notebook
):  # bool
    "Whether nbdev_test, too, passes the cell by."
    return cell.cell_type != "code" or "nbdev_export()" in cell.source or "#| eval: false" in cell.source


def run(
    path,  # notebook
):
    "Executes a notebook in its own folder, as nbdev_test does; raises what a cell raises."
    print(path.relative_to(root), flush=True)
    notebook = read_nb(path)
    os.chdir(path.parent)
    CaptureShell(path.parent).run_all(notebook, exc_stop=True, preproc=left_out)
    write_nb(notebook, path)
    nbdev_clean.__wrapped__(str(path))


if __name__ == "__main__":
    named = [Path(a).resolve() for a in sys.argv[1:]]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        pool.map(run, named or sorted((root / "nbs").rglob("*.ipynb")), chunksize=1)
