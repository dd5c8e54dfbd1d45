"""Rows moved in a few columns: the same predictions, for less than full price."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_ann import ANNClassifier, ANNRegressor, average_marginal_effects, nearby
from sklearn_ann.columns import Table
from sklearn_ann.derivatives import raw_outputs
from sklearn_ann.engine.architecture import Architecture
from sklearn_ann.engine.embeddings import Embedding
from sklearn_ann.evaluation import Averaging, averages
from sklearn_ann.folded import FoldedAny, folded
from sklearn_ann.functions import function_of
from sklearn_ann.nearby import Nearby, moved_columns
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
    moved = z.repeat(3, 1)
    moved[:20, list(columns)] = 1.0  # one level for all rows, and a value for each
    moved[20:, list(columns)] = z.flip(0).repeat(2, 1)[:, list(columns)]
    assert moved_columns(z, moved) == list(columns)
    around = Nearby(shape, theta, z)
    for _ in range(2):  # the second time what stays is known
        found = around.raw(moved, list(columns))
        assert_allclose(found, raw_outputs(shape, theta, moved), atol=1e-12)


def test_few_columns_are_not_sent_through_the_whole_network(monkeypatch):
    theta, z = drawn(SHAPES["levels"], np.random.default_rng(0))
    monkeypatch.setattr(nearby, "raw_outputs", lambda *arguments: "all of it")
    around = Nearby(SHAPES["levels"], theta, z)
    assert torch.is_tensor(around.raw(z.flip(0), [0, 3]))
    assert around.raw(z.flip(0), [0, 1, 3]) == "all of it"


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


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_table_of_many_levels_is_answered_with_no_option():
    X, y = raw_rows()
    network = ANNClassifier(categorical_features=["town", "kind"], random_state=0)
    fitted = network.fit(X, y > 0.5)
    assert np.isfinite(average_marginal_effects(fitted, X, y > 0.5).std_error).all()
