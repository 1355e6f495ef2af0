"""Whether a user's derivative is that of the function: compared by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fastmlp.kernels.digest import python_function

__all__ = ["check_derivative"]

Function = Callable[..., float]

# Steps of the differences, for what changes quickly and for what is computed in float32; how far a
# point that may be a corner is moved; and by what share derivative and difference may differ.
_STEPS, _SHIFT, _TOLERANCE = (1e-4, 1e-2), 0.013, 1e-5


def check_derivative(
    name: str, function: Function, derivative: Function, points: list[tuple[float, ...]]
) -> None:
    """Refuse a derivative that is not that of the function.

    Where the function has a corner or is not finite, nothing is compared.

    Parameters
    ----------
    name : str
        Parameter that holds the derivative, for the message.
    function, derivative : function
        Functions of numbers; the derivative is that with respect to the first.
    points : list of tuple of float
        Where they are compared.

    Raises
    ------
    ValueError
        If they disagree at a point and on either side of it, or are finite nowhere.
    """
    f, df = python_function(function), python_function(derivative)
    n_finite = 0
    with np.errstate(all="ignore"):
        for first, *others in points:
            # Near a corner, there is none on either side of it.
            for x in (first, first - _SHIFT, first + _SHIFT):
                slope = _evaluate(df, x, *others)
                differences = [
                    difference
                    for difference in _differences(f, x, *others)
                    if np.isfinite(difference)
                ]
                if not np.isfinite(slope) or not differences:
                    break
                n_finite += 1
                if any(abs(slope - d) <= _TOLERANCE * (1 + abs(slope)) for d in differences):
                    break
            else:
                x = first
                slope, difference = _evaluate(df, x, *others), next(_differences(f, x, *others))
                arguments = ", ".join(map(str, (x, *others)))
                raise ValueError(
                    f"The {name!r} parameter must be the derivative of {function.__name__!r}, but "
                    f"at ({arguments}) {derivative.__name__!r} is {slope:.6g}, and a finite "
                    f"difference is {difference:.6g}. Set check=False if that is meant."
                )
    if n_finite == 0:
        raise ValueError(
            f"{function.__name__!r} and {derivative.__name__!r} are not finite at any of the "
            f"points where they are compared. Set check=False if that is meant."
        )


def _differences(f: Function, x: float, *others: float) -> Iterator[float]:
    """Yield central differences of fourth order."""
    for h in _STEPS:
        far = _evaluate(f, x + 2 * h, *others) - _evaluate(f, x - 2 * h, *others)
        near = _evaluate(f, x + h, *others) - _evaluate(f, x - h, *others)
        yield (8 * near - far) / (12 * h)


def _evaluate(f: Function, *arguments: float) -> float:
    """Call a Python function as compiled code would be: what is not a number is nan."""
    try:
        return float(f(*map(np.float64, arguments)))
    except (ArithmeticError, ValueError):
        return np.nan
