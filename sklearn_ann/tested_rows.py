"""Rows tested and what was predicted for them: what scores of single splits hide.

Conventions
-----------
N rows tested, split after split, m targets where there are several; R_m versions of a
model, one for each seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score

from .comparison_splits import Split
from .forecast_tests import ClarkWestTest, clark_west_test

FOLD_MEAN, POOLED_MEAN, TRAINING_MEAN = (
    "test-fold mean",
    "pooled mean",
    "training mean",
)


@dataclass(frozen=True, slots=True, eq=False)
class TestedRows:
    """Outcomes and predictions of the rows tested.

    Attributes
    ----------
    y : ndarray of shape (N,) or (N, m)
    predicted : tuple of ndarray of shape (R_m, N) or (R_m, N, m)
        Of each model.
    training_mean : ndarray of shape (N,) or (N, m)
        Mean of the rows that the models were fitted to.
    split : ndarray of int of shape (N,)
        Number of each row's split.
    part : ndarray of int of shape (N,)
        Number of the part that it is scored with: its split, or its period.
    """

    __test__ = False  # pytest: its name begins like that of a test

    y: np.ndarray
    predicted: tuple[np.ndarray, ...]
    training_mean: np.ndarray
    split: np.ndarray
    part: np.ndarray


def tested_rows(
    y: Any, splits: Sequence[Split], predicted: tuple[np.ndarray, ...]
) -> TestedRows | None:
    """Put outcomes beside predictions.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, m)
    splits : sequence of Split
    predicted : tuple of M ndarrays of shape (R_m, N) or (R_m, N, m)
        Empty where predictions are no numbers.

    Returns
    -------
    TestedRows or None
        None without predictions.
    """
    if not predicted:
        return None
    y = np.asarray(y, dtype=float)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    tests = [split.test for split in splits]
    sizes = [len(test) for test in tests]
    rows = np.concatenate(tests)
    means = np.stack([y[split.train].mean(axis=0) for split in splits])
    parts = np.concatenate([split.parts for split in splits])
    return TestedRows(
        y[rows],
        tuple(each.reshape(len(each), *y[rows].shape) for each in predicted),
        np.repeat(means, sizes, axis=0),
        np.repeat(np.arange(len(splits)), sizes),
        np.repeat(np.arange(len(parts)), parts),
    )


def r2_by_benchmark(rows: TestedRows, models: tuple[str, ...]) -> pd.DataFrame:
    """R2 out of sample, against three predictions that need no model.

    Parameters
    ----------
    rows : TestedRows
    models : tuple of str of length M

    Returns
    -------
    DataFrame of shape (M, 3)
        One minus the ratio of squared errors: against the mean of the test fold,
        averaged over folds, as scikit-learn has it; against the mean of all rows
        tested, pooled; and against the mean of the rows fitted to, which alone was
        known when the prediction was made (Campbell and Thompson 2008). Several targets
        count alike, and so do seeds.

    References
    ----------
    Campbell, J. Y. and Thompson, S. B. (2008). Predicting Excess Stock Returns Out of
    Sample: Can Anything Beat the Historical Average? Review of Financial Studies 21,
    1509-1531. https://doi.org/10.1093/rfs/hhm055
    """
    found = [
        {
            FOLD_MEAN: np.mean([_by_fold(rows, each) for each in versions]),
            POOLED_MEAN: np.mean([r2_score(rows.y, each) for each in versions]),
            TRAINING_MEAN: np.mean(
                [_against_training(rows, each) for each in versions]
            ),
        }
        for versions in rows.predicted
    ]
    return pd.DataFrame(found, index=pd.Index(models, name="model"))


def _by_fold(rows: TestedRows, predicted: np.ndarray) -> float:
    folds = [rows.split == j for j in np.unique(rows.split)]
    if min(fold.sum() for fold in folds) < 2:
        return float("nan")  # one row is its own mean
    return float(np.mean([r2_score(rows.y[f], predicted[f]) for f in folds]))


def _against_training(rows: TestedRows, predicted: np.ndarray) -> float:
    left = ((rows.y - predicted) ** 2).sum(axis=0)
    without = ((rows.y - rows.training_mean) ** 2).sum(axis=0)
    return float(np.mean(1 - left / without))


def clark_west_of_rows(
    rows: TestedRows, smaller: int, larger: int, horizon: int
) -> ClarkWestTest:
    """Test two models by number; seeds are averaged within a period.

    Parameters
    ----------
    rows : TestedRows
    smaller, larger : int
        Position of the model that is nested, and of the one that nests it.
    horizon : int
    """
    small, large = rows.predicted[smaller], rows.predicted[larger]
    small, large = np.broadcast_arrays(small, large)  # (R, N)
    periods = [rows.part == t for t in np.unique(rows.part)]
    return clark_west_test(
        [np.tile(rows.y[t], len(large)) for t in periods],
        [small[:, t].ravel() for t in periods],
        [large[:, t].ravel() for t in periods],
        horizon,
    )
