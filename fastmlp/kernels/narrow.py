"""Layers of a few units: loops over samples instead of calls of BLAS.

For a layer of 2 x 8 weights, calling BLAS costs more than computing. In a *narrow* network,
matrices are unit by unit: unit j of sample i is at ``j * n_rows + i``, so that the inner loops run
over samples and fill vector registers however few units there are. Element by element, activations
do not care; the output alone is turned to one sample after another, for the loss.

Contract: 1-D contiguous views of one dtype; nothing overlaps.
"""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import DTypeLike

from fastmlp._jit import kernel
from fastmlp._linking import Interface
from fastmlp.kernels.views import view

__all__ = [
    "NOT_NARROW", "Narrow", "call_bias_gradient", "call_forward", "call_input_gradient",
    "call_transpose", "call_weight_gradient", "narrow_addresses", "narrow_bias_gradient",
    "narrow_forward", "narrow_input_gradient", "narrow_weight_gradient", "transpose",
]  # fmt: skip

# Linked: few networks are narrow, and compiling these takes as long as all the rest.
_TRANSPOSE = Interface("int", "int", "reals", "reals")
_LAYER = Interface("int", "int", "int", "reals", "reals", "reals", "reals")
_INPUT_GRADIENT = Interface("int", "int", "int", "reals", "reals", "reals")
_WEIGHT_GRADIENT = Interface("int", "int", "int", "real", "real", "reals", "reals", "reals")
_BIAS_GRADIENT = Interface("int", "int", "real", "real", "reals", "reals")
call_transpose = _TRANSPOSE.caller("Call `transpose`.")
call_forward = _LAYER.caller("Call `narrow_forward`.")
call_input_gradient = _INPUT_GRADIENT.caller("Call `narrow_input_gradient`.")
call_weight_gradient = _WEIGHT_GRADIENT.caller("Call `narrow_weight_gradient`.")
call_bias_gradient = _BIAS_GRADIENT.caller("Call `narrow_bias_gradient`.")


class Narrow(NamedTuple):
    """Addresses of the functions of a narrow network; zeros where a network is not narrow.

    Attributes
    ----------
    transpose, forward, input_gradient, weight_gradient, bias_gradient : int
        The addresses.
    """

    transpose: int
    forward: int
    input_gradient: int
    weight_gradient: int
    bias_gradient: int


NOT_NARROW = Narrow(0, 0, 0, 0, 0)


def narrow_addresses(dtype: DTypeLike) -> Narrow:
    """Return the addresses, after compiling what is asked for first.

    Parameters
    ----------
    dtype : dtype
        The compute dtype.

    Returns
    -------
    Narrow
        The addresses.
    """
    return Narrow(
        transpose.address(dtype),
        narrow_forward.address(dtype),
        narrow_input_gradient.address(dtype),
        narrow_weight_gradient.address(dtype),
        narrow_bias_gradient.address(dtype),
    )


@_TRANSPOSE.function
def transpose(n_rows, n_columns, matrix, out):
    """Write the transpose of a matrix.

    Parameters
    ----------
    n_rows, n_columns : int
        Its shape.
    matrix : ndarray of shape (n_rows * n_columns,)
        Row by row. Not modified.
    out : ndarray of shape (n_rows * n_columns,)
        **Overwritten**, column by column.
    """
    for j in range(n_columns):
        column = view(out, j * n_rows, n_rows)
        for i in range(n_rows):
            column[i] = matrix[i * n_columns + j]


@_LAYER.function
def narrow_forward(n_rows, fan_in, fan_out, a, weights, biases, z):
    """Compute ``z = a W + b``, unit by unit.

    Parameters
    ----------
    n_rows, fan_in, fan_out : int
        Shapes.
    a : ndarray of shape (fan_in * n_rows,)
        Inputs of the layer, unit by unit. Not modified.
    weights : ndarray of shape (fan_in * fan_out,)
        W.
    biases : ndarray of shape (fan_out,)
        b.
    z : ndarray of shape (fan_out * n_rows,)
        **Overwritten** by the pre-activations, unit by unit.
    """
    for j in range(fan_out):
        _combine(n_rows, fan_in, a, weights, j, fan_out, biases[j], view(z, j * n_rows, n_rows))


@_INPUT_GRADIENT.function
def narrow_input_gradient(n_rows, fan_in, fan_out, delta, weights, delta_inputs):
    r"""Compute :math:`\delta_{in} = \delta\, W^T`, unit by unit.

    Parameters
    ----------
    n_rows, fan_in, fan_out : int
        Shapes.
    delta : ndarray of shape (fan_out * n_rows,)
        Gradient with respect to the pre-activations, unit by unit. Not modified.
    weights : ndarray of shape (fan_in * fan_out,)
        W.
    delta_inputs : ndarray of shape (fan_in * n_rows,)
        **Overwritten** by the gradient with respect to the layer's inputs, unit by unit.
    """
    zero = delta.dtype.type(0)
    for i in range(fan_in):
        out = view(delta_inputs, i * n_rows, n_rows)
        _combine(n_rows, fan_out, delta, weights, i * fan_out, 1, zero, out)


@kernel
def _combine(n_rows, n_units, units, factors, first, step, constant, out):
    """Overwrite `out` by ``constant + sum_k factors[first + k * step] * unit k``."""
    for s in range(n_rows):
        out[s] = constant
    n_fours = n_units // 4 * 4
    for k in range(0, n_fours, 4):
        f0, f1 = factors[first + k * step], factors[first + (k + 1) * step]
        f2, f3 = factors[first + (k + 2) * step], factors[first + (k + 3) * step]
        u0, u1 = view(units, k * n_rows, n_rows), view(units, (k + 1) * n_rows, n_rows)
        u2, u3 = view(units, (k + 2) * n_rows, n_rows), view(units, (k + 3) * n_rows, n_rows)
        for s in range(n_rows):
            out[s] += (f0 * u0[s] + f1 * u1[s]) + (f2 * u2[s] + f3 * u3[s])
    for k in range(n_fours, n_units):
        factor, unit = factors[first + k * step], view(units, k * n_rows, n_rows)
        for s in range(n_rows):
            out[s] += factor * unit[s]


@_WEIGHT_GRADIENT.function
def narrow_weight_gradient(n_rows, fan_in, fan_out, alpha, beta, a, delta, grads):
    r"""Compute :math:`G \leftarrow \alpha\, a^T \delta + \beta\, G`.

    Parameters
    ----------
    n_rows, fan_in, fan_out : int
        Shapes.
    alpha, beta : float
        Scalars of the arrays' dtype.
    a : ndarray of shape (fan_in * n_rows,)
        Inputs of the layer, unit by unit. Not modified.
    delta : ndarray of shape (fan_out * n_rows,)
        Gradient with respect to the pre-activations, unit by unit. Not modified.
    grads : ndarray of shape (fan_in * fan_out,)
        **Overwritten.**
    """
    zero = grads.dtype.type(0)
    for k in range(grads.size):
        grads[k] = zero if beta == zero else beta * grads[k]
    n_fours = fan_in // 4 * 4
    for j in range(fan_out):
        error = view(delta, j * n_rows, n_rows)
        for i in range(0, n_fours, 4):
            a0, a1 = view(a, i * n_rows, n_rows), view(a, (i + 1) * n_rows, n_rows)
            a2, a3 = view(a, (i + 2) * n_rows, n_rows), view(a, (i + 3) * n_rows, n_rows)
            t0, t1, t2, t3 = zero, zero, zero, zero
            for s in range(n_rows):
                t0 += a0[s] * error[s]
                t1 += a1[s] * error[s]
                t2 += a2[s] * error[s]
                t3 += a3[s] * error[s]
            grads[i * fan_out + j] += alpha * t0
            grads[(i + 1) * fan_out + j] += alpha * t1
            grads[(i + 2) * fan_out + j] += alpha * t2
            grads[(i + 3) * fan_out + j] += alpha * t3
        for i in range(n_fours, fan_in):
            unit, total = view(a, i * n_rows, n_rows), zero
            for s in range(n_rows):
                total += unit[s] * error[s]
            grads[i * fan_out + j] += alpha * total


@_BIAS_GRADIENT.function
def narrow_bias_gradient(n_rows, fan_out, alpha, beta, delta, grads):
    r"""Compute :math:`g \leftarrow \alpha \sum_i \delta_i + \beta\, g`.

    Parameters
    ----------
    n_rows, fan_out : int
        Shape of `delta`.
    alpha, beta : float
        Scalars of the arrays' dtype.
    delta : ndarray of shape (fan_out * n_rows,)
        Gradient with respect to the pre-activations, unit by unit. Not modified.
    grads : ndarray of shape (fan_out,)
        **Overwritten.**
    """
    zero = grads.dtype.type(0)
    for j in range(fan_out):
        error, total = view(delta, j * n_rows, n_rows), zero
        for s in range(n_rows):
            total += error[s]
        grads[j] = alpha * total if beta == zero else alpha * total + beta * grads[j]
