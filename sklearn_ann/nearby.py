"""A network at rows that differ from others in a few columns, for less than full price.

Columns first meet in the first layer, where what each of them sends is added up, be it
a number, the waves of an embedding or the indicators of a level:

    u(x') = u(x) + sum over moved columns j of (g_j(x'_j) - g_j(x_j)).

So rows are sent through the entrance once, and then, for each move, only the columns
that it moves; a level that all rows take is sent once. What lies behind the first layer
is not spared. On a table of many levels and columns, embedded as by default, that is
less than a fifth of the work.

Letters: b rows, d inputs, h units of the first layer (the outputs, where there is no
hidden one), m outputs, L moves of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .derivatives import ACTIVATION_FUNCTIONS
from .engine.architecture import Architecture, Parameters
from .engine.embeddings import Embedding, numbers_of


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What some columns send to the first layer and, by a skip, to the last.

    Attributes
    ----------
    plain : list of int
        Those that enter themselves; all places are those among the part's columns.
    weights : Tensor of shape (len(plain), h + m), or h without a skip
    embedded : list of (Embedding, own blocks, Tensor of shape (c w, h))
        Of those that are embedded, as if there were no others.
    """

    plain: list[int]
    weights: Tensor
    embedded: list[tuple[Embedding, list[Tensor], Tensor]]

    @classmethod
    def of(
        cls, architecture: Architecture, parameters: Parameters, columns: Sequence[int]
    ) -> Part:
        """Take what a network knows of some columns."""
        row = {column: i for i, column in enumerate(architecture.plain)}
        plain = [place for place, column in enumerate(columns) if column in row]
        first, n = parameters.weights[0], architecture.n_plain
        skip = [] if parameters.skip is None else [parameters.skip]
        weights = np.hstack([first[:n], *skip])[[row[columns[i]] for i in plain]]
        entries = np.split(first[n:], np.cumsum(parameters.n_numbers)[:-1])
        embedded = [
            _among(e, own, entry, columns)
            for e, own, entry in zip(
                architecture.embeddings, parameters.embeddings, entries, strict=False
            )
            if set(e.columns) & set(columns)
        ]
        return cls(plain, torch.from_numpy(weights), embedded)

    def __call__(self, z: Tensor) -> Tensor:
        """Return what it sends for rows of its columns, (b, c): (b, h + m)."""
        sent = z[:, self.plain] @ self.weights
        for embedding, own, entry in self.embedded:
            sent[:, : entry.shape[1]] += numbers_of(embedding, own, z) @ entry
        return sent


def _among(
    e: Embedding,
    own: Sequence[np.ndarray],
    entry: np.ndarray,
    columns: Sequence[int],
) -> tuple[Embedding, list[Tensor], Tensor]:
    """Cut an embedding to some of its columns, by their places among these."""
    places = {column: place for place, column in enumerate(columns)}
    kept = [i for i, column in enumerate(e.columns) if column in places]
    c, ends = len(e.columns), np.cumsum(e.levels)
    if e.expands:
        blocks = [own[0].reshape(c, 2, -1)[kept], own[1].reshape(c, e.width, -1)[kept]]
        blocks = [block.reshape(-1, block.shape[-1]) for block in blocks]
    else:
        tables = [own[0][end - e.levels[i] : end] for i, end in enumerate(ends)]
        blocks = [np.concatenate([tables[i] for i in kept])]
    some = replace(
        e,
        columns=tuple(places[e.columns[i]] for i in kept),
        levels=tuple(e.levels[i] for i in kept) if e.levels else (),
    )
    entering = entry.reshape(c, e.width, -1)[kept].reshape(len(kept) * e.width, -1)
    return some, list(map(torch.from_numpy, blocks)), torch.from_numpy(entering)


class Nearby:
    """One network around some rows.

    Parameters
    ----------
    architecture : Architecture
    theta : Tensor of shape (P,)
    z : Tensor of shape (b, d)
        The rows, in the units of `theta`.
    """

    def __init__(self, architecture: Architecture, theta: Tensor, z: Tensor) -> None:
        self.architecture, self.theta, self.z = architecture, theta, z
        self.parameters = architecture.unpack(theta.numpy())
        # Of the last columns that were moved: a column's levels come together.
        self._moved: tuple[list[int], Part, Tensor] | None = None

    @cached_property
    def sent(self) -> Tensor:
        """What all columns of the rows send, (b, h + m)."""
        every = range(self.architecture.n_inputs)
        return Part.of(self.architecture, self.parameters, every)(self.z)

    def raw(self, columns: list[int], values: Tensor) -> Tensor:
        """Raw outputs (L, b, m) where some columns are moved.

        Parameters
        ----------
        columns : list of c int
        values : Tensor of shape (L, b, c), or (L, 1, c) where all rows take the same
        """
        part, rest = self._without(columns)
        return torch.stack([self._outputs(rest + part(moved)) for moved in values])

    def _without(self, columns: list[int]) -> tuple[Part, Tensor]:
        """Return some columns' part, and what all others send."""
        if self._moved is None or self._moved[0] != columns:
            part = Part.of(self.architecture, self.parameters, columns)
            self._moved = columns, part, self.sent - part(self.z[:, columns])
        return self._moved[1:]

    def _outputs(self, sent: Tensor) -> Tensor:
        """Go on from the first layer, (b, m)."""
        biases = [torch.from_numpy(bias) for bias in self.parameters.biases]
        h = len(biases[0])
        u = sent[:, :h] + biases[0]
        for i, name in enumerate(self.architecture.activations, start=1):
            flow = ACTIVATION_FUNCTIONS[name](u)
            u = torch.addmm(
                biases[i], flow, torch.from_numpy(self.parameters.weights[i])
            )
        return u + sent[:, h:] if self.parameters.skip is not None else u
