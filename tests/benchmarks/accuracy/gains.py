"""Gains over the linear model: averaged, ranked and tested over the sets.

Scores are averaged over the seeds first, so that every set counts once and no gain is a
mean of ratios, some of which may have a small denominator. A set counts for a model
when the model has a result for every seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pandas as pd
from scipy.stats import wilcoxon

from .models import LINEAR
from .protocol import gain
from .runs import Outcome

NUMBERS = [
    *("fit_seconds", "predict_seconds"),
    *("score", "accuracy", "auc", "calibration_error"),
]


@dataclass(frozen=True, slots=True)
class Paired:
    """Whether one model gains more than another over the sets.

    Attributes
    ----------
    n : int
        Sets on which both have gains.
    better : int
        Sets on which the first one gains more.
    difference : float
        Mean of its gain less the other's.
    p_value : float
        Of Wilcoxon's signed-rank test, two-sided; nan without sets.
    """

    n: int
    better: int
    difference: float
    p_value: float


def frame_of(outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """Put outcomes into a table, one row each; missing fits are rows of nan."""
    frame = _completed(pd.DataFrame([asdict(outcome) for outcome in outcomes]))
    return frame.astype(dict.fromkeys(NUMBERS, float))


def by_table(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Average a column over the seeds.

    Returns
    -------
    DataFrame of shape (sets, models)
        In the order in which they came; nan where a seed has no value.
    """
    means = frame.pivot_table(
        index="table",
        columns="model",
        values=column,
        aggfunc=lambda values: values.mean(skipna=False),
        dropna=False,
    )
    return means.reindex(index=frame["table"].unique(), columns=models_in(frame))


def gains_by_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Gains of the mean scores over the linear model's.

    Returns
    -------
    DataFrame of shape (sets, models)
        nan where the model or the linear one lacks a score.
    """
    scores = by_table(frame, "score")
    tasks = tasks_in(frame)
    rows = {
        name: [gain(tasks[name], score, row[LINEAR]) for score in row]
        for name, row in scores.iterrows()
    }
    return pd.DataFrame.from_dict(rows, "index", columns=scores.columns)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Summarise every model over the sets.

    Returns
    -------
    DataFrame of shape (models, 8)
        Mean gain, minimum gain and its set, number of sets with gains, mean rank (a
        model without a gain is last), mean calibration error, and the median seconds
        of a fit and of a prediction over all fits.
    """
    gains = gains_by_table(frame)
    some = gains.dropna(axis="columns", how="all")
    seconds = frame.groupby("model")[["fit_seconds", "predict_seconds"]].median()
    errors = by_table(frame, "calibration_error")
    ranks = gains.rank(axis="columns", ascending=False, na_option="bottom")
    return pd.DataFrame(
        {
            "mean_gain": gains.mean(),
            "minimum_gain": gains.min(),
            "minimum_at": some.idxmin(),
            "sets": gains.notna().sum(),
            "mean_rank": ranks.mean(),
            "calibration_error": errors.mean(),
            **seconds,
        }
    ).reindex(gains.columns)


def paired(first: pd.Series, second: pd.Series) -> Paired:
    """Compare the gains of two models, of shape (sets,) each."""
    differences = (first - second).dropna().to_numpy()
    n = len(differences)
    if n == 0:
        return Paired(0, 0, float("nan"), float("nan"))
    # Without any difference the statistic is not defined.
    p_value = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return Paired(n, int((differences > 0).sum()), float(differences.mean()), p_value)


def models_in(frame: pd.DataFrame) -> list[str]:
    """Name the models, in the order in which they came."""
    return list(frame["model"].unique())


def tasks_in(frame: pd.DataFrame) -> pd.Series:
    """Tasks of the sets."""
    return frame.drop_duplicates("table").set_index("table")["task"]


def _completed(frame: pd.DataFrame) -> pd.DataFrame:
    """Add rows for the fits of the grid of sets, seeds and models that are missing."""
    keys = ["table", "seed", "model"]
    grid = pd.MultiIndex.from_product([frame[key].unique() for key in keys], names=keys)
    full = frame.set_index(keys).reindex(grid).reset_index()
    return full.assign(task=full["table"].map(tasks_in(frame)))
