"""The team of threads."""

import contextlib
import os
import signal
import threading
import time

import numpy as np
import pytest

from fastmlp.training import team as team_module
from fastmlp.training.cores import available_cores
from fastmlp.training.team import ThreadTeam
from tests.kernels import compiled
from tests.kernels.compiled import IS_COMPILED
from tests.training.within_seconds import within_seconds

needs_compiler = pytest.mark.skipif(not IS_COMPILED, reason="threads meet in compiled code only")
SIZES = [1, 2, 3, 4]


def team_threads():
    """The running threads of any team."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastmlp-")]


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

    monkeypatch.setattr(team_module, "shares_of_processors", lambda _: [{0}, {1}])
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with ThreadTeam(2) as team:
        team.run(numbers.append)
    assert sorted(numbers) == [0, 1]
    assert len(set(refused)) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_an_interrupt_while_the_caller_is_moved_back(monkeypatch):
    mine, move_to, moves = os.sched_getaffinity(0), team_module.move_to, []

    def interrupted(processors):
        if threading.current_thread() is threading.main_thread():
            moves.append(processors)
            if len(moves) == 2:
                raise KeyboardInterrupt
        move_to(processors)

    monkeypatch.setattr(team_module, "move_to", interrupted)
    monkeypatch.setattr(team_module, "shares_of_processors", lambda _: [{min(mine)}, {max(mine)}])
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


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="the system does not tell")
@pytest.mark.parametrize("caller_works", [True, False])
def test_processor_time_of_members(caller_works):

    def function(number):
        end = time.thread_time() + 0.02 * (number + 1)
        while time.thread_time() < end:
            pass

    with ThreadTeam(2, caller_works=caller_works) as team:
        before = team._processor_times()
        team.run(function)
        first, second = team._processor_times() - before
    assert 0.02 <= first < 0.035 <= second < 0.08


def test_barrier_lies_on_separate_cache_lines():
    team = ThreadTeam(2)
    assert team.barrier.dtype == np.int64
    assert team.barrier.shape == (24,)
    assert not team.barrier.any()


@pytest.mark.parametrize("caller_works", [True, False])
def test_those_who_are_chosen_work(caller_works, monkeypatch):
    sizes, notes, seen = iter([1, 3, 2, 1, 3]), [], []
    with ThreadTeam(3, caller_works=caller_works) as team:
        monkeypatch.setattr(team._size, "choose", lambda members: next(sizes))
        monkeypatch.setattr(team._size, "note", lambda *note: notes.append(note))
        for n_working in (1, 3, 2, 1, 3):
            team.choose_size()
            assert team.n_working == n_working
            team.run(seen.append)  # not noted: some may wait for others who have long done theirs
            assert sorted(seen) == list(range(n_working))
            seen.clear()
            team.run(lambda _: time.sleep(0.001), ends_together=True, amount=7.0)
            amount, seconds, times = notes.pop()
            assert amount == 7.0
            assert 0.001 <= seconds < 10
            if n_working == 1:
                assert not times.size
            elif hasattr(time, "pthread_getcpuclockid"):
                assert times.shape == (n_working,)
                assert (times >= 0).all()
    assert not notes


@pytest.mark.parametrize("name", ["pthread_getcpuclockid", "clock_gettime"])
@pytest.mark.parametrize("is_missing", [False, True])
def test_systems_that_do_not_tell_the_time_of_other_threads(name, is_missing, monkeypatch):
    def refuse(_):
        raise OSError

    if is_missing and name == "pthread_getcpuclockid":
        monkeypatch.delattr(time, name, raising=False)
    else:
        monkeypatch.setattr(time, name, refuse, raising=False)
    with ThreadTeam(2) as team:
        assert not team._processor_times().size
        team.run(lambda _: None, ends_together=True)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
@pytest.mark.parametrize("caller_works", [True, False])
@pytest.mark.parametrize("n_members", [1, 2])
def test_some_members_may_run_where_all_may(n_members, caller_works, monkeypatch):
    mine, seen = os.sched_getaffinity(0), []
    with ThreadTeam(3, caller_works=caller_works) as team:
        monkeypatch.setattr(team, "_all_shares", [{min(mine)}] * 3)
        monkeypatch.setattr(team, "_shares", [{min(mine)}] * 3)
        team.run(lambda _: None)
        monkeypatch.setattr(team._size, "choose", lambda members: n_members)
        team.choose_size()
        team.run(lambda _: seen.append(os.sched_getaffinity(0)))
    assert seen == [mine] * n_members
