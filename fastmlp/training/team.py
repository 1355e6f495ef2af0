"""The threads that share the steps of a fit, or the rows of a prediction."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fastmlp.training.cores import move_to, shares_of_processors
from fastmlp.training.team_size import TeamSize

__all__ = ["ThreadTeam"]


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
        self._size = TeamSize(size)
        # By which clocks of the system the processor time of each thread is told.
        self._clocks: list[int] = []
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
        self._all_shares = shares_of_processors(self.size) if self.size > 1 else []
        self._shares = self._all_shares
        for number in range(int(self._caller_works), self.size):
            tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
            self._tasks.append(tasks)
            thread = threading.Thread(
                target=self._work, args=(number, tasks), name=f"fastmlp-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
            with contextlib.suppress(Exception):  # not every system has them
                self._clocks.append(time.pthread_getcpuclockid(cast(int, thread.ident)))
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
                    move_to(place)
                function(number)
            except BaseException as error:  # noqa: BLE001  # raised again by the caller of `run`
                self.barrier[16] = 1
                self._done.put(error)
            else:
                self._done.put(None)

    def choose_size(self) -> bool:
        """Let as many members work as is fastest.

        Returns
        -------
        bool
            Whether all members work, and each on a core of its own. If not, call this again soon;
            if they do, now and then.
        """
        n_members = self._size.choose({thread.native_id or 0 for thread in self._threads})
        if n_members != self.n_working:
            self.n_working = n_members
            if n_members == self.size:
                self._shares = self._all_shares
            elif n_members == 1 and self._caller_works:
                self._shares = []
            else:
                # Which cores are free is not known.
                self._shares = shares_of_processors(1) * self.size
        return self._size.is_certain

    def _processor_times(self) -> NDArray[np.float64]:
        """Return how many seconds each member has had a processor; empty where that is not told."""
        n_own = int(self._caller_works)
        if self.n_working == 1 or len(self._clocks) < self.size - n_own:
            return np.zeros(0)
        try:
            others = [time.clock_gettime(clock) for clock in self._clocks[: self.n_working - n_own]]
        except OSError:
            return np.zeros(0)
        return np.array([time.thread_time()] * n_own + others)

    def _note(self, started: float, before: NDArray[np.float64], amount: float) -> None:
        """Note what members that worked together have done since then."""
        seconds, now = time.perf_counter() - started, self._processor_times()
        times = now - before if now.size == before.size else np.zeros(0)
        self._size.note(amount, seconds, times)

    def _take_share(self) -> None:
        """Confine the caller to its share of the processors."""
        if self._shares:
            self._before = os.sched_getaffinity(0)
            move_to(self._shares[0] & self._before)

    def _give_back_share(self) -> None:
        """Undo that; more than once does no harm, as after an interrupt in the middle of it."""
        if self._before:
            move_to(self._before)
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
            before = self._processor_times() if ends_together else np.zeros(0)
            started = time.perf_counter()
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
