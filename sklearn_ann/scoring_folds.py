"""Every model fitted on every split with every seed, and scored.

The fits of a model that has a network inside are one batch, so that its networks are
trained as stacks; then their time is shared out among them.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from .batching import StackingBackend, batched_fits
from .comparison_metrics import Metric
from .comparison_splits import Split
from .estimators import ANNClassifier, ANNRegressor

Progress = Callable[[int, int], object]
# A name that no metric has: what is called as a scorer to see the rows tested.
WITNESS = "rows of sklearn_ann.compare"


@dataclass(frozen=True, slots=True, eq=False)
class FoldRun:
    """One fit of one model on one split.

    Attributes
    ----------
    test_scores : ndarray of shape (S, parts)
        Scores of each part of the rows tested, as the scorers give them.
    train_scores : ndarray of shape (S, 1)
        Scores of the rows fitted to.
    seconds : float
        Time of the fit; of a fit and its scores, if it is its share of a batch.
    n_parameters : float
        Coefficients of a linear model or a network, else nan.
    predicted : ndarray of shape (n_test,) or (n_test, m), or None
        Predictions of a regressor.
    """

    test_scores: np.ndarray
    train_scores: np.ndarray
    seconds: float
    n_parameters: float
    predicted: np.ndarray | None


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What all fits have in common: rows, splits, what to measure.

    Attributes
    ----------
    X, y : array-like
    splits : sequence of Split
    metrics : sequence of S Metric
    params : dict or None
        For `cross_validate`.
    predicts : bool
        Whether to keep the predictions of the rows tested.
    """

    X: Any
    y: Any
    splits: Sequence[Split]
    metrics: Sequence[Metric]
    params: dict[str, Any] | None
    predicts: bool

    @property
    def scorers(self) -> dict[str, Any]:
        """Scorers by name."""
        return {metric.name: metric.scorer for metric in self.metrics}


@dataclass(frozen=True, slots=True, eq=False)
class FoldRuns:
    """All fits, in arrays: M models, R_m seeds of a model, J splits, P parts, N rows.

    Attributes
    ----------
    test_scores : tuple of M ndarrays of shape (R_m, S, P)
        In the metrics' own units.
    train_scores : tuple of M ndarrays of shape (R_m, S, J)
        Likewise.
    seconds, n_parameters : ndarray of shape (M, J)
        Averaged over seeds.
    predicted : tuple of M ndarrays of shape (R_m, N) or (R_m, N, m)
        Empty where they were not asked for.
    stacked : bool
        Whether any networks were trained as stacks.
    """

    test_scores: tuple[np.ndarray, ...]
    train_scores: tuple[np.ndarray, ...]
    seconds: np.ndarray
    n_parameters: np.ndarray
    predicted: tuple[np.ndarray, ...]
    stacked: bool


def run_folds(
    models: Mapping[str, BaseEstimator],
    task: Task,
    seeds: Sequence[int],
    n_jobs: int | None,
    progress: Progress | None,
) -> FoldRuns:
    """Fit and score.

    Parameters
    ----------
    models : dict of str to M estimators
    task : Task
    seeds : sequence of int
        For models that have random states; none leaves these as they are.
    n_jobs, progress
        As for `compare`.

    Returns
    -------
    FoldRuns
        R_m is 1 for models without a random state.
    """
    names = list(models)
    versions = [with_seeds(model, seeds) for model in models.values()]
    total = sum(map(len, versions)) * len(task.splits)
    tell = _teller(progress, total)
    batches = _batches(list(models.values()), n_jobs)
    runs: dict[int, list[list[FoldRun]]] = {}
    for members, is_stack in batches:
        calls = [
            delayed(_fit_and_score)(names[m], version, task, split)
            for m in members
            for version in versions[m]
            for split in task.splits
        ]
        found = iter(_run(calls, n_jobs, tell, is_stack))
        for m in members:
            runs[m] = [[next(found) for _ in task.splits] for _ in versions[m]]
    stacked = any(is_stack for _, is_stack in batches)
    return _in_arrays([runs[m] for m in range(len(models))], task, stacked)


def _in_arrays(runs: list[list[list[FoldRun]]], task: Task, stacked: bool) -> FoldRuns:
    signs = np.array([[metric.sign] for metric in task.metrics])  # (S, 1)

    def by_seed(part: Callable[[FoldRun], Any], axis: int) -> tuple[np.ndarray, ...]:
        joined = [[np.concatenate([*map(part, row)], axis) for row in m] for m in runs]
        return tuple(map(np.stack, joined))

    def averaged(part: Callable[[FoldRun], float]) -> np.ndarray:  # (M, J)
        return np.array([np.mean([[*map(part, row)] for row in m], 0) for m in runs])

    return FoldRuns(
        by_seed(lambda run: run.test_scores * signs, 1),
        by_seed(lambda run: run.train_scores * signs, 1),
        averaged(lambda run: run.seconds),
        averaged(lambda run: run.n_parameters),
        by_seed(lambda run: run.predicted, 0) if task.predicts else (),
        stacked,
    )


# ------------------------------------------------------------------------------- seeds


def with_seeds(model: BaseEstimator, seeds: Sequence[int]) -> list[BaseEstimator]:
    """Give a model once for each seed; as it is, where no seed can change it.

    Every parameter that is a random state takes the seed, those of nested estimators
    included.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression, SGDRegressor
    >>> [each.random_state for each in with_seeds(SGDRegressor(), [3, 4])]
    [3, 4]
    >>> with_seeds(LinearRegression(), [3, 4])
    [LinearRegression()]
    """
    names = [n for n in model.get_params() if n.split("__")[-1] == "random_state"]
    if not names or not seeds:
        return [model]
    return [clone(model).set_params(**dict.fromkeys(names, seed)) for seed in seeds]


# ----------------------------------------------------------------------------- batches


def has_network(model: BaseEstimator) -> bool:
    """Whether one of our networks is, or is inside, a model."""
    parts = [model, *model.get_params().values()]
    return any(isinstance(part, ANNRegressor | ANNClassifier) for part in parts)


def _batches(
    models: Sequence[BaseEstimator], n_jobs: int | None
) -> list[tuple[list[int], bool]]:
    """Group models: those with a network alone, each as a stack; all others together.

    Whoever says n_jobs, or has set up joblib in another way, gets what was asked for.
    """
    backend, active_jobs = get_active_backend()
    stacking = isinstance(backend, StackingBackend)
    if n_jobs is not None or (active_jobs not in (None, 1) and not stacking):
        return [(list(range(len(models))), False)]
    networks = [m for m, model in enumerate(models) if has_network(model)]
    others = [m for m in range(len(models)) if m not in networks]
    return [(others, False)] * bool(others) + [([m], True) for m in networks]


def _stacking() -> AbstractContextManager[None]:
    """Open `batched_fits`, unless the user has."""
    backend, _ = get_active_backend()
    return nullcontext() if isinstance(backend, StackingBackend) else batched_fits()


def _run(
    calls: list[Any], n_jobs: int | None, tell: Callable[[], None], is_stack: bool
) -> list[FoldRun]:
    rows = []
    start = time.perf_counter()
    with _stacking() if is_stack else nullcontext():
        results: Iterator[FoldRun] = Parallel(n_jobs, return_as="generator")(calls)
        for row in results:
            rows.append(row)
            tell()
    # In a stack all fits begin and end together.
    share = (time.perf_counter() - start) / len(calls)
    return [replace(row, seconds=share) for row in rows] if is_stack else rows


def _teller(progress: Progress | None, total: int) -> Callable[[], None]:
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return tell


# ----------------------------------------------------------------------------- one fit


@dataclass(slots=True, eq=False)
class _Witness:
    """Called as a scorer, first on the rows tested: keeps what no scorer tells."""

    scorers: Mapping[str, Any]
    split: Split
    predicts: bool
    predicted: np.ndarray | None = None
    by_part: np.ndarray | None = None
    was_called: bool = False

    def __call__(self, model: Any, X: Any, y: Any, **params: Any) -> float:
        if not self.was_called:
            self.was_called = True
            if self.predicts:
                self.predicted = np.asarray(model.predict(X), dtype=float)
            if len(self.split.parts) > 1:
                self.by_part = self._scores(model, X, y)
        return 0.0

    def _scores(self, model: Any, X: Any, y: Any) -> np.ndarray:
        judge = check_scoring(model, scoring=self.scorers)
        ends = np.cumsum(self.split.parts)
        parts = [
            np.arange(end - size, end)
            for end, size in zip(ends, self.split.parts, strict=True)
        ]
        each = [judge(model, _safe_indexing(X, p), _safe_indexing(y, p)) for p in parts]
        return np.array([[scores[name] for scores in each] for name in self.scorers])


def _fit_and_score(
    name: str, model: BaseEstimator, task: Task, split: Split
) -> FoldRun:
    witness = _Witness(task.scorers, split, task.predicts)
    try:
        run = cross_validate(
            model,
            task.X,
            task.y,
            cv=[(split.train, split.test)],
            scoring={**task.scorers, WITNESS: witness},
            params=task.params,
            return_train_score=True,
            return_estimator=True,
            error_score="raise",
        )
    except Exception as error:
        error.add_note(f"This is the model {name!r} of compare().")
        raise
    test = witness.by_part
    if test is None:
        test = np.array([run[f"test_{name}"] for name in task.scorers])
    return FoldRun(
        test_scores=test,
        train_scores=np.array([run[f"train_{name}"] for name in task.scorers]),
        seconds=float(run["fit_time"][0]),
        n_parameters=count_parameters(run["estimator"][0]),
        predicted=witness.predicted,
    )


def count_parameters(model: BaseEstimator) -> float:
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
