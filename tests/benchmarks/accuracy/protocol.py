"""The protocol: which rows are used, and what counts.

A quarter of the rows is for testing, stratified by class; of both parts at most so many
are used, drawn in the same way. Regression targets are standardised by the training
rows. A model's score becomes its gain over the linear model, which is 0 for the linear
model, 1 for a perfect one and negative for one that embarrasses its user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, r2_score, roc_auc_score
from sklearn.model_selection import train_test_split

from .sets import Data

TEST_SHARE = 0.25
LIMITS = (3000, 4000)  # training and test rows, at most
BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows to fit and rows to test.

    Attributes
    ----------
    X_train, X_test : DataFrame of shape (n_train, d) and (n_test, d)
    y_train, y_test : ndarray of shape (n_train,) and (n_test,)
        Standardised numbers, or codes of classes.
    """

    X_train: pd.DataFrame
    X_test: pd.DataFrame
    y_train: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model reached on the test rows.

    Attributes
    ----------
    score : float
        R2, or log loss of a classifier.
    accuracy, auc, calibration_error : float or None
        None for regression. The AUC of several classes is the mean of each against
        the others.
    """

    score: float
    accuracy: float | None = None
    auc: float | None = None
    calibration_error: float | None = None


def split(data: Data, task: str, seed: int, limits: tuple[int, int] = LIMITS) -> Split:
    """Draw the rows of a seed.

    Parameters
    ----------
    data : Data
    task : {"regression", "binary", "multiclass"}
    seed : int
    limits : tuple of int, default=(3000, 4000)
        Training and test rows, at most.
    """
    classes = None if task == "regression" else data.y
    train, test = train_test_split(
        np.arange(len(data.y)),
        test_size=TEST_SHARE,
        random_state=seed,
        stratify=classes,
    )
    train, test = (
        _subsample(rows, classes, limit, seed)
        for rows, limit in zip((train, test), limits, strict=True)
    )
    y = data.y if task != "regression" else _standardized(data.y, train)
    return Split(data.X.iloc[train], data.X.iloc[test], y[train], y[test])


def score(task: str, y: np.ndarray, predicted: np.ndarray) -> Scores:
    """Score predictions of shape (n,), or probabilities of shape (n, classes).

    Raises
    ------
    ValueError
        For predictions that are not finite.
    """
    if task == "regression":
        return Scores(float(r2_score(y, predicted)))
    predicted = np.asarray(predicted, dtype=float)
    predicted = predicted / predicted.sum(axis=1, keepdims=True)  # float32 sums
    classes = np.arange(predicted.shape[1])
    last = predicted[:, 1] if task == "binary" else predicted
    return Scores(
        float(log_loss(y, predicted, labels=classes)),
        float((predicted.argmax(axis=1) == y).mean()),
        float(roc_auc_score(y, last, multi_class="ovr")),
        calibration_error(y, predicted),
    )


def calibration_error(y: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error of the class held most probable.

    The sum over fifteen equal bins of confidence of
    ``share of rows * |accuracy - mean confidence|``: Guo, Pleiss, Sun and Weinberger
    (2017), On Calibration of Modern Neural Networks, equation 3.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Codes of classes.
    probabilities : ndarray of shape (n, classes)
    """
    confidence = probabilities.max(axis=1)
    surplus = (probabilities.argmax(axis=1) == y) - confidence
    # Bins are open to the left, so that a confidence of 1 is in the last one.
    bins = np.ceil(confidence * BINS).astype(int) - 1
    return float(np.abs(np.bincount(bins, surplus, BINS)).sum() / len(y))


def gain(task: str, score: float, linear: float) -> float:
    """Share of the linear model's loss that a model saves.

    ``(R2 - R2_lin) / (1 - R2_lin)``, or ``(LL_lin - LL) / LL_lin`` for the log loss.
    """
    if task == "regression":
        return (score - linear) / (1 - linear)
    return (linear - score) / linear


def _subsample(
    rows: np.ndarray, classes: np.ndarray | None, limit: int, seed: int
) -> np.ndarray:
    if len(rows) <= limit:
        return rows
    stratify = None if classes is None else classes[rows]
    return train_test_split(
        rows, train_size=limit, random_state=seed, stratify=stratify
    )[0]


def _standardized(y: np.ndarray, train: np.ndarray) -> np.ndarray:
    return (y - y[train].mean()) / y[train].std()
