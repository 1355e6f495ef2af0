"""Tables of what `measure.py` measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from rendering.markdown import table, three_digits

__all__ = ["OTHER_MEASURES"]

LIBRARIES = {"fastmlp": "fastmlp", "sklearn": "scikit-learn", "torch": "PyTorch"}


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
    by_library = {(r["method"], r["n_rows"], r["dtype"], r["library"]): r for r in result}
    return table(
        ["µs", "fastmlp p50", "p99", "scikit-learn p50", "p99", "ratio of p50"],
        (
            [
                f"`{method}`, {n_rows:,} row{'s' * (n_rows > 1)}, {dtype}",
                *(
                    three_digits(by_library[method, n_rows, dtype, library][p])
                    for library in ("fastmlp", "sklearn")
                    for p in ("p50_us", "p99_us")
                ),
                f"{by_library[method, n_rows, dtype, 'sklearn']['p50_us'] / r['p50_us']:.1f}×",
            ]
            for (method, n_rows, dtype, library), r in by_library.items()
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
    runs, medians = _by_library(result)
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
                three_digits(medians[name]),
                _range([run["epochs"] for run in rs], "d"),
                _range([run["accuracy"] for run in rs], ".4f"),
                f"{medians[name] / medians['fastmlp']:.2f}×",
            ]
            for name, rs in runs.items()
        ),
    )


def features(result: Any) -> str:
    """Return the table of `measures.features`.

    Parameters
    ----------
    result : dict
        What it measured.

    Returns
    -------
    str
        Markdown.
    """
    names = list(dict.fromkeys(name for ratios in result.values() for name in ratios))
    return table(
        ["an epoch with it, by one without", *result],
        (
            [name, *(f"{ratios[name]:.2f}" if name in ratios else "" for ratios in result.values())]
            for name in names
            if name != "nothing"
        ),
    )


def recipe(result: Any) -> str:
    """Return the table of `measures.recipe`.

    Parameters
    ----------
    result : list of dict
        What it measured.

    Returns
    -------
    str
        Markdown.
    """
    runs, medians = _by_library(result)
    accuracies = {name: [100 * run["accuracy"] for run in rs] for name, rs in runs.items()}
    return table(
        [
            f"{result[0]['epochs']} epochs, {len(runs['fastmlp'])} seeds",
            "test accuracy, %",
            "standard deviation",
            "seconds, median",
            "by fastmlp's",
        ],
        (
            [
                LIBRARIES[name],
                f"{np.mean(accuracies[name]):.2f}",
                f"{np.std(accuracies[name], ddof=1):.2f}" if len(accuracies[name]) > 1 else "",
                three_digits(medians[name]),
                f"{medians[name] / medians['fastmlp']:.2f}×",
            ]
            for name in runs
        ),
    )


def protections(result: Any) -> str:
    """Return the table of `measures.protections`.

    Parameters
    ----------
    result : list of dict
        What it measured.

    Returns
    -------
    str
        Markdown.
    """
    rows = [(entry["workload"], entry["epochs"], entry["ms"], entry["ratios"]) for entry in result]
    names = list(rows[0][3])
    return table(
        [
            "share of a fit, % (quartiles)",
            *(f"{name}, {epochs} epochs" for name, epochs, *_ in rows),
        ],
        [
            ["ms per fit", *(three_digits(ms) for _, _, ms, _ in rows)],
            *([name, *(_share(ratios[name]) for *_, ratios in rows)] for name in names),
        ],
    )


def _share(ratios: list[float]) -> str:
    """Return by how many percent something takes longer."""
    low, middle, high = 100 * (np.percentile(ratios, [25, 50, 75]) - 1)
    return f"{middle:.1f} ({low:.1f}–{high:.1f})"


def _by_library(result: list[Any]) -> tuple[dict[str, list[Any]], dict[str, float]]:
    """Return the runs of each library, and their median seconds."""
    runs: dict[str, list[Any]] = {}
    for run in result:
        runs.setdefault(run["library"], []).append(run)
    seconds = {name: [run["seconds"] for run in rs] for name, rs in runs.items()}
    return runs, {name: float(np.median(times)) for name, times in seconds.items()}


def _range(values: list[Any], form: str) -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low}–{high}"


OTHER_MEASURES = {
    "latency": ("Prediction of a single row, and of some", latency),
    "cold_start": ("Cold start", cold_start),
    "memory": ("Memory", memory),
    "grid_search": ("Grid search", grid_search),
    "protections": ("Cost of the protections that are always on", protections),
    "accuracy": ("Fashion-MNIST, all 60,000: time to accuracy", accuracy),
    "best_accuracy": ("The same, each library with settings that suit it", accuracy),
    "features": ("What features cost", features),
    "recipe": ("Fashion-MNIST by AdamW, cosine, dropout 0.1 and smoothed labels", recipe),
}
