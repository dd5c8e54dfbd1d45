"""Run the benchmarks and write `docs/benchmarks.md` from what they print.

    python docs/scripts/benchmarks_page.py

Takes about fifteen minutes on an otherwise idle machine; every table carries the date,
the processor and the versions it was measured with.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"

HEAD = """\
# Benchmarks

Measured by the scripts in `tests/benchmarks`, each on one core with one thread unless
threads are the subject, and written to this page by `docs/scripts/benchmarks_page.py`.
Speed is a ratio against a peer that ran in turns with ours in the same process: the
median over rounds of the ratio within a round. A verdict says whether a value reached
the target set before it was measured; MISSED ones stay on the page.

Ratios depend on the processor: one with AVX-512 multiplies matrices of float32 at twice
the rate of one without, and what is not arithmetic takes the same time. An earlier
version on such a processor is on [a page of its own](benchmarks_avx512.md).
"""

SECTIONS = (
    (
        "Fit and predict",
        "bench_fit",
        "One network, against scikit-learn's `MLPRegressor` and `MLPClassifier` "
        "(float64) with the same epochs, batches, penalty and loss record, and against "
        "`reference_loop.py`, a hand-written tensor loop of the same arithmetic.",
    ),
    (
        "Many networks at once",
        "bench_search",
        "A grid search inside `batched_fits`, stacks of a hundred networks, and wide "
        "networks, which are not stacked because they gain nothing from it on a CPU.",
    ),
    (
        "Bootstrap",
        "bench_bootstrap",
        "Two hundred replicates as one stack, against as many fits one by one.",
    ),
    (
        "Effects",
        "bench_effects",
        "`average_marginal_effects` with no option set, in times of the fit whose "
        "effects they are; and bootstrap standard errors as one stack, against a loop.",
    ),
    (
        "Memory",
        "bench_memory",
        "Peak memory, each in a process of its own.",
    ),
    (
        "Utilisation",
        "bench_utilisation",
        "Arithmetic of training (6 operations for each parameter and row) over time, "
        "as a share of the rate of one large matrix product measured in the same run. "
        "No GPU has been measured yet.",
    ),
)


def table(module: str) -> str:
    """Run one benchmark and return the table it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "table.md"
        command = [sys.executable, "-m", f"tests.benchmarks.{module}"]
        subprocess.run([*command, "--markdown", str(target)], cwd=ROOT, check=True)
        return target.read_text(encoding="utf-8").strip()


def threads() -> str:
    """Run the benchmark of threads, which prints a plain table."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_threads"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return f"```text\n{done.stdout.rstrip()}\n```"


def main() -> None:
    """Write the page."""
    parts = [HEAD]
    for title, module, text in SECTIONS:
        parts.append(f"## {title}\n\n{text}\n\n{table(module)}\n")
    parts.append(
        "## Threads\n\nTime with two threads over time with one, by the work of a "
        "step, on two cores, one of them kept busy in the last column "
        "(`bench_threads`). Fits below 1e9 operations a step run on one thread.\n\n"
        f"{threads()}\n"
    )
    PAGE.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
