"""Likelihoods: Spector's logit, ratios, Vuong; and where they are refused."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from econ_data import spector
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.pipeline import make_pipeline

from sklearn_ann import ANNClassifier, compare
from sklearn_ann.likelihoods import (
    class_rows,
    gaussian_rows,
    likelihood_ratio_test,
    mcfadden_r2,
    null_prediction,
    poisson_rows,
    vuong_test,
)

# statsmodels 0.15.0: Logit(GRADE, const GPA TUCE PSI), and Probit beside it.
LLF, LLNULL = -12.889634222131415, -20.591729696634204
LR, MCFADDEN = 15.404190949005578, 0.3740382953726187
VUONG = -0.49722077624285227

LOGIT = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)


def columns(*names):
    """A logit of some columns."""
    own = ColumnTransformer([("own", "passthrough", list(names))])
    return make_pipeline(own, clone(LOGIT))


@pytest.fixture(scope="module")
def logits():
    """Logits of Spector's data, fitted to all rows."""
    X, y = spector()
    models = {
        "logit": LOGIT,
        "network": ANNClassifier(()),
        "penalised": LogisticRegression(),
        "hidden": ANNClassifier(2, activation="tanh", solver="lbfgs", alpha=1),
        "forest": RandomForestClassifier(5, random_state=0),
        "GPA": columns("GPA"),
        "TUCE": columns("TUCE", "PSI"),
    }
    return compare(models, X, y, cv=2, effects=["GPA"])


# The numbers -------------------------------------------------------------------------


def test_spector_known_numbers():
    assert mcfadden_r2(LLF, LLNULL) == pytest.approx(MCFADDEN, rel=1e-12)
    test = likelihood_ratio_test(LLF, LLNULL, 3)
    assert test.statistic == pytest.approx(LR, rel=1e-12)
    logit = sm.Logit(spector()[1], sm.add_constant(spector()[0])).fit(disp=0)
    assert test.p_value == pytest.approx(logit.llr_pvalue, rel=1e-9)


def test_vuong_of_spectors_logit_against_probit():
    X, y = spector()
    fits = [
        model(y, sm.add_constant(X)).fit(disp=0, tol=1e-12)
        for model in (sm.Logit, sm.Probit)
    ]
    test = vuong_test(*(fit.model.loglikeobs(fit.params) for fit in fits))
    assert test.statistic == pytest.approx(VUONG, abs=1e-7)
    assert test.p_value == pytest.approx(0.61903337, abs=1e-7)
    assert test.mean == pytest.approx((fits[0].llf - fits[1].llf) / 32, rel=1e-9)


def test_rows_add_up_to_what_statsmodels_says():
    X, y = load_diabetes(return_X_y=True)
    Z = sm.add_constant(X)
    ols = sm.OLS(y, Z).fit()
    assert gaussian_rows(y, ols.predict()).sum() == pytest.approx(ols.llf, rel=1e-12)
    poisson = sm.Poisson(y, Z).fit(disp=0)
    rows = poisson_rows(y, poisson.predict())
    assert rows.sum() == pytest.approx(poisson.llf, rel=1e-12)
    null = poisson_rows(y, null_prediction("poisson", y)).sum()
    assert null == pytest.approx(poisson.llnull, rel=1e-9)
    classes = np.array([0, 2, 1, 2])
    shares = null_prediction("multinomial", classes)
    expected = 2 * np.log(1 / 4) + 2 * np.log(1 / 2)
    assert class_rows(classes, shares).sum() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ([-1.0, -2], [-1.0], "same rows"),
        ([-1.0], [-1.0], "same rows"),
        ([-1.0, -2, -3], [-1.0, -2, -3], "nothing to choose"),
        ([-1.0, -2, -3], [-2.0, -3, -4], "nothing to choose"),
    ],
)
def test_bad_input_of_vuong(one, other, message):
    with pytest.raises(ValueError, match=message):
        vuong_test(one, other)


# In a comparison ---------------------------------------------------------------------


@pytest.mark.parametrize("model", ["logit", "network"])
def test_spector_in_a_comparison(logits, model):
    likelihood = logits.fits[logits.models.index(model)].likelihood
    assert likelihood.total == pytest.approx(LLF, abs=1e-8)
    assert likelihood.null == pytest.approx(LLNULL, rel=1e-12)
    assert likelihood.mcfadden == pytest.approx(MCFADDEN, abs=1e-8)
    assert likelihood.ratio.statistic == pytest.approx(LR, abs=1e-7)
    assert likelihood.ratio.df == 3


def test_the_table_shows_them_where_they_hold(logits):
    numbers = logits.table().to_frame()
    ratios = numbers.loc[("likelihood ratio", "value")]
    assert ratios["logit"] == pytest.approx(LR, abs=1e-7)
    assert ratios[["penalised", "hidden", "forest"]].isna().all()
    likelihoods = numbers.loc[("log-likelihood", "value")]
    assert likelihoods["penalised"] < likelihoods["logit"]
    assert np.isfinite(likelihoods["hidden"])
    assert np.isnan(likelihoods["forest"])
    text = str(logits.table())
    assert "15.40" in text
    assert "McFadden's R2" in text


def test_vuong_between_two_logits_equals_statsmodels(logits):
    X, y = spector()
    rows = []
    for names in (["TUCE", "PSI"], ["GPA"]):
        fit = sm.Logit(y, sm.add_constant(X[names])).fit(disp=0, tol=1e-12)
        rows.append(fit.model.loglikeobs(fit.params))
    found = logits.vuong_test("TUCE", "GPA")
    assert found.statistic == pytest.approx(vuong_test(*rows).statistic, abs=1e-6)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("penalised", "logit"), "'penalised' is none: it has a penalty"),
        (("hidden", "logit"), "hidden layer, whose weights are not identified"),
        (("forest", "logit"), "'forest' is none: it has no likelihood"),
        (("GPA", "logit"), "one contains the other"),
        (("logit", "TUCE"), "one contains the other"),
        (("network", "logit"), "one contains the other"),
        (("logit", "logit"), "twice"),
    ],
)
def test_vuong_is_refused_where_it_does_not_hold(logits, pair, message):
    with pytest.raises(ValueError, match=message):
        logits.vuong_test(*pair)


def test_the_way_out_is_named_and_there(logits):
    with pytest.raises(ValueError, match="test\\(model, 'log loss'\\)"):
        logits.vuong_test("hidden")
    assert np.isfinite(logits.test("hidden", "log loss").p_value)


def test_vuong_of_a_fit_that_has_not_converged():
    X, y = spector()
    models = {"GPA": columns("GPA"), "early": columns("TUCE")}
    models["early"].set_params(logisticregression__tol=1.0)
    result = compare(models, X, y, cv=2, effects=["GPA"])
    with pytest.raises(ValueError, match="'early' is none: it has not converged"):
        result.vuong_test("early")


def test_vuong_needs_fits_to_all_rows_and_known_names(logits):
    with pytest.raises(ValueError, match="effects=True"):
        replace(logits, fits=()).vuong_test("GPA")
    with pytest.raises(KeyError, match="is not one of"):
        logits.vuong_test("probit")


def test_kinds_of_likelihood_are_not_mixed():
    X, y = load_diabetes(return_X_y=True)
    models = {
        "OLS": LinearRegression(),
        "Poisson": PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000),
        "ridge": Ridge(alpha=0.1),
        "log": TransformedTargetRegressor(
            LinearRegression(), func=np.log, inverse_func=np.exp
        ),
    }
    result = compare(models, X, y, cv=2, effects=[2])
    with pytest.raises(ValueError, match="of counts and of a normal law"):
        result.vuong_test("Poisson")
    poisson = sm.Poisson(y, sm.add_constant(X)).fit(disp=0)
    ols = sm.OLS(y, sm.add_constant(X)).fit()
    fits = dict(zip(result.models, result.fits, strict=True))
    assert fits["OLS"].likelihood.total == pytest.approx(ols.llf, rel=1e-10)
    assert np.isnan(fits["OLS"].likelihood.mcfadden)
    assert fits["OLS"].likelihood.ratio is None
    ratio = fits["Poisson"].likelihood.ratio
    assert ratio.statistic == pytest.approx(poisson.llr, rel=1e-6)
    assert fits["Poisson"].likelihood.mcfadden == pytest.approx(
        poisson.prsquared, rel=1e-6
    )
    assert fits["log"].likelihood is None  # of the logarithm, another measure


def test_weighted_rows_have_no_likelihood():
    X, y = spector()
    w = np.linspace(1, 2, len(y))
    result = compare(
        {"logit": LOGIT}, X, y, cv=2, effects=True, params={"sample_weight": w}
    )
    assert result.fits[0].likelihood is None
    assert result.fits[0].nonlinearity is None
    assert np.isfinite(result.fits[0].effects.std_error).all()


def test_several_classes_count_their_coefficients():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = np.digitize(X[:, 0] + rng.logistic(size=200), [-1, 1])
    result = compare(
        {"logit": LOGIT, "net": ANNClassifier(())}, X, y, cv=2, effects=[0]
    )
    expected = sm.MNLogit(y, sm.add_constant(X)).fit(disp=0)
    for fit in result.fits:
        assert fit.likelihood.ratio.df == 4
        assert fit.likelihood.ratio.statistic == pytest.approx(expected.llr, rel=1e-6)
