"""Bad input is refused before any training, and never harms a fitted model.

Every entry of the tables is one kind of bad input: what is asked, and what the error
says. Each is tried on a new estimator and on a fitted one.
"""

import pickle
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from quiet_callback import Quiet
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils._param_validation import InvalidParameterError
from states import described

from sklearn_ann import ANNClassifier, ANNRegressor, estimators
from sklearn_ann.engine import quasi_newton, solvers

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
N, D = 40, 3
QUICK = {
    "hidden_layer_sizes": 4,
    "early_stopping": False,
    "max_iter": 3,
    "tol": 0.0,
    "random_state": 0,
}
ABSENT = f"cuda:{torch.cuda.device_count()}" if torch.cuda.is_available() else "cuda"


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    return X, X[:, 0] + rng.normal(size=N)


X, Y = data()
LABELS = np.array(["a", "b", "c"])[np.arange(N) % 3]
COUNTS = np.arange(N) % 4.0
TWO = np.column_stack([Y, -Y])
INDICATORS = np.column_stack([LABELS == "a", LABELS == "b"]).astype(int)


def having(array, value, at=(2, 1)):
    """The array with one entry replaced."""
    changed = np.array(array, dtype=float)
    changed[at[: changed.ndim]] = value
    return changed


@dataclass(frozen=True)
class Case:
    """A bad call of fit, and the error it ends in.

    X and y are good where they are None; ``good`` is the target of the fit before.
    """

    message: str
    X: Any = None
    y: Any = None
    options: dict = field(default_factory=dict)
    given: dict = field(default_factory=dict)
    error: type = ValueError
    Estimator: type = ANNRegressor
    good: Any = None
    early: dict = field(default_factory=dict)  # options of the good fit as well


def classifier(message, **rest) -> Case:
    return Case(message, Estimator=ANNClassifier, **{"good": LABELS, **rest})


WITH_TEXT = pd.DataFrame({"one": np.ones(N), "who": np.resize(["a", "b"], N)})
WITH_BOTH = WITH_TEXT.assign(who=np.resize(np.array(["a", 1], dtype=object), N))
WITH_DATES = WITH_TEXT.assign(when=pd.Timestamp("2020-01-01"))
SPARSE_NAN = sp.csr_array(having(X, np.nan))
WARM = {"warm_start": True}
CASES = {
    # ------------------------------------------------------------------ X
    "X inf": Case("infinity", X=having(X, np.inf)),
    "X inf beside nan": Case(
        "infinity", X=having(having(X, np.nan), np.inf, at=(1, 1))
    ),
    "X sparse nan": Case("NaN.*dense", X=SPARSE_NAN),
    "X sparse inf": Case("infinity", X=sp.csr_array(having(X, np.inf))),
    "X empty": Case("0 sample", X=X[:0], y=Y[:0]),
    "X without columns": Case("0 feature", X=X[:, :0]),
    "X one dimension": Case("2D array", X=X[:, 0]),
    "X three dimensions": Case("dim", X=X[:, :, None]),
    "X text": Case("could not convert", X=np.array([["a", "b"]] * N)),
    "X complex": Case("Complex data", X=X + 1j),
    "X dates": Case("dates or times", X=np.full((N, D), "2020-01-01", "M8[D]")),
    "X column of dates": Case("'when' holds dates", X=WITH_DATES),
    "X column of complex numbers": Case("Complex data", X=pd.DataFrame(X + 1j)),
    "X column of text, not named": Case(
        "'who' holds text", X=WITH_TEXT, options={"categorical_features": [0]}
    ),
    "X column of text, no categories": Case(
        "'who' holds text", X=WITH_TEXT, options={"categorical_features": None}
    ),
    "X column of all sorts": Case("'who' holds values of several", X=WITH_BOTH),
    "X inf beside categories": Case("infinity", X=WITH_TEXT.replace(1.0, np.inf)),
    "categories too many": Case("indices", options={"categorical_features": [D]}),
    "categories negative": Case("indices", options={"categorical_features": [-1]}),
    "categories mask short": Case(
        "boolean mask", options={"categorical_features": [True]}
    ),
    "categories floats": Case("array-like of", options={"categorical_features": [0.5]}),
    "categories unnamed": Case(
        "without feature names", options={"categorical_features": ["who"]}
    ),
    "categories misnamed": Case(
        "not a valid feature name",
        X=WITH_TEXT,
        options={"categorical_features": ["whom"]},
    ),
    "categories, one dimension": Case(
        "2D array", X=X[:, 0], options={"categorical_features": [0]}
    ),
    "categories, sparse X": Case(
        "sparse X", X=sp.csr_array(X), options={"categorical_features": [0]}
    ),
    "X and y of unlike length": Case("inconsistent", y=Y[:-1]),
    # ------------------------------------------------------------------ y
    "y missing": Case("requires y", y=False),
    "y nan": Case("NaN", y=having(Y, np.nan)),
    "y inf": Case("infinity", y=having(Y, -np.inf)),
    "y nan in two columns": Case("NaN", y=having(TWO, np.nan), good=TWO),
    "y text": Case("finite real targets", y=LABELS),
    "y three dimensions": Case("dim", y=Y[:, None, None]),
    "y continuous": classifier("continuous", y=Y),
    "y nan label": classifier("NaN|Unknown label", y=having(COUNTS, np.nan)),
    "y None label": classifier(
        "Unknown label", y=np.where(LABELS == "a", None, LABELS)
    ),
    "y several classes twice": classifier(
        "MultiOutputClassifier", y=np.column_stack([COUNTS, COUNTS]).astype(int)
    ),
    "poisson negative": Case(
        "at least zero", y=having(COUNTS, -1.0), options={"loss": "poisson"}
    ),
    "poisson all zero": Case(
        "positive sum", y=np.zeros(N), options={"loss": "poisson"}
    ),
    "gamma zero": Case("above zero", y=COUNTS, options={"loss": "gamma"}),
    "quantiles of two columns": Case(
        "one target column",
        y=TWO,
        options={"loss": "quantile", "quantile": [0.1, 0.9]},
    ),
    # ------------------------------------------------------------ row weights
    "weight zero": Case("weight zero|least one", given={"sample_weight": 0.0 * Y}),
    "weight negative": Case(
        "[Nn]egative", given={"sample_weight": having(np.ones(N), -1.0)}
    ),
    "weight nan": Case("NaN", given={"sample_weight": having(np.ones(N), np.nan)}),
    "weight inf": Case("infinity", given={"sample_weight": having(np.ones(N), np.inf)}),
    "weight too short": Case("sample_weight", given={"sample_weight": np.ones(N - 1)}),
    "weight table": Case("1D", given={"sample_weight": np.ones((N, 2))}),
    "class weight zero": classifier(
        "weight zero", options={"class_weight": {"a": 0, "b": 0, "c": 0}}
    ),
    "class weight negative": classifier(
        "negative", options={"class_weight": {"a": -1, "b": 1, "c": 1}}
    ),
    "class weight nan": classifier(
        "finite", options={"class_weight": {"a": np.nan, "b": 1, "c": 1}}
    ),
    "class weight list": classifier(
        "not in class_weight", options={"class_weight": [{}]}
    ),
    "class weight list too short": classifier(
        "1 element",
        y=INDICATORS,
        good=INDICATORS,
        options={"class_weight": [{0: 1, 1: 2}]},
    ),
    # ----------------------------------------------------- contradictory parameters
    "dropout lbfgs": Case("dropout", options={"solver": "lbfgs", "dropout": 0.5}),
    "l1 lbfgs": Case(
        "non-smooth", options={"solver": "lbfgs", "l1_ratio": 0.5, "alpha": 1.0}
    ),
    "too many activations": Case(
        "names 2 functions for 1 hidden", options={"activation": ["relu", "tanh"]}
    ),
    "activations without layer": Case(
        "for 0 hidden",
        options={"hidden_layer_sizes": (), "activation": ["relu"]},
    ),
    "unknown activation of a layer": Case(
        "'step' is unknown", options={"activation": ["step"]}
    ),
    "hidden zero": Case("hidden_layer_sizes", options={"hidden_layer_sizes": (4, 0)}),
    "hidden negative": Case("whole numbers", options={"hidden_layer_sizes": [-4]}),
    "hidden fraction": Case("whole numbers", options={"hidden_layer_sizes": [4.5]}),
    "hidden nested": Case("whole numbers", options={"hidden_layer_sizes": [[4]]}),
    "quantile above one": Case(
        "between 0 and 1", options={"loss": "quantile", "quantile": [0.5, 1.0]}
    ),
    "quantile zero": Case(
        "between 0 and 1", options={"loss": "quantile", "quantile": [0.0, 0.5]}
    ),
    "quantiles falling": Case(
        "increasing", options={"loss": "quantile", "quantile": [0.5, 0.1]}
    ),
    "quantiles twice": Case(
        "increasing", options={"loss": "quantile", "quantile": [0.5, 0.5]}
    ),
    "no quantile": Case(
        "between 0 and 1", options={"loss": "quantile", "quantile": []}
    ),
    "absent device": Case("no such|only", options={"device": ABSENT}),
    "absent device object": Case(
        "no such|only", options={"device": torch.device(ABSENT)}
    ),
    "nonsense device": Case("not a device", options={"device": "quantum"}),
    "device without memory": Case("no such", options={"device": "meta"}),
    "unknown scorer": Case(
        "scoring|valid", options={"early_stopping": True, "scoring": "beauty"}
    ),
    # ------------------------------------------------------------ starting values
    "coefs_init too few": Case("coefs_init", given={"coefs_init": [np.ones((D, 4))]}),
    "coefs_init transposed": Case(
        r"\(3, 4\)", given={"coefs_init": [np.ones((4, D)), np.ones((1, 4))]}
    ),
    "coefs_init nan": Case(
        "finite", given={"coefs_init": [np.full((D, 4), np.nan), np.ones((4, 1))]}
    ),
    "coefs_init ragged": Case(
        "coefs_init", given={"coefs_init": [[[1.0], [1.0, 2.0]]]}
    ),
    "intercepts_init too long": Case(
        "intercepts_init", given={"intercepts_init": [np.ones(4), np.ones(2)]}
    ),
    # ------------------------------------------------------------ validation rows
    "X_val alone": Case("belong together", given={"X_val": X}),
    "y_val alone": Case("belong together", given={"y_val": Y}),
    "sample_weight_val alone": Case(
        "sample_weight_val", given={"sample_weight_val": np.ones(N)}
    ),
    "X_val tuple of two": Case(
        "exactly one array", given={"X_val": (X, X), "y_val": (Y,)}
    ),
    "X_val empty tuple": Case("exactly one array", given={"X_val": (), "y_val": (Y,)}),
    "X_val other columns": Case("features", given={"X_val": X[:, :2], "y_val": Y}),
    "X_val inf": Case("infinity", given={"X_val": having(X, np.inf), "y_val": Y}),
    "X_val, y_val unlike": Case("inconsistent", given={"X_val": X, "y_val": Y[1:]}),
    "y_val of two columns": Case("2 columns", given={"X_val": X, "y_val": TWO}),
    "y_val negative": Case(
        "at least zero",
        y=COUNTS,
        options={"loss": "poisson"},
        given={"X_val": X, "y_val": Y},
    ),
    "y_val unknown label": classifier(
        "not in the classes", given={"X_val": X, "y_val": np.full(N, "d")}
    ),
    "sample_weight_val zero": Case(
        "weight zero|least one",
        given={"X_val": X, "y_val": Y, "sample_weight_val": 0.0 * Y},
    ),
    "sample_weight_val too short": Case(
        "sample_weight",
        given={"X_val": X, "y_val": Y, "sample_weight_val": np.ones(3)},
    ),
    "one row to split": Case(
        "too small", X=X[:1], y=Y[:1], options={"early_stopping": True}
    ),
    "one row of weight to split": Case(
        "too small",
        options={"early_stopping": True},
        given={"sample_weight": np.eye(N)[0]},
    ),
    "nothing to hold out": Case(
        "too small", options={"early_stopping": True, "validation_fraction": 0.0}
    ),
    "nothing left to train on": Case(
        "too small", options={"early_stopping": True, "validation_fraction": 0.99}
    ),
    "one group": Case(
        "1 groups", options={"early_stopping": True}, given={"groups": np.ones(N)}
    ),
    "groups too short": Case(
        "one group for each",
        options={"early_stopping": True},
        given={"groups": np.ones(N - 1)},
    ),
    # ------------------------------------------------------------ going on
    "warm start, other columns": Case("features", X=X[:, :2], early=WARM),
    "warm start, other layers": Case(
        "must stay", options={"hidden_layer_sizes": 5}, early=WARM
    ),
    "warm start, more targets": Case("expected 1", y=TWO, early=WARM),
    "warm start, other loss": Case(
        "must stay", y=COUNTS, options={"loss": "poisson"}, early=WARM
    ),
    "warm start, given start": Case(
        "goes on with the fitted one",
        given={"intercepts_init": [np.ones(4), np.ones(1)]},
        early=WARM,
    ),
    "warm start, new label": classifier(
        "not in the classes", y=np.where(LABELS == "a", "z", LABELS), early=WARM
    ),
}


@pytest.fixture
def no_training(monkeypatch):
    """Fail where an estimator asks for a network."""

    def refuse(requests):
        raise AssertionError("training began")

    return lambda: monkeypatch.setattr(estimators, "fit_networks", refuse)


def call(case: Case, model: Any) -> Any:
    table = X if case.X is None else case.X
    y = case.good if case.good is not None else Y
    y = y if case.y is None else case.y
    return model.fit(table, None if y is False else y, **case.given)


def state(model: Any) -> tuple[dict, Any]:
    """All that a model is: its attributes, and their values."""
    return dict(vars(model)), described(vars(model))


def assert_same_state(model: Any, before: tuple[dict, Any]) -> None:
    attributes, values = before
    assert vars(model).keys() == attributes.keys()
    assert all(vars(model)[name] is value for name, value in attributes.items())
    assert described(vars(model)) == values


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if not c.early])
def test_a_new_estimator_says_what_is_wrong_before_training(name, no_training):
    case = CASES[name]
    model = case.Estimator(**{**QUICK, **case.options})
    before = state(model)
    no_training()
    with pytest.raises(case.error, match=case.message):
        call(case, model)
    assert_same_state(model, before)
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("name", CASES)
def test_a_fitted_estimator_stays_as_it_was(name, no_training):
    case = CASES[name]
    model = case.Estimator(**QUICK, **case.early)
    model.fit(X, Y if case.good is None else case.good)
    model.set_params(**case.options)
    before, predicted = state(model), model.predict(X)
    no_training()
    with pytest.raises(case.error, match=case.message):
        call(case, model)
    assert_same_state(model, before)
    np.testing.assert_array_equal(model.predict(X), predicted)


# ------------------------------------------------------------------- parameters

# One bad value or more for every parameter.
BAD_VALUES: dict[str, list[Any]] = {
    "hidden_layer_sizes": [0, -1, 1.5, "many", None],
    "activation": ["step", None, 3],
    "loss": ["hinge", None],
    "quantile": [0.0, 1.0, "median", None],
    "huber_delta": [0.0, -1.0, np.inf, None],
    "class_weight": ["fair", 2.0],
    "solver": ["newton", None],
    "alpha": [-1e-9, np.nan, np.inf, "none", None],
    "l1_ratio": [-0.1, 1.1, None],
    "batch_size": [0, -1, 1.5, "large", None],
    "learning_rate": ["cyclic", 0.1],
    "learning_rate_init": [0.0, -1.0, np.nan, np.inf, "fast"],
    "power_t": [-0.5, "auto"],
    "max_iter": [0, -1, 10.5, None],
    "shuffle": ["yes", 1.5],
    "random_state": [-1, "seed", 1.5],
    "tol": [-1e-9, np.nan, None],
    "verbose": [-1, "loud"],
    "warm_start": ["yes", None],
    "momentum": [-0.1, 1.1],
    "nesterovs_momentum": ["yes", None],
    "early_stopping": ["yes", None],
    "scoring": [3, True],
    "validation_fraction": [-0.1, 1.0, 5],
    "beta_1": [-0.1, 1.0],
    "beta_2": [-0.1, 1.0],
    "epsilon": [0.0, -1e-8],
    "n_iter_no_change": [0, -1, 2.5],
    "max_fun": [0, 1.5],
    "max_grad_norm": [0.0, -1.0],
    "dropout": [-0.1, 1.0],
    "standardize": ["yes", None],
    "categorical_features": ["by_dtype", 1.5],
    "linear_skip": ["yes", None],
    "numeric_embedding": ["plr", True, 3],
    "init": ["zeros", None],
    "n_init": [0, 1.5],
    "n_estimators": [0, 1.5],
    "device": [0, None],
    "dtype": ["float16", np.float32, None],
}
PARAMETERS = [
    (Estimator, name)
    for Estimator in (ANNRegressor, ANNClassifier)
    for name in Estimator().get_params()
]


def test_the_table_knows_every_parameter():
    assert {name for _, name in PARAMETERS} == set(BAD_VALUES)


@pytest.mark.parametrize("Estimator, name", PARAMETERS)
def test_unknown_values_of_every_parameter(Estimator, name, no_training):
    fitted = Estimator(**QUICK).fit(X, Y if Estimator is ANNRegressor else LABELS)
    no_training()
    for value in BAD_VALUES[name]:
        if name == "class_weight" and Estimator is ANNRegressor:
            continue
        for model in (Estimator(**{name: value}), fitted.set_params(**{name: value})):
            before = state(model)
            with pytest.raises(InvalidParameterError, match=f"'{name}'"):
                model.fit(X, Y)
            assert_same_state(model, before)
        fitted.set_params(**{name: Estimator().get_params()[name]})


def test_unknown_parameters():
    with pytest.raises(TypeError, match="layers"):
        ANNRegressor(layers=3)
    with pytest.raises(ValueError, match="layers"):
        ANNRegressor().set_params(layers=3)


# ------------------------------------------------------------------- predicting

FRAME = pd.DataFrame(X, columns=["age", "tenure", "hours"])
BAD_TABLES: dict[str, tuple[Any, str]] = {
    "dates": (FRAME.astype("datetime64[ns]"), "holds dates"),
    "text": (FRAME.astype(str).add("a"), "holds text"),
    "inf": (having(X, np.inf), "infinity"),
    "sparse nan": (SPARSE_NAN, "NaN"),
    "empty": (X[:0], "0 sample"),
    "one dimension": (X[0], "2D array"),
    "too few columns": (X[:, :2], "2 features"),
    "too many columns": (np.hstack([X, X]), "6 features"),
    "names in another order": (FRAME[["hours", "age", "tenure"]], "same order"),
    "unknown names": (FRAME.set_axis(["age", "tenure", "pay"], axis=1), "unseen"),
    "missing names": (FRAME[["age", "tenure"]], "missing"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
@pytest.mark.parametrize(
    "Estimator, methods",
    [
        (ANNRegressor, ["predict"]),
        (ANNClassifier, ["predict", "predict_proba", "decision_function"]),
    ],
)
def test_bad_tables_to_predict(name, Estimator, methods):
    table, message = BAD_TABLES[name]
    model = Estimator(**QUICK).fit(FRAME, Y if Estimator is ANNRegressor else LABELS)
    before = state(model)
    for method in methods:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # arrays have no names
            with pytest.raises(ValueError, match=message):
                getattr(model, method)(table)
    assert_same_state(model, before)


BAD_SCORES: dict[str, tuple[tuple, str]] = {
    "y too short": ((Y[1:],), "inconsistent"),
    "y nan": ((having(Y, np.nan),), "NaN"),
    "y of two columns": ((TWO,), "columns"),
    "weight too short": ((Y, np.ones(3)), "sample_weight"),
    "weight negative": ((Y, -np.ones(N)), "[Nn]egative"),
    "weight nan": ((Y, having(np.ones(N), np.nan)), "NaN"),
}


@pytest.mark.parametrize("name", BAD_SCORES)
def test_bad_targets_to_score(name):
    given, message = BAD_SCORES[name]
    model = ANNRegressor(**QUICK).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        model.score(X, *given)


def test_unnamed_columns_where_names_were_given_warn():
    model = ANNRegressor(**QUICK).fit(FRAME, Y)
    with pytest.warns(UserWarning, match="feature names"):
        model.predict(X)


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
@pytest.mark.parametrize(
    "attribute", ["coefs_", "intercepts_", "coef_", "intercept_", "skip_coef_"]
)
def test_not_fitted(Estimator, attribute):
    with pytest.raises(NotFittedError):
        getattr(Estimator(), attribute)
    with pytest.raises(NotFittedError):
        Estimator().predict(X)


# ------------------------------------------------------------------- interruptions


class FailsAt(Quiet):
    """A callback that raises in the middle of a fit."""

    def __init__(self, epoch: int, error: BaseException) -> None:
        self.epoch, self.error = epoch, error

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch" and context.task_id == self.epoch:
            raise self.error


def through_callback(model, error, monkeypatch):
    model.set_callbacks(FailsAt(1, error))
    return model.set_callbacks


def inside_an_epoch(model, error, monkeypatch):
    """The error comes out of the solver, after some epochs have been done."""
    kind = quasi_newton.QuasiNewton if model.solver == "lbfgs" else solvers.Descent
    epoch, done = kind.epoch, []

    def broken(self, rates):
        done.append(1)
        if len(done) == 3:
            raise error
        return epoch(self, rates)

    monkeypatch.setattr(kind, "epoch", broken)
    return monkeypatch.undo


INTERRUPTIONS = [KeyboardInterrupt(), ArithmeticError("broken"), MemoryError()]


@pytest.mark.parametrize("interrupt", [through_callback, inside_an_epoch])
@pytest.mark.parametrize("error", INTERRUPTIONS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_an_interrupted_fit_leaves_the_old_one(
    solver, warm_start, error, interrupt, monkeypatch
):
    options = {**QUICK, "max_iter": 4, "solver": solver, "warm_start": warm_start}
    if solver != "lbfgs":
        options["dropout"] = 0.2  # its generator is part of the state
    model = ANNRegressor(**options).fit(X, Y)
    undo = interrupt(model, error, monkeypatch)
    before, predicted = state(model), model.predict(X)
    with pytest.raises(type(error)):
        model.fit(X + 1.0, -Y)
    assert_same_state(model, before)
    np.testing.assert_array_equal(model.predict(X), predicted)
    undo()
    # As if the interrupted call had never been.
    undisturbed = ANNRegressor(**options).fit(X, Y).fit(X, Y)
    np.testing.assert_array_equal(model.fit(X, Y).predict(X), undisturbed.predict(X))
    assert model.loss_curve_ == undisturbed.loss_curve_


@pytest.mark.parametrize("interrupt", [through_callback, inside_an_epoch])
def test_an_interrupted_first_fit_leaves_an_unfitted_estimator(interrupt, monkeypatch):
    model = ANNRegressor(**QUICK)
    undo = interrupt(model, KeyboardInterrupt(), monkeypatch)
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert_same_state(model, before)
    undo()
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.fit(X, Y)
    np.testing.assert_array_equal(
        model.predict(X), ANNRegressor(**QUICK).fit(X, Y).predict(X)
    )


def test_an_interrupted_partial_fit_leaves_the_old_state():
    model = ANNClassifier(**QUICK, dropout=0.2)
    model.partial_fit(X, LABELS, classes=["a", "b", "c"])
    twin = pickle.loads(pickle.dumps(model))
    model.set_callbacks(FailsAt(0, KeyboardInterrupt()))
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X, LABELS)
    assert_same_state(model, before)
    model.set_callbacks().partial_fit(X, LABELS)
    np.testing.assert_array_equal(
        model.predict_proba(X), twin.partial_fit(X, LABELS).predict_proba(X)
    )


@pytest.mark.parametrize("given", ["d", "column"])
def test_a_bad_batch_leaves_the_old_state(given, no_training):
    model = ANNClassifier(**QUICK).partial_fit(X, LABELS, classes=["a", "b", "c"])
    before = state(model)
    no_training()
    with pytest.raises(ValueError):
        if given == "d":
            model.partial_fit(X, np.full(N, "d"))
        else:
            model.partial_fit(X[:, :2], LABELS)
    assert_same_state(model, before)


# ------------------------------------------------------------------- hard numbers


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "sgd"},
        {"solver": "sgd", "momentum": 0.0, "batch_size": "full"},
        {"solver": "sgd", "n_init": 3},
        {"solver": "sgd", "early_stopping": True, "n_estimators": 1},
        {"solver": "sgd", "warm_start": True},
    ],
    ids=lambda o: "-".join(map(str, o)),
)
def test_divergence_ends_finite_with_one_warning(options):
    model = ANNRegressor(
        8,
        learning_rate_init=1e6,
        standardize=False,
        max_iter=20,
        random_state=0,
        **options,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(100.0 * X, 100.0 * Y)
        predicted = model.predict(X)
    assert [w.category for w in caught] == [ConvergenceWarning]
    assert "learning_rate_init" in str(caught[0].message)
    assert caught[0].filename == __file__  # it points at the line of the user
    assert model.status_ == "not finite"
    assert np.isfinite(predicted).all()
    assert all(np.isfinite(w).all() for w in model.coefs_)


@pytest.mark.parametrize("alpha", [1e6, 1e30])
def test_a_penalty_larger_than_a_step_draws_to_zero_and_not_beyond(alpha):
    """Decoupled decay: the weights are gone, and the mean is left."""
    model = ANNRegressor(
        4, alpha=alpha, max_iter=20, early_stopping=False, random_state=0
    ).fit(X, Y)
    assert model.status_ != "not finite"
    np.testing.assert_allclose(model.predict(X), Y.mean(), atol=0.2 * Y.std())


def test_units_in_which_parameters_are_no_numbers():
    """Said, rather than infinite numbers predicted, and their differences."""
    model = ANNRegressor(()).fit(X, Y)
    before = state(model)
    with pytest.raises(ValueError, match="divide targets of more than 1e100"):
        model.fit(X * 1e-200, Y * 1e200)
    assert_same_state(model, before)


def test_a_gradient_whose_norm_is_no_number_is_clipped_to_nothing():
    """Without a warning of NumPy's, and the norm is recorded as what it is."""
    model = ANNRegressor(**QUICK, loss="poisson", max_grad_norm=1.0, dtype="float64")
    model.fit(X, 1e299 * (1 + COUNTS))
    assert np.isinf(model.gradient_norms_).all()
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("n_estimators", [1, 3])
def test_a_fit_that_needs_more_epochs_warns_once_of_that(n_estimators):
    model = ANNRegressor(4, max_iter=2, n_estimators=n_estimators, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=2") as caught:
        model.fit(X, Y)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "beyond",
    [(X, 1e60 * Y), (1e60 * X, Y), (1e60 * X, 1e60 * Y)],
    ids=["y", "X", "both"],
)
@pytest.mark.parametrize("n_estimators", [1, 3])
def test_a_batch_of_partial_fit_that_is_not_finite_warns_once(n_estimators, beyond):
    """Of too few epochs it does not warn; what it was before is kept."""
    model = ANNRegressor(
        4, dtype="float32", n_estimators=n_estimators, random_state=0
    ).partial_fit(X, Y)
    before = model.predict(X)
    with pytest.warns(ConvergenceWarning, match="non-finite in epoch 2") as caught:
        model.partial_fit(*beyond)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-6)


def with_logits(y, size):
    """A classifier whose log odds are of that size."""
    model = ANNClassifier((), alpha=1.0).fit(X, y)
    largest = np.abs(model.decision_function(X)).max()
    return model, X * size / largest


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
@pytest.mark.parametrize(
    "y", [LABELS == "a", LABELS, INDICATORS], ids=["binary", "multinomial", "labels"]
)
def test_probabilities_at_huge_log_odds(y, size):
    model, table = with_logits(y, size)
    assert np.abs(model.decision_function(table)).max() > size / 2
    probability = model.predict_proba(table)
    assert np.isfinite(probability).all()
    assert probability.min() >= 0 and probability.max() <= 1
    assert not np.isnan(model.predict_log_proba(table)).any()
    if y is not INDICATORS:
        np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("y", [LABELS == "a", LABELS, INDICATORS])
def test_training_from_huge_log_odds_stays_finite(y):
    n_outputs = {bool: 1}.get(y.dtype.type, 2 if y is INDICATORS else 3)
    n_outputs = 1 if y.dtype == bool else n_outputs
    model = ANNClassifier((), solver="adam", max_iter=5, random_state=0)
    model.fit(X, y, coefs_init=[np.full((D, n_outputs), 1e4)])
    assert model.status_ != "not finite"
    assert np.isfinite(model.loss_curve_).all()
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("solver", ["sgd", "adamw", "lbfgs"])
@pytest.mark.parametrize("columns, targets", [(1e3, 1.0), (1.0, 1e6), (1e3, 1e6)])
def test_units_do_not_matter(solver, columns, targets):
    """Raw columns and targets in odd units lose at most .005 of R2."""
    x, y = make_friedman1(400, noise=0.5, random_state=0)
    model = ANNRegressor(
        16, solver=solver, learning_rate_init=0.05, max_iter=100, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain = clone(model).fit(x[:300], y[:300]).score(x[300:], y[300:])
        x, y = x * columns + columns, y * targets - targets
        scaled = clone(model).fit(x[:300], y[:300]).score(x[300:], y[300:])
    assert plain > 0.8
    assert scaled > plain - 0.005


# ------------------------------------------------------------------- small and odd


def test_one_row():
    model = ANNRegressor((), random_state=0).fit(X[:1], Y[:1])
    np.testing.assert_allclose(model.predict(X[:2]), Y[0])
    network = ANNRegressor(**QUICK).fit(X[:1], Y[:1])
    assert np.isfinite(network.predict(X)).all()


@pytest.mark.parametrize("label", ["only", 7, True])
@pytest.mark.parametrize("hidden", [(), 4])
def test_one_class(label, hidden):
    y = np.full(N, label)
    model = ANNClassifier(**{**QUICK, "hidden_layer_sizes": hidden}).fit(X, y)
    np.testing.assert_array_equal(model.classes_, [label])
    np.testing.assert_array_equal(model.predict(X), y)
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((N, 1)))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("value", [0.0, 1.0, 2000.0])
def test_constant_columns(value, sparse):
    """A constant says nothing: no coefficient, no trouble, and no warning."""
    table = np.column_stack([X, np.full(N, value)])
    table = sp.csr_array(table) if sparse else table
    linear = ANNRegressor(()).fit(table, Y)
    plain = ANNRegressor(()).fit(X, Y)
    # Sparse columns are centred in the products, to rounding only.
    assert abs(linear.coef_[-1]) < 1e-12
    np.testing.assert_allclose(linear.coef_[:-1], plain.coef_, rtol=1e-8)
    network = ANNRegressor(**QUICK).fit(table, Y)
    assert np.isfinite(network.predict(table)).all()


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "poisson"])
def test_constant_targets(loss):
    model = ANNRegressor((), loss=loss).fit(X, np.full(N, 3.0))
    np.testing.assert_allclose(model.predict(X), 3.0, rtol=1e-6)


def test_fewer_rows_than_a_batch():
    model = ANNRegressor(**QUICK, batch_size=1000).fit(X, Y)
    assert model.batch_size_ is None  # all rows at once
