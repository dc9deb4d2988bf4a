"""Checks the pages of the documentation, or renders them with Quarto.

    python .ci/docs.py [ROOT]             check, on a copy, without Quarto
    python .ci/docs.py --render [ROOT]    write _docs with Quarto

nbdev's own commands try to install Quarto when it is missing, so its functions are
called here.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbdev.serve
from links import Processors
from nbdev.config import get_config
from nbdev.quarto import refresh_quarto_yml

COPIED = ["settings.ini", "_quarto.yml", "nbs"]
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?)(?: *\{.*\})?$", re.MULTILINE)
ANCHOR = re.compile(r"""\{#([\w.-]+)|\bid=["']([^"']+)""")
LINK = re.compile(r"\]\(<?([^)\s>]+)")
MAY_IMPORT = re.compile(
    r"^#\| *(export|exec_doc|eval: *false)|nbdev_export\(\)", re.MULTILINE
)


def process(
    root,  # an nbdev project
):  # the folder of processed pages
    "Runs the documentation processors; raises if an exported cell or `show_doc` fails."
    os.chdir(root)
    refresh_quarto_yml()
    nbdev.serve.FilterDefaults = Processors
    return Path(nbdev.serve.proc_nbs("nbs", n_workers=2, force=True))


def cells_of(
    path,  # of a notebook
):  # list of dict
    "The cells of a notebook."
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def markdown(
    cells,  # of a processed page
):  # str
    "Text of the markdown cells, of markdown outputs, and the front matter."
    parts = []
    for cell in cells:
        if cell["cell_type"] != "code":
            parts.append("".join(cell["source"]))
        for output in cell.get("outputs", []):
            parts.append("".join(output.get("data", {}).get("text/markdown", "")))
    return "\n\n".join(parts)


def anchor(
    heading,  # markdown text
):  # its identifier
    "The identifier pandoc gives a heading."
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[^\w\s.-]", "", text).strip().lower()
    return re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", text))


class Page:
    "A processed notebook: its address, anchors, links, and links shown raw in code."

    def __init__(self, path, folder):
        text = markdown(cells_of(path))
        named = re.search(r"^output-file: *(\S+)", text, re.MULTILINE)
        address = path.parent / (named[1] if named else path.stem + ".html")
        self.name = path.relative_to(folder).as_posix()
        self.url = address.relative_to(folder).as_posix()
        self.raw = [m[0] for m in FENCE.finditer(text) if "](http" in m[0]]
        prose = FENCE.sub("", text)
        self.anchors = {anchor(heading) for heading in HEADING.findall(prose)}
        self.anchors |= {one or other for one, other in ANCHOR.findall(prose)}
        self.links = LINK.findall(prose)


def fault(
    link,  # as written
    page,  # the Page it stands on
    targets,  # name or address -> Page
    folder,  # of processed pages
    site,  # address of the documentation
):  # what is wrong with the link, or None
    "Looks a link up; addresses outside the site are not visited."
    internal = link.startswith(site)
    address = link.removeprefix(site).lstrip("/") if internal else link
    if re.match(r"[a-z]+:", address):
        return None
    path, _, fragment = address.partition("#")
    base = "." if internal else os.path.dirname(page.name)
    wanted = os.path.normpath(os.path.join(base, path)) if path else page.name
    target = targets.get(wanted)
    if target is None:
        return None if (folder / wanted).is_file() else f"no page {link}"
    known = {fragment, fragment.split(".")[0]}  # a method: its class will do
    return f"no heading for {link}" if fragment and not known & target.anchors else None


def broken_links(
    folder,  # of processed pages
    site,  # address of the documentation; links to it are looked up too
):  # one sentence for each
    "Links to pages and anchors that do not exist, and links shown raw in code."
    pages = [Page(path, folder) for path in sorted(folder.rglob("*.ipynb"))]
    targets = {name: page for page in pages for name in (page.name, page.url)}
    problems = []
    for page in pages:
        found = (fault(link, page, targets, folder, site) for link in page.links)
        problems += [f"{page.name}: {words}" for words in found if words]
        problems += [f"{page.name}: a raw link in code: {code}" for code in page.raw]
    return problems


def mixes(
    source,  # of a code cell
):  # bool
    "Whether a cell imports and does other work."
    kinds = (ast.Import, ast.ImportFrom)
    tree = ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE))
    imports = any(isinstance(node, kinds) for node in ast.walk(tree))
    return imports and not all(isinstance(node, kinds) for node in tree.body)


def mixed_cells(
    folder,  # of notebooks
):  # one sentence for each
    """Cells that import and do other work.

    The documentation runs every cell with an import, without the cells before it.
    """
    problems = []
    for path in sorted(folder.rglob("*.ipynb")):
        for cell in cells_of(path):
            source = "".join(cell["source"])
            if cell["cell_type"] != "code" or MAY_IMPORT.search(source):
                continue
            if mixes(source):
                where = f"{path.name}: {source.splitlines()[0]}"
                problems.append(
                    f"{where}: a cell imports and does other work: split it"
                )
    return problems


def check(
    root,  # an nbdev project
):  # one sentence for each problem
    "Processes a copy; looks at its links and at the generated nbs/nbdev.yml."
    if problems := mixed_cells(root / "nbs"):
        return problems
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / root.name
        copy.mkdir()
        for path in map(root.joinpath, COPIED):
            if path.is_dir():
                shutil.copytree(path, copy / path.name, symlinks=True)
            else:
                shutil.copy(path, copy)
        folder = process(copy)
        config = get_config()
        problems = broken_links(folder, config.doc_host + config.doc_baseurl)
        os.chdir(root)
        fresh, stored = copy / "nbs/nbdev.yml", root / "nbs/nbdev.yml"
        if fresh.read_bytes() != stored.read_bytes():
            problems.append(
                "nbs/nbdev.yml differs from settings.ini: run `make export`"
            )
    return problems


def render(
    root,  # an nbdev project
):
    "Renders the pages into _docs; raises SystemExit when Quarto is missing."
    quarto = shutil.which("quarto")
    if quarto is None:
        sys.exit("Rendering the documentation needs Quarto: https://quarto.org")
    folder = process(root)
    subprocess.run([quarto, "render", "--no-cache"], cwd=folder, check=True)
    shutil.rmtree(root / "_docs", ignore_errors=True)
    shutil.move(folder / "_docs", root / "_docs")


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--render"]
    project = Path(arguments[0] if arguments else __file__ + "/../..").resolve()
    if "--render" in sys.argv:
        render(project)
    else:
        found = check(project)
        print("\n".join(found) or "The pages process, and their links resolve.")
        sys.exit(1 if found else 0)
