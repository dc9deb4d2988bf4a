"""Builds the source distribution, from it the wheel, and proves the wheel in clean environments.

    python .ci/release.py [PYTHON ...]    interpreters to prove it with (default: this one)

For each interpreter: a new environment, the wheel and what it requires, `pip check`, no tool of development
among it, the import, and `lunar-potential demo` away from the checkout; then the source distribution in its
place. What passes is put into dist/.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent
contents = [
    "settings.ini",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "CITATION.cff",
    "CHANGELOG.md",
    "lunar_potential",
]
development = {
    "nbdev",
    "pytest",
    "hypothesis",
    "jupyterlab",
    "playwright",
    "execnb",
    "fastcore",
}
largest = 2_000_000  # bytes of a wheel


def call(*words, **options):  # words of a command line
    "Runs a command; raises SystemExit with its output when it fails."
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, **options
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(
    folder,  # receives the two files
):  # the wheel and the source distribution
    "Builds from a copy of what belongs to the package, so that nothing of an older build gets in."
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "lunar_potential"
        copy.mkdir()
        for source in map(root.joinpath, contents):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(
                source, copy / source.name, ignore=ignored
            ) if source.is_dir() else shutil.copy(source, copy)
        call(sys.executable, "-m", "build", "--outdir", folder, copy)
    (wheel,), (source,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
    if wheel.stat().st_size > largest:
        sys.exit(
            f"{wheel.name} has {wheel.stat().st_size:,} bytes; at most {largest:,} are wanted"
        )
    return wheel, source


def prove(
    wheel,  # to be installed and used
    source,  # to be installed after it
    python,  # interpreter
):  # one sentence
    "Installs the wheel into an environment of its own and uses it as a newcomer would."
    clean = {
        name: value
        for name, value in os.environ.items()
        if name
        in (
            "HOME",
            "PATH",
            "LANG",
            "PIP_INDEX_URL",
            "PIP_CONFIG_FILE",
            "SSL_CERT_FILE",
            "SYSTEMROOT",
        )
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        call(python, "-m", "venv", folder / "environment")
        own = (
            folder
            / "environment"
            / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        )
        call(
            own,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "-c",
            root / "constraints.txt",
            wheel,
            env=clean,
        )
        call(own, "-m", "pip", "check", env=clean)
        names = {
            line.split("==")[0].lower()
            for line in call(
                own, "-m", "pip", "list", "--format=freeze", env=clean
            ).split()
        }
        if names & development:
            sys.exit(
                f"the wheel brings {', '.join(sorted(names & development))}, which only development needs"
            )
        version = call(
            own,
            "-c",
            "import sys, lunar_potential as l; print(sys.version.split()[0], l.__version__)",
            cwd=folder,
            env=clean,
        ).strip()
        call(
            own.with_name(f"lunar-potential{own.suffix}"),
            "demo",
            "--sweeps",
            "60",
            "--output-dir",
            "demo",
            "--quiet",
            cwd=folder,
            env=clean,
        )
        call(
            own,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--force-reinstall",
            "--no-deps",
            source,
            env=clean,
        )
        call(own, "-c", "import lunar_potential.cli", cwd=folder, env=clean)
        made = sorted(
            path.name for path in (folder / "demo").iterdir() if path.is_file()
        )
    return f"Python {version.split()[0]}, lunar_potential {version.split()[1]}: installed with {len(names)} packages, demo made {', '.join(made)}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        built = build(temporary)
        for python in sys.argv[1:] or [sys.executable]:
            print(prove(*built, python), flush=True)
        (root / "dist").mkdir(exist_ok=True)
        for old in (root / "dist").glob("lunar_potential-*"):
            old.unlink()
        for path in Path(temporary).iterdir():
            print(shutil.copy(path, root / "dist"), f"{path.stat().st_size:,} bytes")
