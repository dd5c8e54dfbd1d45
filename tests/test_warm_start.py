"""Going on where a fit stopped: warm_start, partial_fit, and searches over epochs."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV
from sklearn.neural_network import MLPRegressor
from states import described

from sklearn_ann import ANNClassifier, ANNRegressor

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
STEPPERS = ["sgd", "adam", "adamw"]
SOLVERS = [*STEPPERS, "lbfgs"]
QUICK = {
    "hidden_layer_sizes": (6, 4),
    "batch_size": 16,
    "tol": 0.0,
    "n_iter_no_change": 1000,
    "random_state": 0,
    "early_stopping": False,
}
# The same network, stopped early: no ensemble.
STOPPED = {
    "early_stopping": True,
    "n_estimators": 1,
    "linear_skip": False,
    "numeric_embedding": None,
    "standardize": True,
    "dropout": 0.0,
    "alpha": 1e-4,
    "learning_rate": "constant",
}
# What a fit is told apart by, beside its weights; not its duration.
RECORDS = ["loss_curve_", "learning_rates_", "validation_scores_", "n_iter_", "t_"]


def data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, np.sin(X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=n)


def target(model, y):
    return y if isinstance(model, ANNRegressor) else np.digitize(y, [-0.5, 0.5])


def assert_same_fit(model, other):
    """Weights, memory and record, bit for bit."""
    for array, twin in zip(model.coefs_, other.coefs_, strict=True):
        np.testing.assert_array_equal(array, twin)
    for array, twin in zip(model.intercepts_, other.intercepts_, strict=True):
        np.testing.assert_array_equal(array, twin)
    for name in RECORDS:
        assert getattr(model, name) == getattr(other, name), name
    np.testing.assert_array_equal(model.gradient_norms_, other.gradient_norms_)
    assert described(model._memory) == described(other._memory)


def through_pickle(model):
    return pickle.loads(pickle.dumps(model))


# ------------------------------------------------------------------- warm_start

VARIANTS = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "early stopping": STOPPED,
    "scorer": {**STOPPED, "scoring": None},
    "invscaling": {"learning_rate": "invscaling"},
    # Patience runs out all the time: the rate falls between the calls as well.
    "adaptive": {
        "learning_rate": "adaptive",
        "learning_rate_init": 0.1,
        "tol": 10.0,
        "n_iter_no_change": 2,
    },
    "nesterov off": {"nesterovs_momentum": False},
    "l1": {"l1_ratio": 0.5, "alpha": 1.0},
    "clipped": {"max_grad_norm": 0.1},
    "skip": {"linear_skip": True},
    "in order": {"shuffle": False},
    "full batch": {"batch_size": "full"},
    "restarts": {"n_init": 3},
}
BY_LBFGS = ["plain", "early stopping", "scorer", "skip", "restarts"]
CASES = [(s, v) for s in STEPPERS for v in VARIANTS] + [("lbfgs", v) for v in BY_LBFGS]


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver, variant", CASES)
def test_ten_and_ten_epochs_are_twenty(solver, variant, dtype, Estimator):
    X, y = data()
    options = {**QUICK, "solver": solver, "dtype": dtype, **VARIANTS[variant]}
    warm = Estimator(**options, warm_start=True, max_iter=10)
    y = target(warm, y)
    first = through_pickle(warm.fit(X, y).fit(X, y))
    if variant == "restarts":
        # The best after ten epochs goes on: which that is may change in twenty.
        assert first.n_iter_ == 20
        return
    straight = clone(warm).set_params(max_iter=20).fit(X, y)
    assert straight.n_iter_ == 20
    assert_same_fit(first, straight)


@pytest.mark.parametrize("solver", SOLVERS)
def test_through_a_pickle_in_between(solver):
    X, y = data()
    options = {**QUICK, "solver": solver, "warm_start": True, "max_iter": 10}
    if solver != "lbfgs":
        options["dropout"] = 0.3
    model = through_pickle(ANNRegressor(**options).fit(X, y))
    model = through_pickle(model.fit(X, y))
    assert_same_fit(model, ANNRegressor(**{**options, "max_iter": 20}).fit(X, y))


def test_with_weights_and_own_validation_data():
    X, y = data()
    X_val, y_val = data(30, seed=1)
    given = {
        "sample_weight": np.random.default_rng(0).integers(0, 3, 60),
        "X_val": X_val,
        "y_val": y_val,
    }
    model = ANNRegressor(**QUICK | STOPPED, warm_start=True, max_iter=10)
    straight = clone(model).set_params(max_iter=20).fit(X, y, **given)
    assert_same_fit(model.fit(X, y, **given).fit(X, y, **given), straight)


def test_the_regression_without_hidden_layer():
    """The steps of a convex problem go on as well; its end is exact anyway."""
    X, y = data()
    options = {**QUICK, "hidden_layer_sizes": (), "warm_start": True}
    adam = ANNRegressor(**options, solver="adam", max_iter=10)
    straight = clone(adam).set_params(max_iter=20).fit(X, y)
    assert_same_fit(adam.fit(X, y).fit(X, y), straight)
    exact = ANNRegressor((), warm_start=True).fit(X, y)
    coef = exact.coef_
    np.testing.assert_allclose(exact.fit(X, y).coef_, coef, rtol=1e-12)


def test_random_state_matters_once():
    """The seed of the first call decides; a generator is not drawn from again."""
    X, y = data()
    generator = np.random.RandomState(5)
    options = {**QUICK, "warm_start": True, "dropout": 0.3}
    model = ANNRegressor(**{**options, "random_state": generator}, max_iter=10)
    model.fit(X, y).fit(X, y)
    straight = ANNRegressor(
        **{**options, "random_state": np.random.RandomState(5)}, max_iter=20
    )
    assert_same_fit(model, straight.fit(X, y))


def test_cold_by_default():
    X, y = data()
    model = ANNRegressor(**QUICK, max_iter=5)
    first = model.fit(X, y).predict(X)
    np.testing.assert_array_equal(model.fit(X, y).predict(X), first)
    assert model.n_iter_ == 5


def test_n_iter_counts_on():
    X, y = data()
    model = ANNRegressor(**QUICK, max_iter=5, warm_start=True)
    for calls in (1, 2, 3):
        model.fit(X, y)
        assert model.n_iter_ == len(model.loss_curve_) == 5 * calls
        assert len(model.gradient_norms_) == len(model.learning_rates_) == 5 * calls
        assert model.t_ == 60 * 5 * calls


@pytest.mark.parametrize("solver", SOLVERS)
def test_going_on_with_other_rows(solver):
    """The fitted network is the start, and the new rows are what is fitted."""
    X, y = data()
    other_X, other_y = data(80, seed=1)
    options = {**QUICK, "solver": solver, "learning_rate_init": 0.02}
    model = ANNRegressor(**options, warm_start=True, max_iter=60).fit(X, y)
    model.fit(other_X, -other_y)
    assert model.score(other_X, -other_y) > 0.5
    assert model.n_iter_ > 70


@pytest.mark.parametrize("solver", SOLVERS)
def test_parameters_may_change_between_calls(solver):
    X, y = data()
    options = {**QUICK, "solver": solver, "warm_start": True, "max_iter": 5}
    model = ANNRegressor(**options).fit(X, y)
    before = model.loss_
    model.set_params(alpha=50.0, max_iter=30).fit(X, y)
    size = sum(np.square(w).sum() for w in model.coefs_)
    unpenalised = ANNRegressor(**{**options, "max_iter": 35}).fit(X, y)
    assert size < sum(np.square(w).sum() for w in unpenalised.coefs_)
    assert np.isfinite(before)


@pytest.mark.parametrize(
    "change",
    [{"dtype": "float32"}, {"solver": "lbfgs"}, {"solver": "sgd"}, {"dropout": 0.1}],
    ids=str,
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_solver_and_dtype_may_change_between_calls(solver, change):
    """The weights go on; moments of another solver are of no use."""
    X, y = data()
    options = {**QUICK, "solver": solver, "warm_start": True, "max_iter": 40}
    if {solver, *change} == {"lbfgs", "dropout"}:
        change = {"alpha": 1e-3}
    model = ANNRegressor(**options, learning_rate_init=0.02, dtype="float64").fit(X, y)
    before = model.loss_curve_
    model.set_params(**change).fit(X, y)
    assert (model.solver_, model.dtype_) == (model.solver, model.dtype)
    assert model.loss_curve_[-40] < before[5]


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
@pytest.mark.parametrize("solver", SOLVERS)
def test_warm_start_of_a_cold_fit_goes_on_from_its_weights(solver, Estimator):
    """Only moments and shuffles are new: they were not kept."""
    X, y = data()
    model = Estimator(**QUICK, solver=solver, learning_rate_init=0.02, max_iter=60)
    y = target(model, y)
    model.fit(X, y)
    cold = model.loss_curve_
    model.set_params(warm_start=True, max_iter=1).fit(X, y)
    assert model.loss_ < cold[5]


@pytest.mark.parametrize("patience", [0, 5])
def test_a_converged_fit_has_no_patience_left(patience):
    """As in scikit-learn: the next call stops after one epoch more."""
    X, y = data()
    options = {**QUICK, "tol": 10.0, "n_iter_no_change": 5, "warm_start": True}
    model = ANNRegressor(**options, max_iter=50).fit(X, y)
    assert model.status_ == "converged"
    n_iter = model.n_iter_
    assert model.fit(X, y).n_iter_ == n_iter + 1


# ------------------------------------------------------------------- partial_fit


@pytest.mark.parametrize("solver", STEPPERS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
def test_partial_fit_takes_the_epochs_of_fit(Estimator, dropout, solver):
    """Fed with all data every time, in one batch or in shuffled ones."""
    X, y = data()
    for batch in ({"batch_size": "full", "shuffle": False}, {"batch_size": 16}):
        options = {**QUICK, **batch, "solver": solver, "dropout": dropout}
        by_parts = Estimator(**options)
        labels = target(by_parts, y)
        classes = {} if Estimator is ANNRegressor else {"classes": [0, 1, 2]}
        for _ in range(4):
            by_parts.partial_fit(X, labels, **classes)
        assert by_parts.n_iter_ == 4
        whole = Estimator(**options, max_iter=4, warm_start=True).fit(X, labels)
        assert_same_fit(by_parts, whole)


def test_partial_fit_steps_once_through_a_batch():
    """Three batches of 20 in order are one epoch of a batch size of 20."""
    X, y = data()
    options = {
        **QUICK,
        "solver": "sgd",
        "momentum": 0.0,
        "standardize": False,
        "shuffle": False,
        "dtype": "float64",
        "alpha": 0.0,
        "batch_size": 20,
    }
    start = ANNRegressor(**options, max_iter=1).fit(X, y)
    given = {"coefs_init": start.coefs_, "intercepts_init": start.intercepts_}
    whole = ANNRegressor(**options, max_iter=1).fit(X, y, **given)
    by_parts = ANNRegressor(**options, max_iter=1, warm_start=True)
    by_parts.fit(X[:20], y[:20], **given)
    by_parts.partial_fit(X[20:40], y[20:40]).partial_fit(X[40:], y[40:])
    for ours, theirs in zip(by_parts.coefs_, whole.coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_partial_fit_learns_like_scikit_learns():
    X, y = data(200)
    ours = ANNRegressor(
        16, "relu", learning_rate_init=0.01, solver="adam", random_state=0
    )
    theirs = MLPRegressor(
        hidden_layer_sizes=16, learning_rate_init=0.01, random_state=0
    )
    for _ in range(20):
        for rows in np.split(np.arange(200), 10):
            ours.partial_fit(X[rows], y[rows])
            theirs.partial_fit(X[rows], y[rows])
    assert ours.score(X, y) > theirs.score(X, y) - 0.05


def test_partial_fit_does_not_warn():
    """A single epoch is all it is asked for."""
    X, y = data()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn_ann.estimators.warn_of", _no_warning)
        ANNRegressor(**QUICK).partial_fit(X, y)


def _no_warning(*args):
    raise AssertionError("warned")


def test_partial_fit_freezes_the_scales():
    X, y = data()
    model = ANNRegressor(**QUICK).partial_fit(X, y)
    inputs, targets = model._model.inputs, model._model.targets
    model.partial_fit(100.0 + 50.0 * X, 1000.0 * y)
    np.testing.assert_array_equal(model._model.inputs.mean, inputs.mean)
    np.testing.assert_array_equal(model._model.targets.scale, targets.scale)


def test_partial_fit_with_weights():
    X, y = data()
    weight = np.random.default_rng(0).integers(0, 3, 60)
    options = {**QUICK, "dtype": "float64", "batch_size": "full"}
    weighted = ANNRegressor(**options)
    repeated = ANNRegressor(**options)
    for _ in range(3):
        weighted.partial_fit(X, y, sample_weight=weight)
        repeated.partial_fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-9)


def test_all_classes_come_with_the_first_call():
    X, _ = data()
    labels = np.array(["a", "b", "c"])[np.arange(60) % 3]
    rows = labels == "b"
    with pytest.raises(ValueError, match="classes must be passed"):
        ANNClassifier(**QUICK).partial_fit(X, labels)
    model = ANNClassifier(**QUICK).partial_fit(
        X[rows], labels[rows], classes=list("cab")
    )
    np.testing.assert_array_equal(model.classes_, ["a", "b", "c"])
    assert model.predict_proba(X).shape == (60, 3)
    model.partial_fit(X, labels)
    with pytest.raises(ValueError, match="not in the classes"):
        model.partial_fit(X, np.where(labels == "a", "d", labels))
    with pytest.raises(ValueError, match="classes"):
        model.partial_fit(X, labels, classes=["a", "b"])


def test_partial_fit_learns_classes_that_come_late():
    X, y = data(300)
    labels = np.digitize(y, [-0.5, 0.5])
    model = ANNClassifier(16, learning_rate_init=0.02, random_state=0)
    order = np.argsort(labels, kind="stable")[:100]  # the lowest class first
    model.partial_fit(X[order], labels[order], classes=[0, 1, 2])
    for _ in range(30):
        model.partial_fit(X, labels)
    assert model.score(X, labels) > 0.8


def test_partial_fit_cannot_balance_classes():
    """It would weigh every batch by that batch's own shares."""
    X, y = data()
    model = ANNClassifier(**QUICK, class_weight="balanced")
    with pytest.raises(ValueError, match="balanced"):
        model.partial_fit(X, y > 0, classes=[False, True])
    model.set_params(class_weight={False: 1.0, True: 2.0})
    weighted = clone(model).set_params(class_weight=None)
    model.partial_fit(X, y > 0, classes=[False, True])
    weighted.partial_fit(X, y > 0, np.where(y > 0, 2.0, 1.0), classes=[False, True])
    np.testing.assert_array_equal(model.predict_proba(X), weighted.predict_proba(X))


def test_partial_fit_of_several_labels():
    X, y = data()
    labels = np.column_stack([y > 0, X[:, 2] > 0]).astype(int)
    model = ANNClassifier(**QUICK).partial_fit(X, labels, classes=[0, 1])
    model.partial_fit(X, labels)
    assert model.predict_proba(X).shape == (60, 2)


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
def test_partial_fit_after_fit_goes_on(Estimator):
    X, y = data()
    model = Estimator(**QUICK, learning_rate_init=0.02, max_iter=60)
    labels = target(model, y)
    model.fit(X, labels)
    fitted = model.loss_curve_
    known = getattr(model, "classes_", None)
    rows = labels == labels[0] if Estimator is ANNClassifier else slice(None)
    model.partial_fit(X[rows], labels[rows])
    assert model.loss_ < fitted[5]
    np.testing.assert_array_equal(getattr(model, "classes_", None), known)


def test_changed_columns():
    X, y = data()
    model = ANNRegressor(**QUICK).partial_fit(X, y)
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :2], y)
    with pytest.raises(ValueError, match="columns"):
        model.partial_fit(X, np.column_stack([y, y]))


def test_layers_stay():
    X, y = data()
    model = ANNRegressor(**QUICK).partial_fit(X, y)
    with pytest.raises(ValueError, match="must stay"):
        model.set_params(hidden_layer_sizes=3).partial_fit(X, y)


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
def test_what_has_no_partial_fit(Estimator):
    assert not hasattr(Estimator(solver="lbfgs"), "partial_fit")
    assert all(hasattr(Estimator(solver=s), "partial_fit") for s in [*STEPPERS, "auto"])
    X, y = data()
    model = Estimator(**QUICK | {"early_stopping": True})
    classes = {} if Estimator is ANNRegressor else {"classes": [0, 1, 2]}
    with pytest.raises(ValueError, match="early_stopping"):
        model.partial_fit(X, target(model, y), **classes)
    assert vars(model) == model.get_params()


def test_the_default_solver_without_hidden_layer_takes_steps_in_partial_fit():
    X, y = data()
    model = ANNRegressor((), learning_rate_init=0.05, random_state=0)
    for _ in range(200):
        model.partial_fit(X, y)
    assert model.solver_ == "adamw"
    exact = ANNRegressor(()).fit(X, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1e-2)


# ------------------------------------------------------------------- searches


def test_halving_search_over_epochs():
    X, y = data(120)
    search = HalvingGridSearchCV(
        ANNRegressor(8, early_stopping=False, random_state=0),
        {"learning_rate_init": [1e-5, 1e-3, 0.02]},
        resource="max_iter",
        min_resources=5,
        max_resources=45,
        cv=3,
        random_state=0,
    ).fit(X, y)
    assert search.n_resources_ == [5, 15]
    assert search.best_params_ == {"learning_rate_init": 0.02, "max_iter": 15}
    assert search.best_estimator_.n_iter_ == 15
