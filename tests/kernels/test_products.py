"""Matrix products that are not left to BLAS."""

import contextlib
import dataclasses

import numpy as np
import pytest

from fastmlp.kernels.dense import ROWS_WITHOUT_BLAS
from fastmlp.kernels.products import (
    _LARGE_PRODUCT,
    _LEAST_WORK,
    _MOST_TURNED,
    FEW_ROWS,
    OWN_WORK,
    room_size,
)
from fastmlp.kernels.registers import BITS, IS_FAST, REGISTER
from fastmlp.training import engine as engine_module
from fastmlp.training.data import sample_numbers
from fastmlp.training.memory import aligned_empty
from fastmlp.training.plan import Plan, make_plan
from tests.kernels import compiled
from tests.kernels.compiled import FLOATS, IS_COMPILED, N_JOBS
from tests.kernels.networks import make_problem, permutation
from tests.kernels.test_blas import stored

# m, n, k: one slab; many rows, columns and slabs of both dtypes, none of them even; more rows than
# masks.
SHAPES = [(50, 60, 70), (40, 300, 131), (301, 100, 35), (1025, 120, 70)]
# More than BLAS has kernels of its own for, and less than it takes to make it worth while.
MIDDLING = [(60, 160, 130), (40, 300, 131), (301, 100, 35), (500, 10, 301), (600, 2, 900)]
CANARY = 16


def matrices(m, n, k, density, dtype):
    rng = np.random.default_rng(0)
    A, B, C = (rng.normal(size=shape).astype(dtype) for shape in ((m, k), (k, n), (m, n)))
    return A * (rng.uniform(size=A.shape) < density), B, C


def multiply(trans_a, trans_b, alpha, A, B, beta, C, padding=0, biases=()):
    """Return whether C was computed, and C."""
    (m, k), n, number = A.shape, B.shape[1], A.dtype.type
    lda, ldb = (m if trans_a else k) + padding, (k if trans_b else n) + 2 * padding
    ldc = n + 3 * padding
    size = room_size(*(A.T if trans_a else A).shape, A.dtype)
    room = aligned_empty(size + CANARY, A.dtype)
    room[:] = np.nan
    c = stored(C, False, ldc, 0, filler=7)
    done = compiled.product(
        trans_a, trans_b, m, n, k, number(alpha), stored(A, trans_a, lda, 0), lda,
        stored(B, trans_b, ldb, 0), ldb, number(beta), np.array(biases, A.dtype), c, ldc,
        room[:size],
    )  # fmt: skip
    c = c.reshape(m, ldc)
    np.testing.assert_array_equal(c[:, n:], 7)
    assert np.isnan(room[size:]).all()
    return done, c[:, :n]


def assert_products(shape, densities, trans_a, trans_b, dtype):
    eps = float(np.finfo(dtype).eps)
    for density in densities:
        A, B, C = matrices(*shape, density, dtype)
        product, size = A.astype(np.float64) @ B, np.abs(A).astype(np.float64) @ np.abs(B)
        for alpha, beta, padding in [(1, 0, 0), (1, 1, 0), (-0.3, 0, 2), (0.3, 1, 5)]:
            before = C if beta else np.full_like(C, np.nan)
            done, got = multiply(trans_a, trans_b, alpha, A, B, beta, before.copy(), padding)
            assert done
            error = np.abs(got - (alpha * product + (beta * C if beta else 0)))
            assert (error <= 4 * eps * (shape[2] + 2) * (size + np.abs(C))).all()
        _, got = multiply(trans_a, trans_b, 0.3, A, B, 0, np.full_like(C, np.nan), 2, C[0])
        error = np.abs(got - (0.3 * product + C[0]))
        assert (error <= 4 * eps * (shape[2] + 2) * (size + np.abs(C[0]))).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_zeros_are_skipped(shape, trans_a, trans_b, dtype):
    assert_products(shape, (0.0, 0.15), trans_a, trans_b, dtype)


@pytest.mark.skipif(not IS_FAST, reason="BLAS multiplies by all")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("trans_a", [False, True])
def test_what_meets_zeros_only_does_not_show(trans_a, dtype):
    A, B, C = matrices(60, 100, 150, 0.2, dtype)
    A[:, ::7], B[::7] = 0, np.nan
    _, got = multiply(trans_a, False, 1, A, B, 0, C.copy())
    tolerance = 1000 * np.finfo(dtype).eps
    np.testing.assert_allclose(got, A @ np.nan_to_num(B), tolerance, tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("shape", MIDDLING)
def test_full_matrices_of_middle_size(shape, trans_a, trans_b, dtype):
    assert_products(shape, (1.0,), trans_a, trans_b, dtype)


@pytest.mark.skipif(not OWN_WORK, reason="BLAS has kernels for some of these")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_what_is_never_left_to_blas(density, dtype):
    assert ROWS_WITHOUT_BLAS >= FEW_ROWS - 1
    sizes = np.random.default_rng(0).integers(1, 200, size=(200, 3))
    sizes[:, 0] += FEW_ROWS - 1
    tall, wide = (OWN_WORK // 100 - 1, 10, 10), (FEW_ROWS, 1000, OWN_WORK // 1000 // FEW_ROWS - 1)
    narrow = (100, 1, 100)
    for m, n, k in [*sizes, tall, wide, narrow, (FEW_ROWS, _LEAST_WORK // FEW_ROWS, 1)]:
        if _LEAST_WORK <= m * n * k < OWN_WORK:
            assert multiply(False, False, 1, *matrices(m, n, k, density, dtype)[:2], 0,
                            np.zeros((m, n), dtype))[0]  # fmt: skip


@pytest.mark.skipif(REGISTER == 64, reason="BLAS has kernels for these")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("shape", [(200, 10, 100), (100, 7, 33), (64, 2, 64), (20, 64, 64)])
def test_small_matrices(shape, trans_a, trans_b, dtype):
    assert_products(shape, (0.2, 1.0), trans_a, trans_b, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(16, 40, 16), (131, 50, 33)])
def test_small_matrices_to_transpose(shape, dtype):
    assert_products(shape, (0.2, 1.0), False, True, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_last_pieces_of_one_row(trans_a, trans_b, dtype):
    # Of the rows that are turned together, and of the rows of a slab, one each is left over.
    row = -(-200 // 16) * 16
    height = _MOST_TURNED // row // 16 * 16
    for shape in [(3 * height + 1, 40, 200), (16, 21, 64 * BITS + 1)]:
        assert_products(shape, (0.05,), trans_a, trans_b, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_many_rows_of_a_transposed_matrix(dtype):
    # More than are turned at a time.
    A, B, C = matrices(3000, 50, 100, 0.1, dtype)
    done, got = multiply(True, False, 1, A, B, 0, C.copy())
    assert done
    tolerance = 1000 * np.finfo(dtype).eps
    np.testing.assert_allclose(got, A @ B, tolerance, tolerance)


@pytest.mark.parametrize("trans_a", [False, True])
def test_what_is_left_to_blas(trans_a):
    # Too much work, too little, too few rows of A in memory.
    much = int(_LARGE_PRODUCT ** (1 / 3)) + 1
    cases = [((much, much, much), 1.0), ((16, 16, 16), 0.1), ((3, 300, 300), 0.1)]
    if REGISTER == 64:
        # A single column; and what BLAS has kernels for.
        cases += [((900, 1, 900), 1.0), ((100, 64, 100), 1.0)]
    for shape, density in cases:
        shape = shape[::-1] if trans_a else shape
        A, B, C = matrices(*shape, density, np.float64)
        done, got = multiply(trans_a, False, 1, A, B, 1, C.copy())
        assert not done
        np.testing.assert_array_equal(got, C)


@pytest.mark.parametrize("dtype", FLOATS)
def test_few_rows_to_transpose_are_left_to_blas(dtype):
    few, many = REGISTER // np.dtype(dtype).itemsize - 1, REGISTER == 64
    for m, depth, expected in [(120, few, False), (120, few + 1, True), (300, few, many)]:
        A, B, C = matrices(m, 500, depth, 1.0, dtype)
        done, got = multiply(False, True, 1, A, B, 0, C.copy())
        assert done == expected
        tolerance = 100 * np.finfo(dtype).eps
        np.testing.assert_allclose(got, A @ B if done else C, tolerance, tolerance)


# --------------------------------------------------------------------------------------
# In training
# --------------------------------------------------------------------------------------


def train(plan, monkeypatch, dtype, n_jobs, optimizer="adam", batch_size=60):
    """Train a network most of whose inputs and hidden units are zero; return the parameters."""
    monkeypatch.setattr(engine_module, "make_plan", lambda *_, **__: plan)
    problem = make_problem(
        (64, 48), "relu", loss="softmax_cross_entropy", n_features=160, n_samples=130, dtype=dtype
    )
    X = problem.X * (np.random.default_rng(0).uniform(size=problem.X.shape) < 0.2)
    X = np.ascontiguousarray(X, dtype)
    with problem.engine(optimizer, X=X, n_jobs=n_jobs, batch_size=batch_size, alpha=0.1) as engine:
        for workspace in engine._workspaces:
            workspace.room[:] = np.nan
        for epoch in range(3):
            order = permutation(epoch, len(X))
            loss = engine.run_epoch(order, False, np.full(engine.n_batches, 0.01))
        # The kernel has been at work, or not.
        assert [np.isnan(w.room).all() for w in engine._workspaces] == [
            not plan.own_products for _ in engine._workspaces
        ]
    return loss, problem.params


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_jobs", N_JOBS)
@pytest.mark.parametrize(
    "plan",
    [
        Plan(True, 1, 60, 3),
        Plan(False, 1, 64, 1),
        Plan(False, 2, 32, 2),
        Plan(False, 2, 16, 2),
    ],
    ids=["together", "one shard", "shards", "pieces"],
)
def test_training_by_own_products_is_the_same(plan, n_jobs, dtype, monkeypatch):
    other = dataclasses.replace(plan, own_products=True)
    expected_loss, expected = train(plan, monkeypatch, dtype, n_jobs)
    loss, params = train(other, monkeypatch, dtype, n_jobs)
    tolerance = 1e-10 if dtype is np.float64 else 2e-3
    np.testing.assert_allclose(loss, expected_loss, tolerance)
    np.testing.assert_allclose(params, expected, tolerance, tolerance)
    np.testing.assert_array_equal(train(other, monkeypatch, dtype, n_jobs)[1], params)
    if not plan.shares_layers:
        np.testing.assert_array_equal(train(other, monkeypatch, dtype, 1)[1], params)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_jobs", N_JOBS)
def test_single_samples_by_own_products(n_jobs, dtype, monkeypatch):
    monkeypatch.setattr("fastmlp.training.plan.IS_FAST", True)

    def params():
        problem = make_problem((96,), "relu", n_features=160, n_samples=70, dtype=dtype)
        X = problem.X * (np.random.default_rng(0).uniform(size=problem.X.shape) < 0.2)
        X = np.ascontiguousarray(X, dtype)
        with problem.engine("sgd", X=X, n_jobs=n_jobs, batch_size=1, alpha=0.01) as engine:
            for workspace in engine._workspaces:
                workspace.room[:] = np.nan
            engine.run_epoch(sample_numbers(0, 70), True, np.full(70, 0.01))
            n_at_work = sum(not np.isnan(w.room).all() for w in engine._workspaces)
        return problem.params, n_at_work

    got, n_at_work = params()
    assert n_at_work > 0
    monkeypatch.setattr(engine_module, "is_worth_own_products", lambda *_: False)
    expected, n_at_work = params()
    assert n_at_work == 0
    tolerance = 1e-11 if dtype is np.float64 else 1e-4
    np.testing.assert_allclose(got, expected, tolerance, tolerance)


@pytest.mark.skipif(not IS_COMPILED, reason="threads meet in compiled code only")
@pytest.mark.parametrize("dtype", FLOATS)
def test_how_many_threads_are_free_does_not_show(dtype, monkeypatch):
    results = []
    for n_threads in (1, 2):

        @contextlib.contextmanager
        def reserve(*_, n_threads=n_threads):
            yield n_threads

        monkeypatch.setattr(engine_module, "reserve_threads", reserve)
        plan = Plan(True, 1, 60, 2, own_products=True)
        results.append(train(plan, monkeypatch, dtype, n_jobs=2)[1])
    np.testing.assert_array_equal(*results)


def test_large_layers_have_own_products(monkeypatch):
    def own_products(hidden, batch_size):
        problem = make_problem(hidden, n_features=50, n_samples=300)
        return make_plan(problem.layout, np.float64, batch_size).own_products

    monkeypatch.setattr("fastmlp.training.plan.IS_FAST", True)
    assert own_products((100,), 200)
    assert own_products((300, 300), 32)
    assert not own_products((300, 300), FEW_ROWS - 1)
    assert not own_products((10, 10), 32)
    monkeypatch.setattr("fastmlp.training.plan.IS_FAST", False)
    assert not own_products((100,), 200)
