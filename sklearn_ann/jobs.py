"""What an estimator wants trained: data and parameters, turned into fits."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from .assembly import (
    Memory,
    Rows,
    draw_seed,
    group_codes,
    learned_units,
    list_fits,
    refilled,
    split_off,
    unwrapped,
)
from .defaults import choices
from .encoding import Target
from .engine.fit import Fit
from .fineness import fine_columns
from .model import Model, Units
from .parameters import Plan, fine_ramps, make_architecture, make_plan, most_one_hot
from .relevance import at_pace, have_paces, learned_paces, of_features
from .requests import Request
from .watching import Attributes, Watcher, validation_scorer


@dataclass(frozen=True, slots=True)
class Job:
    """What an estimator wants trained, and what it needs to keep the outcomes.

    Jobs of several estimators can be trained by one call of `fit_networks`.

    Attributes
    ----------
    fits : list of Fit
        One, or one for each restart.
    even : list of Fit
        The same with all columns at one pace; none where that makes no difference.
    paces : ndarray of shape (d,) or None
        Of the user's columns.
    plan : Plan
    target : Target
    model : Model
        Units, without parameters.
    attributes : callable (row) -> dict
        Parameters (P,) -> attributes that make the estimator ready to predict.
    watcher : Watcher
        Silent until it is told to begin.
    seed : int
    whole, held_out : Rows, Rows or None
        All rows; those of them, or others, that validate.
    clusters : ndarray of int of shape (n,) or None
        Groups of the rows that validate.
    starts_linear : bool
        Whether the linear skip starts at the linear model of the fit's rows.
    choices : dict
        Fitted attributes that show what "auto" was.
    """

    fits: list[Fit]
    even: list[Fit]
    paces: np.ndarray | None
    plan: Plan
    target: Target
    model: Model
    attributes: Attributes
    watcher: Watcher
    seed: int
    whole: Rows
    held_out: Rows | None
    clusters: np.ndarray | None
    starts_linear: bool
    choices: dict[str, Any]

    @property
    def requests(self) -> list[Request]:
        """What to ask `fit_networks` for, in the order of the fits."""
        return [self.request(fit) for fit in self.fits]

    def request(self, fit: Fit) -> Request:
        """Ask for a fit of this job's network."""
        plan, loss = self.plan, self.target.loss
        place = (plan.options, plan.device, plan.dtype)
        return Request(fit, plan.architecture, loss, *place, self.starts_linear)


def assemble(
    estimator: Any,
    X: Any,
    y: np.ndarray,
    sample_weight: Any,
    memory: Memory | None = None,
    *,
    validation: tuple[Any, Any, Any] = (None, None, None),
    groups: Any = None,
    given: tuple[Any, Any] = (None, None),
    classes: Any = None,
    incremental: bool = False,
    member: bool = False,
    target: Target | None = None,
    like: Job | None = None,
) -> Job:
    """Turn checked data and parameters into fits; nothing is trained or kept.

    Parameters
    ----------
    estimator : ANNRegressor or ANNClassifier
        As `decided` returns it: no parameter is "auto" any more.
    X : ndarray or csr_array of shape (n, d)
    y : ndarray of shape (n,) or (n, m)
    sample_weight : array-like of shape (n,) or None
    memory : Memory, default=None
        Of the fit to go on from.
    validation, groups, given, classes
        As `fit` and `partial_fit` take them.
    incremental : bool, default=False
        Whether this is a call of `partial_fit`.
    member : bool, default=False
        Whether the estimator is a member of an ensemble.
    target : Target, default=None
        What another fit to the same y has learned of it.
    like : Job, default=None
        Of another member of the same ensemble: units and tables are taken over.

    Returns
    -------
    Job
    """
    if target is None:
        target = estimator._target if memory else estimator._learn_target(y, classes)
    rows = everything = estimator._weighted(X, y, sample_weight, target)
    seed = memory.seed if memory else draw_seed(estimator.random_state)
    rows, held_out = _validating(estimator, rows, validation, groups, seed, target)
    # Members share one table, so their scales come from all rows, held out or not.
    scaled = everything if member else rows
    units = _units(estimator, scaled, target, memory, like)
    fine = _fine(estimator, scaled, units, target, memory, like)
    shape = (rows.X.shape[1], rows.y.shape[1])
    architecture = make_architecture(estimator, *shape, target, units.design, fine)
    plan = make_plan(estimator, architecture, len(rows.index), incremental=incremental)
    model = _unfitted_model(estimator, units, target, plan, memory)
    if memory and memory.kind != plan.kind:
        memory = Memory(seed, None)  # another solver cannot use this one's state
    attributes = functools.partial(estimator._attributes, model, target)
    plain = list_fits(
        rows,
        held_out,
        plan,
        model,
        seed=seed,
        init=estimator.init,
        n_init=estimator.n_init,
        given=given,
        memory=memory,
        resumed=estimator._model.parameters if memory else None,
        keep_state=estimator.warm_start or incremental,
        made=(like.fits[0].x, like.fits[0].y) if like else None,
    )
    if held_out is not None:
        scorer = validation_scorer(estimator, held_out, attributes)
        for fit in plain:
            fit.validate = scorer
    watcher = Watcher(estimator, rows, sample_weight, attributes)
    new = memory is None and all(start is None for start in given)
    paces = _paces(plain[0], model, plan) if new else None
    fits, even = plain, []
    if paces is not None:
        fits = at_pace(plain, paces, architecture, estimator.init)
        even = at_pace(plain, np.ones_like(paces), architecture, estimator.init)
    clusters = None
    if groups is not None and held_out is not None and held_out.X is rows.X:
        clusters = group_codes(groups, len(everything.labels))
    return Job(
        fits,
        even,
        None if paces is None else of_features(paces, units.design),
        plan,
        target,
        model,
        attributes,
        watcher,
        seed,
        everything,
        held_out,
        clusters,
        new and architecture.linear_skip,
        choices(estimator),
    )


def _validating(
    estimator: Any, rows: Rows, given: tuple, groups: Any, seed: int, target: Target
) -> tuple[Rows, Rows | None]:
    """Take the validation rows given, or hold some out; return both sides."""
    names = ("X_val", "y_val", "sample_weight_val")
    X_val, y_val, weight_val = map(unwrapped, names, given)
    lone = (X_val is None) != (y_val is None)
    if lone or (X_val is None and weight_val is not None):
        raise ValueError(
            "X_val and y_val belong together, and sample_weight_val to both of "
            "them: give both, or none of the three to hold out "
            "validation_fraction of the rows."
        )
    if X_val is not None:
        X_val, y_val = estimator._check(X_val, y_val, reset=False)
        return rows, estimator._weighted(X_val, y_val, weight_val, target)
    if not estimator.early_stopping:
        return rows, None
    return split_off(rows, estimator.validation_fraction, seed, target, groups)


def _units(
    estimator: Any, rows: Rows, target: Target, memory: Memory | None, like: Job | None
) -> Units:
    """Learn units from rows, or take over those of the fitted network, of a job."""
    if memory is not None:
        return estimator._model.units
    if like is not None:
        return refilled(like.model.units, rows)
    return learned_units(
        rows,
        estimator.standardize,
        target,
        estimator.is_categorical_,
        most_one_hot(estimator),
    )


def _fine(
    estimator: Any,
    rows: Rows,
    units: Units,
    target: Target,
    memory: Memory | None,
    like: Job | None,
) -> tuple[int, ...]:
    """Find the columns that need fine ramps, or take over those of another network."""
    if estimator.numeric_embedding != "piecewise_linear":
        return ()
    if memory is not None:
        return fine_ramps(estimator._model.architecture)
    if like is not None:
        return fine_ramps(like.model.architecture)
    return fine_columns(rows, units, target)


def _paces(fit: Fit, model: Model, plan: Plan) -> np.ndarray | None:
    """Return the columns' paces; None where they have none, or all the same."""
    if not have_paces(fit, plan.architecture, plan.options.name):
        return None
    found = learned_paces(fit, model.loss, plan.architecture)
    return found if found.min(initial=1.0) < 1.0 else None


def _unfitted_model(
    estimator: Any, units: Units, target: Target, plan: Plan, memory: Memory | None
) -> Model:
    """Return the network in its units, with parameters still to come."""
    if memory is None:
        return Model(plan.architecture, target.loss, units)
    fitted = estimator._model
    loss = estimator._asked_loss(target)
    if (plan.architecture, loss) != (fitted.architecture, fitted.loss):
        raise ValueError(
            "warm_start and partial_fit go on with the fitted network, so its "
            f"layers and loss must stay: {fitted.architecture} with loss "
            f"{fitted.loss.name!r} was fitted, {plan.architecture} with loss "
            f"{loss.name!r} is asked for. Use warm_start=False to start anew."
        )
    return Model(plan.architecture, loss, units)
