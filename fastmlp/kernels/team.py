"""Threads inside a batch: a barrier that costs a tenth of a microsecond.

Python threads enter the same compiled function, which releases the GIL, and meet at a barrier
several times per batch. Numba's own threading layers are not used: one kills the process after a
fork, another aborts on concurrent calls.
"""

from __future__ import annotations

import platform
import sys

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp._jit import inlined_kernel, kernel, python_version

__all__ = ["GRAIN", "is_called_off", "share", "wait_for_all"]

# Units and parameters, and rows of one matrix, are shared in multiples of a cache line of floats.
GRAIN = 16

# Whether there is an instruction that leaves the core to its other hardware thread for some dozens
# of cycles. On ARM, what should do so does nothing.
_HAS_PAUSE = platform.machine() in ("x86_64", "AMD64")
# Some 50 to 150 microseconds, longer than members that all run wait for each other. Then the
# system may run another thread: more threads than free cores must not spin. Who yields at once, and
# to a thread of another process that never does, waits a time slice at every barrier.
_SPINS_BEFORE_YIELD = 3_000 if _HAS_PAUSE else 30_000
_yield_processor = types.ExternalFunction(
    "SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32()
)


@intrinsic
def _fetch_and_add(typingctx, array, index, value):
    """Add to array[index] atomically and return what it held before."""
    signature = types.int64(array, types.intp, types.int64)

    def codegen(context, builder, signature, arguments):
        pointer = _element(context, builder, signature, arguments)
        return builder.atomic_rmw("add", pointer, arguments[2], "seq_cst")

    return signature, codegen


@intrinsic
def _load(typingctx, array, index):
    """Read array[index] atomically."""
    signature = types.int64(array, types.intp)

    def codegen(context, builder, signature, arguments):
        return builder.load_atomic(_element(context, builder, signature, arguments), "seq_cst", 8)

    return signature, codegen


@intrinsic
def _pause(typingctx):
    """Tell the processor that this is a loop that waits, where there is a way to say so."""

    def codegen(context, builder, signature, arguments):
        if _HAS_PAUSE:
            kind, name = ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.void(), codegen


def _element(context, builder, signature, arguments):
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    pointer = builder.gep(array.data, [arguments[1]])
    return builder.bitcast(pointer, ir.IntType(64).as_pointer())


@kernel
def _spin(size, barrier):
    generation = _load(barrier, 8)
    if _fetch_and_add(barrier, 0, 1) == size - 1:
        _fetch_and_add(barrier, 0, -size)
        _fetch_and_add(barrier, 8, 1)
        return True
    spins = 0
    while _load(barrier, 8) == generation:
        if _load(barrier, 16):
            return False
        spins += 1
        _pause()
        if spins > _SPINS_BEFORE_YIELD:
            _yield_processor()
    return True


def _wait_for_all(size, barrier):
    if size > 1:
        raise RuntimeError("Threads meet in compiled code only.")
    return True


@python_version(_wait_for_all)
@inlined_kernel
def wait_for_all(size, barrier):
    """Wait until `size` threads have called this.

    Parameters
    ----------
    size : int
        Number of threads.
    barrier : ndarray of int64, shape (24,)
        Shared state, on cache lines of their own: arrivals at [0], generation at [8], and at
        [16] whether the work is called off, so that nobody waits for a member that will not come.

    Returns
    -------
    bool
        False if the others need not be waited for any more: return at once.
    """
    if _load(barrier, 16):
        return False
    return size == 1 or _spin(size, barrier)


@inlined_kernel
def share(total, grain, part, parts):
    """Return the range of `part` when `total` items are shared out in multiples of `grain`.

    Parameters
    ----------
    total, grain : int
        Items, and how many belong together (a vector register, a cache line).
    part, parts : int
        Which share, of how many.

    Returns
    -------
    start, stop : int
        The range; the shares cover [0, total) without overlap.
    """
    if parts == 1:  # without divisions, which tiny networks would feel
        return 0, total
    grains = (total + grain - 1) // grain
    start = grains * part // parts * grain
    stop = grains * (part + 1) // parts * grain
    return min(start, total), min(stop, total)


def _is_called_off(barrier):
    return barrier[16] != 0


@python_version(_is_called_off)
@inlined_kernel
def is_called_off(barrier):
    """Return whether the work is called off: nothing more need be done before `wait_for_all`.

    Parameters
    ----------
    barrier : ndarray of int64, shape (24,)
        As for `wait_for_all`.

    Returns
    -------
    bool
        Whether somebody set ``barrier[16]``.
    """
    return _load(barrier, 16) != 0
