"""A fitted network as a model of the package marginaleffects, for its whole toolbox.

That package asks a model for its parameters, their covariance, and predictions at any
parameters; here these are a network's. Imported on its own, and only here::

    from sklearn_ann.marginaleffects_adapter import NetworkModel
    marginaleffects.avg_comparisons(NetworkModel(network, X, y), variables="educ")

Parameters of hidden layers mean nothing by themselves; what is computed from
predictions does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import torch
from marginaleffects.classes.model import ModelAbstract, ModelVault

from .columns import Table, levels_of
from .engine.device import threads
from .fit_rows import checked_rows_of_fit
from .functions import output_labels
from .questions import Invalid
from .reading import read
from .sandwich import at_minimum, covariance, function_at


class NetworkModel(ModelAbstract):
    """A fitted estimator for marginaleffects.

    Parameters
    ----------
    estimator : fitted estimator
        As for `sklearn_ann.average_marginal_effects`, where the sandwich holds.
    X : table of shape (n, n_features)
        The rows that it was fitted to; their columns' names must be plain words.
    y : array-like of shape (n,)
        Their targets.
    sample_weight, groups : array-like of shape (n,), default=None
    vcov : str, default="HC1"
        A sandwich's name.

    Raises
    ------
    ValueError
        When the sandwich does not hold, or a name is no plain word.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        vcov: str = "HC1",
    ) -> None:
        self.reading = read(estimator)
        rows = checked_rows_of_fit(self.reading, X, y, sample_weight, groups)
        names = _plain(rows.table.names)
        with threads(1):
            try:
                fit = at_minimum(self.reading, rows, vcov)
                P = fit.best.problem.architecture.n_parameters
                _, variance, _ = covariance(fit, np.eye(P), None)
            except Invalid as refusal:
                raise refusal.of(vcov) from None
        self.function = function_at(self.reading, fit.best, "response")
        self.frame = _pandas(rows.table)
        vault = ModelVault(
            coef=self.function.theta.numpy(),
            coefnames=np.array([f"theta{i}" for i in range(P)]),
            formula=f"outcome ~ {' + '.join(names)}",
            modeldata=_polars(self.frame, np.asarray(y)),
            package="sklearn_ann",
            vcov=variance,
        )
        super().__init__(estimator, vault)

    def get_exog(self, newdata: Any) -> pd.DataFrame:
        """Return the columns that the estimator takes, with their own dtypes."""
        columns = {}
        for name, dtype in self.frame.dtypes.items():
            values = newdata[name].to_list()
            try:
                columns[name] = pd.Series(values, dtype=dtype)
            except (TypeError, ValueError):  # a step between whole numbers
                columns[name] = pd.Series(values)
        return pd.DataFrame(columns)

    def get_predict(self, params: np.ndarray, newdata: pd.DataFrame) -> pl.DataFrame:
        """Predictions at any parameters, one row for each row and class."""
        theta = torch.from_numpy(np.array(params, dtype=np.float64))
        table = Table(newdata, tuple(newdata.columns))
        with threads(1):
            found = self.function.at(self.reading, table)(theta).numpy()
        axis, labels = output_labels(self.reading)
        frame = {
            "rowid": np.tile(np.arange(len(found)), len(labels)),
            "estimate": found.T.ravel(),
        }
        if axis:
            frame["group"] = np.repeat(list(map(str, labels)), len(found))
        return pl.DataFrame(frame)


def _plain(names: tuple[str, ...]) -> tuple[str, ...]:
    wrong = [name for name in names if not name.isidentifier()]
    if wrong:
        raise ValueError(
            f"marginaleffects reads columns from a formula, so their names must be "
            f"plain words; {wrong[0]!r} is none. Rename it before the fit."
        )
    return names


def _pandas(table: Table) -> pd.DataFrame:
    """Return the rows as a DataFrame, whatever they came in."""
    if isinstance(table.native, pd.DataFrame):
        return table.native
    return pd.DataFrame({name: table.column(j) for j, name in enumerate(table.names)})


def _polars(frame: pd.DataFrame, y: np.ndarray) -> pl.DataFrame:
    """Return the rows as marginaleffects takes them: levels as an Enum."""
    columns = {}
    for name, column in frame.items():
        if pd.api.types.is_numeric_dtype(column):
            columns[name] = pl.Series(name, column.to_list())
        else:
            enum = pl.Enum([str(level) for level in levels_of(column)])
            columns[name] = pl.Series(name, column.astype(str).to_list(), dtype=enum)
    codes = y if y.dtype.kind in "fiub" else pd.factorize(y)[0]
    return pl.DataFrame(columns | {"outcome": np.asarray(codes, dtype=float)})
