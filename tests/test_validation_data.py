"""Early stopping: which rows it watches, what it keeps, and how own data reach it."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import log_loss, mean_absolute_error
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from textbook import TEXTBOOK

from sklearn_ann import ANNClassifier, ANNRegressor, jobs
from sklearn_ann.assembly import checked_rows, split_off
from sklearn_ann.resampling import hold_out

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore::sklearn.exceptions.ConvergenceWarning"
)
QUICK = TEXTBOOK | {
    "hidden_layer_sizes": 4,
    "max_iter": 4,
    "tol": 0.0,
    "random_state": 0,
    "validation_fraction": 0.1,
}
STOPPED = {**QUICK, "early_stopping": True}
# Overfits quickly: the validation score falls again.
WILD = STOPPED | {
    "hidden_layer_sizes": 30,
    "solver": "adam",
    "learning_rate_init": 0.05,
    "max_iter": 40,
}


def data(n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, np.sin(X[:, 0]) + X[:, 1] + rng.normal(size=n)


def classes(y):
    return np.array(["low", "high"])[(y > 0).astype(int)]


@pytest.fixture
def seen(monkeypatch):
    """The rows that fits trained on and were validated on, fit by fit."""
    found, divided = [], jobs._validating

    def watched(*args):
        found.append(divided(*args))
        return found[-1]

    monkeypatch.setattr(jobs, "_validating", watched)
    return found


# ------------------------------------------------------------- rows held out


@pytest.mark.parametrize("fraction, n_held", [(0.1, 8), (0.25, 20), (0.501, 41)])
def test_a_fraction_of_the_rows_is_held_out(seen, fraction, n_held):
    X, y = data()
    model = ANNRegressor(**STOPPED | {"validation_fraction": fraction})
    model.fit(X, y)
    ((train, held),) = seen
    assert len(held.index) == n_held
    together = np.sort(np.concatenate([train.index, held.index]))
    np.testing.assert_array_equal(together, np.arange(80))
    assert model.t_ == model.n_iter_ * (80 - n_held)


def test_held_out_rows_do_not_touch_the_fit(seen):
    X, y = data()
    model = ANNRegressor(**STOPPED).fit(X, y)
    ((_, held),) = seen
    changed_X, changed_y = X.copy(), y.copy()
    changed_X[held.index] *= 100.0
    changed_y[held.index] += 100.0
    again = clone(model).fit(changed_X, changed_y)
    np.testing.assert_array_equal(model.loss_curve_, again.loss_curve_)
    assert model.validation_scores_ != again.validation_scores_


def test_rows_held_out_follow_random_state(seen):
    X, y = data()
    for seed in (0, 0, 1):
        ANNRegressor(**STOPPED | {"random_state": seed}).fit(X, y)
    first, same, other = (held.index for _, held in seen)
    np.testing.assert_array_equal(first, same)
    assert set(first) != set(other)


def test_rows_of_weight_zero_are_not_held_out(seen):
    X, y = data()
    weight = np.repeat([0.0, 1.0], 40)
    ANNRegressor(**STOPPED).fit(X, y, sample_weight=weight)
    ((train, held),) = seen
    assert train.index.min() >= 40 and held.index.min() >= 40
    assert len(held.index) == 4


def test_classes_keep_their_shares():
    labels = np.repeat(["a", "b", "c"], [100, 60, 40])
    for seed in range(5):
        train, held = hold_out(np.arange(200), 0.1, seed, labels)
        assert np.unique(labels[held], return_counts=True)[1].tolist() == [10, 6, 4]
        assert np.unique(labels[train], return_counts=True)[1].tolist() == [90, 54, 36]


def test_the_classifier_stratifies_and_the_regressor_does_not():
    y = np.repeat([0, 1], [90, 10])
    X = np.random.default_rng(0).normal(size=(100, 2))
    counts = {ANNClassifier: set(), ANNRegressor: set()}
    for Estimator, found in counts.items():
        for seed in range(8):
            model = Estimator((), random_state=seed, early_stopping=True)
            target = model._learn_target(y, None)
            rows = checked_rows(X, y, None, target)
            _, held = split_off(rows, 0.2, seed, target, None)
            found.add(int(y[held.index].sum()))
    assert counts[ANNClassifier] == {2}
    assert len(counts[ANNRegressor]) > 1


def test_a_class_too_rare_to_stratify_is_no_obstacle():
    X, y = data()
    labels = np.where(np.arange(80) == 7, "rare", classes(y))
    model = ANNClassifier(**STOPPED).fit(X, labels)
    assert "rare" in model.classes_


def test_groups_are_held_out_as_a_whole(seen):
    X, y = data()
    groups = np.repeat([f"firm {i}" for i in range(20)], 4)
    for seed in range(5):
        model = ANNRegressor(**STOPPED | {"random_state": seed})
        model.fit(X, y, groups=groups)
    for train, held in seen:
        assert len(held.index) == 8  # a tenth of the groups
        assert not set(groups[train.index]) & set(groups[held.index])


# ------------------------------------------------------- best weights, scoring


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "lbfgs"])
def test_the_best_weights_are_restored(solver):
    X, y = data()
    rate = 0.2 if solver == "sgd" else 0.05
    options = {**WILD, "solver": solver, "learning_rate_init": rate}
    model = ANNRegressor(**options).fit(X, y)
    best = int(np.argmax(model.validation_scores_))
    assert best + 1 < model.n_iter_
    assert model.best_validation_score_ == model.validation_scores_[best]
    short = clone(model).set_params(max_iter=best + 1).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), short.predict(X))


def test_patience():
    X, y = data()
    model = ANNRegressor(**WILD | {"n_iter_no_change": 3}).fit(X, y)
    best = int(np.argmax(model.validation_scores_))
    assert model.status_ == "converged"
    assert model.n_iter_ == best + 1 + 3 + 1


def scorer_mae(estimator, X, y):
    return -mean_absolute_error(y, estimator.predict(X))


@pytest.mark.parametrize(
    "scoring, expected",
    [
        ("loss", lambda m, X, y: -np.mean((y - m.predict(X)) ** 2) / 2),
        (None, lambda m, X, y: m.score(X, y)),
        ("r2", lambda m, X, y: m.score(X, y)),
        (scorer_mae, scorer_mae),
    ],
    ids=["loss", "None", "r2", "callable"],
)
def test_what_early_stopping_watches(scoring, expected):
    X, y = data()
    X_val, y_val = data(40, seed=1)
    model = ANNRegressor(
        **WILD | {"standardize": False}, scoring=scoring, dtype="float64"
    )
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert model.best_validation_score_ == max(model.validation_scores_)
    # The model is the one of the best epoch.
    assert model.best_validation_score_ == pytest.approx(
        expected(model, X_val, y_val), abs=1e-10
    )


@pytest.mark.parametrize(
    "scoring, expected",
    [
        ("loss", lambda m, X, y: -log_loss(y, m.predict_proba(X))),
        (None, lambda m, X, y: m.score(X, y)),
        ("neg_log_loss", lambda m, X, y: -log_loss(y, m.predict_proba(X))),
        ("accuracy", lambda m, X, y: m.score(X, y)),
    ],
)
def test_what_early_stopping_of_a_classifier_watches(scoring, expected):
    X, y = data()
    X_val, y_val = data(40, seed=1)
    model = ANNClassifier(**WILD, scoring=scoring, dtype="float64")
    model.fit(X, classes(y), X_val=X_val, y_val=classes(y_val))
    assert model.best_validation_score_ == pytest.approx(
        expected(model, X_val, classes(y_val)), abs=1e-10
    )


@pytest.mark.parametrize("scoring", ["loss", "r2"])
def test_validation_weights(scoring):
    """A weight of three is a validation row written three times."""
    X, y = data()
    X_val, y_val = data(30, seed=1)
    weight = np.random.default_rng(2).integers(0, 4, 30)
    model = ANNRegressor(**STOPPED, scoring=scoring, dtype="float64")
    weighted = clone(model).fit(
        X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight
    )
    repeated = clone(model).fit(
        X, y, X_val=np.repeat(X_val, weight, 0), y_val=np.repeat(y_val, weight)
    )
    np.testing.assert_allclose(
        weighted.validation_scores_, repeated.validation_scores_, rtol=1e-10
    )
    plain = clone(model).fit(X, y, X_val=X_val, y_val=y_val)
    assert not np.allclose(plain.validation_scores_, weighted.validation_scores_)


def test_held_out_rows_keep_their_weights(seen):
    X, y = data()
    weight = np.random.default_rng(2).uniform(0.5, 2.0, 80)
    model = ANNRegressor(**WILD, dtype="float64").fit(X, y, sample_weight=weight)
    ((_, held),) = seen
    rows = held.index
    scale = model._model.targets.scale[0] ** 2  # the loss is of standardised targets
    loss = np.average((y - model.predict(X))[rows] ** 2, weights=weight[rows])
    assert model.best_validation_score_ == pytest.approx(-loss / scale / 2)


# ------------------------------------------------------------- own validation data


@pytest.mark.parametrize("early_stopping", [False, True])
def test_with_own_validation_data_nothing_is_held_out(seen, early_stopping):
    X, y = data()
    X_val, y_val = data(30, seed=1)
    model = ANNRegressor(**QUICK | {"early_stopping": early_stopping})
    model.fit(X, y, X_val=X_val, y_val=y_val)
    ((train, held),) = seen
    np.testing.assert_array_equal(train.index, np.arange(80))
    np.testing.assert_array_equal(held.X, X_val)
    assert len(model.validation_scores_) == model.n_iter_


def test_without_early_stopping_own_validation_data_are_only_watched():
    X, y = data()
    X_val, y_val = data(40, seed=1)
    options = {**WILD, "early_stopping": False, "learning_rate_init": 0.01}
    model = ANNRegressor(**{**options, "max_iter": 100})
    watched = clone(model).fit(X, y, X_val=X_val, y_val=y_val)
    plain = clone(model).fit(X, y)
    np.testing.assert_array_equal(watched.predict(X), plain.predict(X))
    assert watched.n_iter_ == len(watched.validation_scores_)
    assert watched.best_validation_score_ == max(watched.validation_scores_)
    assert plain.validation_scores_ is None
    stopped = clone(model).set_params(early_stopping=True)
    stopped.fit(X, y, X_val=X_val, y_val=y_val)
    assert stopped.n_iter_ < watched.n_iter_


def test_own_validation_data_are_on_the_scale_of_training():
    """They are scaled by the training rows' means, not their own."""
    X, y = data()
    X_val, y_val = data(30, seed=1)
    model = ANNRegressor(**WILD, dtype="float64", scoring="r2")
    model.fit(X, y, X_val=X_val + 5.0, y_val=y_val)
    score = model.score(X_val + 5.0, y_val)
    assert model.best_validation_score_ == pytest.approx(score, abs=1e-10)


def test_own_validation_data_may_lack_a_class():
    X, y = data()
    model = ANNClassifier(**STOPPED)
    model.fit(X, classes(y), X_val=X[:3], y_val=["low", "low", "low"])
    assert np.isfinite(model.validation_scores_).all()


# ------------------------------------------------------------- metadata routing


@pytest.fixture
def routing():
    with config_context(enable_metadata_routing=True):
        yield


def routed_pipeline(model):
    """Scaler and network; X_val goes through the scaler as well."""
    scaler = StandardScaler()
    with config_context(enable_metadata_routing=True):
        scaler.set_fit_request(sample_weight=False)
    return Pipeline([("scale", scaler), ("network", model)], transform_input=["X_val"])


def routed(**options):
    model = ANNRegressor(**STOPPED | {"standardize": False}, **options)
    return model.set_fit_request(X_val=True, y_val=True)


def scaled(X, X_val):
    return StandardScaler().fit(X).transform(X_val)


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: (a,)], ids=["naive", "tuple"])
@pytest.mark.parametrize("n_val", [30, 80])
def test_a_pipeline_transforms_validation_data(routing, seen, wrap, n_val):
    X, y = data()
    X_val, y_val = data(n_val, seed=1)
    model = routed_pipeline(routed())
    model.fit(X, y, X_val=wrap(X_val), y_val=wrap(y_val))
    ((_, held),) = seen
    np.testing.assert_allclose(held.X, scaled(X, X_val))
    np.testing.assert_array_equal(held.labels, y_val)


def test_without_transform_input_they_are_not_transformed(routing, seen):
    """The scaler of the test above is needed."""
    X, y = data()
    X_val, y_val = data(30, seed=1)
    pipeline = make_pipeline(StandardScaler(), routed())
    pipeline.fit(X, y, X_val=X_val, y_val=y_val)
    np.testing.assert_array_equal(seen[0][1].X, X_val)


GRID = {"alpha": [0.1, 1.0]}
PIPELINE_GRID = {"network__alpha": [0.1, 1.0]}


def search(model, grid, **options):
    return GridSearchCV(model, grid, cv=KFold(4), error_score="raise", **options)


def assert_intact(seen, X, y, X_val, y_val, *, through_pipeline):
    """Each of 2 x 4 fits and the refit saw all validation rows."""
    assert len(seen) == 9
    folds = [train for train, _ in KFold(4).split(X)]
    expected = [f for _ in GRID["alpha"] for f in folds] + [np.arange(len(X))]
    for (train, held), rows in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(train.labels, y[rows])
        np.testing.assert_array_equal(held.labels, y_val)
        wanted = scaled(X[rows], X_val) if through_pipeline else X_val
        np.testing.assert_allclose(held.X, wanted)


@pytest.mark.parametrize("n_val", [30, 80])
@pytest.mark.parametrize("through_pipeline", [False, True])
def test_in_a_tuple_a_search_leaves_them_alone(routing, seen, n_val, through_pipeline):
    X, y = data()
    X_val, y_val = data(n_val, seed=1)
    model = routed_pipeline(routed()) if through_pipeline else routed()
    grid = PIPELINE_GRID if through_pipeline else GRID
    search(model, grid).fit(X, y, X_val=(X_val,), y_val=(y_val,))
    assert_intact(seen, X, y, X_val, y_val, through_pipeline=through_pipeline)


@pytest.mark.parametrize("n_val", [30, 80])
def test_in_a_tuple_without_routing(seen, n_val):
    """A search hands fit parameters on as well where routing is off."""
    X, y = data()
    X_val, y_val = data(n_val, seed=1)
    model = ANNRegressor(**STOPPED)
    search(model, GRID).fit(X, y, X_val=(X_val,), y_val=(y_val,))
    assert_intact(seen, X, y, X_val, y_val, through_pipeline=False)


@pytest.mark.parametrize(
    "with_routing, through_pipeline", [(False, False), (True, False), (True, True)]
)
def test_the_trap_that_the_tuple_avoids(seen, with_routing, through_pipeline):
    """Bare validation data as long as X lose rows in a search, without a word.

    Not ours to mend: the search slices every fit parameter of X's length before the
    estimator sees it. When this fails, scikit-learn has changed, and the advice in
    the docstring of fit can go.
    """
    X, y = data()
    X_val, y_val = data(80, seed=1)
    with config_context(enable_metadata_routing=with_routing):
        model = ANNRegressor(**STOPPED | {"standardize": False})
        if with_routing:
            model = model.set_fit_request(X_val=True, y_val=True)
        grid = GRID
        if through_pipeline:
            model, grid = routed_pipeline(model), PIPELINE_GRID
        search(model, grid).fit(X, y, X_val=X_val, y_val=y_val)
    lengths = [len(held.labels) for _, held in seen]
    assert lengths == 8 * [60] + [80]


def test_bare_validation_data_of_another_length_are_safe(routing, seen):
    X, y = data()
    X_val, y_val = data(30, seed=1)
    search(routed(), GRID).fit(X, y, X_val=X_val, y_val=y_val)
    assert_intact(seen, X, y, X_val, y_val, through_pipeline=False)


def test_the_result_of_a_search_is_that_of_single_fits(routing):
    X, y = data()
    X_val, y_val = data(80, seed=1)
    model = ANNRegressor(**WILD).set_fit_request(X_val=True, y_val=True)
    found = search(model, GRID).fit(X, y, X_val=(X_val,), y_val=(y_val,))
    for i, alpha in enumerate(GRID["alpha"]):
        for j, (train, test) in enumerate(KFold(4).split(X)):
            single = clone(model).set_params(alpha=alpha)
            single.fit(X[train], y[train], X_val=X_val, y_val=y_val)
            score = found.cv_results_[f"split{j}_test_score"][i]
            assert score == single.score(X[test], y[test])


def test_weights_are_routed(routing, seen):
    X, y = data()
    weight = np.random.default_rng(2).uniform(0.5, 2.0, 80)
    weight_val = np.random.default_rng(3).uniform(0.5, 2.0, 80)
    X_val, y_val = data(80, seed=1)
    model = routed().set_fit_request(sample_weight=True, sample_weight_val=True)
    model = model.set_score_request(sample_weight=True)
    search(routed_pipeline(model), PIPELINE_GRID).fit(
        X,
        y,
        sample_weight=weight,
        X_val=(X_val,),
        y_val=(y_val,),
        sample_weight_val=(weight_val,),
    )
    folds = [train for train, _ in KFold(4).split(X)]
    expected = [f for _ in GRID["alpha"] for f in folds] + [np.arange(80)]
    for (train, held), rows in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(train.weight, weight[rows])
        np.testing.assert_array_equal(held.weight, weight_val)


@pytest.mark.parametrize("scoring", ["loss", None, "r2"])
def test_scores_are_weighted_under_routing(routing, scoring):
    X, y = data()
    X_val, y_val = data(30, seed=1)
    weight = np.linspace(0.1, 2.0, 30)
    model = ANNRegressor(**WILD, scoring=scoring)
    options = {"X_val": X_val, "y_val": y_val, "sample_weight_val": weight}
    under = clone(model).fit(X, y, **options)
    with config_context(enable_metadata_routing=False):
        without = clone(model).fit(X, y, **options)
    assert under.validation_scores_ == without.validation_scores_


def test_groups_are_routed_to_splitter_and_network(routing, seen):
    X, y = data()
    groups = np.repeat(np.arange(20), 4)
    model = ANNRegressor(**STOPPED).set_fit_request(groups=True)
    found = GridSearchCV(model, GRID, cv=GroupKFold(4), error_score="raise")
    found.fit(X, y, groups=groups)
    assert len(seen) == 9
    group_of = dict(zip(y, groups, strict=True))
    for train, held in seen:
        ours = {group_of[v] for v in train.labels[train.index]}
        theirs = {group_of[v] for v in held.labels[held.index]}
        assert theirs and not ours & theirs
    assert len(seen[0][0].labels) == 60


def test_nothing_is_routed_unasked(routing):
    X, y = data()
    with pytest.raises(ValueError, match="X_val"):
        search(ANNRegressor(**QUICK), GRID).fit(X, y, X_val=(X,), y_val=(y,))
