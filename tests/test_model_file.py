"""Model files: the same model comes back, and nothing but an intact file is believed."""

import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, ModelFormatError
from fastmlp.estimators import _model_file

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DATA = Path(__file__).parent / "data"
N = 90
X = np.random.RandomState(0).normal(size=(N, 4))
CODES = np.arange(N) % 3
DATES = np.array(["2019-12-31", "2024-02-29", "2026-11-24"], "datetime64[D]")
TARGETS = {
    "ints": np.array([-5, 7, 1000])[CODES],
    "int8": np.array([-5, 7, 100], np.int8)[CODES],
    "floats": np.array([1.0, 2.0, 30.0])[CODES],
    "bools": CODES == 1,
    "strings": np.array(["", "tensão", 'weiß\n"quoted" 🙂'])[CODES],
    "wide strings": np.array(["a", "b", "c"], "<U9")[CODES],
    "objects": np.array(["no", "yes"], object)[CODES % 2],
    "dates": DATES[CODES],
    "times": np.array(DATES, "datetime64[ns]")[CODES],
    "one class": np.zeros(N, int),
    "labels": np.eye(3, dtype=int)[CODES],
}


def classifier(**params):
    return MLPClassifier((6,), max_iter=4, random_state=1, **params)


def round_trip(model, tmp_path):
    model.save(tmp_path / "model")
    return fastmlp.load(tmp_path / "model")


def assert_same(model, other):
    """All that scikit-learn calls fitted is the same, to the last bit and in type."""
    assert type(model) is type(other)
    for name, value in vars(model).items():
        if name.startswith("_") or name == "callbacks":
            continue
        if isinstance(value, np.ndarray):
            assert value.dtype == getattr(other, name).dtype, name
        np.testing.assert_equal(getattr(other, name), value, err_msg=name)
    assert vars(model).keys() - {"_random_state"} == vars(other).keys() - {"_random_state"}
    np.testing.assert_equal(vars(other._progress), vars(model._progress))


@pytest.mark.parametrize("y", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_classifiers_come_back(y, dtype, tmp_path):
    model = classifier(activation="prelu").fit(X.astype(dtype), y)
    other = round_trip(model, tmp_path)
    assert_same(model, other)
    assert other.coefs_[0].dtype == dtype
    labels = other.predict(X)
    np.testing.assert_array_equal(labels, model.predict(X))
    assert labels.dtype == model.predict(X).dtype
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    assert other.score(X, y) == model.score(X, y)
    assert_same(model.partial_fit(X, y), other.partial_fit(X, y))


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("y", [X[:, 0], X[:, :2]], ids=["one", "two"])
def test_regressors_come_back(solver, y, tmp_path):
    model = MLPRegressor(hidden_layer_sizes=[5, 3], solver=solver, max_iter=4, random_state=0).fit(
        X, y
    )
    other = round_trip(model, tmp_path)
    assert_same(model, other)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


@pytest.mark.parametrize(
    "params",
    [
        {"solver": "sgd", "momentum": 0},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 10, "n_iter_no_change": 1},
        {"solver": "adam", "warmup_steps": 3},
        {"activation": "prelu", "random_state": np.random.RandomState(7)},
    ],
    ids=str,
)
def test_partial_fit_goes_on_bit_for_bit(params, tmp_path):
    model = MLPRegressor(hidden_layer_sizes=(5,), **{"random_state": 3, "batch_size": 20, **params})
    for _ in range(4):
        model.partial_fit(X, X[:, 0])
    other = round_trip(model, tmp_path)
    for _ in range(4):
        model.partial_fit(X, X[:, 0])
        other.partial_fit(X, X[:, 0])
    assert_same(clone_of_state(model), clone_of_state(other))
    np.testing.assert_array_equal(other._optimizer.slots, model._optimizer.slots)


def clone_of_state(model):
    """The model without its random state, which has no equality."""
    model.random_state = None
    return model


def test_early_stopping_and_feature_names_come_back(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "ä", "🙂"])
    model = classifier(early_stopping=True, class_weight={0: 1.0, 1: np.float32(2), 2: 0.5})
    other = round_trip(model.fit(frame, CODES), tmp_path)
    assert_same(model, other)
    np.testing.assert_array_equal(other._progress.best_params, model._progress.best_params)
    np.testing.assert_array_equal(other.predict(frame), model.predict(frame))


def test_what_cannot_be_held_is_named(tmp_path):
    model = classifier().fit(X, CODES)
    path = tmp_path / "model"
    with pytest.raises(TypeError, match=r"learning_rate=.*function"):
        clone(model).set_params(learning_rate=lambda step: 0.1).fit(X, CODES).save(path)
    with pytest.raises(TypeError, match="'n_jobs'"):
        model.set_params(n_jobs=object()).save(path)
    with pytest.raises(NotFittedError):
        clone(model).save(path)
    assert not any(tmp_path.iterdir())


def test_what_could_not_be_read_is_not_written(tmp_path):
    class Own(MLPClassifier):
        pass

    path = tmp_path / "model"
    with pytest.raises(TypeError, match=r"got an instance of .*Own"):
        Own((6,), max_iter=4).fit(X, CODES).save(path)
    with pytest.raises(ValueError, match="'alpha' parameter"):
        classifier().fit(X, CODES).set_params(alpha=-1).save(path)
    model = classifier().fit(X, CODES)
    model.coefs_[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        model.save(path)
    assert not any(tmp_path.iterdir())


def test_what_a_divergence_leaves_behind_comes_back(tmp_path):
    """The last finite weights, whatever became of the optimizer's memory."""
    model = MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0)
    with pytest.raises(ValueError, match="non-finite"):
        model.fit(X, X[:, 0])
    assert not np.isfinite(model._optimizer.slots).all()
    np.testing.assert_array_equal(round_trip(model, tmp_path).predict(X), model.predict(X))


def test_several_quantiles_are_predicted_in_order(tmp_path):
    model = MLPRegressor("quantile", (4,), quantile=[0.1, 0.5, 0.9], max_iter=2, random_state=0)
    other = round_trip(model.fit(X, X[:, 0]), tmp_path)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert other.score(X, X[:, 0]) == model.score(X, X[:, 0])


def test_given_weights_do_not_fill_the_header(tmp_path):
    rng = np.random.RandomState(0)
    shapes = [(4, 300), (300, 300), (300, 3)]
    given = (
        [rng.normal(size=shape).astype(np.float32) for shape in shapes],
        [rng.normal(size=shape[1]) for shape in shapes],
    )
    model = MLPClassifier((300, 300), weight_init=given, max_iter=1, random_state=0).fit(X, CODES)
    other = round_trip(model, tmp_path)
    assert (tmp_path / "model").stat().st_size < 5 * model._params.nbytes
    for arrays, others in zip(given, other.weight_init, strict=True):
        for array, same in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(same, array)
    np.testing.assert_equal(other.fit(X, CODES).coefs_, model.fit(X, CODES).coefs_)


def test_a_link_is_written_through_and_permissions_stay(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    model = classifier().fit(X, CODES)
    model.save(tmp_path / "link")
    (tmp_path / "file").chmod(0o600)
    model.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_39_replacing_is_all_or_nothing(tmp_path, monkeypatch):
    model, path = classifier().fit(X, CODES), tmp_path / "model"
    model.save(path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(_model_file.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        model.partial_fit(X, CODES).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_without_safetensors(tmp_path, monkeypatch):
    model = classifier().fit(X, CODES)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"fastmlp\[files\]"):
        model.save(tmp_path / "model")
    with pytest.raises(ImportError, match=r"fastmlp\[files\]"):
        fastmlp.load(tmp_path / "model")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        fastmlp.load(tmp_path / "model")


# -- damaged and hostile files ------------------------------------------------------------------


def parts_of(content):
    """The outer header, the JSON in its metadata, and the data."""
    end = 8 + int.from_bytes(content[:8], "little")
    outer = json.loads(content[8:end])
    return outer, json.loads(outer["__metadata__"]["fastmlp"]), content[end:]


def signed(outer, header, data, edit=str):
    """A file of this content with a right checksum: only the other checks can refuse it."""
    header["sha256"] = _model_file._NO_DIGEST
    text = json.dumps(header)
    raw = edit(json.dumps({**outer, "__metadata__": {"fastmlp": text}})).encode()
    raw += b" " * (-len(raw) % 8)
    content = len(raw).to_bytes(8, "little") + raw + data
    digest = _model_file._digest(content, 8 + len(raw), _model_file._NO_DIGEST)
    return content.replace(_model_file._NO_DIGEST.encode(), digest.encode(), 1)


def places_in(value, path=()):
    """The paths to all that can be exchanged in a JSON value."""
    if path:
        yield path
    children = enumerate(value) if isinstance(value, list) else ()
    children = value.items() if isinstance(value, dict) else children
    for key, child in children:
        yield from places_in(child, (*path, key))


# None of them is a value of any parameter or of anything that training makes.
HOSTILE = [
    "x" * 1000, {}, [[]], {"tuple": 3}, {"dict": [[[], 1]]}, {"random_state": [[], 1, 2, 3]},
    {"eval": "exit()"}, {"float": "1"}, [{"tuple": []}, 10**400],
]  # fmt: skip


def mutations(content, n):
    """Files that differ from a good one: by a flipped bit, their length, or what they claim."""
    rng = random.Random(0)
    outer, header, data = parts_of(content)
    assert signed(outer, header, data)
    found = 0
    while found < n:
        kind = found % 5
        if kind == 0:
            mutated = bytearray(content)
            mutated[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            mutated = content[: rng.randrange(len(content))]
        elif kind == 2:
            length = rng.choice([0, 1, 2**20, 2**31, 2**63, 2**64 - 1, rng.randrange(2**40)])
            mutated = length.to_bytes(8, "little") + content[8:]
        else:
            new_outer, new_header, _ = parts_of(content)
            target = new_outer if kind == 3 else new_header
            target.pop("__metadata__", None)
            inside = target["parameters" if found % 2 else "fitted"] if kind == 4 else target
            *path, last = rng.choice(list(places_in(inside)))
            for key in path:
                inside = inside[key]
            old, new = inside[last], rng.choice(HOSTILE)
            if new == old:
                continue
            inside[last] = new
            mutated = signed(new_outer, new_header, data)
        found += 1
        yield bytes(mutated)


def write_mutations(folder, n):
    """Write mutated files, and return their paths."""
    model = classifier(activation="prelu", early_stopping=True).fit(X, TARGETS["strings"])
    model.save(folder / "good")
    content = (folder / "good").read_bytes()
    paths = []
    for i, mutated in enumerate(mutations(content, n)):
        paths.append(folder / f"bad{i}")
        paths[-1].write_bytes(mutated)
    return paths


READ_ALL = """
import resource, sys
from pathlib import Path
import fastmlp
folder = Path(sys.argv[1])
fastmlp.load(folder / "good")
Path("/proc/self/clear_refs").write_text("5")
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
before = peak()
for path in sorted(folder.glob("bad*")):
    try:
        fastmlp.load(path)
    except fastmlp.ModelFormatError:
        print("refused")
    else:
        print(path.name, "was believed")
print(peak() - before, "kB")
"""


def test_39_mutated_files_are_refused_within_64_mb(tmp_path):
    paths = write_mutations(tmp_path, 200)
    # Lists and objects that take far more memory than text.
    outer, header, data = parts_of((tmp_path / "good").read_bytes())
    for i, filling in enumerate(("[],", "{},", "[[[[],[]]]],")):
        raw = b"[" + filling.encode() * ((1 << 20) // len(filling) - 2) + b"0]"
        (tmp_path / f"bad-large{i}").write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    raw = b"[" * (1 << 19)
    (tmp_path / "bad-deep").write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    # An array of a terabyte, of which the disk holds nothing.
    first = next(name for name in outer if name != "__metadata__")
    outer[first] = {"dtype": "F64", "shape": [2**37], "data_offsets": [0, 2**40]}
    sparse = tmp_path / "bad-sparse"
    sparse.write_bytes(signed(outer, header, b""))
    with sparse.open("r+b") as file:
        file.truncate(sparse.stat().st_size + 2**40)
    result = subprocess.run(
        [sys.executable, "-c", READ_ALL, tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    *verdicts, memory = result.stdout.splitlines()
    assert [verdict for verdict in verdicts if verdict != "refused"] == []
    assert len(verdicts) == len(paths) + 5
    assert int(memory.split()[0]) < 64 * 1024


def test_39_every_bit_counts(tmp_path):
    """Also one in a weight, which would leave another finite number."""
    MLPRegressor(hidden_layer_sizes=(1,), max_iter=1).fit(X[:20, :1], X[:20, 0]).save(
        tmp_path / "good"
    )
    content = (tmp_path / "good").read_bytes()
    for i in range(len(content)):
        mutated = bytearray(content)
        mutated[i] ^= 1 << i % 8  # one bit of each byte, in turn
        (tmp_path / "bad").write_bytes(mutated)
        with pytest.raises(ModelFormatError):
            fastmlp.load(tmp_path / "bad")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), 2, "its format is 2"),
        (("class",), "os.system", "unknown name"),
        (("parameters", "solver"), "newton", "'solver' parameter"),
        (("parameters", "hidden_layer_sizes"), [0], "hidden_layer_sizes"),
        (("parameters", "__class__"), 1, "unknown parameter"),
        (("fitted", "units"), [4, 2**30, 3], "must be of type F64"),
        (("fitted", "labels"), None, "a classifier has labels"),
        (("fitted", "loss"), "squared_error", None),
    ],
)
def test_claims_are_checked(path, value, message, tmp_path):
    classifier().fit(X, CODES).save(tmp_path / "model")
    outer, header, data = parts_of((tmp_path / "model").read_bytes())
    inside = header
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    (tmp_path / "model").write_bytes(signed(outer, header, data))
    if message is None:  # a loss that these layers may have
        assert fastmlp.load(tmp_path / "model").predict(X).shape == (N,)
        return
    with pytest.raises(ModelFormatError, match=message):
        fastmlp.load(tmp_path / "model")


@pytest.mark.parametrize("version", [0, 2, 10**6, -1, True, 1.0, "1", None, [1]])
def test_39_wrong_or_future_version(version, tmp_path):
    classifier().fit(X, CODES).save(tmp_path / "model")
    outer, header, data = parts_of((tmp_path / "model").read_bytes())
    header["format"] = version
    (tmp_path / "model").write_bytes(signed(outer, header, data))
    with pytest.raises(ModelFormatError, match="its format is"):
        fastmlp.load(tmp_path / "model")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["coefs.0", "intercepts.1", "slopes", "best_params"])
def test_39_weights_that_are_not_finite(name, bad, tmp_path):
    path = tmp_path / "model"
    classifier(activation="prelu", early_stopping=True).fit(X, CODES).save(path)
    outer, header, data = parts_of(path.read_bytes())
    start, data = outer[name]["data_offsets"][0], bytearray(data)
    data[start : start + 8] = np.float64(bad).tobytes()
    path.write_bytes(signed(outer, header, bytes(data)))
    with pytest.raises(ModelFormatError, match=f"{name} must be finite"):
        fastmlp.load(path)


@pytest.mark.parametrize(
    ("once", "twice"),
    [
        ('"coefs.0": {', '"coefs.0": {"dtype": "F64", "shape": [0], "data_offsets": [0, 0]}, '),
        ('"dtype": "F64"', '"dtype": "F64", '),
        ('"__metadata__": {', '"__metadata__": {"fastmlp": "{}"}, '),
        ('"fastmlp": "', '"fastmlp": "{}", '),
        (r"\"format\": 1", r"\"format\": 1, "),
        (r"\"solver\": \"adam\"", r"\"solver\": \"sgd\", "),
    ],
)
def test_39_duplicate_keys(once, twice, tmp_path):
    classifier().fit(X, CODES).save(tmp_path / "model")
    parts = parts_of((tmp_path / "model").read_bytes())

    def edit(text):
        assert once in text
        return text.replace(once, twice + once, 1)

    (tmp_path / "model").write_bytes(signed(*parts, edit))
    with pytest.raises(ModelFormatError, match="twice"):
        fastmlp.load(tmp_path / "model")


@pytest.mark.parametrize(
    "shape", [[2**63, 2], [2**32, 2**32], [2**61], [2**64], [-1, -24], [4, 6, 2**62], [10**400]]
)
def test_39_shape_that_overflows(shape, tmp_path):
    classifier().fit(X, CODES).save(tmp_path / "model")
    outer, header, data = parts_of((tmp_path / "model").read_bytes())
    outer["coefs.0"]["shape"] = shape
    (tmp_path / "model").write_bytes(signed(outer, header, data))
    with pytest.raises(ModelFormatError):
        fastmlp.load(tmp_path / "model")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_39_renamed_pickle_is_refused_and_never_read(protocol, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    (tmp_path / "model").write_bytes(pickle.dumps([Trap(), bytes(10_000)], protocol))
    with pytest.raises(ModelFormatError):
        fastmlp.load(tmp_path / "model")
    with pytest.raises(ModelFormatError):
        fastmlp.resume(tmp_path / "model", X, CODES)
    assert not (tmp_path / "executed").exists()
    # The trap would have sprung.
    pickle.loads((tmp_path / "model").read_bytes())
    assert (tmp_path / "executed").exists()


def test_39_nothing_is_pickled():
    for module in ("estimators/_model_file.py", "estimators/_encoding.py", "model_file.py"):
        source = (Path(fastmlp.__file__).parent / module).read_text(encoding="utf-8")
        assert not any(word in source for word in ("import pickle", "joblib", "eval(", "exec("))


# Some of them are valid here and there.
PLAUSIBLE = [
    None, True, -1, 0, 1, 3, 2**40, 0.5, 1e308, "", "relu", "adam", "loss", [], [1], {},
    {"float": "nan"}, {"float": "inf"}, {"tuple": [1, 2]}, {"dict": [[1, 2]]},
    {"array": ["coefs.0", [24]]}, {"array": ["coefs.0", [2**40, 2**40]]},
]  # fmt: skip


@pytest.mark.parametrize("kind", ["model", "fit"])
def test_whatever_is_read_works(kind, tmp_path):
    """Each value of a signed file in turn becomes another: it is refused, or the model predicts."""
    path = tmp_path / kind
    model = classifier(activation="prelu", warmup_steps=2, class_weight="balanced")
    model.set_params(callbacks=[fastmlp.Checkpoint(path, every=3)], early_stopping=kind == "fit")
    model.fit(X, CODES)
    if kind == "model":
        model.save(path)
    outer, good, data = parts_of(path.read_bytes())
    n_read = n_resumed = n_refused = 0
    for place in places_in(good):
        if place[-1] not in (*range(1, 620), "sha256"):  # of the 624 words, a few
            for value in PLAUSIBLE:
                _, header, _ = parts_of(path.read_bytes())
                inside = header
                for key in place[:-1]:
                    inside = inside[key]
                inside[place[-1]] = value
                (tmp_path / "other").write_bytes(signed(outer, header, data))
                try:
                    other = fastmlp.load(tmp_path / "other")
                except ModelFormatError:
                    n_refused += 1
                    continue
                n_read += 1
                assert other.predict(X[:3]).shape == (3,)
                assert np.isfinite(other.predict_proba(X[:3])).all()
                if kind == "fit" and place[0] != "parameters":
                    try:
                        fastmlp.resume(tmp_path / "other", X, CODES)
                    except ValueError:  # other data, or a fit that cannot succeed
                        continue
                    n_resumed += 1
    assert n_refused > 1000
    assert n_read > 100
    assert (n_resumed > 10) == (kind == "fit")


# -- files of earlier versions ------------------------------------------------------------------

RELEASED = sorted(DATA.glob("*.fastmlp"))


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_files_of_releases_load(path):
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    model = fastmlp.load(path)
    inputs = np.array(expected["X"])
    if isinstance(model, MLPClassifier):
        assert model.predict(inputs).astype(str).tolist() == expected["labels"]
        outputs = model.predict_proba(inputs)
    else:
        outputs = model.predict(inputs)
    # Another machine may round its sums differently.
    np.testing.assert_allclose(outputs, expected["outputs"], rtol=1e-12)


def test_there_is_a_file_of_each_release():
    version = fastmlp.__version__
    assert {f"classifier-{version}", f"regressor-{version}"} <= {path.stem for path in RELEASED}
