"""Statistics of out-of-sample scores: what a difference over splits is worth.

Conventions
-----------
J splits; ``d`` is one number per split, shape (J,). Every function is pure: numbers in,
a number or a frozen result out.

References
----------
Nadeau, C. and Bengio, Y. (2003). Inference for the Generalization Error. Machine
Learning 52, 239-281. https://doi.org/10.1023/A:1024068626366
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True, slots=True)
class CorrectedTTest:
    """A mean over cross-validation splits, tested against zero.

    Attributes
    ----------
    mean : float
        Mean over the splits.
    std_error : float
        Its standard error, corrected for overlapping training sets.
    statistic : float
        ``mean / std_error``.
    df : int
        Degrees of freedom, the number of splits less one.
    p_value : float
        Two-sided p-value.
    """

    mean: float
    std_error: float
    statistic: float
    df: int
    p_value: float


def corrected_t_test(
    differences: Numbers, n_train: float | Numbers, n_test: float | Numbers
) -> CorrectedTTest:
    r"""Test whether differences over cross-validation splits have mean zero.

    Training sets of different splits share rows, so the scores are correlated and the
    usual standard error :math:`s / \sqrt{J}` is far too small. Nadeau and Bengio
    replace it:

    .. math:: t = \bar d \Big/ \sqrt{\Big(\frac1J + \frac{n_2}{n_1}\Big) s^2}

    with :math:`s^2` the variance over J splits (divisor J - 1), :math:`n_1` rows to fit
    and :math:`n_2` rows to test, and J - 1 degrees of freedom.

    Parameters
    ----------
    differences : array-like of shape (J,)
        Difference of two scores on each split.
    n_train, n_test : int or array-like of shape (J,)
        Rows given to ``fit`` and rows tested on. Where they differ over splits, the
        ratio is that of their sums.

    Returns
    -------
    CorrectedTTest
        Differences that are all zero have statistic 0 and p-value 1.

    Raises
    ------
    ValueError
        With fewer than two splits, or sizes that are not positive.

    References
    ----------
    Nadeau and Bengio (2003), the corrected resampled t-test.

    Examples
    --------
    >>> test = corrected_t_test([0.01, 0.03, 0.02, 0.04], n_train=75, n_test=25)
    >>> print(f"{test.statistic:.4f} {test.df} {test.p_value:.4f}")
    2.5355 3 0.0850
    """
    d = np.asarray(differences, dtype=float)
    std_error = corrected_std_error(d, n_train, n_test)
    mean = float(d.mean())
    # Equal models: 0/0 would be nan, yet nothing speaks against "no difference".
    with np.errstate(divide="ignore"):
        statistic = 0.0 if mean == std_error == 0 else float(np.divide(mean, std_error))
    p = 2 * float(stats.t.sf(abs(statistic), d.size - 1))
    return CorrectedTTest(mean, std_error, statistic, d.size - 1, p)


def holm(p_values: Numbers) -> np.ndarray:
    r"""Adjust p-values of several tests, so that all may be read together.

    Parameters
    ----------
    p_values : array-like of shape (T,)
        One for each test; nan counts for none.

    Returns
    -------
    ndarray of shape (T,)
        Below a level :math:`\alpha` where Holm's procedure rejects, which finds
        anything where there is nothing in at most a share :math:`\alpha` of such
        families of tests, however they depend on each other.

    References
    ----------
    Holm, S. (1979). A Simple Sequentially Rejective Multiple Test Procedure.
    Scandinavian Journal of Statistics 6, 65-70. https://www.jstor.org/stable/4615733

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # nan come last
    steps = p[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def corrected_std_error(
    scores: Numbers, n_train: float | Numbers, n_test: float | Numbers
) -> float:
    """Give the standard error of a mean over splits, corrected like the test.

    Parameters
    ----------
    scores : array-like of shape (J,)
        One number per split.
    n_train, n_test : int or array-like of shape (J,)
        Rows given to ``fit`` and rows tested on.

    Returns
    -------
    float
        The standard error; nan where a score is.

    Raises
    ------
    ValueError
        With fewer than two splits, or sizes that are not positive.

    Examples
    --------
    >>> corrected_std_error([0.30, 0.34, 0.32, 0.36], n_train=75, n_test=25)
    0.019720265943665
    """
    s = np.asarray(scores, dtype=float)
    if s.ndim != 1 or s.size < 2:
        raise ValueError(
            f"Expected one number for each of at least two splits, got shape {s.shape}."
        )
    if np.min(n_train) <= 0 or np.min(n_test) <= 0:
        raise ValueError(f"Expected positive sizes, got {n_train=} and {n_test=}.")
    factor = 1 / s.size + np.sum(n_test) / np.sum(n_train)
    return float(np.sqrt(factor * s.var(ddof=1)))
