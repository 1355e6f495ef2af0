"""Weights of classes as weights of samples, as `sklearn.utils.class_weight` defines them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.class_weight import compute_class_weight

__all__ = ["class_weighting"]

Floats = NDArray[Any]


def class_weighting(
    class_weight: dict[Any, float] | str | list[Any] | None,
    classes: NDArray[Any],
    y: Any,
    *,
    is_multilabel: bool,
) -> Callable[[Any], Floats] | None:
    r"""Return the function that maps labels to weights.

    ``"balanced"`` weighs class k by :math:`n / (K n_k)`, with K classes of which :math:`n_k` of
    the n samples are. With several labels per sample, weights of the labels are multiplied.

    Parameters
    ----------
    class_weight : dict, "balanced", list or None
        Weight of each class, 1 for those left out; for several labels a list of one such per
        label, whose classes are 0 and 1.
    classes : ndarray of shape (n_classes,)
        All classes in order, or all labels.
    y : {ndarray, sparse matrix} of shape (n_samples,) or (n_samples, n_labels)
        The labels that are to be balanced.
    is_multilabel : bool
        Which of the two it is.

    Returns
    -------
    callable or None
        Maps such labels, also other ones than `y`, to an ndarray of shape (n_samples,); None if
        there are no weights.

    Raises
    ------
    ValueError
        If `class_weight` does not fit the labels or a weight is negative or not finite.
    """
    if class_weight is None:
        return None
    if not is_multilabel:
        if isinstance(class_weight, list):
            raise ValueError(
                "class_weight as a list is for several labels per sample. For a single one it "
                "should be a dict, the string 'balanced' or None."
            )
        _refuse_absent_labels(class_weight, classes)
        weights = _non_negative(compute_class_weight(class_weight, classes=classes, y=y))
        return lambda labels: weights[np.searchsorted(classes, labels)]

    per_label = [
        _label_weights(weight, column)
        for weight, column in zip(
            _one_per_label(class_weight, len(classes)), _dense(y).T, strict=True
        )
    ]

    def weigh(labels: Any) -> Floats:
        columns = _dense(labels).T
        factors = [weights[column] for weights, column in zip(per_label, columns, strict=True)]
        return np.prod(factors, axis=0)

    return weigh


def _one_per_label(
    class_weight: dict[Any, float] | str | list[Any], n_labels: int
) -> Sequence[dict[Any, float] | str | None]:
    if isinstance(class_weight, str):
        return [class_weight] * n_labels
    if isinstance(class_weight, dict):
        raise ValueError(
            "For multi-output, class_weight should be a list of dicts, or the string 'balanced'."
        )
    if len(class_weight) != n_labels:
        raise ValueError(
            "For multi-output, number of elements in class_weight should match number of outputs."
            f" Got {len(class_weight)} element(s) while having {n_labels} outputs."
        )
    return class_weight


def _label_weights(class_weight: dict[Any, float] | str | None, labels: NDArray[np.intp]) -> Floats:
    """Return the weights of 0 and 1."""
    # A label that every sample has, or none, has one class to balance.
    classes = np.unique(labels) if isinstance(class_weight, str) else np.array([0, 1])
    _refuse_absent_labels(class_weight, classes)
    weights = np.ones(2)
    weights[classes] = compute_class_weight(class_weight, classes=classes, y=labels)
    return _non_negative(weights)


def _refuse_absent_labels(
    class_weight: dict[Any, float] | str | None, classes: NDArray[Any]
) -> None:
    """Refuse weights of labels that there are not, of which scikit-learn lets some pass."""
    known = set(classes)
    if isinstance(class_weight, dict) and (absent := [k for k in class_weight if k not in known]):
        raise ValueError(
            f"The labels, {absent}, of class_weight are not among the classes, {classes.tolist()}."
        )


def _dense(labels: Any) -> NDArray[np.intp]:
    return np.asarray(labels.toarray() if issparse(labels) else labels).astype(np.intp)


def _non_negative(weights: Floats) -> Floats:
    if not (np.isfinite(weights).all() and weights.min() >= 0):
        raise ValueError(
            f"The weights in class_weight must be finite and not negative, got {weights}."
        )
    return weights
