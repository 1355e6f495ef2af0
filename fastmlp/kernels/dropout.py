r"""Dropout: random units are set aside at each step of training, so that none can be relied on.

The noise is a function of the step, the layer and the element's place in the batch, not of a state:
the backward pass draws again what the forward pass drew, and threads need not agree on an order.

Contract of ``name(noise, layer, first, threshold, is_backward, x, out)``: `x` and `out` are 1-D
contiguous arrays of one dtype and size, possibly the same one; `x` holds elements [first, first +
size) of a layer's matrix of a whole batch: activations, or gradients with respect to what this
function made of the activations where `is_backward`. `out` is **overwritten**. An element is
dropped where a random integer in [0, 2^32) is below `threshold`.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import inlined_kernel, kernel
from fastmlp._linking import Interface, LinkedFunction

__all__ = ["DROPOUTS", "drop", "threshold_of"]

DROPOUT = Interface("int", "int", "int", "int", "int", "reals", "reals")
drop = DROPOUT.caller("Set random elements aside.")

_RANGE = 2.0**32
# The least value of selu.
_SELU_FLOOR = -1.0507009873554804934 * 1.6732632423543772848


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


@DROPOUT.function
def dropout(noise, layer, first, threshold, is_backward, x, out):
    r"""Drop elements to 0, and scale the others up so that the mean stays.

    .. math:: \tilde a = \frac{m}{1 - p}\, a, \qquad
              \frac{\partial L}{\partial a} = \frac{m}{1 - p} \frac{\partial L}{\partial \tilde a}

    References
    ----------
    Srivastava et al. (2014), "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
    """
    number = x.dtype.type
    scale = number(_RANGE / (_RANGE - threshold))
    _drop(noise, layer, first, threshold, scale, number(0), number(0), x, out)


@DROPOUT.function
def alpha_dropout(noise, layer, first, threshold, is_backward, x, out):
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
    number = x.dtype.type
    p = threshold / _RANGE
    scale = 1.0 / np.sqrt((1.0 - p) * (1.0 + p * _SELU_FLOOR * _SELU_FLOOR))
    shift = 0.0 if is_backward else -scale * p * _SELU_FLOOR
    instead = 0.0 if is_backward else scale * _SELU_FLOOR + shift
    _drop(noise, layer, first, threshold, number(scale), number(shift), number(instead), x, out)


@kernel
def _drop(noise, layer, first, threshold, scale, shift, instead, x, out):
    key = _mix(_mix(noise) ^ np.uint64(layer))
    # One half of the key shifts the counter, the other is mixed in later: streams do not overlap.
    start, salt = np.uint32(key), np.uint32(key >> np.uint64(32))
    limit = np.uint32(threshold)
    for i in range(x.size):
        # The finaliser of MurmurHash3, by A. Appleby, which is in the public domain.
        h = np.uint32(np.uint32(first + i) * np.uint32(0x9E3779B9) + start)
        h = np.uint32(h ^ (h >> np.uint32(16)))
        h = np.uint32(h * np.uint32(0x85EBCA6B))
        h = np.uint32(h ^ (h >> np.uint32(13)) ^ salt)
        h = np.uint32(h * np.uint32(0xC2B2AE35))
        h = np.uint32(h ^ (h >> np.uint32(16)))
        out[i] = instead if h < limit else scale * x[i] + shift


@inlined_kernel
def _mix(number):
    """Spread every bit of 64 over all of them (SplitMix64's, Steele et al., 2014)."""
    z = np.uint64(number) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


DROPOUTS: dict[str, LinkedFunction] = {"dropout": dropout, "alpha_dropout": alpha_dropout}
