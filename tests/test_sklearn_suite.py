"""scikit-learn's own tests of its perceptrons, run on ours.

The installed ``sklearn/neural_network/tests/test_mlp.py`` is executed with fastmlp's classes in
place of scikit-learn's; the tests in it become tests of this module.
"""

import importlib.util
from unittest import mock

import pytest
from sklearn import neural_network

import fastmlp

# What is not run, and why.
LEFT_OUT = {
    "test_fit": "sets _coef_grads and other private attributes before a first partial_fit",
    "test_gradient": "calls _loss_grad_lbfgs",
    "test_learning_rate_warmstart": "reads _optimizer.learning_rate",
    "test_adaptive_learning_rate": "reads _optimizer.learning_rate",
    "test_n_iter_no_change": "reads _no_improvement_count",
    "test_n_iter_no_change_inf": "reads _no_improvement_count",
    # Not private, but wrong: see tests/estimators/test_better_than_sklearn.py.
    "test_mlp_diverging_loss": "wants a model of NaNs from a diverged fit, without any error",
}

# scikit-learn does not treat warnings as errors, and several of its fits stop before they converge.
pytestmark = pytest.mark.filterwarnings("default")


def load_tests_of_scikit_learn():
    """Execute scikit-learn's test module with our classes in its namespace."""
    name = "sklearn.neural_network.tests.test_mlp"
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    ours = {name: getattr(fastmlp, name) for name in ("MLPClassifier", "MLPRegressor")}
    with mock.patch.multiple(neural_network, **ours):
        spec.loader.exec_module(module)
    return module


THEIRS = load_tests_of_scikit_learn()
globals().update(
    {
        name: value
        for name, value in vars(THEIRS).items()
        if name.startswith("test_") and name not in LEFT_OUT
    }
)


@pytest.fixture
def global_random_seed():
    """The seed that scikit-learn's own configuration uses by default."""
    return 42


def test_module_was_loaded_with_our_classes():
    assert THEIRS.MLPClassifier is fastmlp.MLPClassifier
    assert THEIRS.MLPRegressor is fastmlp.MLPRegressor
    assert neural_network.MLPClassifier is not fastmlp.MLPClassifier
    # Nothing is left out that is not there.
    assert set(LEFT_OUT) <= set(vars(THEIRS))
