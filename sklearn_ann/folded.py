"""Copies that have not seen a row, and the estimator itself, as one function of rows.

Each row's prediction is that of its fold's copy; beside it stands the estimator's own.
Rows are then moved and transformed once for all of them, which on tables with many
levels is most of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .columns import Table
from .functions import AnyFunction, Bend, Function, Moves, NetworkFunction
from .moved_rows import MovedRows
from .reading import DesignStep, Reading, behind_codes


@dataclass(frozen=True, slots=True, eq=False)
class FoldedNetwork:
    """Networks behind the same transformers; outputs of the copies, then the own ones.

    Attributes
    ----------
    own : NetworkFunction
    copies : sequence of K NetworkFunctions
    folds : ndarray of int of shape (b,)
        The copy of each row; rows of fold -1 are given zeros.
    """

    own: NetworkFunction
    copies: Sequence[NetworkFunction]
    folds: np.ndarray
    by_difference: ClassVar[bool] = False

    @property
    def theta(self) -> Tensor:
        """No parameters, (0,)."""
        return torch.zeros(0, dtype=torch.float64)

    def among(self, rows: slice | np.ndarray) -> FoldedNetwork:
        """Take some of the rows."""
        return replace(self, folds=self.folds[rows])

    def bend(self, z: Tensor) -> list[Bend | None]:
        """Expand the target's inverse transformation for each of them."""
        own = [
            each.bend(z[place]) if len(place) else None
            for each, place in zip(self.copies, self._places(), strict=True)
        ]
        return [*own, self.own.bend(z)]

    def __call__(self, theta: Tensor, z: Tensor, bent: list[Bend | None]) -> Tensor:
        """Predictions, (b, 2 m)."""
        own = self.own(self.own.theta, z, bent[-1])
        found = torch.zeros_like(own)
        for each, place, one in zip(self.copies, self._places(), bent, strict=False):
            if len(place):
                found = found.index_put((place,), each(each.theta, z[place], one))
        return torch.cat([found, own], dim=1)

    def near(self, rows: MovedRows) -> Moves:
        """Predictions for raw rows that are moved."""
        own = self.own.around(rows.z)
        copies = [
            (each.around(rows.z[place]), place)
            for each, place in zip(self.copies, self._places(), strict=True)
            if len(place)
        ]

        def found(j: int | None, values: Sequence[Any]) -> Tensor:
            move = rows(j, values)
            parts = [(copy(move.among(place)), place) for copy, place in copies]
            return joined(own(move), parts)

        return found

    def _places(self) -> list[Tensor]:
        return places_of(self.folds, len(self.copies))


@dataclass(frozen=True, slots=True, eq=False)
class FoldedAny:
    """Estimators of any kind, each with transformers of its own.

    Attributes
    ----------
    own : Reading and Function
    copies : sequence of K pairs of Reading and Function
    folds : ndarray of int of shape (b,)
    entrance : callable (Table) -> Table, default=None
        What becomes of raw rows before all of them, where that is the same.
    """

    own: tuple[Reading, Function]
    copies: Sequence[tuple[Reading, Function]]
    folds: np.ndarray
    entrance: Callable[[Table], Table] = lambda rows: rows
    by_difference: ClassVar[bool] = True

    @property
    def theta(self) -> Tensor:
        """No parameters, (0,)."""
        return torch.zeros(0, dtype=torch.float64)

    def among(self, rows: slice | np.ndarray) -> FoldedAny:
        """Take some of the rows."""
        return replace(self, folds=self.folds[rows])

    def near(self, rows: MovedRows) -> Moves:
        """Predictions for raw rows that are moved."""
        entered, b = self.entrance(rows.rows), len(rows.rows)
        own = self.own[1].beside(self.own[0], entered)
        copies = [
            (function.beside(copy, entered.take(place.numpy())), place)
            for (copy, function), place in zip(
                self.copies, places_of(self.folds, len(self.copies)), strict=True
            )
            if len(place)
        ]

        def one(moved: Table) -> Tensor:
            moved = self.entrance(moved)
            starts = torch.arange(0, len(moved), b)[:, None]
            return joined(
                own(moved),
                [
                    (copy(moved.take((starts + place).flatten().numpy())), place)
                    for copy, place in copies
                ],
            )

        return lambda j, values: torch.cat(
            [one(table) for table in rows.tables(j, values)]
        )


def joined(own: Tensor, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Put the predictions of copies, each of its own rows, beside the own ones.

    Parameters
    ----------
    own : Tensor of shape (L, b, m)
    parts : sequence of (predictions (L, r, m), places of their r rows among the b)

    Returns
    -------
    Tensor of shape (L, b, 2 m)
    """
    found = torch.zeros_like(own)
    for predicted, place in parts:
        found[:, place] = predicted
    return torch.cat([found, own], dim=2)


def places_of(folds: np.ndarray, K: int) -> list[Tensor]:
    """Rows of each of K folds."""
    return [torch.from_numpy(np.flatnonzero(folds == k)) for k in range(K)]


def folded(
    reading: Reading,
    function: Function,
    copies: Sequence[tuple[Reading, Function]],
    folds: np.ndarray,
    same_transformers: bool,
) -> FoldedNetwork | FoldedAny:
    """Join copies and the estimator that they are copies of."""
    functions = [each for _, each in copies]
    if not same_transformers or isinstance(function, AnyFunction):
        return FoldedAny((reading, function), copies, folds)
    readings = [each for each, _ in copies]
    if not any(map(_design_of, (reading, *readings))):
        networks = [each for each in functions if isinstance(each, NetworkFunction)]
        return FoldedNetwork(function, networks, folds)
    if not all(_codes_alike(reading, each) for each in readings):
        return FoldedAny((reading, function), copies, folds)
    own, *others = (behind_codes(each, reading.core) for each in (reading, *readings))
    pairs = list(zip(others, functions, strict=True))
    return FoldedAny((own, function), pairs, folds, partial(_coded, reading))


# ------------------------------------------------------ networks with designs within


def _design_of(reading: Reading) -> DesignStep | None:
    last = reading.transformers[-1] if reading.transformers else None
    return last if isinstance(last, DesignStep) else None


def _codes_alike(reading: Reading, copy: Reading) -> bool:
    """Whether a copy has a design, of the columns that the estimator has it of."""
    if _design_of(reading) is None or _design_of(copy) is None:
        return False
    own, other = reading.core._coding, copy.core._coding
    if own is None or other is None:
        return own is other
    return np.array_equal(own.is_categorical, other.is_categorical)


def _coded(reading: Reading, rows: Table) -> Table:
    """Take raw rows to what the network's design takes: numbers, and codes."""
    X = rows.native
    for transformer in reading.transformers[:-1]:
        X = transformer.transform(X)
    X = reading.core._checked_X(X)
    return Table(X.toarray() if sp.issparse(X) else X, rows.names)
