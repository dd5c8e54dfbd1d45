"""Searches in other processes: joblib's, and the workers of a Dask cluster.

The cluster, and the recipe that trains shares as stacks, are those of docs/dask.md.
"""

import faulthandler
import json
import os
import re
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from quiet_callback import Quiet
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ann import ANNClassifier, ANNRegressor

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore::sklearn.exceptions.ConvergenceWarning",
    # Another cluster on this machine shows its dashboard there.
    "ignore:Port 8787 is already in use:UserWarning",
)
# Seconds for anything here, a cluster's start included. What hangs is ended.
TIME_LIMIT = 180
TOLERANCE = 1e-8
EPOCHS = 3
QUICK = {
    "early_stopping": False,
    "max_iter": EPOCHS,
    "tol": 0.0,
    "random_state": 0,
    "dtype": "float64",
}

PAGE = Path(__file__).parents[1] / "docs" / "dask.md"
TEXT = PAGE.read_text(encoding="utf-8")
START, PLAIN, SHARES, END = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
BACKENDS = ["dask", pytest.param("loky", marks=pytest.mark.slow)]


def execute(block, names):
    if block == SHARES:
        # A search brings its filters of warnings along, which are the worker's while it
        # lasts, and stay if a thread of Dask's own sets some in the meantime.
        names["client"].run(warnings.simplefilter, "ignore")
    exec(compile(block, PAGE.name, "exec"), names)


def left_over(before):
    """Processes that came up, but for those that look after semaphores of the others.

    They end with this one.
    """
    import psutil  # comes with Dask

    found = set(psutil.Process().children(recursive=True)) - before
    return [p for p in found if "resource_tracker" not in " ".join(p.cmdline())]


@contextmanager
def time_limit():
    faulthandler.dump_traceback_later(TIME_LIMIT, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def _ends_in_time():
    with time_limit():
        yield


@pytest.fixture(scope="module")
def page():
    """Names that the blocks of the page have defined so far; its cluster runs."""
    psutil = pytest.importorskip("psutil")
    pytest.importorskip("distributed")
    before = set(psutil.Process().children(recursive=True))
    names = {"__name__": "__main__"}
    with time_limit():
        execute(START, names)
    yield names
    with time_limit():
        execute(END, names)
        get_reusable_executor().shutdown(wait=True)
    assert not left_over(before)


@pytest.fixture(params=BACKENDS)
def backend(request, page):
    """A backend of joblib whose two workers are processes."""
    with joblib.parallel_config(request.param, n_jobs=2):
        yield request.param


def data(n=61):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, np.sin(X[:, 0]) + X[:, 1]


def regressor(**options):
    return ANNRegressor(4, **{**QUICK, **options})


@dataclass
class Log(Quiet):
    """A callback that writes down where and how epochs run; it may stop the fit."""

    path: Path
    stop_at: int | None = None

    def on_fit_task_end(self, estimator, context):
        if context.task_name != "epoch":
            return False
        epoch = {
            "epoch": context.task_id,
            "pid": os.getpid(),
            "thread": threading.current_thread().name,
            "n_threads": torch.get_num_threads(),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(epoch) + "\n")
        return self.stop_at == context.task_id


class Propagated(Log):
    """The same, handed down by a search to its networks."""

    max_propagation_depth = None


def epochs(path):
    return pd.read_json(path, lines=True)


def assert_same_search(found, expected):
    assert found.best_params_ == expected.best_params_
    assert_same_results(found.cv_results_, expected.cv_results_)


def assert_same_results(found, expected):
    names = [name for name in expected if re.fullmatch(r"split\d+_test_score", name)]
    assert names
    for name in names:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=0, atol=TOLERANCE, err_msg=name
        )


# ---------------------------------------------------------------- one fit at a time
@pytest.mark.parametrize("Network", [ANNRegressor, ANNClassifier])
def test_a_search_has_the_same_results(Network, backend):
    """Also where data are large enough to come as read-only memory."""
    X, y = data(50_000)  # more than the megabyte that joblib sends
    y = y if Network is ANNRegressor else np.where(y > 0, "high", "low")
    network = make_pipeline(StandardScaler(), Network(4, batch_size=5_000, **QUICK))
    name = f"{Network.__name__.lower()}__alpha"
    search = GridSearchCV(network, {name: [0.1, 1000.0]}, cv=3)
    found = clone(search).fit(X, y)
    with joblib.parallel_config("sequential"):
        expected = search.fit(X, y)
    assert_same_search(found, expected)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))


@pytest.mark.parametrize("where", ["network", "search"])
def test_callbacks_are_heard_in_the_workers(where, backend, tmp_path):
    X, y = data()
    path = tmp_path / "log"
    search = GridSearchCV(regressor(), {"alpha": [0.1, 1.0]}, cv=2, refit=False)
    if where == "search":
        search.set_callbacks(Propagated(path))
    else:
        search.estimator.set_callbacks(Log(path))
    search.fit(X, y)
    heard = epochs(path)
    assert sorted(heard["epoch"]) == sorted(4 * list(range(EPOCHS)))
    assert os.getpid() not in set(heard["pid"])


def test_callbacks_stop_fits_in_the_workers(backend, tmp_path):
    X, y = data()
    network = regressor().set_callbacks(Log(tmp_path / "log", stop_at=1))
    found = cross_validate(network, X, y, cv=2, return_estimator=True)
    for fitted in found["estimator"]:
        assert fitted.status_ == "stopped by a callback"
        assert fitted.n_iter_ == 2


def test_a_fit_that_fails_fails_alone(backend):
    X, y = data()
    search = GridSearchCV(
        regressor(), {"alpha": [0.1, -1.0]}, cv=2, refit=False, error_score=-7.0
    )
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 4"):
        search.fit(X, y)
    assert (search.cv_results_["mean_test_score"] == -7.0).tolist() == [False, True]
    with pytest.raises(ValueError, match="'alpha' parameter of ANNRegressor"):
        search.set_params(error_score="raise").fit(X, y)


@pytest.mark.parametrize(
    "network", [regressor(), MLPRegressor(hidden_layer_sizes=4, max_iter=2)], ids=repr
)
def test_filters_of_warnings_hold_in_the_workers(network, backend):
    """As with scikit-learn's network."""
    X, y = data()
    search = GridSearchCV(network, {"alpha": [0.1, 1.0]}, cv=2, error_score="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning):
            search.fit(X, y)
    search.fit(X, y)


# --------------------------------------------------------------- shares, as on the page
def test_the_page(page, capsys):
    execute(PLAIN, page)
    execute(SHARES, page)
    expected = clone(page["search"]).fit(page["wages"].X, page["wages"].y)
    assert_same_search(page["search"], expected)
    assert page["best_params"] == expected.best_params_
    assert capsys.readouterr().out == 2 * f"{expected.best_params_}\n"

    expected_results = pd.DataFrame(expected.cv_results_)
    order = [page["candidates"].index(params) for params in page["results"]["params"]]
    assert sorted(order) == list(range(6))
    in_order = page["results"].set_axis(order).sort_index()
    assert_same_results(in_order, expected_results)
    ranks = expected_results["rank_test_score"]
    assert in_order["rank_test_score"].tolist() == ranks.tolist()
    np.testing.assert_allclose(
        page["best"].predict(page["wages"].X), expected.predict(page["wages"].X)
    )


@dataclass
class Table:
    X: np.ndarray
    y: np.ndarray


def shared(page, search, n_candidates):
    """Run the page's recipe for another search, on other data."""
    X, y = data()
    names = {**page, "search": search, "wages": Table(X, y)}
    names["grid"] = {"alpha": np.logspace(-3, 3, n_candidates).tolist()}
    execute(SHARES, names)
    return names["results"]


def test_every_worker_trains_its_share_as_stacks(page, tmp_path):
    log = Log(tmp_path / "log")
    search = GridSearchCV(regressor().set_callbacks(log), {}, cv=2)
    assert len(shared(page, search, 4)) == 4
    heard = epochs(log.path)
    heard = heard[heard["pid"] != os.getpid()]  # the best one's fit is here
    assert heard.groupby("pid")["epoch"].count().tolist() == [4 * EPOCHS] * 2
    assert set(heard["thread"]) == {"sklearn_ann worker"}
    # In a stack all networks are in the same epoch.
    for _, of_a_worker in heard.groupby("pid"):
        assert of_a_worker["epoch"].is_monotonic_increasing


def test_fewer_candidates_than_workers(page):
    assert len(shared(page, GridSearchCV(regressor(), {}, cv=2), 1)) == 1


def test_a_candidate_that_fails_in_a_share(page):
    class Picky(ANNRegressor):
        def fit(self, X, y):
            if self.alpha == 1.0:
                raise ArithmeticError("refused")
            return super().fit(X, y)

    search = GridSearchCV(Picky(4, **QUICK), {}, cv=2)
    results = shared(page, search, 7).set_index("param_alpha")
    assert results["mean_test_score"].isna().sum() == 1
    assert np.isnan(results.loc[1.0, "mean_test_score"])


# ------------------------------------------------------ from processes of their own
def in_new_process(code):
    """Run code that nobody has set a number of threads for."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_NUM_THREADS")
    }
    paths = [str(Path(__file__).parent), str(PAGE.parents[1])]
    environment["PYTHONPATH"] = os.pathsep.join(
        [*paths, *filter(None, [environment.get("PYTHONPATH")])]
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=TIME_LIMIT - 10)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return out, err


def test_dask_is_imported_only_where_it_is_used():
    out, _ = in_new_process("""
import sys, warnings
import numpy as np
from sklearn.model_selection import cross_val_score
from sklearn_ann import ANNRegressor, batched_fits

X = np.random.default_rng(0).normal(size=(60, 2))
network = ANNRegressor(4, max_iter=20)
with warnings.catch_warnings(), batched_fits():
    warnings.simplefilter("ignore")
    cross_val_score(network, X, X[:, 0])
    network.fit(X, X[:, 0]).predict(X)
print([name for name in sys.modules if name.split(".")[0] in ("dask", "distributed")])
""")
    assert out == "[]\n"


def report(backend, path):
    """Search in two workers, with steps large enough for several threads."""
    X, y = data(800)
    size = {"hidden_layer_sizes": (700, 700), "batch_size": 400, "max_iter": 2}
    # With early stopping fits so short stay linear models, and have nothing to warn of.
    ours = ANNRegressor(**size, early_stopping=False, random_state=0).set_callbacks(
        Log(Path(path))
    )
    theirs = MLPRegressor(hidden_layer_sizes=4, max_iter=2, random_state=0)
    shown = []
    with joblib.parallel_config(backend, n_jobs=2):
        for network in (ours, theirs):
            search = GridSearchCV(network, {"alpha": [0.1, 1.0]}, cv=2)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                search.fit(X, y)
            shown.append(sum(w.category is ConvergenceWarning for w in caught))
    print(json.dumps({"pid": os.getpid(), "caught": shown}))


IN_DASK = """
from dask.distributed import Client, LocalCluster
from test_dask import report

with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster):
    report("dask", {path!r})
"""
IN_LOKY = """
from joblib.externals.loky import get_reusable_executor
from test_dask import report

report("loky", {path!r})
get_reusable_executor().shutdown(wait=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [IN_DASK, IN_LOKY], ids=["dask", "loky"])
def test_threads_and_warnings_of_workers(code, tmp_path):
    path = tmp_path / "log"
    out, err = in_new_process(code.format(path=str(path)))
    found = json.loads(out.splitlines()[-1])

    heard = epochs(path)
    here = heard["pid"] == found["pid"]
    n_workers = heard.loc[~here, "pid"].nunique()
    assert 1 <= n_workers <= 2  # a quick one may have done it all
    n_cores = joblib.cpu_count()
    assert (heard.loc[~here, "n_threads"] <= max(1, n_cores // 2)).all()
    assert (heard.loc[here, "n_threads"] == n_cores).all()  # the step is that large

    # Four fits in workers, whose warnings appear there, and the best one here.
    assert found["caught"] == [1, 1]
    assert err.count("ConvergenceWarning: Training reached max_iter=2") == 4
    assert err.count("ConvergenceWarning: Stochastic Optimizer") == 4
