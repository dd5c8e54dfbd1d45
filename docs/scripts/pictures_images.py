"""Draw the pictures of docs/pictures.md: run its code, and save what it drew.

Run it from a checkout, with matplotlib, after ``docs/scripts/readme_output.py
docs/pictures.md``: ``python docs/scripts/pictures_images.py``.
"""

import contextlib
import io
import re
from pathlib import Path

import matplotlib as mpl

DOCS = Path(__file__).parents[1]
PAGE = DOCS / "pictures.md"
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", flags=re.DOTALL)
# Names of the page's displays, and of their files.
IMAGES = {
    "losses": "pictures_losses.png",
    "flow": "pictures_gradients.png",
    "diagram": "pictures_network.png",
    "forest": "pictures_effects.png",
    "curve": "pictures_partial.png",
}


def run_page() -> tuple[dict[str, object], list[tuple[str, str]]]:
    """Names that the page's code leaves behind; what it printed, and what is shown."""
    mpl.use("Agg")
    names: dict[str, object] = {"__name__": "__main__"}
    printed = []
    for code, shown in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(code, PAGE.name, "exec"), names)
        printed.append((output.getvalue(), shown))
    return names, printed


def save(names: dict[str, object], folder: Path) -> None:
    """Save the pictures into a folder."""
    for name, file in IMAGES.items():
        names[name].figure_.savefig(folder / file, dpi=100)


if __name__ == "__main__":
    save(run_page()[0], DOCS / "images")
