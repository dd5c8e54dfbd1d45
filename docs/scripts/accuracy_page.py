"""Run the accuracy benchmark and write `docs/accuracy.md` from what it prints.

With ``--ablation`` the tables of `docs/accuracy_ablation.md` instead, below the words
that stand there.

    pip install -e '.[accuracy]'
    python -m tests.benchmarks.accuracy --install
    python docs/scripts/accuracy_page.py

The ablation is twenty times the work of our own fits. Results that are known are not
measured again. Arguments go to the benchmark.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "accuracy.md"
ABLATION = ROOT / "docs" / "accuracy_ablation.md"

HEAD = """\
# Accuracy on real tables

Sixteen data sets that Python packages carry inside, the same rows for every model, and
defaults everywhere: what a user gets who tunes nothing. Measured by
`python -m tests.benchmarks.accuracy`, written to this page by
`docs/scripts/accuracy_page.py`.

A quarter of the rows is for testing, stratified by class, and of both parts at most
3000 and 4000 rows are used, drawn anew for every seed. Regression targets are logs
where the list of sets says so, and standardised. The summary of a model is its gain
over the linear model, OLS or logit on the same columns: 0 is the linear model, 1 would
be a perfect one. The mean says how good a model is, the minimum whether it ever
embarrasses its user. What the ingredients of our defaults are worth is on
[a page of its own](accuracy_ablation.md).
"""


def tables(arguments: list[str]) -> str:
    """Run the benchmark and return the tables that it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "tables.md"
        command = [sys.executable, "-m", "tests.benchmarks.accuracy", *arguments]
        subprocess.run([*command, "--markdown", str(target)], cwd=ROOT, check=True)
        return target.read_text(encoding="utf-8")


def main() -> None:
    """Write the page."""
    measured = tables(sys.argv[1:])
    if "--ablation" in sys.argv:
        # Tables begin with the date of their measurement.
        words = ABLATION.read_text(encoding="utf-8").partition("\n20")[0]
        ABLATION.write_text(f"{words}\n{measured}", encoding="utf-8")
    else:
        PAGE.write_text(f"{HEAD}\n{measured}", encoding="utf-8")


if __name__ == "__main__":
    main()
