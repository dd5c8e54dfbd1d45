"""What each ingredient of the defaults is worth: without it, one at a time.

``python -m tests.benchmarks.accuracy --ablation`` fits them all. Most ingredients are
parameters. Some are not, since nobody would want them off: the start at the linear
model, the rule that such a start is left for a gain of some standard errors only, the
pace at which columns enter the hidden layers, and the scouts that question it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    defaults,
    departures,
    jobs,
    linear_starts,
    parameters,
    relevance,
    scouts,
)
from sklearn_ann.engine import evidence

from .gains import frame_of, gains_by_table, paired, summary
from .models import Call, Model, ours
from .report import Row, Section, p_value, plain, signed
from .runs import Outcome

OURS = "ours"


# Changes of what is no parameter, as patches of the package.
CHANGES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "start at zero": lambda: _from_zero(),
    "leave on any gain": lambda: _on_any_gain(),
    "one pace": lambda: patch.object(jobs, "have_paces", lambda *given: False),
    "no scouts": lambda: patch.object(scouts, "SCOUTED", 0),
    "alone": lambda: _alone(),
    "coarse": lambda: patch.object(jobs, "fine_columns", lambda *given: ()),
    "of ridge alone": lambda: patch.object(evidence, "_ODDS", np.inf),
    "slowly": lambda: _at_least(0.03),
    "sizes": lambda: patch.object(relevance, "EXPONENT", 0.5),
    "fourth root": lambda: patch.object(relevance, "EXPONENT", 0.25),
    "16 bins": lambda: _embedded(size=16),
    "64 bins": lambda: _embedded(size=64),
    "8 numbers a column": lambda: _embedded(width=8),
    "decay": lambda: patch.dict(defaults.RULES, alpha=lambda case: 0.01 * case.n),
}


def _on_any_gain() -> AbstractContextManager[Any]:
    return patch.object(departures, "_can_be_judged", lambda trials: False)


@contextmanager
def _from_zero() -> Iterator[None]:
    """Without the rule, too, which takes the start for the linear model."""
    switched = patch.object(
        linear_starts, "start_at_linear_models", lambda *given: None
    )
    with switched, _on_any_gain():
        yield


def _alone() -> AbstractContextManager[Any]:
    """With paces that know nothing of what columns show beside others."""
    return patch.object(
        relevance, "explained_beside_another", relevance.explained_alone
    )


def _at_least(pace: float) -> AbstractContextManager[Any]:
    """With no column slower than that."""
    known = relevance.paces
    return patch.object(
        relevance, "paces", lambda explained: np.maximum(known(explained), pace)
    )


def _embedded(**sizes: int) -> AbstractContextManager[Any]:
    made = partial(parameters.NUMERIC_EMBEDDINGS["piecewise_linear"], **sizes)
    return patch.dict(parameters.NUMERIC_EMBEDDINGS, piecewise_linear=made)


class Changed(BaseEstimator):
    """One of our estimators, fitted under a patch of the package.

    Parameters
    ----------
    estimator : ANNRegressor or ANNClassifier
    change : str
        Key of `CHANGES`.
    """

    def __init__(self, estimator: ANNRegressor | ANNClassifier, change: str) -> None:
        self.estimator = estimator
        self.change = change

    def fit(self, X: Any, y: Any) -> Changed:
        """Fit the estimator itself."""
        with CHANGES[self.change]():
            self.estimator.fit(X, y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict as the estimator does."""
        return self.estimator.predict(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict as the estimator does."""
        return self.estimator.predict_proba(X)

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether the estimator is fitted."""
        return hasattr(self.estimator, "n_iter_")


def changed_regressor(change: str, random_state: int | None = None) -> Changed:
    """Make the regressor under a patch."""
    return Changed(ANNRegressor(random_state=random_state), change)


def changed_classifier(change: str, random_state: int | None = None) -> Changed:
    """Make the classifier under a patch."""
    return Changed(ANNClassifier(random_state=random_state), change)


def changed(name: str, change: str) -> Model:
    """Our estimators with their defaults, under a patch."""
    calls = (
        Call(f"{__name__}:changed_{kind}", {"change": change})
        for kind in ("regressor", "classifier")
    )
    return Model(name, "sklearn_ann", *calls, "raw")


WITHOUT = (
    ours("no linear skip", {"linear_skip": False}),
    changed("skip started at zero, left on any gain", "start at zero"),
    changed("linear model left on any gain", "leave on any gain"),
    ours("no embedding of numbers", {"numeric_embedding": None}),
    ours("standard, not robust scales", {"standardize": "standard"}),
    ours("one network", {"n_estimators": 1}),
    changed("all columns at one pace", "one pace"),
    changed("no scouts", "no scouts"),
    changed("32 ramps for all columns", "coarse"),
    changed("start not averaged with the constant", "of ridge alone"),
    ours("constant rate", {"learning_rate": "constant"}),
    ours("ReLU", {"activation": "relu"}),
    ours("the textbook's network", {"early_stopping": False}),
)
"""Without one ingredient of the defaults each; the last one is without any."""

INSTEAD = (
    ours("periodic embedding", {"numeric_embedding": "periodic"}),
    changed("16 bins", "16 bins"),
    changed("64 bins", "64 bins"),
    changed("8 numbers a column", "8 numbers a column"),
    changed("weight decay of .01", "decay"),
    ours("16 networks", {"n_estimators": 16}),
    ours("layers of 128 units", {"hidden_layer_sizes": (128, 128)}),
    changed("pace by what columns explain alone", "alone"),
    changed("irrelevant columns slow, not left out", "slowly"),
    changed("pace by the root", "sizes"),
    changed("pace by the fourth root", "fourth root"),
    ours("dropout of .1", {"dropout": 0.1}),
    ours("rate of .001", {"learning_rate_init": 0.001}),
    ours("batches of 64 rows", {"batch_size": 64}),
    ours("second beta of .95", {"beta_2": 0.95}),
)
"""What was tried in place of the defaults."""


def sections(outcomes: Sequence[Outcome]) -> list[Section]:
    """Tables of what ingredients are worth, and of what was tried in their place."""
    frame = frame_of(outcomes)
    known = set(frame["model"])
    seeds = ", ".join(map(str, sorted(frame["seed"].unique())))
    texts = (
        "The defaults without one of their ingredients at a time; the last line is "
        "without all of them, by early_stopping=False. Worth: mean gain of the "
        f"defaults less that without, with Wilcoxon's test over the sets. Seeds: "
        f"{seeds}. What is worth little here may be worth its place on data that are "
        "linear, where the rule of departures and the start are what the defaults "
        "stand on (`tests/benchmarks/bench_linear_truth.py`).",
        f"Other values in place of the defaults', measured the same way. Seeds: "
        f"{seeds}.",
    )
    found = []
    for title, models, text in zip(
        ("What each ingredient is worth", "Other values"),
        (WITHOUT, INSTEAD),
        texts,
        strict=True,
    ):
        names = [model.name for model in models if model.name in known]
        if names:
            found.append(Section(title, text, _rows(frame, names)))
    return found


def _rows(frame: Any, names: Sequence[str]) -> list[Row]:
    gains, means = gains_by_table(frame), summary(frame)
    rows: list[Row] = [
        ("", "mean gain", "minimum gain", "worth", "worse on", "p", "fit, s")
    ]
    for name in (OURS, *names):
        mean, least = means.loc[name, "mean_gain"], means.loc[name, "minimum_gain"]
        shown = signed(mean), f"{signed(least)} ({means.loc[name, 'minimum_at']})"
        test = paired(gains[OURS], gains[name])
        compared = signed(test.difference), f"{test.better} of {test.n} sets"
        cells = (*compared, p_value(test.p_value))
        label, cells = ("the defaults", ("-",) * 3) if name == OURS else (name, cells)
        rows.append((label, *shown, *cells, plain(means.loc[name, "fit_seconds"])))
    return rows
