"""Real data to try fastmlp on: scikit-learn's small sets, Fashion-MNIST, and CSV files.

Every loader returns a :class:`Dataset`, and raises :class:`DatasetError` with a message of one line
when the data cannot be used. Features are neither scaled nor shuffled here.
"""

from __future__ import annotations

import gzip
import socket
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetError",
    "load_breast_cancer",
    "load_csv",
    "load_dataset",
    "load_diabetes",
    "load_digits",
    "load_fashion",
]

Task = Literal["classification", "regression"]

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
OPENML_TIMEOUT = 10.0  # seconds without an answer
MAX_INTEGER_CLASSES = 20


class DatasetError(ValueError):
    """The data cannot be had or cannot be used; the message says why in one line."""


@dataclass(frozen=True)
class Dataset:
    """Data for one supervised task.

    Attributes
    ----------
    name : str
        Name for people.
    X : ndarray of shape (n_samples, n_features)
        Features, finite numbers.
    y : ndarray of shape (n_samples,)
        Class labels, or float64 values of a regression.
    task : {"classification", "regression"}
        What is to be learned.
    """

    name: str
    X: NDArray[Any]
    y: NDArray[Any]
    task: Task


def load_digits() -> Dataset:
    """Load scikit-learn's digits: 1797 images of 8 × 8 pixels, 10 classes.

    Returns
    -------
    Dataset
        Features are pixels from 0 to 16.
    """
    from sklearn import datasets

    X, y = datasets.load_digits(return_X_y=True)
    return Dataset("digits", X, y, "classification")


def load_breast_cancer() -> Dataset:
    """Load scikit-learn's breast cancer data: 569 tumours, 30 features, 2 classes.

    Returns
    -------
    Dataset
        Class 0 is malignant, 1 benign.
    """
    from sklearn import datasets

    X, y = datasets.load_breast_cancer(return_X_y=True)
    return Dataset("breast_cancer", X, y, "classification")


def load_diabetes() -> Dataset:
    """Load scikit-learn's diabetes data: 442 patients, 10 features, a regression.

    Returns
    -------
    Dataset
        The target is the progression of the disease after one year, from 25 to 346.
    """
    from sklearn import datasets

    X, y = datasets.load_diabetes(return_X_y=True)
    return Dataset("diabetes", X, y, "regression")


def load_fashion() -> Dataset:
    """Load Fashion-MNIST: 70,000 images of 28 × 28 pixels, 10 classes of clothing.

    The files of Debian's package ``dataset-fashion-mnist`` are used where they are installed;
    otherwise the data comes from OpenML through scikit-learn, which keeps a copy in its data
    folder.

    Returns
    -------
    Dataset
        Features are pixels from 0 to 255 as uint8. The first 60,000 rows are the part meant for
        training, the last 10,000 the part meant for testing.

    Raises
    ------
    DatasetError
        If the data is neither installed nor to be had from OpenML.
    """
    if FASHION_FOLDER.is_dir():
        try:
            images = [_read_idx(FASHION_FOLDER / f"{part}-images-idx3-ubyte.gz") for part in _PARTS]
            labels = [_read_idx(FASHION_FOLDER / f"{part}-labels-idx1-ubyte.gz") for part in _PARTS]
        except (OSError, EOFError, ValueError, struct.error) as error:
            raise DatasetError(f"the files in {FASHION_FOLDER} are damaged: {error}") from error
        X, y = np.concatenate(images), np.concatenate(labels)
        return Dataset("fashion", X.reshape(len(X), -1), y, "classification")

    from sklearn.datasets import fetch_openml

    try:
        with _socket_timeout(OPENML_TIMEOUT), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of every retry
            X, y = fetch_openml(
                "Fashion-MNIST", version=1, as_frame=False, return_X_y=True, n_retries=1
            )
    except (OSError, ImportError, ValueError) as error:
        raise DatasetError(
            "Fashion-MNIST is not here: install Debian's package dataset-fashion-mnist, or connect "
            f"to the internet so that it can be fetched from OpenML ({_one_line(error)})"
        ) from error
    return Dataset("fashion", X.astype(np.uint8), y.astype(np.uint8), "classification")


def load_csv(path: str | Path, target: str, task: Task | None = None) -> Dataset:
    """Load a CSV file (UTF-8, commas, one line of column names) whose other columns are numbers.

    Parameters
    ----------
    path : str or Path
        The file; compressed files are recognised by their ending, such as ``.gz``.
    target : str
        Name of the column to predict. All other columns are features.
    task : {"classification", "regression"} or None
        What is to be learned. None: a classification if the target is not numeric, or if it holds
        integers with at most 20 different values; otherwise a regression.

    Returns
    -------
    Dataset
        Features as float64. Class labels as they are in the file, as text if not integers;
        the target of a regression as float64.

    Raises
    ------
    DatasetError
        If the file cannot be read, has no such column or no rows, or holds anything but finite
        numbers in a column that must be numeric.
    """
    path = Path(path)
    frame = _read_frame(path)
    if target not in frame.columns:
        raise DatasetError(f"no column {target!r} in {path}; {_list_columns(frame)}")
    if frame.empty:
        raise DatasetError(f"{path} has no rows")
    y = frame.pop(target)
    if frame.shape[1] == 0:
        raise DatasetError(f"{path} has no column besides the target {target!r}")
    if y.isna().any():
        raise DatasetError(f"the target {target!r} has {_count_missing(y)}")
    if task is None:
        is_few_integers = y.dtype.kind in "biu" and y.nunique() <= MAX_INTEGER_CLASSES
        is_regression = y.dtype.kind in "biuf" and not is_few_integers
        task = "regression" if is_regression else "classification"
    if task == "regression":
        values = _as_floats(y, f"the target {target!r}")
    else:
        values = _as_labels(y, target)
    X = np.column_stack([_as_floats(frame[name], f"column {name!r}") for name in frame.columns])
    return Dataset(path.name, np.ascontiguousarray(X), values, task)


DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
    "diabetes": load_diabetes,
    "fashion": load_fashion,
}


def load_dataset(data: str, target: str | None = None, task: Task | None = None) -> Dataset:
    """Load a data set by its name or from a CSV file.

    Parameters
    ----------
    data : str
        A key of ``DATASETS``, or the path of a CSV file.
    target : str or None
        Name of the column to predict; needed for a CSV file, and for nothing else.
    task : {"classification", "regression"} or None
        What is to be learned from a CSV file, see `load_csv`.

    Returns
    -------
    Dataset
        The data.

    Raises
    ------
    DatasetError
        If there is no such data set or file, or if it cannot be used.
    """
    if data in DATASETS:
        if target is not None or task is not None:
            raise DatasetError(f"a target column or a task is for CSV files only, not for {data!r}")
        return DATASETS[data]()
    path = Path(data)
    if not path.exists():
        if path.suffix or path.name != data:
            raise DatasetError(f"no such file: {data}")
        raise DatasetError(
            f"unknown data set {data!r}; known are {', '.join(DATASETS)}, or the path of a CSV file"
        )
    if target is None:
        columns = _list_columns(_read_frame(path))
        raise DatasetError(f"a CSV file needs a target (--target COLUMN); {columns}")
    return load_csv(path, target, task)


# Fashion-MNIST -------------------------------------------------------------------------------

_PARTS = ("train", "t10k")


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one file of the IDX format: big-endian magic number and shape, then bytes."""
    with gzip.open(path) as file:
        content = file.read()
    _, kind, n_dims = struct.unpack_from(">HBB", content)
    shape = struct.unpack_from(f">{n_dims}I", content, 4)
    if kind != 8:
        raise ValueError(f"{path.name} does not hold bytes")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dims).reshape(shape)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Limit the wait for an answer: fetch_openml has no parameter for it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


# CSV files -----------------------------------------------------------------------------------


def _read_frame(path: Path) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise DatasetError("CSV files need pandas: pip install 'fastmlp[cli]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, index_col=False)
    except FileNotFoundError as error:
        raise DatasetError(f"no such file: {path}") from error
    except IsADirectoryError as error:
        raise DatasetError(f"{path} is a folder, not a CSV file") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text") from error
    except pd.errors.EmptyDataError as error:
        raise DatasetError(f"{path} is empty") from error
    except (OSError, EOFError, ValueError, pd.errors.ParserWarning) as error:
        raise DatasetError(f"cannot read {path}: {_one_line(error)}") from error


def _as_floats(column: Any, what: str) -> NDArray[np.float64]:
    if column.isna().any():
        raise DatasetError(f"{what} has {_count_missing(column)}")
    if column.dtype.kind not in "biuf":
        raise DatasetError(f"{what} is not numeric: it holds {_first_text(column)!r}")
    values = column.to_numpy(np.float64)
    if not np.isfinite(values).all():
        raise DatasetError(f"{what} holds infinite values")
    return values


def _as_labels(column: Any, target: str) -> NDArray[Any]:
    if column.nunique() < 2:
        raise DatasetError(f"the target {target!r} has one value only, {str(column.iloc[0])!r}")
    return column.to_numpy() if column.dtype.kind in "iu" else column.astype(str).to_numpy(str)


def _first_text(column: Any) -> str:
    """Return the first value that is no number, shortened."""
    for value in column:
        try:
            float(value)
        except (OverflowError, TypeError, ValueError):
            break
    return str(value)[:40]


def _count_missing(column: Any) -> str:
    n_missing = int(column.isna().sum())
    return f"{n_missing} missing value{'s' if n_missing > 1 else ''}"


def _list_columns(frame: Any, limit: int = 10) -> str:
    names = [repr(name) for name in frame.columns[:limit]]
    return f"its columns are {', '.join(names)}{', …' if frame.shape[1] > limit else ''}"


def _one_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
