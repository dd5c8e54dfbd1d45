"""Two ideas for stacks, measured: one first product for all, and padded hidden layers.

Candidates of one fold and seed see the same batches, so the first products of K
networks, (b, d) by (d, h) each, could be one of (b, d) by (d, K h), and so could their
gradients. And networks of close widths could share a stack in which the narrower ones
are padded to the width of the widest.

    python -m tests.benchmarks.bench_stacking
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch

from sklearn_ann import ANNRegressor

from .bench_fit import data
from .bench_search import COMMON
from .timing import interleaved, one_core

CALLS = 200


def microseconds(call: Callable[[], object]) -> float:
    """Best of seven means over many calls."""
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter() - start)
    return best / CALLS * 1e6


def first_products(K: int, b: int, d: int, h: int) -> tuple[float, float]:
    """Microseconds of the first layer's products in a step: apart, and as one.

    As one, the result stands as (b, K, h), and must be brought to (K, b, h) for the
    layers that follow, and back for the gradient.
    """
    x, W = torch.randn(b, d + 1), torch.randn(K, d + 1, h)
    xs, z, g = x.expand(K, b, d + 1).contiguous(), torch.empty(K, b, h), W.clone()
    wide_W, wide_z = torch.randn(d + 1, K * h), torch.empty(b, K * h)
    wide_g, turned = wide_W.clone(), torch.empty(K, b, h)

    def apart() -> None:
        torch.bmm(xs, W, out=z)
        torch.bmm(xs.mT, z, out=g)

    def as_one() -> None:
        torch.mm(x, wide_W, out=wide_z)
        turned.copy_(wide_z.view(b, K, h).transpose(0, 1))
        wide_z.view(b, K, h).copy_(turned.transpose(0, 1))
        torch.mm(x.mT, wide_z, out=wide_g)

    with torch.inference_mode():
        return microseconds(apart), microseconds(as_one)


def stack_seconds(widths: dict[int, int], d: int, repeats: int = 5) -> dict[str, float]:
    """Seconds of stacks of so many networks of each width, and of a padded one."""
    X, y = data(2_000, d)

    def fit(width: int, count: int) -> Callable[[], object]:
        options = {**COMMON, "dtype": "float32", "standardize": False}
        return partial(ANNRegressor((width,), n_init=count, **options).fit, X, y)

    own = [fit(width, count) for width, count in widths.items()]
    padded = fit(max(widths), sum(widths.values()))
    seconds = interleaved(
        {"own": lambda: [task() for task in own], "padded": padded}, repeats
    )
    return {name: median(values) for name, values in seconds.items()}


def main() -> None:
    """Print both tables."""
    one_core()
    print("first products of a step, K networks on the same rows (us)")
    print(f"{'K':>5}{'b':>5}{'d':>5}{'h':>5}{'apart':>9}{'as one':>9}{'ratio':>7}")
    for sizes in ((15, 32, 10, 16), (15, 32, 10, 32), (15, 32, 100, 16)):
        apart, one = first_products(*sizes)
        text = "".join(f"{size:>5}" for size in sizes)
        print(f"{text}{apart:>9.1f}{one:>9.1f}{one / apart:>7.2f}")
    print("\nstacks of two widths, 2000 x 10, 20 epochs of batches of 32 (s)")
    print(f"{'networks of each width':>30}{'own':>7}{'padded':>8}{'ratio':>7}")
    for widths in ({14: 50, 16: 50}, {12: 50, 16: 50}, {14: 5, 16: 5}, {12: 5, 16: 5}):
        seconds = stack_seconds(widths, 10)
        text = ", ".join(f"{count} of {width}" for width, count in widths.items())
        own, padded = seconds["own"], seconds["padded"]
        print(f"{text:>30}{own:>7.2f}{padded:>8.2f}{padded / own:>7.2f}")


if __name__ == "__main__":
    main()
