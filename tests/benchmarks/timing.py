"""Interleaved timings, and tables of them, shared by the benchmarks."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from threadpoolctl import threadpool_limits


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a table.

    Attributes
    ----------
    name : str
        What was measured, against what.
    value : float
    target : float
    at_least : bool
        Whether the target is a lower limit; otherwise it is an upper one.
    stretch : float or None
        A harder target, in the same direction.
    detail : str
        The measurements behind the value.
    """

    name: str
    value: float
    target: float
    at_least: bool
    stretch: float | None = None
    detail: str = ""

    @property
    def verdict(self) -> str:
        """How far the value came."""
        if self.stretch is not None and self._reaches(self.stretch):
            return "stretch"
        return "reached" if self._reaches(self.target) else "MISSED"

    def cells(self) -> tuple[str, str, str, str, str]:
        """Name, value, target, verdict and detail as text."""
        sign = ">=" if self.at_least else "<="
        target = f"{sign} {self.target:g}"
        if self.stretch is not None:
            target += f" ({self.stretch:g})"
        return self.name, f"{self.value:.2f}", target, self.verdict, self.detail

    def _reaches(self, limit: float) -> bool:
        return self.value >= limit if self.at_least else self.value <= limit


HEADER = ("what", "value", "target (stretch)", "verdict", "detail")


def one_core() -> None:
    """Keep this process on one core, with one thread in every library loaded."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    threadpool_limits(1)


def interleaved(
    tasks: Mapping[str, Callable[[], object]], repeats: int = 5
) -> dict[str, list[float]]:
    """Seconds of each task, run in turns so that noise falls on all alike.

    Parameters
    ----------
    tasks : mapping from name to callable
    repeats : int
        Rounds after a first one that is not counted.

    Returns
    -------
    dict of str to list of float
        ``repeats`` times per task, entry i of all tasks from the same round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no fit is given the time to converge
        for task in tasks.values():
            task()
        for _ in range(repeats):
            for name, task in tasks.items():
                start = time.perf_counter()
                task()
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median over the rounds of the ratio within a round.

    Within a round the machine is nearly the same for both; between rounds it may drift.
    """
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


def repeated(task: Callable[[], object], times: int) -> Callable[[], None]:
    """A task that runs another one several times, for tasks too short to time."""

    def run() -> None:
        for _ in range(times):
            task()

    return run


def processor() -> str:
    """The processor's name, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> str:
    """Date, processor and versions in one line."""
    libraries = ("scikit-learn", "torch", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"{date.today().isoformat()}, {processor()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def to_text(results: Sequence[Result]) -> str:
    """A table for the terminal."""
    rows = [HEADER, *(result.cells() for result in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join([machine(), *lines])


def to_markdown(results: Sequence[Result]) -> str:
    """A table for the documentation, with the machine above it."""
    rows = [HEADER, ("---",) * len(HEADER), *(result.cells() for result in results)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{machine()}.\n\n{table}\n"
