"""Tests of forecasts against statsmodels and the papers, and their size."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from statsmodels.tsa.stattools import diebold_mariano_test as statsmodels_test

from sklearn_ann import compare
from sklearn_ann.forecast_tests import clark_west_test, diebold_mariano_test

# Diebold and Mariano -----------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 2, 3, 5])
def test_equals_statsmodels_with_bartlett_weights(horizon):
    """statsmodels 0.15: lags=h - 1 and harvey_adj=True are these weights."""
    rng = np.random.default_rng(horizon)
    y, one, other = rng.normal(size=(3, 40))
    expected = statsmodels_test(
        y, one, other, lags=horizon - 1, harvey_adj=True, horizon=horizon
    )
    d = (y - one) ** 2 - (y - other) ** 2
    test = diebold_mariano_test(d, horizon, kernel="Bartlett")
    assert test.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert test.p_value == pytest.approx(expected.pvalue, rel=1e-12)
    assert test.kernel == "Bartlett"
    assert test.mean == pytest.approx(test.statistic * test.std_error, rel=1e-12)


def test_truncated_weights_are_those_of_the_paper():
    """Diebold and Mariano (1995), with Harvey, Leybourne and Newbold (1997), eq. 9."""
    d = np.array([0.3, 0.5, -0.2, 0.4, 0.1, 0.6, 0.2, -0.1])
    e, n, h = d - d.mean(), len(d), 3
    gamma = [(e[k:] * e[: n - k]).sum() / n for k in range(h)]
    dm = d.mean() / np.sqrt((gamma[0] + 2 * gamma[1] + 2 * gamma[2]) / n)
    factor = np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    test = diebold_mariano_test(d, h)
    assert test.statistic == pytest.approx(dm * factor, rel=1e-12)
    assert (test.kernel, test.df) == ("truncated", n - 1)


def test_one_step_ahead_is_the_t_test_of_a_mean():
    d = np.random.default_rng(0).normal(0.2, 1, 25)
    fit = sm.OLS(d, np.ones(25)).fit()
    test = diebold_mariano_test(d)
    assert test.statistic == pytest.approx(fit.tvalues[0], rel=1e-12)
    assert test.std_error == pytest.approx(fit.bse[0], rel=1e-12)
    assert test.p_value == pytest.approx(fit.pvalues[0], rel=1e-9)


def test_bartlett_stands_in_for_a_negative_variance():
    d = 1 + np.tile([1.0, -1.0], 10)  # gamma_0 + 2 gamma_1 < 0
    test = diebold_mariano_test(d, 2)
    assert test.kernel == "Bartlett"
    assert test.statistic == diebold_mariano_test(d, 2, kernel="Bartlett").statistic
    assert np.isfinite(test.statistic)


@pytest.mark.parametrize("horizon", [1, 3])
def test_equal_forecasts_are_no_evidence(horizon):
    test = diebold_mariano_test(np.zeros(10), horizon)
    assert (test.statistic, test.p_value) == (0.0, 1.0)


def test_size_where_errors_are_correlated():
    """1000 samples of MA(1) differences, mean zero, 80 periods, two steps ahead."""
    e = np.random.default_rng(0).normal(size=(1000, 81))
    d = e[:, 1:] + 0.8 * e[:, :-1]
    rejected = np.mean([diebold_mariano_test(row, 2).p_value < 0.05 for row in d])
    naive = np.mean([diebold_mariano_test(row, 1).p_value < 0.05 for row in d])
    assert 0.03 < rejected < 0.08
    assert naive > 0.12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1], 1), "two periods"),
        (([0.1, 0.2, 0.3], 3), "horizon of 3"),
        (([[0.1, 0.2]], 1), "shape"),
        (([0.1, 0.2], 0), "at least 1"),
    ],
)
def test_bad_input_of_the_test(arguments, message):
    with pytest.raises(ValueError, match=message):
        diebold_mariano_test(*arguments)
    with pytest.raises(ValueError, match="kernel must be one of"):
        diebold_mariano_test([0.1, 0.2], kernel="Parzen")


# Clark and West ----------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 3])
def test_clark_west_is_a_regression_on_a_constant(horizon):
    """Clark and West (2007); statsmodels' HAC with its correction n / (n - 1)."""
    y, small, large = np.random.default_rng(1).normal(size=(3, 50))
    gain = (y - small) ** 2 - ((y - large) ** 2 - (small - large) ** 2)
    fit = sm.OLS(gain, np.ones(50)).fit(
        cov_type="HAC", cov_kwds={"maxlags": horizon - 1, "use_correction": True}
    )
    test = clark_west_test(y, small, large, horizon, kernel="Bartlett")
    assert test.mean == pytest.approx(gain.mean(), rel=1e-12)
    assert test.statistic == pytest.approx(fit.tvalues[0], rel=1e-12)
    one_sided = fit.pvalues[0] / 2 if fit.tvalues[0] > 0 else 1 - fit.pvalues[0] / 2
    assert test.p_value == pytest.approx(one_sided, rel=1e-9)


def test_clark_west_finds_what_noise_hides():
    """A larger model that is right, fitted to few rows: no better, yet right."""
    rng = np.random.default_rng(0)
    losses, gains = [], []
    for _ in range(300):
        x = rng.normal(size=40)
        y = 0.3 * x + rng.normal(size=40)
        slope = y[:10] @ x[:10] / (x[:10] @ x[:10])
        forecast = slope * x[10:]
        zero = np.zeros(30)
        losses.append(((y[10:] - forecast) ** 2 - y[10:] ** 2).mean())
        gains.append(clark_west_test(y[10:], zero, forecast).mean)
    assert np.mean(losses) > -0.02
    assert np.mean(gains) > 0.1


@pytest.mark.slow
def test_size_of_both_tests_in_a_comparison():
    """300 samples of 80 periods, a rolling window of 40, two steps ahead.

    Diebold and Mariano: two models, each with one of two columns that mean as much.
    Clark and West: the mean, and a regression on a column that means nothing.
    """
    rng = np.random.default_rng(0)
    names = ("first", "second", "idle")
    models = {
        name: make_pipeline(only(j), LinearRegression()) for j, name in enumerate(names)
    }
    models["mean"] = DummyRegressor()
    options = {"time_order": np.arange(80), "horizon": 2, "cv": 8}
    equal, nested = [], []
    for _ in range(300):
        X = rng.normal(size=(80, 3))
        y = X[:, 0] + X[:, 1] + rng.normal(size=80)
        result = compare(models, X, y, scoring="neg_mean_squared_error", **options)
        equal.append(result.test("second", "neg_mean_squared_error").p_value)
        to_mean = replace(result, baseline="mean")
        nested.append(to_mean.clark_west_test("idle").p_value)
    assert 0.02 < np.mean(np.array(equal) < 0.05) < 0.09
    assert np.mean(np.array(nested) < 0.05) < 0.09


def only(j):
    """Keep one column."""
    return FunctionTransformer(lambda X: X[:, [j]])
