"""The mean loss of each network of a stack on its rows, and its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from .feeder import Block, Feeder
from .losses import Loss
from .network import NetworkStack
from .penalties import Penalty
from .products import quiet
from .rows import RowSet


def full_batches(stack: NetworkStack, rows: RowSet) -> Feeder:
    """Feed all rows of each network at once, or chunk by chunk."""
    return Feeder(rows, rows.n, stack.architecture.n_outputs, stack.architecture.widest)


@quiet
def mean_losses(stack: NetworkStack, feeder: Feeder, loss: Loss) -> Tensor:
    """Weighted mean loss of each network on all its rows, without penalty, (K,)."""
    total = torch.zeros(stack.K, dtype=stack.flat.dtype, device=stack.flat.device)
    for block in feeder.epoch(None):
        forward = stack.at(block.b).forward
        for step in block.steps[: block.n_pieces]:
            forward(step.x, step.raw)
        total += recorded(block, loss)
    return total


def recorded(block: Block, loss: Loss) -> Tensor:
    """Mean loss over the rows of a block, from the raw outputs kept in it, (K,)."""
    raw, y, n = block.raw, block.y, block.n_pieces
    if n < block.T:
        raw, y = raw[:n], y[:n]
    return block.record(loss.values(raw, y))


def accumulate(stack: NetworkStack, block: Block, i: int, loss: Loss) -> None:
    """Propagate piece i of a block; leave the gradient of its minibatch so far."""
    at, step = stack.at(block.b), block.steps[i]
    earlier = None if block.opens[i] else stack.gradient.clone()
    at.forward(step.x, step.raw, step.masks)
    loss.gradient(step.raw, step.y, at.delta)
    at.delta.mul_(step.coefficient)
    at.backward(step.x, step.x_t, step.masks)
    if earlier is not None:
        stack.gradient.add_(earlier)


@quiet
def objective(
    stack: NetworkStack, penalty: Penalty, feeder: Feeder, loss: Loss, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Objective (K,) and gradient (K, P) of a stack at parameters (K, P)."""
    stack.set_rows(stack.flat, x)
    total = penalty.value()
    for block in feeder.epoch(None):
        for i in range(block.n_pieces):
            accumulate(stack, block, i, loss)
        total += recorded(block, loss)
    for pull in penalty.pulls:
        pull()
    return total, stack.rows(stack.gradient)
