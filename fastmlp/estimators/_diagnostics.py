"""What a few rows tell about a fit that ended without an error but learned little.

Looking costs a forward pass of a few rows. Which rows does not depend on chance, and nothing of
the model changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.estimators._warnings import warn
from fastmlp.training.data import kernel_data
from fastmlp.training.engine import Predictor
from fastmlp.training.network import NetworkLayout

__all__ = [
    "MAX_ROWS", "ConstantPredictionWarning", "DeadUnitsWarning", "SaturationWarning",
    "TrainingWarning", "evenly_spaced_rows", "findings", "warn_of_findings",
]  # fmt: skip

Floats = NDArray[Any]

MAX_ROWS = 256
"""Rows that are looked at, at most."""
# Fewer rows may all lie on one side of a unit, and fewer epochs are not meant to end in a model.
_MIN_ROWS, _MIN_EPOCHS = 10, 5
# Saturated is what lies within this share of an activation's range of one of its limits.
_NEAR = 0.005
_LIMITS = {"logistic": (0.0, 1.0), "tanh": (-1.0, 1.0)}
_MOST_VALUES, _MOST_UNITS = 0.8, 0.5
# Two dead units of three are nothing unusual in a network for the eye.
_MANY_UNITS = 4
# Root mean square of a standardised feature: 1.
_LARGE_FEATURE = 3.0
# Spread of the predictions, relative to that of the targets, that counts as none.
_NO_SPREAD = 1e-5


class TrainingWarning(UserWarning):
    """A fit ended, but a look at a few rows suggests that it went badly.

    The subclasses tell what was seen, their messages what to do.
    """


class SaturationWarning(TrainingWarning):
    """Unscaled features hold most units of the first layer at the limits of their activation."""


class DeadUnitsWarning(TrainingWarning):
    """Most rectified units of a layer are zero whatever the input, and so can learn nothing."""


class ConstantPredictionWarning(TrainingWarning):
    """The model predicts the same for every input, although the targets differ."""


def evenly_spaced_rows(n_samples: int) -> NDArray[np.int64]:
    """Return `MAX_ROWS` of more rows, from all over them: they may be sorted.

    Parameters
    ----------
    n_samples : int
        How many there are.

    Returns
    -------
    ndarray of int64, shape (MAX_ROWS,)
        Indices.
    """
    return np.arange(MAX_ROWS) * n_samples // MAX_ROWS


def warn_of_findings(
    layout: NetworkLayout, params: Floats, X: Any, targets: Floats, outputs: Floats, n_iter: int
) -> None:
    """Warn of what a few training samples tell about a fit.

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    params : ndarray of shape (n_params,)
        Its trained parameters.
    X : ndarray or CSR array of shape (n_samples, n_features)
        The training samples, in kernel form.
    targets : ndarray of shape (n_samples, n_targets)
        What they were trained towards.
    outputs : ndarray of shape (min(n_samples, MAX_ROWS), n_outputs)
        The network's outputs for them, or for the `evenly_spaced_rows` of more.
    n_iter : int
        Epochs of the fit. After very few nothing is said.
    """
    n_samples = X.shape[0]
    if n_iter < _MIN_EPOCHS or n_samples < _MIN_ROWS:
        return
    if n_samples > MAX_ROWS:
        rows = evenly_spaced_rows(n_samples)
        X, targets = X[rows], targets[rows]
    # What overflows here is no finding, and nothing to bother the user with.
    with np.errstate(all="ignore"):
        for category, message in findings(layout, params, X, targets, outputs):
            warn(message, category)


def findings(
    layout: NetworkLayout, params: Floats, X: Any, targets: Floats, outputs: Floats
) -> Iterator[tuple[type[TrainingWarning], str]]:
    """Yield what is wrong with a network, as some rows show it.

    Parameters
    ----------
    layout, params, X, targets, outputs
        As for `warn_of_findings`; all rows are looked at.

    Yields
    ------
    category : type
        Subclass of `TrainingWarning`.
    message : str
        What was seen and what to do about it.
    """
    names = layout.activations[:-1]
    telling = [layer for layer, name in enumerate(names) if name == "relu"]
    telling += [0] if names and names[0] in _LIMITS else []
    values = X
    for layer in range(max(telling, default=-1) + 1):
        predict = Predictor(*layout.part(layer, layer + 1, params))
        values = predict(kernel_data(values, params.dtype), n_jobs=1)
        if layer == 0 and names[layer] in _LIMITS:
            yield from _saturation(names[layer], values, X)
        if names[layer] == "relu":
            yield from _dead_units(layer, values)
    yield from _constant_predictions(outputs, targets)


def _saturation(
    activation: str, values: Floats, X: Any
) -> Iterator[tuple[type[TrainingWarning], str]]:
    low, high = _LIMITS[activation]
    margin = _NEAR * (high - low)
    share = np.mean((values < low + margin) | (values > high - margin))
    squares = X.multiply(X) if not isinstance(X, np.ndarray) else X * X
    sizes = np.sqrt(np.asarray(squares.mean(axis=0)).ravel())
    largest = int(sizes.argmax())
    if share > _MOST_VALUES and sizes[largest] > _LARGE_FEATURE:
        message = (
            f"{share:.0%} of the first hidden layer's activations ({activation}) are at their "
            "limits, where next to nothing can be learned, because the features are not scaled: "
            f"the root mean square of feature {largest} is {sizes[largest]:.3g}, not about 1. "
            "Put a StandardScaler before the model."
        )
        yield SaturationWarning, message


def _dead_units(layer: int, values: Floats) -> Iterator[tuple[type[TrainingWarning], str]]:
    is_dead = ~values.any(axis=0)
    if is_dead.mean() > _MOST_UNITS and is_dead.sum() >= _MANY_UNITS:
        message = (
            f"{is_dead.sum()} of the {is_dead.size} units of hidden layer {layer} are zero for "
            f"each of the {len(values)} training samples looked at: these rectified units (relu) "
            "are dead and can learn no more. Lower learning_rate_init, scale the features "
            "(StandardScaler), or take activation='leaky_relu'."
        )
        yield DeadUnitsWarning, message


def _constant_predictions(
    outputs: Floats, targets: Floats
) -> Iterator[tuple[type[TrainingWarning], str]]:
    spread = float(np.ptp(targets, axis=0).max())
    if spread > 0 and np.ptp(outputs, axis=0).max() <= _NO_SPREAD * spread:
        message = (
            f"The model predicts the same for each of the {len(outputs)} training samples looked "
            "at, although their targets differ: it has learned nothing from the features. Scale "
            "the features (StandardScaler), and for regression the targets; try another "
            "learning_rate_init, or a smaller alpha."
        )
        yield ConstantPredictionWarning, message
