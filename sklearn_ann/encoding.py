"""Between the user's tables and the engine's numbers: scaling, design tables, targets.

Everything is done in chunks of rows, so that a fit needs one copy of X, in the dtype
of training, and little else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils import gen_batches
from sklearn.utils.multiclass import type_of_target

from .arrays import sums_to_a_number
from .engine.losses import Loss, make_loss
from .engine.rows import SparseRows, power_of_two

# Numbers of X worked on at a time (8 MB in float64).
CHUNK_NUMBERS = 2**20
# Shares of weight that differ by less meet: sums in another order differ by rounding.
TIE = 1e-10


def row_chunks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Cut rows into slices of about `CHUNK_NUMBERS` numbers."""
    yield from gen_batches(n_rows, max(1, CHUNK_NUMBERS // max(1, n_columns)))


# What is learned of a table before training is read from so many rows at most: scales,
# penalties and paces hardly depend on more.
MOST_ROWS = 20_000


def thinned(n_rows: int) -> slice:
    """Take every so many of the rows, so that they are no more than `MOST_ROWS`."""
    return slice(None, None, -(-n_rows // MOST_ROWS))


@dataclass(frozen=True, slots=True)
class Scaling:
    """An affine change of units: scaled = (value - mean) / scale.

    Attributes
    ----------
    mean, scale : ndarray of shape (columns,), float64
    """

    mean: np.ndarray
    scale: np.ndarray


def weighted_scaling(
    table: np.ndarray | sp.csr_array, rows: np.ndarray, weight: np.ndarray | None
) -> Scaling:
    """Weighted mean and standard deviation of each column (ddof 0).

    Parameters
    ----------
    table : {ndarray, sparse array} of shape (n, columns)
    rows : ndarray of int, increasing
        Rows that count.
    weight : ndarray of shape (len(rows),) or None
        Their weights.

    Returns
    -------
    Scaling
        Constant columns have scale 1.

    Notes
    -----
    In two passes, the second in units of each column's reach from its mean: neither
    1e200 nor 1e-200 are a problem then, nor are they as weights, and a variance is
    never negative. (The weighted one of scikit-learn's scaler is, by rounding, for
    constant sparse columns.)
    """
    weight, total = shares_of_two(weight, len(rows))
    d = table.shape[1]
    sums, low, high = np.zeros(d), np.full(d, np.inf), np.full(d, -np.inf)
    for part, w in _weighted_parts(table, rows, weight):
        sums += w @ part
        low = np.minimum(low, _by_column(part.min(axis=0)))
        high = np.maximum(high, _by_column(part.max(axis=0)))
    mean = np.clip(sums / total, low, high)
    reach = np.maximum(high - mean, mean - low)
    # What varies by no more than rounding is constant.
    constant = reach <= 10 * np.finfo(float).eps * np.maximum(np.abs(low), np.abs(high))
    reach = np.where(constant, 1.0, reach)
    squares = np.zeros(d)
    for part, w in _weighted_parts(table, rows, weight):
        squares += _weighted_squares(part, w, mean, reach)
    scale = reach * np.sqrt(squares / total)
    return Scaling(mean, np.where(constant | (scale == 0.0), 1.0, scale))


def shares_of_two(weight: np.ndarray | None, n: int) -> tuple[np.ndarray, float]:
    """Return weights (n,) divided by a power of two, and their sum: about one, exactly.

    Sums of products with them are no larger than what is summed.
    """
    weight = np.ones(n) if weight is None else weight
    largest = power_of_two(float(weight.max()))
    shares = weight / largest / power_of_two(float(n))
    return shares, float(shares.sum())


def weighted_quantiles(
    values: np.ndarray, weight: np.ndarray | None, levels: np.ndarray
) -> np.ndarray:
    """Weighted quantiles of each column by the inverted distribution function.

    Parameters
    ----------
    values : ndarray of shape (n, columns)
    weight : ndarray of shape (n,) or None
    levels : ndarray of shape (q,), between 0 and 1

    Returns
    -------
    ndarray of shape (q, columns), float64
        The least value up to which a share of at least the level lies. A row of weight
        2 counts like the row twice, whatever rounding does to the shares.
    """
    columns = [_quantiles(column, weight, levels) for column in values.T]
    return np.array(columns, dtype=np.float64).reshape(-1, len(levels)).T


def _quantiles(
    x: np.ndarray, weight: np.ndarray | None, levels: np.ndarray
) -> np.ndarray:
    # Less by more than rounding, so that a level that is met exactly counts as met.
    wanted = np.asarray(levels) * (1.0 - TIE)
    if weight is None:
        places = np.clip(np.ceil(wanted * len(x)).astype(int) - 1, 0, None)
        return np.partition(x, np.unique(places))[places]
    order = np.argsort(x, kind="stable")
    below = np.cumsum(weight[order])
    return x[order[np.searchsorted(below, wanted * below[-1])]]


def weighted_mean(
    table: np.ndarray | sp.csr_array, rows: np.ndarray, weight: np.ndarray | None
) -> np.ndarray:
    """Weighted mean of each column; arguments as above."""
    weight, total = shares_of_two(weight, len(rows))
    sums = np.zeros(table.shape[1])
    for part, w in _weighted_parts(table, rows, weight):
        sums += w @ part
    return sums / total


def spread_edges(
    column: np.ndarray, weight: np.ndarray | None, n_bins: int
) -> np.ndarray:
    """Edges of bins that follow a column's values, heavy ones less than they weigh.

    Parameters
    ----------
    column : ndarray of shape (n,)
    weight : ndarray of shape (n,) or None
    n_bins : int

    Returns
    -------
    ndarray of shape (n_bins + 1,), increasing
        The distinct values where there are no more of them, the last one repeated; else
        quantiles of the distinct values, each counted by the root of its weight. By
        plain quantiles a column that is mostly zero would have one bin for the rest.
    """
    values, place = np.unique(column, return_inverse=True)
    if len(values) <= n_bins + 1:
        return np.pad(values, (0, n_bins + 1 - len(values)), mode="edge")
    below = np.cumsum(np.sqrt(np.bincount(place, weight, len(values))))
    shares = (below - below[0]) / (below[-1] - below[0])
    levels = np.linspace(0.0, 1.0, n_bins + 1)
    # Less by more than rounding, so that a level that is met exactly counts as met.
    return values[np.searchsorted(shares, levels * (1.0 - TIE))]


def _weighted_parts(
    table: np.ndarray | sp.csr_array, rows: np.ndarray, weight: np.ndarray
) -> Iterator[tuple[np.ndarray | sp.csr_array, np.ndarray]]:
    """Yield the rows that count, some at a time, in float64, and their weights."""
    every = len(rows) == table.shape[0]
    for chunk in row_chunks(len(rows), table.shape[1]):
        part = table[chunk if every else rows[chunk]]
        if sp.issparse(part):
            part = part.astype(np.float64, copy=False)
        else:  # in one order, so that sums are the same bit by bit for all layouts
            part = np.ascontiguousarray(part, dtype=np.float64)
        yield part, weight[chunk]


def _by_column(row: Any) -> np.ndarray:
    return row.toarray().ravel() if sp.issparse(row) else row


def _weighted_squares(
    part: np.ndarray | sp.csr_array, w: np.ndarray, mean: np.ndarray, unit: np.ndarray
) -> np.ndarray:
    """Sum over rows of w ((x - mean) / unit)^2, by column."""
    if not sp.issparse(part):
        return w @ np.square((part - mean) / unit)
    part = _canonical(part)
    column, d = part.indices, len(mean)
    row_weight = np.repeat(w, np.diff(part.indptr))
    stored = row_weight * np.square((part.data - mean[column]) / unit[column])
    # Where nothing is missing, a difference of sums would leave rounding behind.
    missing = np.bincount(column, minlength=d) < part.shape[0]
    zeros = np.where(missing, w.sum() - np.bincount(column, row_weight, d), 0.0)
    reach = np.divide(mean, unit, where=zeros > 0, out=np.zeros(d))
    return np.bincount(column, stored, d) + zeros * np.square(reach)


def _canonical(part: sp.csr_array) -> sp.csr_array:
    """Return entries stored twice as their sum; the user's array stays as it is."""
    if not part.has_canonical_format:
        part = part.copy()
        part.sum_duplicates()
    return part


def design_table(
    X: np.ndarray | sp.csr_array,
    scaling: Scaling | None,
    dtype: torch.dtype,
    fill: np.ndarray | None = None,
) -> torch.Tensor | SparseRows:
    """Scale X and give it its constant.

    Parameters
    ----------
    X : {ndarray, sparse array} of shape (n, d)
    scaling : Scaling or None
    dtype : torch.dtype
    fill : ndarray of shape (d,) or None
        What stands for missing numbers, where dense X has any.

    Returns
    -------
    Tensor of shape (n, d + 1), its last column ones, or SparseRows
        Sparse X stays sparse: it is divided here and centred in the products.
    """
    if sp.issparse(X):
        return _sparse_table(X, scaling, dtype)
    n, d = X.shape
    table = torch.empty((n, d + 1), dtype=dtype)
    view = table.numpy()
    view[:, d] = 1.0
    for chunk in row_chunks(n, d):
        part = X[chunk]
        if fill is not None:
            part = np.where(np.isnan(part), fill, part)
        if scaling is not None:
            part = np.subtract(part, scaling.mean, dtype=np.float64)
            part /= scaling.scale
        with np.errstate(over="ignore"):  # then training is not finite, and says so
            view[chunk, :d] = part
    return table


def has_gaps(X: np.ndarray | sp.csr_array) -> bool:
    """Whether a dense table, free of infinite numbers, misses any."""
    if sp.issparse(X):
        return False
    if sums_to_a_number(X):
        return False
    return any(np.isnan(X[chunk]).any() for chunk in row_chunks(*X.shape))


def refuse_gaps(X: np.ndarray | sp.csr_array) -> None:
    """Raise where a sparse table, free of infinite numbers, misses any.

    Raises
    ------
    ValueError
    """
    if sp.issparse(X) and np.isnan(X.data).any():
        raise ValueError(
            "Input X contains NaN. Missing values are filled, and marked, in dense "
            "tables only: in a sparse one this would be a column beside each. Give a "
            "dense table, or fill them, for instance by SimpleImputer."
        )


def _sparse_table(
    X: sp.csr_array, scaling: Scaling | None, dtype: torch.dtype
) -> SparseRows:
    X = sp.csr_array(X)
    values, shift = X.data, None
    if scaling is not None:
        values = values / scaling.scale[X.indices]
        shift = torch.from_numpy(scaling.mean / scaling.scale).to(dtype)
    return SparseRows(
        torch.from_numpy(X.indptr.astype(np.int64)),
        torch.from_numpy(X.indices.astype(np.int64)),
        torch.tensor(values, dtype=dtype),
        X.shape[1],
        shift,
    )


def target_table(
    y: np.ndarray, scaling: Scaling | None, loss: Loss, dtype: torch.dtype
) -> torch.Tensor:
    """Turn encoded targets (n, my) into the engine's, scaled where the loss allows."""
    if loss.y_dtype == "int64":
        return torch.from_numpy(y.astype(np.int64))
    if scaling is not None:
        y = (y - scaling.mean) / scaling.scale
    return torch.from_numpy(np.array(y, order="C")).to(dtype)


class Target(Protocol):
    """What an estimator knows of its targets."""

    @property
    def loss(self) -> Loss:
        """The loss that is trained."""

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Check y and return it as numbers (n, my)."""

    def strata(self, y: np.ndarray) -> np.ndarray | None:
        """Classes whose shares a held-out part shall keep, (n,)."""


@dataclass(frozen=True, slots=True)
class RegressionTarget:
    """Numbers to be predicted.

    Attributes
    ----------
    loss : Loss
    n_columns : int
        Target columns, my.
    """

    loss: Loss
    n_columns: int

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return y as float64 (n, my), checked against the loss."""
        y = y[:, None] if y.ndim == 1 else y
        if y.shape[1] != self.n_columns:
            raise ValueError(
                f"y has {y.shape[1]} columns, expected {self.n_columns}, as in the "
                "first fit."
            )
        self.loss.check(y)
        return y.astype(np.float64, copy=False)

    def strata(self, y: np.ndarray) -> None:
        """Numbers have no classes."""
        return None


@dataclass(frozen=True, slots=True)
class ClassTarget:
    """How class labels become numbers, and come back.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        The labels in order; for multilabel targets the column numbers.
    kind : {"binary", "multiclass", "multilabel"}
    """

    classes: np.ndarray
    kind: str

    @classmethod
    def of(cls, y: np.ndarray, classes: np.ndarray | None = None) -> ClassTarget:
        """Read the labels of y; ``classes`` names them all where y may lack some."""
        kind = type_of_target(y)
        if kind == "multilabel-indicator":
            return cls(np.arange(y.shape[1]), "multilabel")
        if kind == "multiclass-multioutput":
            raise ValueError(
                f"y has {y.shape[1]} columns of several classes each; expected one "
                "column of classes, or columns of 0 and 1 for labels. Use "
                "sklearn.multioutput.MultiOutputClassifier, one model for each column."
            )
        labels = np.unique(y if classes is None else classes)
        return cls(labels, "binary" if len(labels) <= 2 else "multiclass")

    @property
    def loss(self) -> Loss:
        """The log loss that suits these labels."""
        if self.kind == "multiclass":
            return make_loss("multinomial", n_classes=len(self.classes))
        return make_loss("log_loss")

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return codes or indicators (n, my).

        Raises
        ------
        ValueError
            When y holds labels that are not among the classes.
        """
        if self.kind == "multilabel":
            return self._indicators(y)
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            raise ValueError(
                f"y has labels {unknown[:5].tolist()} that were not in the classes "
                f"{self.classes[:10].tolist()} of the first fit. Name all classes in "
                "the first call of partial_fit, or fit anew without warm_start."
            )
        return np.searchsorted(self.classes, y)[:, None]

    def strata(self, y: np.ndarray) -> np.ndarray | None:
        """Return the labels themselves, unless a row has several."""
        return None if self.kind == "multilabel" else y

    def _indicators(self, y: np.ndarray) -> np.ndarray:
        if y.ndim != 2 or y.shape[1] != len(self.classes):
            raise ValueError(
                f"y has shape {y.shape}, expected {len(self.classes)} columns of "
                "labels, as in the first fit."
            )
        return (y != 0).astype(np.float64)
