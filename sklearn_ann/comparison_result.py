"""What `compare` gives back: scores, tests, a table, a text.

Conventions
-----------
M models, S metrics, J splits. Scores are kept as an array of shape (M, S, J), each in
the metric's own units: an RMSE is positive, and lower is better.
"""

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .score_tests import (
    CorrectedTTest,
    corrected_std_error,
    corrected_t_test,
)
from .text import decimals_for, number, p_value, text_table


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured, and which direction is better.

    Attributes
    ----------
    name : str
        Name in tables.
    scorer : str or callable
        A scorer of scikit-learn, for which greater is always better.
    greater_is_better : bool
        False where the metric's own units are the negative of the scorer's.
    """

    name: str
    scorer: Any
    greater_is_better: bool = True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """Scores of M models by S metrics on J splits that they share.

    Attributes
    ----------
    models : tuple of str of length M
        Names of the models, in the order given.
    baseline : str
        The model that the others are compared with.
    metrics : tuple of Metric of length S
        What was measured.
    scores : ndarray of shape (M, S, J)
        Out-of-sample scores, in the metrics' own units.
    fit_seconds : ndarray of shape (M, J)
        Time of each fit.
    n_parameters : ndarray of shape (M, J)
        Number of fitted coefficients of linear models and networks; nan for others.
    n_train, n_test : ndarray of shape (J,)
        Rows given to ``fit`` and rows tested on.
    no_test_because : str
        Why there are no standard errors and tests; empty where there are.
    """

    models: tuple[str, ...]
    baseline: str
    metrics: tuple[Metric, ...]
    scores: np.ndarray
    fit_seconds: np.ndarray
    n_parameters: np.ndarray
    n_train: np.ndarray
    n_test: np.ndarray
    no_test_because: str = ""

    def test(self, model: str, metric: str) -> CorrectedTTest:
        """Test the difference between a model and the baseline.

        Parameters
        ----------
        model, metric : str
            Names of a model and of a metric.

        Returns
        -------
        CorrectedTTest
            Of the score of the model minus that of the baseline.

        Raises
        ------
        ValueError
            Where the corrected test does not hold: one split, or splits in time order.
        KeyError
            If there is no such model or metric.
        """
        if self.no_test_because:
            raise ValueError(f"There is no test here: {self.no_test_because}.")
        return corrected_t_test(self._gaps(model, metric), self.n_train, self.n_test)

    def to_frame(self) -> pd.DataFrame:
        """Give one row per model.

        Returns
        -------
        DataFrame of shape (M, 6 S + 2)
            Indexed by model. For each metric its mean over the splits, then the columns
            ``_std_error``, ``_difference`` (from the baseline),
            ``_difference_std_error``, ``_statistic`` and ``_p_value``, with the name of
            the metric in front; last ``fit_seconds`` and ``n_parameters``. What does
            not exist is nan, such as the baseline's difference from itself.
        """
        rows = [self._row(m, model) for m, model in enumerate(self.models)]
        return pd.DataFrame(rows, index=pd.Index(self.models, name="model"))

    def __str__(self) -> str:
        return _report(self)

    __repr__ = __str__

    def _scores(self, model: str, metric: str) -> np.ndarray:  # (J,)
        metrics = [each.name for each in self.metrics]
        for name, known in ((model, list(self.models)), (metric, metrics)):
            if name not in known:
                raise KeyError(f"{name!r} is not one of {known}")
        return self.scores[self.models.index(model), metrics.index(metric)]

    def _gaps(self, model: str, metric: str) -> np.ndarray:  # (J,)
        return self._scores(model, metric) - self._scores(self.baseline, metric)

    def _row(self, m: int, model: str) -> dict[str, float]:
        row: dict[str, float] = {}
        for metric in self.metrics:
            row |= self._cells(model, metric.name)
        row["fit_seconds"] = float(self.fit_seconds[m].mean())
        # Splits can differ, where a rare category has no dummy in some of them.
        row["n_parameters"] = float(self.n_parameters[m].max())
        return row

    def _cells(self, model: str, metric: str) -> dict[str, float]:
        difference = self._difference(model, metric)
        scores = self._scores(model, metric)
        return {
            metric: float(scores.mean()),
            f"{metric}_std_error": self._std_error(scores),
            f"{metric}_difference": difference.mean,
            f"{metric}_difference_std_error": difference.std_error,
            f"{metric}_statistic": difference.statistic,
            f"{metric}_p_value": difference.p_value,
        }

    def _difference(self, model: str, metric: str) -> CorrectedTTest:
        """Test where there is one; elsewhere the numbers that exist, the rest nan."""
        nan = float("nan")
        if model == self.baseline:
            return CorrectedTTest(nan, nan, nan, 0, nan)
        if self.no_test_because:
            gap = float(self._gaps(model, metric).mean())
            return CorrectedTTest(gap, nan, nan, 0, nan)
        return self.test(model, metric)

    def _std_error(self, scores: np.ndarray) -> float:
        if self.no_test_because:
            return float("nan")
        return corrected_std_error(scores, self.n_train, self.n_test)


def _report(result: Comparison) -> str:
    """Write a comparison for people."""
    frame = result.to_frame()
    blocks = [_headline(result), _score_table(result, frame), _notes(result)]
    if len(result.models) > 1:
        title = f"Difference from {result.baseline}"
        blocks += [f"{title}\n{_difference_table(result, frame)}"]
    return "\n\n".join(blocks)


def _headline(result: Comparison) -> str:
    fit, test = result.n_train.mean(), result.n_test.mean()
    return (
        f"Out-of-sample scores over {len(result.n_test)} splits: "
        f"{fit:.0f} rows to fit, {test:.0f} to test"
    )


def _score_table(result: Comparison, frame: pd.DataFrame) -> str:
    names = [metric.name for metric in result.metrics]
    rows = []
    for model, row in frame.iterrows():
        cells = [_with_error(row, frame, name) for name in names]
        seconds = number(
            row["fit_seconds"], decimals_for(frame["fit_seconds"], digits=2)
        )
        rows.append([model, *cells, seconds, number(row["n_parameters"], 0)])
    return text_table(["", *names, "seconds", "parameters"], rows)


def _with_error(row: pd.Series, frame: pd.DataFrame, name: str) -> str:
    decimals = decimals_for(frame[name])
    score, error = row[name], row[f"{name}_std_error"]
    text = number(score, decimals)
    return text if np.isnan(error) else f"{text} ({number(error, decimals)})"


def _difference_table(result: Comparison, frame: pd.DataFrame) -> str:
    rows = []
    for model in result.models:
        label = model
        for metric in result.metrics if model != result.baseline else ():
            rows.append([label, *_difference_cells(frame, model, metric.name)])
            label = ""
    return text_table(["", "", "difference", "std. error", "t", "p"], rows)


def _difference_cells(frame: pd.DataFrame, model: str, name: str) -> list[str]:
    gap, error, t, p = (
        frame.at[model, f"{name}{column}"]
        for column in ("_difference", "_difference_std_error", "_statistic", "_p_value")
    )
    # As many as the score has, and enough for two digits of the standard error.
    decimals = max(decimals_for(frame[name]), decimals_for([error], digits=2))
    return [
        name,
        number(gap, decimals, sign=True),
        number(error, decimals),
        number(t, 2),
        p_value(p),
    ]


def _notes(result: Comparison) -> str:
    notes = []
    if result.no_test_because:
        notes.append(f"No standard errors and tests: {result.no_test_because}.")
    else:
        notes.append(
            "In brackets: standard errors. They and the tests are corrected for "
            "training sets that overlap (Nadeau and Bengio 2003)."
        )
    lower = [each.name for each in result.metrics if not each.greater_is_better]
    if lower:
        notes.append(f"Lower is better for {' and '.join(lower)}.")
    if any(metric.scorer == "r2" for metric in result.metrics):
        notes.append("R2 is measured against the mean of the test fold.")
    return textwrap.fill(" ".join(notes), 79)
