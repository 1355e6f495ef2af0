r"""
Gradient descent
================

A network learns by walking downhill. Its parameters :math:`\theta` are a place, the cost
:math:`J(\theta)`, which says how wrong the network is, is the height of that place, and learning
is one rule, repeated:

.. math:: \theta \leftarrow \theta - \alpha \frac{\partial J}{\partial \theta}

The derivative says which way is up; the minus sign turns around; the **learning rate**
:math:`\alpha` says how far to go. There is no more to it. What is left to find out is what a
good :math:`\alpha` is.
"""

# %%
# Three learning rates
# --------------------
#
# The simplest of all valleys is :math:`J(\theta) = \theta^2`, with the derivative
# :math:`2\theta` and its lowest point at 0. We start at :math:`\theta = -4`.

import matplotlib.pyplot as plt
import numpy as np


def descend(theta, learning_rate, n_steps):
    """Return the places that gradient descent visits on theta squared."""
    path = [theta]
    for _ in range(n_steps):
        theta = theta - learning_rate * 2 * theta
        path.append(theta)
    return np.array(path)


for learning_rate in (0.1, 1.5, 0.01):
    path = descend(-4.0, learning_rate, n_steps=3)
    print(
        f"learning rate {learning_rate:4}: ",
        " → ".join(f"{theta:g}" for theta in path),
    )

# %%
# With 0.1 we arrive, with 0.01 we would arrive if we had the patience, and with 1.5 each step
# jumps over the valley and lands higher on the other side. Seen from above:

figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.2))
for ax, (learning_rate, n_steps, what) in zip(
    axes,
    [(0.01, 20, "too small"), (0.1, 20, "good"), (1.5, 2, "too large")],
    strict=True,
):
    path = descend(-4.0, learning_rate, n_steps)
    theta = np.linspace(-1.2, 1.2, 200) * np.abs(path).max()
    ax.plot(theta, theta**2, color="0.75")
    ax.plot(path, path**2, "o-", color="C3", markersize=4, linewidth=1)
    ax.plot(path[0], path[0] ** 2, "o", color="C0", label="start")
    ax.set(title=rf"$\alpha = {learning_rate}$: {what}", xlabel=r"$\theta$")
axes[0].set_ylabel(r"$J(\theta)$")
axes[0].legend(loc="upper center")

# %%
# .. admonition:: A slip of the slides
#
#    The slides print −3.012 as the third step for :math:`\alpha = 0.1`, and −3.98 as the first
#    for :math:`\alpha = 0.01`. Count with us: :math:`-2.56 + 0.1 \cdot 2 \cdot 2.56 = -2.048`
#    and :math:`-4 + 0.01 \cdot 2 \cdot 4 = -3.92`.

# %%
# Which rates work?
# -----------------
#
# Here we can tell exactly. A step takes :math:`\theta` to :math:`(1 - 2\alpha)\,\theta`: it
# multiplies the distance from the lowest point by :math:`|1 - 2\alpha|`. Below 1 we come closer,
# above 1 we go astray. At :math:`\alpha = 0.5` one step is enough.

rates = np.linspace(0, 1.6, 200)
figure, ax = plt.subplots()
ax.plot(rates, np.abs(1 - 2 * rates))
ax.axhline(1, color="0.6", linestyle=":")
ax.fill_between(
    rates, 0, 3, where=rates > 1, color="C3", alpha=0.12, label="diverges"
)
ax.plot(
    [0.01, 0.1, 1.5],
    np.abs(1 - 2 * np.array([0.01, 0.1, 1.5])),
    "o",
    color="C3",
    label="our three",
)
ax.set(
    xlabel=r"learning rate $\alpha$",
    ylabel="distance after a step\nas a share of that before",
    ylim=(0, 2.3),
)
ax.legend(loc="upper left")

# %%
# Real valleys are steep in one direction and flat in another, so that no rate is perfect in all
# of them; but the picture stays the same: too small is slow, too large explodes, and the border
# between good and too large is sharp.

# %%
# The same with fastmlp
# ---------------------
#
# The smallest network there is has one weight: :math:`\hat{y} = \theta x`. With the two samples
# :math:`x = \pm\sqrt 2` and the targets 0, its cost, the mean of :math:`\frac{1}{2}(\theta x)^2`, is
# just :math:`\theta^2`. One call of ``partial_fit`` is one step.

from fastmlp import MLPRegressor

X, y = np.array([[np.sqrt(2)], [-np.sqrt(2)]]), np.zeros(2)

for learning_rate in (0.1, 1.5, 0.01):
    model = MLPRegressor(
        hidden_layer_sizes=(),
        solver="sgd",
        momentum=0,
        alpha=0,
        learning_rate_init=learning_rate,
    )
    model.partial_fit(X, y)  # makes the network ...
    model.coefs_[0][...] = -4.0  # ... which we put where we want to start
    model.intercepts_[0][...] = 0.0
    path = [-4.0]
    for _ in range(3):
        model.partial_fit(X, y)
        path.append(model.coefs_[0].item())
    print(
        f"learning rate {learning_rate:4}: ",
        " → ".join(f"{theta:g}" for theta in path),
    )
    np.testing.assert_allclose(
        path, descend(-4.0, learning_rate, n_steps=3), rtol=1e-12
    )

# %%
# The names in scikit-learn's interface need care: what the course calls :math:`\alpha` is
# ``learning_rate_init`` there, and ``alpha`` is the strength of a penalty on large weights, which
# is 0 here.
