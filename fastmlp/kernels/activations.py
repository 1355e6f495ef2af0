r"""Activations, their derivatives, and the table that names them.

An activation is added in this file alone: its two loops, a branch in `activate` and in
`multiply_by_derivative`, and a row in `ACTIVATIONS`. Parameter validation, tests, benchmarks and
documentation are derived from the table.

Contract of every loop: 1-D contiguous arrays of one dtype (float32 or float64), of one length,
which do not overlap.

- ``name(slope, a)`` replaces the pre-activation z held in `a` by f(z).
- ``name_derivative(slope, z, a, delta)`` multiplies `delta`, which holds
  :math:`\partial L/\partial a`, by f'(z). `z` is the pre-activation where the table says
  ``keeps_input`` (then the forward pass has copied it) and meaningless elsewhere; `a` is f(z).

`slope` is the parameter of the activations that have one and is ignored by the others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp._jit import kernel
from fastmlp.kernels.math import exp, expm1, log1p, logistic, normal_cdf, normal_pdf, tanh

__all__ = [
    "ACTIVATIONS", "Activation", "activate", "multiply_by_derivative", "slope_gradient", "softmax",
    "softmax_derivative",
]  # fmt: skip


class Activation(NamedTuple):
    """What the rest of the package knows of an activation.

    Attributes
    ----------
    code : int
        What stands for it in compiled code.
    equation : str
        f(z), for people.
    derivative : str
        f'(z), for people.
    keeps_input : bool
        Whether the derivative needs z besides f(z).
    slope : float or None
        Default of the slope parameter; None where there is none.
    learns_slope : bool
        Whether the slope is trained along with the weights.
    is_hidden : bool
        Whether hidden layers may use it.
    init_factor : float
        f in the bound sqrt(f / (fan_in + fan_out)) of scikit-learn's initialisation.
    """

    code: int
    equation: str
    derivative: str
    keeps_input: bool = False
    slope: float | None = None
    learns_slope: bool = False
    is_hidden: bool = True
    init_factor: float = 6.0


IDENTITY, BINARY_STEP, LOGISTIC, TANH, ARCTAN, RELU, LEAKY_RELU, PRELU = range(8)
ELU, SOFTPLUS, GELU, SILU, SELU, MISH, EXP, SOFTMAX = range(8, 16)

ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(IDENTITY, "z", "1"),
    "binary_step": Activation(BINARY_STEP, "1 if z >= 0 else 0", "0", keeps_input=True),
    "logistic": Activation(LOGISTIC, "1 / (1 + exp(-z))", "a (1 - a)", init_factor=2.0),
    "tanh": Activation(TANH, "tanh(z)", "1 - a^2"),
    "arctan": Activation(ARCTAN, "arctan(z)", "1 / (1 + z^2)", keeps_input=True),
    "relu": Activation(RELU, "max(z, 0)", "1 if z > 0 else 0"),
    "leaky_relu": Activation(
        LEAKY_RELU, "z if z > 0 else slope z", "1 if z > 0 else slope",
        keeps_input=True, slope=0.01,
    ),
    "prelu": Activation(
        PRELU, "z if z > 0 else slope z, slope learned", "1 if z > 0 else slope",
        keeps_input=True, slope=0.25, learns_slope=True,
    ),
    "elu": Activation(
        ELU, "z if z > 0 else slope (exp(z) - 1)", "1 if z > 0 else a + slope",
        keeps_input=True, slope=1.0,
    ),
    "softplus": Activation(SOFTPLUS, "log(1 + exp(z))", "1 / (1 + exp(-z))"),
    "gelu": Activation(GELU, "z Phi(z)", "Phi(z) + z phi(z)", keeps_input=True),
    "silu": Activation(
        SILU, "z / (1 + exp(-z))", "s (1 + z (1 - s)), s = logistic(z)", keeps_input=True
    ),
    "selu": Activation(
        SELU, "1.0507 z if z > 0 else 1.0507 1.6733 (exp(z) - 1)", "1.0507 if z > 0 else a + 1.7581"
    ),
    "mish": Activation(
        MISH, "z tanh(softplus(z))", "t + z (1 - t^2) logistic(z), t = tanh(softplus(z))",
        keeps_input=True,
    ),
    "exp": Activation(EXP, "exp(z)", "a", is_hidden=False),
    "softmax": Activation(SOFTMAX, "exp(z_i) / sum_j exp(z_j)", "diag(a) - a a'", is_hidden=False),
}  # fmt: skip

# Klambauer et al. (2017), "Self-Normalizing Neural Networks", equation 14.
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848


@kernel
def activate(code, slope, a):
    """Replace pre-activations by activations, in place.

    Parameters
    ----------
    code : int
        ``ACTIVATIONS[name].code`` of an elementwise activation.
    slope : float
        Parameter of the activations that have one.
    a : ndarray of shape (n,)
        z on entry, f(z) on return. **Overwritten.**
    """
    zero, one, two = a.dtype.type(0), a.dtype.type(1), a.dtype.type(2)
    if code == RELU:
        for i in range(a.size):
            # Written so that NaN stays NaN.
            a[i] = zero if a[i] < zero else a[i]
    elif code == LOGISTIC:
        for i in range(a.size):
            a[i] = logistic(a[i])
    elif code == TANH:
        for i in range(a.size):
            a[i] = tanh(a[i])
    elif code == BINARY_STEP:
        for i in range(a.size):
            a[i] = one if a[i] >= zero else zero
    elif code == ARCTAN:
        for i in range(a.size):
            a[i] = np.arctan(a[i])
    elif code == LEAKY_RELU or code == PRELU:
        for i in range(a.size):
            x = a[i]
            a[i] = x if x > zero else slope * x
    elif code == ELU:
        for i in range(a.size):
            x = a[i]
            a[i] = x if x > zero else slope * expm1(x)
    elif code == SOFTPLUS:
        for i in range(a.size):
            x = a[i]
            a[i] = (zero if x < zero else x) + log1p(exp(-abs(x)))
    elif code == GELU:
        for i in range(a.size):
            a[i] *= normal_cdf(a[i])
    elif code == SILU:
        for i in range(a.size):
            a[i] *= logistic(a[i])
    elif code == SELU:
        scale, negative = a.dtype.type(_SELU_SCALE), a.dtype.type(_SELU_SCALE * _SELU_ALPHA)
        for i in range(a.size):
            x = a[i]
            a[i] = scale * x if x > zero else negative * expm1(x)
    elif code == MISH:
        # tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2) with e = exp(z). With e = exp(-|z|),
        # nothing overflows: for z > 0 numerator and denominator are divided by exp(2 z).
        for i in range(a.size):
            x = a[i]
            e = exp(-abs(x))
            numerator = one + two * e if x > zero else e * (e + two)
            a[i] = x * (numerator / (numerator + (two * e * e if x > zero else two)))
    elif code == EXP:
        for i in range(a.size):
            a[i] = exp(a[i])


@kernel
def multiply_by_derivative(code, slope, z, a, delta):
    r"""Turn :math:`\partial L/\partial a` into :math:`\partial L/\partial z`, in place.

    Parameters
    ----------
    code : int
        ``ACTIVATIONS[name].code`` of an elementwise activation.
    slope : float
        Parameter of the activations that have one.
    z : ndarray of shape (n,)
        Pre-activations where the activation keeps its input, else anything. Not modified.
    a : ndarray of shape (n,)
        Activations f(z). Not modified.
    delta : ndarray of shape (n,)
        **Overwritten** by ``delta * f'(z)``.
    """
    zero, one, two = delta.dtype.type(0), delta.dtype.type(1), delta.dtype.type(2)
    if code == RELU:
        for i in range(delta.size):
            error = delta[i]
            delta[i] = zero if a[i] <= zero else error
    elif code == LOGISTIC:
        for i in range(delta.size):
            delta[i] *= a[i] * (one - a[i])
    elif code == TANH:
        for i in range(delta.size):
            delta[i] *= one - a[i] * a[i]
    elif code == BINARY_STEP:
        # z - z is 0, or NaN where z is not finite, which must not pass for a gradient of zero.
        for i in range(delta.size):
            delta[i] = z[i] - z[i]
    elif code == ARCTAN:
        for i in range(delta.size):
            delta[i] /= one + z[i] * z[i]
    elif code == LEAKY_RELU or code == PRELU:
        for i in range(delta.size):
            error = delta[i]
            delta[i] = error if z[i] > zero else slope * error
    elif code == ELU:
        for i in range(delta.size):
            error = delta[i]
            delta[i] = error if z[i] > zero else (a[i] + slope) * error
    elif code == SOFTPLUS:
        # logistic(z) = 1 - exp(-softplus(z)): f(z) is enough.
        for i in range(delta.size):
            delta[i] *= -expm1(-a[i])
    elif code == GELU:
        for i in range(delta.size):
            delta[i] *= normal_cdf(z[i]) + z[i] * normal_pdf(z[i])
    elif code == SILU:
        for i in range(delta.size):
            s = logistic(z[i])
            delta[i] *= s + a[i] * (one - s)
    elif code == SELU:
        scale, negative = delta.dtype.type(_SELU_SCALE), delta.dtype.type(_SELU_SCALE * _SELU_ALPHA)
        for i in range(delta.size):
            delta[i] *= scale if a[i] > zero else a[i] + negative
    elif code == MISH:
        for i in range(delta.size):
            x = z[i]
            e = exp(-abs(x))
            numerator = one + two * e if x > zero else e * (e + two)
            t = numerator / (numerator + (two * e * e if x > zero else two))
            s = (one if x > zero else e) / (one + e)
            delta[i] *= t + x * (one - t * t) * s
    elif code == EXP:
        for i in range(delta.size):
            delta[i] *= a[i]


@kernel
def slope_gradient(z, delta):
    r"""Return :math:`\partial L/\partial s` for f(z) = z if z > 0 else s z.

    Parameters
    ----------
    z : ndarray of shape (n,)
        Pre-activations. Not modified.
    delta : ndarray of shape (n,)
        :math:`\partial L/\partial a`. Not modified.

    Returns
    -------
    float
        The sum of ``delta * z`` over the negative z.

    References
    ----------
    He et al. (2015), "Delving Deep into Rectifiers", equation 10.
    """
    zero = z.dtype.type(0)
    total = zero
    for i in range(z.size):
        total += delta[i] * (zero if z[i] > zero else z[i])
    return total


@kernel
def softmax(n_rows, n_units, a):
    r"""Replace each row of logits by its softmax, in place.

    .. math:: a_j = e^{z_j - \max z} / \sum_k e^{z_k - \max z}

    Parameters
    ----------
    n_rows, n_units : int
        Shape of the matrix in `a`, rows one after another.
    a : ndarray of shape (n_rows * n_units,)
        **Overwritten.**
    """
    for i in range(n_rows):
        row = a[i * n_units : (i + 1) * n_units]
        largest = row[0]
        for j in range(1, n_units):
            largest = max(largest, row[j])
        for j in range(n_units):
            row[j] -= largest
    # One flat loop: rows are often too short to fill a vector register.
    for i in range(a.size):
        a[i] = exp(a[i])
    for i in range(n_rows):
        row = a[i * n_units : (i + 1) * n_units]
        total = a.dtype.type(0)
        for j in range(n_units):
            total += row[j]
        factor = a.dtype.type(1) / total
        for j in range(n_units):
            row[j] *= factor


@kernel
def softmax_derivative(n_rows, n_units, a, delta):
    r"""Multiply each row of `delta` by the Jacobian of the softmax, in place.

    .. math:: \delta_j \leftarrow a_j \left(\delta_j - \sum_k \delta_k a_k\right)

    Parameters
    ----------
    n_rows, n_units : int
        Shape of the matrices.
    a : ndarray of shape (n_rows * n_units,)
        Softmax outputs. Not modified.
    delta : ndarray of shape (n_rows * n_units,)
        **Overwritten.**
    """
    for i in range(n_rows):
        p = a[i * n_units : (i + 1) * n_units]
        error = delta[i * n_units : (i + 1) * n_units]
        mean = a.dtype.type(0)
        for j in range(n_units):
            mean += error[j] * p[j]
        for j in range(n_units):
            error[j] = p[j] * (error[j] - mean)
