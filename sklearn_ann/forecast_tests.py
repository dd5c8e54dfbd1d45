"""Tests of forecasts in time order: whether one method's loss is smaller.

Conventions
-----------
P periods in time order; ``d`` is one number per period, shape (P,); forecasts reach h
periods ahead. Every function is pure: numbers in, a frozen result out.

References
----------
Diebold, F. X. and Mariano, R. S. (1995). Comparing Predictive Accuracy. Journal of
Business & Economic Statistics 13, 253-263.
https://doi.org/10.1080/07350015.1995.10524599

Harvey, D., Leybourne, S. and Newbold, P. (1997). Testing the Equality of Prediction
Mean Squared Errors. International Journal of Forecasting 13, 281-291.
https://doi.org/10.1016/S0169-2070(96)00719-4

Giacomini, R. and White, H. (2006). Tests of Conditional Predictive Ability.
Econometrica 74, 1545-1578. https://doi.org/10.1111/j.1468-0262.2006.00718.x

Clark, T. E. and West, K. D. (2007). Approximately Normal Tests for Equal Predictive
Accuracy in Nested Models. Journal of Econometrics 138, 291-311.
https://doi.org/10.1016/j.jeconom.2006.05.023
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Numbers = Sequence[float] | np.ndarray
KERNELS = ("truncated", "Bartlett")


@dataclass(frozen=True, slots=True)
class DieboldMarianoTest:
    """A mean loss difference over periods, tested against zero.

    Attributes
    ----------
    mean : float
        Mean over the periods.
    std_error : float
        Its standard error, as the statistic implies it: with the correction of Harvey,
        Leybourne and Newbold.
    statistic : float
        ``mean / std_error``.
    df : int
        Degrees of freedom of Student's t, the number of periods less one.
    p_value : float
        Two-sided p-value.
    horizon : int
        Periods that the forecasts reach ahead.
    kernel : {"truncated", "Bartlett"}
        Weights of the ``horizon - 1`` autocovariances in the variance.
    """

    mean: float
    std_error: float
    statistic: float
    df: int
    p_value: float
    horizon: int
    kernel: str


@dataclass(frozen=True, slots=True)
class ClarkWestTest:
    """Whether a larger model predicts better in the population than one that it nests.

    Attributes
    ----------
    mean : float
        Mean of the adjusted difference of squared errors: positive where the larger
        model is better.
    std_error : float
        Its standard error.
    statistic : float
        ``mean / std_error``.
    p_value : float
        One-sided, from the normal distribution.
    horizon : int
        Periods that the forecasts reach ahead.
    kernel : {"truncated", "Bartlett"}
        Weights of the ``horizon - 1`` autocovariances in the variance.
    """

    mean: float
    std_error: float
    statistic: float
    p_value: float
    horizon: int
    kernel: str


def diebold_mariano_test(
    differences: Numbers, horizon: int = 1, *, kernel: str = "truncated"
) -> DieboldMarianoTest:
    r"""Test whether two forecasts have the same expected loss.

    With autocovariances :math:`\hat\gamma_k` of the differences (divisor P), the
    statistic of Diebold and Mariano and the correction of Harvey, Leybourne and Newbold
    are

    .. math:: DM = \bar d \Big/ \sqrt{\Big(\hat\gamma_0
              + 2 \sum_{k=1}^{h-1} w_k \hat\gamma_k\Big) \Big/ P}, \qquad
              t = DM \sqrt{\frac{P + 1 - 2h + h(h-1)/P}{P}},

    and t is compared with Student's t of P - 1 degrees of freedom.

    Parameters
    ----------
    differences : array-like of shape (P,)
        Loss of one forecast minus that of the other, in time order.
    horizon : int, default=1
        h, periods that the forecasts reach ahead: best forecasts then have errors that
        are correlated over h - 1 periods.
    kernel : {"truncated", "Bartlett"}, default="truncated"
        The weights w: 1, as Diebold and Mariano have it, or ``1 - k / h``, as
        statsmodels has it with ``lags=h - 1``. A truncated sum may be negative;
        Bartlett weights, which prevent that, are then used instead, and the result says
        so.

    Returns
    -------
    DieboldMarianoTest
        Differences that are all zero have statistic 0 and p-value 1.

    Raises
    ------
    ValueError
        With fewer than two periods, or no more than the horizon.

    Notes
    -----
    The test is one of forecasting *methods*, the length of the window and the way of
    fitting included, and holds for nested models, if the window does not grow
    (Giacomini and White 2006).

    Examples
    --------
    >>> test = diebold_mariano_test([0.3, -0.1, 0.4, 0.2, 0.1, 0.3])
    >>> print(f"{test.statistic:.4f} {test.df} {test.p_value:.4f}")
    2.7386 5 0.0409
    """
    d = _checked(differences, horizon, kernel)
    P, h = d.size, horizon
    variance, kernel = _long_run_variance(d, h, kernel)
    correction = (P + 1 - 2 * h + h * (h - 1) / P) / P
    mean, std_error = float(d.mean()), float(np.sqrt(variance / P / correction))
    statistic = _ratio(mean, std_error)
    p = 2 * float(stats.t.sf(abs(statistic), P - 1))
    return DieboldMarianoTest(mean, std_error, statistic, P - 1, p, h, kernel)


def clark_west_test(
    y: Numbers | Sequence[np.ndarray],
    smaller: Numbers | Sequence[np.ndarray],
    larger: Numbers | Sequence[np.ndarray],
    horizon: int = 1,
    *,
    kernel: str = "truncated",
) -> ClarkWestTest:
    r"""Test whether a larger model would predict better with its parameters known.

    A larger model has more to estimate, which costs accuracy even if it is right. Clark
    and West take that cost out of its squared errors:

    .. math:: d_t = (y_t - \hat y_{1t})^2 - \big[(y_t - \hat y_{2t})^2
              - (\hat y_{1t} - \hat y_{2t})^2\big],

    so this is a question about the population, not about these forecasts: the larger
    model may win here and yet predict worse than the smaller one.

    Parameters
    ----------
    y, smaller, larger : array-like of shape (P,) or of P arrays
        Outcomes, forecasts of the model that is nested, and of the one that nests it,
        in time order. Where a period has several rows, its part is the mean over them.
    horizon : int, default=1
        Periods that the forecasts reach ahead.
    kernel : {"truncated", "Bartlett"}, default="truncated"
        As for `diebold_mariano_test`.

    Returns
    -------
    ClarkWestTest
        One-sided.

    Raises
    ------
    ValueError
        With fewer than two periods, or no more than the horizon.

    Examples
    --------
    >>> test = clark_west_test([1, 2, 1, 3, 2], [1.5] * 5, [1.2, 1.7, 1.4, 2.2, 1.6])
    >>> print(f"{test.statistic:.4f} {test.p_value:.4f}")
    1.4478 0.0738
    """
    rows = zip(y, smaller, larger, strict=True)
    gains = [float(np.mean(_adjusted_gain(*map(np.asarray, row)))) for row in rows]
    d = _checked(gains, horizon, kernel)
    variance, kernel = _long_run_variance(d, horizon, kernel)
    # As the regression on a constant has it: residual variance over P - 1.
    mean, std_error = float(d.mean()), float(np.sqrt(variance / (d.size - 1)))
    statistic = _ratio(mean, std_error)
    p = float(stats.norm.sf(statistic))
    return ClarkWestTest(mean, std_error, statistic, p, horizon, kernel)


def _adjusted_gain(y: np.ndarray, small: np.ndarray, large: np.ndarray) -> np.ndarray:
    return np.asarray((y - small) ** 2 - (y - large) ** 2 + (small - large) ** 2)


def _checked(differences: Numbers, horizon: int, kernel: str) -> np.ndarray:
    d = np.asarray(differences, dtype=float)
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {KERNELS}; got {kernel!r}.")
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1; got {horizon}.")
    if d.ndim != 1 or d.size < 2 or d.size <= horizon:
        raise ValueError(
            "Expected one number for each of at least two periods, and of more than "
            f"the horizon of {horizon}; got shape {d.shape}."
        )
    return d


def _long_run_variance(d: np.ndarray, h: int, kernel: str) -> tuple[float, str]:
    """Sum autocovariances up to lag h - 1; and say with which weights."""
    e = d - d.mean()
    gamma = np.array([e[k:] @ e[: e.size - k] for k in range(h)]) / e.size
    if kernel == "truncated":
        variance = float(gamma[0] + 2 * gamma[1:].sum())
        # Not above rounding of what it is a sum of.
        if variance > 1e-12 * gamma[0] or not gamma[0]:
            return variance, kernel
    weights = 1 - np.arange(1, h) / h
    return float(gamma[0] + 2 * weights @ gamma[1:]), "Bartlett"


def _ratio(mean: float, std_error: float) -> float:
    """Give the statistic; equal forecasts are no evidence, where 0 / 0 would be nan."""
    with np.errstate(divide="ignore"):
        return 0.0 if mean == std_error == 0 else float(np.divide(mean, std_error))
