"""Matrix product on flat arrays: the general BLAS ``gemm``, callable from kernels.

``np.dot(a, b, out)`` fixes alpha = 1 and beta = 0 and copies strided operands. Numba itself links
a full ``gemm`` (SciPy's) under a helper symbol; an intrinsic calls it with plain pointers. That
symbol is private to Numba, so `tests/kernels/test_blas.py` guards it, and where it is missing the
same function is computed by ``np.dot``.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import _helperlib, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.linalg import ensure_blas

from fastmlp._jit import kernel, python_version

__all__ = ["gemm"]

ensure_blas()
HAS_BLAS_SYMBOL = "xxgemm" in getattr(_helperlib, "c_helpers", ())


@intrinsic
def _gemm_blas(typingctx, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    r"""Multiply two row-major matrices: :math:`C \leftarrow \alpha\,op(A)\,op(B) + \beta\,C`.

    Parameters
    ----------
    trans_a, trans_b : bool
        Whether op transposes its operand.
    m, n, k : int
        op(A) is (m, k), op(B) is (k, n), C is (m, n).
    alpha, beta : float
        Scalars of the arrays' dtype. With ``beta = 0``, C need not be initialised.
    a, b : ndarray, 1-D
        The stored matrices, rows one after another. Not modified.
    lda, ldb, ldc : int
        Distance between the starts of two rows, in elements.
    c : ndarray, 1-D
        **Overwritten.** Must not overlap `a` or `b`.

    Notes
    -----
    BLAS is column-major: :math:`C^T = op(B)^T op(A)^T`, on the same memory.
    """
    dtype = a.dtype
    if not (dtype == b.dtype == c.dtype and dtype in (types.float32, types.float64)):
        return None
    kind = ord("s") if dtype == types.float32 else ord("d")
    integer = types.intp
    signature = types.void(
        types.boolean, types.boolean, integer, integer, integer,
        dtype, a, integer, b, integer, dtype, c, integer,
    )  # fmt: skip

    def codegen(context, builder, signature, arguments):
        (trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) = arguments
        char, size, pointer = ir.IntType(8), ir.IntType(64), cgutils.voidptr_t
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(
                ir.IntType(32),
                [char, char, char, size, size, size, pointer, pointer, size]
                + [pointer, size, pointer, pointer, size],
            ),
            "numba_xxgemm",
        )

        def transposed(flag):
            return builder.select(
                cgutils.as_bool_bit(builder, flag),
                ir.Constant(char, ord("t")),
                ir.Constant(char, ord("n")),
            )

        def data(array_type, value):
            array = context.make_array(array_type)(context, builder, value)
            return builder.bitcast(array.data, pointer)

        def address(value):
            return builder.bitcast(cgutils.alloca_once_value(builder, value), pointer)

        builder.call(
            function,
            [
                ir.Constant(char, kind), transposed(trans_b), transposed(trans_a), n, m, k,
                address(alpha), data(signature.args[8], b), ldb,
                data(signature.args[6], a), lda, address(beta),
                data(signature.args[11], c), ldc,
            ],
        )  # fmt: skip
        return context.get_dummy_value()

    return signature, codegen


@kernel
def _gemm_loops(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """Compute the same without BLAS: rows of C as sums of rows of op(B)."""
    for i in range(m):
        row = c[i * ldc : i * ldc + n]
        for j in range(n):
            row[j] = beta * row[j] if beta != 0 else row.dtype.type(0)
        for p in range(k):
            factor = alpha * (a[p * lda + i] if trans_a else a[i * lda + p])
            if trans_b:
                for j in range(n):
                    row[j] += factor * b[j * ldb + p]
            else:
                other = b[p * ldb : p * ldb + n]
                for j in range(n):
                    row[j] += factor * other[j]


def _gemm_numpy(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """Compute the same by NumPy."""
    dtype = c.dtype.type
    rows_a, columns_a = (k, m) if trans_a else (m, k)
    rows_b, columns_b = (n, k) if trans_b else (k, n)

    def matrix(flat, rows, columns, stride):
        step = flat.itemsize
        return np.lib.stride_tricks.as_strided(flat, (rows, columns), (stride * step, step))

    left, right = matrix(a, rows_a, columns_a, lda), matrix(b, rows_b, columns_b, ldb)
    product = dtype(alpha) * ((left.T if trans_a else left) @ (right.T if trans_b else right))
    out = matrix(c, m, n, ldc)
    out[...] = product if beta == 0 else product + dtype(beta) * out


gemm = python_version(_gemm_numpy)(_gemm_blas if HAS_BLAS_SYMBOL else _gemm_loops)
