"""Double machine learning with networks as learners, by simulation.

Run from a checkout, ``python -m tests.causal_study`` prints the table of
``docs/causal.md``; a slow test holds the figures that matter. Needs DoubleML.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import norm
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

from sklearn_ann import ANNRegressor, batched_fits

EFFECT = 0.5
N_ROWS, N_COLUMNS, N_FOLDS = 500, 20, 5
N_TRAINING = N_ROWS * (N_FOLDS - 1) // N_FOLDS
LEARNERS = {
    "OLS": LinearRegression(),
    "network, as recommended": ANNRegressor(
        4,
        "tanh",
        solver="lbfgs",
        alpha=N_TRAINING / 20,
        linear_skip=True,
        max_iter=1000,
        random_state=0,
    ),
    "network of the README": ANNRegressor(
        16,
        "tanh",
        solver="lbfgs",
        alpha=N_TRAINING / 100,
        max_iter=1000,
        random_state=0,
    ),
    "network, defaults": ANNRegressor(random_state=0),
}


@dataclass(frozen=True, slots=True)
class Estimates:
    """Of the effect, over R samples.

    Attributes
    ----------
    effect, std_error : ndarray of shape (R,)
    """

    effect: np.ndarray
    std_error: np.ndarray

    @property
    def bias(self):
        """Mean of the estimates, less the effect."""
        return float(self.effect.mean() - EFFECT)

    @property
    def bias_over_std_error(self):
        """Size of the bias, measured in mean standard errors."""
        return abs(self.bias) / float(self.std_error.mean())

    @property
    def coverage(self):
        """Share of the 95% intervals that hold the effect."""
        error = np.abs(self.effect - EFFECT)
        return float((error <= norm.ppf(0.975) * self.std_error).mean())


@contextmanager
def global_seed(seed):
    """Seed NumPy's global generator for a while: DoubleML draws its data from it."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def sample(seed):
    """Draw a sample of Chernozhukov et al. (2018), as DoubleML makes it."""
    from doubleml.plm.datasets import make_plr_CCDDHNR2018

    with global_seed(seed):
        return make_plr_CCDDHNR2018(
            n_obs=N_ROWS, dim_x=N_COLUMNS, alpha=EFFECT, return_type="DataFrame"
        )


def estimate(learner, data: pd.DataFrame, seed):
    """Return effect and standard error."""
    from doubleml import DoubleMLData, DoubleMLPLR

    # clones: DoubleML keeps what it is given, and samples run side by side.
    model = DoubleMLPLR(
        DoubleMLData(data, "y", "d"),
        ml_l=clone(learner),
        ml_m=clone(learner),
        draw_sample_splitting=False,
    )
    folds = KFold(N_FOLDS, shuffle=True, random_state=seed)
    model.set_sample_splitting([list(folds.split(data))]).fit()
    return model.coef[0], model.se[0]


def estimates(learner, n_samples):
    """Estimate the effect in many samples, whose networks are trained as stacks."""
    samples = [sample(seed) for seed in range(n_samples)]
    with batched_fits():
        found = Parallel()(
            delayed(estimate)(learner, data, seed) for seed, data in enumerate(samples)
        )
    return Estimates(*np.array(found).T)


def rows(n_samples):
    """Yield the cells of the table."""
    for name, learner in LEARNERS.items():
        found = estimates(learner, n_samples)
        yield (
            name,
            f"{found.bias:+.4f}",
            f"{found.std_error.mean():.4f}",
            f"{found.effect.std(ddof=1):.4f}",
            f"{found.bias_over_std_error:.2f}",
            f"{found.coverage:.3f}",
        )


if __name__ == "__main__":
    header = ("learner", "bias", "std. error", "spread", "bias / std. error", "coverage")
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows(n_samples=200):
        print("| " + " | ".join(row) + " |", flush=True)
