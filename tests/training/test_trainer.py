"""The loop over epochs: the twin's trajectory, when it stops, and what a failure leaves behind."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest

from fastmlp.training import engine as engine_module
from fastmlp.training import trainer
from fastmlp.training.data import sample_numbers
from fastmlp.training.engine import Engine
from fastmlp.training.plan import Plan
from fastmlp.training.schedules import SCHEDULES
from fastmlp.training.trainer import DivergenceError, Progress, Stop, fit_epochs
from tests import reference
from tests.kernels.compiled import IS_COMPILED
from tests.kernels.networks import HYPER, TWIN_LOSSES, make_problem

ADAM = HYPER["beta_1"], HYPER["beta_2"], HYPER["epsilon"]
TWINS = {
    "sgd": reference.SGD,
    "momentum": lambda rate, schedule: reference.SGD(rate, schedule, HYPER["momentum"]),
    "nesterov": lambda rate, schedule: reference.SGD(rate, schedule, HYPER["momentum"], True),
    "adam": lambda rate, _: reference.Adam(rate, *ADAM),
    "adamw": lambda rate, _: reference.AdamW(rate, *ADAM, HYPER["weight_decay"]),
    "nadam": lambda rate, _: reference.NAdam(rate, *ADAM),
    "rmsprop": lambda rate, _: reference.RMSprop(rate, *ADAM),
    "adagrad": lambda rate, _: reference.Adagrad(rate, *ADAM),
}


def fit(
    problem, optimizer="adam", rate=0.01, schedule="constant", *, batch_size=8, order=None,
    max_iter=10, seed=0, shuffle=True, tol=1e-4, n_iter_no_change=10, progress=None,
    engine_options=(), **options,
):  # fmt: skip
    """Train a problem; return why it ended and the progress."""
    order = sample_numbers(0, len(problem.X)) if order is None else order
    progress = progress or Progress.start("validate" in options)
    with problem.engine(optimizer, batch_size=batch_size, **dict(engine_options)) as engine:
        stop = fit_epochs(
            engine, order, progress, SCHEDULES[schedule](rate, 0.5), np.random.RandomState(seed),
            max_iter=max_iter, shuffle=shuffle, tol=tol, n_iter_no_change=n_iter_no_change,
            **options,
        )  # fmt: skip
    return stop, progress


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 8, 40])
@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ("sgd", "constant"), ("sgd", "invscaling"), ("momentum", "constant"),
        ("nesterov", "invscaling"), ("nesterov", "adaptive"), ("adam", "constant"),
        ("adamw", "constant"), ("nadam", "constant"), ("rmsprop", "constant"),
        ("adagrad", "constant"),
    ],
)  # fmt: skip
def test_twins_trajectory(optimizer, schedule, batch_size, shuffle):
    problem = make_problem(loss="softmax_cross_entropy", n_samples=40, weighted=True)
    network, (X, y, sample_weight) = problem.twin(), problem.twin_data()
    # A large tol: plateaus are met.
    options = {"tol": 0.02, "n_iter_no_change": 2}
    curve = reference.train(
        network, X, y, TWIN_LOSSES[problem.layout.loss][0], TWINS[optimizer](0.02, schedule),
        batch_size=batch_size, n_epochs=15, rng=np.random.RandomState(3) if shuffle else None,
        alpha=0.1, sample_weight=sample_weight, **options,
    )  # fmt: skip
    _, progress = fit(
        problem, optimizer, 0.02, schedule, batch_size=batch_size, max_iter=15, seed=3,
        shuffle=shuffle, engine_options={"alpha": 0.1}, **options,
    )  # fmt: skip
    np.testing.assert_allclose(progress.loss_curve, curve, rtol=1e-9)
    np.testing.assert_allclose(problem.params, problem.flatten(network.parameters), rtol=1e-8)
    assert progress.n_iter == len(curve)
    assert progress.samples_seen == 40 * len(curve)
    assert progress.loss == progress.loss_curve[-1]
    assert progress.best_loss == min(progress.loss_curve)


def test_one_permutation_per_epoch_is_drawn():
    rng, other = np.random.RandomState(5), np.random.RandomState(5)
    problem = make_problem()
    with problem.engine("adam", batch_size=4) as engine:
        fit_epochs(
            engine, sample_numbers(0, 17), Progress(), SCHEDULES["constant"](0.01, 0.5), rng,
            max_iter=3, shuffle=True, tol=0, n_iter_no_change=100,
        )  # fmt: skip
    for _ in range(3):
        other.shuffle(sample_numbers(0, 17))
    assert rng.randint(10**9) == other.randint(10**9)


# --------------------------------------------------------------------------------------
# Divergence and interrupts
# --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # plain Python says so aloud
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_size", [1, 8, 17])
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.5), ("sgd", 1e9), ("momentum", 0.3)])
def test_divergence_keeps_the_last_finite_parameters(optimizer, rate, batch_size, dtype):
    # Linear, so that no unit dies first.
    problem, replay = (make_problem(activations="identity", dtype=dtype) for _ in range(2))
    progress = Progress()
    with pytest.raises(DivergenceError):
        fit(
            problem, optimizer, rate, batch_size=batch_size, max_iter=1000, progress=progress,
            tol=0, n_iter_no_change=np.inf,
        )  # fmt: skip
    assert np.isfinite(problem.params).all()
    assert progress.n_iter == len(progress.loss_curve)
    assert not np.isnan(progress.loss_curve).any()
    # They are those of the last epoch that ended well.
    _, replayed = fit(
        replay, optimizer, rate, batch_size=batch_size, max_iter=progress.n_iter, tol=0,
        n_iter_no_change=np.inf,
    )  # fmt: skip
    np.testing.assert_array_equal(problem.params, replay.params)
    assert replayed.loss_curve == progress.loss_curve


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_what_is_finite_is_kept(dtype):
    largest = np.finfo(dtype).max
    params = np.array([largest, -largest, 1.0], dtype)  # finite, but their squares are not
    kept = np.zeros(3, dtype)
    assert trainer._keep_if_finite(np.inf, params, kept)
    np.testing.assert_array_equal(kept, params)
    assert not trainer._keep_if_finite(np.nan, params, kept)
    for bad in (np.nan, np.inf, -np.inf):
        for position in range(3):
            spoilt = params.copy()
            spoilt[position] = bad
            assert not trainer._keep_if_finite(1.0, spoilt, kept)
            spoilt[:] = 1.0
            spoilt[position] = bad
            assert not trainer._keep_if_finite(1.0, spoilt, kept)
    np.testing.assert_array_equal(kept, params)


def test_divergence_in_the_first_epoch_keeps_the_initial_parameters():
    problem = make_problem()
    problem.X[3, 1] = np.nan
    before = problem.params.copy()
    progress = Progress()
    with pytest.raises(DivergenceError):
        fit(problem, progress=progress)
    np.testing.assert_array_equal(problem.params, before)
    assert progress.n_iter == 0
    assert progress.loss_curve == []


def test_interrupt_keeps_what_was_reached():
    problem, replay = make_problem(), make_problem()
    lines = []

    def report(line):
        lines.append(line)
        if line.startswith("Iteration 3"):
            raise KeyboardInterrupt

    stop, progress = fit(problem, report=report)
    assert stop is Stop.INTERRUPTED
    assert progress.n_iter == len(progress.loss_curve) == 3
    fit(replay, max_iter=3)
    np.testing.assert_array_equal(problem.params, replay.params)
    assert lines == [
        f"Iteration {k}, loss = {loss:.8f}" for k, loss in enumerate(progress.loss_curve, 1)
    ]


# --------------------------------------------------------------------------------------
# When it stops
# --------------------------------------------------------------------------------------


def test_runs_all_epochs():
    stop, progress = fit(make_problem(), max_iter=4, tol=0)
    assert stop is Stop.MAX_ITER
    assert progress.n_iter == 4


@pytest.mark.parametrize("n_iter_no_change", [1, 3])
def test_stops_without_improvement(n_iter_no_change):
    lines = []
    stop, progress = fit(
        make_problem(), max_iter=50, tol=100, n_iter_no_change=n_iter_no_change, report=lines.append
    )
    assert stop is Stop.CONVERGED
    # The first epoch improves on nothing at all; then the count must exceed what is allowed.
    assert progress.n_iter == n_iter_no_change + 2
    assert lines[-1] == (
        f"Training loss did not improve more than tol=100.000000 for {n_iter_no_change} "
        "consecutive epochs. Stopping."
    )


def test_never_stops_if_told_so():
    stop, progress = fit(make_problem(), max_iter=30, tol=100, n_iter_no_change=np.inf)
    assert stop is Stop.MAX_ITER
    assert progress.no_improvement_count == 29


def test_adaptive_rates_go_down_on_plateaus():
    lines = []
    stop, progress = fit(
        make_problem(), "sgd", 0.001, "adaptive", max_iter=200, tol=100, n_iter_no_change=1,
        report=lines.append,
    )  # fmt: skip
    assert stop is Stop.CONVERGED
    plateaus = [line for line in lines if line.startswith("Training loss")]
    assert [line.endswith("Stopping.") for line in plateaus] == [False] * 5 + [True]
    assert progress.n_iter == 3 + 2 * 5
    # Three epochs until the first plateau, two until each of the others.
    expected = np.repeat(0.001 / 5.0 ** np.arange(6), [3, 2, 2, 2, 2, 2])
    np.testing.assert_allclose(progress.learning_rate_curve, expected, rtol=1e-12)


def test_validation_score_decides():
    problem = make_problem()
    scores = iter([0.1, 0.5, 0.5001, 0.4, 0.3, 0.2, 0.1])
    kept, lines = [], []

    def validate():
        kept.append(problem.params.copy())
        return 10.0 * len(kept), next(scores)

    stop, progress = fit(
        problem, max_iter=50, n_iter_no_change=2, tol=0.01, validate=validate, report=lines.append
    )
    assert stop is Stop.CONVERGED
    # The third is better, but not by more than tol: it counts as none and is kept nevertheless.
    assert progress.validation_scores == [0.1, 0.5, 0.5001, 0.4, 0.3]
    assert progress.best_validation_score == 0.5001
    np.testing.assert_array_equal(progress.best_params, kept[2])
    np.testing.assert_array_equal(problem.params, kept[4])
    assert progress.best_loss is None
    assert progress.validation_loss_curve == [10, 20, 30, 40, 50]
    assert (progress.validation_loss, progress.validation_score) == (50, 0.3)
    assert "Validation score: 0.500100" in lines
    assert lines[-1].startswith("Validation score did not improve")


def test_validation_loss_is_noted_where_no_score_decides():
    lines, losses = [], iter([3.0, 1.0, 2.0, 4.0])
    progress = Progress()
    fit(make_problem(), max_iter=1, progress=progress)
    stop, _ = fit(
        make_problem(), max_iter=4, tol=0, validate=lambda: (next(losses), None),
        report=lines.append, progress=progress,
    )  # fmt: skip
    assert stop is Stop.MAX_ITER
    # One value per epoch, also for the epoch that had no such samples.
    assert len(progress.validation_loss_curve) == len(progress.loss_curve) == 5
    np.testing.assert_array_equal(progress.validation_loss_curve, [np.nan, 3, 1, 2, 4])
    assert progress.best_loss == min(progress.loss_curve)
    assert progress.validation_scores is None
    assert lines[1] == "Validation loss: 3.00000000"
    fit(make_problem(), max_iter=1, progress=progress)
    assert progress.validation_loss is None


# --------------------------------------------------------------------------------------
# Several epochs in one call
# --------------------------------------------------------------------------------------


def all_of(problem, monkeypatch, most, optimizer="adam", *, engine_options=(), **options):
    """Train with so many epochs per call at most; return all that this leaves behind."""
    calls, run_epochs = [], Engine.run_epochs

    def choose(self, seconds):
        self.epochs_per_call = most if self._may_run_epochs else 1

    def noted(self, n_epochs, *arguments):
        calls.append(n_epochs)
        return run_epochs(self, n_epochs, *arguments)

    monkeypatch.setattr(Engine, "_choose_epochs_per_call", choose)
    monkeypatch.setattr(Engine, "run_epochs", noted)
    order, rng, progress = sample_numbers(0, len(problem.X)), np.random.RandomState(3), Progress()
    defaults = {"max_iter": 12, "shuffle": True, "tol": 1e-4, "n_iter_no_change": 10}
    schedule = options.pop("schedule", SCHEDULES["constant"](0.01, 0.5))
    engine_options = {"batch_size": 8, **dict(engine_options)}
    with problem.engine(optimizer, **engine_options) as engine:
        with contextlib.suppress(DivergenceError):
            fit_epochs(engine, order, progress, schedule, rng, **{**defaults, **options})
        count, slots = engine._count[0], engine._step.slots.copy()
    numbers = [problem.params.copy(), order, slots, rng.get_state()[1]]
    rest = {name: value for name, value in vars(progress).items() if name != "best_params"}
    return numbers, [repr(rest), count, rng.get_state()[2], schedule.rate], calls


@pytest.mark.parametrize("n_jobs", [1, 2] if IS_COMPILED else [1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"optimizer": "sgd", "engine_options": {"alpha": 0.1, "l1": 0.01}},
        {"optimizer": "nesterov", "engine_options": {"max_grad_norm": 0.1}},
        {"engine_options": {"batch_size": 41}},
        {"tol": 100.0, "n_iter_no_change": 2},
        {"tol": 0.05, "n_iter_no_change": np.inf},
        {"tol": 100.0, "n_iter_no_change": 1, "schedule": "adaptive", "max_iter": 9},
        {"shares_layers": True},
        {"shares_layers": True, "optimizer": "momentum", "tol": 100.0, "n_iter_no_change": 2},
    ],
    ids=repr,
)
def test_several_epochs_in_a_call_are_the_same_as_one_by_one(options, dtype, n_jobs, monkeypatch):
    results = []
    for most in (1, 2, 5, 16):
        problem, chosen = make_problem(n_samples=41, dtype=dtype), dict(options)
        if "schedule" in chosen:
            chosen["schedule"] = SCHEDULES[chosen["schedule"]](0.01, 0.5)
        chosen["engine_options"] = {"n_jobs": n_jobs, **chosen.get("engine_options", {})}
        shares_layers = chosen.pop("shares_layers", False)
        plan = Plan(shares_layers, 1 if shares_layers else 2, 64, 2)
        with monkeypatch.context() as patch:
            patch.setattr(engine_module, "make_plan", lambda *_, plan=plan, **__: plan)
            results.append(all_of(problem, patch, most, **chosen))
    (numbers, rest, calls), *others = results
    assert not calls
    for other_numbers, other_rest, calls in others:
        assert other_rest == rest
        for one, other in zip(numbers, other_numbers, strict=True):
            np.testing.assert_array_equal(one, other)
        # Shuffling in a kernel needs one; and a first epoch is always alone.
        assert bool(calls) is (IS_COMPILED or options.get("shuffle") is False)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # plain Python says so aloud
@pytest.mark.parametrize("rate", [0.3, 5.0, 1e9])
def test_divergence_within_a_call_keeps_the_same(rate, monkeypatch):
    results = []
    for most in (1, 7):
        problem = make_problem(activations="identity")
        options = {"max_iter": 1000, "tol": 0, "n_iter_no_change": np.inf, "shuffle": False}
        with monkeypatch.context() as patch:
            schedule = SCHEDULES["constant"](rate, 0.5)
            results.append(all_of(problem, patch, most, "momentum", schedule=schedule, **options))
    (numbers, rest, _), (other_numbers, other_rest, _) = results
    assert "DIVERGED" in rest[0]
    assert rest[0] == other_rest[0]
    np.testing.assert_array_equal(numbers[0], other_numbers[0])


@pytest.mark.parametrize(
    "option",
    [
        {"report": lambda line: None},
        {"validate": lambda: (1.0, None)},
        {"after_epoch": lambda progress: False},
        {"time_limit": 1e9},
        {"tol": np.float32(1e-4)},
        {"schedule": SCHEDULES["invscaling"](0.01, 0.5)},
        {"engine_options": {"batch_size": 1}, "optimizer": "sgd"},
    ],
    ids=lambda option: next(iter(option)),
)
def test_where_somebody_is_to_be_asked_epochs_come_one_by_one(option, monkeypatch):
    assert not all_of(make_problem(), monkeypatch, 5, shuffle=False, **option)[2]
    assert all_of(make_problem(), monkeypatch, 5, shuffle=False)[2] == [5, 5]  # 1 before, 1 after


def test_an_interrupt_after_a_call_loses_none_of_its_epochs(monkeypatch):
    problem, run_together = make_problem(), Engine._run_together

    def interrupted(self, *arguments):
        run_together(self, *arguments)
        if self.epochs_per_call == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "_run_together", interrupted)
    _, (progress, count, *_), calls = all_of(problem, monkeypatch, 5, shuffle=False)
    assert calls == [5]
    assert "'n_iter': 6," in progress
    assert "INTERRUPTED" in progress
    assert count == 6 * 3  # steps


# --------------------------------------------------------------------------------------
# The hook after each epoch, and the time limit
# --------------------------------------------------------------------------------------


def test_hook_comes_after_all_bookkeeping():
    seen = []

    def after_epoch(progress):
        seen.append(
            (
                progress.n_iter, progress.loss_curve[-1], progress.samples_seen,
                progress.best_loss, progress.no_improvement_count, progress.stop,
            )
        )  # fmt: skip
        return False

    stop, progress = fit(
        make_problem(), max_iter=50, tol=100, n_iter_no_change=2, after_epoch=after_epoch
    )
    assert stop is progress.stop is Stop.CONVERGED
    best = np.minimum.accumulate(progress.loss_curve)
    assert seen == [
        (k, progress.loss_curve[k - 1], 17 * k, best[k - 1], k - 1, None) for k in (1, 2, 3)
    ] + [(4, progress.loss_curve[3], 68, best[3], 3, Stop.CONVERGED)]


def test_hook_sees_the_rate_of_the_next_epoch_already_decided():
    rates = []
    schedule = SCHEDULES["adaptive"](0.001, 0.5)
    problem = make_problem()
    with problem.engine("sgd", batch_size=8) as engine:
        fit_epochs(
            engine, sample_numbers(0, 17), Progress(), schedule, np.random.RandomState(0),
            max_iter=4, shuffle=True, tol=100, n_iter_no_change=1,
            after_epoch=lambda progress: rates.append((progress.learning_rate, schedule.rate)),
        )  # fmt: skip
    assert rates == [(0.001, 0.001), (0.001, 0.001), (0.001, 0.0002), (0.0002, 0.0002)]


@pytest.mark.parametrize("n_epochs", [1, 3, 5])
def test_hook_ends_training(n_epochs):
    problem, replay = make_problem(), make_problem()
    stop, progress = fit(
        problem, max_iter=5, after_epoch=lambda progress: progress.n_iter == n_epochs
    )
    assert stop is Stop.CALLBACK
    assert progress.n_iter == n_epochs
    fit(replay, max_iter=n_epochs)
    np.testing.assert_array_equal(problem.params, replay.params)


def test_training_goes_on_from_the_state_that_the_hook_sees():
    problem, whole = make_problem(), make_problem()
    order, rng, progress = sample_numbers(0, 17), np.random.RandomState(0), Progress()
    schedule = SCHEDULES["invscaling"](0.1, 0.5)
    with problem.engine("nesterov", batch_size=8) as engine:
        for _ in range(3):
            fit_epochs(
                engine, order, progress, schedule, rng, max_iter=10, shuffle=True, tol=0,
                n_iter_no_change=100, after_epoch=lambda progress: progress.n_iter == 2,
            )  # fmt: skip
    fit(whole, "nesterov", 0.1, "invscaling", max_iter=6, tol=0)
    np.testing.assert_array_equal(problem.params, whole.params)


def tick(monkeypatch):
    """Let a second pass whenever the trainer looks at the clock."""
    clock = iter(np.arange(100.0))
    monkeypatch.setattr(trainer, "time", SimpleNamespace(perf_counter=lambda: next(clock)))


def test_time_limit(monkeypatch):
    tick(monkeypatch)
    lines = []
    stop, progress = fit(make_problem(), tol=0, time_limit=3, report=lines.append)
    assert stop is Stop.TIME_LIMIT
    assert progress.n_iter == 3
    assert lines[-1] == "time_limit=3 is over. Stopping."


def test_all_epochs_in_time(monkeypatch):
    tick(monkeypatch)
    stop, _ = fit(make_problem(), tol=0, max_iter=3, time_limit=3)
    assert stop is Stop.MAX_ITER


def test_progress_goes_on():
    progress, problem = Progress(), make_problem()
    for calls in (1, 2, 3):
        fit(problem, max_iter=2, progress=progress, tol=0)
        assert progress.n_iter == 2
        assert len(progress.loss_curve) == 2 * calls
        assert progress.samples_seen == 2 * calls * 17


@pytest.mark.parametrize("batch_size", [8, 20])
def test_subset_of_the_samples(batch_size):
    problem = make_problem(n_samples=30)
    order = sample_numbers(5, 25)
    part = type(problem)(
        problem.layout, problem.params.copy(), problem.X[order].copy(), problem.y[order]
    )
    for shuffle in (False, True):
        with problem.engine("adam", batch_size=batch_size, n_samples=20) as engine:
            fit_epochs(
                engine, order, Progress(), SCHEDULES["constant"](0.01, 0.5),
                np.random.RandomState(0), max_iter=3, shuffle=shuffle, tol=0, n_iter_no_change=10,
            )  # fmt: skip
        fit(part, max_iter=3, shuffle=shuffle, tol=0, batch_size=batch_size)
        np.testing.assert_allclose(problem.params, part.params, rtol=1e-10, atol=1e-12)
