"""The model under test: linear regression or logit, fitted to be tested.

Regressors are kept as an orthonormal basis, so that the scale and the order of the
columns do not matter, and collinear ones are found where the basis is made.

Conventions
-----------
n rows, r coefficients, intercept included. Every function is pure.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.special import expit

# A column whose new part is a smaller share of it counts as collinear: that of R's lm.
COLLINEAR = 1e-7
_MOST_STEPS = 100
_SMALL_STEP = 1e-9
# Newton widens the margin of separated rows by one a step, so that the smallest
# curvature falls by e each time, to 0 / 0 in the end. A fit that exists stays above.
_FLAT = 1e-10


class SeparationError(ValueError):
    """A logit has no finite maximum likelihood estimate."""


@dataclass(frozen=True, slots=True, eq=False)
class NullModel:
    """A fitted model, before terms are added.

    Attributes
    ----------
    basis : ndarray of shape (n, r)
        Orthonormal basis of its regressors, of their rows times `root_weight`.
    residual : ndarray of shape (n,)
        For a logit divided by `root_weight`.
    index : ndarray of shape (n,)
        Its linear predictions.
    root_weight : ndarray of shape (n,) or None
        Square root of the variance of each row; None where all are alike.
    """

    basis: np.ndarray
    residual: np.ndarray
    index: np.ndarray
    root_weight: np.ndarray | None = None


def orthonormal_beyond(
    basis: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find what columns add to a space.

    Parameters
    ----------
    basis : ndarray of shape (n, r)
        Orthonormal basis of the space.
    columns : ndarray of shape (n, m)

    Returns
    -------
    added : ndarray of shape (n, q)
        Orthonormal basis of what they add.
    kept : ndarray of int of shape (q,)
        Columns that add it, in increasing order; the others are collinear.
    """
    sizes = np.linalg.norm(columns, axis=0)
    new = columns / np.where(sizes > 0, sizes, 1.0)
    for _ in range(2):  # a second time for what rounding left over
        new -= basis @ (basis.T @ new)
    added, triangle, order = linalg.qr(
        new, mode="economic", pivoting=True, overwrite_a=True, check_finite=False
    )
    q = int((np.abs(np.diag(triangle)) > COLLINEAR).sum())
    return added[:, :q], np.sort(order[:q])


def linear_null(basis: np.ndarray, y: np.ndarray) -> NullModel:
    """Fit a linear regression.

    Parameters
    ----------
    basis : ndarray of shape (n, r)
        Orthonormal basis of its regressors.
    y : ndarray of shape (n,)

    Returns
    -------
    NullModel
    """
    residual = y - basis @ (basis.T @ y)
    residual -= basis @ (basis.T @ residual)
    return NullModel(basis, residual, y - residual)


def logit_null(basis: np.ndarray, y: np.ndarray) -> NullModel:
    """Fit a logit by maximum likelihood.

    Parameters
    ----------
    basis : ndarray of shape (n, r)
        Orthonormal basis of its regressors.
    y : ndarray of bool of shape (n,)

    Returns
    -------
    NullModel

    Raises
    ------
    SeparationError
        Where the likelihood has no maximum.
    """
    index = basis @ _fit_logit(basis, y)
    root_weight = np.sqrt(expit(index) * expit(-index))
    # (y - p) / sqrt(p (1 - p)), without the difference that loses the digits.
    residual = np.where(y, np.exp(-index / 2), -np.exp(index / 2))
    weighted, _ = np.linalg.qr(basis * root_weight[:, None])
    return NullModel(weighted, residual, index, root_weight)


def _fit_logit(basis: np.ndarray, y: np.ndarray) -> np.ndarray:  # (r,)
    """Newton's method, with steps halved until the likelihood does not fall."""
    signs = np.where(y, 1.0, -1.0)
    coef = np.zeros(basis.shape[1])
    for _ in range(_MOST_STEPS):
        margin = signs * (basis @ coef)
        step = _newton_step(basis, signs, margin)
        change = signs * (basis @ step)
        if np.abs(change).max() < _SMALL_STEP:
            return coef + step
        coef = coef + _step_length(margin, change) * step
    raise SeparationError


def _newton_step(
    basis: np.ndarray, signs: np.ndarray, margin: np.ndarray
) -> np.ndarray:
    curvature = (basis.T * (expit(margin) * expit(-margin))) @ basis
    sizes, directions = np.linalg.eigh(curvature)
    if sizes[0] < _FLAT * sizes[-1]:
        raise SeparationError
    gradient = basis.T @ (signs * expit(-margin))
    return directions @ ((directions.T @ gradient) / sizes)


def _step_length(margin: np.ndarray, change: np.ndarray) -> float:
    loss = np.logaddexp(0, -margin).sum()
    for halvings in range(30):
        length = 0.5**halvings
        # Rounding may raise the loss by a little at the optimum.
        if np.logaddexp(0, -margin - length * change).sum() <= loss * (1 + 1e-12):
            return length
    return length
