"""Which rows a network trains on, with what weight, and which it is validated on."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Sample:
    """Bootstrap replicates of n rows.

    Attributes
    ----------
    draws : ndarray of shape (R, n)
        How often, or how much, each row counts.
    weights : ndarray of shape (R, n)
        The same times the rows' own weights.
    left_out : ndarray of bool of shape (R, n)
        Rows that could have been drawn, and were not.
    seeds : ndarray of int of shape (R,)
        One for the fit of each replicate.
    """

    draws: np.ndarray
    weights: np.ndarray
    left_out: np.ndarray
    seeds: np.ndarray


def bootstrap_sample(
    n: int,
    n_replicates: int,
    seed: int,
    *,
    bayesian: bool = False,
    groups: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> Sample:
    """Draw rows, or whole groups, with replacement; or weigh them at random.

    Parameters
    ----------
    n, n_replicates : int
    seed : int
        Each replicate has a generator of its own: more replicates leave the first as
        they are.
    bayesian : bool
    groups : ndarray of shape (n,) or None
    weight : ndarray of shape (n,) or None
        Rows of weight zero cannot be drawn.

    Raises
    ------
    ValueError
        When there are fewer than two rows or groups to draw from.
    """
    counted = positive_rows(weight, n)
    labels = counted if groups is None else groups[counted]
    units, unit_of = np.unique(labels, return_inverse=True)
    if len(units) < 2:
        raise ValueError(
            f"A bootstrap needs two or more {'rows' if groups is None else 'groups'} "
            f"of positive weight to draw from; got {len(units)}."
        )
    draws = np.zeros((n_replicates, n))
    seeds = np.empty(n_replicates, dtype=np.int64)
    for i in range(n_replicates):
        rng = np.random.default_rng([seed, i])
        seeds[i] = rng.integers(2**31)
        draws[i, counted] = _draw(rng, len(units), bayesian)[unit_of]
    left_out = np.zeros(draws.shape, dtype=bool)
    left_out[:, counted] = draws[:, counted] == 0.0
    return Sample(draws, draws if weight is None else draws * weight, left_out, seeds)


def _draw(rng: np.random.Generator, n_units: int, bayesian: bool) -> np.ndarray:
    """Whole numbers, or Dirichlet(1, ..., 1) weights times n_units, (n_units,)."""
    if bayesian:
        drawn = rng.exponential(size=n_units)
        return drawn * (n_units / drawn.sum())
    chosen = rng.integers(n_units, size=n_units)
    return np.bincount(chosen, minlength=n_units)
