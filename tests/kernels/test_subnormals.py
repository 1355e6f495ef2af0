"""What kernels do with numbers below the smallest normal one."""

import platform

import numpy as np
import pytest

from fastmlp import MLPClassifier
from fastmlp.kernels.subnormals import AS_IT_IS, FLUSH, set_mode
from fastmlp.training import engine as engine_module
from fastmlp.training.data import sample_numbers
from tests.kernels.compiled import FLOATS, IS_COMPILED
from tests.kernels.networks import make_problem

pytestmark = [
    pytest.mark.skipif(not IS_COMPILED, reason="nothing is compiled"),
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "AMD64"), reason="has no mode for it that is set"
    ),
]


def a_subnormal(dtype):
    """A tenth of the smallest normal number, as this thread computes it."""
    return (np.array([np.finfo(dtype).tiny]) * dtype(0.1))[0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_mode_is_set_and_set_back(dtype):
    before = set_mode(FLUSH)
    try:
        flushed = a_subnormal(dtype)
    finally:
        within = set_mode(before)
    assert flushed == 0
    assert a_subnormal(dtype) > 0
    assert within != before
    # What was set back is what was there before.
    now = set_mode(FLUSH)
    set_mode(now)
    assert now & 0x8040 == before & 0x8040


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_python_computes_as_before_after_a_fit_or_an_error(n_jobs, monkeypatch):
    problem = make_problem(n_samples=40)
    with problem.engine(n_jobs=n_jobs) as engine:
        engine.loss_and_gradient(sample_numbers(0, 40))
        assert a_subnormal(np.float64) > 0

        def fails(*_):
            assert a_subnormal(np.float64) == 0
            raise KeyError("amid the kernel")

        monkeypatch.setattr(engine, "_run_batches_of", fails)
        with pytest.raises(KeyError):
            engine.loss_and_gradient(sample_numbers(0, 40))
    assert a_subnormal(np.float64) > 0


@pytest.mark.parametrize("amid", [AS_IT_IS, FLUSH])
def test_an_interrupt_between_setting_the_mode_and_the_kernel_undoes_it(amid, monkeypatch):
    def set_mode_interrupted(mode):
        result = set_mode(mode)
        if mode == amid:
            raise KeyboardInterrupt
        return result

    problem = make_problem(n_samples=40)
    with problem.engine() as engine:
        monkeypatch.setattr(engine_module, "set_mode", set_mode_interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.loss_and_gradient(sample_numbers(0, 40))
    assert a_subnormal(np.float64) > 0


def test_weights_that_fade_become_zero():
    # The second feature is always 0: its weights have no gradient but that of the L2 penalty.
    X = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    X[:, 1] = 0
    model = MLPClassifier(
        8, max_iter=400, batch_size=5, alpha=1e-3, random_state=0, tol=0, n_iter_no_change=400
    )
    with pytest.warns(Warning, match="Maximum iterations"):
        model.fit(X, X[:, 0] > 0)
    faded = np.abs(model.coefs_[0][1])
    assert (faded < 1e-6).all()
    assert not ((faded > 0) & (faded < np.finfo(np.float32).tiny)).any()
