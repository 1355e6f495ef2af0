"""Warnings that point to the code of the user."""

from __future__ import annotations

import sys
import warnings

from sklearn.exceptions import ConvergenceWarning

from fastmlp.training.lbfgs import LbfgsResult

__all__ = ["warn", "warn_of_lbfgs"]


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn whoever called `fit`, however many frames of ours are in between.

    Parameters
    ----------
    message : str
        The text.
    category : type, default=UserWarning
        The kind of warning.
    """
    frame, level = sys._getframe(), 1
    # Code that is executed from a string may have no module.
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith(
        ("fastmlp.", "sklearn.callback")
    ):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warn_of_lbfgs(result: LbfgsResult, max_iter: int) -> None:
    """Warn that L-BFGS did not converge, in scikit-learn's words.

    Parameters
    ----------
    result : LbfgsResult
        How it ended.
    max_iter : int
        Largest number of iterations.
    """
    advice = ""
    if result.n_iter == max_iter:
        advice = (
            f"\nIncrease the number of iterations to improve the convergence (max_iter={max_iter})."
        )
    warn(
        f"lbfgs failed to converge after {result.n_iter} iteration(s) "
        f"(status={result.status}):\n{result.message}\n{advice}"
        "\nYou might also want to scale the data as shown in:\n"
        "    https://scikit-learn.org/stable/modules/preprocessing.html",
        ConvergenceWarning,
    )
