"""What a page is told first: all that there is to choose from."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import numpy as np

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.playground.problems import (
    EXTENT,
    FEATURES,
    N_SAMPLES,
    PROBLEMS,
    compute_features,
    make_grid,
    make_problem,
)
from fastmlp.playground.session import COARSE, FINE, FRAME_HEADER, HEADER_FIELDS
from fastmlp.playground.settings import (
    MAX_EPOCHS,
    MAX_LAYERS,
    MAX_UNITS,
    PRESETS,
    REGULARIZATIONS,
    SOLVERS,
    Settings,
)
from fastmlp.training.data import kernel_data
from fastmlp.training.network import NetworkLayout
from fastmlp.training.predictor import Predictor

__all__ = ["greeting"]


@cache
def greeting() -> dict[str, Any]:
    """Return what the page needs to know to draw itself.

    Returns
    -------
    dict
        As JSON can hold it: sizes, limits, and all that there is to choose from.
    """
    grid = make_grid(COARSE)
    examples = {name: make_problem(name) for name in PROBLEMS}
    return {
        "type": "hello",
        "extent": EXTENT,
        "fine": FINE,
        "coarse": COARSE,
        "header": {"fields": HEADER_FIELDS, "bytes": FRAME_HEADER.size},
        "limits": {
            "layers": MAX_LAYERS,
            "units": MAX_UNITS,
            "epochs": MAX_EPOCHS,
            "samples": N_SAMPLES,
        },
        "datasets": [
            {
                "id": name,
                "title": recipe.title,
                "task": recipe.task,
                "points": np.column_stack([examples[name].points_train, examples[name].y_train])
                .round(2)
                .tolist(),
            }
            for name, recipe in PROBLEMS.items()
        ],
        "features": [
            {
                "id": name,
                "label": feature.label,
                "map": _feature_map(compute_features(grid, [name])[:, 0]),
            }
            for name, feature in FEATURES.items()
        ],
        "activations": [
            {"id": name, "equation": row.equation, "curve": _curve(name)}
            for name, row in ACTIVATIONS.items()
            if row.is_hidden
        ],
        "solvers": [{"id": name, "title": title} for name, title in SOLVERS.items()],
        "regularizations": [
            {"id": name, "title": title} for name, title in REGULARIZATIONS.items()
        ],
        "presets": [
            {
                "id": name,
                "title": preset.title,
                "text": preset.text,
                "settings": preset.settings.to_message(),
            }
            for name, preset in PRESETS.items()
        ],
        "defaults": Settings().to_message(),
    }


def _curve(activation: str) -> list[float]:
    """Return an activation from -3 to 3."""
    z = np.linspace(-3, 3, 49).reshape(-1, 1)
    layout = NetworkLayout((1, 1), (activation,), (None,), "squared_error")
    params = layout.initial_params(np.random.RandomState(0), np.float64)
    params[:2] = 1, 0  # the weight and the bias
    outputs = Predictor(layout, params)(kernel_data(z, np.float64), n_jobs=1)
    curve: list[float] = outputs[:, 0].round(3).tolist()
    return curve


def _feature_map(values: np.ndarray[Any, Any]) -> str:
    scaled = np.rint(127 * values / np.abs(values).max()).astype(np.int8)
    return base64.b64encode(scaled.tobytes()).decode()
