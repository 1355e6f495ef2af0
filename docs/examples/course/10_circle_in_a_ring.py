r"""
A circle in a ring
==================

Some points lie in a circle, the others in a ring around it. No line parts them, so that a single
neuron is helpless. Three hidden neurons solve it, and one can see how.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fastmlp import MLPClassifier
from fastmlp.plots import HiddenUnitsDisplay

rng = np.random.RandomState(0)
radius = np.concatenate([rng.uniform(0, 1, 200) ** 0.5, rng.uniform(1.5, 2.3, 200)])
angle = rng.uniform(0, 2 * np.pi, 400)
X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
y = np.repeat([1, 0], 200)  # 1 is the circle

# %%
# How many neurons?
# -----------------
#
# Each hidden neuron can draw one line. To fence in a circle takes three of them: a triangle.


def best_of_five(n_hidden):
    """Return the best of five: how far one gets depends on where one starts."""
    models = [
        MLPClassifier(
            hidden_layer_sizes=(n_hidden,),
            activation="tanh",
            solver="lbfgs",
            alpha=0.01,
            max_iter=1000,
            random_state=seed,
        ).fit(X, y)
        for seed in range(5)
    ]
    return min(models, key=lambda model: model.loss_)


figure, axes = plt.subplots(1, 4, figsize=(11, 3.6), sharex=True, sharey=True)
side = np.linspace(-2.6, 2.6, 150)
x1, x2 = np.meshgrid(side, side)
grid = np.column_stack([x1.ravel(), x2.ravel()])
for ax, n_hidden in zip(axes, (1, 2, 3, 8), strict=True):
    model = best_of_five(n_hidden)
    answer = model.predict_proba(grid)[:, 1].reshape(x1.shape)
    ax.imshow(
        answer,
        extent=(-2.6, 2.6, -2.6, 2.6),
        origin="lower",
        cmap="RdBu",
        vmin=-0.2,
        vmax=1.2,
    )
    ax.contour(x1, x2, answer, [0.5], colors="black", linewidths=1)
    ax.scatter(*X.T, c=y, cmap="RdBu", s=7, edgecolors="white", linewidths=0.2)
    ax.set(
        title=f"{n_hidden} hidden\n{model.score(X, y):.0%} right", xlabel="$x_1$"
    )
axes[0].set_ylabel("$x_2$")

# %%
# With two neurons there is a wedge; with three, a rounded triangle; with eight, nearly a circle.

# %%
# Inside the network
# ------------------
#
# :class:`~fastmlp.plots.HiddenUnitsDisplay` shows what each neuron answers, all over the plane.
# Every hidden neuron has drawn one line. The output adds up the three half-planes, and where all
# three agree is inside.

model = best_of_five(n_hidden=3)
HiddenUnitsDisplay.from_estimator(model, X, y)
print(f"{model.score(X, y):.1%} right")

# %%
# Watch it learn
# --------------
#
# The same network, in the middle of learning. First it finds a side, then another, and at last it
# closes the fence.

model = MLPClassifier(
    hidden_layer_sizes=(3,),
    activation="tanh",
    learning_rate_init=0.03,
    batch_size=20,
    random_state=1,
)
figure, axes = plt.subplots(1, 5, figsize=(12, 3.2), sharex=True, sharey=True)
epoch = 0
for ax, stop in zip(axes, (1, 5, 10, 20, 100), strict=True):
    while epoch < stop:
        model.partial_fit(X, y, classes=[0, 1])
        epoch += 1
    answer = model.predict_proba(grid)[:, 1].reshape(x1.shape)
    ax.imshow(
        answer,
        extent=(-2.6, 2.6, -2.6, 2.6),
        origin="lower",
        cmap="RdBu",
        vmin=-0.2,
        vmax=1.2,
    )
    ax.contour(x1, x2, answer, [0.5], colors="black", linewidths=1)
    ax.set(title=f"epoch {epoch}\nloss {model.loss_:.2f}", xticks=[], yticks=[])

# %%
# Better features
# ---------------
#
# Whoever knows that it is about a circle can tell the network: with :math:`x_1^2` and
# :math:`x_2^2` as inputs, a single neuron is enough, for it can add them up to the square of the
# radius. A network with hidden layers finds its features by itself; this is what it has them for.

squares = FunctionTransformer(np.square)
model = make_pipeline(
    squares, MLPClassifier(hidden_layer_sizes=(), solver="lbfgs", alpha=0.01)
)
HiddenUnitsDisplay.from_estimator(model.fit(X, y), X, y)
print(f"{model.score(X, y):.1%} right")
