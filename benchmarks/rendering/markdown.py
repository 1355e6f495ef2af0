"""Numbers and tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["table", "three_digits"]


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table, all columns but the first aligned to the right.

    Parameters
    ----------
    head : list of str
        Titles of the columns.
    rows : iterable of list of str
        Cells.

    Returns
    -------
    str
        Lines, with a newline at the end.
    """
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def three_digits(value: float) -> str:
    """Return a number with three significant digits and no exponent.

    Parameters
    ----------
    value : float
        A positive number.

    Returns
    -------
    str
        Such as 0.123, 1.23, 12.3, 123, 1,230.
    """
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(value))))}f}" if value > 0 else "0"
