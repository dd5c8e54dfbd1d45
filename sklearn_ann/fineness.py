"""Which columns of numbers need fine ramps: where neighbouring values differ in y.

Codes of occupations, numbers of firms, distances that only one route has: some numbers
name something. 32 bins of such a column lump together what belongs apart. Most columns
are no worse for it, and a finer embedding overfits; so a column has fine ramps only
where fine bins explain more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .assembly import Rows
from .encoding import Target, target_table, thinned
from .explained import explained_between
from .linear_starts import rows_stood_for
from .model import Units
from .relevance import pulls_of_constant

# Bins of the question, not of the ramps.
COARSE, FINE = 32, 256
# How often noise may seem to need fine ramps, in any of the columns.
CHANCE = 0.0023
# Share of y's variance that is worth four times the ramps.
LEAST_SHARE = 0.03


def fine_columns(rows: Rows, units: Units, target: Target) -> tuple[int, ...]:
    """Find the columns of numbers, in the network's order, that need fine ramps.

    Parameters
    ----------
    rows : Rows
        Those that scales are learned from: an ensemble's members have one architecture.
    units : Units
    target : Target

    Notes
    -----
    A column has them where the bins of 256 explain more of the variance than those of
    32 do, by more than noise would with probability .0023 in any column, and by .03 of
    the variance at least, noise's share taken off.
    """
    some = thinned(len(rows.index))
    index = rows.index[some]
    weight = np.ones(len(index)) if rows.weight is None else rows.weight[index]
    n = rows_stood_for(weight)  # a row of weight 2 is the row twice
    weight = weight / weight.max()
    y = target_table(rows.y[index], units.targets, target.loss, torch.float64)
    pulls = pulls_of_constant(y, weight, target.loss)
    table = _numbers(rows.X[index], units)
    more = explained_between(table, pulls, weight, n, (COARSE, FINE), CHANCE)
    return tuple(np.flatnonzero(more > LEAST_SHARE).tolist())


def _numbers(X: Any, units: Units) -> np.ndarray:
    if units.design is None:
        return np.asarray(X)
    return units.design.compact(X)[:, : len(units.design.numbers)]
