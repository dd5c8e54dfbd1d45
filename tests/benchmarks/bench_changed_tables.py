"""What other units, and columns of noise, cost the defaults, in R2.

The same rows with columns times 1e3 or 1e-6, with targets times 1e6, and with ten
columns of standard normal noise; scores on test rows, means over seeds, which draw both
the rows and the noise. The tables are scikit-learn's diabetes, Friedman's first one,
and some of the accuracy benchmark's where these are installed. Beside it what the noise
costs peers, least squares first.

    python -m tests.benchmarks.accuracy --install
    python -m tests.benchmarks.bench_changed_tables [--seeds 5] [--peers catboost]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.metrics import r2_score

from sklearn_ann import ANNRegressor

from .accuracy.__main__ import BUILD
from .accuracy.models import PEERS, Model, is_installed, make
from .accuracy.protocol import Split, split
from .accuracy.sets import TABLES, Data, load
from .timing import one_core

REAL = ("wage", "computers", "airfare", "ofp")
NOISE_COLUMNS = 10
Change = Callable[[Split, int], Split]


def times(part: Split, columns: float = 1.0, targets: float = 1.0) -> Split:
    """Change the units of all columns of numbers, or of the targets."""

    def scaled(X: pd.DataFrame) -> pd.DataFrame:
        X = X.copy()
        numbers = list(X.select_dtypes("number"))
        X[numbers] = X[numbers] * columns
        return X

    rows = scaled(part.X_train), scaled(part.X_test)
    return Split(*rows, part.y_train * targets, part.y_test * targets)


def noisy(part: Split, seed: int) -> Split:
    """Add columns of noise."""
    rng = np.random.default_rng([seed, 1])

    def wider(X: pd.DataFrame) -> pd.DataFrame:
        noise = rng.standard_normal((len(X), NOISE_COLUMNS))
        names = [f"noise{i}" for i in range(NOISE_COLUMNS)]
        return pd.concat([X, pd.DataFrame(noise, X.index, names)], axis=1)

    return Split(wider(part.X_train), wider(part.X_test), part.y_train, part.y_test)


NOISE = "ten columns of noise"
# What is changed, and the most R2 it may cost.
CHANGES: dict[str, tuple[Change, float]] = {
    "columns x 1e3": (lambda part, seed: times(part, columns=1e3), 0.005),
    "targets x 1e6": (lambda part, seed: times(part, targets=1e6), 0.005),
    "columns x 1e-6": (lambda part, seed: times(part, columns=1e-6), 0.02),
    NOISE: (noisy, 0.02),
}


def data(name: str, folder: Path, seed: int) -> Data:
    """Read or draw a table."""
    if name == "diabetes":
        return Data(*load_diabetes(return_X_y=True, as_frame=True))
    if name == "friedman1":
        X, y = make_friedman1(1500, noise=1.0, random_state=seed)
        return Data(pd.DataFrame(X).add_prefix("x"), y)
    return load(next(table for table in TABLES if table.name == name), folder)


def reached(part: Split, seed: int) -> float:
    """R2 of the defaults on the test rows."""
    network = ANNRegressor(random_state=seed).fit(part.X_train, part.y_train)
    return float(r2_score(part.y_test, network.predict(part.X_test)))


def scores(name: str, folder: Path, seeds: int) -> np.ndarray:
    """R2 as it is and after each change, (1 + changes, seeds)."""
    columns = []
    for seed in range(seeds):
        table = data(name, folder, seed)
        part = split(Data(table.X, np.asarray(table.y)), "regression", seed)
        changed = [change(part, seed) for change, _ in CHANGES.values()]
        columns.append([reached(each, seed) for each in (part, *changed)])
    return np.array(columns).T


def cost_of_noise(model: Model, name: str, folder: Path, seeds: int) -> np.ndarray:
    """R2 that columns of noise cost a peer, (seeds,)."""
    lost = []
    for seed in range(seeds):
        table = data(name, folder, seed)
        plain = split(Data(table.X, np.asarray(table.y)), "regression", seed)
        scores = []
        for part in (plain, noisy(plain, seed)):
            peer = make(model, part.X_train, "regression", seed)
            peer.fit(part.X_train, part.y_train)
            scores.append(r2_score(part.y_test, peer.predict(part.X_test)))
        lost.append(scores[0] - scores[1])
    return np.array(lost)


def lines(
    names: list[str], folder: Path, seeds: int, peers: list[Model]
) -> Iterator[str]:
    """Yield the table, a line for each change of each table."""
    yield f"{'table':10}  {'change':20}  {'R2':>6}  {'lost':>7}  {'error':>6}  verdict"
    for name in names:
        plain, *others = scores(name, folder, seeds)
        for (change, (_, most)), found in zip(CHANGES.items(), others, strict=True):
            lost = plain - found
            error = lost.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else np.nan
            verdict = "reached" if lost.mean() <= most else "MISSED"
            yield (
                f"{name:10}  {change:20}  {plain.mean():6.3f}  {lost.mean():+7.4f}  "
                f"{error:6.4f}  {verdict}"
            )
        for peer in peers:
            cost = cost_of_noise(peer, name, folder, seeds).mean()
            yield f"{name:10}  {NOISE:20}  {'':6}  {cost:+7.4f}  {'':6}  {peer.name}"


def main() -> None:
    """Print the table as it is made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=BUILD / "packages")
    known = {peer.name: peer for peer in PEERS if is_installed(peer)}
    parser.add_argument("--peers", nargs="*", choices=known, default=["linear"])
    options = parser.parse_args()
    one_core()
    names = ["diabetes", "friedman1", *(REAL if options.data.exists() else ())]
    peers = [known[name] for name in options.peers]
    for line in lines(names, options.data, options.seeds, peers):
        print(line, flush=True)


if __name__ == "__main__":
    main()
