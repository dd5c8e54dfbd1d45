"""Which rows are fitted to and which are tested on: folds, or windows in time order.

Splits are drawn once, so that all models see the same.
"""

import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.utils.multiclass import type_of_target

FOLDS = 5
WINDOWS = ("rolling", "fixed", "expanding")

NO_TEST_FORWARD = (
    "training sets that move forward in time overlap in another way than those the "
    "corrected t-test was made for (splits drawn at random); time_order= with a "
    "rolling or fixed window has a test"
)
NO_TEST_EXPANDING = (
    "a window that expands is none of those the test of Diebold and Mariano holds for "
    "when models nest each other (Giacomini and White 2006); take window='rolling' or "
    "'fixed'"
)
NO_TEST_ONE_SPLIT = "one split has no spread; ask for two or more"


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows to fit and rows to test.

    Attributes
    ----------
    train, test : ndarray of int
        Positions of rows.
    parts : tuple of int
        How many of the rows to test belong to each part that has a score of its own:
        all of them, or those of each period.
    """

    train: np.ndarray
    test: np.ndarray
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """How models are fitted along the time.

    Attributes
    ----------
    kind : {"rolling", "fixed", "expanding"}
        Whether the periods to fit move on with those to test, stay, or become more.
    size : int
        Periods to fit; the first ones if it expands.
    horizon : int
        Periods from the last one to fit to the first one to test.
    n_fits : int
        How many times models are fitted.
    """

    kind: str
    size: int
    horizon: int
    n_fits: int


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What is fitted and tested on, and what may be said of it.

    Attributes
    ----------
    splits : list of J Split
    window : Window or None
        None without a time order.
    no_test_because : str
        Why there is no valid test of differences; empty where there is.
    """

    splits: list[Split]
    window: Window | None
    no_test_because: str


# ------------------------------------------------------------------------------- folds


def lay_out_folds(
    cv: Any, X: Any, y: Any, groups: Any, stratify: bool, random_state: int | None
) -> Layout:
    """Draw folds; the parameters are those of `fold_splits`."""
    splits = fold_splits(cv, X, y, groups, stratify, random_state)
    return Layout(splits, None, why_no_test(splits))


def fold_splits(
    cv: Any, X: Any, y: Any, groups: Any, stratify: bool, random_state: int | None
) -> list[Split]:
    """Draw folds.

    Parameters
    ----------
    cv, X, y, groups, random_state
        As for `compare`.
    stratify : bool
        Whether a number of folds means stratified ones, if y has classes.

    Raises
    ------
    ValueError
        If groups are given, and a split has rows of one group on both sides.
    """
    cv = FOLDS if cv is None else cv
    if isinstance(cv, int | np.integer):
        stratify = stratify and type_of_target(y) in ("binary", "multiclass")
        kinds = (KFold, StratifiedKFold, GroupKFold, StratifiedGroupKFold)
        kind = kinds[stratify + 2 * (groups is not None)]
        cv = kind(int(cv), shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        # What this warns of is an error below.
        warnings.filterwarnings("ignore", "The groups parameter is ignored")
        pairs = list(check_cv(cv).split(X, y, groups))
    splits = [_split(train, test) for train, test in pairs]
    if groups is not None:
        _check_groups_apart(splits, np.asarray(groups), cv)
    return splits


def _split(train: Any, test: Any) -> Split:
    train, test = map(_positions, (train, test))
    shared = np.intersect1d(train, test).size
    if shared or not train.size or not test.size:
        raise ValueError(
            "Each split needs rows to fit and other rows to test; this cv has one with "
            f"{train.size} and {test.size}, of which {shared} are both."
        )
    return Split(train, test, (len(test),))


def _positions(rows: Any) -> np.ndarray:
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def _check_groups_apart(splits: list[Split], groups: np.ndarray, cv: Any) -> None:
    for split in splits:
        shared = np.intersect1d(groups[split.train], groups[split.test])
        if shared.size:
            raise ValueError(
                f"groups= are given, but this cv ({cv}) puts rows of the group "
                f"{shared[0]!s} both to fit and to test. Give a number of folds, or a "
                "splitter that keeps groups together, such as GroupKFold."
            )


def why_no_test(splits: list[Split]) -> str:
    """Say why the corrected t-test does not hold for splits; empty where it does."""
    if len(splits) < 2:
        return NO_TEST_ONE_SPLIT
    forward = all(split.train.max() < split.test.min() for split in splits)
    trains = [split.train for split in splits]
    growing = all(len(a) < len(b) and np.isin(a, b).all() for a, b in pairwise(trains))
    return NO_TEST_FORWARD if forward or growing else ""


# ----------------------------------------------------------------------- in time order


def lay_out_windows(
    time_order: Any,
    X: Any,
    kind: str | None,
    size: int | None,
    horizon: int,
    n_fits: int | None,
) -> Layout:
    """Lay windows over the time; see `periods_of`, `plan_window`, `window_splits`."""
    periods = periods_of(time_order, X)
    window = plan_window(int(periods.max()) + 1, kind, size, horizon, n_fits)
    splits = window_splits(periods, window)
    n_tested = sum(len(split.parts) for split in splits)
    return Layout(splits, window, why_no_test_in_time(window, n_tested))


def periods_of(time_order: Any, X: Any) -> np.ndarray:
    """Find the period of each row, as numbers from 0 on in time order.

    Parameters
    ----------
    time_order : str or array-like of shape (n,)
        A column of X, or one value for each row: numbers, dates, whatever can be
        sorted.
    X : array-like of shape (n, d)

    Returns
    -------
    ndarray of int of shape (n,)

    Raises
    ------
    ValueError
        If there is no such column, or values are missing or of another number.
    """
    if isinstance(time_order, str):
        names = list(map(str, getattr(X, "columns", ())))
        if time_order not in names:
            known = f"there are {', '.join(names)}" if names else "X names no columns"
            raise ValueError(f"time_order: no column {time_order!r}; {known}.")
        time_order = X[time_order]
    values = np.asarray(time_order)
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    if values.shape != (n,):
        raise ValueError(
            "time_order must be the name of a column or hold one value for each of "
            f"{n} rows; got shape {values.shape}."
        )
    codes = pd.factorize(values, sort=True)[0]
    if (codes < 0).any():
        raise ValueError(f"time_order is missing for {(codes < 0).sum()} of {n} rows.")
    return np.asarray(codes)


def plan_window(
    n_periods: int, kind: str | None, size: int | None, horizon: int, n_fits: int | None
) -> Window:
    """Fill in what was not said, and check the rest.

    Parameters
    ----------
    n_periods : int
    kind : {"rolling", "fixed", "expanding"} or None
        By default rolling.
    size : int or None
        By default half the periods.
    horizon : int
    n_fits : int or None
        By default five; a fixed window has one.

    Raises
    ------
    TypeError, ValueError
        For other words, counts that are not positive whole numbers, and more fits than
        there are periods to test.
    """
    kind = "rolling" if kind is None else kind
    if kind not in WINDOWS:
        raise ValueError(f"window must be one of {', '.join(WINDOWS)}; got {kind!r}.")
    if kind == "fixed":
        if n_fits is not None:
            raise ValueError(
                "window='fixed' fits each model once: leave cv= out, or take "
                "window='rolling'."
            )
        n_fits = 1
    size = n_periods // 2 if size is None else size
    n_tested = n_periods - size - horizon + 1
    if not isinstance(n_fits, int | np.integer | None) or isinstance(n_fits, bool):
        raise TypeError(
            "With time_order=, cv is how many times the models are fitted along the "
            f"time, a whole number; got {n_fits!r}."
        )
    n_fits = min(FOLDS, max(n_tested, 1)) if n_fits is None else int(n_fits)
    if n_tested < 1:
        raise ValueError(
            f"Of {n_periods} periods, a window of {size} and a horizon of {horizon} "
            "leave none to test; take a smaller window_size or horizon."
        )
    if not 1 <= n_fits <= n_tested:
        raise ValueError(
            "With time_order=, cv is how many times the models are fitted: from 1 to "
            f"{n_tested}, the periods left to test; got {n_fits}."
        )
    return Window(kind, int(size), int(horizon), n_fits)


def window_splits(periods: np.ndarray, window: Window) -> list[Split]:
    """Lay windows over the periods; rows to test come in time order.

    Between the last period to fit and the first to test lie ``horizon - 1``, of which
    the outcome was not known when the forecast was made.

    Parameters
    ----------
    periods : ndarray of int of shape (n,)
        As from `periods_of`.
    window : Window
    """
    n_periods = int(periods.max()) + 1
    tested = np.arange(window.size + window.horizon - 1, n_periods)
    order = np.argsort(periods, kind="stable")
    sizes = np.bincount(periods)
    splits = []
    for block in np.array_split(tested, window.n_fits):
        end = block[0] - window.horizon + 1
        start = end - window.size if window.kind == "rolling" else 0
        train = order[(periods[order] >= start) & (periods[order] < end)]
        test = order[np.isin(periods[order], block)]
        splits.append(Split(train, test, tuple(sizes[block].tolist())))
    return splits


def why_no_test_in_time(window: Window, n_tested: int) -> str:
    """Say why the test of Diebold and Mariano does not hold; empty where it does."""
    if window.kind == "expanding":
        return NO_TEST_EXPANDING
    if n_tested <= max(window.horizon, 1):
        return (
            f"{n_tested} periods to test are too few for a horizon of {window.horizon}"
        )
    return ""
