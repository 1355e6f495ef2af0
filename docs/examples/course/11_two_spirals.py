r"""
An encore: two spirals
======================

The hardest of the classical toys: two spirals, wound into each other. Nothing on this page is new.
It takes two hidden layers and some thousand steps, and it is a joy to look at.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import MLPClassifier
from fastmlp.plots import HiddenUnitsDisplay, TrainingCurveDisplay

rng = np.random.RandomState(0)
turn = np.sqrt(rng.uniform(0.02, 1, 400)) * 3.5 * np.pi
label = np.repeat([0, 1], 200)
X = (
    turn
    / np.pi
    * np.array([np.cos(turn + np.pi * label), np.sin(turn + np.pi * label)])
).T
X += rng.normal(scale=0.08, size=X.shape)

model = MLPClassifier(
    hidden_layer_sizes=(16, 16),
    activation="tanh",
    learning_rate_init=0.02,
    batch_size=50,
    max_iter=600,
    tol=1e-5,
    n_iter_no_change=50,
    random_state=3,
)

# %%
# Watch it unwind
# ---------------
#
# ``partial_fit`` runs one epoch at a time.

side = np.linspace(-4.2, 4.2, 160)
x1, x2 = np.meshgrid(side, side)
grid = np.column_stack([x1.ravel(), x2.ravel()])

figure, axes = plt.subplots(2, 3, figsize=(9.5, 6.8), sharex=True, sharey=True)
epoch = 0
for ax, stop in zip(axes.flat, (1, 10, 30, 60, 120, 400), strict=True):
    while epoch < stop:
        model.partial_fit(X, label, classes=[0, 1])
        epoch += 1
    answer = model.predict_proba(grid)[:, 1].reshape(x1.shape)
    ax.imshow(
        answer,
        extent=(-4.2, 4.2, -4.2, 4.2),
        origin="lower",
        cmap="RdBu",
        vmin=-0.2,
        vmax=1.2,
    )
    ax.scatter(*X.T, c=label, cmap="RdBu", s=8, edgecolors="white", linewidths=0.2)
    ax.set(
        title=f"epoch {epoch}: {model.score(X, label):.0%} right",
        xticks=[],
        yticks=[],
    )

# %%
# The whole way down:

TrainingCurveDisplay.from_estimator(model, name="two spirals").ax_.set_yscale("log")

# %%
# Who sees what
# -------------
#
# The first hidden layer draws lines. The second mixes them to arcs and patches, the output mixes
# those to spirals. Of each layer, the eight neurons with the largest weights are shown.

HiddenUnitsDisplay.from_estimator(model, X, label, max_units=8)
