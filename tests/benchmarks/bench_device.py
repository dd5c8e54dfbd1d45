"""Time of a step on the CPU and on a GPU by the work of a step, and where they cross.

Prints the constant to write into `sklearn_ann.engine.device`: from
``FLOPS_PER_STEP_FOR_GPU`` operations a step on, ``device="auto"`` takes the GPU. The
CPU trains as it would for a user, on as many threads as the package thinks fit. A step
is timed as the difference of two lengths of fit, so set-up is not in it: data go to the
GPU once a fit, which long fits do not notice and short ones do. The constant is for
fits of at least some hundred steps.

    python -m tests.benchmarks.bench_device [--device cuda] [--markdown FILE]

``--device cpu`` sets the CPU against itself: a way to see that the script runs.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Sequence
from math import inf
from pathlib import Path
from statistics import median

import numpy as np
import torch

from sklearn_ann import ANNRegressor
from sklearn_ann.engine.architecture import Architecture

from .timing import machine

# hidden layers and batch: from 1e5 to 1e11 operations a step.
CASES = (
    ((16,), 32),
    ((100,), 200),
    ((64, 64), 256),
    ((256, 256), 256),
    ((512, 512), 256),
    ((512, 512), 1024),
    ((1024, 1024), 1024),
    ((2048, 2048), 1024),
    ((4096, 4096), 1024),
)
COLUMNS, REPEATS = 20, 5
MOST_STEPS = 100
# Work of the epochs that are timed, so that none takes the CPU longer than seconds.
WORK = 2e11


def step_seconds(hidden: tuple[int, ...], batch: int, device: str) -> float:
    """Median time of a step of Adam, from fits of one and of three epochs."""
    work = work_of(hidden, batch)
    steps = max(4, min(MOST_STEPS, int(WORK / work)))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((batch * steps, COLUMNS), dtype=np.float32)

    def seconds(epochs: int) -> float:
        network = ANNRegressor(
            hidden,
            "relu",
            early_stopping=False,
            batch_size=batch,
            max_iter=epochs,
            tol=0.0,
            n_iter_no_change=inf,
            device=device,
            dtype="float32",
            random_state=0,
        )
        start = time.perf_counter()
        network.fit(X, X[:, 0])
        return time.perf_counter() - start

    seconds(1)
    longer = median(seconds(3) - seconds(1) for _ in range(REPEATS))
    return max(longer, 1e-9) / (2 * steps)


def work_of(hidden: tuple[int, ...], batch: int) -> float:
    """Operations of a step, as ``device="auto"`` counts them."""
    network = Architecture(COLUMNS, hidden, 1, ("relu",) * len(hidden))
    return network.flops_per_row * batch


def crossing(work: Sequence[float], ratios: Sequence[float]) -> float | None:
    """Work from which on the GPU is never slower, between two measured cases.

    Parameters
    ----------
    work : sequence of float
        Operations a step, rising.
    ratios : sequence of float
        Time on the CPU over time on the GPU.

    Returns
    -------
    float or None
        Where the ratio, straight between cases on scales of logarithms, is one for the
        last time. None where the last case is slower on the GPU; the first case's work
        where all are faster.
    """
    slower = [i for i, ratio in enumerate(ratios) if ratio < 1.0]
    if not slower:
        return work[0]
    i = slower[-1]
    if i + 1 == len(work):
        return None
    rise = math.log(ratios[i + 1] / ratios[i])
    share = -math.log(ratios[i]) / rise
    return work[i] * (work[i + 1] / work[i]) ** share


def constant(work: float) -> str:
    """The work with one digit, rounded up: in doubt for the CPU."""
    power = 10.0 ** math.floor(math.log10(work))
    digits = math.ceil(round(work / power, 6))
    return f"{digits * power:.0e}".replace("e+", "e").replace("e0", "e")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    where = options.device
    name = where if where == "cpu" else torch.cuda.get_device_name(where)
    lines = [
        f"{machine()}, {torch.get_num_threads()} threads; {name}",
        "",
        f"| hidden | batch | operations a step | us, CPU | us, {where} | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    work, ratios = [], []
    for hidden, batch in CASES:
        seconds = [step_seconds(hidden, batch, device) for device in ("cpu", where)]
        work.append(work_of(hidden, batch))
        ratios.append(seconds[0] / seconds[1])
        times = " | ".join(f"{1e6 * s:.1f}" for s in seconds)
        lines.append(
            f"| {hidden} | {batch} | {work[-1]:.1e} | {times} | {ratios[-1]:.2f} |"
        )
    found = crossing(work, ratios)
    lines += ["", "The CPU is faster throughout: raise the cases."]
    if found is not None:
        lines[-1] = (
            f"Crossing at {found:.1e}: FLOPS_PER_STEP_FOR_GPU = {constant(found)}"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
