"""What is added to gradients beside the data: penalties; and a limit of their norm."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .network import NetworkStack, shared


class Penalty:
    """L2 and L1 penalties on the weights, network by network; biases are free.

    Adds ``decay w + l1 sign(w)`` to the gradient, or, decoupled (Loshchilov and Hutter
    2019), takes ``rate decay w`` from the weights before the step, or all of them where
    that is more: a penalty draws to zero, not beyond.

    Parameters
    ----------
    stack : NetworkStack
    decay, l1 : ndarray of shape (K,)
        Penalties divided by the network's sum of row weights.
    decoupled : bool

    Attributes
    ----------
    pulls : list of callable
        Together they add the penalties' gradient to the stack's: none, one or two.
    """

    def __init__(
        self, stack: NetworkStack, decay: np.ndarray, l1: np.ndarray, decoupled: bool
    ) -> None:
        self.stack, self._decoupled = stack, decoupled
        self._decays, self._l1s = decay, l1
        mask = stack.weight_mask()
        self._decay = self._on_weights(decay, mask)
        self._l1 = self._on_weights(l1, mask)
        self._left: Tensor | None = None
        self.pulls = self._make_pulls()

    def _on_weights(self, values: np.ndarray, mask: Tensor) -> Tensor | None:
        if not values.any():
            return None
        if shared(values):
            return mask * float(values[0])
        spread = self.stack.spread(torch.from_numpy(values).to(mask.dtype))
        return spread.mul_(mask)

    def _make_pulls(self) -> list[Callable[[], object]]:
        gradient, flat, l1 = self.stack.gradient, self.stack.flat, self._l1
        calls: list[Callable[[], object]] = []
        if self._decay is not None and not self._decoupled:
            calls.append(functools.partial(gradient.addcmul_, flat, self._decay))
        if l1 is not None:
            calls.append(lambda: gradient.addcmul_(flat.sign(), l1))
        return calls

    def shrinker(self, rate: float | Tensor) -> list[Callable[[], object]]:
        """Return what takes the decoupled decay of one step at this rate, if any."""
        if not self._decoupled or self._decay is None:
            return []
        if self._left is None:  # one for all rates: a captured step reads it
            self._left = torch.empty_like(self._decay)
        torch.mul(self._decay, rate, out=self._left).neg_().add_(1.0).clamp_(min=0.0)
        return [functools.partial(self.stack.flat.mul_, self._left)]

    def value(self) -> Tensor:
        """Return the penalties' part of the objective, (K,)."""
        flat, parts = self.stack.flat, []
        if self._decay is not None:
            parts.append(self.stack.sums(flat.square().mul_(self._decay)).mul_(0.5))
        if self._l1 is not None:
            parts.append(self.stack.sums(flat.abs().mul_(self._l1)))
        if not parts:
            return torch.zeros_like(flat[: self.stack.K])
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def select(self, stack: NetworkStack, keep: np.ndarray) -> Penalty:
        """Follow the stack when networks leave it."""
        return Penalty(stack, self._decays[keep], self._l1s[keep], self._decoupled)


def clip_gradient_norms(stack: NetworkStack, limits: Tensor) -> Tensor:
    """Scale each network's gradient down to its limit (Pascanu et al. 2013).

    Returns the factors, (K,).

    Parameters
    ----------
    stack : NetworkStack
    limits : Tensor of shape (K,)
        Largest Euclidean norms; inf for none.
    """
    norms = stack.sums(stack.gradient.square()).sqrt()
    short = (norms > limits).logical_not_()
    factor = (limits / norms).masked_fill_(short, 1.0)
    stack.gradient.mul_(factor if stack.K == 1 else stack.spread(factor))
    return factor
