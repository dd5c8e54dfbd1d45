"""Two networks on the rows that were held out of their training: which does better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .encoding import target_table


def mean_gain(
    jobs: Sequence[Any], befores: Sequence[np.ndarray], afters: Sequence[np.ndarray]
) -> tuple[float, float]:
    """Return how much less the second parameters lose, and its standard error.

    Parameters
    ----------
    jobs : sequence of Job
        Of one estimator, each with rows that it held out.
    befores, afters : sequence of ndarray of shape (P,)
        Two networks of each job.

    Notes
    -----
    The error comes from differences of row losses, summed by row or group, since
    members hold out some rows in common.
    """
    first = jobs[0]
    sums, counts = np.zeros((2, len(first.held_out.labels)))
    for job, before, after in zip(jobs, befores, afters, strict=True):
        held = job.held_out
        weight = np.ones(len(held.index)) if held.weight is None else held.own_weight
        gain = _row_losses(job, before) - _row_losses(job, after)
        sums[held.index] += weight * gain
        counts[held.index] += weight
    total = counts.sum()
    parts, shares = sums / total, counts / total
    deviations = parts - parts.sum() * shares
    if first.clusters is not None:
        deviations = np.bincount(first.clusters, deviations)
    return float(parts.sum()), float(np.sqrt(np.square(deviations).sum()))


def _row_losses(job: Any, row: np.ndarray) -> np.ndarray:
    """Losses of a job's held-out rows, (n_held,), in the network's own units."""
    model, held = job.model, job.held_out
    raw = model.fitted(row).raw(held.X[held.index])
    if model.targets is not None and model.folds_targets:
        raw = (raw - model.targets.mean) / model.targets.scale
    y = target_table(held.y[held.index], model.targets, model.loss, torch.float64)
    return np.asarray(model.loss.values(torch.from_numpy(raw), y))
