"""The pages of the site keep up with the package: names, commands, the rooms."""

import dataclasses
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from http_server import Site

from lunar_potential.synthetic.simulate import simulate_archive

nbs = Path(__file__).resolve().parent.parent / "nbs"
package = nbs.parent / "lunar_potential"
PHYSICS = sorted(path.stem for path in (nbs / "explanations").glob("*.ipynb"))
PAGES = [
    "getting_started",
    "tutorials/a_cluster",
    "developers/house",
    "developers/writing_a_page",
    "developers/release",
    *(f"explanations/{name}" for name in PHYSICS),
]


def cells(page, kind):
    "Sources of the cells of a kind."
    return [
        "".join(cell["source"]) for cell in stored(page) if cell["cell_type"] == kind
    ]


def stored(page):
    return json.loads((nbs / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]


def words(page):
    return "\n\n".join(cells(page, "markdown"))


# every page


@pytest.mark.parametrize("page", PAGES)
def test_page_is_a_small_page_that_ran(page):
    assert (nbs / f"{page}.ipynb").stat().st_size < 400_000
    assert re.match(r"# \S.*\n\n> \S.*", cells(page, "markdown")[0])
    assert not [
        source
        for source in cells(page, "code")
        if re.search(r"^#\| *(default_exp|export)", source, re.MULTILINE)
    ]
    outputs = [output for cell in stored(page) for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs), "no figure"
    assert not [
        output
        for output in outputs
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
    assert any(
        re.search(r"^\s*assert ", source, re.MULTILINE)
        for source in cells(page, "code")
    ), "no check"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages(page):
    links = re.findall(r"\]\(([^):#]+\.ipynb)[^)]*\)", words(page))
    assert links and not [
        link
        for link in links
        if not (nbs / f"{page}.ipynb").parent.joinpath(link).is_file()
    ]


@pytest.mark.parametrize("page", PAGES)
def test_code_uses_public_names_only(page):
    code = "\n".join(cells(page, "code"))
    assert not re.findall(r"import [^#\n]*\b_\w+", code)
    assert "temporary.cleanup()" in code or "TemporaryDirectory" not in code


# physics


def test_physics_has_its_pages():
    assert {
        "loss_cone",
        "spacecraft_potential",
        "confidence_sets",
        "not_identifiable",
        "glossary",
    } <= set(PHYSICS)


@pytest.mark.parametrize("name", PHYSICS)
def test_physics_names_its_sources(name):
    assert re.search(
        r"\]\(https://doi\.org/10\.\d{4,}/\S+\)", words(f"explanations/{name}")
    )


def test_dois_are_those_of_the_pages_of_the_package():
    others = [
        path for path in nbs.rglob("*.ipynb") if path.parent.name != "explanations"
    ]
    known = set(
        re.findall(
            r"10\.\d{4,}/[\w./()-]*\w",
            "\n".join(path.read_text(encoding="utf-8") for path in others),
        )
    )
    used = {
        doi
        for name in PHYSICS
        for doi in re.findall(
            r"doi\.org/(10\.\d{4,}/[\w./()-]*\w)", words(f"explanations/{name}")
        )
    }
    assert used and not {doi.lower() for doi in used} - {
        doi.lower() for doi in known
    }, "cited nowhere else: a slip of the pen?"


# glossary


def room_of(parts):
    "The module that the first words of a dotted name are, and the rest of the name."
    for number in range(len(parts), 0, -1):
        path = package.joinpath(*parts[:number])
        if path.is_dir() or path.with_suffix(".py").is_file():
            name = f"lunar_potential.{'.'.join(parts[:number])}"
            return importlib.import_module(name), parts[number:]
    raise ImportError(".".join(parts))


def resolve(name):
    "What a name of the glossary stands for; raises AttributeError or ImportError."
    found, rest = room_of(name.split("."))
    for attribute in rest:
        if dataclasses.is_dataclass(found):
            fields = {field.name for field in dataclasses.fields(found)}
            if attribute in fields:
                return found
        found = getattr(found, attribute)
    return found


def glossary():
    "Word and names in the code, of each line of the table."
    lines = [
        line
        for line in words("explanations/glossary").splitlines()
        if re.match(r"\| (?!term |---)", line)
    ]
    return [
        (line.split("|")[1].strip(), re.findall(r"`([\w.]+)`", line.split("|")[-2]))
        for line in lines
    ]


def test_glossary_is_in_order_and_complete():
    listed = [word for word, _ in glossary()]
    assert (
        len(listed) >= 50
        and listed == sorted(listed, key=str.lower)
        and len(set(listed)) == len(listed)
    )
    assert all(names for _, names in glossary()), "a word without its name in the code"


def test_names_of_the_glossary_exist():
    from lunar_potential.schema import schema

    columns, missing = schema(), []
    for name in (name for _, names in glossary() for name in names):
        try:
            assert name in columns or resolve(name) is not None
        except (AttributeError, ImportError):
            missing.append(name)
    assert not missing


@pytest.mark.parametrize(
    "wrong", ["units.Flags", "nowhere.Truth", "synthetic.simulate.Truth.colour"]
)
def test_a_wrong_name_is_noticed(wrong):
    with pytest.raises((AttributeError, ImportError)):
        resolve(wrong)


@pytest.mark.parametrize("page", [f"explanations/{name}" for name in PHYSICS])
def test_flags_and_kinds_of_sets_are_real(page):
    from lunar_potential.units import Flag

    named = set(re.findall(r"`([A-Z][A-Z_]+[A-Z])`", words(page)))
    assert named <= set(Flag.__members__)


# developers


def table_rooms():
    "Room, page and lines of each row of the table that the page of the house drew."
    outputs = [
        o for cell in stored("developers/house") for o in cell.get("outputs", [])
    ]
    text = "".join("".join(o.get("data", {}).get("text/markdown", "")) for o in outputs)
    return re.findall(r"^\| \[([\w.]+)\]\(\.\./([^)]+)\) \| (\d+)", text, re.MULTILINE)


def test_every_module_is_in_the_house():
    modules = {
        ".".join(path.relative_to(package).with_suffix("").parts)
        for path in package.rglob("*.py")
        if not path.name.startswith("_")
    }
    listed = [room for room, _, _ in table_rooms()]
    assert len(listed) == len(set(listed)) and set(listed) == modules


def test_rooms_are_linked_to_the_pages_that_write_them():
    for room, page, _ in table_rooms():
        first = "".join(stored(page.removesuffix(".ipynb"))[0]["source"])
        assert re.search(r"#\| default_exp (\S+)", first)[1] == room


def test_files_and_targets_that_developers_are_sent_to_exist():
    text = words("developers/writing_a_page") + words("developers/release")
    targets = set(
        re.findall(
            r"^([a-z-]+):",
            (nbs.parent / "Makefile").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    assert set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", text)) <= targets
    files = re.findall(r"`((?:\.ci|\.github|tests)/[\w./]+\w)`", text)
    assert files and not [name for name in files if not (nbs.parent / name).exists()]


# commands


def commands(page):
    "Lines of the bash blocks of a page."
    blocks = re.findall(r"^```bash\n(.*?)^```$", words(page), re.MULTILINE | re.DOTALL)
    return [
        line
        for block in blocks
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]


def inline_commands(page):
    return [text for text in re.findall(r"`(lunar-potential [^`]+)`", words(page))]


def test_commands_of_getting_started_are_known():
    from lunar_potential.cli import build_parser

    lines = [
        line for line in commands("getting_started") if not line.startswith("pip ")
    ]
    assert (
        any("demo" in line for line in lines)
        and any("download" in line for line in lines)
        and any("batch" in line for line in lines)
    )
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "lunar-potential" and callable(
            build_parser().parse_args(arguments).command
        ), line


@pytest.mark.parametrize("page", PAGES)
def test_verbs_in_the_text_are_known(page):
    from lunar_potential.cli import build_parser

    for text in inline_commands(page):
        with pytest.raises(SystemExit) as stopped:
            build_parser().parse_args([shlex.split(text)[1], "--help"])
        assert stopped.value.code == 0, text


def real_files_block():
    "The commands of the page's section about real files."
    section = words("getting_started").split("## With real files")[1].split("\n## ")[0]
    return re.search(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[1]


def test_first_real_result_takes_few_commands():
    assert len(real_files_block().splitlines()) <= 2, "with the installation three"


@pytest.fixture
def server(tmp_path):
    "A server with one day of an archive, and the variables that name it."
    root = tmp_path / "server"
    simulate_archive(root, ["1998-04-01"], sweeps_per_day=24, cadence=3600, seed=2)
    folders = {
        ".TAB": "flux",
        ".bsp": "kernels",
        ".tls": "kernels",
        ".tpc": "kernels",
        ".tab": "tables",
    }
    files = {
        path: path.relative_to(root)
        for path in root.rglob("*")
        if path.suffix in folders
    }

    def place(path):
        "Address of a file on the server."
        name = files[path].as_posix().removeprefix("spice_kernels/")
        return f"/{folders[path.suffix]}/{name}"

    with Site({place(path): path.read_bytes() for path in files}) as site:
        products = dict(
            flux="flux",
            orbit="kernels",
            planets="kernels",
            leapseconds="kernels",
            constants="kernels",
            theta="tables",
            attitude="tables",
        )
        yield {
            f"LUNAR_POTENTIAL_URL_{name.upper()}": f"{site.url}/{folder}/"
            for name, folder in products.items()
        }


def test_a_newcomer_walks_from_the_page_to_a_first_result(server, tmp_path):
    reader = tmp_path / "a reader"
    reader.mkdir()
    commands_found = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        **server,
        "PATH": commands_found,
        "NO_PROXY": "127.0.0.1,localhost",
        "MPLBACKEND": "Agg",
    }
    environment.pop("LUNAR_POTENTIAL_DATA", None)
    done = subprocess.run(
        ["bash", "-euo", "pipefail"],
        cwd=reader,
        env=environment,
        input=real_files_block(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(
        reader / "artifacts/potential_cache/potential_batch_1998_04_01.npz"
    ) as result:
        assert (
            len(result["spec_u_surface"]) == 24
            and np.isfinite(result["spec_u_surface"]).any()
        )


def test_public_names_of_the_table_are_public():
    import lunar_potential

    table = words("getting_started").split("## What to use when")[1]
    names = set(re.findall(r"`([A-Za-z]\w*)`", table)) - {"lunar_potential"}
    assert "run_day" in names and names <= set(lunar_potential.__all__)
