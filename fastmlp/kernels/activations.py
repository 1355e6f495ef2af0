r"""Activations, their derivatives, and the table that names them.

An activation is added in this file alone: its two functions and a row in `ACTIVATIONS`. Parameter
validation, tests, benchmarks and documentation are derived from the table.

Contract: 1-D contiguous arrays of one dtype (float32 or float64) and one length, which do not
overlap; matrices of rows of `n_units`, one after another.

- ``name(n_units, slope, a)`` replaces the pre-activation z held in `a` by f(z).
- ``name_derivative(n_units, slope, z, a, delta)`` multiplies `delta`, which holds
  :math:`\partial L/\partial a`, by f'(z). `z` is the pre-activation where the table says
  ``keeps_input`` (then the forward pass has copied it) and meaningless elsewhere; `a` is f(z).

`slope` is the parameter of the activations that have one and is ignored by the others; `n_units`
matters to the softmax alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp._jit import kernel
from fastmlp._linking import Interface, LinkedFunction, Table
from fastmlp.kernels.math import exp, expm1, log1p, logistic, normal_cdf, normal_pdf, tanh
from fastmlp.kernels.vectors import choose
from fastmlp.kernels.views import view

__all__ = [
    "ACTIVATION", "ACTIVATIONS", "DERIVATIVE", "Activation", "activate", "multiply_by_derivative",
    "slope_gradient",
]  # fmt: skip

ACTIVATION = Interface("int", "real", "reals")
DERIVATIVE = Interface("int", "real", "reals", "reals", "reals")
activate = ACTIVATION.caller("Replace pre-activations by activations.")
multiply_by_derivative = DERIVATIVE.caller("Multiply delta by the derivative.")

# Klambauer et al. (2017), "Self-Normalizing Neural Networks", equation 14.
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848


class Activation(NamedTuple):
    """What the rest of the package knows of an activation.

    Attributes
    ----------
    forward, backward : LinkedFunction
        f, and what multiplies by f'.
    equation : str
        f(z), for people.
    derivative : str
        f'(z), for people.
    keeps_input : bool
        Whether the derivative needs z besides f(z).
    is_sparse : bool
        Whether f'(z) is 0 wherever f(z) is.
    slope : float or None
        Default of the slope parameter; None where there is none.
    learns_slope : bool
        Whether the slope is trained along with the weights.
    is_hidden : bool
        Whether hidden layers may use it.
    init_factor : float
        f in the bound sqrt(f / (fan_in + fan_out)) of scikit-learn's initialisation.
    dropout : str
        Name in :data:`~fastmlp.kernels.dropout.DROPOUTS` of the dropout that suits it.
    """

    forward: LinkedFunction
    backward: LinkedFunction
    equation: str
    derivative: str
    keeps_input: bool = False
    is_sparse: bool = False
    slope: float | None = None
    learns_slope: bool = False
    is_hidden: bool = True
    init_factor: float = 6.0
    dropout: str = "dropout"


@ACTIVATION.function
def identity(n_units, slope, a):
    """Replace z in `a` by f(z) = z."""


@DERIVATIVE.function
def identity_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = 1."""


@ACTIVATION.function
def binary_step(n_units, slope, a):
    """Replace z in `a` by f(z) = 1 if z >= 0 else 0."""
    zero, one = a.dtype.type(0), a.dtype.type(1)
    for i in range(a.size):
        a[i] = one if a[i] >= zero else zero


@DERIVATIVE.function
def binary_step_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = 0."""
    # z - z is 0, or NaN where z is not finite, which must not pass for a gradient of zero.
    for i in range(delta.size):
        delta[i] = z[i] - z[i]


@ACTIVATION.function
def logistic_function(n_units, slope, a):
    """Replace z in `a` by f(z) = 1 / (1 + exp(-z))."""
    for i in range(a.size):
        a[i] = logistic(a[i])


@DERIVATIVE.function
def logistic_function_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = a (1 - a)."""
    one = delta.dtype.type(1)
    for i in range(delta.size):
        delta[i] *= a[i] * (one - a[i])


@ACTIVATION.function
def hyperbolic_tangent(n_units, slope, a):
    """Replace z in `a` by f(z) = tanh(z)."""
    for i in range(a.size):
        a[i] = tanh(a[i])


@DERIVATIVE.function
def hyperbolic_tangent_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = 1 - a^2."""
    one = delta.dtype.type(1)
    for i in range(delta.size):
        delta[i] *= one - a[i] * a[i]


@ACTIVATION.function
def arctan(n_units, slope, a):
    """Replace z in `a` by f(z) = arctan(z)."""
    for i in range(a.size):
        a[i] = np.arctan(a[i])


@DERIVATIVE.function
def arctan_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = 1 / (1 + z^2)."""
    one = delta.dtype.type(1)
    for i in range(delta.size):
        delta[i] /= one + z[i] * z[i]


@ACTIVATION.function
def relu(n_units, slope, a):
    """Replace z in `a` by f(z) = max(z, 0)."""
    zero = a.dtype.type(0)
    for i in range(a.size):
        # Written so that NaN stays NaN.
        a[i] = choose(a[i] < zero, zero, a[i])


@DERIVATIVE.function
def relu_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = 1 if z > 0 else 0."""
    zero = delta.dtype.type(0)
    for i in range(delta.size):
        delta[i] = choose(a[i] <= zero, zero, delta[i])


@ACTIVATION.function
def leaky_relu(n_units, slope, a):
    """Replace z in `a` by f(z) = z if z > 0 else slope z."""
    zero = a.dtype.type(0)
    for i in range(a.size):
        a[i] = choose(a[i] > zero, a[i], slope * a[i])


@DERIVATIVE.function
def leaky_relu_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = 1 if z > 0 else slope."""
    zero = delta.dtype.type(0)
    for i in range(delta.size):
        delta[i] = choose(z[i] > zero, delta[i], slope * delta[i])


@ACTIVATION.function
def elu(n_units, slope, a):
    """Replace z in `a` by f(z) = z if z > 0 else slope (exp(z) - 1)."""
    zero = a.dtype.type(0)
    for i in range(a.size):
        a[i] = choose(a[i] > zero, a[i], slope * expm1(a[i]))


@DERIVATIVE.function
def elu_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = 1 if z > 0 else a + slope."""
    zero = delta.dtype.type(0)
    for i in range(delta.size):
        delta[i] = choose(z[i] > zero, delta[i], (a[i] + slope) * delta[i])


@ACTIVATION.function
def softplus(n_units, slope, a):
    """Replace z in `a` by f(z) = log(1 + exp(z))."""
    zero = a.dtype.type(0)
    for i in range(a.size):
        x = a[i]
        a[i] = (zero if x < zero else x) + log1p(exp(-abs(x)))


@DERIVATIVE.function
def softplus_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = 1 - exp(-a)."""
    # logistic(z) = 1 - exp(-softplus(z)): f(z) is enough.
    for i in range(delta.size):
        delta[i] *= -expm1(-a[i])


@ACTIVATION.function
def gelu(n_units, slope, a):
    """Replace z in `a` by f(z) = z Phi(z)."""
    for i in range(a.size):
        a[i] *= normal_cdf(a[i])


@DERIVATIVE.function
def gelu_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = Phi(z) + z phi(z)."""
    for i in range(delta.size):
        delta[i] *= normal_cdf(z[i]) + z[i] * normal_pdf(z[i])


@ACTIVATION.function
def silu(n_units, slope, a):
    """Replace z in `a` by f(z) = z / (1 + exp(-z))."""
    for i in range(a.size):
        a[i] *= logistic(a[i])


@DERIVATIVE.function
def silu_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = s + a (1 - s), s the logistic function of z."""
    one = delta.dtype.type(1)
    for i in range(delta.size):
        s = logistic(z[i])
        delta[i] *= s + a[i] * (one - s)


@ACTIVATION.function
def selu(n_units, slope, a):
    """Replace z in `a` by f(z) = 1.0507 z if z > 0 else 1.7581 (exp(z) - 1)."""
    zero = a.dtype.type(0)
    scale, negative = a.dtype.type(_SELU_SCALE), a.dtype.type(_SELU_SCALE * _SELU_ALPHA)
    for i in range(a.size):
        x = a[i]
        a[i] = scale * x if x > zero else negative * expm1(x)


@DERIVATIVE.function
def selu_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = 1.0507 if z > 0 else a + 1.7581."""
    zero = delta.dtype.type(0)
    scale, negative = delta.dtype.type(_SELU_SCALE), delta.dtype.type(_SELU_SCALE * _SELU_ALPHA)
    for i in range(delta.size):
        delta[i] *= scale if a[i] > zero else a[i] + negative


@ACTIVATION.function
def mish(n_units, slope, a):
    """Replace z in `a` by f(z) = z tanh(log(1 + exp(z)))."""
    zero, one, two = a.dtype.type(0), a.dtype.type(1), a.dtype.type(2)
    # tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2) with e = exp(z). With e = exp(-|z|),
    # nothing overflows: for z > 0 numerator and denominator are divided by exp(2 z).
    for i in range(a.size):
        x = a[i]
        e = exp(-abs(x))
        numerator = one + two * e if x > zero else e * (e + two)
        a[i] = x * (numerator / (numerator + (two * e * e if x > zero else two)))


@DERIVATIVE.function
def mish_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z).

    f'(z) = t + z (1 - t^2) s, where
    t = tanh(log(1 + exp(z))), s the logistic function of z.
    """
    zero, one, two = delta.dtype.type(0), delta.dtype.type(1), delta.dtype.type(2)
    for i in range(delta.size):
        x = z[i]
        e = exp(-abs(x))
        numerator = one + two * e if x > zero else e * (e + two)
        t = numerator / (numerator + (two * e * e if x > zero else two))
        s = (one if x > zero else e) / (one + e)
        delta[i] *= t + x * (one - t * t) * s


@ACTIVATION.function
def exponential(n_units, slope, a):
    """Replace z in `a` by f(z) = exp(z)."""
    for i in range(a.size):
        a[i] = exp(a[i])


@DERIVATIVE.function
def exponential_derivative(n_units, slope, z, a, delta):
    """Multiply `delta` by f'(z) = a."""
    for i in range(delta.size):
        delta[i] *= a[i]


@ACTIVATION.function
def softmax(n_units, slope, a):
    r"""Replace each row of logits by its softmax.

    .. math:: a_j = e^{z_j - \max z} / \sum_k e^{z_k - \max z}
    """
    n_rows = a.size // n_units
    for i in range(n_rows):
        row = view(a, i * n_units, n_units)
        largest = row[0]
        for j in range(1, n_units):
            largest = max(largest, row[j])
        for j in range(n_units):
            row[j] -= largest
    # One flat loop: rows are often too short to fill a vector register.
    for i in range(a.size):
        a[i] = exp(a[i])
    for i in range(n_rows):
        row = view(a, i * n_units, n_units)
        total = a.dtype.type(0)
        for j in range(n_units):
            total += row[j]
        factor = a.dtype.type(1) / total
        for j in range(n_units):
            row[j] *= factor


@DERIVATIVE.function
def softmax_derivative(n_units, slope, z, a, delta):
    r"""Multiply each row of `delta` by the Jacobian of the softmax.

    .. math:: \delta_j \leftarrow a_j \left(\delta_j - \sum_k \delta_k a_k\right)
    """
    for i in range(a.size // n_units):
        p = view(a, i * n_units, n_units)
        error = view(delta, i * n_units, n_units)
        mean = a.dtype.type(0)
        for j in range(n_units):
            mean += error[j] * p[j]
        for j in range(n_units):
            error[j] = p[j] * (error[j] - mean)


ACTIVATIONS: Table[Activation] = Table()
ACTIVATIONS |= {
    "identity": Activation(identity, identity_derivative, "z", "1"),
    "binary_step": Activation(
        binary_step, binary_step_derivative, "1 if z >= 0 else 0", "0", keeps_input=True
    ),
    "logistic": Activation(
        logistic_function,
        logistic_function_derivative,
        "1 / (1 + exp(-z))",
        "a (1 - a)",
        init_factor=2.0,
    ),
    "tanh": Activation(hyperbolic_tangent, hyperbolic_tangent_derivative, "tanh(z)", "1 - a^2"),
    "arctan": Activation(arctan, arctan_derivative, "arctan(z)", "1 / (1 + z^2)", keeps_input=True),
    "relu": Activation(relu, relu_derivative, "max(z, 0)", "1 if z > 0 else 0", is_sparse=True),
    "leaky_relu": Activation(
        leaky_relu,
        leaky_relu_derivative,
        "z if z > 0 else slope z",
        "1 if z > 0 else slope",
        keeps_input=True,
        slope=0.01,
    ),
    "prelu": Activation(
        leaky_relu,
        leaky_relu_derivative,
        "z if z > 0 else slope z, slope learned",
        "1 if z > 0 else slope",
        keeps_input=True,
        slope=0.25,
        learns_slope=True,
    ),
    "elu": Activation(
        elu,
        elu_derivative,
        "z if z > 0 else slope (exp(z) - 1)",
        "1 if z > 0 else a + slope",
        keeps_input=True,
        slope=1.0,
    ),
    "softplus": Activation(softplus, softplus_derivative, "log(1 + exp(z))", "1 / (1 + exp(-z))"),
    "gelu": Activation(gelu, gelu_derivative, "z Phi(z)", "Phi(z) + z phi(z)", keeps_input=True),
    "silu": Activation(
        silu,
        silu_derivative,
        "z / (1 + exp(-z))",
        "s (1 + z (1 - s)), s = logistic(z)",
        keeps_input=True,
    ),
    "selu": Activation(
        selu,
        selu_derivative,
        "1.0507 z if z > 0 else 1.0507 1.6733 (exp(z) - 1)",
        "1.0507 if z > 0 else a + 1.7581",
        dropout="alpha_dropout",
    ),
    "mish": Activation(
        mish,
        mish_derivative,
        "z tanh(softplus(z))",
        "t + z (1 - t^2) logistic(z), t = tanh(softplus(z))",
        keeps_input=True,
    ),
    "exp": Activation(exponential, exponential_derivative, "exp(z)", "a", is_hidden=False),
    "softmax": Activation(
        softmax, softmax_derivative, "exp(z_i) / sum_j exp(z_j)", "diag(a) - a a'", is_hidden=False
    ),
}


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
