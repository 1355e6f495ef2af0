r"""Find a learning rate: try them all, from far too small to far too large, in one short training.

The rate grows exponentially from one mini-batch to the next. While it is too small, the loss stays
where it is; then it falls; and where the rate is too large, it rises or diverges.

References
----------
Smith (2017), "Cyclical Learning Rates for Training Neural Networks", section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import _num_samples

from fastmlp.estimators._base import BaseMLP
from fastmlp.estimators._validation import (
    POSITIVE,
    InvalidParameterError,
    interval,
    validate_parameters,
)
from fastmlp.training.schedules import Constant
from fastmlp.training.trainer import DivergenceError

__all__ = ["LearningRateCurve", "find_learning_rate"]

Floats = NDArray[np.float64]

# The suggestion is where this share of the descent is done: before the minimum, where training is
# about to become unstable, and after the steepest point, which is early.
_SHARE_OF_DESCENT = 0.9
# A smaller descent, as a share of the loss at the start, is noise.
_SMALLEST_DESCENT = 0.01
# Losses above this multiple of that at the start count as that.
_DIVERGED = 4.0
# Width of the smoothing, in decades of the rate.
_DECADES = 0.2
# Smaller batches are taken several at a time: the loss of a few samples is mostly noise.
_MIN_SAMPLES_PER_RATE = 64
# What would stop the training, or watch it, or change its rate.
_OVERRIDES: dict[str, Any] = {
    "callbacks": None,
    "early_stopping": False,
    "learning_rate": "constant",
    "scoring": None,
    "shuffle": False,  # the batches are drawn here
    "time_limit": None,
    "verbose": False,
    "warmup_steps": 0,
}


@dataclass(frozen=True, repr=False, eq=False)
class LearningRateCurve:
    """The loss over the learning rate.

    Attributes
    ----------
    rates : ndarray of shape (n_rates,)
        Learning rates that were tried, ascending; those from a divergence on are left out.
    losses : ndarray of shape (n_rates,)
        Loss of the batch of each rate, before its step.
    smoothed_losses : ndarray of shape (n_rates,)
        Means over neighbouring rates, weighted by a Gaussian; losses of more than four times that
        at the start count as that.
    suggestion : float or None
        The smallest rate at which nine tenths of the descent are done, to two digits; None if the
        loss did not fall.
    """

    rates: Floats
    losses: Floats
    smoothed_losses: Floats
    suggestion: float | None

    def __repr__(self) -> str:
        return (
            f"LearningRateCurve(suggestion={self.suggestion}, {self.rates.size} rates from "
            f"{self.rates[0]:.2g} to {self.rates[-1]:.2g})"
        )


def find_learning_rate(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: ArrayLike | None = None,
    min_rate: float = 1e-6,
    max_rate: float = 10.0,
    n_rates: int = 140,
    random_state: int | np.random.RandomState | None = None,
) -> LearningRateCurve:
    """Try learning rates on the batches of one short training, and suggest one.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline that ends with one
        What is to be trained; a clone is. Its solver and its batch size matter: the rate that is
        found is one for them. Batches of less than 64 samples are taken several at a time.
        Transformers before it are fitted to X.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples, not negative.
    min_rate, max_rate : float, default=1e-6 and 10
        The first and the last rate.
    n_rates : int, default=140
        How many, at least 10, equally far apart on a logarithmic scale.
    random_state : int, RandomState instance or None, default=None
        Draws the batches and the initial weights; None takes the estimator's.

    Returns
    -------
    LearningRateCurve
        Rates and losses, the `suggestion`, and a method `plot`.

    Raises
    ------
    TypeError
        If the estimator is no network of fastmlp.
    ValueError
        If its solver has no learning rate, if an argument is invalid, or as for `fit`.

    Examples
    --------
    >>> from fastmlp import MLPClassifier, find_learning_rate
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(random_state=0)
    >>> rate = find_learning_rate(model, X / 16, y).suggestion
    >>> model = model.set_params(learning_rate_init=rate)
    """
    _check_arguments(min_rate, max_rate, n_rates)
    check_consistent_length(X, y, sample_weight)
    if isinstance(estimator, Pipeline):
        if len(estimator) > 1:
            X = clone(estimator[:-1]).fit_transform(X, y)
        estimator = estimator[-1]
    model = _model_to_train(estimator, min_rate)
    draws = check_random_state(model.random_state if random_state is None else random_state)
    if random_state is not None:
        model.set_params(random_state=draws.randint(2**31 - 1))
    usable = np.arange(_num_samples(X))
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)
        usable = np.flatnonzero(sample_weight)  # as no batch may weigh nothing
    batch_size = min(200 if model.batch_size == "auto" else int(model.batch_size), usable.size)
    model.set_params(batch_size=batch_size)
    n_rows = min(batch_size * -(-_MIN_SAMPLES_PER_RATE // batch_size), usable.size)
    arguments = {}
    if is_classifier(model):
        if np.ndim(y) == 2 and np.shape(y)[1] == 1:
            y = column_or_1d(y, warn=True)
        arguments["classes"] = unique_labels(y)

    rates, losses = np.geomspace(min_rate, max_rate, n_rates), list[float]()
    for rate, rows in zip(rates, _rows(usable, n_rows, draws), strict=False):
        if losses:
            model._schedule = Constant(rate, 0.0)
        weights = None if sample_weight is None else sample_weight[rows]
        try:
            model.partial_fit(
                _safe_indexing(X, rows), _safe_indexing(y, rows), weights, **arguments
            )
        except ValueError as error:
            if losses and isinstance(error.__context__, DivergenceError):
                break
            raise
        if model.n_iter_ == 0:  # partial_fit was interrupted, of which it only warns
            raise KeyboardInterrupt
        if not np.isfinite(model.loss_):
            break
        losses.append(model.loss_)
    decades = np.log10(max_rate / min_rate)
    return _curve(rates[: len(losses)], np.array(losses), _DECADES * (n_rates - 1) / decades)


def _check_arguments(min_rate: object, max_rate: object, n_rates: object) -> None:
    """Refuse what is no range of rates."""
    constraints = {
        "min_rate": (min_rate, POSITIVE),
        "max_rate": (max_rate, POSITIVE),
        "n_rates": (n_rates, interval(Integral, 10, None, "left")),
    }
    for name, (value, constraint) in constraints.items():
        if not constraint.accepts(value):
            raise InvalidParameterError(
                f"The {name!r} parameter of find_learning_rate must be {constraint.description}. "
                f"Got {value!r} instead."
            )
    if not min_rate < max_rate:  # type: ignore[operator]
        raise InvalidParameterError(
            f"min_rate must be less than max_rate, got {min_rate!r} and {max_rate!r}."
        )


def _model_to_train(estimator: Any, rate: float) -> Any:
    """Return a clone that trains as the estimator does, and does nothing else."""
    if not isinstance(estimator, BaseMLP):
        raise TypeError(
            "estimator must be an MLPClassifier or MLPRegressor of fastmlp, or a Pipeline that ends"
            f" with one, got {estimator!r}."
        )
    validate_parameters(estimator, estimator._constraints)
    if not hasattr(estimator, "partial_fit"):
        raise ValueError(f"solver={estimator.solver!r} has no learning rate to find.")
    model = clone(estimator)
    names = model.get_params(deep=False).keys()
    overrides = {**_OVERRIDES, "learning_rate_init": rate}
    return model.set_params(**{name: overrides[name] for name in overrides if name in names})


def _rows(
    usable: NDArray[np.intp], n_rows: int, draws: np.random.RandomState
) -> Iterator[NDArray[np.intp]]:
    """Yield parts of one shuffled pass over the samples after another, without end."""
    left = usable[:0]
    while True:
        while left.size < n_rows:
            left = np.concatenate([left, draws.permutation(usable)])
        rows, left = left[:n_rows], left[n_rows:]
        yield rows


def _curve(rates: Floats, losses: Floats, sigma: float) -> LearningRateCurve:
    """Smooth the losses, and find where most of the descent is done."""
    # What diverges must not reach back to where it does not.
    most = _DIVERGED * np.median(losses[:10])
    smoothed = gaussian_filter1d(np.minimum(losses, most), sigma, mode="reflect")
    start, least = smoothed[0], smoothed.min()
    suggestion = None
    if start - least > _SMALLEST_DESCENT * abs(start):
        is_down = smoothed <= start - _SHARE_OF_DESCENT * (start - least)
        suggestion = float(f"{rates[np.argmax(is_down)]:.2g}")
    return LearningRateCurve(rates, losses, smoothed, suggestion)
