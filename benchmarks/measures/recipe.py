"""A recipe of today, fastmlp against PyTorch: accuracy and time on Fashion-MNIST.

AdamW, a cosine over all steps, dropout and smoothed labels, equal in both: the same network, batch
size, rule of the initial weights, and a new order of the samples in each epoch. What differs is
the random numbers, and that fastmlp adds epsilon as scikit-learn does.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from machine import usable_processors

from measures import in_turns

__all__ = ["Recipe", "measure", "run"]

EPOCHS, N_CLASSES = 15, 10


class Recipe(NamedTuple):
    """How to train a network of rectified units, by Adam with decay of its own.

    Attributes
    ----------
    hidden : tuple of int
        Widths of the hidden layers.
    batch_size : int
        Samples per step.
    schedule : {"cosine", "one_cycle"}
        Of the rate, over all steps.
    rate : float
        The largest one.
    weight_decay, dropout, smoothing : float
        Of each step; share of the hidden units; share of a label.
    """

    hidden: tuple[int, ...]
    batch_size: int
    schedule: str
    rate: float
    weight_decay: float = 0.0
    dropout: float = 0.0
    smoothing: float = 0.0


OF_TODAY = Recipe((256, 128), 128, "cosine", 1e-3, weight_decay=0.01, dropout=0.1, smoothing=0.1)


def measure(is_quick: bool) -> list[dict[str, Any]]:
    """Train with each library in a process of its own, from several seeds, in turns.

    Parameters
    ----------
    is_quick : bool
        Whether one epoch of one seed will do.

    Returns
    -------
    list of dict
        Per library and seed: the accuracy on the test images after all epochs, and the seconds
        of training, compilation and warm-up left out.
    """
    libraries = ["fastmlp", *(["torch"] if find_spec("torch") else [])]
    epochs = 1 if is_quick else EPOCHS
    return in_turns("recipe.py", libraries, 1 if is_quick else 5, epochs=epochs)


def _run(library: str, seed: str, epochs: str) -> dict[str, Any]:
    return run(OF_TODAY, library, int(seed), int(epochs))


def run(recipe: Recipe, library: str, seed: int, epochs: int) -> dict[str, Any]:
    """Train on the 60,000 images.

    Parameters
    ----------
    recipe : Recipe
        How.
    library : {"fastmlp", "torch"}
        By whom.
    seed, epochs : int
        Seed of all random numbers; passes through the images.

    Returns
    -------
    dict
        Seconds, without compilation and warm-up; accuracy on the test images; source of the data.
    """
    from workloads import load_fashion_images

    images, labels, source = load_fashion_images()
    X = images.astype(np.float32) / np.float32(255)
    train = _train_torch if library == "torch" else _train_fastmlp
    train(recipe, X[:2_000], labels[:2_000], seed, 1)  # compiles, loads and warms up
    started = time.perf_counter()
    predict = train(recipe, X[:60_000], labels[:60_000], seed, epochs)
    seconds = time.perf_counter() - started
    accuracy = float(np.mean(predict(X[60_000:]) == labels[60_000:]))
    return {"seconds": seconds, "accuracy": accuracy, "data": source}


def _train_fastmlp(recipe: Recipe, X: Any, y: Any, seed: int, epochs: int) -> Any:
    from fastmlp import MLPClassifier

    model = MLPClassifier(
        hidden_layer_sizes=recipe.hidden,
        solver="adamw",
        weight_decay=recipe.weight_decay,
        alpha=0.0,
        learning_rate=recipe.schedule,
        learning_rate_init=recipe.rate,
        dropout=recipe.dropout,
        label_smoothing=recipe.smoothing,
        batch_size=recipe.batch_size,
        max_iter=epochs,
        n_iter_no_change=np.inf,
        random_state=seed,
    )
    with warnings.catch_warnings(action="ignore"):
        return model.fit(X, y).predict


def _train_torch(recipe: Recipe, X: Any, y: Any, seed: int, epochs: int) -> Any:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    torch.set_num_threads(len(usable_processors()))
    sizes = (X.shape[1], *recipe.hidden, N_CLASSES)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear, bound = nn.Linear(fan_in, fan_out), (6 / (fan_in + fan_out)) ** 0.5
        nn.init.uniform_(linear.weight, -bound, bound)
        nn.init.uniform_(linear.bias, -bound, bound)
        dropout = [nn.Dropout(recipe.dropout)] if recipe.dropout else []
        layers += [linear, nn.ReLU(), *dropout]
    network = nn.Sequential(*layers[: -1 - len(dropout)])
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=recipe.rate,
        fused=True,
    )
    data, targets = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))
    n_steps = epochs * -(-len(X) // recipe.batch_size)
    if recipe.schedule == "cosine":
        schedule: Any = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    else:
        # Without a momentum that changes, too.
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.rate, n_steps, cycle_momentum=False
        )
    objective = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(X)).split(recipe.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss = objective(network(data.index_select(0, rows)), targets.index_select(0, rows))
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()

    def predict(images: Any) -> Any:
        with torch.no_grad():
            return network(torch.from_numpy(images)).argmax(1).numpy()

    return predict


if __name__ == "__main__":
    print(json.dumps(_run(*sys.argv[1:])))
