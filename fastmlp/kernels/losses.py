r"""Losses, their gradients, and the table that names them.

A loss is added in this file alone: its function and a row in `LOSSES`.

Contract of ``name(n_units, values, targets, weights, delta, terms)``: 1-D contiguous arrays of one
dtype; ``weights.size`` samples of `n_units` outputs, rows one after another. `values`, `targets`
and the samples' `weights` are read; `delta`, of the size of `values`, and `terms` are
**overwritten** by the weighted gradient with respect to `values` and the weighted loss, the latter
one per row where the table says ``has_term_per_row``, else one per output.

A loss that ``takes_logits`` has its output activation merged into it (softmax with
cross-entropy, logistic with binary cross-entropy, exp with Poisson deviance): it reads
pre-activations and writes :math:`\partial L/\partial z`, which is out - y for each of these pairs,
free of cancellation. The others read outputs and write :math:`\partial L/\partial a`, for any
output activation. Losses of single terms are written out, not summed, so that their sum does not
depend on how rows were shared between threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp._jit import inlined_kernel, kernel
from fastmlp._linking import Interface, LinkedFunction
from fastmlp.kernels.math import exp, log, log1p
from fastmlp.kernels.views import view

__all__ = ["LOSSES", "Loss", "loss_and_delta"]

LOSS = Interface("int", "reals", "reals", "reals", "reals", "reals")
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
    """

    function: LinkedFunction
    equation: str
    task: str
    output_activation: str | None = None
    has_term_per_row: bool = False
    averages_outputs: bool = False

    @property
    def takes_logits(self) -> bool:
        """Whether the output activation is merged into the loss."""
        return self.output_activation is not None


@LOSS.function
def softmax_cross_entropy(n_units, logits, targets, weights, delta, terms):
    r"""Softmax and cross-entropy as one stable step.

    .. math:: L = \log\sum_j e^{z_j - m} - (z_y - m), \quad m = \max_j z_j, \qquad
              \partial L/\partial z_j = p_j - [j = y]

    Notes
    -----
    As in scikit-learn, a probability enters its logarithm clipped to [eps, 1 - eps].
    """
    n_rows = weights.size
    for i in range(n_rows):
        row, out = view(logits, i * n_units, n_units), view(delta, i * n_units, n_units)
        largest = row[0]
        for j in range(1, n_units):
            largest = max(largest, row[j])
        for j in range(n_units):
            out[j] = row[j] - largest
        terms[i] = out[int(targets[i])]
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
        out[int(targets[i])] -= weight
        loss = log(total) - terms[i]
        loss = smallest if loss < smallest else loss
        terms[i] = weight * (most if loss > most else loss)


@LOSS.function
def logistic_cross_entropy(n_units, logits, targets, weights, delta, terms):
    r"""Logistic output and binary cross-entropy as one stable step.

    .. math:: L = \max(z, 0) - y z + \log(1 + e^{-|z|}), \qquad \partial L/\partial z = a - y
    """
    zero, one = delta.dtype.type(0), delta.dtype.type(1)
    smallest = _epsilon(delta)
    most = -log(smallest)
    for i in range(delta.size):
        z, y = logits[i], targets[i]
        e = exp(-abs(z))
        delta[i] = (e if z < zero else one) / (one + e) - y
        loss = (zero if z < zero else z) - z * y + log1p(e)
        loss = smallest if loss < smallest else loss
        terms[i] = most if loss > most else loss
    _apply_weights(n_units, weights, delta, terms)


@LOSS.function
def squared_error(n_units, outputs, targets, weights, delta, terms):
    r"""Half the squared error, :math:`L = (a - y)^2/2`, :math:`\partial L/\partial a = a - y`."""
    half = delta.dtype.type(0.5)
    for i in range(delta.size):
        error = outputs[i] - targets[i]
        delta[i] = error
        terms[i] = half * error * error
    _apply_weights(n_units, weights, delta, terms)


@LOSS.function
def poisson(n_units, logits, targets, weights, delta, terms):
    r"""Exponential output and half the Poisson deviance.

    .. math:: L = y \log(y / a) - y + a, \quad a = e^z, \qquad \partial L/\partial z = a - y
    """
    zero, one = delta.dtype.type(0), delta.dtype.type(1)
    for i in range(delta.size):
        z, y = logits[i], targets[i]
        mean = exp(z)
        delta[i] = mean - y
        terms[i] = y * (log(y if y > zero else one) - z) - y + mean
    _apply_weights(n_units, weights, delta, terms)


@inlined_kernel
def _epsilon(like):
    return np.finfo(like.dtype).eps


@kernel
def _apply_weights(n_units, weights, delta, terms):
    for i in range(weights.size):
        weight = weights[i]
        if weight != 1:
            for j in range(i * n_units, (i + 1) * n_units):
                delta[j] *= weight
                terms[j] *= weight


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": Loss(
        softmax_cross_entropy,
        "-sum_i y_i log a_i",
        "classification",
        "softmax",
        has_term_per_row=True,
    ),
    "logistic_cross_entropy": Loss(
        logistic_cross_entropy, "-y log a - (1 - y) log(1 - a)", "classification", "logistic"
    ),
    "squared_error": Loss(squared_error, "(a - y)^2 / 2", "both", averages_outputs=True),
    "poisson": Loss(poisson, "y log(y / a) - y + a", "regression", "exp"),
}
