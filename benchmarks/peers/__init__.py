"""The libraries that are compared, each behind the same small interface.

A peer is a class that is called with a task, a number of threads and the name of a variant, and
that has the methods of `Trainer`. Importing this package imports none of the libraries.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from numpy.typing import NDArray
from workloads import Task, Workload

__all__ = ["PEERS", "Contestant", "Peer", "Trainer", "contestants"]


class Trainer(Protocol):
    """What a peer can do. Only `run` is timed."""

    loss_includes_penalty: bool
    """Whether `losses` has the value of the L2 term in it (its gradient always is)."""

    def reset(self) -> None:
        """Go back to the initial weights."""

    def run(self, n_epochs: int) -> None:
        """Train; all work is done when this returns."""

    def losses(self) -> list[float]:
        """Return the mean loss of each epoch since `reset`."""

    def weights(self) -> list[NDArray[Any]]:
        """Return the weights per layer, of shape (fan_in, fan_out)."""


@dataclass(frozen=True)
class Peer:
    """A library and how it may be run.

    Parameters
    ----------
    title : str
        Name for people.
    requires : str
        The package that must be installed.
    trainer : str
        Module and class of its `Trainer`, with a colon between.
    variants : dict of str to tuple of int
        Each way to run it, with the numbers of threads for which it makes sense.
    is_limit : bool
        Whether it only computes matrix products: no competitor but a limit.
    optional : tuple of str
        Variants that run only when asked for.
    """

    title: str
    requires: str
    trainer: str
    variants: dict[str, tuple[int, ...]]
    is_limit: bool = False
    optional: tuple[str, ...] = ()

    def is_installed(self) -> bool:
        """Return whether the library can be imported.

        Returns
        -------
        bool
            True if it is found.
        """
        return find_spec(self.requires) is not None

    def make_trainer(self, task: Task, threads: int, variant: str) -> Trainer:
        """Import the library and make its trainer.

        Parameters
        ----------
        task : Task
            What to train.
        threads : int
            How many threads to use.
        variant : str
            A key of `variants`.

        Returns
        -------
        Trainer
            Ready for `reset` and `run`.
        """
        module, name = self.trainer.split(":")
        return getattr(import_module(module), name)(task, threads, variant)


PEERS: dict[str, Peer] = {
    "fastmlp": Peer("fastmlp", "fastmlp", "peers.estimators:Fastmlp", {"fit": (1, 2)}),
    "sklearn": Peer("scikit-learn", "sklearn", "peers.estimators:Sklearn", {"fit": (1, 2)}),
    "torch": Peer(
        "PyTorch",
        "torch",
        "peers.torch_eager:Torch",
        {"eager": (1, 2), "eager-fused": (1, 2), "compiled": (1, 2)},
        optional=("compiled",),
    ),
    "jax": Peer("JAX", "jax", "peers.jax_scan:Jax", {"scan": (1, 2), "scan-unrolled": (1, 2)}),
    "replay": Peer(
        "GEMM replay",
        "numpy",
        "peers.gemm_replay:Replay",
        {"blas-threads": (1, 2), "split-batch": (2,), "split-units": (2,)},
        is_limit=True,
    ),
}


@dataclass(frozen=True)
class Contestant:
    """A peer with its settings.

    Parameters
    ----------
    peer : str
        A key of `PEERS`.
    threads : int
        Number of threads, and of processors it may use.
    variant : str
        One of the peer's variants.
    """

    peer: str
    threads: int
    variant: str

    @property
    def key(self) -> str:
        """Name in files."""
        return f"{self.peer}/{self.variant}/{self.threads}"

    @classmethod
    def from_key(cls, key: str) -> Contestant:
        """Return the contestant of a name.

        Parameters
        ----------
        key : str
            What `key` gave.

        Returns
        -------
        Contestant
            The same contestant.
        """
        peer, variant, threads = key.split("/")
        return cls(peer, int(threads), variant)


def contestants(
    workload: Workload, peers: list[str], threads: list[int], optional: list[str]
) -> list[Contestant]:
    """List who takes part in a workload.

    Parameters
    ----------
    workload : Workload
        What is trained.
    peers : list of str
        Keys of `PEERS`.
    threads : list of int
        Numbers of threads wanted.
    optional : list of str
        Optional variants wanted.

    Returns
    -------
    list of Contestant
        Every peer that is installed, in every variant, at every number of threads.
    """
    return [
        Contestant(name, n, variant)
        for name in peers
        if PEERS[name].is_installed()
        and (workload.is_bound_by_products or not PEERS[name].is_limit)
        for variant, possible in PEERS[name].variants.items()
        if variant not in PEERS[name].optional or variant in optional
        for n in threads
        if n in possible
    ]
