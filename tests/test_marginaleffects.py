"""The toolbox of marginaleffects on our networks, where that package is installed."""

import numpy as np
import pytest
from econ_data import anes96, spector, wage1, wages_with_levels
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    average_marginal_effects,
    average_predictions,
)

marginaleffects = pytest.importorskip("marginaleffects")
adapter = pytest.importorskip("sklearn_ann.marginaleffects_adapter")


def agree(theirs, ours, rtol):
    """Both tables, in one order; their derivatives are numerical."""
    names = ["term", "contrast", "group"]
    theirs = theirs.sort([n for n in names if n in theirs.columns])
    frame = ours.to_frame().rename(columns={"class": "group"})
    frame = frame.sort_values([n for n in names if n in frame.columns])
    np.testing.assert_allclose(theirs["estimate"], frame["estimate"], rtol=rtol)
    np.testing.assert_allclose(theirs["std_error"], frame["std_error"], rtol=rtol)


def test_slopes_and_contrasts():
    X, y = spector()
    fitted = ANNClassifier(()).fit(X, y)
    model = adapter.NetworkModel(fitted, X, y, vcov="classical")
    ours = average_marginal_effects(fitted, X, y, vcov="classical")
    agree(marginaleffects.avg_slopes(model), ours, 1e-3)
    ours = average_predictions(fitted, X, y, vcov="classical")
    agree(marginaleffects.avg_predictions(model), ours, 1e-4)


def test_a_network():
    X, y = wage1()
    fitted = ANNRegressor(
        2, activation="tanh", solver="lbfgs", alpha=1.0, tol=1e-8, max_iter=5000,
        random_state=0,
    ).fit(X, y)  # fmt: skip
    model = adapter.NetworkModel(fitted, X, y)
    agree(
        marginaleffects.avg_slopes(model), average_marginal_effects(fitted, X, y), 1e-3
    )
    test = marginaleffects.avg_slopes(model, hypothesis="b0 = b1")
    ours = average_marginal_effects(fitted, X, y).wald_test("educ = exper")
    np.testing.assert_allclose(test["statistic"][0] ** 2, ours.statistic, rtol=5e-3)


def test_classes():
    X, y = anes96()
    fitted = ANNClassifier(()).fit(X, y)
    model = adapter.NetworkModel(fitted, X, y, vcov="classical")
    theirs = marginaleffects.avg_comparisons(model, variables={"income": 1})
    ours = average_marginal_effects(
        fitted, X, y, features="income", kind="contrast", vcov="classical"
    )
    theirs = theirs.sort("group")
    np.testing.assert_allclose(theirs["estimate"], ours.estimate, rtol=1e-6)


def test_levels_through_a_pipeline():
    X, y = wages_with_levels()
    fitted = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(), ["region", "place"]), remainder="passthrough"
        ),
        LinearRegression(),
    ).fit(X, y)
    theirs = marginaleffects.avg_comparisons(adapter.NetworkModel(fitted, X, y))
    ours = average_marginal_effects(fitted, X, y, kind={"educ": "contrast"})
    np.testing.assert_allclose(
        np.sort(theirs["estimate"]), np.sort(ours.estimate), rtol=1e-6
    )
    np.testing.assert_allclose(
        np.sort(theirs["std_error"]), np.sort(ours.std_error), rtol=1e-4
    )


def test_names_that_a_formula_cannot_read():
    X, y = wage1()
    X = X.rename(columns={"educ": "years of school"})
    fitted = LinearRegression().fit(X, y)
    with pytest.raises(ValueError, match="'years of school' is none"):
        adapter.NetworkModel(fitted, X, y)
