"""The forms in which models get a table: as it is, with named levels, or as numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

MISSING = "missing"


class NamedLevels(TransformerMixin, BaseEstimator):
    """Levels of categories as text, with "missing" for missing ones."""

    def fit(self, X: pd.DataFrame, y: object = None) -> NamedLevels:
        """Learn nothing: the levels are those of the columns' dtypes."""
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Rename the levels of a table."""
        X = X.copy()
        for name in categories(X):
            column = X[name].cat.rename_categories(str)
            if column.hasnans:  # LightGBM feels a level that no row has
                levels = sorted({*column.cat.categories, MISSING})
                column = column.cat.set_categories(levels).fillna(MISSING)
            X[name] = column
        return X


def numbers(X: pd.DataFrame) -> ColumnTransformer:
    """Make the transformer for models that take complete numbers only, not fitted.

    A number that is missing becomes the median, and columns that say where it was are
    added; all of these are standardised. Categories become one column for each level,
    one of them for missing ones; levels that come up later have zeros.

    Parameters
    ----------
    X : DataFrame of shape (n, d)
        Numbers, and columns of dtype "category".
    """
    filled = SimpleImputer(strategy="median", add_indicator=True)
    dummies = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    others = list(X.select_dtypes(exclude="category"))
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(filled, StandardScaler()), others),
            ("categories", make_pipeline(NamedLevels(), dummies), categories(X)),
        ]
    )


def categories(X: pd.DataFrame) -> list[str]:
    """Names of the columns that are categories."""
    return list(X.select_dtypes("category"))


# From a table to a transformer, and to parameters that depend on its columns.
Form = Callable[[pd.DataFrame], tuple[Any, dict[str, Any]]]
COLUMNS: dict[str, Form] = {
    "numbers": lambda X: (numbers(X), {}),
    "levels": lambda X: (NamedLevels(), {}),
    "levels, listed": lambda X: (NamedLevels(), {"cat_features": categories(X)}),
    "raw": lambda X: ("passthrough", {}),
}
