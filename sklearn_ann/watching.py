"""scikit-learn's callbacks, verbose output and validation scorers, epoch by epoch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.metrics import check_scoring

from .assembly import Rows
from .engine.fit import Epoch, Fit

Attributes = Callable[[np.ndarray], dict[str, Any]]
"""Parameters (P,) -> attributes that make the estimator ready to predict."""


@dataclass(slots=True)
class Watcher:
    """Tells callbacks of one estimator's fit what happens in it.

    Weights are copied out only when a callback or a scorer asks for a fitted
    estimator.

    Attributes
    ----------
    estimator : estimator instance
    rows : Rows
        What is trained on.
    sample_weight : object
        As the user gave it.
    attributes : callable (row) -> dict
    """

    estimator: Any
    rows: Rows
    sample_weight: Any
    attributes: Attributes
    context: Any = None
    restarts: list[Any] = field(default_factory=list)

    @property
    def _data(self) -> dict[str, Any]:
        metadata = None
        if self.sample_weight is not None:
            metadata = {"sample_weight": self.sample_weight}
        return {
            "estimator": self.estimator,
            "X": lambda: named(self.estimator, self.rows.X),
            "y": self.rows.labels,
            "metadata": metadata,
        }

    def begin(self, fits: list[Fit], scouts: list[Fit]) -> None:
        """Open the fit's context, and give every fit its hook, where anyone listens.

        Nobody hears of scouts, but checkpoints keep them.
        """
        estimator = self.estimator
        listening = bool(getattr(estimator, "_skl_callbacks", []))
        restarts = len(fits) > 1
        epochs = fits[0].settings.max_iter
        self.context = estimator._init_callback_context(
            max_subtasks=len(fits) if restarts else epochs,
            sequential_subtasks=not restarts,
        )
        self.context.call_on_fit_task_begin(**self._data)
        if not (listening or estimator.verbose):
            return
        for callback in getattr(estimator, "_skl_callbacks", []):
            if hasattr(callback, "keep"):  # a Checkpoint
                callback.keep(estimator, [*fits, *scouts])
        for i, fit in enumerate(fits):
            parent = self.context
            if restarts:
                parent = parent.subcontext(
                    task_name="restart", task_id=i, max_subtasks=epochs
                )
                parent.call_on_fit_task_begin(**self._data)
                self.restarts.append(parent)
            fit.on_epoch = self._hook(parent, f" of restart {i}" if restarts else "")

    def _hook(self, parent: Any, which: str) -> Callable[[Epoch], bool]:
        def on_epoch(epoch: Epoch) -> bool:
            if self.estimator.verbose:
                print(_line(epoch, which))
            context = parent.subcontext(task_name="epoch")
            context.call_on_fit_task_begin(**self._data)
            stop = context.call_on_fit_task_end(
                **self._data,
                reconstruction_attributes=lambda: self.attributes(epoch.row()),
            )
            return bool(stop)

        return on_epoch

    def end(self, row: np.ndarray, note: str | None = None) -> None:
        """Close the fit's contexts; ``row`` are the parameters that are kept.

        Print the engine's note on the fit, if there is one and anyone asked.
        """
        if note is not None and self.estimator.verbose:
            print(note)
        for restart in self.restarts:
            restart.call_on_fit_task_end(**self._data)
        self.context.call_on_fit_task_end(
            **self._data, reconstruction_attributes=lambda: self.attributes(row)
        )


def _line(epoch: Epoch, which: str) -> str:
    line = f"Epoch {epoch.number}{which}: loss = {epoch.loss:.8f}"
    return line if epoch.score is None else f"{line}, validation = {epoch.score:.8f}"


def named(estimator: Any, X: Any) -> Any:
    """Give X back as the estimator was given it: with its names and levels."""
    coding = getattr(estimator, "_coding", None)
    if coding is not None:
        return coding.decode(X)
    names = getattr(estimator, "feature_names_in_", None)
    if names is None or sp.issparse(X):
        return X
    return pd.DataFrame(X, columns=names, copy=False)


def validation_scorer(
    estimator: Any, held_out: Rows, attributes: Attributes
) -> Callable[[np.ndarray], float] | None:
    """Score parameters on the held-out rows by the estimator's ``scoring``.

    None for scoring="loss", which the engine computes itself.
    """
    if estimator.scoring == "loss":
        return None
    scorer = check_scoring(estimator, estimator.scoring)
    X = named(estimator, held_out.X[held_out.index])
    y = held_out.labels[held_out.index]
    weight = held_out.own_weight
    options = {} if weight is None else {"sample_weight": weight}

    def score(row: np.ndarray) -> float:
        fitted = copy.copy(estimator)
        vars(fitted).update(attributes(row))
        return float(scorer(fitted, X, y, **options))

    return score
