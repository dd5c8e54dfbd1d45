"""Rows moved in a few columns: the same predictions, for less than full price."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from sklearn_ann import ANNClassifier, ANNRegressor, average_marginal_effects
from sklearn_ann.columns import Table
from sklearn_ann.derivatives import raw_outputs
from sklearn_ann.engine.architecture import Architecture
from sklearn_ann.engine.embeddings import Embedding
from sklearn_ann.evaluation import Averaging, averages
from sklearn_ann.folded import FoldedAny, FoldedNetwork, folded
from sklearn_ann.functions import function_of
from sklearn_ann.nearby import Nearby, Part
from sklearn_ann.quantities import Quantity
from sklearn_ann.reading import read

WAVES = Embedding("periodic", (0, 2), 3, size=4)
TRAINED = Embedding("periodic", (1,), 2, size=4, trained=True)
RAMPS = Embedding("piecewise_linear", (1, 0, 3), 2, size=5)
LOOKUP = Embedding("lookup", (4, 2), 3, levels=(3, 4))
SHAPES = {
    "regression": Architecture(5, (), 2, ()),
    "hidden": Architecture(5, (7,), 1, ("gelu",)),
    "skip": Architecture(5, (4, 3), 2, ("tanh", "relu"), linear_skip=True),
    "waves": Architecture(5, (4,), 1, ("silu",), True, (WAVES, TRAINED)),
    "ramps": Architecture(5, (4,), 3, ("gelu",), True, (RAMPS,)),
    "levels": Architecture(5, (4,), 2, ("gelu",), True, (RAMPS, LOOKUP)),
    "no layer": Architecture(5, (), 1, (), False, (LOOKUP,)),
}


def drawn(shape, rng, b=20):
    """Parameters, and rows whose columns 2 and 4 may be looked up."""
    edges = [
        np.sort(rng.normal(size=(len(e.columns), e.size + 1)), axis=1)
        for e in shape.embeddings
    ]
    row = shape.initial_row(rng, "auto", np.zeros(shape.n_outputs), edges)
    theta = torch.from_numpy(row + 0.1 * rng.normal(size=row.shape))
    z = rng.normal(size=(b, 5))
    z[:, 2], z[:, 4] = rng.integers(4, size=b), rng.integers(3, size=b)
    return theta, torch.from_numpy(z)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("columns", [(0,), (2,), (1, 4), ()], ids=str)
def test_moves_are_the_networks_own_outputs(shape, columns):
    rng = np.random.default_rng(0)
    theta, z = drawn(shape, rng)
    columns = list(columns)
    moved = z.repeat(3, 1, 1)
    moved[0][:, columns] = 1.0  # one level for all rows, and a value for each
    moved[1:, :, columns] = z.flip(0)[:, columns]
    around = Nearby(shape, theta, z)
    for moves in (moved, moved[:1]):  # the second time what stays is known
        values = moves[:, :, columns]
        values = values if len(moves) > 1 else values[:, :1]
        found = around.raw(columns, values)
        for own, rows in zip(found, moves, strict=True):
            assert_allclose(own, raw_outputs(shape, theta, rows), atol=1e-12)


def test_what_stays_is_sent_once(monkeypatch):
    theta, z = drawn(SHAPES["levels"], np.random.default_rng(0))
    sent, send = [], Part.__call__
    monkeypatch.setattr(
        Part, "__call__", lambda part, z: (sent.append(z.shape), send(part, z))[1]
    )
    around = Nearby(SHAPES["levels"], theta, z)
    for level in (1.0, 2.0):
        around.raw([0, 4], torch.full((2, 1, 2), level, dtype=torch.float64))
    # All columns and those that move, of all rows; then a row for each of the moves.
    assert sent == [(20, 5), (20, 2), (1, 2), (1, 2), (1, 2), (1, 2)]


def raw_rows(n=240, seed=0):
    """Numbers with gaps, text of which copies see different levels, and categories."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    X["town"] = rng.choice(["Graz", "Linz", "Wels"], n)
    X.loc[:4, "town"] = "Enns"  # in the first fold alone
    X["kind"] = pd.Categorical(rng.choice(list("xyz"), n))
    y = X["a"] + (X["town"] == "Linz") + 0.1 * rng.normal(size=n)
    X.loc[::9, "b"] = np.nan
    return X, y


def test_copies_of_raw_tables_share_what_is_done_to_rows(monkeypatch):
    """Rows are checked and coded once for all; each copy then has its own levels."""
    X, y = raw_rows()
    folds = np.repeat([0, 1, 2], len(X) // 3)
    options = {"categorical_features": ["town", "kind"], "max_iter": 3}
    networks = [
        ANNRegressor(random_state=k, n_estimators=2, **options).fit(X[rows], y[rows])
        for k, rows in enumerate([folds >= 0, *(folds != k for k in range(3))])
    ]
    own, *copies = map(read, networks)
    pairs = [(each, function_of(each, "response")) for each in copies]
    function = folded(own, function_of(own, "response"), pairs, folds, True)
    assert isinstance(function, FoldedAny)
    even = Averaging(Table.of(X), np.full((len(X), 1), 1 / len(X)))
    asked = [
        Quantity("", "", 0, "shift", low=-0.5, high=0.5),
        Quantity("", "", 1, "slope", step=1e-4),
        Quantity("", "", 2, "levels", "Graz", "Enns"),
        Quantity("", "", 3, "levels", "x", "z"),
        Quantity("", "", None, "prediction"),
    ]
    coded = {id(each): 0 for each in networks}
    check = ANNRegressor._checked_X
    monkeypatch.setattr(
        ANNRegressor,
        "_checked_X",
        lambda self, X: (coded.update({id(self): coded[id(self)] + 1}), check(self, X))[
            1
        ],
    )
    found = averages(own, function, asked, even, with_rows=True).rows
    assert [count > 0 for count in coded.values()] == [True, False, False, False]
    for k, each in enumerate([*networks[1:], networks[0]]):
        rows, place = (folds == k, 0) if k < 3 else (folds >= 0, 1)
        alone = [
            each.predict(X.assign(a=X["a"] + 0.5))
            - each.predict(X.assign(a=X["a"] - 0.5)),
            (
                each.predict(X.assign(b=X["b"] + 1e-4))
                - each.predict(X.assign(b=X["b"] - 1e-4))
            )
            / 2e-4,
            each.predict(X.assign(town="Enns")) - each.predict(X.assign(town="Graz")),
            each.predict(X.assign(kind="z")) - each.predict(X.assign(kind="x")),
            each.predict(X),
        ]
        alone[1][X["b"].isna()] = np.nan
        assert_allclose(
            found[:, rows, place], np.array(alone)[:, rows], rtol=1e-6, atol=1e-7
        )


def test_copies_keep_their_own_units():
    """Waves have units of their own, which the rows of a fit decide."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2)) * [3.0, 1.0] + 5.0
    X[:40] *= 2.0
    y, folds = X[:, 0] + np.sin(X[:, 1]), np.repeat([0, 1, 2], 40)
    options = {"numeric_embedding": "periodic", "standardize": True, "max_iter": 2}
    own, *copies = (
        ANNRegressor(8, random_state=0, early_stopping=False, tol=0.0, **options)
        for _ in range(4)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        own.fit(X, y)
        for k, copy in enumerate(copies):
            copy.fit(X[folds != k], y[folds != k])
    readings = [read(each) for each in (own, *copies)]
    first, *others = ((each, function_of(each, "response")) for each in readings)
    function = folded(*first, others, folds, True)
    assert isinstance(function, FoldedNetwork)
    even = Averaging(Table.of(X), np.full((120, 1), 1 / 120))
    asked = [Quantity("", "", None, "prediction"), Quantity("", "", 0, "slope")]
    found = averages(readings[0], function, asked, even, with_rows=True).rows
    step = np.array([1e-4, 0.0])
    for k, each in enumerate([*copies, own]):
        rows, place = (folds == k, 0) if k < 3 else (folds >= 0, 1)
        assert_allclose(found[0, rows, place], each.predict(X[rows]), rtol=1e-9)
        rise = each.predict(X[rows] + step) - each.predict(X[rows] - step)
        assert_allclose(found[1, rows, place], rise / 2e-4, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_table_of_many_levels_is_answered_with_no_option():
    X, y = raw_rows()
    network = ANNClassifier(categorical_features=["town", "kind"], random_state=0)
    fitted = network.fit(X, y > 0.5)
    assert np.isfinite(average_marginal_effects(fitted, X, y > 0.5).std_error).all()
