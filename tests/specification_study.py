"""Size and power of the tests for neglected nonlinearity, by simulation.

Run from a checkout, ``python -m tests.specification_study`` prints the table of
``docs/specification.md``; the slow tests hold the figures that matter.
"""

import warnings

import numpy as np
import statsmodels.api as sm
from scipy.special import expit
from sklearn.preprocessing import PolynomialFeatures

from sklearn_ann import neglected_nonlinearity_test
from sklearn_ann.specification import ManyTermsWarning

LEVEL = 0.05
SETTINGS = {
    "White, one draw": {"method": "white"},
    "White, ten draws": {"method": "white", "n_draws": 10},
    "Teräsvirta": {"method": "terasvirta"},
    "RESET": {"method": "reset"},
}


def linear(X, rng):
    """Nothing is neglected."""
    return X.sum(axis=1) + rng.normal(size=len(X))


def heteroskedastic(X, rng):
    """Nothing is neglected, but the errors' spread grows with the first column."""
    return X.sum(axis=1) + np.exp(X[:, 0] / 2) * rng.normal(size=len(X))


def nonlinear(X, rng):
    """Every column counts by its square as well."""
    return X.sum(axis=1) + np.square(X).sum(axis=1) + rng.normal(size=len(X))


def classes(X, rng):
    """Follow a logit that neglects nothing."""
    return rng.uniform(size=len(X)) < expit(X.sum(axis=1) / 2)


def rejection_rate(process, n, k, samples, seed=0, **options):
    """Share of samples in which the test says that something is neglected."""
    rng = np.random.default_rng(seed)
    p_values = np.empty(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManyTermsWarning)
        for i in range(samples):
            X = rng.normal(size=(n, k))
            y = process(X, rng)
            p_values[i] = neglected_nonlinearity_test(
                X, y, random_state=i, **options
            ).p_value
    return float((p_values < LEVEL).mean())


def wald_hc3_rate(process, n, k, samples, seed=0):
    """Give the same for Teräsvirta's terms and a robust Wald test: not what we use."""
    rng = np.random.default_rng(seed)
    terms = PolynomialFeatures(3)
    rejected = 0
    for _ in range(samples):
        X = rng.normal(size=(n, k))
        fit = sm.OLS(process(X, rng), terms.fit_transform(X)).fit(cov_type="HC3")
        added = np.eye(terms.n_output_features_)[k + 1 :]
        rejected += fit.wald_test(added, use_f=True, scalar=True).pvalue < LEVEL
    return rejected / samples


def rows(samples):
    """Yield the cells of the table."""
    for n, k in ((100, 3), (100, 5), (200, 3), (500, 5)):
        for name, options in SETTINGS.items():
            runs = (
                (linear, {}),
                (linear, {"statistic": "chi2"}),
                (heteroskedastic, {}),
                (heteroskedastic, {"robust": True}),
                (classes, {"model": "logit"}),
                (nonlinear, {}),
                (nonlinear, {"robust": True}),
            )
            rates = (
                f"{rejection_rate(process, n, k, samples, **options, **form):.3f}"
                for process, form in runs
            )
            yield (str(n), str(k), name, *rates)


if __name__ == "__main__":
    header = (
        "n",
        "k",
        "test",
        "F",
        "chi-squared",
        "F, het.",
        "robust F, het.",
        "logit",
        "power, F",
        "power, robust F",
    )
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows(samples=1000):
        print("| " + " | ".join(row) + " |", flush=True)
    print()
    for process in (linear, heteroskedastic):
        rate = wald_hc3_rate(process, 100, 3, samples=1000)
        print(f"Wald test with HC3, n = 100, k = 3, {process.__name__}: {rate:.3f}")
