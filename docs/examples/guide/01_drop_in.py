r"""
scikit-learn's model, sooner
============================

fastmlp takes scikit-learn's arguments, and with the same ``random_state`` it takes the same steps:
the same first weights, the same batches, the same losses. So you can change the import, and nothing
else changes but the time.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastmlp

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)

arguments = {
    "hidden_layer_sizes": (64, 32),
    "learning_rate_init": 0.01,
    "random_state": 0,
}
models = {
    "fastmlp": fastmlp.MLPClassifier(**arguments),
    "scikit-learn": neural_network.MLPClassifier(**arguments),
}
# Loads the compiled code, once per process.
fastmlp.MLPClassifier(tol=100).fit(X_train, y_train)

for name, model in models.items():
    started = time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - started
    print(
        f"{name:13} {model.n_iter_} epochs in {1000 * seconds:5.0f} ms, "
        f"loss {model.loss_:.9f}, {model.score(X_test, y_test):.4f} correct"
    )

# %%
# The times are those of the machine that built this page, on a day when it had other things to do,
# too. :doc:`/guide/speed` has figures that were taken with care.
#
# The two loss curves lie on top of each other:

figure, ax = plt.subplots()
ax.semilogy(
    models["scikit-learn"].loss_curve_, linewidth=6, alpha=0.4, label="scikit-learn"
)
ax.semilogy(
    models["fastmlp"].loss_curve_, color="C1", linewidth=1.5, label="fastmlp"
)
ax.set(xlabel="epoch", ylabel="loss")
ax.legend()

# %%
# And the weights, after all these steps?

ours, theirs = models["fastmlp"], models["scikit-learn"]
for layer, (W, V) in enumerate(zip(ours.coefs_, theirs.coefs_, strict=True)):
    print(f"layer {layer}: largest difference {np.abs(W - V).max():.1e}")
np.testing.assert_array_equal(ours.predict(X_test), theirs.predict(X_test))

# %%
# Rounding is all that differs: sums are added in another order. Rounding errors grow with the
# number of steps, so that after very many of them the two may part, as two runs of scikit-learn on
# two machines may. :doc:`/guide/scikit_learn` lists the few cases that differ on purpose.
