"""Descent one sample at a time, against the twin and against the passes over batches."""

import numpy as np
import pytest
from scipy import sparse

from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.stochastic import BLOCK
from fastmlp.training.data import sample_numbers
from tests import reference
from tests.kernels.compiled import FLOATS, IS_COMPILED, N_JOBS
from tests.kernels.networks import TWIN_LOSSES, make_problem, permutation

RATE = 0.05


def train(problem, n_epochs=3, rate=RATE, X=None, optimizer="sgd", **options):
    """Train some epochs in orders of their own; return the losses."""
    losses = []
    with problem.engine(optimizer, X=X, **{"batch_size": 1, **options}) as engine:
        for epoch in range(n_epochs):
            order = permutation(epoch, len(problem.X))
            losses.append(engine.run_epoch(order, False, np.full(len(order), rate)))
    return losses


def twin_train(problem, n_epochs=3, rate=RATE, alpha=0.0):
    """The same by the twin; return the losses and the parameters."""
    network, (X, y, sample_weight) = problem.twin(), problem.twin_data()
    losses = []
    for epoch in range(n_epochs):
        order = permutation(epoch, len(X))
        order = order[problem.sample_weight[order] > 0] if sample_weight is not None else order
        curve = reference.train(
            network, X[order], y[order], TWIN_LOSSES[problem.layout.loss][0],
            reference.SGD(rate), batch_size=1, n_epochs=1, alpha=alpha,
            sample_weight=None if sample_weight is None else sample_weight[order],
        )  # fmt: skip
        losses.append(curve[0] * len(order) / len(X))
    return losses, problem.flatten(network.parameters)


def assert_same_descent(problem, alpha=0.0, rate=RATE, X=None, tolerance=None):
    dtype = problem.params.dtype
    tolerance = tolerance or 2000 * float(np.finfo(dtype).eps)
    expected_losses, expected = twin_train(problem, alpha=alpha, rate=rate)
    start = problem.params.copy()
    losses = train(problem, alpha=alpha, rate=rate, X=X)
    np.testing.assert_allclose(problem.params, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(losses, expected_losses, rtol=tolerance)
    assert not np.array_equal(problem.params, start)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("alpha", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", [(), (5,), (6, 4, 5)])
def test_networks(hidden, loss, alpha, dtype):
    assert_same_descent(make_problem(hidden, loss=loss, dtype=dtype), alpha)


@pytest.mark.parametrize("names", [["relu", "relu"], ["gelu", "relu"], ["leaky_relu", "elu"]])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("n_features", [1, 3, 4, 9])
def test_activations_and_widths(n_features, n_outputs, names):
    # A unit of one output, whole fours and what is left of them have loops of their own.
    problem = make_problem(
        (9, 1), names, n_features=n_features, n_outputs=n_outputs, slopes=[0.3, None]
    )
    assert_same_descent(problem, alpha=0.1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_sample_weights(alpha, dtype):
    problem = make_problem(loss="softmax_cross_entropy", weighted=True, dtype=dtype)
    problem.sample_weight[[0, 5, 6]] = 0
    assert_same_descent(problem, alpha)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_zeros_are_skipped(is_sparse, density, dtype):
    problem = make_problem(n_features=7, dtype=dtype, weighted=True)
    rng = np.random.default_rng(0)
    problem.X[rng.uniform(size=problem.X.shape) >= density] = 0
    X = sparse.csr_array(problem.X) if is_sparse else problem.X
    assert_same_descent(problem, alpha=0.1, X=X)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rate_times_alpha", [0.3, 0.499, 0.6, 1.0, 1.5])
def test_strong_shrinkage(rate_times_alpha, weighted):
    # Lazy shrinkage has to be made good often here, and beyond one half it is not used.
    problem = make_problem(n_samples=40, weighted=weighted)
    if weighted:
        problem.sample_weight[:] = problem.sample_weight.clip(1)
    assert_same_descent(problem, alpha=rate_times_alpha / 0.02, rate=0.02, tolerance=1e-9)


def test_rates_of_each_step():
    problem, other = make_problem(), make_problem()
    rates = np.random.default_rng(0).uniform(0.001, 0.1, len(problem.X))
    order = sample_numbers(0, len(problem.X))
    with problem.engine("sgd", batch_size=1, alpha=0.1) as engine:
        engine.run_epoch(order, True, rates)
    # Without momentum, the step of the momentum optimizer is the same one.
    for sample, rate in zip(order, rates, strict=True):
        _, gradient = other_gradient(other, sample, alpha=0.1)
        other.params[:] -= rate * gradient
    np.testing.assert_allclose(problem.params, other.params, rtol=1e-11, atol=1e-12)


def other_gradient(problem, sample, **options):
    """The gradient of one sample, by the passes over batches."""
    single = type(problem)(
        problem.layout, problem.params, problem.X[[sample]], problem.y[[sample]]
    )  # fmt: skip
    return single.gradient(**options)


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_repeats_bit_for_bit(alpha):
    n_samples = 1500 if IS_COMPILED else 50
    problems = [make_problem((50,), n_features=40, n_samples=n_samples) for _ in range(2)]
    losses = [train(problem, alpha=alpha, rate=0.01) for problem in problems]
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(problems[0].params, problems[1].params)


def test_all_weights_zero_in_an_epoch_change_nothing():
    problem = make_problem(weighted=True)
    problem.sample_weight[:] = 0
    before = problem.params.copy()
    assert train(problem, n_epochs=1) == [0]
    np.testing.assert_array_equal(problem.params, before)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # plain Python says so aloud
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_a_number_is_not_hidden(bad):
    problem = make_problem((4, 3), "relu")
    problem.X[5, 1] = bad
    loss = train(problem, n_epochs=1)[0]
    assert np.isnan(loss) or not np.isfinite(problem.params).all()


@pytest.mark.parametrize("n_jobs", N_JOBS)
@pytest.mark.parametrize("n_samples", [1, 31, 32, 33, 100])
def test_blocks_and_threads(n_samples, n_jobs, monkeypatch):
    # Whole blocks of samples and what is left of them; columns of the first layer per thread.
    monkeypatch.setattr("fastmlp.training.plan._WORTH_A_THREAD_PER_SAMPLE", 1)
    problem = make_problem(
        (48, 5), "relu", "softmax_cross_entropy", n_features=6, n_samples=n_samples, weighted=True
    )
    problem.sample_weight[1::3] = 0
    losses, expected = twin_train(problem, alpha=0.1)
    with problem.engine("sgd", batch_size=1, n_jobs=n_jobs) as engine:
        assert engine._team.size == n_jobs
    np.testing.assert_allclose(train(problem, alpha=0.1, n_jobs=n_jobs), losses, rtol=1e-11)
    np.testing.assert_allclose(problem.params, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n_jobs", N_JOBS)
@pytest.mark.parametrize("is_sparse", [False, True])
def test_rates_that_are_too_large_for_a_while(is_sparse, n_jobs, monkeypatch):
    # Beyond half of 1 / alpha, steps are those of batches, which want gradients.
    monkeypatch.setattr("fastmlp.training.plan._WORTH_A_THREAD_PER_SAMPLE", 1)
    alpha, small, large = 10.0, 0.02, 0.08
    problem = make_problem((48, 5), n_features=6, n_samples=40)
    network, order = problem.twin(), sample_numbers(0, 40)
    X, y, _ = problem.twin_data()
    for rate in [small, large, small, large, small]:
        reference.train(
            network, X, y, TWIN_LOSSES[problem.layout.loss][0], reference.SGD(rate),
            batch_size=1, n_epochs=1, alpha=alpha,
        )  # fmt: skip
    options = {"X": sparse.csr_array(problem.X) if is_sparse else None, "n_jobs": n_jobs}
    engine = problem.engine("sgd", batch_size=1, alpha=alpha, **options)
    for rates in [small, large, small], [large, small]:
        with engine:
            n_threads = 1 if is_sparse else n_jobs
            n_products = 0 if is_sparse else min(n_threads, 2) * BLOCK**2
            assert engine._scratch.products.size == n_products
            assert not engine._workspaces[0].gradients.size
            for rate in rates:
                engine.run_epoch(order, True, np.full(40, rate))
            assert engine._workspaces[0].gradients.size
    expected = problem.flatten(network.parameters)
    np.testing.assert_allclose(problem.params, expected, rtol=1e-9, atol=1e-12)
