"""Products of matrices: PyTorch's, or NumPy's where those are faster on a CPU.

PyTorch's builds for x86 multiply with Intel's MKL, which on processors of AMD takes up
to five times as long as NumPy's OpenBLAS where the result has few columns: a
layer of few units, an output for each class. ``tests/benchmarks/bench_products.py``
measures it. The choice depends on the machine and on shapes alone, so that a fit does
the same every time.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Call = Callable[[], object]
Product = Callable[..., object]
"""(a, b, *, out) -> object: a b, of (K, p, q) and (K, q, r), or (p, q) and (q, r)."""

# Results of so many columns are NumPy's.
COLUMNS = {torch.float32: range(1, 16), torch.float64: range(1, 33)}
# Multiplications for which OpenBLAS starts no threads (65536 times its
# GEMM_MULTITHREAD_THRESHOLD of 4): how many a fit may take is set in PyTorch alone.
MOST_WORK = 2**18

# For what calls products: what is not finite is found by its effects.
quiet = np.errstate(all="ignore")


def product(p: int, q: int, out: Tensor) -> Product:
    """Choose the product of (p, q) by (q, r) matrices, one or K of them.

    Parameters
    ----------
    p, q : int
    out : Tensor of shape (p, r) or (K, p, r)
        Where the result will go, or one like it.
    """
    if is_for_numpy(p, q, out):
        return _in_numpy
    if out.ndim == 2:
        return torch.mm
    return _turned if out.shape[-1] == 1 else torch.bmm


def multiplication(a: Tensor, b: Tensor, out: Tensor) -> Call:
    """Make the call that writes the product of tensors that stay into ``out``."""
    p, q = a.shape[-2:]
    if q == 1 and out.ndim == 3:
        return partial(torch.mul, a, b, out=out)
    if is_for_numpy(p, q, out):
        return partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy())
    return partial(product(p, q, out), a, b, out=out)


def is_for_numpy(p: int, q: int, out: Tensor) -> bool:
    """Whether NumPy is the one to multiply (p, q) by (q, r) matrices into ``out``."""
    r = out.shape[-1]
    one_vector = out.ndim == 2 and r == 1  # which MKL multiplies as fast
    return (
        out.is_cpu
        and r in COLUMNS.get(out.dtype, ())
        and not one_vector
        and p * q * r <= MOST_WORK
        and _numpy_is_faster()
    )


def _in_numpy(a: Tensor, b: Tensor, *, out: Tensor) -> None:
    np.matmul(a.numpy(), b.numpy(), out=out.numpy())


def _turned(a: Tensor, b: Tensor, *, out: Tensor) -> None:
    """Several products with a vector, faster turned round."""
    torch.bmm(b.mT, a.mT, out=out.mT)


@cache
def _numpy_is_faster() -> bool:
    """Whether PyTorch has MKL, NumPy has OpenBLAS, and the processor is AMD's."""
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {}).get("name", "")
    return (
        torch.backends.mkl.is_available()
        and "openblas" in blas
        and "AuthenticAMD" in _processor()
    )


def _processor() -> str:
    """Return a text in which the processor's maker has its name."""
    described = Path("/proc/cpuinfo")
    if not described.exists():
        return platform.processor()
    with described.open() as lines:
        return next((line for line in lines if line.startswith("vendor_id")), "")
