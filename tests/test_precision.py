"""Products in bfloat16 beside a float32 master copy, and precisions that are global."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from engine_fits import CPU, SOLVERS, regression
from sklearn.base import clone
from sklearn.datasets import make_moons

from sklearn_ann import ANNClassifier, ANNRegressor
from sklearn_ann.engine import training
from sklearn_ann.engine.architecture import Architecture
from sklearn_ann.engine.device import stored_dtype
from sklearn_ann.engine.layers import ACTIVATIONS
from sklearn_ann.engine.losses import make_loss
from sklearn_ann.engine.mixed import MixedPass
from sklearn_ann.engine.network import NetworkStack
from sklearn_ann.engine.optimizers import SolverOptions

# Eight significant bits: a rounding moves a number by up to 2^-9 of itself. A gradient
# goes through some ten of them; sums of many average them out.
ONE_ROUNDING = 2.0**-9
GRADIENT = 10 * ONE_ROUNDING
# A unit within a rounding of its kink may take the slope of the other side: a few rows'
# shares of a gradient that is a sum over 64.
KINKED = {"relu", "leaky_relu", "selu"}
GRADIENT_WITH_KINKS = 0.1

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning"  # epochs are kept few
)


# -------------------------------------------------------------------------- gradients


def gradients(stack, x, y, masks=(), loss=None):
    """One trip: raw outputs and the gradient of the sum of row losses."""
    loss = loss or make_loss("squared_error")
    at = stack.at(x.shape[-2])
    raw = torch.empty_like(at.delta)
    at.forward(x, raw, masks)
    loss.gradient(raw, y, at.delta)
    at.backward(x, x.transpose(-1, -2), masks)
    return raw, stack.gradient


def both(architecture, K, n=64, seed=0):
    """The same networks with products in float32 and in bfloat16, and rows for them."""
    rng = np.random.default_rng(seed)
    start = np.zeros(architecture.n_outputs)
    rows = [architecture.initial_row(rng, "auto", start) for _ in range(K)]
    # Beside a skip the last layer starts at zero: moved, or no gradient gets below it.
    rows = np.array(rows) + rng.uniform(0.01, 0.1, np.shape(rows))
    rows = torch.from_numpy(rows).float()
    x = torch.from_numpy(rng.normal(size=(K, n, architecture.n_inputs + 1))).float()
    x[..., -1] = 1.0
    y = torch.from_numpy(rng.normal(size=(K, n, architecture.n_outputs))).float()
    stacks = [NetworkStack(architecture, rows, p) for p in (None, torch.bfloat16)]
    return stacks, (x[0], y[0]) if K == 1 else (x, y)


def distance(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradients_are_those_of_float32_to_three_digits(name, K):
    architecture = Architecture(5, (33, 16), 2, (name, name), linear_skip=K > 1)
    (exact, mixed), (x, y) = both(architecture, K)
    raw, gradient = gradients(exact, x, y)
    raw_16, gradient_16 = gradients(mixed, x, y)
    assert isinstance(mixed.at(64), MixedPass)
    assert raw_16.dtype is gradient_16.dtype is torch.float32
    limit = GRADIENT_WITH_KINKS if name in KINKED else GRADIENT
    for a, b in zip(mixed.blocks(gradient_16), exact.blocks(gradient), strict=True):
        assert distance(a, b) < limit
        assert distance(a, b) > 1e-5  # or nothing was rounded
    assert distance(raw_16, raw) < GRADIENT


def test_products_are_added_up_in_more_than_bfloat16():
    """A million ones: in bfloat16 the sum would stay at 256."""
    n = 2**20
    architecture = Architecture(1, (), 1, ())
    stack = NetworkStack(architecture, torch.zeros(1, 2), torch.bfloat16)
    x = torch.ones(n, 2)
    _, gradient = gradients(stack, x, -torch.ones(n, 1))
    np.testing.assert_allclose(gradient, n, ONE_ROUNDING)


def test_masks_and_classes_go_through():
    architecture = Architecture(5, (33, 16), 3, ("gelu", "tanh"))
    (exact, mixed), (x, _) = both(architecture, 1)
    drawn = np.random.default_rng(1)
    masks = [torch.from_numpy(drawn.random((64, h)) > 0.3) / 0.7 for h in (33, 16)]
    y = torch.arange(64).unsqueeze(1) % 3
    loss = make_loss("multinomial", n_classes=3)
    _, gradient = gradients(exact, x, y, masks, loss)
    _, gradient_16 = gradients(mixed, x, y, masks, loss)
    assert 1e-5 < distance(gradient_16, gradient) < GRADIENT


@pytest.mark.parametrize("K", [1, 2])
def test_rows_begin_where_tensor_cores_want_them(K):
    """A design of odd width, with its column of ones, would make them slow."""
    stacks, _ = both(Architecture(4, (32, 17), 1, ("relu", "tanh")), K)
    at = stacks[1].at(8)
    flows = [at._x] + [rise.inside for rise in at._inner._up]
    for flow, width in zip(flows, (5, 32, 17), strict=True):
        assert flow.shape[-1] == width
        assert flow.stride(-2) > width
        assert flow.stride(-2) * flow.element_size() % 16 == 0
    plain = stacks[0].at(8)
    assert [rise.inside.stride(-2) for rise in plain._up] == [33, 18]


def test_small_steps_are_not_lost():
    """Each of them is below half a unit in the last place of a bfloat16 weight."""
    problem = regression(64, hidden=(8,))
    start = np.ones(problem.architecture.n_parameters)
    asked = {"max_iter": 300, "learning_rate_init": 1e-4, "start": start}
    options = SolverOptions(name="adam")
    moved = {}
    for dtype in (torch.float32, torch.bfloat16):
        fit = problem.fit(**asked)
        (outcome,) = training.train(
            [fit], problem.architecture, problem.loss, options, CPU, dtype
        )
        assert outcome.row.dtype == np.float32
        moved[dtype] = outcome.row - start
    assert np.abs(moved[torch.float32]).mean() > 0.01
    ratio = np.linalg.norm(moved[torch.bfloat16]) / np.linalg.norm(moved[torch.float32])
    assert ratio == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("how", [h for h in SOLVERS if h != "lbfgs"])
def test_what_is_kept_is_float32(how):
    problem = regression(64)
    solver, options = SOLVERS[how]
    fits = [problem.fit(k, max_iter=3, batch_size=16, keep_state=True) for k in (0, 1)]
    options = SolverOptions(name=solver, **options)
    outcomes = training.train(
        fits, problem.architecture, problem.loss, options, CPU, torch.bfloat16
    )
    for outcome in outcomes:
        assert outcome.row.dtype == np.float32
        assert outcome.state.solver["moments"].dtype == np.float32
        rounded = torch.from_numpy(outcome.row.copy()).bfloat16().float().numpy()
        assert (outcome.row != rounded).mean() > 0.9
    assert stored_dtype(torch.bfloat16) is torch.float32
    assert stored_dtype(torch.float64) is torch.float64


# ------------------------------------------------------------------------- estimators

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 4))
Y = X[:, 0] + np.sin(2 * X[:, 1]) + 0.1 * rng.normal(size=300)
MODEL = {
    "early_stopping": False,
    "hidden_layer_sizes": (32, 32),
    "activation": "relu",
    "learning_rate_init": 0.005,
    "batch_size": 50,
    "max_iter": 60,
    "random_state": 0,
}


def test_a_regression_learns():
    model = ANNRegressor(**MODEL, dtype="bfloat16").fit(X, Y)
    reference = ANNRegressor(**MODEL, dtype="float32").fit(X, Y)
    assert model.dtype_ == "bfloat16"
    assert model.score(X, Y) > 0.97
    assert model.score(X, Y) == pytest.approx(reference.score(X, Y), abs=0.01)
    predicted = model.predict(X)
    assert predicted.dtype == np.float64
    assert (predicted != reference.predict(X)).all()
    # Weights are the master's, and predictions are made of them in float64.
    assert all(weight.dtype == np.float64 for weight in model.coefs_)
    flow = X
    for weight, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        flow = np.maximum(flow @ weight + bias, 0)
    by_hand = flow @ model.coefs_[-1] + model.intercepts_[-1]
    np.testing.assert_allclose(predicted, by_hand[:, 0], 1e-10, 1e-10)


def test_classes_are_learnt():
    points, labels = make_moons(300, noise=0.1, random_state=0)
    model = ANNClassifier(**MODEL, dtype="bfloat16").fit(points, labels)
    assert model.score(points, labels) > 0.97
    proba = model.predict_proba(points)
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(1), 1.0, 1e-12)


def test_it_is_a_parameter_like_others():
    model = ANNRegressor(**MODEL | {"max_iter": 2}, dtype="bfloat16")
    assert clone(model).get_params()["dtype"] == "bfloat16"
    fitted = pickle.loads(pickle.dumps(model.fit(X, Y)))
    assert fitted.dtype_ == "bfloat16"
    np.testing.assert_array_equal(fitted.predict(X), model.predict(X))


@pytest.mark.parametrize("asked", [{"n_estimators": 3}, {"n_init": 3}], ids=str)
def test_stacks(asked):
    """Networks of a stack are rounded alike, whoever stands beside them."""
    model = ANNRegressor(**MODEL | {"max_iter": 3} | asked, dtype="bfloat16")
    first = ANNRegressor(**MODEL | {"max_iter": 3}, dtype="bfloat16").fit(X, Y)
    model.fit(X, Y)
    if "n_estimators" in asked:
        member = model.estimators_[0].predict(X)
        np.testing.assert_allclose(member, first.predict(X), atol=0.05)
    assert model.dtype_ == "bfloat16"
    assert np.isfinite(model.predict(X)).all()


def test_warm_starts_are_exact():
    """Ten epochs and ten more are twenty, since what is kept is not rounded."""
    asked = MODEL | {"max_iter": 10, "dtype": "bfloat16", "warm_start": True}
    warm = ANNRegressor(**asked).fit(X, Y).fit(X, Y)
    at_once = ANNRegressor(**asked | {"max_iter": 20}).fit(X, Y)
    np.testing.assert_array_equal(warm.predict(X), at_once.predict(X))
    by_parts = ANNRegressor(**asked)
    for _ in range(20):
        by_parts.partial_fit(X, Y)
    assert by_parts.dtype_ == "bfloat16"


@pytest.mark.parametrize("K", [1, 2])
def test_sparse_rows(K):
    """Centring takes the mean away again: rounding it first would leave little."""
    dense = X * (np.random.default_rng(1).uniform(size=X.shape) < 0.5)
    dense[:, 0] += 300.0
    asked = MODEL | {"max_iter": 20, "dtype": "bfloat16", "n_estimators": K}
    for rows in (dense, sp.csr_array(dense)):
        assert (
            ANNRegressor(**asked).fit(rows, dense[:, 1]).score(rows, dense[:, 1]) > 0.9
        )


@pytest.mark.parametrize(
    "asked",
    [{"solver": "lbfgs"}, {"hidden_layer_sizes": ()}],
    ids=["lbfgs", "exact"],
)
def test_refused_where_exact_results_are_the_point(asked):
    model = ANNRegressor(**MODEL | asked, dtype="bfloat16")
    with pytest.raises(ValueError, match=r"dtype='bfloat16' keeps three .* dtype='flo"):
        model.fit(X, Y)
    told = "without hidden layer solver='auto' is that"
    with pytest.raises(ValueError) as error:
        model.fit(X, Y)
    assert (told in str(error.value)) == ("hidden_layer_sizes" in asked)


def test_a_regression_by_steps_may():
    asked = {"hidden_layer_sizes": (), "solver": "adam", "max_iter": 200}
    model = ANNRegressor(**MODEL | asked, dtype="bfloat16").fit(X, X[:, 0])
    np.testing.assert_allclose(model.coef_, [1, 0, 0, 0], atol=0.05)


# ------------------------------------------------------------ what belongs to PyTorch


def globals_of_pytorch():
    """Settings of the process that have to do with precision."""
    mkldnn = torch.backends.mkldnn
    return {
        "float32 products": torch.get_float32_matmul_precision(),
        "on CUDA": torch.backends.cuda.matmul.allow_tf32,
        "split sums": torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
        "on the CPU": getattr(getattr(mkldnn, "matmul", None), "fp32_precision", None),
        "default": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "gradients": torch.is_grad_enabled(),
    }


@pytest.fixture
def precision():
    """Set the precision of float32 products for a test."""
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("asked", ["highest", "high", "medium"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_fits_leave_pytorchs_settings_alone(precision, asked, dtype):
    precision(asked)
    before = globals_of_pytorch()
    seen = []
    problem = regression(64)
    fit = problem.fit(max_iter=2, on_epoch=lambda e: seen.append(globals_of_pytorch()))
    options = SolverOptions(name="adam")
    training.train(
        [fit], problem.architecture, problem.loss, options, CPU, getattr(torch, dtype)
    )
    assert seen == [before] * 2  # callbacks of the user run in the user's world
    assert globals_of_pytorch() == before


def test_fits_follow_the_precision_of_float32_products(precision):
    """Shown on a CPU that knows a less precise product; TF32 is the same setting."""
    a = torch.from_numpy(np.random.default_rng(0).normal(size=(256, 256))).float()
    products, losses = [], []
    problem = regression(256, hidden=(256, 256))
    for asked in ("highest", "medium"):
        precision(asked)
        products.append(a @ a)
        fit = problem.fit(max_iter=2)
        outcome = problem.train([fit], dtype=torch.float32)[0]
        losses.append(outcome.record.losses[-1])
    if torch.equal(*products):
        pytest.skip("this processor multiplies float32 in one precision only")
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_float64_is_float64_under_any_of_them(precision):
    problem = regression(64, hidden=(64,))
    rows = []
    for asked in ("highest", "medium"):
        precision(asked)
        rows.append(problem.alone(problem.fit(max_iter=3)).row)
    np.testing.assert_array_equal(*rows)


def test_going_on_in_another_dtype():
    """The weights stay, and the solver starts anew, as with any other change of it."""
    model = ANNRegressor(**MODEL | {"max_iter": 5}, warm_start=True, dtype="float32")
    loss = model.fit(X, Y).loss_
    model.set_params(dtype="bfloat16").fit(X, Y)
    assert model.dtype_ == "bfloat16"
    assert model.loss_ < loss
    assert model._memory.kind == ("adamw", "torch.bfloat16")
