"""First-order optimisers on a flat tensor: SGD and Adam, with state per network.

Learning rates, momenta and step counters belong to single networks. Where all K of
them agree, as they do at K = 1, one fused call serves; where they differ, each is
spread once an epoch over its network's parameters and the formulas run on the spread
values. Both give the same numbers up to rounding.

On a CUDA device a step may be captured and replayed, and a number that it was captured
with stays as it was: rates and step counts are read from tensors there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .device import sent
from .network import NetworkStack, shared

SOLVERS = ("sgd", "adam", "adamw", "lbfgs")


@dataclass(frozen=True, slots=True)
class SolverOptions:
    """What the networks of a stack share about how they are trained.

    Attributes
    ----------
    name : {"sgd", "adam", "adamw", "lbfgs"}
    schedule : {"constant", "invscaling", "adaptive", "cosine", "one_cycle"}
    nesterovs_momentum : bool
    beta_1, beta_2, epsilon : float
        Adam's.
    max_fun : int
        Most function evaluations of L-BFGS.
    """

    name: str = "adam"
    schedule: str = "constant"
    nesterovs_momentum: bool = True
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    max_fun: int = 15_000


class Optimizer:
    """State of a first-order optimiser for K networks.

    Attributes
    ----------
    rate : float or Tensor of shape () or (K * P,)
        This epoch's learning rate.
    moments : list of Tensor of shape (K * P,)
        Running moments, laid out like the stack's parameters.
    ahead : int
        Steps taken by all networks since the counts were last written down.
    """

    n_moments = 0

    def __init__(self, stack: NetworkStack) -> None:
        self.stack = stack
        self._pace: Tensor | None = None
        self._count = np.zeros(stack.K, dtype=np.int64)
        self.ahead = 0  # a NumPy += costs more
        self.moments = [torch.zeros_like(stack.flat) for _ in range(self.n_moments)]
        self.rate: float | Tensor = 0.0
        self._attach()

    def _attach(self) -> None:
        """Make what is as large as the stack."""
        self._on_cuda = self.stack.flat.device.type == "cuda"
        self._held_rates: dict[bool, Tensor] = {}

    @property
    def count(self) -> np.ndarray:
        """Steps taken by each network, (K,)."""
        return self._count + self.ahead

    def set_paces(self, rows: Tensor) -> None:
        """Multiply the learning rates by factors (K, P), one a parameter."""
        self._pace = torch.empty_like(self.stack.flat)
        self.stack.set_rows(self._pace, rows)

    def begin_epoch(self, rates: np.ndarray) -> None:
        """Take this epoch's learning rates, (K,)."""
        self._rates = rates
        if self._on_cuda:
            self.rate = self._hold(rates)
        else:
            self.rate = float(rates[0]) if self._shared_rate else self._paced(rates)

    @property
    def _shared_rate(self) -> bool:
        return self._pace is None and shared(self._rates)

    def _paced(self, rates: np.ndarray) -> Tensor:
        """Rates of all parameters, (K * P,)."""
        spread = self._spread(rates)
        return spread if self._pace is None else spread.mul_(self._pace)

    def _hold(self, rates: np.ndarray) -> Tensor:
        """Write the rates where captured steps read them, () or (K * P,)."""
        same = self._shared_rate
        if same not in self._held_rates:
            flat = self.stack.flat
            self._held_rates[same] = flat.new_zeros(()) if same else flat.clone()
        held = self._held_rates[same]
        return held.fill_(float(rates[0])) if same else held.copy_(self._paced(rates))

    @property
    def form(self) -> str:
        """What a captured step cannot change: which calls it consists of."""
        return "shared rate" if self._shared_rate else "rates"

    def _spread(self, values: np.ndarray) -> Tensor:
        return self.stack.spread(torch.from_numpy(values).to(self.stack.flat.dtype))

    def step(self) -> None:
        """Move the parameters by one step along the stack's gradient."""
        raise NotImplementedError

    def stepper(self) -> Callable[[], None]:
        """Return what takes this epoch's steps; ask again after `masked`."""
        return self.step

    def masked(
        self,
        moves: Sequence[Callable[[], object]],
        active: np.ndarray,
        moving: Tensor,
    ) -> None:
        """Let some networks move; the others stand still, state and all.

        Parameters
        ----------
        moves : list of callable
            Together they take a step with all networks.
        active : ndarray of bool, shape (K,)
        moving : Tensor of bool, shape (K,)
            The same where the stack is.
        """
        held = [self.stack.flat, *self.moments]
        before = [tensor.clone() for tensor in held]
        count = self.count
        for move in moves:
            move()
        moved = self.stack.spread(moving)
        for tensor, old in zip(held, before, strict=True):
            tensor.copy_(torch.where(moved, tensor, old))
        self._count = np.where(active, self.count, count)
        self.ahead = 0

    def select(self, stack: NetworkStack, keep: Tensor) -> None:
        """Follow the stack when networks leave it."""
        self.moments = [self._selected(m, stack, keep) for m in self.moments]
        if self._pace is not None:
            self._pace = self._selected(self._pace, stack, keep)
        self._count = self._count[keep.cpu().numpy()]
        self.stack = stack
        self._attach()

    def _selected(self, flat: Tensor, stack: NetworkStack, keep: Tensor) -> Tensor:
        smaller = torch.empty_like(stack.flat)
        stack.set_rows(smaller, self.stack.rows(flat)[keep])
        return smaller

    def state(self, k: int) -> dict[str, np.ndarray]:
        """Return what network k needs to go on later as if it had never stopped."""
        rows = [self.stack.rows(m)[k].cpu().numpy().copy() for m in self.moments]
        return {"count": self.count[k : k + 1].copy(), "moments": np.array(rows)}

    def restore(self, states: list[dict[str, np.ndarray] | None]) -> None:
        """Take up each network's saved state; None starts afresh."""
        for i, moment in enumerate(self.moments):
            rows = self.stack.rows(moment).clone()
            for k, state in enumerate(states):
                if state is not None:
                    rows[k] = torch.from_numpy(state["moments"][i]).to(rows)
            self.stack.set_rows(moment, rows)
        for k, state in enumerate(states):
            if state is not None:
                self._count[k] = state["count"][0]


class SGD(Optimizer):
    """Gradient descent, with momentum if any, of Nesterov's kind if asked for.

    v <- momentum v - rate g;  w <- w + v, or w + momentum v - rate g (Nesterov), as in
    scikit-learn (Sutskever, Martens, Dahl and Hinton 2013, equations 3 and 4).
    """

    n_moments = 1

    def __init__(
        self, stack: NetworkStack, momentum: np.ndarray, options: SolverOptions
    ) -> None:
        super().__init__(stack)
        self._momenta = momentum
        self._nesterov = options.nesterovs_momentum
        self._set_momentum()

    def _set_momentum(self) -> None:
        momenta = self._momenta
        self._momentum = float(momenta[0]) if shared(momenta) else self._spread(momenta)

    def step(self) -> None:
        """Take one step."""
        move = self.stack.gradient * self.rate
        velocity = self.moments[0]
        velocity.mul_(self._momentum).sub_(move)
        if self._nesterov:
            self.stack.flat.add_(velocity * self._momentum).sub_(move)
        else:
            self.stack.flat.add_(velocity)
        self.ahead += 1

    def select(self, stack: NetworkStack, keep: Tensor) -> None:
        """Follow the stack when networks leave it."""
        super().select(stack, keep)
        self._momenta = self._momenta[keep.cpu().numpy()]
        self._set_momentum()


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    One call of PyTorch's fused kernel where all networks share rate and step count.
    The function is private to PyTorch but stands behind its public
    `torch.optim.Adam(fused=True)`, whose own bookkeeping costs ten times the kernel on
    a small network; where a build lacks it, or on other devices, the formulas below
    run instead.
    """

    n_moments = 2

    def __init__(self, stack: NetworkStack, options: SolverOptions) -> None:
        self._options = options
        super().__init__(stack)

    def _attach(self) -> None:
        super()._attach()
        flat = self.stack.flat
        self._step_count = torch.zeros((), dtype=torch.float32, device=flat.device)
        self._counts = torch.zeros(self.stack.K, dtype=flat.dtype, device=flat.device)
        self._move: Tensor | None = None
        self._lists: tuple[list[Tensor], ...] = (
            [self.stack.gradient],
            [self.moments[0]],
            [self.moments[1]],
            [],
            [self._step_count],
        )
        fused = getattr(torch, "_fused_adam_", None)
        self._fused = fused if flat.device.type in ("cpu", "cuda") else None

    def stepper(self) -> Callable[[], None]:
        """Return the fused step where all networks have taken as many, else `step`."""
        if not self._fuses:
            counts = torch.from_numpy(self.count.astype(float)).to(self._counts.dtype)
            self._counts.copy_(sent(counts, self._counts.device))
            return self.step
        if self._on_cuda:
            return self._replayable_stepper()
        if not isinstance(self.rate, float):
            return self._scaled_stepper(self.rate)
        adam, count = self._fused_call(self.stack.flat, self.rate), self._counter()

        def step() -> None:
            count()
            adam()

        return step

    def _counter(self) -> Callable[[], None]:
        """Return what counts a step, for the kernel too."""
        taken, kernels = int(self._count[0]), self._step_count
        if kernels.is_cpu:
            number = kernels.numpy()  # a tenth of the cost of `fill_`

            def count() -> None:
                self.ahead += 1
                number[()] = taken + self.ahead

        else:

            def count() -> None:
                self.ahead += 1
                kernels.fill_(taken + self.ahead)

        return count

    def _scaled_stepper(self, rate: Tensor) -> Callable[[], None]:
        """Let the kernel move a zero at rate 1; scale that move by each one's rate.

        Three calls, where the formulas of `step` take ten.
        """
        flat, count = self.stack.flat, self._counter()
        move = self._own_move()
        adam = self._fused_call(move, 1.0)

        def step() -> None:
            count()
            move.zero_()
            adam()
            flat.addcmul_(move, rate)

        return step

    def _replayable_stepper(self) -> Callable[[], None]:
        """Fused steps that count on the device, and read the rate there.

        The kernel takes a tensor as its rate, but of float32 only; other rates scale
        the move that it makes at rate 1.
        """
        flat, rate = self.stack.flat, self.rate
        assert isinstance(rate, Tensor)
        count = self._step_count.fill_(float(self.count[0])).add_
        if rate.dim() == 0 and rate.dtype is torch.float32:
            adam = self._fused_call(flat, rate)

            def step() -> None:
                self.ahead += 1
                count(1.0)
                adam()

            return step
        move = self._own_move()
        unit = self._fused_call(move, 1.0)

        def scaled_step() -> None:
            self.ahead += 1
            count(1.0)
            move.zero_()
            unit()
            flat.addcmul_(move, rate)

        return scaled_step

    def _own_move(self) -> Tensor:
        if self._move is None:
            self._move = torch.zeros_like(self.stack.flat)
        return self._move

    @property
    def _fuses(self) -> bool:
        return self._fused is not None and shared(self._count)

    @property
    def form(self) -> str:
        """What a captured step cannot change: which calls it consists of."""
        return f"{super().form}, {'fused' if self._fuses else 'formulas'}"

    def _fused_call(self, moved: Tensor, rate: float | Tensor) -> Callable[[], None]:
        options = self._options
        arguments = {
            "lr": rate,
            "beta1": options.beta_1,
            "beta2": options.beta_2,
            "weight_decay": 0.0,
            "eps": options.epsilon,
            "amsgrad": False,
            "maximize": False,
        }
        assert self._fused is not None
        return functools.partial(self._fused, [moved], *self._lists, **arguments)

    def step(self) -> None:
        """Take one step."""
        self.ahead += 1
        self._spread_step()

    def _spread_step(self) -> None:
        options, gradient = self._options, self.stack.gradient
        first, second = self.moments
        first.lerp_(gradient, 1.0 - options.beta_1)
        second.mul_(options.beta_2).addcmul_(
            gradient, gradient, value=1.0 - options.beta_2
        )
        # w -= rate / (1 - beta_1^t) m / (sqrt(v / (1 - beta_2^t)) + epsilon)
        t, spread = self._counts.add_(1.0), self.stack.spread
        move = first / spread(_one_less_power(options.beta_1, t))
        root = spread(_one_less_power(options.beta_2, t).sqrt_())
        move.div_(second.sqrt().div_(root).add_(options.epsilon))
        if isinstance(self.rate, float):
            self.stack.flat.add_(move, alpha=-self.rate)
        else:
            self.stack.flat.addcmul_(move, self.rate, value=-1.0)


def _one_less_power(base: float, exponent: Tensor) -> Tensor:
    """1 - base^exponent, without loss where that is small."""
    return (exponent * math.log(base)).expm1_().neg_() if base else exponent.sign()
