"""How much memory waiting tasks cost, and how many more there is room for."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_MOST_BY_DEFAULT = 3 * 2**28
_SHARE_OF_FREE = 0.25
# Tasks that may wait where the system does not say what they cost.
_MOST_UNMEASURED = 16
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


def give_back() -> None:
    """Have the C library return to the system what has been freed.

    It keeps freed tables for later, in a heap for each of many threads. Held by no
    task, they would be taken for a cost of those that wait.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # another library, with ways of its own
        return


class MemoryGauge:
    """Measures what waiting tasks add to the process.

    Parameters
    ----------
    budget : int or None
        Bytes they may add; None is a quarter of what is free, and at most 768 MiB.
    """

    def __init__(self, budget: int | None) -> None:
        self._asked = budget
        self._at_start: int | None = None
        self._budget = 0

    def start(self) -> None:
        """Take the process as it is now as the beginning."""
        self._at_start = resident()
        available = free()
        share = _MOST_BY_DEFAULT if available is None else _SHARE_OF_FREE * available
        self._budget = self._asked or int(min(share, _MOST_BY_DEFAULT))

    def room_for(self, n_waiting: int) -> int:
        """Tasks that may start besides ``n_waiting`` that wait now."""
        grown = self._grown()
        if grown is None:
            return _MOST_UNMEASURED - n_waiting
        per_task = max(_LEAST_PER_TASK, grown / max(1, n_waiting))
        return int(self._budget / per_task) - n_waiting

    def _grown(self) -> int | None:
        """Bytes that the process holds beyond those at the start, freed ones aside."""
        if self._at_start is None or (now := resident()) is None:
            return None
        if now - self._at_start > self._budget / 2:  # small searches need not ask
            give_back()
            now = resident() or now
        return now - self._at_start
