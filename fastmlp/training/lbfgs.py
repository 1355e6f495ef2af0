"""L-BFGS on the loss of all samples, by SciPy's minimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fastmlp.training.engine import Engine
from fastmlp.training.trainer import DivergenceError

__all__ = ["LbfgsResult", "fit_lbfgs"]


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
    is_interrupted : bool
        Whether the user interrupted; the parameters are then those of the last iteration.
    """

    loss: float
    n_iter: int
    status: int = 0
    message: str = ""
    is_interrupted: bool = False


def fit_lbfgs(
    engine: Engine,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    report: Callable[[str], None] | None = None,
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
    order = np.arange(engine.n_samples)
    accepted = engine.params.copy()
    loss, n_iter = np.nan, 0

    def evaluate(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        engine.params[:] = x
        value, gradient = engine.loss_and_gradient(order)
        return value, gradient.astype(np.float64)

    def note(intermediate_result: Any) -> None:
        nonlocal loss, n_iter
        accepted[:] = intermediate_result.x
        loss, n_iter = float(intermediate_result.fun), n_iter + 1
        if report:
            report(f"Iteration {n_iter}, loss = {loss:.8f}")

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
        return LbfgsResult(loss, n_iter, is_interrupted=True)
    if not (np.isfinite(result.fun) and np.isfinite(result.x.astype(accepted.dtype)).all()):
        engine.params[:] = accepted
        raise DivergenceError
    engine.params[:] = result.x
    return LbfgsResult(
        float(result.fun), min(result.nit, max_iter), int(result.status), str(result.message)
    )
