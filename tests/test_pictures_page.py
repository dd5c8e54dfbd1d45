"""The page on pictures prints what it shows, and its images are what it draws."""

import re
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DOCS / "scripts" / "pictures_images.py"))


@pytest.fixture(scope="module")
def run(script):
    found = script["run_page"]()
    yield found
    plt.close("all")


def test_the_page_prints_what_it_shows(run):
    shown = [pair for pair in run[1] if pair[1]]
    assert len(shown) == 5
    for printed, expected in shown:
        assert printed == expected


def test_images_are_what_the_page_draws(run, script, tmp_path):
    script["save"](run[0], tmp_path)
    page = (DOCS / "pictures.md").read_text(encoding="utf-8")
    assert re.findall(r"!\[[^]]*\]\(images/(.*?)\)", page) == [
        *script["IMAGES"].values()
    ]
    for file in script["IMAGES"].values():
        ours, again = (plt.imread(path / file) for path in (DOCS / "images", tmp_path))
        assert again.shape == ours.shape
        # Other versions of matplotlib may place a letter elsewhere, not a line.
        assert abs(again - ours).mean() < 0.01
