"""Which cores there are, and who keeps them busy."""

import contextlib
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fastmlp.training import cores
from fastmlp.training.cores import available_cores, running_threads
from tests.kernels import compiled
from tests.kernels.compiled import IS_COMPILED

needs_compiler = pytest.mark.skipif(not IS_COMPILED, reason="threads run in compiled code only")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_cores_are_not_divided(tmp_path, monkeypatch):
    # Two processors each, the second of which has a number far from the first one's.
    for number in range(6):
        topology = tmp_path / f"cpu{number}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{number % 3},{number % 3 + 3}\n")
    monkeypatch.setattr(cores, "_TOPOLOGY", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert cores.shares_of_processors(2) == [{0, 3}, {1, 4, 2, 5}]
    assert cores.shares_of_processors(3) == [{0, 3}, {1, 4}, {2, 5}]
    assert cores.shares_of_processors(4) == []


def test_available_cores():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_cores_that_others_have_do_not_count():
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, mine)


@pytest.mark.parametrize(
    ("siblings", "n_cores"),
    [
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, 2),  # two threads per core
        ({0: "0,4", 1: "1,5", 2: "2,6"}, 3),  # the other halves belong to others
        ({0: "0", 1: "1"}, 2),
        ({0: None, 1: None, 2: None}, 3),  # not known
    ],
)
def test_threads_of_one_core_count_once(siblings, n_cores, tmp_path, monkeypatch):
    for number, text in siblings.items():
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        if text is not None:
            (folder / "thread_siblings_list").write_text(text + "\n")
    monkeypatch.setattr(cores, "cpu_count", lambda: 64)
    assert cores._n_cores(frozenset(siblings), tmp_path) == n_cores
    monkeypatch.setattr(cores, "cpu_count", lambda: 1)  # as of a container
    cores._n_cores.cache_clear()
    assert cores._n_cores(frozenset(siblings), tmp_path) == 1


@pytest.mark.parametrize("limit", ["", "many"])
def test_a_limit_that_is_no_number_is_none(limit, tmp_path, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", limit)
    assert cores._n_cores(frozenset({0, 1, 2}), tmp_path) == 3


@contextlib.contextmanager
def threads_at_work(count):
    """Keep some threads busy in compiled code."""
    barrier = np.zeros(24, np.int64)  # that of members who wait for one that does not come
    workers = [
        threading.Thread(target=compiled.meet, args=(count + 1, barrier, 1), daemon=True)
        for _ in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        # They may be moved to a core before they run.
        assert wait_until(lambda: barrier[0] == count)
        yield {worker.native_id for worker in workers}
    finally:
        barrier[16] = 1
        for worker in workers:
            worker.join()


def wait_until(condition, seconds=20):
    """Wait until a condition holds; return whether it does."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


@needs_compiler
@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="the system does not tell which threads run"
)
def test_threads_that_run_are_seen(monkeypatch):
    monkeypatch.setattr(cores, "_THREADS", "/proc/self/task")
    assert wait_until(lambda: running_threads() == 0)  # BLAS's own, after tests before this
    with threads_at_work(2) as workers:
        assert running_threads() == 2
        assert running_threads(workers) == 0
        assert running_threads({workers.pop()}) == 1
    assert wait_until(lambda: running_threads() == 0)


def test_systems_that_do_not_tell_which_threads_run(tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "_THREADS", str(tmp_path / "missing"))
    assert running_threads() == 0
    monkeypatch.setattr(cores, "_THREADS", str(tmp_path))
    (tmp_path / "1").mkdir()  # and a thread that has ended
    assert running_threads() == 0
    (tmp_path / "1" / "stat").write_bytes(b"1 (a) R) S 1 2 3")
    assert running_threads() == 0
    (tmp_path / "1" / "stat").write_bytes(b"1 (a) S) R 1 2 3")
    assert running_threads() == 1
