"""How the examples of the gallery are run and ordered."""

import warnings
from pathlib import Path

# The order of reading. An example that is not listed comes after these.
ORDER = (
    # the lesson
    "neuron_logit",
    "linear_layers",
    "hidden_layers",
    "softmax",
    "universal_approximation",
    "gradient_descent",
    "stochastic_descent",
    "back_propagation",
    "vanishing_gradients",
    "gpu",
    # applications
    "wages",
    "logit_effects",
    "grid_search",
    "ensembles_intervals",
    "double_machine_learning",
)

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


_around_an_example = warnings.catch_warnings()


def plain_state(_conf: dict, _filename: str, when: str) -> None:
    """Around an example: its pictures like all others, and its warnings errors."""
    import matplotlib  # here: the tests read this file without it

    if when == "after":
        _around_an_example.__exit__()
        return
    matplotlib.rcParams.update(STYLE)
    _around_an_example.__init__()
    _around_an_example.__enter__()
    warnings.simplefilter("error")
    # What packages warn their developers of is not for the reader of an example.
    for category in (DeprecationWarning, FutureWarning, ImportWarning):
        warnings.filterwarnings("ignore", category=category)


def setup(app):
    return {"parallel_read_safe": True, "parallel_write_safe": True}
