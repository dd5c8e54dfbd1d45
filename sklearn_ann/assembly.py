"""A fit, put together: checked rows, units, starting values, and the list of fits.

Numbers happen here, in functions that never touch an estimator; the estimators
orchestrate.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from .design import learn_design
from .encoding import (
    Scaling,
    Target,
    design_table,
    has_gaps,
    spread_edges,
    target_table,
    weighted_mean,
    weighted_scaling,
)
from .engine.architecture import Architecture, Parameters
from .engine.fit import Fit, FitState
from .model import Model, Units, fold, unfold
from .parameters import Plan
from .relevance import pulls_of_constant
from .resampling import hold_out, positive_rows


@dataclass(frozen=True, slots=True)
class Rows:
    """Checked rows: to train on, or to validate on.

    Attributes
    ----------
    X : {ndarray, sparse array} of shape (n, d)
    labels : ndarray of shape (n,) or (n, my)
        Targets as the user gave them.
    y : ndarray of shape (n, my)
        The same, encoded.
    weight : ndarray of shape (n,) or None
    index : ndarray of int
        The rows that count: of positive weight, and on this side of a split.
    """

    X: np.ndarray | sp.csr_array
    labels: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    index: np.ndarray

    @property
    def own_weight(self) -> np.ndarray | None:
        """Weights of the rows that count."""
        return None if self.weight is None else self.weight[self.index]


@dataclass(frozen=True, slots=True)
class Memory:
    """What `warm_start` and `partial_fit` go on from.

    Attributes
    ----------
    seed : int
    state : FitState or None
        None after a fit that kept its weights only.
    kind : tuple or None
        `Plan.kind` of the fit that left the state.
    """

    seed: int
    state: FitState | None
    kind: tuple[str, str] | None = None


def checked_rows(
    X: np.ndarray | sp.csr_array,
    labels: np.ndarray,
    weight: np.ndarray | None,
    target: Target,
) -> Rows:
    """Encode targets and find the rows that count."""
    index = positive_rows(weight, len(labels))
    return Rows(X, labels, target.encode(labels), weight, index)


def balanced_weights(y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Row weights that give every class the same sum of ``sample_weight``, (n,).

    ``sum of weights / (n_classes * the class' sum)``, multiplied over labels; the
    function of scikit-learn for rows, `compute_sample_weight`, counts rows instead.
    """
    product = np.ones(len(y))
    for column in y.reshape(len(y), -1).T:
        classes, codes = np.unique(column, return_inverse=True)
        sums = np.bincount(codes, weight, len(classes)).astype(float)
        present = sums > 0
        shares = np.divide(
            sums.sum(), present.sum() * sums, where=present, out=0.0 * sums
        )
        product *= shares[codes]
    return product


def split_off(
    rows: Rows, fraction: float, seed: int, target: Target, groups: Any
) -> tuple[Rows, Rows]:
    """Hold rows out for validation: the same table, two lists of row numbers."""
    chosen = None
    if groups is not None:
        chosen = checked_groups(groups, len(rows.labels))[rows.index]
    strata = target.strata(rows.labels)
    if strata is not None:
        strata = strata[rows.index]
    train, held = hold_out(rows.index, fraction, seed, strata, chosen)
    return replace(rows, index=train), replace(rows, index=held)


def checked_groups(groups: Any, n: int) -> np.ndarray:
    """Return groups as an array (n,), or say that it is none."""
    groups = np.asarray(groups)
    if groups.shape != (n,):
        raise ValueError(
            f"groups must name one group for each of the {n} rows; got an array of "
            f"shape {groups.shape}."
        )
    return groups


def group_codes(groups: Any, n: int) -> np.ndarray:
    """Return groups as numbers (n,), or say that there are none for some rows."""
    codes = pd.factorize(checked_groups(groups, n), sort=True)[0]
    if (codes < 0).any():
        raise ValueError(f"groups is missing for {(codes < 0).sum()} of {n} rows.")
    return codes


def unwrapped(name: str, given: Any) -> Any:
    """Take validation data out of the tuple that hides its length from a search.

    scikit-learn's searches slice every fit parameter that is as long as X. Validation
    data that happen to be as long would silently lose rows; in a tuple they do not,
    and `Pipeline(transform_input=...)` looks into tuples by itself.
    """
    if not isinstance(given, tuple):
        return given
    if len(given) != 1:
        raise ValueError(
            f"{name} as a tuple must hold exactly one array, ({name},); got "
            f"{len(given)} items."
        )
    return given[0]


def learned_units(
    rows: Rows,
    standardize: bool | str,
    target: Target,
    is_categorical: np.ndarray | None = None,
    most_one_hot: float = np.inf,
) -> Units:
    """Learn what stands before and behind the network from the rows trained on."""
    targets = None
    if standardize and target.loss.scales_target:
        targets = weighted_scaling(rows.y, rows.index, rows.own_weight)
    own = (rows.X, rows.index, rows.own_weight)
    if needs_design(rows, standardize, is_categorical):
        pulls = _pulls(rows, targets, target) if standardize == "robust" else None
        design = learn_design(*own, is_categorical, standardize, most_one_hot, pulls)
        return Units(None, targets, design)
    inputs = weighted_scaling(*own) if standardize else None
    return Units(inputs, targets, None, fill_of(rows, inputs))


def _pulls(rows: Rows, targets: Scaling | None, target: Target) -> np.ndarray | None:
    """Where rows pull the best constant, (r, m); None where a link bends the tails."""
    if not target.loss.scales_target:
        return None
    y = target_table(rows.y[rows.index], targets, target.loss, torch.float64)
    return pulls_of_constant(y, rows.own_weight, target.loss)


def needs_design(
    rows: Rows, standardize: bool | str, is_categorical: np.ndarray | None
) -> bool:
    """Whether columns need more than a change of units."""
    if sp.issparse(rows.X):
        return False
    if is_categorical is not None or standardize == "robust":
        return True
    return has_gaps(rows.X) and has_gaps(rows.X[rows.index])


def refilled(units: Units, rows: Rows) -> Units:
    """Return units for the same table, and for weights that may be others."""
    if units.design is not None:
        return units
    return replace(units, fill=fill_of(rows, units.inputs))


def fill_of(rows: Rows, inputs: Scaling | None) -> np.ndarray:
    """Weighted means (d,), which stand for numbers that are missing later only."""
    if inputs is not None:
        return inputs.mean
    return weighted_mean(rows.X, rows.index, rows.own_weight)


def list_fits(
    rows: Rows,
    held_out: Rows | None,
    plan: Plan,
    model: Model,
    *,
    seed: int,
    init: str,
    n_init: int,
    given: tuple[Any, Any],
    memory: Memory | None,
    resumed: Parameters | None,
    keep_state: bool,
    made: tuple[Any, Any] | None = None,
) -> list[Fit]:
    """List the fits that an estimator stands for: one, or one for each restart."""
    if memory and any(start is not None for start in given):
        raise ValueError(
            "coefs_init and intercepts_init start a new network, but warm_start=True "
            "goes on with the fitted one. Give up one of the two."
        )
    train = _tables(rows, model, plan, made)
    validation: tuple = (None, None, None, None)
    if held_out is not None:
        same = (train[0], train[1]) if held_out.X is rows.X else None
        validation = _tables(held_out, model, plan, same)
    x, y, index, weight = train
    intercept = None if resumed else model.loss.start(y[index], weight).numpy()
    given = checked_starts(given, model.architecture)
    edges = [] if resumed is not None else bin_edges(rows, model)
    fits = []
    for i in range(1 if memory else n_init):
        own_seed = seed if i == 0 else restart_seed(seed, i)
        start = starting_row(own_seed, init, intercept, model, given, resumed, edges)
        fits.append(
            Fit(
                x,
                y,
                index,
                weight,
                start,
                plan.settings,
                own_seed,
                x_val=validation[0],
                y_val=validation[1],
                index_val=validation[2],
                weight_val=validation[3],
                state=memory.state if memory else None,
                keep_state=keep_state,
                expansion=None if model.design is None else model.design.expansion,
                pace=memory.state.pace if memory and memory.state else None,
            )
        )
    return fits


def _tables(
    rows: Rows, model: Model, plan: Plan, made: tuple[Any, Any] | None = None
) -> tuple:
    """Return x, y, index and weight as the engine takes them."""
    if made is None:
        made = (
            _inputs(rows.X, model.units, plan.table_dtype),
            target_table(rows.y, model.targets, model.loss, plan.table_dtype),
        )
    weight = rows.own_weight
    return (
        *made,
        torch.from_numpy(rows.index),
        None if weight is None else torch.from_numpy(weight),
    )


def _inputs(X: Any, units: Units, dtype: torch.dtype) -> Any:
    """Rows of X as the engine takes them."""
    if units.design is not None:
        return units.design.table(X, dtype)
    fill = units.fill if has_gaps(X) else None
    return design_table(X, units.inputs, dtype, fill)


def restart_seed(seed: int, i: int) -> int:
    """Seed of the i-th restart: far from those of neighbouring random states."""
    return int(np.random.SeedSequence([seed, i]).generate_state(1)[0])


def draw_seed(random_state: Any) -> int:
    """Draw the one number that decides everything random in a fit.

    None takes entropy from the operating system: NumPy's global generator is the
    user's, and stays untouched.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(random_state)


def starting_row(
    seed: int,
    init: str,
    intercept: np.ndarray | None,
    model: Model,
    given: tuple[list | None, list | None],
    resumed: Parameters | None = None,
    edges: Sequence[np.ndarray | None] = (),
) -> np.ndarray:
    """Draw starting parameters (P,); what the user gave, in user units, replaces them.

    Parameters
    ----------
    seed, init
        As for the estimator.
    intercept : ndarray of shape (m,) or None
        Start of the output layer's intercept, in network units; of a drawn start.
    model : Model
        Architecture and units; its own parameters do not matter.
    given : (list of arrays or None, list of arrays or None)
        Coefficients and intercepts by layer.
    resumed : Parameters or None
        Of the fitted network that training goes on from, in place of a drawn start.
    edges : sequence of ndarray or None
        Of `bin_edges`.
    """
    if resumed is not None:
        return unfold(resumed, *model.folded).pack()
    assert intercept is not None
    rng = np.random.default_rng([seed, 0])
    row = model.architecture.initial_row(rng, init, intercept, edges)
    forget_unknown(model.architecture, row)
    coefs, intercepts = given
    if coefs is None and intercepts is None:
        return row
    drawn = fold(model.architecture.unpack(row), *model.folded)
    wanted = replace(
        drawn,
        weights=drawn.weights if coefs is None else coefs,
        biases=drawn.biases if intercepts is None else intercepts,
    )
    return unfold(wanted, *model.folded).pack()


def forget_unknown(architecture: Architecture, row: np.ndarray) -> None:
    """Start the numbers of code 0 at zero, in the middle of those that are drawn.

    Where no row misses a level they stay there, for levels that come later.
    """
    own = architecture.unpack(row).embeddings
    for embedding, blocks in zip(architecture.embeddings, own, strict=True):
        if embedding.kind == "lookup":
            blocks[0][embedding.offsets] = 0.0


def bin_edges(rows: Rows, model: Model) -> list[np.ndarray | None]:
    """Edges of each embedding's bins, (c, bins + 1), in the network's units, if any.

    Of the rows that are trained on: `spread_edges`.
    """
    found: list[np.ndarray | None] = []
    for embedding in model.architecture.embeddings:
        if embedding.kind != "piecewise_linear":
            found.append(None)
            continue
        columns = list(embedding.columns)
        if model.design is not None:
            values = model.design.compact(rows.X[rows.index])[:, columns]
        else:
            values = rows.X[rows.index[:, None], columns]
        own = [spread_edges(v, rows.own_weight, embedding.size) for v in values.T]
        edges = np.stack(own)
        if model.inputs is not None:
            mean, scale = model.inputs.mean[columns], model.inputs.scale[columns]
            edges = (edges - mean[:, None]) / scale[:, None]
        found.append(edges)
    return found


def checked_starts(
    given: tuple[Any, Any], architecture: Architecture
) -> tuple[list | None, list | None]:
    """Check coefs_init and intercepts_init against the layers."""
    sizes = architecture.sizes
    pairs = list(itertools.pairwise(sizes))
    coefs, intercepts = given
    return (
        _checked_start("coefs_init", coefs, pairs),
        _checked_start("intercepts_init", intercepts, [(h,) for _, h in pairs]),
    )


def _checked_start(
    name: str, given: Any, shapes: Sequence[tuple[int, ...]]
) -> list[np.ndarray] | None:
    if given is None:
        return None
    try:
        arrays = [np.array(a, dtype=np.float64) for a in given]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold one array of numbers for each layer: {error}"
        ) from error
    came = [a.shape for a in arrays]
    if came != list(shapes) or not all(np.isfinite(a).all() for a in arrays):
        raise ValueError(
            f"{name} must hold one finite array for each layer, of shapes "
            f"{list(shapes)}, as in the fitted {name[:-5]}_; got shapes {came}."
        )
    return arrays
