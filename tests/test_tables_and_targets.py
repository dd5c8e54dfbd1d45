"""Every form that tables and targets come in; weights; estimators inside others."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from sklearn import metrics
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_friedman1, make_moons
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from textbook import TEXTBOOK

from sklearn_ann import ANNClassifier, ANNRegressor

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
SOLVERS = ["sgd", "adam", "adamw", "lbfgs"]
N, D = 60, 4
# What float64 loses where a sum is formed in another order.
ROUNDING = 1e-8
QUICK = TEXTBOOK | {
    "hidden_layer_sizes": 5,
    "max_iter": 5,
    "tol": 0.0,
    "batch_size": 16,
    "dtype": "float64",
    "random_state": 0,
}


def data(seed=0):
    """Columns of small whole numbers: exact in every dtype tried below."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-8, 9, size=(N, D)).astype(float)
    return X, np.round(X[:, 0] + np.abs(X[:, 1]) + rng.normal(size=N), 2)


X, Y = data()
LABELS = np.array(["high", "low", "mid"])[np.digitize(Y, [2.0, 6.0])]
INDICATORS = np.column_stack([X[:, 0] > 0, X[:, 1] > 2, Y > 4]).astype(int)

# ------------------------------------------------------------------- forms of X


def strided(table):
    """Every other row and column of a larger array."""
    large = np.full((2 * N, 2 * D), np.nan)
    large[::2, ::2] = table
    return large[::2, ::2]


def read_only(table):
    table = table.copy()
    table.flags.writeable = False
    return table


FORMS = {
    "list": lambda X: X.tolist(),
    "int64": lambda X: X.astype(np.int64),
    "int8": lambda X: X.astype(np.int8),
    "float16": lambda X: X.astype(np.float16),
    "float32": lambda X: X.astype(np.float32),
    "big endian": lambda X: X.astype(">f8"),
    "object": lambda X: X.astype(object),
    "Fortran order": np.asfortranarray,
    "not contiguous": strided,
    "rows reversed": lambda X: X[::-1].copy()[::-1],
    "columns reversed": lambda X: X[:, ::-1].copy()[:, ::-1],
    "read-only": read_only,
    "pandas": lambda X: pd.DataFrame(X, columns=list("abcd")),
    "pandas mixed": lambda X: pd.DataFrame(X, columns=list("abcd")).astype(
        {"a": np.int32, "b": "Int64", "c": np.float32}
    ),
    "pandas odd index": lambda X: pd.DataFrame(
        X, columns=list("abcd"), index=np.arange(N)[::-1] + 7
    ),
    "polars": lambda X: pl.DataFrame(X, schema=list("abcd")),
    "torch": torch.tensor,
    "torch float32": lambda X: torch.tensor(X, dtype=torch.float32),
    "csr": sp.csr_array,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "csr matrix": sp.csr_matrix,
    "csr int": lambda X: sp.csr_array(X.astype(np.int64)),
    "csr float32": lambda X: sp.csr_array(X.astype(np.float32)),
    "csr unsorted": lambda X: unsorted(sp.csr_array(X)),
    "csr stored twice": lambda X: stored_twice(sp.csr_array(X)),
}


def unsorted(table):
    """The same matrix, the entries of every row in reverse."""
    order = np.concatenate(
        [
            np.arange(a, b)[::-1]
            for a, b in zip(table.indptr, table.indptr[1:], strict=False)
        ]
    ).astype(int)
    return sp.csr_array(
        (table.data[order], table.indices[order], table.indptr), shape=table.shape
    )


def stored_twice(table):
    """The same matrix, every entry as two halves."""
    return sp.csr_array(
        (np.repeat(table.data / 2, 2), np.repeat(table.indices, 2), 2 * table.indptr),
        shape=table.shape,
    )


@pytest.fixture(scope="module")
def plain():
    """Predictions and fits from a plain array, to compare with."""
    found = {}
    for standardize in (True, False):
        model = ANNRegressor(**QUICK | {"standardize": standardize}).fit(X, Y)
        found[standardize] = model
    return found


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_tables(form, standardize, plain):
    table = FORMS[form](X)
    model = ANNRegressor(**QUICK | {"standardize": standardize}).fit(table, Y)
    expected = plain[standardize]
    if sp.issparse(table):
        np.testing.assert_allclose(
            model.loss_curve_, expected.loss_curve_, rtol=ROUNDING
        )
    else:
        assert model.loss_curve_ == expected.loss_curve_  # bit by bit
    predicted = model.predict(table)
    assert predicted.dtype == np.float64 and isinstance(predicted, np.ndarray)
    np.testing.assert_allclose(predicted, expected.predict(X), rtol=ROUNDING)


def test_memory_maps(tmp_path):
    """Read-only ones, for X, y and weights: PyTorch would warn."""
    weight = np.linspace(0.5, 2.0, N)
    mapped = []
    for name, array in {"X": X, "y": Y, "w": weight}.items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    for standardize in (True, False):
        model = ANNRegressor(**QUICK | {"standardize": standardize})
        expected = clone(model).fit(X, Y, weight).predict(X)
        model.fit(*mapped)
        np.testing.assert_array_equal(model.predict(mapped[0]), expected)
        assert model.score(*mapped) == model.score(X, Y, weight)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_names_of_columns(frame):
    table = frame(dict(zip("abcd", X.T, strict=True)))
    model = ANNRegressor(**QUICK).fit(table, Y)
    assert list(model.feature_names_in_) == list("abcd")
    assert model.n_features_in_ == 4
    other = pl.DataFrame if frame is pd.DataFrame else pd.DataFrame
    twin = other(dict(zip("abcd", X.T, strict=True)))
    np.testing.assert_array_equal(model.predict(table), model.predict(twin))
    with pytest.raises(ValueError, match="same order"):
        model.predict(table[list("bacd")])


def test_the_callers_data_stay_as_they_are():
    weight = np.ones(N)
    kept = [X.copy(), Y.copy(), weight.copy()]
    model = ANNRegressor(**QUICK | {"early_stopping": True}).fit(X, Y, weight)
    model.predict(X)
    for before, after in zip(kept, [X, Y, weight], strict=True):
        np.testing.assert_array_equal(before, after)


# ------------------------------------------------------------------- sparse X


@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_array])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
def test_sparse_equals_dense(Estimator, solver, standardize, make):
    rng = np.random.default_rng(0)
    dense = np.where(rng.uniform(size=(N, 12)) < 0.2, rng.normal(size=(N, 12)) + 2, 0.0)
    y = Y if Estimator is ANNRegressor else LABELS
    weight = rng.uniform(0, 2, N) * (rng.uniform(size=N) < 0.9)
    options = QUICK | {
        "solver": solver,
        "standardize": standardize,
        "linear_skip": True,
        "dropout": 0.0 if solver == "lbfgs" else 0.2,
        "early_stopping": True,
    }
    model = Estimator(**options)
    of_dense = clone(model).fit(dense, y, sample_weight=weight)
    of_sparse = clone(model).fit(make(dense), y, sample_weight=weight)
    np.testing.assert_allclose(
        of_sparse.loss_curve_, of_dense.loss_curve_, rtol=ROUNDING
    )
    np.testing.assert_allclose(
        of_sparse.validation_scores_, of_dense.validation_scores_, rtol=ROUNDING
    )
    method = "predict" if Estimator is ANNRegressor else "predict_proba"
    expected = getattr(of_dense, method)(dense)
    for fitted in (of_dense, of_sparse):
        for table in (dense, make(dense)):
            np.testing.assert_allclose(
                getattr(fitted, method)(table), expected, rtol=ROUNDING, atol=ROUNDING
            )
    np.testing.assert_allclose(
        of_sparse.skip_coef_, of_dense.skip_coef_, rtol=ROUNDING, atol=ROUNDING
    )


@pytest.mark.parametrize("standardize", [True, False])
def test_sparse_without_hidden_layer_is_exact(standardize):
    table = sp.random_array((N, 6), density=0.4, rng=np.random.default_rng(0))
    model = ANNRegressor((), standardize=standardize).fit(table.tocsr(), Y)
    ols = LinearRegression().fit(table.toarray(), Y)
    np.testing.assert_allclose(model.coef_, ols.coef_, rtol=ROUNDING)
    np.testing.assert_allclose(model.intercept_, ols.intercept_, rtol=ROUNDING)


# ------------------------------------------------------------------- forms of y

LABEL_FORMS = {
    "str": np.array(["b", "a", "c"]),
    "object": np.array(["b", "a", "c"], dtype=object),
    "int": np.array([7, 5, 12]),
    "negative": np.array([-1, 1, 0]),
    "uint8": np.array([3, 1, 2], dtype=np.uint8),
    "whole floats": np.array([1.0, 0.0, 2.0]),
    "bool": np.array([True, False]),
    "two": np.array([5, 7]),
}
CONTAINERS = {
    "array": np.asarray,
    "list": lambda y: y.tolist(),
    "Series": pd.Series,
    "category": lambda y: pd.Series(pd.Categorical(y)),
    "polars": lambda y: pl.Series(y.tolist()),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("form", LABEL_FORMS)
def test_labels(form, container):
    names = LABEL_FORMS[form]
    codes = np.digitize(Y, [4.0] if len(names) == 2 else [2.0, 6.0])
    y = np.sort(names)[codes]
    model = ANNClassifier(**QUICK).fit(X, CONTAINERS[container](y))
    np.testing.assert_array_equal(model.classes_, np.sort(names))
    expected = ANNClassifier(**QUICK).fit(X, codes)
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    predicted = model.predict(X)
    np.testing.assert_array_equal(predicted, np.sort(names)[expected.predict(X)])
    assert model.score(X, CONTAINERS[container](y)) == np.mean(predicted == y)


NUMBER_FORMS = {
    "list": lambda y: y.tolist(),
    "float32": lambda y: y.astype(np.float32),
    "int": lambda y: y.astype(int),
    "big endian": lambda y: y.astype(">f8"),
    "reversed": lambda y: y[::-1].copy()[::-1],
    "read-only": read_only,
    "strided": lambda y: np.repeat(y, 2)[::2],
    "column": lambda y: y[:, None],
    "Series": pd.Series,
    "Int64": lambda y: pd.Series(y).astype("Int64"),
    "frame": lambda y: pd.DataFrame({"wage": y}),
    "polars": pl.Series,
    "torch": torch.tensor,
}


WEIGHT_FORMS = {
    "list": list,
    "float32": lambda w: w.astype(np.float32),
    "int": lambda w: w.astype(int),
    "Series": pd.Series,
    "polars": pl.Series,
    "torch": torch.tensor,
    "reversed": lambda w: w[::-1].copy()[::-1],
}


@pytest.mark.parametrize("form", WEIGHT_FORMS)
def test_forms_of_weights(form):
    weight = np.arange(N) % 4.0
    model = ANNRegressor(**QUICK)
    expected = clone(model).fit(X, Y, sample_weight=weight)
    given = WEIGHT_FORMS[form](weight)
    assert model.fit(X, Y, sample_weight=given).loss_curve_ == expected.loss_curve_
    assert model.score(X, Y, given) == expected.score(X, Y, weight)


@pytest.mark.parametrize("unit", [2.0**950, 2.0**-950], ids=["huge", "tiny"])
@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_any_magnitude(dtype, Estimator, unit):
    """Only ratios matter where the penalty goes with their sum, as by default.

    They are what rows count, though, to the linear model that defaults start from.
    """
    weight = np.linspace(0.5, 2.0, N)
    y = Y if Estimator is ANNRegressor else Y > 0
    model = Estimator(4, linear_skip=False, max_iter=3, dtype=dtype, random_state=0)
    expected = clone(model).fit(X, y, weight)
    assert expected.early_stopping_  # with all that comes of it
    model.fit(X, y, weight * unit)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    assert model.status_ == expected.status_
    model.set_params(linear_skip=True).fit(X, y, weight * unit)
    assert model.stays_linear_ is not None


@pytest.mark.parametrize("standardize", [True, False])
def test_numbers_that_are_missing_after_a_sparse_fit(standardize):
    """They are the means of the fit, as after a dense one."""
    gaps = np.where(np.arange(N * D).reshape(N, D) % 7 == 0, np.nan, X)
    model = ANNRegressor(**QUICK | {"standardize": standardize})
    expected = clone(model).fit(X, Y).predict(gaps)
    model.fit(sp.csr_array(X), Y)
    np.testing.assert_allclose(model.predict(gaps), expected, rtol=ROUNDING)
    assert np.isfinite(model.partial_fit(gaps, Y).predict(gaps)).all()


def test_rows_may_be_sparse_where_those_of_the_scales_were_not():
    """The defaults' scales are robust, which is no change of units."""
    model = ANNRegressor(4, max_iter=3, random_state=0, warm_start=True)
    expected = clone(model).fit(X, Y, X_val=X[:20], y_val=Y[:20]).fit(X, Y)
    model.fit(X, Y, X_val=sp.csr_array(X[:20]), y_val=Y[:20]).fit(sp.csr_array(X), Y)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))


@pytest.mark.parametrize("of_X", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("of_val", [np.asarray, sp.csr_array, sp.csc_array])
@pytest.mark.parametrize("standardize", [True, False])
def test_validation_rows_may_be_sparse_where_the_others_are_not(
    standardize, of_val, of_X
):
    model = ANNRegressor(**QUICK | {"standardize": standardize, "early_stopping": True})
    expected = clone(model).fit(X, Y, X_val=X[:20], y_val=Y[:20])
    model.fit(of_X(X), Y, X_val=of_val(X[:20]), y_val=Y[:20])
    np.testing.assert_allclose(
        model.validation_scores_, expected.validation_scores_, rtol=ROUNDING
    )


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("form", NUMBER_FORMS)
def test_numbers(form, standardize):
    y = np.round(Y)
    model = ANNRegressor(**QUICK | {"standardize": standardize})
    expected = clone(model).fit(X, y).predict(X)
    predicted = model.fit(X, NUMBER_FORMS[form](y)).predict(X)
    assert predicted.shape == (N,)
    np.testing.assert_array_equal(predicted, expected)


def test_a_column_of_labels_warns():
    with pytest.warns(Warning, match="column-vector"):
        model = ANNClassifier(**QUICK).fit(X, LABELS[:, None])
    assert model.predict(X).shape == (N,)


def test_several_targets():
    targets = np.column_stack([Y, X[:, 2] - Y, 100.0 * Y])
    model = ANNRegressor((), standardize=True).fit(X, targets)
    assert model.predict(X).shape == (N, 3)
    assert model.n_outputs_ == 3
    ols = LinearRegression().fit(X, targets)
    np.testing.assert_allclose(model.coef_, ols.coef_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(model.intercept_, ols.intercept_, rtol=1e-8)
    assert model.score(X, targets) == pytest.approx(ols.score(X, targets))
    network = ANNRegressor(16, solver="lbfgs", random_state=0).fit(X, targets)
    assert network.score(X, targets) > ols.score(X, targets)
    frame = pd.DataFrame(targets, columns=["wage", "hours", "income"])
    twin = ANNRegressor(16, solver="lbfgs", random_state=0).fit(X, frame)
    np.testing.assert_array_equal(twin.predict(X), network.predict(X))


@pytest.mark.parametrize(
    "form",
    [
        np.asarray,
        sp.csr_array,
        sp.csr_matrix,
        pd.DataFrame,
        lambda y: y.tolist(),
        lambda y: y.astype(bool),
        lambda y: y.astype(float),
    ],
    ids=["array", "csr", "csr matrix", "pandas", "list", "bool", "float"],
)
def test_several_labels(form):
    model = ANNClassifier(**QUICK).fit(X, form(INDICATORS))
    expected = ANNClassifier(**QUICK).fit(X, INDICATORS).predict_proba(X)
    probability = model.predict_proba(X)
    assert probability.shape == (N, 3)
    np.testing.assert_array_equal(probability, expected)
    np.testing.assert_array_equal(model.predict(X), (probability >= 0.5).astype(int))
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert model.decision_function(X).shape == (N, 3)


def test_several_labels_are_a_logit_each():
    model = ANNClassifier((), alpha=1.0, standardize=False).fit(X, INDICATORS)
    for column, coef in zip(INDICATORS.T, model.coef_, strict=True):
        logit = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(X, column)
        np.testing.assert_allclose(coef, logit.coef_[0], rtol=1e-5)


# ------------------------------------------------------------------- losses, scores

SCORES = {
    "squared_error": metrics.r2_score,
    "huber": metrics.r2_score,
    "absolute_error": metrics.d2_absolute_error_score,
    "quantile": lambda y, p, sample_weight: metrics.d2_pinball_score(
        y, p, sample_weight=sample_weight, alpha=0.8
    ),
    "poisson": lambda y, p, sample_weight: metrics.d2_tweedie_score(
        y, p, sample_weight=sample_weight, power=1
    ),
    "gamma": lambda y, p, sample_weight: metrics.d2_tweedie_score(
        y, p, sample_weight=sample_weight, power=2
    ),
}


def test_the_table_has_every_loss():
    (names,) = ANNRegressor._parameter_constraints["loss"]
    assert set(SCORES) == names.options


@pytest.mark.parametrize("loss", SCORES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_score_is_the_share_of_the_loss_explained(loss, weighted):
    y = np.abs(Y) + 0.5 if loss in ("poisson", "gamma") else Y
    weight = np.linspace(0.5, 2.0, N) if weighted else None
    model = ANNRegressor(**{**QUICK, "max_iter": 200}, loss=loss, quantile=0.8)
    model.set_params(solver="lbfgs").fit(X, y, sample_weight=weight)
    score = model.score(X, y, sample_weight=weight)
    expected = SCORES[loss](y, model.predict(X), sample_weight=weight)
    assert score == pytest.approx(expected, abs=1e-8)
    assert score > 0.3
    assert (model.predict(X) > 0).all() or loss not in ("poisson", "gamma")


def skewed(n, seed):
    """Spread and skewness grow with x."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 2, size=(n, 1))
    return x, np.sin(2 * x[:, 0]) + (0.2 + x[:, 0]) * rng.exponential(size=n)


def test_quantiles_are_calibrated_and_do_not_cross():
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    x, y = skewed(3000, seed=0)
    new_x, new_y = skewed(3000, seed=1)
    model = ANNRegressor(
        16,
        early_stopping=False,
        loss="quantile",
        quantile=levels,
        learning_rate_init=0.01,
        learning_rate="cosine",
        max_iter=60,
        random_state=0,
    ).fit(x, y)
    predicted = model.predict(new_x)
    assert predicted.shape == (3000, 5)
    far = model.predict(np.linspace(-50, 50, 1001)[:, None])
    for rows in (predicted, far):
        assert (np.diff(rows, axis=1) >= 0).all()
    shares = (new_y[:, None] <= predicted).mean(axis=0)
    # Three standard errors of a share, and what estimation adds.
    np.testing.assert_allclose(shares, levels, atol=0.04)
    # Also where the spread is small and where it is large.
    for part in (new_x[:, 0] < 0.5, new_x[:, 0] > 1.5):
        shares = (new_y[part, None] <= predicted[part]).mean(axis=0)
        np.testing.assert_allclose(shares, levels, atol=0.08)


def test_the_score_of_several_quantiles_is_the_mean():
    levels = [0.1, 0.5, 0.9]
    x, y = skewed(300, seed=0)
    model = ANNRegressor(8, loss="quantile", quantile=levels, random_state=0)
    model.set_params(early_stopping=False, max_iter=30, learning_rate_init=0.02).fit(
        x, y
    )
    scores = [
        metrics.d2_pinball_score(y, column, alpha=level)
        for level, column in zip(levels, model.predict(x).T, strict=True)
    ]
    assert model.score(x, y) == pytest.approx(np.mean(scores))


# ------------------------------------------------------------------- weights


def same_fits(model, other, tolerance=1e-6):
    for ours, theirs in zip(model.coefs_, other.coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


EXACT = {**QUICK, "batch_size": "full"}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
def test_integer_weights_are_repetitions(Estimator, solver):
    weight = np.random.default_rng(0).integers(0, 4, N)
    y = Y if Estimator is ANNRegressor else LABELS
    model = Estimator(**EXACT, solver=solver)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    same_fits(weighted, repeated, 1e-9)
    plain = clone(model).fit(X, y)
    assert not np.allclose(plain.coefs_[0], weighted.coefs_[0], rtol=1e-3)


def test_rows_of_weight_zero_may_hold_anything():
    weight = np.repeat([1.0, 0.0], N // 2)
    wild_X, wild_y = X.copy(), Y.copy()
    wild_X[N // 2 :] = 1e30
    wild_y[N // 2 :] = -1e30
    weighted = ANNRegressor(**QUICK).fit(wild_X, wild_y, sample_weight=weight)
    alone = ANNRegressor(**QUICK).fit(X[: N // 2], Y[: N // 2])
    same_fits(weighted, alone, 1e-12)


CLASS_WEIGHTS = {
    "dict": {"high": 3.0, "low": 0.5, "mid": 1.0},
    "part of a dict": {"high": 3.0},
    "a class of weight zero": {"high": 0.0, "low": 1.0, "mid": 1.0},
    "balanced": "balanced",
}


def explicit(class_weight):
    if class_weight != "balanced":
        return np.array([class_weight.get(label, 1.0) for label in LABELS])
    counts = {label: np.sum(label == LABELS) for label in np.unique(LABELS)}
    return np.array([N / (3 * counts[label]) for label in LABELS])


@pytest.mark.parametrize("name", CLASS_WEIGHTS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_class_weights_are_row_weights(name, solver):
    class_weight = CLASS_WEIGHTS[name]
    model = ANNClassifier(**QUICK, solver=solver)
    by_class = clone(model).set_params(class_weight=class_weight).fit(X, LABELS)
    by_row = clone(model).fit(X, LABELS, sample_weight=explicit(class_weight))
    same_fits(by_class, by_row)
    assert not np.allclose(by_class.coefs_[0], clone(model).fit(X, LABELS).coefs_[0])


def test_class_weights_multiply_row_weights():
    weight = np.random.default_rng(0).integers(1, 4, N)
    class_weight = CLASS_WEIGHTS["dict"]
    model = ANNClassifier(**QUICK)
    both = clone(model).set_params(class_weight=class_weight)
    both.fit(X, LABELS, sample_weight=weight)
    product = clone(model).fit(X, LABELS, weight * explicit(class_weight))
    same_fits(both, product)


def test_balanced_weights_of_weighted_rows():
    """A row of weight three counts three times in its class."""
    weight = np.random.default_rng(0).integers(0, 4, N)
    model = ANNClassifier(**EXACT, class_weight="balanced")
    weighted = clone(model).fit(X, LABELS, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(LABELS, weight))
    same_fits(weighted, repeated)


@pytest.mark.parametrize(
    "class_weight", ["balanced", [{0: 1, 1: 2}, {0: 1, 1: 1}, {0: 3, 1: 1}]]
)
def test_class_weights_of_several_labels(class_weight):
    """The weight of a row is the product over its labels, as in scikit-learn."""
    weight = np.ones(N)
    for j, column in enumerate(INDICATORS.T):
        if class_weight == "balanced":
            share = column.mean()
            weight *= np.where(column == 1, 0.5 / share, 0.5 / (1 - share))
        else:
            weight *= np.where(column == 1, class_weight[j][1], class_weight[j][0])
    by_class = ANNClassifier(**QUICK, class_weight=class_weight).fit(X, INDICATORS)
    by_row = ANNClassifier(**QUICK).fit(X, INDICATORS, sample_weight=weight)
    same_fits(by_class, by_row)


# ------------------------------------------------------------------- inside others

REGRESSION = make_friedman1(200, noise=0.5, random_state=0)
MOONS = make_moons(200, noise=0.2, random_state=0)


def regressor():
    return ANNRegressor(16, solver="lbfgs", alpha=1.0, max_iter=50, random_state=0)


def classifier():
    return ANNClassifier(
        16, "tanh", solver="lbfgs", alpha=0.1, max_iter=50, random_state=0
    )


REGRESSORS = {
    "AdaBoost": lambda: AdaBoostRegressor(regressor(), n_estimators=3, random_state=0),
    "Bagging": lambda: BaggingRegressor(regressor(), n_estimators=3, random_state=0),
    "Voting": lambda: VotingRegressor([("a", regressor()), ("b", LinearRegression())]),
    "Stacking": lambda: StackingRegressor(
        [("a", regressor()), ("b", LinearRegression())], cv=3
    ),
    "TransformedTarget": lambda: TransformedTargetRegressor(
        regressor(), func=np.log, inverse_func=np.exp
    ),
    "MultiOutput": lambda: MultiOutputRegressor(regressor()),
    "Pipeline": lambda: make_pipeline(StandardScaler(), regressor()),
    "log columns": lambda: make_pipeline(
        FunctionTransformer(np.log1p, feature_names_out="one-to-one"), regressor()
    ),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_inside_others(name):
    table, y = REGRESSION
    y = np.column_stack([y, -y]) if name == "MultiOutput" else y
    model = REGRESSORS[name]().fit(table[:150], y[:150])
    assert model.score(table[150:], y[150:]) > 0.75


CLASSIFIERS = {
    "AdaBoost": lambda: AdaBoostClassifier(
        classifier(), n_estimators=3, random_state=0
    ),
    "Bagging": lambda: BaggingClassifier(classifier(), n_estimators=3, random_state=0),
    "Voting": lambda: VotingClassifier(
        [("a", classifier()), ("b", LogisticRegression())], voting="soft"
    ),
    "Stacking": lambda: StackingClassifier(
        [("a", classifier()), ("b", LogisticRegression())], cv=3
    ),
    "isotonic": lambda: CalibratedClassifierCV(classifier(), method="isotonic", cv=3),
    "sigmoid": lambda: CalibratedClassifierCV(
        classifier(), method="sigmoid", ensemble=False, cv=3
    ),
    "OneVsRest": lambda: OneVsRestClassifier(classifier()),
    "OneVsOne": lambda: OneVsOneClassifier(classifier()),
    "MultiOutput": lambda: MultiOutputClassifier(classifier()),
    "Pipeline": lambda: make_pipeline(StandardScaler(), classifier()),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_inside_others(name):
    table, y = MOONS
    y = np.array(["north", "south"])[y]
    if name in ("OneVsRest", "OneVsOne"):
        y = np.where(table[:, 0] > 1.5, "east", y)
    if name == "MultiOutput":
        y = np.column_stack([y, y[::-1]])
        y[:, 1] = y[:, 0]
    model = CLASSIFIERS[name]().fit(table[:150], y[:150])
    assert model.score(table[150:], y[150:]) > 0.85


def test_boosting_hands_its_weights_on():
    """The second network of AdaBoost sees other weights than the first."""
    table, y = MOONS
    boosted = AdaBoostClassifier(classifier(), n_estimators=3, random_state=0)
    boosted.fit(table, y)
    boosted_by_hand = classifier().fit(table, y)
    first = boosted.estimators_[0]
    wrong = boosted_by_hand.predict(table) != y
    assert wrong.any()
    assert not np.allclose(
        first.predict_proba(table), boosted.estimators_[1].predict_proba(table)
    )


def test_calibration_with_weights():
    table, y = MOONS
    weight = np.linspace(0.5, 2.0, len(y))
    calibrated = CalibratedClassifierCV(classifier(), cv=3)
    calibrated.fit(table, y, sample_weight=weight)
    probability = calibrated.predict_proba(table)[:, 1]
    assert metrics.brier_score_loss(y, probability) < 0.1


def test_a_search_over_architectures():
    """Ints and tuples beside one another."""
    table, y = REGRESSION
    sizes = [(), 3, 16, (8,), (8, 8), [4, 4]]
    search = GridSearchCV(
        ANNRegressor(solver="lbfgs", max_iter=30, random_state=0),
        {"hidden_layer_sizes": sizes},
        cv=3,
        error_score="raise",
    ).fit(table, y)
    scores = search.cv_results_["mean_test_score"]
    for size, score in zip(sizes, scores, strict=True):
        model = clone(search.estimator).set_params(hidden_layer_sizes=size)
        assert score == pytest.approx(cross_val_score(model, table, y, cv=3).mean())
    assert search.best_params_["hidden_layer_sizes"] != ()
    assert search.score(table, y) > 0.8


@pytest.mark.parametrize("sizes", [5, (5,), [5], np.array([5]), np.int64(5)], ids=str)
def test_one_hidden_layer_in_every_spelling(sizes):
    model = ANNRegressor(**{**QUICK, "hidden_layer_sizes": sizes}).fit(X, Y)
    expected = ANNRegressor(**QUICK).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))


def test_a_device_object_serves_as_well():
    model = ANNRegressor(**QUICK, device=torch.device("cpu")).fit(X, Y)
    assert model.device_ == "cpu"
