"""The training loop: how fits end, what they promise, and what a step is."""

from __future__ import annotations

import math
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_fits import CPU, Problem, design, regression
from scipy.optimize import root
from scipy.special import expit, softmax
from sklearn.neural_network import MLPRegressor
from test_losses import CASES

from sklearn_ann.engine.fit import Status
from sklearn_ann.engine.network import Architecture, NetworkStack
from sklearn_ann.engine.optimizers import Penalty
from sklearn_ann.engine.rows import row_set
from sklearn_ann.engine.solvers import Feeder, accumulate
from sklearn_ann.engine.training import ADAPTIVE_FLOOR

# The same arithmetic in another order, in float64, over some tens of steps.
ROUNDING = 1e-10

# solver, options: all that a step can be.
SOLVERS = {
    "sgd-plain": ("sgd", {"nesterovs_momentum": False}),
    "sgd-nesterov": ("sgd", {}),
    "adam": ("adam", {}),
    "adamw": ("adamw", {}),
    "lbfgs": ("lbfgs", {}),
}
each_solver = pytest.mark.parametrize(
    ("solver", "options"), SOLVERS.values(), ids=SOLVERS.keys()
)
each_step = pytest.mark.parametrize(
    ("solver", "options"), list(SOLVERS.values())[:-1], ids=list(SOLVERS)[:-1]
)


def held_out(problem, rows=slice(150, None)):
    """Ask for early stopping on the last rows of the table."""
    index = torch.arange(len(problem.X))[rows]
    table = {"x_val": design(problem.X), "y_val": problem.y, "index_val": index}
    return table | {"early_stopping": True}


def loss_by_hand(problem, row, index=slice(None)):
    """Mean of half the squared residuals of a tanh network."""
    parts = problem.architecture.unpack(row)
    flow = problem.X[index]
    for weight, bias in zip(parts.weights[:-1], parts.biases[:-1], strict=True):
        flow = np.tanh(flow @ weight + bias)
    residual = flow @ parts.weights[-1] + parts.biases[-1] - problem.y.numpy()[index]
    return 0.5 * (residual**2).sum(1).mean()


# ------------------------------------------------------------------------ the ends


@each_solver
def test_max_iter(solver, options):
    problem = regression()
    outcome = problem.alone(problem.fit(batch_size=32, max_iter=4), solver, **options)
    assert outcome.status is Status.MAX_ITER
    assert outcome.n_iter == len(outcome.record.losses) == 4


@each_solver
def test_converged(solver, options):
    problem = regression()
    fit = problem.fit(max_iter=5000, tol=1e-5, n_iter_no_change=5, batch_size=64)
    outcome = problem.alone(fit, solver, **options)
    assert outcome.status is Status.CONVERGED
    assert outcome.n_iter < 5000


@each_solver
def test_stopped_by_its_hook(solver, options):
    problem = regression()
    seen = []

    def hook(epoch):
        seen.append((epoch.number, epoch.loss, epoch.score, epoch.row()))
        return epoch.number == 3

    fit = problem.fit(batch_size=32, on_epoch=hook)
    outcome = problem.alone(fit, solver, **options)
    assert outcome.status is Status.STOPPED
    assert [number for number, *_ in seen] == [1, 2, 3]
    assert [loss for _, loss, _, _ in seen] == outcome.record.losses
    assert {score for _, _, score, _ in seen} == {None}
    np.testing.assert_array_equal(seen[-1][-1], outcome.row)
    assert not np.array_equal(seen[0][-1], outcome.row)


def test_hooks_are_the_users_own_code():
    """They may differentiate, which the loop's inference mode forbids."""
    problem, calls = regression(), []

    def slope(*_):
        x = torch.ones(2, requires_grad=True)
        calls.append(float(torch.autograd.grad((x**2).sum(), x)[0].sum()))
        return 0.0

    fit = problem.fit(batch_size=32, max_iter=2, on_epoch=slope, validate=slope)
    problem.alone(fit)
    assert calls == [4.0] * 4


@each_solver
def test_diverged_keeps_the_last_finite_weights(solver, options):
    """From the epoch that ends in nan, training goes back to where that began."""
    problem = regression()
    rows, hook = [], lambda epoch: rows.append(epoch.row())
    fit = problem.fit(batch_size=32, max_iter=9, on_epoch=hook)
    if solver == "lbfgs":  # has no rate; is not finite from the start
        fit.y = problem.y.clone()
        fit.y[0] = math.inf
    else:
        rate = 1e90 if solver == "sgd" else 1e160  # Adam's steps do not grow
        fit.settings = replace(fit.settings, learning_rate_init=rate, alpha=1.0)
    outcome = problem.alone(fit, solver, **options)
    assert outcome.status is Status.DIVERGED
    last = rows[-1] if rows else fit.start
    assert np.isfinite(outcome.row).all()
    np.testing.assert_array_equal(outcome.row, last)
    assert len(rows) == outcome.n_iter - 1  # no hook sees what is not finite


def test_a_loss_that_is_not_finite_is_a_divergence_too():
    """Weights may still be finite where the loss has overflowed."""
    problem = regression(hidden=())
    start = np.full(problem.architecture.n_parameters, 1e200)
    fit = problem.fit(start=start, learning_rate_init=1e-300, max_iter=3)
    outcome = problem.alone(fit, "sgd")
    assert outcome.status is Status.DIVERGED
    np.testing.assert_array_equal(outcome.row, start)


def test_lbfgs_counts_evaluations():
    problem = regression()
    outcome = problem.alone(problem.fit(max_iter=1000), "lbfgs", max_fun=7)
    assert outcome.status is Status.MAX_ITER
    assert 3 <= outcome.n_iter <= 7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_solver
def test_refits_are_bit_equal_and_disturb_no_global_state(solver, options, dtype):
    problem = regression()
    fit = problem.fit(batch_size=32, max_iter=4, dropout=0.2, **held_out(problem))
    torch_state, numpy_state = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    one = problem.train([fit], solver, dtype, **options)[0]
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert repr(np.random.get_state()) == numpy_state  # noqa: NPY002
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    other = problem.train([fit], solver, dtype, **options)[0]
    np.testing.assert_array_equal(one.row, other.row)
    assert one.record.losses == other.record.losses
    assert one.row.dtype == {torch.float32: np.float32}.get(dtype, np.float64)


def test_seed_decides_shuffles_and_masks():
    problem = regression()
    start = problem.start(0)
    for settings in ({}, {"shuffle": False, "dropout": 0.5}):
        fits = [
            problem.fit(seed, start=start, batch_size=32, max_iter=2, **settings)
            for seed in (0, 1)
        ]
        one, other = problem.train(fits)
        assert np.abs(one.row - other.row).max() > 1e-4
    fits = [
        problem.fit(seed, start=start, batch_size=32, max_iter=2, shuffle=False)
        for seed in (0, 1)
    ]
    one, other = problem.train(fits)
    np.testing.assert_array_equal(one.row, other.row)


# -------------------------------------------------------------- patience, validation


def epochs_by_hand(losses, tol, patience):
    """Epochs that scikit-learn's MLP would take along this curve.

    It counts epochs whose loss is not below the best by tol, and stops when there have
    been more than ``n_iter_no_change`` of them in a row.
    """
    best, unimproved = math.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        unimproved = unimproved + 1 if loss > best - tol else 0
        best = min(best, loss)
        if unimproved > patience:
            return epoch
    return len(losses)


@pytest.mark.parametrize("patience", [0, 1, 4])
@pytest.mark.parametrize("tol", [0.0, 1e-3, 1e-2])
def test_patience(tol, patience):
    problem = regression()
    fit = problem.fit(batch_size=32, max_iter=300, learning_rate_init=0.02)
    whole = problem.alone(fit).record.losses
    fit.settings = replace(fit.settings, tol=tol, n_iter_no_change=patience)
    outcome = problem.alone(fit)
    expected = epochs_by_hand(whole, tol, patience)
    assert outcome.n_iter == expected < 300
    assert outcome.record.losses == whole[:expected]
    assert outcome.status is Status.CONVERGED


@pytest.mark.parametrize("patience", [0, 3])
def test_patience_on_a_validation_score(patience):
    """Scores are better when higher; the training loss has no say then."""
    problem = regression()
    fit = problem.fit(
        *(0, np.arange(60)),
        **held_out(problem),
        batch_size=16,
        max_iter=200,
        learning_rate_init=0.03,
        tol=1e-3,
    )
    whole = problem.alone(fit).record.scores
    fit.settings = replace(fit.settings, n_iter_no_change=patience)
    expected = epochs_by_hand([-score for score in whole], 1e-3, patience)
    assert problem.alone(fit).n_iter == expected < 200


@each_step
def test_early_stopping_restores_the_best_weights(solver, options):
    problem = regression(hidden=(30,))

    def trained(early_stopping, max_iter):
        rows = []
        fit = problem.fit(
            *(0, np.arange(40)),
            **held_out(problem) | {"early_stopping": early_stopping},
            batch_size=8,
            max_iter=max_iter,
            n_iter_no_change=20 if early_stopping else np.inf,
            learning_rate_init=0.02,
            on_epoch=lambda epoch: rows.append(epoch.row()),
        )
        return problem.alone(fit, solver, **options), rows

    outcome, kept = trained(True, 400)
    _, rows = trained(False, outcome.n_iter)  # the same epochs, as they came
    scores = outcome.record.scores
    by_hand = [-loss_by_hand(problem, row, slice(150, None)) for row in rows]
    np.testing.assert_allclose(scores, by_hand, ROUNDING)
    best = int(np.argmax(scores))
    assert best < len(scores) - 5  # it did get worse afterwards
    np.testing.assert_array_equal(outcome.row, rows[best])
    # A hook is shown what would be kept if training ended there.
    for epoch, row in enumerate(kept, start=1):
        np.testing.assert_array_equal(row, rows[int(np.argmax(scores[:epoch]))])


@each_solver
def test_without_early_stopping_the_score_is_a_record(solver, options):
    """Neither the end nor the parameters depend on it."""
    problem = regression(hidden=(30,))
    asked = {"batch_size": 8, "max_iter": 60, "tol": 1e-3, "n_iter_no_change": 5}
    asked |= {"index": np.arange(40), "learning_rate_init": 0.02}
    plain = problem.alone(problem.fit(**asked), solver, **options)
    fit = problem.fit(**asked, **held_out(problem) | {"early_stopping": False})
    outcome = problem.alone(fit, solver, **options)
    np.testing.assert_array_equal(outcome.row, plain.row)
    assert outcome.record.losses == plain.record.losses
    assert outcome.status is plain.status
    assert len(outcome.record.scores) == outcome.n_iter
    assert outcome.record.best_score == max(outcome.record.scores)


def test_validation_rows_may_be_weighted():
    problem, row = regression(), []
    weight = torch.linspace(0.0, 2.0, 53, dtype=torch.float64)
    fit = problem.fit(**held_out(problem), weight_val=weight, max_iter=1)
    fit.on_epoch = lambda epoch: row.append(epoch.row())
    score = problem.alone(fit).record.scores[0]
    losses = [loss_by_hand(problem, row[0], [i]) for i in range(150, 203)]
    assert score == pytest.approx(-np.average(losses, weights=weight), rel=ROUNDING)


def test_a_scorer_in_place_of_the_validation_loss():
    """It sees each epoch's parameters and decides which of them are kept."""
    problem, rows = regression(), []

    def third_is_best(row):
        rows.append(row)
        return -abs(len(rows) - 3.0)

    fit = problem.fit(
        batch_size=32, max_iter=6, validate=third_is_best, early_stopping=True
    )
    outcome = problem.alone(fit)
    assert outcome.record.scores == [-2.0, -1.0, 0.0, -1.0, -2.0, -3.0]
    np.testing.assert_array_equal(outcome.row, rows[2])


# --------------------------------------------------------------------- learning rates

BASE, EPOCHS, ROWS = 0.01, 10, 203
RATES = {
    "constant": lambda e: BASE,
    "invscaling": lambda e: BASE / (e * ROWS + 1) ** 0.3,
    "cosine": lambda e: BASE * (1 + math.cos(math.pi * e / EPOCHS)) / 2,
    # Up from base / 25 over 3 of 10 epochs, down to base / 1e4, along half cosines.
    "one_cycle": lambda e: (
        BASE / 25 + BASE * 24 / 25 * (1 - math.cos(math.pi * e / 3)) / 2
        if e < 3
        else BASE - BASE * (1 - 1e-4) * (1 - math.cos(math.pi * (e - 3) / 7)) / 2
    ),
}


@pytest.mark.parametrize("schedule", RATES)
def test_schedule(schedule):
    problem = regression(ROWS)
    fit = problem.fit(
        batch_size=32, max_iter=EPOCHS, learning_rate_init=BASE, power_t=0.3
    )
    rates = problem.alone(fit, schedule=schedule).record.rates
    np.testing.assert_allclose(rates, [RATES[schedule](e) for e in range(EPOCHS)])


def test_rates_are_used():
    """A schedule's rate is the length of the step, not just a number in the record."""
    problem = regression()
    rows = [problem.start()]
    fit = problem.fit(max_iter=4, momentum=0.0, learning_rate_init=BASE)
    fit.on_epoch = lambda epoch: rows.append(epoch.row())
    record = problem.alone(fit, "sgd", schedule="cosine").record
    steps = np.linalg.norm(np.diff(rows, axis=0), axis=1)
    norms = np.linalg.norm(record.norms, axis=1)
    np.testing.assert_allclose(steps, record.rates * norms, ROUNDING)


def test_adaptive_schedule():
    """Out of patience, the rate falls to a fifth; at the floor, training ends."""
    problem, tol, patience = regression(), 0.05, 1
    fit = problem.fit(
        batch_size=32,
        max_iter=500,
        learning_rate_init=BASE,
        tol=tol,
        n_iter_no_change=patience,
    )
    outcome = problem.alone(fit, "sgd", schedule="adaptive")
    rate, rates, best, unimproved = BASE, [], math.inf, 0
    for loss in outcome.record.losses:
        rates.append(rate)
        unimproved = unimproved + 1 if loss > best - tol else 0
        best = min(best, loss)
        if unimproved > patience:
            ended = rate <= ADAPTIVE_FLOOR
            rate, unimproved = rate / 5, 0
    np.testing.assert_allclose(outcome.record.rates, rates)
    assert ended and outcome.status is Status.CONVERGED
    assert len(np.unique(rates)) > 5


# ------------------------------------------------------------------------- going on


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
@each_solver
def test_ten_and_ten_epochs_are_twenty(solver, options, schedule, dtype):
    """Bit for bit, also when the state has been on disk in between."""
    problem = regression(activation="relu", linear_skip=True)
    fit = problem.fit(
        batch_size=32,
        max_iter=20,
        dropout=0.0 if solver == "lbfgs" else 0.3,
        alpha=0.1,
        tol=1e-3,
        n_iter_no_change=2 if schedule == "adaptive" else np.inf,
        keep_state=True,
    )
    options = options | {"schedule": schedule}
    whole = problem.train([fit], solver, dtype, **options)[0]
    half = replace(fit, settings=replace(fit.settings, max_iter=10))
    first = problem.train([half], solver, dtype, **options)[0]
    assert first.n_iter == 10
    state = pickle.loads(pickle.dumps(first.state))
    for again in (state, first.state):
        second = problem.train([replace(half, state=again)], solver, dtype, **options)
        assert second[0].n_iter == 20
        np.testing.assert_array_equal(second[0].row, whole.row)
        for name in ("losses", "rates", "norms", "rows_seen", "patience_used"):
            np.testing.assert_array_equal(
                getattr(second[0].record, name), getattr(whole.record, name)
            )


@each_solver
def test_a_state_serves_twice(solver, options):
    """What goes on from a state leaves it as it was, and the first outcome too."""
    problem = regression()
    fit = problem.fit(batch_size=32, max_iter=3, dropout=0.2, keep_state=True)
    first = problem.alone(fit, solver, **options)
    going_on = replace(fit, state=first.state)
    one = problem.alone(going_on, solver, **options)
    other = problem.alone(going_on, solver, **options)
    np.testing.assert_array_equal(one.row, other.row)
    assert len(first.record.losses) == 3 and len(one.record.losses) == 6
    assert first.record.losses == one.record.losses[:3]


@each_step
def test_stacks_go_on_too(solver, options):
    """Each network takes up its own moments, step count, generators and record.

    Not under L-BFGS: its stack has one memory, so resumed fits stand alone.
    """
    problem = regression()
    fits = [
        problem.fit(k, batch_size=(32, 50, None)[k], max_iter=6, keep_state=True)
        for k in range(3)
    ]
    whole = problem.train(fits, solver, **options)
    halves = [replace(f, settings=replace(f.settings, max_iter=3)) for f in fits]
    first = problem.train(halves, solver, **options)
    halves = [replace(f, state=o.state) for f, o in zip(halves, first, strict=True)]
    for end, other in zip(problem.train(halves, solver, **options), whole, strict=True):
        np.testing.assert_allclose(end.row, other.row, ROUNDING, ROUNDING)


def test_state_is_kept_only_when_asked_for():
    problem = regression()
    assert problem.alone(problem.fit(max_iter=1)).state is None


def test_going_on_after_a_divergence():
    """The moments that blew up are gone; a smaller rate mends the fit."""
    problem = regression()
    fit = problem.fit(batch_size=32, max_iter=3, keep_state=True)
    wild = replace(fit, settings=replace(fit.settings, learning_rate_init=1e200))
    diverged = problem.alone(wild)
    assert diverged.status is Status.DIVERGED
    diverged.state.record.base_rate = 0.01
    outcome = problem.alone(replace(fit, state=diverged.state))
    assert outcome.status is Status.MAX_ITER
    assert outcome.record.losses[-1] < 1.0


# ---------------------------------------------------------------------- what a step is


def test_full_batch_sgd_is_gradient_descent():
    """w <- w - rate gradient, written out for a regression with a ridge penalty."""
    problem, rate, alpha = regression(50, hidden=()), 0.1, 2.0
    fit = problem.fit(
        max_iter=8, learning_rate_init=rate, alpha=alpha, momentum=0.0, tol=0.0
    )
    rows = []
    fit.on_epoch = lambda epoch: rows.append(epoch.row())
    losses = problem.alone(fit, "sgd").record.losses
    X, y, w = design(problem.X).numpy(), problem.y.numpy()[:, 0], problem.start()
    for row, loss in zip(rows, losses, strict=True):
        residual = X @ w - y
        penalty = alpha / (2 * 50) * (w[:-1] ** 2).sum()
        assert loss == pytest.approx((residual**2).mean() / 2 + penalty, rel=ROUNDING)
        w = w - rate * (X.T @ residual / 50 + alpha / 50 * np.append(w[:-1], 0.0))
        np.testing.assert_allclose(row, w, ROUNDING)


# As torch.optim calls them; its momentum is scikit-learn's while the rate is constant.
TORCH = {
    "sgd-plain": lambda groups: torch.optim.SGD(groups, lr=BASE, momentum=0.9),
    "sgd-nesterov": lambda groups: torch.optim.SGD(
        groups, lr=BASE, momentum=0.9, nesterov=True
    ),
    "adam": lambda groups: torch.optim.Adam(groups, lr=BASE),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=BASE),
}


@pytest.mark.parametrize("how", TORCH)
@pytest.mark.parametrize("K", [1, 2])
def test_minibatches_are_those_of_torch_optim(how, K):
    """Autograd, `torch.optim` and a loop over batches, as a textbook has them.

    203 rows in batches of 32 leave a last one of 11. alpha / (2 n) whatever the batch:
    a minibatch's objective is an unbiased view of the whole one.
    """
    problem, alpha, n = regression(203, (7,), "tanh"), 3.0, 203
    solver, options = SOLVERS[how]
    asked = {"batch_size": 32, "max_iter": 3, "shuffle": False, "alpha": alpha}
    # At K = 2 the neighbour's other rate takes the spread formulas, not the fused call.
    fits = [problem.fit(learning_rate_init=BASE / (1 + k), **asked) for k in range(K)]
    ours = problem.train(fits, solver, **options)[0].row

    parts = problem.architecture.unpack(problem.start())
    weights = [torch.tensor(w, requires_grad=True) for w in parts.weights]
    biases = [torch.tensor(b, requires_grad=True) for b in parts.biases]
    decoupled = alpha / n if how == "adamw" else 0.0
    optimizer = TORCH[how](
        [
            {"params": weights, "weight_decay": decoupled},
            {"params": biases, "weight_decay": 0.0},
        ]
    )
    x = torch.from_numpy(problem.X)
    for _ in range(3):
        for rows in torch.arange(n).split(32):
            flow = torch.tanh(x[rows] @ weights[0] + biases[0])
            residual = flow @ weights[1] + biases[1] - problem.y[rows]
            loss = residual.square().sum(1).mean() / 2
            if how != "adamw":
                loss = loss + alpha / (2 * n) * sum(w.square().sum() for w in weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    theirs = problem.architecture.unpack(ours)
    for a, b in zip(theirs.weights + theirs.biases, weights + biases, strict=True):
        np.testing.assert_allclose(a, b.detach(), ROUNDING, ROUNDING)


MLP = {
    "constant": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "momentum": 0.5},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive"},
    # Its Adam adds epsilon before the bias correction, not after, as the paper's
    # algorithm and PyTorch do: without epsilon the two are one.
    "adam": {"solver": "adam", "epsilon": 1e-20},
}


@pytest.mark.parametrize("how", MLP)
def test_full_batches_are_those_of_scikit_learn(how):
    """Its MLP, from the same weights: same losses, same epochs, same coefficients."""
    problem = regression(100, (5,), "tanh")
    asked = {"alpha": 0.7, "tol": 2e-3, "n_iter_no_change": 3, "max_iter": 2000}
    asked["learning_rate_init"] = 0.1
    mlp = MLPRegressor("squared_error", (5,), "tanh", batch_size=100, random_state=0)
    mlp.set_params(**asked, **MLP[how])
    with warnings.catch_warnings():  # that one step is not enough
        warnings.simplefilter("ignore")
        still = MLPRegressor(**mlp.get_params())
        still.set_params(learning_rate_init=1e-300, max_iter=1, solver="sgd")
        still.fit(problem.X, problem.y[:, 0])  # its weights are the starting ones
    mlp.fit(problem.X, problem.y[:, 0])

    start = np.zeros(problem.architecture.n_parameters)
    parts = problem.architecture.unpack(start)
    for ours, theirs in zip(
        parts.weights + parts.biases, still.coefs_ + still.intercepts_, strict=True
    ):
        ours[...] = theirs
    settings = {name: mlp.get_params()[name] for name in ("momentum", "power_t")}
    outcome = problem.alone(
        problem.fit(start=start, **asked, **settings),
        mlp.solver,
        schedule=mlp.learning_rate,
        nesterovs_momentum=mlp.nesterovs_momentum,
        epsilon=mlp.epsilon,
    )
    assert outcome.status is Status.CONVERGED
    assert outcome.n_iter == mlp.n_iter_
    np.testing.assert_allclose(outcome.record.losses, mlp.loss_curve_, ROUNDING)
    ended = problem.architecture.unpack(outcome.row)
    for ours, theirs in zip(
        ended.weights + ended.biases, mlp.coefs_ + mlp.intercepts_, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, 1e-8, 1e-8)


@pytest.mark.parametrize("weighted", [False, True])
def test_minibatches_are_unbiased(weighted):
    """Batch gradients, in proportion to the batches' rows, add up to the whole one.

    With alpha as with weights: neither the mean weight of a batch nor its size enters.
    """
    problem, n = regression(203, (7,), "relu"), 203
    weight = torch.from_numpy(np.random.default_rng(0).uniform(0.1, 3.0, n))
    part = (design(problem.X), problem.y, torch.arange(n), weight if weighted else None)
    rows = row_set([part], CPU, torch.float64)
    stack = NetworkStack(problem.architecture, torch.from_numpy(problem.start()[None]))
    penalty = Penalty(stack, 5.0 / rows.totals, 1.0 / rows.totals, decoupled=False)

    def gradient(batch):
        total = torch.zeros_like(stack.gradient)
        with torch.inference_mode():
            for block in Feeder(rows, np.array([batch]), 1, 7).epoch(None):
                for i in range(block.n_pieces):
                    accumulate(stack, block, i, problem.loss)
                    penalty.add_gradient()
                    total += stack.gradient * (block.kind.segment.sizes[0] / n)
        return total

    whole = gradient(n)
    assert whole.norm() > 0.1
    torch.testing.assert_close(gradient(32), whole, rtol=0, atol=ROUNDING)


@each_solver
def test_a_weight_of_two_is_a_row_written_twice(solver, options):
    problem, n = regression(60), 60
    times = np.random.default_rng(0).integers(1, 4, n)
    asked = {"max_iter": 10, "alpha": 1.0}
    weight = torch.from_numpy(times.astype(float))
    weighted = problem.fit(weight=weight, **asked)
    repeated = problem.fit(0, np.repeat(np.arange(n), times), **asked)
    one = problem.alone(weighted, solver, **options)
    other = problem.alone(repeated, solver, **options)
    np.testing.assert_allclose(one.record.losses, other.record.losses, ROUNDING)
    np.testing.assert_allclose(one.row, other.row, ROUNDING, ROUNDING)
    unweighted = problem.alone(problem.fit(**asked), solver, **options)
    assert np.abs(one.row - unweighted.row).max() > 1e-5


def test_gradients_are_clipped_network_by_network():
    """One step of gradient descent: as long as the rate times the limit allows."""
    problem = regression()
    asked = {"max_iter": 1, "momentum": 0.0, "learning_rate_init": BASE}
    free = problem.alone(problem.fit(**asked), "sgd")
    norm = np.linalg.norm(free.record.norms[0])
    limits = [np.inf, norm / 4, norm * 4]
    fits = [problem.fit(max_grad_norm=limit, **asked) for limit in limits]
    for outcome, limit in zip(problem.train(fits, "sgd"), limits, strict=True):
        length = np.linalg.norm(outcome.row - problem.start())
        assert length == pytest.approx(BASE * min(norm, limit), rel=ROUNDING)
        # The record shows the gradient as it was: clipping must not hide explosions.
        np.testing.assert_allclose(outcome.record.norms, free.record.norms, ROUNDING)


def test_dropout_is_off_in_validation_and_scales_in_training():
    """A unit that is kept counts 1 / (1 - rate), so its mean is what it was."""
    problem = regression(hidden=(200,), activation="identity")
    rate, start = 0.4, problem.start()
    asked = {"max_iter": 300, "learning_rate_init": 1e-300, "start": start}
    fit = problem.fit(dropout=rate, **asked, **held_out(problem))
    record = problem.alone(fit, "sgd").record
    clean = problem.alone(problem.fit(**asked, **held_out(problem)), "sgd").record
    assert set(record.scores) == set(clean.scores)
    # Half the squared residual rises by half the variance that the masks add to the
    # output: rate / (1 - rate) times the sum over units of (value x weight)^2.
    parts = problem.architecture.unpack(start)
    values = problem.X @ parts.weights[0] + parts.biases[0]
    added = ((values * parts.weights[1][:, 0]) ** 2).sum(1).mean()
    expected = clean.losses[0] + 0.5 * rate / (1 - rate) * added
    error = np.std(record.losses) / math.sqrt(len(record.losses))
    assert abs(np.mean(record.losses) - expected) < 4 * error
    assert error < 0.02 * (expected - clean.losses[0])


# ------------------------------------------------------------------ exact regressions

# Newton's steps end at rounding error, times the condition of the columns.
EXACT = 1e-10


def residuals(name, raw, y):
    """Negative derivative of the row losses in raw."""
    if name == "multinomial":
        return np.eye(raw.shape[1])[y[:, 0]] - softmax(raw, axis=1)
    mean = {"squared_error": lambda r: r, "log_loss": expit, "poisson": np.exp}[name]
    return y - mean(raw)


def solved(name, x, y, m, weight, alpha):
    """Coefficients (d + 1, m) at which the score equations hold, by scipy."""
    ridge = np.append(np.ones(x.shape[1] - 1), 0.0)[:, None] * alpha
    # Without penalty the softmax' first class is the base: its coefficients stay zero.
    base = int(name == "multinomial" and alpha == 0)

    def block(b):
        full = np.zeros((x.shape[1], m))
        full[:, base:] = b.reshape(x.shape[1], m - base)
        return full

    def score(b):
        full = block(b)
        slope = x.T @ (weight[:, None] * residuals(name, x @ full, y)) - ridge * full
        return (slope / weight.sum())[:, base:].ravel()

    found = root(score, np.zeros(x.shape[1] * (m - base)), tol=1e-14)
    assert np.abs(score(found.x)).max() < 1e-13
    return block(found.x)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 2.0])
@pytest.mark.parametrize(
    "name", ["squared_error", "log_loss", "poisson", "multinomial"]
)
def test_regressions_are_exact(name, alpha, weighted):
    case, rng, n = CASES[name], np.random.default_rng(0), 150
    X, y = rng.normal(size=(n, 3)), case.draw(rng, (n, 1))
    m = case.loss.n_raw(1)
    problem = Problem(X, torch.from_numpy(y), Architecture(3, (), m, ()), case.loss)
    weight = rng.uniform(0.2, 2.0, n) if weighted else np.ones(n)
    fit = problem.fit(
        start=np.zeros(4 * m),
        alpha=alpha,
        max_iter=200,
        tol=1e-4,
        weight=torch.from_numpy(weight) if weighted else None,
    )
    outcome = problem.alone(fit, "lbfgs")
    assert outcome.status is Status.CONVERGED
    ours = outcome.row.reshape(4, m)
    expected = solved(name, design(X).numpy(), y, m, weight, alpha)
    if name == "multinomial":  # the same constant added to all classes says nothing
        ours, expected = ours - ours[:, :1], expected - expected[:, :1]
    np.testing.assert_allclose(ours, expected, EXACT, EXACT)


def test_collinear_columns():
    """Finite, least squares all the same, and from the start by the shortest way."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 80))
    # Two columns the same, one constant beside the intercept, one a sum of others.
    X = np.column_stack([a, a, np.ones(80), b, a + b])
    y = (a - 2 * b + rng.normal(size=80))[:, None]
    loss = CASES["squared_error"].loss
    problem = Problem(X, torch.from_numpy(y), Architecture(5, (), 1, ()), loss)
    x, start = design(X).numpy(), rng.normal(size=6)
    outcome = problem.alone(problem.fit(start=start, max_iter=100), "lbfgs")
    assert outcome.status is Status.CONVERGED
    change = np.linalg.pinv(x) @ (y[:, 0] - x @ start)
    np.testing.assert_allclose(outcome.row, start + change, 0, 1e-8)
    fitted = x @ np.linalg.lstsq(x, y[:, 0])[0]
    np.testing.assert_allclose(x @ outcome.row, fitted, 0, EXACT)


def test_perfectly_separated_classes_stay_finite():
    """The likelihood has no maximum; Newton's steps must not run off to infinity."""
    X = np.linspace(-1, 1, 20)[:, None]
    y = torch.from_numpy((X > 0).astype(float))
    problem = Problem(X, y, Architecture(1, (), 1, ()), CASES["log_loss"].loss)
    outcome = problem.alone(problem.fit(max_iter=500, tol=1e-4), "lbfgs")
    assert np.isfinite(outcome.row).all()
    assert (expit(design(X).numpy() @ outcome.row) > 0.5).tolist() == y[:, 0].tolist()


def test_l1_keeps_newton_away():
    """Newton's method knows no L1: its end would undo the penalty."""
    problem = regression(80, hidden=())
    fit = problem.fit(alpha=30.0, l1_ratio=0.5, max_iter=300, tol=1e-6)
    row = problem.alone(fit, "lbfgs").row
    x, n = design(problem.X).numpy(), 80
    slope = x.T @ (x @ row - problem.y.numpy()[:, 0]) / n + 15 * row / n
    large = np.abs(row[:-1]) > 1e-3
    np.testing.assert_allclose(
        slope[:-1][large], -15 / n * np.sign(row[:-1][large]), atol=1e-3
    )
