"""Fits that survive being killed: `Checkpoint` writes how far they are, `resume` goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from numpy.typing import ArrayLike

from fastmlp.estimators._model_file import remove_leftovers, write_model
from fastmlp.estimators._resuming import Resumed, Training
from fastmlp.estimators._samples import Source
from fastmlp.estimators.callbacks import Epoch
from fastmlp.model_file import read_file

__all__ = ["Checkpoint", "resume"]


@dataclass(frozen=True)
class Checkpoint:
    """A callback that writes to a file all that it takes to go on with a fit.

    Parameters
    ----------
    path : str or path-like
        The file, a model file that `fastmlp.load` reads, too. It is replaced as a whole: a process
        that is killed while it writes leaves the one before.
    every : int, default=1
        Epochs between two checkpoints, at least 1. There is one more when the fit ends by itself.

    Raises
    ------
    ValueError
        When `every` is no such number; during `partial_fit`, or with ``solver="lbfgs"``.
    TypeError
        During a fit with functions as parameters, which no file holds.

    See Also
    --------
    resume : Go on.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from fastmlp import Checkpoint, MLPRegressor, resume
    >>> X = np.random.RandomState(0).normal(size=(50, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/fit.fastmlp"
    ...     model = MLPRegressor(random_state=0, tol=0.1, callbacks=[Checkpoint(path, every=5)])
    ...     model = model.fit(X, X[:, 0])
    ...     same = resume(path, X, X[:, 0])
    >>> same.n_iter_ == model.n_iter_
    True
    """

    path: str | os.PathLike[str]
    every: int = 1

    def __post_init__(self) -> None:
        """Check the parameters."""
        every: Any = self.every
        if isinstance(every, bool) or not isinstance(every, Integral) or int(every) < 1:
            raise ValueError(f"every must be an int in the range [1, inf), got {every!r}.")

    def __call__(self, epoch: Epoch) -> None:
        """Write the file, if it is time to.

        Parameters
        ----------
        epoch : Epoch
            The epoch that has ended.
        """
        model = epoch.estimator
        training: Training | None = model.__dict__.get("_training")
        if training is None:
            raise ValueError(
                "Checkpoint is for fit, with any solver but 'lbfgs'. After partial_fit, which is "
                "one epoch, call save(path)."
            )
        if epoch.epoch % self.every and epoch.stop_reason is None:
            return
        state = {
            "order": training.order,
            "every": int(self.every),
            "digest": training.digest,
            "random_state": model._random_state,
        }
        if training.held_out is not None:
            state["held_out"] = training.held_out
        write_model(model, self.path, state)


def resume(
    path: str | os.PathLike[str],
    X: Any,
    y: Any,
    sample_weight: ArrayLike | None = None,
    *,
    X_val: Any = None,
    y_val: Any = None,
    sample_weight_val: ArrayLike | None = None,
    callbacks: Sequence[Callable[[Epoch], object]] = (),
) -> Any:
    """Go on with a fit from its last checkpoint, and end as it would have.

    Weights, optimizer, schedule, order of the samples, random numbers and early stopping are those
    of the checkpoint, so the result is the same to the last bit. Checkpoints go on to be written to
    the same file. A time limit begins anew.

    Parameters
    ----------
    path : str or path-like
        The file that a `Checkpoint` wrote; of a fit that is no longer running. It holds the
        parameters of the model, too.
    X, y, sample_weight, X_val, y_val, sample_weight_val : object
        What `fit` was called with.
    callbacks : sequence of callable, default=()
        Other callbacks than the checkpoint, which no file holds.

    Returns
    -------
    MLPClassifier or MLPRegressor
        The fitted model. If the fit had come to its end, that.

    Raises
    ------
    ModelFormatError
        If the file is none or is damaged.
    ValueError
        If it is a model but no checkpoint, or if the data are not those of the fit.
    OSError
        If it cannot be read.
    ImportError
        If the package safetensors is missing: ``pip install 'fastmlp[files]'``.
    """
    model, state = read_file(path)
    if state is None:
        raise ValueError(f"{path} is a model, but no checkpoint of a fit.")
    remove_leftovers(path)
    model.callbacks = [Checkpoint(path, state.pop("every")), *callbacks]
    resumed = Resumed(**state)
    if model.random_state is not None and not isinstance(model.random_state, Integral):
        model.random_state = resumed.random_state
    source, held_out = Source(X, y, sample_weight), Source(X_val, y_val, sample_weight_val)
    return model._fit(source, held_out, resumed)
