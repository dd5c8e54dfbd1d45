"""`compare`: same folds, known values of the corrected test, and no test elsewhere."""

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss, r2_score, root_mean_squared_error
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.multitest import multipletests

from sklearn_ann.comparison import compare
from sklearn_ann.comparison_metrics import RMSE
from sklearn_ann.score_tests import corrected_std_error, corrected_t_test

LINEAR = {"OLS": LinearRegression(), "ridge": Ridge(alpha=0.1)}


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


@pytest.fixture(scope="module")
def result(diabetes):
    return compare(LINEAR, *diabetes)


# Scores ------------------------------------------------------------------------------


def test_regression_scores_are_those_of_a_hand_written_loop(diabetes, result):
    X, y = diabetes
    cv = KFold(5, shuffle=True, random_state=0)
    for j, (train, test) in enumerate(cv.split(X)):
        predicted = Ridge(alpha=0.1).fit(X[train], y[train]).predict(X[test])
        r2, rmse = result.scores[1, :, j]
        assert r2 == pytest.approx(r2_score(y[test], predicted), abs=1e-12)
        assert rmse == pytest.approx(root_mean_squared_error(y[test], predicted))
        assert (result.n_train[j], result.n_test[j]) == (len(train), len(test))


def test_classification_scores_are_stratified_log_loss_accuracy_auc():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:, :4]
    result = compare({"logit": LogisticRegression()}, X, y, cv=3, random_state=7)
    cv = StratifiedKFold(3, shuffle=True, random_state=7)
    train, test = next(cv.split(X, y))
    model = LogisticRegression().fit(X[train], y[train])
    assert [metric.name for metric in result.metrics] == ["log loss", "accuracy", "AUC"]
    expected = log_loss(y[test], model.predict_proba(X[test]))
    assert result.scores[0, 0, 0] == pytest.approx(expected, rel=1e-12)
    assert result.scores[0, 1, 0] == model.score(X[test], y[test])
    assert not result.metrics[0].greater_is_better


def test_several_classes():
    X, y = load_iris(return_X_y=True)
    labels = np.array(["a", "b", "c"])[y]
    models = {"logit": LogisticRegression(), "weak": LogisticRegression(C=1e-4)}
    frame = compare(models, X, labels, cv=3).to_frame()
    assert frame.at["logit", "AUC"] > 0.99
    assert frame.at["weak", "log loss_difference"] > 0.5
    assert frame.loc["logit", "n_parameters"] == 3 * 5


def test_a_class_that_a_test_fold_lacks():
    """Log loss knows all labels, so that the fold has a score."""
    X, y = load_iris(return_X_y=True)
    splits = [(np.r_[:40, 60:150], np.r_[40:60]), (np.r_[10:140], np.r_[:10, 140:150])]
    model = {"logit": LogisticRegression(max_iter=1000)}
    with pytest.warns(UndefinedMetricWarning, match="Only one class"):
        result = compare(model, X, y, cv=splits)
    assert np.isfinite(result.scores[0, :2]).all()
    assert np.isnan(result.scores[0, 2]).all()


def test_metrics_know_which_direction_is_better(diabetes):
    result = compare(LINEAR, *diabetes, cv=2, scoring=[RMSE])
    assert (result.scores > 0).all()
    assert "Lower is better for RMSE" in str(result)


@pytest.mark.parametrize(
    ("scoring", "names"),
    [
        ("neg_mean_absolute_error", ["neg_mean_absolute_error"]),
        (["r2", "neg_max_error"], ["r2", "neg_max_error"]),
        ({"fit": "explained_variance"}, ["fit"]),
        (lambda model, X, y: float(len(y)), ["score"]),
    ],
)
def test_scoring_in_every_form(diabetes, scoring, names):
    result = compare(LINEAR, *diabetes, cv=2, scoring=scoring)
    assert [metric.name for metric in result.metrics] == names
    assert list(result.to_frame().columns[::9])[: len(names)] == names
    if names == ["neg_mean_absolute_error"]:  # scikit-learn's sign stays
        assert (result.scores < 0).all()
    if names == ["score"]:
        assert (result.scores[0, 0] == result.n_test).all()


# Splits ------------------------------------------------------------------------------


def test_all_models_see_the_same_folds(diabetes):
    class Recorder(LinearRegression):
        rows = ()

        def fit(self, X, y):
            Recorder.rows += (tuple(X[:, 0]),)
            return super().fit(X, y)

    compare({"a": Recorder(), "b": Recorder()}, *diabetes, cv=ShuffleSplit(3))
    assert Recorder.rows[:3] == Recorder.rows[3:]


def test_groups_stay_together(diabetes):
    X, y = diabetes
    groups = np.arange(len(y)) // 20
    seen = []

    def shared_groups(model, X_test, y_test):
        seen.append(len(y_test))
        return 0.0

    result = compare(LINEAR, X, y, groups=groups, cv=4, scoring=shared_groups)
    cv = GroupKFold(4, shuffle=True, random_state=0)
    assert list(result.n_test) == [len(test) for _, test in cv.split(X, y, groups)]
    assert compare(LINEAR, X, y, groups=groups, cv=LeaveOneGroupOut()).n_test.size == 23


def test_random_state_alone_decides(diabetes):
    first, same, other = (
        compare(LINEAR, *diabetes, cv=3, random_state=seed).scores for seed in (1, 1, 2)
    )
    assert (first == same).all()
    assert (first != other).any()


def test_params_reach_fit(diabetes):
    X, y = diabetes
    w = np.ones(len(y))
    w[y > 200] = 0
    plain = compare({"mean": DummyRegressor()}, X, y, cv=2)
    weighted = compare(
        {"mean": DummyRegressor()}, X, y, cv=2, params={"sample_weight": w}
    )
    assert (weighted.scores[0, 1] > plain.scores[0, 1]).all()


@pytest.mark.parametrize(
    "cv", [TimeSeriesSplit(4), TimeSeriesSplit(4, max_train_size=50)]
)
def test_no_test_where_time_moves_forward(diabetes, cv):
    result = compare(LINEAR, *diabetes, cv=cv)
    with pytest.raises(ValueError, match="move forward in time"):
        result.test("ridge", "R2")
    frame = result.to_frame()
    assert np.isfinite(frame["R2"]).all()
    assert np.isfinite(frame.at["ridge", "R2_difference"])
    assert frame.filter(regex="std_error|statistic|p_value").isna().all(axis=None)
    assert "move forward in time" in " ".join(str(result).split())


def test_no_test_where_the_training_set_grows(diabetes):
    """An expanding window whose rows are in no order."""
    order = np.random.default_rng(0).permutation(len(diabetes[1]))
    splits = [(order[: 100 * j], order[100 * j :][:100]) for j in (1, 2, 3)]
    with pytest.raises(ValueError, match="move forward in time"):
        compare(LINEAR, *diabetes, cv=splits).test("ridge", "R2")


def test_no_test_with_one_split(diabetes):
    result = compare(LINEAR, *diabetes, cv=ShuffleSplit(1, random_state=0))
    with pytest.raises(ValueError, match="one split"):
        result.test("ridge", "R2")
    assert np.isnan(result.to_frame()["R2_std_error"]).all()


# The result --------------------------------------------------------------------------


def test_frame_holds_means_differences_and_tests(result):
    frame = result.to_frame()
    assert list(frame.index) == ["OLS", "ridge"]
    assert frame.at["ridge", "RMSE"] == result.scores[1, 1].mean()
    test = result.test("ridge", "RMSE")
    gaps = result.scores[1, 1] - result.scores[0, 1]
    assert test == corrected_t_test(gaps, result.n_train, result.n_test)
    cells = frame.loc["ridge", "RMSE_difference":"RMSE_p_value"]
    assert list(cells) == [test.mean, test.std_error, test.statistic, test.p_value]
    assert frame.loc["OLS", "RMSE_difference":"RMSE_p_value"].isna().all()
    expected = corrected_std_error(result.scores[0, 0], result.n_train, result.n_test)
    assert frame.at["OLS", "R2_std_error"] == expected
    assert (frame["fit_seconds"] > 0).all()


def test_the_naive_standard_error_is_never_shown(result):
    s = result.scores[0, 0]
    naive = s.std(ddof=1) / np.sqrt(s.size)
    assert result.to_frame().at["OLS", "R2_std_error"] == pytest.approx(
        1.5 * naive, 0.01
    )


def test_tests_are_listed_and_adjusted_for_the_number_of_models(diabetes):
    models = {**LINEAR, "mean": DummyRegressor(), "more": Ridge(alpha=1)}
    result = compare(models, *diabetes)
    tests = result.tests()
    assert list(tests["model"]) == ["ridge"] * 2 + ["mean"] * 2 + ["more"] * 2
    for metric, of_metric in tests.groupby("metric"):
        expected = multipletests(of_metric["p_value"], method="holm")[1]
        np.testing.assert_allclose(of_metric["p_holm"], expected, rtol=1e-12)
        column = result.to_frame()[f"{metric}_p_holm"].drop("OLS")
        np.testing.assert_allclose(column, expected, rtol=1e-12)
    assert "p (Holm)" in str(result)
    assert "p (Holm)" not in str(compare(LINEAR, *diabetes, cv=2))


def test_baseline_by_name(diabetes, result):
    turned = compare(LINEAR, *diabetes, baseline="ridge")
    assert turned.test("OLS", "R2").mean == -result.test("ridge", "R2").mean
    assert np.isnan(turned.to_frame().at["ridge", "R2_difference"])
    assert "Difference from ridge" in str(turned)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (LinearRegression(), 11),
        (LinearRegression(fit_intercept=False), 10),
        (make_pipeline(StandardScaler(), Ridge()), 11),
        (MLPRegressor(hidden_layer_sizes=3, max_iter=1), 10 * 3 + 3 + 3 + 1),
        (DummyRegressor(), np.nan),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_parameters_are_counted(diabetes, model, expected):
    frame = compare({"model": model}, *diabetes, cv=2).to_frame()
    np.testing.assert_equal(frame.at["model", "n_parameters"], expected)


def test_text_for_people(result):
    text = str(result)
    assert max(map(len, text.splitlines())) <= 80
    assert text == repr(result)
    for word in ("OLS", "ridge", "R2", "RMSE", "seconds", "parameters", "p"):
        assert word in text.split()
    flat = " ".join(text.split())
    assert "Nadeau and Bengio" in flat
    assert "Lower is better for RMSE" in flat
    assert "mean of the test fold" in flat
    assert f"{result.to_frame().at['ridge', 'R2']:.4f}" in text


def test_one_model_has_no_differences(diabetes):
    text = str(compare({"OLS": LinearRegression()}, *diabetes, cv=2))
    assert "Difference" not in text


def test_progress_is_called_after_each_fit(diabetes):
    calls = []
    compare(LINEAR, *diabetes, cv=2, progress=lambda *call: calls.append(call))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_given_models_stay_as_they_are(diabetes):
    model = LinearRegression()
    compare({"OLS": model}, *diabetes, cv=2)
    assert not hasattr(model, "coef_")


def test_pandas_in_frames_out(diabetes):
    X, y = diabetes
    table = pd.DataFrame(X).rename(columns=str)
    framed = compare(LINEAR, table, pd.Series(y))
    np.testing.assert_allclose(framed.scores, compare(LINEAR, X, y).scores, rtol=1e-9)


def test_more_jobs_same_numbers(diabetes, result):
    with parallel_config(backend="threading"):  # processes take seconds to start
        threads = compare(LINEAR, *diabetes, n_jobs=2)
    assert (threads.scores == result.scores).all()


# Wrong input -------------------------------------------------------------------------


def test_wrong_input_is_refused(diabetes, result):
    X, y = diabetes
    with pytest.raises(ValueError, match="at least one model"):
        compare({}, X, y)
    with pytest.raises(ValueError, match="baseline among"):
        compare(LINEAR, X, y, baseline="lasso")
    with pytest.raises(ValueError, match="Pass scoring="):
        compare({**LINEAR, "logit": LogisticRegression()}, X, y > 100)
    with pytest.raises(ValueError, match="multilabel"):
        compare({"logit": LogisticRegression()}, X, np.eye(2)[(y > 100).astype(int)])
    with pytest.raises(KeyError, match="is not one of"):
        result.test("lasso", "R2")
    with pytest.raises(KeyError, match="is not one of"):
        result.test("ridge", "R3")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([LinearRegression()], "models by name"),
        ({1: LinearRegression()}, "Names of models are strings"),
        ({"OLS": LinearRegression}, r"write LinearRegression\(\)"),
        ({"scale": StandardScaler()}, r"StandardScaler has no predict\(\)"),
        ({"scale": make_pipeline(StandardScaler())}, r"no predict\(\)"),
        ({"text": "OLS"}, r"no fit\(\)"),
    ],
)
def test_models_that_are_none(diabetes, models, message):
    with pytest.raises(TypeError, match=message):
        compare(models, *diabetes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_seeds": 0}, ValueError, "n_seeds"),
        ({"n_seeds": 2.0}, TypeError, "n_seeds"),
        ({"random_state": -1}, ValueError, "random_state"),
        ({"groups": [1, 2, 3]}, ValueError, "one value for each of 442 rows"),
        ({"scoring": []}, ValueError, "names nothing to measure"),
        ({"cv": [([0, 1, 2], [2, 3])]}, ValueError, "of which 1 are both"),
        ({"cv": [([0, 1, 2], [])]}, ValueError, "3 and 0"),
    ],
)
def test_options_that_do_not_fit(diabetes, options, error, message):
    with pytest.raises(error, match=message):
        compare(LINEAR, *diabetes, **options)


def test_rows_that_do_not_fit_together(diabetes):
    X, y = diabetes
    with pytest.raises(ValueError, match="inconsistent numbers"):
        compare(LINEAR, X, y[:10])
    with pytest.raises(ValueError, match="y is missing"):
        compare(LINEAR, X, None)


@pytest.mark.parametrize(
    "cv", [KFold(4, shuffle=True, random_state=0), ShuffleSplit(2, random_state=0)]
)
def test_groups_beside_a_splitter_that_parts_them(diabetes, cv):
    X, y = diabetes
    groups = np.arange(len(y)) // 20
    with pytest.raises(ValueError, match=r"both to fit and to test.*GroupKFold"):
        compare(LINEAR, X, y, groups=groups, cv=cv)


def test_a_failing_model_raises_its_own_error(diabetes):
    with pytest.raises(ValueError, match="alpha"):
        compare({"bad": Ridge(alpha=-1.0)}, *diabetes, cv=2)
