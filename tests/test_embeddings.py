"""Embeddings of columns: their gradients, their stacks, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from engine_fits import CPU, SOLVERS, Problem, design, sparse_rows
from test_gradients import ORACLES, ROUNDING
from test_losses import CASES
from test_stack_equivalence import assert_same

from sklearn_ann.derivatives import (
    mean_score,
    raw_outputs,
    scores_times,
    signals,
    summed_hessian,
)
from sklearn_ann.engine.architecture import Architecture, entering, forward
from sklearn_ann.engine.embeddings import (
    EMBEDDINGS,
    Embedding,
    features_of,
    ramps_between,
)
from sklearn_ann.engine.feeder import Dropout, Feeder
from sklearn_ann.engine.layers import ACTIVATIONS
from sklearn_ann.engine.losses import make_loss
from sklearn_ann.engine.network import NetworkStack
from sklearn_ann.engine.objective import accumulate, full_batches, mean_losses
from sklearn_ann.engine.penalties import Penalty
from sklearn_ann.engine.rows import row_set

# Columns 0, 2 and 3 are numbers; 1 and 4 are codes of so many levels.
D, LEVELS = 5, {1: 4, 4: 3}
WAVES = Embedding("periodic", (0, 2, 3), 2, 6, sigma=0.5)
SETS = {
    "waves": (WAVES,),
    "trained waves": (replace(WAVES, trained=True),),
    "ramps": (Embedding("piecewise_linear", (2, 3), 3, 5),),
    "one ramp": (Embedding("piecewise_linear", (0,), 1, 1),),
    "lookup": (Embedding("lookup", (1, 4), 2, levels=(4, 3)),),
    "several": (
        Embedding("lookup", (4,), 3, levels=(3,)),
        Embedding("piecewise_linear", (3, 0), 2, 3),
        replace(WAVES, trained=True, columns=(2,)),
        Embedding("lookup", (1,), 1, levels=(4,)),
        Embedding("periodic", (2, 0), 1, 2),
    ),
    "nothing plain": (Embedding("lookup", (0, 1, 2, 3, 4), 2, levels=(4,) * 5),),
}
each_set = pytest.mark.parametrize("name", SETS)


def test_every_kind_is_tested():
    used = {(e.kind, e.trained) for embeddings in SETS.values() for e in embeddings}
    trainable = {(kind.name, True) for kind in EMBEDDINGS.values() if kind.trainable}
    assert used == {(kind, False) for kind in EMBEDDINGS} | trainable


def table(rng, n, name):
    """Rows (n, D): numbers, and codes."""
    X = rng.normal(size=(n, D))
    every = name == "nothing plain"
    for column in range(D) if every else LEVELS:
        X[:, column] = rng.integers(4 if every else LEVELS[column], size=n)
    return X


def edges_of(architecture, rng):
    """Edges for each embedding, some of them tied."""
    found = []
    for e in architecture.embeddings:
        edges = np.sort(rng.normal(size=(len(e.columns), e.size + 1)), axis=1)
        if e.size > 3:
            edges[0, 1] = edges[0, 2]
        found.append(edges if e.kind == "piecewise_linear" else None)
    return found


def some_row(architecture, rng):
    """Parameters (P,), every one of them away from zero but for dead bins."""
    m = architecture.n_outputs
    start = architecture.initial_row(
        rng, "auto", np.ones(m), edges_of(architecture, rng)
    )
    noise = 0.3 * rng.normal(size=len(start))
    return start + np.where(fixed(architecture), 0.0, noise)


def fixed(architecture):
    """Which parameters are constants, (P,)."""
    found = []
    for e, (first, *rest) in zip(
        architecture.embeddings, architecture.embedding_shapes, strict=True
    ):
        constant = e.kind == "piecewise_linear" or (
            e.kind == "periodic" and not e.trained
        )
        found.append(np.full(np.prod(first), constant))
        found += [np.zeros(np.prod(shape), bool) for shape in rest]
    free = architecture.n_parameters - sum(map(len, found))
    return np.concatenate([*found, np.zeros(free, bool)])


# -------------------------------------------------------------- by the definitions


def numbers_by_hand(embedding, blocks, x):
    """One row's number after the other's, in the letters of the papers."""
    w, found = embedding.width, []
    for i, column in enumerate(embedding.columns):
        value = x[:, column]
        if embedding.kind == "lookup":
            first = sum(embedding.levels[:i])
            hot = (value[:, None] == torch.arange(embedding.levels[i])).to(x.dtype)
            found.append(hot @ blocks[0][first : first + embedding.levels[i]])
            continue
        one, other = blocks[0][2 * i], blocks[0][2 * i + 1]
        if embedding.kind == "periodic":
            z = torch.cos(value[:, None] * one + other)
        else:
            z = ramps_by_hand(value, one.detach(), other.detach())
        linear = blocks[1][i * w : (i + 1) * w]
        found.append(z @ linear[:, :-1].T + linear[:, -1])
    return torch.cat(found, dim=1)


def ramps_by_hand(value, low, steepness):
    """Equation 1 of Gorishniy, Rubachev and Babenko (2022), bin by bin."""
    columns, T = [], len(low)
    for t in range(T):
        z = (value - low[t]) * steepness[t]
        if t > 0:
            z = torch.where(z < 0, torch.zeros_like(z), z)
        if t < T - 1:
            z = torch.where(z > 1, torch.ones_like(z), z)
        columns.append(z)
    return torch.stack(columns, dim=1)


def raw_by_hand(architecture, row, x, masks=None):
    """Raw outputs (n, m) of one network, and what autograd is to hold still."""
    blocks, start = [], 0
    for shape in architecture.block_shapes:
        blocks.append(row[start : start + np.prod(shape)].view(shape))
        start += np.prod(shape)
    first = 0.0
    for e, shapes in zip(
        architecture.embeddings, architecture.embedding_shapes, strict=True
    ):
        own = blocks[: len(shapes)]
        del blocks[: len(shapes)]
        if e.kind != "lookup" and not e.trained:
            own[0] = own[0].detach()
        first = first + numbers_by_hand(e, own, x) @ own[-1]
    plain = x[:, list(architecture.plain)]
    flow = plain
    last = len(architecture.hidden)
    for layer in range(last + 1):
        flow = flow @ blocks[layer][:-1] + blocks[layer][-1]
        flow = flow + first if layer == 0 else flow
        if layer < last:
            flow = ORACLES[architecture.activations[layer]](flow)
            flow = flow if masks is None else flow * masks[layer]
    return flow + plain @ blocks[-1] if architecture.linear_skip else flow


# ------------------------------------------------------------------ back propagation


def networks(name, K, depth=1, skip=False, activation="tanh", n=11, m=2, seed=0):
    rng = np.random.default_rng([seed, K, depth])
    hidden = (5, 4)[:depth]
    architecture = Architecture(
        D, hidden, m, (activation,) * depth, skip, embeddings=SETS[name]
    )
    rows = np.stack([some_row(architecture, rng) for _ in range(K)])
    return architecture, rows, np.stack([table(rng, n, name) for _ in range(K)])


def assert_gradients_agree(name, loss, my=2, rates=None, **asked):
    architecture, rows, X = networks(name, m=loss.n_raw(my), **asked)
    K, n = X.shape[:2]
    y = torch.from_numpy(np.random.default_rng(1).normal(size=(K, n, my)))
    data = row_set(
        [(design(x), own, torch.arange(n), None) for x, own in zip(X, y, strict=True)],
        CPU,
        torch.float64,
    )
    dropout = None
    if rates is not None:
        streams = [np.random.Generator(np.random.SFC64(k)) for k in range(K)]
        dropout = Dropout(rates, streams, architecture.hidden)
    with torch.inference_mode():
        stack = NetworkStack(architecture, torch.from_numpy(rows))
        feeder = Feeder(
            data, data.n, architecture.n_outputs, architecture.widest, dropout
        )
        (block,) = feeder.epoch(None)
        accumulate(stack, block, 0, loss)
        masks = [m if K > 1 else m[None] for m in block.steps[0].masks]
        gradient = stack.rows(stack.gradient).clone()
        losses = mean_losses(stack, full_batches(stack, data), loss)
    for k in range(K):
        row = torch.from_numpy(rows[k]).requires_grad_()
        own = [mask[k].clone() for mask in masks] if dropout else None
        raw = raw_by_hand(architecture, row, torch.from_numpy(X[k]), own)
        mean = loss.values(raw, y[k]).mean()
        (slope,) = torch.autograd.grad(mean, row)
        torch.testing.assert_close(gradient[k], slope, rtol=ROUNDING, atol=ROUNDING)
        if not dropout:
            torch.testing.assert_close(losses[k], mean.detach(), rtol=1e-10, atol=1e-10)
        assert (gradient[k][torch.from_numpy(fixed(architecture))] == 0).all()


SQUARES = make_loss("squared_error")


@each_set
def test_gradients_are_autograds(name):
    for K, depth, skip, activation in product(
        (1, 3), (0, 1, 2), (False, True), ("tanh", "relu", "gelu")
    ):
        assert_gradients_agree(
            name, SQUARES, K=K, depth=depth, skip=skip, activation=activation
        )


@each_set
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_under_dropout(name, activation):
    for K in (1, 3):
        assert_gradients_agree(
            name, SQUARES, K=K, depth=2, activation=activation,
            rates=np.linspace(0.2, 0.5, K),
        )  # fmt: skip


@each_set
@pytest.mark.parametrize("skip", [False, True])
def test_forward_without_a_stack(name, skip):
    """What predictions use gives what the stack gives."""
    for depth in (0, 1, 2):
        architecture, rows, X = networks(name, 1, depth, skip)
        parameters = architecture.unpack(rows[0])
        x = torch.from_numpy(X[0])
        raw = torch.empty(len(x), 2, dtype=torch.float64)
        stack = NetworkStack(architecture, torch.from_numpy(rows))
        stack.at(len(x)).forward(design(X[0]), raw)
        entered = entering(architecture, parameters, x)
        assert entered.shape[1] == architecture.sizes[0]
        first = entered @ torch.from_numpy(parameters.weights[0])
        plain = entered[:, : architecture.n_plain]
        skipped = plain @ torch.from_numpy(parameters.skip) if skip else None
        found = forward(architecture, parameters, first, skipped)
        torch.testing.assert_close(found, raw, rtol=ROUNDING, atol=ROUNDING)


@each_set
def test_pack_is_the_inverse_of_unpack(name):
    architecture, (row,), _ = networks(name, 1, 2, True)
    np.testing.assert_array_equal(architecture.unpack(row).pack(), row)
    assert len(row) == architecture.n_parameters


def test_float32_is_near():
    architecture, rows, X = networks("several", 3, 2, True)
    raws = []
    for dtype in (torch.float32, torch.float64):
        stack = NetworkStack(architecture, torch.from_numpy(rows).to(dtype))
        x = torch.stack([design(each) for each in X]).to(dtype)
        raws.append(torch.empty(3, 11, 2, dtype=dtype))
        stack.at(11).forward(x, raws[-1])
    torch.testing.assert_close(raws[0].double(), raws[1], rtol=1e-4, atol=1e-4)


# --------------------------------------------------------------- a stack is its fits


@each_set
@pytest.mark.parametrize("how", SOLVERS)
def test_stack_equals_singles_and_constants_stay(name, how):
    """Networks of different edges, frequencies and rows; in company and alone."""
    (solver, options), rng = SOLVERS[how], np.random.default_rng(3)
    X = table(rng, 90, name)
    y = torch.from_numpy(np.sin(X[:, :1]) + X[:, 1:2] + 0.1 * rng.normal(size=(90, 1)))
    architecture = Architecture(D, (6,), 1, ("tanh",), True, embeddings=SETS[name])
    problem = Problem(X, y, architecture, SQUARES)
    fits = [
        problem.fit(
            k,
            np.arange(90 - 9 * k),
            batch_size=(16, None, 25, 90)[k],
            max_iter=3 + k,
            alpha=0.1 * k,
            max_grad_norm=(np.inf, 0.5)[k % 2] if how != "lbfgs" else np.inf,
            start=some_row(architecture, rng),
        )
        for k in range(4)
    ]
    still = fixed(architecture)
    together = problem.train(fits, solver, **options)
    for fit, outcome in zip(fits, together, strict=True):
        assert_same(outcome, problem.alone(fit, solver, **options))
        np.testing.assert_array_equal(outcome.row[still], fit.start[still])
        # All else has moved, but for dead bins and levels that no row has.
        assert (outcome.row != fit.start)[~still].mean() > 0.9


@pytest.mark.parametrize("decoupled", [False, True])
@each_set
def test_penalty_is_on_weights_alone(name, decoupled):
    architecture, rows, _ = networks(name, 3, 1, True)
    stack = NetworkStack(architecture, torch.from_numpy(rows))
    decay, l1 = np.array([0.3, 0.0, 2.0]), np.array([0.0, 0.5, 0.1])
    penalty = Penalty(stack, decay, l1, decoupled)
    expected = [
        sum(
            decay[k] / 2 * (w**2).sum() + l1[k] * abs(w).sum()
            for w in penalised(architecture, rows[k])
        )
        for k in range(3)
    ]
    np.testing.assert_allclose(penalty.value(), expected, rtol=ROUNDING)


def penalised(architecture, row):
    parameters = architecture.unpack(row)
    weights = [*parameters.weights, parameters.skip]
    for e, own in zip(architecture.embeddings, parameters.embeddings, strict=True):
        weights.append(own[0] if e.kind == "lookup" else own[1][:, :-1])
    return weights


@pytest.mark.parametrize("K", [1, 3])
def test_layer_norms_count_embeddings_with_the_first(K):
    architecture, rows, _ = networks("several", K, 2, True)
    stack = NetworkStack(architecture, torch.from_numpy(rows))
    gradients = np.random.default_rng(0).normal(size=rows.shape)
    stack.set_rows(stack.gradient, torch.from_numpy(gradients))
    norms = stack.layer_norms()
    np.testing.assert_allclose(norms, stack.norms_by_layer(), rtol=ROUNDING)
    for k, gradient in enumerate(gradients):
        parts = architecture.unpack(gradient)
        squares = [
            (weight**2).sum() + (bias**2).sum()
            for weight, bias in zip(parts.weights, parts.biases, strict=True)
        ]
        squares[0] += sum((block**2).sum() for own in parts.embeddings for block in own)
        squares[-1] += (parts.skip**2).sum()
        np.testing.assert_allclose(norms[k], np.sqrt(squares), rtol=ROUNDING)


# --------------------------------------------------------------------- what is refused


def test_sparse_rows_and_bfloat16_are_refused():
    architecture, rows, X = networks("waves", 1)
    stack = NetworkStack(architecture, torch.from_numpy(rows))
    data = row_set(
        [(sparse_rows(X[0]), torch.zeros(11, 1), torch.arange(11), None)],
        CPU,
        torch.float64,
    )
    with pytest.raises(AssertionError, match="dense rows"):
        mean_losses(stack, full_batches(stack, data), CASES["squared_error-3"].loss)
    shadowed = NetworkStack(
        architecture, torch.from_numpy(rows).float(), torch.bfloat16
    )
    with pytest.raises(AssertionError, match="float32 or float64"):
        shadowed.at(4)


# -------------------------------------------------------------------------- beginnings


def test_tied_edges_make_dead_bins():
    """Ties, at both ends and within, never divide by zero, nor unbound a bin."""
    edges = np.array([0.0, 0.0, 1.0, 1.0, 3.0, 3.0])
    low, steepness = ramps_between(edges)
    np.testing.assert_array_equal(steepness, [1, 0, 0, 0, 0.5])
    np.testing.assert_array_equal(low[[0, -1]], [0, 1])
    x = torch.tensor([-2.0, 0.5, 2.0, 7.0], dtype=torch.float64)
    z = ramps_by_hand(x, torch.from_numpy(low), torch.from_numpy(steepness))
    np.testing.assert_array_equal(z[:, 1:4], 0.0)
    np.testing.assert_array_equal(z[:, 0], [-2.0, 0.5, 1.0, 1.0])
    np.testing.assert_array_equal(z[:, -1], [0.0, 0.0, 0.5, 3.0])


def test_on_an_edge_a_slope_is_the_mean_of_two():
    low, steepness = ramps_between(np.array([0.0, 1.0, 3.0, 4.0]))
    bends = torch.from_numpy(np.stack([low, steepness]))
    x = torch.tensor([[-1.0], [0.0], [1.0], [2.0], [3.0], [4.0]]).double()
    ramps = Embedding("piecewise_linear", (0,), 1, 3)
    features = features_of(ramps, bends, x.requires_grad_())
    (slope,) = torch.autograd.grad(features.sum(), x)
    np.testing.assert_allclose(slope[:, 0], [1.0, 1.0, 0.75, 0.5, 0.75, 1.0])
    by_hand = ramps_by_hand(x[:, 0].detach(), *bends)
    torch.testing.assert_close(features[0].T.detach(), by_hand)


@pytest.mark.parametrize("q", [1, 2, 5])
def test_few_live_bins(q):
    _, constant = ramps_between(np.full(q + 1, 3.0))
    np.testing.assert_array_equal(constant, 0.0)
    edges = np.zeros(q + 1)
    edges[-1] = 2.0  # a column of zeros and twos: the sum of its ramps is a line
    low, steepness = map(torch.from_numpy, ramps_between(edges))
    x = torch.linspace(-3, 5, 9, dtype=torch.float64)
    z = ramps_by_hand(x, low, steepness).sum(1)
    scale = 0.5 if q == 1 else 1.0
    torch.testing.assert_close(z, x * scale)
    wide = np.array([1e8, 1e8 + 1.0])  # one apart: the same number in float32
    np.testing.assert_array_equal(ramps_between(wide)[1], 0.0)


@pytest.mark.parametrize(
    "embedding",
    [
        Embedding("periodic", (0,), 3, 16),
        Embedding("piecewise_linear", (0,), 3, 16),
        Embedding("lookup", (0,), 4, levels=(5,)),
    ],
    ids=lambda e: e.kind,
)
def test_numbers_start_with_a_second_moment_of_one(embedding):
    """Over draws; a level's numbers have one together."""
    rng, total = np.random.default_rng(0), 0.0
    architecture = Architecture(1, (4,), 1, ("relu",), embeddings=(embedding,))
    looks_up = embedding.kind == "lookup"
    X = (
        rng.integers(5, size=(40, 1)).astype(float)
        if looks_up
        else rng.normal(size=(40, 1))
    )
    edges = None if looks_up else np.quantile(X, np.linspace(0, 1, 17))[None]
    for _ in range(400):
        row = architecture.initial_row(rng, "auto", np.zeros(1), [edges])
        numbers = entering(architecture, architecture.unpack(row), torch.from_numpy(X))
        total += float(numbers[:, -embedding.width :].square().mean()) / 400
    assert total == pytest.approx(1 / 4 if looks_up else 1.0, rel=0.15)


def test_waves_start_as_asked():
    embedding = Embedding("periodic", (0, 1), 2, 4000, sigma=0.2)
    bends, linear = embedding.start(np.random.default_rng(0))
    assert bends[::2].std() == pytest.approx(2 * np.pi * 0.2, rel=0.03)
    assert np.abs(bends[1::2]).max() < np.pi < 1.01 * np.abs(bends[1::2]).max()
    assert (linear[:, -1] == 0).all()


def test_the_row_of_layers_is_drawn_as_without_embeddings():
    """A network without embeddings starts where it always did."""
    plain = Architecture(D, (5,), 1, ("relu",), True)
    a, b = (
        plain.initial_row(np.random.default_rng(0), "auto", np.ones(1)) for _ in "ab"
    )
    np.testing.assert_array_equal(a, b)
    assert plain.sizes == (D, 5, 1) and plain.n_parameters == 6 * 5 + 6 + D


# ------------------------------------------------- derivatives for standard errors


@each_set
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_scores_and_hessians_are_autograds(name, depth):
    """In all that is estimated; constants have neither scores nor curvature."""
    architecture, (row,), (X,) = networks(name, 1, depth, depth == 1)
    theta, z = torch.from_numpy(row), torch.from_numpy(X)
    rng = np.random.default_rng(5)
    y, weight = (torch.from_numpy(rng.uniform(size=s)) for s in ((11, 2), 11))

    def total(theta):
        return weight @ SQUARES.values(raw_by_hand(architecture, theta, z), y)

    def gradient(raw):
        return raw - y

    def curvature(raw):
        return torch.eye(2, dtype=torch.float64).expand(11, 2, 2)

    torch.testing.assert_close(
        raw_outputs(architecture, theta, z), raw_by_hand(architecture, theta, z)
    )
    sent = signals(architecture, theta, z, gradient)
    (slope,) = torch.autograd.grad(total(theta.requires_grad_()), theta)
    torch.testing.assert_close(mean_score(architecture, sent, weight), slope)
    along = torch.from_numpy(rng.normal(size=(len(row), 3)))
    moved = scores_times(architecture, sent, along)
    torch.testing.assert_close(weight @ moved, slope @ along)
    hessian = torch.autograd.functional.hessian(total, theta.detach())
    found = summed_hessian(architecture, theta.detach(), z, gradient, curvature, weight)
    torch.testing.assert_close(found, hessian, rtol=1e-9, atol=1e-9)


@each_set
def test_derivatives_in_inputs_are_autograds(name):
    architecture, (row,), (X,) = networks(name, 1, 1, True)
    theta, z = torch.from_numpy(row), torch.from_numpy(X).requires_grad_()
    found, expected = (
        torch.autograd.grad(
            function(architecture, theta, z)[:, 0].sum() + 0.0 * z.sum(), z
        )[0]
        for function in (raw_outputs, raw_by_hand)
    )
    torch.testing.assert_close(found, expected)
    assert (found == 0).all() == (name == "nothing plain")  # a level has no slope
