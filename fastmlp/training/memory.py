"""Arrays that begin with a cache line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastmlp.kernels.registers import LINE

__all__ = ["aligned_empty"]


def aligned_empty(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised array that begins with a cache line.

    Threads that write to neighbouring columns of a matrix then share no line.

    Parameters
    ----------
    shape : int or tuple of int
        Its shape.
    dtype : dtype
        Its type.

    Returns
    -------
    ndarray
        C-contiguous. Views on it have the same base, which is not None.
    """
    dtype = np.dtype(dtype)
    size = dtype.itemsize * (shape if isinstance(shape, int) else math.prod(shape))
    raw = np.empty(size + LINE, np.uint8)
    return np.ndarray(shape, dtype, raw, -raw.ctypes.data % LINE)
