"""The methods by which standard errors are found, and which of them is taken.

Methods stand in one table, by the words that `vcov` takes. Each answers a `Question`,
or raises `Invalid` with the reason and the way out. "auto" takes the sandwich where it
holds, and falls back where it does not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .estimates import Basis
from .evaluation import averages
from .functions import function_of
from .questions import Answer, Invalid, Method, Question, missing_notes, spread_over
from .sandwich import NAMES, sandwich


def answered(question: Question, vcov: str) -> Answer:
    """Answer by the method that `vcov` names.

    Raises
    ------
    ValueError
        When there is no such method, or it does not hold (`Invalid`).
    """
    vcov = "classical" if vcov == "nonrobust" else vcov
    if question.n_seeds > 1:
        raise ValueError("n_seeds above 1 is not available in this version.")
    if vcov == "auto":
        return automatic(question)
    if vcov not in METHODS:
        raise ValueError(
            f"vcov must be 'auto' or one of {', '.join(map(repr, METHODS))}; got "
            f"{vcov!r}."
        )
    _check_groups(question, vcov)
    try:
        return METHODS[vcov](question)
    except Invalid as refusal:
        raise refusal.of(vcov) from None


def _check_groups(question: Question, vcov: str) -> None:
    if vcov == "cluster" and question.rows.groups is None:
        raise ValueError("vcov='cluster' needs groups, one for each row of the fit.")
    alone = vcov in ("classical", "HC0", "HC1", "HC2", "HC3")
    if alone and question.rows.groups is not None:
        raise ValueError(
            f"groups are given, but vcov={vcov!r} takes rows as independent. Use "
            "vcov='cluster', or leave groups out."
        )


def automatic(question: Question) -> Answer:
    """Take the sandwich where it holds, else what serves any fit. Never refuses."""
    name = "HC1" if question.rows.groups is None else "cluster"
    fallback = "debiased" if question.reading.is_mean else "bootstrap"
    reasons = []
    for method in (name, fallback):
        try:
            found = METHODS[method](question)
        except Invalid as refusal:
            reasons.append(f"not {method}, because {refusal.reason}")
            continue
        why = "; ".join(["auto", *(reasons or [_why_valid(found.basis)])])
        return replace(found, basis=replace(found.basis, why=why))
    return estimates_only(question, "; ".join(["auto", *reasons]))


def _why_valid(basis: Basis) -> str:
    return f"one converged network of {basis.k} parameters on {basis.n:,} rows"


def estimates_only(question: Question, why: str) -> Answer:
    """Plug-in estimates, without standard errors."""
    function = function_of(question.reading, question.target)
    found = averages(question.reading, function, question.quantities, question.over)
    values = found.values.reshape(-1)
    q = len(values)
    return Answer(
        values,
        np.full((q, q), np.nan),
        Basis(
            "none",
            why,
            penalised=bool(question.reading.penalty),
            n=question.rows.n,
            notes=missing_notes(question, found),
        ),
        absent=spread_over(question, found, [p.absent for p in question.quantities]),
    )


def _not_yet(name: str) -> Method:
    def refuse(question: Question) -> Answer:
        raise Invalid(
            "it is not available in this version",
            "use vcov='HC1' with a fit for which it holds",
        )

    return refuse


METHODS: dict[str, Method] = {
    **{name: sandwich(name) for name in NAMES},
    "bootstrap": _not_yet("bootstrap"),
    "debiased": _not_yet("debiased"),
}
