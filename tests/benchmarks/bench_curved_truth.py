"""Defaults where there is something to find: as much of it as the noise allows.

Friedman's three functions, steps and a checkerboard, with noise that leaves half or
nine tenths of the variance to the function (of the checkerboard's labels, a quarter or
a twentieth are wrong). Scores on 10,000 fresh rows: R2 or accuracy of the linear model,
of the default network, and of the truth itself; the share is how far the network came
from the first to the last.

    python -m tests.benchmarks.bench_curved_truth [--draws 5] [--rows 300 1000 3000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from joblib import Parallel, delayed
from sklearn.datasets import make_friedman1, make_friedman2, make_friedman3
from sklearn.linear_model import LinearRegression, LogisticRegression

from sklearn_ann import ANNClassifier, ANNRegressor, batched_fits

from .timing import one_core

ROWS = (300, 1000, 3000)
EXPLAINED = (0.5, 0.9)
FRESH_ROWS = 10_000
# X and the truth, of so many rows, by a generator's seed.
Truth = Callable[[int, int], tuple[np.ndarray, np.ndarray]]


def friedman(make: Callable[..., tuple], n: int, seed: int) -> tuple:
    """One of scikit-learn's, without noise."""
    return make(n_samples=n, noise=0.0, random_state=seed)


def steps(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Five columns, of which three have steps, two of them together."""
    X = np.random.default_rng(seed).uniform(size=(n, 5))
    first, second, third = X[:, 0] > 0.3, X[:, 1] > 0.6, X[:, 2] > 0.5
    return X, first + 2.0 * second - 3.0 * (first & third)


def checkerboard(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes of a board of four by four fields, and two columns without meaning."""
    X = np.random.default_rng(seed).uniform(size=(n, 4))
    return X, np.floor(4.0 * X[:, :2]).sum(axis=1) % 2


TRUTHS: dict[str, Truth] = {
    "friedman1": partial(friedman, make_friedman1),
    "friedman2": partial(friedman, make_friedman2),
    "friedman3": partial(friedman, make_friedman3),
    "steps": steps,
    "checkerboard": checkerboard,
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What a score is a mean of.

    Attributes
    ----------
    name : str
        Of `TRUTHS`.
    n : int
        Rows.
    explained : float
        Share of the variance that is the function's, or 1 - 2 times the share of labels
        that are wrong.
    """

    name: str
    n: int
    explained: float

    def scores(self, seed: int) -> tuple[float, float, float]:
        """Scores of the linear model, the default network, and the truth."""
        X, truth = TRUTHS[self.name](self.n + FRESH_ROWS, seed)
        classes = self.name == "checkerboard"
        y = (mislabelled if classes else noisy)(truth, self.explained, seed)
        network: ANNClassifier | ANNRegressor
        if classes:
            linear, network = LogisticRegression(), ANNClassifier(random_state=seed)
        else:
            linear, network = LinearRegression(), ANNRegressor(random_state=seed)
        train, fresh = slice(self.n), slice(self.n, None)
        models = [each.fit(X[train], y[train]) for each in (linear, network)]
        first, second = (float(each.score(X[fresh], y[fresh])) for each in models)
        return first, second, ceiling(y[fresh], truth[fresh], classes)


def noisy(truth: np.ndarray, explained: float, seed: int) -> np.ndarray:
    """Add normal noise, so that the truth explains this share of the variance."""
    noise = np.random.default_rng([seed, 1]).standard_normal(len(truth))
    return truth + truth.std() * np.sqrt((1 - explained) / explained) * noise


def mislabelled(truth: np.ndarray, explained: float, seed: int) -> np.ndarray:
    """Turn (1 - explained) / 2 of the labels round."""
    wrong = np.random.default_rng([seed, 1]).uniform(size=len(truth))
    return np.where(wrong < (1 - explained) / 2, 1 - truth, truth)


def ceiling(y: np.ndarray, truth: np.ndarray, classes: bool) -> float:
    """Score of the truth itself: accuracy, or R2."""
    if classes:
        return float(np.mean(y == truth))
    return float(1 - np.mean((y - truth) ** 2) / y.var())


def mean_scores(cell: Cell, draws: int) -> np.ndarray:
    """Scores (3,) of a cell, mean over draws, which are fitted as one stack."""
    with batched_fits():
        found = Parallel()(delayed(cell.scores)(seed) for seed in range(draws))
    return np.mean(found, axis=0)


def lines(rows: Sequence[int], draws: int) -> Iterator[str]:
    """Yield the table, a line for each cell."""
    yield "truth         rows  explained  linear  network   truth  share"
    for name, n, explained in product(TRUTHS, rows, EXPLAINED):
        linear, network, most = mean_scores(Cell(name, n, explained), draws)
        share = (network - linear) / (most - linear)
        yield (
            f"{name:12}  {n:4d}  {explained:9.1f}  {linear:6.3f}  {network:7.3f}  "
            f"{most:6.3f}  {share:5.2f}"
        )


def main() -> None:
    """Print the table as it is made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    options = parser.parse_args()
    one_core()
    for line in lines(options.rows, options.draws):
        print(line, flush=True)


if __name__ == "__main__":
    main()
