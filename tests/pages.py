"""Pages with Python on them: run, and compared with what they show."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(
    r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", flags=re.DOTALL | re.MULTILINE
)
NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(\.\d+)?(?:e([-+]\d+))?")


def blocks(page: str) -> list[tuple[str, str]]:
    """Python of a page of `docs`, and what it shows below each block, if anything."""
    return BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))


def run(page: str) -> Iterator[tuple[str, str]]:
    """Run a page's blocks in order, and yield what each printed and what is shown."""
    names = {"__name__": "__main__"}  # a later block goes on with what is there
    for code, shown in blocks(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{page}.md", "exec"), names)
        yield printed.getvalue(), shown


def check(printed: str, shown: str) -> None:
    """Same words, and the same numbers to the last place shown.

    As doctest's option NUMBER of pytest has it: processors round differently, and a
    number that lies between two others is printed as either.
    """
    assert words(printed) == words(shown)
    for ours, theirs in zip(
        NUMBER.finditer(printed), NUMBER.finditer(shown), strict=True
    ):
        gap = abs(value(ours) - value(theirs))
        assert gap <= 1.001 * last_place(theirs), (
            f"{ours[0]} printed, {theirs[0]} shown"
        )


def words(text: str) -> list[str]:
    """What is no number, and no rule that is drawn as long as a line."""
    return re.sub(r"[-=]{3,}", " ", NUMBER.sub(" # ", text)).split()


def value(number: re.Match[str]) -> float:
    return float(number[0].replace(",", ""))


def last_place(number: re.Match[str]) -> float:
    """What the last digit of a number as written counts; nothing for whole numbers."""
    places = len(number[1]) - 1 if number[1] else 0
    return 10.0 ** (int(number[2] or 0) - places) if places else 0.0


def check_page(page: str) -> None:
    """Run a page, and compare all that it shows with what it prints."""
    found = list(run(page))
    assert any(shown for _, shown in found)
    for printed, shown in found:
        check(printed, shown)
