"""Looking inside a fitted network: hidden activations, gradients of the inputs, a summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from fastmlp.estimators._validation import InvalidParameterError, instance_of, interval
from fastmlp.training.data import kernel_data
from fastmlp.training.input_gradients import input_gradients_of_loss, input_gradients_of_output
from fastmlp.training.network import NetworkLayout
from fastmlp.training.predictor import Predictor

__all__ = ["InspectionMixin", "LayerSummary", "ModelSummary"]

Floats = NDArray[Any]


class LayerSummary(NamedTuple):
    """A row of a summary: one layer of weights and what follows it.

    Attributes
    ----------
    layer : str
        ``"hidden 0"``, ``"hidden 1"`` and so on, numbered as in `transform`, then ``"output"``.
    inputs, units : int
        Shape of the weights: units of the layer before it, and of this one.
    activation : str
        Name of the activation.
    parameters : int
        Weights, biases and learned slopes.
    """

    layer: str
    inputs: int
    units: int
    activation: str
    parameters: int


@dataclass(frozen=True)
class ModelSummary(Sequence[LayerSummary]):
    """The layers of a fitted model, as rows that print as a table.

    A sequence of `LayerSummary`: ``pandas.DataFrame(model.summary())`` is a table, too.

    Attributes
    ----------
    title : str
        Name of the model's class.
    layers : tuple of LayerSummary
        The rows.
    dtype : str
        Type of the parameters.
    n_parameters : int
        Number of all parameters.
    n_bytes : int
        Memory they take.
    """

    title: str
    layers: tuple[LayerSummary, ...]
    dtype: str

    @property
    def n_parameters(self) -> int:
        """Number of all parameters."""
        return sum(row.parameters for row in self.layers)

    @property
    def n_bytes(self) -> int:
        """Memory they take."""
        return self.n_parameters * np.dtype(self.dtype).itemsize

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, index: int) -> LayerSummary: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LayerSummary, ...]: ...
    def __getitem__(self, index: int | slice) -> LayerSummary | tuple[LayerSummary, ...]:
        return self.layers[index]

    def __iter__(self) -> Iterator[LayerSummary]:
        return iter(self.layers)

    @property
    def _headline(self) -> str:
        return (
            f"{self.title}: {self.n_parameters:,} parameters, {self.dtype}, {self.n_bytes:,} bytes"
        )

    def _cells(self) -> list[tuple[str, ...]]:
        return [LayerSummary._fields, *(tuple(_text(value) for value in row) for row in self)]

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        is_number = [not isinstance(value, str) for value in self.layers[0]]
        lines = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, is_number, strict=True)
            ).rstrip()
            for row in cells
        ]
        return "\n".join([self._headline, *lines])

    def _repr_html_(self) -> str:
        head, *body = (
            "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"
            for tag, row in zip(["th", *["td"] * len(self)], self._cells(), strict=True)
        )
        return (
            f"<table><caption>{escape(self._headline)}</caption><thead>{head}</thead>"
            f"<tbody>{''.join(body)}</tbody></table>"
        )


def _text(value: str | int) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _check_index(method: str, name: str, value: object, low: int, high: int) -> int:
    """Return an index, or say which ones there are."""
    constraint = interval(Integral, low, high, "both")
    if isinstance(value, (bool, np.bool_)) or not constraint.accepts(value):
        raise InvalidParameterError(
            f"The {name!r} parameter of {method} must be {constraint.description}. "
            f"Got {value!r} instead."
        )
    return int(value)  # type: ignore[call-overload]


class InspectionMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """What fitted perceptrons let you see of themselves."""

    # Not data that scikit-learn should route.
    __metadata_request__transform: ClassVar = {"layer": UNUSED}

    # The estimators have these.
    coefs_: list[Floats]
    n_outputs_: int
    n_jobs: int | None
    _layout: NetworkLayout

    def transform(self, X: Any, layer: int = -1) -> Floats:
        """Return the activations of a hidden layer.

        The network as a learned representation: in a pipeline its last hidden layer are the
        features of what follows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.
        layer : int, default=-1
            Which hidden layer, from 0; negative numbers count from the last one.

        Returns
        -------
        ndarray of shape (n_samples, n_units)
            What comes out of the layer, its activation applied; float32 or float64, as the
            parameters are.

        Raises
        ------
        ValueError
            If there is no such layer, or if it is not the last one while `set_output` asks for a
            data frame, whose columns are named after the units of the last hidden layer.
        """
        X = self._checked_inputs(X)
        n_hidden = len(self.coefs_) - 1
        if n_hidden == 0:
            raise ValueError(
                "transform needs a hidden layer, and this model has hidden_layer_sizes=()."
            )
        index = _check_index("transform", "layer", layer, -n_hidden, n_hidden - 1) % n_hidden
        if index < n_hidden - 1 and _get_output_config("transform", self)["dense"] != "default":
            raise ValueError(
                f"transform with layer={layer} has no names for the columns of a data frame: "
                "get_feature_names_out names the units of the last hidden layer. Call "
                "set_output(transform='default') before."
            )
        head = self._layout.part(0, index + 1, self._parameters())
        return Predictor(*head)(kernel_data(X, X.dtype), n_jobs=self.n_jobs)

    @property
    def _n_features_out(self) -> int:
        return int(self.coefs_[-1].shape[0])

    def input_gradients(
        self, X: Any, y: ArrayLike | None = None, *, output: int | None = None, logits: bool = False
    ) -> Floats:
        r"""Return exact gradients with respect to the inputs.

        Of the outputs, :math:`\partial f_k(x_i) / \partial x_{ij}`, which tell which features a
        prediction depends on (saliency); or, where `y` is given, of the loss,
        :math:`\partial L(f(x_i), y_i) / \partial x_{ij}`, which tell in which direction the
        prediction gets worse.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets as for `fit`; then the gradient is that of each sample's loss, without penalty
            and weights. A squared error is half the sum over outputs, as in training.
        output : int, default=None
            Which column of `predict_proba`, or of a regressor's `predict`, from 0; None is all.
        logits : bool, default=False
            Whether to leave out the output activation: then outputs are the pre-activations of
            the output layer, the log-odds where it is logistic, and do not saturate.

        Returns
        -------
        ndarray
            Of shape (n_samples, n_features) for the loss, for one output, and for a regressor with
            one target; else (n_samples, n_outputs, n_features). float32 or float64, as the
            parameters are. At corners, such as that of ``"relu"`` at 0, it is the derivative
            that training takes.

        Raises
        ------
        ValueError
            If there is no such output, if y does not suit the model, or if both y and one of
            `output` and `logits` are given.

        References
        ----------
        Simonyan, Vedaldi and Zisserman (2014), "Deep Inside Convolutional Networks: Visualising
        Image Classification Models and Saliency Maps".
        """
        X = self._checked_inputs(X)
        if not isinstance(logits, (bool, np.bool_)):
            raise InvalidParameterError(
                "The 'logits' parameter of input_gradients must be "
                f"{instance_of(bool).description}. Got {logits!r} instead."
            )
        if y is not None:
            if output is not None or logits:
                raise ValueError(
                    "input_gradients gives the gradient of the loss where y is given, and of "
                    "outputs where it is not; output and logits cannot be combined with y."
                )
            check_consistent_length(X, y)
            targets = self._encode_known_targets(y, X.dtype)
            params = self._parameters()
            return input_gradients_of_loss(self._layout, params, X, targets, self.n_jobs)
        n_columns = len(self.classes_) if hasattr(self, "classes_") else self.n_outputs_
        if output is not None:
            column = _check_index("input_gradients", "output", output, 0, n_columns - 1)
            return self._output_gradient(X, column, logits)
        if not hasattr(self, "classes_") and n_columns == 1:
            return self._output_gradient(X, 0, logits)
        return np.stack(
            [self._output_gradient(X, column, logits) for column in range(n_columns)], axis=1
        )

    def _output_gradient(self, X: Any, column: int, logits: bool) -> Floats:
        """Return the gradient of one column of what the model predicts."""
        return self._unit_gradient(X, column, logits)

    def _unit_gradient(self, X: Any, unit: int, logits: bool) -> Floats:
        """Return the gradient of one unit of the output layer."""
        params = self._parameters()
        return input_gradients_of_output(
            self._layout, params, X, unit, logits=logits, n_jobs=self.n_jobs
        )

    def summary(self) -> ModelSummary:
        """Return the layers of the fitted model, their shapes and numbers of parameters.

        Returns
        -------
        ModelSummary
            Rows that print as a table.
        """
        check_is_fitted(self)
        layout = self._layout
        names = [*(f"hidden {i}" for i in range(layout.n_layers - 1)), "output"]
        rows = [
            LayerSummary(
                name, fan_in, fan_out, str(activation),
                parameters=(fan_in + 1 + 2 * (i in layout.normalised)) * fan_out
                + (i in layout.learned_slopes),
            )
            for i, (name, (fan_in, fan_out), activation) in enumerate(
                zip(names, layout.shapes, layout.activations, strict=True)
            )
        ]  # fmt: skip
        return ModelSummary(type(self).__name__, tuple(rows), str(self.coefs_[0].dtype))

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: transformed data have the type of the parameters.

        Returns
        -------
        sklearn.utils.Tags
            The tags.
        """
        tags: Tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
