"""Processes the notebooks for the documentation and checks the links, or renders it with Quarto.

    python .ci/docs.py [ROOT]             check, on a copy, without Quarto
    python .ci/docs.py --render [ROOT]    write _docs with Quarto

nbdev's own commands try to install Quarto when it is missing, so its functions are called here.
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

copied = ["settings.ini", "_quarto.yml", "nbs"]


def process(
    root,  # an nbdev project
):  # the folder of processed pages
    "Runs nbdev's documentation processors; raises when an exported cell or `show_doc` fails."
    os.chdir(root)
    from nbdev.quarto import refresh_quarto_yml
    from nbdev.serve import proc_nbs

    refresh_quarto_yml()
    return Path(proc_nbs("nbs", n_workers=2, force=True))


def anchor(
    heading,  # markdown text
):  # its identifier
    "The identifier pandoc gives a heading."
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[^\w\s.-]", "", text).strip().lower()
    return re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", text))


class Page:
    "A processed notebook: its address, its anchors and its links."

    def __init__(self, path, folder):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n\n".join(self.markdown(cells))
        named = re.search(r"^output-file: *(\S+)", text, re.MULTILINE)
        self.name = path.relative_to(folder).as_posix()
        self.url = (
            (path.parent / (named[1] if named else path.stem + ".html"))
            .relative_to(folder)
            .as_posix()
        )
        text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
        explicit = re.findall(r"""\{#([\w.-]+)|\bid=["']([^"']+)""", text)
        self.anchors = {
            anchor(h)
            for h in re.findall(r"^#+ +(.+?)(?: *\{.*\})?$", text, re.MULTILINE)
        } | {a or b for a, b in explicit}
        self.links = re.findall(r"\]\(<?([^)\s>]+)", text)

    @staticmethod
    def markdown(cells):
        "The text of markdown cells and of markdown outputs, and the front matter."
        for cell in cells:
            if cell["cell_type"] != "code":
                yield "".join(cell["source"])
            for output in cell.get("outputs", []):
                yield "".join(output.get("data", {}).get("text/markdown", ""))


def broken_links(
    folder,  # of processed pages
    site,  # address of the documentation; links to it are looked up too
):  # one sentence for each
    "Links to pages and anchors that do not exist; addresses outside the site are not asked."
    pages = [Page(path, folder) for path in sorted(folder.rglob("*.ipynb"))]
    targets = {name: page for page in pages for name in (page.name, page.url)}
    problems = []
    for page in pages:
        for link in page.links:
            address = (
                link.removeprefix(site).lstrip("/") if link.startswith(site) else link
            )
            if re.match(r"[a-z]+:", address):
                continue
            path, _, fragment = address.partition("#")
            base = "." if link.startswith(site) else os.path.dirname(page.name)
            wanted = os.path.normpath(os.path.join(base, path)) if path else page.name
            target = targets.get(wanted)
            if target is None and not (folder / wanted).is_file():
                problems.append(f"{page.name}: no page {link}")
            elif (
                target
                and fragment
                and not {fragment, fragment.split(".")[0]} & target.anchors
            ):  # a method: its class will do
                problems.append(f"{page.name}: no heading for {link}")
    return problems


def mixed_cells(
    folder,  # of notebooks
):  # one sentence for each
    "Cells that import and do other work: the documentation would run them without the cells before them."
    problems = []
    for path in sorted(folder.rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] != "code" or re.search(
                r"^#\| *(export|exec_doc|eval: *false)|nbdev_export\(\)",
                source,
                re.MULTILINE,
            ):
                continue
            tree, imports = (
                ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE)),
                (ast.Import, ast.ImportFrom),
            )
            if any(isinstance(n, imports) for n in ast.walk(tree)) and not all(
                isinstance(n, imports) for n in tree.body
            ):
                problems.append(
                    f"{path.name}: a cell that imports does other work too, split it: {source.splitlines()[0]}"
                )
    return problems


def check(
    root,  # an nbdev project
):  # one sentence for each problem
    "Processes a copy and looks at its links and at the generated nbs/nbdev.yml."
    if problems := mixed_cells(root / "nbs"):
        return problems
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / root.name
        copy.mkdir()
        for path in map(root.joinpath, copied):
            shutil.copytree(
                path, copy / path.name, symlinks=True
            ) if path.is_dir() else shutil.copy(path, copy)
        folder = process(copy)
        from nbdev.config import get_config

        config = get_config()
        problems = broken_links(folder, config.doc_host + config.doc_baseurl)
        os.chdir(root)
        if (copy / "nbs/nbdev.yml").read_bytes() != (
            root / "nbs/nbdev.yml"
        ).read_bytes():
            problems.append(
                "nbs/nbdev.yml is not what settings.ini gives: run `make export`"
            )
    return problems


def render(
    root,  # an nbdev project
):
    "Renders the pages with Quarto into _docs; raises SystemExit when Quarto is missing."
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
        print("\n".join(found) or "The documentation processes and its links resolve.")
        sys.exit(1 if found else 0)
