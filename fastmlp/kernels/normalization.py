r"""Layer normalisation: the pre-activations of each sample get a learned mean and deviation.

It knows no other sample: batches of any size, threads and prediction all see the same function.
"""

from __future__ import annotations

import numpy as np

from fastmlp._linking import Interface
from fastmlp.kernels.views import view

__all__ = ["call_normalise", "call_normalise_backward", "normalise", "normalise_backward"]

_FORWARD = Interface("int", "reals", "reals", "reals")
_BACKWARD = Interface("int", "real", "reals", "reals", "reals", "reals")
call_normalise = _FORWARD.caller("Normalise each row.")
call_normalise_backward = _BACKWARD.caller("Propagate gradients through the normalisation.")

# What keeps the quotient finite, as in PyTorch.
_EPSILON = 1e-5
# Pre-activations from which on a row is divided by its largest.
_LARGE = 1e15


@_FORWARD.function
def normalise(n_units, parameters, z, kept):
    r"""Normalise each row of pre-activations.

    .. math:: \hat z_j = \frac{z_j - \mu}{\sigma}, \quad y_j = \gamma_j \hat z_j + \beta_j, \qquad
              \mu = \frac1n \sum_j z_j, \quad
              \sigma^2 = \frac1n \sum_j (z_j - \mu)^2 + \epsilon

    Parameters
    ----------
    n_units : int
        Columns of `z`.
    parameters : ndarray of shape (2 * n_units,)
        Scales :math:`\gamma`, then offsets :math:`\beta`.
    z : ndarray of shape (n_rows * n_units,)
        Pre-activations. **Overwritten** by y.
    kept : ndarray of shape (n_rows * (n_units + 1),) or (0,)
        **Overwritten**, unless empty: per row :math:`\hat z`, then :math:`1 / \sigma`.

    References
    ----------
    Ba, Kiros and Hinton (2016), "Layer Normalization", equation 3.
    """
    number = z.dtype.type
    scales, offsets = view(parameters, 0, n_units), view(parameters, n_units, n_units)
    share, epsilon = number(1.0 / n_units), number(_EPSILON)
    for i in range(z.size // n_units):
        row = view(z, i * n_units, n_units)
        largest = number(0)
        for j in range(n_units):
            largest = max(largest, abs(row[j]))
        # Squares must not overflow; what epsilon adds to such numbers is nothing.
        shrinkage = number(1) if largest < number(_LARGE) else number(1) / largest
        total = number(0)
        for j in range(n_units):
            row[j] *= shrinkage
            total += row[j]
        mean, total = share * total, number(0)
        for j in range(n_units):
            row[j] -= mean
            total += row[j] * row[j]
        factor = number(1) / np.sqrt(share * total + epsilon)
        for j in range(n_units):
            row[j] *= factor
        if kept.size:
            record = view(kept, i * (n_units + 1), n_units + 1)
            for j in range(n_units):
                record[j] = row[j]
            record[n_units] = factor * shrinkage
        for j in range(n_units):
            row[j] = scales[j] * row[j] + offsets[j]


@_BACKWARD.function
def normalise_backward(n_units, scale, parameters, kept, delta, grads):
    r"""Turn gradients with respect to y into those with respect to z, in place.

    .. math:: \frac{\partial L}{\partial z_j} = \frac1\sigma \left(g_j - \frac1n \sum_k g_k
              - \frac{\hat z_j}n \sum_k g_k \hat z_k\right), \qquad
              g_j = \gamma_j \frac{\partial L}{\partial y_j}

    Parameters
    ----------
    n_units : int
        Columns of `delta`.
    scale : float
        What the gradients of scales and offsets are multiplied by.
    parameters : ndarray of shape (2 * n_units,)
        As for `normalise`.
    kept : ndarray of shape (n_rows * (n_units + 1),)
        What that kept.
    delta : ndarray of shape (n_rows * n_units,)
        **Overwritten.**
    grads : ndarray of shape (2 * n_units,)
        The gradients of scales, :math:`\partial L/\partial y_j\, \hat z_j`, and of offsets are
        **added**.
    """
    number = delta.dtype.type
    scales, share = view(parameters, 0, n_units), number(1.0 / n_units)
    scale_grads, offset_grads = view(grads, 0, n_units), view(grads, n_units, n_units)
    for i in range(delta.size // n_units):
        row = view(delta, i * n_units, n_units)
        normal = view(kept, i * (n_units + 1), n_units)
        factor = kept[i * (n_units + 1) + n_units]
        total, product = number(0), number(0)
        for j in range(n_units):
            error = row[j]
            scale_grads[j] += scale * error * normal[j]
            offset_grads[j] += scale * error
            g = scales[j] * error
            row[j] = g
            total += g
            product += g * normal[j]
        mean, slope = share * total, share * product
        for j in range(n_units):
            row[j] = factor * (row[j] - mean - slope * normal[j])
