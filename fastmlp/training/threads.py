"""How many threads a fit may use, and one BLAS thread for each.

The budget is process-wide: fits that run at once share the cores instead of each taking all.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
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
        self.blas_limits: Any = None
        self.controller: ThreadpoolController | None = None


_shared = _Shared()


def _start_anew() -> None:
    # A child forked in the middle of a fit would inherit a held lock and a limited BLAS.
    global _shared
    inherited, _shared = _shared, _Shared()
    if inherited.blas_limits is not None:
        inherited.blas_limits.restore_original_limits()


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
            if shared.controller is None:
                # Takes a millisecond, hence kept. SciPy's BLAS is loaded by now.
                shared.controller = ThreadpoolController().select(user_api="blas")
            _free_control(shared.controller)
            shared.blas_limits = shared.controller.limit(limits=1)
        shared.blas_users += 1
    try:
        yield
    finally:
        with shared.lock:
            shared.blas_users -= 1
            if shared.blas_users == 0:
                _free_control(shared.controller)
                shared.blas_limits.restore_original_limits()
                # Whoever comes next may change it too.
                _free_control(shared.controller)
                shared.blas_limits = None


def _free_control(controller: ThreadpoolController) -> None:
    """Let any thread change the setting next; threadpoolctl keeps it to the first that did.

    Ours are serialised by a lock, and the fit that ends last need not be the one that began first.
    """
    for kind in {type(library) for library in controller.lib_controllers}:
        if hasattr(kind, "clear_controlling_thread"):
            kind.clear_controlling_thread(force=True)
