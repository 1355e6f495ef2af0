"""What can be set, and that nothing else can."""

import json
import math

import pytest

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.playground.problems import N_SAMPLES
from fastmlp.playground.settings import (
    MAX_LAYERS,
    MAX_UNITS,
    PRESETS,
    SOLVERS,
    Settings,
    SettingsError,
)


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_message_and_back(preset):
    settings = Settings() if preset is None else PRESETS[preset].settings
    message = json.loads(json.dumps(settings.to_message()))
    assert Settings.from_message(message) == settings


def test_what_is_missing_keeps_its_default():
    assert Settings.from_message({"noise": 10}) == Settings(noise=10)


def test_every_hidden_activation_can_be_set():
    for name, row in ACTIVATIONS.items():
        if row.is_hidden:
            assert Settings.from_message({"activation": name}).activation == name
        else:
            with pytest.raises(SettingsError, match="activation must be one of"):
                Settings.from_message({"activation": name})


def test_solvers():
    assert list(SOLVERS)[:5] == ["adam", "nesterov", "momentum", "sgd", "lbfgs"]
    assert "no_step" not in SOLVERS


def test_features_come_in_the_order_of_the_table_and_once():
    settings = Settings.from_message({"features": ["sinx1", "x2", "x2", "x1"]})
    assert settings.features == ("x1", "x2", "sinx1")


WRONG = {
    "dataset": ["moons", 1, None, ["xor"]],
    "noise": [-1, 51, 0.5, "10", True, None, math.nan],
    "train_share": [9, 91, math.inf],
    "features": [[], ["x3"], "x1", ["x1"] * 8, {"x1": 1}, [["x1"]]],
    "hidden": [[0], [MAX_UNITS + 1], [1] * (MAX_LAYERS + 1), [1.5], ["4"], 4, [True], [[4]]],
    "activation": ["softmax", "", 3],
    "solver": ["no_step", "newton", None],
    "learning_rate": [0, -1, 11, math.nan, math.inf, "0.1", True, 10**400, None],
    "regularization": ["l3", 2],
    "regularization_rate": [-0.1, 11, math.nan],
    "batch_size": [0, N_SAMPLES + 1, 2.5, "auto"],
    "seed": [-1, 10_000, 10**30],
    "speed": [-1, 10_001, math.nan],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_wrong_values_are_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=f"^{name} must be"):
        Settings.from_message({name: value})


def test_every_setting_has_wrong_values():
    assert set(WRONG) == set(Settings().to_message())


@pytest.mark.parametrize("message", [None, [], "noise", 3])
def test_settings_must_be_an_object(message):
    with pytest.raises(SettingsError, match="settings must be an object"):
        Settings.from_message(message)


def test_unknown_settings_are_refused():
    with pytest.raises(SettingsError, match="there is no setting 'colour'"):
        Settings.from_message({"colour": "red"})


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"learning_rate": 0.5}, True),
        ({"solver": "sgd"}, True),
        ({"batch_size": 1}, True),
        ({"regularization": "l2"}, True),
        ({"regularization_rate": 1.0}, True),
        ({"speed": 0}, True),
        ({"hidden": (4, 3)}, False),
        ({"features": ("x1",)}, False),
        ({"activation": "relu"}, False),
        ({"dataset": "xor"}, False),
        ({"noise": 5}, False),
        ({"train_share": 60}, False),
        ({"seed": 2}, False),
    ],
)
def test_which_changes_start_anew(change, is_same):
    assert Settings().is_same_run(Settings(**change)) is is_same


def test_penalty():
    assert Settings(regularization="none", regularization_rate=0.5).alpha == 0
    assert Settings(regularization="l2", regularization_rate=0.5).alpha == 0.5
