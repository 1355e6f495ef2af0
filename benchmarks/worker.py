"""A process in which one peer trains on request, with a fixed number of processors.

Started by `Worker`, which other modules use. Requests and answers are lines of JSON. The number
of processors is set before any library is imported: JAX looks at it once.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["Worker", "WorkerError", "environment"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerError(RuntimeError):
    """A peer failed; the message is its traceback, or says that it did not answer."""


def environment(threads: int | None = None) -> dict[str, str]:
    """Return the environment for a process that is to measure something.

    Parameters
    ----------
    threads : int or None
        How many threads it may use; None: as many as the libraries want.

    Returns
    -------
    dict
        This process's environment, with the variables that limit threads, and with fastmlp found
        where this process finds it.
    """
    spec = find_spec("fastmlp")
    home = Path(spec.origin).parents[1] if spec and spec.origin else None
    path = [Path(__file__).parent, home, os.environ.get("PYTHONPATH")]
    variables = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(str(p) for p in path if p)}
    if threads is not None:
        variables |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return os.environ | variables


class Worker:
    """The coordinator's end: one peer at one number of threads, in a process of its own.

    Parameters
    ----------
    peer : str
        A key of `peers.PEERS`.
    threads : int
        Number of threads and of processors.
    timeout : float
        Seconds to wait for an answer.
    """

    def __init__(self, peer: str, threads: int, timeout: float = 900.0) -> None:
        self._name, self._timeout = f"{peer} with {threads} thread(s)", timeout
        self._process = subprocess.Popen(  # noqa: S603  (our own file)
            [sys.executable, str(Path(__file__)), peer, str(threads)],
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def ask(self, command: str, **arguments: Any) -> Any:
        """Have a request answered.

        Parameters
        ----------
        command : {"prepare", "run", "inspect", "forget"}
            What to do.
        **arguments
            Its arguments, plain values.

        Returns
        -------
        object
            The answer.

        Raises
        ------
        WorkerError
            If the peer raised an exception, died, or gave no answer in time.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        try:
            stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            is_answered = select.select([stdout], [], [], self._timeout)[0]
            line = stdout.readline() if is_answered else ""
        except OSError:
            is_answered, line = True, ""
        if not is_answered:
            self.close(patience=0)
            raise WorkerError(f"{self._name}: no answer in {self._timeout:.0f} s")
        if not line:
            raise WorkerError(f"{self._name}: the process ended with {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["result"]

    def is_alive(self) -> bool:
        """Return whether the process can still be asked.

        Returns
        -------
        bool
            False once it died or was ended.
        """
        return self._process.poll() is None

    def close(self, patience: float = 10.0) -> None:
        """End the process.

        Parameters
        ----------
        patience : float
            Seconds that it is given for ending by itself.
        """
        try:
            self._process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


class _Bench:
    """The worker's end: the trainers of the current task.

    Parameters
    ----------
    peer : str
        A key of `peers.PEERS`.
    threads : int
        Number of threads.
    """

    def __init__(self, peer: str, threads: int) -> None:
        from peers import PEERS

        self._peer, self._threads = PEERS[peer], threads
        self._trainers: dict[str, Any] = {}
        self._task: Any = None

    def prepare(self, workload: str, dtype: str, folder: str, variant: str) -> dict[str, Any]:
        """Load the task unless it is loaded, make a trainer, and have it compile all it needs."""
        from workloads import WORKLOADS, Task

        if self._task is None:
            self._task = Task.load(WORKLOADS[workload], dtype, Path(folder))
        start = time.perf_counter()
        trainer = self._peer.make_trainer(self._task, self._threads, variant)
        trainer.run(1)
        self._trainers[variant] = trainer
        return {"seconds": time.perf_counter() - start, "penalty": trainer.loss_includes_penalty}

    def run(self, variant: str, epochs: int) -> float:
        """Train from the start; return the seconds."""
        trainer = self._trainers[variant]
        trainer.reset()
        start = time.perf_counter()
        trainer.run(epochs)
        return time.perf_counter() - start

    def inspect(self, variant: str, path: str) -> list[float]:
        """Write the weights that the last run ended with; return its losses."""
        import numpy as np

        trainer = self._trainers[variant]
        np.savez(path, *trainer.weights())
        return trainer.losses()

    def forget(self) -> None:
        """Free the task and its trainers."""
        self._trainers.clear()
        self._task = None


def _serve(peer: str, threads: int) -> None:
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    bench = _Bench(peer, threads)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(bench, request.pop("command"))(**request)}
        except Exception:  # noqa: BLE001  (a peer's failure is a result, told to the coordinator)
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
