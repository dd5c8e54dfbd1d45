"""How much of y columns explain: alone, beside one other, and in finer bins.

Columns are cut into bins, and y is averaged within these: no shape of a relation is
taken for granted. Averages of noise differ too; what they would differ by is taken off.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2, f

from .encoding import row_chunks, weighted_quantiles

# Columns of numbers are cut into so many bins of equal weight.
BINS = 16
# Standard deviations by which a share must exceed noise's to count at all.
ERRORS = 2.0
# Two columns are cut more coarsely, since the bins of both are crossed. Codes of more
# levels than that are asked alone only.
BINS_OF_TWO, MOST_LEVELS = 4, 16
# All pairs together take memory and time as the square of their bins.
MOST_BINS = 256
# How often a column of noise may seem to explain something beside any other one: as
# seldom as a normal variable exceeds `ERRORS`.
CHANCE = 0.023


def explained_alone(
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
    pulls, total = _centred(pulls, weight)
    found = np.zeros(table.shape[1])
    if not 0.0 < total < np.inf:
        return found
    n = number_of_rows(weight)
    for j, (column, is_code) in enumerate(zip(table.T, coded, strict=True)):
        bins = column.astype(np.intp) if is_code else _bins(column, weight, BINS)
        between, filled = _between(bins, pulls, weight)
        more = filled - 1
        noise = (more + ERRORS * np.sqrt(2.0 * more)) / n
        if more:
            found[j] = max(0.0, between / total - noise)
    return found


def explained_beside_another(
    table: np.ndarray, pulls: np.ndarray, weight: np.ndarray, coded: np.ndarray
) -> np.ndarray:
    """Share that a column adds to that of another, less noise's, (columns,).

    Parameters
    ----------
    table, pulls, weight, coded
        As for `explained_alone`.

    Returns
    -------
    ndarray of shape (columns,)
        The most that it adds to any other column; zero for all of more columns than
        `MOST_BINS` have room for.

    Notes
    -----
    Noise that cuts the q bins of another column into r adds a chi-squared variable with
    r - q degrees of freedom, divided by n. What is taken off is its quantile at
    `CHANCE` over the number of partners (Bonferroni).

    Examples
    --------
    Of a product, neither column explains anything alone:

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1000, 3))
    >>> y, rows = (x[:, 0] * x[:, 1])[:, None], np.ones(1000)
    >>> bool(explained_alone(x, y, rows, np.zeros(3, bool)).max() < 0.05)
    True
    >>> (explained_beside_another(x, y, rows, np.zeros(3, bool)) > 0.3).tolist()
    [True, True, False]
    """
    pulls, total = _centred(pulls, weight)
    cut, bins = _crossable(table, weight, coded)
    if len(cut) < 2 or not 0.0 < total < np.inf:
        return np.zeros(table.shape[1])
    between, filled = _crossed(bins, pulls, weight)
    more = filled - np.diag(filled)  # bins of two columns less those of the second
    np.fill_diagonal(more, 0)
    quantile = chi2.isf(CHANCE / (len(cut) - 1), np.maximum(more, 1))
    noise = quantile / number_of_rows(weight)
    added = (between - np.diag(between)) / total - noise
    found = np.zeros(table.shape[1])
    found[cut] = np.where(more > 0, added, 0.0).max(axis=1).clip(min=0.0)
    return found


def explained_between(
    table: np.ndarray,
    pulls: np.ndarray,
    weight: np.ndarray,
    n: float,
    counts: tuple[int, int],
    chance: float,
) -> np.ndarray:
    """Share that a column's fine bins explain beyond its coarse ones, (columns,).

    Parameters
    ----------
    table, pulls, weight
        As for `explained_alone`, without codes.
    n : float
        Rows that the weights stand for.
    counts : tuple of two int
        Numbers of coarse bins, and of fine ones.
    chance : float
        Of seeing something in any column where there is nothing.

    Returns
    -------
    ndarray of shape (columns,)
        Less what noise explains on average; 0 where noise may explain as much, by the F
        test of the finer bins.
    """
    pulls, total = _centred(pulls, weight)
    found = np.zeros(table.shape[1])
    if not 0.0 < total < np.inf:
        return found
    for j, column in enumerate(table.T):
        (low, n_low), (high, n_high) = (
            _between(_bins(column, weight, count), pulls, weight) for count in counts
        )
        more, rest = n_high - n_low, n - n_high
        if more < 1 or rest < 1.0:
            continue
        quantile = f.isf(chance / len(found), more, rest)
        if (high - low) / more > quantile * (total - high) / rest:
            noise = more / (n - n_low) * (total - low)
            found[j] = (high - low - noise) / total
    return found


def _centred(pulls: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Return pulls about their mean, and the sum of their squares."""
    pulls = pulls - weight @ pulls / weight.sum()
    return pulls, float((weight @ np.square(pulls)).sum())


def _bins(column: np.ndarray, weight: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of bins of about equal weight, (n,)."""
    levels = np.arange(1, count) / count
    edges = np.unique(weighted_quantiles(column[:, None], weight, levels))
    return np.searchsorted(edges, column)


def _between(
    bins: np.ndarray, pulls: np.ndarray, weight: np.ndarray
) -> tuple[float, int]:
    """Sum of squares between a column's bins, and how many of these are filled."""
    sums = np.array([np.bincount(bins, weight * pull) for pull in pulls.T])
    weights = np.bincount(bins, weight)
    filled = weights > 0.0
    between = np.square(sums[:, filled]) / weights[filled]
    return float(between.sum()), int(filled.sum())


def _crossable(
    table: np.ndarray, weight: np.ndarray, coded: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return which columns have few bins, but more than one, and the bins' numbers."""
    cut, bins, size = [], [], 0
    for j, (column, is_code) in enumerate(zip(table.T, coded, strict=True)):
        raw = column if is_code else _bins(column, weight, BINS_OF_TWO)
        levels, own = np.unique(raw, return_inverse=True)
        if 1 < len(levels) <= MOST_LEVELS:
            cut.append(j)
            bins.append(own)
            size += len(levels)
        if size > MOST_BINS:
            return np.empty(0, dtype=int), []
    return np.array(cut, dtype=int), bins


def _crossed(
    bins: list[np.ndarray], pulls: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of squares between the bins of each two columns, and how many are filled.

    Returns
    -------
    between, filled : ndarray of shape (columns, columns)
        Those of single columns on the diagonal.
    """
    sizes = np.array([own.max() + 1 for own in bins])
    first = np.concatenate([[0], sizes.cumsum()[:-1]])
    weights = np.zeros((sizes.sum(), sizes.sum()))
    sums = np.zeros((pulls.shape[1], *weights.shape))
    for rows in row_chunks(len(weight), len(weights)):
        in_bin = np.zeros((len(weight[rows]), len(weights)))
        for own, start in zip(bins, first, strict=True):
            in_bin[np.arange(len(in_bin)), start + own[rows]] = 1.0
        weights += in_bin.T @ (in_bin * weight[rows, None])
        for k, pull in enumerate(pulls[rows].T):
            sums[k] += in_bin.T @ (in_bin * (weight[rows] * pull)[:, None])

    def by_column(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(values, first, axis=0), first, axis=1)

    filled = weights > 0.0
    squares = np.square(sums).sum(axis=0)
    between = np.divide(squares, weights, where=filled, out=np.zeros_like(weights))
    return by_column(between), by_column(filled.astype(float))


def number_of_rows(weight: np.ndarray) -> float:
    """Rows of equal weight that would tell as much (Kish 1965)."""
    return float(weight.sum() ** 2 / np.square(weight).sum())
