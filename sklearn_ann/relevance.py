"""How fast each column may enter the hidden layers: by how much of y it explains alone.

A first layer overfits columns without meaning as gladly as others. So each column's
way in starts, and learns, in proportion to what the column explains by itself beyond
what noise would: an irrelevant one has to earn its weight. What only shows beside other
columns (a product of two) still can, at a slower pace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .encoding import weighted_quantiles
from .engine.architecture import Architecture
from .engine.expansion import Expansion
from .engine.losses import Loss

# Columns of numbers are cut into so many bins of equal weight.
BINS = 16
# Standard deviations by which a share must exceed noise's to count at all.
ERRORS = 2.0
# Between the root, the effects' own sizes, under which small ones learn too slowly,
# and the fourth root, which hardly tells columns apart.
EXPONENT = 0.375
# Any column learns at this share of the rate, divided by the rows: an epoch's steps are
# as many as rows, so all of them lead as far. Of 50, products of columns were missed.
ROWS_AT_FULL_PACE = 100.0
LEAST_PACE = 0.01  # of many rows, which have fewer epochs and larger batches


@dataclass(frozen=True, slots=True)
class Paces:
    """Factors of columns.

    Attributes
    ----------
    start : ndarray of shape (columns,)
        Of the starting weights, 0 to 1.
    rate : ndarray of shape (columns,)
        Of the learning rates, `LEAST_PACE` to 1.
    """

    start: np.ndarray
    rate: np.ndarray

    def over_inputs(self, expansion: Expansion | None) -> Paces:
        """Give the one-hot columns of a column of codes its own factors."""
        if expansion is None:
            return self
        times = np.ones(len(self.start), dtype=int)
        first = expansion.plain
        times[first : first + len(expansion.levels)] = expansion.levels
        return Paces(np.repeat(self.start, times), np.repeat(self.rate, times))


def paces(explained: np.ndarray, n: float) -> Paces:
    """Turn shares that columns explain, less noise's, into factors.

    Parameters
    ----------
    explained : ndarray of shape (columns,)
        Of `explained_shares`.
    n : float
        Rows that they were found in.

    Notes
    -----
    ``start = (s / s_max)^(3/8)`` and ``rate = max(start, 100 / n)``, at most one. Where
    no column explains anything, all factors are one.

    Examples
    --------
    >>> import numpy as np
    >>> found = paces(np.array([0.4, 0.1, 0.0]), n=1000)
    >>> found.start.round(2).tolist(), found.rate.round(2).tolist()
    ([1.0, 0.59, 0.0], [1.0, 0.59, 0.1])
    """
    most = explained.max(initial=0.0)
    if not most > 0.0:
        return Paces(np.ones(len(explained)), np.ones(len(explained)))
    start = (explained / most) ** EXPONENT
    least = min(1.0, max(LEAST_PACE, ROWS_AT_FULL_PACE / n))
    return Paces(start, np.maximum(start, least))


def learned_paces(
    x: Tensor,
    y: Tensor,
    weight: np.ndarray | None,
    loss: Loss,
    architecture: Architecture,
    expansion: Expansion | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Learn from rows what multiplies a network's start and its learning rates.

    Parameters
    ----------
    x : Tensor of shape (n, columns + 1)
        Rows that are trained on, their codes not expanded, the constant last.
    y : Tensor of shape (n, my)
    weight : ndarray of shape (n,) or None
    loss : Loss
    architecture : Architecture
    expansion : Expansion or None

    Returns
    -------
    start, rate : ndarray of shape (P,)
        One at all parameters beside columns' ways into the first layer.
    """
    coded = np.zeros(x.shape[1] - 1, dtype=bool)
    if expansion is not None:
        coded[expansion.plain : expansion.plain + len(expansion.levels)] = True
    looked_up = architecture.n_inputs - architecture.n_plain
    coded[len(coded) - looked_up :] = True
    own = np.ones(len(x)) if weight is None else weight / weight.max()
    pulls = pulls_of_constant(y, own, loss)
    shares = explained_shares(x[:, :-1].numpy(), pulls, own, coded)
    found = paces(shares, _number(own)).over_inputs(expansion)
    return architecture.entering(found.start), architecture.entering(found.rate)


def explained_shares(
    table: np.ndarray, pulls: np.ndarray, weight: np.ndarray, coded: np.ndarray
) -> np.ndarray:
    """Share of the pulls' variance between a column's bins, less noise's, (columns,).

    Parameters
    ----------
    table : ndarray of shape (n, columns)
    pulls : ndarray of shape (n, m)
    weight : ndarray of shape (n,)
    coded : ndarray of bool of shape (columns,)
        Columns of codes, whose levels are the bins.

    Notes
    -----
    Noise that is cut into q bins explains (q - 1) / n on average, with a standard
    deviation of sqrt(2 (q - 1)) / n; the mean and `ERRORS` deviations are taken off.
    n is the number of rows, or Kish's for rows of unequal weight.
    """
    pulls = pulls - weight @ pulls / weight.sum()
    total = float((weight @ np.square(pulls)).sum())
    if not 0.0 < total < np.inf:
        return np.zeros(table.shape[1])
    n, found = _number(weight), []
    for column, is_code in zip(table.T, coded, strict=True):
        bins = column.astype(np.intp) if is_code else _bins(column, weight)
        sums = [np.bincount(bins, weight * pull) for pull in pulls.T]
        weights = np.bincount(bins, weight)
        filled = weights > 0.0
        between = np.square(np.array(sums)[:, filled]) / weights[filled]
        more = int(filled.sum()) - 1
        noise = (more + ERRORS * np.sqrt(2.0 * more)) / n
        share = float(between.sum()) / total - noise
        found.append(max(0.0, share) if more else 0.0)
    return np.array(found)


def _bins(column: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the numbers of bins of about equal weight, (n,)."""
    levels = np.arange(1, BINS) / BINS
    edges = np.unique(weighted_quantiles(column[:, None], weight, levels))
    return np.searchsorted(edges, column)


def pulls_of_constant(y: Tensor, weight: np.ndarray | None, loss: Loss) -> np.ndarray:
    """Return where each row pulls the raw outputs of the best constant, (n, m)."""
    own = None if weight is None else torch.from_numpy(weight)
    constant = loss.start(y, own)
    raw = constant.double().expand(len(y), -1).contiguous()
    y = y if loss.y_dtype == "int64" else y.double()
    return loss.gradient(raw, y, torch.empty_like(raw)).numpy()


def _number(weight: np.ndarray) -> float:
    """Rows of equal weight that would tell as much (Kish 1965)."""
    return float(weight.sum() ** 2 / np.square(weight).sum())
