"""An ONNX graph that is built node by node, and activations as nodes.

Graphs compute in float64, as prediction does: folded weights multiply raw columns, and
in float32 a column of years would lose its digits before it is centred. Operators that
runtimes know in float32 only are spelled out in others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


class Graph:
    """Nodes of one estimator: a call adds one and returns the name of its output."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container = scope, container
        self.designed: dict[int, str] = {}

    def __call__(
        self, operator: str, *inputs: str, output: str | None = None, **attributes: Any
    ) -> str:
        """Add a node."""
        output = output or self._scope.get_unique_variable_name(operator.lower())
        name = self._scope.get_unique_operator_name(operator)
        self._container.add_node(
            operator, list(inputs), [output], name=name, **attributes
        )
        return output

    def constant(self, value: Any) -> str:
        """Add a constant: strings, int64, or else float64."""
        from onnx import TensorProto

        array = np.asarray(value)
        kinds = {"U": TensorProto.STRING, "i": TensorProto.INT64}
        kind = kinds.get(array.dtype.kind, TensorProto.DOUBLE)
        name = self._scope.get_unique_variable_name("constant")
        items = array.ravel().tolist()
        if kind == TensorProto.STRING:
            items = [item.encode() for item in items]
        self._container.add_initializer(name, kind, list(array.shape), items)
        return name

    def lookup(self, texts: str, keys: list[str]) -> str:
        """Add places of texts in a list, float32, NaN for those that are not in it."""
        return self(
            "LabelEncoder",
            texts,
            op_domain="ai.onnx.ml",
            op_version=2,
            keys_strings=keys,
            values_floats=[float(place) for place in range(len(keys))],
            default_float=float("nan"),
        )

    def cast(self, value: str, kind: str, output: str | None = None) -> str:
        """Add a cast to "DOUBLE", "FLOAT" or "INT64"."""
        from onnx import TensorProto

        return self("Cast", value, to=getattr(TensorProto, kind), output=output)


Unary = Callable[[Graph, str], str]


def times(g: Graph, z: str, factor: float) -> str:
    """Multiply by a number."""
    return g("Mul", z, g.constant(factor))


def _elu(g: Graph, z: str) -> str:
    # exp(z) - 1 below zero, where it is no larger than 1: no digits that matter go.
    below = g("Sub", g("Exp", g("Min", z, g.constant(0.0))), g.constant(1.0))
    return g("Add", g("Relu", z), below)


def _selu(g: Graph, z: str) -> str:
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    below = g("Sub", g("Exp", g("Min", z, g.constant(0.0))), g.constant(1.0))
    return times(g, g("Add", g("Relu", z), times(g, below, alpha)), scale)


def softplus(g: Graph, z: str) -> str:
    """``log(1 + exp(z))``, as ``max(z, 0) + log(1 + exp(-|z|))``."""
    small = g("Exp", g("Neg", g("Abs", z)))
    return g("Add", g("Relu", z), g("Log", g("Add", small, g.constant(1.0))))


def _gelu(g: Graph, z: str) -> str:
    # erf is known in float32 only: an absolute error of 1e-7 of a number below 2.
    erf = g("Erf", g.cast(times(g, z, 1 / math.sqrt(2)), "FLOAT"))
    twice = g("Add", g.cast(erf, "DOUBLE"), g.constant(1.0))
    return times(g, g("Mul", z, twice), 0.5)


def _cosine(g: Graph, z: str) -> str:
    edge = math.pi / 2
    inside = g("Min", g("Max", z, g.constant(-edge)), g.constant(edge))
    return times(g, g("Add", g("Sin", inside), g.constant(1.0)), 0.5)


ACTIVATIONS: dict[str, Unary] = {
    "identity": lambda g, z: z,
    "logistic": lambda g, z: g("Sigmoid", z),
    "tanh": lambda g, z: g("Tanh", z),
    "cosine": _cosine,
    "relu": lambda g, z: g("Relu", z),
    "leaky_relu": lambda g, z: g("Max", z, times(g, z, 0.01)),
    "elu": _elu,
    "selu": _selu,
    "softplus": softplus,
    "gelu": _gelu,
    "silu": lambda g, z: g("Mul", z, g("Sigmoid", z)),
}
