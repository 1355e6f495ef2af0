r"""Optimizers: in-place updates of a slice of the flat parameter vector, and their table.

An optimizer is added in this file alone: its function and a row in `OPTIMIZERS`.

Contract of ``name(hyper, rate, l2, grads, params, slots, start)``: `grads` and `params` are 1-D
contiguous slices of one length and dtype, the parameters from `start` on, and ``slots[k, start :
start + params.size]`` is their memory; nothing overlaps. `hyper` holds the hyperparameters in
float64. `grads` holds the mean gradient of the batch without its L2 term; each loop adds
``l2 * params`` on the fly. `params` and the memory are **overwritten**, and the sum of squares of
the parameters *before* the update is returned, which the reported loss needs and which costs
nothing here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmlp._linking import Interface, LinkedFunction

__all__ = ["OPTIMIZERS", "Optimizer", "update"]

OPTIMIZER = Interface("doubles", "real", "real", "reals", "reals", "matrix", "int", returns="real")
update = OPTIMIZER.caller("Update parameters; return the sum of squares of the old ones.")
Doubles = NDArray[np.float64]


class Optimizer(NamedTuple):
    """What the rest of the package knows of an optimizer.

    Attributes
    ----------
    function : LinkedFunction
        The loop.
    equation : str
        The step, for people; g is the mean gradient with its L2 term.
    n_slots : int
        Arrays of the length of the parameters that it keeps between steps.
    hyperparameters : tuple of str
        Names of the estimator parameters it reads, in the order of the `hyper` array.
    correct : callable or None
        ``correct(hyper, rates, steps)`` returns the rates, in float64, that the loop is given at
        these steps, numbered from 1; None where they are those of the schedule.
    """

    function: LinkedFunction
    equation: str
    n_slots: int
    hyperparameters: tuple[str, ...] = ()
    correct: Callable[[Doubles, Doubles, Any], Doubles] | None = None


@OPTIMIZER.function
def no_step(hyper, rate, l2, grads, params, slots, start):
    r"""Complete the gradient, :math:`g \leftarrow g + \lambda w`, and leave the parameters."""
    total = params.dtype.type(0)
    for i in range(params.size):
        total += params[i] * params[i]
        grads[i] += l2 * params[i]
    return total


@OPTIMIZER.function
def sgd(hyper, rate, l2, grads, params, slots, start):
    r"""Take one step of gradient descent, :math:`w \leftarrow w - \eta (g + \lambda w)`."""
    total = params.dtype.type(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        params[i] = w - rate * (grads[i] + l2 * w)
    return total


@OPTIMIZER.function
def momentum(hyper, rate, l2, grads, params, slots, start):
    r"""Take one momentum step, :math:`v \leftarrow \mu v - \eta g,\; w \leftarrow w + v`."""
    mu = params.dtype.type(hyper[0])
    velocity = slots[0, start : start + params.size]
    total = params.dtype.type(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        v = mu * velocity[i] - rate * (grads[i] + l2 * w)
        velocity[i] = v
        params[i] = w + v
    return total


@OPTIMIZER.function
def nesterov(hyper, rate, l2, grads, params, slots, start):
    r"""Take one step with Nesterov's momentum.

    .. math:: v \leftarrow \mu v - \eta g, \qquad w \leftarrow w + \mu v - \eta g

    References
    ----------
    Sutskever et al. (2013), "On the importance of initialization and momentum in deep learning".
    """
    mu = params.dtype.type(hyper[0])
    velocity = slots[0, start : start + params.size]
    total = params.dtype.type(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        step = rate * (grads[i] + l2 * w)
        v = mu * velocity[i] - step
        velocity[i] = v
        params[i] = w + (mu * v - step)
    return total


@OPTIMIZER.function
def adam(hyper, rate, l2, grads, params, slots, start):
    r"""Take one Adam step; the bias correction is in the rate.

    .. math:: m \leftarrow \beta_1 m + (1-\beta_1) g, \quad
              v \leftarrow \beta_2 v + (1-\beta_2) g^2, \quad
              w \leftarrow w - \eta_t\, m / (\sqrt v + \epsilon)

    Notes
    -----
    Epsilon stands outside the bias correction, as in scikit-learn; PyTorch and optax add it after
    correcting v.

    References
    ----------
    Kingma and Ba (2015), "Adam: A Method for Stochastic Optimization", Algorithm 1 and section 2.
    """
    number = params.dtype.type
    beta_1, beta_2, epsilon = number(hyper[0]), number(hyper[1]), number(hyper[2])
    # Subtracted in float64: in float32, 1 - 0.999 is off by 1e-5.
    rest_1, rest_2 = number(1.0 - hyper[0]), number(1.0 - hyper[1])
    mean, square = slots[0, start : start + params.size], slots[1, start : start + params.size]
    total = number(0)
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


def _adam_rates(hyper: Doubles, rates: Doubles, steps: Any) -> Doubles:
    r"""Return :math:`\eta_t = \eta \sqrt{1-\beta_2^t} / (1-\beta_1^t)`."""
    return rates * np.sqrt(1.0 - hyper[1] ** steps) / (1.0 - hyper[0] ** steps)


OPTIMIZERS: dict[str, Optimizer] = {
    "no_step": Optimizer(no_step, "g = g + l2 w, w unchanged: for solvers that run elsewhere", 0),
    "sgd": Optimizer(sgd, "w -= rate g", 0),
    "momentum": Optimizer(momentum, "v = mu v - rate g; w += v", 1, ("momentum",)),
    "nesterov": Optimizer(nesterov, "v = mu v - rate g; w += mu v - rate g", 1, ("momentum",)),
    "adam": Optimizer(
        adam,
        "m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; "
        "w -= rate sqrt(1-b2^t)/(1-b1^t) m/(sqrt(v)+eps)",
        2,
        ("beta_1", "beta_2", "epsilon"),
        _adam_rates,
    ),
}
