"""Moves of one raw column, seen through transformers and through parts of them."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from sklearn_ann import average_marginal_effects
from sklearn_ann.columns import Table
from sklearn_ann.moved_rows import Move, MovedRows, parts_of
from sklearn_ann.reading import read

N = 30
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.normal(40, 10, N),
        "job": RNG.choice(["clerk", "cook", "judge"], N),
        "town": RNG.choice(["Graz", "Linz"], N),
        "union": RNG.choice([0.0, 1.0], N),
        "note": RNG.choice(["very good", "good"], N),
        "key": np.arange(N),
    }
)
Y = RNG.normal(size=N)
BLOCKS = {
    "lists": [
        ("numbers", StandardScaler(), ["age", "union"]),
        ("one", OneHotEncoder(), ["job"]),
        ("two", OneHotEncoder(sparse_output=False), ["town", "job"]),
    ],
    "a mask and a slice": [
        ("mask", StandardScaler(), [True, False, False, True, False, False]),
        ("slice", OneHotEncoder(), slice("job", "town")),
    ],
    "numbers and a callable": [
        ("squares", PolynomialFeatures(2), [3, 0]),
        ("texts", OneHotEncoder(), lambda X: ["town", "job"]),
    ],
    "a series, passed through, dropped": [
        ("words", CountVectorizer(), "note"),
        ("as it is", "passthrough", ["union"]),
        ("out", "drop", ["age"]),
    ],
}
MOVES = {
    "age": [FRAME["age"].to_numpy() - 1, FRAME["age"].to_numpy() + 1],
    "job": ["clerk", "judge", "cook"],
    "town": ["Linz"],
    "union": [0.0, 1.0],
    "note": ["good", "very good"],
    "key": [np.zeros(N)],
}


def read_after(*steps, X=FRAME):
    return read(make_pipeline(*steps, LinearRegression()).fit(X, Y))


@pytest.mark.parametrize("blocks", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("name", FRAME)
def test_parts_say_what_the_whole_says(blocks, name):
    reading = read_after(ColumnTransformer(blocks))
    rows = MovedRows(reading, Table.of(FRAME))
    assert rows._parts is not None
    j, values = FRAME.columns.get_loc(name), MOVES[name]
    move = rows(j, values)
    for changed, value in zip(move.values, values, strict=True):
        found = rows.z.clone()
        found[:, move.columns] = changed.expand(N, -1)
        whole = reading.transform(FRAME.assign(**{name: value}))
        whole = whole.toarray() if hasattr(whole, "toarray") else whole
        assert_array_equal(found, whole)


class Counted(TransformerMixin, BaseEstimator):
    """Indicators of the first column's levels, which notes how often rows came by."""

    seen: ClassVar[list[int]] = []

    def fit(self, X, y=None):
        self.levels_ = np.unique(X.iloc[:, 0])
        return self

    def transform(self, X):
        self.seen.append(len(X))
        return (X.iloc[:, :1].to_numpy() == self.levels_).astype(float)

    def get_feature_names_out(self, names=None):
        return self.levels_


@pytest.mark.parametrize(
    ("name", "seen"),
    [("job", [3]), ("town", [N]), ("age", [])],
    ids=["a row for each level", "all rows, beside another column", "not asked"],
)
def test_only_parts_that_take_the_column_run(name, seen):
    taken = ["town", "union"] if name == "town" else ["job"]
    blocks = make_column_transformer((Counted(), taken), (StandardScaler(), ["age"]))
    rows = MovedRows(read_after(blocks), Table.of(FRAME))
    assert len(rows.z) == N  # rows as they are go through all of it, once
    Counted.seen.clear()
    rows(FRAME.columns.get_loc(name), MOVES[name])
    assert Counted.seen == seen


class Unwilling(Counted):
    """Knows no number for one of its levels."""

    def transform(self, X):
        found = super().transform(X)
        found[X.iloc[:, 0] == "judge"] = np.nan
        return found


WHOLE = {
    "weights": (ColumnTransformer(BLOCKS["lists"], transformer_weights={"one": 2.0}),),
    "a step behind": (ColumnTransformer(BLOCKS["lists"]), PolynomialFeatures(1)),
    "no ColumnTransformer": (OneHotEncoder(handle_unknown="ignore"),),
}


@pytest.mark.parametrize("steps", WHOLE.values(), ids=WHOLE)
def test_all_is_transformed_where_parts_say_too_little(steps):
    reading = read_after(*steps)
    rows = MovedRows(reading, Table.of(FRAME))
    assert parts_of(reading, Table.of(FRAME)) is None
    move = rows(1, ["judge", "cook"])
    found = rows.z.clone()
    found[:, move.columns] = move.values[1].expand(N, -1)
    whole = reading.transform(FRAME.assign(job="cook"))
    assert_array_equal(found, whole.toarray() if hasattr(whole, "toarray") else whole)


def test_columns_in_another_order_are_no_parts():
    reading = read_after(ColumnTransformer(BLOCKS["lists"]))
    assert parts_of(reading, Table.of(FRAME[FRAME.columns[::-1]])) is None


def test_what_is_no_number_is_refused_as_whole_rows_are():
    calm = FRAME[FRAME["job"] != "judge"]
    blocks = make_column_transformer((Unwilling(), ["job"]), (StandardScaler(), [0]))
    pipeline = make_pipeline(blocks, LinearRegression()).fit(calm, Y[calm.index])
    rows = MovedRows(read(pipeline), Table.of(calm))
    with pytest.raises(ValueError, match="NaN"):
        rows(1, ["judge"])


def test_moves_are_the_columns_that_change():
    z = torch.zeros(4, 3, dtype=torch.float64)
    moved = torch.stack([z, z])
    moved[1, :, 2] = 1.0
    move = Move.between(z, moved)
    assert move.columns == [2]
    assert move.values.shape == (2, 1, 1)  # the same for all rows
    moved[1, 2, 2] = 5.0
    move = Move.between(z, moved)
    assert move.values.shape == (2, 4, 1)
    assert_array_equal(move.among(torch.tensor([2])).values[:, :, 0], [[0.0], [5.0]])


def test_slopes_go_through_the_parts_that_take_the_column():
    blocks = make_column_transformer(
        (PolynomialFeatures(2, include_bias=False), ["age"]),
        (OneHotEncoder(drop="first"), ["job"]),
    )
    line = make_pipeline(blocks, LinearRegression()).fit(FRAME, Y)
    found = average_marginal_effects(line, FRAME, Y, features="age", vcov="HC1")
    first, second = line[-1].coef_[:2]
    assert_allclose(found.estimate, first + 2 * second * FRAME["age"].mean(), rtol=1e-8)
