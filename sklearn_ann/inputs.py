"""Raw columns of any kind as numbers, for a network of our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from .columns import Table, as_numbers, levels_of

# A string of many levels may be a name: the rarer ones are taken as one.
MOST_LEVELS = 30
MOST_INPUTS = 500


@dataclass(frozen=True, slots=True)
class Encoder:
    """Raw columns as numbers for a network: standardised, and levels as indicators.

    Attributes
    ----------
    columns : tuple of (mean, scale) or tuple of levels
        One for each column; a scale of zero where there is nothing to see.
    gaps : tuple of bool
        Whether a column has missing values, which then have an indicator.
    """

    columns: tuple[Any, ...]
    gaps: tuple[bool, ...]

    @classmethod
    def of(cls, table: Table) -> Encoder:
        """Look at the columns of some rows."""
        every = [table.column(j) for j in range(len(table.names))]
        gaps = tuple(bool(column.isna().any()) for column in every)
        return cls(tuple(map(_code, every)), gaps)

    @property
    def width(self) -> int:
        """Columns of what `encoded` returns."""
        return self.places[-1].stop

    @property
    def places(self) -> list[slice]:
        """Where each raw column stands in what `encoded` returns."""
        own = [len(code) if isinstance(code, list) else 1 for code in self.columns]
        ends = np.cumsum(np.add(own, self.gaps))
        return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]

    def encoded(self, table: Table) -> np.ndarray:
        """Encode rows, (n, width + 1), with a constant last."""
        blocks = [self.block(j, table) for j in range(len(self.columns))]
        return np.column_stack([*blocks, np.ones(len(table))])

    def block(self, j: int, table: Table) -> np.ndarray:
        """Encode one raw column of rows, (n, its width)."""
        return self._encoded(j, table.column(j))

    def level(self, j: int, value: Any) -> np.ndarray:
        """Encode one value of a raw column, (1, its width)."""
        return self._encoded(j, pd.Series([value], dtype=object))

    def _encoded(self, j: int, column: pd.Series) -> np.ndarray:
        code = self.columns[j]
        if isinstance(code, list):
            places = pd.Index(code).get_indexer(column.astype(object))
            found = np.zeros((len(column), len(code)))
            known = np.flatnonzero(places >= 0)
            found[known, places[known]] = 1.0
        else:
            numbers = (as_numbers(column.astype(float)) - code[0]) / code[1]
            found = np.nan_to_num(numbers)[:, None]
        if not self.gaps[j]:
            return found
        return np.column_stack([found, column.isna().to_numpy(dtype=float)])


def _code(column: pd.Series) -> Any:
    """Mean and scale of numbers, or the levels that have an indicator."""
    present = column.dropna().infer_objects()
    if types.is_numeric_dtype(present) or types.is_bool_dtype(present):
        numbers = present.to_numpy(dtype=np.float64)
        if isinstance(present.dtype, pd.CategoricalDtype) or not len(numbers):
            return levels_of(column)[1:]
        scale = float(numbers.std())
        return float(numbers.mean()), scale if scale > 0 else 1.0
    frequent = present.astype(object).value_counts().index[:MOST_LEVELS]
    return [level for level in levels_of(column) if level in set(frequent)][1:]
