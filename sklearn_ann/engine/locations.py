"""Best constants: weighted means, quantiles and Huber locations of columns.

In NumPy and float64, through weighted sums and weighted order statistics only: a weight
of two is a row written twice. Columns are y (n, my), weights (n,), results (my,) or
(my * levels,).
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]
OfArrays: TypeAlias = Callable[[Array, Array], Array]

# Ties in a cumulated weight are decided as in exact arithmetic.
_TIE = 1e-12


def counted(weight: ArrayLike | None, *arrays: ArrayLike) -> tuple[Array, ...]:
    """Weights and arrays (n, columns) in float64, without the rows of weight zero."""
    tables = [np.asarray(a, dtype=np.float64) for a in arrays]
    tables = [t.reshape(len(t), -1) for t in tables]
    if weight is None:
        return np.ones(len(tables[0])), *tables
    w = np.asarray(weight, np.float64)
    return w[w > 0], *(t[w > 0] for t in tables)


def mean(y: Array, w: Array) -> Array:
    """Weighted mean of each column."""
    return np.asarray(np.average(y, axis=0, weights=w))


def quantiles(levels: tuple[float, ...]) -> OfArrays:
    """Weighted quantiles of each column at each level, (n, my) to (my * q,).

    The inverted distribution function, which minimises the weighted pinball loss:
    the smallest y_i with ``sum_{y_j <= y_i} w_j >= level * sum_j w_j``.
    """

    def column(y: Array, w: Array) -> Array:
        order = np.argsort(y, kind="stable")
        below = np.cumsum(w[order])
        needed = (np.array(levels) - _TIE) * below[-1]
        return np.asarray(y[order[np.searchsorted(below, needed)]])

    return lambda y, w: np.concatenate([column(y_j, w) for y_j in y.T])


def huber_location(delta: float) -> OfArrays:
    """Solve ``sum_i w_i clip(c - y_i, -delta, delta) = 0`` for the c of each column.

    The sum rises linearly between the breakpoints y_i - delta and y_i + delta, so
    the root is exact: from the last breakpoint below it, along the slope there.
    """

    def column(y: Array, w: Array) -> float:
        t = np.concatenate([y - delta, y + delta])
        order = np.argsort(t, kind="stable")
        t, slope = t[order], np.cumsum(np.concatenate([w, -w])[order])
        lowest = -delta * w.sum()
        height = lowest + np.append(0.0, np.cumsum(slope[:-1] * np.diff(t)))
        i = np.searchsorted(height, _TIE * lowest) - 1
        return float(t[i] - height[i] / slope[i])

    return lambda y, w: np.array([column(y_j, w) for y_j in y.T])
