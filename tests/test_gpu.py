"""Training on CUDA: same results as on the CPU, no waiting, nothing left behind.

Most of it runs twice: on a pretended device (pretend_cuda.py), everywhere, and on a
real one, where there is one. Kernels, memory and processes need the real one.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks import bench_device, bench_utilisation
from engine_fits import SOLVERS, held_out, regression, sparse_rows
from sklearn.datasets import make_moons
from sklearn.model_selection import GridSearchCV, cross_val_score
from textbook import TEXTBOOK

from sklearn_ann import ANNClassifier, ANNRegressor, batched_fits
from sklearn_ann.engine import device as device_module
from sklearn_ann.engine import training
from sklearn_ann.engine.embeddings import Embedding
from sklearn_ann.engine.graphs import StepGraphs
from sklearn_ann.engine.losses import make_loss
from sklearn_ann.engine.optimizers import SolverOptions
from sklearn_ann.engine.solvers import Descent

CUDA = torch.device("cuda")
# Sums in another order, in float64, over some tens of steps of a smooth network.
AGREES = 1e-8
# In float32 rounding is 6e-8 a sum, and Adam divides small gradients by their own size.
AGREES_IN_FLOAT32 = 2e-3

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning"  # epochs are kept few
)


@pytest.fixture(params=["pretended", pytest.param("real", marks=pytest.mark.gpu)])
def cuda(request):
    """A device; what it wrote down, where it is pretended."""
    if request.param == "real":
        return None
    return request.getfixturevalue("pretend_cuda")


def train(problem, fits, solver="adam", dtype=torch.float64, device=CUDA, **options):
    options = SolverOptions(name=solver, **options)
    architecture, loss = problem.architecture, problem.loss
    return training.train(fits, architecture, loss, options, device, dtype)


def assert_same(one, other, tolerance=AGREES):
    for a, b in zip(one, other, strict=True):
        assert a.status is b.status
        assert a.n_iter == b.n_iter
        np.testing.assert_allclose(a.row, b.row, tolerance, tolerance)
        records = (a.record, b.record)
        for name in ("losses", "scores", "rates", "norms"):
            ours, theirs = (np.array(getattr(r, name)) for r in records)
            np.testing.assert_allclose(ours, theirs, tolerance, tolerance)


# ---------------------------------------------------------------- the CPU's results

# Four whole minibatches and a short one, which gets its graph in the fourth epoch.
N = 70
QUICK = {"batch_size": 16, "max_iter": 4, "learning_rate_init": 0.01}


def alone(problem):
    return [problem.fit(**QUICK, alpha=1.0)]


def unequal(problem):
    """All that networks of a stack may differ in, and rows that are no run of rows."""
    n, rng = len(problem.X), np.random.default_rng(0)
    weight = torch.from_numpy(rng.uniform(0.1, 3.0, n - 9))
    return [
        problem.fit(0, rng.permutation(n)[: n - 20], **QUICK, alpha=2.0),
        problem.fit(1, np.arange(9, n), weight=weight, **QUICK | {"batch_size": 12}),
        problem.fit(
            2,
            **QUICK | {"learning_rate_init": 0.03, "max_iter": 6},
            dropout=0.3,
            max_grad_norm=0.1,
            momentum=0.5,
            l1_ratio=0.5,
            alpha=1.0,
            shuffle=False,
        ),
    ]


STACKS = {"alone": alone, "unequal": unequal}
each_stack = pytest.mark.parametrize("stack", STACKS)


@each_stack
@pytest.mark.parametrize("how", SOLVERS)
def test_as_on_the_cpu(cuda, how, stack):
    problem = regression(N, hidden=(7, 5), linear_skip=stack == "unequal")
    solver, options = SOLVERS[how]
    fits = STACKS[stack](problem)
    if solver == "lbfgs":
        for fit in fits:
            fit.settings = replace(
                fit.settings, l1_ratio=0.0, dropout=0.0, batch_size=None, max_iter=12
            )
    on_cuda = train(problem, fits, solver, **options)
    assert_same(on_cuda, problem.train(fits, solver, **options))
    assert all(outcome.note is None for outcome in on_cuda)


EMBEDDINGS = (
    Embedding("lookup", (1,), 2, levels=(3,)),
    Embedding("periodic", (2, 0), 2, 4, trained=True),
    Embedding("piecewise_linear", (2,), 1, 3),
)


def embedded():
    """Columns 0 and 2, which do not stand side by side, are numbers; 1 is a code."""
    problem = regression(N, hidden=(7, 5), linear_skip=True)
    problem.X[:, 1] = np.digitize(problem.X[:, 1], (-0.5, 0.5))
    return replace(
        problem, architecture=replace(problem.architecture, embeddings=EMBEDDINGS)
    )


def start_with_edges(problem, seed):
    edges = (None, None, np.array([[-1.0, 0.0, 0.0, 1.0]]))
    rng = np.random.default_rng(seed)
    return problem.architecture.initial_row(rng, "auto", np.zeros(1), edges)


@each_stack
@pytest.mark.parametrize("how", SOLVERS)
def test_embeddings(cuda, how, stack):
    problem, (solver, options) = embedded(), SOLVERS[how]
    starts = iter(start_with_edges(problem, seed) for seed in range(9))
    problem = WithStarts(problem, starts)
    fits = STACKS[stack](problem)
    if solver == "lbfgs":
        for fit in fits:
            fit.settings = replace(
                fit.settings, l1_ratio=0.0, dropout=0.0, batch_size=None, max_iter=8
            )
    on_cuda = train(problem, fits, solver, **options)
    assert_same(on_cuda, problem.train(fits, solver, **options))
    assert all(outcome.note is None for outcome in on_cuda)


class WithStarts:
    """A problem whose fits begin at given parameters."""

    def __init__(self, problem, starts):
        self._problem, self._starts = problem, starts

    def fit(self, *given, **asked):
        return self._problem.fit(*given, start=next(self._starts), **asked)

    def __getattr__(self, name):
        return getattr(self._problem, name)


@each_stack
@pytest.mark.parametrize("how", ["sgd-nesterov", "adamw"])
def test_in_float32(cuda, how, stack):
    problem = regression(N, hidden=(7, 5))
    solver, options = SOLVERS[how]
    options = options | {"dtype": torch.float32}
    fits = STACKS[stack](problem)
    on_cuda = train(problem, fits, solver, **options)
    on_cpu = problem.train(fits, solver, **options)
    assert on_cuda[0].row.dtype == np.float32
    assert_same(on_cuda, on_cpu, AGREES_IN_FLOAT32)


@pytest.mark.parametrize("schedule", ["invscaling", "adaptive", "cosine", "one_cycle"])
@each_stack
def test_rates_that_change(cuda, schedule, stack):
    """A captured step must not keep the rate that it was captured with."""
    problem = regression(N)
    fits = STACKS[stack](problem)
    for fit in fits:
        fit.settings = replace(fit.settings, n_iter_no_change=1, tol=0.1, max_iter=9)
    on_cpu = problem.train(fits, "adamw", schedule=schedule)
    assert len({rate for o in on_cpu for rate in o.record.rates}) > len(fits)
    assert_same(train(problem, fits, "adamw", schedule=schedule), on_cpu)


LOSSES = {
    "absolute_error": (make_loss("absolute_error"), 1),
    "quantiles": (make_loss("quantile", quantile=(0.1, 0.5, 0.9)), 3),
    "huber": (make_loss("huber"), 1),
    "poisson": (make_loss("poisson"), 1),
    "gamma": (make_loss("gamma"), 1),
    "log_loss": (make_loss("log_loss"), 1),
    "multinomial": (make_loss("multinomial", n_classes=3), 3),
}


def targets(name, y):
    if name in ("poisson", "gamma"):
        return y.exp()
    if name == "log_loss":
        return (y > 0).double()
    return (y > 0).long() + (y > 1).long() if name == "multinomial" else y


@pytest.mark.parametrize("name", LOSSES)
def test_losses(cuda, name):
    problem = regression(N, hidden=(6,))
    loss, m = LOSSES[name]
    problem = replace(
        problem,
        y=targets(name, problem.y),
        loss=loss,
        architecture=replace(problem.architecture, n_outputs=m),
    )
    fits = [problem.fit(seed, **QUICK) for seed in range(2)]
    assert_same(train(problem, fits), problem.train(fits))


def test_early_stopping_and_networks_that_leave(cuda):
    """The finished stay until few are left: their records and states must not go on."""
    problem = regression(N)
    fits = [
        problem.fit(
            k,
            **QUICK | {"max_iter": 2 + k, "n_iter_no_change": 2},
            keep_state=True,
            **(held_out(problem, first=50) if k % 2 else {}),
        )
        for k in range(9)
    ]
    on_cuda, on_cpu = train(problem, fits), problem.train(fits)
    assert_same(on_cuda, on_cpu)
    assert [o.n_iter for o in on_cuda] == [2 + k for k in range(9)]
    for a, b in zip(on_cuda, on_cpu, strict=True):
        assert torch.equal(a.state.shuffler.get_state(), b.state.shuffler.get_state())
        np.testing.assert_allclose(
            a.state.solver["moments"], b.state.solver["moments"], AGREES, AGREES
        )


def test_one_that_diverges(cuda):
    """In a stack that does not shrink at once it computes on, for nobody."""
    problem = regression(N)
    rates = [0.01, 1e200, 0.01, 0.02]
    fits = [
        problem.fit(k, **QUICK | {"learning_rate_init": rate, "max_iter": 3 + k})
        for k, rate in enumerate(rates)
    ]
    assert_same(train(problem, fits, "sgd"), problem.train(fits, "sgd"))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_going_on_where_a_fit_stopped(cuda, solver):
    problem = regression(N)
    asked = QUICK | {"batch_size": None if solver == "lbfgs" else 16}
    whole = problem.train([problem.fit(**asked | {"max_iter": 8})], solver)
    half = train(problem, [problem.fit(**asked, keep_state=True)], solver)
    state = pickle.loads(pickle.dumps(half[0].state))  # nothing of the device in it
    assert_same(train(problem, [problem.fit(**asked, state=state)], solver), whole)


@pytest.mark.parametrize("hidden", [(), (4,)], ids=["exact", "curved"])
def test_lbfgs(cuda, hidden):
    problem = regression(N, hidden=hidden)
    # Few enough that none converges: rounding would decide in which iteration.
    fits = [problem.fit(seed, alpha=seed, max_iter=6) for seed in range(3)]
    assert_same(train(problem, fits, "lbfgs"), problem.train(fits, "lbfgs"))


@pytest.mark.gpu
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows(solver):
    """Its products need sparse kernels, which nothing else here has."""
    problem = regression(N)
    rng = np.random.default_rng(0)
    X = problem.X * (rng.uniform(size=problem.X.shape) < 0.5)
    asked = {"max_iter": 4, "batch_size": None if solver == "lbfgs" else 32}
    fits = [problem.fit(x=sparse_rows(X, X.mean(0)), **asked)]
    assert_same(train(problem, fits, solver), problem.train(fits, solver))


def test_minibatches_in_pieces(cuda, monkeypatch):
    """Minibatches too large for one piece, and blocks of a few pieces."""
    from sklearn_ann.engine import feeder

    monkeypatch.setattr(feeder, "GPU_CHUNK_NUMBERS", 128 * 7)
    monkeypatch.setattr(feeder, "GPU_BLOCK_BYTES", 5000)
    problem = regression(300)
    fits = [problem.fit(**QUICK | {"batch_size": b}) for b in (150, 20)]
    for fit in fits:
        assert_same(train(problem, [fit]), problem.train([fit]))


# --------------------------------------------------------------------------- graphs


@each_stack
@pytest.mark.parametrize("how", ["sgd-nesterov", "adam", "adamw"])
def test_replay_equals_no_graph(cuda, how, stack, monkeypatch):
    problem = regression(N, hidden=(7, 5))
    solver, options = SOLVERS[how]
    fits = STACKS[stack](problem)
    replayed = train(problem, fits, solver, **options)
    monkeypatch.setattr(StepGraphs, "claim", lambda self: False)
    assert_same(replayed, train(problem, fits, solver, **options), tolerance=1e-12)


def test_nothing_waits_for_the_device(pretend_cuda, monkeypatch):
    """Between the beginning of an epoch and its end, whatever the fit asks for."""
    waits, made, epochs, take = [], [], [], Descent._pass

    def watched(self, rates):
        pretend_cuda.waits.clear()
        pretend_cuda.calls.clear()
        total = take(self, rates)
        waits.extend(pretend_cuda.waits)
        constants = ("scalar_tensor", "full", "lift", "tensor")
        made.extend(c for c in pretend_cuda.calls if c.split(".")[1] in constants)
        epochs.append(len(pretend_cuda.calls))
        return total

    monkeypatch.setattr(Descent, "_pass", watched)
    problem = regression(N, hidden=(7, 5), linear_skip=True)
    for stack in STACKS.values():
        for solver in ("sgd", "adamw"):
            for dtype in (torch.float64, torch.float32, torch.bfloat16):
                train(problem, stack(problem), solver, dtype, schedule="cosine")
            starts = iter(start_with_edges(embedded(), seed) for seed in range(9))
            fits = stack(WithStarts(embedded(), starts))
            train(embedded(), fits, solver, schedule="cosine")
    assert len(epochs) > 48 and min(epochs) > 5
    assert not waits
    assert not made


def test_an_epoch_is_read_in_one_piece(pretend_cuda, monkeypatch):
    """Waiting costs as much as many steps: losses, norms and sums come together."""
    read, take = [], Descent._read

    def watched(self, total, sums):
        pretend_cuda.waits.clear()
        found = take(self, total, sums)
        read.append(len(pretend_cuda.waits))
        return found

    monkeypatch.setattr(Descent, "_read", watched)
    for stack in STACKS.values():
        train(regression(N), stack(regression(N)))
    assert read and set(read) == {1}


def test_an_epoch_is_a_few_calls(pretend_cuda, monkeypatch):
    """Once captured, steps are one launch each, and no other call grows with them."""
    calls, take = [], Descent._pass

    def watched(self, rates):
        pretend_cuda.calls.clear()
        total = take(self, rates)
        calls.append(len(pretend_cuda.calls))
        return total

    monkeypatch.setattr(Descent, "_pass", watched)
    for n in (200, 1000):
        problem = regression(n)
        calls.clear()
        train(problem, [problem.fit(**QUICK | {"batch_size": 10})])
        assert calls[-1] < 20
    assert pretend_cuda.replays == (20 + 100) * 4 - 2 * 3


def test_a_graph_for_each_size_of_batch(pretend_cuda):
    problem = regression(N)
    train(problem, [problem.fit(**QUICK)])
    assert pretend_cuda.captures == 2  # 16 rows, and the last 6
    train(problem, [problem.fit(**QUICK | {"max_iter": 2})])
    assert pretend_cuda.captures == 3  # too few of the last ones
    assert pretend_cuda.destroyed == 3


def test_stacks_shrink_at_powers_of_two(pretend_cuda, monkeypatch):
    """Not with every network that leaves: each number of networks has its own graph."""
    sizes, take = [], Descent._pass

    def watched(self, rates):
        sizes.append(self.stack.K)
        return take(self, rates)

    monkeypatch.setattr(Descent, "_pass", watched)
    problem = regression(64)
    fits = [problem.fit(k, **QUICK | {"max_iter": 1 + k}) for k in range(11)]
    train(problem, fits)
    assert sizes == [11] * 3 + [8] * 4 + [4] * 2 + [2] + [1]
    problem.train(fits)
    assert sizes[11:] == list(range(11, 0, -1))


def test_a_fit_inside_a_fit_leaves_the_graphs_alone(pretend_cuda):
    """PyTorch would free the outer one's workspace with the graphs of the inner one."""
    problem, inner = regression(N), []

    def hook(epoch):
        captures = pretend_cuda.captures
        inner.append(train(problem, [problem.fit(**QUICK)]))
        assert pretend_cuda.captures == captures
        return False

    outer = train(problem, [problem.fit(1, **QUICK, on_epoch=hook)])
    on_cpu = problem.train([problem.fit(1, **QUICK)])
    assert_same(outer, on_cpu)
    on_cpu = problem.train([problem.fit(**QUICK)])
    assert len(inner) == QUICK["max_iter"]
    for outcome in inner:
        assert_same(outcome, on_cpu)


class Refused(RuntimeError):
    pass


@pytest.fixture
def no_capture(monkeypatch):
    """Capture fails, as it would where a library does something that it may not."""

    def refuse(self, step):
        raise Refused("operation not permitted\nand a long explanation")

    monkeypatch.setattr(StepGraphs, "_capture", refuse)


def test_without_graphs_where_capture_fails(cuda, no_capture):
    problem = regression(N)
    outcomes = train(problem, unequal(problem))
    assert_same(outcomes, problem.train(unequal(problem)))
    for outcome in outcomes:
        assert outcome.note == (
            "No CUDA graph, so kernels were launched one by one "
            "(Refused: operation not permitted)."
        )


@pytest.mark.parametrize("n_estimators", [1, 3])
def test_it_is_said_once_to_those_who_ask(cuda, no_capture, capsys, n_estimators):
    network = ANNRegressor(**MODEL | {"n_estimators": n_estimators}, device="cuda")
    network.fit(X, Y)
    assert not capsys.readouterr().out
    network.set_params(verbose=1).fit(X, Y)
    assert capsys.readouterr().out.count("No CUDA graph") == 1


# ------------------------------------------------------------------ what is left behind


@pytest.mark.parametrize("how", SOLVERS)
def test_no_tensor_outlives_its_fit(pretend_cuda, how):
    """Not even until the garbage collector comes: the next fit needs the memory."""
    problem = regression(64)
    solver, _ = SOLVERS[how]
    asked = {"max_iter": 5, "max_grad_norm": 1.0, "alpha": 1.0, "keep_state": True}
    asked["batch_size"] = None if solver == "lbfgs" else 20
    gc.collect()
    gc.disable()
    try:
        outcomes = train(problem, [problem.fit(k, **asked) for k in range(3)], solver)
        assert len(pretend_cuda.alive) == 0
    finally:
        gc.enable()
    assert len(outcomes) == 3


def test_a_fit_that_breaks_off_gives_the_graphs_back(cuda):
    problem = regression(N)

    def hook(epoch):
        if epoch.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(problem, [problem.fit(**QUICK, on_epoch=hook)])
    other = StepGraphs(CUDA)
    assert other.claim()
    other.release()


@pytest.mark.gpu
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_memory_is_back_after_a_hundred_fits(solver):
    network = ANNRegressor(**MODEL | {"solver": solver, "max_iter": 8}, device="cuda")
    network.fit(X, Y)  # libraries set themselves up, and keep what they need
    before = torch.cuda.memory_allocated()
    for _ in range(100):
        network.fit(X, Y)
    assert abs(torch.cuda.memory_allocated() - before) <= 2**20


@pytest.mark.gpu
def test_two_processes():
    network = ANNRegressor(**MODEL, device="cuda")
    scores = cross_val_score(network, X, Y, cv=4, n_jobs=2)
    np.testing.assert_allclose(scores, cross_val_score(network, X, Y, cv=4), 1e-6)


# ------------------------------------------------------------------------ estimators

MODEL = {
    **TEXTBOOK,
    "hidden_layer_sizes": (8,),
    "activation": "tanh",
    "batch_size": 32,
    "max_iter": 6,
    "dtype": "float64",
    "random_state": 0,
}
rng = np.random.default_rng(0)
X = rng.normal(size=(150, 3))
Y = X[:, 0] + np.sin(2 * X[:, 1]) + 0.1 * rng.normal(size=150)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"early_stopping": True, "scoring": "r2"},
        {"n_estimators": 3},
        {"n_init": 2},
        {"solver": "lbfgs", "batch_size": "full"},
        {"hidden_layer_sizes": (), "batch_size": "full"},
        {"loss": "quantile", "quantile": [0.1, 0.9]},
        {"warm_start": True},
        {"numeric_embedding": "periodic"},
        {"numeric_embedding": "piecewise_linear"},
    ],
    ids=str,
)
def test_estimators(cuda, asked):
    on_cpu = ANNRegressor(**MODEL | asked).fit(X, Y)
    on_cuda = ANNRegressor(**MODEL | asked, device="cuda").fit(X, Y)
    assert on_cuda.device_ == "cuda"
    assert on_cuda.dtype_ == "float64"
    np.testing.assert_allclose(on_cuda.predict(X), on_cpu.predict(X), AGREES, AGREES)


def test_classes(cuda):
    points, labels = make_moons(150, noise=0.2, random_state=0)
    labels = np.array(["left", "right"])[labels]
    on_cpu = ANNClassifier(**MODEL).fit(points, labels)
    on_cuda = ANNClassifier(**MODEL, device="cuda").fit(points, labels)
    proba = on_cuda.predict_proba(points)
    np.testing.assert_allclose(proba, on_cpu.predict_proba(points), AGREES, AGREES)


PREDICT = """
import pickle, sys
import torch
assert not torch.cuda.is_available()
models, X = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps([model.predict(X) for model in models]))
"""


def test_a_model_predicts_where_there_is_no_gpu(cuda):
    """Warm starts keep a state, which must not be the device's either."""
    models = [
        ANNRegressor(**MODEL | {"solver": solver, "device": "cuda", "warm_start": warm})
        for solver in ("adam", "lbfgs")
        for warm in (False, True)
    ]
    done = subprocess.run(
        [sys.executable, "-c", PREDICT],
        input=pickle.dumps(([model.fit(X, Y) for model in models], X)),
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    for predicted, model in zip(pickle.loads(done.stdout), models, strict=True):
        np.testing.assert_array_equal(predicted, model.predict(X))


def test_auto_follows_the_work_of_a_step(cuda, monkeypatch):
    """6 operations for each parameter and row of the batch."""
    network = ANNRegressor(**MODEL, device="auto")
    n_parameters = network.fit(X, Y).n_parameters_
    assert network.device_ == "cpu"
    limit = 6.0 * n_parameters * MODEL["batch_size"]
    monkeypatch.setattr(device_module, "FLOPS_PER_STEP_FOR_GPU", limit)
    assert network.fit(X, Y).device_ == "cuda"
    monkeypatch.setattr(device_module, "FLOPS_PER_STEP_FOR_GPU", limit + 1)
    assert network.fit(X, Y).device_ == "cpu"


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([2.0, 3.0, 4.0], 1e6),  # always faster
        ([0.5, 0.9, 0.5], None),  # never
        ([0.1, 10.0, 20.0], 1e7),  # half way on scales of logarithms
        ([2.0, 0.5, 2.0], 1e9),  # the last time counts
        ([0.5, 1.0, 2.0], 1e8),
    ],
)
def test_the_threshold_is_where_the_times_cross(ratios, expected):
    found = bench_device.crossing([1e6, 1e8, 1e10], ratios)
    assert found == expected or found == pytest.approx(expected)


def test_the_threshold_is_rounded_up():
    written = [bench_device.constant(work) for work in (3e9, 3.01e9, 9.9e8, 1e5)]
    assert written == ["3e9", "4e9", "1e9", "1e5"]


def test_the_benchmarks_for_a_gpu_run(pretend_cuda, monkeypatch, capsys):
    """Of what they measure nothing is to be seen on a pretended one."""
    monkeypatch.setattr(bench_device, "CASES", (((4,), 8), ((8,), 8)))
    monkeypatch.setattr(bench_device, "MOST_STEPS", 4)
    monkeypatch.setattr(bench_device, "REPEATS", 1)
    monkeypatch.setattr(sys, "argv", ["bench_device"])
    bench_device.main()
    assert "no card at all" in capsys.readouterr().out
    monkeypatch.setattr(bench_utilisation, "CASES", ((4,),))
    monkeypatch.setattr(bench_utilisation, "WIDER", ((8, 8),))
    monkeypatch.setattr(bench_utilisation, "GPU_ROWS", 1)
    monkeypatch.setattr(bench_utilisation, "STEPS", 4)
    monkeypatch.setattr(bench_utilisation, "peak", lambda *_: 1e9)
    for dtype in ("float32", "bfloat16"):
        asked = ["--device", "cuda", "--dtype", dtype]
        monkeypatch.setattr(sys, "argv", ["bench_utilisation", *asked])
        bench_utilisation.main()
        table = capsys.readouterr().out
        assert "no card at all" in table and "(8, 8)" in table


@pytest.mark.gpu
def test_a_search_of_stacks():
    grid = {"alpha": [0.1, 1.0, 10.0], "dropout": [0.0, 0.2]}
    results = []
    for device in ("cpu", "cuda"):
        search = GridSearchCV(ANNRegressor(**MODEL, device=device), grid, cv=3)
        with batched_fits():
            results.append(search.fit(X, Y).cv_results_["mean_test_score"])
    np.testing.assert_allclose(*results, AGREES)


# -------------------------------------------------------------------------- precision


def test_bfloat16(cuda):
    """Close to the CPU's: the same roundings, but for products in another order."""
    asked = MODEL | {"dtype": "bfloat16", "hidden_layer_sizes": (32, 32)}
    on_cpu = ANNRegressor(**asked).fit(X, Y)
    on_cuda = ANNRegressor(**asked, device="cuda").fit(X, Y)
    assert on_cuda.dtype_ == "bfloat16"
    # Three digits a product, over thirty steps.
    np.testing.assert_allclose(on_cuda.predict(X), on_cpu.predict(X), atol=0.1)


@pytest.mark.gpu
def test_tf32_is_what_pytorch_is_told():
    """Products of float32 follow `torch.set_float32_matmul_precision`."""
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("needs tensor cores that take TF32")
    wide = MODEL | {"hidden_layer_sizes": (256, 256), "dtype": "float32"}
    predicted, before = {}, torch.get_float32_matmul_precision()
    try:
        for precision in ("highest", "high"):
            torch.set_float32_matmul_precision(precision)
            model = ANNRegressor(**wide, device="cuda").fit(X, Y)
            assert torch.get_float32_matmul_precision() == precision
            predicted[precision] = model.predict(X)
    finally:
        torch.set_float32_matmul_precision(before)
    difference = np.abs(predicted["high"] - predicted["highest"]).max()
    assert 1e-6 < difference < 0.1
