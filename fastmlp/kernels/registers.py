"""What vector registers the processor has, and how to write LLVM's code for them.

LLVM turns that into whatever instructions the processor has.
"""

from __future__ import annotations

from llvmlite import binding, ir
from numba.core import cgutils, config

__all__ = [
    "BITS", "IS_FAST", "LINE", "PARTS", "PER_CYCLE", "REGISTER", "Vectors", "constant", "data_of",
]  # fmt: skip

try:
    # Not public. It is what Numba compiles for, and what compiled code is kept by.
    from numba.core.codegen import get_host_cpu_features
except ImportError:  # nothing of the processor's then, which is right, but slow
    get_host_cpu_features = str

_FEATURES = config.CPU_FEATURES
if _FEATURES is None:
    _FEATURES = get_host_cpu_features()
_FEATURES = _FEATURES.split(",")
_HAS_AVX2 = "+avx2" in _FEATURES and "+fma" in _FEATURES
# Bytes of a vector register.
REGISTER = 64 if "+avx512f" in _FEATURES else 32 if _HAS_AVX2 else 16
# Bytes of a line of the cache.
LINE = 64
# Registers that are multiplied and added in a cycle. Zen 4 does so one half after the other.
_IS_HALVED = (config.CPU_NAME or binding.get_host_cpu_name()) == "znver4"
PER_CYCLE = 1 if REGISTER == 64 and _IS_HALVED else 2
# Parts of a register of which fewer take less time: halves, where they come one after the other.
PARTS = 2 // PER_CYCLE
# Whether products by vector registers are known to be faster than plain loops and BLAS; else they
# are only right.
IS_FAST = REGISTER > 16
# Elements whose zeros are found together: those of one mask.
BITS = 64


class Vectors:
    """Emits instructions on vectors of a dtype.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Where to.
    dtype : numba.types.Float
        The type of a lane.
    size : int, default=REGISTER
        Bytes of a vector.
    """

    def __init__(self, builder, dtype, size=REGISTER):
        self.builder = builder
        self.itemsize = dtype.bitwidth // 8
        self.lanes = size // self.itemsize
        self.kind = ir.VectorType(
            ir.FloatType() if self.itemsize == 4 else ir.DoubleType(), self.lanes
        )
        self.zeros = ir.Constant(self.kind, None)
        self._suffix = f"v{self.lanes}f{dtype.bitwidth}"

    def call(self, name, returns, *arguments):
        """Call one of LLVM's own functions.

        Parameters
        ----------
        name : str
            Its name.
        returns : llvmlite.ir.Type
            What it returns.
        *arguments : llvmlite.ir.Value
            What it gets.

        Returns
        -------
        llvmlite.ir.Value
            Its result.
        """
        kind = ir.FunctionType(returns, [argument.type for argument in arguments])
        callee = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(callee, arguments)

    def element(self, pointer, *offsets):
        """Return the pointer to an element, as many on as the product of some offsets.

        Parameters
        ----------
        pointer : llvmlite.ir.Value
            Where to count from.
        *offsets : llvmlite.ir.Value
            Integers of 64 bits, at least one.

        Returns
        -------
        llvmlite.ir.Value
            The pointer.
        """
        offset = offsets[0]
        for factor in offsets[1:]:
            offset = self.builder.mul(offset, factor)
        return self.builder.gep(pointer, [offset])

    def _at(self, pointer):
        return self.builder.bitcast(pointer, self.kind.as_pointer())

    def load(self, pointer, lanes=None, align=None):
        """Read a vector, or some lanes of it; the others are 0 and their memory is not touched.

        Parameters
        ----------
        pointer : llvmlite.ir.Value
            The first of the elements.
        lanes : llvmlite.ir.Value, default=None
            Which of them; None: all.
        align : int, default=None
            What the address is a multiple of, in bytes; None: of the size of an element.

        Returns
        -------
        llvmlite.ir.Value
            The vector.
        """
        if lanes is None:
            return self.builder.load(self._at(pointer), align=align or self.itemsize)
        return self.call(
            f"llvm.masked.load.{self._suffix}.p0", self.kind, self._at(pointer),
            constant(self.itemsize, 32), lanes, self.zeros,
        )  # fmt: skip

    def store(self, vector, pointer, lanes=None):
        """Write a vector, or some lanes of it.

        Parameters
        ----------
        vector : llvmlite.ir.Value
            The vector.
        pointer : llvmlite.ir.Value
            The first of the elements.
        lanes : llvmlite.ir.Value, default=None
            Which of them; None: all.
        """
        if lanes is None:
            self.builder.store(vector, self._at(pointer), align=self.itemsize)
            return
        self.call(
            f"llvm.masked.store.{self._suffix}.p0", ir.VoidType(), vector, self._at(pointer),
            constant(self.itemsize, 32), lanes,
        )  # fmt: skip

    def prefetch(self, pointer, *, is_written):
        """Fetch a line into the first-level cache, to be read or to be written.

        Parameters
        ----------
        pointer : llvmlite.ir.Value
            Anything in it; there need not be memory of ours.
        is_written : bool
            Whether it will be written.
        """
        byte = self.builder.bitcast(pointer, ir.IntType(8).as_pointer())
        how, closest, data = constant(int(is_written), 32), constant(3, 32), constant(1, 32)
        self.call("llvm.prefetch.p0", ir.VoidType(), byte, how, closest, data)

    def multiply_add(self, x, y, z):
        """Return x y + z.

        Parameters
        ----------
        x, y, z : llvmlite.ir.Value
            Vectors.

        Returns
        -------
        llvmlite.ir.Value
            A vector, rounded once where the processor can.
        """
        return self.call(f"llvm.fmuladd.{self._suffix}", self.kind, x, y, z)

    def everywhere(self, number):
        """Return a number in all lanes.

        Parameters
        ----------
        number : llvmlite.ir.Value
            The number.

        Returns
        -------
        llvmlite.ir.Value
            A vector.
        """
        undefined = ir.Constant(self.kind, ir.Undefined)
        first = self.builder.insert_element(undefined, number, constant(0, 32))
        return self.shuffle(first, undefined, [0] * self.lanes)

    def shuffle(self, one, other, order):
        """Return elements of two vectors, numbered through, in some order.

        Parameters
        ----------
        one, other : llvmlite.ir.Value
            The vectors.
        order : list of int
            One number per lane.

        Returns
        -------
        llvmlite.ir.Value
            A vector.
        """
        order = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), order)
        return self.builder.shuffle_vector(one, other, order)

    def bits_below(self, count):
        """Return 64 bits, as many of which are 1 as a count says, from the lowest on.

        Parameters
        ----------
        count : llvmlite.ir.Value
            At least 0.

        Returns
        -------
        llvmlite.ir.Value
            An integer of 64 bits.
        """
        builder = self.builder
        ones = builder.sub(builder.shl(constant(1), count), constant(1))
        return builder.select(builder.icmp_signed(">=", count, constant(64)), constant(-1), ones)

    def lanes_below(self, count, first=0):
        """Return which of the lanes are below a count.

        Parameters
        ----------
        count : llvmlite.ir.Value
            At least 0.
        first : int, default=0
            The number of the first of them.

        Returns
        -------
        llvmlite.ir.Value
            A vector of single bits.
        """
        builder = self.builder
        bits = builder.lshr(self.bits_below(count), constant(first))
        some = builder.trunc(bits, ir.IntType(self.lanes))
        return builder.bitcast(some, ir.VectorType(ir.IntType(1), self.lanes))

    def nonzeros(self, pointer, lanes):
        """Return the mask of 64 elements that are not 0.

        Parameters
        ----------
        pointer : llvmlite.ir.Value
            The first of the elements.
        lanes : list of llvmlite.ir.Value or None
            Which there are, for each vector; None: all.

        Returns
        -------
        llvmlite.ir.Value
            An integer of 64 bits.
        """
        builder, mask = self.builder, constant(0)
        for first in range(0, BITS, self.lanes):
            some = lanes[first // self.lanes] if lanes else None
            x = self.load(self.element(pointer, constant(first)), some)
            bits = builder.bitcast(
                builder.fcmp_unordered("!=", x, self.zeros), ir.IntType(self.lanes)
            )
            bits = builder.shl(builder.zext(bits, ir.IntType(64)), constant(first))
            mask = builder.or_(mask, bits)
        return mask


def constant(value, bits=64):
    """Return a constant of the code.

    Parameters
    ----------
    value : int
        Its value.
    bits : int, default=64
        Its size.

    Returns
    -------
    llvmlite.ir.Constant
        The constant.
    """
    return ir.Constant(ir.IntType(bits), value)


def data_of(context, builder, kind, array):
    """Return the pointer to an array's first element.

    Parameters
    ----------
    context, builder : object
        Numba's typing of machines, and llvmlite's builder of the code, as an intrinsic gets them.
    kind : numba.types.Array
        The type of the array.
    array : llvmlite.ir.Value
        The array.

    Returns
    -------
    llvmlite.ir.Value
        The pointer.
    """
    return context.make_array(kind)(context, builder, array).data
