"""Sharing out, and the barrier at which threads meet."""

import itertools
import threading

import numpy as np
import pytest

from tests.kernels import compiled
from tests.kernels.compiled import IS_COMPILED

needs_compiler = pytest.mark.skipif(not IS_COMPILED, reason="threads meet in compiled code only")


@pytest.mark.parametrize("grain", [1, 16])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shares_cover_everything_once(parts, grain):
    for total in (0, 1, 15, 16, 17, 100, 1000):
        shares = [compiled.share(total, grain, part, parts) for part in range(parts)]
        assert shares[0][0] == 0
        assert shares[-1][1] == total
        for (_, stop), (start, _) in itertools.pairwise(shares):
            assert stop == start
        for start, stop in shares:
            assert start % grain == 0 or start == total
            assert stop - start <= -(-total // (grain * parts)) * grain


def run_threads(target, size):
    """Call target(number) in that many threads and wait for a while; return whether all ended."""
    threads = [
        threading.Thread(target=target, args=(number,), daemon=True) for number in range(size)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return not any(thread.is_alive() for thread in threads)


def test_one_thread_waits_for_nobody():
    barrier = np.zeros(24, np.int64)
    assert compiled.meet(1, barrier, 1000) == 1000
    np.testing.assert_array_equal(barrier, 0)


@needs_compiler
@pytest.mark.parametrize("size", [2, 3, 5])
def test_threads_meet_many_times(size):
    compiled.meet(1, np.zeros(24, np.int64), 1)
    barrier, passed = np.zeros(24, np.int64), [0] * size

    def meet(number):
        passed[number] = compiled.meet(size, barrier, 2000)

    assert run_threads(meet, size)
    assert passed == [2000] * size
    assert barrier[0] == 0
    assert barrier[8] == 2000


@needs_compiler
def test_waiting_ends_when_a_member_will_not_come():
    compiled.meet(1, np.zeros(24, np.int64), 1)
    barrier, passed = np.zeros(24, np.int64), [None, None]

    def meet(number):
        # The third never comes; a timer says so.
        passed[number] = compiled.meet(3, barrier, 5)

    timer = threading.Timer(0.05, barrier.__setitem__, (16, 1))
    timer.start()
    assert run_threads(meet, 2)
    assert passed == [0, 0]


def test_work_may_be_called_off():
    barrier = np.zeros(24, np.int64)
    assert not compiled.is_called_off(barrier)
    barrier[[0, 8]] = 1
    assert not compiled.is_called_off(barrier)
    barrier[16] = 1
    assert compiled.is_called_off(barrier)
