"""Where a fit runs, in which precision, and on how many threads."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Below this much work in one step (floating-point operations), a second thread
# costs more than it brings, most of all on a machine that is busy elsewhere:
# starting a parallel region waits for the slowest core. tests/benchmarks has the
# measurement (bench_threads.py).
FLOPS_PER_STEP_FOR_THREADS = 1e9

# "auto" takes a GPU when one step does this much work. A cautious guess: no GPU has
# been measured yet. tests/benchmarks/bench_device.py finds the number for one.
FLOPS_PER_STEP_FOR_GPU = 3e9

DTYPES = {
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def resolve_device(device: str, flops_per_step: float = 0.0) -> torch.device:
    """Turn ``device=`` into a device that is there.

    Parameters
    ----------
    device : str
        "cpu", "cuda", "cuda:1", "mps", or "auto" (a GPU when one step does enough
        work to pay for it, else the CPU).
    flops_per_step : float, default=0.0
        Work of one optimiser step, in floating-point operations.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        When the name is not that of a device, or the device is absent.
    """
    if device == "auto":
        return _automatic_device(flops_per_step)
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not a device; expected 'auto', 'cpu', 'cuda', "
            "'cuda:0', ..., or 'mps'."
        ) from error
    _require_present(found, device)
    return found


def _automatic_device(flops_per_step: float) -> torch.device:
    if flops_per_step < FLOPS_PER_STEP_FOR_GPU:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _require_present(found: torch.device, asked: str) -> None:
    if found.type == "cpu":
        return
    if found.type == "cuda" and torch.cuda.is_available():
        if (found.index or 0) < torch.cuda.device_count():
            return
        raise ValueError(
            f"device={asked!r} was asked for, but this machine has only "
            f"{torch.cuda.device_count()} CUDA device(s), numbered from 0."
        )
    if found.type == "mps" and torch.backends.mps.is_available():
        return
    raise ValueError(
        f"device={asked!r} was asked for, but PyTorch {torch.__version__} sees no such "
        "device on this machine. Use device='cpu', or device='auto' to take a GPU "
        "only where there is one."
    )


def resolve_dtype(dtype: str, device: torch.device, exact: bool) -> torch.dtype:
    """Turn ``dtype=`` into a torch dtype.

    Parameters
    ----------
    dtype : {"auto", "bfloat16", "float32", "float64"}
        "auto" is float64 for exact fits (L-BFGS and full batch) and float32 for
        minibatches.
    device : torch.device
    exact : bool
        Whether the fit is one of those.

    Raises
    ------
    ValueError
        When float64 is asked for on MPS, which has none.
    """
    if dtype == "auto":
        exact = exact and device.type != "mps"
        return torch.float64 if exact else torch.float32
    if dtype == "float64" and device.type == "mps":
        raise ValueError(
            "dtype='float64' was asked for on device='mps', which has no float64. "
            "Use dtype='float32', or device='cpu'."
        )
    return DTYPES[dtype]


def stored_dtype(dtype: torch.dtype) -> torch.dtype:
    """Dtype of parameters, gradients, moments and tables: bfloat16 is for products."""
    return torch.float32 if dtype is torch.bfloat16 else dtype


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Send a tensor to a device; a GPU is not waited for.

    A plain copy to CUDA returns when all that the GPU was asked for before is done. A
    copy from pinned memory takes its turn, and PyTorch keeps that memory until then.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def fetched(*tensors: torch.Tensor) -> list[list[float]]:
    """Copy a few small tensors of one dtype to the CPU, waiting for the device once."""
    numbers = torch.cat([t.reshape(-1) for t in tensors]).tolist()
    ends = itertools.accumulate(t.numel() for t in tensors)
    return [
        numbers[end - t.numel() : end] for t, end in zip(tensors, ends, strict=True)
    ]


_lock = threading.Lock()
_depth = 0
_saved = 1


class _Own(threading.local):
    depth = 0  # blocks that this thread is in


_own = _Own()
_forked = False


def _begin_anew() -> None:
    """Forget, in a child that was forked, what threads of its parent were doing.

    None of them is here: neither one that held the lock, nor those of PyTorch.
    """
    global _lock, _depth, _forked
    _lock, _depth, _own.depth, _forked = threading.Lock(), 0, 0, True


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)


def settle_after_fork() -> None:
    """Let PyTorch work with one thread in a child that was forked.

    With more it waits forever for those that its parent had: OpenMP starts no others.
    Here rather than at the fork, which may be none of ours.
    """
    if _forked and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Run a block with at most ``n`` intra-op threads, and leave no trace.

    PyTorch's thread count belongs to the process, with a copy in every thread that
    has used it, so two threads that each save and restore it leave it wrong. Here
    the first one in saves the process's count and the last one out restores it;
    each restores its own copy. It only ever lowers the count: a user who set one
    thread has said so.
    """
    global _depth, _saved
    with _lock:
        settle_after_fork()
        mine = torch.get_num_threads()
        if _depth == 0:
            _saved = mine
        elif _own.depth == 0:
            # A thread that is new to PyTorch has copied a count lowered by others.
            mine = _saved = max(mine, _saved)
        _depth += 1
        if n < mine:
            torch.set_num_threads(n)
    _own.depth += 1
    try:
        yield
    finally:
        _own.depth -= 1
        with _lock:
            _depth -= 1
            torch.set_num_threads(mine if _depth else _saved)


def threads_for(flops_per_step: float) -> int:
    """Threads that a step of this much work can use."""
    if flops_per_step < FLOPS_PER_STEP_FOR_THREADS:
        return 1
    return torch.get_num_threads()
