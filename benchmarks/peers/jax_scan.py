"""JAX: an epoch is one compiled function, ``lax.scan`` over its mini-batches, buffers donated.

The rows of a batch are gathered inside. The value of the L2 term is left out of the reported loss:
at batch size 1 it would double JAX's time. How many processors JAX uses is decided by how many
the process may use, when JAX is imported.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from workloads import ALPHA, BETA_1, BETA_2, EPSILON, LEARNING_RATE, MOMENTUM, Task

__all__ = ["Jax"]

# Both precisions run in one process; every array names its own.
jax.config.update("jax_enable_x64", True)


class Jax:
    """JAX as a `peers.Trainer`.

    Parameters
    ----------
    task : Task
        What to train.
    threads : int
        Ignored, see the module.
    variant : {"scan", "scan-unrolled"}
        Whether two steps of the scan are compiled into one of its loop's rounds.
    """

    loss_includes_penalty = False

    def __init__(self, task: Task, threads: int, variant: str) -> None:
        self._task = task
        self._X = jnp.asarray(task.X)
        self._targets = jnp.asarray(task.targets)
        self._orders = [jnp.asarray(order) for order in task.permutations]
        self._epoch = jax.jit(
            _make_epoch(task, unroll=2 if variant == "scan-unrolled" else 1), donate_argnums=0
        )
        self.reset()

    def reset(self) -> None:
        """Copy the initial weights, and clear the optimizer's state."""
        params = [*map(jnp.array, self._task.weights), *map(jnp.array, self._task.biases)]
        n_slots = {"adam": 2, "nesterov": 1, "sgd": 0}[self._task.workload.solver]
        slots = [[jnp.zeros_like(p) for p in params] for _ in range(n_slots)]
        self._state = (params, slots, jnp.zeros((), jnp.int32))
        self._totals: list[jax.Array] = []
        jax.block_until_ready(self._state)

    def run(self, n_epochs: int) -> None:
        """Train.

        Parameters
        ----------
        n_epochs : int
            Number of epochs.
        """
        for _ in range(n_epochs):
            order = self._orders[len(self._totals) % len(self._orders)]
            self._state, total = self._epoch(self._state, self._X, self._targets, order)
            self._totals.append(total)
        jax.block_until_ready(self._state)

    def losses(self) -> list[float]:
        """Return the mean loss of each epoch.

        Returns
        -------
        list of float
            Without the L2 term.
        """
        scale = len(self._X)
        if self._task.workload.loss == "squared":
            scale *= self._task.workload.layer_sizes[-1]
        return [float(total) / scale for total in self._totals]

    def weights(self) -> list[NDArray[Any]]:
        """Return the weights.

        Returns
        -------
        list of ndarray
            One matrix per layer.
        """
        return [np.asarray(W) for W in self._state[0][: len(self._task.weights)]]


def _make_epoch(task: Task, unroll: int) -> Any:
    """Return the function that trains for one epoch."""
    workload = task.workload
    batch_size, n_layers = workload.batch_size, len(task.weights)
    n_full = workload.n_samples // batch_size * batch_size
    activation = jax.nn.relu if workload.activation == "relu" else jnp.tanh

    def objective(params: list[Any], x: Any, targets: Any) -> Any:
        for layer, (W, b) in enumerate(zip(params[:n_layers], params[n_layers:], strict=True)):
            z = x @ W + b
            x = activation(z) if layer < n_layers - 1 else z
        if workload.loss == "softmax":
            values = -targets * jax.nn.log_softmax(x)
        elif workload.loss == "logistic":
            values = jnp.logaddexp(x, 0.0) - targets * x
        else:
            values = 0.5 * jnp.square(x - targets)
        return values.sum() / x.shape[0]

    def epoch(state: Any, X: Any, targets: Any, order: Any) -> Any:
        def step(carry: Any, rows: Any) -> Any:
            (params, slots, count), total = carry
            loss, grads = jax.value_and_grad(objective)(params, X[rows], targets[rows])
            decay = ALPHA / len(rows)
            grads = [
                g + decay * p if index < n_layers else g
                for index, (g, p) in enumerate(zip(grads, params, strict=True))
            ]
            count += 1
            params, slots = update(params, grads, slots, count.astype(X.dtype))
            return ((params, slots, count), total + loss * len(rows)), None

        carry = (state, jnp.zeros((), X.dtype))
        if n_full:
            batches = order[:n_full].reshape(-1, batch_size)
            carry, _ = jax.lax.scan(step, carry, batches, unroll=unroll)
        if n_full < workload.n_samples:
            carry, _ = step(carry, order[n_full:])
        return carry

    update = {"adam": _adam, "nesterov": _nesterov, "sgd": _sgd}[workload.solver]
    return epoch


def _adam(params: Any, grads: Any, slots: Any, count: Any) -> Any:
    # 1 − β^t without the cancellation that float32 would suffer in the first steps.
    correction_1, correction_2 = (
        -jnp.expm1(count * float(np.log(beta))) for beta in (BETA_1, BETA_2)
    )
    rate = LEARNING_RATE * jnp.sqrt(correction_2) / correction_1
    firsts = [BETA_1 * m + (1 - BETA_1) * g for m, g in zip(slots[0], grads, strict=True)]
    seconds = [BETA_2 * v + (1 - BETA_2) * g * g for v, g in zip(slots[1], grads, strict=True)]
    params = [
        p - rate * m / (jnp.sqrt(v) + EPSILON)
        for p, m, v in zip(params, firsts, seconds, strict=True)
    ]
    return params, [firsts, seconds]


def _nesterov(params: Any, grads: Any, slots: Any, count: Any) -> Any:
    velocities = [MOMENTUM * v - LEARNING_RATE * g for v, g in zip(slots[0], grads, strict=True)]
    params = [
        p + MOMENTUM * v - LEARNING_RATE * g
        for p, v, g in zip(params, velocities, grads, strict=True)
    ]
    return params, [velocities]


def _sgd(params: Any, grads: Any, slots: Any, count: Any) -> Any:
    return [p - LEARNING_RATE * g for p, g in zip(params, grads, strict=True)], slots
