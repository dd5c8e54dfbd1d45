"""Hypothesis strategies: tables, targets, weights and parameters of every kind.

Numbers come from a seeded generator, the kinds of things from Hypothesis: so what
shrinks is the kind of table that breaks something, and cases are cheap to draw.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse as sp
import torch
from hypothesis import strategies as st

from sklearn_ann.parameters import REGRESSION_LOSSES

SIZES = [1, 2, 3, 5, 10, 30, 49, 50, 60]
NUMBERS = ["normal", "few", "constant", "wild", "zero"]
SPARSE = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]
DTYPES = ["f8", "f4", "f2", "i8", "i4", "u1", "?", "O", ">f8", "f16"]
LAYOUTS = ["C", "F", "rows backwards", "columns backwards", "every other", "read-only",
           "broadcast", "list", "torch", "memory map", "offset"]  # fmt: skip


def generator():
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


# ----------------------------------------------------------------------------- tables


@st.composite
def numbers(draw, rng, n, d):
    """A table of float64: of one magnitude or of many, constant, of few values."""
    kind = draw(
        st.sampled_from(["normal", "normal", "few", "constant", "wild", "zero"])
    )
    table = rng.normal(size=(n, d))
    if kind == "few":
        return np.round(table)
    if kind == "constant":
        return np.full((n, d), draw(st.sampled_from([1.0, -3.5, 1e6, 1e-12])))
    if kind == "wild":
        powers = draw(st.sampled_from([(-8, 8), (-30, 30), (-300, 300)]))
        return table * 10.0 ** rng.integers(*powers, size=d)
    return 0 * table if kind == "zero" else table


@st.composite
def arrays(draw, rng, n, d):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    table = draw(numbers(rng, n, d))
    if dtype.kind in "iu?":
        table = np.clip(np.abs(np.round(table)), 0, 100)
    with np.errstate(over="ignore"):
        table = table.astype(dtype)
    gaps = draw(st.sampled_from(["none", "none", "some", "column", "inf"]))
    if dtype.kind in "fO" and gaps != "none":
        table[rng.random((n, d)) < 0.2] = np.inf if gaps == "inf" else np.nan
        if gaps == "column":
            table[:, 0] = np.nan
    return laid_out(table, draw(st.sampled_from(LAYOUTS)))


def laid_out(table, layout):
    """The same numbers, lying in memory in some way."""
    if layout == "F":
        return np.asfortranarray(table)
    if layout == "rows backwards":
        return np.ascontiguousarray(table[::-1])[::-1]
    if layout == "columns backwards":
        return np.ascontiguousarray(table[:, ::-1])[:, ::-1]
    if layout == "every other":
        return np.repeat(np.repeat(table, 2, axis=0), 3, axis=1)[::2, ::3]
    if layout == "read-only":
        table.flags.writeable = False
    if layout == "broadcast":
        return np.broadcast_to(table[:1], table.shape)
    if layout == "list":
        return table.tolist()
    if layout == "torch" and table.dtype.str[1:] in ("f8", "f4", "f2", "i8", "u1"):
        return torch.tensor(table.astype(table.dtype.newbyteorder("=")))
    if layout == "offset" and table.dtype.kind == "f":  # not aligned
        raw = np.zeros(table.nbytes + 1, dtype=np.uint8)
        view = raw[1:].view(table.dtype).reshape(table.shape)
        view[...] = table
        return view
    return table


@st.composite
def sparse_tables(draw, rng, n, d):
    table = draw(numbers(rng, n, d)) * (rng.random((n, d)) < 0.5)
    dtype = draw(st.sampled_from(["f8", "f4", "i8", "u1", "?"]))
    if dtype not in ("f8", "f4"):
        table = np.clip(np.abs(np.round(table)), 0, 100)
    with np.errstate(over="ignore"):
        table = table.astype(dtype)
    name = draw(st.sampled_from(SPARSE))
    make = getattr(sp, f"{name}_{draw(st.sampled_from(['array', 'matrix']))}")
    made = make(table)
    if name == "csr" and draw(st.booleans()):  # entries twice, out of order, wide index
        made = sp.vstack([made, made]).tocsr()[:n]
        made.indices = made.indices.astype(np.int64)
        made.indptr = made.indptr.astype(np.int64)
    return made


def _text(rng, n, levels=3):
    return np.array([f"level {i}" for i in range(levels)])[rng.integers(levels, size=n)]


def _gaps(rng, n, values):
    return np.where(rng.random(n) < 0.2, None, values)


def _float_gaps(rng, n):
    return np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n))


COLUMNS = {
    "float": lambda rng, n: rng.normal(size=n),
    "float32": lambda rng, n: rng.normal(size=n).astype("f4"),
    "float, gaps": lambda rng, n: _float_gaps(rng, n),
    "int": lambda rng, n: rng.integers(-5, 5, size=n),
    "bool": lambda rng, n: rng.random(n) < 0.5,
    "text": lambda rng, n: _text(rng, n),
    "text, gaps": lambda rng, n: _gaps(rng, n, _text(rng, n)),
    "many levels": lambda rng, n: _text(rng, n, levels=50),
    "Int64": lambda rng, n: pd.array(_gaps(rng, n, rng.integers(9, size=n)), "Int64"),
    "boolean": lambda rng, n: pd.array(_gaps(rng, n, rng.random(n) < 0.5), "boolean"),
    "string": lambda rng, n: pd.array(_gaps(rng, n, _text(rng, n)), "string"),
    "category": lambda rng, n: pd.Categorical(_gaps(rng, n, _text(rng, n))),
    "ordered": lambda rng, n: pd.Categorical(_text(rng, n), ordered=True),
    "category of ints": lambda rng, n: pd.Categorical(rng.integers(3, size=n)),
    "missing": lambda rng, n: np.full(n, np.nan),
    "None": lambda rng, n: np.full(n, None),
    "dates": lambda rng, n: np.full(n, "2020-01-01", "M8[ns]"),
    "mixed": lambda rng, n: np.resize(np.array(["a", 1, None], dtype=object), n),
}
POLARS = ["float", "float32", "float, gaps", "int", "bool", "text", "many levels"]


@st.composite
def frames(draw, rng, n, d):
    """A DataFrame of pandas, or of polars, of columns of all kinds."""
    if draw(st.booleans()):
        kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=d))
        columns = {f"x{j}": COLUMNS[kind](rng, n) for j, kind in enumerate(kinds)}
        frame = pd.DataFrame(columns)
        if draw(st.booleans()):
            frame.index = frame.index[::-1]
        return frame
    kinds = draw(st.lists(st.sampled_from(POLARS), min_size=1, max_size=d))
    frame = pl.DataFrame({f"x{j}": COLUMNS[k](rng, n) for j, k in enumerate(kinds)})
    if draw(st.booleans()):
        text = [c for c in frame.columns if frame[c].dtype == pl.String]
        frame = frame.with_columns(pl.col(text).cast(pl.Categorical))
    return frame.with_columns(pl.lit(None).alias("none")) if n > 40 else frame


def tables(rng, n, d):
    kinds = [arrays(rng, n, d), arrays(rng, n, d), sparse_tables(rng, n, d)]
    return st.one_of(*kinds, frames(rng, n, d))


# ---------------------------------------------------------------------------- targets


def _one_odd(rng, n, value):
    y = rng.normal(size=n)
    y[rng.integers(n)] = value
    return y


TARGETS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "positive": lambda rng, n: np.exp(rng.normal(size=n)),
    "count": lambda rng, n: rng.poisson(2.0, n),
    "constant": lambda rng, n: np.full(n, rng.choice([0.0, 3.0, -1e9])),
    "huge": lambda rng, n: 1e300 * rng.normal(size=n),
    "tiny": lambda rng, n: 1e-300 * rng.normal(size=n),
    "bool": lambda rng, n: rng.normal(size=n) > 0,
    "nan": lambda rng, n: _one_odd(rng, n, np.nan),
    "inf": lambda rng, n: _one_odd(rng, n, np.inf),
}
FORMS = {
    "1-d": lambda y: y,
    "column": lambda y: y[:, None],
    "two": lambda y: np.column_stack([y, y[::-1]]),
    "list": lambda y: y.tolist(),
    "float32": lambda y: y.astype("f4"),
    "series": lambda y: pd.Series(y, index=range(len(y), 2 * len(y))),
    "object": lambda y: y.astype(object),
    "backwards": lambda y: y[::-1],
    "torch": lambda y: torch.tensor(y),
}


@st.composite
def regression_targets(draw, rng, n):
    y = TARGETS[draw(st.sampled_from(["normal", "normal", *TARGETS]))](rng, n)
    with np.errstate(over="ignore"):
        return FORMS[draw(st.sampled_from(["1-d", "1-d", *FORMS]))](y)


LABELS = {
    "int": np.array([0, 1, 2]),
    "negative": np.array([-7, -1, 5]),
    "huge": np.array([-(2**62), 0, 2**62]),
    "float": np.array([1.0, 2.0, 3.0]),
    "large float": np.array([1e15, 2e15, 3e15]),
    "fraction": np.array([0.5, 1.5, 2.5]),
    "bool": np.array([False, True, True]),
    "text": np.array(["b", "a", ""]),
    "unicode": np.array(["ä", "日本", "a b"]),
    "bytes": np.array([b"a", b"b", b"c"]),
    "object": np.array(["a", "bb", "c"], dtype=object),
    "object ints": np.array([1, 2, 3], dtype=object),
    "mixed": np.array([1, "a", 2.5], dtype=object),
    "None": np.array(["a", "b", None], dtype=object),
    "nan": np.array([1.0, 2.0, np.nan]),
    "unsigned": np.array([0, 200, 255], dtype="u1"),
    "unsigned huge": np.array([0, 1, 2**64 - 1], dtype="u8"),
    "dates": np.array(["2020-01-01", "2021-01-01", "2022-01-01"], dtype="M8[D]"),
    "complex": np.array([1, 2, 3j]),
}


LABEL_FORMS = {
    "1-d": lambda y: y,
    "column": lambda y: y[:, None],
    "list": lambda y: y.tolist(),
    "series": pd.Series,
    "categorical": lambda y: pd.Series(pd.Categorical(y.astype(str))),
    "string": lambda y: pd.Series(y.astype(str), dtype="string"),
    "polars": lambda y: pl.Series(y.astype(str)),
    "each its own": lambda y: np.arange(len(y)),
}
INDICATORS = {
    "ints": lambda table: table.astype(int),
    "booleans": lambda table: table,
    "sparse": lambda table: sp.csr_array(table.astype(int)),
}


@st.composite
def classification_targets(draw, rng, n):
    """Labels of up to three classes, or columns of indicators."""
    count = draw(st.sampled_from([1, 2, 2, 3, 3]))
    if draw(st.sampled_from([False, False, False, True])):
        form = INDICATORS[draw(st.sampled_from(sorted(INDICATORS)))]
        return form(rng.random((n, count)) < 0.5)
    labels = LABELS[draw(st.sampled_from(sorted(LABELS)))]
    form = draw(st.sampled_from(["1-d", "1-d", "1-d", *LABEL_FORMS]))
    return LABEL_FORMS[form](labels[rng.integers(count, size=n)])


WEIGHTS = {
    "one": lambda rng, n: 2.0,
    "some zero": lambda rng, n: rng.random(n) * (rng.random(n) < 0.6),
    "ints": lambda rng, n: rng.integers(0, 4, n),
    "list": lambda rng, n: rng.random(n).tolist(),
    "all zero": lambda rng, n: np.zeros(n),
    "last": lambda rng, n: np.eye(n)[-1],
    "huge": lambda rng, n: rng.uniform(0.5, 2.0, n) * 1e290,
    "tiny": lambda rng, n: rng.uniform(0.5, 2.0, n) * 1e-290,
    "wide": lambda rng, n: 10.0 ** rng.integers(-20, 20, n),
    "negative": lambda rng, n: rng.normal(size=n),
    "nan": lambda rng, n: np.where(rng.random(n) < 0.5, np.nan, 1.0),
    "float32": lambda rng, n: rng.random(n, dtype="f4"),
    "bool": lambda rng, n: rng.random(n) < 0.5,
}


def weights(rng, n):
    """None as often as not."""
    some = st.sampled_from(sorted(WEIGHTS)).map(lambda kind: WEIGHTS[kind](rng, n))
    return st.one_of(st.none(), some)


# ------------------------------------------------------------------------- parameters

COMMON = {
    "hidden_layer_sizes": [(), 1, 3, (4, 2), [2, 2, 2]],
    "activation": ["relu", "tanh", "gelu", "logistic", "identity"],
    "solver": ["auto", "sgd", "adam", "adamw", "lbfgs"],
    "alpha": ["auto", 0.0, 1e-4, 1.0, 1e6],
    "l1_ratio": [0.0, 0.5, 1.0],
    "batch_size": ["auto", "full", 1, 7, 1000],
    "learning_rate": [
        "auto",
        "constant",
        "cosine",
        "invscaling",
        "adaptive",
        "one_cycle",
    ],
    "learning_rate_init": ["auto", 1e-6, 0.01, 1.0, 100.0],
    "shuffle": [True, False],
    "tol": [0.0, 1e-4, 10.0],
    "momentum": [0.0, 0.9, 1.0],
    "nesterovs_momentum": [True, False],
    "early_stopping": ["auto", True, False],
    "validation_fraction": [0.15, 0.5, 0.0, 0.95],
    "beta_1": [0.0, 0.9],
    "beta_2": [0.0, 0.999],
    "epsilon": [1e-8, 1.0],
    "n_iter_no_change": ["auto", 1, np.inf],
    "max_fun": [1, 15_000],
    "max_grad_norm": [None, 1e-3, 10.0],
    "dropout": ["auto", 0.0, 0.5, 0.99],
    "standardize": ["auto", True, False, "robust", "standard"],
    "categorical_features": ["from_dtype", None, [0], [True]],
    "linear_skip": ["auto", True, False],
    "numeric_embedding": ["auto", None, "periodic", "piecewise_linear"],
    "init": ["auto", "glorot_uniform", "orthogonal"],
    "n_init": [1, 2],
    "n_estimators": ["auto", 1, 2],
    "dtype": ["auto", "float32", "float64", "bfloat16"],
    "warm_start": [False, True],
}
REGRESSOR = COMMON | {
    "loss": list(REGRESSION_LOSSES),
    "quantile": [0.5, 0.01, [0.1, 0.5, 0.9]],
    "huber_delta": [1.35, 1e-9],
    "scoring": ["loss", "r2", None],
}
CLASSIFIER = COMMON | {
    "class_weight": [None, "balanced"],
    "scoring": ["loss", "accuracy", None],
}


@st.composite
def parameters(draw, table):
    """Some parameters with other values than their defaults, for tiny fits."""
    names = draw(st.lists(st.sampled_from(sorted(table)), unique=True, max_size=8))
    chosen = {name: draw(st.sampled_from(table[name])) for name in names}
    quick = {"hidden_layer_sizes": 3, "max_iter": draw(st.sampled_from([1, 2, 4]))}
    return quick | chosen | {"random_state": 0}
