"""A fitted network: its parameters as one vector, predictions, copies, files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import check_is_fitted, validate_data

from fastmlp.estimators._model_file import write_model
from fastmlp.training.data import kernel_data
from fastmlp.training.network import NetworkLayout
from fastmlp.training.predictor import Predictor
from fastmlp.training.standalone import standalone_forward

__all__ = ["FittedMixin", "in_kernel_form"]

Floats = NDArray[Any]


def in_kernel_form(X: Any, dtype: np.dtype[Any]) -> Any:
    """Return validated inputs as kernels take them.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        What `validate_data` returned.
    dtype : {numpy.float32, numpy.float64}
        The compute dtype.

    Returns
    -------
    {ndarray, CSR matrix} of shape (n_samples, n_features)
        C-contiguous, or without duplicates; X itself if it is that.

    Raises
    ------
    ValueError
        If a number is too large for `dtype`.
    """
    if issparse(X):
        X = X.tocsr()
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
    if X.dtype == dtype:
        return X
    with np.errstate(over="ignore"):
        converted = X.astype(dtype)
    values = converted.data if issparse(X) else converted
    if X.dtype.kind == "f" and X.dtype.itemsize > dtype.itemsize and not np.isfinite(values).all():
        raise ValueError(f"Input X contains infinity or a value too large for {dtype!r}.")
    return converted


class FittedMixin:
    """What an estimator can do once it is fitted, besides what makes it a classifier or regressor.

    The parameters are one flat vector, on which `coefs_` and `intercepts_` are views.
    """

    # The estimators have these.
    n_jobs: int | None
    activation_slopes_: list[float]
    norm_scales_: list[Floats]
    norm_offsets_: list[Floats]
    _layout: NetworkLayout

    # -- the flat vector ----------------------------------------------------------------------

    def _hold(self, params: Floats) -> None:
        """Take a flat vector as the model's parameters, with `coefs_`, `intercepts_` as views."""
        self._params, self._predictor = params, Predictor(self._layout, params)
        self.coefs_, self.intercepts_ = self._layout.unpack(params)
        if self._layout.normalised:
            pairs = self._layout.unpack_norms(params)
            self.norm_scales_ = [scales for scales, _ in pairs]
            self.norm_offsets_ = [offsets for _, offsets in pairs]

    def _parameters(self) -> Floats:
        """Return the flat vector, after taking over what the user put into `coefs_`.

        Assigning to an element of `coefs_` replaces a view by another array, and so does copying
        or unpickling the model.
        """
        if self._holds_parameters():
            return self._params
        slopes = np.array([self.activation_slopes_[i] for i in self._layout.learned_slopes])
        norms = list(zip(*self._norms(), strict=True))
        params = self._layout.pack(
            self.coefs_, self.intercepts_, slopes, self.coefs_[0].dtype, norms
        )
        self._hold(params)
        return params

    def _norms(self) -> tuple[list[Floats], list[Floats]]:
        """Return scales and offsets of the normalised layers, empty lists where there are none."""
        if not self._layout.normalised:
            return [], []
        return self.norm_scales_, self.norm_offsets_

    def _holds_parameters(self) -> bool:
        """Return whether `coefs_` and its kin still are views on the flat vector."""
        params = self.__dict__.get("_params")
        if params is None:
            return False
        base = params.base
        # Plain loops: this is a good part of what one row takes.
        for arrays in (self.coefs_, self.intercepts_, *self._norms()):
            for array in arrays:
                if array.base is not base:
                    return False
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to copy or pickle, each parameter once.

        Returns
        -------
        dict
            Everything but the flat vector and what is built on it.
        """
        inherited: Any = super().__getstate__()
        state: dict[str, Any] = dict(inherited)
        state.pop("_params", None)
        state.pop("_predictor", None)
        state.pop("_training", None)
        return state

    # -- prediction ---------------------------------------------------------------------------

    def _outputs(self, X: Any) -> Floats:
        """Return the outputs for X, of shape (n_samples, n_outputs)."""
        # scikit-learn's checks take longer than a small network. Names of features, which a plain
        # array lacks, are theirs to complain of.
        predictor = self.__dict__.get("_predictor")
        if (
            predictor is not None
            and "feature_names_in_" not in self.__dict__
            and predictor.accepts(X)
            and self._holds_parameters()
        ):
            outputs: Floats | None = predictor.outputs(X, self.n_jobs)
            if outputs is not None:
                return outputs
        X = self._checked_inputs(X)
        return self._predictor(kernel_data(X, X.dtype), n_jobs=self.n_jobs)

    def _checked_inputs(self, X: Any) -> Any:
        """Return the inputs of a fitted model in kernel form and the parameters' dtype."""
        check_is_fitted(self)
        dtype = self._parameters().dtype
        X = validate_data(self, X, accept_sparse=["csr", "csc"], order="C", reset=False)
        return in_kernel_form(X, dtype)

    def to_numba(self) -> Any:
        """Return the fitted network as a compiled function, for code that is compiled itself.

        Returns
        -------
        numba.core.registry.CPUDispatcher
            ``forward(X)`` returns the outputs for X, an array of shape (n_samples, n_outputs):
            predictions; for a classifier probabilities, of the second class alone where there are
            two. X is a C-contiguous array of shape (n_samples, n_features), of the dtype that the
            model was trained in, and is checked for nothing but its number of columns. The
            parameters are those of now, whatever becomes of the model. Several threads may call it
            at once. Pickle the model, not this.

        Examples
        --------
        >>> import numba
        >>> import numpy as np
        >>> from fastmlp import MLPRegressor
        >>> X = np.random.RandomState(0).normal(size=(100, 2))
        >>> model = MLPRegressor(solver="lbfgs", random_state=0).fit(X, X[:, 0] * X[:, 1])
        >>> forward = model.to_numba()
        >>> @numba.njit
        ... def largest(X):
        ...     return forward(X).max()
        >>> bool(np.isclose(largest(X), model.predict(X).max()))
        True
        """
        check_is_fitted(self)
        return standalone_forward(self._layout, self._parameters())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a file that `fastmlp.load` reads.

        Arrays are stored as safetensors, all else as JSON, and nothing as code. The file holds the
        parameters, what was fitted, and the state of the optimizer: `partial_fit` goes on as it
        would have here. `callbacks` are left out.

        Parameters
        ----------
        path : str or path-like
            The file. It is replaced as a whole or not at all.

        Raises
        ------
        TypeError
            If a parameter is a function or a label is no number, string or date.
        ImportError
            If the package safetensors is missing: ``pip install 'fastmlp[files]'``.
        """
        write_model(self, path)
