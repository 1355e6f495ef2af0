"""L-BFGS on the loss of all samples, by SciPy's minimizer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fastmlp.training.data import sample_numbers
from fastmlp.training.engine import Engine
from fastmlp.training.trainer import DivergenceError, Stop

__all__ = ["LbfgsResult", "fit_lbfgs"]

# What SciPy's status means; 1 is too many iterations or evaluations.
_STOPS = {0: Stop.CONVERGED, 1: Stop.MAX_ITER}


@dataclass(frozen=True)
class LbfgsResult:
    """How the minimizer ended.

    Attributes
    ----------
    loss : float
        Smallest loss found.
    n_iter : int
        Iterations.
    status : int
        SciPy's status, 0 for success.
    message : str
        SciPy's message.
    stop : Stop
        Why it ended. After an interrupt the parameters are those of the last iteration.
    """

    loss: float
    n_iter: int
    status: int = 0
    message: str = ""
    stop: Stop = Stop.CONVERGED

    @property
    def is_interrupted(self) -> bool:
        """Whether the user interrupted."""
        return self.stop is Stop.INTERRUPTED


def fit_lbfgs(
    engine: Engine,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    report: Callable[[str], None] | None = None,
    time_limit: float | None = None,
    after_iteration: Callable[[int, float], bool] | None = None,
) -> LbfgsResult:
    """Minimize the loss of all samples.

    Parameters
    ----------
    engine : Engine
        An engine that was entered, whose optimizer is ``"no_step"`` and whose batch holds all
        samples. Its parameters are **overwritten** by the best found.
    max_iter, max_fun : int
        Largest number of iterations and of evaluations.
    tol : float
        Stop when no component of the projected gradient is larger.
    report : callable or None
        Gets a line of text for the user after each iteration.
    time_limit : float or None
        Seconds after which no further iteration is begun.
    after_iteration : callable or None
        Called with number and loss of each iteration, when the engine's parameters are those it
        found. The search ends if it returns True.

    Returns
    -------
    LbfgsResult
        How it ended.

    Raises
    ------
    DivergenceError
        If the loss is not finite at the start or at the end.

    References
    ----------
    Byrd, Lu, Nocedal and Zhu (1995), "A Limited Memory Algorithm for Bound Constrained
    Optimization".
    """
    order = sample_numbers(0, engine.n_samples)
    accepted = engine.params.copy()
    loss, n_iter, wish = np.nan, 0, None
    started = time.perf_counter()

    def evaluate(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        engine.params[:] = x
        value, gradient = engine.loss_and_gradient(order)
        return value, gradient.astype(np.float64)

    def note(intermediate_result: Any) -> None:
        nonlocal loss, n_iter, wish
        accepted[:] = intermediate_result.x
        loss, n_iter = float(intermediate_result.fun), n_iter + 1
        if report:
            report(f"Iteration {n_iter}, loss = {loss:.8f}")
        is_over = time_limit is not None and time.perf_counter() - started >= time_limit
        if is_over and n_iter < max_iter:
            wish = Stop.TIME_LIMIT
        if after_iteration is not None:
            engine.params[:] = accepted
            if after_iteration(n_iter, loss):
                wish = Stop.CALLBACK
        if wish is not None:
            raise StopIteration

    try:
        result = minimize(
            evaluate,
            engine.params.astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            callback=note,
            options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
        )
    except KeyboardInterrupt:
        engine.params[:] = accepted
        return LbfgsResult(loss, n_iter, stop=Stop.INTERRUPTED)
    if not (np.isfinite(result.fun) and np.isfinite(result.x.astype(accepted.dtype)).all()):
        engine.params[:] = accepted
        raise DivergenceError
    engine.params[:] = result.x
    n_iter, status = min(result.nit, max_iter), int(result.status)
    stop = wish or _STOPS.get(status, Stop.ABNORMAL)
    return LbfgsResult(float(result.fun), n_iter, status, str(result.message), stop)
