"""The page on comparisons prints what it shows."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "comparison.md"


def test_the_page_prints_what_it_shows(capsys):
    """Same words; scores and effects as shown, up to the machine."""
    import matplotlib.pyplot as plt

    blocks = re.findall(
        r"^```python\n(.*?)^```\n\n```text\n(.*?)^```",
        PAGE.read_text(encoding="utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    assert len(blocks) == 5
    names = {"__name__": "__main__"}
    for code, shown in blocks:
        exec(compile(code, PAGE.name, "exec"), names)
        printed = capsys.readouterr().out
        assert words(printed) == words(shown)
        assert bracketed(printed) == pytest.approx(bracketed(shown), abs=2e-3)
    plt.close("all")


def words(text):
    return re.sub(r"[-+<]?\d+(\.\d+)?(e-?\d+)?|-{3,}", " ", text).split()


def bracketed(text):
    """Standard errors, which do not depend on how fast the machine is."""
    return [float(each) for each in re.findall(r"\((\d+\.\d+)\)", text)]
