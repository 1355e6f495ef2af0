"""How training went, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fastmlp.plots._figure import axes_to_draw_in
from fastmlp.plots._network import split_pipeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TrainingCurveDisplay"]

_GAP = 0.08  # between panels, as a share of the height


class TrainingCurveDisplay:
    """Loss, validation loss, validation score and learning rate over the epochs.

    Use `from_estimator` to make one. Each quantity that there is gets a panel, all panels share
    the epochs.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss of each epoch.
    validation_loss_curve : array-like of shape (n_epochs,), default=None
        Loss on the validation data.
    validation_scores : array-like of shape (n_epochs,), default=None
        Score on the validation data. The best is marked, for that epoch's weights are kept.
    learning_rates : array-like of shape (n_epochs,), default=None
        Learning rate of each epoch.
    estimator_name : str, default=None
        Title of the picture.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The panel of the losses.
    axes_ : ndarray of matplotlib.axes.Axes
        All panels, from the top.
    figure_ : matplotlib.figure.Figure
        The figure.
    lines_ : dict of str to matplotlib.lines.Line2D
        The lines, by the names of the parameters above.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores over the number of samples.

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.plots import TrainingCurveDisplay
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(early_stopping=True, tol=0.01, random_state=0).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(model)
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['loss', 'score']
    """

    def __init__(
        self,
        *,
        loss_curve: ArrayLike,
        validation_loss_curve: ArrayLike | None = None,
        validation_scores: ArrayLike | None = None,
        learning_rates: ArrayLike | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.validation_scores = validation_scores
        self.learning_rates = learning_rates
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Axes | None = None, **kwargs: Any
    ) -> Self:
        """Draw how an estimator was trained. A learning rate that never changed is left out.

        Parameters
        ----------
        estimator : estimator
            A network fitted by a solver that works in epochs, so any but ``"lbfgs"``; or a
            pipeline or search with such a network.
        name : str, default=None
            Title; None is the name of the network's class.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        **kwargs
            Arguments for all lines, such as ``linewidth``.

        Returns
        -------
        TrainingCurveDisplay
            The display.

        Raises
        ------
        ValueError
            If the network has no ``loss_curve_``.
        """
        _, network = split_pipeline(estimator)
        if not hasattr(network, "loss_curve_"):
            raise ValueError(
                f"estimator has no loss_curve_: solver={network.solver!r} does not train in "
                "epochs. Use solver='adam' or 'sgd'."
            )
        display = cls(
            loss_curve=network.loss_curve_,
            validation_loss_curve=getattr(network, "validation_loss_curve_", None),
            validation_scores=getattr(network, "validation_scores_", None),
            learning_rates=_if_it_varies(getattr(network, "learning_rate_curve_", None)),
            estimator_name=type(network).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        **kwargs
            Arguments for all lines, such as ``linewidth``.

        Returns
        -------
        TrainingCurveDisplay
            This display.
        """
        curves: dict[str, list[tuple[str, ArrayLike | None, dict[str, str]]]] = {
            "loss": [
                ("loss_curve", self.loss_curve, {"label": "training", "color": "C0"}),
                (
                    "validation_loss_curve",
                    self.validation_loss_curve,
                    {"label": "validation", "color": "C1"},
                ),
            ],
            "score": [
                (
                    "validation_scores",
                    self.validation_scores,
                    {"label": "validation", "color": "C1"},
                )
            ],
            "learning rate": [("learning_rates", self.learning_rates, {"color": "C2"})],
        }
        panels = {
            label: drawn
            for label, lines in curves.items()
            if (drawn := [line for line in lines if line[1] is not None])
        }
        ax = axes_to_draw_in(ax, "TrainingCurveDisplay.plot", (6.4, 2.6 + 1.4 * len(panels)))
        self.figure_ = ax.figure
        self.axes_ = _panels(ax, len(panels))
        self.ax_ = self.axes_[0]
        self.lines_ = {}
        for panel, (label, lines) in zip(self.axes_, panels.items(), strict=True):
            for key, values, style in lines:
                values = np.asarray(values, float)
                epochs = np.arange(1, len(values) + 1)
                (self.lines_[key],) = panel.plot(epochs, values, **{**style, **kwargs})
            panel.set_ylabel(label)
            panel.grid(alpha=0.3)
        self.axes_[-1].set_xlabel("epoch")
        self.axes_[-1].xaxis.get_major_locator().set_params(integer=True)
        if self.estimator_name:
            self.ax_.set_title(self.estimator_name)
        if self.validation_scores is not None:
            self._mark_best_epoch()
        if self.validation_loss_curve is not None:
            self.ax_.legend()
        return self

    def _mark_best_epoch(self) -> None:
        scores = np.asarray(self.validation_scores, float)
        if np.isnan(scores).all():
            return
        best = int(np.nanargmax(scores))
        panel = self.lines_["validation_scores"].axes
        panel.plot(best + 1, scores[best], "o", color="C1", label=f"best, epoch {best + 1}")
        panel.legend()
        for panel in self.axes_:
            panel.axvline(best + 1, color="C1", linestyle=":", linewidth=1)


def _if_it_varies(values: list[float] | None) -> list[float] | None:
    """Return the values unless all that are known are the same."""
    known = {value for value in values or [] if not np.isnan(value)}
    return values if len(known) > 1 else None


def _panels(ax: Axes, n_panels: int) -> Any:
    """Return axes one above the other in the place of one, with a common horizontal axis."""
    panels = np.empty(n_panels, object)
    if n_panels == 1:
        panels[0] = ax
        return panels
    ax.set_axis_off()
    # The loss gets twice the height of the others.
    unit = (1 - _GAP * (n_panels - 1)) / (n_panels + 1)
    panels[0] = ax.inset_axes((0, 1 - 2 * unit, 1, 2 * unit))
    for index in range(1, n_panels):
        bottom = (n_panels - 1 - index) * (unit + _GAP)
        panels[index] = ax.inset_axes((0, bottom, 1, unit), sharex=panels[0])
        panels[index - 1].tick_params(labelbottom=False)
    return panels
