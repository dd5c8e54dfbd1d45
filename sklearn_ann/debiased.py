r"""Debiased effects: cross-fitted copies of any estimator, and a correction.

With f the mean that an estimator fits, m(f)(x) its effect at a row, and alpha the
representer of the average effect (see `riesz`),

.. math:: \hat\theta = \frac1n \sum_i \psi_i, \qquad
          \psi = m(f)(x) + \alpha(x) (y - f(x)),

where f and alpha were learned from folds other than the row's. To first order their
errors do not matter, whatever the estimator: it may be penalised, stopped early, a
forest. The standard error is that of a mean, and of the average over the population.

References
----------
Chernozhukov, V., Newey, W. K. and Singh, R. (2022). Automatic Debiased Machine Learning
of Causal and Structural Effects. Econometrica 90(3), 967-1027.
https://doi.org/10.3982/ECTA18515
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.base import is_classifier

from .assembly import draw_seed
from .clusters import few_clusters
from .copies import MOST_MEMBERS
from .covariance import summed_squares
from .cross_fitting import CrossFitted, cross_fitted, observed, split
from .estimates import Basis
from .evaluation import Averaging, present
from .fit_rows import FitRows
from .functionals import STEP, Functional
from .hypotheses import Law
from .inputs import MOST_INPUTS, Encoder
from .moves import on_support, unit_of
from .quantities import Quantity
from .questions import Answer, Invalid, Question, missing_notes, spread_over
from .reading import Reading
from .riesz import (
    ACTIVATION,
    UNITS,
    Representers,
    Sample,
    representers,
)


def debiased(question: Question) -> Answer:
    """Answer by cross-fitting and representers; see the module."""
    check(question)
    rows, over = question.rows, question.over
    asked = [on_support(quantity, rows) for quantity in question.quantities]
    seed = draw_seed(question.random_state)
    folds = split(question.reading, rows, seed)
    found = cross_fitted(question, asked, folds, seed)
    alpha = _representers(question, asked, folds, seed)
    y = observed(question.reading, rows.y)
    influence, estimate = corrected(asked, over, rows, found, y - found.mean, alpha)
    absent = spread_over(found.plug_in, [quantity.absent for quantity in asked])
    G, notes = few_clusters(rows)
    n = rows.n
    factor = n / (n - 1) if G is None else G / (G - 1)
    notes += (
        *_told(alpha, folds, asked, question),
        *missing_notes(question, found.missing),
    )
    basis = Basis(
        "debiased",
        "asked for",
        Law() if G is None else Law(G - 1),
        conditional=False,
        n=n,
        factor=factor,
        notes=notes,
    )
    return Answer(
        estimate,
        factor * summed_squares(influence, n, rows.groups),
        basis,
        influence,
        absent=absent,
        beside={"plug_in": found.plug_in.reshape(-1)},
        quantities=asked,
    )


# ------------------------------------------------------------------------------ checks


def check(question: Question) -> None:
    """Refuse what has no debiased answer.

    Raises
    ------
    Invalid
    """
    reading, rows = question.reading, question.rows
    if rows.y is None:
        raise Invalid(
            "y was not given: the correction comes from the targets of the fit",
            "pass the y that the estimator was fitted to",
        )
    if not reading.is_mean:
        raise Invalid(
            f"the loss {reading.model.loss.name!r} is not for means or probabilities",
            "use vcov='bootstrap'",
        )
    if question.target == "link" and not _identity_link(reading):
        raise Invalid(
            "target='link' is not linear in means or probabilities",
            "use target='response', or vcov='bootstrap'",
        )
    if not question.own_rows:
        raise Invalid(
            "it is for averages over the population that the rows of the fit were "
            "drawn from, not over newdata or at one row",
            "leave out newdata and at, or use vcov='bootstrap'",
        )
    relative = [p for p in question.quantities if p.scale != "dydx"]
    if relative:
        raise Invalid(
            f"relative changes ({relative[0].contrast}) are not linear in predictions",
            "use kind='auto', or vcov='bootstrap'",
        )


def _identity_link(reading: Reading) -> bool:
    if is_classifier(reading.core) or reading.target_transformer is not None:
        return False
    return reading.model is None or reading.model.loss.name == "squared_error"


# -------------------------------------------------------------------------- correction


def _representers(
    question: Question, quantities: Sequence[Quantity], folds: np.ndarray, seed: int
) -> Representers:
    """Representers of all quantities at the rows of the fit."""
    rows, over = question.rows, question.over
    n, Q, G = len(folds), len(quantities), over.weight.shape[1]
    values = np.zeros((n, Q, G))
    learned = [q for q, p in enumerate(quantities) if not _is_known(p, G)]
    for q, quantity in enumerate(quantities):
        if quantity.kind == "prediction" and q not in learned:
            values[:, q] = 1.0  # the mean of f(x) is the mean of 1 f(x)
    if not learned:
        return Representers(values, 0)
    encoder = _encoder(rows)
    z = encoder.encoded(rows.table)
    moved = z if over.table is rows.table else encoder.encoded(over.table)
    sample = Sample(z, moved, rows.weight / rows.weight.sum(), folds)
    parts = [_functional(quantities[q], encoder, rows, over) for q in learned]
    found = representers(parts, sample, seed)
    values[:, learned] = found.values
    return replace(found, values=values)


def _functional(
    quantity: Quantity, encoder: Encoder, rows: FitRows, over: Averaging
) -> Functional:
    """Lay out a quantity, scaled to a change by a standard deviation."""
    unit = unit_of(quantity, rows)
    if quantity.kind == "slope":
        quantity = replace(quantity, step=STEP * unit)
    share = np.nan_to_num(present(quantity, over)[1])
    return Functional.of(quantity, encoder, over.table, share, unit)


def _is_known(quantity: Quantity, G: int) -> bool:
    """Whether there is nothing to learn: no quantity, or the mean prediction."""
    as_they_are = quantity.kind == "prediction" and quantity.column is None
    return bool(quantity.absent) or (as_they_are and G == 1)


def _encoder(rows: FitRows) -> Encoder:
    encoder = Encoder.of(rows.table.take(np.flatnonzero(rows.weight > 0)))
    if encoder.width > MOST_INPUTS:
        raise Invalid(
            f"the {encoder.width:,} columns and levels of X are more than the "
            f"{MOST_INPUTS} from which a representer is learned",
            "use vcov='bootstrap'",
        )
    return encoder


def corrected(
    quantities: Sequence[Quantity],
    over: Averaging,
    rows: FitRows,
    found: CrossFitted,
    residual: np.ndarray,
    alpha: Representers,
) -> tuple[np.ndarray, np.ndarray]:
    """Debiased estimates (q,), and their influence functions (n, q)."""
    n, weight = rows.n, rows.weight / rows.weight.sum()
    phis, estimates = [], []
    for q, quantity in enumerate(quantities):
        share = present(quantity, over)[1][:, :, None]  # (n, G, 1)
        effects = found.effects[q][:, None, :]  # (n, 1, m)
        pushed = (weight[:, None] * alpha.values[:, q])[:, :, None]
        psi = np.where(share > 0, share * effects, 0.0) + pushed * residual[:, None, :]
        estimate = psi.sum(axis=0)  # (G, m)
        phi = n * (psi - share * estimate)
        if quantity.absent:
            phi, estimate = np.full_like(phi, np.nan), np.full_like(estimate, np.nan)
        phis.append(phi.reshape(len(phi), -1))
        estimates.append(estimate.reshape(-1))
    return np.hstack(phis), np.concatenate(estimates)


def _told(
    alpha: Representers, folds: np.ndarray, asked: Sequence[Quantity], of: Question
) -> tuple[str, ...]:
    """Say how it was done, and what was answered in place of what was asked."""
    text = f"Cross-fitted in {folds.max() + 1} folds"
    if of.reading.kind == "ensemble":
        text += f", by ensembles of at most {MOST_MEMBERS} members"
    text += "."
    if alpha.n_parameters:
        text += " Riesz representers are networks with a linear part"
        text += f" for each effect ({alpha.n_parameters:,} parameters in all)"
        if alpha.n_iter:
            text += f" and {UNITS} {ACTIVATION} units for all of them, stopped on a "
            text += f"fold held out, after {min(alpha.n_iter)} to {max(alpha.n_iter)} "
            text += "iterations"
        text += "."
    changed = [
        new.term
        for new, old in zip(asked, of.quantities, strict=True)
        if new.kind != old.kind
    ]
    if not changed:
        return (text,)
    return (
        text,
        f"Effects of one unit, taken between the values next to a row's: those of "
        f"{', '.join(changed)}. Few values, and whole numbers, have no slopes.",
    )
