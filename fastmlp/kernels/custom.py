r"""A user's own activations and losses: functions of numbers, compiled into loops over arrays.

`CustomActivation` and `CustomLoss` hold Python functions and nothing else, so that they compare,
copy and pickle as these do. Their `row` is what the tables `ACTIVATIONS` and `LOSSES` have for a
name: the functions are compiled into loops of their own, inlined, for the compute dtype, when they
are first used. What they return is rounded to that dtype.

The machine code is kept on disk under a digest of the functions (`fastmlp.kernels.digest`): an
edited function is another one, and so is one whose globals have changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numpy.typing import DTypeLike, NDArray

from fastmlp._jit import entry_point
from fastmlp._linking import Interface, LinkedFunction
from fastmlp.kernels.activations import ACTIVATION, DERIVATIVE, Activation
from fastmlp.kernels.derivative_check import check_derivative
from fastmlp.kernels.digest import digest_of
from fastmlp.kernels.losses import LOSS, Loss, apply_weights, loss_and_delta
from fastmlp.kernels.user_functions import check_signature, inlined, unique_name, why_not

__all__ = ["CompilationError", "CustomActivation", "CustomLoss"]

Function = Callable[..., float]

# Where derivatives are checked. Corners are at round numbers, and these are not.
_POINTS = (-7.13, -2.91, -1.37, -0.83, -0.29, -0.057, 0.043, 0.31, 0.79, 1.33, 2.87, 7.19)
_OTHER_POINTS = (-3.41, -0.91, -0.17, 0.23, 0.97, 3.61)


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
        check_signature("CustomActivation", "function", self.function, 1)
        check_signature("CustomActivation", "derivative", self.derivative, 1)
        if check:
            points = [(z,) for z in _POINTS]
            check_derivative("derivative", self.function, self.derivative, points)

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
        check_signature("CustomLoss", "function", self.function, 2)
        check_signature("CustomLoss", "gradient", self.gradient, 2)
        if check:
            points = list(itertools.product(_POINTS, _OTHER_POINTS))
            check_derivative("gradient", self.function, self.gradient, points)

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


# -- loops --------------------------------------------------------------------------------------


@cache
def _activation_row(
    function: Function, derivative: Function, digest: str | None, other_digest: str | None
) -> Activation:
    """Return the row of two functions that are what their digests say."""
    f, df = inlined(function, digest), inlined(derivative, other_digest)

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
    f, df = inlined(function, digest), inlined(gradient, other_digest)

    def custom_loss(n_units, outputs, targets, weights, parameters, delta, terms):  # type: ignore[no-untyped-def]
        number = delta.dtype.type
        for i in range(delta.size):
            prediction, target = outputs[i], targets[i]
            delta[i] = number(df(prediction, target))
            terms[i] = number(f(prediction, target))
        apply_weights(n_units, weights, delta, terms)

    linked = _linked(custom_loss, LOSS, (digest, other_digest))
    return Loss(linked, f"{function.__name__}(a, y)", "both")


def _linked(loop: Any, interface: Interface, digests: tuple[str | None, ...]) -> LinkedFunction:
    """Link a loop, whose machine code is kept where all that it depends on is known."""
    loop.__qualname__ = unique_name(loop.__name__, *digests)
    return LinkedFunction(loop, interface, is_kept=None not in digests)


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
            reason = why_not(function, (number,) * n_arguments)
            if reason is not None:
                raise CompilationError(
                    f"the function {function.__name__!r} cannot be compiled: {reason}. It must be "
                    "written for single numbers, and what it calls be decorated with numba.njit."
                ) from error
        raise
