"""How far a fit is from a minimum: its gradient and Hessian, and Newton's steps.

Letters: n rows, P parameters, k of them determined by the data, q quantities, m raw
outputs. A is the Hessian of the objective, the penalty's included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .derivatives import mean_score, summed_hessian
from .objective import Problem, objective

# Eigenvalues of A, with a unit diagonal, below this share of the largest are rounding.
RANK_TOLERANCE = 1e-12
# Share of a quantity's gradient that may lie outside of what the data determine.
ESTIMABLE = 1e-6
MOST_STEPS = 3
HALVINGS = 6
# Newton steps go on while they may move a quantity by more standard errors than this.
POLISHED = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Bread:
    """A, taken apart so that what the data do not determine is seen.

    Attributes
    ----------
    hessian : ndarray of shape (P, P)
        Of the free parameters; zero elsewhere.
    unit : ndarray of shape (P,)
        Diagonal scaling that gives A a unit diagonal.
    values, vectors : ndarray of shape (P,), (P, P)
        Of the scaled A.
    rank : int
        k, parameters that the data determine.
    """

    hessian: np.ndarray
    unit: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    rank: int

    @classmethod
    def of(cls, hessian: np.ndarray) -> Bread:
        """Factorise a Hessian."""
        diagonal = np.abs(np.diag(hessian))
        unit = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        values, vectors = np.linalg.eigh(hessian * unit * unit[:, None])
        counted = values > RANK_TOLERANCE * max(np.abs(values).max(), 1e-300)
        return cls(hessian, unit, values, vectors, int(counted.sum()))

    @property
    def _kept(self) -> np.ndarray:
        return self.values > RANK_TOLERANCE * max(np.abs(self.values).max(), 1e-300)

    @property
    def is_minimum(self) -> bool:
        """Whether no direction leads down: no eigenvalue below zero but by rounding."""
        return bool(self.values.min() > -1e3 * RANK_TOLERANCE * self.values.max())

    def solve(self, right: np.ndarray, turned: bool = False) -> np.ndarray:
        """``A^-1 right``, (P, q), by the shortest of all solutions.

        With `turned`, directions that lead down count by the size of their curvature.
        """
        values = np.abs(self.values) if turned else self.values
        kept = values > RANK_TOLERANCE * max(np.abs(values).max(), 1e-300)
        vectors = self.vectors[:, kept]
        scaled = vectors.T @ (right * self.unit[:, None])
        return (vectors @ (scaled / values[kept, None])) * self.unit[:, None]

    def determines(self, jacobian: np.ndarray) -> np.ndarray:
        """Tell which rows of a Jacobian (q, P) the data determine, (q,) of bool."""
        scaled = jacobian * self.unit
        loose = scaled @ self.vectors[:, ~self._kept]
        size = np.linalg.norm(scaled, axis=1)
        return np.asarray(np.linalg.norm(loose, axis=1) <= ESTIMABLE * size)


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """A problem, and how far its parameters are from a minimum.

    Attributes
    ----------
    problem : Problem
    bread : Bread
    gradient : ndarray of shape (P,)
        Of the objective.
    data_hessian : ndarray of shape (P, P)
        A without the penalty.
    residual_moment : ndarray of shape (m, m)
        Weighted mean of the products of the loss's gradients in the raw outputs.
    dispersion : float
        What a classical covariance multiplies by, before degrees of freedom.
    objective : float
    n_steps : int
        Newton steps taken since the fit.
    """

    problem: Problem
    bread: Bread
    gradient: np.ndarray
    data_hessian: np.ndarray
    residual_moment: np.ndarray
    dispersion: float
    objective: float
    n_steps: int = 0

    @property
    def step(self) -> np.ndarray:
        """Newton's next step, (P,), with what leads to a saddle turned around."""
        return -self.bread.solve(self.gradient[:, None], turned=True)[:, 0]

    @property
    def distance(self) -> float:
        """Bound on what the step moves any quantity, in its classical standard errors.

        ``(J' d)^2 <= (J' A^-1 J) (d' A d)``, Cauchy and Schwarz.
        """
        decrement = max(float(-self.gradient @ self.step), 0.0)
        return float(np.sqrt(self.problem.n * decrement / max(self.dispersion, 1e-300)))


def look_around(problem: Problem, n_steps: int = 0) -> Optimum:
    """Go through the rows once: the objective, its gradient, its Hessian."""
    P, m = problem.architecture.n_parameters, problem.architecture.n_outputs
    gradient = problem.decay * problem.theta
    hessian = torch.zeros((P, P), dtype=torch.float64)
    moment = torch.zeros((m, m), dtype=torch.float64)
    objective = float(0.5 * (problem.decay * problem.theta.square()).sum())
    dispersion = 0.0
    for _, z, y, weight in problem.chunks():
        sent = problem.sent(z, y)
        gradient += mean_score(problem.architecture, sent, weight)
        hessian += summed_hessian(
            problem.architecture,
            problem.theta,
            z,
            problem.gradient(y),
            problem.curvature(y),
            weight,
            gauss_newton=problem.gauss_newton,
        )
        slope = problem.gradient(y)(sent.raw)
        moment += slope.T @ (slope * weight[:, None])
        objective += float(problem.loss.values(sent.raw, y) @ weight)
        dispersion += _dispersion(problem, sent.raw, y, weight)
    fixed = torch.from_numpy(~problem.free)
    gradient[fixed] = 0.0
    hessian[fixed] = 0.0
    hessian[:, fixed] = 0.0
    if not (np.isfinite(objective) and torch.isfinite(hessian).all()):
        raise FloatingPointError
    own = hessian.numpy()
    bread = Bread.of(own + np.diag(np.where(problem.free, problem.decay.numpy(), 0.0)))
    return Optimum(
        problem,
        bread,
        gradient.numpy(),
        own,
        moment.numpy(),
        dispersion,
        objective,
        n_steps,
    )


def _dispersion(problem: Problem, raw: Tensor, y: Tensor, weight: Tensor) -> float:
    """Weighted sum of what a classical covariance multiplies A by.

    The residual variance for squared error, Pearson's statistic for gamma, the variance
    of a sign over the curvature for quantiles, and one for losses that are
    log-likelihoods as they stand.
    """
    if problem.loss.name == "squared_error":
        return float((raw - y).square().mean(1) @ weight)
    if problem.loss.name == "gamma":
        return float((y / raw.exp() - 1.0).square().mean(1) @ weight)
    if problem.density is not None:
        sign = problem.gradient(y)(raw).square().mean(1)
        return float((sign / problem.curvature(y)(raw)[:, 0, 0]) @ weight)
    return float(weight.sum())


def polish(start: Optimum) -> Optimum:
    """Take up to three Newton steps, on a copy, while they lead on.

    A step is halved while the objective does not fall.

    Returns
    -------
    Optimum
        The start itself where it is a minimum already, or no step was an improvement.
    """
    found = best = start
    while found.n_steps < MOST_STEPS and found.distance > POLISHED:
        problem = _stepped(found)
        if problem is None:
            break
        found = look_around(problem, found.n_steps + 1)
        best = best if best.bread.is_minimum > found.bread.is_minimum else found
    return best


def _stepped(at: Optimum) -> Problem | None:
    """Take the problem a step further down; None where there is no way down."""
    step, slope = torch.from_numpy(at.step), float(at.gradient @ at.step)
    for size in 0.5 ** np.arange(HALVINGS):
        after = replace(at.problem, theta=at.problem.theta + size * step)
        # Armijo; near the minimum the objective no longer tells better from worse.
        level = 1e-14 * abs(at.objective)
        if objective(after) <= at.objective + 1e-4 * size * slope + level:
            return after
    return None
