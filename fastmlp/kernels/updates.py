"""Updates of some neighbouring parameters, with the penalties and the limit that a step may have.

Where `total` is said, it is the sum of the weights of a batch's samples, by which penalties are
divided; it is inf for biases and the like, which have none.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import inlined_kernel, kernel
from fastmlp.kernels.optimizers import update
from fastmlp.kernels.penalties import call_add_l1_gradient, call_sum_of_squares
from fastmlp.kernels.views import view

__all__ = ["add_l1", "clipping", "sum_squares", "update_slice"]


@kernel
def add_l1(step, total, grads, params, start, size):
    """Add the gradient of the L1 penalty, if there is one.

    Parameters
    ----------
    step : Step
        The optimizer.
    total : float
        As above.
    grads : ndarray of shape (n_params,)
        **Overwritten** in [start, start + size).
    params : ndarray of shape (n_params,)
        All parameters. Not modified.
    start, size : int
        Which weights.

    Returns
    -------
    float
        The penalty on these weights, times `total`.
    """
    if not step.add_l1:
        return 0.0
    return step.l1 * call_add_l1_gradient(
        step.add_l1, params.dtype.type(step.l1 / total),
        view(params, start, size), view(grads, start, size),
    )  # fmt: skip


@kernel
def sum_squares(step, total, grads, params, start, size):
    """Return the sum of squares of the gradient, the L2 term that it lacks included.

    Parameters
    ----------
    step : Step
        The optimizer, with a limit of the norm.
    total : float
        As above.
    grads, params : ndarray of shape (n_params,)
        Not modified.
    start, size : int
        Which parameters.

    Returns
    -------
    float
        The sum.
    """
    return call_sum_of_squares(
        step.sum_squares, params.dtype.type(step.alpha / total),
        view(params, start, size), view(grads, start, size),
    )  # fmt: skip


@inlined_kernel
def clipping(step, squares):
    """Return what shortens the gradient to its largest norm.

    Parameters
    ----------
    step : Step
        The optimizer.
    squares : float
        Sum of squares of the whole gradient.

    Returns
    -------
    float
        At most 1; nan where the gradient is, or where its norm overflows: a step of length 0
        would hide that.
    """
    norm = np.sqrt(squares)
    if norm == np.inf:
        return np.nan
    return 1.0 if norm <= step.max_norm else step.max_norm / norm


@kernel
def update_slice(step, rates, total, factor, grads, params, start, size):
    """Update some parameters.

    Parameters
    ----------
    step : Step
        The optimizer. Its memory is **overwritten** in [start, start + size).
    rates : ndarray of float64
        What the optimizer is given as the rates of the step.
    total : float
        As above.
    factor : float
        What shortens the gradient.
    grads, params : ndarray of shape (n_params,)
        **Overwritten** in [start, start + size).
    start, size : int
        Which parameters.

    Returns
    -------
    float
        Their L2 penalty before the update, times `total`.
    """
    some = view(grads, start, size)
    if factor != 1:
        for i in range(size):
            some[i] *= factor
    l2 = params.dtype.type(step.alpha / total) * factor
    squares = update(
        step.optimizer, step.hyper, rates, l2, some, view(params, start, size), step.slots, start
    )
    return 0.5 * step.alpha * squares
