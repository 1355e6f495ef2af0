r"""
Outputs and losses
==================

The last layer has to answer in the way the question is asked, and the **loss** has to say how
wrong the answer is. They come in pairs:

.. list-table::
   :header-rows: 1

   * - what is asked for
     - output activation
     - loss of one sample
     - in fastmlp
   * - a number
     - identity
     - squared error, :math:`\frac{1}{2} (\hat{y} - y)^2`
     - :class:`~fastmlp.MLPRegressor`
   * - a confidence: yes or no
     - logistic (sigmoid)
     - binary cross-entropy, :math:`-y \log \hat{y} - (1 - y) \log (1 - \hat{y})`
     - :class:`~fastmlp.MLPClassifier`, two classes
   * - a distribution over M classes
     - softmax
     - cross-entropy, :math:`-\sum_i y_i \log p_i`
     - :class:`~fastmlp.MLPClassifier`, more classes
   * - a count
     - exp
     - Poisson deviance, :math:`y \log (y / \hat{y}) - y + \hat{y}`
     - :class:`~fastmlp.MLPRegressor`, ``loss="poisson"``

Here :math:`\hat{y}` is the output and :math:`y` what it should be; outputs that are probabilities are
also called :math:`p`.
"""

# %%
# Confidence
# ----------
#
# The logistic function :math:`\hat{y} = 1 / (1 + e^{-z})` turns any number into a confidence. If
# the truth is yes, the loss is :math:`-\log \hat{y}`: nothing for a sure yes, and without bound for
# a sure no. Being wrong is forgiven, being sure *and* wrong is not. The squared error forgives too
# easily: its gradient vanishes just where the network is surest of its mistake.

import matplotlib.pyplot as plt
import numpy as np

z = np.linspace(-8, 8, 400)
p = 1 / (1 + np.exp(-z))

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), sharex=True)
left.plot(z, -np.log(p), label="cross-entropy")
left.plot(z, (p - 1) ** 2 / 2, label="squared error")
left.set(title="loss, where yes is right", xlabel="z", ylabel="L")
left.legend()
right.plot(z, p - 1, label="$p - 1$")
right.plot(z, (p - 1) * p * (1 - p), label="$(p - 1)\\,p\\,(1 - p)$")
right.set(title="its derivative", xlabel="z", ylabel=r"$\partial L / \partial z$")
right.legend(loc="lower right")

# %%
# Distribution
# ------------
#
# **Softmax** makes a distribution of any M numbers, the *logits*: it takes the exponential of
# each, so that all are positive, and divides by their sum, so that they add up to 1.
#
# .. math:: p_i = \frac{e^{z_i}}{\sum_j e^{z_j}}


def softmax(z):
    """Return the softmax; less the largest logit, so that nothing overflows."""
    e = np.exp(z - z.max())
    return e / e.sum()


for logits in ([0.8, 1.2, 3.1], [2.0, 1.0, 0.1]):
    print(logits, "→", softmax(np.array(logits)).round(2))

# %%
# The difference between logits is what counts: 100 added to all of them changes nothing, and twice
# the logits are a sharper distribution, not the same.

print(softmax(np.array([102.0, 101.0, 100.1])).round(2))
print(softmax(np.array([4.0, 2.0, 0.2])).round(2))

# %%
# The one gradient they share
# ---------------------------
#
# Take the derivative with respect to what enters the output layer, and for each pair of the table
# the same comes out:
#
# .. math:: \frac{\partial L}{\partial z} = \hat{y} - y
#
# "Output minus truth": the pairs were made for each other. This is also how fastmlp computes them,
# loss and activation in one go, without ever taking the logarithm of a zero. Let us check it with
# finite differences, for three classes of which the second is right:

z, y = np.array([0.8, 1.2, 3.1]), np.array([0.0, 1.0, 0.0])
step = 1e-6
by_differences = [
    (-np.log(softmax(z + move)[1]) + np.log(softmax(z - move)[1])) / (2 * step)
    for move in step * np.eye(3)
]
print("by finite differences:", np.round(by_differences, 6))
print("output minus truth:   ", (softmax(z) - y).round(6))
np.testing.assert_allclose(by_differences, softmax(z) - y, atol=1e-8)

# %%
# .. admonition:: A slip of the slides
#
#    The slides differentiate the softmax by :math:`z_i` for :math:`p_i` alone, which gives
#    :math:`p_i (1 - p_i)`. But :math:`z_i` also moves all other outputs, for they share
#    the sum: :math:`\partial p_j / \partial z_i = -p_i p_j`. Only with these terms
#    does :math:`\hat{y} - y` come out.

p = softmax(z)
jacobian = np.diag(p) - np.outer(p, p)
print(jacobian.round(4))
np.testing.assert_allclose((-y / p) @ jacobian, p - y)

# %%
# In fastmlp
# ----------
#
# The estimators choose the pair by themselves: a classifier looks at how many classes there are.
# ``out_activation_`` says what it chose.

from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from fastmlp import MLPClassifier, MLPRegressor

for load, estimator in [
    (load_diabetes, MLPRegressor(solver="lbfgs", max_iter=5000, random_state=0)),
    (load_breast_cancer, MLPClassifier(tol=0.01, random_state=0)),
    (load_iris, MLPClassifier(tol=0.01, random_state=0)),
]:
    X, y = load(return_X_y=True)
    model = estimator.set_params(hidden_layer_sizes=(5,)).fit(X / X.max(axis=0), y)
    print(
        f"{load.__name__:20} {model.out_activation_:10} {model.n_outputs_} output(s)"
    )

# %%
# Another output activation can be had with the squared error. The network of
# :doc:`05_network_by_hand` is made this way.
