"""Whatever is fitted: a usable model or a documented error; no crash, hang or silent nan."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import hostile

ROOT = Path(hostile.__file__).parent.parent


def test_a_thousand_random_problems():
    # In a process of its own: a crash is a failure then, and so is a hang.
    child = subprocess.run(
        [sys.executable, "-m", "tests.hostile", "--examples", "1000"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert child.returncode == 0, child.stdout + child.stderr
    endings = ast.literal_eval(child.stdout)
    assert sum(endings.values()) >= 900
    assert endings["fitted"] > 400
    assert endings["refused"] > 100
    assert endings["diverged"] > 10


@pytest.mark.parametrize("bad", ["nan weights", "nan loss", "wrong error", "numpy warning"])
def test_the_check_notices(bad, monkeypatch):
    case = hostile.Case(
        "MLPRegressor", "fit", 0, (12, 3), "float64", "C", 1.0, (), False, "real", (), "none",
        {"max_iter": 2, "hidden_layer_sizes": (3,)},
    )  # fmt: skip
    assert hostile.check(case) == "fitted"
    train = hostile.train

    def spoil(case, model, *arguments):
        train(case, model, *arguments)
        if bad == "nan weights":
            model.coefs_[0][0, 0] = float("nan")
        elif bad == "nan loss":
            model.loss_ = float("nan")
        elif bad == "numpy warning":
            hostile.warnings.warn("overflow encountered", RuntimeWarning, stacklevel=1)
        else:
            raise ValueError("something went wrong")

    monkeypatch.setattr(hostile, "train", spoil)
    with pytest.raises(AssertionError):
        hostile.check(case)
