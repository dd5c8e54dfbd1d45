"""`to_onnx`: fitted networks, and Pipelines with them, as ONNX graphs.

skl2onnx walks through a Pipeline and asks for a converter for each step; here are those
of this package. Graphs compute in float64, as prediction does: folded weights multiply
raw columns, and in float32 a column of years would lose its digits before it is
centred. Operators that runtimes know in float32 only are spelled out in others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .design import Design, Levels
from .encoding import Scaling
from .engine.architecture import Architecture, Parameters
from .engine.embeddings import Embedding
from .estimators import ANNClassifier, ANNRegressor
from .frames import Coding
from .model import Model, Units


def to_onnx(estimator: Any, X: Any = None, *, target_opset: Any = None) -> Any:
    """Convert a fitted estimator, or a Pipeline around it, to ONNX.

    Parameters
    ----------
    estimator : estimator
        A fitted `ANNRegressor` or `ANNClassifier`, ensembles included, or whatever
        skl2onnx converts with one inside, such as a Pipeline.
    X : {array, DataFrame} or int, default=None
        Some rows as they will come, for the types of the inputs: an array of shape
        (n, d) makes one input "X" of its dtype, a DataFrame one input (n, 1) for each
        column, by its name. A number, or None, stands for so many columns of float32.
    target_opset : int or dict, default=None
        Newest operators that may be used; by default the newest that skl2onnx knows.
        At least 12.

    Returns
    -------
    onnx.ModelProto
        Write it with ``path.write_bytes(model.SerializeToString())``. A regressor has
        the output "variable", (n, n_outputs), with one column for each quantile where
        several were fitted. A classifier has "label", (n,), whole numbers or strings,
        and "probabilities", (n, n_classes), in the order of `classes_`; multilabel
        "label" is (n, n_labels).

    Raises
    ------
    ImportError
        When skl2onnx is not installed.
    NotFittedError
        When the estimator is not fitted.
    NotImplementedError
        When the network has something in it that ONNX cannot say, or was fitted to
        columns of text and X is no DataFrame.

    Notes
    -----
    Inputs and outputs of float32 are rounded to it on the way in and out; in between
    the network computes in float64. Predictions are within 1e-5 of those of the
    estimator, on the same rows, relative to their size where that is above one. Other
    steps of a Pipeline compute in the dtype of the inputs: give rows of float64 where
    a column has a large mean and little spread, such as years.

    Missing numbers are filled in the graph as in prediction, and levels that the fit
    had not seen are treated as missing. ONNX has no missing text: give "" in its place.

    After ``sklearn_ann.onnx_export.register_converters()``, functions of skl2onnx
    itself convert our estimators too.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_ann import ANNClassifier, to_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> graph = to_onnx(ANNClassifier(()).fit(X, y), X)  # doctest: +SKIP
    >>> [output.name for output in graph.graph.output]  # doctest: +SKIP
    ['label', 'probabilities']
    """
    skl2onnx = register_converters()
    check_is_fitted(estimator)
    X = getattr(estimator, "n_features_in_", None) if X is None else X
    types = None
    if isinstance(X, int | np.integer):
        types = [("X", skl2onnx.common.data_types.FloatTensorType([None, int(X)]))]
        X = None
    elif isinstance(X, np.ndarray):
        X = X[:1]
    elif isinstance(X, pd.DataFrame):
        X = pd.DataFrame({name: _plain(X[name]) for name in X.columns})
    return skl2onnx.to_onnx(
        estimator,
        X,
        initial_types=types,
        target_opset=target_opset,
        options=_tables_of_probabilities(estimator),
    )


def _plain(column: pd.Series) -> pd.Series:
    """One value of a column, of a dtype that skl2onnx can tell the type of.

    Levels count as what they are: text or numbers.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = pd.Series(column.cat.categories)
    elif isinstance(column.dtype, np.dtype) and column.dtype != object:
        return column[:1].reset_index(drop=True)
    is_text = pd.api.types.infer_dtype(column, skipna=True) == "string"
    return pd.Series([""], dtype=object) if is_text else pd.Series([0.0])


def _tables_of_probabilities(estimator: Any) -> dict[Any, dict[str, bool]]:
    """Options that say: tables, not lists of dicts, which skl2onnx has by default."""
    last = estimator
    while isinstance(last, Pipeline):
        last = last[-1]
    options: dict[Any, dict[str, bool]] = {ANNClassifier: {"zipmap": False}}
    if is_classifier(last):
        options[id(last)] = {"zipmap": False}
    return options


def register_converters() -> Any:
    """Teach skl2onnx our estimators; return the package.

    Raises
    ------
    ImportError
        When it is not installed.
    """
    try:
        import skl2onnx
    except ImportError as error:
        raise ImportError(
            "to_onnx needs skl2onnx. Install it with pip install 'sklearn-ann[onnx]'."
        ) from error
    skl2onnx.update_registered_converter(
        ANNRegressor, "SklearnAnnRegressor", _regressor_shapes, _convert_regressor
    )
    skl2onnx.update_registered_converter(
        ANNClassifier,
        "SklearnAnnClassifier",
        _classifier_shapes,
        _convert_classifier,
        # What skl2onnx asks of a classifier whose probabilities become dicts.
        options={"zipmap": [True, False, "columns"], "nocl": [False]},
    )
    return skl2onnx


# -------------------------------------------------------------------------- graphs


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


def _times(g: Graph, z: str, factor: float) -> str:
    return g("Mul", z, g.constant(factor))


def _elu(g: Graph, z: str) -> str:
    # exp(z) - 1 below zero, where it is no larger than 1: no digits that matter go.
    below = g("Sub", g("Exp", g("Min", z, g.constant(0.0))), g.constant(1.0))
    return g("Add", g("Relu", z), below)


def _selu(g: Graph, z: str) -> str:
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    below = g("Sub", g("Exp", g("Min", z, g.constant(0.0))), g.constant(1.0))
    return _times(g, g("Add", g("Relu", z), _times(g, below, alpha)), scale)


def _softplus(g: Graph, z: str) -> str:
    # max(z, 0) + log(1 + exp(-|z|))
    small = g("Exp", g("Neg", g("Abs", z)))
    return g("Add", g("Relu", z), g("Log", g("Add", small, g.constant(1.0))))


def _gelu(g: Graph, z: str) -> str:
    # erf is known in float32 only: an absolute error of 1e-7 of a number below 2.
    erf = g("Erf", g.cast(_times(g, z, 1 / math.sqrt(2)), "FLOAT"))
    twice = g("Add", g.cast(erf, "DOUBLE"), g.constant(1.0))
    return _times(g, g("Mul", z, twice), 0.5)


def _cosine(g: Graph, z: str) -> str:
    edge = math.pi / 2
    inside = g("Min", g("Max", z, g.constant(-edge)), g.constant(edge))
    return _times(g, g("Add", g("Sin", inside), g.constant(1.0)), 0.5)


ACTIVATIONS: dict[str, Unary] = {
    "identity": lambda g, z: z,
    "logistic": lambda g, z: g("Sigmoid", z),
    "tanh": lambda g, z: g("Tanh", z),
    "cosine": _cosine,
    "relu": lambda g, z: g("Relu", z),
    "leaky_relu": lambda g, z: g("Max", z, _times(g, z, 0.01)),
    "elu": _elu,
    "selu": _selu,
    "softplus": _softplus,
    "gelu": _gelu,
    "silu": lambda g, z: g("Mul", z, g("Sigmoid", z)),
}


def _raw(g: Graph, model: Model, x: str) -> str:
    """Raw outputs (n, m) of one network."""
    parameters, architecture = model.parameters, model.architecture
    assert parameters is not None, "not fitted"
    _refuse_unknown(model, model.units, architecture, parameters)
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


# -------------------------------------------------------------------------- tables


def _designed(g: Graph, design: Design, x: str) -> str:
    """Do what `Design.matrix` does, (n, n_inputs); once for members that share it."""
    if id(design) not in g.designed:
        _refuse_unknown(design, *design.one_hot, *design.lookups)
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
    larger = g("Max", g("Abs", _times(g, z, 1.0 / end)), g.constant(1.0))
    one = g("Div", g.constant(1.0), larger)
    other = _times(g, g("Div", z, larger), 1.0 / end)
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


def _encoded(g: Graph, name: str, levels: np.ndarray) -> str:
    """Raw codes (n, 1) of a column of levels, NaN for what is none of them."""
    if all(isinstance(level, str) for level in levels):
        return g.cast(g.lookup(name, levels.tolist()), "DOUBLE")
    if not all(isinstance(level, float) for level in levels):
        raise NotImplementedError(
            f"A column has the levels {levels[:3]}, and ONNX knows texts and numbers "
            "only. Turn them into one of these before the fit."
        )
    is_level = g("Equal", g.cast(name, "DOUBLE"), g.constant(levels.astype(float)))
    found = g.cast(is_level, "DOUBLE")
    # One row more than levels: so there is one where a column has none.
    places = np.c_[np.arange(len(levels)), np.ones(len(levels))]
    pair = g("MatMul", found, g.constant(places.astype(float)))
    code = g("Gather", pair, g.constant(np.array([0])), axis=1)
    known = g("Gather", pair, g.constant(np.array([1])), axis=1)
    is_known = g("Not", g("Less", known, g.constant(0.5)))
    return g("Where", is_known, code, g.constant(np.nan))


# ---------------------------------------------------------------------- embeddings


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
    _refuse_unknown(embedding)
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


# What the lines above read: no network is converted to one with less in it.
_KNOWN = {
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


def _refuse_unknown(*parts: Any) -> None:
    for part in parts:
        for f in fields(part):
            default = () if f.default is MISSING else f.default
            if f.name in _KNOWN[type(part)]:
                continue
            if getattr(part, f.name) not in (None, False, (), default):
                raise NotImplementedError(
                    f"This network has {f.name}, for which there are no ONNX operators "
                    "here. Encode such columns in a Pipeline step before it."
                )


def _ascending(g: Graph, raw: str, n: int) -> str:
    """Several quantiles: sums of softplus steps from the first one, (n, q)."""
    first = g("Gather", raw, g.constant(np.array([0])), axis=1)
    rest = g("Gather", raw, g.constant(np.arange(1, n)), axis=1)
    steps = g("Concat", first, _softplus(g, rest), axis=1)
    return g("CumSum", steps, g.constant(np.array(1)))


def _predictions(g: Graph, model: Model, x: str) -> str:
    """Predictions of one network on the scale of the response, (n, m)."""
    raw, name = _raw(g, model, x), model.loss.name
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


def _mean(g: Graph, values: Sequence[str]) -> str:
    """Mean of what the members of an ensemble predict."""
    if len(values) == 1:
        return values[0]
    total = values[0]
    for value in values[1:]:
        total = g("Add", total, value)
    return g("Div", total, g.constant(float(len(values))))


def _members(estimator: Any) -> tuple[Model, ...]:
    model = estimator._model
    return getattr(model, "models", (model,))


# ---------------------------------------------------------------------- converters


def _input(g: Graph, operator: Any) -> str:
    """Return the columns as one table of float64, levels as codes."""
    coding = operator.raw_operator._coding
    names = [each.full_name for each in operator.inputs]
    if coding is None:
        return _side_by_side(g, [g.cast(name, "DOUBLE") for name in names])
    if len(names) != len(coding.is_categorical):
        names = _columns(g, operator, coding)
    levels = iter(coding.levels)
    return _side_by_side(
        g,
        [
            _encoded(g, name, next(levels)) if is_level else g.cast(name, "DOUBLE")
            for name, is_level in zip(names, coding.is_categorical, strict=True)
        ],
    )


def _side_by_side(g: Graph, names: list[str]) -> str:
    return names[0] if len(names) == 1 else g("Concat", *names, axis=1)


def _columns(g: Graph, operator: Any, coding: Coding) -> list[str]:
    """Cut one table of numbers into its columns.

    Raises
    ------
    NotImplementedError
        When some are text.
    """
    if any(isinstance(level, str) for own in coding.levels for level in own):
        raise NotImplementedError(
            "This network was fitted to columns of text, and a table of ONNX is all "
            "text or all numbers. Give to_onnx some rows as a DataFrame, for one input "
            "a column, or encode the text in a Pipeline step before the network."
        )
    table = _side_by_side(g, [g.cast(i.full_name, "DOUBLE") for i in operator.inputs])
    return [
        g("Gather", table, g.constant(np.array([j])), axis=1)
        for j in range(len(coding.is_categorical))
    ]


def _output(g: Graph, value: str, variable: Any) -> None:
    """Write a table out, in the type declared for it."""
    kind = "DOUBLE" if "Double" in type(variable.type).__name__ else "FLOAT"
    g.cast(value, kind, output=variable.full_name)


def _regressor_shapes(operator: Any) -> None:
    model = _members(operator.raw_operator)[0]
    n = operator.inputs[0].type.shape[0] if operator.inputs[0].type.shape else None
    operator.outputs[0].type.shape = [n, model.architecture.n_outputs]


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    g = Graph(scope, container)
    x = _input(g, operator)
    members = _members(operator.raw_operator)
    predicted = _mean(g, [_predictions(g, model, x) for model in members])
    _output(g, predicted, operator.outputs[0])


def _labels(estimator: Any) -> np.ndarray:
    """Return class labels as whole numbers or strings.

    Raises
    ------
    NotImplementedError
        When they are neither.
    """
    labels = np.asarray(estimator.classes_)
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64)
    if all(isinstance(label, str) for label in labels.tolist()):
        return labels.astype(str)
    if labels.dtype.kind == "f" and (labels == np.floor(labels)).all():
        return labels.astype(np.int64)
    raise NotImplementedError(
        f"ONNX has labels that are whole numbers or strings; these are {labels[:5]}. "
        "Encode them as one of the two."
    )


def _classifier_shapes(operator: Any) -> None:
    from skl2onnx.common import data_types

    estimator = operator.raw_operator
    n = operator.inputs[0].type.shape[0] if operator.inputs[0].type.shape else None
    labels, k = _labels(estimator), len(estimator.classes_)
    several = estimator._target.kind == "multilabel"
    text = labels.dtype.kind == "U" and not several
    kind = data_types.StringTensorType if text else data_types.Int64TensorType
    operator.outputs[0].set_type(kind([n, k] if several else [n]))
    operator.outputs[1].type.shape = [n, k]


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    g, estimator = Graph(scope, container), operator.raw_operator
    x = _input(g, operator)
    probabilities = _probabilities(g, estimator, x)
    label, table = operator.outputs
    if estimator._target.kind == "multilabel":
        none = g("Less", probabilities, g.constant(0.5))
        g.cast(g("Not", none), "INT64", output=label.full_name)
    else:
        best = g("ArgMax", probabilities, axis=1, keepdims=0)
        classes = g.constant(_labels(estimator))
        g("Gather", classes, best, axis=0, output=label.full_name)
    _output(g, probabilities, table)


def _probabilities(g: Graph, estimator: Any, x: str) -> str:
    """Probabilities (n, n_classes), float64."""
    members = _members(estimator)
    if estimator._target.kind != "binary":
        return _mean(g, [_predictions(g, model, x) for model in members])
    odds = [_raw(g, model, x) for model in members]
    if len(estimator.classes_) == 1:
        return g("Exp", _times(g, odds[0], 0.0))
    tails = [g("Concat", g("Neg", raw), raw, axis=1) for raw in odds]
    return _mean(g, [g("Sigmoid", tail) for tail in tails])
