"""The estimators' parameters: their constraints, and what "auto" resolves to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

# Parameter constraints are what scikit-learn checks estimators with; it offers no
# public names for them yet.
from sklearn.utils._param_validation import Interval, Options, StrOptions

from .design import Design
from .encoding import Target
from .engine.architecture import Architecture
from .engine.device import DTYPES, resolve_device, resolve_dtype, stored_dtype
from .engine.embeddings import Embedding
from .engine.fit import Settings
from .engine.layers import ACTIVATIONS, INITIALIZERS
from .engine.optimizers import SOLVERS, SolverOptions
from .engine.schedules import SCHEDULES

REGRESSION_LOSSES = (
    "squared_error",
    "absolute_error",
    "huber",
    "quantile",
    "poisson",
    "gamma",
)
# Numbers made of each column, and waves or bins that they are made of: with the column
# itself four, as in RealMLP (Holzmueller, Grinsztajn and Steinwart 2024).
NUMERIC_EMBEDDINGS = {
    "periodic": partial(Embedding, "periodic", width=3, size=16),
    "piecewise_linear": partial(Embedding, "piecewise_linear", width=4, size=32),
}
# Ramps of a column that fine bins explain more of y by (see `fineness`).
FINE_RAMPS = 128
# Categories of more levels have numbers of their own that are learned, so many of each.
MOST_ONE_HOT = 32
LOOKUP_WIDTH = 8

_POSITIVE = Interval(Real, 0, None, closed="neither")
_NON_NEGATIVE = Interval(Real, 0, None, closed="left")
_SHARE = Interval(Real, 0, 1, closed="left")
_COUNT = Interval(Integral, 1, None, closed="left")

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", _COUNT],
    "activation": [StrOptions(set(ACTIVATIONS)), "array-like"],
    "solver": [StrOptions({"auto", *SOLVERS})],
    "alpha": [StrOptions({"auto"}), _NON_NEGATIVE],
    "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    "batch_size": [StrOptions({"auto", "full"}), _COUNT],
    "learning_rate": [StrOptions({"auto", *SCHEDULES})],
    "learning_rate_init": [StrOptions({"auto"}), _POSITIVE],
    "power_t": [_NON_NEGATIVE],
    "max_iter": [StrOptions({"auto"}), _COUNT],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_NON_NEGATIVE],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": [StrOptions({"auto"}), "boolean"],
    "scoring": [str, callable, None],
    "validation_fraction": [_SHARE],
    "beta_1": [_SHARE],
    "beta_2": [_SHARE],
    "epsilon": [_POSITIVE],
    "n_iter_no_change": [StrOptions({"auto"}), _COUNT, Options(Real, {np.inf})],
    "max_fun": [_COUNT],
    "standardize": ["boolean", StrOptions({"auto", "standard", "robust"})],
    "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
    "linear_skip": [StrOptions({"auto"}), "boolean"],
    "numeric_embedding": [StrOptions({"auto", *NUMERIC_EMBEDDINGS}), None],
    "dropout": [StrOptions({"auto"}), _SHARE],
    "max_grad_norm": [_POSITIVE, None],
    "init": [StrOptions({"auto", *INITIALIZERS})],
    "n_init": [_COUNT],
    "n_estimators": [StrOptions({"auto"}), _COUNT],
    "device": [str, torch.device],
    "dtype": [StrOptions({"auto", *DTYPES})],
}


@dataclass(frozen=True, slots=True)
class Plan:
    """An estimator's parameters with every "auto" resolved for its data.

    Attributes
    ----------
    architecture : Architecture
    options : SolverOptions
    settings : Settings
    device : torch.device
    dtype : torch.dtype
        Of the products; with bfloat16 all that is kept is float32.
    """

    architecture: Architecture
    options: SolverOptions
    settings: Settings
    device: torch.device
    dtype: torch.dtype

    @property
    def table_dtype(self) -> torch.dtype:
        """Dtype of the tables of rows."""
        return stored_dtype(self.dtype)

    @property
    def kind(self) -> tuple[str, str]:
        """Solver and dtype: a state left by one kind is of no use to another."""
        return self.options.name, str(self.dtype)


def hidden_layers(estimator: Any) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Read hidden_layer_sizes and activation: one size, one name for each layer.

    Raises
    ------
    ValueError
        When a size is not a positive whole number, or the names do not match them.
    """
    sizes = estimator.hidden_layer_sizes
    sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
    if any(not isinstance(h, Integral) or h <= 0 for h in sizes):
        raise ValueError(
            "hidden_layer_sizes must hold whole numbers > 0, got "
            f"{estimator.hidden_layer_sizes!r}. Use () for no hidden layer."
        )
    names = estimator.activation
    names = [names] * len(sizes) if isinstance(names, str) else list(names)
    _check_activations(names, sizes)
    return tuple(int(h) for h in sizes), tuple(names)


def _check_activations(names: Sequence[Any], sizes: Sequence[int]) -> None:
    if len(names) != len(sizes):
        raise ValueError(
            f"activation names {len(names)} functions for {len(sizes)} hidden layers. "
            "Give one name for all layers, or one for each."
        )
    unknown = [name for name in names if name not in ACTIVATIONS]
    if unknown:
        raise ValueError(
            f"activation {unknown[0]!r} is unknown; expected one of "
            f"{sorted(ACTIVATIONS)}."
        )


def make_architecture(
    estimator: Any,
    n_inputs: int,
    n_columns: int,
    target: Target,
    design: Design | None = None,
    fine: tuple[int, ...] = (),
) -> Architecture:
    """Return the network's shape for ``n_inputs`` columns and the target's columns.

    Where there is a design, its columns are the network's; ``fine`` ones have more
    ramps than others.
    """
    hidden, activations = hidden_layers(estimator)
    # Without hidden layer the layer itself is the linear skip.
    skip = bool(estimator.linear_skip and hidden)
    n_outputs = target.loss.n_raw(n_columns)
    n_inputs = n_inputs if design is None else design.n_inputs
    numbers = n_inputs if design is None else len(design.numbers)
    embeddings = numeric_embeddings(estimator, numbers, fine)
    embeddings += () if design is None else lookups(design)
    return Architecture(n_inputs, hidden, n_outputs, activations, skip, embeddings)


def numeric_embeddings(
    estimator: Any, n_columns: int, fine: tuple[int, ...]
) -> tuple[Embedding, ...]:
    """Embed columns of numbers as numeric_embedding asks."""
    if estimator.numeric_embedding is None:
        return ()
    embedded = NUMERIC_EMBEDDINGS[estimator.numeric_embedding]
    plain = tuple(j for j in range(n_columns) if j not in fine)
    found = (embedded(plain),) if plain else ()
    return found + ((embedded(fine, size=FINE_RAMPS),) if fine else ())


def fine_ramps(architecture: Architecture) -> tuple[int, ...]:
    """Columns that a network has fine ramps of."""
    ramps = [e for e in architecture.embeddings if e.kind == "piecewise_linear"]
    return tuple(j for e in ramps if e.size == FINE_RAMPS for j in e.columns)


def most_one_hot(estimator: Any) -> float:
    """Levels up to which a column of categories becomes one-hot columns.

    All of them without hidden layer, where dummies are the regression asked for, and
    in bfloat16, which does not tell large codes apart.
    """
    if hidden_layers(estimator)[0] and estimator.dtype != "bfloat16":
        return MOST_ONE_HOT
    return np.inf


def lookups(design: Design) -> tuple[Embedding, ...]:
    """Look numbers up for the columns that are codes, the last of the design."""
    levels = tuple(own.count + 1 for own in design.lookups)
    if not levels:
        return ()
    columns = tuple(range(design.n_inputs - len(levels), design.n_inputs))
    return (Embedding("lookup", columns, LOOKUP_WIDTH, levels=levels),)


def check_dense(numeric_embedding: str | None, X: Any) -> None:
    """Refuse sparse X where its columns are to be embedded.

    Raises
    ------
    ValueError
        When X is sparse and numeric_embedding is not None.
    """
    if numeric_embedding not in (None, "auto") and sp.issparse(X):
        raise ValueError(
            f"numeric_embedding={numeric_embedding!r} makes several numbers "
            "of every entry, the zeros included, so it expects dense X; got sparse "
            "data. Use X.toarray() if that fits into memory, or numeric_embedding=None."
        )


def resolve_solver(estimator: Any, *, incremental: bool = False) -> str:
    """Resolve solver="auto": exact without hidden layer, else AdamW.

    A smooth convex problem without an L1 penalty is solved exactly by L-BFGS and
    Newton's method; `partial_fit`, which sees its data once, needs steps.
    """
    if estimator.solver != "auto":
        return str(estimator.solver)
    hidden, _ = hidden_layers(estimator)
    lasso = estimator.l1_ratio > 0 and estimator.alpha > 0
    return "adamw" if hidden or lasso or incremental else "lbfgs"


def resolve_batch(estimator: Any, n_rows: int) -> int | None:
    """Resolve batch_size to a number of rows, or None for the full batch."""
    asked = estimator.batch_size
    if asked == "full":
        return None
    return int(asked) if asked < n_rows else None


def make_plan(
    estimator: Any,
    architecture: Architecture,
    n_rows: int,
    *,
    incremental: bool = False,
) -> Plan:
    """Resolve an estimator's parameters for ``n_rows`` training rows.

    Raises
    ------
    ValueError
        When parameters contradict one another, or the device is absent.
    """
    solver = resolve_solver(estimator, incremental=incremental)
    _check_together(estimator, solver)
    batch = None if solver == "lbfgs" else resolve_batch(estimator, n_rows)
    device = resolve_device(
        str(estimator.device), architecture.flops_per_row * (batch or n_rows)
    )
    dtype = resolve_dtype(estimator.dtype, device, exact=batch is None)
    return Plan(
        architecture,
        _options(estimator, solver),
        _settings(estimator, batch, incremental, architecture),
        device,
        dtype,
    )


def _check_together(estimator: Any, solver: str) -> None:
    if estimator.dtype == "bfloat16" and estimator.numeric_embedding is not None:
        raise ValueError(
            "dtype='bfloat16' keeps three digits, too few for the waves and bins of "
            f"numeric_embedding={estimator.numeric_embedding!r}. Use dtype='float32' "
            "or 'auto', or numeric_embedding=None."
        )
    if solver != "lbfgs":
        return
    if estimator.dtype == "bfloat16":
        raise ValueError(
            "dtype='bfloat16' keeps three digits of a product, which solver='lbfgs' "
            f"cannot work with{_which_lbfgs(estimator)}. Use dtype='float64' or "
            "'auto', or solver='adamw'."
        )
    if estimator.dropout > 0:
        raise ValueError(
            f"dropout={estimator.dropout} needs a solver that takes random steps; "
            "solver='lbfgs' does not. Use solver='adam', or dropout=0."
        )
    if estimator.l1_ratio > 0 and estimator.alpha > 0:
        raise ValueError(
            f"l1_ratio={estimator.l1_ratio} makes the objective non-smooth, which "
            "solver='lbfgs' cannot minimise. Use solver='adam', or l1_ratio=0."
        )


def _which_lbfgs(estimator: Any) -> str:
    if estimator.solver == "lbfgs":
        return ""
    return ", and without hidden layer solver='auto' is that, for exact coefficients"


def _options(estimator: Any, solver: str) -> SolverOptions:
    return SolverOptions(
        name=solver,
        schedule=estimator.learning_rate,
        nesterovs_momentum=bool(estimator.nesterovs_momentum),
        beta_1=float(estimator.beta_1),
        beta_2=float(estimator.beta_2),
        epsilon=float(estimator.epsilon),
        max_fun=int(estimator.max_fun),
    )


def _settings(
    estimator: Any, batch: int | None, incremental: bool, architecture: Architecture
) -> Settings:
    limit = estimator.max_grad_norm
    return Settings(
        learning_rate_init=float(estimator.learning_rate_init),
        alpha=float(estimator.alpha),
        l1_ratio=float(estimator.l1_ratio),
        dropout=float(estimator.dropout) if hidden_layers(estimator)[0] else 0.0,
        momentum=float(estimator.momentum),
        power_t=float(estimator.power_t),
        max_iter=1 if incremental else int(estimator.max_iter),
        tol=float(estimator.tol),
        n_iter_no_change=float(estimator.n_iter_no_change),
        max_grad_norm=np.inf if limit is None else float(limit),
        batch_size=batch,
        shuffle=bool(estimator.shuffle),
        early_stopping=bool(estimator.early_stopping),
        start_counts=architecture.linear_skip,
    )
