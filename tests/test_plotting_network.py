"""The diagram of a network: units, names and weights are those of the estimator."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from fitted_estimators import TABLE
from fitted_estimators import Y as TARGET
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from pictures import TEXTBOOK, drawn, pyplot_left_alone, texts
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_ann import ANNClassifier, ANNRegressor
from sklearn_ann.plotting import NetworkDisplay

X, Y = load_diabetes(return_X_y=True, as_frame=True)
IRIS, KINDS = load_iris(return_X_y=True, as_frame=True)


def fitted(hidden=(3,), X=X, y=Y, estimator=ANNRegressor, **parameters):
    parameters = {**TEXTBOOK, "activation": "tanh", "solver": "lbfgs", **parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator(hidden, **{"max_iter": 5, **parameters}).fit(X, y)


@pytest.fixture
def ax():
    return Figure().subplots()


def edges(ax):
    """Widths, and whether they are dashed, of the edges between two layers."""
    (first, *_) = ax.collections
    dashed = [pattern is not None for _, pattern in first.get_linestyles()]
    return first.get_linewidths(), np.array(dashed)


def test_weights_are_those_of_standardised_columns(ax):
    network = fitted((3,))
    display = NetworkDisplay.from_estimator(network, ax=ax)
    first, last = display.weights
    scale = X.std(ddof=0).to_numpy()[:, None]
    np.testing.assert_allclose(first, network.coefs_[0] * scale)
    np.testing.assert_allclose(last, network.coefs_[1] / Y.std(ddof=0))
    assert display.names == (tuple(X), ("1", "2", "3"), ("y",))
    assert display.skip is None


def test_edges_say_size_and_sign_without_colour(ax):
    network = fitted((3,))
    weights = NetworkDisplay.from_estimator(network, ax=ax).weights[0].ravel()
    widths, dashed = edges(ax)
    assert len(widths) == 30
    order = np.argsort(np.abs(weights))
    assert (np.diff(widths[order]) >= 0).all()
    assert widths[order[-1]] > 5 * widths[order[0]]
    np.testing.assert_array_equal(dashed, weights < 0)


def test_without_hidden_layer_it_is_a_regression(ax):
    line = ANNRegressor(()).fit(X, Y)
    display = NetworkDisplay.from_estimator(line, ax=ax)
    assert [len(layer) for layer in display.names] == [10, 1]
    expected = line.coef_ * X.std(ddof=0).to_numpy() / Y.std(ddof=0)
    np.testing.assert_allclose(display.weights[0][:, 0], expected, atol=1e-8)
    assert {*X, "y", "10 inputs", "1 output"} == {*texts(ax)}


def test_units_have_their_numbers(ax):
    NetworkDisplay.from_estimator(fitted((30,)), max_units=4, ax=ax)
    assert texts(ax)[5:9] == ["1", "2", "3", "30"]


def test_classes_have_names(ax):
    network = fitted((4,), IRIS, KINDS.map(lambda k: f"kind {k}"), ANNClassifier)
    NetworkDisplay.from_estimator(network, ax=ax)
    assert {"kind 0", "kind 1", "kind 2", "petal width (cm)"} < {*texts(ax)}
    binary = fitted((4,), IRIS, KINDS == 2, ANNClassifier)
    assert NetworkDisplay.from_estimator(binary, ax=ax).names[-1] == ("True",)


def test_several_outputs_and_quantiles(ax):
    both = fitted((4,), X, np.c_[Y, -Y])
    assert NetworkDisplay.from_estimator(both, ax=ax).names[-1] == ("y0", "y1")
    given = ("wage", "hours")
    named = NetworkDisplay.from_estimator(both, output_names=given, ax=ax)
    assert named.names[-1] == given
    quantiles = fitted((4,), loss="quantile", quantile=(0.1, 0.9), solver="adam")
    names = NetworkDisplay.from_estimator(quantiles, ax=ax).names[-1]
    assert names == ("quantile 0.1", "quantile 0.9")


def test_many_units_are_left_out(ax):
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(50, 60))
    network = fitted((100,), wide, wide[:, 0])
    display = NetworkDisplay.from_estimator(network, max_units=6, ax=ax)
    assert [len(layer) for layer in display.names] == [60, 100, 1]
    names = ["x0", "x1", "x2", "x3", "x4", "x59"]
    assert [text for text in texts(ax) if text.startswith("x")] == names
    assert [len(each.get_segments()) for each in ax.collections] == [36, 6]
    assert {"60 inputs", "100 tanh", "1 output"} < {*texts(ax)}


def test_many_layers_are_left_out(ax):
    network = fitted((4,) * 20, max_iter=1)
    display = NetworkDisplay.from_estimator(network, ax=ax)
    assert len(display.weights) == 21
    assert len(ax.collections) == 6  # five hidden layers, a gap, the last, the output
    assert texts(ax).count("4 tanh") == 6
    assert r"$\cdots$" in texts(ax)


def test_a_linear_skip_goes_around_the_layers(ax):
    network = fitted((3,), X.iloc[:, :4], linear_skip=True, early_stopping=True)
    display = NetworkDisplay.from_estimator(network, ax=ax)
    units = network._model
    scale = units.inputs.scale[:, None] / units.targets.scale
    np.testing.assert_allclose(display.skip, network.skip_coef_ * scale)
    curves = [each for each in ax.patches if isinstance(each, PathPatch)]
    assert len(curves) == 4
    heights = [abs(interpolated(each)) for each in curves]
    assert min(heights) > 2  # beyond the units, which reach to 1.5
    assert "linear skip" in texts(ax)


def interpolated(curve):
    """Height of the middle of a curve."""
    vertices = curve.get_path().vertices[:, 1]
    return vertices @ [1, 3, 3, 1] / 8


def test_columns_of_categories_and_embedded_ones_are_one_unit_each(ax):
    network = fitted((3,), TABLE, TARGET, solver="adam", numeric_embedding="periodic")
    display = NetworkDisplay.from_estimator(network, ax=ax)
    model = network._model
    assert display.names[0] == tuple(TABLE)
    assert len(display.counts) == len(TABLE.columns)
    # All numbers that enter the first layer belong to some column.
    assert display.counts.sum() == model.architecture.sizes[0]
    names = network._coding and model.design.names(list(TABLE), network._coding.levels)
    region = [name.startswith("region_") for name in names]
    plain = model.parameters.weights[0][: model.architecture.n_plain]
    lookups = {
        column
        for e in model.architecture.embeddings
        if not e.expands
        for column in e.columns
    }
    kept = [j for j in range(len(names)) if j not in lookups]
    own = plain[np.array(region)[kept]]
    place = list(TABLE).index("region")
    assert display.counts[place] == len(own) == 4  # three levels, and none
    expected = np.sqrt((own**2).mean(axis=0))
    np.testing.assert_allclose(display.weights[0][place], expected)
    assert "region (4)" in texts(ax)
    colours = {to_rgb(colour) for colour in ax.collections[0].get_colors()[:, :3]}
    assert to_rgb("0.45") in colours  # edges without a sign


def test_gaps_and_lookups_belong_to_their_columns(ax):
    network = fitted((3,), TABLE, TARGET, solver="adam")
    display = NetworkDisplay.from_estimator(network, ax=ax)
    counts = dict(zip(TABLE, display.counts.tolist(), strict=True))
    (lookup,) = network._model.architecture.embeddings
    assert counts == {
        "age": 2,  # itself, and where it is missing
        "hours": 1,
        "region": 4,
        "firm": lookup.width,
        "year": 5,
        "union": 1,
    }


def test_names_come_through_a_pipeline(ax):
    table = pd.DataFrame({"bmi": X["bmi"], "sex": np.where(X["sex"] > 0, "m", "f")})
    columns = make_column_transformer(
        (StandardScaler(), ["bmi"]), (OneHotEncoder(), ["sex"])
    )
    network = ANNRegressor((), alpha=1)
    pipeline = make_pipeline(columns, network).fit(table, Y)
    display = NetworkDisplay.from_estimator(pipeline, ax=ax)
    assert display.names[0] == ("bmi", "sex_f", "sex_m")
    given = ("a", "b", "c")
    display = NetworkDisplay.from_estimator(pipeline, feature_names=given, ax=ax)
    assert display.names[0] == given


def test_members_have_weights_of_their_own(ax):
    network = fitted((3,), n_estimators=2)
    drawn = NetworkDisplay.from_estimator(network, member=1, ax=ax)
    own = NetworkDisplay.from_estimator(network.estimators_[1], ax=ax)
    np.testing.assert_array_equal(drawn.weights[0], own.weights[0])


def test_long_names_and_signs_of_mathematics(ax):
    names = [f"income in $ of {'a very large region, ' * 3}{j}" for j in range(10)]
    network = fitted((3,), X.set_axis(names, axis=1))
    NetworkDisplay.from_estimator(network, ax=ax)
    shown = [text for text in texts(ax) if text.startswith("income")]
    assert len({*shown}) == 10  # their ends differ
    assert all(len(text.replace("\\", "")) <= 24 and r"\$" in text for text in shown)


@pytest.mark.parametrize("size", [(6.4, 4.8), (3, 2)])
def test_names_are_within_the_axes(size):
    """For figures without a layout of their own."""
    figure = Figure(figsize=size)
    ax = figure.subplots()
    NetworkDisplay.from_estimator(fitted((5,), IRIS, KINDS, ANNClassifier), ax=ax)
    figure.canvas.draw()
    box = figure.bbox
    for text in ax.texts:
        extent = text.get_window_extent()
        assert box.x0 <= extent.x0
        assert extent.x1 <= box.x1


def test_axes_that_are_given_are_used_and_pyplot_is_left_alone():
    ax = Figure().subplots()
    network = fitted((3,), linear_skip=True, early_stopping=True)
    with pyplot_left_alone():
        display = NetworkDisplay.from_estimator(network, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure


def test_without_axes_there_is_one_new_figure():
    display = NetworkDisplay.from_estimator(fitted((3, 2)))
    assert plt.get_fignums() == [display.figure_.number]
    drawn(display)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_units": 1}, "at least 2"),
        ({"member": 1}, "from 0 to 0, as there are 1 networks"),
        ({"feature_names": ["a"]}, "feature_names must have 10 names"),
        ({"output_names": ["a", "b"]}, "output_names must have 1 names"),
    ],
)
def test_wrong_input_is_refused(options, message, ax):
    with pytest.raises(ValueError, match=message):
        NetworkDisplay.from_estimator(fitted((3,)), ax=ax, **options)


def test_before_the_fit_there_is_nothing_to_draw():
    with pytest.raises(NotFittedError):
        NetworkDisplay.from_estimator(ANNRegressor())
