"""A comparison as one web page that stands alone: tables, plots, how to repeat it."""

import html
import io
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from .comparison_result import Comparison
from .comparison_tables import headline
from .plotting.canvas import check_matplotlib
from .plotting.comparison import ComparisonDisplay

STYLE = """
body { font-family: Georgia, serif; line-height: 1.5; max-width: 60rem;
       margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2, caption, th, td, pre { font-family: Helvetica, Arial, sans-serif; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid;
        font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: bold; padding: .4rem 0; }
th, td { padding: .12rem .8rem; white-space: nowrap; }
tbody { border-top: 1px solid; }
table + p { font-size: .85rem; color: #555; }
div { overflow-x: auto; }
pre { background: #f4f4f4; padding: .8rem; white-space: pre-wrap;
      font-family: Menlo, Consolas, monospace; }
svg { max-width: 100%; height: auto; }
footer { font-size: .8rem; color: #555; margin-top: 2rem; }
"""
PACKAGES = ("sklearn-ann", "scikit-learn", "torch", "numpy")


def html_report(
    result: Comparison, title: str, paragraphs: Sequence[str], command: str
) -> str:
    """Write a comparison as a page that needs no other file.

    Parameters
    ----------
    result : Comparison
    title : str
    paragraphs : sequence of str
        What it is about, and what it shows.
    command : str
        What makes the same page again.

    Returns
    -------
    str
        HTML, the plots inside it as SVG.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    check_matplotlib()
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        *(f"<p>{html.escape(text)}</p>" for text in paragraphs),
        "<h2>Scores</h2>",
        f"<p>{html.escape(headline(result))}.</p>",
        result.score_table().to_html(),
        _plot(result, "score"),
    ]
    if len(result.models) > 1:
        parts += [
            "<h2>Differences</h2>",
            result.difference_table().to_html(),
            _plot(result, "difference"),
        ]
    parts += [
        f"<h2>{'Effects and fit' if result.fits else 'Side by side'}</h2>",
        result.table(stars=bool(result.fits)).to_html(),
        "<h2>How to repeat it</h2>",
        f"<pre>{html.escape(command)}</pre>",
        f"<footer>{html.escape(_versions())}</footer>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{chr(10).join(parts)}\n</body>\n</html>\n"
    )


def _plot(result: Comparison, kind: str) -> str:
    """Draw as SVG, without a window and without what changes from run to run."""
    import matplotlib
    from matplotlib.figure import Figure

    n_models = len(result.models) - (kind == "difference")
    figure = Figure(figsize=(7.5, 1.6 + 0.45 * n_models), layout="constrained")
    axes = figure.subplots()
    ComparisonDisplay.from_comparison(result, kind=kind, ax=axes)
    drawn = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": f"sklearn_ann {kind}"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    label = html.escape(axes.get_xlabel())
    return (
        f'<figure role="img" aria-label="{label}">{text[text.index("<svg") :]}</figure>'
    )


def _versions() -> str:
    installed = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return f"Made by {installed}, Python {platform.python_version()}."


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from a checkout"
