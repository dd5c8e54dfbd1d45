"""Double machine learning with networks as learners, by simulation.

Run from a checkout, ``python -m tests.causal_study`` prints the table of
``docs/causal.md``; a slow test holds the figures that matter. Needs DoubleML.
"""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.special import expit
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

from sklearn_ann import ANNRegressor, batched_fits

EFFECT = 0.5
N_ROWS, N_COLUMNS, N_FOLDS = 500, 20, 5
N_TRAINING = N_ROWS * (N_FOLDS - 1) // N_FOLDS
RECOMMENDED = ANNRegressor(
    4,
    "tanh",
    solver="lbfgs",
    alpha=N_TRAINING / 20,
    linear_skip=True,
    max_iter=1000,
    random_state=0,
)
README = ANNRegressor(
    16,
    "tanh",
    solver="lbfgs",
    alpha=N_TRAINING / 100,
    max_iter=1000,
    random_state=0,
)
# The textbook's: nothing holds it back but its 200 epochs.
PLAIN = ANNRegressor((100,), "relu", early_stopping=False, random_state=0)
# For the outcome and for the treatment.
LEARNERS = {
    "OLS": (LinearRegression(),) * 2,
    "network, as recommended": (RECOMMENDED,) * 2,
    "network of the README": (README,) * 2,
    "plain network": (PLAIN,) * 2,
    "plain network, two seeds": (PLAIN, clone(PLAIN).set_params(random_state=1)),
    "network, defaults": (ANNRegressor(random_state=0),) * 2,
}


@dataclass(frozen=True, slots=True)
class Estimates:
    """Of the effect, over R samples.

    Attributes
    ----------
    effect, std_error : ndarray of shape (R,)
    treatment_error : ndarray of shape (R,)
        Mean squared error of the treatment's learner, where the noise of the treatment
        has variance 1.
    """

    effect: np.ndarray
    std_error: np.ndarray
    treatment_error: np.ndarray

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


def expected_treatment(data: pd.DataFrame):
    """Return what a perfect learner would predict of the treatment."""
    return data["X1"] + 0.25 * expit(data["X3"])


def estimate(learners, data: pd.DataFrame, seed):
    """Return effect, standard error, and the error of the treatment's learner."""
    from doubleml import DoubleMLData, DoubleMLPLR

    # clones: DoubleML keeps what it is given, and samples run side by side.
    ml_l, ml_m = map(clone, learners)
    table = DoubleMLData(data, "y", "d")
    model = DoubleMLPLR(table, ml_l, ml_m, draw_sample_splitting=False)
    folds = KFold(N_FOLDS, shuffle=True, random_state=seed)
    model.set_sample_splitting([list(folds.split(data))]).fit()
    error = model.predictions["ml_m"].ravel() - expected_treatment(data)
    return model.coef[0], model.se[0], np.mean(error**2)


def estimates(learners, n_samples):
    """Estimate the effect in many samples, whose networks are trained as stacks."""
    samples = [sample(seed) for seed in range(n_samples)]
    with batched_fits():
        found = Parallel()(
            delayed(estimate)(learners, data, seed) for seed, data in enumerate(samples)
        )
    return Estimates(*np.array(found).T)


def rows(n_samples):
    """Yield the cells of the table."""
    for name, learners in LEARNERS.items():
        with warnings.catch_warnings():
            # The plain network's 200 epochs are too few for so few rows, and say so.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = estimates(learners, n_samples)
        yield (
            name,
            f"{found.bias:+.4f}",
            f"{found.std_error.mean():.4f}",
            f"{found.effect.std(ddof=1):.4f}",
            f"{found.bias_over_std_error:.2f}",
            f"{found.coverage:.3f}",
            f"{found.treatment_error.mean():.2f}",
        )


if __name__ == "__main__":
    header = (
        "learner",
        "bias",
        "std. error",
        "spread",
        "bias / std. error",
        "coverage",
        "error in d",
    )
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows(n_samples=200):
        print("| " + " | ".join(row) + " |", flush=True)
