"""The other measures run, and their tables can be written."""

import json
import sys

import measure
import numpy as np
import pytest
import render
from measures import protections

from fastmlp import MLPClassifier
from fastmlp.estimators import _base
from fastmlp.training import engine, trainer

X = np.random.RandomState(0).normal(size=(60, 3))
Y = np.arange(60) % 3


@pytest.mark.parametrize(
    "name",
    [
        "latency",
        pytest.param(
            "memory",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc"),
        ),
    ],
)
def test_measure(name, tmp_path):
    measure.main([name, "--quick", "--folder", str(tmp_path)])
    content = json.loads((tmp_path / f"{name}.json").read_text())
    assert content["is_quick"]
    _, write = render.OTHER_MEASURES[name]
    lines = write(content["result"]).splitlines()
    assert len(lines) > 2
    assert len({line.count("|") for line in lines}) == 1
    assert {entry["library"] for entry in content["result"]} == {"fastmlp", "sklearn"}


def test_protections(tmp_path):
    measure.main(["protections", "--quick", "--folder", str(tmp_path)])
    (entry,) = json.loads((tmp_path / "protections.json").read_text())["result"]
    assert set(entry["ratios"]) == {"nothing", "all", *protections.PROTECTIONS}
    assert all(len(ratios) == 3 and min(ratios) > 0 for ratios in entry["ratios"].values())
    lines = render.OTHER_MEASURES["protections"][1]([entry]).splitlines()
    assert len(lines) == 3 + len(entry["ratios"])
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", protections.PROTECTIONS)
def test_protection_is_left_out_and_comes_back(name):
    places = [(_base, "watched"), (_base.BaseMLP, "_look"),
              (trainer, "_keep_if_finite"), (engine, "reserve_threads"),
              (engine.Engine, "__enter__"), (engine, "_SECONDS_PER_CALL")]  # fmt: skip
    before = [getattr(*place) for place in places]
    with protections.PROTECTIONS[name]():
        assert [getattr(*place) for place in places] != before
        # All works without it, and with the same result.
        without = MLPClassifier((4,), max_iter=8, random_state=0).fit(X, Y)
    assert [getattr(*place) for place in places] == before
    expected = MLPClassifier((4,), max_iter=8, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(without.coefs_[0], expected.coefs_[0])


def test_every_measure_has_a_table():
    assert set(measure.MEASURES) == set(render.OTHER_MEASURES)
