"""The budget of threads, and BLAS's own ones."""

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import threadpoolctl

from fastmlp.training import threads
from fastmlp.training.threads import is_core_to_spare, reserve_threads, single_threaded_blas
from tests.training.within_seconds import within_seconds


@pytest.fixture
def eight_cores(monkeypatch):
    """Pretend that the process may use eight cores."""
    monkeypatch.setattr(threads, "available_cores", lambda: 8)
    monkeypatch.setattr(threads, "_shared", threads._Shared())


def test_core_to_spare(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    assert is_core_to_spare(None)
    assert is_core_to_spare(2)
    assert not is_core_to_spare(1)
    with reserve_threads(None, 1):
        assert not is_core_to_spare(None)
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(is_core_to_spare, 2).result()
    monkeypatch.setattr(threads, "available_cores", lambda: 1)
    assert not is_core_to_spare(2)


@pytest.mark.parametrize(
    ("n_jobs", "useful", "granted"),
    [
        (None, 100, 8), (None, 3, 3), (None, 0, 1), (None, 1, 1),
        (1, 100, 1), (3, 100, 3), (20, 100, 20), (3, 2, 2), (3, 0, 1),
        (-1, 100, 8), (-2, 100, 7), (-8, 100, 1), (-100, 100, 1), (-1, 4, 4),
    ],
)  # fmt: skip
def test_n_jobs(n_jobs, useful, granted, eight_cores):
    with reserve_threads(n_jobs, useful) as n_threads:
        assert n_threads == granted


def test_fits_that_overlap_share_the_cores(eight_cores):
    with reserve_threads(None, 5) as first, reserve_threads(None, 100) as second:
        assert (first, second) == (5, 3)
        # There is always one thread: the caller's own.
        with reserve_threads(None, 100) as third, reserve_threads(None, 100) as fourth:
            assert (third, fourth) == (1, 1)
        # Who asks for a number gets it.
        with reserve_threads(4, 100) as fifth, reserve_threads(-1, 100) as sixth:
            assert (fifth, sixth) == (4, 8)
    with reserve_threads(None, 100) as all_again:
        assert all_again == 8


def test_threads_are_given_back_after_an_error(eight_cores):
    with pytest.raises(ZeroDivisionError), reserve_threads(None, 100):
        _ = 1 / 0
    with reserve_threads(None, 100) as n_threads:
        assert n_threads == 8


def test_one_thread_in_a_worker_thread(eight_cores):
    granted = []

    def work():
        with reserve_threads(None, 100) as automatic, reserve_threads(3, 100) as chosen:
            granted.extend([automatic, chosen])

    assert within_seconds(work) is None
    assert granted == [1, 3]


def test_one_thread_in_a_worker_process(eight_cores, monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    with reserve_threads(None, 100) as automatic, reserve_threads(-1, 100) as chosen:
        assert (automatic, chosen) == (1, 8)


def blas_threads():
    """Threads of each BLAS library that is loaded."""
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()
            if pool["user_api"] == "blas"]  # fmt: skip


@pytest.fixture
def two_blas_threads():
    """Let BLAS use two threads, whatever the machine."""
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert set(blas_threads()) == {2}
        yield


def test_blas_has_one_thread_for_a_while(two_blas_threads):
    with single_threaded_blas():
        assert set(blas_threads()) == {1}
        with single_threaded_blas():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {2}


def test_blas_gets_its_threads_back_after_an_error(two_blas_threads):
    with pytest.raises(ZeroDivisionError), single_threaded_blas():
        _ = 1 / 0
    assert set(blas_threads()) == {2}
    with pytest.raises(KeyboardInterrupt), single_threaded_blas(), single_threaded_blas():
        raise KeyboardInterrupt
    assert set(blas_threads()) == {2}


def test_blas_gets_its_threads_back_after_overlapping_fits(two_blas_threads):
    inner_started, outer_ended, seen = threading.Event(), threading.Event(), []

    def fit():
        with single_threaded_blas():
            inner_started.set()
            outer_ended.wait(20)
            seen.append(set(blas_threads()))

    thread = threading.Thread(target=fit, daemon=True)
    with single_threaded_blas():
        thread.start()
        assert inner_started.wait(20)
    seen.append(set(blas_threads()))  # the other still runs
    outer_ended.set()
    thread.join(20)
    assert seen == [{1}, {1}]
    assert set(blas_threads()) == {2}


def test_blas_has_one_thread_in_a_worker_thread(two_blas_threads):
    # threadpoolctl lets the first thread that sets a limit keep that right.
    with single_threaded_blas():
        pass
    seen = []

    def fit():
        with single_threaded_blas():
            seen.append(set(blas_threads()))
        seen.append(set(blas_threads()))

    assert within_seconds(fit) is None
    assert seen == [{1}, {2}]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_starts_anew(two_blas_threads, eight_cores):
    with single_threaded_blas(), reserve_threads(None, 6):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with reserve_threads(-1, 100), reserve_threads(7, 100):
                    is_fresh = threads._shared.reserved == 15
                with single_threaded_blas():
                    is_limited = set(blas_threads()) == {1}
                status = 0 if is_fresh and is_limited and set(blas_threads()) == {2} else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert set(blas_threads()) == {1}
    assert os.waitstatus_to_exitcode(status) == 0
    assert set(blas_threads()) == {2}
