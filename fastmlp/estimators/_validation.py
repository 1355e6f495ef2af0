"""Checks of what a user passes to an estimator, with scikit-learn's wording.

A parameter is described by a tuple of constraints, of which its value must satisfy one. A
constraint is a test and the words for it; the table that :func:`parameter_constraints` returns is
all there is to say about the single parameters. What concerns the elements of a sequence is
checked by one function per parameter, which also returns the value in the one form that training
takes. What concerns two parameters together is in `_clashes`.

The names of activations, losses and solvers come in as arguments, so that a new one needs no change
here. Compiled code relies on these checks: ``sklearn.set_config(skip_parameter_validation=True)``
does not switch them off.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import pairwise
from numbers import Integral, Number, Real
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array

from fastmlp.kernels.custom import CompilationError, CustomActivation, CustomLoss


class InvalidParameterError(ValueError, TypeError):
    """A constructor parameter has a wrong type or value.

    Like scikit-learn's exception of this name, it may be caught as either of its bases.
    """


class Constraint(NamedTuple):
    """A condition on a value.

    Parameters
    ----------
    description : str
        What follows "must be" in the error message.
    accepts : callable
        Whether a value of any type satisfies the condition.
    """

    description: str
    accepts: Callable[[Any], bool]


def interval(
    kind: type,
    low: float | None,
    high: float | None,
    closed: Literal["left", "right", "both", "neither"],
) -> Constraint:
    """Return a constraint such as "an int in the range [1, inf)".

    Parameters
    ----------
    kind : {numbers.Integral, numbers.Real}
        As in scikit-learn, NumPy scalars and ``bool`` count, and integers are real. NaN is refused.
    low, high : float or None
        The bounds; None is infinite.
    closed : {"left", "right", "both", "neither"}
        The bounds that belong to the range.
    """
    is_integral = kind is Integral
    convert: Callable[[Any], float] = int if is_integral else float
    lower = -math.inf if low is None else convert(low)
    upper = math.inf if high is None else convert(high)
    left, is_above = ("[", operator.ge) if closed in ("left", "both") else ("(", operator.gt)
    right, is_below = ("]", operator.le) if closed in ("right", "both") else (")", operator.lt)

    def accepts(value: Any) -> bool:
        if not isinstance(value, kind):
            return False
        try:
            number = convert(value)  # compare what training will see
        except OverflowError:
            return False
        return is_above(number, lower) and is_below(number, upper)

    noun = "an int" if is_integral else "a float"
    return Constraint(f"{noun} in the range {left}{lower}, {upper}{right}", accepts)


def options(kind: type, choices: Iterable[object]) -> Constraint:
    """Return a constraint such as "a str among {'adam', 'lbfgs', 'sgd'}".

    Parameters
    ----------
    kind : type
        Type of the choices, ``str`` or ``numbers.Real``.
    choices : iterable
        The choices, which the message lists in alphabetical order.
    """
    choices = tuple(choices)
    noun = "float" if kind is Real else kind.__name__
    return Constraint(
        f"a {noun} among {{{', '.join(sorted(map(repr, choices)))}}}",
        lambda value: isinstance(value, kind) and value in choices,
    )


def instance_of(kind: type) -> Constraint:
    """Return a constraint such as "an instance of 'bool'"."""
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return Constraint(
        f"an instance of '{module}{kind.__qualname__}'", lambda value: isinstance(value, kind)
    )


def is_array_like(value: object) -> bool:
    """Whether scikit-learn takes a value as array-like: a string or a sparse matrix is not."""
    has_elements = any(hasattr(value, name) for name in ("__len__", "shape", "__array__"))
    return has_elements and not np.isscalar(value) and not issparse(value)


NONE = Constraint("None", lambda value: value is None)
FINITE = interval(Real, None, None, "neither")
NON_NEGATIVE = interval(Real, 0, None, "left")
POSITIVE = interval(Real, 0, None, "neither")
BELOW_ONE = interval(Real, 0, 1, "left")
BETWEEN_ZERO_AND_ONE = interval(Real, 0, 1, "neither")
COUNT = interval(Integral, 1, None, "left")
BOOLEAN = (instance_of(bool), instance_of(np.bool_))
CALLABLE = Constraint("a callable", callable)
CUSTOM_ACTIVATION = Constraint(
    "a CustomActivation", lambda value: isinstance(value, CustomActivation)
)
CUSTOM_LOSS = Constraint("a CustomLoss", lambda value: isinstance(value, CustomLoss))
ARRAY_LIKE = Constraint("an array-like", is_array_like)
WEIGHTS = Constraint(
    "a pair (coefs, intercepts) of lists of arrays",
    lambda value: (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(isinstance(arrays, (tuple, list)) for arrays in value)
    ),
)


def parameter_constraints(
    *,
    activation_names: Iterable[str],
    out_activation_names: Iterable[str],
    loss_names: Iterable[str],
    solver_names: Iterable[str],
    weight_init_names: Iterable[str],
    learning_rate_names: Iterable[str],
) -> dict[str, tuple[Constraint, ...]]:
    """Return the constraints on the constructor parameters of an estimator.

    Parameters
    ----------
    activation_names, out_activation_names, loss_names, solver_names, weight_init_names : \
            iterable of str
        The choices for the parameters of these names.
    learning_rate_names : iterable of str
        The choices for ``learning_rate``, besides any callable.

    Returns
    -------
    dict of str to tuple of Constraint
        Per parameter, the constraints of which one must hold.
    """
    return {
        "hidden_layer_sizes": (ARRAY_LIKE, COUNT),
        "activation": (
            options(str, activation_names),
            CUSTOM_ACTIVATION,
            Constraint("an array-like of one such per hidden layer", is_array_like),
        ),
        "solver": (options(str, solver_names),),
        "alpha": (NON_NEGATIVE,),
        "batch_size": (options(str, ["auto"]), COUNT),
        "learning_rate": (options(str, learning_rate_names), CALLABLE),
        "learning_rate_init": (POSITIVE,),
        "power_t": (NON_NEGATIVE,),
        "max_iter": (COUNT,),
        "shuffle": BOOLEAN,
        "random_state": (
            interval(Integral, 0, 2**32 - 1, "both"),
            instance_of(np.random.RandomState),
            NONE,
        ),
        "tol": (NON_NEGATIVE,),
        "verbose": (interval(Integral, 0, None, "left"), *BOOLEAN, options(str, ["progress"])),
        "warm_start": BOOLEAN,
        "momentum": (interval(Real, 0, 1, "both"),),
        "nesterovs_momentum": BOOLEAN,
        "early_stopping": BOOLEAN,
        "validation_fraction": (BELOW_ONE,),
        "beta_1": (BELOW_ONE,),
        "beta_2": (BELOW_ONE,),
        "epsilon": (POSITIVE,),
        "n_iter_no_change": (COUNT, options(Real, [math.inf])),
        "max_fun": (COUNT,),
        "loss": (options(str, loss_names), CUSTOM_LOSS),
        "label_smoothing": (BELOW_ONE,),
        "focal_gamma": (NON_NEGATIVE,),
        "huber_delta": (POSITIVE,),
        "quantile": (
            BETWEEN_ZERO_AND_ONE,
            Constraint("an array-like of such numbers in increasing order", is_array_like),
        ),
        "weight_decay": (NON_NEGATIVE,),
        "dropout": (
            BELOW_ONE,
            Constraint("an array-like of one such number per hidden layer", is_array_like),
        ),
        "normalization": (options(str, ["layer"]), NONE),
        "l1": (NON_NEGATIVE,),
        "max_grad_norm": (POSITIVE, NONE),
        "activation_slope": (
            NONE,
            FINITE,
            Constraint("an array-like of one such number per hidden layer", is_array_like),
        ),
        "out_activation": (options(str, out_activation_names), NONE),
        "weight_init": (options(str, weight_init_names), WEIGHTS, NONE),
        "n_jobs": (
            NONE,
            Constraint("a non-zero int", lambda value: isinstance(value, Integral) and value != 0),
        ),
        "warmup_steps": (
            interval(Integral, 0, None, "left"),
            interval(Real, 0, 1, "neither"),
        ),
        "time_limit": (NONE, POSITIVE),
        "scoring": (NONE, instance_of(str), CALLABLE),
        "callbacks": (
            NONE,
            Constraint(
                "a list or tuple of callables",
                lambda value: isinstance(value, (list, tuple)) and all(map(callable, value)),
            ),
        ),
        "class_weight": (
            options(str, ["balanced"]),
            instance_of(dict),
            instance_of(list),
            NONE,
        ),
        "stratify": (NONE, *BOOLEAN),
    }


def validate_parameters(
    estimator: BaseEstimator, constraints: Mapping[str, tuple[Constraint, ...]]
) -> None:
    """Check every constructor parameter of an estimator by itself.

    Parameters
    ----------
    estimator : estimator
        Its ``get_params`` gives the values, the name of its class goes into the message.
    constraints : mapping of str to tuple of Constraint
        As from :func:`parameter_constraints`. Parameters without constraints, which a subclass may
        have, are not checked.

    Raises
    ------
    InvalidParameterError
        For the alphabetically first parameter that satisfies none of its constraints.
    """
    for name, value in estimator.get_params(deep=False).items():
        allowed = constraints.get(name, ())
        if not allowed or any(constraint.accepts(value) for constraint in allowed):
            continue
        *others, last = (constraint.description for constraint in allowed)
        wanted = f"{', '.join(others)} or {last}" if others else last
        raise InvalidParameterError(
            f"The {name!r} parameter of {type(estimator).__name__} must be {wanted}."
            f" Got {value!r} instead."
        )


def _elements(value: Any) -> list[Any] | None:
    """List the elements of an array-like; None for what has none or has them in no order."""
    if not is_array_like(value) or isinstance(value, (Set, Mapping)):
        return None
    try:
        return list(value)
    except TypeError:  # an array without dimensions
        return None


def _one_per_hidden_layer(
    name: str, value: object, n_hidden_layers: int, constraint: Constraint
) -> list[Any]:
    """Spread one value over the hidden layers, or check that there is one value for each."""
    if constraint.accepts(value):
        return [value] * n_hidden_layers
    elements = _elements(value)
    if elements is None or not all(constraint.accepts(element) for element in elements):
        raise InvalidParameterError(
            f"{name} must be {constraint.description}, or an array-like of one such per hidden"
            f" layer, got {value!r}."
        )
    if len(elements) != n_hidden_layers:
        raise InvalidParameterError(
            f"{name} must have one element per hidden layer, of which hidden_layer_sizes has"
            f" {n_hidden_layers}, got {len(elements)}: {elements}."
        )
    return elements


def validate_hidden_layer_sizes(hidden_layer_sizes: object) -> tuple[int, ...]:
    """Return the number of units of each hidden layer.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int of shape (n_hidden_layers,)
        Python or NumPy integers ≥ 1, not bools. An empty sequence is a linear model.

    Returns
    -------
    tuple of int
        The sizes, of length n_hidden_layers.

    Raises
    ------
    InvalidParameterError
        If it is anything else.
    """
    sizes = (
        [hidden_layer_sizes]
        if isinstance(hidden_layer_sizes, Integral)
        else _elements(hidden_layer_sizes)
    )
    if sizes is None or not all(
        isinstance(size, Integral) and not isinstance(size, bool) for size in sizes
    ):
        raise InvalidParameterError(
            "hidden_layer_sizes must be an int or a one-dimensional array-like of ints,"
            f" got {hidden_layer_sizes!r}."
        )
    if any(size <= 0 for size in sizes):
        raise InvalidParameterError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return tuple(int(size) for size in sizes)


def validate_activations(
    activation: object, n_hidden_layers: int, activation_names: Iterable[str]
) -> tuple[str | CustomActivation, ...]:
    """Return the activation of each hidden layer.

    Parameters
    ----------
    activation : str, CustomActivation or array-like of them of shape (n_hidden_layers,)
        One name or function for all hidden layers, or one for each.
    n_hidden_layers : int
        Number of elements of ``hidden_layer_sizes``.
    activation_names : iterable of str
        The choices.

    Returns
    -------
    tuple of str or CustomActivation
        The names or functions, of length n_hidden_layers.

    Raises
    ------
    InvalidParameterError
        If a name is not among the choices or their number is not that of the hidden layers.
    """
    names = options(str, activation_names)
    constraint = Constraint(
        f"{names.description} or {CUSTOM_ACTIVATION.description}",
        lambda value: names.accepts(value) or CUSTOM_ACTIVATION.accepts(value),
    )
    elements = _one_per_hidden_layer("activation", activation, n_hidden_layers, constraint)
    return tuple(
        element if isinstance(element, CustomActivation) else str(element) for element in elements
    )


def validate_custom_functions(estimator: BaseEstimator, dtype: DTypeLike) -> None:
    """Compile the user's own activations and loss.

    Parameters
    ----------
    estimator : estimator
        Its parameters are valid by themselves.
    dtype : dtype
        The compute dtype.

    Raises
    ------
    InvalidParameterError
        If a function cannot be compiled.
    """
    for name in ("activation", "out_activation", "loss"):
        value = getattr(estimator, name)
        for element in _elements(value) or [value]:
            if isinstance(element, (CustomActivation, CustomLoss)):
                try:
                    element.compile(dtype)
                except CompilationError as error:
                    raise InvalidParameterError(
                        f"The {name!r} parameter of {type(estimator).__name__} is {element!r}, but"
                        f" {error}"
                    ) from error


def validate_activation_slopes(
    activation_slope: object, n_hidden_layers: int
) -> tuple[float | None, ...]:
    """Return the slope of the activation of each hidden layer.

    Parameters
    ----------
    activation_slope : None, float or array-like of float or None of shape (n_hidden_layers,)
        One finite number for all hidden layers, or one for each; None is the default slope of the
        activation.
    n_hidden_layers : int
        Number of elements of ``hidden_layer_sizes``.

    Returns
    -------
    tuple of float or None
        The slopes, of length n_hidden_layers.

    Raises
    ------
    InvalidParameterError
        If a slope is not finite or their number is not that of the hidden layers.
    """
    constraint = Constraint(
        f"{FINITE.description} or None", lambda slope: slope is None or FINITE.accepts(slope)
    )
    slopes = _one_per_hidden_layer(
        "activation_slope", activation_slope, n_hidden_layers, constraint
    )
    return tuple(None if slope is None else float(slope) for slope in slopes)


def validate_dropout(dropout: object, n_hidden_layers: int) -> tuple[float, ...]:
    """Return the share of units of each hidden layer that training drops.

    Parameters
    ----------
    dropout : float or array-like of float of shape (n_hidden_layers,)
        One number in [0, 1) for all hidden layers, or one for each.
    n_hidden_layers : int
        Number of elements of ``hidden_layer_sizes``.

    Returns
    -------
    tuple of float
        The shares, of length n_hidden_layers.

    Raises
    ------
    InvalidParameterError
        If a number is out of range or their number is not that of the hidden layers.
    """
    rates = _one_per_hidden_layer("dropout", dropout, n_hidden_layers, BELOW_ONE)
    return tuple(float(rate) for rate in rates)


def validate_quantiles(quantile: Any) -> tuple[float, ...]:
    """Return the quantiles to predict.

    Parameters
    ----------
    quantile : float or array-like of float
        One number in (0, 1), or several in increasing order.

    Returns
    -------
    tuple of float
        The numbers.

    Raises
    ------
    InvalidParameterError
        If a number is out of range, they do not increase, or there are none.
    """
    numbers = [quantile] if BETWEEN_ZERO_AND_ONE.accepts(quantile) else _elements(quantile)
    if not numbers or not all(BETWEEN_ZERO_AND_ONE.accepts(number) for number in numbers):
        raise InvalidParameterError(
            f"quantile must be {BETWEEN_ZERO_AND_ONE.description}, or an array-like of such"
            f" numbers, got {quantile!r}."
        )
    quantiles = tuple(float(number) for number in numbers)
    if any(later <= earlier for earlier, later in pairwise(quantiles)):
        raise InvalidParameterError(f"quantile must be in increasing order, got {quantile!r}.")
    return quantiles


def validate_weight_init(
    weight_init: Any, shapes: Sequence[tuple[int, int]], dtype: DTypeLike
) -> str | tuple[list[NDArray[Any]], list[NDArray[Any]]] | None:
    """Return the initialisation in the form that training takes.

    Parameters
    ----------
    weight_init : None, str or pair of lists of arrays
        As `validate_parameters` let it pass.
    shapes : sequence of (int, int)
        Shape of each weight matrix.
    dtype : dtype
        The compute dtype.

    Returns
    -------
    None, str or (coefs, intercepts)
        Weights and biases as arrays of that dtype, not necessarily copies.

    Raises
    ------
    InvalidParameterError
        If the number of arrays, a shape or an element does not suit.
    """
    if weight_init is None or isinstance(weight_init, str):
        return weight_init
    coefs, intercepts = weight_init
    if not len(coefs) == len(intercepts) == len(shapes):
        raise InvalidParameterError(
            f"weight_init must have one array of weights and one of biases for each of the "
            f"{len(shapes)} layers, got {len(coefs)} and {len(intercepts)}."
        )

    def check(array: Any, kind: str, layer: int, shape: tuple[int, ...]) -> NDArray[Any]:
        name = f"the {kind} of layer {layer} in weight_init"
        try:
            with np.errstate(over="ignore"):
                checked = np.asarray(np.asarray(array, np.float64), dtype)
        except (TypeError, ValueError) as error:
            raise InvalidParameterError(f"{name} must be an array of numbers: {error}") from error
        if checked.shape != shape:
            raise InvalidParameterError(f"{name} must have shape {shape}, got {checked.shape}.")
        if not np.isfinite(checked).all():
            raise InvalidParameterError(f"{name} must be finite in {checked.dtype!r}.")
        return checked

    return (
        [check(array, "weights", i, shapes[i]) for i, array in enumerate(coefs)],
        [check(array, "biases", i, shapes[i][1:]) for i, array in enumerate(intercepts)],
    )


def validate_sample_weight(
    sample_weight: ArrayLike | Number, X: Any, dtype: DTypeLike, name: str = "sample_weight"
) -> NDArray[np.floating[Any]]:
    """Return the weights of the samples as an array.

    Parameters
    ----------
    sample_weight : float or array-like of shape (n_samples,)
        One weight for all samples, or one for each: finite, not negative, not all zero.
    X : {ndarray, sparse matrix, sparse array} of shape (n_samples, n_features)
        The validated samples, of which only the number is used.
    dtype : {numpy.float32, numpy.float64}
        The dtype in which training computes.
    name : str, default="sample_weight"
        What the weights are called in error messages.

    Returns
    -------
    ndarray of shape (n_samples,)
        The weights in ``dtype``, C-contiguous; ``sample_weight`` itself, not a copy, where it is
        such an array already.

    Raises
    ------
    ValueError
        If a weight is not a finite number ≥ 0 in ``dtype``, all are zero, or the shape is wrong.

    Notes
    -----
    Unlike scikit-learn, negative weights and a scalar that is not finite are refused.
    """
    n_samples = X.shape[0]
    if isinstance(sample_weight, Number):
        sample_weight = np.full(n_samples, sample_weight)
    with np.errstate(over="ignore"):  # what overflows in dtype is refused as infinite
        weights: NDArray[np.floating[Any]] = check_array(
            sample_weight, ensure_2d=False, dtype=dtype, order="C", input_name=name
        )
    if weights.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar, got {weights.ndim}D array. Expected either"
            f" a scalar value or a 1D array of length {n_samples}."
        )
    if weights.shape != (n_samples,):
        raise ValueError(f"{name}.shape == {weights.shape}, expected {(n_samples,)}!")
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    if weights.min() < 0:
        raise ValueError(f"Negative values in data passed to `{name}`.")
    return weights
