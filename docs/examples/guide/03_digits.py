r"""
What a network sees in a digit
==============================

Handwritten digits of 8 × 8 pixels are small enough to look at everything: the pictures, the
weights, and the mistakes.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier
from fastmlp.plots import FirstLayerWeightsDisplay, TrainingCurveDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)

figure, axes = plt.subplots(1, 10, figsize=(9, 1.3))
for digit, ax in enumerate(axes):
    ax.imshow(X_train[y_train == digit][0].reshape(8, 8), cmap="gray_r")
    ax.set(title=digit, xticks=[], yticks=[])

# %%
# One layer: ten templates
# ------------------------
#
# Without a hidden layer, each class has one weight per pixel: blue where ink speaks for it, red
# where ink speaks against it. Some can be read.

linear = MLPClassifier(
    hidden_layer_sizes=(), alpha=3, learning_rate_init=0.01, random_state=0
)
linear.fit(X_train, y_train)
display = FirstLayerWeightsDisplay.from_estimator(linear)
for digit, ax in enumerate(display.axes_):
    ax.set_title(digit)
print(f"{linear.score(X_test, y_test):.3f} correct")

# %%
# With a hidden layer
# -------------------
#
# The units of a hidden layer need not stand for anything that has a name: they share the work. With
# hardly a penalty on the weights (``alpha``), they look like noise; with a penalty, strokes and
# edges appear, and the pixels at the border, where there is no ink to learn from, fall silent.

networks = {}
figure, axes = plt.subplots(1, 2, figsize=(10.5, 4))
for ax, alpha in zip(axes, (1e-4, 3.0), strict=True):
    networks[alpha] = network = MLPClassifier(
        hidden_layer_sizes=(40,),
        alpha=alpha,
        learning_rate_init=0.01,
        max_iter=300,
        random_state=0,
    )
    network.fit(X_train, y_train)
    FirstLayerWeightsDisplay.from_estimator(network, max_units=12, ax=ax)
    ax.set_title(f"alpha = {alpha:g}")
    print(f"alpha = {alpha:6g}: {network.score(X_test, y_test):.3f} correct")

# %%
# How it got there:

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
for ax, (alpha, network) in zip(axes, networks.items(), strict=True):
    TrainingCurveDisplay.from_estimator(network, name=f"alpha = {alpha:g}", ax=ax)

# %%
# The penalty is part of the loss, so that the right curve ends higher.
#
# The mistakes
# ------------
#
# What it got wrong, and how sure it was:

network = networks[3.0]
p = network.predict_proba(X_test)
wrong = np.flatnonzero(p.argmax(axis=1) != y_test)[:8]
figure, axes = plt.subplots(1, 8, figsize=(9.5, 1.9))
for ax in axes:
    ax.set_axis_off()
for ax, sample in zip(axes, wrong, strict=False):
    ax.imshow(X_test[sample].reshape(8, 8), cmap="gray_r")
    ax.set_title(
        f"{p[sample].argmax()}? ({p[sample].max():.0%})\nit is a {y_test[sample]}",
        size=9,
    )

# %%
# What made it think so? ``input_gradients`` tells how the output of the class that it chose would
# change with each pixel: blue where more ink would make it surer, red where less would.

figure, axes = plt.subplots(1, 8, figsize=(9.5, 1.9))
for ax in axes:
    ax.set_axis_off()
for ax, sample in zip(axes, wrong, strict=False):
    guess = p[sample].argmax()
    gradient = network.input_gradients(X_test[[sample]], output=guess, logits=True)
    largest = np.abs(gradient).max()
    ax.imshow(gradient.reshape(8, 8), cmap="RdBu", vmin=-largest, vmax=largest)
    ax.contour(X_test[sample].reshape(8, 8), [0.5], colors="black", linewidths=0.8)
    ax.set_title(f"why a {guess}?", size=9)
