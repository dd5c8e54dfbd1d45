"""Run the benchmarks and write `docs/benchmarks.md` from what they print.

    python docs/scripts/benchmarks_page.py [--data FOLDER] [--only TITLE]

Takes about fifteen minutes on an otherwise idle machine, and as long again with the
folder of the sixteen tables that ``python -m tests.benchmarks.accuracy --install``
fills. One section alone can be made anew; every table carries the date, the processor
and the versions it was measured with.
"""

from __future__ import annotations

import argparse
import re
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
        "effects they are; and bootstrap standard errors as one stack, against a "
        "loop. The sixteen tables of the accuracy benchmark (`--data`) are measured "
        "once each, on at most 3000 rows: the default on the raw table, and behind a "
        "Pipeline that makes numbers of the columns; and one network behind that "
        "Pipeline.",
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


THREADS = (
    "Time with two threads over time with one, by the work of a step, on two cores, "
    "one of them kept busy in the last column (`bench_threads`). Fits below 1e9 "
    "operations a step run on one thread."
)


def table(module: str, data: Path | None) -> str:
    """Run one benchmark and return the table it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "table.md"
        command = [sys.executable, "-m", f"tests.benchmarks.{module}"]
        if data is not None and module == "bench_effects":
            command += ["--data", str(data.resolve())]
        subprocess.run([*command, "--markdown", str(target)], cwd=ROOT, check=True)
        return target.read_text(encoding="utf-8").strip()


def threads() -> str:
    """Run the benchmark of threads, which prints a plain table."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_threads"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return f"```text\n{done.stdout.rstrip()}\n```"


def section(title: str, text: str, measured: str) -> str:
    """Write one section of the page."""
    return f"## {title}\n\n{text}\n\n{measured}\n"


def with_section(page: str, title: str, new: str) -> str:
    """Put a section in the place of the one of that title."""
    old = re.compile(
        rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL
    )
    if not old.search(page):
        raise ValueError(f"{PAGE.name} has no section {title!r}.")
    return old.sub(lambda _: f"{new}\n", page).rstrip("\n") + "\n"


def main() -> None:
    """Write the page, or one of its sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the sixteen tables")
    parser.add_argument("--only", metavar="TITLE", help="make this section alone anew")
    arguments = parser.parse_args()

    parts = [
        section(title, text, table(module, arguments.data))
        for title, module, text in SECTIONS
        if arguments.only in (None, title)
    ]
    if arguments.only in (None, "Threads"):
        parts.append(section("Threads", THREADS, threads()))
    page = "\n".join([HEAD, *parts])
    if arguments.only is not None:
        old = PAGE.read_text(encoding="utf-8")
        page = with_section(old, arguments.only, "".join(parts))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
