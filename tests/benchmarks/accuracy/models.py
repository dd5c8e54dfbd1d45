"""The models: ours, the linear one, and the peers, as values.

A model is an estimator's path and settings for either task, and the columns it gets.
Nothing is imported before it is made, so that peers may be absent.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from .columns import COLUMNS

LINEAR = "linear"


@dataclass(frozen=True, slots=True)
class Call:
    """A class and the parameters it is made with.

    Attributes
    ----------
    path : str
        ``module:Class``
    settings : mapping from str to object
    """

    path: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Show the class and its parameters, ready to be read by people."""
        settings = (f"{name}={value!r}" for name, value in self.settings.items())
        return f"{self.path.partition(':')[2]}({', '.join(settings)})"

    def __call__(self, **more: Any) -> BaseEstimator:
        """Make the estimator."""
        return self._imported()(**self.settings, **more)

    def takes(self, parameter: str) -> bool:
        """Whether the class has a parameter of this name."""
        return parameter in inspect.signature(self._imported()).parameters

    def _imported(self) -> type:
        module, _, name = self.path.partition(":")
        return getattr(import_module(module), name)


@dataclass(frozen=True, slots=True)
class Model:
    """A column of the table.

    Attributes
    ----------
    name : str
    package : str
        What has to be installed; its version is part of every result.
    regressor, classifier : Call
    columns : str
        Key of `COLUMNS`: the form in which the model gets the table.
    """

    name: str
    package: str
    regressor: Call
    classifier: Call
    columns: str = "numbers"

    @property
    def ours(self) -> bool:
        """Whether it is a model of this package."""
        return self.package == "sklearn_ann"


_CATBOOST = {"thread_count": 1, "verbose": False, "allow_writing_files": False}
_LIGHTGBM = {"n_jobs": 1, "verbosity": -1}
_STOPPED = {"early_stopping": True}

PEERS = (
    Model(
        LINEAR,
        "sklearn",
        Call("sklearn.linear_model:LinearRegression"),
        Call("sklearn.linear_model:LogisticRegression", {"max_iter": 2000}),
    ),
    Model(
        "mlp",
        "sklearn",
        Call("sklearn.neural_network:MLPRegressor"),
        Call("sklearn.neural_network:MLPClassifier"),
    ),
    Model(
        "mlp_es",
        "sklearn",
        Call("sklearn.neural_network:MLPRegressor", _STOPPED),
        Call("sklearn.neural_network:MLPClassifier", _STOPPED),
    ),
    Model(
        "hgb",
        "sklearn",
        Call("sklearn.ensemble:HistGradientBoostingRegressor"),
        Call("sklearn.ensemble:HistGradientBoostingClassifier"),
        "levels",
    ),
    Model(
        "lgbm",
        "lightgbm",
        Call("lightgbm:LGBMRegressor", _LIGHTGBM),
        Call("lightgbm:LGBMClassifier", _LIGHTGBM),
        "levels",
    ),
    Model(
        "catboost",
        "catboost",
        Call("catboost:CatBoostRegressor", _CATBOOST),
        Call("catboost:CatBoostClassifier", _CATBOOST),
        "levels, listed",
    ),
)


def ours(
    name: str = "ours",
    settings: Mapping[str, Any] | None = None,
    encoded: bool = False,
) -> Model:
    """Our estimators, with their defaults but for the settings.

    Parameters
    ----------
    name : str, default="ours"
    settings : mapping from str to object, default=None
    encoded : bool, default=False
        Whether they get `columns.numbers` instead of the table as it is.
    """
    settings = dict(settings or {})
    return Model(
        name,
        "sklearn_ann",
        Call("sklearn_ann:ANNRegressor", settings),
        Call("sklearn_ann:ANNClassifier", settings),
        "numbers" if encoded else "raw",
    )


def variant(text: str, encoded: bool = False) -> Model:
    """Our estimators as the command line describes them.

    Parameters
    ----------
    text : str
        A name and parameters, ``gelu="activation='gelu', n_estimators=8"``.
    encoded : bool, default=False

    Raises
    ------
    ValueError
        If it has no name, or the parameters are not ``key=literal`` pairs.
    """
    name, equals, parameters = text.partition("=")
    try:
        if not equals or not name.isidentifier():
            raise ValueError(name)
        return ours(name, _literals(parameters), encoded)
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f'expected NAME="parameter=value, ..." with literal values, got {text!r}'
        ) from error


def _literals(parameters: str) -> dict[str, Any]:
    """Read keyword arguments without running any code."""
    call = ast.parse(f"dict({parameters})", mode="eval").body
    if not isinstance(call, ast.Call) or call.args:
        raise ValueError(parameters)
    pairs = {pair.arg: ast.literal_eval(pair.value) for pair in call.keywords}
    if None in pairs or len(pairs) < len(call.keywords):  # two stars, a name twice
        raise ValueError(parameters)
    return pairs


def make(model: Model, X: pd.DataFrame, task: str, seed: int) -> BaseEstimator:
    """Make an estimator that takes the table X, not fitted.

    Raises
    ------
    Exception
        Whatever the estimator's class raises.
    """
    call = model.regressor if task == "regression" else model.classifier
    transformer, settings = COLUMNS[model.columns](X)
    if call.takes("random_state"):
        settings["random_state"] = seed
    return make_pipeline(transformer, call(**settings))


def is_installed(model: Model) -> bool:
    """Whether the model's package can be imported."""
    return find_spec(model.package) is not None


@cache
def version_of(package: str) -> str:
    """Version of a package; of ours also its source and that of PyTorch.

    The version number of a package under development says nothing about its results.
    """
    if package == "sklearn_ann":
        return f"{digest_of(_source(package))}, torch {version('torch')}"
    try:
        return version({"sklearn": "scikit-learn"}.get(package, package))
    except PackageNotFoundError:
        return "of unknown version"


def digest_of(paths: Iterable[Path]) -> str:
    """Hash of the names and contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _source(package: str) -> list[Path]:
    """Files of a package."""
    return sorted(Path(find_spec(package).origin).parent.rglob("*.py"))
