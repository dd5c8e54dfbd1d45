"""Fits that are killed, interrupted or told to end: who else notices, and what is left.

Resumed fits have their own tests, in test_checkpoints.py.
"""

import json
import signal
import warnings

import numpy as np
import pytest
from children import end, on_linux, start
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from states import described

from sklearn_ann import ANNRegressor, Checkpoint, load, save
from sklearn_ann.engine import quasi_newton, solvers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
rng = np.random.default_rng(0)
X = rng.normal(size=(400, 3))
Y = np.sin(X[:, 0]) + X[:, 1]
QUICK = {"hidden_layer_sizes": (6, 4), "batch_size": 32, "max_iter": 60, "tol": 0.0,
         "early_stopping": False, "random_state": 0}  # fmt: skip
SIGNALS = ["SIGKILL", "SIGTERM"]

# ------------------------------------------------------------------------ in the midst

PRELUDE = """
import json, sys, warnings
import test_killed_fits as here
from sklearn.model_selection import GridSearchCV
from sklearn_ann import ANNRegressor, Checkpoint, batched_fits, load, save
warnings.simplefilter("ignore")
model = ANNRegressor(**{**here.QUICK, "max_iter": 10**6, **json.loads(sys.argv[2])})
epochs, rates = [], here.solvers.Descent.epoch
def epoch(self, asked):
    epochs.append(1)
    if len(epochs) == 20:
        print("in the midst", flush=True)
    return rates(self, asked)
here.solvers.Descent.epoch = epoch
"""
WORK = {
    "fit": "model.fit(here.X, here.Y)",
    "refit": """
load(sys.argv[1] + "/model")
model.fit(here.X, here.Y)
save(model, sys.argv[1] + "/model")
""",
    "search": """
with batched_fits():
    GridSearchCV(model, {"alpha": [0.1, 0.2, 0.3]}, cv=3).fit(here.X, here.Y)
""",
}


def die_in(work, number, folder, **parameters):
    """Kill a program in the midst of what it does."""
    child = start(PRELUDE + work, folder, json.dumps(parameters))
    assert child.stdout.readline() == "in the midst\n", child.communicate()[1]
    return end(child, getattr(signal, number))


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("work", WORK)
def test_a_program_ends_in_the_midst_of_its_work(work, number, tmp_path):
    """At once, without words, and with the files as they were."""
    save(ANNRegressor(**QUICK).fit(X, Y), tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    out, error, code = die_in(WORK[work], number, tmp_path)
    assert (out, error, code) == ("", "", -getattr(signal, number))
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model").read_bytes() == before
    load(tmp_path / "model")


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_fit_with_a_checkpoint_goes_on(number, tmp_path):
    """Ended anywhere, also while the checkpoint is written: bit for bit as if never."""
    whole = ANNRegressor(**QUICK).fit(X, Y)
    work = """
model.set_callbacks(Checkpoint(sys.argv[1] + "/checkpoint", every_n_epochs=1))
model.fit(here.X, here.Y)
"""
    # A rate of epochs that lets it be ended before its last one.
    slow = "import time\nwait = epoch\n" + (
        "here.solvers.Descent.epoch = lambda s, r: time.sleep(0.02) or wait(s, r)\n"
    )
    _, error, code = die_in(slow + work, number, tmp_path, max_iter=60)
    assert (error, code) == ("", -getattr(signal, number))
    path = tmp_path / "checkpoint"
    assert path.exists()
    again = ANNRegressor(**QUICK).set_callbacks(Checkpoint(path)).fit(X, Y)
    np.testing.assert_array_equal(again.predict(X), whole.predict(X))
    assert again.loss_curve_ == whole.loss_curve_
    assert not path.exists()


CTRL_C = """
old = ANNRegressor(**{**here.QUICK, "max_iter": 10}).fit(here.X, here.Y)
before = old.predict(here.X)
epochs.clear()
try:
    old.set_params(max_iter=10**6).fit(-here.X, here.Y)
except KeyboardInterrupt:
    print((old.predict(here.X) == before).all(), old.n_iter_)
"""


@on_linux
@pytest.mark.slow
def test_ctrl_c_leaves_the_fitted_estimator(tmp_path):
    out, error, code = die_in(CTRL_C, "SIGINT", tmp_path)
    assert (out, error, code) == ("True 10\n", "", 0)


# --------------------------------------------------------------------- a NaN, later on


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
def test_a_nan_in_epoch_50(solver, warm_start, monkeypatch):
    """The weights of epoch 49 are kept, with one warning, and can be gone on from."""
    model = ANNRegressor(**QUICK, solver=solver, warm_start=warm_start)
    until = clone(model).set_params(max_iter=49).fit(X, Y)
    count, epoch = [], solvers.Descent.epoch

    def broken(self, rates):
        count.append(1)
        losses, finite = epoch(self, rates)
        if len(count) == 50:
            self.stack.flat[0] = np.nan
            return [np.nan] * len(losses), [False] * len(finite)
        return losses, finite

    with monkeypatch.context() as patched:
        patched.setattr(solvers.Descent, "epoch", broken)
        with pytest.warns(ConvergenceWarning, match="in epoch 50; the last") as caught:
            model.fit(X, Y)
    assert len(caught) == 1
    assert (model.status_, model.n_iter_) == ("not finite", 50)
    np.testing.assert_array_equal(model.predict(X), until.predict(X))
    again = model.fit(X, Y)
    assert again.status_ != "not finite"
    assert np.isfinite(again.predict(X)).all()


def test_an_objective_of_lbfgs_that_is_nan_from_iteration_50_on(monkeypatch):
    """A step is taken only to where the objective is finite, so nothing is undone."""
    model = ANNRegressor(**QUICK | {"hidden_layer_sizes": 16}, solver="lbfgs")
    until = clone(model).set_params(max_iter=49).fit(X, Y)
    assert until.status_ == "reached max_iter"
    objective, epoch, count = quasi_newton.objective, quasi_newton.QuasiNewton.epoch, []

    def counted(self, rates):
        count.append(1)
        return epoch(self, rates)

    def broken(*args):
        value, gradient = objective(*args)
        if len(count) >= 50:
            value, gradient = value * np.nan, gradient * np.nan
        return value, gradient

    monkeypatch.setattr(quasi_newton.QuasiNewton, "epoch", counted)
    monkeypatch.setattr(quasi_newton, "objective", broken)
    model.fit(X, Y)
    assert model.n_iter_ == 50
    np.testing.assert_allclose(model.predict(X), until.predict(X), rtol=1e-12)


def test_a_gradient_that_is_nan_in_epoch_50(monkeypatch):
    """For one step, in the midst of the epoch."""
    steps, step = [], solvers.Adam.stepper

    def stepper(self):
        move = step(self)

        def moved():
            steps.append(1)
            if len(steps) == 49 * 13 + 5:  # 13 batches an epoch
                self.stack.gradient.fill_(np.nan)
            move()

        return moved

    monkeypatch.setattr(solvers.Adam, "stepper", stepper)
    model = ANNRegressor(**QUICK)
    with pytest.warns(ConvergenceWarning, match="epoch 50") as caught:
        model.fit(X, Y)
    assert len(caught) == 1
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        until = clone(model).set_params(max_iter=49).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), until.predict(X))


def test_one_member_of_an_ensemble(monkeypatch):
    """The others are as they would have been."""
    model = ANNRegressor(**QUICK, n_estimators=3)
    alone = clone(model).fit(X, Y)
    count, epoch = [], solvers.Descent.epoch

    def broken(self, rates):
        count.append(1)
        losses, finite = epoch(self, rates)
        if len(count) == 50:
            self.stack.rows(self.stack.flat)[1, 0] = np.nan
            losses[1], finite[1] = np.nan, False
        return losses, finite

    monkeypatch.setattr(solvers.Descent, "epoch", broken)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, Y)
    assert len(caught) == 1
    for i, (ours, other) in enumerate(
        zip(model.estimators_, alone.estimators_, strict=True)
    ):
        same = described(ours.coefs_) == described(other.coefs_)
        assert same == (i != 1)
        assert (ours.status_ == "not finite") == (i == 1)
    assert np.isfinite(model.predict(X)).all()
