"""Loss and gradient of whole networks against the twin and against finite differences."""

from functools import partial

import numpy as np
import pytest
from scipy import sparse

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.training import engine as engine_module
from fastmlp.training.plan import Plan
from tests.kernels.compiled import FLOATS, N_JOBS
from tests.kernels.networks import TWIN_LOSSES, make_problem

HIDDEN = [name for name, row in ACTIVATIONS.items() if row.is_hidden]
DEPTHS = [(), (5,), (6, 4), (5, 6, 3), (4, 5, 3, 6)]


@pytest.fixture(params=[0, 64], ids=["BLAS", "narrow"], autouse=True)
def few_weights(request, monkeypatch):
    """Run everything with matrices row by row and, where layers are small, unit by unit."""
    monkeypatch.setattr("fastmlp.training.plan._FEW_WEIGHTS", request.param)


def assert_close(got, expected, dtype):
    """Compare losses and gradients relative to the largest entry."""
    tolerance = 300 * float(np.finfo(dtype).eps)
    assert got[1].dtype == dtype
    assert got[0] == pytest.approx(expected[0], rel=tolerance, abs=tolerance)
    size = max(1.0, np.abs(expected[1]).max())
    np.testing.assert_allclose(got[1], expected[1], rtol=tolerance, atol=tolerance * size)


def assert_gradient_of_its_loss(problem, **options):
    """Compare the engine's gradient with finite differences of the engine's loss."""
    # As in scikit-learn, the squared error is averaged over outputs and its gradient is not.
    scale = problem.layout.units[-1] if LOSSES[problem.layout.loss].averages_outputs else 1
    _, gradient = problem.gradient(**options)
    numerical = scale * problem.numerical_gradient(**options)
    np.testing.assert_allclose(gradient, numerical, rtol=1e-7, atol=1e-8 * scale)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", DEPTHS)
def test_depths_and_losses(hidden, loss, dtype):
    problem = make_problem(hidden, loss=loss, dtype=dtype)
    before = problem.params.copy()
    for alpha in (0.0, 0.7):
        expected = problem.twin_gradient(alpha)
        assert_close(problem.gradient(alpha=alpha), expected, dtype)
        np.testing.assert_array_equal(problem.params, before)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", DEPTHS)
def test_depths_and_losses_by_finite_differences(hidden, loss):
    assert_gradient_of_its_loss(make_problem(hidden, loss=loss, n_samples=5))
    assert_gradient_of_its_loss(make_problem(hidden, loss=loss, n_samples=5, weighted=True))
    if not LOSSES[loss].has_term_per_row:
        # With a single output all losses are gradients of what is reported, penalty included.
        single = make_problem(hidden, loss=loss, n_samples=5, n_outputs=1)
        assert_gradient_of_its_loss(single, alpha=0.7)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_activations(name, dtype):
    problem = make_problem(activations=name, dtype=dtype)
    assert_close(problem.gradient(alpha=0.1), problem.twin_gradient(0.1), dtype)


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_activations_by_finite_differences(name):
    assert_gradient_of_its_loss(make_problem(activations=name, n_samples=5))


@pytest.mark.parametrize("first", range(len(HIDDEN)))
def test_mixed_activations(first):
    names = [HIDDEN[(first + layer) % len(HIDDEN)] for layer in range(4)]
    problem = make_problem((4, 5, 3, 6), names, "softmax_cross_entropy", n_samples=6)
    assert_close(problem.gradient(), problem.twin_gradient(), np.float64)
    assert_gradient_of_its_loss(problem)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "prelu"])
def test_output_activations(name, dtype):
    problem = make_problem((5,), output=name, dtype=dtype)
    assert_close(problem.gradient(), problem.twin_gradient(), dtype)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_output_activations_by_finite_differences(name):
    assert_gradient_of_its_loss(make_problem((5,), output=name, n_samples=6))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("names", "slopes"),
    [
        (["prelu", "prelu"], [0.25, -0.4]),
        (["prelu", "tanh"], [0.1, None]),
        (["leaky_relu", "prelu"], [0.2, 0.0]),
        (["elu", "leaky_relu"], [1.7, None]),
    ],
)
def test_slopes(names, slopes, weighted, dtype):
    problem = make_problem(
        (6, 5), names, "logistic_cross_entropy", slopes=slopes, dtype=dtype, weighted=weighted
    )
    n_learned = names.count("prelu")
    assert problem.params.size == 4 * 6 + 6 * 5 + 5 * 3 + 6 + 5 + 3 + n_learned
    assert_close(problem.gradient(alpha=0.1), problem.twin_gradient(0.1), dtype)
    if dtype is np.float64:
        assert_gradient_of_its_loss(problem)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", LOSSES)
def test_sample_weights(loss, dtype):
    problem = make_problem(loss=loss, dtype=dtype, weighted=True)
    assert_close(problem.gradient(alpha=0.3), problem.twin_gradient(0.3), dtype)
    # A weight of zero is as good as no sample.
    problem.sample_weight[::3] = 0
    assert_close(problem.gradient(alpha=0.3), problem.twin_gradient(0.3), dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csr_matrix])
def test_sparse_inputs(make, density, dtype):
    problem = make_problem(dtype=dtype, weighted=True)
    rng = np.random.default_rng(0)
    problem.X[rng.uniform(size=problem.X.shape) >= density] = 0
    X = make(problem.X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    assert_close(problem.gradient(X=X, alpha=0.1), problem.twin_gradient(0.1), dtype)


@pytest.mark.parametrize("n_samples", [1, 2, 15, 16, 17, 64, 200, 1100])
@pytest.mark.parametrize("activation", ["softplus", "prelu"])
def test_batch_sizes(activation, n_samples):
    # With a learned slope, and beyond 1024 rows, threads share samples instead of parameters.
    activations = [activation, "tanh"]
    slopes = [0.3, None]
    problem = make_problem(activations=activations, slopes=slopes, n_samples=min(n_samples, 40))
    repeats = -(-n_samples // 40)
    X, y = (np.tile(array, (repeats, 1))[:n_samples] for array in (problem.X, problem.y))
    noise = np.random.default_rng(0).normal(scale=0.01, size=X.shape)
    problem = type(problem)(problem.layout, problem.params, X + noise, y)
    assert_close(problem.gradient(), problem.twin_gradient(), np.float64)


# n_shards, and rows of the workspace for each of them: a multiple of 16 as in `make_plan`.
SHARDS = [(1, 16), (1, 80), (2, 16), (3, 32), (4, 16), (8, 16)]


@pytest.fixture
def force_plan(monkeypatch):
    """Make engines follow a given plan."""
    return lambda plan: monkeypatch.setattr(engine_module, "make_plan", lambda *_, **__: plan)


def problem_variants(n_samples):
    """Dense, weighted and sparse data for one network."""
    plain = make_problem(loss="softmax_cross_entropy", n_samples=n_samples)
    weighted = make_problem(loss="softmax_cross_entropy", n_samples=n_samples, weighted=True)
    yield partial(plain.gradient, alpha=0.2), plain.twin_gradient(0.2)
    yield partial(weighted.gradient, alpha=0.2), weighted.twin_gradient(0.2)
    yield partial(plain.gradient, X=sparse.csr_array(plain.X), alpha=0.2), plain.twin_gradient(0.2)


@pytest.mark.parametrize("n_jobs", N_JOBS)
@pytest.mark.parametrize("n_samples", [1, 16, 33, 75])
def test_threads_share_parameters(n_samples, n_jobs, force_plan):
    force_plan(Plan(True, 1, n_samples, 3))
    for gradient, expected in problem_variants(n_samples):
        assert_close(gradient(n_jobs=n_jobs), expected, np.float64)


@pytest.mark.parametrize("n_jobs", N_JOBS)
@pytest.mark.parametrize("n_samples", [1, 16, 33, 75])
@pytest.mark.parametrize(("n_shards", "rows"), SHARDS)
def test_threads_share_samples(n_shards, rows, n_samples, n_jobs, force_plan):
    force_plan(Plan(False, n_shards, rows, 3))
    for gradient, expected in problem_variants(n_samples):
        assert_close(gradient(n_jobs=n_jobs), expected, np.float64)


@pytest.mark.parametrize("n_jobs", N_JOBS)
@pytest.mark.parametrize(("n_shards", "rows"), SHARDS)
def test_slopes_of_shards(n_shards, rows, n_jobs, force_plan):
    force_plan(Plan(False, n_shards, rows, 3))
    problem = make_problem(
        activations=["prelu", "prelu"], slopes=[0.3, 0.1], n_samples=40, weighted=True
    )
    assert_close(problem.gradient(n_jobs=n_jobs), problem.twin_gradient(), np.float64)


def test_twin_knows_every_loss():
    assert set(TWIN_LOSSES) == set(LOSSES)
