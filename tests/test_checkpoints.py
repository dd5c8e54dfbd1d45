"""Checkpoints: a fit that is killed and goes on ends as if it had not been."""

import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.callback import FitCallback, ProgressBar
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from states import described

from sklearn_ann import ANNClassifier, ANNRegressor, Checkpoint, FileError, load, save
from sklearn_ann import checkpoints as checkpoints_module
from sklearn_ann.engine.training import _Run

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore::sklearn.exceptions.ConvergenceWarning"
)
QUICK = {
    "hidden_layer_sizes": (6, 4),
    "batch_size": 32,
    "max_iter": 20,
    "tol": 1e-3,
    "n_iter_no_change": 3,
    "early_stopping": False,
    "random_state": 0,
}


def data(n=150):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, np.sin(X[:, 0]) + 0.1 * rng.normal(size=n)


class Broken(Exception):
    """The fit is broken off."""


class Breaker:
    """Break a fit off in a round of epochs, by an exception or by SIGKILL."""

    def __init__(self, at, kill=False):
        self.at, self.kill = at, kill

    def __call__(self, *args):
        self.at -= 1
        if self.at < 0:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Broken
        return False


def state(model):
    """All that a fit leaves, but for the time it took."""
    left = {k: v for k, v in vars(model).items() if k != "_skl_callbacks"}
    left.pop("fit_seconds_")
    members = [state(member) for member in left.pop("estimators_", [])]
    return described([left, members])


def is_kept(run):
    """Whether these are the networks asked for, and not their linear starts."""
    return bool(run.keepers)


def broken_off(model, X, y, at, path, monkeypatch, every=1, which=is_kept):
    """Fit until the loop has gone round ``at`` times; say whether it did."""
    breaker, rates = Breaker(at), _Run._rates
    monkeypatch.setattr(
        _Run, "_rates", lambda run: (which(run) and breaker()) or rates(run)
    )
    try:
        clone(model).set_callbacks(Checkpoint(path, every_n_epochs=every)).fit(X, y)
    except Broken:
        return True
    finally:
        monkeypatch.setattr(_Run, "_rates", rates)
    return False


def rounds(fit, monkeypatch):
    """How often the loop goes round in a fit."""
    count, rates = [], _Run._rates
    monkeypatch.setattr(
        _Run, "_rates", lambda run: count.append(is_kept(run)) or rates(run)
    )
    fit()
    monkeypatch.setattr(_Run, "_rates", rates)
    return sum(count)


# Members that end at different times.
STOPS_EARLY = {
    "early_stopping": True,
    "alpha": 1e-4,
    "dropout": 0.0,
    "learning_rate": "constant",
    "learning_rate_init": 0.001,
    "linear_skip": False,
    "standardize": "standard",
    "validation_fraction": 0.1,
}
VARIANTS = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "early stopping": {"early_stopping": True, "n_estimators": 1},
    "scorer": {"early_stopping": True, "n_estimators": 1, "scoring": "r2"},
    "linear start": {"linear_skip": True},
    "one cycle": {"learning_rate": "one_cycle"},
    "inverse scaling": {"learning_rate": "invscaling"},
    "adaptive": {"learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2},
    "full batch": {"batch_size": "full"},
    "restarts": {"n_init": 3},
    "ensemble": {"n_estimators": 3},
    "ensemble, early stopping": {"n_estimators": 3, "early_stopping": True},
    "warm": {"warm_start": True},
    "defaults": {"early_stopping": "auto"},
    "defaults, ramps": {
        "early_stopping": "auto",
        "numeric_embedding": "piecewise_linear",
        "n_estimators": 3,
    },
    "defaults, waves": {
        "early_stopping": "auto",
        "numeric_embedding": "periodic",
        "n_init": 2,
        "n_estimators": 2,
    },
}
SOLVERS = ["adam", "adamw", "sgd", "lbfgs"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_resumed_fit_is_the_same_bit_for_bit(solver, variant, tmp_path, monkeypatch):
    if solver == "lbfgs" and variant == "dropout":
        pytest.skip("L-BFGS takes no random steps")
    parameters = {**QUICK, **VARIANTS[variant]}
    if solver == "lbfgs":
        parameters["dropout"] = 0.0
    model = ANNRegressor(**parameters, solver=solver)
    X, y = data()
    whole = clone(model).fit(X, y)
    path = tmp_path / "checkpoint"
    resumed = 0
    for at in (2, 9):
        broken = broken_off(model, X, y, at, path, monkeypatch)
        assert path.exists() == broken
        again = clone(model).set_callbacks(Checkpoint(path))
        n = rounds(lambda again=again: again.fit(X, y), monkeypatch)
        assert state(again) == state(whole)
        assert not path.exists()
        if broken:
            resumed += 1
            total = max(
                len(m.loss_curve_) for m in getattr(again, "estimators_", [again])
            )
            assert n <= max(total, QUICK["max_iter"]) - at
    assert resumed


def test_members_that_have_ended_stay_as_they_are(tmp_path, monkeypatch):
    """Broken off when some members of a stack are done and others are not."""
    X, y = data()
    quick = {**QUICK, "max_iter": 100, "tol": 1e-2}
    model = ANNRegressor(**quick | STOPS_EARLY, n_estimators=4)
    whole = clone(model).fit(X, y)
    ends = sorted(member.n_iter_ for member in whole.estimators_)
    assert ends[0] < ends[-1]
    assert broken_off(model, X, y, ends[0] + 1, tmp_path / "c", monkeypatch)
    again = clone(model).set_callbacks(Checkpoint(tmp_path / "c"))
    assert rounds(lambda: again.fit(X, y), monkeypatch) == ends[-1] - ends[0] - 1
    assert state(again) == state(whole)


def table(n=150):
    """Rows as they come, and a target that the linear model misses."""
    X, y = data(n)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    frame["firm"] = [f"firm {i % 40}" for i in range(n)]
    frame["sex"] = np.array(["f", "m"])[(X[:, 1] > 0).astype(int)]
    frame.loc[::9, ["a", "sex"]] = None
    return frame, y + np.abs(X[:, 2])


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_a_default_fit_to_a_table(Estimator, share, tmp_path, monkeypatch):
    """Broken off anywhere: in linear starts, in training, in the last linear model."""
    X, y = table()
    y = y if Estimator is ANNRegressor else y > y.mean()
    model = Estimator((6, 4), numeric_embedding="piecewise_linear", max_iter=8,
                      random_state=0)  # fmt: skip
    whole = clone(model).fit(X, y)
    assert len(whole.estimators_) == 8 and whole.linear_skip_
    path, count, rates = tmp_path / "c", [], _Run._rates
    with monkeypatch.context() as patched:
        patched.setattr(_Run, "_rates", lambda run: count.append(1) or rates(run))
        clone(model).fit(X, y)
    at = int(share * (len(count) - 1))
    assert broken_off(model, X, y, at, path, monkeypatch, which=lambda run: True)
    again = clone(model).set_callbacks(Checkpoint(path)).fit(X, y)
    assert state(again) == state(whole)
    assert again.stays_linear_ == whole.stays_linear_
    assert not path.exists()


@pytest.mark.parametrize("share", [0.4, 0.8])
def test_scouts_and_those_that_follow_them(share, tmp_path, monkeypatch):
    """Broken off before scouts have won, and when the others are trained again."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1200, 6))
    y = np.sign(X[:, 0] * X[:, 1] * X[:, 2]) + X[:, 3] + 0.2 * rng.normal(size=1200)
    model = ANNRegressor(32, n_estimators=3, max_iter=30, random_state=0)
    whole = clone(model).fit(X, y)
    assert whole.column_paces_.min() == 1.0
    path = tmp_path / "c"
    n = rounds(
        lambda: clone(model).set_callbacks(Checkpoint(path)).fit(X, y), monkeypatch
    )
    at = int(share * n)
    assert broken_off(model, X, y, at, path, monkeypatch)
    again = clone(model).set_callbacks(Checkpoint(path))
    assert rounds(lambda: again.fit(X, y), monkeypatch) <= n - at
    assert state(again) == state(whole)


def test_several_stacks(tmp_path, monkeypatch):
    """Members too wide to share a stack: some are done, one is not, some not begun."""
    X, y = data()
    model = ANNRegressor(
        400, n_estimators=3, max_iter=4, early_stopping=False, random_state=0
    )
    monkeypatch.setattr("sklearn_ann.fitting.CACHED_NUMBERS", 1000)
    whole = clone(model).fit(X, y)
    assert broken_off(model, X, y, 6, tmp_path / "c", monkeypatch)
    again = clone(model).set_callbacks(Checkpoint(tmp_path / "c"))
    assert rounds(lambda: again.fit(X, y), monkeypatch) == 3 * 4 - 6
    assert state(again) == state(whole)


def test_large_stacks_of_lbfgs(tmp_path, monkeypatch):
    """Rows in several pieces, which are cut again when members leave."""
    # 150 rows of four networks to a piece, 200 of three, 300 of two.
    monkeypatch.setattr("sklearn_ann.engine.feeder.CHUNK_NUMBERS", 3600)
    X, y = data(400)
    model = ANNRegressor((6,), solver="lbfgs", n_estimators=4, **STOPS_EARLY,
                         n_iter_no_change=10, max_iter=60, random_state=0)  # fmt: skip
    path = tmp_path / "c"
    whole = clone(model).set_callbacks(Checkpoint(path)).fit(X, y)
    ends = sorted(member.n_iter_ for member in whole.estimators_)
    assert ends[0] < ends[1] < ends[2]
    for at in (5, ends[0] + 1, ends[1] + 1):
        assert broken_off(model, X, y, at, path, monkeypatch)
        again = clone(model).set_callbacks(Checkpoint(path)).fit(X, y)
        assert state(again) == state(whole)


@pytest.mark.parametrize("what", ["classes", "labels", "sparse", "weights", "float32"])
def test_other_data(what, tmp_path, monkeypatch):
    X, y = data()
    fit = {}
    model = ANNRegressor(**QUICK)
    if what in ("classes", "labels"):
        model = ANNClassifier(**QUICK)
        y = np.digitize(y, [-0.5, 0.5]) if what == "classes" else np.c_[y > 0, y > 1]
    if what == "sparse":
        X = sp.csr_array(np.where(np.abs(X) > 0.5, X, 0.0))
    if what == "float32":
        X = X.astype(np.float32)
    if what == "weights":
        fit = {"sample_weight": np.linspace(0.1, 2.0, len(y))}
    whole = clone(model).fit(X, y, **fit)
    path, breaker, rates = tmp_path / "c", Breaker(5), _Run._rates
    with monkeypatch.context() as patched, pytest.raises(Broken):
        patched.setattr(_Run, "_rates", lambda run: breaker() or rates(run))
        clone(model).set_callbacks(Checkpoint(path, every_n_epochs=1)).fit(X, y, **fit)
    assert path.exists()
    again = clone(model).set_callbacks(Checkpoint(path)).fit(X, y, **fit)
    assert state(again) == state(whole)


def test_a_later_fit_with_warm_start(tmp_path, monkeypatch):
    """Broken off in the second fit, after the first was saved."""
    X, y = data()
    model = ANNRegressor(**{**QUICK, "max_iter": 6, "tol": 0.0}, warm_start=True)
    model.fit(X, y)
    save(model, tmp_path / "model")
    breaker, rates = Breaker(3), _Run._rates
    with monkeypatch.context() as patched, pytest.raises(Broken):
        patched.setattr(_Run, "_rates", lambda run: breaker() or rates(run))
        checkpoint = Checkpoint(tmp_path / "c", every_n_epochs=1)
        load(tmp_path / "model").set_callbacks(checkpoint).fit(X, y)
    again = load(tmp_path / "model").set_callbacks(Checkpoint(tmp_path / "c"))
    assert rounds(lambda: again.fit(X, y), monkeypatch) == 3
    assert state(again) == state(model.fit(X, y))
    assert again.n_iter_ == 12


# ---------------------------------------------------------------------- real kills

CHILD = """
import json, sys, warnings
import test_checkpoints as here
warnings.simplefilter("ignore")
path, at, name, parameters = sys.argv[1:]
model = getattr(here, name)(**{**here.QUICK, **json.loads(parameters)})
breaker, rates = here.Breaker(int(at), kill=True), here._Run._rates
here._Run._rates = lambda run: (run.keepers and breaker()) or rates(run)
X, y = here.data()
y = y if name == "ANNRegressor" else here.np.digitize(y, [-0.5, 0.5])
model.set_callbacks(here.Checkpoint(path, every_n_epochs=2)).fit(X, y)
"""
KILLS = {
    "adam": ("ANNClassifier", {**STOPS_EARLY, "dropout": 0.2, "n_iter_no_change": 20}),
    "defaults": ("ANNRegressor", {"early_stopping": "auto", "n_iter_no_change": 20}),
    "sgd": ("ANNRegressor", {"solver": "sgd"}),
    "lbfgs": ("ANNRegressor", {"solver": "lbfgs"}),
    "ensemble": ("ANNRegressor", {"n_estimators": 3, "dropout": 0.2}),
    "ensemble of lbfgs": ("ANNRegressor", {"n_estimators": 3, "solver": "lbfgs"}),
}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=() if k == "ensemble" else pytest.mark.slow) for k in KILLS],
)
def test_sigkill(kind, tmp_path):
    """Killed in another process, resumed in this one."""
    import json

    name, parameters = KILLS[kind]
    path = tmp_path / "checkpoint"
    here = os.path.dirname(__file__)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([here, *sys.path])
    command = [sys.executable, "-c", CHILD, path, "7", name, json.dumps(parameters)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert path.exists()
    X, y = data()
    y = y if name == "ANNRegressor" else np.digitize(y, [-0.5, 0.5])
    model = {"ANNRegressor": ANNRegressor, "ANNClassifier": ANNClassifier}[name]
    model = model(**{**QUICK, **parameters})
    again = clone(model).set_callbacks(Checkpoint(path)).fit(X, y)
    assert state(again) == state(clone(model).fit(X, y))


# ----------------------------------------------------------------- when, and whose


def writes(monkeypatch):
    """Epochs at whose ends a file is written."""
    written, write = [], checkpoints_module.files.write

    def noted(path, kind, tree, writer):
        written.append(len(tree["fits"][0]["record"]["losses"]))
        write(path, kind, tree, writer)

    monkeypatch.setattr(checkpoints_module.files, "write", noted)
    return written


def test_every_so_many_epochs(tmp_path, monkeypatch):
    X, y = data()
    written = writes(monkeypatch)
    model = ANNRegressor(**{**QUICK, "tol": 0.0, "max_iter": 10})
    checkpoint = Checkpoint(tmp_path / "c", every_n_epochs=4, every_minutes=None)
    clone(model).set_callbacks(checkpoint).fit(X, y)
    assert written == [4, 8]


def test_every_so_many_minutes(tmp_path, monkeypatch):
    X, y = data()
    written, clock = writes(monkeypatch), iter(np.arange(0.0, 1e6, 25.0))
    monkeypatch.setattr(checkpoints_module.time, "monotonic", lambda: next(clock))
    model = ANNRegressor(**{**QUICK, "tol": 0.0, "max_iter": 6})
    model.set_callbacks(Checkpoint(tmp_path / "c", every_minutes=1.0)).fit(X, y)
    assert written and written[0] > 1 and len(written) < 5


def test_nothing_is_written_without_need(tmp_path, monkeypatch):
    X, y = data()
    written = writes(monkeypatch)
    ANNRegressor(**QUICK).set_callbacks(Checkpoint(tmp_path / "c")).fit(X, y)
    assert written == []
    assert list(tmp_path.iterdir()) == []


def test_a_finished_fit_may_be_kept(tmp_path, monkeypatch):
    X, y = data()
    model = ANNRegressor(**QUICK, n_estimators=2)
    checkpoint = Checkpoint(tmp_path / "c", remove=False)
    first = clone(model).set_callbacks(checkpoint).fit(X, y)
    assert (tmp_path / "c").exists()
    again = clone(model).set_callbacks(checkpoint)
    assert rounds(lambda: again.fit(X, y), monkeypatch) == 0
    assert state(again) == state(first)


def test_another_fit_is_not_resumed(tmp_path, monkeypatch):
    X, y = data()
    path = tmp_path / "c"
    model = ANNRegressor(**QUICK)
    assert broken_off(model, X, y, 4, path, monkeypatch)
    before = path.read_bytes()

    def refused(said, model=model, X=X, y=y, **fit):
        model = clone(model).set_callbacks(Checkpoint(path))
        with pytest.raises(ValueError, match=said) as raised:
            model.fit(X, y, **fit)
        assert "belongs to another fit" in str(raised.value)
        assert not hasattr(model, "n_features_in_")
        assert path.read_bytes() == before

    refused("alpha was 'auto' and is 0.3", clone(model).set_params(alpha=0.3))
    refused("max_iter was 20 and is 30", clone(model).set_params(max_iter=30))
    refused("n_estimators", clone(model).set_params(n_estimators=2))
    refused("ANNClassifier", ANNClassifier(**QUICK), y=y > 0)
    refused("data", X=X + 1e-3 * X**2)
    refused("data", y=y + 1e-3 * y**2)
    refused("data", sample_weight=np.linspace(1, 2, len(y)))
    refused("random_state", clone(model).set_params(random_state=1))
    refused("data", X=X[::-1], y=y[::-1])
    refused("data", X_val=X, y_val=y)
    clone(model).set_params(verbose=False).set_callbacks(Checkpoint(path)).fit(X, y)


def test_an_instance_of_random_state_is_known_by_what_it_draws(tmp_path, monkeypatch):
    X, y = data()
    path = tmp_path / "c"

    def model():
        return ANNRegressor(**{**QUICK, "random_state": np.random.RandomState(3)})

    assert broken_off(model(), X, y, 4, path, monkeypatch)
    again = model().set_callbacks(Checkpoint(path)).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), model().fit(X, y).predict(X))


def test_without_random_state(tmp_path):
    X, y = data()
    model = ANNRegressor(4).set_callbacks(Checkpoint(tmp_path / "c"))
    with pytest.raises(ValueError, match="random_state=0"):
        model.fit(X, y)


def test_a_damaged_file(tmp_path, monkeypatch):
    X, y = data()
    path = tmp_path / "c"
    assert broken_off(ANNRegressor(**QUICK), X, y, 4, path, monkeypatch)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="hash"):
        ANNRegressor(**QUICK).set_callbacks(Checkpoint(path)).fit(X, y)
    path.write_bytes(b"")
    with pytest.raises(FileError, match="cannot be loaded"):
        ANNRegressor(**QUICK).set_callbacks(Checkpoint(path)).fit(X, y)
    save(ANNRegressor(), path)
    with pytest.raises(FileError, match="of kind 'estimator'"):
        ANNRegressor(**QUICK).set_callbacks(Checkpoint(path)).fit(X, y)


def test_a_checkpoint_is_no_estimator(tmp_path, monkeypatch):
    X, y = data()
    assert broken_off(ANNRegressor(**QUICK), X, y, 4, tmp_path / "c", monkeypatch)
    with pytest.raises(FileError, match="checkpoint"):
        load(tmp_path / "c")


def test_a_file_that_cannot_be_written_stops_the_fit(tmp_path):
    X, y = data()
    checkpoint = Checkpoint(tmp_path / "nowhere" / "c", every_n_epochs=1)
    model = ANNRegressor(**QUICK).set_callbacks(checkpoint)
    with pytest.raises(FileNotFoundError):
        model.fit(X, y)
    assert not hasattr(model, "n_iter_")
    model.set_callbacks(Checkpoint(tmp_path / "c")).fit(X, y)


def test_other_callbacks_beside_it(tmp_path, monkeypatch, capsys):
    X, y = data()
    path = tmp_path / "c"
    assert broken_off(ANNRegressor(**QUICK), X, y, 4, path, monkeypatch)
    model = ANNRegressor(**QUICK).set_callbacks(ProgressBar(), Checkpoint(path))
    model.fit(X, y)
    assert state(model) == state(ANNRegressor(**QUICK).fit(X, y))


def test_inside_a_pipeline(tmp_path, monkeypatch):
    X, y = data()
    path = tmp_path / "c"

    def pipeline():
        network = ANNRegressor(**QUICK).set_callbacks(
            Checkpoint(path, every_n_epochs=1)
        )
        return make_pipeline(StandardScaler(), network)

    whole = pipeline().fit(X, y)
    breaker, rates = Breaker(4), _Run._rates
    with monkeypatch.context() as patched, pytest.raises(Broken):
        patched.setattr(_Run, "_rates", lambda run: breaker() or rates(run))
        pipeline().fit(X, y)
    assert path.exists()
    np.testing.assert_array_equal(pipeline().fit(X, y).predict(X), whole.predict(X))
    with pytest.raises(TypeError, match="set_callbacks of the network"):
        make_pipeline(StandardScaler(), ANNRegressor()).set_callbacks(
            Checkpoint(path)
        ).fit(X, y)


def test_one_fit_at_a_time(tmp_path):
    from sklearn_ann import batched_fits

    X, y = data()
    network = ANNRegressor(**QUICK).set_callbacks(Checkpoint(tmp_path / "c"))
    search = GridSearchCV(network, {"alpha": [0.1, 1.0]}, cv=2, error_score="raise")
    search.fit(X, y)  # one after another
    with pytest.raises(ValueError, match="a path of its own"), batched_fits():
        search.fit(X, y)


@pytest.mark.parametrize(
    "parameters",
    [
        {"every_minutes": None},
        {"every_n_epochs": 0},
        {"every_minutes": -1.0},
    ],
)
def test_its_parameters(parameters):
    with pytest.raises(ValueError, match=r"every_|above 0"):
        Checkpoint("c", **parameters)


def test_it_is_a_callback():
    assert isinstance(Checkpoint("c"), FitCallback)


def test_no_warning_is_lost(tmp_path, monkeypatch):
    """A resumed fit that reaches max_iter says so like any other."""
    X, y = data()
    model = ANNRegressor(**{**QUICK, "tol": 0.0})
    assert broken_off(model, X, y, 4, tmp_path / "c", monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning, match="max_iter=20"):
            model.set_callbacks(Checkpoint(tmp_path / "c")).fit(X, y)
