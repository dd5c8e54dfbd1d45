"""What one epoch is: an iteration of L-BFGS on all rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .fit import Fit, Status
from .lbfgs import LBFGS
from .network import NetworkStack
from .newton import MOST_PARAMETERS, Regression, newton
from .objective import full_batches, objective
from .solvers import Polish, Solver

# L-BFGS ends when an iteration gains less than this share of the objective: the
# default of the Fortran code behind scipy's L-BFGS-B (factr = 1e7).
RELATIVE_GAIN = 1e7 * np.finfo(float).eps
# A smaller tol asks for more than that: the objective is flat to second order, so its
# gain goes with the square of the gradient, with room to spare.
GAIN_TO_TOL = 1e-4
# Newton's polish is worth at most this much work (rows x Hessian numbers).
MOST_NEWTON_WORK = 1e11


def _has_arrived(before: float, now: float, slope: float, tol: float) -> bool:
    """Whether an iteration of L-BFGS left too little slope, or gained too little."""
    if slope <= tol:
        return True
    gain = (before - now) / max(abs(before), abs(now), 1.0)
    return gain <= min(RELATIVE_GAIN, GAIN_TO_TOL * tol)


class QuasiNewton(Solver):
    """Iterations of L-BFGS on all rows; Newton's method at the end of a regression."""

    def _set_up(self, fits: Sequence[Fit]) -> None:
        stack = self.stack
        self._prepare()
        self._kept = any(f.keeper is not None for f in fits)
        states = [f.state for f in fits if f.state and f.state.solver]
        assert len(states) in (0, len(fits)), "resumed fits have a stack of their own"
        if states:
            parts = [state.solver["lbfgs"] for state in states if state.solver]
            self.lbfgs: LBFGS = LBFGS.joined(parts).to(stack.flat.device)
            self._restart_on_other_data(broken_off=states[0].epochs > 0)
        else:
            self.lbfgs = LBFGS(stack.rows(stack.flat))
            self.lbfgs.start(self._evaluate)

    def _restart_on_other_data(self, broken_off: bool) -> None:
        """Forget a memory of other data or penalties: it is of another problem.

        A fit that was broken off goes on with its own. Its stack may have been larger
        when its values were computed, so that they differ in the last bits.
        """
        f, g = self._evaluate(self.lbfgs.x)
        if not broken_off and not (
            torch.equal(f, self.lbfgs.f) and torch.equal(g, self.lbfgs.g)
        ):
            self.lbfgs.start(self._evaluate)

    def _prepare(self) -> None:
        self.feeder = full_batches(self.stack, self.rows)
        self._K_prepared = self.stack.K

    def _evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Objective (K,) and gradient (K, P) at parameters (K, P)."""
        self._evaluated = x
        return objective(self.stack, self.penalty, self.feeder, self.loss, x)

    def _evaluate_some(self, x: Tensor, keep: list[int]) -> tuple[Tensor, Tensor]:
        """Return the same for the networks ``keep`` at parameters (len(keep), P)."""
        stack = NetworkStack(self.stack.architecture, x)
        penalty = self.penalty.select(stack, np.array(keep))
        feeder = self.feeder.select(keep)
        if feeder is None:
            feeder = full_batches(stack, self.rows.select(keep))
        return objective(stack, penalty, feeder, self.loss, x)

    def epoch(self, rates: np.ndarray) -> tuple[list[float], list[bool]]:
        """Make one iteration; return the objectives and whether they are finite."""
        lbfgs, stack = self.lbfgs, self.stack
        self._earlier = lbfgs.values
        lbfgs.iterate(self._evaluate, self._evaluate_some)
        if lbfgs.x is not self._evaluated:  # some went another way than was tried last
            stack.set_rows(stack.flat, lbfgs.x)
            stack.set_rows(stack.gradient, lbfgs.g)
        self.before, self.norms = stack.flat, stack.layer_norms()
        return lbfgs.values, [math.isfinite(f) for f in lbfgs.values]

    def converged(self, tol: list[float]) -> list[Status | None]:
        """Test gradients, gains, and the number of evaluations."""
        lbfgs, spent = self.lbfgs, self.options.max_fun
        tests = zip(
            self._earlier, lbfgs.values, lbfgs.gradient_maxima, tol, lbfgs.evaluations,
            strict=True,
        )  # fmt: skip
        return [
            Status.CONVERGED
            if k in lbfgs.stuck or _has_arrived(before, now, slope, tol)
            else Status.MAX_ITER
            if n_evaluations >= spent
            else None
            for k, (before, now, slope, tol, n_evaluations) in enumerate(tests)
        ]

    def polished(self, i: int, row: np.ndarray) -> Polish | None:
        """End a regression by Newton's method: exact coefficients."""
        if not self._can_be_polished(i):
            return None
        problem = self._regression(i)
        shape = self.stack.architecture.block_shapes[0]
        start = torch.from_numpy(row.astype(np.float64)).view(shape)
        block, exact = newton(problem, start)
        loss, gradient = problem.gradient(block)
        if not math.isfinite(loss + float(block.sum())):
            return None
        found = block.reshape(-1).numpy().astype(row.dtype)
        return Polish(found, exact, loss, np.array([float(gradient.norm())]))

    def _regression(self, i: int) -> Regression:
        """Return the i-th network, which has no hidden layer, on its own rows."""
        rows, total = self.rows, float(self.rows.totals[i])
        decays = rows.over_given_totals(self._array("alpha"))
        weight = (
            torch.ones(len(rows.index[i])) if rows.weight is None else rows.weight[i]
        )
        return Regression(
            rows.x,
            None if rows.shift is None else rows.shift[i].cpu().double(),
            rows.y,
            rows.index[i],
            weight.cpu().double() / total,
            self.loss,
            float(decays[i]),
            rows.expansion,
        )

    def _can_be_polished(self, i: int) -> bool:
        architecture = self.stack.architecture
        size = architecture.n_parameters
        work = float(len(self.rows.index[i])) * size**2
        return (
            self.settings[i].polish
            and architecture.linear
            and not architecture.linear_skip
            and not (self.settings[i].alpha and self.settings[i].l1_ratio)
            and self.loss.curvature is not None
            and size <= MOST_PARAMETERS
            and work <= MOST_NEWTON_WORK
        )

    def select(self, keep: Tensor) -> None:
        """Drop the networks that are done."""
        super().select(keep)
        self.lbfgs.select(keep)
        # Cut for many networks, pieces become too short for few. And a fit that is
        # resumed knows only those that are left: to cut as it will, cut anew.
        worth = self._K_prepared < 2 * self.stack.K and not self._kept
        feeder = self.feeder.select(keep.tolist()) if worth else None
        if feeder is None:
            self._prepare()
        else:
            self.feeder = feeder

    def state(self, i: int) -> dict:
        """Return what the i-th network's solver needs to go on later, on the CPU."""
        alone = self.lbfgs.to(torch.device("cpu"))
        alone.select(torch.tensor([i]))
        return {"lbfgs": alone}
