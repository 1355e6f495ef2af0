"""Numbers that are nearly nothing count as nothing while a network trains, on x86-64.

A weight whose gradient is its own L2 term alone, that of a pixel which is always dark or of a unit
that is dead, shrinks for ever. Below 1e-38 (float32) or 2e-308 a number is *subnormal*, and many
processors take far longer to compute with it: a step of Adam on such weights has been five times as
slow. Networks have no use for such numbers.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp._jit import entry_point, python_version

__all__ = ["AS_IT_IS", "FLUSH", "set_mode"]

# Passed to `set_mode`: count subnormal numbers as zero; change nothing.
FLUSH, AS_IT_IS = -1, -2
# Of the control and status register of SSE: flush results, and count operands as zero.
_FLUSH_BITS = 0x8040


def _exchange(mode):
    return mode


@python_version(_exchange)
@intrinsic
def _exchange_mode(typingctx, mode):
    """Set the mode of this thread, and return the one before; nothing on other processors."""

    def codegen(context, builder, signature, arguments):
        (mode,) = arguments
        triple, *_ = context.codegen().magic_tuple()
        if not triple.startswith("x86_64"):
            return mode
        word, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte])
        read, write = (
            cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}mxcsr")
            for name in ("st", "ld")
        )
        place = cgutils.alloca_once(builder, word)
        address = builder.bitcast(place, byte)
        builder.call(read, [address])
        before = builder.load(place)

        def is_code(code):
            return builder.icmp_signed("==", mode, ir.Constant(mode.type, code))

        new = builder.trunc(mode, word)
        flushing = builder.or_(before, ir.Constant(word, _FLUSH_BITS))
        new = builder.select(is_code(FLUSH), flushing, new)
        builder.store(builder.select(is_code(AS_IT_IS), before, new), place)
        builder.call(write, [address])
        return builder.zext(before, mode.type)

    return types.int64(types.int64), codegen


@entry_point
def set_mode(mode):
    """Say what this thread does with subnormal numbers.

    Parameters
    ----------
    mode : int
        `FLUSH`, `AS_IT_IS`, or what an earlier call returned.

    Returns
    -------
    int
        The mode before, for another call.
    """
    return _exchange_mode(mode)
