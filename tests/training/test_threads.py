"""The team of threads, the budget it is drawn from, and BLAS's own threads."""

import contextlib
import itertools
import math
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl

from fastmlp.training import threads
from fastmlp.training.threads import (
    ThreadTeam,
    available_cores,
    is_core_to_spare,
    reserve_threads,
    running_threads,
    single_threaded_blas,
)
from tests.kernels import compiled
from tests.kernels.compiled import IS_COMPILED

needs_compiler = pytest.mark.skipif(not IS_COMPILED, reason="threads meet in compiled code only")
SIZES = [1, 2, 3, 4]


def team_threads():
    """The running threads of any team."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastmlp-")]


def within_seconds(function, seconds=20):
    """Call a function that must not hang; return its error, if any."""
    outcome = []

    def call():
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # reported to the caller
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return outcome[0]


# --------------------------------------------------------------------------------------
# The team
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller_works", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_every_member_runs_once_at_the_same_time(size, caller_works):
    meeting = threading.Barrier(size, timeout=20)
    with ThreadTeam(size, caller_works=caller_works) as team:
        for _ in range(20):
            calls = []

            def work(number, calls=calls):
                meeting.wait()  # passes only if all members are in here
                calls.append((number, threading.get_ident()))

            team.run(work)
            assert sorted(number for number, _ in calls) == list(range(size))
            assert len({ident for _, ident in calls}) == size
            assert (dict(calls)[0] == threading.get_ident()) == caller_works
    assert team_threads() == []


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
def test_members_meet_in_compiled_code(size):
    passed = [0] * size
    with ThreadTeam(size) as team:

        def work(number):
            passed[number] = compiled.meet(size, team.barrier, 500)

        for _ in range(3):
            team.run(work)
            assert passed == [500] * size


@pytest.mark.parametrize("caller_works", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_error_of_any_member_reaches_the_caller(kind, size, caller_works):
    for failing in range(size):
        team = ThreadTeam(size, caller_works=caller_works)

        def work(number, failing=failing):
            if number == failing:
                raise kind(str(number))

        with pytest.raises(kind, match=str(failing)), team:
            team.run(work)
    assert team_threads() == []


@needs_compiler
@pytest.mark.parametrize("caller_works", [True, False])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_failing_member_releases_those_who_wait_for_it(size, caller_works):
    for failing in range(size):
        passed = [None] * size

        def fit(failing=failing, passed=passed):
            with ThreadTeam(size, caller_works=caller_works) as team:

                def work(number):
                    if number == failing:
                        time.sleep(0.02)
                        raise ValueError(str(number))
                    passed[number] = compiled.meet(size, team.barrier, 10)

                team.run(work)

        error = within_seconds(fit)
        assert isinstance(error, ValueError)
        assert str(error) == str(failing)
        assert passed == [None if member == failing else 0 for member in range(size)]
    assert team_threads() == []


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals are sent the POSIX way")
@pytest.mark.parametrize("size", SIZES)
def test_interrupted_caller_calls_the_work_off_and_waits_for_its_end(size):
    ended = []
    with ThreadTeam(size, caller_works=False) as team:

        def work(number):
            deadline = time.monotonic() + 20
            while not team.barrier[16] and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.05)  # what is under way is finished
            ended.append(number)

        main = threading.main_thread().ident
        threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            team.run(work)
        # Nobody writes any more to what the caller now puts right.
        assert sorted(ended) == list(range(size))


def test_threads_do_not_keep_the_process_alive():
    with ThreadTeam(3):
        assert len(team_threads()) == 2
        assert all(thread.daemon for thread in team_threads())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
@pytest.mark.parametrize("caller_works", [True, False])
def test_members_have_processors_of_their_own(caller_works):
    mine, seen = os.sched_getaffinity(0), {}
    with ThreadTeam(2, caller_works=caller_works) as team:
        team.run(lambda number: seen.update({number: os.sched_getaffinity(0)}))
        assert os.sched_getaffinity(0) == mine
        with contextlib.suppress(ZeroDivisionError):
            team.run(lambda number: 1 // number)
    assert os.sched_getaffinity(0) == mine
    assert seen[0] | seen[1] == mine
    if available_cores() > 1:
        assert not seen[0] & seen[1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_cores_are_not_divided(tmp_path, monkeypatch):
    # Two processors each, the second of which has a number far from the first one's.
    for number in range(6):
        topology = tmp_path / f"cpu{number}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{number % 3},{number % 3 + 3}\n")
    monkeypatch.setattr(threads, "_TOPOLOGY", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert threads._shares_of_processors(2) == [{0, 3}, {1, 4, 2, 5}]
    assert threads._shares_of_processors(3) == [{0, 3}, {1, 4}, {2, 5}]
    assert threads._shares_of_processors(4) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_more_members_than_processors_stay_where_they_may():
    mine, seen = os.sched_getaffinity(0), []
    with ThreadTeam(len(mine) + 1) as team:
        team.run(lambda _: seen.append(os.sched_getaffinity(0)))
    assert seen == [mine] * (len(mine) + 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_members_that_cannot_be_moved_work_nevertheless(monkeypatch):
    refused, numbers = [], []

    def refuse(*_):
        refused.append(threading.current_thread())
        raise PermissionError

    monkeypatch.setattr(threads, "_shares_of_processors", lambda _: [{0}, {1}])
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with ThreadTeam(2) as team:
        team.run(numbers.append)
    assert sorted(numbers) == [0, 1]
    assert len(set(refused)) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_an_interrupt_while_the_caller_is_moved_back(monkeypatch):
    mine, move_to, moves = os.sched_getaffinity(0), threads._move_to, []

    def interrupted(processors):
        if threading.current_thread() is threading.main_thread():
            moves.append(processors)
            if len(moves) == 2:
                raise KeyboardInterrupt
        move_to(processors)

    monkeypatch.setattr(threads, "_move_to", interrupted)
    monkeypatch.setattr(threads, "_shares_of_processors", lambda _: [{min(mine)}, {max(mine)}])
    with pytest.raises(KeyboardInterrupt), ThreadTeam(2) as team:
        team.run(lambda _: None)
    assert moves == [{min(mine)}, mine, mine]
    assert os.sched_getaffinity(0) == mine


@pytest.mark.parametrize("missing", ["sched_getaffinity", "sched_setaffinity"])
def test_systems_without_affinity_do_without(missing, monkeypatch):
    monkeypatch.delattr(os, missing, raising=False)
    numbers = []
    with ThreadTeam(2) as team:
        team.run(numbers.append)
    assert sorted(numbers) == [0, 1]


# --------------------------------------------------------------------------------------
# The budget
# --------------------------------------------------------------------------------------


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
    monkeypatch.setattr(threads, "cpu_count", lambda: 64)
    assert threads._n_cores(frozenset(siblings), tmp_path) == n_cores
    monkeypatch.setattr(threads, "cpu_count", lambda: 1)  # as of a container
    threads._n_cores.cache_clear()
    assert threads._n_cores(frozenset(siblings), tmp_path) == 1


@pytest.mark.parametrize("limit", ["", "many"])
def test_a_limit_that_is_no_number_is_none(limit, tmp_path, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", limit)
    assert threads._n_cores(frozenset({0, 1, 2}), tmp_path) == 3


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


@contextlib.contextmanager
def threads_at_work(count):
    """Keep some threads busy in compiled code."""
    team = ThreadTeam(2)  # its barrier is that of members who wait for one that does not come
    workers = [
        threading.Thread(target=compiled.meet, args=(count + 1, team.barrier, 1), daemon=True)
        for _ in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        # They may be moved to a core before they run.
        assert wait_until(lambda: team.barrier[0] == count)
        yield {worker.native_id for worker in workers}
    finally:
        team.barrier[16] = 1
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
    monkeypatch.setattr(threads, "_THREADS", "/proc/self/task")
    assert wait_until(lambda: running_threads() == 0)  # BLAS's own, after tests before this
    with threads_at_work(2) as workers:
        assert running_threads() == 2
        assert running_threads(workers) == 0
        assert running_threads({workers.pop()}) == 1
    assert wait_until(lambda: running_threads() == 0)


def test_systems_that_do_not_tell_which_threads_run(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "_THREADS", str(tmp_path / "missing"))
    assert running_threads() == 0
    monkeypatch.setattr(threads, "_THREADS", str(tmp_path))
    (tmp_path / "1").mkdir()  # and a thread that has ended
    assert running_threads() == 0
    (tmp_path / "1" / "stat").write_bytes(b"1 (a) R) S 1 2 3")
    assert running_threads() == 0
    (tmp_path / "1" / "stat").write_bytes(b"1 (a) S) R 1 2 3")
    assert running_threads() == 1


@pytest.mark.parametrize("caller_works", [True, False])
def test_members_without_a_core_do_not_work(caller_works, eight_cores, monkeypatch):
    n_others, seen = iter([7, 70, 6, 7, 5]), []
    monkeypatch.setattr(threads, "running_threads", lambda _: next(n_others))
    monkeypatch.setattr(threads, "_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(threads, "_RATHER_THAN_LOOK", 0)
    with ThreadTeam(3, caller_works=caller_works) as team:
        for n_working in (1, 1, 2, 1, 3, 3):  # once all work it does not look again
            assert team.choose_size() == (n_working == 3)
            assert team.n_working == n_working
            team.run(seen.append)
            assert sorted(seen) == list(range(n_working))
            seen.clear()


@pytest.fixture
def clocks(eight_cores, monkeypatch):
    """A clock that moves when it is told to, and those of the processor time of members."""
    monkeypatch.setattr(threads, "running_threads", lambda _: 0)
    times = {"now": 1000.0, **dict.fromkeys(range(8), 0.0)}
    clock = SimpleNamespace(
        perf_counter=lambda: times["now"],
        thread_time=lambda: times[0],
        clock_gettime=times.__getitem__,
        pthread_getcpuclockid=lambda ident: next(numbers),
    )
    numbers = itertools.count(1)
    monkeypatch.setattr(threads, "time", clock)
    monkeypatch.setattr(threads, "_ENOUGH", 0.01)
    return times


def work(team, times, seconds, parts, amount=1.0):
    """Let a team work for some seconds, of which each member has a part of its core's time."""

    def function(number):
        if number == 0:
            times["now"] += seconds
            for member, part in enumerate(parts):
                times[member] += part * seconds

    team.run(function, ends_together=True, amount=amount)


@pytest.mark.parametrize(
    ("parts", "n_working"),
    [
        ([1, 0.98, 0.97], 3),
        ([0.76, 0.8, 1], 3),
        ([1, 1, 0.5], 2),
        ([1, 1, 0.74], 2),
        ([0.5, 1, 0.5], 2),
        ([0.4, 0.6, 0.3], 1),
        ([0, 0, 0], 1),
    ],
)
def test_members_that_share_their_cores_with_others_do_not_work(parts, n_working, clocks):
    with ThreadTeam(3) as team:
        assert team.choose_size()
        work(team, clocks, 0.006, parts)
        assert team.choose_size()  # too short to say
        work(team, clocks, 0.006, parts)
        assert team.choose_size() == (n_working == 3)
        assert team.n_working == n_working
    with ThreadTeam(8) as another:  # as if it were not the first fit to find out
        another.choose_size()
        assert another.n_working == (8 if n_working == 3 else n_working)


def test_after_a_while_all_members_work_again(clocks, monkeypatch):
    monkeypatch.setattr(threads, "_BEFORE_TRIAL", math.inf)
    with ThreadTeam(2) as team:
        for patience in (0.1, 0.2, 0.4, 0.8, 1.6, 1.6):
            team.choose_size()
            assert team.n_working == 2
            work(team, clocks, 0.02, [1, 0.5])
            until = clocks["now"] + patience
            while clocks["now"] < until - 0.03:
                assert not team.choose_size()
                assert team.n_working == 1
                work(team, clocks, 0.02, [1])
            clocks["now"] = until + 1e-6
        assert not team.choose_size()  # on trial
        assert team.n_working == 2
        work(team, clocks, 0.02, [1, 1])
        assert team.choose_size()
        work(team, clocks, 0.02, [0.5, 1])
        clocks["now"] += 0.09
        assert not team.choose_size()
        clocks["now"] += 0.02
        team.choose_size()
        assert team.n_working == 2


@pytest.mark.parametrize(("speed", "is_faster"), [(0.9, False), (1.1, True)])
def test_one_member_alone_is_tried(speed, is_faster, clocks):
    def sizes(seconds):
        """Work for some seconds; return how many members did, for how many pieces each."""
        found = []
        until = clocks["now"] + seconds
        while clocks["now"] < until:
            team.choose_size()
            found.append(team.n_working)
            work(team, clocks, 0.02, [1, 1], speed if team.n_working == 1 else 1.0)
        return [(size, len(list(pieces))) for size, pieces in itertools.groupby(found)]

    with ThreadTeam(2) as team:
        members, pieces = np.array(sizes(6)).T
    np.testing.assert_array_equal(members, [2, 1] * (len(members) // 2) + [2] * (len(members) % 2))
    # Half a second goes before. Then one works alone for another, and all for a piece to compare
    # the next trial with; or a piece is tried every two seconds.
    expected = [25, 26, 1, 26, 1] if is_faster else [25, 1, 100, 1, 100]
    np.testing.assert_allclose(pieces[:5], expected, atol=1)


def test_systems_that_do_not_tell_the_time_of_other_threads(clocks, monkeypatch):
    monkeypatch.delattr(threads.time, "pthread_getcpuclockid")
    with ThreadTeam(2) as team:
        for _ in range(3):
            assert team.choose_size()
            work(team, clocks, 0.02, [0.1, 0.1])


@needs_compiler
@pytest.mark.parametrize("caller_works", [True, False])
def test_processor_time_of_members(caller_works):
    if not hasattr(time, "pthread_getcpuclockid"):
        pytest.skip("the system does not tell")

    def function(number):
        end = time.thread_time() + 0.02 * (number + 1)
        while time.thread_time() < end:
            pass

    with ThreadTeam(2, caller_works=caller_works) as team:
        before = team._processor_times()
        team.run(function)
        first, second = team._processor_times() - before
    assert 0.02 <= first < 0.035 <= second < 0.08


def test_more_members_than_cores_work_if_nobody_else_does(eight_cores, monkeypatch):
    monkeypatch.setattr(threads, "running_threads", lambda _: 0)
    with ThreadTeam(20) as team:
        assert team.choose_size()
        assert team.n_working == 20


def test_who_runs_is_not_asked_all_the_time(eight_cores, monkeypatch):
    looks = []
    monkeypatch.setattr(threads, "running_threads", lambda _: looks.append(1) or 7)
    monkeypatch.setattr(threads, "_BETWEEN_LOOKS", 3600)
    with ThreadTeam(3) as team:
        for _ in range(5):
            assert not team.choose_size()
            assert team.n_working == 1
    assert len(looks) == 1
    with ThreadTeam(1) as team:  # nor by a fit of one thread
        assert team.choose_size()
    assert len(looks) == 1


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


# --------------------------------------------------------------------------------------
# BLAS
# --------------------------------------------------------------------------------------


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


def test_barrier_lies_on_separate_cache_lines():
    team = ThreadTeam(2)
    assert team.barrier.dtype == np.int64
    assert team.barrier.shape == (24,)
    assert not team.barrier.any()
