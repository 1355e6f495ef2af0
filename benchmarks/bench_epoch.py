"""Time of several epochs of every workload, after the loss curve was found to be the right one."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from compare_peers import LOSS_TOLERANCE
from peers import PEERS
from reference import Reference, train_reference
from workloads import WORKLOADS, Task, make_task

CHECK_EPOCHS = 2
EPOCHS = {"tiny": 200, "digits": 50, "full-batch": 50, "tabular": 10}  # the others: 2


@cache
def _task_and_reference(name: str, dtype: str) -> tuple[Task, Reference]:
    task = make_task(WORKLOADS[name], dtype)
    return task, train_reference(task, CHECK_EPOCHS)


@pytest.mark.parametrize(
    ("peer", "threads"), [("fastmlp", 1), ("fastmlp", 2), ("sklearn", None)], ids=str
)
@pytest.mark.parametrize("name", WORKLOADS)
def bench_epoch(benchmark: Any, name: str, dtype: str, peer: str, threads: int | None) -> None:
    """Fit for a fixed number of epochs; scikit-learn uses as many threads as its BLAS wants."""
    task, reference = _task_and_reference(name, dtype)
    trainer = PEERS[peer].make_trainer(task, threads, "fit")
    trainer.run(CHECK_EPOCHS)
    np.testing.assert_allclose(trainer.losses(), reference.losses, rtol=LOSS_TOLERANCE[dtype])
    epochs = EPOCHS.get(name, 2)
    benchmark.group = f"{name}, {dtype}: {epochs} epochs"
    benchmark.pedantic(trainer.run, args=(epochs,), setup=trainer.reset, rounds=7)
    benchmark.extra_info["seconds_per_epoch"] = benchmark.stats.stats.median / epochs
