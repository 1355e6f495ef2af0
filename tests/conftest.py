"""What holds for all tests."""

import math

import pytest

from fastmlp.training import cores, team_size


@pytest.fixture(scope="session", autouse=True)
def all_members_work():
    """Let teams work in full, though BLAS's threads still run, and whatever else is running."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cores, "_THREADS", "not told")
        patch.setattr(team_size, "_ENOUGH", math.inf)
        yield
