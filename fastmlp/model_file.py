"""Saved models: ``model.save(path)`` writes them, `load` reads them and executes nothing."""

from __future__ import annotations

import os
from typing import Any

from fastmlp.estimators._model_file import ModelFormatError, read_model
from fastmlp.estimators.classifier import MLPClassifier
from fastmlp.estimators.regressor import MLPRegressor

__all__ = ["ModelFormatError", "load"]

CLASSES = {cls.__name__: cls for cls in (MLPClassifier, MLPRegressor)}


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model that ``model.save(path)`` wrote.

    Nothing in the file is executed, whoever made it. It is checked before anything is taken from
    it, and takes no more memory than a few times its size.

    Parameters
    ----------
    path : str or path-like
        The file; a checkpoint is one, too.

    Returns
    -------
    MLPClassifier or MLPRegressor
        The model. It predicts the same to the last bit, and `partial_fit` goes on as it would have
        with the model that was saved. ``callbacks`` is None: they are not stored.

    Raises
    ------
    ModelFormatError
        If it is no such file, is damaged, or is of a newer format.
    OSError
        If it cannot be read.
    ImportError
        If the package safetensors is missing: ``pip install 'fastmlp[files]'``.

    Examples
    --------
    >>> import tempfile
    >>> import fastmlp
    >>> model = fastmlp.MLPRegressor(tol=0.1).fit([[0.0], [1.0]], [0.0, 1.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/line.fastmlp")
    ...     same = fastmlp.load(f"{folder}/line.fastmlp")
    >>> bool((same.predict([[0.5]]) == model.predict([[0.5]])).all())
    True
    """
    model, _ = read_file(path)
    return model


def read_file(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Any] | None]:
    """Read a model, and the rest of a checkpoint.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    model : MLPClassifier or MLPRegressor
        As from `load`.
    checkpoint : dict or None
        What else a checkpoint holds; None for other files.
    """
    return read_model(path, CLASSES)
