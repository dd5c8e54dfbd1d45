"""What a step is: against formulas, `torch.optim`, and scikit-learn's MLP."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from engine_fits import CPU, SOLVERS, design, held_out, regression
from sklearn.neural_network import MLPRegressor

from sklearn_ann.engine.feeder import Feeder
from sklearn_ann.engine.fit import Status
from sklearn_ann.engine.network import NetworkStack
from sklearn_ann.engine.objective import accumulate
from sklearn_ann.engine.penalties import Penalty
from sklearn_ann.engine.rows import row_set

# The same arithmetic in another order, in float64, over some tens of steps.
ROUNDING = 1e-10
BASE = 0.01  # learning rate

each_solver = pytest.mark.parametrize(
    ("solver", "options"), SOLVERS.values(), ids=SOLVERS.keys()
)


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
                    for pull in penalty.pulls:
                        pull()
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


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_full_batch_is_not_shuffled(solver):
    """Its order is nothing to it; so it needs no gathering, and no random numbers."""
    problem = regression()
    fits = [problem.fit(max_iter=5, shuffle=shuffle) for shuffle in (True, False)]
    one, other = (problem.alone(fit, solver) for fit in fits)
    np.testing.assert_array_equal(one.row, other.row)
