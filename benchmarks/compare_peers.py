"""Time every workload with fastmlp and its peers, after checking that they compute the same.

Each peer lives in a process of its own for each number of threads, and may use only as many
processors. For each workload and precision all of them first train for a few epochs; their loss
curves are compared with those of a plain NumPy program in double precision, and whoever differs is
not timed. The others then take turns, in a new order in each round. A sample of two threads before
or after which these have not two cores to run on, near each other (see ``probe``), is repeated
before anyone looks at it.

The result is written as JSON after each row; ``render.py`` makes tables and a chart of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine, usable_processors
from peers import PEERS, Contestant, contestants
from probe import MOST_SECONDS_APART, MOST_SLOWDOWN, seconds_apart, slowdown_of_two_threads
from ratios import doubtful_samples, fastest, median_seconds, ours, ratio
from reference import Reference, distance, train_reference
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from worker import Worker, WorkerError
from workloads import WORKLOADS, Task, Workload, make_task

RESULTS = Path(__file__).parent / "results"

# Largest relative difference of a loss curve that rounding explains, and the same for weights,
# relative to how far they moved. Everyone's optimizer takes the same steps, so one bound per
# precision serves all. In float32, ReLU and Adam soon magnify rounding to such sizes (correct
# programs were seen to differ by 3e-3 and 0.26); that the steps are right shows in float64.
LOSS_TOLERANCE = {"float64": 1e-7, "float32": 1e-2}
WEIGHTS_TOLERANCE = {"float64": 1e-5, "float32": 0.5}
# What a fit does once must be a small part of a sample.
MIN_EPOCHS, MAX_EPOCHS = 5, 2_000


class Comparison:
    """The workers, and what they are asked to do.

    Parameters
    ----------
    options : argparse.Namespace
        What `parse_arguments` returned.
    progress : Progress or None
        Where to show how far it is.
    """

    def __init__(self, options: argparse.Namespace, progress: Progress | None = None) -> None:
        self.options = options
        self._progress = progress
        self._workers: dict[tuple[str, int], Worker] = {}
        self._random = random.Random(0)  # noqa: S311  (order of turns)

    def contestants(self, workload: Workload) -> list[Contestant]:
        """List who takes part in a workload.

        Parameters
        ----------
        workload : Workload
            What is trained.

        Returns
        -------
        list of Contestant
            Peers with their settings.
        """
        optional = ["compiled"] if self.options.torch_compile else []
        return contestants(workload, self.options.peers, self.options.threads, optional)

    def run_row(self, workload: Workload, dtype: str) -> dict[str, Any]:
        """Check and time one workload in one precision.

        Parameters
        ----------
        workload : Workload
            What is trained.
        dtype : {"float32", "float64"}
            In which precision.

        Returns
        -------
        dict
            The row: plain values with all samples.
        """
        task = make_task(workload, dtype)
        names = self.contestants(workload)
        row = {
            "workload": workload.name,
            "network": workload.network,
            "n_samples": workload.n_samples,
            "batch_size": workload.batch_size,
            "solver": workload.solver,
            "loss": workload.loss,
            "data": task.source,
            "dtype": dtype,
            "flop_per_epoch": workload.flop_per_sample * workload.n_samples,
        }
        results: dict[str, Any] = {}
        with tempfile.TemporaryDirectory(prefix="fastmlp-benchmark-") as folder:
            task.save(Path(folder))
            reference = train_reference(task, self.options.check_epochs)
            for who in names:
                results[who.key] = self._attempt(self._check, who, task, reference, folder)
            ready = [who for who in names if results[who.key]["error"] is None]
            for who in ready if self.options.rounds else []:
                results[who.key] |= self._attempt(self._calibrate, who)
            for _ in range(self.options.rounds):
                self._run_round(ready, results)
            for worker in self._workers.values():
                if worker.is_alive():
                    with contextlib.suppress(WorkerError):
                        worker.ask("forget")
        return row | {"contestants": results}

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.close()

    def _run_round(self, ready: list[Contestant], results: dict[str, Any]) -> None:
        """Let everyone take a sample, in a new order."""
        self._random.shuffle(ready)
        for who in ready:
            result = results[who.key]
            if result["error"] is None:
                sample = self._attempt(self._sample, who, results)
                result["error"] = sample["error"]
                if sample["error"] is None:
                    result["seconds"].append(sample["seconds"])
                    result["slowdowns"].append(sample["slowdown"])
                    result["seconds_apart"].append(sample["seconds_apart"])
                else:
                    result["seconds"] = []

    def _ask(self, who: Contestant, command: str, **arguments: Any) -> Any:
        address = (who.peer, who.threads)
        if address in self._workers and not self._workers[address].is_alive():
            self._workers.pop(address).close()
        if address not in self._workers:
            self._workers[address] = Worker(*address)
        return self._workers[address].ask(command, **arguments)

    def _attempt(self, step: Any, who: Contestant, *arguments: Any) -> Any:
        """Take a step for a contestant; if it fails, that is the result."""
        try:
            return step(who, *arguments)
        except WorkerError as error:
            return {"error": str(error), "seconds": []}
        finally:
            if self._progress is not None:
                self._progress.advance(self._progress.task_ids[0])

    def _check(
        self, who: Contestant, task: Task, reference: Reference, folder: str
    ) -> dict[str, Any]:
        """Compare the loss curve and the weights with the reference."""
        prepared = self._ask(
            who,
            "prepare",
            workload=task.workload.name,
            dtype=task.dtype,
            folder=folder,
            variant=who.variant,
        )
        result = {
            "error": None, "seconds": [], "slowdowns": [], "seconds_apart": [],
            "prepare_seconds": prepared["seconds"],
        }  # fmt: skip
        if PEERS[who.peer].is_limit:
            return result
        path = str(Path(folder) / "weights.npz")
        self._ask(who, "run", variant=who.variant, epochs=self.options.check_epochs)
        losses = self._ask(who, "inspect", variant=who.variant, path=path)
        with np.load(path) as arrays:
            weights = [arrays[f"arr_{i}"] for i in range(len(task.weights))]
        if any(W.dtype != task.dtype for W in weights):
            return result | {"error": f"trained in {weights[0].dtype}, not in {task.dtype}"}
        expected = reference.losses if prepared["penalty"] else reference.data_losses
        if len(losses) != len(expected):
            return result | {"error": f"{len(losses)} losses for {len(expected)} epochs"}
        loss_error = float(np.max(np.abs(np.divide(losses, expected) - 1)))
        weights_error = distance(weights, reference.weights) / reference.travelled
        result |= {"loss_error": loss_error, "weights_error": weights_error}
        # Written so that nan is an error, too.
        if not loss_error <= LOSS_TOLERANCE[task.dtype]:
            result["error"] = f"its loss curve differs by {loss_error:.1e}"
        elif not weights_error <= WEIGHTS_TOLERANCE[task.dtype]:
            result["error"] = f"its weights differ by {weights_error:.1e}"
        return result

    def _calibrate(self, who: Contestant) -> dict[str, Any]:
        """Find how many epochs fill the time of a sample."""
        epochs, least = 1, self.options.seconds
        while True:
            seconds = self._ask(who, "run", variant=who.variant, epochs=epochs)
            # Who has just been woken is slow, and would get shorter samples than the others.
            if seconds >= least:
                seconds = min(seconds, self._ask(who, "run", variant=who.variant, epochs=epochs))
            if seconds >= least or epochs == MAX_EPOCHS:
                return {"epochs": max(epochs, MIN_EPOCHS)}
            wanted = math.ceil(epochs * least / seconds)
            epochs = min(max(wanted, epochs + 1), 4 * epochs, MAX_EPOCHS)

    def _sample(self, who: Contestant, results: dict[str, Any]) -> dict[str, Any]:
        """Time a sample, again where two threads had not two near cores before or after it.

        That is decided before anyone looks at its time.
        """
        epochs = results[who.key]["epochs"]
        for _ in range(self.options.repeats + 1):
            before = self._probe(who)
            seconds = self._ask(who, "run", variant=who.variant, epochs=epochs)
            slowdown, apart = map(max, before, self._probe(who))
            if slowdown <= MOST_SLOWDOWN and apart <= MOST_SECONDS_APART:
                break
        return {
            "error": None, "seconds": seconds / epochs, "slowdown": slowdown,
            "seconds_apart": apart,
        }  # fmt: skip

    @staticmethod
    def _probe(who: Contestant) -> tuple[float, float]:
        return (slowdown_of_two_threads(), seconds_apart()) if who.threads > 1 else (1.0, 0.0)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Parameters
    ----------
    arguments : list of str or None
        Its words; None: those of this process.

    Returns
    -------
    argparse.Namespace
        The options.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    possible_threads = [n for n in (1, 2) if n <= len(usable_processors())]
    add = parser.add_argument
    add("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    add("--dtypes", nargs="+", choices=LOSS_TOLERANCE, default=["float32", "float64"])
    add("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    add("--threads", nargs="+", type=int, choices=possible_threads, default=possible_threads)
    add("--rounds", type=int, default=11, help="samples of each contestant; 0: check only")
    add("--repeats", type=int, default=3, help="of a sample without two near cores, at most")
    add("--seconds", type=float, default=0.25, help="least time of a sample (5 epochs at least)")
    add("--check-epochs", type=int, default=2, help="epochs of the comparison of loss curves")
    add("--torch-compile", action="store_true", help="also time torch.compile (slow to compile)")
    add("--quick", action="store_true", help="3 rounds of 0.02 s: a trial, not a measurement")
    add("--add", action="store_true", help="keep the other rows of the JSON file")
    add("--output", type=Path, help="JSON file (default: results/peers.json, or quick.json)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 3, 0.02
    if options.output is None:
        options.output = RESULTS / ("quick.json" if options.quick else "peers.json")
    return options


def compare(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run all rows.

    Parameters
    ----------
    options : argparse.Namespace
        What `parse_arguments` returned.
    console : Console
        Where to show the progress.

    Returns
    -------
    dict
        What was written to ``options.output``.
    """
    result: dict[str, Any] = {
        "machine": describe_machine(),
        "settings": {
            "rounds": options.rounds,
            "most_repeats": options.repeats,
            "most_slowdown": MOST_SLOWDOWN,
            "most_seconds_apart": MOST_SECONDS_APART,
            "seconds_per_sample": options.seconds,
            "check_epochs": options.check_epochs,
        },
        "not_installed": [name for name in options.peers if not PEERS[name].is_installed()],
        "rows": [],
    }
    if options.add and options.output.exists():
        result["rows"] = _other_rows(options, result)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        comparison = Comparison(options, progress)
        rows = [(WORKLOADS[name], dtype) for name in options.workloads for dtype in options.dtypes]
        n_contestants = sum(len(comparison.contestants(workload)) for workload, _ in rows)
        bar = progress.add_task("", total=n_contestants * (options.rounds + 2))
        n_done = 0
        try:
            for workload, dtype in rows:
                progress.update(bar, description=f"{workload.name} {dtype}")
                row = comparison.run_row(workload, dtype)
                n_done += len(row["contestants"]) * (options.rounds + 2)
                progress.update(bar, completed=n_done)  # a contestant that failed skips steps
                result["rows"].append(row)
                options.output.parent.mkdir(parents=True, exist_ok=True)
                options.output.write_text(json.dumps(result, indent=1) + "\n")
        finally:
            comparison.close()
    return result


def _other_rows(options: argparse.Namespace, result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the file that are not measured anew."""
    before = json.loads(options.output.read_text())
    for part in ("machine", "settings"):
        if before[part] != result[part]:
            raise SystemExit(
                f"Rows cannot be added to {options.output}. Its {part}: {before[part]}; now: "
                f"{result[part]}. Leave --add out, or write to another file with --output."
            )
    return [
        row
        for row in before["rows"]
        if row["workload"] not in options.workloads or row["dtype"] not in options.dtypes
    ]


def print_summary(result: dict[str, Any], console: Console) -> None:
    """Print one line per row, and every error.

    Parameters
    ----------
    result : dict
        What `compare` returned.
    console : Console
        Where to print.
    """
    table = Table("workload", "dtype", "fastmlp", "fastest peer", "its time", "ratio (quartiles)")
    for row in result["rows"]:
        own, best = ours(row), fastest(row)
        cells = [f"{median_seconds(row, own) * 1e3:.3g} ms" if own else "–", "–", "–", "–"]
        if best:
            cells[1:3] = best, f"{median_seconds(row, best) * 1e3:.3g} ms"
        if own and best:
            r = ratio(row, best, by=own)
            cells[3] = f"{r.median:.2f} ({r.low:.2f}–{r.high:.2f})"
        table.add_row(row["workload"], row["dtype"], *cells)
    console.print(table)
    for name in result["not_installed"]:
        console.print(f"{PEERS[name].title} is not installed.")
    for line in doubtful_samples(result):
        console.print(line, markup=False)
    for row in result["rows"]:
        for key, contestant in row["contestants"].items():
            if contestant["error"]:
                console.print(
                    f"{row['workload']} {row['dtype']} {key}: {contestant['error']}", markup=False
                )


def main() -> None:
    """Run the comparison from the command line."""
    options = parse_arguments()
    console = Console()
    result = compare(options, console)
    print_summary(result, console)
    console.print(f"written to {options.output}")


if __name__ == "__main__":
    main()
