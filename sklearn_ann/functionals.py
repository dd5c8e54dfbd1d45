"""Average effects as functionals: values at points near the rows, and coefficients.

The mean slope of f in a column is a sum of f at each row a step up, and a step down;
that of a level, of f at all rows with the level, and with the reference. So it can be
applied to any function of encoded rows, such as a representer while it is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .columns import Table, as_numbers
from .inputs import Encoder
from .moves import ends
from .quantities import Quantity

# Half the width of a slope's difference, in standard deviations of its column.
STEP = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Functional:
    """A quantity's average, as values of a function at points times coefficients.

    Attributes
    ----------
    place : slice
        Encoded columns that its points change.
    points : list of (ndarray of shape (n, width of place), ndarray of shape (n, G))
        What stands there, and the coefficients of each row and group.
    scale : float
        What it is multiplied by, so that its representer is about one.
    """

    place: slice
    points: list[tuple[np.ndarray, np.ndarray]]
    scale: float

    @classmethod
    def of(
        cls,
        quantity: Quantity,
        encoder: Encoder,
        table: Table,
        share: np.ndarray,
        scale: float,
    ) -> Functional:
        """Lay out a quantity.

        Parameters
        ----------
        quantity : Quantity
        encoder : Encoder
        table : Table of n rows
            Rows averaged over.
        share : ndarray of shape (n, G)
            Of the rows in each group's average; zero where the quantity is missing.
        scale : float
        """
        j = quantity.column
        if j is None:
            nothing = np.zeros((len(table), 0))
            return cls(slice(0, 0), [(nothing, scale * share)], scale)
        points = [
            (
                _block(encoder, table, j, value),
                scale * np.nan_to_num(coefficient)[:, None] * share,
            )
            for value, coefficient in _moves(quantity, table)
        ]
        return cls(encoder.places[j], points, scale)

    def moments(self, z: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Values at the encoded columns themselves, over some rows: (d, G)."""
        total = np.zeros((z.shape[1], self.points[0][1].shape[1]))
        for block, c in self.points:
            part = z[rows].T @ c[rows]
            part[self.place] = block[rows].T @ c[rows]
            total += part
        return total


def _block(encoder: Encoder, table: Table, j: int, value: Any) -> np.ndarray:
    """Encode a column with other values in it: one for each row, or one for all."""
    if np.ndim(value) > 0:
        return np.nan_to_num(encoder.block(j, table.with_column(j, value)))
    block = np.nan_to_num(encoder.level(j, value))
    return np.broadcast_to(block, (len(table), block.shape[1]))


def _moves(quantity: Quantity, table: Table) -> list[tuple[Any, np.ndarray]]:
    """Return what a quantity puts into its column, and coefficients (n,)."""
    one, j = np.ones(len(table)), quantity.column
    if quantity.kind == "prediction":
        return [(quantity.high, one)]
    assert j is not None
    if quantity.kind == "levels":
        return [(quantity.high, one), (quantity.low, -one)]
    x = as_numbers(table.column(j))
    if quantity.kind == "shift":
        low, high, scale = ends(quantity, x)
    else:
        low, high = x - quantity.step, x + quantity.step
        scale = 1.0 / (high - low)
    return [(high, scale), (low, -scale)]
