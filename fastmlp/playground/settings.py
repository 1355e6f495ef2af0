"""What can be set on the page, within which limits, and the settings that it suggests.

Whatever comes from outside passes through `Settings.from_message`, which lets nothing else through
than values in their ranges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.optimizers import OPTIMIZERS
from fastmlp.playground.problems import FEATURES, N_SAMPLES, PROBLEMS

__all__ = [
    "MAX_EPOCHS",
    "MAX_LAYERS",
    "MAX_UNITS",
    "PRESETS",
    "REGULARIZATIONS",
    "SOLVERS",
    "Preset",
    "Settings",
    "SettingsError",
]

MAX_LAYERS = 6
MAX_UNITS = 8
MAX_EPOCHS = 1_000_000
MAX_SPEED = 10_000
MAX_SEED = 9_999

_SOLVER_TITLES = {
    "adam": "Adam",
    "nesterov": "SGD, Nesterov momentum",
    "momentum": "SGD, momentum",
    "sgd": "SGD",
    "lbfgs": "L-BFGS",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
}
_OFFERED = [name for name in OPTIMIZERS if name != "no_step"] + ["lbfgs"]
SOLVERS: dict[str, str] = {
    name: _SOLVER_TITLES.get(name, name)
    for name in sorted(_OFFERED, key=[*_SOLVER_TITLES, *_OFFERED].index)
}
REGULARIZATIONS = {"none": "None", "l2": "L2"}
_HIDDEN_ACTIVATIONS = tuple(name for name, row in ACTIVATIONS.items() if row.is_hidden)


class SettingsError(ValueError):
    """A value that cannot be set; the message names it in one line."""


@dataclass(frozen=True)
class Settings:
    """Everything that determines a run.

    Attributes
    ----------
    dataset : str
        Name in `PROBLEMS`.
    noise : int
        Noise of the data in percent, 0 to 50.
    train_share : int
        Share of the points to train on in percent, 10 to 90.
    features : tuple of str
        Names in `FEATURES`, at least one, in the order of that table.
    hidden : tuple of int
        Units of each hidden layer; () for none.
    activation : str
        Activation of the hidden layers.
    solver : str
        Name in `SOLVERS`.
    learning_rate : float
        Its learning rate, above 0 and at most 10; L-BFGS needs none.
    regularization : str
        Name in `REGULARIZATIONS`.
    regularization_rate : float
        Strength of the penalty, 0 to 10.
    batch_size : int
        Points per step, 1 to `N_SAMPLES`; the number of training points is the most that counts.
    seed : int
        Determines the points, the initial weights and the order of the points.
    speed : int
        Epochs per second, at most; 0 for as many as possible.
    """

    dataset: str = "circle"
    noise: int = 0
    train_share: int = 50
    features: tuple[str, ...] = ("x1", "x2")
    hidden: tuple[int, ...] = (4, 2)
    activation: str = "tanh"
    solver: str = "adam"
    learning_rate: float = 0.01
    regularization: str = "none"
    regularization_rate: float = 0.001
    batch_size: int = 16
    seed: int = 1
    speed: int = 50

    @classmethod
    def from_message(cls, message: object) -> Settings:
        """Check settings that came from outside.

        Parameters
        ----------
        message : object
            Anything; meant is a dictionary as `to_message` returns it. What is missing keeps its
            default.

        Returns
        -------
        Settings
            The settings.

        Raises
        ------
        SettingsError
            If anything is not what it must be.
        """
        if not isinstance(message, Mapping):
            raise SettingsError("settings must be an object")
        unknown = [key for key in message if key not in _CHECKS]
        if unknown:
            raise SettingsError(f"there is no setting {str(unknown[0])[:40]!r}")
        return cls(**{name: _CHECKS[name](name, value) for name, value in message.items()})

    def to_message(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them.

        Returns
        -------
        dict
            One entry per setting.
        """
        return asdict(self)

    @property
    def alpha(self) -> float:
        """Strength of the L2 penalty, as the estimators call it."""
        return self.regularization_rate if self.regularization == "l2" else 0.0

    def is_same_run(self, other: Settings) -> bool:
        """Return whether training can go on under other settings with the weights it has.

        Parameters
        ----------
        other : Settings
            The other settings.

        Returns
        -------
        bool
            Whether the points and the network are the same.
        """
        return replace(other, **{name: getattr(self, name) for name in _CHANGEABLE}) == self

    def to_python(self) -> str:
        """Return a program that does the same with the estimators.

        Returns
        -------
        str
            Lines of Python.
        """
        is_regression = PROBLEMS[self.dataset].task == "regression"
        estimator = "MLPRegressor" if is_regression else "MLPClassifier"
        n_train = min(max(round(self.train_share / 100 * N_SAMPLES), 1), N_SAMPLES - 1)
        parameters: dict[str, object] = {
            "hidden_layer_sizes": self.hidden,
            "activation": self.activation,
            **_SOLVER_PARAMETERS.get(self.solver, {"solver": self.solver}),
            "alpha": self.alpha,
        }
        if self.solver != "lbfgs":
            parameters |= {
                "batch_size": min(self.batch_size, n_train),
                "learning_rate_init": self.learning_rate,
                "n_iter_no_change": 200,
            }
        parameters |= {"max_iter": 200, "random_state": self.seed}
        lines = [
            f"from fastmlp import {estimator}",
            "from fastmlp.playground.problems import compute_features, make_problem",
            "",
            f"features = {list(self.features)!r}",
            "problem = make_problem(",
            f"    {self.dataset!r},",
            f"    noise={self.noise / 100},",
            f"    train_share={self.train_share / 100},",
            f"    seed={self.seed},",
            ")",
            f"model = {estimator}(",
            *(f"    {name}={value!r}," for name, value in parameters.items()),
            ")",
            "model.fit(compute_features(problem.points_train, features), problem.y_train)",
            "print(model.score(compute_features(problem.points_test, features), problem.y_test))",
        ]
        return "\n".join(lines).replace("'", '"')


_CHANGEABLE = (
    "solver",
    "learning_rate",
    "regularization",
    "regularization_rate",
    "batch_size",
    "speed",
)
_SOLVER_PARAMETERS: dict[str, dict[str, object]] = {
    "nesterov": {"solver": "sgd"},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "sgd": {"solver": "sgd", "momentum": 0},
}


def _integer(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise SettingsError(f"{name} must be an integer from {low} to {high}")
    return value


def _number(name: str, value: object, low: float, high: float) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # A comparison, since an integer may be too large for a float; nan compares false.
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        raise SettingsError(f"{name} must be a number from {low:g} to {high:g}")
    return float(value)  # type: ignore[arg-type]


def _option(name: str, value: object, choices: Mapping[str, object] | tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}")
    return value


def _sequence(name: str, value: object, low: int, high: int) -> list[Any]:
    if not isinstance(value, (list, tuple)) or not low <= len(value) <= high:
        raise SettingsError(f"{name} must be a list of {low} to {high} elements")
    return list(value)


def _check_features(name: str, value: object) -> tuple[str, ...]:
    chosen = [
        _option(name, element, FEATURES) for element in _sequence(name, value, 1, len(FEATURES))
    ]
    return tuple(feature for feature in FEATURES if feature in chosen)


def _check_hidden(name: str, value: object) -> tuple[int, ...]:
    sizes = _sequence(name, value, 0, MAX_LAYERS)
    return tuple(_integer(name, size, 1, MAX_UNITS) for size in sizes)


_SMALLEST_RATE = math.ulp(0.0)
_CHECKS: dict[str, Any] = {
    "dataset": lambda name, value: _option(name, value, PROBLEMS),
    "noise": lambda name, value: _integer(name, value, 0, 50),
    "train_share": lambda name, value: _integer(name, value, 10, 90),
    "features": _check_features,
    "hidden": _check_hidden,
    "activation": lambda name, value: _option(name, value, _HIDDEN_ACTIVATIONS),
    "solver": lambda name, value: _option(name, value, SOLVERS),
    "learning_rate": lambda name, value: _number(name, value, _SMALLEST_RATE, 10),
    "regularization": lambda name, value: _option(name, value, REGULARIZATIONS),
    "regularization_rate": lambda name, value: _number(name, value, 0, 10),
    "batch_size": lambda name, value: _integer(name, value, 1, N_SAMPLES),
    "seed": lambda name, value: _integer(name, value, 0, MAX_SEED),
    "speed": lambda name, value: _integer(name, value, 0, MAX_SPEED),
}


class Preset(NamedTuple):
    """Settings that are worth a look.

    Attributes
    ----------
    title : str
        Name for people.
    text : str
        What there is to see, in a sentence.
    settings : Settings
        The settings.
    """

    title: str
    text: str
    settings: Settings


PRESETS: dict[str, Preset] = {
    "neuron": Preset(
        "One neuron",
        "Without hidden layers the boundary is a straight line. Two Gaussians need no more.",
        Settings(dataset="gaussians", noise=10, hidden=(), learning_rate=0.1),
    ),
    "ring": Preset(
        "Bend a line into a ring",
        "Each tanh unit draws a line; four of them close a boundary around the disc.",
        Settings(dataset="circle", hidden=(4,), learning_rate=0.03),
    ),
    "squares": Preset(
        "Features instead of layers",
        "Given the squares, one neuron finds the circle: the plane of x₁² and x₂² has a line.",
        Settings(dataset="circle", features=("x1sq", "x2sq"), hidden=(), learning_rate=0.1),
    ),
    "xor": Preset(
        "Exclusive or",
        "The problem that one neuron cannot solve, and four can.",
        Settings(dataset="xor", hidden=(4,), learning_rate=0.03),
    ),
    "spiral": Preset(
        "Spiral, solved",
        "Two layers of eight SiLU units wind through both arms within seconds.",
        Settings(
            dataset="spiral",
            train_share=70,
            hidden=(8, 8),
            activation="silu",
            learning_rate=0.01,
            batch_size=32,
            regularization="l2",
            regularization_rate=0.003,
            speed=100,
        ),
    ),
    "overfit": Preset(
        "Too little data",
        "Few, noisy points and many units: the loss of the test points rises again.",
        Settings(
            dataset="xor",
            noise=50,
            train_share=10,
            hidden=(8, 8),
            activation="relu",
            learning_rate=0.01,
        ),
    ),
    "stochastic": Preset(
        "One point at a time",
        "Stochastic descent, a batch of one: the boundary trembles, and still arrives.",
        Settings(
            dataset="gaussians",
            noise=20,
            hidden=(4,),
            solver="sgd",
            learning_rate=0.1,
            batch_size=1,
            speed=20,
        ),
    ),
    "plane": Preset(
        "Regression",
        "A plane over the square, approximated by units that saturate.",
        Settings(dataset="plane", noise=5, hidden=(4,), learning_rate=0.01),
    ),
}
