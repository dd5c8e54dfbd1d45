"""What joblib wants done, and a task's thread while it waits for networks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import joblib

from .engine.fit import Epoch, Outcome
from .fitting import through, train_requests
from .requests import Request


class Aborted(BaseException):
    """Ends a task whose result nobody wants any more; no task is meant to catch it."""


@dataclass(eq=False)
class Call:
    """One call of `Parallel`.

    Attributes
    ----------
    parent : Task or None
        The task that makes it.
    dispatches_until : float
        When it is taken to have dispatched what it dispatches at once.
    n_made, n_tasks : int
        Its tasks so far, and those of them that are queued or started.
    blocks_parent : bool
        Whether the parent waits for them.
    cancelled : bool
    """

    parent: Task | None
    dispatches_until: float
    n_made: int = 0
    n_tasks: int = 0
    blocks_parent: bool = False
    cancelled: bool = False

    @property
    def depth(self) -> int:
        """Number of tasks around it."""
        return 0 if self.parent is None else 1 + self.parent.call.depth

    def next_place(self) -> tuple[int, ...]:
        """Return the place of one more task, below the one that makes the call."""
        self.n_made += 1
        return (*(() if self.parent is None else self.parent.place), self.n_made)

    def is_in(self, other: Call) -> bool:
        """Whether this is the other one, or made by a task of it, however far in."""
        call = self
        while call is not other and call.parent is not None:
            call = call.parent.call
        return call is other


class Task:
    """One function that joblib wants called, and its outcome.

    Parameters
    ----------
    call : Call
        Whose task it is.
    function : callable () -> object
    callback : callable (Task) -> None
        Told when the task is over.

    Attributes
    ----------
    place : tuple of int
        By which tasks stand in the order they were made in, whoever gets there first.
    result, error : object, BaseException or None
    cancelled, has_slot : bool
    n_waits : int
        What the task waits for: networks, and the tasks of calls inside it.
    """

    def __init__(
        self,
        call: Call,
        function: Callable[[], Any],
        callback: Callable[[Task], None],
    ) -> None:
        self.call, self.function, self.callback = call, function, callback
        self.place = call.next_place()
        self.result: Any = None
        self.error: BaseException | None = None
        self.cancelled = self.has_slot = False
        self.n_waits = 0

    def run(self) -> None:
        """Call the function, if that is still wanted, and keep what comes of it."""
        function = self.function
        del self.function  # and with it the arguments, once it has been called
        try:
            if self.cancelled:
                raise Aborted
            self.result = function()
        except BaseException as error:
            self.error = error


class Waiter:
    """A task's thread while it waits for its networks.

    Hooks and scorers of the fits are run by that thread, not by the one that trains:
    what they print, warn of and raise is the task's own.
    """

    def __init__(self, task: Task, requests: Sequence[Request]) -> None:
        self.task, self.requests = task, list(requests)
        self.outcomes: dict[int, Outcome] = {}
        self.error: BaseException | None = None
        self.released = False
        self._bell = threading.Condition()
        self._calls: deque[tuple[Callable, Epoch, dict]] = deque()
        for request in self.requests:
            fit = request.fit
            if fit.on_epoch is not None:
                fit.on_epoch = self._here(fit.on_epoch, True)
            if fit.validate is not None:
                fit.validate = self._here(fit.validate, float("nan"))

    @property
    def given_up(self) -> bool:
        """Whether nobody wants these networks any more."""
        return self.error is not None or self.task.cancelled

    def _here(self, function: Callable, instead: Any) -> Callable:
        """Have a function run by the waiting thread; ``instead`` is for failures."""

        def asked(argument: Any) -> Any:
            if self.given_up:
                return instead
            answer: dict = {}
            with self._bell:
                self._calls.append((function, argument, answer))
                self._bell.notify_all()
                self._bell.wait_for(lambda: answer or self.released)
            return answer.get("value", instead)

        return asked

    def wait(self) -> list[Outcome]:
        """Wait, running what is asked of this thread; return outcomes or raise."""
        while True:
            with self._bell:
                self._bell.wait_for(lambda: self._calls or self.released)
                if self.released:
                    break
                function, argument, answer = self._calls.popleft()
            self._run(function, argument, answer)
        if self.error is not None:
            raise self.error
        return [self.outcomes[i] for i in range(len(self.requests))]

    def _run(self, function: Callable, argument: Any, answer: dict) -> None:
        """Run user code, which may fit networks too: those cannot wait for a stack."""
        found: dict = {"failed": True}
        try:
            with through(train_requests), joblib.parallel_config("sequential"):
                found = {"value": function(argument)}
        except BaseException as error:
            self.error = error
        with self._bell:
            answer.update(found)
            self._bell.notify_all()

    def release(self) -> None:
        """Wake the thread: its outcomes, or its error, are there."""
        with self._bell:
            self.released = True
            self._bell.notify_all()
