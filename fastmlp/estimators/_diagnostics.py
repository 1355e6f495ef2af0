"""What a few rows tell about a fit that ended without an error but learned little.

Looking costs one forward pass of a few rows. Which rows does not depend on chance, and nothing of
the model changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmlp.estimators._warnings import warn
from fastmlp.training.layer_values import layer_values_of_pieces
from fastmlp.training.network import NetworkLayout
from fastmlp.training.plan import piece_rows
from fastmlp.training.threads import single_threaded_blas

__all__ = [
    "ConstantPredictionWarning", "DeadUnitsWarning", "Look", "SaturationWarning", "TrainingWarning",
    "look_at", "warn_of_findings",
]  # fmt: skip

Floats = NDArray[Any]

# Rows that are looked at, at most.
_MAX_ROWS = 256
# Bytes that may be taken for some of these rows at a time in any case.
_PIECE_BYTES, _PIECE_ROWS = 16 * 1024, 16
# Fewer rows may all lie on one side of a unit, and fewer epochs are not meant to end in a model.
_MIN_ROWS, _MIN_EPOCHS = 10, 5
# Saturated is what lies beyond these, less than 1/200 of an activation's range from its limits.
_LIMITS = {"logistic": (0.005, 0.995), "tanh": (-0.99, 0.99)}
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


class Look(NamedTuple):
    """What a network makes of a few samples.

    Attributes
    ----------
    X : ndarray or CSR array of shape (n_samples, n_features)
        The inputs of all samples.
    rows : ndarray of int64, shape (n_rows,)
        Which of them were looked at.
    targets : ndarray of shape (n_rows, n_targets)
        What these were trained towards.
    share_at_limits : float
        How many of the first hidden layer's activations are at their limits, if they have any.
    largest : list of ndarray of shape (n_units,)
        Of each hidden layer, the largest activation of each unit.
    outputs : ndarray of shape (n_rows, n_outputs)
        The network's outputs.
    """

    X: Any
    rows: NDArray[np.int64]
    targets: Floats
    share_at_limits: float
    largest: list[Floats]
    outputs: Floats


def look_at(
    layout: NetworkLayout, params: Floats, X: Any, targets: Floats, batch_size: int = 1
) -> Look:
    """Run a few samples through a network.

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
    batch_size : int, default=1
        How many of them training had room for, at least.

    Returns
    -------
    Look
        At no more than 256 of them.
    """
    n_samples = X.shape[0]
    n_rows = min(n_samples, _MAX_ROWS)
    # From all over them: they may be sorted.
    rows = np.arange(n_rows) * n_samples // n_rows
    name = layout.activations[0]
    # A function of the user's may have the name of a built-in one.
    limits = _LIMITS.get(name) if isinstance(name, str) else None
    n_at_limits, maxima, outputs = 0, [], []
    # No more at a time than training took: this is when a fit has no memory for batches any more.
    fitting = _PIECE_BYTES // (sum(layout.units) * params.itemsize)
    step = max(fitting, _PIECE_ROWS, min(batch_size, piece_rows(layout, params.dtype)))
    pieces = (X[rows[begin : begin + step]] for begin in range(0, n_rows, step))
    with single_threaded_blas(), np.errstate(all="ignore"):
        for *hidden, some_outputs in layer_values_of_pieces(layout, params, pieces):
            if hidden and limits is not None:
                low, high = limits
                n_at_limits += int(np.count_nonzero((hidden[0] < low) | (hidden[0] > high)))
            maxima.append([values.max(axis=0) for values in hidden])
            outputs.append(some_outputs.copy())  # a view would keep all layers of the piece
    return Look(
        X,
        rows,
        targets[rows],
        n_at_limits / (n_rows * layout.units[1]),
        [np.max(layer, axis=0) for layer in zip(*maxima, strict=True)],
        np.concatenate(outputs),
    )


def warn_of_findings(activations: tuple[Any, ...], look: Look, n_iter: int) -> None:
    """Warn of what a few training samples tell about a fit.

    Parameters
    ----------
    activations : tuple of str
        Of the layers.
    look : Look
        At the trained network.
    n_iter : int
        Epochs of the fit. After very few nothing is said.
    """
    if n_iter < _MIN_EPOCHS or look.rows.size < _MIN_ROWS:
        return
    # What overflows here is no finding, and nothing to bother the user with.
    with np.errstate(all="ignore"):
        for category, message in _findings(activations, look):
            warn(message, category)


def _findings(
    activations: tuple[Any, ...], look: Look
) -> Iterator[tuple[type[TrainingWarning], str]]:
    """Yield categories and messages: what was seen and what to do about it."""
    if look.largest and look.share_at_limits > _MOST_VALUES:
        yield from _saturation(activations[0], look.share_at_limits, look.X[look.rows])
    for layer, largest in enumerate(look.largest):
        if activations[layer] == "relu":
            yield from _dead_units(layer, largest, look.rows.size)
    yield from _constant_predictions(look.outputs, look.targets)


def _saturation(
    activation: str, share: float, X: Any
) -> Iterator[tuple[type[TrainingWarning], str]]:
    squares = X.multiply(X) if not isinstance(X, np.ndarray) else X * X
    sizes = np.sqrt(np.asarray(squares.mean(axis=0)).ravel())
    largest = int(sizes.argmax())
    if sizes[largest] > _LARGE_FEATURE:
        message = (
            f"{share:.0%} of the first hidden layer's activations ({activation}) are at their "
            "limits, where next to nothing can be learned, because the features are not scaled: "
            f"the root mean square of feature {largest} is {sizes[largest]:.3g}, not about 1. "
            "Put a StandardScaler before the model."
        )
        yield SaturationWarning, message


def _dead_units(
    layer: int, largest: Floats, n_rows: int
) -> Iterator[tuple[type[TrainingWarning], str]]:
    is_dead = largest <= 0
    if is_dead.mean() > _MOST_UNITS and is_dead.sum() >= _MANY_UNITS:
        message = (
            f"{is_dead.sum()} of the {is_dead.size} units of hidden layer {layer} are zero for "
            f"each of the {n_rows} training samples looked at: these rectified units (relu) "
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
