"""L-BFGS against known minima, SciPy, the textbook recursion, and itself alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor
from torch.nn.functional import softplus

from sklearn_ann.engine import inverse_hessian
from sklearn_ann.engine.lbfgs import LBFGS, Evaluate

N_EVALUATIONS_RATIO = 1.5  # at most, relative to SciPy
STACK_TOLERANCE = 1e-8
ROUNDING = 1e-11  # values within this are level; slopes decide between them


class Problem(NamedTuple):
    """A stack of problems: function(x, *data), all with K as the first axis."""

    function: Callable[..., tuple[Tensor, Tensor]]
    data: tuple[Tensor, ...]
    start: Tensor  # (K, P)

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.function(x, *self.data)

    def rows(self, keep: list[int]) -> Problem:
        data = tuple(a[keep] for a in self.data)
        return Problem(self.function, data, self.start[keep])


def quadratic(x, A, centre):
    r = x - centre
    Ar = torch.bmm(A, r[:, :, None])[:, :, 0]
    return (r * Ar).sum(-1) / 2, Ar


def rosenbrock(x):
    a, b = x[:, :-1], x[:, 1:]
    bend = b - a**2
    g = torch.zeros_like(x)
    g[:, :-1] = -400 * a * bend - 2 * (1 - a)
    g[:, 1:] += 200 * bend
    return (100 * bend**2 + (1 - a) ** 2).sum(-1), g


def logit(x, X, y):
    eta = torch.bmm(X, x[:, :, None])[:, :, 0]
    g = torch.bmm((eta.sigmoid() - y)[:, None], X)[:, 0] / y.shape[1]
    return (softplus(eta) - y * eta).mean(-1), g


def poisson(x, X, y):
    eta = torch.bmm(X, x[:, :, None])[:, :, 0]
    g = torch.bmm((eta.exp() - y)[:, None], X)[:, 0] / y.shape[1]
    return (eta.exp() - y * eta).mean(-1), g


def absolute(x, X, y):
    r = torch.bmm(X, x[:, :, None])[:, :, 0] - y
    g = torch.bmm(r.sign()[:, None], X)[:, 0] / y.shape[1]
    return r.abs().mean(-1), g


def network(x, X, y):
    """Four tanh units, squared error, a small penalty."""
    (K, n, d), h = X.shape, 4
    W, v = x[:, : d * h].view(K, d, h), x[:, d * h :, None]
    H = torch.bmm(X, W).tanh()
    r = (H * v.mT).sum(-1) - y  # bmm rounds products with a vector differently at K = 1
    dv = torch.bmm(r[:, None], H)[:, 0] / n
    dW = torch.bmm(X.mT, r[:, :, None] * v.mT * (1 - H**2)) / n
    g = torch.cat((dW.flatten(1), dv), 1) + 2e-3 * x
    return (r**2).mean(-1) / 2 + 1e-3 * (x**2).sum(-1), g


def make(name: str, K: int) -> Problem:
    """Problem k is the same in every stack; sizes are equal, conditioning is not."""
    singles = [MAKERS[name](np.random.default_rng(k), k) for k in range(K)]
    stacks = [torch.tensor(np.stack(arrays)) for arrays in zip(*singles, strict=True)]
    return Problem(globals()[name], tuple(stacks[1:]), stacks[0])


def make_quadratic(rng, k):
    P = 12
    Q = np.linalg.qr(rng.normal(size=(P, P)))[0]
    A = Q * np.logspace(0, k % 5, P) @ Q.T
    return np.zeros(P), (A + A.T) / 2, rng.normal(size=P)


def make_rows(rng, columns):
    X = np.c_[np.ones(120), rng.normal(size=(120, columns))]
    return X, X @ rng.normal(size=columns + 1)


def make_logit(rng, k):
    X, eta = make_rows(rng, 6)
    y = rng.random(120) < 1 / (1 + np.exp(-eta))
    X[:, 1] *= 1 + k % 10
    return np.zeros(7), X, y.astype(float)


def make_poisson(rng, k):
    X, eta = make_rows(rng, 4)
    return np.zeros(5), X, rng.poisson(np.exp(eta / 3)).astype(float)


def make_absolute(rng, k):
    X, eta = make_rows(rng, 4)
    return np.zeros(5), X, eta + rng.standard_t(2, size=120)


def make_network(rng, k):
    X, eta = make_rows(rng, 3)
    return rng.normal(size=20), X, np.sin(eta)


MAKERS = {
    "quadratic": make_quadratic,
    "rosenbrock": lambda rng, k: (rng.normal(size=10),),
    "logit": make_logit,
    "poisson": make_poisson,
    "absolute": make_absolute,
    "network": make_network,
}
SMOOTH = ["quadratic", "rosenbrock", "logit", "poisson", "network"]
CONVEX = ["quadratic", "logit", "poisson"]


def solve(
    evaluate: Evaluate, start: Tensor, tolerance: float, max_iter: int = 2000, **options
) -> LBFGS:
    solver = LBFGS(start, **options)
    solver.start(evaluate)
    solver.finish(solver.gradient_max < tolerance)
    for _ in range(max_iter):
        if solver.finished.all():
            break
        solver.iterate(evaluate)
        solver.finish(solver.gradient_max < tolerance)
    return solver


def solve_apart(problem: Problem, tolerance: float) -> tuple[LBFGS, list[int]]:
    """Solve, with searches of a few problems passed on alone; note how many."""
    sizes: list[int] = []

    def some(x: Tensor, keep: list[int]) -> tuple[Tensor, Tensor]:
        assert len(x) == len(keep)
        sizes.append(len(keep))
        return problem.rows(keep).evaluate(x)

    solver = LBFGS(problem.start)
    solver.start(problem.evaluate)
    for _ in range(2000):
        if solver.finished.all():
            break
        solver.iterate(problem.evaluate, some)
        solver.finish(solver.gradient_max < tolerance)
    return solver, sizes


def assert_same(stack: LBFGS, row: int, single: LBFGS) -> None:
    for name in ("x", "f", "g", "n_evaluations", "stalled", "finished"):
        ours, alone = getattr(stack, name)[row], getattr(single, name)[0]
        torch.testing.assert_close(
            ours, alone, rtol=STACK_TOLERANCE, atol=STACK_TOLERANCE, equal_nan=True
        )


# A few problems at a time


@pytest.mark.parametrize("name", SMOOTH)
def test_searches_of_a_few_take_the_same_path(name):
    problem = make(name, 20)
    together = solve(problem.evaluate, problem.start, 1e-9)
    apart, sizes = solve_apart(problem, 1e-9)
    assert sizes, "no search was ever continued by a few problems"
    assert max(sizes) <= 10
    for name in ("x", "f", "g", "n_evaluations"):
        torch.testing.assert_close(
            getattr(apart, name),
            getattr(together, name),
            rtol=STACK_TOLERANCE,
            atol=STACK_TOLERANCE,
        )


# Minima


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("inference", [False, True])
def test_gradient_goes_to_zero(name, inference):
    with torch.inference_mode(inference):
        problem = make(name, 5)
        solver = solve(problem.evaluate, problem.start, 1e-9)
    assert not solver.stalled.any()
    assert (solver.gradient_max < 1e-9).all()


def test_quadratics_of_different_conditioning_reach_their_centres():
    problem = make("quadratic", 5)
    solver = solve(problem.evaluate, problem.start, 1e-10)
    torch.testing.assert_close(solver.x, problem.data[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("P", [2, 5, 20, 100])
def test_rosenbrock_from_the_usual_start(P):
    start = torch.ones(1, P, dtype=torch.float64)
    start[:, ::2] = -1.2
    solver = solve(rosenbrock, start, 1e-10)
    # From this start P = 5 and more may end in the local minimum near (-1, 1, ...).
    assert solver.gradient_max < 1e-10
    assert solver.f < 1e-18 or abs(solver.x[0, 0] + 1) < 0.05


def test_single_precision_is_kept():
    problem = make("logit", 3)
    data = tuple(a.float() for a in problem.data)
    single = Problem(logit, data, problem.start.float())
    solver = solve(single.evaluate, single.start, 1e-5)
    exact = solve(problem.evaluate, problem.start, 1e-10)
    assert solver.x.dtype == solver.f.dtype == solver.g.dtype == torch.float32
    torch.testing.assert_close(solver.x.double(), exact.x, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", CONVEX)
def test_without_tolerance_it_ends_at_the_precision(name):
    problem = make(name, 5)
    solver = solve(problem.evaluate, problem.start, 0.0)
    assert solver.finished.all()
    scale = problem.evaluate(problem.start)[1].abs().amax(-1)
    assert (solver.gradient_max < 1e-12 * scale).all()


def test_absolute_errors_come_near_the_optimum_of_the_linear_program():
    problem = make("absolute", 5)
    solver = LBFGS(problem.start)
    solver.start(problem.evaluate)
    for _ in range(200):
        before = solver.f
        solver.iterate(problem.evaluate)
        assert (solver.f <= before * (1 + ROUNDING)).all()
    torch.testing.assert_close(
        solver.f, least_absolute_errors(*problem.data), rtol=1e-3, atol=0
    )


def least_absolute_errors(X: Tensor, y: Tensor) -> Tensor:
    """Minimise sum(u + v) subject to X b + u - v = y and u, v >= 0."""
    values = []
    for Xk, yk in zip(X.numpy(), y.numpy(), strict=True):
        n, d = Xk.shape
        cost = np.r_[np.zeros(d), np.ones(2 * n)] / n
        bounds = [(None, None)] * d + [(0, None)] * (2 * n)
        equal = np.c_[Xk, np.eye(n), -np.eye(n)]
        values.append(optimize.linprog(cost, A_eq=equal, b_eq=yk, bounds=bounds).fun)
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("tolerance", [1e-4, 1e-7])
def test_as_few_evaluations_as_scipy(name, tolerance):
    ours = theirs = 0
    for k in range(6):  # a sum: one path over a curved valley proves little
        problem = make(name, 6).rows([k])

        def objective(x, problem=problem):
            f, g = problem.evaluate(torch.from_numpy(x)[None])
            return f.item(), g[0].numpy()

        start = problem.start[0].numpy()
        options = {"gtol": tolerance, "ftol": 0, "maxiter": 5000, "maxfun": 10000}
        theirs += optimize.minimize(
            objective, start, jac=True, method="L-BFGS-B", options=options
        ).nfev
        solver = solve(problem.evaluate, problem.start, tolerance)
        assert solver.gradient_max < tolerance
        ours += int(solver.n_evaluations)
    assert ours <= N_EVALUATIONS_RATIO * theirs


@pytest.mark.parametrize("K", [1, 3])
def test_lists_say_the_same_as_tensors(K):
    problem = make("network", K)
    solver = LBFGS(problem.start)
    solver.start(problem.evaluate)
    for _ in range(5):
        f, g = problem.evaluate(solver.x)
        assert solver.values == solver.f.tolist() == f.tolist()
        assert solver.gradient_maxima == g.abs().amax(-1).tolist()
        assert solver.evaluations == solver.n_evaluations.tolist()
        solver.iterate(problem.evaluate)
    solver.select(torch.tensor([K - 1]))
    assert solver.values == solver.f.tolist()
    assert solver.gradient_maxima == solver.gradient_max.tolist()


def test_points_read_before_stay_as_they_were():
    problem, kept = make("rosenbrock", 3), []
    solver = LBFGS(problem.start)
    solver.start(problem.evaluate)
    for _ in range(8):
        kept.append((solver.x, solver.g, solver.x.clone(), solver.g.clone()))
        solver.iterate(problem.evaluate)
    for x, g, x_then, g_then in kept:
        assert torch.equal(x, x_then)
        assert torch.equal(g, g_then)


# Stack equals singles


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("K", [1, 5])
@pytest.mark.parametrize("inference", [False, True])
def test_numpy_and_torch_do_the_same(name, K, inference, monkeypatch):
    # Few iterations: products of two libraries round differently, and paths part.
    problem = make(name, K)
    with torch.inference_mode(inference):
        small = solve(problem.evaluate, problem.start, 1e-7, max_iter=5)
        monkeypatch.setattr(inverse_hessian, "MOST_IN_NUMPY", 0)
        large = solve(problem.evaluate, problem.start, 1e-7, max_iter=5)
    assert small._memory.xp is np
    assert large._memory.xp is torch
    for field in ("x", "f", "n_evaluations", "stalled"):
        torch.testing.assert_close(
            getattr(small, field), getattr(large, field), rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("K", [1, 5, 20])
def test_stack_equals_singles(name, K):
    problem = make(name, K)
    # Rounding grows along a curved or kinked path until the minimum catches it.
    max_iter = 1000 if name in CONVEX else 20
    stack = solve(problem.evaluate, problem.start, 1e-7, max_iter)
    for k in range(K):
        single = problem.rows([k])
        alone = solve(single.evaluate, single.start, 1e-7, max_iter)
        assert_same(stack, k, alone)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("first_bad_call", [0, 1, 7])
def test_diverging_neighbours_change_nothing(value, first_bad_call):
    problem, bad, calls = make("logit", 5), [0, 3], []

    def evaluate(x):
        f, g = problem.evaluate(x)
        calls.append(x)
        if len(calls) > first_bad_call:
            f[bad], g[bad] = value, value
        return f, g

    stack = solve(evaluate, problem.start, 1e-9)
    assert stack.stalled[bad].all()
    assert stack.x.isfinite().all()
    assert torch.stack(calls).isfinite().all()
    for k in (1, 2, 4):
        single = problem.rows([k])
        assert_same(stack, k, solve(single.evaluate, single.start, 1e-9))


def test_finished_problems_stay_bit_identical():
    problem = make("network", 4)
    done = torch.tensor([True, False, True, False])

    def evaluate(x):
        f, g = problem.evaluate(x)
        return f.masked_fill(done, torch.nan), g.masked_fill(done[:, None], torch.nan)

    solver = solve(problem.evaluate, problem.start, 0.0, max_iter=5)
    solver.finish(done)
    before = [a[done].clone() for a in (solver.x, solver.f, solver.g)]
    used = solver.n_evaluations
    for _ in range(15):
        solver.iterate(evaluate)
    after = [a[done] for a in (solver.x, solver.f, solver.g)]
    assert all(map(torch.equal, before, after))
    assert torch.equal(solver.n_evaluations > used, ~done)
    for k in (1, 3):
        single = problem.rows([k])
        alone = solve(single.evaluate, single.start, 0.0, max_iter=20)
        torch.testing.assert_close(solver.x[[k]], alone.x, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", MAKERS)
def test_selected_problems_go_on_as_before(name):
    problem, keep = make(name, 5), [4, 0, 2]
    part = problem.rows(keep)
    whole = solve(problem.evaluate, problem.start, 0.0, max_iter=20)
    solver = solve(problem.evaluate, problem.start, 0.0, max_iter=8)
    solver.select(torch.tensor(keep))
    assert solver.x.shape == part.start.shape
    for _ in range(12):
        solver.iterate(part.evaluate)
    for row, k in enumerate(keep):
        torch.testing.assert_close(solver.x[row], whole.x[k], rtol=1e-8, atol=1e-8)
        assert solver.n_evaluations[row] == whole.n_evaluations[k]


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("inference", [False, True])
def test_pickled_in_the_middle_continues_bit_identically(K, inference):
    problem = make("network", K)
    with torch.inference_mode(inference):
        solver = solve(problem.evaluate, problem.start, 0.0, max_iter=13)
        copy = pickle.loads(pickle.dumps(solver))
        for _ in range(13):
            solver.iterate(problem.evaluate)
            copy.iterate(problem.evaluate)
    for name in ("x", "f", "g", "n_evaluations"):
        assert torch.equal(getattr(solver, name), getattr(copy, name))


def test_evaluations_may_reuse_their_buffers():
    problem = make("rosenbrock", 3)
    f, g = torch.empty(3, dtype=torch.float64), torch.empty_like(problem.start)

    def evaluate(x):
        values, gradients = problem.evaluate(x)
        return f.copy_(values), g.copy_(gradients)

    reusing = solve(evaluate, problem.start, 1e-9)
    assert torch.equal(reusing.x, solve(problem.evaluate, problem.start, 1e-9).x)


# Direction


def two_loops(pairs, g, gamma):
    """Nocedal and Wright (2006), algorithm 7.4."""
    q, alphas = g.clone(), []
    for s, y in reversed(pairs):
        alphas.append((s @ q) / (s @ y))
        q -= alphas[-1] * y
    r = gamma * q
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        r += s * (alpha - (y @ r) / (s @ y))
    return -r


def direction(solver):
    solver._memory.direct(*solver._memory.views(solver.g))
    return solver._memory.d[0]


@pytest.mark.parametrize("n_iter", [1, 3, 4, 9])
def test_direction_equals_the_two_loops(n_iter):
    problem, pairs = make("rosenbrock", 1), []
    solver = LBFGS(problem.start, memory=4)
    solver.start(problem.evaluate)
    for _ in range(n_iter):
        x, g = solver.x, solver.g
        solver.iterate(problem.evaluate)
        pairs.append(((solver.x - x)[0], (solver.g - g)[0]))
    s, y = pairs[-1]
    expected = two_loops(pairs[-4:], solver.g[0], (s @ y) / (y @ y))
    torch.testing.assert_close(direction(solver), expected, rtol=1e-8, atol=1e-10)
    # A pair without positive curvature takes the place of the oldest one, unused.
    views = solver._memory.views(solver.x, solver.g, solver.x - s, solver.g + y)
    solver._memory.add(*views)
    expected = two_loops(pairs[-3:], solver.g[0], (s @ y) / (y @ y))
    torch.testing.assert_close(direction(solver), expected, rtol=1e-8, atol=1e-10)


# Failure


def test_steps_too_far_are_halved():
    def barrier(x):  # nan where x < 0; the minimum is at 0.001
        return 1000 * x[:, 0] - x[:, 0].log(), 1000 - 1 / x

    solver = solve(barrier, torch.tensor([[0.5], [3.0]], dtype=torch.float64), 1e-8)
    torch.testing.assert_close(solver.x, torch.full_like(solver.x, 1e-3))


def test_distant_minima_are_reached_by_longer_steps():
    def far(x):
        r = x - 1e6
        return 1e-8 * (r * r).sum(-1), 2e-8 * r

    solver = solve(far, torch.zeros(1, 2, dtype=torch.float64), 1e-12)
    torch.testing.assert_close(solver.x, torch.full_like(solver.x, 1e6))
    assert solver.n_evaluations < 30


def test_flat_function_stalls_without_evaluations():
    def flat(x):
        return torch.ones_like(x[:, 0]), torch.zeros_like(x)

    solver = solve(flat, torch.ones(2, 3), 0.0)
    assert solver.stalled.all()
    assert solver.n_evaluations.tolist() == [1, 1]


def test_gradients_that_point_up_stall_in_place():
    def wrong(x):
        return (x * x).sum(-1), -2 * x

    start = torch.ones(1, 3, dtype=torch.float64)
    solver = solve(wrong, start, 0.0, max_search=10)
    assert solver.stalled.all()
    assert torch.equal(solver.x, start)
    assert solver.n_evaluations.tolist() == [21]


def test_a_poor_memory_is_dropped_before_giving_up():
    problem = make("rosenbrock", 1)
    solver = solve(problem.evaluate, problem.start, 0.0, max_iter=6)
    steps = solver._memory.tensors[0]
    steps.fill_(torch.nan)
    before = solver.f
    solver.iterate(problem.evaluate)
    assert not solver.stalled.any()
    assert (solver.f < before).all()
    assert steps.isfinite().all()


def test_search_ends_at_a_cliff():
    def cliff(x):
        return torch.where(x < 1 / 3, -x, 1e6)[:, 0], -torch.ones_like(x)

    solver = LBFGS(torch.zeros(1, 1, dtype=torch.float64), max_search=1000)
    solver.start(cliff)
    solver.iterate(cliff)
    torch.testing.assert_close(solver.x.item(), 1 / 3, rtol=1e-12, atol=0)
    assert solver.n_evaluations < 100
