"""Coverage and width of conformal intervals, by simulation.

Run from a checkout, ``python -m tests.intervals_study`` prints the table of
``docs/intervals.md``; slow tests hold the figures that matter.
"""

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_ann import ANNRegressor, ConformalRegressor, batched_fits
from sklearn_ann.tables import load_wages, make_problem, preprocessing

LEVEL = 0.9
N_ROWS, N_TEST = 1000, 1000


def curved(rng, n):
    """A sine in one column, a line in another, and a spread that a third decides."""
    X = rng.uniform(-2, 2, size=(n, 4))
    spread = 0.2 + 0.4 * np.abs(X[:, 2])
    return X, np.sin(2 * X[:, 0]) + X[:, 1] / 2 + spread * rng.normal(size=n)


def linear(rng, n):
    """All that OLS assumes."""
    X = rng.uniform(-2, 2, size=(n, 4))
    return X, X[:, 0] + X[:, 1] / 2 + 0.6 * rng.normal(size=n)


def simulated(process):
    """Return a function of a seed: new rows to fit and calibrate on, and to test on."""

    def draw(seed):
        rng = np.random.default_rng(seed)
        return *process(rng, N_ROWS), *process(rng, N_TEST)

    return draw


def wages(seed):
    """Return the wages of 3000 men, split at random: 2400 rows and 600 to test on."""
    problem = make_problem(load_wages(), target="log_wage")
    parts = train_test_split(problem.X, problem.y, test_size=0.2, random_state=seed)
    return parts[0], parts[2], parts[1], parts[3]


def models(n_fit):
    """Return four estimators for n_fit rows: {mean, quantiles} x {linear, network}."""
    network = {
        "hidden_layer_sizes": 16,
        "activation": "tanh",
        "early_stopping": False,
        "random_state": 0,
    }
    quantiles = {"loss": "quantile", "quantile": (0.05, 0.95), "max_iter": 1000}
    return {
        "OLS": LinearRegression(),
        "linear quantiles": ANNRegressor((), random_state=0, **quantiles),
        "network": ANNRegressor(
            **network, solver="lbfgs", alpha=n_fit / 100, max_iter=1000
        ),
        "quantile network": ANNRegressor(
            **network,
            **quantiles,
            alpha=n_fit / 1000,
            learning_rate="adaptive",
            learning_rate_init=0.01,
            tol=1e-5,
        ),
    }


def with_columns_prepared(estimator):
    """Put the preprocessing of the wages' columns before an estimator."""
    X = make_problem(load_wages(), target="log_wage").X
    return make_pipeline(preprocessing(X), estimator)


DESIGNS = {
    "curved": (simulated(curved), models(750)),
    "linear": (simulated(linear), models(750)),
    "wages": (
        wages,
        {name: with_columns_prepared(m) for name, m in models(1800).items()},
    ),
}


@dataclass(frozen=True, slots=True)
class Intervals:
    """Of R samples.

    Attributes
    ----------
    coverage, width : ndarray of shape (R,)
        Share of the test rows that lie within their interval, and its mean width.
    """

    coverage: np.ndarray
    width: np.ndarray


def one_sample(draw, estimator, seed):
    """Return coverage and mean width in one sample."""
    X, y, X_test, y_test = draw(seed)
    conformal = ConformalRegressor(clone(estimator), random_state=seed).fit(X, y)
    low, high = conformal.predict_interval(X_test, LEVEL).T
    return np.mean((low <= y_test) & (y_test <= high)), np.mean(high - low)


def intervals(draw, estimator, n_samples):
    """Return coverage and width in many samples, whose networks become stacks."""
    with batched_fits():
        found = Parallel()(
            delayed(one_sample)(draw, estimator, seed) for seed in range(n_samples)
        )
    return Intervals(*np.array(found).T)


def rows(n_samples):
    """Yield the cells of the table."""
    for design, (draw, estimators) in DESIGNS.items():
        for name, estimator in estimators.items():
            found = intervals(draw, estimator, n_samples)
            yield (
                design,
                name,
                f"{found.coverage.mean():.3f}",
                f"{found.coverage.std(ddof=1):.3f}",
                f"{found.width.mean():.2f}",
            )


if __name__ == "__main__":
    header = ("data", "estimator", "coverage", "its spread", "mean width")
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows(n_samples=200):
        print("| " + " | ".join(row) + " |", flush=True)
