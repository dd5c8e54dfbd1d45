"""Conformal intervals: known quantiles, MAPIE's answers, coverage, bad input."""

import importlib.util
import pickle
import re
import warnings
from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import check_page
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, QuantileRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ann import ANNRegressor, ConformalRegressor, batched_fits
from sklearn_ann.intervals import (
    TooFewCalibrationRows,
    conformal_quantile,
    conformity_scores,
    moved,
)
from tests import intervals_study as study

QUANTILES = ANNRegressor(
    4,
    "tanh",
    loss="quantile",
    quantile=(0.05, 0.5, 0.95),
    learning_rate="adaptive",
    learning_rate_init=0.01,
    max_iter=1000,
    early_stopping=False,
    random_state=0,
)
MEAN = ANNRegressor(4, "tanh", solver="lbfgs", alpha=5, random_state=0)
needs_mapie = pytest.mark.skipif(
    importlib.util.find_spec("mapie") is None,
    reason="mapie is not installed: pip install sklearn-ann[test]",
)


@pytest.fixture(scope="module")
def data():
    return study.curved(np.random.default_rng(0), 300)


class Recorder(RegressorMixin, BaseEstimator):
    """Predicts what it is told to, and remembers what it was fitted to."""

    def __init__(self, columns=(0,)):
        self.columns = columns

    def fit(self, X, y, groups=None):
        self.X_, self.y_, self.groups_ = X, y, groups
        return self

    def predict(self, X):
        found = np.asarray(X)[:, list(self.columns)]
        return found[:, 0] if len(self.columns) == 1 else found


# ------------------------------------------------------------------------ the numbers


@pytest.mark.parametrize(
    ("n", "level", "k"),
    [
        (9, 0.9, 9),
        (8, 0.9, None),
        (19, 0.95, 19),
        (18, 0.95, None),
        (99, 0.9, 90),
        (100, 0.9, 91),
        (19, 0.55, 11),  # 20 * .55 is a little more than 11 in binary
        (99, 0.29, 29),  # and 100 * .29 a little less than 29
        (1, 0.5, 1),
        (1, 0.51, None),
        (1000, 0.001, 2),
    ],
)
def test_the_place_of_the_quantile(n, level, k):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    expected = np.inf if k is None else k
    assert conformal_quantile(scores, level) == expected


@given(st.integers(1, 60), st.floats(0.01, 0.99))
@settings(max_examples=200, deadline=None)
def test_coverage_is_exact_over_all_orders(n, level):
    """Leave each of n + 1 scores out in turn: the others cover ceil((n+1) level)."""
    scores = np.random.default_rng(n).normal(size=n + 1)
    covered = [
        score <= conformal_quantile(np.delete(scores, i), level)
        for i, score in enumerate(scores)
    ]
    assert sum(covered) == np.ceil((n + 1) * level - 1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(-9, 9)), min_size=1, max_size=30),
    st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.8]),
)
@settings(max_examples=200, deadline=None)
def test_groups_count_the_same(rows, level):
    """Oracle: repeat rows until all groups have as many, then count."""
    groups, scores = (np.array(column) for column in zip(*rows, strict=True))
    common = np.lcm.reduce(np.unique(groups, return_counts=True)[1])
    size = {g: (groups == g).sum() for g in groups}
    repeated = np.sort(
        np.concatenate(
            [
                np.repeat(s, common // size[g])
                for g, s in zip(groups, scores, strict=True)
            ]
        )
    )
    n_groups = len(size)
    k = int(np.ceil(round(level * (n_groups + 1) * common, 6)))
    expected = repeated[k - 1] if k <= len(repeated) else np.inf
    assert conformal_quantile(scores.astype(float), level, groups) == expected


def test_groups_of_one_row_are_rows():
    scores = np.random.default_rng(0).normal(size=50)
    for level in (0.1, 0.5, 0.9, 0.95, 0.99):
        alone = conformal_quantile(scores, level)
        assert conformal_quantile(scores, level, np.arange(50)) == alone


def test_scores_are_distances_from_the_band():
    y = np.array([0.0, 1.0, 2.5, 4.0])
    low, high = np.full(4, 1.0), np.full(4, 3.0)
    np.testing.assert_array_equal(conformity_scores(y, low, high), [1, 0, -0.5, 1])
    np.testing.assert_array_equal(conformity_scores(y, low, low), np.abs(y - 1))


def test_a_band_is_narrowed_to_its_middle_at_most():
    low, high = np.array([0.0, 0.0]), np.array([1.0, 4.0])
    np.testing.assert_allclose(moved(low, high, 0.5), [[-0.5, 1.5], [-0.5, 4.5]])
    np.testing.assert_allclose(moved(low, high, -1.0), [[0.5, 0.5], [1.0, 3.0]])
    np.testing.assert_array_equal(moved(low, high, np.inf), [[-np.inf, np.inf]] * 2)


# ---------------------------------------------------------------------- the estimator


@parametrize_with_checks(
    [ConformalRegressor(LinearRegression()), ConformalRegressor(QUANTILES)]
)
def test_scikit_learn_check(estimator, check):
    with warnings.catch_warnings():
        # A check hands over few rows, and epochs are lowered on purpose.
        warnings.filterwarnings("ignore", "Training reached max_iter")
        try:
            check(estimator)
        except SkipTest as skipped:  # only for a library that is not installed
            assert "not installed" in str(skipped)
            raise


def test_around_a_mean_by_hand(data):
    X, y = data
    conformal = ConformalRegressor(LinearRegression(), random_state=1).fit(X, y)
    kept = conformal.calibration_rows_
    rest = np.setdiff1d(np.arange(300), kept)
    assert len(kept) == 75
    ols = LinearRegression().fit(X[rest], y[rest])
    np.testing.assert_allclose(conformal.estimator_.coef_, ols.coef_)
    errors = np.abs(y[kept] - ols.predict(X[kept]))
    np.testing.assert_allclose(conformal.scores_, errors)
    margin = np.sort(errors)[int(np.ceil(76 * 0.9)) - 1]
    middle = ols.predict(X[:5])
    expected = np.column_stack([middle - margin, middle + margin])
    np.testing.assert_allclose(conformal.predict_interval(X[:5]), expected)
    np.testing.assert_allclose(conformal.predict(X[:5]), middle)


def test_around_quantiles_by_hand(data):
    X, y = data
    conformal = ConformalRegressor(QUANTILES, random_state=1).fit(X, y)
    kept = conformal.calibration_rows_
    rest = np.setdiff1d(np.arange(300), kept)
    network = clone(QUANTILES).fit(X[rest], y[rest])
    low, _, high = network.predict(X[kept]).T
    scores = np.sort(np.maximum(low - y[kept], y[kept] - high))
    margin = scores[int(np.ceil(76 * 0.8)) - 1]
    low, median, high = network.predict(X[:5]).T
    expected = np.column_stack([low - margin, high + margin])
    np.testing.assert_allclose(conformal.predict_interval(X[:5], 0.8), expected)
    np.testing.assert_allclose(conformal.predict(X[:5]), median)
    widths = np.diff(conformal.predict_interval(X), axis=1)
    assert widths.max() > 1.5 * widths.min()


def test_from_an_even_number_of_quantiles_the_middle_is_predicted():
    X, y = np.array([[0.0, 2.0], [1.0, 5.0]] * 10), np.arange(20.0)
    conformal = ConformalRegressor(Recorder((0, 1)), random_state=0).fit(X, y)
    np.testing.assert_array_equal(conformal.predict(X[:2]), [1.0, 3.0])


def test_quantiles_may_come_in_any_order():
    X, y = np.array([[0.0, 2.0], [1.0, 5.0]] * 10), np.tile([1.0, 6.0], 10)
    there, back = (
        ConformalRegressor(Recorder(columns), random_state=0).fit(X, y)
        for columns in ((0, 1), (1, 0))
    )
    np.testing.assert_array_equal(there.scores_, back.scores_)
    np.testing.assert_array_equal(
        there.predict_interval(X, 0.7), back.predict_interval(X, 0.7)
    )


def test_levels_are_nested(data):
    X, y = data
    conformal = ConformalRegressor(QUANTILES, random_state=0).fit(X, y)
    low, high = np.stack(
        [conformal.predict_interval(X, level) for level in (0.5, 0.8, 0.9, 0.95)]
    ).transpose(2, 0, 1)
    assert (np.diff(low, axis=0) <= 0).all()
    assert (np.diff(high, axis=0) >= 0).all()


def test_a_fitted_estimator_is_calibrated_on_all_rows(data):
    X, y = data
    ols = LinearRegression().fit(X[:200], y[:200])
    coef = ols.coef_.copy()
    conformal = ConformalRegressor(FrozenEstimator(ols)).fit(X[200:], y[200:])
    np.testing.assert_array_equal(conformal.calibration_rows_, np.arange(100))
    np.testing.assert_allclose(conformal.scores_, np.abs(y - ols.predict(X))[200:])
    np.testing.assert_array_equal(ols.coef_, coef)


def test_the_seed_decides_the_rows_and_nothing_else_does(data):
    X, y = data
    rows = [
        ConformalRegressor(LinearRegression(), random_state=seed)
        .fit(X, y)
        .calibration_rows_
        for seed in (0, 0, 1, np.random.RandomState(5), np.random.RandomState(5))
    ]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
    np.testing.assert_array_equal(rows[3], rows[4])
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    ConformalRegressor(LinearRegression()).fit(X, y)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_estimator_given_stays_as_it_was(data):
    network = ANNRegressor((), random_state=0)
    ConformalRegressor(network).fit(*data)
    assert not hasattr(network, "coef_")


def test_a_failed_fit_leaves_the_last_one(data):
    X, y = data
    conformal = ConformalRegressor(LinearRegression(), random_state=0).fit(X, y)
    before = conformal.predict_interval(X)
    with pytest.raises(ValueError, match="NaN"):
        conformal.fit(X[:, :2], np.where(np.arange(300) == 7, np.nan, y))
    np.testing.assert_array_equal(conformal.predict_interval(X), before)
    assert conformal.n_features_in_ == 4


def test_it_can_be_pickled_searched_and_cloned(data):
    X, y = data
    conformal = ConformalRegressor(ANNRegressor((), random_state=0), random_state=0)
    search = GridSearchCV(conformal, {"estimator__alpha": [0.0, 10.0]}, cv=2)
    best = search.fit(X, y).best_estimator_
    again = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(again.predict_interval(X), best.predict_interval(X))


def test_inside_batched_fits(data):
    X, y = data
    alone = ConformalRegressor(QUANTILES, random_state=0).fit(X, y)
    with batched_fits():
        stacked = ConformalRegressor(QUANTILES, random_state=0).fit(X, y)
    np.testing.assert_allclose(
        stacked.predict_interval(X), alone.predict_interval(X), rtol=1e-6
    )


# -------------------------------------------------------------------- forms of tables


def test_tables_with_categories_go_through_a_pipeline(data):
    X, y = data
    table = pd.DataFrame(X, columns=list("abcd"), index=np.arange(300)[::-1])
    table["kind"] = np.where(X[:, 0] > 0, "high", "low")
    encoder = make_column_transformer(
        (OneHotEncoder(), ["kind"]), (StandardScaler(), list("abcd"))
    )
    pipeline = make_pipeline(encoder, QUANTILES)
    target = pd.Series(y, index=table.index)
    conformal = ConformalRegressor(pipeline, random_state=0).fit(table, target)
    assert conformal.feature_names_in_.tolist() == [*"abcd", "kind"]
    low, high = conformal.predict_interval(table).T
    assert 0.85 < np.mean((low <= y) & (y <= high)) < 0.97
    shuffled = table.sample(frac=1, random_state=0)
    moved_with_rows = conformal.predict_interval(shuffled)
    np.testing.assert_allclose(
        moved_with_rows, np.column_stack([low, high])[299 - shuffled.index]
    )


@pytest.mark.parametrize(
    "form",
    [
        np.ndarray.tolist,
        torch.tensor,
        sp.csr_array,
        sp.coo_matrix,
        lambda a: pd.DataFrame(a, columns=list("abcd")),
    ],
    ids=["list", "tensor", "csr", "coo", "frame"],
)
def test_every_form_of_a_table_gives_the_same(data, form):
    X, y = data
    expected = ConformalRegressor(ANNRegressor(()), random_state=0).fit(X, y)
    conformal = ConformalRegressor(ANNRegressor(()), random_state=0)
    found = conformal.fit(form(X), y).predict_interval(form(X))
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected.predict_interval(X), rtol=1e-6)


def test_tags_follow_the_estimator():
    assert get_tags(ConformalRegressor(ANNRegressor())).input_tags.sparse
    assert not get_tags(ConformalRegressor(Recorder())).input_tags.sparse
    assert get_tags(ConformalRegressor(Recorder())).estimator_type == "regressor"


def test_targets_may_be_transformed(data):
    X, y = data
    logs = TransformedTargetRegressor(
        LinearRegression(), func=np.log, inverse_func=np.exp
    )
    conformal = ConformalRegressor(logs, random_state=0).fit(X, np.exp(y))
    assert conformal.predict_interval(X).shape == (300, 2)


# ------------------------------------------------------------------------------ groups


def test_groups_are_not_torn_apart(data):
    X, y = data
    people = np.repeat([f"person {i}" for i in range(60)], 5)
    conformal = ConformalRegressor(Recorder(), random_state=0)
    conformal.fit(X, y, groups=people)
    kept = set(people[conformal.calibration_rows_])
    rest = set(people[np.setdiff1d(np.arange(300), conformal.calibration_rows_)])
    assert len(kept) == 15
    assert not kept & rest
    fitted = conformal.estimator_
    assert len(np.unique(fitted.groups_)) == 45
    assert fitted.X_.shape == (225, 4)


def test_a_network_that_stops_early_holds_out_whole_groups(data):
    X, y = data
    groups = np.repeat(np.arange(60), 5)
    network = ANNRegressor(
        4,
        early_stopping=True,
        n_estimators=1,
        learning_rate_init=0.05,
        random_state=0,
    )
    conformal = ConformalRegressor(network, random_state=0).fit(X, y, groups=groups)
    rest = np.setdiff1d(np.arange(300), conformal.calibration_rows_)
    torn = clone(network).fit(X[rest], y[rest]).predict(X)
    whole = clone(network).fit(X[rest], y[rest], groups=groups[rest]).predict(X)
    np.testing.assert_array_equal(conformal.predict(X), whole)
    assert not np.array_equal(torn, whole)


def test_intervals_hold_for_new_groups():
    """A few large groups with errors of their own, far from independent rows."""
    rng = np.random.default_rng(0)
    sizes = np.where(np.arange(60) % 6 == 0, 60, 5)
    ours, torn = [], []
    for seed in range(150):
        of_row = np.repeat(np.arange(60), sizes)
        x = rng.normal(size=len(of_row))
        # Large groups spread less: rows weighted alike would be too sure of small ones.
        shift = rng.normal(size=60) * np.where(sizes > 5, 0.3, 1.5)
        y = x + shift[of_row] + 0.3 * rng.normal(size=len(of_row))
        X, known = x[:, None], of_row < 48
        conformal = ConformalRegressor(LinearRegression(), random_state=seed)
        for coverage, options in ((ours, {"groups": of_row[known]}), (torn, {})):
            conformal.fit(X[known], y[known], **options)
            low, high = conformal.predict_interval(X[~known], 0.8).T
            inside = (low <= y[~known]) & (y[~known] <= high)
            by_group = np.bincount(of_row[~known] - 48, inside) / sizes[48:]
            coverage.append(by_group.mean())
    assert 0.8 - 0.02 < np.mean(ours) < 0.92
    assert np.mean(torn) < 0.76


# ----------------------------------------------------------------- too few, bad input


def test_too_few_calibration_rows_are_told(data):
    X, y = data
    conformal = ConformalRegressor(Recorder(), random_state=0).fit(X[:20], y[:20])
    assert len(conformal.scores_) == 5
    with pytest.warns(TooFewCalibrationRows, match="needs 9 .* rows .* are 5") as told:
        found = conformal.predict_interval(X[:3])
    np.testing.assert_array_equal(found, [[-np.inf, np.inf]] * 3)
    assert told[0].filename == __file__
    highest = float(re.search(r"no more than ([\d.]+)\.$", str(told[0].message))[1])
    assert np.isfinite(conformal.predict_interval(X[:3], highest)).all()


def test_too_few_calibration_groups_are_told(data):
    X, y = data
    conformal = ConformalRegressor(Recorder(), random_state=0)
    conformal.fit(X, y, groups=np.arange(300) // 50)
    with pytest.warns(TooFewCalibrationRows, match="19 calibration groups .* are 2"):
        conformal.predict_interval(X[:3], 0.95)
    assert np.isfinite(conformal.predict_interval(X[:3], 0.6)).all()


def test_as_many_rows_as_needed_are_enough(data):
    X, y = data
    enough = ConformalRegressor(FrozenEstimator(Recorder().fit(X, y)))
    assert np.isfinite(enough.fit(X[:19], y[:19]).predict_interval(X, 0.95)).all()
    with pytest.warns(TooFewCalibrationRows, match="needs 19 .* are 18"):
        enough.fit(X[:18], y[:18]).predict_interval(X, 0.95)


class Unwell(Recorder):
    """A fit that ended badly: not a number for positive x."""

    def predict(self, X):
        return np.where(X[:, 0] > 0, np.nan, 0.0)


def two_targets(X, y):
    return ConformalRegressor(LinearRegression()).fit(X, np.column_stack([y, y]))


def groups_of(groups):
    def fit(X, y):
        return ConformalRegressor(LinearRegression()).fit(X, y, groups=groups)

    return fit


def options(**given):
    def fit(X, y):
        return ConformalRegressor(**{"estimator": LinearRegression(), **given}).fit(
            X, y
        )

    return fit


WRONG = {
    "two targets": (two_targets, ValueError, "one target, got y of shape .300, 2."),
    "classifier": (
        options(estimator=LogisticRegression()),
        TypeError,
        "needs a regressor; got the classifier Logistic",
    ),
    "not an estimator": (options(estimator="ols"), ValueError, "'estimator' parameter"),
    "a class": (options(estimator=LinearRegression), TypeError, "class"),
    "fraction one": (options(calibration_fraction=1.0), ValueError, r"range \(0.0, 1"),
    "fraction zero": (options(calibration_fraction=0), ValueError, r"range \(0.0, 1"),
    "nothing to fit to": (
        options(calibration_fraction=0.999),
        ValueError,
        "n_samples = 300 keeps 300 for calibration and leaves none",
    ),
    "one group": (
        groups_of(np.zeros(300)),
        ValueError,
        "n_groups = 1 keeps 1 for calibration and leaves none",
    ),
    "short groups": (
        groups_of(np.zeros(3)),
        ValueError,
        "one group for each of the 300",
    ),
    "groups missing": (
        groups_of([None] + ["a"] * 299),
        ValueError,
        "groups is missing for 1 of 300 rows",
    ),
    "not finite": (options(estimator=Unwell()), ValueError, "calibration rows are not"),
    "frozen, not fitted": (
        options(estimator=FrozenEstimator(LinearRegression())),
        NotFittedError,
        "not fitted",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_told(data, case):
    fit, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        fit(*data)


@pytest.mark.parametrize("level", [0, 1, 90, -0.1, np.nan, "high", None])
def test_wrong_levels_are_told(data, level):
    conformal = ConformalRegressor(LinearRegression()).fit(*data)
    with pytest.raises(ValueError, match=r"between 0 and 1, such as 0\.9; got"):
        conformal.predict_interval(data[0], level)


def test_unequal_lengths_are_told(data):
    X, y = data
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ConformalRegressor(LinearRegression()).fit(X, y[:-1])


@pytest.mark.parametrize("method", ["predict", "predict_interval"])
def test_a_fit_comes_first(data, method):
    with pytest.raises(NotFittedError):
        getattr(ConformalRegressor(LinearRegression()), method)(data[0])


def test_columns_in_another_order_are_told(data):
    table = pd.DataFrame(data[0], columns=list("abcd"))
    conformal = ConformalRegressor(ANNRegressor(())).fit(table, data[1])
    with pytest.raises(ValueError, match="feature names"):
        conformal.predict_interval(table[list("dcba")])


# ------------------------------------------------------------------------------- MAPIE


def fitted_halves(data, estimator):
    X, y = data
    return clone(estimator).fit(X[:200], y[:200]), X[200:], y[200:]


@needs_mapie
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize(
    "estimator",
    [
        LinearRegression(),
        ANNRegressor(4, "tanh", solver="lbfgs", alpha=5, random_state=0),
    ],
    ids=["ols", "network"],
)
def test_around_a_mean_as_mapie_has_it(data, estimator, level):
    from mapie.regression import SplitConformalRegressor

    fitted, X, y = fitted_halves(data, estimator)
    theirs = SplitConformalRegressor(fitted, confidence_level=level, prefit=True)
    points, intervals = theirs.conformalize(X, y).predict_interval(X)
    ours = ConformalRegressor(FrozenEstimator(fitted)).fit(X, y)
    np.testing.assert_allclose(ours.predict_interval(X, level), intervals[:, :, 0])
    np.testing.assert_allclose(ours.predict(X), points)


class Stacked(RegressorMixin, BaseEstimator):
    """Fitted quantile regressors side by side, as one network would predict them."""

    def __init__(self, fitted):
        self.fitted = fitted

    def fit(self, X, y):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        return np.column_stack([one.predict(X) for one in self.fitted])


def quantile_regressions():
    return [QuantileRegressor(quantile=level, alpha=0) for level in (0.1, 0.9, 0.5)]


def quantile_networks():
    return [clone(QUANTILES).set_params(quantile=level) for level in (0.1, 0.9, 0.5)]


@needs_mapie
@pytest.mark.parametrize("kind", [quantile_regressions, quantile_networks])
def test_around_quantiles_as_mapie_has_it(data, kind):
    from mapie.regression import ConformalizedQuantileRegressor

    fitted = [fitted_halves(data, one)[0] for one in kind()]
    X, y = data[0][200:], data[1][200:]
    theirs = ConformalizedQuantileRegressor(fitted, confidence_level=0.8, prefit=True)
    theirs.conformalize(X, y)
    points, intervals = theirs.predict_interval(X, symmetric_correction=True)
    ours = ConformalRegressor(FrozenEstimator(Stacked(fitted[:2]))).fit(X, y)
    np.testing.assert_allclose(ours.predict_interval(X, 0.8), intervals[:, :, 0])
    np.testing.assert_allclose(points, fitted[2].predict(X))


@needs_mapie
def test_mapie_fits_networks_itself(data):
    from mapie.regression import CrossConformalRegressor, SplitConformalRegressor

    X, y = data
    split = SplitConformalRegressor(MEAN, prefit=False)
    intervals = split.fit(X[:200], y[:200]).conformalize(X[200:], y[200:])
    fitted, X_rest, y_rest = fitted_halves(data, MEAN)
    ours = ConformalRegressor(FrozenEstimator(fitted)).fit(X_rest, y_rest)
    np.testing.assert_allclose(
        intervals.predict_interval(X)[1][:, :, 0], ours.predict_interval(X)
    )
    cross = CrossConformalRegressor(MEAN, cv=3).fit_conformalize(X, y)
    low, high = cross.predict_interval(X)[1][:, :, 0].T
    assert np.mean((low <= y) & (y <= high)) > 0.85


@needs_mapie
def test_mapie_fits_quantiles_of_a_fixed_list_of_estimators_only(data):
    """Why the page says to give it fitted ones."""
    from mapie.regression import ConformalizedQuantileRegressor

    with pytest.raises(ValueError, match="base model is not supported"):
        ConformalizedQuantileRegressor(QUANTILES).fit(*data)


# --------------------------------------------------------------------- docs, coverage


def test_the_page_prints_what_it_shows():
    check_page("intervals")


@pytest.mark.slow
@pytest.mark.parametrize("design", study.DESIGNS)
def test_coverage_and_width(design):
    draw, estimators = study.DESIGNS[design]
    found = {name: study.intervals(draw, e, 200) for name, e in estimators.items()}
    for intervals in found.values():
        assert intervals.coverage.shape == (200,)
        assert study.LEVEL - 0.02 <= intervals.coverage.mean() <= study.LEVEL + 0.04
    if design == "curved":
        widths = {name: intervals.width.mean() for name, intervals in found.items()}
        linear = min(widths["OLS"], widths["linear quantiles"])
        assert widths["quantile network"] < 0.9 * linear
        assert widths["network"] < 0.9 * linear
