"""Fits asked for at the same time become one stack: a backend for joblib.

joblib hands over the tasks of a search, and `coordinating` brings each to where its
estimator asks for a network, trains together what is asked for, and lets the tasks go
on. No private function of scikit-learn is touched, so whatever goes through joblib
gains.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import joblib
from joblib.parallel import (
    FallbackToBackend,
    ParallelBackendBase,
    register_parallel_backend,
)

from .coordinating import Coordinator, Progress
from .waiting import Call, Task


class StackingBackend(ParallelBackendBase):
    """joblib's view of a coordinator.

    Every `Parallel` gets one of its own, which stands for its call, so that two that
    run at the same time do not end each other's tasks.

    Parameters
    ----------
    nesting_level, inner_max_num_threads
        As joblib gives them.
    coordinator : Coordinator, default=None
        That of the tasks around, inside a task.
    **options
        Those of `Coordinator`.
    """

    uses_threads = True
    supports_sharedmem = True
    supports_retrieve_callback = True
    supports_inner_max_num_threads = False
    default_n_jobs = -1

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        coordinator: Coordinator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(nesting_level, inner_max_num_threads)
        self._coordinator = coordinator or Coordinator(**options)
        self._is_own = self._is_generator = False
        self._call: Call | None = None
        self._around = ExitStack()

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Give the `Parallel` a backend of its own; say how many tasks to prepare."""
        if not self._is_own:
            own = self._nested(self.nesting_level)
            own._is_own = True
            own._is_generator = parallel.return_generator
            raise FallbackToBackend(own)
        return self.effective_n_jobs(n_jobs)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many tasks joblib shall prepare: enough to fill a stack."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        return max(2, -(-self._coordinator.most // 2))  # it prepares twice as many

    def start_call(self) -> None:
        """Begin to dispatch."""
        if self._coordinator.task is None and not self._is_generator:
            # scikit-learn sets filters in every task, and threads that do so in turn
            # may leave the process with those of another one.
            self._around.enter_context(warnings.catch_warnings())
        self._call = self._coordinator.open(settles=self._is_generator)

    def stop_call(self) -> None:
        """End."""
        assert self._call is not None
        with self._around:
            self._coordinator.close(self._call)

    def submit(self, func: Callable, callback: Any = None) -> Task:
        """Queue a batch of calls."""
        assert self._call is not None
        task = Task(self._call, func, callback)
        self._coordinator.submit(task)
        return task

    def retrieve_result_callback(self, out: Task) -> Any:
        """Return a task's result, or raise its error."""
        if out.error is not None:
            raise out.error
        return out.result

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel the tasks of this call."""
        assert self._call is not None
        self._coordinator.cancel(self._call)

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Wait for results: dispatching is over, and a task that waits is blocked."""
        assert self._call is not None
        with self._coordinator.retrieving(self._call):
            yield

    def get_nested_backend(self) -> tuple[ParallelBackendBase, int | None]:
        """Return a backend for `Parallel` inside a task: it shares the coordinator."""
        return self._nested((self.nesting_level or 0) + 1), None

    def _nested(self, nesting_level: int | None) -> StackingBackend:
        return StackingBackend(nesting_level, coordinator=self._coordinator)


register_parallel_backend("sklearn_ann", StackingBackend)


@contextmanager
def batched_fits(
    max_in_flight: int | None = None,
    memory_budget: int | None = None,
    progress: bool | Progress = False,
) -> Iterator[None]:
    """Train the networks of a search as stacks.

    Inside the block everything that goes through joblib (searches, cross-validation,
    bagging, stacking, ...) runs its tasks in threads until each asks for a network, and
    trains all networks asked for together. Results are those of the same code without
    it, up to rounding in float64, and up to the spread over seeds in float32. `n_jobs`
    of the search may be anything.

    Parameters
    ----------
    max_in_flight : int, default=None
        Most tasks that wait at once, each with its own copy of its data; those that
        wait for tasks of their own do not count. None starts with few and doubles
        while memory allows.
    memory_budget : int, default=None
        Bytes that waiting tasks may add to the process; None is a quarter of what is
        free, and at most 768 MiB.
    progress : bool or callable (trained, asked), default=False
        Show a bar over networks, or be told.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_ann import ANNRegressor, batched_fits
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> grid = {"alpha": [0.01, 0.1, 1.0], "learning_rate_init": [0.01, 0.03]}
    >>> network = ANNRegressor(8, max_iter=50, tol=0, n_iter_no_change=50,
    ...                        early_stopping=False, random_state=0)
    >>> import warnings
    >>> with batched_fits(), warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # fifty epochs are few
    ...     search = GridSearchCV(network, grid, cv=3).fit(X, X[:, 0] ** 2)
    >>> len(search.cv_results_["params"])
    6
    """
    options = {"max_in_flight": max_in_flight, "memory_budget": memory_budget}
    with (
        _told(progress) as tell,
        joblib.parallel_config("sklearn_ann", n_jobs=-1, progress=tell, **options),
    ):
        yield


@contextmanager
def _told(progress: bool | Progress) -> Iterator[Progress | None]:
    if not progress or callable(progress):
        yield progress or None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("networks", total=None)
        yield lambda trained, asked: bar.update(line, completed=trained, total=asked)
