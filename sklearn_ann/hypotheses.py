"""Linear hypotheses about estimates, written as people write them, and their test."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats

from .text import number, p_value

# Restrictions that follow from the others, up to rounding, are counted once.
RANK_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Law:
    """Law that statistics are compared with.

    Attributes
    ----------
    df : float or None
        Degrees of freedom of Student's t; None for the normal.
    """

    df: float | None = None

    @property
    def letter(self) -> str:
        """Name of the statistic, "t" or "z"."""
        return "z" if self.df is None else "t"

    def __str__(self) -> str:
        return "normal" if self.df is None else f"t({self.df:g})"

    def p_value(self, statistic: np.ndarray) -> np.ndarray:
        """Two-sided p-values; by the upper tail, so that small ones are not zero."""
        size = np.abs(statistic)
        tail = stats.norm.sf(size) if self.df is None else stats.t.sf(size, self.df)
        return np.asarray(2.0 * tail)

    def critical(self, level: float) -> float:
        """Half the width of an interval that covers with `level`, in std. errors."""
        share = 0.5 + level / 2.0
        found = (
            stats.norm.ppf(share) if self.df is None else stats.t.ppf(share, self.df)
        )
        return float(found)


@dataclass(frozen=True, slots=True)
class WaldTest:
    """A joint test of linear restrictions.

    Attributes
    ----------
    hypothesis : str
    statistic : float
        Chi-squared, or F where the estimates' law is t.
    df : int
        Restrictions that do not follow from the others.
    df_denom : float or None
        Of F; None for chi-squared.
    p_value : float
    """

    hypothesis: str
    statistic: float
    df: int
    df_denom: float | None
    p_value: float

    def __str__(self) -> str:
        law = f"chi2({self.df})"
        if self.df_denom is not None:
            law = f"F({self.df}, {self.df_denom:g})"
        size, p = number(self.statistic, 3), p_value(self.p_value)
        return f"Wald test of {self.hypothesis}: {law} = {size}, p = {p}"


def wald_test(
    estimate: np.ndarray,
    vcov: np.ndarray,
    law: Law,
    matrix: np.ndarray,
    values: np.ndarray,
    hypothesis: str,
) -> WaldTest:
    r"""Test ``matrix @ target = values``.

    .. math:: W = (R \hat\theta - r)' (R V R')^{-} (R \hat\theta - r)

    Parameters
    ----------
    estimate : ndarray of shape (q,)
    vcov : ndarray of shape (q, q)
    law : Law
    matrix : ndarray of shape (r, q)
    values : ndarray of shape (r,)
    hypothesis : str
        For people.

    Raises
    ------
    ValueError
        When an estimate that takes part has no standard error.
    """
    used = (matrix != 0).any(axis=0)
    if (
        not np.isfinite(estimate[used]).all()
        or not np.isfinite(np.diag(vcov)[used]).all()
    ):
        raise ValueError(
            f"There is no test of {hypothesis}: an estimate in it is not determined by "
            "the data, or has no standard error."
        )
    R = matrix[:, used]
    gap = R @ estimate[used] - values
    spread = R @ vcov[np.ix_(used, used)] @ R.T
    unit = np.sqrt(np.where(np.diag(spread) > 0, np.diag(spread), 1.0))
    roots, vectors = np.linalg.eigh(spread / unit / unit[:, None])
    kept = roots > RANK_TOLERANCE * roots.max()
    if not kept.any():
        raise ValueError(f"There is no test of {hypothesis}: nothing in it varies.")
    along = vectors[:, kept].T @ (gap / unit)
    statistic, df = float((along**2 / roots[kept]).sum()), int(kept.sum())
    if law.df is None:
        return WaldTest(
            hypothesis, statistic, df, None, float(stats.chi2.sf(statistic, df))
        )
    statistic /= df
    p = float(stats.f.sf(statistic, df, law.df))
    return WaldTest(hypothesis, statistic, df, law.df, p)


def restrictions(
    hypothesis: Any, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, str]:
    """Turn a hypothesis into a matrix (r, q), values (r,) and words.

    Parameters
    ----------
    hypothesis : str, array-like of shape (r, q), or (matrix, values)
        "educ = exper", "2 * educ - exper = 0.1, tenure = 0", or "educ, exper" for
        several that are zero. Names that are no plain words stand in backticks.
    names : sequence of str
        Of the estimates.

    Raises
    ------
    ValueError
        When a name is unknown, or the hypothesis is not linear.

    Examples
    --------
    >>> matrix, values, _ = restrictions("educ = exper = 0.1", ["educ", "exper"])
    >>> matrix, values
    (array([[ 1., -1.],
           [ 0.,  1.]]), array([0. , 0.1]))
    """
    if isinstance(hypothesis, str):
        rows = [
            row
            for part in _split(hypothesis, ",")
            for row in _equations(part, list(names))
        ]
        matrix = np.array([row for row, _ in rows])
        return matrix, np.array([-constant for _, constant in rows]), hypothesis
    values: Any = 0.0
    if isinstance(hypothesis, tuple):
        hypothesis, values = hypothesis
    matrix = np.atleast_2d(np.asarray(hypothesis, dtype=float))
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise ValueError(
            f"A matrix of restrictions has one column for each of the {len(names)} "
            f"estimates; got shape {matrix.shape}."
        )
    values = np.broadcast_to(np.asarray(values, dtype=float), (len(matrix),))
    return matrix, values, f"{len(matrix)} restrictions"


def _split(text: str, mark: str) -> list[str]:
    """Split at a mark that is not within backticks, brackets or parentheses."""
    parts, depth, quoted, start = [], 0, False, 0
    for i, letter in enumerate(text):
        quoted ^= letter == "`"
        depth += (letter in "([") - (letter in ")]")
        if letter == mark and not quoted and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _equations(text: str, names: list[str]) -> list[tuple[np.ndarray, float]]:
    """Rows of "a = b = 0": each side equals the next."""
    sides = [_linear(side, names) for side in _split(text, "=")]
    if len(sides) == 1:
        sides.append((np.zeros(len(names)), 0.0))
    return [(left[0] - right[0], left[1] - right[1]) for left, right in pairwise(sides)]


def _linear(text: str, names: list[str]) -> tuple[np.ndarray, float]:
    """Coefficients (q,) and constant of a linear expression."""
    marked = _marked(text, names)
    try:
        tree = ast.parse(marked.strip(), mode="eval")
        return _value(tree.body, len(names))
    except (SyntaxError, TypeError, KeyError) as error:
        raise ValueError(
            f"Cannot read {text.strip()!r} as a linear expression of the estimates. "
            f"Their names are {', '.join(names)}; write those that are no plain words "
            "in backticks."
        ) from error


def _marked(text: str, names: list[str]) -> str:
    """Put ``_e3_`` in place of the name of estimate 3."""
    for i in sorted(range(len(names)), key=lambda i: -len(names[i])):
        name = re.escape(names[i])
        text = re.sub(rf"`{name}`", f" _e{i}_ ", text)
        text = re.sub(rf"(?<![\w.`]){name}(?![\w`])", f" _e{i}_ ", text)
    return text


Side = tuple[np.ndarray, float]


def _value(node: ast.AST, q: int) -> Side:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return np.zeros(q), float(node.value)
    if isinstance(node, ast.Name):
        found = re.fullmatch(r"_e(\d+)_", node.id)
        if found is None:
            raise KeyError(node.id)
        return np.eye(q)[int(found[1])], 0.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        return _scaled(_value(node.operand, q), sign)
    if isinstance(node, ast.BinOp):
        return _combined(node.op, _value(node.left, q), _value(node.right, q))
    raise TypeError(ast.dump(node))


def _scaled(side: Side, factor: float) -> Side:
    return side[0] * factor, side[1] * factor


def _combined(op: ast.operator, left: Side, right: Side) -> Side:
    if isinstance(op, ast.Add | ast.Sub):
        right = right if isinstance(op, ast.Add) else _scaled(right, -1.0)
        return left[0] + right[0], left[1] + right[1]
    if isinstance(op, ast.Mult) and not left[0].any():
        return _scaled(right, left[1])
    if isinstance(op, ast.Mult) and not right[0].any():
        return _scaled(left, right[1])
    if isinstance(op, ast.Div) and not right[0].any() and right[1]:
        return _scaled(left, 1.0 / right[1])
    raise TypeError("not linear")
