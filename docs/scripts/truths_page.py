"""Run the benchmarks of defaults on drawn data and write what they print to a page.

    python docs/scripts/truths_page.py [--short]

Writes `docs/accuracy_on_drawn_data.md`. Most of its time goes into linear data, whose
draws are kept; what a benchmark has printed is kept too, in
build/truths, and not measured again until it is deleted. --short leaves out the largest
tables.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "accuracy_on_drawn_data.md"
BUILD = ROOT / "build" / "truths"

HEAD = """\
# Accuracy where the truth is known

What the defaults reach on data that are drawn, and what changes of a table cost them.
Each table is what the benchmark named above it prints; `docs/scripts/truths_page.py`
runs them and writes this page. Everything is measured on one core.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the page.

    Attributes
    ----------
    title, text : str
    command : tuple of str
        A module of `tests.benchmarks`, and its arguments.
    short : tuple of str
        Its arguments under --short.
    """

    title: str
    text: str
    command: tuple[str, ...]
    short: tuple[str, ...]


PARTS = (
    Part(
        "Nothing to find",
        "Linear data and noise: R2 on 20,000 fresh rows, means over 50 draws. The "
        "difference is to the better of OLS and the mean, and may be -.01.",
        ("bench_linear_truth",),
        ("--rows", "100", "300", "1000"),
    ),
    Part(
        "Something to find",
        "Friedman's functions, steps, and a checkerboard's classes, with noise: R2 or "
        "accuracy on 10,000 fresh rows, means over draws. The share is how far the "
        "network came from the linear model to the truth itself.",
        ("bench_curved_truth",),
        ("--rows", "1000"),
    ),
    Part(
        "Other units, and columns of noise",
        "The same rows, changed: R2 that the change costs, mean over seeds, and the "
        "standard error of that mean; then what the noise costs peers.",
        ("bench_changed_tables", "--peers", "linear", "catboost"),
        ("--seeds", "3"),
    ),
    Part(
        "Time",
        "Seconds of the default fit as rows grow, and seconds a row over the first "
        "line's; then the default fit beside CatBoost's, seconds and the median ratio "
        "of fits in turns.",
        ("bench_growing_tables",),
        ("--most", "30000"),
    ),
)


def printed(part: Part, short: bool) -> str:
    """Return what a benchmark has printed, now or before."""
    module, *arguments = (*part.command, *(part.short if short else ()))
    kept = BUILD / f"{module}.txt"
    if not kept.exists():
        command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
        found = subprocess.run(
            command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE
        )
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(found.stdout, encoding="utf-8")
    return kept.read_text(encoding="utf-8").strip()


def main() -> None:
    """Write the page."""
    short = "--short" in sys.argv[1:]
    blocks = [HEAD.strip()]
    for part in PARTS:
        text = f"{part.text} (`python -m tests.benchmarks.{part.command[0]}`)"
        blocks.append(
            f"## {part.title}\n\n{text}\n\n```text\n{printed(part, short)}\n```"
        )
    PAGE.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
