"""ONNX graphs: onnxruntime predicts what the estimators predict."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_ann import ANNClassifier, ANNRegressor, to_onnx
from sklearn_ann.engine.layers import ACTIVATIONS
from sklearn_ann.engine.losses import LOSSES
from sklearn_ann.onnx_export import register_converters
from sklearn_ann.onnx_graph import ACTIVATIONS as ONNX_ACTIVATIONS
from sklearn_ann.onnx_network import KNOWN, refuse_unknown

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
runtime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
skl2onnx = pytest.importorskip("skl2onnx", reason="needs the package skl2onnx")

QUICK = {
    "hidden_layer_sizes": (5, 4),
    "max_iter": 15,
    "early_stopping": False,
    "random_state": 0,
}
CLOSE = 1e-5

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 3))
X[:, 2] = 2000 + 5 * X[:, 2]  # years
Y = X[:, 0] + 0.5 * X[:, 1] ** 2 + 0.1 * rng.normal(size=80)
WORDS = np.array(["low", "middle", "high"])[np.digitize(Y, [0.0, 1.0])]


def fitted(estimator, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return clone(estimator).fit(X, y)


def run(model, X):
    """What onnxruntime makes of the rows, after ONNX's own check."""
    onnx.checker.check_model(model, full_check=True)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()]
    if isinstance(X, pd.DataFrame):
        given = {name: column_of(X[name])[:, None] for name in names}
    else:
        given = {names[0]: X}
    return session.run(None, given)


def column_of(column):
    """A column as ONNX takes it: text that is missing as an empty one."""
    if pd.api.types.infer_dtype(column, skipna=True) == "string":
        return column.astype(object).fillna("").to_numpy(dtype=object)
    if isinstance(column.dtype, pd.CategoricalDtype):
        texts = column.cat.categories.dtype.kind not in "if"
        return column_of(column.astype(object if texts else float))
    return column.to_numpy()


def assert_close(came, expected):
    expected = np.asarray(expected)
    came = came.reshape(expected.shape)
    gap = np.abs(came - expected) / np.maximum(1.0, np.abs(expected))
    assert gap.max() <= CLOSE
    assert np.ptp(expected) > 0


def check(estimator, X=X, dtype=np.float64, **options):
    """Compare predictions, and probabilities where there are any, on the same rows."""
    rows = X.astype(dtype) if isinstance(X, np.ndarray) else X
    same = rows.astype(np.float64) if isinstance(X, np.ndarray) else X
    outputs = run(to_onnx(estimator, rows, **options), rows)
    if not hasattr(estimator, "predict_proba"):
        (predicted,) = outputs
        assert predicted.dtype == dtype and predicted.ndim == 2
        return assert_close(predicted, estimator.predict(same))
    label, probabilities = outputs
    assert probabilities.dtype == dtype
    assert_close(probabilities, estimator.predict_proba(same))
    np.testing.assert_array_equal(label, estimator.predict(same))


def test_every_activation_has_operators():
    assert ONNX_ACTIVATIONS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations(name, dtype):
    check(fitted(ANNRegressor(**QUICK, activation=name), X, Y), dtype=dtype)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_far_out(name):
    """Where exponentials overflow, and beyond the edges of the cosine."""
    model = fitted(ANNRegressor(**QUICK, activation=name), X, Y)
    check(model, X=X * np.array([300.0, 300.0, 3.0]))


@pytest.mark.parametrize("loss", [name for name in LOSSES if name not in
                                  ("log_loss", "multinomial")])  # fmt: skip
def test_losses(loss):
    check(fitted(ANNRegressor(**QUICK, loss=loss), X, np.exp(Y)))


REGRESSORS = {
    "no hidden layer": {"hidden_layer_sizes": ()},
    "skip": {"linear_skip": True},
    "unscaled": {"standardize": False},
    "one layer": {"hidden_layer_sizes": 7},
    "an activation for each": {"activation": ["tanh", "relu"]},
    "ensemble": {"n_estimators": 3},
    "ensemble, log link": {"n_estimators": 3, "loss": "poisson"},
    "quantiles": {"loss": "quantile", "quantile": (0.1, 0.5, 0.9)},
    "unscaled quantiles": {
        "loss": "quantile", "quantile": (0.1, 0.9), "standardize": False,
    },
    "ensemble of quantiles": {
        "loss": "quantile", "quantile": (0.1, 0.9), "n_estimators": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_regressors(name, dtype):
    check(fitted(ANNRegressor(**{**QUICK, **REGRESSORS[name]}), X, np.exp(Y)),
          dtype=dtype)  # fmt: skip


def test_several_outputs():
    y = np.c_[Y, -Y, Y**2]
    check(fitted(ANNRegressor(**QUICK), X, y))
    check(fitted(ANNRegressor(**QUICK, loss="quantile", quantile=0.2), X, y))


TARGETS = {
    "words": WORDS,
    "objects": WORDS.astype(object),
    "two words": np.array(["no", "yes"])[(Y > 0).astype(int)],
    "truths": Y > 0,
    "numbers": np.where(Y > 0, 7, 5),
    "floats": np.where(Y > 0, 7.0, 5.0),
    "labels": np.c_[Y > 0, Y > 1, X[:, 0] > 0].astype(int),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("n_estimators", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_classifiers(name, n_estimators, dtype):
    model = ANNClassifier(**QUICK, n_estimators=n_estimators)
    check(fitted(model, X, TARGETS[name]), dtype=dtype)


def test_one_class():
    model = fitted(ANNClassifier(**QUICK), X, np.full(len(X), 4))
    label, probabilities = run(to_onnx(model, X), X)
    np.testing.assert_array_equal(label, model.predict(X))
    np.testing.assert_array_equal(probabilities, model.predict_proba(X))


def test_both_tails_of_two_classes():
    """Probabilities of 1e-9 are not lost beside those of almost one."""
    model = fitted(ANNClassifier(()), X, np.where(X[:, 0] > 0, 1, 0) ^ (X[:, 1] > 2))
    rows = X * np.array([40.0, 1.0, 1.0])
    _, probabilities = run(to_onnx(model, rows), rows)
    expected = model.predict_proba(rows)
    assert expected.min() < 1e-9
    np.testing.assert_allclose(probabilities, expected, rtol=1e-9, atol=1e-200)


def frame():
    return pd.DataFrame({"age": X[:, 0], "year": X[:, 2], "region": WORDS[::-1]})


def columns():
    return ColumnTransformer(
        [("scaled", StandardScaler(), ["age", "year"]),
         ("coded", OneHotEncoder(sparse_output=False), ["region"])]
    )  # fmt: skip


@pytest.mark.parametrize("model", [ANNRegressor(**QUICK), ANNClassifier(**QUICK)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pipelines(model, dtype):
    """A scaler computes in the dtype of the rows: in float32 years have few digits."""
    y = Y if isinstance(model, ANNRegressor) else WORDS
    rows = X if dtype == np.float64 else X - [0.0, 0.0, 2000.0]
    model = fitted(make_pipeline(StandardScaler(), model), rows, y)
    check(model, rows, dtype=dtype)


def test_a_table_with_categories():
    pipeline = make_pipeline(columns(), ANNRegressor(**QUICK, n_estimators=2))
    model = fitted(pipeline, frame(), Y)
    outputs = run(to_onnx(model, frame()), frame())
    assert_close(outputs[0], model.predict(frame()))


def test_a_search():
    search = GridSearchCV(make_pipeline(StandardScaler(), ANNClassifier(**QUICK)),
                          {"annclassifier__alpha": [0.1, 1.0]}, cv=2)  # fmt: skip
    check(fitted(search, X, WORDS).best_estimator_)


def test_skl2onnx_itself_converts_a_pipeline():
    register_converters()
    model = fitted(make_pipeline(StandardScaler(), ANNClassifier(**QUICK)), X, WORDS)
    graph = skl2onnx.to_onnx(model, X, options={"zipmap": False})
    assert_close(run(graph, X)[1], model.predict_proba(X))
    rows = X.astype(np.float32)  # ONNX has dicts of float32 only
    dicts = run(skl2onnx.to_onnx(model, rows), rows)[1]
    assert set(dicts[0]) == set(WORDS)


@pytest.mark.parametrize("opset", [12, 15, 21])
def test_opsets(opset):
    for y, estimator in ((Y, ANNRegressor), (WORDS, ANNClassifier)):
        model = fitted(estimator(**QUICK, activation="gelu"), X, y)
        graph = to_onnx(model, X, target_opset=opset)
        assert [i.version for i in graph.opset_import if i.domain == ""] == [opset]
        check(model, target_opset=opset)


def test_shapes_and_types():
    model = fitted(ANNClassifier(**QUICK), X, WORDS)
    graph = to_onnx(model).graph
    described = {
        each.name: (
            each.type.tensor_type.elem_type,
            [d.dim_value or None for d in each.type.tensor_type.shape.dim],
        )
        for each in (*graph.input, *graph.output)
    }
    kinds = onnx.TensorProto
    assert described == {
        "X": (kinds.FLOAT, [None, 3]),
        "label": (kinds.STRING, [None]),
        "probabilities": (kinds.FLOAT, [None, 3]),
    }
    (output,) = to_onnx(fitted(ANNRegressor(**QUICK), X, Y), 3).graph.output
    assert [d.dim_value or None for d in output.type.tensor_type.shape.dim] == [None, 1]


@pytest.mark.parametrize("n", [1, 7, 80])
def test_any_number_of_rows(n):
    model = fitted(ANNRegressor(**QUICK, activation="relu"), X, Y)
    (predicted,) = run(to_onnx(model, X[:2]), X[:n])
    np.testing.assert_allclose(predicted[:, 0], model.predict(X[:n]), rtol=1e-9)


def test_whole_numbers_as_inputs():
    whole = np.round(10 * X).astype(np.int64)
    model = fitted(ANNRegressor(**QUICK), whole, Y)
    (predicted,) = run(to_onnx(model, whole), whole)
    assert_close(predicted, model.predict(whole))


def test_large_weights_are_not_cut():
    model = fitted(
        ANNRegressor((300, 300), max_iter=1, early_stopping=False, random_state=0), X, Y
    )
    assert len(to_onnx(model, X).SerializeToString()) > 8 * 300 * 300
    check(model)


# ------------------------------------------------------- defaults, tables, embeddings

OWN = {"hidden_layer_sizes": (6, 4), "max_iter": 5, "random_state": 0}
DESIGNS = {
    "defaults": {},
    "waves": {"numeric_embedding": "periodic"},
    "one network": {"n_estimators": 1},
    "ramps of standard units": {
        "early_stopping": False,
        "numeric_embedding": "piecewise_linear",
    },
    "waves of standard units": {
        "early_stopping": False,
        "numeric_embedding": "periodic",
    },
    "robust": {"early_stopping": False, "standardize": "robust"},
    "textbook": {"early_stopping": False},
}


def many(n=400):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(n, 3)) * [1.0, 1.0, 5.0] + [0.0, 0.0, 2000.0]
    return rows, rows[:, 0] + np.abs(rows[:, 1]) + 0.1 * rng.normal(size=n)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_designs_and_embeddings(design, dtype):
    rows, y = many()
    model = fitted(ANNRegressor(**OWN, **DESIGNS[design]), rows, y)
    check(model, rows, dtype=dtype)
    check(model, rows * [1e3, 1e150, 1.0] if dtype == np.float64 else rows * 10)
    gaps = np.where(np.arange(len(rows))[:, None] % [3, 5, 7] == 0, np.nan, rows)
    check(model, gaps, dtype=dtype)
    check(fitted(ANNRegressor(**OWN, **DESIGNS[design]), gaps, y), gaps, dtype=dtype)
    check(fitted(ANNClassifier(**OWN, **DESIGNS[design]), gaps, y > 1), gaps)


def table():
    """Text, categories of numbers, many levels, truths, and missing values."""
    rows, y = many()
    n = len(y)
    frame = pd.DataFrame(rows[:, :2], columns=["age", "hours"])
    frame["firm"] = [f"firm {i % 40}" for i in range(n)]
    frame["region"] = np.array(["north", "south", "west"])[np.arange(n) % 3]
    frame["year"] = pd.Categorical(2000 + np.arange(n) % 4)
    frame["union"] = y > 1
    frame.loc[::7, ["age", "region", "year"]] = None
    return frame, y


@pytest.mark.parametrize("options", [{}, {"early_stopping": False}])
def test_tables(options):
    """Levels that the fit had not seen included, and gaps where it had none."""
    frame, y = table()
    later = frame.copy()
    later.loc[::3, "firm"] = "a new one"
    later["year"] = later["year"].astype(float)
    later.loc[::5, ["hours", "year"]] = None
    later.loc[1::5, "year"] = 1999.0
    for Estimator, target in ((ANNRegressor, y), (ANNClassifier, y > 1)):
        model = fitted(Estimator(**OWN, **options), frame, target)
        expected = getattr(model, "predict_proba", model.predict)
        graph = to_onnx(model, frame)
        assert [each.name for each in graph.graph.input] == list(frame.columns)
        for rows in (frame, later):
            assert_close(run(graph, rows)[-1], expected(rows))


@pytest.mark.parametrize("levels", [3, 40])
def test_arrays_with_categories(levels):
    rows, y = many()
    rows[:, 0] = 1.5 * (np.arange(len(rows)) % levels)
    model = fitted(ANNRegressor(**OWN, categorical_features=[0]), rows, y)
    check(model, rows)
    rows[::2, 0], rows[1::6, 0] = 0.7, np.nan  # never seen, and missing
    check(model, rows)


def test_text_needs_a_frame():
    frame, y = table()
    model = fitted(ANNRegressor(**OWN), frame, y)
    with pytest.raises(NotImplementedError, match="rows as a DataFrame"):
        to_onnx(model)
    spans = pd.DataFrame({"age": pd.cut(frame["hours"], 4), "hours": frame["hours"]})
    model = fitted(ANNRegressor(**OWN), spans, y)
    with pytest.raises(NotImplementedError, match="texts and numbers"):
        to_onnx(model, spans)


def test_what_cannot_be_converted():
    with pytest.raises(NotFittedError):
        to_onnx(ANNRegressor(), X)
    model = fitted(ANNClassifier(**QUICK), X, Y > 0)
    model.classes_ = np.array([0.5, 1.5])  # such as scikit-learn may take one day
    with pytest.raises(NotImplementedError, match="whole numbers or strings"):
        to_onnx(model, X)


def test_a_network_with_more_in_it_is_refused():
    """No field of a network may be left out of its graph without a word."""
    from dataclasses import make_dataclass

    model = fitted(ANNRegressor(**OWN), *table())._model.models[0]
    refuse_unknown(model, model.units, model.architecture, model.parameters)
    Wider = make_dataclass("Wider", ["weights", ("embeddings", list, None)])
    KNOWN[Wider] = {"weights"}
    try:
        refuse_unknown(Wider([1]))
        with pytest.raises(NotImplementedError, match="embeddings"):
            refuse_unknown(Wider([1], [2]))
    finally:
        del KNOWN[Wider]


def test_without_skl2onnx(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"sklearn-ann\[onnx\]"):
        to_onnx(ANNRegressor(), X)
