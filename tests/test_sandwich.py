"""Standard errors against statsmodels; invariances; when the sandwich is refused."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import statsmodels.api as sm
import torch
from econ_data import (
    ENGEL_MEDIAN,
    SPECTOR,
    SPECTOR_AME,
    WAGE1_OLS,
    anes96,
    engel,
    mroz,
    spector,
    two_units,
    wage1,
)
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
)
from sklearn.preprocessing import StandardScaler

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    average_marginal_effects,
    average_predictions,
    coefficient_table,
    sandwich,
)
from sklearn_ann.model import unfold
from sklearn_ann.reading import read

RTOL = 1e-6
FEW = "ignore:8 clusters are few:UserWarning"


def close(found, expected, rtol=RTOL):
    np.testing.assert_allclose(found, expected, rtol=rtol)


def tanh_network(X, y, **options):
    options = {"alpha": 0.1, "tol": 1e-8, "max_iter": 5000, "random_state": 0} | options
    kind = ANNRegressor if np.asarray(y).dtype.kind == "f" else ANNClassifier
    return kind(2, activation="tanh", solver="lbfgs", **options).fit(X, y)


# ------------------------------------------------------------------- stored references

LOGITS = {"ours": ANNClassifier(()), "scikit-learn's": LogisticRegression(C=np.inf)}
each_logit = pytest.mark.parametrize("logit", LOGITS.values(), ids=LOGITS)


@each_logit
@pytest.mark.parametrize("vcov", ["classical", "nonrobust", "HC0", "HC1"])
def test_spector_coefficients(logit, vcov):
    X, y = spector()
    table = coefficient_table(clone(logit).fit(X, y), X, y, vcov=vcov)
    close(table.estimate, SPECTOR["params"])
    close(table.std_error, SPECTOR["classical" if vcov == "nonrobust" else vcov])
    assert str(table.basis.law) == "normal"


@pytest.mark.filterwarnings(FEW)
@each_logit
def test_spector_by_cluster(logit):
    X, y = spector()
    fitted, groups = clone(logit).fit(X, y), np.arange(32) // 4
    table = coefficient_table(fitted, X, y, vcov="cluster", groups=groups)
    close(table.std_error, SPECTOR["cluster"])
    assert str(table.basis.law) == "t(7)"
    effects = average_marginal_effects(
        fitted, X, y, kind="slope", vcov="cluster", groups=groups
    )
    close(effects.std_error, SPECTOR_AME["cluster"])


@each_logit
@pytest.mark.parametrize("vcov", ["classical", "HC0", "HC1"])
def test_spector_effects(logit, vcov):
    X, y = spector()
    effects = average_marginal_effects(
        clone(logit).fit(X, y), X, y, kind="slope", vcov=vcov
    )
    close(effects.estimate, SPECTOR_AME["estimate"])
    close(effects.std_error, SPECTOR_AME[vcov])


def test_spector_unconditional():
    X, y = spector()
    effects = average_marginal_effects(
        ANNClassifier(()).fit(X, y),
        X,
        y,
        kind="slope",
        vcov="HC0",
        unconditional=True,
    )
    close(effects.std_error, SPECTOR_AME["unconditional HC0"])
    assert not effects.basis.conditional


LINES = {
    "ours": ANNRegressor(()),
    "ours, raw columns": ANNRegressor((), standardize=False),
    "scikit-learn's": LinearRegression(),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("vcov", ["classical", "HC0", "HC1", "HC2", "HC3"])
def test_wage1(line, vcov):
    X, y = wage1()
    fitted = clone(line).fit(X, y)
    table = coefficient_table(fitted, X, y, vcov=vcov)
    close(table.estimate, WAGE1_OLS["params"])
    close(table.std_error, WAGE1_OLS[vcov])
    assert str(table.basis.law) == "t(522)"
    effects = average_marginal_effects(fitted, X, y, vcov=vcov)
    close(effects.std_error, WAGE1_OLS[vcov][1:])


def test_auto_is_hc1_or_by_cluster():
    X, y = wage1()
    fitted = ANNRegressor(()).fit(X, y)
    effects = average_marginal_effects(fitted, X, y)
    assert effects.basis.method == "HC1"
    assert (
        effects.basis.why == "auto; one converged network of 4 parameters on 526 rows"
    )
    close(effects.std_error, WAGE1_OLS["HC1"][1:])
    effects = average_marginal_effects(fitted, X, y, groups=np.arange(526) // 10)
    assert effects.basis.method == "cluster"


@pytest.mark.parametrize("loss", ["quantile", "absolute_error"])
def test_engel_median(loss):
    """statsmodels' QuantReg and its robust covariance; the coefficients are R's."""
    X, y = engel()
    fitted = ANNRegressor((), loss=loss, tol=1e-9, max_iter=5000).fit(X, y)
    oracle = sm.QuantReg(y, sm.add_constant(X)).fit(0.5, max_iter=5000, p_tol=1e-12)
    table = coefficient_table(fitted, X, y, vcov="HC0")
    close(table.estimate, ENGEL_MEDIAN, rtol=1e-9)
    close(table.std_error, oracle.bse)
    table = coefficient_table(fitted, X, y, vcov="classical")
    close(table.std_error, oracle.bse)  # at the median the two are one


# ------------------------------------------------------------------------ live oracles


def test_anes96_multinomial():
    """MNLogit: coefficients against the base, their covariance, all effects."""
    X, y = anes96()
    oracle = sm.MNLogit(y, sm.add_constant(X)).fit(method="newton", tol=1e-14, disp=0)
    fitted = ANNClassifier(()).fit(X, y)
    table = coefficient_table(fitted, X, y, vcov="classical")
    close(table.estimate, oracle.params.to_numpy().T.ravel())
    close(table.std_error, oracle.bse.to_numpy().T.ravel())
    effects = average_marginal_effects(fitted, X, y, kind="slope", vcov="classical")
    margins = oracle.get_margeff()
    assert margins.margeff.shape == (5, 7)
    np.testing.assert_allclose(
        effects.estimate.reshape(5, 7), margins.margeff, rtol=1e-6, atol=1e-12
    )
    close(effects.std_error.reshape(5, 7), margins.margeff_se)
    frame = effects.to_frame().set_index(["term", "class"])
    close(
        frame.loc[("logpopul", 0), ["estimate", "std_error"]],
        [0.00868086, 0.00385811],
        1e-5,
    )
    # A symmetric softmax has one redundant set of coefficients.
    assert effects.basis.k == 36


def test_another_base_class():
    X, y = anes96()
    fitted = ANNClassifier(()).fit(X, y)
    table = coefficient_table(fitted, X, y, base=6)
    first = coefficient_table(fitted, X, y)
    at, back = table.names.index("age:0"), first.names.index("age:6")
    close(table.estimate[at], -first.estimate[back])
    close(table.std_error[at], first.std_error[back])


@pytest.mark.parametrize(
    ("estimator", "family"),
    [
        (ANNRegressor((), loss="poisson"), sm.families.Poisson()),
        (PoissonRegressor(alpha=0, tol=1e-12, max_iter=1000), sm.families.Poisson()),
        (
            ANNRegressor((), loss="gamma"),
            sm.families.Gamma(sm.families.links.Log()),
        ),
        (
            GammaRegressor(alpha=0, tol=1e-12, max_iter=1000),
            sm.families.Gamma(sm.families.links.Log()),
        ),
    ],
    ids=["poisson", "scikit-learn's poisson", "gamma", "scikit-learn's gamma"],
)
def test_log_links_against_glm(estimator, family):
    X, y = wage1()
    y = np.exp(y)
    Z = StandardScaler().fit_transform(X)  # scikit-learn's own descend slowly otherwise
    model = sm.GLM(y, sm.add_constant(Z), family=family)
    fitted = clone(estimator).fit(Z, y)
    for vcov, name in (("classical", "nonrobust"), ("HC0", "HC0")):
        # By Newton, so that the Hessian is the observed one: the log is not gamma's
        # canonical link.
        oracle = model.fit(method="newton", cov_type=name, tol=1e-14)
        table = coefficient_table(fitted, Z, y, vcov=vcov)
        close(table.estimate, oracle.params)
        close(table.std_error, oracle.bse)


def test_weighted_least_squares():
    X, y = wage1()
    weight = np.random.default_rng(0).uniform(0.2, 3.0, len(y))
    model = sm.WLS(y, sm.add_constant(X), weights=weight)
    fitted = LinearRegression().fit(X, y, weight)
    for vcov, name in (
        ("classical", "nonrobust"),
        ("HC0", "HC0"),
        ("HC1", "HC1"),
        ("HC2", "HC2"),
        ("HC3", "HC3"),
    ):
        table = coefficient_table(fitted, X, y, sample_weight=weight, vcov=vcov)
        close(table.std_error, model.fit(cov_type=name).bse)


def test_ols_by_cluster():
    X, y = wage1()
    groups = np.arange(len(y)) % 50
    oracle = sm.OLS(y, sm.add_constant(X)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}
    )
    table = coefficient_table(
        LinearRegression().fit(X, y), X, y, vcov="cluster", groups=groups
    )
    close(table.std_error, oracle.bse)


def test_without_intercept():
    X, y = wage1()
    for fitted in (
        LinearRegression(fit_intercept=False).fit(X, y),
        Ridge(0.0, fit_intercept=False).fit(X, y),
    ):
        table = coefficient_table(fitted, X, y, vcov="HC1")
        oracle = sm.OLS(y, X).fit(cov_type="HC1")
        assert table.names == list(X.columns)
        close(table.estimate, oracle.params)
        close(table.std_error, oracle.bse)


def test_several_targets_are_several_regressions():
    X, y = wage1()
    Y = np.column_stack([y, np.exp(y)])
    for vcov in ("classical", "HC1", "HC3"):
        both = coefficient_table(LinearRegression().fit(X, Y), X, Y, vcov=vcov)
        for i, column in enumerate(Y.T):
            alone = sm.OLS(column, sm.add_constant(X))
            name = "nonrobust" if vcov == "classical" else vcov
            expected = alone.fit(cov_type=name)
            close(both.std_error[4 * i : 4 * i + 4], expected.bse)
        assert both.names[:2] == ["intercept:0", "educ:0"]


def test_ridge_by_hand():
    """A has the penalty, scores a share of its gradient, and the table says so."""
    X, y = wage1()
    Z = (X - X.mean()).to_numpy()
    alpha, n = 50.0, len(y)
    fitted = Ridge(alpha).fit(Z, y)
    x = np.column_stack([np.ones(n), Z])
    D = np.diag([0.0, alpha, alpha, alpha])
    theta = np.r_[fitted.intercept_, fitted.coef_]
    scores = x * (x @ theta - y.to_numpy())[:, None] + (D @ theta) / n
    np.testing.assert_allclose(scores.sum(axis=0), 0, atol=1e-8)
    bread = np.linalg.inv(x.T @ x + D)
    expected = np.sqrt(np.diag(bread @ scores.T @ scores @ bread))
    table = coefficient_table(fitted, Z, y, vcov="HC0")
    close(table.std_error, expected)
    assert table.basis.penalised and "Penalised:      yes" in table.summary()
    ours = ANNRegressor((), alpha=alpha, standardize=False).fit(Z, y)
    close(coefficient_table(ours, Z, y, vcov="HC0").std_error, expected)


def test_penalised_logit_is_ours():
    X, y = mroz()
    Z = StandardScaler().fit_transform(X)
    theirs = LogisticRegression(C=0.1, tol=1e-10).fit(Z, y)
    ours = ANNClassifier((), alpha=10.0, standardize=False).fit(Z, y)
    one, other = (coefficient_table(m, Z, y) for m in (theirs, ours))
    close(one.std_error, other.std_error)
    assert one.basis.penalised and other.basis.penalised
    poisson = PoissonRegressor(alpha=0.3, tol=1e-10).fit(Z, y)
    ours = ANNRegressor((), loss="poisson", alpha=0.3 * len(y), standardize=False).fit(
        Z, y
    )
    one, other = (coefficient_table(m, Z, y) for m in (poisson, ours))
    close(one.std_error, other.std_error)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 3.0}])
def test_class_weights_are_row_weights(class_weight):
    X, y = mroz()
    plain = ANNClassifier(())
    weighted = [
        ANNClassifier((), class_weight=class_weight),
        LogisticRegression(C=np.inf, class_weight=class_weight, max_iter=5000),
    ]
    shares = np.bincount(y) / len(y)
    by_class = 0.5 / shares if class_weight == "balanced" else np.array([1.0, 3.0])
    expected = coefficient_table(
        plain.fit(X, y, by_class[y]), X, y, sample_weight=by_class[y]
    )
    for estimator in weighted:
        found = coefficient_table(estimator.fit(X, y), X, y)
        close(found.estimate, expected.estimate, 1e-5)
        close(found.std_error, expected.std_error, 1e-5)


# --------------------------------------------------------------- networks, brute force


def naive(architecture, activation, theta, z):
    """A network's raw outputs, from its parameters in the order of storage."""
    start, flow = 0, z
    for i, (rows, columns) in enumerate(architecture.block_shapes):
        block = theta[start : start + rows * columns].view(rows, columns)
        start += rows * columns
        if i > len(architecture.hidden):
            flow = flow + z @ block
            continue
        flow = flow @ block[:-1] + block[-1]
        if i < len(architecture.hidden):
            flow = activation(flow)
    return flow


def brute_force(fitted, X, y, weight, activation, row_loss, response):
    """Effects and their HC0 covariance by autograd, in the network's own units."""
    model = fitted._model
    mean, scale = (torch.from_numpy(a) for a in (model.inputs.mean, model.inputs.scale))
    z = (torch.from_numpy(X) - mean) / scale
    folded = model.targets if model.folds_targets else None
    theta = torch.from_numpy(unfold(model.parameters, model.inputs, folded).pack())
    w = torch.from_numpy(weight / weight.sum())
    penalised = []
    for i, (rows, columns) in enumerate(model.architecture.block_shapes):
        block = torch.ones(rows, columns)
        if i <= len(model.architecture.hidden):
            block[-1] = 0.0
        penalised.append(block.ravel())
    decay = fitted.alpha_ / weight.sum() * torch.cat(penalised).double()

    def rows_of(theta):
        raw = naive(model.architecture, activation, theta, z)
        return row_loss(raw, y) + 0.5 * (decay * theta**2).sum()

    def effects(theta):
        slopes = []
        at = z.clone().requires_grad_()
        out = response(naive(model.architecture, activation, theta, at))
        for column in out.unbind(1):
            (slope,) = torch.autograd.grad(column.sum(), at, create_graph=True)
            slopes.append((w @ slope) / scale)
        return torch.stack(slopes, dim=1).reshape(-1)

    functional = torch.autograd.functional
    A = functional.hessian(lambda theta: w @ rows_of(theta), theta)
    scores = functional.jacobian(rows_of, theta) * w[:, None]
    J = functional.jacobian(effects, theta)
    phi = scores @ torch.linalg.pinv(A, hermitian=True) @ J.T
    return effects(theta).detach().numpy(), np.sqrt((phi**2).sum(0).numpy())


def test_two_targets_by_brute_force():
    X, y = two_units(0)
    Y = np.column_stack([y, np.tanh(y)])
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    fitted = ANNRegressor(
        2, activation="tanh", solver="lbfgs", alpha=0.5, tol=1e-10, max_iter=9000,
        linear_skip=True, random_state=0,
    ).fit(X, Y, weight)  # fmt: skip
    scaling = fitted._model.targets
    unit, shift = torch.from_numpy(scaling.scale), torch.from_numpy(scaling.mean)
    target = torch.from_numpy((Y - scaling.mean) / scaling.scale)
    estimate, std_error = brute_force(
        fitted,
        X,
        target,
        weight,
        torch.tanh,
        lambda raw, y: 0.5 * ((raw - y) ** 2).sum(1),
        lambda raw: raw * unit + shift,
    )
    found = average_marginal_effects(fitted, X, Y, sample_weight=weight, vcov="HC0")
    close(found.estimate, estimate, 1e-5)
    close(found.std_error, std_error, 1e-5)
    assert found.names == ["x0:0", "x0:1", "x1:0", "x1:1"]


def test_three_classes_by_brute_force():
    X, y = two_units(0, n=2000, noise=1.5)
    labels = np.digitize(y, [-0.7, 0.7])
    fitted = ANNClassifier(
        2, activation="logistic", solver="lbfgs", alpha=1.0, tol=1e-10, max_iter=9000,
        random_state=0,
    ).fit(X, labels)  # fmt: skip
    estimate, std_error = brute_force(
        fitted,
        X,
        torch.from_numpy(labels),
        np.ones(len(y)),
        torch.sigmoid,
        lambda raw, y: torch.nn.functional.cross_entropy(raw, y, reduction="none"),
        lambda raw: torch.softmax(raw, 1),
    )
    found = average_marginal_effects(fitted, X, labels, vcov="HC0")
    # The fit stops short of the minimum by a little; Newton's steps do not.
    close(found.estimate, estimate, 1e-4)
    close(found.std_error, std_error, 1e-4)


def test_counts_of_a_deep_network_by_brute_force():
    X, y = two_units(0, n=2000)
    counts = np.random.default_rng(0).poisson(np.exp(y / 2)).astype(float)
    fitted = ANNRegressor(
        (2, 2), activation="tanh", solver="lbfgs", alpha=1.0, tol=1e-13, max_iter=9000,
        loss="poisson", random_state=0,
    ).fit(X, counts)  # fmt: skip
    estimate, std_error = brute_force(
        fitted,
        X,
        torch.from_numpy(counts)[:, None],
        np.ones(len(y)),
        torch.tanh,
        lambda raw, y: (raw.exp() - y * raw).sum(1),
        torch.exp,
    )
    found = average_marginal_effects(fitted, X, counts, vcov="HC0")
    close(found.estimate, estimate, 1e-5)
    close(found.std_error, std_error, 1e-5)


# ------------------------------------------------------------------------- invariances


@pytest.fixture(scope="module")
def fitted_network():
    X, y = two_units(0)
    return tanh_network(X, y), X, y


def exchanged(fitted, order, signs):
    """The same function: hidden units in another order, with other signs."""
    other = clone(fitted).fit(np.zeros((2, 2)), np.array([0.0, 1.0]))
    other.__dict__.update(fitted.__dict__)
    p = fitted._model.parameters
    parameters = replace(
        p,
        weights=[p.weights[0][:, order] * signs, p.weights[1][order] * signs[:, None]],
        biases=[p.biases[0][order] * signs, p.biases[1]],
    )
    other._model = replace(fitted._model, parameters=parameters)
    return other


@pytest.mark.parametrize("unconditional", [False, True])
def test_permutations_and_signs_change_nothing(fitted_network, unconditional):
    fitted, X, y = fitted_network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other = exchanged(fitted, [1, 0], np.array([1.0, -1.0]))
    expected = fitted.predict(X)
    np.testing.assert_allclose(other.predict(X), expected, rtol=1e-12, atol=1e-14)
    one, two = (
        average_marginal_effects(m, X, y, vcov="HC1", unconditional=unconditional)
        for m in (fitted, other)
    )
    close(two.estimate, one.estimate)
    close(two.std_error, one.std_error)
    assert one.basis.penalised and one.basis.k == 9


@pytest.mark.parametrize("activation", ["logistic", "softplus", "gelu", "silu", "relu"])
def test_permutations_change_nothing_whatever_the_activation(activation):
    X, y = two_units(0)
    options = {"solver": "lbfgs", "alpha": 30.0, "tol": 1e-7, "max_iter": 1000}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = ANNRegressor(2, activation=activation, random_state=0, **options)
        fitted.fit(X, y)
        other = exchanged(fitted, [1, 0], np.ones(2))
    asked = [{"vcov": "bootstrap", "n_replicates": 3}, {"vcov": "debiased"}]
    if activation in ("logistic", "gelu"):  # the others do not come to rest here
        asked += [{"vcov": "HC1"}, {"vcov": "HC1", "unconditional": True}]
    for options in asked:
        one, two = (
            average_marginal_effects(m, X, y, random_state=0, **options)
            for m in (fitted, other)
        )
        close(two.estimate, one.estimate)
        close(two.std_error, one.std_error)


def test_units_change_nothing_else():
    X, y = two_units(1)
    scale, shift = np.array([1e6, 1e-3]), np.array([3.0, -0.1])
    moved = X * scale + shift
    options = {"alpha": 0.0, "tol": 1e-9}
    effects = average_marginal_effects(tanh_network(X, y, **options), X, y)
    scaled = average_marginal_effects(tanh_network(moved, y, **options), moved, y)
    close(scaled.estimate * scale, effects.estimate, 1e-5)
    close(scaled.std_error * scale, effects.std_error, 1e-5)
    line = average_marginal_effects(ANNRegressor(()).fit(X, y), X, y, vcov="HC3")
    raw = ANNRegressor((), standardize=False).fit(X * [1e6, 1], y)
    for far in (raw, LinearRegression().fit(X * [1e6, 1], y)):
        found = average_marginal_effects(far, X * [1e6, 1], y, vcov="HC3")
        close(found.std_error * [1e6, 1], line.std_error)


def test_constant_factors_of_weights_change_nothing():
    X, y = two_units(2)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    tables = []
    for factor in (1.0, 1e3):
        fitted = ANNRegressor(()).fit(X, y, factor * weight)
        tables += [
            average_marginal_effects(
                fitted, X, y, sample_weight=factor * weight, vcov=vcov
            ).std_error
            for vcov in ("classical", "HC1")
        ]
    close(tables[0], tables[2])
    close(tables[1], tables[3])


def test_weights_are_repeated_rows_of_one_cluster():
    """sum w^2 g g': a weight of two is one observation that counts twice."""
    X, y = mroz()
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    fitted = ANNClassifier(()).fit(X, y, weight)
    found = average_marginal_effects(
        fitted, X, y, sample_weight=weight, vcov="HC0", unconditional=True
    )
    again = np.repeat(np.arange(len(y)), weight)
    repeated = average_marginal_effects(
        ANNClassifier(()).fit(X.iloc[again], y.iloc[again]),
        X.iloc[again],
        y.iloc[again],
        vcov="cluster",
        groups=again,
        unconditional=True,
    )
    n, k, G = len(again), 7, (weight > 0).sum()
    correction = G / (G - 1) * (n - 1) / (n - k)
    close(found.estimate, repeated.estimate)
    close(found.std_error * np.sqrt(correction), repeated.std_error)


def test_rows_of_weight_zero_are_no_rows():
    X, y = two_units(3)
    weight = (np.arange(len(y)) % 5 > 0).astype(float)
    kept = weight > 0
    for vcov in ("classical", "HC1", "HC3"):
        found = average_marginal_effects(
            ANNRegressor(()).fit(X, y, weight), X, y, sample_weight=weight, vcov=vcov
        )
        fewer = average_marginal_effects(
            ANNRegressor(()).fit(X[kept], y[kept]), X[kept], y[kept], vcov=vcov
        )
        close(found.estimate, fewer.estimate)
        close(found.std_error, fewer.std_error)
        assert found.basis.n == kept.sum()


def test_linear_layers_are_the_regression_that_they_make():
    """Their parameters are not determined, their product is."""
    X, y = wage1()
    deep = ANNRegressor(
        (3,), activation="identity", alpha=0.0, tol=1e-9, max_iter=5000, solver="lbfgs",
        random_state=0,
    ).fit(X, y)  # fmt: skip
    effects = average_marginal_effects(deep, X, y, vcov="HC0")
    close(effects.estimate, WAGE1_OLS["params"][1:], 1e-5)
    close(effects.std_error, WAGE1_OLS["HC0"][1:], 1e-5)
    assert effects.basis.k == 4


def test_sparse_is_dense():
    X, y = two_units(4)
    X[np.abs(X) < 0.5] = 0.0
    dense = average_marginal_effects(ANNRegressor(()).fit(X, y), X, y)
    S = sp.csr_array(X)
    sparse = average_marginal_effects(ANNRegressor(()).fit(S, y), S, y)
    close(sparse.estimate, dense.estimate)
    close(sparse.std_error, dense.std_error)


def test_sum_of_a_classifiers_effects_is_zero():
    X, y = anes96()
    effects = average_marginal_effects(ANNClassifier(()).fit(X, y), X, y)
    sums = effects.estimate.reshape(5, 7).sum(axis=1)
    np.testing.assert_allclose(sums, 0, atol=1e-12)
    R = np.kron(np.eye(5), np.ones(7))
    np.testing.assert_allclose(R @ effects.vcov @ R.T, 0, atol=1e-12)


# ------------------------------------------------------------- when it does not hold


def refused(match, fitted, X, y, vcov="HC1", **options):
    """It raises when asked for; "auto" says why, and has estimates all the same."""
    with pytest.raises(ValueError, match=match):
        average_marginal_effects(fitted, X, y, vcov=vcov, **options)
    found = average_marginal_effects(fitted, X, y, **options)
    assert found.basis.why.startswith("auto; not HC1, because ")
    assert np.isfinite(found.estimate).all()


def network(X, y, *, quiet=False, **options):
    options = {
        "hidden_layer_sizes": 2,
        "activation": "tanh",
        "random_state": 0,
        "early_stopping": False,
    } | options
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore", ConvergenceWarning)
        return ANNRegressor(**options).fit(X, y)


def test_ensembles_are_refused():
    X, y = two_units(0)
    fitted = network(X, y, n_estimators=2, solver="lbfgs", max_iter=1000)
    refused("it is an ensemble. To get standard errors, use vcov='boot", fitted, X, y)


def test_early_stopping_is_refused():
    X, y = two_units(0)
    fitted = network(X, y, early_stopping=True, n_estimators=1, max_iter=20, quiet=True)
    refused("early stopping ends training before", fitted, X, y)


def test_dropout_is_refused():
    X, y = two_units(0)
    fitted = network(X, y, dropout=0.1, max_iter=20, quiet=True)
    refused("dropout does not minimise the loss", fitted, X, y)


def test_minibatches_are_refused():
    X, y = two_units(0)
    fitted = network(X, y, max_iter=20, quiet=True)
    refused(
        "minibatches .solver='adamw', batch_size=200. leave noise.*refit with "
        "solver='lbfgs'",
        fitted,
        X,
        y,
    )


def test_l1_penalties_are_refused():
    X, y = two_units(0)
    full = {"batch_size": "full", "max_iter": 20, "quiet": True, "alpha": 1.0}
    fitted = network(X, y, l1_ratio=0.5, **full)
    refused("an L1 penalty has no curvature", fitted, X, y)
    lasso = LogisticRegression(l1_ratio=1, solver="saga", max_iter=1000).fit(X, y > 0)
    refused("an L1 penalty has no curvature", lasso, X, y > 0)


def test_kinks_are_refused_for_slopes_only():
    X, y = two_units(0)
    fitted = network(X, y, activation="relu", solver="lbfgs", max_iter=20, quiet=True)
    refused("the activation 'relu' has kinks, so slopes jump", fitted, X, y)


def test_contrasts_of_a_kinked_network():
    """Gauss and Newton's A: the regression on the derivatives of the parameters."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=1000), rng.integers(0, 2, 1000)])
    y = np.maximum(X[:, 0] + X[:, 1], 0.0) + 0.1 * rng.normal(size=1000)
    fitted = network(
        X, y, hidden_layer_sizes=1, activation="relu", alpha=0.0, solver="lbfgs",
        tol=1e-10, n_init=5, max_iter=2000,
    )  # fmt: skip
    effects = average_marginal_effects(fitted, X, y, features=[1], vcov="HC0")
    (W, v), (b, c) = fitted.coefs_, fitted.intercepts_

    def f(theta, X):
        return theta[4] + theta[3] * np.maximum(X @ theta[:2] + theta[2], 0.0)

    theta = np.r_[W[:, 0], b, v[0], c]
    np.testing.assert_allclose(f(theta, X), fitted.predict(X))
    on = (X @ W + b > 0).astype(float)
    R = np.column_stack([on * v[0] * X, on * v[0], np.maximum(X @ W + b, 0), on**0])
    bread = np.linalg.pinv(R.T @ R, rcond=1e-10)
    scores = R * (f(theta, X) - y)[:, None]
    low, high = (np.column_stack([X[:, 0], np.full(1000, x)]) for x in (0.0, 1.0))

    def jacobian(X):
        on = (X @ W + b > 0).astype(float)
        parts = [on * v[0] * X, on * v[0], np.maximum(X @ W + b, 0), on**0]
        return np.column_stack(parts).mean(axis=0)

    J = jacobian(high) - jacobian(low)
    close(effects.estimate, np.mean(f(theta, high) - f(theta, low)), 1e-5)
    close(effects.std_error**2, J @ bread @ scores.T @ scores @ bread @ J, 1e-4)
    assert any("Gauss and Newton" in note for note in effects.basis.notes)


def test_unconverged_fits_are_refused():
    X, y = two_units(0)
    fitted = network(X, y, solver="lbfgs", max_iter=4, quiet=True)
    refused("has not (converged|reached a minimum).*smaller tol", fitted, X, y)


@pytest.mark.parametrize(
    ("max_iter", "match"),
    [
        (1, "has not reached a minimum: its Hessian has a direction that leads down"),
        (2, "has not converged: Newton's step would move an estimate by .* standard"),
    ],
)
def test_it_is_told_how_a_fit_has_not_converged(max_iter, match):
    X, y = two_units(0, 200)
    options = {"solver": "lbfgs", "alpha": 0.01, "tol": 1e-12, "random_state": 0}
    fitted = network(X, y, max_iter=max_iter, quiet=True, **options)
    refused(match, fitted, X, y)


def test_a_polished_fit_says_so():
    X, y = mroz()
    fitted = LogisticRegression(C=np.inf, max_iter=3000).fit(X, y)
    table = coefficient_table(fitted, X, y, vcov="classical")
    oracle = sm.Logit(y, sm.add_constant(X)).fit(method="newton", tol=1e-14, disp=0)
    close(table.estimate, oracle.params)
    close(table.std_error, oracle.bse)
    assert "Newton step" in table.summary() and "on a copy" in table.summary()


def test_other_rows_are_refused():
    X, y = two_units(0)
    half = slice(500), slice(500, None)
    fitted = network(X[half[0]], y[half[0]], solver="lbfgs", tol=1e-7, max_iter=3000)
    refused(
        "these are not the rows, targets and weights", fitted, X[half[1]], y[half[1]]
    )
    line = LinearRegression().fit(X[half[0]], y[half[0]] ** 3)
    refused(
        "these are not the rows", line, X[half[1]], y[half[1]] ** 3 + 5 * X[half[1], 0]
    )


def test_forgotten_weights_are_refused():
    X, y = two_units(0)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    fitted = ANNRegressor(()).fit(X, y, weight)
    refused("these are not the rows, targets and weights", fitted, X, y)
    average_marginal_effects(fitted, X, y, sample_weight=weight, vcov="HC1")


def test_too_few_rows_are_refused():
    X, y = two_units(0, n=60)
    fitted = tanh_network(X, y, alpha=1.0)
    refused("60 rows are fewer than 10 for each of the network's 9", fitted, X, y)


def test_no_degrees_of_freedom():
    X, y = two_units(0, n=3)
    refused(
        "3 parameters leave no degrees of freedom", ANNRegressor(()).fit(X, y), X, y
    )


def test_quantiles_of_networks_are_refused():
    X, y = two_units(0)
    options = {"solver": "lbfgs", "max_iter": 50, "quiet": True}
    for loss in ("absolute_error", "quantile"):
        fitted = network(X, y, loss=loss, **options)
        refused(f"the loss '{loss}' has no curvature", fitted, X, y)
    several = network(
        X, y, hidden_layer_sizes=(), loss="quantile", quantile=(0.1, 0.9), **options
    )
    with pytest.raises(ValueError, match="several quantiles of one network"):
        average_marginal_effects(several, X, y, vcov="HC1")


def test_long_quantile_regressions_are_refused(monkeypatch):
    X, y = engel()
    monkeypatch.setattr(sandwich, "MOST_ROWS_EXACT", 100)
    fitted = ANNRegressor((), loss="quantile", tol=1e-9, max_iter=5000).fit(X, y)
    with pytest.raises(ValueError, match="is for at most 100 rows, and with an inter"):
        average_marginal_effects(fitted, X, y, vcov="HC1")


def test_weighted_quantiles_are_refused():
    X, y = engel()
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    fitted = ANNRegressor((), loss="quantile", tol=1e-9, max_iter=5000)
    fitted.fit(X, y, weight)
    with pytest.raises(ValueError, match="takes no weights"):
        average_marginal_effects(fitted, X, y, sample_weight=weight, vcov="HC1")


@pytest.mark.parametrize(
    "logit",
    [ANNClassifier(()), LogisticRegression(C=np.inf, max_iter=1000)],
    ids=["ours", "scikit-learn's"],
)
@pytest.mark.parametrize("complete", [True, False])
def test_separation(logit, complete):
    """An error of inference, not of fit: completely, or by one level of a column."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=300), rng.integers(0, 2, 300)])
    y = (X[:, 0] + (0 if complete else rng.logistic(size=300)) > 0).astype(int)
    if not complete:
        y[X[:, 1] == 1] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = clone(logit).fit(X, y)
    refused("the data are separated.*drop the column that separates", fitted, X, y)


def test_a_good_fit_is_not_separation():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 1))
    y = (8 * X[:, 0] + rng.logistic(size=2000) > 0).astype(int)
    fitted = LogisticRegression(C=np.inf).fit(X, y)
    assert average_marginal_effects(fitted, X, y, vcov="HC1").basis.method == "HC1"


def test_separated_counts():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=300), rng.integers(0, 2, 300)])
    y = rng.poisson(np.exp(0.5 * X[:, 0])) * (X[:, 1] == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = ANNRegressor((), loss="poisson").fit(X, y)
    refused("the data are separated", fitted, X, y)


def test_penalties_end_separation():
    X = np.random.default_rng(0).normal(size=(100, 2))
    y = (X[:, 0] > 0).astype(int)
    fitted = LogisticRegression(C=1.0, tol=1e-8).fit(X, y)
    effects = average_marginal_effects(fitted, X, y, vcov="HC1")
    assert np.isfinite(effects.std_error).all() and effects.basis.penalised


def test_collinear_columns_have_no_effects_of_their_own():
    X, y = wage1()
    X = X.assign(months=12 * X.tenure)
    effects = average_marginal_effects(ANNRegressor(()).fit(X, y), X, y)
    frame = effects.to_frame().set_index("term")
    assert (
        frame.loc[["tenure", "months"], ["estimate", "std_error"]].isna().all(axis=None)
    )
    close(frame.loc[["educ", "exper"], "std_error"], WAGE1_OLS["HC1"][1:3])
    assert "do not determine" in effects.summary()
    assert effects.basis.k == 4


def test_positive_coefficients_are_refused():
    X, y = two_units(0)
    fitted = LinearRegression(positive=True).fit(X, y)
    refused("held positive may lie on the edge", fitted, X, y)


def test_liblinear_is_refused():
    X, y = two_units(0)
    fitted = LogisticRegression(solver="liblinear").fit(X, y > 0)
    refused("penalises the intercept", fitted, X, y > 0)


def test_what_is_no_network_is_refused():
    X, y = two_units(0, n=200)
    forest = RandomForestRegressor(10, random_state=0).fit(X, y)
    refused(
        r"RandomForestRegressor is not a network.*use vcov='debiased'", forest, X, y
    )
    cv = LogisticRegressionCV(
        Cs=2, use_legacy_attributes=False, scoring="neg_log_loss", l1_ratios=(0,)
    ).fit(X, y > 0)
    assert read(cv).kind == "other"  # its penalty stands elsewhere


def test_leverage_is_for_linear_regression():
    X, y = mroz()
    fitted = ANNClassifier(()).fit(X, y)
    with pytest.raises(ValueError, match="leverage is that of a linear regression"):
        average_marginal_effects(fitted, X, y, vcov="HC2")


def test_classical_needs_a_likelihood():
    X, y = two_units(0)
    fitted = ANNRegressor((), loss="huber", tol=1e-8).fit(X, y)
    with pytest.raises(ValueError, match=r"which Huber's loss has not.*use vcov='HC1'"):
        average_marginal_effects(fitted, X, y, vcov="classical")
    Y = np.column_stack([y, y**2])
    several = network(X, Y, solver="lbfgs", alpha=1.0, tol=1e-7, max_iter=3000)
    with pytest.raises(ValueError, match="several targets as equal and unrelated"):
        average_marginal_effects(several, X, Y, vcov="classical")


def test_huber_against_rlm():
    """White's covariance of Huber's M-estimator, from the residuals of the fit."""
    X, y = wage1()
    fitted = ANNRegressor((), loss="huber", tol=1e-10).fit(X, y)
    scale = fitted._model.targets.scale[0]
    e = (fitted.predict(X) - y.to_numpy()) / scale
    x = np.column_stack([np.ones(len(y)), X])
    inside = np.abs(e) <= 1.35
    bread = np.linalg.inv((x * inside[:, None]).T @ x)
    scores = x * np.clip(e, -1.35, 1.35)[:, None] * scale
    expected = np.sqrt(np.diag(bread @ scores.T @ scores @ bread))
    close(coefficient_table(fitted, X, y, vcov="HC0").std_error, expected)


def test_without_targets_there_are_estimates_only():
    X, y = wage1()
    fitted = LinearRegression().fit(X, y)
    found = average_marginal_effects(fitted, X)
    close(found.estimate, WAGE1_OLS["params"][1:])
    assert np.isnan(found.std_error).all() and found.basis.method == "none"
    with pytest.raises(ValueError, match="y was not given"):
        average_marginal_effects(fitted, X, vcov="HC1")


def test_losses_that_are_not_finite_are_refused():
    X, y = two_units(0)
    fitted = ANNRegressor((), loss="poisson").fit(X, np.exp(y))
    fitted._model.parameters.biases[0][:] = 1e4
    with pytest.raises(ValueError, match="or its curvature, is not finite"):
        average_marginal_effects(fitted, X, np.exp(y), vcov="HC1")


def test_penalties_of_their_own_have_leverages_of_their_own():
    X, y = two_units(0)
    Y = np.column_stack([y, y**2])
    fitted = Ridge([1.0, 50.0]).fit(X, Y)
    both = average_marginal_effects(fitted, X, Y, vcov="HC1").std_error
    for i, alpha in enumerate((1.0, 50.0)):
        alone = Ridge(alpha).fit(X, Y[:, i])
        close(both[i::2], average_marginal_effects(alone, X, Y[:, i]).std_error)
    with pytest.raises(ValueError, match="each target has a leverage of its own"):
        average_marginal_effects(fitted, X, Y, vcov="HC3")


def test_gradients_switched_off_by_the_caller():
    X, y = two_units(0)
    fitted = ANNRegressor(()).fit(X, y)
    expected = average_marginal_effects(fitted, X, y, vcov="HC1")
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            found = average_marginal_effects(fitted, X, y, vcov="HC1")
        close(found.std_error, expected.std_error)


def test_groups_and_words():
    X, y = wage1()
    fitted = LinearRegression().fit(X, y)

    def ask(**options):
        return average_predictions(fitted, X, y, **options)

    with pytest.raises(ValueError, match="vcov must be 'auto' or one of 'classical'"):
        ask(vcov="HC9")
    with pytest.raises(ValueError, match="needs groups, one for each row"):
        ask(vcov="cluster")
    with pytest.raises(ValueError, match="groups are given, but vcov='HC1' takes rows"):
        ask(vcov="HC1", groups=np.zeros(526))
    with pytest.raises(ValueError, match="there is one group only"):
        ask(vcov="cluster", groups=np.zeros(526))
    with pytest.raises(ValueError, match="one group for each of the 526 rows"):
        ask(groups=np.zeros(3))
    with pytest.raises(ValueError, match="groups is missing for 1 of 526 rows"):
        ask(groups=np.r_[np.nan, np.arange(525.0)])
    with pytest.warns(UserWarning, match="5 clusters are few"):
        found = ask(groups=np.arange(526) % 5)
    assert any("5 clusters are few" in note for note in found.basis.notes)
