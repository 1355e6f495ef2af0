r"""
A network by hand
=================

Nobody needs to compute a network by hand; everybody should have done it once. Two inputs, two
hidden neurons, two outputs, all of them logistic, and one sample. We go forward, look how wrong we
are, go back, and take one step downhill. Every number below comes from the code next to it.
"""

import matplotlib.pyplot as plt
import numpy as np

x = np.array([0.05, 0.10])  # the input
t = np.array([0.01, 0.99])  # what the output should be
w1, w2, w3, w4 = 0.15, 0.20, 0.25, 0.30  # into the hidden layer
w5, w6, w7, w8 = 0.40, 0.45, 0.50, 0.55  # into the output layer
b1, b2 = 0.35, 0.60
learning_rate = 0.5

# sphinx_gallery_start_ignore
places = {
    "x₁": (0, 1),
    "x₂": (0, 0),
    "h₁": (1.4, 1),
    "h₂": (1.4, 0),
    "o₁": (2.8, 1),
    "o₂": (2.8, 0),
}
links = {
    ("x₁", "h₁"): w1,
    ("x₂", "h₁"): w2,
    ("x₁", "h₂"): w3,
    ("x₂", "h₂"): w4,
    ("h₁", "o₁"): w5,
    ("h₂", "o₁"): w6,
    ("h₁", "o₂"): w7,
    ("h₂", "o₂"): w8,
}
figure, ax = plt.subplots(figsize=(7, 3))
for number, ((start, stop), weight) in enumerate(links.items(), start=1):
    (x0, y0), (x1, y1) = places[start], places[stop]
    ax.plot([x0, x1], [y0, y1], color="0.6", zorder=1)
    share = 0.3 if y0 != y1 else 0.5
    ax.text(
        x0 + share * (x1 - x0),
        y0 + share * (y1 - y0),
        f"w{number} = {weight:.2f}",
        ha="center",
        va="center",
        fontsize="small",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
for name, (left, bottom) in places.items():
    ax.plot(
        left,
        bottom,
        "o",
        markersize=32,
        color="C0" if name < "p" else "0.7",
        zorder=2,
    )
    ax.text(left, bottom, name, ha="center", va="center", color="white", zorder=3)
for text, left, bottom in [
    ("0.05", -0.28, 1),
    ("0.10", -0.28, 0),
    ("should be 0.01", 3.4, 1),
    ("should be 0.99", 3.4, 0),
    ("b₁ = 0.35", 1.4, 0.5),
    ("b₂ = 0.60", 2.8, 0.5),
]:
    ax.text(left, bottom, text, ha="center", va="center", fontsize="small")
ax.set(xlim=(-0.5, 3.8), ylim=(-0.3, 1.3))
ax.set_axis_off()
# sphinx_gallery_end_ignore

# %%
# The numbers on the links are the weights. Both neurons of a layer share one bias.
#
# Forward
# -------
#
# Each neuron adds up what comes in, weighted, and its bias. The activation makes of it what goes
# out.


def logistic(z):
    """Return the logistic function, whose derivative is a (1 - a)."""
    return 1 / (1 + np.exp(-z))


net_h1 = w1 * x[0] + w2 * x[1] + b1
net_h2 = w3 * x[0] + w4 * x[1] + b1
out_h1, out_h2 = logistic(net_h1), logistic(net_h2)
print(f"net_h1 = {w1} · {x[0]} + {w2} · {x[1]} + {b1} = {net_h1:.4f}")
print(f"net_h2 = {w3} · {x[0]} + {w4} · {x[1]} + {b1} = {net_h2:.4f}")
print(f"out_h1 = {out_h1:.9f}   out_h2 = {out_h2:.9f}")

# %%
# The same once more, with what the hidden layer answered:

net_o1 = w5 * out_h1 + w6 * out_h2 + b2
net_o2 = w7 * out_h1 + w8 * out_h2 + b2
out_o1, out_o2 = logistic(net_o1), logistic(net_o2)
print(f"net_o1 = {net_o1:.9f}   out_o1 = {out_o1:.9f}")
print(f"net_o2 = {net_o2:.9f}   out_o2 = {out_o2:.9f}")

# %%
# How wrong is that? The error is :math:`E = \sum \frac{1}{2} (t - o)^2`:

E_o1, E_o2 = (t[0] - out_o1) ** 2 / 2, (t[1] - out_o2) ** 2 / 2
E = E_o1 + E_o2
print(f"E = {E_o1:.9f} + {E_o2:.9f} = {E:.9f}")
assert abs(E - 0.298371109) < 5e-10

# %%
# Backward: the output layer
# --------------------------
#
# How does :math:`w_5` change the error? It changes net_o1, that changes out_o1, and that changes
# E. The **chain rule** multiplies:
#
# .. math:: \frac{\partial E}{\partial w_5} = \frac{\partial E}{\partial out_{o1}} \cdot
#           \frac{\partial out_{o1}}{\partial net_{o1}} \cdot
#           \frac{\partial net_{o1}}{\partial w_5}

dE_dout_o1 = out_o1 - t[0]  # of (t - out)² / 2
dout_dnet_o1 = out_o1 * (1 - out_o1)  # of the logistic function
dnet_dw5 = out_h1
print(f"∂E/∂w5 = {dE_dout_o1:.9f} · {dout_dnet_o1:.9f} · {dnet_dw5:.9f}")
print(f"       = {dE_dout_o1 * dout_dnet_o1 * dnet_dw5:.9f}")

# %%
# The first two factors are the same for all weights into o1. Together they are called its *delta*.

delta_o1 = dE_dout_o1 * dout_dnet_o1
delta_o2 = (out_o2 - t[1]) * out_o2 * (1 - out_o2)
print(f"delta_o1 = {delta_o1:.9f}   delta_o2 = {delta_o2:.9f}")

dE_dw5, dE_dw6 = delta_o1 * out_h1, delta_o1 * out_h2
dE_dw7, dE_dw8 = delta_o2 * out_h1, delta_o2 * out_h2
print(f"∂E/∂w5 = {dE_dw5:.9f}   ∂E/∂w6 = {dE_dw6:.9f}")
print(f"∂E/∂w7 = {dE_dw7:.9f}   ∂E/∂w8 = {dE_dw8:.9f}")

# %%
# Backward: the hidden layer
# --------------------------
#
# A hidden neuron is to blame for the errors of *all* outputs that it feeds. So what comes back to
# it is a sum, over the same links that it was sent out on:
#
# .. math:: \frac{\partial E}{\partial out_{h1}} = \delta_{o1} w_5 + \delta_{o2} w_7

dE_dout_h1 = delta_o1 * w5 + delta_o2 * w7
dE_dout_h2 = delta_o1 * w6 + delta_o2 * w8
delta_h1 = dE_dout_h1 * out_h1 * (1 - out_h1)
delta_h2 = dE_dout_h2 * out_h2 * (1 - out_h2)
print(f"∂E/∂out_h1 = {dE_dout_h1:.9f}   delta_h1 = {delta_h1:.9f}")
print(f"∂E/∂out_h2 = {dE_dout_h2:.9f}   delta_h2 = {delta_h2:.9f}")

dE_dw1, dE_dw2 = delta_h1 * x[0], delta_h1 * x[1]
dE_dw3, dE_dw4 = delta_h2 * x[0], delta_h2 * x[1]
print(f"∂E/∂w1 = {dE_dw1:.9f}   ∂E/∂w2 = {dE_dw2:.9f}")
print(f"∂E/∂w3 = {dE_dw3:.9f}   ∂E/∂w4 = {dE_dw4:.9f}")

# %%
# One step
# --------
#
# All eight weights move at once, each against its derivative. (The biases stay as they are in this
# example.) Mind that the old :math:`w_5 \ldots w_8` were used on the way back: a network first goes
# back all the way, and only then moves.

weights = np.array([w1, w2, w3, w4, w5, w6, w7, w8])
gradient = np.array(
    [dE_dw1, dE_dw2, dE_dw3, dE_dw4, dE_dw5, dE_dw6, dE_dw7, dE_dw8]
)
stepped = weights - learning_rate * gradient
for number, (before, after) in enumerate(
    zip(weights, stepped, strict=True), start=1
):
    print(f"w{number}: {before:.2f} → {after:.9f}")

# %%
# In matrix form
# --------------
#
# The same for a layer of any width, and for any number of samples, as the rows of :math:`X`. Here
# :math:`\odot` multiplies element by element, and :math:`W^T` sends the errors back along the
# links:
#
# .. math:: A = \sigma(X W + b), \qquad
#           \Delta_{l} = (\Delta_{l+1} W_{l+1}^T) \odot \sigma'(Z_l), \qquad
#           \frac{\partial E}{\partial W_l} = A_{l-1}^T \Delta_l

X, T = x[np.newaxis], t[np.newaxis]
W1, W2 = np.array([[w1, w3], [w2, w4]]), np.array([[w5, w7], [w6, w8]])


def forward(W1, W2):
    """Return the hidden layer and the output."""
    H = logistic(X @ W1 + b1)
    return H, logistic(H @ W2 + b2)


def step(W1, W2):
    """Go forward, back, and one step on."""
    H, out = forward(W1, W2)
    delta_o = (out - T) * out * (1 - out)
    delta_h = (delta_o @ W2.T) * H * (1 - H)
    return W1 - learning_rate * X.T @ delta_h, W2 - learning_rate * H.T @ delta_o


def error(W1, W2):
    """Return E."""
    return ((forward(W1, W2)[1] - T) ** 2).sum() / 2


W1_stepped, W2_stepped = step(W1, W2)
np.testing.assert_allclose(
    np.concatenate([W1_stepped.T, W2_stepped.T]).ravel(), stepped
)
print(f"E before the step: {error(W1, W2):.9f}")
print(f"E after the step:  {error(W1_stepped, W2_stepped):.9f}")

# %%
# A small gain; but a computer does not mind to do it again.
#
# Ten thousand steps, by fastmlp
# ------------------------------
#
# fastmlp learns its biases, too, so we put them back after each step. And its loss is the mean
# over the outputs, where E is their sum.

from fastmlp import MLPRegressor

model = MLPRegressor(
    hidden_layer_sizes=(2,),
    activation="logistic",
    out_activation="logistic",
    solver="sgd",
    momentum=0,
    alpha=0,
    learning_rate_init=learning_rate,
)
model.partial_fit(X, T)
model.coefs_[0][...], model.coefs_[1][...] = W1, W2
errors = []
for _ in range(10_001):
    model.intercepts_[0][...], model.intercepts_[1][...] = b1, b2
    before = [W.copy() for W in model.coefs_]
    model.partial_fit(X, T)
    errors.append(2 * model.loss_)  # at the weights before this step

print(f"E at the start:          {errors[0]:.9f}")
print(f"E after one step:        {errors[1]:.9f}")
print(f"E after 10,000 steps:    {errors[10_000]:.9f}")
print("output after that:      ", forward(*before)[1].round(6))

# %%
# The first step of fastmlp is ours, and so are all others:

by_hand = [(W1, W2)]
for _ in range(10_000):
    by_hand.append(step(*by_hand[-1]))
np.testing.assert_allclose(errors, [error(*both) for both in by_hand], rtol=1e-9)

figure, ax = plt.subplots()
ax.loglog(np.arange(1, len(errors) + 1), errors)
ax.set(xlabel="step", ylabel="E", title="the error of the network by hand")
ax.grid(alpha=0.3)

# %%
# .. admonition:: Slips of the slides
#
#    The slides print E = 0.291027924 after one step; it is 0.291027774. After 10,000 steps, they
#    have E = 0.0000351085 and outputs of 0.015912196 and 0.984065734; it is 0.0000351019, and the
#    outputs are 0.015914 and 0.984064. The differences are small, but two programs that know
#    nothing of each other, the one above and fastmlp, agree on ours.
