"""What "auto" stands for: the rules of docs/defaults.md, and what fits make of them."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.linear_model import BayesianRidge, LinearRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from sklearn_ann import ANNClassifier, ANNRegressor
from sklearn_ann.defaults import RULES, decided

few_epochs = pytest.mark.filterwarnings(
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
# As the package takes them, of weighted rows and of others.
QUARTILES = "inverted_cdf"
each_estimator = pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
# Beside early stopping, with nothing said: what the textbook's network is.
TEXTBOOK = {
    "early_stopping": False,
    "n_estimators": 1,
    "linear_skip": False,
    "standardize": "standard",
    "numeric_embedding": None,
    "dropout": 0.0,
    "alpha": 1e-4,
    "batch_size": 200,
    "learning_rate": "constant",
    "learning_rate_init": 0.001,
    "max_iter": 200,
    "n_iter_no_change": 10,
}
OURS = {
    "early_stopping": True,
    "n_estimators": 8,
    "linear_skip": True,
    "standardize": "robust",
    "numeric_embedding": "piecewise_linear",
    "dropout": 0.0,
    "alpha": 0.0,
    "batch_size": 128,
    "learning_rate": "cosine",
    "learning_rate_init": 0.003,
    "max_iter": 100,
    "n_iter_no_change": 20,
}


def rows(n):
    """Any table of n rows: the rules look at nothing else."""
    return np.broadcast_to(0.0, (n, 1))


def choice(n, Estimator=ANNRegressor, **options):
    """What the rules choose for n rows: a dict."""
    found = decided(Estimator(**options), rows(n))
    return {name: getattr(found, name) for name in TEXTBOOK}


def data(n, seed=0, noise=0.5):
    """Linear in three columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, X @ [1.0, -0.5, 0.3] + noise * rng.normal(size=n)


def labels(Estimator, y):
    return y if Estimator is ANNRegressor else np.digitize(y, [-0.5, 0.5])


# ------------------------------------------------------------------------ the rules


def test_every_rule_is_of_a_parameter_that_is_auto():
    assert {"early_stopping", *RULES} == set(TEXTBOOK)
    for Estimator in (ANNRegressor, ANNClassifier):
        parameters = Estimator().get_params()
        assert {parameters[name] for name in TEXTBOOK} == {"auto"}


@each_estimator
def test_with_early_stopping(Estimator):
    assert choice(1000, Estimator) == OURS
    assert choice(1000, Estimator, early_stopping=True) == OURS


@each_estimator
@pytest.mark.parametrize("n", [10, 1000, 1_000_000])
def test_the_textbook_is_one_parameter_away(Estimator, n):
    assert choice(n, Estimator, early_stopping=False) == TEXTBOOK


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"solver": "lbfgs"}, {}),
        ({"hidden_layer_sizes": ()}, {"alpha": 0.0}),
        ({"hidden_layer_sizes": (), "early_stopping": False}, {"alpha": 0.0}),
    ],
)
@pytest.mark.parametrize("n", [10, 1000])
def test_where_early_stopping_makes_no_sense(n, options, changed):
    assert choice(n, **options) == TEXTBOOK | changed


def test_in_partial_fit():
    found = decided(ANNRegressor(), rows(1000), incremental=True)
    assert {name: getattr(found, name) for name in TEXTBOOK} == TEXTBOOK


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("early_stopping", {49: False, 50: True}),
        ("linear_skip", {49: True, 50: True}),
        ("dropout", {49: 0.0, 50: 0.0}),
        ("standardize", {49: "standard", 50: "robust"}),
        ("learning_rate", {49: "constant", 50: "cosine"}),
        ("learning_rate_init", {49: 0.001, 50: 0.003}),
        ("n_iter_no_change", {49: 10, 50: 20}),
        ("alpha", {49: 1e-4, 50: 0.0, 5000: 0.0}),
        ("numeric_embedding", {299: None, 300: "piecewise_linear"}),
        (
            "n_estimators",
            {49: 1, 50: 8, 50_000: 8, 50_001: 7, 100_000: 4, 400_000: 1, 10**7: 1},
        ),
        (
            "batch_size",
            {49: 200, 50: 128, 51_199: 128, 51_200: 256, 102_400: 512, 10**7: 1024},
        ),
        (
            "max_iter",
            {49: 200, 50: 100, 25_000: 100, 100_000: 50, 400_000: 25, 10**7: 10},
        ),
    ],
)
def test_where_the_rules_change(name, expected):
    assert {n: choice(n)[name] for n in expected} == expected


def test_rows_of_weight_zero_do_not_count():
    weight = np.repeat([0.0, 2.0], [100, 49])
    few = decided(ANNRegressor(), rows(149), weight)
    assert (few.early_stopping, few.n_estimators) == (False, 1)
    weight[0] = 2.0
    enough = decided(ANNRegressor(), rows(149), weight)
    assert (enough.early_stopping, enough.n_estimators) == (True, 8)


def test_sparse_columns_are_neither_centred_nor_embedded():
    found = decided(ANNRegressor(), sp.csr_array((1000, 1)))
    assert (found.standardize, found.numeric_embedding) == ("standard", None)
    found = decided(ANNRegressor(dtype="bfloat16"), rows(1000))
    assert found.numeric_embedding is None


@pytest.mark.parametrize("early_stopping", ["auto", False])
def test_what_is_set_stays(early_stopping):
    asked = {
        "n_estimators": 3,
        "linear_skip": False,
        "standardize": False,
        "numeric_embedding": "periodic",
        "dropout": 0.25,
        "alpha": 7.0,
        "batch_size": "full",
        "learning_rate": "one_cycle",
        "learning_rate_init": 0.5,
        "max_iter": 9,
        "n_iter_no_change": 4,
    }
    found = choice(1000, early_stopping=early_stopping, **asked)
    assert {name: found[name] for name in asked} == asked


def test_what_was_decided_stays_where_training_goes_on():
    model = ANNRegressor()
    model.n_estimators_, model.batch_size_ = 8, None
    found = decided(model, rows(10**6), resumes=True)
    assert (found.n_estimators, found.batch_size) == (8, 1024)
    assert decided(model, rows(10**6)).n_estimators == 1


# -------------------------------------------------------------------- what fits show


@few_epochs
@each_estimator
def test_fitted_attributes_say_what_was_decided(Estimator):
    X, y = data(300)
    model = Estimator(max_iter=2, random_state=0)
    parameters = model.get_params()
    model.fit(X, labels(Estimator, y))
    assert model.get_params() == parameters
    expected = OURS | {"max_iter": 2}
    assert {name: getattr(model, f"{name}_") for name in TEXTBOOK} == expected
    assert len(model.estimators_) == 8
    assert len({tuple(m.validation_scores_) for m in model.estimators_}) == 8


@few_epochs
@each_estimator
def test_the_textbooks_network_is_one_plain_network(Estimator):
    X, y = data(300)
    y = labels(Estimator, y)
    options = {"hidden_layer_sizes": 4, "max_iter": 3, "random_state": 0}
    model = Estimator(**options, early_stopping=False).fit(X, y)
    expected = TEXTBOOK | {"max_iter": 3}
    assert {name: getattr(model, f"{name}_") for name in TEXTBOOK} == expected
    spelt_out = Estimator(**options | TEXTBOOK | {"max_iter": 3}).fit(X, y)
    for ours, theirs in zip(model.coefs_, spelt_out.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    n_outputs = 1 if Estimator is ANNRegressor else 3
    assert [w.shape for w in model.coefs_] == [(3, 4), (4, n_outputs)]


@few_epochs
@pytest.mark.parametrize(
    ("Theirs", "Ours"), [(MLPRegressor, ANNRegressor), (MLPClassifier, ANNClassifier)]
)
def test_parameters_of_scikit_learns_networks_are_taken_over(Theirs, Ours):
    X, y = data(60)
    theirs = Theirs(max_iter=2).get_params()
    model = Ours(**theirs).fit(X, labels(Ours, y))
    assert (model.early_stopping_, model.n_estimators_) == (False, 1)
    assert [len(w) for w in model.coefs_] == [3, 100]


# -------------------------------------------------------------------- a few rows


@few_epochs
@each_estimator
def test_few_rows_are_fitted_whole(Estimator):
    X, y = data(49)
    model = Estimator(random_state=0).fit(X, labels(Estimator, y))
    assert (model.early_stopping_, model.n_estimators_) == (False, 1)
    assert (model.dtype_, model.batch_size_) == ("float64", None)
    assert model.linear_skip_ and model.validation_scores_ is None


@few_epochs
@each_estimator
def test_of_few_rows_a_weight_is_repetition(Estimator):
    X, y = data(24)
    y = labels(Estimator, y)
    weight = np.tile([1, 2, 0], 8)
    model = Estimator(random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    method = "predict" if Estimator is ANNRegressor else "predict_proba"
    ours, theirs = (getattr(m, method)(X) for m in (weighted, repeated))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7)
    plain = getattr(clone(model).fit(X, y), method)(X)
    assert np.abs(plain - ours).max() > 1e-3


# -------------------------------------------------------------------- going on


@each_estimator
def test_partial_fit(Estimator):
    """One plain network, whose batches follow the rows of each call."""
    X, y = data(500)
    y = labels(Estimator, y)
    model = Estimator(dtype="float64", random_state=0)  # "auto" follows the batch
    classes = {} if Estimator is ANNRegressor else {"classes": [0, 1, 2]}
    model.partial_fit(X[:60], y[:60], **classes)
    assert (model.early_stopping_, model.n_estimators_) == (False, 1)
    assert (model.linear_skip_, model.batch_size_) == (False, None)
    model.partial_fit(X, y)
    assert (model.n_iter_, model.batch_size_, model.t_) == (2, 200, 560)


@few_epochs
@each_estimator
def test_warm_starts_go_on(Estimator):
    """The members' epochs add up to those of one call, bit for bit."""
    X, y = data(80)
    y = labels(Estimator, y)
    warm = Estimator(
        8, max_iter=3, learning_rate="constant", warm_start=True, random_state=0
    )
    straight = clone(warm).set_params(max_iter=6).fit(X, y)
    first = pickle.loads(pickle.dumps(warm.fit(X, y))).fit(X, y)
    assert len(first.estimators_) == len(straight.estimators_) == 8
    assert first.n_iter_ == straight.n_iter_ == 6
    for ours, theirs in zip(first.estimators_, straight.estimators_, strict=True):
        assert ours.loss_curve_ == theirs.loss_curve_
        assert ours.validation_scores_ == theirs.validation_scores_


@few_epochs
def test_warm_starts_keep_what_was_decided():
    """Even where the rules would choose otherwise for the rows of a later call."""
    X, y = data(310)
    options = {"dtype": "float32", "warm_start": True, "random_state": 0}
    model = ANNRegressor(4, max_iter=2, **options).fit(X, y)
    assert model.numeric_embedding_ == "piecewise_linear"
    model.fit(X[:100], y[:100])
    assert model.numeric_embedding_ == "piecewise_linear"
    assert len(model.estimators_) == 8
    assert model.n_iter_ == 4


# -------------------------------------------------------------------- validation


@few_epochs
def test_own_validation_data_and_weights():
    X, y = data(120)
    model = ANNRegressor(8, max_iter=2, random_state=0)
    given = {"X_val": X[80:], "y_val": y[80:], "sample_weight": np.full(80, 3.0)}
    model.fit(X[:80], y[:80], **given)
    assert model.early_stopping_
    assert {m.t_ for m in model.estimators_} == {2 * 80}
    assert model.alpha_ == 0.0


# -------------------------------------------------------------------- they just work


def robustly_scaled(X):
    """Columns as ``standardize="robust"`` scales them where no clip pays."""
    low, centre, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0, method=QUARTILES)
    return (X - centre) / (high - low)


@pytest.mark.parametrize(
    ("options", "scaled", "linear"),
    [
        ({}, robustly_scaled, BayesianRidge(tol=1e-8)),
        ({"standardize": "standard"}, np.asarray, LinearRegression()),
    ],
    ids=["auto", "standard"],
)
def test_what_is_linear_stays_the_likelier_linear_model(options, scaled, linear):
    """OLS and the ridge are equally likely here: another scale, and it is the other."""
    X, y = data(400)
    model = ANNRegressor(random_state=0, **options).fit(X, y)
    assert model.stays_linear_
    columns = scaled(X)
    predicted = linear.fit(columns, y).predict(columns)
    np.testing.assert_allclose(model.predict(X), predicted, rtol=0, atol=1e-5)
    assert np.abs(linear.coef_).min() > 0.1


def test_many_small_coefficients_are_penalised_by_evidence():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 60))
    y = X @ (0.1 * rng.standard_normal(60)) + rng.standard_normal(300)
    model = ANNRegressor(standardize="standard", random_state=0).fit(X, y)
    assert model.stays_linear_
    columns = StandardScaler().fit_transform(X)
    linear = BayesianRidge(tol=1e-8).fit(columns, y)
    predicted = linear.predict(columns)
    np.testing.assert_allclose(model.predict(X), predicted, rtol=0, atol=2e-3)
    ols = LinearRegression().fit(X, y).predict(X)
    assert np.abs(ols - predicted).max() > 0.1


def test_what_is_curved_is_found():
    X, y = make_friedman1(500, noise=1.0, random_state=0)
    new_X, new_y = make_friedman1(2000, noise=1.0, random_state=1)
    model = ANNRegressor(random_state=0).fit(X, y)
    assert not model.stays_linear_
    linear = LinearRegression().fit(X, y).score(new_X, new_y)
    assert model.score(new_X, new_y) > linear + 0.05


def table(n=200):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "wage": np.where(rng.uniform(size=n) < 0.1, np.nan, rng.normal(size=n)),
            "region": rng.choice(["north", "south", None], n),
            "union": rng.uniform(size=n) < 0.5,
        }
    )
    shift = frame["region"].map({"north": 2.0, "south": -2.0}).fillna(0.0)
    signal = frame["wage"].fillna(1.0) + shift
    return frame, (signal + 0.1 * rng.normal(size=n)).to_numpy()


@each_estimator
def test_a_table_with_text_and_gaps(Estimator):
    X, y = table()
    y = labels(Estimator, y)
    model = Estimator(random_state=0).fit(X, y)
    assert model.early_stopping_ and model.n_estimators_ == 8
    assert model.score(X, y) > 0.8
    gone = X.assign(wage=np.nan, region="east")
    assert np.isin(model.predict(gone), y).all() or Estimator is ANNRegressor
    assert np.isfinite(model.predict(gone)).all()


@few_epochs
@pytest.mark.parametrize("n", [40, 150])
@pytest.mark.parametrize(
    "options",
    [
        {"loss": "huber"},
        {"loss": "absolute_error"},
        {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]},
        {"loss": "poisson"},
        {"loss": "gamma"},
    ],
    ids=lambda options: options["loss"],
)
def test_every_loss(options, n):
    X, y = data(n)
    positive = options["loss"] in ("poisson", "gamma")
    y = np.exp(y) if positive else y
    model = ANNRegressor(random_state=0, **options).fit(X, y)
    predicted = model.predict(X)
    assert len(predicted) == n and np.isfinite(predicted).all()
    assert model.score(X, y) > 0.2
    assert (predicted > 0).all() or not positive


COUNTS = {"loss": "poisson"}
# Estimator, parameters, and the target made of a number.
ROADS = {
    "numbers": (ANNRegressor, {}, lambda y: y),
    "two outputs": (ANNRegressor, {}, lambda y: np.column_stack([y, -2.0 * y])),
    "quantile": (ANNRegressor, {"loss": "quantile", "quantile": 0.3}, lambda y: y),
    "counts": (ANNRegressor, COUNTS, lambda y: np.floor(np.exp(y.clip(max=3.0)))),
    "two classes": (ANNClassifier, {}, lambda y: y > 0.5),
    "three classes": (ANNClassifier, {}, lambda y: np.digitize(y, [-1.0, 1.0])),
    "class weights": (
        ANNClassifier,
        {"class_weight": "balanced"},
        lambda y: np.digitize(y, [-1.0, 1.0]),
    ),
    "labels": (ANNClassifier, {}, lambda y: np.column_stack([y > 0.5, y > -1]) * 1),
}


@pytest.mark.parametrize("name", ROADS)
def test_every_target_of_a_table_takes_the_road_of_the_defaults(name):
    """Weights too: a third of the rows has targets of other rows, and weight zero."""
    Estimator, options, target = ROADS[name]
    X, y = table(300)
    wrong = np.arange(300) % 3 == 0
    y = target(np.where(wrong, y[::-1], y))
    model = Estimator(random_state=0, **options).fit(X, y, np.where(wrong, 0.0, 2.0))
    assert model.early_stopping_ and model.n_estimators_ == 8
    assert model.estimators_[0]._model.design is not None
    right = X[~wrong], y[~wrong]
    assert model.score(*right) > model.score(X[wrong], y[wrong]) + 0.2
    assert model.score(*right) > 0.6


@each_estimator
def test_infinite_numbers_and_missing_targets_are_refused(Estimator):
    X, y = table()
    for bad in (np.inf, -np.inf):
        with pytest.raises(ValueError, match="infinity"):
            Estimator().fit(X.assign(wage=bad), labels(Estimator, y))
    with pytest.raises(ValueError, match="NaN"):
        Estimator().fit(X, np.where(np.arange(len(y)) == 3, np.nan, y))


def test_time_grows_no_faster_than_rows():
    visits = [
        choice(n)["n_estimators"] * choice(n)["max_iter"]
        for n in (50, 1000, 10**4, 10**5, 10**6, 10**7)
    ]
    assert visits == sorted(visits, reverse=True)
