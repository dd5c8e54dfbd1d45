"""Rows of data on their way into a stack: gathered in blocks, dense or sparse.

An epoch of a stack is cut into *pieces*: one minibatch, or a chunk of one where a
minibatch is larger than the buffers. Pieces are gathered many at a time into static
buffers, whose views are made once, so that a step touches no index and allocates
nothing. Networks may differ in rows, row counts and batch sizes: where one of them has
fewer rows in a piece than its neighbours, its places are padded and count for nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .expansion import Expansion

# One gather fills at most this many bytes of inputs: inside a second-level cache,
# and small beside the data.
BLOCK_BYTES = 2**20
# A minibatch (or full batch) of more rows than this times the widest layer is
# propagated chunk by chunk, so that activations stay in cache and memory bounded.
CHUNK_NUMBERS = 2**19
# A GPU has no such cache to stay in: its pieces are as large as memory bears, since
# each of them costs launches.
GPU_BLOCK_BYTES = 2**26
GPU_CHUNK_NUMBERS = 2**26


@dataclass(frozen=True, slots=True)
class SparseRows:
    """A sparse table in compressed rows, centred implicitly.

    Attributes
    ----------
    starts : Tensor of shape (N + 1,), int64
    columns : Tensor of shape (nnz,), int64
    values : Tensor of shape (nnz,)
    n_columns : int
    shift : Tensor of shape (d,) or None
        The centred table is X - shift; X stays sparse.
    """

    starts: Tensor
    columns: Tensor
    values: Tensor
    n_columns: int
    shift: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.starts) - 1, self.n_columns

    def to(self, device: torch.device, dtype: torch.dtype) -> SparseRows:
        """Move to a device and dtype."""
        return SparseRows(
            self.starts.to(device),
            self.columns.to(device),
            self.values.to(device, dtype),
            self.n_columns,
            None if self.shift is None else self.shift.to(device, dtype),
        )

    @staticmethod
    def under_one_another(tables: list[SparseRows]) -> SparseRows:
        """Append tables; their shifts are left to the caller."""
        if len(tables) == 1:
            return tables[0]
        starts, begin = [tables[0].starts[:1]], 0
        for table in tables:
            starts.append(table.starts[1:] + begin)
            begin += len(table.values)
        return SparseRows(
            torch.cat(starts),
            torch.cat([t.columns for t in tables]),
            torch.cat([t.values for t in tables]),
            tables[0].n_columns,
        )

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows ``index`` (b,) as a sparse (b, d) matrix, and transposed."""
        index = index.to(self.starts.device)
        first = self.starts[index]
        counts = self.starts[index + 1] - first
        row = torch.repeat_interleave(
            torch.arange(len(index), device=index.device), counts
        )
        within = torch.arange(len(row), device=index.device)
        within -= torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        place = torch.repeat_interleave(first, counts) + within
        column, value = self.columns[place], self.values[place]
        shape = (len(index), self.n_columns)
        return (
            _sparse(row, column, value, shape),
            _sparse(column, row, value, shape[::-1]),
        )


def _sparse(
    row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]
) -> Tensor:
    return torch.sparse_coo_tensor(
        torch.stack([row, column]), value, shape, check_invariants=False
    )


@dataclass(frozen=True, slots=True)
class SparseBatch:
    """Sparse inputs of one piece: (b, d) and transposed, for each network.

    Attributes
    ----------
    rows, transposed : list of K sparse Tensors
    shift : Tensor of shape (K, 1, d) or None
    """

    rows: list[Tensor]
    transposed: list[Tensor]
    shift: Tensor | None


def _stacked(matrix: Tensor) -> Tensor:
    return matrix if matrix.dim() == 3 else matrix.unsqueeze(0)


def sparse_product(x: SparseBatch, block: Tensor, out: Tensor) -> Tensor:
    """Write [x - shift, 1] block into out, without centring x.

    A block of d rows, not d + 1, has no intercept. Block and out may be of less
    precision than x: what centring takes away again must not be rounded before.
    """
    blocks, outs = _stacked(block), _stacked(out)
    d = x.rows[0].shape[1]
    weights = blocks[:, :d].to(x.rows[0].dtype)
    start = blocks[:, d:].sum(1, keepdim=True)  # the intercept, or zero
    if x.shift is not None:
        start = start - x.shift @ weights
    for k, rows in enumerate(x.rows):
        torch.add(torch.sparse.mm(rows, weights[k]), start[k], out=outs[k])
    return out


def sparse_gradient(x: SparseBatch, delta: Tensor, out: Tensor) -> None:
    """Write [x - shift, 1]' delta into out, without centring x.

    An out of d rows, not d + 1, gets no last one. Precision as in `sparse_product`.
    """
    deltas, outs = _stacked(delta).to(x.rows[0].dtype), _stacked(out)
    d = x.rows[0].shape[1]
    sums = deltas.sum(1, keepdim=True)
    for k, transposed in enumerate(x.transposed):
        found = torch.sparse.mm(transposed, deltas[k])
        if x.shift is not None:
            found.addmm_(x.shift[k].T, sums[k], alpha=-1.0)
        outs[k, :d] = found
    outs[:, d:] = sums[:, : outs.shape[1] - d]


@dataclass
class RowSet:
    """The rows of K networks, all in one table.

    Attributes
    ----------
    x : Tensor of shape (N, d + 1), its last column ones, or SparseRows
    y : Tensor of shape (N, my)
    index : list of K int64 Tensors of shape (n_k,)
        Rows of network k.
    weight : list of K Tensors of shape (n_k,), or None
        Positive row weights, in the order of ``index``.
    shift : Tensor of shape (K, 1, d) or None
        What sparse columns are centred by, network by network.
    expansion : Expansion or None
        What becomes of the codes in a dense x, which is compact then.
    units : ndarray of shape (K,) or None
        Powers of two: the weights that were given are these times ``weight``, where
        the largest is about one, so that float32 holds them.
    """

    x: Tensor | SparseRows
    y: Tensor
    index: list[Tensor]
    weight: list[Tensor] | None
    shift: Tensor | None = None
    expansion: Expansion | None = None
    units: np.ndarray | None = None

    @cached_property
    def width(self) -> int:
        """Columns of a dense x as networks see it, its constant included."""
        columns = self.x.shape[1]
        return columns if self.expansion is None else self.expansion.width(columns)

    @cached_property
    def n(self) -> np.ndarray:
        """Row counts, (K,)."""
        return np.array([len(i) for i in self.index])

    @cached_property
    def totals(self) -> np.ndarray:
        """Sums of ``weight``, (K,)."""
        if self.weight is None:
            return self.n.astype(float)
        return np.array([float(w.sum(dtype=torch.float64)) for w in self.weight])

    def over_given_totals(self, values: np.ndarray) -> np.ndarray:
        """Divide by the sums of the weights as given, (K,)."""
        shares = values / self.totals
        return shares if self.units is None else shares / self.units

    @cached_property
    def contiguous(self) -> bool:
        """Whether the one network's rows are the whole table, in order."""
        if len(self.index) > 1 or len(self.index[0]) != self.x.shape[0]:
            return False
        index = self.index[0]
        return torch.equal(index, torch.arange(len(index), device=index.device))

    @cached_property
    def offsets(self) -> Tensor | None:
        """Where each network's rows begin, (K, 1), if all are whole runs of rows."""
        starts = torch.stack([i[0] for i in self.index]).unsqueeze(1)
        for start, index in zip(starts, self.index, strict=True):
            run = torch.arange(len(index), device=index.device) + start
            if not torch.equal(index, run):
                return None
        return starts

    def select(self, keep: list[int]) -> RowSet:
        """Keep the rows of some networks."""
        return RowSet(
            self.x,
            self.y,
            [self.index[k] for k in keep],
            None if self.weight is None else [self.weight[k] for k in keep],
            None if self.shift is None else self.shift[keep],
            self.expansion,
            None if self.units is None else self.units[keep],
        )


# One network's x, y, row numbers and row weights.
Part = tuple[Tensor | SparseRows, Tensor, Tensor, Tensor | None]


def _table(
    pairs: list[tuple[Tensor | SparseRows, Tensor]],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor | SparseRows, Tensor, list[int]]:
    """Put the tables of all fits under one another, each of them once.

    Returns the table, its targets, and where each fit's own rows begin.
    """
    offsets: dict[tuple[int, int], int] = {}
    unique, begin = [], 0
    for x, y in pairs:
        key = (id(x), id(y))
        if key not in offsets:
            offsets[key] = begin
            unique.append((x, y))
            begin += x.shape[0]
    starts = [offsets[id(x), id(y)] for x, y in pairs]
    y = torch.cat([y for _, y in unique]) if len(unique) > 1 else unique[0][1]
    y = y.to(device, dtype) if y.is_floating_point() else y.to(device)
    sparse = [x for x, _ in unique if isinstance(x, SparseRows)]
    dense = [x for x, _ in unique if isinstance(x, Tensor)]
    assert not (sparse and dense), "sparse and dense tables in one stack"
    if sparse:
        return SparseRows.under_one_another(sparse).to(device, dtype), y, starts
    x = torch.cat(dense) if len(dense) > 1 else dense[0]
    return x.to(device, dtype), y, starts


def _shifts(
    tables: list[Tensor | SparseRows], device: torch.device, dtype: torch.dtype
) -> Tensor | None:
    shifts = [t.shift for t in tables if isinstance(t, SparseRows)]
    kept = [s for s in shifts if s is not None]
    if not kept:
        return None
    assert len(kept) == len(tables), "centred and uncentred tables in one stack"
    return torch.stack(kept).unsqueeze(1).to(device, dtype)


def row_set(
    parts: list[Part],
    device: torch.device,
    dtype: torch.dtype,
    expansion: Expansion | None = None,
) -> RowSet:
    """Put each network's x, y, row numbers and weights into one table on the device."""
    x, y, starts = _table([(p[0], p[1]) for p in parts], device, dtype)
    weight = units = None
    if any(p[3] is not None for p in parts):
        own = [torch.ones(len(p[2])) if p[3] is None else p[3] for p in parts]
        units = np.array([power_of_two(float(w.max())) for w in own])
        weight = [
            (w / unit).to(device, dtype) for w, unit in zip(own, units, strict=True)
        ]
    index = [p[2] + start for p, start in zip(parts, starts, strict=True)]
    shift = _shifts([p[0] for p in parts], device, dtype)
    return RowSet(x, y, index, weight, shift, expansion, units)


def power_of_two(value: float) -> float:
    """Return the least power of two above a positive number: exact to divide by."""
    return math.ldexp(1.0, min(math.frexp(value)[1], 1023))


@dataclass(frozen=True)
class Segment:
    """Consecutive pieces of an epoch that look alike.

    Attributes
    ----------
    starts : ndarray of shape (T, K)
        Where each piece begins in each network's order of rows.
    counts : ndarray of shape (K,)
        Rows of each network in a piece.
    sizes : ndarray of shape (K,)
        Rows of each network in the whole minibatch that a piece belongs to.
    stops : ndarray of shape (T, K)
        Where that minibatch ends in each network's order of rows.
    opens, closes : list of T bool
        Whether a piece is the first, the last of its minibatch.
    """

    starts: np.ndarray
    counts: np.ndarray
    sizes: np.ndarray
    stops: np.ndarray
    opens: list[bool]
    closes: list[bool]

    @cached_property
    def width(self) -> int:
        """Rows of a piece, padding included."""
        return int(self.counts.max())

    @cached_property
    def even(self) -> bool:
        """Whether all networks fill all pieces, side by side."""
        same = bool((self.starts == self.starts[:, :1]).all())
        return same and bool((self.counts == self.width).all())

    @cached_property
    def equal(self) -> bool:
        """Whether, besides, all minibatches are of one size, so all rows count alike.

        Chunks of unequal minibatches stand side by side before the shortest ends.
        """
        return self.even and bool((self.sizes == self.sizes[0]).all())


def plan_epoch(n: np.ndarray, batch: np.ndarray, chunk: int) -> list[Segment]:
    """Cut an epoch of K networks into segments of like pieces.

    Parameters
    ----------
    n, batch : ndarray of shape (K,)
        Row counts and batch sizes.
    chunk : int
        Most rows of a piece.
    """
    segments, done = [], 0
    if (batch == batch[0]).all() and batch[0] <= chunk:
        # Nearly all of an epoch, at once: building it piece by piece took as long as
        # training on it.
        done = int(n.min() // batch[0])
        segments = [_whole_batches(done, batch)] if done else []
    groups: list[list[Segment]] = []
    for step in range(done, int(np.ceil(n / batch).max())):
        sizes = np.clip(n - step * batch, 0, batch)
        widest = int(sizes.max())
        for start in range(0, widest, chunk):
            piece = Segment(
                (step * batch + start)[None, :],
                np.clip(sizes - start, 0, chunk),
                sizes,
                np.minimum((step + 1) * batch, n)[None, :],
                [start == 0],
                [start + chunk >= widest],
            )
            _append(groups, piece)
    return segments + [_joined(group) for group in groups]


def _whole_batches(count: int, batch: np.ndarray) -> Segment:
    """Cut the first ``count`` minibatches, which all networks fill."""
    starts = np.arange(count)[:, None] * batch
    every = [True] * count
    return Segment(starts, batch, batch, starts + batch, every, every)


def _append(groups: list[list[Segment]], piece: Segment) -> None:
    last = groups[-1][-1] if groups else None
    alike = (
        last is not None
        and piece.even
        and last.even
        and (last.counts == piece.counts).all()
        and (last.sizes == piece.sizes).all()
    )
    if alike:
        groups[-1].append(piece)
    else:
        groups.append([piece])


def _joined(group: list[Segment]) -> Segment:
    return Segment(
        np.concatenate([p.starts for p in group]),
        group[0].counts,
        group[0].sizes,
        np.concatenate([p.stops for p in group]),
        [p.opens[0] for p in group],
        [p.closes[0] for p in group],
    )
