r"""
The neuron, and the network
===========================

A network is made of one part, used many times. A **neuron**, or unit, takes some numbers
:math:`x_1, x_2, \ldots`, weighs and adds them, shifts the sum by a **bias**, and bends the result
with an **activation** :math:`\sigma`:

.. math:: z = \sum_i w_i x_i + b, \qquad a = \sigma(z)

The weights :math:`w_i` and the bias :math:`b` are what it learns. All the rest is fixed.
"""

import matplotlib.pyplot as plt
import numpy as np


def logistic(z):
    """Return a number between 0 and 1: the activation of this page."""
    return 1 / (1 + np.exp(-z))


x = np.array([0.5, -1.0])
w, b = np.array([2.0, 1.0]), 0.5

z = w @ x + b
print(f"z = {w[0]} · {x[0]} + {w[1]} · ({x[1]}) + {b} = {z}")
print(f"a = {logistic(z):.4f}")

# %%
# What weights and bias do
# ------------------------
#
# With two inputs we can look at a neuron: each point :math:`(x_1, x_2)` of the plane gets the
# colour of the answer there, blue for 1, red for 0. The neuron draws a line, where
# :math:`z = 0` and the answer is one half. The weights are an arrow at right angles to the line,
# pointing to where the answer is yes; a longer arrow makes the border sharper. The bias moves the
# line without turning it.

side = np.linspace(-3, 3, 121)
x1, x2 = np.meshgrid(side, side)
figure, axes = plt.subplots(1, 4, figsize=(10, 3), sharex=True, sharey=True)
for ax, (w1, w2, b, what) in zip(
    axes,
    [
        (1, 0.5, 0, "a neuron"),
        (-0.5, 1, 0, "other weights"),
        (3, 1.5, 0, "larger weights"),
        (1, 0.5, 1.5, "another bias"),
    ],
    strict=True,
):
    answer = logistic(w1 * x1 + w2 * x2 + b)
    ax.imshow(
        answer,
        extent=(-3, 3, -3, 3),
        origin="lower",
        cmap="RdBu",
        vmin=-0.2,
        vmax=1.2,
    )
    ax.contour(x1, x2, answer, [0.5], colors="black", linewidths=1)
    # The arrow starts at the point of the line next to the origin.
    foot = -b * np.array([w1, w2]) / (w1**2 + w2**2)
    ax.annotate(
        "",
        foot + [w1, w2],
        foot,
        arrowprops={"arrowstyle": "->"},
        annotation_clip=False,
    )
    ax.set(
        title=what, xlabel=f"w = ({w1}, {w2}), b = {b}", xlim=(-3, 3), ylim=(-3, 3)
    )

# %%
# One line is all that one neuron can draw. Where two classes cannot be told apart by a line, it
# takes more than one.

# %%
# A layer is a matrix
# -------------------
#
# Several neurons that look at the same inputs are a **layer**. Their weights stand next to each
# other as the columns of a matrix :math:`W`, so that one product computes all of them:
#
# .. math:: z = x W + b, \qquad a = \sigma(z)
#
# A **network** puts layers one after the other. What one layer answers, the next one gets as its
# input: this is the **forward pass**. Here are three hidden neurons and one output.

x = np.array([[0.5, -1.0]])  # one sample is one row
W1 = np.array([[2.0, -1.0, 0.5], [1.0, 1.5, -2.0]])  # from 2 inputs to 3 neurons
b1 = np.array([0.5, 0.0, -0.5])
W2 = np.array([[1.0], [-2.0], [1.5]])  # from 3 neurons to 1
b2 = np.array([0.2])

h = logistic(x @ W1 + b1)
y = h @ W2 + b2
print("hidden layer:", h.round(4))
print("output:", y.round(4))

# %%
# The same network in fastmlp. The lists ``coefs_`` and ``intercepts_`` hold the matrices and the
# biases of all layers. Usually ``fit`` finds them; here we write them down ourselves.

from fastmlp import MLPRegressor

model = MLPRegressor(
    hidden_layer_sizes=(3,), activation="logistic", solver="sgd", random_state=0
)
model.partial_fit(x, [0.0])
for array, values in zip(
    model.coefs_ + model.intercepts_, [W1, W2, b1, b2], strict=True
):
    array[...] = values

print("shapes of the weights:", [W.shape for W in model.coefs_])
print("output:", model.predict(x).round(4))
np.testing.assert_allclose(model.predict(x), y[0])

# %%
# All of it at a glance
# ---------------------
#
# :class:`~fastmlp.plots.HiddenUnitsDisplay` draws a network with what each of its neurons answers
# over the whole plane. Links are weights: blue where positive, red where negative, the wider the
# larger. See how the output is a mixture of the three half-planes of the hidden layer.

from fastmlp.plots import HiddenUnitsDisplay

HiddenUnitsDisplay.from_estimator(model, [[-3, -3], [3, 3]], eps=0)

# %%
# What is left is to choose the weights, so that the output is what it should be. How wrong it is,
# a :doc:`loss <04_losses>` says; which way to go, its derivative, which
# :doc:`backpropagation <05_network_by_hand>` computes; and :doc:`gradient descent
# <01_gradient_descent>` goes there.
