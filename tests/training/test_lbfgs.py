"""SciPy's minimizer on the loss of all samples."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastmlp.training import lbfgs
from fastmlp.training.lbfgs import fit_lbfgs
from fastmlp.training.trainer import DivergenceError, Stop
from tests.kernels.networks import make_problem

FLOATS = [np.float32, np.float64]


def fit(
    problem, max_iter=200, max_fun=15000, tol=1e-10, report=None, time_limit=None,
    after_iteration=None, **options,
):  # fmt: skip
    with problem.engine(**options) as engine:
        return fit_lbfgs(
            engine, max_iter=max_iter, max_fun=max_fun, tol=tol, report=report,
            time_limit=time_limit, after_iteration=after_iteration,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
def test_linear_least_squares(dtype):
    problem = make_problem((), n_outputs=1, n_samples=40, dtype=dtype)
    result = fit(problem)
    design = np.column_stack([problem.X, np.ones(40)]).astype(np.float64)
    expected = np.linalg.lstsq(design, problem.y.astype(np.float64), rcond=None)[0].ravel()
    assert problem.params.dtype == dtype
    # SciPy stops when the loss no longer falls, where the parameters are right to half its digits.
    np.testing.assert_allclose(problem.params, expected, atol=1e-4 if dtype is np.float64 else 1e-3)
    residual = design @ expected - problem.y.ravel()
    assert result.loss == pytest.approx(float(residual @ residual) / 80, rel=1e-5)


@pytest.mark.parametrize("loss", ["squared_error", "softmax_cross_entropy", "poisson"])
def test_result_describes_the_parameters_that_were_kept(loss):
    problem = make_problem(loss=loss)
    result = fit(problem, max_iter=15, alpha=0.1)
    assert problem.gradient(alpha=0.1)[0] == pytest.approx(result.loss, rel=1e-12)
    assert 1 <= result.n_iter <= 15
    assert not result.is_interrupted


def test_limits():
    lines = []
    result = fit(make_problem(), max_iter=3, report=lines.append)
    assert result.n_iter == 3
    assert result.status != 0
    assert len(lines) == 3
    assert lines[-1] == f"Iteration 3, loss = {result.loss:.8f}"
    assert result.stop is Stop.MAX_ITER
    assert fit(make_problem(), max_fun=2).n_iter <= 2
    assert fit(make_problem((), n_outputs=1)).stop is Stop.CONVERGED


def test_hook_sees_each_iteration_and_may_end_the_search():
    problem, replay, seen = make_problem(), make_problem(), []

    def after_iteration(n_iter, loss):
        seen.append((n_iter, loss, problem.params.copy()))
        return n_iter == 4

    result = fit(problem, after_iteration=after_iteration)
    assert result.stop is Stop.CALLBACK
    assert [n_iter for n_iter, _, _ in seen] == [1, 2, 3, 4]
    expected = fit(replay, max_iter=4)
    assert (result.n_iter, result.loss) == (4, expected.loss) == (4, seen[-1][1])
    np.testing.assert_array_equal(problem.params, replay.params)
    np.testing.assert_array_equal(seen[-1][2], replay.params)


def test_time_limit(monkeypatch):
    clock = iter(np.arange(100.0))
    monkeypatch.setattr(lbfgs, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    result = fit(make_problem(), time_limit=3)
    assert result.stop is Stop.TIME_LIMIT
    assert result.n_iter == 3


def test_interrupt_keeps_the_last_iteration():
    problem, replay = make_problem(), make_problem()

    def report(line):
        if line.startswith("Iteration 4"):
            raise KeyboardInterrupt

    result = fit(problem, report=report)
    assert result.is_interrupted
    assert result.n_iter == 4
    expected = fit(replay, max_iter=4)
    assert result.loss == expected.loss
    np.testing.assert_array_equal(problem.params, replay.params)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_loss_that_is_not_finite_is_an_error(bad):
    problem = make_problem((), n_outputs=1)
    problem.X[2, 2] = bad
    before = problem.params.copy()
    with pytest.raises(DivergenceError):
        fit(problem)
    np.testing.assert_array_equal(problem.params, before)
