"""One thread against two, by the work of a step, on an idle and on a busy machine.

Prints the time of a fit with two intra-op threads over its time with one. Where the
ratio is above 1 a second thread does harm; `sklearn_ann.engine.device` keeps fits with
less work a step than ``FLOPS_PER_STEP_FOR_THREADS`` on one thread. The machine is made
busy by one process that keeps one core occupied. Not pinned: threads are the subject.

    python -m tests.benchmarks.bench_threads
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from sklearn_ann import ANNRegressor
from sklearn_ann.engine import device

# hidden layers, rows, epochs: from 1e5 to 1e10 operations a step.
CASES = (
    ((16,), 2_000, 20),
    ((100,), 10_000, 5),
    ((256, 256), 10_000, 2),
    ((512, 512), 5_000, 2),
    ((1024, 1024), 2_000, 2),
    ((2048, 2048), 2_000, 1),
)
COLUMNS, BATCH, REPEATS = 20, 200, 5


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core occupied by another process."""
    process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    process.start()
    time.sleep(1.0)
    try:
        yield
    finally:
        process.kill()
        process.join()


def seconds(threads: int, network: ANNRegressor, X: np.ndarray, y: np.ndarray) -> float:
    """Time of one fit with the thread policy overruled."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    network.fit(X, y)
    return time.perf_counter() - start


def ratio(hidden: tuple[int, ...], n: int, epochs: int) -> tuple[float, float]:
    """Operations a step, and median time with two threads over that with one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, COLUMNS))
    network = ANNRegressor(
        hidden,
        "relu",
        early_stopping=False,
        max_iter=epochs,
        batch_size=BATCH,
        tol=0.0,
        n_iter_no_change=np.inf,
        random_state=0,
    )
    y = X[:, 0] + rng.normal(size=n)
    pairs = [
        (seconds(2, network, X, y), seconds(1, network, X, y)) for _ in range(REPEATS)
    ]
    work = 6.0 * network.n_parameters_ * BATCH
    return work, statistics.median(two / one for two, one in pairs)


def main() -> None:
    """Print the table."""
    import warnings

    warnings.simplefilter("ignore")
    device.FLOPS_PER_STEP_FOR_THREADS = 0.0
    print(f"{'hidden':>14} {'operations a step':>18} {'idle':>6} {'busy':>6}")
    for case in CASES:
        work, idle = ratio(*case)
        with busy_core():
            busy = ratio(*case)[1]
        print(f"{case[0]!s:>14} {work:18.1e} {idle:6.2f} {busy:6.2f}")


if __name__ == "__main__":
    main()
