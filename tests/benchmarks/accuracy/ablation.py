"""What each ingredient of the defaults is worth: without it, one at a time.

``python -m tests.benchmarks.accuracy --ablation`` fits them all. Most ingredients are
parameters. Two are not, since nobody would want them off: the start at the linear
model, and the rule that such a start is left for a gain of some standard errors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from sklearn_ann import ANNClassifier, ANNRegressor, departures, linear_starts

from .gains import frame_of, gains_by_table, paired, summary
from .models import Call, Model, ours
from .report import Row, Section, p_value, plain, signed
from .runs import Outcome

OURS = "ours"


class _FromZero:
    """Whose linear skip starts at zero."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit without the linear start."""
        with patch.object(linear_starts, "start_at_linear_models", lambda *given: None):
            return super().fit(X, y)  # type: ignore[misc]


class _OnAnyGain:
    """Which leaves the linear model whenever that looks better on held-out rows."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit without the rule of departures, and without what comes with it."""
        with patch.object(departures, "_can_be_judged", lambda trials: False):
            return super().fit(X, y)  # type: ignore[misc]


class RegressorFromZero(_FromZero, ANNRegressor):
    """The regressor, its linear skip started at zero."""


class ClassifierFromZero(_FromZero, ANNClassifier):
    """The classifier, its linear skip started at zero."""


class RegressorOnAnyGain(_OnAnyGain, ANNRegressor):
    """The regressor, leaving the linear model on any gain."""


class ClassifierOnAnyGain(_OnAnyGain, ANNClassifier):
    """The classifier, leaving the linear model on any gain."""


def _own(name: str, ending: str) -> Model:
    calls = (Call(f"{__name__}:{kind}{ending}") for kind in ("Regressor", "Classifier"))
    return Model(name, "sklearn_ann", *calls, "raw")


WITHOUT = (
    ours("no linear skip", {"linear_skip": False}),
    _own("skip started at zero", "FromZero"),
    _own("linear model left on any gain", "OnAnyGain"),
    ours("no embedding of numbers", {"numeric_embedding": None}),
    ours("standard, not robust scales", {"standardize": "standard"}),
    ours("one network", {"n_estimators": 1}),
    ours("no dropout", {"dropout": 0.0}),
    ours("no weight decay", {"alpha": 0.0}),
    ours("constant rate", {"learning_rate": "constant"}),
    ours("ReLU", {"activation": "relu"}),
    ours("the textbook's network", {"early_stopping": False}),
)
"""Without one ingredient of the defaults each; the last one is without any."""

INSTEAD = (
    ours("periodic embedding", {"numeric_embedding": "periodic"}),
    ours("16 networks", {"n_estimators": 16}),
    ours("layers of 128 units", {"hidden_layer_sizes": (128, 128)}),
    ours("dropout of .2", {"dropout": 0.2}),
    ours("rate of .001", {"learning_rate_init": 0.001}),
    ours("batches of 64 rows", {"batch_size": 64}),
    ours("second beta of .95", {"beta_2": 0.95}),
)
"""What was tried in place of the defaults."""


def sections(outcomes: Sequence[Outcome]) -> list[Section]:
    """Tables of what ingredients are worth, and of what was tried in their place."""
    frame = frame_of(outcomes)
    known = set(frame["model"])
    texts = (
        "The defaults without one of their ingredients at a time; the last line is "
        "without all of them, by early_stopping=False. Worth: mean gain of the "
        "defaults less that without, with Wilcoxon's test over the sets.",
        "Other values of the defaults' parameters, measured the same way.",
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
