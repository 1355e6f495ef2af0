"""The only place that knows Numba's options: how kernels are compiled and inlined.

Three kinds of compiled functions exist:

`kernel` and `inlined_kernel`
    Ordinary compiled functions. They are never cached by themselves and cannot be called from
    Python: Numba compiles them into whatever calls them (see `_lowering`).
`entry_point`
    The few functions that Python calls, kept on disk.
`separately_compiled`
    Functions that kernels call by address (see `_linking`), kept on disk (see `_disk_cache`).
"""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Callable, Iterable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import config
from numba.core.options import DefaultOptions
from numba.extending import overload

from fastmlp import _elsewhere
from fastmlp._disk_cache import DiskCache, may_be_kept
from fastmlp._lowering import COMPILER_OF_KERNELS

__all__ = [
    "by_precision", "compile_elsewhere", "entry_point", "exact_kernel", "inlined_kernel",
    "is_compiled_elsewhere", "kernel", "python_version", "separately_compiled", "user_function",
    "view_kernel",
]  # fmt: skip

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
    return _prepared(dispatcher, DiskCache(function))


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
    return _prepared(dispatcher, DiskCache(function) if is_kept else None)


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
        if isinstance(disk_cache, DiskCache) and arguments not in dispatcher.overloads:
            job = disk_cache.job(arguments, dispatcher.targetctx)
            if not disk_cache.has(job.key):
                jobs.append(job)
    # Else nothing would come back.
    return may_be_kept() and _elsewhere.start(jobs)


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
    if _elsewhere.is_idle() or not isinstance(disk_cache, DiskCache):
        return False
    key = disk_cache.job(arguments, dispatcher.targetctx).key
    return _elsewhere.is_at_work(key) and not disk_cache.has(key)


def _prepared(dispatcher: Any, disk_cache: DiskCache | None) -> Any:
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
