"""Whether columns had better be clipped: whether their tails say less than the middle.

A soft clip guards a network against values far out, and takes the ends of a linear
relation away: where y depends on incomes, or on a square beside its root, the linear
model of clipped columns is worse than OLS. So columns stay as they are unless a linear
model is plainly better with them clipped.
"""

from __future__ import annotations

import numpy as np

# Standard errors by which clipped columns must explain more.
ERRORS = 1.0


def clip_pays(
    z: np.ndarray, clipped: np.ndarray, pulls: np.ndarray, weight: np.ndarray | None
) -> bool:
    """Whether columns explain more by least squares clipped than as they are.

    Parameters
    ----------
    z, clipped : ndarray of shape (n, p)
        Scaled columns without gaps, before and after the clip.
    pulls : ndarray of shape (n, m)
        Where each row pulls the raw outputs of the best constant: residuals, for
        squared error.
    weight : ndarray of shape (n,) or None

    Notes
    -----
    Vuong's (1989, https://doi.org/10.2307/1912557) comparison of two models with as
    many coefficients: the sum of what each row's squared residual is smaller by, over
    the root of the sum of its squares. A value far out that is a mistake takes the
    column away from all other rows, which then say that the clip pays.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.random.default_rng(0).standard_t(3, size=(500, 1))
    >>> clip_pays(z, np.tanh(z), z + 1.0, None)
    False
    >>> clip_pays(z, np.tanh(z), np.sign(z), None)
    True
    """
    own = np.ones(len(z)) if weight is None else weight
    # Weights below one on average are shares; others say how often a row was seen.
    own = own * max(1.0, len(own) / own.sum())
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(np.square(z).sum()):
            return True
        gain = _squares_left(z, pulls, own) - _squares_left(clipped, pulls, own)
        return bool(own @ gain > ERRORS * np.sqrt(own @ np.square(gain)))


def _squares_left(columns: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Squared residuals of each row, (n,)."""
    x, root = np.hstack([columns, np.ones((len(columns), 1))]), np.sqrt(weight)[:, None]
    coefficients = np.linalg.lstsq(x * root, y * root, rcond=None)[0]
    return np.asarray(np.square(y - x @ coefficients).sum(axis=1))
