"""Runs notebooks in place, storing their outputs, and cleans them.

    python .ci/run_notebooks.py [NOTEBOOK ...]    all of nbs/ when none is named

A notebook that fails is left as it was, and the run stops there.
"""

import os
import subprocess
import sys
from pathlib import Path

from execnb.nbio import read_nb, write_nb
from execnb.shell import CaptureShell
from nbdev.clean import nbdev_clean

root = Path(__file__).resolve().parent.parent


def left_out(
    cell,  # of a notebook
):  # bool
    "Whether nbdev_test skips the cell, too."
    return (
        cell.cell_type != "code"
        or "nbdev_export()" in cell.source
        or "#| eval: false" in cell.source
    )


def run(
    path,  # notebook
):
    "Executes a notebook in its own folder, as nbdev_test does; raises its errors."
    print(path.relative_to(root), flush=True)
    notebook = read_nb(path)
    os.chdir(path.parent)
    CaptureShell(path.parent).run_all(notebook, exc_stop=True, preproc=left_out)
    write_nb(notebook, path)
    nbdev_clean.__wrapped__(str(path))


if __name__ == "__main__":
    paths = [Path(a).resolve() for a in sys.argv[1:]] or sorted(
        (root / "nbs").rglob("*.ipynb")
    )
    if len(paths) == 1:
        run(paths[0])
    else:  # each in a process of its own: nothing is left behind by the one before
        for path in paths:
            subprocess.run([sys.executable, __file__, str(path)], check=True)
