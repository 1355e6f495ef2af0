"""What the first layer looks for in an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fastmlp.plots._figure import axes_to_draw_in
from fastmlp.plots._network import most_influential, split_pipeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FirstLayerWeightsDisplay"]


class FirstLayerWeightsDisplay:
    """The weights into each unit of the first layer, as an image.

    Use `from_estimator` to make one. All images share one scale of colours: blue where positive,
    red where negative.

    Parameters
    ----------
    images : array-like of shape (n_units, height, width)
        Weights into each unit.
    units : array-like of int, shape (n_units,)
        Which units of the layer they are.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes that contain the images.
    axes_ : ndarray of matplotlib.axes.Axes, shape (n_units,)
        The axes of each image.
    figure_ : matplotlib.figure.Figure
        The figure.
    images_ : list of matplotlib.image.AxesImage
        The images.

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.plots import FirstLayerWeightsDisplay
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(tol=0.01, random_state=0).fit(X / 16, y)
    >>> display = FirstLayerWeightsDisplay.from_estimator(model)
    >>> display.images.shape
    (16, 8, 8)
    """

    def __init__(self, *, images: ArrayLike, units: ArrayLike) -> None:
        self.images = images
        self.units = units

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: tuple[int, int] | None = None,
        max_units: int = 16,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the weights of an estimator's first layer.

        Parameters
        ----------
        estimator : estimator
            A fitted network, or a pipeline or search with one. Weights are those of the features
            as the network sees them, after the steps before it.
        image_shape : tuple of int, default=None
            Height and width of an image; None is a square.
        max_units : int, default=16
            Largest number of images. Units with the largest outgoing weights are chosen.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        **kwargs
            Arguments for :meth:`matplotlib.axes.Axes.imshow`, such as ``cmap``.

        Returns
        -------
        FirstLayerWeightsDisplay
            The display.

        Raises
        ------
        ValueError
            If the number of features is not that of pixels, or `max_units` is less than 1.
        """
        _, network = split_pipeline(estimator)
        weights = network.coefs_[0]
        if max_units < 1:
            raise ValueError(f"max_units must be at least 1. Got {max_units} instead.")
        n_features = weights.shape[0]
        if image_shape is None:
            side = math.isqrt(n_features)
            image_shape = side, side
        if math.prod(image_shape) != n_features:
            raise ValueError(
                f"image_shape must have as many pixels as there are features, {n_features}. Got "
                f"{image_shape} instead."
            )
        if len(network.coefs_) > 1:
            units = most_influential(network.coefs_[1], max_units)
        else:
            units = np.arange(min(max_units, weights.shape[1]))
        images = weights.T[units].reshape(-1, *image_shape)
        return cls(images=images, units=units).plot(ax=ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        **kwargs
            Arguments for :meth:`matplotlib.axes.Axes.imshow`, such as ``cmap``.

        Returns
        -------
        FirstLayerWeightsDisplay
            This display.
        """
        images = np.asarray(self.images)
        n_columns = math.ceil(math.sqrt(len(images)))
        n_rows = math.ceil(len(images) / n_columns)
        ax = axes_to_draw_in(
            ax, "FirstLayerWeightsDisplay.plot", (1.3 * n_columns + 0.9, 1.4 * n_rows)
        )
        largest = float(np.abs(images).max()) or 1.0
        style = {"cmap": "RdBu", "vmin": -largest, "vmax": largest, **kwargs}
        self.ax_, self.figure_ = ax, ax.figure
        self.axes_ = np.empty(len(images), object)
        self.images_ = []
        ax.set_axis_off()
        width, height = 1 / n_columns, 1 / n_rows
        for index, (image, unit) in enumerate(zip(images, np.asarray(self.units), strict=True)):
            row, column = divmod(index, n_columns)
            left, bottom = column * width, 1 - (row + 1) * height
            panel = ax.inset_axes((left, bottom, 0.94 * width, 0.8 * height))
            self.images_.append(panel.imshow(image, **style))
            panel.set_title(f"unit {unit}", fontsize="x-small", pad=2)
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(True)
            self.axes_[index] = panel
        self.figure_.colorbar(self.images_[0], ax=ax, shrink=0.8, label="weight")
        return self
