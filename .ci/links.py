"Links from names in backticks to their pages."

from nbdev.doclinks import NbdevLookup
from nbdev.processors import FilterDefaults


def link_names(
    cell,  # of a notebook; changed
):
    "Links names in backticks to their pages, in prose only: code shows links raw."
    lookup = NbdevLookup()
    if cell.cell_type == "markdown":
        cell.source = lookup.linkify(cell.source)
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "text/markdown" in data:
            text = lookup.linkify("".join(data["text/markdown"]))
            data["text/markdown"] = text.splitlines(keepends=True)


class Processors(FilterDefaults):
    "nbdev's processors, but with links in prose only."

    def base_procs(self):
        "The processors in order, `add_links` replaced."
        own = {"add_links": link_names}
        return [own.get(proc.__name__, proc) for proc in super().base_procs()]
