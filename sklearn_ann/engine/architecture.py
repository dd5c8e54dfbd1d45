"""What a network is made of, before any training: its shape, and its parameters.

One network's parameters are a row of P numbers, layer by layer: the coefficients of a
layer, then its intercepts; a linear skip comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .layers import ACTIVATIONS, INITIALIZERS


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
    """

    n_inputs: int
    hidden: tuple[int, ...]
    n_outputs: int
    activations: tuple[str, ...]
    linear_skip: bool = False

    def __post_init__(self) -> None:
        assert len(self.activations) == len(self.hidden), "one activation a layer"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of all layers, inputs and outputs included."""
        return (self.n_inputs, *self.hidden, self.n_outputs)

    @property
    def block_shapes(self) -> list[tuple[int, int]]:
        """Shapes of the parameter blocks of one network, in the order of storage."""
        pairs = pairwise(self.sizes)
        shapes = [(fan_in + 1, fan_out) for fan_in, fan_out in pairs]
        if self.linear_skip:
            shapes.append((self.n_inputs, self.n_outputs))
        return shapes

    @property
    def n_parameters(self) -> int:
        """P, the parameters of one network."""
        sizes = self.sizes
        skip = self.n_inputs * self.n_outputs if self.linear_skip else 0
        return skip + sum((a + 1) * b for a, b in pairwise(sizes))

    @property
    def flops_per_row(self) -> float:
        """Multiplications and additions of one training step, for one row."""
        return 6.0 * self.n_parameters

    @property
    def smooth(self) -> bool:
        """Whether every activation is twice differentiable."""
        return all(ACTIVATIONS[name].smooth for name in self.activations)

    def unpack(self, row: np.ndarray) -> Parameters:
        """Cut one network's P numbers into weights, biases and skip."""
        blocks, start = [], 0
        for shape in self.block_shapes:
            stop = start + shape[0] * shape[1]
            blocks.append(row[start:stop].reshape(shape))
            start = stop
        skip = blocks.pop() if self.linear_skip else None
        return Parameters([b[:-1] for b in blocks], [b[-1] for b in blocks], skip)

    def initial_row(
        self, rng: np.random.Generator, init: str, output_start: np.ndarray
    ) -> np.ndarray:
        """Draw one network's starting parameters.

        Parameters
        ----------
        rng : numpy.random.Generator
        init : str
            "auto" (fitting each layer's activation) or a name of `INITIALIZERS`.
        output_start : ndarray of shape (m,)
            Intercepts of the output layer.

        Returns
        -------
        ndarray of shape (P,), float64

        Notes
        -----
        A network without hidden layer starts at zero: its problem is convex. Hidden
        biases are drawn, in +-1/sqrt(fan_in): with zeros every kink of a ReLU network
        of one column would sit at that column's mean.
        """
        parts = []
        pairs = list(pairwise(self.sizes))
        for layer, (fan_in, fan_out) in enumerate(pairs):
            last = layer == len(pairs) - 1
            parts.append(self._initial_weights(rng, init, layer, fan_in, fan_out))
            bound = 1.0 / np.sqrt(fan_in)
            parts.append(
                output_start if last else rng.uniform(-bound, bound, (1, fan_out))
            )
        if self.linear_skip:
            parts.append(np.zeros((self.n_inputs, self.n_outputs)))
        return np.concatenate([np.asarray(p, dtype=np.float64).ravel() for p in parts])

    def _initial_weights(
        self, rng: np.random.Generator, init: str, layer: int, fan_in: int, fan_out: int
    ) -> np.ndarray:
        if not self.hidden:
            return np.zeros((fan_in, fan_out))
        if init == "auto":
            last = layer == len(self.hidden)
            name = self.activations[layer] if not last else "identity"
            init = ACTIVATIONS[name].init
        return INITIALIZERS[init](rng, fan_in, fan_out)


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of one network, as arrays (views of its row).

    Attributes
    ----------
    weights : list of ndarray of shape (fan_in, fan_out)
    biases : list of ndarray of shape (fan_out,)
    skip : ndarray of shape (d, m) or None
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    skip: np.ndarray | None

    def pack(self) -> np.ndarray:
        """Concatenate to the network's row; the inverse of `Architecture.unpack`."""
        parts = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            parts += [weight.ravel(), bias.ravel()]
        if self.skip is not None:
            parts.append(self.skip.ravel())
        return np.concatenate(parts)


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
        The rows times the first weights: the caller's product, which may be sparse.
        Overwritten.
    skip : Tensor of shape (n, m) or None
        The rows times the skip's weights.

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
