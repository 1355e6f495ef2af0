"""Links to the documentation of other libraries, made without fetching their inventories.

A name links only if it can be imported, so that a misspelt one still fails the build.
"""

from __future__ import annotations

import importlib
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PAGES = {
    "matplotlib": "https://matplotlib.org/stable/api/_as_gen/{page}.html#{name}",
    "numpy": "https://numpy.org/doc/stable/reference/generated/{page}.html#{name}",
    "sklearn": "https://scikit-learn.org/stable/modules/generated/{page}.html#{name}",
}
# Sections of scikit-learn's guide that inherited docstrings refer to.
SECTIONS = {
    "df_output_transform": "modules/df_output_transform.html",
    "sphx_glr_auto_examples_miscellaneous_plot_set_output.py": (
        "auto_examples/miscellaneous/plot_set_output.html"
    ),
    "accuracy_score": "modules/model_evaluation.html#accuracy-score",
    "r2_score": "modules/model_evaluation.html#r2-score",
}


def page_of(name: str) -> str | None:
    """Return the name of the page that documents a name; None if there is no such name.

    Methods are on the page of their class.
    """
    parts = name.split(".")
    for n_module in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:n_module]))
        except ImportError:
            continue
        page = parts[:n_module]
        for part in parts[n_module:]:
            if not hasattr(value, part):
                return None
            if not isinstance(value, type):
                page.append(part)
            value = getattr(value, part)
        return ".".join(page)
    return None


def resolve(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Answer Sphinx's question where a name that it does not know is documented."""
    target = node["reftarget"]
    if node["reftype"] == "ref" and target in SECTIONS:
        address = f"https://scikit-learn.org/stable/{SECTIONS[target]}"
        return nodes.reference("", "", content, internal=False, refuri=address)
    template = PAGES.get(target.partition(".")[0])
    page = page_of(target) if template else None
    if template is None or page is None:
        return None
    address = template.format(page=page, name=target)
    return nodes.reference("", "", content, internal=False, refuri=address)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
