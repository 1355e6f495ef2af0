"""PyTorch: tensors loaded beforehand, batches by ``index_select``, no DataLoader.

The L2 term is the optimizer's ``weight_decay`` (of weights, not biases), so that no time goes
into its value. PyTorch's Adam adds epsilon to the bias-corrected root, scikit-learn's before the
correction; the epsilon of each step is set so that both take the same step.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch.nn import functional
from workloads import ALPHA, BETA_1, BETA_2, EPSILON, LEARNING_RATE, MOMENTUM, Task

__all__ = ["Torch"]


class Torch:
    """PyTorch as a `peers.Trainer`.

    Parameters
    ----------
    task : Task
        What to train.
    threads : int
        Threads of each operation.
    variant : {"eager", "eager-fused", "compiled"}
        Eager with the default or the fused optimizer, or the forward pass and the loss compiled
        by ``torch.compile`` with the fused optimizer.
    """

    loss_includes_penalty = False

    def __init__(self, task: Task, threads: int, variant: str) -> None:
        torch.set_num_threads(threads)
        self._task = task
        self._is_fused = variant != "eager"
        self._X = torch.from_numpy(task.X)
        is_softmax = task.workload.loss == "softmax"
        self._y = torch.from_numpy(task.y if is_softmax else task.targets)
        self._orders = [torch.from_numpy(order.astype("int64")) for order in task.permutations]
        self._forward = _make_forward(task)
        self._objective = _make_objective(task, self._forward)
        if variant == "compiled":
            self._objective = torch.compile(self._objective, dynamic=False)
        self.reset()

    def reset(self) -> None:
        """Copy the initial weights and make a new optimizer."""
        as_parameter = torch.nn.Parameter
        # nn.Linear keeps its weights transposed, and so does functional.linear.
        self._weights = [
            as_parameter(torch.from_numpy(W.T.copy(order="C"))) for W in self._task.weights
        ]
        self._biases = [as_parameter(torch.from_numpy(b.copy())) for b in self._task.biases]
        groups: Any = [{"params": self._weights}, {"params": self._biases}]
        if self._task.workload.solver == "adam":
            self._optimizer: torch.optim.Optimizer = torch.optim.Adam(
                groups, lr=LEARNING_RATE, betas=(BETA_1, BETA_2), fused=self._is_fused
            )
        else:
            is_nesterov = self._task.workload.solver == "nesterov"
            self._optimizer = torch.optim.SGD(
                groups,
                lr=LEARNING_RATE,
                momentum=MOMENTUM if is_nesterov else 0.0,
                nesterov=is_nesterov,
                fused=self._is_fused,
            )
        self._step = 0
        self._totals: list[torch.Tensor] = []

    def run(self, n_epochs: int) -> None:
        """Train.

        Parameters
        ----------
        n_epochs : int
            Number of epochs.
        """
        for _ in range(n_epochs):
            self._run_epoch(self._orders[len(self._totals) % len(self._orders)])

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
        return [W.detach().numpy().T for W in self._weights]

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the number of the largest output.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Features, in the precision of the task.

        Returns
        -------
        ndarray of shape (n_samples,)
            Class numbers.
        """
        with torch.no_grad():
            return self._forward(torch.from_numpy(X), self._weights, self._biases).argmax(1).numpy()

    def _run_epoch(self, order: torch.Tensor) -> None:
        optimizer, objective = self._optimizer, self._objective
        weights, biases = self._weights, self._biases
        is_adam = self._task.workload.solver == "adam"
        total = torch.zeros((), dtype=self._X.dtype)
        for rows in order.split(self._task.workload.batch_size):
            n_rows = len(rows)
            x, y = self._X.index_select(0, rows), self._y.index_select(0, rows)
            optimizer.zero_grad(set_to_none=True)
            loss = objective(x, y, weights, biases)
            loss.backward()
            self._step += 1
            optimizer.param_groups[0]["weight_decay"] = ALPHA / n_rows
            if is_adam:
                epsilon = EPSILON / (1 - BETA_2**self._step) ** 0.5
                for group in optimizer.param_groups:
                    group["eps"] = epsilon
            optimizer.step()
            total.add_(loss.detach(), alpha=n_rows)
        self._totals.append(total)


def _make_forward(task: Task) -> Any:
    """Return the function that computes the outputs before their activation."""
    activation = torch.relu if task.workload.activation == "relu" else torch.tanh

    def forward(x: torch.Tensor, weights: list[Any], biases: list[Any]) -> torch.Tensor:
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            x = activation(functional.linear(x, W, b))
        return functional.linear(x, weights[-1], biases[-1])

    return forward


def _make_objective(task: Task, forward: Any) -> Any:
    """Return the function that is differentiated: the mean over samples, the sum over outputs."""
    kind = task.workload.loss

    def objective(
        x: torch.Tensor, y: torch.Tensor, weights: list[Any], biases: list[Any]
    ) -> torch.Tensor:
        z = forward(x, weights, biases)
        if kind == "softmax":
            return functional.cross_entropy(z, y)
        if kind == "logistic":
            return functional.binary_cross_entropy_with_logits(z, y) * z.shape[1]
        return functional.mse_loss(z, y) * (0.5 * z.shape[1])

    return objective
