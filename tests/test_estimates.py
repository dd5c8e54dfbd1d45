"""Tables of estimates: hypotheses, differences, faces."""

import numpy as np
import pytest
import statsmodels.api as sm
from econ_data import anes96, mroz, spector, two_units, wage1
from scipy import stats
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    average_marginal_effects,
    coefficient_table,
)
from sklearn_ann.hypotheses import Law, restrictions


def close(found, expected, rtol=1e-6):
    np.testing.assert_allclose(found, expected, rtol=rtol)


@pytest.fixture(scope="module")
def wages():
    X, y = wage1()
    fitted = LinearRegression().fit(X, y)
    oracle = sm.OLS(y, sm.add_constant(X)).fit(cov_type="HC1", use_t=True)
    return average_marginal_effects(fitted, X, y, vcov="HC1"), oracle


# --------------------------------------------------------------------------- numbers


def test_columns_of_the_table(wages):
    effects, oracle = wages
    frame = effects.to_frame()
    assert list(frame.columns) == [
        "term",
        "contrast",
        "estimate",
        "std_error",
        "statistic",
        "p_value",
        "conf_low",
        "conf_high",
    ]
    close(frame["statistic"], oracle.tvalues.iloc[1:])
    close(frame["p_value"], oracle.pvalues.iloc[1:])
    close(frame[["conf_low", "conf_high"]], oracle.conf_int().iloc[1:])
    close(effects.conf_int(0.9), oracle.conf_int(0.1).iloc[1:])


def test_small_p_values_are_not_zero():
    """1 - cdf is exactly 0 from z = 8.3 on; the upper tail is not."""
    close(Law().p_value(np.array([20.0, -20.0])), 2 * stats.norm.sf(20.0))
    assert Law(10).p_value(np.array(300.0)) > 0


def test_conf_level():
    X, y = wage1()
    fitted = LinearRegression().fit(X, y)
    wide = average_marginal_effects(fitted, X, y, conf_level=0.99)
    close(wide.conf_int(), average_marginal_effects(fitted, X, y).conf_int(0.99))
    assert "[0.005" in wide.summary() and "0.995]" in wide.summary()


# ------------------------------------------------------------------------ hypotheses


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("educ = exper", "educ = exper"),
        ("educ, exper", "educ = 0, exper = 0"),
        ("2 * educ - 3 * exper = 0.1", "2*educ - 3*exper = 0.1"),
        ("educ = exper = tenure", "educ = exper, exper = tenure"),
        ("(educ + exper) / 2 = 0.05, tenure = 0", "educ + exper = 0.1, tenure = 0"),
    ],
)
def test_wald_tests_as_in_statsmodels(wages, ours, theirs):
    effects, oracle = wages
    found = effects.wald_test(ours)
    expected = oracle.f_test(theirs)
    close(found.statistic, expected.fvalue)
    close(found.p_value, expected.pvalue)
    assert (found.df, found.df_denom) == (expected.df_num, expected.df_denom)
    assert str(found).startswith(f"Wald test of {ours}: F({found.df}, 522) = ")


def test_wald_test_by_matrix(wages):
    effects, _ = wages
    R = [[1.0, -1.0, 0.0]]
    close(effects.wald_test(R).statistic, effects.wald_test("educ = exper").statistic)
    found = effects.wald_test((R, [0.1]))
    close(found.statistic, effects.wald_test("educ - exper = 0.1").statistic)
    with pytest.raises(
        ValueError, match=r"one column for each of the 3 estimates; got"
    ):
        effects.wald_test([[1.0, -1.0]])


def test_wald_test_is_chi_squared_under_the_normal_law():
    X, y = spector()
    table = coefficient_table(ANNClassifier(()).fit(X, y), X, y, vcov="classical")
    oracle = sm.Logit(y, sm.add_constant(X)).fit(method="newton", tol=1e-14, disp=0)
    expected = oracle.wald_test("GPA = 0, TUCE = 0", scalar=True)
    found = table.wald_test("GPA, TUCE")
    close(found.statistic, expected.statistic)
    close(found.p_value, expected.pvalue)
    assert found.df_denom is None and "chi2(2)" in str(found)


def test_restrictions_that_follow_from_others_count_once():
    X, y = anes96()
    effects = average_marginal_effects(ANNClassifier(()).fit(X, y), X, y)
    # The effects on all seven probabilities sum to zero.
    found = effects.wald_test(", ".join(f"`age:{c}`" for c in range(7)))
    assert found.df == 6
    fewer = effects.wald_test(", ".join(f"`age:{c}`" for c in range(6)))
    close(found.statistic, fewer.statistic, 1e-5)


@pytest.mark.parametrize(
    "hypothesis", ["educ = wage", "educ * exper = 0", "educ ** 2", "educ = ", "f(educ)"]
)
def test_hypotheses_that_cannot_be_read(wages, hypothesis):
    effects, _ = wages
    with pytest.raises(ValueError, match="Their names are educ, exper, tenure"):
        effects.wald_test(hypothesis)


def test_names_within_names():
    names = ["exper", "exper2", "region[north - west]", "educ:1@female"]
    matrix, values, _ = restrictions("exper2 - `region[north - west]` = exper", names)
    np.testing.assert_array_equal(matrix, [[-1, 1, -1, 0]])
    matrix, values, _ = restrictions("`educ:1@female` = -1e-3", names)
    np.testing.assert_array_equal(matrix, [[0, 0, 0, 1]])
    np.testing.assert_array_equal(values, [-1e-3])


def test_no_test_of_what_is_not_there():
    X, y = wage1()
    X = X.assign(one=1.0)
    effects = average_marginal_effects(LinearRegression().fit(X, y), X, y)
    assert effects.wald_test("educ").p_value < 1e-6
    with pytest.raises(ValueError, match="There is no test of one"):
        effects.wald_test("one")


# ----------------------------------------------------------------------- differences


def test_two_models_on_the_same_rows():
    """Their joint covariance, against the stacked influence functions by hand."""
    X, y = wage1()
    short = X[["educ", "exper"]]
    tables = [
        average_marginal_effects(LinearRegression().fit(Z, y), Z, y, vcov="HC0")
        for Z in (X, short)
    ]
    found = tables[0].difference(tables[1])
    assert found.names == ["educ", "exper"]
    influence = []
    for Z in (X, short):
        x = sm.add_constant(Z).to_numpy()
        e = y.to_numpy() - x @ np.linalg.lstsq(x, y.to_numpy())[0]
        influence.append((x * e[:, None]) @ np.linalg.inv(x.T @ x).T)
    gap = influence[0][:, 1:3] - influence[1][:, 1:3]
    close(found.estimate, tables[0].estimate[:2] - tables[1].estimate)
    close(found.std_error, np.sqrt((gap**2).sum(axis=0)))
    # Omitting a column moves the estimate: its variance is not the sum of two.
    apart = tables[0].std_error[:2] ** 2 + tables[1].std_error ** 2
    assert (found.std_error**2 < apart).all()


def test_a_model_does_not_differ_from_itself():
    X, y = mroz()
    Z = StandardScaler().fit_transform(X)
    logit = average_marginal_effects(ANNClassifier(()).fit(Z, y), Z, y, kind="slope")
    found = logit.difference(logit)
    np.testing.assert_allclose(found.std_error, 0, atol=1e-12)
    assert np.isnan(found.p_value).all()


def test_a_network_and_the_line():
    X, y = two_units(0)
    network = ANNRegressor(
        2, activation="tanh", solver="lbfgs", tol=1e-8, max_iter=5000, random_state=0
    ).fit(X, y)
    groups = np.arange(len(y)) // 10
    asked = {"vcov": "cluster", "groups": groups, "unconditional": True}
    one, other = (
        average_marginal_effects(m, X, y, **asked)
        for m in (network, LinearRegression().fit(X, y))
    )
    found = one.difference(other)
    assert (found.std_error > 0).all() and found.basis.penalised
    close(found.estimate, one.estimate - other.estimate)
    close((-1 * other.difference(one).estimate), found.estimate)


def test_differences_that_make_no_sense(wages):
    effects, _ = wages
    X, y = wage1()
    fitted = LinearRegression().fit(X, y)
    classical = average_marginal_effects(fitted, X, y, vcov="classical")
    with pytest.raises(ValueError, match="vcov='classical' knows one model only"):
        effects.difference(classical)
    half = LinearRegression().fit(X[::2], y[::2])
    fewer = average_marginal_effects(half, X[::2], y[::2])
    with pytest.raises(ValueError, match="they have 526 and 263"):
        effects.difference(fewer)
    clustered = average_marginal_effects(fitted, X, y, groups=np.arange(526) // 5)
    with pytest.raises(ValueError, match="or their clusters differ"):
        effects.difference(clustered)
    renamed = X.rename(columns=str.upper)
    other = average_marginal_effects(LinearRegression().fit(renamed, y), renamed, y)
    with pytest.raises(ValueError, match="no estimate in common"):
        effects.difference(other)
    with pytest.raises(ValueError, match="no groups to compare; ask for by="):
        effects.group_differences()


# ----------------------------------------------------------------------------- faces


def test_summary():
    X, y = spector()
    effects = average_marginal_effects(
        ANNClassifier(()).fit(X, y), X, y, vcov="classical"
    )
    expected = """\
                         Average marginal effects
==========================================================================
Model:          ANNClassifier, log loss, no hidden layer
Averaged:       over 32 rows of the fit
Std. errors:    classical
Chosen:         asked for
Law:            normal
Inference for:  these rows
Penalised:      no
Rows:           32
Parameters:     4
==========================================================================
term   contrast   estimate   std err       z    P>|z|     [0.025    0.975]
--------------------------------------------------------------------------
GPA    dY/dX        0.3626    0.1094   3.313   <0.001     0.1481    0.5771
TUCE   dY/dX       0.01221   0.01779   0.686    0.493   -0.02267   0.04708
PSI    1 - 0        0.3575    0.1420   2.518    0.012    0.07919    0.6358
=========================================================================="""
    assert effects.summary() == str(effects) == repr(effects) == expected


def test_summary_says_what_it_rests_on(wages):
    effects, _ = wages
    text = effects.summary()
    assert "robust (HC1)" in text and "t(522)" in text and "P>|t|" in text
    X, y = wage1()
    fitted = clone(ANNRegressor((), alpha=3.0)).fit(X, y)
    text = str(average_marginal_effects(fitted, X, y, unconditional=True))
    assert "Inference for:  the population" in text
    assert "Penalised:      yes" in text


def test_html(wages):
    effects, _ = wages
    page = effects._repr_html_()
    assert page.count("<tr>") == 4 and "educ" in page
    assert "P&gt;|t|" in page and "Std. errors: robust (HC1)" in page


def test_latex():
    X, y = wage1()
    X = X.rename(columns={"educ": "educ_years & more"})
    effects = average_marginal_effects(LinearRegression().fit(X, y), X, y)
    lines = effects.to_latex().splitlines()
    assert lines[0] == r"\begin{tabular}{llrrrrrr}" and lines[-1] == r"\end{tabular}"
    assert lines[4].startswith(r"educ\_years \& more & dY/dX & 0.09203 & 0.007921 & ")
    assert lines[4].endswith(r" \\") and r"$<$0.001" in lines[4]
    assert r"P$>$$|$t$|$" in lines[2] and "{[0.025}" in lines[2]


def test_hooks_of_maketables(wages):
    """What its plug-in format asks for, without the package."""
    effects, oracle = wages
    table = effects.__maketables_coef_table__
    assert table.index.tolist() == ["educ", "exper", "tenure"]
    assert list(table.columns) == ["b", "se", "t", "p", "ci95l", "ci95u"]
    close(table["se"], oracle.bse.iloc[1:])
    assert effects.__maketables_stat__("N") == 526
    assert effects.__maketables_stat__("r2") is None
    assert effects.__maketables_vcov_info__["vcov_type"] == "HC1"
    assert effects.__maketables_depvar__ == "Average marginal effects"


def test_maketables_takes_them(wages):
    maketables = pytest.importorskip("maketables")
    effects, _ = wages
    text = maketables.ETable([effects]).make(type="tex")
    assert "educ" in text and "0.092" in text and "526" in text


def test_results_are_frozen(wages):
    effects, _ = wages
    with pytest.raises(AttributeError):
        effects.estimate = np.zeros(3)


# ------------------------------------------------------------------ coefficient tables


def test_coefficients_through_a_pipeline_carry_their_names():
    X, y = wage1()
    fitted = make_pipeline(
        make_column_transformer(
            (PolynomialFeatures(2, include_bias=False), ["exper"]),
            ("passthrough", ["educ"]),
            verbose_feature_names_out=False,
        ),
        LinearRegression(),
    ).fit(X, y)
    table = coefficient_table(fitted, X, y, vcov="HC1")
    assert table.names == ["intercept", "exper", "exper^2", "educ"]
    Z = sm.add_constant(X[["exper"]].assign(square=X.exper**2, educ=X.educ))
    oracle = sm.OLS(y, Z).fit(cov_type="HC1")
    close(table.estimate, oracle.params)
    close(table.std_error, oracle.bse)


def test_no_table_of_hidden_weights():
    X, y = two_units(0)
    fitted = ANNRegressor(2, solver="lbfgs", activation="tanh", max_iter=500)
    with pytest.raises(ValueError, match="weights of hidden layers are not identified"):
        coefficient_table(fitted.fit(X, y), X, y)


def test_coefficients_without_standard_errors():
    X, y = two_units(0)
    fitted = ANNRegressor((), early_stopping=True, random_state=0).fit(X, y)
    table = coefficient_table(fitted, X, y)
    assert table.basis.method == "none" and "early stopping" in table.basis.why
    close(table.estimate, [fitted.intercept_, *fitted.coef_])
    with pytest.raises(ValueError, match="vcov='HC1' does not hold here: early stop"):
        coefficient_table(fitted, X, y, vcov="HC1")


def test_wrong_words_for_coefficients():
    X, y = wage1()
    fitted = LinearRegression().fit(X, y)
    with pytest.raises(ValueError, match="vcov must be 'auto' or one of 'classical'"):
        coefficient_table(fitted, X, y, vcov="bootstrap")
    with pytest.raises(ValueError, match="belong together: give both or neither"):
        coefficient_table(fitted, X, y, vcov="cluster")
    with pytest.raises(ValueError, match="this model has no several classes"):
        coefficient_table(fitted, X, y, base=1)
    X, y = anes96()
    with pytest.raises(ValueError, match="base=9 is not among the classes"):
        coefficient_table(ANNClassifier(()).fit(X, y), X, y, base=9)
