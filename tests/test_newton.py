"""Regressions end exactly: Newton's method against score equations solved by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_fits import Problem, design, regression, sparse_rows
from scipy.optimize import root
from scipy.special import expit, softmax
from test_losses import CASES

from sklearn_ann.engine.architecture import Architecture
from sklearn_ann.engine.fit import Status
from sklearn_ann.engine.newton import Regression

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


CURVED = [name for name, case in CASES.items() if case.loss.curvature is not None]


@pytest.mark.parametrize("table", ["dense", "sparse", "centred"])
@pytest.mark.parametrize("name", CURVED)
def test_newtons_derivatives(monkeypatch, name, table):
    """Objective, gradient and Hessian are those of autograd, chunk by chunk."""
    monkeypatch.setattr("sklearn_ann.engine.newton._CHUNK_NUMBERS", 30)
    case, rng = CASES[name], np.random.default_rng(0)
    X = np.where(rng.normal(size=(40, 3)) > 0, rng.normal(size=(40, 3)), 0.0)
    y = torch.from_numpy(case.draw(rng, (40, case.my)))
    m, decay = case.loss.n_raw(case.my), 0.3
    index = torch.from_numpy(rng.permutation(40)[:25])
    weight = torch.from_numpy(rng.dirichlet(np.ones(25)))
    shift = np.arange(3.0) if table == "centred" else np.zeros(3)
    stored = design(X) if table == "dense" else sparse_rows(X)
    centre = torch.from_numpy(shift[None]) if table == "centred" else None
    problem = Regression(stored, centre, y, index, weight, case.loss, decay)
    x = design(X - shift)[index]

    def objective(block):
        values = case.loss.values(x @ block, y[index])
        return values @ weight + decay / 2 * block[:-1].square().sum()

    block = torch.from_numpy(0.5 * rng.normal(size=(4, m))).requires_grad_()
    value, gradient = problem.gradient(block.detach())
    hessian = problem.hessian(block.detach())
    assert value == pytest.approx(objective(block).item(), rel=EXACT)
    (slope,) = torch.autograd.grad(objective(block), block)
    torch.testing.assert_close(gradient, slope, rtol=EXACT, atol=EXACT)
    bends = torch.autograd.functional.hessian(objective, block)  # (4, m, 4, m)
    expected = bends.permute(1, 0, 3, 2)
    torch.testing.assert_close(hessian, expected, rtol=EXACT, atol=EXACT)
