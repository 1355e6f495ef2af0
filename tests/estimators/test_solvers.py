"""The solvers that scikit-learn lacks, by the twin and by PyTorch."""

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor
from tests import reference
from tests.estimators.problems import make_problem
from tests.estimators.test_beyond_sklearn import OPTIMIZERS, assert_trains_as_the_twin

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = {
    "adamw": (reference.AdamW, {"weight_decay": 0.3}),
    "nadam": (reference.NAdam, {}),
    "rmsprop": (reference.RMSprop, {"beta_2": 0.9}),
    "adagrad": (reference.Adagrad, {}),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", ["tanh", "prelu"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_against_the_twin(solver, activation, dtype, monkeypatch):
    twin, options = SOLVERS[solver]
    monkeypatch.setitem(OPTIMIZERS, solver, ({"solver": solver}, twin, options))
    X, y, _ = make_problem("multioutput", dtype=dtype)
    arguments = {"hidden_layer_sizes": (6, 5), "activation": activation, **options}
    assert_trains_as_the_twin(
        MLPRegressor, arguments, X, y, y, "squared_error", solver,
        rtol=1e-7 if dtype == np.float64 else 3e-3,
    )  # fmt: skip


@pytest.mark.parametrize("solver", SOLVERS)
def test_goes_on_where_it_was(solver):
    X, y, _ = make_problem("multiclass")
    options = {"solver": solver, "shuffle": False, "random_state": 0, **SOLVERS[solver][1]}
    whole = MLPClassifier((6,), max_iter=6, **options).fit(X, y)
    parts = MLPClassifier((6,), **options)
    for _ in range(6):
        parts.partial_fit(X, y, classes=np.unique(y))
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(parts.coefs_[0], whole.coefs_[0], rtol=1e-9)


# As long as it learns, it may do so with few of the units.
@pytest.mark.filterwarnings("ignore::fastmlp.TrainingWarning")
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_learns_whatever_the_batches(solver, weighted, n_jobs):
    X, y, weights = make_problem("binary", n_samples=300)
    weights[:64] = 0
    for batch_size in (1, 32, 300):
        model = MLPClassifier(
            (32,), solver=solver, batch_size=batch_size, learning_rate_init=0.02, max_iter=30,
            n_jobs=n_jobs, random_state=0, shuffle=False,
        ).fit(X, y, sample_weight=weights if weighted else None)  # fmt: skip
        assert model.loss_ < 0.8 * model.loss_curve_[0]


def test_adamw_shrinks_weights_alone():
    X = np.zeros((40, 3))
    start = [np.ones((3, 2)), np.zeros((2, 1))], [np.ones(2), np.zeros(1)]
    model = MLPRegressor(
        hidden_layer_sizes=(2,), solver="adamw", weight_decay=0.5, learning_rate_init=0.1,
        alpha=0, batch_size=20, max_iter=3, weight_init=start, random_state=0,
    )  # fmt: skip
    model.fit(X, np.zeros(40))  # what the network says already: all gradients are 0
    np.testing.assert_allclose(model.coefs_[0], 0.95**6, rtol=1e-12)
    np.testing.assert_array_equal(model.intercepts_[0], 1)


def test_decay_is_no_part_of_the_loss():
    X, y, _ = make_problem("regression")
    losses = [
        MLPRegressor(
            hidden_layer_sizes=(4,), solver="adamw", weight_decay=decay, max_iter=1,
            random_state=0, batch_size=60,
        ).fit(X, y).loss_
        for decay in (0, 10)
    ]  # fmt: skip
    assert losses[0] == losses[1]


@pytest.mark.parametrize("solver", SOLVERS)
def test_scikit_learn_does_not_know_them(solver):
    with pytest.raises(ValueError, match="solver"):
        MLPRegressor(solver=solver).to_sklearn()


@pytest.mark.parametrize(
    ("solver", "name", "options", "theirs"),
    [
        ("adamw", "AdamW", {"weight_decay": 0.3}, {"weight_decay": 0.3}),
        ("nadam", "NAdam", {}, {}),
        ("rmsprop", "RMSprop", {"beta_2": 0.9}, {"alpha": 0.9}),
        ("adagrad", "Adagrad", {}, {}),
    ],
)
def test_against_pytorch(solver, name, options, theirs):
    torch = pytest.importorskip("torch")
    X, y, _ = make_problem("multioutput")
    start = [np.random.RandomState(0).normal(size=(5, 3))], [np.zeros(3)]
    model = MLPRegressor(
        hidden_layer_sizes=(), solver=solver, weight_init=start, alpha=0, batch_size=20,
        shuffle=False, max_iter=20, learning_rate_init=0.01, epsilon=1e-15, **options,
    ).fit(X, y)  # fmt: skip
    W = torch.tensor(start[0][0], requires_grad=True)
    b = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    # Of PyTorch's parameters too, the biases are to be spared. Epsilon, which stands elsewhere, is
    # too small to matter.
    optimizer = getattr(torch.optim, name)(
        [{"params": [W], **theirs}, {"params": [b], **theirs, "weight_decay": 0.0}],
        lr=0.01, eps=1e-15,
    )  # fmt: skip
    inputs, targets = torch.tensor(X), torch.tensor(y)
    for _ in range(20):
        for begin in range(0, 60, 20):
            optimizer.zero_grad()
            error = inputs[begin : begin + 20] @ W + b - targets[begin : begin + 20]
            (error.square().sum() / 40).backward()
            optimizer.step()
    # PyTorch keeps NAdam's product of momenta in float32.
    np.testing.assert_allclose(model.coefs_[0], W.detach().numpy(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.intercepts_[0], b.detach().numpy(), rtol=0, atol=1e-9)
