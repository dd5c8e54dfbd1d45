"""A network in a stack is trained as if it were alone.

Everything else in this package rests on that one sentence. Cross-validation folds,
grid candidates, bootstrap replicates and restarts are trained as *stacks* of K
networks, in products of whole (K, b, h) tensors, and the results are reported as if
there had been K separate fits. So for every solver, and for networks that differ in all
that may differ, this file compares network k of a stack with its own fit:

1. same parameters, losses, scores, gradient norms, rates, epochs and end, to 1e-8;
2. also when a neighbour stops, diverges, or has infinite data;
3. also when the stack is cut in two, or its rows come in small chunks.

Promised in float64. Sums are taken in another order in a stack (`bmm` instead of `mm`,
more or fewer rows at a time), so the last bits differ; in float32 they differ in the
seventh digit, and a long fit drifts by as much as from one seed to the next.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_fits import Problem, design, regression, sparse_rows
from test_losses import CASES

from sklearn_ann.engine import feeder
from sklearn_ann.engine.architecture import Architecture
from sklearn_ann.engine.fit import Fit, Outcome, Status

# What the package promises. What is seen is 1e-12, for L-BFGS too: it is not rounding
# itself that must stay below, but what some epochs have made of it.
PROMISE = 1e-8

# solver, options, dropout: every solver, with and without dropout where it has any,
# and every schedule at least once.
SOLVERS = {
    "sgd-plain": ("sgd", {"nesterovs_momentum": False}, 0.0),
    "sgd-plain-dropout": (
        "sgd",
        {"nesterovs_momentum": False, "schedule": "invscaling"},
        0.3,
    ),
    "sgd-nesterov": ("sgd", {"schedule": "one_cycle"}, 0.0),
    "sgd-nesterov-dropout": ("sgd", {"schedule": "adaptive"}, 0.3),
    "adam": ("adam", {}, 0.0),
    "adam-dropout": ("adam", {"schedule": "cosine"}, 0.3),
    "adamw": ("adamw", {"schedule": "one_cycle"}, 0.0),
    "adamw-dropout": ("adamw", {}, 0.3),
    "lbfgs": ("lbfgs", {}, 0.0),
}
each_solver = pytest.mark.parametrize(
    ("solver", "options", "dropout"), SOLVERS.values(), ids=SOLVERS.keys()
)

N = 1003  # no multiple of any batch size or number of folds


def fold(k: int) -> np.ndarray:
    """Rows outside the k-th of five folds: 802 or 803 of them."""
    return np.concatenate([f for i, f in enumerate(folds()) if i != k % 5])


def folds() -> list[np.ndarray]:
    return np.array_split(np.random.default_rng(5).permutation(N), 5)


def unlike(problem: Problem, k: int, solver: str, dropout: float) -> Fit:
    """Ask for the k-th of many fits that share little but data and architecture.

    The cycles have different lengths, so that settings meet in many combinations.
    """
    rng = np.random.default_rng([k, 7])
    index = fold(k) if k % 3 else np.arange(N - 10 * k)
    asked = {
        "learning_rate_init": (0.003, 0.01, 0.02)[k % 3],
        "alpha": (0.0, 0.5, 5.0, 50.0)[k % 4],
        "l1_ratio": 0.0 if solver == "lbfgs" else (0.0, 0.0, 0.4)[k % 3],
        "dropout": dropout * (k % 3) / 2,
        "momentum": (0.9, 0.0, 0.5)[k % 3],
        "power_t": (0.5, 0.3)[k % 2],
        "max_iter": 3 + k % 5,
        "tol": (0.0, 0.02)[k % 2],
        "n_iter_no_change": (np.inf, 1, 2, 0)[k % 4],
        "max_grad_norm": (np.inf, 0.2)[k // 2 % 2],
        "batch_size": (32, None, 50, 200, 801)[k % 5],
        "shuffle": k % 7 != 3,
    }
    if k % 2:
        asked["weight"] = torch.from_numpy(rng.uniform(0.1, 3.0, len(index)))
    if k % 4 == 1:  # scored on rows of its own, and every other time stopped by them
        asked["early_stopping"] = k % 8 == 1
        held_out = torch.from_numpy(folds()[k % 5][: 50 + k])
        asked |= {"x_val": design(problem.X), "y_val": problem.y}
        asked |= {"index_val": held_out}
        asked |= {"weight_val": torch.from_numpy(rng.uniform(0.5, 2.0, 50 + k))}
    return problem.fit(seed=k, index=index, **asked)


def assert_same(together: Outcome, alone: Outcome) -> None:
    """All that is known of a fit is the same, numbers to the promised precision."""
    ours, theirs = together.record, alone.record
    assert together.status is alone.status
    assert together.n_iter == alone.n_iter == len(ours.losses)
    for name in ("losses", "scores", "rates", "norms"):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), PROMISE, PROMISE, err_msg=name
        )
    np.testing.assert_allclose(together.row, alone.row, PROMISE, PROMISE)


def assert_all_same(problem: Problem, fits: list[Fit], *how, **options) -> None:
    """Train the fits as one stack, and each of them alone."""
    together = problem.train(fits, *how, **options)
    for fit, outcome in zip(fits, together, strict=True):
        assert_same(outcome, problem.alone(fit, *how, **options))


# ------------------------------------------------------ 1. a stack is a loop of fits


@each_solver
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_stack_equals_singles(solver, options, dropout, activation):
    """Twenty unlike networks: in a stack of 20, among five, and alone.

    ReLU's kinks are where a rounding error could become a visible one; GELU's buffers
    are laid out another way. Networks leave the stack at their own time, so the stack
    is rebuilt smaller again and again, down to one.
    """
    problem = regression(N, (7, 4), activation, outputs=2, linear_skip=True)
    fits = [unlike(problem, k, solver, dropout) for k in range(20)]
    alone = [problem.alone(fit, solver, **options) for fit in fits]
    for K in (1, 5, 20):
        together = problem.train(fits[:K], solver, **options)
        for outcome, single in zip(together, alone, strict=False):
            assert_same(outcome, single)
    # The comparison means little if the fits had all been the same in truth.
    assert len({outcome.n_iter for outcome in alone}) > 2
    assert any(outcome.record.scores for outcome in alone)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("name", CASES)
def test_every_loss(name, solver):
    """Each loss, of one and several outputs, on weighted rows of unequal number."""
    case, rng = CASES[name], np.random.default_rng(0)
    X, m = rng.normal(size=(60, 3)), case.loss.n_raw(case.my)
    y = torch.from_numpy(case.draw(rng, (60, case.my)))
    problem = Problem(X, y, Architecture(3, (5,), m, ("tanh",)), case.loss)
    fits = [
        problem.fit(
            k,
            np.arange(60 - 7 * k),
            batch_size=(16, None, 25)[k],
            weight=torch.linspace(0.5, 2.0, 60 - 7 * k) if k == 2 else None,
            max_iter=6,
        )
        for k in range(3)
    ]
    assert_all_same(problem, fits, solver)


@each_solver
def test_each_network_has_its_own_table(solver, options, dropout):
    """Fits of unlike data sets share a stack too: tables are put under one another."""
    problem = regression(100, (6,), "relu")
    fits = []
    for k in range(4):
        other = regression(60 + 17 * k, (6,), seed=k)
        own = {"x": design(other.X), "y": other.y} if k else {}
        index = np.arange(0, 60 + 17 * k, 1 + k % 2)
        fits.append(
            problem.fit(
                k, index, **own, batch_size=16, max_iter=3 + k, dropout=dropout * k / 4
            )
        )
    assert_all_same(problem, fits, solver, **options)


@each_solver
@pytest.mark.parametrize("centred", [False, True], ids=["plain", "centred"])
def test_sparse_tables(solver, options, dropout, centred):
    """Sparse rows: each network centres the columns its own way, none densifies them.

    The same fits on dense, centred tables are a second opinion.
    """
    problem = regression(90, (6,), "tanh", linear_skip=True)
    X = np.where(problem.X > 0.3, problem.X, 0.0)
    fits, dense = [], []
    for k in range(3):
        shift = X[fold_of_90(k)].mean(0) if centred else np.zeros(3)
        asked = {
            "index": fold_of_90(k),
            "batch_size": (16, 40, None)[k],
            "max_iter": 3 + k,
            "dropout": dropout * k / 3,
            "early_stopping": k == 1,
        }
        held_out = {"y_val": problem.y, "index_val": torch.arange(30 * k, 30 * k + 30)}
        x = sparse_rows(X, shift if centred else None)
        fits.append(problem.fit(k, x=x, x_val=x, **held_out, **asked))
        x = design(X - shift)
        dense.append(problem.fit(k, x=x, x_val=x, **held_out, **asked))
    assert_all_same(problem, fits, solver, **options)
    pairs = zip(fits, dense, strict=True)
    for sparse, plain in pairs:
        assert_same(
            problem.alone(sparse, solver, **options),
            problem.alone(plain, solver, **options),
        )


def fold_of_90(k: int) -> np.ndarray:
    return np.delete(np.arange(90), np.arange(30 * k, 30 * k + 30))


@pytest.mark.parametrize(("hidden", "epochs"), [((), 300), ((5,), 30)])
def test_longer_lbfgs(hidden, epochs):
    """Regressions to their exact end; a network for as long as rounding stays small.

    Where the surface is curved both ways, a line search that ends a hair's breadth
    elsewhere starts the next one there: 1e-13 after 30 iterations, 1e-11 after 50,
    and beyond 100 a poorly determined weight may differ visibly. Minibatch solvers
    have no such memory: after 200 epochs they still agree to 1e-14.
    """
    problem = regression(120, hidden)
    asked = {"tol": 1e-9, "max_iter": epochs}
    fits = [
        problem.fit(k, np.arange(k, 120 - 11 * k), alpha=0.5 + k, **asked)
        for k in range(5)
    ]
    assert_all_same(problem, fits, "lbfgs")
    end = Status.MAX_ITER if hidden else Status.CONVERGED
    assert {outcome.status for outcome in problem.train(fits, "lbfgs")} == {end}


def test_resumed_networks():
    """Fits that go on from different epochs of their own meet in one stack."""
    problem = regression(100, (5,), "relu")
    fits = []
    for k in range(4):
        fit = problem.fit(k, batch_size=16, max_iter=2 + k, dropout=0.1 * k)
        first = problem.alone(replace(fit, keep_state=True))
        fits.append(replace(fit, state=first.state if k else None))
    assert_all_same(problem, fits)


# -------------------------------------------------------- 2. no network feels another


def bystanders(problem: Problem, solver: str, dropout: float) -> list[Fit]:
    return [unlike(problem, k, solver, dropout) for k in (0, 4, 7)]


def exploding(problem: Problem) -> Fit:
    """A fit whose steps are far too long."""
    return problem.fit(3, batch_size=32, learning_rate_init=1e200, max_iter=5)


def infinite(problem: Problem) -> Fit:
    """A fit with an infinite number among its own rows."""
    X = problem.X.copy()
    X[17, 1] = np.inf
    return problem.fit(3, x=design(X), batch_size=32, max_iter=5)


def called_off(problem: Problem) -> Fit:
    """A fit that its hook stops after two epochs."""
    stop = {"on_epoch": lambda epoch: epoch.number == 2}
    return problem.fit(3, batch_size=32, max_iter=5, **stop)


NEIGHBOURS = {
    "exploding": (exploding, Status.DIVERGED),
    "infinite": (infinite, Status.DIVERGED),
    "called_off": (called_off, Status.STOPPED),
}


@pytest.mark.parametrize(
    ("neighbour", "how"),
    [
        (neighbour, how)
        for neighbour in NEIGHBOURS
        for how in SOLVERS
        # L-BFGS finds its own step length: it has no rate that could explode.
        if (neighbour, how) != ("exploding", "lbfgs")
    ],
)
def test_a_bad_neighbour_changes_nothing(neighbour, how):
    """Zero times infinity is not zero, so nothing may be masked by multiplying."""
    (make, end), (solver, options, dropout) = NEIGHBOURS[neighbour], SOLVERS[how]
    problem = regression(N, (7,), "relu")
    good, bad = bystanders(problem, solver, dropout), make(problem)
    together = problem.train([good[0], bad, *good[1:]], solver, **options)
    assert together[1].status is end
    assert np.isfinite(together[1].row).all()
    for fit, outcome in zip(good, [together[0], *together[2:]], strict=True):
        assert_same(outcome, problem.alone(fit, solver, **options))


def test_a_row_is_not_read_before_its_minibatch():
    """Places that pad a short minibatch hold rows of that minibatch, not later ones.

    A Poisson regression on two minibatches. In the second, x is so large that exp(x)
    overflows, but only at the starting weight of 1, which the first step takes to 0.
    Beside a network with larger minibatches, the first one is padded.
    """
    x = np.repeat([1.0, 800.0], 30)[:, None]
    problem = Problem(
        x,
        torch.zeros(60, 1, dtype=torch.float64),
        Architecture(1, (), 1, ()),
        CASES["poisson"].loss,
    )
    asked = {"start": np.array([1.0, 0.0]), "shuffle": False, "max_iter": 1}
    asked |= {"learning_rate_init": np.exp(-1.0), "momentum": 0.0}
    fit = problem.fit(batch_size=30, **asked)
    wider = problem.fit(batch_size=50, **asked | {"start": np.zeros(2)})
    alone = problem.alone(fit, "sgd")
    assert alone.status is Status.MAX_ITER  # it can be done
    assert_same(problem.train([fit, wider], "sgd")[0], alone)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_network_at_rest_is_not_looked_at(solver):
    """One that is through with its rows waits for the others, and nothing counts.

    Its only step is so long that its loss would overflow, but its epoch was over then.
    """
    problem = regression(60, ())
    asked = {"batch_size": 30, "max_iter": 1}
    short = problem.fit(0, np.arange(30), learning_rate_init=1e200, **asked)
    alone = problem.alone(short, solver)
    assert alone.status is Status.MAX_ITER
    together = problem.train([problem.fit(1, **asked), short], solver)
    assert_same(together[1], alone)


# ---------------------------------------------------- 3. how work is cut does not show


@each_solver
def test_splitting_a_stack_changes_nothing(solver, options, dropout):
    problem = regression(N, (7,), "relu")
    fits = [unlike(problem, k, solver, dropout) for k in range(7)]
    whole = problem.train(fits, solver, **options)
    parts = problem.train(fits[:3], solver, **options)
    parts += problem.train(fits[3:], solver, **options)
    for one, other in zip(whole, parts, strict=True):
        assert_same(one, other)


@each_solver
def test_small_chunks_change_nothing(monkeypatch, solver, options, dropout):
    """Minibatches larger than the buffers are propagated piece by piece.

    How many rows a piece has depends on K, so a stack and a single fit are cut
    differently: that must show neither in the gradients, nor in who takes part in a
    step, nor in the dropout masks (13 units a row: no whole number of random words).
    """
    problem = regression(N, (9, 4), "relu")
    fits = [unlike(problem, k, solver, dropout) for k in range(6)]
    alone = [problem.alone(fit, solver, **options) for fit in fits]
    # Chunks of 128 rows in a stack, of N rows alone; blocks of one piece, none kept.
    monkeypatch.setattr(feeder, "CHUNK_NUMBERS", N * 9)
    monkeypatch.setattr(feeder, "BLOCK_BYTES", 1)
    monkeypatch.setattr(feeder, "STATIC_BYTES", 0)
    for outcome, single in zip(
        problem.train(fits, solver, **options), alone, strict=True
    ):
        assert_same(outcome, single)
