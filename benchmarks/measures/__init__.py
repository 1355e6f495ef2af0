"""What the time of an epoch does not tell: latency, cold start, memory, grid search, accuracy.

Each module has a function ``measure(is_quick)`` that returns plain values. ``measure.py`` runs
them from the command line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from worker import environment as environment_of_workers

__all__ = ["LIBRARIES", "in_turns", "run_script"]

LIBRARIES = {"fastmlp": "fastmlp", "sklearn": "sklearn.neural_network"}
"""The modules that hold ``MLPClassifier``, the first the one that is measured."""


def run_script(script: str, *arguments: object, **environment: str) -> Any:
    """Run one of this package's files in a new process.

    Parameters
    ----------
    script : str
        Name of the file.
    *arguments
        Words of its command line.
    **environment
        Environment variables to set.

    Returns
    -------
    object
        What the last line of its output says in JSON.
    """
    done = subprocess.run(  # noqa: S603  (our own file)
        [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)],
        env=environment_of_workers() | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(script: str, libraries: list[str], n_seeds: int, **arguments: Any) -> list[Any]:
    """Let libraries train from several seeds, each time in a process of its own.

    Parameters
    ----------
    script : str
        As for `run_script`; its command line is the library, the seed and what follows.
    libraries : list of str
        Which take turns.
    n_seeds : int
        From 0.
    **arguments
        The rest of the command line, by the names under which results hold it.

    Returns
    -------
    list of dict
        Per seed and library: these, and what the script returned.
    """
    return [
        {"library": library, "seed": seed}
        | arguments
        | run_script(script, library, seed, *arguments.values())
        for seed in range(n_seeds)
        for library in libraries
    ]
