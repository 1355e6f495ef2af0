"""Every row of the table of optimizers against the twin, over several steps and on slices."""

import numpy as np
import pytest

from fastmlp.kernels.optimizers import OPTIMIZERS
from tests import reference
from tests.kernels import compiled
from tests.kernels.compiled import FLOATS

RATE = 0.05
HYPER = {"momentum": 0.8, "beta_1": 0.85, "beta_2": 0.95, "epsilon": 1e-6}
# What the twin calls the rows of the table.
TWINS = {
    "no_step": None,
    "sgd": lambda: reference.SGD(RATE),
    "momentum": lambda: reference.SGD(RATE, momentum=HYPER["momentum"]),
    "nesterov": lambda: reference.SGD(RATE, momentum=HYPER["momentum"], nesterov=True),
    "adam": lambda: reference.Adam(
        RATE, HYPER["beta_1"], HYPER["beta_2"], HYPER["epsilon"]
    ),
}  # fmt: skip
STEPPING = [name for name in OPTIMIZERS if name != "no_step"]


def hyper_of(name):
    return np.array([HYPER[key] for key in OPTIMIZERS[name].hyperparameters])


def update(name, count, l2, grads, params, slots, start=0, stop=None):
    """One step by the kernels, as an epoch takes it; returns the sum of squares."""
    stop = params.size if stop is None else stop
    rate = corrected_rate(name, count)
    return compiled.update(name, hyper_of(name), rate, l2, grads, params[start:stop], slots, start)


def corrected_rate(name, count):
    correct = OPTIMIZERS[name].correct
    if correct is None:
        return RATE
    (rate,) = correct(hyper_of(name), np.array([RATE]), np.array([count]))
    return rate


def new_slots(name, params):
    return np.zeros((OPTIMIZERS[name].n_slots, params.size), params.dtype)


def test_twin_and_table_have_the_same_rows():
    assert set(OPTIMIZERS) == set(TWINS)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("n_params", [1, 7, 100])
@pytest.mark.parametrize("name", STEPPING)
def test_steps(name, n_params, l2, dtype):
    rng = np.random.default_rng(0)
    params = rng.normal(size=n_params).astype(dtype)
    twin_params, twin = [params.astype(np.float64)], TWINS[name]()
    slots = new_slots(name, params)
    tolerance = 100 * float(np.finfo(dtype).eps)
    for count in range(1, 8):
        grads = rng.normal(size=n_params).astype(dtype)
        original = grads.copy()
        before = params.astype(np.float64)
        squares = update(name, count, l2, grads, params, slots)
        assert squares == pytest.approx(before @ before, rel=tolerance)
        np.testing.assert_array_equal(grads, original)
        twin.step(twin_params, [original.astype(np.float64) + l2 * twin_params[0]])
        np.testing.assert_allclose(params, twin_params[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
def test_no_step_completes_the_gradient(dtype):
    rng = np.random.default_rng(0)
    params, grads = rng.normal(size=50).astype(dtype), rng.normal(size=50).astype(dtype)
    before, original = params.copy(), grads.astype(np.float64)
    squares = update("no_step", 1, 0.3, grads, params, new_slots("no_step", params))
    assert squares == pytest.approx(float(before @ before), rel=1e-5)
    np.testing.assert_array_equal(params, before)
    np.testing.assert_allclose(grads, original + 0.3 * before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slices_add_up_to_the_whole(name, dtype):
    rng = np.random.default_rng(0)
    whole = rng.normal(size=50).astype(dtype)
    sliced, guard = whole.copy(), np.full(50, True)
    slots, sliced_slots = new_slots(name, whole), new_slots(name, whole)
    for count in (1, 2, 3):
        grads = rng.normal(size=50).astype(dtype)
        sliced_grads = grads.copy()
        squares = update(name, count, 0.1, grads, whole, slots)
        total = 0.0
        for start, stop in [(0, 16), (16, 16), (16, 47), (47, 50)]:
            untouched, slots_before = sliced.copy(), sliced_slots.copy()
            total += update(
                name, count, 0.1, sliced_grads[start:stop], sliced, sliced_slots, start, stop
            )
            guard[:] = True
            guard[start:stop] = False
            np.testing.assert_array_equal(sliced[guard], untouched[guard])
            np.testing.assert_array_equal(sliced_slots[:, guard], slots_before[:, guard])
        # Vector registers and the loop's remainder may round differently.
        tolerance = 4 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(sliced, whole, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(sliced_grads, grads, rtol=tolerance, atol=tolerance)
        assert total == pytest.approx(squares, rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 10, 10_000])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_corrected_rate(name, count):
    got = corrected_rate(name, count)
    if name != "adam":
        assert got == RATE
        return
    unbiased = np.sqrt(1 - HYPER["beta_2"] ** count) / (1 - HYPER["beta_1"] ** count)
    assert got == pytest.approx(RATE * unbiased, rel=1e-13)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", STEPPING)
def test_zero_gradient_is_no_step(name, dtype):
    params = np.linspace(-1, 1, 20).astype(dtype)
    before = params.copy()
    update(name, 1, 0.0, np.zeros(20, dtype), params, new_slots(name, params))
    np.testing.assert_array_equal(params, before)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", STEPPING)
def test_nan_gradient_is_not_hidden(name, dtype):
    params = np.ones(20, dtype)
    grads = np.ones(20, dtype)
    grads[3] = np.nan
    update(name, 1, 0.0, grads, params, new_slots(name, params))
    assert np.isnan(params).tolist() == [position == 3 for position in range(20)]
