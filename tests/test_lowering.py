"""Kernels are merged into what calls them, without machine code of their own."""

import numba
import numpy as np
import pytest

from fastmlp._jit import entry_point, inlined_kernel, kernel
from fastmlp._lowering import COMPILER_OF_KERNELS

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")


@inlined_kernel
def square(x):
    return x * x


@kernel
def sum_of_squares(x):
    total = 0.0
    for i in range(x.size):
        total += square(x[i])
    return total


@kernel
def other_sum(x):
    return 2 * sum_of_squares(x)


@entry_point
def twice_and_once(x):
    return other_sum(x), sum_of_squares(x)


def test_numba_has_what_is_needed():
    assert COMPILER_OF_KERNELS is not None
    assert kernel(lambda: None)._compiler.pipeline_class is COMPILER_OF_KERNELS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_compute_within_kernels(dtype):
    x = np.arange(5, dtype=dtype)
    assert twice_and_once(x) == (60.0, 30.0)


def test_only_entry_points_have_machine_code():
    twice_and_once(np.ones(3))

    def address(dispatcher):
        (result,) = (
            result for args, result in dispatcher.overloads.items() if "float64" in str(args[0])
        )
        return result.library.get_pointer_to_function(result.fndesc.llvm_func_name)

    assert address(twice_and_once) != 0
    assert address(sum_of_squares) == address(other_sum) == address(square) == 0


def test_a_kernel_called_from_python_is_an_error():
    twice_and_once(np.ones(3))
    with pytest.raises(KeyError):
        sum_of_squares(np.ones(3))


@kernel
def count(x):
    if x.size > 2:
        raise ValueError("too many")
    return x.size


@entry_point
def count_all(x):
    return count(x)


def test_errors_of_kernels_reach_python():
    assert count_all(np.ones(2)) == 2
    with pytest.raises(ValueError, match="too many"):
        count_all(np.ones(3))


def test_users_compiled_functions_may_call_kernels():
    @numba.njit
    def mean_square(x):
        return sum_of_squares(x) / x.size

    assert mean_square(np.array([1.0, 3.0])) == 5.0
