"""Cross-fitting: what copies of an estimator say of rows that they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
)

from .arrays import as_numpy
from .copies import Kept, Template, fitted_copies
from .evaluation import Averages, Averaging, Function, averages
from .fit_rows import FitRows
from .folded import folded
from .functions import function_of, output_labels
from .quantities import Quantity
from .questions import Invalid, Question
from .reading import DesignStep, Reading, read

FOLDS = 4
LEAST_FOLDS, LEAST_ROWS = 3, 20
PREDICTION = Quantity("", "", None, "prediction")


def split(reading: Reading, rows: FitRows, seed: int) -> np.ndarray:
    """Deal rows to folds, whole groups at a time, and classes evenly, (n,).

    Rows that do not count have fold -1.

    Raises
    ------
    Invalid
        When there are too few rows or groups.
    """
    index = np.flatnonzero(rows.weight > 0)
    groups = None if rows.groups is None else rows.groups[index]
    units = len(index) if groups is None else len(np.unique(groups))
    if len(index) < LEAST_ROWS or units < LEAST_FOLDS:
        raise Invalid(
            f"cross-fitting needs {LEAST_ROWS} rows and {LEAST_FOLDS} groups; there "
            f"are {len(index)} rows"
            + (f" in {units} groups" if groups is not None else ""),
            "use vcov='bootstrap'",
        )
    K, labels = min(FOLDS, units), _strata(reading, rows.y, index)
    if labels is None:
        splitter: Any = KFold if groups is None else GroupKFold
    else:
        splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
        if np.unique(labels, return_counts=True)[1].min() < K:
            raise Invalid(
                f"a class has fewer than {K} rows, one for each fold",
                "use vcov='bootstrap'",
            )
    folds = np.full(len(rows.weight), -1)
    parts = splitter(K, shuffle=True, random_state=seed)
    for k, (_, mine) in enumerate(parts.split(index[:, None], labels, groups)):
        folds[index[mine]] = k
    return folds


def _strata(reading: Reading, y: Any, index: np.ndarray) -> np.ndarray | None:
    """Classes of the rows that count, where there are some."""
    labels = np.asarray(as_numpy(y)) if is_classifier(reading.core) else None
    if labels is None or (labels.ndim == 2 and labels.shape[1] > 1):
        return None
    return np.unique(labels.reshape(-1)[index], return_inverse=True)[1]


def observed(reading: Reading, y: Any) -> np.ndarray:
    """Targets on the scale of predictions: numbers, or indicators of classes, (n, m).

    One column for two classes.
    """
    y = y.toarray() if sp.issparse(y) else np.asarray(as_numpy(y))
    classes = reading.classes
    if classes is None or (y.ndim == 2 and y.shape[1] > 1):
        y = y.astype(np.float64)
        return y[:, None] if y.ndim == 1 else y
    found = (y.reshape(-1, 1) == np.asarray(classes)).astype(np.float64)
    return found[:, 1:] if len(classes) == 2 else found


@dataclass(frozen=True, slots=True, eq=False)
class CrossFitted:
    """What copies that have not seen a row say of it, and what the estimator says.

    Attributes
    ----------
    mean : ndarray of shape (n, m)
    effects : ndarray of shape (Q, n, m)
        Zero where a row has none.
    plug_in : ndarray of shape (Q, G, m)
        The estimator's own averages.
    missing : ndarray of int of shape (Q,)
        Rows without a quantity.
    """

    mean: np.ndarray
    effects: np.ndarray
    plug_in: np.ndarray
    missing: np.ndarray


def cross_fitted(
    question: Question, quantities: Sequence[Quantity], folds: np.ndarray, seed: int
) -> CrossFitted:
    """Fit a copy without each fold, and ask it about that fold.

    Raises
    ------
    Invalid
        When a copy cannot be fitted, or does not know all classes.
    """
    reading, rows = question.reading, question.rows
    m = len(output_labels(reading)[1])
    copies = _copies(reading, rows, folds, seed)
    if any(len(output_labels(copy)[1]) != m for copy in copies):
        raise Invalid("a class is missing from all folds but one")
    function = folded(
        reading,
        function_of(reading, "response"),
        [(copy, function_of(copy, "response")) for copy in copies],
        folds,
        _same_transformers(reading, copies),
    )
    asked = [*quantities, PREDICTION]
    try:
        found, effects = _by_row(reading, function, asked, question.over)
        mean = effects[-1:]
        if question.over.table is not rows.table:
            here = replace(question.over, table=rows.table)
            mean = _by_row(reading, function, [PREDICTION], here)[1]
    except ValueError as error:
        raise Invalid(
            f"a copy fitted to other rows refuses some of these: {error}",
            "use vcov='bootstrap'",
        ) from error
    return CrossFitted(
        mean[0, :, :m],
        np.nan_to_num(effects[:-1, :, :m]),
        found.values[:-1, :, m:],
        found.missing[:-1],
    )


def _by_row(
    reading: Reading,
    function: Function,
    quantities: Sequence[Quantity],
    over: Averaging,
) -> tuple[Averages, np.ndarray]:
    """Averages, and the quantities row by row, (Q, n, 2 m)."""
    found = averages(reading, function, quantities, over, with_rows=True)
    assert found.rows is not None
    return found, found.rows


def _same_transformers(reading: Reading, copies: Sequence[Reading]) -> bool:
    """Whether copies are networks behind the transformers that the estimator has.

    Apart from designs, which are within networks and learned from the rows of a fit.
    """
    if any(copy.kind == "other" for copy in (reading, *copies)):
        return False
    before = [part for copy in copies for part in copy.transformers]
    parts = [part for part in before if not isinstance(part, DesignStep)]
    steps = [step for part in parts for _, step in part.steps]
    return all(isinstance(step, Kept | str | None) for step in steps)


def _copies(
    reading: Reading, rows: FitRows, folds: np.ndarray, seed: int
) -> list[Reading]:
    tasks = []
    for k in range(folds.max() + 1):
        index = np.flatnonzero((folds >= 0) & (folds != k))
        own = int(np.random.SeedSequence([seed, k]).generate_state(1)[0] >> 1)
        tasks.append((index, rows.weight[index], own))
    template = Template.of(reading.estimator, light=True)
    found, _ = fitted_copies(template, rows, tasks)
    for each in found:
        if isinstance(each, Exception):
            raise Invalid(
                f"a copy could not be fitted to some of the rows: {each}",
                "use vcov='bootstrap'",
            ) from each
    return [read(each) for each in found]
