"""How much memory waiting tasks cost, and how many more there is room for."""

from __future__ import annotations

import os
from pathlib import Path

_MOST_BY_DEFAULT = 2**30
_SHARE_OF_FREE = 0.25
# A task is taken to cost at least this much, so that the first guess is no wild one.
_LEAST_PER_TASK = 2**16


def resident() -> int | None:
    """Bytes of memory the process holds, or None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def free() -> int | None:
    """Bytes of memory that are free, or None where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


class MemoryGauge:
    """Measures what waiting tasks add to the process.

    Parameters
    ----------
    budget : int or None
        Bytes they may add; None is a quarter of what is free, and at most 1 GiB.
    """

    def __init__(self, budget: int | None) -> None:
        self._asked = budget
        self._at_start: int | None = None
        self._budget = self._most_grown = 0
        self._per_task = float(_LEAST_PER_TASK)

    def start(self) -> None:
        """Take the process as it is now as the beginning."""
        self._at_start = resident()
        available = free()
        share = _MOST_BY_DEFAULT if available is None else _SHARE_OF_FREE * available
        self._budget = self._asked or int(min(share, _MOST_BY_DEFAULT))
        self._most_grown, self._per_task = 0, float(_LEAST_PER_TASK)

    def room_for(self, n_waiting: int) -> int:
        """Tasks that may start besides ``n_waiting`` that wait now."""
        now = resident()
        if now is None or self._at_start is None:
            return 0  # not measurable here: stay with the number that was allowed
        grown = now - self._at_start
        # What finished tasks gave back stays with the process, and is used again: only
        # while it grows does its size say what the tasks cost.
        if grown > self._most_grown:
            self._most_grown = grown
            self._per_task = max(_LEAST_PER_TASK, grown / max(1, n_waiting))
        return int(self._budget / self._per_task) - n_waiting
