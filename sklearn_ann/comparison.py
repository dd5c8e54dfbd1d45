"""Models side by side: on the same folds, or along the same windows of time.

The way: `compare` checks what it was given, draws the splits (`comparison_splits`),
fits and scores every model on every split (`scoring_folds`), fits all rows where
effects are asked for (`full_sample`), and hands over a `Comparison`, which knows the
tests and the tables. M models, S metrics, J splits.
"""

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_consistent_length, check_scalar

from .comparison_metrics import as_metrics
from .comparison_result import Comparison
from .comparison_splits import lay_out_folds, lay_out_windows
from .full_sample import AllRows, fit_all_rows
from .nested_models import innermost, nesting_models
from .scoring_folds import Task, run_folds
from .tested_rows import tested_rows

STACKED = (
    "The networks of a model, of all splits and seeds, were trained together; their "
    "seconds are a fit's share, scoring included."
)
NOT_IN_TIME = (
    "Standard errors of effects take rows as independent, which rows in time order may "
    "not be."
)


def compare(
    models: Mapping[str, BaseEstimator],
    X: Any,
    y: Any,
    *,
    cv: Any = None,
    groups: Any = None,
    scoring: Any = None,
    baseline: str | None = None,
    n_seeds: int = 1,
    effects: Any = False,
    vcov: str = "auto",
    time_order: Any = None,
    window: str | None = None,
    window_size: int | None = None,
    horizon: int = 1,
    clark_west: bool = False,
    params: dict[str, Any] | None = None,
    random_state: int | None = 0,
    n_jobs: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Comparison:
    """Fit models on the same rows and compare how they predict others.

    Parameters
    ----------
    models : dict of str to estimator
        Any scikit-learn estimators by name. They are cloned, not changed.
    X : array-like of shape (n, d)
        Inputs, in any form that the models take.
    y : array-like of shape (n,) or (n, m)
        Targets.
    cv : int, splitter or iterable of (train, test), default=None
        None means 5. A number of folds means shuffled folds: stratified if all models
        are classifiers, and of whole groups if `groups` are given. With `time_order`, a
        number: how many times the models are fitted along the time.
    groups : array-like of shape (n,), default=None
        Groups of rows that belong together: no split may part one, and standard errors
        of effects are by cluster.
    scoring : str, list, dict or callable, default=None
        As in `sklearn.model_selection.cross_validate`. By default R2 and RMSE for
        regressors; log loss, accuracy and ROC AUC (several classes: one against the
        rest) for classifiers. R2 is measured against the mean of the test fold. In time
        order, where a score is that of a period: MSE and MAE; log loss and accuracy.
        Scorers given here keep scikit-learn's sign, so greater is better; a sequence of
        `Metric` says itself which direction is.
    baseline : str, default=None
        Name of the model that the others are compared with; by default the first.
    n_seeds : int, default=1
        With more than one, each model that has a random state is fitted with as many
        seeds, ``random_state, random_state + 1, ...``, in place of its own. Scores are
        averaged over seeds within a split, before anything is tested.
    effects : bool, str, int or sequence of them, default=False
        Whether to fit all rows as well and tabulate average marginal effects, of all
        columns or of these; with them come R2 in sample, likelihoods and the test for
        neglected nonlinearity.
    vcov : str, default="auto"
        Standard errors of effects, as in `average_marginal_effects`.
    time_order : str or array-like of shape (n,), default=None
        The time of each row, or the column of X that holds it (and stays among the
        inputs). Rows of one time are one period. Models are then fitted to a window of
        periods and tested on later ones.
    window : {"rolling", "fixed", "expanding"}, default="rolling"
        Whether the window moves on, stays at the beginning (with one fit), or grows
        (which leaves no valid test).
    window_size : int, default=None
        Periods of the window; by default half of all.
    horizon : int, default=1
        Periods ahead: between the window and the first period tested lie ``horizon -
        1``, whose outcomes were not known yet.
    clark_west : bool, default=False
        Whether to show the test of Clark and West as well, for models that nest the
        baseline. It is shown for networks with a linear skip beside a linear regression
        on the same columns.
    params : dict, default=None
        Passed to ``fit`` and the scorers as by `cross_validate`, for instance
        ``{"sample_weight": w}``.
    random_state : int, default=0
        Shuffles the rows if `cv` is a number, and gives the seeds.
    n_jobs : int, default=None
        Number of fits that joblib runs at the same time. None trains the networks of a
        model as stacks, see `batched_fits`.
    progress : callable, default=None
        Called as ``progress(done, total)`` after each fit on a split.

    Returns
    -------
    Comparison
        Print it, or ask for ``to_frame()``, ``tests()``, ``table()``.

    Raises
    ------
    TypeError
        If `models` is no dict of estimators that can fit and predict.
    ValueError
        If there is no model, or no model named like the baseline; where there is no
        default scoring (classifiers mixed with regressors, several target columns of
        classes); for splits with rows on both sides, or whose groups are; for options
        of time without a time order, or one beside groups; and whatever the models
        raise.

    Notes
    -----
    Standard errors and tests are those of `score_tests.corrected_t_test`, in time order
    those of `forecast_tests.diebold_mariano_test`. There are none with one split, nor
    where training sets move forward without a time order, as in `TimeSeriesSplit`, nor
    with a window that expands: the result then holds the scores and says why.

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
    _check_models(models)
    baseline = _check_baseline(tuple(models), baseline)
    _check_rows(X, y, groups)
    _check_options(n_seeds, random_state, effects, vcov)
    in_time = time_order is not None
    _check_time(in_time, groups, window, window_size, horizon, clark_west)
    _check_routing(in_time, params)
    classify = [is_classifier(model) for model in models.values()]
    metrics = as_metrics(scoring, classify, y, in_time)
    if in_time:
        layout = lay_out_windows(time_order, X, window, window_size, horizon, cv)
    else:
        layout = lay_out_folds(cv, X, y, groups, all(classify), random_state)
    is_numeric = _is_numeric(y, classify)
    # What may still be refused comes before the folds, which may take hours.
    one = is_numeric and _is_one_target(y)
    nesting = nesting_models(models, baseline, layout, clark_west, one)
    rows = AllRows(X, y, params, groups, _features(effects), vcov, random_state)
    fits = fit_all_rows(models, rows) if _are_asked_for(effects) else ()

    task = Task(X, y, layout.splits, metrics, params, is_numeric)
    seeds = _seeds(n_seeds, random_state)
    runs = run_folds(models, task, seeds, n_jobs, progress)
    return Comparison(
        models=tuple(models),
        baseline=baseline,
        metrics=metrics,
        scores=np.stack([scores.mean(axis=0) for scores in runs.test_scores]),
        fit_seconds=runs.seconds,
        n_parameters=runs.n_parameters,
        n_train=np.array([len(split.train) for split in layout.splits]),
        n_test=np.array([len(split.test) for split in layout.splits]),
        no_test_because=layout.no_test_because,
        seed_scores=runs.test_scores,
        train_scores=runs.train_scores,
        n_rows=len(y),
        window=layout.window,
        tested=tested_rows(y, layout.splits, runs.predicted),
        fits=fits,
        clark_west=nesting,
        remarks=tuple(_remarks(models, runs.stacked, bool(fits) and in_time)),
    )


# ------------------------------------------------------------------------------ checks


def _check_models(models: Mapping[str, BaseEstimator]) -> None:
    if not isinstance(models, Mapping):
        raise TypeError(
            "Expected models by name, as in {'OLS': LinearRegression(), 'ANN': "
            f"ANNRegressor()}}; got {type(models).__name__}."
        )
    if not models:
        raise ValueError("Expected at least one model by name, got none.")
    for name, model in models.items():
        if not isinstance(name, str):
            raise TypeError(f"Names of models are strings; got {name!r}.")
        if isinstance(model, type):
            raise TypeError(
                f"The model {name!r} is a class; write {model.__name__}() to make an "
                "estimator of it."
            )
        for method in ("fit", "predict", "get_params"):
            if not hasattr(model, method):
                raise TypeError(
                    f"The model {name!r} is no estimator that can be compared: "
                    f"{type(model).__name__} has no {method}()."
                )


def _check_baseline(names: tuple[str, ...], baseline: str | None) -> str:
    if baseline is None:
        return names[0]
    if baseline not in names:
        raise ValueError(f"Expected a baseline among {names}, got {baseline!r}.")
    return baseline


def _check_rows(X: Any, y: Any, groups: Any) -> None:
    if y is None:
        raise ValueError("y is missing: models are compared by how they predict it.")
    check_consistent_length(X, y)
    if groups is not None and np.shape(groups) != (len(y),):
        raise ValueError(
            f"groups must hold one value for each of {len(y)} rows; got shape "
            f"{np.shape(groups)}."
        )


def _check_options(
    n_seeds: int, random_state: int | None, effects: Any, vcov: str
) -> None:
    check_scalar(n_seeds, "n_seeds", Integral, min_val=1)
    if random_state is not None:
        check_scalar(random_state, "random_state", Integral, min_val=0)
    if vcov != "auto" and not _are_asked_for(effects):
        raise ValueError(
            f"vcov={vcov!r} is for the standard errors of effects, and these were not "
            "asked for: pass effects=True, or leave it out."
        )


def _check_time(
    in_time: bool,
    groups: Any,
    window: str | None,
    window_size: int | None,
    horizon: int,
    clark_west: bool,
) -> None:
    check_scalar(horizon, "horizon", Integral, min_val=1)
    if window_size is not None:
        check_scalar(window_size, "window_size", Integral, min_val=1)
    if in_time and groups is not None:
        raise ValueError(
            "time_order= and groups= are two ways to keep rows apart; give one of "
            "them. Rows of one time are kept together as it is."
        )
    if in_time:
        return
    given = {
        "window": window is not None,
        "window_size": window_size is not None,
        "horizon": horizon != 1,
        "clark_west": clark_west,
    }
    for name in (name for name, is_given in given.items() if is_given):
        raise ValueError(
            f"{name}= is for rows in time order: give time_order= as well."
        )


def _check_routing(in_time: bool, params: dict[str, Any] | None) -> None:
    if in_time and params and get_config()["enable_metadata_routing"]:
        raise ValueError(
            "Scorers of single periods take no metadata: with time_order= and params=, "
            "switch metadata routing off, and params= go to fit alone."
        )


# ------------------------------------------------------------------- what is worked out


def _are_asked_for(effects: Any) -> bool:
    return effects is not False and effects is not None


def _features(effects: Any) -> Any:
    """Give the columns whose effects are asked for; None stands for all."""
    return None if effects is True else effects


def _seeds(n_seeds: int, random_state: int | None) -> list[int]:
    """Seeds for the models; none where they keep their own."""
    if n_seeds == 1:
        return []
    first = random_state
    if first is None:
        first = int(np.random.default_rng().integers(2**31))
    return [first + r for r in range(n_seeds)]


def _is_numeric(y: Any, classify: list[bool]) -> bool:
    """Whether predictions are numbers that can be set beside y."""
    try:
        np.asarray(y, dtype=float)
    except (TypeError, ValueError):
        return False
    return not any(classify)


def _is_one_target(y: Any) -> bool:
    return np.ndim(y) == 1 or np.shape(y)[1] == 1


def _remarks(
    models: Mapping[str, BaseEstimator], stacked: bool, effects_in_time: bool
) -> Iterable[str]:
    for name, model in models.items():
        core = innermost(model)
        if type(core) is not LogisticRegression or core.penalty is None:
            continue
        if np.isfinite(core.C):
            yield (
                f"{name!r} is penalised, as LogisticRegression is by default (C="
                f"{core.C:g}); the logit of econometrics is "
                "LogisticRegression(C=np.inf)."
            )
    if effects_in_time:
        yield NOT_IN_TIME
    if stacked:
        yield STACKED
