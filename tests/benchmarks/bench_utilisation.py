"""What share of the device's own matrix-product peak a fit reaches, by width.

The peak is measured here: the best rate of one large product in the dtype of training.
A fit's rate is its arithmetic, 6 operations for each parameter and row (two forward,
four back), over its time per epoch; set-up is taken out by timing two lengths of fit.
The batch is as large as the network is wide, at least 256.

    python -m tests.benchmarks.bench_utilisation [--device cuda] [--dtype bfloat16]
        [--markdown FILE]

On a GPU run it for float32, under TF32 (``--tf32``) and for bfloat16.
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

# What the networks must reach of the peak, where a goal is set: on one CPU core in
# float32, and on a GPU in bfloat16.
CASES: tuple[tuple[int, ...], ...] = (
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512),
    (1024, 1024),
)
WIDER: tuple[tuple[int, ...], ...] = ((2048, 2048), (4096, 4096), (8192, 8192))
GOALS = {
    ("cpu", "float32", (256, 256, 256)): 0.75,
    ("cpu", "float32", (1024, 1024)): 0.85,
    ("cuda", "bfloat16", (8192, 8192)): 0.60,
}
COLUMNS, STEPS, REPEATS = 64, 12, 3
# Rows of an epoch on a GPU: many steps of a small network, which takes microseconds.
GPU_ROWS = 2**18


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


def rate(hidden: tuple[int, ...], device: str, dtype: str) -> tuple[int, int, float]:
    """Parameters, batch and operations a second of training."""
    batch = max(256, hidden[0])
    steps = STEPS if device == "cpu" else max(STEPS, GPU_ROWS // batch)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((batch * steps, COLUMNS), dtype=np.float32)
    y = X[:, 0]

    def fit(epochs: int) -> ANNRegressor:
        return ANNRegressor(
            hidden,
            "relu",
            early_stopping=False,
            batch_size=batch,
            max_iter=epochs,
            tol=0.0,
            n_iter_no_change=inf,
            dtype=dtype,
            device=device,
            random_state=0,
        ).fit(X, y)

    n_parameters = fit(1).n_parameters_
    seconds = [
        best_seconds(lambda: fit(3), 1) - best_seconds(lambda: fit(1), 1)
        for _ in range(REPEATS)
    ]
    work = 6.0 * n_parameters * batch * steps * 2
    return n_parameters, batch, work / median(seconds)


def place(device: str) -> str:
    """The device, and the card's name where it is one."""
    return device if device == "cpu" else f"{torch.cuda.get_device_name(device)}"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--tf32", action="store_true", help="for products of float32")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    on_cpu = options.device == "cpu"
    if on_cpu:
        one_core()
    if options.tf32:
        torch.set_float32_matmul_precision("high")
    warnings.simplefilter("ignore")
    name = options.dtype + (" with TF32" if options.tf32 else "")
    dtype = getattr(torch, options.dtype)
    top = peak(options.device, dtype, 2048 if on_cpu else 8192)
    lines = [
        f"{machine()}; {place(options.device)}; peak {top / 1e9:.1f} GFLOP/s in {name}",
        "",
        "| hidden | parameters | batch | GFLOP/s | share of peak | goal |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for hidden in CASES if on_cpu else CASES + WIDER:
        n_parameters, batch, reached = rate(hidden, options.device, options.dtype)
        goal = GOALS.get((options.device.split(":")[0], options.dtype, hidden))
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
