"""Units that differ by powers of ten, very many columns, very many classes."""

import json
from functools import cache

import numpy as np
import pytest
from children import on_linux, run
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from sklearn_ann import ANNClassifier, ANNRegressor
from sklearn_ann.tables import load_wages

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# ------------------------------------------------------------------------------ units

# What raw units may cost, in R2, out of sample.
LARGE_UNITS, SMALL_UNITS = 0.005, 0.02


def wages():
    """A third of the wages that come with the package, text columns and all."""
    table = load_wages()[::3]
    return table.drop(columns=["log_wage"]), table["log_wage"].to_numpy()


def diabetes():
    return load_diabetes(return_X_y=True, as_frame=True)


TABLES = {"wages": wages, "diabetes": diabetes}


def in_units(X, columns):
    """Numbers times powers of ten: one for all columns, or one for each."""
    numbers = X.select_dtypes("number").columns
    if columns == "mixed":
        columns = np.resize([1e3, 1e-6, 1.0, 1e6, 1e-3], len(numbers))
    units = np.resize(columns, len(numbers))
    return X.assign(**{c: X[c] * u for c, u in zip(numbers, units, strict=True)})


@cache
def score(name, columns=1.0, targets=1.0, **options):
    X, y = TABLES[name]()
    X, y = in_units(X, columns), np.asarray(y) * targets
    train_X, test_X, train_y, test_y = train_test_split(X, y, random_state=0)
    model = ANNRegressor(random_state=0, **options).fit(train_X, train_y)
    return model.score(test_X, test_y)


@pytest.mark.parametrize(
    "columns, targets, cost",
    [
        (1e3, 1.0, LARGE_UNITS),
        (1.0, 1e6, LARGE_UNITS),
        (1e-6, 1.0, SMALL_UNITS),
        pytest.param(1e-6, 1e-6, SMALL_UNITS, marks=pytest.mark.slow),
        pytest.param("mixed", 1e6, SMALL_UNITS, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", TABLES)
def test_raw_units_cost_nothing(name, columns, targets, cost):
    plain = score(name)
    assert plain > {"wages": 0.25, "diabetes": 0.3}[name]
    assert score(name, columns, targets) > plain - cost


def test_units_matter_where_they_are_left_as_they_are():
    """Otherwise the test above would say nothing."""
    plain = {"early_stopping": False, "max_iter": 20}
    raw = score("wages", 1e3, 1e6, standardize=False, **plain)
    assert raw < score("wages", 1e3, 1e6, **plain) - 0.1


# ---------------------------------------------------------------------------- columns

SPARSE = """
import json, sys, warnings
import numpy as np
import scipy.sparse as sp
import sklearn_ann
from children import MEGABYTE, limit_memory
warnings.simplefilter("ignore")
name, options = sys.argv[1], json.loads(sys.argv[2])
n, d, most = 3000, 100_000, 400
rng = np.random.default_rng(0)
firm = rng.integers(0, d, n) // 100 * 100  # 1000 of them are there
hours = sp.csr_array(rng.normal(size=(n, 1)))
dummies = sp.csr_array((np.ones(n), (np.arange(n), firm)), shape=(n, d))
X = sp.hstack([dummies, hours]).tocsr()
y = hours.toarray()[:, 0] + firm % 200 / 100
y = y if name == "ANNRegressor" else (y > 0.5).astype(int)
model = getattr(sklearn_ann, name)(random_state=0, **options)
model.fit(X[:60, -50:], y[:60])  # libraries load what they need
assert n * d * 4 > 2 * most * MEGABYTE  # in float32
limit_memory(most)
model.fit(X, y)
print(model.score(X, y))
"""


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
@pytest.mark.parametrize(
    "options",
    [
        {"hidden_layer_sizes": 8, "max_iter": 5, "n_estimators": 1},
        {"hidden_layer_sizes": 8, "max_iter": 20, "early_stopping": False},
        {"hidden_layer_sizes": [], "max_iter": 50},
    ],
    ids=["defaults", "textbook", "linear"],
)
def test_a_hundred_thousand_columns_are_never_made_dense(Estimator, options):
    done = run(SPARSE, Estimator.__name__, json.dumps(options))
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.6


# ---------------------------------------------------------------------------- classes


@pytest.mark.parametrize(
    "options",
    [{"hidden_layer_sizes": 8}, {"hidden_layer_sizes": 8, "early_stopping": False},
     {"hidden_layer_sizes": (), "solver": "adam"}],
    ids=["defaults", "textbook", "linear"],
)  # fmt: skip
def test_a_thousand_classes(options):
    """Some of them with one row, so that not all sides of a split know them."""
    rng = np.random.default_rng(0)
    codes = np.concatenate([np.arange(1000), rng.integers(0, 500, 1000)])
    y = np.array([f"town {code:04}" for code in codes])
    X = np.column_stack([np.cos(codes), np.sin(codes)])
    model = ANNClassifier(**options, max_iter=3, n_estimators=1, random_state=0)
    probability = model.fit(X, y).predict_proba(X)
    assert probability.shape == (2000, 1000)
    assert np.isfinite(probability).all() and (probability >= 0).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-9)
    assert np.isin(model.predict(X), y).all()
    frequent = probability[:, :500].sum() / len(y)
    assert frequent > 0.6  # three quarters of the rows are theirs
