"""Where networks with a linear skip start: at the linear model of their own rows.

A network that starts as the penalised linear model can only be improved upon it, as
far as its validation rows can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from .encoding import MOST_ROWS, thinned
from .engine.architecture import Architecture
from .engine.device import stored_dtype
from .engine.evidence import Solution, evident
from .engine.fit import Fit, Settings
from .engine.losses import make_loss
from .engine.newton import Regression
from .engine.optimizers import SolverOptions
from .engine.rows import SparseRows
from .requests import Door, Request

# Up to so many parameters of the linear model its penalty is chosen by evidence, which
# factorises its Hessian a dozen times; above, it is that of scikit-learn's `Ridge` and
# `LogisticRegression`, one.
MOST_PARAMETERS = 400
DEFAULT_PENALTY = 1.0
_MOST_ITERATIONS = 200
_TOLERANCE = 1e-5


def start_at_linear_models(requests: Sequence[Request], door: Door) -> None:
    """Put each fit's start at its linear model: the skip, and the last intercepts.

    Parameters
    ----------
    requests : sequence of Request
        All of networks with a linear skip.
    door : callable (requests) -> outcomes
        Where linear models are trained: those of several members as one stack.
    """
    for request, found in zip(requests, linear_models(requests, door), strict=True):
        start = request.fit.start.copy()
        start[linear_part(request.architecture)] = found
        request.fit.start = start


def linear_models(requests: Sequence[Request], door: Door) -> list[np.ndarray]:
    """Fit the penalised linear model of each request's rows.

    Parameters
    ----------
    requests, door
        As for `start_at_linear_models`.

    Returns
    -------
    list of ndarray, float64
        What belongs at `linear_part` of each network's row of parameters.

    Notes
    -----
    Fits on one table, such as the members of an ensemble, share the penalty that the
    first one's rows suggest; the coefficients of each are those of its own rows.

    What is returned is the mean of this model and of the intercept alone, by their
    posterior probabilities (Hoeting et al. 1999, "Bayesian model averaging", equation
    1): of noise even a penalised model finds something.
    """
    found: dict[int, np.ndarray] = {}
    solutions: dict[int, Solution] = {}
    asked: list[tuple[int, Request]] = []
    for group in _groups(requests):
        first = requests[group[0]]
        solution, x = _penalised(first), _plain_columns(first)
        solutions |= dict.fromkeys(group, solution)
        if len(group) == 1 and _is_solved(first):
            found[group[0]] = solution.block.numpy()
        else:
            asked += [(i, _linear(requests[i], x, solution)) for i in group]
    outcomes = door([linear for _, linear in asked]) if asked else []
    for (i, linear), outcome in zip(asked, outcomes, strict=True):
        block = outcome.row.astype(np.float64)
        found[i] = block.reshape(-1, linear.architecture.n_outputs)
    return [
        _as_row(_averaged(found[i], _constant(request), solutions[i].probability))
        for i, request in enumerate(requests)
    ]


def linear_part(architecture: Architecture) -> np.ndarray:
    """Places of the linear model in a row of parameters: last intercepts, then skip."""
    n_linear = (architecture.n_plain + 1) * architecture.n_outputs
    return np.arange(architecture.n_parameters - n_linear, architecture.n_parameters)


def _constant(request: Request) -> torch.Tensor:
    """Raw outputs (m,) of the best constant of a request's rows."""
    fit = request.fit
    return request.loss.start(fit.y[fit.index], fit.weight).double()


def _averaged(
    block: np.ndarray, constant: torch.Tensor, probability: float
) -> np.ndarray:
    """Average a linear model and a constant."""
    alone = np.zeros_like(block)
    alone[-1] = constant.numpy()
    return probability * block + (1.0 - probability) * alone


def _as_row(block: np.ndarray) -> np.ndarray:
    """Lay a block (d + 1, m) out as a network does: intercepts first."""
    return np.concatenate([block[-1], block[:-1].ravel()])


def _groups(requests: Sequence[Request]) -> list[list[int]]:
    groups: dict[tuple, list[int]] = {}
    for i, request in enumerate(requests):
        key = (id(request.fit.x), id(request.fit.y), request.loss)
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def _is_solved(request: Request) -> bool:
    """Whether the search for the penalty ends with the linear model itself."""
    fit, curved = request.fit, request.loss.curvature is not None
    return curved and _is_small(request) and len(fit.index) <= MOST_ROWS


def _is_small(request: Request) -> bool:
    architecture = request.architecture
    return (architecture.n_plain + 1) * architecture.n_outputs <= MOST_PARAMETERS


def _penalised(request: Request) -> Solution:
    """Return a penalty for the linear model, and coefficients to start it from."""
    architecture, m = request.architecture, request.architecture.n_outputs
    block = torch.zeros((architecture.n_plain + 1, m), dtype=torch.float64)
    block[-1] = _constant(request)
    if not _is_small(request):
        return Solution(block, DEFAULT_PENALTY)
    problem, total = _problem(request)
    if request.loss.curvature is not None:
        return evident(problem, total, block)
    return Solution(block, _penalty_without_curvature(problem, total, block))


def _penalty_without_curvature(
    problem: Regression, total: float, block: torch.Tensor
) -> float:
    """Take the coefficients' spread from least squares, the scale from the loss.

    With a density proportional to exp(-loss / b), the scale's estimate is the mean
    loss at the minimum (Koenker and Machado 1999, section 2); least squares stand in
    for it.
    """
    squares = replace(problem, loss=make_loss("squared_error"))
    start = block.new_zeros((len(block), problem.y.shape[1]))
    solution = evident(squares, total, start)
    variance = 2.0 * squares.gradient(solution.block)[0]
    # The mean absolute residual of a normal law, for one half of it on each side.
    scale = 0.4 * np.sqrt(variance)
    return solution.alpha * scale / variance if variance > 0.0 else DEFAULT_PENALTY


def _problem(request: Request) -> tuple[Regression, float]:
    """Return the linear model's problem, of some of the rows, and their number."""
    fit = request.fit
    some = thinned(len(fit.index))
    index = fit.index[some]
    weight = torch.ones(len(index)) if fit.weight is None else fit.weight[some]
    weight = weight.double()
    shift = fit.x.shift if isinstance(fit.x, SparseRows) else None
    shift = None if shift is None else shift.double()
    share = weight / weight.sum()
    x = _plain_columns(request)
    problem = Regression(
        x, shift, fit.y, index, share, request.loss, 0.0, fit.expansion
    )
    return problem, rows_stood_for(weight)


def _plain_columns(request: Request) -> torch.Tensor | SparseRows:
    """Return the table without what the skip does not see: codes that are looked up.

    They stand last before the constant, expanded or not.
    """
    x, architecture = request.fit.x, request.architecture
    looked_up = architecture.n_inputs - architecture.n_plain
    if not looked_up:
        return x
    assert isinstance(x, torch.Tensor)
    return torch.cat([x[:, : -looked_up - 1], x[:, -1:]], dim=1)


def rows_stood_for(weight: torch.Tensor | np.ndarray) -> float:
    """Rows that weights stand for: below one on average they are shares of a row's."""
    return max(float(weight.sum()), float(len(weight)))


def _linear(
    request: Request, x: torch.Tensor | SparseRows, solution: Solution
) -> Request:
    """Ask for the linear model of a request's rows, in a table x of plain columns."""
    fit, architecture = request.fit, request.architecture
    weight = torch.ones(len(fit.index)) if fit.weight is None else fit.weight.double()
    share = float(weight.sum()) / rows_stood_for(weight)
    settings = Settings(
        alpha=solution.alpha * share,
        max_iter=_MOST_ITERATIONS,
        tol=_TOLERANCE,
        # In float64 searches promise what they give one by one, to eight digits: the
        # company that an L-BFGS fit had would show in the last ones.
        polish=request.dtype is torch.float64,
    )
    return replace(
        request,
        fit=Fit(
            x,
            fit.y,
            fit.index,
            fit.weight,
            solution.block.numpy().ravel(),
            settings,
            fit.seed,
            expansion=fit.expansion,
        ),
        architecture=Architecture(architecture.n_plain, (), architecture.n_outputs, ()),
        options=SolverOptions(name="lbfgs"),
        dtype=stored_dtype(request.dtype),
        starts_linear=False,
    )
