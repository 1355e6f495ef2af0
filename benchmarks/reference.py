"""Training written in plain NumPy, in double precision: what every library must reproduce.

The steps are those of `scikit-learn's MLP <https://scikit-learn.org/stable/modules/
neural_networks_supervised.html>`_, so that its own loss curve is checked too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax
from workloads import ALPHA, BETA_1, BETA_2, EPSILON, LEARNING_RATE, MOMENTUM, Task

__all__ = ["Reference", "distance", "train_reference"]


@dataclass
class Reference:
    """What training must give.

    Parameters
    ----------
    losses : list of float
        Mean loss of each epoch, with the value of the L2 term.
    data_losses : list of float
        The same without the value of the L2 term (whose gradient is in the steps all the same).
    weights : list of ndarray
        Weights per layer in the end.
    travelled : float
        Distance between the initial and the final weights.
    """

    losses: list[float]
    data_losses: list[float]
    weights: list[NDArray[Any]]
    travelled: float


def train_reference(task: Task, n_epochs: int) -> Reference:
    """Train a task in double precision.

    Parameters
    ----------
    task : Task
        What to train; not modified.
    n_epochs : int
        How long; at most the number of permutations of the task.

    Returns
    -------
    Reference
        Loss curves and weights.
    """
    workload = task.workload
    X, targets = task.X.astype(np.float64), task.targets.astype(np.float64)
    initial = [W.astype(np.float64) for W in task.weights]
    params = [W.copy() for W in initial] + [b.astype(np.float64) for b in task.biases]
    n_layers = len(task.weights)
    is_weight = [True] * n_layers + [False] * n_layers
    first, second = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    losses, data_losses = [], []
    step = 0
    for order in task.permutations[:n_epochs]:
        loss = penalty = 0.0
        for start in range(0, len(X), workload.batch_size):
            rows = order[start : start + workload.batch_size]
            weights = params[:n_layers]
            batch_loss, grads = _loss_and_gradients(task, X[rows], targets[rows], params)
            loss += batch_loss * len(rows)
            penalty += 0.5 * ALPHA * sum(np.vdot(W, W) for W in weights)
            step += 1
            rate = LEARNING_RATE * np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
            for p, g, m, v, is_penalised in zip(
                params, grads, first, second, is_weight, strict=True
            ):
                if is_penalised:
                    g += ALPHA / len(rows) * p
                if workload.solver == "adam":
                    m += (1 - BETA_1) * (g - m)
                    v += (1 - BETA_2) * (g * g - v)
                    p -= rate * m / (np.sqrt(v) + EPSILON)
                elif workload.solver == "nesterov":
                    m *= MOMENTUM
                    m -= LEARNING_RATE * g
                    p += MOMENTUM * m - LEARNING_RATE * g
                else:
                    p -= LEARNING_RATE * g
        data_losses.append(loss / len(X))
        losses.append((loss + penalty) / len(X))
    weights = params[:n_layers]
    return Reference(losses, data_losses, weights, distance(weights, initial))


def distance(weights: list[NDArray[Any]], others: list[NDArray[Any]]) -> float:
    """Return the Euclidean distance between two networks' weights.

    Parameters
    ----------
    weights, others : list of ndarray
        Weights per layer.

    Returns
    -------
    float
        Root of the sum of all squared differences.
    """
    squares = (np.sum(np.square(V - W)) for V, W in zip(weights, others, strict=True))
    return float(np.sqrt(sum(squares)))


def _loss_and_gradients(
    task: Task, X: NDArray[Any], targets: NDArray[Any], params: list[NDArray[Any]]
) -> tuple[float, list[NDArray[Any]]]:
    """Return the mean loss of a batch, and its gradients without the L2 term."""
    n_layers = len(params) // 2
    weights, biases = params[:n_layers], params[n_layers:]
    outputs = [X]
    for W, b in zip(weights[:-1], biases[:-1], strict=True):
        z = outputs[-1] @ W + b
        outputs.append(np.maximum(z, 0) if task.workload.activation == "relu" else np.tanh(z))
    z = outputs[-1] @ weights[-1] + biases[-1]
    if task.workload.loss == "softmax":
        log_p = log_softmax(z, axis=1)
        loss, delta = -np.sum(targets * log_p), np.exp(log_p) - targets
    elif task.workload.loss == "logistic":
        loss, delta = np.sum(np.logaddexp(0, z) - targets * z), expit(z) - targets
    else:
        # As in scikit-learn the value, but not the gradient, is averaged over the outputs.
        loss, delta = 0.5 * np.sum(np.square(z - targets)) / z.shape[1], z - targets
    weight_grads, bias_grads = [], []
    for layer in reversed(range(n_layers)):
        weight_grads.insert(0, outputs[layer].T @ delta / len(X))
        bias_grads.insert(0, delta.mean(0))
        if layer:
            a = outputs[layer]
            delta = delta @ weights[layer].T
            delta *= a > 0 if task.workload.activation == "relu" else 1 - a * a
    return loss / len(X), weight_grads + bias_grads
