"""The one door to the engine: lists of fits go in, their outcomes come out in order.

Fits that share architecture, loss, solver, device and dtype become one stack. Who asks
does not know who else is in it.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from . import linear_starts
from .engine.device import threads
from .engine.fit import Fit, Outcome
from .engine.rows import CHUNK_NUMBERS, SparseRows
from .engine.training import train
from .requests import Door, Request

# Parameters of one stack (K x P), with gradient, moments and copies some eight times
# as many numbers: half a gigabyte in float64.
MOST_STACKED_NUMBERS = 2**23
# On a CPU, stacks that leave the cache are slower than their members one by one: wide
# networks gain nothing from company. tests/benchmarks/bench_search.py measured it.
CACHED_NUMBERS = 2**17

_local = threading.local()


def fit_networks(requests: Sequence[Request]) -> list[Outcome]:
    """Train what is asked for.

    Parameters
    ----------
    requests : sequence of Request

    Returns
    -------
    list of Outcome
        In the order of the requests.
    """
    door: Door = getattr(_local, "door", train_requests)
    linear = [request for request in requests if request.starts_linear]
    if linear:
        linear_starts.start_at_linear_models(linear, door)
    return door(requests)


def linear_models(requests: Sequence[Request]) -> list[np.ndarray]:
    """Fit the linear models of the requests' rows: `linear_starts.linear_models`."""
    return linear_starts.linear_models(
        requests, getattr(_local, "door", train_requests)
    )


@contextmanager
def through(door: Door) -> Iterator[None]:
    """Send this thread's requests through another door for a while."""
    before = getattr(_local, "door", train_requests)
    _local.door = door
    try:
        yield
    finally:
        _local.door = before


def train_requests(requests: Sequence[Request]) -> list[Outcome]:
    """Group requests into stacks, train these, and sort the outcomes back."""
    outcomes: dict[int, Outcome] = {}
    for stack in stacks(requests):
        trained = train_stack([requests[i] for i in stack])
        outcomes.update(zip(stack, trained, strict=True))
    return [outcomes[i] for i in range(len(requests))]


def train_stack(
    requests: Sequence[Request], cancelled: Callable[[], bool] | None = None
) -> list[Outcome]:
    """Train requests of equal keys as one stack."""
    first = requests[0]
    return train(
        [request.fit for request in requests],
        first.architecture,
        first.loss,
        first.options,
        first.device,
        first.dtype,
        cancelled,
    )


def stacks(requests: Sequence[Request]) -> list[list[int]]:
    """Cut the numbers of the requests into lists that are trained together."""
    groups: dict[tuple, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(request.key, []).append(i)
    cut = []
    for group in groups.values():
        most = _most_together(requests[group[0]])
        n_stacks = -(-len(group) // most)
        cut += [group[i::n_stacks] for i in range(n_stacks)]
    return cut


def _most_together(request: Request) -> int:
    """Networks of one stack: as many as cache (on a CPU) and memory bear."""
    architecture, fit = request.architecture, request.fit
    if request.device.type != "cpu":
        return max(1, MOST_STACKED_NUMBERS // architecture.n_parameters)
    # Batches that have to be cut into pieces gain nothing from company either.
    batch = fit.settings.batch_size or len(fit.index)
    together = CHUNK_NUMBERS // (batch * architecture.widest)
    return max(1, min(CACHED_NUMBERS // architecture.n_parameters, together))


class Tables:
    """Tables of fits that wait: equal ones, such as a fold's of many candidates, once.

    Found by content: every task of a search has made its own copy.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple, list[tuple[Tensor, Tensor]]] = {}

    def share(self, requests: Sequence[Request]) -> None:
        """Give fits the table of an earlier one where it is equal to their own."""
        with threads(1):  # of PyTorch: those that ask are many already
            for request in requests:
                if not isinstance(request.fit.x, SparseRows):
                    self._share(request.fit, request.fit.x)

    def _share(self, fit: Fit, own: Tensor) -> None:
        same = self._seen.setdefault(_fingerprint(own, fit.y), [])
        for x, y in same:
            if torch.equal(x, own) and torch.equal(y, fit.y):
                if fit.x_val is own:
                    fit.x_val, fit.y_val = x, y
                fit.x, fit.y = x, y
                return
        same.append((own, fit.y))


def _fingerprint(x: Tensor, y: Tensor) -> tuple:
    """Shapes, dtypes and a checksum: equal for equal tables, seldom for others."""
    rows = x[:: max(1, len(x) // 1000)].contiguous()
    return (x.shape, x.dtype, y.shape, y.dtype, zlib.crc32(rows.numpy().tobytes()))
