"""Tests for neglected nonlinearity: what a linear model or a logit misses.

The way: `neglected_nonlinearity_test` checks the data (`specification_data`), fits the
model under test (`null_models`), adds terms (`added_terms`), tests them
(`variable_addition`) and says what came out (`specification_result`). Letters as there:
n rows, k columns, r coefficients of the model, m terms and the rank q that they add.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state, check_scalar

from .added_terms import Terms, count_monomials, hidden_components, monomials, powers
from .null_models import (
    NullModel,
    SeparationError,
    linear_null,
    logit_null,
    orthonormal_beyond,
)
from .specification_data import Sample, checked_sample, hidden_weights
from .specification_result import NeglectedNonlinearityTest
from .variable_addition import (
    AddedTermsTest,
    Addition,
    add_terms,
    df_left,
    f_test,
    hochberg,
    robust_chi2_test,
    robust_f_test,
    robust_score_test,
    score_test,
    tseries_chi2_test,
    tseries_f_test,
    tseries_inflation,
    wald_test,
)

Form = Callable[[Addition], AddedTermsTest]

OPTIONS = {
    "method": ("white", "terasvirta", "reset"),
    "model": ("linear", "logit"),
    "statistic": ("F", "chi2"),
    "robust": (False, True),
}
# More numbers in the added terms are refused: 1 GiB, some four times that at work.
MOST_NUMBERS = 2**27
# Forms that reject a true null too often when terms are many, and what to do instead.
USE_F = "use statistic='F', which keeps to its level"
TOO_EAGER: dict[Form, str] = {
    tseries_chi2_test: USE_F,
    wald_test: USE_F,
    robust_score_test: "add fewer terms (method='white' or 'reset'), or robust=False",
}
ROWS_PER_TERM = 20
# How much larger than it should be R's F may be. Ten residual degrees of freedom give
# 1.1, where a true null is rejected 6 to 8 times of 100 (2 to 50 terms).
MOST_INFLATION = 1.1
# Residuals that are a smaller share of y are rounding.
EXACT = 1e-10


class ManyTermsWarning(UserWarning):
    """A test adds so many terms for its rows that it rejects a true null too often."""


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """A test of added terms, and what is remembered of them.

    Attributes
    ----------
    test : AddedTermsTest
    terms, dropped : tuple of str
        Terms that count, and collinear ones.
    inflation : float
        By how much R's F is too large.
    """

    test: AddedTermsTest
    terms: tuple[str, ...]
    dropped: tuple[str, ...]
    inflation: float


def neglected_nonlinearity_test(
    X: Any,
    y: Any,
    *,
    method: str = "white",
    model: str = "linear",
    statistic: str = "F",
    robust: bool = False,
    n_units: int = 10,
    n_components: int = 2,
    n_draws: int = 1,
    weights: Any = None,
    lags: int | None = None,
    random_state: Any = None,
) -> NeglectedNonlinearityTest:
    r"""Test whether a linear regression or a logit neglects nonlinearity.

    The model is fitted, terms that are nonlinear in the columns are added, and the test
    says whether they explain what the model left over. A small p-value means that the
    model misses something that squares, interactions or a network may find.

    Parameters
    ----------
    X : array-like of shape (n, k) or None
        Columns of numbers, without missing values; the intercept is added. Constant
        columns (also an intercept of your own) and collinear ones are left out, and the
        result names them. None only with `lags`.
    y : array-like of shape (n,)
        Numbers; for a logit two classes with any labels. The second in sorted order is
        the one whose probability is modelled, as in scikit-learn; the test is the same
        for the other.
    method : {"white", "terasvirta", "reset"}, default="white"
        What is added. "white": principal components of logistic hidden units with
        random weights, the test of Lee, White and Granger (1993). "terasvirta": all
        products of two and of three columns (Teräsvirta, Lin and Granger 1993), which
        has no randomness and many terms. "reset": the square and the cube of the
        model's prediction (Ramsey 1969).
    model : {"linear", "logit"}, default="linear"
        The model under test.
    statistic : {"F", "chi2"}, default="F"
        Form of the test of a linear regression. A logit has the score test only, which
        is chi-squared.
    robust : bool, default=False
        Whether the test shall hold under heteroskedasticity; for a logit, if the
        variance is not p (1 - p).
    n_units : int, default=10
        Hidden units, for "white".
    n_components : int, default=2
        Principal components that are added, for "white": the second and those that
        follow. At most ``n_units - 1``.
    n_draws : int, default=1
        Draws of hidden weights, for "white". The p-values are combined as Hochberg
        (1988) shows.
    weights : array-like of shape (k + 1, n_units) or a sequence of them, default=None
        Hidden weights, for "white", instead of random ones; `n_units` and `n_draws` are
        then theirs. They act on columns of mean 0 and standard deviation 1, and the
        first row are the intercepts. With `lags` the rows are intercepts, lags from the
        first on, columns of X.
    lags : int, default=None
        Tests a linear time series: y on its own first `lags` lags, and on the columns
        of X if there are any.
    random_state : int, RandomState instance or None, default=None
        Decides the hidden weights, which are uniform on (-2, 2).

    Returns
    -------
    NeglectedNonlinearityTest
        With `statistic`, `p_value` and `df`. Print it, or ask for ``to_frame()``.

    Raises
    ------
    ValueError
        For options, data and shapes that do not fit; too few rows; a linear model that
        fits exactly, a logit whose classes are separated; and where nothing is left to
        test, as with a single 0/1 column.
    TypeError
        For a sparse matrix, and counts that are no whole numbers.

    Warns
    -----
    sklearn_ann.specification.ManyTermsWarning
        Where a true null would be rejected too often: a chi-squared form with more than
        n / 20 terms, or the F form of R with few rows or many lags.

    Notes
    -----
    Degrees of freedom are the rank that the terms add. Each form is that of a reference
    implementation and gives the same numbers:

    ==========================  =====================================================
    linear, white, terasvirta   R's tseries, given the weights. F: (T - k - q) / q
                                (SSR0 - SSR) / SSR; chi-squared: T log(SSR0 / SSR),
                                where T counts the rows lost to lags as well.
    linear, reset               statsmodels' ``linear_reset``: F with n - k - 1 - q,
                                chi-squared: q F.
    linear, robust              Wooldridge (1991): ones regressed on residuals times
                                added terms, after the columns were taken out of the
                                terms. F(q, n - q) of that regression; chi-squared:
                                n - SSR.
    logit                       statsmodels' ``LogitResults.score_test(exog_extra=)``;
                                robust: with ``cov_type="HC0"``.
    ==========================  =====================================================

    R's F counts one residual degree of freedom too many (and, with lags, ``lags + 1``),
    which makes it too large by a share of one to those left; from a tenth on there is
    a warning. The chi-squared form is there for comparison. It rejects a true null too
    often when there are many terms; how often is in ``docs/specification.md``.

    Columns are standardised, so their units do not matter.

    References
    ----------
    Lee, T.-H., White, H. and Granger, C. W. J. (1993). Testing for Neglected
    Nonlinearity in Time Series Models. Journal of Econometrics 56, 269-290.
    https://doi.org/10.1016/0304-4076(93)90122-L

    Teräsvirta, T., Lin, C.-F. and Granger, C. W. J. (1993). Power of the Neural Network
    Linearity Test. Journal of Time Series Analysis 14, 209-220.
    https://doi.org/10.1111/j.1467-9892.1993.tb00139.x

    Ramsey, J. B. (1969). Tests for Specification Errors in Classical Linear
    Least-Squares Regression Analysis. Journal of the Royal Statistical Society B 31,
    350-371. https://doi.org/10.1111/j.2517-6161.1969.tb00796.x

    Wooldridge, J. M. (1991). On the Application of Robust, Regression-Based Diagnostics
    to Models of Conditional Means and Conditional Variances. Journal of Econometrics
    47, 5-46. https://doi.org/10.1016/0304-4076(91)90076-P

    Hochberg, Y. (1988). A Sharper Bonferroni Procedure for Multiple Tests of
    Significance. Biometrika 75, 800-802. https://doi.org/10.1093/biomet/75.4.800

    Examples
    --------
    The log wage is not linear in age:

    >>> from sklearn_ann import neglected_nonlinearity_test
    >>> from sklearn_ann.tables import load_wages
    >>> wages = load_wages()
    >>> X = wages[["year", "age"]]
    >>> test = neglected_nonlinearity_test(X, wages["log_wage"], method="terasvirta")
    >>> print(f"F{test.df} = {test.statistic:.1f}, p = {test.p_value:.0e}")
    F(7, 2991) = 33.6, p = 3e-45
    """
    _check_options(
        {"method": method, "model": model, "statistic": statistic, "robust": robust},
        {"n_units": n_units, "n_components": n_components, "n_draws": n_draws},
    )
    _refuse_weights(weights, method)
    sample = checked_sample(X, y, model, lags)
    draws = []
    if method == "white":
        rng = check_random_state(random_state)
        draws = hidden_weights(weights, sample, n_units, n_components, n_draws, rng)

    null, columns = _fit_null(sample, model)
    form = _form(method, model, statistic, robust)
    terms = _terms(method, sample, null, columns, draws, n_components)
    outcomes = [_tested(null, each, form, sample.n_series) for each in terms]
    p_value, position = hochberg([outcome.test.p_value for outcome in outcomes])
    decisive = outcomes[position]
    _warn_of_many_terms(form, decisive, len(sample.y))

    names, collinear = _parted(sample.names, columns)
    return NeglectedNonlinearityTest(
        method=method,
        model=model,
        distribution="F" if isinstance(decisive.test.df, tuple) else "chi2",
        robust=bool(robust),
        statistic=decisive.test.statistic,
        df=decisive.test.df,
        p_value=p_value,
        n_rows=len(sample.y),
        target=sample.target,
        columns=names,
        dropped_columns=(*sample.constant, *collinear),
        terms=decisive.terms,
        dropped_terms=decisive.dropped,
        n_units=draws[position].shape[1] if draws else None,
        draw_statistics=tuple(outcome.test.statistic for outcome in outcomes),
        draw_p_values=tuple(outcome.test.p_value for outcome in outcomes),
    )


# ------------------------------------------------------------------------ the options


def _check_options(options: dict[str, Any], counts: dict[str, Any]) -> None:
    for name, value in options.items():
        if not isinstance(value, str | bool | np.bool_) or value not in OPTIONS[name]:
            known = ", ".join(map(repr, OPTIONS[name]))
            raise ValueError(f"{name} must be one of {known}; got {value!r}.")
    for name, value in counts.items():
        check_scalar(value, name, Integral, min_val=1)


def _refuse_weights(weights: Any, method: str) -> None:
    if weights is not None and method != "white":
        raise ValueError(
            f"weights= are those of hidden units, and method={method!r} has none: "
            "leave them out, or use method='white'."
        )


def _form(method: str, model: str, statistic: str, robust: bool) -> Form:
    if model == "logit":
        return robust_score_test if robust else score_test
    if robust:
        forms = (robust_f_test, robust_chi2_test)
    elif method == "reset":
        forms = (f_test, wald_test)
    else:
        forms = (tseries_f_test, tseries_chi2_test)
    return forms[statistic == "chi2"]


# ------------------------------------------------------------------- model and terms


def _fit_null(sample: Sample, model: str) -> tuple[NullModel, np.ndarray]:
    """Fit the model under test; and give the columns in it, as positions."""
    n = len(sample.y)
    constant = np.full((n, 1), 1 / np.sqrt(n))
    slopes, columns = orthonormal_beyond(constant, sample.z)
    basis = np.hstack([constant, slopes])
    if n < basis.shape[1] + 2:
        raise ValueError(
            f"{n} rows are too few for {len(sample.names) + 1} coefficients and an "
            "added term."
        )
    if model == "linear":
        null = linear_null(basis, sample.y)
        _refuse_exact_fit(null, sample)
        return null, columns
    try:
        return logit_null(basis, sample.y), columns
    except SeparationError:
        raise ValueError(_separation(sample)) from None


def _refuse_exact_fit(null: NullModel, sample: Sample) -> None:
    if np.linalg.norm(null.residual) <= EXACT * np.linalg.norm(sample.y):
        raise ValueError(
            f"The linear regression fits {sample.target} exactly, so there are no "
            f"residuals to explain: is {sample.target} computed from the columns?"
        )


def _separation(sample: Sample) -> str:
    """Say why there is no logit, and name a column that is to blame if there is one."""
    high, low = sample.z[sample.y], sample.z[~sample.y]
    alone = (low.max(axis=0) <= high.min(axis=0)) | (
        high.max(axis=0) <= low.min(axis=0)
    )
    names = [name for name, a in zip(sample.names, alone, strict=True) if a]
    which = ", ".join(names) if names else "a combination of columns"
    return (
        f"The logit of {sample.target} has no finite estimate, so there is nothing to "
        f"test: {which} separates the two classes. Leave columns out that decide the "
        "class, or merge rare categories."
    )


def _terms(
    method: str,
    sample: Sample,
    null: NullModel,
    columns: np.ndarray,
    draws: list[np.ndarray],
    n_components: int,
) -> Iterable[Terms]:
    """Give the terms to add, one set for each draw of hidden weights."""
    if method == "white":
        return (hidden_components(sample.z, draw, n_components) for draw in draws)
    if method == "reset":
        return [powers(null.index, "prediction")]
    # Products of collinear columns are sums of the others' products.
    names = [sample.names[j] for j in columns]
    _check_size(len(sample.y), count_monomials(len(names)))
    return [monomials(sample.z[:, columns], names)]


def _check_size(n: int, m: int) -> None:
    if n * m > MOST_NUMBERS:
        raise ValueError(
            f"method='terasvirta' adds {m} terms to {n} rows, a table of "
            f"{n * m * 8 / 2**30:.1f} GiB: use method='white' or 'reset', or fewer "
            "columns."
        )


def _tested(null: NullModel, terms: Terms, form: Form, n_series: int) -> _Outcome:
    addition, kept = add_terms(null, terms.values, n_series)
    n, q = addition.basis.shape
    if q == 0:
        raise ValueError(
            "There is nothing to test: all terms to be added are collinear with the "
            "columns, as for a single 0/1 column, which has no nonlinearity."
        )
    if df_left(addition) < 1:
        raise ValueError(
            f"{n} rows are too few for a model of {addition.n_null} coefficients and "
            f"{q} added terms: give more rows, fewer columns, or another method than "
            "'terasvirta'."
        )
    names, dropped = _parted(terms.names, kept)
    return _Outcome(form(addition), names, dropped, tseries_inflation(addition))


# ------------------------------------------------------------------------- the result


def _warn_of_many_terms(form: Form, outcome: _Outcome, n: int) -> None:
    q = len(outcome.terms)
    problem = ""
    if form in TOO_EAGER and q * ROWS_PER_TERM > n:
        problem = (
            f"{q} terms are many for {n} rows, and the chi-squared form then rejects a "
            f"true null too often; {TOO_EAGER[form]}."
        )
    elif form is tseries_f_test and outcome.inflation > MOST_INFLATION:
        problem = (
            f"R's F form is {outcome.inflation:.2f} times as large as it should be "
            f"here, as it counts more residual degrees of freedom than {n} rows and "
            f"{q} terms leave, and rejects a true null too often; take more rows, or "
            "give lags as columns of X."
        )
    if problem:
        warnings.warn(problem, ManyTermsWarning, stacklevel=3)


def _parted(
    names: Sequence[str], kept: np.ndarray
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Part names into those at some positions, and the others."""
    positions = set(kept.tolist())
    chosen = tuple(name for j, name in enumerate(names) if j in positions)
    return chosen, tuple(name for j, name in enumerate(names) if j not in positions)
