"""Scales of columns: against their definition, in awkward units, sparse and dense."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_ann import ANNRegressor, encoding
from sklearn_ann.encoding import weighted_scaling

N = 300


def table():
    """Columns of many kinds; the last three are mostly zero."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 7)) * [1, 1e3, 1e-3, 1, 1, 50, 1] + [0, 5, 0, 1e6, 0, 0, 0]
    X[:, 4:] *= rng.random((N, 3)) < 0.2
    return X, rng.uniform(0.1, 5.0, N)


def by_definition(X, weight):
    mean = np.average(X, axis=0, weights=weight)
    return mean, np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("some", [False, True], ids=["all rows", "some rows"])
@pytest.mark.parametrize("chunk", [2**20, 64])
def test_scaling(form, weighted, some, chunk, monkeypatch):
    monkeypatch.setattr(encoding, "CHUNK_NUMBERS", chunk)
    X, weight = table()
    rows = np.arange(0, N, 3) if some else np.arange(N)
    own = weight[rows] if weighted else None
    scaling = weighted_scaling(form(X), rows, own)
    mean, deviation = by_definition(X[rows], own)
    np.testing.assert_allclose(scaling.mean, mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaling.scale, deviation, rtol=1e-9)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.7e-8, 1e20 / 3])
def test_constant_columns_keep_their_units(form, value):
    X, weight = np.full((N, 2), value), table()[1]
    X[:, 1] *= 1.0 + np.finfo(float).eps * (np.arange(N) % 2)  # constant, but rounded
    for own in (None, weight):
        scaling = weighted_scaling(form(X), np.arange(N), own)
        np.testing.assert_array_equal(scaling.scale, 1.0)
        np.testing.assert_allclose(scaling.mean, value, rtol=1e-14)


@pytest.mark.parametrize("unit", [1e290, 1e-290])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_weights_beyond_the_range_of_products(unit, form):
    X, weight = table()
    own = weighted_scaling(form(1e200 * X), np.arange(N), weight)
    found = weighted_scaling(form(1e200 * X), np.arange(N), unit * weight)
    np.testing.assert_allclose(found.mean, own.mean, rtol=1e-12)
    np.testing.assert_allclose(found.scale, own.scale, rtol=1e-12)


def test_a_single_sparse_row_far_from_zero():
    """Its reach is nothing, and its square is beyond all numbers."""
    found = weighted_scaling(sp.csr_array([[1e200, 0.0]]), np.array([0]), None)
    np.testing.assert_array_equal(found.mean, [1e200, 0.0])
    np.testing.assert_array_equal(found.scale, 1.0)


@pytest.mark.parametrize("unit", [1e200, 1e-200])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_units_beyond_the_range_of_squares(unit, form):
    X, weight = table()
    expected = by_definition(X, weight)[1]
    found = weighted_scaling(form(X * unit), np.arange(N), weight)
    np.testing.assert_allclose(found.scale / unit, expected, rtol=1e-9)


def test_entries_stored_twice_are_summed():
    twice = sp.csr_array(
        (np.array([1.0, 2.0, 5.0]), np.array([0, 0, 1]), np.array([0, 2, 3])),
        shape=(2, 2),
    )
    found = weighted_scaling(twice, np.arange(2), None)
    np.testing.assert_allclose(found.mean, [1.5, 2.5])
    np.testing.assert_allclose(found.scale, [1.5, 2.5])
    assert twice.nnz == 3  # the user's array stays as it is


def test_single_precision_is_scaled_in_double():
    X, weight = table()
    single = X.astype(np.float32)
    found = weighted_scaling(single, np.arange(N), weight)
    mean, deviation = by_definition(single.astype(float), weight)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.scale, deviation, rtol=1e-9)


def test_constant_sparse_columns_with_weights_fit():
    """A weighted variance by differences is negative there, and its root is nan."""
    X, weight = table()
    X[:, 0] = 0.1
    model = ANNRegressor(hidden_layer_sizes=())
    expected = model.fit(X, X[:, 3], weight).predict(X)
    found = model.fit(sp.csr_array(X), X[:, 3], weight).predict(X)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
