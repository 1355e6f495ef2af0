"""What the samples of `compare_peers` say: medians, ratios within each round, their spread.

A row is one workload in one precision, as `compare_peers` writes it: its contestants took turns,
so that sample i of all of them was taken at about the same time. Ratios are therefore formed round
by round; their median and quartiles are what is reported.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from peers import PEERS, Contestant

__all__ = [
    "Ratio",
    "doubtful_samples",
    "fastest",
    "find",
    "geometric_mean",
    "median_seconds",
    "ours",
    "ratio",
    "rows_of",
]

Row = dict[str, Any]


class Ratio(NamedTuple):
    """A ratio of times: above 1 if the second contestant is the faster one.

    Parameters
    ----------
    median, low, high : float
        Median and quartiles over the rounds.
    """

    median: float
    low: float
    high: float


def doubtful_samples(result: dict[str, Any]) -> list[str]:
    """Return what is to be said of samples in which two threads had not two near cores.

    Parameters
    ----------
    result : dict
        What `compare_peers` wrote.

    Returns
    -------
    list of str
        Up to two sentences for each row that has kept such samples, after the most repetitions.
    """
    settings, sentences = result["settings"], []
    limits = [
        ("slowdowns", settings.get("most_slowdown"), "two threads had not two cores"),
        (
            "seconds_apart", settings.get("most_seconds_apart"),
            "the cores of two threads were far apart",
        ),
    ]  # fmt: skip
    n_repeats = settings.get("most_repeats")
    after = f", after {n_repeats} repetitions either" if n_repeats else "; none was repeated"
    for row in result["rows"]:
        for key, most, what in limits:
            kept = [x for who in row["contestants"].values() for x in who.get(key, [])]
            n_doubtful = sum(x > most for x in kept)
            if n_doubtful:
                sentences.append(
                    f"{row['workload']} {row['dtype']}: in {n_doubtful} of {len(kept)} samples "
                    f"{what}{after}."
                )
    return sentences


def find(row: Row, peer: str, threads: int | None = None) -> list[str]:
    """Return the contestants of a peer that were timed.

    Parameters
    ----------
    row : dict
        Workload in one precision.
    peer : str
        A key of `PEERS`.
    threads : int or None
        Number of threads; None: any.

    Returns
    -------
    list of str
        Their keys, the fastest first.
    """
    keys = [
        key
        for key, result in row["contestants"].items()
        if (who := Contestant.from_key(key)).peer == peer
        and threads in (None, who.threads)
        and result["seconds"]
    ]
    return sorted(keys, key=lambda key: median_seconds(row, key))


def ours(row: Row, threads: int | None = None) -> str | None:
    """Return the contestant that stands for fastmlp.

    Parameters
    ----------
    row : dict
        Workload in one precision.
    threads : int or None
        Number of threads; None: the most that were measured, even if fewer were faster, because
        fastmlp is to find out by itself how many are worth it.

    Returns
    -------
    str or None
        Its key; None if it was not timed.
    """
    keys = find(row, "fastmlp", threads)
    return max(keys, key=lambda key: Contestant.from_key(key).threads, default=None)


def fastest(row: Row, threads: int | None = None, peers: list[str] | None = None) -> str | None:
    """Return the fastest contestant that is neither fastmlp nor a mere limit.

    It is the one against which the ratio of fastmlp is the least: medians of times that were taken
    at about the same time are compared, and not medians over minutes in which the machine changes.
    Where fastmlp was not timed, it is the one with the smallest median.

    Parameters
    ----------
    row : dict
        Workload in one precision.
    threads : int or None
        Number of threads; None: any.
    peers : list of str or None
        Keys of `PEERS` to choose from; None: all.

    Returns
    -------
    str or None
        Its key; None if no peer was timed.
    """
    if peers is None:
        peers = [name for name, peer in PEERS.items() if name != "fastmlp" and not peer.is_limit]
    keys = [key for peer in peers for key in find(row, peer, threads)]
    own = ours(row, threads)
    if own is None:
        return min(keys, key=lambda key: median_seconds(row, key), default=None)
    return min(keys, key=lambda key: ratio(row, key, own).median, default=None)


def median_seconds(row: Row, key: str) -> float:
    """Return the median time of an epoch.

    Parameters
    ----------
    row : dict
        Workload in one precision.
    key : str
        Contestant.

    Returns
    -------
    float
        Seconds.
    """
    return float(np.median(row["contestants"][key]["seconds"]))


def ratio(row: Row, key: str, by: str) -> Ratio:
    """Return how many times as long one contestant takes as another.

    Parameters
    ----------
    row : dict
        Workload in one precision.
    key, by : str
        Contestants: whose time is divided by whose.

    Returns
    -------
    Ratio
        Over the rounds that both have.
    """
    times, others = (row["contestants"][k]["seconds"] for k in (key, by))
    n_rounds = min(len(times), len(others))
    ratios = np.divide(times[:n_rounds], others[:n_rounds])
    return Ratio(*(float(q) for q in np.percentile(ratios, (50, 25, 75))))


def geometric_mean(values: list[float]) -> float:
    """Return the geometric mean.

    Parameters
    ----------
    values : list of float
        Positive numbers, at least one.

    Returns
    -------
    float
        The n-th root of their product.
    """
    return float(np.exp(np.mean(np.log(values))))


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
