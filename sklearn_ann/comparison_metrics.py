"""What models are compared by, and by what unless it is said."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, make_scorer, roc_auc_score
from sklearn.utils.multiclass import type_of_target


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

    @property
    def sign(self) -> int:
        """What turns scores into the metric's own units."""
        return 1 if self.greater_is_better else -1


R2 = Metric("R2", "r2")
RMSE = Metric("RMSE", "neg_root_mean_squared_error", greater_is_better=False)
MSE = Metric("MSE", "neg_mean_squared_error", greater_is_better=False)
MAE = Metric("MAE", "neg_mean_absolute_error", greater_is_better=False)


def as_metrics(
    scoring: Any, classify: list[bool], y: Any, in_time: bool = False
) -> tuple[Metric, ...]:
    """Give whatever was asked for one form.

    Parameters
    ----------
    scoring : str, sequence of str, dict, callable or None
        As for `compare`.
    classify : list of bool
        Which models are classifiers.
    y : array-like of shape (n,) or (n, m)
    in_time : bool
        Whether scores are those of single periods, which may have a single row.

    Returns
    -------
    tuple of Metric

    Raises
    ------
    ValueError
        Where there is no default.
    """
    if scoring is None:
        return _default_metrics(classify, y, in_time)
    if isinstance(scoring, str):
        scoring = [scoring]
    if callable(scoring):
        scoring = {"score": scoring}
    if isinstance(scoring, Metric):
        scoring = [scoring]
    if all(isinstance(each, Metric) for each in scoring):
        scoring = {each.name: each for each in scoring}
    if not isinstance(scoring, Mapping):
        scoring = {name: name for name in scoring}
    if not scoring:
        raise ValueError("scoring names nothing to measure; leave it out, or name it.")
    return tuple(
        scorer if isinstance(scorer, Metric) else Metric(name, scorer)
        for name, scorer in scoring.items()
    )


def _default_metrics(classify: list[bool], y: Any, in_time: bool) -> tuple[Metric, ...]:
    if not any(classify):
        # R2 and RMSE of one row say nothing.
        return (MSE, MAE) if in_time else (R2, RMSE)
    target = type_of_target(y)
    if not all(classify) or target not in ("binary", "multiclass"):
        raise ValueError(
            "There is a default scoring for regressors, and for classifiers of one "
            f"target. Pass scoring= for these models, with a target that is {target}."
        )
    # All labels are named, as a test fold may lack one: log loss then has a score all
    # the same, and AUC is nan with scikit-learn's warning instead of an error.
    on_labels = partial(
        make_scorer, response_method="predict_proba", labels=np.unique(y)
    )
    by_row = (
        Metric("log loss", on_labels(log_loss, greater_is_better=False), False),
        Metric("accuracy", "accuracy"),
    )
    by_class = on_labels(roc_auc_score, multi_class="ovr")
    auc = Metric("AUC", "roc_auc" if target == "binary" else by_class)
    return by_row if in_time else (*by_row, auc)
