"""Numbers that name something have fine ramps: neighbours differ in y."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score

from sklearn_ann import ANNClassifier, ANNRegressor, average_marginal_effects
from sklearn_ann.explained import explained_between
from sklearn_ann.parameters import FINE_RAMPS, fine_ramps

N, CODES = 2000, 150


def panel(n=N, seed=0, spread=1.0):
    """A code that names groups, a number, and a target with a level for each group."""
    rng = np.random.default_rng(seed)
    level = np.random.default_rng(99).normal(size=CODES) * spread
    code = rng.integers(0, CODES, n)
    x = rng.normal(size=n)
    y = level[code] + x + 0.5 * rng.normal(size=n)
    return np.column_stack([x, code + 1000.0, rng.normal(size=n)]), y


def fine(model):
    first = model.estimators_[0] if hasattr(model, "estimators_") else model
    return fine_ramps(first._model.architecture)


def quick(Estimator=ANNRegressor, **options):
    options = {"n_estimators": 2, "max_iter": 1, "random_state": 0} | options
    return Estimator(**options)


@pytest.fixture(autouse=True)
def _few_epochs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def test_the_share_is_that_of_nested_bins_less_noise():
    X, y = panel()
    flat, ones = y[:, None], np.ones(N)
    found = explained_between(X, flat, ones, N, (32, 256), 0.0023)
    by_code = pd.Series(y).groupby(X[:, 1]).transform("mean")  # 256 bins: a code each
    edges = np.unique(
        np.quantile(X[:, 1], np.arange(1, 32) / 32, method="inverted_cdf")
    )
    by_bin = pd.Series(y).groupby(np.searchsorted(edges, X[:, 1])).transform("mean")
    total = ((y - y.mean()) ** 2).sum()
    high, low = (((m - y.mean()) ** 2).sum() / total for m in (by_code, by_bin))
    more = CODES - 1 - len(edges)
    noise = more / (N - 1 - len(edges)) * (1 - low)
    assert found[1] == pytest.approx(high - low - noise, rel=1e-9)
    assert found[1] > 0.2
    np.testing.assert_array_equal(found[[0, 2]], 0.0)
    doubled = explained_between(X, flat, 2 * ones, 2 * N, (32, 256), 0.0023)
    assert doubled[1] > found[1]


def test_noise_and_smooth_columns_have_no_fine_ramps():
    """Of 40 tables of 30 columns each one is hardly wrong."""
    wrong = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(1000, 30))
        y = np.sin(2 * X[:, 0]) + X[:, 1] + rng.normal(size=1000)
        wrong += explained_between(
            X, y[:, None], np.ones(1000), 1000, (32, 256), 0.0023
        ).any()
    assert wrong <= 1


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
@pytest.mark.parametrize("options", [{}, {"standardize": False}, {"n_estimators": 1}])
def test_codes_have_fine_ramps(Estimator, options):
    X, y = panel(spread=3.0)
    y = y if Estimator is ANNRegressor else np.digitize(y, [-1.0, 1.0])
    model = quick(Estimator, **options).fit(X, y)
    assert fine(model) == (1,)
    first = model.estimators_[0] if hasattr(model, "estimators_") else model
    coarse, finer = first._model.architecture.embeddings
    assert coarse.columns == (0, 2) and coarse.size == 32
    assert finer.columns == (1,) and finer.size == FINE_RAMPS


def test_every_member_of_an_ensemble_and_every_restart_has_them():
    X, y = panel()
    model = quick(n_estimators=3, n_init=2).fit(X, y)
    assert len({member._model.architecture for member in model.estimators_}) == 1


@pytest.mark.parametrize("kind", ["periodic", None])
def test_others_have_none(kind):
    X, y = panel()
    assert fine(quick(numeric_embedding=kind).fit(X, y)) == ()


def test_columns_are_counted_as_the_network_has_them():
    """Categories stand last, gaps behind the numbers."""
    X, y = panel(spread=3.0)
    frame = pd.DataFrame(X, columns=["x", "code", "noise"])
    frame.insert(0, "level", pd.Categorical(np.where(X[:, 2] > 0, "a", "b")))
    frame.loc[::7, "x"] = np.nan
    assert fine(quick().fit(frame, y)) == (1,)
    every = frame.assign(x=frame["code"], noise=frame["code"])
    assert fine(quick().fit(every, y)) == (0, 1, 2)


def test_a_row_of_weight_two_is_the_row_twice():
    X, y = panel(700, spread=0.7)
    weight = np.random.default_rng(0).integers(1, 3, size=700)
    asked = {"early_stopping": False, "numeric_embedding": "piecewise_linear"}
    twice = np.repeat(np.arange(700), weight)
    weighted = quick(**asked).fit(X, y, sample_weight=weight)
    repeated = quick(**asked).fit(X[twice], y[twice])
    assert fine(weighted) == fine(repeated)
    few, many = (
        quick(**asked).fit(X[:200], y[:200], sample_weight=np.full(200, times))
        for times in (1.0, 8.0)
    )
    assert fine(few) == () != fine(many)


def test_what_goes_on_keeps_them():
    X, y = panel()
    model = quick(n_estimators=1, warm_start=True).fit(X, y)
    before = model._model.architecture
    assert fine(model) == (1,)
    model.fit(X[:300], np.zeros(300))
    assert model._model.architecture == before


def test_groups_are_told_apart_by_their_numbers():
    X, y = panel(3000)
    new_X, new_y = panel(3000, seed=1)
    model = ANNRegressor(random_state=0).fit(X, y)
    assert fine(model) == (1,)
    assert r2_score(new_y, model.predict(new_X)) > 0.8  # .89 could be known
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sklearn_ann.jobs.fine_columns", lambda *_: ())
        coarse = ANNRegressor(random_state=0).fit(X, y)
    assert coarse.score(new_X, new_y) < model.score(new_X, new_y) - 0.03


def test_effects_are_those_of_the_other_columns_still():
    X, y = panel(3000)
    model = ANNRegressor(
        (16,), early_stopping=False, n_estimators=1, max_iter=30, random_state=0,
        numeric_embedding="piecewise_linear",
    ).fit(X, y)  # fmt: skip
    assert fine(model) == (1,)
    effects = average_marginal_effects(
        model, X, y, features=[0], vcov="bootstrap", n_replicates=3, random_state=0
    )
    step = np.array([1e-3, 0.0, 0.0])
    expected = (model.predict(X + step) - model.predict(X - step)).mean() / 2e-3
    assert effects.estimate[0] == pytest.approx(expected, rel=1e-2)
