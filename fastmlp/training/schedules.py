"""Learning-rate schedules: the rate of each step, and what happens on a plateau."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCHEDULES", "Adaptive", "Constant", "InverseScaling"]


@dataclass
class Constant:
    r"""The same rate throughout, :math:`\eta_t = \eta_0`.

    Parameters
    ----------
    initial : float
        Initial rate.
    power_t : float
        Exponent of inverse scaling.
    """

    initial: float
    power_t: float

    def __post_init__(self) -> None:
        """Start at the initial rate."""
        self.rate = float(self.initial)

    def rates(self, n_batches: int) -> NDArray[np.float64]:
        """Return the rates of the next epoch.

        Parameters
        ----------
        n_batches : int
            Steps per epoch.

        Returns
        -------
        ndarray of float64, shape (n_batches,)
            One per step.
        """
        return np.full(n_batches, self.rate)

    def after_epoch(self, samples_seen: int) -> None:
        """Note the end of an epoch.

        Parameters
        ----------
        samples_seen : int
            Samples trained on so far.
        """

    def on_plateau(self) -> str:
        """Answer that there was no improvement for too long.

        Returns
        -------
        str
            What is done about it, for the user; it ends with "Stopping." if training ends.
        """
        return "Stopping."


class InverseScaling(Constant):
    r"""A rate that falls with the number of samples seen, :math:`\eta_0 / (t + 1)^p`.

    Parameters
    ----------
    initial : float
        Initial rate.
    power_t : float
        The exponent p.
    """

    def after_epoch(self, samples_seen: int) -> None:
        """Lower the rate.

        Parameters
        ----------
        samples_seen : int
            Samples trained on so far.
        """
        self.rate = float(self.initial) / (samples_seen + 1) ** self.power_t


class Adaptive(Constant):
    """A rate that is divided by 5 on each plateau, until it is at most 1e-6.

    Parameters
    ----------
    initial : float
        Initial rate.
    power_t : float
        Not used.
    """

    def on_plateau(self) -> str:
        """Lower the rate, or stop.

        Returns
        -------
        str
            What is done.
        """
        if self.rate <= 1e-6:
            return "Learning rate too small. Stopping."
        self.rate /= 5.0
        return f"Setting learning rate to {self.rate:f}"


SCHEDULES: dict[str, type[Constant]] = {
    "constant": Constant,
    "invscaling": InverseScaling,
    "adaptive": Adaptive,
}
