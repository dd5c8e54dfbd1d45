"""Out of memory: an error that says how to need less; and data larger than memory."""

import json

import numpy as np
import pytest
import torch
from children import on_linux, run
from sklearn.model_selection import GridSearchCV
from states import described

from sklearn_ann import ANNClassifier, ANNRegressor, batched_fits
from sklearn_ann.engine import quasi_newton, solvers
from sklearn_ann.guarding import is_out_of_memory

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(60, 3)), rng.normal(size=60)
QUICK = {"hidden_layer_sizes": 4, "max_iter": 3, "random_state": 0}
# As PyTorch and NumPy word them.
ERRORS = {
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
        "allocate memory: you tried to allocate 8000000000000 bytes. Error code 12 "
        "(Cannot allocate memory)"
    ),
    "cuda": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"),
    "python": MemoryError(),
    "numpy": np._core._exceptions._ArrayMemoryError((10, 10), np.dtype("f8")),
}


@pytest.fixture(params=ERRORS)
def no_memory(request, monkeypatch):
    """Training that finds no memory in its second epoch, once it is told to."""

    def refuse():
        for kind in (solvers.Descent, quasi_newton.QuasiNewton):
            done = []

            def epoch(self, rates, epoch=kind.epoch, done=done):
                done.append(1)
                if len(done) > 1:
                    raise ERRORS[request.param]
                return epoch(self, rates)

            monkeypatch.setattr(kind, "epoch", epoch)

    return refuse


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
@pytest.mark.parametrize(
    "options, ways",
    [
        ({}, ["n_estimators=1", "numeric_embedding=None", "'float32'", "partial_fit"]),
        ({"solver": "lbfgs"}, ["solver='adamw' with batch_size=128"]),
        ({"batch_size": 50}, ["a batch_size below 50"]),
        ({"n_estimators": 3}, ["n_estimators=1", "fewer units in hidden_layer_sizes"]),
    ],
    ids=["defaults", "lbfgs", "batches", "ensemble"],
)
def test_a_fit_says_what_would_need_less(Estimator, options, ways, no_memory):
    y = Y if Estimator is ANNRegressor else Y > 0
    model = Estimator(**QUICK | options).fit(X, y)
    before, predicted = described(vars(model)), model.predict(X)
    no_memory()
    with pytest.raises(MemoryError, match="Memory ran out") as raised:
        model.fit(X[:, :2], y)
    assert all(way in str(raised.value) for way in ways)
    assert isinstance(raised.value.__cause__, (MemoryError, RuntimeError))
    assert described(vars(model)) == before
    np.testing.assert_array_equal(model.predict(X), predicted)


def test_what_is_small_already_is_not_named(no_memory):
    small = {"n_estimators": 1, "dtype": "float32", "numeric_embedding": None}
    model = ANNRegressor(**QUICK | small)
    no_memory()
    with pytest.raises(MemoryError) as raised:
        model.fit(X, Y)
    assert not any(name in str(raised.value) for name in small)


def test_partial_fit(no_memory):
    model = ANNRegressor(**QUICK)
    no_memory()
    model.partial_fit(X, Y)
    before = described(vars(model))
    with pytest.raises(MemoryError, match="partial_fit, on some of the rows"):
        model.partial_fit(X, Y)
    assert described(vars(model)) == before


def test_a_search_in_stacks(no_memory):
    search = GridSearchCV(
        ANNRegressor(**QUICK), {"alpha": [0.1, 1.0]}, cv=2, error_score="raise"
    )
    no_memory()
    with pytest.raises(MemoryError, match="Memory ran out"), batched_fits():
        search.fit(X, Y)


def test_other_errors_stay_what_they_are(monkeypatch):
    def epoch(self, rates):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(solvers.Descent, "epoch", epoch)
    with pytest.raises(RuntimeError, match="multiplied"):
        ANNRegressor(**QUICK).fit(X, Y)


def test_what_pytorch_says_here_is_understood():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50, dtype=torch.float64)
    assert is_out_of_memory(raised.value)


# ---------------------------------------------------------------- in a small process

CHILD = """
import json, sys, warnings
import numpy as np
from children import limit_memory
from sklearn_ann import ANNRegressor
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = rng.standard_normal((400_000, 40), dtype=np.float32)  # 64 MB
y = X[:, 0] + X[:, 1] * X[:, 2]
model = ANNRegressor(8, "relu", max_iter=2, random_state=0, **json.loads(sys.argv[1]))
model.fit(X[:1000], y[:1000])
before = model.predict(X[:100])
limit_memory(100)
try:
    model.fit(X, y)
except MemoryError as error:
    assert (model.predict(X[:100]) == before).all()
    print("no memory:", error)
else:
    print("score", model.score(X[:1000], y[:1000]))
"""


@pytest.mark.slow
@on_linux
def test_a_process_with_little_memory():
    """float64 is too much for it, and float32, which the error suggests, is not."""
    fixed = {"early_stopping": False, "batch_size": 1000}
    done = run(CHILD, json.dumps({**fixed, "dtype": "float64"}))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no memory: Memory ran out in this fit")
    assert "dtype='float32'" in done.stdout
    done = run(CHILD, json.dumps({**fixed, "dtype": "float32"}))
    assert done.stdout.startswith("score"), done.stderr + done.stdout


LARGER = """
import sys, warnings
import numpy as np
from children import MEGABYTE, limit_memory
from sklearn_ann import ANNRegressor
warnings.simplefilter("ignore")
limit = 80
X, y = (np.load(path, mmap_mode="r") for path in sys.argv[1:])
assert X.nbytes > 4 * limit * MEGABYTE
model = ANNRegressor(
    8, batch_size=500, learning_rate_init=0.01, linear_skip=False, random_state=0
)
model.partial_fit(X[:1000], y[:1000])  # libraries load what they need
limit_memory(limit)
try:
    np.array(X)
except MemoryError:
    print("larger")
try:
    model.fit(X, y)
except MemoryError as error:
    print("partial_fit" in str(error))
for start in range(0, len(X), 50_000):
    model.partial_fit(X[start : start + 50_000], y[start : start + 50_000])
print(model.score(X[:5000], y[:5000]) > 0.9)
print(model.predict(X).shape)  # block by block
"""


@pytest.mark.slow
@on_linux
def test_a_table_four_times_larger_than_memory(tmp_path):
    n, d = 1_800_000, 50
    shape = {"dtype": np.float32, "mode": "w+", "shape": (n, d)}
    X = np.lib.format.open_memmap(tmp_path / "X.npy", **shape)
    for start in range(0, n, 100_000):
        X[start : start + 100_000] = rng.standard_normal((100_000, d), dtype=np.float32)
    X.flush()
    np.save(tmp_path / "y.npy", np.abs(X[:, 0]) + X[:, 1])
    done = run(LARGER, tmp_path / "X.npy", tmp_path / "y.npy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["larger", "True", "True", f"({n},)"]
