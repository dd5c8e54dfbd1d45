"""Fits in many threads, and what fits and predictions need of memory."""

import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import bench_memory
from benchmarks.bench_memory import Task
from quiet_callback import Quiet
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor
from sklearn.model_selection import GridSearchCV

from sklearn_ann import ANNClassifier, ANNRegressor
from sklearn_ann.engine import device

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
N_THREADS = 8
SOLVERS = ["sgd", "adam", "adamw", "lbfgs"]


def data(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(80, 3))
    return X, np.sin(X[:, 0]) + X[:, 1]


def count_in_new_thread():
    """PyTorch's thread count as a thread sees it that never used PyTorch."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


@pytest.fixture
def three_threads():
    """A count that no block of ours sets by itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def work(task):
    """Fit and predict a network of its own several times."""
    Estimator, solver, seed = task
    X, y = data(seed)
    y = y if Estimator is ANNRegressor else (y > 0).astype(int)
    model = Estimator(
        8,
        solver=solver,
        batch_size=20,
        max_iter=6,
        tol=0.0,
        random_state=seed,
        early_stopping=False,
    )
    predictions = []
    for _ in range(4):
        model.fit(X, y)
        predictions += [model.predict(X) for _ in range(3)]
    return np.array(predictions)


TASKS = [
    (Estimator, solver, seed)
    for seed, (Estimator, solver) in enumerate(
        (E, s) for E in (ANNRegressor, ANNClassifier) for s in SOLVERS
    )
]


def in_threads(tasks, barrier=None):
    def run(task):
        if barrier is not None:
            barrier.wait()  # all at once
        return work(task)

    # Warning filters belong to the process; setting them from threads is a race.
    with warnings.catch_warnings(), ThreadPoolExecutor(len(tasks)) as pool:
        warnings.simplefilter("ignore")
        return list(pool.map(run, tasks))


def test_threads_do_not_disturb_one_another(three_threads):
    alone = [work(task) for task in TASKS]
    for _ in range(3):
        together = in_threads(TASKS, threading.Barrier(len(TASKS)))
        for ours, theirs in zip(together, alone, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert torch.get_num_threads() == three_threads
    assert count_in_new_thread() == three_threads


def test_one_estimator_may_predict_in_many_threads():
    X, y = data(0)
    model = ANNRegressor(50, max_iter=3, random_state=0, early_stopping=False).fit(X, y)
    table = np.random.default_rng(0).normal(size=(20_000, 3))
    expected = model.predict(table)
    with ThreadPoolExecutor(N_THREADS) as pool:
        for predicted in pool.map(model.predict, [table] * N_THREADS):
            np.testing.assert_array_equal(predicted, expected)


@pytest.mark.parametrize("fails", [False, True])
def test_a_fit_leaves_the_thread_count(fails, three_threads, monkeypatch):
    """Also a fit that fails, and one with work enough for several threads."""
    X, y = data(0)
    monkeypatch.setattr(device, "FLOPS_PER_STEP_FOR_THREADS", 0.0 if fails else 1e99)
    model = ANNRegressor(8, max_iter=3, random_state=0, early_stopping=False)
    if fails:
        model.set_callbacks(Fails())
        with pytest.raises(ArithmeticError):
            model.fit(X, y)
    else:
        model.fit(X, y).predict(X)
    assert torch.get_num_threads() == three_threads
    assert count_in_new_thread() == three_threads
    assert device._depth == 0


class Seen(Quiet):
    """A callback that notes how many threads PyTorch may use during a fit."""

    def __init__(self):
        self.counts = set()

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.counts.add(torch.get_num_threads())


class Fails(Seen):
    """A callback that breaks a fit off."""

    def on_fit_task_end(self, estimator, context):
        raise ArithmeticError


def test_small_fits_take_one_thread_and_large_ones_more(three_threads, monkeypatch):
    X, y = data(0)
    seen = Seen()
    model = ANNRegressor(
        8, max_iter=3, random_state=0, early_stopping=False
    ).set_callbacks(seen)
    model.fit(X, y)
    assert seen.counts == {1}
    monkeypatch.setattr(device, "FLOPS_PER_STEP_FOR_THREADS", 1.0)
    seen.counts.clear()
    model.fit(X, y)
    assert seen.counts == {three_threads}


def test_thread_counts_do_not_change_results(monkeypatch, three_threads):
    X, y = data(0)
    model = ANNRegressor(
        (32, 32), max_iter=5, random_state=0, dtype="float64", early_stopping=False
    )
    one = model.fit(X, y).predict(X)
    monkeypatch.setattr(device, "FLOPS_PER_STEP_FOR_THREADS", 1.0)
    np.testing.assert_allclose(model.fit(X, y).predict(X), one, rtol=1e-9)


@pytest.mark.slow
def test_searches_in_several_processes():
    """joblib maps large data, and large fitted models, into workers read-only."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30_000, 10))  # above the megabyte that joblib sends
    y = X[:, 0] + np.sin(X[:, 1])
    model = ANNRegressor(
        (400, 400), max_iter=1, batch_size=500, random_state=0, early_stopping=False
    )
    search = GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=2, error_score="raise")
    one = clone(search).fit(X, y)
    two = clone(search).set_params(n_jobs=2).fit(X, y)
    np.testing.assert_allclose(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )
    bagged = BaggingRegressor(model, n_estimators=2, n_jobs=2, random_state=0)
    bagged.fit(X, y)
    assert bagged.estimators_[0].coefs_[1].nbytes > 2**20
    alone = np.mean([m.predict(X) for m in bagged.estimators_], axis=0)
    np.testing.assert_allclose(bagged.predict(X), alone)


# ------------------------------------------------------------------- memory

needs_resource = pytest.mark.skipif(
    sys.platform == "win32", reason="peak memory is read by the resource module"
)
FITS = [
    Task("fit", 300_000, 100, "float64"),
    Task("fit", 300_000, 100, "float32"),
    Task("fit", 300_000, 100, "float64", training_dtype="float64"),
    Task("fit", 300_000, 100, "float32", training_dtype="float64"),
]
PREDICTIONS = [
    Task("predict", 1_000_000, 100, "float32"),
    Task("predict", 1_000_000, 100, "float64"),
]


@pytest.fixture
def measure(monkeypatch):
    """Run a task in a process of its own, which imports `benchmarks` from here."""
    monkeypatch.chdir(Path(__file__).parent)
    return bench_memory.measure


@pytest.mark.slow
@needs_resource
@pytest.mark.parametrize("task", FITS, ids=lambda task: task.name)
def test_memory_of_a_fit(task, measure):
    peak = measure(task)
    assert peak.held < peak.total, "the fit's peak hides behind an earlier one"
    limit = bench_memory.FIT_RATIO * task.megabytes + bench_memory.FIT_ALLOWANCE
    assert peak.beyond <= limit


@pytest.mark.slow
@needs_resource
@pytest.mark.parametrize("levels, d", [(100, 20), (30, 60)])
@pytest.mark.parametrize("work", ["fit", "predict"])
def test_memory_of_categories(work, levels, d, measure):
    """A few copies of the codes: one-hot columns would take 1.4 GB or more."""
    task = Task(work, 200_000, d, "object", levels=levels)
    peak = measure(task)
    assert peak.held < peak.total
    # Codes in float64, as they come, and in the dtype of training.
    codes = task.n * d * (8 + 4) / bench_memory.MEGABYTE
    assert task.n * d * levels * 4 / bench_memory.MEGABYTE > 1400
    assert peak.beyond <= 1.5 * codes + bench_memory.FIT_ALLOWANCE / 2


@pytest.mark.slow
@needs_resource
@pytest.mark.parametrize("task", PREDICTIONS, ids=lambda task: task.name)
def test_memory_of_a_prediction(task, measure):
    """Chunk by chunk: the predictions themselves, and little beside them."""
    peak = measure(task)
    if task.dtype == "float32":
        assert peak.total <= bench_memory.PREDICT_LIMIT  # all of the process
    predictions = task.n * 8 / bench_memory.MEGABYTE
    assert peak.beyond <= 2 * predictions + 100.0
