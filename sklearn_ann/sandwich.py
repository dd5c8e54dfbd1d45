"""The sandwich at work: from a fitted network and its rows to standard errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from .clusters import few_clusters
from .covariance import classical, influences, leverages, summed_squares
from .estimates import Basis
from .evaluation import Averages, averages
from .fit_rows import FitRows
from .functions import NetworkFunction
from .hypotheses import Law
from .objective import Problem, make_problem
from .optimum import Optimum, look_around, polish
from .quantile_regression import density_at_zero, exact_coefficients, level_of
from .questions import Answer, Invalid, Method, Question, missing_notes, spread_over
from .reading import QUANTILES, Reading
from .validity import (
    MOST_PARAMETERS,
    check_fit,
    check_kinks,
    check_minimum,
    check_moves,
    check_rows,
    check_separation,
    has_kinks,
    per_equation,
)

NAMES = ("classical", "HC0", "HC1", "HC2", "HC3", "cluster")
# More rows make a linear programme that is slow to solve.
MOST_ROWS_EXACT = 20_000
GAUSS_NEWTON = "The Hessian is Gauss and Newton's: kinks have no curvature."
NOT_DETERMINED = "The data do not determine the parameters that it depends on"


def sandwich(name: str) -> Method:
    """Return the method of that name."""

    def method(question: Question) -> Answer:
        check_fit(question.reading, name)
        check_kinks(question)
        fit = at_minimum(question.reading, question.rows, name)
        found = moved_averages(question, fit.best)
        n = fit.best.problem.n
        own = row_influences(question, found, n) if question.unconditional else None
        P = fit.best.problem.architecture.n_parameters
        answer = reported(
            fit,
            found.values.reshape(-1),
            found.jacobian.reshape(-1, P),  # type: ignore[union-attr]
            own,
        )
        notes = (*answer.basis.notes, *missing_notes(question, found.missing))
        absent = spread_over(found.values, [p.absent for p in question.quantities])
        return replace(
            answer,
            basis=replace(answer.basis, notes=notes),
            absent=tuple(a or b for a, b in zip(absent, answer.absent, strict=True)),
        )

    return method


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fit at its minimum, checked as far as the name of a covariance asks.

    Attributes
    ----------
    reading : Reading
    rows : FitRows
    name : str
    start, best : Optimum
        As fitted, and after Newton steps on a copy.
    """

    reading: Reading
    rows: FitRows
    name: str
    start: Optimum
    best: Optimum


def at_minimum(reading: Reading, rows: FitRows, name: str) -> Fit:
    """Find the minimum that a fit stands for.

    Raises
    ------
    Invalid
        When there is none, or the sandwich of that name does not hold for it.
    """
    check_fit(reading, name)
    try:
        start = look_around(problem_of(reading, rows))
        check_rows(reading, start)
        best = minimum(start)
    except FloatingPointError:
        raise Invalid(
            "the loss at these rows, or its curvature, is not finite",
            "refit with standardize=True or a smaller learning_rate_init",
        ) from None
    check_separation(reading, best)
    check_minimum(reading, best)
    return Fit(reading, rows, name, start, best)


def reported(
    fit: Fit, values: np.ndarray, jacobian: np.ndarray, own: np.ndarray | None = None
) -> Answer:
    """Report functions of the parameters with their covariance.

    Parameters
    ----------
    fit : Fit
    values : ndarray of shape (q,)
        At the minimum.
    jacobian : ndarray of shape (q, P)
    own : ndarray of shape (n, q) or None
        Influence of the rows themselves on averages over them.

    Raises
    ------
    Invalid
        When the fit is too far from the minimum for what is reported.
    """
    known = fit.best.bread.determines(jacobian) & np.isfinite(values)
    jacobian = np.where(known[:, None], jacobian, 0.0)
    phi, vcov, basis = covariance(fit, jacobian, own)
    check_moves(fit.start, fit.best, jacobian, vcov)
    vcov[~known] = vcov[:, ~known] = np.nan
    phi[:, ~known] = np.nan
    why = ["" if ok else NOT_DETERMINED for ok in known]
    return Answer(np.where(known, values, np.nan), vcov, basis, phi, absent=tuple(why))


def problem_of(reading: Reading, rows: FitRows) -> Problem:
    """Put the network and the rows of its fit together.

    Raises
    ------
    Invalid
        When y was not given, or there are too many parameters.
    """
    if rows.y is None:
        raise Invalid(
            "y was not given: standard errors come from the targets of the fit",
            "pass the y that the estimator was fitted to",
        )
    P = reading.model.architecture.n_parameters
    if P > MOST_PARAMETERS:
        raise Invalid(
            f"the network has {P:,} parameters, more than the {MOST_PARAMETERS:,} for "
            "which a Hessian is worth its time",
            "use vcov='bootstrap', or fit a smaller network",
        )
    Z, y = reading.transform(rows.table.native), reading.encode(rows.y)
    weight = reading.row_weights(rows.y, rows.weight)
    problem = make_problem(reading, Z, y, weight, has_kinks(reading))
    if reading.model.loss.name in QUANTILES:
        return with_density(problem)
    return problem


def with_density(problem: Problem) -> Problem:
    """Solve a linear quantile regression exactly, and estimate its residuals' density.

    Raises
    ------
    Invalid
        With weights, with several targets, or too many rows.
    """
    weight = problem.weight.numpy()
    counted = weight > 0
    other = "use vcov='bootstrap'"
    if np.ptp(weight[counted]) > 1e-12 * weight.max():
        raise Invalid("the kernel estimate of a density takes no weights here", other)
    if problem.architecture.n_outputs > 1:
        raise Invalid("several targets of a quantile loss are not served here", other)
    if counted.sum() > MOST_ROWS_EXACT or not problem.free.all():
        raise Invalid(
            f"the exact quantile regression is for at most {MOST_ROWS_EXACT:,} rows, "
            "and with an intercept",
            other,
        )
    z = torch.cat([z for _, z, _, _ in problem.chunks()]).numpy()[counted]
    x, y = np.column_stack([z, np.ones(len(z))]), problem.y[:, 0].numpy()[counted]
    level = level_of(problem.loss)
    theta = exact_coefficients(x, y, level)
    density = density_at_zero(y - x @ theta, y, level)
    return replace(problem, density=density, exact=torch.from_numpy(theta))


def minimum(start: Optimum) -> Optimum:
    """Polish a fit by Newton steps; a quantile regression has its exact solution."""
    exact = start.problem.exact
    if exact is None:
        return polish(start)
    return look_around(replace(start.problem, theta=exact), 1)


def function_at(reading: Reading, best: Optimum, target: str) -> NetworkFunction:
    """Predictions as a function of the parameters, in the units of the minimum."""
    problem = best.problem
    return NetworkFunction(
        ((problem.architecture, problem.theta),),
        problem.loss,
        problem.inputs,
        problem.targets,
        reading.target_transformer,
        target,
    )


def moved_averages(question: Question, best: Optimum) -> Averages:
    """Average the quantities at the minimum, with their derivatives."""
    return averages(
        question.reading,
        function_at(question.reading, best, question.target),
        question.quantities,
        question.over,
        with_jacobian=True,
        with_rows=question.unconditional,
    )


def covariance(
    fit: Fit, jacobian: np.ndarray, own: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Basis]:
    """Influence functions, covariance and what it rests on."""
    best, name = fit.best, fit.name
    n, k = best.problem.n, per_equation(best)
    phi = influences(best, jacobian)
    if name in ("HC2", "HC3"):
        room = np.maximum(1.0 - leverages(best), 1e-12)
        phi /= (np.sqrt(room) if name == "HC2" else room)[:, None]
    factor, law, notes = _correction(fit)
    if own is not None:
        phi += own
    if name == "classical":
        vcov = classical(best, jacobian, k)
        vcov += 0.0 if own is None else summed_squares(own, n)
    else:
        vcov = factor * summed_squares(phi, n, fit.rows.groups)
    basis = Basis(
        name,
        "asked for",
        law,
        conditional=own is None,
        penalised=bool(fit.reading.penalty),
        n=n,
        k=best.bread.rank,
        factor=factor,
        notes=(*_polish_notes(fit), *notes),
    )
    return phi, vcov, basis


def _correction(fit: Fit) -> tuple[float, Law, tuple[str, ...]]:
    """Small-sample factor, law and notes."""
    best = fit.best
    n, k = best.problem.n, per_equation(best)
    law = Law(n - k) if best.problem.loss.name == "squared_error" else Law()
    notes = (GAUSS_NEWTON,) if best.problem.gauss_newton else ()
    if fit.name == "HC1":
        return n / (n - k), law, notes
    if fit.name != "cluster":
        return 1.0, law, notes
    G, few = few_clusters(fit.rows)
    assert G is not None
    notes = (*notes, *few)
    return G / (G - 1) * (n - 1) / (n - k), Law(G - 1), notes


def row_influences(question: Question, found: Averages, n: int) -> np.ndarray:
    """Say what the rows' own variation adds, for the population's average, (n, q).

    ``n a_i (m_i - theta)`` for shares a_i that sum to one.
    """
    parts = []
    for q, rows in enumerate(found.rows):  # type: ignore[arg-type]
        share = np.where(np.isnan(rows[:, :1]), 0.0, question.over.weight)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = share / share.sum(axis=0)  # (n, G)
        gap = np.nan_to_num(rows[:, None, :] - found.values[q])  # (n, G, m)
        parts.append((n * share[:, :, None] * gap).reshape(len(rows), -1))
    return np.hstack(parts)


def _polish_notes(fit: Fit) -> tuple[str, ...]:
    best = fit.best
    if not best.n_steps:
        return ()
    if best.problem.density is not None:
        return ("The exact solution of the quantile regression was taken, on a copy.",)
    steps = "step was" if best.n_steps == 1 else "steps were"
    return (f"{best.n_steps} Newton {steps} taken, on a copy of the fit.",)
