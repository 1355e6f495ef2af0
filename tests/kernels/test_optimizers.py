"""Every row of the table of optimizers against the twin, over several steps and on slices."""

import numpy as np
import pytest

from fastmlp.kernels.optimizers import OPTIMIZERS
from tests import reference
from tests.kernels import compiled
from tests.kernels.compiled import FLOATS

RATE = 0.05
HYPER = {"momentum": 0.8, "beta_1": 0.85, "beta_2": 0.95, "epsilon": 1e-6, "weight_decay": 0.4}
ADAM = HYPER["beta_1"], HYPER["beta_2"], HYPER["epsilon"]
# What the twin calls the rows of the table.
TWINS = {
    "no_step": None,
    "sgd": lambda: reference.SGD(RATE),
    "momentum": lambda: reference.SGD(RATE, momentum=HYPER["momentum"]),
    "nesterov": lambda: reference.SGD(RATE, momentum=HYPER["momentum"], nesterov=True),
    "adam": lambda: reference.Adam(RATE, *ADAM),
    "adamw": lambda: reference.AdamW(RATE, *ADAM, HYPER["weight_decay"]),
    "nadam": lambda: reference.NAdam(RATE, *ADAM),
    "rmsprop": lambda: reference.RMSprop(RATE, *ADAM),
    "adagrad": lambda: reference.Adagrad(RATE, *ADAM),
}  # fmt: skip
STEPPING = [name for name in OPTIMIZERS if name != "no_step"]


def hyper_of(name, n_weights=1e6):
    return np.array([*(HYPER[key] for key in OPTIMIZERS[name].hyperparameters), n_weights])


def update(name, count, l2, grads, params, slots, start=0, stop=None):
    """One step by the kernels, as an epoch takes it; returns the sum of squares."""
    stop = params.size if stop is None else stop
    (rates,) = corrected_rates(name, count)
    hyper = hyper_of(name)
    return compiled.update(name, hyper, rates, l2, grads, params[start:stop], slots, start)


def corrected_rates(name, count):
    correct = OPTIMIZERS[name].correct
    if correct is None:
        return np.array([[RATE]])
    return correct(hyper_of(name), np.array([RATE]), np.array([count]))


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
    # As a matrix of weights, which decay.
    twin_params, twin = [params.astype(np.float64)[np.newaxis]], TWINS[name]()
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
        np.testing.assert_allclose(params, twin_params[0][0], rtol=tolerance, atol=tolerance)


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
    got = corrected_rates(name, count)
    root = np.sqrt(1 - HYPER["beta_2"] ** count)
    unbiased = RATE * root / (1 - HYPER["beta_1"] ** count)
    expected = {"adam": [unbiased], "adamw": [unbiased, RATE]}.get(name, [RATE])
    if name == "nadam":
        steps = np.arange(1, count + 2)
        momenta = HYPER["beta_1"] * (1 - 0.5 * 0.96 ** (0.004 * steps))
        products = np.cumprod(momenta)
        expected = [
            RATE * root * (1 - momenta[-2]) / (1 - products[-2]),
            RATE * root * momenta[-1] / (1 - products[-1]),
        ]
    np.testing.assert_allclose(got.ravel(), expected, rtol=1e-13)


@pytest.mark.parametrize("beta_1", [0.0, 1e-20, 0.5, 0.99])
def test_rates_of_several_steps_are_those_of_each(beta_1):
    for name in ("adam", "adamw", "nadam"):
        hyper = hyper_of(name)
        hyper[0] = beta_1
        rates, steps = np.linspace(0.1, 0.2, 6), np.array([1, 2, 2, 3, 80, 5000])
        together = OPTIMIZERS[name].correct(hyper, rates, steps)
        for k in range(6):
            alone = OPTIMIZERS[name].correct(hyper, rates[[k]], steps[[k]])
            np.testing.assert_allclose(together[k], alone[0], rtol=1e-14)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", STEPPING)
def test_biases_do_not_decay(name, dtype):
    params = np.linspace(-1, 1, 20).astype(dtype)
    slots = new_slots(name, params)
    hyper, (rates,) = hyper_of(name, 12.0), corrected_rates(name, 1)
    for start, stop in [(0, 12), (12, 20)]:
        compiled.update(
            name, hyper, rates, 0.0, np.zeros(stop - start, dtype),
            params[start:stop], slots, start,
        )  # fmt: skip
    expected = np.linspace(-1, 1, 20)
    if name == "adamw":
        expected[:12] *= 1 - RATE * HYPER["weight_decay"]
    np.testing.assert_allclose(params, expected, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", STEPPING)
def test_zero_gradient_is_no_step(name, dtype):
    params = np.linspace(-1, 1, 20).astype(dtype)
    before = params.copy()
    update(name, 1, 0.0, np.zeros(20, dtype), params, new_slots(name, params))
    if name == "adamw":
        before *= dtype(1 - RATE * HYPER["weight_decay"])
    np.testing.assert_array_equal(params, before)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", STEPPING)
def test_nan_gradient_is_not_hidden(name, dtype):
    params = np.ones(20, dtype)
    grads = np.ones(20, dtype)
    grads[3] = np.nan
    update(name, 1, 0.0, grads, params, new_slots(name, params))
    assert np.isnan(params).tolist() == [position == 3 for position in range(20)]
