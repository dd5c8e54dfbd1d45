"""Models side by side: scores, or differences from the baseline, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from ..comparison_result import Comparison
from .canvas import axes, shown

KINDS = ("score", "difference")
# More splits, or periods, are a cloud.
MOST_DOTS = 60
COLOUR, PALE = "tab:blue", "0.6"


@dataclass(slots=True, eq=False, repr=False)
class ComparisonDisplay:
    """Scores of models, or their differences from the baseline, with intervals.

    Make it with `from_comparison`.

    Parameters
    ----------
    models : tuple of str of length M
        From top to bottom.
    mean, low, high : ndarray of shape (M,)
        Means, and the ends of their intervals; nan where there is none.
    splits : ndarray of shape (M, P)
        One for each split, or each period.
    train : ndarray of shape (M,)
        Means in sample; nan where they are not shown.
    label : str
        What is shown.
    conf_level : float
    kind : {"score", "difference"}
    parts : {"splits", "periods"}
        What there is one score of.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on, after `plot`.
    figure_ : matplotlib Figure
        The figure that it belongs to.
    """

    models: tuple[str, ...]
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    splits: np.ndarray
    train: np.ndarray
    label: str
    conf_level: float
    kind: str
    parts: str = "splits"
    ax_: Any = None
    figure_: Any = None

    @classmethod
    def from_comparison(
        cls,
        comparison: Comparison,
        *,
        metric: str | None = None,
        kind: str = "score",
        conf_level: float = 0.95,
        ax: Any = None,
    ) -> ComparisonDisplay:
        """Draw a comparison.

        Parameters
        ----------
        comparison : Comparison
            As from `compare`.
        metric : str, default=None
            By default the first.
        kind : {"score", "difference"}, default="score"
            Scores, or differences from the baseline, whose intervals are narrower, as
            all models are tested on the same rows. In time order only differences have
            intervals.
        conf_level : float, default=0.95
        ax : matplotlib Axes, default=None
            By default a new one.

        Returns
        -------
        ComparisonDisplay

        Raises
        ------
        ValueError
            For another kind, a level that is no share, and differences of one model.
        KeyError
            If there is no such metric.
        ImportError
            Without matplotlib.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import LinearRegression, Ridge
        >>> from sklearn_ann import compare
        >>> from sklearn_ann.plotting import ComparisonDisplay
        >>> models = {"OLS": LinearRegression(), "ridge": Ridge()}
        >>> result = compare(models, *load_diabetes(return_X_y=True))
        >>> display = ComparisonDisplay.from_comparison(result)
        >>> display.ax_.get_xlabel()
        'R2 out of sample (higher is better), with 95% intervals'
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
        if not 0 < conf_level < 1:
            raise ValueError(f"conf_level must lie between 0 and 1; got {conf_level}.")
        name = comparison.metrics[0].name if metric is None else metric
        build = _scores if kind == "score" else _differences
        parts = "splits" if comparison.window is None else "periods"
        numbers = build(comparison, name, conf_level)
        return cls(**numbers, kind=kind, parts=parts).plot(ax=ax)

    def plot(self, ax: Any = None) -> ComparisonDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            By default a new one.

        Returns
        -------
        ComparisonDisplay
            This one, with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        self.ax_ = axes(ax, height=1.6 + 0.45 * len(self.models))
        self.figure_ = self.ax_.figure
        _draw(self, self.ax_)
        return self


# ------------------------------------------------------------------ what is to be drawn


def _scores(result: Comparison, metric: str, level: float) -> dict[str, Any]:
    scores = np.stack([result.model_scores(model, metric) for model in result.models])
    frame = result.to_frame()
    error = frame[f"{metric}_std_error"].to_numpy()
    reach = stats.t.ppf(0.5 + level / 2, max(scores.shape[1] - 1, 1)) * error
    mean = frame[metric].to_numpy()
    return {
        "models": result.models,
        "mean": mean,
        "low": mean - reach,
        "high": mean + reach,
        "splits": scores,
        "train": frame[f"{metric}_train"].to_numpy(),
        "label": f"{metric} out of sample ({_direction(result, metric)})",
        "conf_level": level,
    }


def _differences(result: Comparison, metric: str, level: float) -> dict[str, Any]:
    others = [model for model in result.models if model != result.baseline]
    if not others:
        raise ValueError("There is no difference to draw: only one model is compared.")
    base = result.model_scores(result.baseline, metric)
    gaps = np.stack([result.model_scores(model, metric) - base for model in others])
    reach = np.full(len(others), np.nan)
    if not result.no_test_because:
        tests = [result.test(model, metric) for model in others]
        width = [stats.t.ppf(0.5 + level / 2, test.df) for test in tests]
        reach = np.array([test.std_error for test in tests]) * width
    mean = gaps.mean(axis=1)
    return {
        "models": tuple(others),
        "mean": mean,
        "low": mean - reach,
        "high": mean + reach,
        "splits": gaps,
        "train": np.full(len(others), np.nan),
        "label": f"{metric} minus that of {result.baseline}"
        f" ({_direction(result, metric)})",
        "conf_level": level,
    }


def _direction(result: Comparison, metric: str) -> str:
    better = {each.name: each.greater_is_better for each in result.metrics}
    return f"{'higher' if better[metric] else 'lower'} is better"


# ------------------------------------------------------------------------------ drawing


def _draw(display: ComparisonDisplay, ax: Any) -> None:
    places = np.arange(len(display.models))[::-1]
    _draw_splits(display, ax, places)
    has_interval = bool(np.isfinite(display.high - display.low).any())
    if has_interval:
        ax.hlines(places, display.low, display.high, color=COLOUR, linewidth=2)
    ax.plot(display.mean, places, "o", color=COLOUR, label="mean", zorder=3)
    if np.isfinite(display.train).any():
        look = {"markerfacecolor": "white", "markeredgecolor": COLOUR}
        ax.plot(display.train, places, "D", markersize=5, label="in sample", **look)
    if display.kind == "difference":
        ax.axvline(0, color="black", linewidth=0.8, zorder=0)
    ax.set_yticks(places, list(map(shown, display.models)))
    ax.set_ylim(-0.6, len(places) - 0.4)
    interval = f", with {100 * display.conf_level:g}% intervals" * has_interval
    ax.set_xlabel(display.label + interval)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)


def _draw_splits(display: ComparisonDisplay, ax: Any, places: np.ndarray) -> None:
    n_splits = display.splits.shape[1]
    if n_splits > MOST_DOTS:
        return
    for place, values in zip(places, display.splits, strict=True):
        heights = np.full(n_splits, place - 0.2)
        label = f"single {display.parts}" if place == places[0] else None
        ax.plot(values, heights, "|", color=PALE, markersize=7, label=label)
