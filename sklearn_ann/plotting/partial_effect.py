"""Average prediction, or effect, along one column, with a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..profiles import Profile, profile
from ..reading import read
from .canvas import axes, bare, legend_above, look, shown

# Marks of the data at the foot of the picture: these many at most, evenly spaced.
MOST_MARKS = 300


@dataclass(slots=True, eq=False, repr=False)
class PartialEffectDisplay:
    """Average prediction, or average effect, along one column.

    Make it with `from_estimator`. G values of the column, m outputs or classes.

    Parameters
    ----------
    feature : str
        Name of the column.
    grid : ndarray of shape (G,)
        Its values; or levels; or, for effects of levels, what is compared.
    values : ndarray of shape (G, m)
        Averages over the rows, all of them with the column set to the value.
    low, high : ndarray of shape (G, m) or None
        Ends of the band.
    outputs : tuple of m str
        Classes or outputs; blank for a single one.
    is_levels : bool
        Whether the column has levels rather than numbers.
    kind : {"prediction", "effect"}
    observed : ndarray
        Values of the column in the data.
    band : str
        What the band is; empty without.
    label : str
        What is averaged.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on, after `plot`.
    figure_ : matplotlib Figure
        The figure that it belongs to.
    """

    feature: str
    grid: np.ndarray
    values: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    outputs: tuple[str, ...]
    is_levels: bool
    kind: str
    observed: np.ndarray
    band: str
    label: str
    ax_: Any = None
    figure_: Any = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        feature: Any,
        *,
        kind: str = "prediction",
        replicates: Sequence[Any] | None = None,
        conf_level: float = 0.95,
        output: Any = None,
        grid: Any = 40,
        reference: Any = None,
        max_rows: int | None = 1000,
        ax: Any = None,
    ) -> PartialEffectDisplay:
        """Draw what an estimator says along one column.

        Parameters
        ----------
        estimator : fitted estimator
            Any; alone, in a Pipeline (the column is one of the raw table), in a search.
        X : table of shape (n, n_features)
            Rows to average over, such as those of the fit.
        feature : str or int
            The column, by name or number.
        kind : {"prediction", "effect"}, default="prediction"
            Average predictions, or probabilities, with all rows set to each value. Or
            average effects: for a number the slope at each value, for levels the
            contrast with the reference. An estimator that is no network has a change by
            one standard deviation in place of a slope.
        replicates : Replicates or sequence of fitted estimators, default=None
            Fits of the same model to other samples, as from `bootstrap_fits`: the band
            is then the bootstrap's interval of percentiles. Without them the members of
            an ensemble give a band from the lowest to the highest of them, which is no
            confidence interval.
        conf_level : float, default=0.95
            Of the bootstrap's interval.
        output : label or int, default=None
            The class, or the number of the output; by default all. A binary classifier
            has the probability of its second class.
        grid : int or array-like, default=40
            How many values of a number there are, between its outer percentiles, or
            which; of levels, how many of the most frequent ones, or which.
        reference : level, default=None
            What effects of levels compare with; by default the first.
        max_rows : int or None, default=1000
            Rows averaged over, evenly spaced in X; None for all of them.
        ax : matplotlib Axes, default=None
            By default a new one.

        Returns
        -------
        PartialEffectDisplay

        Raises
        ------
        ValueError
            When a word, a column, an output or a level makes no sense.
        sklearn.exceptions.NotFittedError
            Before it is fitted.
        ImportError
            Without matplotlib.

        References
        ----------
        Friedman, J. H. (2001). Greedy Function Approximation: A Gradient Boosting
        Machine. Annals of Statistics 29(5), 1189-1232.
        https://doi.org/10.1214/aos/1013203451

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import LinearRegression
        >>> from sklearn_ann.plotting import PartialEffectDisplay
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> line = LinearRegression().fit(X, y)
        >>> slope = PartialEffectDisplay.from_estimator(line, X, "bmi", kind="effect")
        >>> bool(abs(slope.values - line.coef_[2]).max() < 1e-6)
        True
        """
        if not 0 < conf_level < 1:
            raise ValueError(
                f"conf_level must lie between 0 and 1; got {conf_level!r}."
            )
        found = profile(
            estimator,
            X,
            feature,
            kind=kind,
            replicates=replicates,
            grid=grid,
            reference=reference,
            max_rows=max_rows,
        )
        chosen = _chosen(found, output)
        low, high, band = _band(found, replicates is not None, conf_level)
        return cls(
            found.name,
            found.grid,
            found.values[:, chosen],
            None if low is None else low[:, chosen],
            None if high is None else high[:, chosen],
            tuple(str(found.outputs[i]) for i in chosen),
            found.is_levels,
            kind,
            found.observed,
            band,
            _label(read(estimator), found),
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> PartialEffectDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            By default a new one.

        Returns
        -------
        PartialEffectDisplay
            This one, with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        rows = len(self.grid) * (1 + 0.4 * (len(self.outputs) - 1))
        height = max(1.3 + 0.3 * rows, 2.0) if self.is_levels else 4.0
        self.ax_ = axes(ax, height=height)
        self.figure_ = self.ax_.figure
        _draw_levels(self) if self.is_levels else _draw_numbers(self)
        _name_axes(self)
        bare(self.ax_, "top", "right")
        if self.band or any(self.outputs):
            legend_above(self.ax_, 4)
        return self


# ------------------------------------------------------------------ what is to be drawn


def _chosen(found: Profile, output: Any) -> list[int]:
    """Which outputs are drawn."""
    if output is None:
        return list(range(len(found.outputs)))
    places = [i for i, label in enumerate(found.outputs) if label == output]
    if not places:
        several = len(found.outputs) > 1
        known = ", ".join(map(repr, found.outputs)) if several else "a single one"
        raise ValueError(f"There is no output {output!r}; there is {known}.")
    return places


def _band(
    found: Profile, is_bootstrap: bool, level: float
) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    """Return the ends of the band, and its name."""
    if found.others is None:
        return None, None, ""
    if not is_bootstrap:
        name = f"range of {len(found.others)} members"
        return found.others.min(axis=0), found.others.max(axis=0), name
    tails = (0.5 - level / 2, 0.5 + level / 2)
    low, high = np.quantile(found.others, tails, axis=0)
    return low, high, f"{100 * level:g}% bootstrap interval"


def _label(reading: Any, found: Profile) -> str:
    classes = reading.classes
    what = "prediction" if classes is None else "probability"
    if classes is not None and len(found.outputs) == 1:
        what += f" of {shown(classes[-1], 20)}"
    if found.kind == "prediction":
        return f"average {what}"
    if found.is_levels:
        return f"average effect on the {what}"
    if found.contrast == "dY/dX":
        return f"average slope of the {what}"
    return f"average effect of {found.contrast} on the {what}"


# ------------------------------------------------------------------------------ drawing


def _draw_numbers(display: PartialEffectDisplay) -> None:
    ax, x = display.ax_, display.grid.astype(float)
    every = max(1, len(x) // 6)
    for i, name in enumerate(display.outputs):
        style = look(i)
        if len(display.outputs) == 1 and len(x) > 12:
            style["marker"] = ""
        if display.low is not None and display.high is not None:
            ends = (display.low[:, i], display.high[:, i])
            ax.fill_between(x, *ends, **_fill(style, display.band if i == 0 else None))
        ax.plot(
            x,
            display.values[:, i],
            markevery=(min(i * every // 4, len(x) - 1), every),
            markersize=5,
            label=shown(name) if name else "average",
            **style,
        )
    _draw_rug(display)


def _name_axes(display: PartialEffectDisplay) -> None:
    names = [shown(display.feature, 60), display.label]
    if display.is_levels:
        names.reverse()
    display.ax_.set_xlabel(names[0])
    display.ax_.set_ylabel(names[1])
    if display.kind == "effect":
        line = display.ax_.axvline if display.is_levels else display.ax_.axhline
        line(0, color="black", linewidth=0.8, zorder=0)


def _fill(style: dict[str, Any], band: str | None) -> dict[str, Any]:
    return {
        "color": style["color"],
        "alpha": 0.2,
        "linewidth": 0,
        "label": band,
    }


def _draw_rug(display: PartialEffectDisplay) -> None:
    """Mark the data at the foot of the picture."""
    observed = np.sort(display.observed.astype(float))
    inside = (observed >= display.grid.min()) & (observed <= display.grid.max())
    some = observed[inside]
    if len(some) > MOST_MARKS:
        some = some[np.linspace(0, len(some) - 1, MOST_MARKS).astype(int)]
    foot = display.ax_.get_xaxis_transform()
    look = {"color": "0.35", "markersize": 6, "markeredgewidth": 0.6}
    display.ax_.plot(some, np.full(len(some), 0.012), "|", transform=foot, **look)


def _draw_levels(display: PartialEffectDisplay) -> None:
    """Levels below each other, where long names have room."""
    ax, m = display.ax_, len(display.outputs)
    places = np.arange(len(display.grid))[::-1]
    shifts = np.zeros(1) if m == 1 else np.linspace(0.2, -0.2, m)
    for i, (name, shift) in enumerate(zip(display.outputs, shifts, strict=True)):
        style = look(i)
        if display.low is not None and display.high is not None:
            ends = (display.low[:, i], display.high[:, i])
            band = display.band if i == 0 else None
            ax.hlines(places + shift, *ends, color=style["color"], lw=1.6, label=band)
        marks = {"color": style["color"], "marker": style["marker"], "markersize": 6}
        label = shown(name) if name else "average"
        ax.plot(
            display.values[:, i], places + shift, linestyle="", label=label, **marks
        )
    ax.set_ylim(-0.6, len(places) - 0.4)
    ax.set_yticks(places, _level_names(display))


def _level_names(display: PartialEffectDisplay) -> list[str]:
    """Names of the levels, with the share of rows that have them."""
    names = [f"{v:g}" if isinstance(v, float) else shown(v, 40) for v in display.grid]
    if display.kind == "effect":
        return names
    shares = [np.mean(display.observed == level) for level in display.grid]
    return [f"{n} ({100 * s:.0f}%)" for n, s in zip(names, shares, strict=True)]
