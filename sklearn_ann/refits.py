"""Many refits of one estimator: put together as jobs, and trained as stacks."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from .defaults import decided
from .encoding import has_gaps
from .engine.fit import Outcome
from .engine.rows import SparseRows
from .estimators import ANNClassifier, ANNRegressor
from .fitting import fit_networks
from .guarding import failure
from .jobs import Job, assemble
from .members import assemble_members, keep_members
from .requests import Request
from .resampling import Sample
from .scouts import requests_of, settled

# Tables that wait to be trained on: replicates that differ in their scales or
# transformers have each their own.
MOST_TABLE_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Template:
    """What is refitted: a network, and what stands before it.

    Attributes
    ----------
    network : estimator
        A clone, without what an earlier fit left.
    pipeline : Pipeline or None
        As given.
    is_fitted : bool
        Whether it was given fitted.
    """

    network: Any
    pipeline: Pipeline | None
    is_fitted: bool

    @classmethod
    def of(cls, estimator: Any) -> Template:
        """Take an estimator, a Pipeline or a fitted search apart."""
        found = getattr(estimator, "best_estimator_", estimator)
        pipeline = found if isinstance(found, Pipeline) else None
        network = pipeline.steps[-1][1] if pipeline else found
        if not isinstance(network, ANNRegressor | ANNClassifier):
            raise TypeError(
                "bootstrap_fits refits an ANNRegressor, an ANNClassifier, a Pipeline "
                "that ends in one of them, or a search over these that has been fitted "
                f"with refit=True; got {estimator!r}."
            )
        try:
            check_is_fitted(network)
        except NotFittedError:
            return cls(clone(network), pipeline, False)
        return cls(clone(network), pipeline, True)

    @property
    def transformers(self) -> Pipeline | None:
        """All steps but the network, where there are any."""
        if self.pipeline is None or len(self.pipeline.steps) == 1:
            return None
        return self.pipeline[:-1]

    def transform_once(self, X: Any, y: Any) -> tuple[Any, Pipeline | None]:
        """Return transformed X, and the fitted transformers."""
        transformers = self.transformers
        if transformers is None:
            return X, None
        if self.is_fitted:
            return transformers.transform(X), transformers
        transformers = clone(transformers)
        # Not fit and transform: some transformers treat the rows they are fitted to
        # in another way, and Pipeline.fit lets them.
        return transformers.fit_transform(X, y), transformers

    def around(self, network: Any, transformers: Pipeline | None) -> Any:
        """Put fitted transformers before a fitted network."""
        if self.pipeline is None:
            return network
        fitted = copy.copy(self.pipeline)
        before = [] if transformers is None else transformers.steps
        fitted.steps = [*before, (self.pipeline.steps[-1][0], network)]
        return fitted


@dataclass(frozen=True, slots=True)
class Asked:
    """A refit before it is trained.

    Attributes
    ----------
    network : estimator
        Still without parameters.
    jobs : list of Job
        One, or one for each member of an ensemble.
    members : list of estimators
        The ensemble's; otherwise none.
    transformers : Pipeline or None
        Its own, fitted.
    """

    network: Any
    jobs: list[Job]
    members: list[Any]
    transformers: Pipeline | None = None

    @property
    def requests(self) -> list[Request]:
        """What to ask `fit_networks` for."""
        return requests_of(self.jobs)

    @property
    def tables(self) -> dict[int, int]:
        """Bytes of every table that it holds, by identity."""
        fits = [fit for job in self.jobs for fit in job.fits]
        held = [t for fit in fits for t in (fit.x, fit.y, fit.x_val, fit.y_val)]
        return {id(t): _bytes(t) for t in (self.jobs[0].watcher.rows.X, *held)}

    def keep(self, outcomes: list[Outcome]) -> Outcome:
        """Make the network fitted; return its outcome, or its members' worst."""
        jobs, outcomes = settled(self.jobs, outcomes)
        if self.members:
            return keep_members(self.network, self.members, jobs, outcomes)
        return self.network._keep(jobs[0], outcomes)


@dataclass(frozen=True, slots=True)
class Refit:
    """A refit that has been trained.

    Attributes
    ----------
    network : fitted estimator
    transformers : Pipeline or None
        Its own.
    failure : str or None
        What went wrong.
    """

    network: Any
    transformers: Pipeline | None
    failure: str | None


def on_one_table(
    network: Any, X: Any, y: Any, sample: Sample, groups: np.ndarray | None
) -> Iterator[Asked]:
    """Ask for refits of which each sees all rows, by weight."""
    X, y = network._check(X, y, reset=True)
    chosen = decided(network, X)
    # Of y alone, and a third of the work of asking for a small network.
    options = {"groups": groups, "target": network._learn_target(y, None)}
    # Scales and designs follow the weights, and tables follow these.
    own_tables = chosen.standardize or network.is_categorical_ is not None
    own_tables = own_tables or has_gaps(X)
    like: Job | None = None
    for weight, seed in zip(sample.weights, sample.seeds, strict=True):
        own = _with_seed(network, seed)
        asked = _ask(own, _with_seed(chosen, seed), X, y, weight, options, like)
        like = None if own_tables else asked.jobs[0]
        yield asked


def on_own_tables(
    template: Template, X: Any, y: Any, sample: Sample, groups: np.ndarray | None
) -> Iterator[Asked]:
    """Ask for refits of which each sees its drawn rows, by transformers of its own.

    These are fitted to the rows as often as they were drawn; the network then gets
    each of the rows once.
    """
    classes = _classes(template.network, y)
    for draws, weight, seed in zip(
        sample.draws.astype(np.int64), sample.weights, sample.seeds, strict=True
    ):
        drawn = np.flatnonzero(draws)
        transformers, own_X = _refitted(
            template.transformers, X, y, drawn, draws[drawn]
        )
        own = _with_seed(template.network, seed)
        own_X, own_y = own._check(own_X, _safe_indexing(y, drawn), reset=True)
        own_groups = None if groups is None else groups[drawn]
        options = {"groups": own_groups, "classes": classes}
        chosen = decided(own, own_X, np.ones(len(weight)))
        asked = _ask(own, chosen, own_X, own_y, weight[drawn], options)
        yield replace(asked, transformers=transformers)


def _with_seed(network: Any, seed: int) -> Any:
    own = copy.copy(network)
    own.random_state = int(seed)  # set_params would cost a third of the rest
    return own


def _ask(
    network: Any,
    chosen: Any,
    X: Any,
    y: np.ndarray,
    weight: np.ndarray,
    options: dict[str, Any],
    like: Job | None = None,
) -> Asked:
    """Ask for the fit of a network by ``chosen``, its copy without any "auto"."""
    if chosen.n_estimators > 1:
        members, jobs = assemble_members(chosen, X, y, weight, None, options)
        return Asked(network, jobs, members)
    return Asked(network, [assemble(chosen, X, y, weight, like=like, **options)], [])


def _refitted(
    transformers: Pipeline | None, X: Any, y: Any, drawn: np.ndarray, counts: np.ndarray
) -> tuple[Pipeline, Any]:
    """Fit transformers to repeated rows; return them and each drawn row, transformed.

    The first of the copies stands for all.
    """
    repeated = np.repeat(drawn, counts)
    fitted = clone(transformers)
    table = fitted.fit_transform(
        _safe_indexing(X, repeated), _safe_indexing(y, repeated)
    )
    return fitted, _safe_indexing(table, np.cumsum(counts) - counts)


def _classes(network: Any, y: Any) -> np.ndarray | None:
    """Classes of all rows, for a replicate may lack some; None where y has none."""
    y = np.asarray(y)
    one_column = y.ndim == 1 or y.shape[1] == 1
    return np.unique(y) if is_classifier(network) and one_column else None


def trained(asked: Iterable[Asked]) -> Iterator[Refit]:
    """Train refits as stacks, a bounded number of bytes of tables at a time."""
    # By map, so that no name here keeps the tables of one portion beside the next.
    for refits in map(_train, _portions(asked)):
        yield from refits


def _train(portion: list[Asked]) -> list[Refit]:
    asked = [one.requests for one in portion]
    outcomes = iter(fit_networks([request for own in asked for request in own]))
    refits = []
    for one, own in zip(portion, asked, strict=True):
        kept = one.keep([next(outcomes) for _ in own])
        message = failure(kept, one.jobs[0].plan.settings.max_iter)
        refits.append(Refit(one.network, one.transformers, message))
    return refits


def _portions(asked: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Cut what is asked for into lists of no more than `MOST_TABLE_BYTES` of tables."""
    portion: list[Asked] = []
    held: dict[int, int] = {}
    for one in asked:
        if portion and sum((held | one.tables).values()) > MOST_TABLE_BYTES:
            yield portion
            portion, held = [], {}
        portion.append(one)
        held |= one.tables
    if portion:
        yield portion


def _bytes(table: Any) -> int:
    if table is None:
        return 0
    if isinstance(table, SparseRows):
        return table.starts.nbytes + table.columns.nbytes + table.values.nbytes
    if sp.issparse(table):
        return table.indptr.nbytes + table.indices.nbytes + table.data.nbytes
    return table.nbytes
