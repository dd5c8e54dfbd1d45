"""A search inside `batched_fits`: the same results, trained as stacks, and no hangs."""

import faulthandler
import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import weakref
from functools import partial

import joblib
import numpy as np
import pytest
import rich.progress
from quiet_callback import Quiet
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.callback import ScoringMonitor
from sklearn.ensemble import BaggingClassifier, BaggingRegressor, StackingRegressor
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning

# Halving has to be asked for by name.
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ann import ANNClassifier, ANNRegressor, batched_fits, coordinating
from sklearn_ann import fitting as fitting_module
from sklearn_ann.assembly import draw_seed
from sklearn_ann.coordinating import Coordinator
from sklearn_ann.memory import MemoryGauge, give_back, resident
from sklearn_ann.waiting import Task

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore::sklearn.exceptions.ConvergenceWarning"
)
# Seconds for anything here. What hangs is ended, and pytest with it; -s shows where.
TIME_LIMIT = 60
# float64, where a stack and its members agree to rounding.
TOLERANCE = 1e-8
QUICK = {
    "solver": "adam",
    "early_stopping": False,
    "max_iter": 3,
    "tol": 0.0,
    "random_state": 0,
}


def own_threads():
    return [t for t in threading.enumerate() if t.name.startswith("sklearn_ann")]


@pytest.fixture(autouse=True)
def _ends_in_time_and_leaves_no_thread():
    faulthandler.dump_traceback_later(TIME_LIMIT, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    assert not own_threads()


@pytest.fixture
def stacks(monkeypatch):
    """Sizes of the stacks that are trained inside `batched_fits`."""
    sizes = []

    def counted(requests, cancelled=None):
        sizes.append(len(requests))
        return fitting_module.train_stack(requests, cancelled)

    monkeypatch.setattr(coordinating, "train_stack", counted)
    return sizes


def data(n=90, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, np.sin(X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=n)


def labelled(n=90, n_classes=2):
    X, y = data(n)
    return X, np.digitize(y, np.quantile(y, np.arange(1, n_classes) / n_classes))


def regressor(**options):
    options = {"hidden_layer_sizes": 4, "dtype": "float64", **QUICK, **options}
    return ANNRegressor(**options)


def classifier(**options):
    options = {"hidden_layer_sizes": 4, "dtype": "float64", **QUICK, **options}
    return ANNClassifier(**options)


def both(run):
    """What comes out without and with `batched_fits`."""
    alone = run()
    with batched_fits():
        return alone, run()


def assert_same_search(alone, batched):
    assert batched.best_params_ == alone.best_params_
    for name, values in alone.cv_results_.items():
        if "score" in name and "time" not in name and "rank" not in name:
            np.testing.assert_allclose(
                batched.cv_results_[name], values, rtol=0, atol=TOLERANCE, err_msg=name
            )


def assert_same(alone, batched):
    np.testing.assert_allclose(batched, alone, rtol=0, atol=TOLERANCE)


# ------------------------------------------------------------------ the same results
GRIDS = {
    "rates": {"learning_rate_init": [1e-3, 1e-2], "alpha": [0.0, 1.0]},
    "dropout": {"dropout": [0.0, 0.3], "random_state": [0, 1]},
    "ends": {"max_iter": [2, 5], "n_iter_no_change": [1, 3], "tol": [1e-4]},
    "early": {"early_stopping": [True], "n_iter_no_change": [1, 4], "max_iter": [6]},
    "sgd": {"solver": ["sgd"], "momentum": [0.0, 0.9], "batch_size": [50, 200]},
    "schedule": {"solver": ["sgd"], "learning_rate": ["invscaling", "adaptive"]},
    "adamw": {"solver": ["adamw"], "alpha": [0.0, 0.1], "max_grad_norm": [0.1]},
    "lbfgs": {"solver": ["lbfgs"], "alpha": [0.0, 0.1], "activation": ["tanh"]},
    "linear": {"hidden_layer_sizes": [()], "solver": ["auto"], "alpha": [0.0, 1.0]},
    "layers": {"hidden_layer_sizes": [(), 3, (4, 2)], "activation": ["relu", "tanh"]},
    "warm": {"warm_start": [True], "alpha": [0.0, 1.0]},
    "restarts": {"n_init": [2], "alpha": [0.0, 1.0]},
}


@pytest.mark.parametrize("grid", GRIDS)
def test_a_search_has_the_same_results(grid, stacks):
    """Five folds of unequal size, and candidates with settings of their own."""
    X, y = data(n=1003)
    pipeline = make_pipeline(StandardScaler(), regressor())
    grid = {f"annregressor__{name}": values for name, values in GRIDS[grid].items()}
    search = GridSearchCV(pipeline, grid, cv=5)
    assert_same_search(*both(lambda: clone(search).fit(X, y)))
    assert max(stacks) >= 5


def test_a_classifier_has_the_same_results(stacks):
    X, y = labelled(203, 3)
    grid = {"alpha": [0.0, 0.1, 1.0], "class_weight": [None, "balanced"]}
    search = GridSearchCV(classifier(), grid, cv=3, scoring="neg_log_loss")
    assert_same_search(*both(lambda: clone(search).fit(X, y)))
    assert stacks == [18]


@pytest.mark.parametrize("n_jobs", [None, 1, 2, -1])
def test_jobs_may_be_any_number(n_jobs, stacks):
    X, y = data()
    search = GridSearchCV(regressor(), {"alpha": [0, 1]}, n_jobs=n_jobs, refit=False)
    with batched_fits():
        search.fit(X, y)
    assert stacks == [10]


def by(search):
    return lambda X, y: clone(search).fit(X, y)


ALPHA = {"alpha": [0.0, 0.1, 1.0]}
SEARCHES = {
    "random": RandomizedSearchCV(regressor(), ALPHA, n_iter=2, cv=3, random_state=0),
    "halving": HalvingGridSearchCV(
        regressor(), ALPHA, factor=2, cv=3, random_state=0, min_resources=20
    ),
    "halving epochs": HalvingGridSearchCV(
        regressor(), ALPHA, factor=2, cv=3, resource="max_iter", max_resources=8
    ),
}


@pytest.mark.parametrize("search", SEARCHES)
def test_other_searches(search, stacks):
    X, y = data()
    assert_same_search(*both(lambda: clone(SEARCHES[search]).fit(X, y)))
    assert max(stacks) >= 6


def scores(function, **options):
    return lambda X, y: function(regressor(), X, y, cv=3, **options)


FUNCTIONS = {
    "cross_validate": lambda X, y: cross_validate(regressor(), X, y, cv=3)[
        "test_score"
    ],
    "cross_val_predict": scores(cross_val_predict),
    "learning_curve": lambda X, y: np.hstack(
        learning_curve(regressor(), X, y, cv=3, train_sizes=[0.5, 1.0])[1:]
    ),
    "validation_curve": lambda X, y: np.hstack(
        validation_curve(
            regressor(), X, y, cv=3, param_name="alpha", param_range=[0.0, 1.0]
        )
    ),
    "permutation_test_score": lambda X, y: permutation_test_score(
        regressor(), X, y, cv=3, n_permutations=4, random_state=0
    )[1],
    "BaggingRegressor": lambda X, y: (
        BaggingRegressor(regressor(), 4, random_state=0).fit(X, y).predict(X)
    ),
    "MultiOutputRegressor": lambda X, y: (
        MultiOutputRegressor(regressor()).fit(X, np.c_[y, -y, y**2]).predict(X)
    ),
    "StackingRegressor": lambda X, y: (
        StackingRegressor(
            [("a", regressor()), ("b", regressor(alpha=1.0)), ("c", Ridge())], Ridge()
        )
        .fit(X, y)
        .predict(X)
    ),
    "nested search": lambda X, y: cross_val_score(
        GridSearchCV(regressor(), ALPHA, cv=3), X, y, cv=3
    ),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_whatever_goes_through_joblib_is_stacked(function, stacks):
    X, y = data()
    assert_same(*both(lambda: FUNCTIONS[function](X, y)))
    assert max(stacks) >= 3


CLASSIFIERS = {
    "BaggingClassifier": BaggingClassifier(classifier(), 4, random_state=0),
    "OneVsRestClassifier": OneVsRestClassifier(classifier()),
    "CalibratedClassifierCV": CalibratedClassifierCV(classifier(), cv=3),
}


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_classifiers_made_of_others(model, stacks):
    X, y = labelled(n_classes=3)
    model = CLASSIFIERS[model]
    assert_same(*both(lambda: clone(model).fit(X, y).predict_proba(X)))
    assert max(stacks) >= 3


def test_nested_searches_share_stacks(stacks):
    X, y = data()
    with batched_fits():
        cross_val_score(GridSearchCV(regressor(), ALPHA, cv=3), X, y, cv=3)
    # 3 outer folds x 3 candidates x 3 inner folds, then the three refits.
    assert stacks == [27, 3]


def test_the_backend_goes_by_its_name(stacks):
    X, y = data()
    with joblib.parallel_config(backend="sklearn_ann"):
        cross_val_score(regressor(), X, y)
    with joblib.parallel_config(backend="sklearn_ann", max_in_flight=2):
        cross_val_score(regressor(), X, y)
    assert stacks[0] == 5
    assert max(stacks[1:]) <= 2 and sum(stacks[1:]) == 5


def test_validation_data_in_tuples():
    X, y = data()
    X_val, y_val = data(n=90, seed=1)
    model = regressor(early_stopping=True, n_iter_no_change=1)
    search = GridSearchCV(model, ALPHA, cv=3)
    given = {"X_val": (X_val,), "y_val": (y_val,)}
    assert_same_search(*both(lambda: clone(search).fit(X, y, **given)))


def test_random_state_none():
    X, y = data()
    with batched_fits():
        scores = cross_val_score(regressor(random_state=None), X, y)
    assert np.isfinite(scores).all()


# ------------------------------------------------------------------- tasks of all kinds
def delayed_all(function, arguments, **options):
    return joblib.Parallel(**options)(joblib.delayed(function)(a) for a in arguments)


def fitted_score(alpha):
    X, y = data(30)
    return regressor(alpha=alpha).fit(X, y).score(X, y)


def two_fits(alpha):
    return fitted_score(alpha), fitted_score(2 * alpha)


def own_thread(alpha):
    """Fit in a thread that the task starts itself: there is no stack to wait for."""
    found = []
    thread = threading.Thread(target=lambda: found.append(fitted_score(alpha)))
    thread.start()
    thread.join()
    return found[0]


def own_block(alpha):
    with batched_fits():
        return sum(delayed_all(fitted_score, [alpha, 2 * alpha]))


def own_generator(alpha):
    """Consume a nested generator, fitting between its items."""
    items = joblib.Parallel(return_as="generator")(
        joblib.delayed(fitted_score)(a) for a in (alpha, 2 * alpha)
    )
    return [item + fitted_score(3 * alpha) for item in items]


TASKS = {
    "one fit": fitted_score,
    "two fits": two_fits,
    "no fit": abs,
    "own thread": own_thread,
    "own block": own_block,
    "own generator": own_generator,
    "other backend": lambda a: delayed_all(fitted_score, [a], backend="threading"),
}


@pytest.mark.parametrize("task", TASKS)
def test_tasks_of_all_kinds(task):
    alphas = [0.1, 1.0, 10.0]
    alone = [TASKS[task](a) for a in alphas]
    with batched_fits():
        batched = delayed_all(TASKS[task], alphas)
    assert_same(alone, batched)


def test_estimators_that_are_not_ours(stacks):
    X, y = data()
    model = make_pipeline(StandardScaler(), KNeighborsRegressor())
    for other in (Ridge(), model):
        assert_same(*both(partial(cross_val_score, other, X, y)))
    assert stacks == []


@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_generators(return_as, stacks):
    """Their `Parallel` does not tell when it has dispatched its first tasks."""
    alphas = [0.1, 1.0, 10.0]
    alone = [fitted_score(a) for a in alphas]
    with batched_fits():
        results = delayed_all(fitted_score, alphas, return_as=return_as)
        between = delayed_all(fitted_score, alphas)
    assert_same(alone, between)
    assert_same(sorted(alone), sorted(results))
    assert sum(stacks) == 6 and max(stacks) >= 3


@pytest.mark.filterwarnings("ignore:.*were still being processed:UserWarning")
@pytest.mark.filterwarnings("ignore:.*successfully executed but not used:UserWarning")
def test_a_generator_given_up_leaves_the_others_alone():
    alphas = [0.1, 1.0, 10.0]
    alone = [fitted_score(a) for a in alphas]
    with batched_fits():
        kept = delayed_all(fitted_score, alphas, return_as="generator")
        given_up = delayed_all(fitted_score, alphas, return_as="generator")
        given_up.close()
        assert_same(alone, list(kept))


def test_locks_held_by_waiting_tasks_cost_patience_only(monkeypatch):
    """A task that waits for another one's lock is not known to be blocked."""
    monkeypatch.setattr(coordinating, "PATIENCE", 0.3)
    lock = threading.Lock()

    def locked(alpha):
        with lock:
            return fitted_score(alpha)

    alone = [fitted_score(a) for a in (0.1, 1.0, 10.0)]
    with batched_fits():
        assert_same(alone, delayed_all(locked, (0.1, 1.0, 10.0)))


def test_two_users_at_once():
    X, y = data()
    alone = cross_val_score(regressor(), X, y)
    found = {}

    def user(name):
        with batched_fits():
            found[name] = cross_val_score(regressor(), X, y)

    users = [threading.Thread(target=user, args=(i,)) for i in range(3)]
    with warnings.catch_warnings():  # they belong to the process, not to a thread
        warnings.simplefilter("ignore")
        for each in users:
            each.start()
        for each in users:
            each.join()
    for name in range(3):
        assert_same(alone, found[name])


class NoOp(RegressorMixin, BaseEstimator):
    """Fits nothing, and fails where it is told to."""

    def __init__(self, fails=0):
        self.fails = fails

    def fit(self, X, y):
        if self.fails:
            raise ValueError("told to fail")
        return self

    def predict(self, X):
        return np.zeros(len(X))


@pytest.mark.parametrize("pre_dispatch", ["2*n_jobs", "all", 3])
@pytest.mark.parametrize("kind", ["no fit", "failing"])
def test_two_thousand_tasks_without_networks(pre_dispatch, kind):
    X, y = data(20)
    grid = {"fails": [0] * 500 if kind == "no fit" else [0, 1] * 250}
    search = GridSearchCV(
        NoOp(), grid, cv=4, pre_dispatch=pre_dispatch, refit=False, error_score=0.0
    )
    with batched_fits(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)
        search.fit(X, y)
    assert len(search.cv_results_["params"]) == 500


def tiny_fit(X, y, i):
    model = regressor(hidden_layer_sizes=2, max_iter=1, random_state=i)
    if i % 100 == 99:
        model.fit(X, y * np.nan)
    return model.fit(X, y).loss_


def tried(X, y, i):
    try:
        return tiny_fit(X, y, i)
    except ValueError:
        return -1.0


def nested_fits(X, y, i):
    return sum(delayed_all(partial(tried, X, y), range(10 * i, 10 * i + 10)))


@pytest.mark.slow
@pytest.mark.parametrize("pre_dispatch", ["2*n_jobs", "all", 3])
@pytest.mark.parametrize("kind", ["plain", "nested"])
def test_two_thousand_networks(pre_dispatch, kind):
    X, y = data(20)
    task, n = {"plain": (tried, 2000), "nested": (nested_fits, 200)}[kind]
    n = min(n, 300) if pre_dispatch == 3 and kind == "plain" else n
    with batched_fits():
        found = delayed_all(partial(task, X, y), range(n), pre_dispatch=pre_dispatch)
    assert len(found) == n
    assert all(np.isfinite(found))
    assert_same([task(X, y, i) for i in (0, 9)], [found[0], found[9]])


# -------------------------------------------------------------------------- failures
class Picky(ANNRegressor):
    """Refuses an alpha of 1 before it asks for a network."""

    def fit(self, X, y, **options):
        if self.alpha == 1.0:
            raise ArithmeticError("refused")
        return super().fit(X, y, **options)


def picky():
    return Picky(hidden_layer_sizes=4, dtype="float64", **QUICK)


@pytest.mark.filterwarnings("ignore:Scoring failed")
def test_a_task_that_raises_fails_alone():
    X, y = data()
    search = GridSearchCV(picky(), ALPHA, cv=3, error_score=np.nan)
    with (
        batched_fits(),
        pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 9"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        search.fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [0, 0, 1]


@pytest.mark.parametrize("nested", [False, True])
def test_an_error_is_raised(nested):
    X, y = data()
    search = GridSearchCV(picky(), ALPHA, cv=3, error_score="raise")
    with batched_fits():
        with pytest.raises(ArithmeticError, match="refused"):
            if nested:
                cross_val_score(search, X, y, cv=3, error_score="raise")
            else:
                search.fit(X, y)
        # and the backend goes on
        assert np.isfinite(cross_val_score(regressor(), X, y)).all()


def test_a_nested_search_that_fails_fails_alone():
    """Its tasks are ended; those of the other outer folds are not."""
    X, y = data()

    def outer(i):
        grid = {"alpha": [0.1, 1.0 if i == 1 else 2.0]}
        search = GridSearchCV(picky(), grid, cv=3, error_score="raise")
        try:
            return search.fit(X, y).best_score_
        except ArithmeticError:
            return None

    with batched_fits():
        found = delayed_all(outer, range(4))
    assert found[1] is None
    assert_same([outer(0)] * 3, [found[0], found[2], found[3]])


def test_a_diverging_candidate_gets_its_own_warning():
    X, y = data()
    model = regressor(standardize=False, solver="sgd", activation="relu")
    grid = {"learning_rate_init": [1e-3, 1e100]}
    search = GridSearchCV(model, grid, cv=3, refit=False)
    with batched_fits(), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        search.fit(X, y)
    messages = [str(w.message) for w in seen if w.category is ConvergenceWarning]
    assert sum("non-finite" in m for m in messages) == 3
    assert sum("reached max_iter" in m for m in messages) == 3


def test_filters_of_warnings_are_left_alone():
    X, y = data()
    before = list(warnings.filters)
    with batched_fits():
        GridSearchCV(regressor(), ALPHA).fit(X, y)
    assert warnings.filters == before


def test_a_failure_of_training_hits_the_guilty(monkeypatch):
    train = fitting_module.train_stack
    sizes = []

    def fragile(requests, cancelled=None):
        sizes.append(len(requests))
        if any(r.fit.settings.alpha == 1.0 for r in requests):
            raise MemoryError("too much")
        return train(requests, cancelled)

    monkeypatch.setattr(coordinating, "train_stack", fragile)
    X, y = data()
    search = GridSearchCV(regressor(), ALPHA, cv=2, refit=False, error_score=-7.0)
    with batched_fits(), pytest.warns(FitFailedWarning, match="2 fits failed"):
        search.fit(X, y)
    assert (search.cv_results_["mean_test_score"] == -7.0).tolist() == [0, 0, 1]
    assert sizes[0] == 6


# ------------------------------------------------------------- hooks, scorers, progress
class Listener(Quiet):
    """A callback that notes its thread, and stops or fails in the second epoch."""

    def __init__(self, does="listen"):
        self.does, self.threads, self.epochs = does, set(), 0

    def on_fit_task_end(self, estimator, context):
        if context.task_name != "epoch":
            return False
        self.threads.add(threading.current_thread().name)
        self.epochs += 1
        if context.task_id == 1 and estimator.alpha == 1.0:
            if self.does == "fail":
                raise ArithmeticError("a callback failed")
            if self.does == "fit":  # this thread cannot wait for a stack now
                cross_val_score(GridSearchCV(regressor(), ALPHA, cv=2), *data())
            return self.does == "stop"
        return False


@pytest.mark.parametrize("does", ["listen", "stop", "fit"])
def test_callbacks_run_in_the_tasks_thread(does):
    X, y = data()

    def run():
        listener = Listener(does)
        model = regressor(max_iter=5).set_callbacks(listener)
        search = GridSearchCV(model, ALPHA, cv=2, refit=False).fit(X, y)
        return search.cv_results_["mean_test_score"], listener

    (alone, heard), (batched, heard_batched) = both(run)
    assert_same(alone, batched)
    assert heard_batched.epochs == heard.epochs == (24 if does == "stop" else 30)
    assert heard_batched.threads == {"sklearn_ann worker"}


def test_a_callback_that_fails_fails_its_task_alone():
    X, y = data()
    model = regressor(max_iter=5).set_callbacks(Listener("fail"))
    search = GridSearchCV(model, ALPHA, cv=2, refit=False, error_score=-7.0)
    with batched_fits(), pytest.warns(FitFailedWarning, match="2 fits failed"):
        search.fit(X, y)
    assert (search.cv_results_["mean_test_score"] == -7.0).tolist() == [0, 0, 1]


def test_a_scoring_monitor():
    X, y = data()

    def run():
        monitor = ScoringMonitor(scoring="r2")
        model = regressor().set_callbacks(monitor)
        cross_val_score(model, X, y, cv=3)
        logs = monitor.get_logs(select="all")
        return sorted(
            value
            for log in logs
            for value in (row["r2"] for row in log.data if "r2" in row)
        )

    alone, batched = both(run)
    assert len(alone) > 0
    assert_same(alone, batched)


SCORED_IN = set()


def absolute(y, predicted):
    SCORED_IN.add(threading.current_thread().name)
    return mean_absolute_error(y, predicted)


def test_validation_scorers_run_in_the_tasks_thread():
    X, y = data()
    SCORED_IN.clear()
    scorer = make_scorer(absolute, greater_is_better=False)
    model = regressor(early_stopping=True, scoring=scorer, n_iter_no_change=2)
    search = GridSearchCV(model, ALPHA, cv=3)
    assert_same_search(*both(lambda: search.fit(X, y)))
    assert sorted(SCORED_IN) == ["MainThread", "sklearn_ann worker"]


def test_a_scorer_that_fails_fails_its_task_alone():
    def fails(model, X, y):
        if model.alpha == 1.0:
            raise ArithmeticError("no score")
        return model.score(X, y)

    X, y = data()
    model = regressor(early_stopping=True, scoring=fails)
    search = GridSearchCV(model, ALPHA, cv=2, refit=False, error_score=-7.0)
    with batched_fits(), pytest.warns(FitFailedWarning, match="2 fits failed"):
        search.fit(X, y)
    assert (search.cv_results_["mean_test_score"] == -7.0).tolist() == [0, 0, 1]


def test_progress_is_told():
    X, y = data()
    told = []
    with batched_fits(progress=lambda *counts: told.append(counts)):
        GridSearchCV(regressor(), ALPHA, cv=3, refit=False).fit(X, y)
    assert told[-1] == (9, 9)


def test_progress_is_drawn(monkeypatch):
    X, y = data()
    drawn = []
    update = rich.progress.Progress.update
    monkeypatch.setattr(
        rich.progress.Progress,
        "update",
        lambda bar, line, **counts: drawn.append(counts) or update(bar, line, **counts),
    )
    with batched_fits(progress=True):
        cross_val_score(regressor(), X, y)
    assert drawn == [{"completed": 5, "total": 5}]


def test_progress_that_fails_ends_the_search():
    X, y = data()

    def fails(trained, asked):
        raise ArithmeticError("no progress")

    with batched_fits(progress=fails), pytest.raises(ArithmeticError):
        cross_val_score(regressor(), X, y, error_score="raise")


def test_seconds_are_shares():
    X, y = data()
    start = time.perf_counter()
    with batched_fits():
        found = cross_validate(regressor(max_iter=50), X, y, return_estimator=True)
    shares = [model.fit_seconds_ for model in found["estimator"]]
    assert 0 < sum(shares) < time.perf_counter() - start
    assert np.ptp(shares) < 0.01 * sum(shares) + 1e-3


# ------------------------------------------------------------------ limits and memory
def test_equal_tables_are_stored_once(monkeypatch):
    seen = []

    def counted(requests, cancelled=None):
        seen.append(len({id(r.fit.x) for r in requests}))
        return fitting_module.train_stack(requests, cancelled)

    monkeypatch.setattr(coordinating, "train_stack", counted)
    X, y = data()
    with batched_fits():
        GridSearchCV(regressor(), ALPHA, cv=3, refit=False).fit(X, y)
    assert seen == [3]


@pytest.mark.parametrize("most", [1, 2, 7])
def test_max_in_flight(most, monkeypatch, stacks):
    started = []
    note = Coordinator._note

    def noted(self):
        started.append(len(self._started))
        note(self)

    monkeypatch.setattr(Coordinator, "_note", noted)
    X, y = data()
    alone = cross_val_score(regressor(), X, y, cv=20)
    with batched_fits(max_in_flight=most):
        batched = cross_val_score(regressor(), X, y, cv=20)
    assert_same(alone, batched)
    assert max(started) == max(stacks) == most


@pytest.mark.parametrize("most", [1, 2])
def test_max_in_flight_lets_nested_searches_end(most):
    X, y = data()
    search = GridSearchCV(regressor(), ALPHA, cv=2)
    alone = cross_val_score(search, X, y, cv=3)
    with batched_fits(max_in_flight=most):
        assert_same(alone, cross_val_score(search, X, y, cv=3))


@pytest.mark.parametrize("most", [0, -1])
def test_max_in_flight_is_positive(most):
    with pytest.raises(ValueError, match="max_in_flight"), batched_fits(most):
        pass


def test_many_nested_searches():
    """More than may be in flight, each with tasks of its own."""
    X, y = data(20)
    with batched_fits():
        found = delayed_all(partial(nested_fits, X, y), range(40))
    assert_same([nested_fits(X, y, 3)], found[3:4])


def test_a_callback_of_joblib_that_fails_ends_its_thread_only(monkeypatch):
    coordinator, raised = Coordinator(), []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    call = coordinator.open(settles=False)

    def fails(task):
        raise ArithmeticError("a callback failed")

    done = []
    tasks = [Task(call, dict, fails) for _ in range(3)] + [
        Task(call, dict, done.append)
    ]
    for task in tasks:
        coordinator.submit(task)
    while not done or call.n_tasks:
        time.sleep(0.001)
    coordinator.close(call)
    assert done == tasks[3:] and len(raised) == 3


def test_memory_that_is_used_up_keeps_tasks_few(monkeypatch, stacks):
    monkeypatch.setattr(MemoryGauge, "room_for", lambda self, n: 20 - n)
    X, y = data()
    with batched_fits():
        cross_val_score(regressor(max_iter=1), X, y, cv=60)
    assert max(stacks) == 20 and sum(stacks) == 60


def test_equal_tables_are_shared_while_tasks_wait(monkeypatch):
    """Not only when they are trained: a copy that is found again is freed at once."""
    tables = weakref.WeakSet()
    room_for, found = MemoryGauge.room_for, []

    def noted(self, requests):
        tables.update(request.fit.x for request in requests)
        share(self, requests)

    def counted(self, n_waiting):
        found.append((n_waiting, len(tables)))
        return room_for(self, n_waiting)

    share = fitting_module.Tables.share
    monkeypatch.setattr(fitting_module.Tables, "share", noted)
    monkeypatch.setattr(MemoryGauge, "room_for", counted)
    X, y = data()
    with batched_fits():
        search = GridSearchCV(regressor(), {"alpha": np.arange(9.0)}, cv=2, refit=False)
        search.fit(X, y)
    assert found[-1] == (16, 2)


def test_the_gauge(monkeypatch):
    now, freed = [1000 * 2**20], [0]

    def give_back():
        now[0] -= freed[0]

    monkeypatch.setattr("sklearn_ann.memory.resident", lambda: now[0])
    monkeypatch.setattr("sklearn_ann.memory.give_back", give_back)
    gauge = MemoryGauge(100 * 2**20)
    gauge.start()
    now[0] += 20 * 2**20
    assert gauge.room_for(10) == 40  # 2 MiB each
    now[0] += 80 * 2**20
    assert gauge.room_for(50) == 0
    # Tasks are over: what they held is free, but still with the process.
    freed[0] = 80 * 2**20
    assert gauge.room_for(10) == 40
    monkeypatch.setattr("sklearn_ann.memory.resident", lambda: None)
    assert gauge.room_for(10) == 6


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another library gives back by itself"
)
def test_freed_memory_is_given_back():
    kept = [bytearray(100_000) for _ in range(2000)]
    del kept[::2]  # holes, which the library keeps
    before = resident()
    give_back()
    assert resident() < before - 0.5e8


@pytest.mark.parametrize("cores, first", [(1, 4), (8, 8), (64, 16)])
def test_first_tasks(cores, first, monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
    assert Coordinator().allowed == first


@pytest.mark.skipif(resident() is None, reason="the system does not say")
def test_the_default_budget():
    gauge = MemoryGauge(None)
    gauge.start()
    assert gauge.room_for(0) > 0


def in_new_process(code, **options):
    code = textwrap.dedent(code)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-X", "faulthandler", "-c", code]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, **options
    )


@pytest.mark.slow
@pytest.mark.skipif(resident() is None, reason="the system does not say")
def test_two_thousand_tasks_on_a_large_table():
    process = in_new_process("""
        import resource, warnings
        import numpy as np
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn_ann import ANNRegressor, batched_fits
        from sklearn_ann.memory import resident

        warnings.simplefilter("ignore")
        X = np.random.default_rng(0).normal(size=(5000, 500))  # 20 MB
        network = ANNRegressor(2, early_stopping=False, max_iter=1, solver="adam",
                               batch_size=2500, random_state=0)
        pipeline = make_pipeline(StandardScaler(), network)
        grid = {"annregressor__alpha": np.logspace(-3, 3, 1000)}
        start = resident()
        with batched_fits():
            GridSearchCV(pipeline, grid, cv=2, refit=False).fit(X, X[:, 0])
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print((peak - start) / 1e9)
    """)
    faulthandler.cancel_dump_traceback_later()  # most of its time is copying
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    assert float(out) < 1.5


# ---------------------------------------------------------------------------- Ctrl-C
LONG = {"max_iter": 10**7, "n_iter_no_change": np.inf, "solver": "adam"}


def interrupt_after(seconds):
    timer = threading.Timer(seconds, signal.raise_signal, [signal.SIGINT])
    timer.daemon = True
    return timer


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("after", [0.0, 0.01, 0.3])
def test_an_interrupted_search_leaves_nothing_behind(after, nested):
    X, y = data()
    search = GridSearchCV(regressor(**LONG), ALPHA, cv=3)
    with batched_fits():
        timer = interrupt_after(after)
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            if nested:
                cross_val_score(search, X, y, cv=3)
            else:
                search.fit(X, y)
        timer.join()
        assert not own_threads()
        start = time.perf_counter()
        assert np.isfinite(cross_val_score(regressor(), X, y)).all()
        assert time.perf_counter() < start + 5


@pytest.mark.slow
def test_interrupts_at_any_moment():
    """Ctrl-C between any two lines of the user's thread: the next search works."""
    X, y = data()
    search = GridSearchCV(regressor(**LONG), {"alpha": np.arange(10.0)}, cv=3)
    rng = np.random.default_rng(0)
    with batched_fits():
        for _ in range(150):
            timer = interrupt_after(rng.uniform(0, 0.08))
            with pytest.raises(KeyboardInterrupt):
                timer.start()
                search.fit(X, y)
            timer.join()
        assert np.isfinite(cross_val_score(regressor(), X, y)).all()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
def test_ctrl_c_ends_a_program():
    process = in_new_process(
        """
        import threading
        import numpy as np
        from sklearn.model_selection import cross_val_score
        from sklearn_ann import ANNRegressor, batched_fits

        X = np.random.default_rng(0).normal(size=(500, 3))
        network = ANNRegressor(4, max_iter=10**7, n_iter_no_change=np.inf)
        print("begins", flush=True)
        try:
            with batched_fits():
                cross_val_score(network, X, X[:, 0])
        except KeyboardInterrupt:
            print(threading.active_count(), flush=True)
        """
    )
    assert process.stdout.readline() == "begins\n"
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    start = time.perf_counter()
    out, _ = process.communicate(timeout=TIME_LIMIT)
    assert out == "1\n" and process.returncode == 0
    assert time.perf_counter() < start + 5


# ---------------------------------------------------------------- the order in a stack


def fit_late(seconds, seed, X, y):
    time.sleep(seconds)
    return ANNRegressor(
        3, early_stopping=False, max_iter=2, random_state=seed, batch_size=20
    ).fit(X, y)


def test_networks_stand_in_the_order_of_their_tasks(monkeypatch):
    """Whoever asks first: places decide how sums round, and refits are bit-equal."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    seen, train = [], coordinating.train_stack

    def watched(requests, *args):
        seen.append([request.fit.seed for request in requests])
        return train(requests, *args)

    monkeypatch.setattr(coordinating, "train_stack", watched)
    seeds = range(4)
    with batched_fits():
        joblib.Parallel()(
            joblib.delayed(fit_late)(0.1 * (3 - i), i, X, y) for i in seeds
        )
    assert seen == [[draw_seed(seed) for seed in seeds]]
