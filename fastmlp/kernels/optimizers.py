r"""Optimizers: in-place updates of a slice of the flat parameter vector, and their table.

An optimizer is added in this file alone: its loop, a branch in `update` and a row in `OPTIMIZERS`.

Contract: `grads`, `params` and the slots are 1-D contiguous slices of one length and dtype, which
do not overlap. `grads` holds the mean gradient of the batch without its L2 term; each loop adds
``l2 * params`` on the fly and returns the sum of squares of the parameters *before* the update,
which the reported loss needs and which costs nothing here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmlp._jit import inlined_kernel, kernel

__all__ = ["OPTIMIZERS", "Optimizer", "corrected_rate", "update"]


class Optimizer(NamedTuple):
    """What the rest of the package knows of an optimizer.

    Attributes
    ----------
    code : int
        What stands for it in compiled code.
    equation : str
        The step, for people; g is the mean gradient with its L2 term.
    n_slots : int
        Arrays of the length of the parameters that it keeps between steps.
    hyperparameters : tuple of str
        Names of the estimator parameters it reads, in the order of the `hyper` array.
    """

    code: int
    equation: str
    n_slots: int
    hyperparameters: tuple[str, ...] = ()


NO_STEP, SGD, MOMENTUM, NESTEROV, ADAM = range(5)

OPTIMIZERS: dict[str, Optimizer] = {
    "no_step": Optimizer(NO_STEP, "g = g + l2 w, w unchanged: for solvers that run elsewhere", 0),
    "sgd": Optimizer(SGD, "w -= rate g", 0),
    "momentum": Optimizer(MOMENTUM, "v = mu v - rate g; w += v", 1, ("momentum",)),
    "nesterov": Optimizer(
        NESTEROV, "v = mu v - rate g; w += mu v - rate g", 1, ("momentum",)
    ),
    "adam": Optimizer(
        ADAM,
        "m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; "
        "w -= rate sqrt(1-b2^t)/(1-b1^t) m/(sqrt(v)+eps)",
        2,
        ("beta_1", "beta_2", "epsilon"),
    ),
}  # fmt: skip


@kernel
def no_step(grads, l2, params):
    r"""Complete the gradient, :math:`g \leftarrow g + \lambda w`, and leave the parameters.

    Parameters
    ----------
    grads : ndarray of shape (n,)
        Mean gradient of the batch. **Overwritten.**
    l2 : float
        L2 factor.
    params : ndarray of shape (n,)
        Not modified.

    Returns
    -------
    float
        Sum of squares of the parameters.
    """
    total = params.dtype.type(0)
    for i in range(params.size):
        total += params[i] * params[i]
        grads[i] += l2 * params[i]
    return total


@kernel
def sgd(grads, rate, l2, params):
    r"""Take one step of gradient descent, :math:`w \leftarrow w - \eta (g + \lambda w)`.

    Parameters
    ----------
    grads : ndarray of shape (n,)
        Mean gradient of the batch. Not modified.
    rate, l2 : float
        Step size and L2 factor.
    params : ndarray of shape (n,)
        **Overwritten.**

    Returns
    -------
    float
        Sum of squares of the old parameters.
    """
    total = params.dtype.type(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        params[i] = w - rate * (grads[i] + l2 * w)
    return total


@kernel
def momentum(grads, rate, l2, mu, params, velocity):
    r"""Take one momentum step, :math:`v \leftarrow \mu v - \eta g,\; w \leftarrow w + v`.

    Parameters
    ----------
    grads : ndarray of shape (n,)
        Mean gradient of the batch. Not modified.
    rate, l2, mu : float
        Step size, L2 factor, momentum in [0, 1].
    params, velocity : ndarray of shape (n,)
        **Overwritten.**

    Returns
    -------
    float
        Sum of squares of the old parameters.
    """
    total = params.dtype.type(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        v = mu * velocity[i] - rate * (grads[i] + l2 * w)
        velocity[i] = v
        params[i] = w + v
    return total


@kernel
def nesterov(grads, rate, l2, mu, params, velocity):
    r"""Take one step with Nesterov's momentum.

    .. math:: v \leftarrow \mu v - \eta g, \qquad w \leftarrow w + \mu v - \eta g

    Parameters
    ----------
    grads : ndarray of shape (n,)
        Mean gradient of the batch. Not modified.
    rate, l2, mu : float
        Step size, L2 factor, momentum in [0, 1].
    params, velocity : ndarray of shape (n,)
        **Overwritten.**

    Returns
    -------
    float
        Sum of squares of the old parameters.

    References
    ----------
    Sutskever et al. (2013), "On the importance of initialization and momentum in deep learning".
    """
    total = params.dtype.type(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        step = rate * (grads[i] + l2 * w)
        v = mu * velocity[i] - step
        velocity[i] = v
        params[i] = w + (mu * v - step)
    return total


@kernel
def adam(grads, rate, l2, beta_1, rest_1, beta_2, rest_2, epsilon, params, mean, square):
    r"""Take one Adam step.

    .. math:: m \leftarrow \beta_1 m + (1-\beta_1) g, \quad
              v \leftarrow \beta_2 v + (1-\beta_2) g^2, \quad
              w \leftarrow w - \eta_t\, m / (\sqrt v + \epsilon)

    Parameters
    ----------
    grads : ndarray of shape (n,)
        Mean gradient of the batch. Not modified.
    rate : float
        :math:`\eta_t = \eta \sqrt{1-\beta_2^t} / (1-\beta_1^t)`, bias correction included.
    l2 : float
        L2 factor.
    beta_1, rest_1, beta_2, rest_2 : float
        Decay rates in [0, 1) and what they lack of 1, subtracted in float64: in float32,
        1 - 0.999 is off by 1e-5.
    epsilon : float
        Keeps the quotient finite.
    params, mean, square : ndarray of shape (n,)
        **Overwritten.**

    Returns
    -------
    float
        Sum of squares of the old parameters.

    Notes
    -----
    Epsilon stands outside the bias correction, as in scikit-learn; PyTorch and optax add it after
    correcting v.

    References
    ----------
    Kingma and Ba (2015), "Adam: A Method for Stochastic Optimization", Algorithm 1 and section 2.
    """
    total = params.dtype.type(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        g = grads[i] + l2 * w
        m = beta_1 * mean[i] + rest_1 * g
        v = beta_2 * square[i] + rest_2 * g * g
        mean[i] = m
        square[i] = v
        params[i] = w - rate * m / (np.sqrt(v) + epsilon)
    return total


@inlined_kernel
def corrected_rate(code, hyper, rate, step):
    """Return the step size of step number `step`, in float64, bias correction included.

    Parameters
    ----------
    code : int
        ``OPTIMIZERS[name].code``.
    hyper : ndarray
        The optimizer's hyperparameters.
    rate : float
        Learning rate of the schedule.
    step : int
        Number of this step, from 1.

    Returns
    -------
    float
        The factor of the update.
    """
    if code == ADAM:
        return rate * math.sqrt(1.0 - hyper[1] ** step) / (1.0 - hyper[0] ** step)
    return rate


@kernel
def update(code, hyper, rate, l2, grads, params, slots, start, stop):
    """Update the parameters [start, stop) in place.

    Parameters
    ----------
    code : int
        ``OPTIMIZERS[name].code``.
    hyper : ndarray of float64
        The optimizer's hyperparameters.
    rate : float
        What `corrected_rate` returns, in the dtype of `params`.
    l2 : float
        L2 factor of these parameters, in the dtype of `params`.
    grads : ndarray of shape (stop - start,)
        Their mean gradient.
    params : ndarray of shape (n_params,)
        **Overwritten** in [start, stop).
    slots : ndarray of shape (n_slots, n_params)
        The optimizer's memory. **Overwritten** in [:, start:stop).
    start, stop : int
        The slice.

    Returns
    -------
    float
        Sum of squares of the old parameters of the slice.
    """
    number = params.dtype.type
    w = params[start:stop]
    if code == ADAM:
        return adam(
            grads, rate, l2, number(hyper[0]), number(1.0 - hyper[0]), number(hyper[1]),
            number(1.0 - hyper[1]), number(hyper[2]), w, slots[0, start:stop],
            slots[1, start:stop],
        )  # fmt: skip
    if code == NESTEROV:
        return nesterov(grads, rate, l2, number(hyper[0]), w, slots[0, start:stop])
    if code == MOMENTUM:
        return momentum(grads, rate, l2, number(hyper[0]), w, slots[0, start:stop])
    if code == SGD:
        return sgd(grads, rate, l2, w)
    return no_step(grads, l2, w)
