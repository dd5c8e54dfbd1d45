"""Quantities, computed: their averages over rows, and how these feel the parameters.

Derivatives are analytic within the network. Across transformers a slope is a central
difference of the transformed row, which the network then takes as a direction:
``df/dx = f'(z) dz/dx``. Everything runs over a few rows at a time, in float64.

Letters: n rows, b rows of a chunk, Q quantities, G groups to average over, m outputs,
P parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .columns import Table, as_numbers
from .folded import FoldedAny, FoldedNetwork
from .functions import AnyFunction, Moves, NetworkFunction, output_labels
from .moved_rows import MovedRows, dear
from .moves import ends
from .quantities import Quantity
from .reading import Reading

# Numbers that a chunk of transformed rows may hold: 16 MB. In smaller ones, what is
# done once for each chunk, network and column takes longer than the rows do.
CHUNK_NUMBERS = 2**21
# Rows that are transformed at once when levels are looked at together.
STACKED_ROWS = 2**15
MOST_ROWS = 2**14

Function = NetworkFunction | AnyFunction | FoldedNetwork | FoldedAny
Smooth = NetworkFunction | FoldedNetwork


@dataclass(frozen=True, slots=True, eq=False)
class Averaging:
    """Rows to average over, and how.

    Attributes
    ----------
    table : Table
        n raw rows.
    weight : ndarray of shape (n, G)
        Share of each row in each group's average; columns sum to one.
    """

    table: Table
    weight: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Averages:
    """Quantities averaged over rows.

    Attributes
    ----------
    values : ndarray of shape (Q, G, m)
    jacobian : ndarray of shape (Q, G, m, P) or None
        Derivatives in the parameters.
    rows : ndarray of shape (Q, n, m) or None
        The quantities row by row, nan where a row has none.
    missing : ndarray of int of shape (Q,)
        Rows without it.
    """

    values: np.ndarray
    jacobian: np.ndarray | None
    rows: np.ndarray | None
    missing: np.ndarray


def averages(
    reading: Reading,
    function: Function,
    quantities: Sequence[Quantity],
    over: Averaging,
    *,
    with_jacobian: bool = False,
    with_rows: bool = False,
) -> Averages:
    """Average quantities over rows.

    A quantity's rows are those where its column is not missing; their shares are
    scaled to one again. A quantity that does not exist is nan.
    """
    n, m = len(over.table), len(output_labels(reading)[1])
    if isinstance(function, FoldedNetwork | FoldedAny):
        m *= 2  # copies, and the estimator that they are copies of
    Q, G = len(quantities), over.weight.shape[1]
    theta = function.theta.detach().clone().requires_grad_(with_jacobian)
    values = np.zeros((Q, G, m))
    jacobian = np.zeros((Q, G, m, len(theta))) if with_jacobian else None
    rows = np.full((Q, n, m), np.nan) if with_rows else None
    shares = [present(quantity, over) for quantity in quantities]
    for part in _chunks(n, reading):
        spot = Spot(reading, function.among(part), theta, over.table.take(part))
        spot.prepare([p for p in quantities if not p.absent])
        for q, (quantity, (here, share)) in enumerate(
            zip(quantities, shares, strict=True)
        ):
            if quantity.absent or not here[part].any():
                continue
            own = spot if here[part].all() else spot.among(here[part])
            weight = torch.from_numpy(share[part][here[part]])
            value = own.quantity(quantity)
            values[q] += (weight.T @ value.detach()).numpy()
            if rows is not None:
                rows[q, part][here[part]] = value.detach().numpy()
            if jacobian is not None:
                jacobian[q] += by_number(weight, value, theta)
    absent = [bool(quantity.absent) for quantity in quantities]
    values[absent] = np.nan
    missing = np.array([n - int(here.sum()) for here, _ in shares])
    return Averages(values, jacobian, rows, np.where(absent, 0, missing))


def present(quantity: Quantity, over: Averaging) -> tuple[np.ndarray, np.ndarray]:
    """Tell which rows have a quantity, (n,) of bool, and their shares (n, G)."""
    if quantity.column is None or quantity.kind == "prediction":
        return np.ones(len(over.table), dtype=bool), over.weight
    here = over.table.column(quantity.column).notna().to_numpy()
    if here.all():
        return here, over.weight
    share = over.weight * here[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return here, share / share.sum(axis=0)


def _chunks(n: int, reading: Reading) -> Iterator[slice]:
    widest = 1 if reading.model is None else reading.model.architecture.widest
    step = int(np.clip(CHUNK_NUMBERS // widest, 16, MOST_ROWS))
    return (slice(a, min(a + step, n)) for a in range(0, n, step))


def by_number(weight: Tensor, value: Tensor, theta: Tensor) -> np.ndarray:
    """Differentiate ``weight' value``, (G, m), in the parameters: (G, m, P)."""
    with torch.enable_grad():
        sums = weight.T @ value
    rows = [
        torch.autograd.grad(number, theta, retain_graph=True, materialize_grads=True)[0]
        for number in sums.reshape(-1)
    ]
    return torch.stack(rows).view(*sums.shape, len(theta)).numpy()


class Spot:
    """Some rows, and what several quantities need to know of them, found once.

    Parameters
    ----------
    reading : Reading
    function : Function
    theta : Tensor of shape (P,)
        Where values are taken; with gradient, if derivatives are wanted.
    rows : Table
        b raw rows.
    """

    def __init__(
        self, reading: Reading, function: Function, theta: Tensor, rows: Table
    ) -> None:
        self.reading, self.function = reading, function
        self.theta, self.rows = theta, rows
        self._kept: dict[Any, Tensor] = {}

    def among(self, chosen: np.ndarray) -> Spot:
        """Take some of the rows, by a mask (b,)."""
        rows = self.rows.take(np.flatnonzero(chosen))
        some = Spot(self.reading, self.function.among(chosen), self.theta, rows)
        place = torch.tensor(chosen)
        some._kept = {key: found[place] for key, found in self._kept.items()}
        return some

    def prepare(self, quantities: Sequence[Quantity]) -> None:
        """Look at all levels of a column at once, where calls are dear.

        Only where no derivatives are wanted, which would hold all of it in memory.
        """
        if not dear(self.reading, self.rows) or self.theta.requires_grad:
            return
        levels: dict[int, dict[Any, None]] = {}
        for quantity in quantities:
            if quantity.kind == "levels" and quantity.column is not None:
                known = levels.setdefault(quantity.column, {})
                known |= dict.fromkeys((quantity.low, quantity.high))
        for j, known in levels.items():
            self._look(j, list(known))

    def _look(self, j: int, levels: list[Any]) -> None:
        """Keep the predictions at each of some levels."""
        several = max(STACKED_ROWS // max(len(self.rows), 1), 1)
        for start in range(0, len(levels), several):
            some = levels[start : start + several]
            found = self._values(j, some)
            self._kept |= {
                (j, level): one for level, one in zip(some, found, strict=True)
            }

    def quantity(self, quantity: Quantity) -> Tensor:
        """Return a quantity of each row, (b, m)."""
        with torch.set_grad_enabled(self.theta.requires_grad):
            if quantity.kind == "slope":
                return self._slope(quantity)
            if quantity.kind == "prediction":
                return self._at(quantity, quantity.high)
            if quantity.kind == "shift":
                return self._shift(quantity)
            high = self._at(quantity, quantity.high)
            low = self._at(quantity, quantity.low, keep=True)
            if quantity.scale == "eydx":
                return high.log() - low.log()
            return high - low

    def _at(self, quantity: Quantity, value: Any, keep: bool = False) -> Tensor:
        """Predictions with the column set to a level; a reference level's are kept."""
        if quantity.column is None:
            return self._here
        key = (quantity.column, value)
        if key in self._kept:
            return self._kept[key]
        (found,) = self._values(quantity.column, [value])
        if keep:
            self._kept[key] = found
        return found

    def _shift(self, quantity: Quantity) -> Tensor:
        assert quantity.column is not None
        j = quantity.column
        low, high, unit = ends(quantity, as_numbers(self.rows.column(j)))
        below, above = self._values(j, [low, high])
        return (above - below) * torch.from_numpy(unit)[:, None]

    def _slope(self, quantity: Quantity) -> Tensor:
        assert quantity.column is not None
        value, slope = self._derivative(quantity)
        x = torch.from_numpy(as_numbers(self.rows.column(quantity.column)))[:, None]
        if quantity.scale.startswith("ey"):
            slope = slope / value
        return slope * x if quantity.scale.endswith("ex") else slope

    def _derivative(self, quantity: Quantity) -> tuple[Tensor, Tensor]:
        """Predictions and their derivatives in the raw column, (b, m) both."""
        if self.function.by_difference:
            low, high, width = _stepped(quantity, self.rows)
            below, above = self._values(quantity.column, [low, high])
            return self._here, (above - below) / width
        value, slopes = self._slopes
        if not self.reading.transformers:
            return value, slopes[:, :, quantity.column]
        columns, direction = self._direction(quantity)
        return value, torch.einsum("bmc,bc->bm", slopes[:, :, columns], direction)

    @cached_property
    def _slopes(self) -> tuple[Tensor, Tensor]:
        """Predictions (b, m), and their derivatives in the inputs, (b, m, d)."""
        assert isinstance(self.function, Smooth)
        z = self._moved.z.detach()
        bent = self.function.bend(z)
        again = self.theta.requires_grad
        with torch.enable_grad():
            z.requires_grad_()
            # Each kind of function takes its own kind of bend.
            value = self.function(self.theta, z, bent)  # type: ignore[arg-type]
            slopes = [
                torch.autograd.grad(
                    column.sum(), z, create_graph=again, retain_graph=True
                )[0]
                for column in value.unbind(1)
            ]
        slope = torch.stack(slopes, dim=1)
        return (value, slope) if again else (value.detach(), slope)

    def _direction(self, quantity: Quantity) -> tuple[list[int], Tensor]:
        """``dz/dx``: which inputs move with a raw column, and how far, (b, c)."""
        try:
            return self._difference(quantity)
        except ValueError:
            # Some transformers refuse what lies outside the rows of the fit.
            return self._difference(quantity, inside=True)

    def _difference(
        self, quantity: Quantity, inside: bool = False
    ) -> tuple[list[int], Tensor]:
        assert quantity.column is not None
        low, high, width = _stepped(quantity, self.rows, inside)
        columns, change = self._moved.change(quantity.column, low, high)
        return columns, change / width

    @cached_property
    def _moved(self) -> MovedRows:
        return MovedRows(self.reading, self.rows)

    @cached_property
    def _here(self) -> Tensor:
        """Predictions for the rows as they are, (b, m)."""
        (found,) = self._values(None, [None])
        return found

    def _values(self, j: int | None, values: Sequence[Any]) -> Sequence[Tensor]:
        """Predictions (b, m) for each of some values of a column."""
        if not self.theta.requires_grad:
            return self._near(j, values).unbind(0)
        assert isinstance(self.function, NetworkFunction | AnyFunction)
        tables = self._moved.tables(j, values)
        found = [self.function.at(self.reading, each)(self.theta) for each in tables]
        return torch.cat(found).split(len(self.rows))

    @cached_property
    def _near(self) -> Moves:
        return self.function.near(self._moved)


def _stepped(
    quantity: Quantity, rows: Table, inside: bool = False
) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Take rows a step down and a step up, (b,); how far these are apart, (b, 1)."""
    assert quantity.column is not None
    x = as_numbers(rows.column(quantity.column))
    low, high = x - quantity.step, x + quantity.step
    if inside:
        low = np.maximum(low, np.minimum(quantity.limits[0], x))
        high = np.minimum(high, np.maximum(quantity.limits[1], x))
    # The step as it was taken, which rounding may have changed.
    return low, high, torch.from_numpy(high - low)[:, None]
