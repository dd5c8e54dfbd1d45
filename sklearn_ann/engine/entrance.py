"""The way in: embeddings of single columns, as a layer below the first one.

Its numbers never stand beside the plain columns in one table: the first layer's value
is a sum of products, of the columns and of each embedding's numbers, so the rows that
the feeder has gathered enter as they are.

Conventions
-----------
As in `network` and `embeddings`. The features of a column are rows, (K c, q + 1, b),
the last one being one: its map's intercepts need no sum of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from .device import sent
from .embeddings import EMBEDDINGS, Embedding, EmbeddingKind
from .passes import HiddenBuffers, Pass, Rise
from .products import Call, multiplication
from .rows import SparseBatch

if TYPE_CHECKING:
    from .network import NetworkStack


# Features that are made, and used for the first time, together: a second-level cache
# holds so many, and not all of a step's.
CHUNK_NUMBERS = 2**16


class Numbers(Protocol):
    """An embedding's numbers for b rows, up and down.

    Attributes
    ----------
    value, value_t : Tensor of shape (K, b, c w) and its transpose
    below, below_t : Tensor of shape (K, b, c w) and its transpose
        What is passed back to them.
    straight : bool
        Whether ``below`` is contiguous; else ``below_t`` is.
    up, down : list of callable
        From the columns to the value; from ``below`` to the gradients.
    """

    value: Tensor
    value_t: Tensor
    below: Tensor
    below_t: Tensor
    straight: bool
    up: list[Call]
    down: list[Call]

    def load(self, x: Tensor) -> None:
        """Take the columns out of x (K, b, d + 1)."""


class Columns:
    """Positions of columns: a slice where they stand side by side, for speed."""

    def __init__(self, columns: Sequence[int], like: Tensor, K: int, b: int) -> None:
        self._first, self._n = columns[0], len(columns)
        self._index: Tensor | None = None
        if tuple(columns) != tuple(range(self._first, self._first + self._n)):
            self._index = sent(torch.tensor(columns), like.device)
            self._room = _plain(like.new_empty(K, b, self._n))

    def of(self, x: Tensor) -> Tensor:
        """Return these columns of x: a view where they stand side by side."""
        if self._index is None:
            return x.narrow(-1, self._first, self._n)
        return torch.index_select(x, -1, self._index, out=self._room)


@dataclass(frozen=True, slots=True)
class Features:
    """What stands between some columns of some networks and their numbers.

    Attributes
    ----------
    design : Tensor of shape (K c, 2, b)
        The column, and ones.
    bends, grad_bends : Tensor of shape (K c, 2, q)
    maps, grad_maps : Tensor of shape (K c, w, q + 1)
    flow : Tensor of shape (K c, q + 1, b)
        The features, and ones.
    numbers, below : Tensor of shape (K c, w, b)
        What is made of them, and what is passed back to that.
    """

    design: Tensor
    bends: Tensor
    grad_bends: Tensor
    maps: Tensor
    grad_maps: Tensor
    flow: Tensor
    numbers: Tensor
    below: Tensor

    def some(self, part: slice) -> Features:
        """Return those of some columns."""
        return Features(*(getattr(self, each.name)[part] for each in fields(self)))

    def rise(self, kind: EmbeddingKind) -> list[Call]:
        """Make the calls from the columns to the numbers."""
        return [
            *kind.rise(self.design, self.bends, self.flow),
            partial(torch.bmm, self.maps, self.flow, out=self.numbers),
        ]

    def fall(
        self, kind: EmbeddingKind, room: Tensor, felt: Tensor, trained: bool
    ) -> list[Call]:
        """Make the calls to the gradients; room and felt hold features (., q, b)."""
        product = partial(torch.bmm, self.below, self.flow.mT, out=self.grad_maps)
        if not trained:
            return [product]
        assert kind.fall is not None
        room, felt = room[: len(self.design)], felt[: len(self.design)]
        weights = self.maps[..., :-1].mT
        return [
            product,
            partial(torch.bmm, weights, self.below, out=felt),
            *kind.fall(self.design, self.bends, room, felt, self.grad_bends),
        ]


class Expansion:
    """Columns that become features, and by a map of their own their numbers."""

    straight = False

    def __init__(
        self,
        embedding: Embedding,
        b: int,
        own: Sequence[Tensor],
        grads: Sequence[Tensor],
    ) -> None:
        kind = EMBEDDINGS[embedding.kind]
        K, c, q = len(own[0]), len(embedding.columns), embedding.size
        w = embedding.width
        self._columns = Columns(embedding.columns, own[0], K, b)
        make = partial(torch.empty, dtype=own[0].dtype, device=own[0].device)
        design = make(K, c, 2, b).fill_(1.0)
        self._target = _plain(design[:, :, 0])
        value, below = (make(K, c * w, b).zero_() for _ in range(2))
        self.value_t, self.below_t = _plain(value), _plain(below)
        self.value, self.below = self.value_t.mT, self.below_t.mT
        every = Features(
            design.view(K * c, 2, b),
            own[0].view(K * c, 2, q),
            grads[0].view(K * c, 2, q),
            own[1].view(K * c, w, q + 1),
            grads[1].view(K * c, w, q + 1),
            make(K * c, q + 1, b).fill_(1.0),
            value.view(K * c, w, b),
            below.view(K * c, w, b),
        )
        self.up: list[Call] = []
        self.down: list[Call] = []
        together = max(1, min(K * c, CHUNK_NUMBERS // ((q + 1) * b)))
        room, felt = make(together, q, b), make(together, q, b)
        for first in range(0, K * c, together):
            some = every.some(slice(first, first + together))
            self.up += some.rise(kind)
            self.down += some.fall(kind, room, felt, embedding.trained)

    def load(self, x: Tensor) -> None:
        """Take the columns out of x (K, b, d + 1), or (b, d + 1) where K = 1."""
        self._target.copy_(self._columns.of(x).mT)


class Lookup:
    """Columns of whole numbers, each of which is a row of a table."""

    straight = True

    def __init__(
        self,
        embedding: Embedding,
        b: int,
        own: Sequence[Tensor],
        grads: Sequence[Tensor],
    ) -> None:
        table = own[0]
        K, n_levels, w = table.shape
        c = len(embedding.columns)
        self._columns = Columns(embedding.columns, table, K, b)
        first = torch.from_numpy(embedding.offsets).view(1, 1, c)
        later = n_levels * torch.arange(K).view(K, 1, 1)
        self._offsets = sent(first + later, table.device)
        self._codes = torch.zeros((K, b, c), dtype=torch.int64, device=table.device)
        value, below = (table.new_zeros(K, b, c * w) for _ in range(2))
        self.value, self.below = _plain(value), _plain(below)
        self.value_t, self.below_t = self.value.mT, self.below.mT
        codes, rows = self._codes.view(-1), (K * b * c, w)
        flat, gradient = table.view(-1, w), grads[0].view(-1, w)
        numbers, passed = value.view(rows), below.view(rows)
        self.up: list[Call] = [partial(torch.index_select, flat, 0, codes, out=numbers)]
        self.down: list[Call] = [
            gradient.zero_,
            partial(gradient.index_add_, 0, codes, passed),
        ]

    def load(self, x: Tensor) -> None:
        """Take the codes out of x (K, b, d + 1)."""
        self._codes.copy_(self._columns.of(x))
        self._codes.add_(self._offsets)


def _plain(view: Tensor) -> Tensor:
    return view[0] if len(view) == 1 else view


class EmbeddedPass(Pass):
    """A `Pass` whose first layer also takes the numbers of embeddings."""

    def __init__(self, stack: NetworkStack, b: int) -> None:
        architecture = stack.architecture
        self._numbers, self._entries = _embedded(stack, b)
        whole = architecture.n_plain == architecture.n_inputs
        # Codes that stand first leave the others, and the constant, side by side.
        kept = (*architecture.plain, architecture.n_inputs)
        self._kept = None if whole else Columns(kept, stack.flat, stack.K, b)
        super().__init__(stack, b)
        self._down_entries = [call for fall in self._fallen() for call in fall]

    def _upward(self, layers: list[HiddenBuffers], blocks: list[Tensor]) -> list[Rise]:
        rises = super()._upward(layers, blocks)
        if rises:
            rises[0].before[:0] = self._entering(layers[0].z)
        return rises

    def _entering(self, z: Tensor) -> list[Call]:
        """Make the calls that add the numbers' share to the first layer's value."""
        calls: list[Call] = []
        add_product = torch.addmm if self.K == 1 else torch.baddbmm
        for numbers, (entry, _) in zip(self._numbers, self._entries, strict=True):
            add = partial(add_product, z, numbers.value, entry, out=z)
            calls += [*numbers.up, add]
        return calls

    def _fallen(self) -> list[list[Call]]:
        """Make the calls that take the first layer's delta down through the numbers."""
        delta = self._lowest
        falls = []
        for numbers, (entry, grad) in zip(self._numbers, self._entries, strict=True):
            fall: list[Call] = [multiplication(numbers.value_t, delta, grad)]
            if numbers.straight:
                fall.append(multiplication(delta, entry.mT, numbers.below))
            else:
                fall.append(multiplication(entry, delta.mT, numbers.below_t))
            falls.append([*fall, *numbers.down])
        return falls

    def forward(
        self, x: Tensor | SparseBatch, raw: Tensor, masks: Sequence[Tensor] = ()
    ) -> None:
        """Write the raw outputs for x into ``raw``; as in `Pass`, but never sparse."""
        assert not isinstance(x, SparseBatch), "embeddings need dense rows"
        for numbers in self._numbers:
            numbers.load(x)
        self._entered = x if self._kept is None else self._kept.of(x)
        super().forward(self._entered, raw, masks)
        if self._first_z is None:
            for call in self._entering(raw):
                call()

    def backward(
        self,
        x: Tensor | SparseBatch,
        x_t: Tensor | None,
        masks: Sequence[Tensor] = (),
    ) -> None:
        """Turn ``delta`` into the gradient, for the x of the last `forward`."""
        super().backward(self._entered, self._entered.mT, masks)
        for call in self._down_entries:
            call()


def _embedded(
    stack: NetworkStack, b: int
) -> tuple[list[Numbers], list[tuple[Tensor, Tensor]]]:
    """Make each embedding's buffers; its entry, and the entry's gradient."""
    blocks = stack.blocks(stack.flat)
    grads = stack.blocks(stack.gradient)
    made: list[Numbers] = []
    entries = []
    architecture = stack.architecture
    start = 0
    for embedding, shapes in zip(
        architecture.embeddings, architecture.embedding_shapes, strict=True
    ):
        stop = start + len(shapes) - 1
        kind = Expansion if embedding.expands else Lookup
        made.append(kind(embedding, b, blocks[start:stop], grads[start:stop]))
        entries.append((_plain(blocks[stop]), _plain(grads[stop])))
        start = stop + 1
    return made, entries
