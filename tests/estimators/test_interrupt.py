"""Ctrl-C in the middle of a fit is answered at once, and leaves a usable model."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

# The child fits small models first, so that the signal meets training and not the compiler. Then
# it trains for far longer than the test waits, in one epoch or over many.
CHILD = """
import json, sys, warnings
import numpy as np
from fastmlp import MLPClassifier

rng = np.random.RandomState(0)
n_samples, batch_size, options = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
X = rng.normal(size=(n_samples, 20)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
warnings.simplefilter("ignore")
for hidden in ((5,), (500, 500)):
    small = MLPClassifier(hidden, batch_size=min(batch_size, 50), max_iter=2, **options)
    small.fit(X[:100], y[:100])
model = MLPClassifier((500, 500), batch_size=batch_size, max_iter=10**6, tol=0, **options)

print("fitting", flush=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model.fit(X, y)
print("returned", flush=True)
print(json.dumps({
    "warnings": [str(warning.message) for warning in caught],
    "n_iter": model.n_iter_,
    "losses": list(getattr(model, "loss_curve_", [])),
    "is_finite": bool(all(np.isfinite(a).all() for a in model.coefs_ + model.intercepts_)),
    "labels": sorted(set(model.predict(X[:1000]).tolist())),
    "goes_on": model.set_params(max_iter=2, warm_start=True).fit(X[:50], y[:50]).n_iter_,
}))
"""

# (n_samples, batch_size): an epoch of the first takes many seconds, of the second milliseconds; the
# third takes seconds for a single step.
STOCHASTIC, MINI_BATCH, FULL_BATCH = (100_000, 1), (1_000, 200), (300_000, 300_000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals are sent the POSIX way")
@pytest.mark.parametrize(
    ("workload", "solver", "early_stopping"),
    [
        *[(STOCHASTIC, solver, stops) for solver in ("sgd", "adam") for stops in (False, True)],
        *[(MINI_BATCH, solver, stops) for solver in ("sgd", "adam") for stops in (False, True)],
        (FULL_BATCH, "adam", False),
        (FULL_BATCH, "lbfgs", False),
    ],
)
def test_34_sigint(workload, solver, early_stopping):
    n_samples, batch_size = workload
    options = {
        "solver": solver,
        "early_stopping": early_stopping,
        "learning_rate_init": 0.01,
        "n_iter_no_change": 10**9,
        "random_state": 0,
    }
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(n_samples), str(batch_size), json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "fitting\n"
        time.sleep(1)
        sent = time.perf_counter()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "returned\n"
        seconds = time.perf_counter() - sent
        report = json.loads(child.communicate(timeout=60)[0])
    finally:
        child.kill()
        child.communicate()

    assert seconds < 0.5
    assert report["warnings"] == ["Training interrupted by user."]
    assert report["is_finite"]
    assert set(report["labels"]) <= {0, 1}
    assert report["goes_on"] > 0
    if solver == "lbfgs":
        return
    assert len(report["losses"]) == report["n_iter"]
    if workload == STOCHASTIC:
        assert report["n_iter"] == 0
    if workload == MINI_BATCH:
        assert report["losses"][-1] < report["losses"][0]
