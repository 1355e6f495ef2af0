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

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numpy.typing import DTypeLike

from fastmlp._jit import (
    compile_elsewhere,
    entry_point,
    is_compiled_elsewhere,
    separately_compiled,
)

__all__ = ["LINKED_FUNCTIONS", "Interface", "LinkedFunction", "Table", "compile_ahead"]

LINKED_FUNCTIONS: list[LinkedFunction] = []
"""All that the package defines."""

Row = TypeVar("Row")

# What `compile_ahead` was asked for, with the dtype.
_announced: set[tuple[Any, DTypeLike]] = set()
# Where nothing is compiled, an "address" is a key of this; 0 is none, as for real addresses.
_python_functions: dict[int, Callable[..., Any]] = {}


def _numba_type(kind: Any, real: Any) -> Any:
    """Return the Numba type that a kind of parameter stands for."""
    if not isinstance(kind, str):
        hints = get_type_hints(kind, include_extras=True)
        fields = [_type_of_field(hints[name], real) for name in kind._fields]
        return types.BaseTuple.from_types(fields, kind)
    return {
        "int": types.intp,
        "bool": types.boolean,
        "real": real,
        "double": types.float64,
        "reals": types.Array(real, 1, "C"),
        "matrix": types.Array(real, 2, "C"),
        "doubles": types.Array(types.float64, 1, "C"),
        "table": types.Array(types.float64, 2, "C"),
        "int table": types.Array(types.int64, 2, "C"),
        "ints": types.Array(types.int64, 1, "C"),
        "int32s": types.Array(types.int32, 1, "C"),
        "uint32s": types.Array(types.uint32, 1, "C"),
        "none": types.none,
    }[kind]


def _type_of_field(hint: Any, real: Any) -> Any:
    """Return the Numba type of a structure's field that is annotated like this."""
    if hint in (int, float):
        return types.intp if hint is int else types.float64
    return _numba_type(getattr(hint, "__metadata__", [hint])[0], real)


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
    interface : Interface
        What it is given.
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
        self.interface = interface
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
                signature = self.interface.signature(getattr(types, dtype.name))
                self.compiled.compile(signature)
                result = self.compiled.overloads[signature.args]
                self._addresses[dtype] = result.library.get_pointer_to_function(
                    result.fndesc.llvm_func_name
                )
        return self._addresses[dtype]

    def is_in_the_making(self, dtype: DTypeLike) -> bool:
        """Return whether another process is still compiling it, so that `address` would wait.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.

        Returns
        -------
        bool
            The answer.
        """
        dtype = np.dtype(dtype)
        if dtype in self._addresses or config.DISABLE_JIT:
            return False
        signature = self.interface.signature(getattr(types, dtype.name))
        return is_compiled_elsewhere(self.compiled, signature.args)

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
    *parameters : str or type
        Types of the parameters: int, bool, real (the compute dtype), double, reals, matrix,
        doubles, table (a matrix of doubles), int table, ints, int32s or uint32s; arrays are
        C-contiguous. Or a named tuple whose fields are annotated with int, float, such a tuple or,
        for arrays, ``Annotated[..., "reals"]`` and the like.
    returns : str, default="none"
        Type of the result.
    """

    def __init__(self, *parameters: str | type, returns: str = "none") -> None:
        self._parameters, self._returns = parameters, returns
        self._signatures: dict[Any, Any] = {}

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
        if real not in self._signatures:
            parameters = [_numba_type(kind, real) for kind in self._parameters]
            self._signatures[real] = _numba_type(self._returns, real)(*parameters)
        return self._signatures[real]

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

    def entry_point(self, function: Callable[..., Any]) -> Any:
        """Make a function that Python calls with what the interface says; a decorator.

        Parameters
        ----------
        function : callable
            Written like a kernel, in a module under its own name.

        Returns
        -------
        numba.core.registry.CPUDispatcher
            The compiled function, with this as its `interface`.
        """
        dispatcher = entry_point(function)
        dispatcher.interface = self
        return dispatcher

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
            is_one = type(arguments[0]) in (types.Tuple, types.UniTuple)
            given = arguments[0] if is_one else arguments
            declared = self.signature(given[which].dtype)

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


def compile_ahead(elsewhere: Iterable[Any], here: Iterable[Any], dtype: DTypeLike) -> None:
    """Compile what will be needed in two processes at once.

    Nothing is done if all that would be compiled elsewhere is there already, or if no process can
    be started. What was asked for once is not looked for again.

    Parameters
    ----------
    elsewhere : iterable of LinkedFunction and numba.core.registry.CPUDispatcher
        Linked functions and entry points that another process compiles, one after another.
    here : iterable of LinkedFunction and numba.core.registry.CPUDispatcher
        What this process compiles meanwhile.
    dtype : dtype
        float32 or float64.
    """
    new = [function for function in elsewhere if (function, dtype) not in _announced]
    if not new:
        return
    real = getattr(types, np.dtype(dtype).name)

    def compilation(function: Any) -> tuple[Any, Any]:
        compiled = function.compiled if isinstance(function, LinkedFunction) else function
        return compiled, function.interface.signature(real).args

    is_under_way = compile_elsewhere(map(compilation, new))
    _announced.update((function, dtype) for function in new)
    if is_under_way:
        for compiled, arguments in map(compilation, here):
            compiled.compile(arguments)


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
