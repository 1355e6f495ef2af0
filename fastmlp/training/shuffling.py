"""The order of the samples, epoch by epoch."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.mersenne_twister import N_WORDS, shuffle
from fastmlp.training.data import Indices

__all__ = ["Shuffle"]

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
    is_known : bool
        Whether it is known where the generator keeps its state: `borrow` may be called.
    words : ndarray of uint32, shape (624,) or (0,)
        Room for a kernel.

    Notes
    -----
    Where NumPy keeps the state of its Mersenne Twister is not a public matter. Hence this looks for
    it there.
    """

    def __init__(self, random_state: np.random.RandomState) -> None:
        self._random_state = random_state
        # Another class may have another method.
        is_plain = type(random_state) is np.random.RandomState
        bit_generator = getattr(random_state, "_bit_generator", None)
        is_compiled = hasattr(shuffle, "py_func")  # not under NUMBA_DISABLE_JIT
        self.is_known, self.words = False, np.empty(0, np.uint32)
        if (
            is_compiled
            and is_plain
            and type(bit_generator) is np.random.MT19937
            and _is_where_we_think()
        ):
            # Kept, since the state lives in it.
            self._bit_generator = bit_generator
            self._state = _state_of(bit_generator)
            self.is_known, self.words = True, np.empty(N_WORDS, np.uint32)

    def __call__(self, order: Indices) -> None:
        """Shuffle.

        Parameters
        ----------
        order : ndarray of int32, shape (n_samples,)
            **Overwritten.**
        """
        if order.size < _FEW_SAMPLES or not self.is_known:
            self._random_state.shuffle(order)
        else:
            with self._bit_generator.lock:
                shuffle(self._state, self.words, order)

    def borrow(self) -> NDArray[np.uint32]:
        """Return a copy of the generator's state, for a kernel to go on with.

        The generator may be NumPy's own, for which others must not have to wait so long.

        Returns
        -------
        ndarray of uint32, shape (625,)
            Its words, and how many of them are used up.
        """
        with self._bit_generator.lock:
            return self._state.copy()

    def give_back(self, before: NDArray[np.uint32], after: NDArray[np.uint32]) -> None:
        """Let the generator go on where the kernel came to, unless others drew from it meanwhile.

        Parameters
        ----------
        before, after : ndarray of uint32, shape (625,)
            What was borrowed, and what has become of it.
        """
        with self._bit_generator.lock:
            if np.array_equal(self._state, before):
                self._state[:] = after


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
