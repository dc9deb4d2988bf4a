"""Builds the source distribution and the wheel, and proves both where nothing is.

    python .ci/release.py [PYTHON ...]    interpreters (default: this one)

For each interpreter: a new environment, the wheel and its requirements, `pip check`,
no development tool among them, the import, and `lunar-potential demo` away from the
checkout; then the source distribution in its place. What passes is put into dist/.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sources import ROOT, copy_sources

DEVELOPMENT = {
    "nbdev",
    "pytest",
    "hypothesis",
    "jupyterlab",
    "playwright",
    "execnb",
    "fastcore",
    "ruff",
    "import-linter",
}
LARGEST = 2_000_000  # bytes of a wheel
KEPT = {  # variables of the surroundings that an installation needs
    "HOME",
    "PATH",
    "LANG",
    "PIP_INDEX_URL",
    "PIP_CONFIG_FILE",
    "SSL_CERT_FILE",
    "SYSTEMROOT",
}
INSTALL = ["-m", "pip", "install", "-q", "--disable-pip-version-check"]
VERSION = (
    "import sys, lunar_potential as l; print(sys.version.split()[0], l.__version__)"
)


def call(
    *words,  # of a command line
    **options,  # of subprocess.run
):  # what it printed
    "Runs a command; raises SystemExit with its output when it fails."
    words = [str(word) for word in words]
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(
    folder,  # receives the two files
):  # the wheel and the source distribution
    "Builds from a copy of the sources; raises SystemExit if the wheel is too large."
    with tempfile.TemporaryDirectory() as temporary:
        copy = copy_sources(temporary)
        call(sys.executable, "-m", "build", "--outdir", folder, copy)
    (wheel,), (source,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
    if wheel.stat().st_size > LARGEST:
        sys.exit(f"{wheel.name} has {wheel.stat().st_size:,} bytes, not {LARGEST:,}")
    return wheel, source


def packages(
    python,  # of an environment
    env,  # variables of the surroundings
):  # set of names
    "What is installed; raises SystemExit for a tool that only development needs."
    listed = call(python, "-m", "pip", "list", "--format=freeze", env=env).split()
    names = {line.split("==")[0].lower() for line in listed}
    if tools := names & DEVELOPMENT:
        sys.exit(f"the wheel brings development tools: {', '.join(sorted(tools))}")
    return names


def prove(
    wheel,  # to be installed and used
    source,  # to be installed after it
    python,  # interpreter
):  # one sentence
    "Installs the wheel into a new environment and uses it as a newcomer would."
    env = {name: value for name, value in os.environ.items() if name in KEPT}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        call(python, "-m", "venv", folder / "environment")
        own = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
        own = folder / "environment" / own
        call(own, *INSTALL, "-c", ROOT / "constraints.txt", wheel, env=env)
        call(own, "-m", "pip", "check", env=env)
        number = len(packages(own, env))
        away = {"cwd": folder, "env": env}
        version, ours = call(own, "-c", VERSION, **away).split()
        demo = ["demo", "--sweeps", "60", "--output-dir", "demo", "--quiet"]
        call(own.with_name(f"lunar-potential{own.suffix}"), *demo, **away)
        call(own, *INSTALL, "--force-reinstall", "--no-deps", source, env=env)
        call(own, "-c", "import lunar_potential.cli", **away)
        files = [path.name for path in (folder / "demo").iterdir() if path.is_file()]
    return (
        f"Python {version}, lunar_potential {ours}: {number} packages installed; "
        f"the demo wrote {', '.join(sorted(files))}"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        built = build(temporary)
        for python in sys.argv[1:] or [sys.executable]:
            print(prove(*built, python), flush=True)
        (ROOT / "dist").mkdir(exist_ok=True)
        for old in (ROOT / "dist").glob("lunar_potential-*"):
            old.unlink()
        for path in Path(temporary).iterdir():
            size = path.stat().st_size
            print(shutil.copy(path, ROOT / "dist"), f"{size:,} bytes")
