"""Writes README.md from nbs/index.ipynb, or checks that it is up to date.

python .ci/readme.py [--check]
"""

import json
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def output_text(
    outputs,  # of a code cell
):  # what it printed and its value, as plain text
    "The plain text of stored outputs."
    parts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
    return "".join("".join(part).rstrip("\n") + "\n" for part in parts if part)


def readme(
    notebook,  # the parsed front page
):  # markdown
    """The front page as markdown, without hidden cells.

    Neighbouring code cells become one block; links are relative to the top folder.
    """
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).strip()
        if not source or re.match(r"#\|\s*hide\b", source):
            continue
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"\]\(([\w./-]+\.ipynb)", r"](nbs/\1", source))
            continue
        if parts and parts[-1].startswith("```python"):
            block = parts.pop().removeprefix("```python\n").removesuffix("\n```")
            source = f"{block}\n\n{source}"
        parts.append(f"```python\n{source}\n```")
        if text := output_text(cell["outputs"]):
            parts.append(f"```text\n{text}```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    text = readme(json.loads((root / "nbs/index.ipynb").read_text(encoding="utf-8")))
    page = root / "README.md"
    if "--check" not in sys.argv:
        page.write_text(text, encoding="utf-8")
    elif page.read_text(encoding="utf-8") != text:
        sys.exit("README.md is not what nbs/index.ipynb gives: run `make readme`.")
    else:
        print("README.md is what nbs/index.ipynb gives.")
