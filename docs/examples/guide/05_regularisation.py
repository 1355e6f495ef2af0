r"""
Few samples, a large network
============================

Two hidden layers of 256 units have 85,000 parameters. With 200 handwritten digits to learn from,
nothing keeps such a network from learning them by heart. How much does it help to make that hard?
One split of the data would tell little: differences between splits are as large as those that are
looked for. So all compete on the same eight splits, and what counts is the difference on each.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

# The number of epochs is part of the comparison: nobody stops early.
warnings.simplefilter("ignore", ConvergenceWarning)

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)

VARIANTS = {
    "plain": {},
    "alpha=1": {"alpha": 1.0},
    "l1=0.05": {"l1": 0.05},
    "dropout=0.3": {"dropout": 0.3},
    "layer normalisation": {"normalization": "layer"},
    "label_smoothing=0.1": {"label_smoothing": 0.1},
    "the last three": {
        "dropout": 0.3,
        "normalization": "layer",
        "label_smoothing": 0.1,
    },
}

accuracy = {name: [] for name in VARIANTS}
for split in range(8):
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, train_size=200, random_state=split
    )
    for name, parameters in VARIANTS.items():
        network = MLPClassifier(
            hidden_layer_sizes=(256, 256),
            max_iter=150,
            n_iter_no_change=150,
            random_state=split,
            **parameters,
        )
        network.fit(X_train, y_train)
        accuracy[name].append(network.score(X_test, y_test))

# %%
# Each point is one split: how much more, or less, of the test digits are right than with the plain
# network trained on the same 200.

gains = {
    name: 100 * (np.array(scores) - accuracy["plain"])
    for name, scores in accuracy.items()
}
_, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for row, (name, gain) in enumerate(gains.items()):
    ax.plot(gain, np.full(gain.size, row), "o", color="tab:blue", alpha=0.4)
    ax.plot(gain.mean(), row, "|", color="black", markersize=18)
    print(
        f"{name:20} {100 * np.mean(accuracy[name]):.1f} % {gain.mean():+.1f} points"
    )
ax.axvline(0, color="gray", linewidth=0.8)
ax.set_yticks(range(len(gains)), gains)
ax.invert_yaxis()
ax.set_xlabel("difference to the plain network in percentage points")

# %%
# Penalties on the weights do a little harm here, which is worth knowing: elsewhere it is the other
# way round. What helps is not to be certain. A network that is asked for probabilities of 1 grows
# its weights for ever; smoothed labels ask for less.
