"The files that the package is built from."

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    "settings.ini",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "CITATION.cff",
    "CHANGELOG.md",
    "lunar_potential",
]


def copy_sources(
    folder,  # that receives the copy
):  # the copy: a folder to build in
    "A copy of the sources: nothing of an older build, nothing left in the checkout."
    copy = Path(folder) / "lunar_potential"
    copy.mkdir()
    skip = shutil.ignore_patterns("__pycache__")
    for source in map(ROOT.joinpath, SOURCES):
        if source.is_dir():
            shutil.copytree(source, copy / source.name, ignore=skip)
        else:
            shutil.copy(source, copy)
    return copy
