"""Newton's method for one network without hidden layer: the exact end of a fit.

A quasi-Newton method stops about 3e-7 short of a regression's coefficients, because
near the optimum the objective no longer tells better from worse. Newton's step asks
the gradient alone, and gets to rounding error in a step or two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .expansion import Expansion
from .losses import Loss
from .rows import SparseRows

# Largest Hessian side for which a factorisation is worth its time and memory.
MOST_PARAMETERS = 2_000
_CHUNK_NUMBERS = 2**22
_MOST_STEPS = 50
_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Regression:
    """A network without hidden layer on its rows.

    Attributes
    ----------
    x : Tensor of shape (n, d + 1), its last column ones, or SparseRows
    shift : Tensor of shape (1, d) or None
        What sparse columns are centred by.
    y : Tensor of shape (n, my)
    index : Tensor of shape (r,), int64
        The rows that count.
    weight : Tensor of shape (r,)
        Row weights, summing to one.
    loss : Loss
    decay : float
        L2 penalty divided by the sum of the original weights.
    expansion : Expansion or None
        What becomes of the codes in x, which is compact then.
    """

    x: Tensor | SparseRows
    shift: Tensor | None
    y: Tensor
    index: Tensor
    weight: Tensor
    loss: Loss
    decay: float
    expansion: Expansion | None = None

    def chunks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield x, y, weight of some rows at a time, float64, on the CPU."""
        width = self.x.shape[1] + 1
        if self.expansion is not None:
            width = self.expansion.width(width)
        for part in torch.arange(len(self.index)).split(
            max(1, _CHUNK_NUMBERS // width)
        ):
            rows = self.index[part]
            yield (
                self._dense(rows),
                self.y[rows].to("cpu", _exact(self.y)),
                self.weight[part].double(),
            )

    def _dense(self, rows: Tensor) -> Tensor:
        if isinstance(self.x, Tensor):
            dense = self.x[rows].to("cpu", torch.float64)
            return dense if self.expansion is None else self.expansion(dense)
        x = self.x.gather(rows)[0].to_dense().to("cpu", torch.float64)
        if self.shift is not None:
            x -= self.shift
        return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)

    def gradient(self, block: Tensor) -> tuple[float, Tensor]:
        """Objective and its gradient at coefficients (d + 1, m)."""
        value = 0.5 * self.decay * float(block[:-1].square().sum())
        gradient = self.decay * block
        gradient[-1] = 0.0
        for x, y, weight in self.chunks():
            raw = x @ block
            delta = torch.empty_like(raw)
            self.loss.gradient(raw, y, delta)
            gradient += x.T @ (delta * weight[:, None])
            value += float(self.loss.values(raw, y) @ weight)
        return value, gradient

    def hessian(self, block: Tensor) -> Tensor:
        """Hessian at coefficients (d + 1, m), as (m, d + 1, m, d + 1)."""
        p, m = block.shape
        total = torch.zeros((m, p, m, p), dtype=torch.float64)
        assert self.loss.curvature is not None
        for x, y, weight in self.chunks():
            curvature = self.loss.curvature(x @ block, y) * weight[:, None, None]
            for i in range(m):
                for j in range(m):
                    if i == j or not self.loss.diagonal:
                        total[i, :, j] += x.T @ (x * curvature[:, i, j, None])
        return self.penalised(total)

    def penalised(self, bare: Tensor) -> Tensor:
        """Return a Hessian of the losses, (m, p, m, p), with that of the penalty."""
        total = bare.clone()
        weights = torch.arange(bare.shape[1] - 1)
        for i in range(bare.shape[0]):
            total[i, weights, i, weights] += self.decay
        return total


def _exact(y: Tensor) -> torch.dtype:
    return torch.float64 if y.is_floating_point() else y.dtype


def newton(problem: Regression, block: Tensor) -> tuple[Tensor, bool]:
    """Take Newton steps until they no longer help.

    Parameters
    ----------
    problem : Regression
    block : Tensor of shape (d + 1, m), float64
        Where to start.

    Returns
    -------
    block : Tensor of shape (d + 1, m)
    converged : bool
        Whether the last step was negligible.

    Notes
    -----
    Where the Hessian is singular (collinear columns, the redundant class of a softmax)
    the step is the shortest of those that solve it, so what the data do not determine
    stays as it was.
    """
    value, gradient = problem.gradient(block)
    for _ in range(_MOST_STEPS):
        step = direction(problem.hessian(block), gradient)
        if not torch.isfinite(step).all():
            return block, False
        size = float(step.abs().max())
        found = damped(problem, block, step, value, gradient)
        if found is None:
            # No step is an improvement: at the optimum if the step is rounding error.
            return block, size <= 1e-8 * (1.0 + float(block.abs().max()))
        block, value, gradient = found
        if size <= 1e-15 * (1.0 + float(block.abs().max())):
            return block, True
    return block, size <= 1e-8 * (1.0 + float(block.abs().max()))


def direction(hessian: Tensor, gradient: Tensor) -> Tensor:
    """Return Newton's step (p, m), the shortest where the Hessian is singular."""
    m, p = hessian.shape[:2]
    matrix = hessian.reshape(m * p, m * p)
    if not torch.isfinite(matrix).all():
        return torch.full_like(gradient, torch.nan)
    values, vectors = torch.linalg.eigh(matrix)
    floor = values.abs().max() * m * p * torch.finfo(torch.float64).eps
    inverse = torch.where(values > floor, 1.0 / values, 0.0)
    solution = vectors @ (inverse * (vectors.T @ -gradient.T.reshape(-1)))
    return solution.view(m, p).T


def damped(
    problem: Regression, block: Tensor, step: Tensor, value: float, gradient: Tensor
) -> tuple[Tensor, float, Tensor] | None:
    """Halve the step until the objective, or at rounding level the gradient, falls."""
    norm = float(gradient.norm())
    size = 1.0
    for _ in range(_HALVINGS):
        trial = block + size * step
        new_value, new_gradient = problem.gradient(trial)
        level = 1e-12 * (1.0 + abs(value))
        falls = new_value < value - level
        flat = new_value <= value + level and float(new_gradient.norm()) < norm
        if falls or flat:
            return trial, new_value, new_gradient
        size *= 0.5
    return None
