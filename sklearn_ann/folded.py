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
    inputs: ClassVar[None] = None

    @property
    def theta(self) -> Tensor:
        """No parameters, (0,)."""
        return torch.zeros(0, dtype=torch.float64)

    def among(self, rows: slice | np.ndarray) -> FoldedNetwork:
        """Take some of the rows."""
        return replace(self, folds=self.folds[rows])

    def scaled(self, Z: object) -> Tensor:
        """Take transformed rows to float64, (b, d)."""
        return self.own.scaled(Z)

    def bend(self, z: Tensor) -> list[Bend | None]:
        """Expand the target's inverse transformation for each of them."""
        places = [torch.from_numpy(place) for place in self._places(len(z))]
        own = [
            each.bend(z[place]) if len(place) else None
            for each, place in zip(self.copies, places, strict=True)
        ]
        return [*own, self.own.bend(z)]

    def __call__(self, theta: Tensor, z: Tensor, bent: list[Bend | None]) -> Tensor:
        """Predictions, (b, 2 m)."""
        own = self.own(self.own.theta, z, bent[-1])
        found = torch.zeros_like(own)
        places = self._places(len(z))
        for each, place, one in zip(self.copies, places, bent, strict=False):
            if len(place):
                at = torch.from_numpy(place)
                found = found.index_put((at,), each(each.theta, z[at], one))
        return torch.cat([found, own], dim=1)

    def near(self, reading: Reading, rows: Table) -> Moves:
        """Predictions for raw rows that are moved."""
        z = self.scaled(reading.transform(rows.native))
        own, places = self.own.around(z), self._places(len(z))
        copies = [
            each.around(z[place])
            for each, place in zip(self.copies, places, strict=True)
        ]

        def found(moved: Table) -> Tensor:
            at = self.scaled(reading.transform(moved.native))
            return joined(
                own(at),
                [
                    (copy, at[several], several)
                    for copy, several in zip(copies, self._places(len(at)), strict=True)
                ],
            )

        return found

    def _places(self, n: int) -> list[np.ndarray]:
        return places_of(self.folds, len(self.copies), n)


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

    def near(self, reading: Reading, rows: Table) -> Moves:
        """Predictions for raw rows that are moved."""
        rows, K = self.entrance(rows), len(self.copies)
        own = self.own[1].near(self.own[0], rows)
        copies = [
            function.near(copy, rows.take(place))
            for (copy, function), place in zip(
                self.copies, places_of(self.folds, K, len(rows)), strict=True
            )
        ]

        def found(moved: Table) -> Tensor:
            moved, places = self.entrance(moved), places_of(self.folds, K, len(moved))
            return joined(
                own(moved),
                [
                    (copy, moved.take(several), several)
                    for copy, several in zip(copies, places, strict=True)
                ],
            )

        return found


def joined(own: Tensor, parts: Sequence[tuple[Any, Any, np.ndarray]]) -> Tensor:
    """Put the predictions of copies, each of its own rows, beside the own ones.

    Parameters
    ----------
    own : Tensor of shape (n, m)
    parts : sequence of (copy, rows, places of these among all)

    Returns
    -------
    Tensor of shape (n, 2 m)
    """
    found = torch.zeros_like(own)
    for copy, rows, place in parts:
        if len(place):
            found[torch.from_numpy(place)] = copy(rows)
    return torch.cat([found, own], dim=1)


def places_of(folds: np.ndarray, K: int, n: int) -> list[np.ndarray]:
    """Rows of each of K folds, where n rows are all of them, perhaps several times."""
    every = np.tile(folds, n // max(len(folds), 1))
    return [np.flatnonzero(every == k) for k in range(K)]


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
