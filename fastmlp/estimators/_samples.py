"""Samples as the user passed them, as training takes them, and what held-out ones tell of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing

from fastmlp.estimators._validation import validate_sample_weight
from fastmlp.training.data import Indices, kernel_data
from fastmlp.training.predictor import Predictor
from fastmlp.training.validation import mean_loss

__all__ = [
    "Samples", "Source", "checked_batches", "make_validation", "refuse_weightless", "score_of",
    "weigh",
]  # fmt: skip

Floats = NDArray[Any]


class Source(NamedTuple):
    """What the user passed, as scikit-learn's callbacks are shown it.

    Attributes
    ----------
    X, y, sample_weight : object
        As passed to `fit`.
    indices : ndarray of int32 or None
        Which of them are trained on; None for all.
    """

    X: Any
    y: Any
    sample_weight: Any
    indices: Indices | None = None

    def take(self, indices: Indices) -> Source:
        """Return some of the samples; they are copied when they are needed.

        Parameters
        ----------
        indices : ndarray of int32
            Which. Copied.

        Returns
        -------
        Source
            The same arrays.
        """
        return self._replace(indices=indices.copy())

    def seen(self, values: Any) -> Any:
        """Return those of one value per sample that are trained on.

        Parameters
        ----------
        values : object
            X, y or sample_weight.

        Returns
        -------
        object
            Of the same kind.
        """
        if values is None or self.indices is None:
            return values
        return _safe_indexing(values, self.indices)


class Samples(NamedTuple):
    """Samples in the forms in which they are needed.

    Attributes
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Inputs in kernel form.
    y : {ndarray, sparse matrix} of shape (n_samples,) or (n_samples, n_outputs)
        Targets as the user gave them.
    targets : ndarray of shape (n_samples, n_targets)
        Targets as the loss takes them.
    weights : ndarray of shape (n_samples,) or None
        Weights, those of the classes included; None where all are 1.
    """

    X: Any
    y: Any
    targets: Floats
    weights: Floats | None

    def take(self, indices: Indices) -> Samples:
        """Return some of the samples.

        Parameters
        ----------
        indices : ndarray of int32
            Which.

        Returns
        -------
        Samples
            Copies.
        """
        return Samples(
            self.X[indices],
            self.y[indices],
            self.targets[indices],
            None if self.weights is None else self.weights[indices],
        )


def make_validation(
    predictor: Predictor,
    samples: Samples,
    score: Callable[[Floats], float] | str | None,
) -> Callable[[], tuple[float, float | None]]:
    """Return what the loop over epochs calls to validate.

    Parameters
    ----------
    predictor : Predictor
        Reads the parameters that are being trained.
    samples : Samples
        Not trained on.
    score : callable, "loss" or None
        Maps the outputs for the samples to a score; ``"loss"`` is their negative loss, and None
        leaves the decision to the training loss.

    Returns
    -------
    callable
        Returns loss and score, both nan once an output is not finite.
    """
    layout = predictor.layout
    data = kernel_data(samples.X, predictor.params.dtype)

    def validate() -> tuple[float, float | None]:
        outputs = predictor(data, n_jobs=1)
        if not np.isfinite(outputs).all():
            return np.nan, None if score is None else np.nan
        value = mean_loss(
            layout.loss, outputs, samples.targets, samples.weights, layout.loss_parameters
        )
        if score is None or isinstance(score, str):
            return value, None if score is None else -value
        # Outputs that grow without bound are the trainer's to judge, not NumPy's.
        with np.errstate(all="ignore"):
            return value, float(score(outputs))

    return validate


def score_of(estimator: Any, validation: Samples) -> Callable[[Floats], float] | str | None:
    """Return what early stopping goes by.

    Parameters
    ----------
    estimator : estimator
        The model that is fitted; its ``early_stopping`` and ``scoring``.
    validation : Samples
        Not trained on.

    Returns
    -------
    callable, "loss" or None
        As `make_validation` takes it; None without early stopping.
    """
    if not estimator.early_stopping:
        return None
    if estimator.scoring is None:
        return partial(
            estimator._validation_score, targets=validation.targets, weights=validation.weights
        )
    if isinstance(estimator.scoring, str) and estimator.scoring == "loss":
        return "loss"
    scorer = check_scoring(estimator, estimator.scoring)
    # Scorers predict with a second face of the same network, which does not complain that arrays
    # have no feature names.
    model = object.__new__(type(estimator))
    model.__dict__.update(estimator.__dict__)
    model.__dict__.pop("feature_names_in_", None)
    model.n_jobs = 1
    weights = {} if validation.weights is None else {"sample_weight": validation.weights}
    return lambda outputs: scorer(model, validation.X, validation.y, **weights)


def weigh(
    sample_weight: ArrayLike | None,
    weighting: Callable[[Any], Floats] | None,
    X: Any,
    y: Any,
    dtype: np.dtype[Any],
    name: str = "sample_weight",
) -> Floats | None:
    """Return the weights of samples, each times that of its class.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or None
        What the user passed.
    weighting : callable or None
        Maps labels to the weights of their classes.
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        The validated samples, of which only the number is used.
    y : {ndarray, sparse matrix} of shape (n_samples,) or (n_samples, n_labels)
        Their labels.
    dtype : {numpy.float32, numpy.float64}
        The compute dtype.
    name : str, default="sample_weight"
        What `sample_weight` is called in error messages.

    Returns
    -------
    ndarray of shape (n_samples,) or None
        The weights in `dtype`; None where there are neither.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or all are zero.
    """
    weights = None
    if sample_weight is not None:
        weights = validate_sample_weight(sample_weight, X, dtype, name)
    if weighting is None:
        return weights
    products = weighting(y) if weights is None else weights * weighting(y)
    if not products.any():
        raise ValueError(f"{name} times class_weight must contain at least one non-zero number.")
    return validate_sample_weight(products, X, dtype, f"{name} times class_weight")


def refuse_weightless(weights: Floats, trained_on: Indices, held_out: Indices) -> None:
    """Refuse a split of which one side weighs nothing.

    Parameters
    ----------
    weights : ndarray of shape (n_samples,)
        Weights of all samples.
    trained_on, held_out : ndarray of int32
        The two sides.

    Raises
    ------
    ValueError
        If all weights of a side are zero.
    """
    for indices, what in ((trained_on, "trained on"), (held_out, "held out")):
        if not weights[indices].any():
            raise ValueError(
                "Sample weights must contain at least one non-zero number: with "
                f"early_stopping=True, {indices.size} samples are {what}, and theirs are all zero."
            )


def checked_batches(batches: Iterable[Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Ask for one batch after another.

    Parameters
    ----------
    batches : iterable of (X, y) or (X, y, sample_weight)
        What the user passed.

    Yields
    ------
    X, y, sample_weight : object
        Of each batch; weights are None where they were left out.

    Raises
    ------
    ValueError
        If there is none or one is no such tuple.
    """
    number = -1
    for number, batch in enumerate(batches):
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise ValueError(
                "Each element of batches must be a tuple (X, y) or (X, y, sample_weight), got "
                f"{type(batch).__name__} at position {number}."
            )
        yield batch[0], batch[1], batch[2] if len(batch) == 3 else None
    if number < 0:
        raise ValueError("batches is empty: there is nothing to train on.")
