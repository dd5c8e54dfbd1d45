"""At what pace each column may enter the hidden layers: by how much of y it explains.

A first layer overfits columns without meaning as gladly as others. So each column's
way in starts, and learns, in proportion to what the column explains beyond what noise
would, alone or beside one other column. A column that explains nothing does not enter:
only the linear skip sees it. What takes three columns to be seen is overlooked, which
is what scouts are for (`scouts`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .design import Design
from .encoding import thinned
from .engine.architecture import Architecture
from .engine.expansion import Expansion
from .engine.fit import Fit
from .engine.losses import Loss
from .engine.rows import SparseRows
from .explained import explained_alone, explained_beside_another

# Between the root, the effects' own sizes, under which small ones learn too slowly,
# and the fourth root, which hardly tells columns apart.
EXPONENT = 0.375


def learned_paces(fit: Fit, loss: Loss, architecture: Architecture) -> np.ndarray:
    """Learn the columns' paces from the rows that a fit trains on.

    Parameters
    ----------
    fit : Fit
        Of a dense table, its codes not expanded.
    loss : Loss
    architecture : Architecture

    Returns
    -------
    ndarray of shape (columns,)
        One for each column of the table but the constant.
    """
    assert isinstance(fit.x, Tensor)
    some = thinned(len(fit.index))
    index = fit.index[some]
    weight = np.ones(len(index))
    if fit.weight is not None:
        weight = fit.weight[some].double().numpy()
        weight = weight / weight.max()  # their squares must be numbers
    table = fit.x[index, :-1].double().numpy()
    pulls = pulls_of_constant(fit.y[index], weight, loss)
    own = table, pulls, weight, _codes(fit.expansion, architecture, table.shape[1])
    return paces(np.maximum(explained_alone(*own), explained_beside_another(*own)))


def paces(explained: np.ndarray) -> np.ndarray:
    """Turn shares that columns explain, less noise's, into factors from 0 to 1.

    Notes
    -----
    ``(s / s_max)^(3/8)``; all are one where no column explains anything.

    Examples
    --------
    >>> import numpy as np
    >>> paces(np.array([0.4, 0.1, 0.0])).round(2).tolist()
    [1.0, 0.59, 0.0]
    """
    most = explained.max(initial=0.0)
    if not most > 0.0:
        return np.ones(len(explained))
    return np.asarray((explained / most) ** EXPONENT)


def at_pace(
    fits: list[Fit], columns: np.ndarray, architecture: Architecture, init: str
) -> list[Fit]:
    """Return the fits with columns that start, and learn, at their own paces.

    Parameters
    ----------
    fits : list of Fit
        With as many columns in their tables.
    columns : ndarray of shape (columns,)
        Their paces.
    architecture : Architecture
    init : str
        What their starts were drawn with: columns that stay out do not count for it.
    """
    values = _over_inputs(columns, fits[0].expansion)
    row = architecture.entering(values)
    starts = [
        architecture.with_fewer_inputs(fit.start, init, values > 0.0) for fit in fits
    ]
    return [
        replace(fit, start=start * row, pace=row)
        for fit, start in zip(fits, starts, strict=True)
    ]


def of_features(columns: np.ndarray, design: Design | None) -> np.ndarray:
    """Return the paces of the user's columns, (d,): the fastest of what they became."""
    if design is None:
        return columns
    found = np.zeros(len(design.numbers) + len(design.one_hot) + len(design.lookups))
    np.maximum.at(found, design.origins, columns)
    return found


def _codes(
    expansion: Expansion | None, architecture: Architecture, n_columns: int
) -> np.ndarray:
    """Tell which columns of a table are codes, (columns,)."""
    coded = np.zeros(n_columns, dtype=bool)
    if expansion is not None:
        coded[expansion.plain : expansion.plain + len(expansion.levels)] = True
    looked_up = architecture.n_inputs - architecture.n_plain
    coded[n_columns - looked_up :] = True
    return coded


def _over_inputs(columns: np.ndarray, expansion: Expansion | None) -> np.ndarray:
    """Give the one-hot columns of a column of codes its own pace."""
    if expansion is None:
        return columns
    times = np.ones(len(columns), dtype=int)
    times[expansion.plain : expansion.plain + len(expansion.levels)] = expansion.levels
    return np.repeat(columns, times)


def have_paces(fit: Fit, architecture: Architecture, solver: str) -> bool:
    """Whether columns of a fit enter at paces of their own.

    They do where the network starts as the linear model and stops early, rows are
    dense, and the solver has a learning rate.
    """
    stops = fit.settings.early_stopping and architecture.linear_skip
    dense = not isinstance(fit.x, SparseRows)
    return bool(stops and dense and solver != "lbfgs" and architecture.hidden)


def pulls_of_constant(y: Tensor, weight: np.ndarray | None, loss: Loss) -> np.ndarray:
    """Return where each row pulls the raw outputs of the best constant, (n, m)."""
    own = None if weight is None else torch.from_numpy(weight)
    constant = loss.start(y, own)
    raw = constant.double().expand(len(y), -1).contiguous()
    y = y if loss.y_dtype == "int64" else y.double()
    return loss.gradient(raw, y, torch.empty_like(raw)).numpy()
