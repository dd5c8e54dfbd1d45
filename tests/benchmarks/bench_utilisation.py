"""What share of the device's own matrix-product peak a fit reaches, by width.

The peak is measured here: the best rate of one large product in the dtype of training.
A fit's rate is its arithmetic, 6 operations for each parameter and row (two forward,
four back), over its time per epoch; set-up is taken out by timing two lengths of fit.
The batch is as large as the network is wide, at least 256.

    python -m tests.benchmarks.bench_utilisation [--device cuda] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from math import inf
from pathlib import Path
from statistics import median

import numpy as np
import torch

from sklearn_ann import ANNRegressor

from .timing import machine, one_core

# hidden layers; what one CPU core must reach of its peak, where a goal is set.
CASES: tuple[tuple[tuple[int, ...], float | None], ...] = (
    ((64, 64), None),
    ((128, 128), None),
    ((256, 256, 256), 0.75),
    ((512, 512), None),
    ((1024, 1024), 0.85),
)
WIDER: tuple[tuple[tuple[int, ...], float | None], ...] = (
    ((2048, 2048), None),
    ((4096, 4096), None),
    ((8192, 8192), None),
)
COLUMNS, STEPS, REPEATS = 64, 12, 3


def best_seconds(task: Callable[[], object], repeats: int = REPEATS) -> float:
    """Least time of a few runs: a peak is what is possible, not what is usual."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def peak(device: str, dtype: torch.dtype, side: int) -> float:
    """Operations a second of one square product."""
    a = torch.randn(side, side, device=device, dtype=dtype)
    out = torch.empty_like(a)

    def product() -> None:
        torch.mm(a, a, out=out)
        if device != "cpu":
            torch.cuda.synchronize()

    product()
    return 2.0 * side**3 / best_seconds(product)


def rate(hidden: tuple[int, ...], device: str) -> tuple[int, int, float]:
    """Parameters, batch and operations a second of training."""
    batch = max(256, hidden[0])
    rng = np.random.default_rng(0)
    X = rng.standard_normal((batch * STEPS, COLUMNS)).astype(np.float32)
    y = X[:, 0]

    def fit(epochs: int) -> ANNRegressor:
        return ANNRegressor(
            hidden,
            batch_size=batch,
            max_iter=epochs,
            tol=0.0,
            n_iter_no_change=inf,
            dtype="float32",
            device=device,
            random_state=0,
        ).fit(X, y)

    n_parameters = fit(1).n_parameters_
    seconds = [
        best_seconds(lambda: fit(3), 1) - best_seconds(lambda: fit(1), 1)
        for _ in range(REPEATS)
    ]
    work = 6.0 * n_parameters * batch * STEPS * 2
    return n_parameters, batch, work / median(seconds)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    if options.device == "cpu":
        one_core()
    warnings.simplefilter("ignore")
    on_cpu = options.device == "cpu"
    top = peak(options.device, torch.float32, 2048 if on_cpu else 8192)
    lines = [
        f"{machine()}; {options.device}; peak {top / 1e9:.1f} GFLOP/s in float32",
        "",
        "| hidden | parameters | batch | GFLOP/s | share of peak | goal |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for hidden, goal in CASES if on_cpu else CASES + WIDER:
        n_parameters, batch, reached = rate(hidden, options.device)
        wanted = "" if goal is None else f"{goal:.0%}"
        lines.append(
            f"| {hidden} | {n_parameters:,} | {batch} | {reached / 1e9:.1f} "
            f"| {reached / top:.0%} | {wanted} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)


if __name__ == "__main__":
    main()
