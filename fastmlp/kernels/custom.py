r"""A user's own activations and losses: functions of numbers, compiled into loops over arrays.

`CustomActivation` and `CustomLoss` hold Python functions and nothing else, so that they compare,
copy and pickle as these do. Their `row` is what the tables `ACTIVATIONS` and `LOSSES` have for a
name: the functions are compiled into loops of their own, inlined, for the compute dtype, when they
are first used. What they return is rounded to that dtype. The exponential function and its kin are
those of `fastmlp.kernels.math` there, which fill vector registers: six times as fast an epoch.

The machine code is kept on disk under a digest of the functions (`fastmlp.kernels.digest`): an
edited function is another one, and so is one whose globals have changed.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass
from functools import cache
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import DTypeLike, NDArray

from fastmlp._jit import entry_point, user_function
from fastmlp._linking import Interface, LinkedFunction
from fastmlp.kernels import math as fast_math
from fastmlp.kernels.activations import ACTIVATION, DERIVATIVE, Activation
from fastmlp.kernels.digest import digest_of, globals_of, python_function
from fastmlp.kernels.losses import LOSS, Loss, apply_weights, loss_and_delta

__all__ = ["CustomActivation", "CustomLoss"]

Function = Callable[..., float]

# Where derivatives are checked. Corners are at round numbers, and these are not.
_POINTS = (-7.13, -2.91, -1.37, -0.83, -0.29, -0.057, 0.043, 0.31, 0.79, 1.33, 2.87, 7.19)
_OTHER_POINTS = (-3.41, -0.91, -0.17, 0.23, 0.97, 3.61)
# Steps of the differences, for what is smooth at one scale or computed in float32; how far a point
# that may be a corner is moved; and by what share derivative and difference may differ.
_STEPS, _SHIFT, _TOLERANCE = (1e-4, 1e-2), 0.013, 1e-5
# Functions without a digest are told apart by this.
_numbers = itertools.count()


class CompilationError(ValueError):
    """A user's function is nothing that Numba compiles to a function of numbers."""


@dataclass(frozen=True, repr=False)
class CustomActivation:
    r"""An activation of your own, for ``activation`` and ``out_activation``.

    .. math:: a = f(z), \qquad \partial L / \partial z = f'(z)\, \partial L / \partial a

    Parameters
    ----------
    function : function
        f: a Python function of one number, compiled by Numba (it may be decorated with
        ``numba.njit``, and what it calls must be).
    derivative : function
        f', likewise a function of z.
    check : bool, default=True
        Whether `derivative` is compared with finite differences of `function`, at some points from
        -7 to 7. Corners are no harm. Leave it out where the derivative is meant to be another one,
        as a straight-through estimator's is.

    Raises
    ------
    TypeError
        If `function` or `derivative` is no Python function of one number.
    ValueError
        If `derivative` is not the derivative; the message names a point.

    See Also
    --------
    CustomLoss : A loss of your own.

    Notes
    -----
    Two are equal if their functions are the same ones. Numbers that a function finds in globals or
    in its closure are those of the time when a fit begins.

    Examples
    --------
    >>> from fastmlp import CustomActivation, MLPRegressor
    >>> def softsign(z):
    ...     return z / (1 + abs(z))
    >>> def softsign_derivative(z):
    ...     return 1 / (1 + abs(z)) ** 2
    >>> MLPRegressor(activation=CustomActivation(softsign, softsign_derivative))
    MLPRegressor(activation=CustomActivation(softsign, softsign_derivative))
    """

    function: Function
    derivative: Function
    check: InitVar[bool] = True

    def __post_init__(self, check: bool) -> None:
        _check_signature("CustomActivation", "function", self.function, 1)
        _check_signature("CustomActivation", "derivative", self.derivative, 1)
        if check:
            points = [(z,) for z in _POINTS]
            _check_derivative("derivative", self.function, self.derivative, points)

    def __repr__(self) -> str:
        return f"CustomActivation({self.function.__name__}, {self.derivative.__name__})"

    def __str__(self) -> str:
        return self.function.__name__

    @property
    def row(self) -> Activation:
        """What the table of activations has for a name."""
        function, derivative = self.function, self.derivative
        return _activation_row(function, derivative, digest_of(function), digest_of(derivative))

    def compile(self, dtype: DTypeLike) -> None:
        """Compile both functions, unless they are.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.

        Raises
        ------
        ValueError
            If Numba cannot compile one of them, or it returns no number.
        """
        linked = (self.row.forward, self.row.backward)
        _compile(linked, (self.function, self.derivative), 1, dtype)


@dataclass(frozen=True, repr=False)
class CustomLoss:
    r"""A loss of your own, for ``loss``.

    The loss of a sample is the sum over outputs of :math:`L(a, y)`, a an output of the network, its
    output activation applied, and y its target; for a classifier a is a probability and y is 1 for
    the right class, else 0.

    Parameters
    ----------
    function : function
        L: a Python function of two numbers, prediction and target, compiled by Numba (it may be
        decorated with ``numba.njit``, and what it calls must be).
    gradient : function
        :math:`\partial L / \partial a`, likewise a function of prediction and target.
    check : bool, default=True
        Whether `gradient` is compared with finite differences of `function`, at some predictions
        from -7 to 7 and targets from -4 to 4. Corners, and where a loss is not finite, are no harm.

    Raises
    ------
    TypeError
        If `function` or `gradient` is no Python function of two numbers.
    ValueError
        If `gradient` is not the derivative; the message names a point.

    See Also
    --------
    CustomActivation : An activation of your own.

    Notes
    -----
    Two are equal if their functions are the same ones. Numbers that a function finds in globals or
    in its closure are those of the time when a fit begins.

    Examples
    --------
    >>> import math
    >>> from fastmlp import CustomLoss, MLPRegressor
    >>> def log_cosh(prediction, target):
    ...     return math.log(math.cosh(prediction - target))
    >>> def log_cosh_gradient(prediction, target):
    ...     return math.tanh(prediction - target)
    >>> MLPRegressor(loss=CustomLoss(log_cosh, log_cosh_gradient))
    MLPRegressor(loss=CustomLoss(log_cosh, log_cosh_gradient))
    """

    function: Function
    gradient: Function
    check: InitVar[bool] = True

    def __post_init__(self, check: bool) -> None:
        _check_signature("CustomLoss", "function", self.function, 2)
        _check_signature("CustomLoss", "gradient", self.gradient, 2)
        if check:
            points = list(itertools.product(_POINTS, _OTHER_POINTS))
            _check_derivative("gradient", self.function, self.gradient, points)

    def __repr__(self) -> str:
        return f"CustomLoss({self.function.__name__}, {self.gradient.__name__})"

    def __str__(self) -> str:
        return self.function.__name__

    @property
    def row(self) -> Loss:
        """What the table of losses has for a name."""
        function, gradient = self.function, self.gradient
        return _loss_row(function, gradient, digest_of(function), digest_of(gradient))

    def compile(self, dtype: DTypeLike) -> None:
        """Compile both functions, unless they are.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.

        Raises
        ------
        ValueError
            If Numba cannot compile one of them, or it returns no number.
        """
        _compile((self.row.function,), (self.function, self.gradient), 2, dtype)

    def terms(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
        """Return the loss of each output.

        Parameters
        ----------
        outputs, targets : ndarray of shape (n_samples, n_outputs)
            Of one dtype, float32 or float64. Not modified.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            The losses, of that dtype.
        """
        n_samples, n_units = outputs.shape
        dtype = outputs.dtype
        terms = np.empty(outputs.size, dtype)
        _loss_terms(
            self.row.function.address(dtype),
            n_units,
            np.ascontiguousarray(outputs).reshape(-1),
            np.ascontiguousarray(targets, dtype).reshape(-1),
            np.ones(n_samples, dtype),
            np.zeros(n_units, dtype),
            np.empty_like(terms),
            terms,
        )
        return terms.reshape(outputs.shape)


@entry_point
def _loss_terms(address, n_units, outputs, targets, weights, parameters, delta, terms):  # type: ignore[no-untyped-def]
    loss_and_delta(address, n_units, outputs, targets, weights, parameters, delta, terms)


# -- faster functions ---------------------------------------------------------------------------


def _vectorised(slow: Function, fast: Function, pole: float | None) -> Function:
    """Return what compiles to the fast function for floats, and to the slow one for integers.

    Below its pole, a logarithm is nan. The fast ones leave that to their callers.
    """

    def switch(x: Any) -> Any:
        return slow(x)

    def choose(x):  # type: ignore[no-untyped-def]  # Numba compares it with the implementation's
        if not isinstance(x, types.Float):
            return lambda x: slow(x)  # noqa: PLW0108
        if pole is None:
            return lambda x: fast(x)  # noqa: PLW0108
        number = np.float32 if x == types.float32 else np.float64
        lowest, infinity, nan = number(pole), number(np.inf), number(np.nan)

        def logarithm(x):  # type: ignore[no-untyped-def]
            value = fast(x) if x < infinity else x
            return value if x > lowest else (-infinity if x == lowest else nan)

        return logarithm

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


# -- loops --------------------------------------------------------------------------------------


@cache
def _activation_row(
    function: Function, derivative: Function, digest: str | None, other_digest: str | None
) -> Activation:
    """Return the row of two functions that are what their digests say."""
    f, df = _inlined(function, digest), _inlined(derivative, other_digest)

    def custom_activation(n_units, slope, a):  # type: ignore[no-untyped-def]
        number = a.dtype.type
        for i in range(a.size):
            a[i] = number(f(a[i]))

    def custom_derivative(n_units, slope, z, a, delta):  # type: ignore[no-untyped-def]
        number = delta.dtype.type
        for i in range(delta.size):
            delta[i] *= number(df(z[i]))

    return Activation(
        _linked(custom_activation, ACTIVATION, (digest,)),
        _linked(custom_derivative, DERIVATIVE, (other_digest,)),
        f"{function.__name__}(z)",
        f"{derivative.__name__}(z)",
        keeps_input=True,
    )


@cache
def _loss_row(
    function: Function, gradient: Function, digest: str | None, other_digest: str | None
) -> Loss:
    """Return the row of two functions that are what their digests say."""
    f, df = _inlined(function, digest), _inlined(gradient, other_digest)

    def custom_loss(n_units, outputs, targets, weights, parameters, delta, terms):  # type: ignore[no-untyped-def]
        number = delta.dtype.type
        for i in range(delta.size):
            prediction, target = outputs[i], targets[i]
            delta[i] = number(df(prediction, target))
            terms[i] = number(f(prediction, target))
        apply_weights(n_units, weights, delta, terms)

    linked = _linked(custom_loss, LOSS, (digest, other_digest))
    return Loss(linked, f"{function.__name__}(a, y)", "both")


def _inlined(function: Function, digest: str | None) -> Any:
    """Compile a function into its callers, under a name that no other function has."""
    python = python_function(function)
    names = {name: _faster(value) for name, value in globals_of(python).items()}
    cells = tuple(map(_faster_cell, python.__closure__ or ()))
    copy = FunctionType(python.__code__, names, python.__name__, python.__defaults__, cells)
    copy.__kwdefaults__ = python.__kwdefaults__
    # Of two pieces of machine code by the same name, one would stand for both.
    copy.__module__, copy.__qualname__ = __name__, f"function_{digest or next(_numbers)}"
    return user_function(copy)


def _linked(loop: Any, interface: Interface, digests: tuple[str | None, ...]) -> LinkedFunction:
    """Link a loop, whose machine code is kept where all that it depends on is known."""
    is_known = None not in digests
    suffix = "_".join(map(str, digests)) if is_known else str(next(_numbers))
    loop.__qualname__ = f"{loop.__name__}_{suffix}"
    return LinkedFunction(loop, interface, is_kept=is_known)


def _compile(
    linked: tuple[LinkedFunction, ...],
    functions: tuple[Function, Function],
    n_arguments: int,
    dtype: DTypeLike,
) -> None:
    """Compile loops; if that fails, find out which of the functions in them it is that fails."""
    try:
        for loop in linked:
            loop.address(dtype)
    except Exception as error:
        number = getattr(types, np.dtype(dtype).name)
        for function in functions:
            reason = _why_not(function, (number,) * n_arguments)
            if reason is not None:
                raise CompilationError(
                    f"the function {function.__name__!r} cannot be compiled: {reason}. It must be "
                    "written for single numbers, and what it calls be decorated with numba.njit."
                ) from error
        raise


def _why_not(function: Function, signature: tuple[Any, ...]) -> str | None:
    """Return in one line why a function is nothing for our loops; None if it is."""
    inlined = _inlined(function, None)
    try:
        inlined.compile(signature)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is about the user's function
        lines = [line.strip() for line in str(error).splitlines()]
        lines = [line for line in lines if line and not line.startswith("Failed in ")]
        return lines[0].rstrip(".:") if lines else type(error).__name__
    (result,) = inlined.overloads.values()
    kind = result.signature.return_type
    if isinstance(kind, (types.Boolean, types.Integer, types.Float)):
        return None
    return f"it returns {kind}, not a number"


# -- checks -------------------------------------------------------------------------------------


def _check_signature(owner: str, name: str, value: Any, n_arguments: int) -> None:
    """Raise a TypeError unless a value is a Python function of so many numbers."""
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


def _check_derivative(
    name: str, function: Function, derivative: Function, points: list[tuple[float, ...]]
) -> None:
    """Raise a ValueError where a derivative is another one than that of the function."""
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
