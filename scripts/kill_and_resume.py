"""Kill checkpointed fits at random moments, go on, and compare with fits that were left alone.

``python scripts/kill_and_resume.py --kills 100`` ends with an error unless every fit ends bit for
bit where the uninterrupted one does, and every checkpoint can be read.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import fastmlp

SETTINGS = {
    "adam": {"max_iter": 400},
    "early": {"early_stopping": True, "n_iter_no_change": 400, "max_iter": 400},
    "sgd": {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 1e-3, "n_iter_no_change": 5,
        "max_iter": 400,
    },
    "cosine": {"learning_rate": "cosine", "warmup_steps": 0.1, "max_iter": 400},
}  # fmt: skip


def data():
    """Return inputs and labels."""
    X = np.random.RandomState(0).normal(size=(400, 10))
    return X, np.array(["a", "b", "c"])[np.digitize(X[:, 0] * X[:, 1], [-0.3, 0.3])]


def make_model(name, **params):
    """Return a model that is not fitted."""
    params = {"hidden_layer_sizes": (20, 10), "random_state": 0} | SETTINGS[name] | params
    return fastmlp.MLPClassifier(**params)


def work(name, folder):
    """Fit or go on, and save the model: what is killed."""
    warnings.simplefilter("ignore")
    checkpoint = folder / "checkpoint"

    def tell(epoch):
        print(epoch.epoch, flush=True)
        time.sleep(0.005)

    if checkpoint.exists():
        model = fastmlp.resume(checkpoint, *data(), callbacks=[tell])
    else:
        callbacks = [fastmlp.Checkpoint(checkpoint, every=3), tell]
        model = make_model(name, callbacks=callbacks).fit(*data())
    model.save(folder / "result")


def kill_and_resume(name, folder, n_kills, seed=0):
    """Start a fit, kill it, go on with it, kill it again, ... and return the model at its end.

    Returns
    -------
    model : MLPClassifier
        What the last process saved.
    n_kills : int
        How often a process was killed before it came to its end.
    """
    rng, killed = random.Random(seed), 0  # noqa: S311
    command = [sys.executable, __file__, "--work", name, str(folder)]
    while not (folder / "result").exists():
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603
            process.stdout.readline()  # the first epoch is over
            if killed < n_kills:
                time.sleep(rng.uniform(0, 0.25))
                process.kill()
                killed += 1
                # What is there must be whole, whenever that was.
                if (folder / "checkpoint").exists():
                    fastmlp.load(folder / "checkpoint")
            else:
                process.communicate(timeout=300)
                if process.returncode:
                    raise RuntimeError(f"{name}: the fit failed")
    return fastmlp.load(folder / "result"), killed


def differences(model, expected):
    """Return the names of all state in which two models differ."""
    pairs = {
        "layout": (model._layout, expected._layout),
        "params": (model._parameters(), expected._parameters()),
        "slots": (model._optimizer.slots, expected._optimizer.slots),
        "steps": (model._optimizer.count, expected._optimizer.count),
        "schedule": (model._schedule, expected._schedule),
    }
    for name, value in vars(expected._progress).items():
        pairs[name] = (getattr(model._progress, name), value)
    different = []
    for name, (actual, wanted) in pairs.items():
        try:
            np.testing.assert_equal(actual, wanted)
        except AssertionError:
            different.append(name)
    return different


def main() -> None:
    """Kill as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work[0], Path(arguments.work[1]))
        return
    warnings.simplefilter("ignore")
    total, n_fits, failures = 0, 0, 0
    expected = {name: make_model(name).fit(*data()) for name in SETTINGS}
    while total < arguments.kills:
        name = list(SETTINGS)[n_fits % len(SETTINGS)]
        with tempfile.TemporaryDirectory() as folder:
            n_kills = min(5, arguments.kills - total)
            model, killed = kill_and_resume(name, Path(folder), n_kills, n_fits)
        different = differences(model, expected[name])
        failures += bool(different)
        total, n_fits = total + killed, n_fits + 1
        print(f"{name}: killed {killed} times, {different or 'exact'}", flush=True)
    print(f"{total} kills of {n_fits} fits: {n_fits - failures} fits ended exactly as alone")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
