"""Where a row's number goes when it is changed by an amount, and over which values.

A change takes a row from one end of a window to the other. Where it matters that both
ends are values which rows have, the window is kept within the column's reach, or its
ends are put on values that occur.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .columns import as_numbers, spread
from .fit_rows import FitRows
from .quantities import Quantity

# A column of fewer values has steps rather than slopes: between its values nothing is
# known.
MANY_VALUES = 30


def ends(
    quantity: Quantity, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both ends of each row's change, and what their difference counts.

    Parameters
    ----------
    quantity : Quantity
        Of kind "shift".
    x : ndarray of shape (n,)

    Returns
    -------
    low, high : ndarray of shape (n,)
    unit : ndarray of shape (n,)
        The change asked for, in the widths that were taken.
    """
    low, high = x + quantity.low, x + quantity.high
    width = quantity.high - quantity.low
    if quantity.grid:
        low, high = _on_grid(np.array(quantity.grid), low, high)
    elif quantity.inside:
        least, most = quantity.limits
        low = np.clip(low, least, max(least, most - width))
        high = np.minimum(low + width, most)
    else:
        return low, high, np.ones(len(x))
    return low, high, width / (high - low)


def _on_grid(
    grid: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Take both ends to the nearest values; where these are one, to its neighbours."""
    middles, most = (grid[1:] + grid[:-1]) / 2.0, len(grid) - 1
    first = np.searchsorted(middles, low, side="right")
    last = np.searchsorted(middles, high, side="left")
    one = first >= last
    below, above = np.maximum(first - one, 0), np.minimum(last + one, most)
    return grid[below], grid[above]


def on_support(quantity: Quantity, rows: FitRows) -> Quantity:
    """Ask for the same between values that rows have.

    Slopes of whole numbers, and of few values, become changes by one, taken between
    the values next to a row's own; all other changes stay within the column's reach.
    """
    if quantity.kind not in ("slope", "shift") or quantity.absent:
        return quantity
    assert quantity.column is not None
    numbers = as_numbers(rows.table.column(quantity.column))[rows.weight > 0]
    values = np.unique(numbers[~np.isnan(numbers)])
    if len(values) < 2:
        return replace(quantity, absent=f"{quantity.term} is constant")
    if len(values) < MANY_VALUES or (values == np.round(values)).all():
        if quantity.kind == "slope":
            quantity = replace(
                quantity, kind="shift", contrast="+1", low=-0.5, high=0.5
            )
        return replace(quantity, grid=tuple(values.tolist()))
    limits = (float(values[0]), float(values[-1]))
    return replace(quantity, inside=quantity.kind == "shift", limits=limits)


def unit_of(quantity: Quantity, rows: FitRows) -> float:
    """Give what makes a quantity a change by a standard deviation of its column."""
    if quantity.kind not in ("slope", "shift"):
        return 1.0
    assert quantity.column is not None
    unit = spread(as_numbers(rows.table.column(quantity.column))[rows.weight > 0])
    return unit if quantity.kind == "slope" else unit / (quantity.high - quantity.low)
