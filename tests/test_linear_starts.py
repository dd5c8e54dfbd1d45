"""Networks with a linear skip: where they start, when they leave the linear model."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.datasets import make_friedman1
from sklearn.linear_model import BayesianRidge, LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from textbook import TEXTBOOK

from sklearn_ann import ANNClassifier, ANNRegressor, batched_fits
from sklearn_ann.engine.evidence import evident
from sklearn_ann.engine.losses import make_loss
from sklearn_ann.engine.newton import Regression

RNG = np.random.default_rng(0)
N, D = 300, 4
X = RNG.normal(size=(N, D))
SIGNAL = X @ [1.0, -0.5, 0.3, 0.0]
Y = SIGNAL + RNG.normal(size=N)
GROUPS = np.arange(N) // 5


def network(model=ANNRegressor, **options):
    """A network that starts at the linear model and is judged on held-out rows."""
    defaults = {
        **TEXTBOOK,
        "hidden_layer_sizes": (8,),
        "activation": "tanh",
        "linear_skip": True,
        "early_stopping": True,
        "validation_fraction": 0.2,
        "learning_rate": "cosine",
        "max_iter": 20,
        "random_state": 0,
    }
    return model(**{**defaults, **options})


def still(model=ANNRegressor, **options):
    """The same where steps are too small to go anywhere."""
    return network(model, learning_rate_init=1e-12, early_stopping=False, **options)


def bayesian_ridge(x, y):
    """scikit-learn's, on standardised columns."""
    return make_pipeline(StandardScaler(), BayesianRidge(tol=1e-8)).fit(x, y)


def problem(x, y, loss, weight=None):
    weight = np.ones(len(x)) if weight is None else weight
    return Regression(
        torch.from_numpy(np.column_stack([x, np.ones(len(x))])),
        None,
        torch.from_numpy(np.asarray(y).reshape(len(x), -1)),
        torch.arange(len(x)),
        torch.from_numpy(weight / weight.sum()),
        loss,
        0.0,
    )


def solved(x, y, loss="squared_error", weight=None, n_raw=1, **parameters):
    total = len(x) if weight is None else weight.sum()
    block = torch.zeros((x.shape[1] + 1, n_raw), dtype=torch.float64)
    asked = problem(x, y, make_loss(loss, **parameters), weight)
    block[-1] = asked.loss.start(asked.y, asked.weight)
    return evident(asked, total, block)


@pytest.mark.parametrize(("n", "d"), [(60, 30), (200, 3)])
def test_evidence_is_that_of_bayesian_ridge(n, d):
    """scikit-learn's BayesianRidge without hyperpriors, run to the end."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, d))
    y = x @ rng.normal(size=d) + 2.0 * rng.normal(size=n)
    flat = dict.fromkeys(("alpha_1", "alpha_2", "lambda_1", "lambda_2"), 0.0)
    oracle = BayesianRidge(**flat, tol=1e-10, max_iter=2000).fit(x, y)
    ours = solved(x, y)
    assert ours.alpha == pytest.approx(oracle.lambda_ / oracle.alpha_, rel=0.02)
    np.testing.assert_allclose(ours.block[:-1, 0], oracle.coef_, atol=2e-3)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "log_loss", "poisson"])
def test_a_weight_of_two_is_the_row_twice(loss):
    y = {"log_loss": (Y > 0) * 1.0, "poisson": np.round(np.exp(SIGNAL))}.get(loss, Y)
    weight = RNG.integers(1, 4, size=N).astype(float)
    twice = np.repeat(np.arange(N), weight.astype(int))
    weighted, repeated = solved(X, y, loss, weight), solved(X[twice], y[twice], loss)
    assert weighted.alpha == pytest.approx(repeated.alpha, rel=1e-9)
    np.testing.assert_allclose(weighted.block, repeated.block, atol=1e-10)


def test_evidence_of_a_logit_is_its_own_fixed_point():
    """MacKay (1992), equation 4.8: the penalty times ||w||^2 is what the data fix."""
    y = (SIGNAL + RNG.logistic(size=N) > 0) * 1.0
    ours = solved(X, y, "log_loss")
    oracle = LogisticRegression(C=1.0 / ours.alpha, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(ours.block[:-1, 0], oracle.coef_[0], atol=1e-3)
    p = oracle.predict_proba(X)[:, 1]
    A = np.column_stack([X, np.ones(N)])
    hessian = A.T @ (A * (p * (1 - p))[:, None])
    schur = (
        hessian[:-1, :-1]
        - np.outer(hessian[:-1, -1], hessian[-1, :-1]) / (hessian[-1, -1])
    )
    values = np.linalg.eigvalsh(schur)
    gamma = (values / (values + ours.alpha)).sum()
    assert ours.alpha * (oracle.coef_**2).sum() == pytest.approx(gamma, rel=0.03)


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.0, 1e100])
@pytest.mark.parametrize("n", [2, 50])
def test_a_target_that_does_not_vary_is_the_intercept(n, constant):
    x = np.random.default_rng(0).normal(size=(n, 1))
    block = solved(x, np.full(n, constant)).block[:, 0]
    np.testing.assert_allclose(
        block, [0.0, constant], rtol=0, atol=1e-12 * (1.0 + abs(constant))
    )


def hump(noise):
    """A column beside its square, whose coefficients are large and of two signs."""
    rng = np.random.default_rng(0)
    age = rng.uniform(20.0, 60.0, 800)
    bent = 1.5 - np.square((age - 42.0) / 12.0)
    columns = StandardScaler().fit_transform(np.c_[age, age**2])
    return columns, bent + noise * rng.standard_normal(800)


def least_squares(X, y):
    return np.linalg.lstsq(np.c_[X, np.ones(len(X))], y, rcond=None)[0]


def test_a_column_beside_its_square_is_not_penalised():
    """Ridge would flatten a hump."""
    X, y = hump(noise=6.0)
    ols = least_squares(X, y)
    np.testing.assert_allclose(solved(X, y).block[:, 0], ols, rtol=1e-3)
    ridge = BayesianRidge().fit(X, y).coef_
    assert np.abs(ridge).max() < 0.9 * np.abs(ols).max()


def test_a_hump_that_noise_may_have_made_is():
    """F is 3, and Zellner's prior itself would shrink least squares by a third."""
    X, y = hump(noise=8.0)
    found = solved(X, y).block[:-1, 0].abs().max()
    assert found < 0.5 * np.abs(least_squares(X, y)).max()


def test_noise_is_penalised_away():
    noise = RNG.normal(size=N)
    assert float(solved(X, noise).block[:-1].abs().max()) < 0.1
    # Without noise the penalty is the least there is, 1e-6 of the largest curvature.
    exact = solved(X, SIGNAL)
    np.testing.assert_allclose(
        exact.block[:-1, 0].numpy(), [1, -0.5, 0.3, 0], atol=2e-6
    )


def probability(log_odds):
    """Two to one before the data."""
    return 1.0 / (1.0 + 0.5 * np.exp(-log_odds))


@pytest.mark.parametrize("strength", [0.0, 0.1, 0.3])
@pytest.mark.parametrize(("n", "d"), [(40, 3), (30, 60)])
def test_the_probability_is_that_of_two_normal_models(n, d, strength):
    """Of y about its mean: variances I + X X' / alpha and I, in proportion to phi."""
    rng = np.random.default_rng(n + d)
    x = rng.normal(size=(n, d))
    y = strength * x[:, 0] + rng.normal(size=n)
    ours = solved(x, y)
    basis = np.linalg.svd(np.ones((n, 1)), full_matrices=True)[0][:, 1:]
    z, own = basis.T @ x, basis.T @ y
    variance = np.eye(n - 1) + z @ z.T / ours.alpha
    log_odds = -0.5 * np.linalg.slogdet(variance)[1]
    squares = own @ np.linalg.solve(variance, own)
    log_odds -= 0.5 * (n - 1) * np.log(squares / (own @ own))
    assert ours.probability == pytest.approx(probability(log_odds), abs=0.005)


@pytest.mark.parametrize("strength", [0.0, 0.8])
def test_the_probability_of_a_logit_is_about_the_integral(strength):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(80, 1))
    y = (strength * x[:, 0] + rng.logistic(size=80) > 0) * 1.0
    ours = solved(x, y, "log_loss")
    slopes, intercepts = np.linspace(-4.0, 4.0, 401), np.linspace(-4.0, 4.0, 401)
    raw = slopes[:, None, None] * x[:, 0] + intercepts[None, :, None]
    likelihood = np.exp((y * raw - np.logaddexp(0.0, raw)).sum(axis=2))
    prior = norm.pdf(slopes, scale=ours.alpha**-0.5)
    ridge = (likelihood * prior[:, None]).sum() * (slopes[1] - slopes[0])
    expected = probability(np.log(ridge / likelihood[200].sum()))
    assert ours.probability == pytest.approx(expected, abs=0.01)


def test_a_model_of_noise_is_averaged_with_the_constant():
    rng = np.random.default_rng(18)
    x, noise = rng.normal(size=(100, 8)), rng.normal(size=100)
    columns = StandardScaler().fit_transform(x)
    share = solved(columns, noise).probability
    assert 0.55 < share < 0.95
    ridge = BayesianRidge(tol=1e-8).fit(columns, noise).predict(columns)
    found = still(standardize="standard").fit(x, noise).predict(x)
    expected = noise.mean() + share * (ridge - noise.mean())
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert np.abs(ridge - found).max() > 0.05


def test_where_the_scale_is_unknown_or_there_are_two_outputs_nothing_is_averaged():
    noise = np.random.default_rng(2).normal(size=(N, 2))
    assert solved(X, noise[:, 0]).probability < 1.0
    assert solved(X, noise[:, 0], "huber").probability == 1.0
    assert solved(X, noise, n_raw=2).probability == 1.0


@pytest.mark.parametrize("columns", [1, 2])
def test_the_start_is_the_linear_model(columns):
    """One penalty serves all outputs: with two equal ones it is that of one."""
    y = Y if columns == 1 else np.column_stack([Y, Y])
    started = still().fit(X, y).predict(X)
    for column in started.reshape(N, -1).T:
        np.testing.assert_allclose(column, bayesian_ridge(X, Y).predict(X), atol=2e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "absolute_error"},
        {"loss": "huber"},
        {"loss": "quantile", "quantile": 0.8},
        {"loss": "quantile", "quantile": (0.1, 0.5, 0.9)},
        {"loss": "poisson"},
        {"loss": "gamma"},
    ],
    ids=lambda o: "-".join(map(str, o.values())),
)
def test_every_loss_starts_at_its_linear_model(options):
    """Its own loss is near that of the network without hidden layer."""
    y = np.exp(0.5 * Y) if options["loss"] in ("poisson", "gamma") else Y
    started = still(**options).fit(X, y)
    linear = ANNRegressor((), max_iter=2000, **options).fit(X, y)
    assert started.score(X, y) == pytest.approx(linear.score(X, y), abs=0.01)


@pytest.mark.parametrize("kind", ["binary", "classes", "labels"])
def test_classes_start_at_their_logit(kind):
    labels = {
        "binary": Y > 0,
        "classes": np.digitize(Y, [-1.0, 0.5]),
        "labels": np.column_stack([Y > 0, X[:, 1] + Y > 0]) * 1,
    }[kind]
    started = still(ANNClassifier).fit(X, labels).predict_proba(X)
    logit = ANNClassifier(()).fit(X, labels).predict_proba(X)
    np.testing.assert_allclose(started, logit, atol=0.05)


def test_sparse_columns_start_where_dense_ones_do():
    import scipy.sparse as sp

    dense, sparse = (still().fit(table, Y) for table in (X, sp.csr_array(X)))
    np.testing.assert_allclose(dense.predict(X), sparse.predict(X), atol=1e-5)


@pytest.mark.parametrize("options", [{"n_estimators": 4}, {}, {"n_init": 2}])
@pytest.mark.parametrize("groups", [None, GROUPS])
def test_what_is_linear_stays_the_linear_model_of_all_rows(options, groups):
    # One seed in six leaves by chance, at a pace or not: the rule's 1.5 errors.
    fitted = network(random_state=1, **options).fit(X, Y, groups=groups)
    assert fitted.stays_linear_
    expected = bayesian_ridge(X, Y).predict(X)
    np.testing.assert_allclose(fitted.predict(X), expected, atol=2e-3)


def test_what_is_curved_leaves_it():
    x, y = make_friedman1(600, noise=1.0, random_state=0)
    x_new, y_new = make_friedman1(2000, noise=1.0, random_state=1)
    options = {"learning_rate_init": 0.02, "max_iter": 100, "n_estimators": 4}
    fitted = network(**options).fit(x, y)
    assert not fitted.stays_linear_
    linear = LinearRegression().fit(x, y).score(x_new, y_new)
    assert fitted.score(x_new, y_new) > linear + 0.05


def test_rows_given_for_validation_leave_the_linear_model_to_the_others():
    fitted = network().fit(X[:200], Y[:200], X_val=X[200:], y_val=Y[200:])
    assert fitted.stays_linear_
    linear = bayesian_ridge(X[:200], Y[:200])
    np.testing.assert_allclose(fitted.predict(X), linear.predict(X), atol=2e-3)


def test_a_scorer_decides_by_itself():
    fitted = network(scoring="r2").fit(X, Y)
    assert fitted.stays_linear_ is None


@pytest.mark.filterwarnings("ignore:Training reached max_iter")
def test_a_resumed_network_does_not_start_again():
    options = {"early_stopping": False, "learning_rate": "constant"}
    twice = network(warm_start=True, max_iter=5, **options).fit(X, Y).fit(X, Y)
    once = network(max_iter=10, **options).fit(X, Y)
    np.testing.assert_allclose(twice.predict(X), once.predict(X), rtol=1e-6)


def test_searches_find_the_same_inside_batched_fits():
    grid = {"alpha": [0.1, 10.0], "n_estimators": [1, 3]}
    plain, batched = (
        GridSearchCV(network(dtype="float64"), grid, cv=3) for _ in range(2)
    )
    plain.fit(X, Y)
    with batched_fits():
        batched.fit(X, Y)
    np.testing.assert_allclose(
        plain.cv_results_["mean_test_score"],
        batched.cv_results_["mean_test_score"],
        atol=1e-8,
    )
