"""The line search of one problem of L-BFGS, in plain Python numbers.

References
----------
Hager, Zhang (2005), A new conjugate gradient method with guaranteed descent and an
efficient line search, doi:10.1137/030601880 (accepting steps by slopes).
Lewis, Overton (2013), Nonsmooth optimization via quasi-Newton methods,
doi:10.1007/s10107-012-0514-2 (weak Wolfe conditions, enough for kinks).
"""

from __future__ import annotations

import math
from typing import NamedTuple

DECREASE = 1e-4  # least decrease, as a share of what the slope at the start promises
CURVATURE = 0.9  # the slope must rise to this share of the slope at the start
EXPANSION = 4.0  # growth of the step while no upper end is known
MARGIN = 0.1  # interpolated steps keep this share of the bracket from its ends
SHRINKAGE = 0.66  # a bracket that stays above this share of its width is halved next


class _Trial(NamedTuple):
    """Value and slope at one step along the direction."""

    step: float
    f: float
    slope: float


class LineSearch:
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
