"""Seconds of the default fit as rows grow, and against CatBoost's at 3000 rows.

Friedman's first function of ten columns with noise. Seconds are the processor's, and
those a row are given over the first line's: at most one where time grows no faster than
rows. Fits stop early, so the epochs they took stand beside them.

    python -m tests.benchmarks.bench_growing_tables [--most 1000000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from statistics import median
from typing import Any

from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning

from sklearn_ann import ANNRegressor

from .timing import interleaved, machine, median_ratio, one_core

ROWS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
COMPARED_ROWS = 3_000
COLUMNS, NOISE = 10, 1.0


def seconds(task: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a task, and what it returned."""
    start = time.process_time()
    found = task()
    return time.process_time() - start, found


def lines(most: int) -> Iterator[str]:
    """Yield the table, a line for each number of rows."""
    yield f"{'rows':>8}  {'fit, s':>8}  {'a row':>6}  {'networks':>8}  epochs"
    first = None
    for n in (n for n in ROWS if n <= most):
        X, y = make_friedman1(n, COLUMNS, noise=NOISE, random_state=0)
        spent, network = seconds(lambda: ANNRegressor(random_state=0).fit(X, y))  # noqa: B023
        first = first or spent / n
        yield (
            f"{n:8d}  {spent:8.2f}  {spent / n / first:6.2f}  "
            f"{network.n_estimators_:8d}  {network.n_iter_} of {network.max_iter_}"
        )


def compared(repeats: int) -> str:
    """Say how long the default fit takes beside CatBoost's."""
    if not find_spec("catboost"):
        return "catboost is not installed"
    from catboost import CatBoostRegressor

    X, y = make_friedman1(COMPARED_ROWS, COLUMNS, noise=NOISE, random_state=0)
    options = {"thread_count": 1, "verbose": False, "allow_writing_files": False}
    tasks = {
        "ours": lambda: ANNRegressor(random_state=0).fit(X, y),
        "catboost": lambda: CatBoostRegressor(**options).fit(X, y),
    }
    found = interleaved(tasks, repeats)
    ratio = median_ratio(found["ours"], found["catboost"])
    own, other = (median(found[name]) for name in tasks)
    return f"{COMPARED_ROWS} rows: {own:.2f} s, CatBoost {other:.2f} s: {ratio:.2f}"


def main() -> None:
    """Print the table as it is made, and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=ROWS[-1], help="rows")
    parser.add_argument("--repeats", type=int, default=3, help="of the comparison")
    options = parser.parse_args()
    one_core()
    print(machine())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for line in lines(options.most):
            print(line, flush=True)
    print(compared(options.repeats))


if __name__ == "__main__":
    main()
