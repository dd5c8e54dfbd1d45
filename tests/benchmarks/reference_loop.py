"""A hand-written training loop for one network: the yardstick of ``bench_fit``.

One multilayer perceptron with ReLU units and squared error, trained with Adam, and
nothing else: no options, no checks, no stack, no early stopping. What it needs to be a
fair yardstick is there: the gradient of the L2 penalty, a loss per epoch, a new shuffle
per epoch and a partial last batch.

Run ``python -m tests.benchmarks.reference_loop`` to time it against scikit-learn's
``MLPRegressor``. ``tests/test_reference_loop.py`` checks its numbers against autograd.

Notes
-----
Letters: n rows, b rows of a minibatch, d inputs, h units, m outputs, P parameters.

What makes the loop fast, each measured:

- Every product writes into a buffer made once, under ``torch.inference_mode``.
- A column of ones in the data makes the bias of the first layer a row of its weights:
  one product forward, one backward, for both. (A column of ones in the hidden
  activations as well is faster by 4% for the smallest network and slower for the
  largest: their rows are no longer aligned.)
- A number as an argument costs more than a microsecond, because it is wrapped in a
  tensor; a tensor without dimensions does not.
- The penalty is one ``addcmul_`` over all parameters; ``addmm(beta=...)`` would cost
  more than a microsecond per layer.
- Residuals are written into one buffer for the whole epoch, so that the loss record
  needs one product per epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# The overload itself: called through its packet it costs three times as much.
_relu_backward = torch.ops.aten.threshold_backward.grad_input


@dataclass(frozen=True, slots=True)
class ReferenceFit:
    """What ``fit`` returns.

    Attributes
    ----------
    weights : list of Tensor, each of shape (inputs + 1, units)
        One block per layer; its last row is the bias.
    loss_curve : list of float
        One value per epoch: mean of half the squared residuals met during the epoch,
        plus the penalty at its end.
    """

    weights: list[Tensor]
    loss_curve: list[float]


class _Parameters(NamedTuple):
    """Flat tensors of shape (P,), and views of them layer by layer."""

    values: Tensor
    gradient: Tensor
    penalty: Tensor  # alpha / n on weights, 0 on biases
    weights: list[Tensor]  # (inputs + 1, units), the bias as last row
    gradients: list[Tensor]


class _Forward(NamedTuple):
    """What one layer beyond the first needs to go forward."""

    inputs: Tensor  # (b, inputs)
    weight: Tensor  # (inputs, units)
    bias: Tensor  # (1, units)
    outputs: Tensor  # (b, units)


class _Back(NamedTuple):
    """What one layer beyond the first needs to go backward."""

    inputs: Tensor  # (b, inputs)
    inputs_t: Tensor  # (inputs, b)
    weight_t: Tensor  # (units, inputs)
    delta: Tensor  # (b, units)
    of_weight: Tensor  # (inputs, units), gradient
    of_bias: Tensor  # (1, units), gradient
    delta_before: Tensor  # (b, inputs)


class _Plan(NamedTuple):
    """The buffers of a step, cut to its number of rows."""

    first: Tensor  # (b, h), output of the first layer
    hidden: list[_Forward]  # without the first layer
    head: tuple[Tensor, Tensor, Tensor]  # inputs (b, h), weight (h, m), bias (1, m)
    back: list[_Back]  # from the last layer to the second
    delta: Tensor  # (b, m), derivative of the loss by the network's output
    first_delta: Tensor  # (b, h)
    ones: Tensor  # (1, b)
    one_over_rows: Tensor  # ()


class _Batch(NamedTuple):
    """The rows of a step: views of the shuffled data."""

    x: Tensor  # (b, d + 1)
    x_t: Tensor  # (d + 1, b)
    y: Tensor  # (b, m)
    residual: Tensor  # (b, m)
    plan: _Plan


def fit(
    X: np.ndarray,
    y: np.ndarray,
    hidden_layer_sizes: Sequence[int],
    *,
    batch_size: int,
    epochs: int,
    alpha: float = 1e-4,
    learning_rate: float = 1e-3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> ReferenceFit:
    """Train one network with at least one hidden layer.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,) or (n, m)
    hidden_layer_sizes : sequence of int
    batch_size, epochs : int
    alpha : float
        The objective is the mean of half the squared residuals plus
        ``alpha / (2 n)`` times the sum of squared weights, biases left out.
    learning_rate : float
    seed : int
        Of the initial weights and of the shuffles.
    dtype : torch.dtype
        float32 for timing, float64 for checking.

    Returns
    -------
    ReferenceFit
    """
    with torch.inference_mode():
        generator = torch.Generator().manual_seed(seed)
        inputs = _with_ones(X, dtype)
        targets = torch.as_tensor(y, dtype=dtype).reshape(len(y), -1)
        sizes = [X.shape[1], *hidden_layer_sizes, targets.shape[1]]
        parameters = _parameters(sizes, alpha / len(X), dtype)
        _initialise(parameters.weights, generator)
        curve = _train(
            parameters, inputs, targets, batch_size, epochs, learning_rate, generator
        )
    return ReferenceFit(parameters.weights, curve)


def _with_ones(X: np.ndarray, dtype: torch.dtype) -> Tensor:
    """X with a last column of ones. Shape: (n, d) -> (n, d + 1)."""
    inputs = torch.ones(X.shape[0], X.shape[1] + 1, dtype=dtype)
    inputs[:, :-1] = torch.as_tensor(X)
    return inputs


def _parameters(
    sizes: Sequence[int], penalty: float, dtype: torch.dtype
) -> _Parameters:
    """Flat tensors for all layers, and their views. Shape: (P,)."""
    shapes = [(inputs + 1, units) for inputs, units in pairwise(sizes)]
    lengths = [rows * units for rows, units in shapes]

    def blocks(flat: Tensor) -> list[Tensor]:
        parts = torch.split(flat, lengths)
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    values, gradient, penalties = torch.zeros(3, sum(lengths), dtype=dtype).unbind()
    for block in blocks(penalties):
        block[:-1] = penalty
    return _Parameters(values, gradient, penalties, blocks(values), blocks(gradient))


def _initialise(weights: list[Tensor], generator: torch.Generator) -> None:
    """Glorot's uniform, biases included, as in scikit-learn."""
    for block in weights:
        bound = (6 / (block.shape[0] - 1 + block.shape[1])) ** 0.5
        block.uniform_(-bound, bound, generator=generator)


def _plan(parameters: _Parameters, rows: int) -> _Plan:
    """Buffers for steps of this many rows, and every view that they need."""
    blocks, gradients = parameters.weights, parameters.gradients
    dtype = parameters.values.dtype
    outputs = [torch.empty(rows, w.shape[1], dtype=dtype) for w in blocks]
    deltas = [torch.empty_like(o) for o in outputs]
    forward = [
        _Forward(outputs[i], blocks[i + 1][:-1], blocks[i + 1][-1:], outputs[i + 1])
        for i in range(len(blocks) - 1)
    ]
    back = [
        _Back(
            outputs[i],
            outputs[i].t(),
            blocks[i + 1][:-1].t(),
            deltas[i + 1],
            gradients[i + 1][:-1],
            gradients[i + 1][-1:],
            deltas[i],
        )
        for i in reversed(range(len(blocks) - 1))
    ]
    return _Plan(
        first=outputs[0],
        hidden=forward[:-1],
        head=forward[-1][:3],
        back=back,
        delta=deltas[-1],
        first_delta=deltas[0],
        ones=torch.ones(1, rows, dtype=dtype),
        one_over_rows=torch.tensor(1 / rows, dtype=dtype),
    )


def _batches(
    parameters: _Parameters, x: Tensor, y: Tensor, residual: Tensor, batch_size: int
) -> list[_Batch]:
    """Views of an epoch's rows, cut once: the buffers stay where they are."""
    split = (torch.split(t, batch_size) for t in (x, y, residual))  # (b, .)
    parts = list(zip(*split, strict=True))
    plans = {rows: _plan(parameters, rows) for rows in {len(p[0]) for p in parts}}
    return [_Batch(x, x.t(), y, residual, plans[len(x)]) for x, y, residual in parts]


def _adam(parameters: _Parameters, step: Tensor, learning_rate: float) -> partial[None]:
    """One fused update of all parameters; ``step`` counts from 1, set by the caller."""
    values, gradient = parameters.values, parameters.gradient
    return partial(
        torch._fused_adam_,
        [values],
        [gradient],
        [torch.zeros_like(values)],
        [torch.zeros_like(values)],
        [],
        [step],
        lr=learning_rate,
        beta1=0.9,
        beta2=0.999,
        weight_decay=0.0,
        eps=1e-8,
        amsgrad=False,
        maximize=False,
    )


def _train(
    parameters: _Parameters,
    inputs: Tensor,
    targets: Tensor,
    batch_size: int,
    epochs: int,
    learning_rate: float,
    generator: torch.Generator,
) -> list[float]:
    """The loop. Shape: inputs (n, d + 1), targets (n, m)."""
    x, y = torch.empty_like(inputs), torch.empty_like(targets)
    residual = torch.empty_like(targets)
    order = torch.empty(len(inputs), dtype=torch.int64)
    batches = _batches(parameters, x, y, residual, batch_size)
    step, steps = torch.zeros(()), 0
    adam = _adam(parameters, step, learning_rate)
    curve = []
    for _ in range(epochs):
        torch.randperm(len(inputs), generator=generator, out=order)
        torch.index_select(inputs, 0, order, out=x)
        torch.index_select(targets, 0, order, out=y)
        for batch in batches:
            _gradient(parameters, batch)
            steps += 1
            step.fill_(steps)
            adam()
        curve.append(_loss(parameters, residual))
    return curve


def _gradient(parameters: _Parameters, batch: _Batch) -> None:
    """Residuals and the gradient of the objective on one batch, written in place."""
    mm = torch.mm
    x, x_t, y, residual, plan = batch
    first, hidden, head, back, delta, first_delta, ones, one_over_rows = plan

    mm(x, parameters.weights[0], out=first).relu_()
    for inputs, weight, bias, outputs in hidden:
        mm(inputs, weight, out=outputs).add_(bias).relu_()
    inputs, weight, bias = head
    mm(inputs, weight, out=residual).add_(bias).sub_(y)

    torch.mul(residual, one_over_rows, out=delta)
    for layer in back:
        inputs, inputs_t, weight_t, after, of_weight, of_bias, before = layer
        mm(inputs_t, after, out=of_weight)
        mm(ones, after, out=of_bias)
        mm(after, weight_t, out=before)
        _relu_backward(before, inputs, 0, grad_input=before)
    mm(x_t, first_delta, out=parameters.gradients[0])
    parameters.gradient.addcmul_(parameters.values, parameters.penalty)


def _loss(parameters: _Parameters, residual: Tensor) -> float:
    """Half the mean squared residual plus the penalty."""
    errors, values = residual.view(-1), parameters.values
    fit_part = torch.dot(errors, errors) / len(residual)
    return 0.5 * float(fit_part + torch.dot(values * parameters.penalty, values))


def main() -> None:
    """Time the loop against ``MLPRegressor``."""
    # Imported on use: the loop itself needs nothing but NumPy and PyTorch.
    from .bench_fit import reference_results
    from .timing import one_core, to_text

    one_core()
    print(to_text(reference_results()))


if __name__ == "__main__":
    main()
