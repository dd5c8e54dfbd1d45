"""The stack: K networks of one architecture, and back propagation written out.

Conventions
-----------
A layer is a regression: its block holds the coefficients, and in the last row the
intercepts, (K, fan_in + 1, fan_out). What enters it carries a column of ones, as a
design matrix does. So one product gives the layer's value, intercepts included, and
one product gives the gradient of both; adding biases and summing their gradients took
two more calls a layer, and for small networks calls are what a step costs.

Parameters of all K networks live in one flat, contiguous tensor of K x P numbers, laid
out block by block; a linear skip from inputs to outputs, (K, d, m), comes last. Every
block is a contiguous view of the flat tensor, so one call updates all parameters of
all networks. Embeddings, which the first layer reads, stand before it (see `entrance`).
(One row of P numbers per network was tried: the products then run on
strided views, and a step takes nearly twice as long.) Gradients and optimiser states
have the same layout.

With K = 1 products run on plain matrices: the stack axis is dropped from buffers and
views, here and in `feeder`, since `mm` is faster than a `bmm` of one.
"""

from __future__ import annotations

from functools import cached_property
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from .architecture import Architecture
from .device import sent
from .entrance import EmbeddedPass
from .mixed import MixedPass
from .passes import Pass


def shared(values: np.ndarray) -> bool:
    """Whether all networks have the same value."""
    return bool((values == values[0]).all())


class NetworkStack:
    """K networks of one architecture in one flat tensor.

    Parameters
    ----------
    architecture : Architecture
    rows : Tensor of shape (K, P)
        Starting parameters.
    products : torch.dtype or None, default=None
        Dtype of the products, where it is not that of the parameters.

    Attributes
    ----------
    flat, gradient : Tensor of shape (K * P,)
    shadow : NetworkStack or None
        The stack in the dtype of the products, for `MixedPass`.
    """

    def __init__(
        self,
        architecture: Architecture,
        rows: Tensor,
        products: torch.dtype | None = None,
    ) -> None:
        assert rows.shape[1] == architecture.n_parameters
        self.architecture = architecture
        self.K = rows.shape[0]
        self._shapes = architecture.block_shapes
        self.flat = torch.empty(rows.numel(), dtype=rows.dtype, device=rows.device)
        self.gradient = torch.zeros_like(self.flat)
        self.set_rows(self.flat, rows)
        self._passes: dict[int, Pass | MixedPass] = {}
        self._owner: Tensor | None = None
        self._products = products or rows.dtype
        self.shadow: NetworkStack | None = None
        if self._products is not rows.dtype:
            self.shadow = NetworkStack(architecture, rows.to(self._products))

    def blocks(self, flat: Tensor) -> list[Tensor]:
        """Return views of a flat tensor, one a parameter block, (K, rows, columns)."""
        views, start = [], 0
        for rows, columns in self._shapes:
            stop = start + self.K * rows * columns
            views.append(flat[start:stop].view(self.K, rows, columns))
            start = stop
        return views

    def layer_blocks(self, flat: Tensor) -> list[Tensor]:
        """Return the blocks of the layers and of the skip, without embeddings'."""
        return self.blocks(flat)[self.architecture.n_embedding_blocks :]

    def rows(self, flat: Tensor) -> Tensor:
        """One row for each network, (K, P): a copy, or a view where K = 1."""
        if self.K == 1:
            return flat.view(1, -1)
        return torch.cat([b.flatten(1) for b in self.blocks(flat)], dim=1)

    def row(self, i: int) -> Tensor:
        """Parameters of the i-th network, (P,): a copy, or a view where K = 1."""
        if self.K == 1:
            return self.flat
        return torch.cat([b[i].flatten() for b in self.blocks(self.flat)])

    def set_rows(self, flat: Tensor, rows: Tensor) -> None:
        """Write rows (K, P) into a flat tensor."""
        if self.K == 1:
            flat.copy_(rows.view(-1))
            return
        start = 0
        for block in self.blocks(flat):
            stop = start + block[0].numel()
            block.copy_(rows[:, start:stop].view_as(block))
            start = stop

    def spread(self, values: Tensor) -> Tensor:
        """Spread one value a network, (K,), over its parameters, (K * P,)."""
        if self._owner is None:
            self._owner = torch.cat(
                [
                    torch.arange(self.K, device=self.flat.device)
                    .view(-1, 1)
                    .expand(-1, b[0].numel())
                    .reshape(-1)
                    for b in self.blocks(self.flat)
                ]
            )
        return sent(values, self.flat.device).index_select(0, self._owner)

    def weight_mask(self) -> Tensor:
        """1 at weights and 0 at biases, (K * P,): penalties leave biases free.

        And whatever else of an embedding is no weight (`Embedding.mark_weights`).
        """
        mask, architecture = torch.ones_like(self.flat), self.architecture
        for block in self.layer_blocks(mask)[: len(architecture.hidden) + 1]:
            block[:, -1] = 0.0
        blocks = self.blocks(mask)
        for embedding, shapes in zip(
            architecture.embeddings, architecture.embedding_shapes, strict=True
        ):
            embedding.mark_weights(blocks)
            del blocks[: len(shapes)]
        return mask

    def sums(self, flat: Tensor) -> Tensor:
        """Sum a flat tensor over each network's parameters, (K,)."""
        if self.K == 1:
            return flat.sum().view(1)
        return torch.stack([b.flatten(1).sum(1) for b in self.blocks(flat)]).sum(0)

    def layer_norms(self) -> np.ndarray:
        """Euclidean norm of the gradient by network and layer, (K, layers).

        A linear skip counts with the output layer, to which it leads, and an embedding
        with the first.
        """
        if self.K == 1 and self.flat.device.type == "cpu":
            with np.errstate(all="ignore"):  # what is not finite is said elsewhere
                return np.array([[sqrt(p.dot(p)) for p in self._layer_parts]])
        return self.norms_by_layer().cpu().numpy()

    def norms_by_layer(self) -> Tensor:
        """Return the same where the stack is, without waiting for it."""
        blocks = self.blocks(self.gradient)
        parts = [torch.linalg.vector_norm(b.flatten(1), dim=1).square() for b in blocks]
        if self.architecture.linear_skip:
            skip = parts.pop()
            parts[-1] = parts[-1] + skip
        for _ in range(self.architecture.n_embedding_blocks):
            embedded = parts.pop(0)
            parts[0] = parts[0] + embedded
        return torch.stack(parts, dim=1).sqrt()

    @cached_property
    def _layer_parts(self) -> list[np.ndarray]:
        """Each layer's part of the gradient of a single network, as NumPy sees it."""
        sizes = [b.numel() for b in self.blocks(self.gradient)]
        if self.architecture.linear_skip:
            skip = sizes.pop()
            sizes[-1] += skip
        for _ in range(self.architecture.n_embedding_blocks):
            embedded = sizes.pop(0)
            sizes[0] += embedded
        return [part.numpy() for part in self.gradient.split(sizes)]

    def select(self, keep: Tensor) -> NetworkStack:
        """Make a smaller stack of the networks ``keep`` (int64, K' of K)."""
        rows = self.rows(self.flat)[keep]
        return NetworkStack(self.architecture, rows, self._products)

    def at(self, n_rows: int) -> Pass | MixedPass:
        """Return the pass for minibatches of ``n_rows`` rows; made once, then kept."""
        if n_rows not in self._passes:
            made = EmbeddedPass if self.architecture.embeddings else Pass
            kind = made if self.shadow is None else MixedPass
            self._passes[n_rows] = kind(self, n_rows)
        return self._passes[n_rows]
