"""How strongly a linear model should be penalised, by the evidence of its own rows.

Conventions: sums over rows carry the rows' weights, so a row of weight 2 is the row
twice; p = d + 1 rows of a block, the intercept last; m outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .newton import Regression, damped, direction

# Rounds of one Newton step and one new penalty; they are over when neither moves by
# more than this share. It is a start, and its predictions hardly know the penalty.
_MOST_ROUNDS = 30
_TOLERANCE = 1e-2
# The penalty stays within these multiples of the largest curvature: data that say
# nothing of the coefficients would send it to infinity, and rows that are fitted
# without error to zero, where rounding errors would choose among the solutions.
_LEAST, _MOST = 1e-6, 1e6
# With a smaller F, Zellner's prior shrinks by more than a quarter, and least squares do
# not stand for it any more.
_LEAST_F = 4.0
# Columns are given because they are thought to matter: before the data a model of them
# is so much likelier than the intercept alone.
_ODDS = 2.0
# Losses whose likelihood knows no scale of its own.
_WITHOUT_SCALE = ("log_loss", "multinomial")


@dataclass(frozen=True, slots=True)
class Solution:
    """A penalised linear model.

    Attributes
    ----------
    block : Tensor of shape (d + 1, m), float64
        Coefficients, and the intercepts in the last row.
    alpha : float
        The penalty is alpha / 2 times the sum of squared coefficients, beside the
        weighted sum of the losses.
    probability : float
        Of this model, where the other one is the intercept alone (`_ODDS`).
    """

    block: Tensor
    alpha: float
    probability: float = 1.0


def evident(problem: Regression, total: float, block: Tensor) -> Solution:
    """Fit a linear model, and choose its penalty by the evidence.

    Parameters
    ----------
    problem : Regression
        Of a loss with curvature; its own penalty does not matter.
    total : float
        Sum of the row weights.
    block : Tensor of shape (d + 1, m), float64
        Where to start: the best constant, which is the other model.

    Notes
    -----
    Coefficients are taken to be drawn from N(0, 1 / tau). MacKay (1992), "Bayesian
    interpolation", equations 4.8 and 4.9, with the Hessian of the loss in place of that
    of the squared error (Laplace's approximation): tau = gamma / ||w||^2, where gamma =
    sum_j l_j / (l_j + alpha) over the eigenvalues l_j of the Hessian, and alpha = phi
    tau. phi, the scale of the loss, is the ratio of its mean squared gradient to its
    mean curvature, with total - gamma degrees of freedom; 1 for log losses.
    Intercepts, which nobody penalises, are eliminated from the Hessian first.
    """
    alpha: float | None = None
    problem = replace(problem, decay=0.0)
    constant = problem.gradient(block)[0]
    for _ in range(_MOST_ROUNDS):
        bare = problem.hessian(block)
        wanted = _next_penalty(problem, total, block, bare, alpha)
        asked = replace(problem, decay=wanted / total)
        block, size = _one_step(asked, block, bare)
        settled = alpha is not None and abs(wanted - alpha) <= _TOLERANCE * alpha
        alpha = wanted
        if settled and size <= _TOLERANCE * float(block.abs().max()):
            break
    assert alpha is not None
    return _judged(problem, total, Solution(block, alpha), constant)


def _judged(
    problem: Regression, total: float, ridge: Solution, constant: float
) -> Solution:
    """Compare ridge with the intercept alone, and with least squares.

    Evidences are relative to that of the intercept, whose mean loss is ``constant``.
    """
    squares = problem.loss.name == "squared_error" and ridge.block.shape[1] == 1
    bare = problem.hessian(ridge.block)
    curvatures = _curvatures(bare) * total
    varies = len(curvatures) and curvatures.max() > 0.0 and constant > 0.0
    if not varies or not (squares or problem.loss.name in _WITHOUT_SCALE):
        return ridge
    for_ridge = _evidence_of_ridge(problem, total, ridge, curvatures, constant)
    if squares:
        plain, left, free = _least_squares(problem, total, ridge, bare, curvatures)
        left /= constant
        if _evidence_of_zellner(left, free, total - 1.0) > for_ridge:
            return plain
    probability = 1.0 / (1.0 + math.exp(min(-for_ridge, 700.0)) / _ODDS)
    return replace(ridge, probability=probability)


def _evidence_of_ridge(
    problem: Regression,
    total: float,
    ridge: Solution,
    curvatures: Tensor,
    constant: float,
) -> float:
    """Logarithm of it: with a flat prior on log phi, or by Laplace where phi is one."""
    loss = 2.0 * total * problem.gradient(ridge.block)[0]
    loss += ridge.alpha * float(ridge.block[:-1].square().sum())
    everything = 2.0 * total * constant
    evidence = -0.5 * float((curvatures / ridge.alpha).log1p().sum())
    if problem.loss.name in _WITHOUT_SCALE:
        return evidence + 0.5 * (everything - loss)
    return evidence - 0.5 * (total - 1.0) * math.log(loss / everything)


def _least_squares(
    problem: Regression,
    total: float,
    ridge: Solution,
    bare: Tensor,
    curvatures: Tensor,
) -> tuple[Solution, float, float]:
    """Least squares, hardly penalised; their mean loss, and their free coefficients.

    Ridge takes small coefficients for likely in all directions: of a column beside its
    square it asks what hardly any curve has. Zellner's prior N(0, g phi (X'X)^-1) has
    no such wish.
    """
    alpha = _LEAST * float(curvatures.max())
    hardly = replace(problem, decay=alpha / total)
    block = _one_step(hardly, ridge.block, bare)[0]
    free = float((curvatures / (curvatures + alpha)).sum())
    return Solution(block, alpha), problem.gradient(block)[0], free


def _evidence_of_zellner(left: float, free: float, n: float) -> float:
    """Logarithm of the evidence for Zellner's prior, at the best g = F - 1.

    Liang et al. (2008), https://doi.org/10.1198/016214507000001337, equation 9, of the
    share of the squares that ``free`` coefficients leave, with n = rows less one; minus
    infinity where least squares do not stand for it.
    """
    if not 0.0 < left < 1.0 or n - free < 1.0:  # as good as no rows are left to judge
        return -math.inf
    F = (1.0 - left) / free / (left / (n - free))
    if F < _LEAST_F:
        return -math.inf
    return 0.5 * (n - free) * math.log(F) - 0.5 * n * math.log1p((F - 1.0) * left)


def _one_step(problem: Regression, block: Tensor, bare: Tensor) -> tuple[Tensor, float]:
    """Take one damped Newton step; return the block and the size of the step."""
    value, gradient = problem.gradient(block)
    step = direction(problem.penalised(bare), gradient)
    if not torch.isfinite(step).all():
        return block, 0.0
    found = damped(problem, block, step, value, gradient)
    if found is None:
        return block, 0.0
    return found[0], float((found[0] - block).abs().max())


def _next_penalty(
    problem: Regression,
    total: float,
    block: Tensor,
    bare: Tensor,
    alpha: float | None,
) -> float:
    """One step of MacKay's fixed point; the first is a penalty of one."""
    if alpha is None:
        return 1.0
    curvatures = _curvatures(bare) * total
    if not len(curvatures):  # no columns, such as where all are looked up
        return alpha
    largest = float(curvatures.max())
    norm = float(block[:-1].square().sum())
    if not largest > 0.0 or not norm > 0.0:
        return alpha
    gamma = float((curvatures / (curvatures + alpha)).sum())
    wanted = _scale(problem, total, block, gamma) * gamma / norm
    return min(max(wanted, _LEAST * largest), _MOST * largest)


def _curvatures(hessian: Tensor) -> Tensor:
    """Eigenvalues of the Hessian in the coefficients, intercepts at their best."""
    m, p = hessian.shape[:2]
    inner = hessian[:, :-1, :, :-1].reshape(m * (p - 1), m * (p - 1))
    cross = hessian[:, :-1, :, -1].reshape(m * (p - 1), m)
    corner = hessian[:, -1, :, -1]
    schur = inner - cross @ torch.linalg.pinv(corner, hermitian=True) @ cross.T
    return torch.linalg.eigvalsh(schur).clamp(min=0.0)


def _scale(problem: Regression, total: float, block: Tensor, gamma: float) -> float:
    """Scale of the loss: what its gradient varies by, where its curvature is one."""
    if problem.loss.name in _WITHOUT_SCALE:
        return 1.0
    squares = curvature = 0.0
    assert problem.loss.curvature is not None
    for x, y, weight in problem.chunks():
        raw = x @ block
        delta = problem.loss.gradient(raw, y, torch.empty_like(raw))
        squares += float(delta.square().sum(1) @ weight)
        bends = problem.loss.curvature(raw, y).diagonal(dim1=-2, dim2=-1).sum(1)
        curvature += float(bends @ weight)
    if curvature <= 0.0:
        return 1.0
    return squares / curvature * total / max(total - gamma / block.shape[1], 1.0)
