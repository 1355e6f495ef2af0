r"""
Which learning rate?
====================

The learning rate matters more than all other parameters. :doc:`The course
</auto_examples/course/01_gradient_descent>` has shown why: too small is slow, too large explodes,
and the border is sharp. So let us look for it.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier, find_learning_rate
from fastmlp.plots import LearningRateDisplay, TrainingCurveDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)

# %%
# Try them all
# ------------
#
# :func:`~fastmlp.find_learning_rate` trains for a short while, with a rate that grows from step to
# step, far too small at first and far too large in the end. The loss stays, falls, and explodes;
# just before it would, the rate is good.

network = MLPClassifier(hidden_layer_sizes=(64,), random_state=0)
curve = find_learning_rate(network, X_train, y_train, random_state=0)
LearningRateDisplay(curve=curve).plot()
print(f"suggested: {curve.suggestion:g}")

# %%
# Is it?
# ------
#
# Ten epochs each, with a tenth of the suggestion, the suggestion, and ten times as much:

for factor in (0.1, 1, 10):
    rate = factor * curve.suggestion
    model = MLPClassifier((64,), learning_rate_init=rate, random_state=0)
    for _ in range(10):
        model.partial_fit(X_train, y_train, classes=range(10))
    score = model.score(X_test, y_test)
    print(f"rate {rate:6.4g}: loss {model.loss_:.3f}, {score:.3f} correct")

# %%
# A plan for the rate
# -------------------
#
# A large rate gets ahead, a small one settles down. A schedule has both. ``"one_cycle"`` rises to
# the rate that was asked for and falls to nearly nothing, ``"cosine"`` only falls. They need to
# know when it will be over: ``max_iter`` epochs are planned, and all of them are run. (Of which
# scikit-learn warns, as there might be more to gain. Here it is meant.)

warnings.simplefilter("ignore", ConvergenceWarning)
figure, axes = plt.subplots(1, 3, figsize=(11, 4.2))
for ax, schedule in zip(axes, ("constant", "cosine", "one_cycle"), strict=True):
    model = MLPClassifier(
        (64,),
        learning_rate=schedule,
        learning_rate_init=curve.suggestion,
        max_iter=20,
        n_iter_no_change=20,
        random_state=0,
    )
    model.fit(X_train, y_train, X_val=X_test, y_val=y_test)
    TrainingCurveDisplay.from_estimator(model, name=schedule, ax=ax)
    print(f"{schedule:10} {model.score(X_test, y_test):.3f} correct")

# %%
# On so easy a problem, the constant rate does as well. The difference is in the end of the curves: a
# rate that falls lets them come to rest, and one need not be lucky with the last epoch.
