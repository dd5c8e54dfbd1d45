"""From a data file to a regression problem: inputs, target, preprocessing.

Everything that can be wrong with a file or a column ends in a `ValueError` (or an
`OSError`) whose message is one line and says what to do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TASKS = ("auto", "regression", "classification")
MAX_CATEGORIES = 50  # rarer ones share a column: names and addresses are no inputs
WAGES = Path(__file__).parent / "data" / "wages.csv"


def _read_stata(path: Path) -> pd.DataFrame:
    try:
        return pd.read_stata(path)
    except ValueError:  # value labels that are not unique: take the codes
        return pd.read_stata(path, convert_categoricals=False)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": partial(pd.read_csv, low_memory=False),  # types of whole columns
    ".parquet": pd.read_parquet,
    ".pq": pd.read_parquet,
    ".dta": _read_stata,
}


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Inputs and target, ready for cross-validation.

    Attributes
    ----------
    X : DataFrame of shape (n, d)
        Numbers, and columns of categories.
    y : ndarray of shape (n,)
        Numbers, or labels of classes.
    target : str
        Name of the target.
    task : {"regression", "classification"}
        What kind of target it is.
    n_incomplete : int
        Rows left out because they have no target.
    """

    X: pd.DataFrame
    y: np.ndarray
    target: str
    task: str
    n_incomplete: int


def load_wages() -> pd.DataFrame:
    """Load the wages that come with the package.

    Returns
    -------
    DataFrame of shape (3000, 9)
        Year, age, marital status, race, education, job class, health, health insurance
        and log wage of 3000 men in the Middle Atlantic region, 2003 to 2009, from the
        U.S. Current Population Survey. Source and licence are in ``data/README.md``.

    Examples
    --------
    >>> from sklearn_ann.tables import load_wages
    >>> load_wages()[["year", "age", "education", "log_wage"]].head(2)
       year  age              education  log_wage
    0  2006   18  no high school diploma    4.3181
    1  2004   24                 college    4.2553
    """
    return pd.read_csv(WAGES)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV, Parquet or Stata file, told by its ending.

    Parameters
    ----------
    path : str or Path
        A file that ends in .csv, .parquet, .pq or .dta.

    Returns
    -------
    DataFrame
        At least one row and two columns.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If its ending is not known, or it cannot be read, or it is empty.
    ImportError
        For Parquet without pyarrow.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise ValueError(f"{path.name}: expected a file that ends in one of {known}.")
    table = _read(reader, path)
    if len(table) == 0 or table.shape[1] < 2:
        raise ValueError(
            f"{path.name}: expected rows and at least two columns, got {table.shape}."
        )
    return table


def _read(reader: Callable[[Path], pd.DataFrame], path: Path) -> pd.DataFrame:
    try:
        return reader(path)
    except ImportError as error:
        raise ImportError(
            f"{path.name}: reading it needs pyarrow (pip install pyarrow)."
        ) from error
    except OSError:
        raise
    except Exception as error:
        # Parsers raise many kinds of errors on a broken file; all mean the same here.
        reason = " ".join(str(error).split())
        raise ValueError(f"{path.name}: cannot be read ({reason}).") from error


def make_problem(
    table: pd.DataFrame, target: str, *, drop: Sequence[str] = (), task: str = "auto"
) -> Problem:
    """Split a table into inputs and target.

    Parameters
    ----------
    table : DataFrame
        One row per observation.
    target : str
        Column to predict.
    drop : sequence of str, default=()
        Columns to leave out.
    task : {"auto", "regression", "classification"}, default="auto"
        "auto" takes text, categories, booleans and targets of two values as classes.

    Returns
    -------
    Problem
        Rows without a target are left out; columns without any value as well.

    Raises
    ------
    ValueError
        For unknown columns, a target that is constant or does not fit the task, inputs
        that are dates, or no inputs at all.

    Examples
    --------
    >>> problem = make_problem(load_wages(), "health_insurance", drop=["year"])
    >>> problem.task, problem.X.shape
    ('classification', (3000, 7))
    """
    _check_columns(table, [target, *drop])
    if target in drop:
        raise ValueError(f"The target {target!r} cannot be dropped as well.")
    known = table[target].notna()
    y = table.loc[known, target]
    X = _as_inputs(table.loc[known].drop(columns=[target, *drop]))
    task = _task_of(y) if task == "auto" else task
    return Problem(X, _as_target(y, task), target, task, int((~known).sum()))


def preprocessing(X: pd.DataFrame) -> ColumnTransformer:
    """Make the transformer that turns a table into numbers, fitted inside each fold.

    Missing and infinite numbers become the mean, missing categories a category of their
    own; the first category of each column is the base, as in a regression with dummies.
    Numbers are standardised: that changes no prediction of OLS or logit, and makes the
    logit easy to compute.

    Parameters
    ----------
    X : DataFrame of shape (n, d)
        Numbers, and columns of categories.

    Returns
    -------
    ColumnTransformer
        Not fitted.

    Examples
    --------
    >>> problem = make_problem(load_wages(), "log_wage")
    >>> preprocessing(problem.X).fit_transform(problem.X).shape
    (3000, 16)
    """
    numbers = [c for c in X if types.is_numeric_dtype(X[c])]
    categories = [c for c in X if c not in numbers]
    dummies = OneHotEncoder(
        drop="first",
        handle_unknown="infrequent_if_exist",
        max_categories=MAX_CATEGORIES,
        sparse_output=False,
    )
    missing = SimpleImputer(strategy="constant", fill_value="missing")
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("categories", make_pipeline(missing, dummies), categories),
        ]
    )


def _check_columns(table: pd.DataFrame, wanted: Sequence[str]) -> None:
    for column in wanted:
        if column not in table:
            known = ", ".join(map(str, table.columns[:12]))
            more = ", ..." if table.shape[1] > 12 else ""
            raise ValueError(f"There is no column {column!r}; there are {known}{more}.")


def _task_of(y: pd.Series) -> str:
    text = not types.is_numeric_dtype(y) or types.is_bool_dtype(y)
    return "classification" if text or y.nunique() == 2 else "regression"


def _as_target(y: pd.Series, task: str) -> np.ndarray:
    if y.nunique() < 2:
        raise ValueError(f"The target {y.name!r} needs at least two different values.")
    if task == "classification":
        return _as_classes(y)
    if not types.is_numeric_dtype(y):
        raise ValueError(f"The target {y.name!r} is not a number ({y.dtype}).")
    values = y.to_numpy(dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"The target {y.name!r} has infinite values.")
    return values


def _as_classes(y: pd.Series) -> np.ndarray:
    if y.nunique() > MAX_CATEGORIES:
        raise ValueError(
            f"The target {y.name!r} has {y.nunique()} classes, at most "
            f"{MAX_CATEGORIES} are allowed; is it a number (--task regression)?"
        )
    if types.is_numeric_dtype(y) and not types.is_bool_dtype(y):
        return y.to_numpy()
    return y.astype(str).to_numpy(dtype=str)


def _as_inputs(X: pd.DataFrame) -> pd.DataFrame:
    """Give every column one of two forms: float, or objects that are text."""
    X = X.dropna(axis="columns", how="all")
    if X.shape[1] == 0:
        raise ValueError("There is no column left to predict with.")
    return X.apply(_as_input)


def _as_input(column: pd.Series) -> pd.Series:
    if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
        raise ValueError(f"The column {column.name!r} holds dates; --drop it.")
    if not types.is_numeric_dtype(column):
        text = column.astype(str).astype(object)
        return text.where(column.notna(), np.nan)
    numbers = column.astype("Float64").astype(float)
    return numbers.replace([np.inf, -np.inf], np.nan)
