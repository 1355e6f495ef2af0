"""Random problems, many of them hostile, and what every fit of one must end in.

``python -m tests.hostile --examples 20000`` tries that many; ``scripts/hammer`` does so.
"""

from __future__ import annotations

import argparse
import faulthandler
import re
import warnings
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning

import fastmlp
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.training.initialisation import INITIALISATIONS

HOSTILE = [
    np.nan, np.inf, -np.inf, 1e308, -1e308, 1e200, 1e154, 1e38, -1e30, 1e19, 1e6, 1e3, 5e-324,
    -1e-310, 1e-45, 0.0, -0.0,
]  # fmt: skip
HIDDEN = [name for name, row in ACTIVATIONS.items() if row.is_hidden]
SIZES = [(), (1,), (3,), (2, 3), (1, 1, 1), (40,), (33, 2), (0,), (3, -1)]
# Every error that a fit may end in says one of these things.
DOCUMENTED = re.compile(
    r"contains NaN|contains infinity|value too large|must be|Solver produced non-finite|"
    r"validation set is too small|The test_size =|The train_size =|resulting train set|"
    r"least populated class|number of classes|sample.s. .*while a minimum|feature.s. .*while a|"
    r"[Ss]ample weights|sample_weight|valid range of the loss|Unknown label type|cannot be "
    r"combined with|has 0 sample|not the same as on last call|same classes as in the previous|"
    r"has classes not in|classes must be passed|does not support early_stopping|"
    r"Negative values in data|[Ww]arm_start|inconsistent numbers|should be equal to|"
    r"Data must not be constant|needs a stochastic solver|one element per hidden layer"
)
EXPECTED_WARNINGS = re.compile(
    r"Maximum iterations|failed to converge|It is going to be clipped|column-vector y|"
    r"number of unique classes|least populated class|fewer than two samples"
)


class Case(NamedTuple):
    """A problem, described so that its repr makes it again."""

    name: str
    method: str
    seed: int
    shape: tuple[int, int]
    dtype: str
    layout: str
    scale: float
    edits: tuple[tuple[int, float], ...]
    is_constant: bool
    target: str
    target_edits: tuple[tuple[int, float], ...]
    weights: str
    parameters: dict[str, Any]


def few(common: list[Any], *rare: Any) -> st.SearchStrategy[Any]:
    """Mostly one of the common values, now and then a rare one."""
    return st.sampled_from([*(12 * common), *rare])


@st.composite
def cases(draw: Any) -> Case:
    """Draw a case."""
    name = draw(st.sampled_from(["MLPClassifier", "MLPRegressor"]))
    shape = draw(few([2, 5, 12, 30], 1, 0)), draw(few([3, 1, 7], 0))
    edit = st.tuples(st.integers(0, 400), st.sampled_from(HOSTILE))
    edits = st.one_of(*5 * [st.just(())], st.lists(edit, min_size=1, max_size=3).map(tuple))
    hidden = draw(few(SIZES[:-2], *SIZES[-2:]))
    activation = st.sampled_from(HIDDEN)
    per_layer = st.lists(activation, min_size=len(hidden), max_size=len(hidden))
    classifies = name == "MLPClassifier"
    choices = {
        "hidden_layer_sizes": st.just(hidden),
        "activation": st.one_of(activation, per_layer) if hidden else activation,
        "solver": st.sampled_from(["adam", "sgd", "lbfgs"]),
        "alpha": few([0.0, 1e-4, 1.0], 1e10, 1e300, np.nan, -1.0),
        "batch_size": few(["auto", 1, 2, 5], 100, 0),
        "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive"]),
        "learning_rate_init": few([1e-3, 0.1, 1.0], 1e5, 1e300, 1e-300, 0.0),
        "power_t": few([0.5], 0.0, 100.0),
        "max_iter": few([1, 2, 5], 0),
        "shuffle": st.booleans(),
        "tol": few([1e-4, 0.0], 1e300, -1.0),
        "momentum": few([0.0, 0.9], 1.0, 2.0),
        "nesterovs_momentum": st.booleans(),
        "early_stopping": st.sampled_from([False, False, True]),
        "validation_fraction": few([0.1, 0.5], 0.99, 0.0),
        "beta_1": few([0.9], 0.0, 0.999999, 1.0),
        "beta_2": few([0.999], 0.0, 1.0),
        "epsilon": few([1e-8], 1e-300, 1.0, 0.0),
        "n_iter_no_change": few([10, 1], 0),
        "max_fun": few([15000, 3], 0),
        "dropout": few([0.0, 0.3], 0.99, 1.0, [0.1]),
        "normalization": few([None], "layer", "batch"),
        "l1": few([0.0, 0.01], 1e10, 1e300, -1.0),
        "max_grad_norm": few([None, 1.0], 1e-300, 1e300, 0.0),
        "activation_slope": few([None], 0.5, 0.0, -1.0, 1e300, np.inf),
        "out_activation": few([None], "logistic", "tanh", "identity", "softmax", "relu"),
        "loss": few(["log_loss"] if classifies else ["squared_error", "poisson"], "squared_error"),
        "weight_init": few([None], *INITIALISATIONS),
        "n_jobs": few([None], 1, 2),
        "random_state": st.integers(0, 3),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(set(choices) - {"random_state"})), max_size=8))
    chosen |= {"random_state", "max_iter", "hidden_layer_sizes", "activation"}
    return Case(
        name=name,
        method=draw(few(["fit"], "partial_fit", "warm_start")),
        seed=draw(st.integers(0, 999)),
        shape=shape,
        dtype=draw(few(["float64", "float32"], "float16", "int64", "uint8", "bool", "object")),
        layout=draw(
            st.sampled_from(
                ["C", "F", "strided", "reversed", "read_only", "csr", "csc", "coo", "int64_csr"]
            )
        ),
        scale=draw(few([1.0], 0.0, 1e-320, 1e10, 1e37, 1e155, 1e300)),
        edits=draw(edits),
        is_constant=draw(few([False], True)),
        target=draw(
            few(["multiclass", "binary", "multilabel"], "single", "strings", "real", "column")
            if classifies
            else few(["real", "outputs", "counts"], "constant", "huge", "column")
        ),
        target_edits=draw(few([()], None)) or draw(edits) if not classifies else (),
        weights=draw(
            few(["none", "none", "ones", "random"], "zeros", "some", "one", "tiny", "huge", "nan",
                "negative")
        ),
        parameters={name: draw(choices[name]) for name in sorted(chosen)},
    )  # fmt: skip


def edited(array: Any, edits: tuple[tuple[int, float], ...]) -> Any:
    """Replace some entries."""
    with np.errstate(all="ignore"):
        for position, value in edits:
            if array.size and (array.dtype.kind in "fO" or np.isfinite(value)):
                array.flat[position % array.size] = np.array(value).astype(array.dtype)
    return array


def inputs(case: Case) -> Any:
    """Make X."""
    rng = np.random.RandomState(case.seed)
    X = rng.normal(size=case.shape)
    if case.is_constant and X.size:
        X[:, 0] = 3.0
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        X = (X * case.scale).astype(case.dtype)
        X = edited(X, case.edits)
    if case.layout == "F":
        return np.asfortranarray(X)
    if case.layout == "strided":
        return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    if case.layout == "reversed":
        return X[::-1, ::-1]
    if case.layout == "read_only":
        X.flags.writeable = False
    if case.dtype in ("float16", "object") or case.layout in ("C", "read_only"):
        return X
    X[np.abs(X.astype(float)) < 0.5 * case.scale] = 0
    matrix = {"csc": sparse.csc_array, "coo": sparse.coo_array}.get(case.layout, sparse.csr_array)(
        X
    )
    if case.layout == "int64_csr":
        matrix.indices, matrix.indptr = matrix.indices.astype("i8"), matrix.indptr.astype("i8")
    return matrix


def targets(case: Case) -> Any:
    """Make y."""
    rng = np.random.RandomState(case.seed + 1)
    n_samples = case.shape[0]
    y = {
        "multiclass": lambda: rng.randint(3, size=n_samples),
        "binary": lambda: rng.randint(2, size=n_samples),
        "multilabel": lambda: rng.randint(2, size=(n_samples, 3)),
        "single": lambda: np.ones(n_samples, int),
        "strings": lambda: np.array(["a", "b", "c"])[rng.randint(3, size=n_samples)],
        "real": lambda: rng.normal(size=n_samples),
        "column": lambda: rng.randint(3, size=(n_samples, 1)),
        "outputs": lambda: rng.normal(size=(n_samples, 2)),
        "counts": lambda: rng.poisson(2, size=n_samples).astype(float),
        "constant": lambda: np.full(n_samples, 2.5),
        "huge": lambda: 1e200 * rng.normal(size=n_samples),
    }[case.target]()
    return edited(y, case.target_edits) if y.dtype.kind == "f" else y


def sample_weights(case: Case) -> Any:
    """Make weights."""
    rng = np.random.RandomState(case.seed + 2)
    n_samples = case.shape[0]
    return {
        "none": lambda: None,
        "ones": lambda: np.ones(n_samples),
        "random": lambda: rng.uniform(size=n_samples),
        "zeros": lambda: np.zeros(n_samples),
        "some": lambda: (rng.uniform(size=n_samples) > 0.5).astype(float),
        "one": lambda: edited(np.zeros(n_samples), ((0, 1.0),)),
        "tiny": lambda: np.full(n_samples, 1e-320),
        "huge": lambda: np.full(n_samples, 1e300),
        "nan": lambda: edited(np.ones(n_samples), ((0, np.nan),)),
        "negative": lambda: edited(np.ones(n_samples), ((0, -1.0),)),
    }[case.weights]()


def train(case: Case, model: Any, X: Any, y: Any, weights: Any) -> None:
    """Fit the model in the way the case wants."""
    if case.method == "partial_fit" and model.solver != "lbfgs":
        options = {}
        if case.name == "MLPClassifier":
            options["classes"] = np.arange(3) if case.target == "multilabel" else np.unique(y)
        for _ in range(2):
            model.partial_fit(X, y, sample_weight=weights, **options)
            options.pop("classes", None)
        return
    model.fit(X, y, sample_weight=weights)
    if case.method == "warm_start":
        model.set_params(warm_start=True).fit(X, y, sample_weight=weights)


def is_finite(model: Any) -> bool:
    """Return whether all parameters are finite."""
    return all(np.isfinite(array).all() for array in [*model.coefs_, *model.intercepts_])


def check(case: Case) -> str:
    """Fit a case; raise AssertionError unless it ends as it should, else say how it ended."""
    X, y, weights = inputs(case), targets(case), sample_weights(case)
    model = getattr(fastmlp, case.name)(**case.parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            train(case, model, X, y, weights)
        except (ValueError, TypeError) as error:
            message = str(error)
            if not DOCUMENTED.search(message):
                raise AssertionError("undocumented error") from error
            if "non-finite" not in message:
                return "refused"
            assert is_finite(model), "not finite after divergence"
            return "diverged"
        assert is_finite(model), "parameters are not finite"
        assert not np.isnan(model.loss_), "the loss is nan"
        check_predictions(case, model, X, y)
    for warning in caught:
        is_ours = issubclass(
            warning.category, (ConvergenceWarning, DataConversionWarning, UserWarning)
        ) and not issubclass(warning.category, RuntimeWarning)
        is_known = is_ours and (
            EXPECTED_WARNINGS.search(str(warning.message))
            or issubclass(warning.category, fastmlp.TrainingWarning)
        )
        assert is_known, f"{warning.category.__name__}: {warning.message}"
    return "fitted"


def check_predictions(case: Case, model: Any, X: Any, y: Any) -> None:
    """Check that a fitted model can be used: on what it was fitted to, and on tame inputs."""
    tame = np.random.RandomState(0).normal(size=(4, case.shape[1]))
    for data in (X, tame):
        predicted = model.predict(data)
        assert predicted.shape == (data.shape[0], *np.shape(y)[1:]) or case.target == "column"
        if case.name == "MLPClassifier":
            if case.target != "multilabel":
                assert np.isin(predicted, model.classes_).all()
            probabilities = model.predict_proba(data)
            if (
                case.method != "partial_fit"
                and data is X
                and model.out_activation_ in ("logistic", "softmax")
            ):
                assert np.all((probabilities >= 0) & (probabilities <= 1.0001)), "not a probability"
        elif data is X and case.method != "partial_fit":
            assert np.isfinite(predicted).all(), "predictions are not finite"


def hammer(n_examples: int, *, number: int | None = None, tells: bool = False) -> Counter[str]:
    """Check many cases.

    Parameters
    ----------
    n_examples : int
        How many.
    number : int or None
        Which sequence of cases; None is always the same one.
    tells : bool
        Whether to print each case before it is tried.

    Returns
    -------
    Counter
        How often a case ended how.
    """
    endings: Counter[str] = Counter()

    @settings(
        max_examples=n_examples,
        deadline=None,
        database=None,
        derandomize=number is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def one(case: Case) -> None:
        if tells:
            print(case, flush=True)  # noqa: T201
        faulthandler.dump_traceback_later(60, exit=True)  # it hangs
        try:
            endings[check(case)] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()

    (one if number is None else seed(number)(one))()
    return endings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fit random problems, many of them hostile.")
    parser.add_argument("--examples", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--seed", type=int, help="which sequence of problems")
    parser.add_argument("--tell", action="store_true", help="print each problem before it is tried")
    arguments = parser.parse_args()
    faulthandler.enable()
    print(dict(hammer(arguments.examples, number=arguments.seed, tells=arguments.tell)))  # noqa: T201
