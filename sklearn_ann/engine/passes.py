"""A trip of some rows through a stack and back: back propagation, written out.

Everything between the rows and the raw outputs stands in buffers that are made once for
a number of rows, so the calls that work on them are made up once too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .layers import ACTIVATIONS, Activation
from .products import Call, Product, multiplication, product
from .rows import SparseBatch, sparse_gradient, sparse_product

if TYPE_CHECKING:
    from .network import NetworkStack

# Bytes of a CPU's widest register. Rows that are no multiple of it are written into a
# part of a wider tensor number by number: for 15 columns seven times as slowly.
VECTOR = 64
# Tensor cores want rows that begin at multiples of so many bytes.
ALIGNMENT = 16


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
    saved : Tensor of shape (K, b, h), or with the column of ones
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

    before: list[Call]
    spread: list[Call]
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
        for call in self.products:
            call()
        self.below.mul_(mask)
        self.differentiate()


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
        blocks = [self._plain(v) for v in stack.layer_blocks(stack.flat)]
        grads = [self._plain(v) for v in stack.layer_blocks(stack.gradient)]
        self._skip: tuple[Tensor, Tensor] | None = None
        if architecture.linear_skip:
            self._skip = blocks.pop(), grads.pop()
        self._first_block, self._last_block = blocks[0], blocks[-1]
        self._first_grad = grads[0]
        self._last_flow: Tensor | None = None
        layers = [
            self._hidden_buffers(ACTIVATIONS[name], h)
            for name, h in zip(
                architecture.activations, architecture.hidden, strict=True
            )
        ]
        delta = self.delta = self._lowest = self._buffer(architecture.n_outputs)
        self._first_z = layers[0].z if layers else None
        self._enter = product(b, blocks[0].shape[-2], layers[0].z if layers else delta)
        self._leave = product(b, blocks[-1].shape[-2], delta)
        self._gather = product(grads[0].shape[-2], b, grads[0])
        if self._skip is not None:
            rows, self._skipped = self._skip[1].shape[-2], torch.zeros_like(delta)
            self._skip_over = product(b, rows, delta)
            self._gather_skip = product(rows, b, self._skip[1])
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
            activate = partial(layer.act.forward, layer.argument, layer.value)
            in_place = layer.value is layer.flow or layer.value is layer.inside
            spread: list[Call] = []
            if not in_place:
                spread.append(partial(layer.inside.copy_, layer.value))
            before: list[Call] = [activate]
            if self._last_flow is not None:  # what enters the first is not known yet
                before.insert(0, multiplication(self._last_flow, block, layer.z))
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
            slope = self._like_saved(layer.saved, columns := block.shape[-2] - 1)
            below = self._lowest = slope[..., :columns]
            products = [
                multiplication(layer.flow_t, above, grad),
                multiplication(above, weight_t, below),
            ]
            differentiate = partial(layer.act.backward, slope, layer.saved)
            falls.append(Fall(products, differentiate, below))
        return falls

    def _like_saved(self, saved: Tensor, columns: int) -> Tensor:
        """Return a buffer as wide as ``saved``: the two are then passed over as one.

        A part of a wider tensor takes PyTorch's scalar loop, whose branches mispredict.
        """
        if saved.shape[-1] == columns:
            return self._buffer(columns)
        return self.aligned(saved.shape[-1])

    def _hidden_buffers(self, act: Activation, h: int) -> HiddenBuffers:
        flow = self.aligned(h + 1).fill_(1.0)
        inside, flow_t = flow[..., :-1], flow.transpose(-1, -2)
        if self.K == 1 and act.keeps_one:
            # f(1) = 1: the column of ones survives f, which can run on all of the
            # contiguous buffer, and mm may write into a part of it (bmm may not).
            return HiddenBuffers(act, inside, flow, flow, flow, flow, flow_t, inside)
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
        enter: Any = sparse_product if isinstance(x, SparseBatch) else self._enter
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
            self._leave(self._last_flow, self._last_block, out=raw)
        if self._skip is not None:
            self._forward_skip(x, self._skip[0], raw)

    def _forward_skip(
        self, x: Tensor | SparseBatch, weight: Tensor, raw: Tensor
    ) -> None:
        if isinstance(x, SparseBatch):
            sparse_product(x, weight, out=self._skipped)
        else:
            self._skip_over(x[..., :-1], weight, out=self._skipped)
        raw.add_(self._skipped)

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
        if self._skip is not None:  # it has no intercept
            rows_t = None if x_t is None else x_t[..., :-1, :]
            _gather(self._gather_skip, x, rows_t, self.delta, self._skip[1])
        if masks:
            for fall, mask in zip(self._down, reversed(masks), strict=True):
                fall.masked(mask)
        else:
            for call in self._down_calls:
                call()
        _gather(self._gather, x, x_t, self._lowest, self._first_grad)


def _gather(
    multiply: Product,
    x: Tensor | SparseBatch,
    x_t: Tensor | None,
    delta: Tensor,
    out: Tensor,
) -> None:
    """Take a delta to the gradient of a block that x enters."""
    if isinstance(x, SparseBatch):
        sparse_gradient(x, delta, out)
        return
    assert x_t is not None
    multiply(x_t, delta, out=out)
