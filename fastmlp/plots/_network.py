"""What the displays read out of a fitted estimator, fastmlp's or scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from fastmlp.training.data import kernel_data
from fastmlp.training.engine import Predictor
from fastmlp.training.network import NetworkLayout

__all__ = ["activation_names", "layer_values", "most_influential", "split_pipeline"]

Floats = NDArray[Any]


def split_pipeline(estimator: Any) -> tuple[Any, Any]:
    """Return what precedes the network in an estimator, and the network itself.

    Parameters
    ----------
    estimator : estimator
        A fitted network, a pipeline that ends with one, or a search that found one of these.

    Returns
    -------
    preprocessing : Pipeline or None
        The steps before the network, if there are any.
    network : estimator
        The multilayer perceptron.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    TypeError
        If it is no multilayer perceptron.
    """
    check_is_fitted(estimator)
    estimator = getattr(estimator, "best_estimator_", estimator)
    preprocessing = None
    if isinstance(estimator, Pipeline):
        preprocessing = estimator[:-1] if len(estimator) > 1 else None
        estimator = estimator[-1]
    if not hasattr(estimator, "coefs_"):
        raise TypeError(
            f"estimator must be a multilayer perceptron, or a pipeline that ends with one. Got "
            f"{type(estimator).__name__}."
        )
    return preprocessing, estimator


def activation_names(network: Any) -> tuple[str, ...]:
    """Return the name of each layer's activation, the output's last.

    Parameters
    ----------
    network : estimator
        A fitted network.

    Returns
    -------
    tuple of str
        One per layer of weights.
    """
    n_hidden = len(network.coefs_) - 1
    hidden = network.activation
    names = [hidden] * n_hidden if isinstance(hidden, str) else list(hidden)
    return (*names, network.out_activation_)


def layer_values(network: Any, X: Floats) -> list[Floats]:
    """Return what goes into a network and what comes out of each of its layers.

    Parameters
    ----------
    network : estimator
        A fitted network.
    X : ndarray of shape (n_samples, n_features)
        Inputs.

    Returns
    -------
    list of ndarray of shape (n_samples, n_units)
        The inputs, the activations of each hidden layer, and the outputs.
    """
    dtype = network.coefs_[0].dtype
    values = [np.ascontiguousarray(X, dtype)]
    for weights, biases, name, slope in zip(
        network.coefs_,
        network.intercepts_,
        activation_names(network),
        _slopes(network),
        strict=True,
    ):
        # Each layer is a network of its own. With a learned slope it would have a parameter more.
        name = "leaky_relu" if name == "prelu" else name
        layout = NetworkLayout(weights.shape, (name,), (slope,), "squared_error")
        layer = Predictor(layout, np.concatenate([weights.ravel(), biases]))
        values.append(layer(kernel_data(values[-1], dtype)))
    return values


def _slopes(network: Any) -> list[float | None]:
    """Return the slope of each layer's activation; None where its default applies."""
    n_layers = len(network.coefs_)
    learned = getattr(network, "activation_slopes_", None)
    if learned is not None:
        return [None if np.isnan(slope) else slope for slope in learned]
    slopes = getattr(network, "activation_slope", None)
    if slopes is None or np.ndim(slopes) == 0:
        return [slopes] * (n_layers - 1) + [None]
    return [*slopes, None]


def most_influential(weights: Floats, max_units: int) -> NDArray[np.int64]:
    """Return the units of a layer with the largest outgoing weights.

    Parameters
    ----------
    weights : ndarray of shape (n_units, fan_out)
        Weights out of the layer.
    max_units : int
        Largest number to return.

    Returns
    -------
    ndarray of int64
        Their indices, in increasing order.
    """
    norms = np.linalg.norm(weights, axis=1)
    return np.sort(np.argsort(-norms, kind="stable")[:max_units])
