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
all networks. (One row of P numbers per network was tried: the products then run on
strided views, and a step takes nearly twice as long.) Gradients and optimiser states
have the same layout.

With K = 1 products run on plain matrices: the stack axis is dropped from buffers and
views, here and in `feeder`, since `mm` is faster than a `bmm` of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .device import sent
from .layers import ACTIVATIONS, INITIALIZERS, Activation
from .mixed import MixedPass
from .rows import SparseBatch, sparse_gradient, sparse_product

Call = Callable[[], object]
# Bytes of a CPU's widest register. Rows that are no multiple of it are written into a
# part of a wider tensor number by number: for 15 columns seven times as slowly.
VECTOR = 64
# Tensor cores want rows that begin at multiples of so many bytes.
ALIGNMENT = 16


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


@dataclass(frozen=True, slots=True)
class HiddenBuffers:
    """Where one hidden layer's numbers stand during a pass; some are one tensor.

    Attributes
    ----------
    act : Activation
    z : Tensor of shape (K, b, h)
        What the layer's product writes.
    argument, value : Tensor
        What the activation reads and writes: contiguous, for speed.
    saved : Tensor of shape (K, b, h)
        What the activation's derivative needs.
    flow, flow_t : Tensor of shape (K, b, h + 1) and its transpose
        What enters the next layer: the value and a column of ones.
    inside : Tensor of shape (K, b, h)
        The value's place in ``flow``.
    """

    act: Activation
    z: Tensor
    argument: Tensor
    value: Tensor
    saved: Tensor
    flow: Tensor
    flow_t: Tensor
    inside: Tensor


@dataclass(frozen=True, slots=True)
class Rise:
    """What one hidden layer does on the way up, as calls without arguments.

    Attributes
    ----------
    before, spread : list of callable
        Up to the layer's value; what puts it into the next layer's input.
    source, inside : Tensor of shape (K, b, h)
        The value, and its place there.
    """

    before: Sequence[Call]
    spread: Sequence[Call]
    source: Tensor
    inside: Tensor

    @property
    def calls(self) -> Sequence[Call]:
        """All of it, without dropout."""
        return [*self.before, *self.spread]

    def masked(self, mask: Tensor) -> None:
        """Do it with dropout's factors (K, b, h)."""
        for call in self.before:
            call()
        torch.mul(self.source, mask, out=self.inside)


@dataclass(frozen=True, slots=True)
class Fall:
    """The same on the way down.

    Attributes
    ----------
    products : list of callable
        The gradient of the block above, and the delta that comes down.
    differentiate : callable
    below : Tensor of shape (K, b, h)
        That delta.
    """

    products: Sequence[Call]
    differentiate: Call
    below: Tensor

    @property
    def calls(self) -> Sequence[Call]:
        """All of it, without dropout."""
        return [*self.products, self.differentiate]

    def masked(self, mask: Tensor) -> None:
        """Do it with dropout's factors (K, b, h)."""
        for product in self.products:
            product()
        self.below.mul_(mask)
        self.differentiate()


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
        for rows, columns in self.architecture.block_shapes:
            stop = start + self.K * rows * columns
            views.append(flat[start:stop].view(self.K, rows, columns))
            start = stop
        return views

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
        """1 at weights and 0 at biases, (K * P,): penalties leave biases free."""
        mask = torch.ones_like(self.flat)
        for block in self.blocks(mask)[: len(self.architecture.hidden) + 1]:
            block[:, -1] = 0.0
        return mask

    def sums(self, flat: Tensor) -> Tensor:
        """Sum a flat tensor over each network's parameters, (K,)."""
        if self.K == 1:
            return flat.sum().view(1)
        return torch.stack([b.flatten(1).sum(1) for b in self.blocks(flat)]).sum(0)

    def layer_norms(self) -> np.ndarray:
        """Euclidean norm of the gradient by network and layer, (K, layers).

        A linear skip counts with the output layer, to which it leads.
        """
        if self.K == 1 and self.flat.device.type == "cpu":
            with np.errstate(all="ignore"):  # what is not finite is said elsewhere
                return np.array([[sqrt(p.dot(p)) for p in self._layer_parts]])
        return self.norms_by_layer().cpu().numpy()

    def norms_by_layer(self) -> Tensor:
        """Return the same where the stack is, without waiting for it."""
        parts = [b.flatten(1).square().sum(1) for b in self.blocks(self.gradient)]
        if self.architecture.linear_skip:
            skip = parts.pop()
            parts[-1] = parts[-1] + skip
        return torch.stack(parts, dim=1).sqrt()

    @cached_property
    def _layer_parts(self) -> list[np.ndarray]:
        """Each layer's part of the gradient of a single network, as NumPy sees it."""
        sizes = [b.numel() for b in self.blocks(self.gradient)]
        if self.architecture.linear_skip:
            skip = sizes.pop()
            sizes[-1] += skip
        return [part.numpy() for part in self.gradient.split(sizes)]

    def select(self, keep: Tensor) -> NetworkStack:
        """Make a smaller stack of the networks ``keep`` (int64, K' of K)."""
        rows = self.rows(self.flat)[keep]
        return NetworkStack(self.architecture, rows, self._products)

    def at(self, n_rows: int) -> Pass | MixedPass:
        """Return the pass for minibatches of ``n_rows`` rows; made once, then kept."""
        if n_rows not in self._passes:
            made = Pass if self.shadow is None else MixedPass
            self._passes[n_rows] = made(self, n_rows)
        return self._passes[n_rows]


class Pass:
    """One trip of b rows through all K networks and back, in buffers made once.

    Attributes
    ----------
    delta : Tensor of shape (K, b, m), or (b, m) where K = 1
        The caller writes the loss' gradient in the raw outputs here before `backward`.
    """

    def __init__(self, stack: NetworkStack, b: int) -> None:
        self.K, self.b, self._like = stack.K, b, stack.flat
        architecture = stack.architecture
        self._product = torch.mm if self.K == 1 else torch.bmm
        self._add_product = torch.addmm if self.K == 1 else torch.baddbmm
        blocks = [self._plain(v) for v in stack.blocks(stack.flat)]
        grads = [self._plain(v) for v in stack.blocks(stack.gradient)]
        self._skip = (blocks.pop(), grads.pop()) if architecture.linear_skip else None
        self._first_block, self._last_block = blocks[0], blocks[-1]
        self._first_grad = grads[0]
        self._last_flow: Tensor | None = None
        layers = [
            self._hidden_buffers(ACTIVATIONS[name], h)
            for name, h in zip(
                architecture.activations, architecture.hidden, strict=True
            )
        ]
        self.delta = self._lowest = self._buffer(architecture.n_outputs)
        self._first_z = layers[0].z if layers else None
        # Between x and the raw outputs all buffers stay what they are, so all calls
        # are made up here, with their arguments: to look eight things up by name would
        # cost as much as one product of a small network.
        self._up = self._upward(layers, blocks)
        self._down = self._downward(layers, blocks, grads)
        self._up_calls = [call for rise in self._up for call in rise.calls]
        self._down_calls = [call for fall in self._down for call in fall.calls]

    def _upward(self, layers: list[HiddenBuffers], blocks: list[Tensor]) -> list[Rise]:
        """Make the calls that take each hidden layer's input to its value."""
        rises: list[Rise] = []
        for layer, block in zip(layers, blocks, strict=False):
            enter = partial(self._product, self._last_flow, block, out=layer.z)
            activate = partial(layer.act.forward, layer.argument, layer.value)
            in_place = layer.value is layer.flow or layer.value is layer.inside
            spread: list[Call] = []
            if not in_place:
                spread.append(partial(layer.inside.copy_, layer.value))
            # What enters the first layer is not known yet.
            before: list[Call] = [enter, activate] if rises else [activate]
            source = layer.inside if in_place else layer.value
            rises.append(Rise(before, spread, source, layer.inside))
            self._last_flow = layer.flow
        return rises

    def _downward(
        self, layers: list[HiddenBuffers], blocks: list[Tensor], grads: list[Tensor]
    ) -> list[Fall]:
        """Make the calls that take the last layer's delta to the first layer's."""
        falls = []
        for layer, block, grad in reversed(
            list(zip(layers, blocks[1:], grads[1:], strict=True))
        ):
            above, weight_t = self._lowest, block[..., :-1, :].transpose(-1, -2)
            below = self._lowest = self._buffer(block.shape[-2] - 1)
            products = self._products(layer, above, weight_t, grad, below)
            differentiate = partial(layer.act.backward, below, layer.saved)
            falls.append(Fall(products, differentiate, below))
        return falls

    def _products(
        self,
        layer: HiddenBuffers,
        above: Tensor,
        weight_t: Tensor,
        grad: Tensor,
        below: Tensor,
    ) -> list[Call]:
        """Make the calls for a block's gradient, and for the delta below it."""
        if self.K > 1 and above.shape[-1] == 1:
            # One column: products with a vector, up to three times as fast this way.
            flow, above_t, grad_t = layer.flow, above.mT, grad.mT
            return [
                partial(torch.bmm, above_t, flow, out=grad_t),
                partial(torch.mul, above, weight_t, out=below),
            ]
        return [
            partial(self._product, layer.flow_t, above, out=grad),
            partial(self._product, above, weight_t, out=below),
        ]

    def _hidden_buffers(self, act: Activation, h: int) -> HiddenBuffers:
        flow = self.aligned(h + 1).fill_(1.0)
        inside, flow_t = flow[..., :-1], flow.transpose(-1, -2)
        if self.K == 1 and act.keeps_one:
            # f(1) = 1: the column of ones survives f, which can run on all of the
            # contiguous buffer, and mm may write into a part of it (bmm may not).
            return HiddenBuffers(act, inside, flow, flow, inside, flow, flow_t, inside)
        z = self._buffer(h)
        if act.fills_part and h * z.element_size() % VECTOR == 0:
            return HiddenBuffers(act, z, z, inside, z, flow, flow_t, inside)
        a = self._buffer(h) if act.saves == "input" else z
        return HiddenBuffers(act, z, z, a, z, flow, flow_t, inside)

    def _plain(self, view: Tensor) -> Tensor:
        return view[0] if self.K == 1 else view

    def _buffer(self, columns: int) -> Tensor:
        shape = (self.K, self.b, columns)
        made = torch.zeros(shape, dtype=self._like.dtype, device=self._like.device)
        return self._plain(made)

    def aligned(self, columns: int) -> Tensor:
        """Return a buffer whose rows begin where tensor cores want them to.

        A column of ones makes rows of odd length; a CPU does not mind.
        """
        like = self._like
        if like.device.type == "cpu" and like.dtype is not torch.bfloat16:
            return self._buffer(columns)
        step = ALIGNMENT // like.element_size()
        return self._buffer(-(-columns // step) * step)[..., :columns]

    def forward(
        self, x: Tensor | SparseBatch, raw: Tensor, masks: Sequence[Tensor] = ()
    ) -> None:
        """Write the raw outputs for x into ``raw``.

        Parameters
        ----------
        x : Tensor of shape (K, b, d + 1), its last column ones, or SparseBatch
        raw : Tensor of shape (K, b, m)
        masks : sequence of Tensor of shape (K, b, h)
            Dropout's factors, one tensor a hidden layer; empty for none.
        """
        product = self._product
        enter: Any = sparse_product if isinstance(x, SparseBatch) else product
        if self._last_flow is None:
            enter(x, self._last_block, out=raw)
        else:
            enter(x, self._first_block, out=self._first_z)
            if masks:
                for rise, mask in zip(self._up, masks, strict=True):
                    rise.masked(mask)
            else:
                for call in self._up_calls:
                    call()
            product(self._last_flow, self._last_block, out=raw)
        if self._skip is not None:
            self._forward_skip(x, self._skip[0], raw)

    def _forward_skip(
        self, x: Tensor | SparseBatch, weight: Tensor, raw: Tensor
    ) -> None:
        if isinstance(x, SparseBatch):
            raw.add_(sparse_product(x, weight, out=torch.empty_like(raw)))
        else:
            self._add_product(raw, x[..., :-1], weight, out=raw)

    def backward(
        self,
        x: Tensor | SparseBatch,
        x_t: Tensor | None,
        masks: Sequence[Tensor] = (),
    ) -> None:
        """Turn ``delta`` into the gradient of all parameters.

        Every gradient block is overwritten with ``input' delta``, where ``delta`` is
        the sum's, not the mean's: scale it before.

        Parameters
        ----------
        x, x_t : Tensor of shape (K, b, d + 1) and its transpose, or SparseBatch, None
        masks : as in `forward`
        """
        if self._skip is not None:
            self._enter_gradient(x, x_t, self.delta, self._skip[1])
        if masks:
            for fall, mask in zip(self._down, reversed(masks), strict=True):
                fall.masked(mask)
        else:
            for call in self._down_calls:
                call()
        if self._skip is None and x_t is not None:
            self._product(x_t, self._lowest, out=self._first_grad)
        else:
            self._enter_gradient(x, x_t, self._lowest, self._first_grad)

    def _enter_gradient(
        self, x: Tensor | SparseBatch, x_t: Tensor | None, delta: Tensor, out: Tensor
    ) -> None:
        if isinstance(x, SparseBatch):
            sparse_gradient(x, delta, out)
            return
        assert x_t is not None
        if out.shape[-2] == x.shape[-1]:
            self._product(x_t, delta, out=out)
        else:  # the skip has no intercept
            self._product(x_t[..., :-1, :], delta, out=out)
