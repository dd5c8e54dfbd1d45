"""What the outcomes say: a summary, gains, tests, scores, and what failed.

The sections are computed once, and written as text or as Markdown.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..timing import machine
from .gains import (
    by_table,
    frame_of,
    gains_by_table,
    models_in,
    paired,
    summary,
    tasks_in,
)
from .models import Model, version_of
from .runs import Outcome
from .sets import Table

Row = tuple[str, ...]
WIDTH = 88  # of text in the terminal


@dataclass(frozen=True, slots=True)
class Section:
    """A table with a title and a text that says what it holds.

    Attributes
    ----------
    title, text : str
    rows : list of tuple of str
        The first one is the header. May be empty.
    """

    title: str
    text: str
    rows: list[Row]


def sections(
    outcomes: Sequence[Outcome], models: Sequence[Model], tables: Sequence[Table]
) -> list[Section]:
    """Everything there is to print, in order."""
    frame = frame_of(outcomes)
    seeds = ", ".join(map(str, sorted(frame["seed"].unique())))
    parts = [
        _summary_section(frame, seeds),
        _gain_section(frame),
        _paired_section(frame, [model.name for model in models if model.ours]),
        _score_section(frame),
        _class_section(frame),
        _trouble_section(outcomes),
        _model_section(models),
        _table_section(tables),
    ]
    return [part for part in parts if part.rows]


def to_text(parts: Sequence[Section], models: Sequence[Model]) -> str:
    """Sections for the terminal."""
    blocks = [_versions(models)]
    for part in parts:
        widths = [max(map(len, column)) for column in zip(*part.rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in part.rows)
        text = textwrap.wrap(part.text, WIDTH)
        blocks.append("\n".join([part.title, *text, "", *lines]))
    return "\n\n".join(blocks)


def to_markdown(parts: Sequence[Section], models: Sequence[Model]) -> str:
    """Sections for the documentation."""
    blocks = [f"{_versions(models)}."]
    for part in parts:
        header, *rest = part.rows
        rows = [header, ("---",) * len(header), *rest]
        lines = (f"| {' | '.join(map(_escaped, row))} |" for row in rows)
        blocks.append(f"## {part.title}\n\n{part.text}\n\n" + "\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _summary_section(frame: pd.DataFrame, seeds: str) -> Section:
    header = ("model", "mean gain", "minimum gain", "mean rank", "calibration error")
    rows = [(*header, "fit, s", "predict, s", "sets")]
    n = frame["table"].nunique()
    for name, each in summary(frame).iterrows():
        minimum = f"{signed(each['minimum_gain'])} ({each['minimum_at']})"
        rows.append(
            (
                str(name),
                signed(each["mean_gain"]),
                minimum if each["sets"] else "-",
                f"{each['mean_rank']:.2f}",
                plain(each["calibration_error"]),
                plain(each["fit_seconds"]),
                plain(each["predict_seconds"]),
                f"{each['sets']} of {n}",
            )
        )
    text = (
        f"Seeds: {seeds}. Gains are shares of the linear model's loss, from scores "
        "averaged over the seeds: their mean and minimum over the sets. Expected "
        "calibration error: mean over the sets with classes. Seconds: medians over all "
        "fits, on one core, from the table on. A set counts for a model when the model "
        "has a result for every seed."
    )
    return Section("Summary", text, rows)


def _gain_section(frame: pd.DataFrame) -> Section:
    text = (
        "By set, of the scores averaged over the seeds: (R2 - R2_linear) / "
        "(1 - R2_linear), or (loss_linear - loss) / loss_linear for the log loss."
    )
    rows = _grid(frame, gains_by_table(frame), signed)
    return Section("Gain over the linear model", text, rows)


def _score_section(frame: pd.DataFrame) -> Section:
    text = (
        "R2 on the test rows (regression), or log loss (classes; lower is better), "
        "averaged over the seeds."
    )
    return Section("Scores", text, _grid(frame, by_table(frame, "score"), plain))


def _class_section(frame: pd.DataFrame) -> Section:
    classes = frame[frame["task"] != "regression"]
    if classes.empty:
        return Section("", "", [])
    auc = by_table(classes, "auc")
    accuracy = by_table(classes, "accuracy")
    rows = [("set", *models_in(classes))]
    for name in auc.index:
        pairs = zip(accuracy.loc[name], auc.loc[name], strict=True)
        rows.append((str(name), *(f"{plain(a)} / {plain(b)}" for a, b in pairs)))
    text = (
        "Accuracy / area under the ROC curve (several classes: the mean of each "
        "against the others), averaged over the seeds."
    )
    return Section("Accuracy and AUC", text, rows)


def _paired_section(frame: pd.DataFrame, ours: Sequence[str]) -> Section:
    gains = gains_by_table(frame)
    rows = [("models", "mean difference", "better on", "p")]
    for first in ours:
        for second in gains.columns.drop(first):
            test = paired(gains[first], gains[second])
            counts = f"{test.better} of {test.n} sets"
            cells = signed(test.difference), counts, p_value(test.p_value)
            rows.append((f"{first} against {second}", *cells))
    text = (
        "Wilcoxon's signed-rank test, two-sided, that the differences of the gains are "
        "symmetric about zero. An observation is a set: seeds are averaged first, as "
        "they share their rows. Not corrected for the number of tests."
    )
    return Section("Paired tests", text, rows if len(rows) > 1 else [])


def _trouble_section(outcomes: Sequence[Outcome]) -> Section:
    rows = [
        (outcome.table, str(outcome.seed), outcome.model, outcome.error)
        for outcome in outcomes
        if outcome.error
    ]
    warned = pd.Series(
        [(outcome.model, name) for outcome in outcomes for name in outcome.warned],
        dtype=object,
    ).value_counts(sort=False)
    rows += [("-", "-", m, f"{name} ({n} fits)") for (m, name), n in warned.items()]
    header = [("set", "seed", "model", "what was raised or warned of")]
    text = "What failed has no result above; warnings are of a fit or its predictions."
    return Section("Failures and warnings", text, header + rows if rows else [])


def _model_section(models: Sequence[Model]) -> Section:
    header = ("model", "regression", "classes", "columns")
    rows = [
        (model.name, str(model.regressor), str(model.classifier), model.columns)
        for model in models
    ]
    text = (
        "What is not set is the default, but for the seed. Columns: numbers are "
        "one-hot and standardised, with medians and indicators for missing ones; "
        "levels are the table with a level for missing categories; raw is the table."
    )
    return Section("Models", text, [header, *rows])


def _table_section(tables: Sequence[Table]) -> Section:
    header = ("set", "package", "target", "task", "rows", "columns", "categories")
    rows = [
        (
            table.name,
            table.package.replace("==", " "),
            _target(table),
            table.task,
            *map(str, table.shape),
        )
        for table in tables
    ]
    return Section("Sets", "Rows before any are left aside.", [header, *rows])


def _target(table: Table) -> str:
    form = {"identity": "{}", "positive": "{} > 0"}.get(table.transform)
    return (form or f"{table.transform}({{}})").format(table.target)


def _grid(
    frame: pd.DataFrame, means: pd.DataFrame, shown: Callable[[float], str]
) -> list[Row]:
    tasks = tasks_in(frame)
    rows: list[Row] = [("set", "task", *means.columns)]
    for name, values in means.iterrows():
        rows.append((str(name), tasks[name], *map(shown, values)))
    return rows


def signed(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:+.3f}"


def plain(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def p_value(value: float) -> str:
    return "<0.001" if value < 0.001 else plain(value)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _versions(models: Sequence[Model]) -> str:
    """Date, processor, and versions of everything that was fitted."""
    peers = {model.package for model in models} - {"sklearn", "sklearn_ann"}
    return ", ".join([machine(), *(f"{p} {version_of(p)}" for p in sorted(peers))])
