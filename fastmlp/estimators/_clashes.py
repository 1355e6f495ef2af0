"""What does not go together: parameters with each other, with `partial_fit`, with validation data.

Where two features clash there is an error, never silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

__all__ = ["refuse_clashes"]


def refuse_clashes(
    estimator: Any, plan_names: Sequence[str], held_out: tuple[Any, Any, Any] | None
) -> None:
    """Refuse what does not go together.

    Parameters
    ----------
    estimator : estimator
        Its parameters are valid by themselves.
    plan_names : sequence of str
        The choices for ``learning_rate`` that need to know the number of steps.
    held_out : (X_val, y_val, sample_weight_val) or None
        As passed to `fit`; None in `partial_fit`.

    Raises
    ------
    ValueError
        For the first clash.
    """
    learning_rate, warmup_steps = estimator.learning_rate, estimator.warmup_steps
    has_plan = isinstance(learning_rate, str) and learning_rate in plan_names
    if estimator.solver == "lbfgs":
        if has_plan or callable(learning_rate):
            raise ValueError(
                f"learning_rate={learning_rate!r} needs a stochastic solver; solver='lbfgs' finds "
                "the length of each step itself."
            )
        if warmup_steps:
            raise ValueError(
                f"warmup_steps={warmup_steps} needs a stochastic solver; solver='lbfgs' has no "
                "learning rate."
            )
        _refuse_with_lbfgs(estimator)
    if has_plan and learning_rate == "one_cycle" and warmup_steps:
        raise ValueError(
            f"warmup_steps={warmup_steps} cannot be combined with learning_rate='one_cycle', which "
            "has its own rise."
        )
    if held_out is None:
        _refuse_in_partial_fit(estimator, has_plan)
        return
    X_val, y_val, sample_weight_val = held_out
    if (X_val is None) != (y_val is None):
        given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{given} is provided, but {missing} was not provided.")
    if X_val is None and sample_weight_val is not None:
        raise ValueError("sample_weight_val is provided, but X_val was not provided.")
    if X_val is not None and estimator.solver == "lbfgs":
        raise ValueError(
            "X_val and y_val are passed to fit, but solver='lbfgs' makes no use of validation data."
        )


def _refuse_with_lbfgs(estimator: Any) -> None:
    reasons = {
        "dropout": (np.any(estimator.dropout), "searches along a line of one and the same loss"),
        "l1": (estimator.l1 > 0, "needs a loss without corners"),
        "max_grad_norm": (estimator.max_grad_norm is not None, "needs the gradient as it is"),
    }
    for name, (is_set, reason) in reasons.items():
        if is_set:
            raise ValueError(
                f"{name}={getattr(estimator, name)!r} needs a stochastic solver; solver='lbfgs' "
                f"{reason}."
            )


def _refuse_in_partial_fit(estimator: Any, has_plan: bool) -> None:
    if estimator.early_stopping:
        raise ValueError("partial_fit does not support early_stopping=True")
    if has_plan:
        raise ValueError(
            f"partial_fit does not support learning_rate={estimator.learning_rate!r}, which needs "
            "to know the number of steps. Pass a callable that maps the step to the rate."
        )
    if not isinstance(estimator.warmup_steps, Integral):
        raise ValueError(
            f"partial_fit does not support warmup_steps={estimator.warmup_steps}, a share of all "
            "steps, whose number it does not know. Pass an int."
        )
    class_weight = getattr(estimator, "class_weight", None)
    if "balanced" in (class_weight if isinstance(class_weight, list) else [class_weight]):
        raise ValueError(
            "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' "
            "weights, use compute_class_weight('balanced', classes=classes, y=y). In place of y "
            "you can use a large enough sample of the full training set target to properly "
            "estimate the class frequency distributions. Pass the resulting weights as the "
            "class_weight parameter."
        )
