"""Forest plots: estimates and intervals are those of the results."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pictures import TEXTBOOK, drawn, legend, pyplot_left_alone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sklearn_ann import (
    ANNRegressor,
    average_marginal_effects,
    average_predictions,
    coefficient_table,
)
from sklearn_ann.plotting import MarginalEffectsDisplay

X, Y = load_diabetes(return_X_y=True, as_frame=True)
X = X[["age", "bmi", "bp", "s5"]]
IRIS, KINDS = load_iris(return_X_y=True, as_frame=True)
KINDS = KINDS.map({0: "setosa", 1: "versicolor", 2: "virginica"})


@pytest.fixture(scope="module")
def ols():
    return average_marginal_effects(LinearRegression().fit(X, Y), X, Y)


@pytest.fixture(scope="module")
def network():
    network = ANNRegressor(
        3, "tanh", solver="lbfgs", alpha=5, tol=1e-8, max_iter=3000, **TEXTBOOK
    ).fit(X, Y)
    return average_marginal_effects(network, X, Y)


@pytest.fixture
def ax():
    return Figure().subplots()


def rows(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_intervals_are_those_of_the_result(ols, ax):
    display = MarginalEffectsDisplay.from_result(ols, ax=ax)
    np.testing.assert_array_equal(display.estimate[0], ols.estimate)
    np.testing.assert_array_equal(display.low[0], ols.conf_int()[:, 0])
    np.testing.assert_array_equal(display.high[0], ols.conf_int()[:, 1])
    assert rows(ax) == list(X)
    assert ax.get_legend() is None
    assert ax.get_xlabel() == "average marginal effect, with 95% intervals"


def test_what_is_drawn_is_what_was_computed(ols, network, ax):
    both = {"OLS": ols, "network": network}
    display = MarginalEffectsDisplay.from_result(both, ax=ax)
    assert display.series == ("OLS", "network")
    assert legend(ax) == ["OLS", "network"]
    for i, result in enumerate(both.values()):
        segments = np.array(ax.collections[i].get_segments())
        np.testing.assert_allclose(segments[:, :, 0], result.conf_int())
        (points,) = [e for e in ax.lines if e.get_label() == display.series[i]]
        np.testing.assert_array_equal(points.get_xdata(), result.estimate)
        np.testing.assert_allclose(points.get_ydata(), segments[:, 0, 1])
    heights = np.array([np.array(c.get_segments())[:, 0, 1] for c in ax.collections])
    assert (np.diff(heights, axis=1) < 0).all()  # the first term is on top
    assert (heights[0] > heights[1]).all()  # and the first model
    assert np.abs(heights - [[3, 2, 1, 0]]).max() < 0.3
    markers = {line.get_marker() for line in ax.lines if line.get_label() in both}
    assert len(markers) == 2


def test_terms_and_level(ols, ax):
    display = MarginalEffectsDisplay.from_result(
        ols, terms=["s5", "age"], conf_level=0.9, ax=ax
    )
    assert display.rows == ("s5", "age")
    np.testing.assert_allclose(display.low[0], ols.conf_int(0.9)[[3, 0], 0])
    assert "90% intervals" in ax.get_xlabel()


def test_classes_stand_side_by_side(ax):
    logit = LogisticRegression(max_iter=1000).fit(IRIS, KINDS)
    result = average_marginal_effects(logit, IRIS, KINDS)
    display = MarginalEffectsDisplay.from_result(result, ax=ax)
    assert display.series == ("setosa", "versicolor", "virginica")
    assert display.rows == tuple(IRIS)
    frame = result.to_frame().pivot(index="term", columns="class", values="estimate")
    np.testing.assert_allclose(display.estimate, frame.loc[list(IRIS)].T)


def test_more_than_a_few_get_rows_of_their_own(ax):
    logit = LogisticRegression(max_iter=1000).fit(IRIS, KINDS)
    result = average_marginal_effects(logit, IRIS, KINDS)
    both = {"one": result, "two": result}
    display = MarginalEffectsDisplay.from_result(both, ax=ax)
    assert display.series == ("one", "two")
    assert len(display.rows) == 12
    assert display.rows[:2] == (
        "sepal length (cm), setosa",
        "sepal length (cm), versicolor",
    )
    np.testing.assert_array_equal(display.estimate[0], result.estimate)


def test_groups_and_contrasts_have_names(ax):
    table = X.assign(region=np.array(["east", "north", "south"])[np.arange(442) % 3])
    table["old"] = table["age"] > 0
    columns = make_column_transformer(
        (OneHotEncoder(drop="first"), ["region"]), remainder="passthrough"
    )
    line = make_pipeline(columns, LinearRegression()).fit(table, Y)
    result = average_marginal_effects(
        line, table, Y, features=["bmi", "region", "old"], by="old"
    )
    display = MarginalEffectsDisplay.from_result(result, ax=ax)
    assert display.series == ("False", "True")
    assert display.rows == (
        "bmi",
        "region: north - east",
        "region: south - east",
        "old: True - False",
    )
    np.testing.assert_array_equal(display.estimate.T.ravel(), result.estimate)


def test_a_slope_and_a_change_by_one_share_a_row(ols, ax):
    whole = X.assign(age=np.arange(442) % 50)
    line = LinearRegression().fit(whole, Y)
    slope = average_marginal_effects(line, whole, Y, features=["age", "bmi"])
    change = average_marginal_effects(
        line, whole, Y, features=["age", "bmi"], kind={"age": "contrast"}
    )
    display = MarginalEffectsDisplay.from_result({"a": slope, "b": change}, ax=ax)
    assert display.rows == ("age: dY/dX or +1", "bmi")
    np.testing.assert_allclose(display.estimate[0], display.estimate[1])


def test_terms_that_one_result_lacks_are_empty(ols, ax):
    fewer = average_marginal_effects(LinearRegression().fit(X, Y), X, Y, features="bmi")
    display = MarginalEffectsDisplay.from_result({"all": ols, "one": fewer}, ax=ax)
    np.testing.assert_array_equal(np.isnan(display.estimate[1]), [1, 0, 1, 1])


def test_without_standard_errors_there_are_points(ax):
    result = average_marginal_effects(LinearRegression().fit(X, Y), X)
    display = MarginalEffectsDisplay.from_result(result, ax=ax)
    assert np.isnan(display.low).all()
    assert ax.get_xlabel() == "average marginal effect"


def test_predictions_and_coefficients_are_drawn_too(ax):
    line = ANNRegressor(()).fit(X, Y)
    table = coefficient_table(line, X, Y)
    display = MarginalEffectsDisplay.from_result(table, ax=ax)
    assert display.rows == ("intercept", *X)
    np.testing.assert_array_equal(display.estimate[0], table.estimate)
    one = MarginalEffectsDisplay.from_result(average_predictions(line, X, Y), ax=ax)
    assert one.rows == ("prediction",)
    assert one.estimate[0, 0] == pytest.approx(Y.mean())


def test_from_estimator_asks_for_the_effects(ax):
    line = LinearRegression().fit(X, Y)
    display = MarginalEffectsDisplay.from_estimator(
        line, X, Y, features=["bmi"], vcov="HC3", conf_level=0.9, ax=ax
    )
    result = average_marginal_effects(
        line, X, Y, features=["bmi"], vcov="HC3", conf_level=0.9
    )
    np.testing.assert_array_equal(display.high[0], result.conf_int()[:, 1])
    assert display.ax_ is ax


def test_forty_effects_and_long_names():
    rng = np.random.default_rng(0)
    names = [
        f"a long name of a column with ${'$' * (j % 2)} in it, {j}" for j in range(40)
    ]
    table = pd.DataFrame(rng.normal(size=(100, 40)), columns=names)
    y = table.sum(axis=1) + rng.normal(size=100)
    line = LinearRegression().fit(table, y)
    display = MarginalEffectsDisplay.from_estimator(line, table, y)
    display.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in display.ax_.get_yticklabels()]
    # From top to bottom, none touches the next, and none is cut.
    gaps = [above.y0 - below.y1 for above, below in pairwise(boxes)]
    assert min(map(abs, gaps)) > 0
    assert min(box.x0 for box in boxes) >= 0
    plt.close(display.figure_)


def test_axes_that_are_given_are_used_and_pyplot_is_left_alone(ols):
    ax = Figure().subplots()
    with pyplot_left_alone():
        display = MarginalEffectsDisplay.from_result(ols, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure


def test_without_axes_there_is_one_new_figure(ols):
    display = MarginalEffectsDisplay.from_result(ols, terms="bmi")
    assert len(repr(display)) < 120  # notebooks show it below the picture
    assert plt.get_fignums() == [display.figure_.number]
    drawn(display)


def test_wrong_input_is_refused(ols):
    draw = MarginalEffectsDisplay.from_result
    with pytest.raises(ValueError, match="the mapping is empty"):
        draw({})
    with pytest.raises(TypeError, match="for 'b'; got DataFrame"):
        draw({"a": ols, "b": ols.to_frame()})
    with pytest.raises(TypeError, match="; got list"):
        draw([ols])
    with pytest.raises(ValueError, match="must name some of age, bmi, bp, s5"):
        draw(ols, terms="height")
    with pytest.raises(ValueError, match="between 0 and 1"):
        draw(ols, conf_level=95)
