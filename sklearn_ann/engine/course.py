"""One network's way through training: what it records, and when it has had enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from .fit import Epoch, Fit, Record, Status

# The "adaptive" schedule divides the rate by this, down to the floor below.
ADAPTIVE_DIVISOR, ADAPTIVE_FLOOR = 5.0, 1e-6


class Course:
    """One network in the loop.

    What is asked of every network in every epoch is worked out once: with a hundred
    small networks in a stack, this is where the loop's own time goes.

    Parameters
    ----------
    fit : Fit
    solver, schedule : str

    Attributes
    ----------
    fit : Fit
    record : Record
        Its own, also where it goes on from an earlier fit's.
    done_before, last_epoch : int
        Epochs of earlier fits, and the number of the last one allowed.
    watched, stops_early, has_validation_loss, start_counts : bool
        Whether the network is scored after each epoch; whether the score decides when
        to stop and which parameters are kept; whether it is a loss on rows; whether
        the start is scored too.
    seconds : float
        Its share of the stack's time so far.
    """

    __slots__ = (
        "_adaptive",
        "_has_patience",
        "_runs_down",
        "done_before",
        "fit",
        "has_validation_loss",
        "last_epoch",
        "n_rows",
        "record",
        "seconds",
        "start_counts",
        "stops_early",
        "watched",
    )

    def __init__(self, fit: Fit, solver: str, schedule: str) -> None:
        settings = fit.settings
        self.fit, self.n_rows = fit, len(fit.index)
        self.seconds = fit.state.seconds if fit.state else 0.0
        self.record = (
            continued(fit.state.record)
            if fit.state
            else Record(settings.learning_rate_init)
        )
        epochs = fit.state.epochs if fit.state else 0
        self.done_before = len(self.record.losses) - epochs
        self.last_epoch = self.done_before + settings.max_iter
        self.watched = fit.x_val is not None or fit.validate is not None
        self.stops_early = settings.early_stopping and self.watched
        self.has_validation_loss = fit.x_val is not None and fit.validate is None
        # L-BFGS knows by itself when it is done.
        self._has_patience = self.stops_early or solver != "lbfgs"
        self._adaptive = schedule == "adaptive"
        self._runs_down = schedule in ("cosine", "one_cycle")
        self.start_counts = (
            settings.start_counts and self.stops_early and fit.state is None
        )

    @property
    def epochs(self) -> int:
        """Epochs done in this fit."""
        return len(self.record.losses) - self.done_before

    def note(self, loss: float, rate: float, norms: np.ndarray) -> None:
        """Write an epoch into the record."""
        record = self.record
        record.losses.append(loss)
        record.rates.append(rate)
        record.norms.append(norms)
        record.rows_seen += self.n_rows

    def score(self, score: float, row: Callable[[], np.ndarray]) -> None:
        """Write a score into the record; keep the parameters if it is the best."""
        self.record.scores.append(score)
        if self.stops_early and score > self.record.best_score:
            self.record.best_row = row()

    def begin(self, score: float, row: Callable[[], np.ndarray]) -> None:
        """Let the start be the one to beat."""
        self.record.start_score = score
        if score > self.record.best_score:
            self.record.best_row, self.record.best_score = row(), score

    def judge(self, ended: Status | None) -> Status | None:
        """Decide whether the network is done, given what its solver says of it."""
        impatient = self._out_of_patience()
        if ended is not None:
            return ended
        if impatient:
            return Status.CONVERGED
        if len(self.record.losses) < self.last_epoch:
            return None
        # A rate that has run down to nothing, on rows that chose the best epoch.
        ran_down = self.stops_early and self._runs_down
        return Status.CONVERGED if ran_down else Status.MAX_ITER

    def _out_of_patience(self) -> bool:
        """Count epochs without improvement by tol, as scikit-learn's MLP does."""
        record, settings = self.record, self.fit.settings
        loss = record.losses[-1]
        if self.stops_early:
            improved = record.scores[-1] >= record.best_score + settings.tol
        else:
            improved = loss <= record.best_loss - settings.tol
        if self.watched:
            record.best_score = max(record.best_score, record.scores[-1])
        record.best_loss = min(record.best_loss, loss)
        if not self._has_patience:
            return False
        record.patience_used = 0 if improved else record.patience_used + 1
        if record.patience_used <= settings.n_iter_no_change:
            return False
        if self._adaptive and record.base_rate > ADAPTIVE_FLOOR:
            record.base_rate /= ADAPTIVE_DIVISOR
            record.patience_used = 0
            return False
        return True

    def called_off(self, row: Callable[[], np.ndarray]) -> bool:
        """Ask the caller's hook whether to stop."""
        record, hook = self.record, self.fit.on_epoch
        assert hook is not None
        score = record.scores[-1] if self.watched else None
        best = record.best_row if self.stops_early else None
        # What the fit would keep if it stopped now.
        kept = row if best is None else best.copy
        epoch = Epoch(len(record.losses), record.losses[-1], score, kept)
        with torch.inference_mode(False):  # the caller's own code
            return bool(hook(epoch))


def continued(record: Record) -> Record:
    """Copy an earlier fit's record, to go on with: that one's outcome keeps its own."""
    return replace(
        record,
        losses=list(record.losses),
        scores=list(record.scores),
        rates=list(record.rates),
        norms=list(record.norms),
    )
