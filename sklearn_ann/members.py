"""An ensemble: networks that differ in seed and held-out rows, trained as one stack."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from .assembly import Memory, draw_seed
from .engine.fit import Outcome, Status
from .fitting import fit_networks
from .guarding import warn_of
from .jobs import Job, assemble
from .model import Ensemble
from .scouts import requests_of, settled

# The worst ending of a member is the ensemble's.
_WORST_FIRST = (Status.DIVERGED, Status.MAX_ITER, Status.STOPPED, Status.CONVERGED)


def member_seed(seed: int, i: int) -> int:
    """Seed of the i-th member; the first one's is the ensemble's own."""
    if i == 0:
        return seed
    return int(np.random.SeedSequence([seed, 0, i]).generate_state(1)[0])


def train_members(
    ensemble: Any,
    asked: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    memory: Memory | None,
    options: dict[str, Any],
) -> Any:
    """Fit an estimator with ``n_estimators > 1``.

    Parameters
    ----------
    ensemble, asked : ANNRegressor or ANNClassifier
        The second with every "auto" decided.
    X, y
        Checked by the ensemble.
    sample_weight
        As the user gave it.
    memory : Memory or None
        Of the ensemble; with one, the members go on from their own.
    options : dict
        For `assemble`.
    """
    members, jobs = assemble_members(asked, X, y, sample_weight, memory, options)
    watcher = jobs[0].watcher
    watcher.estimator = ensemble
    fits = [fit for job in jobs for fit in job.fits]
    watcher.begin(fits, [fit for job in jobs for fit in job.even])
    settling = settled(jobs, fit_networks(requests_of(jobs)))
    worst = keep_members(ensemble, members, *settling)
    watcher.attributes = lambda row: _attributes(ensemble, members, jobs[0].target)
    watcher.end(worst.row, worst.note)
    if not options["incremental"] or worst.status is Status.DIVERGED:
        warn_of(worst, asked.max_iter)
    return ensemble


def assemble_members(
    ensemble: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    memory: Memory | None,
    options: dict[str, Any],
) -> tuple[list[Any], list[Job]]:
    """Return the members, still without parameters, and a job for each."""
    if memory is None or not hasattr(ensemble, "estimators_"):
        members, resumed = _new_members(ensemble), False
    else:
        members, resumed = list(ensemble.estimators_), True
    jobs: list[Job] = []
    for member in members:
        own = member._memory_to_resume() if resumed else None
        like = jobs[0] if jobs else None
        jobs.append(
            assemble(
                member, X, y, sample_weight, own, member=True, like=like, **options
            )
        )
    return members, jobs


def keep_members(
    ensemble: Any, members: list[Any], jobs: list[Any], outcomes: list[Outcome]
) -> Outcome:
    """Make the members and their ensemble fitted; return the worst of the outcomes.

    Parameters
    ----------
    outcomes : list of Outcome
        Of all fits of all jobs, in their order.
    """
    rest = iter(outcomes)
    kept = [
        member._keep(job, [next(rest) for _ in job.fits])
        for member, job in zip(members, jobs, strict=True)
    ]
    ensemble.__dict__.update(_attributes(ensemble, members, jobs[0].target))
    ensemble.__dict__.update(jobs[0].choices, n_estimators_=len(members))
    _keep_summary(ensemble, members, kept)
    return min(kept, key=lambda outcome: _WORST_FIRST.index(outcome.status))


def _new_members(ensemble: Any) -> list[Any]:
    seed, members = draw_seed(ensemble.random_state), []
    for i in range(ensemble.n_estimators):
        member = clone(ensemble)
        member.set_callbacks()
        member.set_params(n_estimators=1, random_state=member_seed(seed, i))
        for name in ("n_features_in_", "feature_names_in_", "_coding"):
            if hasattr(ensemble, name):
                setattr(member, name, getattr(ensemble, name))
        members.append(member)
    return members


def _attributes(ensemble: Any, members: list[Any], target: Any) -> dict[str, Any]:
    return {
        "_model": Ensemble(tuple(member._model for member in members)),
        "_target": target,
        "estimators_": members,
        **ensemble._public_attributes(target),
    }


def _keep_summary(ensemble: Any, members: list[Any], kept: list[Outcome]) -> None:
    """Keep sums, means and the worst of what the members went through."""
    ensemble.n_iter_ = max(member.n_iter_ for member in members)
    ensemble.t_ = sum(member.t_ for member in members)
    ensemble.loss_ = float(np.mean([member.loss_ for member in members]))
    ensemble.fit_seconds_ = sum(member.fit_seconds_ for member in members)
    ensemble.n_parameters_ = sum(member.n_parameters_ for member in members)
    worst = min(kept, key=lambda outcome: _WORST_FIRST.index(outcome.status))
    ensemble.status_ = worst.status.value
    ensemble.stays_linear_ = worst.linear
    ensemble.column_paces_ = _mean_paces([member.column_paces_ for member in members])
    for name in ("n_layers_", "solver_", "alpha_", "batch_size_", "device_", "dtype_"):
        setattr(ensemble, name, getattr(members[0], name))
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "_memory"):
        ensemble.__dict__.pop(name, None)  # of an earlier fit as a single network


def _mean_paces(paces: list[np.ndarray | None]) -> np.ndarray | None:
    """Average over members; those without are as good as at one pace."""
    own = [each for each in paces if each is not None]
    if not own:
        return None
    even = [np.ones_like(own[0])] * (len(paces) - len(own))
    return np.mean(own + even, axis=0)
