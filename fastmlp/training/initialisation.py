r"""Initial weights: the rules, and the table that names them.

A rule is added as a row of `INITIALISATIONS`; parameter validation and the tests read the table.
What a rule is after is the size of the signal: with a variance of 1 / fan_in for weights, units
have the variance of their inputs; with 1 / fan_out, errors keep theirs on the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["INITIALISATIONS", "Initialisation"]

Floats = NDArray[Any]
Variance = Callable[[int, int], float]
Draw = Callable[[np.random.RandomState, int, int], Floats]


class Initialisation(NamedTuple):
    """What the rest of the package knows of a rule.

    Attributes
    ----------
    equation : str
        Distribution of a weight, for people.
    draw : callable
        Takes a RandomState, fan_in and fan_out; returns weights of shape (fan_in, fan_out) in
        float64.
    reference : str
        Where it comes from.
    """

    equation: str
    draw: Draw
    reference: str


def _uniform(variance: Variance) -> Draw:
    def draw(random_state: np.random.RandomState, fan_in: int, fan_out: int) -> Floats:
        bound = np.sqrt(3.0 * variance(fan_in, fan_out))
        return random_state.uniform(-bound, bound, (fan_in, fan_out))

    return draw


def _normal(variance: Variance) -> Draw:
    def draw(random_state: np.random.RandomState, fan_in: int, fan_out: int) -> Floats:
        return random_state.normal(0.0, np.sqrt(variance(fan_in, fan_out)), (fan_in, fan_out))

    return draw


def _orthogonal(random_state: np.random.RandomState, fan_in: int, fan_out: int) -> Floats:
    """Draw evenly from the matrices whose columns, or rows if they are fewer, are orthonormal."""
    longer, shorter = max(fan_in, fan_out), min(fan_in, fan_out)
    q, r = np.linalg.qr(random_state.normal(size=(longer, shorter)))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # else the signs are the algorithm's, not even
    return q if fan_in >= fan_out else q.T


def _glorot(fan_in: int, fan_out: int) -> float:
    return 2.0 / (fan_in + fan_out)


def _he(fan_in: int, fan_out: int) -> float:
    return 2.0 / fan_in


def _lecun(fan_in: int, fan_out: int) -> float:
    return 1.0 / fan_in


_GLOROT = "Glorot and Bengio (2010), equation 16"
_HE = "He et al. (2015), equation 10"
_LECUN = "LeCun et al. (1998), equation 16"

INITIALISATIONS: dict[str, Initialisation] = {
    "glorot_uniform": Initialisation(
        "U(-b, b), b = sqrt(6 / (fan_in + fan_out))", _uniform(_glorot), _GLOROT
    ),
    "glorot_normal": Initialisation("N(0, 2 / (fan_in + fan_out))", _normal(_glorot), _GLOROT),
    "he_uniform": Initialisation("U(-b, b), b = sqrt(6 / fan_in)", _uniform(_he), _HE),
    "he_normal": Initialisation("N(0, 2 / fan_in)", _normal(_he), _HE),
    "lecun_uniform": Initialisation("U(-b, b), b = sqrt(3 / fan_in)", _uniform(_lecun), _LECUN),
    "lecun_normal": Initialisation("N(0, 1 / fan_in)", _normal(_lecun), _LECUN),
    "orthogonal": Initialisation(
        "W'W = 1, or WW' = 1 where fan_in < fan_out", _orthogonal, "Saxe et al. (2014), section 3"
    ),
}
