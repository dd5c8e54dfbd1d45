"""Run the Python blocks of pages and put what they print into the blocks below them.

Run it from a checkout with the extras ``test`` and ``causal``:
``python docs/scripts/readme_output.py``.
"""

import contextlib
import io
import re
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("causal", "comparison", "effects", "intervals", "specification")
    ),
)
EXAMPLE = re.compile(r"```python\n(.*?)```(\n\n```text\n.*?```)?", flags=re.DOTALL)


def with_output(example: re.Match[str], names: dict[str, object]) -> str:
    """Give the code block again, and below it what it prints now."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example[1], "page", "exec"), names)
    code, output = f"```python\n{example[1]}```", f"```text\n{printed.getvalue()}```"
    return f"{code}\n\n{output}" if example[2] else code


if __name__ == "__main__":
    for page in PAGES:
        # Later blocks of a page go on with the names of earlier ones.
        output = partial(with_output, names={"__name__": "__main__"})
        text = page.read_text(encoding="utf-8")
        page.write_text(EXAMPLE.sub(output, text), encoding="utf-8")
