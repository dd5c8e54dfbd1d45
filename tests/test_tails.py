"""Columns are clipped only where a linear model of them is better for it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from sklearn_ann import ANNClassifier, ANNRegressor
from sklearn_ann.design import CLIP, soft_clip
from sklearn_ann.tails import clip_pays

RNG = np.random.default_rng(0)
# Incomes: a long tail to the right.
X = np.exp(RNG.standard_normal((1500, 2)))
NOISE = 0.5 * RNG.standard_normal(1500)
LINEAR = X @ [1.0, -0.5] + NOISE
LEVEL = np.minimum(X, 2.0) @ [1.0, -0.5] + 0.2 * NOISE
QUICK = {"max_iter": 30, "random_state": 0}


def clip_of(estimator):
    model = estimator._model
    return getattr(model, "models", (model,))[0].design.clip


@pytest.mark.parametrize("y, clip", [(LINEAR, None), (LEVEL, CLIP)])
def test_the_rows_decide(y, clip):
    assert clip_of(ANNRegressor(**QUICK).fit(X, y)) == clip


def test_a_linear_relation_far_out_is_ols():
    """With clipped columns .007 of R2 would be lost."""
    train, test = slice(1000), slice(1000, None)
    ours = ANNRegressor(random_state=0).fit(X[train], LINEAR[train])
    ols = LinearRegression().fit(X[train], LINEAR[train])
    best = r2_score(LINEAR[test], ols.predict(X[test]))
    assert r2_score(LINEAR[test], ours.predict(X[test])) > best - 0.001


def test_links_that_bend_the_tails_keep_the_clip():
    """Although least squares of these explain more without it."""
    likely = RNG.uniform(size=1500) < X[:, 0] / X[:, 0].max()
    counts = RNG.poisson(X[:, 0])
    assert clip_of(ANNClassifier(**QUICK).fit(X, likely)) == CLIP
    assert clip_of(ANNRegressor(loss="poisson", **QUICK).fit(X, counts)) == CLIP
    assert clip_of(ANNRegressor(**QUICK).fit(X, likely.astype(float))) is None
    assert clip_of(ANNRegressor(**QUICK).fit(X, counts)) is None


def test_missing_numbers_and_categories_stay_what_they_are():
    table = pd.DataFrame(X, columns=["a", "b"])
    table.loc[::7, "a"] = np.nan
    table["c"] = pd.Categorical(np.where(NOISE > 0, "u", "v"))
    fitted = ANNRegressor(**QUICK).fit(table, LINEAR)
    assert clip_of(fitted) is None
    assert np.isfinite(fitted.predict(table)).all()


def test_a_mistake_far_out_is_clipped():
    z = RNG.standard_normal((200, 1))
    y = z + 0.1 * RNG.standard_normal((200, 1))
    assert not clip_pays(z, soft_clip(z, CLIP), y, None)
    z[0] = 1e6
    assert clip_pays(z, soft_clip(z, CLIP), y, None)


def test_weights_are_repetitions():
    z = np.exp(RNG.standard_normal((2000, 1)))
    y = np.minimum(z, 4.0) + RNG.standard_normal((2000, 1))
    times = RNG.integers(1, 5, 2000)
    found = []
    for start in range(0, 2000, 20):
        some = slice(start, start + 20)
        rows = z[some], soft_clip(z[some], CLIP), y[some]
        weighted = clip_pays(*rows, times[some].astype(float))
        repeated = [np.repeat(part, times[some], axis=0) for part in rows]
        assert weighted == clip_pays(*repeated, None)
        assert clip_pays(*rows, np.full(20, 1e-3)) == clip_pays(*rows, None)
        found.append(weighted)
    assert 10 < sum(found) < 90


def test_numbers_beyond_squares_are_clipped():
    z = np.array([[0.0], [1.0], [1e200]])
    assert clip_pays(z, soft_clip(z, CLIP), z / 1e200, None)
