"""What the displays read out of a fitted estimator, fastmlp's or scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from fastmlp.estimators._base import BaseMLP
from fastmlp.estimators.classifier import MLPClassifier
from fastmlp.estimators.regressor import MLPRegressor
from fastmlp.training.layer_values import layer_values as values_of_layers

__all__ = ["activation_names", "layer_values", "most_influential", "ours", "split_pipeline"]

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


def ours(network: Any) -> Any:
    """Return a network as fastmlp's, which can be looked into; scikit-learn's are converted.

    Parameters
    ----------
    network : estimator
        A fitted network.

    Returns
    -------
    MLPClassifier or MLPRegressor
        The same network.
    """
    if isinstance(network, BaseMLP):
        return network
    return (MLPClassifier if is_classifier(network) else MLPRegressor).from_sklearn(network)


def activation_names(network: BaseMLP) -> tuple[str, ...]:
    """Return the name of each layer's activation, the output's last.

    Parameters
    ----------
    network : estimator
        A fitted network of fastmlp.

    Returns
    -------
    tuple of str
        One per layer of weights.
    """
    return tuple(map(str, network._layout.activations))


def layer_values(network: BaseMLP, X: Floats) -> list[Floats]:
    """Return what goes into a network and what comes out of each of its layers.

    Parameters
    ----------
    network : estimator
        A fitted network of fastmlp.
    X : ndarray of shape (n_samples, n_features)
        Inputs.

    Returns
    -------
    list of ndarray of shape (n_samples, n_units)
        The inputs, the activations of each hidden layer, and the outputs.
    """
    inputs = network._checked_inputs(X)
    return [X, *values_of_layers(network._layout, network._parameters(), inputs)]


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
