"""Bootstrap: an estimator or a Pipeline refitted on many replicates of its rows.

A replicate is a vector of row weights, so a row drawn twice is one row of weight two,
and never sits in training and validation at once. All replicates are put together as
jobs and asked for in one list: they are trained as stacks.

Letters: R replicates, n rows, m outputs, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils import check_scalar, indexable
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, _num_samples

from .arrays import as_numpy
from .assembly import draw_seed, group_codes
from .refits import Template, on_one_table, on_own_tables, trained
from .resampling import bootstrap_sample

KINDS = ("pairs", "cluster", "bayesian")


@dataclass(frozen=True, slots=True, eq=False)
class Replicates(Sequence):
    """An estimator's bootstrap replicates; ``replicates[i]`` is a fitted estimator.

    Attributes
    ----------
    estimators : tuple of R fitted estimators
        Of the kind that was given: networks, or Pipelines.
    weights : ndarray of shape (R, n)
        Row weights that each was fitted with: draws times ``sample_weight``.
    out_of_bag : ndarray of bool of shape (R, n)
        Rows that were not drawn. None under Bayesian weights; rows whose
        ``sample_weight`` is zero never count as left out.
    seeds : ndarray of shape (R,)
        The `random_state` of each network.
    transformers : Pipeline or None
        Transformers that all replicates share; None where each has its own, or there
        are none.
    """

    estimators: tuple[Any, ...]
    weights: np.ndarray
    out_of_bag: np.ndarray
    seeds: np.ndarray
    transformers: Pipeline | None = None

    def __len__(self) -> int:
        return len(self.estimators)

    def __getitem__(self, i: Any) -> Any:
        return self.estimators[i]

    def __repr__(self) -> str:
        n = self.weights.shape[1]
        return f"Replicates({len(self)} of {n} rows: {self.estimators[0]!r})"

    def predict(self, X: Any) -> np.ndarray:
        """Predict by every replicate.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (R, n_samples) or (R, n_samples, m)
            What each replicate's ``predict`` gives.
        """
        return self._answers("predict", X)

    @available_if(lambda self: is_classifier(self.estimators[0]))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities by every replicate.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (R, n_samples, C)
            Every replicate knows all classes, those that it did not draw included.
        """
        return self._answers("predict_proba", X)

    def _answers(self, method: str, X: Any) -> np.ndarray:
        X = as_numpy(X)
        asked: Iterable[Any] = self.estimators
        if self.transformers is not None:
            X = self.transformers.transform(X)
            asked = (pipeline.steps[-1][1] for pipeline in self.estimators)
        return np.stack([getattr(estimator, method)(X) for estimator in asked])


def bootstrap_fits(
    estimator: Any,
    X: Any,
    y: Any,
    n_replicates: int = 200,
    *,
    kind: str = "pairs",
    groups: Any = None,
    sample_weight: Any = None,
    refit_transformers: bool = True,
    vary_seeds: bool = True,
    random_state: Any = None,
) -> Replicates:
    r"""Refit a network on bootstrap replicates of its rows, all of them as one stack.

    Replicate r is the estimator fitted with ``sample_weight=weights[r]`` and
    ``random_state=seeds[r]``, up to rounding.

    Parameters
    ----------
    estimator : ANNRegressor, ANNClassifier, Pipeline or fitted search
        A network, a Pipeline that ends in one, or a search over these, which stands
        for its `best_estimator_`. It is cloned, not changed, and need not be fitted.
        Callbacks are not called, and nothing is printed.
    X : {array-like, sparse matrix} of shape (n, n_features)
        Inputs, in any form that the estimator takes.
    y : array-like of shape (n,) or (n, m)
        Targets.
    n_replicates : int, default=200
    kind : {"pairs", "cluster", "bayesian"}, default="pairs"
        What is drawn: rows with replacement; whole groups with replacement; or weights
        from the flat Dirichlet distribution, scaled to mean one, which leave no row out
        (Rubin 1981). With `groups` these are one weight for each group.
    groups : array-like of shape (n,), default=None
        Clusters, for "cluster" and "bayesian". With the estimator's
        ``early_stopping``, whole groups are held out.
    sample_weight : array-like of shape (n,), default=None
        Multiplied with the draws, and given to the network only. Rows of weight zero
        are not there to be drawn.
    refit_transformers : bool, default=True
        For a Pipeline. True fits its transformers to the repeated rows of every
        replicate, so that their variation is part of the bootstrap's. False keeps those
        of a fitted Pipeline, or fits them once to all rows.
    vary_seeds : bool, default=True
        Whether each replicate has a seed of its own, so that starting values, shuffles
        and held-out rows vary as well. False keeps the estimator's `random_state`.
    random_state : int, RandomState instance or None, default=None
        Decides draws and seeds. The first replicates are the same for every
        `n_replicates`.

    Returns
    -------
    Replicates
        Fitted estimators with their weights, and predictions of all of them.

    Raises
    ------
    TypeError
        When the estimator is none of the above.
    ValueError
        When groups are missing or not wanted, lengths differ, or transformers would
        have to be fitted to Bayesian weights.

    Warns
    -----
    ConvergenceWarning
        Once, with the number of replicates that did not converge.

    Notes
    -----
    Replicates share one table of inputs where they can: with ``standardize=False``,
    without categories and missing values. Else each has scales of its own, hence its
    own table, and so it is with refitted transformers. At most 256 MiB of tables wait
    at a time, or one replicate's, and the stack in training holds a copy of its own;
    replicates beyond that are put together, and trained, after those before them. For
    many rows, scale them in a Pipeline with ``refit_transformers=False`` and
    ``standardize=False``.
    `Replicates.weights` takes 8 bytes for each row and replicate.

    References
    ----------
    Efron, B. (1979). Bootstrap Methods: Another Look at the Jackknife. Annals of
    Statistics 7(1), 1-26. https://doi.org/10.1214/aos/1176344552

    Rubin, D. B. (1981). The Bayesian Bootstrap. Annals of Statistics 9(1), 130-134.
    https://doi.org/10.1214/aos/1176345338

    Cameron, A. C., Gelbach, J. B. and Miller, D. L. (2008). Bootstrap-Based
    Improvements for Inference with Clustered Errors. Review of Economics and
    Statistics 90(3), 414-427. https://doi.org/10.1162/rest.90.3.414

    Examples
    --------
    The standard error of a regression line's slope, and of a network's prediction:

    >>> import numpy as np
    >>> from sklearn_ann import ANNRegressor, bootstrap_fits
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 1))
    >>> y = 2 * X[:, 0] + rng.normal(size=100)
    >>> lines = bootstrap_fits(ANNRegressor(()), X, y, random_state=0)
    >>> slopes = np.array([line.coef_[0] for line in lines])
    >>> print(f"{slopes.std(ddof=1):.1f}")  # 1 / sqrt(100)
    0.1
    >>> network = ANNRegressor(3, activation="tanh", solver="lbfgs", alpha=1.0)
    >>> networks = bootstrap_fits(network, X, y, 20, random_state=0)
    >>> networks.predict([[0.0], [1.0]]).shape
    (20, 2)
    """
    template = Template.of(estimator)
    template.network._validate_params()
    check_scalar(n_replicates, "n_replicates", Integral, min_val=1)
    X, y = indexable(as_numpy(X), as_numpy(y))
    refit = template.transformers is not None and refit_transformers
    groups = _checked_kind(kind, groups, _num_samples(X), refit)
    sample = bootstrap_sample(
        _num_samples(X),
        n_replicates,
        draw_seed(random_state),
        bayesian=kind == "bayesian",
        groups=groups,
        weight=_base_weight(sample_weight, X),
    )
    if not vary_seeds:
        sample.seeds[:] = draw_seed(template.network.random_state)
    if refit:
        asked, shared = on_own_tables(template, X, y, sample, groups), None
    else:
        X, shared = template.transform_once(X, y)
        asked = on_one_table(template.network, X, y, sample, groups)
    refits = list(trained(asked))
    _warn_of([r.failure for r in refits if r.failure], len(refits))
    fitted = tuple(template.around(r.network, r.transformers or shared) for r in refits)
    return Replicates(fitted, sample.weights, sample.left_out, sample.seeds, shared)


def _checked_kind(kind: str, groups: Any, n: int, refit: bool) -> np.ndarray | None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    if kind == "bayesian" and refit:
        raise ValueError(
            "kind='bayesian' weighs rows by fractions, but transformers are fitted to "
            "rows: these can be repeated, not divided, and few transformers take "
            "weights. Use refit_transformers=False to fit them once to all rows, or "
            "kind='pairs' to refit them to the repeated rows."
        )
    if kind == "cluster" and groups is None:
        raise ValueError(
            "kind='cluster' draws whole groups: give groups, one for each row."
        )
    if kind == "pairs" and groups is not None:
        raise ValueError(
            "kind='pairs' draws row by row, as if rows of one group were independent. "
            "Use kind='cluster' to draw whole groups, or leave groups out."
        )
    return None if groups is None else group_codes(as_numpy(groups), n)


def _base_weight(sample_weight: Any, X: Any) -> np.ndarray | None:
    if sample_weight is None:
        return None
    return _check_sample_weight(
        as_numpy(sample_weight), X, dtype=np.float64, ensure_non_negative=True
    )


def _warn_of(failures: list[str], n: int) -> None:
    if failures:
        warnings.warn(
            f"{len(failures)} of {n} replicates did not end well. The first of them: "
            f"{failures[0]}",
            ConvergenceWarning,
            stacklevel=3,
        )
