"""Back propagation against autograd; activations and starts against their formulas.

The engine writes its gradients out by hand. Here each of them is compared with what
PyTorch's automatic differentiation says of the same network, written naively.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from engine_fits import CPU, design, sparse_rows
from test_losses import CASES

from sklearn_ann.engine import feeder as feeder_module
from sklearn_ann.engine.architecture import Architecture, forward
from sklearn_ann.engine.feeder import Dropout, Feeder
from sklearn_ann.engine.layers import ACTIVATIONS, INITIALIZERS
from sklearn_ann.engine.losses import Loss
from sklearn_ann.engine.network import NetworkStack
from sklearn_ann.engine.objective import accumulate, full_batches, mean_losses
from sklearn_ann.engine.penalties import Penalty, clip_gradient_norms
from sklearn_ann.engine.rows import row_set

# Two ways of computing one number in float64; what is seen is below 1e-13.
ROUNDING = 1e-10
D = 3  # input columns

HALF_PI = math.pi / 2
# Each activation as its source defines it, differentiable by autograd.
ORACLES = {
    "identity": lambda z: z,
    "logistic": lambda z: 1 / (1 + torch.exp(-z)),
    "tanh": lambda z: 1 - 2 / (torch.exp(2 * z) + 1),
    # Gallant and White (1988): (1 + cos(z + 3 pi / 2)) / 2 on [-pi/2, pi/2].
    "cosine": lambda z: torch.where(
        z.abs() < HALF_PI,
        (1 + torch.cos(z + 3 * HALF_PI)) / 2,
        (z > 0).to(z.dtype),
    ),
    "relu": F.relu,
    "leaky_relu": lambda z: torch.where(z > 0, z, 0.01 * z),
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "gelu": lambda z: z * 0.5 * (1 + torch.erf(z / math.sqrt(2))),
    "silu": lambda z: z * torch.sigmoid(z),
}
each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def test_every_activation_has_an_oracle():
    assert set(ORACLES) == set(ACTIVATIONS)


# ------------------------------------------------------------------- the two ways


@dataclass
class Setup:
    """K networks and their rows; ``X`` (K, n, d) is what the networks should see."""

    architecture: Architecture
    loss: Loss
    rows: np.ndarray
    X: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor | None = None
    rates: np.ndarray | None = None
    counts: tuple[int, ...] | None = None
    tables: list | None = None

    @property
    def K(self):
        return len(self.rows)

    def n(self, k):
        return self.X.shape[1] if self.counts is None else self.counts[k]

    def row_set(self):
        parts = []
        for k in range(self.K):
            table = design(self.X[k].numpy()) if not self.tables else self.tables[k]
            weight = None if self.weight is None else self.weight[k, : self.n(k)]
            parts.append((table, self.y[k], torch.arange(self.n(k)), weight))
        return row_set(parts, CPU, torch.float64)


def setup(case, activation, depth, K, skip, n=9, seed=0, **more):
    hidden, m = (5, 4)[:depth], case.loss.n_raw(case.my)
    architecture = Architecture(D, hidden, m, (activation,) * depth, skip)
    rng = np.random.default_rng([seed, K, depth])
    X = torch.from_numpy(rng.normal(size=(K, n, D)))
    y = torch.from_numpy(case.draw(rng, (K, n, case.my)))
    rows = 0.7 * rng.normal(size=(K, architecture.n_parameters))
    return Setup(architecture, case.loss, rows, X, y, **more)


def engine(s: Setup):
    """Gradients (K, P) and mean losses (K,) by the engine; the masks it has drawn."""
    data, widths = s.row_set(), s.architecture.hidden
    dropout = None
    if s.rates is not None:
        streams = [np.random.Generator(np.random.SFC64(k)) for k in range(s.K)]
        dropout = Dropout(s.rates, streams, widths)
    with torch.inference_mode():
        stack = NetworkStack(s.architecture, torch.from_numpy(s.rows))
        m, widest = s.architecture.n_outputs, max(s.architecture.sizes)
        feeder = Feeder(data, data.n, m, widest, dropout)
        masks = [[torch.empty(0, h)] * s.K for h in widths]
        for block in feeder.epoch(None):
            for i in range(block.n_pieces):
                accumulate(stack, block, i, s.loss)
                for layer, mask in enumerate(block.steps[i].masks):
                    own = mask if s.K > 1 else mask[None]
                    masks[layer] = [
                        torch.cat([had, new[:count]])
                        for had, new, count in zip(
                            masks[layer], own, block.kind.segment.counts, strict=True
                        )
                    ]
        gradient = stack.rows(stack.gradient).clone()
        losses = mean_losses(stack, full_batches(stack, data), s.loss)
    return gradient, losses, masks if dropout else None, stack


def autograd(s: Setup, k: int, masks=None):
    """Gradient (P,) and mean loss of network k, by autograd."""
    n = s.n(k)
    row = torch.from_numpy(s.rows[k]).requires_grad_()
    x, y = s.X[k, :n], s.y[k, :n]
    flow, start = x, 0
    shapes = s.architecture.block_shapes
    last = len(s.architecture.hidden)
    for layer, (fan_in, fan_out) in enumerate(shapes[: last + 1]):
        stop = start + fan_in * fan_out
        block = row[start:stop].view(fan_in, fan_out)
        start = stop
        flow = flow @ block[:-1] + block[-1]
        if layer < last:
            flow = ORACLES[s.architecture.activations[layer]](flow)
            flow = flow if masks is None else flow * masks[layer][k].clone()
    if s.architecture.linear_skip:
        flow = flow + x @ row[start:].view(shapes[-1])
    values = s.loss.values(flow, y)
    weight = torch.ones(n) if s.weight is None else s.weight[k, :n]
    mean = (weight * values).sum() / weight.sum()
    return torch.autograd.grad(mean, row)[0], mean.detach()


def assert_gradients_agree(s: Setup):
    gradient, losses, masks, _ = engine(s)
    for k in range(s.K):
        slope, mean = autograd(s, k, masks)
        torch.testing.assert_close(gradient[k], slope, rtol=ROUNDING, atol=ROUNDING)
        if masks is None:
            torch.testing.assert_close(losses[k], mean, rtol=ROUNDING, atol=ROUNDING)


# --------------------------------------------------------------- back propagation


@each_activation
def test_every_layer_and_loss(activation):
    for case, depth, K, skip in product(
        CASES.values(), (0, 1, 2), (1, 3), (False, True)
    ):
        assert_gradients_agree(setup(case, activation, depth, K, skip))


FEW_LOSSES = [CASES[name] for name in ("squared_error-3", "multinomial", "quantiles")]


@each_activation
def test_with_weights_and_dropout(activation):
    """Masks reach each activation its own way: some share a buffer with them."""
    rng = np.random.default_rng(1)
    for case, depth, K in product(FEW_LOSSES, (1, 2), (1, 3)):
        weight = torch.from_numpy(rng.uniform(0.1, 3.0, size=(K, 9)))
        rates = rng.uniform(0.2, 0.6, size=K)
        for more in ({"weight": weight}, {"weight": weight, "rates": rates}):
            assert_gradients_agree(setup(case, activation, depth, K, True, **more))


@each_activation
@pytest.mark.parametrize("centred", [False, True], ids=["plain", "centred"])
def test_sparse_rows_are_their_dense_table(activation, centred):
    for case, depth, K, skip in product(FEW_LOSSES, (0, 1, 2), (1, 3), (False, True)):
        s = setup(case, activation, depth, K, skip, n=11)
        stored = torch.where(s.X > 0.3, s.X, 0.0)  # a third of it, and empty rows
        stored[:, 4] = 0.0
        shifts = [k + torch.arange(D) / 2.0 for k in range(K)] if centred else [None]
        s.tables = [
            sparse_rows(table.numpy(), None if shift is None else shift.numpy())
            for table, shift in zip(stored, shifts * (K // len(shifts)), strict=True)
        ]
        s.X = stored - torch.stack(shifts)[:, None] if centred else stored
        assert_gradients_agree(s)


# With few numbers a chunk, a minibatch of 300 rows comes in three pieces.
SMALLEST_CHUNK = 128


@pytest.mark.parametrize("counts", [(300, 300, 300), (300, 200, 129), (130, 128, 3)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_pieces_add_up(monkeypatch, counts, weighted, dropout, activation):
    """Chunks of one minibatch give its gradient, whatever the neighbours' row counts.

    A network whose rows are over in an early chunk still moves with the last one.
    """
    monkeypatch.setattr(feeder_module, "CHUNK_NUMBERS", 1)
    rng = np.random.default_rng(2)
    weight = torch.from_numpy(rng.uniform(0.1, 3.0, size=(3, 300)))
    case = CASES["squared_error-3"]
    s = setup(
        case,
        activation,
        depth=2,
        K=3,
        skip=True,
        n=300,
        counts=counts,
        weight=weight if weighted else None,
        rates=np.array([0.5, 0.0, 0.3]) if dropout else None,
    )
    data = s.row_set()
    kinds = Feeder(data, data.n, 3, 5).kinds
    assert max(kind.segment.width for kind in kinds) <= SMALLEST_CHUNK < max(counts)
    assert all(
        block.kind.all_active for block in Feeder(data, data.n, 3, 5).epoch(None)
    )
    assert_gradients_agree(s)


def test_few_bytes_a_block_change_nothing(monkeypatch):
    monkeypatch.setattr(feeder_module, "CHUNK_NUMBERS", 1)
    monkeypatch.setattr(feeder_module, "BLOCK_BYTES", 1)  # one piece a block
    monkeypatch.setattr(feeder_module, "STATIC_BYTES", 0)  # none of them kept
    for K in (1, 3):
        assert_gradients_agree(setup(CASES["huber-2"], "elu", 2, K, True, n=300))


# ------------------------------------------------------------------- layer norms


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("skip", [False, True])
def test_layer_norms(K, skip):
    gradient, _, _, stack = engine(setup(CASES["huber"], "tanh", 2, K, skip))
    norms = stack.layer_norms()
    assert norms.shape == (K, 3)
    for k in range(K):
        parts = stack.architecture.unpack(gradient[k].numpy())
        squares = [
            (weight**2).sum() + (bias**2).sum()
            for weight, bias in zip(parts.weights, parts.biases, strict=True)
        ]
        squares[-1] += 0.0 if parts.skip is None else (parts.skip**2).sum()
        np.testing.assert_allclose(norms[k], np.sqrt(squares), rtol=ROUNDING)


@pytest.mark.parametrize("K", [1, 3])
def test_clipping_is_per_network(K):
    gradient, _, _, stack = engine(setup(CASES["huber"], "tanh", 1, K, True))
    norms = gradient.norm(dim=1)
    limits = torch.tensor([0.5, np.inf, 2.0])[:K] * norms
    with torch.inference_mode():
        factor = clip_gradient_norms(stack, limits)
    expected = torch.tensor([0.5, 1.0, 1.0], dtype=torch.float64)[:K]
    torch.testing.assert_close(factor, expected)
    torch.testing.assert_close(stack.rows(stack.gradient), gradient * expected[:, None])


# ----------------------------------------------------------------------- penalty

DECAY, L1 = np.array([0.3, 0.0, 2.0]), np.array([0.0, 0.5, 0.1])


def penalised(K, decoupled):
    architecture = Architecture(D, (4,), 2, ("tanh",), linear_skip=True)
    rows = np.random.default_rng(0).normal(size=(K, architecture.n_parameters))
    stack = NetworkStack(architecture, torch.from_numpy(rows))
    return stack, rows, Penalty(stack, DECAY[-K:], L1[-K:], decoupled)


def penalty_by_hand(stack, row, decay, l1):
    """Decay / 2 sum w^2 + l1 sum |w|, over weights and skip; biases are free."""
    parts = stack.architecture.unpack(row)
    weights = [*parts.weights, parts.skip]
    return sum(decay / 2 * (w**2).sum() + l1 * abs(w).sum() for w in weights)


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("decoupled", [False, True])
def test_penalty_value(K, decoupled):
    stack, rows, penalty = penalised(K, decoupled)
    expected = [
        penalty_by_hand(stack, row, decay, l1)
        for row, decay, l1 in zip(rows, DECAY[-K:], L1[-K:], strict=True)
    ]
    np.testing.assert_allclose(penalty.value(), expected, rtol=ROUNDING)


@pytest.mark.parametrize("K", [1, 3])
def test_penalty_gradient_is_autograd_of_its_value(K):
    stack, _, penalty = penalised(K, decoupled=False)
    stack.flat.requires_grad_()
    (slope,) = torch.autograd.grad(penalty.value().sum(), stack.flat)
    assert slope.count_nonzero() > 0
    with torch.inference_mode():
        stack.gradient.fill_(5.0)  # what back propagation has left there
        for pull in penalty.pulls:
            pull()
    torch.testing.assert_close(
        stack.gradient - 5.0, slope, rtol=ROUNDING, atol=ROUNDING
    )


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("rate", [0.1, np.array([0.1, 0.2, 0.3])], ids=["one", "each"])
def test_decoupled_decay_shrinks_weights_and_adds_no_gradient(K, rate):
    stack, rows, penalty = penalised(K, decoupled=True)
    rates = np.full(K, rate) if np.isscalar(rate) else rate[:K]
    given = rate if np.isscalar(rate) else stack.spread(torch.from_numpy(rates))
    for shrink in penalty.shrinker(given):
        shrink()
    for k, row in enumerate(rows):
        before = stack.architecture.unpack(row)
        after = stack.architecture.unpack(stack.rows(stack.flat)[k].numpy())
        shrunk = 1 - rates[k] * DECAY[-K:][k]
        for w, v in zip(
            [*before.weights, before.skip], [*after.weights, after.skip], strict=True
        ):
            np.testing.assert_allclose(v, w * shrunk, atol=ROUNDING)
        for w, v in zip(before.biases, after.biases, strict=True):
            np.testing.assert_array_equal(v, w)
    for pull in penalty.pulls:
        pull()
    l1_only = stack.rows(stack.gradient).abs().amax(1)
    np.testing.assert_allclose(l1_only, L1[-K:])


# ------------------------------------------------------------------- activations


@each_activation
def test_activation_is_its_formula(activation):
    act = ACTIVATIONS[activation]
    z = torch.linspace(-30, 30, 2001, dtype=torch.float64).requires_grad_()
    expected = ORACLES[activation](z)
    (slope,) = torch.autograd.grad(expected.sum(), z)
    argument = z.detach().clone()
    # Where the output is saved, it may stand in the place of the input.
    value = torch.empty_like(argument) if act.saves == "input" else argument
    act.forward(argument, value)
    torch.testing.assert_close(value, expected.detach(), rtol=ROUNDING, atol=ROUNDING)
    flow = torch.full_like(value, 3.0)
    act.backward(flow, argument if act.saves == "input" else value)
    torch.testing.assert_close(flow, 3 * slope, rtol=ROUNDING, atol=ROUNDING)


def test_tanh_is_exact_to_two_roundings_of_one():
    ends = torch.tensor([0.0, 1e-300, torch.inf, -torch.inf, torch.nan]).double()
    z = torch.cat([torch.linspace(-40, 40, 100_001, dtype=torch.float64), ends])
    a = torch.empty_like(z)
    ACTIVATIONS["tanh"].forward(z, a)
    np.testing.assert_allclose(a, np.tanh(z.numpy()), rtol=0, atol=2**-51)


@each_activation
def test_keeps_one_says_so(activation):
    act = ACTIVATIONS[activation]
    if act.keeps_one:  # the column of ones goes through f, and must come out as it was
        one = torch.ones(1)
        act.forward(one, one)
        assert one == 1.0


@each_activation
def test_smooth_says_so(activation):
    """Second derivatives at zero and at the squasher's ends are continuous, or jump."""
    f, h = ORACLES[activation], 1e-4
    at = torch.tensor([0.0, HALF_PI, -HALF_PI], dtype=torch.float64)[:, None]
    z = at + h * torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    second = f(z).diff(n=2) / h**2  # below, at, and above the point
    smooth = bool((second.amax(1) - second.amin(1) < 0.01).all())
    assert ACTIVATIONS[activation].smooth == smooth


def test_cosine_squasher_is_a_distribution_function():
    """Gallant and White's squasher climbs from 0 to 1 and is flat at both ends."""
    z = torch.linspace(-3, 3, 601, dtype=torch.float64)
    value = torch.empty_like(z)
    ACTIVATIONS["cosine"].forward(z.clone(), value)
    assert (value[z < -HALF_PI] == 0).all() and (value[z > HALF_PI] == 1).all()
    inside = z.abs() <= HALF_PI
    expected = (1 + torch.cos(z[inside] + 3 * HALF_PI)) / 2
    torch.testing.assert_close(value[inside], expected)
    assert (value.diff() >= 0).all()


@each_activation
def test_forward_without_a_stack(activation):
    """`forward`, which predictions use, gives what the stack gives."""
    for depth, skip in product((0, 1, 2), (False, True)):
        s = setup(CASES["squared_error-3"], activation, depth, 1, skip)
        architecture, row, x = s.architecture, s.rows[0], s.X[0]
        parameters = architecture.unpack(row)
        first = x @ torch.from_numpy(parameters.weights[0])
        skipped = x @ torch.from_numpy(parameters.skip) if skip else None
        raw = torch.empty(len(x), 3, dtype=torch.float64)
        stack = NetworkStack(architecture, torch.from_numpy(s.rows))
        stack.at(len(x)).forward(design(x.numpy()), raw)
        found = forward(architecture, parameters, first, skipped)
        torch.testing.assert_close(found, raw, rtol=ROUNDING, atol=ROUNDING)


def test_pack_is_the_inverse_of_unpack():
    architecture = Architecture(D, (5, 4), 2, ("tanh", "relu"), linear_skip=True)
    row = np.random.default_rng(0).normal(size=architecture.n_parameters)
    np.testing.assert_array_equal(architecture.unpack(row).pack(), row)


# ------------------------------------------------------------------------ starts

# Variances of the weights, by fan_in and fan_out.
VARIANCES = {
    "glorot": lambda i, o: 2 / (i + o),
    "he": lambda i, o: 2 / i,
    "lecun": lambda i, o: 1 / i,
}
# 40,000 draws: the variance of a normal has a relative standard error of 0.7%.
DRAWS, FOUR_ERRORS = (400, 100), 0.03


@pytest.mark.parametrize("name", [n for n in INITIALIZERS if n != "orthogonal"])
def test_variance_of_start(name):
    weights = INITIALIZERS[name](np.random.default_rng(0), *DRAWS)
    family, shape = name.split("_")
    variance = VARIANCES[family](*DRAWS)
    assert weights.shape == DRAWS
    assert abs(weights.mean()) < 4 * math.sqrt(variance / weights.size)
    assert weights.var() == pytest.approx(variance, rel=FOUR_ERRORS)
    bound = math.sqrt(3 * variance)
    within = np.abs(weights) <= bound
    assert within.all() if shape == "uniform" else 0.90 < within.mean() < 0.93


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_orthogonal_start(shape):
    w = INITIALIZERS["orthogonal"](np.random.default_rng(0), *shape)
    assert w.shape == shape
    gram = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-12)


def test_orthogonal_start_is_uniform():
    """No sign or direction is preferred: first elements average out over draws."""
    rng = np.random.default_rng(0)
    corners = [INITIALIZERS["orthogonal"](rng, 3, 3)[0, 0] for _ in range(3000)]
    assert abs(np.mean(corners)) < 4 * np.std(corners) / math.sqrt(3000)


@each_activation
def test_auto_start_fits_the_activation(activation):
    architecture = Architecture(50, (40,), 2, (activation,))
    auto = architecture.initial_row(np.random.default_rng(0), "auto", np.zeros(2))
    named = ACTIVATIONS[activation].init
    first = INITIALIZERS[named](np.random.default_rng(0), 50, 40)
    np.testing.assert_array_equal(architecture.unpack(auto).weights[0], first)


def test_initial_row_has_the_intercepts_it_was_given():
    architecture = Architecture(D, (5,), 2, ("relu",), linear_skip=True)
    rng = np.random.default_rng(0)
    start = architecture.unpack(architecture.initial_row(rng, "auto", np.arange(2.0)))
    np.testing.assert_array_equal(start.biases[-1], [0.0, 1.0])
    np.testing.assert_array_equal(start.skip, 0.0)
    assert (np.abs(start.biases[0]) <= 1 / math.sqrt(D)).all()
    assert np.unique(start.biases[0]).size == 5  # kinks at different places


def test_a_regression_starts_at_zero():
    architecture = Architecture(D, (), 2, ())
    row = architecture.initial_row(np.random.default_rng(0), "auto", np.ones(2))
    parts = architecture.unpack(row)
    assert (parts.weights[0] == 0).all() and (parts.biases[0] == 1).all()
