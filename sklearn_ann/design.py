"""From numbers and codes to what a network sees: gaps filled, numbers scaled, levels.

A design is learned from the rows that are trained on, by their weights: a row of weight
2 is the same as the row twice. Where it is no more than a change of units there is no
design at all: units are folded into the weights instead.

Letters: n rows, d raw columns, p of them numbers, q numbers that have gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from .encoding import (
    Scaling,
    row_chunks,
    thinned,
    weighted_quantiles,
    weighted_scaling,
)
from .engine.expansion import Expansion
from .tails import clip_pays

# A soft clip leaves the middle of a column as it is, and ends at this many units.
CLIP = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """What the codes of one raw column become.

    Attributes
    ----------
    column : int
        Its place in the raw table.
    codes : ndarray of int of shape (raw levels + 1,)
        Code in the design for each raw code, and last for a gap; 0 stands for none.
    """

    column: int
    codes: np.ndarray

    @property
    def count(self) -> int:
        """Levels beside none."""
        return int(self.codes.max(initial=0))

    @property
    def of_lookup(self) -> Levels:
        """The same with code 0 for gaps, which are as unknown as what came later."""
        other = self.codes[-1]
        return Levels(self.column, np.where(self.codes == other, 0, self.codes))

    def names(self, column: str, levels: np.ndarray) -> list[str]:
        """Names of the levels 1, 2, ...; that of gaps is nan."""
        found = [f"{column}_nan"] * self.count
        for code, level in zip(self.codes[:-1], levels, strict=False):
            if code and code != self.codes[-1]:
                found[code - 1] = f"{column}_{level}"
        return found

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Codes in the design, (b,), of some raw rows."""
        other = len(self.codes) - 1  # of gaps, and of levels that came later
        raw = np.nan_to_num(X[:, self.column], nan=other).astype(np.intp)
        return self.codes[np.minimum(raw, other)]


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """How raw columns become the network's.

    In this order: numbers, filled, scaled and perhaps clipped; a column of ones and
    zeros for each number that had gaps; one-hot columns for each column of categories;
    last the codes of categories with many levels.

    Attributes
    ----------
    numbers : ndarray of int of shape (p,)
        Raw columns of numbers.
    scaling : Scaling or None
        Of the numbers.
    clip : float or None
        Where the soft clip ends, if there is one.
    fill : ndarray of shape (p,)
        What stands for a missing number, in raw units.
    gaps : ndarray of int of shape (q,)
        Which of the numbers have a column that says where they were missing.
    one_hot, lookups : tuple of Levels
        Columns of categories: as one-hot columns; as codes, which the network turns
        into numbers that it learns.
    """

    numbers: np.ndarray
    scaling: Scaling | None
    clip: float | None
    fill: np.ndarray
    gaps: np.ndarray
    one_hot: tuple[Levels, ...] = ()
    lookups: tuple[Levels, ...] = ()
    expansion: Expansion | None = field(init=False)

    def __post_init__(self) -> None:
        found = None
        if self.one_hot:
            plain = len(self.numbers) + len(self.gaps)
            found = Expansion(plain, tuple(each.count for each in self.one_hot))
        object.__setattr__(self, "expansion", found)

    @property
    def n_inputs(self) -> int:
        """Columns that the network sees."""
        plain = len(self.numbers) + len(self.gaps)
        return plain + sum(each.count for each in self.one_hot) + len(self.lookups)

    @property
    def origins(self) -> np.ndarray:
        """Raw column that each column of a compact table comes from, (columns,)."""
        coded = [own.column for own in (*self.one_hot, *self.lookups)]
        own = (self.numbers, self.numbers[self.gaps], np.array(coded, dtype=np.intp))
        return np.concatenate(own).astype(np.intp)

    @property
    def last_units(self) -> Scaling | None:
        """Change of units that it ends with, of all columns; None where it clips."""
        if self.scaling is None or self.clip is not None:
            return None
        mean, scale = np.zeros(self.n_inputs), np.ones(self.n_inputs)
        mean[: len(self.numbers)] = self.scaling.mean
        scale[: len(self.numbers)] = self.scaling.scale
        return Scaling(mean, scale)

    @property
    def unscaled(self) -> Design:
        """The same without `last_units`."""
        return self if self.last_units is None else replace(self, scaling=None)

    def names(self, raw: Sequence[str], levels: Sequence[np.ndarray]) -> list[str]:
        """Names of the network's columns, as scikit-learn's encoders would say.

        Parameters
        ----------
        raw : sequence of d str
        levels : sequence of ndarray
            Raw levels of each column of categories.
        """
        names = [raw[j] for j in self.numbers]
        names += [f"missingindicator_{names[i]}" for i in self.gaps]
        coded = sorted((*self.one_hot, *self.lookups), key=lambda own: own.column)
        of_column = {own.column: i for i, own in enumerate(coded)}
        for own in self.one_hot:
            names += own.names(raw[own.column], levels[of_column[own.column]])
        return names + [raw[own.column] for own in self.lookups]

    def compact(self, X: np.ndarray) -> np.ndarray:
        """Rows (b, d) with levels as codes still, (b, p + q + code columns)."""
        part = X[:, self.numbers].astype(np.float64, copy=False)
        missing = np.isnan(part)
        z = np.where(missing, self.fill, part)
        if self.scaling is not None:
            z = (z - self.scaling.mean) / self.scaling.scale
        if self.clip is not None:
            z = soft_clip(z, self.clip)
        codes = [own(X)[:, None] for own in (*self.one_hot, *self.lookups)]
        return np.hstack([z, missing[:, self.gaps], *codes])

    def table(self, X: np.ndarray | sp.csr_array, dtype: torch.dtype) -> torch.Tensor:
        """Return rows (n, d) as the engine takes them: compact, with a constant.

        Rows that validate, or go on with a dense table's network, may be sparse.
        """
        n, columns = X.shape[0], len(self.numbers) + len(self.gaps)
        columns += len(self.one_hot) + len(self.lookups)
        table = torch.empty((n, columns + 1), dtype=dtype)
        view = table.numpy()
        view[:, columns] = 1.0
        for chunk in row_chunks(n, max(columns, X.shape[1])):
            with np.errstate(over="ignore"):  # then training is not finite
                view[chunk, :columns] = self.compact(dense(X[chunk]))
        return table

    def matrix(self, X: np.ndarray) -> np.ndarray:
        """Return rows (b, d) as the network sees them, (b, n_inputs), float64."""
        found = self.compact(X)
        if self.expansion is None:
            return found
        return self.expansion(torch.from_numpy(found)).numpy()


def dense(X: Any) -> np.ndarray:
    """Return a few rows as an array."""
    return X.toarray() if sp.issparse(X) else X


def soft_clip(z: np.ndarray, end: float) -> np.ndarray:
    """``z / sqrt(1 + (z / end)^2)``: z itself near 0, and never beyond +-end.

    References
    ----------
    Holzmüller, D., Grinsztajn, L. and Steinwart, I. (2024). Better by Default: Strong
    Pre-Tuned MLPs and Boosted Trees on Tabular Data. https://arxiv.org/abs/2407.04491
    """
    return z / np.hypot(1.0, z / end)  # hypot, since squares of 1e200 are infinite


def learn_design(
    X: np.ndarray,
    rows: np.ndarray,
    weight: np.ndarray | None,
    is_categorical: np.ndarray | None,
    standardize: bool | str,
    most_one_hot: float = np.inf,
    pulls: np.ndarray | None = None,
) -> Design:
    """Learn a design from the rows that are trained on.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Numbers and codes; gaps are NaN.
    rows : ndarray of int of shape (r,)
        Those that are trained on.
    weight : ndarray of shape (r,) or None
        Their weights.
    is_categorical : ndarray of bool of shape (d,) or None
    standardize : bool, "standard" or "robust"
    most_one_hot : float, default=inf
        Columns of more levels than this stay codes, for the network to look up.
    pulls : ndarray of shape (r, m) or None
        Where the rows pull the best constant: robustly scaled numbers are clipped if
        that pays (`clip_pays`) in a linear model of it. None for always.
    """
    coded = np.zeros(X.shape[1], bool) if is_categorical is None else is_categorical
    numbers = np.flatnonzero(~coded)
    units = [_unit(X[rows, j], weight, standardize) for j in numbers]
    mean, scale, fill, has_gaps = np.array(units, dtype=np.float64).reshape(-1, 4).T
    codes = [_levels(j, X[rows, j]) for j in np.flatnonzero(coded).tolist()]
    many = [own.count > most_one_hot for own in codes]
    design = Design(
        numbers,
        Scaling(mean.copy(), scale.copy()) if standardize else None,
        CLIP if standardize == "robust" else None,
        fill.copy(),
        np.flatnonzero(has_gaps),
        tuple(own for own, out in zip(codes, many, strict=True) if not out),
        tuple(own.of_lookup for own, out in zip(codes, many, strict=True) if out),
    )
    if design.clip is None or pulls is None:
        return design
    some = thinned(len(rows))
    own = None if weight is None else weight[some]
    return _clipped_where_it_pays(design, X[rows[some]], pulls[some], own)


def _clipped_where_it_pays(
    design: Design, X: np.ndarray, pulls: np.ndarray, weight: np.ndarray | None
) -> Design:
    """Take the clip away unless a linear model is better with it."""
    numbers = slice(len(design.numbers))
    plain = replace(design, clip=None)
    z, clipped = (each.compact(X)[:, numbers] for each in (plain, design))
    return design if clip_pays(z, clipped, pulls, weight) else plain


def _unit(
    column: np.ndarray, weight: np.ndarray | None, standardize: bool | str
) -> tuple[float, float, float, bool]:
    """Centre, scale, and fill of one column of numbers, and whether it has gaps."""
    missing = np.isnan(column)
    has_gaps = bool(missing.any())
    present = column[~missing].astype(np.float64)
    w = weight if weight is None or not has_gaps else weight[~missing]
    if not len(present):
        return 0.0, 1.0, 0.0, True
    if standardize == "robust":
        centre, scale = robust_scale(present, w)
        return centre, scale, centre, has_gaps
    found = weighted_scaling(present[:, None], np.arange(len(present)), w)
    mean, scale = float(found.mean[0]), float(found.scale[0])
    fill = float(_quantiles(present, w, 0.5)[0]) if has_gaps else mean
    return mean, scale, fill, has_gaps


def robust_scale(x: np.ndarray, weight: np.ndarray | None) -> tuple[float, float]:
    """Median and interquartile range of a column (n,), weighted.

    Where more than half of the column is one value, half its range takes the place of
    the interquartile range; a constant column has scale 1.
    """
    low, centre, high = _quantiles(x, weight, 0.25, 0.5, 0.75)
    least, most = x.min(), x.max()
    reach = most - least
    if reach <= 10 * np.finfo(float).eps * max(abs(least), abs(most)):
        return float(centre), 1.0
    spread = high - low
    if spread <= 10 * np.finfo(float).eps * max(abs(low), abs(high)):
        spread = 0.5 * reach
    return float(centre), float(spread)


def _quantiles(x: np.ndarray, weight: np.ndarray | None, *levels: float) -> np.ndarray:
    return weighted_quantiles(x[:, None], weight, np.array(levels))[:, 0]


def _levels(j: int, column: np.ndarray) -> Levels:
    """Give the levels that occur numbers from 1, gaps the last if there are any."""
    missing = np.isnan(column)
    present = np.unique(column[~missing]).astype(np.intp)
    other = len(present) + 1 if missing.any() else 0
    # Raw codes beyond the last that occurs do not occur either.
    codes = np.full(present.max(initial=-1) + 2, other)
    codes[present] = np.arange(1, len(present) + 1)
    return Levels(j, codes)
