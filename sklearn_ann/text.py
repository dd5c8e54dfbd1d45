"""Numbers as people read them."""

import math
from collections.abc import Sequence

import numpy as np


def decimals_for(values: Sequence[float], *, digits: int = 4) -> int:
    """Count the decimals that show the largest of some numbers to some digits.

    Numbers of one column share their decimals, so that they can be compared by eye.

    Parameters
    ----------
    values : sequence of float
        Numbers of one column; those that are not finite do not count.
    digits : int, default=4
        Digits of the largest number.

    Returns
    -------
    int
        Number of decimals, between 0 and 10.

    Examples
    --------
    >>> decimals_for([0.3671, 0.02]), decimals_for([54321.1]), decimals_for([])
    (4, 0, 4)
    """
    sizes = np.abs(np.asarray(values, dtype=float))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    largest = float(sizes.max()) if sizes.size else 0.5
    return min(max(digits - math.ceil(math.log10(largest)), 0), 10)


def number(value: float, decimals: int, *, sign: bool = False) -> str:
    """Write a number with fixed decimals, and a dash where there is none.

    Examples
    --------
    >>> number(0.36713, 3), number(0.00792, 4, sign=True), number(float("nan"), 2)
    ('0.367', '+0.0079', '-')
    """
    if math.isnan(value):
        return "-"
    return f"{value:{'+' if sign else ''}.{decimals}f}"


def p_value(value: float) -> str:
    """Write a p-value: three decimals, and never a plain zero.

    Examples
    --------
    >>> p_value(0.0312), p_value(1e-9), p_value(float("nan"))
    ('0.031', '<0.001', '-')
    """
    return "<0.001" if value < 0.001 else number(value, 3)
