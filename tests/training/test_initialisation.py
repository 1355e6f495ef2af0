"""The rules by which weights are drawn, and weights that are given."""

import numpy as np
import pytest
from scipy import stats

from fastmlp.training.initialisation import INITIALISATIONS
from fastmlp.training.network import NetworkLayout
from tests import reference

UNITS = (4, 7, 3)


def layout_of(activation="relu"):
    return NetworkLayout(UNITS, (activation, "identity"), (None, None), "squared_error")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", INITIALISATIONS)
def test_rule_draws_the_weights_of_the_twin(rule, dtype):
    layout = layout_of("prelu")
    params = layout.initial_params(np.random.RandomState(0), dtype, rule)
    coefs, intercepts = layout.unpack(params)
    rng = np.random.RandomState(0)
    for weights, biases in zip(coefs, intercepts, strict=True):
        expected = reference.draw_weights(rule, *weights.shape, rng)
        np.testing.assert_allclose(weights, expected, rtol=1e-6 if dtype == np.float32 else 1e-15)
        np.testing.assert_array_equal(biases, 0)
    assert params.dtype == dtype
    assert layout.unpack_slopes(params) == [0.25]


@pytest.mark.parametrize("fans", [(300, 100), (100, 300)])
@pytest.mark.parametrize("rule", [name for name in INITIALISATIONS if name != "orthogonal"])
def test_distribution(rule, fans):
    author, shape = rule.split("_")
    fan = {"glorot": sum(fans) / 2, "he": fans[0] / 2, "lecun": fans[0]}[author]
    scale = 1 / np.sqrt(fan)
    if shape == "uniform":
        distribution = stats.uniform(-np.sqrt(3) * scale, 2 * np.sqrt(3) * scale)
    else:
        distribution = stats.norm(0, scale)
    weights = INITIALISATIONS[rule].draw(np.random.RandomState(0), *fans)
    assert weights.shape == fans
    assert stats.kstest(weights.ravel(), distribution.cdf).pvalue > 0.01


@pytest.mark.parametrize("fans", [(5, 5), (9, 4), (4, 9), (1, 3), (3, 1), (1, 1)])
def test_orthogonal(fans):
    random_state = np.random.RandomState(0)
    draws = [INITIALISATIONS["orthogonal"].draw(random_state, *fans) for _ in range(50)]
    for weights in draws:
        gram = weights.T @ weights if fans[0] >= fans[1] else weights @ weights.T
        np.testing.assert_allclose(gram, np.eye(min(fans)), atol=1e-14)
    # Without a preference: every element is as often negative as positive.
    assert np.abs(np.mean(np.sign(draws), axis=0)).max() < 0.5


def test_given_weights_are_copied():
    layout, random_state = layout_of("prelu"), np.random.RandomState(0)
    coefs = [np.arange(28.0).reshape(4, 7), np.arange(21.0).reshape(3, 7).T]
    intercepts = [np.arange(7.0), np.arange(3.0)]
    params = layout.initial_params(random_state, np.float64, (coefs, intercepts))
    for views, arrays in zip(layout.unpack(params), (coefs, intercepts), strict=True):
        for view, array in zip(views, arrays, strict=True):
            np.testing.assert_array_equal(view, array)
            assert not np.shares_memory(view, array)
    assert layout.unpack_slopes(params) == [0.25]
    # Nothing was drawn.
    assert random_state.randint(2**31) == np.random.RandomState(0).randint(2**31)
