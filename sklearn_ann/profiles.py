"""Averages along one column: predictions, or effects, with the column set to values.

The band around the curve comes from other fits: bootstrap replicates, or the members of
an ensemble.

Letters: n rows, G values of the column, m outputs, R other fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .columns import Table, as_numbers, levels_of
from .engine.device import threads
from .evaluation import Averaging, averages
from .fit_rows import checked_rows_of_fit
from .functions import NetworkFunction, function_of, output_labels, predictions
from .moved_rows import as_tensor
from .quantities import Column, Quantity, effects_asked, predictions_asked, read_columns
from .reading import Reading, read
from .replicates import Replicates

KINDS = ("prediction", "effect")
# Between these quantiles of a column; its tails would take most of the picture.
REACH = (0.01, 0.99)


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Averages along one column.

    Attributes
    ----------
    name : str
        Of the column.
    kind : {"prediction", "effect"}
    grid : ndarray of shape (G,)
        Values of the column, or levels; for the effects of levels, what is compared.
    is_levels : bool
        Whether these are levels rather than numbers.
    outputs : list of length m
        Labels of classes or outputs; blank for a single one.
    values : ndarray of shape (G, m)
    others : ndarray of shape (R, G, m) or None
        The same by each of the other fits.
    observed : ndarray of shape (n,)
        The column in the rows.
    contrast : str
        What an effect compares: "dY/dX" for a slope.
    """

    name: str
    kind: str
    grid: np.ndarray
    is_levels: bool
    outputs: list[Any]
    values: np.ndarray
    others: np.ndarray | None
    observed: np.ndarray
    contrast: str = ""


def profile(
    estimator: Any,
    X: Any,
    feature: Any,
    *,
    kind: str = "prediction",
    replicates: Sequence[Any] | None = None,
    grid: Any = 40,
    reference: Any = None,
    max_rows: int | None = 1000,
) -> Profile:
    """Average predictions, or effects, along one column.

    Parameters
    ----------
    estimator : fitted estimator
    X : table of shape (n, columns)
        Rows to average over.
    feature : str or int
    kind : {"prediction", "effect"}, default="prediction"
        Of a number the effect is the slope at each value; of levels it is the contrast
        with the reference.
    replicates : Replicates or sequence of fitted estimators, default=None
        Other fits. By default the members, if it is an ensemble.
    grid : int or array-like, default=40
        How many values of a number there are, or which; of levels, how many of the most
        frequent ones, or which.
    reference : level, default=None
        By default the first.
    max_rows : int or None, default=1000
        Rows averaged over, evenly spaced in X; None for all of them.

    Raises
    ------
    ValueError
        When a word, a column or a value makes no sense.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    reading = read(estimator)
    table = checked_rows_of_fit(reading, X, None).table
    (column,) = read_columns(reading, table, [feature])
    if column.kind == "constant":
        raise ValueError(f"{column.name!r} is constant in X: nothing goes along it.")
    steps = _steps(reading, column, kind, grid, reference)
    rows = _some(table, max_rows)
    with threads(1), torch.inference_mode(False):
        values = steps.averaged(reading, rows)
        others = _others(reading, steps, rows, replicates)
    return Profile(
        column.name,
        kind,
        steps.grid,
        steps.is_levels,
        output_labels(reading)[1],
        values,
        others,
        column.values.dropna().to_numpy(),
        steps.quantities[0].contrast if kind == "effect" else "",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """The values of a column, one after the other, and what is averaged at each.

    ``sets``: whether the rows are set to a value of the grid first; a quantity that
    compares levels does that by itself.
    """

    column: Column
    grid: np.ndarray
    is_levels: bool
    quantities: tuple[Quantity, ...]
    sets: bool

    def at(self, rows: Table, value: Any) -> Table:
        """Set the column to a value in all rows."""
        numbers = value if self.is_levels else np.full(len(rows), float(value))
        return rows.with_column(self.column.index, numbers)

    def pairs(self) -> list[tuple[Any, Any, float]]:
        """Values low and high, and what to divide their predictions' difference by.

        One for each value of the grid; for a prediction at `high` alone, by 0.
        """
        if not self.sets:
            return [(each.low, each.high, 1.0) for each in self.quantities]
        (each,) = self.quantities
        if each.kind == "prediction":
            return [(None, value, 0.0) for value in self.grid]
        if each.kind == "shift":
            return [(v + each.low, v + each.high, 1.0) for v in self.grid]
        h = each.step
        return [(v - h, v + h, (v + h) - (v - h)) for v in self.grid]

    def averaged(self, reading: Reading, rows: Table) -> np.ndarray:
        """Averages (G, m) of what a fitted estimator says."""
        function = function_of(reading, "response")
        share = np.full((len(rows), 1), 1.0 / len(rows))

        def at(table: Table) -> np.ndarray:
            over = Averaging(table, share)
            return averages(reading, function, self.quantities, over).values[:, 0]

        if not self.sets:
            return at(rows)
        return np.concatenate([at(self.at(rows, value)) for value in self.grid])


def _steps(
    reading: Reading, column: Column, kind: str, grid: Any, reference: Any
) -> _Steps:
    is_levels = column.kind in ("levels", "binary") or not column.numeric
    values = _levels(column, grid) if is_levels else _grid(column, grid)
    if kind == "prediction":
        asked = predictions_asked()
        return _Steps(column, _array(values), is_levels, tuple(asked), sets=True)
    asked = effects_asked(reading, [column], "auto", reference)
    if is_levels:
        asked = [quantity for quantity in asked if quantity.high in values]
        names = [quantity.contrast for quantity in asked]
        return _Steps(column, _array(names), True, tuple(asked), sets=False)
    return _Steps(column, _array(values), False, tuple(asked), sets=True)


def _levels(column: Column, asked: Any) -> list[Any]:
    """Levels to go through, in their order: as given, or the most frequent ones."""
    levels = levels_of(column.values)
    if isinstance(asked, int | np.integer):
        if len(levels) <= asked:
            return levels
        counts = column.values.value_counts()
        frequent = sorted(levels, key=lambda level: -counts[level])[:asked]
        return [level for level in levels if level in frequent]
    asked = list(asked)
    unknown = [level for level in asked if level not in levels]
    if unknown or not asked:
        raise ValueError(
            f"grid must name levels of {column.name!r}, which has "
            f"{', '.join(map(repr, levels[:10]))}{' ...' if len(levels) > 10 else ''}; "
            f"got {', '.join(map(repr, unknown)) or 'none'}."
        )
    return asked


def _grid(column: Column, asked: Any) -> np.ndarray:
    """Values of a number to go along: as given, or between its outer quantiles."""
    if not isinstance(asked, int | np.integer):
        given = np.asarray(asked, dtype=np.float64)
        if given.ndim != 1 or not len(given) or not np.isfinite(given).all():
            raise ValueError(
                f"grid must be a whole number or finite values; got {asked!r}."
            )
        return given
    if asked < 2:
        raise ValueError(f"grid must be at least 2; got {asked}.")
    numbers = as_numbers(column.values)
    numbers = numbers[np.isfinite(numbers)]
    single = np.unique(numbers)
    if len(single) <= asked:
        return single
    low, high = np.quantile(numbers, REACH)
    if low == high:
        low, high = single[0], single[-1]
    return np.linspace(low, high, int(asked))


def _array(values: Any) -> np.ndarray:
    """One array of values of any kind, none of them changed."""
    if isinstance(values, np.ndarray):
        return values
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _some(table: Table, most: int | None) -> Table:
    n = len(table)
    if most is None or n <= most:
        return table
    return table.take(np.linspace(0, n - 1, most).round().astype(int))


# --------------------------------------------------------------------------- other fits

# Predictions (R, n, m) of other fits for a table of rows.
Predictor = Callable[[Table], np.ndarray]


def _others(
    reading: Reading, steps: _Steps, rows: Table, replicates: Any
) -> np.ndarray | None:
    """Averages of other fits, (R, G, m), where there are some.

    All from their predictions, a slope from those on either side of a value: so rows
    go through transformers that fits share once, not once for each.
    """
    if replicates is not None:
        predictor = _replicates(reading, replicates)
    elif reading.kind == "ensemble":
        predictor = _members(reading)
    else:
        return None
    if not steps.sets:  # the contrasts of levels leave rows without a level out
        rows = rows.take(np.flatnonzero(rows.column(steps.column.index).notna()))
    known: dict[Any, np.ndarray] = {}

    def mean(value: Any) -> np.ndarray:
        if value not in known:
            known[value] = predictor(steps.at(rows, value)).mean(axis=1)
        return known[value]

    found = [
        mean(high) if width == 0 else (mean(high) - mean(low)) / width
        for low, high, width in steps.pairs()
    ]
    return _checked(np.stack(found, axis=1), reading)


def _members(reading: Reading) -> Predictor:
    """Predictions of the members of an ensemble."""
    functions = [
        NetworkFunction.of(replace(reading, model=model), "response")
        for model in reading.model.models
    ]

    def predicted(table: Table) -> np.ndarray:
        z = as_tensor(reading.transform(table.native))
        return np.stack([f(f.theta, z, f.bend(z)).numpy() for f in functions])

    return predicted


def _replicates(reading: Reading, replicates: Any) -> Predictor:
    """Predictions of other fits, each as `predictions` gives them."""
    if not len(replicates):
        raise ValueError("replicates is empty: there is no other fit.")
    if isinstance(replicates, Replicates):
        return lambda table: _of_replicates(reading, replicates, table)
    others = [read(each) for each in replicates]
    return lambda table: np.stack([predictions(o, table.native) for o in others])


def _of_replicates(
    reading: Reading, replicates: Replicates, table: Table
) -> np.ndarray:
    if reading.classes is None:
        found = replicates.predict(table.native)
        return found[..., None] if found.ndim == 2 else found
    found = replicates.predict_proba(table.native)
    return found[..., 1:] if found.shape[-1] == 2 else found


def _checked(others: np.ndarray, reading: Reading) -> np.ndarray:
    m = len(output_labels(reading)[1])
    if others.shape[2] != m:
        raise ValueError(
            f"replicates have {others.shape[2]} outputs and the estimator {m}: these "
            "are not fits of the same model."
        )
    return others
