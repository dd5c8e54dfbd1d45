"""L-BFGS for K independent problems: one memory and one line search for each.

Shape letters: K problems, P parameters of one problem, m remembered pairs.

The tensors of all K problems are worked on together; the decisions of the line
searches are plain Python numbers, one `LineSearch` per problem. No sum ever runs over
K, so a problem takes the same path in a stack as alone, whatever its neighbours do.

Small problems cost calls, not arithmetic. Hence buffers and views of them are made
once, and on the CPU they are NumPy's, on the same memory: its calls cost less than
torch's.

The direction is in `inverse_hessian.py`, the steps along it in `line_search.py`, each
with its sources.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container
from typing import Any

import torch
from torch import Tensor

from .inverse_hessian import InverseHessians
from .line_search import LineSearch
from .products import quiet

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x (K, P) -> f (K,), g (K, P); the result may be overwritten by the next call."""
EvaluateSome = Callable[[Tensor, list[int]], tuple[Tensor, Tensor]]
"""x (k, P) and the numbers of k problems -> f (k,), g (k, P)."""

FEW = 0.5  # a smaller share of problems is worth an evaluation of its own


class LBFGS:
    """Minimise K functions at once; the caller owns loop and convergence tests.

    Parameters
    ----------
    x : Tensor
        Shape (K, P). Starting points; copied.
    memory : int, default=10
        Pairs of steps and gradient changes kept per problem (m).
    max_search : int, default=30
        Most evaluations of one line search.

    Attributes
    ----------
    x, g : Tensor
        Shape (K, P). Current points and gradients.
    values : list of float
        Current values, one per problem; `f` is the same as a Tensor of shape (K,).
    evaluations : list of int
        Evaluations that each problem has used; as a Tensor, `n_evaluations`.
    stuck : set of int
        Problems for which no lower point was found, not even along the gradient, or
        whose f or g is not finite at the start. They are finished. As a Tensor of
        shape (K,), bool, `stalled`.
    finished : Tensor
        Shape (K,), bool. Problems that `iterate` leaves alone.

    Examples
    --------
    >>> target = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    >>> def evaluate(x):
    ...     return ((x - target) ** 4).sum(-1), 4 * (x - target) ** 3
    >>> solver = LBFGS(torch.zeros_like(target))
    >>> solver.start(evaluate)
    >>> while not solver.finished.all():
    ...     solver.iterate(evaluate)
    ...     solver.finish(solver.gradient_max < 1e-9)
    >>> solver.x.round(decimals=2).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """

    def __init__(self, x: Tensor, *, memory: int = 10, max_search: int = 30) -> None:
        assert x.ndim == 2 and memory >= 1, f"{x.shape=}, {memory=}"
        K, P = x.shape
        self.x, self.g = x.clone(), torch.zeros_like(x)
        self._arrays: list[Any] = []  # x, g as the memory wants them
        self.values = [math.nan] * K
        self.evaluations = [0] * K
        self.stuck: set[int] = set()
        self._finished: set[int] = set()
        self.max_search = max_search
        self._maxima: list[float] | None = None
        sizes = (memory, P), (memory, P), (memory,), (memory, memory), (1,)
        self._memory = InverseHessians(0, *(x.new_zeros(K, *size) for size in sizes))

    @property
    def f(self) -> Tensor:
        """Current values, shape (K,)."""
        return self.x.new_tensor(self.values)

    @property
    def gradient_max(self) -> Tensor:
        """Largest absolute element of each gradient, shape (K,)."""
        return self.g.abs().amax(-1)

    @property
    def gradient_maxima(self) -> list[float]:
        """The same as a list; worked out once an iteration."""
        if self._maxima is None:
            self._maxima = self._memory.maxima(self._arrays[1])
        return self._maxima

    @property
    def n_evaluations(self) -> Tensor:
        """Evaluations that each problem has used, shape (K,), int64."""
        return torch.tensor(self.evaluations, device=self.x.device)

    @property
    def stalled(self) -> Tensor:
        """Problems that found no way down, shape (K,), bool."""
        return self._mask(self.stuck)

    @property
    def finished(self) -> Tensor:
        """Problems that `iterate` leaves alone, shape (K,), bool."""
        return self._mask(self._finished)

    def start(self, evaluate: Evaluate) -> None:
        """Evaluate at x and forget everything else."""
        f, g = evaluate(self.x)
        self.g, self.values, self._maxima = g.clone(), f.tolist(), None
        self._arrays = self._memory.views(self.x, self.g)
        self.evaluations = [1] * len(self.values)
        finite = f.isfinite() & self.g.isfinite().all(-1)
        self.stuck = _numbers(~finite)
        self._finished = set(self.stuck)
        self._memory.forget(torch.ones_like(finite), self.g)

    def finish(self, mask: Tensor) -> None:
        """Leave the problems in mask, shape (K,) bool, as they are from now on."""
        self._finished |= _numbers(mask)

    def select(self, keep: Tensor) -> None:
        """Keep only the problems with the indices keep, shape (new K,) int64."""
        kept = keep.tolist()
        self.values = [self.values[k] for k in kept]
        self.evaluations = [self.evaluations[k] for k in kept]
        self.stuck = {i for i, k in enumerate(kept) if k in self.stuck}
        self._finished = {i for i, k in enumerate(kept) if k in self._finished}
        self.x, self.g = self.x[keep], self.g[keep]
        self._memory, self._maxima = self._memory.select(keep), None
        self._arrays = self._memory.views(self.x, self.g)

    def to(self, device: torch.device) -> LBFGS:
        """Copy to a device."""
        copied = copy.deepcopy(self)
        copied.x, copied.g = copied.x.to(device), copied.g.to(device)
        slot, *tensors = copied._memory.__reduce__()[1]
        copied._memory = InverseHessians(slot, *(t.to(device) for t in tensors))
        copied._arrays = copied._memory.views(copied.x, copied.g)
        return copied

    def pieces(self) -> dict[str, Any]:
        """Return all that it knows, to be written down."""
        return {
            "x": self.x,
            "g": self.g,
            "values": list(self.values),
            "evaluations": list(self.evaluations),
            "stuck": sorted(self.stuck),
            "finished": sorted(self._finished),
            "max_search": self.max_search,
            "slot": self._memory.slot,
            "memory": list(self._memory.tensors),
        }

    @classmethod
    def of_pieces(
        cls,
        x: Tensor,
        g: Tensor,
        values: list[float],
        evaluations: list[int],
        stuck: list[int],
        finished: list[int],
        max_search: int,
        slot: int,
        memory: list[Tensor],
    ) -> LBFGS:
        """Rebuild what `pieces` wrote down.

        Raises
        ------
        ValueError
            When the pieces do not belong together.
        """
        K, P = x.shape
        m = memory[0].shape[1]
        shapes = [(K, m, P), (K, m, P), (K, m), (K, m, m), (K, 1)]
        lists = len(values) == len(evaluations) == K
        if g.shape != x.shape or not lists or not 0 <= slot < m:
            raise ValueError(f"{g.shape=}, {len(values)=} or {slot=} with {x.shape=}")
        if [tuple(t.shape) for t in memory] != shapes:
            raise ValueError(f"expected a memory of shapes {shapes}")
        solver = cls(x, memory=m, max_search=max_search)
        solver.g, solver.values = g, [float(f) for f in values]
        solver.evaluations = [int(n) for n in evaluations]
        solver.stuck, solver._finished = set(stuck), set(finished)
        solver._memory = InverseHessians(slot, *memory)
        solver._arrays = solver._memory.views(solver.x, solver.g)
        return solver

    @staticmethod
    def joined(parts: list[LBFGS]) -> LBFGS:
        """Put problems side by side that were parts of one before."""
        if len(parts) == 1:
            return parts[0]
        pieces = [part.pieces() for part in parts]
        K = len(parts)
        assert all(len(p["values"]) == 1 for p in pieces), "one problem each"
        assert len({p["slot"] for p in pieces}) == 1, "of one stack"
        return LBFGS.of_pieces(
            torch.cat([p["x"] for p in pieces]),
            torch.cat([p["g"] for p in pieces]),
            [p["values"][0] for p in pieces],
            [p["evaluations"][0] for p in pieces],
            [k for k in range(K) if pieces[k]["stuck"]],
            [k for k in range(K) if pieces[k]["finished"]],
            pieces[0]["max_search"],
            pieces[0]["slot"],
            [
                torch.cat(each)
                for each in zip(*(p["memory"] for p in pieces), strict=True)
            ],
        )

    @quiet
    def iterate(self, evaluate: Evaluate, some: EvaluateSome | None = None) -> None:
        """Move every unfinished problem to a lower point, or mark it as stalled.

        All K problems are passed to each evaluation. What comes back for finished
        problems, or for those whose step is already accepted, is ignored. Where these
        are most of them, the others are passed to ``some`` alone, if it is given.
        """
        rows = set(range(len(self.values))) - self._finished
        if not rows:
            return
        before, self._maxima = self._arrays, None
        rows = self._search(evaluate, some, rows)
        if rows:  # a poor memory may be to blame: once more, along the gradient
            self._memory.forget(self._mask(rows), self.g)
            rows = self._search(evaluate, some, rows)
        if rows:
            self.stuck |= rows
            self._finished |= rows
        self._memory.add(*self._arrays, *before)

    def _search(
        self, evaluate: Evaluate, some: EvaluateSome | None, rows: set[int]
    ) -> set[int]:
        """Go down in the problems rows; return those that found no way down."""
        memory, start = self._memory, self.x
        searches = self._begin(rows)
        steps = [1.0] * len(self.values)
        failed = rows
        for _ in range(self.max_search):
            if not searches:
                break
            for k, search in searches.items():
                steps[k] = search.step
                self.evaluations[k] += 1
            x = memory.step(start, steps)
            if some is not None and len(searches) <= len(self.values) * FEW:
                f, g = _scattered(some, x, list(searches))
            else:
                f, g = evaluate(x)
            values, slopes = f.tolist(), memory.slopes(*memory.views(g))
            lower = {k for k, s in searches.items() if s.tell(values[k], slopes[k])}
            self._take(lower, x, values, g)
            failed = failed - lower
            searches = {k: s for k, s in searches.items() if not s.done}
        return failed

    def _begin(self, rows: set[int]) -> dict[int, LineSearch]:
        """Start the searches of those of the problems rows that can go down."""
        memory, values, eps = self._memory, self.values, self._memory.eps
        slopes = memory.direct(self._arrays[1])
        started = ((k, LineSearch(values[k], slopes[k], eps)) for k in rows)
        searches = {k: s for k, s in started if s.is_downhill()}
        if len(searches) < len(values):  # the direction may be nan there
            memory.d.masked_fill_(~self._mask(searches)[:, None], 0.0)
        return searches

    def _take(self, rows: set[int], x: Tensor, values: list[float], g: Tensor) -> None:
        """Make x, values, g the current ones of the problems rows."""
        last = self.values
        if len(rows) == len(last):
            self.x, self.values, self.g = x, values, g.clone()
        elif rows:
            mask = self._mask(rows)[:, None]
            self.x, self.g = x.where(mask, self.x), g.where(mask, self.g)
            self.values = [(values if k in rows else last)[k] for k in range(len(last))]
        self._arrays = self._memory.views(self.x, self.g)

    def _mask(self, rows: Container[int]) -> Tensor:
        """Shape (K,), True in rows."""
        flags = [k in rows for k in range(len(self.values))]
        return torch.tensor(flags, device=self.x.device)


def _numbers(mask: Tensor) -> set[int]:
    return {k for k, flag in enumerate(mask.tolist()) if flag}


def _scattered(some: EvaluateSome, x: Tensor, rows: list[int]) -> tuple[Tensor, Tensor]:
    """Evaluate problems rows at x (K, P); the others have f, g of zeros."""
    index = torch.tensor(rows, device=x.device)
    f, g = some(x[index], rows)
    zeros = x.new_zeros(len(x)), torch.zeros_like(x)
    return zeros[0].index_copy_(0, index, f), zeros[1].index_copy_(0, index, g)
