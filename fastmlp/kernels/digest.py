"""What a user's function is, in a few letters: equal digests, equal machine code.

Numba compiles the numbers that a function finds in its globals and closure into the machine code.
So a digest covers the bytecode, and the values of all names that it reads; but not the file, nor
comments. Where a value may be anything, as an object or a module of the user's own, there is no
digest, and nothing is kept on disk.
"""

from __future__ import annotations

import builtins
import cmath
import hashlib
import itertools
import math
import operator
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numba
import numpy as np

from fastmlp.kernels import math as fast_math

__all__ = ["digest_of", "globals_of", "python_function"]

_NUMBERS_AND_TEXTS = (type(None), bool, int, float, complex, str, bytes, type(...))
# The versions of Python, NumPy, Numba and fastmlp are known to the cache.
_KNOWN_MODULES = (builtins, math, cmath, operator, np, numba, fast_math)
_KNOWN_PACKAGES = ("numpy.", "numba.")
_LENGTH = 24


class _UnknownError(Exception):
    """A value of which a digest cannot be taken."""


def python_function(function: Any) -> Any:
    """Return what was decorated with ``numba.njit``, and anything else as it is.

    Parameters
    ----------
    function : object
        A Python function, compiled or not, or anything.

    Returns
    -------
    object
        The Python function.
    """
    return getattr(function, "py_func", function)


def globals_of(function: FunctionType) -> dict[str, Any]:
    """Return the globals that a function may read.

    Parameters
    ----------
    function : function
        A Python function.

    Returns
    -------
    dict of str to object
        Those whose names are in its code, or in that of functions inside it. Names of attributes
        are among them.
    """
    names = function.__globals__
    return {name: names[name] for name in _names(function.__code__) if name in names}


def _names(code: CodeType) -> list[str]:
    inner = (_names(value) for value in code.co_consts if isinstance(value, CodeType))
    return [*code.co_names, *itertools.chain.from_iterable(inner)]


def digest_of(function: Callable[..., Any]) -> str | None:
    """Return a digest of all that the machine code of a function depends on.

    Parameters
    ----------
    function : function
        A Python function, or one that Numba compiles.

    Returns
    -------
    str or None
        Hexadecimal digits; None if it reads something that may change unseen.
    """
    try:
        text = _function(python_function(function), ())
    except _UnknownError:
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _function(function: FunctionType, callers: tuple[FunctionType, ...]) -> str:
    if function in callers:  # recursion
        return f"caller {callers.index(function)}"
    callers = (*callers, function)
    try:
        cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    except ValueError:  # a name that is not bound yet
        raise _UnknownError from None
    named = tuple(sorted((function.__kwdefaults__ or {}).items()))
    values = _value((cells, function.__defaults__ or (), named), callers)
    read = [(name, _value(value, callers)) for name, value in globals_of(function).items()]
    return f"{_code(function.__code__, callers)} {read} {values}"


def _code(code: CodeType, callers: tuple[FunctionType, ...]) -> str:
    """Describe bytecode and its constants."""
    form = (
        code.co_code, code.co_flags, code.co_argcount, code.co_posonlyargcount,
        code.co_kwonlyargcount, code.co_names, code.co_varnames, code.co_freevars,
        code.co_cellvars, code.co_exceptiontable,
    )  # fmt: skip
    constants = [
        _code(value, callers) if isinstance(value, CodeType) else _value(value, callers)
        for value in code.co_consts
    ]
    return repr((form, constants))


def _value(value: Any, callers: tuple[FunctionType, ...]) -> str:
    """Describe a constant."""
    kind = type(value)
    if kind in _NUMBERS_AND_TEXTS or isinstance(value, np.generic):
        return f"{kind.__name__} {value!r}"
    if kind in (tuple, frozenset):
        parts = [_value(element, callers) for element in value]
        return f"{kind.__name__} {parts if kind is tuple else sorted(parts)}"
    if kind is np.ndarray and not value.dtype.hasobject:
        content = hashlib.sha256(value.tobytes()).hexdigest()
        return f"array {value.dtype.descr} {value.strides} {value.shape} {content}"
    if isinstance(value, ModuleType):
        if value in _KNOWN_MODULES or value.__name__.startswith(_KNOWN_PACKAGES):
            return f"module {value.__name__}"
        raise _UnknownError
    name = getattr(value, "__name__", None)
    for module in _KNOWN_MODULES:
        if isinstance(name, str) and getattr(module, name, None) is value:
            return f"{module.__name__}.{name}"
    if hasattr(value, "py_func") and hasattr(value, "targetoptions") and _is_settled(value):
        options = sorted((key, repr(option)) for key, option in value.targetoptions.items())
        return f"compiled {options} {_function(value.py_func, callers)}"
    raise _UnknownError


def _is_settled(function: Any) -> bool:
    """Whether a compiled function is the only one of its name, which its machine code bears."""
    module = sys.modules.get(function.__module__)
    return (
        getattr(module, "__file__", None) is not None
        and getattr(module, function.__qualname__, None) is function
    )
