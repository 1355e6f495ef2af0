"""Learning-rate schedules: the rate of each step, and what happens on a plateau.

scikit-learn's own, `SCHEDULES`, change the rate between epochs and know no end. Those of `PLANS`
are functions of the step and of the number of steps of the whole fit; they work with every
stochastic solver, and so does any callable that maps a step to a rate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PLANS",
    "SCHEDULES",
    "Adaptive",
    "Constant",
    "InverseScaling",
    "PerStep",
    "Planned",
    "Schedule",
    "WarmUp",
    "cosine",
    "make_schedule",
    "one_cycle",
    "step_decay",
]

Rates = NDArray[np.float64]


class Schedule(ABC):
    """The rate of each step; the loop over epochs asks for it epoch by epoch.

    Attributes
    ----------
    is_steady : bool
        Whether all steps have the same rate until there is a plateau.
    """

    is_steady = False

    @abstractmethod
    def rates(self, n_batches: int) -> Rates:
        """Return the rates of the next epoch.

        Parameters
        ----------
        n_batches : int
            Steps per epoch.

        Returns
        -------
        ndarray of float64, shape (n_batches,) or (1,)
            One per step, or that of all.
        """

    def after_epoch(self, samples_seen: int) -> None:  # noqa: B027
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


@dataclass
class Constant(Schedule):
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

    is_steady = True

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
        ndarray of float64, shape (1,)
            That of all steps.
        """
        return np.array([self.rate])


class InverseScaling(Constant):
    r"""A rate that falls with the number of samples seen, :math:`\eta_0 / (t + 1)^p`.

    Parameters
    ----------
    initial : float
        Initial rate.
    power_t : float
        The exponent p.
    """

    is_steady = False

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


# --------------------------------------------------------------------------------------
# Functions of the step
# --------------------------------------------------------------------------------------


def cosine(step: NDArray[np.int64], n_steps: int) -> Rates:
    r"""Fall along half a period of a cosine, :math:`(1 + \cos(\pi t / T)) / 2`.

    Parameters
    ----------
    step : ndarray of int64
        Steps t from 0.
    n_steps : int
        Number of steps T, at least 1.

    Returns
    -------
    ndarray of float64
        What the peak rate is multiplied by, from 1 to almost 0.

    References
    ----------
    Loshchilov and Hutter (2017), "SGDR: Stochastic Gradient Descent with Warm Restarts", without
    the restarts.
    """
    factors: Rates = 0.5 * (1.0 + np.cos(np.pi * step / n_steps))
    return factors


def one_cycle(step: NDArray[np.int64], n_steps: int) -> Rates:
    """Rise once and fall for longer.

    From 1/25 to 1 in the first 30 % of the steps, then down to 1/250000 at the last, both along
    half a period of a cosine.

    Parameters
    ----------
    step : ndarray of int64
        Steps from 0.
    n_steps : int
        Number of steps, at least 1.

    Returns
    -------
    ndarray of float64
        What the peak rate is multiplied by.

    Notes
    -----
    The shape is the default of PyTorch's ``OneCycleLR``. Momentum is left alone.

    References
    ----------
    Smith and Topin (2018), "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates".
    """
    peak, low, end = 0.3 * n_steps - 1.0, 1 / 25, 1 / 250_000
    rise = 1.0 + (low - 1.0) * 0.5 * (1.0 + np.cos(np.pi * step / peak))
    fall = end + (1.0 - end) * 0.5 * (1.0 + np.cos(np.pi * (step - peak) / (n_steps - 1.0 - peak)))
    return np.where(step <= peak, rise, fall)


def step_decay(step: NDArray[np.int64], n_steps: int) -> Rates:
    """Fall to a tenth after half of the steps, and to a hundredth after three quarters.

    Parameters
    ----------
    step : ndarray of int64
        Steps from 0.
    n_steps : int
        Number of steps, at least 1.

    Returns
    -------
    ndarray of float64
        What the peak rate is multiplied by.

    References
    ----------
    He et al. (2016), "Deep Residual Learning for Image Recognition", section 4.2.
    """
    return np.where(2 * step < n_steps, 1.0, np.where(4 * step < 3 * n_steps, 0.1, 0.01))


PLANS: dict[str, Callable[[NDArray[np.int64], int], Rates]] = {
    "cosine": cosine,
    "one_cycle": one_cycle,
    "step": step_decay,
}


@dataclass
class Planned(Schedule):
    """A rate that runs through a plan, of which the end is known.

    Parameters
    ----------
    plan : callable
        One of `PLANS`.
    peak : float
        Largest rate.
    n_steps : int
        Steps of the plan.
    step : int, default=0
        Next step; negative ones have the rate of step 0.
    """

    plan: Callable[[NDArray[np.int64], int], Rates]
    peak: float
    n_steps: int
    step: int = 0

    def rates(self, n_batches: int) -> Rates:
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
        steps = np.arange(self.step, self.step + n_batches)
        self.step += n_batches
        steps = np.minimum(np.maximum(steps, 0), self.n_steps - 1)
        rates: Rates = self.peak * self.plan(steps, self.n_steps)
        return rates


@dataclass
class PerStep(Schedule):
    """A rate that is any function of the step.

    Parameters
    ----------
    function : callable
        Maps the number of a step, an int from 0, to its rate.
    step : int, default=0
        Next step.
    """

    function: Callable[[int], float]
    step: int = 0

    def rates(self, n_batches: int) -> Rates:
        """Return the rates of the next epoch.

        Parameters
        ----------
        n_batches : int
            Steps per epoch.

        Returns
        -------
        ndarray of float64, shape (n_batches,)
            One per step.

        Raises
        ------
        ValueError
            If the function returns something else than a finite number that is not negative.
        """
        first, self.step = self.step, self.step + n_batches
        values = [self.function(step) for step in range(first, self.step)]
        try:
            rates = np.array(values, np.float64)
        except (TypeError, ValueError):
            rates = np.array([])
        if rates.shape == (n_batches,) and rates.min() >= 0 and rates.max() < np.inf:
            return rates
        for step, value in enumerate(values, first):
            if not _is_rate(value):
                raise ValueError(
                    "learning_rate must return a finite number that is not negative for every "
                    f"step, got {value!r} for step {step}."
                )
        return np.array([float(value) for value in values])


@dataclass
class WarmUp(Schedule):
    r"""Another schedule behind a linear rise: step t has :math:`(t + 1) / T` of its rate.

    Parameters
    ----------
    schedule : Schedule
        The other one. **Overwritten** as training proceeds.
    n_steps : int
        Steps T of the rise, at least 1.
    step : int, default=0
        Next step.

    References
    ----------
    Goyal et al. (2017), "Accurate, Large Minibatch SGD", section 2.2.
    """

    schedule: Schedule
    n_steps: int
    step: int = 0

    def rates(self, n_batches: int) -> Rates:
        """Return the rates of the next epoch.

        Parameters
        ----------
        n_batches : int
            Steps per epoch.

        Returns
        -------
        ndarray of float64, shape (n_batches,) or (1,)
            One per step, or that of all.
        """
        rates = self.schedule.rates(n_batches)
        if self.step < self.n_steps:
            done = np.arange(self.step + 1, self.step + 1 + n_batches) / self.n_steps
            rates = rates * np.minimum(done, 1.0)
        self.step += n_batches
        return rates

    def after_epoch(self, samples_seen: int) -> None:
        """Note the end of an epoch.

        Parameters
        ----------
        samples_seen : int
            Samples trained on so far.
        """
        self.schedule.after_epoch(samples_seen)

    def on_plateau(self) -> str:
        """Do as the other schedule does.

        Returns
        -------
        str
            What is done.
        """
        return self.schedule.on_plateau()


def make_schedule(
    learning_rate: str | Callable[[int], float],
    initial: float,
    power_t: float,
    *,
    n_steps: int,
    warmup_steps: float = 0,
) -> Schedule:
    """Return the schedule of a fit.

    Parameters
    ----------
    learning_rate : str or callable
        A name in `SCHEDULES` or `PLANS`, or what maps a step to its rate.
    initial : float
        Initial rate, or the peak of a plan. Not used with a callable.
    power_t : float
        Exponent of inverse scaling.
    n_steps : int
        Steps of the whole fit, all epochs together.
    warmup_steps : int or float, default=0
        Steps of a linear rise before, or a share of `n_steps` where it is no integer. A plan then
        has the remaining steps.

    Returns
    -------
    Schedule
        At its first step.

    Raises
    ------
    ValueError
        If `warmup_steps` leaves no step to a plan.
    """
    is_count = isinstance(warmup_steps, Integral)
    n_warmup = int(warmup_steps) if is_count else round(float(warmup_steps) * n_steps)
    schedule: Schedule
    if not isinstance(learning_rate, str):
        schedule = PerStep(learning_rate)
    elif learning_rate in SCHEDULES:
        schedule = SCHEDULES[learning_rate](initial, power_t)
    else:
        if n_warmup >= n_steps:
            raise ValueError(
                f"warmup_steps={warmup_steps} leaves no step to learning_rate={learning_rate!r}: "
                f"this fit has {n_steps} in all."
            )
        plan = PLANS[learning_rate]
        schedule = Planned(plan, float(initial), n_steps - n_warmup, step=-n_warmup)
    return WarmUp(schedule, n_warmup) if n_warmup else schedule


def _is_rate(value: Any) -> bool:
    try:
        return 0 <= float(value) < np.inf
    except (TypeError, ValueError):
        return False
