"""Threads, forks and processes: faults 36 and 37 of the list, and the cold start of 38.

Each scenario runs in a process of its own with a time limit, so that a hang is a failure.
"""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import fastmlp

ROOT = Path(fastmlp.__file__).parent.parent
needs_compiler = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="without compilation there is nothing to keep"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")

# Eight models that take every path through training.
MODELS = """
import os, sys, threading, warnings
import numpy as np
from scipy import sparse
from fastmlp import MLPClassifier, MLPRegressor

warnings.simplefilter("ignore")
rng = np.random.RandomState(0)
X = rng.normal(size=(600, 12))
y = X[:, 0] * X[:, 1] + np.sin(X[:, 2])
labels = np.digitize(y, [-1, 0, 1])

def problems():
    fast = {"max_iter": 8, "random_state": 0}
    return [
        (MLPRegressor(hidden_layer_sizes=(100, 50), **fast), X, y),
        (MLPRegressor(hidden_layer_sizes=(100, 50), n_jobs=2, **fast), X, y),
        (MLPClassifier(activation="tanh", early_stopping=True, **fast), X, labels),
        (MLPClassifier(solver="sgd", **fast), X.astype(np.float32), labels),
        (MLPRegressor(solver="sgd", momentum=0, batch_size=1, **fast), X, y),
        (MLPRegressor(hidden_layer_sizes=(300,), solver="lbfgs", **fast), X, y),
        (MLPClassifier(batch_size=600, **fast), sparse.csr_array(X), labels),
        (MLPClassifier(hidden_layer_sizes=(4,), activation="prelu", **fast), X, labels > 1),
    ]

def fitted(problem):
    model, X, y = problem
    model.fit(X, y)
    return [*model.coefs_, *model.intercepts_, outputs(problem)]

def outputs(problem):
    model, X, _ = problem
    return getattr(model, "predict_proba", model.predict)(X)

def same(results, expected):
    return all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True))
"""


def start(script, cache=None):
    """Start a process; it gets a compilation cache of its own where one is named."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if cache is not None:
        environment["FASTMLP_CACHE_DIR"] = str(cache)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, seconds=120):
    """Wait for a process that must succeed in time, and return the lines it printed."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return out.splitlines()


def run(script, seconds=120):
    return finish(start(script), seconds)


# --------------------------------------------------------------------------------------
# Threads
# --------------------------------------------------------------------------------------


def test_37_eight_threads_that_fit_at_once_get_what_each_gets_alone():
    script = """
alone = [fitted(problem) for problem in problems()]
for _ in range(3):
    together = [None] * 8
    meeting = threading.Barrier(8)

    def work(number, problem):
        meeting.wait()
        together[number] = fitted(problem)

    threads = [threading.Thread(target=work, args=item) for item in enumerate(problems())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print([same(*pair) for pair in zip(together, alone)])
"""
    assert run(MODELS + script) == [str([True] * 8)] * 3


# Both ways to share a batch, with matrices and unit by unit, and both of single samples.
EVERY_WAY = """
import threading, warnings
import numpy as np
from fastmlp import MLPRegressor
from fastmlp.training.plan import make_plan, threads_per_sample

warnings.simplefilter("ignore")
n_jobs, dtype = {n_jobs}, {dtype!r}
rng = np.random.RandomState(0)

def problem(n_samples, n_features, *hidden, **params):
    X = rng.normal(size=(n_samples, n_features)).astype(dtype)
    params = dict({{"max_iter": 6, "random_state": 0, "n_jobs": n_jobs, "tol": 0}}, **params)
    return MLPRegressor(hidden_layer_sizes=hidden, **params), X, X[:, 0] * X[:, 1]

PROBLEMS = [
    problem(600, 12, 100, 50),
    problem(400, 64, 300, 64, 256, batch_size=50),
    problem(400, 64, 128, 256, 100, batch_size=64),
    problem(600, 400, 64, l1=0.01, max_grad_norm=0.5),
    problem(512, 100, 256, 256, batch_size=64, solver="sgd"),
    problem(4000, 4, 8, 8, batch_size=4000),
    problem(300, 200, 160, solver="sgd", momentum=0, batch_size=1),
    problem(300, 200, 160, 30, solver="sgd", momentum=0, batch_size=1, alpha=0.01),
    problem(100, 200, 160, batch_size=1),
    problem(600, 400, 64, solver="lbfgs"),
]

def fitted(problem):
    model, X, y = problem
    model = MLPRegressor(**model.get_params()).fit(X, y)
    curve = getattr(model, "loss_curve_", [model.loss_])
    return model, [*model.coefs_, *model.intercepts_, np.array(curve), model.predict(X)]

ways = set()
for model, X, _ in PROBLEMS:
    layout = fitted((model.set_params(max_iter=1), X, X[:, 0]))[0]._layout
    model.set_params(max_iter=6)
    batch_size = min(200, len(X)) if model.batch_size == "auto" else model.batch_size
    if batch_size == 1:
        ways.add(("single", threads_per_sample(layout) > 1, model.solver))
    else:
        plan = make_plan(layout, dtype, batch_size)
        assert plan.useful_threads > 1
        ways.add(("batch", plan.shares_layers, plan.is_narrow))
print(sorted(ways))

alone = [fitted(problem)[1] for problem in PROBLEMS]
together, meeting = [None] * len(PROBLEMS), threading.Barrier(len(PROBLEMS))

def work(number):
    meeting.wait()
    together[number] = fitted(PROBLEMS[number])[1]

for _ in range(3):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(together))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print([all(map(np.array_equal, *pair)) for pair in zip(together, alone)])
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_jobs", [None, 1, 2])
def test_37_eight_threads_fit_as_alone_in_every_way_to_share_a_batch(n_jobs, dtype):
    ways, *rounds = run(EVERY_WAY.format(n_jobs=n_jobs, dtype=dtype))
    assert ast.literal_eval(ways) == [
        ("batch", False, False),
        ("batch", False, True),
        ("batch", True, False),
        ("single", True, "adam"),
        ("single", True, "sgd"),
    ]
    assert rounds == [str([True] * 10)] * 3


def test_37_eight_threads_that_predict_at_once_while_others_fit():
    script = """
shared = problems()
alone = [fitted(problem)[-1] for problem in shared]
few = [outputs((model, X[:5], y)) for model, X, y in shared]
wrong, counts, goes_on = [], [0] * 8, True

def fit():
    other = problems()
    while goes_on:
        for problem in other:
            fitted(problem)

def predict(number):
    for _ in range(30):
        for which, (model, X, y) in enumerate(shared):
            is_same = np.array_equal(outputs((model, X, y)), alone[which])
            if not is_same or not np.array_equal(outputs((model, X[:5], y)), few[which]):
                wrong.append(which)
            counts[number] += 1

fitting = threading.Thread(target=fit)
threads = [threading.Thread(target=predict, args=(number,)) for number in range(8)]
for thread in [fitting, *threads]:
    thread.start()
for thread in threads:
    thread.join()
goes_on = False
fitting.join()
print(counts, wrong)
"""
    assert run(MODELS + script) == [f"{[240] * 8} []"]


def test_37_first_calls_of_eight_threads_at_once():
    # Imports, loading and linking of compiled code happen in all of them.
    script = """
import threading
import warnings
warnings.simplefilter("ignore")
results, meeting = [None] * 8, threading.Barrier(8)

def work(number):
    meeting.wait()
    import fastmlp
    model = fastmlp.MLPRegressor(hidden_layer_sizes=(5,), max_iter=3, random_state=0)
    results[number] = model.fit([[0.0], [1.0], [2.0]], [0, 1, 4]).predict([[3.0]])[0]

threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(None in results, len(set(results)))
"""
    assert run(script) == ["False 1"]


# --------------------------------------------------------------------------------------
# Processes
# --------------------------------------------------------------------------------------


@needs_fork
def test_36_pool_of_forked_processes_after_a_fit():
    script = """
import multiprocessing
shared = problems()
alone = [fitted(problem) for problem in shared]

def work(number):
    # What was fitted before the fork, and then anew.
    before = outputs(shared[number])
    return before, fitted(problems()[number])

with multiprocessing.get_context("fork").Pool(2) as pool:
    results = pool.map(work, range(8))
print([np.array_equal(before, expected[-1]) and same(anew, expected)
       for (before, anew), expected in zip(results, alone)])
"""
    assert run(MODELS + script) == [str([True] * 8)]


@needs_fork
def test_36_fork_in_the_middle_of_a_fit():
    script = """
problem = problems()[0]
alone = fitted(problem)
model = MLPRegressor(hidden_layer_sizes=(200, 200), n_jobs=2, max_iter=10**6)
model.set_params(n_iter_no_change=10**6)
threading.Thread(target=model.fit, args=(X, y), daemon=True).start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if same(fitted(problems()[0]), alone) else 2
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""
    assert run(MODELS + script) == ["0"] * 5


# In a module of its own, where worker processes find it. Eight cores are pretended, and the
# sizes of all teams and of BLAS's pools noted.
TASK = """
import warnings
import numpy as np
import threadpoolctl
from fastmlp import MLPRegressor
from fastmlp.training import engine, predictor, team, threads

threads.available_cores = lambda: 8
seen = set()

class NotedTeam(team.ThreadTeam):
    def run(self, *arguments, **options):
        seen.add(self.size)
        if options:  # a fit: predictions that do not use BLAS leave it alone
            pools = threadpoolctl.threadpool_info()
            seen.update(pool["num_threads"] for pool in pools if pool["user_api"] == "blas")
        super().run(*arguments, **options)

engine.ThreadTeam = predictor.ThreadTeam = NotedTeam

def task(seed):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(2000, 50))
    model = MLPRegressor(hidden_layer_sizes=(200, 200), max_iter=2, random_state=seed)
    model.set_params(batch_size=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, X[:, 0])
    return model.predict(X), sorted(seen)
"""


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_36_backends_of_joblib_do_not_oversubscribe(backend, tmp_path):
    (tmp_path / "task.py").write_text(TASK, encoding="utf-8")
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import os
os.environ["PYTHONPATH"] += os.pathsep + {str(tmp_path)!r}
import numpy as np
import task
from joblib import Parallel, delayed

if {backend!r} == "threading":
    task.warnings.simplefilter("ignore")
    task.warnings.catch_warnings = __import__("contextlib").nullcontext
# As many workers as cores, where these are processes.
in_parallel = Parallel(n_jobs={-1 if backend == "loky" else 2}, backend={backend!r})(
    delayed(task.task)(seed) for seed in range(4)
)
print(sorted({{size for _, sizes in in_parallel for size in sizes}}))
alone = [task.task(seed) for seed in range(4)]
print(max(alone[0][1]) > 1)  # left to itself, a fit does take several
print([np.array_equal(one[0], other[0]) for one, other in zip(in_parallel, alone)])
"""
    assert run(script) == ["[1]", "True", str([True] * 4)]


@needs_compiler
def test_38_eight_processes_start_cold_at_once_and_one_finds_damaged_files(tmp_path):
    # A prediction compiles in two seconds what a fit would need ten for.
    script = """
import warnings
import numpy as np
import fastmlp
from sklearn.neural_network import MLPRegressor
warnings.simplefilter("ignore")
X = np.random.RandomState(0).normal(size=(50, 4))
other = MLPRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(X, X[:, 0])
predicted = fastmlp.MLPRegressor.from_sklearn(other).predict(X)
assert np.allclose(predicted, other.predict(X))
print(predicted.tolist())
"""
    processes = [start(script, tmp_path) for _ in range(8)]
    try:
        results = [finish(process, 300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(len(result) == 1 and result == results[0] for result in results)
    directory = tmp_path / "fastmlp"
    files = sorted(directory.iterdir())
    # One file per compiled function, and no remains of writing them.
    names = [path.name.partition("-")[0] for path in files]
    assert names == ["forward_pass", "identity", "predict", "relu"]
    contents = {path: path.read_bytes() for path in files}

    for number, (path, content) in enumerate(contents.items()):
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes([flipped, content[:middle], b""][number % 3])
    assert finish(start(script, tmp_path)) == results[0]
    assert sorted(directory.iterdir()) == files
    assert all(path.stat().st_size > len(contents[path]) // 2 for path in files)

    shutil.rmtree(directory)
    directory.touch()  # nothing can be kept here
    assert finish(start(script, tmp_path)) == results[0]
