"""Learning rates over time."""

import numpy as np
import pytest

from fastmlp.training.schedules import SCHEDULES


def test_there_are_scikit_learns_three():
    assert set(SCHEDULES) == {"constant", "invscaling", "adaptive"}


@pytest.mark.parametrize("name", SCHEDULES)
def test_first_epoch_has_the_initial_rate_at_every_step(name):
    rates = SCHEDULES[name](0.3, 0.5).rates(4)
    assert rates.dtype == np.float64
    np.testing.assert_array_equal(rates, [0.3] * 4)


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
