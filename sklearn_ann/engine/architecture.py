"""What a network is made of, before any training: its shape, and its parameters.

One network's parameters are a row of P numbers, layer by layer: the coefficients of a
layer, then its intercepts; a linear skip comes last. Embeddings come first, each with
its own blocks and then the weights of its numbers in the first layer, the *entry*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .embeddings import Embedding, numbers_of
from .layers import ACTIVATIONS, INITIALIZERS, variance_of


@dataclass(frozen=True, slots=True)
class Architecture:
    """Shape of a network.

    Attributes
    ----------
    n_inputs : int
        d, columns of the input.
    hidden : tuple of int
        Units of each hidden layer; empty for a regression.
    n_outputs : int
        m, columns of the raw output.
    activations : tuple of str
        One name for each hidden layer.
    linear_skip : bool
        Whether the inputs also reach the outputs directly, by weights of their own.
    embeddings : tuple of Embedding
        Columns that become several numbers first. What enters the first layer is the
        plain columns, then these numbers, then the constant. Plain are all columns but
        those looked up; a linear skip starts from them alone.
    """

    n_inputs: int
    hidden: tuple[int, ...]
    n_outputs: int
    activations: tuple[str, ...]
    linear_skip: bool = False
    embeddings: tuple[Embedding, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.activations) == len(self.hidden), "one activation a layer"
        for embedding in self.embeddings:
            assert 0 <= min(embedding.columns) <= max(embedding.columns) < self.n_inputs

    @property
    def plain(self) -> tuple[int, ...]:
        """Positions of the columns that enter the first layer themselves."""
        looked_up = self._looked_up
        return tuple(j for j in range(self.n_inputs) if j not in looked_up)

    @property
    def n_plain(self) -> int:
        """How many these are."""
        return self.n_inputs - len(self._looked_up)

    @property
    def _looked_up(self) -> set[int]:
        gone = [e.columns for e in self.embeddings if not e.expands]
        return {column for columns in gone for column in columns}

    @property
    def n_embedded(self) -> int:
        """Numbers that embeddings send into the first layer."""
        return sum(embedding.n_numbers for embedding in self.embeddings)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of all layers, what enters the first one and outputs included."""
        return (self.n_plain + self.n_embedded, *self.hidden, self.n_outputs)

    @property
    def widest(self) -> int:
        """Numbers of a row in the largest buffer of a pass."""
        return max(*self.sizes, *(e.widest for e in self.embeddings))

    @property
    def linear(self) -> bool:
        """Whether it is a regression: no hidden layer, and no embedding."""
        return not self.hidden and not self.embeddings

    @property
    def embedding_shapes(self) -> list[list[tuple[int, int]]]:
        """Shapes of each embedding's blocks: its own, and its entry."""
        first = self.sizes[1]
        return [[*e.own_shapes, (e.n_numbers, first)] for e in self.embeddings]

    @property
    def n_embedding_blocks(self) -> int:
        """Blocks that come before those of the layers."""
        return sum(len(shapes) for shapes in self.embedding_shapes)

    @property
    def layer_shapes(self) -> list[tuple[int, int]]:
        """Shapes of the layers' blocks, and of the skip's."""
        fans = [self.n_plain, *self.hidden]
        pairs = zip(fans, self.sizes[1:], strict=True)
        shapes = [(fan_in + 1, fan_out) for fan_in, fan_out in pairs]
        if self.linear_skip:
            shapes.append((self.n_plain, self.n_outputs))
        return shapes

    @property
    def block_shapes(self) -> list[tuple[int, int]]:
        """Shapes of the parameter blocks of one network, in the order of storage."""
        entrance = [shape for shapes in self.embedding_shapes for shape in shapes]
        return [*entrance, *self.layer_shapes]

    @property
    def n_parameters(self) -> int:
        """P, the parameters of one network."""
        return sum(rows * columns for rows, columns in self.block_shapes)

    @property
    def flops_per_row(self) -> float:
        """Multiplications and additions of one training step, for one row."""
        entries = self.n_embedded * self.sizes[1]
        layers = sum(rows * columns for rows, columns in self.layer_shapes)
        return 6.0 * (layers + entries) + sum(e.flops_per_row for e in self.embeddings)

    @property
    def smooth(self) -> bool:
        """Whether every activation is twice differentiable."""
        return all(ACTIVATIONS[name].smooth for name in self.activations)

    def entering(self, values: np.ndarray) -> np.ndarray:
        """Spread values of input columns over the parameters of their ways in, (P,).

        Parameters
        ----------
        values : ndarray of shape (n_inputs,)

        Returns
        -------
        ndarray of shape (P,)
            A column's value at its weights in the first layer, and at the map or table
            that makes its numbers; one elsewhere, the skip included.
        """
        row = np.ones(self.n_parameters)
        blocks = self.blocks(row)
        for embedding, shapes in zip(
            self.embeddings, self.embedding_shapes, strict=True
        ):
            own, blocks = blocks[: len(shapes) - 1], blocks[len(shapes) :]
            chosen = values[list(embedding.columns)]
            times = embedding.width if embedding.expands else embedding.levels
            own[-1][:] = np.repeat(chosen, times)[:, None]
        blocks[0][:-1] = values[list(self.plain)][:, None]
        return row

    def blocks(self, row: np.ndarray) -> list[np.ndarray]:
        """Cut one network's P numbers into its blocks, as views."""
        blocks, start = [], 0
        for shape in self.block_shapes:
            stop = start + shape[0] * shape[1]
            blocks.append(row[start:stop].reshape(shape))
            start = stop
        return blocks

    def unpack(self, row: np.ndarray) -> Parameters:
        """Cut one network's P numbers into weights, biases, skip and embeddings."""
        blocks = self.blocks(row)
        skip = blocks.pop() if self.linear_skip else None
        owns, entries = [], []
        for shapes in self.embedding_shapes:
            *own, entry = (blocks.pop(0) for _ in shapes)
            owns.append(tuple(own))
            entries.append(entry)
        weights = [b[:-1] for b in blocks]
        if entries:
            weights[0] = np.concatenate([weights[0], *entries])
        return Parameters(
            weights,
            [b[-1] for b in blocks],
            skip,
            tuple(owns),
            tuple(len(entry) for entry in entries),
        )

    def initial_row(
        self,
        rng: np.random.Generator,
        init: str,
        output_start: np.ndarray,
        edges: Sequence[np.ndarray | None] = (),
    ) -> np.ndarray:
        """Draw one network's starting parameters.

        Parameters
        ----------
        rng : numpy.random.Generator
        init : str
            "auto" (fitting each layer's activation) or a name of `INITIALIZERS`.
        output_start : ndarray of shape (m,)
            Intercepts of the output layer.
        edges : sequence of ndarray or None, one for each embedding, default=()
            Edges of the bins of piecewise linear ones, (c, bins + 1).

        Returns
        -------
        ndarray of shape (P,), float64

        Notes
        -----
        A network without hidden layer starts at zero: its problem is convex. (With
        embeddings it is not, and their maps are drawn all the same: were they zero too,
        no gradient would lead on.) Hidden biases are drawn, in +-1/sqrt(fan_in): with
        zeros every kink of a ReLU network of one column would sit at its mean. Beside a
        linear skip the last layer starts at zero, and the network at what the skip
        knows.
        """
        weights: list[np.ndarray] = []
        biases: list[np.ndarray] = []
        pairs = list(pairwise(self.sizes))
        for layer, (fan_in, fan_out) in enumerate(pairs):
            last = layer == len(pairs) - 1
            weights.append(self._initial_weights(rng, init, layer, fan_in, fan_out))
            bound = 1.0 / np.sqrt(fan_in)
            drawn = output_start if last else rng.uniform(-bound, bound, fan_out)
            biases.append(np.asarray(drawn, dtype=np.float64))
        skip = np.zeros((self.n_plain, self.n_outputs)) if self.linear_skip else None
        given = edges or [None] * len(self.embeddings)
        owns = [
            e.start(rng, own) for e, own in zip(self.embeddings, given, strict=True)
        ]
        numbers = tuple(embedding.n_numbers for embedding in self.embeddings)
        own_blocks = tuple(map(tuple, owns))
        return Parameters(weights, biases, skip, own_blocks, numbers).pack()

    def _initial_weights(
        self, rng: np.random.Generator, init: str, layer: int, fan_in: int, fan_out: int
    ) -> np.ndarray:
        is_last = layer == len(self.hidden)
        if not self.hidden or (is_last and self.linear_skip):
            return np.zeros((fan_in, fan_out))
        return INITIALIZERS[self._named(init, layer)](rng, fan_in, fan_out)

    def _named(self, init: str, layer: int) -> str:
        """Return the initialiser that "auto" means in a layer."""
        if init != "auto":
            return init
        is_last = layer == len(self.hidden)
        return ACTIVATIONS["identity" if is_last else self.activations[layer]].init

    def with_fewer_inputs(
        self, row: np.ndarray, init: str, enters: np.ndarray
    ) -> np.ndarray:
        """Bring a start's first hidden layer to the scale that fewer inputs ask for.

        Inputs that are always zero do not count: with them the others' weights would be
        too small.

        Parameters
        ----------
        row : ndarray of shape (P,)
            As `initial_row` draws it.
        init : str
            What it was drawn with.
        enters : ndarray of bool, shape (n_inputs,)

        Returns
        -------
        ndarray of shape (P,)
        """
        fan_in, fan_out = self.sizes[:2]
        fewer = int(enters[list(self.plain)].sum()) + sum(
            int(enters[list(e.columns)].sum()) * e.width for e in self.embeddings
        )
        fewer, named = max(1, fewer), self._named(init, 0)
        ratio = variance_of(named, fewer, fan_out) / variance_of(named, fan_in, fan_out)
        row = row.copy()
        *entries, first = self._ways_in(row)
        for weights in (*entries, first[:-1]):
            weights *= np.sqrt(ratio)
        first[-1] *= np.sqrt(fan_in / fewer)
        return row

    def _ways_in(self, row: np.ndarray) -> list[np.ndarray]:
        """Blocks that lead into the first layer: of embeddings, of plain columns."""
        blocks = self.blocks(row)
        last = np.cumsum([len(shapes) for shapes in self.embedding_shapes], dtype=int)
        return [*(blocks[i - 1] for i in last), blocks[self.n_embedding_blocks]]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of one network, as arrays (views of its row).

    Attributes
    ----------
    weights : list of ndarray of shape (fan_in, fan_out)
    biases : list of ndarray of shape (fan_out,)
    skip : ndarray of shape (plain columns, m) or None
    embeddings : tuple of tuple of ndarray
        Each embedding's own blocks, of `Embedding.own_shapes`.
    n_numbers : tuple of int
        Rows of each embedding at the end of the first weights, which are a copy then.
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    skip: np.ndarray | None
    embeddings: tuple[tuple[np.ndarray, ...], ...] = ()
    n_numbers: tuple[int, ...] = ()

    def pack(self) -> np.ndarray:
        """Concatenate to the network's row; the inverse of `Architecture.unpack`."""
        parts, weights = [], list(self.weights)
        if self.embeddings:
            ends = len(weights[0]) - np.cumsum(self.n_numbers[::-1])[::-1]
            weights[0], *entries = np.split(weights[0], ends)
            for own, entry in zip(self.embeddings, entries, strict=True):
                parts += [*(block.ravel() for block in own), entry.ravel()]
        for weight, bias in zip(weights, self.biases, strict=True):
            parts += [weight.ravel(), bias.ravel()]
        if self.skip is not None:
            parts.append(self.skip.ravel())
        return np.concatenate(parts)


def entering(architecture: Architecture, parameters: Parameters, x: Tensor) -> Tensor:
    """Put plain columns and embedded numbers together, as they enter, (n, size).

    Parameters
    ----------
    x : Tensor of shape (n, d)
    """
    if not architecture.embeddings:
        return x
    numbers = [
        numbers_of(embedding, [torch.from_numpy(block) for block in own], x)
        for embedding, own in zip(
            architecture.embeddings, parameters.embeddings, strict=True
        )
    ]
    return torch.cat([x[:, list(architecture.plain)], *numbers], dim=1)


def forward(
    architecture: Architecture,
    parameters: Parameters,
    first: Tensor,
    skip: Tensor | None = None,
) -> Tensor:
    """Raw outputs of one network for a few rows, without a stack around it.

    Parameters
    ----------
    architecture : Architecture
    parameters : Parameters
    first : Tensor of shape (n, h), or (n, m) without hidden layer
        What enters (see `entering`) times the first weights: the caller's product,
        which may be sparse. Overwritten.
    skip : Tensor of shape (n, m) or None
        The plain columns times the skip's weights.

    Returns
    -------
    Tensor of shape (n, m)
    """
    z = first.add_(torch.from_numpy(parameters.biases[0]))
    for i, name in enumerate(architecture.activations):
        act = ACTIVATIONS[name]
        a = torch.empty_like(z) if act.saves == "input" else z
        act.forward(z, a)
        weight = torch.from_numpy(parameters.weights[i + 1])
        z = torch.addmm(torch.from_numpy(parameters.biases[i + 1]), a, weight)
    return z if skip is None else z.add_(skip)
