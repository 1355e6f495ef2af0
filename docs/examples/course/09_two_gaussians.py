r"""
Two Gaussians
=============

The first thing to learn: two clouds of points, and which of the two a point came from. We know how
the data were made, so that we can say how good anyone could possibly be, and see whether the
network gets there.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import multivariate_normal
from sklearn.inspection import DecisionBoundaryDisplay

from fastmlp import MLPClassifier

rng = np.random.RandomState(0)


def draw_samples(clouds, n_samples):
    """Draw as many samples from each of two Gaussians."""
    X = np.vstack([cloud.rvs(n_samples, random_state=rng) for cloud in clouds])
    return X, np.repeat([0, 1], n_samples)


same = [multivariate_normal([-1, -1], 1.0), multivariate_normal([1, 1], 1.0)]
X, y = draw_samples(same, 500)
X_test, y_test = draw_samples(same, 20_000)

# %%
# One neuron is enough
# --------------------
#
# Where both clouds have the same shape, the best border is a straight line. So we need no hidden
# layer at all: ``hidden_layer_sizes=()`` is one logistic neuron, also known as logistic
# regression.


def show(model, clouds, title, ax):
    """Draw what the model answers, its border and, dotted, the best border."""
    DecisionBoundaryDisplay.from_estimator(
        model,
        X,
        response_method="predict_proba",
        plot_method="pcolormesh",
        cmap="RdBu",
        vmin=-0.2,
        vmax=1.2,
        ax=ax,
        grid_resolution=200,
    )
    x1, x2 = np.meshgrid(np.linspace(-4, 4, 200), np.linspace(-4, 4, 200))
    grid = np.column_stack([x1.ravel(), x2.ravel()])
    answer = model.predict_proba(grid)[:, 1].reshape(x1.shape)
    ax.contour(x1, x2, answer, [0.5], colors="black")
    truth = (clouds[1].logpdf(grid) - clouds[0].logpdf(grid)).reshape(x1.shape)
    ax.contour(x1, x2, truth, [0], colors="black", linestyles="dotted")
    ax.scatter(*X.T, c=y, cmap="RdBu", s=10, edgecolors="white", linewidths=0.3)
    ax.set(title=title, xlabel="$x_1$", ylabel="$x_2$", xlim=(-4, 4), ylim=(-4, 4))


def best_possible(clouds):
    """Return the accuracy of asking the true densities."""
    guess = clouds[1].logpdf(X_test) > clouds[0].logpdf(X_test)
    return (guess == y_test).mean()


neuron = MLPClassifier(hidden_layer_sizes=(), solver="lbfgs", random_state=0).fit(
    X, y
)
figure, ax = plt.subplots(figsize=(5, 4.5))
show(neuron, same, "one neuron", ax)
print(f"one neuron:          {neuron.score(X_test, y_test):.3f} of all correct")
print(f"the best there is:   {best_possible(same):.3f}")

# %%
# The clouds overlap, so that even the best are wrong now and then. No network can change that; one
# that does better on the samples it learned from has learned them by heart.
#
# And the answers are more than yes and no. Is the confidence right? We take all points for which
# the neuron is about so sure, and count how often it was right:

p = neuron.predict_proba(X_test)[:, 1]
print("  said    happened")
for low in (0.0, 0.2, 0.4, 0.6, 0.8):
    chosen = (p >= low) & (p < low + 0.2)
    print(f"{p[chosen].mean():6.2f} {y_test[chosen].mean():10.2f}")

# %%
# When one cloud is wider
# -----------------------
#
# Let the second cloud lie around the first. Now the best border is a circle, and one neuron is
# lost: it knows only lines. A hidden layer bends its border.

wider = [multivariate_normal([0, 0], 0.3), multivariate_normal([0.5, 0], 3.0)]
X, y = draw_samples(wider, 300)
X_test, y_test = draw_samples(wider, 20_000)

neuron = MLPClassifier(hidden_layer_sizes=(), solver="lbfgs", random_state=0).fit(
    X, y
)
network = MLPClassifier(
    hidden_layer_sizes=(8,),
    activation="tanh",
    solver="lbfgs",
    alpha=1.0,
    max_iter=2000,
    random_state=0,
).fit(X, y)

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.3))
show(neuron, wider, "one neuron", axes[0])
show(network, wider, "eight hidden neurons", axes[1])
print(f"one neuron:           {neuron.score(X_test, y_test):.3f} of all correct")
print(f"eight hidden neurons: {network.score(X_test, y_test):.3f}")
print(f"the best there is:    {best_possible(wider):.3f}")

# %%
# Too free
# --------
#
# More neurons can draw a wilder border. With few samples and no penalty on large weights, they do,
# around every single point. The parameter ``alpha`` keeps the weights small, and the border
# smooth.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.7))
for ax, alpha in zip(axes, (1e-4, 1.0, 20.0), strict=True):
    model = MLPClassifier(
        hidden_layer_sizes=(50, 50),
        activation="tanh",
        solver="lbfgs",
        alpha=alpha,
        max_iter=2000,
        random_state=0,
    ).fit(X, y)
    show(model, wider, f"alpha = {alpha:g}", ax)
    print(
        f"alpha = {alpha:6g}: {model.score(X, y):.3f} of what it learned from, "
        f"{model.score(X_test, y_test):.3f} of new ones"
    )

# %%
# Too small an ``alpha`` and the network learns the noise, too large and it learns little. What is
# right, only samples can tell that it has not learned from; :doc:`/guide/pipelines` shows how
# scikit-learn's grid search asks them.
