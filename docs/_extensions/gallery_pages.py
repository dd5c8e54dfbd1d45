"""How the examples of the gallery are run and ordered."""

import warnings
from pathlib import Path

# The order of reading. An example that is not listed comes after these.
ORDER = ()

STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "font.size": 10,
}


def reading_order(filename: str) -> tuple[int, str]:
    """The place of an example in its section, as a key to sort by."""
    name = Path(filename).stem.removeprefix("plot_")
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def plain_state(_conf: dict, _filename: str) -> None:
    """Before each example: its pictures alike, and its warnings errors."""
    import matplotlib  # here: the tests read this file without it

    matplotlib.rcParams.update(STYLE)
    warnings.simplefilter("error")
    # Other packages may warn of each other; what concerns us is ours and its users'.
    for category in (DeprecationWarning, FutureWarning, ImportWarning):
        warnings.filterwarnings("ignore", category=category)


def setup(app):
    return {"parallel_read_safe": True, "parallel_write_safe": True}
