"""Run the README's Python blocks and put what they print into the blocks below them.

Run it from a checkout: ``python docs/scripts/readme_output.py``.
"""

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
EXAMPLE = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", flags=re.DOTALL)


NAMES: dict[str, object] = {"__name__": "__main__"}  # later blocks go on with them


def with_output(example: re.Match[str]) -> str:
    """Give the code block again, and below it what it prints now."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example[1], README.name, "exec"), NAMES)
    return f"```python\n{example[1]}```\n\n```text\n{printed.getvalue()}```"


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    README.write_text(EXAMPLE.sub(with_output, text), encoding="utf-8")
