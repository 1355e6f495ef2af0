r"""
Batch, mini-batch, stochastic
=============================

Gradient descent needs the derivative of the cost over *all* samples for each step. But a few of
them already say roughly which way is down, and a rough answer now may be better than an exact one
later. How many samples go into a step is the **batch size**:

.. list-table::
   :header-rows: 1

   * - name
     - batch size
     - one step
   * - batch gradient descent
     - n, all of them
     - :math:`w \leftarrow w - \alpha \nabla J(w)`
   * - mini-batch gradient descent
     - b, some of them
     - :math:`w \leftarrow w - \alpha \nabla J(w; x^{[i : i + b]}, y^{[i : i + b]})`
   * - stochastic gradient descent
     - 1
     - :math:`w \leftarrow w - \alpha \nabla J(w; x^{i}, y^{i})`

For fastmlp all three are one and the same: ``batch_size`` = n, b or 1.
"""

# %%
# One surface, three ways down
# ----------------------------
#
# A straight line through noisy points has two parameters, a weight and a bias, so that the cost is
# a surface we can draw. All three start at the same place, and see the samples in the same order.

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import MLPRegressor

rng = np.random.RandomState(0)
n_samples = 60
x = rng.uniform(-1, 2, n_samples)
y = 1.5 * x + 0.5 + rng.normal(scale=0.6, size=n_samples)
X = x[:, np.newaxis]


def cost(weight, bias):
    """Return half the mean squared error over all samples."""
    error = np.multiply.outer(weight, x) + bias[..., np.newaxis] - y
    return (error**2).mean(axis=-1) / 2


def descend(batch_size, n_epochs, learning_rate=0.15):
    """Return the weight and the bias after each step."""
    model = MLPRegressor(
        hidden_layer_sizes=(),
        solver="sgd",
        momentum=0,
        alpha=0,
        batch_size=batch_size,
        learning_rate_init=learning_rate,
        shuffle=False,
    )
    model.partial_fit(X[:batch_size], y[:batch_size])
    model.coefs_[0][...], model.intercepts_[0][...] = -1.0, 2.5
    path = [(-1.0, 2.5)]
    for _ in range(n_epochs):
        # One batch per call, so that we see each step.
        for first in range(0, n_samples, batch_size):
            batch = slice(first, first + batch_size)
            model.partial_fit(X[batch], y[batch])
            path.append((model.coefs_[0].item(), model.intercepts_[0].item()))
    return np.array(path)


kinds = {"batch": n_samples, "mini-batch": 10, "stochastic": 1}
paths = {
    kind: descend(batch_size, n_epochs=12) for kind, batch_size in kinds.items()
}

weights, biases = np.meshgrid(
    np.linspace(-1.4, 2.6, 100), np.linspace(-0.5, 2.9, 100)
)
surface = cost(weights, biases)
best = np.polyfit(x, y, 1)

figure, axes = plt.subplots(1, 3, figsize=(10, 3.9), sharex=True, sharey=True)
for ax, (kind, path), color in zip(
    axes, paths.items(), ["C0", "C2", "C3"], strict=True
):
    ax.contour(
        weights,
        biases,
        surface,
        np.geomspace(0.16, 6, 14),
        colors="0.8",
        linewidths=0.8,
    )
    ax.plot(*path.T, "o-", color=color, markersize=2.5, linewidth=0.8)
    ax.plot(*best, "k+", markersize=12)
    ax.set(title=f"{kind}\n{len(path) - 1} steps", xlabel="weight")
axes[0].set_ylabel("bias")
figure.suptitle("twelve epochs, each of all samples once")

# %%
# Batch descent goes straight down, at right angles to the lines of equal height, but it has taken
# only twelve steps. Stochastic descent has taken 720, zigzagging, was at the bottom early, and now
# wanders about there: a single sample pulls towards *its* best line, not towards that of all.
# Mini-batches are in between, and this is why nearly everybody uses them.

# %%
# What a step costs
# -----------------
#
# The same paths once more, over the number of samples looked at, which is what takes the time:

figure, ax = plt.subplots()
lowest = cost(*best[:, np.newaxis])[0]
for (kind, path), color in zip(paths.items(), ["C0", "C2", "C3"], strict=True):
    seen = np.arange(len(path)) * kinds[kind]
    ax.semilogy(seen, cost(*path.T) - lowest, color=color, label=kind, linewidth=1)
ax.set(xlabel="samples looked at", ylabel="cost above the lowest")
ax.legend()

# %%
# Stochastic descent is down first, mini-batches end lowest, and batch descent is still on its way.
#
# Calming down
# ------------
#
# A smaller learning rate wanders less, but gets there later. So one begins with a large rate and
# lowers it: ``learning_rate="invscaling"`` divides it by a power of the number of samples seen.
#
# Another way is to average over the last steps: this is **momentum** (``momentum=0.9`` is the
# default). And ``solver="adam"``, the default solver, gives each weight a rate of its own.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.9), sharex=True, sharey=True)
for ax, learning_rate in zip(axes, (0.2, 0.02), strict=True):
    path = descend(1, n_epochs=8, learning_rate=learning_rate)
    ax.contour(
        weights,
        biases,
        surface,
        np.geomspace(0.16, 6, 14),
        colors="0.8",
        linewidths=0.8,
    )
    ax.plot(*path.T, color="C3", linewidth=0.8)
    ax.plot(*best, "k+", markersize=12)
    ax.set(title=rf"stochastic, $\alpha = {learning_rate}$", xlabel="weight")
axes[0].set_ylabel("bias")

# %%
# The gradient of a mini-batch is the mean over its samples. fastmlp computes it by products of
# matrices, which computers do best for batches of some size; ``batch_size="auto"`` is 200, or all
# samples if there are fewer. For ``batch_size=1`` it has a program of its own, so that stochastic
# descent, too, runs at full speed; :doc:`/guide/speed` has the figures.
