"""Products in bfloat16 beside parameters, gradients and moments in float32.

Tensor cores multiply bfloat16 many times as fast as float32, and add up in float32.
bfloat16 has the range of float32 and 8 significant bits. So nothing needs to be scaled,
but a weight of 1 would lose every step below 1/256: what accumulates over the steps is
kept in float32, the *master* copy (Micikevicius et al. 2018, arXiv:1710.03740, section
3.1; Kalamkar et al. 2019, arXiv:1905.12322).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .rows import SparseBatch

if TYPE_CHECKING:
    from .network import NetworkStack
    from .passes import Pass


class MixedPass:
    """A `Pass` through a float32 stack whose products run in its bfloat16 shadow.

    The shadow is another stack: its parameters are copied from the master before every
    trip, its gradient is copied back after it, and between the two nothing is new.
    Losses and what they pass back, the raw outputs and ``delta``, are float32.

    Parameters
    ----------
    stack : NetworkStack
        With a shadow.
    b : int

    Attributes
    ----------
    delta : Tensor of shape (K, b, m), or (b, m) where K = 1
        As in `Pass`.
    """

    def __init__(self, stack: NetworkStack, b: int) -> None:
        assert stack.shadow is not None
        # Eight significant bits hold neither codes nor the edges of bins.
        assert not stack.architecture.embeddings, "embeddings need float32 or float64"
        self._master, self._shadow = stack, stack.shadow
        inner = stack.shadow.at(b)
        assert not isinstance(inner, MixedPass)
        self._inner: Pass = inner
        self._raw = torch.empty_like(inner.delta)
        self.delta: Tensor = torch.zeros_like(inner.delta, dtype=stack.flat.dtype)
        self._x = inner.aligned(stack.architecture.n_inputs + 1)
        self._x_t = self._x.transpose(-1, -2)

    def forward(
        self, x: Tensor | SparseBatch, raw: Tensor, masks: Sequence[Tensor] = ()
    ) -> None:
        """Write the raw outputs for x into ``raw``; as in `Pass`."""
        self._shadow.flat.copy_(self._master.flat)
        entering = x if isinstance(x, SparseBatch) else self._x.copy_(x)
        self._inner.forward(entering, self._raw, masks)
        raw.copy_(self._raw)

    def backward(
        self,
        x: Tensor | SparseBatch,
        x_t: Tensor | None,
        masks: Sequence[Tensor] = (),
    ) -> None:
        """Turn ``delta`` into the gradient, for the x of the last `forward`."""
        self._inner.delta.copy_(self.delta)
        if isinstance(x, SparseBatch):
            self._inner.backward(x, x_t, masks)
        else:
            self._inner.backward(self._x, self._x_t, masks)
        self._master.gradient.copy_(self._shadow.gradient)
