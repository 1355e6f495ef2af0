"""What holds for all tests."""

import pytest

from fastmlp.training import threads


@pytest.fixture(scope="session", autouse=True)
def all_members_work():
    """Let teams work in full, though scikit-learn has just used BLAS, whose threads still run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_THREADS", "not told")
        yield
