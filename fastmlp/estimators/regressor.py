"""The regressor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastmlp.estimators._base import BaseMLP, constraints_for
from fastmlp.estimators._samples import Source, checked_batches
from fastmlp.estimators._validation import CUSTOM_ACTIVATION, validate_quantiles
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.custom import CustomActivation, CustomLoss
from fastmlp.kernels.losses import LOSSES

__all__ = ["MLPRegressor"]

Floats = NDArray[Any]


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron regressor, compiled.

    A drop-in replacement for :class:`sklearn.neural_network.MLPRegressor`: with the same
    arguments and `random_state` it takes the same steps, to rounding. One or several outputs.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma"} or \
            CustomLoss, default="squared_error"
        Half the squared error. The absolute error, for the median, and Huber's loss, squared up
        to an error of `huber_delta` and absolute beyond: both bear outliers. The pinball loss,
        for the quantile of that name. Half the Poisson deviance with an exponential output, for
        counts ``y >= 0``; half the gamma deviance with an exponential output, for ``y > 0`` whose
        spread grows with the mean. Or a :class:`~fastmlp.CustomLoss`, of the functions that you
        write. The squared error is reported as the mean over outputs, the others as the sum.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer. ``()`` is a linear model.
    activation : str, CustomActivation or array-like of them, default="relu"
        Activation of the hidden layers, or one per hidden layer: ``"identity"``,
        ``"binary_step"``, ``"logistic"``, ``"tanh"``, ``"arctan"``, ``"relu"``,
        ``"leaky_relu"``, ``"prelu"``, ``"elu"``, ``"softplus"``, ``"gelu"``, ``"silu"``,
        ``"selu"`` or ``"mish"``; or a :class:`~fastmlp.CustomActivation`, of the functions that
        you write.
    solver : {"adam", "adamw", "nadam", "rmsprop", "adagrad", "sgd", "lbfgs"}, default="adam"
        ``"lbfgs"`` is a quasi-Newton method on all samples at once and suits small data.
        ``"adamw"`` is Adam with `weight_decay`, ``"nadam"`` Adam with Nesterov's momentum.
    alpha : float, default=0.0001
        L2 penalty on the weights, not on the biases; divided by the size of the batch.
    batch_size : int or "auto", default="auto"
        Samples per step: 1 is stochastic descent, the number of samples batch descent,
        anything between mini-batch descent. ``"auto"`` is ``min(200, n_samples)``.
    learning_rate : str or callable, default="constant"
        Schedule. For ``solver="sgd"``, and ignored by the others as in scikit-learn:
        ``"constant"``; ``"invscaling"``, ``learning_rate_init / (t + 1) ** power_t`` after t
        samples; ``"adaptive"``, divided by 5 whenever there is no more improvement.
        For every solver but ``"lbfgs"``: ``"cosine"``, ``"one_cycle"`` (a rise from 1/25 of
        `learning_rate_init` in the first 30 % of the steps, then a longer fall) and ``"step"``
        (a tenth after half of the steps, a hundredth after three quarters), each over all steps
        of `max_iter` epochs; or a callable that maps the step, counted from 0 over the whole
        fit, to its rate.
    learning_rate_init : float, default=0.001
        Initial learning rate; the largest one for ``"cosine"``, ``"one_cycle"`` and ``"step"``.
        Not used with a callable.
    power_t : float, default=0.5
        Exponent of ``"invscaling"``.
    max_iter : int, default=200
        Largest number of epochs (iterations for ``"lbfgs"``).
    shuffle : bool, default=True
        Whether each epoch takes the samples in a new order.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights, the shuffling and the validation split. An int makes
        results repeatable.
    tol : float, default=0.0001
        Improvements smaller than this do not count.
    verbose : bool, int or "progress", default=False
        Whether to print the loss of each epoch, as scikit-learn does, or show a progress bar.
    warm_start : bool, default=False
        Whether `fit` goes on from the last solution.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether that momentum is Nesterov's.
    early_stopping : bool, default=False
        Whether to hold out validation data, or to take those passed to `fit`, stop when their
        score no longer improves, and keep the weights of the best epoch.
    validation_fraction : float, default=0.1
        Share of the samples to hold out.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of Adam's first and second moment, in [0, 1); `beta_2` is that of
        ``"rmsprop"`` too.
    epsilon : float, default=1e-8
        Keeps the quotient of Adam, its kin, RMSprop and Adagrad finite.
    n_iter_no_change : int or inf, default=10
        Epochs without improvement that are allowed.
    max_fun : int, default=15000
        Largest number of evaluations of ``"lbfgs"``.
    huber_delta : float, default=1.0
        Error up to which ``loss="huber"`` is squared.
    quantile : float or array-like of float, default=0.5
        For ``loss="quantile"``: the quantile in (0, 1) to predict. Several, in increasing order,
        are predicted at once, one output for each, from a `y` of shape (n_samples,); predictions
        of a sample are sorted, so that they never cross.
    weight_decay : float, default=0.01
        For ``solver="adamw"``: share of the weights, not of the biases, that each step takes
        away, times the learning rate. Apart from `alpha`, whose penalty is part of the gradient.
    dropout : float or array-like of float, default=0.0
        Share of a hidden layer's units, in [0, 1), that each training step sets aside at random;
        one number, or one per hidden layer. ``"selu"`` gets alpha dropout, which keeps its mean
        and variance. The random numbers follow from `random_state`, whatever `n_jobs` is, and
        `loss_curve_` is that of the thinned networks. Not for ``solver="lbfgs"``.
    normalization : {"layer"} or None, default=None
        ``"layer"`` gives each sample's pre-activations in a hidden layer mean 0 and variance 1,
        and then a scale and an offset per unit that are learned: deep networks train faster.
    l1 : float, default=0.0
        L1 penalty on the weights, divided by the size of the batch as `alpha` is. Weights that do
        not help become small, not exactly 0. Not for ``solver="lbfgs"``.
    max_grad_norm : float or None, default=None
        Length of the gradient of all parameters, penalties included, to which a longer one is
        shortened. Not for ``solver="lbfgs"``.
    activation_slope : float, array-like or None, default=None
        Slope below zero of ``"leaky_relu"`` (0.01), initial slope of ``"prelu"`` (0.25), scale
        of ``"elu"`` (1.0); one number, or one per hidden layer. None is the default in
        parentheses.
    out_activation : str, CustomActivation or None, default=None
        Activation of the output layer. None is the loss's own: ``"identity"`` for squared
        error, absolute error, Huber's and quantile loss and your own, which allow any other too,
        and ``"exp"`` for Poisson and gamma, which do not.
    weight_init : str, (coefs, intercepts) or None, default=None
        How the weights start. None is scikit-learn's rule, by Glorot and Bengio, biases included;
        ``"glorot_uniform"``, ``"glorot_normal"``, ``"he_uniform"``, ``"he_normal"`` (for relu and
        its kin), ``"lecun_uniform"``, ``"lecun_normal"`` (for selu) and ``"orthogonal"`` draw
        weights and set biases to 0; a pair of lists of arrays, shaped like `coefs_` and
        `intercepts_`, gives them.
    n_jobs : int or None, default=None
        Threads that share each step. None is the cores that are free, and 1 inside a joblib
        worker; -1 is all cores. Small work stays on one thread. Results do not depend on it beyond
        rounding, and repeat bit for bit for a given number.
    warmup_steps : int or float, default=0
        Steps at the beginning in which the rate rises linearly, step t having ``(t + 1) /
        warmup_steps`` of it; a float in (0, 1) is a share of all steps. For every solver but
        ``"lbfgs"``.
    time_limit : float or None, default=None
        Seconds after which no further epoch (iteration) is begun. There is no warning then:
        `stop_reason_` says it.
    scoring : str, callable or None, default=None
        What early stopping goes by: None is the default score of `score`, ``"loss"`` the negative
        loss, without penalty; or the name of a scorer, or ``scorer(estimator, X, y)``, which also
        gets ``sample_weight`` where there are weights.
    callbacks : list of callable or None, default=None
        Each is called after every epoch (iteration) with one
        :class:`~fastmlp.estimators.callbacks.Epoch`, and ends training by returning True.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Weights of each layer, views on one flat vector.
    intercepts_ : list of ndarray of shape (fan_out,)
        Biases of each layer, likewise.
    norm_scales_, norm_offsets_ : list of ndarray of shape (fan_out,)
        What hidden layers learned with ``normalization="layer"``.
    activation_slopes_ : list of float
        Slope of each layer's activation, the output's last; only where ``"prelu"`` learns one.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, where X had names that are all strings.
    n_layers_ : int
        Number of layers, inputs and outputs included.
    n_outputs_ : int
        Number of outputs; of quantiles, where there are several.
    out_activation_ : str or CustomActivation
        Activation of the output layer.
    n_iter_ : int
        Epochs (iterations) that were run.
    t_ : int
        Samples trained on.
    loss_ : float
        Loss of the last epoch.
    loss_curve_ : list of float
        Loss of each epoch, each batch before its update; not for ``"lbfgs"``.
    learning_rate_curve_ : list of float
        Learning rate of the last step of each epoch; not for ``"lbfgs"``.
    best_loss_ : float or None
        Smallest loss; None under early stopping; not for ``"lbfgs"``.
    validation_scores_ : list of float or None
        Score of each epoch on the held-out data; None without early stopping.
    best_validation_score_ : float or None
        Best of these scores; None without early stopping.
    validation_loss_curve_ : list of float or None
        Loss of the held-out data after each epoch, without penalty; None without such data; not
        for ``"lbfgs"``.
    stop_reason_ : str
        Why training ended: ``"converged"``, ``"max_iter"``, ``"time_limit"``, ``"callback"``,
        ``"interrupted"``, ``"diverged"`` or, only for ``"lbfgs"``, ``"abnormal"``.

    See Also
    --------
    MLPClassifier : The classifier.

    References
    ----------
    Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural
    networks".
    Kingma and Ba (2015), "Adam: A Method for Stochastic Optimization".
    Koenker and Bassett (1978), "Regression Quantiles".
    Chernozhukov, Fernández-Val and Galichon (2010), "Quantile and Probability Curves Without
    Crossing", for why sorting quantiles only betters them.

    Examples
    --------
    >>> from fastmlp import MLPRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(solver="lbfgs", hidden_layer_sizes=(), random_state=0).fit(X, y)
    >>> round(model.score(X, y), 2)
    0.52
    """

    _constraints = constraints_for(
        tuple(name for name, row in LOSSES.items() if row.task != "classification"),
        tuple(ACTIVATIONS),
    )
    _constraints["out_activation"] += (CUSTOM_ACTIVATION,)

    def __init__(
        self,
        loss: str | CustomLoss = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Callable[[int], float] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | str = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        huber_delta: float = 1.0,
        quantile: Any = 0.5,
        weight_decay: float = 0.01,
        dropout: float | ArrayLike = 0.0,
        normalization: str | None = None,
        l1: float = 0.0,
        max_grad_norm: float | None = None,
        activation_slope: Any = None,
        out_activation: str | CustomActivation | None = None,
        weight_init: Any = None,
        n_jobs: int | None = None,
        warmup_steps: float = 0,
        time_limit: float | None = None,
        scoring: str | Callable[..., float] | None = None,
        callbacks: Any = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.huber_delta = huber_delta
        self.quantile = quantile
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.normalization = normalization
        self.l1 = l1
        self.max_grad_norm = max_grad_norm
        self.activation_slope = activation_slope
        self.out_activation = out_activation
        self.weight_init = weight_init
        self.n_jobs = n_jobs
        self.warmup_steps = warmup_steps
        self.time_limit = time_limit
        self.scoring = scoring
        self.callbacks = callbacks

    # -- targets ------------------------------------------------------------------------------

    def _validate_data_options(self) -> dict[str, Any]:
        return {"y_numeric": True}

    def _validate_targets(self, y: Any, is_incremental: bool) -> Any:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._refuse_out_of_range(y)
        self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]
        n_quantiles = self._n_quantiles()
        if n_quantiles > 1:
            if self.n_outputs_ > 1:
                raise ValueError(
                    f"y must have one output where quantile has {n_quantiles} elements, got "
                    f"{self.n_outputs_}."
                )
            self.n_outputs_ = n_quantiles
        return y

    def _n_quantiles(self) -> int:
        return len(validate_quantiles(self.quantile)) if self.loss == "quantile" else 1

    def _refuse_out_of_range(self, y: NDArray[Any]) -> None:
        is_out_of: dict[Any, Any] = {"poisson": np.less, "gamma": np.less_equal}
        is_out = is_out_of.get(self.loss)
        if is_out is not None and np.any(is_out(y, 0)):
            raise ValueError(
                f"Some value(s) of y are out of the valid range of the loss {self.loss!r}."
            )

    def _encode_known_targets(self, y: Any, dtype: np.dtype[Any]) -> Floats:
        y = check_array(y, ensure_2d=False, dtype=(np.float64, np.float32), input_name="y")
        y = self._encode_targets(y, dtype)
        if y.shape[1] != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} output(s), got {y.shape[1]}.")
        self._refuse_out_of_range(y)
        return y

    def _encode_targets(self, y: Any, dtype: np.dtype[Any]) -> Floats:
        with np.errstate(over="ignore"):
            targets = np.asarray(y, dtype).reshape(len(y), -1)
        if not np.isfinite(targets).all():
            raise ValueError(f"Input y contains infinity or a value too large for {dtype!r}.")
        # Each of several quantiles is compared with the same target.
        return np.repeat(targets, self._n_quantiles(), axis=1)

    def _loss_and_output(self) -> tuple[str | CustomLoss, str]:
        return self.loss, LOSSES[self.loss].output_activation or "identity"

    def _loss_parameters(self, loss: str | CustomLoss) -> tuple[float, ...]:
        return (
            validate_quantiles(self.quantile)
            if loss == "quantile"
            else super()._loss_parameters(loss)
        )

    def _stratification(self, targets: Floats) -> Floats | None:
        return None

    def _validation_score(self, outputs: Floats, targets: Floats, weights: Any) -> float:
        if self._layout.loss != "quantile":
            return float(r2_score(targets, outputs, sample_weight=weights))
        outputs = self._in_order(outputs)
        quantiles = np.resize(self._layout.loss_parameters, outputs.shape[1])
        scores = [
            d2_pinball_score(target, output, sample_weight=weights, alpha=quantile)
            for target, output, quantile in zip(targets.T, outputs.T, quantiles, strict=True)
        ]
        return float(np.mean(scores))

    def _in_order(self, outputs: Floats) -> Floats:
        """Sort the outputs of each sample where they are several quantiles of one target."""
        return np.sort(outputs, axis=1) if len(self._layout.loss_parameters) > 1 else outputs

    # -- scikit-learn's methods ---------------------------------------------------------------

    @available_if(BaseMLP._check_solver)
    def partial_fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch on the given samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        self : object
            The model.

        Raises
        ------
        ValueError
            As for `fit`.
        """
        return self._fit(Source(X, y, sample_weight))

    @available_if(BaseMLP._check_solver)
    def fit_batches(self, batches: Iterable[Any]) -> Self:
        """Train once on each of several batches, which need never be in memory together.

        The same as calling `partial_fit` with each of them in turn.

        Parameters
        ----------
        batches : iterable of (X, y) or (X, y, sample_weight)
            Batches of any size, each of which is trained on in steps of `batch_size` samples.
            A generator is asked for one after another.

        Returns
        -------
        self : object
            The model.

        Raises
        ------
        ValueError
            If there is no batch or one is no such tuple, or as for `partial_fit`.
        """
        for X, y, sample_weight in checked_batches(batches):
            self.partial_fit(X, y, sample_weight)
        return self

    def predict(self, X: Any) -> Floats:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The outputs; several quantiles in increasing order.
        """
        outputs = self._in_order(self._outputs(X))
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return how well the predictions fit.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            R²; with ``loss="quantile"`` D² of the pinball loss, the mean over outputs, which is 1
            for perfect predictions and 0 for the quantiles of `y` itself.
        """
        check_is_fitted(self)
        if self._layout.loss != "quantile":
            return float(super().score(X, y, sample_weight))
        targets = self._encode_known_targets(y, self._parameters().dtype)
        return self._validation_score(self._outputs(X), targets, sample_weight)
