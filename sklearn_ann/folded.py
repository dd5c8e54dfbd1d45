"""Copies that have not seen a row, and the estimator itself, as one function of rows.

Each row's prediction is that of its fold's copy; beside it stands the estimator's own.
Rows are then moved and transformed once for all of them, which on tables with many
levels is most of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from .columns import Table
from .functions import AnyFunction, Bend, Function, NetworkFunction, Values
from .reading import Reading


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

    def at(self, reading: Reading, rows: Table) -> Values:
        """Predictions for raw rows, or several sets of them one below the other."""
        z = self.scaled(reading.transform(rows.native))
        bent = self.bend(z)
        return lambda theta: self(theta, z, bent)

    def _places(self, n: int) -> list[np.ndarray]:
        folds = np.tile(self.folds, n // max(len(self.folds), 1))
        return [np.flatnonzero(folds == k) for k in range(len(self.copies))]


@dataclass(frozen=True, slots=True, eq=False)
class FoldedAny:
    """Estimators of any kind, each with transformers of its own.

    Attributes
    ----------
    own : Function
    copies : sequence of K pairs of Reading and Function
    folds : ndarray of int of shape (b,)
    """

    own: Function
    copies: Sequence[tuple[Reading, Function]]
    folds: np.ndarray
    by_difference: ClassVar[bool] = True

    @property
    def theta(self) -> Tensor:
        """No parameters, (0,)."""
        return torch.zeros(0, dtype=torch.float64)

    def among(self, rows: slice | np.ndarray) -> FoldedAny:
        """Take some of the rows."""
        return replace(self, folds=self.folds[rows])

    def at(self, reading: Reading, rows: Table) -> Values:
        """Predictions for raw rows, or several sets of them one below the other."""
        own = self.own.at(reading, rows)(self.own.theta)
        found, folds = (
            torch.zeros_like(own),
            np.tile(self.folds, len(rows) // max(len(self.folds), 1)),
        )
        for k, (copy, function) in enumerate(self.copies):
            mine = np.flatnonzero(folds == k)
            if len(mine):
                found[mine] = function.at(copy, rows.take(mine))(function.theta)
        both = torch.cat([found, own], dim=1)
        return lambda theta: both


def folded(
    reading: Reading,
    function: Function,
    copies: Sequence[tuple[Reading, Function]],
    folds: np.ndarray,
    same_transformers: bool,
) -> FoldedNetwork | FoldedAny:
    """Join copies and the estimator that they are copies of."""
    functions = [each for _, each in copies]
    if same_transformers and not isinstance(function, AnyFunction):
        networks = [each for each in functions if isinstance(each, NetworkFunction)]
        return FoldedNetwork(function, networks, folds)
    return FoldedAny(function, copies, folds)
