r"""Losses, their gradients, and the table that names them.

A loss is added in this file alone: its function and a row in `LOSSES`.

Contract of ``name(n_units, values, targets, weights, parameters, delta, terms)``: 1-D contiguous
arrays of one dtype; ``weights.size`` samples of `n_units` outputs, rows one after another.
`values`, `targets`, the samples' `weights` and the loss's own `parameters`, one number per output
(the quantile, say; a loss over whole rows reads the first), are read; `delta`, of the size of
`values`, and `terms` are **overwritten** by the weighted gradient with respect to `values` and the
weighted loss, one per row where the table says ``has_term_per_row``, else one per output.

A loss that ``takes_logits`` has its output activation merged into it (softmax with
cross-entropy, logistic with binary cross-entropy, exp with Poisson deviance): it reads
pre-activations and writes :math:`\partial L/\partial z`, which for these pairs is out - y, free of
cancellation. The others read outputs and write :math:`\partial L/\partial a`, for any
output activation. Losses of single terms are written out, not summed, so that their sum does not
depend on how rows were shared between threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp._jit import inlined_kernel, kernel
from fastmlp._linking import Interface, LinkedFunction, Table
from fastmlp.kernels.math import exp, expm1, log, log1p
from fastmlp.kernels.views import view

__all__ = ["LOSS", "LOSSES", "Loss", "apply_weights", "loss_and_delta"]

LOSS = Interface("int", "reals", "reals", "reals", "reals", "reals", "reals")
loss_and_delta = LOSS.caller("Write loss terms and their gradient.")


class Loss(NamedTuple):
    """What the rest of the package knows of a loss.

    Attributes
    ----------
    function : LinkedFunction
        The loop.
    equation : str
        L for one sample, for people.
    task : str
        ``"classification"``, ``"regression"`` or ``"both"``.
    output_activation : str or None
        The one output activation merged into the loss; None: any, identity by default.
    has_term_per_row : bool
        Whether it writes one term per row rather than one per output.
    averages_outputs : bool
        Whether the reported loss is the mean over outputs, as scikit-learn's squared error is,
        rather than their sum. The gradient is that of the sum in either case.
    parameter : str or None
        The estimator parameter that it reads.
    default : float
        Its default.
    """

    function: LinkedFunction
    equation: str
    task: str
    output_activation: str | None = None
    has_term_per_row: bool = False
    averages_outputs: bool = False
    parameter: str | None = None
    default: float = 0.0

    @property
    def takes_logits(self) -> bool:
        """Whether the output activation is merged into the loss."""
        return self.output_activation is not None


@LOSS.function
def softmax_cross_entropy(n_units, logits, targets, weights, parameters, delta, terms):
    r"""Softmax and cross-entropy as one stable step, with smoothed labels where s > 0.

    .. math:: L = \log\sum_j e^{z_j - m} - \sum_j y_j (z_j - m), \quad m = \max_j z_j, \quad
              y_j = (1 - s) [j = y] + s / K, \qquad \partial L/\partial z_j = p_j - y_j

    Notes
    -----
    As in scikit-learn, a probability enters its logarithm clipped to [eps, 1 - eps].

    References
    ----------
    Szegedy et al. (2016), "Rethinking the Inception Architecture for Computer Vision", section 7.
    """
    _softmax_cross_entropy(n_units, logits, targets, weights, parameters[0], delta, terms)


@kernel
def _softmax_cross_entropy(n_units, logits, targets, weights, smoothing, delta, terms):
    n_rows, one = weights.size, delta.dtype.type(1)
    share = smoothing / delta.dtype.type(n_units)
    for i in range(n_rows):
        row, out = view(logits, i * n_units, n_units), view(delta, i * n_units, n_units)
        largest = row[0]
        for j in range(1, n_units):
            largest = max(largest, row[j])
        for j in range(n_units):
            out[j] = row[j] - largest
        terms[i] = out[int(targets[i])]
        if smoothing != 0:
            terms[i] *= one - smoothing
            for j in range(n_units):
                terms[i] += share * out[j]
    # One flat loop: rows are often too short to fill a vector register.
    for i in range(n_rows * n_units):
        delta[i] = exp(delta[i])
    epsilon = _epsilon(delta)
    # Of 1 - eps and of eps; the former is eps to rounding.
    smallest, most = epsilon, -log(epsilon)
    for i in range(n_rows):
        out = view(delta, i * n_units, n_units)
        total = delta.dtype.type(0)
        for j in range(n_units):
            total += out[j]
        weight = weights[i]
        factor = weight / total
        for j in range(n_units):
            out[j] *= factor
        out[int(targets[i])] -= (one - smoothing) * weight
        if smoothing != 0:
            for j in range(n_units):
                out[j] -= share * weight
        loss = log(total) - terms[i]
        loss = smallest if loss < smallest else loss
        terms[i] = weight * (most if loss > most else loss)


@LOSS.function
def logistic_cross_entropy(n_units, logits, targets, weights, parameters, delta, terms):
    r"""Logistic output and binary cross-entropy as one stable step, with smoothed labels if s > 0.

    .. math:: L = \max(z, 0) - y' z + \log(1 + e^{-|z|}), \quad y' = y + s (1/2 - y), \qquad
              \partial L/\partial z = a - y'
    """
    _logistic_cross_entropy(logits, targets, parameters[0], delta, terms)
    apply_weights(n_units, weights, delta, terms)


@kernel
def _logistic_cross_entropy(logits, targets, smoothing, delta, terms):
    zero, one, half = delta.dtype.type(0), delta.dtype.type(1), delta.dtype.type(0.5)
    smallest = _epsilon(delta)
    most = -log(smallest)
    for i in range(delta.size):
        z, y = logits[i], targets[i]
        y += smoothing * (half - y)
        e = exp(-abs(z))
        delta[i] = (e if z < zero else one) / (one + e) - y
        loss = (zero if z < zero else z) - z * y + log1p(e)
        loss = smallest if loss < smallest else loss
        terms[i] = most if loss > most else loss


@LOSS.function
def softmax_focal(n_units, logits, targets, weights, parameters, delta, terms):
    r"""Softmax and focal loss, which is cross-entropy where the right class is improbable.

    .. math:: L = (1 - p_y)^\gamma u, \quad u = -\log p_y, \qquad
              \partial L/\partial z_j = (1 - p_y)^\gamma
              \left(1 + \gamma u \frac{p_y}{1 - p_y}\right) (p_j - [j = y])

    Notes
    -----
    With :math:`\gamma = 0` it is the cross-entropy. Probabilities are clipped likewise.

    References
    ----------
    Lin et al. (2017), "Focal Loss for Dense Object Detection".
    """
    zero = delta.dtype.type(0)
    _softmax_cross_entropy(n_units, logits, targets, weights, zero, delta, terms)
    for i in range(weights.size):
        if weights[i] != 0:
            factor, steepness = _focus(terms[i] / weights[i], parameters[0])
            terms[i] *= factor
            for j in range(i * n_units, (i + 1) * n_units):
                delta[j] *= steepness


@LOSS.function
def logistic_focal(n_units, logits, targets, weights, parameters, delta, terms):
    r"""Logistic output and focal loss: as `softmax_focal`, with p the probability of y.

    .. math:: L = (1 - p)^\gamma u, \quad u = -\log p, \qquad
              \partial L/\partial z = (1 - p)^\gamma
              \left(1 + \gamma u \frac{p}{1 - p}\right) (a - y)
    """
    _logistic_cross_entropy(logits, targets, delta.dtype.type(0), delta, terms)
    for i in range(delta.size):
        factor, steepness = _focus(terms[i], parameters[0])
        terms[i] *= factor
        delta[i] *= steepness
    apply_weights(n_units, weights, delta, terms)


@inlined_kernel
def _focus(u, gamma):
    """Return what focal loss multiplies the cross-entropy u >= eps and its gradient by."""
    p, rest = exp(-u), -expm1(-u)
    factor = exp(gamma * log(rest))
    return factor, factor + factor * gamma * u * p / rest


@LOSS.function
def squared_error(n_units, outputs, targets, weights, parameters, delta, terms):
    r"""Half the squared error, :math:`L = (a - y)^2/2`, :math:`\partial L/\partial a = a - y`."""
    half = delta.dtype.type(0.5)
    for i in range(delta.size):
        error = outputs[i] - targets[i]
        delta[i] = error
        terms[i] = half * error * error
    apply_weights(n_units, weights, delta, terms)


@LOSS.function
def absolute_error(n_units, outputs, targets, weights, parameters, delta, terms):
    r"""Absolute error.

    .. math:: L = |a - y|, \qquad \partial L/\partial a = \mathrm{sign}(a - y)
    """
    zero, one = delta.dtype.type(0), delta.dtype.type(1)
    for i in range(delta.size):
        error = outputs[i] - targets[i]
        # What is neither, 0 or nan, is its own sign.
        sign = one if error > zero else (-one if error < zero else error)
        delta[i] = sign
        terms[i] = sign * error
    apply_weights(n_units, weights, delta, terms)


@LOSS.function
def huber(n_units, outputs, targets, weights, parameters, delta, terms):
    r"""Half the squared error where it is small, and a multiple of the absolute error beyond.

    .. math:: L = c (e - c/2), \quad e = a - y, \quad c = \min(\max(e, -d), d), \qquad
              \partial L/\partial a = c

    References
    ----------
    Huber (1964), "Robust Estimation of a Location Parameter".
    """
    half = delta.dtype.type(0.5)
    for i in range(weights.size):
        for j in range(n_units):
            k, bound = i * n_units + j, parameters[j]
            error = outputs[k] - targets[k]
            clipped = bound if error > bound else (-bound if error < -bound else error)
            delta[k] = clipped
            terms[k] = clipped * (error - half * clipped)
    apply_weights(n_units, weights, delta, terms)


@LOSS.function
def quantile(n_units, outputs, targets, weights, parameters, delta, terms):
    r"""Pinball loss, least where a share q of the targets is below the output.

    .. math:: L = \max(q (y - a), (q - 1) (y - a)), \qquad
              \partial L/\partial a = [a > y] - q, \quad 0 \text{ where } a = y

    References
    ----------
    Koenker and Bassett (1978), "Regression Quantiles".
    """
    zero, one = delta.dtype.type(0), delta.dtype.type(1)
    for i in range(weights.size):
        for j in range(n_units):
            k, q = i * n_units + j, parameters[j]
            error = outputs[k] - targets[k]
            slope = one - q if error > zero else (-q if error < zero else error)
            delta[k] = slope
            terms[k] = slope * error
    apply_weights(n_units, weights, delta, terms)


@LOSS.function
def poisson(n_units, logits, targets, weights, parameters, delta, terms):
    r"""Exponential output and half the Poisson deviance.

    .. math:: L = y \log(y / a) - y + a, \quad a = e^z, \qquad \partial L/\partial z = a - y
    """
    zero, one = delta.dtype.type(0), delta.dtype.type(1)
    for i in range(delta.size):
        z, y = logits[i], targets[i]
        mean = exp(z)
        delta[i] = mean - y
        terms[i] = y * (log(y if y > zero else one) - z) - y + mean
    apply_weights(n_units, weights, delta, terms)


@LOSS.function
def gamma(n_units, logits, targets, weights, parameters, delta, terms):
    r"""Exponential output and half the gamma deviance, for y > 0.

    .. math:: L = y / a - 1 - \log(y / a), \quad a = e^z, \qquad \partial L/\partial z = 1 - y / a
    """
    for i in range(delta.size):
        logarithm = log(targets[i]) - logits[i]
        excess = expm1(logarithm)
        delta[i] = -excess
        terms[i] = excess - logarithm
    apply_weights(n_units, weights, delta, terms)


@inlined_kernel
def _epsilon(like):
    return np.finfo(like.dtype).eps


@kernel
def apply_weights(n_units, weights, delta, terms):
    """Multiply a loss that has one term per output by the weights of the samples.

    Parameters
    ----------
    n_units : int
        Outputs per sample.
    weights : ndarray of shape (n_rows,)
        Weights of the samples. Not modified.
    delta, terms : ndarray of shape (n_rows * n_units,)
        Gradient and loss, **multiplied** in place.
    """
    for i in range(weights.size):
        weight = weights[i]
        if weight != 1:
            for j in range(i * n_units, (i + 1) * n_units):
                delta[j] *= weight
                terms[j] *= weight


LOSSES: Table[Loss] = Table()
LOSSES |= {
    "softmax_cross_entropy": Loss(
        softmax_cross_entropy,
        "-sum_i y_i log a_i",
        "classification",
        "softmax",
        has_term_per_row=True,
        parameter="label_smoothing",
    ),
    "logistic_cross_entropy": Loss(
        logistic_cross_entropy,
        "-y log a - (1 - y) log(1 - a)",
        "classification",
        "logistic",
        parameter="label_smoothing",
    ),
    "softmax_focal": Loss(
        softmax_focal,
        "-sum_i y_i (1 - a_i)^gamma log a_i",
        "classification",
        "softmax",
        has_term_per_row=True,
        parameter="focal_gamma",
        default=2.0,
    ),
    "logistic_focal": Loss(
        logistic_focal,
        "-y (1 - a)^gamma log a - (1 - y) a^gamma log(1 - a)",
        "classification",
        "logistic",
        parameter="focal_gamma",
        default=2.0,
    ),
    "squared_error": Loss(squared_error, "(a - y)^2 / 2", "both", averages_outputs=True),
    "absolute_error": Loss(absolute_error, "|a - y|", "regression"),
    "huber": Loss(
        huber,
        "(a - y)^2 / 2 if |a - y| <= d, else d (|a - y| - d / 2)",
        "regression",
        parameter="huber_delta",
        default=1.0,
    ),
    "quantile": Loss(
        quantile,
        "max(q (y - a), (q - 1) (y - a))",
        "regression",
        parameter="quantile",
        default=0.5,
    ),
    "poisson": Loss(poisson, "y log(y / a) - y + a", "regression", "exp"),
    "gamma": Loss(gamma, "y / a - 1 - log(y / a)", "regression", "exp"),
}
