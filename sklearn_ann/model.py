"""A fitted network: its parameters in its own units, and the units.

Training happens on standardised columns, and where the loss allows it on standardised
targets; users think in theirs. Everything that crosses between the two is here: folding
the scales into the first and last layer, unfolding starting values given by the user,
and the prediction, which runs on folded weights in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .encoding import Scaling
from .engine.device import threads, threads_for
from .engine.losses import Loss
from .engine.network import Architecture, Parameters, forward

# Numbers that one chunk of a prediction holds in its widest layer: half a megabyte in
# float64, so that a chunk stays in cache from the first layer to the last.
CHUNK_NUMBERS = 2**16


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted network.

    Attributes
    ----------
    architecture : Architecture
    row : ndarray of shape (P,), float64
        Parameters in network units.
    loss : Loss
    inputs, targets : Scaling or None
        Units of the columns of X and of y; None where they were not scaled.
    """

    architecture: Architecture
    row: np.ndarray
    loss: Loss
    inputs: Scaling | None
    targets: Scaling | None

    @property
    def folds_targets(self) -> bool:
        """Whether the last layer can carry the targets' units: with an identity link.

        Several quantiles are sums of softplus steps, so their units stay outside.
        """
        return self.targets is None or self.loss.inverse_link is torch.clone

    def parameters(self) -> Parameters:
        """Parameters in the user's units, float64 (see `folds_targets`)."""
        return fold(
            self.architecture.unpack(self.row),
            self.inputs,
            self.targets if self.folds_targets else None,
        )

    def raw(self, X: np.ndarray | sp.csr_array) -> np.ndarray:
        """Raw outputs (n, m), float64: on the user's scale, before the inverse link."""
        parameters = self.parameters()
        out = np.empty((X.shape[0], self.architecture.n_outputs))
        for rows in self._chunks(X):
            out[rows] = self._raw(X[rows], parameters).numpy()
        return out

    def predict(self, X: np.ndarray | sp.csr_array) -> np.ndarray:
        """Predictions on the scale of the response (n, m), float64."""
        parameters = self.parameters()
        out = np.empty((X.shape[0], self.architecture.n_outputs))
        work = self.architecture.flops_per_row * (CHUNK_NUMBERS // self._widest)
        with threads(threads_for(work)), torch.inference_mode():
            for rows in self._chunks(X):
                raw = self._raw(X[rows], parameters)
                out[rows] = self.loss.inverse_link(raw).numpy()
        if not self.folds_targets:
            assert self.targets is not None
            out *= self.targets.scale
            out += self.targets.mean
        return out

    @property
    def _widest(self) -> int:
        return max(self.architecture.sizes)

    def _chunks(self, X: np.ndarray | sp.csr_array) -> Iterator[slice]:
        n, step = X.shape[0], max(16, CHUNK_NUMBERS // self._widest)
        return (slice(start, min(start + step, n)) for start in range(0, n, step))

    def _raw(self, X: np.ndarray | sp.csr_array, parameters: Parameters) -> Tensor:
        """Raw outputs for a few rows."""
        first, skip = parameters.weights[0], parameters.skip
        if sp.issparse(X):
            entered = torch.from_numpy(np.asarray(X @ first))
            skipped = None if skip is None else torch.from_numpy(np.asarray(X @ skip))
        else:
            x = _tensor(X)
            entered = x @ torch.from_numpy(first)
            skipped = None if skip is None else x @ torch.from_numpy(skip)
        return forward(self.architecture, parameters, entered, skipped)


def _tensor(X: np.ndarray) -> Tensor:
    """View as float64 tensor; a copy where PyTorch would warn (memory maps)."""
    if X.dtype != np.float64 or not X.flags.writeable:
        X = X.astype(np.float64)
    return torch.from_numpy(X)


def fold(
    parameters: Parameters, inputs: Scaling | None, targets: Scaling | None
) -> Parameters:
    """Parameters for the user's units, of a network that works in its own.

    (x - mean) / scale W + b = x (W / scale) + (b - mean / scale W), and the same for
    the skip, whose constant joins the last intercept; the targets' scale multiplies the
    last layer, and their mean is added to its intercept.
    """
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
    return Parameters(weights, biases, skip)


def unfold(
    parameters: Parameters, inputs: Scaling | None, targets: Scaling | None
) -> Parameters:
    """Undo `fold`: from the user's units to the network's."""
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
    return Parameters(weights, biases, skip)


def collapsed(model: Model) -> tuple[np.ndarray, np.ndarray] | None:
    """Coefficients (d, m) and intercepts (m,) of the raw output, in the user's units.

    None where a hidden layer is not linear: only a product of matrices is a matrix.
    """
    if any(name != "identity" for name in model.architecture.activations):
        return None
    if not model.folds_targets:
        return None
    parameters = model.parameters()
    coef, intercept = parameters.weights[0], parameters.biases[0]
    for weight, bias in zip(parameters.weights[1:], parameters.biases[1:], strict=True):
        coef, intercept = coef @ weight, intercept @ weight + bias
    if parameters.skip is not None:
        coef = coef + parameters.skip
    return coef, intercept
