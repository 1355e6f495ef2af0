"""One network in training, and the frames that show it.

A session knows nothing of connections: :mod:`~fastmlp.playground.server` calls it from a worker
thread, one call at a time.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastmlp.estimators.classifier import MLPClassifier
from fastmlp.kernels.optimizers import OPTIMIZERS
from fastmlp.playground.problems import compute_features, make_grid, make_problem
from fastmlp.playground.settings import MAX_EPOCHS, Settings, SettingsError
from fastmlp.training.data import kernel_data, sample_numbers
from fastmlp.training.engine import Engine, OptimizerState
from fastmlp.training.lbfgs import fit_lbfgs
from fastmlp.training.network import NetworkLayout
from fastmlp.training.predictor import Predictor
from fastmlp.training.schedules import Constant
from fastmlp.training.trainer import DivergenceError, Progress, fit_epochs

__all__ = [
    "COARSE",
    "FINE",
    "FRAME_HEADER",
    "HEADER_FIELDS",
    "Condition",
    "Measures",
    "Session",
]

Floats = NDArray[np.float64]

FINE, COARSE = 96, 32  # pixels per side of the map of the output, and of each hidden unit
# L-BFGS forgets its curvature between calls: fewer iterations at once would get it nowhere.
_LBFGS_ITERATIONS = 10
_RATE_WINDOW = 0.5  # seconds over which epochs per second are measured

HEADER_FIELDS = (
    "revision",
    "epoch",
    "n_params",
    "n_hidden",
    "condition",
    "epochs_per_second",
    "loss_train",
    "loss_test",
    "score_train",
    "score_test",
)
FRAME_HEADER = struct.Struct("<5I5f")

_DEFAULTS = MLPClassifier().get_params()


class Condition(Enum):
    """Whether training can go on."""

    READY = 0
    CONVERGED = 1
    DIVERGED = 2
    EXHAUSTED = 3


class Measures(NamedTuple):
    """How good the network is.

    Attributes
    ----------
    loss_train, loss_test : float
        Mean loss without penalty: cross-entropy, or half the squared error.
    score_train, score_test : float
        Accuracy, or the coefficient of determination.
    """

    loss_train: float
    loss_test: float
    score_train: float
    score_test: float


class Session:
    """A network in training.

    Parameters
    ----------
    settings : Settings
        What to train on what.

    Attributes
    ----------
    settings : Settings
        The present settings.
    revision : int
        Counts the networks and data sets so far; frames carry it.
    epoch : int
        Epochs (L-BFGS: iterations) trained.
    condition : Condition
        Whether training can go on.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.revision = 0
        self.reset()

    # -- control ------------------------------------------------------------------------------

    def reset(self) -> None:
        """Draw the points and the initial weights anew, from the same seed."""
        settings = self.settings
        self.revision += 1
        self.epoch = 0
        self.condition = Condition.READY
        self.problem = problem = make_problem(
            settings.dataset,
            noise=settings.noise / 100,
            train_share=settings.train_share / 100,
            seed=settings.seed,
        )
        is_regression = problem.task == "regression"
        self._X = compute_features(problem.points_train, settings.features)
        self._order = sample_numbers(0, len(self._X))
        self._random_state = np.random.RandomState(settings.seed)
        self.layout = NetworkLayout(
            units=(len(settings.features), *settings.hidden, 1),
            activations=(
                *(settings.activation for _ in settings.hidden),
                "identity" if is_regression else "logistic",
            ),
            slopes=(None,) * (len(settings.hidden) + 1),
            loss="squared_error" if is_regression else "logistic_cross_entropy",
            output_init=settings.activation,
        )
        self.params: Floats = self.layout.initial_params(self._random_state, np.float64)
        self._optimizer: OptimizerState | None = None
        self._marks: deque[tuple[float, int]] = deque()
        self._frame: bytes | None = None
        # What every frame evaluates: the points, then the pixels of the large map.
        self._X_shown = compute_features(
            np.concatenate([problem.points_train, problem.points_test, make_grid(FINE)]),
            settings.features,
        )
        self._X_coarse = compute_features(make_grid(COARSE), settings.features)
        self._start()

    def update(self, settings: Settings) -> bool:
        """Change the settings, and start anew if points or network are not the same.

        Parameters
        ----------
        settings : Settings
            The new settings.

        Returns
        -------
        bool
            Whether training starts anew.
        """
        before, self.settings = self.settings, settings
        if not settings.is_same_run(before):
            self.reset()
            return True
        if self.condition is not Condition.EXHAUSTED:
            self.condition = Condition.READY
        self._frame = None
        self._start()
        return False

    def resume(self, params: ArrayLike, epoch: int) -> None:
        """Go on with weights that an earlier session of the same settings reached.

        Parameters
        ----------
        params : array-like of shape (n_params,)
            All parameters, in the order in which frames carry them.
        epoch : int
            Epochs that they took.

        Raises
        ------
        SettingsError
            If these are not finite numbers, as many as the network has.
        """
        try:
            values = np.array(params, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise SettingsError("params must be a list of numbers") from error
        if values.shape != self.params.shape or not np.isfinite(values).all():
            raise SettingsError(f"params must be {self.params.size} finite numbers")
        if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch <= MAX_EPOCHS:
            raise SettingsError(f"epoch must be an integer from 0 to {MAX_EPOCHS}")
        self.params[:] = values
        self.epoch = epoch
        self._optimizer, self._frame = None, None
        self._start()

    def pause(self) -> None:
        """Forget the pace: epochs per second are measured anew when training goes on."""
        self._marks.clear()
        self._frame = None

    # -- training -----------------------------------------------------------------------------

    def _start(self) -> None:
        """Bind the network to its data and its optimizer, as the settings have them."""
        settings = self.settings
        uses_lbfgs = settings.solver == "lbfgs"
        name = "no_step" if uses_lbfgs else settings.solver
        if self._optimizer is None or self._optimizer.name != name:
            self._optimizer = OptimizerState.start(name, self.params)
        n_samples = len(self._X)
        self._engine = Engine(
            self.layout,
            self.params,
            kernel_data(self._X, np.float64, self.problem.y_train.reshape(-1, 1)),
            self._optimizer,
            {key: _DEFAULTS[key] for key in OPTIMIZERS[name].hyperparameters},
            alpha=settings.alpha,
            batch_size=n_samples if uses_lbfgs else min(settings.batch_size, n_samples),
            n_samples=n_samples,
            n_jobs=1,
        )
        self._schedule = Constant(settings.learning_rate, 0.5)

    def train(self, epochs: float, seconds: float) -> int:
        """Train for some epochs, or for some time, whichever ends first.

        Parameters
        ----------
        epochs : float
            Largest number of epochs, at least 1; L-BFGS takes at least 10 iterations.
        seconds : float
            After this time no second epoch is started.

        Returns
        -------
        int
            Epochs trained.
        """
        if self.condition is not Condition.READY:
            return 0
        first = self.epoch
        limit = min(epochs, MAX_EPOCHS - self.epoch)
        try:
            with self._engine:
                if self.settings.solver == "lbfgs":
                    self._run_lbfgs(int(min(max(limit, _LBFGS_ITERATIONS), 100)))
                else:
                    self._run_epochs(limit, seconds)
        except DivergenceError:
            self.condition = Condition.DIVERGED
        if self.epoch >= MAX_EPOCHS:
            self.condition = Condition.EXHAUSTED
        self._frame = None
        return self.epoch - first

    def _run_epochs(self, limit: float, seconds: float) -> None:
        progress = Progress.start(False)
        try:
            fit_epochs(
                self._engine,
                self._order,
                progress,
                self._schedule,
                self._random_state,
                max_iter=int(limit),
                shuffle=True,
                tol=0.0,
                n_iter_no_change=np.inf,
                time_limit=seconds,
            )
        finally:
            self.epoch += progress.n_iter

    def _run_lbfgs(self, n_iterations: int) -> None:
        result = fit_lbfgs(
            self._engine,
            max_iter=n_iterations,
            max_fun=20 * n_iterations,
            tol=_DEFAULTS["tol"],
        )
        self.epoch += result.n_iter
        if result.status == 0 or result.n_iter == 0:
            self.condition = Condition.CONVERGED

    def _epochs_per_second(self) -> float:
        now, marks = time.perf_counter(), self._marks
        marks.append((now, self.epoch))
        while len(marks) > 2 and now - marks[1][0] > _RATE_WINDOW:
            marks.popleft()
        elapsed = now - marks[0][0]
        return (self.epoch - marks[0][1]) / elapsed if elapsed > 0 else 0.0

    # -- what there is to see -----------------------------------------------------------------

    def measure(self, outputs: Floats | None = None) -> Measures:
        """Return how good the network is.

        Parameters
        ----------
        outputs : ndarray of shape (n_samples,) or None
            Outputs for the points to train on, then for those to test with; None computes them.

        Returns
        -------
        Measures
            Losses and scores.
        """
        y_train, y_test = self.problem.y_train, self.problem.y_test
        if outputs is None:
            outputs = self._outputs()[: y_train.size + y_test.size]
        quality = _fit_of_numbers if self.problem.task == "regression" else _fit_of_classes
        loss_train, score_train = quality(y_train, outputs[: y_train.size])
        loss_test, score_test = quality(y_test, outputs[y_train.size :])
        return Measures(loss_train, loss_test, score_train, score_test)

    def frame(self) -> bytes:
        """Return a picture of the present state.

        Returns
        -------
        bytes
            Little-endian, without gaps: `FRAME_HEADER` with the fields `HEADER_FIELDS`; all
            parameters as float32; the largest absolute output of each hidden unit on the map as
            float32; the map of the output, `FINE` × `FINE` int16, where ±32767 is ±1; and the maps
            of the hidden units, `COARSE` × `COARSE` int8 each, where ±127 is that largest output.
        """
        rate = self._epochs_per_second()
        if self._frame is None:
            self._frame = self._draw(rate)
        return self._frame

    def _draw(self, rate: float) -> bytes:
        n_points = self.problem.y_train.size + self.problem.y_test.size
        outputs = self._outputs()
        shown = outputs[n_points:]
        if self.problem.task == "classification":
            shown = 2 * shown - 1
        units = self._hidden_outputs()
        peaks = np.abs(units).max(axis=1, initial=0.0)
        header = FRAME_HEADER.pack(
            self.revision,
            self.epoch,
            self.params.size,
            len(units),
            self.condition.value,
            rate,
            *self.measure(outputs[:n_points]),
        )
        largest = np.finfo(np.float32).max  # of a float64 that float32 cannot hold
        return b"".join(
            [
                header,
                np.clip(self.params, -largest, largest).astype("<f4").tobytes(),
                np.minimum(peaks, largest).astype("<f4").tobytes(),
                _as_integers(shown, "<i2"),
                _as_integers(units / np.where(peaks > 0, peaks, 1)[:, None], "i1"),
            ]
        )

    def describe(self) -> dict[str, Any]:
        """Return what stays the same until `revision` changes, as JSON can hold it.

        Returns
        -------
        dict
            Settings, task, points with their targets, widths of the layers, and the same in Python.
        """
        problem = self.problem
        return {
            "revision": self.revision,
            "settings": self.settings.to_message(),
            "task": problem.task,
            "train": _rounded(problem.points_train, problem.y_train),
            "test": _rounded(problem.points_test, problem.y_test),
            "units": list(self.layout.units),
            "python": self.settings.to_python(),
        }

    def _outputs(self) -> Floats:
        outputs: Floats = Predictor(self.layout, self.params)(
            kernel_data(self._X_shown, np.float64), n_jobs=1
        )[:, 0]
        return outputs

    def _hidden_outputs(self) -> Floats:
        """Return the output of each hidden unit at each pixel, one unit per row."""
        values, rows = self._X_coarse, [np.empty((0, COARSE * COARSE))]
        for layer in range(len(self.settings.hidden)):
            predict = Predictor(*self.layout.part(layer, layer + 1, self.params))
            values = predict(kernel_data(values, np.float64), n_jobs=1)
            rows.append(values.T)
        return np.concatenate(rows)


def _fit_of_classes(y: Floats, probability: Floats) -> tuple[float, float]:
    """Return the cross-entropy and the accuracy."""
    of_truth = np.where(y == 1, probability, 1 - probability)
    loss = -np.log(np.maximum(of_truth, np.finfo(np.float64).eps)).mean()
    return float(loss), float(((probability > 0.5) == (y == 1)).mean())


def _fit_of_numbers(y: Floats, outputs: Floats) -> tuple[float, float]:
    """Return half the squared error and the coefficient of determination."""
    # Limited, so that what diverges gives a number that float32 can hold.
    squared = np.square(np.clip(outputs - y, -1e15, 1e15)).mean()
    spread = y.var()
    return float(squared / 2), float(1 - squared / spread) if spread > 0 else 0.0


def _as_integers(values: Floats, dtype: str) -> bytes:
    """Return values from -1 to 1, as integers up to the largest one."""
    return np.rint(np.iinfo(dtype).max * np.clip(values, -1, 1)).astype(dtype).tobytes()


def _rounded(points: Floats, y: Floats) -> list[list[float]]:
    rows: list[list[float]] = np.round(np.column_stack([points, y]), 3).tolist()
    return rows
