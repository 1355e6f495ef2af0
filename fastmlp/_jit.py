"""The only place that knows Numba's options: how kernels are compiled, inlined and cached.

Three kinds of compiled functions exist:

`kernel` and `inlined_kernel`
    Ordinary compiled functions. They are never cached by themselves and cannot be called from
    Python: Numba compiles them into whatever calls them (see `_lowering`).
`entry_point`
    The few functions that Python calls, kept on disk.
`separately_compiled`
    Functions that kernels call by address (see `_linking`), kept on disk.

The cache
---------
Numba's own cache notices an edit of the file that defines a cached function, but not of the files
of the functions compiled into it, and it believes whatever bytes it finds. `_DiskCache` replaces
it: one file per compiled signature, whose name is a digest of everything the machine code depends
on (all kernel sources, versions, processor, signature) and whose content carries a checksum. A
stale entry can therefore not be found, a damaged one is compiled anew, and two processes that
compile at once both write the same complete file. What another process was asked to compile (see
`_elsewhere`) is waited for. What earlier versions left is removed once nobody has used it for long,
when something new is written.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import os
import pickle
import re
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import types
from numba.core import config, serialize
from numba.core.compiler import CompileResult
from numba.core.options import DefaultOptions
from numba.core.runtime import rtsys
from numba.extending import overload

from fastmlp import _elsewhere
from fastmlp._lowering import COMPILER_OF_KERNELS

__all__ = [
    "CacheWarning", "by_precision", "cache_directories", "compile_elsewhere", "entry_point",
    "exact_kernel", "inlined_kernel", "is_compiled_elsewhere", "kernel", "python_version",
    "separately_compiled", "user_function", "view_kernel",
]  # fmt: skip

_PACKAGE = Path(__file__).resolve().parent

# Reassociation is what lets LLVM vectorise a sum. nnan and ninf stay off: a diverging fit must
# be noticed, and with them isfinite() is folded to True.
_FAST = {"reassoc", "contract", "nsz", "arcp"}
# Range reduction adds and subtracts large constants; reassociated, they cancel at compile time.
_EXACT = {"contract", "nsz", "arcp"}

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Nothing is allocated in compiled code, so that references need not be counted: a third of the
# compilation time. The option is private to Numba; without it all is as well, only slower.
_COUNTED, _UNCOUNTED = (
    ({"_nrt": True}, {"_nrt": False}) if hasattr(DefaultOptions, "_nrt") else ({}, {})
)
# Kernels are called by kernels only. Wrappers for Python and C would double the compilation time.
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_KERNEL: dict[str, Any] = {**_INNER, "pipeline_class": COMPILER_OF_KERNELS}

kernel = numba.njit(fastmath=_FAST, **_KERNEL, **_UNCOUNTED)
"""Compile a kernel; for one that contains the loops."""

inlined_kernel = numba.njit(fastmath=_FAST, forceinline=True, **_KERNEL, **_UNCOUNTED)
"""Compile a kernel that LLVM merges into its callers; for a few lines that are called often.

Numba's own ``inline="always"`` copies the kernel at every call before its types are known, which
takes three times as long to compile as the call.
"""

view_kernel = numba.njit(fastmath=_FAST, forceinline=True, **_KERNEL, **_COUNTED)
"""Compile an inlined kernel that returns a view, for which Numba must count references."""

# Said aloud: what says nothing inherits its caller's.
exact_kernel = numba.njit(fastmath=False, forceinline=True, **_KERNEL, **_UNCOUNTED)
"""Compile an inlined kernel that does the arithmetic of Python, bit for bit.

But for a sum of a product, which LLVM may round once instead of twice.
"""

user_function = numba.njit(fastmath=_EXACT, forceinline=True, **_INNER, **_UNCOUNTED)
"""Compile a function of the user's, inlined, which may print. Its additions keep their order."""


class CacheWarning(UserWarning):
    """Compiled code could not be kept on disk, so that every process compiles anew."""


def entry_point(function: Callable[..., Any]) -> Any:
    """Compile a function that is called from Python, and keep its machine code on disk.

    Parameters
    ----------
    function : callable
        The function; a signature is compiled when it is first called with it.

    Returns
    -------
    numba.core.registry.CPUDispatcher
        The compiled function.
    """
    dispatcher = numba.njit(fastmath=_FAST, **_OPTIONS, **_UNCOUNTED)(function)
    return _prepared(dispatcher, _DiskCache(function))


def separately_compiled(function: Callable[..., Any], *, is_kept: bool = True) -> Any:
    """Compile a function that is called by its address, and keep its machine code on disk.

    Parameters
    ----------
    function : callable
        The function, compiled for the signatures that are asked for.
    is_kept : bool, default=True
        Whether machine code is kept: if kernels and the function's qualified name do not tell all
        that it depends on, it must not be.

    Returns
    -------
    numba.core.registry.CPUDispatcher
        To be compiled, not to be called.
    """
    dispatcher = numba.njit(fastmath=_FAST, **_INNER, **_UNCOUNTED)(function)
    return _prepared(dispatcher, _DiskCache(function) if is_kept else None)


def compile_elsewhere(functions: Iterable[tuple[Any, tuple[Any, ...]]]) -> bool:
    """Let another process compile what this one will soon need, but for what is there already.

    Who then asks for the machine code waits for that process.

    Parameters
    ----------
    functions : iterable of (numba.core.registry.CPUDispatcher, tuple of numba types)
        Functions that are kept on disk, each in a module under its own name; and what to compile
        them for.

    Returns
    -------
    bool
        Whether a process was started.
    """
    jobs = []
    for dispatcher, arguments in functions:
        disk_cache = getattr(dispatcher, "_cache", None)
        if isinstance(disk_cache, _DiskCache) and arguments not in dispatcher.overloads:
            job = disk_cache.job(arguments, dispatcher.targetctx)
            if not disk_cache.has(job.key):
                jobs.append(job)
    # Else nothing would come back.
    return any(map(_may_be_written, cache_directories())) and _elsewhere.start(jobs)


def _may_be_written(directory: Path) -> bool:
    """Return whether files can be put into a directory, which may have to be made."""
    candidates = [directory, *directory.parents]
    nearest = next((path for path in candidates if os.path.exists(path)), directory)
    return os.path.isdir(nearest) and os.access(nearest, os.W_OK | os.X_OK)


def is_compiled_elsewhere(dispatcher: Any, arguments: tuple[Any, ...]) -> bool:
    """Return whether another process is still at work on a function.

    Parameters
    ----------
    dispatcher, arguments : various
        As `compile_elsewhere` was told.

    Returns
    -------
    bool
        False if it is there, or if this process would have to compile it.
    """
    disk_cache = getattr(dispatcher, "_cache", None)
    if _elsewhere.is_idle() or not isinstance(disk_cache, _DiskCache):
        return False
    key = disk_cache.job(arguments, dispatcher.targetctx).key
    return _elsewhere.is_at_work(key) and not disk_cache.has(key)


def _prepared(dispatcher: Any, disk_cache: _DiskCache | None) -> Any:
    """Give a dispatcher a cache, and let it compile in peace."""
    # Numba offers no public way to choose a cache. Under NUMBA_DISABLE_JIT the function itself
    # comes back, and a future Numba without `_cache` merely compiles once per process.
    if disk_cache is not None and hasattr(dispatcher, "_cache"):
        dispatcher._cache = disk_cache
    if hasattr(dispatcher, "compile"):
        dispatcher.compile = _without_collection(dispatcher.compile)
    return dispatcher


def _without_collection(compile_it: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Keep Python from looking for garbage meanwhile.

    Among the hundreds of thousands of objects that a compiler makes, it finds little, again and
    again.
    """

    @functools.wraps(compile_it)
    def compile_in_peace(signature: Any) -> Any:
        was_enabled = gc.isenabled()
        try:
            if was_enabled:
                _Collection.is_paused = True
                gc.disable()
            return compile_it(signature)
        finally:
            if was_enabled:
                gc.enable()
                _Collection.is_paused = False

    return compile_in_peace


class _Collection:
    """Whether the search for garbage is off because of a compilation."""

    is_paused = False


def _collect_again() -> None:
    # A child forked meanwhile has no thread that would do so.
    if _Collection.is_paused:
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_collect_again)


def python_version(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Say what stands for a compiled function under NUMBA_DISABLE_JIT; a decorator.

    Parameters
    ----------
    function : callable
        Does the same in plain Python. It gets the docstring of the compiled function.

    Returns
    -------
    callable
        Takes the compiled function and returns the one to use.
    """

    def choose(compiled: Any) -> Any:
        if config.DISABLE_JIT:
            function.__doc__ = compiled.__doc__
            return function
        return compiled

    return choose


def by_precision(single: Callable[..., Any], double: Callable[..., Any]) -> Callable[..., Any]:
    """Join a float32 and a float64 version of a function of one argument `x` under one name.

    Additions keep their order in them: range reduction adds and subtracts large constants.

    Parameters
    ----------
    single, double : callable
        Plain Python functions: what to call for a float32 and for a float64 argument.

    Returns
    -------
    callable
        Chooses at compile time inside kernels, and at run time in plain Python.
    """

    def switch(x: Any) -> Any:
        return single(x) if isinstance(x, np.float32) else double(x)

    def choose(x):  # type: ignore[no-untyped-def]  # Numba compares it with the implementation's
        return single if x == types.float32 else double

    overload(switch, jit_options={"fastmath": _EXACT, "forceinline": True, **_KERNEL})(choose)
    switch.__name__ = single.__name__.removesuffix("_single")
    switch.__doc__ = single.__doc__
    return switch


def cache_directories() -> Iterator[Path]:
    """Yield the directories that may hold compiled code, the preferred one first.

    Yields
    ------
    pathlib.Path
        ``$FASTMLP_CACHE_DIR`` or ``$NUMBA_CACHE_DIR`` alone if set; else the package's own
        ``__pycache__``, then the user's cache directory.
    """
    for variable in ("FASTMLP_CACHE_DIR", "NUMBA_CACHE_DIR"):
        if chosen := os.environ.get(variable):
            yield Path(chosen) / "fastmlp"
            return
    yield _PACKAGE / "__pycache__" / "compiled"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if base and os.path.isabs(base):
        yield Path(base) / "fastmlp"


@cache
def _fingerprint() -> str:
    """Digest of all that compiled code depends on, but for the processor and the signature."""
    digest = hashlib.sha256()
    for source in [
        *sorted(_PACKAGE.glob("_[jl]*.py")),
        *sorted((_PACKAGE / "kernels").glob("*.py")),
    ]:
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
    flags = (config.BOUNDSCHECK, str(config.OPT))
    digest.update(repr((versions, flags)).encode())
    return digest.hexdigest()


@cache
def _warn_once(reason: str) -> None:
    warnings.warn(
        f"Compiled code cannot be kept on disk ({reason}); fastmlp compiles anew in every process. "
        "Set FASTMLP_CACHE_DIR to a writable directory.",
        CacheWarning,
        stacklevel=2,
    )


_ENTRY = re.compile(r"\w+-(?:(\w{8})-)?\w{40}\.bin|\.\w+\.tmp")
_SECONDS_TO_KEEP = 90 * 24 * 3600.0


@cache
def _prune(directory: Path) -> None:
    """Remove what other versions, or writers that were killed, left and nobody has used for long.

    Once per process, after a compilation: that takes a thousand times as long.
    """
    oldest, current = time.time() - _SECONDS_TO_KEEP, _fingerprint()[:8]
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            match = _ENTRY.fullmatch(entry.name)
            if match is None or match[1] == current or not entry.is_file(follow_symlinks=False):
                continue
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if max(status.st_atime, status.st_mtime) < oldest:
                    os.unlink(entry.path)


class _DiskCache:
    """Machine code of one entry point on disk, in the form Numba's dispatcher expects.

    Parameters
    ----------
    function : callable
        The Python function behind the entry point.
    """

    _MAGIC = b"fastmlp-compiled-1\n"

    def __init__(self, function: Callable[..., Any]) -> None:
        self._module, self._name = function.__module__, function.__name__
        self._home = f"{function.__module__}.{function.__qualname__}"

    @property
    def cache_path(self) -> str:
        """Directory where compilations are kept: the first that exists, else the preferred one."""
        candidates = list(cache_directories())
        return str(next((path for path in candidates if os.path.isdir(path)), candidates[0]))

    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    def disable(self) -> None:
        """Do nothing: the cache is always on."""

    def flush(self) -> None:
        """Remove nothing: entries are never stale."""

    def _file_name(self, signature: Any, codegen: Any) -> str:
        arguments = getattr(signature, "args", signature)
        version = _fingerprint()
        key = repr((version, self._home, arguments, codegen.magic_tuple()))
        return f"{self._name}-{version[:8]}-{hashlib.sha256(key.encode()).hexdigest()[:40]}.bin"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the compiled result for a signature, or None if there is no sound one.

        Parameters
        ----------
        signature : tuple of numba types or numba signature
            The argument types.
        target_context : numba target context
            Where the code is linked.

        Returns
        -------
        CompileResult or None
            What was kept.
        """
        # What loaded code calls. Numba's own cache calls `target_context.refresh()`, which also
        # registers all that could be compiled: most of the time of a process's first fit. The
        # compiler does so, too, if it is ever needed.
        rtsys.initialize(target_context)
        name = self._file_name(signature, target_context.codegen())
        _elsewhere.wait_for(name, lambda: self.has(name))
        for directory in cache_directories():
            content = _read_trusted(directory / name)
            head = len(self._MAGIC)
            if content is None or content[:head] != self._MAGIC:
                continue
            checksum, payload = content[head : head + 32], content[head + 32 :]
            if _checksum(name, payload) != checksum:
                continue
            return CompileResult._rebuild(target_context, *pickle.loads(payload))
        return None

    def job(self, signature: Any, target_context: Any) -> _elsewhere.Job:
        """Return what another process must be told to compile for a signature.

        Parameters
        ----------
        signature : tuple of numba types
            The argument types.
        target_context : numba target context
            Where the code will be linked.

        Returns
        -------
        Job
            Its key is the name of the file to come.
        """
        key = self._file_name(signature, target_context.codegen())
        return _elsewhere.Job(key, self._module, self._name, signature)

    def has(self, name: str) -> bool:
        """Return whether a file is there.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        bool
            The answer, whatever is in it.
        """
        # Unlike Path.exists, this never raises an error, as where a directory may not be entered.
        return any(os.path.exists(directory / name) for directory in cache_directories())

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compiled result; failing to do so is a warning, never an error.

        Parameters
        ----------
        signature : tuple of numba types or numba signature
            The argument types.
        result : CompileResult
            What was compiled.
        """
        payload = serialize.dumps(result._reduce())
        name = self._file_name(signature, result.codegen)
        content = self._MAGIC + _checksum(name, payload) + payload
        reason = "no cache directory"
        for directory in cache_directories():
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write_atomically(directory / name, content)
                _prune(directory)
                return
            except OSError as error:
                reason = f"{directory}: {error.strerror or error}"
        _warn_once(reason)


def _checksum(name: str, payload: bytes) -> bytes:
    """Digest of a file's name, too: under another one it is as good as damaged."""
    return hashlib.sha256(name.encode() + b"\0" + payload).digest()


def _read_trusted(path: Path) -> bytes | None:
    """Read a file that only we (or the administrator) could have written, else return None."""
    try:
        with open(path, "rb") as file:
            if hasattr(os, "getuid"):
                status = os.fstat(file.fileno())
                others_may_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
                if status.st_uid not in (0, os.getuid()) or others_may_write:
                    return None
            return file.read()
    except OSError:
        return None


def _write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or none."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
