"""Training in steps, and what the frames show of it."""

import contextlib
import io
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import accuracy_score, log_loss, r2_score

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.playground import session as session_module
from fastmlp.playground.problems import compute_features, make_grid
from fastmlp.playground.session import COARSE, FINE, Condition, Session
from fastmlp.playground.settings import PRESETS, SOLVERS, Settings, SettingsError
from tests import reference
from tests.playground.frames import Frame


def trained(settings, epochs, per_call=7):
    session = Session(settings)
    while session.epoch < epochs:
        session.train(min(per_call, epochs - session.epoch), 10)
    return session


def run_python(settings):
    """The model that the program on the page leaves, and what it prints."""
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(settings.to_python(), names)
    return names["model"], float(printed.getvalue())


PROGRAMS = {
    **{name: preset.settings for name, preset in PRESETS.items()},
    **{name: Settings(solver=name) for name in SOLVERS if name != "lbfgs"},
    "prelu": Settings(activation="prelu", batch_size=400, features=("x1x2", "sinx2")),
    "penalty": Settings(regularization="l2", regularization_rate=0.03, train_share=90),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_trajectory_as_the_program_on_the_page(name):
    settings = PROGRAMS[name]
    model, score = run_python(settings)
    session = trained(settings, 200)
    assert model.n_iter_ == 200
    params = [*(weights.ravel() for weights in model.coefs_), *model.intercepts_]
    np.testing.assert_array_equal(np.concatenate(params), session.params[: sum(map(len, params))])
    assert session.measure().score_test == pytest.approx(score)


def test_program_with_lbfgs_runs():
    model, score = run_python(Settings(solver="lbfgs"))
    assert model.solver == "lbfgs"
    assert score > 0.9


def test_steps_of_any_length_lead_to_the_same():
    one, many = trained(Settings(), 40, per_call=1), trained(Settings(), 40, per_call=40)
    np.testing.assert_array_equal(one.params, many.params)


@pytest.mark.parametrize("dataset", ["circle", "plane"])
@pytest.mark.parametrize("hidden", [(), (3,), (4, 2, 5)])
def test_frame_shows_the_network(dataset, hidden):
    settings = Settings(dataset=dataset, hidden=hidden, features=("x2", "x1x2"))
    session = trained(settings, 5)
    frame = Frame(session.frame())
    assert (frame.revision, frame.epoch, frame.condition) == (1, 5, 0)
    np.testing.assert_array_equal(frame.params, session.params.astype(np.float32))

    coefs, intercepts = session.layout.unpack(session.params)

    def outputs(points):
        layers = [compute_features(points, settings.features)]
        for weights, biases in zip(coefs[:-1], intercepts[:-1], strict=True):
            layers.append(np.tanh(layers[-1] @ weights + biases))
        z = (layers[-1] @ coefs[-1] + intercepts[-1])[:, 0]
        return layers[1:], z

    _, z = outputs(make_grid(FINE))
    shown = 2 * expit(z) - 1 if dataset == "circle" else np.clip(z, -1, 1)
    np.testing.assert_allclose(frame.output.ravel(), shown, atol=0.6 / 32767)

    units, _ = outputs(make_grid(COARSE))
    units = np.concatenate([np.empty((0, COARSE**2)), *(layer.T for layer in units)])
    assert frame.n_hidden == len(units) == sum(hidden)
    peaks = np.abs(units).max(axis=1) if hidden else np.empty(0)
    np.testing.assert_allclose(frame.peaks, peaks, rtol=1e-6)
    scaled = units / peaks[:, None]
    np.testing.assert_allclose(frame.hidden.reshape(units.shape), scaled, atol=0.6 / 127)

    problem = session.problem
    for part in ("train", "test"):
        y = getattr(problem, f"y_{part}")
        _, z = outputs(getattr(problem, f"points_{part}"))
        if dataset == "circle":
            expected = log_loss(y, expit(z)), accuracy_score(y, z > 0)
        else:
            expected = np.mean((z - y) ** 2) / 2, r2_score(y, z)
        shown = getattr(frame, f"loss_{part}"), getattr(frame, f"score_{part}")
        assert shown == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", [name for name, row in ACTIVATIONS.items() if row.is_hidden])
def test_maps_of_hidden_units_for_every_activation(name):
    session = trained(Settings(activation=name, hidden=(3,)), 3)
    (weights, _), (biases, _) = session.layout.unpack(session.params)
    z = compute_features(make_grid(COARSE), ["x1", "x2"]) @ weights + biases
    slope = session.layout.slope_values(session.params)[0]
    if name == "prelu":
        assert slope != ACTIVATIONS[name].slope  # it was learned
    expected = reference.activate(name, z, None if np.isnan(slope) else slope)
    frame = Frame(session.frame())
    shown = frame.hidden * frame.peaks[:, None, None]
    tolerance = 0.6 / 127 * np.abs(expected).max()
    np.testing.assert_allclose(shown.reshape(3, -1).T, expected, atol=tolerance)


def test_dead_units_are_shown_as_zero():
    session = Session(Settings(activation="relu", hidden=(1,)))
    session.params[:] = -1.0
    session.params[: session.layout.n_weights] = 0.0
    frame = Frame(session.frame())
    assert frame.peaks.tolist() == [0.0]
    assert not frame.hidden.any()


def test_rate_steps_and_batches_change_on_the_way():
    session = trained(Settings(), 5)
    reached = session.params.copy()
    assert not session.update(
        Settings(learning_rate=0.5, solver="sgd", batch_size=1, regularization="l2")
    )
    np.testing.assert_array_equal(session.params, reached)
    assert (session.epoch, session.revision) == (5, 1)
    session.train(1, 10)
    assert session.epoch == 6
    assert np.abs(session.params - reached).max() > 0.01


def test_a_change_of_the_rate_is_heeded():
    slow, fast = trained(Settings(), 2), trained(Settings(), 2)
    fast.update(Settings(learning_rate=1.0))
    before = slow.params.copy()
    slow.train(1, 10)
    fast.train(1, 10)
    assert np.abs(fast.params - before).max() > 10 * np.abs(slow.params - before).max()


def test_another_network_starts_anew():
    session = trained(Settings(), 5)
    assert session.update(Settings(hidden=(3,)))
    assert (session.epoch, session.revision) == (0, 2)
    assert session.describe()["units"] == [2, 3, 1]
    assert Frame(session.frame()).n_hidden == 3


def test_reset_goes_back_to_the_start():
    session = Session(Settings())
    start = session.params.copy()
    session.train(5, 10)
    session.reset()
    np.testing.assert_array_equal(session.params, start)
    assert (session.epoch, session.revision) == (0, 2)


def test_resume_goes_on_elsewhere():
    first = trained(Settings(), 30)
    second = Session(Settings())
    second.resume(first.params.astype(np.float32).tolist(), 30)
    assert second.epoch == 30
    assert second.measure().loss_test == pytest.approx(first.measure().loss_test, rel=1e-4)
    before = second.params.copy()
    second.train(1, 10)
    assert not np.array_equal(second.params, before)


@pytest.mark.parametrize(
    "params", [[], [1.0], None, "12", {"a": 1}, [[0.0] * 25], [np.nan] * 25, [10**400] * 25]
)
def test_resume_refuses_what_does_not_fit(params):
    session = Session(Settings())
    start = session.params.copy()
    with pytest.raises(SettingsError, match="params must be"):
        session.resume(params, 0)
    np.testing.assert_array_equal(session.params, start)


@pytest.mark.parametrize("epoch", [-1, 1.5, True, None, 10**9])
def test_resume_refuses_wrong_epochs(epoch):
    session = Session(Settings())
    with pytest.raises(SettingsError, match="epoch must be"):
        session.resume(session.params, epoch)


def test_time_ends_training():
    session = Session(Settings())
    n_epochs = session.train(1e9, 0.02)
    assert 1 <= n_epochs < 1e6
    assert session.epoch == n_epochs
    assert session.train(1e9, 0.0) == 1  # a slow machine gets on, too


def test_divergence_keeps_finite_weights_and_can_be_cured():
    settings = Settings(
        dataset="plane", activation="identity", hidden=(8, 8), solver="sgd", learning_rate=10.0
    )
    session = trained_until_stopped(settings)
    assert session.condition is Condition.DIVERGED
    assert np.isfinite(session.params).all()
    frame = Frame(session.frame())
    assert np.isfinite([frame.loss_train, frame.loss_test, frame.score_test]).all()
    session.update(replace(settings, learning_rate=1e-4))
    assert session.condition is Condition.READY


def test_lbfgs_converges():
    session = trained_until_stopped(Settings(dataset="plane", solver="lbfgs"))
    assert session.condition is Condition.CONVERGED
    assert session.measure().score_test > 0.99
    assert session.train(100, 1) == 0


def trained_until_stopped(settings):
    session = Session(settings)
    for _ in range(200):
        session.train(100, 10)
        if session.condition is not Condition.READY:
            break
    return session


def test_epochs_are_capped(monkeypatch):
    monkeypatch.setattr(session_module, "MAX_EPOCHS", 12)
    session = Session(Settings())
    assert session.train(1000, 10) == 12
    assert session.condition is Condition.EXHAUSTED
    session.update(Settings(learning_rate=0.5))
    assert session.train(1000, 10) == 0
    session.reset()
    assert session.train(5, 10) == 5


def test_the_spiral_is_solved():
    """What the documentation promises of this preset."""
    session = trained(PRESETS["spiral"].settings, 400, per_call=50)
    assert session.measure().loss_test < 0.05
    assert session.settings.speed * 10 > 2 * session.epoch
