"""The yardstick of the benchmarks trains what it says it trains."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from benchmarks.reference_loop import fit
from torch.nn.functional import linear


def slow_fit(X, y, hidden, *, batch_size, epochs, alpha, seed):
    """The same training by autograd and ``torch.optim.Adam``."""
    generator = torch.Generator().manual_seed(seed)
    X, y = torch.as_tensor(X), torch.as_tensor(y).reshape(len(y), -1)
    blocks = []
    for inputs, units in pairwise([X.shape[1], *hidden, y.shape[1]]):
        bound = (6 / (inputs + units)) ** 0.5
        block = torch.empty(inputs + 1, units, dtype=torch.float64)
        blocks.append(block.uniform_(-bound, bound, generator=generator))
    for block in blocks:
        block.requires_grad_()
    adam = torch.optim.Adam(blocks, lr=1e-3)
    curve = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(X), generator=generator).split(batch_size):
            a = X[rows]
            for block in blocks[:-1]:
                a = linear(a, block[:-1].T, block[-1]).relu()
            squares = (linear(a, blocks[-1][:-1].T, blocks[-1][-1]) - y[rows]).square()
            penalty = alpha / (2 * len(X)) * sum(w[:-1].square().sum() for w in blocks)
            adam.zero_grad()
            (squares.sum() / (2 * len(rows)) + penalty).backward()
            adam.step()
            total += float(squares.detach().sum())
        penalty = alpha / (2 * len(X)) * sum(w[:-1].square().sum() for w in blocks)
        penalty = penalty.detach()
        curve.append(total / (2 * len(X)) + float(penalty))
    return [block.detach() for block in blocks], curve


@pytest.mark.parametrize("hidden", [(5,), (7, 4), (3, 6, 2)])
@pytest.mark.parametrize("outputs", [(), (2,)])
@pytest.mark.parametrize("batch_size", [16, 25, 100])
def test_agrees_with_autograd(hidden, outputs, batch_size):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((50, 4)), rng.standard_normal((50, *outputs))
    options = {"batch_size": batch_size, "epochs": 4, "alpha": 2.0, "seed": 1}

    fast = fit(X, y, hidden, dtype=torch.float64, **options)
    weights, curve = slow_fit(X, y, hidden, **options)

    np.testing.assert_allclose(fast.loss_curve, curve, rtol=1e-11)
    for ours, theirs in zip(fast.weights, weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
