"""Samples in the form the kernels read: shared where they can be, never written."""

import numpy as np
import pytest
from numba import typeof
from scipy import sparse

from fastmlp.training.data import density_of_features, kernel_data, n_samples_of, sample_numbers
from tests.kernels.networks import make_problem

FLOATS = [np.float32, np.float64]


def samples(dtype=np.float64):
    return np.random.default_rng(0).normal(size=(6, 4)).astype(dtype)


def read_only_memmap(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


def read_only(X, _):
    X = X.copy()
    X.flags.writeable = False
    return X


SHARED = {
    "plain": lambda X, _: X.copy(),
    "read-only": read_only,
    "memmap": read_only_memmap,
    "rows of a larger array": lambda X, _: np.vstack([X, X, X])[6:12],
}
COPIED = {
    "Fortran order": lambda X, _: np.asfortranarray(X),
    "every other column": lambda X, _: np.repeat(X, 2, axis=1)[:, ::2],
    "reversed": lambda X, _: X[::-1].copy()[::-1],
    "big-endian": lambda X, _: X.astype(X.dtype.newbyteorder(">")),
    "unaligned": lambda X, _: np.frombuffer(b"." + X.tobytes(), X.dtype, offset=1).reshape(X.shape),
    "the other precision": lambda X, _: X.astype(np.float32 if X.itemsize == 8 else np.float64),
    "integers": lambda X, _: np.round(X * 10).astype(np.int64),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("form", SHARED)
def test_no_copy(form, dtype, tmp_path):
    X = SHARED[form](samples(dtype), tmp_path)
    data = kernel_data(X, dtype)
    assert np.shares_memory(data.X, X)
    np.testing.assert_array_equal(data.X.reshape(X.shape), X)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("form", COPIED)
def test_copy_where_it_must_be(form, dtype, tmp_path):
    X = COPIED[form](samples(dtype), tmp_path)
    before = X.copy()
    data = kernel_data(X, dtype)
    assert data.X.dtype == dtype
    assert not np.shares_memory(data.X, X)
    np.testing.assert_allclose(data.X.reshape(X.shape), X, rtol=1e-6)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_numba_type_whatever_the_form(dtype, tmp_path):
    y, weights = np.ones((6, 2), dtype), np.ones(6, dtype)
    weights.flags.writeable = y.flags.writeable = False
    kinds = set()
    for forms in (SHARED, COPIED):
        for form in forms.values():
            X = form(samples(dtype), tmp_path)
            kinds.add(typeof(kernel_data(X, dtype)))
            kinds.add(typeof(kernel_data(X, dtype, y, weights)))
    for make in (sparse.csr_array, sparse.csr_matrix):
        X = make(samples(dtype))
        for array in (X.data, X.indices, X.indptr):
            array.flags.writeable = False
        kinds.add(typeof(kernel_data(X, dtype, y, weights)))
        kinds.add(typeof(kernel_data(make((6, 4), dtype=dtype), dtype)))
    assert len(kinds) == 1


def test_numbers_of_samples():
    numbers = sample_numbers(3, 6)
    assert numbers.dtype == np.int32
    np.testing.assert_array_equal(numbers, [3, 4, 5])
    assert sample_numbers(2**31 - 2, 2**31 - 1).tolist() == [2**31 - 2]
    with pytest.raises(ValueError, match="At most 2147483647 samples"):
        sample_numbers(2**31 - 1, 2**31)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csr_matrix])
def test_sparse(make, index):
    X = make(sparse.random(7, 5, 0.3, format="csr", random_state=0))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    data = kernel_data(X, np.float64)
    assert (data.indptr.dtype, data.indices.dtype) == (np.int64, np.int32)
    assert np.shares_memory(data.X, X.data)
    assert np.shares_memory(data.indices, X.indices) == (index is np.int32)
    assert np.shares_memory(data.indptr, X.indptr) == (index is np.int64)
    rebuilt = sparse.csr_array((data.X, data.indices, data.indptr), shape=(7, 5))
    np.testing.assert_array_equal(rebuilt.toarray(), X.toarray())
    assert n_samples_of(data, 5) == 7


def test_number_of_samples():
    assert n_samples_of(kernel_data(samples(), np.float64), 4) == 6
    assert n_samples_of(kernel_data(np.empty((0, 4)), np.float64), 4) == 0
    assert n_samples_of(kernel_data(sparse.csr_array((0, 4)), np.float64), 4) == 0
    assert n_samples_of(kernel_data(sparse.csr_array((9, 4)), np.float64), 4) == 9


@pytest.mark.parametrize("n_samples", [3, 5000])
def test_density_of_features(n_samples):
    X = np.random.default_rng(0).uniform(size=(n_samples, 4))
    X *= np.random.default_rng(1).uniform(size=X.shape) < [0.0, 0.3, 0.6, 1.0]
    for inputs in (X, sparse.csr_array(X)):
        densities = density_of_features(kernel_data(inputs, np.float64), 4)
        np.testing.assert_allclose(
            densities, (X != 0).mean(axis=0), atol=0.15 if n_samples > 3 else 1e-12
        )


def test_targets_and_weights():
    y, weights = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    data = kernel_data(samples(), np.float64, y, weights)
    assert data.n_targets == 2
    assert np.shares_memory(data.targets, y)
    assert np.shares_memory(data.sample_weight, weights)
    without = kernel_data(samples(), np.float64)
    assert without.targets.size == without.sample_weight.size == without.n_targets == 0
    np.testing.assert_array_equal(
        kernel_data(samples(), np.float32, y, weights).targets, np.arange(12, dtype=np.float32)
    )


@pytest.mark.parametrize("form", ["read-only", "memmap"])
def test_read_only_samples_are_used_where_they_are_and_not_written(form, tmp_path):
    problem = make_problem()
    X = SHARED[form](problem.X, tmp_path)
    given = type(problem)(problem.layout, problem.params, X, problem.y)
    loss, gradient = given.gradient(alpha=0.1)
    expected_loss, expected = problem.gradient(alpha=0.1)
    assert loss == expected_loss
    np.testing.assert_array_equal(gradient, expected)
    np.testing.assert_array_equal(X, problem.X)
    assert not X.flags.writeable
