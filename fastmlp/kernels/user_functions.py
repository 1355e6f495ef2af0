"""Functions of single numbers as users write them, made ready to be compiled into loops.

The exponential function and its kin become those of `fastmlp.kernels.math`, which fill vector
registers where the C library would be called for each number.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fastmlp._jit import user_function
from fastmlp.kernels import math as fast_math
from fastmlp.kernels.digest import globals_of, python_function

__all__ = ["check_signature", "inlined", "unique_name", "why_not"]

Function = Callable[..., float]

_numbers = itertools.count()


def check_signature(owner: str, name: str, value: Any, n_arguments: int) -> None:
    """Refuse what is no Python function of so many numbers.

    Parameters
    ----------
    owner, name : str
        Class and parameter, for the message.
    value : object
        What was passed.
    n_arguments : int
        1 or 2.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    python = python_function(value)
    is_function = isinstance(python, FunctionType)
    if is_function:
        try:
            inspect.signature(python).bind(*[0.0] * n_arguments)
        except TypeError:
            is_function = False
    if not is_function:
        what = "one number" if n_arguments == 1 else "two numbers, prediction and target"
        raise TypeError(
            f"The {name!r} parameter of {owner} must be a Python function of {what}. "
            f"Got {value!r} instead."
        )


def unique_name(prefix: str, *digests: str | None) -> str:
    """Return a name for machine code: of two pieces by the same name, one would stand for both.

    Parameters
    ----------
    prefix : str
        Its beginning.
    *digests : str or None
        Of the functions in it, where they have any.

    Returns
    -------
    str
        The same for equal digests; without one, a new name.
    """
    known = [digest for digest in digests if digest is not None]
    is_known = len(known) == len(digests)
    return "_".join([prefix, *(known if is_known else [str(next(_numbers))])])


def inlined(function: Function, digest: str | None) -> Any:
    """Compile a function into its callers, under a name that no other function has.

    Parameters
    ----------
    function : function
        A Python function of numbers, compiled or not.
    digest : str or None
        Its digest.

    Returns
    -------
    numba.core.registry.CPUDispatcher
        For compiled loops.
    """
    python = python_function(function)
    names = {name: _faster(value) for name, value in globals_of(python).items()}
    cells = tuple(map(_faster_cell, python.__closure__ or ()))
    copy = FunctionType(python.__code__, names, python.__name__, python.__defaults__, cells)
    copy.__kwdefaults__ = python.__kwdefaults__
    copy.__module__, copy.__qualname__ = __name__, unique_name("function", digest)
    return user_function(copy)


def why_not(function: Function, signature: tuple[Any, ...]) -> str | None:
    """Return why a function is nothing for compiled loops.

    Parameters
    ----------
    function : function
        A Python function of numbers, compiled or not.
    signature : tuple of numba types
        Types of the numbers.

    Returns
    -------
    str or None
        The first line of Numba's reason; None if there is none.
    """
    dispatcher = inlined(function, None)
    try:
        dispatcher.compile(signature)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is about the user's function
        lines = [line.strip() for line in str(error).splitlines()]
        lines = [line for line in lines if line and not line.startswith("Failed in ")]
        return lines[0].rstrip(".:") if lines else type(error).__name__
    (result,) = dispatcher.overloads.values()
    kind = result.signature.return_type
    if isinstance(kind, (types.Boolean, types.Integer, types.Float)):
        return None
    return f"it returns {kind}, not a number"


# -- faster functions ---------------------------------------------------------------------------


def _vectorised(slow: Function, fast: Function, pole: float | None) -> Function:
    """Return what compiles to the fast function for floats, and to the slow one for integers.

    Below its pole, a logarithm is nan. The fast ones leave that to their callers.
    """

    def switch(x: Any) -> Any:
        return slow(x)

    def choose(x):  # type: ignore[no-untyped-def]  # Numba compares it with the implementation's
        function = fast if isinstance(x, types.Float) else slow

        def plain(x):  # type: ignore[no-untyped-def]
            return function(x)

        number = np.float32 if x == types.float32 else np.float64
        lowest, infinity, nan = number(pole or 0), number(np.inf), number(np.nan)

        def logarithm(x):  # type: ignore[no-untyped-def]
            value = fast(x) if x < infinity else x
            return value if x > lowest else (-infinity if x == lowest else nan)

        chosen = plain if function is slow or pole is None else logarithm
        # As for `unique_name`; the arguments' types are part of the name of machine code anyway.
        chosen.__qualname__ = f"{slow.__module__}.{slow.__name__}"
        return chosen

    overload(switch, jit_options={"forceinline": True})(choose)
    return switch


_FASTER = {
    getattr(module, name): _vectorised(getattr(module, name), getattr(fast_math, name), pole)
    for module in (math, np)
    for name, pole in (("exp", None), ("expm1", None), ("tanh", None), ("log", 0), ("log1p", -1))
}


class _FasterModule(ModuleType):
    """A module in which some functions are faster ones."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module.__name__)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return _faster(getattr(self._module, name))


_FASTER_MODULES = {module: _FasterModule(module) for module in (math, np)}


def _faster(value: Any) -> Any:
    """Return what stands for a function or a module of functions; anything else as it is."""
    for table in (_FASTER, _FASTER_MODULES):
        for slow, fast in table.items():
            if value is slow:
                return fast
    return value


def _faster_cell(cell: CellType) -> CellType:
    """Return what stands for a cell of a closure."""
    try:
        return CellType(_faster(cell.cell_contents))
    except ValueError:  # nothing is in it yet, as Numba will say
        return cell
