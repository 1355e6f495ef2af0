"""How many members of a team work."""

import itertools
import math

import numpy as np
import pytest

from fastmlp.training import team_size
from fastmlp.training.team_size import TeamSize


class Machine:
    """Pretend that there are eight cores, a clock, and other threads."""

    def __init__(self, monkeypatch):
        self.now, self.n_others, self.n_looks = 1000.0, 0, 0
        monkeypatch.setattr(team_size, "available_cores", lambda: 8)
        monkeypatch.setattr(team_size, "running_threads", self.look)
        monkeypatch.setattr(team_size.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(team_size, "_crowd", team_size._Crowd())
        monkeypatch.setattr(team_size, "_ENOUGH", 0.01)
        monkeypatch.setattr(team_size, "_WAKING", 0.0)

    def team(self, most):
        """Return the size of a team that has done its first piece of work."""
        size = TeamSize(most)
        size.note(1.0, 0.3, np.full(most, 0.01))  # it loads code
        return size

    def look(self, members):
        assert members == {7, 8}
        self.n_looks += 1
        return self.n_others

    def work(self, size, seconds, parts=(), amount=1.0):
        """Let members work; return how many did."""
        n_members = size.choose({7, 8})
        self.now += seconds
        size.note(amount, seconds, seconds * np.array(parts[:n_members] if n_members > 1 else ()))
        return n_members


@pytest.fixture
def machine(monkeypatch):
    with monkeypatch.context() as patch:
        yield Machine(patch)


def test_members_without_a_core_do_not_work(machine):
    size = machine.team(3)
    for n_others, n_members in [(7, 1), (70, 1), (6, 2), (7, 1), (5, 3), (7, 3)]:
        machine.n_others = n_others
        assert machine.work(size, 0.02, [1, 1, 1]) == n_members
        assert size.is_certain == (n_members == 3)
    assert machine.n_looks == 5  # none once all work


def test_who_runs_is_not_asked_all_the_time(machine):
    size, machine.n_others = TeamSize(3), 7
    for _ in range(9):
        assert machine.work(size, 0.001) == 1
    assert machine.n_looks == 1
    machine.now += 0.002
    assert machine.work(size, 0.001) == 1
    assert machine.n_looks == 2
    assert TeamSize(1).choose({7, 8}) == 1  # nor by a fit of one thread
    assert machine.n_looks == 2


def test_more_members_than_cores_work_if_nobody_else_does(machine):
    assert TeamSize(20).choose({7, 8}) == 20


@pytest.mark.parametrize(
    ("parts", "n_members"),
    [
        ([1, 0.98, 0.97], 3),
        ([0.76, 0.8, 1], 3),
        ([], 3),  # not known
        ([1, 1, 0.5], 2),
        ([1, 1, 0.74], 2),
        ([0.5, 1, 0.5], 2),
        ([0.4, 0.6, 0.3], 1),
        ([0, 0, 0], 1),
    ],
)
def test_members_that_share_their_cores_with_others_do_not_work(parts, n_members, machine):
    size = machine.team(3)
    for _ in range(2):  # the first is too short to say
        assert machine.work(size, 0.006, parts) == 3
    assert size.choose({7, 8}) == n_members
    assert size.is_certain == (n_members == 3)
    # Another fit need not find that out: so many cores are taken.
    assert TeamSize(8).choose({7, 8}) == 5 + n_members
    assert TeamSize(1).choose({7, 8}) == 1


@pytest.mark.parametrize("most", [2, 3, 4])
def test_after_a_while_all_members_work_again(most, machine, monkeypatch):
    monkeypatch.setattr(team_size, "_BEFORE_TRIAL", math.inf)
    size, crowded = machine.team(most), [1] * (most - 1) + [0.5]
    for patience in (0.1, 0.2, 0.4, 0.8, 1.6, 1.6):
        assert machine.work(size, 0.02, crowded) == most
        until = machine.now + patience
        while machine.now < until - 0.03:
            assert machine.work(size, 0.02, crowded) == most - 1
        assert not size.is_certain
        machine.now = until + 1e-6
    assert machine.work(size, 0.02, [1] * most) == most
    assert size.is_certain
    assert machine.work(size, 0.02, crowded) == most
    machine.now += 0.09
    assert size.choose({7, 8}) == most - 1
    machine.now += 0.02
    assert size.choose({7, 8}) == most


def test_waking_up_is_no_lack_of_a_core(machine, monkeypatch):
    monkeypatch.setattr(team_size, "_WAKING", 1e-4)
    size = machine.team(2)
    for _ in range(200):
        assert machine.work(size, 2e-4, [1, 0.6]) == 2


def test_long_work_is_not_tried_alone(machine):
    size = machine.team(8)
    for _ in range(50):
        assert machine.work(size, 0.2, [1] * 8) == 8


def test_a_crowd_ends_a_trial(machine):
    size, other = machine.team(4), machine.team(2)
    while machine.work(size, 0.02, [1] * 4) == 4:
        pass
    assert machine.work(other, 0.02, [1, 0.5]) == 2
    assert machine.work(size, 0.02, [1] * 4) == 3
    machine.now += 1.0
    assert machine.work(size, 0.02, [1] * 4) == 4  # of which the speed must be known before


@pytest.mark.parametrize("parts", [(1, 1), ()])
@pytest.mark.parametrize(("speed", "is_faster"), [(0.9, False), (1.1, True)])
def test_one_member_alone_is_tried(speed, is_faster, parts, machine):
    size, found = machine.team(2), []
    while machine.now < 1006:
        is_alone = size.choose({7, 8}) == 1
        found.append(machine.work(size, 0.02, parts, speed if is_alone else 1.0))
    runs = [(n_members, len(list(run))) for n_members, run in itertools.groupby(found)]
    members, lengths = np.array(runs).T
    np.testing.assert_array_equal(members, [2 - i % 2 for i in range(len(runs))])
    # All for half a second. Then one alone for another, and all once, to compare the next trial
    # with; or a trial every two seconds.
    expected = [25, 26, 1, 26, 1] if is_faster else [25, 1, 100, 1, 100]
    np.testing.assert_allclose(lengths[:5], expected, atol=1)
