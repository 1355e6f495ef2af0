"""How many members of a team work: measured while they do.

All, as a rule. But who shares a core with somebody else makes all others wait, and some cores are
far from each other: then fewer are faster, which does not show in what they compute.
"""

from __future__ import annotations

import time
from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from fastmlp.training.cores import available_cores, running_threads

__all__ = ["TeamSize"]

# Seconds between two looks at which threads run; and how many times as long as a look takes.
_BETWEEN_LOOKS, _RATHER_THAN_LOOK = 0.01, 20
# Seconds of work by which it is judged whether members have cores of their own, and the part of a
# core's time that one has then.
_ENOUGH, _ALMOST_ALL = 0.01, 0.75
# What waking up may take a member of its seconds.
_WAKING = 1e-4
# Seconds for which fewer work if not: at first, and at most.
_LEAST_PATIENCE, _MOST_PATIENCE = 0.1, 1.6
# Seconds after which it is tried whether one member alone is faster, as where what is in one core's
# cache is slow to reach for the others: at first, and again; and for which it then works alone.
_BEFORE_TRIAL, _BETWEEN_TRIALS, _ALONE = 0.5, 2.0, 0.5
# Seconds that a run by all may take where that is tried, and times of a trial until the next one.
_LONG_RUN, _RATHER_THAN_TRY = 0.1, 50


class _Crowd:
    """What all teams know of other processes that are at work on the cores."""

    def __init__(self) -> None:
        # How many cores are not to be had, until when, and for how many seconds that was.
        self.n_taken, self.until, self.patience = 0, 0.0, 0.0


_crowd = _Crowd()


class TeamSize:
    """How many members of one team work.

    At first no more than find a core that no other thread of this process keeps busy, until once
    all did. From then on all, but fewer for a while where members had to share their cores with
    other processes, and one where one alone was faster than all.

    Parameters
    ----------
    most : int
        Members of the team.
    """

    def __init__(self, most: int) -> None:
        self._most = self._current = most
        self._is_settled, self._next_look = most == 1, 0.0
        self._has_cores = True
        # Speed of all together, if known; whether and when one is tried alone, or works so.
        self._speed, self._is_on_trial, self._alone_until = 0.0, False, 0.0
        self._next_trial = time.perf_counter() + _BEFORE_TRIAL
        self._is_first = True
        self._forget()

    def _forget(self) -> None:
        """Begin to measure anew: work done, in how many seconds, and how many each had a core."""
        self._amount, self._seconds, self._sums = 0.0, 0.0, np.zeros(self._current)
        self._longest = 0.0

    @property
    def is_certain(self) -> bool:
        """Whether all members work, and each on a core of its own. If not, choose again soon."""
        return self._current == self._most and self._has_cores

    def choose(self, members: Container[int]) -> int:
        """Return how many members are to work next.

        Parameters
        ----------
        members : container of int
            Native identifiers of the members that do not call this.

        Returns
        -------
        int
            At least 1.
        """
        now, n_members = time.perf_counter(), self._current
        if self._most > 1 and now < _crowd.until:
            n_members = max(1, self._most - _crowd.n_taken)
            self._is_on_trial = False
        elif not self._is_settled and now >= self._next_look:
            n_members = self._look(members)
        elif self._is_settled and self._most > 1:
            if self._speed and now >= self._next_trial:
                self._is_on_trial = True
            n_members = 1 if self._is_on_trial or now < self._alone_until else self._most
        if n_members != self._current:
            self._current = n_members
            self._forget()
        return n_members

    def _look(self, members: Container[int]) -> int:
        """Return how many members find a core that no other thread of this process keeps busy."""
        started = time.perf_counter()
        n_members, n_others = self._most, running_threads(members)
        if n_others:
            n_members = max(1, min(self._most, available_cores() - n_others))
        self._is_settled = n_members == self._most
        now = time.perf_counter()
        self._next_look = now + max(_BETWEEN_LOOKS, _RATHER_THAN_LOOK * (now - started))
        return n_members

    def note(self, amount: float, seconds: float, times: NDArray[np.float64]) -> None:
        """Note what the members that were chosen have done together.

        Parameters
        ----------
        amount : float
            How much work, in any unit.
        seconds : float
            How long it took.
        times : ndarray of shape (n_members,) or (0,)
            For how many seconds each of them had a processor; empty where that is not known.
        """
        if self._is_first:
            self._is_first = False  # it may have loaded code
            return
        self._amount += amount
        self._seconds += seconds
        self._sums[: times.size] += times + _WAKING
        self._longest = max(self._longest, seconds)
        if self._seconds < _ENOUGH:
            return
        speed, parts = self._amount / self._seconds, self._sums / self._seconds
        if self._current > 1:
            self._judge_together(speed, parts if times.size else np.ones(1))
        elif self._is_on_trial:
            self._judge_alone(speed)
        self._forget()

    def _judge_together(self, speed: float, parts: NDArray[np.float64]) -> None:
        """See to it that fewer members work if they had not whole cores, but these parts."""
        self._has_cores, self._speed = bool(parts.min() >= _ALMOST_ALL), 0.0
        if not self._has_cores:
            n_members = max(1, min(round(parts.sum()), parts.size - 1))
            _crowd.n_taken = self._most - n_members
            _crowd.patience = min(max(_LEAST_PATIENCE, 2 * _crowd.patience), _MOST_PATIENCE)
            _crowd.until = time.perf_counter() + _crowd.patience
        elif self._current == self._most:
            _crowd.patience = 0.0
            if self._longest < _LONG_RUN:
                self._speed = speed

    def _judge_alone(self, speed: float) -> None:
        """See to it that one member works alone if that was faster."""
        now = time.perf_counter()
        if speed > self._speed:
            self._alone_until = self._next_trial = now + _ALONE
        else:
            self._next_trial = now + max(_BETWEEN_TRIALS, _RATHER_THAN_TRY * self._seconds)
        # The speed of all is measured anew before the next trial.
        self._speed, self._is_on_trial = 0.0, False
