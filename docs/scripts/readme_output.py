"""Run the Python blocks of pages and put what they print into the blocks below them.

Run it from a checkout with the extras ``test`` and ``causal``, for some pages or all
that show what their code prints: ``python docs/scripts/readme_output.py [PAGE ...]``.
"""

import contextlib
import io
import re
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHOWN = "```\n\n```text\n"
EXAMPLE = re.compile(r"```python\n(.*?)```(\n\n```text\n.*?```)?", flags=re.DOTALL)


def with_output(example: re.Match[str], names: dict[str, object]) -> str:
    """Give the code block again, and below it what it prints now."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example[1], "page", "exec"), names)
    code, output = f"```python\n{example[1]}```", f"```text\n{printed.getvalue()}```"
    return f"{code}\n\n{output}" if example[2] else code


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:] or PAGES):
        text = page.read_text(encoding="utf-8")
        if SHOWN in text:
            # Later blocks of a page go on with the names of earlier ones.
            output = partial(with_output, names={"__name__": "__main__"})
            page.write_text(EXAMPLE.sub(output, text), encoding="utf-8")
