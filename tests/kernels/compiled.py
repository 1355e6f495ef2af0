"""Kernels made callable from Python, compiled the way entry points are.

A kernel has no wrapper for Python: each function here compiles one (or a family) into an entry
point, whose only argument list per dtype keeps the number of compilations small. Like the package's
own entry points they are kept on disk, so that only an edit of a kernel, or of this file, compiles
them again.
"""

import hashlib
from pathlib import Path

import numba
import numpy as np
from numba.np.numpy_support import as_dtype

from fastmlp._jit import entry_point
from fastmlp.kernels import (
    activations,
    blas,
    dense,
    dropout,
    gather,
    losses,
    normalization,
    optimizers,
    products,
    team,
    vectors,
)
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.math import exp, expm1, log, log1p, logistic, normal_cdf, normal_pdf, tanh
from fastmlp.kernels.optimizers import OPTIMIZERS
from fastmlp.training.memory import aligned_empty

FLOATS = [np.float32, np.float64]
# Under NUMBA_DISABLE_JIT the kernels run as plain Python.
IS_COMPILED = not numba.config.DISABLE_JIT
# Threads to try, also on fewer cores; in plain Python they cannot meet.
N_JOBS = [1, 2, 3] if IS_COMPILED else [1]
_DIGEST = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]

MATH_FUNCTIONS = ["exp", "expm1", "log", "log1p", "logistic", "tanh", "normal_cdf", "normal_pdf"]


def callable_from_python(function):
    """Compile a function of this file; its name tells the cache of edits of this file."""
    function.__name__ = f"{function.__name__}_{_DIGEST}"
    return entry_point(function)


@callable_from_python
def _evaluate(which, x, out):
    if which == 0:
        for i in range(x.size):
            out[i] = exp(x[i])
    elif which == 1:
        for i in range(x.size):
            out[i] = expm1(x[i])
    elif which == 2:
        for i in range(x.size):
            out[i] = log(x[i])
    elif which == 3:
        for i in range(x.size):
            out[i] = log1p(x[i])
    elif which == 4:
        for i in range(x.size):
            out[i] = logistic(x[i])
    elif which == 5:
        for i in range(x.size):
            out[i] = tanh(x[i])
    elif which == 6:
        for i in range(x.size):
            out[i] = normal_cdf(x[i])
    elif which == 7:
        for i in range(x.size):
            out[i] = normal_pdf(x[i])


@callable_from_python
def _scalar_types(x):
    return (
        exp(x), expm1(x), log(x), log1p(x), logistic(x), tanh(x), normal_cdf(x), normal_pdf(x)
    )  # fmt: skip


def evaluate(name, x):
    """A function of `fastmlp.kernels.math`, elementwise."""
    out = np.full_like(x, 99)
    with np.errstate(all="ignore"):  # plain Python says what compiled code does silently
        _evaluate(MATH_FUNCTIONS.index(name), x, out)
    return out


def result_types(dtype):
    """The types of the results of all of `MATH_FUNCTIONS` for one argument of a dtype."""
    results = _scalar_types(dtype(0.5))
    if not IS_COMPILED:
        return {type(result) for result in results}
    signature = next(
        signature
        for signature in _scalar_types.nopython_signatures
        if as_dtype(signature.args[0]) == dtype
    )
    return {as_dtype(kind).type for kind in signature.return_type}


@callable_from_python
def _activate(address, n_units, slope, a):
    activations.activate(address, n_units, slope, a)


def activate(name, slope, a, n_units=1):
    """Replace z by f(z)."""
    _activate(ACTIVATIONS[name].forward.address(a.dtype), n_units, a.dtype.type(slope), a)


@callable_from_python
def _multiply_by_derivative(address, n_units, slope, z, a, delta):
    activations.multiply_by_derivative(address, n_units, slope, z, a, delta)


def multiply_by_derivative(name, slope, z, a, delta, n_units=1):
    """Multiply delta by f'(z)."""
    address = ACTIVATIONS[name].backward.address(a.dtype)
    _multiply_by_derivative(address, n_units, a.dtype.type(slope), z, a, delta)


@callable_from_python
def slope_gradient(z, delta):
    return activations.slope_gradient(z, delta)


@callable_from_python
def _loss_and_delta(address, n_units, values, targets, weights, parameters, delta, terms):
    losses.loss_and_delta(address, n_units, values, targets, weights, parameters, delta, terms)


def loss_and_delta(name, n_units, values, targets, weights, parameters, delta, terms):
    """Write the loss terms and the gradient."""
    address = LOSSES[name].function.address(values.dtype)
    _loss_and_delta(address, n_units, values, targets, weights, parameters, delta, terms)


@callable_from_python
def _update(address, hyper, rates, l2, grads, params, slots, start):
    return optimizers.update(address, hyper, rates, l2, grads, params, slots, start)


def update(name, hyper, rates, l2, grads, params, slots, start):
    """Take a step; return the sum of squares of the old parameters."""
    number = params.dtype.type
    address = OPTIMIZERS[name].function.address(params.dtype)
    return _update(address, hyper, rates, number(l2), grads, params, slots, start)


@callable_from_python
def gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    blas.gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)


@callable_from_python
def gemm_without_blas(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    blas._gemm_loops(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)


@callable_from_python
def _product(address, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room):
    return products.call_product(
        address, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room
    )


def product(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room):
    """C = alpha op(A) op(B) + beta C + biases, or nothing; return whether it was computed."""
    address = products.product.address(c.dtype)
    return _product(
        address, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, biases, c, ldc, room
    )


@callable_from_python
def add_product(m, n, k, alpha, a, row_step, step, b, ldb, last, old, ldo, c, ldc):
    vectors.add_product(m, n, k, alpha, a, row_step, step, b, ldb, last, old, ldo, c, ldc)


@callable_from_python
def find_nonzeros(m, k, a, lda, masks):
    vectors.find_nonzeros(m, k, a, lda, masks)


@callable_from_python
def add_product_of_nonzeros(m, n, masks, a, lda, slab, old, ldo, c, ldc):
    vectors.add_product_of_nonzeros(m, n, masks, a, lda, slab, old, ldo, c, ldc)


@callable_from_python
def gather_rows(X, n_features, samples, first, n_columns, out):
    gather.gather_rows(X, n_features, samples, first, n_columns, out)


@callable_from_python
def pack(m, n, factor, matrix, stride, slab):
    vectors.pack(m, n, factor, matrix, stride, slab)


@callable_from_python
def transpose_square(matrix, stride, out, out_stride):
    vectors.transpose_square(matrix, stride, out, out_stride)


def _product_and_room(n_rows, n_columns, array):
    """The address for the kernels of a layer, and where it works."""
    room = aligned_empty(products.room_size(n_rows, n_columns, array.dtype), array.dtype)
    return products.product.address(array.dtype), room


@callable_from_python
def _dense_forward(product, n_rows, n_inputs, stride, fan_out, a, weights, biases, z, room):
    dense.dense_forward(product, n_rows, n_inputs, stride, fan_out, a, weights, biases, z, room)


def dense_forward(n_rows, n_inputs, stride, fan_out, a, weights, biases, z):
    """z = a W + b."""
    product, room = _product_and_room(n_rows, n_inputs, z)
    _dense_forward(product, n_rows, n_inputs, stride, fan_out, a, weights, biases, z, room)


@callable_from_python
def _sparse_forward(
    address, fan_out, start, stop, rows, indptr, indices, values, weights, biases, z
):
    dense.call_sparse_forward(
        address, fan_out, start, stop, rows, indptr, indices, values, weights, biases, z
    )


def sparse_forward(rows, fan_out, start, stop, indptr, indices, values, weights, biases, z):
    """z = X W + b."""
    _sparse_forward(
        dense.sparse_forward.address(z.dtype), fan_out, start, stop, rows, indptr, indices, values,
        weights, biases, z,
    )  # fmt: skip


@callable_from_python
def _weight_gradient(
    product, few, n_rows, n_inputs, stride, fan_out, alpha, a, delta, beta, grads, room
):
    dense.weight_gradient(
        product, few, n_rows, n_inputs, stride, fan_out, alpha, a, delta, beta, grads, room
    )


def weight_gradient(few, n_rows, n_inputs, stride, fan_out, alpha, a, delta, beta, grads):
    """G = alpha a' delta + beta G."""
    product, room = _product_and_room(n_rows, stride, grads)
    _weight_gradient(
        product, few, n_rows, n_inputs, stride, fan_out, alpha, a, delta, beta, grads, room
    )


@callable_from_python
def _sparse_weight_gradient(
    address, fan_out, start, stop, alpha, beta, rows, indptr, indices, values, delta, grads
):
    dense.call_sparse_weight_gradient(
        address, fan_out, start, stop, alpha, beta, rows, indptr, indices, values, delta, grads
    )


def sparse_weight_gradient(
    rows, fan_out, start, stop, alpha, indptr, indices, values, delta, beta, grads
):
    """G = alpha X' delta + beta G."""
    _sparse_weight_gradient(
        dense.sparse_weight_gradient.address(grads.dtype), fan_out, start, stop, alpha, beta,
        rows, indptr, indices, values, delta, grads,
    )  # fmt: skip


@callable_from_python
def bias_gradient(n_rows, n_units, stride, alpha, delta, beta, grads):
    dense.bias_gradient(n_rows, n_units, stride, alpha, delta, beta, grads)


@callable_from_python
def _input_gradient(product, few, n_rows, n_inputs, fan_out, delta, weights, delta_inputs, room):
    dense.input_gradient(
        product, few, n_rows, n_inputs, fan_out, delta, weights, delta_inputs, room
    )


def input_gradient(few, n_rows, n_inputs, fan_out, delta, weights, delta_inputs):
    """delta W'."""
    product, room = _product_and_room(n_rows, fan_out, delta)
    _input_gradient(product, few, n_rows, n_inputs, fan_out, delta, weights, delta_inputs, room)


@callable_from_python
def _drop(address, noise, layer, first, threshold, a, out):
    dropout.drop(address, noise, layer, first, threshold, a, out)


def drop(name, noise, layer, first, rate, a, out):
    """Drop activations."""
    address = dropout.DROPOUTS[name].forward.address(a.dtype)
    _drop(address, noise, layer, first, dropout.threshold_of(rate), a, out)


@callable_from_python
def _drop_derivative(address, noise, layer, first, threshold, delta):
    dropout.drop_derivative(address, noise, layer, first, threshold, delta)


def drop_derivative(name, noise, layer, first, rate, delta):
    """Drop gradients."""
    address = dropout.DROPOUTS[name].backward.address(delta.dtype)
    _drop_derivative(address, noise, layer, first, dropout.threshold_of(rate), delta)


@callable_from_python
def _normalise(address, n_units, parameters, z, kept):
    normalization.call_normalise(address, n_units, parameters, z, kept)


def normalise(n_units, parameters, z, kept):
    """Normalise each row."""
    _normalise(normalization.normalise.address(z.dtype), n_units, parameters, z, kept)


@callable_from_python
def _normalise_backward(address, n_units, scale, parameters, kept, delta, grads):
    normalization.call_normalise_backward(address, n_units, scale, parameters, kept, delta, grads)


def normalise_backward(n_units, scale, parameters, kept, delta, grads):
    """Turn gradients behind the normalisation into those before it."""
    address, number = normalization.normalise_backward.address(delta.dtype), delta.dtype.type
    _normalise_backward(address, n_units, number(scale), parameters, kept, delta, grads)


@callable_from_python
def share(total, grain, part, parts):
    return team.share(total, grain, part, parts)


@callable_from_python
def meet(size, barrier, times):
    """Pass the barrier some times; return how often the others could be waited for."""
    for passed in range(times):
        if not team.wait_for_all(size, barrier):
            return passed
    return times


@callable_from_python
def is_called_off(barrier):
    return team.is_called_off(barrier)
