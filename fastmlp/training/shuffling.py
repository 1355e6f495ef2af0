"""The order of the samples, epoch by epoch."""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.mersenne_twister import N_WORDS, shuffle

__all__ = ["Shuffle"]

Integers = NDArray[np.int64]

# Below, a fit of the usual 200 epochs is over before reading the code from disk has paid.
_FEW_SAMPLES = 2000


class Shuffle:
    """Does the same as ``random_state.shuffle``, faster if it can, or lets a kernel do it.

    Parameters
    ----------
    random_state : RandomState
        The generator, which goes on as if it had shuffled itself.

    Attributes
    ----------
    generator : ndarray of uint32, shape (625,) or (0,)
        Where the generator keeps its state, for a kernel that holds its lock; empty where that is
        not known.
    words : ndarray of uint32, shape (624,) or (0,)
        Room for a kernel.
    lock : context manager
        What whoever draws from the generator holds.

    Notes
    -----
    Where NumPy keeps the state of its Mersenne Twister is not a public matter. Hence this looks for
    it there.
    """

    def __init__(self, random_state: np.random.RandomState) -> None:
        self._random_state = random_state
        self.lock: AbstractContextManager[Any] = nullcontext()
        # Another class may have another method.
        is_plain = type(random_state) is np.random.RandomState
        bit_generator = getattr(random_state, "_bit_generator", None)
        is_compiled = hasattr(shuffle, "py_func")  # not under NUMBA_DISABLE_JIT
        self.generator = self.words = np.empty(0, np.uint32)
        if (
            is_compiled
            and is_plain
            and type(bit_generator) is np.random.MT19937
            and _is_where_we_think()
        ):
            self.generator, self.lock = _state_of(bit_generator), bit_generator.lock
            self.words = np.empty(N_WORDS, np.uint32)

    def __call__(self, order: Integers) -> None:
        """Shuffle.

        Parameters
        ----------
        order : ndarray of int64, shape (n_samples,)
            **Overwritten.**
        """
        if order.size < _FEW_SAMPLES or not self.generator.size:
            self._random_state.shuffle(order)
        else:
            with self.lock:
                shuffle(self.generator, self.words, order)


@cache
def _is_where_we_think() -> bool:
    """Return whether a generator's state is where it was when this was written."""
    bit_generator = np.random.MT19937()
    random_state = np.random.RandomState(bit_generator)
    for seed in range(2):
        random_state.seed(seed)
        for n_drawn in (0, 1, N_WORDS):
            random_state.randint(2**31, size=n_drawn, dtype=np.int32)
            state = random_state.get_state(legacy=False)["state"]
            if not np.array_equal(_state_of(bit_generator), [*state["key"], state["pos"]]):
                return False
    return True


def _state_of(bit_generator: np.random.MT19937) -> NDArray[np.uint32]:
    """Return the words of the state, and how many of them are used up, where NumPy keeps them."""
    words = (ctypes.c_uint32 * (N_WORDS + 1)).from_address(bit_generator.ctypes.state_address)
    return np.ctypeslib.as_array(words)
