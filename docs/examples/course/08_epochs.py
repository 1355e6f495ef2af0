r"""
Epochs and iterations
=====================

Three words that are easily confused:

**batch size**
    How many samples go into one step.
**iteration**
    One step: forward, backward, and the weights move.
**epoch**
    Once through all samples. It takes :math:`\lceil n / b \rceil` iterations.
"""

# %%
# Counting
# --------
#
# Twelve samples, in batches of five: that is two full batches and a small one, so three iterations
# make an epoch.

import math

# sphinx_gallery_start_ignore
import matplotlib.pyplot as plt
import numpy as np

n_samples = 12
figure, axes = plt.subplots(4, 1, figsize=(7.2, 3.2), sharex=True)
for ax, batch_size in zip(axes, (12, 6, 5, 1), strict=True):
    for first in range(0, n_samples, batch_size):
        width = min(batch_size, n_samples - first)
        ax.barh(
            0,
            width - 0.1,
            left=first + 0.05,
            color=f"C{first // batch_size % 10}",
            height=0.6,
        )
    n_iterations = math.ceil(n_samples / batch_size)
    ax.set_ylabel(f"b = {batch_size}", rotation=0, ha="right", va="center")
    ax.text(
        12.3, 0, f"{n_iterations} iteration{'s' * (n_iterations > 1)}", va="center"
    )
    ax.set(yticks=[], xlim=(0, 14.5), ylim=(-0.5, 0.5))
    ax.spines[:].set_visible(False)
    ax.tick_params(bottom=False)
axes[-1].set(xticks=[0, 4, 8, 12], xlabel="samples of one epoch")
# sphinx_gallery_end_ignore

# %%
# In fastmlp, as in scikit-learn, ``max_iter`` and ``n_iter_`` count *epochs* for the solvers
# ``"sgd"`` and ``"adam"``. ``t_`` counts the samples seen. Each epoch takes the samples in a new
# order, unless ``shuffle=False``.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import minmax_scale

from fastmlp import MLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    minmax_scale(X), y, random_state=0
)
n = len(X_train)

model = MLPClassifier(
    hidden_layer_sizes=(30,), batch_size=100, tol=0.005, random_state=0
)
model.fit(X_train, y_train)
print(f"{n} samples in batches of {model.batch_size}")
print(f"{model.n_iter_} epochs, {model.t_} samples seen = {model.n_iter_} · {n}")
print(f"{model.n_iter_ * math.ceil(n / model.batch_size)} iterations")

# %%
# How many epochs?
# ----------------
#
# Training stops by itself when the loss has not become smaller by more than ``tol`` for
# ``n_iter_no_change`` epochs in a row, or else after ``max_iter`` epochs, with a warning.
# ``loss_curve_`` has the loss of each epoch.

from fastmlp.plots import TrainingCurveDisplay

TrainingCurveDisplay.from_estimator(
    model, name="stopped when the loss no longer fell"
)

# %%
# Too many
# --------
#
# A small loss on the samples one has learned from is worth little: at last a network knows them by
# heart. What counts are samples it has not seen. ``early_stopping=True`` holds some back, looks
# how well they are predicted after each epoch, stops when this gets no better, and keeps the
# weights of the best epoch. (Here we have it go on for longer, to see what happens.)

rng = np.random.RandomState(0)
is_wrong = rng.uniform(size=n) < 0.2
y_noisy = np.where(
    is_wrong, rng.randint(10, size=n), y_train
)  # a fifth are guesses

model = MLPClassifier(
    hidden_layer_sizes=(300,),
    learning_rate_init=0.01,
    early_stopping=True,
    n_iter_no_change=40,
    validation_fraction=0.3,
    random_state=0,
)
model.fit(X_train, y_noisy)
TrainingCurveDisplay.from_estimator(model, name="a fifth of the labels are wrong")
best_epoch = 1 + np.argmax(model.validation_scores_)
print(f"{model.n_iter_} epochs were run, and number {best_epoch} was the best")
print(f"score on the test data: {model.score(X_test, y_test):.3f}")

model.set_params(early_stopping=False, max_iter=300, tol=1e-4, n_iter_no_change=10)
model.fit(X_train, y_noisy)
print(f"if trained to the end:  {model.score(X_test, y_test):.3f}")

# %%
# One by one
# ----------
#
# ``partial_fit`` runs a single epoch, so that you can look at the network in between, or show it
# data that come in pieces. Here are the predictions for one picture, epoch by epoch:

model = MLPClassifier(hidden_layer_sizes=(30,), batch_size=100, random_state=0)
for epoch in range(1, 7):
    model.partial_fit(X_train, y_train, classes=np.arange(10))
    p = model.predict_proba(X_test[:1])[0]
    print(
        f"epoch {epoch}: a {p.argmax()}, with {p.max():.0%}; loss {model.loss_:.2f}"
    )
print("it is a", y_test[0])
