"""One network as a function of its parameters, with its first and second derivatives.

A layer is a regression: its parameters meet what enters the layer, the *source*, in
one product, whose value is a pre-activation. So all derivatives in parameters are
products of sources and derivatives in pre-activations. With s the source of a block,
and u the pre-activations that it writes, the score of a row is ``s x dl/du``, and its
Hessian is made of ``s s' x d2l/du du'`` and, where one block lies above the other, of
the change of its source. Pre-activations are few (units), parameters many (units times
inputs): automatic differentiation does the former, matrix products the latter, and a
Hessian costs about as much as the product of the scores with themselves.

Conventions
-----------
======  =========  ====================================================================
b, d    -          rows of a chunk, inputs
m, P    -          raw outputs; parameters of the network
U       -          pre-activations of all layers, outputs included
theta   (P,)       parameters in the order of `Architecture.block_shapes`
z       (b, d)     inputs, in the units of `theta`
raw     (b, m)     outputs before the inverse link
======  =========  ====================================================================

Everything is float64, on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .engine.architecture import Architecture

# The engine's activations write into buffers; these can be differentiated.
ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": torch.clone,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "cosine": lambda z: 0.5 + 0.5 * torch.sin(z.clamp(-torch.pi / 2, torch.pi / 2)),
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "silu": F.silu,
}
# Numbers that the largest array of a chunk may hold: 16 MB.
CHUNK_NUMBERS = 2**21


@dataclass(frozen=True, slots=True)
class Block:
    """Place of one block of parameters.

    Attributes
    ----------
    place : slice
        Of the flat parameters.
    shape : (int, int)
        Sources and the pre-activations that they write.
    writes : slice
        These pre-activations, among all U.
    layer : int or None
        Its number, from 0; None for the linear skip.
    """

    place: slice
    shape: tuple[int, int]
    writes: slice
    layer: int | None


def block_list(architecture: Architecture) -> list[Block]:
    """Places of all parameter blocks, in the order of storage."""
    blocks, start, written = [], 0, 0
    n_layers = len(architecture.hidden) + 1
    for i, (rows, columns) in enumerate(architecture.block_shapes):
        skip = i == n_layers
        if skip:
            written -= columns
        blocks.append(
            Block(
                slice(start, start + rows * columns),
                (rows, columns),
                slice(written, written + columns),
                None if skip else i,
            )
        )
        start, written = start + rows * columns, written + columns
    return blocks


def chunk_rows(architecture: Architecture) -> int:
    """Rows of a chunk for which no array of a Hessian grows large."""
    blocks = block_list(architecture)
    sources = max(block.shape[0] for block in blocks)
    units = sum(architecture.hidden) + architecture.n_outputs
    return max(16, CHUNK_NUMBERS // max(sources, units) ** 2)


def raw_outputs(architecture: Architecture, theta: Tensor, z: Tensor) -> Tensor:
    """Raw outputs (b, m): the network as a function of its parameters and inputs."""
    return _pass(architecture, theta, z, None)[0]


def _pass(
    architecture: Architecture,
    theta: Tensor,
    z: Tensor,
    nudges: Tensor | None,
) -> tuple[Tensor, list[Tensor]]:
    """Raw outputs, and the values of the hidden layers.

    `nudges` (b, U) are added to the pre-activations: derivatives in them are those in
    the pre-activations.
    """
    blocks = block_list(architecture)
    values: list[Tensor] = []
    flow = z
    for i, block in enumerate(blocks[: len(architecture.hidden) + 1]):
        table = theta[block.place].view(block.shape)
        u = torch.addmm(table[-1], flow, table[:-1])
        if i == len(architecture.hidden) and architecture.linear_skip:
            u = u + z @ theta[blocks[-1].place].view(blocks[-1].shape)
        if nudges is not None:
            u = u + nudges[:, block.writes]
        if i == len(architecture.hidden):
            return u, values
        flow = ACTIVATION_FUNCTIONS[architecture.activations[i]](u)
        values.append(flow)
    raise AssertionError("a network has an output layer")


@dataclass(frozen=True, slots=True)
class Signals:
    """What flows through a network for some rows, and how the outputs feel it.

    Attributes
    ----------
    raw : Tensor of shape (b, m)
    sources : list of Tensor of shape (b, rows of the block)
        What enters each block, a column of ones included (but not for the skip).
    deltas : Tensor of shape (b, U)
        Derivatives of ``sum_j gradient_j raw_j`` in the pre-activations.
    """

    raw: Tensor
    sources: list[Tensor]
    deltas: Tensor


Gradient = Callable[[Tensor], Tensor]


def signals(
    architecture: Architecture, theta: Tensor, z: Tensor, gradient: Gradient
) -> Signals:
    """Send rows through the network, and a loss's gradient back.

    Parameters
    ----------
    gradient : callable (raw) -> Tensor of shape (b, m)
        Derivative of each row's loss in its raw outputs.
    """
    nudges, raw, values = _nudged(architecture, theta, z)
    sources = _sources(architecture, z, values)
    deltas = _felt(gradient(raw.detach()), raw, nudges)
    return Signals(raw.detach(), sources, deltas)


def _nudged(
    architecture: Architecture, theta: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Pre-activations to differentiate in, and what comes of them."""
    units = sum(architecture.hidden) + architecture.n_outputs
    with torch.enable_grad():
        nudges = torch.zeros((len(z), units), dtype=z.dtype, requires_grad=True)
        return nudges, *_pass(architecture, theta, z, nudges)


def _felt(
    gradient: Tensor, raw: Tensor, nudges: Tensor, create_graph: bool = False
) -> Tensor:
    """Differentiate ``sum gradient raw`` in the pre-activations, (b, U).

    As a sum: given to autograd, a gradient makes it import symbolic shapes.
    """
    with torch.enable_grad():
        total = (gradient * raw).sum()
    return torch.autograd.grad(
        total, nudges, retain_graph=create_graph, create_graph=create_graph
    )[0]


def _sources(
    architecture: Architecture, z: Tensor, values: list[Tensor]
) -> list[Tensor]:
    one = torch.ones((len(z), 1), dtype=z.dtype)
    inside = (z, *(value.detach() for value in values))
    sources = [torch.cat([part, one], dim=1) for part in inside]
    return [*sources, z] if architecture.linear_skip else sources


def mean_score(architecture: Architecture, sent: Signals, weight: Tensor) -> Tensor:
    """Weighted sum of the rows' scores, (P,).

    ``sum_i w_i g_i`` with ``g_i = s_i x delta_i``; `weight` is (b,).
    """
    parts = [
        (source.T @ (sent.deltas[:, block.writes] * weight[:, None])).reshape(-1)
        for block, source in zip(block_list(architecture), sent.sources, strict=True)
    ]
    return torch.cat(parts)


def scores_times(
    architecture: Architecture, sent: Signals, directions: Tensor
) -> Tensor:
    """Scores along some directions: ``g_i' directions``, (b, q), of (P, q).

    The scores themselves, (b, P), are never written down.
    """
    b, q = len(sent.raw), directions.shape[1]
    total = torch.zeros((b, q), dtype=torch.float64)
    for block, source in zip(block_list(architecture), sent.sources, strict=True):
        rows, columns = block.shape
        table = directions[block.place].reshape(rows, columns * q)
        moved = (source @ table).view(b, columns, q)
        total += torch.einsum("bcq,bc->bq", moved, sent.deltas[:, block.writes])
    return total


def summed_hessian(
    architecture: Architecture,
    theta: Tensor,
    z: Tensor,
    gradient: Gradient,
    curvature: Gradient,
    weight: Tensor,
    *,
    gauss_newton: bool = False,
) -> Tensor:
    """Weighted sum of the rows' Hessians of a loss in the parameters, (P, P).

    Parameters
    ----------
    gradient, curvature : callables (raw) -> (b, m) and (b, m, m)
        First and second derivatives of each row's loss in its raw outputs.
    weight : Tensor of shape (b,)
    gauss_newton : bool, default=False
        Leave out the curvature of the network itself, which a kinked activation does
        not have.
    """
    sent = signals(architecture, theta, z, gradient)
    tangents = _tangents(architecture, theta, z, gradient(sent.raw), gauss_newton)
    reach = tangents.raw  # (b, m, U)
    inner = reach.transpose(1, 2) @ curvature(sent.raw) @ reach
    if tangents.deltas is not None:
        inner = inner + tangents.deltas
    inner = inner * weight[:, None, None]
    deltas = None if gauss_newton else sent.deltas * weight[:, None]
    return _assembled(architecture, sent.sources, inner, tangents.values, deltas)


@dataclass(frozen=True, slots=True)
class _Tangents:
    """Derivatives in the pre-activations u.

    Attributes
    ----------
    raw : Tensor of shape (b, m, U)
        Of the raw outputs.
    values : list of Tensor of shape (b, h, U)
        Of the hidden layers' values; empty for Gauss and Newton.
    deltas : Tensor of shape (b, U, U) or None
        Of the deltas: the curvature of the network.
    """

    raw: Tensor
    values: list[Tensor]
    deltas: Tensor | None


def _tangents(
    architecture: Architecture,
    theta: Tensor,
    z: Tensor,
    gradient: Tensor,
    first_only: bool,
) -> _Tangents:
    nudges, raw, values = _nudged(architecture, theta, z)
    of_raw = _by_column(raw, nudges)
    if first_only or not architecture.hidden:
        return _Tangents(of_raw, [], None)
    deltas = _felt(gradient, raw, nudges, create_graph=True)
    of_values = [_by_column(value, nudges) for value in values]
    return _Tangents(of_raw, of_values, _by_column(deltas, nudges))


def _by_column(outputs: Tensor, inputs: Tensor) -> Tensor:
    """Differentiate outputs (b, c) in the same row's inputs (b, U), (b, c, U).

    Rows do not feel each other, so one pass back serves a column of all rows. Not by
    ``torch.func``: its first use imports for three seconds.
    """
    if outputs.grad_fn is None:
        return inputs.new_zeros((*outputs.shape, inputs.shape[1]))
    columns = []
    for c in range(outputs.shape[1]):
        with torch.enable_grad():
            total = outputs[:, c].sum()
        (found,) = torch.autograd.grad(
            total, inputs, retain_graph=True, materialize_grads=True
        )
        columns.append(found)
    return torch.stack(columns, dim=1)


def _assembled(
    architecture: Architecture,
    sources: list[Tensor],
    inner: Tensor,
    values: list[Tensor],
    deltas: Tensor | None,
) -> Tensor:
    """Hessian (P, P) from the sources and the derivatives in pre-activations."""
    P = architecture.n_parameters
    total = torch.zeros((P, P), dtype=torch.float64)
    for (low, s), (high, t) in _pairs(block_list(architecture), sources):
        part = _products(s, t, inner[:, low.writes, high.writes])
        if values and deltas is not None and _above(low, high):
            # What enters the upper block moves with the lower one's pre-activation.
            assert high.layer is not None
            moved = values[high.layer - 1][:, :, low.writes]  # (b, h, low)
            part[:, :, :-1] += _moved_sources(s, deltas[:, high.writes], moved)
        part = part.reshape(low.shape[0] * low.shape[1], -1)
        total[low.place, high.place] = part
        total[high.place, low.place] = part.T
    return total


def _pairs(
    blocks: list[Block], sources: list[Tensor]
) -> Iterator[tuple[tuple[Block, Tensor], tuple[Block, Tensor]]]:
    entries = list(zip(blocks, sources, strict=True))
    for i, low in enumerate(entries):
        for high in entries[i:]:
            yield low, high


def _above(low: Block, high: Block) -> bool:
    return low.layer is not None and high.layer is not None and low.layer < high.layer


def _products(s: Tensor, t: Tensor, inner: Tensor) -> Tensor:
    """``sum_b s_ba t_bc inner_bjl`` as one product, (a, j, c, l)."""
    b, j, k = inner.shape
    pairs = (s[:, :, None] * t[:, None, :]).reshape(b, -1)
    table = pairs.T @ inner.reshape(b, -1)
    return table.view(s.shape[1], t.shape[1], j, k).permute(0, 2, 1, 3).contiguous()


def _moved_sources(s: Tensor, deltas: Tensor, moved: Tensor) -> Tensor:
    """``sum_b s_ba moved_bcj deltas_bl``, (a, j, c, l)."""
    b, c, j = moved.shape
    pairs = (s[:, :, None] * deltas[:, None, :]).reshape(b, -1)
    table = pairs.T @ moved.reshape(b, -1)
    return table.view(s.shape[1], deltas.shape[1], c, j).permute(0, 3, 2, 1)
