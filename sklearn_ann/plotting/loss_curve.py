"""How training went: loss by epoch, validation, and the best epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .canvas import ACCENT, INK, PALE, axes, bare, count_along, legend_above
from .opening import check_recorded, members_of, network_in

# So few epochs are points, for a line of them is too short to see.
FEW_EPOCHS = 3


@dataclass(slots=True, eq=False, repr=False)
class LossCurveDisplay:
    """Training loss by epoch, validation loss or score, and the best epoch.

    Make it with `from_estimator`. For an ensemble of K networks the curves of the
    members are pale, and their means strong; a member whose training has ended counts
    in the mean with its last value.

    Parameters
    ----------
    train : tuple of K ndarray of shape (n_iter,)
        Training loss, with its penalty.
    validation : tuple of K ndarray of shape (n_iter,) or None
        Validation loss, or score.
    best : tuple of K int
        Epochs, counted from 1, of the best validation; of the lowest training loss
        where nothing validates. 0 is the start of training.
    best_value : tuple of K float
        Validation, or training loss, at these.
    validates_by : {"loss", "score"}
        Whether `validation` is a loss, lower being better, or a score.
    is_kept : bool
        Whether the parameters of the best epoch are those of the fitted network.
    unit : {"epoch", "iteration"}
        What is counted.
    loss : str
        Name of the loss.
    log_scale : bool
        Whether the axis of the loss is logarithmic.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on, after `plot`.
    score_ax_ : matplotlib Axes or None
        The axis of the scores on the right, where there are some.
    figure_ : matplotlib Figure
        The figure that it belongs to.
    """

    train: tuple[np.ndarray, ...]
    validation: tuple[np.ndarray, ...] | None
    best: tuple[int, ...]
    best_value: tuple[float, ...]
    validates_by: str = "loss"
    is_kept: bool = False
    unit: str = "epoch"
    loss: str = "loss"
    log_scale: bool = False
    ax_: Any = None
    score_ax_: Any = None
    figure_: Any = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, log_scale: bool = False, ax: Any = None
    ) -> LossCurveDisplay:
        """Draw how an estimator was trained.

        Parameters
        ----------
        estimator : fitted estimator
            An ANNRegressor or ANNClassifier, alone or in a Pipeline or search.
        log_scale : bool, default=False
            Whether the axis of the loss is logarithmic.
        ax : matplotlib Axes, default=None
            By default a new one.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        TypeError
            When there is no network inside.
        ValueError
            While its fit is still going on, and for a logarithm of losses that are not
            all positive.
        sklearn.exceptions.NotFittedError
            Before it is fitted.
        ImportError
            Without matplotlib.

        Notes
        -----
        Losses are in the units of training: of standardised targets, where they are.
        Without ``early_stopping`` the last epoch is kept, and the best is for
        information.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn_ann import ANNRegressor
        >>> from sklearn_ann.plotting import LossCurveDisplay
        >>> X, y = load_diabetes(return_X_y=True)
        >>> network = ANNRegressor(8, solver="lbfgs", alpha=10, random_state=0)
        >>> display = LossCurveDisplay.from_estimator(network.fit(X, y))
        >>> len(display.train[0]) == network.n_iter_
        True
        """
        core, _ = network_in(estimator)
        members = members_of(core)
        check_recorded(members)
        return cls(**_record(members), log_scale=log_scale).plot(ax=ax)

    def plot(self, ax: Any = None) -> LossCurveDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            By default a new one.

        Returns
        -------
        LossCurveDisplay
            This one, with `ax_`, `score_ax_` and `figure_`.

        Raises
        ------
        ValueError
            For a logarithm of losses that are not all positive.
        ImportError
            Without matplotlib.
        """
        _check_log(self)
        self.ax_ = axes(ax)
        self.figure_ = self.ax_.figure
        has_scores = self.validation is not None and self.validates_by == "score"
        self.score_ax_ = self.ax_.twinx() if has_scores else None
        _draw(self)
        return self


def mean_curve(curves: tuple[np.ndarray, ...]) -> np.ndarray:
    """Mean of curves of several lengths, each going on at its last value."""
    longest = max(map(len, curves))
    return np.mean(
        [np.pad(curve, (0, longest - len(curve)), "edge") for curve in curves], axis=0
    )


# ------------------------------------------------------------------ what is to be drawn


def _record(members: tuple[Any, ...]) -> dict[str, Any]:
    first = members[0]
    validates = all(each.validation_scores_ is not None for each in members)
    sign = -1.0 if first.scoring == "loss" else 1.0
    validation = None
    if validates:
        validation = tuple(sign * np.array(m.validation_scores_) for m in members)
    best = [_best(member, validates) for member in members]
    return {
        "train": tuple(np.array(member.loss_curve_) for member in members),
        "validation": validation,
        "best": tuple(epoch for epoch, _ in best),
        "best_value": tuple((sign if validates else 1.0) * v for _, v in best),
        "validates_by": "loss" if first.scoring == "loss" else "score",
        "is_kept": validates and first.best_loss_ is None and not first.stays_linear_,
        "unit": "iteration" if first.solver_ == "lbfgs" else "epoch",
        "loss": first._model.loss.name.replace("_", " "),
    }


def _best(member: Any, validates: bool) -> tuple[int, float]:
    """Epoch of the best score, counted from 1, and the score; or the lowest loss."""
    values = (
        member.validation_scores_ if validates else [-v for v in member.loss_curve_]
    )
    place = int(np.argmax(np.nan_to_num(values, nan=-np.inf, neginf=-np.inf)))
    if validates and member.best_validation_score_ > values[place]:
        return 0, float(member.best_validation_score_)  # no epoch was better
    value = float(values[place])
    return place + 1, value if validates else -value


def _check_log(display: LossCurveDisplay) -> None:
    losses = list(display.train)
    if display.validation is not None and display.validates_by == "loss":
        losses += display.validation
    if display.log_scale and min(np.nanmin(loss) for loss in losses) <= 0:
        raise ValueError(
            f"log_scale=True needs positive losses, but the {display.loss} is zero or "
            "negative in some epochs, as losses that are minus log-likelihoods may be. "
            "Use log_scale=False."
        )


# ------------------------------------------------------------------------------ drawing


def _draw(display: LossCurveDisplay) -> None:
    ax, validation = display.ax_, display.validation
    lines = _curves(ax, display.train, "training loss", INK, "-")
    right = display.score_ax_ or ax
    if validation is not None:
        name = f"validation {display.validates_by}"
        lines += _curves(right, validation, name, ACCENT, "--")
    if len(display.train) > 1:
        lines += ax.plot([], [], color=PALE, label=f"{len(display.train)} members")
    lines.append(_mark_best(display, right if validation is not None else ax))
    ax.set_xlabel(display.unit)
    ax.set_ylabel(f"loss ({display.loss})")
    if display.log_scale:
        ax.set_yscale("log")
    count_along(ax, max(map(len, display.train)))
    bare(ax, "top") if display.score_ax_ else bare(ax, "top", "right")
    if display.score_ax_ is not None:
        right.set_ylabel("validation score (higher is better)")
        bare(right, "top")
    legend_above(ax, len(lines), lines)


def _curves(
    ax: Any, curves: tuple[np.ndarray, ...], name: str, color: str, style: str
) -> list[Any]:
    """Draw the members, and their mean; return the handle of the legend."""
    look = {"color": color, "linestyle": style, "linewidth": 2}
    if max(map(len, curves)) <= FEW_EPOCHS:
        look["marker"] = "."
    if len(curves) > 1:
        for curve in curves:
            ax.plot(np.arange(1, len(curve) + 1), curve, style, color=PALE, lw=0.8)
    mean = mean_curve(curves)
    return ax.plot(np.arange(1, len(mean) + 1), mean, label=name, zorder=3, **look)


def _mark_best(display: LossCurveDisplay, ax: Any) -> Any:
    several = len(display.best) > 1
    kept = " (kept)" if display.is_kept else ""
    which = "" if several else f": {display.best[0]}"
    name = f"best {display.unit}{which}{kept}"
    look = {
        "color": "none",
        "markeredgecolor": "black",
        "markersize": 6 if several else 9,
    }
    return ax.plot(display.best, display.best_value, "o", label=name, zorder=4, **look)[
        0
    ]
