"""The rows of a fit, checked: everything that standard errors come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import _check_sample_weight

from .arrays import as_numpy
from .assembly import checked_groups
from .columns import Table, is_polars
from .reading import Reading


@dataclass(frozen=True, slots=True, eq=False)
class FitRows:
    """The rows that an estimator was fitted to.

    Attributes
    ----------
    table : Table
        n raw rows.
    y : array or None
        Their targets.
    weight : ndarray of shape (n,)
        Sample weights; ones where none were given.
    groups : ndarray of int of shape (n,) or None
        Codes of clusters.
    """

    table: Table
    y: Any
    weight: np.ndarray
    groups: np.ndarray | None

    @property
    def n(self) -> int:
        """Rows of positive weight."""
        return int((self.weight > 0).sum())


def checked_rows_of_fit(
    reading: Reading, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
) -> FitRows:
    """Check that rows, targets, weights and groups fit together.

    Raises
    ------
    ValueError
        When they do not; the message says what was expected and what came.
    """
    table = Table.of(X, _names(reading))
    n = len(table)
    if n == 0:
        raise ValueError("X has no rows.")
    if y is not None:
        y = y.to_numpy() if is_polars(y) else as_numpy(y)
        check_consistent_length(table.native, y)
    weight = np.ones(n)
    if sample_weight is not None:
        weight = _check_sample_weight(
            as_numpy(sample_weight),
            np.empty((n, 1)),
            dtype=np.float64,
            ensure_non_negative=True,
        )
    return FitRows(table, y, weight, _group_codes(groups, n))


def _names(reading: Reading) -> Any:
    """Names that the estimator saw in its fit, for arrays that carry none."""
    first = reading.estimator
    return getattr(first, "feature_names_in_", None)


def _group_codes(groups: Any, n: int) -> np.ndarray | None:
    if groups is None:
        return None
    codes = pd.factorize(checked_groups(as_numpy(groups), n), sort=True)[0]
    if (codes < 0).any():
        raise ValueError(f"groups is missing for {(codes < 0).sum()} of {n} rows.")
    return np.asarray(codes)
