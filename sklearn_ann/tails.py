"""Whether columns had better be clipped: whether their tails say less than the middle.

A soft clip guards a network against values far out, and takes the ends of a linear
relation away: where y depends on incomes, or on a square beside its root, the linear
model of clipped columns is worse than OLS. So columns are clipped only where a linear
model is better for it.
"""

from __future__ import annotations

import numpy as np

# A smaller share of all squares is none: of few rows both models may leave nothing.
ROUNDING = 1e-9


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
    Both models have as many coefficients, so the smaller sum of squares decides. A
    value far out that is a mistake takes the column away from all other rows, which
    then say that the clip pays.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.random.default_rng(0).standard_t(3, size=(500, 1))
    >>> clip_pays(z, np.tanh(z), z + 1.0, None)
    False
    >>> clip_pays(z, np.tanh(z), np.sign(z), None)
    True
    """
    root = np.ones((len(z), 1)) if weight is None else np.sqrt(weight)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(np.square(z).sum()):
            return True
    lost = _squares_left(clipped, pulls, root) - _squares_left(z, pulls, root)
    return not lost > ROUNDING * float(np.square(pulls * root).sum())


def _squares_left(columns: np.ndarray, y: np.ndarray, root: np.ndarray) -> float:
    """Weighted sum of the squared residuals."""
    x = np.hstack([columns, np.ones((len(columns), 1))]) * root
    coefficients = np.linalg.lstsq(x, y * root, rcond=None)[0]
    return float(np.square(y * root - x @ coefficients).sum())
