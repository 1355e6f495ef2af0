"""Dropout, layer normalisation and penalties against the twin and against finite differences."""

import numpy as np
import pytest
from scipy import sparse

from fastmlp.kernels.dropout import DROPOUTS, threshold_of
from fastmlp.training import engine as engine_module
from fastmlp.training.data import sample_numbers
from fastmlp.training.plan import Plan
from tests import reference
from tests.kernels.compiled import (
    FLOATS,
    IS_COMPILED,
    N_JOBS,
    drop,
    drop_derivative,
    normalise,
    normalise_backward,
)
from tests.kernels.networks import make_problem, permutation
from tests.kernels.test_gradients import assert_close, assert_gradient_of_its_loss

PLANS = [Plan(True, 1, 40, 3), Plan(False, 1, 16, 1), Plan(False, 4, 16, 3)]
ACTIVATIONS = ["tanh", "relu", "selu", "silu", "prelu", "elu"]
OPTIONS = {
    "dropout": {"dropout": (0.3, 0.6)},
    "dropout in one layer": {"dropout": (0.0, 0.5)},
    "norm": {"norms": (True, True)},
    "norm in one layer": {"norms": (True, False)},
    "both": {"norms": (True, True), "dropout": (0.3, 0.6)},
}


# --------------------------------------------------------------------------------------
# The kernels by themselves
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("noise", [0, 17, 2**62 + 12345])
def test_dropout_draws_what_the_twin_draws(noise, rate, dtype):
    a = np.random.RandomState(0).normal(size=(30, 7)).astype(dtype)
    kept = reference.is_kept(noise, 2, a.shape, rate)
    out = np.empty(a.size, dtype)
    drop("dropout", noise, 2, 0, rate, a.ravel(), out)
    np.testing.assert_allclose(out.reshape(a.shape), a * kept / (1 - rate), rtol=1e-6)
    # Some rows of the batch, and the backward pass in place, draw the same.
    delta = np.ones(10 * 7, dtype)
    drop_derivative("dropout", noise, 2, 5 * 7, rate, delta)
    np.testing.assert_allclose(delta.reshape(10, 7), kept[5:15] / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("name", DROPOUTS)
@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_dropout_keeps_the_mean_and_alpha_dropout_the_variance_too(rate, name):
    size = 10**6 if IS_COMPILED else 10**5
    out = np.empty(size)
    drop(name, 5, 0, 0, rate, np.random.RandomState(0).normal(size=size), out)
    assert out.mean() == pytest.approx(0, abs=0.01)
    if name == "alpha_dropout":
        assert out.var() == pytest.approx(1, abs=0.01)
        least = out[reference.is_kept(5, 0, (size,), rate) == 0]
        assert np.unique(least).size == 1


def test_masks_are_as_good_as_independent():
    shape, rate = (400, 250), 0.3
    masks = [
        reference.is_kept(noise, layer, shape, rate).astype(float)
        for noise in (0, 1, 2, 2**32)
        for layer in (0, 1)
    ]
    n, bound = np.prod(shape), 5 * np.sqrt(rate * (1 - rate))
    for mask in masks:
        assert abs(mask.mean() - (1 - rate)) < bound / np.sqrt(n)
        assert np.abs(mask.mean(axis=0) - (1 - rate)).max() < bound / np.sqrt(shape[0])
        assert np.abs(mask.mean(axis=1) - (1 - rate)).max() < bound / np.sqrt(shape[1])
    correlations = np.corrcoef(
        [np.roll(mask.ravel(), shift) for mask in masks for shift in (0, 1, shape[1])]
    )
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize("rate", [0.0, 0.5, 1 - 1e-12, np.nextafter(1, 0)])
def test_threshold(rate):
    assert 0 <= threshold_of(rate) < 2**32


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_units", [1, 5, 33])
def test_normalisation(n_units, dtype):
    rng = np.random.RandomState(0)
    z, upstream = rng.normal(3, 2, (2, 20, n_units)).astype(dtype)
    scales, offsets = rng.normal(size=(2, n_units)).astype(dtype)
    parameters = np.concatenate([scales, offsets])
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    out, kept = z.ravel().copy(), np.empty(20 * (n_units + 1), dtype)
    normalise(n_units, parameters, out, kept)
    wide = [array.astype(np.float64) for array in (z, scales, offsets, upstream)]
    expected = reference.normalise(*wide[:3])
    np.testing.assert_allclose(out.reshape(z.shape), expected, rtol=tolerance, atol=tolerance)
    # Prediction keeps nothing.
    again = z.ravel().copy()
    normalise(n_units, parameters, again, kept[:0])
    np.testing.assert_array_equal(again, out)

    delta, grads = upstream.ravel().copy(), np.ones(2 * n_units, dtype)
    normalise_backward(n_units, dtype(0.5), parameters, kept, delta, grads)
    deltas, of_scales, of_offsets = reference.normalise_backward(wide[0], wide[1], wide[3])
    tolerance *= 20
    np.testing.assert_allclose(delta.reshape(z.shape), deltas, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(grads[:n_units], 1 + of_scales / 2, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(grads[n_units:], 1 + of_offsets / 2, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e30), (np.float64, 1e200)])
def test_normalisation_of_huge_numbers(dtype, size):
    z = np.random.RandomState(0).normal(size=(4, 30)).astype(dtype)
    parameters = np.concatenate([np.ones(30), np.zeros(30)]).astype(dtype)
    results = []
    for factor in (1e6, size):
        out, kept = (z * dtype(factor)).ravel(), np.empty(4 * 31, dtype)
        normalise(30, parameters, out, kept)
        delta = np.ones(120, dtype)
        delta[::3] = -1
        normalise_backward(30, 1, parameters, kept, delta, np.zeros(60, dtype))
        results.append((out, delta * dtype(factor)))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-3, atol=1e-5)


# --------------------------------------------------------------------------------------
# Whole networks
# --------------------------------------------------------------------------------------


@pytest.fixture
def force_plan(monkeypatch):
    """Make engines follow a given plan."""
    return lambda plan: monkeypatch.setattr(engine_module, "make_plan", lambda *_, **__: plan)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("options", OPTIONS)
def test_gradient(options, activation, dtype):
    problem = make_problem(
        activations=activation, loss="softmax_cross_entropy", dtype=dtype, **OPTIONS[options]
    )
    assert_close(problem.gradient(alpha=0.1), problem.twin_gradient(0.1), dtype)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("options", OPTIONS)
def test_gradient_by_finite_differences(options, activation):
    assert_gradient_of_its_loss(
        make_problem(activations=activation, n_samples=5, weighted=True, **OPTIONS[options])
    )


@pytest.mark.parametrize("dtype", FLOATS)
def test_l1(dtype):
    problem = make_problem(dtype=dtype)
    problem.params[:3] = 0
    expected = problem.twin_gradient(alpha=0.3, l1=0.2)
    assert_close(problem.gradient(alpha=0.3, l1=0.2), expected, dtype)
    plain = problem.twin_gradient(alpha=0.3)
    np.testing.assert_allclose(expected[1][:3], plain[1][:3])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_jobs", N_JOBS)
@pytest.mark.parametrize(
    ("plan", "hidden", "limit"),
    [
        (PLANS[0], (6, 5), 0.6),
        (PLANS[0], (128, 192), 3.0),
        (PLANS[1], (6, 5), 0.6),
        (PLANS[2], (6, 5), 0.6),
    ],
    ids=["together", "together, wide", "1 shard", "4 shards"],
)
def test_training_with_everything_follows_the_twin(plan, hidden, limit, n_jobs, dtype, force_plan):
    # Where threads go together, gradients of norms are nobody's.
    norms = () if plan.shares_layers else (True, True)
    force_plan(plan)
    problem = make_problem(
        hidden, "silu", "softmax_cross_entropy", n_samples=90, dtype=dtype, weighted=True,
        norms=norms, dropout=(0.2, 0.4),
    )  # fmt: skip
    twin, (X, y, weights) = problem.twin(), problem.twin_data()
    optimizer = reference.SGD(learning_rate_init=0.3, momentum=0.5)
    lengths = []
    with problem.engine(
        "momentum", batch_size=40, alpha=0.4, l1=0.3, max_grad_norm=limit, n_jobs=n_jobs
    ) as engine:
        engine._step.hyper[0] = 0.5
        for epoch in range(3):
            order = permutation(epoch, 90)
            seed, count = 1000 + epoch, int(engine._count[0])
            loss, expected = engine.run_epoch(order, False, np.full(3, 0.3), seed), 0.0
            for batch, rows in enumerate(np.split(order, [40, 80])):
                value, gradients = reference.backward(
                    twin, X[rows], y[rows], "log_loss", 0.4, weights[rows], 0.3,
                    noise=(seed << 32) + count + batch,
                )  # fmt: skip
                expected += value * len(rows) / 90
                lengths.append(np.sqrt(sum((gradient**2).sum() for gradient in gradients)))
                reference.clip(gradients, limit)
                optimizer.step(twin.parameters, gradients)
            tolerance = 1e-11 if dtype is np.float64 else 1e-4
            assert loss == pytest.approx(expected, rel=tolerance)
            np.testing.assert_allclose(
                problem.params, problem.flatten(twin.parameters), rtol=tolerance, atol=tolerance
            )
    assert min(lengths) < limit < max(lengths)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("options", OPTIONS)
def test_neither_threads_nor_their_number_change_a_bit_of_shards(options, dtype, force_plan):
    results = []
    for n_shards in (1, 4):
        force_plan(Plan(False, n_shards, 16, 3))
        for n_jobs in N_JOBS:
            problem = make_problem(n_samples=90, dtype=dtype, **OPTIONS[options])
            with problem.engine(
                "adam", batch_size=40, n_jobs=n_jobs, max_grad_norm=0.1, l1=0.1
            ) as engine:
                for seed in range(3):
                    engine.run_epoch(sample_numbers(0, 90), True, np.full(3, 0.01), seed)
            results.append(problem.params)
        for params in results[-len(N_JOBS) :]:
            np.testing.assert_array_equal(params, results[-1])
    tolerance = 1e-11 if dtype is np.float64 else 1e-3
    np.testing.assert_allclose(results[0], results[-1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("options", OPTIONS)
def test_sparse_inputs(options):
    problem = make_problem(**OPTIONS[options])
    dense, other = problem.gradient(), problem.gradient(X=sparse.csr_array(problem.X))
    np.testing.assert_allclose(other[1], dense[1], rtol=1e-12, atol=1e-14)


def test_infinite_gradient_is_not_shortened_to_a_finite_one():
    problem = make_problem(activations="relu")
    problem.params[: problem.layout.n_weights] = 1e200
    with problem.engine("sgd", max_grad_norm=1.0) as engine:
        engine.run_epoch(sample_numbers(0, 17), True, np.full(1, 0.1))
    assert not np.isfinite(problem.params).all()
