"""The feeder: an epoch's rows, gathered into static buffers, one block at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .device import sent
from .rows import (
    BLOCK_BYTES,
    CHUNK_NUMBERS,
    GPU_BLOCK_BYTES,
    GPU_CHUNK_NUMBERS,
    RowSet,
    Segment,
    SparseBatch,
    SparseRows,
    plan_epoch,
)
from .shuffling import plain_orders

# Blocks of rows that never change their order are kept when all of them fit here.
STATIC_BYTES = 2**26
# Dropout compares 16 random bits with this grid: four masks for one 64-bit number.
_GRID = 2**16


class Step(NamedTuple):
    """Views of one piece; shapes for K > 1, without the first axis where K = 1.

    x (K, b, d + 1), x_t (K, d + 1, b), y (K, b, my), raw (K, b, m), coefficient
    (K, b, 1), or a single number where all rows count alike: what turns the row losses'
    gradients into that of the batch's mean loss. masks: one (K, b, h) for each hidden
    layer, or none at all.
    """

    x: Tensor | SparseBatch
    x_t: Tensor | None
    y: Tensor
    raw: Tensor
    coefficient: Tensor
    masks: tuple[Tensor, ...]


class Dropout:
    """Each network's own stream of dropout masks.

    Parameters
    ----------
    rates : ndarray of shape (K,)
        Share of hidden units left out, network by network; kept on a grid of 1/65536.
    generators : list of K numpy.random.Generator
    widths : sequence of int
        Units of each hidden layer.
    """

    def __init__(
        self,
        rates: np.ndarray,
        generators: list[np.random.Generator],
        widths: Sequence[int],
    ) -> None:
        self.thresholds = np.round(rates * _GRID).clip(max=_GRID - 1).astype(np.uint16)
        self.generators = generators
        self.widths = list(widths)

    def draw(self, k: int, n_pieces: int, count: int) -> list[np.ndarray]:
        """Draw factors (n_pieces, count, h) for each layer of network k."""
        factors = self.kept(k, n_pieces, count) * np.float64(self.factor(k))
        return np.split(factors, np.cumsum(self.widths)[:-1], axis=2)

    def factor(self, k: int) -> float:
        """Return what a unit of network k that is kept counts."""
        return _GRID / (_GRID - float(self.thresholds[k]))

    def kept(self, k: int, n_pieces: int, count: int) -> np.ndarray:
        """Draw which units of network k are kept, (n_pieces, count, h of all layers).

        A network consumes its stream row by row, whole words for each, so that the cut
        into pieces, which depends on the neighbours, makes no difference.
        """
        width = sum(self.widths)
        words = -(-width // 4)
        stream = self.generators[k].bit_generator
        drawn = stream.random_raw(n_pieces * count * words).view(np.uint16)
        bits = drawn.reshape(n_pieces, count, 4 * words)[..., :width]
        return bits >= self.thresholds[k]


class Kind:
    """What all pieces of a segment have in common, worked out once.

    Attributes
    ----------
    segment : Segment
    active : ndarray of bool, shape (K,)
        Which networks take part in its minibatches.
    moving : Tensor of bool, shape (K,)
        The same where the rows are.
    all_active : bool
    weighted : bool
        Whether rows count differently, padding included.
    share : Tensor of shape (K,)
        The record's share: the sum over batches of (mean loss of the batch) b / n.
    rates : ndarray of shape (K,)
        1 / (b wbar), with wbar = totals / n: times w, a row's part in its batch's mean.
    rate : Tensor of shape ()
        The same where all rows count alike.
    alike : Tensor of shape (K,)
        Rate times share.
    """

    def __init__(self, segment: Segment, rows: RowSet, like: Tensor) -> None:
        n, sizes = rows.n, segment.sizes
        self.segment = segment
        # A minibatch may be over in this chunk and still belong to this step.
        self.active = segment.sizes > 0
        self.moving = torch.from_numpy(self.active).to(like.device)
        self.all_active = bool(self.active.all())
        self.weighted = rows.weight is not None or not segment.equal
        self.share = torch.from_numpy(sizes / n).to(like)
        self.rates = np.divide(n, sizes * rows.totals, where=sizes > 0, out=0.0 * n)
        self.rate = torch.tensor(self.rates[0], dtype=like.dtype, device=like.device)
        self.alike = self.share * self.rate

    def select(self, keep: list[int]) -> Kind:
        """Return the same for some of the networks; their places stay padded."""
        kind = copy.copy(self)
        kind.active, kind.rates = self.active[keep], self.rates[keep]
        kind.moving = self.moving[keep]
        kind.all_active = bool(kind.active.all())
        kind.share, kind.alike = self.share[keep], self.alike[keep]
        return kind


class Block:
    """Buffers for up to T pieces of b rows of K networks, and their views."""

    def __init__(
        self,
        rows: RowSet,
        T: int,
        b: int,
        n_raw: int,
        widths: Sequence[int],
        into_table: bool = False,
    ) -> None:
        self.K, self.b, self.T = len(rows.index), b, T
        like = rows.x.values if isinstance(rows.x, SparseRows) else rows.x
        self._dtype, self._device = like.dtype, like.device
        self.raw = self._empty(n_raw)
        self.coefficient: Tensor | None = None
        # Zero, not empty: padded places are never drawn, and must stay finite.
        self.masks = [self._empty(h).zero_() for h in widths]
        self.x: Tensor | None = None
        self.compact: Tensor | None = None
        self.y = self._empty(0 if into_table else rows.y.shape[1], rows.y.dtype)
        if isinstance(rows.x, Tensor) and not into_table:
            self.x = self._empty(rows.width)
            if rows.expansion is not None:
                self.compact = self._empty(rows.x.shape[1])
        self.steps: list[Step] = []
        self.n_pieces = 0

    @cached_property
    def table(self) -> Tensor:
        """Room for the numbers of the rows, (T, K, b): new memory is slow to touch."""
        return self._empty(1, torch.int64)[..., 0]

    def _empty(self, columns: int, dtype: torch.dtype | None = None) -> Tensor:
        shape = (self.T, self.K, self.b, columns)
        return torch.empty(shape, dtype=dtype or self._dtype, device=self._device)

    def describe(self, kind: Kind, first: int, n_pieces: int) -> None:
        """Take over what is known of the pieces held now."""
        self.kind, self.n_pieces = kind, n_pieces
        self.opens = kind.segment.opens[first : first + n_pieces]
        self.closes = kind.segment.closes[first : first + n_pieces]
        if self.coefficient is None:
            self.coefficient = self._empty(1) if kind.weighted else kind.rate

    def view_steps(self, x_pieces: list | None = None) -> None:
        """Make the views of all T pieces, once."""
        assert self.coefficient is not None
        if x_pieces is None:
            assert self.x is not None
            x_pieces = self._cut(self.x)
        n_pieces = len(x_pieces)
        rates = (
            self._cut(self.coefficient)
            if self.kind.weighted
            else [self.coefficient] * n_pieces
        )
        masks = [self._cut(mask) for mask in self.masks]
        self.steps = [
            Step(
                x,
                None if isinstance(x, SparseBatch) else x.transpose(-1, -2),
                y,
                raw,
                rate,
                tuple(mask[t] for mask in masks),
            )
            for t, (x, y, raw, rate) in enumerate(
                zip(x_pieces, self._cut(self.y), self._cut(self.raw), rates)  # noqa: B905
            )
        ]

    def select(self, keep: list[int]) -> Block:
        """Return a block of some of the networks: dense rows, without dropout."""
        assert self.x is not None and self.coefficient is not None and not self.masks
        block = copy.copy(self)
        block.K, block.kind = len(keep), self.kind.select(keep)
        index = torch.tensor(keep, device=self._device)
        block.x, block.y = self.x.index_select(1, index), self.y.index_select(1, index)
        block.raw = self.raw.new_empty(self.T, block.K, *self.raw.shape[2:])
        if self.kind.weighted:
            block.coefficient = self.coefficient.index_select(1, index)
        block.view_steps()
        return block

    def _cut(self, tensor: Tensor) -> list[Tensor]:
        """Cut (T, K, b, columns) into its pieces; without the stack axis if K = 1."""
        if self.K == 1:
            tensor = tensor[:, 0]
        return list(tensor.unbind(0))

    def record(self, values: Tensor) -> Tensor:
        """Sum row losses (T, K, b) of the pieces held into the epoch's mean, (K,)."""
        assert self.coefficient is not None
        if not self.kind.weighted:
            return values.sum((0, 2)).mul_(self.kind.alike)
        factor = self.coefficient[: self.n_pieces, ..., 0]
        counted = values * factor
        if not self.kind.all_active:
            # Padding repeats a row that counts, so where it is not finite the sum is
            # not either. A network at rest has no such row.
            counted.masked_fill_(factor == 0, 0.0)
        return counted.sum((0, 2)).mul_(self.kind.share)


class Feeder:
    """Feeds the rows of K networks, block by block.

    Parameters
    ----------
    rows : RowSet
    batch : ndarray of shape (K,)
        Batch sizes.
    n_raw : int
        Raw outputs of the network, m.
    widest : int
        Units of the widest layer, which bounds the rows of a piece.
    dropout : Dropout or None, default=None
    """

    def __init__(
        self,
        rows: RowSet,
        batch: np.ndarray,
        n_raw: int,
        widest: int,
        dropout: Dropout | None = None,
    ) -> None:
        self.rows, self.n_raw, self.dropout = rows, n_raw, dropout
        self.K, self._device = len(rows.index), rows.y.device
        self._on_gpu = self._device.type == "cuda"
        numbers = GPU_CHUNK_NUMBERS if self._on_gpu else CHUNK_NUMBERS
        chunk = max(128, numbers // (self.K * max(widest, 1)))
        like = rows.x.values if isinstance(rows.x, SparseRows) else rows.x
        plan = plan_epoch(rows.n, batch, chunk)
        self.kinds = [Kind(segment, rows, like) for segment in plan]
        self._n, self._in_place = rows.n, rows.contiguous
        # One column is gathered three times as fast as a table of one column.
        self._y = rows.y.view(-1) if rows.y.shape[1] == 1 else rows.y
        offsets = None if self._in_place else rows.offsets
        self._offsets = None if offsets is None else offsets.to(self._device)
        scattered = not self._in_place and offsets is None
        self._index = [i.to(self._device) for i in rows.index] if scattered else []
        same = offsets is not None and not bool(offsets.any())
        self._in_order = self._in_place or same
        self._blocks: dict[tuple, Block] = {}
        self._kept: list[Block] | None = None
        self._row_bytes = self._bytes_per_row()
        self._small = self._row_bytes * int(self._n.sum()) <= STATIC_BYTES

    def _bytes_per_row(self) -> int:
        """Bytes of a row of inputs and of its dropout masks."""
        x = self.rows.x
        masks = sum(self.dropout.widths) if self.dropout else 0
        if isinstance(x, SparseRows):
            per_row = len(x.values) // max(1, x.shape[0])
            return max(24, 24 * per_row + masks * x.values.element_size())
        return (self.rows.width + masks) * x.element_size()

    def epoch(self, orders: Tensor | None) -> Iterator[Block]:
        """Yield the epoch's blocks.

        Parameters
        ----------
        orders : Tensor of shape (K, max n), int64, or None
            Each network's order of its own rows, padded by the last; None keeps them
            as they are.
        """
        if orders is not None:
            yield from self._gathered(sent(orders, self._device))
        elif self._kept is not None and self.dropout is None:
            yield from self._kept
        elif self._kept is not None:
            yield from self._refreshed(self._kept)
        elif self._can_be_sliced():
            self._kept = [self._sliced(kind) for kind in self.kinds]
            yield from self._refreshed(self._kept)
        elif self._small:
            self._kept = list(self._gathered(self._plain_orders(), keep=True))
            yield from self._kept
        else:
            yield from self._gathered(self._plain_orders())

    def select(self, keep: list[int]) -> Feeder | None:
        """Feed some of the networks what is kept of their rows.

        None where nothing is, or in another form: they need a feeder of their own.
        """
        dense = isinstance(self.rows.x, Tensor)
        if self._kept is None or self.dropout or self._in_place or not dense:
            return None
        feeder = copy.copy(self)
        feeder.K, feeder.rows = len(keep), self.rows.select(keep)
        feeder._kept = [block.select(keep) for block in self._kept]
        return feeder

    def _can_be_sliced(self) -> bool:
        """Whether the table itself can serve; there are masks for all its rows then."""
        dense = isinstance(self.rows.x, Tensor) and self.rows.expansion is None
        return self._in_place and dense and (self._small or self.dropout is None)

    def _refreshed(self, blocks: list[Block]) -> Iterator[Block]:
        for block in blocks:
            self._draw_masks(block)
            yield block

    def _plain_orders(self) -> Tensor:
        return sent(plain_orders(self._n), self._device)

    def _gathered(self, order: Tensor, keep: bool = False) -> Iterator[Block]:
        for s, kind in enumerate(self.kinds):
            segment = kind.segment
            total = len(segment.opens)
            room = GPU_BLOCK_BYTES if self._on_gpu else BLOCK_BYTES
            room = max(1, room // (self.K * segment.width * self._row_bytes))
            for first in range(0, total, room):
                n_pieces = min(room, total - first)
                key: tuple = (s, first) if keep else self._likeness(segment)
                block = self._block(key, segment, min(room, total))
                self._fill(block, kind, first, n_pieces, order)
                yield block

    def _likeness(self, segment: Segment) -> tuple:
        """Say what segments that can share a block have in common.

        Batches that are cut into pieces make segments by the hundred: with a block for
        each the table would stand in memory twice.
        """
        sizes = segment.sizes.tobytes() if segment.even else b""
        return (segment.width, segment.even, sizes)

    def _block(self, key: tuple, segment: Segment, room: int) -> Block:
        block = self._blocks.get(key)
        if block is None or room > block.T:
            widths = self.dropout.widths if self.dropout else ()
            block = Block(self.rows, room, segment.width, self.n_raw, widths)
            self._blocks[key] = block
        return block

    def _fill(
        self, block: Block, kind: Kind, first: int, n_pieces: int, order: Tensor
    ) -> None:
        block.describe(kind, first, n_pieces)
        places = self._places(kind.segment, first, n_pieces, order)  # (T, K, b)
        table = self._table_rows(places, block)
        flat = table.view(-1)
        whole = n_pieces == block.T
        y = block.y if whole else block.y[:n_pieces]
        into = y.view(len(flat), *self._y.shape[1:])
        torch.index_select(self._y, 0, flat, out=into)
        if isinstance(self.rows.x, SparseRows):
            block.view_steps(self._sparse_pieces(self.rows.x, table))
        else:
            assert block.x is not None
            x = block.x if whole else block.x[:n_pieces]
            self._gather(self.rows.x, flat, block, x.view(len(flat), -1))
            if not block.steps:
                block.view_steps()
        if kind.weighted:
            self._fill_coefficient(block, places)
        self._draw_masks(block)

    def _gather(self, table: Tensor, flat: Tensor, block: Block, x: Tensor) -> None:
        """Write rows of the table into x (rows, columns), expanded where need be."""
        expansion = self.rows.expansion
        if expansion is None:
            torch.index_select(table, 0, flat, out=x)
            return
        assert block.compact is not None
        compact = block.compact.view(-1, table.shape[1])[: len(flat)]
        torch.index_select(table, 0, flat, out=compact)
        expansion.into(compact, x)

    def _places(
        self, segment: Segment, first: int, n_pieces: int, order: Tensor
    ) -> Tensor:
        """Places in each network's own list of rows, (T, K, b).

        Padding repeats the last row of the network's own minibatch: what counts for
        nothing must not be infinite where that which counts is not.
        """
        width = segment.width
        starts = segment.starts[first]
        if segment.even:
            start = int(starts[0])
            part = order[:, start : start + n_pieces * width]
            return part.view(self.K, n_pieces, width).transpose(0, 1)
        taken = [
            np.minimum(start + np.arange(width), stop - 1)
            for start, stop in zip(starts, segment.stops[first], strict=True)
        ]
        padded = sent(torch.from_numpy(np.stack(taken)), order.device)
        return torch.gather(order, 1, padded)[None]

    def _table_rows(self, places: Tensor, block: Block) -> Tensor:
        """Turn places in the networks' own lists into rows of the table, (T, K, b)."""
        if self._in_order and places.is_contiguous():
            return places
        table = block.table[: len(places)]
        if self._in_order:
            return table.copy_(places)
        if self._offsets is not None:
            return torch.add(places, self._offsets, out=table)
        for k, index in enumerate(self._index):
            table[:, k] = index[places[:, k]]
        return table

    def _sparse_pieces(self, x: SparseRows, table: Tensor) -> list[SparseBatch]:
        pieces = []
        for piece in table:
            pairs = [x.gather(index) for index in piece]
            rows, transposed = [p[0] for p in pairs], [p[1] for p in pairs]
            pieces.append(SparseBatch(rows, transposed, self.rows.shift))
        return pieces

    def _fill_coefficient(self, block: Block, places: Tensor) -> None:
        """Write w / (batch rows x mean weight), and 0 in padding."""
        assert block.coefficient is not None
        target = block.coefficient[: block.n_pieces, ..., 0]
        target.zero_()
        for k, count in enumerate(block.kind.segment.counts):
            rate = float(block.kind.rates[k])
            if self.rows.weight is None:
                target[:, k, :count].fill_(rate)
            else:
                own = self.rows.weight[k][places[:, k, :count]]
                target[:, k, :count] = own.mul_(rate)

    def _sliced(self, kind: Kind) -> Block:
        """Build a block of views into the table itself: one network, rows in order."""
        segment = kind.segment
        T, b = len(segment.opens), segment.width
        widths = self.dropout.widths if self.dropout else ()
        block = Block(self.rows, T, b, self.n_raw, widths, into_table=True)
        start = int(segment.starts[0, 0])
        stop = start + T * b
        x, y = self.rows.x, self.rows.y
        assert isinstance(x, Tensor)
        block.x = x[start:stop].view(T, 1, b, -1)
        block.y = y[start:stop].view(T, 1, b, -1)
        block.describe(kind, 0, T)
        if kind.weighted:
            places = torch.arange(start, stop, device=self._device)
            self._fill_coefficient(block, places.view(T, 1, b))
        block.view_steps()
        return block

    def _draw_masks(self, block: Block) -> None:
        if self.dropout is None:
            return
        for k, count in enumerate(block.kind.segment.counts):
            if self._on_gpu:
                self._send_masks(block, k, int(count))
                continue
            drawn = self.dropout.draw(k, block.n_pieces, int(count))
            for mask, factors in zip(block.masks, drawn, strict=True):
                mask[: block.n_pieces, k, :count] = torch.from_numpy(factors)

    def _send_masks(self, block: Block, k: int, count: int) -> None:
        """Send one byte a unit, and make the factors on the device."""
        assert self.dropout is not None
        kept = torch.from_numpy(self.dropout.kept(k, block.n_pieces, count))
        parts = sent(kept, self._device).split(self.dropout.widths, dim=-1)
        for mask, part in zip(block.masks, parts, strict=True):
            own = mask[: block.n_pieces, k, :count]
            own.copy_(part).mul_(self.dropout.factor(k))
