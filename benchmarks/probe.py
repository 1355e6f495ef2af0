"""Whether two threads run on two cores right now, and on cores that are near each other.

Two virtual cores are at times one real core, or another machine's work is in the way. A product of
two matrices in each of two threads then takes longer than one alone. At other times they are two
cores far apart: what one has written takes microseconds to reach the other, and threads that share
the steps of a small network wait for that several times in each step.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numba
import numpy as np
from threadpoolctl import threadpool_limits

from fastmlp.kernels.team import wait_for_all
from fastmlp.training.team import ThreadTeam

__all__ = [
    "MOST_SECONDS_APART",
    "MOST_SLOWDOWN",
    "meet",
    "seconds_apart",
    "slowdown_of_two_threads",
]

# With a core each it is 1; two threads that take turns on one core have 2.
MOST_SLOWDOWN = 1.25
# Two threads on cores of one processor meet in less than half of that.
MOST_SECONDS_APART = 1e-6
_MEETINGS = 2000
_SIZE, _PRODUCTS, _REPETITIONS = 256, 40, 5  # fits a core's own cache; some 20 ms


def slowdown_of_two_threads() -> float:
    """Measure how much longer products take in two threads at once than in one alone.

    Returns
    -------
    float
        The median of five tries together, whoever is slower, by the least of five alone.
    """
    with threadpool_limits(1, user_api="blas"):
        pairs = [(_seconds(1), _seconds(2)) for _ in range(_REPETITIONS)]
    alone, together = zip(*pairs, strict=True)
    return float(np.median(together) / min(alone))


def seconds_apart() -> float:
    """Measure how long two threads take to meet at a barrier.

    Returns
    -------
    float
        Seconds: the median of five tries.
    """
    with ThreadTeam(2) as team:
        seconds = []
        for _ in range(_REPETITIONS + 1):
            began = time.perf_counter()
            team.run(lambda _: meet(team.barrier, _MEETINGS))
            seconds.append((time.perf_counter() - began) / _MEETINGS)
    return float(np.median(seconds[1:]))  # the first one wakes them up, or compiles


@numba.njit(nogil=True)
def meet(barrier: Any, times: int) -> None:
    """Meet the other one of two threads.

    Parameters
    ----------
    barrier : ndarray of int64, shape (24,)
        Of the team.
    times : int
        How often.
    """
    for _ in range(times):
        wait_for_all(2, barrier)


def _seconds(n_threads: int) -> float:
    """Return the time of the slowest of some threads that all multiply."""
    start, seconds = threading.Barrier(n_threads), [0.0] * n_threads
    threads = [
        threading.Thread(target=_multiply, args=(start, seconds, i)) for i in range(n_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(seconds)


def _multiply(start: threading.Barrier, seconds: list[float], number: int) -> None:
    a: Any = np.full((_SIZE, _SIZE), 0.5, np.float32)
    b, c = a.copy(), np.empty_like(a)
    np.dot(a, b, out=c)  # loads all into the cache
    start.wait()
    began = time.perf_counter()
    for _ in range(_PRODUCTS):
        np.dot(a, b, out=c)
    seconds[number] = time.perf_counter() - began
