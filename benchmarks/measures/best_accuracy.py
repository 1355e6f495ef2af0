"""The same time to 88 % as `accuracy`, each library with what it has for it.

fastmlp and PyTorch have schedules for Adam. One cycle of six epochs, its largest rate found with
fastmlp, ended above 88 % from each of five seeds; a cycle of five did not. It is run to its end,
whatever the accuracy then, which the table shows. scikit-learn has no schedule for Adam. It may
stop after the first epoch that reaches the target. Of batch sizes from 100 to 800 and constant
rates from 0.0005 to 0.004, doubled from one to the next, the largest of both took it the least
time; larger ones were not tried, and for PyTorch no other batch size.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from typing import Any

from measures import LIBRARIES, in_turns
from measures.accuracy import TARGET, train
from measures.recipe import Recipe, run

__all__ = ["measure"]

ONE_CYCLE, EPOCHS = Recipe((100,), 200, "one_cycle", 0.008), 6
BATCH_SIZE, RATE = 800, 0.004


def measure(is_quick: bool) -> list[dict[str, Any]]:
    """Train with each library in a process of its own, from several seeds, in turns.

    Parameters
    ----------
    is_quick : bool
        Whether one seed will do.

    Returns
    -------
    list of dict
        As `measures.accuracy.measure` returns it.
    """
    libraries = [*LIBRARIES, *(["torch"] if find_spec("torch") else [])]
    return in_turns("best_accuracy.py", libraries, 1 if is_quick else 5, target=TARGET)


def _train(library: str, seed: str, target: str) -> dict[str, Any]:
    if library == "sklearn":
        return train(library, int(seed), float(target), BATCH_SIZE, RATE)
    return {"epochs": EPOCHS} | run(ONE_CYCLE, library, int(seed), EPOCHS)


if __name__ == "__main__":
    print(json.dumps(_train(*sys.argv[1:])))
