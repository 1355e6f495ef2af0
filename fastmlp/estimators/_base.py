"""What the classifier and the regressor share: from validated input to a fitted model."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import validate_data

from fastmlp.estimators._after_epoch import watched
from fastmlp.estimators._clashes import refuse_clashes
from fastmlp.estimators._diagnostics import Look, look_at, warn_of_findings
from fastmlp.estimators._exchange import ExchangeMixin
from fastmlp.estimators._fitted import FittedMixin, in_kernel_form
from fastmlp.estimators._inspection import InspectionMixin
from fastmlp.estimators._resuming import Resumed, Training
from fastmlp.estimators._samples import (
    Samples,
    Source,
    make_validation,
    refuse_weightless,
    score_of,
    weigh,
)
from fastmlp.estimators._sklearn_callbacks import CallbackSupportMixin, with_callbacks
from fastmlp.estimators._validation import (
    Constraint,
    parameter_constraints,
    validate_activation_slopes,
    validate_activations,
    validate_custom_functions,
    validate_dropout,
    validate_hidden_layer_sizes,
    validate_parameters,
    validate_weight_init,
)
from fastmlp.estimators._warnings import warn, warn_of_lbfgs
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.custom import CustomActivation, CustomLoss
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.optimizers import OPTIMIZERS
from fastmlp.training.data import Indices, kernel_data, sample_numbers
from fastmlp.training.engine import Engine, OptimizerState
from fastmlp.training.initialisation import INITIALISATIONS
from fastmlp.training.lbfgs import fit_lbfgs
from fastmlp.training.network import NetworkLayout
from fastmlp.training.schedules import PLANS, SCHEDULES, Schedule, make_schedule
from fastmlp.training.trainer import DivergenceError, Progress, Stop, fit_epochs

__all__ = ["BaseMLP"]

Floats = NDArray[Any]

SOLVERS = ("adagrad", "adam", "adamw", "lbfgs", "nadam", "rmsprop", "sgd")
HYPERPARAMETERS = tuple(
    sorted({name for row in OPTIMIZERS.values() for name in row.hyperparameters})
)
# Rows of a batch, if there are as many and ``batch_size="auto"``.
_AUTO = 200
HIDDEN_ACTIVATIONS = tuple(name for name, row in ACTIVATIONS.items() if row.is_hidden)


def constraints_for(
    loss_names: tuple[str, ...], out_activation_names: tuple[str, ...]
) -> dict[str, tuple[Constraint, ...]]:
    """Return the constraints on the constructor parameters of an estimator.

    Parameters
    ----------
    loss_names, out_activation_names : tuple of str
        What the estimator offers.

    Returns
    -------
    dict of str to tuple of Constraint
        For `validate_parameters`.
    """
    return parameter_constraints(
        activation_names=HIDDEN_ACTIVATIONS,
        out_activation_names=out_activation_names,
        loss_names=loss_names,
        solver_names=SOLVERS,
        weight_init_names=tuple(INITIALISATIONS),
        learning_rate_names=(*SCHEDULES, *PLANS),
    )


class BaseMLP(
    InspectionMixin,
    ExchangeMixin,
    CallbackSupportMixin,
    FittedMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """A multilayer perceptron under scikit-learn's interface."""

    _constraints: dict[str, tuple[Constraint, ...]]

    # The subclasses' constructors set these, as scikit-learn wants it.
    hidden_layer_sizes: Any
    activation: Any
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str | Callable[[int], float]
    learning_rate_init: float
    power_t: float
    max_iter: int
    loss: str | CustomLoss
    shuffle: bool
    random_state: Any
    tol: float
    verbose: bool | str
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    weight_decay: float
    dropout: Any
    normalization: str | None
    l1: float
    max_grad_norm: float | None
    activation_slope: Any
    out_activation: Any
    weight_init: Any
    n_jobs: int | None
    warmup_steps: float
    time_limit: float | None
    scoring: str | Callable[..., float] | None
    callbacks: Any

    # -- what the subclasses know -------------------------------------------------------------

    @abstractmethod
    def _validate_targets(self, y: Any, is_incremental: bool) -> Any:
        """Check y, learn what it is (classes, number of outputs) and return it."""

    @abstractmethod
    def _encode_targets(self, y: Any, dtype: np.dtype[Any]) -> Floats:
        """Return y as the loss takes it, of shape (n_samples, n_targets)."""

    @abstractmethod
    def _encode_known_targets(self, y: Any, dtype: np.dtype[Any]) -> Floats:
        """Check y against what was fitted, change nothing, and return it as the loss takes it."""

    @abstractmethod
    def _loss_and_output(self) -> tuple[str | CustomLoss, str]:
        """Return the key of the loss in LOSSES and the name of the default output activation."""

    @abstractmethod
    def _validation_score(self, outputs: Floats, targets: Floats, weights: Floats | None) -> float:
        """Return the default score of some outputs."""

    @abstractmethod
    def _stratification(self, targets: Floats) -> Floats | None:
        """Return what the validation split is stratified by."""

    def _class_weighting(self, y: Any) -> Callable[[Any], Floats] | None:
        """Return what maps labels to the weights of their classes, None without such weights."""
        return None

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        """Read the signature of the constructor once: cloning and checking ask again and again."""
        return list(super()._get_param_names())

    # -- fitting ------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs. Kept in float32 if they are, else computed with in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or numbers for regression.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative; None weighs all alike.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Inputs that are not trained on, for `validation_loss_curve_` and, with
            ``early_stopping=True``, to stop by, in place of a part of X. A pipeline transforms
            them as it does X with ``Pipeline(..., transform_input=["X_val"])``.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their targets.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.

        Returns
        -------
        self : object
            The fitted model.

        Raises
        ------
        ValueError
            If a parameter, X, y or a weight is invalid, or if training diverged. In the latter
            case the last finite weights are kept.
        """
        return self._fit(Source(X, y, sample_weight), Source(X_val, y_val, sample_weight_val))

    def _check_solver(self) -> bool:
        """Return True where partial_fit exists, which is what `available_if` asks."""
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not "
                "stochastic."
            )
        return True

    @with_callbacks
    def _fit(
        self, source: Source, held_out: Source | None = None, resumed: Resumed | None = None
    ) -> Self:
        """Fit, or without a place for held-out samples go on for one epoch."""
        is_incremental = held_out is None
        validate_parameters(self, self._constraints)
        hidden = validate_hidden_layer_sizes(self.hidden_layer_sizes)
        names = validate_activations(self.activation, len(hidden), HIDDEN_ACTIVATIONS)
        slopes = validate_activation_slopes(self.activation_slope, len(hidden))
        rates = validate_dropout(self.dropout, len(hidden))
        refuse_clashes(self, tuple(PLANS), held_out and held_out[:3])
        if not (self.scoring is None or self.scoring == "loss"):
            check_scoring(self, self.scoring)
        is_first_pass = resumed is None and (
            not hasattr(self, "coefs_") or not (self.warm_start or is_incremental)
        )

        X, y = validate_data(
            self,
            source.X,
            source.y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            order="C",
            reset=is_first_pass,
            **self._validate_data_options(),
        )
        y = self._validate_targets(y, is_incremental or resumed is not None)
        # A model keeps the precision of its first fit.
        dtype = X.dtype if is_first_pass else self._parameters().dtype
        validate_custom_functions(self, dtype)
        X = in_kernel_form(X, dtype)
        weighting = self._class_weighting(y)
        weights = weigh(source.sample_weight, weighting, X, y, dtype)
        validation = None
        if held_out is not None and held_out.X is not None:
            validation = self._validation_samples(held_out, weighting, dtype)

        layout = self._make_layout(X.shape[1], hidden, names, slopes, rates)
        samples = Samples(X, y, self._encode_targets(y, dtype), weights)
        if resumed is None:
            self._random_state = check_random_state(self.random_state)
        else:
            self._random_state = resumed.random_state
        if is_first_pass:
            self._start(layout, dtype)
        else:
            self._go_on(layout)

        if resumed is None:
            self._progress.stop = None
        self.out_activation_ = layout.activations[-1]  # scorers and callbacks predict
        try:
            if self.solver == "lbfgs":
                self._run_lbfgs(samples, source)
            else:
                self._run_epochs(samples, validation, source, is_incremental, resumed)
            look = None if is_incremental else self._look(samples)
        except DivergenceError:
            self._progress.stop = Stop.DIVERGED
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed. Scale the features (StandardScaler) or lower "
                f"learning_rate_init={self.learning_rate_init}; the last finite weights were kept."
            ) from None
        finally:
            self._publish()
        if look is not None:
            warn_of_findings(self._layout.activations, look, self.n_iter_)
        return self

    def _validation_samples(
        self,
        held_out: Source,
        weighting: Callable[[Any], Floats] | None,
        dtype: np.dtype[Any],
    ) -> Samples:
        """Check the samples that the user holds out, against what was learned of the others."""
        try:
            X, y = validate_data(
                self,
                held_out.X,
                held_out.y,
                accept_sparse=["csr", "csc"],
                multi_output=True,
                dtype=(np.float64, np.float32),
                order="C",
                reset=False,
                # As for those that are split off.
                ensure_min_samples=2 if self.early_stopping else 1,
                **self._validate_data_options(),
            )
            X = in_kernel_form(X, dtype)
            targets = self._encode_known_targets(y, dtype)
        except ValueError as error:
            raise ValueError(f"X_val or y_val is invalid: {error}") from error
        y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
        weights = weigh(held_out.sample_weight, weighting, X, y, dtype, "sample_weight_val")
        return Samples(X, y, targets, weights)

    def _look(self, samples: Samples) -> Look:
        """Run a few samples through the fitted network, and refuse outputs that are not finite.

        Weights may be finite, and so large that nothing can be predicted with them.
        """
        batch_size = _AUTO if self.batch_size == "auto" else int(self.batch_size)
        look = look_at(self._layout, self._params, samples.X, samples.targets, batch_size)
        if not np.isfinite(look.outputs).all():
            raise DivergenceError
        return look

    def _validate_data_options(self) -> dict[str, Any]:
        return {}

    def _make_layout(
        self,
        n_features: int,
        hidden: tuple[int, ...],
        activations: tuple[str | CustomActivation, ...],
        slopes: tuple[float | None, ...],
        dropout: tuple[float, ...] = (),
    ) -> NetworkLayout:
        loss, default = self._loss_and_output()
        output = self.out_activation or default
        fixed = LOSSES[loss].output_activation
        if fixed is not None and output != fixed:
            raise ValueError(
                f"out_activation={output!r} cannot be combined with loss={self.loss!r}, which "
                f"needs {fixed!r} here. Leave out_activation=None, or set loss='squared_error'."
            )
        # Without hidden layers, the activation that these would have had; a list has none.
        is_one = isinstance(self.activation, (str, CustomActivation))
        output_init = activations[-1] if activations else self.activation if is_one else output
        return NetworkLayout(
            units=(n_features, *hidden, self.n_outputs_),
            activations=(*activations, output),
            slopes=(*slopes, None),
            loss=loss,
            loss_parameters=self._loss_parameters(loss),
            output_init=output_init,
            norms=(*(True,) * len(hidden), False) if self.normalization else (),
            dropout=(*dropout, 0.0) if any(dropout) else (),
        )

    def _loss_parameters(self, loss: str | CustomLoss) -> tuple[float, ...]:
        """Return what a loss of LOSSES reads besides outputs and targets."""
        name = LOSSES[loss].parameter
        return () if name is None else (float(getattr(self, name)),)

    def _start(self, layout: NetworkLayout, dtype: np.dtype[Any]) -> None:
        """Initialise the model for a first fit."""
        weight_init = validate_weight_init(self.weight_init, layout.shapes, dtype)
        self._layout = layout
        self._hold(layout.initial_params(self._random_state, dtype, weight_init))
        self._progress = Progress.start(self.early_stopping)
        self.n_layers_ = len(layout.units)
        self._optimizer: OptimizerState | None = None
        self._schedule: Schedule | None = None

    def _go_on(self, layout: NetworkLayout) -> None:
        """Prepare a model that was fitted before for more training."""
        if layout.units != self._layout.units:
            raise ValueError(
                "warm_start and partial_fit go on with the network that was fitted before, of "
                f"layer sizes {self._layout.units}; got {layout.units}. Fit with warm_start=False "
                "to start anew."
            )
        if layout.normalised != self._layout.normalised:
            raise ValueError(
                "warm_start and partial_fit go on with the network that was fitted before; "
                f"normalization={self.normalization!r} was not its own. Fit with warm_start=False "
                "to start anew."
            )
        params = self._parameters()
        if len(layout.learned_slopes) != len(self._layout.learned_slopes):
            grown = layout.initial_params(np.random.RandomState(0), params.dtype)
            n_common = layout.n_params - len(layout.learned_slopes)
            grown[:n_common] = params[:n_common]
            params, self._optimizer = grown, None
        self._layout = layout
        self._hold(params)

    def _run_epochs(
        self,
        samples: Samples,
        validation: Samples | None,
        source: Source,
        is_incremental: bool,
        resumed: Resumed | None,
    ) -> None:
        order, held_out = sample_numbers(0, samples.X.shape[0]), None
        if resumed is not None:
            order, held_out = resumed.order, resumed.held_out
        elif self.early_stopping and validation is None:
            order, held_out = self._split(samples.targets)
        training = Training(samples, validation, order, held_out)
        if resumed is not None:
            training.check(resumed)
        if held_out is not None:
            if samples.weights is not None:
                refuse_weightless(samples.weights, order, held_out)
            validation = samples.take(held_out)
            source = source.take(order)
        batch_size = self._batch_size(order.size)
        params = self._params
        name = self._optimizer_name()
        max_iter = 1 if is_incremental else self.max_iter
        goes_on = resumed is not None or is_incremental
        if self._optimizer is None or self._optimizer.name != name or not goes_on:
            self._optimizer = OptimizerState.start(name, params)
            self._schedule = None
        if self._schedule is None:
            self._schedule = self._make_schedule(-(-order.size // batch_size) * max_iter)
        validate = None
        if validation is not None:
            validate = make_validation(self._predictor, validation, score_of(self, validation))
        engine = Engine(
            self._layout,
            params,
            kernel_data(samples.X, params.dtype, samples.targets, samples.weights),
            self._optimizer,
            {name: getattr(self, name) for name in HYPERPARAMETERS},
            alpha=self.alpha,
            batch_size=batch_size,
            n_samples=order.size,
            n_jobs=self.n_jobs,
            l1=self.l1,
            max_grad_norm=self.max_grad_norm,
        )
        with (
            engine,
            self._under_way(None if is_incremental else training),
            watched(self, None if is_incremental else source, "epoch", max_iter) as after_epoch,
        ):
            stop = fit_epochs(
                engine,
                order,
                self._progress,
                self._schedule,
                self._random_state,
                max_iter=max_iter,
                shuffle=self.shuffle,
                tol=self.tol,
                n_iter_no_change=self.n_iter_no_change,
                validate=validate,
                report=self._report,
                time_limit=self.time_limit,
                after_epoch=after_epoch,
                resumes=resumed is not None,
            )
        if self.early_stopping and self._progress.best_params is not None:
            # A copy into place: a warm start must not go on training the best weights themselves.
            params[:] = self._progress.best_params
        if stop is Stop.INTERRUPTED:
            warn("Training interrupted by user.")
        elif stop is Stop.MAX_ITER and not is_incremental and not self._has_plan:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
            )

    @contextmanager
    def _under_way(self, training: Training | None) -> Iterator[None]:
        """Let a checkpoint know what is being trained on."""
        self._training = training
        try:
            yield
        finally:
            del self._training

    @property
    def _report(self) -> Callable[[str], None] | None:
        return print if self.verbose and not isinstance(self.verbose, str) else None

    @property
    def _has_plan(self) -> bool:
        """Whether the rate runs to an end, at which training is meant to be over."""
        return isinstance(self.learning_rate, str) and self.learning_rate in PLANS

    def _make_schedule(self, n_steps: int = 1) -> Schedule:
        learning_rate = self.learning_rate
        if isinstance(learning_rate, str) and learning_rate in SCHEDULES and self.solver != "sgd":
            learning_rate = "constant"
        return make_schedule(
            learning_rate,
            self.learning_rate_init,
            self.power_t,
            n_steps=n_steps,
            warmup_steps=self.warmup_steps,
        )

    def _optimizer_name(self) -> str:
        """Return the optimizer that the parameters ask for; without momentum there is none."""
        if self.solver != "sgd":
            return self.solver
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterovs_momentum else "momentum"

    def _batch_size(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return min(_AUTO, n_samples)
        if int(self.batch_size) > n_samples:
            warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            )
        return min(int(self.batch_size), n_samples)

    def _split(self, targets: Floats) -> tuple[Indices, Indices]:
        """Return the samples to train on and those held out, as scikit-learn draws them."""
        train, held_out = train_test_split(
            sample_numbers(0, targets.shape[0]),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratification(targets),
        )
        if held_out.size < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                f"your dataset. It needs at least 2 samples and has {held_out.size} of "
                f"{targets.shape[0]}."
            )
        return train, held_out

    def _run_lbfgs(self, samples: Samples, source: Source) -> None:
        params, progress, n_samples = self._params, self._progress, samples.X.shape[0]
        progress.learning_rate = np.nan
        engine = Engine(
            self._layout,
            params,
            kernel_data(samples.X, params.dtype, samples.targets, samples.weights),
            OptimizerState.start("no_step", params),
            {},
            alpha=self.alpha,
            batch_size=n_samples,
            n_samples=n_samples,
            n_jobs=self.n_jobs,
        )
        with engine, watched(self, source, "iteration", self.max_iter) as after_epoch:

            def after_iteration(n_iter: int, loss: float) -> bool:
                progress.n_iter, progress.loss = n_iter, loss
                return after_epoch is not None and after_epoch(progress)

            result = fit_lbfgs(
                engine,
                max_iter=self.max_iter,
                max_fun=self.max_fun,
                tol=self.tol,
                report=self._report,
                time_limit=self.time_limit,
                after_iteration=None if after_epoch is None else after_iteration,
            )
        progress.n_iter, progress.loss, progress.stop = result.n_iter, result.loss, result.stop
        if result.stop is Stop.INTERRUPTED:
            warn("Training interrupted by user.")
        elif result.stop in (Stop.MAX_ITER, Stop.ABNORMAL):
            warn_of_lbfgs(result, self.max_iter)

    def _publish(self) -> None:
        """Set the fitted attributes that scikit-learn documents."""
        progress = self._progress
        self.out_activation_ = self._layout.activations[-1]
        self.stop_reason_ = progress.stop.value if progress.stop else None
        self.n_iter_, self.t_, self.loss_ = progress.n_iter, progress.samples_seen, progress.loss
        if self._layout.learned_slopes:
            self.activation_slopes_ = self._layout.slope_values(self._params)
        if self.solver != "lbfgs":
            self.loss_curve_ = progress.loss_curve
            self.learning_rate_curve_ = progress.learning_rate_curve
            self.best_loss_ = progress.best_loss
            self.validation_loss_curve_ = progress.validation_loss_curve
            self.validation_scores_ = progress.validation_scores
            self.best_validation_score_ = progress.best_validation_score

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: sparse input is accepted.

        Returns
        -------
        sklearn.utils.Tags
            The tags.
        """
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
