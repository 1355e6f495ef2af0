"""Machine code on disk, where the next process finds it.

Numba's own cache notices an edit of the file that defines a cached function, but not of the files
of the functions compiled into it, and it believes whatever bytes it finds. `DiskCache` replaces
it: one file per compiled signature, whose name is a digest of everything the machine code depends
on (all kernel sources, versions, processor, signature) and whose content carries a checksum. A
stale entry can therefore not be found, a damaged one is compiled anew, and two processes that
compile at once both write the same complete file. What another process was asked to compile (see
`_elsewhere`) is waited for. What earlier versions left is removed once nobody has used it for long,
when something new is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import re
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config, serialize
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys

from fastmlp import _elsewhere

__all__ = ["CacheWarning", "DiskCache", "cache_directories", "may_be_kept"]

_PACKAGE = Path(__file__).resolve().parent


class CacheWarning(UserWarning):
    """Compiled code could not be kept on disk, so that every process compiles anew."""


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


def may_be_kept() -> bool:
    """Return whether files can be put into one of these directories, which may have to be made.

    Returns
    -------
    bool
        The answer.
    """
    return any(map(_may_be_written, cache_directories()))


def _may_be_written(directory: Path) -> bool:
    candidates = [directory, *directory.parents]
    nearest = next((path for path in candidates if os.path.exists(path)), directory)
    return os.path.isdir(nearest) and os.access(nearest, os.W_OK | os.X_OK)


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


class DiskCache:
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
