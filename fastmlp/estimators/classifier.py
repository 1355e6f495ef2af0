"""The classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import Tags, check_array, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels

from fastmlp.estimators._base import BaseMLP, constraints_for
from fastmlp.estimators._class_weight import class_weighting
from fastmlp.estimators._samples import Source, checked_batches
from fastmlp.kernels.custom import CustomLoss
from fastmlp.training.data import kernel_data

__all__ = ["MLPClassifier"]

Floats = NDArray[Any]


def _explained(error: TypeError) -> TypeError:
    """Say what is wrong with labels that cannot be sorted, where Python only says that."""
    if "not supported between instances" not in str(error):
        return error
    return TypeError(
        "y has class labels of several types, or missing ones, which cannot be ordered; make them "
        f"all strings or all numbers. {error}"
    )


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multilayer perceptron classifier, compiled.

    A drop-in replacement for :class:`sklearn.neural_network.MLPClassifier`: with the same
    arguments and `random_state` it takes the same steps, to rounding. Binary, multiclass and
    multilabel.

    Parameters
    ----------
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
    loss : {"log_loss", "focal", "squared_error"} or CustomLoss, default="log_loss"
        Cross-entropy; focal loss, which is cross-entropy times ``(1 - p) ** focal_gamma`` with p
        the probability of the right class, so that samples which are right already count
        little; half the squared error of the output probabilities; or a
        :class:`~fastmlp.CustomLoss` of them, of the functions that you write.
    label_smoothing : float, default=0.0
        For ``loss="log_loss"``: a share in [0, 1) of each target that is spread over all
        classes, or over both values of a label.
    focal_gamma : float, default=2.0
        Exponent of ``loss="focal"``, not negative; 0 is cross-entropy.
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
    out_activation : {"logistic", "softmax"} or None, default=None
        Activation of the output layer. None is the loss's own: ``"softmax"`` for
        several classes, ``"logistic"`` for two classes and for several labels.
        Another can be chosen with ``loss="squared_error"`` and with your own.
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
    class_weight : dict, "balanced", list or None, default=None
        Weight of each class, by which the weights of its samples are multiplied; 1 for classes
        left out. ``"balanced"`` is ``n_samples / (n_classes * n_samples_of_the_class)``. For
        several labels per sample ``"balanced"`` or a list of one such dict per label, whose
        weights are multiplied.
    stratify : bool or None, default=None
        Whether the validation data are split off with the same shares of the classes. None is
        scikit-learn's rule: only where there are two classes.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
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
        Number of outputs.
    out_activation_ : str
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
    MLPRegressor : The regressor.

    Notes
    -----
    The first fit of a process loads compiled code from disk; the first fit ever compiles it,
    which takes some seconds. ``predict_proba`` of a model that saw a single class is one column
    of ones.

    References
    ----------
    Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural
    networks".
    Kingma and Ba (2015), "Adam: A Method for Stochastic Optimization".

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(max_iter=1000, random_state=0).fit(X, y)
    >>> model.predict(X[:3])
    array([0, 0, 0])
    """

    _constraints = constraints_for(("log_loss", "focal", "squared_error"), ("logistic", "softmax"))

    def __init__(
        self,
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
        loss: str | CustomLoss = "log_loss",
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
        weight_decay: float = 0.01,
        dropout: float | ArrayLike = 0.0,
        normalization: str | None = None,
        l1: float = 0.0,
        max_grad_norm: float | None = None,
        activation_slope: Any = None,
        out_activation: str | None = None,
        weight_init: Any = None,
        n_jobs: int | None = None,
        warmup_steps: float = 0,
        time_limit: float | None = None,
        scoring: str | Callable[..., float] | None = None,
        callbacks: Any = None,
        class_weight: Any = None,
        stratify: bool | None = None,
    ) -> None:
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
        self.loss = loss
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
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
        self.class_weight = class_weight
        self.stratify = stratify

    # -- targets ------------------------------------------------------------------------------

    def _validate_targets(self, y: Any, is_incremental: bool) -> Any:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or is_incremental):
            self._learn_classes(y)
        else:
            self._check_classes(y)
        is_binary = self._label_binarizer.y_type_ == "binary"
        self.n_outputs_ = 1 if is_binary else len(self.classes_)
        return y

    def _learn_classes(self, labels: Any) -> None:
        try:
            self._label_binarizer = LabelBinarizer().fit(labels)
        except TypeError as error:
            raise _explained(error) from error
        self.classes_ = self._label_binarizer.classes_

    def _check_classes(self, y: Any) -> None:
        try:
            classes = unique_labels(y)
        except TypeError as error:
            raise _explained(error) from error
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        else:
            self._refuse_unknown(classes)

    @property
    def _is_multilabel(self) -> bool:
        return bool(self._label_binarizer.y_type_.startswith("multilabel"))

    def _encode_targets(self, y: Any, dtype: np.dtype[Any]) -> Floats:
        n_labels = len(self.classes_)
        if self._is_multilabel and isinstance(y, np.ndarray) and y.shape[1:] == (n_labels,):
            # The binarizer gives the same, by way of two more arrays of that size.
            return y.astype(dtype)
        if self._is_multilabel or (self.n_outputs_ > 1 and self.loss not in ("log_loss", "focal")):
            return np.asarray(self._label_binarizer.transform(y), dtype)
        # The index of the class: nothing of the size of samples times classes is ever built.
        return np.searchsorted(self.classes_, y).astype(dtype).reshape(-1, 1)

    def _encode_known_targets(self, y: Any, dtype: np.dtype[Any]) -> Floats:
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        if not self._is_multilabel:
            y = column_or_1d(y, warn=True)
            self._refuse_unknown(unique_labels(y))
        elif y.shape[1:] != (self.n_outputs_,) or not np.isin(y, (0, 1)).all():
            raise ValueError(
                f"y must be of shape (n_samples, {self.n_outputs_}), one 0 or 1 per label."
            )
        return self._encode_targets(y, dtype)

    def _refuse_unknown(self, classes: NDArray[Any]) -> None:
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _class_weighting(self, y: Any) -> Callable[[Any], Floats] | None:
        return class_weighting(
            self.class_weight, self.classes_, y, is_multilabel=self._is_multilabel
        )

    def _loss_and_output(self) -> tuple[str | CustomLoss, str]:
        output = "logistic" if self._is_multilabel or self.n_outputs_ == 1 else "softmax"
        merged: dict[Any, str | CustomLoss] = {
            "log_loss": f"{output}_cross_entropy",
            "focal": f"{output}_focal",
        }
        return merged.get(self.loss, self.loss), output

    def _loss_parameters(self, loss: str | CustomLoss) -> tuple[float, ...]:
        if self.label_smoothing != 0 and self.loss != "log_loss":
            raise ValueError(
                f"label_smoothing={self.label_smoothing!r} cannot be combined with "
                f"loss={self.loss!r}. Set label_smoothing=0, or loss='log_loss'."
            )
        return super()._loss_parameters(loss)

    def _stratification(self, targets: Floats) -> Floats | None:
        # scikit-learn stratifies where there is one output: two classes.
        if not (self.n_outputs_ == 1 if self.stratify is None else self.stratify):
            return None
        return targets != 0 if self.n_outputs_ == 1 else targets

    def _validation_score(self, outputs: Floats, targets: Floats, weights: Floats | None) -> float:
        if self._is_multilabel or self.n_outputs_ == 1:
            is_right = ((outputs > 0.5) == targets).all(axis=1)
        else:
            codes = targets[:, 0] if targets.shape[1] == 1 else targets.argmax(axis=1)
            is_right = outputs.argmax(axis=1) == codes
        return float(np.average(is_right, weights=weights))

    def _output_gradient(self, X: Any, column: int, logits: bool) -> Floats:
        if self._is_multilabel or (self.n_outputs_ > 1 and self.out_activation_ == "softmax"):
            return self._unit_gradient(X, column, logits)
        if self.n_outputs_ == 1:
            gradient = self._unit_gradient(X, 0, logits)
            if len(self.classes_) == 1 and not logits:
                return np.zeros_like(gradient)  # predict_proba is constant
            return gradient if column == len(self.classes_) - 1 else -gradient
        if logits:
            return self._unit_gradient(X, column, logits)
        # predict_proba divides these outputs by their sum, or is constant where that is 0.
        outputs = self._predictor(kernel_data(X, X.dtype), n_jobs=self.n_jobs)
        totals = outputs.sum(axis=1, keepdims=True)
        totals[totals == 0] = np.inf
        units = [self._unit_gradient(X, unit, logits) for unit in range(self.n_outputs_)]
        return (units[column] - outputs[:, [column]] / totals * np.sum(units, axis=0)) / totals

    # -- scikit-learn's methods ---------------------------------------------------------------

    @available_if(BaseMLP._check_solver)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch on the given samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, each of which is in `classes`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever occur; needed on the first call only.

        Returns
        -------
        self : object
            The model.

        Raises
        ------
        ValueError
            If `classes` is missing on the first call or differs from it later, or as for `fit`.
        """
        known = getattr(self, "classes_", None)
        if known is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if known is None:
            self._learn_classes(y if type_of_target(y).startswith("multilabel") else classes)
        elif (
            classes is not None
            and not self._is_multilabel
            and not np.array_equal(known, unique_labels(classes))
        ):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{known!r}"
            )
        return self._fit(Source(X, y, sample_weight))

    @available_if(BaseMLP._check_solver)
    def fit_batches(self, batches: Iterable[Any], *, classes: ArrayLike | None = None) -> Self:
        """Train once on each of several batches, which need never be in memory together.

        The same as calling `partial_fit` with each of them in turn.

        Parameters
        ----------
        batches : iterable of (X, y) or (X, y, sample_weight)
            Batches of any size, each of which is trained on in steps of `batch_size` samples.
            A generator is asked for one after another.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever occur; needed unless the model has seen them before.

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
            self.partial_fit(X, y, sample_weight, classes)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            The most probable class; per label, whether its probability exceeds one half.
        """
        outputs = self._outputs(X)
        if self._is_multilabel:
            labels: NDArray[Any] = self._label_binarizer.inverse_transform(outputs)
            return labels
        if len(self.classes_) == 1:
            return np.repeat(self.classes_, outputs.shape[0])
        if self.n_outputs_ == 1:
            return self.classes_[(outputs[:, 0] > 0.5).astype(np.intp)]
        return self.classes_[outputs.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Floats:
        """Predict probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probability of each class, or of each label; columns in the order of `classes_`.
        """
        outputs = self._outputs(X)
        if self._is_multilabel:
            return outputs
        if len(self.classes_) == 1:
            return np.ones_like(outputs)
        if self.n_outputs_ == 1:
            return np.hstack([1 - outputs, outputs])
        if self.out_activation_ == "logistic":
            # One probability per class, each by itself; all may underflow to zero.
            totals = outputs.sum(axis=1, keepdims=True)
            outputs[totals[:, 0] == 0] = 1
            outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs

    def predict_log_proba(self, X: Any) -> Floats:
        """Predict logarithms of probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            ``log(predict_proba(X))``.
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: several labels per sample are accepted.

        Returns
        -------
        sklearn.utils.Tags
            The tags.
        """
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
