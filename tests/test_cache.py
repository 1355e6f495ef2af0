"""Machine code is kept on disk, found again, and never believed when it is stale or damaged."""

import ast
import errno
import gc
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp import _disk_cache, _jit
from fastmlp._disk_cache import CacheWarning, cache_directories
from fastmlp._jit import entry_point

pytestmark = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="without compilation there is nothing to keep"
)

PACKAGE = Path(fastmlp.__file__).parent
# Counts what Numba compiles in a process.
COUNTER = """
from numba.core import event

class Counter(event.Listener):
    count = 0
    def on_start(self, event):
        self.count += 1
    def on_end(self, event):
        pass

counter = Counter()
event.register("numba:compile", counter)
"""


def start(script, root, **environment):
    """Start a Python process that imports fastmlp from a directory."""
    kept = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script],
        env={**kept, "PYTHONPATH": str(root), **environment},
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Wait for a process that must succeed, and return the lines it printed."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert err == ""
    return out.splitlines()


def run(script, root, **environment):
    return finish(start(script, root, **environment))


def copy_package(directory):
    """Copy the package without what was compiled."""
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(PACKAGE, directory / "fastmlp", ignore=ignored)


# --------------------------------------------------------------------------------------
# Compilation
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_enabled", [True, False])
def test_no_garbage_is_looked_for_meanwhile_and_afterwards_as_before(is_enabled):
    seen = []

    def compile_it(signature):
        seen.append(gc.isenabled())
        if hasattr(os, "fork"):
            child = os.fork()
            if not child:
                os._exit(int(gc.isenabled() != is_enabled))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        raise KeyboardInterrupt

    before = gc.isenabled()
    try:
        (gc.enable if is_enabled else gc.disable)()
        with pytest.raises(KeyboardInterrupt):
            _jit._without_collection(compile_it)(None)
        assert seen == [False]
        assert gc.isenabled() == is_enabled
    finally:
        (gc.enable if before else gc.disable)()


# --------------------------------------------------------------------------------------
# The whole package
# --------------------------------------------------------------------------------------

FIT_AND_PREDICT = (
    COUNTER
    + """
import warnings
import numpy as np
from fastmlp import MLPRegressor
from sklearn.exceptions import ConvergenceWarning

warnings.simplefilter("ignore", ConvergenceWarning)
X = np.random.RandomState(0).normal(size=(50, 4))
y = X[:, 0] * X[:, 1]
single = {"solver": "sgd", "momentum": 0, "batch_size": 1}
layers = {"hidden_layer_sizes": (78, 78, 78, 78), "batch_size": 16}
for options in ({"hidden_layer_sizes": 8}, layers, single):
    model = MLPRegressor(max_iter=5, random_state=0, **options).fit(X, y)
    print(model.predict(X[:16]).tolist())

from fastmlp.kernels import epoch, stochastic
dispatchers = [
    epoch.run_batches_together, epoch.run_batches_on_shards, epoch.predict, stochastic.run_samples
]
print(counter.count)
print([sum(dispatcher.stats.cache_misses.values()) for dispatcher in dispatchers])
print([sum(dispatcher.stats.cache_hits.values()) for dispatcher in dispatchers])
"""
)


def test_two_cold_processes_at_once_and_a_third_that_compiles_nothing(tmp_path):
    environment = {"FASTMLP_CACHE_DIR": str(tmp_path)}
    with (
        start(FIT_AND_PREDICT, PACKAGE.parent, **environment) as one,
        start(FIT_AND_PREDICT, PACKAGE.parent, **environment) as other,
    ):
        first, second = finish(one), finish(other)
    # What compiles for them may still be at work on what they could do without.
    stop = time.monotonic() + 60
    while not any(tmp_path.rglob("end_epoch-*.bin")) or any(tmp_path.rglob("*.tmp")):
        assert time.monotonic() < stop
        time.sleep(0.1)
    for *_, n_compiled, misses, hits in (first, second):
        assert int(n_compiled) > 0
        assert all(m + h == 1 for m, h in zip(eval(misses), eval(hits), strict=True))

    *predictions, n_compiled, misses, hits = run(FIT_AND_PREDICT, PACKAGE.parent, **environment)
    assert (n_compiled, misses, hits) == ("0", "[0, 0, 0, 0]", "[1, 1, 1, 1]")
    assert predictions == first[:3] == second[:3]
    # One file per compiled function, whoever came first, and no remains of writing them.
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "fastmlp").iterdir()) == [
        "adam", "end_epoch", "forward_pass", "identity", "identity_derivative",
        "input_gradient_of_few", "narrow_bias_gradient", "narrow_forward", "narrow_input_gradient",
        "narrow_weight_gradient", "predict", "relu", "relu_derivative", "run_batches_on_shards",
        "run_batches_together", "run_samples", "set_mode", "sgd", "squared_error", "transpose",
        "update_parts", "weight_gradient_of_few",
    ]  # fmt: skip


# Fits, and after that compiles something of its own that calls kernels.
FIT_AND_COMPILE = """
import numpy as np
from numba.core.base import BaseContext

refresh, n_calls = BaseContext.refresh, 0

def counted(self):
    global n_calls
    n_calls += 1
    refresh(self)

BaseContext.refresh = counted
from fastmlp import MLPRegressor

X = np.random.RandomState(0).normal(size=(300, 40))
model = MLPRegressor(solver="sgd", max_iter=5, random_state=0, tol=0, n_iter_no_change=9)
model.set_params(learning_rate="cosine").fit(X, X[:, 0])
print(n_calls > 0)
print(bool(np.allclose(model.to_numba()(X).ravel(), model.predict(X))))
print(n_calls > 0)
"""


def test_loading_does_not_prepare_the_compiler_which_is_ready_when_it_is_needed(tmp_path):
    environment = {"FASTMLP_CACHE_DIR": str(tmp_path)}
    assert run(FIT_AND_COMPILE, PACKAGE.parent, **environment) == ["True", "True", "True"]
    assert run(FIT_AND_COMPILE, PACKAGE.parent, **environment) == ["False", "True", "True"]


@pytest.fixture
def package_copy(tmp_path):
    return copy_package(tmp_path)


def test_every_kernel_file_counts(package_copy, monkeypatch):
    monkeypatch.setattr(_disk_cache, "_PACKAGE", package_copy)
    digest = _disk_cache._fingerprint.__wrapped__
    sources = sorted((package_copy / "kernels").rglob("*.py"))
    assert {"epoch.py", "activations.py", "__init__.py"} <= {path.name for path in sources}
    seen = {digest()}
    assert digest() in seen
    for path in sources:
        original = path.read_text(encoding="utf-8")
        path.write_text(original + "# another comment\n", encoding="utf-8")
        seen.add(digest())
        path.write_text(original, encoding="utf-8")
    assert len(seen) == 1 + len(sources)
    assert digest() in seen
    (package_copy / "kernels" / "another.py").touch()
    assert digest() not in seen


def test_only_kernel_files_define_compiled_functions():
    # An edit of the others does not count for the cache.
    compilers = {"kernel", "inlined_kernel", "entry_point", "by_precision", "njit", "jit"}
    compilers |= {"separately_compiled", "intrinsic"}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "kernels" or path.name in ("_jit.py", "_linking.py"):
            continue
        if path.name == "standalone.py":  # compiled for a model, and never kept on disk
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = {alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")}
            names.add(getattr(node, "attr", None))
            assert not names & compilers, f"{path}: line {node.lineno}"


# A function that is compiled into a cached one, but is defined in another file: Numba's own cache
# would not notice its edit.
INNER = """
from fastmlp._jit import kernel

@kernel
def add(x):
    return x + {}
"""
OUTER = (
    COUNTER
    + """
from fastmlp._jit import entry_point
from fastmlp.kernels.inner import add

@entry_point
def outer(x):
    return add(x)

print(outer(1), counter.count > 0)
"""
)


def test_edit_of_a_kernel_is_noticed(package_copy):
    inner, root = package_copy / "kernels" / "inner.py", package_copy.parent
    environment = {"FASTMLP_CACHE_DIR": str(root / "cache")}
    inner.write_text(INNER.format(1), encoding="utf-8")
    assert run(OUTER, root, **environment) == ["2 True"]
    assert run(OUTER, root, **environment) == ["2 False"]
    inner.write_text(INNER.format(2), encoding="utf-8")
    assert run(OUTER, root, **environment) == ["3 True"]
    # Going back finds what was compiled before.
    inner.write_text(INNER.format(1), encoding="utf-8")
    assert run(OUTER, root, **environment) == ["2 False"]


def test_without_a_place_to_keep_it_there_is_one_warning(tmp_path):
    a_file = tmp_path / "file"
    a_file.touch()
    script = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from fastmlp._jit import entry_point
    import fastmlp.kernels.epoch

    @entry_point
    def one(x):
        return x + 1

    @entry_point
    def two(x):
        return x + 2

    print(one(1), one(1.5), two(1), two(1.5))
for warning in caught:
    print(warning.category.__name__, warning.message)
"""
    for place in (a_file, Path("/proc/nowhere")):
        result, warning = run(script, PACKAGE.parent, FASTMLP_CACHE_DIR=str(place))
        assert result == "2 2.5 3 3.5"
        assert warning.startswith("CacheWarning Compiled code cannot be kept on disk (")
        assert str(place) in warning
        assert warning.endswith("Set FASTMLP_CACHE_DIR to a writable directory.")


# --------------------------------------------------------------------------------------
# One small function
# --------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """An empty cache directory for the functions of a test."""
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    return tmp_path / "fastmlp"


def call(argument=2.0):
    """Call a new dispatcher of always the same function: (result, whether it was compiled)."""

    def triple(x):
        return 3 * x

    dispatcher = entry_point(triple)
    result = dispatcher(argument)
    (n_compiled,) = dispatcher.stats.cache_misses.values() or (0,)
    return result, bool(n_compiled)


def test_is_compiled_once_per_signature(directory):
    assert call() == (6.0, True)
    assert call() == (6.0, False)
    assert call(5) == (15, True)
    assert call(np.float32(0.5)) == (1.5, True)
    assert call(5) == (15, False)
    assert len(list(directory.iterdir())) == 3


def damaged(content):
    """Ways in which a file may be damaged."""
    yield b""
    yield b"something else"
    for size in (1, len(content) // 100, len(content) // 2, len(content) - 1):
        yield content[:size]
    yield content + b"\0"
    for position in np.linspace(0, len(content) - 1, 60).astype(int):
        changed = bytearray(content)
        changed[position] ^= 1 << (position % 8)
        yield bytes(changed)


def test_damaged_file_is_made_anew(directory):
    call()
    (path,) = directory.iterdir()
    content = path.read_bytes()
    n_damages = 0
    for n_damages, bad in enumerate(damaged(content), 1):  # noqa: B007
        path.write_bytes(bad)
        assert call() == (6.0, True)
        assert call() == (6.0, False)
    assert n_damages > 60
    assert list(directory.iterdir()) == [path]


def test_file_under_the_name_of_another_is_made_anew(directory):
    call(2)
    (of_ints,) = directory.iterdir()
    call(2.0)
    (of_floats,) = set(directory.iterdir()) - {of_ints}
    of_ints.replace(of_floats)
    assert call(2.0) == (6.0, True)
    assert call(2.0) == (6.0, False)


def test_only_its_owner_can_write_a_file(directory):
    call()
    (path,) = directory.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH) == 0
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs POSIX permissions")
def test_file_that_others_could_have_written_is_not_loaded(directory):
    call()
    (path,) = directory.iterdir()
    for mode in (0o666, 0o620, 0o602):
        path.chmod(mode)
        assert call() == (6.0, True)
        assert call() == (6.0, False)


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="needs the right to give a file away"
)
def test_file_of_another_user_is_not_loaded(directory):
    call()
    (path,) = directory.iterdir()
    os.chown(path, 12345, -1)
    assert call() == (6.0, True)


def test_next_directory_is_taken(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    places = [tmp_path / "file" / "inside", tmp_path / "good"]
    monkeypatch.setattr(_disk_cache, "cache_directories", lambda: iter(places))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CacheWarning)
        assert call() == (6.0, True)
        assert call() == (6.0, False)
    assert len(list(places[1].iterdir())) == 1


def test_directories(tmp_path, monkeypatch):
    for name in ("FASTMLP_CACHE_DIR", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert list(cache_directories()) == [
        PACKAGE / "__pycache__" / "compiled", tmp_path / "fastmlp",
    ]  # fmt: skip
    # A relative one is to be ignored, says the specification.
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert len(list(cache_directories())) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list(cache_directories())[1] == tmp_path / ".cache" / "fastmlp"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    assert list(cache_directories()) == [tmp_path / "numba" / "fastmlp"]
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "own"))
    assert list(cache_directories()) == [tmp_path / "own" / "fastmlp"]


# --------------------------------------------------------------------------------------
# Fault 38: places where nothing can be kept, and other machines
# --------------------------------------------------------------------------------------

SMALL = """
from fastmlp._jit import entry_point

@entry_point
def triple(x):
    return 3 * x

print(triple(2.0), *dict(triple.stats.cache_hits).values())
"""


def test_read_only_install_without_home_runs_uncached_with_one_warning(package_copy):
    # A file in the place of the directory: not even the administrator can write into it.
    (package_copy / "__pycache__").touch()
    script = f"""
import os, pwd, warnings

def nobody(uid):
    raise KeyError(uid)

pwd.getpwuid = nobody
for name in ("HOME", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    {SMALL.replace(chr(10), chr(10) + "    ")}
    triple(2)
print(len(caught), *(warning.category.__name__ for warning in caught))
"""
    for _ in range(2):
        assert run(script, package_copy.parent) == ["6.0", "1 CacheWarning"]


def test_read_only_install_keeps_it_in_the_users_directory(package_copy, tmp_path):
    (package_copy / "__pycache__").touch()
    home = {"XDG_CACHE_HOME": str(tmp_path / "user")}
    assert run(SMALL, package_copy.parent, **home) == ["6.0"]
    assert run(SMALL, package_copy.parent, **home) == ["6.0 1"]
    assert len(list((tmp_path / "user" / "fastmlp").iterdir())) == 1


@pytest.fixture
def warns_anew():
    """Forget that a warning was given."""
    _disk_cache._warn_once.cache_clear()
    yield
    _disk_cache._warn_once.cache_clear()


@pytest.mark.parametrize("step", ["mkstemp", "write", "replace"])
@pytest.mark.usefixtures("warns_anew")
def test_full_disk(step, directory, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "write":
        original = os.fdopen

        def open_without_space(*arguments, **options):
            file = original(*arguments, **options)
            monkeypatch.setattr(os, "fdopen", original)
            return FullFile(file)

        class FullFile:
            def __init__(self, file):
                self.file = file

            def __enter__(self):
                return self

            def __exit__(self, *exception):
                self.file.close()

            def write(self, content):
                self.file.write(content[: len(content) // 2])
                fail()

        monkeypatch.setattr(os, "fdopen", open_without_space)
    else:
        monkeypatch.setattr({"mkstemp": tempfile, "replace": os}[step], step, fail)
    with pytest.warns(CacheWarning, match="No space left on device") as caught:
        assert call() == (6.0, True)
    assert len(caught) == 1
    assert list(directory.iterdir()) == []  # nothing half written
    monkeypatch.undo()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_file_that_may_not_grow(tmp_path):
    # The system itself stops the writing in the middle.
    script = f"""
import resource, signal, warnings
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    {SMALL.replace(chr(10), chr(10) + "    ")}
    triple(2)
print(len(caught), caught[0].category.__name__)
"""
    environment = {"FASTMLP_CACHE_DIR": str(tmp_path)}
    assert run(script, PACKAGE.parent, **environment) == ["6.0", "1 CacheWarning"]
    assert list((tmp_path / "fastmlp").iterdir()) == []
    assert run(SMALL, PACKAGE.parent, **environment) == ["6.0"]


def test_what_other_versions_left_is_removed_when_it_is_old(directory, monkeypatch, tmp_path):
    call()
    (current,) = directory.iterdir()
    fingerprint, digest = _disk_cache._fingerprint()[:8], 40 * "0"
    # Name, days since it was written, since it was read, and whether it is to stay.
    files = {
        f"triple-{fingerprint}-{digest}.bin": (400, 400, True),
        f"predict-00000000-{digest}.bin": (91, 91, False),
        f"run_batches-11111111-{digest}.bin": (91, 1, True),
        f"run_batches-22222222-{digest}.bin": (89, 89, True),
        f"predict-{digest}.bin": (91, 91, False),  # as earlier versions named them
        ".abcd_123.tmp": (91, 91, False),
        ".abcd_124.tmp": (1, 1, True),
        "predict.bin": (400, 400, True),
        "notes.txt": (400, 400, True),
        f"a-b-00000000-{digest}.bin.old": (400, 400, True),
    }
    for name, (written, read, _) in files.items():
        (directory / name).touch()
        times = tuple(time.time() - days * 24 * 3600 for days in (read, written))
        os.utime(directory / name, times)
    (directory / f"folder-00000000-{digest}.bin").mkdir()
    os.utime(directory / f"folder-00000000-{digest}.bin", (0, 0))
    (tmp_path / "elsewhere").touch()
    link = directory / f"link-00000000-{digest}.bin"
    link.symlink_to(tmp_path / "elsewhere")
    os.utime(link, (0, 0), follow_symlinks=False)

    before = sorted(directory.iterdir())
    _disk_cache._prune.cache_clear()
    assert call() == (6.0, False)
    assert sorted(directory.iterdir()) == before  # nothing is removed by what only reads
    # A file that cannot be removed is no error.
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", lambda path: (_ for _ in ()).throw(PermissionError(path)))
        assert call(2) == (6, True)
    _disk_cache._prune.cache_clear()
    assert call(np.float32(2)) == (6.0, True)
    left = {path.name for path in directory.iterdir()}
    assert {name for name, (*_, stays) in files.items() if stays} <= left
    assert not {name for name, (*_, stays) in files.items() if not stays} & left
    assert {current.name, link.name, f"folder-00000000-{digest}.bin"} <= left


def test_code_for_another_processor_is_not_loaded(tmp_path):
    ours = {"FASTMLP_CACHE_DIR": str(tmp_path)}
    for other in ({"NUMBA_CPU_NAME": "generic"}, {"NUMBA_CPU_FEATURES": "+sse2"}):
        environment = {**ours, **other}
        n_files = len(list(tmp_path.rglob("*.bin")))
        assert run(SMALL, PACKAGE.parent, **environment) == ["6.0"]
        assert run(SMALL, PACKAGE.parent, **environment) == ["6.0 1"]
        assert len(list(tmp_path.rglob("*.bin"))) == n_files + 1
    assert run(SMALL, PACKAGE.parent, **ours) == ["6.0"]


def test_every_version_counts(monkeypatch):
    digest = _disk_cache._fingerprint.__wrapped__
    seen = {digest()}
    for module, name in (
        (numba, "__version__"), (_disk_cache.llvmlite, "__version__"), (np, "__version__"),
        (sys, "version"), (numba.config, "BOUNDSCHECK"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(module, name, "another")
            seen.add(digest())
    assert len(seen) == 6
    assert digest() in seen
