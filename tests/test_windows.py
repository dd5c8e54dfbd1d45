"""`compare` in time order: windows, scores against loops, which test is shown."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PolynomialFeatures,
    StandardScaler,
)

from sklearn_ann import ANNRegressor, compare
from sklearn_ann.forecast_tests import clark_west_test, diebold_mariano_test
from sklearn_ann.nested_models import nests

T = 60


def make_series(seed=0, n=T):
    """A curved function of one column, with its own past."""
    rng = np.random.default_rng(seed)
    x, e = rng.normal(size=(2, n))
    y = np.zeros(n)
    for t in range(1, n):
        y[t] = 0.4 * y[t - 1] + x[t] + 0.5 * x[t] ** 2 + e[t]
    return pd.DataFrame({"lag": np.r_[0, y[:-1]], "x": x}), y


LINEAR = {"OLS": LinearRegression(), "ridge": Ridge(alpha=20)}


# Windows -----------------------------------------------------------------------------


class Recorder(RegressorMixin, BaseEstimator):
    """Notes the times that it is fitted to and asked for."""

    log = ()

    def fit(self, X, y):
        Recorder.log += (("fit", sorted(X[:, 0].astype(int))),)
        self.mean_ = np.mean(y)
        return self

    def predict(self, X):
        Recorder.log += (("predict", sorted(X[:, 0].astype(int))),)
        return np.full(len(X), self.mean_)


@pytest.mark.parametrize(
    ("options", "fits", "tested"),
    [
        ({"cv": 2}, [range(5), range(3, 8)], [range(5, 8), range(8, 10)]),
        (
            {"cv": 2, "horizon": 3},
            [range(5), range(2, 7)],
            [range(7, 9), range(9, 10)],
        ),
        ({"window": "fixed", "window_size": 6}, [range(6)], [range(6, 10)]),
        (
            {"window": "expanding", "cv": 3, "window_size": 4},
            [range(4), range(6), range(8)],
            [range(4, 6), range(6, 8), range(8, 10)],
        ),
    ],
)
def test_windows(options, fits, tested):
    times = np.random.default_rng(0).permutation(10)
    Recorder.log = ()
    compare({"a": Recorder()}, times[:, None], times * 1.0, time_order=times, **options)
    log = Recorder.log
    assert [rows for what, rows in log if what == "fit"] == [list(r) for r in fits]
    asked = {tuple(rows) for what, rows in log if what == "predict"}
    assert {tuple(r) for r in tested} <= asked


def test_scores_are_those_of_a_hand_written_loop():
    X, y = make_series()
    result = compare(LINEAR, X, y, time_order=np.arange(T), cv=30, window_size=30)
    errors = []
    for t in range(30, T):
        window = slice(t - 30, t)
        model = Ridge(alpha=20).fit(X[window], y[window])
        errors.append(y[t] - model.predict(X[t : t + 1])[0])
    np.testing.assert_allclose(result.scores[1, 0], np.square(errors), rtol=1e-9)
    np.testing.assert_allclose(result.scores[1, 1], np.abs(errors), rtol=1e-9)
    assert [metric.name for metric in result.metrics] == ["MSE", "MAE"]
    assert result.window.n_fits == 30


def test_the_test_is_that_of_diebold_and_mariano():
    X, y = make_series()
    result = compare(LINEAR, X, y, time_order=np.arange(T), horizon=2)
    gaps = result.scores[1, 0] - result.scores[0, 0]
    expected = diebold_mariano_test(gaps, 2)
    assert result.test("ridge", "MSE") == expected
    frame = result.to_frame()
    assert frame.at["ridge", "MSE_p_value"] == expected.p_value
    assert frame.at["ridge", "MSE_difference"] == pytest.approx(gaps.mean())
    assert frame.filter(regex="(MSE|MAE)_std_error").isna().all(axis=None)
    assert set(result.tests()["test"]) == {"Diebold-Mariano"}
    flat = " ".join(str(result).split())
    assert "2 periods ahead" in flat
    assert "rolling window of 30 periods, fitted 5 times" in flat
    assert "Harvey, Leybourne and Newbold (1997)" in flat


def test_the_order_of_the_rows_does_not_matter():
    X, y = make_series()
    order = np.random.default_rng(1).permutation(T)
    dates = pd.date_range("2001-01", periods=T, freq="MS").to_numpy()
    sorted_ = compare(LINEAR, X, y, time_order=dates)
    mixed = compare(LINEAR, X.iloc[order], y[order], time_order=dates[order])
    np.testing.assert_allclose(mixed.scores, sorted_.scores, rtol=1e-9)


def test_time_may_be_a_column_and_stays_among_the_inputs():
    X, y = make_series()
    X["month"] = np.arange(T)
    named = compare(LINEAR, X, y, time_order="month")
    given = compare(LINEAR, X, y, time_order=X["month"])
    in_polars = compare(LINEAR, pl.from_pandas(X), y, time_order="month")
    np.testing.assert_allclose(named.scores, given.scores)
    np.testing.assert_allclose(named.scores, in_polars.scores, rtol=1e-9)
    assert (named.n_parameters == 4).all()


def test_rows_of_one_time_are_one_period():
    """A panel: 4 rows a year stay together, and a year's score is their mean."""
    X, y = make_series()
    years = np.arange(T) // 4
    result = compare(LINEAR, X, y, time_order=years, cv=2)
    assert result.scores.shape[-1] == 8  # of 15, 7 are fitted to
    model = LinearRegression().fit(X[years < 7], y[years < 7])
    first = years == 7
    expected = np.square(y[first] - model.predict(X[first])).mean()
    assert result.scores[0, 0, 0] == pytest.approx(expected, rel=1e-9)
    assert list(result.n_train) == [28, 28]


def test_r2_in_time_is_against_the_mean_that_was_known():
    """Campbell and Thompson (2008): the benchmark is the mean of the window."""
    X, y = make_series()
    result = compare(
        LINEAR, X, y, time_order=np.arange(T), window="fixed", window_size=40
    )
    predicted = LinearRegression().fit(X[:40], y[:40]).predict(X[40:])
    left = np.square(y[40:] - predicted).sum()
    expected = 1 - left / np.square(y[40:] - y[:40].mean()).sum()
    found = result.r2_out_of_sample().at["OLS", "training mean"]
    assert found == pytest.approx(expected, rel=1e-9)
    assert f"against the mean of the rows fitted to: {found:.4f} for OLS" in " ".join(
        str(result).split()
    )


def test_an_expanding_window_has_no_test():
    X, y = make_series()
    result = compare(LINEAR, X, y, time_order=np.arange(T), window="expanding")
    with pytest.raises(ValueError, match="expands"):
        result.test("ridge", "MSE")
    with pytest.raises(ValueError, match="expands"):
        result.clark_west_test("ridge")
    assert result.tests()["p_value"].isna().all()
    assert "Giacomini and White" in " ".join(str(result).split())
    assert np.isfinite(result.to_frame()["MSE"]).all()


def test_classes_in_time_order():
    X, y = make_series(n=100)
    models = {"logit": LogisticRegression(C=np.inf), "weak": LogisticRegression(C=0.01)}
    result = compare(models, X, y > 0, time_order=np.arange(100))
    assert [metric.name for metric in result.metrics] == ["log loss", "accuracy"]
    assert np.isfinite(result.test("weak", "log loss").p_value)
    with pytest.raises(ValueError, match="squared errors"):
        result.clark_west_test("weak")


# Clark and West ----------------------------------------------------------------------


def test_clark_west_beside_a_linear_skip_or_when_asked_for():
    X, y = make_series(n=120)
    options = {"activation": "tanh", "solver": "lbfgs", "alpha": 1, "random_state": 0}
    models = {
        "OLS": LinearRegression(),
        "plain": ANNRegressor(2, early_stopping=False, **options),
        "skip": ANNRegressor(2, linear_skip=True, **options),
    }
    result = compare(models, X, y, time_order=np.arange(120))
    assert result.clark_west == ("skip",)
    text = " ".join(str(result).split())
    assert "Clark-West: gain over OLS in the population" in text
    test = result.clark_west_test("skip")
    rows = result.tested
    expected = clark_west_test(rows.y, rows.predicted[0][0], rows.predicted[2][0])
    assert test == expected
    shown = result.tests().query("test == 'Clark-West'")
    assert list(shown["p_value"]) == [expected.p_value]

    asked = compare(LINEAR, X, y, time_order=np.arange(120), clark_west=True)
    assert asked.clark_west == ("ridge",)
    assert compare(LINEAR, X, y, time_order=np.arange(120)).clark_west == ()
    with pytest.raises(ValueError, match="nests the baseline"):
        result.clark_west_test("OLS")
    with pytest.raises(ValueError, match="give time_order="):
        compare(LINEAR, X, y).clark_west_test("ridge")


SKIP = ANNRegressor(linear_skip=True)
OLS = LinearRegression()


@pytest.mark.parametrize(
    ("model", "baseline", "expected"),
    [
        (SKIP, OLS, True),
        (
            make_pipeline(StandardScaler(), SKIP),
            make_pipeline("passthrough", OLS),
            True,
        ),
        (
            make_pipeline(PolynomialFeatures(2), MinMaxScaler(), SKIP),
            make_pipeline(PolynomialFeatures(2), OLS),
            True,
        ),
        (SKIP, make_pipeline(PolynomialFeatures(2), OLS), False),
        (
            make_pipeline(PolynomialFeatures(2), SKIP),
            make_pipeline(PolynomialFeatures(3), OLS),
            False,
        ),
        # What no one can look into is not taken for the same.
        (
            make_pipeline(FunctionTransformer(lambda X: X), SKIP),
            make_pipeline(FunctionTransformer(lambda X: X), OLS),
            False,
        ),
        (ANNRegressor(), OLS, True),
        (ANNRegressor(linear_skip=False), OLS, False),
        (ANNRegressor(early_stopping=False), OLS, False),
        (ANNRegressor(linear_skip=True, loss="poisson"), OLS, False),
        (SKIP, Ridge(), False),
    ],
)
def test_whether_a_network_contains_the_baseline(model, baseline, expected):
    assert nests(model, baseline) is expected


def test_several_targets_have_no_test_of_clark_and_west():
    X, y = make_series()
    Y = np.column_stack([y, y**2])
    network = ANNRegressor(
        2, activation="tanh", solver="lbfgs", alpha=3, linear_skip=True, random_state=0
    )
    models = {"OLS": OLS, "skip": network}
    result = compare(models, X, Y, time_order=np.arange(T))
    assert result.clark_west == ()
    assert "Clark" not in str(result)
    with pytest.raises(ValueError, match="one target of numbers"):
        compare(models, X, Y, time_order=np.arange(T), clark_west=True)


def test_a_score_that_a_single_row_has_not():
    X, y = make_series()
    with pytest.warns(UndefinedMetricWarning, match="less than two samples"):
        result = compare(
            LINEAR, X, y, time_order=np.arange(T), scoring="r2", window_size=50
        )
    assert np.isnan(result.to_frame()["r2"]).all()
    text = " ".join(str(result).split())
    assert "some have too few rows for r2: take one that a single row has" in text
    assert "too few rows" not in str(compare(LINEAR, X, y, time_order=np.arange(T)))


# Wrong input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "sliding"}, "rolling, fixed, expanding"),
        ({"window": "fixed", "cv": 3}, "fits each model once"),
        ({"window_size": 58, "cv": 5}, "from 1 to 2"),
        ({"window_size": 60}, "leave none to test"),
        ({"cv": 0}, "from 1 to 30"),
        ({"horizon": 0}, "horizon"),
        ({"window_size": 0}, "window_size"),
        ({"groups": np.arange(T)}, "give one of them"),
        ({"time_order": "month"}, "no column 'month'; there are lag, x"),
        ({"time_order": np.arange(T - 1)}, "one value for each of 60 rows"),
        ({"time_order": np.r_[np.nan, np.arange(T - 1)]}, "missing for 1 of 60"),
        ({"window": "expanding", "clark_west": True}, "no test of Clark and West"),
        ({"time_order": None, "horizon": 2}, "give time_order= as well"),
        ({"time_order": None, "window": "rolling"}, "give time_order= as well"),
        ({"time_order": None, "window_size": 9}, "give time_order= as well"),
        ({"time_order": None, "clark_west": True}, "give time_order= as well"),
    ],
)
def test_wrong_input_is_refused(options, message):
    X, y = make_series()
    with pytest.raises(ValueError, match=message):
        compare(LINEAR, X, y, **{"time_order": np.arange(T), **options})


def test_routed_metadata_beside_a_time_order_is_refused():
    X, y = make_series()
    with (
        config_context(enable_metadata_routing=True),
        pytest.raises(ValueError, match="switch metadata routing off"),
    ):
        compare(
            LINEAR, X, y, time_order=np.arange(T), params={"sample_weight": np.ones(T)}
        )


def test_a_splitter_beside_a_time_order_is_refused():
    X, y = make_series()
    with pytest.raises(TypeError, match="how many times the models are fitted"):
        compare(LINEAR, X, y, time_order=np.arange(T), cv=TimeSeriesSplit())
    with pytest.raises(ValueError, match="names no columns"):
        compare(LINEAR, X.to_numpy(), y, time_order="x")


def test_too_few_periods_for_the_horizon_have_no_test():
    X, y = make_series()
    result = compare(
        LINEAR, X, y, time_order=np.arange(T), window_size=52, horizon=6, cv=1
    )
    assert result.scores.shape[-1] == 3
    assert "too few for a horizon of 6" in result.no_test_because
