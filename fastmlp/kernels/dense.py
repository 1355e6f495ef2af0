"""One layer: forward, gradient of its weights and biases, gradient of its inputs.

Contract: 1-D contiguous views of one dtype, matrices row by row; nothing overlaps. W is
(fan_in, fan_out), so that the forward product needs no transposed operand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from fastmlp._jit import inlined_kernel, kernel
from fastmlp._linking import Interface
from fastmlp.kernels.blas import gemm
from fastmlp.kernels.products import call_product
from fastmlp.kernels.views import view

__all__ = [
    "MANY", "ROWS_BACK_WITHOUT_BLAS", "ROWS_WITHOUT_BLAS", "Few", "addresses_for_few",
    "bias_gradient", "call_sparse_forward", "call_sparse_weight_gradient", "dense_forward",
    "input_gradient", "matrix_product", "sparse_forward", "sparse_weight_gradient",
    "weight_gradient",
]  # fmt: skip

# Linked, since most inputs are dense.
SPARSE_FORWARD = Interface(
    "int", "int", "int", "int32s", "ints", "int32s", "reals", "reals", "reals", "reals"
)
SPARSE_GRADIENT = Interface(
    "int", "int", "int", "real", "real", "int32s", "ints", "int32s", "reals", "reals", "reals"
)
# Of a type: for a plain True, Numba compiles what gets it once more.
_AS_IT_IS, _TRANSPOSED = np.bool_(False), np.bool_(True)
# BLAS copies the weights before it reads them: up to so many rows, forward or back, loops are
# faster.
ROWS_WITHOUT_BLAS, ROWS_BACK_WITHOUT_BLAS = 7, 3
# Rows of W at a time: they stay in the cache until all samples have passed them.
_FEW_INPUTS = 32
# Numbers from which on no more are copied at a time.
_MOST_COPIED = 256
# Linked, since few fits have batches of so few.
_WEIGHT_GRADIENT_OF_FEW = Interface(
    "int", "int", "int", "int", "real", "reals", "reals", "real", "reals"
)
_INPUT_GRADIENT_OF_FEW = Interface("int", "int", "int", "reals", "reals", "reals")
_call_weight_gradient_of_few = _WEIGHT_GRADIENT_OF_FEW.caller("Call `weight_gradient_of_few`.")
_call_input_gradient_of_few = _INPUT_GRADIENT_OF_FEW.caller("Call `input_gradient_of_few`.")
call_sparse_forward = SPARSE_FORWARD.caller("Call `sparse_forward`.")
call_sparse_weight_gradient = SPARSE_GRADIENT.caller("Call `sparse_weight_gradient`.")


class Few(NamedTuple):
    """Addresses of the backward pass of a few rows; zeros where no batch has so few.

    Attributes
    ----------
    weight_gradient, input_gradient : int
        The addresses.
    """

    weight_gradient: int
    input_gradient: int


MANY = Few(0, 0)


def addresses_for_few(dtype: DTypeLike) -> Few:
    """Return the addresses, after compiling what is asked for first.

    Parameters
    ----------
    dtype : dtype
        The compute dtype.

    Returns
    -------
    Few
        The addresses.
    """
    return Few(weight_gradient_of_few.address(dtype), input_gradient_of_few.address(dtype))


@inlined_kernel
def matrix_product(
    product, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room
):
    r"""Compute :math:`C \leftarrow \alpha\,op(A)\,op(B) + \beta\,C + 1 b^T` by whoever is faster.

    Parameters
    ----------
    product : int
        Address of `product`, or 0: then by `gemm`.
    trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc : various
        As for `gemm`; beta is 0 or 1.
    biases : ndarray of shape (n,) or (0,)
        b; empty: none. Else beta is 0, and ldc is n.
    room : ndarray
        For `product`. **Overwritten.**
    """
    if product == 0 or not call_product(
        product, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room
    ):
        if biases.size:
            _broadcast(m, biases, c)
            beta = c.dtype.type(1)
        gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)


@kernel
def dense_forward(product, n_rows, n_inputs, stride, fan_out, a, weights, biases, z, room):
    """Compute ``z = a W + b``, or what some inputs of a layer add to it.

    Parameters
    ----------
    product : int
        As for `matrix_product`.
    n_rows, n_inputs, fan_out : int
        `a` is (n_rows, n_inputs), W is (n_inputs, fan_out). Only rows may be missing.
    stride : int
        Distance between the starts of two rows of `a`.
    a : ndarray
        Inputs, from the first of these on. Not modified.
    weights : ndarray of shape (n_inputs * fan_out,)
        W.
    biases : ndarray of shape (fan_out,) or (0,)
        b; empty: none.
    z : ndarray of shape (n_rows * fan_out,)
        **Overwritten** by the pre-activations.
    room : ndarray
        As for `matrix_product`.

    Notes
    -----
    What is infinite or nan in W need not show in z where it meets an input that is 0.
    """
    one, zero = z.dtype.type(1), z.dtype.type(0)
    if n_rows <= ROWS_WITHOUT_BLAS:
        _forward_of_few(n_rows, n_inputs, stride, fan_out, a, weights, biases, z)
        return
    matrix_product(
        product, _AS_IT_IS, _AS_IT_IS, n_rows, fan_out, n_inputs,
        one, a, stride, weights, fan_out, zero, biases, z, fan_out, room,
    )  # fmt: skip


@kernel
def _forward_of_few(n_rows, n_inputs, stride, fan_out, a, weights, biases, z):
    zero = z.dtype.type(0)
    for i in range(n_rows):
        out = view(z, i * fan_out, fan_out)
        for j in range(fan_out):
            out[j] = biases[j] if biases.size else zero
    for first in range(0, n_inputs, _FEW_INPUTS):
        last = min(first + _FEW_INPUTS, n_inputs)
        for i in range(n_rows):
            out = view(z, i * fan_out, fan_out)
            for k in range(first, last):
                x = a[i * stride + k]
                if x != 0:
                    w = view(weights, k * fan_out, fan_out)
                    for j in range(fan_out):
                        out[j] += x * w[j]


@SPARSE_FORWARD.function
def sparse_forward(fan_out, start, stop, rows, indptr, indices, values, weights, biases, z):
    """Compute ``z = X[rows] W + b`` for X in CSR form, or what some features add to it.

    Parameters
    ----------
    fan_out : int
        Width of the layer.
    start, stop : int
        Which features, that is rows of W.
    rows : ndarray of int32
        Which rows of X.
    indptr, indices, values : ndarray
        X.
    weights : ndarray of shape ((stop - start) * fan_out,)
        These rows of W.
    biases : ndarray of shape (fan_out,) or (0,)
        b; empty: none.
    z : ndarray of shape (rows.size * fan_out,)
        **Overwritten** by the pre-activations.
    """
    zero = z.dtype.type(0)
    if biases.size:
        _broadcast(rows.size, biases, z)
    else:
        for i in range(z.size):
            z[i] = zero
    for i in range(rows.size):
        out = view(z, i * fan_out, fan_out)
        for position in range(indptr[rows[i]], indptr[rows[i] + 1]):
            feature = int(indices[position])
            if start <= feature < stop:
                x = values[position]
                w = view(weights, (feature - start) * fan_out, fan_out)
                for j in range(fan_out):
                    out[j] += x * w[j]


@kernel
def _broadcast(n_rows, biases, z):
    # Rows may be short: twice as much is copied each time, but not from so far that the cache
    # takes what is read for what was written just before.
    size, total = min(biases.size, n_rows * biases.size), n_rows * biases.size
    for j in range(size):
        z[j] = biases[j]
    block = size
    while size < total:
        copied = min(block, total - size)
        rest = view(z, size, copied)
        for j in range(copied):
            rest[j] = z[j]
        size += copied
        if block < _MOST_COPIED:
            block = size


@kernel
def weight_gradient(
    product, few, n_rows, n_inputs, stride, fan_out, alpha, a, delta, beta, grads, room
):
    r"""Compute :math:`G \leftarrow \alpha\, a^T \delta + \beta\, G` for some rows of the weights.

    Parameters
    ----------
    product : int
        As for `matrix_product`.
    few : Few
        For up to `ROWS_BACK_WITHOUT_BLAS` rows.
    n_rows, fan_out : int
        Shape of `delta`, which may have no rows.
    n_inputs, stride : int
        Rows of W; distance between the starts of two rows of `a`.
    alpha, beta : float
        Scalars of the arrays' dtype; beta is 0 or 1.
    a : ndarray
        Inputs of the layer, from the first one of these. Not modified.
    delta : ndarray of shape (n_rows * fan_out,)
        Gradient with respect to the pre-activations. Not modified.
    grads : ndarray of shape (n_inputs * fan_out,)
        **Overwritten.**
    room : ndarray
        For `product`. **Overwritten.**
    """
    if few.weight_gradient and 0 < n_rows <= ROWS_BACK_WITHOUT_BLAS:
        _call_weight_gradient_of_few(
            few.weight_gradient, n_rows, n_inputs, stride, fan_out, alpha, a, delta, beta, grads
        )
        return
    matrix_product(
        product, _TRANSPOSED, _AS_IT_IS, n_inputs, fan_out, n_rows,
        alpha, a, stride, delta, fan_out, beta, view(delta, 0, 0), grads, fan_out, room,
    )  # fmt: skip


@_WEIGHT_GRADIENT_OF_FEW.function
def weight_gradient_of_few(n_rows, n_inputs, stride, fan_out, alpha, a, delta, beta, grads):
    """Compute what `weight_gradient` does, for at least one row.

    Parameters
    ----------
    n_rows, n_inputs, stride, fan_out, alpha, a, delta, beta : various
        As for `weight_gradient`.
    grads : ndarray of shape (n_inputs * fan_out,)
        **Overwritten.**
    """
    for first in range(0, n_inputs, _FEW_INPUTS):
        last = min(first + _FEW_INPUTS, n_inputs)
        for i in range(n_rows):
            error = view(delta, i * fan_out, fan_out)
            for k in range(first, last):
                x, g = alpha * a[i * stride + k], view(grads, k * fan_out, fan_out)
                if i == 0 and beta == 0:
                    for j in range(fan_out):
                        g[j] = x * error[j]
                else:
                    for j in range(fan_out):
                        g[j] += x * error[j]


@SPARSE_GRADIENT.function
def sparse_weight_gradient(
    fan_out, start, stop, alpha, beta, rows, indptr, indices, values, delta, grads
):
    r"""Compute :math:`G \leftarrow \alpha\, X^T \delta + \beta\, G` for X in CSR form.

    Parameters
    ----------
    fan_out : int
        Width of the layer.
    start, stop : int
        Which features, that is rows of W.
    alpha, beta : float
        Scalars of the arrays' dtype.
    rows : ndarray of int32
        Which rows of X.
    indptr, indices, values : ndarray
        X.
    delta : ndarray of shape (rows.size * fan_out,)
        Gradient with respect to the pre-activations. Not modified.
    grads : ndarray of shape ((stop - start) * fan_out,)
        **Overwritten.**
    """
    zero = grads.dtype.type(0)
    for i in range(grads.size):
        grads[i] = zero if beta == zero else beta * grads[i]
    for i in range(rows.size):
        error = view(delta, i * fan_out, fan_out)
        for position in range(indptr[rows[i]], indptr[rows[i] + 1]):
            feature = int(indices[position])
            if start <= feature < stop:
                x = alpha * values[position]
                g = view(grads, (feature - start) * fan_out, fan_out)
                for j in range(fan_out):
                    g[j] += x * error[j]


@kernel
def bias_gradient(n_rows, n_units, stride, alpha, delta, beta, grads):
    r"""Compute :math:`g \leftarrow \alpha \sum_i \delta_i + \beta\, g` for some units of a layer.

    Parameters
    ----------
    n_rows, n_units : int
        Samples and units.
    stride : int
        Distance between the starts of two rows of `delta`.
    alpha, beta : float
        Scalars of the arrays' dtype.
    delta : ndarray
        Gradient with respect to the pre-activations, from the first of these units on. Not
        modified.
    grads : ndarray of shape (n_units,)
        **Overwritten.**
    """
    zero = grads.dtype.type(0)
    for j in range(n_units):
        grads[j] = zero if beta == zero else beta * grads[j]
    n_fours = n_rows // 4 * 4
    for i in range(0, n_fours, 4):
        d0, d1 = view(delta, i * stride, n_units), view(delta, (i + 1) * stride, n_units)
        d2, d3 = view(delta, (i + 2) * stride, n_units), view(delta, (i + 3) * stride, n_units)
        for j in range(n_units):
            grads[j] += alpha * ((d0[j] + d1[j]) + (d2[j] + d3[j]))
    for i in range(n_fours, n_rows):
        error = view(delta, i * stride, n_units)
        for j in range(n_units):
            grads[j] += alpha * error[j]


@kernel
def input_gradient(product, few, n_rows, n_inputs, fan_out, delta, weights, delta_inputs, room):
    r"""Compute :math:`\delta_{in} = \delta\, W^T` for some neighbouring inputs of a layer.

    Parameters
    ----------
    product : int
        As for `matrix_product`.
    few : Few
        For up to `ROWS_BACK_WITHOUT_BLAS` rows.
    n_rows, fan_out : int
        Shape of `delta`, which may have no rows.
    n_inputs : int
        How many inputs. At least one.
    delta : ndarray of shape (n_rows * fan_out,)
        Gradient with respect to the pre-activations. Not modified.
    weights : ndarray of shape (n_inputs * fan_out,)
        Their rows of W.
    delta_inputs : ndarray of shape (n_rows * n_inputs,)
        Gradient with respect to these inputs. **Overwritten.**
    room : ndarray
        For `product`. **Overwritten.**
    """
    one, zero = delta.dtype.type(1), delta.dtype.type(0)
    if few.input_gradient and n_rows <= ROWS_BACK_WITHOUT_BLAS:
        _call_input_gradient_of_few(
            few.input_gradient, n_rows, n_inputs, fan_out, delta, weights, delta_inputs
        )
        return
    matrix_product(
        product, _AS_IT_IS, _TRANSPOSED, n_rows, n_inputs, fan_out,
        one, delta, fan_out, weights, fan_out, zero, view(weights, 0, 0), delta_inputs, n_inputs,
        room,
    )  # fmt: skip


@_INPUT_GRADIENT_OF_FEW.function
def input_gradient_of_few(n_rows, n_inputs, fan_out, delta, weights, delta_inputs):
    """Compute what `input_gradient` does.

    Parameters
    ----------
    n_rows, n_inputs, fan_out, delta, weights : various
        As for `input_gradient`.
    delta_inputs : ndarray of shape (n_rows * n_inputs,)
        **Overwritten.**
    """
    for first in range(0, n_inputs, _FEW_INPUTS):
        last = min(first + _FEW_INPUTS, n_inputs)
        for i in range(n_rows):
            error = view(delta, i * fan_out, fan_out)
            for k in range(first, last):
                w, total = view(weights, k * fan_out, fan_out), delta.dtype.type(0)
                for j in range(fan_out):
                    total += w[j] * error[j]
                delta_inputs[i * n_inputs + k] = total
