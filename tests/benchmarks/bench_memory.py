"""Peak memory of fits and predictions.

``python -m tests.benchmarks.bench_memory [--markdown FILE]``

Every measurement runs in a process of its own, because a process never forgets its
peak. It imports, makes its data, notes the peak so far, works, and reads the peak
again: the difference is what the work needed beyond what the caller holds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from .timing import Result, to_markdown, to_text

MEGABYTE = 1e6
FIT_RATIO = 2.5
FIT_ALLOWANCE = 200.0  # megabytes: libraries load parts of themselves on first use
PREDICT_LIMIT = 1_500.0


@dataclass(frozen=True, slots=True)
class Task:
    """What one process measures.

    Attributes
    ----------
    work : {"fit", "predict"}
    n, d : int
        Rows and columns of X.
    dtype : str
        Of X.
    training_dtype : str
        Of the weights; "auto" leaves it to the estimator, which takes float32 here.
    levels : int
        Of each column, where X is a DataFrame of categories.
    """

    work: str
    n: int
    d: int
    dtype: str
    training_dtype: str = "auto"
    levels: int = 0

    @property
    def name(self) -> str:
        """Work and sizes in words."""
        training = "" if self.training_dtype == "auto" else f" in {self.training_dtype}"
        kind = f"columns of {self.levels} levels" if self.levels else self.dtype
        return f"{self.work}{training}, {self.n} x {self.d} {kind}"

    @property
    def megabytes(self) -> float:
        """Size of X in the training dtype."""
        width = 8 if self.training_dtype == "float64" else 4
        return self.n * self.d * width / MEGABYTE


@dataclass(frozen=True, slots=True)
class Peak:
    """Megabytes.

    Attributes
    ----------
    held : float
        Peak before the work: interpreter, libraries and data.
    total : float
        Peak after it.
    """

    held: float
    total: float

    @property
    def beyond(self) -> float:
        """What the work needed beyond what was there."""
        return self.total - self.held


TASKS = (
    Task("fit", 400_000, 100, "float64"),
    Task("fit", 400_000, 100, "float32"),
    Task("fit", 400_000, 100, "float64", training_dtype="float64"),
    Task("fit", 200_000, 20, "object", levels=100),
    Task("predict", 1_000_000, 100, "float64"),
    Task("predict", 1_000_000, 100, "float32"),
)


def peak_memory() -> float:
    """Largest resident memory of this process so far, in megabytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the process that started this one
        lines = status.read_text().splitlines()
        kilobytes = next(line.split()[1] for line in lines if "VmHWM" in line)
        return int(kilobytes) * 1024 / MEGABYTE
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / MEGABYTE


def resident_memory() -> float:
    """Resident memory of this process now, in megabytes (Linux; else the peak)."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_memory()
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def run(task: Task) -> Peak:
    """Do the work in this process and measure it."""
    work = _prepare(task)
    held = peak_memory()
    # A peak above what is held now would hide as much of what the work needs.
    hidden = held - resident_memory()
    assert hidden < 0.05 * task.megabytes + 10, f"{hidden:.0f} MB of it are free again"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        work()
    return Peak(held, peak_memory())


def _prepare(task: Task) -> Callable[[], object]:
    """Import, make the data, and return what is left to do."""
    import numpy as np

    from sklearn_ann import ANNRegressor

    if task.levels:
        return _prepare_levels(task)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((task.n, task.d), dtype=np.dtype(task.dtype).type)
    y = X[:, 0] + rng.standard_normal(task.n)
    own = {} if task.training_dtype == "auto" else {"dtype": task.training_dtype}
    model = ANNRegressor(
        (100,), "relu", early_stopping=False, max_iter=2, random_state=0, **own
    )
    if task.work == "fit":
        return lambda: model.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X[:2_000], y[:2_000])
    return lambda: model.predict(X)


def _prepare_levels(task: Task) -> Callable[[], object]:
    """Do the same for a DataFrame of categories."""
    import numpy as np
    import pandas as pd

    from sklearn_ann import ANNRegressor

    rng = np.random.default_rng(0)
    names = [f"level {i}" for i in range(task.levels)]
    X = pd.DataFrame(
        {
            f"x{j}": pd.Categorical.from_codes(
                rng.integers(0, task.levels, task.n, dtype=np.int16), names
            )
            for j in range(task.d)
        }
    )
    y = rng.standard_normal(task.n)
    model = ANNRegressor(
        8, "relu", early_stopping=False, batch_size=1024, max_iter=1, random_state=0
    )
    if task.work == "fit":
        return lambda: model.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X[:5_000], y[:5_000])
    return lambda: model.predict(X)


def measure(task: Task) -> Peak:
    """Run a task in a fresh process."""
    command = [sys.executable, "-m", __spec__.name, "--task", json.dumps(asdict(task))]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(f"The measurement of {task} failed:\n{answer.stderr}")
    return Peak(**json.loads(answer.stdout.splitlines()[-1]))


def result(task: Task, peak: Peak) -> Result:
    """The line of the table for a measurement."""
    detail = (
        f"{peak.beyond:.0f} MB beyond the {peak.held:.0f} MB held, which is "
        f"{peak.beyond / task.megabytes:.2f} times X in the training dtype"
    )
    if task.work == "fit":
        name, value = f"{task.name}: MB beyond what is held", peak.beyond
        target = FIT_RATIO * task.megabytes + FIT_ALLOWANCE
    else:
        # The stricter reading: all of the process, with the caller's X in it.
        name, value = f"{task.name}: MB of the whole process", peak.total
        target = PREDICT_LIMIT
    return Result(name, value, target, at_least=False, detail=detail)


def main() -> None:
    """Measure, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    if arguments.task:
        print(json.dumps(asdict(run(Task(**arguments.task)))))
        return
    results = [result(task, measure(task)) for task in TASKS]
    print(to_text(results))
    if arguments.markdown:
        arguments.markdown.write_text(to_markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
