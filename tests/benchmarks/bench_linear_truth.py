"""Defaults where there is nothing to find: linear data, and noise.

Independent normal columns, a linear mean with coefficients drawn at random, scores on
20,000 fresh rows, means over draws. A cell is a number of rows, of columns, and a share
of the variance that the mean explains (0 is noise); the draws of a cell are fitted as
one stack.

    python -m tests.benchmarks.bench_linear_truth [--draws 50] [--rows 100 300 ...]

Up to 3000 rows take half an hour on one core, 10,000 rows as much again. Scores are
kept in --store, so that a run which was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from sklearn_ann import ANNRegressor, batched_fits

from .accuracy.models import version_of
from .timing import one_core

BUILD = Path(__file__).parents[2] / "build"
ROWS, COLUMNS = (100, 300, 1000, 3000, 10_000), (2, 10, 50)
EXPLAINED = (0.0, 0.1, 0.5, 0.9)
# Of ten thousand rows, which take as long as all the others: noise, and a middle.
MANY_ROWS, EXPLAINED_OF_MANY = 10_000, (0.0, 0.5)
FRESH_ROWS = 20_000
ALLOWED = 0.01  # of R2, below the better of OLS and the mean


@dataclass(frozen=True, slots=True)
class Cell:
    """What a score is a mean of.

    Attributes
    ----------
    n, d : int
        Rows and columns.
    explained : float
        Share of the variance that the mean explains.
    """

    n: int
    d: int
    explained: float

    def draw(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw X (n + fresh rows, d) and y; its mean, if any, has variance one."""
        rng = np.random.default_rng([self.n, self.d, round(100 * self.explained), seed])
        X = rng.standard_normal((self.n + FRESH_ROWS, self.d))
        noise = rng.standard_normal(len(X))
        if not self.explained:
            return X, noise
        coef = rng.standard_normal(self.d)
        mean = X @ coef / np.linalg.norm(coef)
        return X, mean + np.sqrt((1 - self.explained) / self.explained) * noise

    def scores(self, seed: int) -> tuple[float, float, float]:
        """R2 of the default network, of OLS and of the mean, on the fresh rows."""
        X, y = self.draw(seed)
        X, y = X[: self.n], y[: self.n]
        network = ANNRegressor(random_state=seed).fit(X, y)
        ols, mean = LinearRegression().fit(X, y), np.full(FRESH_ROWS, y.mean())
        del X, y  # of many fits that wait together; fresh rows come when they are over
        X, y = self.draw(seed)
        fresh, truth = X[self.n :], y[self.n :]
        found = network.predict(fresh), ols.predict(fresh), mean
        first, second, third = (r2_score(truth, prediction) for prediction in found)
        return first, second, third


def cells(rows: Sequence[int]) -> list[Cell]:
    """Cells of these numbers of rows."""
    found = []
    for n, d in product(rows, COLUMNS):
        shares = EXPLAINED_OF_MANY if n >= MANY_ROWS else EXPLAINED
        found += [Cell(n, d, explained) for explained in shares]
    return found


def known_scores(store: Path, version: str) -> dict[tuple, list[float]]:
    """Scores that this version of the package reached, by cell and draw."""
    if not store.exists():
        return {}
    lines = [json.loads(line) for line in store.read_text().splitlines()]
    return {
        (Cell(*line["cell"]), line["draw"]): line["scores"]
        for line in lines
        if line["version"] == version
    }


def scores_of(cell: Cell, draws: int, store: Path) -> np.ndarray:
    """Scores (draws, 3) of a cell; those that the store does not know are added."""
    version = version_of("sklearn_ann")
    known = known_scores(store, version)
    missing = [i for i in range(draws) if (cell, i) not in known]
    with batched_fits():
        found = Parallel()(delayed(cell.scores)(i) for i in missing)
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.open("a") as file:
        for i, scores in zip(missing, found, strict=True):
            known[cell, i] = scores
            own = [cell.n, cell.d, cell.explained]
            line = {"version": version, "cell": own, "draw": i, "scores": scores}
            file.write(json.dumps(line) + "\n")
    return np.array([known[cell, i] for i in range(draws)])


def lines(chosen: Sequence[Cell], draws: int, store: Path) -> Iterator[str]:
    """Yield the table, a line for each cell."""
    yield "rows  columns  explained  network      OLS     mean  difference  verdict"
    for cell in chosen:
        network, ols, mean = scores_of(cell, draws, store).mean(axis=0)
        difference = network - max(ols, mean)
        verdict = "reached" if difference >= -ALLOWED else "MISSED"
        yield (
            f"{cell.n:5d}  {cell.d:7d}  {cell.explained:9.1f}  {network:7.4f}  "
            f"{ols:7.4f}  {mean:7.4f}  {difference:+10.4f}  {verdict}"
        )


def main() -> None:
    """Print the table as it is made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--draws", type=int, default=50)
    add("--rows", type=int, nargs="+", default=list(ROWS))
    add("--store", type=Path, default=BUILD / "linear_truth.jsonl")
    options = parser.parse_args()
    one_core()
    for line in lines(cells(options.rows), options.draws, options.store):
        print(line, flush=True)


if __name__ == "__main__":
    main()
