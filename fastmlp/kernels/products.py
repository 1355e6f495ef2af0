r"""Matrix products that are faster than BLAS's: with many zeros, or not large.

*Zeros.* A zero of A adds nothing to :math:`A B`: half the pixels of an image, all units that ReLU
switched off. BLAS multiplies by it all the same. Here the elements of a row of A that are not 0 are
found, 64 columns at a time, and for each of them a row of B is multiplied and added: slower than
other ways where A is full, as fast where an eighth to a third of it is 0, and the faster the less
there is in it. The rows of A take turns on a *slab* of B that fits the first-level cache: 64 rows,
as wide as some vector registers, packed without gaps. A transposed A is turned first, some rows of
it at a time.

*Middle size, and small ones.* For a few dozen samples, BLAS spends as long on bringing its operands
into the form that it likes as on their product. Here A is read where it is, and so is B, unless its
rows lie far apart or must become columns, or there are many rows of A to make up for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from fastmlp._jit import inlined_kernel, kernel, view_kernel
from fastmlp._linking import Interface
from fastmlp.kernels.registers import BITS, PER_CYCLE, REGISTER
from fastmlp.kernels.vectors import (
    MAX_REGISTERS,
    WIDEST,
    add_product,
    add_product_of_nonzeros,
    find_nonzeros,
    pack,
    transpose_square,
)
from fastmlp.kernels.views import view

__all__ = ["FEW_ROWS", "LITTLE_WORK", "OWN_WORK", "call_product", "product", "room_size"]

# Linked: networks of small layers have no use for it.
_PRODUCT = Interface(
    "int", "int", "int", "int", "int", "real", "reals", "int", "reals", "int", "real", "reals",
    "reals", "int", "reals", returns="int",
)  # fmt: skip
call_product = _PRODUCT.caller("Call `product`.")

# Registers of a slab, and of a row of zeros after it.
_SLAB = (BITS + 1) * MAX_REGISTERS
# Rows of A whose zeros are found at a time, 64 columns of them; and registers for their masks.
_MOST_ROWS = 512
_MASKS = _MOST_ROWS * 8 // REGISTER
# Elements of A that are turned at a time. They stay in a second-level cache, beside some rows of C.
_MOST_TURNED = 16 * 1024
# One row in so many is looked at, to estimate how many zeros there are.
_SAMPLED = 8
# Multiply-adds of the largest product below which none of a network's is worth the compilation.
LITTLE_WORK = 100_000
# Multiply-adds, if B is not or is transposed, and rows of A in memory, below which BLAS has won
# before anybody has looked.
_LEAST_WORK, _LEAST_TRANSPOSED, FEW_ROWS = (
    (100_000, 5_000, 16) if REGISTER == 64 else (5_000, 5_000, 8)
)
# Multiply-adds up to which OpenBLAS, for AVX-512, packs nothing, if B is not transposed; and from
# which on it is worth while: later on Zen 4, whose halves leave it less to gain.
_SMALL_PRODUCT, _LARGE_PRODUCT = (
    (1_000_000, 1_000_000_000 if PER_CYCLE == 1 else 100_000_000)
    if REGISTER == 64
    else (0, 20_000_000)
)
# Multiply-adds below which `product` leaves no A of FEW_ROWS or more to BLAS, if neither matrix is
# transposed and there are more than _LEAST_WORK; `dense_forward` does not leave it fewer rows.
OWN_WORK = 0 if REGISTER == 64 else _LARGE_PRODUCT
# Columns of C that BLAS has better ways for; and rows of C from which on it is worth while to
# transpose a B whose rows fill no register.
_TOO_NARROW, _MANY_SHORT_ROWS = (1, 128) if REGISTER == 64 else (0, np.iinfo(np.int64).max)
# What it costs to multiply by an element that may be 0, also if there is large work.
_PRICE, _PRICE_IF_LARGE = (1.05, 1.05) if REGISTER == 64 else (1.15, 0.95)
# Cycles that skipping takes besides: for each element that is not 0; for a row of a slab, to find
# these and to have guessed wrong where they end; and to turn an element.
_OF_NONZERO, _OF_ROW, _OF_TURNING = (1.2, 40, 0.25) if REGISTER == 64 else (1.5, 16, 0.3)
# Bytes from one row of B to the next from which on they compete for few lines of the cache; and
# rows of C for which it is worth while to bring those of B together in any case.
_FAR_APART, _MANY_ROWS = 2048, 64


def room_size(n_rows: int, n_columns: int, dtype: DTypeLike) -> int:
    """Return how many elements `product` takes to work in.

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
    row, n_turned = -(-n_rows // lanes) * lanes, -(-n_columns // lanes) * lanes
    return (_SLAB + _MASKS) * lanes + max(row * lanes, min(row * n_turned, _MOST_TURNED))


@_PRODUCT.function
def product(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room):
    r"""Compute :math:`C \leftarrow \alpha\,op(A)\,op(B) + \beta\,C + 1 b^T`, if faster than BLAS.

    Parameters
    ----------
    trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, c, ldc : various
        As for `gemm`.
    beta : float
        0 or 1; 0 if there are biases.
    biases : ndarray of shape (n,) or (0,)
        b, which is added to each row; empty: none.
    room : ndarray of shape (room_size(...),)
        **Overwritten.**

    Returns
    -------
    int
        1 if C was computed. 0 if BLAS is faster: then C is as it was.

    Notes
    -----
    What is infinite or nan in B need not show in C where it meets a zero of A.
    """
    work = m * n * k
    if work < (_LEAST_TRANSPOSED if trans_b else _LEAST_WORK) or (k if trans_a else m) < FEW_ROWS:
        return 0
    if trans_b and k < REGISTER // c.itemsize and m < _MANY_SHORT_ROWS:
        return 0
    is_small = work <= _SMALL_PRODUCT and not trans_b
    is_middling = not is_small and work < _LARGE_PRODUCT and n > _TOO_NARROW
    price = _PRICE_IF_LARGE if work >= _LARGE_PRODUCT else _PRICE
    if _are_zeros_worth_it(trans_a, m, n, k, a, lda, room.size, price):
        _skip_zeros(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room)
        return 1
    if is_middling:
        _multiply(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room)
        return 1
    return 0


@kernel
def _multiply(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room):
    """Do what `product` does, some columns of C at a time."""
    lanes, one = REGISTER // c.itemsize, c.dtype.type(1)
    slab = view(room, 0, BITS * MAX_REGISTERS * lanes)
    width = _even(n, WIDEST * lanes, lanes)
    depth = _even(k, slab.size // width, 1)
    row_step, step = lda, 1
    if trans_a:
        row_step, step = 1, lda
    packs = m >= _MANY_ROWS or ldb * c.itemsize >= _FAR_APART
    zeros = _zeros(room, lanes)
    for j in range(0, n, width):
        columns, out = min(width, n - j), view(c, j, c.size - j)
        old, ldo = _first_terms(beta, biases, j, out, zeros), ldc if beta != 0 else 0
        for p in range(0, k, depth):
            some, left = min(depth, k - p), view(a, p * step, a.size - p * step)
            start = j * ldb + p if trans_b else p * ldb + j
            right, distance, end = view(b, start, b.size - start), ldb, columns
            if trans_b:
                _pack_transposed(some, columns, one, right, ldb, slab)
            elif packs:
                pack(some, columns, one, right, ldb, slab)
            if trans_b or packs:
                end = (columns + lanes - 1) // lanes * lanes
                right, distance = slab, end
            add_product(
                m, columns, some, alpha, left, row_step, step, right, distance, end - lanes, old,
                ldo, out, ldc,
            )  # fmt: skip
            old, ldo = out, ldc


@view_kernel
def _zeros(room, lanes):
    """Return the row of zeros after a slab, once it is one."""
    zeros = view(room, BITS * MAX_REGISTERS * lanes, MAX_REGISTERS * lanes)
    for i in range(zeros.size):
        zeros[i] = zeros.dtype.type(0)
    return zeros


@view_kernel
def _first_terms(beta, biases, first, out, zeros):
    """Return what is added to the first product for some columns of C, which begin at `out`."""
    if beta != 0:
        return out
    if biases.size:
        return view(biases, first, biases.size - first)
    return zeros


@inlined_kernel
def _division(trans_a, m, n, k, room_size, itemsize):
    """Return how many rows of C, and columns and rows of B, are worked on at a time."""
    lanes = REGISTER // itemsize
    width, depth = _even(n, MAX_REGISTERS * lanes, lanes), _even(k, BITS, 1)
    height, grain = _MOST_ROWS, 1
    if trans_a:
        n_turned = room_size - (_SLAB + _MASKS) * lanes
        height, grain = min(height, n_turned // _stride(k, lanes) // lanes * lanes), lanes
    return _even(m, height, grain), width, depth


@inlined_kernel
def _stride(k, lanes):
    """Return the distance between two rows of A once it is turned."""
    return (k + lanes - 1) // lanes * lanes


@kernel
def _skip_zeros(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room):
    """Do what `product` does, slab by slab."""
    lanes = REGISTER // c.itemsize
    height, width, depth = _division(trans_a, m, n, k, room.size, c.itemsize)
    stride = _stride(k, lanes)
    slab = view(room, 0, BITS * MAX_REGISTERS * lanes)
    zeros = _zeros(room, lanes)
    masks = view(room, _SLAB * lanes, _MASKS * lanes)
    before = (_SLAB + _MASKS) * lanes
    turned = view(room, before, room.size - before)
    for i in range(0, m, height):
        rows, left, distance = min(height, m - i), turned, stride
        if trans_a:
            _transpose(k, rows, view(a, i, a.size - i), lda, turned, stride, k - lanes)
        else:
            left, distance = view(a, i * lda, a.size - i * lda), lda
        for p in range(0, k, depth):
            some = min(depth, k - p)
            part = view(left, p, left.size - p)
            find_nonzeros(rows, some, part, distance, masks)
            for j in range(0, n, width):
                columns = min(width, n - j)
                start = j * ldb + p if trans_b else p * ldb + j
                right = view(b, start, b.size - start)
                if trans_b:
                    _pack_transposed(some, columns, alpha, right, ldb, slab)
                else:
                    pack(some, columns, alpha, right, ldb, slab)
                start = i * ldc + j
                out = view(c, start, c.size - start)
                old, ldo = out, ldc
                if p == 0:
                    old, ldo = _first_terms(beta, biases, j, out, zeros), ldc if beta != 0 else 0
                add_product_of_nonzeros(
                    rows, columns, masks, part, distance, slab, old, ldo, out, ldc
                )


@inlined_kernel
def _even(total, most, grain):
    """Return the size of equal pieces, multiples of a grain, none of them larger than `most`."""
    pieces = (total + most - 1) // most
    size = (total + pieces - 1) // pieces
    return (size + grain - 1) // grain * grain


@kernel
def _are_zeros_worth_it(trans_a, m, n, k, a, lda, room_size, price):
    """Estimate how much of A is not 0, and whether that is little enough to skip the rest.

    For each element of A, not skipping costs a price per register of C. Skipping costs 1 for each
    that is not 0, and as was measured, 6 for each register that is packed and some cycles.
    """
    height, width, depth = _division(trans_a, m, n, k, room_size, a.itemsize)
    n_registers = width // (REGISTER // a.itemsize)
    n_rows, n_columns = (k, m) if trans_a else (m, k)
    n_nonzeros, n_sampled = 0, 0
    for i in range(0, n_rows, _SAMPLED):
        row = view(a, i * lda, n_columns)
        n_sampled += n_columns
        for j in range(n_columns):
            n_nonzeros += row[j] != 0
    density = n_nonzeros / n_sampled
    cycles = _OF_NONZERO * density + _OF_ROW / depth
    if trans_a:
        cycles += _OF_TURNING
    cost = density * n_registers + 6 * n_registers / height + PER_CYCLE * cycles
    return cost < price * n_registers


@kernel
def _pack_transposed(m, n, factor, matrix, stride, slab):
    """Do what `pack` does with the transpose of a matrix."""
    lanes = REGISTER // slab.itemsize
    width = (n + lanes - 1) // lanes * lanes
    _transpose(n, m, matrix, stride, slab, width, width - lanes)
    if factor != slab.dtype.type(1):
        for i in range(m * width):
            slab[i] *= factor


@kernel
def _transpose(n_rows, n_columns, matrix, stride, out, out_stride, last):
    """Transpose a matrix, square by square; the last ones overlap those before them.

    The last register of a row of `out` begins at `last`, as for `add_product`.
    """
    lanes = REGISTER // out.itemsize
    if n_rows < lanes or n_columns < lanes:
        end = max(n_rows - lanes, 0)
        for i in range(n_rows):
            for j in range(n_columns):
                out[j * out_stride + i] = matrix[i * stride + j]
        for i in range(end, n_rows):
            for j in range(n_columns):
                out[j * out_stride + max(last, 0) + i - end] = matrix[i * stride + j]
        return
    for column in range(0, n_columns, lanes):
        j = min(column, n_columns - lanes)
        for row in range(0, n_rows, lanes):
            i, target = row, row
            if row + lanes > n_rows:
                i, target = n_rows - lanes, last
            start, place = i * stride + j, j * out_stride + target
            transpose_square(
                view(matrix, start, matrix.size - start), stride,
                view(out, place, out.size - place), out_stride,
            )  # fmt: skip
