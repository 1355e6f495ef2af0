"""Code for vector registers, against NumPy."""

import ctypes
import mmap
import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from fastmlp.kernels import epoch, registers, vectors
from fastmlp.kernels.registers import BITS, REGISTER
from fastmlp.kernels.vectors import MAX_REGISTERS, WIDEST
from tests.kernels import compiled
from tests.kernels.compiled import FLOATS, IS_COMPILED


def lanes_of(dtype):
    return REGISTER // np.dtype(dtype).itemsize


def widths(dtype):
    """Columns that fill registers, or half of the last one, or a lane more or less."""
    lanes = lanes_of(dtype)
    half = lanes // 2
    few = [1, 2, half, half + 1, lanes - 1, lanes, lanes + 1, 2 * lanes + half]
    return [*few, 2 * lanes + half + 1, 3 * lanes, 4 * lanes - 1, MAX_REGISTERS * lanes - 1]


def slab_of(B):
    """B as the kernel wants it, with nan where a single register is wider."""
    (n_rows, n_columns), lanes = B.shape, lanes_of(B.dtype)
    width = -(-n_columns // lanes) * lanes
    raw = np.full(n_rows * width + REGISTER, np.nan, B.dtype)
    start = -raw.ctypes.data % REGISTER // B.itemsize
    slab = raw[start : start + n_rows * width]
    rows = slab.reshape(n_rows, width)
    rows[:, :n_columns] = B
    if n_columns > lanes:
        rows[:, -lanes:] = B[:, -lanes:]
    return slab


@pytest.mark.skipif(not IS_COMPILED, reason="nothing is compiled")
def test_registers_are_those_of_the_processor_that_code_is_kept_for():
    # Else code of another width might be read from disk.
    _, _, features = epoch.predict.targetctx.codegen().magic_tuple()
    assert ",".join(registers._FEATURES) == features


def masks_of(depth, a, lda, dtype):
    """As many masks as there are rows, and what follows them."""
    n_rows = (a.size + lda - depth) // lda
    masks = np.full((n_rows + 1) * 8 // np.dtype(dtype).itemsize, 7, dtype)
    compiled.find_nonzeros(n_rows, depth, a, lda, masks)
    return masks


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("depth", [1, 7, 16, 33, BITS - 1, BITS])
def test_find_nonzeros(depth, dtype):
    rng = np.random.default_rng(0)
    for n_rows, lda in [(1, depth), (5, depth), (70, depth + 3), (3, BITS + 30)]:
        # What is outside the matrix is nan, which is not 0 either.
        a = np.full((n_rows, lda), np.nan, dtype)
        a[:, :depth] = rng.choice([0, -0.0, 1e-45, -3, np.inf, np.nan], size=(n_rows, depth))
        masks = masks_of(depth, a.reshape(-1)[: a.size - lda + depth].copy(), lda, dtype)
        bits = np.unpackbits(masks.view(np.uint8), bitorder="little").reshape(n_rows + 1, BITS)
        np.testing.assert_array_equal(bits[:n_rows, :depth], a[:, :depth] != 0)
        assert not bits[:n_rows, depth:].any()
        assert (masks[n_rows * 8 // masks.itemsize :] == 7).all()


@pytest.mark.skipif(sys.platform != "linux", reason="protects memory as Linux does")
@pytest.mark.parametrize("dtype", FLOATS)
def test_find_nonzeros_stays_in_its_array(dtype):
    # A page that may not be touched follows the array: reading it ends the process.
    protect = ctypes.CDLL(None).mprotect
    with mmap.mmap(-1, 2 * mmap.PAGESIZE) as memory:
        pages = np.frombuffer(memory, np.uint8)
        following = ctypes.c_void_p(pages.ctypes.data + mmap.PAGESIZE)
        for depth, lda in [(1, 1), (20, 25), (BITS, BITS)]:
            size = 4 * lda + depth
            a = pages[: mmap.PAGESIZE].view(dtype)[-size:]
            a[:] = 1
            assert protect(following, mmap.PAGESIZE, 0) == 0
            masks = masks_of(depth, a, lda, dtype)
            assert protect(following, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE) == 0
            bits = np.unpackbits(masks.view(np.uint8), bitorder="little").reshape(-1, BITS)
            assert bits[:5].sum() == 5 * depth
        del pages, a


@pytest.mark.skipif(not IS_COMPILED, reason="nothing is compiled")
@pytest.mark.skipif(REGISTER != 32, reason="dear with AVX2")
def test_choose_is_not_stored_by_a_mask():
    @numba.njit
    def rectify(a):
        for i in range(a.size):
            a[i] = vectors.choose(a[i] < 0, np.float32(0), a[i])

    rectify.compile((numba.float32[::1],))
    (code,) = rectify.inspect_asm().values()
    assert "ymm" in code
    assert "maskmov" not in code


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("depth", [1, 7, 16, 33, BITS - 1, BITS])
def test_add_product_of_nonzeros(depth, density, dtype):
    rng = np.random.default_rng(0)
    for n_columns in widths(dtype):
        for n_rows, has_one_term in [(1, False), (5, False), (4, True)]:
            # What is outside the matrices is nan, and must be neither read nor written.
            a = np.full((n_rows, depth + 3), np.nan, dtype)
            c = np.full((n_rows, n_columns + 2), np.nan, dtype)
            a[:, :depth] = rng.normal(size=(n_rows, depth))
            a[:, :depth] *= rng.uniform(size=(n_rows, depth)) < density
            B = rng.normal(size=(depth, n_columns)).astype(dtype)
            before = rng.normal(size=(1 if has_one_term else n_rows, n_columns)).astype(dtype)
            if not has_one_term:
                c[:, :n_columns] = before
            expected = a[:, :depth].astype(np.float64) @ B + before
            # Both end where their last row does.
            flat_a = a.reshape(-1)[: a.size - 3].copy()
            flat_c = c.reshape(-1)[: c.size - 2].copy()
            ldc = n_columns + 2
            old, ldo = (before.ravel(), 0) if has_one_term else (flat_c, ldc)
            compiled.add_product_of_nonzeros(
                n_rows, n_columns, masks_of(depth, flat_a, depth + 3, dtype), flat_a, depth + 3,
                slab_of(B), old, ldo, flat_c, ldc,
            )  # fmt: skip
            got = np.append(flat_c, [np.nan, np.nan]).reshape(c.shape)
            tolerance = 4 * BITS * np.finfo(dtype).eps
            np.testing.assert_allclose(got[:, :n_columns], expected, tolerance, tolerance)
            assert np.isnan(got[:, n_columns:]).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 37])
def test_add_product(depth, is_transposed, dtype):
    rng = np.random.default_rng(0)
    lanes = lanes_of(dtype)
    some = range(lanes // 2, WIDEST * lanes + 1, lanes // 2)
    for n_columns in [1, *some, *(n + 1 for n in some[:-1])]:
        # One row at a time, and as many as go through together.
        for n_rows, has_one_term, alpha in [(1, True, 1.0), (5, False, -0.3), (26, True, 0.3)]:
            # What is outside the matrices is nan, and must be neither read nor written.
            A = rng.normal(size=(n_rows, depth)).astype(dtype)
            B = np.full((depth, n_columns + 3), np.nan, dtype)
            c = np.full((n_rows, n_columns + 2), np.nan, dtype)
            B[:, :n_columns] = rng.normal(size=(depth, n_columns))
            before = rng.normal(size=(1 if has_one_term else n_rows, n_columns)).astype(dtype)
            if not has_one_term:
                c[:, :n_columns] = before
            expected = alpha * (A.astype(np.float64) @ B[:, :n_columns]) + before
            # All end where their last row does.
            flat_b = B.reshape(-1)[: B.size - 3].copy()
            flat_c = c.reshape(-1)[: c.size - 2].copy()
            ldc, again = n_columns + 2, flat_c.copy()
            old, ldo = (before.ravel(), 0) if has_one_term else (flat_c, ldc)
            compiled.add_product(
                n_rows, n_columns, depth, dtype(alpha), (A.T if is_transposed else A).ravel(),
                1 if is_transposed else depth, n_rows if is_transposed else 1, flat_b,
                n_columns + 3, n_columns - lanes, old, ldo, flat_c, ldc,
            )  # fmt: skip
            got = np.append(flat_c, [np.nan, np.nan]).reshape(c.shape)
            tolerance = 4 * BITS * np.finfo(dtype).eps
            np.testing.assert_allclose(got[:, :n_columns], expected, tolerance, tolerance)
            assert np.isnan(got[:, n_columns:]).all()
            # The same from a slab, to the last bit.
            width = -(-n_columns // lanes) * lanes
            compiled.add_product(
                n_rows, n_columns, depth, dtype(alpha), (A.T if is_transposed else A).ravel(),
                1 if is_transposed else depth, n_rows if is_transposed else 1,
                slab_of(B[:, :n_columns]), width, width - lanes, old if has_one_term else again,
                ldo, again, ldc,
            )  # fmt: skip
            np.testing.assert_array_equal(again, flat_c)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_is_not_zero(dtype):
    A = np.zeros((3, BITS), dtype)
    A[0, 5], A[1, 6], A[2, 7] = np.nan, np.inf, -0.0
    B, C = np.ones((BITS, 2), dtype), np.empty(6, dtype)
    zeros = np.zeros(2, dtype)
    masks = masks_of(BITS, A.ravel(), BITS, dtype)
    compiled.add_product_of_nonzeros(3, 2, masks, A.ravel(), BITS, slab_of(B), zeros, 0, C, 2)
    np.testing.assert_array_equal(C, [np.nan, np.nan, np.inf, np.inf, 0, 0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_meets_a_zero_does_not_show(dtype):
    A, B = np.eye(4, BITS, dtype=dtype), np.full((BITS, 3), np.nan, dtype)
    B[:3] = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    C = np.zeros(12, dtype)
    masks = masks_of(BITS, A.ravel(), BITS, dtype)
    compiled.add_product_of_nonzeros(4, 3, masks, A.ravel(), BITS, slab_of(B), C, 3, C, 3)
    np.testing.assert_array_equal(C, [1, 2, 3, 4, 5, 6, 7, 8, 9, *[np.nan] * 3])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("factor", [1.0, -0.25])
def test_pack(factor, dtype):
    for n_columns in widths(dtype):
        B = np.random.default_rng(0).normal(size=(5, n_columns)).astype(dtype)
        matrix = np.full((5, n_columns + 4), np.nan, dtype)
        matrix[:, :n_columns] = B
        slab = slab_of(np.full(B.shape, 7, dtype))
        compiled.pack(
            5, n_columns, dtype(factor), matrix.reshape(-1)[: matrix.size - 4].copy(),
            n_columns + 4, slab,
        )  # fmt: skip
        expected = np.nan_to_num(slab_of(dtype(factor) * B))
        np.testing.assert_array_equal(slab, expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_transpose_square(dtype):
    size = lanes_of(dtype)
    matrix = np.arange(size * (size + 3), dtype=dtype).reshape(size, size + 3)
    out = np.full((size, size + 1), -1, dtype)
    compiled.transpose_square(matrix.ravel(), size + 3, out.reshape(-1), size + 1)
    np.testing.assert_array_equal(out[:, :size], matrix[:, :size].T)
    np.testing.assert_array_equal(out[:, size:], -1)


@pytest.mark.skipif(REGISTER != 64 or not IS_COMPILED, reason="has registers of one kind")
def test_whole_registers_and_halves():
    # The other way to divide a row, which this processor can do as well, only slower.
    other = "skylake-avx512" if registers.PARTS == 2 else "znver4"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", __file__, "-k", "add_product"],
        env=os.environ | {"NUMBA_CPU_NAME": other}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
