"""Files of `save`: what comes back is what went in, and nothing else gets in."""

import copy
import io
import json
import os
import pickle
import sys
import typing
from dataclasses import fields, is_dataclass, make_dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from fitted_estimators import (
    OURS,
    TABLE,
    WITH_OTHERS,
    X,
    Y,
    answers,
    fitted,
    regressor,
)
from safetensors import safe_open
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from states import described

from sklearn_ann import ANNClassifier, ANNRegressor, FileError, files, load, save
from sklearn_ann.engine.losses import Loss
from sklearn_ann.frames import Coding
from sklearn_ann.model import Ensemble, Model
from sklearn_ann.persistence import ESTIMATOR_KINDS, SKOPS_TYPES
from sklearn_ann.states import DATACLASSES, KINDS, apart, together

skops_io = pytest.importorskip("skops.io")

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore::sklearn.exceptions.ConvergenceWarning"
)


def networks_in(value):
    """Our estimators anywhere inside an estimator."""
    if type(value).__module__.startswith("sklearn_ann"):
        return [value]
    if isinstance(value, BaseEstimator):
        value = list(vars(value).values())
    if isinstance(value, list | tuple):
        return [network for item in value for network in networks_in(item)]
    return []


def assert_same(one, other, x):
    """Type, state of our estimators bit for bit, and answers."""
    assert type(one) is type(other)
    pairs = zip(networks_in(one), networks_in(other), strict=True)
    for network, twin in pairs:
        assert described(network) == described(twin)
    for answer, twin in zip(answers(one, x), answers(other, x), strict=True):
        np.testing.assert_array_equal(answer, twin)


# ----------------------------------------------------------------- there and back


@pytest.mark.parametrize("name", [*OURS, *WITH_OTHERS])
def test_what_is_loaded_is_what_was_saved(name, tmp_path):
    estimator, x = fitted(name)
    save(estimator, tmp_path / "model")
    assert_same(load(tmp_path / "model"), estimator, x)


@pytest.mark.parametrize("name", [*OURS, *WITH_OTHERS])
def test_unfitted_estimators(name, tmp_path):
    estimator = sklearn.clone((OURS | WITH_OTHERS)[name][0])
    save(estimator, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert type(loaded) is type(estimator)
    pairs = zip(networks_in(loaded), networks_in(estimator), strict=True)
    assert all(described(one) == described(other) for one, other in pairs)
    assert not hasattr(loaded, "n_features_in_") or name == "frozen"


def trusted(name):
    """What skops has to be told: our types, and a SimpleImputer's dtype."""
    return [*SKOPS_TYPES, *(["numpy.dtype"] if name == "imputed" else [])]


@pytest.mark.parametrize("name", [*OURS, *WITH_OTHERS])
@pytest.mark.parametrize("how", ["pickle", "skops", "deepcopy"])
def test_other_ways(name, how):
    estimator, x = fitted(name)
    ways = {
        "pickle": lambda e: pickle.loads(pickle.dumps(e)),
        "skops": lambda e: skops_io.loads(skops_io.dumps(e), trusted=trusted(name)),
        "deepcopy": copy.deepcopy,
    }
    assert_same(ways[how](estimator), estimator, x)


@pytest.mark.parametrize("name", [*OURS, *WITH_OTHERS])
def test_skops_needs_our_estimators_and_no_other_type(name):
    data = skops_io.dumps(fitted(name)[0])
    assert set(skops_io.get_untrusted_types(data=data)) <= set(trusted(name))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_training_goes_on_from_a_file(solver, tmp_path):
    model = regressor(solver=solver, warm_start=True, dropout=0.1 * (solver != "lbfgs"))
    model.fit(X, Y)
    save(model, tmp_path / "model")
    there, back = model.fit(X, Y), load(tmp_path / "model").fit(X, Y)
    np.testing.assert_array_equal(there.predict(X), back.predict(X))
    assert there.loss_curve_ == back.loss_curve_
    assert there.n_iter_ == 8


def test_a_copy_is_shallow():
    """Scorers copy the estimator in every epoch."""
    model = regressor(warm_start=True).fit(X, Y)
    twin = copy.copy(model)
    assert twin._model is model._model and twin._memory is model._memory
    twin.alpha = 3.0
    assert model.alpha == "auto"


def test_partial_fit_goes_on_from_a_file(tmp_path):
    model = ANNClassifier(4, random_state=0, early_stopping=False).partial_fit(
        X, Y > 0, classes=[0, 1]
    )
    save(model, tmp_path / "model")
    back = load(tmp_path / "model").partial_fit(X, Y > 0)
    model.partial_fit(X, Y > 0)
    np.testing.assert_array_equal(model.predict_proba(X), back.predict_proba(X))


def test_callbacks_are_not_saved(tmp_path):
    from sklearn.callback import ProgressBar

    save(regressor().set_callbacks(ProgressBar()), tmp_path / "model")
    assert not hasattr(load(tmp_path / "model"), "_skl_callbacks")


def test_metadata_requests_are_kept(tmp_path):
    with sklearn.config_context(enable_metadata_routing=True):
        model = regressor().set_fit_request(sample_weight=True, groups=False)
        save(model, tmp_path / "model")
        loaded = load(tmp_path / "model")
        assert str(loaded.get_metadata_routing()) == str(model.get_metadata_routing())


def test_a_model_fitted_on_a_gpu_loads_without(tmp_path, monkeypatch):
    """Fitted state is on the CPU; the parameter is only a name."""
    save(regressor().fit(X, Y).set_params(device="cuda"), tmp_path / "model")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = load(tmp_path / "model")
    assert loaded.device == "cuda" and np.isfinite(loaded.predict(X)).all()


def test_no_training_rows_inside(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(5000, 3)), rng.normal(size=5000)
    model = regressor(early_stopping=True, warm_start=True, numeric_embedding=None,
                      n_estimators=1).fit(X, y)  # fmt: skip
    save(model, tmp_path / "model")
    assert os.path.getsize(tmp_path / "model") < 20_000


def test_the_size_is_that_of_the_weights(tmp_path):
    model = regressor(hidden_layer_sizes=(300, 300)).fit(X, Y)
    save(model, tmp_path / "model")
    assert os.path.getsize(tmp_path / "model") < 8 * model.n_parameters_ + 10_000


def test_any_reader_of_safetensors_finds_the_arrays(tmp_path):
    model = regressor(hidden_layer_sizes=50).fit(X, Y)
    save(model, tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as opened:
        tensors = [opened.get_tensor(name) for name in opened.keys()]  # noqa: SIM118
        assert opened.metadata()["format"] == "sklearn_ann"
    shapes = sorted(tuple(t.shape) for t in tensors)
    assert (3, 50) in shapes and (50, 1) in shapes


# ------------------------------------------------------------------- plain values


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 10**30, 0.1, np.inf, -np.inf, "é\u2028", (1, [2.5, {"a": ()}]),
        {1: "one", "two": 2, (3, 4): None}, {1, 2}, np.float64(0.1), np.int64(3),
        np.float32(0.1), np.arange(40.0).reshape(5, 8), np.arange(3, dtype=np.uint8),
        np.array([[np.nan, np.inf]]), np.zeros((0, 3)), np.array(3.0),
        np.array(["a", "bcd"]), np.array([["x", None, 3]], dtype=object),
        np.array(["2020-01-01", "NaT"], dtype="M8[D]"), np.datetime64("2020-01-01"),
        np.arange(40, dtype=">i4"), np.arange(40, dtype=np.float16),
        np.arange(60.0).reshape(20, 3).T, np.ones(30, dtype=bool),
    ],
    ids=repr,
)  # fmt: skip
def test_values(value, tmp_path):
    """All that a parameter or an attribute may hold."""
    model = regressor()
    model.made_ = value
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model").made_
    if isinstance(value, np.ndarray):
        assert loaded.dtype == value.dtype.newbyteorder("=")
        np.testing.assert_array_equal(loaded, value)
        assert loaded.shape == value.shape
    else:
        assert type(loaded) is type(value)
        assert loaded == value


@pytest.mark.parametrize(
    "value, what",
    [
        (len, "function 'len'"),
        (object(), "builtins.object"),
        (np.zeros(20, dtype=complex), "complex128"),
        (np.zeros(20, dtype="i4,f8"), "dtype"),
        ([{"deep": lambda: 0}], "deep"),
    ],
)
def test_what_cannot_be_saved_is_said(value, what, tmp_path):
    what = what.replace("function ", "")
    with pytest.raises(TypeError, match=r"parameters\.scoring") as raised:
        save(regressor(scoring=value), tmp_path / "model")
    assert what in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_only_estimators_are_saved(tmp_path):
    with pytest.raises(TypeError, match="estimator, got a dict"):
        save({}, tmp_path / "model")


# ------------------------------------------------------------------- the registry

LEAVES = (type(None), bool, int, float, str, np.ndarray, np.generic)
CONTAINERS = (list, tuple, dict)


def types_in(value):
    """Types of all objects that fitted state consists of."""
    if isinstance(value, CONTAINERS):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return set().union(*(types_in(part) for part in parts))
    if is_dataclass(value):
        # A loss is a value, whose functions are found by its name; a coding is levels.
        if isinstance(value, Loss | Coding):
            return {type(value)}
        parts = (getattr(value, f.name) for f in fields(value) if f.init)
        return set().union({type(value)}, *(types_in(part) for part in parts))
    if isinstance(value, BaseEstimator):
        return types_in(vars(value))
    return {type(value)}


@pytest.mark.parametrize("name", OURS)
def test_every_type_in_fitted_state_is_registered(name):
    known = {kind.type for kind in KINDS.values()}
    unknown = types_in(fitted(name)[0]) - known
    unknown = {t for t in unknown if not issubclass(t, LEAVES)}
    assert not unknown, f"add {unknown} to DATACLASSES in sklearn_ann/states.py"


def declared(hint):
    """Classes that a type hint is made of."""
    arguments = typing.get_args(hint)
    if arguments:
        return set().union(*(declared(a) for a in arguments))
    return {hint} if isinstance(hint, type) else set()


@pytest.mark.parametrize("cls", DATACLASSES)
def test_every_declared_type_is_registered(cls):
    known = {kind.type for kind in KINDS.values()}
    hints = typing.get_type_hints(cls)
    for name in [f.name for f in fields(cls) if f.init]:
        for found in declared(hints[name]):
            plain = issubclass(found, (*LEAVES, *CONTAINERS))
            assert plain or found in known, f"{cls.__name__}.{name}: register {found}"


def test_the_walk_sees_what_is_not_registered(monkeypatch):
    model = regressor().fit(X, Y)
    monkeypatch.setattr(model, "_model", make_dataclass("Newcomer", ["x"])([{"y": io}]))
    names = {found.__name__ for found in types_in(model)}
    assert {"Newcomer", "module"} <= names


# --------------------------------------------------------- nothing else gets in


WRONG_PIECES = {
    "unknown kind": lambda p: p.update(__kind__="os.system"),
    "kind of another type": lambda p: p.update(__kind__=3),
    "unknown field": lambda p: p.update(surprise=1),
    "missing field": lambda p: p.pop("architecture"),
    "field of another type": lambda p: p.update(units=3),
    "item of another type": lambda p: p["architecture"].update(hidden=(5, "4")),
    "list for a tuple": lambda p: p["architecture"].update(hidden=[5, 4]),
    "truth for a number": lambda p: p["architecture"].update(n_inputs=True),
    "too wide": lambda p: p["architecture"].update(n_inputs=10**15),
    "beyond all memory": lambda p: p["architecture"].update(n_inputs=10**30),
    "no units": lambda p: p["architecture"].update(hidden=(5, 0)),
    "negative units": lambda p: p["architecture"].update(n_inputs=-3),
    "a layer less": lambda p: p["architecture"].update(hidden=(5,)),
    "unknown activation": lambda p: p["architecture"].update(activations=("a", "b")),
    "unknown loss": lambda p: p["loss"].update(name="eval"),
    "wrong loss parameters": lambda p: p["loss"].update(parameters=(("delta", 1.0),)),
    "wrong shapes": lambda p: p["parameters"]["weights"].reverse(),
    "array of objects": lambda p: p["parameters"].update(skip="skip"),
}


@pytest.mark.parametrize("change", WRONG_PIECES.values(), ids=WRONG_PIECES)
def test_pieces_that_are_not_those_of_a_model(change, tmp_path):
    tree = apart(regressor().fit(X, Y), ESTIMATOR_KINDS)
    files.write(tmp_path / "model", "estimator", tree, "a test")
    load(tmp_path / "model")
    change(tree["attributes"]["_model"])
    files.write(tmp_path / "model", "estimator", tree, "a test")
    with pytest.raises(FileError, match="cannot be loaded"):
        load(tmp_path / "model")


def in_design(change):
    return lambda p: change(p["units"]["design"])


WRONG_TABLES = {
    "a column less": in_design(lambda d: d.update(numbers=d["numbers"][1:])),
    "negative column": in_design(lambda d: d.update(numbers=d["numbers"] - 1)),
    "columns that are no numbers": in_design(lambda d: d.update(gaps=np.array(["0"]))),
    "gaps of no column": in_design(lambda d: d.update(gaps=d["gaps"] + 9)),
    "short fill": in_design(lambda d: d.update(fill=d["fill"][:1])),
    "short units": in_design(lambda d: d["scaling"].update(mean=np.zeros(1))),
    "no design": lambda p: p["units"].update(design=3),
    "negative codes": in_design(lambda d: d["one_hot"][0].update(codes=np.array([-1]))),
    "no codes": in_design(lambda d: d["one_hot"][0].update(codes=np.zeros(0, int))),
    "many codes": in_design(lambda d: d["one_hot"][0].update(codes=np.array([10**15]))),
    "another kind": lambda p: embedding(p).update(kind="eval"),
    "no columns": lambda p: embedding(p).update(columns=()),
    "column of none": lambda p: embedding(p).update(columns=(99,)),
    "wide": lambda p: embedding(p).update(width=10**15),
    "many levels": lambda p: embedding(p).update(levels=(10**15,)),
    "too wide": lambda p: p["architecture"].update(n_inputs=10**15),
    "ramps": lambda p: p["parameters"].update(embeddings=((), ())),
    "rows": lambda p: p["parameters"].update(n_numbers=(1, 1)),
}


def embedding(pieces):
    (found,) = (e for e in pieces["architecture"]["embeddings"] if e["levels"])
    return found


def table_model():
    return regressor(numeric_embedding="piecewise_linear", standardize="robust").fit(
        TABLE, Y
    )


@pytest.mark.parametrize("change", WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_pieces_that_are_not_those_of_a_table(change, tmp_path):
    tree = apart(table_model(), ESTIMATOR_KINDS)
    change(tree["attributes"]["_model"])
    files.write(tmp_path / "model", "estimator", tree, "a test")
    with pytest.raises(FileError, match="cannot be loaded"):
        load(tmp_path / "model")


WRONG_CODINGS = {
    "no mask": lambda c: c.update(mask=None),
    "mask of numbers": lambda c: c.update(mask=c["mask"] * 1.0),
    "another mask": lambda c: c.update(mask=np.ones(6, bool)),
    "a column less": lambda c: c["levels"].pop(),
    "levels of numbers": lambda c: c["levels"].__setitem__(0, np.zeros(3)),
    "names of others": lambda c: c.update(names=("a", "b")),
    "mixed levels": lambda c: c["levels"].__setitem__(0, np.array(["a", 1.0], object)),
    "more": lambda c: c.update(encoder=3),
}


@pytest.mark.parametrize("change", WRONG_CODINGS.values(), ids=WRONG_CODINGS)
def test_pieces_that_are_not_those_of_a_coding(change, tmp_path):
    tree = apart(table_model(), ESTIMATOR_KINDS)
    change(tree["attributes"]["_coding"])
    files.write(tmp_path / "model", "estimator", tree, "a test")
    with pytest.raises(FileError, match="cannot be loaded"):
        load(tmp_path / "model")


def test_levels_that_a_file_cannot_hold_are_said(tmp_path):
    spans = TABLE.assign(hours=pd.cut(TABLE["hours"], 3))[["hours", "region"]]
    model = regressor().fit(spans, Y)
    with pytest.raises(TypeError, match=r"_coding\.levels.*Interval"):
        save(model, tmp_path / "model")
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(spans), model.predict(spans))


@pytest.mark.parametrize("place", [-1, 625, 2**31])
def test_a_random_state_reads_no_other_memory(place):
    pieces = apart(np.random.RandomState(0))
    assert together(pieces).randint(100) == np.random.RandomState(0).randint(100)
    name, key, _, *rest = pieces["state"]
    with pytest.raises(FileError, match="RandomState"):
        together({**pieces, "state": (name, key, place, *rest)})
    with pytest.raises(FileError, match="RandomState"):
        together({**pieces, "state": (name, key[:9], 3, *rest)})


def test_a_kind_that_is_not_known_is_said():
    with pytest.raises(FileError, match=r"'Newcomer'.*Update sklearn_ann"):
        together({"__kind__": "Newcomer"})


def test_private_state_has_its_types(tmp_path):
    model = regressor().fit(X, Y)
    for name in ("_model", "_target", "_memory", "_coding"):
        changed = copy.copy(model)
        setattr(changed, name, "something else")
        save(changed, tmp_path / "model")
        with pytest.raises(FileError, match=name):
            load(tmp_path / "model")


@pytest.mark.parametrize("name", ["predict", "coefs_", "__class__", "a b", "plain", 3])
def test_attributes_hide_nothing_of_the_class(name, tmp_path):
    model = regressor().fit(X, Y)
    vars(model)[name] = "hidden"
    if name in ("__class__", 3):
        vars(model)[name] = "hidden"
    save(model, tmp_path / "model")
    with pytest.raises(FileError, match="unknown parameters or attributes"):
        load(tmp_path / "model")


def test_a_field_with_a_default_may_be_missing_as_in_older_files():
    pieces = apart(regressor(linear_skip=False).fit(X, Y)._model)
    del pieces["architecture"]["linear_skip"]
    assert together(pieces).architecture.linear_skip is False


class Theirs(TransformerMixin, BaseEstimator):
    """A transformer of the user's own."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X


def test_types_of_the_user_must_be_named(tmp_path):
    model = make_pipeline(Theirs(), regressor()).fit(X, Y)
    save(model, tmp_path / "model")
    with pytest.raises(FileError, match=r"test_persistence\.Theirs"):
        load(tmp_path / "model")
    loaded = load(tmp_path / "model", trusted=[f"{__name__}.Theirs"])
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_functions_that_skops_does_not_trust_are_refused(tmp_path):
    save(make_pipeline(FunctionTransformer(os.getcwd), regressor()), tmp_path / "model")
    with pytest.raises(FileError, match="getcwd"):
        load(tmp_path / "model")
    save(make_pipeline(FunctionTransformer(np.log1p), regressor()), tmp_path / "model")
    assert load(tmp_path / "model")[0].func is np.log1p


def test_without_skops(tmp_path, monkeypatch):
    save(make_pipeline(StandardScaler(), regressor()), tmp_path / "pipeline")
    monkeypatch.setitem(sys.modules, "skops.io", None)
    save(regressor(), tmp_path / "model")
    assert isinstance(load(tmp_path / "model"), ANNRegressor)
    with pytest.raises(ImportError, match=r"sklearn-ann\[files\]"):
        save(make_pipeline(StandardScaler(), regressor()), tmp_path / "other")
    with pytest.raises(ImportError, match=r"sklearn-ann\[files\]"):
        load(tmp_path / "pipeline")
    assert not (tmp_path / "other").exists()


def test_nothing_is_pickled(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("pickle was used")

    estimators = [fitted("conformal pipeline")[0], fitted("bag")[0]]
    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    for estimator in estimators:
        save(estimator, tmp_path / "model")
        load(tmp_path / "model")


# ------------------------------------------------------------------------- files


def test_files_that_are_none_of_ours(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        load(path)
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    for content in (b"", b"x", pickle.dumps(3), b"PK\x03\x04" * 30, bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(FileError, match="cannot be loaded"):
            load(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(FileError, match="not written by"):
        load(path)


def rewritten(path, **changes):
    """Change the metadata of a file's header."""
    content = path.read_bytes()
    n = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n])
    header["__metadata__"].update(changes)
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + content[8 + n :])


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"version": "2", "writer": "sklearn_ann 9.9"}, "9.9.*Update sklearn_ann"),
        ({"format": "other"}, "not written by"),
        ({"kind": "checkpoint"}, "checkpoint"),
        ({"sha256": "0" * 64}, "hash"),
        ({"writer": "someone else"}, "hash"),
        ({"content": "[]"}, "hash"),
        ({"more": ""}, "header"),
    ],
)
def test_headers(changes, said, tmp_path):
    path = tmp_path / "model"
    save(regressor().fit(X, Y), path)
    rewritten(path)
    load(path)
    rewritten(path, **changes)
    with pytest.raises(FileError, match=said):
        load(path)


def test_one_changed_number_is_noticed(tmp_path):
    path = tmp_path / "model"
    save(regressor(hidden_layer_sizes=50).fit(X, Y), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="hash"):
        load(path)


def test_a_link_keeps_pointing_to_its_file(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    save(regressor(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert isinstance(load(tmp_path / "file"), ANNRegressor)


def test_members_share_their_arrays(tmp_path):
    """An ensemble's networks stand in the file once, not again for each member."""
    model = regressor(hidden_layer_sizes=200, n_estimators=2).fit(X, Y)
    save(model, tmp_path / "model")
    assert os.path.getsize(tmp_path / "model") < 8 * model.n_parameters_ + 25_000
    loaded = load(tmp_path / "model")
    assert isinstance(loaded._model, Ensemble)
    assert all(isinstance(member._model, Model) for member in loaded.estimators_)


# --------------------------------------------------------------------- old files

SAVED = Path(__file__).parent / "data" / "saved"
PREDICTIONS = json.loads((SAVED / "predictions.json").read_text())


@pytest.mark.parametrize("name", PREDICTIONS)
def test_files_of_earlier_versions_load(name):
    """Written by tests/data/saved/make.py, and kept; they predict what they did."""
    rows = np.linspace(-2.0, 2.0, 12).reshape(4, 3)
    rows = TABLE[:4] if name.endswith("_defaults.ann") else rows
    estimator = load(SAVED / name)
    predict = getattr(estimator, "predict_proba", estimator.predict)
    np.testing.assert_allclose(predict(rows), PREDICTIONS[name], rtol=1e-12)


def test_there_is_a_file_of_this_version():
    assert any(name.startswith(f"v{files.VERSION}_") for name in PREDICTIONS)
    assert {path.name for path in SAVED.glob("*.ann")} == set(PREDICTIONS)


def test_training_goes_on_from_an_earlier_file():
    before = load(SAVED / "v1_lbfgs.ann").loss_
    assert load(SAVED / "v1_lbfgs.ann").fit(X, Y).loss_ < before
    assert load(SAVED / "v1_regressor.ann").fit(X, Y).n_iter_ == 8
