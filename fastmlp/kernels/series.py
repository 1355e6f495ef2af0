"""Epochs that follow one another: what is done between two of them when nobody is to be asked.

A return to Python, and waking the other threads from there, is felt in the epochs of small
problems. While losses fall and parameters are finite, there is nothing to return for.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import exact_kernel, kernel
from fastmlp._linking import Interface
from fastmlp.kernels.finite import are_finite
from fastmlp.kernels.mersenne_twister import shuffle_in_kernel
from fastmlp.kernels.team import wait_for_all

__all__ = ["ENDED", "end_epoch", "goes_on", "loss_of_epoch"]

# Elements of Series.judged and Series.counts.
_BEST, _TOL, _IN_VAIN, _ALLOWED = range(4)
ENDED, _IS_ANOTHER = range(2)
# Linked: long epochs do without.
_END_EPOCH = Interface(
    "int", "int", "int", "int32s", "uint32s", "uint32s", "int", "doubles", "doubles", "ints",
    "reals", "reals", "table",
)  # fmt: skip
_call_end_epoch = _END_EPOCH.caller("Call `end_epoch`.")


@kernel
def goes_on(series, epoch, params, n_shards, team, thread, losses):
    """End an epoch of a series, and return whether there is another.

    Parameters
    ----------
    series : Series
        **Overwritten.**
    epoch : int
        Which epoch, from 0. All threads have passed the barrier after its last batch.
    params : ndarray of shape (n_params,)
        All parameters. Not modified.
    n_shards : int
        Rows of `losses` that are about data.
    team : Team
        The threads, each of which calls this.
    thread : int
        Which thread this is.
    losses : ndarray of float64, shape (n_shards + n_parts, 8)
        As for `run_batches_together`; [:, 0] is **overwritten** by zeros.

    Returns
    -------
    bool
        Whether to train for another epoch.
    """
    if series.end_epoch == 0:
        return False
    if thread == 0:
        _call_end_epoch(
            series.end_epoch, epoch, series.n_epochs, n_shards, series.order, series.generator,
            series.words, series.n_averaged, series.judged, series.curve, series.counts,
            series.kept, params, losses,
        )  # fmt: skip
    # After the last one nobody needs to wait.
    if epoch + 1 == series.n_epochs or not wait_for_all(team.size, team.barrier):
        return False
    return series.counts[_IS_ANOTHER] != 0


@_END_EPOCH.function
def end_epoch(
    epoch, n_epochs, n_shards, order, generator, words, n_averaged, judged, curve, counts, kept,
    params, losses,
):  # fmt: skip
    """Note the loss of an epoch, keep its parameters, and prepare the next one.

    There is none if the loss is nan, if a parameter is not finite, or if there was no improvement
    for too long.

    Parameters
    ----------
    epoch, n_shards, params, losses : various
        As for `goes_on`.
    n_epochs, order, generator, words, n_averaged, judged, curve, counts, kept : various
        Of the `Series`. **Overwritten**, all but `n_epochs` and `n_averaged`.
    """
    loss = loss_of_epoch(losses, n_shards, n_averaged, order.size)
    curve[epoch] = loss
    counts[ENDED] = epoch + 1
    counts[_IS_ANOTHER] = 0
    for i in range(losses.shape[0]):
        losses[i, 0] = 0.0
    if np.isnan(loss) or not are_finite(params):
        return
    for i in range(params.size):
        kept[i] = params[i]
    judged[_IN_VAIN] = judged[_IN_VAIN] + 1.0 if _is_no_better(loss, judged) else 0.0
    judged[_BEST] = min(loss, judged[_BEST])
    if judged[_IN_VAIN] > judged[_ALLOWED] or epoch + 1 == n_epochs:
        return
    if generator.size:
        shuffle_in_kernel(generator, words, order)
    counts[_IS_ANOTHER] = 1


@exact_kernel
def loss_of_epoch(losses, n_shards, n_averaged, n_samples):
    """Return the loss of an epoch, the same bits wherever it is computed.

    Parameters
    ----------
    losses : ndarray of float64, shape (n_shards + n_parts, 8)
        Its summands, see `run_batches_together`.
    n_shards : int
        How many of them are about data.
    n_averaged : int
        Outputs over which these are averaged.
    n_samples : int
        Samples in the epoch.

    Returns
    -------
    float
        Mean over samples of their batch's loss, penalty included.
    """
    data_loss, penalty = 0.0, 0.0
    for i in range(n_shards):
        data_loss += losses[i, 0]
    for i in range(n_shards, losses.shape[0]):
        penalty += losses[i, 0]
    # No product, which would be fused with the sum here, and not in Python.
    return (data_loss / n_averaged + penalty) / n_samples


@exact_kernel
def _is_no_better(loss, judged):
    # As `Progress.judge_loss` says it.
    return loss > judged[_BEST] - judged[_TOL]
