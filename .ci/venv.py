"""Makes a virtual environment that holds lunar_potential; one up to date is kept.

    python .ci/venv.py FOLDER [--dev]

Plain: the package as a user installs it, without nbdev. --dev: the checkout itself,
editable, with everything the tests need. Versions come from constraints.txt.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from sources import ROOT, SOURCES, copy_sources

RECIPE = ["settings.ini", "setup.py", "constraints.txt", ".ci/venv.py"]
PIP = ["-m", "pip", "install", "--quiet", "--use-pep517", "--disable-pip-version-check"]


def digest(
    paths,  # files and folders under the root, hashed with their names
    *words,  # further text that the digest depends on
):  # hexadecimal SHA-256
    "One number that changes when any of the files or words does."
    total = hashlib.sha256("\0".join(words).encode())
    for path in map(ROOT.joinpath, paths):
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            total.update(f"\0{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return total.hexdigest()


def create(
    folder,  # where the environment goes
):
    """An empty environment in place of an old one.

    Raises SystemExit rather than empty a folder that is not an environment.
    """
    old = (folder / "pyvenv.cfg").exists()
    if folder.exists() and any(folder.iterdir()) and not old:
        sys.exit(f"{folder} is not a virtual environment: name another folder")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)


def install(
    folder,  # the environment
    dev,  # the checkout, editable, with the [dev] extra; else a plain install
):
    "Installs the project, from a copy unless it is for development."
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [str(python), *PIP, "--constraint", str(ROOT / "constraints.txt")]
    if dev:
        subprocess.run([*pip, "--editable", f"{ROOT}[dev]"], check=True)
        return
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run([*pip, str(copy_sources(temporary))], check=True)


def update(
    folder,  # of the environment
    dev,  # as for `install`
):
    "Creates the environment or installs again if anything it depends on has changed."
    stamp = folder / "lunar_potential.stamp"
    state = sys.version, sys.executable, str(folder), str(ROOT), str(dev)
    environment = digest(RECIPE, *state)
    package = "" if dev else digest(SOURCES)
    done = stamp.read_text().split("\n") if stamp.exists() else ["", ""]
    if done == [environment, package]:
        return
    print(f"Installing lunar_potential into {folder} (a minute or two) ...", flush=True)
    if done[0] != environment:
        create(folder)
    install(folder, dev)
    stamp.write_text(f"{environment}\n{package}")


def main():
    "The command."
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        version = sys.version.split()[0]
        sys.exit(f"lunar_potential needs Python 3.11, 3.12 or 3.13; this is {version}")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dev", action="store_true")
    args = parser.parse_args()
    update(args.folder.expanduser().resolve(), args.dev)


if __name__ == "__main__":
    main()
