"""One layer, dense and sparse, against NumPy."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from fastmlp.kernels.dense import MANY, addresses_for_few
from fastmlp.training.data import sample_numbers
from tests.kernels import compiled
from tests.kernels.compiled import FLOATS
from tests.kernels.networks import permutation

SHAPES = [
    (1, 1, 1), (1, 4, 3), (1, 40, 37), (3, 20, 12), (4, 9, 17), (7, 5, 1), (8, 6, 11), (16, 1, 9),
    (33, 20, 12),
]  # fmt: skip
# With many zeros, products of these skip them.
LARGE = (48, 130, 70)
# A shard of a short batch.
EMPTY = (0, 6, 5)


def layer(shape, dtype, density=1.0):
    """Inputs, weights, biases and delta of a layer."""
    n_rows, fan_in, fan_out = shape
    rng = np.random.default_rng(0)
    a = rng.normal(size=(n_rows, fan_in)) * (rng.uniform(size=(n_rows, fan_in)) < density)
    shapes = (fan_in, fan_out), (fan_out,), (n_rows, fan_out)
    return [
        array.astype(dtype) for array in (a, *(rng.normal(size=shape) for shape in shapes))
    ]  # fmt: skip


def assert_close(got, expected):
    tolerance = 200 * np.finfo(got.dtype).eps
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def parts(n):
    """All of n, and its halves."""
    return [part for part in [(0, n), (0, (n + 1) // 2), ((n + 1) // 2, n)] if part[0] < part[1]]


def both_kinds_of_few(dtype):
    """Few rows by loops, and by what is for many."""
    return [addresses_for_few(dtype), MANY]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("density", [1.0, 0.2])
@pytest.mark.parametrize("shape", [*SHAPES, LARGE, EMPTY])
def test_dense_forward(shape, density, dtype):
    a, weights, biases, delta = layer(shape, dtype, density)
    n_rows, fan_in, fan_out = shape
    for start, stop in parts(fan_in):
        for some_biases in (biases, biases[:0]):
            z = np.full(delta.shape, np.nan, dtype)
            compiled.dense_forward(
                n_rows, stop - start, fan_in, fan_out, a.ravel()[start:],
                weights[start:stop].ravel(), some_biases, z.reshape(-1),
            )  # fmt: skip
            products = a[:, start:stop] @ weights[start:stop]
            assert_close(z, products + some_biases if some_biases.size else products)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("density", [1.0, 0.2])
@pytest.mark.parametrize("shape", [*SHAPES, LARGE, EMPTY])
def test_input_gradient(shape, density, dtype):
    _, weights, _, delta = layer(shape, dtype)
    n_rows, fan_in, fan_out = shape
    delta *= np.random.default_rng(1).uniform(size=delta.shape) < density
    for (start, stop), few in itertools.product(parts(fan_in), both_kinds_of_few(dtype)):
        out = np.full((n_rows, stop - start), np.nan, dtype)
        compiled.input_gradient(
            few, n_rows, stop - start, fan_out, delta.ravel(), weights[start:stop].ravel(),
            out.reshape(-1),
        )  # fmt: skip
        assert_close(out, (delta @ weights.T)[:, start:stop])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("density", [1.0, 0.2])
@pytest.mark.parametrize("shape", [*SHAPES, LARGE, EMPTY])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.125, 0.0), (0.5, 1.0)])
def test_weight_gradient(alpha, beta, shape, density, dtype):
    a, _, _, delta = layer(shape, dtype, density)
    n_rows, fan_in, fan_out = shape
    for (start, stop), few in itertools.product(parts(fan_in), both_kinds_of_few(dtype)):
        before = np.full((stop - start, fan_out), 3 if beta else np.nan, dtype)
        grads = before.ravel().copy()
        compiled.weight_gradient(
            few, n_rows, stop - start, fan_in, fan_out, dtype(alpha), a.ravel()[start:],
            delta.ravel(), dtype(beta), grads,
        )  # fmt: skip
        expected = alpha * (a.T @ delta)[start:stop] + (beta * before if beta else 0)
        assert_close(grads.reshape(before.shape), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.125, 0.0), (0.5, 1.0)])
def test_bias_gradient(alpha, beta, shape, dtype):
    delta = layer(shape, dtype)[-1]
    for start, stop in parts(shape[2]):
        before = np.full(stop - start, 3 if beta else np.nan, dtype)
        grads = before.copy()
        compiled.bias_gradient(
            shape[0], stop - start, shape[2], dtype(alpha), delta.ravel()[start:], dtype(beta),
            grads,
        )  # fmt: skip
        expected = alpha * delta[:, start:stop].sum(axis=0) + (beta * before if beta else 0)
        assert_close(grads, expected)


def csr(X, shuffled=False):
    """CSR arrays in the kernels' types; duplicates and unordered indices are allowed in CSR."""
    X = sparse.csr_array(X)
    indptr, indices, values = X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data.copy()
    if shuffled:
        for begin, end in itertools.pairwise(indptr):
            for array in (indices, values):
                array[begin:end] = array[begin:end][::-1].copy()
    return indptr, indices, values


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_sparse_forward(shape, density, dtype):
    X, weights, biases, delta = layer(shape, dtype, density)
    rng = np.random.default_rng(1)
    drawn = rng.integers(shape[0], size=shape[0], dtype=np.int32)
    for rows in (sample_numbers(0, shape[0]), drawn):
        for start, stop in parts(shape[1]):
            for some_biases in (biases, biases[:0]):
                z = np.full(delta.size, np.nan, dtype)
                compiled.sparse_forward(
                    rows, shape[2], start, stop, *csr(X, True), weights[start:stop].ravel(),
                    some_biases, z,
                )  # fmt: skip
                products = X[rows][:, start:stop] @ weights[start:stop]
                expected = products + some_biases if some_biases.size else products
                assert_close(z.reshape(delta.shape), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.125, 0.0), (0.5, 1.0)])
def test_sparse_weight_gradient(alpha, beta, shape, density, dtype):
    X, _, _, delta = layer(shape, dtype, density)
    rows = permutation(1, shape[0])
    for start, stop in parts(shape[1]):
        before = np.full((stop - start, shape[2]), 3 if beta else np.nan, dtype)
        grads = before.ravel().copy()
        compiled.sparse_weight_gradient(
            rows, shape[2], start, stop, dtype(alpha), *csr(X), delta.ravel(), dtype(beta), grads
        )
        expected = alpha * (X[rows].T @ delta)[start:stop] + (beta * before if beta else 0)
        assert_close(grads.reshape(before.shape), expected)


def test_duplicate_entries_add_up():
    indptr, indices = np.array([0, 3]), np.array([1, 0, 1], np.int32)
    values, weights = np.array([2.0, 3.0, 5.0]), np.array([10.0, 100.0])
    z = np.empty(1)
    compiled.sparse_forward(
        np.zeros(1, np.int32), 1, 0, 2, indptr, indices, values, weights, np.ones(1), z
    )
    assert z[0] == 1 + 3 * 10 + 7 * 100
    grads = np.empty(2)
    compiled.sparse_weight_gradient(
        np.zeros(1, np.int32), 1, 0, 2, 1.0, indptr, indices, values, np.array([2.0]), 0.0, grads
    )
    np.testing.assert_array_equal(grads, [6, 14])
