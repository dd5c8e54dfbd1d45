"""Hundreds of fits in one process, many threads at once, and processes that fork."""

import faulthandler
import multiprocessing
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from children import on_linux, run
from sklearn.model_selection import GridSearchCV

from sklearn_ann import ANNClassifier, ANNRegressor, batched_fits

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
TIME_LIMIT = 60
SLOW = pytest.mark.slow
rng = np.random.default_rng(0)
X = rng.normal(size=(120, 4))
Y = np.sin(X[:, 0]) + X[:, 1]
QUICK = {"hidden_layer_sizes": 8, "max_iter": 3, "random_state": 0}

# ------------------------------------------------------------------------- many fits

FITS = 500
STEEPEST = 50_000  # bytes a fit
SOAK = """
import sys, warnings
import numpy as np
import test_soak as here
from children import counts, resident
warnings.simplefilter("ignore")
held, after_warm_up = [], None
for i in range(here.FITS):
    getattr(here, sys.argv[1])(i)
    if i == 100:
        after_warm_up = counts()
    held.append(resident())
assert counts() == after_warm_up, (counts(), after_warm_up)
fits = np.arange(100, here.FITS)
slope = np.polyfit(fits, held[100:], 1)[0]
print(slope)
"""


def defaults(i):
    """Ensembles that stop early, of numbers and of classes, by turns."""
    if i % 2:
        ANNRegressor(**QUICK).fit(X, Y).predict(X)
    else:
        ANNClassifier(**QUICK).fit(X, Y > 0).predict_proba(X)


def of_all_kinds(i):
    """Every solver, sizes that change, failures and warm starts, in one process."""
    solver = ["adam", "adamw", "sgd", "lbfgs"][i % 4]
    model = ANNRegressor(
        1 + i % 30, solver=solver, max_iter=3, early_stopping=False, warm_start=True
    )
    model.fit(X, Y).fit(X, Y)
    try:
        model.fit(X[:, :2], Y)
    except ValueError:
        pass
    else:
        raise AssertionError("other columns")


def searches(i):
    """Stacks in threads of their own: ten fits of a search count as one here."""
    if i % 10:
        return
    with batched_fits():
        GridSearchCV(ANNRegressor(**QUICK), {"alpha": [0.1, 1.0]}, cv=5).fit(X, Y)


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["defaults", "of_all_kinds", "searches"])
def test_memory_threads_and_files_of_500_fits(kind):
    done = run(SOAK, kind, timeout=600)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < STEEPEST


# ----------------------------------------------------------------------- many threads


def fitted(seed):
    """What fits of several kinds predict."""
    predictions = []
    for Estimator, y in ((ANNRegressor, Y), (ANNClassifier, np.digitize(Y, [-1, 1]))):
        model = Estimator(**QUICK | {"random_state": seed}).fit(X, y)
        method = "predict" if Estimator is ANNRegressor else "predict_proba"
        predictions += [getattr(model, method)(X).ravel() for _ in range(5)]
    return np.concatenate(predictions)


@pytest.mark.slow
def test_eight_threads_are_as_one():
    alone = [fitted(seed) for seed in range(8)]
    barrier = threading.Barrier(8)

    def at_once(seed):
        barrier.wait()
        return fitted(seed)

    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("ignore")
        for _ in range(5):
            for ours, expected in zip(pool.map(at_once, range(8)), alone, strict=True):
                np.testing.assert_array_equal(ours, expected)


# --------------------------------------------------------------------- many processes


def put_fitted(queue, seed):
    faulthandler.dump_traceback_later(TIME_LIMIT, exit=True)
    warnings.simplefilter("ignore")
    queue.put(fitted(seed))


@on_linux
@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(m, marks=SLOW) for m in ("spawn", "forkserver"))]
)
# What CPython 3.12 says of any fork beside threads.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fit_in_a_child_of_a_process_that_has_fitted(method):
    expected = fitted(0)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    children = [context.Process(target=put_fitted, args=(queue, 0)) for _ in range(2)]
    for child in children:
        child.start()
    found = [queue.get(timeout=TIME_LIMIT) for _ in children]
    for child in children:
        child.join(TIME_LIMIT)
        assert child.exitcode == 0
    for ours in found:
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(fitted(0), expected)


FORKS = """
import multiprocessing, threading, warnings
import numpy as np
import torch
import test_soak as here
from sklearn_ann.engine import device
warnings.simplefilter("ignore")
torch.set_num_threads(2)  # so that there are threads of PyTorch to lose
device.FLOPS_PER_STEP_FOR_THREADS = 0.0
expected = here.fitted(0)
ready, over = threading.Event(), threading.Event()
def hold():  # as a thread does that a fork comes upon in the midst of a fit
    with device.threads(1), device._lock:
        ready.set()
        over.wait()
holds = threading.Thread(target=hold)
holds.start()
ready.wait()
queue = multiprocessing.get_context("fork").Queue()
child = multiprocessing.get_context("fork").Process(
    target=here.put_fitted, args=(queue, 0)
)
child.start()
np.testing.assert_allclose(queue.get(timeout=here.TIME_LIMIT), expected, 1e-4)
child.join()
over.set()
holds.join()
np.testing.assert_array_equal(here.fitted(0), expected)
print("done")
"""


@on_linux
@pytest.mark.slow
def test_a_fork_of_many_threads():
    """Threads that hold a lock, or that PyTorch works with, are not in the child."""
    done = run(FORKS)
    assert done.stdout == "done\n", done.stderr


ON_ONE_GPU = """
import sys, warnings
import numpy as np
import test_soak as here
from sklearn_ann import ANNRegressor
warnings.simplefilter("ignore")
model = ANNRegressor(**here.QUICK | {"max_iter": 30}, device=sys.argv[1])
for _ in range(10):
    predicted = model.fit(here.X, here.Y).predict(here.X)
print(model.device_, float(np.abs(predicted).sum()))
"""


def two_at_once(device):
    with ThreadPoolExecutor(2) as pool:
        start = time.perf_counter()
        both = list(pool.map(lambda _: run(ON_ONE_GPU, device), range(2)))
    assert time.perf_counter() < start + TIME_LIMIT
    for done in both:
        assert done.returncode == 0, done.stderr
    return [done.stdout for done in both]


@pytest.mark.slow
def test_two_processes_at_once():
    first, second = two_at_once("cpu")
    assert first == second == run(ON_ONE_GPU, "cpu").stdout


@pytest.mark.gpu
def test_two_processes_on_one_gpu():
    """That are no workers of one search, as those of test_gpu.py are."""
    first, second = two_at_once("cuda")
    assert first.startswith("cuda") and first == second
