"""The mean loss of held-out samples is scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error

from fastmlp.kernels.losses import LOSSES
from fastmlp.training.validation import LOSSES_OF_OUTPUTS, mean_loss

RNG = np.random.RandomState(0)
N_SAMPLES, N_OUTPUTS = 30, 4
WEIGHTS = RNG.uniform(0, 2, N_SAMPLES)


def test_every_loss_has_its_formula():
    assert set(LOSSES_OF_OUTPUTS) == set(LOSSES)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
class TestMeanLoss:
    def test_softmax_cross_entropy(self, weights):
        outputs = RNG.dirichlet(np.ones(N_OUTPUTS), N_SAMPLES)
        outputs[0] = [1, 0, 0, 0]
        codes = RNG.randint(N_OUTPUTS, size=N_SAMPLES)
        codes[0] = 1
        expected = log_loss(codes, outputs, sample_weight=weights, labels=range(N_OUTPUTS))
        actual = mean_loss(
            "softmax_cross_entropy", outputs, codes[:, np.newaxis].astype(float), weights
        )
        assert actual == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("n_outputs", [1, 3])
    def test_logistic_cross_entropy_sums_over_outputs(self, weights, n_outputs):
        outputs = RNG.uniform(size=(N_SAMPLES, n_outputs))
        outputs[:2, 0] = 0, 1
        targets = RNG.randint(2, size=outputs.shape).astype(float)
        targets[:2, 0] = 1, 0
        expected = sum(
            log_loss(targets[:, k], outputs[:, k], sample_weight=weights) for k in range(n_outputs)
        )
        actual = mean_loss("logistic_cross_entropy", outputs, targets, weights)
        assert actual == pytest.approx(expected, rel=1e-12)

    def test_squared_error_averages_outputs(self, weights):
        outputs, targets = RNG.normal(size=(2, N_SAMPLES, N_OUTPUTS))
        expected = mean_squared_error(targets, outputs, sample_weight=weights) / 2
        assert mean_loss("squared_error", outputs, targets, weights) == pytest.approx(expected)

    def test_poisson(self, weights):
        outputs = RNG.uniform(0.1, 3, size=(N_SAMPLES, 1))
        targets = RNG.poisson(outputs).astype(float)
        expected = mean_poisson_deviance(targets, outputs, sample_weight=weights) / 2
        assert mean_loss("poisson", outputs, targets, weights) == pytest.approx(expected)


def test_what_is_not_finite_is_said_not_warned_of():
    targets = np.ones((2, 1))
    assert np.isnan(mean_loss("squared_error", np.array([[np.nan], [0.0]]), targets, None))
    assert mean_loss("poisson", np.array([[0.0], [1.0]]), targets, None) == np.inf
