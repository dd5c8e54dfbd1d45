"""What L-BFGS remembers: inverse Hessians of K problems, from their last m steps.

References
----------
Byrd, Nocedal, Schnabel (1994), Representations of quasi-Newton matrices and their
use in limited memory methods, doi:10.1007/BF01582063 (the direction).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

LEAST_GAMMA = 2.0**-52  # least s'y / y'y of a pair worth keeping
MOST_IN_NUMPY = 2**13  # numbers in one memory; with more, its BLAS may start threads


class InverseHessians:
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
        return InverseHessians, (self.slot, *self.tensors)

    def select(self, keep: Tensor) -> InverseHessians:
        """Return those of the problems with the indices keep, (new K,) int64."""
        kept = (a.index_select(0, keep) for a in self.tensors)
        return InverseHessians(self.slot, *kept)

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
