"""Fits of `compare`: seeds, stacks, seconds, and failure in the middle."""

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.datasets import load_diabetes, make_classification
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    batched_fits,
    compare,
    scoring_folds,
)

# Few steps: rounding has no time to grow, so stacks equal singles (see docs).
pytestmark = pytest.mark.filterwarnings(
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
NETWORK = ANNRegressor(
    3, activation="tanh", solver="lbfgs", max_iter=15, random_state=0
)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X[:150], y[:150]


def by_hand(model, X, y, cv=3):
    """R2 on each fold, one fit after the other."""
    scores = []
    for train, test in KFold(cv, shuffle=True, random_state=0).split(X):
        predicted = model.fit(X[train], y[train]).predict(X[test])
        scores.append(r2_score(y[test], predicted))
    return scores


# Stacks ------------------------------------------------------------------------------


def count_stacks(monkeypatch):
    """Count the networks of each stack that is trained."""
    from sklearn_ann import coordinating

    sizes = []
    real = coordinating.train_stack

    def counted(requests, *args):
        sizes.append(len(requests))
        return real(requests, *args)

    monkeypatch.setattr(coordinating, "train_stack", counted)
    return sizes


def test_networks_are_stacked_and_score_as_they_do_alone(diabetes, monkeypatch):
    sizes = count_stacks(monkeypatch)
    models = {
        "OLS": LinearRegression(),
        "net": make_pipeline(StandardScaler(), NETWORK),
    }
    result = compare(models, *diabetes, cv=3)
    assert sizes == [3]
    np.testing.assert_allclose(
        result.scores[1, 0], by_hand(models["net"], *diabetes), rtol=1e-6
    )
    assert "trained together" in " ".join(str(result).split())


def test_networks_inside_a_search_are_stacked(diabetes, monkeypatch):
    sizes = count_stacks(monkeypatch)
    search = GridSearchCV(NETWORK, {"alpha": [1, 10]}, cv=2)
    compare({"search": search}, *diabetes, cv=3)
    assert sum(sizes) == 3 * (2 * 2 + 1)
    assert len(sizes) <= 4


@pytest.mark.parametrize("backend", ["n_jobs", "threading", "batched_fits"])
def test_whoever_sets_up_joblib_gets_that(diabetes, monkeypatch, backend):
    sizes = count_stacks(monkeypatch)
    models = {"OLS": LinearRegression(), "net": NETWORK}
    if backend == "n_jobs":
        result = compare(models, *diabetes, cv=3, n_jobs=1)
    elif backend == "threading":
        with parallel_config("threading", n_jobs=2):
            result = compare(models, *diabetes, cv=3)
    else:
        with batched_fits():
            result = compare(models, *diabetes, cv=3)
    assert sizes == ([3] if backend == "batched_fits" else [])
    np.testing.assert_allclose(
        result.scores[1, 0], by_hand(NETWORK, *diabetes), rtol=1e-6
    )


def test_seconds_of_a_stack_are_shared_out(monkeypatch):
    class Clock:
        perf_counter = iter([0.0, 6.0]).__next__

    monkeypatch.setattr(scoring_folds, "time", Clock)
    calls = [(make_run, (), {})] * 3
    runs = scoring_folds._run(calls, None, lambda: None, is_stack=True)
    assert [run.seconds for run in runs] == [2.0, 2.0, 2.0]


def make_run():
    none = np.zeros((1, 1))
    return scoring_folds.FoldRun(none, none, 99.0, 1.0, None)


def test_refits_are_equal(diabetes):
    network = ANNRegressor(4, max_iter=5, random_state=0, early_stopping=False)
    first, second = (compare({"net": network}, *diabetes, cv=3) for _ in range(2))
    assert (first.scores == second.scores).all()


def test_a_classifier_too():
    X, y = make_classification(120, 5, random_state=0)
    network = ANNClassifier(
        3, activation="tanh", max_iter=20, random_state=0, early_stopping=False
    )
    result = compare({"net": network}, X, y, cv=3)
    assert np.isfinite(result.scores).all()
    assert result.tested is None
    with pytest.raises(ValueError, match="regressors only"):
        result.r2_out_of_sample()


# Seeds -------------------------------------------------------------------------------


def test_seeds_are_averaged_within_a_split_first(diabetes):
    network = make_pipeline(StandardScaler(), NETWORK)
    models = {"OLS": LinearRegression(), "net": network}
    result = compare(models, *diabetes, cv=3, n_seeds=3)
    by_seed = []
    for seed in (0, 1, 2):
        network.set_params(annregressor__random_state=seed)
        by_seed.append(by_hand(network, *diabetes))
    np.testing.assert_allclose(result.seed_scores[1][:, 0], by_seed, rtol=1e-6)
    np.testing.assert_allclose(result.scores[1, 0], np.mean(by_seed, 0), rtol=1e-6)
    expected = np.sqrt(np.var(by_seed, axis=0, ddof=1).mean())
    assert result.seed_sd("net", "R2") == pytest.approx(expected, rel=1e-5)
    frame = result.to_frame()
    assert frame.at["net", "R2_seed_sd"] == result.seed_sd("net", "R2")
    # Three seeds are no three splits.
    assert result.test("net", "R2").df == 2
    assert result.seed_scores[0].shape == (1, 2, 3)
    assert np.isnan(result.seed_sd("OLS", "R2"))
    text = str(result)
    assert "over seeds" in text
    assert "means over 3 seeds" in " ".join(text.split())


def test_one_seed_leaves_models_their_own(diabetes):
    network = ANNRegressor(3, max_iter=3, random_state=7, early_stopping=False)
    one = compare({"net": network}, *diabetes, cv=2).scores
    other = compare({"net": network.set_params(random_state=8)}, *diabetes, cv=2).scores
    assert (one != other).all()
    assert "over seeds" not in str(compare({"net": network}, *diabetes, cv=2))


def test_seeds_reach_random_states_of_nested_estimators():
    forest = make_pipeline(StandardScaler(), RandomForestRegressor(random_state=5))
    first, second = scoring_folds.with_seeds(forest, [1, 2])
    assert first[-1].random_state == 1
    assert second[-1].random_state == 2
    assert forest[-1].random_state == 5
    search = GridSearchCV(ANNRegressor(), {"alpha": [1]})
    assert scoring_folds.with_seeds(search, [3])[0].estimator.random_state == 3


def test_without_a_random_state_seeds_are_drawn(diabetes):
    forest = {"forest": RandomForestRegressor(3)}
    runs = [
        compare(forest, *diabetes, cv=KFold(2), n_seeds=2, random_state=None).scores
        for _ in range(2)
    ]
    assert (runs[0] != runs[1]).any()


# In sample, parameters, predictions --------------------------------------------------


def test_scores_in_sample(diabetes):
    X, y = diabetes
    result = compare({"ridge": Ridge(0.1)}, X, y, cv=3)
    train = [
        r2_score(y[rows], Ridge(0.1).fit(X[rows], y[rows]).predict(X[rows]))
        for rows, _ in KFold(3, shuffle=True, random_state=0).split(X)
    ]
    assert result.to_frame().at["ridge", "R2_train"] == pytest.approx(np.mean(train))
    assert f"{np.mean(train):.4f}" in str(result)


def test_a_column_of_targets_is_one_target(diabetes):
    X, y = diabetes
    plain = compare({"OLS": LinearRegression()}, X, y, cv=3)
    column = compare({"OLS": LinearRegression()}, X, y[:, None], cv=3)
    assert column.r2_out_of_sample().equals(plain.r2_out_of_sample())


def test_splits_with_one_row_have_no_r2_of_their_own(diabetes):
    X, y = diabetes[0][:12], diabetes[1][:12]
    result = compare({"ridge": Ridge()}, X, y, cv=KFold(12), scoring="neg_max_error")
    found = result.r2_out_of_sample().loc["ridge"]
    assert np.isnan(found["test-fold mean"])
    assert np.isfinite(found[["pooled mean", "training mean"]]).all()


# Failure -----------------------------------------------------------------------------


class FailsOnSecond(ANNRegressor):
    """Trains on the first fold, and fails on the second."""

    count = 0

    def fit(self, X, y, **options):
        FailsOnSecond.count += 1
        if FailsOnSecond.count == 2:
            raise RuntimeError("no second fit")
        return super().fit(X, y, **options)


def test_a_failing_network_ends_the_comparison_and_names_itself(diabetes):
    FailsOnSecond.count = 0
    models = {
        "OLS": LinearRegression(),
        "odd": FailsOnSecond(2, max_iter=2, early_stopping=False),
    }
    with pytest.raises(RuntimeError, match="no second fit") as failure:
        compare(models, *diabetes, cv=3)
    assert failure.value.__notes__ == ["This is the model 'odd' of compare()."]
    compare({"net": NETWORK}, *diabetes, cv=2)  # the next one is not disturbed


def test_progress_counts_stacks_and_seeds(diabetes):
    calls = []
    models = {"OLS": LinearRegression(), "net": NETWORK, "ridge": Ridge()}
    compare(models, *diabetes, cv=2, n_seeds=2, progress=lambda *c: calls.append(c))
    assert calls == [(i, 10) for i in range(1, 11)]
