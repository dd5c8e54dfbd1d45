"""Categories of many levels: numbers that the network looks up and learns."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from textbook import TEXTBOOK

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    average_marginal_effects,
    batched_fits,
    bootstrap_fits,
)
from sklearn_ann import parameters as parameters_module
from sklearn_ann.parameters import LOOKUP_WIDTH, MOST_ONE_HOT

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore:.*Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
N = 1200
QUICK = {
    **TEXTBOOK,
    "hidden_layer_sizes": 6,
    "activation": "relu",
    "max_iter": 4,
    "tol": 0.0,
    "batch_size": 64,
    "dtype": "float64",
    "random_state": 0,
}


def made(n=N, levels=60, seed=0):
    """Firms with effects of their own, a few of them missing; a number; a sector."""
    rng = np.random.default_rng(seed)
    firm = rng.integers(0, levels, n)
    frame = pd.DataFrame(
        {
            "firm": np.array([f"firm {i:03d}" for i in range(levels)])[firm],
            "age": rng.normal(40, 10, n),
            "sector": rng.choice(list("abc"), n),
        }
    )
    effect = np.random.default_rng(9).normal(size=levels)[firm]
    y = effect + (frame["sector"] == "a") + 0.05 * (frame["age"] - 40)
    frame.loc[rng.uniform(size=n) < 0.05, "firm"] = None
    return frame, (y + 0.2 * rng.normal(size=n)).to_numpy()


FRAME, Y = made()


def test_the_rule():
    for levels, looked_up in ((MOST_ONE_HOT, False), (MOST_ONE_HOT + 1, True)):
        column = np.resize(np.arange(levels), 100)[:, None]
        model = ANNRegressor(**QUICK, categorical_features=[0])
        design = model.fit(column, np.arange(100.0))._model.design
        assert bool(design.lookups) == looked_up
        # A regression without hidden layer keeps its dummies.
        line = ANNRegressor((), categorical_features=[0]).fit(column, np.arange(100.0))
        assert not line._model.design.lookups


def test_what_the_network_looks_up():
    model = ANNRegressor(**QUICK).fit(FRAME, Y)
    (embedding,) = model._model.architecture.embeddings
    assert embedding.levels == (61,) and embedding.width == LOOKUP_WIDTH
    assert model.n_features_in_ == 3
    # Codes stand last: the number, three sectors, the firm.
    assert embedding.columns == (4,)
    assert model.coefs_[0].shape == (1 + 3 + LOOKUP_WIDTH, 6)


def test_it_learns_what_levels_are_worth():
    asked = {"learning_rate_init": 0.01, "max_iter": 60, "early_stopping": False}
    model = ANNRegressor(32, **asked, random_state=0)
    model.fit(FRAME, Y)
    fresh, y = made(400, seed=1)
    known = fresh["firm"].notna()
    without = clone(model).fit(FRAME.drop(columns="firm"), Y)
    assert model.score(fresh[known], y[known]) > 0.85
    assert without.score(fresh[known].drop(columns="firm"), y[known]) < 0.5


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
def test_nothing_but_a_column_of_many_levels(Estimator):
    """The linear model that the defaults start from has no columns then."""
    y = Y if Estimator is ANNRegressor else Y > 0
    model = Estimator(8, max_iter=20, random_state=0)
    model.fit(FRAME[["firm"]], y)
    assert model.linear_skip_
    assert model.score(FRAME[["firm"]], y) > (0.3 if Estimator is ANNRegressor else 0.7)


def test_levels_that_come_later_are_in_the_middle():
    full = FRAME["firm"].notna().to_numpy()
    for rows in (np.ones(N, dtype=bool), full):
        model = ANNRegressor(**QUICK).fit(FRAME[rows], Y[rows])
        unknown = model.predict(FRAME.assign(firm="elsewhere"))
        np.testing.assert_array_equal(unknown, model.predict(FRAME.assign(firm=None)))
    # None was missing in the last fit: its numbers are still those of the start.
    (table,) = model._model.parameters.embeddings[0]
    np.testing.assert_array_equal(table[0], 0.0)
    assert (np.abs(table[1:]).max(axis=1) > 0.01).all()


@pytest.mark.parametrize("solver", ["adamw", "lbfgs"])
@pytest.mark.parametrize("standardize", [True, "robust"])
def test_a_row_of_weight_two_is_the_row_twice(solver, standardize):
    times = np.random.default_rng(3).integers(0, 3, N)
    options = {"solver": solver, "standardize": standardize, "batch_size": "full"}
    model = ANNRegressor(**{**QUICK, **options})
    by_weight = clone(model).fit(FRAME, Y, times)
    repeated = np.repeat(np.arange(N), times)
    by_rows = clone(model).fit(FRAME.iloc[repeated], Y[repeated])
    np.testing.assert_allclose(
        by_weight.predict(FRAME), by_rows.predict(FRAME), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("kind", ["periodic", "piecewise_linear"])
@pytest.mark.parametrize("standardize", [True, "robust", False])
def test_beside_embeddings_of_numbers(kind, standardize):
    """Numbers alone are embedded, in the units that the design gives them."""
    frame = FRAME.assign(age=FRAME["age"].mask(FRAME["age"] > 60))
    options = {"numeric_embedding": kind, "standardize": standardize}
    model = ANNRegressor(**QUICK | options).fit(frame, Y)
    numbers, firms = model._model.architecture.embeddings
    assert (numbers.kind, numbers.columns) == (kind, (0,))
    assert firms.columns == (5,)  # after the number, its gaps and three sectors
    assert np.isfinite(model.predict(frame)).all()
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    if kind == "piecewise_linear":
        table = model._model.design.compact(model._checked_X(frame))
        bends = model._model.parameters.embeddings[0][0].reshape(2, 32)
        start, end = np.sort(table[:, 0])[[0, -1]]
        assert bends[0, 0] == start and bends[0].max() < end


@pytest.mark.parametrize("options", [{"n_estimators": 2}, {"warm_start": True}, {}])
def test_members_warm_starts_and_validation(options):
    model = ANNRegressor(**QUICK | options | {"early_stopping": True})
    model.fit(FRAME, Y)
    again = model.fit(FRAME, Y) if "warm_start" in options else clone(model)
    again = again if "warm_start" in options else again.fit(FRAME, Y)
    assert np.isfinite(again.predict(FRAME)).all()


def test_classes_labels_and_skips():
    labels = np.digitize(Y, [-1, 1])
    model = ANNClassifier(**QUICK | {"linear_skip": True}).fit(FRAME, labels)
    assert model.predict_proba(FRAME).shape == (N, 3)
    assert model.skip_coef_.shape == (1 + 3, 3)


def test_searches_and_replicates():
    model = ANNRegressor(**QUICK)
    grid = {"alpha": [0.1, 10.0]}
    alone = GridSearchCV(model, grid, cv=2).fit(FRAME, Y)
    with batched_fits():
        batched = GridSearchCV(model, grid, cv=2).fit(FRAME, Y)
    np.testing.assert_allclose(
        batched.cv_results_["mean_test_score"],
        alone.cv_results_["mean_test_score"],
        atol=1e-8,
    )
    found = bootstrap_fits(model, FRAME, Y, 2, random_state=0)
    for replicate, weight, seed in zip(found, found.weights, found.seeds, strict=True):
        one = clone(model).set_params(random_state=int(seed))
        one.fit(FRAME, Y, sample_weight=weight)
        np.testing.assert_allclose(
            replicate.predict(FRAME), one.predict(FRAME), rtol=1e-8
        )


def test_bfloat16_does_not_look_up():
    model = ANNRegressor(**{**QUICK, "dtype": "bfloat16"}).fit(FRAME, Y)
    assert not model._model.design.lookups


def test_effects_through_looked_up_levels(monkeypatch):
    """Contrasts are differences of predictions; standard errors come from a minimum."""
    monkeypatch.setattr(parameters_module, "MOST_ONE_HOT", 2)
    monkeypatch.setattr(parameters_module, "LOOKUP_WIDTH", 1)
    frame = FRAME[["age", "sector"]]
    model = ANNRegressor(
        2, "tanh", solver="lbfgs", alpha=5.0, tol=1e-8, max_iter=5000, random_state=0
    ).fit(frame, Y)
    assert model._model.design.lookups
    found = average_marginal_effects(model, frame, Y, vcov="HC1").to_frame()
    assert found["contrast"].tolist() == ["dY/dX", "b - a", "c - a"]
    low, high = (model.predict(frame.assign(sector=level)) for level in "ab")
    np.testing.assert_allclose(found["estimate"][1], (high - low).mean(), rtol=1e-4)
    step = 1e-4
    up, down = (
        model.predict(frame.assign(age=frame["age"] + h)) for h in (step, -step)
    )
    np.testing.assert_allclose(
        found["estimate"][0], (up - down).mean() / (2 * step), rtol=1e-4
    )
    draws = bootstrap_fits(model, frame, Y, 40, vary_seeds=False, random_state=0)
    tables = [frame.assign(sector=level) for level in "ab"]
    a, b = (np.array([one.predict(table).mean() for one in draws]) for table in tables)
    spread = np.std(b - a, ddof=1)
    np.testing.assert_allclose(found["std_error"][1], spread, rtol=0.35)
