"""When the sandwich holds: the rules, each with its reason and its way out.

A network without hidden layer, or one network of smooth activations whose training
reached a minimum, with ten rows for each parameter. What can be told before the rows
are looked at comes first.

References
----------
White, H. (1989). Some Asymptotic Results for Learning in Single Hidden-Layer
Feedforward Network Models. Journal of the American Statistical Association 84(408),
1003-1013. https://doi.org/10.1080/01621459.1989.10478865

Albert, A. and Anderson, J. A. (1984). On the Existence of Maximum Likelihood Estimates
in Logistic Regression Models. Biometrika 71(1), 1-10.
https://doi.org/10.1093/biomet/71.1.1
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .derivatives import raw_outputs
from .engine.layers import ACTIVATIONS
from .engine.losses import Loss
from .optimum import Optimum
from .questions import Invalid, Question
from .reading import Reading

# More parameters make a Hessian that is slow to factorise, and large.
MOST_PARAMETERS = 4_000
# A fit has converged when Newton's step moves no quantity by more standard errors.
CONVERGED = 0.01
# Newton steps on a copy polish a fit; what moves more is another fit.
MOST_MOVED = 0.5
# Rows for each parameter of a network with hidden layers.
ROWS_PER_PARAMETER = 10
# Newton's step at separated data goes on moving raw outputs by about one.
RUNAWAY = 0.1
# Raw outputs this much further tell whether losses fall for ever; by more they rise.
FAR, RISES = 50.0, 1e-4


def check_fit(reading: Reading, name: str) -> None:
    """Refuse fits that are not minima of a smooth loss, whatever the data."""
    if reading.invalid:
        raise Invalid(reading.invalid, reading.way_out)
    loss = reading.model.loss.name
    if name in ("HC2", "HC3") and not (reading.is_linear and loss == "squared_error"):
        raise Invalid(
            "leverage is that of a linear regression, and has no counterpart elsewhere",
            "use vcov='HC1'",
        )
    if name in ("HC2", "HC3") and np.ptp(reading.penalty.alpha) > 0:
        raise Invalid("each target has a leverage of its own", "use vcov='HC1'")
    if name == "classical" and loss == "huber":
        raise Invalid(
            "it rests on a likelihood, which Huber's loss has not",
            "use vcov='HC1'",
        )
    several = reading.model.architecture.n_outputs > 1 and not reading.is_linear
    if name == "classical" and several and loss == "squared_error":
        raise Invalid(
            "it would take the errors of several targets as equal and unrelated, while "
            "one network weighs them together",
            "use vcov='HC1'",
        )
    if reading.classes is not None and len(reading.classes) < 2:
        raise Invalid("y has one class only, so there is nothing to estimate")


def has_kinks(reading: Reading) -> bool:
    """Whether an activation is not twice differentiable."""
    return reading.kind == "network" and not reading.model.architecture.smooth


def check_kinks(question: Question) -> None:
    """Refuse slopes where the network has kinks; contrasts are fine."""
    if not has_kinks(question.reading):
        return
    if any(p.kind == "slope" and not p.absent for p in question.quantities):
        names = set(question.reading.model.architecture.activations)
        kinked = sorted(each for each in names if not ACTIVATIONS[each].smooth)
        raise Invalid(
            f"the activation {kinked[0]!r} has kinks, so slopes jump with the "
            "parameters",
            "refit with a smooth activation such as 'tanh' or 'gelu', ask for "
            "kind='contrast', or use vcov='bootstrap'",
        )


def check_rows(reading: Reading, start: Optimum) -> None:
    """Refuse rows that are not those of the fit, where the fit's loss can tell.

    Raises
    ------
    Invalid
        When the objective at these rows is not the one that training ended with.
    """
    core = reading.core
    if getattr(core, "solver_", "") != "lbfgs" or not hasattr(core, "loss_"):
        return
    tolerance = 1e-8 if core.dtype_ == "float64" else 1e-4
    if abs(start.objective - core.loss_) > tolerance * max(abs(core.loss_), 1e-8):
        raise Invalid(
            f"the loss at these rows is {start.objective:.6g}, while the fit ended "
            f"at {core.loss_:.6g}: these are not the rows, targets and weights that "
            "it was fitted to",
            "pass those as X, y and sample_weight; rows to average over go into "
            "newdata",
        )


def check_minimum(reading: Reading, best: Optimum) -> None:
    """Refuse saddles, and too few rows.

    Raises
    ------
    Invalid
    """
    tighter = _tighter(reading)
    if not best.bread.is_minimum:
        raise Invalid(
            "the fit has not reached a minimum: its Hessian has a direction that leads "
            "down",
            tighter,
        )
    n, k = best.problem.n, best.bread.rank
    if n <= per_equation(best):
        raise Invalid(f"{k} parameters leave no degrees of freedom in {n} rows")
    curved = not reading.model.architecture.linear
    if curved and n < ROWS_PER_PARAMETER * k:
        raise Invalid(
            f"{n:,} rows are fewer than {ROWS_PER_PARAMETER} for each of the network's "
            f"{k} parameters",
            "fit a smaller network, or use vcov='bootstrap'",
        )


def _tighter(reading: Reading) -> str:
    if reading.model.architecture.hidden:
        return (
            "refit with solver='lbfgs', a smaller tol, a larger max_iter or n_init, or "
            "a larger alpha"
        )
    return "refit with a smaller tol and a larger max_iter"


def per_equation(best: Optimum) -> float:
    """Parameters to correct for: of one equation where outputs share none."""
    architecture, k = best.problem.architecture, best.bread.rank
    if not architecture.linear or not best.problem.loss.diagonal:
        return k
    return k / architecture.n_outputs


def check_moves(
    start: Optimum, best: Optimum, jacobian: np.ndarray, vcov: np.ndarray
) -> None:
    """Refuse fits that are too far from a minimum, by what is reported.

    Raises
    ------
    Invalid
        When Newton's next step would move a quantity by more than a hundredth of its
        standard error, or the steps taken moved one by more than half of it.
    """
    std_error = np.sqrt(np.diag(vcov))
    counted = std_error > 0
    jacobian, std_error = jacobian[counted], std_error[counted]
    if not len(std_error):
        return
    left = np.abs(jacobian @ best.step) / std_error
    taken = (best.problem.theta - start.problem.theta).numpy()
    moved = np.abs(jacobian @ taken) / std_error
    if start.problem.density is not None:
        left = np.zeros(1)
    if left.max() > CONVERGED:
        raise Invalid(
            f"the fit has not converged: Newton's step would move an estimate by "
            f"{left.max():.2g} standard errors, more than {CONVERGED}",
            "refit with a smaller tol and a larger max_iter, and see that X, y and "
            "sample_weight are those of the fit",
        )
    if moved.max() > MOST_MOVED:
        raise Invalid(
            f"the minimum at these rows lies {moved.max():.2g} standard errors from "
            "the fit: either it has not converged, or these are not the rows, targets "
            "and weights that it was fitted to",
            "refit with a smaller tol and a larger max_iter, or pass the rows of the "
            "fit; rows to average over go into newdata",
        )


def check_separation(reading: Reading, best: Optimum) -> None:
    """Refuse data for which the estimates run off to infinity.

    There is a direction in which no row's loss ever rises, and some fall for ever: it
    is that of the raw outputs themselves where these tell all outcomes, else that of
    Newton's step, which goes on at the same pace (Albert and Anderson, 1984).

    Raises
    ------
    Invalid
    """
    losses = ("log_loss", "multinomial", "poisson")
    if reading.penalty or reading.model.loss.name not in losses:
        return
    if _runs_off(best) or (reading.is_linear and _lost_rank(reading, best)):
        raise Invalid(
            "the data are separated: columns tell some outcomes without error, so "
            "estimates run off to infinity, and so do their standard errors",
            "drop the column that separates, or set a penalty (alpha > 0)",
        )


def _runs_off(best: Optimum) -> bool:
    """Whether far along a direction no row's loss has risen, and raw outputs move."""
    problem = best.problem
    after = replace(problem, theta=problem.theta + torch.from_numpy(best.step))
    moves, raws, targets = [], [], []
    for (_, z, y, weight), _ in zip(problem.chunks(), after.chunks(), strict=True):
        counted = weight > 0
        raw, moved = (
            raw_outputs(p.architecture, p.theta, z)[counted] for p in (problem, after)
        )
        raws.append(raw)
        moves.append(moved - raw)
        targets.append(y[counted])
    raw, step, y = map(torch.cat, (raws, moves, targets))
    return any(
        float(way.abs().max()) > RUNAWAY and _never_rises(problem.loss, raw, way, y)
        for way in (raw, step)
    )


def _never_rises(loss: Loss, raw: Tensor, way: Tensor, y: Tensor) -> bool:
    far = raw + way * (FAR / way.abs().max())
    return bool((loss.values(far, y) <= loss.values(raw, y) + RISES).all())


def _lost_rank(reading: Reading, best: Optimum) -> bool:
    """Whether a regression's Hessian has a lower rank than its regressors."""
    problem = best.problem
    m = problem.architecture.n_outputs - (problem.loss.name == "multinomial")
    p = problem.architecture.n_inputs + 1
    square = torch.zeros((p, p), dtype=torch.float64)
    for _, z, _, weight in problem.chunks():
        x = torch.cat([z, torch.ones_like(z[:, :1])], dim=1)
        square += x.T @ (x * weight[:, None])
    if not reading.has_intercept:
        square = square[:-1, :-1]
    unit = square.diagonal().clamp_min(1e-300).rsqrt()
    values = torch.linalg.eigvalsh(square * unit * unit[:, None])
    rank = int((values > 1e-12 * values.max()).sum())
    return best.bread.rank < m * rank
