r"""
Three layers, three activations
===============================

The second network by hand has three layers with three neurons each, and each layer has its own
activation: ReLU, logistic, softmax. It is here that the matrix form pays off, and that the softmax
shows what it is made of.
"""

import numpy as np

x = np.array([[0.1, 0.2, 0.7]])
y = np.array([[1.0, 0.0, 0.0]])  # the first class is right
W1 = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.7], [0.4, 0.3, 0.9]])
W2 = np.array([[0.2, 0.3, 0.5], [0.3, 0.5, 0.7], [0.6, 0.4, 0.8]])
W3 = np.array([[0.1, 0.4, 0.8], [0.3, 0.7, 0.2], [0.5, 0.2, 0.9]])
b = 1.0  # every bias

np.set_printoptions(precision=4, floatmode="fixed", suppress=True)

# %%
# Forward
# -------
#
# Layer by layer, weighted sum and bend:

z1 = x @ W1 + b
h1 = np.maximum(z1, 0)  # ReLU
print("into h1:", z1[0], "  out:", h1[0])

z2 = h1 @ W2 + b
h2 = 1 / (1 + np.exp(-z2))  # logistic
print("into h2:", z2[0], "  out:", h2[0])

z3 = h2 @ W3 + b
p = np.exp(z3) / np.exp(z3).sum()  # softmax
print("logits: ", z3[0], "  out:", p[0])

np.testing.assert_allclose(z2[0], [2.731, 2.760, 4.004], atol=5e-4)
np.testing.assert_allclose(p[0], [0.1984, 0.2854, 0.5162], atol=5e-5)

# sphinx_gallery_start_ignore
import matplotlib.pyplot as plt

parts = {
    "x": x,
    "W₁": W1,
    "relu → h₁": h1,
    "W₂": W2,
    "logistic → h₂": h2,
    "W₃": W3,
    "softmax → p": p,
}
figure, axes = plt.subplots(1, 7, figsize=(10, 1.9))
for ax, (name, part) in zip(axes, parts.items(), strict=True):
    ax.imshow(part, cmap="Blues", vmin=0, vmax=2.2)
    for (row, column), value in np.ndenumerate(part):
        ax.text(column, row, f"{value:.2g}", ha="center", va="center", fontsize=9)
    ax.set(xticks=[], yticks=[], ylim=(2.5, -0.5))
    ax.set_title(name, size=10)
    ax.spines[:].set_visible(False)
# sphinx_gallery_end_ignore

# %%
# In the picture, what goes into a layer stands on its left, what comes out on its right.
#
# The network believes in the third class. The cross-entropy asks only for what it thinks of the
# right one:

loss = -np.sum(y * np.log(p))
print(f"-log {p[0, 0]:.4f} = {loss:.4f}")

# %%
# .. admonition:: Slips of the slides
#
#    The third sum into h2 is 4.004, not 4.001, and the logits change with it: 1.8671, 2.2303,
#    2.8230 and not 1.8658, 2.2292, 2.8204. What the slides print as the output, 0.2698, 0.3223,
#    0.4078, is not the softmax of either.

printed = np.array([1.8658, 2.2292, 2.8204])
print("softmax of the printed logits:", np.exp(printed) / np.exp(printed).sum())

# %%
# .. admonition:: Another loss, another logarithm
#
#    The slides add up *binary* cross-entropies, as if each output were a question of its own. That
#    can be done, and gives 2.6793 here. Their own result, 0.985, is nearly what their outputs give
#    with logarithms to base 10. In machine learning, log is the natural logarithm.

binary = -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))
print(f"sum of binary cross-entropies: {binary:.4f}")
p_printed = np.array([0.2698, 0.3223, 0.4078])
in_base_10 = -np.sum(y * np.log10(p_printed) + (1 - y) * np.log10(1 - p_printed))
print(f"of the printed outputs, to base 10: {in_base_10:.4f}")

# %%
# Backward
# --------
#
# **The softmax layer.** The derivative of :math:`-\log \hat{y}` by the output is
# :math:`-y / \hat{y}`; the Jacobian of the softmax is :math:`p_i (1 - p_i)` on its
# diagonal and :math:`-p_i p_j` off it. Their product is as simple as can be:
# :math:`\delta_3 = \hat{y} - y`.

jacobian = np.diag(p[0]) - np.outer(p[0], p[0])
delta3 = (-y / p) @ jacobian
print("delta3 by the Jacobian:", delta3[0])
print("delta3 as p - y:       ", (p - y)[0])
np.testing.assert_allclose(delta3, p - y)

# %%
# The slides take the diagonal alone. One of its entries, written out as they do, for the first
# output:

e1, e2, e3 = np.exp(z3[0])
first = e1 * (e2 + e3) / (e1 + e2 + e3) ** 2
print(f"e₁ (e₂ + e₃) / (e₁ + e₂ + e₃)² = {first:.4f}")
print(f"p₁ (1 - p₁)                    = {p[0, 0] * (1 - p[0, 0]):.4f}")
print("with the diagonal alone, delta3 =", ((-y / p) * np.diag(jacobian))[0])

# %%
# The outputs of the wrong classes would then get no error at all, though they have to become
# smaller.
#
# **The logistic layer.** Errors come back through :math:`W_3^T`, and the derivative is
# :math:`a (1 - a)`:

delta2 = (delta3 @ W3.T) * h2 * (1 - h2)
print("delta2:", delta2[0])

# %%
# **The ReLU layer.** Its derivative is 1 where the neuron was active, as all three were:

delta1 = (delta2 @ W2.T) * (z1 > 0)
print("delta1:", delta1[0])

# %%
# **The gradients** are outer products of what went in and what comes back:

for name, a, delta in [("W1", x, delta1), ("W2", h1, delta2), ("W3", h2, delta3)]:
    print(f"∂L/∂{name} =\n{a.T @ delta}")

# %%
# .. admonition:: A slip of a sign
#
#    For the binary cross-entropy, the slides have a wrong sign in the derivative of the second
#    term. It is :math:`\partial E / \partial \hat{y} = -y / \hat{y} + (1 - y) / (1 - \hat{y})`: both
#    the sign of the term and that of the inner derivative are minus. By finite differences, at
#    :math:`\hat{y} = 0.3` and :math:`y = 0`:

step = 1e-6
slope = (-np.log(1 - 0.3 - step) + np.log(1 - 0.3 + step)) / (2 * step)
print(f"by finite differences: {slope:+.6f},   (1 - y) / (1 - p) = {1 / 0.7:+.6f}")

# %%
# The same with fastmlp
# ---------------------
#
# ``activation`` takes one name for each hidden layer; the softmax comes with the cross-entropy. One
# step with learning rate 1 moves each weight by its gradient, so that we can read it off.

from fastmlp import MLPClassifier

model = MLPClassifier(
    hidden_layer_sizes=(3, 3),
    activation=("relu", "logistic"),
    solver="sgd",
    momentum=0,
    alpha=0,
    learning_rate_init=1.0,
)
model.partial_fit(x, [0], classes=[0, 1, 2])
for array, values in zip(
    model.coefs_ + model.intercepts_, [W1, W2, W3, b, b, b], strict=True
):
    array[...] = values

print("output:", model.predict_proba(x)[0])
model.partial_fit(x, [0])
print(f"loss:   {model.loss_:.4f}")
for W, stepped, a, delta in zip(
    [W1, W2, W3], model.coefs_, [x, h1, h2], [delta1, delta2, delta3], strict=True
):
    np.testing.assert_allclose(W - stepped, a.T @ delta, rtol=1e-9)
print("all 27 weights moved by their gradients")
