"""Every row of the table of losses against the twin, finite differences and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import (
    log_loss,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
)

from fastmlp.kernels.losses import LOSSES
from tests import reference
from tests.kernels import compiled
from tests.kernels.compiled import FLOATS
from tests.kernels.networks import TWIN_LOSSES

SHAPES = [(1, 1), (1, 2), (9, 3), (40, 1), (17, 10)]


# Besides the defaults; the quantile and Huber's delta may differ from output to output.
PARAMETERS = {
    "softmax_cross_entropy": [0.0, 0.3],
    "logistic_cross_entropy": [0.0, 0.3],
    "softmax_focal": [0.0, 0.5, 2.0],
    "logistic_focal": [0.0, 0.5, 2.0],
    "huber": [1.0, np.linspace(0.3, 3, 10)],
    "quantile": [0.5, np.linspace(0.05, 0.9, 10)],
}
CASES = [(name, parameter) for name in LOSSES for parameter in PARAMETERS.get(name, [None])]


def kernel(name, values, y, weights=None, parameter=None):
    """Weighted loss terms of each row, and delta; `y` has the shape of `values`."""
    n_rows, n_units = values.shape
    is_per_row = LOSSES[name].has_term_per_row
    targets = (y.argmax(axis=1) if is_per_row else y.reshape(-1)).astype(values.dtype)
    weights = np.ones(n_rows, values.dtype) if weights is None else weights
    delta = np.full(values.size, np.nan, values.dtype)
    terms = np.full(n_rows if is_per_row else values.size, np.nan, values.dtype)
    parameter = LOSSES[name].default if parameter is None else parameter
    parameters = np.resize(parameter, n_units).astype(values.dtype)
    arguments = values.reshape(-1).copy(), targets, weights, parameters
    originals = [array.copy() for array in arguments]
    compiled.loss_and_delta(name, n_units, *arguments, delta, terms)
    for array, original in zip(arguments, originals, strict=True):
        np.testing.assert_array_equal(array, original)
    return terms.reshape(n_rows, -1), delta.reshape(values.shape)


def problem(name, shape, dtype, seed=0):
    """Logits (or outputs), and targets of the loss's kind."""
    rng = np.random.default_rng(seed)
    values = rng.normal(scale=2, size=shape)
    if LOSSES[name].has_term_per_row:
        y = np.eye(shape[1])[rng.integers(shape[1], size=shape[0])]
    elif LOSSES[name].output_activation == "logistic":
        y = rng.integers(2, size=shape).astype(float)
    elif name == "poisson":
        y = rng.poisson(1.5, size=shape).astype(float)
    elif name == "gamma":
        y = rng.gamma(2, size=shape)
    else:
        y = rng.normal(size=shape)
    return values.astype(dtype), y.astype(dtype)


def weights_of(kind, n_rows, dtype):
    if kind == "none":
        return None
    weights = np.random.default_rng(7).uniform(0.2, 3, size=n_rows)
    if kind == "some zero":
        weights[1::2] = 0
    return weights.astype(dtype)


def test_twin_and_table_have_the_same_rows():
    assert set(LOSSES) == set(TWIN_LOSSES)
    for name, (_, activation) in TWIN_LOSSES.items():
        assert LOSSES[name].output_activation in {activation, None}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("weighted", ["none", "all", "some zero"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_against_twin(name, parameter, shape, weighted, dtype):
    eps = float(np.finfo(dtype).eps)
    values, y = problem(name, shape, dtype)
    weights = weights_of(weighted, shape[0], dtype)
    if parameter is not None:
        parameter = np.resize(parameter, shape[1]).astype(dtype).astype(np.float64)
        parameter = parameter if name in {"huber", "quantile"} else parameter[0]
    terms, delta = kernel(name, values, y, weights, parameter)
    assert terms.dtype == delta.dtype == dtype

    exact_weights = None if weights is None else weights.astype(np.float64)
    wide_values, wide_y = values.astype(np.float64), y.astype(np.float64)
    expected, expected_delta = reference.loss_and_delta(
        *TWIN_LOSSES[name], wide_values, wide_y, exact_weights, parameter=parameter
    )
    total = terms.sum(dtype=np.float64) / (shape[0] if weights is None else exact_weights.sum())
    if LOSSES[name].averages_outputs:
        total /= shape[1]
    # A softmax over one class has no loss, but for scikit-learn's clipping at the type's epsilon.
    assert total == pytest.approx(expected, rel=60 * eps, abs=2 * eps)
    np.testing.assert_allclose(delta, expected_delta, rtol=60 * eps, atol=60 * eps)


@pytest.mark.parametrize("weighted", ["none", "all"])
@pytest.mark.parametrize("shape", [(1, 2), (6, 3), (12, 1)])
@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_gradient_by_finite_differences(name, parameter, shape, weighted):
    if LOSSES[name].has_term_per_row and shape[1] == 1:
        shape = (12, 2)
    values, y = problem(name, shape, np.float64)
    weights = weights_of(weighted, shape[0], np.float64)

    def total():
        return kernel(name, values, y, weights, parameter)[0].sum()

    _, delta = kernel(name, values, y, weights, parameter)
    expected = reference.finite_difference_gradient(total, values)
    np.testing.assert_allclose(delta, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_are_finite(name, dtype):
    values = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [-1e4, -1e4]], dtype)
    for y in ([[0, 1]] * 4, [[1, 0]] * 4):
        y = np.array(y) + (name == "gamma")
        terms, delta = kernel(name, values, np.array(y, dtype))
        assert np.isfinite(terms).all()
        assert np.isfinite(delta).all()
        assert (terms >= 0).all()
        if name.endswith("cross_entropy"):
            expected = reference.loss_and_delta(
                *TWIN_LOSSES[name], values.astype(np.float64), np.array(y, np.float64)
            )[1]
            np.testing.assert_allclose(delta, expected, atol=1e-30)


@pytest.mark.parametrize("dtype", FLOATS)
def test_probabilities_are_clipped_as_in_scikit_learn(dtype):
    eps = float(np.finfo(dtype).eps)
    # Certain and right, certain and wrong, and in between.
    for logit in (0.5, 3.0, 1e4):
        for name in ("softmax_cross_entropy", "logistic_cross_entropy"):
            for truth in (0, 1):
                if name == "softmax_cross_entropy":
                    values, y = np.array([[0, logit]], dtype), np.eye(2)[[truth]]
                    probability = reference.softmax(values)
                else:
                    values, y = np.array([[logit]], dtype), np.array([[truth]])
                    p = reference.expit(values)
                    probability = np.hstack([1 - p, p])
                terms, _ = kernel(name, values, y.astype(dtype))
                expected = log_loss([truth], probability.astype(dtype), labels=[0, 1])
                # Short of 1, probabilities lose digits that logits still have.
                assert terms[0, 0] == pytest.approx(expected, rel=1e-5, abs=2 * eps)
                assert eps * 0.99 <= terms[0, 0] <= -np.log(eps) * 1.01


@pytest.mark.parametrize("name", ["softmax", "logistic"])
def test_focal_loss_without_focus_is_cross_entropy(name):
    values, y = problem(f"{name}_focal", (20, 4), np.float64)
    focal = kernel(f"{name}_focal", values, y, parameter=0.0)
    for got, expected in zip(focal, kernel(f"{name}_cross_entropy", values, y), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_gamma_is_half_the_deviance():
    values, y = problem("gamma", (20, 1), np.float64)
    terms, _ = kernel("gamma", values, y)
    expected = mean_gamma_deviance(y.ravel(), np.exp(values.ravel())) / 2
    assert terms.mean() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8])
def test_quantile_is_the_pinball_loss(level):
    values, y = problem("quantile", (30, 1), np.float64)
    terms, _ = kernel("quantile", values, y, parameter=level)
    expected = mean_pinball_loss(y.ravel(), values.ravel(), alpha=level)
    assert terms.mean() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["absolute_error", "quantile"])
def test_no_error_has_no_gradient(name):
    values = np.ones((3, 2))
    for array in kernel(name, values, values):
        np.testing.assert_array_equal(array, 0)


@pytest.mark.parametrize("shape", [(5, 1), (20, 1)])
def test_poisson_is_half_the_deviance(shape):
    values, y = problem("poisson", shape, np.float64)
    y[0] = 0
    terms, _ = kernel("poisson", values, y)
    expected = mean_poisson_deviance(y.ravel(), np.exp(values.ravel())) / 2
    assert terms.mean() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_nan_stays_nan_in_its_row(name, position, dtype):
    values, y = problem(name, (4, 3), dtype)
    values[2, position] = np.nan
    terms, delta = kernel(name, values, y)
    assert np.isnan(terms[2]).any()
    assert np.isnan(delta[2, position])
    others = [0, 1, 3]
    assert np.isfinite(terms[others]).all()
    assert np.isfinite(delta[others]).all()


@pytest.mark.parametrize("name", LOSSES)
def test_zero_weight_removes_a_row(name):
    values, y = problem(name, (4, 3), np.float64)
    weights = np.array([1.0, 0.0, 2.0, 1.0])
    terms, delta = kernel(name, values, y, weights)
    np.testing.assert_array_equal(terms[1], 0)
    np.testing.assert_array_equal(delta[1], 0)
    plain_terms, plain_delta = kernel(name, values, y)
    np.testing.assert_allclose(terms[2], 2 * plain_terms[2])
    np.testing.assert_allclose(delta[2], 2 * plain_delta[2])
