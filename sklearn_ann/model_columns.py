"""Lines of the table with one column a model: effects, then what describes the fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .faces import INDENT, Row
from .text import decimals_for, number, p_value

if TYPE_CHECKING:
    from .comparison_result import Comparison
    from .full_sample import FullFit

NAN = float("nan")
LEVELS = (0.1, 0.05, 0.01)
# The contrast of a slope, which goes without saying.
SLOPE = "dY/dX"
Write = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes
    ----------
    label, quantity : str
        What it is, among the numbers: "educ", "std_error".
    values : tuple of float of length M
        Of each model, nan where there is none; empty for words.
    cells : tuple of str of length M + 1 or None
        The label and the values, as written; None if it is not shown.
    """

    label: str
    quantity: str
    values: tuple[float, ...]
    cells: Row | None


# ----------------------------------------------------------------------------- effects


def effect_lines(fits: Sequence[FullFit], stars: bool) -> list[Line]:
    """Give two lines an effect: the estimate, and its standard error in brackets.

    Parameters
    ----------
    fits : sequence of M FullFit
    stars : bool

    Returns
    -------
    list of Line
        The last line names the kind of the standard errors.
    """
    columns = [_by_label(fit) for fit in fits]
    labels = dict.fromkeys(label for column in columns for label in column)
    lines = []
    for term in dict.fromkeys(label.term for label in labels):
        own = [label for label in labels if label.term == term]
        if len(own) > 1:
            lines.append(Line(term, "", (), (term, *[""] * len(fits))))
        for label in own:
            shown = INDENT + (label.rest or SLOPE) if len(own) > 1 else str(label)
            lines += _effect(label, shown, columns, stars)
    if lines:
        kinds = [fit.effects.basis.method if fit.effects else "-" for fit in fits]
        lines.append(Line("standard errors", "", (), ("standard errors", *kinds)))
    return lines


@dataclass(frozen=True, slots=True)
class _Label:
    """Name of an effect: a column, and what else there is to say."""

    term: str
    rest: str

    def __str__(self) -> str:
        return f"{self.term} ({self.rest})" if self.rest else self.term


def _by_label(fit: FullFit) -> dict[_Label, tuple[float, float, float]]:
    """Estimate, standard error and p-value of each effect of a model."""
    if fit.effects is None:
        return {}
    frame = fit.effects.to_frame()
    numbers = frame[["estimate", "std_error", "p_value"]].to_numpy(dtype=float)
    # Labels come first: the term, its contrast, and the class, output or group.
    names = frame.columns[: list(frame.columns).index("estimate")]
    labels = [_label(row) for row in frame[names].to_dict("records")]
    return {k: (v[0], v[1], v[2]) for k, v in zip(labels, numbers, strict=True)}


def _label(row: dict[Any, Any]) -> _Label:
    """Put what a row of effects is into words: "1 - 0", "class b", "year 2003"."""
    term, contrast = str(row.pop("term")), str(row.pop("contrast", SLOPE))
    words = [contrast] * (contrast not in ("", SLOPE))
    words += [f"{column} {value}" for column, value in row.items() if str(value)]
    return _Label(term, ", ".join(words))


def _effect(
    label: _Label,
    shown: str,
    columns: list[dict[_Label, tuple[float, float, float]]],
    stars: bool,
) -> list[Line]:
    found = [column.get(label, (NAN, NAN, NAN)) for column in columns]
    estimate, error, p = (
        tuple(float(v) for v in each) for each in zip(*found, strict=True)
    )
    decimals = max(decimals_for(estimate), decimals_for(error, digits=2))
    # A place for the bracket, so that digits stand below digits; and for stars.
    marks = [_stars(each) if stars else "" for each in p]
    width = len(LEVELS) if stars else 1
    top = [
        number(value, decimals) + mark.ljust(width)
        for value, mark in zip(estimate, marks, strict=True)
    ]
    below = [_bracketed(value, decimals) + " " * (width - 1) for value in error]
    return [
        Line(str(label), "estimate", estimate, (shown, *top)),
        Line(str(label), "std_error", error, _unless_empty(("", *below))),
        Line(str(label), "p_value", p, None),
    ]


def _unless_empty(cells: Row) -> Row | None:
    return cells if any(cell.strip() for cell in cells) else None


def _stars(p: float) -> str:
    return "*" * sum(p < level for level in LEVELS)


def _bracketed(value: float, decimals: int) -> str:
    return f"({number(value, decimals)})" if np.isfinite(value) else ""


# -------------------------------------------------------------------------------- fits


def summary_lines(result: Comparison) -> list[Line]:
    """Describe the fits: rows, parameters, scores, likelihoods, tests."""
    frame = result.to_frame()
    parameters, seconds = frame["n_parameters"], frame["fit_seconds"]
    lines = []
    if result.n_rows:
        lines.append(_line("n", [result.n_rows] * len(frame), _count))
    lines.append(_line("parameters", parameters, _count))
    lines += _in_sample(result, frame)
    lines += _out_of_sample(result, frame)
    lines += _likelihoods(result.fits)
    lines.append(_line("seconds", seconds, _decimals(seconds, digits=2)))
    return [line for line in lines if not np.isnan(line.values).all()]


def _in_sample(result: Comparison, frame: pd.DataFrame) -> list[Line]:
    if result.fits:
        return [_line("R2 in sample", [fit.r2 for fit in result.fits])]
    names = [metric.name for metric in result.metrics]
    return [_line(f"{name} in sample", frame[f"{name}_train"]) for name in names]


def _out_of_sample(result: Comparison, frame: pd.DataFrame) -> list[Line]:
    lines = []
    for metric in result.metrics:
        name = f"{metric.name} out of sample"
        scores, errors = frame[metric.name], frame[f"{metric.name}_std_error"]
        decimals = decimals_for(scores)
        space = " " * bool(np.isfinite(errors).any())
        cells = [number(value, decimals) + space for value in scores]
        below = [_bracketed(value, decimals) for value in errors]
        lines.append(Line(name, "estimate", tuple(scores), (name, *cells)))
        cells_below = _unless_empty(("", *below))
        lines.append(Line(name, "std_error", tuple(errors), cells_below))
    if result.tested is not None:
        by_benchmark = result.r2_out_of_sample()
        column = "pooled mean" if result.window is None else "training mean"
        lines.append(_line(f"R2 out of sample, {column}", by_benchmark[column]))
    return lines


def _likelihoods(fits: Sequence[FullFit]) -> list[Line]:
    if not fits:
        return []
    found = [fit.likelihood for fit in fits]
    ratios = [each.ratio if each else None for each in found]
    tests = [fit.nonlinearity for fit in fits]
    return [
        _line("log-likelihood", [x.total if x else NAN for x in found], _two_decimals),
        _line("McFadden's R2", [x.mcfadden if x else NAN for x in found]),
        _line("likelihood ratio", [x.statistic if x else NAN for x in ratios]),
        _line(
            "likelihood ratio, p", [x.p_value if x else NAN for x in ratios], p_value
        ),
        _line(
            "nonlinearity test, p", [x.p_value if x else NAN for x in tests], p_value
        ),
    ]


def _line(
    label: str, values: Sequence[float] | pd.Series, write: Write | None = None
) -> Line:
    numbers = tuple(float(value) for value in values)
    write = write or _decimals(numbers)
    return Line(label, "value", numbers, (label, *map(write, numbers)))


def _decimals(values: Sequence[float], digits: int = 4) -> Write:
    decimals = decimals_for(values, digits=digits)
    return lambda value: number(value, decimals)


def _two_decimals(value: float) -> str:
    return number(value, 2)


def _count(value: float) -> str:
    return number(value, 0)
