"""The project as a whole: what is installed, imported and generated.

The checks below .ci are shown to fail when they should.
"""

import ast
import configparser
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

root = Path(__file__).resolve().parent.parent
notebooks = sorted((root / "nbs").rglob("*.ipynb"))
modules = sorted((root / "lunar_potential").rglob("*.py"))


@pytest.fixture(scope="module")
def settings():
    config = configparser.ConfigParser(delimiters=["="])
    config.read(root / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def run(*command, cwd=root):
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True
    )


# what is imported

HEAVY = {"numba", "scipy", "pandas", "xarray", "matplotlib", "plotly"}


@pytest.mark.parametrize(
    "module", ["lunar_potential", "lunar_potential.cli", "lunar_potential.batch"]
)
def test_import_is_light(module):
    done = run("-c", f"import sys, {module}; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split())


def test_a_month_opens_without_the_fits():
    module = "lunar_potential.view.explore.month"
    done = run("-c", f"import sys, {module}; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not {"numba", "scipy", "matplotlib"} & set(done.stdout.split())


def test_public_names_resolve():
    import lunar_potential

    for name in lunar_potential.__all__:
        assert getattr(lunar_potential, name).__name__ == name
        assert name in dir(lunar_potential)
    with pytest.raises(AttributeError, match="no attribute 'run_decade'"):
        lunar_potential.run_decade


def test_module_runs_as_the_command():
    done = run("-m", "lunar_potential", "--help")
    assert done.returncode == 0 and "batch" in done.stdout, done.stderr


def imported(path):
    "Top-level names of absolute imports anywhere in a file."
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_only_run_time_requirements_are_imported(settings):
    projects = {
        canonicalize_name(Requirement(r).name) for r in settings["requirements"].split()
    }
    extras = {
        canonicalize_name(Requirement(r).name)
        for kind in ("dask", "export")
        for r in settings[f"{kind}_requirements"].split()
    }
    providers = importlib.metadata.packages_distributions()
    indirect = {
        "choreographer": "kaleido",
        "PIL": "matplotlib",
        "IPython": "ipywidgets",
    }
    for path in modules:
        for name in imported(path) - set(sys.stdlib_module_names) - {"lunar_potential"}:
            owners = {
                canonicalize_name(p)
                for p in [indirect.get(name), *providers.get(name, [])]
                if p
            }
            owners = owners or {canonicalize_name(name)}
            assert owners & (projects | extras), (
                f"{path.name} imports {name}, which pip install . does not bring"
            )


def lint_imports(folder, project):
    "Runs import-linter with the contracts of `project` on the package in `folder`."
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    command += ["--config", project / "pyproject.toml"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_imports_run_downward_and_the_rule_can_fail(tmp_path):
    done = lint_imports(root, root)
    assert done.returncode == 0, done.stdout + done.stderr
    skip = shutil.ignore_patterns("__pycache__")
    package = shutil.copytree(
        root / "lunar_potential", tmp_path / "lunar_potential", ignore=skip
    )
    units = package / "units.py"
    text = units.read_text()
    units.write_text(f"{text}\n\ndef upward():\n    from .data import archive\n")
    done = lint_imports(tmp_path, root)
    assert done.returncode == 1 and "units -> lunar_potential.data" in done.stdout
    units.write_text(text)
    (package / "attic.py").write_text("")
    done = lint_imports(tmp_path, root)
    assert done.returncode == 1 and "attic" in done.stdout + done.stderr


def test_rooms_over_their_limits_are_named(small):
    project, page = small
    done = run(root / ".ci/house.py", project)
    assert done.returncode == 0, done.stdout + done.stderr
    module = project / "small/one.py"
    module.write_text(module.read_text() + "\n" * 801)
    many = "\n".join(f"def f{n}(): ..." for n in range(41))
    write_page(project, [*page, code(f"#| export\n{many}", "c4")])
    done = run(root / ".ci/house.py", project)
    assert done.returncode == 1
    assert "lines exported, at most 800" in done.stdout
    assert "42 definitions, at most 40" in done.stdout


# notebooks


def cells(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def stored_module(notebook):
    found = re.search(r"#\| default_exp (\S+)", "".join(cells(notebook)[0]["source"]))
    return found and found[1]


@pytest.mark.parametrize("notebook", notebooks, ids=lambda p: p.stem)
def test_notebook_is_a_page(notebook):
    assert notebook.stat().st_size < 1e6
    text = [
        "".join(c["source"]) for c in cells(notebook) if c["cell_type"] == "markdown"
    ]
    title = re.match(r"# (\S.*)\n\n> \S.*", text[0])
    assert title, "a page opens with its title and a line that says what it owns"
    if stored_module(notebook) or notebook.stem == "index":
        assert title[1] == (stored_module(notebook) or "lunar_potential")
    outputs = [o for c in cells(notebook) for o in c.get("outputs", [])]
    assert not any(o["output_type"] == "error" for o in outputs)


WINGS = "run data physics synthetic quality science view fast".split()


def pages_in(contents):
    "Pages of a part of the sidebar, in order, those of its sections included."
    for entry in contents:
        if isinstance(entry, str):
            yield entry
        else:
            yield from pages_in(entry["contents"])


def test_sidebar_lists_every_page_and_a_section_is_a_folder():
    website = yaml.safe_load((root / "nbs/sidebar.yml").read_text())["website"]
    contents = website["sidebar"]["contents"]
    listed = list(pages_in(contents))
    assert sorted(listed) == sorted(
        n.relative_to(root / "nbs").as_posix() for n in notebooks
    )
    assert listed[:2] == ["index.ipynb", "getting_started.ipynb"]
    sections = {e["section"]: e["contents"] for e in contents if isinstance(e, dict)}
    assert [name for name in sections if name in WINGS] == WINGS
    for name in WINGS:
        inside = list(pages_in(sections[name]))
        assert {Path(page).parts[0] for page in inside} == {name}
        top = [page for page in inside if len(Path(page).parts) == 2]
        assert top == sorted(top), f"pages of {name} in another order than numbered"


def test_quarto_settings_are_shared():
    assert (root / "nbs/_quarto.yml").resolve() == root / "_quarto.yml"
    assert yaml.safe_load((root / "_quarto.yml").read_text())["metadata-files"] == [
        "nbdev.yml",
        "sidebar.yml",
    ]


def test_no_path_of_a_machine():
    files = [
        f
        for f in root.rglob("*")
        if f.suffix in {".py", ".ipynb", ".md", ".ini", ".yml", ".cff", ".txt"}
        and f.is_file()
    ]
    ours = [
        f
        for f in files
        if f.relative_to(root).parts[0]
        in {"nbs", "lunar_potential", "tests", ".ci", ".github"}
        or f.parent == root
    ]
    found = [
        f
        for f in ours
        if re.search(
            r"(?<![\w.])/(root|home|work|Users)/", f.read_text(encoding="utf-8")
        )
    ]
    assert not [f for f in found if f != Path(__file__)]


# versions and requirements


def test_versions_agree(settings):
    import lunar_potential

    version = settings["version"]
    assert lunar_potential.__version__ == version
    assert importlib.metadata.version("lunar_potential") == version
    assert yaml.safe_load((root / "CITATION.cff").read_text())["version"] == version
    assert (
        re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
        == version
    )


def test_every_requirement_is_pinned(settings):
    lines = (root / "constraints.txt").read_text().splitlines()
    pins = {
        canonicalize_name(Requirement(line).name): line.split("==")[1]
        for line in lines
        if not line.startswith("#")
    }
    for kind in (
        "requirements",
        "dev_requirements",
        "lab_requirements",
        "dask_requirements",
        "export_requirements",
    ):
        for requirement in map(Requirement, settings[kind].split()):
            assert requirement.specifier.contains(
                pins[canonicalize_name(requirement.name)]
            ), requirement


def test_licence():
    text = (root / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


# what pip installs


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    "A wheel built from the unpacked source distribution, by this setuptools."
    folder = tmp_path_factory.mktemp("a build")
    command = f"import sources; sources.copy_sources({str(folder)!r})"
    done = run("-c", command, cwd=root / ".ci")
    assert done.returncode == 0, done.stderr
    copy = folder / "lunar_potential"
    done = run("setup.py", "-q", "sdist", "-d", folder, cwd=copy)
    assert done.returncode == 0, done.stderr
    sdist = next(folder.glob("*.tar.gz"))
    with tarfile.open(sdist) as archive:
        archive.extractall(
            folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
        )  # not in 3.11.2
        names = archive.getnames()
    source = folder / sdist.name.removesuffix(".tar.gz")
    done = run(
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        source,
    )
    assert done.returncode == 0, done.stderr
    return names, next(folder.glob("*.whl"))


def test_source_distribution_can_be_built(built):
    names, wheel = built
    assert {
        "settings.ini",
        "setup.py",
        "LICENSE",
        "README.md",
        "CITATION.cff",
        "CHANGELOG.md",
    } <= {n.split("/", 1)[1] for n in names if n.count("/") == 1}
    assert wheel.name.endswith("-py3-none-any.whl")


def test_wheel_holds_the_package_and_needs_no_nbdev(built, settings):
    with zipfile.ZipFile(built[1]) as wheel:
        names = wheel.namelist()
        info = next(n for n in names if n.endswith("METADATA"))
        metadata = wheel.read(info).decode()
        scripts = wheel.read(info.replace("METADATA", "entry_points.txt")).decode()
    expected = {m.relative_to(root).as_posix() for m in modules}
    assert {n for n in names if n.endswith(".py")} == expected
    assert {n.rsplit("/", 1)[1] for n in names if "/licenses/" in n} == {
        "LICENSE",
        "CITATION.cff",
    }
    assert built[1].stat().st_size < 2e6
    assert (
        f"({settings['git_url']}/blob/main/nbs/00_units.ipynb)" in metadata
        and not re.search(r"\]\((?!https?:)", metadata)
    )
    plain = [
        line
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist:") and "extra ==" not in line
    ]
    assert len(plain) == len(settings["requirements"].split()) and not any(
        "nbdev" in line for line in plain
    )
    assert sorted(re.findall("Provides-Extra: (.*)", metadata)) == [
        "dask",
        "dev",
        "export",
        "lab",
    ]
    assert (
        "lunar-potential = lunar_potential.cli:main" in scripts
        or "lunar-potential=lunar_potential.cli:main" in scripts
    )


# the tools below .ci can fail

SMALL = """[DEFAULT]
repo = small
lib_name = small
version = 0.0.1
min_python = 3.11
license = apache2
nbs_path = nbs
doc_path = _docs
lib_path = small
branch = main
custom_sidebar = True
title = small
description = small
author = nobody
author_email = nobody@example.org
user = nobody
copyright = nobody
keywords = small
doc_host = https://example.org
doc_baseurl = /small
git_url = https://example.org/small
put_version_in_init = True
update_pyproject = False
requirements =
"""


def code(source, identity):
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": identity,
        "metadata": {},
        "outputs": [],
        "source": [source],
    }


def text(source, identity):
    return {"cell_type": "markdown", "id": identity, "metadata": {}, "source": [source]}


@pytest.fixture
def small(tmp_path):
    "A project of one page, in a folder whose name holds a blank."
    project = tmp_path / "a small project"
    (project / "nbs").mkdir(parents=True)
    (project / "settings.ini").write_text(SMALL)
    (project / "README.md").write_text("")
    shutil.copy(root / "_quarto.yml", project)
    (project / "nbs/_quarto.yml").symlink_to("../_quarto.yml")
    page = [
        code("#| default_exp one", "c0"),
        text(
            "# one\n\n> A page.\n\nSee [below](#the-only-heading), "
            "[here](00_one.ipynb#f), `f` "
            "and [on the site](https://example.org/small/one.html#f).",
            "c1",
        ),
        text("## The only heading", "c2"),
        code('#| export\ndef f(): \n    "Nothing."', "c3"),
    ]
    write_page(project, page)
    commands = (
        "from nbdev.quarto import refresh_quarto_yml as refresh; "
        "from nbdev.doclinks import nbdev_export as export; "
        "export.__wrapped__(); refresh()"
    )
    done = run("-c", commands, cwd=project)
    assert done.returncode == 0, done.stderr
    return project, page


def write_page(project, page):
    notebook = {
        "cells": page,
        "metadata": {
            "kernelspec": {
                "display_name": "python3",
                "language": "python",
                "name": "python3",
            }
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (project / "nbs/00_one.ipynb").write_text(
        json.dumps(notebook, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    )


def test_fresh_finds_edits_and_orphans(small):
    project, page = small
    done = run(root / ".ci/fresh.py", project)
    assert done.returncode == 0, done.stdout + done.stderr
    module = project / "small/one.py"
    module.write_text(module.read_text() + "\nx = 1\n")
    shutil.copy(module, project / "small/gone.py")
    write_page(project, [*page, code("1 + 1", "c4") | {"metadata": {"scrolled": True}}])
    done = run(root / ".ci/fresh.py", project)
    assert done.returncode == 1
    assert (
        "small/one.py differs" in done.stdout
        and "small/gone.py comes from no notebook" in done.stdout
    )
    assert "nbs/00_one.ipynb differs" in done.stdout


def test_docs_finds_broken_links_and_mixed_cells(small):
    project, page = small
    done = run(root / ".ci/docs.py", project)
    assert done.returncode == 0, done.stdout + done.stderr
    write_page(
        project,
        [
            *page,
            text(
                "[no](02_two.ipynb) [no](#nowhere) "
                "[no](https://example.org/small/one.html#g)",
                "c4",
            ),
        ],
    )
    done = run(root / ".ci/docs.py", project)
    assert done.returncode == 1 and done.stdout.count("00_one.ipynb: no ") == 3, (
        done.stdout
    )
    write_page(project, [*page, code("import math\nmath.pi", "c4")])
    done = run(root / ".ci/docs.py", project)
    assert "import math: a cell imports and does other work" in done.stdout
    write_page(project, [*page, code("#| export\nraise ValueError('unfit')", "c4")])
    done = run(root / ".ci/docs.py", project)
    assert done.returncode == 1 and "unfit" in done.stderr


def test_docs_find_raw_links_in_code(small):
    project, page = small
    shown = text("```python\nf(  # see [f](https://example.org)\n```", "c4")
    write_page(project, [*page, shown])
    done = run(root / ".ci/docs.py", project)
    assert done.returncode == 1 and "a raw link in code" in done.stdout


def test_docs_link_names_in_prose_only():
    command = """
import links
from execnb.nbio import dict2nb
name = "`run_month`"
shown = f"### f\\n\\n```python\\nf(x, # as for {name}\\n```\\n\\nCalls {name}.\\n"
output = {"data": {"text/markdown": [shown]}, "output_type": "display_data"}
cell = {"cell_type": "code", "source": "", "outputs": [output]}
cell = dict2nb({"cells": [cell]}).cells[0]
links.link_names(cell)
print("".join(cell.outputs[0]["data"]["text/markdown"]))
"""
    done = run("-c", command, cwd=root / ".ci")
    assert "as for `run_month`" in done.stdout, done.stdout + done.stderr
    assert re.search(r"Calls \[`run_month`\]\(http\S+#run_month\)", done.stdout)


def test_docs_render_moves_what_quarto_wrote(small, tmp_path, monkeypatch):
    project, _ = small
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "https://quarto.org" in run(root / ".ci/docs.py", "--render", project).stderr
    quarto = (
        tmp_path / "quarto"
    )  # stands in for the program: writes where nbdev.yml tells it to
    quarto.write_text(
        "#!/bin/sh\n[ -f _quarto.yml ] && [ -f nbdev.yml ] && "
        "/bin/mkdir _docs && echo $* > _docs/one.html\n"
    )
    quarto.chmod(0o755)
    done = run(root / ".ci/docs.py", "--render", project)
    assert done.returncode == 0, done.stderr
    assert (project / "_docs/one.html").read_text() == "render --no-cache\n"


def test_readme_leaves_out_hidden_cells_and_keeps_outputs():
    shown = code("1 + 1", "c") | {
        "outputs": [{"data": {"text/plain": ["2"]}, "output_type": "execute_result"}]
    }
    page = {
        "cells": [
            text("# t\n\nSee [k](physics/05_kappa.ipynb#x).", "a"),
            code("#| hide\nimport os", "b"),
            shown,
        ]
    }
    done = run("-c", f"import readme; print(readme.readme({page!r}))", cwd=root / ".ci")
    blocks = "```python\n1 + 1\n```\n\n```text\n2\n```\n\n"
    expected = f"# t\n\nSee [k](nbs/physics/05_kappa.ipynb#x).\n\n{blocks}"
    assert done.stdout == expected, done.stderr


def test_venv_empties_no_other_folder(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run(root / ".ci/venv.py", tmp_path)
    assert done.returncode == 1 and "name another folder" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
