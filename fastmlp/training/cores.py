"""Which cores this process may use, and who keeps them busy."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Container
from functools import cache
from pathlib import Path

from joblib.externals.loky import cpu_count

__all__ = ["available_cores", "move_to", "running_threads", "shares_of_processors"]


def available_cores() -> int:
    """Return how many cores this process may use.

    Returns
    -------
    int
        At least 1. Affinity counts, and so do the limit of a container's processor time and
        ``LOKY_MAX_CPU_COUNT``, as they are when this is first asked. On Linux two processors that
        are one core (hyper-threading) count once: a product keeps a core busy by itself.
    """
    if hasattr(os, "sched_getaffinity"):
        return _n_cores(frozenset(os.sched_getaffinity(0)), _TOPOLOGY)
    return _n_cores(frozenset(range(os.cpu_count() or 1)), _TOPOLOGY)


_TOPOLOGY = Path("/sys/devices/system/cpu")


@cache
def _cores_of(processors: frozenset[int], topology: Path) -> list[set[int]]:
    """Return which processors are one core; where that is not known, each is one."""
    cores: dict[str, set[int]] = {}
    for number in sorted(processors):
        siblings = topology / f"cpu{number}" / "topology" / "thread_siblings_list"
        try:
            name = siblings.read_text()
        except OSError:
            name = str(number)
        cores.setdefault(name, set()).add(number)
    return list(cores.values())


@cache
def _n_cores(processors: frozenset[int], topology: Path) -> int:
    """Return how many cores some processors are, as far as they may be used at once."""
    n_cores = len(_cores_of(processors, topology))
    try:
        limit = cpu_count()
    except ValueError:  # LOKY_MAX_CPU_COUNT is no number
        return n_cores
    return max(1, min(n_cores, limit))


_THREADS = "/proc/self/task"


def running_threads(besides: Container[int] = ()) -> int:
    """Return how many other threads of this process run, or would if they found a free core.

    BLAS's threads go on running for a while after the last product, to be there at once for the
    next one. A team that shares its cores with them waits a time slice at every barrier.

    Parameters
    ----------
    besides : container of int, default=()
        Native identifiers of threads not to be counted. The caller never is.

    Returns
    -------
    int
        Wherever they run. 0 on systems other than Linux, which do not tell. To look takes a file
        per thread of the process.
    """
    count, mine = 0, threading.get_native_id()
    with contextlib.suppress(OSError):
        for name in os.listdir(_THREADS):  # noqa: PTH208  # faster, as is what follows
            if int(name) == mine or int(name) in besides:
                continue
            with contextlib.suppress(OSError):  # it has ended meanwhile
                file = os.open(f"{_THREADS}/{name}/stat", os.O_RDONLY)
                try:
                    state = os.read(file, 256)
                finally:
                    os.close(file)
                # The name comes before the state, and may contain anything.
                count += state.rpartition(b") ")[2].startswith(b"R")
    return count


def shares_of_processors(size: int) -> list[set[int]]:
    """Divide the processors that this thread may use among the members of a team.

    Threads that wait for each other at barriers must not take turns. Yet some systems run new
    threads where their parent runs until that has been too much for long, or move a thread beside
    another one: virtual machines that are to use few processors, for one.

    Parameters
    ----------
    size : int
        Members.

    Returns
    -------
    list of set of int
        For each member some whole cores. Empty where there are too few, or where the system cannot
        tell.
    """
    cores: list[set[int]] = []
    with contextlib.suppress(Exception):
        cores = _cores_of(frozenset(os.sched_getaffinity(0)), _TOPOLOGY)
    bounds = [len(cores) * number // size for number in range(size + 1)]
    shares = [set().union(*cores[bounds[i] : bounds[i + 1]]) for i in range(size)]
    return shares if all(shares) else []


def move_to(processors: set[int]) -> None:
    """Let this thread run on some processors only, if the system permits.

    Parameters
    ----------
    processors : set of int
        Their numbers.
    """
    with contextlib.suppress(Exception):
        os.sched_setaffinity(0, processors)
