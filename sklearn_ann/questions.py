"""What is asked of inference, what it answers, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .estimates import Basis
from .evaluation import Averaging
from .fit_rows import FitRows
from .quantities import Quantity
from .reading import Reading


class Invalid(ValueError):
    """A method was asked for that does not hold for this fit.

    Attributes
    ----------
    reason, way_out : str
    """

    def __init__(self, reason: str, way_out: str = "") -> None:
        super().__init__(reason, way_out)
        self.reason, self.way_out = reason, way_out

    def of(self, vcov: str) -> Invalid:
        """Return the refusal in the name of what was asked for."""
        return Invalid(f"vcov={vcov!r} does not hold here: {self.reason}", self.way_out)

    def __str__(self) -> str:
        end = f" To get standard errors, {self.way_out}." if self.way_out else ""
        return f"{self.reason}.{end}"


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is asked: quantities of a fitted estimator, averaged over rows.

    Attributes
    ----------
    reading : Reading
    rows : FitRows
        The rows of the fit.
    quantities : sequence of Quantity
    over : Averaging
        The rows averaged over.
    target : {"response", "link"}
    unconditional : bool
    own_rows : bool
        Whether the rows averaged over are those of the fit, as they are or with columns
        held at values.
    n_replicates, n_seeds : int
    random_state : int, RandomState or None
    add_seed_variance : bool
    """

    reading: Reading
    rows: FitRows
    quantities: Sequence[Quantity]
    over: Averaging
    target: str
    unconditional: bool = False
    own_rows: bool = True
    n_replicates: int = 200
    n_seeds: int = 1
    random_state: Any = None
    add_seed_variance: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Estimates and their covariance; q runs over quantities, groups, outputs.

    Attributes
    ----------
    estimate : ndarray of shape (q,)
    vcov : ndarray of shape (q, q)
    basis : Basis
    influence : ndarray of shape (n, q) or None
    draws : ndarray of shape (R, q) or None
    absent : tuple of str of length q
    beside : mapping of str to ndarray of shape (q,)
    quantities : sequence of Quantity or None
        What was answered, where that is not what was asked.
    """

    estimate: np.ndarray
    vcov: np.ndarray
    basis: Basis
    influence: np.ndarray | None = None
    draws: np.ndarray | None = None
    absent: tuple[str, ...] = ()
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)
    quantities: Sequence[Quantity] | None = None


Method = Callable[[Question], Answer]


def missing_notes(question: Question, missing: np.ndarray) -> tuple[str, ...]:
    """Say how many rows (Q,) are left out of which effect."""
    left_out: dict[str, int] = {}
    for quantity, count in zip(question.quantities, missing, strict=True):
        if count:
            left_out[quantity.term] = int(count)
    return tuple(
        f"{count:,} rows where {term} is missing are left out of its effect."
        for term, count in left_out.items()
    )


def spread_over(values: np.ndarray, by_quantity: Sequence[str]) -> tuple[str, ...]:
    """Repeat what holds for a quantity for its groups and outputs, (Q, G, m)."""
    times = values[0].size if len(values) else 0
    return tuple(text for text in by_quantity for _ in range(times))
