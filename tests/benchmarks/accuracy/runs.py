"""The fits, kept on disk: a run that was killed goes on where it was.

Every result is a line of a file, under a key that hashes all it depends on: the set,
the seed, the limits of rows, the model with its settings, and the versions. A change of
any of them is another key; old lines stay, and serve when the change is taken back.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from . import columns, protocol
from .models import Model, digest_of, make, version_of
from .protocol import LIMITS, Scores, Split, score, split
from .sets import Data, Table

Load = Callable[[Table], Data]

# What is done with rows and columns is part of every result.
PROTOCOL = digest_of(Path(module.__file__) for module in (protocol, columns))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One fit: what it reached, or how it failed.

    Attributes
    ----------
    key : str
        Hash of what the outcome depends on.
    table, task, model : str
    seed : int
    fit_seconds, predict_seconds : float or None
        From the table on, encoding included; None where it did not get so far.
    score : float or None
        R2 or log loss; None after a failure.
    accuracy, auc, calibration_error : float or None
    error : str
        What was raised; empty if nothing was.
    warned : tuple of str
        Categories of the warnings of the fit.
    """

    key: str
    table: str
    task: str
    model: str
    seed: int
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    score: float | None = None
    accuracy: float | None = None
    auc: float | None = None
    calibration_error: float | None = None
    error: str = ""
    warned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A fit to do.

    Attributes
    ----------
    table : Table
    seed : int
    model : Model
    limits : tuple of int
        Training and test rows, at most.
    """

    table: Table
    seed: int
    model: Model
    limits: tuple[int, int] = LIMITS

    @property
    def key(self) -> str:
        """Hash of what the outcome depends on; a model's name is no part of it."""
        model = self.model
        call = model.regressor if self.table.task == "regression" else model.classifier
        versions = [version_of(name) for name in ("sklearn", model.package)]
        versions.append(PROTOCOL)
        parts = (self.table, self.seed, self.limits, call, model.columns, versions)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Store:
    """A file of outcomes, one in a line.

    Attributes
    ----------
    path : Path
    """

    path: Path

    def read(self) -> dict[str, Outcome]:
        """Outcomes by their keys, the latest of each; lines cut short are left out."""
        if not self.path.exists():
            return {}
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return {outcome.key: outcome for outcome in map(_parsed, lines) if outcome}

    def append(self, outcome: Outcome) -> None:
        """Add a line, after ending one that was cut short."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            end = file.seek(0, 2)
            file.seek(max(end - 1, 0))
            cut = file.read(1) not in (b"", b"\n")
            line = json.dumps(asdict(outcome)) + "\n"
            file.write(b"\n" * cut + line.encode())


def run(
    jobs: Sequence[Job],
    store: Store,
    load: Load,
    *,
    retry: bool = False,
    tell: Callable[[str], object] = print,
) -> list[Outcome]:
    """Do the jobs that the store does not know, one after the other.

    Parameters
    ----------
    jobs : sequence of Job
    store : Store
    load : callable
        From a set's description to its data.
    retry : bool, default=False
        Whether failures are tried again.
    tell : callable, default=print
        Gets a line for every job done.

    Returns
    -------
    list of Outcome
        In the order of the jobs, named as the models are now.
    """
    known = store.read()
    due = (job for job in jobs if _is_due(known.get(job.key), retry))
    todo = list({job.key: job for job in due}.values())  # two names for one model
    for done, outcome in enumerate(_outcomes(todo, load), start=1):
        store.append(outcome)
        known[outcome.key] = outcome
        tell(f"{done}/{len(todo)}  {_line(outcome)}")
    return [replace(known[job.key], model=job.model.name) for job in jobs]


def measure(job: Job, part: Split) -> Outcome:
    """Fit a model to the training rows and score it on the test rows.

    Whatever it raises is the outcome; only what stops the whole run (an interrupt)
    passes.
    """
    seconds: list[float] = []
    scores: dict[str, float | None] = {}
    error = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            scores = asdict(_score(job, part, seconds))
        except Exception as problem:
            error = " ".join(f"{type(problem).__name__}: {problem}".split())[:300]
    steps = ("fit_seconds", "predict_seconds")
    return Outcome(
        job.key,
        job.table.name,
        job.table.task,
        job.model.name,
        job.seed,
        **dict(zip(steps, seconds, strict=False)),
        **scores,
        error=error,
        warned=tuple(sorted({each.category.__name__ for each in caught})),
    )


def _score(job: Job, part: Split, seconds: list[float]) -> Scores:
    """Fit, predict and score; the seconds of each step are added to a list."""
    task = job.table.task
    model = make(job.model, part.X_train, task, job.seed)
    steps = [
        lambda: model.fit(part.X_train, part.y_train),
        lambda: getattr(model, _method(task))(part.X_test),
    ]
    for step in steps:
        start = time.perf_counter()
        result = step()
        seconds.append(time.perf_counter() - start)
    return score(task, part.y_test, np.asarray(result))


def _method(task: str) -> str:
    return "predict" if task == "regression" else "predict_proba"


def _outcomes(jobs: Sequence[Job], load: Load) -> Iterator[Outcome]:
    """Outcomes in the order of the jobs; neighbours with the same rows share them."""
    rows, part = None, None
    for job in jobs:
        if rows != (job.table, job.seed, job.limits):
            part = split(load(job.table), job.table.task, job.seed, job.limits)
            rows = job.table, job.seed, job.limits
        assert part is not None
        yield measure(job, part)


def _is_due(outcome: Outcome | None, retry: bool) -> bool:
    return outcome is None or (retry and bool(outcome.error))


def _parsed(line: str) -> Outcome | None:
    """Read a line; None for one that is no outcome of this version."""
    try:
        values = json.loads(line)
        return Outcome(**{**values, "warned": tuple(values["warned"])})
    except (ValueError, TypeError, KeyError):
        return None


def _line(outcome: Outcome) -> str:
    what = outcome.error or f"{outcome.score:.4f}  {outcome.fit_seconds:.2f} s"
    return f"{outcome.table}  seed {outcome.seed}  {outcome.model}  {what}"
