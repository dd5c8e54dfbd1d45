"""A million rows: effects work through them a few at a time."""

import threading
import time

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ann import ANNClassifier, average_marginal_effects
from sklearn_ann.memory import resident

N, D = 1_000_000, 10
TABLE = N * D * 8  # bytes of X, and of the influence functions of its columns' effects

needs_proc = pytest.mark.skipif(
    resident() is None, reason="resident memory is read from /proc"
)


def peak_beyond(work):
    """Bytes that `work` takes at its peak beyond what is held before."""
    before, peak, done = resident(), [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return peak[0] - before


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    return X, np.tanh(2 * X[:, 0] - X[:, 1]) - X[:, 2] + rng.logistic(size=N)


# A start that leads to the minimum: from some others the fit ends on a plateau beside
# the linear model, and effects refuse its standard errors.
NETWORK = ANNClassifier(
    1, activation="tanh", linear_skip=True, solver="lbfgs", tol=1e-6, random_state=1
)
CASES = {
    # What is kept: the influence functions; with transformers what they put out; for
    # the population's average the effects row by row, and their influences.
    "line": (LinearRegression(), {}, 2),
    "line through a scaler": (
        make_pipeline(StandardScaler(), LinearRegression()),
        {},
        4,
    ),
    "network": (NETWORK, {"unconditional": True}, 4),
}


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize(("estimator", "options", "tables"), CASES.values(), ids=CASES)
def test_memory_is_bounded(rows, estimator, options, tables):
    X, y = rows
    if isinstance(estimator, ANNClassifier):
        y = (y > 0).astype(int)
    fitted = estimator.fit(X, y)
    # Libraries load parts of themselves on first use.
    average_marginal_effects(fitted, X[:100], y[:100])
    found = []

    def work():
        found.append(average_marginal_effects(fitted, X, y, vcov="HC1", **options))

    assert peak_beyond(work) < tables * TABLE
    assert np.isfinite(found[0].std_error).all()
