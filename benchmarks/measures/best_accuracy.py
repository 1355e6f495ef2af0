"""The same time to 88 % as `accuracy`, each library with what it has for it.

fastmlp and PyTorch have schedules for Adam: one cycle of six epochs, whose largest rate was chosen
with fastmlp, run to its end whatever the accuracy then; the table shows it. scikit-learn has none,
and may stop after the first epoch that reaches the target; its batch size was chosen among 100,
200, 400 and 800, and its rate among 0.0005, 0.001, 0.002 and 0.004.
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
