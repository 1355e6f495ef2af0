"""The engine: what does not depend on the number of threads, on gathering, or on pieces."""

import itertools
import threading

import numpy as np
import pytest
from scipy import sparse

from fastmlp.kernels.optimizers import OPTIMIZERS
from fastmlp.kernels.team import GRAIN
from fastmlp.training import engine as engine_module
from fastmlp.training import team_size
from fastmlp.training.data import sample_numbers
from fastmlp.training.engine import OptimizerState
from fastmlp.training.plan import Plan, bounds_of_parts, make_plan
from fastmlp.training.team import ThreadTeam
from tests.kernels.compiled import FLOATS, N_JOBS
from tests.kernels.networks import make_problem, permutation

N_SAMPLES = 90


@pytest.fixture(params=[0, 64], ids=["BLAS", "narrow"], autouse=True)
def few_weights(request, monkeypatch):
    """Run everything with matrices row by row and, where layers are small, unit by unit."""
    monkeypatch.setattr("fastmlp.training.plan._FEW_WEIGHTS", request.param)


def train(problem, n_jobs, optimizer="adam", batch_size=40, n_epochs=3, X=None, rate=0.01):
    """Train a copy of the problem; return the losses and the parameters."""
    problem, losses = problem.copy(), []
    with problem.engine(
        optimizer, X=X, n_jobs=n_jobs, batch_size=batch_size, alpha=0.1
    ) as engine:  # fmt: skip
        for epoch in range(n_epochs):
            order = permutation(epoch, len(problem.X))
            losses.append(engine.run_epoch(order, False, np.full(engine.n_batches, rate)))
    return np.array(losses), problem.params


@pytest.fixture
def force_plan(monkeypatch):
    """Make engines follow a given plan."""
    return lambda plan: monkeypatch.setattr(engine_module, "make_plan", lambda *_, **__: plan)


# --------------------------------------------------------------------------------------
# Threads
# --------------------------------------------------------------------------------------

SHARES_SAMPLES = [Plan(False, n_shards, 16, 3) for n_shards in (1, 2, 4)]
SHARES_PARAMETERS = Plan(True, 1, 40, 3)
OPTIONS = [
    {"optimizer": "adam"},
    {"optimizer": "nesterov"},
    {"optimizer": "sgd", "batch_size": 7},
    {"optimizer": "momentum", "batch_size": 1},
]


def variants(dtype, **options):
    """A plain problem, one with sample weights of which a whole batch is zero, a sparse one."""
    options |= {"loss": "softmax_cross_entropy", "n_samples": N_SAMPLES, "dtype": dtype}
    weighted = make_problem(weighted=True, **options)
    weighted.sample_weight[permutation(0, N_SAMPLES)[:40]] = 0
    plain = make_problem(**options)
    return [(plain, plain.X), (weighted, weighted.X), (plain, sparse.csr_array(plain.X))]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options["optimizer"])
@pytest.mark.parametrize("plan", SHARES_SAMPLES, ids=lambda plan: f"{plan.n_shards} shards")
def test_shards_give_bit_equal_weights_with_any_number_of_threads(plan, options, dtype, force_plan):
    force_plan(plan)
    for problem, X in variants(dtype):
        losses, params = train(problem, 1, X=X, **options)
        assert np.isfinite(losses).all()
        for n_jobs in [*N_JOBS, N_JOBS[-1]]:
            _, others = train(problem, n_jobs, X=X, **options)
            np.testing.assert_array_equal(others, params)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options["optimizer"])
@pytest.mark.parametrize(
    "sizes",
    [{}, {"n_features": 37, "hidden": (70, 33)}, {"n_features": 50, "hidden": ()}],
    ids=["narrow layers", "layers of several lines", "no hidden layer"],
)
def test_shared_parameters_give_equal_weights_to_rounding(sizes, options, dtype, force_plan):
    # Products of more or fewer inputs are summed in another order.
    tolerance = 1e-12 if dtype is np.float64 else 2e-4
    force_plan(SHARES_PARAMETERS)
    for problem, X in variants(dtype, **sizes):
        losses, params = train(problem, 1, X=X, **options)
        for n_jobs in N_JOBS[1:]:
            other_losses, others = train(problem, n_jobs, X=X, **options)
            np.testing.assert_allclose(others, params, rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(other_losses, losses, rtol=tolerance)
            # With the same number of threads everything is repeated bit for bit.
            _, again = train(problem, n_jobs, X=X, **options)
            np.testing.assert_array_equal(again, others)


@pytest.mark.skipif(len(N_JOBS) == 1, reason="threads meet in compiled code only")
@pytest.mark.parametrize(("optimizer", "batch_size"), [("adam", 7), ("sgd", 1)])
@pytest.mark.parametrize("plan", [*SHARES_SAMPLES, SHARES_PARAMETERS])
def test_members_that_come_and_go_do_not_show(plan, optimizer, batch_size, force_plan, monkeypatch):
    force_plan(plan)
    monkeypatch.setattr(engine_module, "threads_per_sample", lambda _: 3)
    monkeypatch.setattr(engine_module, "_WORK_PER_CALL", 10_000)
    problem, options = variants(np.float64)[0][0], {"batch_size": batch_size, "n_epochs": 6}
    losses, params = train(problem, 3, optimizer, **options)
    sizes, n_others = [], itertools.cycle([2, 1, 2, 0])
    choose_size = ThreadTeam.choose_size

    def note_size(team):
        is_complete = choose_size(team)
        sizes.append(team.n_working)
        return is_complete

    monkeypatch.setattr(team_size, "available_cores", lambda: 3)
    monkeypatch.setattr(team_size, "running_threads", lambda _: next(n_others))
    monkeypatch.setattr(team_size, "_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(team_size, "_RATHER_THAN_LOOK", 0)
    monkeypatch.setattr(ThreadTeam, "choose_size", note_size)
    other_losses, others = train(problem, 3, optimizer, **options)
    np.testing.assert_array_equal(other_losses, losses)
    np.testing.assert_array_equal(others, params)
    assert sizes[:4] == [1, 2, 1, 3]
    assert set(sizes[4:]) == {3}


@pytest.mark.skipif(len(N_JOBS) == 1, reason="threads meet in compiled code only")
@pytest.mark.parametrize("plan", [*SHARES_SAMPLES[1:], SHARES_PARAMETERS])
def test_sizes_that_are_measured_do_not_show(plan, force_plan, monkeypatch):
    force_plan(plan)
    problem, options = variants(np.float64)[0][0], {"batch_size": 7, "n_epochs": 40}
    losses, params = train(problem, 2, "adam", **options)
    sizes, choose_size = [], ThreadTeam.choose_size

    def note_size(team):
        choose_size(team)
        sizes.append(team.n_working)

    for name in ("_ENOUGH", "_BEFORE_TRIAL", "_BETWEEN_TRIALS", "_RATHER_THAN_TRY"):
        monkeypatch.setattr(team_size, name, 0)
    monkeypatch.setattr(team_size, "_ALMOST_ALL", 0)
    monkeypatch.setattr(ThreadTeam, "choose_size", note_size)
    other_losses, others = train(problem, 2, "adam", **options)
    np.testing.assert_array_equal(other_losses, losses)
    np.testing.assert_array_equal(others, params)
    assert set(sizes) == {1, 2}


@pytest.mark.parametrize("n_jobs", N_JOBS)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options["optimizer"])
def test_all_plans_agree(options, n_jobs, force_plan):
    for problem, X in variants(np.float64):
        results = []
        for plan in [SHARES_PARAMETERS, *SHARES_SAMPLES]:
            force_plan(plan)
            results.append(train(problem, n_jobs, X=X, **options))
        for losses, params in results[1:]:
            np.testing.assert_allclose(losses, results[0][0], rtol=1e-11)
            np.testing.assert_allclose(params, results[0][1], rtol=1e-10, atol=1e-11)


def test_parts_own_whole_lines_of_units_and_equal_work():
    layout = make_problem((100, 20, 512), n_features=784).layout
    for n_parts in (1, 2, 3, 8):
        bounds = bounds_of_parts(layout, n_parts).reshape(5, n_parts + 1)
        np.testing.assert_array_equal(bounds[:, 0], 0)
        np.testing.assert_array_equal(bounds[:, -1], layout.units)
        assert (bounds[0] % 4 == 0).all()
        assert ((bounds[1:] % GRAIN == 0) | (bounds[1:] == bounds[1:, -1:])).all()
        sizes = np.diff(bounds)
        assert (sizes >= 0).all()
        assert sizes[0].max() - sizes[0].min() <= 8
        assert sizes[3].max() - sizes[3].min() <= 2 * GRAIN
    # The first half of the features is zeros.
    densities = np.repeat([0.0, 1.0], 392)
    bounds = bounds_of_parts(layout, 2, densities).reshape(5, 3)
    np.testing.assert_array_equal(bounds[1:], bounds_of_parts(layout, 2).reshape(5, 3)[1:])
    assert 392 + 8 * GRAIN < bounds[0, 1] < 784 - 8 * GRAIN


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("hidden", "batch_size"), [((64,), 256), ((200, 200), 64), ((256, 192), 64), ((200, 256), 64)]
)
def test_threads_of_the_usual_plan(hidden, batch_size, dtype):
    problem = make_problem(hidden, n_features=50, n_samples=300, dtype=dtype)
    plan = make_plan(problem.layout, np.dtype(dtype), batch_size)
    assert plan.useful_threads >= 3
    # Activations outweigh parameters in the first, parameters activations in the second.
    assert plan.shares_layers == (batch_size == 64)

    _, params = train(problem, 1, batch_size=batch_size)
    tolerance = 1e-12 if dtype is np.float64 else 2e-4
    for n_jobs in N_JOBS[1:]:
        _, others = train(problem, n_jobs, batch_size=batch_size)
        if plan.shares_layers:
            np.testing.assert_allclose(others, params, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(others, params)
        np.testing.assert_array_equal(train(problem, n_jobs, batch_size=batch_size)[1], others)


def test_an_error_inside_releases_the_threads(force_plan):
    force_plan(SHARES_PARAMETERS)
    problem = make_problem(n_samples=40)
    engine = problem.engine(n_jobs=N_JOBS[-1])
    with pytest.raises(KeyError), engine:
        raise KeyError(engine.loss_and_gradient(sample_numbers(0, 40)))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastmlp-")]
    # It can be entered again.
    with engine:
        assert np.isfinite(engine.loss_and_gradient(sample_numbers(0, 40))[0])


# --------------------------------------------------------------------------------------
# Batches and their order
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 16, 25, N_SAMPLES - 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_gathering_is_as_good_as_sorting_beforehand(weighted, batch_size):
    problem = make_problem(n_samples=N_SAMPLES, weighted=weighted)
    order = permutation(0, N_SAMPLES)
    weights = None if problem.sample_weight is None else problem.sample_weight[order]
    ordered = type(problem)(
        problem.layout, problem.params.copy(), problem.X[order], problem.y[order], weights
    )
    losses = []
    for some, rows, in_order in [
        (problem, order, False), (ordered, sample_numbers(0, N_SAMPLES), True),
    ]:  # fmt: skip
        with some.engine("adam", batch_size=batch_size) as engine:
            losses.append(engine.run_epoch(rows, in_order, np.full(engine.n_batches, 0.01)))
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(problem.params, ordered.params)


@pytest.mark.parametrize("batch_size", [1, 16, 25, 60])
def test_some_of_the_samples(batch_size):
    problem = make_problem(n_samples=N_SAMPLES)
    chosen = permutation(0, N_SAMPLES)[:60]
    part = type(problem)(
        problem.layout, problem.params.copy(), problem.X[chosen], problem.y[chosen]
    )
    with problem.engine("adam", batch_size=batch_size, n_samples=60) as engine:
        loss = engine.run_epoch(chosen, False, np.full(engine.n_batches, 0.01))
    with part.engine("adam", batch_size=batch_size) as engine:
        rows, rates = sample_numbers(0, 60), np.full(engine.n_batches, 0.01)
        assert engine.run_epoch(rows, True, rates) == loss
    np.testing.assert_array_equal(problem.params, part.params)


def test_batch_without_weight_is_skipped():
    problem = make_problem(n_samples=30, weighted=True)
    problem.sample_weight[10:20] = 0
    with problem.engine("adam", batch_size=10) as engine:
        loss = engine.run_epoch(sample_numbers(0, 30), True, np.full(3, 0.01))
        # Adam counts the steps that were taken.
        assert engine._count.tolist() == [2]
    assert np.isfinite(loss)
    assert np.isfinite(problem.params).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_starts_from_nothing(name):
    state = OptimizerState.start(name, np.ones(7, np.float32))
    assert state.name == name
    assert state.slots.shape == (OPTIMIZERS[name].n_slots, 7)
    assert state.slots.dtype == np.float32
    assert not state.slots.any()
    assert state.count.tolist() == [0]
