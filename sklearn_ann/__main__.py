"""The command line: ``python -m sklearn_ann compare DATA --target COLUMN``.

Standard output carries the result, standard error the progress bar, warnings and the
one line that says what is wrong; the exit code is then 2.
"""

import argparse
import os
import shlex
import sys
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline

from .comparison import compare
from .comparison_json import as_json
from .comparison_metrics import Metric
from .comparison_result import Comparison
from .estimators import ANNClassifier, ANNRegressor
from .plotting.canvas import check_matplotlib
from .report import html_report
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
  python -m sklearn_ann compare wages.csv --target log_wage --effects education age
  python -m sklearn_ann compare wages.csv --target log_wage --report wages.html
"""
WRONG_INPUT = 2
INTERRUPTED = 130
PROGRAM = "python -m sklearn_ann"
WIDTH = 79


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
    arguments = sys.argv[1:] if argv is None else list(argv)
    options = _parser().parse_args(arguments)
    options.command = f"{PROGRAM} {shlex.join(arguments)}"
    try:
        return _compare(options)
    except (ValueError, OSError, ImportError) as error:
        message = " ".join(str(error).split())
        print(f"{PROGRAM} compare: error: {message}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description=DESCRIPTION)
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
    add(
        "--effects",
        nargs="*",
        metavar="COLUMN",
        help="average marginal effects with standard errors, of these or all columns",
    )
    add("--report", type=Path, metavar="FILE.html", help="write a web page as well")
    printed = job.add_mutually_exclusive_group()
    printed.add_argument("--json", action="store_true", help="print JSON")
    printed.add_argument("--latex", action="store_true", help="print a LaTeX table")
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
    _check_report(options.report)
    problem = _problem(options)
    _check_size(problem, options.folds)
    result, complaints = _fit(problem, options)
    for complaint in [] if options.quiet else complaints:
        print(f"warning: {complaint}", file=sys.stderr)
    print(_output(result, problem, options))
    if options.report is not None:
        _write_report(result, problem, options)
    return 0


def _check_report(path: Path | None) -> None:
    """Find out before the fits whether the page can be made and written."""
    if path is None:
        return
    check_matplotlib()
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--report writes a web page: expected FILE.html, got {path}.")
    target = path if path.exists() else path.absolute().parent
    if path.is_dir() or not target.exists() or not os.access(target, os.W_OK):
        raise ValueError(f"--report cannot write to {path}.")


def _output(result: Comparison, problem: Problem, options: argparse.Namespace) -> str:
    if options.json:
        return as_json(result, problem, vars(options))
    if options.latex:
        return result.to_latex(stars=result.fits != ())
    headline = textwrap.fill(_headline(problem, options), WIDTH)
    conclusion = textwrap.fill(_conclusion(result), WIDTH)
    return "\n\n".join((headline, str(result), conclusion))


def _write_report(
    result: Comparison, problem: Problem, options: argparse.Namespace
) -> None:
    title = f"{problem.target}: {' and '.join(result.models)}"
    said = (_headline(problem, options), _conclusion(result))
    page = html_report(result, title, said, options.command)
    options.report.write_text(page, encoding="utf-8")
    if not options.quiet:
        print(f"report: {options.report}", file=sys.stderr)


def _problem(options: argparse.Namespace) -> Problem:
    if options.data is None:
        _check_no_file_is_a_column([*options.drop, *(options.effects or ())])
        table, target = load_wages(), options.target or "log_wage"
    elif options.target is None:
        raise ValueError("Name the column to predict: --target COLUMN.")
    else:
        table, target = read_table(options.data), options.target
    return make_problem(table, target, drop=options.drop, task=options.task)


def _check_no_file_is_a_column(names: list[str]) -> None:
    """Options that take many columns would take DATA after them for one more."""
    for name in names:
        if Path(name).is_file():
            raise ValueError(
                f"The file {name} was taken for a column; name it right after compare."
            )


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
            effects=_effects(options.effects),
            random_state=options.seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    return result, _complaints(caught)


def _effects(columns: list[str] | None) -> bool | list[str]:
    """No --effects means none; --effects without a column means all."""
    return columns or columns is not None


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


def _headline(problem: Problem, options: argparse.Namespace) -> str:
    rows, columns = problem.X.shape
    source = options.data or "the wages that come with the package"
    return (
        f"Predicting {problem.target} from {columns} other columns of {source} "
        f"({rows} rows{_left_out(problem)})."
    )


def _left_out(problem: Problem) -> str:
    if not problem.n_incomplete:
        return ""
    return f"; {problem.n_incomplete} more have no {problem.target}"


def _conclusion(result: Comparison) -> str:
    """Say what the first metric shows, for someone who does not know the test."""
    metric, (linear, network) = result.metrics[0], result.models
    scores = result.to_frame()[metric.name]
    decimals = decimals_for(scores)
    return (
        f"On rows that neither has seen, the {metric.name} of the {network} is "
        f"{number(scores[network], decimals)} and that of {linear} "
        f"{number(scores[linear], decimals)}. {_meaning(result, metric)}"
    )


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


if __name__ == "__main__":
    raise SystemExit(main())
