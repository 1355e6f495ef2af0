"""The loaders: what they return, and one clear line when they cannot."""

import gzip
import re
import struct
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets

from fastmlp import datasets
from fastmlp.datasets import DatasetError, load_csv, load_dataset


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("name", "shape", "task"),
    [
        ("digits", (1797, 64), "classification"),
        ("breast_cancer", (569, 30), "classification"),
        ("diabetes", (442, 10), "regression"),
    ],
)
def test_bundled(name, shape, task):
    dataset = load_dataset(name)
    assert (dataset.name, dataset.X.shape, dataset.task) == (name, shape, task)
    assert dataset.y.shape == shape[:1]


# Fashion-MNIST


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    with gzip.open(path, "wb") as file:
        file.write(header + array.tobytes())


@pytest.fixture
def fashion_folder(tmp_path, monkeypatch):
    """A folder like that of Debian's package, with 6 + 2 images."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 6), ("t10k", 2)):
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8))
    monkeypatch.setattr(datasets, "FASHION_FOLDER", tmp_path)
    return tmp_path


def test_fashion_from_files(fashion_folder):
    dataset = load_dataset("fashion")
    assert dataset.X.shape == (8, 784)
    assert dataset.X.dtype == np.uint8
    np.testing.assert_array_equal(dataset.y, [0, 1, 2, 3, 4, 5, 0, 1])
    first = np.random.default_rng(0).integers(0, 256, (6, 28, 28))
    np.testing.assert_array_equal(dataset.X[:6], first.reshape(6, 784))


@pytest.mark.parametrize("damage", [b"", b"not a gzip file", gzip.compress(b"\0\0")])
def test_fashion_from_damaged_files(fashion_folder, damage):
    (fashion_folder / "train-images-idx3-ubyte.gz").write_bytes(damage)
    with pytest.raises(DatasetError, match=r"the files in .* are damaged"):
        load_dataset("fashion")


def test_fashion_from_openml(tmp_path, monkeypatch):
    def fetch_openml(name, **arguments):
        assert name == "Fashion-MNIST"
        return np.ones((3, 784)), np.array(["9", "0", "1"])

    monkeypatch.setattr(datasets, "FASHION_FOLDER", tmp_path / "missing")
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    dataset = load_dataset("fashion")
    assert dataset.X.dtype == np.uint8
    np.testing.assert_array_equal(dataset.y, [9, 0, 1])


def test_fashion_from_nowhere(tmp_path, monkeypatch):
    def fetch_openml(name, **arguments):
        raise URLError("no network")

    monkeypatch.setattr(datasets, "FASHION_FOLDER", tmp_path / "missing")
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    with pytest.raises(DatasetError, match=r"install Debian's package .* \(.*no network.*\)"):
        load_dataset("fashion")


@pytest.mark.skipif(
    not datasets.FASHION_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed"
)
def test_fashion_installed():
    dataset = load_dataset("fashion")
    assert dataset.X.shape == (70_000, 784)
    np.testing.assert_array_equal(np.bincount(dataset.y), np.full(10, 7000))


# CSV files


def test_csv_text_target_is_a_classification(write):
    dataset = load_csv(write("a,kind,b\n1,x,2.5\n3,y,-4\n"), "kind")
    assert dataset.task == "classification"
    np.testing.assert_array_equal(dataset.X, [[1, 2.5], [3, -4]])
    assert dataset.X.dtype == np.float64
    assert dataset.X.flags.c_contiguous
    np.testing.assert_array_equal(dataset.y, ["x", "y"])


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1, 1], "classification"),
        (["True", "False", "True"], "classification"),
        (range(20), "classification"),
        (range(21), "regression"),
        ([0.5, 1.5, 2.5], "regression"),
        ([1.0, 2.0, 1.0], "regression"),
    ],
)
def test_csv_task_by_target(write, values, task):
    dataset = load_csv(write("x,y\n" + "".join(f"1,{value}\n" for value in values)), "y")
    assert dataset.task == task
    assert (dataset.y.dtype == np.float64) == (task == "regression")


def test_csv_task_by_choice(write):
    path = write("x,y\n1,0\n2,1\n3,1\n")
    np.testing.assert_array_equal(load_csv(path, "y", "regression").y, [0.0, 1.0, 1.0])
    path = write("x,y\n1,0.5\n2,1.5\n")
    np.testing.assert_array_equal(load_csv(path, "y", "classification").y, ["0.5", "1.5"])


def test_csv_compressed_and_quoted(write):
    content = 'x,"the, target"\n1,"a ""b"""\n2,c\n'
    dataset = load_csv(write(gzip.compress(content.encode()), "data.csv.gz"), "the, target")
    np.testing.assert_array_equal(dataset.y, ['a "b"', "c"])


def test_csv_with_byte_order_mark(write):
    dataset = load_csv(write("\ufeffy,x\n0,1\n1,2\n"), "y")
    np.testing.assert_array_equal(dataset.y, [0, 1])


BAD_FILES = {
    "no such column": ("a,b\n1,2\n", "no column 'y' in .*; its columns are 'a', 'b'"),
    "many columns": (",".join(f"c{i}" for i in range(12)), "columns are 'c0', .*, 'c9', …"),
    "text": ("x,y\n1,0\nred,1\n", "column 'x' is not numeric: it holds 'red'"),
    "missing feature": ("x,y\n,0\n,1\n3,1\n", "column 'x' has 2 missing values"),
    "missing target": ("x,y\n1,\n2,1\n", "the target 'y' has 1 missing value"),
    "infinite": ("x,y\n1,0\ninf,1\n", "column 'x' holds infinite values"),
    "huge": (f"x,y\n1,0\n{10**400},1\n", "column 'x' is not numeric"),
    "empty": ("", "data.csv is empty"),
    "no rows": ("x,y\n", "data.csv has no rows"),
    "no features": ("y\n1\n2\n", "no column besides the target 'y'"),
    "one class": ("x,y\n1,a\n2,a\n", "the target 'y' has one value only, 'a'"),
    "not UTF-8": ("x,y\n1,é\n".encode("latin-1"), "data.csv is not UTF-8 text"),
    "ragged": ("x,y\n1,0\n1,2,3\n", "cannot read .*data.csv: "),
    "all ragged": ("x,y\n1,2,3\n1,2,3\n", "cannot read .*data.csv: "),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_csv(write, case):
    content, message = BAD_FILES[case]
    with pytest.raises(DatasetError, match=message) as caught:
        load_csv(write(content), "y")
    assert "\n" not in str(caught.value)


def test_bad_csv_regression_of_text(write):
    with pytest.raises(DatasetError, match="the target 'y' is not numeric: it holds 'a'"):
        load_csv(write("x,y\n1,a\n2,b\n"), "y", "regression")


def test_bad_csv_truncated(write):
    path = write(gzip.compress(b"x,y\n1,2\n" * 1000)[:-20], "data.csv.gz")
    with pytest.raises(DatasetError, match="cannot read"):
        load_csv(path, "y")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("iris",), "unknown data set 'iris'; known are digits, breast_cancer, diabetes, fashion"),
        (("missing.csv", "y"), "no such file: missing.csv"),
        (("folder/missing", "y"), "no such file: folder/missing"),
        (("digits", "y"), "for CSV files only, not for 'digits'"),
        (("digits", None, "regression"), "for CSV files only, not for 'digits'"),
    ],
)
def test_bad_names(arguments, message):
    with pytest.raises(DatasetError, match=re.escape(message)):
        load_dataset(*arguments)


def test_csv_needs_a_target(write):
    with pytest.raises(DatasetError, match=r"needs a target \(.*\); its columns are 'a', 'b'"):
        load_dataset(str(write("a,b\n1,2\n")))


def test_folder_is_no_csv(tmp_path):
    with pytest.raises(DatasetError, match="is a folder, not a CSV file"):
        load_dataset(str(tmp_path), "y")
