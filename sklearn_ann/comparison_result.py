"""What `compare` gives back: scores, and what may be said of their differences.

Conventions
-----------
M models, S metrics, J splits, and P parts that have scores of their own: the splits, or
the periods tested where there is a time order. Scores are in the metric's own units: an
RMSE is positive, and lower is better.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .comparison_frames import frame_of_scores, frame_of_tests
from .comparison_metrics import Metric
from .comparison_splits import Window
from .comparison_tables import (
    difference_table,
    html_blocks,
    model_table,
    score_table,
    text_blocks,
)
from .faces import Table
from .fit_likelihood import check_vuong
from .forecast_tests import ClarkWestTest, DieboldMarianoTest, diebold_mariano_test
from .likelihoods import VuongTest, vuong_test
from .score_tests import CorrectedTTest, corrected_t_test
from .tested_rows import TestedRows, clark_west_of_rows, r2_by_benchmark

if TYPE_CHECKING:
    from .full_sample import FullFit


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """Scores of M models by S metrics on rows that they share.

    Print it, or see `to_frame`, `tests`, `table`.

    Attributes
    ----------
    models : tuple of str of length M
        Names of the models, in the order given.
    baseline : str
        The model that the others are compared with.
    metrics : tuple of Metric of length S
        What was measured.
    scores : ndarray of shape (M, S, P)
        Out-of-sample scores, in the metrics' own units, averaged over seeds.
    fit_seconds : ndarray of shape (M, J)
        Time of a fit; where networks were trained as stacks, its share.
    n_parameters : ndarray of shape (M, J)
        Number of fitted coefficients of linear models and networks; nan for others.
    n_train, n_test : ndarray of shape (J,)
        Rows given to ``fit`` and rows tested on.
    no_test_because : str
        Why there are no standard errors and tests; empty where there are.
    seed_scores : tuple of M ndarrays of shape (R_m, S, P)
        Scores with each seed; one for models that no seed can change.
    train_scores : tuple of M ndarrays of shape (R_m, S, J)
        Scores of the rows fitted to.
    n_rows : int
        Rows given to `compare`.
    window : Window or None
        How models were fitted along the time.
    tested : TestedRows or None
        Outcomes and predictions of the rows tested, for regressors.
    fits : tuple of M FullFit
        Fits to all rows, with effects; empty if they were not asked for.
    clark_west : tuple of str
        Models for which the test of Clark and West is shown.
    remarks : tuple of str
        What else to know.
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
    seed_scores: tuple[np.ndarray, ...] = ()
    train_scores: tuple[np.ndarray, ...] = ()
    n_rows: int = 0
    window: Window | None = None
    tested: TestedRows | None = None
    fits: "tuple[FullFit, ...]" = ()
    clark_west: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    # ----------------------------------------------------------------------- tests

    def test(self, model: str, metric: str) -> CorrectedTTest | DieboldMarianoTest:
        """Test the difference between a model and the baseline.

        Parameters
        ----------
        model, metric : str
            Names of a model and of a metric.

        Returns
        -------
        CorrectedTTest or DieboldMarianoTest
            Of the score of the model minus that of the baseline; the second where there
            is a time order.

        Raises
        ------
        ValueError
            Where there is no valid test: one split, splits that move forward in time,
            a window that expands.
        KeyError
            If there is no such model or metric.
        """
        gaps = self._gaps(model, metric)
        if self.no_test_because:
            raise ValueError(f"There is no test here: {self.no_test_because}.")
        if self.window is not None:
            return diebold_mariano_test(gaps, self.window.horizon)
        return corrected_t_test(gaps, self.n_train, self.n_test)

    def tests(self) -> pd.DataFrame:
        """Give all tests against the baseline, one row each.

        Returns
        -------
        DataFrame of (M - 1) S rows
            Columns model, metric, test, difference, std_error, statistic, p_value, and
            p_holm, which is adjusted for the number of models. What is not valid is
            nan. Tests of Clark and West follow, where they are shown.
        """
        return frame_of_tests(self)

    def clark_west_test(self, model: str) -> ClarkWestTest:
        """Test whether a model that nests the baseline is better in the population.

        That is another question than `test` asks: whether it would predict better if
        its parameters were known, not whether its forecasts do. One-sided, for squared
        errors. That the model nests the baseline, as a network with a linear skip nests
        OLS, is for you to know.

        Parameters
        ----------
        model : str

        Returns
        -------
        ClarkWestTest

        Raises
        ------
        ValueError
            Without a time order, with a window that expands, for classifiers and
            several targets, and for the baseline itself.
        KeyError
            If there is no such model.
        """
        self._check_known(model, self.models)
        if self.window is None or self.no_test_because:
            reason = self.no_test_because or "it is for forecasts; give time_order="
            raise ValueError(f"There is no test of Clark and West here: {reason}.")
        if self.tested is None or self.tested.y.ndim > 1 or model == self.baseline:
            raise ValueError(
                "The test of Clark and West compares squared errors of one target of "
                f"numbers, of a model that nests the baseline; got {model!r} against "
                f"{self.baseline!r}."
            )
        places = self.models.index(self.baseline), self.models.index(model)
        return clark_west_of_rows(self.tested, *places, self.window.horizon)

    def vuong_test(self, model: str, other: str | None = None) -> VuongTest:
        """Test which of two maximum likelihood fits is closer to the truth, in sample.

        Parameters
        ----------
        model : str
        other : str, default=None
            By default the baseline.

        Returns
        -------
        VuongTest
            Positive where `model` is closer.

        Raises
        ------
        ValueError
            Where it does not hold: without fits to all rows (``effects=``), for fits
            with a penalty, hidden layers or no likelihood, that have not converged, of
            which one contains the other, or with different kinds of likelihood. The
            difference of out-of-sample log scores is there instead: ``test(model, "log
            loss")``.
        KeyError
            If there is no such model.
        """
        pair = [model, self.baseline if other is None else other]
        for name in pair:
            self._check_known(name, self.models)
        if pair[0] == pair[1]:
            raise ValueError(f"Vuong's test compares two models; got {model!r} twice.")
        if not self.fits:
            raise ValueError("Vuong's test needs fits to all rows: pass effects=True.")
        found = {n: self.fits[self.models.index(n)].likelihood for n in pair}
        check_vuong(found)
        return vuong_test(*(each.by_row for each in found.values() if each))

    # --------------------------------------------------------------------- numbers

    def to_frame(self) -> pd.DataFrame:
        """Give one row per model.

        Returns
        -------
        DataFrame of shape (M, 9 S + 2)
            Indexed by model. For each metric its mean over the splits (or the periods),
            then the columns ``_std_error``, ``_difference`` (from the baseline),
            ``_difference_std_error``, ``_statistic``, ``_p_value``, ``_p_holm``,
            ``_train`` (of the rows fitted to) and ``_seed_sd``, with the name of the
            metric in front; last ``fit_seconds`` and ``n_parameters``. What does not
            exist is nan, such as the baseline's difference from itself.
        """
        return frame_of_scores(self)

    def r2_out_of_sample(self) -> pd.DataFrame:
        """Give R2 out of sample, against each of three benchmarks.

        Returns
        -------
        DataFrame of shape (M, 3)
            Columns "test-fold mean", as scikit-learn has it; "pooled mean", that of all
            rows tested; and "training mean", which alone was known at the time.

        Raises
        ------
        ValueError
            For classifiers.
        """
        if self.tested is None:
            raise ValueError("There is an R2 for regressors only.")
        return r2_by_benchmark(self.tested, self.models)

    def model_scores(self, model: str, metric: str) -> np.ndarray:
        """Give the scores of one model by one metric.

        Parameters
        ----------
        model, metric : str

        Returns
        -------
        ndarray of shape (P,)

        Raises
        ------
        KeyError
            If there is no such model or metric.
        """
        return np.asarray(self.scores[self._place(model, metric)])

    def seed_sd(self, model: str, metric: str) -> float:
        """Give the standard deviation of a split's score over seeds.

        Parameters
        ----------
        model, metric : str

        Returns
        -------
        float
            Root of the mean over splits of the variance over seeds (divisor R - 1); nan
            for models with one seed.
        """
        m, s = self._place(model, metric)
        if not self.seed_scores or len(self.seed_scores[m]) < 2:
            return float("nan")
        return float(np.sqrt(self.seed_scores[m][:, s].var(axis=0, ddof=1).mean()))

    # ----------------------------------------------------------------------- faces

    def score_table(self) -> Table:
        """Tabulate scores: one row a model."""
        return score_table(self)

    def difference_table(self) -> Table:
        """Tabulate differences from the baseline and their tests."""
        return difference_table(self)

    def table(self, *, stars: bool = False) -> Table:
        """Tabulate as regressions are: one column a model.

        Average effects with standard errors below them come first, if they were asked
        for, then the number of rows and what there is to say of the fit.

        Parameters
        ----------
        stars : bool, default=False
            Whether to mark effects by their p-values: one star below .1, two below
            .05, three below .01.

        Returns
        -------
        Table
            With ``to_frame()``, ``to_latex()``, ``to_markdown()``, ``to_html()``.
        """
        return model_table(self, stars)

    def to_latex(self, *, stars: bool = False) -> str:
        """Write `table` in LaTeX, for the package booktabs."""
        return self.table(stars=stars).to_latex()

    def to_markdown(self, *, stars: bool = False) -> str:
        """Write `table` in Markdown."""
        return self.table(stars=stars).to_markdown()

    def to_html(self, *, stars: bool = False) -> str:
        """Write `table` as an HTML table."""
        return self.table(stars=stars).to_html()

    def __str__(self) -> str:
        return text_blocks(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_blocks(self)

    # --------------------------------------------------------------------- helpers

    @staticmethod
    def _check_known(name: str, known: tuple[str, ...]) -> None:
        if name not in known:
            raise KeyError(f"{name!r} is not one of {list(known)}")

    def _place(self, model: str, metric: str) -> tuple[int, int]:
        metrics = tuple(each.name for each in self.metrics)
        self._check_known(model, self.models)
        self._check_known(metric, metrics)
        return self.models.index(model), metrics.index(metric)

    def _gaps(self, model: str, metric: str) -> np.ndarray:  # (P,)
        baseline = self.model_scores(self.baseline, metric)
        return self.model_scores(model, metric) - baseline
