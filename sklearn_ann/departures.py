"""Whether networks that started as the linear model have found anything beyond it.

A network with a linear skip starts as the linear model of its own rows, and leaves it
by small steps; on rows that were held out, some of these look like improvements by
chance. So the linear model is left only where the gain is larger than its standard
error (`errors_to_exceed` says by how much). Either way what is kept knows the linear
model of *all* rows, held out or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .engine.fit import Fit, Outcome
from .fitting import linear_models
from .guarding import final_loss
from .held_out import mean_gain
from .linear_starts import linear_part
from .requests import Request


def errors_to_exceed(n_networks: int) -> float:
    """Return how many standard errors the gain on held-out rows must exceed.

    The best of many epochs is an optimist: more so for one network than for the mean
    of several. Two errors for one, towards one for many.
    """
    return 1.0 + 1.0 / np.sqrt(n_networks)


@dataclass(frozen=True, slots=True)
class _Trial:
    """One network: the job that asked for it, its fit, and how that ended."""

    job: Any
    fit: Fit
    outcome: Outcome


def judged(jobs: Sequence[Any], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes with the linear model of all rows: as their part, or alone.

    Parameters
    ----------
    jobs : sequence of Job
        Of one estimator: a network's, or those of an ensemble's members.
    outcomes : sequence of Outcome
        Of all fits of all jobs, in their order.

    Notes
    -----
    Nothing happens without a start at the linear model, without held-out rows, and
    where a scorer decides in place of the loss.
    """
    fits = [(job, fit) for job in jobs for fit in job.fits]
    trials = [_Trial(*pair, o) for pair, o in zip(fits, outcomes, strict=True)]
    if not _can_be_judged(trials):
        return list(outcomes)
    best = _best_of_each_job(jobs, trials)
    leaves = _gain_in_errors(best) > errors_to_exceed(len(best))
    whole = _linear_model_of_all_rows(trials[0])
    return [
        replace(trial.outcome, row=_row(trial, whole, leaves), linear=not leaves)
        for trial in trials
    ]


def _can_be_judged(trials: list[_Trial]) -> bool:
    job = trials[0].job
    watched = job.held_out is not None and trials[0].fit.validate is None
    return bool(job.starts_linear and watched and trials[0].fit.settings.start_counts)


def _best_of_each_job(jobs: Sequence[Any], trials: list[_Trial]) -> list[_Trial]:
    return [
        min(
            (trial for trial in trials if trial.job is job),
            key=lambda trial: final_loss(trial.outcome),
        )
        for job in jobs
    ]


def _gain_in_errors(trials: list[_Trial]) -> float:
    """Return the gain over the start, mean over networks, in its standard errors.

    Each network's best epoch was chosen on the rows that judge it. That of all of them
    together is hardly: so the gain is the best that any one epoch gives their mean.
    """
    curves = [_gains_by_epoch(trial.outcome) for trial in trials]
    shortest = min(map(len, curves))
    # Of networks that diverge: no gain.
    with np.errstate(over="ignore", invalid="ignore"):
        gain = np.mean([curve[:shortest] for curve in curves], axis=0).max()
        jobs = [trial.job for trial in trials]
        starts = [trial.fit.start for trial in trials]
        _, error = mean_gain(jobs, starts, [trial.outcome.row for trial in trials])
    if not gain > 0.0 or not np.isfinite(error):
        return 0.0
    return float(gain / error) if error > 0.0 else np.inf


def _gains_by_epoch(outcome: Outcome) -> np.ndarray:
    record = outcome.record
    return np.nan_to_num(np.array(record.scores), nan=-np.inf) - record.start_score


def _linear_model_of_all_rows(trial: _Trial) -> np.ndarray | None:
    """Coefficients of the skip and the last intercepts; None if it is the start's."""
    job, fit = trial.job, trial.fit
    if job.held_out.X is not job.whole.X:
        return None
    weight = job.whole.own_weight
    everything = replace(
        fit,
        index=torch.from_numpy(job.whole.index),
        weight=None if weight is None else torch.from_numpy(weight),
    )
    request: Request = replace(job.requests[0], fit=everything)
    return linear_models([request])[0]


def _row(trial: _Trial, whole: np.ndarray | None, leaves: bool) -> np.ndarray:
    """Return the start, or where it ended, with the linear model of all rows in it."""
    start = trial.fit.start
    row = (trial.outcome.row if leaves else start).astype(np.float64)
    if whole is not None:
        place = linear_part(trial.job.model.architecture)
        row[place] += whole - start[place]
    return row
