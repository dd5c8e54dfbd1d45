"""L-BFGS for K independent problems: one memory and one line search for each.

Shape letters: K problems, P parameters of one problem, m remembered pairs.

The tensors of all K problems are worked on together; the decisions of the line
searches are plain Python numbers, one `_Search` per problem. No sum ever runs over
K, so a problem takes the same path in a stack as alone, whatever its neighbours do.

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

import math
from collections.abc import Callable, Container
from typing import NamedTuple

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x (K, P) -> f (K,), g (K, P); the result may be overwritten by the next call."""

DECREASE = 1e-4  # least decrease, as a share of what the slope at the start promises
CURVATURE = 0.9  # the slope must rise to this share of the slope at the start
EXPANSION = 4.0  # growth of the step while no upper end is known
MARGIN = 0.1  # interpolated steps keep this share of the bracket from its ends
SHRINKAGE = 0.66  # a bracket that stays above this share of its width is halved next
LEAST_GAMMA = 2.0**-52  # least s'y / y'y of a pair worth keeping


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
    x, f, g : Tensor
        Shapes (K, P), (K,), (K, P). Current points, values and gradients.
    stalled : Tensor
        Shape (K,), bool. No lower point was found, not even along the gradient, or
        f or g is not finite at the start. Stalled problems are finished.
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
        self.x = x.clone()
        self.f = x.new_full((K,), math.nan)
        self.g = x.new_zeros(K, P)
        self.stalled = x.new_zeros(K, dtype=torch.bool)
        self.finished = x.new_zeros(K, dtype=torch.bool)
        self.max_search = max_search
        self._evaluations = [0] * K
        # A ring of m slots for pairs. A slot of zeros is unused: it adds nothing below.
        self._slot = 0
        self._S = x.new_zeros(K, memory, P)  # steps s
        self._Y = x.new_zeros(K, memory, P)  # gradient changes, divided: y / s'y
        self._rho = x.new_zeros(K, 1, memory)  # 1 / s'y
        self._T = x.new_zeros(K, memory, memory)  # inverse of U', U_ij = s_i'y_j, i<=j
        self._gamma = x.new_ones(K)  # the inverse Hessian starts as gamma I

    @property
    def gradient_max(self) -> Tensor:
        """Largest absolute element of each gradient, shape (K,)."""
        return self.g.abs().amax(-1)

    @property
    def n_evaluations(self) -> Tensor:
        """Evaluations that each problem has used, shape (K,), int64."""
        return torch.tensor(self._evaluations, device=self.x.device)

    def start(self, evaluate: Evaluate) -> None:
        """Evaluate at x and forget everything else."""
        f, g = evaluate(self.x)
        self.f, self.g = f.clone(), g.clone()
        self._evaluations = [1] * len(f)
        self.stalled = ~(self.f.isfinite() & self.g.isfinite().all(-1))
        self.finished = self.stalled.clone()
        self._forget(torch.ones_like(self.stalled))

    def finish(self, mask: Tensor) -> None:
        """Leave the problems in mask, shape (K,) bool, as they are from now on."""
        self.finished = self.finished | mask

    def select(self, keep: Tensor) -> None:
        """Keep only the problems with the indices keep, shape (new K,) int64."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.index_select(0, keep))
        self._evaluations = [self._evaluations[k] for k in keep.tolist()]

    def iterate(self, evaluate: Evaluate) -> None:
        """Move every unfinished problem to a lower point, or mark it as stalled.

        All K problems are passed to each evaluation. What comes back for finished
        problems, or for those whose step is already accepted, is ignored.
        """
        x, g = self.x, self.g
        rows = {k for k, done in enumerate(self.finished.tolist()) if not done}
        rows = self._search(evaluate, rows)
        if rows:  # a poor memory may be to blame: once more, along the gradient
            self._forget(self._mask(rows))
            rows = self._search(evaluate, rows)
        if rows:
            self.stalled = self.stalled | self._mask(rows)
            self.finish(self.stalled)
        self._remember(x, g)

    def _search(self, evaluate: Evaluate, rows: set[int]) -> set[int]:
        """Go down from x in the problems rows; return those that found no way down."""
        x, d = self.x, self._direction()
        values, slopes = self.f.tolist(), _dot(self.g, d).tolist()
        eps = torch.finfo(x.dtype).eps
        searches = {k: _Search(values[k], slopes[k], eps) for k in rows}
        searches = {k: s for k, s in searches.items() if s.is_downhill()}
        steps = [[0.0] for _ in values]
        if len(searches) < len(steps):  # d may be nan there, and 0 * nan is nan
            d = d.where(self._mask(searches)[:, None], 0.0)
        failed = rows
        for _ in range(self.max_search):
            if not searches:
                break
            for k, search in searches.items():
                steps[k][0] = search.step
                self._evaluations[k] += 1
            point = torch.addcmul(x, d, x.new_tensor(steps))
            f, g = evaluate(point)
            values, slopes = f.tolist(), _dot(g, d).tolist()
            lower = {k for k, s in searches.items() if s.tell(values[k], slopes[k])}
            self._take(lower, point, f, g)
            failed = failed - lower
            searches = {k: s for k, s in searches.items() if not s.done}
        return failed

    def _take(self, rows: set[int], x: Tensor, f: Tensor, g: Tensor) -> None:
        """Make x, f, g the current ones of the problems rows."""
        if len(rows) == len(self._evaluations):
            self.x, self.f, self.g = x, f.clone(), g.clone()
        elif rows:
            mask = self._mask(rows)
            self.f = f.where(mask, self.f)
            self.x = x.where(mask[:, None], self.x)
            self.g = g.where(mask[:, None], self.g)

    def _direction(self) -> Tensor:
        """Minus the inverse Hessian's approximation times g, shape (K, P).

        The two loops of L-BFGS as products with whole blocks (Byrd et al., theorem 2.2,
        with R = U D and Y divided by s'y): `a = U^-1 S g`, `q = gamma (g - Y' a)`,
        `b = U'^-1 (rho a - Y q)`, `H g = q + S' b`.
        """
        g, S, Y, T = self.g.unsqueeze(1), self._S, self._Y, self._T  # g (K, 1, P)
        a = torch.bmm(torch.bmm(g, S.mT), T)  # (K, 1, m)
        q = torch.baddbmm(g, a, Y, alpha=-1) * self._gamma[:, None, None]  # (K, 1, P)
        b = torch.bmm(torch.baddbmm(self._rho * a, q, Y.mT, alpha=-1), T.mT)
        return torch.baddbmm(q, b, S, beta=-1, alpha=-1).squeeze(1)

    def _remember(self, x: Tensor, g: Tensor) -> None:
        """Put the way from x, g, both (K, P), in place of the oldest pairs."""
        j, T = self._slot, self._T
        s, y = self._S.select(1, j), self._Y.select(1, j)
        torch.sub(self.x, x, out=s)
        torch.sub(self.g, g, out=y)
        Sy = torch.bmm(y.unsqueeze(1), self._S.mT)  # (K, 1, m)
        sy = Sy.select(2, j)  # (K, 1)
        rho, gamma = sy.reciprocal(), sy.squeeze(1) / _dot(y, y)
        if not all(v > LEAST_GAMMA for v in gamma.tolist()):  # false for nan
            # H would not stay positive definite: leave the slot unused.
            drop = ~(gamma > LEAST_GAMMA)
            gamma = self._gamma.where(drop, gamma)
            for unused in (rho, s, y):
                unused.masked_fill_(drop[:, None], 0.0)
        self._gamma = gamma
        self._rho.select(2, j).copy_(rho)
        y.mul_(rho)
        # The oldest pair is the first row and column of U; the rest stays a triangle,
        # as does its inverse. The new pair is the last column, (S y, 1): that of the
        # inverse is (-U^-1 S y, 1), a row of T.
        T.select(2, j).zero_()
        T.select(1, j).copy_(torch.bmm(Sy, T).squeeze(1) * -rho)
        T[:, j, j] = 1.0
        self._slot = (j + 1) % T.shape[1]

    def _forget(self, mask: Tensor) -> None:
        """Clear the memories in mask; the next step is along the gradient."""
        for memory in (self._S, self._Y, self._rho, self._T):
            memory[mask] = 0.0
        # With no curvature known, a step of at most unit length.
        length = torch.linalg.vector_norm(self.g, dim=-1).clamp(min=1.0)
        self._gamma = length.reciprocal().where(mask, self._gamma)

    def _mask(self, rows: Container[int]) -> Tensor:
        """Shape (K,), True in rows."""
        flags = [k in rows for k in range(len(self._evaluations))]
        return self.finished.new_tensor(flags)


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


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Products row by row: a, b (K, P) -> (K,)."""
    product: Tensor = torch.linalg.vecdot(a, b)
    return product
