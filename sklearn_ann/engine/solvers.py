"""What one epoch is: a pass of minibatch steps; for L-BFGS see `quasi_newton.py`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .device import fetched
from .feeder import Block, Dropout, Feeder, Kind
from .fit import Fit, Status
from .graphs import StepGraphs
from .losses import Loss
from .network import NetworkStack
from .objective import accumulate, full_batches, mean_losses, recorded
from .optimizers import SGD, Adam, SolverOptions
from .penalties import Penalty, clip_gradient_norms
from .products import quiet
from .replaying import Replay
from .rows import RowSet
from .schedules import scheduled_rates
from .shuffling import Shuffler


def _stream(seed: int, number: int) -> int:
    """Seed of one of a network's random streams, far from all others."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


@dataclass(frozen=True, slots=True)
class Polish:
    """A fit's exact end.

    Attributes
    ----------
    row : ndarray of shape (P,)
    exact : bool
        Whether nothing was left to gain.
    loss : float
    norms : ndarray of shape (layers,)
        Gradient norm.
    """

    row: np.ndarray
    exact: bool
    loss: float
    norms: np.ndarray


class Solver:
    """What the loop asks of a solver.

    Attributes
    ----------
    stack : NetworkStack
    before : Tensor of shape (K * P,)
        Parameters to go back to where those after the last epoch are not finite.
    norms : ndarray of shape (K, layers)
        Norms of the last gradient of the last epoch, by layer, before any clipping.
    """

    def __init__(
        self,
        stack: NetworkStack,
        rows: RowSet,
        loss: Loss,
        options: SolverOptions,
        fits: Sequence[Fit],
    ) -> None:
        self.stack, self.rows, self.loss, self.options = stack, rows, loss, options
        self.settings = [f.settings for f in fits]
        self.norms = np.zeros((stack.K, 1))
        self.before = stack.flat
        alpha = rows.over_given_totals(self._array("alpha"))
        l1_ratio = self._array("l1_ratio")
        self.penalty = Penalty(
            stack, alpha * (1.0 - l1_ratio), alpha * l1_ratio, options.name == "adamw"
        )
        # Copies: a state must serve again, should this fit be broken off.
        self.shufflers = [
            copy.deepcopy(f.state.shuffler)
            if f.state
            else torch.Generator().manual_seed(_stream(f.seed, 1))
            for f in fits
        ]
        self.droppers = [
            copy.deepcopy(f.state.dropper)
            if f.state
            else np.random.Generator(np.random.SFC64(_stream(f.seed, 2)))
            for f in fits
        ]
        self._set_up(fits)

    def _set_up(self, fits: Sequence[Fit]) -> None:
        """Make what this kind of solver needs before its first epoch."""
        raise NotImplementedError

    def _array(self, name: str) -> np.ndarray:
        return np.array([getattr(s, name) for s in self.settings], dtype=float)

    def generators(self, i: int) -> tuple[torch.Generator, np.random.Generator]:
        """Return the i-th network's generators, for a later fit to go on with."""
        return copy.deepcopy(self.shufflers[i]), copy.deepcopy(self.droppers[i])

    @property
    def note(self) -> str | None:
        """What a user who asks to be told should know of how it went."""
        return None

    def is_worth_shrinking(self, n_left: int) -> bool:
        """Whether the networks that are done should leave the stack now."""
        return True

    def release(self) -> None:
        """Give back what others may be waiting for; the solver is done."""

    def select(self, keep: Tensor) -> None:
        """Drop the networks that are done."""
        numbers = keep.tolist()
        self.stack = self.stack.select(keep)
        self.rows = self.rows.select(numbers)
        for name in ("settings", "shufflers", "droppers"):
            held = getattr(self, name)
            setattr(self, name, [held[i] for i in numbers])
        self.penalty = self.penalty.select(self.stack, np.array(numbers))

    def rates(self, base: np.ndarray, *schedule: np.ndarray) -> np.ndarray:
        """Learning rates of the coming epoch, (K,)."""
        return scheduled_rates(self.options.schedule, base, *schedule)

    def converged(self, tol: list[float]) -> list[Status | None]:
        """Say of each network whether the solver itself is done with it."""
        return [None] * self.stack.K

    def polished(self, i: int, row: np.ndarray) -> Polish | None:
        """Improve on a network's last parameters, if that can be done exactly."""
        return None


class Descent(Solver):
    """Minibatch steps of SGD or Adam."""

    def _set_up(self, fits: Sequence[Fit]) -> None:
        stack, options = self.stack, self.options
        self.optimizer = (
            SGD(stack, self._array("momentum"), options)
            if options.name == "sgd"
            else Adam(stack, options)
        )
        if any(f.pace is not None for f in fits):
            self.optimizer.set_paces(self._paces(fits))
        states = [f.state.solver if f.state else None for f in fits]
        self.optimizer.restore(states)
        self.before = self._starts(states)
        device = stack.flat.device
        self._graphs = StepGraphs(device) if device.type == "cuda" else None
        self._prepare()

    def _paces(self, fits: Sequence[Fit]) -> Tensor:
        """Return what rates of single parameters are multiplied by, (K, P)."""
        even = np.ones(self.stack.architecture.n_parameters)
        rows = [even if f.pace is None else f.pace for f in fits]
        return torch.from_numpy(np.stack(rows)).to(self.stack.flat)

    def _starts(self, states: Sequence[dict | None]) -> Tensor:
        """Parameters that the networks' last epochs, if any, started from."""
        rows = self.stack.rows(self.stack.flat).clone()
        for row, state in zip(rows, states, strict=True):
            if state is not None and "before" in state:  # not in early files
                row.copy_(torch.from_numpy(state["before"]))
        before = torch.empty_like(self.stack.flat)
        self.stack.set_rows(before, rows)
        return before

    def _prepare(self) -> None:
        n, rates = self.rows.n, self._array("dropout")
        asked = [s.batch_size or int(k) for s, k in zip(self.settings, n, strict=True)]
        batch = np.minimum(asked, n)
        widths = self.stack.architecture.hidden
        dropout = Dropout(rates, self.droppers, widths) if rates.any() else None
        architecture = self.stack.architecture
        self.feeder = Feeder(
            self.rows, batch, architecture.n_outputs, architecture.widest, dropout
        )
        # The order of rows is nothing to a full batch.
        shuffled = np.array([s.shuffle for s in self.settings]) & (batch < n)
        self.orders = Shuffler(n, shuffled, self.shufflers)
        limits = torch.from_numpy(self._array("max_grad_norm")).to(self.stack.flat)
        self._limits = limits if limits.isfinite().any() else None
        self._factor = torch.ones_like(limits)
        self._replay: Replay | None = None
        if self._graphs is not None:
            self._graphs.clear()
            self._replay = Replay(self.stack, self.loss, self._graphs)
        self._rates: list[float] = []  # those that a step was last made for

    @quiet
    def epoch(self, rates: np.ndarray) -> tuple[list[float], list[bool]]:
        """Take one pass over each network's rows.

        Returns the mean losses and whether all is finite, for each of K networks. With
        the penalty before the first step, which makes a full batch's loss exact.
        """
        earlier, self.before = self.before, self.stack.flat.clone()
        total = self._pass(rates)
        sums = self.stack.sums(self.stack.flat)
        losses, ends = self._read(total, sums)
        finite = [math.isfinite(a + b) for a, b in zip(losses, ends, strict=True)]
        lost = [i for i, loss in enumerate(losses) if not math.isfinite(loss)]
        if lost:
            self._go_further_back(earlier, torch.tensor(lost))
        return losses, finite

    def _go_further_back(self, earlier: Tensor, lost: Tensor) -> None:
        """Go back an epoch more where the loss is finite there and not before this one.

        Parameters may be finite and still so large that no prediction is.
        """
        lost = lost.to(self.stack.flat.device)
        rows, earlier = self.stack.rows(self.before).clone(), self.stack.rows(earlier)
        predicts = self._has_finite_loss(rows, lost)
        better = lost[~predicts & self._has_finite_loss(earlier, lost)]
        rows[better] = earlier[better]
        self.stack.set_rows(self.before, rows)

    def _has_finite_loss(self, rows: Tensor, some: Tensor) -> Tensor:
        """Whether losses of some networks are finite at rows (K, P): (len(some),)."""
        stack = self.stack.select(some)
        stack.set_rows(stack.flat, rows[some])
        feeder = full_batches(stack, self.rows.select(some.tolist()))
        return mean_losses(stack, feeder, self.loss).isfinite()

    def _pass(self, rates: np.ndarray) -> Tensor:
        """Take the steps; a GPU is only told to, and nothing in here waits for it.

        Returns the mean losses, (K,).
        """
        self._begin(rates)
        self._noted: Tensor | None = None
        total, idle = self.penalty.value(), False
        for block in self.feeder.epoch(self.orders.draw()):
            if not idle and not block.kind.all_active:
                idle = True
                self._note_norms()
            self._run(block, idle)
            total += recorded(block, self.loss)
        return total

    def _read(self, total: Tensor, sums: Tensor) -> tuple[list[float], list[float]]:
        """Fetch the epoch's losses, its norms, and the sums of the parameters."""
        if self._graphs is not None and self._noted is None:
            self._note_norms()
        if self._noted is None:
            self.norms = self.stack.layer_norms()
            if self._limits is not None:
                factor = self._factor.cpu().numpy()[:, None]
                # Clipped to nothing: the norm is too large for a number.
                full = np.full_like(self.norms, np.inf)
                self.norms = np.divide(self.norms, factor, where=factor > 0, out=full)
            return total.tolist(), sums.tolist()
        losses, ends, norms = fetched(total, sums, self._noted)
        self.norms = np.reshape(norms, self._noted.shape)
        return losses, ends

    def _begin(self, rates: np.ndarray) -> None:
        """Choose what a step does after its gradient is there."""
        asked = rates.tolist()
        if asked == self._rates:
            return
        self._rates = asked
        self.optimizer.begin_epoch(rates)
        self._completions = [*self.penalty.pulls]
        if self._limits is not None:
            self._completions.append(self._clip)
        shrinker = self.penalty.shrinker(self.optimizer.rate)
        self._moves = [*shrinker, self.optimizer.stepper()]

    def _run(self, block: Block, idle: bool) -> None:
        if idle:
            self._pieces(block, lambda: self._masked_update(block.kind))
            self._note_norms(block.kind.moving)
        elif all(block.opens) and all(block.closes):
            self._steps(block)
        else:
            self._pieces(block, self._update)

    def _steps(self, block: Block) -> None:
        """Step once for each piece: the loop that all speed depends on."""
        at = self.stack.at(block.b)
        forward, backward, delta = at.forward, at.backward, at.delta
        gradient, scale = self.loss.gradient, delta.mul_
        rest = (*self._completions, *self._moves)
        if self._replay is not None and self._replay.takes(block):
            self._replay.steps(block, rest, self.optimizer)
            return
        for x, x_t, y, raw, coefficient, masks in block.steps[: block.n_pieces]:
            forward(x, raw, masks)
            gradient(raw, y, delta)
            scale(coefficient)
            backward(x, x_t, masks)
            for act in rest:
                act()

    def _pieces(self, block: Block, update: Callable[[], None]) -> None:
        """Step once for each minibatch, whose gradient may be a sum over pieces."""
        for i in range(block.n_pieces):
            accumulate(self.stack, block, i, self.loss)
            if block.closes[i]:
                update()

    def _update(self) -> None:
        for complete in self._completions:
            complete()
        for move in self._moves:
            move()

    def _masked_update(self, kind: Kind) -> None:
        """Update some networks; those without rows left in this epoch stand still."""
        for complete in self._completions:
            complete()
        self.optimizer.masked(self._moves, kind.active, kind.moving)
        self._moves[-1] = self.optimizer.stepper()

    def _clip(self) -> None:
        assert self._limits is not None
        self._factor.copy_(clip_gradient_norms(self.stack, self._limits))

    def _note_norms(self, moving: Tensor | None = None) -> None:
        """Note norms on the way, which the next minibatch will overwrite."""
        norms = self.stack.norms_by_layer()
        if self._limits is not None:
            norms = norms / self._factor[:, None]
        if moving is not None and self._noted is not None:
            norms = torch.where(moving[:, None], norms, self._noted)
        self._noted = norms

    @property
    def note(self) -> str | None:
        """Say why steps could not be captured."""
        failure = self._graphs.failure if self._graphs is not None else None
        if failure is None:
            return None
        return f"No CUDA graph, so kernels were launched one by one ({failure})."

    def is_worth_shrinking(self, n_left: int) -> bool:
        """On CUDA only at powers of two: each K has graphs of its own to capture."""
        if self._graphs is None:
            return True
        return n_left <= 1 << ((self.stack.K - 1).bit_length() - 1)

    def release(self) -> None:
        """Let the graphs go, and with them what refers to the solver itself."""
        self._completions, self._moves, self._replay = [], [], None
        if self._graphs is not None:
            self._graphs.release()

    def select(self, keep: Tensor) -> None:
        """Drop the networks that are done."""
        before = self.stack.rows(self.before)[keep]
        super().select(keep)
        self.before = torch.empty_like(self.stack.flat)
        self.stack.set_rows(self.before, before)
        self.optimizer.select(self.stack, keep)
        self._prepare()

    def state(self, i: int) -> dict:
        """Return what the i-th network's solver needs to go on later."""
        before = self.stack.rows(self.before)[i].cpu().numpy().copy()
        return {"before": before, **self.optimizer.state(i)}
