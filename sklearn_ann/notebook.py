"""What a notebook shows of an estimator below scikit-learn's diagram.

A table of what is fitted, how it went, and the curve of the losses. It has no colours
of its own but takes those of the page, so that it can be read on light and dark ones.
"""

from __future__ import annotations

import html
from typing import Any

import numpy as np

STYLE = {
    "box": "font-family:sans-serif;font-size:.85em;margin:.5em 0;max-width:46em",
    "table": "border-collapse:collapse;color:inherit;margin:0;border:none",
    "th": "text-align:left;font-weight:600;padding:.15em 1.2em .15em 0;"
    "vertical-align:top;border:none;background:none;white-space:nowrap",
    "td": "text-align:left;padding:.15em 0;border:none;background:none;"
    "overflow-wrap:anywhere;white-space:normal",
}
MOST_NAMES = 6
LONGEST_NAME = 40
WIDTH, HEIGHT = 320, 60  # of the curve, in pixels
# A loss that moves by less than this share of itself is drawn nearly flat.
FLAT = 0.02


def fitted_html(estimator: Any) -> str:
    """Write a fitted network as HTML; blank where nothing is fitted."""
    if "_model" not in vars(estimator):
        return ""
    lines = [*_architecture(estimator), *_training(estimator)]
    rows = "".join(
        f'<tr style="background:none"><th scope="row" style="{STYLE["th"]}">'
        f"{html.escape(name)}</th>"
        f'<td style="{STYLE["td"]}">{html.escape(text)}</td></tr>'
        for name, text in lines
        if text
    )
    return (
        f'<div class="sklearn-ann-fitted" style="{STYLE["box"]}">'
        f'<table style="{STYLE["table"]}"><tbody>{rows}</tbody></table>'
        f"{_curves(estimator)}</div>"
    )


# ------------------------------------------------------------------------- architecture


def _architecture(estimator: Any) -> list[tuple[str, str]]:
    model = estimator._model
    return [
        ("Network", _layers(estimator)),
        ("Inputs", _inputs(estimator)),
        ("Outputs", _outputs(estimator)),
        ("Loss", model.loss.name.replace("_", " ")),
        ("Parameters", _parameters(estimator)),
    ]


def _layers(estimator: Any) -> str:
    shape = estimator._model.architecture
    hidden = [
        f"{units} {name}"
        for units, name in zip(shape.hidden, shape.activations, strict=True)
    ]
    inputs, raw = _counted(shape.n_inputs, "input"), estimator.n_features_in_
    if raw != shape.n_inputs:  # categories and gaps become columns of their own
        inputs = f"{_counted(raw, 'column')} as {inputs}"
    outputs = _counted(shape.n_outputs, "output")
    text = " \u2192 ".join([inputs, *_short(hidden), outputs])
    kinds = dict.fromkeys(each.kind.replace("_", " ") for each in shape.embeddings)
    extras = [f"{kind} embedding" for kind in kinds]
    extras += ["linear skip"] if shape.linear_skip else []
    extras += ["no hidden layer: a regression"] if shape.linear else []
    return "; ".join([text, *extras])


def _inputs(estimator: Any) -> str:
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return ""
    is_categorical = estimator.is_categorical_
    if is_categorical is None:
        return ", ".join(_named(names))
    coded = int(np.sum(is_categorical))
    return f"{', '.join(_named(names))} ({_counted(coded, 'column')} of categories)"


def _outputs(estimator: Any) -> str:
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return ""
    return ", ".join(_named(classes))


def _parameters(estimator: Any) -> str:
    text = f"{estimator.n_parameters_:,}"
    members = len(getattr(estimator, "estimators_", ()))
    if members < 2:
        return text
    return f"{text} in {members} networks, whose predictions are averaged"


# ----------------------------------------------------------------------------- training


def _training(estimator: Any) -> list[tuple[str, str]]:
    if not hasattr(estimator, "status_"):
        return [("Status", "in the middle of its fit")]
    return [
        ("Status", _status(estimator)),
        (
            "Training",
            f"{_counted(estimator.n_iter_, _unit(estimator))}{_rows(estimator)}",
        ),
        ("Loss in training", f"{estimator.loss_:.4g}"),
        ("Held-out rows", _validation(estimator)),
        (
            "Solver",
            f"{estimator.solver_}, {_batches(estimator)}, alpha {estimator.alpha_:g}",
        ),
        (
            "Run on",
            f"{estimator.device_}, {estimator.dtype_}, {_seconds(estimator)}",
        ),
    ]


def _unit(estimator: Any) -> str:
    return "iteration" if estimator.solver_ == "lbfgs" else "epoch"


def _networks(estimator: Any) -> list[Any]:
    return list(getattr(estimator, "estimators_", [estimator]))


def _status(estimator: Any) -> str:
    text = estimator.status_
    if estimator.stays_linear_:
        text += "; nothing was found beyond the linear model, which it stays"
    return text


def _rows(estimator: Any) -> str:
    """Rows of one pass, where all passes saw the same number of them."""
    counts = {member.t_ / member.n_iter_ for member in _networks(estimator)}
    whole = sorted(int(count) for count in counts if count == int(count))
    if len(whole) < len(counts):  # partial_fit with batches of several sizes
        return f"; {estimator.t_:,} rows seen in all"
    several = f" to {whole[-1]:,}" if len(whole) > 1 else ""
    return f" over {whole[0]:,}{several} rows"


def _validation(estimator: Any) -> str:
    networks = _networks(estimator)
    scores = [network.best_validation_score_ for network in networks]
    if any(score is None for score in scores):
        return ""
    if estimator.scoring == "loss":
        name, scores = "lowest loss", [-score for score in scores]
    else:
        name = "best score"
    if len(scores) == 1:
        return f"{name} {scores[0]:.4g}"
    return f"{name} {min(scores):.4g} to {max(scores):.4g} by member"


def _batches(estimator: Any) -> str:
    size = estimator.batch_size_
    return "all rows in every step" if size is None else f"batches of {size:,}"


def _seconds(estimator: Any) -> str:
    seconds = estimator.fit_seconds_
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s"


# -------------------------------------------------------------------------------- curve


def _curves(estimator: Any) -> str:
    """Draw the losses by epoch, without any library."""
    if not hasattr(estimator, "status_"):
        return ""
    networks = _networks(estimator)
    losses = [np.array(network.loss_curve_, dtype=float) for network in networks]
    longest = max(map(len, losses))
    finite = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    if longest < 2 or not finite.size:
        return ""
    low, high = finite.min(), finite.max()
    high = max(high, low + FLAT * abs(low))
    opacity = 0.9 if len(losses) == 1 else 0.35
    lines = "".join(
        f'<polyline points="{_points(loss, longest, low, high)}" fill="none" '
        f'stroke="currentColor" stroke-opacity="{opacity}" stroke-width="1.3"/>'
        for loss in losses
    )
    title = f"training loss by {_unit(estimator)}, lowest {low:.4g}"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT + 16}" role="img" '
        f'aria-label="{title}" style="display:block;margin:.4em 0">{lines}'
        f'<text x="2" y="{HEIGHT + 13}" font-size="11" fill="currentColor">{title}'
        "</text></svg>"
    )


def _points(loss: np.ndarray, longest: int, low: float, high: float) -> str:
    """Points of a curve: a few hundred at most, on whole tenths of a pixel."""
    epochs = np.flatnonzero(np.isfinite(loss))
    if len(epochs) > WIDTH:
        epochs = epochs[np.linspace(0, len(epochs) - 1, WIDTH).astype(int)]
    x = 2 + epochs / (longest - 1) * (WIDTH - 4)
    y = 3 + (high - loss[epochs]) / max(high - low, 1e-300) * (HEIGHT - 6)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


# ------------------------------------------------------------------------------- words


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"


def _short(parts: list[str]) -> list[str]:
    """Leave out the middle of many parts, and say how many there are."""
    if len(parts) <= MOST_NAMES:
        return parts
    left_out = len(parts) - 4
    return [*parts[:2], f"\u2026 {left_out} more \u2026", *parts[-2:]]


def _named(names: Any) -> list[str]:
    """Names, none of them long, and not all where there are many."""
    texts = [str(name) for name in names]
    texts = [
        t if len(t) <= LONGEST_NAME else f"{t[: LONGEST_NAME - 1]}\u2026" for t in texts
    ]
    return _short(texts)
