"""From the user's table to the numbers of a specification test, checked.

Whatever is wrong with a column, a label or a shape ends here, in an error that says
what was expected, what came and what to do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.utils import check_array, check_scalar

from .added_terms import draw_weights
from .arrays import as_numpy
from .encoding import weighted_scaling

_SHOWN = 6


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Checked data of a specification test.

    Attributes
    ----------
    z : ndarray of shape (n, k)
        Columns that vary, of mean 0 and standard deviation 1. For a time series both
        are those of the whole series, and the first rows are lost to its lags.
    y : ndarray of shape (n,)
        Numbers, scaled in the same way, or bool for a logit.
    names : tuple of str of length k
    varies : ndarray of bool of shape (number of columns given,)
    constant : tuple of str
        Names of the columns that do not vary.
    target : str
    n_series : int
        Rows, with those that were lost to lags.
    """

    z: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    varies: np.ndarray
    constant: tuple[str, ...]
    target: str
    n_series: int


def checked_sample(X: Any, y: Any, model: str, lags: int | None) -> Sample:
    """Check the data and standardise them.

    Parameters
    ----------
    X : array-like of shape (n, columns) or None
    y : array-like of shape (n,)
    model : {"linear", "logit"}
    lags : int or None

    Returns
    -------
    Sample

    Raises
    ------
    ValueError, TypeError
        See `sklearn_ann.neglected_nonlinearity_test`.
    """
    values, target = _checked_target(y, model)
    columns, names = _columns(X, len(values), lags, model)
    n_series, lost = len(values), lags or 0
    if lags is not None:
        columns = np.hstack([_lagged(values, lags), columns])
        names = [*(f"{target}.L{lag}" for lag in range(1, lags + 1)), *names]
    z, varies = columns[lost:], np.ptp(columns[lost:], axis=0) > 0
    if not varies.any():
        raise ValueError(
            f"Expected a column that varies, but {_listed(names)} "
            f"{'is' if len(names) == 1 else 'are'} constant."
        )
    return Sample(
        z=z[:, varies],
        y=values[lost:],
        names=tuple(np.array(names, dtype=object)[varies]),
        varies=varies,
        constant=tuple(np.array(names, dtype=object)[~varies]),
        target=target,
        n_series=n_series,
    )


def hidden_weights(
    weights: Any,
    sample: Sample,
    n_units: int,
    n_components: int,
    n_draws: int,
    rng: np.random.RandomState,
) -> list[np.ndarray]:
    """Take hidden weights that were given, or draw them.

    Parameters
    ----------
    weights : array-like, a sequence of them, or None
        Of shape (number of columns given + 1, n_units).
    sample : Sample
    n_units, n_draws : int
        Of weights that are drawn.
    n_components : int
        Components that the units have to give.
    rng : RandomState

    Returns
    -------
    list of ndarray of shape (k + 1, n_units)
        One for each draw.

    Raises
    ------
    ValueError
        For weights of another shape, or too few units.
    """
    if weights is None:
        draws = draw_weights(len(sample.names), n_units, n_draws, rng)
    else:
        draws = _checked_weights(weights, sample.varies)
    least = min(draw.shape[1] for draw in draws)
    if n_components > least - 1:
        raise ValueError(
            f"n_components={n_components} must be at most n_units - 1 = {least - 1}: "
            "the first component is left out."
        )
    return draws


def _checked_weights(weights: Any, varies: np.ndarray) -> list[np.ndarray]:
    """Check shapes, and leave out the rows of columns that do not vary."""
    expected = len(varies) + 1
    try:
        draws = [np.asarray(draw, dtype=float) for draw in _as_draws(as_numpy(weights))]
    except (TypeError, ValueError) as error:
        raise ValueError(f"weights are no table of numbers: {error}") from None
    if not draws:
        raise ValueError("Expected weights of at least one draw, got none.")
    for draw in draws:
        if draw.ndim != 2 or len(draw) != expected or not np.isfinite(draw).all():
            raise ValueError(
                f"Expected finite weights of shape ({expected}, n_units), the "
                "intercepts first and then a row for each column, or a sequence of "
                f"such arrays; got shape {draw.shape}."
            )
    return [draw[np.r_[True, varies]] for draw in draws]


def _as_draws(weights: Any) -> Iterable[Any]:
    """Tell one array from a sequence of arrays, which may differ in their units."""
    if isinstance(weights, list | tuple) and weights and np.ndim(weights[0]) == 2:
        return weights
    return weights if np.ndim(weights) == 3 else [weights]


# ------------------------------------------------------------------------- the target


def _checked_target(y: Any, model: str) -> tuple[np.ndarray, str]:
    """Give y as scaled numbers or as bool, and its name."""
    name, values = _as_vector(y)
    missing = int(pd.isna(values).sum())
    if missing:
        raise ValueError(
            f"{name} is missing in {missing} of {len(values)} rows: drop them first."
        )
    if model == "logit":
        return _as_classes(values, name)
    return _as_numbers(values, name), name


def _as_vector(y: Any) -> tuple[str, np.ndarray]:
    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        y = y.iloc[:, 0]
    name = getattr(y, "name", None)
    values = np.asarray(as_numpy(y))
    if values.ndim == 2 and values.shape[1] == 1:
        values = values.ravel()
    if values.ndim != 1:
        raise ValueError(f"Expected y of shape (n,), got shape {values.shape}.")
    return "y" if name is None else str(name), values


def _as_numbers(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind not in "biuf" and not _are_numbers(values):
        raise ValueError(
            f"Expected numbers in {name}, got {values.dtype}; with two classes use "
            "model='logit'."
        )
    numbers = values.astype(float)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} has infinite values: drop these rows first.")
    if len(numbers) == 0 or np.ptp(numbers) == 0:
        raise ValueError(f"{name} is the same in all {len(numbers)} rows.")
    return _standardised(numbers[:, None])[:, 0]


def _as_classes(values: np.ndarray, name: str) -> tuple[np.ndarray, str]:
    codes, classes = pd.factorize(values, sort=True)
    if len(classes) != 2:
        shown = _listed([str(label) for label in classes])
        raise ValueError(
            f"A logit needs two classes, but {name} has {len(classes)}: {shown}. "
            "For numbers use model='linear'."
        )
    return codes == 1, f"{name} = {classes[1]}"


# ------------------------------------------------------------------------ the columns


def _columns(
    X: Any, n: int, lags: int | None, model: str
) -> tuple[np.ndarray, list[str]]:
    """Give X standardised, and its names; no columns where there is only a series."""
    if lags is None and X is None:
        raise ValueError("X is None: give columns, or lags= for a time series.")
    if lags is not None:
        _check_lags(lags, n, model)
    if X is None:
        return np.empty((n, 0)), []
    values, names = _as_matrix(X)
    if len(values) != n:
        raise ValueError(
            f"X has {len(values)} rows and y has {n}: they need one row for each "
            "observation."
        )
    return _standardised(values), names


def _check_lags(lags: int, n: int, model: str) -> None:
    check_scalar(lags, "lags", Integral, min_val=1)
    if model == "logit":
        raise ValueError(
            "lags= is for model='linear'. For a logit give lags as columns of X."
        )
    if n < 2 * lags + 3:
        raise ValueError(
            f"lags={lags} needs at least {2 * lags + 3} rows, y has {n}: as many are "
            "lost, and each lag is a column."
        )


def _as_matrix(X: Any) -> tuple[np.ndarray, list[str]]:
    """Give X as floats, and names: its own, or x0, x1, ... as in scikit-learn."""
    values = check_array(
        _frame_as_floats(X) if isinstance(X, pd.DataFrame) else as_numpy(X),
        dtype=np.float64,
        ensure_all_finite=False,
        ensure_min_samples=3,
        input_name="X",
    )
    names = getattr(X, "columns", None)
    if names is None:
        names = [f"x{j}" for j in range(values.shape[1])]
    names = [str(name) for name in names]
    _refuse_missing(values, names)
    return values, names


def _frame_as_floats(X: pd.DataFrame) -> np.ndarray:
    """Refuse categories, text and dates; numbers in columns of objects are numbers."""
    numeric = [types.is_numeric_dtype(dtype) for dtype in X.dtypes]
    good = [
        known or (types.is_object_dtype(column) and _are_numbers(column.dropna()))
        for known, (_, column) in zip(numeric, X.items(), strict=True)
    ]
    if not all(good):
        bad = [str(name) for name, fine in zip(X, good, strict=True) if not fine]
        raise ValueError(
            f"Expected columns of numbers, but not so {_listed(bad)}: make dummies of "
            "categories (pandas.get_dummies) and numbers of dates."
        )
    if not all(numeric):  # None and NA become nan
        X = X.apply(pd.to_numeric, errors="coerce")
    return X.to_numpy(dtype=np.float64, na_value=np.nan)


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(value, Real) for value in values)


def _refuse_missing(values: np.ndarray, names: Sequence[str]) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        columns = [name for name, b in zip(names, bad.any(axis=0), strict=True) if b]
        raise ValueError(
            f"X has missing or infinite values in {bad.any(axis=1).sum()} of "
            f"{len(values)} rows ({_listed(columns)}): drop these rows or impute them "
            "first."
        )


def _standardised(values: np.ndarray) -> np.ndarray:
    """Scale columns to mean 0 and standard deviation 1 (ddof 1); constant ones to 0."""
    n = len(values)
    scaling = weighted_scaling(values, np.arange(n), None)
    z = (values - scaling.mean) / (scaling.scale * np.sqrt(n / (n - 1)))
    # A column that varies by rounding alone has kept its scale.
    constant = np.abs(z.std(axis=0, ddof=1) - 1.0) > 0.01
    return np.where(constant, 0.0, z)


def _lagged(series: np.ndarray, lags: int) -> np.ndarray:
    """Give lags 1, 2, ... as columns; what was before the first row is 0."""
    columns = np.zeros((len(series), lags))
    for lag in range(1, lags + 1):
        columns[lag:, lag - 1] = series[:-lag]
    return columns


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    text = ", ".join(names[:_SHOWN])
    return f"{text} and {more} more" if more > 0 else text
