"""How many threads a fit may use, and one BLAS thread for each.

The budget is process-wide: fits that run at once share the cores instead of each taking all.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from fastmlp.training.cores import available_cores

__all__ = ["is_core_to_spare", "parts_of_work", "reserve_threads", "single_threaded_blas"]


class _Shared:
    """What all fits of this process share, and what a forked child starts anew."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reserved = 0
        self.blas_users = 0
        # Each BLAS, and how many threads it had before.
        self.blas_before: list[tuple[Any, int]] = []


_shared = _Shared()


def _start_anew() -> None:
    # A child forked in the middle of a fit would inherit a held lock and a limited BLAS.
    global _shared
    inherited, _shared = _shared, _Shared()
    _restore_blas_threads(inherited.blas_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def _is_worker() -> bool:
    """Return whether another process or thread pool already spreads work over the cores."""
    return (
        multiprocessing.parent_process() is not None
        or threading.current_thread() is not threading.main_thread()
    )


def parts_of_work(n_jobs: int | None, useful: int) -> int:
    """Return into how many parts a fit divides its work: its threads, were it the only one.

    Sums of other parts are rounded in other ways. A fit that gets fewer threads, because others
    run, works on the same parts and ends with the same result.

    Parameters
    ----------
    n_jobs : int or None
        As for `reserve_threads`.
    useful : int
        As for `reserve_threads`.

    Returns
    -------
    int
        At least 1, and at least what `reserve_threads` yields.
    """
    if n_jobs is None:
        wanted = available_cores()
    else:
        wanted = n_jobs if n_jobs >= 0 else available_cores() + 1 + n_jobs
    return max(1, min(wanted, useful))


@contextlib.contextmanager
def reserve_threads(n_jobs: int | None, useful: int) -> Iterator[int]:
    """Reserve threads for one fit out of the process's budget.

    Parameters
    ----------
    n_jobs : int or None
        None: the cores that no other fit has reserved, but a single one in a worker process or
        worker thread, where the caller parallelises already. -1: all cores; -2: all but one, and
        so on. Otherwise: that many.
    useful : int
        More threads than this would not speed up the work.

    Yields
    ------
    int
        Number of threads, at least 1.
    """
    with _shared.lock:
        if n_jobs is None:
            wanted = 1 if _is_worker() else available_cores() - _shared.reserved
        elif n_jobs < 0:
            wanted = available_cores() + 1 + n_jobs
        else:
            wanted = n_jobs
        granted = max(1, min(wanted, useful))
        _shared.reserved += granted
    shared = _shared
    try:
        yield granted
    finally:
        with shared.lock:
            shared.reserved -= granted


def is_core_to_spare(n_jobs: int | None) -> bool:
    """Return whether another process may run beside a fit.

    Parameters
    ----------
    n_jobs : int or None
        As for `reserve_threads`.

    Returns
    -------
    bool
        False if the fit may use one core only, or if other fits use the rest.
    """
    if n_jobs == 1 or _is_worker():
        return False
    return available_cores() - _shared.reserved > 1


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Give every BLAS call of this process one thread while any fit runs.

    Yields
    ------
    None
        The setting in force before the first of overlapping uses returns after the last.
    """
    shared = _shared
    with shared.lock:
        if shared.blas_users == 0:
            _free_control()
            # `limit` would do the same, but describe each library first. After an interrupt in the
            # middle of this, what was before is still noted.
            shared.blas_before = shared.blas_before or [
                (blas, blas.get_num_threads()) for blas in _blas_libraries()
            ]
            for blas in _blas_libraries():
                blas.set_num_threads(1)
        shared.blas_users += 1
    try:
        yield
    finally:
        with shared.lock:
            shared.blas_users -= 1
            if shared.blas_users == 0:
                _free_control()
                _restore_blas_threads(shared.blas_before)
                # Whoever comes next may change it too.
                _free_control()
                shared.blas_before = []


@cache
def _blas_libraries() -> list[Any]:
    """Return those that are loaded, SciPy's by now. It takes a millisecond."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _restore_blas_threads(before: list[tuple[Any, int]]) -> None:
    for blas, n_threads in before:
        blas.set_num_threads(n_threads)


def _free_control() -> None:
    """Let any thread change the setting next; threadpoolctl keeps it to the first that did.

    Ours are serialised by a lock, and the fit that ends last need not be the one that began first.
    """
    for kind in {type(blas) for blas in _blas_libraries()}:
        if hasattr(kind, "clear_controlling_thread"):
            kind.clear_controlling_thread(force=True)
