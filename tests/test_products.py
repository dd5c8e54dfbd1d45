"""Products of matrices: NumPy's and PyTorch's are one, and who makes which."""

import warnings

import numpy as np
import pytest
import torch

from sklearn_ann import ANNClassifier, ANNRegressor
from sklearn_ann.engine import products

SHAPES = [(7, 5, 3), (7, 5, 1), (4, 1, 3), (1, 6, 2), (20, 9, 40)]
each_choice = pytest.mark.parametrize("numpy", [True, False])


@pytest.fixture
def chosen(monkeypatch, numpy):
    """NumPy where it may be, or nowhere, whatever this machine is."""
    monkeypatch.setattr(products, "_numpy_is_faster", lambda: numpy)


def drawn(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.usefixtures("chosen")
@each_choice
@pytest.mark.parametrize("K", [None, 1, 4])
@pytest.mark.parametrize("p, q, r", SHAPES)
def test_product_is_the_product(p, q, r, K):
    stack = () if K is None else (K,)
    a, b = drawn(*stack, p, q), drawn(*stack, q, r)
    expected = torch.einsum("...pq,...qr->...pr", a, b)
    out = torch.full_like(expected, torch.nan)
    products.product(p, q, out)(a, b, out=out)
    torch.testing.assert_close(out, expected)
    out.fill_(torch.nan)
    call = products.multiplication(a, b, out)
    a.mul_(2.0)  # what stands there when it is called counts
    call()
    torch.testing.assert_close(out, 2 * expected)


@pytest.mark.usefixtures("chosen")
@each_choice
def test_factors_may_be_turned_and_the_result_a_part_of_a_wider_one(numpy):
    a, b, wide = drawn(5, 7), drawn(3, 5), torch.ones(7, 4, dtype=torch.float64)
    products.multiplication(a.mT, b.mT, wide[:, :3])()
    torch.testing.assert_close(wide[:, :3], (b @ a).mT)
    assert (wide[:, 3] == 1).all()


@pytest.mark.parametrize(
    "p, q, dtype, shape, expected",
    [
        (200, 17, torch.float32, (8,), True),
        (200, 17, torch.float32, (16,), False),
        (200, 17, torch.float64, (16,), True),
        (200, 17, torch.float64, (33,), False),
        (200, 17, torch.bfloat16, (8,), False),
        (2**15, 1, torch.float32, (8,), True),
        (2**15, 2, torch.float32, (8,), False),  # OpenBLAS might start threads
    ],
)
def test_numpy_gets_narrow_and_small_ones(monkeypatch, p, q, dtype, shape, expected):
    monkeypatch.setattr(products, "_numpy_is_faster", lambda: True)
    out = torch.empty(p, *shape, dtype=dtype)
    assert products.is_for_numpy(p, q, out) is expected
    monkeypatch.setattr(products, "_numpy_is_faster", lambda: False)
    assert not products.is_for_numpy(p, q, out)


def test_several_vectors_are_for_numpy_and_one_is_not(monkeypatch):
    monkeypatch.setattr(products, "_numpy_is_faster", lambda: True)
    assert products.is_for_numpy(200, 17, torch.empty(3, 200, 1))
    assert not products.is_for_numpy(200, 17, torch.empty(200, 1))


@pytest.mark.parametrize(
    "processor, blas, mkl, expected",
    [
        ("vendor_id : AuthenticAMD", "scipy-openblas", True, True),
        ("vendor_id : GenuineIntel", "scipy-openblas", True, False),
        ("vendor_id : AuthenticAMD", "mkl-sdl", True, False),
        ("vendor_id : AuthenticAMD", "scipy-openblas", False, False),
        ("", "accelerate", False, False),
    ],
)
def test_only_where_it_was_measured(monkeypatch, processor, blas, mkl, expected):
    config = {"Build Dependencies": {"blas": {"name": blas}}}
    monkeypatch.setattr(products, "_processor", lambda: processor)
    monkeypatch.setattr(products.np, "show_config", lambda mode: config)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    assert products._numpy_is_faster.__wrapped__() is expected


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_fits_are_the_same_either_way(monkeypatch, solver):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = np.sin(2 * X[:, 0]) + X[:, 1]
    model = ANNRegressor(
        (5, 4), solver=solver, dtype="float64", batch_size=20, max_iter=30,
        activation="tanh", early_stopping=False, n_estimators=3, random_state=0,
    )  # fmt: skip
    found = []
    for numpy in (True, False):
        monkeypatch.setattr(products, "_numpy_is_faster", lambda numpy=numpy: numpy)
        with warnings.catch_warnings(action="ignore"):
            found.append(model.fit(X, y).predict(X))
    np.testing.assert_allclose(*found, rtol=1e-8, atol=1e-8)


@pytest.mark.usefixtures("chosen")
@each_choice
@pytest.mark.parametrize("n_estimators", [1, 3])
def test_divergence_is_told_by_us_alone(n_estimators):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 3)), np.arange(80) % 3
    model = ANNClassifier(
        (4,), solver="sgd", learning_rate_init=1e30, batch_size=20, max_iter=4,
        early_stopping=False, n_estimators=n_estimators, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.fit(X, y)
    assert told and all(w.category is not RuntimeWarning for w in told)
