r"""
Activations
===========

Without an activation, a network of many layers is no more than one of a single layer: a weighted
sum of weighted sums is a weighted sum. The bend is what makes depth worth having. And since
learning follows derivatives, the derivative of the bend matters as much as the bend itself: where
it is zero, nothing is learned.

All activations of fastmlp stand in one table of its code. This page is made from that table: an
activation that is added there appears here by itself.
"""

import pandas as pd

from fastmlp.kernels.activations import ACTIVATIONS

pd.set_option("display.max_colwidth", None)
pd.DataFrame(
    {
        "f(z)": [row.equation for row in ACTIVATIONS.values()],
        "f'(z), where a = f(z)": [row.derivative for row in ACTIVATIONS.values()],
        "default slope": [
            "" if row.slope is None else row.slope for row in ACTIVATIONS.values()
        ],
        "in hidden layers": [
            "yes" if row.is_hidden else "no" for row in ACTIVATIONS.values()
        ],
    },
    index=list(ACTIVATIONS),
)

# %%
# Here ``Phi`` and ``phi`` are the distribution function and the density of the standard normal
# distribution. ``exp`` and ``softmax`` are for the output layer only; :doc:`04_losses` tells when.
#
# The slope is the α of the course: ``leaky_relu`` has it below zero, ``prelu`` starts there and
# learns it, and for ``elu`` it is the depth. It is set by ``activation_slope``.

# %%
# How they look
# -------------
#
# We let the network draw itself. Its hidden layer has one neuron for each place :math:`z` we want
# to look at: no weight, and :math:`z` as its bias. The output adds them all up with weight 1. If
# the output is too large by exactly 1, one step of gradient descent moves the bias of each neuron
# by :math:`-\eta f'(z)`, where :math:`\eta` is the learning rate. So a single step shows the whole
# derivative, as backpropagation computes it.

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import MLPRegressor

places = np.linspace(-4, 4, 401)


def draw(name, ax):
    """Draw an activation and, dashed, its derivative; return the two lines."""
    ax.axhline(0, color="0.85", linewidth=1)
    ax.axvline(0, color="0.85", linewidth=1)
    lines = ax.plot(places, function(name)) + ax.plot(
        places, derivative(name), "--", linewidth=1.2
    )
    ax.set(title=name, xlim=(-4, 4), ylim=(-2, 3))
    return lines


def function(name):
    """Return f(z): what a network with one neuron answers."""
    model = MLPRegressor(
        hidden_layer_sizes=(), out_activation=name, solver="sgd", momentum=0
    )
    model.partial_fit([[0.0]], [0.0])
    model.coefs_[0][...], model.intercepts_[0][...] = 1, 0
    return model.predict(places[:, np.newaxis])


def derivative(name):
    """Return f'(z): how far one step of gradient descent moves each bias."""
    rate = 1e-6
    model = MLPRegressor(
        hidden_layer_sizes=places.size,
        activation=name,
        solver="sgd",
        momentum=0,
        alpha=0,
        learning_rate_init=rate,
    )
    model.partial_fit([[0.0]], [0.0])
    model.coefs_[0][...], model.intercepts_[0][...] = 0, places
    model.coefs_[1][...], model.intercepts_[1][...] = 1, 0
    model.partial_fit([[0.0]], model.predict([[0.0]]) - 1)
    return (places - model.intercepts_[0]) / rate


names = [name for name, row in ACTIVATIONS.items() if row.is_hidden]
figure, axes = plt.subplots(
    -(-len(names) // 4), 4, figsize=(9.5, 9), sharex=True, sharey=True
)
for ax in axes.flat[len(names) :]:
    ax.set_visible(False)
for name, ax in zip(names, axes.flat, strict=False):
    lines = draw(name, ax)
figure.legend(lines, ["f(z)", "f'(z)"], loc="outside lower right", ncols=2)

# %%
# Which one?
# ----------
#
# - ``relu`` is the default and a good one: cheap, and its derivative is 1 wherever the neuron is
#   active. A neuron that is active nowhere is dead, however: its derivative is 0 for all data.
#   ``leaky_relu``, ``prelu`` and ``elu`` leave it a way back.
# - ``tanh`` and ``logistic`` are smooth and bounded, at home in small networks. Far from zero they
#   are flat, so that features should be scaled, for example by scikit-learn's ``StandardScaler``.
# - ``gelu``, ``silu`` and ``mish`` are smooth relatives of ``relu`` from the age of large networks.
# - ``binary_step`` is the activation of the first neurons, and a warning. Its derivative is zero
#   everywhere: no layer below it learns anything.
#
# Each hidden layer may have its own, as in ``activation=("relu", "tanh")``.

# %%
# Flat is slow
# ------------
#
# How much of an error comes back through ten layers? Each layer multiplies it by the derivative of
# its activation. That of ``logistic`` is at most one quarter, so that after ten layers not even a
# millionth is left. This is the *vanishing gradient*.

layers = np.arange(11)
figure, ax = plt.subplots()
for name in ("logistic", "tanh", "relu"):
    slopes = derivative(name)
    (line,) = ax.semilogy(
        layers, slopes.max() ** layers, "o-", label=f"{name}, at its steepest"
    )
    mean = slopes[np.abs(places) <= 2].mean()
    ax.semilogy(
        layers,
        mean**layers,
        "o:",
        color=line.get_color(),
        label=f"{name}, on average",
    )
ax.set(
    xlabel="layers passed on the way back",
    ylabel="share of the error that is left",
    title="derivatives of several layers, multiplied; averages over |z| ≤ 2",
)
ax.legend()

# %%
# Half of the plane of a ``relu`` passes everything and the other half nothing, so that a share of
# the neurons always gets the whole error. That, and its speed, made it the usual choice.
