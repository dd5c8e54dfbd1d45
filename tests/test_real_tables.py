"""Real tables in the estimators: categories, missing values, robust scales."""

import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from quiet_callback import Quiet
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from textbook import TEXTBOOK

from sklearn_ann import ANNClassifier, ANNRegressor, batched_fits, bootstrap_fits
from sklearn_ann.engine.rows import SparseRows
from sklearn_ann.jobs import assemble

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore:.*Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
N = 120
QUICK = {
    **TEXTBOOK,
    "hidden_layer_sizes": 5,
    "activation": "relu",
    "max_iter": 5,
    "tol": 0.0,
    "batch_size": 32,
    "dtype": "float64",
    "random_state": 0,
}
SCALES = [True, "robust", False]


def made(n=N, seed=0):
    """Numbers, bools, text and categories, with gaps in two columns."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n).round(1),
            "job": rng.choice(["clerk", "cook", "judge"], n),
            "union": rng.choice([True, False], n),
            "pay": rng.lognormal(3, 1, n).round(2),
            "town": pd.Categorical(rng.choice(list("pqrst"), n)),
        }
    )
    frame.loc[rng.uniform(size=n) < 0.1, "pay"] = np.nan
    frame.loc[rng.uniform(size=n) < 0.1, "job"] = None
    return frame


FRAME = made()
Y = (
    FRAME["age"] / 10
    + (FRAME["job"] == "cook") * 2
    - FRAME["pay"].isna()
    + np.random.default_rng(1).normal(size=N) / 5
).to_numpy()
LABELS = np.array(["low", "mid", "high"])[np.digitize(Y, [4.0, 5.0])]
CODED = [1, 4]


def as_array(frame):
    return frame.astype(object).to_numpy()


def quick(**options):
    return ANNRegressor(**{**QUICK, **options})


# ------------------------------------------------------------------- forms


@pytest.mark.parametrize("standardize", SCALES)
def test_pandas_polars_and_numpy_are_equal(standardize):
    fresh = made(50, seed=2)
    expected = quick(standardize=standardize).fit(FRAME, Y)
    assert expected.is_categorical_.tolist() == [False, True, False, False, True]
    assert list(expected.feature_names_in_) == list(FRAME)
    assert expected.n_features_in_ == 5
    for form in (pl.from_pandas, pd.DataFrame.convert_dtypes):
        model = quick(standardize=standardize).fit(form(FRAME), Y)
        assert model.loss_curve_ == expected.loss_curve_
        for rows in (fresh, form(fresh)):
            np.testing.assert_array_equal(model.predict(rows), expected.predict(fresh))
    for form in (as_array, lambda frame: as_array(frame).tolist()):
        model = quick(standardize=standardize, categorical_features=CODED)
        model.fit(form(FRAME), Y)
        assert model.loss_curve_ == expected.loss_curve_
        np.testing.assert_array_equal(
            model.predict(form(fresh)), expected.predict(fresh)
        )


def test_columns_in_another_order():
    model = quick().fit(FRAME, Y)
    with pytest.raises(ValueError, match="same order"):
        model.predict(FRAME[FRAME.columns[::-1]])
    with pytest.raises(ValueError, match="missing"):
        model.predict(FRAME.drop(columns="pay"))
    with pytest.raises(ValueError, match="5 features"):
        quick(categorical_features=CODED).fit(as_array(FRAME), Y).predict(
            as_array(FRAME)[:, :4]
        )


def test_a_frame_of_numbers_alone_takes_the_old_road():
    numbers = FRAME[["age", "union"]]
    model = quick().fit(numbers, Y)
    assert model.is_categorical_ is None and model._model.design is None
    assert model.coefs_scale_ == "user"
    array = numbers.to_numpy(dtype=float)
    np.testing.assert_array_equal(
        model.predict(numbers), quick().fit(array, Y).predict(array)
    )


def test_before_the_fit_there_are_no_categories():
    assert not hasattr(ANNRegressor(), "is_categorical_")


# ------------------------------------------------------------- what is estimated


def test_without_hidden_layer_it_is_ols_on_dummies_and_gaps():
    encoder = make_column_transformer(
        (OneHotEncoder(), ["job", "town"]),
        (SimpleImputer(strategy="median", add_indicator=True), ["pay"]),
        remainder="passthrough",
    )
    ols = make_pipeline(encoder, LinearRegression()).fit(FRAME, Y)
    for standardize in (True, False):
        ours = ANNRegressor((), standardize=standardize).fit(FRAME, Y)
        # The median of an even count differs, which the indicator makes up for.
        np.testing.assert_allclose(
            ours.predict(FRAME), ols.predict(FRAME), rtol=0, atol=1e-7
        )


@pytest.mark.parametrize("standardize", SCALES)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_row_of_weight_two_is_the_row_twice(standardize, early_stopping):
    times = np.random.default_rng(3).integers(0, 4, N)
    options = {"standardize": standardize, "batch_size": "full", "max_iter": 20}
    validation = {}
    if early_stopping:
        options["early_stopping"] = True
        validation = {"X_val": made(40, seed=4), "y_val": np.linspace(3, 5, 40)}
    by_weight = quick(**options).fit(FRAME, Y, times, **validation)
    repeated = FRAME.loc[np.repeat(np.arange(N), times)]
    by_rows = quick(**options).fit(repeated, np.repeat(Y, times), **validation)
    np.testing.assert_allclose(
        by_weight.predict(FRAME), by_rows.predict(FRAME), rtol=0, atol=1e-9
    )


def test_rows_held_out_teach_no_levels_and_no_scales():
    """Rows that are held out have a level, a gap and values of their own."""
    held = np.arange(N) < 30
    frame = FRAME.assign(
        job=np.where(held, "pilot", FRAME["job"]),
        age=np.where(held, 1e6, FRAME["age"]),
        union=np.where(held, None, FRAME["union"]),
    )
    groups = np.where(held, 0, 1)
    model = quick(early_stopping=True, validation_fraction=0.5, standardize="robust")
    # One of the two groups is held out: the seed decides which.
    for seed in range(20):
        fitted = clone(model).set_params(random_state=seed)
        fitted.fit(frame, Y, groups=groups)
        if fitted.t_ == 90 * fitted.n_iter_:
            break
    design = fitted._model.design
    assert design.fill[0] < 100 and design.scaling.scale[0] < 100
    assert design.gaps.tolist() == [2]  # pay; union misses values only where held out
    pilot, gap = FRAME.iloc[:9].assign(job="pilot"), FRAME.iloc[:9].assign(job=None)
    np.testing.assert_array_equal(fitted.predict(pilot), fitted.predict(gap))


def test_rows_of_weight_zero_are_not_there():
    frame = FRAME.copy()
    frame.loc[:9, ["job", "age"]] = ["pilot", np.nan]
    weight = np.r_[np.zeros(10), np.ones(N - 10)]
    whole = quick().fit(frame, Y, weight)
    without = quick().fit(frame.iloc[10:], Y[10:])
    np.testing.assert_array_equal(whole.predict(FRAME), without.predict(FRAME))
    assert whole._model.design.n_inputs == without._model.design.n_inputs


def test_unknown_levels_are_gaps():
    model = quick().fit(FRAME, Y)
    for column in ("job", "town"):
        unknown = FRAME.assign(**{column: "elsewhere"})
        gap = FRAME.assign(**{column: None})
        np.testing.assert_array_equal(model.predict(unknown), model.predict(gap))
    # There were gaps among jobs, which is a level; towns had none, so nothing is said.
    design = model._model.design
    found = design.matrix(model._checked_X(FRAME.assign(job="?", town="?")))
    names = design.names(list(FRAME), model._coding.levels)
    assert (found[:, names.index("job_nan")] == 1).all()
    assert (found[:, [name.startswith("town") for name in names]] == 0).all()


@pytest.mark.parametrize("standardize", SCALES)
def test_numbers_that_are_missing_later_only_are_at_the_centre(standardize):
    X = FRAME[["age", "union"]].to_numpy(dtype=float)
    model = quick(standardize=standardize, early_stopping=True)
    weight = np.random.default_rng(0).uniform(1, 2, N)
    model.fit(X, Y, weight, X_val=np.where(X == 1, np.nan, X), y_val=Y)
    gap = np.array([[np.nan, 1.0]])
    assert np.isfinite(model.validation_scores_).all()
    if standardize == "robust":
        order = np.argsort(X[:, 0])
        share = np.cumsum(weight[order]) / weight.sum()
        centre = X[order[np.searchsorted(share, 0.5)], 0]
    else:
        centre = np.average(X[:, 0], weights=weight)
    np.testing.assert_allclose(model.predict(gap), model.predict([[centre, 1.0]]))


@pytest.mark.parametrize("standardize", [True, "standard"])
def test_standard_is_true(standardize):
    X = FRAME[["age", "union"]].to_numpy(dtype=float)
    found = quick(standardize=standardize).fit(X, Y).predict(X)
    np.testing.assert_array_equal(found, quick().fit(X, Y).predict(X))


def test_robust_scales_survive_an_outlier():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1))
    y = np.sin(2 * x[:, 0])
    x[0] = 1e6
    options = {"hidden_layer_sizes": 8, "solver": "lbfgs", "random_state": 0}
    scores = {
        standardize: ANNRegressor(**options, standardize=standardize)
        .fit(x, y)
        .score(x[1:], y[1:])
        for standardize in ("robust", "standard")
    }
    assert scores["robust"] > 0.9 > 0.2 > scores["standard"]


def test_robust_scales_of_sparse_columns_are_the_standard_ones():
    X = sp.random_array((N, 6), density=0.4, rng=np.random.default_rng(0)).tocsr()
    robust = quick(standardize="robust").fit(X, Y)
    np.testing.assert_array_equal(robust.predict(X), quick().fit(X, Y).predict(X))
    # A design learned from dense rows takes sparse ones.
    dense = quick(standardize="robust").fit(X.toarray(), Y)
    np.testing.assert_array_equal(dense.predict(X), dense.predict(X.toarray()))


# ------------------------------------------------------------- units of the weights


@pytest.mark.parametrize(
    "table, options",
    [
        (FRAME, {}),
        (FRAME[["age", "pay"]], {}),
        (FRAME[["age", "union"]], {"standardize": "robust"}),
    ],
    ids=["categories", "gaps", "soft clip"],
)
def test_what_is_no_change_of_units_is_not_folded(table, options):
    model = quick(linear_skip=True, **options).fit(table, Y)
    assert model.coefs_scale_ == "network"
    inputs = model._model.design.n_inputs
    assert model.coefs_[0].shape == (inputs, 5)
    assert model.skip_coef_.shape == (inputs, 1)
    line = ANNRegressor((), **options).fit(table, Y)
    with pytest.raises(AttributeError, match="other columns of those of X"):
        line.coef_  # noqa: B018
    # Given back as a start, the weights predict as before.
    again = clone(model).set_params(max_iter=1, learning_rate_init=1e-300)
    again.set_params(linear_skip=False)
    plain = clone(again).set_params(max_iter=5, learning_rate_init=1e-3).fit(table, Y)
    again.fit(table, Y, coefs_init=plain.coefs_, intercepts_init=plain.intercepts_)
    np.testing.assert_allclose(again.predict(table), plain.predict(table), rtol=1e-9)


# ------------------------------------------------------------- every kind of target

COUNTS = np.floor(np.exp(Y - Y.min()).clip(max=30))
TARGETS = {
    "squared error": (ANNRegressor, {}, Y),
    "several outputs": (ANNRegressor, {}, np.column_stack([Y, -Y])),
    "quantile": (ANNRegressor, {"loss": "quantile", "quantile": 0.3}, Y),
    "quantiles": (ANNRegressor, {"loss": "quantile", "quantile": [0.2, 0.8]}, Y),
    "absolute error": (ANNRegressor, {"loss": "absolute_error"}, Y),
    "huber": (ANNRegressor, {"loss": "huber"}, Y),
    "counts": (ANNRegressor, {"loss": "poisson"}, COUNTS),
    "gamma": (ANNRegressor, {"loss": "gamma"}, COUNTS + 1),
    "two classes": (ANNClassifier, {}, Y > 4),
    "three classes": (ANNClassifier, {}, LABELS),
    "class weights": (ANNClassifier, {"class_weight": "balanced"}, LABELS),
    "several labels": (ANNClassifier, {}, np.column_stack([Y > 4, Y > 5]).astype(int)),
}


@pytest.mark.parametrize("solver", ["adamw", "lbfgs"])
@pytest.mark.parametrize("name", TARGETS)
def test_every_target_takes_the_same_road(name, solver):
    """With weights: as from a table that has been encoded before."""
    Estimator, options, y = TARGETS[name]
    weight = np.random.default_rng(5).uniform(0.5, 2, N)
    options = {**QUICK, **options, "solver": solver, "max_iter": 15}
    ours = Estimator(**options).fit(FRAME, y, weight)
    design = ours._model.design
    encoded = design.matrix(ours._checked_X(FRAME))
    plain = Estimator(**{**options, "standardize": False})
    if ours._model.targets is not None:  # standardize=False is for targets, too
        scaling = ours._model.targets
        np.testing.assert_allclose(
            scaling.mean, np.average(y.reshape(N, -1), axis=0, weights=weight)
        )
        y = (y.reshape(N, -1) - scaling.mean) / scaling.scale
        y = y[:, 0] if y.shape[1] == 1 else y
    plain.fit(encoded, y, weight)
    np.testing.assert_allclose(ours.loss_curve_, plain.loss_curve_, rtol=1e-8)
    assert len(set(ours.loss_curve_)) > 5  # it learned
    method = "predict" if Estimator is ANNRegressor else "predict_proba"
    found, expected = getattr(ours, method)(FRAME), getattr(plain, method)(encoded)
    if ours._model.targets is not None:
        scaling = ours._model.targets
        expected = expected * scaling.scale + scaling.mean
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert np.isfinite(found).all()
    ours.score(FRAME, y if Estimator is ANNClassifier else TARGETS[name][2], weight)


@pytest.mark.parametrize("device_batch", [16, "full"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_blocks_expand_as_the_whole_table(device_batch, shuffle):
    options = {"batch_size": device_batch, "shuffle": shuffle, "dropout": 0.2}
    ours = quick(**options, standardize=False).fit(FRAME, Y)
    encoded = ours._model.design.matrix(ours._checked_X(FRAME))
    plain = quick(**options, standardize=False).fit(encoded, Y)
    np.testing.assert_allclose(ours.loss_curve_, plain.loss_curve_, rtol=1e-12)


# ------------------------------------------------------------- in company


def test_validation_data_and_scorers_see_the_table():
    fresh = made(60, seed=7)
    y = np.linspace(2, 6, 60)
    options = {"early_stopping": True, "max_iter": 8}
    by_loss = quick(**options).fit(FRAME, Y, X_val=fresh, y_val=y)
    by_score = quick(**options, scoring="neg_mean_squared_error")
    by_score.fit(FRAME, Y, X_val=fresh, y_val=y)
    scale = by_loss._model.targets.scale[0] ** 2
    np.testing.assert_allclose(
        by_score.validation_scores_,
        np.array(by_loss.validation_scores_) * 2 * scale,
        rtol=1e-8,
    )
    encoded = pl.from_pandas(fresh)
    again = quick(**options).fit(FRAME, Y, X_val=encoded, y_val=y)
    assert again.validation_scores_ == by_loss.validation_scores_


@dataclass(eq=False)
class Predictor(Quiet):
    """A callback that keeps what every fitted estimator says of the rows it is told."""

    tables: list = field(default_factory=list)
    predictions: list = field(default_factory=list)

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, fitted_estimator=None
    ):
        self.tables.append(X)
        self.predictions.append(fitted_estimator.predict(X))


def test_callbacks_see_the_table():
    seen = Predictor()
    model = quick().set_callbacks(seen).fit(FRAME, Y)
    assert list(seen.tables[0]["job"].dropna().unique()) == list(
        FRAME["job"].dropna().unique()
    )
    np.testing.assert_array_equal(seen.predictions[-1], model.predict(FRAME))


@pytest.mark.parametrize("options", [{}, {"warm_start": True}, {"n_estimators": 2}])
def test_pickle_clone_and_refit(options):
    model = quick(**options, standardize="robust").fit(FRAME, Y)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(FRAME), model.predict(FRAME))
    again = clone(model).fit(FRAME, Y)
    np.testing.assert_array_equal(again.predict(FRAME), model.predict(FRAME))
    assert len(pickle.dumps(model)) < 150_000


def test_ten_epochs_and_ten_more_are_twenty():
    twice = quick(max_iter=10, warm_start=True).fit(FRAME, Y).fit(FRAME, Y)
    once = quick(max_iter=20).fit(FRAME, Y)
    np.testing.assert_array_equal(twice.predict(FRAME), once.predict(FRAME))


def test_partial_fit_keeps_the_levels_of_the_first_batch():
    first, later = FRAME.iloc[:60].copy(), FRAME.iloc[60:].copy()
    first["town"] = first["town"].astype(object).replace("t", "p")
    model = quick().partial_fit(first, Y[:60])
    names = model._model.design.names(list(FRAME), model._coding.levels)
    model.partial_fit(later, Y[60:])  # has a town t
    assert names == model._model.design.names(list(FRAME), model._coding.levels)
    assert "town_s" in names and "town_t" not in names
    t, gap = FRAME.assign(town="t"), FRAME.assign(town=None)
    np.testing.assert_array_equal(model.predict(t), model.predict(gap))


def test_members_share_their_table():
    model = quick(n_estimators=3, early_stopping=True).fit(FRAME, Y)
    designs = {id(member._model.design) for member in model.estimators_}
    assert len(designs) == 1
    found = np.mean([member.predict(FRAME) for member in model.estimators_], axis=0)
    np.testing.assert_allclose(model.predict(FRAME), found, rtol=1e-12)
    members = quick(n_estimators=2, warm_start=True).fit(FRAME, Y)
    assert np.isfinite(members.fit(FRAME, Y).predict(FRAME)).all()


GRID = {
    "standardize": [True, "robust", False],
    "categorical_features": ["from_dtype", ["job", "town", "union"]],
}


def test_searches_alone_and_batched_agree():
    search = GridSearchCV(quick(), GRID, cv=3).fit(FRAME, Y)
    with batched_fits():
        batched = GridSearchCV(quick(), GRID, cv=3).fit(FRAME, Y)
    assert search.best_params_ == batched.best_params_
    for key in ("split0_test_score", "split1_test_score", "split2_test_score"):
        np.testing.assert_allclose(
            batched.cv_results_[key], search.cv_results_[key], rtol=0, atol=1e-8
        )


def test_equal_tables_are_stored_once(monkeypatch):
    """Candidates of one fold have one compact table in their stack."""
    from sklearn_ann import coordinating, fitting

    stacks = []
    inner = fitting.train_stack

    def noted(requests, *rest):
        stacks.append({id(request.fit.x) for request in requests})
        return inner(requests, *rest)

    for module in (fitting, coordinating):
        if hasattr(module, "train_stack"):
            monkeypatch.setattr(module, "train_stack", noted)
    grid = {"alpha": [0.1, 1.0, 10.0], "learning_rate_init": [0.01, 0.02]}
    with batched_fits():
        GridSearchCV(quick(), grid, cv=2, refit=False).fit(FRAME, Y)
    assert len(set.union(*stacks)) == 2  # folds


@pytest.mark.parametrize("kind", ["pairs", "bayesian"])
@pytest.mark.parametrize("standardize", SCALES)
def test_bootstrap_replicates_are_weighted_fits(kind, standardize):
    network = quick(standardize=standardize)
    found = bootstrap_fits(network, FRAME, Y, 3, kind=kind, random_state=0)
    for replicate, weight, seed in zip(found, found.weights, found.seeds, strict=True):
        alone = clone(network).set_params(random_state=int(seed))
        alone.fit(FRAME, Y, sample_weight=weight)
        np.testing.assert_allclose(
            replicate.predict(FRAME), alone.predict(FRAME), rtol=1e-8
        )
    assert found.predict(FRAME).shape == (3, N)


def test_bootstrap_of_gaps_without_scales():
    """Some replicates draw the rows with gaps, others do not."""
    X = FRAME[["age"]].to_numpy().copy()
    X[0] = np.nan
    network = quick(standardize=False)
    found = bootstrap_fits(network, X, Y, 8, random_state=0)
    designs = [replicate._model.design is None for replicate in found]
    assert any(designs) and not all(designs)
    for replicate, weight, seed in zip(found, found.weights, found.seeds, strict=True):
        alone = clone(network).set_params(random_state=int(seed))
        alone.fit(X, Y, sample_weight=weight)
        np.testing.assert_allclose(replicate.predict(X), alone.predict(X), rtol=1e-8)


def test_within_others():
    y = LABELS == "low"
    network = ANNClassifier(**QUICK)
    for model in (
        CalibratedClassifierCV(network, cv=2),
        BaggingClassifier(network, 2, random_state=0),
        make_pipeline("passthrough", network),
    ):
        # Bagging makes arrays of tables, so it is told which columns are categories.
        if isinstance(model, BaggingClassifier):
            model.set_params(estimator__categorical_features=CODED)
            proba = model.fit(as_array(FRAME), y).predict_proba(as_array(FRAME))
        else:
            proba = model.fit(FRAME, y).predict_proba(FRAME)
        assert np.isfinite(proba).all() and len(np.unique(proba)) > 10
    assert np.isfinite(cross_val_score(network, FRAME, LABELS, cv=3)).all()


def test_the_engine_gets_codes():
    """Not one-hot columns: a table of (n, numbers + gaps + categories + 1)."""
    model = quick()
    X, y = model._check(FRAME, Y, reset=True)
    (fit,) = assemble(model, X, y, None).fits
    assert not isinstance(fit.x, SparseRows)
    assert fit.x.shape == (N, 3 + 1 + 2 + 1)
    assert fit.expansion.levels == (4, 5)


def test_the_page_on_tables_runs():
    page = Path(__file__).parents[1] / "docs" / "tables.md"
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S):
        exec(compile(code, page.name, "exec"), names)
    assert names["line"].is_categorical_.tolist() == [False, True, False]
