"""Who starts, who runs, and when the networks that are asked for are trained.

Every task runs in a thread until it asks for a network, and waits there. Counted apart
are tasks that are *queued*, *started*, and of these *blocked*: waiting for networks, or
for tasks of their own. Networks are trained when every started task is
blocked, no queued one may start, and no `Parallel` is about to bring more.

One thread, the conductor, starts the others and trains; the user's thread, where
Ctrl-C may strike between any two lines, only leaves notes for it. No wait depends on
the counts being right: one that takes too long is ended, which costs company in the
stack, not the result.
"""

from __future__ import annotations

import bisect
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf

import joblib

from .engine.fit import Outcome
from .engine.training import Cancelled
from .fitting import Tables, stacks, through, train_stack
from .memory import MemoryGauge
from .requests import Request
from .waiting import Aborted, Call, Task, Waiter

# At first, before it is known what a task costs, as many tasks as there are cores,
# within these bounds.
FEWEST_AT_FIRST, MOST_AT_FIRST = 4, 16
MOST_IN_FLIGHT = 1024
# Seconds without any event after which a wait is ended: a task may hold a lock that
# another one needs, and of that nothing is known here.
PATIENCE = 10.0
# Seconds without a new task after which a generator's `Parallel`, which does not tell,
# has dispatched what it dispatches at once.
SETTLED = 0.05

Progress = Callable[[int, int], None]


def _rank(task: Task) -> tuple[bool, int]:
    """Put cancelled tasks first, then those furthest inside others."""
    return not task.cancelled, -task.call.depth


class Coordinator:
    """Brings tasks to where they ask for networks, and trains these together.

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
        max_in_flight: int | None = None,
        memory_budget: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        if max_in_flight is not None and max_in_flight < 1:
            raise ValueError(
                "max_in_flight must be None or a positive number of tasks; got "
                f"{max_in_flight}."
            )
        self.most = max_in_flight or MOST_IN_FLIGHT
        self.progress = progress
        self._gauge = MemoryGauge(memory_budget)
        self._n_slots = joblib.cpu_count()
        first = min(max(FEWEST_AT_FIRST, self._n_slots), MOST_AT_FIRST)
        self.allowed = self._first = max_in_flight or first
        self._own = threading.local()
        # `with` on the lock itself: a Condition could be interrupted while entered.
        self._lock = threading.RLock()
        self._turn = threading.Condition(self._lock)  # the conductor's
        self._slot = threading.Condition(self._lock)
        self._over = threading.Condition(self._lock)
        # Weak: a call that Ctrl-C cut off before it began is not closed.
        self._calls: weakref.WeakSet[Call] = weakref.WeakSet()
        self._queue: list[Task] = []  # by rank
        self._started: set[Task] = set()
        self._waiting: list[Waiter] = []
        self._tables = Tables()  # of those who wait
        self._asking: set[Waiter] = set()  # those in training included
        self._workers: set[threading.Thread] = set()
        self._conductor: threading.Thread | None = None
        self._n_free_workers = self._n_blocked = self._n_running = 0
        self._n_parents = self._n_asked = self._n_trained = 0
        self._last_event = 0.0

    # ---------------------------------------------------- what the backend tells
    @property
    def task(self) -> Task | None:
        """The task that this thread runs."""
        return getattr(self._own, "task", None)

    def open(self, settles: bool) -> Call:
        """Return a new call of `Parallel`, which begins to dispatch.

        Parameters
        ----------
        settles : bool
            Whether it will not tell when its first tasks are there.
        """
        parent = self.task
        if parent is not None:
            until = 0.0  # the parent, which dispatches, is not blocked
        else:
            until = time.monotonic() + SETTLED if settles else inf
        call = Call(parent, until)
        with self._lock:
            call.cancelled = parent is not None and parent.cancelled
            self._calls.add(call)
        return call

    def submit(self, task: Task) -> None:
        """Queue a task."""
        call = task.call
        with self._lock:
            task.cancelled = call.cancelled
            call.n_tasks += 1
            if 0.0 < call.dispatches_until < inf:
                call.dispatches_until = time.monotonic() + SETTLED
            bisect.insort(self._queue, task, key=_rank)
            if self._conductor is None or not self._conductor.is_alive():
                self._conductor = self._thread("conductor", self._conduct)
                self._conductor.start()
            self._note()

    def cancel(self, call: Call) -> None:
        """End the tasks of a call and of calls inside it; wake those that wait."""
        with self._lock:
            for each in list(self._calls):
                each.cancelled = each.cancelled or each.is_in(call)
            for task in [*self._queue, *self._started]:
                task.cancelled = task.cancelled or task.call.cancelled
            # They still run, to no end: whoever waits for them is to hear of it.
            self._queue.sort(key=_rank)
            self._waiting = [w for w in self._waiting if not w.task.cancelled]
            for waiter in [w for w in self._asking if w.task.cancelled]:
                waiter.error = waiter.error or Aborted()
                self._release(waiter)
            self._slot.notify_all()
            self._note()

    def close(self, call: Call) -> None:
        """End a call: wait for its tasks, and after the last call for all threads."""
        with self._lock:
            call.dispatches_until = 0.0
            if call.n_tasks:
                self._queue = [t for t in self._queue if t.call is not call]
                self.cancel(call)
                self._over.wait_for(lambda: not self._has_started(call))
            self._calls.discard(call)
            ends = not self._calls
            threads = [*self._workers, self._conductor] if ends else []
            self._turn.notify_all()
        for thread in filter(None, threads):
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join()

    def _has_started(self, call: Call) -> bool:
        return any(task.call is call for task in self._started)

    @contextmanager
    def retrieving(self, call: Call) -> Iterator[None]:
        """Count dispatching as over, and the parent as blocked by a call's tasks."""
        parent = call.parent
        with self._lock:
            call.dispatches_until = 0.0
            if parent is not None and call.n_tasks:
                call.blocks_parent = True
                self._n_parents += 1
                self._block(parent)
            self._note()
        try:
            yield
        finally:
            with self._lock:
                self._unblock_parent(call)
                if parent is not None:
                    self._take_slot(parent)

    # --------------------------------------------------------------------- tasks
    def _work(self) -> None:
        """Run queued tasks, one after the other, while any may start."""
        while True:
            with self._lock:
                self._n_free_workers -= 1
                if not self._may_start():
                    self._workers.discard(threading.current_thread())
                    self._note()
                    return
                task = self._queue.pop(0)
                self._started.add(task)
                self._take_slot(task)
            try:
                self._run(task)
            except BaseException:  # of joblib's callback: this thread ends
                with self._lock:
                    self._n_free_workers -= 1
                    self._workers.discard(threading.current_thread())
                    self._note()
                raise

    def _run(self, task: Task) -> None:
        self._own.task = task
        with through(lambda requests: self._ask(task, requests)):
            task.run()
        self._own.task = None
        try:
            task.callback(task)  # may bring new tasks
        finally:
            with self._lock:
                self._started.discard(task)
                self._n_free_workers += 1
                self._give_slot(task)
                task.call.n_tasks -= 1
                if task.call.n_tasks == 0:
                    # joblib looks every 10 ms only, but will go on when it does.
                    self._unblock_parent(task.call)
                self._over.notify_all()
                self._note()

    def _ask(self, task: Task, requests: Sequence[Request]) -> list[Outcome]:
        """Wait in a task's thread for its networks."""
        waiter = Waiter(task, requests)
        with self._lock:
            if task.cancelled:
                raise Aborted
            self._tables.share(waiter.requests)
            self._waiting.append(waiter)
            self._asking.add(waiter)
            self._n_asked += len(waiter.requests)
            self._block(task)
        try:
            return waiter.wait()
        finally:
            with self._lock:
                self._take_slot(task)

    def _release(self, waiter: Waiter) -> None:
        """Let a waiter go, once; from now on its task counts as able to run."""
        if waiter in self._asking:
            self._asking.discard(waiter)
            self._unblock(waiter.task)
            waiter.release()

    def _block(self, task: Task) -> None:
        task.n_waits += 1
        if task.n_waits == 1:
            self._n_blocked += 1
            self._give_slot(task)
        self._note()

    def _unblock(self, task: Task) -> None:
        task.n_waits -= 1
        self._n_blocked -= task.n_waits == 0

    def _unblock_parent(self, call: Call) -> None:
        if call.blocks_parent and call.parent is not None:
            call.blocks_parent = False
            self._n_parents -= 1
            self._unblock(call.parent)

    def _take_slot(self, task: Task) -> None:
        """Wait until a core is free; who is to end need not wait."""
        if task.has_slot or task.n_waits:  # or only a wait inside another one is over
            return
        self._slot.wait_for(
            lambda: self._n_running < self._n_slots or task.cancelled, PATIENCE
        )
        self._n_running += 1
        task.has_slot = True

    def _give_slot(self, task: Task) -> None:
        self._n_running -= task.has_slot
        task.has_slot = False
        self._slot.notify()

    # ----------------------------------------------------------------- conductor
    def _conduct(self) -> None:
        self._gauge.start()
        self.allowed = self._first
        while (batch := self._next_batch()) is not None:
            self._train(batch)

    def _next_batch(self) -> list[Waiter] | None:
        """Start tasks until networks are to be trained, or (None) no call is left."""
        with self._lock:
            while self._calls:
                if self._n_hirable() > 0:
                    self._hire()
                elif self._is_idle() and self._grow():
                    pass
                elif self._is_idle() or self._is_stuck():
                    self.allowed = self._first
                    return self._take_waiting()
                else:
                    self._turn.wait(SETTLED if self._is_settling() else PATIENCE)
            self._conductor = None
            self._tables = Tables()  # of tasks that were cancelled
            return None

    def _take_waiting(self) -> list[Waiter]:
        """Return who waits, in the order of the tasks: threads ask in any order.

        A network's place in its stack decides how its numbers stand in memory, and so,
        in the last digit, how sums of them round.
        """
        batch, self._waiting, self._tables = self._waiting, [], Tables()
        return sorted(batch, key=lambda waiter: waiter.task.place)

    def _note(self) -> None:
        """Note an event; wake the conductor where there is something for it to do."""
        self._last_event = time.monotonic()
        if not self._calls or self._n_hirable() > 0 or self._is_idle():
            self._turn.notify_all()

    @property
    def _n_in_flight(self) -> int:
        """Started tasks; those that wait for tasks of their own give these room."""
        return len(self._started) - self._n_parents

    def _may_start(self) -> bool:
        if not self._queue:
            return False
        return self._n_in_flight < self.allowed or self._queue[0].cancelled

    def _n_hirable(self) -> int:
        """Workers that queued tasks could use besides those that look for one now."""
        if not self._may_start():
            return 0
        places = max(1, self.allowed - self._n_in_flight)
        return min(len(self._queue), places) - self._n_free_workers

    def _hire(self) -> None:
        worker = self._thread("worker", self._work)
        try:
            worker.start()
        except RuntimeError:  # the system gives no more threads
            self.allowed = max(1, self._n_in_flight)
            self._turn.wait(SETTLED)
            return
        self._workers.add(worker)
        self._n_free_workers += 1

    @staticmethod
    def _thread(name: str, target: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=target, name=f"sklearn_ann {name}", daemon=True)

    def _is_idle(self) -> bool:
        """Whether nothing will happen any more unless networks are trained."""
        return (
            bool(self._waiting)
            and self._n_blocked == len(self._started)
            and not self._may_start()
            and not self._is_dispatching()
        )

    def _is_dispatching(self) -> bool:
        now = time.monotonic()
        return any(call.dispatches_until > now for call in self._calls)

    def _is_settling(self) -> bool:
        now = time.monotonic()
        return any(now < call.dispatches_until < inf for call in self._calls)

    def _is_stuck(self) -> bool:
        overdue = time.monotonic() - self._last_event > PATIENCE
        return bool(self._waiting) and overdue

    def _grow(self) -> bool:
        """Start more tasks instead of training, while memory and limits allow."""
        n = self._n_in_flight
        if not self._queue or self.allowed >= self.most:
            return False
        allowed = min(self.most, 2 * self.allowed, n + self._gauge.room_for(n))
        self.allowed = max(self.allowed, allowed)
        return self._may_start()

    # ------------------------------------------------------------------ training
    def _train(self, batch: list[Waiter]) -> None:
        """Train what a batch asks for; whatever happens, nobody waits for ever."""
        try:
            pairs = [(w, i) for w in batch for i in range(len(w.requests))]
            requests = [w.requests[i] for w, i in pairs]
            for stack in stacks(requests):
                self._train_stack([pairs[j] for j in stack])
        except BaseException as error:
            for waiter in batch:
                waiter.error = waiter.error or error
        with self._lock:
            for waiter in batch:
                self._release(waiter)

    def _train_stack(self, pairs: list[tuple[Waiter, int]]) -> None:
        waiters = {id(w): w for w, _ in pairs}.values()
        try:
            outcomes = train_stack(
                [w.requests[i] for w, i in pairs],
                lambda: all(w.given_up for w in waiters),
            )
        except Cancelled:
            return  # each of them has its error already
        except Exception as error:
            self._train_halves(pairs, error)
            return
        for (waiter, i), outcome in zip(pairs, outcomes, strict=True):
            waiter.outcomes[i] = outcome
        self._n_trained += len(pairs)
        if self.progress is not None:
            self.progress(self._n_trained, self._n_asked)

    def _train_halves(self, pairs: list[tuple[Waiter, int]], error: Exception) -> None:
        """Find out by halving whose failure it was: who fails alone, fails alone."""
        if len(pairs) == 1:
            waiter = pairs[0][0]
            waiter.error = waiter.error or error
            return
        middle = len(pairs) // 2
        self._train_stack(pairs[:middle])
        self._train_stack(pairs[middle:])
