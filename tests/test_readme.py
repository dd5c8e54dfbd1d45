"""The README prints what it shows, and its commands stand where CI looks for them."""

import contextlib
import io
import re
import runpy
from itertools import pairwise
from pathlib import Path

import pytest
from pages import check

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"-?\d+\.\d+")


def command(name):
    pattern = rf"^<!-- command: {name} -->\n```sh\n(.*?)^```$"
    return re.findall(pattern, README, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "last"),
    [("main", "-m sklearn_ann compare"), ("test", "-m pytest -n 2 --cov")],
)
def test_commands_are_one_line_with_all_the_set_up(name, last):
    (text,) = command(name)
    (line,) = text.splitlines()
    steps = line.split(" && ")
    assert steps[0].startswith("python3 -m venv ")
    assert "pip install -c constraints-dev.txt" in steps[1]
    assert steps[2].endswith(last)
    assert len(steps) == 3


def test_python_blocks_run_and_print_what_is_shown():
    shown = dict(pairwise(BLOCKS))
    python = [block for block in BLOCKS if block[0] == "python"]
    assert python
    names = {"__name__": "__main__"}  # a later block goes on with what is there
    for block in python:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block[1], "README.md", "exec"), names)
        language, expected = shown[block]
        assert language == "text"
        check_output(printed.getvalue(), expected)


def check_output(printed, expected):
    """Same words; scores as shown up to the machine; times may be anything."""
    if "R2" not in expected:
        check(printed, expected)
        return
    assert words(printed) == words(expected)
    assert scores(printed) == pytest.approx(scores(expected), abs=0.01)


def words(text):
    return re.sub(r"[-+<]?\d+(\.\d+)?|-{3,}", " ", text).split()


def scores(text):
    """R2 and RMSE of each model: the first and third number of its row."""
    rows = re.findall(r"^(?:OLS|network) .*\(.*$", text, flags=re.MULTILINE)
    assert len(rows) == 2
    return [float(NUMBER.findall(row)[i]) for row in rows for i in (0, 2)]


def test_images_are_those_that_their_script_draws(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    path = ROOT / "docs" / "scripts" / "readme_images.py"
    drawn = runpy.run_path(str(path))["IMAGES"]
    shown = re.findall(r"!\[[^]]*\]\(docs/images/(.*?)\)", README)
    assert sorted(shown) == sorted(drawn)
    for name, draw in drawn.items():
        draw(tmp_path / name)
        ours = pyplot.imread(ROOT / "docs" / "images" / name)
        again = pyplot.imread(tmp_path / name)
        assert again.shape == ours.shape
        # Other versions of matplotlib may place a letter elsewhere, not a line.
        assert abs(again - ours).mean() < 0.01


def test_the_check_sees_other_words_and_other_scores():
    expected = next(text for kind, text in BLOCKS if kind == "text")
    first = NUMBER.search(expected)[0]
    check_output(expected, expected)
    with pytest.raises(AssertionError):
        check_output(expected.replace("network", "forest"), expected)
    with pytest.raises(AssertionError):
        check_output(expected.replace(first, "0.9999"), expected)
