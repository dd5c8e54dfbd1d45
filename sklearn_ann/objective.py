"""What a fit minimised: a network, its loss and penalty, on the rows of the fit.

Derivatives are taken in units that suit them: the network's own, or those of the rows
where it has none, so that a column of squares is as well behaved as any other. What is
reported does not depend on them.

Letters: n rows, d inputs, m raw outputs, my target columns, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .derivatives import Signals, block_list, chunk_rows, raw_outputs, signals
from .encoding import Scaling, weighted_scaling
from .engine.architecture import Architecture
from .engine.losses import Loss
from .model import unfold
from .quantile_regression import level_of
from .reading import Reading, input_units


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A fitted network on the rows of its fit.

    Attributes
    ----------
    architecture : Architecture
    loss : Loss
    Z : {ndarray, sparse array} of shape (n_rows, d)
        What the network sees, as its estimator takes it.
    y : Tensor of shape (n_rows, my)
        Targets in the units of the loss.
    weight : Tensor of shape (n_rows,)
        Summing to one.
    inputs, targets : Scaling and Scaling or None
        Units in which the parameters work.
    theta : Tensor of shape (P,)
    decay : Tensor of shape (P,)
        Second derivatives of the penalty.
    free : ndarray of bool of shape (P,)
        False for intercepts that are fixed at zero.
    gauss_newton : bool
        Whether the network's own curvature is left out, as where it has kinks.
    density : float or None
        Of a quantile's residuals at zero: stands for the loss's curvature.
    exact : Tensor of shape (P,) or None
        The exact solution of a linear quantile regression.
    """

    architecture: Architecture
    loss: Loss
    Z: np.ndarray | sp.csr_array
    y: Tensor
    weight: Tensor
    inputs: Scaling
    targets: Scaling | None
    theta: Tensor
    decay: Tensor
    free: np.ndarray
    gauss_newton: bool
    density: float | None = None
    exact: Tensor | None = None

    @property
    def n(self) -> int:
        """Rows of positive weight."""
        return int((self.weight > 0).sum())

    def chunks(self) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
        """Yield some rows at a time: their place, z, y, weight."""
        n, step = len(self.weight), chunk_rows(self.architecture)
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            yield rows, self._scaled(rows), self.y[rows], self.weight[rows]

    def _scaled(self, rows: slice) -> Tensor:
        part: Any = self.Z[rows]
        dense = part.toarray() if sp.issparse(part) else part
        return torch.from_numpy((dense - self.inputs.mean) / self.inputs.scale)

    def gradient(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        """First derivative of the loss of rows with targets y."""
        if self.density is not None:
            return lambda raw: _quantile_gradient(self.loss, raw, y)
        return lambda raw: self.loss.gradient(raw, y, torch.empty_like(raw))

    def curvature(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        """Second derivative of the loss of rows with targets y."""
        if self.density is not None:
            # The absolute error is twice the loss of the median.
            size = self.density * (2.0 if self.loss.name == "absolute_error" else 1.0)
            return lambda raw: torch.full_like(raw, size)[:, :, None]
        assert self.loss.curvature is not None
        return lambda raw: self.loss.curvature(raw, y)  # type: ignore[misc]

    def sent(self, z: Tensor, y: Tensor) -> Signals:
        """Rows through the network, and their losses' gradients back."""
        return signals(self.architecture, self.theta, z, self.gradient(y))


def _quantile_gradient(loss: Loss, raw: Tensor, y: Tensor) -> Tensor:
    """Gradient that takes sides at the kink, where an exact solution has residuals."""
    size = 2.0 if loss.name == "absolute_error" else 1.0
    return size * ((raw >= y).to(raw.dtype) - level_of(loss))


def make_problem(
    reading: Reading, Z: Any, y: np.ndarray, weight: np.ndarray, gauss_newton: bool
) -> Problem:
    """Put a reading of one network and its rows in units that suit derivatives.

    Parameters
    ----------
    reading : Reading
    Z : {ndarray, sparse array} of shape (n, d)
    y : ndarray of shape (n, my), encoded
    weight : ndarray of shape (n,)
        As the fit used them.
    gauss_newton : bool
    """
    model = reading.model
    rows = np.flatnonzero(weight > 0)
    inputs, penalised = input_units(
        model, lambda: weighted_scaling(Z, rows, weight[rows]), reading.has_intercept
    )
    targets = model.targets
    folded = targets if model.folds_targets else None
    own_inputs = None if model.architecture.embeddings else inputs
    theta = unfold(model.parameters, own_inputs, folded).pack()
    if targets is not None:
        y = (y - targets.mean) / targets.scale
    decay = _decays(model.architecture, reading.penalty.decay(weight.sum()), penalised)
    integers = model.loss.y_dtype == "int64"
    return Problem(
        model.architecture,
        model.loss,
        Z,
        torch.from_numpy(y.astype(np.int64 if integers else np.float64)),
        torch.from_numpy(weight / weight.sum()),
        inputs,
        targets,
        torch.from_numpy(theta),
        torch.from_numpy(decay),
        _free(model.architecture, reading.has_intercept),
        gauss_newton,
    )


def _decays(
    architecture: Architecture, decay: np.ndarray, penalised: np.ndarray
) -> np.ndarray:
    """Second derivatives of the penalty in all parameters, (P,)."""
    found = np.zeros(architecture.n_parameters)
    for block in block_list(architecture):
        table = np.zeros(block.shape)
        weights = table[:-1] if block.constant else table
        weights[:] = decay if block.penalised else 0.0
        if block.source[0] == "columns":  # the first layer and the skip
            weights *= penalised[list(architecture.plain), None] ** 2
        found[block.place] = table.ravel()
    return found


def _free(architecture: Architecture, has_intercept: bool) -> np.ndarray:
    free = np.zeros(architecture.n_parameters, dtype=bool)
    for block in block_list(architecture):  # without the constants of embeddings
        free[block.place] = True
    if not has_intercept:  # a linear model: one block, its intercepts last
        free[-architecture.n_outputs :] = False
    return free


def objective(problem: Problem) -> float:
    """Mean loss and penalty."""
    total = float(0.5 * (problem.decay * problem.theta.square()).sum())
    for _, z, y, weight in problem.chunks():
        raw = raw_outputs(problem.architecture, problem.theta, z)
        total += float(problem.loss.values(raw, y) @ weight)
    return total
