"""Log-likelihoods of fitted models, and what they say about them.

Conventions
-----------
n rows; ``l`` is the log-likelihood of each, shape (n,). Every function is pure.

References
----------
McFadden, D. (1974). Conditional Logit Analysis of Qualitative Choice Behavior. In P.
Zarembka (ed.), Frontiers in Econometrics, 105-142. Academic Press.

Vuong, Q. H. (1989). Likelihood Ratio Tests for Model Selection and Non-Nested
Hypotheses. Econometrica 57, 307-333. https://doi.org/10.2307/1912557
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import gammaln, xlogy

Numbers = Sequence[float] | np.ndarray
RowLikelihood = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class LikelihoodRatioTest:
    """A fit by maximum likelihood against the same without any column.

    Attributes
    ----------
    statistic : float
        Twice the difference of the log-likelihoods.
    df : int
        Coefficients that the columns have.
    p_value : float
        From the chi-squared distribution.
    """

    statistic: float
    df: int
    p_value: float


@dataclass(frozen=True, slots=True)
class VuongTest:
    """Which of two models that do not nest each other is closer to the truth.

    Attributes
    ----------
    mean : float
        Mean difference of the rows' log-likelihoods.
    std_error : float
        Its standard error.
    statistic : float
        ``mean / std_error``: positive where the first model is closer.
    p_value : float
        Two-sided, from the normal distribution.
    """

    mean: float
    std_error: float
    statistic: float
    p_value: float


def gaussian_rows(y: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Log-likelihood of rows of a regression, at the variance that fits best.

    Parameters
    ----------
    y, mean : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> rows = gaussian_rows(np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.0, 3.5]))
    >>> print(f"{rows.sum():.6f}")
    -1.569176
    """
    e = y - mean
    variance = e @ e / e.size
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(-0.5 * (np.log(2 * np.pi * variance) + e**2 / variance))


def class_rows(y: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Log-likelihood of rows of a classifier.

    Parameters
    ----------
    y : ndarray of int of shape (n,)
        Position of each row's class.
    probability : ndarray of shape (n, n_classes)

    Returns
    -------
    ndarray of shape (n,)
    """
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probability[np.arange(y.size), y]))


def poisson_rows(y: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Log-likelihood of rows of a Poisson regression.

    Parameters
    ----------
    y, mean : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,)
    """
    return np.asarray(xlogy(y, mean) - mean - gammaln(y + 1))


# By the name of the loss that a maximum likelihood fit minimises.
ROWS: dict[str, RowLikelihood] = {
    "squared_error": gaussian_rows,
    "log_loss": class_rows,
    "multinomial": class_rows,
    "poisson": poisson_rows,
}


def null_prediction(loss: str, y: np.ndarray) -> np.ndarray:
    """Predict without any column: shares of the classes, or the mean.

    Parameters
    ----------
    loss : str
        A key of `ROWS`.
    y : ndarray of shape (n,)
        Positions of classes, or numbers.

    Returns
    -------
    ndarray of shape (n, n_classes) or (n,)
    """
    if ROWS[loss] is not class_rows:
        return np.full(y.shape, y.mean())
    shares = np.bincount(y) / y.size
    return np.broadcast_to(shares, (y.size, shares.size))


def mcfadden_r2(log_likelihood: float, null: float) -> float:
    """Give McFadden's R2, the share of the null model's log-likelihood that is gone.

    Examples
    --------
    The logit of Spector and Mazzeo:

    >>> mcfadden_r2(-12.889634222131415, -20.591729696634204)
    0.37403829...
    """
    return 1 - log_likelihood / null


def likelihood_ratio_test(
    log_likelihood: float, null: float, df: int
) -> LikelihoodRatioTest:
    """Test a fit by maximum likelihood against the same without any column.

    Not for networks with hidden layers: their weights are not identified where the
    columns matter not, and the statistic is then not chi-squared.

    Parameters
    ----------
    log_likelihood, null : float
        Of the fit, and without columns.
    df : int
        Coefficients of the columns.

    Returns
    -------
    LikelihoodRatioTest

    Examples
    --------
    The logit of Spector and Mazzeo:

    >>> test = likelihood_ratio_test(-12.889634222131415, -20.591729696634204, 3)
    >>> print(f"{test.statistic:.4f} {test.p_value:.4f}")
    15.4042 0.0015
    """
    statistic = 2 * (log_likelihood - null)
    return LikelihoodRatioTest(statistic, df, float(stats.chi2.sf(statistic, df)))


def vuong_test(one: Numbers, other: Numbers) -> VuongTest:
    r"""Test which of two models is closer to the truth, in likelihood.

    .. math:: z = \sqrt n \, \bar m / s, \qquad m_i = l_{1i} - l_{2i}

    with s the standard deviation of m (divisor n - 1). For two models of the same rows,
    fitted by maximum likelihood without penalty and to the end, of which neither
    contains the other. Networks with hidden layers are no such models.

    Parameters
    ----------
    one, other : array-like of shape (n,)
        Log-likelihoods of the rows, such as statsmodels' ``model.loglikeobs(params)``.

    Returns
    -------
    VuongTest

    Raises
    ------
    ValueError
        For shapes that differ, fewer than two rows, or differences that do not vary, as
        of a model and itself.

    Examples
    --------
    >>> test = vuong_test([-0.5, -1.0, -0.2, -0.9], [-0.4, -1.4, -0.6, -1.0])
    >>> print(f"{test.statistic:.4f} {test.p_value:.4f}")
    1.6330 0.1025
    """
    l1, l2 = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if l1.shape != l2.shape or l1.ndim != 1 or l1.size < 2:
        raise ValueError(
            "Expected the log-likelihoods of the same rows, at least two; got shapes "
            f"{l1.shape} and {l2.shape}."
        )
    m = l1 - l2
    if m.std() <= 1e-10 * np.abs(np.concatenate([l1, l2])).max():
        raise ValueError(
            "The two models give all rows the same likelihoods, up to a constant: "
            "there is nothing to choose between."
        )
    mean, std_error = float(m.mean()), float(m.std(ddof=1) / np.sqrt(m.size))
    statistic = mean / std_error
    p = 2 * float(stats.norm.sf(abs(statistic)))
    return VuongTest(mean, std_error, statistic, p)
