"""The pages name every public name, print what they show, and have no broken link."""

import importlib.util
from pathlib import Path

import pytest
from pages import check, check_page

import sklearn_ann
from sklearn_ann import plotting

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Pages whose subject has no test file of its own that runs them.
PAGES = ("beside_linear", "big_data", "first_network", "tuning")


def extension(name):
    """A module of docs/_extensions, without Sphinx."""
    spec = importlib.util.spec_from_file_location(
        name, DOCS / "_extensions" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sklearn_ann.__all__)
def test_the_reference_has_every_public_name(name):
    lines = (DOCS / "api.rst").read_text(encoding="utf-8").splitlines()
    assert f"   {name}" in lines, f"{name} has no line in docs/api.rst"


def test_the_reference_has_every_picture():
    lines = (DOCS / "api.rst").read_text(encoding="utf-8").splitlines()
    displays = [name for name in vars(plotting) if name.endswith("Display")]
    assert displays
    for name in displays:
        assert f"   plotting.{name}" in lines, f"{name} has no line in docs/api.rst"


def functions_and_classes():
    """Public names with a docstring of their own: no constants, no errors."""
    public = [getattr(sklearn_ann, name) for name in sklearn_ann.__all__]
    public = [each for each in public if callable(each)]
    return [e for e in public if not (isinstance(e, type) and issubclass(e, Exception))]


@pytest.mark.parametrize("public", functions_and_classes())
def test_every_public_name_has_an_example(public):
    """They are run as doctests, by the options in pyproject.toml."""
    text = public.__doc__
    assert "\n    Examples\n    --------\n" in text
    assert ">>> " in text.partition("Examples\n")[2]


# Dask's own call, of which pandas 3.1 warns.
@pytest.mark.filterwarnings("ignore:The inplace keyword in:DeprecationWarning")
@pytest.mark.parametrize("page", PAGES)
def test_the_page_prints_what_it_shows(page):
    check_page(page)


def test_pages_that_print_something_else_are_found():
    check("a  1.20 (0.3)\n---\n", "a  1.21 (0.3)\n-----\n")
    for other in (
        "b 1.20 (0.3)",
        "a 1.22 (0.3)",
        "a 1.2",
        "a 1.20 (0.3) 4",
        "a -1.20 (0.3)",
    ):
        with pytest.raises((AssertionError, ValueError)):
            check(other, "a 1.20 (0.3)")
    with pytest.raises(AssertionError):
        check("12 rows", "13 rows")


SITE = {
    "index.html": """<h1 id="top">A</h1><a href="other.html#place">fine</a>
        <a href="#top">fine</a> <a href="https://example.org/x#y">not ours</a>
        <a href="other.html#elsewhere">broken</a> <img src="none.png">""",
    "sub/page.html": """<a href="../other.html">fine</a> <a href="..">fine</a>
        <a href="other.html">broken</a>""",
    "other.html": """<p id="place">B</p><a href="a%20name.txt">fine</a>""",
    "a name.txt": "a file",
}


def test_links_that_lead_nowhere_are_found(tmp_path):
    for name, text in SITE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert extension("internal_links").broken_links(tmp_path) == [
        ("index.html", "none.png"),
        ("index.html", "other.html#elsewhere"),
        ("sub/page.html", "other.html"),
    ]


def test_the_gallery_has_an_order_for_its_examples():
    order = extension("gallery_pages").ORDER
    files = {path.stem.removeprefix("plot_") for path in ROOT.glob("examples/plot_*")}
    assert sorted(order) == sorted(files)
