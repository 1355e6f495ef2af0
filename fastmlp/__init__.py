"""scikit-learn's multilayer perceptrons, compiled from the first layer to the last update.

`MLPClassifier` and `MLPRegressor` take the arguments of the classes of the same name in
:mod:`sklearn.neural_network` and give the same numbers, faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmlp.checkpoints import Checkpoint, resume
    from fastmlp.estimators._diagnostics import TrainingWarning
    from fastmlp.estimators.classifier import MLPClassifier
    from fastmlp.estimators.regressor import MLPRegressor
    from fastmlp.kernels.custom import CustomActivation, CustomLoss
    from fastmlp.learning_rate import find_learning_rate
    from fastmlp.model_file import ModelFormatError, load

__all__ = [
    "Checkpoint", "CustomActivation", "CustomLoss", "MLPClassifier", "MLPRegressor",
    "ModelFormatError", "TrainingWarning", "__version__", "find_learning_rate", "load", "resume",
]  # fmt: skip

__version__ = "0.1.0"

# Imported when first asked for: `fastmlp --help` need not wait for Numba and scikit-learn.
_HOMES = {
    "Checkpoint": "fastmlp.checkpoints",
    "CustomActivation": "fastmlp.kernels.custom",
    "CustomLoss": "fastmlp.kernels.custom",
    "MLPClassifier": "fastmlp.estimators.classifier",
    "MLPRegressor": "fastmlp.estimators.regressor",
    "ModelFormatError": "fastmlp.model_file",
    "find_learning_rate": "fastmlp.learning_rate",
    "TrainingWarning": "fastmlp.estimators._diagnostics",
    "load": "fastmlp.model_file",
    "resume": "fastmlp.checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
