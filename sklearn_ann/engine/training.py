"""The only training loop: K networks, epoch by epoch, until each has had enough.

`train` takes fits that can share a stack and returns one outcome for each. Everything
that shapes a fit belongs to its network: learning rate, penalties, dropout, momentum,
patience, limits, seeds, rows, row counts, batch size and stop. A network that is done
leaves the stack, and the others go on in a smaller one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .device import threads, threads_for
from .feeder import Feeder
from .fit import Epoch, Fit, FitState, Outcome, Record, Status
from .losses import Loss
from .network import Architecture, NetworkStack
from .optimizers import SolverOptions
from .rows import Part, RowSet, row_set
from .solvers import Descent, QuasiNewton, full_batches, mean_losses

# The "adaptive" schedule divides the rate by this, down to the floor below.
ADAPTIVE_DIVISOR, ADAPTIVE_FLOOR = 5.0, 1e-6


def train(
    fits: Sequence[Fit],
    architecture: Architecture,
    loss: Loss,
    options: SolverOptions,
    device: torch.device,
    dtype: torch.dtype,
    cancelled: Callable[[], bool] | None = None,
) -> list[Outcome]:
    """Train networks of one architecture as a stack.

    Parameters
    ----------
    fits : sequence of K Fits
    architecture, loss, options
        What they share.
    device, dtype
        Where and how they are trained; tables are moved there.
    cancelled : callable () -> bool, default=None
        Asked before each epoch; once it says yes nothing is wanted any more.

    Returns
    -------
    list of K Outcomes

    Raises
    ------
    Cancelled
        When ``cancelled`` says so.
    """
    widest = max(
        len(f.index) if f.settings.batch_size is None else f.settings.batch_size
        for f in fits
    )
    work = architecture.flops_per_row * len(fits) * widest
    with threads(threads_for(work)), torch.inference_mode():
        run = _Run(fits, architecture, loss, options, device, dtype)
        return run.go(cancelled or _never)


class Cancelled(Exception):
    """Training was called off from outside."""


def _never() -> bool:
    return False


class _Run:
    """State of one call of `train`."""

    def __init__(
        self,
        fits: Sequence[Fit],
        architecture: Architecture,
        loss: Loss,
        options: SolverOptions,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.fits, self.alive = list(fits), list(range(len(fits)))
        self.loss, self.options = loss, options
        self.outcomes: list[Outcome | None] = [None] * len(fits)
        self.clock = time.perf_counter()
        self.seconds = [0.0] * len(fits)
        self.records = [
            _continued(f.state.record)
            if f.state
            else Record(f.settings.learning_rate_init)
            for f in fits
        ]
        self.done_before = [len(r.losses) for r in self.records]
        rows = _training_rows(fits, device, dtype)
        self.validation = _validation_rows(fits, device, dtype)
        self._scored: Feeder | None = None  # validation rows of those still here
        starts = np.stack([f.state.row if f.state else f.start for f in fits])
        stack = NetworkStack(
            architecture, torch.from_numpy(starts).to(device=device, dtype=dtype)
        )
        solver = QuasiNewton if options.name == "lbfgs" else Descent
        self.solver = solver(stack, rows, loss, options, fits)

    @property
    def stack(self) -> NetworkStack:
        return self.solver.stack

    def go(self, cancelled: Callable[[], bool]) -> list[Outcome]:
        """Run epochs until no network is left."""
        while self.alive:
            if cancelled():
                raise Cancelled
            before = self.stack.flat.clone()
            rates = self._rates()
            losses, finite = self.solver.epoch(rates)
            self._note(losses, rates, finite)
            statuses = self._judge(finite)
            self._count_time()
            leaving = [i for i, status in enumerate(statuses) if status is not None]
            if leaving:
                self._leave(leaving, statuses, before)
        return [outcome for outcome in self.outcomes if outcome is not None]

    def _rates(self) -> np.ndarray:
        """Learning rates of the coming epoch, (K,)."""
        records = [self.records[k] for k in self.alive]
        base = np.array([r.base_rate for r in records])
        if self.options.schedule in ("constant", "adaptive"):
            return base
        settings = [self.fits[k].settings for k in self.alive]
        epochs = [
            len(r.losses) - self.done_before[k]
            for k, r in zip(self.alive, records, strict=True)
        ]
        return self.solver.rates(
            base,
            np.array(epochs),
            np.array([s.max_iter for s in settings]),
            np.array([r.rows_seen for r in records]),
            np.array([s.power_t for s in settings]),
        )

    def _note(self, losses: list[float], rates: np.ndarray, finite: list[bool]) -> None:
        """Write the epoch into the records."""
        norms = self.solver.norms
        for i, k in enumerate(self.alive):
            record = self.records[k]
            record.losses.append(losses[i])
            record.rates.append(float(rates[i]))
            record.norms.append(norms[i])
            record.rows_seen += len(self.fits[k].index)
        if any(_is_watched(self.fits[k]) for k in self.alive):
            self._validate(finite)

    def _validate(self, finite: list[bool]) -> None:
        stack = self.stack
        scores = [-np.inf] * stack.K
        if any(_has_validation_loss(self.fits[k]) for k in self.alive):
            if self._scored is None:
                assert self.validation is not None
                rows = self.validation.select(self.alive)
                self._scored = full_batches(stack, rows)
            scores = (-mean_losses(stack, self._scored, self.loss)).tolist()
        parameters: Tensor | None = None
        for i, k in enumerate(self.alive):
            fit, record = self.fits[k], self.records[k]
            if not _is_watched(fit):
                continue
            score = scores[i]
            if fit.validate is not None:
                score = np.nan
                if finite[i]:
                    with torch.inference_mode(False):  # the caller's own code
                        score = float(fit.validate(self._row(i)))
            record.scores.append(score)
            if _stops_early(fit) and score > record.best_score:
                parameters = (
                    stack.rows(stack.flat) if parameters is None else parameters
                )
                record.best_row = parameters[i].cpu().numpy().copy()

    def _row(self, i: int) -> np.ndarray:
        """Copy out the parameters of the i-th network still in the stack."""
        return self.stack.rows(self.stack.flat)[i].cpu().numpy().copy()

    def _judge(self, finite: list[bool]) -> list[Status | None]:
        """Decide for each network whether it is done."""
        converged = self.solver.converged(
            [self.fits[k].settings.tol for k in self.alive]
        )
        statuses: list[Status | None] = []
        for i, k in enumerate(self.alive):
            status = converged[i] if finite[i] else Status.DIVERGED
            patience = self._out_of_patience(k)
            if status is None and patience:
                status = Status.CONVERGED
            if status is None and self._epochs(k) >= self.fits[k].settings.max_iter:
                status = Status.MAX_ITER
            if status is not Status.DIVERGED and self._called_off(i, k):
                status = Status.STOPPED
            statuses.append(status)
        return statuses

    def _epochs(self, k: int) -> int:
        return len(self.records[k].losses) - self.done_before[k]

    def _out_of_patience(self, k: int) -> bool:
        """Count epochs without improvement by tol, as scikit-learn's MLP does."""
        fit, record = self.fits[k], self.records[k]
        tol, early = fit.settings.tol, _stops_early(fit)
        if early:
            improved = record.scores[-1] >= record.best_score + tol
        else:
            improved = record.losses[-1] <= record.best_loss - tol
        if _is_watched(fit):
            record.best_score = max(record.best_score, record.scores[-1])
        record.best_loss = min(record.best_loss, record.losses[-1])
        if not early and self.options.name == "lbfgs":
            return False
        record.patience_used = 0 if improved else record.patience_used + 1
        if record.patience_used <= fit.settings.n_iter_no_change:
            return False
        if self.options.schedule == "adaptive" and record.base_rate > ADAPTIVE_FLOOR:
            record.base_rate /= ADAPTIVE_DIVISOR
            record.patience_used = 0
            return False
        return True

    def _called_off(self, i: int, k: int) -> bool:
        fit, record = self.fits[k], self.records[k]
        hook = fit.on_epoch
        if hook is None:
            return False
        score = record.scores[-1] if _is_watched(fit) else None
        best = record.best_row if _stops_early(fit) else None

        def row() -> np.ndarray:
            """Return the parameters that the fit would keep if it stopped now."""
            return self._row(i) if best is None else best.copy()

        epoch = Epoch(len(record.losses), record.losses[-1], score, row)
        with torch.inference_mode(False):  # the caller's own code
            return bool(hook(epoch))

    def _count_time(self) -> None:
        now = time.perf_counter()
        share = (now - self.clock) / len(self.alive)
        for k in self.alive:
            self.seconds[k] += share
        self.clock = now

    def _leave(
        self, leaving: list[int], statuses: list[Status | None], before: Tensor
    ) -> None:
        """Take finished networks out of the stack."""
        earlier, last = (self.stack.rows(flat) for flat in (before, self.stack.flat))
        for i in leaving:
            k, status = self.alive[i], statuses[i]
            assert status is not None
            rows = earlier if status is Status.DIVERGED else last
            row = rows[i].cpu().numpy().copy()
            self.outcomes[k] = self._outcome(i, k, row, status)
        self._scored = None
        stay = [i for i in range(len(self.alive)) if i not in set(leaving)]
        self.alive = [self.alive[i] for i in stay]
        if stay:
            self.solver.select(torch.tensor(stay, device=self.stack.flat.device))

    def _outcome(self, i: int, k: int, row: np.ndarray, status: Status) -> Outcome:
        fit, record = self.fits[k], self.records[k]
        state = None
        if fit.keep_state:
            solver = None if status is Status.DIVERGED else self.solver.state(i)
            state = FitState(row, record, solver, *self.solver.generators(i))
        if record.best_row is not None and _stops_early(fit):
            row = record.best_row
        elif status in (Status.CONVERGED, Status.MAX_ITER):
            row, status = self._polished(i, k, row, status)
        return Outcome(row, status, len(record.losses), record, self.seconds[k], state)

    def _polished(
        self, i: int, k: int, row: np.ndarray, status: Status
    ) -> tuple[np.ndarray, Status]:
        """End exactly where that is possible; the record's last line follows."""
        polish = self.solver.polished(i, row)
        if polish is None:
            return row, status
        record = self.records[k]
        record.losses[-1] = polish.loss
        record.best_loss = min(record.best_loss, polish.loss)
        record.norms[-1] = polish.norms
        return polish.row, Status.CONVERGED if polish.exact else status


def _is_watched(fit: Fit) -> bool:
    """Whether the fit is scored after each epoch."""
    return fit.x_val is not None or fit.validate is not None


def _stops_early(fit: Fit) -> bool:
    """Whether the score decides when to stop and which parameters are kept."""
    return fit.settings.early_stopping and _is_watched(fit)


def _has_validation_loss(fit: Fit) -> bool:
    return fit.x_val is not None and fit.validate is None


def _continued(record: Record) -> Record:
    """Copy an earlier fit's record, to go on with: that one's outcome keeps its own."""
    return replace(
        record,
        losses=list(record.losses),
        scores=list(record.scores),
        rates=list(record.rates),
        norms=list(record.norms),
    )


def _training_rows(
    fits: Sequence[Fit], device: torch.device, dtype: torch.dtype
) -> RowSet:
    return row_set([(f.x, f.y, f.index, f.weight) for f in fits], device, dtype)


def _validation_rows(
    fits: Sequence[Fit], device: torch.device, dtype: torch.dtype
) -> RowSet | None:
    """Rows of validation losses; a row of training stands in for a fit without any."""
    if not any(_has_validation_loss(f) for f in fits):
        return None
    parts: list[Part] = []
    for f in fits:
        if _has_validation_loss(f):
            assert f.x_val is not None and f.y_val is not None
            assert f.index_val is not None
            parts.append((f.x_val, f.y_val, f.index_val, f.weight_val))
        else:
            parts.append((f.x, f.y, f.index[:1], None))
    return row_set(parts, device, dtype)
