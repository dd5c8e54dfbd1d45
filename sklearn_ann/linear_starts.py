"""Where networks with a linear skip start: at the linear model of their own rows.

A network that starts as the penalised linear model can only be improved upon it, as
far as its validation rows can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

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
# The evidence is read from so many rows at most: its penalty hardly depends on more.
MOST_ROWS = 20_000
_MOST_ITERATIONS = 200
_TOLERANCE = 1e-5


def start_at_linear_models(requests: Sequence[Request], door: Door) -> None:
    """Put the skip and the last intercepts of each fit's start at its linear model.

    Parameters
    ----------
    requests : sequence of Request
        All of networks with a linear skip.
    door : callable (requests) -> outcomes
        Where linear models are trained: those of several members as one stack.

    Notes
    -----
    Fits on one table, such as the members of an ensemble, share the penalty that the
    first one's rows suggest; the coefficients of each are those of its own rows.
    """
    asked: list[tuple[Request, Request]] = []
    for group in _groups(requests):
        solution = _penalised(group[0])
        if len(group) == 1 and _is_solved(group[0]):
            _begin_at(group[0], solution.block.numpy())
        else:
            asked += [(request, _linear(request, solution)) for request in group]
    outcomes = door([linear for _, linear in asked]) if asked else []
    for (request, _), outcome in zip(asked, outcomes, strict=True):
        found = outcome.row.astype(np.float64)
        _begin_at(request, found.reshape(-1, request.architecture.n_outputs))


def _groups(requests: Sequence[Request]) -> list[list[Request]]:
    groups: dict[tuple, list[Request]] = {}
    for request in requests:
        key = (id(request.fit.x), id(request.fit.y), request.loss)
        groups.setdefault(key, []).append(request)
    return list(groups.values())


def _is_solved(request: Request) -> bool:
    """Whether the search for the penalty ends with the linear model itself."""
    fit, curved = request.fit, request.loss.curvature is not None
    return curved and _is_small(request) and len(fit.index) <= MOST_ROWS


def _is_small(request: Request) -> bool:
    architecture = request.architecture
    return (architecture.n_inputs + 1) * architecture.n_outputs <= MOST_PARAMETERS


def _penalised(request: Request) -> Solution:
    """Return a penalty for the linear model, and coefficients to start it from."""
    architecture, m = request.architecture, request.architecture.n_outputs
    block = torch.zeros((architecture.n_inputs + 1, m), dtype=torch.float64)
    block[-1] = torch.from_numpy(request.fit.start[_last_intercepts(architecture)])
    if not _is_small(request):
        return Solution(block, DEFAULT_PENALTY)
    problem, total = _problem(request)
    if request.loss.curvature is not None:
        return evident(problem, total, block)
    return Solution(block, _penalty_without_curvature(problem, total))


def _penalty_without_curvature(problem: Regression, total: float) -> float:
    """Take the coefficients' spread from least squares, the scale from the loss.

    With a density proportional to exp(-loss / b), the scale's estimate is the mean
    loss at the minimum (Koenker and Machado 1999, section 2); least squares stand in
    for it.
    """
    squares = replace(problem, loss=make_loss("squared_error"))
    start = torch.zeros((problem.x.shape[1], problem.y.shape[1]), dtype=torch.float64)
    solution = evident(squares, total, start)
    variance = 2.0 * squares.gradient(solution.block)[0]
    # The mean absolute residual of a normal law, for one half of it on each side.
    scale = 0.4 * np.sqrt(variance)
    return solution.alpha * scale / variance if variance > 0.0 else DEFAULT_PENALTY


def _problem(request: Request) -> tuple[Regression, float]:
    """Return the linear model's problem, of some of the rows, and their number."""
    fit = request.fit
    some = slice(None, None, -(-len(fit.index) // MOST_ROWS))
    index = fit.index[some]
    weight = torch.ones(len(index)) if fit.weight is None else fit.weight[some]
    weight = weight.double()
    shift = fit.x.shift if isinstance(fit.x, SparseRows) else None
    shift = None if shift is None else shift.double()
    share = weight / weight.sum()
    problem = Regression(fit.x, shift, fit.y, index, share, request.loss, 0.0)
    return problem, _number(weight)


def _number(weight: torch.Tensor) -> float:
    """Rows that weights stand for: below one on average they are shares of a row's."""
    return max(float(weight.sum()), float(len(weight)))


def _linear(request: Request, solution: Solution) -> Request:
    """Ask for the linear model of a request's rows."""
    fit, architecture = request.fit, request.architecture
    weight = torch.ones(len(fit.index)) if fit.weight is None else fit.weight.double()
    share = float(weight.sum()) / _number(weight)
    settings = Settings(
        alpha=solution.alpha * share,
        max_iter=_MOST_ITERATIONS,
        tol=_TOLERANCE,
        polish=False,
    )
    return replace(
        request,
        fit=Fit(
            fit.x,
            fit.y,
            fit.index,
            fit.weight,
            solution.block.numpy().ravel(),
            settings,
            fit.seed,
        ),
        architecture=Architecture(
            architecture.n_inputs, (), architecture.n_outputs, ()
        ),
        options=SolverOptions(name="lbfgs"),
        dtype=stored_dtype(request.dtype),
        starts_linear=False,
    )


def _begin_at(request: Request, block: np.ndarray) -> None:
    """Write a linear model into a fit's start: its skip, and its last intercepts."""
    architecture, start = request.architecture, request.fit.start.copy()
    skip = block[:-1]
    start[-skip.size :] = skip.ravel()
    start[_last_intercepts(architecture)] = block[-1]
    request.fit.start = start


def _last_intercepts(architecture: Architecture) -> slice:
    """Place of the output layer's intercepts in a row of parameters."""
    stop = architecture.n_parameters - architecture.n_inputs * architecture.n_outputs
    return slice(stop - architecture.n_outputs, stop)
