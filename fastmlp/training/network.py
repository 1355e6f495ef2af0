"""The layout of a network in one flat vector, and its initial parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.custom import CustomActivation, CustomLoss
from fastmlp.kernels.dense import MANY, addresses_for_few
from fastmlp.kernels.dropout import DROPOUTS, threshold_of
from fastmlp.kernels.forward import forward_pass
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.narrow import NOT_NARROW, narrow_addresses
from fastmlp.kernels.normalization import normalise, normalise_backward
from fastmlp.kernels.products import product
from fastmlp.kernels.structures import (
    BACKWARD,
    BIASES,
    DERIVE_DROP,
    DERIVE_NORM,
    DROP,
    DROPPED,
    FORWARD,
    INPUTS,
    IS_SPARSE,
    N_COLUMNS,
    NORM,
    NORMALISE,
    NORMS,
    SLOPE,
    START,
    THRESHOLD,
    UNITS,
    WEIGHTS,
    Network,
)
from fastmlp.training.initialisation import INITIALISATIONS
from fastmlp.training.memory import aligned_empty

__all__ = ["NetworkLayout"]

Floats = NDArray[Any]
WeightInit = str | tuple[Sequence[Floats], Sequence[Floats]] | None


@dataclass(frozen=True)
class NetworkLayout:
    r"""A multilayer perceptron whose parameters are one contiguous vector.

    The vector is :math:`[W_0 | W_1 | \dots | b_0 | b_1 | \dots | \gamma_0 | \beta_0 | \dots | s]`:
    all weights, layer by layer, each of shape (fan_in, fan_out) in C order, then all biases, then
    scales and offsets of the layers that are normalised, then the learned slopes.

    Parameters
    ----------
    units : tuple of int
        Width of each layer, inputs first.
    activations : tuple of str or CustomActivation
        Activation of each layer of weights, the output's last; names of
        :data:`~fastmlp.kernels.activations.ACTIVATIONS`, or what the table takes for one.
    slopes : tuple of float or None
        Slope parameter of each of these activations; None for the activation's default.
    loss : str or CustomLoss
        Name in :data:`~fastmlp.kernels.losses.LOSSES`, or what the table takes for one.
    output_init : str or CustomActivation, default="identity"
        Activation by whose factor f the output layer is initialised; scikit-learn takes the hidden
        layers'.
    loss_parameters : tuple of float, default=()
        The loss's own parameter, one for all outputs or one for each; empty for its default.
    norms : tuple of bool, default=()
        For each layer of weights, whether its pre-activations are normalised; empty: none are.
    dropout : tuple of float, default=()
        For each layer of weights, the share of its activations that training drops; empty: none.
    """

    units: tuple[int, ...]
    activations: tuple[str | CustomActivation, ...]
    slopes: tuple[float | None, ...]
    loss: str | CustomLoss
    output_init: str | CustomActivation = "identity"
    loss_parameters: tuple[float, ...] = ()
    norms: tuple[bool, ...] = ()
    dropout: tuple[float, ...] = ()

    @property
    def n_layers(self) -> int:
        """Number of layers of weights."""
        return len(self.units) - 1

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Shape (fan_in, fan_out) of each weight matrix."""
        return tuple(zip(self.units[:-1], self.units[1:], strict=True))

    @cached_property
    def n_weights(self) -> int:
        """Number of weights, biases not counted."""
        return sum(fan_in * fan_out for fan_in, fan_out in self.shapes)

    @cached_property
    def learned_slopes(self) -> tuple[int, ...]:
        """Which layers of weights have a slope that is learned."""
        return tuple(i for i, name in enumerate(self.activations) if ACTIVATIONS[name].learns_slope)

    @cached_property
    def is_plain(self) -> bool:
        """Whether weights and biases are all that is learned, without noise."""
        return not (self.learned_slopes or any(self.norms) or any(self.dropout))

    @cached_property
    def n_params(self) -> int:
        """Length of the parameter vector."""
        n_norms = sum(2 * self.units[layer + 1] for layer in self.normalised)
        return self.n_weights + sum(self.units[1:]) + n_norms + len(self.learned_slopes)

    @cached_property
    def normalised(self) -> tuple[int, ...]:
        """Which layers of weights have normalised pre-activations."""
        return tuple(i for i, is_normalised in enumerate(self.norms) if is_normalised)

    @cached_property
    def _kept_widths(self) -> list[tuple[int, int, int]]:
        """How many inputs of an activation, outputs of a dropout and numbers of a norm are kept."""
        widths = []
        for layer, (name, width) in enumerate(zip(self.activations, self.units[1:], strict=True)):
            drops, is_normalised = any(self.dropout[layer : layer + 1]), layer in self.normalised
            keeps_input = ACTIVATIONS[name].keeps_input
            widths.append((width * keeps_input, width * drops, (width + 1) * is_normalised))
        return widths

    @property
    def n_kept(self) -> int:
        """Numbers per sample that the backward pass needs besides activations and deltas."""
        return sum(map(sum, self._kept_widths))

    @property
    def n_averaged(self) -> int:
        """Over how many outputs the loss that is reported is averaged."""
        return self.units[-1] if LOSSES[self.loss].averages_outputs else 1

    def _slope(self, layer: int) -> float:
        slope = self.slopes[layer]
        if slope is None:
            slope = ACTIVATIONS[self.activations[layer]].slope
        return 0.0 if slope is None else float(slope)

    def initial_params(
        self,
        random_state: np.random.RandomState,
        dtype: DTypeLike,
        weight_init: WeightInit = None,
    ) -> Floats:
        r"""Draw initial parameters.

        By default scikit-learn's: weights, then biases, of one layer after another are uniform in
        [-b, b] with :math:`b = \sqrt{f / (fan_{in} + fan_{out})}`, f = 2 for the logistic
        activation and 6 for the others. With a named rule, biases are 0.

        Parameters
        ----------
        random_state : numpy.random.RandomState
            Advanced by the draws.
        dtype : dtype
            Type of the result; the draws are made in float64.
        weight_init : str, (coefs, intercepts) or None, default=None
            Name in :data:`~fastmlp.training.initialisation.INITIALISATIONS`, or the weights and
            biases themselves, of the shapes of `unpack`; None is scikit-learn's rule.

        Returns
        -------
        ndarray of shape (n_params,)
            A new vector.

        References
        ----------
        Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward
        neural networks", equation 16.
        """
        slopes = np.array([self._slope(layer) for layer in self.learned_slopes])
        if isinstance(weight_init, tuple):
            return self.pack(*weight_init, slopes, dtype)
        coefs, intercepts = [], []
        names = (*self.activations[:-1], self.output_init)
        for name, (fan_in, fan_out) in zip(names, self.shapes, strict=True):
            if weight_init is None:
                bound = np.sqrt(ACTIVATIONS[name].init_factor / (fan_in + fan_out))
                coefs.append(random_state.uniform(-bound, bound, (fan_in, fan_out)))
                intercepts.append(random_state.uniform(-bound, bound, fan_out))
            else:
                coefs.append(INITIALISATIONS[weight_init].draw(random_state, fan_in, fan_out))
                intercepts.append(np.zeros(fan_out))
        return self.pack(coefs, intercepts, slopes, dtype)

    def unpack(self, params: Floats) -> tuple[list[Floats], list[Floats]]:
        """Return the weight matrices and bias vectors as views on the vector.

        Parameters
        ----------
        params : ndarray of shape (n_params,)
            The parameter vector.

        Returns
        -------
        coefs, intercepts : list of ndarray
            Views of shape (fan_in, fan_out) and (fan_out,).
        """
        coefs, intercepts, start = [], [], 0
        for shape in self.shapes:
            stop = start + shape[0] * shape[1]
            coefs.append(params[start:stop].reshape(shape))
            start = stop
        for width in self.units[1:]:
            intercepts.append(params[start : start + width])
            start += width
        return coefs, intercepts

    def pack(
        self,
        coefs: Sequence[Floats],
        intercepts: Sequence[Floats],
        slopes: Floats,
        dtype: DTypeLike,
        norms: Sequence[tuple[Floats, Floats]] | None = None,
    ) -> Floats:
        """Return the parameter vector of given weights, biases, learned slopes and norms.

        Parameters
        ----------
        coefs, intercepts : sequence of ndarray
            Arrays of shape (fan_in, fan_out) and (fan_out,), one per layer of weights.
        slopes : ndarray of shape (n_learned_slopes,)
            The learned slopes.
        dtype : dtype
            Type of the result.
        norms : sequence of (scales, offsets) or None, default=None
            One pair of arrays of shape (fan_out,) per normalised layer; None is 1 and 0.

        Returns
        -------
        ndarray of shape (n_params,)
            A new vector, made by `aligned_empty`.
        """
        params = aligned_empty(self.n_params, dtype)
        for i, pair in enumerate(self.unpack_norms(params)):
            pair[0][:], pair[1][:] = (1, 0) if norms is None else norms[i]
        for views, arrays in zip(self.unpack(params), (coefs, intercepts), strict=True):
            for view, array in zip(views, arrays, strict=True):
                view[...] = array
        with np.errstate(over="ignore"):  # an infinite slope ends in the divergence error
            self.unpack_slopes(params)[:] = slopes
        return params

    def unpack_slopes(self, params: Floats) -> Floats:
        """Return the learned slopes as a view on the vector.

        Parameters
        ----------
        params : ndarray of shape (n_params,)
            The parameter vector.

        Returns
        -------
        ndarray of shape (n_learned_slopes,)
            A view.
        """
        return params[self.n_params - len(self.learned_slopes) :]

    def unpack_norms(self, params: Floats) -> list[tuple[Floats, Floats]]:
        """Return scales and offsets of the normalised layers as views on the vector.

        Parameters
        ----------
        params : ndarray of shape (n_params,)
            The parameter vector.

        Returns
        -------
        list of (ndarray, ndarray)
            Views of shape (fan_out,), one pair per normalised layer.
        """
        pairs, start = [], self.n_weights + sum(self.units[1:])
        for layer in self.normalised:
            width = self.units[layer + 1]
            pairs.append((params[start : start + width], params[start + width : start + 2 * width]))
            start += 2 * width
        return pairs

    def part(self, first: int, last: int, params: Floats) -> tuple[NetworkLayout, Floats]:
        """Return some of the layers as a network: hidden activations are its inputs or outputs.

        Parameters
        ----------
        first, last : int
            Layers of weights to keep, [first, last), from 0.
        params : ndarray of shape (n_params,)
            The parameter vector. Not modified.

        Returns
        -------
        layout : NetworkLayout
            The smaller network; its loss is the squared error.
        params : ndarray
            Its parameters, a new vector.
        """
        layout = replace(
            self,
            units=self.units[first : last + 1],
            activations=self.activations[first:last],
            slopes=self.slopes[first:last],
            loss="squared_error",
            loss_parameters=(),
            norms=self.norms[first:last],
            dropout=self.dropout[first:last],
        )
        coefs, intercepts = self.unpack(params)
        is_kept = [first <= layer < last for layer in self.learned_slopes]
        slopes = self.unpack_slopes(params)[is_kept]
        pairs = zip(self.normalised, self.unpack_norms(params), strict=True)
        norms = [pair for layer, pair in pairs if first <= layer < last]
        return layout, layout.pack(
            coefs[first:last], intercepts[first:last], slopes, params.dtype, norms
        )

    def slope_values(self, params: Floats) -> list[float]:
        """Return the slope of each layer's activation, learned or fixed.

        Parameters
        ----------
        params : ndarray of shape (n_params,)
            The parameter vector.

        Returns
        -------
        list of float
            One per layer of weights, the output's last; nan where the activation has none.
        """
        values = []
        learned = dict(zip(self.learned_slopes, self.unpack_slopes(params), strict=True))
        for layer, name in enumerate(self.activations):
            has_slope = ACTIVATIONS[name].slope is not None
            values.append(float(learned.get(layer, self._slope(layer))) if has_slope else np.nan)
        return values

    def for_kernels(
        self,
        dtype: DTypeLike,
        *,
        trains: bool = True,
        is_narrow: bool = False,
        own_products: bool = False,
        has_few_rows: bool = False,
    ) -> Network:
        """Return the layout as the kernels read it.

        Parameters
        ----------
        dtype : dtype
            The compute dtype.
        trains : bool, default=True
            Whether derivatives and the loss are needed, and so compiled, too.
        is_narrow : bool, default=False
            Whether pieces of a batch are kept unit by unit.
        own_products : bool, default=False
            Whether products may be other than BLAS's.
        has_few_rows : bool, default=False
            Whether a batch has no more than `ROWS_BACK_WITHOUT_BLAS` samples.

        Returns
        -------
        Network
            Arrays of sizes, offsets and addresses.
        """
        layers = np.zeros((self.n_layers + 1, N_COLUMNS), np.int64)
        layers[:, UNITS] = self.units
        layers[1:, START] = _exclusive_sums(self.units[1:])
        layers[:-1, WEIGHTS] = _exclusive_sums(
            [fan_in * fan_out for fan_in, fan_out in self.shapes]
        )
        layers[:-1, BIASES] = self.n_weights + layers[1:, START]
        rows = [ACTIVATIONS[name] for name in self.activations]
        layers[:-1, FORWARD] = [row.forward.address(dtype) for row in rows]
        layers[:-1, IS_SPARSE] = [row.is_sparse for row in rows]
        layers[:, SLOPE] = -1
        first_slope = self.n_params - len(self.learned_slopes)
        for position, layer in enumerate(self.learned_slopes):
            layers[layer, SLOPE] = first_slope + position
        kept = self._kept_widths
        before = _exclusive_sums([width for widths in kept for width in widths])
        layers[:-1, [INPUTS, DROPPED, NORMS]] = np.where(kept, np.reshape(before, (-1, 3)), -1)
        start = self.n_weights + sum(self.units[1:])
        for layer in self.normalised:
            layers[layer, NORM] = start
            layers[layer, NORMALISE] = normalise.address(dtype)
            if trains:
                layers[layer, DERIVE_NORM] = normalise_backward.address(dtype)
            start += 2 * self.units[layer + 1]
        for layer, rate in enumerate(self.dropout):
            if trains and rate > 0:
                dropout = DROPOUTS[rows[layer].dropout]
                layers[layer, DROP] = dropout.forward.address(dtype)
                layers[layer, DERIVE_DROP] = dropout.backward.address(dtype)
                layers[layer, THRESHOLD] = threshold_of(rate)
        with np.errstate(over="ignore"):
            slopes = np.array([self._slope(layer) for layer in range(self.n_layers)], dtype)
        loss = LOSSES[self.loss]
        if trains:
            n_derived = self.n_layers - loss.takes_logits
            layers[:n_derived, BACKWARD] = [row.backward.address(dtype) for row in rows[:n_derived]]
        return Network(
            layers=layers,
            slopes=slopes,
            n_weights=self.n_weights,
            loss=loss.function.address(dtype) if trains else 0,
            loss_parameters=np.resize(
                np.array(self.loss_parameters or loss.default, dtype), self.units[-1]
            ),
            takes_logits=int(loss.takes_logits),
            narrow=narrow_addresses(dtype) if is_narrow else NOT_NARROW,
            product=product.address(dtype) if own_products else 0,
            forward_pass=forward_pass.address(dtype),
            few=addresses_for_few(dtype) if has_few_rows and not is_narrow else MANY,
            n_terms=1 if loss.has_term_per_row else self.units[-1],
        )


def _exclusive_sums(sizes: Sequence[int]) -> list[int]:
    """Return the sum of what stands before each element."""
    return list(accumulate(sizes[:-1], initial=0))
