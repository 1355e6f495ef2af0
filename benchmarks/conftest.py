"""What the pytest-benchmark suites share: the parameters that all of them run over."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    """Return the precision of a benchmark."""
    return request.param


@pytest.fixture(params=["fastmlp", "sklearn"])
def library(request: pytest.FixtureRequest) -> str:
    """Return the library that a benchmark runs with."""
    return request.param
