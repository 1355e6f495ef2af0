"""What the protections that are always on cost: fits with and without each, in turns.

Without one, what does it is exchanged for nothing, here alone: there is no such switch. Fits have
one thread, and what is measured is the time that it works. Each epoch is a call of its own, as
where somebody watches: in a call of several, protections cost less, and some cannot be taken away.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
from workloads import WORKLOADS, make_task

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.estimators import _base
from fastmlp.training import engine, trainer

__all__ = ["PROTECTIONS", "measure"]

SECONDS = 0.15  # of a fit
NAMES = ("tiny", "digits", "tabular", "full-batch", "stochastic-small")


@contextmanager
def _exchanged(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextmanager
def _without_slices() -> Iterator[None]:
    """Let every epoch be one call of a kernel, during which no signal is noticed."""
    enter = engine.Engine.__enter__

    def enter_without(self: Any) -> Any:
        self._batches_per_call = self._samples_per_call = self.n_batches
        return enter(self)

    with (
        _exchanged(engine.Engine, "__enter__", enter_without),
        _exchanged(engine, "_SECONDS_PER_CALL", 1e6),
    ):
        yield


PROTECTIONS = {
    "look at the fitted network": lambda: _exchanged(_base.BaseMLP, "_look", lambda *_: None),
    "check and copy of the parameters": lambda: _exchanged(
        trainer, "_keep_if_finite", lambda *_: True
    ),
    "calls short enough for Ctrl-C": _without_slices,
    "callbacks": lambda: _exchanged(_base, "watched", lambda *_: nullcontext()),
    "budget of threads": lambda: _exchanged(
        engine, "reserve_threads", lambda n_jobs, useful: nullcontext(1)
    ),
}
"""What is on by default, and how to do without it."""


@contextmanager
def _without(names: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(PROTECTIONS[name]())
        yield


def measure(is_quick: bool) -> list[dict[str, Any]]:
    """Fit with all protections, without any and without each, in turns, in one process.

    Parameters
    ----------
    is_quick : bool
        Whether few fits of the smallest workload will do.

    Returns
    -------
    list of dict
        For each workload: epochs per fit, seconds of each fit with all protections, and ratios to
        them of the fits without one or all, and of a second series with all, which tells the noise.
    """
    with _exchanged(engine, "_MOST_EPOCHS_PER_CALL", 1):
        return _measure(is_quick)


def _measure(is_quick: bool) -> list[dict[str, Any]]:
    n_rounds, results = 3 if is_quick else 41, []
    for name in NAMES[: 1 if is_quick else None]:
        workload = WORKLOADS[name]
        task = make_task(workload, "float32")
        parameters = {**workload.estimator_parameters(), "n_jobs": 1}
        _seconds(parameters, task, 20)  # compiles
        per_epoch = _seconds(parameters, task, 20) / 20
        epochs = 20 if is_quick else max(20, round(SECONDS / per_epoch))
        variants = {"nothing": (), "all": tuple(PROTECTIONS)} | {
            protection: (protection,) for protection in PROTECTIONS
        }
        seconds: dict[str, list[float]] = {variant: [] for variant in ("with", *variants)}
        for number in range(n_rounds + 1):
            # Each is as often early as late.
            order = list(seconds) if number % 2 else list(seconds)[::-1]
            for variant in order:
                with _without(variants.get(variant, ())):
                    new = _seconds(parameters, task, epochs)
                if number:  # the first round warms up
                    seconds[variant].append(new)
        base = np.array(seconds["with"])
        results.append(
            {
                "workload": name,
                "epochs": epochs,
                "ms": float(np.median(base)) * 1e3,
                "ratios": {
                    variant: [float(ratio) for ratio in base / seconds[variant]]
                    for variant in variants
                },
            }
        )
    return results


def _seconds(parameters: dict[str, Any], task: Any, epochs: int) -> float:
    kind = MLPRegressor if task.workload.loss == "squared" else MLPClassifier
    model = kind(**parameters, max_iter=epochs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.thread_time()
        model.fit(task.X, task.y)
        return time.thread_time() - started
