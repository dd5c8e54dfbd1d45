"""Models side by side on the same cross-validation folds.

The way: `compare` draws the splits once, fits every model on every split, and hands the
scores to a `Comparison`, which asks `score_tests` what the differences are worth.
M models, S metrics, J splits.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, is_classifier
from sklearn.metrics import log_loss, make_scorer, roc_auc_score
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
    cross_validate,
)
from sklearn.pipeline import Pipeline
from sklearn.utils.multiclass import type_of_target

from .comparison_result import Comparison, Metric

Split = tuple[np.ndarray, np.ndarray]

NO_TEST_FORWARD = (
    "training sets that move forward in time overlap in another way than those the "
    "corrected t-test was made for (splits drawn at random)"
)
NO_TEST_ONE_SPLIT = "one split has no spread; ask for two or more"


def compare(
    models: Mapping[str, BaseEstimator],
    X: Any,
    y: Any,
    *,
    cv: Any = 5,
    scoring: Any = None,
    baseline: str | None = None,
    groups: Any = None,
    params: dict[str, Any] | None = None,
    random_state: int | None = 0,
    n_jobs: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Comparison:
    """Fit models on the same cross-validation folds and compare their scores.

    Parameters
    ----------
    models : dict of str to estimator
        Any scikit-learn estimators by name. They are cloned, not changed.
    X : array-like of shape (n, d)
        Inputs, in any form that the models take.
    y : array-like of shape (n,) or (n, m)
        Targets.
    cv : int, splitter or iterable of (train, test), default=5
        A number of folds means shuffled folds: stratified if all models are
        classifiers, and of whole groups if `groups` are given.
    scoring : str, list, dict or callable, default=None
        As in `sklearn.model_selection.cross_validate`. By default R2 and RMSE for
        regressors; log loss, accuracy and ROC AUC (several classes: one against the
        rest) for classifiers. R2 is measured against the mean of the test fold.
        Scorers given here keep scikit-learn's sign, so greater is better.
    baseline : str, default=None
        Name of the model that the others are compared with; by default the first.
    groups : array-like of shape (n,), default=None
        Groups that the splitter keeps together.
    params : dict, default=None
        Passed to ``fit`` and the scorers as by `cross_validate`, for instance
        ``{"sample_weight": w}``.
    random_state : int, default=0
        Shuffles the rows if `cv` is a number.
    n_jobs : int, default=None
        Number of fits that joblib runs at the same time.
    progress : callable, default=None
        Called as ``progress(done, total)`` after each fit.

    Returns
    -------
    Comparison
        Print it, or ask for ``to_frame()``.

    Raises
    ------
    ValueError
        If there is no model, or no model named like the baseline; where there is no
        default scoring (classifiers mixed with regressors, several target columns of
        classes); and whatever the models raise.

    Notes
    -----
    Standard errors and tests are those of `score_tests.corrected_t_test`. There are
    none with one split, nor where training sets move forward in time, as in
    `TimeSeriesSplit`: the result then holds the scores and says why.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import LinearRegression, RidgeCV
    >>> from sklearn_ann.comparison import compare
    >>> X, y = load_diabetes(return_X_y=True)
    >>> result = compare({"OLS": LinearRegression(), "ridge": RidgeCV()}, X, y)
    >>> result.to_frame()[["R2", "R2_std_error", "RMSE"]].round(3)
              R2  R2_std_error    RMSE
    model
    OLS    0.489         0.067  54.527
    ridge  0.488         0.064  54.600
    """
    names = tuple(models)
    baseline = _check_names(names, baseline)
    classify = [is_classifier(model) for model in models.values()]
    metrics = _as_metrics(scoring, classify, y)
    splits = _make_splits(cv, X, y, groups, all(classify), random_state)
    scorers = {metric.name: metric.scorer for metric in metrics}
    tasks = [
        delayed(_fit_and_score)(model, X, y, split, scorers, params)
        for model in models.values()
        for split in splits
    ]
    runs = np.array(_run(tasks, n_jobs, progress))  # (M J, S + 2)
    runs = runs.reshape(len(names), len(splits), -1)
    signs = np.array([1 if each.greater_is_better else -1 for each in metrics])
    return Comparison(
        models=names,
        baseline=baseline,
        metrics=metrics,
        scores=np.swapaxes(runs[..., :-2] * signs, 1, 2),  # (M, S, J)
        fit_seconds=runs[..., -2],
        n_parameters=runs[..., -1],
        n_train=np.array([len(train) for train, _ in splits]),
        n_test=np.array([len(test) for _, test in splits]),
        no_test_because=_no_test_because(splits),
    )


def _check_names(names: tuple[str, ...], baseline: str | None) -> str:
    if not names:
        raise ValueError("Expected at least one model by name, got none.")
    if baseline is None:
        return names[0]
    if baseline not in names:
        raise ValueError(f"Expected a baseline among {names}, got {baseline!r}.")
    return baseline


def _as_metrics(scoring: Any, classify: list[bool], y: Any) -> tuple[Metric, ...]:
    """Give whatever was asked for one form."""
    if scoring is None:
        return _default_metrics(classify, y)
    if isinstance(scoring, str):
        scoring = [scoring]
    if callable(scoring):
        scoring = {"score": scoring}
    if not isinstance(scoring, Mapping):
        scoring = {name: name for name in scoring}
    return tuple(Metric(name, scorer) for name, scorer in scoring.items())


def _default_metrics(classify: list[bool], y: Any) -> tuple[Metric, ...]:
    if not any(classify):
        return (
            Metric("R2", "r2"),
            Metric("RMSE", "neg_root_mean_squared_error", greater_is_better=False),
        )
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
    by_class = on_labels(roc_auc_score, multi_class="ovr")
    return (
        Metric("log loss", on_labels(log_loss, greater_is_better=False), False),
        Metric("accuracy", "accuracy"),
        Metric("AUC", "roc_auc" if target == "binary" else by_class),
    )


def _make_splits(
    cv: Any, X: Any, y: Any, groups: Any, stratify: bool, random_state: int | None
) -> list[Split]:
    """Draw the splits once, so that all models see the same."""
    if isinstance(cv, int | np.integer):
        stratify = stratify and type_of_target(y) in ("binary", "multiclass")
        kinds = (KFold, StratifiedKFold, GroupKFold, StratifiedGroupKFold)
        kind = kinds[stratify + 2 * (groups is not None)]
        cv = kind(int(cv), shuffle=True, random_state=random_state)
    return list(check_cv(cv).split(X, y, groups))


def _no_test_because(splits: list[Split]) -> str:
    if len(splits) < 2:
        return NO_TEST_ONE_SPLIT
    forward = all(train.max() < test.min() for train, test in splits)
    trains = [train for train, _ in splits]
    growing = all(len(a) < len(b) and np.isin(a, b).all() for a, b in pairwise(trains))
    return NO_TEST_FORWARD if forward or growing else ""


def _run(
    tasks: list[Any], n_jobs: int | None, progress: Callable[[int, int], object] | None
) -> list[list[float]]:
    results: Iterator[list[float]] = Parallel(n_jobs, return_as="generator")(tasks)
    rows = []
    for row in results:
        rows.append(row)
        if progress is not None:
            progress(len(rows), len(tasks))
    return rows


def _fit_and_score(
    model: BaseEstimator,
    X: Any,
    y: Any,
    split: Split,
    scorers: dict[str, Any],
    params: dict[str, Any] | None,
) -> list[float]:
    """Fit one model on one split: its scores, seconds, number of parameters."""
    run = cross_validate(
        model,
        X,
        y,
        cv=[split],
        scoring=scorers,
        params=params,
        return_estimator=True,
        error_score="raise",
    )
    scores = [run[f"test_{name}"][0] for name in scorers]
    return [*scores, run["fit_time"][0], _count_parameters(run["estimator"][0])]


def _count_parameters(model: BaseEstimator) -> float:
    """Count the coefficients of a linear model or a network, else nan."""
    if isinstance(model, Pipeline):
        model = model[-1]
    for weights, biases in (("coefs_", "intercepts_"), ("coef_", "intercept_")):
        if hasattr(model, weights):
            parts = [getattr(model, weights), getattr(model, biases, 0.0)]
            parts.append(getattr(model, "skip_coef_", None))
            return float(sum(_size(part) for part in parts))
    return float("nan")


def _size(part: Any) -> int:
    if isinstance(part, list | tuple):
        return sum(_size(each) for each in part)
    # Linear models without an intercept have the plain number 0.0 in its place; a
    # fitted intercept is an array or NumPy's float, which is a float as well.
    return 0 if part is None or type(part) is float else int(np.size(part))
