"""A fit as data: what is asked of one network, what it goes through, how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import torch
from torch import Tensor

from .expansion import Expansion
from .rows import SparseRows

Standing = list[tuple["Fit", "FitState | Outcome"]]
Keeper = Callable[[Callable[[], Standing], bool], None]


class Status(Enum):
    """How a fit ended."""

    CONVERGED = "converged"
    MAX_ITER = "reached max_iter"
    STOPPED = "stopped by a callback"
    DIVERGED = "not finite"


@dataclass(frozen=True, slots=True)
class Settings:
    """What shapes one network's training; the names are the estimators' own.

    ``batch_size`` None is the full batch. Under ``early_stopping`` the validation score
    decides when training ends and which parameters are kept; without, it is a record.
    ``start_counts``: the start may be kept too. ``polish``: a network without hidden
    layer may end with Newton's method.
    """

    learning_rate_init: float = 0.001
    alpha: float = 0.0
    l1_ratio: float = 0.0
    dropout: float = 0.0
    momentum: float = 0.9
    power_t: float = 0.5
    max_iter: int = 200
    tol: float = 1e-4
    n_iter_no_change: float = 10
    max_grad_norm: float = np.inf
    batch_size: int | None = None
    shuffle: bool = True
    early_stopping: bool = False
    start_counts: bool = False
    polish: bool = True


@dataclass(slots=True)
class Fit:
    """One network's fit, as asked for.

    Attributes
    ----------
    x : Tensor of shape (n, d + 1), its last column ones, or SparseRows
    y : Tensor of shape (n, my)
    index : Tensor of shape (r,), int64
        Rows to train on.
    weight : Tensor of shape (r,) or None
        Their weights, all positive.
    start : ndarray of shape (P,)
        Starting parameters.
    settings : Settings
    seed : int
        Decides shuffles and dropout; the start has been drawn already.
    x_val, y_val, index_val, weight_val
        Validation rows in the same form, or None.
    validate : callable (row) -> float, or None
        Scores a network's parameters (P,), in place of minus the validation loss.
    on_epoch : callable (Epoch) -> bool, or None
        Called after each epoch; returns True to stop.
    state : FitState or None
        Where an earlier fit stopped: training goes on from there.
    keep_state : bool
        Whether the outcome shall carry such a state.
    expansion : Expansion or None
        What becomes of the codes in dense tables; these are compact then.
    outcome : Outcome or None
        Of a fit that had ended when those beside it were broken off: it is not trained.
    keeper : callable (standing, over) -> None, or None
        Called after each epoch of its stack: with what gives the standing of its fits
        there, a state to go on from or the outcome of each, and whether all have ended.
    pace : ndarray of shape (P,) or None
        What the learning rate of each parameter is multiplied by; L-BFGS has none.
    """

    x: Tensor | SparseRows
    y: Tensor
    index: Tensor
    weight: Tensor | None
    start: np.ndarray
    settings: Settings
    seed: int
    x_val: Tensor | SparseRows | None = None
    y_val: Tensor | None = None
    index_val: Tensor | None = None
    weight_val: Tensor | None = None
    validate: Callable[[np.ndarray], float] | None = None
    on_epoch: Callable[[Epoch], bool] | None = None
    state: FitState | None = None
    keep_state: bool = False
    expansion: Expansion | None = None
    outcome: Outcome | None = None
    keeper: Keeper | None = None
    pace: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch hook sees; ``row`` is copied out only when called."""

    number: int
    loss: float
    score: float | None
    row: Callable[[], np.ndarray]


@dataclass(slots=True)
class Record:
    """What one network has been through, epoch by epoch.

    Attributes
    ----------
    losses, scores, rates : list of float
        Training loss with its penalty, validation score (higher is better), learning
        rate.
    norms : list of ndarray of shape (layers,)
        Gradient norms by layer.
    best_loss, best_score, start_score : float
        The last where the start counts.
    best_row : ndarray of shape (P,) or None
        Parameters of the best validation score, under early stopping.
    patience_used : int
        Epochs in a row without improvement.
    base_rate : float
        The learning rate before its schedule.
    rows_seen : int
    """

    base_rate: float
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    norms: list[np.ndarray] = field(default_factory=list)
    best_loss: float = np.inf
    best_score: float = -np.inf
    start_score: float = np.nan
    best_row: np.ndarray | None = None
    patience_used: int = 0
    rows_seen: int = 0


@dataclass(slots=True)
class FitState:
    """All that a fit needs to go on later as if it had never stopped.

    ``solver`` is None after a fit that was not finite: its moments are not either, so
    the solver starts afresh from the last finite parameters. A fit that was broken off
    has ``epochs`` of its own behind it, which count for its schedule and its end; one
    that had ended has none.
    """

    row: np.ndarray
    record: Record
    solver: dict | None
    shuffler: torch.Generator
    dropper: np.random.Generator
    epochs: int = 0
    seconds: float = 0.0
    pace: np.ndarray | None = None


@dataclass(slots=True)
class Outcome:
    """One network's fit, as it ended.

    Attributes
    ----------
    row : ndarray of shape (P,), in the dtype of training
        The parameters: of the best epoch under early stopping, else the last finite.
    status : Status
    n_iter : int
        Epochs, those of earlier calls included.
    record : Record
    seconds : float
        This network's share of the stack's time.
    state : FitState or None
    note : str or None
        What a user who asks to be told should know of how it went.
    linear : bool or None
        Whether the network stayed the linear model that it started as; None where
        nobody asked.
    """

    row: np.ndarray
    status: Status
    n_iter: int
    record: Record
    seconds: float
    state: FitState | None
    note: str | None = None
    linear: bool | None = None
