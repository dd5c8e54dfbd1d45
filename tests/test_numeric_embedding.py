"""The estimators' numeric_embedding: every road that a fit may take, through one."""

from __future__ import annotations

import pickle
import warnings
from copy import deepcopy

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import estimator_checks_generator
from textbook import TEXTBOOK

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    average_marginal_effects,
    batched_fits,
)
from sklearn_ann.encoding import weighted_quantiles

KINDS = ("periodic", "piecewise_linear")
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def few_epochs_are_fine():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def steps(n=200, seed=0):
    """Steps and waves of three columns in units of their own."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) * (1.0, 100.0, 0.01) + (5.0, -300.0, 0.0)
    y = 10.0 * (X[:, 0] > 5.0) + np.sin(X[:, 1] / 20.0) + 100.0 * X[:, 2]
    return X, y


def network(kind, **asked):
    given = TEXTBOOK | {"hidden_layer_sizes": 6, "max_iter": 8, "batch_size": 32}
    given |= {"activation": "tanh", "random_state": 0, "numeric_embedding": kind}
    return ANNRegressor(**given | asked)


@each_kind
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"linear_skip": True, "solver": "lbfgs"},
        {"standardize": False, "hidden_layer_sizes": (4, 3)},
        {"hidden_layer_sizes": ()},
        {"early_stopping": True},
        {"n_init": 2, "dropout": 0.2},
        {"loss": "quantile", "quantile": [0.1, 0.9]},
    ],
    ids=str,
)
def test_predictions_are_those_that_were_trained(kind, asked):
    """On training rows predictions have the loss that the last epoch left."""
    X, y = steps()
    ann = network(kind, **asked).fit(X, y)
    assert np.isfinite(ann.predict(X)).all()
    numbers = {"periodic": 3, "piecewise_linear": 4}[kind]
    assert ann.coefs_[0].shape[0] == X.shape[1] * (1 + numbers)
    inside = ann.loss == "quantile" or ann.standardize
    assert ann.coefs_scale_ == ("network" if inside else "user")
    for other in (pickle.loads(pickle.dumps(ann)), clone(ann).fit(X, y)):
        np.testing.assert_array_equal(other.predict(X), ann.predict(X))
    np.testing.assert_allclose(ann.predict(X[:3]), ann.predict(X)[:3], rtol=1e-12)


@each_kind
def test_predictions_have_the_loss_of_training(kind):
    """A full batch without steps left: its loss is that of the predictions."""
    X, y = steps()
    ann = network(kind, batch_size="full", solver="lbfgs", alpha=0.0).fit(X, y)
    error = np.mean((ann.predict(X) - y) ** 2) / 2 / y.var()
    assert error == pytest.approx(ann.loss_, rel=1e-9)


@each_kind
def test_it_bends_where_it_should(kind):
    """A step of height 10: the embedding is what finds it in few epochs."""
    X, y = steps(600)
    asked = {"max_iter": 60, "learning_rate_init": 0.01}
    plain, embedded = (
        network(each, **asked).fit(X[:400], y[:400]).score(X[400:], y[400:])
        for each in (None, kind)
    )
    assert embedded > max(plain, 0.9) - (0.02 if kind == "periodic" else 0.0)


@each_kind
def test_units_do_not_matter(kind):
    X, y = steps()
    asked = {"solver": "lbfgs", "max_iter": 5}
    one = network(kind, **asked).fit(X, y)
    other = network(kind, **asked).fit(8.0 * X + 16.0, 4.0 * y)
    np.testing.assert_allclose(
        other.predict(8.0 * X + 16.0), 4.0 * one.predict(X), rtol=1e-6
    )
    assert one.coefs_scale_ == "network"


@each_kind
def test_a_search_in_company_is_the_search(kind):
    X, y = steps(120)
    grid = {"alpha": [0.01, 1.0], "numeric_embedding": [None, kind]}
    search = GridSearchCV(network(None, max_iter=3), grid, cv=3)
    alone = clone(search).fit(X, y).cv_results_["mean_test_score"]
    with batched_fits():
        together = clone(search).fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


@each_kind
def test_members_differ_and_average(kind):
    X, y = steps()
    ann = network(kind, n_estimators=3, early_stopping=True).fit(X, y)
    each = [member.predict(X) for member in ann.estimators_]
    np.testing.assert_allclose(ann.predict(X), np.mean(each, axis=0))
    own = [member._model.parameters.embeddings[0][0] for member in ann.estimators_]
    assert not np.array_equal(own[0], own[1])  # other waves, or bins of other rows


@each_kind
def test_ten_epochs_and_ten_more_are_twenty(kind):
    X, y = steps()
    whole = network(kind, max_iter=6).fit(X, y)
    halves = network(kind, max_iter=3, warm_start=True).fit(X, y).fit(X, y)
    np.testing.assert_array_equal(halves.predict(X), whole.predict(X))


@each_kind
def test_partial_fit_keeps_the_first_batch_s_constants(kind):
    X, y = steps()
    ann = network(kind).partial_fit(X[:100], y[:100])
    before = ann._model.parameters.embeddings[0]
    ann.partial_fit(X[100:], y[100:])
    after = ann._model.parameters.embeddings[0]
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[1] != before[1]).any()


@each_kind
def test_classes_and_weights(kind):
    """A row of weight two is the row twice, edges and all."""
    X, y = steps(80)
    label = np.digitize(y, (2.0, 9.0))
    weight = np.random.default_rng(0).integers(0, 3, size=80)
    asked = {"solver": "lbfgs", "max_iter": 20, "alpha": 1.0, "random_state": 0}
    ann = ANNClassifier(4, "tanh", numeric_embedding=kind, **asked)
    twice = np.repeat(np.arange(80), weight)
    weighted = clone(ann).fit(X, label, sample_weight=weight).predict_proba(X)
    repeated = clone(ann).fit(X[twice], label[twice]).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-6)


@each_kind
def test_validation_data_do_not_move_the_edges(kind):
    X, y = steps()
    one = network(kind).fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])
    other = network(kind).fit(X[:150], y[:150], X_val=100 * X[150:], y_val=y[150:])
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


def mean_slopes(ann, X):
    """Average slopes in every column, by central differences."""
    slopes = []
    for j, scale in enumerate(X.std(axis=0)):
        h = np.zeros(X.shape[1])
        h[j] = 1e-6 * scale
        slopes.append((ann.predict(X + h) - ann.predict(X - h)).mean() / (2 * h[j]))
    return np.array(slopes)


@each_kind
def test_effects_go_through_it(kind):
    X, y = steps()
    ann = network(kind, solver="lbfgs", max_iter=50).fit(X, y)
    found = average_marginal_effects(ann, X).estimate
    np.testing.assert_allclose(found, mean_slopes(ann, X), rtol=1e-4)


@pytest.mark.parametrize("kind, n", [("periodic", 1000), ("piecewise_linear", 1500)])
def test_standard_errors_are_how_far_a_fit_moves_with_its_rows(kind, n):
    """Rows' weights up and down at random, refitted from where the fit stands.

    The mean square of what that moves an effect by is its variance (White's, HC0); of
    60 draws it has a relative standard error of 18%, and its root of 9%.
    """
    X, y = steps(n)
    X, rng = X[:, :1], np.random.default_rng(1)
    y = y + rng.normal(size=n)
    asked = {"solver": "lbfgs", "max_iter": 4000, "tol": 1e-7, "alpha": 100.0}
    ann = network(kind, hidden_layer_sizes=2, **asked).fit(X, y)
    found, size = average_marginal_effects(ann, X, y, vcov="HC0"), 0.05
    moves = []
    for _ in range(60):
        sign = rng.permutation(np.repeat([-size, size], n // 2))
        moved = deepcopy(ann).set_params(warm_start=True)
        moved.fit(X, y, sample_weight=1.0 + sign)
        moves.append((mean_slopes(moved, X) - mean_slopes(ann, X)) / size)
    assert found.std_error == pytest.approx(np.std(moves), rel=0.27)


def test_starting_weights_of_the_right_shape():
    X, y = steps()
    coefs = [np.full((12, 6), 0.1), np.ones((6, 1))]
    ann = network("periodic", max_iter=1, learning_rate_init=1e-12)
    ann.fit(X, y, coefs_init=coefs)
    np.testing.assert_allclose(ann.coefs_[0], 0.1, atol=1e-6)
    with pytest.raises(ValueError, match=r"coefs_init .*\(12, 6\)"):
        ann.fit(X, y, coefs_init=[coefs[0][:3], coefs[1]])


def test_what_does_not_go_together():
    X, y = steps()
    ann = network("periodic")
    for sparse in (sp.csr_array(X), sp.csc_matrix(X)):
        with pytest.raises(ValueError, match="expects dense X"):
            ann.fit(sparse, y)
        with pytest.raises(ValueError, match="expects dense X"):
            clone(ann).fit(X, y).predict(sparse)
    with pytest.raises(ValueError, match="dtype='bfloat16' keeps three digits"):
        network("periodic", dtype="bfloat16").fit(X, y)
    with pytest.raises(ValueError, match="numeric_embedding"):
        network("sines").fit(X, y)
    ann = network("periodic", warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="Use warm_start=False to start anew"):
        ann.set_params(numeric_embedding="piecewise_linear").fit(X, y)
    with pytest.raises(AttributeError, match="linear in X"):
        network("periodic", hidden_layer_sizes=()).fit(X, y).coef_  # noqa: B018


@each_kind
def test_constant_and_binary_columns(kind):
    X, y = steps()
    X = np.column_stack([X, np.ones(200), X[:, 0] > 5.0])
    ann = network(kind).fit(X, y)
    assert np.isfinite(ann.predict(X)).all()


def test_weighted_quantiles():
    values = np.array([[3.0, 1.0], [1.0, 1.0], [2.0, 9.0]])
    levels = np.array([0.0, 1 / 3, 0.5, 2 / 3, 1.0])
    found = weighted_quantiles(values, None, levels)
    np.testing.assert_array_equal(found[:, 0], [1, 1, 2, 2, 3])
    np.testing.assert_array_equal(found[:, 1], [1, 1, 1, 1, 9])
    weight = np.array([0.1, 0.1, 0.3])
    found = weighted_quantiles(values, weight, np.array([0.2, 0.21, 0.8, 0.81]))
    np.testing.assert_array_equal(found[:, 0], [1, 2, 2, 3])


CHECKED = [
    estimator(numeric_embedding=kind)
    for estimator in (ANNRegressor, ANNClassifier)
    for kind in KINDS
]


@pytest.mark.slow
@pytest.mark.parametrize("estimator", CHECKED, ids=str)
def test_estimator_checks(estimator):
    for own, check in estimator_checks_generator(estimator):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(own)
