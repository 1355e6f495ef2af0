"""Fitted models to and from scikit-learn: the same parameters, weights and state of training."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import neural_network
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils import check_random_state

from fastmlp.estimators._validation import InvalidParameterError
from fastmlp.kernels.custom import CustomActivation
from fastmlp.training.engine import OptimizerState
from fastmlp.training.network import NetworkLayout
from fastmlp.training.schedules import SCHEDULES
from fastmlp.training.trainer import Progress

__all__ = ["ExchangeMixin"]

Floats = NDArray[Any]

# What says nothing of a fitted model, nor of how it would go on training; the others are of
# activations, losses and solvers that scikit-learn does not have.
_WITHOUT_EFFECT = {
    "n_jobs", "weight_init", "activation_slope", "focal_gamma", "huber_delta", "quantile",
    "weight_decay",
}  # fmt: skip
# What both packages call the same and keep alike.
_SHARED_ATTRIBUTES = (
    "n_features_in_", "feature_names_in_", "n_outputs_", "n_layers_", "out_activation_",
    "classes_", "_label_binarizer",
)  # fmt: skip
_PUBLISHED_ATTRIBUTES = (
    "n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_",
    "best_validation_score_",
)  # fmt: skip


def _copy_attributes(names: tuple[str, ...], source: Any, target: Any) -> None:
    for name in names:
        if hasattr(source, name):
            setattr(target, name, copy.deepcopy(getattr(source, name)))


class ExchangeMixin:
    """Conversion from and to the class of the same name in `sklearn.neural_network`."""

    # The estimators have these.
    out_activation: Any
    _layout: NetworkLayout
    _progress: Progress
    _schedule: Any
    _optimizer: OptimizerState | None

    @classmethod
    def _sklearn_class(cls) -> Any:
        is_classifier = issubclass(cls, ClassifierMixin)
        return neural_network.MLPClassifier if is_classifier else neural_network.MLPRegressor

    @classmethod
    def from_sklearn(cls, model: BaseEstimator) -> Self:
        """Take over a model of scikit-learn.

        Parameters
        ----------
        model : sklearn.neural_network.MLPClassifier or MLPRegressor
            The model of the same kind, fitted or not. Not modified, and nothing is shared with it.

        Returns
        -------
        estimator
            A model with the same parameters, and if `model` was fitted, with the same weights bit
            for bit, the same fitted attributes, and the state of its optimizer: `partial_fit` goes
            on where it was.

        Raises
        ------
        TypeError
            If `model` is something else.
        ValueError
            If a parameter that belongs to its weights was changed after it was fitted.
        """
        wanted = cls._sklearn_class()
        if not isinstance(model, wanted):
            raise TypeError(
                f"from_sklearn needs a sklearn.neural_network.{wanted.__name__}, got {model!r}."
            )
        self: Any = cls(**copy.deepcopy(model.get_params(deep=False)))
        if not hasattr(model, "coefs_"):
            return self
        _copy_attributes(_SHARED_ATTRIBUTES, model, self)
        hidden = tuple(int(biases.size) for biases in model.intercepts_[:-1])
        n_hidden = len(hidden)
        self._layout = layout = self._make_layout(
            model.n_features_in_, hidden, (model.activation,) * n_hidden, (None,) * n_hidden
        )
        if layout.activations[-1] != model.out_activation_:
            raise ValueError(
                f"loss={model.loss!r} was set after the model was fitted: its outputs are "
                f"{model.out_activation_!r}."
            )
        dtype, no_slopes = model.coefs_[0].dtype, np.empty(0)
        self._hold(layout.pack(model.coefs_, model.intercepts_, no_slopes, dtype))
        self._progress = progress = Progress(
            n_iter=model.n_iter_,
            samples_seen=model.t_,
            loss=model.loss_,
            loss_curve=list(getattr(model, "loss_curve_", [])),
        )
        if model.solver != "lbfgs":
            # scikit-learn keeps the last rate alone.
            progress.learning_rate_curve = [np.nan] * len(progress.loss_curve)
            progress.best_loss = model.best_loss_
            progress.validation_scores = copy.copy(model.validation_scores_)
            progress.best_validation_score = model.best_validation_score_
            progress.no_improvement_count = model._no_improvement_count
            if model.early_stopping:
                best = model._best_coefs, model._best_intercepts
                progress.best_params = layout.pack(*best, no_slopes, dtype)
        schedule = model.learning_rate if model.solver == "sgd" else "constant"
        self._schedule = SCHEDULES[schedule](model.learning_rate_init, model.power_t)
        self._optimizer = None
        if hasattr(model, "_optimizer"):
            self._take_optimizer(model._optimizer)
        self._publish()
        return self

    def _take_optimizer(self, theirs: AdamOptimizer | SGDOptimizer) -> None:
        """Take over moments or velocities, and the learning rate that was reached."""
        params: Floats = self._parameters()  # type: ignore[attr-defined]
        if isinstance(theirs, AdamOptimizer):
            name, memory, steps = "adam", [theirs.ms, theirs.vs], theirs.t
            self._schedule.rate = float(theirs.learning_rate_init)
        else:
            name, memory, steps = "sgd", [], 0
            if theirs.momentum > 0:
                name = "nesterov" if theirs.nesterov else "momentum"
                memory = [theirs.velocities]
            self._schedule.rate = float(theirs.learning_rate)
        self._schedule.initial = theirs.learning_rate_init
        self._optimizer = OptimizerState.start(name, params)
        for slot, arrays in zip(self._optimizer.slots, memory, strict=True):
            # Their order is that of the flat vector: all weights, then all biases.
            slot[:] = np.concatenate([array.ravel() for array in arrays])
        self._optimizer.count[0] = steps

    def to_sklearn(self) -> Any:
        """Hand over the model to scikit-learn.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor
            A model with the same parameters, and if this one was fitted, with the same weights bit
            for bit, the same fitted attributes, and the state of the optimizer. Nothing is shared
            with this model. `n_jobs` and `weight_init` are left out.

        Raises
        ------
        ValueError
            If a parameter has a value that scikit-learn does not know.
        """
        wanted = self._sklearn_class()
        is_fitted = hasattr(self, "coefs_")
        params = copy.deepcopy(self._params_for(wanted, is_fitted))
        model = wanted(**params)
        model._validate_params()
        if not is_fitted:
            return model
        if self._layout.normalised:
            raise ValueError(
                f"scikit-learn's {wanted.__name__} has no normalization; the model was fitted with "
                "it."
            )
        flat: Floats = self._parameters()  # type: ignore[attr-defined]
        _copy_attributes(_SHARED_ATTRIBUTES, self, model)
        _copy_attributes(_PUBLISHED_ATTRIBUTES, self, model)
        model.coefs_, model.intercepts_ = self._layout.unpack(flat.copy())
        best = self._progress.best_params
        model._best_coefs, model._best_intercepts = self._layout.unpack(
            flat.copy() if best is None else best.copy()
        )
        model._random_state = check_random_state(model.random_state)
        if model.solver != "lbfgs":
            model._no_improvement_count = self._progress.no_improvement_count
        if self._optimizer is not None:
            model._optimizer = self._optimizer_for_sklearn(self._optimizer, model)
        return model

    def _params_for(self, wanted: type, is_fitted: bool) -> dict[str, Any]:
        """Return the parameters as scikit-learn's class takes them."""
        params: dict[str, Any] = self.get_params(deep=False)  # type: ignore[attr-defined]
        theirs = inspect.signature(wanted).parameters
        if is_fitted and params["out_activation"] == self._loss_and_output()[1]:  # type: ignore[attr-defined]
            params["out_activation"] = None
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name in theirs or name in _WITHOUT_EFFECT or name not in params:
                continue
            # Not a comparison of arrays, which has no single answer.
            if repr(params[name]) != repr(parameter.default):
                raise InvalidParameterError(
                    f"{name}={params[name]!r} is not known to scikit-learn's {wanted.__name__}: "
                    f"to_sklearn needs {name}={parameter.default!r}."
                )
        params = {name: value for name, value in params.items() if name in theirs}
        names = params["activation"]
        if is_fitted:
            names = self._layout.activations[:-1] or names
        each = [names] if isinstance(names, (str, CustomActivation)) else list(names)
        if len(set(each)) != 1 or isinstance(each[0], CustomActivation):
            raise InvalidParameterError(
                f"activation={names!r} is not known to scikit-learn's {wanted.__name__}, which has "
                "one activation for all hidden layers."
            )
        params["activation"] = str(each[0])
        return params

    def _optimizer_for_sklearn(
        self, ours: OptimizerState, model: Any
    ) -> AdamOptimizer | SGDOptimizer:
        """Return scikit-learn's optimizer with our moments or velocities."""
        params = model.coefs_ + model.intercepts_
        initial = self._schedule.initial
        views = map(self._layout.unpack, ours.slots.copy())
        memory = [[*coefs, *intercepts] for coefs, intercepts in views]
        if ours.name == "adam":
            adam = AdamOptimizer(params, initial, model.beta_1, model.beta_2, model.epsilon)
            adam.t = int(ours.count[0])
            adam.ms, adam.vs = memory
            return adam
        sgd = SGDOptimizer(
            params, initial, model.learning_rate, model.momentum, model.nesterovs_momentum,
            model.power_t,
        )  # fmt: skip
        sgd.learning_rate = self._schedule.rate
        if memory:
            (sgd.velocities,) = memory
        return sgd
