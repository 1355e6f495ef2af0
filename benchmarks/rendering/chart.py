"""The chart of the comparison with the peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from peers import PEERS
from ratios import fastest, ours, ratio, rows_of

__all__ = ["draw_chart"]


def draw_chart(result: dict[str, Any], dtype: str, stem: Path) -> None:
    """Draw how many times as long as fastmlp each peer takes.

    Parameters
    ----------
    result : dict
        What `compare_peers` wrote.
    dtype : {"float32", "float64"}
        Which precision.
    stem : Path
        Where to write, less the endings .svg and .png. **Overwritten.**
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    rows = {name: row for name, row in rows_of(result, dtype).items() if ours(row)}
    if not rows:
        return
    # Colours and shapes that are told apart in print and by the colour-blind.
    styles = {"sklearn": ("#D55E00", "s"), "torch": ("#009E73", "^"), "jax": ("#0072B2", "o")}
    # The hash salt and the missing date make equal results equal files.
    settings = {"svg.hashsalt": "fastmlp", "font.size": 11, "svg.fonttype": "none"}
    with mpl.rc_context(settings):
        figure, axes = plt.subplots(figsize=(9, 1.5 + 0.42 * len(rows)), layout="constrained")
        for peer, (colour, marker) in styles.items():
            points = [
                (position, ratio(row, best, ours(row)))
                for position, row in enumerate(rows.values())
                if (best := fastest(row, peers=[peer]))
            ]
            if not points:
                continue
            values = np.array([r for _, r in points])
            axes.errorbar(
                values[:, 0],
                [position for position, _ in points],
                xerr=np.abs(values[:, 1:] - values[:, :1]).T,
                fmt=marker,
                color=colour,
                markersize=8,
                elinewidth=1.5,
                label=PEERS[peer].title,
            )
        axes.axvline(1, color="black", linewidth=1.5, label="fastmlp")
        axes.set(xscale="log", yticks=range(len(rows)), yticklabels=list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(left=min(0.8, axes.get_xlim()[0]))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="x", color="#dddddd")
        axes.grid(axis="y", color="#eeeeee")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        n = result["machine"]["n_processors"]
        axes.set_title(
            f"Time of an epoch as a multiple of fastmlp's ({dtype}, {n} cores, each at its best)",
            fontsize=12,
            loc="left",
        )
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        for ending, metadata in ((".svg", {"Date": None}), (".png", None)):
            figure.savefig(stem.with_suffix(ending), dpi=150, facecolor="white", metadata=metadata)
        plt.close(figure)
