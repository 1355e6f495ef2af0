"""The order of the samples, epoch by epoch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.mersenne_twister import N_WORDS, shuffle

__all__ = ["make_shuffle"]

Integers = NDArray[np.int64]


# Below, a fit of the usual 200 epochs is over before reading the code from disk has paid.
_FEW_SAMPLES = 2000


def make_shuffle(random_state: np.random.RandomState, n_samples: int) -> Callable[[Integers], None]:
    """Return what does the same as ``random_state.shuffle``, faster if it can.

    Parameters
    ----------
    random_state : RandomState
        The generator, which goes on as if it had shuffled itself.
    n_samples : int
        How many samples will be shuffled.

    Returns
    -------
    callable
        Shuffles an array of int64 in place.

    Notes
    -----
    Where NumPy keeps the state of its Mersenne Twister is not a public matter. Hence the first call
    tries it out.
    """
    if n_samples < _FEW_SAMPLES:
        return random_state.shuffle
    # Another class may have another method.
    is_plain = type(random_state) is np.random.RandomState
    bit_generator = getattr(random_state, "_bit_generator", None)
    if is_plain and type(bit_generator) is np.random.MT19937 and _is_where_we_think():
        return _compiled_shuffle(bit_generator)
    return random_state.shuffle


@cache
def _is_where_we_think() -> bool:
    """Return whether the compiled shuffle does what NumPy's does, and leaves the same state."""
    if not hasattr(shuffle, "py_func"):  # under NUMBA_DISABLE_JIT
        return False
    expected, bit_generator = np.random.RandomState(0), np.random.MT19937()
    tried = np.random.RandomState(bit_generator)
    tried.set_state(expected.get_state())
    words = expected.get_state(legacy=False)["state"]["key"]
    # Before anything is written: are these the words? The state is theirs and a few numbers more.
    if not np.array_equal(_state_of(bit_generator)[:N_WORDS], words):
        return False
    shuffle_it = _compiled_shuffle(bit_generator)
    for size in (2 * N_WORDS, 5):
        orders = np.arange(size), np.arange(size)
        expected.shuffle(orders[0])
        shuffle_it(orders[1])
        if not np.array_equal(*orders) or expected.randint(2**31) != tried.randint(2**31):
            return False
    return True


def _state_of(bit_generator: np.random.MT19937) -> NDArray[np.uint32]:
    """Return the words of the state, and how many of them are used up, where NumPy keeps them."""
    words = (ctypes.c_uint32 * (N_WORDS + 1)).from_address(bit_generator.ctypes.state_address)
    return np.ctypeslib.as_array(words)


def _compiled_shuffle(bit_generator: np.random.MT19937) -> Callable[[Integers], None]:
    state, room = _state_of(bit_generator), np.empty(N_WORDS, np.uint32)

    def shuffle_it(order: Integers) -> None:
        with bit_generator.lock:
            shuffle(state, room, order)

    return shuffle_it
