"""Functions that are compiled on their own, and called by their address.

There are many activations, losses and optimizers, and a fit needs a few of them. Compiled into the
training loop, all of them would have to be compiled before the first step is taken. Instead, a
*linked* function is a piece of machine code of its own, compiled (or read from disk) when its
address is first asked for; the training loop finds the addresses among its arguments. Such a call
costs a nanosecond, and a new function, even a user's, leaves what is compiled as it is.

An `Interface` fixes what the functions of one kind are given::

    ACTIVATION = Interface("int", "real", "reals")
    activate = ACTIVATION.caller("Replace z by f(z).")  # activate(address, n_units, slope, a)


    @ACTIVATION.function
    def relu(n_units, slope, a): ...


    relu.address(np.float32)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numpy.typing import DTypeLike

from fastmlp._jit import separately_compiled

__all__ = ["LINKED_FUNCTIONS", "Interface", "LinkedFunction", "Table"]

LINKED_FUNCTIONS: list[LinkedFunction] = []
"""All that the package defines."""

Row = TypeVar("Row")

# Where nothing is compiled, an "address" is a key of this; 0 is none, as for real addresses.
_python_functions: dict[int, Callable[..., Any]] = {}


def _numba_type(name: str, real: Any) -> Any:
    """Return the Numba type that a name of an interface stands for."""
    return {
        "int": types.intp,
        "real": real,
        "double": types.float64,
        "reals": types.Array(real, 1, "C"),
        "matrix": types.Array(real, 2, "C"),
        "doubles": types.Array(types.float64, 1, "C"),
        "table": types.Array(types.float64, 2, "C"),
        "ints": types.Array(types.int64, 1, "C"),
        "int32s": types.Array(types.int32, 1, "C"),
        "uint32s": types.Array(types.uint32, 1, "C"),
        "none": types.none,
    }[name]


class LinkedFunction:
    """A function that is compiled by itself, once per dtype.

    Parameters
    ----------
    function : callable
        The Python function, written like a kernel.
    interface : Interface
        What it is given.
    is_kept : bool, default=True
        Whether its machine code is kept on disk.

    Attributes
    ----------
    compiled : numba.core.registry.CPUDispatcher
        The function for compiled code that knows it beforehand and needs no address.
    """

    def __init__(
        self, function: Callable[..., Any], interface: Interface, *, is_kept: bool = True
    ) -> None:
        self.function = function
        self.__name__, self.__doc__ = function.__name__, function.__doc__
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__
        self.__wrapped__ = function
        self._interface = interface
        self.compiled = separately_compiled(function, is_kept=is_kept)
        self._addresses: dict[np.dtype[Any], int] = {}

    def address(self, dtype: DTypeLike) -> int:
        """Return where the machine code is, after compiling it if it is asked for first.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.

        Returns
        -------
        int
            The address, for the interface's caller.
        """
        dtype = np.dtype(dtype)
        if dtype not in self._addresses:
            if config.DISABLE_JIT:
                # The function first: another thread may ask at the same time.
                _python_functions[id(self.function)] = self.function
                self._addresses[dtype] = id(self.function)
            else:
                signature = self._interface.signature(getattr(types, dtype.name))
                self.compiled.compile(signature)
                result = self.compiled.overloads[signature.args]
                self._addresses[dtype] = result.library.get_pointer_to_function(
                    result.fndesc.llvm_func_name
                )
        return self._addresses[dtype]

    def __call__(self, *arguments: Any) -> Any:
        """Run the Python function.

        Parameters
        ----------
        *arguments
            What the interface says.

        Returns
        -------
        object
            What it returns.
        """
        return self.function(*arguments)


class Interface:
    """What the functions of one kind are given and return.

    Parameters
    ----------
    *parameters : str
        Types of the parameters: int, real (the compute dtype), double, reals, matrix, doubles,
        table (a matrix of doubles), ints, int32s or uint32s; arrays are C-contiguous.
    returns : str, default="none"
        Type of the result.
    """

    def __init__(self, *parameters: str, returns: str = "none") -> None:
        self._parameters, self._returns = parameters, returns

    def signature(self, real: Any) -> Any:
        """Return the Numba signature for a compute dtype.

        Parameters
        ----------
        real : numba type
            float32 or float64.

        Returns
        -------
        numba signature
            The signature.
        """
        parameters = [_numba_type(name, real) for name in self._parameters]
        return _numba_type(self._returns, real)(*parameters)

    def function(self, function: Callable[..., Any]) -> LinkedFunction:
        """Make a function of this kind; a decorator.

        Parameters
        ----------
        function : callable
            Written like a kernel.

        Returns
        -------
        LinkedFunction
            Knows its addresses.
        """
        linked = LinkedFunction(function, self)
        LINKED_FUNCTIONS.append(linked)
        return linked

    def caller(self, summary: str) -> Any:
        """Return a function for kernels that takes an address, and then what the interface says.

        Parameters
        ----------
        summary : str
            First line of its docstring.

        Returns
        -------
        callable
            Calls a function of this kind, of the dtype that its arguments have.
        """
        if config.DISABLE_JIT:

            def call_python(address: int, *arguments: Any) -> Any:
                return _python_functions[address](*arguments)

            call_python.__doc__ = summary
            return call_python
        which = next(i for i, name in enumerate(self._parameters) if name in ("reals", "matrix"))

        @intrinsic
        def call(typingctx, address, *arguments):  # type: ignore[no-untyped-def]
            # Numba hands the rest of the arguments over as one tuple.
            given = arguments[0] if isinstance(arguments[0], types.BaseTuple) else arguments
            declared = self.signature(given[which].dtype)  # type: ignore[index]

            def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
                convention = context.call_conv
                parts = cgutils.unpack_tuple(builder, values[1])
                parts = [
                    context.cast(builder, value, have, want)
                    for value, have, want in zip(
                        parts, signature.args[1].types, declared.args, strict=True
                    )
                ]
                kind = convention.get_function_type(declared.return_type, declared.args)
                callee = builder.inttoptr(values[0], ir.PointerType(kind))
                status, result = convention.call_function(
                    builder, callee, declared.return_type, declared.args, parts
                )
                with cgutils.if_unlikely(builder, status.is_error):
                    convention.return_status_propagate(builder, status)
                return result

            tuple_type = types.Tuple(given)
            return declared.return_type(types.intp, tuple_type), codegen

        call.__doc__ = summary
        return call


class Table(dict[str, Row]):
    """The rows of all variants of one kind, by name.

    What brings a row of its own, as a user's activation or loss does, stands for it in the place of
    a name: ``table[custom]`` is ``custom.row``, although it is not *in* the table.
    """

    if TYPE_CHECKING:

        def __getitem__(self, key: Any) -> Row: ...

    def __missing__(self, key: Any) -> Row:
        try:
            row: Row = key.row
        except AttributeError:
            raise KeyError(key) from None
        return row
