"""The displays: what they draw, where they draw it, and what they say to wrong input."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, make_circles
from sklearn.exceptions import NotFittedError
from sklearn.inspection import DecisionBoundaryDisplay, PartialDependenceDisplay
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, PredictionErrorDisplay, RocCurveDisplay
from sklearn.model_selection import GridSearchCV, LearningCurveDisplay, ValidationCurveDisplay
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.plots import FirstLayerWeightsDisplay, HiddenUnitsDisplay, TrainingCurveDisplay
from fastmlp.plots._network import layer_values, most_influential, ours
from tests import reference

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = make_circles(60, noise=0.1, factor=0.4, random_state=0)
X_3 = np.vstack([X + 4, X - 4, X])
Y_3 = np.repeat(["a", "b", "c"], len(X))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def circles():
    return MLPClassifier((4, 3), activation="tanh", max_iter=5, random_state=0).fit(X, y)


def line_data(line):
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


# --------------------------------------------------------------------------------------
# Training curves
# --------------------------------------------------------------------------------------


def test_training_curve_of_a_plain_fit(circles):
    display = TrainingCurveDisplay.from_estimator(circles, linewidth=3)
    assert [ax.get_ylabel() for ax in display.axes_] == ["loss"]
    assert display.ax_ is display.axes_[0]
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_title() == "MLPClassifier"
    epochs, losses = line_data(display.lines_["loss_curve"])
    np.testing.assert_array_equal(epochs, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(losses, circles.loss_curve_)
    assert display.lines_["loss_curve"].get_linewidth() == 3


@pytest.mark.parametrize("module", [fastmlp, neural_network])
def test_training_curve_marks_the_epoch_that_is_kept(module):
    model = module.MLPClassifier((4,), early_stopping=True, max_iter=30, random_state=0).fit(X, y)
    display = TrainingCurveDisplay.from_estimator(model, name="circles")
    loss, score = display.axes_
    assert (loss.get_ylabel(), score.get_ylabel()) == ("loss", "score")
    assert loss.get_title() == "circles"
    np.testing.assert_array_equal(
        line_data(display.lines_["validation_scores"])[1], model.validation_scores_
    )
    best = 1 + int(np.argmax(model.validation_scores_))
    assert score.get_legend_handles_labels()[1][-1] == f"best, epoch {best}"


def test_training_curve_has_a_panel_for_each_quantity():
    display = TrainingCurveDisplay(
        loss_curve=[3, 2, 1],
        validation_loss_curve=[4, 3, 2],
        validation_scores=[np.nan, 0.5, 0.4],
        learning_rates=[0.1, 0.05, 0.01],
    ).plot()
    assert [ax.get_ylabel() for ax in display.axes_] == ["loss", "score", "learning rate"]
    assert display.axes_[-1].get_xlabel() == "epoch"
    assert display.axes_[1].get_legend_handles_labels()[1][-1] == "best, epoch 2"
    assert set(display.lines_) == {
        "loss_curve",
        "validation_loss_curve",
        "validation_scores",
        "learning_rates",
    }
    for ax in display.axes_[1:]:
        assert ax.get_xlim() == display.ax_.get_xlim()


def test_training_curve_of_a_fit_with_everything():
    model = MLPClassifier(
        (4,), learning_rate="cosine", early_stopping=True, max_iter=8, tol=0, random_state=0
    )
    model.fit(X, y, X_val=X[::2], y_val=y[::2])
    display = TrainingCurveDisplay.from_estimator(model)
    assert [ax.get_ylabel() for ax in display.axes_] == ["loss", "score", "learning rate"]
    for key, expected in [
        ("loss_curve", model.loss_curve_),
        ("validation_loss_curve", model.validation_loss_curve_),
        ("validation_scores", model.validation_scores_),
        ("learning_rates", model.learning_rate_curve_),
    ]:
        np.testing.assert_array_equal(line_data(display.lines_[key])[1], expected)


def test_training_curve_leaves_out_a_rate_that_is_not_known_or_never_changes(circles):
    assert "learning_rates" not in TrainingCurveDisplay.from_estimator(circles).lines_
    theirs = neural_network.MLPClassifier((3,), max_iter=3, random_state=0).fit(X, y)
    converted = MLPClassifier.from_sklearn(theirs)
    assert np.isnan(converted.learning_rate_curve_).tolist() == [True] * 3
    assert "learning_rates" not in TrainingCurveDisplay.from_estimator(converted).lines_


def test_training_curve_without_any_finite_score():
    display = TrainingCurveDisplay(loss_curve=[2, 1], validation_scores=[np.nan, np.nan]).plot()
    assert len(display.axes_[1].lines) == 1


def test_training_curve_draws_where_it_is_told_and_again(circles):
    figure, (left, right) = plt.subplots(1, 2)
    display = TrainingCurveDisplay.from_estimator(circles, ax=left)
    assert display.ax_ is left
    assert display.plot(ax=right) is display
    assert display.ax_ is right
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]


def test_training_curve_needs_epochs():
    model = MLPClassifier(solver="lbfgs", max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match=r"no loss_curve_: solver='lbfgs'"):
        TrainingCurveDisplay.from_estimator(model)


# --------------------------------------------------------------------------------------
# Hidden units
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_layer_values_are_those_of_the_network(name):
    is_hidden = ACTIVATIONS[name].is_hidden
    slope = 0.3 if ACTIVATIONS[name].slope is not None else None
    model = MLPRegressor(
        hidden_layer_sizes=(5, 4),
        activation=(name if is_hidden else "tanh", "relu"),
        activation_slope=slope,
        out_activation="identity" if is_hidden else name,
        max_iter=3,
        random_state=0,
    ).fit(X, np.column_stack([y, 1 - y]))
    values = layer_values(model, X)
    np.testing.assert_array_equal(values[0], X)
    learned = getattr(model, "activation_slopes_", [slope])[0]
    expected = X @ model.coefs_[0] + model.intercepts_[0]
    if is_hidden:
        expected = reference.activate(name, expected, learned)
        np.testing.assert_allclose(values[1], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(values[-1], model.predict(X), rtol=1e-12)


def test_layer_values_with_a_slope_per_layer():
    model = MLPRegressor(
        hidden_layer_sizes=(5, 4), activation="elu", activation_slope=(0.5, 2.0), max_iter=3
    ).fit(X, y)
    np.testing.assert_allclose(layer_values(model, X)[-1][:, 0], model.predict(X), rtol=1e-12)


def test_layer_values_of_sklearn():
    model = neural_network.MLPClassifier((5, 4), max_iter=3, random_state=0).fit(X_3, Y_3)
    np.testing.assert_allclose(
        layer_values(ours(model), X_3)[-1], model.predict_proba(X_3), rtol=1e-12
    )


def test_most_influential_units():
    weights = np.array([[0.0, 1], [3, 0], [0, 0], [-4, 0]])
    assert most_influential(weights, 2).tolist() == [1, 3]
    assert most_influential(weights, 9).tolist() == [0, 1, 2, 3]


def test_hidden_units(circles):
    display = HiddenUnitsDisplay.from_estimator(circles, X, y, grid_resolution=20, eps=1)
    assert [len(axes) for axes in display.unit_axes_] == [2, 4, 3, 1]
    assert [len(links.get_segments()) for links in display.links_] == [8, 12, 3]
    assert display.xx0.shape == (20, 20)
    assert display.xx0.min() == X[:, 0].min() - 1
    output = display.unit_axes_[-1][0]
    shown = output.images[0].get_array()
    grid = np.column_stack([display.xx0.ravel(), display.xx1.ravel()])
    np.testing.assert_allclose(shown.ravel(), circles.predict_proba(grid)[:, 1], rtol=1e-9)
    samples = output.collections[0]
    np.testing.assert_array_equal(samples.get_offsets(), X)
    np.testing.assert_array_equal(samples.get_array(), y)
    assert (samples.get_clim(), output.get_xlabel()) == ((0, 1), "$x_1$")
    assert output.images[0].get_extent()[0] == display.xx0.min()
    texts = [text.get_text() for text in display.ax_.texts]
    assert texts == ["features", "hidden 1\ntanh", "hidden 2\ntanh", "output\nlogistic"]


def test_links_show_the_weights(circles):
    links = HiddenUnitsDisplay.from_estimator(circles, X).links_[-1]
    weights = circles.coefs_[-1].ravel()
    assert np.argsort(links.get_linewidths()).tolist() == np.argsort(np.abs(weights)).tolist()
    red, _, blue, _ = links.get_colors().T
    np.testing.assert_array_equal(blue > red, weights > 0)


def test_hidden_units_without_targets_show_no_samples(circles):
    display = HiddenUnitsDisplay.from_estimator(circles, X)
    assert not display.unit_axes_[-1][0].collections


def test_hidden_units_of_several_classes():
    model = MLPClassifier((3,), max_iter=5, random_state=0).fit(X_3, Y_3)
    display = HiddenUnitsDisplay.from_estimator(model, X_3, Y_3)
    assert len(display.unit_axes_[-1]) == 3
    for panel, label in zip(display.unit_axes_[-1], "abc", strict=True):
        np.testing.assert_array_equal(panel.collections[0].get_array(), label == Y_3)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_hidden_units_of_a_regression(n_outputs):
    targets = X if n_outputs == 2 else X[:, 0]
    model = MLPRegressor(hidden_layer_sizes=(3,), max_iter=5, random_state=0).fit(X, targets)
    panels = HiddenUnitsDisplay.from_estimator(model, X, targets).unit_axes_[-1]
    for panel, column in zip(panels, X.T[:n_outputs], strict=True):
        np.testing.assert_array_equal(panel.collections[0].get_array(), column)


def test_hidden_units_of_a_pipeline_show_the_features_it_makes():
    model = make_pipeline(PolynomialFeatures(include_bias=False), MLPClassifier((12,), max_iter=5))
    display = HiddenUnitsDisplay.from_estimator(model.fit(X, y), X, y, max_units=6)
    assert [len(axes) for axes in display.unit_axes_] == [5, 6, 1]
    np.testing.assert_allclose(display.values[0][..., 2], display.xx0**2)
    assert "and 6 more" in [text.get_text() for text in display.ax_.texts]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_hidden_units_of_a_data_frame(library):
    frame = pytest.importorskip(library).DataFrame({"width": X[:, 0], "height": X[:, 1]})
    model = make_pipeline(
        make_column_transformer((StandardScaler(), ["height", "width"])),
        MLPClassifier((3,), max_iter=5),
    ).fit(frame, y)
    display = HiddenUnitsDisplay.from_estimator(model, frame, y)
    assert display.unit_axes_[-1][0].get_xlabel() == "width"
    # The transformer puts the height first.
    assert (np.diff(display.values[0][:, 0, 0]) > 0).all()


def test_hidden_units_draw_where_they_are_told(circles):
    figure, ax = plt.subplots()
    display = HiddenUnitsDisplay.from_estimator(circles, X, y, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid_resolution": 1}, "grid_resolution must be greater than 1"),
        ({"eps": -1}, "eps must be greater than or equal to 0"),
        ({"max_units": 0}, "max_units must be at least 1"),
        ({"X": X[:, :1]}, "n_features must be equal to 2"),
        ({"y": y[1:]}, "inconsistent numbers of samples"),
    ],
)
def test_hidden_units_check_their_arguments(circles, arguments, message):
    with pytest.raises(ValueError, match=message):
        HiddenUnitsDisplay.from_estimator(circles, **{"X": X, "y": y, **arguments})


# --------------------------------------------------------------------------------------
# Weights of the first layer
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    return MLPClassifier((20,), max_iter=2, random_state=0).fit(pixels[:200], labels[:200])


def test_first_layer_weights(digits):
    display = FirstLayerWeightsDisplay.from_estimator(digits, max_units=5, cmap="PuOr")
    assert display.units.tolist() == most_influential(digits.coefs_[1], 5).tolist()
    for unit, image in zip(display.units, display.images_, strict=True):
        np.testing.assert_array_equal(
            image.get_array(), digits.coefs_[0][:, unit].reshape(8, 8), strict=False
        )
        lowest, highest = image.get_clim()
        assert -lowest == highest == np.abs(display.images).max()
        assert image.get_cmap().name == "PuOr"
    assert len(display.axes_) == 5
    assert display.figure_ is display.ax_.figure


def test_first_layer_weights_of_a_linear_model_and_of_another_shape():
    model = MLPClassifier((), max_iter=2).fit(np.hstack([X, X, X]), y)
    display = FirstLayerWeightsDisplay.from_estimator(model, image_shape=(2, 3))
    np.testing.assert_array_equal(display.images[0].ravel(), model.coefs_[0][:, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_units": 0}, "max_units must be at least 1"),
        ({"image_shape": (7, 9)}, r"as many pixels as there are features, 64. Got \(7, 9\)"),
    ],
)
def test_first_layer_weights_check_their_arguments(digits, arguments, message):
    with pytest.raises(ValueError, match=message):
        FirstLayerWeightsDisplay.from_estimator(digits, **arguments)


def test_first_layer_weights_need_a_shape_where_there_is_no_square(circles):
    with pytest.raises(ValueError, match=r"image_shape .* Got \(1, 1\)"):
        FirstLayerWeightsDisplay.from_estimator(circles)


# --------------------------------------------------------------------------------------
# All of them
# --------------------------------------------------------------------------------------

DRAW = {
    "TrainingCurveDisplay": TrainingCurveDisplay.from_estimator,
    "HiddenUnitsDisplay": lambda model: HiddenUnitsDisplay.from_estimator(model, X, y),
    "FirstLayerWeightsDisplay": lambda model: FirstLayerWeightsDisplay.from_estimator(
        model, image_shape=(1, 2)
    ),
}


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_pipelines_and_searches(draw):
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((3,), max_iter=3))
    draw(pipeline.fit(X, y)).figure_.canvas.draw()
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [0.1]}, cv=2).fit(X, y)
    draw(search).figure_.canvas.draw()


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_other_estimators_are_refused(draw):
    with pytest.raises(NotFittedError):
        draw(MLPClassifier())
    with pytest.raises(TypeError, match=r"multilayer perceptron.*LogisticRegression"):
        draw(LogisticRegression().fit(X, y))


@pytest.mark.parametrize("name", DRAW)
def test_without_matplotlib_the_error_says_what_to_install(name, circles, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=rf"{name}.plot requires matplotlib.*fastmlp\[plots\]"):
        DRAW[name](circles)


def test_importing_the_displays_does_not_import_matplotlib():
    script = "import sys, fastmlp.plots; print('matplotlib' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert result.stdout.strip() == "False"


def test_displays_of_sklearn_work_with_our_estimators(circles):
    DecisionBoundaryDisplay.from_estimator(circles, X)
    PartialDependenceDisplay.from_estimator(circles, X, [0, (0, 1)], grid_resolution=5)
    RocCurveDisplay.from_estimator(circles, X, y)
    ConfusionMatrixDisplay.from_estimator(circles, X, y)
    estimator = MLPClassifier((3,), max_iter=2)
    LearningCurveDisplay.from_estimator(estimator, X, y, cv=2)
    ValidationCurveDisplay.from_estimator(
        estimator, X, y, param_name="alpha", param_range=[0.1, 1], cv=2
    )
    regressor = MLPRegressor(hidden_layer_sizes=(3,), max_iter=2).fit(X, X[:, 0])
    PredictionErrorDisplay.from_estimator(regressor, X, X[:, 0])
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    assert len(plt.get_fignums()) == 7
