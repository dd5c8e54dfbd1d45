"""What inference gives back: estimates, what they rest on, and their many faces.

Conventions
-----------
q estimates, n rows, R draws. The influence functions say how each row moves each
estimate: ``estimate - target`` is about their mean. Everything joint is computed from
them or from the draws: covariances, clusters, differences between groups of rows and
between models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from .combinations import against, combined, names_of, product, shown_labels
from .covariance import summed_squares
from .hypotheses import Law, WaldTest, restrictions, wald_test
from .rendering import html_page, latex_table, text_summary

NORMAL = Law()
LABELS = ("term", "contrast", "class", "output")


@dataclass(frozen=True, slots=True)
class Basis:
    """What standard errors rest on.

    Attributes
    ----------
    method : str
        "classical", "HC0", "HC1", "HC2", "HC3", "cluster", "bootstrap", "bayesian",
        "debiased", or "none" for estimates without standard errors.
    why : str
        Why this method.
    law : Law
    conditional : bool
        On the rows averaged over; else the population's average is the target.
    penalised : bool
        The interval is then for the target of the penalised fit.
    n : int
        Rows of the fit with positive weight.
    k : int or None
        Parameters that the data determine.
    factor : float
        What the sum of squared influences is multiplied by.
    notes : tuple of str
        What else to know.
    """

    method: str
    why: str
    law: Law = NORMAL
    conditional: bool = True
    penalised: bool = False
    n: int = 0
    k: int | None = None
    factor: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def is_robust(self) -> bool:
        """Whether the covariance is the sum of squared influences."""
        return self.method in ("HC0", "HC1", "HC2", "HC3", "cluster", "debiased")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Estimates:
    """Estimates with standard errors: effects, predictions or coefficients.

    Attributes
    ----------
    title : str
    labels : DataFrame of q rows
        What each estimate is: term, contrast, and where there are several, the class or
        output and the group.
    estimate : ndarray of shape (q,)
        nan where there is none; `absent` says why.
    vcov : ndarray of shape (q, q)
    basis : Basis
    influence : ndarray of shape (n, q) or None
    draws : ndarray of shape (R, q) or None
    clusters : ndarray of int of shape (n,) or None
    conf_level : float
    absent : tuple of str of length q
        Why an estimate or its standard error is nan; empty where it is not.
    beside : mapping of str to ndarray of shape (q,)
        More columns of the table, such as the plug-in estimates.
    facts : mapping of str to str
        Lines for the head of the summary.
    """

    title: str
    labels: pd.DataFrame
    estimate: np.ndarray
    vcov: np.ndarray
    basis: Basis
    influence: np.ndarray | None = None
    draws: np.ndarray | None = None
    clusters: np.ndarray | None = None
    conf_level: float = 0.95
    absent: tuple[str, ...] = ()
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    # ---------------------------------------------------------------------- numbers

    @property
    def std_error(self) -> np.ndarray:
        """Standard errors (q,)."""
        # A difference of equals has a variance of rounding, of either sign.
        return np.sqrt(np.maximum(np.diag(self.vcov), 0.0))

    @property
    def statistic(self) -> np.ndarray:
        """Estimates in standard errors (q,)."""
        std_error = self.std_error
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(std_error > 0, self.estimate / std_error, np.nan)

    @property
    def p_value(self) -> np.ndarray:
        """Two-sided p-values (q,) of being zero."""
        return self.basis.law.p_value(self.statistic)

    def conf_int(self, level: float | None = None) -> np.ndarray:
        """Confidence intervals.

        Parameters
        ----------
        level : float, default=None
            By default the `conf_level` of the estimates.

        Returns
        -------
        ndarray of shape (q, 2)
        """
        width = self.basis.law.critical(self.conf_level if level is None else level)
        reach = width * self.std_error
        return np.column_stack([self.estimate - reach, self.estimate + reach])

    @property
    def names(self) -> list[str]:
        """Names by which `wald_test` knows the estimates.

        The term alone where that is enough; ``term[contrast]``, ``term:class`` and
        ``term@group`` where it is not.
        """
        return names_of(self.labels)

    def to_frame(self) -> pd.DataFrame:
        """Give one row per estimate.

        Returns
        -------
        DataFrame
            Columns term, contrast, class or output, and the group, as far as there are
            any; estimate, std_error, statistic, p_value, conf_low, conf_high; and what
            else the method has to show.
        """
        frame = shown_labels(self.labels)
        low, high = self.conf_int().T
        numbers = {
            "estimate": self.estimate,
            "std_error": self.std_error,
            "statistic": self.statistic,
            "p_value": self.p_value,
            "conf_low": low,
            "conf_high": high,
            **self.beside,
        }
        return frame.assign(**numbers)

    # ------------------------------------------------------------------------ tests

    def wald_test(self, hypothesis: Any) -> WaldTest:
        """Test linear restrictions on the estimates jointly.

        Parameters
        ----------
        hypothesis : str, array-like of shape (r, q), or (matrix, values)
            "educ = exper", "educ, exper" (both zero), "2 * educ - exper = 0.1". The
            names are in `names`; those that are no plain words stand in backticks.

        Returns
        -------
        WaldTest
            F where the law is t, else chi-squared.

        Raises
        ------
        ValueError
            When a name is unknown, the hypothesis is not linear, or an estimate in it
            has no standard error.
        """
        matrix, values, words = restrictions(hypothesis, self.names)
        return wald_test(
            self.estimate, self.vcov, self.basis.law, matrix, values, words
        )

    def group_differences(self, reference: Any = None) -> Estimates:
        """Compare the groups of `by` with one of them.

        Parameters
        ----------
        reference : group, default=None
            By default the first.

        Returns
        -------
        Estimates
            Differences, with standard errors from the joint covariance.

        Raises
        ------
        ValueError
            When there are no groups, or no such group.
        """
        column = self.labels.columns[-1]
        if column in LABELS:
            raise ValueError("There are no groups to compare; ask for by= a column.")
        groups = list(dict.fromkeys(self.labels[column]))
        base = groups[0] if reference is None else reference
        if base not in groups:
            raise ValueError(f"There is no group {base!r}; the groups are {groups}.")
        matrix, labels = against(self.labels, column, base)
        return self.mapped(matrix, labels, f"{self.title}: differences by {column}")

    def difference(self, other: Estimates) -> Estimates:
        """Compare with the same estimates of another model on the same rows.

        The covariance is joint: both models saw the same rows, so their errors go
        together, and the influence functions say how much.

        Parameters
        ----------
        other : Estimates
            With influence functions on the same rows, in the same order.

        Returns
        -------
        Estimates
            This minus the other, for the labels that both have.

        Raises
        ------
        ValueError
            When the two do not rest on the same rows, or one has no influence
            functions.
        """
        return _difference(self, other)

    def mapped(self, matrix: np.ndarray, labels: pd.DataFrame, title: str) -> Estimates:
        """Linear combinations ``matrix @ estimate``, with all that belongs to them.

        Parameters
        ----------
        matrix : ndarray of shape (r, q)
        labels : DataFrame of r rows
        title : str
        """
        estimate, vcov = combined(matrix, self.estimate, self.vcov)
        lost = np.isnan(np.diag(vcov))
        reasons = [next((a for a in self.absent if a), "") if no else "" for no in lost]
        return replace(
            self,
            title=title,
            labels=labels,
            estimate=estimate,
            vcov=vcov,
            influence=None
            if self.influence is None
            else product(matrix, self.influence),
            draws=None if self.draws is None else product(matrix, self.draws),
            absent=tuple(reasons),
            beside={k: product(matrix, v) for k, v in self.beside.items()},
        )

    # ------------------------------------------------------------------------ faces

    def summary(self) -> str:
        """Write the table as text, with what it rests on."""
        return text_summary(self)

    def __str__(self) -> str:
        return self.summary()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_page(self)

    def to_latex(self) -> str:
        """Write the table in LaTeX, for the package booktabs."""
        return latex_table(self)

    # What maketables asks of a result, so that ETable([...]) takes it as a column.

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        low, high = self.conf_int(0.95).T
        return pd.DataFrame(
            {
                "b": self.estimate,
                "se": self.std_error,
                "t": self.statistic,
                "p": self.p_value,
                "ci95l": low,
                "ci95u": high,
            },
            index=pd.Index(self.names, name="Coefficient"),
        )

    def __maketables_stat__(self, key: str) -> Any:
        return {"N": self.basis.n}.get(key)

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        return ["N"]

    @property
    def __maketables_depvar__(self) -> str:
        return self.title

    @property
    def __maketables_vcov_info__(self) -> dict[str, Any]:
        return {"vcov_type": self.basis.method, "clustervar": None}


def _difference(one: Estimates, other: Estimates) -> Estimates:
    for each in (one, other):
        if each.influence is None or not each.basis.is_robust:
            raise ValueError(
                f"vcov={each.basis.method!r} knows one model only; a difference of two "
                "needs the influence of every row on both. Ask both for vcov='HC1', "
                "'cluster' or 'debiased'."
            )
    if one.influence.shape[0] != other.influence.shape[0] or not _same_clusters(  # type: ignore[union-attr]
        one.clusters, other.clusters
    ):
        raise ValueError(
            "The two do not rest on the same rows: they have "
            f"{one.influence.shape[0]} and {other.influence.shape[0]}"  # type: ignore[union-attr]
            ", or their clusters differ."
        )
    here, there = _shared(one, other)
    phi = _finished(one)[:, here] - _finished(other)[:, there]
    basis = replace(
        one.basis,
        factor=1.0,
        k=None,
        why="both models' influence functions on the same rows",
        penalised=one.basis.penalised or other.basis.penalised,
        conditional=one.basis.conditional and other.basis.conditional,
        notes=tuple(dict.fromkeys(one.basis.notes + other.basis.notes)),
    )
    return Estimates(
        "Differences between two models",
        one.labels.iloc[here].reset_index(drop=True),
        one.estimate[here] - other.estimate[there],
        summed_squares(phi, one.basis.n, one.clusters),
        basis,
        influence=phi,
        clusters=one.clusters,
        conf_level=one.conf_level,
        absent=tuple("" for _ in here),
        facts=one.facts,
    )


def _same_clusters(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))


def _finished(estimates: Estimates) -> np.ndarray:
    """Influence functions whose squares sum to the covariance as reported."""
    assert estimates.influence is not None
    return estimates.influence * np.sqrt(estimates.basis.factor)


def _shared(one: Estimates, other: Estimates) -> tuple[list[int], list[int]]:
    """Places of the estimates that both have."""
    theirs = {name: i for i, name in enumerate(other.names)}
    pairs = [(i, theirs[n]) for i, n in enumerate(one.names) if n in theirs]
    if not pairs:
        raise ValueError(
            f"The two have no estimate in common: {', '.join(one.names[:5])} and "
            f"{', '.join(other.names[:5])}."
        )
    return [i for i, _ in pairs], [j for _, j in pairs]
