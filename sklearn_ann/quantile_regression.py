"""Linear quantile regression: the exact solution, and the density in its covariance.

A quantile's loss has no curvature. What stands in its place is the density of the
residuals at zero, estimated by a kernel, as in statsmodels.

References
----------
Koenker, R. (2005). Quantile Regression, sections 3.4 and 6.2. Cambridge University
Press. https://doi.org/10.1017/CBO9780511754098

Hall, P. and Sheather, S. J. (1988). On the Distribution of a Studentized Quantile.
Journal of the Royal Statistical Society B 50(3), 381-391.
"""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.optimize import linprog

from .engine.losses import Loss


def level_of(loss: Loss) -> float:
    """Level of the quantile that a loss is minimised by."""
    if loss.name == "absolute_error":
        return 0.5
    (level,) = dict(loss.parameters)["quantile"]
    return float(level)


def exact_coefficients(x: np.ndarray, y: np.ndarray, level: float) -> np.ndarray:
    """Solve a linear quantile regression as a linear programme.

    The dual: maximise ``y'a`` over ``0 <= a <= 1`` with ``x'a = (1 - level) x'1``;
    the coefficients are the prices of its equations.

    Parameters
    ----------
    x : ndarray of shape (n, p)
        With its constant.
    y : ndarray of shape (n,)
    level : float

    Returns
    -------
    ndarray of shape (p,)

    Raises
    ------
    RuntimeError
        When the solver finds no optimum.
    """
    found = linprog(
        -y,
        A_eq=x.T,
        b_eq=(1.0 - level) * x.sum(axis=0),
        bounds=(0.0, 1.0),
        method="highs",
    )
    if found.status != 0:
        raise RuntimeError(f"The linear programme did not end well: {found.message}")
    return np.asarray(-found.eqlin.marginals)


def density_at_zero(residuals: np.ndarray, y: np.ndarray, level: float) -> float:
    """Density of the residuals at zero, by the Epanechnikov kernel.

    The bandwidth is Hall and Sheather's on the scale of probabilities, taken to that
    of the residuals by normal quantiles and the smaller of two measures of spread.

    Parameters
    ----------
    residuals, y : ndarray of shape (n,)
        Targets minus predictions, and targets.
    level : float
    """
    n = len(residuals)
    spread = np.subtract(*np.percentile(residuals, [75, 25])) / 1.34
    share = _hall_sheather(n, level)
    reach = stats.norm.ppf(level + share) - stats.norm.ppf(level - share)
    h = min(np.std(y), spread) * reach
    u = residuals / h
    return float((0.75 * (1.0 - u**2) * (np.abs(u) <= 1.0)).sum() / (n * h))


def _hall_sheather(n: int, level: float, size: float = 0.05) -> float:
    z = stats.norm.ppf(level)
    ratio = 1.5 * stats.norm.pdf(z) ** 2 / (2.0 * z**2 + 1.0)
    quantile = stats.norm.ppf(1.0 - size / 2.0) ** (2.0 / 3.0)
    return float(n ** (-1.0 / 3.0) * quantile * ratio ** (1.0 / 3.0))
