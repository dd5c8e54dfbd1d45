"""The training loop: how fits end, what they keep, at which rates, and going on."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_fits import SOLVERS, held_out, regression

from sklearn_ann.engine.course import ADAPTIVE_FLOOR
from sklearn_ann.engine.fit import Status

# The same arithmetic in another order, in float64.
ROUNDING = 1e-10

each_solver = pytest.mark.parametrize(
    ("solver", "options"), SOLVERS.values(), ids=SOLVERS.keys()
)
each_step = pytest.mark.parametrize(
    ("solver", "options"), list(SOLVERS.values())[:-1], ids=list(SOLVERS)[:-1]
)


def loss_by_hand(problem, row, index=slice(None), activation=np.tanh):
    """Mean of half the squared residuals of a network."""
    parts = problem.architecture.unpack(row)
    flow = problem.X[index]
    for weight, bias in zip(parts.weights[:-1], parts.biases[:-1], strict=True):
        flow = activation(flow @ weight + bias)
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


def test_diverged_keeps_weights_that_predict():
    """Weights may be finite and no prediction is: then back to those before them.

    Alone, beside others, and where a fit goes on from just before.
    """
    problem = regression(activation="identity")
    asked = {"learning_rate_init": 1e9, "max_iter": 9, "alpha": 0.0}
    rows, hook = [], lambda epoch: rows.append(epoch.row())
    fit = problem.fit(on_epoch=hook, keep_state=True, **asked)
    outcome = problem.alone(fit, "sgd")
    assert outcome.status is Status.DIVERGED and len(rows) > 2
    unpredicting, predicting = rows[-1], rows[-2]
    assert np.isfinite(unpredicting).all()
    with np.errstate(all="ignore"):
        assert not np.isfinite(
            loss_by_hand(problem, unpredicting, activation=np.asarray)
        )
    assert np.isfinite(loss_by_hand(problem, predicting, activation=np.asarray))
    np.testing.assert_array_equal(outcome.row, predicting)

    n_epochs = len(rows)
    others = [problem.fit(k, max_iter=2 + 9 * k) for k in range(2)]
    beside = problem.train([others[0], fit, others[1]], "sgd")[1]
    np.testing.assert_allclose(beside.row, outcome.row, 1e-6)

    fewer = replace(fit.settings, max_iter=n_epochs)
    first = problem.alone(replace(fit, settings=fewer), "sgd")
    second = problem.alone(replace(fit, state=first.state), "sgd")
    np.testing.assert_array_equal(second.row, outcome.row)


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
        index=np.arange(60),
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
            index=np.arange(40),
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

BASE, EPOCHS, ROWS = 0.01, 20, 203
RATES = {
    "constant": lambda e: BASE,
    "invscaling": lambda e: BASE / (e * ROWS + 1) ** 0.3,
    "cosine": lambda e: BASE * (1 + math.cos(math.pi * e / EPOCHS)) / 2,
    # Up from base / 25 over 6 of 20 epochs, down to base / 1e4, along half cosines.
    "one_cycle": lambda e: (
        BASE / 25 + BASE * 24 / 25 * (1 - math.cos(math.pi * e / 6)) / 2
        if e < 6
        else BASE - BASE * (1 - 1e-4) * (1 - math.cos(math.pi * (e - 6) / 14)) / 2
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
