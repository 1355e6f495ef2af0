"""Faults of data, parameters and training, and what must happen in each.

The numbers are those of the project's list of faults. Where scikit-learn already does the right
thing, its very words are asked for.
"""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context, neural_network
from sklearn.exceptions import DataConversionWarning

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor
from tests.estimators.problems import make_problem

NAMES = ["MLPClassifier", "MLPRegressor"]
X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0], [4.0, 0.5], [5.0, 2.5]])
Y = np.array([0, 1, 0, 1, 0, 1])
DIVERGENCE = "Solver produced non-finite parameter weights"


def with_entry(value, dtype=float):
    """X with one entry replaced."""
    changed = X.astype(dtype)
    changed[2, 1] = value
    return changed


def assert_same_error(act, expected_type=ValueError):
    """Let fastmlp and scikit-learn do the same, and compare their errors word by word.

    ``act`` is given a function that makes an estimator of either package.
    """
    messages = []
    for package in (fastmlp, neural_network):
        with pytest.raises(expected_type) as error:
            act(package)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    return messages[0]


# --------------------------------------------------------------------------------------
# Data
# --------------------------------------------------------------------------------------

BAD_X = {
    "1 nan": with_entry(np.nan),
    "1 inf": with_entry(np.inf),
    "1 float32 overflow": with_entry(-np.inf, np.float32),
    "1 sparse nan": sparse.csr_array(with_entry(np.nan)),
    "3 pd.NA": pd.DataFrame(X).astype("Float64").replace(0.5, pd.NA),
    "4 strings": with_entry("red", object),
    "4 all strings": X.astype(str).tolist() + [["a", "b"]],
    "5 complex": X + 1j,
    "6 one dimension": X[:, 0],
    "6 three dimensions": X[:, :, np.newaxis],
    "6 scalar": 3.0,
    "7 no rows": X[:0],
    "7 no columns": X[:, :0],
    "7 other length": X[:-1],
}


@pytest.mark.parametrize("fault", BAD_X)
@pytest.mark.parametrize("name", NAMES)
def test_bad_input_in_fit(name, fault):
    bad = BAD_X[fault]
    y = [*Y, 0] if fault == "4 all strings" else Y[: 0 if fault == "7 no rows" else None]
    assert_same_error(lambda package: getattr(package, name)().fit(bad, y))
    assert_same_error(
        lambda package: getattr(package, name)().partial_fit(
            bad, y, **({"classes": [0, 1]} if name == "MLPClassifier" else {})
        )
    )


@pytest.mark.parametrize("fault", sorted(set(BAD_X) - {"7 other length"}))
@pytest.mark.parametrize("name", NAMES)
def test_bad_input_in_predict(name, fault):
    fitted = {
        package: getattr(package, name)(tol=10).fit(X, Y) for package in (fastmlp, neural_network)
    }
    assert_same_error(lambda package: fitted[package].predict(BAD_X[fault]))


BAD_Y = {
    "2 nan": [0, 1, np.nan, 1, 0, 1],
    "2 inf": [0, 1, np.inf, 1, 0, 1],
    "2 none": None,
    "2 other length": [0, 1],
    "16 multiclass-multioutput": np.array([[0, 1], [1, 2], [2, 0], [0, 0], [1, 1], [2, 2]]),
    "12 continuous": Y + 0.5,
    "12 continuous-multioutput": np.column_stack([Y, Y]) + 0.5,
    "2 three dimensions": Y.reshape(6, 1, 1),
}
FINE_FOR_REGRESSION = {name for name in BAD_Y if name.startswith(("12", "16"))}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (name, fault)
        for name in NAMES
        for fault in BAD_Y
        if name == "MLPClassifier" or fault not in FINE_FOR_REGRESSION
    ],
)
def test_bad_y(name, fault):
    assert_same_error(lambda package: getattr(package, name)().fit(X, BAD_Y[fault]))


@pytest.mark.parametrize("method", ["fit", "partial_fit", "validation"])
def test_2_targets_too_large_for_the_precision_of_the_inputs(method):
    data, y = X.astype(np.float32), np.array([0, 1, 1e39, 1, 0, 1])
    regressor = MLPRegressor(tol=10).fit(data, Y)
    fit = {
        "fit": lambda: regressor.fit(data, y),
        "partial_fit": lambda: regressor.partial_fit(data, y),
        "validation": lambda: regressor.fit(data, Y, X_val=data, y_val=y),
    }[method]
    with pytest.raises(ValueError, match=r"y contains infinity or a value too large.*float32"):
        fit()


def test_strings_as_regression_targets():
    regressor = MLPRegressor()
    with pytest.raises((TypeError, ValueError)):
        regressor.fit(X, ["a", "b", "c", "a", "b", "c"])
    assert not hasattr(regressor, "coefs_")


@pytest.mark.parametrize("name", NAMES)
def test_8_one_row_fits(name):
    estimator = getattr(fastmlp, name)(tol=10).fit([[1.0, 2.0]], [3])
    assert estimator.predict([[1.0, 2.0]]).shape == (1,)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize(("dtype", "scale"), [(np.float64, 1e200), (np.float32, 1e30)])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_9_huge_input_ends_in_a_finite_model_or_the_divergence_error(name, dtype, scale, solver):
    huge = (scale * X).astype(dtype)
    estimator = getattr(fastmlp, name)(solver=solver, max_iter=20, random_state=0)
    message = ""
    try:
        estimator.fit(huge, Y)
    except ValueError as error:
        message = str(error)
    if message:
        assert DIVERGENCE in message
        assert "scal" in message.lower()
    else:
        assert np.isfinite(estimator.loss_)
        for array in [*estimator.coefs_, *estimator.intercepts_]:
            assert np.isfinite(array).all()


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_10_constant_y_in_regression_fits(solver):
    regressor = MLPRegressor(
        solver=solver, learning_rate_init=0.01, max_iter=1000, n_iter_no_change=1000, random_state=0
    ).fit(X, np.full(6, 2.5))
    assert regressor.predict(X) == pytest.approx(np.full(6, 2.5), abs=0.1)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_11_single_class(early_stopping):
    classifier = MLPClassifier(tol=10, early_stopping=early_stopping, validation_fraction=0.5)
    classifier.fit(X, np.ones(6, dtype=int))
    np.testing.assert_array_equal(classifier.predict_proba(X), np.ones((6, 1)))


def test_13_bytes_labels():
    labels = [b"a", b"b", b"a", b"b", b"a", b"b"]
    assert_same_error(lambda package: package.MLPClassifier().fit(X, labels), TypeError)


@pytest.mark.parametrize(
    "labels",
    [["a", None, "a", "b", "a", "b"], ["a", 1, "a", 1, "a", 1], [None] * 6, ["a", 1.5] * 3],
    ids=["none", "mixed", "only_none", "mixed_with_float"],
)
def test_14_none_or_mixed_labels(labels):
    with pytest.raises(TypeError, match=r"(?i)label|class"):
        MLPClassifier().fit(X, np.array(labels, dtype=object))


@pytest.mark.parametrize("name", NAMES)
def test_15_column_y_is_ravelled_with_a_warning(name):
    estimator = getattr(fastmlp, name)(tol=10, random_state=0)
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        estimator.fit(X, Y[:, np.newaxis])
    assert estimator.predict(X).shape == (6,)
    np.testing.assert_array_equal(
        estimator.predict(X), getattr(fastmlp, name)(tol=10, random_state=0).fit(X, Y).predict(X)
    )


@pytest.mark.parametrize("name", NAMES)
def test_17_reordered_or_missing_columns_at_predict(name):
    frame = pd.DataFrame(X, columns=["width", "height"])
    fitted = {
        package: getattr(package, name)(tol=10).fit(frame, Y)
        for package in (fastmlp, neural_network)
    }
    for other in (frame[["height", "width"]], frame[["width"]], frame.assign(depth=0.0)):
        assert_same_error(lambda package, other=other: fitted[package].predict(other))


@pytest.mark.parametrize("name", NAMES)
def test_18_other_number_of_features_later(name):
    fitted = {
        package: getattr(package, name)(tol=10).fit(X, Y) for package in (fastmlp, neural_network)
    }
    for wrong in (X[:, :1], np.hstack([X, X]), sparse.csr_array(X[:, :1])):
        assert_same_error(lambda package, wrong=wrong: fitted[package].predict(wrong))
        assert_same_error(lambda package, wrong=wrong: fitted[package].partial_fit(wrong, Y))


def read_only_memmap(array, tmp_path):
    """The array in a file, mapped read-only."""
    np.save(tmp_path / "X.npy", array)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


LAYOUTS = {
    "memmap": read_only_memmap,
    "read_only": lambda array, _: np.frombuffer(array.tobytes()).reshape(array.shape),
    "fortran": lambda array, _: np.asfortranarray(array),
    "strided": lambda array, _: np.repeat(np.repeat(array, 3, axis=0), 2, axis=1)[::3, ::2],
    "reversed": lambda array, _: array[::-1, ::-1].copy()[::-1, ::-1],
    "big_endian": lambda array, _: array.astype(">f8"),
    "unaligned": lambda array, _: np.frombuffer(b"." + array.tobytes(), offset=1).reshape(
        array.shape
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_19_any_memory_layout_works_and_is_left_as_it_was(layout, batch_size, tmp_path):
    plain, y, _ = make_problem("multioutput")
    X_given = LAYOUTS[layout](plain, tmp_path)
    y_given = LAYOUTS[layout](y, tmp_path / "..") if layout != "memmap" else y
    arguments = {"max_iter": 5, "batch_size": batch_size, "random_state": 0}
    expected = MLPRegressor(**arguments).fit(plain, y)
    regressor = MLPRegressor(**arguments).fit(X_given, y_given)
    np.testing.assert_array_equal(regressor.coefs_[0], expected.coefs_[0])
    np.testing.assert_array_equal(regressor.predict(X_given), expected.predict(plain))
    np.testing.assert_array_equal(X_given, plain)
    np.testing.assert_array_equal(y_given, y)


@pytest.mark.parametrize("sparse_format", [sparse.csr_array, sparse.csc_matrix])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_20_sparse_input_is_never_densified_as_a_whole(sparse_format):
    n_samples, n_features = 20_000, 20_000  # 3 GB, were it dense
    rng = np.random.RandomState(0)
    rows, columns = np.arange(0, n_samples, 2), rng.randint(n_features, size=n_samples // 2)
    X_sparse = sparse_format((np.ones(rows.size), (rows, columns)), shape=(n_samples, n_features))
    X_sparse.indices = X_sparse.indices.astype(np.int64)
    X_sparse.indptr = X_sparse.indptr.astype(np.int64)
    y = (np.asarray(X_sparse.sum(axis=1)).ravel() > 0).astype(float)

    tracemalloc.start()
    try:
        for solver in ("sgd", "lbfgs"):
            MLPRegressor(
                hidden_layer_sizes=(2,), solver=solver, batch_size=50, max_iter=1, random_state=0
            ).fit(X_sparse, y).predict(X_sparse)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500e6


@pytest.mark.parametrize("zero_rows", [[0], [59], [20, 21, 22], list(range(60))])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_20_empty_rows_of_sparse_input(zero_rows):
    dense, y, _ = make_problem("regression")
    dense[zero_rows] = 0
    arguments = {"max_iter": 3, "batch_size": 7, "random_state": 0}
    expected = MLPRegressor(**arguments).fit(dense, y).predict(dense)
    X_sparse = sparse.csr_array(dense)
    regressor = MLPRegressor(**arguments).fit(X_sparse, y)
    np.testing.assert_allclose(regressor.predict(X_sparse), expected, rtol=1e-9)


@pytest.mark.parametrize("arguments", [{}, {"solver": "sgd", "momentum": 0, "batch_size": 1}])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_20_unsorted_and_duplicate_entries_of_sparse_input(arguments):
    dense, y, _ = make_problem("regression")
    n_rows, n_columns = dense.shape
    # Every entry in three parts that add up, and the columns of a row backwards.
    X_sparse = sparse.csr_array(
        (
            np.repeat(dense[:, ::-1].ravel() / 4, 3) * np.tile([1, 1, 2], dense.size),
            np.repeat(np.tile(np.arange(n_columns)[::-1], n_rows), 3),
            3 * n_columns * np.arange(n_rows + 1),
        ),
        shape=dense.shape,
    )
    n_entries = X_sparse.nnz
    arguments = {"max_iter": 3, "random_state": 0, **arguments}
    expected = MLPRegressor(**arguments).fit(dense, y)
    regressor = MLPRegressor(**arguments).fit(X_sparse, y)
    np.testing.assert_allclose(regressor.coefs_[0], expected.coefs_[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(regressor.predict(X_sparse), expected.predict(dense), rtol=1e-9)
    assert X_sparse.nnz == n_entries  # what the user passed is left as it was


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_21_more_elements_than_32_bits_can_count():
    n_samples, n_features = 2**16 + 1, 2**15
    # 8.6 GB of zeros, of which only the pages of the first and the last row take memory.
    large = np.zeros((n_samples, n_features), np.float32)
    large[0] = large[-1] = np.linspace(-1, 1, n_features)
    y = np.zeros(n_samples)
    y[0] = y[-1] = 1
    with config_context(assume_finite=True):
        regressor = MLPRegressor(hidden_layer_sizes=(), max_iter=1, random_state=0)
        regressor.fit(large, y)
        predictions = regressor.predict(large)
        expected = regressor.predict(large[[0, 1]])
    np.testing.assert_allclose(predictions[[0, -1]], expected[0], rtol=1e-5)
    np.testing.assert_allclose(predictions[1:-1], expected[1], rtol=1e-5)


# --------------------------------------------------------------------------------------
# Parameters (every value of each in estimators/test_sklearn_contract.py and test_validation.py)
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *[("hidden_layer_sizes", sizes) for sizes in (0, -3, (4, 0), (-1,), 2.5, (3.0,), "4")],
        *[("alpha", np.nan), ("tol", -1e-4), ("batch_size", 0)],
        *[("activation", "swish2"), ("solver", "newton")],
    ],
    ids=str,
)
@pytest.mark.parametrize("name", NAMES)
def test_22_25_27_bad_parameters_are_named(name, parameter, value, method):
    estimator = getattr(fastmlp, name)(**{parameter: value})
    classes = {"classes": [0, 1]} if (name, method) == ("MLPClassifier", "partial_fit") else {}
    with pytest.raises(ValueError, match=parameter) as error:
        getattr(estimator, method)(X, Y, **classes)
    if parameter in ("activation", "solver"):
        known = ["relu", "tanh"] if parameter == "activation" else ["adam", "lbfgs", "sgd"]
        assert all(repr(choice) in str(error.value) for choice in known)
    assert not hasattr(estimator, "coefs_")


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_23_no_hidden_layer_is_a_linear_model(name, solver):
    estimator = getattr(fastmlp, name)(hidden_layer_sizes=(), solver=solver, max_iter=5).fit(X, Y)
    assert [array.shape for array in estimator.coefs_] == [(2, 1)]
    logit = X @ estimator.coefs_[0][:, 0] + estimator.intercepts_[0]
    expected = logit if name == "MLPRegressor" else (logit > 0).astype(int)
    np.testing.assert_allclose(estimator.predict(X), expected, rtol=1e-12)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_24_network_larger_than_any_memory(solver, dtype):
    regressor = MLPRegressor(hidden_layer_sizes=(10**7, 10**7), solver=solver)
    with pytest.raises(MemoryError):
        regressor.fit(X.astype(dtype), Y)
    assert not hasattr(regressor, "coefs_")


def test_26_batch_larger_than_the_data_is_clipped():
    arguments = {"tol": 10, "random_state": 0}
    with pytest.warns(UserWarning, match="It is going to be clipped"):
        clipped = MLPRegressor(batch_size=7, **arguments).fit(X, Y)
    whole = MLPRegressor(batch_size=6, **arguments).fit(X, Y)
    np.testing.assert_array_equal(clipped.coefs_[0], whole.coefs_[0])


@pytest.mark.parametrize(
    "sample_weight",
    [
        np.zeros(6),
        [1, 1, np.inf, 1, 1, 1],
        [1, 1, np.nan, 1, 1, 1],
        [1.0],
        np.ones(7),
        np.ones((6, 1)),
        ["heavy"] * 6,
    ],
    ids=["zero", "inf", "nan", "short", "long", "column", "strings"],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_28_bad_sample_weights(method, sample_weight):
    assert_same_error(
        lambda package: getattr(package.MLPRegressor(), method)(X, Y, sample_weight=sample_weight)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_28_negative_sample_weights(name, method):
    classes = {"classes": [0, 1]} if (name, method) == ("MLPClassifier", "partial_fit") else {}
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        getattr(getattr(fastmlp, name)(), method)(
            X, Y, sample_weight=[1, 1, 1, -1e-9, 1, 1], **classes
        )


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_28_one_side_of_the_validation_split_without_weight(solver):
    data, messages = np.arange(40.0).reshape(20, 2), []
    model = MLPRegressor(early_stopping=True, solver=solver, random_state=0)
    for row in range(20):  # the only one that weighs anything
        with pytest.raises(ValueError, match="Sample weights must contain at least one") as error:
            model.fit(data, data[:, 0], np.arange(20) == row)
        messages.append(str(error.value))
    assert sum("18 samples are trained on" in message for message in messages) == 2
    assert sum("2 samples are held out" in message for message in messages) == 18


ABSENT = {
    "ints": (Y, {0: 1.0, 1: 1.0, 7: 2.0}, 7),
    "ints alone": (Y, {7: 2.0}, 7),
    "strings": (np.array(["no", "yes"])[Y], {"no": 1.0, "yes": 1.0, "maybe": 2.0}, "maybe"),
    "several labels": (np.column_stack([Y, 1 - Y]), [None, {0: 1.0, 1: 1.0, 7: 2.0}], 7),
}


@pytest.mark.parametrize("labels", ABSENT)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_29_class_weight_with_an_absent_label(labels, method):
    y, class_weight, absent = ABSENT[labels]
    classifier = MLPClassifier(class_weight=class_weight)
    classes = {"classes": np.unique(y)} if method == "partial_fit" else {}
    with pytest.raises(ValueError, match=rf"\[{absent!r}\].*class_weight.* the classes"):
        getattr(classifier, method)(X, y, **classes)
    assert not hasattr(classifier, "coefs_")
    # A class without a weight of its own has weight 1.
    present = {0: 2.0} if y.dtype.kind == "i" else {"no": 2.0}
    present = [present, None] if y.ndim == 2 else present
    getattr(classifier.set_params(class_weight=present, tol=10), method)(X, y, **classes)


# --------------------------------------------------------------------------------------
# Training
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_30_huge_learning_rate(dtype, solver, early_stopping):
    data, y, _ = make_problem("regression", dtype=dtype)
    regressor = MLPRegressor(
        solver=solver,
        activation="identity",
        learning_rate_init=1e300 if dtype == np.float64 else 1e30,
        early_stopping=early_stopping,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one error, and no warning beside it
        with pytest.raises(ValueError, match=DIVERGENCE) as error:
            regressor.fit(data, y)
    advice = str(error.value).lower()
    assert "learning rate" in advice or "learning_rate_init" in advice
    assert "scal" in advice
    for array in [*regressor.coefs_, *regressor.intercepts_]:
        assert np.isfinite(array).all()


def test_30_divergence_in_partial_fit_keeps_the_last_finite_weights():
    data, y, _ = make_problem("regression")
    regressor = MLPRegressor(solver="sgd", activation="identity", random_state=0)
    regressor.partial_fit(data, y)
    with pytest.raises(ValueError, match=DIVERGENCE):
        regressor.partial_fit(1e200 * data, y).partial_fit(1e200 * data, y)
    for array in [*regressor.coefs_, *regressor.intercepts_]:
        assert np.isfinite(array).all()


def test_31_early_stopping_with_too_few_rows_tells_how_many():
    # A tenth of ten rows is one row, and the score needs two.
    data = np.arange(20.0).reshape(10, 2)
    message = r"The validation set is too small.* needs at least 2 samples and has 1 of 10"
    with pytest.raises(ValueError, match=message):
        MLPRegressor(early_stopping=True).fit(data, data[:, 0])


def test_32_misuse_of_partial_fit():
    for act in (
        lambda package: package.MLPClassifier().partial_fit(X, Y),
        lambda package: package.MLPClassifier().partial_fit(X, Y, classes=[0]),
        lambda package: package.MLPClassifier().partial_fit(X, Y, classes=[7, 8]),
        lambda package: (
            package.MLPClassifier()
            .partial_fit(X, Y, classes=[0, 1])
            .partial_fit(X, Y, classes=[0, 1, 2])
        ),
        lambda package: (
            package.MLPClassifier().partial_fit(X, Y, classes=[0, 1]).partial_fit(X, Y + 1)
        ),
        lambda package: package.MLPRegressor(early_stopping=True).partial_fit(X, Y),
    ):
        assert_same_error(act)


def test_33_warm_start_with_other_classes():
    for labels in (Y + 1, [0, 1, 2, 0, 1, 2], np.zeros(6, dtype=int)):
        assert_same_error(
            lambda package, labels=labels: (
                package.MLPClassifier(warm_start=True, tol=10).fit(X, Y).fit(X, labels)
            )
        )


@pytest.mark.parametrize("sizes", [(5,), (4, 4), ()])
def test_33_warm_start_with_other_layers(sizes):
    regressor = MLPRegressor(hidden_layer_sizes=(4,), warm_start=True, tol=10).fit(X, Y)
    before = regressor.predict(X)
    with pytest.raises(ValueError, match=r"warm_start.*layer sizes"):
        regressor.set_params(hidden_layer_sizes=sizes).fit(X, Y)
    np.testing.assert_array_equal(regressor.predict(X), before)


def test_33_warm_start_with_other_features():
    assert_same_error(
        lambda package: package.MLPRegressor(warm_start=True, tol=10).fit(X, Y).fit(X[:, :1], Y)
    )


@pytest.mark.parametrize(
    ("before", "after"), [(Y, np.column_stack([Y, Y])), (np.column_stack([Y, Y]), Y)]
)
def test_33_warm_start_with_other_number_of_outputs(before, after):
    regressor = MLPRegressor(warm_start=True, tol=10).fit(X, before)
    coefs = [array.copy() for array in regressor.coefs_]
    with pytest.raises(ValueError, match=r"(?i)warm_start|output"):
        regressor.fit(X, after)
    for array, kept in zip(regressor.coefs_, coefs, strict=True):
        np.testing.assert_array_equal(array, kept)
    assert regressor.predict(X).ndim == before.ndim


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_9_finite_weights_too_large_to_predict_with_are_divergence_too():
    # The loss of an epoch is that before its last step, which may be the one too many.
    data = (1e10 * np.random.RandomState(2).normal(size=(12, 3))).astype(np.float32)
    classifier = MLPClassifier(
        solver="sgd", activation="identity", hidden_layer_sizes=(2, 3), alpha=0, max_iter=2,
        random_state=0,
    )  # fmt: skip
    with pytest.raises(ValueError, match=DIVERGENCE):
        classifier.fit(data, 6 * [0, 1])
    assert classifier.n_iter_ == 2  # the epochs themselves were fine
    for array in [*classifier.coefs_, *classifier.intercepts_]:
        assert np.isfinite(array).all()
