"""NumPy's shuffle, compiled."""

import numpy as np
import pytest

from fastmlp.kernels.mersenne_twister import N_WORDS, shuffle


def state_of(random_state):
    _, words, position, *_ = random_state.get_state()
    return np.append(words, np.uint32(position))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_the_order_and_the_state_are_those_of_numpy(seed):
    expected = np.random.RandomState(seed)
    state, room = state_of(expected), np.empty(N_WORDS, np.uint32)
    # From a fresh state, from one that is used up, and from the middle of one.
    for size in [0, 1, 2, 3, 4, 5, 31, 32, 33, N_WORDS - 1, N_WORDS, N_WORDS + 1, 3000, 7]:
        orders = np.arange(size, dtype=np.int32), np.arange(size, dtype=np.int32)
        expected.shuffle(orders[0])
        shuffle(state, room, orders[1])
        np.testing.assert_array_equal(orders[1], orders[0])
        np.testing.assert_array_equal(state, state_of(expected))


def test_what_is_shuffled_may_be_anything():
    values = np.random.RandomState(1).randint(-(2**31), 2**31, size=100, dtype=np.int32)
    orders = values.copy(), values.copy()
    random_state = np.random.RandomState(0)
    shuffle(state_of(random_state), np.empty(N_WORDS, np.uint32), orders[1])
    random_state.shuffle(orders[0])
    np.testing.assert_array_equal(orders[1], orders[0])
