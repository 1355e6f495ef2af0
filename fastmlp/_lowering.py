"""How Numba compiles a function that only other compiled functions call: no further than needed.

Numba makes machine code of every function. Of a kernel nobody ever needs it: a kernel is merged
into whatever calls it, and that is optimised as a whole. Without machine code, and without being
optimised at every level of calls, the first fit on a machine compiles a third less.

A function that is compiled like this must not print, nor raise errors with arguments of its own:
for these Numba reads an environment that comes with machine code.

This relies on Numba's private interfaces. `COMPILER_OF_KERNELS` is None where they are missing,
and kernels are then compiled the common way, only more slowly; `tests/test_lowering.py` guards it.
"""

from __future__ import annotations

from typing import Any

try:
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import CompilerBase, DefaultPassBuilder
    from numba.core.compiler_machinery import register_pass
    from numba.core.typed_passes import NativeLowering
except ImportError:
    _HAS_WHAT_IS_NEEDED = False
else:
    _HAS_WHAT_IS_NEEDED = all(
        hasattr(JITCodeLibrary, name)
        for name in ("_ensure_finalized", "_optimize_final_module", "_finalize_final_module")
    )

__all__ = ["COMPILER_OF_KERNELS"]

COMPILER_OF_KERNELS: Any = None
"""What ``numba.njit(pipeline_class=...)`` takes for kernels; None: nothing special."""

if _HAS_WHAT_IS_NEEDED:

    class _KernelLibrary(JITCodeLibrary):
        """Code that is only ever linked into other libraries, which optimise it with their own."""

        def _optimize_final_module(self) -> None:
            pass

        def _finalize_final_module(self) -> None:
            self._finalized = True

    @register_pass(mutates_CFG=True, analysis_only=False)
    class _KernelLowering(NativeLowering):
        """Numba's lowering to LLVM, without the steps after it."""

        _name = "kernel_lowering"

        def run_pass(self, state: Any) -> bool:
            """Lower a kernel.

            Parameters
            ----------
            state : numba compiler state
                **Changed**: the result of the compilation is added.

            Returns
            -------
            bool
                Whether the function was changed, as the base class says.
            """
            context = state.targetctx
            state.library = _KernelLibrary(context.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
            state.flags.no_compile = True
            has_changed = super().run_pass(state)
            state.library._ensure_finalized()
            # Numba's dispatcher takes built-in functions only, and tells kernels apart by them.
            # This one always raises an error, so that no call from Python goes astray.
            stand_in: Any = {}.popitem
            context.insert_user_function(stand_in, state.cr.fndesc, [state.library])
            state.reload_init.extend(state.library._reload_init)
            state.cr = state.cr._replace(cfunc=stand_in)
            return bool(has_changed)

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

    COMPILER_OF_KERNELS = _KernelCompiler
