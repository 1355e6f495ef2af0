"""The loss over the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from fastmlp.learning_rate import LearningRateCurve, find_learning_rate
from fastmlp.plots._figure import axes_to_draw_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LearningRateDisplay"]


class LearningRateDisplay:
    """The losses of growing learning rates, and the rate that they suggest.

    Use `from_estimator` to make one, or give it a curve that was computed before.

    Parameters
    ----------
    curve : LearningRateCurve
        What :func:`fastmlp.find_learning_rate` returned.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes.
    figure_ : matplotlib.figure.Figure
        The figure.
    line_ : matplotlib.lines.Line2D
        The smoothed losses.

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.plots import LearningRateDisplay
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(random_state=0)
    >>> display = LearningRateDisplay.from_estimator(model, X, y, random_state=0)
    >>> 0 < display.curve.suggestion < 1
    True
    """

    def __init__(self, *, curve: LearningRateCurve) -> None:
        self.curve = curve

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, ax: Axes | None = None, **kwargs: Any
    ) -> Self:
        """Try growing learning rates on a copy of an estimator, and draw the losses.

        Parameters
        ----------
        estimator : estimator
            A network, or a pipeline with one; it is neither fitted nor changed.
        X, y : array-like
            Training data.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        **kwargs
            Other arguments of :func:`fastmlp.find_learning_rate`.

        Returns
        -------
        LearningRateDisplay
            The display.
        """
        return cls(curve=find_learning_rate(estimator, X, y, **kwargs)).plot(ax=ax)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        **kwargs
            Arguments for the line of the smoothed losses, such as ``color``.

        Returns
        -------
        LearningRateDisplay
            This display.
        """
        curve = self.curve
        ax = axes_to_draw_in(ax, "LearningRateDisplay.plot", (6.4, 4.0))
        self.ax_, self.figure_ = ax, ax.figure
        ax.plot(curve.rates, curve.losses, ".", color="0.6", markersize=4, label="batches")
        style = {"label": "smoothed", **kwargs}
        (line,) = ax.plot(curve.rates, curve.smoothed_losses, **style)
        self.line_ = line
        if curve.suggestion is not None:
            label = f"suggestion, {curve.suggestion:g}"
            ax.axvline(curve.suggestion, color="C1", linestyle="--", label=label)
        # Losses that diverge would flatten all the rest.
        low, high = curve.smoothed_losses.min(), curve.smoothed_losses[0]
        span = max(high - low, 0.1 * abs(high))
        ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
        ax.set_ylim(low - 0.2 * span, high + 0.5 * span)
        ax.legend()
        return self
