"""One network as a function of its parameters, with its first and second derivatives.

A layer is a regression: its parameters meet what enters the layer, the *source*, in
one product, whose value is a pre-activation. So all derivatives in parameters are
products of sources and derivatives in pre-activations. With s the source of a block,
and u the pre-activations that it writes, the score of a row is ``s x dl/du``, and its
Hessian is made of ``s s' x d2l/du du'`` and, where one block lies above the other, of
the change of its source. The map of an embedding is such a layer too, a column at a
time, and so is a table, whose source is the indicators of its levels. Pre-activations
are few (units), parameters many (units times
inputs): automatic differentiation does the former, matrix products the latter, and a
Hessian costs about as much as the product of the scores with themselves.

Conventions
-----------
======  =========  ====================================================================
b, d    -          rows of a chunk, inputs
m, P    -          raw outputs; parameters of the network
U       -          pre-activations of all layers, outputs included, and below them the
                   numbers of embeddings and the arguments of trained waves
theta   (P,)       parameters in the order of `Architecture.block_shapes`
z       (b, d)     inputs, in the units of `theta`
raw     (b, m)     outputs before the inverse link
======  =========  ====================================================================

Everything is float64, on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .engine.architecture import Architecture
from .engine.embeddings import Embedding, codes_of, features_of, mapped

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
        Its number, from 0; None for the linear skip and the parts of embeddings.
    source : (str, int, int)
        What it multiplies: ("columns", 0, 0), ("layer", number below, 0), or of an
        embedding and one of its columns ("column", "features", "levels") and these two
        numbers; ("numbers", embedding, 0) for an entry.
    level : int
        Pre-activations move with those of lower levels.
    constant : bool
        Whether a one stands last among its sources.
    moves : bool
        Whether its source depends on parameters.
    penalised : bool
        Whether the penalty is on its weights.
    """

    place: slice
    shape: tuple[int, int]
    writes: slice
    layer: int | None
    source: tuple[str, int, int]
    level: int
    constant: bool = True
    moves: bool = False
    penalised: bool = True


Source = tuple[str, int, int]


def block_list(architecture: Architecture) -> list[Block]:
    """Places of all parameter blocks that are estimated, in the order of storage.

    Constants of embeddings are left out, and their maps cut, a block a number.
    """
    first = n_units(architecture) - sum(architecture.hidden) - architecture.n_outputs
    blocks = _embedding_blocks(architecture, first)
    sizes = [shape for part in architecture.embedding_shapes for shape in part]
    start, written = sum(rows * columns for rows, columns in sizes), first
    n_layers = len(architecture.hidden) + 1
    for i, (rows, columns) in enumerate(architecture.layer_shapes):
        skip = i == n_layers
        if skip:
            written -= columns
        below: Source = ("columns", 0, 0) if skip or not i else ("layer", i - 1, 0)
        blocks.append(
            Block(
                slice(start, start + rows * columns),
                (rows, columns),
                slice(written, written + columns),
                None if skip else i,
                below,
                n_layers if skip else i,
                constant=not skip,
                moves=below[0] == "layer",
            )
        )
        start, written = start + rows * columns, written + columns
    return blocks


def n_units(architecture: Architecture) -> int:
    """U, the pre-activations of a network."""
    below = sum(_n_waves(e) + e.n_numbers for e in architecture.embeddings)
    return below + sum(architecture.hidden) + architecture.n_outputs


def _n_waves(embedding: Embedding) -> int:
    return len(embedding.columns) * embedding.size if embedding.trained else 0


def _embedding_blocks(architecture: Architecture, first: int) -> list[Block]:
    """Blocks of the embeddings; ``first`` is the first layer's first pre-activation."""
    blocks: list[Block] = []
    start = written = 0

    def put(rows: int, columns: int, writes: int, source: Source, level: int) -> Block:
        nonlocal start
        place = slice(start, start + rows * columns)
        start = place.stop
        own = slice(writes, writes + columns)
        return Block(place, (rows, columns), own, None, source, level)

    for i, e in enumerate(architecture.embeddings):
        q, w, columns = e.size, e.width, range(len(e.columns))
        numbers = written + _n_waves(e)
        if e.trained:
            waves = [put(2, q, written + j * q, ("column", i, j), -3) for j in columns]
            blocks += [replace(block, penalised=False) for block in waves]
        elif e.expands:
            start += 2 * len(columns) * q  # constants
        for j in columns:
            at = numbers + j * w
            if e.expands:
                own = [put(q + 1, 1, at + k, ("features", i, j), -2) for k in range(w)]
                blocks += [replace(block, moves=e.trained) for block in own]
            else:
                table = put(e.levels[j], w, at, ("levels", i, j), -2)
                blocks.append(replace(table, constant=False))
        entry = put(e.n_numbers, architecture.sizes[1], first, ("numbers", i, 0), 0)
        blocks.append(replace(entry, constant=False, moves=True))
        written = numbers + e.n_numbers
    return blocks


def chunk_rows(architecture: Architecture) -> int:
    """Rows of a chunk for which no array of a Hessian grows large."""
    sources = max(block.shape[0] for block in block_list(architecture))
    return max(16, CHUNK_NUMBERS // max(sources, n_units(architecture)) ** 2)


def raw_outputs(architecture: Architecture, theta: Tensor, z: Tensor) -> Tensor:
    """Raw outputs (b, m): the network as a function of its parameters and inputs."""
    return _pass(architecture, theta, z, None)[0]


def _pass(
    architecture: Architecture,
    theta: Tensor,
    z: Tensor,
    nudges: Tensor | None,
) -> tuple[Tensor, dict[Source, Tensor]]:
    """Raw outputs, and the values of sources by name.

    `nudges` (b, U) are added to the pre-activations: derivatives in them are those in
    the pre-activations.
    """
    plain = _plain_columns(architecture, z)
    values: dict[Source, Tensor] = {("columns", 0, 0): plain}
    share = _embedded(architecture, theta, z, nudges, values)
    tables = [
        theta[block.place].view(block.shape)
        for block in block_list(architecture)
        if block.source[0] in ("columns", "layer")
    ]
    written = n_units(architecture) - sum(architecture.hidden) - architecture.n_outputs
    flow, last = plain, len(architecture.hidden)
    for i, table in enumerate(tables[: last + 1]):
        u = torch.addmm(table[-1], flow, table[:-1])
        if i == 0 and share is not None:
            u = u + share
        if i == last and architecture.linear_skip:
            u = u + plain @ tables[-1]
        if nudges is not None:
            u = u + nudges[:, written : written + u.shape[1]]
        if i == last:
            return u, values
        written += u.shape[1]
        flow = ACTIVATION_FUNCTIONS[architecture.activations[i]](u)
        values["layer", i, 0] = flow
    raise AssertionError("a network has an output layer")


def _plain_columns(architecture: Architecture, z: Tensor) -> Tensor:
    """Columns that enter the first layer themselves."""
    if architecture.n_plain == architecture.n_inputs:
        return z
    return z[:, list(architecture.plain)]


def _embedded(
    architecture: Architecture,
    theta: Tensor,
    z: Tensor,
    nudges: Tensor | None,
    values: dict[Source, Tensor],
) -> Tensor | None:
    """Add the sources of embeddings; return what they send into the first layer."""
    share, start, written = None, 0, 0
    for i, (e, shapes) in enumerate(
        zip(architecture.embeddings, architecture.embedding_shapes, strict=True)
    ):
        parts = []
        for rows, columns in shapes:
            parts.append(theta[start : start + rows * columns].view(rows, columns))
            start += rows * columns
        stop = written + _n_waves(e)
        bent = nudges[:, written:stop] if nudges is not None and e.trained else None
        if e.expands:
            c, q = len(e.columns), e.size
            bent = None if bent is None else bent.T.reshape(c, q, -1)
            features = features_of(e, parts[0], z, bent)
            for j in range(c):
                values["features", i, j] = features[j].T
            numbers = mapped(e, parts[1], features)
        else:
            numbers = parts[0][codes_of(e, z)].flatten(1)
        written = stop + e.n_numbers
        if nudges is not None:
            numbers = numbers + nudges[:, stop:written]
        values["numbers", i, 0] = numbers
        own = numbers @ parts[-1]
        share = own if share is None else share + own
    return share


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
) -> tuple[Tensor, Tensor, dict[Source, Tensor]]:
    """Pre-activations to differentiate in, and what comes of them."""
    units = n_units(architecture)
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
    architecture: Architecture, z: Tensor, values: dict[Source, Tensor]
) -> list[Tensor]:
    """Return what enters each block, (b, rows of the block)."""
    one = torch.ones((len(z), 1), dtype=z.dtype)
    sources = []
    for block in block_list(architecture):
        name, i, j = block.source
        if name == "levels":
            e = architecture.embeddings[i]
            codes = z[:, e.columns[j]].long()
            found = torch.nn.functional.one_hot(codes, e.levels[j]).to(z.dtype)
        elif name == "column":
            column = architecture.embeddings[i].columns[j]
            found = z[:, column : column + 1]
        else:
            found = values[block.source].detach()
        sources.append(torch.cat([found, one], dim=1) if block.constant else found)
    return sources


def mean_score(architecture: Architecture, sent: Signals, weight: Tensor) -> Tensor:
    """Weighted sum of the rows' scores, (P,).

    ``sum_i w_i g_i`` with ``g_i = s_i x delta_i``; `weight` is (b,).
    """
    total = torch.zeros(architecture.n_parameters, dtype=torch.float64)
    for block, source in zip(block_list(architecture), sent.sources, strict=True):
        score = source.T @ (sent.deltas[:, block.writes] * weight[:, None])
        total[block.place] = score.reshape(-1)
    return total


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
    values : dict of Tensor of shape (b, h, U)
        Of the sources that move, by name; empty for Gauss and Newton.
    deltas : Tensor of shape (b, U, U) or None
        Of the deltas: the curvature of the network.
    """

    raw: Tensor
    values: dict[Source, Tensor]
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
    if first_only or architecture.linear:
        return _Tangents(of_raw, {}, None)
    deltas = _felt(gradient, raw, nudges, create_graph=True)
    moving = {b.source for b in block_list(architecture) if b.moves}
    of_values = {name: _by_column(values[name], nudges) for name in moving}
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
    values: dict[Source, Tensor],
    deltas: Tensor | None,
) -> Tensor:
    """Hessian (P, P) from the sources and the derivatives in pre-activations."""
    P = architecture.n_parameters
    total = torch.zeros((P, P), dtype=torch.float64)
    for (low, s), (high, t) in _pairs(block_list(architecture), sources):
        part = _products(s, t, inner[:, low.writes, high.writes])
        if values and deltas is not None and _above(low, high):
            # What enters the upper block moves with the lower one's pre-activation.
            moved = values[high.source][:, :, low.writes]  # (b, h, low)
            part[:, :, : moved.shape[1]] += _moved_sources(
                s, deltas[:, high.writes], moved
            )
        part = part.reshape(prod(low.shape), prod(high.shape))
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
    return high.moves and low.level < high.level


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
