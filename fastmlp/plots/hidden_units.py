"""A network of two features, drawn with what each of its units sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length

from fastmlp.plots._figure import axes_to_draw_in
from fastmlp.plots._network import (
    activation_names,
    layer_values,
    most_influential,
    ours,
    split_pipeline,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HiddenUnitsDisplay"]

Floats = NDArray[Any]

# In units of the side of a small map.
_BETWEEN_COLUMNS = 0.9
_BETWEEN_ROWS = 0.2
_LARGEST_OUTPUT = 3.0

# Activations whose values lie between 0 and 1, so that one half is the middle of the colours.
_PROBABILITIES = ("logistic", "softmax")


class HiddenUnitsDisplay:
    """What every unit of a network with two features answers, over the plane of the features.

    Use `from_estimator` to make one. The network is drawn from the left to the right, each unit
    as a map of its activation, each weight as a link: blue where positive, red where negative,
    the wider the larger. The output, with the samples in it, shows the decision boundary where
    its colours change.

    Parameters
    ----------
    xx0, xx1 : ndarray of shape (grid_resolution, grid_resolution)
        The grid, as :func:`numpy.meshgrid` returns it.
    values : list of ndarray of shape (grid_resolution, grid_resolution, n_units)
        Of each layer: the features the network gets, the activations of the hidden layers, the
        outputs.
    weights : list of ndarray of shape (fan_in, fan_out)
        Weights between these layers.
    activations : tuple of str
        Names of the activations, the output's last.
    max_units : int, default=8
        Largest number of units to draw per layer. Those with the largest outgoing weights are
        chosen.
    X : ndarray of shape (n_samples, 2), default=None
        Samples to draw in the outputs.
    targets : ndarray of shape (n_samples, n_outputs), default=None
        What the outputs should be for these samples, which colours them.
    feature_names : sequence of str, default=("$x_1$", "$x_2$")
        Names of the two axes.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes that contain the network.
    figure_ : matplotlib.figure.Figure
        The figure.
    unit_axes_ : list of ndarray of matplotlib.axes.Axes
        The axes of each unit that is drawn, layer by layer.
    units_ : list of ndarray of int
        Which units of each layer these are.
    links_ : list of matplotlib.collections.LineCollection
        The links between one layer and the next.

    See Also
    --------
    sklearn.inspection.DecisionBoundaryDisplay : The decision boundary alone, of any estimator.

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.plots import HiddenUnitsDisplay
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(random_state=0)
    >>> model = MLPClassifier((4, 3), solver="lbfgs", alpha=1, random_state=0).fit(X, y)
    >>> display = HiddenUnitsDisplay.from_estimator(model, X, y)
    >>> [len(axes) for axes in display.unit_axes_]
    [2, 4, 3, 1]
    """

    def __init__(
        self,
        *,
        xx0: Floats,
        xx1: Floats,
        values: list[Floats],
        weights: list[Floats],
        activations: tuple[str, ...],
        max_units: int = 8,
        X: Floats | None = None,
        targets: Floats | None = None,
        feature_names: Sequence[str] = ("$x_1$", "$x_2$"),
    ) -> None:
        self.xx0, self.xx1 = xx0, xx1
        self.values = values
        self.weights = weights
        self.activations = activations
        self.max_units = max_units
        self.X, self.targets = X, targets
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        grid_resolution: int = 100,
        eps: float = 0.5,
        max_units: int = 8,
        ax: Axes | None = None,
    ) -> Self:
        """Draw what the units of an estimator answer.

        Parameters
        ----------
        estimator : estimator
            A network fitted to two features, or a pipeline or search with one. The first column
            shows the features as they enter the network, after the steps before it.
        X : array-like of shape (n_samples, 2)
            Samples. The grid covers them, and they are drawn in the outputs if `y` is given.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets, which colour the samples as the outputs would be if all were right.
        grid_resolution : int, default=100
            Points of the grid along each feature.
        eps : float, default=0.5
            How far the grid goes beyond the samples.
        max_units : int, default=8
            Largest number of units to draw per layer. Those with the largest outgoing weights
            are chosen.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        HiddenUnitsDisplay
            The display.

        Raises
        ------
        ValueError
            If there are not two features, or a parameter is out of its range.
        """
        if not grid_resolution > 1:
            raise ValueError(
                f"grid_resolution must be greater than 1. Got {grid_resolution} instead."
            )
        if not eps >= 0:
            raise ValueError(f"eps must be greater than or equal to 0. Got {eps} instead.")
        if max_units < 1:
            raise ValueError(f"max_units must be at least 1. Got {max_units} instead.")
        preprocessing, network = split_pipeline(estimator)
        network = ours(network)
        columns = getattr(X, "columns", None)
        samples = check_array(X, dtype=np.float64)
        if samples.shape[1] != 2:
            raise ValueError(f"n_features must be equal to 2. Got {samples.shape[1]} instead.")
        if y is not None:
            check_consistent_length(samples, y)
        axes = [
            np.linspace(column.min() - eps, column.max() + eps, grid_resolution)
            for column in samples.T
        ]
        xx0, xx1 = np.meshgrid(*axes)
        grid: Any = np.column_stack([xx0.ravel(), xx1.ravel()])
        if preprocessing is not None:
            if columns is not None:
                # A step may choose columns by name: a frame of the kind that X is.
                frame: Any = type(X)
                grid = frame(dict(zip(columns, grid.T, strict=True)))
            grid = preprocessing.transform(grid)
        display = cls(
            xx0=xx0,
            xx1=xx1,
            values=[
                layer.reshape(*xx0.shape, -1) for layer in layer_values(network, np.asarray(grid))
            ],
            weights=network.coefs_,
            activations=activation_names(network),
            max_units=max_units,
            X=samples,
            targets=None if y is None else _output_targets(network, np.asarray(y)),
            feature_names=("$x_1$", "$x_2$") if columns is None else tuple(columns),
        )
        return display.plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        HiddenUnitsDisplay
            This display.
        """
        self.units_ = [
            most_influential(weights, self.max_units)
            # Weights out of the last layer there are none: all outputs count alike.
            for weights in [*self.weights, np.ones((self.values[-1].shape[-1], 1))]
        ]
        most = max(len(units) for units in self.units_)
        height = most * (1 + _BETWEEN_ROWS) - _BETWEEN_ROWS
        has_one_output = len(self.units_[-1]) == 1
        output_side = min(max(height, 1.5), _LARGEST_OUTPUT) if has_one_output else 1.0
        height = max(height, output_side)
        n_columns = len(self.values)
        width = (n_columns - 1) * (1 + _BETWEEN_COLUMNS) + output_side
        ax = axes_to_draw_in(ax, "HiddenUnitsDisplay.plot", (width + 0.8, height + 1.1))
        self.ax_, self.figure_ = ax, ax.figure
        ax.set(xlim=(0, width), ylim=(-0.4, height + 0.35), aspect="equal")
        ax.set_axis_off()

        self.unit_axes_: list[NDArray[Any]] = []
        self.links_: list[Any] = []
        right_ends: Floats = np.empty((0, 2))
        for layer, units in enumerate(self.units_):
            is_last = layer == n_columns - 1
            side = output_side if is_last else 1.0
            left = layer * (1 + _BETWEEN_COLUMNS)
            step = side + _BETWEEN_ROWS
            top = (height + len(units) * step - _BETWEEN_ROWS) / 2
            bottoms = top - side - step * np.arange(len(units))
            left_ends = np.column_stack([np.full(len(units), left), bottoms + side / 2])
            if layer > 0:
                self._draw_links(layer - 1, right_ends, left_ends)
            right_ends = left_ends + [side, 0]
            panels = np.empty(len(units), object)
            for index, (unit, bottom) in enumerate(zip(units, bottoms, strict=True)):
                panel = ax.inset_axes((left, bottom, side, side), transform=ax.transData, zorder=3)
                self._draw_unit(panel, layer, unit)
                panels[index] = panel
            self.unit_axes_.append(panels)
            self._write_around(layer, left + side / 2, float(bottoms[0]) + side, bottoms[-1])
        if self.X is not None and self.targets is not None:
            self._draw_samples(self.X, self.targets, 20 if has_one_output else 5)
        panel = self.unit_axes_[-1][-1]
        panel.set_xlabel(self.feature_names[0], labelpad=2)
        panel.set_ylabel(self.feature_names[1], labelpad=2)
        panel.yaxis.set_label_position("right")
        return self

    def _draw_links(self, layer: int, starts: Floats, stops: Floats) -> None:
        from matplotlib import colormaps
        from matplotlib.collections import LineCollection

        weights = self.weights[layer][np.ix_(self.units_[layer], self.units_[layer + 1])]
        shares = weights / (np.abs(weights).max() or 1.0)
        segments = [(start, stop) for start in starts for stop in stops]
        links = LineCollection(
            segments,
            linewidths=0.3 + 3.2 * np.abs(shares.ravel()),
            colors=colormaps["RdBu"](0.5 + 0.5 * np.sign(shares.ravel()) * 0.75),
            alpha=0.8,
            zorder=1,
        )
        self.links_.append(self.ax_.add_collection(links))

    def _colors(self, layer: int, unit: int, stretch: float) -> dict[str, Any]:
        """Return the colours of a unit's values; the larger the stretch, the paler."""
        if layer > 0 and self.activations[layer - 1] in _PROBABILITIES:
            middle, half = 0.5, 0.5
        else:
            middle, half = 0.0, float(np.abs(self.values[layer][..., unit]).max()) or 1.0
        return {"cmap": "RdBu", "vmin": middle - stretch * half, "vmax": middle + stretch * half}

    def _draw_unit(self, panel: Axes, layer: int, unit: int) -> None:
        x, y = self.xx0[0], self.xx1[:, 0]
        panel.imshow(
            self.values[layer][..., unit],
            **self._colors(layer, unit, stretch=2.0),
            origin="lower",
            extent=(x[0], x[-1], y[0], y[-1]),
            aspect="auto",
            interpolation="bilinear",
        )
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(True)

    def _write_around(self, layer: int, center: float, top: float, bottom: float) -> None:
        if layer == 0:
            title = "features"
        else:
            kind = "output" if layer == len(self.weights) else f"hidden {layer}"
            title = f"{kind}\n{self.activations[layer - 1]}"
        self.ax_.text(center, top + 0.12, title, ha="center", va="bottom", fontsize="small")
        n_hidden = self.values[layer].shape[-1] - len(self.units_[layer])
        if n_hidden:
            text = f"and {n_hidden} more"
            self.ax_.text(center, bottom - 0.12, text, ha="center", va="top", fontsize="small")

    def _draw_samples(self, X: Floats, targets: Floats, size: float) -> None:
        layer = len(self.weights)
        for panel, unit in zip(self.unit_axes_[layer], self.units_[layer], strict=True):
            panel.scatter(
                *X.T,
                c=targets[:, unit],
                **self._colors(layer, unit, stretch=1.0),
                s=size,
                edgecolors="white",
                linewidths=0.06 * size**0.5,
            )


def _output_targets(network: Any, y: NDArray[Any]) -> Floats:
    """Return what the outputs should be, of shape (n_samples, n_outputs)."""
    classes = getattr(network, "classes_", None)
    if classes is None or y.ndim == 2:
        return y.reshape(len(y), -1)
    # The one output of a binary classifier stands for its second class.
    columns = classes[-1:] if network.n_outputs_ == 1 else classes
    return (y[:, np.newaxis] == columns).astype(float)
