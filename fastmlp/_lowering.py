"""How Numba compiles a function that only other compiled functions call: no further than needed.

Numba makes machine code of every function. Of a kernel nobody ever needs it: a kernel is merged
into whatever calls it, and that is optimised as a whole. Without machine code, and without being
optimised at every level of calls, the first fit on a machine compiles a third less.

This relies on Numba's private interfaces. `COMPILER_OF_KERNELS` is None where they are missing,
and kernels are then compiled the common way, only more slowly; `tests/test_lowering.py` guards it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from numba.core.codegen import CPUCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.cpu import CPUContext
from numba.core.typed_passes import NativeLowering

__all__ = ["COMPILER_OF_KERNELS"]


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(NativeLowering):
    """Numba's lowering to LLVM, without the steps after it."""

    _name = "kernel_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower a kernel; Numba holds the lock of its compiler.

        Parameters
        ----------
        state : numba compiler state
            **Changed**: the result of the compilation is added.

        Returns
        -------
        bool
            Whether the function was changed, as the base class says.
        """
        if state.library is None:
            codegen = state.targetctx.codegen()
            state.library = codegen.create_library(state.func_id.func_qualname)
            state.library.enable_object_caching()
        library = state.library
        # On the instance: callers link the module of a library that is "finalized" into their own.
        library._optimize_final_module = _do_nothing
        library._finalize_final_module = lambda: setattr(library, "_finalized", True)
        with _no_executable(state.targetctx):
            return bool(super().run_pass(state))


def _do_nothing() -> None:
    pass


@contextlib.contextmanager
def _no_executable(context: Any) -> Iterator[None]:
    """Let a target context stand in something unique for the executable function."""

    def stand_in(library: Any, description: Any, environment: Any) -> Any:
        library._ensure_finalized()
        # Numba's dispatcher takes built-in functions only, and tells kernels apart by them. This
        # one always raises an error, so that no call from Python goes astray.
        return {}.popitem

    context.get_executable = stand_in
    try:
        yield
    finally:
        del context.get_executable


class _KernelCompiler(CompilerBase):
    """Numba's compiler, with the other lowering."""

    def define_pipelines(self) -> list[Any]:
        """Return Numba's passes.

        Returns
        -------
        list of PassManager
            One.
        """
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [
            (_KernelLowering if kind is NativeLowering else kind, reason)
            for kind, reason in manager.passes
        ]
        manager.finalize()
        return [manager]


_NEEDED = {
    CPUCodeLibrary: (
        "enable_object_caching", "_ensure_finalized", "_optimize_final_module",
        "_finalize_final_module", "_get_module_for_linking",
    ),
    CPUContext: ("get_executable", "insert_user_function"),
    DefaultPassBuilder: ("define_nopython_pipeline",),
}  # fmt: skip

COMPILER_OF_KERNELS = (
    _KernelCompiler
    if all(hasattr(owner, name) for owner, names in _NEEDED.items() for name in names)
    else None
)
"""What ``numba.njit(pipeline_class=...)`` takes for kernels; None: nothing special."""
