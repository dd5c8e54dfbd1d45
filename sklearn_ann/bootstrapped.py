"""Bootstrap standard errors: everything fitted again on replicates of the rows.

Replicates have fresh seeds, so the variation over seeds is part of what they show.
Rows are drawn one by one, or by whole clusters where there are groups; "bayesian" gives
them, or the groups, random weights instead (Rubin 1981), which leaves no row out.
Averages are taken over the original rows, or over the drawn ones where they are to be
unconditional.

References
----------
Efron, B. (1979). Bootstrap Methods: Another Look at the Jackknife. Annals of Statistics
7(1), 1-26. https://doi.org/10.1214/aos/1176344552

Rubin, D. B. (1981). The Bayesian Bootstrap. Annals of Statistics 9(1), 130-134.
https://doi.org/10.1214/aos/1176345338
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .assembly import draw_seed
from .clusters import few_clusters
from .copies import Task, Template, fitted_copies
from .estimates import Basis
from .evaluation import averages
from .functions import function_of
from .questions import Answer, Invalid, Method, Question, missing_notes, spread_over
from .reading import read
from .refits import Template as StackTemplate
from .replicates import bootstrap_fits
from .resampling import Sample, bootstrap_sample

# Fewer replicates than this share of them are a selection.
LEAST_SHARE = 0.5


def bootstrapped(name: str) -> Method:
    """Return the method "bootstrap", or "bayesian"."""

    def method(question: Question) -> Answer:
        check(question)
        G, notes = few_clusters(question.rows)
        function = function_of(question.reading, question.target)
        here = averages(question.reading, function, question.quantities, question.over)
        estimate = here.values.reshape(-1)
        refits = refitted(question, bayesian=name == "bayesian")
        draws, failures = evaluated(question, refits, estimate)
        kept = draws[~np.isnan(draws).all(axis=1)]
        _check_left(len(kept), len(draws), failures)
        absent = spread_over(here.values, [p.absent for p in question.quantities])
        basis = Basis(
            name,
            "asked for",
            conditional=not question.unconditional,
            penalised=bool(question.reading.penalty),
            n=question.rows.n,
            notes=(
                _told(question, name, G, len(kept)),
                *_failed(len(draws) - len(kept), len(draws), failures),
                *refits.notes,
                *notes,
                *missing_notes(question, here.missing),
            ),
        )
        return Answer(estimate, spread_of(kept), basis, draws=kept, absent=absent)

    return method


def check(question: Question) -> None:
    """Refuse what cannot be drawn.

    Raises
    ------
    Invalid
    """
    if question.rows.y is None:
        raise Invalid(
            "y was not given: replicates are fitted to the targets of the fit",
            "pass the y that the estimator was fitted to",
        )
    if question.n_replicates < 2:
        raise Invalid("one replicate does not vary", "use n_replicates=200")
    if question.rows.n < 2:
        raise Invalid("there is one row only to draw from")


@dataclass(frozen=True, slots=True, eq=False)
class Refits:
    """Replicates of an estimator.

    Attributes
    ----------
    fitted : list of fitted estimators, or of the errors that ended their fits
    draws : ndarray of shape (R, n)
        How often, or how much, each row counts.
    notes : tuple of str
    """

    fitted: list[Any]
    draws: np.ndarray
    notes: tuple[str, ...] = ()


def refitted(question: Question, bayesian: bool) -> Refits:
    """Fit the estimator again to every replicate, all of them together.

    Networks, and Pipelines that end in one, go through `bootstrap_fits`; any other
    estimator is cloned and fitted, to repeated rows or with weights.
    """
    try:
        StackTemplate.of(question.reading.estimator)
    except TypeError:
        return _copied(question, bayesian)
    return _stacked(question, bayesian)


def _stacked(question: Question, bayesian: bool) -> Refits:
    rows = question.rows
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        try:
            found = bootstrap_fits(
                question.reading.estimator,
                rows.table.native,
                rows.y,
                question.n_replicates,
                kind=_kind(question, bayesian),
                groups=rows.groups,
                sample_weight=rows.weight,
                refit_transformers=not bayesian,
                random_state=question.random_state,
            )
        except ValueError as error:
            raise Invalid(f"a replicate could not be fitted: {error}") from error
    return Refits(
        list(found),
        np.divide(
            found.weights,
            rows.weight,
            where=rows.weight > 0,
            out=np.zeros_like(found.weights),
        ),
        tuple(str(one.message) for one in said),
    )


def _kind(question: Question, bayesian: bool) -> str:
    if bayesian:
        return "bayesian"
    return "pairs" if question.rows.groups is None else "cluster"


def _copied(question: Question, bayesian: bool) -> Refits:
    rows, template = question.rows, Template.of(question.reading.estimator)
    if bayesian and not template.takes_weights:
        raise Invalid(
            f"{type(question.reading.core).__name__} takes no sample_weight",
            "use vcov='bootstrap'",
        )
    sample = bootstrap_sample(
        len(rows.table),
        question.n_replicates,
        draw_seed(question.random_state),
        bayesian=bayesian,
        groups=rows.groups,
        weight=rows.weight,
    )
    by_weight = bayesian or template.is_ours
    fitted, n_warned = fitted_copies(template, rows, _tasks(sample, by_weight))
    notes: tuple[str, ...] = ()
    if n_warned:
        notes = (f"{n_warned} of {len(fitted)} replicates warned of not converging.",)
    return Refits(fitted, sample.draws, notes)


def _tasks(sample: Sample, by_weight: bool) -> Iterator[Task]:
    """Say which rows each replicate is fitted to: weighted, or as often as drawn.

    A network of ours may hold rows out, and a row must not be on both sides.
    """
    for draws, weight, seed in zip(
        sample.draws, sample.weights, sample.seeds, strict=True
    ):
        index = np.flatnonzero(draws)
        if not by_weight:
            index = np.repeat(index, draws[index].astype(np.int64))
            # What is left of the weights: the rows' own.
            yield index, weight[index] / draws[index], int(seed)
        else:
            yield index, weight[index], int(seed)


def evaluated(
    question: Question, refits: Refits, estimate: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Ask every replicate the question.

    Returns
    -------
    ndarray of shape (R, q)
        A row of nan where a replicate has no answer.
    list of str
        Why.
    """
    draws, failures = np.full((len(refits.fitted), len(estimate)), np.nan), []
    for r, fitted in enumerate(refits.fitted):
        try:
            if isinstance(fitted, Exception):
                raise ValueError(str(fitted)) from fitted
            found = _answer(question, fitted, refits.draws[r])
            if found.shape != estimate.shape:
                raise ValueError("a class was not drawn")
            if not np.isfinite(found[np.isfinite(estimate)]).all():
                raise ValueError("its estimates are not finite")
            draws[r] = found
        except ValueError as error:
            failures.append(str(error))
    return draws, failures


def _answer(question: Question, fitted: Any, draws: np.ndarray) -> np.ndarray:
    """Averages of one replicate, (q,)."""
    reading, over = read(fitted), question.over
    if question.unconditional:
        share = over.weight * draws[:, None]
        with np.errstate(invalid="ignore"):
            over = replace(over, weight=share / share.sum(axis=0))
    function = function_of(reading, question.target)
    found = averages(reading, function, question.quantities, over)
    return found.values.reshape(-1)


def spread_of(draws: np.ndarray) -> np.ndarray:
    """Covariance (q, q) of draws (R, q), nan where there are none."""
    gap = draws - draws.mean(axis=0)
    return np.asarray(gap.T @ gap / (len(draws) - 1))


def _check_left(kept: int, asked: int, failures: list[str]) -> None:
    if kept < 2 or kept < LEAST_SHARE * asked:
        raise Invalid(
            f"{asked - kept} of {asked} replicates failed; the first because "
            f"{failures[0]}",
            "use more rows, or merge levels that few rows have",
        )


def _told(question: Question, name: str, G: int | None, kept: int) -> str:
    drawn = "rows" if G is None else f"{G:,} groups"
    how = "weighed at random" if name == "bayesian" else "drawn with replacement"
    over = "the drawn rows" if question.unconditional else "the original rows"
    return f"{kept} replicates: {drawn} {how}, averages over {over}, fresh seeds."


def _failed(failed: int, asked: int, failures: list[str]) -> tuple[str, ...]:
    if not failed:
        return ()
    return (
        f"{failed} of {asked} replicates failed and are left out; the first because "
        f"{failures[0]}",
    )
