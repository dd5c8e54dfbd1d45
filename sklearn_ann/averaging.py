"""The rows that are averaged over: those of the fit or others, as they are or typical.

Rows have two roles. Standard errors come from the rows of the fit; averages may be
taken over any, in groups, with some columns held at values, or at one typical row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from .arrays import as_numpy
from .columns import Table, as_numbers, levels_of
from .evaluation import Averaging
from .fit_rows import FitRows
from .quantities import read_columns
from .reading import Reading


def rows_to_average(
    reading: Reading, rows: FitRows, newdata: Any, at: Any, by: Any
) -> tuple[Averaging, tuple[str, list[Any]]]:
    """Lay out rows, their shares in each group's average, and the groups.

    Parameters
    ----------
    reading : Reading
    rows : FitRows
        The rows of the fit, which are averaged over by default.
    newdata : table or None
        Other rows.
    at : {"overall", "mean", "median"} or dict
    by : column, array-like of shape (n,) or None

    Returns
    -------
    over : Averaging
    groups : (str, list)
        Name and members; blank where there is one group.

    Raises
    ------
    ValueError
        When columns, values or groups do not fit, or the combination makes no sense.
    """
    if newdata is None:
        table, weight = rows.table, rows.weight
    else:
        table = Table.of(newdata, rows.table.names)
        weight = np.ones(len(table))
        if table.names != rows.table.names:
            raise ValueError(
                f"newdata has the columns {', '.join(table.names)}; expected those of "
                f"X, {', '.join(rows.table.names)}."
            )
    if not isinstance(at, str | Mapping) or (
        isinstance(at, str) and at not in ("overall", "mean", "median")
    ):
        raise ValueError(
            "at must be 'overall', 'mean', 'median', or a dict of values by column; "
            f"got {at!r}."
        )
    if isinstance(at, Mapping):
        shares, groups = _by(table, weight, by)
        for column, value in at.items():
            table = table.with_column(table.index_of(column), value)
        return Averaging(table, shares), groups
    if at == "overall":
        shares, groups = _by(table, weight, by)
        return Averaging(table, shares), groups
    if by is not None:
        raise ValueError(f"by= averages over rows, of which at={at!r} leaves one.")
    encoded = {c.index for c in read_columns(reading, rows.table) if c.encoded}
    row = _typical_row(table, weight, at, encoded)
    return Averaging(row, np.ones((1, 1))), ("", [""])


def _by(
    table: Table, weight: np.ndarray, by: Any
) -> tuple[np.ndarray, tuple[str, list[Any]]]:
    """Shares (n, G) in the averages of groups of rows."""
    if by is None:
        return (weight / weight.sum())[:, None], ("", [""])
    if isinstance(by, str | int | np.integer):
        j = table.index_of(by)
        name, values = table.names[j], table.column(j)
    else:
        values = pd.Series(np.asarray(as_numpy(by)))
        name = str(getattr(by, "name", None) or "by")
        if values.shape != (len(table),):
            raise ValueError(
                f"by must name a column or hold one value for each of the {len(table)} "
                f"rows averaged over; got shape {np.shape(by)}."
            )
    if name in ("term", "contrast", "class", "output", "estimate"):
        name = f"by {name}"
    groups = levels_of(values)
    members = np.column_stack([(values == group).to_numpy() for group in groups])
    shares = weight[:, None] * members
    empty = [
        g for g, total in zip(groups, shares.sum(axis=0), strict=True) if not total
    ]
    if empty:
        raise ValueError(
            f"by has a group {empty[0]!r} whose rows all have weight zero."
        )
    return shares / shares.sum(axis=0), (name, groups)


def _typical_row(table: Table, weight: np.ndarray, at: str, encoded: set[int]) -> Table:
    """One row of means or medians, and of the most frequent levels."""
    row = table.take(np.arange(1))
    for j in range(len(table.names)):
        column = table.column(j)
        present = column.notna().to_numpy() & (weight > 0)
        chosen, w = column[present], weight[present]
        if not len(chosen):
            continue
        numeric = types.is_numeric_dtype(chosen) and not types.is_bool_dtype(chosen)
        if numeric and j not in encoded:
            numbers = as_numbers(chosen)
            value = (
                np.average(numbers, weights=w) if at == "mean" else _median(numbers, w)
            )
            row = row.with_column(j, np.array([value]))
        else:
            totals = pd.Series(w).groupby(chosen.to_numpy()).sum()
            row = row.with_column(j, totals.idxmax())
    return row


def _median(numbers: np.ndarray, weight: np.ndarray) -> float:
    """Weighted median; the middle of two where the weights meet between them."""
    order = np.argsort(numbers, kind="stable")
    sums = np.cumsum(weight[order])
    half = sums[-1] / 2.0
    low = int(np.searchsorted(sums, half * (1 - 1e-12)))
    high = int(np.searchsorted(sums, half * (1 + 1e-12)))
    return float(
        (numbers[order][low] + numbers[order][min(high, len(order) - 1)]) / 2.0
    )
