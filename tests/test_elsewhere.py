"""What another process compiles is found by this one, and nothing depends on that process."""

import time

import numba
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPClassifier
from fastmlp.kernels.series import end_epoch
from tests.test_cache import PACKAGE, run

pytestmark = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="without compilation there is nothing to share"
)

MODULE = """
from fastmlp._linking import Interface

KIND = Interface("reals", returns="int")

@KIND.entry_point
def count(x):
    return x.size

@KIND.function
def linked(x):
    return x.size + 1

@KIND.entry_point
def here(x):
    return x.size + 2
"""
COUNT = """
import os
import sys
import time
import numpy as np
from fastmlp import _disk_cache, _elsewhere
from fastmlp._linking import compile_ahead
sys.path.insert(0, {folder!r})
import made
{before}
for _ in range(2):
    compile_ahead([made.count, made.linked], [made.here], np.float64)
print(len(made.here.signatures))
print(made.count(np.zeros(3)), made.linked.address(np.float64) > 0)
print(made.linked.is_in_the_making(np.float64))
for dispatcher in (made.count, made.linked.compiled):
    print(sum(dispatcher.stats.cache_hits.values()), sum(dispatcher.stats.cache_misses.values()))
print(len(set(map(id, _elsewhere._processes.values()))))
stop = time.monotonic() + 60
while not _elsewhere.is_idle():
    assert time.monotonic() < stop
    time.sleep(0.01)
# Nothing is left of it.
if hasattr(os, "WNOHANG"):
    try:
        print(os.waitpid(-1, os.WNOHANG))
    except ChildProcessError:
        pass
"""


def count(tmp_path, before="", cache="cache"):
    """Compile ahead in a process that does something else first; return what it prints."""
    (tmp_path / "made.py").write_text(MODULE, encoding="utf-8")
    script = COUNT.format(before=before, folder=str(tmp_path))
    return run(script, PACKAGE.parent, FASTMLP_CACHE_DIR=str(tmp_path / cache))


def test_what_is_compiled_elsewhere_is_found(tmp_path):
    assert count(tmp_path) == ["1", "3 True", "False", "1 0", "1 0", "1"]
    # Now that it is on disk, there is nothing to do.
    assert count(tmp_path) == ["0", "3 True", "False", "1 0", "1 0", "0"]


@pytest.mark.parametrize(
    "before",
    [
        "_elsewhere._PROGRAM = 'raise SystemExit(1)'",
        "_elsewhere._PROGRAM = 'import time; time.sleep(1000)'; _elsewhere._PATIENCE = 0.0",
    ],
)
def test_a_process_that_fails_or_never_ends(before, tmp_path):
    assert count(tmp_path, before) == ["1", "3 True", "False", "0 1", "0 1", "1"]


@pytest.mark.parametrize(
    "before",
    [
        "sys.executable = None",
        "sys.executable = '/nowhere/python'",
        "sys.executable = '/usr/bin/host'",
        "sys.frozen = True",
        "os.environ['_FASTMLP_COMPILES'] = '1'",
    ],
)
def test_no_process_can_be_started(before, tmp_path):
    assert count(tmp_path, before) == ["0", "3 True", "False", "0 1", "0 1", "0"]


@pytest.mark.parametrize(("cache", "refusal"), [("file", ""), ("x", "os.access = lambda *_: 0")])
def test_nothing_would_come_back(cache, refusal, tmp_path):
    (tmp_path / "file").touch()
    before = f"import warnings; warnings.simplefilter('ignore'); {refusal}"
    assert count(tmp_path, before, cache) == ["0", "3 True", "False", "0 1", "0 1", "0"]


def test_cache_that_cannot_be_looked_into_is_a_warning(tmp_path):
    # As where a directory may not be entered, which would hold nobody with all rights.
    before = "import warnings; warnings.simplefilter('ignore')"
    assert count(tmp_path, before, 300 * "x")[1:5] == ["3 True", "False", "0 1", "0 1"]


def test_what_would_be_kept_under_another_name_is_not_compiled_elsewhere(tmp_path):
    before = "_disk_cache._fingerprint = lambda: 64 * 'x'"
    assert count(tmp_path, before) == ["1", "3 True", "False", "0 1", "0 1", "1"]


def test_nothing_is_imported_from_the_working_directory(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("hashlib", "numba", "numpy"):
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'w').close()", encoding="utf-8"
        )
    before = f"sys.path.insert(0, ''); os.chdir({str(folder)!r})"
    assert count(tmp_path, before) == ["1", "3 True", "False", "1 0", "1 0", "1"]
    assert not (tmp_path / "ran").exists()


FIT = """
import warnings
import numpy as np
from fastmlp import MLPRegressor, _elsewhere
from fastmlp.kernels.epoch import run_batches_on_shards
warnings.simplefilter("ignore")
X = np.random.RandomState(0).normal(size=(50, 4))
model = MLPRegressor(hidden_layer_sizes=8, max_iter=5, random_state=0, n_jobs={n_jobs})
model.fit(X, X[:, 0])
print(model.loss_curve_)
print(sum(run_batches_on_shards.stats.cache_hits.values()), len(_elsewhere._processes) > 0)
"""


def test_first_fit_with_two_cores_and_with_one(tmp_path):
    alone = run(FIT.format(n_jobs=1), PACKAGE.parent, FASTMLP_CACHE_DIR=str(tmp_path / "one"))
    shared = run(FIT.format(n_jobs=2), PACKAGE.parent, FASTMLP_CACHE_DIR=str(tmp_path / "two"))
    assert alone[1] == "0 False"
    assert shared == [alone[0], "1 True"]
    # The process goes on after the fit, and leaves what the next one will want.
    stop = time.monotonic() + 60
    while not any((tmp_path / "two" / "fastmlp").glob("end_epoch-*.bin")):
        assert time.monotonic() < stop
        time.sleep(0.1)


def test_fit_does_not_wait_for_what_it_can_do_without(monkeypatch):
    X = np.random.RandomState(0).normal(size=(60, 3))
    model = MLPClassifier(
        hidden_layer_sizes=5, max_iter=30, random_state=0, tol=0, n_iter_no_change=30
    )
    with pytest.warns(ConvergenceWarning):
        curve = model.fit(X, X[:, 0] > 0).loss_curve_
    monkeypatch.setattr(end_epoch, "is_in_the_making", lambda dtype: True)
    monkeypatch.setattr(end_epoch, "address", None)
    with pytest.warns(ConvergenceWarning):
        assert model.fit(X, X[:, 0] > 0).loss_curve_ == curve
