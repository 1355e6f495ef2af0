"""Tables of what `compare_peers` measured."""

from __future__ import annotations

from typing import Any

from peers import PEERS, Contestant
from ratios import (
    Row,
    doubtful_samples,
    fastest,
    find,
    geometric_mean,
    median_seconds,
    ours,
    ratio,
    rows_of,
)

from rendering.markdown import table, three_digits

__all__ = ["details", "failures", "machine_line", "summary"]

SOLVERS = {"adam": "Adam", "sgd": "SGD", "nesterov": "Nesterov"}


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
        own, best, sklearn = ours(row), _fastest(row), fastest(row, peers=["sklearn"])
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


def _peers_of(row: Row) -> set[str]:
    """Return the libraries that a row has times of, but for fastmlp."""
    peers = (name for name, peer in PEERS.items() if name != "fastmlp" and not peer.is_limit)
    return {name for name in peers if find(row, name)}


def _fastest(row: Row, threads: int | None = None) -> str | None:
    """Return the fastest of several peers: who runs alone is not the fastest."""
    return fastest(row, threads) if len(_peers_of(row)) > 1 else None


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
            if (own := ours(row))
            and (best := fastest(row, peers=peers) if peers else _fastest(row))
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
                times(row, _fastest(row), ours(row), with_quartiles=True),
                times(row, _fastest(row, 1), ours(row, 1), with_quartiles=True),
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
    for name in sorted(set().union(*(_peers_of(row) for row in result["rows"]))):
        without = [
            f"{row['workload']} {row['dtype']}"
            for row in result["rows"]
            if not any(key.startswith(f"{name}/") for key in row["contestants"])
        ]
        if without:
            lines.append(f"- Not timed with {PEERS[name].title}: {', '.join(without)}.\n")
    lines += [f"- {sentence}\n" for sentence in doubtful_samples(result)]
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
