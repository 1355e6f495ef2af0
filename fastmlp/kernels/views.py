"""Views: slices that cost neither time nor compilation.

A slice in compiled code supports negative bounds, steps and clipping, in some sixty instructions
that every use adds to what has to be compiled. Kernels know their bounds.
"""

from __future__ import annotations

from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from fastmlp._jit import python_version

__all__ = ["view"]


def _view(array, start, size):
    if start < 0 or size < 0 or start + size > array.size:
        raise IndexError("view out of bounds")
    return array[start : start + size]


@python_version(_view)
@intrinsic
def view(typingctx, array, start, size):
    """Return the elements [start, start + size) of an array.

    Parameters
    ----------
    array : ndarray, 1-D
        C-contiguous.
    start, size : int
        Within the array, or undefined behaviour results; checked under ``NUMBA_BOUNDSCHECK`` and
        in plain Python.

    Returns
    -------
    ndarray of shape (size,)
        A view.
    """
    if not isinstance(array, types.Array) or array.ndim != 1 or array.layout != "C":
        return None

    def codegen(context, builder, signature, arguments):
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        _, first, count = arguments
        if config.BOUNDSCHECK:
            zero, stop = first.type(0), builder.add(first, count)
            length = builder.extract_value(source.shape, 0)
            is_outside = builder.or_(
                builder.icmp_signed(">", stop, length),
                builder.or_(
                    builder.icmp_signed("<", first, zero), builder.icmp_signed("<", count, zero)
                ),
            )
            with builder.if_then(is_outside, likely=False):
                context.call_conv.return_user_exc(builder, IndexError, ("view out of bounds",))
        out = context.make_array(signature.return_type)(context, builder)
        itemsize = context.get_constant(
            types.intp, context.get_abi_sizeof(context.get_data_type(array.dtype))
        )
        # Without an owner: what the view is on outlives every kernel.
        populate_array(
            out,
            data=cgutils.pointer_add(builder, source.data, builder.mul(first, itemsize)),
            shape=[count],
            strides=[itemsize],
            itemsize=itemsize,
            meminfo=None,
        )
        return out._getvalue()

    return array(array, types.intp, types.intp), codegen
