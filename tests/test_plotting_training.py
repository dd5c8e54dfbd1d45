"""Pictures of training: what is drawn is what the estimator recorded."""

import ast
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from pictures import TEXTBOOK, drawn, legend, line, pyplot_left_alone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ann import ANNRegressor, ConformalRegressor, plotting
from sklearn_ann.plotting import GradientFlowDisplay, LossCurveDisplay

X, Y = load_diabetes(return_X_y=True)
DISPLAYS = (LossCurveDisplay, GradientFlowDisplay)


def fitted(hidden=8, max_iter=12, **parameters):
    parameters = {**TEXTBOOK, "solver": "adam", "max_iter": max_iter, **parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return ANNRegressor(hidden, **parameters).fit(X, Y)


@pytest.fixture
def ax():
    return Figure().subplots()


# -------------------------------------------------------------------------- loss curves


def test_early_stopping_shows_both_losses_and_the_epoch_kept(ax):
    network = fitted(early_stopping=True, max_iter=200, learning_rate_init=0.03)
    display = LossCurveDisplay.from_estimator(network, ax=ax)
    epochs = np.arange(1, network.n_iter_ + 1)
    best = int(np.argmax(network.validation_scores_)) + 1
    assert best < network.n_iter_
    np.testing.assert_array_equal(
        line(ax, "training loss"), np.c_[epochs, network.loss_curve_]
    )
    np.testing.assert_array_equal(
        line(ax, "validation loss"),
        np.c_[epochs, -np.array(network.validation_scores_)],
    )
    np.testing.assert_allclose(
        line(ax, f"best epoch: {best} (kept)"),
        [[best, -network.best_validation_score_]],
    )
    assert display.is_kept
    assert ax.get_xlabel() == "epoch"


def test_without_early_stopping_the_best_is_not_what_is_kept(ax):
    network = ANNRegressor(8, solver="lbfgs", alpha=1, max_iter=1000, **TEXTBOOK)
    network.fit(X[:300], Y[:300], X_val=X[300:], y_val=Y[300:])
    display = LossCurveDisplay.from_estimator(network, ax=ax)
    best = int(np.argmax(network.validation_scores_)) + 1
    assert display.best == (best,)
    assert not display.is_kept
    assert f"best iteration: {best}" in legend(ax)
    assert ax.get_xlabel() == "iteration"


def test_without_validation_the_lowest_training_loss_is_marked(ax):
    network = fitted()
    display = LossCurveDisplay.from_estimator(network, ax=ax)
    assert display.validation is None
    assert display.best_value == (network.best_loss_,)
    assert display.best == (int(np.argmin(network.loss_curve_)) + 1,)
    assert len(legend(ax)) == 2


def test_the_start_may_be_the_best():
    """A fit that never beats the linear model that it started as."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 3))
    network = ANNRegressor(
        8,
        max_iter=30,
        early_stopping=True,
        linear_skip=True,
        n_estimators=3,
        n_iter_no_change=3,
        random_state=0,
    ).fit(x, x.sum(axis=1) + rng.normal(size=200))
    display = LossCurveDisplay.from_estimator(network, ax=Figure().subplots())
    for member, best, value in zip(
        network.estimators_, display.best, display.best_value, strict=True
    ):
        assert value == pytest.approx(-member.best_validation_score_)
        if best:
            assert value == -member.validation_scores_[best - 1]
        else:
            assert value < -max(member.validation_scores_)
    assert network.stays_linear_
    assert 0 in display.best
    assert not display.is_kept  # but the linear model


def test_a_score_has_an_axis_of_its_own(ax):
    network = fitted(early_stopping=True, scoring="r2", max_iter=30)
    display = LossCurveDisplay.from_estimator(network, ax=ax)
    scores = network.validation_scores_
    assert display.score_ax_ is not ax
    assert display.score_ax_.figure is ax.figure
    np.testing.assert_array_equal(
        line(display.score_ax_, "validation score")[:, 1], scores
    )
    assert display.best_value == (max(scores),)
    assert "higher is better" in display.score_ax_.get_ylabel()


def test_members_are_pale_and_their_mean_strong(ax):
    network = fitted(n_estimators=3, early_stopping=True, max_iter=60)
    display = LossCurveDisplay.from_estimator(network, ax=ax)
    curves = [member.loss_curve_ for member in network.estimators_]
    assert len({*map(len, curves)}) > 1
    longest = max(map(len, curves))
    padded = [curve + [curve[-1]] * (longest - len(curve)) for curve in curves]
    np.testing.assert_allclose(line(ax, "training loss")[:, 1], np.mean(padded, axis=0))
    pale = [each for each in ax.lines if each.get_linewidth() < 1]
    assert [len(each.get_xydata()) for each in pale[:3]] == [*map(len, curves)]
    assert "3 members" in legend(ax)
    assert len(display.best) == 3


def test_log_scale(ax):
    LossCurveDisplay.from_estimator(fitted(), log_scale=True, ax=ax)
    assert ax.get_yscale() == "log"


def test_a_log_scale_of_what_has_no_logarithm_is_refused(ax):
    losses = (np.array([1.0, -0.5]),)
    display = LossCurveDisplay(losses, None, (2,), (-0.5,), log_scale=True)
    with pytest.raises(ValueError, match="needs positive losses"):
        display.plot(ax=ax)


# ----------------------------------------------------------------------- gradient norms


def test_one_line_for_each_layer(ax):
    network = fitted((6, 5))
    display = GradientFlowDisplay.from_estimator(network, ax=ax)
    assert display.layers == ["1", "2", "output"]
    for i, name in enumerate(("layer 1", "layer 2", "output")):
        np.testing.assert_array_equal(
            line(ax, name),
            np.c_[np.arange(1, network.n_iter_ + 1), network.gradient_norms_[:, i]],
        )
    assert ax.get_yscale() == "log"
    looks = {(str(e.get_linestyle()), e.get_marker()) for e in ax.lines}
    assert len(looks) == 3  # without colour


def test_many_layers_have_a_bar_instead_of_a_legend():
    network = fitted((4,) * 20, max_iter=2)
    display = GradientFlowDisplay.from_estimator(network)
    assert display.ax_.get_legend() is None
    (bar,) = [each for each in display.figure_.axes if each is not display.ax_]
    ticks = [label.get_text() for label in bar.get_yticklabels()]
    assert ticks[0] == "1"
    assert ticks[-1] == "output"
    light = [mean_of_colour(each) for each in display.ax_.lines]
    assert (np.diff(light) > 0).all()  # from dark to light
    drawn(display)


def mean_of_colour(each):
    """Lightness in greyscale."""
    red, green, blue, _ = each.get_color()
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_layers_along_the_axis(ax):
    network = fitted((6, 5, 4), max_iter=20)
    GradientFlowDisplay.from_estimator(network, by="layer", ax=ax)
    epochs = [int(text.removeprefix("epoch ")) for text in legend(ax)]
    assert epochs[0] == 1
    assert epochs[-1] == 20
    for epoch in epochs:
        np.testing.assert_array_equal(
            line(ax, f"epoch {epoch}")[:, 1], network.gradient_norms_[epoch - 1]
        )
    assert ax.get_xticklabels()[-1].get_text() == "output"


def test_a_gradient_of_zero_is_a_triangle_at_the_foot(ax):
    GradientFlowDisplay(np.array([[1.0, 0.1], [0.0, 0.1]])).plot(ax=ax)
    (foot,) = [each for each in ax.lines if each.get_marker() == "v"]
    np.testing.assert_array_equal(foot.get_xydata(), [[2, 0]])
    assert np.isnan(line(ax, "layer 1")[1, 1])


def test_members_have_gradients_of_their_own(ax):
    network = fitted(n_estimators=2)
    display = GradientFlowDisplay.from_estimator(network, member=1, ax=ax)
    np.testing.assert_array_equal(display.norms, network.estimators_[1].gradient_norms_)
    with pytest.raises(ValueError, match="from 0 to 1, as there are 2 networks"):
        GradientFlowDisplay.from_estimator(network, member=2, ax=ax)


def test_an_unknown_axis_is_refused(ax):
    with pytest.raises(ValueError, match="epoch, layer"):
        GradientFlowDisplay.from_estimator(fitted(), by="unit", ax=ax)


# ------------------------------------------------------------------------------ of both


@pytest.mark.parametrize("display", DISPLAYS)
@pytest.mark.parametrize("max_iter", [1, 2, 40])
def test_axes_that_are_given_are_used_and_pyplot_is_left_alone(display, max_iter):
    figure = Figure()
    ax = figure.subplots()
    network = fitted(max_iter=max_iter, early_stopping=True)
    with pyplot_left_alone():
        shown = display.from_estimator(network, ax=ax)
    assert shown.ax_ is ax
    assert shown.figure_ is figure
    figure.canvas.draw()
    # Ticks that count are whole numbers.
    assert all(tick == int(tick) for tick in ax.get_xticks())


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_axes_there_is_one_new_figure(display):
    shown = display.from_estimator(fitted())
    assert plt.get_fignums() == [shown.figure_.number]
    again = shown.plot(ax=Figure().subplots())
    assert again is shown
    plt.close("all")


@pytest.mark.parametrize("display", DISPLAYS)
def test_networks_are_found_inside_others(display):
    network = ANNRegressor(4, solver="lbfgs", alpha=10, **TEXTBOOK)
    pipeline = make_pipeline(StandardScaler(), network)
    search = GridSearchCV(pipeline, {"annregressor__alpha": [10]}, cv=2).fit(X, Y)
    conformal = ConformalRegressor(network, random_state=0).fit(X, Y)
    for outer, inner in (
        (search, search.best_estimator_[-1]),
        (conformal, conformal.estimator_),
    ):
        shown = display.from_estimator(outer, ax=Figure().subplots())
        record = shown.norms if display is GradientFlowDisplay else shown.train[0]
        assert len(record) == inner.n_iter_


@pytest.mark.parametrize("display", DISPLAYS)
def test_what_cannot_be_drawn_is_refused(display):
    with pytest.raises(NotFittedError):
        display.from_estimator(ANNRegressor())
    with pytest.raises(TypeError, match="got LinearRegression, which is no network"):
        display.from_estimator(LinearRegression().fit(X, Y))
    with pytest.raises(TypeError, match="Expected a fitted estimator"):
        display.from_estimator("network")
    assert not plt.get_fignums()


@pytest.mark.parametrize("display", DISPLAYS)
def test_in_the_middle_of_a_fit_there_is_no_record_yet(display):
    network = fitted()
    partial = ANNRegressor()
    for name in ("_model", "_target", "_coding", "n_features_in_"):
        setattr(partial, name, getattr(network, name))
    partial.n_outputs_ = 1  # as a callback sees it
    with pytest.raises(ValueError, match="in the middle of its fit"):
        display.from_estimator(partial)


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib_it_says_what_to_install(display, monkeypatch):
    network = fitted()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-ann\[plot\]'"):
        display.from_estimator(network)


def test_no_module_imports_matplotlib_before_it_draws():
    for path in Path(plotting.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in getattr(node, "names", [])]
            assert "matplotlib" not in f"{getattr(node, 'module', '')} {names}", path
