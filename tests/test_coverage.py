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
