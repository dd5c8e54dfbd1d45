"""What a test for neglected nonlinearity adds to a linear model.

Three ways to look for a shape that the columns alone do not give: hidden units of a
network (White), the terms of its Taylor expansion (Teräsvirta), powers of the model's
own prediction (RESET).

Conventions
-----------
n rows, k columns, H hidden units. ``z`` are columns of mean 0 and standard deviation 1,
shape (n, k). Every function is pure and gives terms of shape (n, number of terms).

References
----------
Lee, T.-H., White, H. and Granger, C. W. J. (1993). Testing for Neglected Nonlinearity
in Time Series Models. Journal of Econometrics 56, 269-290.
https://doi.org/10.1016/0304-4076(93)90122-L

Teräsvirta, T., Lin, C.-F. and Granger, C. W. J. (1993). Power of the Neural Network
Linearity Test. Journal of Time Series Analysis 14, 209-220.
https://doi.org/10.1111/j.1467-9892.1993.tb00139.x

Ramsey, J. B. (1969). Tests for Specification Errors in Classical Linear Least-Squares
Regression Analysis. Journal of the Royal Statistical Society B 31, 350-371.
https://doi.org/10.1111/j.2517-6161.1969.tb00796.x
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb

import numpy as np
from scipy.special import expit

# Hidden weights are uniform on (-RANGE, RANGE), as in Lee, White and Granger.
RANGE = 2.0
DEGREES = (2, 3)
# What is smaller than this share of the largest is rounding.
NEGLIGIBLE = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Terms that a test adds to a model.

    Attributes
    ----------
    values : ndarray of shape (n, m)
    names : tuple of str of length m
    """

    values: np.ndarray
    names: tuple[str, ...]


def draw_weights(
    k: int, n_units: int, n_draws: int, rng: np.random.RandomState
) -> list[np.ndarray]:
    """Draw hidden weights, uniform on (-2, 2).

    Parameters
    ----------
    k, n_units, n_draws : int
    rng : RandomState

    Returns
    -------
    list of ndarray of shape (k + 1, n_units)
        The first row are the intercepts. The first draws are the same for any
        `n_draws`.
    """
    return [rng.uniform(-RANGE, RANGE, (k + 1, n_units)) for _ in range(n_draws)]


def hidden_components(z: np.ndarray, weights: np.ndarray, n_components: int) -> Terms:
    """Give principal components of logistic hidden units, without the first.

    The units' standard deviations are one before the components are taken, so these are
    the components of the correlation matrix. The first is mostly linear in the columns
    and left out (Lee, White and Granger 1993, section 2).

    Parameters
    ----------
    z : ndarray of shape (n, k)
    weights : ndarray of shape (k + 1, H)
        The first row are the intercepts.
    n_components : int
        At most H - 1.

    Returns
    -------
    Terms
        Components 2 to ``n_components + 1``; zero where the units have not as many.
    """
    units = expit(weights[0] + z @ weights[1:])  # (n, H)
    units -= units.mean(axis=0)
    spread = np.sqrt(np.square(units).mean(axis=0))
    # A saturated unit is constant; dividing by its spread would make noise of it.
    units /= np.where(spread > NEGLIGIBLE, spread, np.inf)
    left, sizes, _ = np.linalg.svd(units, full_matrices=False)
    components = left * np.where(sizes > NEGLIGIBLE * sizes[0], sizes, 0.0)
    last = n_components + 1
    names = tuple(f"component {i}" for i in range(2, last + 1))
    return Terms(components[:, 1:last], names)


def count_monomials(k: int) -> int:
    """Count the monomials of degree 2 and 3 of k columns.

    Examples
    --------
    >>> count_monomials(3), count_monomials(5)
    (16, 50)
    """
    return sum(comb(k + degree - 1, degree) for degree in DEGREES)


def monomials(z: np.ndarray, names: Sequence[str]) -> Terms:
    """Give all monomials of degree 2 and 3 (Teräsvirta, Lin and Granger 1993).

    Parameters
    ----------
    z : ndarray of shape (n, k)
    names : sequence of str of length k

    Returns
    -------
    Terms

    Examples
    --------
    >>> z = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> terms = monomials(z, ["a", "b"])
    >>> terms.names
    ('a^2', 'a b', 'b^2', 'a^3', 'a^2 b', 'a b^2', 'b^3')
    >>> terms.values[0]
    array([1., 2., 4., 1., 2., 4., 8.])
    """
    n, k = z.shape
    products = [
        factors
        for degree in DEGREES
        for factors in combinations_with_replacement(range(k), degree)
    ]
    values = np.empty((n, len(products)), order="F")
    for i, factors in enumerate(products):
        np.prod(z[:, factors], axis=1, out=values[:, i])
    return Terms(values, tuple(_product_name(each, names) for each in products))


def _product_name(factors: Sequence[int], names: Sequence[str]) -> str:
    powers = Counter(factors).items()
    return " ".join(f"{names[j]}^{p}" if p > 1 else names[j] for j, p in powers)


def powers(index: np.ndarray, name: str) -> Terms:
    """Give the square and the cube of a model's prediction (Ramsey 1969).

    Parameters
    ----------
    index : ndarray of shape (n,)
        Fitted values, or the index of a logit.
    name : str
        What they are called.

    Returns
    -------
    Terms
        Of the standardised prediction. The powers of an index with a mean far from zero
        would be collinear to rounding, and a linear change of it changes no test.

    Examples
    --------
    >>> powers(np.array([1.0, 2.0, 3.0]), "fitted").values.round(4)
    array([[ 1.5   , -1.8371],
           [ 0.    ,  0.    ],
           [ 1.5   ,  1.8371]])
    """
    standard = (index - index.mean()) / index.std()
    values = standard[:, None] ** np.array(DEGREES)
    return Terms(values, tuple(f"{name}^{degree}" for degree in DEGREES))
