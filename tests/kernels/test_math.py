"""The polynomials against wider arithmetic: largest errors, not-a-number, saturation, types."""

import numpy as np
import pytest
from scipy.special import ndtr

from fastmlp.kernels import math
from tests.kernels.compiled import FLOATS, IS_COMPILED, MATH_FUNCTIONS, evaluate, result_types

N_POINTS = 200_000 if IS_COMPILED else 300
# Where the exponent of e^x is that of a normal number.
LIMITS = {np.float32: (-87.33654, 88.37626), np.float64: (-708.3964185322641, 709.4361393)}
# Distance to the correctly rounded result, in units in the last place.
MAX_ULPS = {"exp": 1, "expm1": 2, "log": 2, "log1p": 3, "logistic": 3, "tanh": 3}


def wider(x):
    """The numbers in a type of more digits (on machines that have one beyond float64)."""
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def exact_logistic(x):
    return 1 / (1 + np.exp(-x))


def exact_normal_pdf(x):
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi * np.ones_like(x))


def exact_normal_cdf(x):
    """By the power series near zero, by Laplace's continued fraction in the tails."""
    size = np.abs(x)
    near, far = np.minimum(size, 2), np.maximum(size, 2)
    term, total = near.copy(), near.copy()
    for k in range(1, 60):
        term = term * near * near / (2 * k + 1)
        total = total + term
    fraction = far.copy()
    for k in range(300, 0, -1):
        fraction = far + k / fraction
    upper = np.where(
        size < 2, 0.5 - total * exact_normal_pdf(near), exact_normal_pdf(far) / fraction
    )
    return np.where(x > 0, 1 - upper, upper)


REFERENCES = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "logistic": exact_logistic,
    "tanh": np.tanh,
    "normal_cdf": exact_normal_cdf,
    "normal_pdf": exact_normal_pdf,
}


def points(name, dtype):
    """Dense grids and random numbers of every size, over the whole range of a function."""
    rng = np.random.default_rng(0)
    tiny, largest = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    low, high = LIMITS[dtype]
    every_size = np.exp(rng.uniform(np.log(tiny), np.log(largest) - 1e-9, N_POINTS))
    if name == "log":
        parts = [every_size, np.linspace(0.5, 2, N_POINTS), [1, tiny, largest]]
        return np.concatenate(parts).astype(dtype)
    if name == "log1p":
        return np.concatenate([every_size, np.linspace(0, 2, N_POINTS), [0]]).astype(dtype)
    if name.startswith("normal"):  # their reference takes its time
        every_size = every_size[: N_POINTS // 10]
        low, high = (-12, 12) if dtype is np.float32 else (-37, 37)
    n_points = every_size.size
    small = np.exp(rng.uniform(np.log(tiny), 0, n_points)) * rng.choice([-1, 1], n_points)
    parts = [np.linspace(low, high, n_points), np.linspace(-3, 3, n_points), small, [0]]
    return np.concatenate(parts).astype(dtype).clip(dtype(low), dtype(high))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", MAX_ULPS)
def test_largest_error(name, dtype):
    x = points(name, dtype)
    got = evaluate(name, x)
    rounded = REFERENCES[name](wider(x)).astype(dtype)
    ulps = np.abs(got - rounded) / np.spacing(np.abs(rounded))
    worst = ulps.argmax()
    assert ulps[worst] <= MAX_ULPS[name], f"{ulps[worst]} ulp at {x[worst]!r}"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["normal_cdf", "normal_pdf"])
def test_relative_error_of_the_normal_distribution(name, dtype):
    # Rounding x^2 alone changes e^(-x^2/2) by up to x^2/4 units of the precision.
    x = points(name, dtype)
    exact = REFERENCES[name](wider(x))
    error = np.abs(evaluate(name, x) - exact) / exact / float(np.finfo(dtype).eps)
    allowed = (24 if name == "normal_cdf" else 4) + wider(x) ** 2 / 2
    worst = (error / allowed).argmax()
    assert error[worst] <= allowed[worst], f"{error[worst]} times eps at {x[worst]!r}"


def test_reference_of_the_normal_distribution():
    x = np.linspace(-30, 30, 6001)
    np.testing.assert_allclose(exact_normal_cdf(x), ndtr(x), rtol=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", MATH_FUNCTIONS)
def test_nan_gives_nan_and_leaves_its_neighbours_alone(name, dtype):
    x = np.full(37, 0.5, dtype)
    expected = evaluate(name, x)
    x[5::7] = np.nan
    got = evaluate(name, x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))
    np.testing.assert_array_equal(got[~np.isnan(x)], expected[~np.isnan(x)])
    assert np.isnan(evaluate(name, -x)[5])


@pytest.mark.parametrize("dtype", FLOATS)
def test_saturates_instead_of_overflowing(dtype):
    largest, tiny = np.finfo(dtype).max, np.finfo(dtype).tiny
    beyond = np.array([LIMITS[dtype][1] + 1, 1e4, largest, np.inf], dtype)

    assert (evaluate("exp", beyond) > largest / 2).all()
    assert (evaluate("expm1", beyond) > largest / 2).all()
    assert np.isfinite(evaluate("exp", beyond)).all()
    assert np.isfinite(evaluate("expm1", beyond)).all()
    for name in ("tanh", "logistic", "normal_cdf"):
        np.testing.assert_array_equal(evaluate(name, beyond), 1)

    np.testing.assert_array_equal(evaluate("expm1", -beyond), -1)
    np.testing.assert_array_equal(evaluate("tanh", -beyond), -1)
    for name in ("exp", "logistic", "normal_cdf", "normal_pdf"):
        vanishing = evaluate(name, -beyond)
        assert (vanishing >= 0).all()
        assert (vanishing <= tiny * dtype(1.001)).all()
    assert (evaluate("normal_pdf", beyond) <= tiny).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values(dtype):
    zero = np.zeros(1, dtype)
    expected = {"exp": 1, "expm1": 0, "log1p": 0, "logistic": 0.5, "tanh": 0}
    for name, value in expected.items():
        assert evaluate(name, zero)[0] == value
    assert evaluate("log", zero + 1)[0] == 0
    # Below the normal numbers, what is nearly the identity stays so.
    least = np.array([np.finfo(dtype).smallest_subnormal, -np.finfo(dtype).tiny / 2], dtype)
    for name in ("expm1", "tanh"):
        np.testing.assert_array_equal(evaluate(name, least), least)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["exp", "expm1", "logistic", "tanh", "normal_cdf"])
def test_never_falls_by_more_than_its_error(name, dtype):
    x = np.linspace(-100, 100, 20_001 if IS_COMPILED else 201).astype(dtype)
    y = evaluate(name, x)
    allowed = (24 + x[1:] ** 2 / 2 if name == "normal_cdf" else 3) * np.spacing(np.abs(y[1:]))
    assert (np.diff(y) >= -allowed).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_keeps_its_type(dtype):
    assert result_types(dtype) == {dtype}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", MATH_FUNCTIONS)
def test_plain_python_computes_the_same(name, dtype):
    x = np.linspace(0.1, 3, 30).astype(dtype)
    plain = np.array([getattr(math, name)(value) for value in x])
    assert plain.dtype == dtype
    # Compiled code contracts products and sums.
    np.testing.assert_allclose(plain, evaluate(name, x), rtol=50 * float(np.finfo(dtype).eps))
