"""The command line: ``python -m sklearn_ann compare DATA --target COLUMN``.

Standard output carries the result, standard error the progress bar, warnings and the
one line that says what is wrong; the exit code is then 2.
"""

import argparse
import json
import math
import sys
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline

from .comparison import compare
from .comparison_result import Comparison, Metric
from .estimators import ANNClassifier, ANNRegressor
from .tables import (
    TASKS,
    Problem,
    load_wages,
    make_problem,
    preprocessing,
    read_table,
)
from .text import decimals_for, number, p_value

DESCRIPTION = """
Fit OLS (or logit, if the target is a class) and a neural network on the same
cross-validation folds, and say whether the network predicts better on rows that
neither has seen.
"""
EXAMPLES = """
examples:
  python -m sklearn_ann compare
  python -m sklearn_ann compare wages.csv --target log_wage --drop id name
  python -m sklearn_ann compare survey.dta --target employed --folds 10 --json
"""
WRONG_INPUT = 2
INTERRUPTED = 130
WIDTH = 79
COLUMNS = ("std_error", "difference", "difference_std_error", "statistic", "p_value")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one line, where argparse prints its usage as well."""
        self.exit(WRONG_INPUT, f"{self.prog}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments without the program's name; None takes those of the process.

    Returns
    -------
    int
        Exit code: 0, or 2 after wrong input, or 130 if interrupted.
    """
    options = _parser().parse_args(argv)
    try:
        return _compare(options)
    except (ValueError, OSError, ImportError) as error:
        message = " ".join(str(error).split())
        print(f"python -m sklearn_ann compare: error: {message}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m sklearn_ann", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True)
    job = commands.add_parser(
        "compare",
        help="a network beside OLS or logit, on the same folds",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = job.add_argument
    add(
        "data",
        nargs="?",
        metavar="DATA",
        help="CSV, Parquet or Stata file; default: "
        "wages of 3000 men that come with the package",
    )
    add("--target", metavar="COLUMN", help="column to predict")
    add(
        "--drop",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="columns to leave out",
    )
    add(
        "--task",
        choices=TASKS,
        default="auto",
        help="auto: text, booleans and targets of two values are classes",
    )
    add("--folds", type=_at_least(2), default=5, help="default: 5")
    add("--repeats", type=_at_least(1), default=1, help="default: 1")
    add("--seed", type=_at_least(0), default=0, help="default: 0")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1, mps, auto")
    add("--json", action="store_true", help="print JSON")
    add("--quiet", action="store_true", help="no progress bar, no warnings")
    return parser


def _at_least(least: int) -> Any:
    """Make an argparse type: a whole number that is not too small."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"expected {least} or more, got {value}")
        return value

    whole_number.__name__ = "whole number"  # argparse: "invalid whole number value"
    return whole_number


def _compare(options: argparse.Namespace) -> int:
    problem = _problem(options)
    _check_size(problem, options.folds)
    result, complaints = _fit(problem, options)
    for complaint in [] if options.quiet else complaints:
        print(f"warning: {complaint}", file=sys.stderr)
    if options.json:
        print(json.dumps(_as_json(result, problem, options), indent=2, allow_nan=False))
    else:
        print(_as_text(result, problem, options))
    return 0


def _problem(options: argparse.Namespace) -> Problem:
    if options.data is None:
        table, target = load_wages(), options.target or "log_wage"
    elif options.target is None:
        raise ValueError("Name the column to predict: --target COLUMN.")
    else:
        table, target = read_table(options.data), options.target
    return make_problem(table, target, drop=options.drop, task=options.task)


def _check_size(problem: Problem, folds: int) -> None:
    """Two rows to test in each fold; for classes, one row of each class."""
    if len(problem.y) < 2 * folds:
        raise ValueError(
            f"{len(problem.y)} rows with a target are too few for {folds} folds."
        )
    if problem.task == "regression":
        return
    labels, counts = np.unique(problem.y, return_counts=True)
    if counts.min() < folds:
        raise ValueError(
            f"The class {labels[counts.argmin()]!s} of {problem.target!r} has "
            f"{counts.min()} rows, fewer than the {folds} folds; take fewer --folds."
        )


def _models(problem: Problem, seed: int, device: str) -> dict[str, BaseEstimator]:
    """Give the linear model and the network, after the same preprocessing.

    A small smooth network that trains to the end, under a penalty that grows with the
    rows: a hundredth of them, which is a weight decay of .01. The defaults, a large
    network with next to no penalty, learn the noise of a few thousand rows.
    """
    network = {
        "hidden_layer_sizes": 16,
        "activation": "tanh",
        "solver": "lbfgs",
        "alpha": len(problem.y) / 100,
        "max_iter": 1000,
        "random_state": seed,
        "device": device,
    }
    if problem.task == "regression":
        models = {
            "OLS": LinearRegression(),
            "network": ANNRegressor(**network),
        }
    else:
        models = {
            "logit": LogisticRegression(C=np.inf, max_iter=1000),
            "network": ANNClassifier(**network),
        }
    return {
        name: make_pipeline(preprocessing(problem.X), model)
        for name, model in models.items()
    }


def _fit(problem: Problem, options: argparse.Namespace) -> tuple[Comparison, list[str]]:
    """Compare behind a progress bar; what the fits complain of comes back as text."""
    repeated = (
        RepeatedKFold if problem.task == "regression" else RepeatedStratifiedKFold
    )
    cv: Any = options.folds
    if options.repeats > 1:
        cv = repeated(
            n_splits=options.folds,
            n_repeats=options.repeats,
            random_state=options.seed,
        )
    models = _models(problem, options.seed, options.device)
    with warnings.catch_warnings(record=True) as caught, _bar(options.quiet) as bar:
        warnings.simplefilter("default")
        task = bar.add_task("fitting", total=None)
        result = compare(
            models,
            problem.X,
            problem.y,
            cv=cv,
            random_state=options.seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    return result, _complaints(caught)


def _bar(quiet: bool) -> Progress:
    return Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )


def _complaints(caught: list[warnings.WarningMessage]) -> list[str]:
    """Each warning that is meant for users once, on one line."""
    texts = [
        " ".join(str(each.message).split())
        for each in caught
        if issubclass(each.category, UserWarning | RuntimeWarning)
    ]
    return list(dict.fromkeys(texts))


def _as_text(result: Comparison, problem: Problem, options: argparse.Namespace) -> str:
    rows, columns = problem.X.shape
    source = options.data or "the wages that come with the package"
    headline = (
        f"Predicting {problem.target} from {columns} other columns of {source} "
        f"({rows} rows{_left_out(problem)})."
    )
    parts = (textwrap.fill(headline, WIDTH), str(result), _conclusion(result))
    return "\n\n".join(parts)


def _left_out(problem: Problem) -> str:
    if not problem.n_incomplete:
        return ""
    return f"; {problem.n_incomplete} more have no {problem.target}"


def _conclusion(result: Comparison) -> str:
    """Say what the first metric shows, for someone who does not know the test."""
    metric, (linear, network) = result.metrics[0], result.models
    scores = result.to_frame()[metric.name]
    decimals = decimals_for(scores)
    text = (
        f"On rows that neither has seen, the {metric.name} of the {network} is "
        f"{number(scores[network], decimals)} and that of {linear} "
        f"{number(scores[linear], decimals)}. {_meaning(result, metric)}"
    )
    return textwrap.fill(text, WIDTH)


def _meaning(result: Comparison, metric: Metric) -> str:
    test = result.test(result.models[1], metric.name)
    if test.p_value >= 0.05:
        verdict = "these data do not tell the two apart"
    elif (test.mean > 0) == metric.greater_is_better:
        verdict = "there is evidence that the network predicts better"
    else:
        verdict = "there is evidence that the network predicts worse"
    share = 100 * test.p_value
    times = "fewer than 1" if share < 1 else f"about {share:.0f}"
    return (
        f"If the two predicted equally well, a gap at least this wide would turn up in "
        f"{times} of 100 such comparisons (p = {p_value(test.p_value)}): {verdict}."
    ).replace("= <", "< ")


def _as_json(
    result: Comparison, problem: Problem, options: argparse.Namespace
) -> dict[str, Any]:
    return {
        "data": options.data,
        "target": problem.target,
        "task": problem.task,
        "rows": problem.X.shape[0],
        "columns": list(map(str, problem.X.columns)),
        "rows_without_target": problem.n_incomplete,
        "folds": options.folds,
        "repeats": options.repeats,
        "seed": options.seed,
        "device": options.device,
        "baseline": result.baseline,
        "metrics": {
            metric.name: {"greater_is_better": metric.greater_is_better}
            for metric in result.metrics
        },
        "models": {model: _model_as_json(result, model) for model in result.models},
    }


def _model_as_json(result: Comparison, model: str) -> dict[str, Any]:
    row = result.to_frame().loc[model].to_dict()
    cells = {column: _finite(value) for column, value in row.items()}
    record: dict[str, Any] = {
        metric.name: {"mean": cells[metric.name]}
        | {each: cells[f"{metric.name}_{each}"] for each in COLUMNS}
        for metric in result.metrics
    }
    return record | {each: cells[each] for each in ("fit_seconds", "n_parameters")}


def _finite(value: float) -> float | None:
    """Give null where JSON has no word: nan and infinity."""
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    raise SystemExit(main())
