"""Which models contain the baseline: those for which Clark and West have a test."""

from collections.abc import Mapping
from pickle import PicklingError
from typing import Any

import joblib
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

from .comparison_splits import Layout
from .estimators import ANNRegressor

# Steps after which a linear model can say what it could before.
SCALERS = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)
NOT_ONE_NUMBER = "it compares squared errors of one target of numbers"


def nesting_models(
    models: Mapping[str, BaseEstimator],
    baseline: str,
    layout: Layout,
    asked: bool,
    is_one_number: bool,
) -> tuple[str, ...]:
    """Name the models for which the test of Clark and West is shown.

    Parameters
    ----------
    models : dict of str to estimator
    baseline : str
    layout : Layout
    asked : bool
        Whether it was asked for, which is to say that all models contain the baseline.
    is_one_number : bool
        Whether there is one target of numbers.

    Raises
    ------
    ValueError
        If it was asked for where there is none.
    """
    reason = layout.no_test_because or ("" if is_one_number else NOT_ONE_NUMBER)
    if asked and reason:
        raise ValueError(f"There is no test of Clark and West here: {reason}.")
    if layout.window is None or reason:
        return ()
    others = [name for name in models if name != baseline]
    return tuple(n for n in others if asked or nests(models[n], models[baseline]))


def nests(model: BaseEstimator, baseline: BaseEstimator) -> bool:
    """Whether a network contains a linear regression, as far as one can see.

    It does with squared error and a linear skip, on the same columns.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import PolynomialFeatures
    >>> ols, network = LinearRegression(), ANNRegressor(linear_skip=True)
    >>> nests(network, ols), nests(make_pipeline(StandardScaler(), network), ols)
    (True, True)
    >>> nests(network, make_pipeline(PolynomialFeatures(2), ols))
    False
    """
    network, linear = innermost(model), innermost(baseline)
    return (
        isinstance(network, ANNRegressor)
        and _has_skip(network)
        and network.loss == "squared_error"
        and isinstance(linear, LinearRegression)
        and _see_the_same(model, baseline)
    )


def _has_skip(network: ANNRegressor) -> bool:
    """Whether a network has a linear skip, or will have one given rows enough."""
    asked = getattr(network, "linear_skip_", network.linear_skip)
    return asked is True or (asked == "auto" and network.early_stopping is not False)


def innermost(model: Any) -> Any:
    """Give what a Pipeline ends in, or the model itself."""
    return innermost(model[-1]) if isinstance(model, Pipeline) else model


def _see_the_same(one: Any, other: Any) -> bool:
    steps = _steps(one), _steps(other)
    if len(steps[0]) != len(steps[1]):
        return False
    return all(a is b or _are_equal(a, b) for a, b in zip(*steps, strict=True))


def _steps(model: Any) -> list[Any]:
    """List what changes the columns on their way to the innermost estimator."""
    if not isinstance(model, Pipeline):
        return []
    before = [step for _, step in model.steps[:-1] if step not in (None, "passthrough")]
    own = [step for step in before if not isinstance(step, SCALERS)]
    return own + _steps(model[-1])


def _are_equal(one: Any, other: Any) -> bool:
    """Whether two steps have the same settings; False where that cannot be seen."""
    try:
        return bool(joblib.hash(clone(one)) == joblib.hash(clone(other)))
    except (PicklingError, AttributeError, TypeError):  # a lambda, for instance
        return False
