"""Forest plots: effects with their intervals, of one model or of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..effects import average_marginal_effects
from ..estimates import Estimates
from .canvas import axes, bare, legend_above, look, shortened, shown

# Series side by side within a row; with more, classes and groups get rows of their own.
MOST_SERIES = 4
PLAIN = ("dY/dX", "1 - 0", "-", "")
LONGEST_ROW = 56
# Inches that a letter beyond these takes, by which a new figure is wider.
LETTER, LETTERS = 0.07, 24


@dataclass(slots=True, eq=False, repr=False)
class MarginalEffectsDisplay:
    """Effects, or other estimates, with their intervals.

    Make it with `from_result`, or `from_estimator`. S series stand side by side in each
    of R rows.

    Parameters
    ----------
    rows : tuple of R str
        What is estimated, from top to bottom.
    series : tuple of S str
        Models, classes, outputs or groups.
    estimate, low, high : ndarray of shape (S, R)
        Estimates and the ends of their intervals; nan where there is none.
    conf_level : float
    label : str
        What the estimates are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on, after `plot`.
    figure_ : matplotlib Figure
        The figure that it belongs to.
    """

    rows: tuple[str, ...]
    series: tuple[str, ...]
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    conf_level: float
    label: str
    ax_: Any = None
    figure_: Any = None

    @classmethod
    def from_result(
        cls,
        result: Estimates | Mapping[str, Estimates],
        *,
        terms: Any = None,
        conf_level: float | None = None,
        ax: Any = None,
    ) -> MarginalEffectsDisplay:
        """Draw estimates that have been computed.

        Parameters
        ----------
        result : Estimates, or mapping of str to Estimates
            As from `average_marginal_effects`, `average_predictions` or
            `coefficient_table`; a mapping puts several side by side, by name.
        terms : sequence of str, default=None
            Columns to draw, in this order; by default all.
        conf_level : float, default=None
            By default that of the (first) result.
        ax : matplotlib Axes, default=None
            By default a new one, higher for more rows.

        Returns
        -------
        MarginalEffectsDisplay

        Raises
        ------
        TypeError
            When it is no result of these functions.
        ValueError
            When there is nothing to draw, or no such term, or the level is no share.
        ImportError
            Without matplotlib.

        Notes
        -----
        Classes, outputs or groups stand side by side within a row, up to four of them
        together with the results; more get rows of their own. Where one result has the
        slope of a number and another its change by one, as debiased effects do, they
        share a row, which names both. An effect without standard error is a point, one
        that does not exist an empty place.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import LinearRegression
        >>> from sklearn_ann import average_marginal_effects
        >>> from sklearn_ann.plotting import MarginalEffectsDisplay
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> line = LinearRegression().fit(X, y)
        >>> effects = average_marginal_effects(line, X, y)
        >>> display = MarginalEffectsDisplay.from_result({"OLS": effects})
        >>> display.rows[:3], display.series
        (('age', 'sex', 'bmi'), ('OLS',))
        """
        results = result if isinstance(result, Mapping) else {"": result}
        _check_results(results)
        first = next(iter(results.values()))
        level = first.conf_level if conf_level is None else conf_level
        if not 0 < level < 1:
            raise ValueError(f"conf_level must lie between 0 and 1; got {level!r}.")
        numbers = _arranged(_long(results, level, terms), list(results))
        return cls(**numbers, conf_level=level, label=_label(first)).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, ax: Any = None, **options: Any
    ) -> MarginalEffectsDisplay:
        """Compute average marginal effects, and draw them.

        Parameters
        ----------
        estimator, X, y
            As for `average_marginal_effects`.
        ax : matplotlib Axes, default=None
            By default a new one, higher for more rows.
        **options
            For `average_marginal_effects`: ``features``, ``by``, ``vcov`` and the like.

        Returns
        -------
        MarginalEffectsDisplay

        Raises
        ------
        ValueError
            As for `average_marginal_effects`.
        ImportError
            Without matplotlib.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import LinearRegression
        >>> from sklearn_ann.plotting import MarginalEffectsDisplay
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> line = LinearRegression().fit(X, y)
        >>> display = MarginalEffectsDisplay.from_estimator(line, X, y, features="bmi")
        >>> bool(display.low[0, 0] < line.coef_[2] < display.high[0, 0])
        True
        """
        found = average_marginal_effects(estimator, X, y, **options)
        return cls.from_result(found, ax=ax)

    def plot(self, ax: Any = None) -> MarginalEffectsDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            By default a new one, higher for more rows.

        Returns
        -------
        MarginalEffectsDisplay
            This one, with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        step = 0.24 + 0.1 * min(len(self.series) - 1, 4)
        longest = min(max(map(len, self.rows)), LONGEST_ROW)
        width = 6.4 + LETTER * max(longest - LETTERS, 0)
        self.ax_ = axes(ax, width, 1.2 + step * len(self.rows))
        self.figure_ = self.ax_.figure
        _draw(self)
        return self


# ------------------------------------------------------------------ what is to be drawn


def _check_results(results: Mapping[str, Any]) -> None:
    if not results:
        raise ValueError("There is no result to draw: the mapping is empty.")
    for name, result in results.items():
        if not isinstance(result, Estimates):
            where = f" for {name!r}" if name else ""
            raise TypeError(
                "Expected the Estimates of average_marginal_effects, "
                f"average_predictions or coefficient_table{where}; got "
                f"{type(result).__name__}."
            )


def _long(results: Mapping[str, Estimates], level: float, terms: Any) -> pd.DataFrame:
    """One line for each estimate of each result: what it is, and its numbers."""
    frames = []
    for name, result in results.items():
        low, high = result.conf_int(level).T
        labels = result.labels.astype(str)
        rest = labels.columns[2:]
        within = labels[rest].agg(_joined, axis=1) if len(rest) else ""
        frames.append(
            pd.DataFrame(
                {
                    "result": name,
                    "term": labels["term"],
                    "contrast": labels["contrast"],
                    "within": within,
                    "estimate": result.estimate,
                    "low": low,
                    "high": high,
                }
            )
        )
    return _chosen(pd.concat(frames, ignore_index=True), terms)


def _joined(labels: pd.Series) -> str:
    """Write class and group of an estimate: their names are said if there are two."""
    said = labels[labels != ""]
    if len(said) == 1:
        return str(said.iloc[0])
    return ", ".join(f"{name} {label}" for name, label in said.items())


def _chosen(found: pd.DataFrame, terms: Any) -> pd.DataFrame:
    if terms is None:
        return found
    terms = [terms] if isinstance(terms, str) else list(terms)
    known = list(dict.fromkeys(found["term"]))
    unknown = [term for term in terms if term not in known]
    if unknown or not terms:
        raise ValueError(
            f"terms must name some of {', '.join(known)}; got {', '.join(unknown)!r}."
        )
    return pd.concat([found[found["term"] == t] for t in terms], ignore_index=True)


def _arranged(found: pd.DataFrame, results: list[str]) -> dict[str, Any]:
    """Put the estimates into rows and series."""
    within = list(dict.fromkeys(found["within"]))
    beside = len(results) * len(within) <= MOST_SERIES
    found["what"] = _what(found)
    keys = ["term", "what"] if beside else ["term", "what", "within"]
    rows = list(dict.fromkeys(map(tuple, found[keys].to_numpy())))
    parts = within if beside else [""]
    series = [(result, part) for result in results for part in parts]
    shape = (len(series), len(rows))
    numbers = {name: np.full(shape, np.nan) for name in ("estimate", "low", "high")}
    row_of = {row: i for i, row in enumerate(rows)}
    series_of = {each: i for i, each in enumerate(series)}
    for line in found.to_dict("records"):
        part = line["within"] if beside else ""
        place = series_of[line["result"], part], row_of[tuple(line[k] for k in keys)]
        for name, values in numbers.items():
            values[place] = line[name]
    return {
        "rows": tuple(_row_names(rows)),
        "series": tuple(", ".join(filter(None, each)) for each in series),
        **numbers,
    }


def _what(found: pd.DataFrame) -> pd.Series:
    """Which contrasts share rows: all of a term, where no result has several of it."""
    several = found.groupby(["term", "result"])["contrast"].nunique()
    several = several.groupby("term").max() > 1
    of_term = found.groupby("term")["contrast"].agg(lambda c: " or ".join(c.unique()))
    shared = found["term"].map(of_term)
    return found["contrast"].where(found["term"].map(several), shared)


def _row_names(rows: list[tuple[str, ...]]) -> list[str]:
    """Names of rows: the term, and the contrast and class where they say more."""
    several = {t for t, c, *_ in rows if len({r[1] for r in rows if r[0] == t}) > 1}
    names = []
    for term, contrast, *within in rows:
        name = shortened(term or "prediction")
        if term in several or contrast not in PLAIN:
            name += f": {contrast}"
        names.append(", ".join(filter(None, [name, *within])))
    return names


def _label(first: Estimates) -> str:
    title = first.title[0].lower() + first.title[1:]
    title = title.removesuffix("s") if title.endswith("effects") else title
    link = first.facts.get("On", "")
    return f"{title}, on {link}" if link else title


# ------------------------------------------------------------------------------ drawing


def _draw(display: MarginalEffectsDisplay) -> None:
    ax, n_series = display.ax_, len(display.series)
    places = np.arange(len(display.rows))[::-1]
    reach = 0.34 * (1 - 1 / n_series)
    shifts = np.linspace(reach, -reach, n_series)
    ax.axvline(0, color="black", linewidth=0.8, zorder=0)
    for i, (name, shift) in enumerate(zip(display.series, shifts, strict=True)):
        style = look(i)
        at, color = places + shift, style["color"]
        ax.hlines(at, display.low[i], display.high[i], color=color, linewidth=1.6)
        face = "white" if i % 2 else color
        marks = {"markersize": 5.5, "markerfacecolor": face, "markeredgecolor": color}
        ax.plot(display.estimate[i], at, style["marker"], label=shown(name), **marks)
    ax.set_yticks(places, [shown(row, LONGEST_ROW) for row in display.rows])
    ax.set_ylim(-0.6, len(places) - 0.4)
    ax.locator_params(axis="x", nbins=6)
    has_interval = bool(np.isfinite(display.high - display.low).any())
    interval = f", with {100 * display.conf_level:g}% intervals" * has_interval
    ax.set_xlabel(display.label + interval)
    bare(ax, "top", "right", "left")
    ax.tick_params(axis="y", length=0)
    if n_series > 1:
        ax.grid(axis="y", color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
    if any(display.series):
        legend_above(ax, min(n_series, 4))
