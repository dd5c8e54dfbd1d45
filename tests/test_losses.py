"""Losses against autograd, scikit-learn and their own definition, from one table.

Every loss of ``LOSSES`` must stand in ``CASES``: the first test sees to it.
"""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn import metrics
from sklearn._loss import loss as sklearn_loss  # private: the oracle for row losses
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_ann.engine.losses import LOSSES, Loss, make_loss

DTYPES = [torch.float64, torch.float32]
LEADING = [(), (3,), (2, 3)]
# Against autograd in float64: rounding only. float32: its eps times the loss's size.
ATOL = {torch.float64: 1e-10, torch.float32: 2e-5}


@dataclass(frozen=True)
class Case:
    """A loss, its target columns, and how to draw targets of a shape."""

    loss: Loss
    my: int
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

    def data(self, leading=(), n=7, dtype=torch.float64, seed=0):
        """raw (..., n, m) and y (..., n, my)."""
        rng = np.random.default_rng(seed)
        m = self.loss.n_raw(self.my)
        y = torch.as_tensor(self.draw(rng, (*leading, n, self.my)))
        raw = torch.as_tensor(rng.normal(size=(*leading, n, m)))
        return raw.to(dtype), y if self.loss.y_dtype == "int64" else y.to(dtype)


def _normal(rng, shape):
    return rng.normal(1.0, 2.0, size=shape)


def _counts(rng, shape):
    return rng.poisson(2.0, size=shape).astype(float)


def _labels(rng, shape):
    return (rng.uniform(size=shape) < 0.4).astype(float)


CASES = {
    "squared_error": Case(make_loss("squared_error"), 1, _normal),
    "squared_error-3": Case(make_loss("squared_error"), 3, _normal),
    "absolute_error-2": Case(make_loss("absolute_error"), 2, _normal),
    "huber": Case(make_loss("huber"), 1, _normal),
    "huber-2": Case(make_loss("huber", delta=0.7), 2, _normal),
    "quantile": Case(make_loss("quantile", quantile=0.3), 1, _normal),
    "quantile-2": Case(make_loss("quantile", quantile=0.9), 2, _normal),
    "quantiles": Case(make_loss("quantile", quantile=[0.1, 0.5, 0.9]), 1, _normal),
    "poisson": Case(make_loss("poisson"), 1, _counts),
    "poisson-2": Case(make_loss("poisson"), 2, _counts),
    "gamma": Case(make_loss("gamma"), 1, lambda rng, s: rng.gamma(2.0, size=s)),
    "gamma-2": Case(make_loss("gamma"), 2, lambda rng, s: rng.gamma(2.0, size=s)),
    "log_loss": Case(make_loss("log_loss"), 1, _labels),
    "log_loss-3": Case(make_loss("log_loss"), 3, _labels),
    "multinomial": Case(
        make_loss("multinomial", n_classes=4), 1, lambda rng, s: rng.integers(4, size=s)
    ),
}
# Row counts on both sides of the switch between the two softmax computations.
ROWS = [7, 100]

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def test_every_loss_has_a_case():
    assert {case.loss.name for case in CASES.values()} == set(LOSSES)


# ------------------------------------------------------------ derivatives and shapes


@each_dtype
@each_case
@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize("leading", LEADING, ids=str)
def test_gradient_is_autograd_of_values(case, dtype, leading, n):
    raw, y = case.data(leading, n, dtype)
    raw.requires_grad_()
    values = case.loss.values(raw, y)
    (expected,) = torch.autograd.grad(values.sum(), raw)

    out, raw_before, y_before = torch.full_like(raw, torch.nan), raw.clone(), y.clone()
    with torch.inference_mode():
        assert case.loss.gradient(raw.detach(), y, out) is out

    assert values.shape == (*leading, n) and values.dtype == out.dtype == dtype
    torch.testing.assert_close(out, expected, rtol=0, atol=ATOL[dtype])
    assert torch.equal(raw, raw_before) and torch.equal(y, y_before)


@each_case
def test_curvature_is_autograd_hessian(case):
    if case.loss.curvature is None:
        assert not case.loss.smooth
        return
    raw, y = case.data((2, 3))
    raw.requires_grad_()
    values = case.loss.values(raw, y)
    (slope,) = torch.autograd.grad(values.sum(), raw, create_graph=True)
    m = raw.shape[-1]
    rows = [
        torch.autograd.grad(slope[..., j].sum(), raw, retain_graph=True)[0]
        for j in range(m)
    ]
    curvature = case.loss.curvature(raw.detach(), y)
    torch.testing.assert_close(curvature, torch.stack(rows, -2), rtol=0, atol=1e-10)
    off_diagonal = curvature * (1 - torch.eye(m))
    assert case.loss.diagonal == bool((off_diagonal == 0).all()) or m == 1


@each_case
def test_leading_axes_are_a_loop(case):
    raw, y = case.data((2, 3), n=50)
    functions = [case.loss.values, lambda raw, y: case.loss.inverse_link(raw)]
    functions.append(
        lambda raw, y: case.loss.gradient(raw, y, torch.empty_like(raw)).clone()
    )
    if case.loss.curvature is not None:
        functions.append(case.loss.curvature)
    for function in functions:
        together = function(raw, y)
        for s in range(2):
            for k in range(3):
                torch.testing.assert_close(
                    together[s, k], function(raw[s, k], y[s, k]), rtol=0, atol=1e-14
                )


def test_squared_error_gradient_is_one_call():
    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            names.append(str(function))
            return function(*args, **(kwargs or {}))

    names: list[str] = []
    raw, y = torch.ones(4, 1), torch.zeros(4, 1)
    out = torch.empty_like(raw)
    with Calls():
        make_loss("squared_error").gradient(raw, y, out)
    assert names == ["aten.sub.out"]


@each_dtype
@each_case
@pytest.mark.parametrize("n", ROWS)
def test_extreme_raw(case, dtype, n):
    raw, y = case.data((2,), n, dtype)
    raw = 1e4 * raw.sign()
    loss = case.loss
    prediction, values = loss.inverse_link(raw), loss.values(raw, y)
    gradient = loss.gradient(raw, y, torch.empty_like(raw))
    results = [prediction, values, gradient]
    if loss.curvature is not None:
        results.append(loss.curvature(raw, y))
    assert not any(torch.isnan(result).any() for result in results)
    assert torch.isfinite(prediction).all()
    if loss.name not in ("poisson", "gamma"):  # there exp(1e4) is inf, rightly
        assert all(torch.isfinite(result).all() for result in results)
    if loss.name == "multinomial":
        total = prediction.sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total))


def test_small_log_losses_keep_their_digits():
    raw, y = torch.tensor([[40.0]]).double(), torch.ones(1, 1).double()
    tail = np.exp(-40.0)
    loss = make_loss("log_loss")
    assert loss.values(raw, y).item() == pytest.approx(tail, rel=1e-12)
    assert loss.curvature(raw, y).item() == pytest.approx(tail, rel=1e-12)


# -------------------------------------------------------- values, against scikit-learn

ROW_LOSSES = {
    "squared_error": sklearn_loss.HalfSquaredError(),
    "huber": sklearn_loss.HuberLoss(delta=1.35),
    "quantile": sklearn_loss.PinballLoss(quantile=0.3),
    "poisson": sklearn_loss.HalfPoissonLoss(),
    "gamma": sklearn_loss.HalfGammaLoss(),
    "log_loss": sklearn_loss.HalfBinomialLoss(),
    "multinomial": sklearn_loss.HalfMultinomialLoss(n_classes=4),
}


@pytest.mark.parametrize("name", ROW_LOSSES)
@pytest.mark.parametrize("n", ROWS)
def test_values_and_inverse_link_are_scikit_learns(name, n):
    case, theirs = CASES[name], ROW_LOSSES[name]
    raw, y = case.data(n=n)
    raw_theirs = raw.squeeze(-1).numpy()
    y_theirs = y[:, 0].numpy().astype(float)
    expected = theirs.loss(y_theirs, raw_theirs)
    if name in ("poisson", "gamma"):
        expected = expected + theirs.constant_to_optimal_zero(y_theirs)
    np.testing.assert_allclose(case.loss.values(raw, y), expected, atol=1e-12)
    mu = case.loss.inverse_link(raw).squeeze(-1)
    if name == "multinomial":
        np.testing.assert_allclose(mu, theirs.predict_proba(raw_theirs), atol=1e-12)
    else:
        np.testing.assert_allclose(mu, theirs.link.inverse(raw_theirs), atol=1e-12)


# --------------------------------------------------------------------- start


def _mean_loss(loss, intercept, y, weight):
    raw = torch.as_tensor(intercept).expand(len(y), -1)
    return float(weight @ loss.values(raw, y) / weight.sum())


@each_case
def test_start_minimises_the_weighted_mean_loss(case):
    _, y = case.data(n=40)
    weight = torch.as_tensor(np.random.default_rng(1).uniform(0.2, 2.0, size=40))
    start = case.loss.start(y, weight)
    assert start.shape == (case.loss.n_raw(case.my),)
    best = _mean_loss(case.loss, start, y, weight)
    # Neighbours are worse, and so is wherever a general optimiser ends.
    for neighbour in torch.cat([torch.eye(len(start)), -torch.eye(len(start))]) * 1e-3:
        assert _mean_loss(case.loss, start + neighbour, y, weight) >= best - 1e-12
    found = minimize(
        lambda c: _mean_loss(case.loss, c, y, weight),
        start.numpy() + 0.3,
        method="Nelder-Mead",
        options={"maxiter": 200},
    )
    assert found.fun >= best - 1e-12


@each_case
def test_integer_weights_are_repeated_rows(case):
    _, y = case.data(n=30)
    weight = torch.as_tensor(np.random.default_rng(2).integers(0, 4, size=30))
    repeated = y.repeat_interleave(weight, 0)
    close = {"rtol": 0, "atol": 1e-12}
    start = case.loss.start(y, weight.double())
    torch.testing.assert_close(start, case.loss.start(repeated, None), **close)
    torch.testing.assert_close(start, case.loss.start(y, weight.double() / 7), **close)
    if y.is_floating_point():  # rows of weight zero are not even read
        y = torch.where((weight == 0)[:, None], torch.nan, y)
        assert torch.equal(start, case.loss.start(y, weight.double()))
    if case.loss.columns is not None:
        mu = y + torch.sin(torch.arange(30.0))[:, None].abs()
        np.testing.assert_allclose(
            case.loss.d2(y, mu, weight),
            case.loss.d2(repeated, mu.repeat_interleave(weight, 0)),
            atol=1e-12,
        )


def test_quantile_ties_ignore_the_scale_of_weights():
    y = torch.arange(30.0)[:, None]
    for level in np.arange(1, 30) / 30:
        loss = make_loss("quantile", quantile=level)
        for scale in (1.0, 0.1, 1 / 3, 7e-5):
            assert loss.start(y, torch.full((30,), scale)) == round(30 * level) - 1


@pytest.mark.parametrize(
    "loss, y",
    [
        (make_loss("poisson"), torch.zeros(5, 1)),
        (make_loss("log_loss"), torch.tensor([[0.0, 1.0]] * 5)),
        (make_loss("multinomial", n_classes=3), torch.tensor([[0], [2], [2]])),
        (make_loss("quantile", quantile=[0.2, 0.8]), torch.ones(5, 1)),
        (make_loss("huber"), torch.ones(5, 1)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_start_is_finite_where_the_best_is_not(loss, y):
    start = loss.start(y)
    assert torch.isfinite(start).all()
    mu = loss.inverse_link(start[None])
    if loss.name == "multinomial":
        assert start.sum().item() == pytest.approx(0, abs=1e-12)
        torch.testing.assert_close(mu, torch.tensor([[1, 0, 2]]) / 3.0, **NEAR)
    elif loss.name != "quantile":
        torch.testing.assert_close(mu, y[:1], **NEAR)


NEAR = {"rtol": 0, "atol": 2e-6, "check_dtype": False}


# ------------------------------------------------------------------------ D2

SCORES = {
    "squared_error": metrics.r2_score,
    "absolute_error": metrics.d2_absolute_error_score,
    "huber": metrics.r2_score,
    "quantile": lambda y, p, **w: metrics.d2_pinball_score(y, p, alpha=0.3, **w),
    "poisson": lambda y, p, **w: metrics.d2_tweedie_score(y, p, power=1, **w),
    "gamma": lambda y, p, **w: metrics.d2_tweedie_score(y, p, power=2, **w),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SCORES)
def test_d2_is_scikit_learns(name, weighted):
    rng = np.random.default_rng(3)
    loss = make_loss(name, quantile=0.3)
    y = rng.poisson(3.0, size=(41, 2)) + (0.5 if name == "gamma" else 0.0)
    mu = np.exp(0.4 * np.log(y + 1.0) + 0.3 * rng.normal(size=y.shape))
    weight = rng.uniform(size=41) if weighted else None
    by_column = [
        SCORES[name](y[:, j], mu[:, j], sample_weight=weight) for j in range(2)
    ]
    assert loss.d2(y[:, 0], mu[:, 0], weight) == pytest.approx(by_column[0], abs=1e-12)
    assert loss.d2(y, mu, weight) == pytest.approx(np.mean(by_column), abs=1e-12)


def test_d2_of_several_quantiles_is_their_average():
    rng, levels = np.random.default_rng(4), [0.1, 0.5, 0.9]
    y = rng.normal(size=50)
    mu = np.sort(y[:, None] + rng.normal(size=(50, 3)), axis=1)
    scores = [
        metrics.d2_pinball_score(y, mu[:, j], alpha=a) for j, a in enumerate(levels)
    ]
    ours = make_loss("quantile", quantile=levels).d2(y, mu)
    assert ours == pytest.approx(np.mean(scores), abs=1e-12)


def test_d2_at_the_edges():
    ones = np.ones(4)
    for name in SCORES:
        loss = make_loss(name, quantile=0.3)
        assert loss.d2(ones, ones) == 1.0
        assert loss.d2(ones, 2 * ones) == 0.0
        assert np.isnan(loss.d2(ones, ones, [0, 0, 0, 2]))
    for name in ("poisson", "gamma"):  # exp may have under- or overflowed
        loss, y = make_loss(name), np.array([1.0, 2.0, 3.0])
        assert loss.d2(y, np.array([0.0, 2.0, 3.0])) < 0
        assert loss.d2(y, np.array([1e300, 2.0, 3.0])) < 0


# ------------------------------------------------------------- several quantiles


@each_dtype
def test_quantiles_do_not_cross(dtype):
    loss = make_loss("quantile", quantile=np.arange(1, 20) / 20)
    raw = 30 * torch.randn(20_000, 19, generator=torch.Generator().manual_seed(0))
    mu = loss.inverse_link(raw.to(dtype))
    assert (mu.diff(dim=-1) >= 0).all()


def test_quantiles_can_be_used_by_autograd_after_inference():
    loss = make_loss("quantile", quantile=[0.123, 0.456])
    raw, y = torch.zeros(3, 2), torch.ones(3, 1)
    with torch.inference_mode():
        loss.values(raw, y)
    torch.func.grad(lambda raw: loss.values(raw, y).sum())(raw)
    raw.requires_grad_()
    loss.values(raw, y).sum().backward()
    assert torch.isfinite(raw.grad).all()


# -------------------------------------------------------------- checks and identity


@each_case
def test_check_takes_good_targets(case):
    _, y = case.data(n=30)
    case.loss.check(y.numpy())
    case.loss.check(y.numpy()[:, 0])


@each_case
@pytest.mark.parametrize(
    "y, came",
    [
        ([1.0, np.nan, np.inf], "2 values that are nan or inf"),
        ([], r"shape \(0,\)"),
        (["a", "b"], "dtype <U1"),
        ([1j], "dtype complex128"),
    ],
    ids=["nan", "empty", "text", "complex"],
)
def test_check_refuses_what_no_loss_takes(case, y, came):
    with pytest.raises(ValueError, match=f"{case.loss.name}.* expects .* got .*{came}"):
        case.loss.check(np.array(y))


@pytest.mark.parametrize(
    "name, y, expected",
    [
        ("poisson", [-1.0, 2.0], "at least zero.* got values from -1 to 2"),
        ("poisson", [0.0, 0.0], "positive sum"),
        ("poisson", [[0.0, 1.0], [0.0, 2.0]], "positive sum in every column"),
        ("gamma", [0.0, 2.0], "above zero.*poisson"),
        ("log_loss", [0.0, 2.0], "from 0 to 1; got values from 0 to 2"),
        ("multinomial", [0, 3], r"class codes 0, \.\.\., 2; got values from 0 to 3"),
        ("multinomial", [0.0, 0.5], "class codes"),
    ],
)
def test_check_refuses_what_this_loss_does_not_take(name, y, expected):
    with pytest.raises(ValueError, match=expected):
        make_loss(name, n_classes=3).check(np.array(y))


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({"name": "l2"}, "Unknown loss 'l2'.*'squared_error', 'absolute_error'"),
        ({"name": "quantile"}, "between 0 and 1"),
        ({"name": "quantile", "quantile": 1.0}, "between 0 and 1"),
        ({"name": "quantile", "quantile": "median"}, "got .*'median'"),
        ({"name": "quantile", "quantile": []}, "between 0 and 1"),
        ({"name": "quantile", "quantile": [0.5, 0.5]}, "increasing"),
        ({"name": "quantile", "quantile": [0.1, np.nan]}, "between 0 and 1"),
        ({"name": "huber", "delta": 0.0}, "above zero; got 0.0"),
        ({"name": "multinomial"}, "at least 2; got None"),
    ],
)
def test_make_loss_refuses(arguments, expected):
    with pytest.raises(ValueError, match=expected):
        make_loss(**arguments)


@pytest.mark.parametrize("case", ["quantiles", "multinomial"])
def test_one_target_column_only(case):
    with pytest.raises(ValueError, match=r"one .*column.*got 2"):
        CASES[case].loss.n_raw(2)


@each_case
def test_equal_hash_pickle(case):
    for twin in (pickle.loads(pickle.dumps(case.loss)), copy.deepcopy(case.loss)):
        assert twin == case.loss and hash(twin) == hash(case.loss)


def test_losses_are_equal_by_name_and_parameters():
    def make(quantile):
        return make_loss("quantile", quantile=quantile)

    assert make(0.5) == make([0.5]) == make(np.array([0.5])) != make(0.6)
    assert make((0.1, 0.9)) == make(np.array([0.1, 0.9])) != make((0.1, 0.8))
    assert make_loss("poisson", delta=2.0) == make_loss("poisson")  # not its argument
    assert make_loss("huber", delta=1) == make_loss("huber", delta=1.0)
    assert make_loss("huber", delta=2.0) != make_loss("huber")
    assert make_loss("poisson") != make_loss("gamma")
