"""The likelihood of a fitted model, and whether ratios of it mean anything.

Letters: n rows, r columns that the model tells apart, its intercept included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .fit_rows import FitRows
from .likelihoods import (
    ROWS,
    LikelihoodRatioTest,
    likelihood_ratio_test,
    mcfadden_r2,
    null_prediction,
)
from .questions import Invalid
from .reading import Reading
from .sandwich import at_minimum
from .validity import CONVERGED

NAN = float("nan")
# A column of which a smaller share lies outside of a space is within it.
WITHIN = 1e-7
INSTEAD = (
    "Compare log scores out of sample instead: test(model, 'log loss') of a comparison."
)


@dataclass(frozen=True, slots=True, eq=False)
class Likelihood:
    """What a model that maximises a likelihood, penalised or not, says of its rows.

    Attributes
    ----------
    loss : str
        Name of the loss that is minus the log-likelihood.
    by_row : ndarray of shape (n,)
        Log-likelihood of each row.
    null : float
        Log-likelihood without any column.
    no_ratio_because : str
        Why likelihood ratios do not hold for it: they ask for a fit that has converged,
        without penalty and without hidden layer. Empty where they do.
    basis : ndarray of shape (n, r) or None
        Orthonormal basis of its columns, where ratios hold.
    ratio : LikelihoodRatioTest or None
        Against no columns, for classes and counts.
    """

    loss: str
    by_row: np.ndarray
    null: float
    no_ratio_because: str
    basis: np.ndarray | None = None
    ratio: LikelihoodRatioTest | None = None

    @property
    def total(self) -> float:
        """Log-likelihood of all rows."""
        return float(self.by_row.sum())

    @property
    def mcfadden(self) -> float:
        """McFadden's R2, for classes and counts; else nan."""
        is_gaussian = self.loss == "squared_error"
        return NAN if is_gaussian else mcfadden_r2(self.total, self.null)

    @property
    def kind(self) -> str:
        """What it is a likelihood of: those of one kind can be compared."""
        return {"squared_error": "a normal law", "poisson": "counts"}.get(
            self.loss, "classes"
        )


def likelihood_of(fitted: Any, reading: Reading, rows: FitRows) -> Likelihood | None:
    """Compute the likelihood of a fit at its rows.

    Parameters
    ----------
    fitted : estimator
    reading : Reading
        Of it.
    rows : FitRows
        Those that it was fitted to.

    Returns
    -------
    Likelihood or None
        None for models that maximise no likelihood, for several targets, transformed
        ones, and weighted rows.
    """
    loss = reading.model.loss.name if reading.kind == "network" else ""
    several = np.ndim(rows.y) > 1 or reading.target_transformer is not None
    if loss not in ROWS or several or not is_unweighted(reading, rows):
        return None
    y, predicted = _outcomes(fitted, reading, rows)
    by_row = ROWS[loss](y, predicted)
    null = float(ROWS[loss](y, null_prediction(loss, y)).sum())
    reason = _no_ratio(reading, rows)
    if reason:
        return Likelihood(loss, by_row, null, reason)
    basis = _basis(reading, rows)
    ratio = None
    df = (basis.shape[1] - 1) * (predicted.shape[1] - 1 if predicted.ndim > 1 else 1)
    if loss != "squared_error" and reading.has_intercept and df:
        ratio = likelihood_ratio_test(float(by_row.sum()), null, df)
    return Likelihood(loss, by_row, null, reason, basis, ratio)


def check_vuong(pair: dict[str, Likelihood | None]) -> None:
    """Refuse a pair of models for which Vuong's test does not hold.

    Parameters
    ----------
    pair : dict of str to Likelihood or None
        Two models by name.

    Raises
    ------
    ValueError
    """
    for name, likelihood in pair.items():
        reason = likelihood.no_ratio_because if likelihood else "it has no likelihood"
        if reason:
            raise ValueError(
                "Vuong's test is for converged, unpenalised maximum likelihood fits "
                f"without hidden layer, and {name!r} is none: {reason}. {INSTEAD}"
            )
    one, two = (each for each in pair.values() if each is not None)
    names = " and ".join(map(repr, pair))
    if one.kind != two.kind:
        raise ValueError(
            f"{names} have likelihoods of different kinds, of {one.kind} and of "
            f"{two.kind}, which cannot be compared."
        )
    if _within(one.basis, two.basis) or _within(two.basis, one.basis):
        raise ValueError(
            f"Of {names} one contains the other, and Vuong's test is for models that "
            "do not nest: use the likelihood ratio, chi-squared with as many degrees "
            "of freedom as one has coefficients more."
        )


def is_unweighted(reading: Reading, rows: FitRows) -> bool:
    """Whether all rows count alike."""
    return bool(np.ptp(reading.row_weights(rows.y, rows.weight)) == 0)


def columns_seen(reading: Reading, rows: FitRows) -> np.ndarray:
    """Columns as the innermost estimator sees them, (n, d)."""
    Z = reading.transform(rows.table.native)
    dense = Z.toarray() if isinstance(Z, sp.csr_array) else Z
    return np.asarray(dense, dtype=np.float64)


def _outcomes(
    fitted: Any, reading: Reading, rows: FitRows
) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes (n,) and predictions: means (n,), or probabilities (n, n_classes)."""
    X, y = rows.table.native, np.asarray(rows.y)
    if reading.classes is None:
        return y.astype(np.float64), np.asarray(fitted.predict(X), dtype=np.float64)
    return np.searchsorted(reading.classes, y), np.asarray(fitted.predict_proba(X))


def _no_ratio(reading: Reading, rows: FitRows) -> str:
    if not reading.is_linear:
        return "it has a hidden layer, whose weights are not identified"
    if reading.penalty:
        return "it has a penalty"
    try:
        distance = at_minimum(reading, rows, "HC0").start.distance
    except Invalid as refusal:
        return refusal.reason
    if distance > CONVERGED:
        return (
            f"it has not converged, and lies {distance:.2g} standard errors from the "
            "maximum; refit with a smaller tol and a larger max_iter"
        )
    return ""


def _basis(reading: Reading, rows: FitRows) -> np.ndarray:
    Z = columns_seen(reading, rows)
    if reading.has_intercept:
        Z = Z - Z.mean(axis=0)
    size = np.linalg.norm(Z, axis=0)
    left, sizes, _ = np.linalg.svd(Z / np.where(size > 0, size, 1), full_matrices=False)
    slopes = left[:, sizes > WITHIN * sizes.max(initial=0.0)]
    if not reading.has_intercept:
        return np.asarray(slopes)
    return np.column_stack([np.full(len(Z), len(Z) ** -0.5), slopes])


def _within(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether the space of one basis lies within that of the other."""
    assert one is not None and other is not None
    beyond = one - other @ (other.T @ one)
    return bool(np.linalg.norm(beyond, axis=0).max() < WITHIN)
