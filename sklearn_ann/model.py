"""A network and its units; once fitted, its parameters in the units of the user.

Training happens on standardised columns, and where the loss allows it on standardised
targets; users think in theirs. Everything that crosses between the two is here: the
scales are folded into the first and last layer when a fit is over, starting values
given by the user are unfolded before it begins, and predictions run on folded weights
in float64. What is more than a change of units, a design, stands before the first layer
instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from scipy.special import log_expit, log_softmax, logsumexp
from torch import Tensor

from .design import Design, dense
from .encoding import Scaling, has_gaps
from .engine.architecture import Architecture, Parameters, entering, forward
from .engine.device import threads, threads_for
from .engine.losses import Loss

# Numbers that one chunk of a prediction holds in its widest layer: half a megabyte in
# float64, so that a chunk stays in cache from the first layer to the last.
CHUNK_NUMBERS = 2**16
# PyTorch never starts a second thread for fewer numbers than this, so there is nothing
# to hold it back from, and one row is answered a few microseconds sooner.
TOO_SMALL_FOR_THREADS = 2**12


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What stands between the user's numbers and the network's.

    Attributes
    ----------
    inputs, targets : Scaling or None
        Units of the columns of X and of y; None where they are not scaled.
    design : Design or None
        What becomes of the columns of X, where that is more than a change of units;
        `inputs` is None then.
    fill : ndarray of shape (d,) or None
        Without a design, what stands for a missing number: no row that was trained on
        missed one. None for sparse X.
    """

    inputs: Scaling | None = None
    targets: Scaling | None = None
    design: Design | None = None
    fill: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A network and its units, before and after it is fitted.

    Attributes
    ----------
    architecture : Architecture
    loss : Loss
    units : Units
    parameters : Parameters or None
        In the user's units (but see `folds_targets`, and `Units.design`), float64; None
        before the fit.
    """

    architecture: Architecture
    loss: Loss
    units: Units = Units()
    parameters: Parameters | None = None

    @property
    def inputs(self) -> Scaling | None:
        """Units of the columns of X, folded into the first layer."""
        return self.units.inputs

    @property
    def targets(self) -> Scaling | None:
        """Units of y."""
        return self.units.targets

    @property
    def design(self) -> Design | None:
        """What becomes of X before the first layer."""
        return self.units.design

    @property
    def folds_targets(self) -> bool:
        """Whether the last layer can carry the targets' units: with an identity link.

        Several quantiles are sums of softplus steps, so their units stay outside.
        """
        return self.targets is None or self.loss.inverse_link is torch.clone

    @property
    def folds_inputs(self) -> bool:
        """Whether the first layer can carry the inputs' units: without embeddings.

        A wave or a ramp has units of its own, so with one X is scaled to be predicted.
        """
        return self.inputs is None or not self.architecture.embeddings

    @property
    def folded(self) -> tuple[Scaling | None, Scaling | None]:
        """Units of inputs and targets that the parameters carry."""
        return (
            self.inputs if self.folds_inputs else None,
            self.targets if self.folds_targets else None,
        )

    def fitted(self, row: np.ndarray) -> Model:
        """Return the model with the parameters (P,) of the trained network.

        Raises
        ------
        ValueError
            When they are no numbers in the user's units.
        """
        trained = self.architecture.unpack(row.astype(np.float64))
        with np.errstate(over="ignore", invalid="ignore"):  # it is said below
            parameters = fold(trained, *self.folded)
        arrays = [*parameters.weights, *parameters.biases]
        arrays += [] if parameters.skip is None else [parameters.skip]
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError(
                "The fitted parameters, in the units of X and y, are larger than any "
                "number. Bring units nearer to one: divide targets of more than 1e100, "
                "multiply columns of less than 1e-100."
            )
        return replace(self, parameters=parameters)

    def raw(self, X: np.ndarray | sp.csr_array) -> np.ndarray:
        """Raw outputs (n, m), float64: on the user's scale, before the inverse link."""
        return self._outputs(X, lambda raw: raw)

    def predict(self, X: np.ndarray | sp.csr_array) -> np.ndarray:
        """Predictions on the scale of the response (n, m), float64."""
        out = self._outputs(X, self.loss.inverse_link)
        if not self.folds_targets:
            assert self.targets is not None
            out *= self.targets.scale
            out += self.targets.mean
        return out

    def _outputs(
        self, X: np.ndarray | sp.csr_array, link: Callable[[Tensor], Tensor]
    ) -> np.ndarray:
        """Raw outputs through a link, a few rows at a time, (n, m), float64."""
        parameters = self.parameters
        assert parameters is not None, "not fitted"
        parameters = _writable(parameters)
        out = np.empty((X.shape[0], self.architecture.n_outputs))
        if X.shape[0] * self._widest < TOO_SMALL_FOR_THREADS:
            return link(self._raw(X, parameters)).numpy()
        work = self.architecture.flops_per_row * (CHUNK_NUMBERS // self._widest)
        with threads(threads_for(work)):
            for rows in self._chunks(X):
                out[rows] = link(self._raw(X[rows], parameters)).numpy()
        return out

    @property
    def _widest(self) -> int:
        return self.architecture.widest

    def _chunks(self, X: np.ndarray | sp.csr_array) -> Iterator[slice]:
        n, step = X.shape[0], max(16, CHUNK_NUMBERS // self._widest)
        return (slice(start, min(start + step, n)) for start in range(0, n, step))

    def _raw(self, X: np.ndarray | sp.csr_array, parameters: Parameters) -> Tensor:
        """Raw outputs for a few rows."""
        first, skip = parameters.weights[0], parameters.skip
        design, fill = self.units.design, self.units.fill
        if design is not None:
            X = design.matrix(dense(X))
        elif fill is not None and has_gaps(X):
            X = np.where(np.isnan(X), fill, X)
        if sp.issparse(X):
            entered = torch.from_numpy(np.asarray(X @ first))
            skipped = None if skip is None else torch.from_numpy(np.asarray(X @ skip))
        else:
            x = entering(self.architecture, parameters, self._scaled(X))
            entered = x @ torch.from_numpy(first)
            plain = x[:, : self.architecture.n_plain]
            skipped = None if skip is None else plain @ torch.from_numpy(skip)
        return forward(self.architecture, parameters, entered, skipped)

    def _scaled(self, X: np.ndarray) -> Tensor:
        """Rows in the units of the parameters, (n, d), float64."""
        if self.folds_inputs:
            return _tensor(X)
        assert self.inputs is not None
        return torch.from_numpy((X - self.inputs.mean) / self.inputs.scale)


def _writable(parameters: Parameters) -> Parameters:
    """Copy parameters that PyTorch would warn of: joblib maps large ones read-only."""
    weights, biases, skip = parameters.weights, parameters.biases, parameters.skip
    arrays = [*weights, *biases] if skip is None else [*weights, *biases, skip]
    arrays += [block for own in parameters.embeddings for block in own]
    if all(array.flags.writeable for array in arrays):
        return parameters
    return replace(
        parameters,
        weights=[np.array(weight) for weight in weights],
        biases=[np.array(bias) for bias in biases],
        skip=None if skip is None else np.array(skip),
        embeddings=tuple(tuple(map(np.array, own)) for own in parameters.embeddings),
    )


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Several fitted models whose predictions are averaged.

    Attributes
    ----------
    models : tuple of Model
    """

    models: tuple[Model, ...]

    @property
    def loss(self) -> Loss:
        """The members' loss."""
        return self.models[0].loss

    @property
    def architecture(self) -> Architecture:
        """The members' architecture."""
        return self.models[0].architecture

    def predict(self, X: np.ndarray | sp.csr_array) -> np.ndarray:
        """Means of the members' predictions (n, m)."""
        predictions = np.stack([model.predict(X) for model in self.models])
        return np.asarray(predictions.mean(axis=0))

    def raw(self, X: np.ndarray | sp.csr_array) -> np.ndarray:
        """Mean predictions on the scale of raw outputs (n, m), both tails exact."""
        raws = np.stack([model.raw(X) for model in self.models])
        if self.loss.name == "log_loss":
            return _log_mean(log_expit(raws)) - _log_mean(log_expit(-raws))
        if self.loss.name == "multinomial":
            return _log_mean(log_softmax(raws, axis=2))
        if self.loss.name in ("poisson", "gamma"):
            return _log_mean(raws)
        return raws.mean(axis=0)


def behind_design(model: Any) -> Any:
    """Return the network (or ensemble) alone, whose inputs are the design's.

    Those of `Design.unscaled`, unless there are embeddings.
    """
    if isinstance(model, Ensemble):
        return Ensemble(tuple(map(behind_design, model.models)))
    units = replace(model.units, design=None)
    if model.architecture.embeddings:  # these keep the units that they were trained in
        return replace(model, units=units)
    inputs = model.design.last_units
    return replace(
        model,
        units=replace(units, inputs=inputs),
        parameters=fold(model.parameters, inputs, None),
    )


def _log_mean(logs: np.ndarray) -> np.ndarray:
    """Logarithm of the mean over members, from logarithms (members, n, m)."""
    return logsumexp(logs, axis=0) - np.log(len(logs))


def _tensor(X: np.ndarray) -> Tensor:
    """View as float64 tensor, or copy: read-only memory and reversed rows or columns.

    PyTorch warns of the former and refuses the latter.
    """
    if X.dtype != np.float64 or not X.flags.writeable or min(X.strides) < 0:
        X = np.array(X, dtype=np.float64, order="C")
    return torch.from_numpy(X)


def fold(
    parameters: Parameters, inputs: Scaling | None, targets: Scaling | None
) -> Parameters:
    """Parameters for the user's units, of a network that works in its own.

    (x - mean) / scale W + b = x (W / scale) + (b - mean / scale W), and the same for
    the skip, whose constant joins the last intercept; the targets' scale multiplies the
    last layer, and their mean is added to its intercept. The inputs' units cannot be
    folded through an embedding.
    """
    assert inputs is None or not parameters.embeddings, "embeddings keep their units"
    weights, biases = list(parameters.weights), list(parameters.biases)
    skip = parameters.skip
    if inputs is not None:
        shift = inputs.mean / inputs.scale
        biases[0] = biases[0] - shift @ weights[0]
        weights[0] = weights[0] / inputs.scale[:, None]
        if skip is not None:
            biases[-1] = biases[-1] - shift @ skip
            skip = skip / inputs.scale[:, None]
    if targets is not None:
        weights[-1] = weights[-1] * targets.scale
        biases[-1] = biases[-1] * targets.scale + targets.mean
        skip = None if skip is None else skip * targets.scale
    return replace(parameters, weights=weights, biases=biases, skip=skip)


def unfold(
    parameters: Parameters, inputs: Scaling | None, targets: Scaling | None
) -> Parameters:
    """Undo `fold`: from the user's units to the network's."""
    assert inputs is None or not parameters.embeddings, "embeddings keep their units"
    weights, biases = list(parameters.weights), list(parameters.biases)
    skip = parameters.skip
    if targets is not None:
        weights[-1] = weights[-1] / targets.scale
        biases[-1] = (biases[-1] - targets.mean) / targets.scale
        skip = None if skip is None else skip / targets.scale
    if inputs is not None:
        weights[0] = weights[0] * inputs.scale[:, None]
        biases[0] = biases[0] + (inputs.mean / inputs.scale) @ weights[0]
        if skip is not None:
            skip = skip * inputs.scale[:, None]
            biases[-1] = biases[-1] + (inputs.mean / inputs.scale) @ skip
    return replace(parameters, weights=weights, biases=biases, skip=skip)


def collapsed(model: Model) -> tuple[np.ndarray, np.ndarray] | None:
    """Coefficients (d, m) and intercepts (m,) of the raw output, in the user's units.

    None where a hidden layer is not linear: only a product of matrices is a matrix.
    Nor is an embedding linear.
    """
    if model.architecture.embeddings or any(
        name != "identity" for name in model.architecture.activations
    ):
        return None
    if not model.folds_targets:
        return None
    parameters = model.parameters
    assert parameters is not None, "not fitted"
    coef, intercept = parameters.weights[0], parameters.biases[0]
    for weight, bias in zip(parameters.weights[1:], parameters.biases[1:], strict=True):
        coef, intercept = coef @ weight, intercept @ weight + bias
    if parameters.skip is not None:
        coef = coef + parameters.skip
    return coef, intercept
