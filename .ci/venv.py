"""Makes a virtual environment that holds lunar_potential, or leaves it alone when it is up to date.

    python .ci/venv.py FOLDER [--dev]

Plain: the package as a user installs it, without nbdev. --dev: the checkout itself, editable, with
everything the tests need. Versions come from constraints.txt.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent
recipe = ["settings.ini", "setup.py", "constraints.txt", ".ci/venv.py"]
sources = [
    "settings.ini",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "CITATION.cff",
    "CHANGELOG.md",
    "lunar_potential",
]


def digest(
    paths,  # files and folders under the root, hashed with their names
    *words,  # further text that the digest depends on
):  # hexadecimal SHA-256
    "One number that changes when any of the files or words does."
    total = hashlib.sha256("\0".join(words).encode())
    for path in map(root.joinpath, paths):
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            total.update(f"\0{file.relative_to(root)}\0".encode() + file.read_bytes())
    return total.hexdigest()


def create(
    folder,  # where the environment goes
):
    "An empty environment in place of an old one; raises SystemExit rather than empty a folder that is none."
    if (
        folder.exists()
        and any(folder.iterdir())
        and not (folder / "pyvenv.cfg").exists()
    ):
        sys.exit(
            f"{folder} holds other things than a virtual environment: name another folder"
        )
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)


def install(
    folder,  # the environment
    dev,  # the checkout, editable and with the [dev] extra; else a plain install of a copy
):
    "Installs the project; a copy is built so that nothing is left in the checkout, nor taken from an older build."
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--use-pep517",
        "--disable-pip-version-check",
        "--constraint",
        str(root / "constraints.txt"),
    ]
    if dev:
        subprocess.run([*pip, "--editable", f"{root}[dev]"], check=True)
        return
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "lunar_potential"
        copy.mkdir()
        for path in map(root.joinpath, sources):
            shutil.copytree(path, copy / path.name) if path.is_dir() else shutil.copy(
                path, copy
            )
        subprocess.run([*pip, str(copy)], check=True)


def main():
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit(
            f"Python {sys.version.split()[0]} is not one of 3.11, 3.12 and 3.13, which lunar_potential is tested with"
        )
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dev", action="store_true")
    args = parser.parse_args()
    folder = args.folder.expanduser().resolve()
    stamp = folder / "lunar_potential.stamp"
    environment = digest(
        recipe, sys.version, sys.executable, str(folder), str(root), str(args.dev)
    )
    package = "" if args.dev else digest(sources)
    done = stamp.read_text().split("\n") if stamp.exists() else ["", ""]
    if done == [environment, package]:
        return
    print(
        f"Installing lunar_potential into {folder} (a minute or two when it is new) ...",
        flush=True,
    )
    if done[0] != environment:
        create(folder)
    install(folder, args.dev)
    stamp.write_text(f"{environment}\n{package}")


if __name__ == "__main__":
    main()
