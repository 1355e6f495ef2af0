"""All that happens between two epochs, where anyone asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from fastmlp.estimators._samples import Source
from fastmlp.estimators._sklearn_callbacks import fit_tasks
from fastmlp.estimators.callbacks import AfterEpoch, call_each, progress_bar
from fastmlp.training.trainer import Progress

__all__ = ["watched"]


@contextmanager
def watched(
    estimator: Any, source: Source | None, task_name: str, max_iter: int
) -> Iterator[AfterEpoch | None]:
    """Gather what is to be called after each epoch.

    Parameters
    ----------
    estimator : estimator
        The model that is fitted; its ``callbacks``, ``verbose`` and what ``set_callbacks`` set.
    source : Source or None
        What is trained on; None in `partial_fit`, of which scikit-learn's callbacks know nothing.
    task_name : str
        ``"epoch"`` or ``"iteration"``.
    max_iter : int
        Largest number of them.

    Yields
    ------
    callable or None
        For `fit_epochs`; None if nothing is to be called.
    """
    hooks: list[AfterEpoch] = []
    if estimator.callbacks:
        hooks.append(call_each(estimator.callbacks, estimator, max_iter))
    tasks = None if source is None else fit_tasks(estimator, source, task_name, max_iter)
    with ExitStack() as stack:
        if isinstance(estimator.verbose, str):
            hooks.append(stack.enter_context(progress_bar(type(estimator).__name__, max_iter)))
        if not hooks and tasks is None:
            yield None
            return

        def after_epoch(progress: Progress) -> bool:
            estimator._publish()
            # Each is called, whatever the others say.
            answers = [hook(progress) for hook in hooks]
            ends = any(answers)
            if tasks is not None:
                ends = tasks.end_epoch() or ends
                if not ends and progress.stop is None and progress.n_iter < max_iter:
                    tasks.begin_epoch()
            return ends

        if tasks is not None:
            tasks.begin_epoch()
        yield after_epoch
    if tasks is not None:
        tasks.end()
