"""Rows before and after one raw column moves, as transformers hand them on.

A move is what the columns that it changes become, and nothing else: a network then asks
for no more (`nearby`). It is found by sending moved rows through all transformers.
Where a ColumnTransformer is all that there is, only those of its parts run that take
the column; and where none of these takes another, a level is sent once, not once for
each row.

Letters: b rows, d transformed columns, L moves of all rows, c columns that they change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.compose import ColumnTransformer
from sklearn.utils import _safe_indexing
from torch import Tensor

from .columns import Table, stacked
from .design import dense
from .reading import DesignStep, Reading


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """What some transformed columns become, in each of L moves of all rows.

    Attributes
    ----------
    columns : list of c int
    values : Tensor of shape (L, b, c), or (L, 1, c) where all rows take the same
    """

    columns: list[int]
    values: Tensor

    @classmethod
    def between(cls, z: Tensor, moved: Tensor) -> Move:
        """See how rows (b, d) differ from moves of them, (L, b, d)."""
        differs = (moved != z).flatten(0, 1).any(0)
        columns = torch.nonzero(differs).flatten().tolist()
        values = moved[..., columns]
        alike = values.shape[1] > 1 and bool((values == values[:, :1]).all())
        return cls(columns, values[:, :1] if alike else values)

    def among(self, place: Tensor) -> Move:
        """Take some of the rows."""
        if self.values.shape[1] == 1:
            return self
        return replace(self, values=self.values[:, place])


def as_tensor(Z: Any) -> Tensor:
    """Copy transformed rows to float64, (b, d)."""
    return torch.from_numpy(np.array(dense(Z), np.float64, order="C"))


class MovedRows:
    """Some rows, and their moves.

    Parameters
    ----------
    reading : Reading
        Whose transformers they go through.
    rows : Table
        b raw rows.
    """

    def __init__(self, reading: Reading, rows: Table) -> None:
        self.reading, self.rows = reading, rows
        self._parts = parts_of(reading, rows)

    @cached_property
    def z(self) -> Tensor:
        """The rows as they are, (b, d)."""
        return self._through(self.rows)

    def __call__(self, j: int | None, values: Sequence[Any]) -> Move:
        """Put other values into a raw column.

        Parameters
        ----------
        j : int or None
            None for the rows as they are.
        values : sequence of L levels, or ndarrays of shape (b,)
        """
        if j is None:
            return Move([], self.z.new_zeros(len(values), 1, 0))
        move = self._by_parts(j, values)
        if move is not None:
            return move
        moved = [self._through(table) for table in self.tables(j, values)]
        return Move.between(self.z, torch.cat(moved).view(-1, *self.z.shape))

    def tables(self, j: int | None, values: Sequence[Any]) -> list[Table]:
        """Raw rows with other values in a column: a table for each, or one for all.

        One below the other where calls are dear.
        """
        rows = self.rows
        if j is None:
            return [rows for _ in values]
        if not dear(self.reading, rows):
            return [rows.with_column(j, value) for value in values]
        if all(np.ndim(value) == 0 for value in values):
            return [rows.with_levels(j, values)]
        return [stacked([rows.with_column(j, value) for value in values])]

    def change(
        self, j: int, low: np.ndarray, high: np.ndarray
    ) -> tuple[list[int], Tensor]:
        """See which columns change from values (b,) to others, and how far, (b, c)."""
        move = self(j, [low, high])
        below, above = move.values
        return move.columns, above - below

    def _through(self, table: Table) -> Tensor:
        return as_tensor(self.reading.transform(table.native))

    def _by_parts(self, j: int, values: Sequence[Any]) -> Move | None:
        """Ask those parts alone that take the column; None where that cannot be."""
        if self._parts is None:
            return None
        own = [part for part in self._parts if j in part.columns]
        blocks = [part.moved(self.rows, j, values) for part in own]
        columns = [c for part in own for c in range(part.place.start, part.place.stop)]
        b = max([block.shape[1] for block in blocks], default=1)
        wide = [np.broadcast_to(x, (len(x), b, x.shape[2])) for x in blocks]
        found = np.concatenate([np.zeros((len(values), b, 0)), *wide], axis=2)
        if found.shape[2] != len(columns) or not np.isfinite(found).all():
            return None  # whoever refuses that says so of whole rows
        if b == 1:
            return Move(columns, torch.from_numpy(found))
        move = Move.between(self.z[:, columns], torch.from_numpy(found))
        return replace(move, columns=[columns[c] for c in move.columns])


def dear(reading: Reading, rows: Table) -> bool:
    """Whether a call of transformers costs much, however few the rows."""
    return isinstance(rows.native, pd.DataFrame) and bool(reading.transformers)


# ------------------------------------------------------ parts of a ColumnTransformer


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A transformer of some columns within a ColumnTransformer.

    Attributes
    ----------
    transformer : transformer, or "passthrough"
    columns : list of int
        Raw columns that it takes.
    place : slice
        Transformed columns that it makes.
    single : bool
        Whether it takes its column as a Series.
    """

    transformer: Any
    columns: list[int]
    place: slice
    single: bool

    def moved(self, rows: Table, j: int, values: Sequence[Any]) -> np.ndarray:
        """Transform moved rows: (L, b, c), or (L, 1, c) if no other column counts.

        Parameters
        ----------
        j : int
            One of its columns.
        """
        levels = all(np.ndim(value) == 0 for value in values)
        if levels and self.columns == [j]:
            rows = rows.take(slice(0, 1))
        taken = rows.native.iloc[:, self.columns]
        table, place = Table(taken, tuple(taken)), self.columns.index(j)
        if levels:
            table = table.with_levels(place, values)
        else:
            table = stacked([table.with_column(place, value) for value in values])
        found = self._transformed(table.native)
        return found.reshape(len(values), len(rows), found.shape[1])

    def __call__(self, X: pd.DataFrame) -> np.ndarray:
        """Transform raw rows (n, columns) to its own columns, (n, c)."""
        return self._transformed(X.iloc[:, self.columns])

    def _transformed(self, X: pd.DataFrame) -> np.ndarray:
        found = X.iloc[:, 0] if self.single else X
        if self.transformer != "passthrough":
            found = self.transformer.transform(found)
        found = np.asarray(dense(found), dtype=np.float64)
        return found.reshape(len(X), -1)


def parts_of(reading: Reading, rows: Table) -> list[Part] | None:
    """List the parts of the ColumnTransformer that is all there is before a network.

    None where something else is, or the rows are no DataFrame of its columns.
    """
    step = _only_step(reading)
    X = rows.native
    if type(step) is not ColumnTransformer or not isinstance(X, pd.DataFrame):
        return None
    if step.transformer_weights or not np.array_equal(
        getattr(step, "feature_names_in_", []), X.columns
    ):
        return None
    numbers = pd.DataFrame([range(X.shape[1])], columns=X.columns)
    found = []
    for name, transformer, columns in step.transformers_:
        place = step.output_indices_[name]
        if place.stop > place.start:
            taken = _safe_indexing(numbers, columns, axis=1)
            own = np.ravel(taken).astype(int).tolist()
            found.append(Part(transformer, own, place, np.ndim(taken) == 1))
    return found


def _only_step(reading: Reading) -> Any:
    """Return the one transformer before a network, None if there are more, or none."""
    pipelines = reading.transformers
    if len(pipelines) != 1 or isinstance(pipelines[0], DesignStep):
        return None
    steps = [
        step for _, step in pipelines[0].steps if step not in (None, "passthrough")
    ]
    return steps[0] if len(steps) == 1 else None
