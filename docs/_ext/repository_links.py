"""Links of Markdown files in the repository, such as the README, where pages include them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

# Where a file of the repository is shown; examples and .rst files are found by their paths.
PAGES = {"CHANGELOG.md": "changelog", "CONTRIBUTING.md": "contributing"}


def page_of(path: str) -> str:
    """Return the name of the page that a file of the repository becomes."""
    inside = str(Path(path).with_suffix("")).removeprefix("docs/")
    if inside.startswith("examples/"):
        return f"auto_{inside}"
    return PAGES.get(path, inside)


def resolve(app: Sphinx, doctree: Any) -> None:
    """Link to the page of a file; a file without one is only named, and no file is an error."""
    for node in list(doctree.findall(pending_xref)):
        path = node["reftarget"].partition("#")[0]
        if node["reftype"] != "myst" or not (Path(app.srcdir).parent / path).is_file():
            continue
        if (page := page_of(path)) in app.env.found_docs:
            node["refdomain"], node["reftarget"], node["reftargetid"] = "doc", page, None
        else:
            node.replace_self(node.children)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("doctree-read", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
