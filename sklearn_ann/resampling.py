"""Which rows a network trains on, and which it is validated on."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import (
    GroupShuffleSplit,
    ShuffleSplit,
    StratifiedShuffleSplit,
)


def hold_out(
    rows: np.ndarray,
    fraction: float,
    seed: int,
    labels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Split row numbers into those to train on and those held out.

    Parameters
    ----------
    rows : ndarray of int
        Rows that count (of positive weight).
    fraction : float
        Share to hold out.
    seed : int
    labels : ndarray of shape (len(rows),) or None
        Classes whose shares both parts shall keep; ignored where a class is too rare.
    groups : ndarray of shape (len(rows),) or None
        Whole groups are held out.

    Returns
    -------
    train, held_out : ndarray of int, sorted

    Raises
    ------
    ValueError
        When nothing would be left on one of the sides.
    """
    n_units = len(rows) if groups is None else len(np.unique(groups))
    n_held = int(np.ceil(fraction * n_units))
    if n_held < 1 or n_held >= n_units:
        unit = "rows" if groups is None else "groups"
        raise ValueError(
            f"The validation set is too small, or nothing is left beside it: "
            f"validation_fraction={fraction} of {n_units} {unit} holds out {n_held}. "
            "Change validation_fraction, give X_val and y_val, or set "
            "early_stopping=False."
        )
    options = {"n_splits": 1, "test_size": n_held, "random_state": seed}
    if groups is not None:
        split = GroupShuffleSplit(**options).split(rows, groups=groups)
    elif labels is not None and _can_stratify(labels, n_held):
        split = StratifiedShuffleSplit(**options).split(rows, labels)
    else:
        split = ShuffleSplit(**options).split(rows)
    train, held = next(split)
    return rows[np.sort(train)], rows[np.sort(held)]


def _can_stratify(labels: np.ndarray, n_held: int) -> bool:
    counts = np.unique(labels, return_counts=True)[1]
    n_classes = len(counts)
    enough = n_held >= n_classes and len(labels) - n_held >= n_classes
    return bool(counts.min() >= 2 and enough)


def positive_rows(weight: np.ndarray | None, n: int) -> np.ndarray:
    """Row numbers of positive weight.

    Raises
    ------
    ValueError
        When there is none, or a weight is negative or not finite.
    """
    if weight is None:
        return np.arange(n)
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError(
            "Row weights (sample_weight times class_weight) must be finite and not "
            f"negative; they range from {weight.min():.6g} to {weight.max():.6g}."
        )
    rows = np.flatnonzero(weight > 0)
    if not len(rows):
        raise ValueError(
            f"All {n} rows have weight zero: sample_weight (times class_weight) must "
            "be positive for at least one row."
        )
    return rows
