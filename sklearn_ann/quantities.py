"""What is asked about a model: slopes, contrasts and predictions of raw columns.

A quantity is a number for every row and output, to be averaged over rows. Which
quantity answers "the effect of this column" is decided here, from the column and from
what the transformers do with it; how it is computed is in `evaluation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api import types

from .columns import (
    STEP,
    Kind,
    Table,
    as_numbers,
    column_kind,
    levels_of,
    spread,
    steps_only,
)
from .moved_rows import Part, parts_of
from .reading import Reading

KINDS = ("auto", "slope", "contrast", "eyex", "dyex", "eydx")
ELASTICITIES = ("eyex", "dyex", "eydx")
# As in statsmodels: e stands for a relative change, d for an absolute one.
SLOPE_LABELS = {
    "dydx": "dY/dX",
    "eyex": "eY/eX",
    "dyex": "dY/eX",
    "eydx": "eY/dX",
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number for every row and output.

    Attributes
    ----------
    term : str
        Name of the column, or empty for a prediction of the rows as they are.
    contrast : str
        What is compared, for people: "dY/dX", "1 - 0", "+1".
    column : int or None
    kind : {"slope", "levels", "shift", "prediction"}
        The derivative; the difference between two levels set for all rows; between two
        amounts added to the column; or the prediction itself, at `high` where there is
        a column.
    low, high : level or float
    scale : {"dydx", "eyex", "dyex", "eydx"}
    step : float
        Half the width of a central difference, for slopes through transformers.
    limits : (float, float)
        What the column reached in the rows of the fit.
    inside : bool
        Whether a shift is kept within these limits.
    grid : tuple of float
        Values that both ends of a shift are taken to; empty where any will do.
    absent : str
        Why there is no such quantity; empty where there is.
    """

    term: str
    contrast: str
    column: int | None
    kind: Literal["slope", "levels", "shift", "prediction"]
    low: Any = None
    high: Any = None
    scale: str = "dydx"
    step: float = 0.0
    limits: tuple[float, float] = (-np.inf, np.inf)
    inside: bool = False
    grid: tuple[float, ...] = ()
    absent: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A raw column and what may be asked of it.

    Attributes
    ----------
    index, name : int and str
    values : Series of shape (n,)
        In the rows of the fit.
    kind : str
        As in `column_kind`; "levels" too where an encoder or binner waits for it.
    numeric : bool
    encoded : bool
        Whether a transformer cuts it into steps.
    """

    index: int
    name: str
    values: pd.Series
    kind: Kind
    numeric: bool
    encoded: bool


def read_columns(reading: Reading, table: Table, features: Any = None) -> list[Column]:
    """Look at the columns asked for: all of them by default.

    Raises
    ------
    ValueError
        When a column does not exist, or is asked for twice.
    """
    if features is None:
        asked = list(range(len(table.names)))
    else:
        single = isinstance(features, str | int | np.integer)
        asked = [table.index_of(f) for f in ([features] if single else features)]
    if not len(asked):
        raise ValueError("features names no column; leave it out for all of them.")
    if len(set(asked)) < len(asked):
        raise ValueError("features names a column twice.")
    parts = parts_of(reading, table)
    return [_read_column(table, j, _through(reading, parts, j)) for j in asked]


def _read_column(table: Table, j: int, through: Any) -> Column:
    """Look at a column; `through` is what is done to raw rows, None for nothing."""
    values = table.column(j).rename(table.names[j])
    kind = column_kind(values)
    present = values.dropna().infer_objects()
    numeric = types.is_numeric_dtype(present) and not types.is_bool_dtype(present)
    encoded = bool(
        numeric
        and kind != "constant"
        and through is not None
        and steps_only(through, table, j)
    )
    if encoded and kind != "binary":
        kind = "levels"
    return Column(j, table.names[j], values, kind, numeric, encoded)


def _through(reading: Reading, parts: Sequence[Part] | None, j: int) -> Any:
    """Return the transformers alone: what they put out is not checked yet.

    Of a ColumnTransformer only those parts that take the column.
    """
    if not reading.transformers:
        return None
    own = [part for part in parts or () if j in part.columns]

    def of_parts(X: Any) -> np.ndarray:
        return np.hstack([np.zeros((len(X), 0)), *(part(X) for part in own)])

    def transform(X: Any) -> Any:
        for transformer in reading.transformers:
            X = transformer.transform(X)
        return X

    return transform if parts is None else of_parts


def effects_asked(
    reading: Reading,
    columns: Sequence[Column],
    kind: Any = "auto",
    reference: Any = None,
) -> list[Quantity]:
    """Say which quantities are the effects of the columns.

    Parameters
    ----------
    reading : Reading
    columns : sequence of Column
    kind : str or dict of str by column
        A word of `KINDS`.
    reference : level, or dict of level by column
        What contrasts compare with; by default the first level.

    Raises
    ------
    ValueError
        When a word, a level or their combination makes no sense.
    """
    names = [column.name for column in columns]
    kinds, references = _by_column(kind, names, "kind"), _references(reference, columns)
    quantities: list[Quantity] = []
    for column in columns:
        asked = kinds.get(column.name, "auto")
        if asked not in KINDS:
            raise ValueError(
                f"kind must be one of {', '.join(KINDS)}, or a dict of them by column; "
                f"got {asked!r}."
            )
        quantities += _of_column(reading, column, asked, references)
    return quantities


def _by_column(given: Any, names: list[str], what: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, given)
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"{what} names {unknown[0]!r}, which is not among the columns asked for: "
            f"{', '.join(names)}."
        )
    return given


def _references(reference: Any, columns: Sequence[Column]) -> Mapping[str, Any]:
    if reference is None:
        return {}
    if isinstance(reference, Mapping):
        return _by_column(reference, [column.name for column in columns], "reference")
    # One level for all columns that have it.
    found = {c.name: reference for c in columns if reference in levels_of(c.values)}
    if not found:
        raise ValueError(
            f"reference={reference!r} is a level of none of the columns asked for."
        )
    return found


def _of_column(
    reading: Reading, column: Column, asked: str, references: Mapping[str, Any]
) -> list[Quantity]:
    if column.kind == "constant":
        return [
            Quantity(
                column.name,
                "-",
                column.index,
                "slope",
                absent=f"{column.name} is constant",
            )
        ]
    stepped = column.kind == "levels" or column.encoded
    if asked == "slope" and stepped:
        why = "is cut into steps by a transformer" if column.encoded else "has levels"
        raise ValueError(
            f"kind='slope' was asked for, but {column.name!r} {why}: there is no "
            "slope. Use kind='auto' or 'contrast'."
        )
    scale = asked if asked in ELASTICITIES else "dydx"
    if stepped or (column.kind == "binary" and asked in ("auto", "contrast")):
        return _contrasts(column, scale, references)
    if not column.numeric:  # a bool or levels cannot be moved by a little
        return _contrasts(column, scale, references)
    return [_of_numbers(reading, column, asked, scale)]


def _contrasts(
    column: Column, scale: str, references: Mapping[str, Any]
) -> list[Quantity]:
    levels = levels_of(column.values)
    base = references.get(column.name, levels[0])
    if base not in levels:
        raise ValueError(
            f"reference={base!r} is not a level of {column.name!r}; its levels are "
            f"{', '.join(map(repr, levels[:10]))}{' ...' if len(levels) > 10 else ''}."
        )
    # Only the outcome's relative change has a meaning for a level.
    scale = "eydx" if scale in ("eyex", "eydx") else "dydx"
    write = "{0} - {1}" if scale == "dydx" else "ln({0}) - ln({1})"
    return [
        Quantity(
            column.name,
            write.format(_shown(level), _shown(base)),
            column.index,
            "levels",
            base,
            level,
            scale,
        )
        for level in levels
        if level != base
    ]


def _shown(level: Any) -> str:
    """Write a level: 1.0 as 1."""
    return f"{level:g}" if isinstance(level, float) else str(level)


def _of_numbers(reading: Reading, column: Column, asked: str, scale: str) -> Quantity:
    numbers = as_numbers(column.values)
    unit = spread(numbers)
    found = Quantity(
        column.name,
        SLOPE_LABELS[scale],
        column.index,
        "slope",
        scale=scale,
        step=STEP * unit,
        limits=(float(np.nanmin(numbers)), float(np.nanmax(numbers))),
    )
    if asked == "contrast":
        return replace(found, kind="shift", contrast="+1", low=-0.5, high=0.5)
    if reading.kind == "other" and asked == "auto":
        # The derivative of a tree is zero.
        return replace(
            found, kind="shift", contrast="+1 sd", low=-unit / 2, high=unit / 2
        )
    return found


def predictions_asked(columns: Sequence[Column] = ()) -> list[Quantity]:
    """Ask for predictions: of the rows as they are, or with a column at each level."""
    if not columns:
        return [Quantity("", "", None, "prediction")]
    quantities = []
    for column in columns:
        if column.kind not in ("levels", "binary", "integer"):
            raise ValueError(
                f"features asks for predictions at the levels of {column.name!r}, "
                f"which has none: it is {column.kind}. Use at={{{column.name!r}: "
                "value}} for predictions at a value."
            )
        quantities += [
            Quantity(column.name, _shown(level), column.index, "prediction", high=level)
            for level in levels_of(column.values)
        ]
    return quantities
