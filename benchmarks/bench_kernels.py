"""Every row of the kernels' tables, and the matrix products of a layer, on data that fits in cache.

Kernels are made for being called from compiled code; here they are compiled once more so that
Python can call them, which costs about a microsecond per call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from probe import meet
from threadpoolctl import threadpool_limits

from fastmlp._jit import kernel
from fastmlp.kernels import math
from fastmlp.kernels.activations import ACTIVATIONS, activate, multiply_by_derivative
from fastmlp.kernels.dense import bias_gradient, dense_forward, input_gradient, weight_gradient
from fastmlp.kernels.losses import LOSSES, loss_and_delta
from fastmlp.kernels.optimizers import OPTIMIZERS, update
from fastmlp.kernels.products import product, room_size
from fastmlp.training.memory import aligned_empty
from fastmlp.training.team import ThreadTeam

SIZE = 16_384  # elements
N_ROWS, FAN_IN, FAN_OUT, N_OUTPUTS = 128, 256, 128, 10
ROUNDS = 300
ELEMENTWISE = [name for name in ACTIVATIONS if name not in ("softmax", "identity")]


@pytest.fixture(autouse=True)
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread, as training does."""
    with threadpool_limits(1):
        yield


def _random(dtype: str, size: int, seed: int = 0) -> NDArray[Any]:
    return np.random.RandomState(seed).randn(size).astype(dtype)


def _callable(compiled: Any) -> Any:
    """Return a kernel compiled with the same options, but with a way in from Python."""
    if not hasattr(compiled, "py_func"):  # an intrinsic

        @numba.njit
        def call(*arguments: Any) -> Any:
            return compiled(*arguments)

        return call
    options = compiled.targetoptions | {"no_cpython_wrapper": False}
    return numba.jit(compiled.py_func, **options)


def _run(benchmark: Any, group: str, function: Any, make_arguments: Callable[[], tuple]) -> None:
    """Time a kernel with fresh arguments in each round, because most work in place."""
    benchmark.group = group
    function = _callable(function)
    function(*make_arguments())  # compiles
    benchmark.pedantic(
        function, setup=lambda: (make_arguments(), {}), rounds=ROUNDS, warmup_rounds=10
    )


@pytest.mark.parametrize("name", math.__all__)
def bench_math(benchmark: Any, name: str, dtype: str) -> None:
    """Apply a function to positive numbers, element by element."""
    function = getattr(math, name)

    @kernel
    def apply(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    x = np.abs(_random(dtype, SIZE))
    _run(benchmark, f"math {name} of {SIZE}", apply, lambda: (x, np.empty_like(x)))


@pytest.mark.parametrize("name", ELEMENTWISE)
def bench_activation(benchmark: Any, name: str, dtype: str) -> None:
    """Apply an activation."""
    row, z = ACTIVATIONS[name], _random(dtype, SIZE)
    slope = z.dtype.type(row.slope or 0)
    _run(
        benchmark,
        f"activation {name} of {SIZE}",
        activate,
        lambda: (row.forward.address(dtype), 1, slope, z.copy()),
    )


@pytest.mark.parametrize("name", ELEMENTWISE)
def bench_derivative(benchmark: Any, name: str, dtype: str) -> None:
    """Multiply by the derivative of an activation."""
    row, z, delta = ACTIVATIONS[name], _random(dtype, SIZE), _random(dtype, SIZE, 1)
    slope = z.dtype.type(row.slope or 0)
    a = z.copy()
    _callable(activate)(row.forward.address(dtype), 1, slope, a)
    _run(
        benchmark,
        f"derivative of {name} of {SIZE}",
        multiply_by_derivative,
        lambda: (row.backward.address(dtype), 1, slope, z, a, delta.copy()),
    )


@pytest.mark.parametrize("name", LOSSES)
def bench_loss(benchmark: Any, name: str, dtype: str) -> None:
    """Compute a loss and its gradient for a batch."""
    n_values = N_ROWS * N_OUTPUTS
    values = _random(dtype, n_values)
    classes = np.random.RandomState(1).randint(N_OUTPUTS, size=N_ROWS)
    targets = np.eye(N_OUTPUTS, dtype=dtype)[classes].ravel()
    if name == "softmax_cross_entropy":
        targets = classes.astype(dtype)
    _run(
        benchmark,
        f"loss {name} of {N_ROWS} x {N_OUTPUTS}",
        loss_and_delta,
        lambda: (
            LOSSES[name].function.address(dtype),
            N_OUTPUTS,
            values,
            targets,
            np.ones(N_ROWS, dtype),
            np.full(N_OUTPUTS, LOSSES[name].default, dtype),
            np.empty(n_values, dtype),
            np.empty(n_values, dtype),
        ),
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def bench_optimizer(benchmark: Any, name: str, dtype: str) -> None:
    """Update parameters."""
    row, params, grads = OPTIMIZERS[name], _random(dtype, SIZE), _random(dtype, SIZE, 1)
    hyper = np.array([0.9, 0.999, 1e-8, 1e-2, SIZE])
    rates, l2 = np.full(2, 1e-3), params.dtype.type(1e-6)
    slots = np.zeros((row.n_slots, SIZE), dtype)
    _run(
        benchmark,
        f"optimizer {name} of {SIZE}",
        update,
        lambda: (row.function.address(dtype), hyper, rates, l2, grads.copy(), params, slots, 0),
    )


@pytest.mark.parametrize("by", ["BLAS", "fastmlp"])
@pytest.mark.parametrize("density", [1.0, 0.5, 0.25])
@pytest.mark.parametrize("name", ["forward", "weights", "inputs"])
@pytest.mark.parametrize(
    "shape", [(N_ROWS, FAN_IN, FAN_OUT), (32, 256, 256), (100, 392, 100), (64, 64, 64)]
)
def bench_layer(
    benchmark: Any, shape: tuple[int, int, int], name: str, density: float, by: str, dtype: str
) -> None:
    """Compute the output of a layer, or one of its gradients, by BLAS or by whoever is faster."""
    n_rows, fan_in, fan_out = shape
    inputs, outputs = _random(dtype, n_rows * fan_in), _random(dtype, n_rows * fan_out)
    if density < 1:
        rng = np.random.default_rng(1)
        inputs *= rng.uniform(size=inputs.size) < density
        outputs *= rng.uniform(size=outputs.size) < density
    address = 0 if by == "BLAS" else product.address(dtype)
    room = aligned_empty(room_size(n_rows, max(fan_in, fan_out), dtype), dtype)
    weights, biases = _random(dtype, fan_in * fan_out), _random(dtype, fan_out)
    zero, one = weights.dtype.type(0), weights.dtype.type(1)
    function, arguments = {
        "forward": (
            dense_forward,
            (n_rows, fan_in, fan_in, fan_out, inputs, weights, biases, outputs.copy(), room),
        ),
        "weights": (
            weight_gradient,
            (n_rows, fan_in, fan_in, fan_out, one, inputs, outputs, zero, weights.copy(), room),
        ),
        "inputs": (
            input_gradient,
            (n_rows, fan_in, fan_out, outputs, weights, inputs.copy(), room),
        ),
    }[name]
    group = f"layer {n_rows} x {fan_in} x {fan_out}, {name}, {density:.0%} not 0"
    _run(benchmark, group, function, lambda: (address, *arguments))


def bench_bias_gradient(benchmark: Any, dtype: str) -> None:
    """Compute the gradient of a layer's biases."""
    outputs, biases = _random(dtype, N_ROWS * FAN_OUT), _random(dtype, FAN_OUT)
    zero, one = biases.dtype.type(0), biases.dtype.type(1)
    arguments = (N_ROWS, FAN_OUT, FAN_OUT, one, outputs, zero, biases)
    _run(benchmark, f"biases of {N_ROWS} x {FAN_OUT}", bias_gradient, lambda: arguments)


def bench_barrier(benchmark: Any) -> None:
    """Let two threads meet a thousand times: how far their cores are from each other."""
    benchmark.group = "a thousand meetings of two threads"
    with ThreadTeam(2) as team:
        benchmark.pedantic(
            lambda: team.run(lambda _: meet(team.barrier, 1000)), rounds=ROUNDS, warmup_rounds=1
        )
