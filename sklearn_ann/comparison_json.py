"""A comparison as JSON, for other programs."""

import json
import math
from collections.abc import Mapping
from typing import Any

from .comparison_result import Comparison
from .tables import Problem

COLUMNS = (
    "std_error",
    "difference",
    "difference_std_error",
    "statistic",
    "p_value",
    "train",
)
OPTIONS = ("folds", "repeats", "seed", "device")


def as_json(result: Comparison, problem: Problem, options: Mapping[str, Any]) -> str:
    """Write a comparison of the command line as JSON.

    Parameters
    ----------
    result : Comparison
    problem : Problem
    options : dict
        Of the command line: data, folds, repeats, seed, device.

    Returns
    -------
    str
        An object; null stands for what does not exist.
    """
    answer = {
        "data": options["data"],
        "target": problem.target,
        "task": problem.task,
        "rows": problem.X.shape[0],
        "columns": list(map(str, problem.X.columns)),
        "rows_without_target": problem.n_incomplete,
        **{name: options[name] for name in OPTIONS},
        "baseline": result.baseline,
        "metrics": {
            metric.name: {"greater_is_better": metric.greater_is_better}
            for metric in result.metrics
        },
        "models": {model: _model(result, model) for model in result.models},
    }
    if result.fits:
        answer["effects"] = _effects(result)
    return json.dumps(answer, indent=2, allow_nan=False)


def _model(result: Comparison, model: str) -> dict[str, Any]:
    row = result.to_frame().loc[model].to_dict()
    cells = {column: _finite(value) for column, value in row.items()}
    record: dict[str, Any] = {
        metric.name: {"mean": cells[metric.name]}
        | {each: cells[f"{metric.name}_{each}"] for each in COLUMNS}
        for metric in result.metrics
    }
    return record | {each: cells[each] for each in ("fit_seconds", "n_parameters")}


def _effects(result: Comparison) -> dict[str, Any]:
    """Average marginal effects of each model, as a list of records."""
    found = {}
    for model, fit in zip(result.models, result.fits, strict=True):
        frame = None if fit.effects is None else fit.effects.to_frame()
        found[model] = {
            "std_errors": None if fit.effects is None else fit.effects.basis.method,
            "effects": [] if frame is None else _records(frame.to_dict("records")),
        }
    return found


def _records(rows: list[dict[Any, Any]]) -> list[dict[str, Any]]:
    return [
        {str(k): _finite(v) if isinstance(v, float) else str(v) for k, v in row.items()}
        for row in rows
    ]


def _finite(value: float) -> float | None:
    """Give null where JSON has no word: nan and infinity."""
    return value if math.isfinite(value) else None
