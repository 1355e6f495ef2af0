"""The README's Python code prints what the README says it prints."""

import contextlib
import io
import re
from itertools import pairwise
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_readme_code():
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    examples = [
        (code, expected)
        for (kind, code), (next_kind, expected) in pairwise(blocks)
        if (kind, next_kind) == ("python", "text")
    ]
    assert examples
    for code, expected in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), {})
        assert printed.getvalue() == expected
