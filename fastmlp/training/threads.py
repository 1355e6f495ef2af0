"""Threads: how many a fit may use, one BLAS thread each, and the team that shares its batches.

The budget is process-wide: fits that run at once share the cores instead of each taking all.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Container, Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from joblib.externals.loky import cpu_count
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

__all__ = [
    "ThreadTeam", "available_cores", "is_core_to_spare", "parts_of_work", "reserve_threads",
    "running_threads", "single_threaded_blas",
]  # fmt: skip


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


# Seconds between two looks at which threads run; and how many times as long as a look takes.
_BETWEEN_LOOKS, _RATHER_THAN_LOOK = 0.01, 20
# Seconds of work by which it is judged whether members have cores of their own, and the part of a
# core's time that one has then.
_ENOUGH, _ALMOST_ALL = 0.01, 0.75
# Seconds for which fewer work if not: at first, and at most.
_LEAST_PATIENCE, _MOST_PATIENCE = 0.1, 1.6
# Seconds after which it is tried whether one member alone is faster, as where what is in one core's
# cache is slow to reach for the others: at first, and again; and for which it then works alone.
_BEFORE_TRIAL, _BETWEEN_TRIALS, _ALONE = 0.5, 2.0, 0.5


class _Shared:
    """What all fits of this process share, and what a forked child starts anew."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reserved = 0
        self.blas_users = 0
        self.blas_limits: Any = None
        self.controller: ThreadpoolController | None = None
        # How many members may work, until when, and for how many seconds that was.
        self.most_members, self.crowded_until, self.patience = 0, 0.0, 0.0


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


def _shares_of_processors(size: int) -> list[set[int]]:
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


def _move_to(processors: set[int]) -> None:
    """Let this thread run on some processors only, if the system permits."""
    with contextlib.suppress(Exception):
        os.sched_setaffinity(0, processors)


class ThreadTeam:
    """A fixed number of threads that run one function at once.

    A barrier inside the function is safe: no member ever waits in a queue behind another, and a
    member that fails or is interrupted releases the others.

    Parameters
    ----------
    size : int
        Number of threads.
    caller_works : bool, default=True
        Whether the caller is the first of them. Else it only waits, and can be interrupted.

    Attributes
    ----------
    n_working : int
        How many of them `run` uses, the first ones.
    barrier : ndarray of int64, shape (24,)
        For :func:`fastmlp.kernels.team.wait_for_all`.
    """

    def __init__(self, size: int, *, caller_works: bool = True) -> None:
        self.size = self.n_working = size
        self._caller_works = caller_works
        self.barrier = np.zeros(24, np.int64)
        self._threads: list[threading.Thread] = []
        self._tasks: list[queue.SimpleQueue[Any]] = []
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._n_running = 0
        self._is_settled, self._next_look = False, 0.0
        # By which clocks of the system the processor time of each thread is told.
        self._clocks: list[int] = []
        # Since the last judgement: seconds of work, work done, seconds that each had a processor.
        self._elapsed, self._amount, self._sums = 0.0, 0.0, np.zeros(size)
        self._has_cores = True
        # Speed of all members together, if known; whether and when one is tried alone, or works so.
        self._speed, self._is_on_trial, self._next_trial, self._alone_until = 0.0, False, 0.0, 0.0
        self._all_shares: list[set[int]] = []
        self._shares: list[set[int]] = []
        # Where the caller might run before it took its share; empty while it has not.
        self._before: set[int] = set()

    def __enter__(self) -> ThreadTeam:
        """Start the threads.

        Returns
        -------
        ThreadTeam
            This team.
        """
        self._next_trial = time.perf_counter() + _BEFORE_TRIAL
        self._all_shares = _shares_of_processors(self.size) if self.size > 1 else []
        self._shares = self._all_shares
        for number in range(int(self._caller_works), self.size):
            tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
            self._tasks.append(tasks)
            thread = threading.Thread(
                target=self._work, args=(number, tasks), name=f"fastmlp-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
            if hasattr(time, "pthread_getcpuclockid"):
                self._clocks.append(time.pthread_getcpuclockid(thread.ident or 0))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the threads.

        Parameters
        ----------
        kind, error, traceback
            Ignored.
        """
        self._give_back_share()
        self._close()

    def _close(self) -> None:
        """End the threads, once they have done what they were given."""
        for tasks in self._tasks:
            tasks.put(None)
        for thread in self._threads:
            thread.join()
        self._tasks, self._threads = [], []

    def _work(self, number: int, tasks: queue.SimpleQueue[Any]) -> None:
        place: set[int] = set()
        while (task := tasks.get()) is not None:
            try:
                function, new_place = task
                if new_place and new_place != place:
                    place = new_place
                    _move_to(place)
                function(number)
            except BaseException as error:  # noqa: BLE001  # raised again by the caller of `run`
                self.barrier[16] = 1
                self._done.put(error)
            else:
                self._done.put(None)

    def choose_size(self) -> bool:
        """Let as many members work as find a core that nobody else keeps busy.

        Returns
        -------
        bool
            Whether all members work, and each on a core of its own. If not, call this again soon.
        """
        if self.size == 1:
            return True
        started = time.perf_counter()
        if started < _shared.crowded_until:
            self._let_work(min(self.size, _shared.most_members))
        elif not self._is_settled and started >= self._next_look:
            n_others = running_threads({thread.native_id or 0 for thread in self._threads})
            n_left = available_cores() - n_others if n_others else self.size
            self._let_work(max(1, min(self.size, n_left)))
            self._is_settled = self.n_working == self.size
            now = time.perf_counter()
            self._next_look = now + max(_BETWEEN_LOOKS, _RATHER_THAN_LOOK * (now - started))
        elif self._is_settled:
            if self._speed and started >= self._next_trial:
                self._is_on_trial = True
            is_alone = self._is_on_trial or started < self._alone_until
            self._let_work(1 if is_alone else self.size)
        return self.n_working == self.size and self._has_cores

    def _let_work(self, n_members: int) -> None:
        """Let the first members work from now on."""
        if n_members == self.n_working:
            return
        self.n_working = n_members
        self._elapsed, self._amount, self._sums = 0.0, 0.0, np.zeros(n_members)
        if n_members == self.size:
            self._shares = self._all_shares
        elif n_members == 1:
            self._shares = []
        else:
            # Which cores are free is not known.
            self._shares = _shares_of_processors(1) * self.size

    def _processor_times(self) -> NDArray[np.float64]:
        """Return how many seconds each member has had a processor; empty where that is not told."""
        n_own = int(self._caller_works)
        if self.n_working == 1 or len(self._clocks) < self.size - n_own:
            return np.zeros(0)
        others = map(time.clock_gettime, self._clocks[: self.n_working - n_own])
        return np.array([time.thread_time()] * n_own + list(others))

    def _note(self, started: float, before: NDArray[np.float64], amount: float) -> None:
        self._judge(time.perf_counter() - started, self._processor_times() - before, amount)

    def _judge(self, seconds: float, times: NDArray[np.float64], amount: float) -> None:
        """Notice that fewer members would be faster: then fewer work for a while.

        Parameters
        ----------
        seconds : float
            How long they worked, all together.
        times : ndarray of shape (n_working,) or (0,)
            And for how many seconds each of them had a processor.
        amount : float
            How much work that was.
        """
        self._elapsed += seconds
        self._amount += amount
        self._sums[: times.size] += times
        if self._elapsed < _ENOUGH:
            return
        speed, parts = self._amount / self._elapsed, self._sums / self._elapsed
        self._elapsed, self._amount, self._sums = 0.0, 0.0, np.zeros(self.n_working)
        now = time.perf_counter()
        if self.n_working == 1:
            if self._is_on_trial:
                is_faster = speed > self._speed
                self._alone_until = now + _ALONE * is_faster
                self._next_trial = self._alone_until if is_faster else now + _BETWEEN_TRIALS
                # Of all members it is asked anew before the next trial.
                self._speed, self._is_on_trial = 0.0, False
            return
        self._has_cores = not times.size or bool(parts.min() >= _ALMOST_ALL)
        if self._has_cores:
            _shared.patience = 0.0
            self._speed = speed if self.n_working == self.size else 0.0
        else:
            _shared.patience = min(max(_LEAST_PATIENCE, 2 * _shared.patience), _MOST_PATIENCE)
            _shared.most_members = max(1, min(round(parts.sum()), times.size - 1))
            _shared.crowded_until = now + _shared.patience

    def _take_share(self) -> None:
        """Confine the caller to its share of the processors."""
        if self._shares:
            self._before = os.sched_getaffinity(0)
            _move_to(self._shares[0] & self._before)

    def _give_back_share(self) -> None:
        """Undo that; more than once does no harm, as after an interrupt in the middle of it."""
        if self._before:
            _move_to(self._before)
            self._before = set()

    def run(
        self,
        function: Callable[[int], None],
        *,
        ends_together: bool = False,
        amount: float = 0.0,
    ) -> None:
        """Call ``function(number)`` in every thread and wait until all have returned.

        Parameters
        ----------
        function : callable
            Gets the thread's number, from 0.
        ends_together : bool, default=False
            Whether the threads meet at the barrier when all is done. Once the caller has passed
            it, the others, who have nothing left to do but to come back to Python, are not waited
            for: that takes longer than a short epoch. How long it took decides on how many work
            on what follows.
        amount : float, default=0.0
            How much work it is, in any unit.

        Raises
        ------
        Exception
            The first that a thread raised. The team is then of no further use.
        """
        try:
            # Those that were not waited for have come back meanwhile, most of them.
            while self._n_running and not self._done.empty():
                self._n_running -= 1
                if error := self._done.get():
                    raise error
            first = int(self._caller_works)
            before, started = self._processor_times(), time.perf_counter()
            for number in range(first, self.n_working):
                place = self._shares[number] if self._shares else set()
                self._tasks[number - first].put((function, place))
            self._n_running += self.n_working - first
            if self._caller_works:
                try:
                    self._take_share()
                    function(0)
                finally:
                    self._give_back_share()
                if ends_together and not self.barrier[16]:
                    self._note(started, before, amount)
                    return
            errors = [
                error for error in (self._done.get() for _ in range(self._n_running)) if error
            ]
            self._n_running = 0
            if ends_together and not errors:
                self._note(started, before, amount)
        except BaseException:
            # An interrupt: the others must not wait for a caller whose turn has not come, nor
            # finish a long batch. Nor may they go on writing once this has been raised.
            self.barrier[16] = 1
            self._give_back_share()
            self._close()
            raise
        if errors:
            raise errors[0]
