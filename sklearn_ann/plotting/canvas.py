"""What all pictures share: axes to draw on, looks that greyscale keeps, short names.

Colours of one picture differ in lightness, and never alone: line styles, markers or
widths say the same.
"""

from __future__ import annotations

from typing import Any

INK, ACCENT, PALE = "#14304f", "#c8552f", "#b8c4d0"
# Series side by side, from dark to light; after the last it begins again.
SERIES = (
    {"color": INK, "linestyle": "-", "marker": "o"},
    {"color": ACCENT, "linestyle": "--", "marker": "s"},
    {"color": "#84b9c6", "linestyle": "-.", "marker": "^"},
    {"color": "#6a4c93", "linestyle": ":", "marker": "D"},
    {"color": "#d8b24a", "linestyle": (0, (6, 2, 1, 2, 1, 2)), "marker": "v"},
)
LONGEST_NAME = 28


def check_matplotlib() -> None:
    """Say what to install, where matplotlib is missing.

    Raises
    ------
    ImportError
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib: pip install 'sklearn-ann[plot]'."
        ) from error


def axes(ax: Any, width: float = 6.4, height: float = 4.0) -> Any:
    """Return the axes given, or those of a new figure of so many inches."""
    check_matplotlib()
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def look(i: int) -> dict[str, Any]:
    """Colour, line style and marker of the i-th series."""
    return dict(SERIES[i % len(SERIES)])


def shown(text: Any, longest: int = LONGEST_NAME) -> str:
    """Write a name: short, and its dollar signs no mathematics."""
    return shortened(text, longest).replace("$", r"\$")


def shortened(text: Any, longest: int = LONGEST_NAME) -> str:
    """Cut the middle of a long name: names often differ at their ends.

    Examples
    --------
    >>> shortened("gross domestic product per head and year")
    'gross domesti...ead and year'
    """
    text = str(text).replace("\n", " ")
    if len(text) <= longest:
        return text
    tail = (longest - 3) // 2
    return f"{text[: longest - 3 - tail]}...{text[-tail:]}"


def bare(ax: Any, *sides: str) -> None:
    """Take away the frame, but for the sides that are not named."""
    ax.spines[list(sides)].set_visible(False)


def count_along(ax: Any, n: int) -> None:
    """Let the horizontal axis count from 1 to n, with ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if n == 1:
        ax.set_xlim(0, 2)


def legend_above(ax: Any, columns: int, handles: Any = None) -> None:
    """Put the legend above the picture, where it covers nothing."""
    options = {} if handles is None else {"handles": handles}
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    look = {"frameon": False, "fontsize": "small", "handlelength": 1.9}
    ax.legend(ncols=columns, columnspacing=1.2, **look, **place, **options)
