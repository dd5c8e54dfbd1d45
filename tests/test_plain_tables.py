"""Predictions for tables that scikit-learn's checks would hand back as they are.

These skip the checks, which for one row take several times as long as the network; all
others go through them, and are warned of and refused as ever.
"""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sklearn_ann import ANNClassifier, ANNRegressor, estimators
from sklearn_ann.arrays import is_plain_table

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
Y = X @ [1.0, -1.0, 0.5] + np.sin(X[:, 0])


def with_one(value, dtype=np.float64):
    changed = X.astype(dtype)
    changed[5, 1] = value
    return changed


PLAIN = {
    "float64": X,
    "float32": X.astype(np.float32),
    "one row": X[:1],
    "columns first": np.asfortranarray(X),
    "reversed": X[::-1],
    "read-only": np.broadcast_to(X[:1], (4, 3)),
}
OTHERS = {
    "list": X.tolist(),
    "frame": pd.DataFrame(X),
    "masked": np.ma.masked_array(X),
    "sparse": sp.csr_array(X),
    "ints": np.ones((4, 3), dtype=int),
    "float16": X.astype(np.float16),
    "swapped bytes": X.astype(">f8"),
    "objects": X.astype(object),
    "one axis": X[0],
    "three axes": X[None],
    "no rows": X[:0],
    "other columns": X[:, :2],
    "nan": with_one(np.nan),
    "inf": with_one(np.inf),
    "inf both ways": np.array([[np.inf, -np.inf, 0.0]]),
    "a sum beyond numbers": np.full((4, 3), 1e308),
}


@pytest.fixture(scope="module")
def fitted():
    return ANNRegressor(max_iter=3, random_state=0).fit(X, Y)


@pytest.fixture
def checks(monkeypatch):
    """Tables that scikit-learn's checks see from here on."""
    seen, real = [], estimators.validate_data

    def spied(estimator, X, *y, **options):
        seen.append(X)
        return real(estimator, X, *y, **options)

    monkeypatch.setattr(estimators, "validate_data", spied)
    return seen


pytestmark = pytest.mark.filterwarnings(
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)


@pytest.mark.parametrize("table", PLAIN.values(), ids=PLAIN.keys())
def test_plain_tables_skip_checks_and_lose_nothing(fitted, checks, table):
    predicted = fitted.predict(table)
    assert not checks
    np.testing.assert_array_equal(predicted, fitted.predict(pd.DataFrame(table)))
    assert len(checks) == 1


@pytest.mark.parametrize("table", OTHERS.values(), ids=OTHERS.keys())
def test_others_are_checked(table):
    assert not is_plain_table(table, 3)


def test_finite_tables_whose_sum_is_not_are_predicted():
    huge = np.array([[1e308, 1e308, 0.0]])
    fitted = ANNRegressor((), alpha=0.0).fit(X, Y)
    fitted_small = fitted.predict(huge / 1e10)
    np.testing.assert_allclose(fitted.predict(huge), fitted_small * 1e10, rtol=1e-6)


def test_names_of_the_fit_are_still_missed(checks):
    named = pd.DataFrame(X, columns=list("abc"))
    fitted = ANNClassifier(max_iter=3).fit(named, Y > 0)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        fitted.predict(X)
    assert len(checks) == 2
