"""The same number in, the same network out: seeds, copies, pickles, stored results."""

import copy
import json
import os
import pickle
import platform
import random
import subprocess
import sys
import weakref
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from quiet_callback import Quiet
from sklearn.base import clone
from states import described
from textbook import TEXTBOOK

from sklearn_ann import ANNClassifier, ANNRegressor

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
SOLVERS = ["sgd", "adam", "adamw", "lbfgs"]
QUICK = TEXTBOOK | {
    "hidden_layer_sizes": (6, 4),
    "max_iter": 4,
    "tol": 0.0,
    "batch_size": 16,
}
FEW = TEXTBOOK | {"max_iter": 2}
SNAPSHOT = Path(__file__).parent / "snapshots" / "reference_predictions.json"
# Far above what float64 loses when another processor or version of PyTorch adds in
# another order, far below what any change of the algorithm makes.
SNAPSHOT_TOLERANCE = 1e-6


def data(n=60, d=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    return X, np.sin(X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=n)


def _models():
    """Every solver and every source of randomness, by name."""
    for solver in SOLVERS:
        dropout = [] if solver == "lbfgs" else [("dropout", 0.3)]
        for options in ([], dropout, [("early_stopping", True)], [("n_init", 2)]):
            for Estimator in (ANNRegressor, ANNClassifier):
                words = [Estimator.__name__, solver, *(name for name, _ in options)]
                yield (
                    "-".join(words),
                    Estimator(**QUICK | dict(options), solver=solver),
                )


MODELS = dict(_models())


@pytest.fixture(params=MODELS)
def model(request):
    return clone(MODELS[request.param])


def target(model, y):
    return y if isinstance(model, ANNRegressor) else (y > 0).astype(int)


def results(model):
    """All that came of a fit, bit by bit, but its duration and its generator."""
    left_out = {"fit_seconds_", "random_state"}
    return described({k: v for k, v in vars(model).items() if k not in left_out})


# ------------------------------------------------------------------- random_state


def test_refits_are_bit_equal(model):
    X, y = data()
    y = target(model, y)
    model.set_params(random_state=3)
    first, again = clone(model).fit(X, y), clone(model).fit(X, y)
    assert results(first) == results(again)
    assert results(first.fit(X, y)) == results(again)  # also on the fitted one
    other = clone(model).set_params(random_state=4).fit(X, y)
    assert not np.array_equal(other.coefs_[0], again.coefs_[0])


def test_global_generators_neither_matter_nor_move(model):
    X, y = data()
    y = target(model, y)
    fits = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002 - the one that must not matter
        torch.manual_seed(seed)
        random.seed(seed)
        before = described(np.random.get_state())  # noqa: NPY002
        torch_before, random_before = torch.get_rng_state(), random.getstate()
        for state in (None, 3):
            fitted = clone(model).set_params(random_state=state).fit(X, y)
            fitted.predict(X)
        fits.append(results(fitted))
        assert described(np.random.get_state()) == before  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), torch_before)
        assert random.getstate() == random_before
    assert fits[0] == fits[1]


def test_every_kind_of_random_state():
    X, y = data()
    model = ANNRegressor(**QUICK)

    def fit(state):
        return clone(model, safe=False).set_params(random_state=state).fit(X, y)

    of_int = fit(7)
    assert results(fit(np.int64(7))) == results(of_int)
    # A generator is used up: the same start gives the same fit, and then another one.
    generator = np.random.RandomState(7)
    first, second = fit(generator), fit(generator)
    assert results(first) == results(fit(np.random.RandomState(7)))
    assert not np.array_equal(first.coefs_[0], second.coefs_[0])
    # None is new every time.
    coefs = [fit(None).coefs_[0].tobytes() for _ in range(5)]
    assert len(set(coefs)) == 5


def test_seeds_next_to_each_other_are_far_apart():
    """No two of seeds and restarts share a start."""
    X, y = data()
    starts = set()
    for seed in range(5):
        model = ANNRegressor(**QUICK | {"n_init": 3, "max_iter": 1}, random_state=seed)
        seen = Starts()
        model.set_callbacks(seen).fit(X, y)
        starts |= seen.starts
    assert len(starts) == 15


class Starts(Quiet):
    """A callback that collects the weights after the first epoch."""

    def __init__(self):
        self.starts = set()

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch":
            self.starts.add(fitted_estimator.coefs_[0].tobytes())


def test_what_does_not_shuffle_does_not_depend_on_the_order_of_epochs():
    """shuffle=False: the rows come as they are, so the seed decides the start only."""
    X, y = data()
    start = ANNRegressor(**QUICK, random_state=0).fit(X, y)
    given = {"coefs_init": start.coefs_, "intercepts_init": start.intercepts_}
    fits = [
        ANNRegressor(**QUICK, shuffle=shuffle, random_state=seed).fit(X, y, **given)
        for shuffle in (False, True)
        for seed in (0, 1)
    ]
    still, still_too, shuffled, shuffled_too = (m.predict(X) for m in fits)
    np.testing.assert_array_equal(still, still_too)
    assert not np.array_equal(shuffled, shuffled_too)


# ------------------------------------------------------------------- copies

COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_predict_the_same(model, how):
    X, y = data()
    y = target(model, y)
    model.set_params(random_state=0).fit(X, y)
    made = COPIES[how](model)
    np.testing.assert_array_equal(made.predict(X), model.predict(X))
    assert results(made) == results(model)
    assert results(made.fit(X, y)) == results(model)
    assert made.score(X, y) == model.score(X, y)


def test_copies_through_a_file(tmp_path):
    X, y = data()
    model = ANNRegressor(**QUICK, random_state=0).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_a_copy_goes_its_own_way():
    X, y = data()
    model = ANNRegressor(**QUICK, random_state=0, warm_start=True).fit(X, y)
    before = described(vars(model))
    copy.copy(model).fit(X, y)
    copy.deepcopy(model).fit(X, y)
    assert described(vars(model)) == before


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
def test_clone_is_unfitted_and_keeps_parameters(Estimator):
    X, y = data()
    y = target(Estimator(), y)
    model = Estimator(**QUICK, warm_start=True, random_state=0).fit(X, y)
    cloned = clone(model)
    assert vars(cloned) == model.get_params()
    fresh = Estimator(**QUICK, warm_start=True, random_state=0)
    assert results(cloned.fit(X, y)) == results(fresh.fit(X, y))


# ------------------------------------------------------------------- size


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("options", [{}, {"early_stopping": True}], ids=str)
@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
def test_a_pickle_holds_weights_and_no_rows(Estimator, options, solver):
    X, y = data(n=20_000, d=10)
    model = Estimator(64, solver=solver, random_state=0, **FEW | options)
    y = target(model, y)
    weight = np.linspace(0.5, 2.0, len(y))
    model.fit(X, y, sample_weight=weight)
    size = len(pickle.dumps(model))
    assert size <= 2 * 8 * model.n_parameters_ + 20_000
    assert size < len(y)  # not a byte a row
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(X[:50]), model.predict(X[:50]))


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_goes_on_later_holds_no_rows_either(solver):
    """Moments of Adam, or ten steps and gradients of L-BFGS, and no more."""
    X, y = data(n=20_000, d=10)
    model = ANNRegressor(8, solver=solver, warm_start=True, random_state=0, **FEW)
    model.fit(X, y)
    assert len(pickle.dumps(model)) <= 30 * 8 * model.n_parameters_ + 20_000


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("options", [{}, {"early_stopping": True}], ids=str)
def test_rows_are_let_go_after_a_fit(options, solver):
    """Nothing inside, not even a closure or a cycle, holds on to the data."""
    X, y = data()
    model = ANNRegressor(**QUICK | options, solver=solver, warm_start=True)
    model.set_callbacks(Starts())
    held = [weakref.ref(X), weakref.ref(y)]
    model.fit(X, y)
    del X, y
    assert [ref() is None for ref in held] == [True, True]


def test_without_warm_start_nothing_is_kept_for_later():
    X, y = data()
    model = ANNRegressor(**QUICK, warm_start=True, random_state=0).fit(X, y)
    warm = len(pickle.dumps(model))
    model.set_params(warm_start=False).fit(X, y)
    assert len(pickle.dumps(model)) < warm - 2 * 8 * model.n_parameters_


# ------------------------------------------------------------------- prediction


def test_predicting_changes_nothing(model):
    X, y = data()
    y = target(model, y)
    model.set_params(random_state=0).fit(X, y)
    before = described(vars(model))
    first = model.predict(X)
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        if hasattr(model, method):
            getattr(model, method)(X)
    model.score(X, y)
    _ = model.coefs_, model.intercepts_, repr(model), model._repr_html_()
    np.testing.assert_array_equal(model.predict(X), first)
    assert described(vars(model)) == before


# ------------------------------------------------------------------- stored results


def reference_data(n):
    """Not from a random generator: NumPy may change its streams between versions."""
    grid = np.arange(float(n))
    X = np.column_stack([np.sin(grid), np.cos(1.7 * grid), (grid % 7) - 3.0])
    return X, X[:, 0] * X[:, 1] + np.abs(X[:, 2])


def predictions_of(X, y, **options):
    """What a regressor and a classifier predict, in float64."""
    options |= {"random_state": 42, "dtype": "float64"}
    regressor = ANNRegressor(**options).fit(X, y)
    classifier = ANNClassifier(**options).fit(X, np.digitize(y, [0.7, 2.0]))
    return {
        "predict": regressor.predict(X[:6]).tolist(),
        "predict_proba": classifier.predict_proba(X[:3]).ravel().tolist(),
    }


def reference_predictions():
    """Predictions of one small network for each solver, and of the defaults.

    To store them anew, after a change that is meant to change them:
    ``python tests/test_reproducibility.py``, and say why in the changelog.
    """
    small = {
        "hidden_layer_sizes": (5, 3),
        "activation": "tanh",
        "learning_rate_init": 0.02,
        "batch_size": 8,
        "max_iter": 15,
        "tol": 0.0,
        "early_stopping": False,
    }
    found = {}
    for solver in SOLVERS:
        dropout = {} if solver == "lbfgs" else {"dropout": 0.1}
        found[solver] = predictions_of(
            *reference_data(40), **small, **dropout, solver=solver
        )
    # Rows enough for all that defaults bring: members, embeddings, linear starts.
    # A few epochs: in each rounding grows.
    found["defaults"] = predictions_of(*reference_data(400), max_iter=10)
    return found


def differences(stored):
    """Largest difference from what is stored, for each kind of model and method."""
    return {
        f"{name}, {method}": float(
            np.abs(np.subtract(predicted, stored[name][method])).max()
        )
        for name, models in reference_predictions().items()
        for method, predicted in models.items()
    }


def test_reference_predictions():
    stored = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert list(stored) == [*SOLVERS, "defaults"]
    for what, difference in differences(stored).items():
        assert difference < SNAPSHOT_TOLERANCE, what


def test_the_reference_has_the_defaults_at_work():
    """Otherwise it would not see a change of theirs."""
    X, y = reference_data(400)
    for model, target in ((ANNRegressor, y), (ANNClassifier, np.digitize(y, [0.7, 2]))):
        fitted = model(max_iter=10, random_state=42, dtype="float64").fit(X, target)
        assert (fitted.n_estimators_, fitted.early_stopping_) == (8, True)
        assert fitted.numeric_embedding_ == "piecewise_linear"
        assert fitted.linear_skip_ and not fitted.stays_linear_


# Instructions that every processor with 64 bits has, in each library that picks some.
PLAIN_PROCESSOR = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
}
ON_ANOTHER = """
import json, warnings
import test_reproducibility as here
warnings.simplefilter("ignore")
stored = json.loads(here.SNAPSHOT.read_text(encoding="utf-8"))
print(json.dumps(here.differences(stored)))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names its instructions")
def test_reference_predictions_on_a_plain_processor():
    """The same to a hair less than the tolerance, though not to the last bit."""
    here = str(Path(__file__).parent)
    paths = os.pathsep.join([here, *filter(None, sys.path)])
    environment = {**os.environ, **PLAIN_PROCESSOR, "PYTHONPATH": paths}
    command = [sys.executable, "-c", ON_ANOTHER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert max(found.values()) < SNAPSHOT_TOLERANCE / 10


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    SNAPSHOT.parent.mkdir(exist_ok=True)
    text = json.dumps(reference_predictions(), indent=1)
    SNAPSHOT.write_text(text + "\n", encoding="utf-8")
