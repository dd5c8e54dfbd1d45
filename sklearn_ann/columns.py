"""The raw columns that effects are about: any kind of table, one column at a time.

Effects are those of the columns as the user has them, before any transformer. So rows
are copied with one column changed, and sent through the Pipeline again.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from pandas.api import types

from .arrays import as_numpy

# Rows that are enough to see whether a transformer cuts a column into steps.
PROBED_ROWS = 200
# Relative step of a central difference: where rounding and curvature err alike.
STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
# A change within this share of a transformed column's reach is no jump.
SMALL_CHANGE = 1e-3

Kind = Literal["float", "integer", "binary", "levels", "constant"]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Raw rows in whatever holds them.

    Attributes
    ----------
    native : pandas or polars DataFrame, ndarray or sparse array, of shape (n, columns)
        As estimators take it.
    names : tuple of str
    """

    native: Any
    names: tuple[str, ...]

    @classmethod
    def of(cls, X: Any, names: Any = None) -> Table:
        """Take rows of any kind; `names` are for those that carry none.

        Raises
        ------
        ValueError
            When the rows are not a table of two dimensions.
        """
        X = as_numpy(X)
        if isinstance(X, pd.DataFrame) or is_polars(X):
            return cls(X, tuple(map(str, X.columns)))
        X = sp.csr_array(X) if sp.issparse(X) else np.asarray(X)
        if X.ndim != 2:
            raise ValueError(
                f"X must be a table of rows and columns; got an array of shape "
                f"{X.shape}."
            )
        if names is None or len(names) != X.shape[1]:
            names = [f"x{i}" for i in range(X.shape[1])]
        return cls(X, tuple(map(str, names)))

    def __len__(self) -> int:
        return int(self.native.shape[0])

    def index_of(self, column: Any) -> int:
        """Position of a column, by name or number.

        Raises
        ------
        ValueError
            When there is none.
        """
        if isinstance(column, int | np.integer) and not isinstance(column, bool):
            if -len(self.names) <= column < len(self.names):
                return int(column) % len(self.names)
        elif column in self.names:
            return self.names.index(column)
        raise ValueError(
            f"There is no column {column!r}; the columns are {', '.join(self.names)}."
        )

    def column(self, j: int) -> pd.Series:
        """Return one column, numbers as numbers."""
        X = self.native
        if isinstance(X, pd.DataFrame):
            return X.iloc[:, j].reset_index(drop=True)
        if is_polars(X):
            return _from_polars(X[:, j])
        values = X[:, [j]].toarray().ravel() if sp.issparse(X) else X[:, j]
        column = pd.Series(values, copy=False)
        return column.infer_objects() if column.dtype == object else column

    def take(self, rows: slice | np.ndarray) -> Table:
        """Take some of the rows."""
        X = self.native
        chosen = X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]
        return Table(chosen, self.names)

    def with_column(self, j: int, values: Any) -> Table:
        """Put other values in one column of all rows: numbers (n,), or one level."""
        X = self.native
        if isinstance(X, pd.DataFrame):
            return Table(_pandas_with(X, j, values), self.names)
        if is_polars(X):
            return Table(_polars_with(X, j, values), self.names)
        dense = X.toarray() if sp.issparse(X) else X
        # In float64: a step would be lost in integers, and partly in float32.
        numeric = dense.dtype.kind in "fiub"
        changed = dense.astype(np.float64 if numeric else object)
        changed[:, j] = values
        return Table(sp.csr_array(changed) if sp.issparse(X) else changed, self.names)

    def with_levels(self, j: int, levels: Sequence[Any]) -> Table:
        """Put each of some levels in one column of all rows of a pandas DataFrame.

        Returns
        -------
        Table of len(levels) times n rows
            The rows with the first level, then with the second, ...
        """
        n, X = len(self), self.native
        stacked = X.take(np.tile(np.arange(n), len(levels)))
        parts = [_level(level, n, X.iloc[:, j]) for level in levels]
        values = pd.concat(parts, ignore_index=True)
        return Table(_pandas_with(stacked, j, values), self.names)


def stacked(tables: Sequence[Table]) -> Table:
    """Put data frames one below the other."""
    native = pd.concat([table.native for table in tables], ignore_index=True)
    return Table(native, tables[0].names)


def is_polars(X: Any) -> bool:
    """Whether this is a polars DataFrame, without importing polars."""
    return type(X).__module__.split(".")[0] == "polars"


def _from_polars(column: Any) -> pd.Series:
    values = column.to_list()
    if str(column.dtype).startswith("Enum"):  # a Categorical's order means nothing
        return pd.Series(pd.Categorical(values, column.dtype.categories.to_list()))
    return pd.Series(values)


def _pandas_with(X: pd.DataFrame, j: int, values: Any) -> pd.DataFrame:
    if np.ndim(values) == 0:
        values = _level(values, len(X), X.iloc[:, j])
    changed = X.copy(deep=False)
    changed.isetitem(j, pd.Series(values).set_axis(X.index))
    return changed


def _level(value: Any, n: int, column: pd.Series) -> pd.Series:
    """One level for all rows, of the column's dtype where it can be."""
    category = isinstance(column.dtype, pd.CategoricalDtype)
    if category and value not in column.dtype.categories:
        raise ValueError(
            f"{value!r} is not a level of {column.name!r}; its levels are "
            f"{', '.join(map(repr, levels_of(column)))}."
        )
    try:
        return pd.Series([value] * n, dtype=column.dtype)
    except (TypeError, ValueError):  # half a year of whole years
        return pd.Series([value] * n)


def _polars_with(X: Any, j: int, values: Any) -> Any:
    import polars as pl

    name = X.columns[j]
    if np.ndim(values) == 0:
        values = pl.Series(name, [values] * len(X), dtype=X.dtypes[j])
    else:
        values = pl.Series(name, values)
    return X.with_columns(values)


def column_kind(column: pd.Series) -> Kind:
    """Say what kind of column this is, by its dtype and its values.

    Examples
    --------
    >>> import pandas as pd
    >>> [column_kind(pd.Series(c)) for c in ([.5, 2.], [3, 4], [0., 1.], ["a", "b"])]
    ['float', 'integer', 'binary', 'levels']
    """
    present = column.dropna()
    category = isinstance(present.dtype, pd.CategoricalDtype)
    if not category and types.is_numeric_dtype(present):
        return _number_kind(present)
    if present.nunique() < 2:
        return "constant"
    if types.is_datetime64_any_dtype(present):
        raise ValueError(
            f"Column {column.name!r} holds dates; there is no effect of a date. Turn "
            "it into a number, such as years, or leave it out of features."
        )
    return "levels"


def _number_kind(present: pd.Series) -> Kind:
    """Kind of a column of numbers or bools, without counting its values."""
    numbers = present.to_numpy(dtype=np.float64)
    if not len(numbers) or numbers.min() == numbers.max():
        return "constant"
    if types.is_bool_dtype(present) or ((numbers == 0) | (numbers == 1)).all():
        return "binary"
    return "integer" if types.is_integer_dtype(present) else "float"


def levels_of(column: pd.Series) -> list[Any]:
    """Return the levels that occur: categories in their order, all others sorted."""
    present = column.dropna()
    if isinstance(present.dtype, pd.CategoricalDtype):
        seen = set(present.unique())
        return [level for level in present.dtype.categories if level in seen]
    return sorted(present.unique().tolist())


def as_numbers(column: pd.Series) -> np.ndarray:
    """Values (n,) in float64, missing ones as nan."""
    numbers = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    return np.array(numbers)  # pandas hands out what may not be written to


def spread(numbers: np.ndarray) -> float:
    """Give the standard deviation of what is present: the unit of steps."""
    return float(np.nanstd(numbers))


def steps_only(transform: Any, table: Table, j: int) -> bool:
    """Whether transformers cut a numeric column into steps: an encoder, a binner.

    They do when a small step of the column changes nothing, or jumps, or is refused,
    while a large one changes something. That is seen in what they do rather than in
    what they are, so it holds for transformers of any origin.

    Parameters
    ----------
    transform : callable (native rows) -> ndarray or sparse array
    table : Table
    j : int
        A numeric column.
    """
    rows = np.flatnonzero(~np.isnan(as_numbers(table.column(j))))
    rows = rows[np.linspace(0, len(rows) - 1, min(PROBED_ROWS, len(rows))).astype(int)]
    sample = table.take(rows)
    x = as_numbers(sample.column(j))
    # Towards the middle: some transformers refuse what they have not seen.
    stepped = x + np.where(x < np.median(x), 1.0, -1.0) * STEP * max(spread(x), 1e-300)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of unknown categories
        tables = [sample, _shuffled(sample, j), sample.with_column(j, stepped)]
        # The same rows in other order hold values that are known.
        if isinstance(sample.native, pd.DataFrame):
            together = pd.concat([table.native for table in tables], ignore_index=True)
            try:  # one call: transformers of data frames take their time for each
                here, there, beside = np.split(_dense(transform(together)), 3)
            except (ValueError, KeyError):
                return True
        else:
            here, there = (_dense(transform(table.native)) for table in tables[:2])
            try:
                beside = _dense(transform(tables[2].native))
            except (ValueError, KeyError):
                return True
    return bool(_in_steps(here, there, beside).any())


def _shuffled(sample: Table, j: int) -> Table:
    """Rows with the column's values in the reverse of their order."""
    numbers = sample.column(j).to_numpy()
    order = np.argsort(numbers, kind="stable")
    swapped = numbers.copy()
    swapped[order] = numbers[order[::-1]]
    if isinstance(sample.native, pd.DataFrame):
        values: Any = pd.Series(swapped, dtype=sample.native.dtypes.iloc[j])
        return sample.with_column(j, values)
    return sample.with_column(j, swapped)


def _in_steps(here: np.ndarray, there: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """Find columns that a large step moves, and a small one not, or by a jump."""
    reach = np.nanmax(np.abs(there - here), axis=0)
    change = np.abs(beside - here)
    smooth = (change > 0) & (change <= SMALL_CHANGE * reach)
    return np.asarray((reach > 0) & ~smooth.any(axis=0))


def _dense(table: Any) -> np.ndarray:
    if sp.issparse(table):
        table = table.toarray()
    return np.asarray(table, dtype=np.float64)
