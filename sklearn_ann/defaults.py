"""What "auto" means for the rows at hand: the package's defaults, as rules.

With rows enough to hold some out, "auto" is an ensemble of networks that start as the
linear model, embed their columns, and stop early. ``early_stopping=False`` is the way
back to the textbook: with it, every other "auto" is a single plain network's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .parameters import hidden_layers

# Fewer rows than this are fitted whole, by one network, in float64.
LEAST_ROWS = 50
# Fewer rows are left without an embedding, whose 32 bins would hold few of them each.
LEAST_EMBEDDED_ROWS = 300
MEMBERS = 8
# Beyond so many rows members are fewer, so that their time grows no faster than rows.
MANY_ROWS = 50_000
BATCH, LARGEST_BATCH, STEPS = 128, 1024, 200
TEXTBOOK_BATCH, TEXTBOOK_PENALTY = 200, 1e-4
EPOCHS, LEAST_EPOCHS, LONG_ROWS = 100, 10, 25_000


@dataclass(frozen=True, slots=True)
class Case:
    """What the rules look at.

    Attributes
    ----------
    n : int
        Rows of positive weight.
    sparse : bool
    hidden : bool
        Whether there is a hidden layer.
    early_stopping : bool
        As asked for, or as decided.
    textbook : bool
        Whether early stopping was refused, or makes no sense: without hidden layer,
        with L-BFGS, and in `partial_fit`, which sees its rows once.
    bfloat16 : bool
    """

    n: int
    sparse: bool
    hidden: bool
    early_stopping: bool
    textbook: bool
    bfloat16: bool

    @property
    def ours(self) -> bool:
        """Whether rows are held out, and textbooks not followed."""
        return self.early_stopping and not self.textbook


Rule = Callable[[Case], Any]


def _members(case: Case) -> int:
    if not case.ours:
        return 1
    return max(1, int(MEMBERS * min(1.0, MANY_ROWS / case.n)))


def _batch(case: Case) -> int:
    """Return 128 rows, or a power of two that gives some 200 steps an epoch."""
    if not case.ours:
        return TEXTBOOK_BATCH
    wanted = 2 ** int(np.log2(max(1.0, case.n / STEPS)))
    return min(max(BATCH, wanted), LARGEST_BATCH)


def _epochs(case: Case) -> int:
    if not case.ours:
        return 200
    share = min(1.0, np.sqrt(LONG_ROWS / case.n))
    return max(LEAST_EPOCHS, int(EPOCHS * share))


def _embedding(case: Case) -> str | None:
    possible = not case.sparse and not case.bfloat16 and case.n >= LEAST_EMBEDDED_ROWS
    return "piecewise_linear" if case.ours and possible else None


def _either(ours: Any, textbook: Any) -> Rule:
    return lambda case: ours if case.ours else textbook


def _scaling(case: Case) -> str:
    return "robust" if case.ours and not case.sparse else "standard"


RULES: dict[str, Rule] = {
    "standardize": _scaling,
    "linear_skip": lambda case: not case.textbook,
    "numeric_embedding": _embedding,
    "n_estimators": _members,
    "dropout": lambda case: 0.0,
    # Networks that stop early are no better for a penalty.
    "alpha": lambda case: TEXTBOOK_PENALTY if case.hidden and not case.ours else 0.0,
    "batch_size": _batch,
    # No better than a constant one, but it ends training within its epochs.
    "learning_rate": _either("cosine", "constant"),
    "learning_rate_init": _either(0.003, 0.001),
    "max_iter": _epochs,
    "n_iter_no_change": _either(20, 10),
}
"""What "auto" is for each parameter that has it, early stopping apart."""


def decided(
    estimator: Any,
    X: Any,
    sample_weight: Any = None,
    *,
    incremental: bool = False,
    resumes: bool = False,
) -> Any:
    """Copy an estimator, with every "auto" of `RULES` decided for these rows.

    Parameters
    ----------
    estimator : ANNRegressor or ANNClassifier
    X : {array, sparse array} of shape (n, d)
        Checked.
    sample_weight : array-like of shape (n,) or None
    incremental : bool, default=False
        Whether this is a `partial_fit`.
    resumes : bool, default=False
        Whether training goes on: what was decided once stays.
    """
    case = _case(estimator, X, sample_weight, incremental)
    found = copy.copy(estimator)
    found.early_stopping = case.early_stopping
    for name, rule in RULES.items():
        if is_auto(getattr(estimator, name)):
            kept = resumes and name in _KEPT and hasattr(estimator, f"{name}_")
            value = getattr(estimator, f"{name}_") if kept else rule(case)
            setattr(found, name, value)
    return found


def choices(found: Any) -> dict[str, Any]:
    """Fitted attributes that show what was decided."""
    return {f"{name}_": getattr(found, name) for name in ("early_stopping", *_SHOWN)}


# The others are shown as the solver took them.
_SHOWN = [name for name in RULES if name not in ("alpha", "batch_size")]
# Batches follow the rows of each call: what was all rows of one is few of the next.
_KEPT = [name for name in RULES if name != "batch_size"]


def is_auto(value: Any) -> bool:
    """Whether a parameter is left to the rules."""
    return isinstance(value, str) and value == "auto"


def _case(estimator: Any, X: Any, sample_weight: Any, incremental: bool) -> Case:
    weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
    weight = np.asarray(weight, dtype=float)
    n, hidden = int(np.count_nonzero(weight)), bool(hidden_layers(estimator)[0])
    asked, auto = estimator.early_stopping, is_auto(estimator.early_stopping)
    ours = hidden and estimator.solver != "lbfgs" and not incremental
    return Case(
        n,
        sp.issparse(X),
        hidden,
        ours and n >= LEAST_ROWS if auto else bool(asked),
        not ours or asked is False,
        estimator.dtype == "bfloat16",
    )
