"""Fits asked for at the same time become one stack: a backend for joblib.

joblib hands over the tasks of a search. Each runs in a thread of its own until its
estimator asks `fitting` for a network; there it waits. When no started task can run and
no queued one may start, all networks that are asked for are trained, grouped into
stacks, and the tasks go on. No private function of scikit-learn is touched, so whatever
goes through joblib gains.

Counted apart are tasks that are *queued*, *started*, and of these *blocked*: waiting
for a network, or for a nested `Parallel` of their own. At most `max_in_flight` tasks
are started, and at most as many as there are cores run at once.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import joblib
from joblib.parallel import ParallelBackendBase, register_parallel_backend

from .engine.fit import Epoch, Outcome
from .engine.training import Cancelled
from .fitting import (
    Request,
    share_equal_tables,
    stacks,
    through,
    train_stack,
)
from .memory import MemoryGauge

FIRST_IN_FLIGHT = 16
MOST_IN_FLIGHT = 1024


class Aborted(BaseException):
    """Ends a task whose search is over; no task is meant to catch it."""


class Task:
    """One call that joblib wants made, and its outcome.

    Attributes
    ----------
    owner : StackingBackend
        Of the `Parallel` that the task belongs to.
    result, error : object, BaseException or None
    cancelled : bool
    """

    def __init__(
        self, owner: StackingBackend, call: Callable[[], Any], callback: Any
    ) -> None:
        self.owner, self.call, self.callback = owner, call, callback
        self.result: Any = None
        self.error: BaseException | None = None
        self.cancelled = False

    def belongs_to(self, backend: StackingBackend) -> bool:
        """Whether the task was started by a backend, or inside one of its tasks."""
        owner: StackingBackend | None = self.owner
        while owner is not None:
            if owner is backend:
                return True
            owner = owner.parent.owner if owner.parent else None
        return False


class Waiter:
    """A task's thread while it waits for its networks.

    Hooks and scorers of the fits are run by that thread, not by the one that trains:
    what they print, warn of and raise is the task's own.
    """

    def __init__(self, task: Task | None, requests: Sequence[Request]) -> None:
        self.task, self.requests = task, list(requests)
        self.outcomes: dict[int, Outcome] = {}
        self.error: BaseException | None = None
        self._bell = threading.Condition()
        self._calls: deque[tuple[Callable, tuple, dict]] = deque()
        self._done = False
        for request in self.requests:
            fit = request.fit
            if fit.on_epoch is not None:
                fit.on_epoch = self._here(fit.on_epoch, True)
            if fit.validate is not None:
                fit.validate = self._here(fit.validate, float("nan"))

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants these networks any more."""
        return self.error is not None or (self.task is not None and self.task.cancelled)

    def _here(self, function: Callable, given_up: Any) -> Callable:
        """Run a function in the waiting thread; answer ``given_up`` once that fails."""

        def asked(argument: Epoch) -> Any:
            if self.cancelled:
                return given_up
            answer: dict = {}
            with self._bell:
                self._calls.append((function, (argument,), answer))
                self._bell.notify_all()
                self._bell.wait_for(lambda: answer or self._done)
            return answer.get("value", given_up)

        return asked

    def wait(self) -> list[Outcome]:
        """Wait, running what is asked of this thread; return outcomes or raise."""
        while True:
            with self._bell:
                self._bell.wait_for(lambda: self._calls or self._done)
                if not self._calls:
                    break
                function, arguments, answer = self._calls.popleft()
            self._run(function, arguments, answer)
        if self.error is not None:
            raise self.error
        return [self.outcomes[i] for i in range(len(self.requests))]

    def _run(self, function: Callable, arguments: tuple, answer: dict) -> None:
        found = {}
        try:
            found = {"value": function(*arguments)}
        except BaseException as error:
            self.error = error
        with self._bell:
            answer.update(found or {"failed": True})
            self._bell.notify_all()

    def finish(self) -> None:
        """Wake the thread: its outcomes, or its error, are there."""
        with self._bell:
            self._done = True
            self._bell.notify_all()


class Coordinator:
    """Decides who starts, who runs, and when the networks are trained.

    Parameters
    ----------
    max_in_flight : int or None
        Most tasks started at once; None lets it grow while memory allows.
    memory_budget : int or None
        Bytes that waiting tasks may add to the process.
    progress : callable (trained, asked) -> None, or None
    """

    def __init__(
        self,
        max_in_flight: int | None,
        memory_budget: int | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.most = max_in_flight or MOST_IN_FLIGHT
        self.allowed = max_in_flight or FIRST_IN_FLIGHT
        self.gauge = MemoryGauge(memory_budget)
        self.progress = progress
        self.slots = os.cpu_count() or 1
        self.state = threading.Condition()
        self.queue: deque[Task] = deque()
        self.waiting: list[Waiter] = []
        self.threads: set[threading.Thread] = set()
        self.started = self.blocked = self.running = 0
        self.calls = self.dispatching = 0
        self.asked = self.trained = 0
        self.trainer: threading.Thread | None = None

    # ------------------------------------------------------------ calls of Parallel
    def open_call(self) -> None:
        """Count a `Parallel` that begins to dispatch."""
        with self.state:
            self.calls += 1
            self.dispatching += 1
            if self.trainer is None:
                self.gauge.start()
                self.trainer = _thread("sklearn_ann trainer", self._train_for_ever)

    def dispatched(self) -> None:
        """Count a `Parallel` that has dispatched what it dispatches at once."""
        with self.state:
            self.dispatching -= 1
            self.state.notify_all()

    def close_call(self, was_dispatching: bool) -> None:
        """Count a `Parallel` that is over; the last one leaves no thread behind."""
        with self.state:
            self.calls -= 1
            self.dispatching -= was_dispatching
            self.state.notify_all()
            over = self.calls == 0
            trainer, self.trainer = self.trainer, None if over else self.trainer
        if over:
            me = threading.current_thread()
            for thread in (trainer, *list(self.threads)):
                if thread is not None and thread is not me:
                    thread.join()

    def cancel(self, backend: StackingBackend) -> None:
        """Drop and wake the tasks of a backend, nested ones included."""
        with self.state:
            for task in [t for t in self.queue if t.belongs_to(backend)]:
                task.cancelled = True
                self.queue.remove(task)
            for thread in self.threads:
                task = thread.task  # type: ignore[attr-defined]
                task.cancelled = task.cancelled or task.belongs_to(backend)
            for waiter in list(self.waiting):
                if waiter.cancelled:
                    self.waiting.remove(waiter)
                    self._release(waiter, Aborted())
            self.state.notify_all()

    # ------------------------------------------------------------------------ tasks
    def submit(self, task: Task) -> None:
        """Queue a task."""
        with self.state:
            self.queue.append(task)
            self._start_tasks()

    def _start_tasks(self) -> None:
        while self.queue and self.started < self.allowed:
            self.started += 1
            task = self.queue.popleft()
            thread = _thread("sklearn_ann task", lambda t=task: self._run(t), task)
            self.threads.add(thread)

    def _run(self, task: Task) -> None:
        self._take_slot()
        try:
            with through(lambda requests: self.ask(task, requests)):
                if task.cancelled:
                    raise Aborted
                task.result = task.call()
        except BaseException as error:
            task.error = error
        finally:
            with self.state:
                self.started -= 1
                self.running -= 1
                self.dispatching += 1  # the callback may bring new tasks
                self._start_tasks()
                self.state.notify_all()
            try:
                if not task.cancelled:
                    task.callback(task)
            finally:
                with self.state:
                    self.dispatching -= 1
                    self.threads.discard(threading.current_thread())
                    self.state.notify_all()

    def _take_slot(self) -> None:
        with self.state:
            self.state.wait_for(lambda: self.running < self.slots)
            self.running += 1

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """Count a started task as blocked, and give its slot to another."""
        with self.state:
            self.blocked += 1
            self.running -= 1
            self.state.notify_all()
        try:
            yield
        finally:
            with self.state:
                self.blocked -= 1
            self._take_slot()

    def ask(self, task: Task, requests: Sequence[Request]) -> list[Outcome]:
        """Wait in a task's thread for its networks."""
        waiter = Waiter(task, requests)
        with self.state:
            if task.cancelled:
                raise Aborted
            self.waiting.append(waiter)
            self.asked += len(waiter.requests)
            self.blocked += 1
            self.running -= 1
            self.state.notify_all()
        try:
            return waiter.wait()
        finally:
            self._take_slot()

    def _release(self, waiter: Waiter, error: BaseException | None = None) -> None:
        """Let a waiter go; it counts as able to run from now on."""
        waiter.error = waiter.error or error
        self.blocked -= 1
        waiter.finish()

    # --------------------------------------------------------------------- training
    def _train_for_ever(self) -> None:
        while True:
            with self.state:
                self.state.wait_for(lambda: self._is_idle() or self.calls == 0)
                if self.calls == 0:
                    return
                if self._may_start_more():
                    continue
                batch, self.waiting = self.waiting, []
            self._train(batch)

    def _is_idle(self) -> bool:
        """Whether nothing will happen any more unless networks are trained."""
        return (
            bool(self.waiting)
            and self.dispatching == 0
            and self.started == self.blocked
            and not (self.queue and self.started < self.allowed)
        )

    def _may_start_more(self) -> bool:
        """Start more tasks instead of training, while memory and limits allow."""
        if not self.queue or self.allowed >= self.most:
            return False
        room = self.gauge.room_for(self.started)
        allowed = min(self.most, 2 * self.allowed, self.started + room)
        if allowed <= self.started:
            return False
        self.allowed = allowed
        self._start_tasks()
        return True

    def _train(self, batch: list[Waiter]) -> None:
        pairs = [(w, i) for w in batch for i in range(len(w.requests))]
        requests = [w.requests[i] for w, i in pairs]
        share_equal_tables(requests)
        for stack in stacks(requests):
            self._train_stack([pairs[j] for j in stack])
        with self.state:
            for waiter in batch:
                if not waiter._done:
                    self._release(waiter)
            self.state.notify_all()

    def _train_stack(self, pairs: list[tuple[Waiter, int]]) -> None:
        requests = [w.requests[i] for w, i in pairs]
        waiters = {id(w): w for w, _ in pairs}.values()

        def cancelled() -> bool:
            return all(w.cancelled for w in waiters)

        try:
            outcomes = train_stack(requests, cancelled)
        except Cancelled:
            for waiter in waiters:
                waiter.error = waiter.error or Aborted()
            return
        except Exception as error:
            self._train_apart(pairs, error)
            return
        for (waiter, i), outcome in zip(pairs, outcomes, strict=True):
            waiter.outcomes[i] = outcome
        self._tell_progress(len(pairs))

    def _train_apart(self, pairs: list[tuple[Waiter, int]], error: Exception) -> None:
        """After a failure, train one by one: who fails alone, fails alone."""
        for waiter, i in pairs:
            if len(pairs) == 1:
                waiter.error = waiter.error or error
                return
            self._train_stack([(waiter, i)])

    def _tell_progress(self, n: int) -> None:
        self.trained += n
        if self.progress is not None:
            self.progress(self.trained, self.asked)


def _thread(name: str, target: Callable, task: Task | None = None) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.task = task  # type: ignore[attr-defined]
    thread.start()
    return thread


class StackingBackend(ParallelBackendBase):
    """joblib's view of the coordinator.

    Parameters
    ----------
    nesting_level, inner_max_num_threads
        As joblib gives them.
    max_in_flight, memory_budget, progress
        As for `batched_fits`.
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
        max_in_flight: int | None = None,
        memory_budget: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        **backend_kwargs: Any,
    ) -> None:
        super().__init__(nesting_level, inner_max_num_threads, **backend_kwargs)
        self.coordinator = Coordinator(max_in_flight, memory_budget, progress)
        self.parent: Task | None = None
        self._dispatching = False

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many tasks joblib shall prepare: enough to fill a stack."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        return max(2, self.coordinator.most // 2)

    def start_call(self) -> None:
        """Begin to dispatch."""
        self._dispatching = True
        self.coordinator.open_call()

    def stop_call(self) -> None:
        """End."""
        was, self._dispatching = self._dispatching, False
        self.coordinator.close_call(was)

    def submit(self, func: Callable, callback: Any = None) -> Task:
        """Queue a batch of calls."""
        task = Task(self, func, callback)
        self.coordinator.submit(task)
        return task

    def retrieve_result_callback(self, out: Task) -> Any:
        """Return a task's result, or raise its error."""
        if out.error is not None:
            raise out.error
        return out.result

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel the tasks of this backend's call."""
        self.coordinator.cancel(self)

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Wait for results: dispatching is over, and a task that waits is blocked."""
        self._dispatching = False
        self.coordinator.dispatched()
        if getattr(threading.current_thread(), "task", None) is None:
            yield
            return
        with self.coordinator.blocking():
            yield

    def get_nested_backend(self) -> tuple[ParallelBackendBase, int | None]:
        """Return a backend for `Parallel` inside a task: it shares the coordinator."""
        nested = _Nested(self.coordinator, (self.nesting_level or 0) + 1)
        return nested, None


class _Nested(StackingBackend):
    """A backend inside a task of another one."""

    def __init__(self, coordinator: Coordinator, nesting_level: int) -> None:
        ParallelBackendBase.__init__(self, nesting_level)
        self.coordinator, self._dispatching = coordinator, False
        self.parent = None

    def start_call(self) -> None:
        """Begin to dispatch, in the task that this thread runs."""
        self.parent = getattr(threading.current_thread(), "task", None)
        super().start_call()


register_parallel_backend("sklearn_ann", StackingBackend)


@contextmanager
def batched_fits(
    max_in_flight: int | None = None,
    memory_budget: int | None = None,
    progress: bool | Callable[[int, int], None] = False,
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
        Most tasks that wait at once, each with its own copy of its data. None starts
        with 16 and doubles while memory allows.
    memory_budget : int, default=None
        Bytes that waiting tasks may add to the process; None is a quarter of what is
        free, and at most 1 GiB.
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
    ...                        random_state=0)
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
def _told(
    progress: bool | Callable[[int, int], None],
) -> Iterator[Callable[[int, int], None] | None]:
    if not progress or callable(progress):
        yield progress or None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("networks", total=None)
        yield lambda trained, asked: bar.update(line, completed=trained, total=asked)

