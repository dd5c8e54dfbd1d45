"""Whether columns had better enter the hidden layers all at one pace.

By `relevance`, a column that explains nothing, alone or beside one other, does not
enter. What shows only among three or more is overlooked so. Therefore a few networks
are trained a second time, with all columns at one pace: the scouts. Where these do
better on the rows that were held out, by more than chance, all networks become like
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .departures import judged
from .engine.fit import Epoch, Fit, Outcome
from .fitting import fit_networks
from .guarding import final_loss
from .held_out import mean_gain
from .jobs import Job
from .linear_starts import linear_part
from .requests import Request

# Jobs of an estimator, out of its members', that have scouts.
SCOUTED = 2
# Standard errors by which scouts must do better.
ERRORS = 2.0


def requests_of(jobs: Sequence[Job]) -> list[Request]:
    """Return what to ask `fit_networks` for: the jobs' own fits, then their scouts."""
    for job in jobs:
        for scout, leader in zip(job.even, job.fits, strict=False):
            _follow(scout, leader)
    own = [request for job in jobs for request in job.requests]
    return own + _even_requests(jobs, _scouted(jobs))


def settled(
    jobs: Sequence[Job], outcomes: Sequence[Outcome]
) -> tuple[list[Job], list[Outcome]]:
    """Decide what an estimator's networks become.

    Parameters
    ----------
    jobs : sequence of Job
        Of one estimator: a network's, or those of an ensemble's members.
    outcomes : sequence of Outcome
        Of `requests_of` them.

    Returns
    -------
    jobs : list of Job
        As they came, or with fits whose columns all have one pace.
    outcomes : list of Outcome
        Of all their fits. Every one has the linear model of all rows in it (`judged`).
    """
    rest = iter(outcomes)
    paced = {i: [next(rest) for _ in job.fits] for i, job in enumerate(jobs)}
    even = {i: [next(rest) for _ in jobs[i].even] for i in _scouted(jobs)}
    kept, vain = paced, even
    if even and _do_better(jobs, paced, even):
        even |= _evenly_trained(jobs, set(paced) - set(even))
        kept, vain = paced | even, {i: paced[i] for i in even}
        jobs = [_even(job) for job in jobs]
    return list(jobs), judged(jobs, _in_order(kept, vain))


def _scouted(jobs: Sequence[Job]) -> list[int]:
    """Which jobs have scouts."""
    return [i for i, job in enumerate(jobs) if job.even][:SCOUTED]


def _even_requests(jobs: Sequence[Job], which: Sequence[int]) -> list[Request]:
    return [jobs[i].request(fit) for i in which for fit in jobs[i].even]


def _follow(scout: Fit, leader: Fit) -> None:
    """Let a scout stop where callbacks stopped the fit that it is a scout of."""
    hook = leader.on_epoch
    if hook is None:
        return
    stopped: list[int] = []

    def lead(epoch: Epoch) -> bool:
        if hook(epoch):
            stopped.append(epoch.number)
        return bool(stopped)

    leader.on_epoch = lead
    scout.on_epoch = lambda epoch: bool(stopped) and epoch.number >= stopped[0]


def _do_better(
    jobs: Sequence[Job], paced: dict[int, list[Outcome]], even: dict[int, list[Outcome]]
) -> bool:
    """Whether scouts, the best of each job's, lose less by more than chance."""
    before = [min(paced[i], key=final_loss).row for i in even]
    after = [min(even[i], key=final_loss).row for i in even]
    with np.errstate(over="ignore", invalid="ignore"):  # of networks that diverged
        gain, error = mean_gain([jobs[i] for i in even], before, after)
        return bool(gain > ERRORS * error)


def _evenly_trained(jobs: Sequence[Job], others: set[int]) -> dict[int, list[Outcome]]:
    """Train the others like the scouts, where their columns are not at one pace yet."""
    which = sorted(i for i in others if jobs[i].even)
    requests = _even_requests(jobs, which)
    leaders = [fit for i in which for fit in jobs[i].fits]
    for request, leader in zip(requests, leaders, strict=True):
        _start_like(request, leader)
    rest = iter(fit_networks(requests))
    return {i: [next(rest) for _ in jobs[i].even] for i in which}


def _start_like(request: Request, leader: Fit) -> None:
    """Start at the linear model that the paced fit of the same rows started at."""
    if request.starts_linear:
        place = linear_part(request.architecture)
        request.fit.start[place] = leader.start[place]
        request.starts_linear = False


def _even(job: Job) -> Job:
    if job.paces is None:
        return job
    return replace(job, fits=job.even, paces=np.ones_like(job.paces))


def _in_order(
    kept: dict[int, list[Outcome]], vain: dict[int, list[Outcome]]
) -> list[Outcome]:
    """Return what is kept, in the jobs' order, with the time of what is not."""
    return [
        replace(each, seconds=each.seconds + sum(o.seconds for o in vain.get(i, ())))
        for i, outcomes in sorted(kept.items())
        for each in outcomes
    ]
