"""What a fit is doing, for a checkpoint of it, and how another process goes on from there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.estimators._samples import Samples
from fastmlp.training.data import Indices

__all__ = ["Resumed", "Training"]


@dataclass(frozen=True)
class Resumed:
    """Where a fit goes on.

    Attributes
    ----------
    order : ndarray of int32
        The samples that are trained on, in the order of the last epoch.
    held_out : ndarray of int32 or None
        The samples that were split off.
    random_state : numpy.random.RandomState
        After that epoch.
    digest : str
        Of the data.
    """

    order: Indices
    held_out: Indices | None
    random_state: np.random.RandomState
    digest: str


@dataclass(frozen=True)
class Training:
    """A fit that is under way.

    Attributes
    ----------
    samples : Samples
        All samples.
    validation : Samples or None
        Those of the user that are held out.
    order : ndarray of int32
        The samples that are trained on, in the order of the current epoch.
    held_out : ndarray of int32 or None
        The samples that were split off.
    """

    samples: Samples
    validation: Samples | None
    order: Indices
    held_out: Indices | None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that is trained on or validated with."""
        result = hashlib.sha256()
        for samples in (self.samples, self.validation):
            for array in [] if samples is None else _arrays(samples):
                result.update(repr((str(array.dtype), array.shape)).encode())
                result.update(np.ascontiguousarray(array).data)
        return result.hexdigest()

    def check(self, resumed: Resumed) -> None:
        """Refuse other data than those of the checkpoint.

        Parameters
        ----------
        resumed : Resumed
            The checkpoint.

        Raises
        ------
        ValueError
            If they differ in any bit.
        """
        n_samples = sum(
            indices.size for indices in (self.order, self.held_out) if indices is not None
        )
        if self.digest != resumed.digest or n_samples != self.samples.X.shape[0]:
            raise ValueError(
                "X, y, sample_weight and the validation data must be those of the fit that the "
                "checkpoint was made of, to the last bit; they are not."
            )


def _arrays(samples: Samples) -> list[NDArray[Any]]:
    X = samples.X
    inputs = [X] if isinstance(X, np.ndarray) else [X.data, X.indices, X.indptr]
    weights = [] if samples.weights is None else [samples.weights]
    return [*inputs, samples.targets, *weights]
