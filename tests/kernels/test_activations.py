"""Every row of the table of activations against the twin, finite differences, and odd numbers."""

import numpy as np
import pytest

from fastmlp.kernels.activations import ACTIVATIONS
from tests import reference
from tests.kernels import compiled
from tests.kernels.compiled import FLOATS

ELEMENTWISE = sorted(set(ACTIVATIONS) - {"softmax"})
WITH_SLOPE = [name for name in ELEMENTWISE if ACTIVATIONS[name].slope is not None]
# Their curves have a corner, or a step, at zero.
WITH_CORNER = {"binary_step", "relu", "leaky_relu", "prelu", "elu", "selu"}


def value(name, z, slope=None):
    """f(z), by the kernel."""
    row = ACTIVATIONS[name]
    a = z.copy()
    # What has no slope must not look at it.
    slope = (np.nan if row.slope is None else row.slope) if slope is None else slope
    compiled.activate(name, slope, a)
    return a


def pulled_back(name, z, upstream, slope=None):
    """f'(z) times `upstream`, by the kernel."""
    row = ACTIVATIONS[name]
    slope = (np.nan if row.slope is None else row.slope) if slope is None else slope
    a, delta = value(name, z, slope), upstream.copy()
    kept = z.copy() if row.keeps_input else np.full_like(z, np.nan)
    originals = kept.copy(), a.copy()
    compiled.multiply_by_derivative(name, slope, kept, a, delta)
    np.testing.assert_array_equal(kept, originals[0])
    np.testing.assert_array_equal(a, originals[1])
    return delta


def numbers(dtype, seed=0):
    """Pre-activations of usual size, and zero."""
    z = np.random.default_rng(seed).normal(scale=3, size=999)
    return np.append(z.clip(-9, 9), 0).astype(dtype)


def test_twin_and_table_have_the_same_rows():
    assert set(ACTIVATIONS) == {*reference.ACTIVATIONS, "softmax"}
    for name in ELEMENTWISE:
        assert ACTIVATIONS[name].slope == reference.default_slope(name)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_value(name, dtype):
    z, eps = numbers(dtype), float(np.finfo(dtype).eps)
    got = value(name, z)
    assert got.dtype == dtype
    expected = reference.activate(name, z.astype(np.float64))
    np.testing.assert_allclose(got, expected, rtol=60 * eps, atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivative(name, dtype):
    z, eps = numbers(dtype), float(np.finfo(dtype).eps)
    upstream = np.random.default_rng(1).normal(size=z.size).astype(dtype)
    got = pulled_back(name, z, upstream)
    assert got.dtype == dtype
    expected = upstream * reference.derivative(name, z.astype(np.float64))
    np.testing.assert_allclose(got, expected, rtol=60 * eps, atol=8 * eps)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivative_by_finite_differences(name):
    z = numbers(np.float64)
    if name in WITH_CORNER:
        z = z[np.abs(z) > 0.01]
    got = pulled_back(name, z, np.ones_like(z))
    expected = reference.finite_difference(lambda moved: value(name, moved), z)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("length", [0, 1, 7, 16, 33])
def test_any_length(name, length):
    z = numbers(np.float64)[:length]
    np.testing.assert_array_equal(value(name, z), value(name, numbers(np.float64))[:length])
    got = pulled_back(name, z, np.ones_like(z))
    assert got.shape == z.shape


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", WITH_SLOPE)
@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0, 2.5, -0.5])
def test_slope(name, slope, dtype):
    z, eps = numbers(dtype), float(np.finfo(dtype).eps)
    slope = float(dtype(slope))
    wide = z.astype(np.float64)
    np.testing.assert_allclose(
        value(name, z, slope), reference.activate(name, wide, slope), rtol=8 * eps
    )
    np.testing.assert_allclose(
        pulled_back(name, z, np.ones_like(z), slope),
        reference.derivative(name, wide, slope),
        rtol=8 * eps,
        atol=4 * eps,
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_stays_nan(name, dtype):
    z = numbers(dtype)[:40]
    z[3::5] = np.nan
    is_nan = np.isnan(z)
    got = value(name, z)
    if name == "binary_step":
        # 1 if z >= 0 else 0 is a number for every z, so the derivative has to tell.
        np.testing.assert_array_equal(np.isnan(pulled_back(name, z, np.ones_like(z))), is_nan)
    else:
        np.testing.assert_array_equal(np.isnan(got), is_nan)
        # A gradient that is not a number stays so, whatever the derivative.
        delta = np.where(is_nan, z, dtype(1))
        pulled = pulled_back(name, np.nan_to_num(z, nan=0.5), delta)
        np.testing.assert_array_equal(np.isnan(pulled), is_nan)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_extreme_numbers_stay_finite(name, dtype):
    size = np.array([50, 88.5, 700, 1e4, 1e18])
    z = np.concatenate([-size, size]).astype(dtype)
    got = value(name, z)
    assert np.isfinite(got).all()
    with np.errstate(over="ignore"):
        expected = reference.activate(name, z.astype(np.float64))
    limit = np.finfo(dtype).max
    if name == "exp":
        # It saturates, and short of the largest number.
        is_large = expected > limit / 8
        assert (got[is_large] > limit / 8).all()
        got, expected = got[~is_large], expected[~is_large]
    np.testing.assert_allclose(
        got, expected, rtol=200 * float(np.finfo(dtype).eps), atol=1e19 * np.finfo(dtype).tiny
    )

    derivative = pulled_back(name, z, np.ones_like(z))
    assert np.isfinite(derivative).all()
    if name != "exp":
        np.testing.assert_allclose(
            derivative, reference.derivative(name, z.astype(np.float64)), atol=1e-6
        )


@pytest.mark.parametrize("dtype", FLOATS)
def test_slope_gradient(dtype):
    z = numbers(dtype)
    delta = np.random.default_rng(1).normal(size=z.size).astype(dtype)
    exact = delta.astype(np.float64) * np.minimum(z.astype(np.float64), 0)
    got = compiled.slope_gradient(z, delta)
    assert got == pytest.approx(
        exact.sum(), abs=8 * float(np.finfo(dtype).eps) * np.abs(exact).sum()
    )
    z[5] = np.nan
    assert np.isnan(compiled.slope_gradient(z, delta))


def test_slope_gradient_by_finite_differences():
    z, upstream = numbers(np.float64), np.random.default_rng(1).normal(size=1000)
    expected = reference.finite_difference(
        lambda slope: float(upstream @ value("prelu", z, slope)), 0.3
    )
    assert compiled.slope_gradient(z, upstream) == pytest.approx(expected, rel=1e-9)


def softmax(z):
    a = z.copy().reshape(-1)
    compiled.activate("softmax", 0, a, z.shape[1])
    return a.reshape(z.shape)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (7, 3), (5, 10), (3, 33)])
def test_softmax(shape, dtype):
    eps = float(np.finfo(dtype).eps)
    rng = np.random.default_rng(0)
    z = rng.normal(scale=3, size=shape).astype(dtype)
    upstream = rng.normal(size=shape).astype(dtype)
    a = softmax(z)
    assert a.dtype == dtype
    np.testing.assert_allclose(a, reference.softmax(z.astype(np.float64)), rtol=40 * eps)
    np.testing.assert_allclose(a.sum(axis=1), 1, rtol=4 * eps)

    delta = upstream.copy().reshape(-1)
    a = a.reshape(-1)
    compiled.multiply_by_derivative("softmax", 0, a, a, delta, shape[1])
    wide = [array.astype(np.float64) for array in (z, upstream)]
    expected = reference.activation_backward("softmax", *wide)
    np.testing.assert_allclose(delta.reshape(shape), expected, rtol=40 * eps, atol=20 * eps)


def test_softmax_derivative_by_finite_differences():
    rng = np.random.default_rng(0)
    z, upstream = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    delta = upstream.copy().reshape(-1)
    a = softmax(z).reshape(-1)
    compiled.multiply_by_derivative("softmax", 0, a, a, delta, 4)
    expected = reference.finite_difference_gradient(lambda: np.vdot(softmax(z), upstream), z)
    np.testing.assert_allclose(delta.reshape(3, 4), expected, atol=1e-10)


@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_of_extreme_numbers(dtype):
    largest = float(np.finfo(dtype).max) / 4
    z = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [largest, -largest, 0]], dtype)
    expected = [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]]
    np.testing.assert_allclose(
        softmax(z), expected, rtol=4 * float(np.finfo(dtype).eps), atol=1e-37
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_softmax_of_nan(position, dtype):
    z = np.zeros((3, 3), dtype)
    z[1, position] = np.nan
    a = softmax(z)
    assert np.isnan(a[1]).all()
    np.testing.assert_allclose(a[[0, 2]], 1 / 3, rtol=1e-6)
