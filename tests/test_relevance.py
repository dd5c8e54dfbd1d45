"""Columns enter the hidden layers at a pace: by how much of y they explain."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from engine_fits import design, held_out, regression
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score

from sklearn_ann import ANNClassifier, ANNRegressor, fitting
from sklearn_ann.engine.architecture import Architecture, entering
from sklearn_ann.engine.embeddings import Embedding
from sklearn_ann.engine.expansion import Expansion
from sklearn_ann.engine.fit import Fit, Settings
from sklearn_ann.engine.losses import make_loss
from sklearn_ann.explained import (
    MOST_BINS,
    MOST_LEVELS,
    explained_alone,
    explained_beside_another,
)
from sklearn_ann.relevance import at_pace, learned_paces, paces

N = 2000
RNG = np.random.default_rng(0)
FACTORS = np.array([1.0, 0.3, 0.05])


def asked_of(function):
    def shares(table, y, weight=None, coded=False):
        weight = np.ones(len(table)) if weight is None else weight
        flags = np.full(table.shape[1], coded)
        return function(table, y.reshape(len(y), -1), weight, flags)

    return shares


shares, shares_of_two = map(asked_of, (explained_alone, explained_beside_another))


# ----------------------------------------------------- what a column explains alone


def test_a_column_of_levels_explains_what_an_analysis_of_variance_says():
    code = RNG.integers(0, 5, N).astype(float)
    y = np.array([0.0, 1.0, -1.0, 2.0, 0.5])[code.astype(int)] + RNG.normal(size=N)
    within = sum(((y[code == k] - y[code == k].mean()) ** 2).sum() for k in range(5))
    r2 = 1 - within / ((y - y.mean()) ** 2).sum()
    expected = r2 - (4 + 2 * np.sqrt(8)) / N
    for coded in (True, False):
        (found,) = shares(code[:, None], y, coded=coded)
        assert found == pytest.approx(expected)


def test_few_columns_of_noise_explain_anything():
    noise = RNG.normal(size=(N, 200))
    found = shares(noise, RNG.normal(size=N))
    assert np.mean(found > 0.0) < 0.08  # a normal law: .023; that of F is skew


def test_a_bend_is_seen_and_weights_of_zero_take_rows_away():
    x = RNG.normal(size=(N, 1))
    y = np.abs(x[:, 0]) + 0.1 * RNG.normal(size=N)
    assert shares(x, y)[0] > 0.9  # where a correlation is zero
    weight = np.ones(N)
    weight[: N // 2] = 0.0
    y[: N // 2] = RNG.normal(size=N // 2)
    np.testing.assert_allclose(shares(x, y, weight), shares(x[N // 2 :], y[N // 2 :]))
    np.testing.assert_allclose(shares(x, y, 7.0 * weight), shares(x, y, weight))


def test_constants_explain_nothing_and_are_not_explained():
    x = np.column_stack([RNG.normal(size=N), np.ones(N)])
    assert shares(x, x[:, 0])[1] == 0.0
    np.testing.assert_array_equal(shares(x, np.ones(N)), 0.0)


# ------------------------------------------------- and what it adds to another one


def crossed_squares(first, second, y):
    """Sum of squares between the cells of two columns, by pandas."""
    cells = pd.Series(y).groupby([first, second])
    return (cells.size() * (cells.mean() - y.mean()) ** 2).sum()


def test_levels_add_what_an_analysis_of_two_factors_says():
    a, b = RNG.integers(0, 3, N), RNG.integers(0, 4, N)
    y = a * b + RNG.normal(size=N)
    total = ((y - y.mean()) ** 2).sum()
    both = crossed_squares(a, b, y)
    found = shares_of_two(np.column_stack([a, b]).astype(float), y, coded=True)
    for column, other, dof in ((0, b, 8), (1, a, 9)):
        r2 = (both - crossed_squares(other, other, y)) / total
        expected = r2 - chi2.isf(0.023, dof) / N
        assert found[column] == pytest.approx(expected)


def test_a_product_is_seen_where_neither_factor_is():
    x = RNG.normal(size=(N, 6))
    y = x[:, 1] * x[:, 4] + 0.5 * RNG.normal(size=N)
    assert shares(x, y).max() < 0.05
    found = shares_of_two(x, y)
    assert found[[1, 4]].min() > 0.3
    assert found[[0, 2, 3, 5]].max() == 0.0


def test_few_columns_of_noise_add_anything():
    """The chance is that of a column, however many partners it has."""
    wrong = [
        shares_of_two(RNG.normal(size=(500, 20)), RNG.normal(size=500)) > 0.0
        for _ in range(20)
    ]
    assert np.mean(wrong) < 0.06


def test_a_copy_adds_nothing():
    x = RNG.normal(size=(N, 1))
    found = shares_of_two(np.column_stack([x, x, np.ones(N)]), x[:, 0])
    np.testing.assert_array_equal(found, 0.0)


def test_rows_of_no_weight_are_none_and_weights_have_no_unit():
    x = RNG.normal(size=(N, 3))
    y = np.column_stack([x[:, 0] * x[:, 1], RNG.normal(size=N)])
    weight = np.repeat([0.0, 1.0], N // 2)
    y[: N // 2] = RNG.normal(size=(N // 2, 2))
    later = shares_of_two(x[N // 2 :], y[N // 2 :])
    assert later[0] > 0.1
    np.testing.assert_allclose(shares_of_two(x, y, weight), later)
    np.testing.assert_allclose(shares_of_two(x, y, 7.0 * weight), later)


def test_many_rows_are_taken_some_at_a_time(monkeypatch):
    x = RNG.normal(size=(N, 3))
    y = np.column_stack([x[:, 0] * x[:, 1], RNG.normal(size=N)])
    whole = shares_of_two(x, y)
    monkeypatch.setattr("sklearn_ann.encoding.CHUNK_NUMBERS", 1000)
    np.testing.assert_allclose(shares_of_two(x, y), whole, rtol=1e-12)


def test_tables_without_two_columns_to_cross_add_nothing():
    x = RNG.normal(size=(N, MOST_BINS // 4 + 1))
    y = x[:, 0] * x[:, 1]
    assert shares_of_two(x[:, :-1], y).max() > 0.2
    assert shares_of_two(x, y).max() == 0.0  # too many columns
    many = RNG.integers(0, MOST_LEVELS + 1, (N, 2)).astype(float)
    assert shares_of_two(many, many[:, 0] * many[:, 1], coded=True).max() == 0.0
    assert shares_of_two(x[:, :1], y).max() == 0.0
    assert shares_of_two(x[:, :2], np.ones(N)).max() == 0.0


# ------------------------------------------------------------- from shares to paces


def test_paces_are_powers_of_the_shares():
    found = paces(np.array([0.5, 0.1, 0.0]))
    np.testing.assert_allclose(found, [1.0, 0.2**0.375, 0.0])
    np.testing.assert_array_equal(paces(np.zeros(3)), 1.0)
    assert len(paces(np.zeros(0))) == 0


def fit_of(x, y, architecture, weight=None):
    index = torch.arange(len(x))
    weight = None if weight is None else torch.from_numpy(weight)
    start = np.ones(architecture.n_parameters)
    return Fit(design(x), torch.from_numpy(y), index, weight, start, Settings(), 0)


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "log_loss"])
def test_every_loss_finds_the_column_that_matters(loss):
    x = RNG.normal(size=(N, 3))
    y = (x[:, 2:] + 0.5 * RNG.normal(size=(N, 1)) > 0.0).astype(float)
    architecture = Architecture(3, (4,), 1, ("tanh",), True)
    fit = fit_of(x, y, architecture)
    found = learned_paces(fit, make_loss(loss), architecture)
    assert found[2] == 1.0 and max(found[:2]) < 0.3
    (paced,) = at_pace([fit], found, architecture, "auto")
    narrowed = architecture.with_fewer_inputs(fit.start, "auto", found > 0.0)
    for row, all_ones in ((paced.start, narrowed), (paced.pace, fit.start)):
        parts, expected = architecture.unpack(row), architecture.unpack(all_ones)
        paces_of_all = expected.weights[0] * found[:, None]
        np.testing.assert_array_equal(parts.weights[0], paces_of_all)
        np.testing.assert_array_equal(parts.skip, 1.0)
    np.testing.assert_array_equal(fit.start, 1.0)


def test_paces_are_those_of_the_rows_trained_on_by_their_weights():
    x = RNG.normal(size=(N, 2))
    y = np.where(np.arange(N) % 2, x[:, 0], x[:, 1])[:, None]
    architecture = Architecture(2, (4,), 1, ("tanh",), True)
    loss = make_loss("squared_error")
    weight = np.where(np.arange(N) % 2, 1.0, 1e-9)
    found = learned_paces(fit_of(x, y, architecture, weight), loss, architecture)
    assert found[0] == 1.0 and found[1] < 0.4
    fit = fit_of(x, y, architecture)
    fit.index = fit.index[::2]
    found = learned_paces(fit, loss, architecture)
    assert found[1] == 1.0 and found[0] < 0.4


# ------------------------------------------------------- from columns to parameters


def test_values_of_columns_reach_all_that_the_column_enters_by():
    """A way in times zero: nothing is left of the column; the others are the same."""
    embeddings = (
        Embedding("piecewise_linear", (0, 1), 2, 3),
        Embedding("lookup", (3, 4), 2, levels=(4, 3)),
    )
    architecture = Architecture(5, (6,), 1, ("tanh",), True, embeddings)
    edges = [np.sort(RNG.normal(size=(2, 4)), axis=1), None]
    row = architecture.initial_row(RNG, "auto", np.zeros(1), edges)
    x = np.column_stack([RNG.normal(size=(9, 3)), RNG.integers(0, 3, (9, 2))])

    def first_layer(row):
        parameters = architecture.unpack(row)
        enters = entering(architecture, parameters, torch.from_numpy(x)).numpy()
        return enters @ parameters.weights[0]

    parts = []
    for j in range(5):
        alone = architecture.entering(np.eye(5)[j])
        parts.append(first_layer(row * alone))
        assert np.abs(parts[-1]).max() > 0.0
    np.testing.assert_allclose(sum(parts), first_layer(row))
    np.testing.assert_array_equal(architecture.entering(np.ones(5)), 1.0)


@pytest.mark.parametrize(
    "init", ["auto", "glorot_normal", "lecun_uniform", "orthogonal"]
)
def test_columns_that_stay_out_do_not_count_for_the_start(init):
    """The others start as large as in a network that has never seen them."""
    embeddings = (Embedding("piecewise_linear", tuple(range(30)), 2, 3),)
    few = (Embedding("piecewise_linear", tuple(range(5)), 2, 3),)
    many, narrow = (
        Architecture(own[0].columns[-1] + 1, (400,), 1, ("gelu",), True, own)
        for own in (embeddings, few)
    )
    rows = [
        own.initial_row(
            np.random.default_rng(0),
            init,
            np.zeros(1),
            [np.tile(np.arange(4.0), (d, 1))],
        )
        for own, d in ((many, 30), (narrow, 5))
    ]
    found = many.unpack(many.with_fewer_inputs(rows[0], init, np.arange(30) < 5))
    before, expected = many.unpack(rows[0]), narrow.unpack(rows[1])
    for mine, theirs in (
        (found.weights[0], expected.weights[0]),
        (found.biases[0], expected.biases[0]),
    ):
        assert mine.std() == pytest.approx(theirs.std(), rel=0.06)
    for mine, theirs in zip(found.embeddings[0], before.embeddings[0], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    same = many.with_fewer_inputs(rows[0], init, np.ones(30, bool))
    np.testing.assert_array_equal(same, rows[0])


def test_one_hot_columns_share_the_pace_of_theirs():
    architecture = Architecture(7, (2,), 1, ("tanh",), True)
    x = np.zeros((1, 4))
    fit = fit_of(x, np.zeros((1, 1)), architecture)
    fit.expansion = Expansion(1, (2, 3))
    found = np.array([0.5, 0.2, 0.1, 0.3])
    (paced,) = at_pace([fit], found, architecture, "auto")
    wide = architecture.unpack(paced.pace).weights[0][:, 0]
    assert wide.tolist() == found[[0, 1, 1, 2, 2, 2, 3]].tolist()


# ---------------------------------------------------------------- training at a pace


@pytest.mark.parametrize(("solver", "power"), [("adam", 1), ("sgd", 2)])
def test_a_pace_is_a_change_of_units(solver, power):
    """Columns times s: start over s, Adam's steps over s, and gradient's over s^2."""
    problem = regression()
    start = problem.start()
    way_in = problem.architecture.entering(FACTORS)
    asked = {"batch_size": 32, "max_iter": 4, "learning_rate_init": 0.01}
    scaled = problem.fit(start=start, x=design(problem.X * FACTORS), **asked)
    paced = problem.fit(start=start * way_in, pace=way_in**power, **asked)
    options = {"epsilon": 1e-30} if solver == "adam" else {}
    ours, theirs = (problem.alone(fit, solver, **options) for fit in (paced, scaled))
    np.testing.assert_allclose(ours.row, theirs.row * way_in, 1e-7, 1e-9)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_a_stack_of_paces_is_its_networks(solver):
    """Some have none, they leave the stack at different times, rates differ or not."""
    problem = regression()
    for rates in ((0.01,), (0.01, 0.02)):
        fits = []
        for k in range(4):
            asked = {"learning_rate_init": rates[k % len(rates)], "max_iter": 2 + k}
            if k % 3:
                asked["pace"] = problem.architecture.entering(FACTORS**k)
            fits.append(problem.fit(k, batch_size=50, alpha=1.0, **asked))
        for fit, found in zip(fits, problem.train(fits, solver), strict=True):
            own = problem.alone(fit, solver).row
            np.testing.assert_allclose(found.row, own, 1e-8, 1e-8)
        still = problem.fit(pace=np.zeros(len(fits[0].start)), batch_size=50)
        alone = problem.alone(still, solver)
        np.testing.assert_array_equal(alone.row, still.start)


def test_an_even_pace_changes_nothing():
    problem = regression()
    asked = {"batch_size": 50, "max_iter": 3} | held_out(problem)
    index = np.arange(150)
    even = np.ones(problem.architecture.n_parameters)
    found = problem.alone(problem.fit(index=index, pace=even, **asked))
    plain = problem.alone(problem.fit(index=index, **asked))
    np.testing.assert_allclose(found.row, plain.row, 1e-10, 1e-10)


# ------------------------------------------------------------------ in the estimators


def table(n=400, seed=0):
    """A bend, a level, a column of noise, and a target."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"noise": rng.normal(size=n), "x": rng.normal(size=n)})
    X["level"] = pd.Categorical.from_codes(rng.integers(0, 3, n), list("abc"))
    y = np.abs(X["x"]) + 0.7 * (X["level"] == "b") + 0.2 * rng.normal(size=n)
    return X, y.to_numpy()


def asked_of_the_engine(model, X, y, **options):
    """The fits that a call of fit asks for."""
    seen = []

    def door(requests):
        seen.extend(requests)
        return fitting.train_requests(requests)

    with warnings.catch_warnings(), fitting.through(door):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, **options)
    return [r for r in seen if r.architecture.hidden]


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
def test_columns_of_noise_do_not_enter(Estimator):
    X, y = table(1000, seed=1)
    y = y if Estimator is ANNRegressor else (y > np.median(y)).astype(int)
    model = Estimator(n_estimators=3, max_iter=2, random_state=0)
    *paced, scout, other = asked_of_the_engine(model, X, y)
    assert len(paced) == 3
    for request in paced:
        rate = request.architecture.unpack(request.fit.pace).weights[0][:5, 0]
        assert rate[0] == 0.0 and rate[1] == 1.0
        assert 0.2 < rate[2] == rate[3] == rate[4] < 1.0
        start = request.architecture.unpack(request.fit.start)
        np.testing.assert_array_equal(start.weights[0][0], 0.0)
        np.testing.assert_array_equal(start.embeddings[0][1][:4], 0.0)
        assert np.abs(start.weights[0][1:5]).min() > 0.0
    for request in (scout, other):
        np.testing.assert_array_equal(request.fit.pace, 1.0)
        assert np.abs(request.architecture.unpack(request.fit.start).weights[0]).min()
    assert model.column_paces_[:2].tolist() == [0.0, 1.0]
    assert 0.2 < model.column_paces_[2] < 1.0
    for row in model.estimators_:
        weights = row._model.parameters.weights[0]
        assert np.abs(weights[0]).max() == 0.0 < np.abs(weights[1:]).min()


def test_paces_are_shown_for_the_columns_that_were_given():
    """A gap and levels make columns of their own; the fastest counts."""
    X, y = table(1000)
    X = X[["level", "noise", "x"]]
    y = np.where(RNG.random(1000) < 0.3, y + 3.0, y)
    X.loc[y > 3.0, "x"] = np.nan
    model = ANNRegressor(n_estimators=1, max_iter=2, random_state=0).fit(X, y)
    assert model.column_paces_.shape == (3,)
    assert model.column_paces_[2] == 1.0
    assert model.column_paces_[1] < model.column_paces_[0]


@pytest.mark.parametrize(
    "options",
    [
        {"early_stopping": False},
        {"linear_skip": False},
        {"hidden_layer_sizes": ()},
        {"solver": "lbfgs", "early_stopping": True, "linear_skip": True},
    ],
)
def test_networks_without_a_skip_or_stop_have_no_pace(options):
    X, y = table()
    model = ANNRegressor(n_estimators=1, max_iter=2, random_state=0, **options)
    requests = asked_of_the_engine(model, X, y)
    assert all(request.fit.pace is None for request in requests)
    assert len(requests) <= 1
    assert model.column_paces_ is None


def test_where_nothing_explains_anything_or_all_is_one_column_there_are_no_scouts():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 2))
    model = ANNRegressor(n_estimators=2, max_iter=2, random_state=0)
    for columns, y in ((X, rng.normal(size=400)), (X[:, :1], X[:, 0] ** 2)):
        assert len(asked_of_the_engine(model, columns, y)) == 2
        assert model.column_paces_ is None


def test_what_the_user_starts_from_has_no_pace():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    options = {"standardize": False, "numeric_embedding": None, "n_estimators": 1}
    model = ANNRegressor(hidden_layer_sizes=(3,), max_iter=1, **options)
    coefs = [rng.normal(size=(2, 3)), rng.normal(size=(3, 1))]
    given = {"coefs_init": coefs, "intercepts_init": [np.zeros(3), np.zeros(1)]}
    (request,) = asked_of_the_engine(model, X, X[:, 0] ** 2, **given)
    start = request.architecture.unpack(request.fit.start)
    np.testing.assert_allclose(start.weights[0], coefs[0])
    assert request.fit.pace is None


def test_a_warm_start_goes_on_at_its_pace():
    X, y = table(600)
    X = X[["noise", "x"]]
    options = {"n_estimators": 1, "warm_start": True, "random_state": 0}
    model = ANNRegressor(max_iter=2, early_stopping=True, **options)
    (first, _) = asked_of_the_engine(model, X, y)
    (second,) = asked_of_the_engine(model, X, y)
    np.testing.assert_array_equal(second.fit.pace, first.fit.pace)
    assert np.abs(model._model.parameters.weights[0][0]).max() == 0.0


@pytest.mark.slow
def test_columns_of_noise_cost_little_and_products_are_found():
    lost, found = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(6000, 13))
        truth = 2.0 * X[:, 0] + X[:, 1] * X[:, 2]
        y = truth + rng.normal(size=6000)
        scores = []
        for d in (3, 13):
            model = ANNRegressor(random_state=seed).fit(X[:1000, :d], y[:1000])
            scores.append(r2_score(truth[1000:], model.predict(X[1000:, :d])))
        lost.append(scores[0] - scores[1])
        found.append(scores[0])
    assert np.mean(lost) < 0.01
    assert np.mean(found) > 0.97
