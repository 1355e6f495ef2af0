r"""Matrix products that skip zeros: half the pixels of an image, all units that ReLU switched off.

A zero of A adds nothing to :math:`A B`. BLAS multiplies by it all the same. Here the elements of a
row of A that are not 0 are found, 64 at a time, and for each of them a row of B is multiplied and
added: slower than BLAS where A is full, as fast where a third of it is 0, and the faster the less
there is in it.

The rows of A take turns on a *slab* of B that fits the first-level cache: 64 rows, as wide as some
vector registers, packed without gaps. A transposed A is turned first, some rows of it at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from fastmlp._jit import inlined_kernel, kernel
from fastmlp._linking import Interface
from fastmlp.kernels.vectors import (
    BITS,
    MAX_REGISTERS,
    REGISTER,
    add_product_of_nonzeros,
    pack,
    transpose_square,
)
from fastmlp.kernels.views import view

__all__ = [
    "FEW_ROWS", "LITTLE_WORK", "call_product_of_nonzeros", "product_of_nonzeros", "room_size",
]  # fmt: skip

# Linked: networks of small layers have no use for it.
_PRODUCT = Interface(
    "int", "int", "int", "int", "int", "real", "reals", "int", "reals", "int", "real", "reals",
    "int", "reals", returns="int",
)  # fmt: skip
call_product_of_nonzeros = _PRODUCT.caller("Call `product_of_nonzeros`.")

_SLAB_BYTES = BITS * MAX_REGISTERS * REGISTER
# Stays in a second-level cache, beside some rows of C.
_TURNED_BYTES = 256 * 1024
# One row in so many is looked at, to estimate how many zeros there are.
_SAMPLED = 8
# Multiply-adds, and rows of A in memory, below which BLAS has won before anybody has looked.
LITTLE_WORK, FEW_ROWS = 100_000, 16
# Multiply-adds up to which OpenBLAS packs nothing, if B is not transposed.
_SMALL_PRODUCT = 1_000_000


def room_size(n_rows: int, n_columns: int, dtype: DTypeLike) -> int:
    """Return how many elements `product_of_nonzeros` takes to work in.

    Parameters
    ----------
    n_rows, n_columns : int
        The most rows and columns that a transposed matrix will have in memory.
    dtype : dtype
        The compute dtype.

    Returns
    -------
    int
        The size of a room that begins with a cache line.
    """
    itemsize = np.dtype(dtype).itemsize
    lanes = REGISTER // itemsize
    row, n_turned = -(-n_rows // lanes) * REGISTER, -(-n_columns // lanes) * lanes
    return (_SLAB_BYTES + max(row * lanes, min(row * n_turned, _TURNED_BYTES))) // itemsize


@_PRODUCT.function
def product_of_nonzeros(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, room):
    r"""Compute :math:`C \leftarrow \alpha\,op(A)\,op(B) + \beta\,C`, if A has many zeros.

    Parameters
    ----------
    trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, c, ldc : various
        As for `gemm`.
    beta : float
        0 or 1.
    room : ndarray of shape (room_size(...),)
        **Overwritten.**

    Returns
    -------
    int
        1 if C was computed. 0 if BLAS is faster, by what a part of the rows of A looks like: then C
        is as it was.

    Notes
    -----
    What is infinite or nan in B does not show in C where it meets a zero of A.
    """
    lanes = REGISTER // c.itemsize
    if m * n * k < LITTLE_WORK:
        return 0
    slab = view(room, 0, BITS * MAX_REGISTERS * lanes)
    turned = view(room, slab.size, room.size - slab.size)
    width, depth = _even(n, MAX_REGISTERS * lanes, lanes), _even(k, BITS, 1)
    stride = (k + lanes - 1) // lanes * lanes
    height = _even(m, turned.size // stride // lanes * lanes, lanes) if trans_a else m
    price = 0.85 if m * n * k <= _SMALL_PRODUCT and not trans_b else 1.05
    n_rows, n_columns = (k, m) if trans_a else (m, k)
    if n_rows < FEW_ROWS or not _is_worth_it(
        trans_a, n_rows, n_columns, a, lda, width // lanes, depth, height, price
    ):
        return 0
    for i in range(0, m, height):
        rows = min(height, m - i)
        if trans_a:
            _transpose(k, rows, view(a, i, a.size - i), lda, turned, stride)
        for j in range(0, n, width):
            columns = min(width, n - j)
            start = i * ldc + j
            out = view(c, start, c.size - start)
            for p in range(0, k, depth):
                some = min(depth, k - p)
                start = j * ldb + p if trans_b else p * ldb + j
                part = view(b, start, b.size - start)
                if trans_b:
                    _pack_transposed(some, columns, alpha, part, ldb, slab)
                else:
                    pack(some, columns, alpha, part, ldb, slab)
                left, distance = (turned, stride) if trans_a else (a, lda)
                add_product_of_nonzeros(
                    rows, columns, some, beta == 0 and p == 0,
                    view(left, p, left.size - p), distance, slab, out, ldc,
                )  # fmt: skip
    return 1


@inlined_kernel
def _even(total, most, grain):
    """Return the size of equal pieces, multiples of a grain, none of them larger than `most`."""
    pieces = (total + most - 1) // most
    size = (total + pieces - 1) // pieces
    return (size + grain - 1) // grain * grain


@kernel
def _is_worth_it(trans_a, n_rows, n_columns, a, lda, n_registers, depth, height, price):
    """Estimate how much of A is not 0, and whether that is little enough.

    For each element of A, BLAS costs a price per register of C. Skipping costs 1 for each that is
    not 0, and as was measured: 3 to find it, 32 for a row of a slab, 6 for each register that is
    packed, and 1.2 to turn an element of A, or twice that where registers hold fewer than 16.
    """
    n_nonzeros, n_sampled = 0, 0
    for i in range(0, n_rows, _SAMPLED):
        row = view(a, i * lda, n_columns)
        n_sampled += n_columns
        for j in range(n_columns):
            n_nonzeros += row[j] != 0
    cost = n_nonzeros / n_sampled * (n_registers + 3) + 32 / depth + 6 * n_registers / height
    if trans_a:
        cost += 1.2 if a.itemsize * 16 <= REGISTER else 2.4
    return cost < price * n_registers


@kernel
def _pack_transposed(m, n, factor, matrix, stride, slab):
    """Do what `pack` does with the transpose of a matrix."""
    lanes = REGISTER // slab.itemsize
    width = (n + lanes - 1) // lanes * lanes
    zero, one = slab.dtype.type(0), slab.dtype.type(1)
    _transpose(n, m, matrix, stride, slab, width)
    for i in range(m if n < width or factor != one else 0):
        row = view(slab, i * width, width)
        for j in range(n):
            row[j] *= factor
        for j in range(n, width):
            row[j] = zero


@kernel
def _transpose(n_rows, n_columns, matrix, stride, out, out_stride):
    """Transpose a matrix, square by square; the last ones overlap those before them."""
    lanes = REGISTER // out.itemsize
    if n_rows < lanes or n_columns < lanes:
        for i in range(n_rows):
            for j in range(n_columns):
                out[j * out_stride + i] = matrix[i * stride + j]
        return
    for column in range(0, n_columns, lanes):
        j = min(column, n_columns - lanes)
        for row in range(0, n_rows, lanes):
            i = min(row, n_rows - lanes)
            start, place = i * stride + j, j * out_stride + i
            transpose_square(
                view(matrix, start, matrix.size - start), stride,
                view(out, place, out.size - place), out_stride,
            )  # fmt: skip
