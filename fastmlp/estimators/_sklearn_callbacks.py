"""scikit-learn's callbacks: ``MLPClassifier().set_callbacks(ProgressBar())``.

The API is scikit-learn's newest and may yet change: without it, estimators have no
``set_callbacks`` and all else is as ever. A fit is a task whose subtasks are its epochs, or the
iterations of L-BFGS.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fastmlp.estimators._samples import Source

__all__ = ["CallbackSupportMixin", "FitTasks", "fit_tasks", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing, where scikit-learn has no callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is.

        Parameters
        ----------
        method : callable
            Any method.

        Returns
        -------
        callable
            The same.
        """
        return method


def fit_tasks(estimator: Any, source: Source, task_name: str, n_subtasks: int) -> FitTasks | None:
    """Begin the task of a fit, if anyone wants to know of it.

    Parameters
    ----------
    estimator : estimator
        The model that is fitted.
    source : Source
        What it is trained on.
    task_name : str
        Name of a subtask.
    n_subtasks : int
        Largest number of subtasks.

    Returns
    -------
    FitTasks or None
        None without callbacks, neither on the estimator nor on one that it is part of.
    """
    if not (hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")):
        return None
    return FitTasks(estimator, source, task_name, n_subtasks)


class FitTasks:
    """The task of a fit and its subtasks.

    Parameters
    ----------
    estimator : estimator
        The model that is fitted.
    source : Source
        What it is trained on.
    task_name : str
        Name of a subtask.
    n_subtasks : int
        Largest number of subtasks.
    """

    def __init__(self, estimator: Any, source: Source, task_name: str, n_subtasks: int) -> None:
        weights = source.sample_weight

        # What a callback does not ask for is never made.
        @cache
        def metadata() -> dict[str, Any] | None:
            return None if weights is None else {"sample_weight": source.seen(weights)}

        self._data = {
            "X": cache(lambda: source.seen(source.X)),
            "y": cache(lambda: source.seen(source.y)),
            "metadata": metadata,
        }
        self._estimator, self._name = estimator, task_name
        self._fit = estimator._init_callback_context(max_subtasks=n_subtasks)
        self._fit.call_on_fit_task_begin(estimator=estimator, **self._data)
        self._subtask: Any = None

    def begin_epoch(self) -> None:
        """Begin a subtask."""
        self._subtask = self._fit.subcontext(task_name=self._name)
        self._subtask.call_on_fit_task_begin(
            estimator=self._estimator, **self._data, reconstruction_attributes=self._state
        )

    def end_epoch(self) -> bool:
        """End the subtask.

        Returns
        -------
        bool
            Whether a callback wants training to end.
        """
        subtask, self._subtask = self._subtask, None
        stops = subtask.call_on_fit_task_end(
            estimator=self._estimator, **self._data, reconstruction_attributes=self._state
        )
        return bool(stops)

    def end(self) -> None:
        """End the task, and a subtask that was begun but never done."""
        if self._subtask is not None:
            self._subtask.call_on_fit_task_end(estimator=self._estimator)
        self._fit.call_on_fit_task_end(
            estimator=self._estimator, **self._data, reconstruction_attributes=self._state
        )

    def _state(self) -> dict[str, Any]:
        """Return copies of the fitted attributes of a model whose training would end now."""
        model = self._estimator
        model._publish()
        layout, progress = model._layout, model._progress
        best = progress.best_params if model.early_stopping else None
        params = (model._params if best is None else best).copy()
        coefs, intercepts = layout.unpack(params)
        state = {"coefs_": coefs, "intercepts_": intercepts}
        if layout.normalised:
            pairs = layout.unpack_norms(params)
            state["norm_scales_"] = [scales for scales, _ in pairs]
            state["norm_offsets_"] = [offsets for _, offsets in pairs]
        if layout.learned_slopes:
            state["activation_slopes_"] = layout.slope_values(params)
        for name in ("loss_curve_", "validation_loss_curve_", "validation_scores_"):
            if isinstance(getattr(model, name, None), list):
                state[name] = list(getattr(model, name))
        return state
