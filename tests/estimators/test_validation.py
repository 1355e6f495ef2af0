import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fastmlp.estimators._validation import (
    InvalidParameterError,
    parameter_constraints,
    validate_activation_slopes,
    validate_activations,
    validate_hidden_layer_sizes,
    validate_parameters,
    validate_sample_weight,
    validate_weight_init,
)

# scikit-learn's own choices, so that its messages can be compared with ours.
NAMES = ("identity", "logistic", "tanh", "relu")
CONSTRAINTS = parameter_constraints(
    activation_names=NAMES,
    out_activation_names=("identity", "logistic"),
    loss_names=("squared_error", "poisson"),
    solver_names=("lbfgs", "sgd", "adam"),
    weight_init_names=("he_normal", "orthogonal"),
    learning_rate_names=("constant", "invscaling", "adaptive"),
)
SKLEARN_ESTIMATORS = (MLPClassifier, MLPRegressor)
OWN_PARAMETERS = (
    "label_smoothing", "focal_gamma", "huber_delta", "quantile", "weight_decay", "dropout",
    "normalization", "l1", "max_grad_norm", "activation_slope", "out_activation", "weight_init",
    "n_jobs", "warmup_steps", "time_limit", "scoring", "callbacks", "class_weight", "stratify",
)  # fmt: skip


class OwnParameters(BaseEstimator):
    """Has the parameters that scikit-learn does not, and one that has no constraint."""

    def __init__(
        self,
        label_smoothing=0.0,
        focal_gamma=2.0,
        huber_delta=1.0,
        quantile=0.5,
        weight_decay=0.01,
        dropout=0.0,
        normalization=None,
        l1=0.0,
        max_grad_norm=None,
        activation_slope=None,
        out_activation=None,
        weight_init=None,
        n_jobs=None,
        warmup_steps=0,
        time_limit=None,
        scoring=None,
        callbacks=None,
        class_weight=None,
        stratify=None,
        extra=None,
    ):
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
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
        self.class_weight = class_weight
        self.stratify = stratify
        self.extra = extra


def label(value):
    """Name a value in the id of a test, the same in every process."""
    return re.sub(r" at 0x\w+", "", str(value))


def refusal(check, *args):
    """Return the message with which the check refuses, None if it does not."""
    try:
        check(*args)
    except InvalidParameterError as error:
        return str(error)
    return None


def sklearn_refusal(estimator):
    """Return the message with which scikit-learn refuses the parameters, None if it does not."""
    try:
        # The parameters are checked first; without data, nothing is trained.
        estimator.fit(None, None)
    except (ValueError, TypeError) as error:
        message = str(error)
    else:
        pytest.fail("scikit-learn trained on no data")
    if not message.startswith("The '"):
        return None
    # scikit-learn lists a set, in an order that changes from one process to the next.
    message = re.sub(
        r"among \{(.*?)\}", lambda m: f"among {{{', '.join(sorted(m[1].split(', ')))}}}", message
    )
    return with_own_choices(message)


def with_own_choices(message):
    """Add what fastmlp accepts beyond scikit-learn to a message of scikit-learn's."""
    if message.startswith("The 'activation'"):
        return message.replace(
            "}. Got", "}, a CustomActivation or an array-like of one such per hidden layer. Got"
        )
    if message.startswith("The 'loss'"):
        return message.replace("}. Got", "} or a CustomLoss. Got")
    if message.startswith("The 'learning_rate' "):
        return message.replace("}. Got", "} or a callable. Got")
    if message.startswith("The 'verbose'"):
        return message.replace(
            " or an instance of 'numpy.bool'. Got",
            ", an instance of 'numpy.bool' or a str among {'progress'}. Got",
        )
    return message


NAN, INF = float("nan"), float("inf")
NOT_NUMBERS = ["abc", "", b"1", None, [], [1], (0.5,), {}, {1}, object, 1j, np.array([0.5])]
NOT_INTEGERS = [
    *NOT_NUMBERS,
    *(1.0, 2.5, NAN, -INF, np.float64(3), np.float32(3), Fraction(3), Decimal(3), np.True_),
]
NOT_REALS = [*NOT_NUMBERS, NAN, np.nan, np.float32("nan"), np.float16("nan"), Decimal(1), np.True_]
NOT_COUNTS = [*NOT_INTEGERS, 0, -1, np.int64(0), np.int8(-3), False]
NEGATIVE = [-1, -1e-12, -0.5, -INF, np.float32(-1), np.int64(-2)]
NOT_NON_NEGATIVE = [*NOT_REALS, *NEGATIVE, INF, np.inf, np.float32("inf")]
NOT_POSITIVE = [*NOT_NON_NEGATIVE, 0, 0.0, -0.0, np.float32(0), False]
NOT_BELOW_ONE = [*NOT_NON_NEGATIVE, 1, 1.0, 1.5, np.float32(1), True]
NOT_BOOLEANS = [*NOT_NUMBERS, 0, 1, 1.0, NAN, "True", np.int64(1)]
NOT_NAMES = ["foo", "", "ADAM", "Relu", "auto ", b"adam", 1, 0.5, NAN, None, True, np.str_("x")]

BAD = {
    "hidden_layer_sizes": [
        *("abc", "", b"ab", np.str_("x"), 0, -1, np.int64(-3), 10.0, NAN, INF, np.float64(3)),
        *(1j, None, object(), False, np.True_, sparse.csr_array([[1]])),
    ],
    "activation": NOT_NAMES,
    "solver": [*NOT_NAMES, ["adam"], ("sgd",), {"sgd"}],
    "alpha": NOT_NON_NEGATIVE,
    "batch_size": [*NOT_COUNTS, "Auto"],
    "learning_rate": [*NOT_NAMES, ["constant"], "cosine"],
    "learning_rate_init": NOT_POSITIVE,
    "power_t": NOT_NON_NEGATIVE,
    "max_iter": NOT_COUNTS,
    "shuffle": NOT_BOOLEANS,
    "random_state": [-1, 2**32, np.int64(-1), 1.0, NAN, "abc", [1], np.random.default_rng(0)],
    "tol": NOT_NON_NEGATIVE,
    "verbose": [*NOT_NUMBERS, -1, np.int64(-1), 1.0, 0.5, NAN],
    "warm_start": NOT_BOOLEANS,
    "momentum": [*NOT_NON_NEGATIVE, 1.0000001, 2],
    "nesterovs_momentum": NOT_BOOLEANS,
    "early_stopping": NOT_BOOLEANS,
    "validation_fraction": NOT_BELOW_ONE,
    "beta_1": NOT_BELOW_ONE,
    "beta_2": NOT_BELOW_ONE,
    "epsilon": NOT_POSITIVE,
    "n_iter_no_change": [*NOT_COUNTS, "inf"],
    "max_fun": NOT_COUNTS,
    "loss": [*NOT_NAMES, "log_loss", ["poisson"]],
}

INTEGERS = [1, 7, True, np.int8(3), np.uint64(5), np.int64(200), 10**12]
FRACTIONS = [0.5, 1e-300, np.float16(0.5), np.float32(0.25), np.float64(0.1)]
ZEROS = [0, 0.0, -0.0, False, np.int64(0), np.float32(0)]
LARGE = [1, 2, 1.0, 1e300, True, np.int32(3), np.float64(4)]
BOOLEANS = [True, False, np.True_, np.False_]

GOOD = {
    "hidden_layer_sizes": [1, np.int64(3), (), [], (3,), [3, 2], range(1, 3), np.array([4, 2])],
    "activation": [*NAMES, np.str_("tanh")],
    "solver": ["adam", "sgd", "lbfgs", np.str_("adam")],
    "alpha": [*FRACTIONS, *ZEROS, *LARGE],
    "batch_size": ["auto", *INTEGERS],
    "learning_rate": ["constant", "invscaling", "adaptive"],
    "learning_rate_init": [*FRACTIONS, *LARGE],
    "power_t": [*FRACTIONS, *ZEROS, *LARGE],
    "max_iter": INTEGERS,
    "shuffle": BOOLEANS,
    "random_state": [None, 0, 2**32 - 1, np.int64(3), True, np.random.RandomState(0)],
    "tol": [*FRACTIONS, *ZEROS, *LARGE],
    "verbose": [*BOOLEANS, 0, 10, np.int64(2)],
    "warm_start": BOOLEANS,
    "momentum": [*FRACTIONS, *ZEROS, 1, 1.0],
    "nesterovs_momentum": BOOLEANS,
    "early_stopping": BOOLEANS,
    "validation_fraction": [*FRACTIONS, *ZEROS],
    "beta_1": [*FRACTIONS, *ZEROS],
    "beta_2": [*FRACTIONS, *ZEROS],
    "epsilon": [*FRACTIONS, *LARGE],
    "n_iter_no_change": [*INTEGERS, INF, np.float32("inf")],
    "max_fun": INTEGERS,
    "loss": ["squared_error", "poisson"],
}


def cases(table):
    return [
        pytest.param(
            estimator_class, name, value, id=label(f"{estimator_class.__name__}-{name}-{value}")
        )
        for estimator_class in SKLEARN_ESTIMATORS
        for name, values in table.items()
        if name in estimator_class().get_params()
        for value in values
    ]


def test_tables_cover_every_parameter():
    assert set(BAD) == set(GOOD) == set(MLPRegressor().get_params())
    assert set(CONSTRAINTS) == {*BAD, *OWN_PARAMETERS}


@pytest.mark.parametrize(("estimator_class", "name", "value"), cases(BAD))
def test_bad_value_is_refused_with_the_words_of_sklearn(estimator_class, name, value):
    estimator = estimator_class(**{name: value})
    expected = sklearn_refusal(estimator)
    assert expected is not None
    with pytest.raises(InvalidParameterError, match=f"^{re.escape(expected)}$"):
        validate_parameters(estimator, CONSTRAINTS)


@pytest.mark.parametrize(("estimator_class", "name", "value"), cases(GOOD))
def test_good_value_passes(estimator_class, name, value):
    estimator = estimator_class(**{name: value})
    assert sklearn_refusal(estimator) is None
    validate_parameters(estimator, CONSTRAINTS)


@given(
    name=st.sampled_from(sorted(set(BAD) - {"activation"})),
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**40), 2**40),
        st.integers(-3, 3).map(np.int64),
        st.floats(),
        st.floats(width=32).map(np.float32),
        st.text(max_size=3),
        st.lists(st.integers(-2, 5), max_size=3),
        st.sampled_from(["auto", "adam", "constant", "poisson", np.inf, 1.0, np.nan]),
    ),
)
def test_verdict_is_that_of_sklearn(name, value):
    estimator = MLPRegressor(**{name: value})
    assert refusal(validate_parameters, estimator, CONSTRAINTS) == sklearn_refusal(estimator)


@pytest.mark.parametrize("name", ["alpha", "tol", "learning_rate_init"])
def test_number_that_no_float_holds_is_refused(name):
    # scikit-learn lets it through and fails later.
    with pytest.raises(InvalidParameterError, match=name):
        validate_parameters(MLPRegressor(**{name: 10**400}), CONSTRAINTS)


def test_fraction_is_a_real_number():
    # scikit-learn looks for NaN with a function that knows no fractions.
    validate_parameters(MLPRegressor(alpha=Fraction(1, 3)), CONSTRAINTS)
    with pytest.raises(InvalidParameterError, match="alpha"):
        validate_parameters(MLPRegressor(alpha=Fraction(-1, 3)), CONSTRAINTS)


def test_several_bad_values_are_reported_as_sklearn_does():
    estimator = MLPRegressor(tol=-1, alpha=-1, loss="foo")
    assert refusal(validate_parameters, estimator, CONSTRAINTS) == sklearn_refusal(estimator)


def test_message_names_the_class_of_the_user():
    class TunedRegressor(MLPRegressor):
        pass

    with pytest.raises(ValueError, match="'tol' parameter of TunedRegressor must be"):
        validate_parameters(TunedRegressor(tol=-1), CONSTRAINTS)


def test_parameter_without_constraint_is_not_checked():
    validate_parameters(OwnParameters(extra=object()), CONSTRAINTS)


@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_error_is_of_both_kinds(kind):
    with pytest.raises(kind, match="solver"):
        validate_parameters(MLPClassifier(solver="foo"), CONSTRAINTS)


SLOPES = (
    "None, a float in the range (-inf, inf) or an array-like of one such number per hidden layer"
)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("activation_slope", value, SLOPES)
        for value in ["abc", NAN, INF, -INF, np.float32("nan"), 1j, 10**400, object()]
    ]
    + [
        ("label_smoothing", value, "a float in the range [0.0, 1.0)")
        for value in ["abc", NAN, -0.1, 1, 1.5, None, [0.1]]
    ]
    + [
        ("focal_gamma", value, "a float in the range [0.0, inf)")
        for value in ["abc", NAN, INF, -0.1, None, [2.0]]
    ]
    + [
        ("weight_decay", value, "a float in the range [0.0, inf)")
        for value in ["abc", NAN, INF, -0.1, None, [0.01]]
    ]
    + [
        (
            "dropout",
            value,
            "a float in the range [0.0, 1.0) or an array-like of one such number per hidden layer",
        )
        for value in ["abc", NAN, -0.1, 1, 1.5, None]
    ]
    + [
        ("normalization", value, "a str among {'layer'} or None")
        for value in ["batch", True, 1, ["layer"]]
    ]
    + [
        ("l1", value, "a float in the range [0.0, inf)")
        for value in ["abc", NAN, INF, -0.1, None, [0.01]]
    ]
    + [
        ("max_grad_norm", value, "a float in the range (0.0, inf) or None")
        for value in ["abc", NAN, INF, 0, -1.0, [1.0]]
    ]
    + [
        ("huber_delta", value, "a float in the range (0.0, inf)")
        for value in ["abc", NAN, INF, 0, -1.0, None, [1.0]]
    ]
    + [
        (
            "quantile",
            value,
            (
                "a float in the range (0.0, 1.0) or "
                "an array-like of such numbers in increasing order"
            ),
        )
        for value in ["abc", NAN, 0, 1, -0.5, None, object()]
    ]
    + [
        ("out_activation", value, "a str among {'identity', 'logistic'} or None")
        for value in ["foo", "softmax", 1, ["identity"], NAN]
    ]
    + [
        (
            "weight_init",
            value,
            (
                "a str among {'he_normal', 'orthogonal'}, "
                "a pair (coefs, intercepts) of lists of arrays or None"
            ),
        )
        for value in ["he", 1, NAN, [], ([],), ([], [], []), np.ones((2, 3)), ([], 1), {"a": 1}]
    ]
    + [
        ("n_jobs", value, "None or a non-zero int")
        for value in [0, 0.5, 1.0, "2", NAN, [1], False, np.int64(0)]
    ]
    + [
        ("warmup_steps", value, "an int in the range [0, inf) or a float in the range (0.0, 1.0)")
        for value in [-1, 1.0, 1.5, 0.0, -0.5, NAN, INF, "10", None, [1]]
    ]
    + [
        ("time_limit", value, "None or a float in the range (0.0, inf)")
        for value in [0, -1, 0.0, NAN, INF, "1 s", [1]]
    ]
    + [
        ("scoring", value, "None, an instance of 'str' or a callable")
        for value in [1, ["accuracy"], {"a": "accuracy"}, NAN]
    ]
    + [
        ("callbacks", value, "None or a list or tuple of callables")
        for value in [print, "print", [None], [print, 1], {print}, 1]
    ]
    + [
        (
            "class_weight",
            value,
            "a str among {'balanced'}, an instance of 'dict', an instance of 'list' or None",
        )
        for value in ["equal", 1.0, (1, 2), {1}, NAN]
    ]
    + [
        (
            "stratify",
            value,
            "None, an instance of 'bool' or an instance of 'numpy.bool'",
        )
        for value in [0, 1, "yes", [True], NAN]
    ],
)
def test_bad_value_of_own_parameter(name, value, wanted):
    expected = f"The {name!r} parameter of OwnParameters must be {wanted}. Got {value!r} instead."
    estimator = OwnParameters(**{name: value})
    assert refusal(validate_parameters, estimator, CONSTRAINTS) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [("activation_slope", value) for value in [None, 0, -1, 0.3, np.float32(2), (), [1, 2.5]]]
    + [("label_smoothing", value) for value in [0, 0.0, 0.1, np.float32(0.25)]]
    + [("focal_gamma", value) for value in [0, 0.5, 2, np.float64(3)]]
    + [("weight_decay", value) for value in [0, 0.01, 1, np.float32(0.5)]]
    + [("dropout", value) for value in [0, 0.5, np.float32(0.25), (), [0.1, 0.2]]]
    + [("normalization", value) for value in [None, "layer"]]
    + [("l1", value) for value in [0, 1e-4, np.float32(0.5)]]
    + [("max_grad_norm", value) for value in [None, 1, 0.5, np.float32(0.5)]]
    + [("huber_delta", value) for value in [1e-3, 1, np.float32(2)]]
    + [("quantile", value) for value in [0.5, np.float64(0.1), [0.1, 0.9], np.array([0.5])]]
    + [("out_activation", value) for value in [None, "identity", "logistic"]]
    + [("weight_init", value) for value in [None, "he_normal", ([], []), [[[[1.0]]], ([0.0],)]]]
    + [("n_jobs", value) for value in [None, 1, 2, -1, np.int64(-2)]]
    + [("warmup_steps", value) for value in [0, 1, 1000, np.int64(5), 0.1, np.float32(0.5)]]
    + [("time_limit", value) for value in [None, 1, 0.001, 1e9, np.float32(2)]]
    + [("scoring", value) for value in [None, "loss", "accuracy", max]]
    + [("callbacks", value) for value in [None, [], (), [print], (print, max)]]
    + [("class_weight", value) for value in [None, "balanced", {}, {0: 1.5}, [{0: 1}, None]]]
    + [("stratify", value) for value in [None, *BOOLEANS]],
)
def test_good_value_of_own_parameter_passes(name, value):
    validate_parameters(OwnParameters(**{name: value}), CONSTRAINTS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((), ()),
        ([], ()),
        (np.array([]), ()),
        (1, (1,)),
        (np.int64(7), (7,)),
        ((3,), (3,)),
        ([3, 2], (3, 2)),
        ([np.int8(3), 2], (3, 2)),
        (range(1, 4), (1, 2, 3)),
        (np.array([4, 2], dtype=np.uint8), (4, 2)),
        (pd.Series([5, 6]), (5, 6)),
    ],
)
def test_hidden_layer_sizes(value, expected):
    sizes = validate_hidden_layer_sizes(value)
    assert sizes == expected
    assert all(type(size) is int for size in sizes)


@pytest.mark.parametrize(
    "value",
    [(0,), [3, -1], [-1, 2], range(2), np.array([3, -1]), np.array([0], dtype=np.int8)],
    ids=label,
)
def test_size_below_one_is_refused_with_the_words_of_sklearn(value):
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0, got") as expected:
        MLPClassifier(value).fit(None, None)
    validate_parameters(MLPClassifier(value), CONSTRAINTS)
    assert refusal(validate_hidden_layer_sizes, value) == str(expected.value)


@pytest.mark.parametrize(
    "value",
    [
        *((10.5,), (10.0,), 10.0, [NAN], [INF], [None], None, object(), 1j, list),
        *("abc", b"ab", ["a"], ["3"], np.str_("abc")),
        *([[3]], [3, [3]], np.array([[3, 2]]), np.array(3), sparse.csr_array([[1, 2]])),
        *(True, [True], [3, True], np.True_, np.array([True])),
        *(np.array([4.0, 2.0]), np.array([3, None]), {3, 4}, {3: 4}, iter([3])),
    ],
    ids=label,
)
def test_size_that_is_no_integer_is_refused(value):
    expected = (
        f"hidden_layer_sizes must be an int or a one-dimensional array-like of ints, got {value!r}."
    )
    assert refusal(validate_hidden_layer_sizes, value) == expected


@pytest.mark.parametrize(
    ("value", "n_hidden_layers", "expected"),
    [
        ("relu", 0, ()),
        ("relu", 3, ("relu", "relu", "relu")),
        ((), 0, ()),
        (("tanh",), 1, ("tanh",)),
        (["tanh", "relu"], 2, ("tanh", "relu")),
        (np.array(["tanh", "relu"]), 2, ("tanh", "relu")),
        (pd.Series(["tanh", "relu"]), 2, ("tanh", "relu")),
    ],
    ids=label,
)
def test_activations(value, n_hidden_layers, expected):
    names = validate_activations(value, n_hidden_layers, NAMES)
    assert names == expected
    assert all(type(name) is str for name in names)


@pytest.mark.parametrize(
    "value",
    ["foo", ["relu", "foo"], [["relu", "tanh"]], ["relu", None], None, 1, {"relu"}],
    ids=label,
)
def test_unknown_activation_is_refused_with_the_choices(value):
    assert refusal(validate_activations, value, 2, NAMES) == (
        "activation must be a str among {'identity', 'logistic', 'relu', 'tanh'} or a"
        " CustomActivation, or an array-like"
        f" of one such per hidden layer, got {value!r}."
    )


@pytest.mark.parametrize("value", [(), ["relu"], ["relu", "tanh", "relu"]], ids=label)
def test_wrong_number_of_activations_is_refused(value):
    assert refusal(validate_activations, value, 2, NAMES) == (
        "activation must have one element per hidden layer, of which hidden_layer_sizes has 2,"
        f" got {len(value)}: {list(value)}."
    )


@pytest.mark.parametrize(
    ("value", "n_hidden_layers", "expected"),
    [
        (None, 0, ()),
        (None, 2, (None, None)),
        (0.25, 2, (0.25, 0.25)),
        (np.float32(0.5), 1, (0.5,)),
        (-1, 1, (-1.0,)),
        ((0.1, None), 2, (0.1, None)),
        (np.array([1, 2]), 2, (1.0, 2.0)),
    ],
    ids=label,
)
def test_activation_slopes(value, n_hidden_layers, expected):
    slopes = validate_activation_slopes(value, n_hidden_layers)
    assert slopes == expected
    assert all(slope is None or type(slope) is float for slope in slopes)


@pytest.mark.parametrize(
    "value",
    ["abc", NAN, INF, [0.1, NAN], [0.1, "0.2"], [[0.1, 0.2]], np.array(0.1), 10**400, {0.1, 0.2}],
)
def test_bad_activation_slope_is_refused(value):
    assert refusal(validate_activation_slopes, value, 2) == (
        "activation_slope must be a float in the range (-inf, inf) or None, or an array-like of"
        f" one such per hidden layer, got {value!r}."
    )


@pytest.mark.parametrize("value", [(), [0.1], [0.1, 0.2, 0.3]], ids=label)
def test_wrong_number_of_activation_slopes_is_refused(value):
    assert refusal(validate_activation_slopes, value, 2) == (
        "activation_slope must have one element per hidden layer, of which hidden_layer_sizes has"
        f" 2, got {len(value)}: {list(value)}."
    )


X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, [2] * 6),
        (0.5, [0.5] * 6),
        (True, [1] * 6),
        (np.float32(3), [3] * 6),
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        ([0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1]),
        (np.arange(12)[::2], [0, 2, 4, 6, 8, 10]),
        (np.array([True, False] * 3), [1, 0] * 3),
        (pd.Series([1.5] * 6), [1.5] * 6),
        (pd.Series([1, 2, 3, 4, 5, 6], dtype="Int64"), [1, 2, 3, 4, 5, 6]),
    ],
    ids=label,
)
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, sparse.csc_matrix])
def test_sample_weight(value, expected, container, dtype):
    weights = validate_sample_weight(value, container(X), dtype)
    assert weights.dtype == dtype
    assert weights.flags.c_contiguous
    np.testing.assert_array_equal(weights, np.array(expected, dtype))


def test_sample_weight_is_not_copied():
    weights = np.ones(6, dtype=np.float32)
    assert validate_sample_weight(weights, X, np.float32) is weights


@pytest.mark.parametrize(
    "value",
    [
        *([1.0] * 5, [1.0] * 7, [], np.ones((6, 1)), np.ones((1, 6)), np.ones((6, 1, 1))),
        *([1.0] * 5 + [NAN], [1.0] * 5 + [INF], [1.0] * 5 + [-INF], [INF] * 6),
        *([0.0] * 6, 0, 0.0, -0.0, [False] * 6),
        *("abc", ["a"] * 6, [None] * 6, object(), np.array(1.0), [1j] * 6, [1, [2]] * 3),
        *(sparse.csr_array(np.ones((6, 1))), pd.Series([1, pd.NA] * 3, dtype="Int64")),
    ],
    ids=label,
)
def test_bad_sample_weight_is_refused_with_the_words_of_sklearn(value):
    with pytest.raises((ValueError, TypeError)) as expected:
        MLPClassifier(max_iter=1).fit(X, Y, value)
    with pytest.raises(expected.type, match=f"^{re.escape(str(expected.value))}$"):
        validate_sample_weight(value, X, np.float64)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "Negative values in data passed to `sample_weight`."),
        ([1, 1, 1, 1, 1, -1e-9], "Negative values in data passed to `sample_weight`."),
        (NAN, "Input sample_weight contains NaN."),
        (INF, "Input sample_weight contains infinity or a value too large for dtype('float32')."),
        (1e300, "Input sample_weight contains infinity or a value too large for dtype('float32')."),
        (1e-300, "Sample weights must contain at least one non-zero number."),
        (1j, "Complex data not supported"),
    ],
)
def test_sample_weight_that_sklearn_lets_through_is_refused(value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        validate_sample_weight(value, X, np.float32)


SHAPES = ((2, 3), (3, 1))
GIVEN = ([np.ones((2, 3)), np.ones((3, 1))], [np.zeros(3), np.zeros(1)])


def changed(part, layer, array):
    """The given weights with another array somewhere."""
    coefs, intercepts = (list(arrays) for arrays in GIVEN)
    (coefs, intercepts)[part][layer] = array
    return coefs, intercepts


@pytest.mark.parametrize("value", [None, "he_normal"])
def test_names_of_initialisations_are_returned(value):
    assert validate_weight_init(value, SHAPES, np.float64) == value


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", [tuple, list])
def test_given_weights(container, dtype):
    value = container([[[[1, 2, 3], [4, 5, 6]], np.ones((3, 1), np.float32)], [(1, 2, 3), [0]]])
    coefs, intercepts = validate_weight_init(value, SHAPES, dtype)
    assert [array.shape for array in coefs] == list(SHAPES)
    assert [array.shape for array in intercepts] == [(3,), (1,)]
    assert {array.dtype for array in (*coefs, *intercepts)} == {np.dtype(dtype)}
    np.testing.assert_array_equal(coefs[0], value[0][0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((GIVEN[0][:1], GIVEN[1]), "for each of the 2 layers, got 1 and 2"),
        ((GIVEN[0], []), "for each of the 2 layers, got 2 and 0"),
        ((GIVEN[0] * 2, GIVEN[1] * 2), "for each of the 2 layers, got 4 and 4"),
        (
            changed(0, 0, np.ones((3, 2))),
            "weights of layer 0 in weight_init must have shape (2, 3)",
        ),
        (
            changed(0, 1, np.ones(3)),
            "weights of layer 1 in weight_init must have shape (3, 1), got",
        ),
        (
            changed(1, 0, np.ones((3, 1))),
            "biases of layer 0 in weight_init must have shape (3,), got",
        ),
        (changed(1, 1, 0.0), "biases of layer 1 in weight_init must have shape (1,), got ()"),
        (changed(0, 1, [[NAN], [1], [1]]), "weights of layer 1 in weight_init must be finite in"),
        (changed(1, 0, [0, INF, 0]), "biases of layer 0 in weight_init must be finite in"),
        (
            changed(1, 0, [0, 1e300, 0]),
            "biases of layer 0 in weight_init must be finite in dtype('f",
        ),
        (
            changed(1, 0, ["a", "b", "c"]),
            "biases of layer 0 in weight_init must be an array of num",
        ),
        (
            changed(0, 1, [[1], [1, 2], [3]]),
            "weights of layer 1 in weight_init must be an array of",
        ),
        (changed(0, 1, None), "weights of layer 1 in weight_init must have shape (3, 1), got ()"),
        (changed(0, 1, object()), "weights of layer 1 in weight_init must be an array of numbers"),
    ],
)
def test_bad_given_weights_are_refused(value, message):
    assert message in refusal(validate_weight_init, value, SHAPES, np.float32)
