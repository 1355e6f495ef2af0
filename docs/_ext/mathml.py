"""Mathematics as MathML, which browsers set by themselves: no script, nothing to fetch."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def to_mathml(node: Any, is_block: bool) -> str:
    """Return the MathML of a formula, and warn of TeX that docutils does not know."""
    source = node.astext()
    # TeX takes single letters without braces, docutils does not.
    known = re.sub(r"\\frac(\w)(\w)", r"\\frac{\1}{\2}", source).replace(r"\dots", r"\ldots")
    try:
        return str(tex2mathml(known, as_block=is_block))
    except MathError as error:
        logger.warning("cannot set %r: %s", source, error, location=node)
        return f"<code>{source}</code>"


def visit_inline(translator: Any, node: Any) -> None:
    """Write a formula in a line of text."""
    translator.body.append(to_mathml(node, is_block=False))
    raise nodes.SkipNode


def visit_block(translator: Any, node: Any) -> None:
    """Write a formula on lines of its own; an empty line in the source separates two."""
    translator.body.append('<div class="math-block">')
    for part in node.astext().split("\n\n"):
        if part.strip():
            node_of_part = nodes.math_block(part, part)
            node_of_part.source, node_of_part.line = node.source, node.line
            translator.body.append(to_mathml(node_of_part, is_block=True))
    translator.body.append("</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer, for ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
