"""Codes of levels on their way into a network: one-hot columns, made a block at a time.

A table of rows keeps one number for each column of categories. What the network sees
has one column for each level; it is written into static buffers just before it is used,
so no table of ones and zeros ever exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from .device import sent


@dataclass(frozen=True, slots=True)
class Expansion:
    """Which columns of a compact table are codes, and how wide they become.

    The compact table has plain columns, then codes, then columns that stay as they are
    (codes that are looked up, the constant). Code 0 has no column: all zeros.

    Attributes
    ----------
    plain : int
        Columns before the codes.
    levels : tuple of int
        For each column of codes, the levels 1, 2, ... that have a column.

    Examples
    --------
    >>> import torch
    >>> expansion = Expansion(plain=1, levels=(2, 3))
    >>> expansion(torch.tensor([[0.5, 2.0, 0.0, 1.0], [0.1, 1.0, 3.0, 1.0]])).tolist()
    [[0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], [0.10000000149011612, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0]]
    """  # noqa: E501

    plain: int
    levels: tuple[int, ...]

    def width(self, columns: int) -> int:
        """Columns that a compact table of so many columns becomes."""
        return columns - len(self.levels) + sum(self.levels)

    def __call__(self, table: Tensor) -> Tensor:
        """Expand rows (b, columns) into a new tensor (b, width)."""
        out = table.new_empty((len(table), self.width(table.shape[1])))
        self.into(table, out)
        return out

    def into(self, table: Tensor, out: Tensor) -> None:
        """Write rows (b, columns), expanded, into out (b, width)."""
        start, stop = self.plain, self.plain + len(self.levels)
        end = start + sum(self.levels)
        out[:, :start] = table[:, :start]
        out[:, start:end].zero_()
        out[:, end:] = table[:, stop:]
        codes = table[:, start:stop]
        # Code 0 writes its zero where level 1 would have its one.
        place = codes.clamp(min=1).long().add_(self._before(out.device))
        out.scatter_(1, place, (codes > 0).to(out.dtype))

    def _before(self, device: torch.device) -> Tensor:
        """Place of each code column's first level, less one."""
        starts = accumulate(self.levels[:-1], initial=self.plain - 1)
        return sent(torch.tensor(list(starts)), device)
