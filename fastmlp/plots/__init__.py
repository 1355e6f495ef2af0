"""Pictures of networks and of their training, in the manner of scikit-learn's displays.

A display is made by ``from_estimator``, which computes and draws; ``plot`` draws once more. It
needs matplotlib, ``pip install 'fastmlp[plots]'``, which is imported when something is drawn.
Estimators may be fastmlp's or scikit-learn's, also as the last step of a pipeline or as the best
one that a search has found.
"""

from __future__ import annotations

from fastmlp.plots.first_layer_weights import FirstLayerWeightsDisplay
from fastmlp.plots.hidden_units import HiddenUnitsDisplay
from fastmlp.plots.learning_rate import LearningRateDisplay
from fastmlp.plots.training_curve import TrainingCurveDisplay

__all__ = [
    "FirstLayerWeightsDisplay",
    "HiddenUnitsDisplay",
    "LearningRateDisplay",
    "TrainingCurveDisplay",
]
