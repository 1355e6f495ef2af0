"""Dropout, layer normalisation, the L1 penalty and the limit of the gradient's norm."""

import pickle

import numba
import numpy as np
import pytest
from sklearn.base import clone

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor
from tests import reference
from tests.estimators.problems import TASKS, make_estimator, make_problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

EVERYTHING = {"dropout": [0.2, 0.4], "normalization": "layer", "l1": 0.02, "max_grad_norm": 0.5}
OPTIONS = {
    "hidden_layer_sizes": (6, 5), "batch_size": 16, "max_iter": 5, "random_state": 0,
}  # fmt: skip


def twin_of(model):
    """The network of a fitted model, with parameters of its own."""
    norms = [None] * (len(model.coefs_) - 1)
    if model.normalization:
        pairs = zip(model.norm_scales_, model.norm_offsets_, strict=True)
        norms = [(scales.copy(), offsets.copy()) for scales, offsets in pairs]
    return reference.Network(
        [W.copy() for W in model.coefs_],
        [b.copy() for b in model.intercepts_],
        [model.activation] * len(norms),
        model.out_activation_,
        norms=norms,
        dropout=list(np.broadcast_to(model.dropout, len(norms)).astype(float)),
    )


@pytest.mark.parametrize("activation", ["relu", "selu", "gelu"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_training_follows_the_twin(activation, shuffle, dtype):
    X, y, weights = make_problem("multioutput", dtype=dtype)
    arguments = {**OPTIONS, **EVERYTHING, "activation": activation, "alpha": 0.1}
    arguments.update(shuffle=shuffle, solver="sgd", momentum=0, learning_rate_init=0.1)
    model = MLPRegressor(**arguments).fit(X, y, weights)
    start = MLPRegressor(**{**arguments, "learning_rate_init": 1e-300, "max_iter": 1})
    twin = twin_of(start.fit(X, y, weights))

    # The same generator: initial weights, then an order and a seed of the noise per epoch.
    state = np.random.RandomState(0)
    for shape in [(5, 6), 6, (6, 5), 5, (5, 3), 3]:
        state.uniform(size=shape)
    order, loss_curve, step = np.arange(60), [], 0
    for _ in range(5):
        if shuffle:
            permutation = np.arange(60)
            state.shuffle(permutation)
            order = order[permutation]
        seed, total, first_step = state.randint(2**31), 0.0, step
        for batch, rows in enumerate(np.split(order, [16, 32, 48])):
            loss, gradients = reference.backward(
                twin, X[rows].astype(float), y[rows], "squared_error", 0.1, weights[rows], 0.02,
                noise=(seed << 32) + first_step + batch,
            )  # fmt: skip
            total += loss * len(rows) / 60
            reference.clip(gradients, 0.5)
            for parameter, gradient in zip(twin.parameters, gradients, strict=True):
                parameter -= 0.1 * gradient
            step += 1
        loss_curve.append(total)
    tolerance = 1e-8 if dtype is np.float64 else 1e-3
    np.testing.assert_allclose(model.loss_curve_, loss_curve, rtol=tolerance)
    for ours, theirs in zip(twin_of(model).parameters, twin.parameters, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        model.predict(X), reference.predict(twin, X.astype(float)), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_task(task, dtype):
    X, y, weights = make_problem(task, n_samples=200, dtype=dtype)
    model = make_estimator(
        task, hidden_layer_sizes=(40, 30), max_iter=150, learning_rate_init=0.01, random_state=0,
        **{**EVERYTHING, "dropout": 0.1, "max_grad_norm": 1.0},
    )  # fmt: skip
    plain = make_estimator(task, hidden_layer_sizes=(), max_iter=1, random_state=0)
    assert model.fit(X, y, weights).score(X, y) > plain.fit(X, y, weights).score(X, y)
    assert model.predict(X).shape == y.shape
    again = clone(model).fit(X, y, weights)
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])
    assert clone(model).set_params(random_state=1).fit(X, y, weights).loss_ != model.loss_


def test_threads_draw_the_same_noise():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(600, 40)), rng.randint(3, size=600)
    for hidden, batch_size in [((64,), 256), ((200, 200), 64)]:
        model = MLPClassifier(
            hidden, batch_size=batch_size, max_iter=3, dropout=0.5, max_grad_norm=0.3, l1=0.01,
            random_state=0,
        )  # fmt: skip
        fits = [clone(model).set_params(n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2)]
        np.testing.assert_allclose(fits[1].coefs_[0], fits[0].coefs_[0], rtol=1e-8, atol=1e-11)


def test_predictions_drop_nothing():
    X, y, _ = make_problem("multiclass")
    model = MLPClassifier(**OPTIONS, dropout=0.9).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    np.testing.assert_allclose(
        model.predict_proba(X), reference.predict(twin_of(model), X), rtol=1e-10
    )


def test_each_call_of_partial_fit_has_noise_of_its_own():
    X, y, _ = make_problem("regression")
    model = MLPRegressor(**{**OPTIONS, "batch_size": 60}, dropout=0.5, learning_rate_init=1e-300)
    losses = [model.partial_fit(X, y).loss_ for _ in range(4)]
    assert len(set(losses)) == 4


def test_the_trajectory_without_them_is_untouched():
    X, y, _ = make_problem("regression")
    plain, other = MLPRegressor(**OPTIONS), MLPRegressor(**OPTIONS)
    other.set_params(dropout=(0.0, 0), l1=0, max_grad_norm=1e9)
    plain.fit(X, y), other.fit(X, y)
    np.testing.assert_allclose(other.coefs_[0], plain.coefs_[0], rtol=1e-12)
    other.set_params(max_grad_norm=None).fit(X, y)
    np.testing.assert_array_equal(other.coefs_[0], plain.coefs_[0])


def test_l1_makes_more_weights_small_than_l2():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(300, 30))
    y = X[:, 0] - X[:, 1]
    models = [
        MLPRegressor(
            hidden_layer_sizes=(), max_iter=300, learning_rate_init=0.003, random_state=0, **penalty
        )
        for penalty in ({"alpha": 0, "l1": 20.0}, {"alpha": 20.0})
    ]
    small, others = ((np.abs(model.fit(X, y).coefs_[0][2:]) < 0.01).mean() for model in models)
    assert small > 0.9
    assert others < small - 0.2


def test_dropout_and_norms_on_deep_networks():
    """What they are for: normalised deep networks learn where plain ones are stuck."""
    X, y, _ = make_problem("regression", n_samples=400)
    arguments = {
        "hidden_layer_sizes": (20,) * 20, "activation": "tanh", "learning_rate_init": 0.01,
        "max_iter": 60, "random_state": 0, "tol": 0,
    }  # fmt: skip
    plain = MLPRegressor(**arguments, weight_init=None).fit(X, y)
    norm = MLPRegressor(**arguments, normalization="layer").fit(X, y)
    assert norm.loss_ < plain.loss_


# --------------------------------------------------------------------------------------
# Together with the rest
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    X, y, _ = make_problem("multiclass")
    return MLPClassifier(**OPTIONS, **EVERYTHING, activation="prelu").fit(X, y)


def test_copies(fitted, tmp_path):
    X, y, _ = make_problem("multiclass")
    fitted.save(tmp_path / "model")
    copies = [
        pickle.loads(pickle.dumps(fitted)), clone(fitted).fit(X, y),
        fastmlp.load(tmp_path / "model"),
    ]  # fmt: skip
    for copy in copies:
        np.testing.assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))
        for ours, theirs in [
            (copy.norm_scales_, fitted.norm_scales_), (copy.norm_offsets_, fitted.norm_offsets_),
        ]:  # fmt: skip
            assert [array.shape for array in ours] == [(6,), (5,)]
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(one, other)
    for copy in copies[0], copies[2]:
        copy.partial_fit(X, y)
    np.testing.assert_array_equal(copies[0].coefs_[0], copies[2].coefs_[0])


def test_what_the_user_assigns_counts(fitted):
    X, _, _ = make_problem("multiclass")
    copy = pickle.loads(pickle.dumps(fitted))
    copy.norm_scales_[0] = 2 * copy.norm_scales_[0]
    expected = reference.forward(twin_with_slopes(copy), X)[1][-1]
    np.testing.assert_allclose(copy.predict_proba(X), expected, rtol=1e-10)


def twin_with_slopes(model):
    twin = twin_of(model)
    twin.slopes = np.nan_to_num(np.array(model.activation_slopes_))
    return twin


def test_looking_inside(fitted):
    X, y, _ = make_problem("multiclass")
    twin = twin_with_slopes(fitted)
    activations = reference.forward(twin, X)[1]
    for layer in (0, 1):
        np.testing.assert_allclose(fitted.transform(X, layer), activations[layer + 1], rtol=1e-10)
    targets = (y[:, np.newaxis] == fitted.classes_).astype(float)
    np.testing.assert_allclose(
        fitted.input_gradients(X, y),
        reference.input_gradients_of_loss(twin, X, targets, "log_loss"),
        rtol=1e-8, atol=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(
        fitted.input_gradients(X, output=1),
        reference.input_gradients_of_output(twin, X, 1),
        rtol=1e-8, atol=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(fitted.to_numba()(X), fitted.predict_proba(X), rtol=1e-12)
    assert isinstance(fitted.to_numba(), numba.core.registry.CPUDispatcher)
    n_parameters = sum(row.parameters for row in fitted.summary().layers)
    assert n_parameters == fitted._params.size


def test_single_rows(fitted):
    X, _, _ = make_problem("multiclass")
    np.testing.assert_allclose(
        np.vstack([fitted.predict_proba(X[i : i + 1]) for i in range(10)]),
        fitted.predict_proba(X)[:10],
        rtol=1e-12,
    )


def test_callbacks_get_whole_models(tmp_path):
    X, y, _ = make_problem("regression")
    seen = []

    def look(epoch):
        seen.append(epoch.estimator.predict(X[:1])[0])

    model = MLPRegressor(**OPTIONS, normalization="layer", callbacks=[look]).fit(X, y)
    assert len(set(seen)) == model.n_iter_
    assert seen[-1] == model.predict(X[:1])[0]


@pytest.mark.parametrize(
    "parameters", [{"dropout": 0.1}, {"dropout": [0, 0.1]}, {"l1": 0.1}, {"max_grad_norm": 1}]
)
def test_lbfgs_refuses(parameters):
    X, y, _ = make_problem("regression")
    (name,) = parameters
    with pytest.raises(ValueError, match=f"^{name}=.* needs a stochastic solver; solver='lbfgs'"):
        MLPRegressor(hidden_layer_sizes=(3, 2), solver="lbfgs", **parameters).fit(X, y)


def test_lbfgs_trains_norms():
    X, y, _ = make_problem("regression")
    model = MLPRegressor(solver="lbfgs", normalization="layer", random_state=0).fit(X, y)
    assert model.score(X, y) > 0.95


@pytest.mark.parametrize("value", [[0.1], [0.1, 0.2, 0.3], [0.1, 1.0], [0.1, "a"]])
def test_dropout_of_other_layers_is_refused(value):
    X, y, _ = make_problem("regression")
    with pytest.raises(ValueError, match=r"^dropout must "):
        MLPRegressor(hidden_layer_sizes=(3, 2), dropout=value).fit(X, y)


def test_norms_cannot_come_and_go():
    X, y, _ = make_problem("regression")
    model = MLPRegressor(**OPTIONS, normalization="layer", warm_start=True).fit(X, y)
    model.set_params(dropout=0.5).fit(X, y)
    with pytest.raises(ValueError, match="normalization=None was not its own"):
        model.set_params(normalization=None).fit(X, y)
    with pytest.raises(ValueError, match="has no normalization"):
        model.set_params(dropout=0.0, warm_start=False).to_sklearn()


def test_without_hidden_layers_there_is_nothing_to_drop():
    X, y, _ = make_problem("regression")
    models = [
        MLPRegressor(hidden_layer_sizes=(), random_state=0, max_iter=3, **parameters).fit(X, y)
        for parameters in ({}, {"dropout": 0.5, "normalization": "layer"})
    ]
    np.testing.assert_array_equal(models[0].coefs_[0], models[1].coefs_[0])
