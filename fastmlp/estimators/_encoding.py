"""Values, labels and schedules as JSON and arrays, and back; nothing is believed on the way back.

What reads raises `ModelFormatError` for anything that what writes could not have written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.custom import CustomActivation, CustomLoss
from fastmlp.training.schedules import (
    PLANS,
    SCHEDULES,
    Constant,
    Planned,
    Schedule,
    WarmUp,
)

__all__ = [
    "DTYPES",
    "DTYPE_NAMES",
    "ModelFormatError",
    "as_count",
    "as_finite",
    "as_list",
    "as_number",
    "decoded",
    "decoded_schedule",
    "encoded",
    "encoded_schedule",
    "of_kind",
    "one_of",
    "pack_classes",
    "pack_texts",
    "unpack_classes",
    "unpack_texts",
]

Floats = NDArray[Any]

# Characters of NumPy's strings, each as wide as the longest.
MAX_TEXT = 1 << 21
# Elements from which an array that is a parameter is stored as one.
MIN_ARRAY = 1000
DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "F16": "float16",
    "U32": "uint32", "I32": "int32", "F32": "float32", "U64": "uint64", "I64": "int64",
    "F64": "float64",
}  # fmt: skip
DTYPE_NAMES = {np.dtype(name): key for key, name in DTYPES.items()}


class ModelFormatError(ValueError):
    """A file is no intact model file, or not one of this version's format."""


# -- values as JSON -----------------------------------------------------------------------------


def encoded(value: Any, name: str, tensors: dict[str, Floats] | None = None) -> Any:
    """Return a value as strict JSON; what JSON does not know becomes an object with one key.

    Large arrays of numbers are added to `tensors`, where given: as JSON they would fill the header.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        if tensors is not None and value.size >= MIN_ARRAY and value.dtype in DTYPE_NAMES:
            key = f"parameters.{sum(key.startswith('parameters.') for key in tensors)}"
            tensors[key] = np.ascontiguousarray(value).reshape(-1)
            return {"array": [key, list(value.shape)]}
        value = value.tolist()
    if isinstance(value, range):
        value = tuple(value)
    if isinstance(value, list):
        return [encoded(element, name, tensors) for element in value]
    if isinstance(value, tuple):
        return {"tuple": [encoded(element, name, tensors) for element in value]}
    if isinstance(value, dict):
        pairs = [[encoded(k, name), encoded(v, name)] for k, v in value.items()]
        return {"dict": pairs}
    if isinstance(value, np.random.RandomState):
        state: Any = value.get_state(legacy=True)
        kind, key, position, has_gauss, gauss = state
        if kind == "MT19937":
            return {"random_state": [key.tolist(), int(position), int(has_gauss), float(gauss)]}
    if isinstance(value, (CustomActivation, CustomLoss)):
        raise TypeError(
            f"A model file holds no functions, and {name}={value!r} consists of them. Pickle the "
            "model instead: where it is loaded, the functions must be importable."
        )
    raise TypeError(
        f"A model file holds numbers, strings, None, and tuples, lists and dicts of them; "
        f"{name}={value!r} is of type {type(value).__name__}. Set another value before saving."
    )


def decoded(value: Any, tensors: Mapping[str, Floats] = MappingProxyType({})) -> Any:
    if isinstance(value, list):
        return [decoded(element, tensors) for element in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "float":
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[content]
    if kind == "tuple":
        return tuple(decoded(as_list(content), tensors))
    if kind == "array":
        key, shape = as_list(content)
        return tensors[one_of(key, tensors)].reshape([as_count(width) for width in as_list(shape)])
    if kind == "dict":
        return {decoded(key): decoded(element) for key, element in as_list(content)}
    if kind == "random_state":
        return _random_state(content)
    raise ModelFormatError(f"unknown kind of value {kind!r}")


def _random_state(content: Any) -> np.random.RandomState:
    key, position, has_gauss, gauss = as_list(content)
    words = [as_count(word, 2**32 - 1) for word in as_list(key)]
    if len(words) != 624:
        raise ModelFormatError("the random state must have 624 words")
    state = np.random.RandomState(0)
    position, has_gauss = as_count(position, 624), as_count(has_gauss, 1)
    state.set_state(("MT19937", np.array(words, np.uint32), position, has_gauss, as_finite(gauss)))
    return state


# -- checks of what JSON holds ------------------------------------------------------------------


def of_kind(value: Any, kind: type, what: str) -> Any:
    # A bool is an int to Python, but not here.
    if type(value) is not kind:
        raise ModelFormatError(f"{what} must be a {kind.__name__}, got {type(value).__name__}")
    return value


def as_list(value: Any) -> list[Any]:
    elements: list[Any] = of_kind(value, list, "an element of the header")
    return elements


def as_count(value: Any, largest: int = 2**62, smallest: int = 0) -> int:
    number = int(of_kind(value, int, "a count"))
    if not smallest <= number <= largest:
        raise ModelFormatError(f"a count must be in [{smallest}, {largest}], got {number}")
    return number


def as_number(value: Any) -> float:
    number = decoded(value)
    if type(number) not in (int, float):
        raise ModelFormatError(f"a number is of type {type(number).__name__}")
    return float(number)


def as_finite(value: Any) -> float:
    number = as_number(value)
    if not math.isfinite(number):
        raise ModelFormatError("a number must be finite")
    return number


def one_of(value: Any, names: Iterable[str]) -> str:
    if not isinstance(value, str) or value not in names:
        raise ModelFormatError(f"unknown name {value!r:.80}")
    return value


# -- labels and names ---------------------------------------------------------------------------


def pack_texts(name: str, texts: Sequence[str], tensors: dict[str, Floats]) -> None:
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    tensors[name] = np.frombuffer(b"".join(encoded), np.uint8)
    tensors[f"{name}.lengths"] = np.array([len(text) for text in encoded], np.int64)


def unpack_texts(name: str, tensors: Mapping[str, Floats]) -> list[str]:
    data, lengths = tensors[name], tensors[f"{name}.lengths"]
    if data.dtype != np.uint8 or lengths.dtype != np.int64 or data.ndim != 1 or lengths.ndim != 1:
        raise ModelFormatError(f"{name} must be bytes and their lengths")
    if (lengths < 0).any() or (lengths > data.size).any() or int(lengths.sum()) != data.size:
        raise ModelFormatError(f"the lengths of {name} do not sum up to its size")
    ends = np.cumsum(lengths)
    raw = data.tobytes()
    return [
        raw[end - length : end].decode("utf-8", "surrogatepass")
        for length, end in zip(lengths.tolist(), ends.tolist(), strict=True)
    ]


def pack_classes(classes: Floats, tensors: dict[str, Floats]) -> str:
    """Add the labels to the arrays, and return what they are."""
    kind, labels = str(classes.dtype), classes.tolist()
    if classes.dtype.kind == "O" and all(isinstance(label, str) for label in labels):
        pack_texts("classes", labels, tensors)
        return "object of str"
    if classes.dtype.kind == "U":
        pack_texts("classes", labels, tensors)
        return kind
    if classes.dtype.kind in "mM":
        tensors["classes"] = classes.astype(classes.dtype.newbyteorder("=")).view(np.int64)
        return str(classes.dtype.newbyteorder("=").str)
    if classes.dtype in DTYPE_NAMES:
        tensors["classes"] = np.ascontiguousarray(classes)
        return kind
    raise TypeError(
        f"A model file holds labels that are numbers, strings or dates; classes_ is {classes!r}."
    )


def unpack_classes(kind: Any, tensors: Mapping[str, Floats]) -> Floats:
    of_kind(kind, str, "the kind of labels")
    if kind == "object of str" or kind.startswith("<U"):
        texts = unpack_texts("classes", tensors)
        width = 2 if kind.startswith("o") else as_count(int(kind[2:]), 1 << 20, 1)
        if len(texts) * width > MAX_TEXT + 16 * tensors["classes"].size:
            raise ModelFormatError("the labels are wider than they need to be")
        if kind.startswith("<U") and max(map(len, texts), default=0) > width:
            raise ModelFormatError("a label is longer than it may be")
        classes = np.array(texts, object if kind.startswith("o") else kind)
    else:
        stored = tensors["classes"]
        is_date = kind[:3] in ("<M8", "<m8")
        if stored.ndim != 1 or stored.dtype != np.dtype("int64" if is_date else kind):
            raise ModelFormatError("the labels are not of the type they are said to be")
        if stored.dtype.kind == "f" and not np.isfinite(stored).all():
            raise ModelFormatError("the labels must be finite")
        classes = stored.copy().view(kind) if is_date else stored.copy()
    if classes.ndim != 1 or classes.size == 0 or not bool((classes[:-1] < classes[1:]).all()):
        raise ModelFormatError("the labels must be in order, each once")
    return classes


# -- schedules ----------------------------------------------------------------------------------


def encoded_schedule(schedule: Schedule | None) -> Any:
    if schedule is None:
        return None
    if isinstance(schedule, WarmUp):
        inner = encoded_schedule(schedule.schedule)
        return {"kind": "warm_up", "schedule": inner, "n_steps": int(schedule.n_steps),
                "step": int(schedule.step)}  # fmt: skip
    if isinstance(schedule, Planned):
        kind = next(name for name, plan in PLANS.items() if plan is schedule.plan)
        return {"kind": kind, "peak": float(schedule.peak), "n_steps": int(schedule.n_steps),
                "step": int(schedule.step)}  # fmt: skip
    if isinstance(schedule, Constant):
        kind = next(name for name, row in SCHEDULES.items() if row is type(schedule))
        return {"kind": kind, "initial": float(schedule.initial),
                "power_t": float(schedule.power_t), "rate": float(schedule.rate)}  # fmt: skip
    raise TypeError("A model file does not hold functions; learning_rate must be a name.")


def decoded_schedule(value: Any) -> Schedule:
    row = of_kind(value, dict, "the schedule")
    kind = row["kind"]
    if kind == "warm_up":
        inner = decoded_schedule(row["schedule"])
        return WarmUp(inner, as_count(row["n_steps"], smallest=1), as_count(row["step"]))
    if kind in PLANS:
        step = as_count(row["step"], smallest=-(2**62))
        return Planned(
            PLANS[kind], as_finite(row["peak"]), as_count(row["n_steps"], smallest=1), step
        )
    schedule = SCHEDULES[kind](as_finite(row["initial"]), as_finite(row["power_t"]))
    schedule.rate = as_finite(row["rate"])
    return schedule
