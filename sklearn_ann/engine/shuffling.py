"""The orders in which networks see their rows, drawn anew before each epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def plain_orders(n: np.ndarray) -> Tensor:
    """Rows as they stand, int64 of shape (K, max n), each padded by its last one."""
    last = torch.from_numpy(n).to(torch.int64)[:, None] - 1
    return torch.arange(int(n.max())).minimum(last)


class Shuffler:
    """Draws each network's order of its own rows, into one table that stays.

    Parameters
    ----------
    n : ndarray of shape (K,)
        How many rows each network has.
    shuffled : ndarray of bool, shape (K,)
        Those of the others stay as they are.
    generators : sequence of K torch.Generators
    """

    def __init__(
        self, n: np.ndarray, shuffled: np.ndarray, generators: Sequence[torch.Generator]
    ) -> None:
        self._orders, most = plain_orders(n), int(n.max())
        self._draws = [
            (count, generator, row[:count], row[count:] if count < most else None)
            for count, row, shuffles, generator in zip(
                n.tolist(), self._orders, shuffled, generators, strict=True
            )
            if shuffles
        ]

    def draw(self) -> Tensor | None:
        """Draw the orders, (K, max n), for use until the next ones; None for plain."""
        if not self._draws:
            return None
        for count, generator, own, padding in self._draws:
            torch.randperm(count, generator=generator, out=own)
            if padding is not None:
                padding.fill_(own[-1])
        return self._orders
