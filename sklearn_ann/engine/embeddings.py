"""What a single column may become before it enters the network: several numbers.

A kind of embedding is a value in a table, as an activation is. Two of them expand a
column into *features*, waves or ramps, which a linear map of the column's own turns
into its numbers; the third looks a level's numbers up.

======  ========  =====================================================================
c, w    -         columns of an embedding, numbers made of each
q       -         features of a column: frequencies or bins
bends   (2c, q)   two rows a column, by which a feature's place and steepness are given
map     (cw, q+1) one row a number: its weights, and last its intercept
table   (L, w)    of a lookup: the rows of all levels of all columns
entry   (cw, h)   weights of the numbers in the first layer
======  ========  =====================================================================

A map's rows are the numbers and not the features, unlike a layer's: so both the numbers
and the map's gradient are products without a transposition in their results. Angles are
in radians: to store cycles would take one more multiplication of all features a step.

References
----------
Gorishniy, Rubachev and Babenko (2022), "On Embeddings for Numerical Features in Tabular
Deep Learning", arXiv:2203.05556, sections 3.2 (ramps) and 3.3 (waves); Holzmueller,
Grinsztajn and Steinwart (2024), "Better by Default", arXiv:2407.04491, for waves with a
phase whose column stays beside them; Guo and Berkhahn (2016), arXiv:1604.06737, for
lookups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .products import Call

# Bins narrower than this share of their edges' size are ties, up to float32's rounding.
NARROWEST_BIN = 4.0 * float(np.finfo(np.float32).eps)
# Rounding between an edge and a row that stands on it, in widths of the bin.
ON_AN_EDGE = 1e-9


@dataclass(frozen=True, slots=True)
class Embedding:
    """How some columns of the input are embedded, each by parameters of its own.

    Attributes
    ----------
    kind : str
        A name of `EMBEDDINGS`.
    columns : tuple of int
        Their positions in the input.
    width : int
        w, numbers made of each column.
    size : int, default=16
        q, waves or bins of each column.
    levels : tuple of int, default=()
        Of a lookup: levels of each column, whose values are whole numbers below it.
    sigma : float, default=0.1
        Of waves: standard deviation of the frequencies drawn, in cycles a unit of the
        column.
    trained : bool, default=False
        Of waves: whether frequencies and phases are trained. Frozen as drawn they save
        a sine for every cosine (`tests.benchmarks.bench_embeddings`).
    """

    kind: str
    columns: tuple[int, ...]
    width: int
    size: int = 16
    levels: tuple[int, ...] = ()
    sigma: float = 0.1
    trained: bool = False

    def __post_init__(self) -> None:
        assert self.kind in EMBEDDINGS, f"{self.kind!r} is not in {list(EMBEDDINGS)}"
        assert self.columns and self.width > 0 and self.size > 0
        looks_up = not EMBEDDINGS[self.kind].expands
        assert len(self.levels) == (len(self.columns) if looks_up else 0)
        assert not self.trained or EMBEDDINGS[self.kind].trainable

    @property
    def expands(self) -> bool:
        """Whether a column becomes features first; it also stays beside its numbers."""
        return EMBEDDINGS[self.kind].expands

    @property
    def n_numbers(self) -> int:
        """Numbers that enter the first layer, c w."""
        return len(self.columns) * self.width

    @property
    def own_shapes(self) -> list[tuple[int, int]]:
        """Shapes of its own parameter blocks: bends and map, or the table."""
        if not self.expands:
            return [(sum(self.levels), self.width)]
        c = len(self.columns)
        return [(2 * c, self.size), (self.n_numbers, self.size + 1)]

    @property
    def widest(self) -> int:
        """Numbers that stand in buffers for a row."""
        c = len(self.columns)
        return c * (self.size + 1) if self.expands else self.n_numbers

    @property
    def flops_per_row(self) -> float:
        """Multiplications and additions of a step, but for the entry into a layer."""
        if not self.expands:
            return 4.0 * self.n_numbers
        features = len(self.columns) * self.size
        return features * (EMBEDDINGS[self.kind].flops + 6.0 * self.width)

    @property
    def offsets(self) -> np.ndarray:
        """First row of each column's levels in the table, (c,)."""
        return np.cumsum((0, *self.levels[:-1]))

    def start(
        self, rng: np.random.Generator, edges: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Draw its own blocks.

        Parameters
        ----------
        rng : numpy.random.Generator
        edges : ndarray of shape (c, q + 1) or None
            Of ramps: edges of each column's bins, increasing; ties are allowed.

        Notes
        -----
        Maps are drawn so that a number's second moment is one: a wave's is a half, and
        so is the share of bins that a typical row has behind it. The numbers of a level
        have one together, like a standardised column. Intercepts start at zero.
        """
        if not self.expands:
            shape = self.own_shapes[0]
            return [rng.normal(0.0, 1.0 / math.sqrt(self.width), shape)]
        bends = EMBEDDINGS[self.kind].draw(self, rng, edges)
        weights = rng.normal(0.0, math.sqrt(2.0 / self.size), self.own_shapes[1])
        weights[:, -1] = 0.0
        return [bends.reshape(self.own_shapes[0]), weights]

    def mark_weights(self, blocks: Sequence[Tensor]) -> None:
        """Leave 1 at what penalties act on, and 0 elsewhere, in its own blocks.

        Weights of maps and numbers of tables are penalised; bends and intercepts, of
        whatever kind, are not.
        """
        if self.expands:
            blocks[0].zero_()
            blocks[1][..., -1] = 0.0


@dataclass(frozen=True, slots=True)
class EmbeddingKind:
    """One kind of embedding.

    Attributes
    ----------
    name : str
    draw : callable (embedding, rng, edges) -> ndarray of shape (c, 2, q)
        Bends to start with.
    features : callable (x, first, second) -> Tensor of shape (c, q, b)
        Features of the columns x (c, 1, b), in a form that autograd takes, from the two
        rows of the bends (c, q, 1).
    rise : callable (design, bends, flow) -> list of Call
        The same in buffers: from the columns, each above ones, (K c, 2, b), to the
        features, (K c, q + 1, b), whose last row holds ones and shall go on to.
    fall : callable (design, bends, room, below, gradient) -> list of Call, or None
        From the features' gradient ``below`` (K c, q, b) to that of the bends, with
        room of the same shape.
    flops : float
        Of a feature, in both directions.
    expands : bool, default=True
        Whether there are features at all.
    """

    name: str
    draw: Callable[..., np.ndarray]
    features: Callable[[Tensor, Tensor, Tensor], Tensor]
    rise: Callable[[Tensor, Tensor, Tensor], list[Call]]
    fall: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], list[Call]] | None = None
    flops: float = 10.0
    expands: bool = True

    @property
    def trainable(self) -> bool:
        """Whether its bends may be trained; else they are constants."""
        return self.fall is not None


# ------------------------------------------------------------------------------- waves


def _draw_waves(
    embedding: Embedding, rng: np.random.Generator, edges: None
) -> np.ndarray:
    shape = (len(embedding.columns), embedding.size)
    frequency = 2.0 * np.pi * rng.normal(0.0, embedding.sigma, shape)
    return np.stack([frequency, rng.uniform(-np.pi, np.pi, shape)], axis=1)


def _waves(x: Tensor, frequency: Tensor, phase: Tensor) -> Tensor:
    return torch.cos(frequency * x + phase)


def _raise_waves(design: Tensor, bends: Tensor, flow: Tensor) -> list[Call]:
    # A wave without frequency and phase makes the ones, so all stays contiguous.
    waves = bends.new_zeros(*bends.shape[:2], flow.shape[1])
    frequency, phase = waves[:, 0, :, None], waves[:, 1, :, None]
    return [
        partial(waves[..., :-1].copy_, bends),
        partial(torch.mul, design[:, :1], frequency, out=flow),
        partial(flow.add_, phase),
        flow.cos_,
    ]


def _lower_waves(
    design: Tensor, bends: Tensor, room: Tensor, below: Tensor, gradient: Tensor
) -> list[Call]:
    return [
        partial(torch.bmm, bends.mT, design, out=room),
        room.sin_,
        partial(below.mul_, room),
        partial(torch.bmm, design, below.mT, out=gradient),
        gradient.neg_,
    ]


# ------------------------------------------------------------------------------- ramps


def _draw_ramps(
    embedding: Embedding, rng: np.random.Generator, edges: np.ndarray | None
) -> np.ndarray:
    assert edges is not None, "ramps need the edges of their bins"
    assert edges.shape == (len(embedding.columns), embedding.size + 1)
    return np.stack([ramps_between(own) for own in edges])


def ramps_between(edges: np.ndarray) -> np.ndarray:
    """Lower edges and steepness, (2, q), of the bins between edges (q + 1,).

    A bin between tied edges is dead: its steepness is zero, and so is its feature, for
    every row. The first bin is unbounded below and the last one above, so dead bins
    stand between them; a single live bin is cut in two.
    """
    q = len(edges) - 1
    reach = np.maximum(np.abs(edges[:-1]), np.abs(edges[1:]))
    live = np.diff(edges) > np.maximum(NARROWEST_BIN * reach, 1e-30)
    low, high = edges[:-1][live], edges[1:][live]
    if len(low) == 1 and q > 1:
        middle = 0.5 * (low + high)
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    places = np.arange(len(low))
    places[1:] += q - len(low)
    ramps = np.zeros((2, q))
    ramps[0, places], ramps[1, places] = low, 1.0 / (high - low)
    return ramps


def _ramps(x: Tensor, low: Tensor, steepness: Tensor) -> Tensor:
    floor, ceiling = torch.zeros_like(low[:1]), torch.ones_like(low[:1])
    floor[:, 0], ceiling[:, -1] = -torch.inf, torch.inf
    z = (x - low) * steepness
    found = z.clamp(floor, ceiling)
    return found + _sloping(z, floor, ceiling) if z.requires_grad else found


def _sloping(z: Tensor, floor: Tensor, ceiling: Tensor) -> Tensor:
    """Zero, with the slopes of ramps less those that clamp gives them.

    Edges are quantiles, so rows do stand on them, where two slopes meet; the mean of
    both is taken. Autograd's clamp would take their sum.
    """
    edge = z.detach().round()
    z = z + torch.where((z - edge).abs() < ON_AN_EDGE, edge - z, 0.0).detach()
    rising = torch.where(floor == 0.0, z.abs(), z)
    falling = torch.where(ceiling == 1.0, (z - 1.0).abs(), 1.0 - z)
    own = 0.5 * (rising - falling) - z.clamp(floor, ceiling)
    return own - own.detach()


def _raise_ramps(design: Tensor, bends: Tensor, flow: Tensor) -> list[Call]:
    low, steepness = bends[:, 0, :, None], bends[:, 1, :, None]
    inside = flow[:, :-1]
    rise: list[Call] = [
        partial(torch.sub, design[:, :1], low, out=inside),
        partial(inside.mul_, steepness),
    ]
    if inside.shape[1] > 1:
        rise.append(partial(inside[:, :1].clamp_, max=1.0))
        rise.append(partial(inside[:, -1:].clamp_, min=0.0))
    if inside.shape[1] > 2:
        rise.append(partial(inside[:, 1:-1].clamp_, 0.0, 1.0))
    return rise


# ----------------------------------------------------------------------------- lookups


def _none(*arguments: object) -> np.ndarray:
    raise AssertionError("a lookup has no features")


EMBEDDINGS: dict[str, EmbeddingKind] = {
    kind.name: kind
    for kind in (
        EmbeddingKind(
            "periodic", _draw_waves, _waves, _raise_waves, _lower_waves, flops=20.0
        ),
        EmbeddingKind("piecewise_linear", _draw_ramps, _ramps, _raise_ramps),
        EmbeddingKind("lookup", _none, _none, _none, expands=False),  # type: ignore[arg-type]
    )
}


# --------------------------------------------------------------- for a single network


def features_of(
    embedding: Embedding, bends: Tensor, x: Tensor, nudges: Tensor | None = None
) -> Tensor:
    """Features of its columns, (c, q, b).

    Parameters
    ----------
    bends : Tensor of shape (2c, q)
    x : Tensor of shape (b, d)
    nudges : Tensor of shape (c, q, b), default=None
        Added to the argument of trained ones: derivatives in them are those in it.
    """
    columns = x[:, list(embedding.columns)].T[:, None]  # (c, 1, b)
    if not embedding.trained:
        bends = bends.detach()
    pairs = bends.reshape(len(embedding.columns), 2, embedding.size, 1)
    first, second = pairs[:, 0], pairs[:, 1]
    second = second if nudges is None else second + nudges
    return EMBEDDINGS[embedding.kind].features(columns, first, second)


def mapped(embedding: Embedding, maps: Tensor, features: Tensor) -> Tensor:
    """Numbers (b, c w) that its map (cw, q + 1) makes of features (c, q, b)."""
    maps = maps.reshape(len(embedding.columns), embedding.width, -1)
    found = torch.baddbmm(maps[..., -1:], maps[..., :-1], features)
    return found.flatten(0, 1).T


def codes_of(embedding: Embedding, x: Tensor) -> Tensor:
    """Rows of the table that the rows of x (b, d) look up, (b, c), int64."""
    codes = x[:, list(embedding.columns)].long()
    return codes + torch.from_numpy(embedding.offsets)


def numbers_of(embedding: Embedding, own: Sequence[Tensor], x: Tensor) -> Tensor:
    """Numbers that one network makes of its columns, (b, c w), without a stack.

    Parameters
    ----------
    own : sequence of Tensor
        Its own blocks, of `Embedding.own_shapes`.
    x : Tensor of shape (b, d)
    """
    if not embedding.expands:
        return own[0][codes_of(embedding, x)].flatten(1)
    return mapped(embedding, own[1], features_of(embedding, own[0], x))
