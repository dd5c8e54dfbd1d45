"""A grid search as stacks, against scikit-learn's MLP one by one; on one core.

(a) The same search over scikit-learn's ``MLPRegressor``, over our network inside
`batched_fits` and without it, over ``Ridge``, and over our network with a single
one-row epoch: the last two are what the search itself and our fits cost without
training. (c) An ensemble of eight, next to one member and to eight fits one by one, in
small batches and in batches of 200, where a step is nearly all arithmetic. (d) One
hundred networks as one stack, in microseconds per network and step. Wide networks,
which gain nothing from company, inside `batched_fits` and without.

    python -m tests.benchmarks.bench_search [--markdown FILE] [--repeats N]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from math import ceil, inf
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ann import ANNRegressor, batched_fits

from .bench_fit import data
from .timing import Result, interleaved, median_ratio, one_core, to_markdown, to_text

COMMON = {
    "activation": "relu",
    "early_stopping": False,
    "solver": "adam",
    "batch_size": 32,
    "max_iter": 20,
    "tol": 0.0,
    "n_iter_no_change": inf,
    "random_state": 0,
}
GRID = {
    "model__hidden_layer_sizes": [(16,), (32,)],
    "model__learning_rate_init": [1e-3, 3e-3, 1e-2],
    "model__alpha": [1e-4, 1e-3, 1e-2, 1e-1, 1.0],
}
SEEDS = range(8)  # of the members of an ensemble


def search(model: Any, grid: dict[str, list]) -> GridSearchCV:
    """Thirty candidates in five folds, behind a scaler."""
    pipeline = make_pipeline(StandardScaler(), model)
    pipeline.steps[1] = ("model", model)
    return GridSearchCV(pipeline, grid, cv=5, refit=False)


def batched(task: Callable[[], object]) -> Callable[[], object]:
    """The same task inside `batched_fits`."""

    def run() -> object:
        with batched_fits():
            return task()

    return run


def search_results(repeats: int) -> list[Result]:
    """Part (a)."""
    X, y = data(2_000, 10)
    ours = search(ANNRegressor(**COMMON, dtype="float32", standardize=False), GRID)
    idle = search(ANNRegressor(**{**COMMON, "max_iter": 1, "batch_size": "full"}), GRID)
    ridge = search(Ridge(), {"model__alpha": list(np.logspace(-3, 3, 30))})
    tasks = {
        "MLP": partial(search(MLPRegressor(**COMMON), GRID).fit, X, y),
        "ours, batched": batched(partial(ours.fit, X, y)),
        "ours, one by one": partial(ours.fit, X, y),
        "Ridge": partial(ridge.fit, X, y),
        "no-op, batched": batched(partial(idle.fit, X, y)),
    }
    seconds = interleaved(tasks, repeats)
    mlp, stacked = seconds["MLP"], seconds["ours, batched"]
    over = seconds["Ridge"]
    detail = ", ".join(f"{k} {median(v):.2f}" for k, v in seconds.items()) + " s"
    net = [
        [a - b for a, b in zip(x, over, strict=True)] for x in (mlp, stacked)
    ]  # what is left when the search itself is free
    return [
        Result(
            "search, 30 candidates x 5 folds: times MLP",
            median_ratio(mlp, stacked),
            18.0,
            at_least=True,
            stretch=25.0,
            detail=detail,
        ),
        Result(
            "the same after subtracting the search over Ridge",
            median_ratio(*net),
            18.0,
            at_least=True,
        ),
    ]


def ensemble_results(repeats: int) -> list[Result]:
    """Part (c)."""
    return [r for batch in (32, 200) for r in _ensemble(batch, repeats)]


def _ensemble(batch_size: int, repeats: int) -> list[Result]:
    X, y = data(3_000, 10)
    options = {**COMMON, "batch_size": batch_size}
    members = [ANNRegressor((64, 64), **{**options, "random_state": s}) for s in SEEDS]
    together = ANNRegressor((64, 64), **options, n_estimators=len(members))
    seconds = interleaved(
        {
            "ensemble": partial(together.fit, X, y),
            "one": partial(members[0].fit, X, y),
            "eight": lambda: [member.fit(X, y) for member in members],
        },
        repeats,
    )
    name = f"ensemble of 8, hidden (64, 64), batches of {batch_size}: time / "
    detail = ", ".join(f"{k} {median(v):.2f}" for k, v in seconds.items()) + " s"
    ratios = {k: median_ratio(seconds["ensemble"], seconds[k]) for k in seconds}
    return [
        Result(name + "one", ratios["one"], 6.0, at_least=False, detail=detail),
        Result(name + "eight fits", ratios["eight"], 1.0, at_least=False),
    ]


def stack_results(repeats: int) -> list[Result]:
    """Part (d)."""
    X, y = data(2_000, 10)
    n_networks = 100
    options = {**COMMON, "dtype": "float32", "standardize": False}
    one = ANNRegressor((16,), **options)
    many = ANNRegressor((16,), n_init=n_networks, **options)
    seconds = interleaved(
        {"one": partial(one.fit, X, y), "many": partial(many.fit, X, y)}, repeats
    )
    steps = COMMON["max_iter"] * ceil(len(X) / COMMON["batch_size"])  # type: ignore[operator, arg-type]
    each = median(seconds["many"]) / n_networks / steps * 1e6
    alone = median(seconds["one"]) / steps * 1e6
    return [
        Result(
            "100 networks of hidden (16,): us per network and step",
            each,
            2.5,
            at_least=False,
            detail=f"one alone {alone:.1f} us a step",
        )
    ]


def wide_results(repeats: int) -> list[Result]:
    """Wide networks inside `batched_fits` over without it."""
    X, y = data(3_000, 50)
    results = []
    for hidden in ((256, 256), (512, 512)):
        options = {**COMMON, "batch_size": 256, "max_iter": 10}
        network = ANNRegressor(hidden, **options)
        alone = partial(cross_val_score, network, X, y, cv=5)
        seconds = interleaved({"batched": batched(alone), "alone": alone}, repeats)
        ratio = median_ratio(seconds["batched"], seconds["alone"])
        name = f"5 folds of hidden {hidden}: batched / one by one"
        results.append(Result(name, ratio, 1.05, at_least=False))
    return results


PARTS = {
    "search": search_results,
    "ensemble": ensemble_results,
    "stack": stack_results,
    "wide": wide_results,
}


def main() -> None:
    """Run the parts asked for and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, action="append")
    options = parser.parse_args()
    one_core()
    results = [
        result
        for name, part in PARTS.items()
        if not options.only or name in options.only
        for result in part(options.repeats)
    ]
    print(to_text(results))
    if options.markdown:
        options.markdown.write_text(to_markdown(results))


if __name__ == "__main__":
    main()
