"""Pictures of comparisons: what is drawn is what the tables say."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats
from sklearn.datasets import load_diabetes
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, Ridge

from sklearn_ann import compare
from sklearn_ann.plotting import ComparisonDisplay

mpl.use("Agg")
MODELS = {"OLS": LinearRegression(), "ridge": Ridge(), "mean": DummyRegressor()}


@pytest.fixture(scope="module")
def data():
    return load_diabetes(return_X_y=True)


@pytest.fixture(scope="module")
def result(data):
    return compare(MODELS, *data)


@pytest.fixture
def ax():
    return Figure().subplots()


def test_intervals_are_those_of_the_corrected_standard_error(result, ax):
    display = ComparisonDisplay.from_comparison(result, ax=ax)
    frame = result.to_frame()
    reach = stats.t.ppf(0.975, 4) * frame["R2_std_error"]
    np.testing.assert_allclose(display.mean, frame["R2"])
    np.testing.assert_allclose(display.high, frame["R2"] + reach)
    np.testing.assert_allclose(display.low, frame["R2"] - reach)
    np.testing.assert_allclose(display.train, frame["R2_train"])


def test_what_is_drawn_is_what_was_computed(result, ax):
    display = ComparisonDisplay.from_comparison(result, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert [label.get_text() for label in ax.get_yticklabels()] == list(MODELS)
    assert ax.get_xlabel() == "R2 out of sample (higher is better), with 95% intervals"
    drawn = ax.collections[0].get_segments()
    ends = np.array([segment[:, 0] for segment in drawn])
    np.testing.assert_allclose(ends, np.column_stack([display.low, display.high]))
    places = np.array([segment[0, 1] for segment in drawn])
    assert (np.diff(places) < 0).all()  # the first model is on top
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["single splits", "mean", "in sample"]


def test_differences_from_the_baseline(result, ax):
    display = ComparisonDisplay.from_comparison(
        result, metric="RMSE", kind="difference", conf_level=0.9, ax=ax
    )
    test = result.test("mean", "RMSE")
    assert display.models == ("ridge", "mean")
    assert display.mean[1] == pytest.approx(test.mean)
    reach = stats.t.ppf(0.95, test.df) * test.std_error
    assert display.high[1] - display.mean[1] == pytest.approx(reach)
    assert "RMSE minus that of OLS (lower is better), with 90%" in ax.get_xlabel()


def test_in_time_order_differences_have_intervals_and_scores_have_none(data, ax):
    result = compare(MODELS, *data, time_order=np.arange(442), window_size=400)
    scores = ComparisonDisplay.from_comparison(result, ax=ax)
    assert np.isnan(scores.low).all()
    assert "interval" not in ax.get_xlabel()
    other = ComparisonDisplay.from_comparison(
        result, kind="difference", ax=Figure().subplots()
    )
    test = result.test("mean", "MSE")
    reach = stats.t.ppf(0.975, test.df) * test.std_error
    assert other.high[1] - other.low[1] == pytest.approx(2 * reach)


def test_periods_are_called_periods(data, ax):
    result = compare(MODELS, *data, time_order=np.arange(442), window_size=400)
    ComparisonDisplay.from_comparison(result, ax=ax)
    assert ax.get_legend().get_texts()[0].get_text() == "single periods"


def test_without_a_valid_test_there_is_no_interval(data, ax):
    result = compare(MODELS, *data, time_order=np.arange(442), window="expanding")
    display = ComparisonDisplay.from_comparison(result, kind="difference", ax=ax)
    assert np.isnan(display.low).all()


def test_a_figure_of_its_own(result):
    import matplotlib.pyplot as plt

    display = ComparisonDisplay.from_comparison(result)
    assert display.figure_ in map(plt.figure, plt.get_fignums())
    plt.close(display.figure_)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": "ratio"}, ValueError, "score, difference"),
        ({"conf_level": 95}, ValueError, "between 0 and 1"),
        ({"metric": "AUC"}, KeyError, "is not one of"),
        ({"metric": "AUC", "kind": "difference"}, KeyError, "is not one of"),
    ],
)
def test_wrong_input_is_refused(result, options, error, message):
    with pytest.raises(error, match=message):
        ComparisonDisplay.from_comparison(result, **options)


def test_one_model_has_no_differences(data):
    result = compare({"OLS": LinearRegression()}, *data, cv=2)
    with pytest.raises(ValueError, match="only one model"):
        ComparisonDisplay.from_comparison(result, kind="difference")


def test_without_matplotlib_it_says_what_to_install(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-ann\[plot\]'"):
        ComparisonDisplay.from_comparison(result)
