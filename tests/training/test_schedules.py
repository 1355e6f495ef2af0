"""Learning rates over time."""

import math
import pickle
from itertools import pairwise

import numpy as np
import pytest

from fastmlp.training.schedules import PLANS, SCHEDULES, cosine, make_schedule, one_cycle


def test_there_are_scikit_learns_three():
    assert set(SCHEDULES) == {"constant", "invscaling", "adaptive"}


@pytest.mark.parametrize("name", SCHEDULES)
def test_first_epoch_has_the_initial_rate_at_every_step(name):
    rates = SCHEDULES[name](0.3, 0.5).rates(4)
    assert rates.dtype == np.float64
    np.testing.assert_array_equal(np.broadcast_to(rates, 4), [0.3] * 4)


def test_constant_stays_and_stops_on_a_plateau():
    schedule = SCHEDULES["constant"](0.3, 0.5)
    schedule.after_epoch(100)
    assert schedule.rates(1)[0] == 0.3
    assert schedule.on_plateau() == "Stopping."


def test_invscaling_counts_samples():
    schedule = SCHEDULES["invscaling"](0.3, 0.7)
    for samples_seen in (10, 20, 1000):
        schedule.after_epoch(samples_seen)
        assert schedule.rates(1)[0] == 0.3 / (samples_seen + 1) ** 0.7
    assert schedule.on_plateau() == "Stopping."


def test_invscaling_with_power_zero_is_constant():
    schedule = SCHEDULES["invscaling"](0.3, 0)
    schedule.after_epoch(1000)
    assert schedule.rates(1)[0] == 0.3


def test_adaptive_divides_by_five_until_it_is_small():
    schedule = SCHEDULES["adaptive"](0.1, 0.5)
    rates = []
    while not (decision := schedule.on_plateau()).endswith("Stopping."):
        schedule.after_epoch(10)
        rates.append(schedule.rates(1)[0])
        assert decision == f"Setting learning rate to {rates[-1]:f}"
    np.testing.assert_allclose(rates, [0.1 / 5**k for k in range(1, 9)])
    assert rates[-1] <= 1e-6 < rates[-2]


# --------------------------------------------------------------------------------------
# Plans over the whole fit
# --------------------------------------------------------------------------------------


def cosine_rate(step, n_steps, peak):
    return peak * (1 + math.cos(math.pi * step / n_steps)) / 2


def one_cycle_rate(step, n_steps, peak):
    """The rule of Smith and Topin with PyTorch's numbers, for one step."""
    turn = 0.3 * n_steps - 1
    if step <= turn:
        begin, end, share = peak / 25, peak, step / turn
    else:
        begin, end, share = peak, peak / 25e4, (step - turn) / (n_steps - 1 - turn)
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2


def step_rate(step, n_steps, peak):
    return peak if step < n_steps / 2 else peak / 10 if step < 3 * n_steps / 4 else peak / 100


RATES = {"cosine": cosine_rate, "one_cycle": one_cycle_rate, "step": step_rate}


def all_rates(schedule, n_epochs, n_batches):
    epochs = [schedule.rates(n_batches) for _ in range(n_epochs)]
    return np.concatenate([np.broadcast_to(rates, n_batches) for rates in epochs])


def test_there_is_a_reference_for_every_plan():
    assert set(RATES) == set(PLANS)


@pytest.mark.parametrize(("n_epochs", "n_batches"), [(1, 1), (3, 1), (1, 10), (20, 7), (13, 2)])
@pytest.mark.parametrize("name", PLANS)
def test_plan(name, n_epochs, n_batches):
    n_steps = n_epochs * n_batches
    schedule = make_schedule(name, 0.3, 0.5, n_steps=n_steps)
    rates = all_rates(schedule, n_epochs, n_batches)
    assert rates.dtype == np.float64
    np.testing.assert_allclose(rates, [RATES[name](t, n_steps, 0.3) for t in range(n_steps)])
    assert schedule.on_plateau() == "Stopping."


@pytest.mark.parametrize("n_steps", [4, 10, 200])
def test_one_cycle_begins_low_peaks_and_ends_lower(n_steps):
    factors = one_cycle(np.arange(n_steps), n_steps)
    assert factors[0] == pytest.approx(1 / 25)
    assert factors.max() <= 1
    assert factors[-1] == pytest.approx(1 / 250_000)


@pytest.mark.parametrize("n_steps", [10, 57])
@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_plan_is_that_of_pytorch(name, n_steps):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.3)
    if name == "cosine":
        theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    else:
        theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=n_steps)
    expected = []
    for _ in range(n_steps):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        if len(expected) < n_steps:
            theirs.step()
    ours = make_schedule(name, 0.3, 0.5, n_steps=n_steps).rates(n_steps)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


# --------------------------------------------------------------------------------------
# Callables
# --------------------------------------------------------------------------------------


def test_callable_gets_the_step_from_0_over_the_whole_fit():
    schedule = make_schedule(lambda step: 1 / (1 + step), 99, 99, n_steps=15)
    np.testing.assert_array_equal(all_rates(schedule, 3, 5), 1 / np.arange(1, 16))
    assert schedule.on_plateau() == "Stopping."


def test_callable_may_branch_and_return_any_number():
    schedule = make_schedule(lambda step: 1 if step < 2 else np.float32(0.5), 99, 99, n_steps=4)
    np.testing.assert_array_equal(schedule.rates(4), [1, 1, 0.5, 0.5])


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf, None, "fast", [0.1, 0.2]])
def test_callable_that_returns_no_rate(bad):
    schedule = make_schedule(lambda step: bad if step == 3 else 0.1, 99, 99, n_steps=9)
    schedule.rates(2)
    with pytest.raises(ValueError, match=r"learning_rate must return .* for step 3\.$"):
        schedule.rates(2)


# --------------------------------------------------------------------------------------
# Warm-up
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SCHEDULES, *PLANS, "callable"])
def test_warm_up_is_linear_and_then_over(name):
    learning_rate = (lambda step: 0.3 + 0 * step) if name == "callable" else name
    warm = make_schedule(learning_rate, 0.3, 0.5, n_steps=40, warmup_steps=8)
    rates = all_rates(warm, 8, 5)
    first = make_schedule(learning_rate, 0.3, 0.5, n_steps=32).rates(1)[0]
    np.testing.assert_allclose(rates[:8], first * np.arange(1, 9) / 8)
    rest = all_rates(make_schedule(learning_rate, 0.3, 0.5, n_steps=32), 8, 4)
    np.testing.assert_allclose(rates[8:], rest)


def test_warm_up_leaves_plateaus_and_samples_to_the_schedule():
    warm = make_schedule("adaptive", 0.1, 0.5, n_steps=40, warmup_steps=2)
    assert warm.on_plateau() == "Setting learning rate to 0.020000"
    np.testing.assert_allclose(warm.rates(3), [0.01, 0.02, 0.02])
    warm = make_schedule("invscaling", 0.1, 0.5, n_steps=40, warmup_steps=1)
    warm.after_epoch(99)
    assert warm.rates(1)[0] == 0.01


@pytest.mark.parametrize(
    ("share", "count"), [(0.25, 10), (0.9, 36), (0.001, 0), (np.float32(0.5), 20)]
)
def test_warm_up_may_be_a_share_of_all_steps(share, count):
    by_share, by_count = (
        make_schedule("cosine", 0.1, 0.5, n_steps=40, warmup_steps=steps).rates(40)
        for steps in (share, count)
    )
    np.testing.assert_array_equal(by_share, by_count)


@pytest.mark.parametrize("warmup_steps", [40, 41, np.int64(1000)])
def test_warm_up_longer_than_the_plan(warmup_steps):
    with pytest.raises(ValueError, match=r"warmup_steps=\d+ leaves no step"):
        make_schedule("cosine", 0.1, 0.5, n_steps=40, warmup_steps=warmup_steps)
    rates = make_schedule("constant", 0.1, 0.5, n_steps=40, warmup_steps=warmup_steps).rates(40)
    np.testing.assert_allclose(rates, 0.1 * np.arange(1, 41) / warmup_steps)


@pytest.mark.parametrize("name", [*SCHEDULES, *PLANS])
def test_schedule_is_pickled_where_it_stands(name):
    schedule = make_schedule(name, 0.1, 0.5, n_steps=40, warmup_steps=3)
    schedule.rates(7)
    copy = pickle.loads(pickle.dumps(schedule))
    np.testing.assert_array_equal(copy.rates(5), schedule.rates(5))


def test_cosine_falls_all_the_way():
    factors = cosine(np.arange(30), 30)
    assert all(left > right for left, right in pairwise(factors))
