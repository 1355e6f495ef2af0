"""The predictor: what does not depend on pieces and threads, and what it takes as it is."""

import numpy as np
import pytest
import threadpoolctl
from scipy import sparse

from fastmlp.kernels.registers import IS_FAST
from fastmlp.training import predictor as predictor_module
from fastmlp.training.data import kernel_data
from fastmlp.training.predictor import Predictor
from tests import reference
from tests.kernels.compiled import FLOATS, N_JOBS
from tests.kernels.networks import make_problem


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_jobs", [None, *N_JOBS])
@pytest.mark.parametrize("n_samples", [1, 15, 16, 17, 90])
def test_predictions_do_not_depend_on_pieces_and_threads(n_samples, n_jobs, dtype, monkeypatch):
    problem = make_problem(
        activations=["prelu", "gelu"], loss="softmax_cross_entropy", n_samples=90, dtype=dtype
    )
    X = problem.X[:n_samples]
    expected = reference.predict(problem.twin(), X.astype(np.float64))
    tolerance = 200 * float(np.finfo(dtype).eps)

    def check():
        for inputs in (X, sparse.csr_array(X)):
            predictor = Predictor(problem.layout, problem.params)
            out = predictor(kernel_data(inputs, dtype), n_jobs)
            assert out.dtype == dtype
            np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
            # Threads take whole pieces, so that not even the last bits tell how many there are.
            np.testing.assert_array_equal(out, predictor(kernel_data(inputs, dtype), 1))

    check()
    monkeypatch.setattr(predictor_module, "piece_rows", lambda *_: 16)
    check()
    monkeypatch.setattr(predictor_module, "_WORTH_A_THREAD", 1)
    check()


@pytest.mark.parametrize("dtype", FLOATS)
def test_predictions_skip_zeros_of_large_layers_only(dtype, monkeypatch):
    problem = make_problem((70, 40), n_features=90, n_samples=301, dtype=dtype)
    problem.X[np.random.default_rng(0).uniform(size=problem.X.shape) < 0.8] = 0
    expected = reference.predict(problem.twin(), problem.X.astype(np.float64))
    predictor, tolerance = Predictor(problem.layout, problem.params), 200 * np.finfo(dtype).eps
    monkeypatch.setattr(predictor, "_rows", 64)
    addresses, predict = [], predictor_module.predict

    def noted(*arguments):
        addresses.append(arguments[4])
        return predict(*arguments)

    monkeypatch.setattr(predictor_module, "predict", noted)
    monkeypatch.setattr(predictor_module, "_WORTH_A_THREAD", 1)
    for n_jobs in N_JOBS:
        out = predictor(kernel_data(problem.X, dtype), n_jobs)
        np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(out, predictor(kernel_data(problem.X, dtype), 1))
    for n_samples in (1, 7, 64):
        out = predictor.outputs(problem.X[:n_samples].copy())
        np.testing.assert_allclose(out, expected[:n_samples], rtol=tolerance, atol=tolerance)
    *others, one, seven, many = map(bool, addresses)
    assert set(others) == {IS_FAST}
    assert (one, seven, many) == (False, False, IS_FAST)
    # For these it would take longer to compile than they ever save.
    small = make_problem((16,), n_features=90, n_samples=301, dtype=dtype)
    addresses.clear()
    Predictor(small.layout, small.params).outputs(small.X)
    assert addresses == [0]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # plain Python says so aloud
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_samples", [1, 2, 17])
def test_few_rows(n_samples, dtype):
    problem = make_problem(
        activations=["prelu", "gelu"], loss="softmax_cross_entropy", n_samples=17, dtype=dtype
    )
    predictor, X = Predictor(problem.layout, problem.params), problem.X[:n_samples].copy()
    assert predictor.accepts(X)
    expected = predictor(kernel_data(X, dtype))
    out = predictor.outputs(X)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, expected)
    # Later training is seen.
    problem.params[:] *= 2
    np.testing.assert_array_equal(predictor.outputs(X), predictor(kernel_data(X, dtype)))
    for bad in (np.nan, np.inf, -np.inf):
        X[-1, -1] = bad
        assert predictor.outputs(X) is None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("n_jobs", N_JOBS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_many_rows(dtype, n_jobs, monkeypatch):
    monkeypatch.setattr(predictor_module, "_WORTH_A_THREAD", 1)
    problem = make_problem((70, 40), n_features=90, n_samples=301, dtype=dtype)
    predictor, X = Predictor(problem.layout, problem.params), problem.X
    monkeypatch.setattr(predictor, "_rows", 64)
    assert predictor.accepts(X)
    expected = predictor(kernel_data(X, dtype))
    np.testing.assert_array_equal(predictor.outputs(X, n_jobs), expected)
    for row in (0, 200, 300):
        bad = X.copy()
        bad[row, 7] = np.nan
        assert predictor.outputs(bad, n_jobs) is None
        # What has been validated is believed.
        others = np.arange(301) != row
        out = predictor(kernel_data(bad, dtype), n_jobs)
        np.testing.assert_array_equal(out[others], expected[others])
        assert np.isnan(out[row]).all()


@pytest.mark.parametrize("own_work", [0, 10**9])
def test_blas_is_kept_to_one_thread_where_it_would_share(own_work, monkeypatch):
    seen, predict = [], predictor_module.predict

    def noted(*arguments):
        pools = threadpoolctl.threadpool_info()
        seen.append({pool["num_threads"] for pool in pools if pool["user_api"] == "blas"})
        return predict(*arguments)

    monkeypatch.setattr(predictor_module, "predict", noted)
    monkeypatch.setattr(predictor_module, "OWN_WORK", own_work)
    problem = make_problem((400,), n_features=90, n_samples=3)
    predictor, X = Predictor(problem.layout, problem.params), np.ones((200, 90))
    monkeypatch.setattr(predictor, "_rows", 64)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        for n_samples in (1, 7, 40, 200):
            predictor.outputs(X[:n_samples])
        predictor(kernel_data(X, np.float64))
    # Where BLAS is not used, its threads are left as they are, which is faster.
    many = {2} if own_work and IS_FAST else {1}
    assert seen == [{2}, {2}, many, many, many]


def test_few_rows_are_refused_unless_they_can_be_taken_as_they_are():
    problem = make_problem()
    predictor, X = Predictor(problem.layout, problem.params), problem.X
    assert predictor.accepts(X)
    read_only = X.copy()
    read_only.flags.writeable = False
    for refused in (
        X.astype(np.float32), X.tolist(), sparse.csr_array(X), np.asfortranarray(X), X[:, :3],
        X[::2, ::-1], X[0], X[:0], read_only, X.astype(">f8"), X.view(np.recarray),
        np.ma.masked_array(X),
    ):  # fmt: skip
        assert not predictor.accepts(refused)


def test_predictions_for_no_samples():
    problem = make_problem()
    predictor = Predictor(problem.layout, problem.params)
    out = predictor(kernel_data(np.empty((0, 4)), np.float64))
    assert out.shape == (0, 3)
