"""The diagram of a network: inputs by name, hidden units, outputs, edges by weight."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .canvas import ACCENT, INK, axes, shortened, shown
from .diagram import Diagram, diagram_of
from .opening import network_in, one_of

# Hidden layers beyond these are left out.
MOST_LAYERS = 6
UNSIGNED = "0.45"
# Widths in points, of the weakest and the strongest edge of a layer.
THIN, THICK = 0.3, 3.2
LONGEST_LABEL = 24
LETTER = 0.085  # inches that one takes, about
# Room above and below the units for the curves of a linear skip, in rows.
SKIP_ROOM = 1.4


@dataclass(slots=True, eq=False, repr=False)
class NetworkDisplay:
    """A fitted network as a diagram.

    Make it with `from_estimator`. Edges are as wide as their weights are large among
    those of their layer, full and dark where positive, dashed and light where negative.
    An input that enters as several numbers, a column of categories or an embedded one,
    is one unit: its edges, in grey, are as wide as the root mean square of its weights,
    and the number of numbers stands behind its name. A linear skip is drawn as curves
    from inputs to outputs, around the hidden layers.

    Parameters
    ----------
    names : tuple of tuple of str
        Of the units of each layer: inputs, hidden layers, outputs.
    weights : tuple of ndarray of shape (units of a layer, units of the next)
        As trained: of standardised columns, where they are.
    skip : ndarray of shape (inputs, outputs) or None
        Weights of the linear skip.
    counts : ndarray of int of shape (inputs,)
        How many numbers each input enters as.
    activations : tuple of str
        One for each hidden layer.
    max_units : int
        Units that are drawn of a layer; of more, the first and the last are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on, after `plot`.
    figure_ : matplotlib Figure
        The figure that it belongs to.
    """

    names: tuple[tuple[str, ...], ...]
    weights: tuple[np.ndarray, ...]
    skip: np.ndarray | None
    counts: np.ndarray
    activations: tuple[str, ...]
    max_units: int = 10
    ax_: Any = None
    figure_: Any = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        member: int = 0,
        max_units: int = 10,
        feature_names: Any = None,
        output_names: Any = None,
        ax: Any = None,
    ) -> NetworkDisplay:
        """Draw a fitted network.

        Parameters
        ----------
        estimator : fitted estimator
            An ANNRegressor or ANNClassifier, alone or in a Pipeline or search. In a
            Pipeline its inputs are the columns that the transformers make.
        member : int, default=0
            Which network of an ensemble.
        max_units : int, default=10
            Units that are drawn of a layer, at least 2. Of more, the first and the last
            are drawn, with dots between them; of more than six hidden layers, the first
            five and the last.
        feature_names : sequence of str, default=None
            Names of the inputs; by default those of the columns in ``fit``.
        output_names : sequence of str, default=None
            Names of the outputs; by default those of the classes, or y.
        ax : matplotlib Axes, default=None
            By default a new one.

        Returns
        -------
        NetworkDisplay

        Raises
        ------
        TypeError
            When there is no network inside.
        ValueError
            For a member that does not exist, fewer than two units, and names that are
            not as many as the inputs, or the outputs.
        sklearn.exceptions.NotFittedError
            Before it is fitted.
        ImportError
            Without matplotlib.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_ann import ANNClassifier
        >>> from sklearn_ann.plotting import NetworkDisplay
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> network = ANNClassifier(5, "tanh", solver="lbfgs", alpha=1, random_state=0)
        >>> display = NetworkDisplay.from_estimator(network.fit(X, y))
        >>> [len(layer) for layer in display.names]
        [4, 5, 3]
        """
        core, transformers = network_in(estimator)
        network = one_of(core, member)
        if max_units < 2:
            raise ValueError(f"max_units must be at least 2; got {max_units!r}.")
        names = _names(network, transformers, feature_names)
        found: Diagram = diagram_of(network, names)
        *layers, outputs = found.names
        if output_names is not None:
            outputs = _given(output_names, len(outputs), "output")
        return cls(
            (*layers, outputs),
            found.weights,
            found.skip,
            found.counts,
            found.activations,
            max_units,
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> NetworkDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            By default a new one, larger for more units and layers.

        Returns
        -------
        NetworkDisplay
            This one, with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        layers = _places(self)
        rows = max(layer.rows for layer in layers)
        self.ax_ = axes(ax, 3.0 + 1.7 * (len(layers) - 1), 1.4 + 0.36 * max(rows, 4))
        self.figure_ = self.ax_.figure
        _set_limits(self, layers, rows)
        _draw_edges(self, layers)
        if self.skip is not None:
            _draw_skip(self, layers)
        for layer in layers:
            _draw_layer(self, layer, rows)
        return self


@dataclass(frozen=True, slots=True)
class _Layer:
    """Where a layer is drawn: its number, its units, their places.

    ``gap`` is the height of the dots that stand for the units left out.
    """

    number: int
    x: float
    units: np.ndarray
    y: np.ndarray
    rows: int
    gap: float | None


def _names(network: Any, transformers: tuple, given: Any) -> list[str] | None:
    """Names of the inputs, as given or as the transformers call them."""
    if given is not None:
        return list(_given(given, network.n_features_in_, "feature"))
    if not transformers or hasattr(network, "feature_names_in_"):
        return None
    try:
        names = [str(name) for name in transformers[-1].get_feature_names_out()]
    except (AttributeError, ValueError):  # not every transformer can tell
        return None
    # The names of a ColumnTransformer's parts are of no interest here.
    short = [name.split("__", 1)[-1] for name in names]
    return short if len(set(short)) == len(short) else names


def _given(names: Any, n: int, what: str) -> tuple[str, ...]:
    names = tuple(map(str, names))
    if len(names) != n:
        raise ValueError(
            f"{what}_names must have {n} names, one for each {what}; got {len(names)}."
        )
    return names


# ------------------------------------------------------------------------------- places


def _places(display: NetworkDisplay) -> list[_Layer]:
    """Lay out the layers that are drawn, and a gap where some are left out."""
    numbers = list(range(len(display.names)))
    hidden = numbers[1:-1]
    if len(hidden) > MOST_LAYERS:
        numbers = [0, *hidden[: MOST_LAYERS - 1], hidden[-1], numbers[-1]]
    return [
        _place(number, float(x), len(display.names[number]), display.max_units)
        for x, number in enumerate(numbers)
    ]


def _place(number: int, x: float, n: int, most: int) -> _Layer:
    """Place the units of one layer, the first on top, around the height 0."""
    if n <= most:
        return _Layer(number, x, np.arange(n), (n - 1) / 2 - np.arange(n), n, None)
    units = np.array([*range(most - 1), n - 1])
    heights = most / 2 - np.array([*range(most - 1), most])
    return _Layer(number, x, units, heights, most + 1, most / 2 - (most - 1))


def _set_limits(display: NetworkDisplay, layers: list[_Layer], rows: int) -> None:
    """Leave room for the names at both sides, whatever the size of the axes."""
    ax = display.ax_
    box = ax.get_position()
    width = box.width * display.figure_.get_figwidth()
    left, right = (
        0.3 + LETTER * max(map(len, labels))
        for labels in (_labels(display, layers[0]), _labels(display, layers[-1]))
    )
    inner = max(width - left - right, 0.35 * width)
    span = len(layers) - 1
    ax.set_xlim(-left / inner * span, span * (1 + right / inner))
    reach = _reach(display, rows)
    ax.set_ylim(-reach - 1.1, reach + 0.4)
    ax.axis("off")


def _reach(display: NetworkDisplay, rows: int) -> float:
    """How far the picture goes up and down from its middle."""
    return rows / 2 + (SKIP_ROOM if display.skip is not None else 0.0)


# ------------------------------------------------------------------------------ drawing


def _draw_edges(display: NetworkDisplay, layers: list[_Layer]) -> None:
    from matplotlib.collections import LineCollection

    for here, there in pairwise(layers):
        if there.number - here.number > 1:  # layers between them are left out
            middle = (here.x + there.x) / 2
            display.ax_.text(middle, 0, r"$\cdots$", ha="center", va="center", size=16)
            continue
        weights = display.weights[here.number]
        looks, lines = [], []
        for i, y in zip(here.units, here.y, strict=True):
            for j, to in zip(there.units, there.y, strict=True):
                lines.append([(here.x, y), (there.x, to)])
                looks.append(_look(display, weights, i, j, here.number == 0))
        display.ax_.add_collection(LineCollection(lines, zorder=1, **_columns(looks)))


def _draw_skip(display: NetworkDisplay, layers: list[_Layer]) -> None:
    """Curves from inputs to outputs, above the hidden layers and below them."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    assert display.skip is not None
    first, last = layers[0], layers[-1]
    rows = max(layer.rows for layer in layers)
    outer = max(np.abs(first.y).max(), 0.5)
    codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    for i, y in zip(first.units, first.y, strict=True):
        for j, to in zip(last.units, last.y, strict=True):
            # The middle of a curve is the mean of its ends and thrice its handles.
            peak = rows / 2 + 0.3 + 0.7 * abs(y) / outer
            high = ((1 if y >= 0 else -1) * peak * 8 - y - to) / 6
            handles = [(first.x + 0.35, high), (last.x - 0.35, high)]
            path = Path([(first.x, y), *handles, (last.x, to)], codes)
            look = _look(display, display.skip, i, j, True)
            display.ax_.add_patch(PathPatch(path, fill=False, zorder=0.5, **look))
    middle = ((first.x + last.x) / 2, rows / 2 + 1.15)
    display.ax_.text(*middle, "linear skip", ha="center", size="small")


def _look(
    display: NetworkDisplay, weights: np.ndarray, i: int, j: int, from_input: bool
) -> dict[str, Any]:
    """Width, colour and style of an edge."""
    largest = np.abs(weights).max()
    share = abs(weights[i, j]) / largest if largest > 0 else 0.0
    negative = weights[i, j] < 0
    unsigned = from_input and display.counts[i] > 1
    return {
        "linewidth": THIN + (THICK - THIN) * share,
        "edgecolor": UNSIGNED if unsigned else ACCENT if negative else INK,
        "linestyle": (0, (3.0, 1.5)) if negative else "-",
        "alpha": 0.2 + 0.8 * share**2,
    }


def _columns(looks: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Turn the looks of many edges into what a collection takes."""
    names = {"linewidth": "linewidths", "edgecolor": "colors"}
    names |= {"linestyle": "linestyles", "alpha": "alpha"}
    return {names[own]: [look[own] for look in looks] for own in names}


def _draw_layer(display: NetworkDisplay, layer: _Layer, rows: int) -> None:
    ax = display.ax_
    box = ax.get_window_extent()
    low, high = ax.get_ylim()
    unit = box.height / (high - low) * 72 / display.figure_.dpi  # points a row takes
    size = min(14.0, 0.62 * unit)
    is_end = layer.number in (0, len(display.names) - 1)
    look = {
        "markerfacecolor": "white" if is_end else "0.85",
        "markeredgecolor": "black",
    }
    x = np.full(len(layer.y), layer.x)
    ax.plot(x, layer.y, "o", markersize=size, zorder=2, **look)
    if layer.gap is not None:
        spots = layer.gap + np.array([-0.25, 0.0, 0.25])
        ax.plot(np.full(3, layer.x), spots, ".", color="black", markersize=2.5)
    _write_names(display, layer, size)
    foot = (layer.x, -_reach(display, rows) - 0.2)
    ax.text(*foot, _caption(display, layer), ha="center", va="top", size="small")


def _write_names(display: NetworkDisplay, layer: _Layer, size: float) -> None:
    last = len(display.names) - 1
    if layer.number not in (0, last):
        for unit, y in zip(layer.units, layer.y, strict=True):
            place = {"ha": "center", "va": "center", "size": 0.5 * size}
            display.ax_.text(layer.x, y, str(unit + 1), **place)
        return
    side, align = (-1, "right") if layer.number == 0 else (1, "left")
    labels = _labels(display, layer)
    for label, y in zip(labels, layer.y, strict=True):
        display.ax_.annotate(
            shown(label, LONGEST_LABEL + 8),
            (layer.x, y),
            (side * (size / 2 + 4), 0),
            textcoords="offset points",
            ha=align,
            va="center",
        )


def _labels(display: NetworkDisplay, layer: _Layer) -> list[str]:
    """Names of the units drawn, as they are written, but for dollar signs."""
    names = display.names[layer.number]
    labels = []
    for unit in layer.units:
        name = shortened(names[unit], LONGEST_LABEL)
        if layer.number == 0 and display.counts[unit] > 1:
            name += f" ({display.counts[unit]})"
        labels.append(name)
    return labels


def _caption(display: NetworkDisplay, layer: _Layer) -> str:
    count = len(display.names[layer.number])
    if layer.number == 0:
        return f"{count} input{'s' * (count > 1)}"
    if layer.number == len(display.names) - 1:
        return f"{count} output{'s' * (count > 1)}"
    return f"{count} {display.activations[layer.number - 1]}"
