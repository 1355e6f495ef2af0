r"""What a step may need besides the optimizer: the L1 penalty, and the norm of the gradient."""

from __future__ import annotations

from fastmlp._linking import Interface

__all__ = ["add_l1_gradient", "call_add_l1_gradient", "call_sum_of_squares", "sum_of_squares"]

_PENALTY = Interface("real", "reals", "reals", returns="double")
call_add_l1_gradient = _PENALTY.caller("Add the gradient of the L1 penalty; return |w|_1.")
call_sum_of_squares = _PENALTY.caller("Return the sum of squares of the complete gradient.")


@_PENALTY.function
def add_l1_gradient(l1, params, grads):
    r"""Add a subgradient of the L1 penalty, :math:`g \leftarrow g + \lambda\, \mathrm{sign}(w)`.

    Parameters
    ----------
    l1 : float
        The penalty :math:`\lambda`, over the sum of the batch's weights.
    params : ndarray of shape (n,)
        Weights. Not modified.
    grads : ndarray of shape (n,)
        **Overwritten.**

    Returns
    -------
    float
        :math:`\sum |w|`.
    """
    zero, total = params.dtype.type(0), params.dtype.type(0)
    for i in range(params.size):
        w = params[i]
        grads[i] += l1 if w > zero else (-l1 if w < zero else zero)
        total += abs(w)
    return float(total)


@_PENALTY.function
def sum_of_squares(l2, params, grads):
    r"""Return :math:`\sum (g + \lambda w)^2`, of the gradient that an optimizer will complete.

    Parameters
    ----------
    l2 : float
        The L2 penalty :math:`\lambda`, over the sum of the batch's weights.
    params, grads : ndarray of shape (n,)
        Not modified.

    Returns
    -------
    float
        The sum.
    """
    # In float64: the square of what is still finite must not overflow.
    total = 0.0
    for i in range(params.size):
        g = float(grads[i] + l2 * params[i])
        total += g * g
    return total
