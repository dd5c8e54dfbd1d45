"""L-BFGS for K independent problems: one memory and one line search for each.

Shape letters: K problems, P parameters of one problem, m remembered pairs.

The tensors of all K problems are worked on together; the decisions of the line
searches are plain Python numbers, one `_Search` per problem. No sum ever runs over
K, so a problem takes the same path in a stack as alone, whatever its neighbours do.

Small problems cost calls, not arithmetic. Hence buffers and views of them are made
once, and on the CPU they are NumPy's, on the same memory: its calls cost less than
torch's.

References
----------
Byrd, Nocedal, Schnabel (1994), Representations of quasi-Newton matrices and their
use in limited memory methods, doi:10.1007/BF01582063 (the direction).
Hager, Zhang (2005), A new conjugate gradient method with guaranteed descent and an
efficient line search, doi:10.1137/030601880 (accepting steps by slopes).
Lewis, Overton (2013), Nonsmooth optimization via quasi-Newton methods,
doi:10.1007/s10107-012-0514-2 (weak Wolfe conditions, enough for kinks).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x (K, P) -> f (K,), g (K, P); the result may be overwritten by the next call."""
EvaluateSome = Callable[[Tensor, list[int]], tuple[Tensor, Tensor]]
"""x (k, P) and the numbers of k problems -> f (k,), g (k, P)."""

DECREASE = 1e-4  # least decrease, as a share of what the slope at the start promises
CURVATURE = 0.9  # the slope must rise to this share of the slope at the start
EXPANSION = 4.0  # growth of the step while no upper end is known
MARGIN = 0.1  # interpolated steps keep this share of the bracket from its ends
SHRINKAGE = 0.66  # a bracket that stays above this share of its width is halved next
LEAST_GAMMA = 2.0**-52  # least s'y / y'y of a pair worth keeping
FEW = 0.5  # a smaller share of problems is worth an evaluation of its own
MOST_IN_NUMPY = 2**13  # numbers in one memory; with more, its BLAS may start threads


_quiet = np.errstate(all="ignore")  # what is not finite is found by its effects


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
        self._memory = _Memory(0, *(x.new_zeros(K, *size) for size in sizes))

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
        copied._memory = _Memory(slot, *(t.to(device) for t in tensors))
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
        solver._memory = _Memory(slot, *memory)
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

    @_quiet
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

    def _begin(self, rows: set[int]) -> dict[int, _Search]:
        """Start the searches of those of the problems rows that can go down."""
        memory, values, eps = self._memory, self.values, self._memory.eps
        slopes = memory.direct(self._arrays[1])
        started = ((k, _Search(values[k], slopes[k], eps)) for k in rows)
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


class _Memory:
    """Approximate inverse Hessians, from a ring of m slots for pairs s, y.

    S (K, m, P) holds the steps s; Y (K, m, P) the gradient changes, divided: y / s'y;
    rho (K, m) the 1 / s'y; T (K, m, m) the inverse of U', U_ij = s_i'y_j, i <= j.
    A slot of zeros is unused: it adds nothing to the products. The inverse Hessian
    starts as gamma I, gamma (K, 1). d (K, P) is the newest direction.
    """

    def __init__(self, slot: int, *tensors: Tensor) -> None:
        self.slot, self.tensors = slot, tensors
        K, m, P = tensors[0].shape
        self.eps = torch.finfo(tensors[0].dtype).eps
        self.d = tensors[0].new_empty(K, P)
        small = self.d.is_cpu and m * P <= MOST_IN_NUMPY
        self.xp: Any = np if small else torch
        single, several = (np.dot, np.matmul) if small else (torch.mm, torch.bmm)
        self.largest: Any = np.maximum.reduce if small else torch.amax
        self.product: Any = single if K == 1 else several
        self.arrays = self.views(*tensors, self.d)
        S, Y, rho, T, _, d = self.arrays
        a, b, q, slope, ratio = self.views(
            *(self.d.new_empty(K, 1, n) for n in (m, m, P, 1, 1))
        )
        S_t, Y_t, T_t = (block.swapaxes(1, 2) for block in (S, Y, T))
        self.blocks = self._factors(S, S_t, Y, Y_t, T, T_t, a, b, q, slope)
        self.d_row, self.d_column = self._factors(d[:, None], d[:, :, None])
        self.rows = a[:, 0], b[:, 0], q[:, 0]
        self.slope, self.ratio = slope[:, 0], ratio[:, 0]
        self.slots = [
            (
                (S[:, j], Y[:, j], a[:, 0, j : j + 1], rho[:, j : j + 1]),
                self._factors(Y[:, j : j + 1], Y[:, j, :, None]),
                (T[:, :, j], T[:, j], T[:, j, j]),
            )
            for j in range(m)
        ]

    def views(self, *tensors: Tensor) -> list[Any]:
        """Return the arrays to work on: the tensors, or NumPy's views of them."""
        return [t.numpy() for t in tensors] if self.xp is np else list(tensors)

    def _factors(self, *blocks: Any) -> list[Any]:
        """Return what products take: without the axis of problems where K = 1."""
        return [block[0] for block in blocks] if len(self.d) == 1 else list(blocks)

    def __reduce__(self) -> tuple:
        return _Memory, (self.slot, *self.tensors)

    def select(self, keep: Tensor) -> _Memory:
        return _Memory(self.slot, *(a.index_select(0, keep) for a in self.tensors))

    def direct(self, g: Any) -> list[float]:
        """Set d to minus the inverse Hessian times g; return the slopes.

        The two loops of L-BFGS as products with whole blocks (Byrd et al., theorem 2.2,
        with R = U D and Y divided by s'y): `a = U^-1 S g`, `q = gamma (g - Y' a)`,
        `b = U'^-1 (rho a - Y q)`, `H g = q + S' b`.
        """
        xp, product = self.xp, self.product
        S, S_t, Y, Y_t, T, T_t, a, b, q, slope = self.blocks
        _, _, rho, _, gamma, d = self.arrays
        a_row, b_row, q_row = self.rows
        g_row = g if len(g) == 1 else g[:, None]
        product(g_row, S_t, out=b)
        product(b, T, out=a)
        product(a, Y, out=q)
        xp.subtract(g, q_row, out=q_row)
        xp.multiply(q_row, gamma, out=q_row)
        product(q, Y_t, out=b)
        xp.multiply(rho, a_row, out=a_row)
        xp.subtract(b_row, a_row, out=a_row)
        product(a, T_t, out=b)  # minus the b above
        product(b, S, out=self.d_row)
        xp.subtract(d, q_row, out=d)
        product(g_row, self.d_column, out=slope)
        return [slope for (slope,) in self.slope.tolist()]

    def slopes(self, g: Any) -> list[float]:
        """Return the products g'd."""
        g_row = g if len(g) == 1 else g[:, None]
        self.product(g_row, self.d_column, out=self.blocks[-1])
        return [slope for (slope,) in self.slope.tolist()]

    def maxima(self, g: Any) -> list[float]:
        """Return the largest absolute element of each gradient."""
        return self.largest(self.xp.abs(g), 1).tolist()

    def step(self, x: Tensor, steps: list[float]) -> Tensor:
        """Return x + steps * d."""
        if steps.count(1.0) == len(steps):  # as nearly always
            return x + self.d
        return x + self.d * x.new_tensor(steps)[:, None]

    def add(self, x: Any, g: Any, last_x: Any, last_g: Any) -> None:
        """Put the pairs x - last_x, g - last_g in place of the oldest ones."""
        xp, product, j, ratio = self.xp, self.product, self.slot, self.ratio
        _, S_t, _, _, T, _, Sy, row, _, yy = self.blocks
        gamma, row_view = self.arrays[4], self.rows[1]
        (s, y, sy, rho), (y_row, y_column), (T_column, T_row, T_corner) = self.slots[j]
        xp.subtract(x, last_x, out=s)
        xp.subtract(g, last_g, out=y)
        product(y_row, S_t, out=Sy)
        product(y_row, y_column, out=yy)
        xp.divide(sy, self.slope, out=ratio)
        xp.reciprocal(sy, out=rho)
        if not all(v > LEAST_GAMMA for (v,) in ratio.tolist()):  # false for nan
            self._drop(j)
        gamma[...] = ratio
        xp.multiply(y, rho, out=y)
        # The oldest pair is the first row and column of U; the rest stays a triangle,
        # as does its inverse. The new pair is the last column, (S y, 1): that of the
        # inverse is (-U^-1 S y, 1), a row of T.
        T_column[...] = 0.0
        product(Sy, T, out=row)
        xp.multiply(row_view, rho, out=row_view)
        xp.negative(row_view, out=T_row)
        T_corner[...] = 1.0
        self.slot = (j + 1) % len(self.slots)

    def _drop(self, j: int) -> None:
        """Leave slot j unused where H would not stay positive definite."""
        S, Y, rho, _, gamma, _ = self.arrays
        drop = ~(self.ratio[:, 0] > LEAST_GAMMA)
        self.ratio[drop] = gamma[drop]
        for unused in (S, Y, rho):
            unused[drop, j] = 0.0

    def forget(self, mask: Tensor, g: Tensor) -> None:
        """Clear all in mask, shape (K,); the next step is along the gradient."""
        *memories, gamma = self.tensors
        for memory in memories:
            memory[mask] = 0.0
        # With no curvature known, a step of at most unit length.
        length = torch.linalg.vector_norm(g, dim=-1).clamp(min=1.0)
        gamma[mask] = length.reciprocal()[mask, None]


class _Trial(NamedTuple):
    """Value and slope at one step along the direction."""

    step: float
    f: float
    slope: float


class _Search:
    """Line search of one problem: asks for `step`, is told value and slope there.

    Weak Wolfe conditions; at a kink there may be no stronger ones. Differences of
    values up to eps^(3/4) |f| may be rounding alone; within them the slopes decide
    (approximate Wolfe conditions, Hager and Zhang, section 4). Values place a minimum
    to the root of the precision eps only, slopes to the precision.
    """

    __slots__ = ("done", "eps", "f", "high", "low", "noise", "slope", "step", "width")

    def __init__(self, f: float, slope: float, eps: float) -> None:
        self.f, self.slope, self.eps = f, slope, eps
        self.noise = eps**0.75 * abs(f)
        self.low = _Trial(0.0, f, slope)  # the farthest step known to be lower
        self.high = _Trial(math.inf, math.nan, math.nan)  # the nearest one too far
        self.width = math.inf  # of the bracket from low to high
        self.step = 1.0
        self.done = False

    def is_downhill(self) -> bool:
        """Whether there is a way down that is more than rounding of x itself."""
        # Slopes fall with the square of the distance to the minimum. Without the
        # bound, points that differ by rounding may take turns for ever.
        return -math.inf < self.slope < -((8 * self.eps) ** 2) * abs(self.f)

    def tell(self, f: float, slope: float) -> bool:
        """Take in what was found at `step`; return whether that point is lower.

        Then either `done` is set, or `step` is the next one to try.
        """
        trial = _Trial(self.step, f, slope)
        lower = self._is_lower(trial)
        if lower:
            self.low = trial
        else:
            self.high = trial
        last_width, self.width = self.width, self.high.step - self.low.step
        unmoved = f == self.f and slope == self.slope  # a step lost in rounding
        closed = self.width <= 16 * self.eps * self.low.step
        accepted = lower and slope >= CURVATURE * self.slope
        self.done = accepted or closed or (unmoved and self.width < math.inf)
        if not self.done:
            self.step = self._next_step(last_width)
        return lower and not unmoved

    def _is_lower(self, trial: _Trial) -> bool:
        if not (math.isfinite(trial.f) and math.isfinite(trial.slope)):
            return False
        if abs(trial.f - self.f) <= self.noise:
            return trial.slope <= (2 * DECREASE - 1) * self.slope
        return trial.f <= self.f + DECREASE * trial.step * self.slope

    def _next_step(self, last_width: float) -> float:
        low, high, width = self.low, self.high, self.width
        if width == math.inf:
            return EXPANSION * low.step
        step = _minimum_between(low, high, self.noise)
        if math.isnan(step) or width > SHRINKAGE * last_width:
            return low.step + width / 2
        return min(max(step, low.step + MARGIN * width), high.step - MARGIN * width)


def _minimum_between(a: _Trial, b: _Trial, noise: float) -> float:
    """Minimum of the cubic through two trials, or nan.

    Nocedal and Wright (2006), Numerical Optimization, eq. 3.59; where the values differ
    by noise only, the zero of the line through the slopes.
    """
    width, bend = b.step - a.step, b.slope - a.slope
    if abs(b.f - a.f) <= noise:
        return a.step - a.slope * width / bend if bend > 0 else math.nan
    c = a.slope + b.slope - 3 * (b.f - a.f) / width
    square = c * c - a.slope * b.slope
    if not 0 <= square < math.inf:  # nan and inf where b is not finite
        return math.nan
    root = math.sqrt(square)
    below = bend + 2 * root
    return b.step - width * (b.slope + root - c) / below if below else math.nan
