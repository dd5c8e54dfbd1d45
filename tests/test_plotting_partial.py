"""Averages along a column: those of the estimator, with bands from its other fits."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pictures import TEXTBOOK, drawn, legend, pyplot_left_alone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    average_marginal_effects,
    average_predictions,
    bootstrap_fits,
)
from sklearn_ann.plotting import PartialEffectDisplay

X, Y = load_diabetes(return_X_y=True, as_frame=True)
X, Y = X.iloc[:150, [0, 2, 3]], Y[:150]
TABLE = X.assign(region=np.array(["east", "north", "south"])[np.arange(150) % 3])
TABLE["visits"] = np.arange(150) % 4
TABLE["urban"] = np.arange(150) % 2
IRIS, KINDS = load_iris(return_X_y=True, as_frame=True)
KINDS = KINDS.map({0: "setosa", 1: "versicolor", 2: "virginica"})
draw = PartialEffectDisplay.from_estimator


def network(estimator=ANNRegressor, **parameters):
    given = {**TEXTBOOK, "activation": "tanh", "solver": "lbfgs", "alpha": 2.0}
    return estimator(3, **{**given, "max_iter": 400, "tol": 1e-3, **parameters})


def fitted(estimator, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


@pytest.fixture(scope="module")
def single():
    return fitted(network(), X, Y)


@pytest.fixture(scope="module")
def pipeline():
    columns = make_column_transformer(
        (OneHotEncoder(), ["region"]), (StandardScaler(), ["age", "bmi", "visits"])
    )
    return fitted(make_pipeline(columns, network()), TABLE, Y)


@pytest.fixture
def ax():
    return Figure().subplots()


# ------------------------------------------------------------------------------- values


def test_predictions_are_the_estimators(single, ax):
    display = draw(single, X, "bmi", grid=5, ax=ax)
    low, high = np.quantile(X["bmi"], (0.01, 0.99))
    np.testing.assert_allclose(display.grid, np.linspace(low, high, 5))
    expected = [single.predict(X.assign(bmi=value)).mean() for value in display.grid]
    np.testing.assert_allclose(display.values[:, 0], expected)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), np.c_[display.grid, expected])
    assert display.low is None
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("bmi", "average prediction")
    margin = average_predictions(single, X, at={"bmi": display.grid[2]})
    assert display.values[2, 0] == pytest.approx(margin.estimate[0])


def test_slopes_are_those_of_average_marginal_effects(pipeline, ax):
    display = draw(pipeline, TABLE, "age", kind="effect", grid=[0.0, 0.05], ax=ax)
    for value, slope in zip(display.grid, display.values[:, 0], strict=True):
        at = average_marginal_effects(
            pipeline, TABLE, features="age", at={"age": value}
        )
        assert slope == pytest.approx(at.estimate[0], rel=1e-6)
    assert ax.get_ylabel() == "average slope of the prediction"


def test_levels_have_predictions_and_contrasts(pipeline, ax):
    display = draw(pipeline, TABLE, "region", ax=ax)
    margins = average_predictions(pipeline, TABLE, features="region")
    assert list(display.grid) == ["east", "north", "south"]
    np.testing.assert_allclose(display.values[:, 0], margins.estimate)
    assert ax.get_yticklabels()[0].get_text() == "east (33%)"
    ax = Figure().subplots()
    display = draw(pipeline, TABLE, "region", kind="effect", reference="north", ax=ax)
    effects = average_marginal_effects(
        pipeline, TABLE, features="region", reference="north"
    )
    assert list(display.grid) == ["east - north", "south - north"]
    np.testing.assert_allclose(display.values[:, 0], effects.estimate)
    (points,) = [each for each in ax.lines if each.get_label() == "average"]
    np.testing.assert_array_equal(points.get_ydata(), [1, 0])  # the first on top
    np.testing.assert_allclose(points.get_xdata(), effects.estimate)


def test_of_many_levels_the_most_frequent_are_drawn(pipeline, ax):
    uneven = TABLE.iloc[[*range(0, 150, 3), *range(2, 90, 3), *range(1, 60, 3)]]
    assert uneven["region"].value_counts().to_dict() == {
        "east": 50,
        "south": 30,
        "north": 20,
    }
    display = draw(pipeline, uneven, "region", grid=2, ax=ax)
    assert list(display.grid) == ["east", "south"]
    some = draw(pipeline, TABLE, "region", kind="effect", grid=["south"], ax=ax)
    assert list(some.grid) == ["south - east"]
    with pytest.raises(ValueError, match=r"grid must name levels of 'region'.*'west'"):
        draw(pipeline, TABLE, "region", grid=["west"])


def test_few_numbers_are_taken_as_they_are(pipeline, ax):
    display = draw(pipeline, TABLE, "visits", ax=ax)
    assert not display.is_levels
    np.testing.assert_array_equal(display.grid, [0, 1, 2, 3])


def test_zero_and_one_are_levels(ax):
    line = fitted(LinearRegression(), TABLE.drop(columns="region"), Y)
    display = draw(line, TABLE.drop(columns="region"), "urban", ax=ax)
    assert display.is_levels
    assert np.diff(display.values[:, 0]) == pytest.approx(line.coef_[-1])


def test_classes_have_lines_of_their_own(ax):
    logit = fitted(network(ANNClassifier), IRIS, KINDS)
    display = draw(logit, IRIS, "petal width (cm)", grid=3, ax=ax)
    expected = [
        logit.predict_proba(IRIS.assign(**{"petal width (cm)": value})).mean(axis=0)
        for value in display.grid
    ]
    np.testing.assert_allclose(display.values, expected)
    assert legend(ax) == ["setosa", "versicolor", "virginica"]
    looks = {(str(e.get_linestyle()), e.get_marker()) for e in ax.lines[:3]}
    assert len(looks) == 3  # without colour
    one = draw(logit, IRIS, "petal width (cm)", grid=3, output="virginica", ax=ax)
    np.testing.assert_allclose(one.values[:, 0], display.values[:, 2])
    with pytest.raises(ValueError, match="no output 'rose'; there is 'setosa', 'versi"):
        draw(logit, IRIS, "petal width (cm)", output="rose")


def test_a_binary_classifier_has_one_probability(ax):
    logit = fitted(network(ANNClassifier), IRIS, KINDS == "virginica")
    display = draw(logit, IRIS, 3, grid=[1.0, 2.0], ax=ax)
    expected = [
        logit.predict_proba(IRIS.assign(**{"petal width (cm)": value}))[:, 1].mean()
        for value in (1.0, 2.0)
    ]
    np.testing.assert_allclose(display.values[:, 0], expected)
    assert ax.get_ylabel() == "average probability of True"


def test_any_estimator_will_do(ax):
    forest = RandomForestRegressor(5, random_state=0).fit(X, Y)
    display = draw(forest, X, "bmi", grid=4, ax=ax)
    expected = [forest.predict(X.assign(bmi=value)).mean() for value in display.grid]
    np.testing.assert_allclose(display.values[:, 0], expected)
    effect = draw(forest, X, "bmi", kind="effect", grid=[0.0], ax=ax)
    half = X["bmi"].std(ddof=0) / 2
    ends = [forest.predict(X.assign(bmi=value)).mean() for value in (-half, half)]
    assert effect.values[0, 0] == pytest.approx(ends[1] - ends[0])
    assert ax.get_ylabel() == "average effect of +1 sd on the prediction"


def test_arrays_have_columns_by_number(ax):
    line = LinearRegression().fit(X.to_numpy(), Y)
    display = draw(line, X.to_numpy(), 1, kind="effect", ax=ax)
    assert display.feature == "x1"
    np.testing.assert_allclose(display.values, line.coef_[1])


def test_many_rows_are_thinned_out(single):
    display = draw(single, X, "bmi", grid=[0.0], max_rows=3, ax=Figure().subplots())
    some = X.iloc[[0, 74, 149]].assign(bmi=0.0)
    assert display.values[0, 0] == pytest.approx(single.predict(some).mean())
    assert len(display.observed) == len(X)


# -------------------------------------------------------------------------------- bands


def test_the_band_of_an_ensemble_is_the_range_of_its_members(ax):
    ensemble = fitted(network(n_estimators=3, solver="adam", max_iter=20), X, Y)
    display = draw(ensemble, X, "bmi", grid=4, ax=ax)
    members = [draw(m, X, "bmi", grid=4, ax=ax).values for m in ensemble.estimators_]
    np.testing.assert_allclose(display.low, np.min(members, axis=0))
    np.testing.assert_allclose(display.high, np.max(members, axis=0))
    np.testing.assert_allclose(display.values, np.mean(members, axis=0))
    assert display.band == "range of 3 members"
    slopes = draw(ensemble, X, "bmi", kind="effect", grid=4, ax=ax)
    members = [
        draw(m, X, "bmi", kind="effect", grid=4, ax=ax).values
        for m in ensemble.estimators_
    ]
    np.testing.assert_allclose(slopes.low, np.min(members, axis=0), rtol=1e-5)


def test_members_behind_a_transformed_target():
    ensemble = TransformedTargetRegressor(
        network(n_estimators=2, solver="adam", max_iter=20),
        func=np.log,
        inverse_func=np.exp,
    )
    model = fitted(ensemble, X, Y)
    display = draw(model, X, "bmi", grid=2, ax=Figure().subplots())
    expected = [
        np.exp(member.predict(X.assign(bmi=display.grid[0]))).mean()
        for member in model.regressor_.estimators_
    ]
    assert display.low[0, 0] == pytest.approx(min(expected))
    assert display.high[0, 0] == pytest.approx(max(expected))


@pytest.mark.parametrize("kind", ["prediction", "effect"])
@pytest.mark.parametrize("feature", ["age", "region"])
def test_the_band_of_a_bootstrap_holds_its_percentiles(pipeline, kind, feature, ax):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        replicates = bootstrap_fits(
            pipeline, TABLE, Y, 6, refit_transformers=False, random_state=0
        )
    options = {"kind": kind, "grid": 3}
    display = draw(
        pipeline,
        TABLE,
        feature,
        replicates=replicates,
        conf_level=0.8,
        ax=ax,
        **options,
    )
    # One at a time, each by its own derivatives.
    other = Figure().subplots()
    each = [draw(r, TABLE, feature, ax=other, **options).values for r in replicates]
    low, high = np.quantile(each, (0.1, 0.9), axis=0)
    np.testing.assert_allclose(display.low, low, rtol=1e-5)
    np.testing.assert_allclose(display.high, high, rtol=1e-5)
    assert display.band == "80% bootstrap interval"
    assert "80% bootstrap interval" in legend(ax)
    (band,) = ax.collections
    if feature == "region":
        ends = np.array(band.get_segments())[:, :, 0]
        np.testing.assert_allclose(ends, np.column_stack([low, high]), rtol=1e-5)
    else:
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.min() == pytest.approx(low.min(), rel=1e-5)
        assert heights.max() == pytest.approx(high.max(), rel=1e-5)
    # A sequence of fitted estimators is as good.
    again = draw(
        pipeline,
        TABLE,
        feature,
        replicates=list(replicates),
        conf_level=0.8,
        ax=other,
        **options,
    )
    np.testing.assert_allclose(again.low, display.low, rtol=1e-7)


def test_bands_of_classes(ax):
    logit = network(ANNClassifier, max_iter=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        replicates = bootstrap_fits(logit, IRIS, KINDS, 4, random_state=0)
        logit.fit(IRIS, KINDS)
    display = draw(logit, IRIS, 3, grid=3, replicates=replicates, ax=ax)
    assert display.low.shape == (3, 3)
    at = IRIS.assign(**{"petal width (cm)": display.grid[1]})
    means = replicates.predict_proba(at).mean(axis=1)
    np.testing.assert_allclose(
        display.high[1], np.quantile(means, 0.975, axis=0), rtol=1e-7
    )
    with pytest.raises(ValueError, match="3 outputs and the estimator 1"):
        draw(logit.fit(IRIS, KINDS == "setosa"), IRIS, 3, replicates=replicates)


# ------------------------------------------------------------------------------ drawing


def test_marks_at_the_foot_are_the_data(single, ax):
    draw(single, X, "bmi", ax=ax)
    (rug,) = [each for each in ax.lines if each.get_marker() == "|"]
    low, high = np.quantile(X["bmi"], (0.01, 0.99))
    inside = np.sort(X["bmi"][X["bmi"].between(low, high)])
    np.testing.assert_array_equal(rug.get_xdata(), inside)


def test_missing_values_are_no_level():
    table = pd.DataFrame({"a": np.arange(60.0), "b": ["x", "y", None] * 20})
    model = fitted(network(max_iter=20), table, np.arange(60.0))
    display = draw(model, table, "b", kind="effect", ax=Figure().subplots())
    effects = average_marginal_effects(model, table, features="b")
    np.testing.assert_allclose(display.values[:, 0], effects.estimate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        replicates = bootstrap_fits(network(max_iter=20), table, np.arange(60.0), 3)
    band = draw(
        model, table, "b", kind="effect", replicates=replicates, ax=Figure().subplots()
    )
    each = [
        average_marginal_effects(r, table, features="b").estimate for r in replicates
    ]
    np.testing.assert_allclose(band.high[:, 0], np.quantile(each, 0.975, axis=0))


def test_axes_that_are_given_are_used_and_pyplot_is_left_alone(single):
    ax = Figure().subplots()
    with pyplot_left_alone():
        display = draw(single, X, "bmi", ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure


@pytest.mark.parametrize("feature", ["age", "region"])
def test_without_axes_there_is_one_new_figure(pipeline, feature):
    display = draw(pipeline, TABLE, feature, grid=3)
    assert plt.get_fignums() == [display.figure_.number]
    drawn(display)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "odds"}, "prediction, effect"),
        ({"feature": "height"}, "There is no column 'height'"),
        ({"conf_level": 95}, "between 0 and 1"),
        ({"grid": 1}, "at least 2"),
        ({"grid": [np.nan]}, "finite values"),
        ({"replicates": []}, "replicates is empty"),
        ({"output": 3}, "there is a single one"),
    ],
)
def test_wrong_input_is_refused(single, options, message):
    options = {"feature": "bmi", **options}
    with pytest.raises(ValueError, match=message):
        draw(single, X, **options)
    assert not plt.get_fignums()


def test_a_constant_column_and_an_unfitted_estimator_are_refused(single):
    with pytest.raises(ValueError, match="constant in X"):
        draw(single, X.assign(bmi=0.0), "bmi")
    with pytest.raises(NotFittedError):
        draw(ANNRegressor(), X, "bmi")
