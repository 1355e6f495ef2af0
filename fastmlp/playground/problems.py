"""Problems in the plane, and the features that a network may see of a point.

All points lie in or near the square of half-width `EXTENT` around the origin. A problem or a
feature is added in this file alone, as a row of its table; the page reads the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EXTENT",
    "FEATURES",
    "N_SAMPLES",
    "PROBLEMS",
    "Feature",
    "Problem",
    "Recipe",
    "compute_features",
    "make_grid",
    "make_problem",
]

EXTENT = 3.0
N_SAMPLES = 400

Floats = NDArray[np.float64]
Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Problem:
    """Points to learn from and points to judge by.

    Attributes
    ----------
    task : {"classification", "regression"}
        What is to be learned.
    points_train, points_test : ndarray of shape (n_samples, 2)
        Coordinates x1 and x2.
    y_train, y_test : ndarray of shape (n_samples,)
        Class 0 or 1, or a number between -1 and 1 of a regression; float64.
    """

    task: Task
    points_train: Floats
    y_train: Floats
    points_test: Floats
    y_test: Floats


class Feature(NamedTuple):
    """What the network may see of a point.

    Attributes
    ----------
    label : str
        The formula, for people.
    compute : callable
        Takes the arrays x1 and x2 and returns the feature.
    """

    label: str
    compute: Callable[[Floats, Floats], Floats]


class Recipe(NamedTuple):
    """How points of a problem are drawn.

    Attributes
    ----------
    title : str
        Name for people.
    task : {"classification", "regression"}
        What is to be learned.
    draw : callable
        Takes the number of points, the noise in [0, 1] and a generator; returns points and y.
    """

    title: str
    task: Task
    draw: Callable[[int, float, np.random.Generator], tuple[Floats, Floats]]


def _alternating_classes(n_samples: int) -> Floats:
    return (np.arange(n_samples) % 2).astype(np.float64)


def _jitter(points: Floats, noise: float, rng: np.random.Generator) -> Floats:
    return points + noise * rng.normal(size=points.shape)


def _draw_gaussians(n: int, noise: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    y = _alternating_classes(n)
    centres = np.where(y[:, None] == 1, 1.3, -1.3)
    return centres + (0.45 + 1.2 * noise) * rng.normal(size=(n, 2)), y


def _draw_circle(n: int, noise: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    y = _alternating_classes(n)
    angle = rng.uniform(0, 2 * np.pi, n)
    # Roots make the density even; class 1 is the disc, class 0 the ring around it.
    inner, outer = np.where(y == 1, 0.0, 1.9), np.where(y == 1, 1.3, 2.7)
    radius = np.sqrt(rng.uniform(inner**2, outer**2))
    return _jitter(_polar(radius, angle), noise, rng), y


def _draw_xor(n: int, noise: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    y = _alternating_classes(n)
    size = rng.uniform(0.15, 2.7, (n, 2))
    sign = rng.choice([-1.0, 1.0], n)
    points = size * np.column_stack([sign, np.where(y == 1, sign, -sign)])
    return _jitter(points, noise, rng), y


def _draw_spiral(n: int, noise: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    y = _alternating_classes(n)
    way = (np.arange(n) // 2 + 1) / (n // 2)  # 0 at the centre, 1 at the end of an arm
    points = _polar(2.8 * way, 3.5 * np.pi * way + np.pi * y)
    return _jitter(points, 0.6 * noise, rng), y


def _draw_plane(n: int, noise: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    points = rng.uniform(-EXTENT, EXTENT, (n, 2))
    y = points.sum(axis=1) / (2 * EXTENT)
    return points, np.clip(y + noise * rng.normal(size=n), -1, 1)


def _polar(radius: Floats, angle: Floats) -> Floats:
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


PROBLEMS: dict[str, Recipe] = {
    "gaussians": Recipe("Two Gaussians", "classification", _draw_gaussians),
    "circle": Recipe("Circle in a ring", "classification", _draw_circle),
    "xor": Recipe("Exclusive or", "classification", _draw_xor),
    "spiral": Recipe("Two spirals", "classification", _draw_spiral),
    "plane": Recipe("Sloping plane", "regression", _draw_plane),
}

FEATURES: dict[str, Feature] = {
    "x1": Feature("x₁", lambda x1, x2: x1),
    "x2": Feature("x₂", lambda x1, x2: x2),
    "x1sq": Feature("x₁²", lambda x1, x2: x1**2),
    "x2sq": Feature("x₂²", lambda x1, x2: x2**2),
    "x1x2": Feature("x₁x₂", lambda x1, x2: x1 * x2),
    "sinx1": Feature("sin x₁", lambda x1, x2: np.sin(x1)),
    "sinx2": Feature("sin x₂", lambda x1, x2: np.sin(x2)),
}


def make_problem(
    name: str, *, noise: float = 0.0, train_share: float = 0.5, seed: int = 0
) -> Problem:
    """Draw the points of a problem and split them at random.

    Parameters
    ----------
    name : str
        Name in `PROBLEMS`.
    noise : float, default=0.0
        Between 0 and 1: how far points stray from where they belong.
    train_share : float, default=0.5
        Share of the points to train on, between 0 and 1, bounds excluded.
    seed : int, default=0
        Repeats the same points.

    Returns
    -------
    Problem
        `N_SAMPLES` points, each in one of the two parts.
    """
    rng = np.random.default_rng(seed)
    recipe = PROBLEMS[name]
    points, y = recipe.draw(N_SAMPLES, noise, rng)
    order = rng.permutation(N_SAMPLES)
    n_train = min(max(round(train_share * N_SAMPLES), 1), N_SAMPLES - 1)
    train, test = order[:n_train], order[n_train:]
    return Problem(recipe.task, points[train], y[train], points[test], y[test])


def compute_features(points: Floats, names: Iterable[str]) -> Floats:
    """Return the inputs of the network for some points.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
        Coordinates x1 and x2.
    names : iterable of str
        Names in `FEATURES`.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        A new array, C-contiguous.
    """
    x1, x2 = points[:, 0], points[:, 1]
    return np.ascontiguousarray(np.stack([FEATURES[name].compute(x1, x2) for name in names], 1))


def make_grid(size: int) -> Floats:
    """Return the centres of the pixels of a square picture of the plane.

    Parameters
    ----------
    size : int
        Pixels per side.

    Returns
    -------
    ndarray of shape (size * size, 2)
        Coordinates, row by row from the top left: x2 falls, x1 rises.
    """
    centres = (np.arange(size) + 0.5) * (2 * EXTENT / size) - EXTENT
    x2, x1 = np.meshgrid(-centres, centres, indexing="ij")
    return np.column_stack([x1.ravel(), x2.ravel()])
