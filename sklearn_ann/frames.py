"""Tables of any kind become one matrix of numbers: categories as codes, gaps as NaN.

Levels are found in the rows of `fit`; which of them count is decided later, from the
rows that are trained on (`design.py`). A level that was not seen is a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from pandas.api import types
from sklearn.preprocessing import OrdinalEncoder

# What HistGradientBoosting reads its parameter of the same name by; it has no public
# name.
from sklearn.utils.validation import _check_categorical_features

_DATES = {
    "date",
    "datetime",
    "datetime64",
    "period",
    "time",
    "timedelta",
    "timedelta64",
}
_NUMBERS = {
    "boolean",
    "decimal",
    "empty",
    "floating",
    "integer",
    "mixed-integer-float",
}


@dataclass(frozen=True, slots=True, eq=False)
class Coding:
    """How the columns of a table become numbers.

    Attributes
    ----------
    is_categorical : ndarray of bool of shape (d,)
    encoder : OrdinalEncoder
        Of the columns of categories, in their order.
    names : tuple of str or None
        Of all columns, where the table had any.
    """

    is_categorical: np.ndarray
    encoder: OrdinalEncoder
    names: tuple[str, ...] | None

    @classmethod
    def of(cls, X: Any, categorical_features: Any) -> Coding | None:
        """Learn the levels of a table; None where it has no categories.

        Parameters
        ----------
        X : table of shape (n, d)
        categorical_features : "from_dtype", None, or array-like of bool, int or str
            As for the estimators.

        Raises
        ------
        ValueError
            When a column holds dates, text that is no category, or levels of several
            types, or `categorical_features` does not fit the columns.
        """
        X = _as_table(X, categorical_features)
        mask = _mask(X, categorical_features)
        check_kinds(X, mask)
        if mask is None:
            return None
        names = tuple(map(str, X.columns)) if is_frame(X) else None
        places = np.flatnonzero(mask).tolist()
        levels = [_levels(_column(X, j))[1] for j in places]
        for j, found in zip(places, levels, strict=True):
            _check_one_type(_name(X, j), found)
        return cls.of_levels(np.array(mask), levels, names)

    @classmethod
    def of_levels(
        cls,
        is_categorical: np.ndarray,
        levels: Sequence[np.ndarray],
        names: tuple[str, ...] | None,
    ) -> Coding:
        """Give the levels of each column of categories codes by their order."""
        encoder = OrdinalEncoder(
            categories=[_ordered(own) for own in levels],
            handle_unknown="use_encoded_value",
            unknown_value=np.nan,
            encoded_missing_value=np.nan,
        )
        gaps = np.full((1, len(levels)), np.nan, dtype=object)
        return cls(is_categorical, encoder.fit(gaps), names)

    def encode(self, X: Any) -> np.ndarray:
        """Return a table as numbers (n, d), float64.

        Raises
        ------
        ValueError
            When a column is none of what it was in the fit.
        """
        X = _as_table(X, self.is_categorical)
        check_kinds(X, self.is_categorical)
        out = np.empty(X.shape)
        for j in np.flatnonzero(~self.is_categorical).tolist():
            out[:, j] = _numbers(_column(X, j), _name(X, j))
        places = np.flatnonzero(self.is_categorical).tolist()
        pairs = [_levels(_column(X, j)) for j in places]
        known = self.encoder.transform(_side_by_side([levels for _, levels in pairs]))
        for j, (codes, _), own in zip(places, pairs, known.T, strict=True):
            out[:, j] = np.append(own, np.nan)[codes]  # a gap's code is -1
        return out

    def decode(self, matrix: np.ndarray) -> Any:
        """Return numbers as the table that they came from; unknown levels are gaps."""
        table = matrix.astype(object)
        places = np.flatnonzero(self.is_categorical)
        for j, levels in zip(places, self.levels, strict=True):
            codes = np.nan_to_num(matrix[:, j], nan=len(levels)).astype(int)
            table[:, j] = np.append(levels, [np.nan])[codes]
        if self.names is None:
            return table
        return pd.DataFrame(table, columns=list(self.names)).infer_objects()

    @property
    def levels(self) -> list[np.ndarray]:
        """Levels of each column of categories, in the order of their codes."""
        found = [np.asarray(c, dtype=object) for c in self.encoder.categories_]
        return [c[~pd.isna(c)] for c in found]


def is_frame(X: Any) -> bool:
    """Whether this is a DataFrame of pandas or polars, without importing polars."""
    return isinstance(X, pd.DataFrame) or (
        type(X).__module__.split(".")[0] == "polars" and type(X).__name__ == "DataFrame"
    )


def _as_table(X: Any, categorical_features: Any) -> Any:
    """Take anything with columns: as it is, or as an array."""
    if is_frame(X):
        return X
    asked = not (
        categorical_features is None
        or (isinstance(categorical_features, str))
        or np.size(categorical_features) == 0
    )
    if not asked:
        return X
    if sp.issparse(X):
        raise ValueError(
            "categorical_features names columns of a sparse X, which holds numbers "
            "only: zeros that are not stored would be a level of every column. Give a "
            "dense table or DataFrame, or one-hot columns and no "
            "categorical_features."
        )
    # Of a list, numbers must not become text beside text.
    X = np.asarray(X) if hasattr(X, "dtype") else np.array(X, dtype=object)
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead. Reshape your data to a "
            "table of rows and columns."
        )
    return X


def _mask(X: Any, categorical_features: Any) -> np.ndarray | None:
    by_dtype = (
        isinstance(categorical_features, str) and categorical_features == "from_dtype"
    )
    if not by_dtype:
        return _check_categorical_features(X, categorical_features)
    if not is_frame(X):
        return None
    mask = np.array([kind in ("category", "text") for kind in _kinds(X)], dtype=bool)
    return mask if mask.any() else None


def check_kinds(X: Any, mask: np.ndarray | None = None) -> None:
    """Refuse dates, text that is no category by the mask (d,), and mixtures.

    Raises
    ------
    ValueError
    """
    if isinstance(X, np.ndarray) and X.dtype.kind in "mM":
        _refuse_dates("X")
    if not is_frame(X):
        return
    for j, kind in enumerate(_kinds(X)):
        name, is_category = _name(X, j), mask is not None and mask[j]
        if kind == "date":
            _refuse_dates(f"Column {name}")
        if kind in ("category", "text") and not is_category:
            raise ValueError(
                f"Column {name} holds {kind}, which is no number: could not convert "
                "it. Name it in categorical_features, or use 'from_dtype', which takes "
                "all columns of text and categories of the fit as categories."
            )
        if kind not in ("number", "category", "text"):
            raise ValueError(
                f"Column {name} holds {kind}; expected numbers, bools, text or "
                "categories. Turn all of its values into one of these."
            )


def _refuse_dates(what: str) -> None:
    raise ValueError(
        f"{what} holds dates or times, which are no numbers yet. Turn them into what "
        "matters of them: years since the first, the month or weekday as a category, "
        "or leave them out."
    )


def _kinds(X: Any) -> list[str]:
    """Kind of each column: number, category, text, date, or words for what it is."""
    if not isinstance(X, pd.DataFrame):
        return [_polars_kind(dtype) for dtype in X.dtypes]
    by_dtype = {dtype: _pandas_kind(dtype) for dtype in set(X.dtypes)}
    return [
        by_dtype[dtype] or _kind_of_values(X.iloc[:, j])
        for j, dtype in enumerate(X.dtypes)
    ]


def _pandas_kind(dtype: Any) -> str:
    """Kind of a column by its dtype; empty where its values have to be looked at."""
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if types.is_complex_dtype(dtype):
        return "complex numbers (Complex data not supported)"
    if types.is_numeric_dtype(dtype):  # bools, too
        return "number"
    if dtype.kind in "mM" or isinstance(dtype, pd.PeriodDtype):
        return "date"
    return ""


def _kind_of_values(column: pd.Series) -> str:
    inferred = types.infer_dtype(column, skipna=True)
    if inferred == "string":
        return "text"
    if inferred in _DATES:
        return "date"
    if inferred in _NUMBERS:
        return "number"
    return f"values of several or other types ({inferred})"


def _polars_kind(dtype: Any) -> str:
    name = str(dtype).split("(")[0]
    if name in ("Categorical", "Enum"):
        return "category"
    if name in ("String", "Utf8"):
        return "text"
    if dtype.is_temporal():
        return "date"
    if dtype.is_numeric() or name in ("Boolean", "Null"):
        return "number"
    return f"values of type {dtype}"


def _name(X: Any, j: int) -> str:
    return repr(X.columns[j]) if is_frame(X) else str(j)


def _column(X: Any, j: int) -> Any:
    """One column, (n,): a Series of pandas, or an array."""
    if isinstance(X, pd.DataFrame):
        return X.iloc[:, j]
    if not is_frame(X):
        return X[:, j]
    column = X[:, j]
    if _polars_kind(column.dtype) == "number":
        return column.to_numpy()
    return np.array(column.to_list(), dtype=object)


def _numbers(column: Any, name: str) -> np.ndarray:
    """Values (n,) in float64, gaps as NaN."""
    try:
        if isinstance(column, pd.Series):
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        if column.dtype == object:
            column = np.where(pd.isna(column), np.nan, column)
        return column.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Column {name} is not among the categories, and holds what is no number: "
            f"{error}"
        ) from error


def _levels(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n,), -1 for gaps, and the levels they stand for, in order of appearance.

    So that the encoder has to look at each level once, not at each row.
    """
    if isinstance(column, np.ndarray):
        # What factorize takes: neither fixed widths nor another byte order.
        kind = column.dtype
        wanted = object if kind.kind in "US" else kind.newbyteorder("=")
        column = column.astype(wanted, copy=False)
    codes, levels = pd.factorize(column)
    plain = [_plain(level) for level in np.asarray(levels, dtype=object)]
    out = np.empty(len(plain), dtype=object)
    out[:] = plain
    return codes, out


def _plain(level: Any) -> Any:
    """1, 1.0 and True are one level."""
    return float(level) if isinstance(level, Real | np.bool_) else level


def _check_one_type(name: str, levels: np.ndarray) -> None:
    found = {type(level) for level in levels}
    if len(found) > 1:
        words = ", ".join(sorted(each.__name__ for each in found))
        raise ValueError(
            f"Column {name} has levels of several types ({words}), which have no "
            "order. Turn all of them into text, or all into numbers."
        )


def _ordered(levels: np.ndarray) -> np.ndarray:
    """Levels in order, and last a gap."""
    out = np.full(len(levels) + 1, np.nan, dtype=object)
    out[:-1] = sorted(levels)
    return out


def _side_by_side(levels: Sequence[np.ndarray]) -> np.ndarray:
    """Columns of levels as one array, the shorter ones padded with gaps."""
    longest = max(1, *map(len, levels))
    table = np.full((longest, len(levels)), np.nan, dtype=object)
    for j, own in enumerate(levels):
        table[: len(own), j] = own
    return table
