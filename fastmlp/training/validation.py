"""The mean loss of held-out samples, from a network's outputs.

A few rows per epoch: plain NumPy is fast enough here, and the outputs are there anyway, for the
score. A loss of the user's is the compiled one. The others have scikit-learn's definitions, which
the kernels share: probabilities are clipped to [eps, 1 - eps] of their dtype, losses of several
outputs are summed, but squared errors averaged.
The penalty is no part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from fastmlp.kernels.custom import CustomLoss
from fastmlp.kernels.losses import LOSSES

__all__ = ["LOSSES_OF_OUTPUTS", "mean_loss"]

Floats = NDArray[Any]


def _clipped(probabilities: Floats) -> Floats:
    epsilon = np.finfo(probabilities.dtype).eps
    return np.clip(probabilities, epsilon, 1 - epsilon)


def _softmax_cross_entropy(outputs: Floats, targets: Floats, parameters: Floats) -> Floats:
    return -np.log(_clipped(np.take_along_axis(outputs, targets.astype(np.intp), axis=1)))


def _logistic_cross_entropy(outputs: Floats, targets: Floats, parameters: Floats) -> Floats:
    probabilities = _clipped(outputs)
    return -(xlogy(targets, probabilities) + xlogy(1 - targets, 1 - probabilities))


def _softmax_focal(outputs: Floats, targets: Floats, parameters: Floats) -> Floats:
    cross_entropy = _softmax_cross_entropy(outputs, targets, parameters)
    return (-np.expm1(-cross_entropy)) ** parameters * cross_entropy


def _logistic_focal(outputs: Floats, targets: Floats, parameters: Floats) -> Floats:
    cross_entropy = _logistic_cross_entropy(outputs, targets, parameters)
    return (-np.expm1(-cross_entropy)) ** parameters * cross_entropy


def _squared_error(outputs: Floats, targets: Floats, parameters: Floats) -> Floats:
    return (outputs - targets) ** 2 / 2


def _absolute_error(outputs: Floats, targets: Floats, parameters: Floats) -> Floats:
    return np.abs(outputs - targets)


def _huber(outputs: Floats, targets: Floats, parameters: Floats) -> Floats:
    error = outputs - targets
    clipped = np.clip(error, -parameters, parameters)
    return clipped * (error - clipped / 2)


def _quantile(outputs: Floats, targets: Floats, parameters: Floats) -> Floats:
    error = targets - outputs
    return np.maximum(parameters * error, (parameters - 1) * error)


def _poisson(outputs: Floats, targets: Floats, parameters: Floats) -> Floats:
    return xlogy(targets, targets / outputs) - targets + outputs


def _gamma(outputs: Floats, targets: Floats, parameters: Floats) -> Floats:
    ratio = targets / outputs
    return ratio - 1 - np.log(ratio)


# Functions of the outputs, the targets and the loss's own parameters, one per output.
LOSSES_OF_OUTPUTS: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "softmax_cross_entropy": _softmax_cross_entropy,
    "logistic_cross_entropy": _logistic_cross_entropy,
    "softmax_focal": _softmax_focal,
    "logistic_focal": _logistic_focal,
    "squared_error": _squared_error,
    "absolute_error": _absolute_error,
    "huber": _huber,
    "quantile": _quantile,
    "poisson": _poisson,
    "gamma": _gamma,
}


def mean_loss(
    loss: str | CustomLoss,
    outputs: Floats,
    targets: Floats,
    weights: Floats | None,
    parameters: tuple[float, ...] = (),
) -> float:
    r"""Return :math:`\sum_i w_i L_i / \sum_i w_i`.

    Parameters
    ----------
    loss : str or CustomLoss
        Name in :data:`~fastmlp.kernels.losses.LOSSES`, or a loss of the user's.
    outputs : ndarray of shape (n_samples, n_outputs)
        Outputs of the network, output activation applied.
    targets : ndarray of shape (n_samples, n_targets)
        What training compares them with: for the softmax the index of the class.
    weights : ndarray of shape (n_samples,) or None
        Sample weights, not all zero; None weighs all alike.
    parameters : tuple of float, default=()
        The loss's own parameter, one for all outputs or one for each; empty for its default.
        Smoothed labels are for training: held-out samples are judged by their own.

    Returns
    -------
    float
        The mean, without penalty; nan or inf where outputs or their losses are not finite.
    """
    with np.errstate(all="ignore"):
        if isinstance(loss, CustomLoss):
            terms = loss.terms(outputs, targets)
        else:
            own = np.array(parameters or (LOSSES[loss].default,), outputs.dtype)
            terms = LOSSES_OF_OUTPUTS[loss](outputs, targets, own)
        rows = terms.mean(axis=1) if LOSSES[loss].averages_outputs else terms.sum(axis=1)
        return float(np.average(rows.astype(np.float64), weights=weights))
