"""The only training loop: K networks, epoch by epoch, until each has had enough.

`train` takes fits that can share a stack and returns one outcome for each. Everything
that shapes a fit belongs to its network: learning rate, penalties, dropout, momentum,
patience, limits, seeds, rows, row counts, batch size and stop. A network that is done
leaves the stack, and the others go on in a smaller one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from .architecture import Architecture
from .course import Course, continued
from .device import stored_dtype, threads, threads_for
from .feeder import Feeder
from .fit import Fit, FitState, Keeper, Outcome, Standing, Status
from .losses import Loss
from .network import NetworkStack
from .objective import full_batches, mean_losses
from .optimizers import SolverOptions
from .quasi_newton import QuasiNewton
from .rows import Part, RowSet, row_set
from .solvers import Descent


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
        They share their expansion.
    architecture, loss, options
        What they share, too.
    device, dtype
        Where and how they are trained; tables are moved there. bfloat16 is the dtype
        of the products alone.
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
    if all(f.outcome is not None for f in fits):  # nothing is left to do
        return [f.outcome for f in fits if f.outcome is not None]
    with threads(threads_for(work)), torch.inference_mode():
        run = _Run(fits, architecture, loss, options, device, dtype)
        try:
            return run.go(cancelled or _never)
        finally:
            run.solver.release()


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
        self.loss, self.options = loss, options
        self.courses = [Course(f, options.name, options.schedule) for f in fits]
        # In the stack; and, with their places there, those of them still in training.
        self.numbers = [i for i, f in enumerate(fits) if f.outcome is None]
        self.here = [self.courses[i] for i in self.numbers]
        self.alive = list(enumerate(self.here))
        self.keepers = {id(f.keeper): f.keeper for f in fits if f.keeper is not None}
        self.outcomes: list[Outcome | None] = [f.outcome for f in fits]
        self.clock = time.perf_counter()
        stored = stored_dtype(dtype)
        self.validation = _validation_rows(self.courses, device, stored)
        self._scored: Feeder | None = None  # validation rows of those still here
        going = [course.fit for course in self.here]
        rows = _training_rows(going, device, stored)
        starts = np.stack([f.state.row if f.state else f.start for f in going])
        stack = NetworkStack(
            architecture, torch.from_numpy(starts).to(device, stored), dtype
        )
        solver = QuasiNewton if options.name == "lbfgs" else Descent
        self.solver = solver(stack, rows, loss, options, going)

    @property
    def stack(self) -> NetworkStack:
        return self.solver.stack

    def go(self, cancelled: Callable[[], bool]) -> list[Outcome]:
        """Run epochs until no network is left."""
        self._score_starts()
        while self.alive:
            if cancelled():
                raise Cancelled
            rates = self._rates()
            losses, finite = self.solver.epoch(rates)
            self._note(losses, rates, finite)
            ended = self._judge(finite)
            if ended:
                self._count_time()
                self._leave(ended)
            for keeper in self.keepers.values():
                keeper(partial(self._standing, keeper), not self.alive)
        return [outcome for outcome in self.outcomes if outcome is not None]

    def _standing(self, keeper: Keeper) -> Standing:
        """Return what a keeper's fits go on from, or how they ended."""
        self._count_time()
        standing: Standing = []
        for course, outcome in zip(self.courses, self.outcomes, strict=True):
            if course.fit.keeper is keeper and outcome is not None:
                standing.append((course.fit, outcome))
        for i, course in self.alive:
            if course.fit.keeper is keeper:
                standing.append((course.fit, self._state(i)))
        return standing

    def _state(self, i: int) -> FitState:
        """Return what the i-th network here, broken off now, would go on from."""
        course = self.here[i]
        return FitState(
            self._row(i),
            continued(course.record),
            self.solver.state(i),
            *self.solver.generators(i),
            course.epochs,
            course.seconds,
            course.fit.pace,
        )

    def _rates(self) -> np.ndarray:
        """Learning rates of the coming epoch, (K,)."""
        base = np.array([c.record.base_rate for c in self.here])
        if self.options.schedule in ("constant", "adaptive"):
            return base
        settings = [c.fit.settings for c in self.here]
        return self.solver.rates(
            base,
            np.array([c.epochs for c in self.here]),
            np.array([s.max_iter for s in settings]),
            np.array([c.record.rows_seen for c in self.here]),
            np.array([s.power_t for s in settings]),
        )

    def _note(self, losses: list[float], rates: np.ndarray, finite: list[bool]) -> None:
        """Write the epoch into the records."""
        asked, norms = rates.tolist(), self.solver.norms
        for i, course in self.alive:
            course.note(losses[i], asked[i], norms[i])
        if any(c.watched for _, c in self.alive):
            self._validate(finite)

    def _score_starts(self) -> None:
        """Score the starts of those that may keep them."""
        if any(c.start_counts for _, c in self.alive):
            scores = self._validation_scores()
            for i, course in self.alive:
                if course.start_counts:
                    score = self._score(i, scores[i])
                    course.begin(score, partial(self._row, i))

    def _validate(self, finite: list[bool]) -> None:
        """Score those that are watched."""
        scores = self._validation_scores()
        for i, course in self.alive:
            if course.watched:
                score = self._score(i, scores[i]) if finite[i] else np.nan
                course.score(score, partial(self._row, i))

    def _score(self, i: int, minus_loss: float) -> float:
        """Score the i-th network here: minus its loss, unless it has its own scorer."""
        validate = self.here[i].fit.validate
        if validate is None:
            return minus_loss
        with torch.inference_mode(False):  # the caller's own code
            return float(validate(self._row(i)))

    def _validation_scores(self) -> list[float]:
        """Minus the validation losses, where there are any."""
        stack = self.stack
        if not any(c.has_validation_loss for _, c in self.alive):
            return [-np.inf] * stack.K
        if self._scored is None:
            assert self.validation is not None
            self._scored = full_batches(stack, self.validation.select(self.numbers))
        return (-mean_losses(stack, self._scored, self.loss)).tolist()

    def _row(self, i: int) -> np.ndarray:
        """Copy out the parameters of the i-th network here."""
        return self.stack.row(i).cpu().numpy().copy()

    def _judge(self, finite: list[bool]) -> dict[int, Status]:
        """Decide which of the networks here are done, and how."""
        converged = self.solver.converged([c.fit.settings.tol for c in self.here])
        ended = {}
        for i, course in self.alive:
            status = course.judge(converged[i] if finite[i] else Status.DIVERGED)
            if course.fit.on_epoch is not None and status is not Status.DIVERGED:
                called_off = course.called_off(partial(self._row, i))
                status = Status.STOPPED if called_off else status
            if status is not None:
                ended[i] = status
        return ended

    def _count_time(self) -> None:
        """Share out the time since a network last left: they were as many since."""
        now = time.perf_counter()
        share = (now - self.clock) / max(1, len(self.alive))
        for _, course in self.alive:
            course.seconds += share
        self.clock = now

    def _leave(self, ended: dict[int, Status]) -> None:
        """Write down how networks ended, and take them out of the stack."""
        flats = self.solver.before, self.stack.flat
        earlier, last = (self.stack.rows(flat) for flat in flats)
        for i, status in ended.items():
            rows = earlier if status is Status.DIVERGED else last
            row = rows[i].cpu().numpy().copy()
            self.outcomes[self.numbers[i]] = self._outcome(i, row, status)
        self.alive = [(i, course) for i, course in self.alive if i not in ended]
        if self.alive and self.solver.is_worth_shrinking(len(self.alive)):
            self._shrink([i for i, _ in self.alive])

    def _shrink(self, stay: list[int]) -> None:
        """Leave only the networks with the places ``stay`` in the stack."""
        self._scored = None
        self.here = [self.here[i] for i in stay]
        self.numbers = [self.numbers[i] for i in stay]
        self.alive = list(enumerate(self.here))
        self.solver.select(torch.tensor(stay, device=self.stack.flat.device))

    def _outcome(self, i: int, row: np.ndarray, status: Status) -> Outcome:
        course = self.here[i]
        record, state = course.record, None
        if course.fit.keep_state:
            solver = None if status is Status.DIVERGED else self.solver.state(i)
            generators = self.solver.generators(i)
            state = FitState(row, record, solver, *generators, pace=course.fit.pace)
        if record.best_row is not None and course.stops_early:
            row = record.best_row
        elif status in (Status.CONVERGED, Status.MAX_ITER):
            row, status = self._polished(i, row, status)
        n_iter, note = len(record.losses), self.solver.note
        return Outcome(row, status, n_iter, record, course.seconds, state, note)

    def _polished(
        self, i: int, row: np.ndarray, status: Status
    ) -> tuple[np.ndarray, Status]:
        """End exactly where that is possible; the record's last line follows."""
        polish = self.solver.polished(i, row)
        if polish is None:
            return row, status
        record = self.here[i].record
        record.losses[-1] = polish.loss
        record.best_loss = min(record.best_loss, polish.loss)
        record.norms[-1] = polish.norms
        return polish.row, Status.CONVERGED if polish.exact else status


def _training_rows(
    fits: Sequence[Fit], device: torch.device, dtype: torch.dtype
) -> RowSet:
    parts: list[Part] = [(f.x, f.y, f.index, f.weight) for f in fits]
    return row_set(parts, device, dtype, fits[0].expansion)


def _validation_rows(
    courses: Sequence[Course], device: torch.device, dtype: torch.dtype
) -> RowSet | None:
    """Rows of validation losses; a row of training stands in for a fit without any."""
    if not any(c.has_validation_loss for c in courses):
        return None
    parts: list[Part] = []
    for course in courses:
        f = course.fit
        if course.has_validation_loss:
            assert f.x_val is not None and f.y_val is not None
            assert f.index_val is not None
            parts.append((f.x_val, f.y_val, f.index_val, f.weight_val))
        else:
            parts.append((f.x, f.y, f.index[:1], None))
    return row_set(parts, device, dtype, courses[0].fit.expansion)
