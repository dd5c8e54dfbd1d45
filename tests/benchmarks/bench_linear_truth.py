"""Defaults where there is nothing to find: linear data, and noise.

Independent normal columns, a linear mean with coefficients drawn at random, scores on
20,000 fresh rows, means over draws. A cell is a number of rows, of columns, and a share
of the variance that the mean explains (0 is noise).

    python -m tests.benchmarks.bench_linear_truth [DRAWS [ROWS ...]]

With 50 draws and up to 10,000 rows it takes hours; 8 draws of 100 and 300 rows take a
few minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from .timing import one_core

ROWS, COLUMNS = (100, 300, 1000, 3000, 10_000), (2, 10, 50)
EXPLAINED = (0, 0.1, 0.5, 0.9)
FRESH_ROWS = 20_000
ALLOWED = 0.01  # of R2, below the better of OLS and the mean


def draw(n: int, d: int, explained: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw X (n + fresh rows, d) and y, whose mean has variance one if there is any."""
    rng = np.random.default_rng([n, d, round(100 * explained), seed])
    X = rng.standard_normal((n + FRESH_ROWS, d))
    noise = rng.standard_normal(len(X))
    if not explained:
        return X, noise
    coef = rng.standard_normal(d)
    mean = X @ coef / np.linalg.norm(coef)
    return X, mean + np.sqrt((1 - explained) / explained) * noise


def scores(n: int, d: int, explained: float, seed: int) -> tuple[float, float, float]:
    """R2 of the default network, of OLS and of the mean, on the fresh rows."""
    from sklearn_ann import ANNRegressor

    X, y = draw(n, d, explained, seed)
    fresh, truth = X[n:], y[n:]
    network = ANNRegressor(random_state=seed).fit(X[:n], y[:n])
    ols = LinearRegression().fit(X[:n], y[:n])
    mean = np.full(FRESH_ROWS, y[:n].mean())
    found = network.predict(fresh), ols.predict(fresh), mean
    first, second, third = (r2_score(truth, prediction) for prediction in found)
    return first, second, third


def lines(draws: int, rows: tuple[int, ...]) -> Iterator[str]:
    """Yield the table, a line for each cell."""
    yield "rows  columns  explained  network      OLS     mean  difference  verdict"
    for n, d, explained in product(rows, COLUMNS, EXPLAINED):
        found = np.array([scores(n, d, explained, seed) for seed in range(draws)])
        network, ols, mean = found.mean(axis=0)
        difference = network - max(ols, mean)
        verdict = "reached" if difference >= -ALLOWED else "MISSED"
        yield (
            f"{n:5d}  {d:7d}  {explained:9.1f}  {network:7.4f}  {ols:7.4f}  {mean:7.4f}"
            f"  {difference:+10.4f}  {verdict}"
        )


def main() -> None:
    """Print the table as it is made."""
    one_core()
    draws, *rows = [int(argument) for argument in sys.argv[1:]] or [50]
    for line in lines(draws, tuple(rows) or ROWS):
        print(line, flush=True)


if __name__ == "__main__":
    main()
