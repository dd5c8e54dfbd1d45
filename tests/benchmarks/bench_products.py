"""Products with narrow results: PyTorch's time over NumPy's, on one core.

``python -m tests.benchmarks.bench_products [--markdown FILE] [--repeats N]``

The products of a layer of ``r`` units behind ``q`` columns, for ``b`` rows: forward,
(b, q) by (q, r), and the gradient of the layer's weights, (q, b) by (b, r); for one
network and for twenty in a stack. Above one, NumPy's BLAS is the faster one. The target
says which of the two `sklearn_ann.engine.products` takes on this machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from sklearn_ann.engine import products

from .timing import Result, one_core, to_markdown, to_text

ROWS = ((32, 17), (200, 65), (753, 7))
COLUMNS = (1, 3, 8, 16, 32)
CALLS = 200


def seconds(call: Callable[[], object]) -> float:
    """Seconds of a call, from many."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS


def ratio(a: torch.Tensor, b: torch.Tensor, repeats: int) -> float:
    """PyTorch's time over NumPy's for one product, in turns."""
    stack = a.shape[:-2]
    out = torch.empty(*stack, a.shape[-2], b.shape[-1], dtype=a.dtype)
    turned = bool(stack) and b.shape[-1] == 1
    by_torch = partial(torch.bmm if stack else torch.mm, a, b, out=out)
    if turned:  # the better one of what PyTorch has
        by_torch = partial(torch.bmm, b.mT, a.mT, out=out.mT)
    by_numpy = partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy())
    rounds = [seconds(by_torch) / seconds(by_numpy) for _ in range(repeats)]
    return median(rounds)


def results(repeats: int) -> list[Result]:
    """One line for each dtype, stack, size and number of columns."""
    lines = []
    for dtype in (torch.float32, torch.float64):
        for stack in ((), (20,)):
            for b, q in ROWS:
                for r in COLUMNS:
                    x = torch.randn(*stack, b, q, dtype=dtype)
                    w = torch.randn(*stack, q, r, dtype=dtype)
                    z = torch.randn(*stack, b, r, dtype=dtype)
                    up, down = ratio(x, w, repeats), ratio(x.mT, z, repeats)
                    taken = products.is_for_numpy(b, q, z)
                    name = f"{str(dtype)[6:]}, {len(x) if stack else 1} x {b} x {q}"
                    line = Result(
                        f"{name}, {r} units",
                        up,
                        1.0,
                        taken,
                        detail=f"gradient {down:.2f}",
                    )
                    lines.append(line)
    return lines


def main() -> None:
    """Measure, print, and write the table if asked to."""
    parser = argparse.ArgumentParser(description="Products with narrow results.")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    one_core()
    found = results(args.repeats)
    print(to_text(found))
    if args.markdown:
        args.markdown.write_text(to_markdown(found), encoding="utf-8")


if __name__ == "__main__":
    main()
