"""Time of fits and predictions, next to scikit-learn's networks.

``python -m tests.benchmarks.bench_fit [--markdown FILE] [--repeats N] [--only WORD]``

One core, interleaved rounds, the median of the ratios within a round. Every fit does
the same epochs over the same batches, with penalty and loss record on; scikit-learn
gets float64 rows, as its users give them, and so do we.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, inf
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from . import reference_loop
from .timing import (
    Result,
    interleaved,
    median_ratio,
    one_core,
    repeated,
    to_markdown,
    to_text,
)


@dataclass(frozen=True, slots=True)
class Case:
    """A fit, its length, and how many times faster than scikit-learn it has to be.

    Attributes
    ----------
    n, d : int
        Rows and columns.
    hidden : tuple of int
    batch_size, epochs : int
    reference, target, stretch : float
        Limits for the reference loop and for this package.
    """

    n: int
    d: int
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int
    reference: float
    target: float
    stretch: float

    @property
    def name(self) -> str:
        """Sizes in words."""
        return f"{self.n} x {self.d}, {self.hidden}, batches of {self.batch_size}"

    @property
    def steps(self) -> int:
        """Updates of the weights in one fit."""
        return self.epochs * ceil(self.n / self.batch_size)


# Epochs are few, so that a round is short, and many enough for set-up not to count.
CASES = (
    Case(2_000, 10, (16,), 32, 40, reference=4.0, target=3.8, stretch=4.5),
    Case(10_000, 20, (100,), 200, 20, reference=4.9, target=4.7, stretch=5.2),
    Case(10_000, 50, (256, 256, 256), 256, 3, reference=3.2, target=3.1, stretch=3.4),
)
REFERENCE_SLACK = 1.15

Models = dict[str, Any]


def data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth function of a few columns, with noise. Shape: (n, d), (n,)."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.standard_normal(n)
    return X, y


def adam_options(case: Case) -> dict[str, Any]:
    """Parameters that scikit-learn's networks and ours share."""
    return {
        "hidden_layer_sizes": case.hidden,
        "activation": "relu",
        "solver": "adam",
        "alpha": 1e-4,
        "batch_size": case.batch_size,
        "learning_rate_init": 1e-3,
        "max_iter": case.epochs,
        "tol": 0.0,
        "n_iter_no_change": inf,
        "early_stopping": False,
        "random_state": 0,
    }


def lbfgs_options() -> dict[str, Any]:
    """Full-batch training of eight tanh units, shared likewise."""
    return {
        "hidden_layer_sizes": (8,),
        "activation": "tanh",
        "solver": "lbfgs",
        "alpha": 1e-4,
        "max_iter": 200,
        "tol": 1e-10,
        "early_stopping": False,
        "random_state": 0,
    }


def our_regressor(**options: Any) -> Any:
    """This package's regressor in scikit-learn's place: rows as they come, float32."""
    # Imported here: the reference loop can then be timed without the package.
    from sklearn_ann import ANNRegressor

    return ANNRegressor(**{"standardize": False, "dtype": "float32", **options})


def our_classifier(**options: Any) -> Any:
    """This package's classifier, likewise."""
    from sklearn_ann import ANNClassifier

    return ANNClassifier(**{"standardize": False, **options})


def reference_fit(case: Case, X: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    """The reference loop's fit of a case, as a task."""
    return partial(
        reference_loop.fit,
        X,
        y,
        case.hidden,
        batch_size=case.batch_size,
        epochs=case.epochs,
    )


def _microseconds(case: Case, seconds: dict[str, list[float]]) -> str:
    """Microseconds per step of every task."""
    parts = (f"{k} {median(v) / case.steps * 1e6:.1f}" for k, v in seconds.items())
    return ", ".join(parts) + " us a step"


def reference_results(repeats: int = 5) -> list[Result]:
    """The reference loop against ``MLPRegressor``, without this package."""
    results = []
    for case in CASES:
        X, y = data(case.n, case.d)
        mlp = MLPRegressor(**adam_options(case))
        seconds = interleaved(
            {"MLP": partial(mlp.fit, X, y), "reference": reference_fit(case, X, y)},
            repeats,
        )
        ratio = median_ratio(seconds["MLP"], seconds["reference"])
        name = f"reference loop, {case.name}: times MLP"
        detail = _microseconds(case, seconds)
        results.append(Result(name, ratio, case.reference, True, None, detail))
    return results


def fit_results(repeats: int = 5) -> list[Result]:
    """Fits by Adam: ours, scikit-learn's, and the reference loop's."""
    return [result for case in CASES for result in _fit_case(case, repeats)]


def _fit_case(case: Case, repeats: int) -> list[Result]:
    X, y = data(case.n, case.d)
    options = adam_options(case)
    tasks: dict[str, Callable[[], object]] = {
        "MLP": partial(MLPRegressor(**options).fit, X, y),
        "ours": partial(our_regressor(**options).fit, X, y),
        "reference": reference_fit(case, X, y),
    }
    seconds = interleaved(tasks, repeats)
    mlp, ours, reference = seconds.values()
    fit, detail = f"fit {case.name}", _microseconds(case, seconds)
    return [
        Result(
            f"{fit}: times MLP",
            median_ratio(mlp, ours),
            case.target,
            at_least=True,
            stretch=case.stretch,
            detail=detail,
        ),
        Result(
            f"{fit}: time / reference loop",
            median_ratio(ours, reference),
            REFERENCE_SLACK,
            at_least=False,
        ),
        Result(
            f"fit {case.name}: reference loop times MLP",
            median_ratio(mlp, reference),
            case.reference,
            at_least=True,
        ),
    ]


def predict_results(repeats: int = 5) -> list[Result]:
    """Predictions for one row and for many, by the same architecture."""
    case = CASES[1]
    X, y = data(2_000, case.d)
    options = {**adam_options(case), "max_iter": 2}
    models = {"MLP": MLPRegressor(**options), "ours": our_regressor(**options)}
    interleaved({name: partial(m.fit, X, y) for name, m in models.items()}, 0)
    return [_one_row(models, X[:1], repeats), _many_rows(models, case.d, repeats)]


def _one_row(models: Models, row: np.ndarray, repeats: int) -> Result:
    calls = 500
    tasks = {k: repeated(partial(m.predict, row), calls) for k, m in models.items()}
    seconds = interleaved(tasks, repeats)
    parts = (f"{k} {median(v) / calls * 1e6:.0f}" for k, v in seconds.items())
    return Result(
        "predict one row: time / MLP",
        median_ratio(seconds["ours"], seconds["MLP"]),
        1.2,
        at_least=False,
        detail=", ".join(parts) + " us",
    )


def _many_rows(models: Models, d: int, repeats: int) -> Result:
    X, _ = data(500_000, d)
    tasks = {name: partial(model.predict, X) for name, model in models.items()}
    seconds = interleaved(tasks, repeats)
    parts = (f"{k} {len(X) / median(v) / 1e6:.2f}" for k, v in seconds.items())
    return Result(
        "predict 500000 rows: rate / MLP",
        median_ratio(seconds["MLP"], seconds["ours"]),
        1.5,
        at_least=True,
        detail=", ".join(parts) + " million rows a second",
    )


def lbfgs_results(repeats: int = 5) -> list[Result]:
    """Full-batch L-BFGS per iteration, on a data set of textbook size."""
    X, y = data(753, 6)
    options = lbfgs_options()
    return [
        _lbfgs(
            "regression",
            {
                "MLP": MLPRegressor(**options),
                "ours": our_regressor(dtype="auto", **options),
            },
            X,
            y,
            repeats,
        ),
        _lbfgs(
            "classes",
            {"MLP": MLPClassifier(**options), "ours": our_classifier(**options)},
            X,
            y > 0,
            repeats,
        ),
    ]


def _lbfgs(
    name: str, models: Models, X: np.ndarray, y: np.ndarray, repeats: int
) -> Result:
    seconds = interleaved({k: partial(m.fit, X, y) for k, m in models.items()}, repeats)
    iterations = {name: model.n_iter_ for name, model in models.items()}
    each = {k: [s / iterations[k] for s in v] for k, v in seconds.items()}
    parts = (
        f"{k} {median(v) * 1e6:.0f} us x {iterations[k]} (loss {models[k].loss_:.4f})"
        for k, v in each.items()
    )
    return Result(
        f"lbfgs 753 x 6, 8 tanh units, {name}: time per iteration / MLP",
        median_ratio(each["ours"], each["MLP"]),
        1.0,
        at_least=False,
        detail=", ".join(parts),
    )


GROUPS = {
    "fit": fit_results,
    "predict": predict_results,
    "lbfgs": lbfgs_results,
    "reference": reference_results,
}


def main() -> None:
    """Measure, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=GROUPS, help="one group of measurements")
    arguments = parser.parse_args()

    one_core()
    groups = [arguments.only] if arguments.only else ["fit", "predict", "lbfgs"]
    results = [r for group in groups for r in GROUPS[group](arguments.repeats)]
    print(to_text(results))
    if arguments.markdown:
        arguments.markdown.write_text(to_markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
