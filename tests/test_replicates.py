"""Bootstrap replicates: the same as single fits, and drawn as the theory says."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from test_callbacks import Recorder
from textbook import TEXTBOOK

from sklearn_ann import ANNClassifier, ANNRegressor, batched_fits, bootstrap_fits
from sklearn_ann import refits as refits_module
from sklearn_ann.resampling import bootstrap_sample

few_epochs = pytest.mark.filterwarnings(
    # Enough for equality, too few to converge.
    "ignore::sklearn.exceptions.ConvergenceWarning"
)
KINDS = ["pairs", "cluster", "bayesian"]
QUICK = TEXTBOOK | {
    "hidden_layer_sizes": (5,),
    "max_iter": 12,
    "tol": 0.0,
    "n_iter_no_change": np.inf,
    "batch_size": 32,
    "dtype": "float64",
    "random_state": 3,
}
STOPPED = {**QUICK, "early_stopping": True}
# Float64, and twelve epochs for rounding to grow.
SAME = {"rtol": 0.0, "atol": 1e-6}


def data(n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(1.0, 2.0, size=(n, 3))
    return X, np.sin(X[:, 0]) + X[:, 1] + 0.3 * rng.normal(size=n)


def clusters(n=80):
    return np.repeat([f"g{i}" for i in range(n // 4)], 4)


def drawn_options(kind, n=80):
    return {"kind": kind, "groups": clusters(n) if kind == "cluster" else None}


def single(estimator, seed, X, y, weight, **fit_options):
    model = clone(estimator).set_params(random_state=int(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y, sample_weight=weight, **fit_options)


def assert_equals_loop(replicates, estimator, X, y, **fit_options):
    """Weights, records and predictions of every replicate are those of its own fit."""
    predicted = replicates.predict(X)
    for i, replicate in enumerate(replicates):
        alone = single(
            estimator,
            replicates.seeds[i],
            X,
            y,
            replicates.weights[i],
            **fit_options,
        )
        np.testing.assert_allclose(predicted[i], alone.predict(X), **SAME)
        assert replicate.n_iter_ == alone.n_iter_
        assert replicate.get_params() == alone.get_params()
        assert set(vars(replicate)) == set(vars(alone))


# ------------------------------------------------------------- equal to single fits

NETWORKS = {
    "adam": ANNRegressor(**QUICK),
    "one table": ANNRegressor(**QUICK | {"standardize": False}),
    "early stopping": ANNRegressor(**STOPPED),
    "scorer": ANNRegressor(**STOPPED, scoring="r2"),
    "ensemble": ANNRegressor(**STOPPED | {"n_estimators": 2}),
    "ensemble on one table": ANNRegressor(
        **QUICK | {"n_estimators": 2, "standardize": False}
    ),
    "restarts": ANNRegressor(**QUICK, n_init=2),
    "dropout": ANNRegressor(**QUICK | {"dropout": 0.2, "learning_rate": "adaptive"}),
    "linear": ANNRegressor((), dtype="float64", random_state=3),
    "lbfgs": ANNRegressor(
        (3,), activation="tanh", solver="lbfgs", alpha=1.0, max_iter=30, random_state=3
    ),
    "sgd": ANNRegressor(**QUICK, solver="sgd", loss="huber"),
}


@few_epochs
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", KINDS)
def test_replicates_equal_single_fits(kind, name):
    X, y = data()
    options = drawn_options(kind)
    replicates = bootstrap_fits(NETWORKS[name], X, y, 4, random_state=0, **options)
    fit_options = {"groups": options["groups"]}
    assert_equals_loop(replicates, NETWORKS[name], X, y, **fit_options)


@few_epochs
def test_two_hundred_replicates_with_fixed_seeds_equal_a_loop():
    X, y = data()
    network = NETWORKS["adam"]
    replicates = bootstrap_fits(network, X, y, vary_seeds=False, random_state=0)
    assert len(replicates) == 200
    assert set(replicates.seeds) == {3}
    assert_equals_loop(replicates, network, X, y)


@few_epochs
@pytest.mark.parametrize("standardize", [True, False])
def test_sparse_inputs(standardize):
    X, y = data()
    X = sp.csr_array(np.where(np.abs(X) > 1, X, 0.0))
    network = ANNRegressor(**QUICK | {"standardize": standardize})
    assert_equals_loop(bootstrap_fits(network, X, y, 3, random_state=0), network, X, y)


@few_epochs
@pytest.mark.parametrize("limit", [1, 5_000])
def test_portions_change_nothing(monkeypatch, limit):
    X, y = data()
    together = bootstrap_fits(NETWORKS["adam"], X, y, 5, random_state=0)
    asked, train = [], refits_module.fit_networks
    monkeypatch.setattr(refits_module, "MOST_TABLE_BYTES", limit)
    monkeypatch.setattr(
        refits_module,
        "fit_networks",
        lambda requests: asked.append(len(requests)) or train(requests),
    )
    apart = bootstrap_fits(NETWORKS["adam"], X, y, 5, random_state=0)
    assert len(asked) > 1
    assert sum(asked) == 5
    np.testing.assert_allclose(apart.predict(X), together.predict(X), **SAME)


@few_epochs
@pytest.mark.parametrize("table", [np.asarray, sp.csr_array])
def test_one_table_for_all_where_nothing_is_scaled(monkeypatch, table):
    X, y = data()
    tables, train = set(), refits_module.fit_networks

    def watched(requests):
        tables.update(id(request.fit.x) for request in requests)
        return train(requests)

    monkeypatch.setattr(refits_module, "fit_networks", watched)
    bootstrap_fits(NETWORKS["one table"], table(X), y, 5)
    assert len(tables) == 1


@few_epochs
def test_inside_batched_fits():
    X, y = data()
    outside = bootstrap_fits(NETWORKS["adam"], X, y, 3, random_state=0)
    with batched_fits():
        inside = bootstrap_fits(NETWORKS["adam"], X, y, 3, random_state=0)
    np.testing.assert_allclose(inside.predict(X), outside.predict(X), **SAME)


# ------------------------------------------------------------------ what is drawn


def test_pairs_are_counts():
    sample = bootstrap_sample(50, 300, seed=0)
    assert (sample.draws == np.round(sample.draws)).all()
    np.testing.assert_array_equal(sample.draws.sum(axis=1), 50)
    np.testing.assert_array_equal(sample.left_out, sample.draws == 0)
    # Each of n rows is left out with probability (1 - 1/n)^n.
    assert sample.left_out.mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)


def test_clusters_enter_and_leave_as_wholes():
    groups = np.repeat(np.arange(10), [1, 9, 5, 5, 2, 8, 4, 6, 5, 5])
    sample = bootstrap_sample(50, 30, seed=0, groups=groups)
    first = np.searchsorted(groups, np.arange(10))
    np.testing.assert_array_equal(sample.draws, sample.draws[:, first][:, groups])
    np.testing.assert_array_equal(sample.draws[:, first].sum(axis=1), 10)


def test_bayesian_weights_are_dirichlet():
    n = 40
    sample = bootstrap_sample(n, 4_000, seed=0, bayesian=True)
    np.testing.assert_allclose(sample.draws.mean(axis=1), 1.0)
    assert (sample.draws > 0).all()
    assert not sample.left_out.any()
    # Rubin (1981): the variance of a share is (n - 1) / (n^2 (n + 1)).
    assert sample.draws.var() == pytest.approx((n - 1) / (n + 1), rel=0.02)


def test_bayesian_weights_of_groups():
    sample = bootstrap_sample(80, 3, seed=0, bayesian=True, groups=clusters())
    assert all(len(np.unique(draws)) == 20 for draws in sample.draws)


@pytest.mark.parametrize("bayesian", [False, True])
def test_rows_of_weight_zero_are_not_there(bayesian):
    weight = np.ones(30)
    weight[::3] = 0.0
    weight[1] = 2.5
    sample = bootstrap_sample(30, 5, seed=0, weight=weight, bayesian=bayesian)
    without = bootstrap_sample(20, 5, seed=0, bayesian=bayesian)
    np.testing.assert_array_equal(sample.draws[:, weight > 0], without.draws)
    assert not sample.draws[:, ::3].any()
    assert not sample.left_out[:, ::3].any()
    np.testing.assert_array_equal(sample.weights, sample.draws * weight)


def test_more_replicates_leave_the_first_as_they_are():
    few, many = (bootstrap_sample(30, R, seed=1) for R in (3, 9))
    np.testing.assert_array_equal(many.draws[:3], few.draws)
    np.testing.assert_array_equal(many.seeds[:3], few.seeds)
    assert len(set(many.seeds)) == 9


@few_epochs
def test_random_state_decides_everything():
    X, y = data()
    network = clone(NETWORKS["adam"]).set_params(random_state=None)
    first, second = (
        bootstrap_fits(network, X, y, 2, random_state=5).predict(X) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    other = bootstrap_fits(network, X, y, 2, random_state=6).predict(X)
    assert not np.allclose(first, other)


@few_epochs
def test_no_global_random_state_is_touched():
    X, y = data()
    np.random.seed(0)  # noqa: NPY002 - the state in question
    torch.manual_seed(0)
    bootstrap_fits(NETWORKS["adam"], X, y, 2)
    numbers = np.random.random(), torch.rand(1).item()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    assert numbers == (np.random.random(), torch.rand(1).item())  # noqa: NPY002


def test_standard_errors_of_a_regression():
    """Pairs and Bayesian spread agree with White's formula, clusters with theirs."""
    rng = np.random.default_rng(0)
    n = 300
    X = rng.normal(size=(n, 1))
    groups = np.repeat(np.arange(n // 3), 3)
    y = X[:, 0] * (1 + np.repeat(rng.normal(size=n // 3), 3)) + rng.normal(size=n)
    design = np.column_stack([np.ones(n), X])
    bread = np.linalg.inv(design.T @ design)
    residuals = y - design @ bread @ design.T @ y
    scores = design * residuals[:, None]
    sums = scores.reshape(-1, 3, 2).sum(axis=1)
    for kind, meat in [
        ("pairs", scores.T @ scores),
        ("bayesian", scores.T @ scores),
        ("cluster", sums.T @ sums),
    ]:
        own = groups if kind == "cluster" else None
        fits = bootstrap_fits(
            ANNRegressor(()), X, y, 1000, kind=kind, groups=own, random_state=0
        )
        slopes = np.array([fit.coef_[0] for fit in fits])
        expected = np.sqrt((bread @ meat @ bread)[1, 1])
        # 1000 draws know a standard deviation to 2%; the rest is order 1/n.
        assert slopes.std(ddof=1) == pytest.approx(expected, rel=0.1), kind


# ---------------------------------------------------------------------- pipelines


def frame(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(5.0, 3.0, n),
            "z": rng.normal(size=n),
            "colour": np.resize(["red", "green", "blue"], n),
        }
    )


def pipeline(network, memory=None):
    columns = make_column_transformer(
        (StandardScaler(), ["x", "z"]), (OneHotEncoder(), ["colour"])
    )
    return Pipeline([("columns", columns), ("network", network)], memory=memory)


@few_epochs
@pytest.mark.parametrize("kind", ["pairs", "cluster"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_refitted_transformers_see_the_repeated_rows(kind, early_stopping):
    X = frame()
    y = X["x"].to_numpy() + (X["colour"] == "red")
    network = ANNRegressor(**QUICK | {"early_stopping": early_stopping})
    groups = clusters(60) if kind == "cluster" else None
    replicates = bootstrap_fits(
        pipeline(network), X, y, 3, kind=kind, groups=groups, random_state=0
    )
    predicted = replicates.predict(X)
    for i, replicate in enumerate(replicates):
        weight = replicates.weights[i]
        rows = np.repeat(np.arange(60), weight.astype(int))
        before = clone(replicate[:-1]).fit(X.iloc[rows], y[rows])
        fit_options = {} if groups is None else {"groups": groups[weight > 0]}
        alone = single(
            network,
            replicates.seeds[i],
            before.transform(X[weight > 0]),
            y[weight > 0],
            weight[weight > 0],
            **fit_options,
        )
        np.testing.assert_allclose(
            replicate.predict(X), alone.predict(before.transform(X)), **SAME
        )
        np.testing.assert_array_equal(predicted[i], replicate.predict(X))
    assert replicates.transformers is None
    scalers = [each[0].named_transformers_["standardscaler"] for each in replicates]
    assert len({scaler.mean_[0] for scaler in scalers}) == 3


@few_epochs
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fitted", [False, True])
def test_transformers_fitted_once(fitted, kind):
    X, n = frame(), 60
    y = X["x"].to_numpy()
    network = ANNRegressor(**QUICK)
    given = pipeline(network)
    if fitted:
        given.fit(X[:40], y[:40])
        before = given[:-1]
    else:
        before = clone(given[:-1]).fit(X)
    replicates = bootstrap_fits(
        given,
        X,
        y,
        3,
        refit_transformers=False,
        random_state=0,
        **drawn_options(kind, n),
    )
    predicted = replicates.predict(X)
    transformed = before.transform(X)
    for i, replicate in enumerate(replicates):
        alone = single(
            network, replicates.seeds[i], transformed, y, replicates.weights[i]
        )
        np.testing.assert_allclose(predicted[i], alone.predict(transformed), **SAME)
        np.testing.assert_array_equal(predicted[i], replicate.predict(X))
        assert isinstance(replicate, Pipeline)
    if fitted:
        assert replicates.transformers.steps == given.steps[:-1]


class Counting(TransformerMixin, BaseEstimator):
    """Leaves X as it is, and counts the rows that it is fitted to."""

    def fit(self, X, y=None):
        self.n_rows_ = len(X)
        return self

    def transform(self, X):
        return X


@few_epochs
def test_transformers_see_as_many_rows_as_were_drawn():
    X, y = data()
    weight = np.ones(80)
    weight[:20] = 0.0
    given = make_pipeline(Counting(), NETWORKS["adam"])
    replicates = bootstrap_fits(given, X, y, 3, sample_weight=weight, random_state=0)
    assert [replicate[0].n_rows_ for replicate in replicates] == [60] * 3


@few_epochs
def test_a_pipeline_of_one_step_and_bayesian_weights():
    X, y = data()
    lone = bootstrap_fits(
        make_pipeline(NETWORKS["adam"]), X, y, 2, kind="bayesian", random_state=0
    )
    bare = bootstrap_fits(NETWORKS["adam"], X, y, 2, kind="bayesian", random_state=0)
    assert isinstance(lone[0], Pipeline)
    np.testing.assert_array_equal(lone.predict(X), bare.predict(X))


@few_epochs
def test_a_search_means_its_best_estimator():
    X, y = data()
    grid = {"annregressor__alpha": [0.1, 1.0]}
    given = make_pipeline(StandardScaler(), NETWORKS["adam"])
    search = GridSearchCV(given, grid, cv=2).fit(X, y)
    best = search.best_estimator_
    of_search = bootstrap_fits(search, X, y, 2, random_state=0)
    of_best = bootstrap_fits(best, X, y, 2, random_state=0)
    np.testing.assert_array_equal(of_search.predict(X), of_best.predict(X))
    assert of_search[0][-1].alpha == best[-1].alpha


# -------------------------------------------------------------------- classifiers


@few_epochs
@pytest.mark.parametrize("piped", [False, True])
def test_a_class_that_was_not_drawn_stays_a_class(piped):
    X, _ = data(40)
    y = np.where(np.arange(40) < 2, "rare", np.where(X[:, 0] > 1, "yes", "no"))
    network = ANNClassifier(**QUICK)
    given = make_pipeline(StandardScaler(), network) if piped else network
    replicates = bootstrap_fits(given, X, y, 12, random_state=0)
    assert replicates.out_of_bag[:, :2].all(axis=1).any()
    for replicate in replicates:
        assert list(replicate.classes_) == ["no", "rare", "yes"]
    proba = replicates.predict_proba(X)
    assert proba.shape == (12, 40, 3)
    np.testing.assert_allclose(proba.sum(axis=2), 1.0)
    labels = replicates.predict(X)
    assert labels.shape == (12, 40)
    np.testing.assert_array_equal(labels, np.sort(np.unique(y))[proba.argmax(axis=2)])


@few_epochs
@pytest.mark.parametrize("piped", [False, True])
def test_multilabel(piped):
    X, y = data()
    labels = np.column_stack([y > 0, y > 1]).astype(int)
    network = ANNClassifier(**QUICK)
    given = make_pipeline(StandardScaler(), network) if piped else network
    replicates = bootstrap_fits(given, X, labels, 3, random_state=0)
    assert replicates.predict_proba(X).shape == (3, 80, 2)
    assert replicates.predict(X).shape == (3, 80, 2)


@few_epochs
def test_balanced_classes_are_balanced_in_every_replicate():
    X, y = data()
    network = ANNClassifier(**QUICK, class_weight="balanced")
    replicates = bootstrap_fits(network, X, y > 1, 3, random_state=0)
    assert_equals_loop(replicates, network, X, y > 1)


# ------------------------------------------------------------- shapes and manners


@few_epochs
def test_shapes_and_access():
    X, y = data()
    two = np.column_stack([y, -y])
    replicates = bootstrap_fits(NETWORKS["adam"], X, two, 3)
    assert replicates.predict(X[:7]).shape == (3, 7, 2)
    assert replicates.weights.shape == replicates.out_of_bag.shape == (3, 80)
    assert replicates.seeds.shape == (3,)
    assert replicates.out_of_bag.dtype == bool
    assert [fit.random_state for fit in replicates] == list(replicates.seeds)
    assert replicates[-1] is replicates.estimators[2]
    assert not hasattr(replicates, "predict_proba")
    assert "3 of 80 rows" in repr(replicates)
    with pytest.raises(AttributeError):
        replicates.weights = None


@few_epochs
def test_several_quantiles():
    X, y = data()
    network = ANNRegressor(**QUICK, loss="quantile", quantile=[0.1, 0.5, 0.9])
    assert bootstrap_fits(network, X, y, 2).predict(X).shape == (2, 80, 3)


@few_epochs
def test_names_of_columns_are_known_to_all():
    X, y = data()
    X = pd.DataFrame(X, columns=["a", "b", "c"])
    replicates = bootstrap_fits(NETWORKS["scorer"], X, y, 2, random_state=0)
    assert_equals_loop(replicates, NETWORKS["scorer"], X, y)
    assert list(replicates[1].feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        replicates.predict(X[["b", "a", "c"]])


@few_epochs
def test_lists_and_tensors():
    X, y = data(40)
    arrays = bootstrap_fits(NETWORKS["adam"], X, y, 2, random_state=0).predict(X)
    for kind in (np.ndarray.tolist, torch.from_numpy):
        replicates = bootstrap_fits(
            NETWORKS["adam"], kind(X), kind(y), 2, random_state=0
        )
        np.testing.assert_array_equal(replicates.predict(kind(X)), arrays)


@few_epochs
def test_the_estimator_is_left_alone(capsys):
    X, y = data()
    heard = Recorder()
    network = clone(NETWORKS["adam"]).set_params(verbose=1).set_callbacks(heard)
    before = dict(vars(network))
    replicates = bootstrap_fits(network, X, y, 2)
    assert vars(network) == before
    assert not heard.events
    assert not capsys.readouterr().out
    assert replicates[0] is not replicates[1]


def test_one_warning_for_all():
    X, y = data()
    with pytest.warns(ConvergenceWarning) as caught:
        bootstrap_fits(NETWORKS["adam"], X, y, 3)
    assert len(caught) == 1
    assert str(caught[0].message).startswith("3 of 3 replicates did not")
    assert caught[0].filename == __file__


# ---------------------------------------------------------------------- bad input

SOME_X, SOME_Y = data(20)
GROUPS = clusters(20)
BAD = {
    "no replicates": (ValueError, "n_replicates", {"n_replicates": 0}),
    "half a replicate": (TypeError, "n_replicates", {"n_replicates": 1.5}),
    "unknown kind": (ValueError, "pairs, cluster, bayesian", {"kind": "rows"}),
    "no groups": (ValueError, "give groups", {"kind": "cluster"}),
    "unwanted groups": (ValueError, "kind='cluster'", {"groups": GROUPS}),
    "few groups": (ValueError, "20 rows", {"kind": "cluster", "groups": GROUPS[:9]}),
    "lost group": (
        ValueError,
        "missing for 1",
        {"kind": "cluster", "groups": [None, *GROUPS[1:]]},
    ),
    "one group": (ValueError, "two or more", {"kind": "cluster", "groups": ["a"] * 20}),
    "one row": (ValueError, "two or more rows", {"sample_weight": np.eye(20)[0]}),
    "no rows": (ValueError, "non-zero", {"sample_weight": np.zeros(20)}),
    "few weights": (ValueError, "sample_weight", {"sample_weight": np.ones(9)}),
    "negative weight": (ValueError, "egative", {"sample_weight": -np.ones(20)}),
    "few targets": (ValueError, "inconsistent", {"y": SOME_Y[:9]}),
    "inf": (ValueError, "infinity", {"X": np.full((20, 3), np.inf)}),
    "another's": (TypeError, "LinearRegression", {"estimator": LinearRegression()}),
    "a class": (TypeError, "ANNRegressor", {"estimator": ANNRegressor}),
    "search before its fit": (
        TypeError,
        "GridSearchCV",
        {"estimator": GridSearchCV(ANNRegressor(), {})},
    ),
    "pipeline of another": (
        TypeError,
        "DummyClassifier",
        {"estimator": make_pipeline(StandardScaler(), DummyClassifier())},
    ),
    "bad parameter": (ValueError, "alpha", {"estimator": ANNRegressor(alpha=-1)}),
    "weights for transformers": (
        ValueError,
        "refit_transformers=False",
        {
            "estimator": make_pipeline(StandardScaler(), ANNRegressor()),
            "kind": "bayesian",
        },
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    error, message, options = BAD[case]
    good = {"estimator": ANNRegressor(**QUICK), "X": SOME_X, "y": SOME_Y}
    with pytest.raises(error, match=message):
        bootstrap_fits(**{**good, "n_replicates": 2, **options})
