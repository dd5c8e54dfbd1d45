"""The faces of a comparison: its tables, and what is said below them."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .comparison_frames import CLARK_WEST
from .faces import Row, Table, wrapped
from .model_columns import effect_lines, summary_lines
from .text import decimals_for, number, p_value

if TYPE_CHECKING:
    from .comparison_result import Comparison

HOLM = "p (Holm)"
NONLINEARITY = (
    "Nonlinearity test: whether the linear model neglects any (Lee, White and Granger "
    "1993)."
)
STARS = "* p < .1, ** p < .05, *** p < .01."


# ---------------------------------------------------------------------- the comparison


def text_blocks(result: Comparison) -> str:
    """Write a comparison for people."""
    blocks = [
        "\n".join(wrapped([headline(result)])),
        score_table(result).to_text(notes=False),
        "\n".join(wrapped(notes(result))),
    ]
    blocks += [table.to_text() for table in _further(result)]
    return "\n\n".join(blocks)


def html_blocks(result: Comparison) -> str:
    """Write a comparison for notebooks."""
    tables = [score_table(result), *_further(result)]
    parts = "".join(table.to_html() for table in tables)
    return f"<div><p>{html.escape(headline(result))}</p>{parts}</div>"


def _further(result: Comparison) -> list[Table]:
    """Tables that are shown below the scores, if there is anything in them."""
    tables = []
    if len(result.models) > 1:
        tables.append(difference_table(result))
    if result.clark_west:
        tables.append(clark_west_table(result))
    if result.fits:
        # What holds for the scores has been said below them.
        tables.append(model_table(replace(result, remarks=()), stars=False))
    return tables


def headline(result: Comparison) -> str:
    """Say on what the scores rest."""
    fit, test = result.n_train.mean(), result.n_test.mean()
    window = result.window
    if window is None:
        count = len(result.n_test)
        return (
            f"Out-of-sample scores over {count} split{'s' * (count > 1)}: "
            f"{fit:.0f} rows to fit, {test:.0f} to test"
        )
    ahead = f"{window.horizon} period{'s' * (window.horizon > 1)} ahead"
    fits = "once" if window.n_fits == 1 else f"{window.n_fits} times"
    return (
        f"Out-of-sample scores over {result.scores.shape[-1]} periods, {ahead}: "
        f"{window.kind} window of {window.size} periods, fitted {fits}"
    )


# -------------------------------------------------------------------------- the tables


def score_table(result: Comparison) -> Table:
    """Scores: one row a model, in and out of sample."""
    frame = result.to_frame()
    names = [metric.name for metric in result.metrics]
    rows: list[Row] = []
    for model in result.models:
        rows += _score_rows(model, frame, names)
    header = ("", *names, "seconds", "parameters")
    return Table("", header, (tuple(rows),), tuple(notes(result)), frame)


def _score_rows(model: str, frame: pd.DataFrame, names: list[str]) -> list[Row]:
    row = frame.loc[model]
    seconds = number(row["fit_seconds"], decimals_for(frame["fit_seconds"], digits=2))
    cells = [_with_error(row, frame, name) for name in names]
    rows = [(model, *cells, seconds, number(row["n_parameters"], 0))]
    for label, suffix in (("  in sample", "_train"), ("  over seeds", "_seed_sd")):
        values = [float(row[name + suffix]) for name in names]
        if np.isfinite(values).any():
            below = [
                _as_wide(number(value, decimals_for(frame[name])), cell)
                for value, name, cell in zip(values, names, cells, strict=True)
            ]
            rows.append((label, *below, "", ""))
    return rows


def _with_error(row: pd.Series, frame: pd.DataFrame, name: str) -> str:
    decimals = decimals_for(frame[name])
    score, error = row[name], row[f"{name}_std_error"]
    text = number(score, decimals)
    return text if np.isnan(error) else f"{text} ({number(error, decimals)})"


def _as_wide(text: str, cell: str) -> str:
    """Put a number below the first one of a cell."""
    _, bracket, rest = cell.partition(" (")
    return text + " " * len(bracket + rest)


def difference_table(result: Comparison) -> Table:
    """Differences from the baseline."""
    tests = result.tests()
    tests = tests[tests["test"] != CLARK_WEST]
    columns = _columns_of_tests(tests)
    frame = result.to_frame()
    rows: list[Row] = []
    label = ""
    for _, test in tests.iterrows():
        shown = "" if test["model"] == label else test["model"]
        label = test["model"]
        scores = frame[test["metric"]]
        cells = (*_test_cells(test, decimals_for(scores)), p_value(test["p_holm"]))
        rows.append((shown, test["metric"], *cells[: len(columns)]))
    said = ("Holm: adjusted for the number of models.",) if HOLM in columns else ()
    title = f"Difference from {result.baseline}"
    return Table(title, ("", "", *columns), (tuple(rows),), said, tests, n_labels=2)


def _columns_of_tests(tests: pd.DataFrame) -> Row:
    """Say which columns there is anything to put in."""
    if tests["p_value"].isna().all():
        return ("difference",)
    holm = (HOLM,) if tests["model"].nunique() > 1 else ()
    return ("difference", "std. error", "t", "p", *holm)


def _test_cells(test: pd.Series, at_least: int = 0) -> Row:
    # As many decimals as the score has, and enough for two digits of the std. error.
    decimals = max(at_least, decimals_for([test["std_error"]], digits=2))
    return (
        number(test["difference"], decimals, sign=True),
        number(test["std_error"], decimals),
        number(test["statistic"], 2),
        p_value(test["p_value"]),
    )


def clark_west_table(result: Comparison) -> Table:
    """Tabulate the tests of Clark and West."""
    tests = result.tests()
    tests = tests[tests["test"] == CLARK_WEST]
    rows = tuple(
        (str(test["model"]), *_test_cells(test, 4)) for _, test in tests.iterrows()
    )
    said = (
        "Clark and West ask about the population: would the larger model predict "
        f"better than {result.baseline}, which it contains, if its parameters were "
        "known? That may be so and its forecasts still be worse. Squared errors, "
        "adjusted for what estimation costs; a gain is positive, p is one-sided.",
    )
    title = f"{CLARK_WEST}: gain over {result.baseline} in the population"
    header = ("", "adjusted gain", "std. error", "z", "p")
    return Table(title, header, (rows,), said, tests)


def model_table(result: Comparison, stars: bool) -> Table:
    """One column a model: effects, then scores, then what describes the fits."""
    sections = [effect_lines(result.fits, stars), summary_lines(result)]
    written = (tuple(line.cells for line in lines if line.cells) for lines in sections)
    lines = [line for section in sections for line in section if line.values]
    named = {(line.label, line.quantity): line for line in lines}
    numbers = pd.DataFrame(
        [line.values for line in named.values()],
        index=pd.MultiIndex.from_tuples(named, names=["row", "quantity"]),
        columns=list(result.models),
    )
    title = "Average marginal effects" if sections[0] else ""
    said = tuple(_model_notes(result, bool(sections[0]), stars))
    return Table(title, ("", *result.models), tuple(written), said, numbers)


# --------------------------------------------------------------------------- the notes


def notes(result: Comparison) -> list[str]:
    """Say what the numbers are, and what they are not."""
    said = [_about_errors(result)]
    lower = [each.name for each in result.metrics if not each.greater_is_better]
    if lower:
        said.append(f"Lower is better for {_listed(lower)}.")
    if any(metric.scorer == "r2" for metric in result.metrics):
        said.append("R2 is measured against the mean of the test fold.")
    said += [*_without_value(result), *_pooled(result)]
    counts = {len(scores) for scores in result.seed_scores}
    if max(counts, default=1) > 1:
        said.append(
            f"Scores are means over {max(counts)} seeds, where a model has any; over "
            "seeds: standard deviation of a split's score."
        )
    return [*said, *result.remarks]


def _without_value(result: Comparison) -> Iterable[str]:
    """Name what some splits or periods have no value of, so that there is no mean."""
    names = [
        metric.name
        for s, metric in enumerate(result.metrics)
        if np.isnan(result.scores[:, s]).any()
    ]
    if names and result.window is None:
        yield f"Some splits have no {_listed(names)}, so there is no mean of it."
    elif names:
        yield (
            "In time order each period has a score of its own, and some have too few "
            f"rows for {_listed(names)}: take one that a single row has, such as MSE."
        )


def _about_errors(result: Comparison) -> str:
    if result.no_test_because:
        return f"No standard errors and tests: {result.no_test_because}."
    if result.window is not None:
        return (
            "Differences are tested by period, as tests of the fitted methods: Diebold "
            "and Mariano (1995), corrected by Harvey, Leybourne and Newbold (1997)."
        ) + _other_kernel(result)
    return (
        "In brackets: standard errors. They and the tests are corrected for training "
        "sets that overlap (Nadeau and Bengio 2003)."
    )


def _other_kernel(result: Comparison) -> str:
    others = [model for model in result.models if model != result.baseline]
    tests = [result.test(m, each.name) for m in others for each in result.metrics]
    if any(getattr(test, "kernel", "") == "Bartlett" for test in tests):
        return " Bartlett weights stand in where the variance would be negative."
    return ""


def _pooled(result: Comparison) -> list[str]:
    """R2 of all rows tested, against a benchmark that has a name."""
    if result.tested is None:
        return []
    by_benchmark = result.r2_out_of_sample()
    if result.window is not None:
        column, words = "training mean", "against the mean of the rows fitted to"
    elif any(metric.scorer == "r2" for metric in result.metrics):
        column, words = "pooled mean", "pooled, against the mean of all rows tested"
    else:
        return []
    values = by_benchmark[column]
    each = (f"{number(values[m], 4)} for {m}" for m in result.models)
    name = "Out-of-sample R2" if result.window is not None else "R2"
    return [f"{name} {words}: {', '.join(each)}."]


def _model_notes(result: Comparison, effects: bool, stars: bool) -> Iterable[str]:
    if effects:
        yield "Standard errors in brackets."
    if effects and stars:
        yield STARS
    by_note: dict[str, list[str]] = {}
    for model, fit in zip(result.models, result.fits, strict=False):
        for note in fit.notes:
            by_note.setdefault(note, []).append(model)
    if any(fit.nonlinearity for fit in result.fits):
        yield NONLINEARITY
    yield from (f"{', '.join(names)}: {note}" for note, names in by_note.items())
    yield from result.remarks


def _listed(names: list[str]) -> str:
    return " and ".join(names) if len(names) < 3 else ", ".join(names)
