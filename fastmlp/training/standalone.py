"""A trained network as one compiled function, for callers that are compiled themselves."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.dense import dense_forward
from fastmlp.kernels.normalization import normalise
from fastmlp.training.network import NetworkLayout

__all__ = ["standalone_forward"]


def standalone_forward(layout: NetworkLayout, params: NDArray[Any]) -> Any:
    """Compile a network whose parameters are constants of the code.

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    params : ndarray of shape (n_params,)
        Its parameters. Copied: later training does not change the function.

    Returns
    -------
    numba.core.registry.CPUDispatcher
        ``forward(X)``, with `X` of shape (n_samples, n_features), C-contiguous, of the dtype of
        the parameters and not checked for anything, returns the outputs, of shape (n_samples,
        n_outputs). It can be called from compiled code and from Python, and from several threads
        at once. Pickle the model, not this.
    """
    coefs, intercepts = layout.unpack(params.copy())
    slopes = layout.slope_values(params)
    norms = dict(zip(layout.normalised, layout.unpack_norms(params.copy()), strict=True))
    forward = _flatten
    for layer, name in enumerate(layout.activations):
        forward = _add_layer(
            forward,
            np.ascontiguousarray(coefs[layer]).reshape(-1),
            intercepts[layer],
            np.concatenate(norms.get(layer, (intercepts[layer][:0],))),
            ACTIVATIONS[name].forward.compiled,
            params.dtype.type(np.nan_to_num(slopes[layer])),
        )
    n_features, n_outputs = layout.units[0], layout.units[-1]
    last = forward

    @numba.njit(nogil=True)
    def call(X):  # type: ignore[no-untyped-def]
        if X.shape[1] != n_features:
            raise ValueError("X has another number of features than the network was trained on.")
        return last(X).reshape((X.shape[0], n_outputs))

    return call


@numba.njit(nogil=True)
def _flatten(X):  # type: ignore[no-untyped-def]
    return X.reshape(-1)


def _add_layer(
    before: Any,
    weights: NDArray[Any],
    biases: NDArray[Any],
    norms: NDArray[Any],
    activate: Any,
    slope: Any,
) -> Any:
    """Return a compiled function that runs `before` and then one more layer."""
    fan_out = biases.size
    fan_in = weights.size // fan_out
    is_normalised = norms.size > 0
    normalise_rows = normalise.compiled

    @numba.njit(nogil=True)
    def forward(X):  # type: ignore[no-untyped-def]
        a = before(X)
        n_rows = X.shape[0]
        z = np.empty(n_rows * fan_out, a.dtype)
        dense_forward(0, n_rows, fan_in, fan_in, fan_out, a, weights, biases, z, z[:0])
        if is_normalised:
            normalise_rows(fan_out, norms, z, z[:0])
        activate(fan_out, slope, z)
        return z

    return forward
