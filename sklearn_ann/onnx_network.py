"""Fitted networks as nodes of an ONNX graph: from a table of numbers to predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from .design import Design, Levels
from .encoding import Scaling
from .engine.architecture import Architecture, Parameters
from .engine.embeddings import Embedding
from .model import Model, Units
from .onnx_graph import ACTIVATIONS, Graph, softplus, times

# What the lines below read: no network is converted to one with less in it.
KNOWN = {
    Model: {"architecture", "loss", "units", "parameters"},
    Units: {"inputs", "targets", "design", "fill"},
    Design: {
        "numbers",
        "scaling",
        "clip",
        "fill",
        "gaps",
        "one_hot",
        "lookups",
        "expansion",
    },
    Levels: {"column", "codes"},
    Architecture: {
        "n_inputs",
        "hidden",
        "n_outputs",
        "activations",
        "linear_skip",
        "embeddings",
    },
    Embedding: {"kind", "columns", "width", "size", "levels", "sigma", "trained"},
    Parameters: {"weights", "biases", "skip", "embeddings", "n_numbers"},
}


def refuse_unknown(*parts: Any) -> None:
    """Refuse what has something in it that no line here reads.

    Raises
    ------
    NotImplementedError
    """
    for part in parts:
        for f in fields(part):
            default = () if f.default is MISSING else f.default
            if f.name in KNOWN[type(part)]:
                continue
            if getattr(part, f.name) not in (None, False, (), default):
                raise NotImplementedError(
                    f"This network has {f.name}, for which there are no ONNX operators "
                    "here. Encode such columns in a Pipeline step before it."
                )


def members_of(estimator: Any) -> tuple[Model, ...]:
    """Return the networks of an estimator: one, or an ensemble's."""
    model = estimator._model
    return getattr(model, "models", (model,))


def _ascending(g: Graph, raw: str, n: int) -> str:
    """Several quantiles: sums of softplus steps from the first one, (n, q)."""
    first = g("Gather", raw, g.constant(np.array([0])), axis=1)
    rest = g("Gather", raw, g.constant(np.arange(1, n)), axis=1)
    steps = g("Concat", first, softplus(g, rest), axis=1)
    return g("CumSum", steps, g.constant(np.array(1)))


def predictions(g: Graph, model: Model, x: str) -> str:
    """Predictions of one network on the scale of the response, (n, m)."""
    raw, name = raw_outputs(g, model, x), model.loss.name
    if name in ("poisson", "gamma"):
        return g("Exp", raw)
    if name == "log_loss":
        return g("Sigmoid", raw)
    if name == "multinomial":
        return g("Softmax", raw, axis=1)
    levels = dict(model.loss.parameters).get("quantile", ())
    if len(levels) > 1:
        raw = _ascending(g, raw, len(levels))
    if not model.folds_targets:
        assert model.targets is not None
        raw = g("Mul", raw, g.constant(model.targets.scale))
        raw = g("Add", raw, g.constant(model.targets.mean))
    return raw


def mean(g: Graph, values: Sequence[str]) -> str:
    """Mean of what the members of an ensemble predict."""
    if len(values) == 1:
        return values[0]
    total = values[0]
    for value in values[1:]:
        total = g("Add", total, value)
    return g("Div", total, g.constant(float(len(values))))


def raw_outputs(g: Graph, model: Model, x: str) -> str:
    """Raw outputs (n, m) of one network."""
    parameters, architecture = model.parameters, model.architecture
    assert parameters is not None, "not fitted"
    refuse_unknown(model, model.units, architecture, parameters)
    x = _prepared(g, model, x)
    a, plain = _entering(g, architecture, parameters, x)
    names = ("identity", *architecture.activations)
    for name, weight, bias in zip(
        names, parameters.weights, parameters.biases, strict=True
    ):
        a = ACTIVATIONS[name](g, a)
        a = g("Add", g("MatMul", a, g.constant(weight)), g.constant(bias))
    if parameters.skip is not None:
        a = g("Add", a, g("MatMul", plain, g.constant(parameters.skip)))
    return a


def _prepared(g: Graph, model: Model, x: str) -> str:
    """Columns in the units of the parameters, (n, n_inputs), without gaps."""
    units = model.units
    if units.design is not None:
        return _designed(g, units.design, x)
    if units.fill is not None:
        x = g("Where", _is_missing(g, x), g.constant(units.fill), x)
    if model.folds_inputs:
        return x
    assert units.inputs is not None
    return _scaled(g, units.inputs, x)


def _is_missing(g: Graph, x: str) -> str:
    return g("Not", g("Equal", x, x))  # IsNaN is known in float32 only, here and there


def _scaled(g: Graph, scaling: Scaling, x: str) -> str:
    centred = g("Sub", x, g.constant(scaling.mean))
    return g("Div", centred, g.constant(scaling.scale))


def _designed(g: Graph, design: Design, x: str) -> str:
    """Do what `Design.matrix` does, (n, n_inputs); once for members that share it."""
    if id(design) not in g.designed:
        refuse_unknown(design, *design.one_hot, *design.lookups)
        parts = [] if not len(design.numbers) else _numbers(g, design, x)
        parts += [_one_hot(g, levels, x) for levels in design.one_hot]
        parts += [g.cast(_codes(g, own, x), "DOUBLE") for own in design.lookups]
        g.designed[id(design)] = g("Concat", *parts, axis=1)
    return g.designed[id(design)]


def _numbers(g: Graph, design: Design, x: str) -> list[str]:
    """Numbers, and columns that say where they were missing."""
    part = g("Gather", x, g.constant(design.numbers), axis=1)
    missing = _is_missing(g, part)
    z = g("Where", missing, g.constant(design.fill), part)
    if design.scaling is not None:
        z = _scaled(g, design.scaling, z)
    if design.clip is not None:
        z = _soft_clip(g, z, design.clip)
    if not len(design.gaps):
        return [z]
    gaps = g("Gather", g.cast(missing, "DOUBLE"), g.constant(design.gaps), axis=1)
    return [z, gaps]


def _soft_clip(g: Graph, z: str, end: float) -> str:
    """`soft_clip`, whose hypot is spelled out by the larger of its two sides."""
    larger = g("Max", g("Abs", times(g, z, 1.0 / end)), g.constant(1.0))
    one = g("Div", g.constant(1.0), larger)
    other = times(g, g("Div", z, larger), 1.0 / end)
    squares = g("Add", g("Mul", one, one), g("Mul", other, other))
    return g("Div", g("Div", z, larger), g("Sqrt", squares))


def _codes(g: Graph, levels: Levels, x: str) -> str:
    """Codes in the design, (n, 1), int64, of raw ones."""
    other = len(levels.codes) - 1
    raw = g("Gather", x, g.constant(np.array([levels.column])), axis=1)
    raw = g("Where", _is_missing(g, raw), g.constant(float(other)), raw)
    raw = g.cast(g("Min", raw, g.constant(float(other))), "INT64")
    return g("Gather", g.constant(levels.codes), raw, axis=0)


def _one_hot(g: Graph, levels: Levels, x: str) -> str:
    each = g.constant(np.arange(1, levels.count + 1))
    return g.cast(g("Equal", _codes(g, levels, x), each), "DOUBLE")


def _entering(
    g: Graph, architecture: Architecture, parameters: Parameters, x: str
) -> tuple[str, str]:
    """Return what enters the first layer, and the plain columns of it."""
    if not architecture.embeddings:
        return x, x
    plain = g("Gather", x, g.constant(np.array(architecture.plain)), axis=1)
    numbers = [
        _embedded(g, embedding, own, x)
        for embedding, own in zip(
            architecture.embeddings, parameters.embeddings, strict=True
        )
    ]
    return g("Concat", plain, *numbers, axis=1), plain


def _embedded(
    g: Graph, embedding: Embedding, own: tuple[np.ndarray, ...], x: str
) -> str:
    """Numbers (n, c w) that one embedding makes of its columns."""
    refuse_unknown(embedding)
    c, w = len(embedding.columns), embedding.width
    columns = g("Gather", x, g.constant(np.array(embedding.columns)), axis=1)
    if embedding.expands:
        each = g("Reshape", columns, g.constant(np.array([-1, c, 1])))
        first, second = own[0].reshape(c, 2, embedding.size).swapaxes(0, 1)
        features = FEATURES[embedding.kind](g, each, first, second)
        rows = g("Reshape", features, g.constant(np.array([-1, c, 1, embedding.size])))
        maps = own[1].reshape(c, w, -1).swapaxes(1, 2)
        found = g("MatMul", rows, g.constant(maps[:, :-1]))
        found = g("Add", found, g.constant(maps[:, -1:]))
    else:
        codes = g("Add", g.cast(columns, "INT64"), g.constant(embedding.offsets))
        found = g("Gather", g.constant(own[0]), codes, axis=0)
    return g("Reshape", found, g.constant(np.array([-1, c * w])))


def _waves(g: Graph, x: str, frequency: np.ndarray, phase: np.ndarray) -> str:
    # A cosine is known in float32 only: a sine a quarter of a turn further.
    angle = g("Mul", x, g.constant(frequency))
    return g("Sin", g("Add", angle, g.constant(phase + math.pi / 2)))


def _ramps(g: Graph, x: str, low: np.ndarray, steepness: np.ndarray) -> str:
    floor, ceiling = np.zeros(low.shape[1]), np.ones(low.shape[1])
    floor[0], ceiling[-1] = -np.inf, np.inf
    z = g("Mul", g("Sub", x, g.constant(low)), g.constant(steepness))
    return g("Max", g("Min", z, g.constant(ceiling)), g.constant(floor))


FEATURES = {"periodic": _waves, "piecewise_linear": _ramps}
