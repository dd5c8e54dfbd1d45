"""The steps of a block, in a form that a CUDA graph can replay.

A graph reads the same addresses each time, a block holds many pieces. So the step that
is captured begins by copying the piece that a cursor points to into buffers for one
piece, and ends by moving the cursor on. Both happen on the device: the host asks for
nothing but the replay.

The last minibatch of an epoch, which is mostly shorter, is a block of its own and gets
a graph of its own. Padding it with rows that do not count would have made every
minibatch a weighted one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .feeder import Block, Step
from .graphs import StepGraphs
from .losses import Loss
from .network import NetworkStack
from .optimizers import Optimizer

Act = Callable[[], object]


class Window:
    """Buffers for one piece of a block, and what moves the pieces through them.

    A block of a single piece is its own window.
    """

    def __init__(self, block: Block) -> None:
        assert block.x is not None and block.coefficient is not None
        self.block = block
        self.cursor = torch.zeros(1, dtype=torch.int64, device=block.x.device)
        self.loads: list[tuple[Tensor, Tensor]] = []
        self._piece = block
        if block.T > 1:
            self._piece = self._room_for_one(block, block.x, block.coefficient)
        self.step: Step = self._piece.steps[0]

    def _room_for_one(self, block: Block, x: Tensor, coefficient: Tensor) -> Block:
        piece = copy.copy(block)
        piece.T, piece.n_pieces = 1, 1
        piece.x, piece.y = self._one(x), self._one(block.y)
        piece.raw = torch.empty_like(block.raw[:1])
        piece.masks = [self._one(mask) for mask in block.masks]
        if block.kind.weighted:
            piece.coefficient = self._one(coefficient)
        piece.view_steps()
        return piece

    def _one(self, tensor: Tensor) -> Tensor:
        """Make room for one of the pieces (T, K, b, columns) of a tensor."""
        one = torch.empty_like(tensor[:1])
        self.loads.append((tensor, one))
        return one

    def load(self) -> None:
        """Copy in the piece that the cursor points to."""
        for pieces, one in self.loads:
            torch.index_select(pieces, 0, self.cursor, out=one)

    def store(self) -> None:
        """Leave the piece's raw outputs in the block, and point to the next one."""
        if self.loads:
            self.block.raw.index_copy_(0, self.cursor, self._piece.raw)
            self.cursor.add_(1)


class Replay:
    """Takes the steps of whole blocks, by graphs.

    Parameters
    ----------
    stack : NetworkStack
    loss : Loss
    graphs : StepGraphs
    """

    def __init__(self, stack: NetworkStack, loss: Loss, graphs: StepGraphs) -> None:
        self._stack, self._loss, self._graphs = stack, loss, graphs
        self._windows: dict[int, Window] = {}

    def takes(self, block: Block) -> bool:
        """Whether the block can be replayed: sparse rows have no place that stays."""
        return block.x is not None and self._graphs.claim()

    def steps(self, block: Block, rest: Sequence[Act], optimizer: Optimizer) -> None:
        """Step once for each piece of a block.

        Parameters
        ----------
        block : Block
            Each piece a minibatch.
        rest : sequence of callable
            What follows when the gradient is there.
        optimizer : Optimizer
            Among ``rest``; told here how many steps were taken, since it does not
            see those that are replayed.
        """
        window = self._window(block)
        window.cursor.zero_()
        step, ahead = self._step(window, rest), optimizer.ahead
        self._graphs.run((id(block), optimizer.form), step, block.n_pieces)
        optimizer.ahead = ahead + block.n_pieces

    def _window(self, block: Block) -> Window:
        """Return the block's window, which keeps the block: its id stays its own."""
        if id(block) not in self._windows:
            self._windows[id(block)] = Window(block)
        return self._windows[id(block)]

    def _step(self, window: Window, rest: Sequence[Act]) -> Act:
        at = self._stack.at(window.block.b)
        x, x_t, y, raw, coefficient, masks = window.step
        loss = self._loss

        def step() -> None:
            window.load()
            at.forward(x, raw, masks)
            loss.gradient(raw, y, at.delta)
            at.delta.mul_(coefficient)
            at.backward(x, x_t, masks)
            for act in rest:
                act()
            window.store()

        return step
