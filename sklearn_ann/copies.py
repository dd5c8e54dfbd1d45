"""Any estimator fitted again: to some rows, with other weights, with another seed.

Where there are networks of ours inside, all fits asked for together are trained as one
stack.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.validation import has_fit_parameter

from .batching import batched_fits
from .estimators import ANNClassifier, ANNRegressor
from .fit_rows import FitRows

OURS = (ANNRegressor, ANNClassifier)
# Members of an ensemble's copy, where what it says is corrected afterwards.
MOST_MEMBERS = 4


class Kept(TransformerMixin, BaseEstimator):
    """A fitted transformer that stays as it is, whatever it is fitted to.

    Unlike scikit-learn's FrozenEstimator it shows no parameters, which seeds could be
    written to, and its clones are not the same object.
    """

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return no parameters."""
        return {}

    def __sklearn_clone__(self) -> Kept:
        # Not itself: a Pipeline leaves marks on its steps while it fits, and copies are
        # fitted side by side.
        return Kept(self.transformer)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> Kept:
        """Do nothing."""
        return self

    def transform(self, X: Any) -> Any:
        """Transform as the fitted transformer does."""
        return self.transformer.transform(X)


def unfitted(fitted: Any, light: bool = False) -> Any:
    """Clone an estimator; a search within it stands for its best estimator.

    Parameters
    ----------
    fitted : fitted estimator
    light : bool, default=False
        Keep transformers that have not seen targets as they are fitted, and
        `MOST_MEMBERS` of an ensemble.
    """
    if hasattr(fitted, "best_estimator_"):
        return unfitted(fitted.best_estimator_, light)
    if isinstance(fitted, Pipeline):
        return Pipeline(_steps(fitted, light))
    if isinstance(fitted, TransformedTargetRegressor):
        return clone(fitted).set_params(regressor=unfitted(fitted.regressor_, light))
    copy = clone(fitted)
    if isinstance(copy, OURS):
        copy.set_params(verbose=False)
        copy.set_callbacks()
        if light:
            members = min(fitted.n_estimators_, MOST_MEMBERS)
            copy.set_params(n_estimators=members)
    return copy


def _steps(fitted: Pipeline, light: bool) -> list[tuple[str, Any]]:
    """List the steps of a copy: its transformers, cloned or kept, and its end."""
    *before, (name, last) = fitted.steps
    keeps = light and not any(learns_from_targets(each) for _, each in before)
    kept = [
        (own, Kept(each) if keeps else clone(each))
        if each not in (None, "passthrough")
        else (own, each)
        for own, each in before
    ]
    return [*kept, (name, unfitted(last, light))]


def learns_from_targets(transformer: Any) -> bool:
    """Whether a transformer, or one within it, may look at the targets in its fit."""
    if transformer is None or isinstance(transformer, str):
        return False
    inner = transformer.get_params(deep=True).values()
    return any(
        hasattr(each, "predict")
        or type(each).__module__.startswith("sklearn.feature_selection")
        or get_tags(each).target_tags.required
        for each in (transformer, *inner)
        if hasattr(each, "fit") and not isinstance(each, type)
    )


def seeded(estimator: Any, seed: int) -> Any:
    """Clone an estimator, and give a seed to all of it that takes one."""
    copy = clone(estimator)
    names = [
        name
        for name in copy.get_params(deep=True)
        if name == "random_state" or name.endswith("__random_state")
    ]
    return copy.set_params(**dict.fromkeys(names, seed))


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """An estimator to be fitted again.

    Attributes
    ----------
    estimator : estimator
        Not fitted.
    prefix : str
        What stands before the names of fit parameters that its innermost part takes.
    takes_weights : bool
        Whether that part does.
    is_ours : bool
        Whether that part is a network of ours.
    """

    estimator: Any
    prefix: str
    takes_weights: bool
    is_ours: bool

    @classmethod
    def of(cls, fitted: Any, light: bool = False) -> Template:
        """Take a fitted estimator of any kind; `light` as in `unfitted`."""
        estimator = core = unfitted(fitted, light)
        prefix = ""
        while True:
            if isinstance(core, Pipeline):
                name, core = core.steps[-1]
                prefix += f"{name}__"
            elif isinstance(core, TransformedTargetRegressor):
                core = core.regressor
            else:
                takes = has_fit_parameter(core, "sample_weight")
                return cls(estimator, prefix, takes, isinstance(core, OURS))

    def fit(
        self,
        rows: FitRows,
        index: np.ndarray,
        weight: np.ndarray,
        seed: int,
    ) -> Any:
        """Fit to some rows.

        Parameters
        ----------
        rows : FitRows
        index : ndarray of int of shape (r,)
            Their numbers, repeated where a row counts several times.
        weight : ndarray of shape (r,)
        seed : int

        Raises
        ------
        ValueError
            When it takes no weights, and rows count differently.
        """
        options: dict[str, Any] = {}
        if (weight != 1.0).any():
            if not self.takes_weights:
                raise ValueError(f"{self.estimator!r} takes no sample_weight.")
            options["sample_weight"] = weight
        if rows.groups is not None and self.is_ours:
            options["groups"] = rows.groups[index]
        X, y = rows.table.take(index).native, _safe_indexing(rows.y, index)
        named = {f"{self.prefix}{name}": value for name, value in options.items()}
        return seeded(self.estimator, seed).fit(X, y, **named)


Task = tuple[np.ndarray, np.ndarray, int]
"""Rows, their weights and the seed of one fit."""


def fitted_copies(
    template: Template, rows: FitRows, tasks: Iterable[Task]
) -> tuple[list[Any], int]:
    """Fit an estimator once for each task, all of them together.

    Returns
    -------
    list of fitted estimators, or the errors that ended their fits
    int
        How many warned of not having converged.
    """

    def attempt(task: Task) -> Any:
        try:
            return template.fit(rows, *task)
        except Exception as error:  # the user's code, and whatever it raises
            return error

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ConvergenceWarning)
        if _holds_networks(template.estimator):
            with batched_fits():
                found = list(Parallel()(delayed(attempt)(task) for task in tasks))
        else:
            found = [attempt(task) for task in tasks]
    return found, len(said)


def _holds_networks(estimator: Any) -> bool:
    parts = (estimator, *estimator.get_params(deep=True).values())
    return any(isinstance(part, OURS) for part in parts)
