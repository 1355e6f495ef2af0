"""Model files: arrays as safetensors, all else as JSON in its metadata, nothing that is executed.

docs/guide/model_files.rst describes the format. A file is checked from the outside to the inside:
its size, its checksum, the types of its JSON, and the shape that the layers give to each array.
Nothing is taken from it before.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import check_scoring
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from fastmlp.estimators._encoding import (
    DTYPE_NAMES,
    DTYPES,
    ModelFormatError,
    as_count,
    as_finite,
    as_list,
    as_number,
    decoded,
    decoded_schedule,
    encoded,
    encoded_schedule,
    of_kind,
    one_of,
    pack_classes,
    pack_texts,
    unpack_classes,
    unpack_texts,
)
from fastmlp.estimators._validation import (
    validate_activation_slopes,
    validate_activations,
    validate_dropout,
    validate_hidden_layer_sizes,
    validate_parameters,
)
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.optimizers import OPTIMIZERS
from fastmlp.training.engine import OptimizerState
from fastmlp.training.network import NetworkLayout
from fastmlp.training.trainer import Progress, Stop

__all__ = ["ModelFormatError", "read_model", "remove_leftovers", "write_model"]

Floats = NDArray[Any]
Path_ = str | os.PathLike[str]

FORMAT = 1
# All that grows with the model is an array. JSON takes up to thirty times its size in memory.
MAX_HEADER_BYTES = 1 << 20
# Of arrays whose length the layers do not tell.
MAX_LENGTH = 1 << 28
_NO_DIGEST = "0" * 64
_CURVES = ("loss_curve", "learning_rate_curve", "validation_loss_curve", "validation_scores")
_COUNTS = ("n_iter", "samples_seen", "no_improvement_count")
_NUMBERS = (
    "loss", "best_loss", "learning_rate", "validation_loss", "validation_score",
    "best_validation_score",
)  # fmt: skip
# Watching a fit is no property of the model.
_NOT_STORED = ("callbacks",)


# -- writing ------------------------------------------------------------------------------------


def write_model(model: Any, path: Path_, checkpoint: Mapping[str, Any] | None = None) -> None:
    """Write a fitted model to a file, which is there completely or not at all.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
        The fitted model. Not modified.
    path : str or path-like
        The file. An existing one is replaced.
    checkpoint : mapping or None, default=None
        What else it takes to go on with a fit: arrays, and values that become JSON.

    Raises
    ------
    TypeError
        If a parameter or a label is nothing that a file can hold, or if the model is of a class of
        the user's, which `read_model` could not know.
    ValueError
        If a parameter is invalid or a weight is not finite: what could not be read is not written.
    ImportError
        If safetensors is not installed.
    """
    if not type(model).__module__.startswith("fastmlp."):
        raise TypeError(
            "A model file holds an MLPClassifier or an MLPRegressor, got an instance of "
            f"{type(model).__qualname__}."
        )
    check_is_fitted(model)
    _check_parameters(model)
    if not np.isfinite(model._parameters()).all():
        raise ValueError("A weight is not finite, which a model file does not hold.")
    save = _safetensors().save
    tensors: dict[str, Floats] = {}
    header = {
        "sha256": _NO_DIGEST,
        "format": FORMAT,
        "class": type(model).__name__,
        "parameters": {
            name: encoded(value, name, tensors)
            for name, value in model.get_params(deep=False).items()
            if name not in _NOT_STORED
        },
        "fitted": _fitted(model, tensors),
        "checkpoint": None,
    }
    if checkpoint is not None:
        header["checkpoint"] = _pack_checkpoint(checkpoint, tensors)
    text = json.dumps(header, separators=(",", ":"), allow_nan=False)
    content = save(tensors, metadata={"fastmlp": text})
    header_size = int.from_bytes(content[:8], "little")
    if header_size > MAX_HEADER_BYTES:
        raise ValueError(
            f"The parameters take {header_size} bytes as JSON; a model file holds at most "
            f"{MAX_HEADER_BYTES}."
        )
    digest = _digest(content, 8 + header_size, _NO_DIGEST)
    end = content.index(_NO_DIGEST.encode()) + len(digest)
    start = end - len(digest)
    # After a power cut, the checkpoint before will do.
    _replace(path, (content[:start], digest.encode(), content[end:]), lasts=checkpoint is None)


def _fitted(model: Any, tensors: dict[str, Floats]) -> dict[str, Any]:
    """Return the JSON of all that training has made, and add its arrays."""
    layout, params = model._layout, model._parameters()
    coefs, intercepts = layout.unpack(params)
    for i, (weights, biases) in enumerate(zip(coefs, intercepts, strict=True)):
        tensors[f"coefs.{i}"], tensors[f"intercepts.{i}"] = weights, biases
    for i, pair in zip(layout.normalised, layout.unpack_norms(params), strict=True):
        tensors[f"norm_scales.{i}"], tensors[f"norm_offsets.{i}"] = pair
    if layout.learned_slopes:
        tensors["slopes"] = layout.unpack_slopes(params)
    progress = model._progress
    for name in _CURVES:
        if getattr(progress, name) is not None:
            tensors[name] = np.array(getattr(progress, name), np.float64)
    if progress.best_params is not None:
        tensors["best_params"] = progress.best_params
    optimizer = model._optimizer
    if optimizer is not None:
        tensors["optimizer"] = optimizer.slots
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        pack_texts("feature_names", [str(name) for name in names], tensors)
    labels = None
    if hasattr(model, "classes_"):
        binarizer = model._label_binarizer
        labels = {
            "kind": pack_classes(model.classes_, tensors),
            "target_type": binarizer.y_type_,
            "is_sparse": bool(binarizer.sparse_input_),
        }
    return {
        "dtype": DTYPE_NAMES[params.dtype],
        "units": [int(width) for width in layout.units],
        "activations": [encoded(name, "activation") for name in layout.activations],
        "slopes": [encoded(slope, "activation_slope") for slope in layout.slopes],
        "loss": encoded(layout.loss, "loss"),
        "output_init": encoded(layout.output_init, "activation"),
        "loss_parameters": [float(number) for number in layout.loss_parameters],
        "norms": list(layout.norms),
        "dropout": list(layout.dropout),
        "labels": labels,
        "progress": {name: encoded(getattr(progress, name), name) for name in (*_COUNTS, *_NUMBERS)}
        | {"stop": progress.stop.value if progress.stop else None},
        "optimizer": optimizer and {"name": optimizer.name, "count": int(optimizer.count[0])},
        "schedule": encoded_schedule(model._schedule),
    }


def _pack_checkpoint(checkpoint: Mapping[str, Any], tensors: dict[str, Floats]) -> dict[str, Any]:
    row = {}
    for name, value in checkpoint.items():
        if isinstance(value, np.ndarray):
            tensors[f"checkpoint.{name}"] = value.astype(np.int64)  # as the format says
        else:
            row[name] = encoded(value, name)
    return row


def _digest(content: bytes, header_end: int, digest: str) -> str:
    """Return the SHA-256 of a file's content in which there are zeros for the digest."""
    header = content[:header_end].replace(digest.encode(), _NO_DIGEST.encode(), 1)
    result = hashlib.sha256(header)
    result.update(memoryview(content)[header_end:])
    return result.hexdigest()


def _replace(path: Path_, parts: Iterable[bytes], *, lasts: bool) -> None:
    """Put a file in the place of another, whatever happens on the way.

    After a power cut the one or the other is there; the new one if it `lasts`, which takes longer.
    """
    target = Path(path).resolve()  # a link is written through
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            if target.exists():  # before anything is in it
                temporary.chmod(target.stat().st_mode & 0o7777)
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if not lasts:
        return
    # The directory, too, must know of it.
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove_leftovers(path: Path_) -> None:
    """Remove what processes that were killed while they wrote a file left beside it.

    Parameters
    ----------
    path : str or path-like
        A file that no other process is writing.
    """
    target = Path(path).resolve()
    for leftover in target.parent.glob(f".{glob.escape(target.name[:100])}.{'[0-9a-f]' * 16}.tmp"):
        leftover.unlink(missing_ok=True)


def _safetensors() -> Any:
    try:
        from safetensors import numpy as safetensors
    except ImportError as error:
        raise ImportError(
            "Model files need the package safetensors: pip install 'fastmlp[files]'"
        ) from error
    return safetensors


# -- reading ------------------------------------------------------------------------------------


def read_model(path: Path_, classes: Mapping[str, type]) -> tuple[Any, dict[str, Any] | None]:
    """Read a model from a file.

    Parameters
    ----------
    path : str or path-like
        The file.
    classes : mapping of str to type
        The estimators that it may hold.

    Returns
    -------
    model : estimator
        The fitted model.
    checkpoint : dict or None
        What `write_model` was given.

    Raises
    ------
    ModelFormatError
        If anything about the file is not as it must be.
    OSError
        If it cannot be read.
    ImportError
        If safetensors is not installed.
    """
    load = _safetensors().load
    try:
        with Path(path).open("rb") as file:
            header, content = _checked_content(file)
        return _model(header, load(content), classes)
    except ModelFormatError as error:
        raise ModelFormatError(f"{path} is no model file of fastmlp: {error}.") from None
    except (
        ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
        ValueError,
    ) as error:  # fmt: skip
        raise ModelFormatError(f"{path} is no model file of fastmlp: {error!r:.200}.") from error


def _checked_content(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Return the JSON and the whole content, which is read only if its size is as it must be."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    header_size = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= header_size <= min(MAX_HEADER_BYTES, size - 8):
        raise ModelFormatError("the length of the header is not possible")
    raw = file.read(header_size)
    outer = of_kind(_parsed(raw), dict, "the header")
    metadata = of_kind(outer.pop("__metadata__"), dict, "the metadata")
    kinds, ends = {}, [0]
    for name, entry in outer.items():
        shape = tuple(as_count(length) for length in as_list(entry["shape"]))
        dtype = one_of(entry["dtype"], DTYPES)
        begin, end = (as_count(offset, size) for offset in as_list(entry["data_offsets"]))
        if end - begin != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
            raise ModelFormatError(f"the shape of {name!r:.80} does not fit its size")
        kinds[name] = (dtype, shape)
        ends.append(end)
    if 8 + header_size + max(ends) != size:
        raise ModelFormatError(f"it must be of {8 + header_size + max(ends)} bytes, not {size}")
    header = of_kind(
        _parsed(of_kind(metadata["fastmlp"], str, "the metadata")), dict, "the metadata"
    )
    if header["format"] != FORMAT or type(header["format"]) is not int:
        raise ModelFormatError(
            f"its format is {header['format']!r:.20}, this version knows {FORMAT}"
        )
    _check_kinds(kinds, of_kind(header["fitted"], dict, "the fitted state"), header["checkpoint"])
    content = start + raw + file.read(size - 8 - header_size)
    digest = of_kind(header["sha256"], str, "the checksum")
    if len(digest) != 64 or _digest(content, 8 + header_size, digest) != digest:
        raise ModelFormatError("its checksum is wrong: it was damaged or changed")
    return header, content


def _parsed(text: str | bytes) -> Any:
    """Return JSON, in which no key may stand twice: readers would not agree on which one counts."""
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ModelFormatError("a key stands there twice")
    return result


def _model(
    header: dict[str, Any], tensors: Mapping[str, Floats], classes: Mapping[str, type]
) -> tuple[Any, dict[str, Any] | None]:
    cls: Any = classes[one_of(header["class"], classes)]
    model = _unfitted(cls, of_kind(header["parameters"], dict, "the parameters"), tensors)
    fitted = header["fitted"]
    layout = _layout(fitted)
    for name, array in tensors.items():
        # Not of the optimizer: after a divergence its memory may be infinite, the weights are not.
        is_parameter = name.startswith(("coefs.", "intercepts.", "norm_"))
        is_parameter |= name in ("slopes", "best_params")
        if is_parameter and not np.isfinite(array).all():
            raise ModelFormatError(f"{name} must be finite")
    _label(model, layout, fitted["labels"], tensors)
    model.n_features_in_, model.n_layers_ = layout.units[0], len(layout.units)
    if "feature_names" in tensors:
        names = unpack_texts("feature_names", tensors)
        if len(names) != layout.units[0]:
            raise ModelFormatError("there must be one name per feature")
        model.feature_names_in_ = np.array(names, object)
    n_layers = range(layout.n_layers)
    params = layout.pack(
        [tensors[f"coefs.{i}"] for i in n_layers],
        [tensors[f"intercepts.{i}"] for i in n_layers],
        tensors.get("slopes", np.empty(0)),
        DTYPES[fitted["dtype"]],
        [(tensors[f"norm_scales.{i}"], tensors[f"norm_offsets.{i}"]) for i in layout.normalised],
    )
    model._layout = layout
    model._hold(params)
    model._progress = _progress(of_kind(fitted["progress"], dict, "the progress"), tensors)
    model._optimizer = None
    if (optimizer := fitted["optimizer"]) is not None:
        count = np.array([as_count(optimizer["count"])], np.int64)
        model._optimizer = OptimizerState(optimizer["name"], tensors["optimizer"].copy(), count)
    schedule = fitted["schedule"]
    model._schedule = None if schedule is None else decoded_schedule(schedule)
    model._publish()
    return model, _unpack_checkpoint(header["checkpoint"], tensors)


def _unfitted(cls: Any, parameters: dict[str, Any], tensors: Mapping[str, Floats]) -> Any:
    """Return an estimator with checked parameters; one that an older version lacks is default."""
    model = cls()
    for name, value in parameters.items():
        if name in _NOT_STORED or name not in model.get_params(deep=False):
            raise ModelFormatError(f"unknown parameter {name!r:.80}")
        setattr(model, name, decoded(value, tensors))
    _check_parameters(model)
    _check_class_weight(getattr(model, "class_weight", None))
    return model


def _check_parameters(model: Any) -> None:
    """Make the checks that need no data, as `fit` does."""
    validate_parameters(model, model._constraints)
    hidden = validate_hidden_layer_sizes(model.hidden_layer_sizes)
    hidden_activations = [name for name, row in ACTIVATIONS.items() if row.is_hidden]
    validate_activations(model.activation, len(hidden), hidden_activations)
    validate_activation_slopes(model.activation_slope, len(hidden))
    validate_dropout(model.dropout, len(hidden))
    if model.scoring not in (None, "loss"):
        check_scoring(model, model.scoring)


def _check_class_weight(value: Any) -> None:
    for row in value if isinstance(value, list) else [value]:
        if row is None or row == "balanced":
            continue
        if not isinstance(row, dict) or any(as_finite(weight) < 0 for weight in row.values()):
            raise ModelFormatError("class_weight must hold weights that are not negative")


def _layout(fitted: dict[str, Any]) -> NetworkLayout:
    units = tuple(as_count(width, 2**31, 1) for width in as_list(fitted["units"]))
    activations = tuple(one_of(name, ACTIVATIONS) for name in as_list(fitted["activations"]))
    slopes = tuple(
        None if slope is None else as_finite(slope) for slope in as_list(fitted["slopes"])
    )
    loss = one_of(fitted["loss"], LOSSES)
    if len(units) < 2 or not len(activations) == len(slopes) == len(units) - 1:
        raise ModelFormatError("there must be one activation and one slope per layer")
    if not all(ACTIVATIONS[name].is_hidden for name in activations[:-1]):
        raise ModelFormatError("a hidden layer has the activation of an output")
    if LOSSES[loss].output_activation not in (None, activations[-1]):
        raise ModelFormatError("loss and output activation do not fit")
    loss_parameters = tuple(
        as_finite(number) for number in as_list(fitted.get("loss_parameters", []))
    )
    if len(loss_parameters) not in (0, 1, units[-1]):
        raise ModelFormatError("there must be one parameter of the loss, or one per output")
    norms = tuple(of_kind(value, bool, "norms") for value in as_list(fitted.get("norms", [])))
    dropout = tuple(as_finite(rate) for rate in as_list(fitted.get("dropout", [])))
    if not {len(norms), len(dropout)} <= {0, len(units) - 1} or any(norms[-1:] + dropout[-1:]):
        raise ModelFormatError("norms and dropout are of the hidden layers")
    if not all(0 <= rate < 1 for rate in dropout):
        raise ModelFormatError("dropout must be in [0, 1)")
    return NetworkLayout(
        units,
        activations,
        slopes,
        loss,
        one_of(fitted["output_init"], ACTIVATIONS),
        loss_parameters,
        norms,
        dropout,
    )


def _check_kinds(
    kinds: Mapping[str, tuple[str, tuple[int, ...]]], fitted: dict[str, Any], checkpoint: Any
) -> None:
    """Compare the arrays of the file with those that a network of these layers has."""
    layout, dtype = _layout(fitted), one_of(fitted["dtype"], ("F32", "F64"))
    wanted: dict[str, tuple[int, ...]] = {}
    for i, (fan_in, fan_out) in enumerate(layout.shapes):
        wanted[f"coefs.{i}"], wanted[f"intercepts.{i}"] = (fan_in, fan_out), (fan_out,)
    for i in layout.normalised:
        wanted[f"norm_scales.{i}"] = wanted[f"norm_offsets.{i}"] = (layout.units[i + 1],)
    if layout.learned_slopes:
        wanted["slopes"] = (len(layout.learned_slopes),)
    if (optimizer := fitted["optimizer"]) is not None:
        wanted["optimizer"] = (OPTIMIZERS[optimizer["name"]].n_slots, layout.n_params)
    if "best_params" in kinds:
        wanted["best_params"] = (layout.n_params,)
    for name, shape in wanted.items():
        if kinds.get(name) != (dtype, shape):
            raise ModelFormatError(f"{name} must be of type {dtype} and shape {shape}")
    others = {"feature_names", "feature_names.lengths", "classes", "classes.lengths", *_CURVES}
    if checkpoint is not None:
        others |= {"checkpoint.order", "checkpoint.held_out"}
    for name, (kind, shape) in kinds.items():
        if name in wanted:
            continue
        is_known = name in others or name.startswith("parameters.")
        if not is_known or len(shape) != 1 or shape[0] > MAX_LENGTH:
            raise ModelFormatError(f"unknown array {name!r:.80}")
        if name in _CURVES and kind != "F64":
            raise ModelFormatError(f"{name} must be of type F64")


def _label(model: Any, layout: NetworkLayout, labels: Any, tensors: Mapping[str, Floats]) -> None:
    """Set what the estimator knows of its targets."""
    n_outputs = model.n_outputs_ = layout.units[-1]
    if (labels is not None) != hasattr(type(model), "predict_proba"):
        raise ModelFormatError("a classifier has labels, a regressor has none")
    if labels is None:
        return
    binarizer = LabelBinarizer()
    classes = unpack_classes(labels["kind"], tensors)
    kind = one_of(labels["target_type"], ("binary", "multiclass", "multilabel-indicator"))
    if n_outputs != (1 if kind == "binary" else classes.size) or (
        kind == "binary" and classes.size > 2
    ):
        raise ModelFormatError("labels and outputs are not equally many")
    binarizer.classes_ = model.classes_ = classes
    binarizer.y_type_ = kind
    binarizer.sparse_input_ = of_kind(labels["is_sparse"], bool, "is_sparse")
    model._label_binarizer = binarizer


def _progress(row: dict[str, Any], tensors: Mapping[str, Floats]) -> Progress:
    values: dict[str, Any] = {name: as_count(row[name]) for name in _COUNTS}
    for name in _NUMBERS:
        values[name] = None if row[name] is None else as_number(row[name])
    for name in _CURVES:
        if name in tensors:
            values[name] = tensors[name].tolist()
    best_params = tensors.get("best_params")
    values["best_params"] = None if best_params is None else best_params.copy()
    values["stop"] = None if row["stop"] is None else Stop(row["stop"])
    if values["loss"] is None or values["learning_rate"] is None or "loss_curve" not in values:
        raise ModelFormatError("the progress of training is incomplete")
    return Progress(**values)


def _unpack_checkpoint(row: Any, tensors: Mapping[str, Floats]) -> dict[str, Any] | None:
    if row is None:
        return None
    samples = {"order": tensors["checkpoint.order"]}
    if "checkpoint.held_out" in tensors:
        samples["held_out"] = tensors["checkpoint.held_out"]
    together = np.concatenate(list(samples.values()))
    if any(array.dtype != np.int64 for array in samples.values()) or not np.array_equal(
        np.sort(together), np.arange(together.size)
    ):
        raise ModelFormatError("the order of the samples must be a permutation")
    checkpoint: dict[str, Any] = {
        "held_out": None,
        **{name: array.astype(np.int32) for name, array in samples.items()},
        "every": as_count(row["every"], smallest=1),
        "digest": of_kind(row["digest"], str, "the digest"),
        "random_state": decoded(row["random_state"]),
    }
    if not isinstance(checkpoint["random_state"], np.random.RandomState):
        raise ModelFormatError("the random state is missing")
    return checkpoint
