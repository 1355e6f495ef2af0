"""The other measures run, and their tables can be written."""

import json
import sys

import measure
import pytest
import render


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


def test_every_measure_has_a_table():
    assert set(measure.MEASURES) == set(render.OTHER_MEASURES)
