"""Compilation in another process, while this one compiles something else.

Numba compiles one function at a time in a process, and a first fit needs a dozen. What is compiled
elsewhere comes back by way of the cache on disk; whatever goes wrong with it, this process compiles
it after all.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Job", "compile_here", "is_at_work", "is_idle", "start", "wait_for"]

# Who is `__main__` here is nothing to that process.
_PROGRAM = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from fastmlp._elsewhere import compile_here; compile_here()"
)
# In the environment of that process, which must not start another one.
_MARK = "_FASTMLP_COMPILES"
# Seconds: far more than it takes on a slow machine; and between two looks.
_PATIENCE, _BETWEEN_LOOKS = 300.0, 0.01

# By key, also when the work is done.
_processes: dict[str, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_go() -> None:
    # Else Python warns of those still running, which end by themselves and leave what they make.
    for process in _processes.values():
        process.returncode = 0


def _start_anew() -> None:
    # They are no children of a forked child.
    _let_go()
    _processes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


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
        Whether a process was started.
    """
    # Where no process may be started, all goes on without one.
    with contextlib.suppress(Exception):
        jobs = [job for job in jobs if not is_at_work(job.key)]
        if jobs and _is_python(sys.executable) and _MARK not in os.environ:
            work = pickle.dumps(_path()) + pickle.dumps(jobs)
            process = subprocess.Popen(  # noqa: S603  # ourselves
                [sys.executable, "-I", *["-B"] * sys.dont_write_bytecode, "-c", _PROGRAM],
                env={**os.environ, _MARK: "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            _processes.update({job.key: process for job in jobs})
            # Else, when it has ended, the system would keep a place for it.
            threading.Thread(target=process.wait, daemon=True).start()
            with contextlib.suppress(OSError), process.stdin as file:  # type: ignore[union-attr]
                file.write(work)
            return True
    return False


def _is_python(executable: str | None) -> bool:
    """Return whether this is Python, and not a program that has Python in it."""
    name = Path(executable or "").name.lower()
    return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)


def _path() -> list[str]:
    """Return where to look for modules: what depends on the working directory is left out."""
    found = [path for path in map(os.fsdecode, sys.path) if Path(path).is_absolute()]
    return [*found, str(Path(__file__).resolve().parents[1])]


def is_idle() -> bool:
    """Return whether no process is at work.

    Returns
    -------
    bool
        True if none was ever started.
    """
    return all(process.returncode is not None for process in list(_processes.values()))


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
    """Compile what standard input tells; for the process that `start` starts.

    If it would be kept under another name than it is waited for, it is of no use: other sources or
    settings.
    """
    for key, module, name, signature in pickle.load(sys.stdin.buffer):  # noqa: S301  # ourselves
        function = getattr(import_module(module), name)
        dispatcher = getattr(function, "compiled", function)
        if dispatcher._cache.job(signature, dispatcher.targetctx).key != key:
            return
        dispatcher.compile(signature)
