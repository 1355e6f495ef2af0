"""The mean loss of held-out samples is scikit-learn's."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error

from fastmlp.kernels.losses import LOSSES
from fastmlp.training.validation import LOSSES_OF_OUTPUTS, mean_loss
from tests.kernels import compiled

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

    @pytest.mark.parametrize("name", ["absolute_error", "huber", "quantile", "gamma"])
    def test_regression_losses_are_those_of_the_kernels(self, weights, name):
        outputs, targets = RNG.uniform(0.1, 3, size=(2, N_SAMPLES, 2))
        values = np.log(outputs) if LOSSES[name].takes_logits else outputs
        parameters = (0.3, 0.8) if name in ("huber", "quantile") else ()
        own = np.array(parameters or (0.0, 0.0))
        delta, terms = np.empty(outputs.size), np.empty(outputs.size)
        sample_weight = np.ones(N_SAMPLES) if weights is None else weights
        compiled.loss_and_delta(
            name, 2, values.ravel(), targets.ravel(), sample_weight, own, delta, terms
        )
        expected = terms.sum() / sample_weight.sum()
        assert mean_loss(name, outputs, targets, weights, parameters) == pytest.approx(expected)

    def test_focal_losses_are_those_of_the_kernels(self, weights):
        logits = RNG.normal(size=(N_SAMPLES, 3))
        codes = RNG.randint(3, size=N_SAMPLES).astype(float)
        labels = RNG.randint(2, size=logits.shape).astype(float)
        sample_weight = np.ones(N_SAMPLES) if weights is None else weights
        for name, outputs, targets in (
            ("softmax_focal", softmax(logits, axis=1), codes[:, np.newaxis]),
            ("logistic_focal", expit(logits), labels),
        ):
            delta, terms = np.empty(logits.size), np.zeros(logits.size)
            compiled.loss_and_delta(
                name, 3, logits.ravel(), targets.ravel(), sample_weight, np.full(3, 1.5), delta,
                terms[: N_SAMPLES if LOSSES[name].has_term_per_row else None],
            )  # fmt: skip
            expected = terms.sum() / sample_weight.sum()
            assert mean_loss(name, outputs, targets, weights, (1.5,)) == pytest.approx(expected)

    def test_poisson(self, weights):
        outputs = RNG.uniform(0.1, 3, size=(N_SAMPLES, 1))
        targets = RNG.poisson(outputs).astype(float)
        expected = mean_poisson_deviance(targets, outputs, sample_weight=weights) / 2
        assert mean_loss("poisson", outputs, targets, weights) == pytest.approx(expected)


def test_what_is_not_finite_is_said_not_warned_of():
    targets = np.ones((2, 1))
    assert np.isnan(mean_loss("squared_error", np.array([[np.nan], [0.0]]), targets, None))
    assert mean_loss("poisson", np.array([[0.0], [1.0]]), targets, None) == np.inf
