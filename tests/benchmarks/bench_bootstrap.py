"""Time of bootstrap replicates as one stack, next to scikit-learn's fits one by one.

``python -m tests.benchmarks.bench_bootstrap [--markdown FILE] [--repeats N]``

One core, interleaved rounds, the median of the ratios within a round. Both sides get
the same weights, seeds, tolerance and iterations; scikit-learn gets the rows that were
drawn only, in float64, and we train in float64 too. How far each side came is in the
details: the objective is the same, so are the units of its gradient.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.neural_network import MLPClassifier

from sklearn_ann import ANNClassifier, bootstrap_fits
from sklearn_ann.resampling import Sample, bootstrap_sample

from .timing import Result, interleaved, median_ratio, one_core, to_markdown, to_text

ROWS, COLUMNS, REPLICATES = 753, 6, 200
TARGET = 3.0
OPTIONS = {
    "hidden_layer_sizes": (8,),
    "activation": "tanh",
    "solver": "lbfgs",
    "alpha": 1e-4,
    "max_iter": 200,
    "early_stopping": False,
}
# scikit-learn's default, and one that makes both sides use all iterations.
TOLERANCES = (1e-4, 1e-10)


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a logit with some curvature, as large as a well-known labour survey."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((ROWS, COLUMNS))
    odds = X[:, 0] - 0.5 * X[:, 1] + 0.5 * X[:, 2] * X[:, 3] + np.sin(2 * X[:, 4])
    return X, (rng.random(ROWS) < expit(odds)).astype(int)


def mlp_fits(
    X: np.ndarray, y: np.ndarray, sample: Sample, options: dict[str, Any]
) -> list[MLPClassifier]:
    """Fit scikit-learn's network to the drawn rows of every replicate."""
    fits = []
    for weight, seed in zip(sample.weights, sample.seeds, strict=True):
        drawn = weight > 0
        model = MLPClassifier(random_state=int(seed), **options)
        fits.append(model.fit(X[drawn], y[drawn], sample_weight=weight[drawn]))
    return fits


def gradient_max(
    model: Any, X: np.ndarray, y: np.ndarray, weight: np.ndarray, alpha: float
) -> float:
    """Largest element of the objective's gradient at a fitted network's weights."""
    (first, last), (start, end) = model.coefs_, model.intercepts_
    hidden = np.tanh(X @ first + start)
    share = (weight / weight.sum())[:, None]
    delta = share * (expit(hidden @ last + end) - y[:, None])
    below = delta @ last.T * (1 - hidden**2)
    decay = alpha / weight.sum()
    parts = (
        X.T @ below + decay * first,
        hidden.T @ delta + decay * last,
        below.sum(axis=0),
        delta.sum(axis=0),
    )
    return max(float(np.abs(part).max()) for part in parts)


def _reached(
    models: Sequence[Any], X: np.ndarray, y: np.ndarray, sample: Sample
) -> str:
    alpha = OPTIONS["alpha"]
    norms = [
        gradient_max(model, X, y, weight, alpha)
        for model, weight in zip(models, sample.weights, strict=True)
    ]
    losses = [model.loss_ for model in models]
    iterations = np.mean([model.n_iter_ for model in models])
    return (
        f"{iterations:.0f} iterations, gradient {median(norms):.1e} "
        f"(worst {max(norms):.1e}), loss {median(losses):.4f}"
    )


def bootstrap_result(tol: float, repeats: int = 5) -> Result:
    """Two hundred replicates as a stack, against as many fits."""
    X, y = data()
    options = {**OPTIONS, "tol": tol}
    sample = bootstrap_sample(ROWS, REPLICATES, seed=0)
    network = ANNClassifier(standardize=False, **options)
    models: dict[str, Sequence[Any]] = {}

    def keep(name: str, task: Any) -> None:
        models[name] = task()

    tasks = {
        "MLP": partial(keep, "MLP", partial(mlp_fits, X, y, sample, options)),
        "ours": partial(
            keep,
            "ours",
            partial(bootstrap_fits, network, X, y, REPLICATES, random_state=0),
        ),
    }
    seconds = interleaved(tasks, repeats)
    assert (models["ours"].weights == sample.weights).all()  # type: ignore[attr-defined]
    parts = (
        f"{name} {median(each):.2f} s ({_reached(models[name], X, y, sample)})"
        for name, each in seconds.items()
    )
    return Result(
        f"{REPLICATES} replicates, {ROWS} x {COLUMNS}, 8 tanh units, lbfgs, "
        f"tol={tol:g}: times MLP",
        median_ratio(seconds["MLP"], seconds["ours"]),
        TARGET,
        at_least=True,
        detail="; ".join(parts),
    )


def bootstrap_results(repeats: int = 5) -> list[Result]:
    """One line for each tolerance."""
    return [bootstrap_result(tol, repeats) for tol in TOLERANCES]


def main() -> None:
    """Measure, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    one_core()
    results = bootstrap_results(arguments.repeats)
    print(to_text(results))
    if arguments.markdown:
        arguments.markdown.write_text(to_markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
