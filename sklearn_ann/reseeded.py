"""Answers averaged over refits with other seeds.

A regression does not vary with a seed; a network does. How much it does is no sampling
error, and stands in a column of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .assembly import draw_seed
from .copies import Template, fitted_copies
from .covariance import summed_squares
from .evaluation import averages
from .functions import function_of
from .questions import Answer, Invalid, Method, Question
from .reading import read

# Replicates of these have seeds of their own already.
WITH_SEEDS = ("bootstrap", "bayesian")


def refits(question: Question) -> list[Question]:
    """Fit the estimator again to all rows, and ask the same of each of the fits.

    There is one for each of ``n_seeds`` seeds, which decide all else as well.

    Raises
    ------
    Invalid
        When there are no targets, or a fit fails.
    """
    rows = question.rows
    if rows.y is None:
        raise Invalid(
            "y was not given: refits with other seeds need the targets of the fit",
            "pass the y that the estimator was fitted to",
        )
    index = np.flatnonzero(rows.weight > 0)
    seed = draw_seed(question.random_state)
    seeds = np.random.default_rng([seed, question.n_seeds]).integers(
        2**31 - 1, size=question.n_seeds
    )
    tasks = [(index, rows.weight[index], int(each)) for each in seeds]
    found, _ = fitted_copies(Template.of(question.reading.estimator), rows, tasks)
    for each in found:
        if isinstance(each, Exception):
            raise Invalid(f"a refit with another seed failed: {each}") from each
    return [
        replace(question, reading=read(each), random_state=int(own))
        for each, own in zip(found, seeds, strict=True)
    ]


def reseeded(asked: Sequence[Question], method: Method) -> Answer:
    """Answer by the mean over refits, each asked on its own.

    The covariance is that of the mean, from the mean of the influence functions where
    there are some. Bootstraps draw around one refit, for their replicates vary their
    seeds already.

    Parameters
    ----------
    asked : sequence of R Questions
        As from `refits`.
    method : Method

    Raises
    ------
    Invalid
        When the method does not hold for one of the refits.
    """
    first = method(asked[0])
    if first.basis.method in WITH_SEEDS:
        estimates = np.stack([plug_in(one) for one in asked])
        return _averaged(asked[0], first, estimates, first.vcov)
    answers = [first, *map(method, asked[1:])]
    estimates = np.stack([answer.estimate for answer in answers])
    beside = {
        name: np.mean([answer.beside[name] for answer in answers], axis=0)
        for name in first.beside
    }
    influence, vcov = _joint(asked[0], answers)
    if asked[0].add_seed_variance:
        gap = estimates - estimates.mean(axis=0)
        vcov = vcov + gap.T @ gap / (len(gap) - 1) / len(gap)
    found = replace(first, beside=beside, influence=influence)
    return _averaged(asked[0], found, estimates, vcov)


def plug_in(question: Question) -> np.ndarray:
    """Estimates without standard errors, (q,)."""
    function = function_of(question.reading, question.target)
    found = averages(question.reading, function, question.quantities, question.over)
    return found.values.reshape(-1)


def _joint(
    question: Question, answers: Sequence[Answer]
) -> tuple[np.ndarray | None, np.ndarray]:
    """Influence functions and covariance of a mean of answers on the same rows."""
    first = answers[0]
    if first.influence is None or not first.basis.is_robust:
        return None, np.mean([answer.vcov for answer in answers], axis=0)
    phi = np.mean(np.stack([a.influence for a in answers]), axis=0)  # type: ignore[misc]
    squares = summed_squares(phi, first.basis.n, question.rows.groups)
    return phi, first.basis.factor * squares


def _averaged(
    question: Question, first: Answer, estimates: np.ndarray, vcov: np.ndarray
) -> Answer:
    """Put means, and their spread over seeds, in the place of one refit's estimates."""
    R = len(estimates)
    if first.basis.method in WITH_SEEDS:
        which = "is in the standard errors, for replicates vary their seeds too"
    elif question.add_seed_variance:
        which = f"is added to the variances, divided by {R}"
    else:
        which = "is no part of the standard errors"
    note = f"Means over {R} refits with other seeds; what these differ by, seed_sd, "
    note += f"{which}."
    return replace(
        first,
        estimate=estimates.mean(axis=0),
        vcov=vcov,
        basis=replace(first.basis, notes=(note, *first.basis.notes)),
        beside={**first.beside, "seed_sd": estimates.std(axis=0, ddof=1)},
    )
