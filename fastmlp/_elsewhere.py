"""Compilation in another process, while this one compiles something else.

Numba compiles one function at a time in a process, and a first fit needs some. What is compiled
elsewhere comes back by way of the cache on disk; whatever goes wrong with it, this process compiles
it after all.
"""

from __future__ import annotations

import atexit
import contextlib
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

__all__ = ["Job", "compile_here", "is_at_work", "start", "wait_for"]

# The same modules must be found there; who is `__main__` here is nothing to that process.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; "
    "from fastmlp._elsewhere import compile_here; compile_here()"
)
# Seconds: ten times what it takes on a slow machine; and between two looks.
_PATIENCE, _BETWEEN_LOOKS = 300.0, 0.01

# By key, also when the work is done.
_processes: dict[str, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_go() -> None:
    # What is still at work ends by itself, and later fits find what it leaves: no warning.
    for process in _processes.values():
        process.returncode = 0


class Job(NamedTuple):
    """A function to be compiled.

    Attributes
    ----------
    key : str
        What to wait for.
    module, name : str
        Where the function is found.
    signature : tuple of numba types
        What to compile it for.
    """

    key: str
    module: str
    name: str
    signature: Any


def start(jobs: Sequence[Job]) -> bool:
    """Start a process that compiles some functions, one after another.

    Parameters
    ----------
    jobs : sequence of Job
        What to compile. What a process is at work on already is left out.

    Returns
    -------
    bool
        Whether there is work for such a process, and it could be started.
    """
    jobs = [job for job in jobs if not is_at_work(job.key)]
    if not jobs or not sys.executable or getattr(sys, "frozen", False):
        return False
    # Where no process may be started, all goes on without one.
    with contextlib.suppress(OSError):
        process = subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-I", "-c", _PROGRAM.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        _processes.update({job.key: process for job in jobs})
        if process.stdin is not None:
            with process.stdin as file:
                pickle.dump([tuple(job) for job in jobs], file)
        return True
    return False


def is_at_work(key: str) -> bool:
    """Return whether a process may still make a function.

    Parameters
    ----------
    key : str
        As in its job. There may never have been one.

    Returns
    -------
    bool
        False once the process has ended.
    """
    return key in _processes and _processes[key].poll() is None


def wait_for(key: str, is_done: Callable[[], bool]) -> None:
    """Return when a function is compiled, or no process is at work on it any more.

    Parameters
    ----------
    key : str
        As in its job. There may never have been one.
    is_done : callable
        Returns whether what was to be made is there.
    """
    stop = time.monotonic() + _PATIENCE
    while is_at_work(key) and not is_done():
        if time.monotonic() > stop:
            _processes[key].kill()
        time.sleep(_BETWEEN_LOOKS)


def compile_here() -> None:
    """Compile what standard input tells; for the process that `start` starts."""
    for _, module, name, signature in pickle.load(sys.stdin.buffer):  # noqa: S301  # from ourselves
        function = getattr(import_module(module), name)
        getattr(function, "compiled", function).compile(signature)
