"""What an interval is worth: how often it covers, over many samples."""

import numpy as np
import pytest
from econ_data import two_units, two_units_slopes
from joblib import Parallel, delayed

from sklearn_ann import ANNRegressor, average_marginal_effects, batched_fits

SAMPLES = 1000
# The mean slopes over the population, from two million rows: the standard error of
# these is a hundredth of the width of the intervals.
POPULATION_ROWS = 2_000_000


def fitted(seed):
    X, y = two_units(seed)
    network = ANNRegressor(
        2,
        activation="tanh",
        solver="lbfgs",
        alpha=0.0,
        tol=1e-6,
        max_iter=2000,
        n_init=5,
        random_state=seed,
    )
    return network.fit(X, y)


def covers(network, X, y, target, unconditional):
    """Whether each of the two intervals covers; a refusal does not."""
    effects = average_marginal_effects(network, X, y, unconditional=unconditional)
    low, high = effects.conf_int().T
    return (low <= target) & (target <= high)  # False where there is none


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_intervals_cover_what_they_are_for():
    """Networks of two tanh units, n = 1000: the sample's effect, the population's."""
    with batched_fits():
        networks = Parallel()(delayed(fitted)(seed) for seed in range(SAMPLES))
    rows = np.random.default_rng(2**20).normal(size=(POPULATION_ROWS, 2))
    population = two_units_slopes(rows).mean(axis=0)
    hits = np.zeros((2, 2))
    for seed, network in enumerate(networks):
        X, y = two_units(seed)
        sample = two_units_slopes(X).mean(axis=0)
        hits[0] += covers(network, X, y, sample, unconditional=False)
        hits[1] += covers(network, X, y, population, unconditional=True)
    shares = hits / SAMPLES
    assert (shares >= 0.925).all() and (shares <= 0.975).all(), shares


BOOTSTRAP_SAMPLES = 500
# A standard error of so few draws varies by a ninth, which costs an interval of the
# normal law less than a percent of coverage; the time goes with their number.
BOOTSTRAP_REPLICATES = 40


def bootstrap_covers(seed, population):
    """Whether each of the two intervals covers the population's effect."""
    X, y = two_units(seed)
    network = ANNRegressor(
        2, activation="tanh", solver="lbfgs", alpha=0.0, max_iter=200, n_init=5,
        random_state=seed,
    ).fit(X, y)  # fmt: skip
    effects = average_marginal_effects(
        network, X, y, vcov="bootstrap", n_replicates=BOOTSTRAP_REPLICATES,
        unconditional=True, random_state=seed,
    )  # fmt: skip
    low, high = effects.conf_int().T
    return (low <= population) & (population <= high)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bootstrap_intervals_cover():
    """Networks of two tanh units, n = 1000: the population's effect."""
    rows = np.random.default_rng(2**20).normal(size=(POPULATION_ROWS, 2))
    population = two_units_slopes(rows).mean(axis=0)
    hits = [bootstrap_covers(seed, population) for seed in range(BOOTSTRAP_SAMPLES)]
    shares = np.mean(hits, axis=0)
    print(f"bootstrap: {shares}")
    assert (shares >= 0.92).all() and (shares <= 0.98).all(), shares


DEBIASED_SAMPLES = 300
# E[2 sech(x)^2] for x ~ N(0, 1), by quadrature; the mean of x1 x2 has no slope.
BENT_SLOPES = (1.2114110, 0.0)


def bent(seed, n=500):
    """Independent normal columns, and a mean that a stiff network cannot follow."""
    rng = np.random.default_rng([2**21, seed])
    X = rng.normal(size=(n, 3))
    mean = 2.0 * np.tanh(X[:, 0]) + X[:, 1] * X[:, 2]
    return X, mean + 0.5 * rng.normal(size=n)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_debiased_intervals_cover_where_the_plug_in_fails():
    """A heavily penalised network, n = 500: its own effects are far too small."""
    hits, naive = np.zeros(2), np.zeros(2)
    for seed in range(DEBIASED_SAMPLES):
        X, y = bent(seed)
        network = ANNRegressor(
            8, activation="tanh", solver="lbfgs", alpha=60.0, random_state=seed
        ).fit(X, y)
        effects = average_marginal_effects(
            network, X, y, vcov="debiased", features=[0, 1], random_state=seed
        )
        reach = (effects.conf_int()[:, 1] - effects.conf_int()[:, 0]) / 2
        hits += np.abs(effects.estimate - BENT_SLOPES) <= reach
        naive += np.abs(effects.beside["plug_in"] - BENT_SLOPES) <= reach
    shares, naive = hits / DEBIASED_SAMPLES, naive / DEBIASED_SAMPLES
    print(f"debiased: {shares}; the plug-in within the same reach: {naive}")
    assert (shares >= 0.91).all() and (shares <= 0.98).all(), shares
    assert naive[0] < 0.5
