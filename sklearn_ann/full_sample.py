"""Models fitted to all rows: effects, likelihood, and what the linear ones miss.

Cross-validation says what a model predicts; this is about the fit that one would
report. Letters: n rows, M models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.metrics import r2_score

from .effects import average_marginal_effects
from .estimates import Estimates
from .fit_likelihood import Likelihood, columns_seen, is_unweighted, likelihood_of
from .fit_rows import FitRows, checked_rows_of_fit
from .questions import Invalid
from .reading import Reading, read
from .specification import neglected_nonlinearity_test
from .specification_result import NeglectedNonlinearityTest

# Draws of hidden weights in the test for neglected nonlinearity.
DRAWS = 10
# What "auto" does where the sandwich does not hold, in words.
FALLBACKS = {
    "none": "no standard errors",
    "debiased": "debiased effects",
    "bootstrap": "bootstrapped standard errors",
}
# By the loss of a fit without hidden layer: the model under that test.
TESTED = {"squared_error": "linear", "log_loss": "logit"}


@dataclass(frozen=True, slots=True, eq=False)
class AllRows:
    """Rows that all models are fitted to, and what is asked of the fits.

    Attributes
    ----------
    X, y : array-like
    params : dict or None
        Passed to ``fit``.
    groups : array-like of shape (n,) or None
        Clusters of rows that are not independent.
    features : str, int, sequence of them or None
        Columns whose effects are asked for; None for all.
    vcov : str
        As for `average_marginal_effects`.
    random_state : int or None
    """

    X: Any
    y: Any
    params: Mapping[str, Any] | None
    groups: Any
    features: Any
    vcov: str
    random_state: int | None

    @property
    def sample_weight(self) -> Any:
        """Weights that ``fit`` hands to a model or to a step of it, or None."""
        given = self.params or {}
        names = [name for name in given if name.split("__")[-1] == "sample_weight"]
        return given[names[0]] if names else None


@dataclass(frozen=True, slots=True, eq=False)
class FullFit:
    """A model fitted to all rows.

    Attributes
    ----------
    estimator : estimator
        Fitted.
    effects : Estimates or None
        Average marginal effects; None where the method asked for does not hold.
    r2 : float
        In sample; nan for classifiers.
    likelihood : Likelihood or None
        None where it maximises none.
    nonlinearity : NeglectedNonlinearityTest or None
        White's test, for linear regressions and logits, combined from ten draws.
    notes : tuple of str
        What else to know, to be read after the model's name and a colon.
    """

    estimator: Any
    effects: Estimates | None
    r2: float
    likelihood: Likelihood | None
    nonlinearity: NeglectedNonlinearityTest | None
    notes: tuple[str, ...]


def fit_all_rows(
    models: Mapping[str, BaseEstimator], rows: AllRows
) -> tuple[FullFit, ...]:
    """Fit every model to all rows, and say what there is to say of it.

    Parameters
    ----------
    models : dict of str to M estimators
    rows : AllRows

    Returns
    -------
    tuple of M FullFit

    Raises
    ------
    ValueError
        For features that are no columns, and a `vcov` that does not exist. One that
        does not hold for a model leaves its effects out, with a note.
    """
    return tuple(_named_fit(name, model, rows) for name, model in models.items())


def _named_fit(name: str, model: BaseEstimator, rows: AllRows) -> FullFit:
    try:
        return _fit(model, rows)
    except Exception as error:
        error.add_note(f"This is the model {name!r} of compare(), fitted to all rows.")
        raise


def _fit(model: BaseEstimator, rows: AllRows) -> FullFit:
    fitted = clone(model).fit(rows.X, rows.y, **(rows.params or {}))
    reading = read(fitted)
    own = checked_rows_of_fit(reading, rows.X, rows.y, rows.sample_weight)
    effects, notes = _effects(fitted, rows)
    return FullFit(
        fitted,
        effects,
        _r2(fitted, rows),
        likelihood_of(fitted, reading, own),
        _nonlinearity(reading, own, rows.random_state),
        notes,
    )


def _effects(fitted: Any, rows: AllRows) -> tuple[Estimates | None, tuple[str, ...]]:
    try:
        effects = average_marginal_effects(
            fitted,
            rows.X,
            rows.y,
            sample_weight=rows.sample_weight,
            groups=rows.groups,
            features=rows.features,
            vcov=rows.vcov,
            random_state=rows.random_state,
        )
    except Invalid as refusal:
        return None, (f"no effects. {refusal}",)
    return effects, tuple(_about(effects))


def _about(effects: Estimates) -> Iterable[str]:
    basis = effects.basis
    if basis.method in FALLBACKS:
        why = basis.why.removeprefix("auto; ").rstrip(".")
        yield f"{FALLBACKS[basis.method]}: {why}."
    if basis.penalised and basis.method != "none":
        yield "standard errors are those of the penalised fit."


def _r2(fitted: Any, rows: AllRows) -> float:
    if is_classifier(fitted):
        return float("nan")
    predicted = fitted.predict(rows.X)
    return float(r2_score(rows.y, predicted, sample_weight=rows.sample_weight))


def _nonlinearity(
    reading: Reading, rows: FitRows, random_state: int | None
) -> NeglectedNonlinearityTest | None:
    """Test linear models of one target; None for others, and where nothing is left."""
    model = TESTED.get(reading.model.loss.name) if reading.is_linear else None
    several = np.ndim(rows.y) > 1 or reading.target_transformer is not None
    if model is None or several or not reading.has_intercept:
        return None
    if not is_unweighted(reading, rows):
        return None
    try:
        return neglected_nonlinearity_test(
            columns_seen(reading, rows),
            np.asarray(rows.y),
            model=model,
            n_draws=DRAWS,
            random_state=random_state,
        )
    except ValueError:
        # An exact fit, separated classes, a single 0/1 column: nothing to test.
        return None
