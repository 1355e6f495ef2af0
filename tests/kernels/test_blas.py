"""The matrix product through Numba's private symbol, and its replacement."""

import numba
import numpy as np
import pytest

from fastmlp.kernels import blas
from tests.kernels import compiled
from tests.kernels.compiled import FLOATS, IS_COMPILED

# Both must give the same; without compilation the first is NumPy's.
IMPLEMENTATIONS = {"blas": compiled.gemm, "loops": compiled.gemm_without_blas}


def stored(matrix, transposed, stride, offset, filler=np.nan):
    """A matrix as it lies in memory: rows `stride` apart in a flat array, after `offset` others."""
    matrix = matrix.T if transposed else matrix
    rows, columns = matrix.shape
    flat = np.full(offset + rows * stride, filler, matrix.dtype)
    flat[offset:].reshape(rows, stride)[:, :columns] = matrix
    return flat


def multiply(gemm, trans_a, trans_b, alpha, A, B, beta, C, padding=0, offset=0):
    """Run one implementation on matrices with some space between rows and before them."""
    (m, k), n = A.shape, B.shape[1]
    lda, ldb = (m if trans_a else k) + padding, (k if trans_b else n) + 2 * padding
    ldc = n + 3 * padding
    # BLAS wants positive strides, of empty matrices too.
    lda, ldb = max(lda, 1), max(ldb, 1)
    a, b = stored(A, trans_a, lda, offset), stored(B, trans_b, ldb, offset)
    c = stored(C, False, ldc, offset, filler=7)
    number = A.dtype.type
    gemm(
        trans_a, trans_b, m, n, k, number(alpha), a[offset:], lda, b[offset:], ldb,
        number(beta), c[offset:], ldc,
    )  # fmt: skip
    result = c[offset:].reshape(m, ldc)
    # Nothing outside the matrix was written.
    np.testing.assert_array_equal(result[:, n:], 7)
    np.testing.assert_array_equal(c[:offset], 7)
    return result[:, :n]


def matrices(m, n, k, dtype):
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape).astype(dtype) for shape in ((m, k), (k, n), (m, n)))


def test_numba_still_has_its_gemm():
    assert blas.HAS_BLAS_SYMBOL, (
        f"Numba {numba.__version__} no longer has the private symbol numba_xxgemm. Nothing is "
        "wrong, but matrix products are many times slower: fastmlp.kernels.blas needs another way."
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_gemm(implementation, trans_a, trans_b, dtype):
    gemm, eps = IMPLEMENTATIONS[implementation], float(np.finfo(dtype).eps)
    sizes = [(1, 1, 1), (2, 3, 4), (1, 5, 7), (5, 1, 7), (8, 8, 1), (33, 17, 65)]
    for m, n, k in sizes if IS_COMPILED else sizes[:-1]:
        A, B, C = matrices(m, n, k, dtype)
        product = A.astype(np.float64) @ B.astype(np.float64)
        size = np.abs(A).astype(np.float64) @ np.abs(B) + np.abs(C)
        for alpha, beta in [(1, 0), (1, 1), (-0.5, 0), (0.25, 2), (0, 1), (0, 0)]:
            for padding, offset in [(0, 0), (3, 0), (0, 5), (2, 1)]:
                got = multiply(gemm, trans_a, trans_b, alpha, A, B, beta, C.copy(), padding, offset)
                error = np.abs(got - (alpha * product + beta * C.astype(np.float64)))
                assert (error <= 4 * eps * (k + 2) * size).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("transposed", [False, True])
def test_nothing_to_sum(transposed, implementation, dtype):
    A, B, C = matrices(3, 4, 0, dtype)
    gemm = IMPLEMENTATIONS[implementation]
    for beta in (0, 1, -2):
        got = multiply(gemm, transposed, transposed, 1, A, B, beta, C.copy())
        np.testing.assert_array_equal(got, dtype(beta) * C)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("transposed", [False, True])
def test_no_rows(transposed, implementation):
    A, B, C = matrices(0, 4, 3, np.float64)
    assert multiply(IMPLEMENTATIONS[implementation], transposed, False, 1, A, B, 0, C).size == 0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_with_beta_0_the_result_need_not_be_initialised(implementation, dtype):
    A, B, C = matrices(5, 4, 3, dtype)
    C[:] = np.nan
    got = multiply(IMPLEMENTATIONS[implementation], False, False, 1, A, B, 0, C)
    np.testing.assert_allclose(got, A @ B, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_nan_and_infinity_spread(implementation, dtype):
    A, B, C = matrices(4, 3, 5, dtype)
    A[1, 2], A[2, 0] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        expected = A @ B
        got = multiply(IMPLEMENTATIONS[implementation], False, False, 1, A, B, 0, C)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))
