"""What loops over single numbers cannot say well, written for vector registers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp._jit import python_version
from fastmlp.kernels.registers import BITS, LINE, PARTS, REGISTER, Vectors, constant, data_of

__all__ = [
    "MAX_REGISTERS", "WIDEST", "add_product", "add_product_of_nonzeros", "choose", "find_nonzeros",
    "pack", "prefetch", "transpose_square",
]  # fmt: skip

# Registers that hold a row of a result. There are 16 or 32, but 64 such rows of the other matrix
# should fit a first-level cache of 32 KiB.
MAX_REGISTERS = {64: 8, 32: 13, 16: 8}[REGISTER]
# Rows of a result that are computed together, by the registers that hold one of them: with those of
# a row of B and a number of A they fit the processor's, of which there are 32 or 16. Of more than
# some eight rows LLVM would keep the addresses in memory.
_ROWS_TOGETHER = {1: 8, 2: 6, 3: 6, 4: 6} if REGISTER == 64 else {1: 8, 2: 6, 3: 4}
WIDEST = max(_ROWS_TOGETHER)


def _places(n, lanes, last):
    """Return where in a row registers find n columns, the last one beginning at `last`."""
    n_registers = -(-n // lanes)
    if n_registers == 1:
        return np.arange(n)
    return np.append(np.arange((n_registers - 1) * lanes), np.arange(last, last + lanes))


class _Register(NamedTuple):
    """One of the registers that hold a row of a result.

    Attributes
    ----------
    vectors : Vectors
        For its size.
    column : llvmlite.ir.Value
        Where in the row it begins.
    place : llvmlite.ir.Value
        Where the columns of the other matrix begin, in a row of it.
    counted : llvmlite.ir.Value or None
        Which of its lanes count; None: all.
    """

    vectors: Vectors
    column: ir.Value
    place: ir.Value
    counted: ir.Value | None

    def load(self, row):
        """Read it from a row of the result."""
        return self.vectors.load(self.vectors.element(row, self.column), self.counted)

    def store(self, vector, row):
        """Write it to a row of the result."""
        self.vectors.store(vector, self.vectors.element(row, self.column), self.counted)


def _registers_of(builder, dtype, n_parts, n, last=None):
    """Return the registers that hold a row of n columns: so many parts of registers, as few.

    The last of several holds some columns of the one before it, too: what is computed twice is the
    same, and to leave out lanes takes some processors long. In a row of the other matrix a whole
    register with the last columns begins at `last`; None: where it does in a slab.
    """
    whole, n_registers, zero = Vectors(builder, dtype), -(-n_parts // PARTS), constant(0)
    n_last = n_parts - (n_registers - 1) * PARTS
    vectors = Vectors(builder, dtype, n_last * REGISTER // PARTS)
    if n_registers == 1:
        return [_Register(vectors, zero, zero, vectors.lanes_below(n))]
    columns = [constant(register * whole.lanes) for register in range(n_registers)]
    last = columns[-1] if last is None else last
    last_place = builder.add(last, constant(whole.lanes - vectors.lanes))
    last_column = builder.sub(n, constant(vectors.lanes))
    return [
        *(_Register(whole, column, column, None) for column in columns[:-1]),
        _Register(vectors, last_column, last_place, None),
    ]


def _switch_by_parts(builder, dtype, n, most):
    """Emit blocks for n columns that take 1, 2, ... parts of registers; yield how many in each."""
    lanes = REGISTER // PARTS // (dtype.bitwidth // 8)
    n_parts = builder.sdiv(builder.add(n, constant(lanes - 1)), constant(lanes))
    end = builder.append_basic_block("end")
    choice = builder.switch(n_parts, end)
    for number in range(1, most * PARTS + 1):
        block = builder.append_basic_block(f"parts.{number}")
        choice.add_case(constant(number), block)
        builder.position_at_end(block)
        yield number
        builder.branch(end)
    builder.position_at_end(end)


def _find_nonzeros(m, k, a, lda, masks):
    words = masks.view(np.uint64)
    for i in range(m):
        bits = np.zeros(BITS, bool)
        bits[:k] = a[i * lda : i * lda + k] != 0
        words[i] = np.packbits(bits, bitorder="little").view(np.uint64)[0]


@python_version(_find_nonzeros)
@intrinsic
def find_nonzeros(typingctx, m, k, a, lda, masks):
    """Find the elements of a matrix that are not 0.

    Parameters
    ----------
    m, k : int
        Rows and columns; at most 64 columns.
    a : ndarray, 1-D
        The matrix, rows one after another. Not modified.
    lda : int
        Distance between the starts of two rows, in elements; at least 1. Up to 64 elements of the
        array are read from the start of each on, whatever follows the row.
    masks : ndarray, 1-D
        **Overwritten** by 64 bits for each row, the lowest of them for the first column.
    """
    dtype, integer = a.dtype, types.intp
    signature = types.void(integer, integer, a, integer, masks)

    def codegen(context, builder, signature, arguments):
        m, k, _, lda, _ = arguments
        vectors, zero = Vectors(builder, dtype), constant(0)
        size = context.make_array(a)(context, builder, arguments[2]).nitems
        source = data_of(context, builder, a, arguments[2])
        target = data_of(context, builder, masks, arguments[4])
        target = builder.bitcast(target, ir.IntType(64).as_pointer())
        there = [vectors.lanes_below(k, first) for first in range(0, BITS, vectors.lanes)]
        below = vectors.bits_below(k)
        # Rows after which enough follows are read 64 elements at a time, whatever these may be.
        spare = builder.sub(size, constant(BITS))
        n_long = builder.add(builder.sdiv(spare, lda), constant(1))
        n_long = builder.select(builder.icmp_signed("<", spare, zero), zero, n_long)
        n_long = builder.select(builder.icmp_signed("<", m, n_long), m, n_long)
        for begin, end, lanes in ((zero, n_long, None), (n_long, m, there)):
            with cgutils.for_range(builder, end, start=begin) as loop:
                mask = vectors.nonzeros(vectors.element(source, loop.index, lda), lanes)
                mask = builder.and_(mask, below)
                builder.store(mask, vectors.element(target, loop.index))
        return context.get_dummy_value()

    return signature, codegen


def _add_product_of_nonzeros(m, n, masks, a, lda, slab, old, ldo, c, ldc):
    lanes = REGISTER // c.itemsize
    width = -(-n // lanes) * lanes
    columns = _places(n, lanes, n - lanes)
    words = masks.view(np.uint64)
    for i in range(m):
        row = c[i * ldc : i * ldc + n]
        row[:] = old[i * ldo : i * ldo + n]
        for p in range(BITS):
            if int(words[i]) >> p & 1:
                other = slab[p * width : p * width + columns.size]
                row[columns] = row[columns] + a[i * lda + p] * other


@python_version(_add_product_of_nonzeros)
@intrinsic
def add_product_of_nonzeros(typingctx, m, n, masks, a, lda, slab, old, ldo, c, ldc):
    r"""Compute :math:`C = A B + D` for a few columns and rows of B.

    Parameters
    ----------
    m, n : int
        Shape of C: at most as many columns as `MAX_REGISTERS` hold.
    masks : ndarray, 1-D
        Where A is not 0, as `find_nonzeros` leaves it. The rest is skipped, even where B is nan or
        infinite.
    a : ndarray, 1-D
        A, which has up to 64 columns, rows one after another.
    lda, ldo, ldc : int
        Distance between the starts of two rows, in elements. That of D may be 0: then its only row
        is added to all.
    slab : ndarray, 1-D
        B as `pack` leaves it, but for what follows a row in a single register, which does not
        matter; begins with a cache line.
    old : ndarray, 1-D
        D; may be C itself.
    c : ndarray, 1-D
        **Overwritten.** Must not overlap the others otherwise.
    """
    dtype, integer = a.dtype, types.intp
    signature = types.void(integer, integer, masks, a, integer, slab, old, integer, c, integer)

    def codegen(context, builder, signature, arguments):
        m, n, _, _, lda, _, _, ldo, _, ldc = arguments
        masks, a, slab, old, c = (
            data_of(context, builder, signature.args[i], arguments[i]) for i in (2, 3, 5, 6, 8)
        )
        masks = builder.bitcast(masks, ir.IntType(64).as_pointer())
        for n_parts in _switch_by_parts(builder, dtype, n, MAX_REGISTERS):
            registers = _registers_of(builder, dtype, n_parts, n)
            _rows_by_slab(builder, registers, m, masks, a, lda, slab, old, ldo, c, ldc)
        return context.get_dummy_value()

    return signature, codegen


def _rows_by_slab(builder, registers, m, masks, a, lda, slab, old, ldo, c, ldc):
    """Emit the loop over rows of C that take these registers."""
    vectors, last = registers[0].vectors, registers[-1].column
    with cgutils.for_range(builder, m) as loop:
        mask = builder.load(vectors.element(masks, loop.index))
        row = vectors.element(a, loop.index, lda)
        out = vectors.element(c, loop.index, ldc)
        # The next row is fetched while this one is at work. What follows the last one may be
        # another thread's.
        next_one = builder.add(loop.index, constant(1))
        is_last = builder.icmp_signed("==", next_one, m)
        next_row = builder.select(is_last, out, vectors.element(out, ldc))
        columns = [register.column for register in registers[:: LINE // REGISTER]]
        for column in dict.fromkeys([*columns, last]):
            vectors.prefetch(vectors.element(next_row, column), is_written=True)
        # All of a row is read before anything of it is written.
        old_row = vectors.element(old, loop.index, ldo)
        sums = [register.load(old_row) for register in registers]
        sums = _add_rows_of_slab(builder, registers, mask, row, slab, sums)
        for register, total in zip(registers, sums, strict=True):
            register.store(total, out)


def _add_rows_of_slab(builder, registers, mask, row, slab, sums):
    """Emit the loop over the bits of a mask; return the sums after it."""
    vectors, before = registers[0].vectors, builder.block
    head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    left = builder.phi(mask.type)
    totals = [builder.phi(register.vectors.kind) for register in registers]
    builder.cbranch(builder.icmp_unsigned("!=", left, constant(0)), body, end)
    builder.position_at_end(body)
    place = vectors.call("llvm.cttz.i64", mask.type, left, ir.Constant(ir.IntType(1), 1))
    number = builder.load(vectors.element(row, place))
    width = len(registers) * REGISTER // vectors.itemsize
    other = vectors.element(slab, place, constant(width))
    new = []
    for (some, _, start, _), total in zip(registers, totals, strict=True):
        right = some.load(some.element(other, start), align=some.itemsize * some.lanes)
        new.append(some.multiply_add(some.everywhere(number), right, total))
    without_lowest = builder.and_(left, builder.sub(left, constant(1)))
    for phi, first, later in zip(
        [left, *totals], [mask, *sums], [without_lowest, *new], strict=True
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(later, body)
    builder.branch(head)
    builder.position_at_end(end)
    return totals


def _add_product(m, n, k, alpha, a, row_step, step, b, ldb, last, old, ldo, c, ldc):
    lanes = REGISTER // c.itemsize
    columns, places = _places(n, lanes, n - lanes), _places(n, lanes, last)
    for i in range(m):
        row = c[i * ldc : i * ldc + n]
        row[:] = old[i * ldo : i * ldo + n]
        for p in range(k):
            number = alpha * a[i * row_step + p * step]
            row[columns] = row[columns] + number * b[p * ldb + places]


@python_version(_add_product)
@intrinsic
def add_product(typingctx, m, n, k, alpha, a, row_step, step, b, ldb, last, old, ldo, c, ldc):
    r"""Compute :math:`C = \alpha A B + D` for a few columns.

    Parameters
    ----------
    m, n, k : int
        A is (m, k), C is (m, n), and B (k, n). At most as many columns as `WIDEST` registers hold;
        at least one of each.
    alpha : float
        Scalar of the arrays' dtype.
    a : ndarray, 1-D
        A.
    row_step, step : int
        Distance from an element of A to that below it, and to the next one of its row.
    b : ndarray, 1-D
        B, rows one after another.
    ldb, ldo, ldc : int
        Distance between the starts of two rows. That of D may be 0, as for
        `add_product_of_nonzeros`.
    last : int
        Where in a row of B the register with its last columns begins, if that is not the only one:
        as many before the end as there are lanes, also where the row is one of a slab.
    old : ndarray, 1-D
        D; may be C itself.
    c : ndarray, 1-D
        **Overwritten.** Must not overlap the others otherwise.
    """
    dtype, integer = a.dtype, types.intp
    signature = types.void(
        integer, integer, integer, dtype, a, integer, integer, b, integer, integer, old, integer,
        c, integer,
    )  # fmt: skip

    def codegen(context, builder, signature, arguments):
        m, n, k, alpha, _, row_step, step, _, ldb, last, _, ldo, _, ldc = arguments
        a, b, old, c = (
            data_of(context, builder, signature.args[i], arguments[i]) for i in (4, 7, 10, 12)
        )
        for n_parts in _switch_by_parts(builder, dtype, n, WIDEST):
            registers, start = _registers_of(builder, dtype, n_parts, n, last), constant(0)
            for n_rows in (_ROWS_TOGETHER[len(registers)], 1):
                start = _rows_together(
                    builder, registers, n_rows, start, m, k, alpha, a, row_step, step, b, ldb, old,
                    ldo, c, ldc,
                )  # fmt: skip
        return context.get_dummy_value()

    return signature, codegen


def _rows_together(
    builder, registers, n_rows, start, m, k, alpha, a, row_step, step, b, ldb, old, ldo, c, ldc
):
    """Emit the loop over so many rows of C at a time; return the first row that is left over."""
    vectors, rows = registers[0].vectors, range(n_rows)
    n_times = builder.sdiv(builder.sub(m, start), constant(n_rows))
    with cgutils.for_range(builder, n_times) as loop:
        first = builder.add(start, builder.mul(loop.index, constant(n_rows)))
        numbers = [builder.add(first, constant(i)) for i in rows]
        lefts = [vectors.element(a, number, row_step) for number in numbers]
        outs = [vectors.element(c, number, ldc) for number in numbers]
        before = builder.block
        body, end = builder.append_basic_block("body"), builder.append_basic_block("done")
        builder.branch(body)
        builder.position_at_end(body)
        place = builder.phi(ir.IntType(64))
        sums = [[builder.phi(register.vectors.kind) for register in registers] for _ in rows]
        row = vectors.element(b, place, ldb)
        right = [
            some.load(some.element(row, begin), counted) for some, _, begin, counted in registers
        ]
        offset = builder.mul(place, step)
        new = []
        for left, totals in zip(lefts, sums, strict=True):
            number = builder.load(vectors.element(left, offset))
            new.append(
                [
                    some.multiply_add(some.everywhere(number), x, y)
                    for (some, *_), x, y in zip(registers, right, totals, strict=True)
                ]
            )
        next_place = builder.add(place, constant(1))
        place.add_incoming(constant(0), before)
        place.add_incoming(next_place, body)
        for totals, later in zip(sums, new, strict=True):
            for register, phi, value in zip(registers, totals, later, strict=True):
                phi.add_incoming(register.vectors.zeros, before)
                phi.add_incoming(value, body)
        builder.cbranch(builder.icmp_signed("<", next_place, k), body, end)
        builder.position_at_end(end)
        for number, out, totals in zip(numbers, outs, new, strict=True):
            # All of a row is read before anything of it is written.
            old_row = vectors.element(old, number, ldo)
            terms = [register.load(old_row) for register in registers]
            for register, total, term in zip(registers, totals, terms, strict=True):
                factor = register.vectors.everywhere(alpha)
                register.store(register.vectors.multiply_add(factor, total, term), out)
    return builder.add(start, builder.mul(n_times, constant(n_rows)))


def _choose(condition, x, y):
    return x if condition else y


@python_version(_choose)
@intrinsic
def choose(typingctx, condition, x, y):
    """Return x if a condition is true, else y, both computed, for loops that store it.

    Where one of both is what the array holds already, LLVM would store nothing there, by a mask,
    which with AVX2 takes AMD's processors as long as a dozen other stores.

    Parameters
    ----------
    condition : bool
        Which one.
    x, y : float
        Of one type.

    Returns
    -------
    float
        One of them.
    """
    if x != y:
        return None

    def codegen(context, builder, signature, arguments):
        condition, *numbers = arguments
        for i, number in enumerate(numbers):
            # What is frozen is not known to be what was read.
            numbers[i] = ir.Instruction(builder.block, number.type, "freeze", [number])
            builder.block.instructions.append(numbers[i])
        builder.position_at_end(builder.block)
        return builder.select(condition, *numbers)

    return x(types.boolean, x, x), codegen


def _prefetch(array, index):
    """Do nothing: the array is read soon enough."""


@python_version(_prefetch)
@intrinsic
def prefetch(typingctx, array, index):
    """Fetch the cache line of an element that will be read soon.

    Parameters
    ----------
    array : ndarray, 1-D
        The array.
    index : int
        The element. Nothing happens if there is none.
    """
    signature = types.void(array, types.intp)

    def codegen(context, builder, signature, arguments):
        vectors = Vectors(builder, array.dtype)
        pointer = vectors.element(data_of(context, builder, array, arguments[0]), arguments[1])
        vectors.prefetch(pointer, is_written=False)
        return context.get_dummy_value()

    return signature, codegen


def _pack(m, n, factor, matrix, stride, slab):
    lanes = REGISTER // slab.itemsize
    width = -(-n // lanes) * lanes
    columns = _places(n, lanes, n - lanes)
    for i in range(m):
        slab[i * width : i * width + columns.size] = factor * matrix[i * stride + columns]
        slab[i * width + columns.size : (i + 1) * width] = 0


@python_version(_pack)
@intrinsic
def pack(typingctx, m, n, factor, matrix, stride, slab):
    """Copy some columns of a matrix, times a factor, into a slab without gaps.

    Parameters
    ----------
    m, n : int
        Rows and columns.
    factor : float
        Scalar of the arrays' dtype.
    matrix : ndarray, 1-D
        Rows of the matrix, from the first of these columns. Not modified.
    stride : int
        Distance between the starts of two rows, in elements.
    slab : ndarray, 1-D
        **Overwritten.** A row is as long as the fewest registers that hold it: several registers
        end with the last columns, of which the last one but one holds some, too; a single one with
        zeros.
    """
    dtype, integer = matrix.dtype, types.intp
    signature = types.void(integer, integer, dtype, matrix, integer, slab)

    def codegen(context, builder, signature, arguments):
        m, n, factor, _, stride, _ = arguments
        source = data_of(context, builder, signature.args[3], arguments[3])
        target = data_of(context, builder, signature.args[5], arguments[5])
        vectors = Vectors(builder, dtype)
        factors, lanes = vectors.everywhere(factor), constant(vectors.lanes)
        n_registers = builder.sdiv(builder.add(n, constant(vectors.lanes - 1)), lanes)
        width = builder.mul(n_registers, lanes)
        latest = builder.sub(n, lanes)
        latest = builder.select(builder.icmp_signed("<", latest, constant(0)), constant(0), latest)

        def copy(first, count):
            """Emit the loop over rows of so many registers from one on."""
            columns = [builder.add(first, constant(i * vectors.lanes)) for i in range(count)]
            # The last register begins where it can be filled.
            is_last = builder.icmp_signed(">", columns[-1], latest)
            begins = [*columns[:-1], builder.select(is_last, latest, columns[-1])]
            some = vectors.lanes_below(builder.sub(n, begins[0])) if count == 1 else None
            with cgutils.for_range(builder, m) as rows:
                row = vectors.element(source, rows.index, stride)
                out = vectors.element(target, rows.index, width)
                for column, begin in zip(columns, begins, strict=True):
                    x = vectors.load(vectors.element(row, begin), some)
                    vectors.store(builder.fmul(factors, x), vectors.element(out, column))

        # Most lines are read once: rows that are far apart throw each other out of the cache.
        n_fours = builder.sdiv(n_registers, constant(4))
        with cgutils.for_range(builder, n_fours) as fours:
            copy(builder.mul(fours.index, constant(4 * vectors.lanes)), 4)
        n_done = builder.mul(n_fours, constant(4))
        with cgutils.for_range(builder, builder.sub(n_registers, n_done)) as ones:
            copy(builder.mul(builder.add(n_done, ones.index), lanes), 1)
        return context.get_dummy_value()

    return signature, codegen


def _transpose_square(matrix, stride, out, out_stride):
    size = REGISTER // out.itemsize
    for i in range(size):
        for j in range(size):
            out[j * out_stride + i] = matrix[i * stride + j]


@python_version(_transpose_square)
@intrinsic
def transpose_square(typingctx, matrix, stride, out, out_stride):
    """Transpose a square matrix with as many rows as a register has lanes.

    Parameters
    ----------
    matrix : ndarray, 1-D
        Its rows. Not modified.
    stride, out_stride : int
        Distance between the starts of two rows, in elements.
    out : ndarray, 1-D
        **Overwritten** by the rows of the transpose.
    """
    dtype = matrix.dtype
    signature = types.void(matrix, types.intp, out, types.intp)

    def codegen(context, builder, signature, arguments):
        source = data_of(context, builder, signature.args[0], arguments[0])
        target = data_of(context, builder, signature.args[2], arguments[2])
        _, stride, _, out_stride = arguments
        vectors = Vectors(builder, dtype)
        size = vectors.lanes
        rows = [vectors.load(vectors.element(source, constant(i), stride)) for i in range(size)]
        # Rows that are a power of two apart exchange halves, then quarters of halves, and so on.
        step = size // 2
        while step:
            low = [j if j & step == 0 else size + j - step for j in range(size)]
            high = [j + step if j & step == 0 else size + j for j in range(size)]
            for i in range(size):
                if i & step == 0:
                    one, other = rows[i], rows[i + step]
                    rows[i] = vectors.shuffle(one, other, low)
                    rows[i + step] = vectors.shuffle(one, other, high)
            step //= 2
        for i, row in enumerate(rows):
            vectors.store(row, vectors.element(target, constant(i), out_stride))
        return context.get_dummy_value()

    return signature, codegen
