"""The order of the samples."""

import numpy as np
import pytest

from fastmlp.kernels.mersenne_twister import shuffle as compiled_shuffle
from fastmlp.training import shuffling
from fastmlp.training.data import sample_numbers
from fastmlp.training.shuffling import Shuffle
from tests.kernels.compiled import IS_COMPILED


def shuffled(shuffle):
    order = sample_numbers(0, 2000)
    shuffle(order)
    return order


def test_numpy_still_keeps_its_state_where_it_did():
    assert shuffling._is_where_we_think(), (
        f"NumPy {np.__version__} keeps the state of RandomState somewhere else. Nothing is wrong, "
        "but shuffling takes three times as long: fastmlp.training.shuffling needs another way."
    )


@pytest.mark.parametrize("is_known", [True, False])
def test_the_generator_goes_on_as_if_it_had_shuffled_itself(is_known, monkeypatch):
    if not is_known:
        monkeypatch.setattr(shuffling, "_is_where_we_think", lambda: False)
    expected, random_state = np.random.RandomState(3), np.random.RandomState(3)
    shuffle = Shuffle(random_state)
    for _ in range(3):
        np.testing.assert_array_equal(shuffled(shuffle), shuffled(expected.shuffle))
        # Others draw from it in between, a normal number being drawn in pairs.
        assert random_state.normal() == expected.normal()
        assert random_state.randint(1000) == expected.randint(1000)


@pytest.mark.skipif(not IS_COMPILED, reason="nothing is compiled")
@pytest.mark.parametrize("others_draw", [False, True])
def test_a_borrowed_state_comes_back_unless_others_drew_meanwhile(others_draw):
    random_state, expected = np.random.RandomState(7), np.random.RandomState(7)
    shuffle = Shuffle(random_state)
    borrowed = shuffle.borrow()
    after = borrowed.copy()
    compiled_shuffle(after, shuffle.words, sample_numbers(0, 100))
    if others_draw:
        random_state.randint(10)
        expected.randint(10)
    else:
        expected.shuffle(sample_numbers(0, 100))
    shuffle.give_back(borrowed, after)
    assert random_state.randint(2**31) == expected.randint(2**31)


def test_other_generators_shuffle_themselves():
    class Backwards(np.random.RandomState):
        def shuffle(self, x):
            x[:] = x[::-1].copy()

    np.testing.assert_array_equal(shuffled(Shuffle(Backwards(0))), np.arange(2000)[::-1])


def test_another_bit_generator_is_left_to_numpy():
    def pcg():
        return np.random.RandomState(np.random.PCG64(5))

    np.testing.assert_array_equal(shuffled(Shuffle(pcg())), shuffled(pcg().shuffle))


def test_the_state_lives_as_long_as_it_is_used():
    shuffle = Shuffle(np.random.RandomState(4))  # nobody else knows this generator
    np.testing.assert_array_equal(shuffled(shuffle), shuffled(np.random.RandomState(4).shuffle))


@pytest.mark.parametrize("n_samples", [150, 2500])
def test_few_samples_are_not_worth_compiling_for(n_samples, monkeypatch):
    calls = []
    monkeypatch.setattr(shuffling, "shuffle", lambda *arguments: calls.append(arguments))
    shuffle = Shuffle(np.random.RandomState(0))
    shuffle.is_known, shuffle._state = True, np.zeros(625, np.uint32)
    shuffle._bit_generator = np.random.MT19937()
    shuffle(sample_numbers(0, n_samples))
    assert len(calls) == (n_samples > 2000)


def test_a_state_that_lies_elsewhere_is_noticed(monkeypatch):
    words = np.zeros(shuffling.N_WORDS + 1, np.uint32)
    monkeypatch.setattr(shuffling, "_state_of", lambda bit_generator: words)
    assert not shuffling._is_where_we_think.__wrapped__()
