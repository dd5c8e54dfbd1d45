"""The methods by which standard errors are found, and which of them is taken.

Methods stand in one table, by the words that `vcov` takes. Each answers a `Question`,
or raises `Invalid` with the reason and the way out. "auto" takes the sandwich where it
holds, and falls back where it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .bootstrapped import bootstrapped
from .debiased import debiased
from .estimates import Basis
from .evaluation import averages
from .functions import function_of
from .questions import Answer, Invalid, Method, Question, missing_notes, spread_over
from .reseeded import refits, reseeded
from .sandwich import NAMES, sandwich


def answered(question: Question, vcov: str) -> Answer:
    """Answer by the method that `vcov` names.

    Raises
    ------
    ValueError
        When there is no such method, or it does not hold (`Invalid`).
    """
    vcov = "classical" if vcov == "nonrobust" else vcov
    if vcov == "auto":
        return automatic(question)
    if vcov not in METHODS:
        raise ValueError(
            f"vcov must be 'auto' or one of {', '.join(map(repr, METHODS))}; got "
            f"{vcov!r}."
        )
    _check_groups(question, vcov)
    try:
        return over_seeds(question)(METHODS[vcov])
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


def over_seeds(question: Question) -> Callable[[Method], Answer]:
    """Return what applies a method: to the fit, or to its refits with other seeds.

    These are fitted here, once for all methods that are tried.

    Raises
    ------
    Invalid
        When there cannot be such refits.
    """
    if question.n_seeds == 1:
        return lambda method: method(question)
    asked = refits(question)
    return lambda method: reseeded(asked, method)


def automatic(question: Question) -> Answer:
    """Take the sandwich where it holds, else what serves any fit. Never refuses."""
    name = "HC1" if question.rows.groups is None else "cluster"
    reasons: list[str] = []
    try:
        apply = over_seeds(question)
    except Invalid as refusal:
        return estimates_only(question, f"auto; {refusal.reason}")
    fallbacks = (
        ("debiased", "bootstrap") if question.reading.is_mean else ("bootstrap",)
    )
    for method in (name, *fallbacks):
        try:
            found = apply(METHODS[method])
        except Invalid as refusal:
            reasons.append(f"not {method}, because {refusal.reason}")
            continue
        why = "; ".join(["auto", *(reasons or [_why_valid(found.basis)])])
        return replace(found, basis=replace(found.basis, why=why))
    return estimates_only(question, "; ".join(["auto", *dict.fromkeys(reasons)]))


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
            notes=missing_notes(question, found.missing),
        ),
        absent=spread_over(found.values, [p.absent for p in question.quantities]),
    )


METHODS: dict[str, Method] = {
    **{name: sandwich(name) for name in NAMES},
    "bootstrap": bootstrapped("bootstrap"),
    "bayesian": bootstrapped("bayesian"),
    "debiased": debiased,
}
