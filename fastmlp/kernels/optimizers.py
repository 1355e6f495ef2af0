r"""Optimizers: in-place updates of a slice of the flat parameter vector, and their table.

An optimizer is added in this file alone: its function and a row in `OPTIMIZERS`.

Contract of ``name(hyper, rates, l2, grads, params, slots, start)``: `grads` and `params` are 1-D
contiguous slices of one length and dtype, the parameters from `start` on, and ``slots[k, start :
start + params.size]`` is their memory; nothing overlaps. `hyper` holds the hyperparameters in
float64, and after them the number of weights: slices that start there or beyond are of biases and
slopes. `rates` is the learning rate of the step, in float64, or what the table's ``correct`` made
of it: one number or several. `grads` holds the mean gradient of the batch without its L2 term; each
loop adds ``l2 * params`` on the fly. `params` and the memory are **overwritten**, and the sum of
squares of the parameters *before* the update is returned, which the reported loss needs and which
costs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmlp._linking import Interface, LinkedFunction

__all__ = ["OPTIMIZERS", "Optimizer", "update"]

OPTIMIZER = Interface(
    "doubles", "doubles", "real", "reals", "reals", "matrix", "int", returns="real"
)
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
        these steps, numbered from 1: of shape (n_steps, n_rates). None where they are those of the
        schedule, one per step.
    """

    function: LinkedFunction
    equation: str
    n_slots: int
    hyperparameters: tuple[str, ...] = ()
    correct: Callable[[Doubles, Doubles, Any], Doubles] | None = None


@OPTIMIZER.function
def no_step(hyper, rates, l2, grads, params, slots, start):
    r"""Complete the gradient, :math:`g \leftarrow g + \lambda w`, and leave the parameters."""
    total = params.dtype.type(0)
    for i in range(params.size):
        total += params[i] * params[i]
        grads[i] += l2 * params[i]
    return total


@OPTIMIZER.function
def sgd(hyper, rates, l2, grads, params, slots, start):
    r"""Take one step of gradient descent, :math:`w \leftarrow w - \eta (g + \lambda w)`."""
    rate = params.dtype.type(rates[0])
    total = params.dtype.type(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        params[i] = w - rate * (grads[i] + l2 * w)
    return total


@OPTIMIZER.function
def momentum(hyper, rates, l2, grads, params, slots, start):
    r"""Take one momentum step, :math:`v \leftarrow \mu v - \eta g,\; w \leftarrow w + v`."""
    mu = params.dtype.type(hyper[0])
    velocity = slots[0, start : start + params.size]
    rate = params.dtype.type(rates[0])
    total = params.dtype.type(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        v = mu * velocity[i] - rate * (grads[i] + l2 * w)
        velocity[i] = v
        params[i] = w + v
    return total


@OPTIMIZER.function
def nesterov(hyper, rates, l2, grads, params, slots, start):
    r"""Take one step with Nesterov's momentum.

    .. math:: v \leftarrow \mu v - \eta g, \qquad w \leftarrow w + \mu v - \eta g

    References
    ----------
    Sutskever et al. (2013), "On the importance of initialization and momentum in deep learning".
    """
    mu = params.dtype.type(hyper[0])
    velocity = slots[0, start : start + params.size]
    rate = params.dtype.type(rates[0])
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
def adam(hyper, rates, l2, grads, params, slots, start):
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
    rate = params.dtype.type(rates[0])
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


@OPTIMIZER.function
def adamw(hyper, rates, l2, grads, params, slots, start):
    r"""Take one Adam step, and shrink the weights, but not the biases, by themselves.

    .. math:: w \leftarrow (1 - \eta d) w - \eta_t\, m / (\sqrt v + \epsilon)

    Notes
    -----
    As in PyTorch, the decay d is multiplied by the rate of the schedule. Epsilon stands as in
    `adam`. The L2 term, if any, is part of the gradient, as for every other optimizer.

    References
    ----------
    Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization".
    """
    number = params.dtype.type
    corrected = number(rates[0])
    kept = number(1.0 - rates[1] * hyper[3]) if start < hyper[4] else number(1)
    beta_1, beta_2, epsilon = number(hyper[0]), number(hyper[1]), number(hyper[2])
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
        params[i] = kept * w - corrected * m / (np.sqrt(v) + epsilon)
    return total


@OPTIMIZER.function
def nadam(hyper, rates, l2, grads, params, slots, start):
    r"""Take one step of Adam with Nesterov's momentum; both bias corrections are in the rates.

    .. math:: w \leftarrow w - (\eta_t\, g + \eta'_t\, m) / (\sqrt v + \epsilon)

    Notes
    -----
    The momentum grows as in PyTorch, by Dozat's schedule. Epsilon stands as in `adam`.

    References
    ----------
    Dozat (2016), "Incorporating Nesterov Momentum into Adam".
    """
    number = params.dtype.type
    rate_of_gradient, rate_of_mean = number(rates[0]), number(rates[1])
    beta_1, beta_2, epsilon = number(hyper[0]), number(hyper[1]), number(hyper[2])
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
        params[i] = w - (rate_of_gradient * g + rate_of_mean * m) / (np.sqrt(v) + epsilon)
    return total


@OPTIMIZER.function
def rmsprop(hyper, rates, l2, grads, params, slots, start):
    r"""Take one step by the gradient over its root mean square, which fades.

    .. math:: v \leftarrow \beta v + (1-\beta) g^2, \quad
              w \leftarrow w - \eta\, g / (\sqrt v + \epsilon)

    Notes
    -----
    As in PyTorch, whose `alpha` is :math:`\beta`, without momentum: epsilon outside the root, no
    bias correction.

    References
    ----------
    Tieleman and Hinton (2012), "Lecture 6.5: rmsprop", Neural Networks for Machine Learning.
    """
    number = params.dtype.type
    beta, epsilon = number(hyper[0]), number(hyper[1])
    rest = number(1.0 - hyper[0])
    square = slots[0, start : start + params.size]
    rate = params.dtype.type(rates[0])
    total = number(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        g = grads[i] + l2 * w
        v = beta * square[i] + rest * g * g
        square[i] = v
        params[i] = w - rate * g / (np.sqrt(v) + epsilon)
    return total


@OPTIMIZER.function
def adagrad(hyper, rates, l2, grads, params, slots, start):
    r"""Take one step by the gradient over the root of its sum of squares so far.

    .. math:: v \leftarrow v + g^2, \quad w \leftarrow w - \eta\, g / (\sqrt v + \epsilon)

    Notes
    -----
    As in PyTorch: v starts at 0, epsilon stands outside the root.

    References
    ----------
    Duchi, Hazan and Singer (2011), "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization".
    """
    number = params.dtype.type
    epsilon = number(hyper[0])
    square = slots[0, start : start + params.size]
    rate = params.dtype.type(rates[0])
    total = number(0)
    for i in range(params.size):
        w = params[i]
        total += w * w
        g = grads[i] + l2 * w
        v = square[i] + g * g
        square[i] = v
        params[i] = w - rate * g / (np.sqrt(v) + epsilon)
    return total


def _adam_rates(hyper: Doubles, rates: Doubles, steps: Any) -> Doubles:
    r"""Return :math:`\eta_t = \eta \sqrt{1-\beta_2^t} / (1-\beta_1^t)`."""
    corrected = rates * np.sqrt(1.0 - hyper[1] ** steps) / (1.0 - hyper[0] ** steps)
    return corrected.reshape(-1, 1)


def _adamw_rates(hyper: Doubles, rates: Doubles, steps: Any) -> Doubles:
    r"""Return Adam's rates, and :math:`\eta` itself, by which the decay is multiplied."""
    return np.column_stack([_adam_rates(hyper, rates, steps), rates])


def _nadam_rates(hyper: Doubles, rates: Doubles, steps: Any) -> Doubles:
    r"""Return the rates of the gradient and of its mean.

    .. math:: \eta \sqrt{1-\beta_2^t}\, \frac{1 - \mu_t}{1 - P_t}, \quad
              \eta \sqrt{1-\beta_2^t}\, \frac{\mu_{t+1}}{1 - P_{t+1}}, \qquad
              \mu_t = \beta_1 (1 - 0.96^{0.004 t} / 2), \quad P_t = \prod_{s \le t} \mu_s
    """

    def momentum_at(step: Any) -> Doubles:
        return np.asarray(hyper[0] * (1.0 - 0.5 * 0.96 ** (0.004 * step)))

    # P_t <= beta_1^t: where that is nothing beside 1, no product need be taken.
    last = int(steps[-1]) + 1
    if hyper[0] < 1e-16:
        last = 1
    else:
        last = min(last, int(np.ceil(-40.0 / np.log(hyper[0]))))
    products = np.append(np.cumprod(momentum_at(np.arange(1, last + 1))), 0.0)
    scaled = rates * np.sqrt(1.0 - hyper[1] ** steps)
    now = scaled * (1.0 - momentum_at(steps)) / (1.0 - products[np.minimum(steps - 1, last)])
    later = scaled * momentum_at(steps + 1) / (1.0 - products[np.minimum(steps, last)])
    return np.column_stack([now, later])


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
    "adamw": Optimizer(
        adamw,
        "adam's step; w -= rate decay w, for weights",
        2,
        ("beta_1", "beta_2", "epsilon", "weight_decay"),
        _adamw_rates,
    ),
    "nadam": Optimizer(
        nadam,
        "m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= (rate_t g + rate'_t m)/(sqrt(v)+eps)",
        2,
        ("beta_1", "beta_2", "epsilon"),
        _nadam_rates,
    ),
    "rmsprop": Optimizer(
        rmsprop,
        "v = b2 v + (1-b2) g^2; w -= rate g/(sqrt(v)+eps)",
        1,
        ("beta_2", "epsilon"),
    ),
    "adagrad": Optimizer(adagrad, "v += g^2; w -= rate g/(sqrt(v)+eps)", 1, ("epsilon",)),
}
