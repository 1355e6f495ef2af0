r"""Dropout: random units are set aside at each step of training, so that none can be relied on.

The noise is a function of the step, the layer and the element's place in the batch, not of a state:
the backward pass draws again what the forward pass drew, and threads need not agree on an order.

Contract, for 1-D contiguous arrays of one dtype that hold elements [first, first + size) of a
layer's matrix of a whole batch, of which those are dropped where a random integer in [0, 2^32) is
below `threshold`:

- ``name(noise, layer, first, threshold, a, out)`` **overwrites** `out` by what is left of the
  activations `a`.
- ``name_derivative(noise, layer, first, threshold, delta)`` turns the gradient with respect to that
  into the one with respect to `a`, in place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp._jit import inlined_kernel, kernel
from fastmlp._linking import Interface, LinkedFunction

__all__ = ["DROPOUTS", "Dropout", "drop", "drop_derivative", "threshold_of"]

_FORWARD = Interface("int", "int", "int", "int", "reals", "reals")
_BACKWARD = Interface("int", "int", "int", "int", "reals")
drop = _FORWARD.caller("Set random activations aside.")
drop_derivative = _BACKWARD.caller("Set their gradients aside.")

_RANGE = 2.0**32
# The least value of selu.
_SELU_FLOOR = -1.0507009873554804934 * 1.6732632423543772848


class Dropout(NamedTuple):
    """What the rest of the package knows of a kind of dropout.

    Attributes
    ----------
    forward, backward : LinkedFunction
        The loops.
    """

    forward: LinkedFunction
    backward: LinkedFunction


def threshold_of(rate: float) -> int:
    """Return the threshold below which an element is dropped.

    Parameters
    ----------
    rate : float
        Probability of being dropped, in [0, 1).

    Returns
    -------
    int
        In [0, 2^32).
    """
    return min(round(rate * _RANGE), int(_RANGE) - 1)


@_FORWARD.function
def dropout(noise, layer, first, threshold, a, out):
    r"""Drop elements to 0, and scale the others up so that the mean stays.

    .. math:: \tilde a = \frac{m}{1 - p}\, a, \qquad
              \frac{\partial L}{\partial a} = \frac{m}{1 - p} \frac{\partial L}{\partial \tilde a}

    References
    ----------
    Srivastava et al. (2014), "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
    """
    number = a.dtype.type
    start, salt = _key(noise, layer)
    limit, scale = np.uint32(threshold), number(_RANGE / (_RANGE - threshold))
    for i in range(a.size):
        out[i] = number(0) if _hash(first + i, start, salt) < limit else scale * a[i]


@_BACKWARD.function
def dropout_derivative(noise, layer, first, threshold, delta):
    r"""Multiply `delta` by m / (1 - p)."""
    number = delta.dtype.type
    scale = number(_RANGE / (_RANGE - threshold))
    _drop_gradient(noise, layer, first, threshold, scale, delta)


@_FORWARD.function
def alpha_dropout(noise, layer, first, threshold, a, out):
    r"""Drop elements to selu's least value, and keep mean and variance.

    .. math:: \tilde a = c\, (m a + (1 - m) \alpha') + d, \quad
              c = \left((1 - p) (1 + p \alpha'^2)\right)^{-1/2}, \quad d = -c\, p\, \alpha'

    Notes
    -----
    For activations of mean 0 and variance 1, which selu with LeCun's initial weights tends to.

    References
    ----------
    Klambauer et al. (2017), "Self-Normalizing Neural Networks", section 3.
    """
    number = a.dtype.type
    start, salt = _key(noise, layer)
    limit, factor = np.uint32(threshold), _alpha_scale(threshold)
    offset = -factor * (threshold / _RANGE) * _SELU_FLOOR
    scale, shift, instead = number(factor), number(offset), number(factor * _SELU_FLOOR + offset)
    for i in range(a.size):
        out[i] = instead if _hash(first + i, start, salt) < limit else scale * a[i] + shift


@_BACKWARD.function
def alpha_dropout_derivative(noise, layer, first, threshold, delta):
    r"""Multiply `delta` by c m."""
    scale = delta.dtype.type(_alpha_scale(threshold))
    _drop_gradient(noise, layer, first, threshold, scale, delta)


@inlined_kernel
def _alpha_scale(threshold):
    p = threshold / _RANGE
    return 1.0 / np.sqrt((1.0 - p) * (1.0 + p * _SELU_FLOOR * _SELU_FLOOR))


@kernel
def _drop_gradient(noise, layer, first, threshold, scale, delta):
    start, salt = _key(noise, layer)
    limit, zero = np.uint32(threshold), scale * 0
    for i in range(delta.size):
        error = scale * delta[i]
        delta[i] = zero if _hash(first + i, start, salt) < limit else error


@inlined_kernel
def _key(noise, layer):
    """Return where the counter of a layer starts, and what is mixed in later.

    With both, the sequences of two steps are not parts of each other.
    """
    key = _mix(_mix(noise) ^ np.uint64(layer))
    return np.uint32(key), np.uint32(key >> np.uint64(32))


@inlined_kernel
def _hash(counter, start, salt):
    """Return 32 random bits (the finaliser of MurmurHash3, by A. Appleby, public domain)."""
    h = np.uint32(np.uint32(counter) * np.uint32(0x9E3779B9) + start)
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)) ^ salt)
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@inlined_kernel
def _mix(number):
    """Spread every bit of 64 over all of them (SplitMix64's, Steele et al., 2014)."""
    z = np.uint64(number) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


DROPOUTS: dict[str, Dropout] = {
    "dropout": Dropout(dropout, dropout_derivative),
    "alpha_dropout": Dropout(alpha_dropout, alpha_dropout_derivative),
}
