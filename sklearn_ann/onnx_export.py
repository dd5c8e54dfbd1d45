"""`to_onnx`: fitted networks, and Pipelines with them, as ONNX graphs.

skl2onnx walks through a Pipeline and asks for a converter for each step; here are those
of this package. `onnx_network.py` writes their networks into a graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .estimators import ANNClassifier, ANNRegressor
from .frames import Coding
from .onnx_graph import Graph, times
from .onnx_network import mean, members_of, predictions, raw_outputs


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


def _output(g: Graph, value: str, variable: Any) -> None:
    """Write a table out, in the type declared for it."""
    kind = "DOUBLE" if "Double" in type(variable.type).__name__ else "FLOAT"
    g.cast(value, kind, output=variable.full_name)


def _regressor_shapes(operator: Any) -> None:
    model = members_of(operator.raw_operator)[0]
    n = operator.inputs[0].type.shape[0] if operator.inputs[0].type.shape else None
    operator.outputs[0].type.shape = [n, model.architecture.n_outputs]


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    g = Graph(scope, container)
    x = _input(g, operator)
    members = members_of(operator.raw_operator)
    predicted = mean(g, [predictions(g, model, x) for model in members])
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
    members = members_of(estimator)
    if estimator._target.kind != "binary":
        return mean(g, [predictions(g, model, x) for model in members])
    odds = [raw_outputs(g, model, x) for model in members]
    if len(estimator.classes_) == 1:
        return g("Exp", times(g, odds[0], 0.0))
    tails = [g("Concat", g("Neg", raw), raw, axis=1) for raw in odds]
    return mean(g, [g("Sigmoid", tail) for tail in tails])
