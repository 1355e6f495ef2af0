"""Make tables and a chart of the results, and put them into the README files.

Text between ``<!-- benchmark:begin -->`` and ``<!-- benchmark:end -->`` is replaced: by a summary
in the README of the project, by everything in that of this folder.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from peers import PEERS, Contestant
from ratios import Row, fastest, find, geometric_mean, median_seconds, ours, ratio

BENCHMARKS = Path(__file__).parent
SECTION = re.compile(r"(<!-- benchmark:begin -->\n).*?(<!-- benchmark:end -->)", re.DOTALL)
SOLVERS = {"adam": "Adam", "sgd": "SGD", "nesterov": "Nesterov"}
LIBRARIES = {"fastmlp": "fastmlp", "sklearn": "scikit-learn", "torch": "PyTorch"}


# Words and tables ----------------------------------------------------------------------------


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


def milliseconds(row: Row, key: str | None) -> str:
    """Return a contestant's median time of an epoch in ms, or a dash.

    Parameters
    ----------
    row : dict
        Workload in one precision.
    key : str or None
        Contestant.

    Returns
    -------
    str
        Three digits.
    """
    return "–" if key is None else three_digits(median_seconds(row, key) * 1e3)


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


def times(row: Row | None, key: str | None, by: str | None, with_quartiles: bool = False) -> str:
    """Return how many times as long one contestant takes as another, or a dash.

    Parameters
    ----------
    row : dict or None
        Workload in one precision.
    key, by : str or None
        Contestants.
    with_quartiles : bool
        Whether to add the quartiles over the rounds.

    Returns
    -------
    str
        Two decimals and a multiplication sign.
    """
    if row is None or key is None or by is None:
        return "–"
    r = ratio(row, key, by)
    quartiles = f" ({r.low:.2f}–{r.high:.2f})" if with_quartiles else ""
    return f"{r.median:.2f}×{quartiles}"


def describe(key: str) -> str:
    """Return a contestant's name for people.

    Parameters
    ----------
    key : str
        Contestant.

    Returns
    -------
    str
        Such as "JAX, 1 core".
    """
    who = Contestant.from_key(key)
    return f"{PEERS[who.peer].title}, {who.threads} core{'s' * (who.threads > 1)}"


def machine_line(machine: dict[str, Any]) -> str:
    """Return a sentence on hardware and versions.

    Parameters
    ----------
    machine : dict
        What `machine.describe_machine` returned.

    Returns
    -------
    str
        One paragraph.
    """
    caches = ", ".join(f"{level} {size}" for level, size in machine["caches"].items())
    packages = ", ".join(f"{name} {v}" for name, v in machine["packages"].items())
    return (
        f"Measured on {machine['date']}: {machine['n_processors']} cores of {machine['processor']}"
        f"{f' ({caches})' if caches else ''}, {machine['system']}, Python {machine['python']}, "
        f"{packages}; BLAS: {', '.join(machine['blas']) or 'unknown'}.\n"
    )


# The comparison with the peers ---------------------------------------------------------------


def rows_of(result: dict[str, Any], dtype: str) -> dict[str, Row]:
    """Return the rows of one precision.

    Parameters
    ----------
    result : dict
        What `compare_peers` wrote.
    dtype : {"float32", "float64"}
        The precision.

    Returns
    -------
    dict of str to dict
        By name of the workload.
    """
    return {row["workload"]: row for row in result["rows"] if row["dtype"] == dtype}


def summary(result: dict[str, Any]) -> str:
    """Return the table of the project's README.

    Parameters
    ----------
    result : dict
        What `compare_peers` wrote.

    Returns
    -------
    str
        Markdown.
    """
    single, double = rows_of(result, "float32"), rows_of(result, "float64")
    lines = []
    for name, row in single.items():
        own, best, sklearn = ours(row), fastest(row), fastest(row, peers=["sklearn"])
        other = double.get(name)
        size = f"{row['n_samples']:,} rows, batch {row['batch_size']:,}"
        lines.append(
            [
                f"{name}: {row['network']}, {size}, {SOLVERS[row['solver']]}",
                milliseconds(row, own),
                f"{milliseconds(row, best)} ({describe(best)})" if best else "–",
                f"**{times(row, best, own)}**",
                times(row, sklearn, own),
                times(other, other and fastest(other, peers=["sklearn"]), other and ours(other)),
            ]
        )
    head = [
        "workload",
        "fastmlp, ms per epoch",
        "fastest peer, ms per epoch",
        "faster than it",
        "faster than scikit-learn",
        "the same in float64",
    ]
    return table(head, lines) + "\n" + means(single, double)


def means(single: dict[str, Row], double: dict[str, Row]) -> str:
    """Return a sentence with the geometric means and the worst rows.

    Parameters
    ----------
    single, double : dict of str to dict
        Rows in float32 and float64.

    Returns
    -------
    str
        One paragraph; empty without any ratio.
    """
    parts = []
    for rows, dtype, peers, title in (
        (single, "float32", None, "the fastest peer of each row"),
        (double, "float64", None, "the fastest peer of each row"),
        (single, "float32", ["sklearn"], "scikit-learn"),
        (double, "float64", ["sklearn"], "scikit-learn"),
    ):
        ratios = {
            name: ratio(row, best, own).median
            for name, row in rows.items()
            if (own := ours(row)) and (best := fastest(row, peers=peers))
        }
        if ratios:
            worst = min(ratios, key=lambda name: ratios[name])
            parts.append(
                f"{geometric_mean(list(ratios.values())):.2f}× against {title} in {dtype} "
                f"(least: {ratios[worst]:.2f}×, {worst})"
            )
    return f"Geometric means: {'; '.join(parts)}.\n" if parts else ""


def details(result: dict[str, Any], dtype: str) -> str:
    """Return every contestant's time in one precision.

    Parameters
    ----------
    result : dict
        What `compare_peers` wrote.
    dtype : {"float32", "float64"}
        The precision.

    Returns
    -------
    str
        Markdown; empty without rows.
    """
    rows = rows_of(result, dtype)
    columns = [(peer, threads) for peer in PEERS for threads in (1, 2)]
    head = [f"ms per epoch, {dtype}"]
    head += [f"{PEERS[peer].title}, {threads}" for peer, threads in columns]
    times_table = table(
        head,
        (
            [name, *(milliseconds(row, next(iter(find(row, *c)), None)) for c in columns)]
            for name, row in rows.items()
        ),
    )
    ratios_table = table(
        [
            f"ratios, {dtype} (quartiles)",
            "fastest peer / fastmlp",
            "the same on 1 core",
            "scikit-learn / fastmlp",
            "fastmlp: 1 thread / 2 threads",
            "GEMM replay / fastmlp",
        ],
        (
            [
                name,
                times(row, fastest(row), ours(row), with_quartiles=True),
                times(row, fastest(row, 1), ours(row, 1), with_quartiles=True),
                times(row, fastest(row, peers=["sklearn"]), ours(row), with_quartiles=True),
                times(row, ours(row, 1), ours(row, 2), with_quartiles=True),
                times(row, fastest(row, peers=["replay"]), ours(row), with_quartiles=True),
            ]
            for name, row in rows.items()
        ),
    )
    return f"{times_table}\n{ratios_table}\n" if rows else ""


def failures(result: dict[str, Any]) -> str:
    """Return who was not timed, and why.

    Parameters
    ----------
    result : dict
        What `compare_peers` wrote.

    Returns
    -------
    str
        Markdown.
    """
    lines = [f"- {PEERS[name].title}: not installed.\n" for name in result["not_installed"]]
    lines += [
        f"- {row['workload']} {row['dtype']}, {key}: {_reason(contestant['error'])}\n"
        for row in result["rows"]
        for key, contestant in row["contestants"].items()
        if contestant["error"]
    ]
    stand_ins = sorted({row["workload"] for row in result["rows"] if "stand-in" in row["data"]})
    if stand_ins:
        lines.append(f"- Without Fashion-MNIST, on random images: {', '.join(stand_ins)}.\n")
    if not lines:
        return "Every loss curve was the expected one; nothing was left out.\n"
    return f"Left out, or not as intended:\n\n{''.join(lines)}"


def _reason(error: str) -> str:
    """Return the line of a traceback that says most."""
    lines = error.strip().splitlines()
    return next((line for line in reversed(lines) if "Error" in line), lines[-1])


# The other measures --------------------------------------------------------------------------


def latency(result: Any) -> str:
    """Return the table of `measures.latency`.

    Parameters
    ----------
    result : list of dict
        What it measured.

    Returns
    -------
    str
        Markdown.
    """
    by_library = {(r["method"], r["dtype"], r["library"]): r for r in result}
    return table(
        ["one row, µs", "fastmlp p50", "p99", "scikit-learn p50", "p99", "ratio of p50"],
        (
            [
                f"`{method}`, {dtype}",
                *(
                    three_digits(by_library[method, dtype, library][p])
                    for library in ("fastmlp", "sklearn")
                    for p in ("p50_us", "p99_us")
                ),
                f"{by_library[method, dtype, 'sklearn']['p50_us'] / r['p50_us']:.1f}×",
            ]
            for (method, dtype, library), r in by_library.items()
            if library == "fastmlp"
        ),
    )


def cold_start(result: Any) -> str:
    """Return the tables of `measures.cold_start`.

    Parameters
    ----------
    result : dict
        What it measured.

    Returns
    -------
    str
        Markdown.
    """
    titles = {
        "sklearn": "scikit-learn",
        "full cache": "fastmlp, compiled before",
        "empty cache": "fastmlp, nothing compiled yet",
    }
    medians = {
        name: {part: float(np.median([s[part] for s in samples])) for part in ("import", "fit")}
        for name, samples in result["iris"].items()
    }
    total = {name: sum(parts.values()) for name, parts in medians.items()}
    first = table(
        ["iris, new process, s", "import", "first fit", "both", "by scikit-learn's"],
        (
            [
                titles[name],
                three_digits(parts["import"]),
                three_digits(parts["fit"]),
                three_digits(total[name]),
                f"{total[name] / total['sklearn']:.2f}×",
            ]
            for name, parts in medians.items()
        ),
    )
    crossover = table(
        ["rows", *(f"{title}, s" for title in titles.values())],
        (
            [f"{point['n_samples']:,}", *(three_digits(point[name]) for name in titles)]
            for point in result["crossover"]
        ),
    )
    return (
        f"{first}\nImport and first fit of {result['crossover_epochs']} epochs on "
        f"{result['crossover_features']} features, by number of rows:\n\n{crossover}\n"
        f"- Compiled before, fastmlp {_overtakes(result, 'full cache')}\n"
        f"- With nothing compiled yet, it {_overtakes(result, 'empty cache')}\n"
    )


def _overtakes(result: Any, situation: str) -> str:
    points = result["crossover"]
    n_lost = max((i + 1 for i, p in enumerate(points) if p[situation] >= p["sklearn"]), default=0)
    if n_lost == len(points):
        return f"is not ahead of scikit-learn even at {points[-1]['n_samples']:,} rows."
    if n_lost == 0:
        return f"is ahead of scikit-learn already at {points[0]['n_samples']:,} rows."
    before, after = (points[i]["n_samples"] for i in (n_lost - 1, n_lost))
    return f"overtakes scikit-learn between {before:,} and {after:,} rows."


def memory(result: Any) -> str:
    """Return the table of `measures.memory`.

    Parameters
    ----------
    result : list of dict
        What it measured.

    Returns
    -------
    str
        Markdown.
    """
    by_library = {(r["workload"], r["dtype"], r["library"]): r for r in result}
    return table(
        [
            "peak above the data, MiB",
            "fastmlp, fit",
            "scikit-learn, fit",
            "fastmlp, process",
            "scikit-learn, process",
        ],
        (
            [
                f"{workload}, {dtype}",
                *(
                    f"{by_library[workload, dtype, name][part] / 2**20:.1f}"
                    for part in ("fit", "process")
                    for name in ("fastmlp", "sklearn")
                ),
            ]
            for workload, dtype, library in by_library
            if library == "fastmlp"
        ),
    )


def grid_search(result: Any) -> str:
    """Return the table of `measures.grid_search`.

    Parameters
    ----------
    result : dict
        What it measured.

    Returns
    -------
    str
        Markdown.
    """
    # The first search of each library also loads it.
    later = {name: np.array(seconds[1:]) for name, seconds in result["seconds"].items()}
    ratios = later["sklearn"] / later["fastmlp"]
    return table(
        [f"{result['n_fits']} fits, `n_jobs=2`", "seconds", "first search, s", "ratio"],
        (
            [
                LIBRARIES[name],
                three_digits(float(np.median(seconds))),
                three_digits(result["seconds"][name][0]),
                f"{np.median(ratios):.2f}×" if name == "fastmlp" else "",
            ]
            for name, seconds in later.items()
        ),
    )


def accuracy(result: Any) -> str:
    """Return the table of `measures.accuracy`.

    Parameters
    ----------
    result : list of dict
        What it measured.

    Returns
    -------
    str
        Markdown.
    """
    runs: dict[str, list[Any]] = {}
    for run in result:
        runs.setdefault(run["library"], []).append(run)
    medians = {name: np.median([run["seconds"] for run in rs]) for name, rs in runs.items()}
    return table(
        [
            f"{result[0]['target']:.0%} of the test images",
            "seconds, median",
            "epochs",
            "accuracy reached",
            "by fastmlp's",
        ],
        (
            [
                LIBRARIES[name],
                three_digits(float(medians[name])),
                _range([run["epochs"] for run in rs], "d"),
                _range([run["accuracy"] for run in rs], ".4f"),
                f"{medians[name] / medians['fastmlp']:.2f}×",
            ]
            for name, rs in runs.items()
        ),
    )


def _range(values: list[Any], form: str) -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low}–{high}"


OTHER_MEASURES = {
    "latency": ("Prediction of a single row", latency),
    "cold_start": ("Cold start", cold_start),
    "memory": ("Memory", memory),
    "grid_search": ("Grid search", grid_search),
    "accuracy": ("Fashion-MNIST, all 60,000: time to accuracy", accuracy),
}


# The chart -----------------------------------------------------------------------------------


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


# Putting it together -------------------------------------------------------------------------


def render(results: Path) -> tuple[str, str]:
    """Return the sections of both README files.

    Parameters
    ----------
    results : Path
        Folder of the JSON files.

    Returns
    -------
    short, full : str
        Markdown for the project's README and for that of the benchmarks.
    """
    peers = json.loads((results / "peers.json").read_text())
    chart_title = "Time of an epoch as a multiple of fastmlp's, for each workload and peer"
    machine = machine_line(peers["machine"])
    short = (
        f"![{chart_title}](benchmarks/results/peers.svg)\n\n{summary(peers)}\n{machine}"
        "The peers at their best, all numbers and how they were taken: "
        "[benchmarks/README.md](benchmarks/README.md).\n"
    )
    settings = peers["settings"]
    full = (
        f"![{chart_title}](results/peers.svg)\n\n{summary(peers)}\n"
        f"{details(peers, 'float32')}{details(peers, 'float64')}"
        f"Medians of {settings['rounds']} rounds of at least "
        f"{settings['seconds_per_sample']:g} s each. {machine}\n{failures(peers)}"
    )
    for name, (title, write) in OTHER_MEASURES.items():
        path = results / f"{name}.json"
        if path.exists():
            measured = json.loads(path.read_text())
            full += f"\n### {title}\n\n{write(measured['result'])}"
            if measured["is_quick"]:
                full += "\nA trial run, not a measurement.\n"
    return short, full


def replace_section(text: str, section: str) -> str:
    """Replace what stands between the markers.

    Parameters
    ----------
    text : str
        A file with the markers.
    section : str
        What is to stand between them.

    Returns
    -------
    str
        The new text.

    Raises
    ------
    ValueError
        If there are no markers.
    """
    new, n_sections = SECTION.subn(lambda found: found[1] + section + found[2], text)
    if n_sections != 1:
        raise ValueError(f"there are {n_sections} benchmark sections, not 1")
    return new


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line.

    Parameters
    ----------
    arguments : list of str or None
        Words of the command line; None: those of this process.

    Returns
    -------
    int
        Exit code: 1 if ``--check`` finds a README that is not up to date, or one without markers.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=BENCHMARKS / "results")
    parser.add_argument("--readme", type=Path, default=BENCHMARKS.parent / "README.md")
    parser.add_argument("--full-readme", type=Path, default=BENCHMARKS / "README.md")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a README is not up to date"
    )
    options = parser.parse_args(arguments)
    sections = render(options.results)
    exit_code = 0
    for path, section in zip((options.readme, options.full_readme), sections, strict=True):
        try:
            old = path.read_text(encoding="utf-8")
            new = replace_section(old, section)
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            exit_code = 1
            continue
        if options.check and new != old:
            print(f"{path}: not up to date", file=sys.stderr)
            exit_code = 1
        elif not options.check:
            path.write_text(new, encoding="utf-8")
    if not options.check:
        result = json.loads((options.results / "peers.json").read_text())
        draw_chart(result, "float32", options.results / "peers")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
