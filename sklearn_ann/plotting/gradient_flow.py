"""How large gradients are, by layer and epoch: whether they vanish or explode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .canvas import axes, bare, count_along, legend_above, look
from .opening import check_recorded, network_in, one_of

# With more layers than this, lightness tells them apart, and a bar stands for a legend.
MOST_IN_LEGEND = 5
# Epochs that are drawn where layers are the axis.
SHOWN_EPOCHS = 5
BY = ("epoch", "layer")


@dataclass(slots=True, eq=False, repr=False)
class GradientFlowDisplay:
    """Norm of the gradient by layer and epoch, on a logarithmic axis.

    Make it with `from_estimator`.

    Parameters
    ----------
    norms : ndarray of shape (n_iter, L)
        For each epoch and layer of weights, in the last batch of the epoch.
    by : {"epoch", "layer"}
        What is on the horizontal axis.
    unit : {"epoch", "iteration"}
        What is counted.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on, after `plot`.
    figure_ : matplotlib Figure
        The figure that it belongs to.
    """

    norms: np.ndarray
    by: str = "epoch"
    unit: str = "epoch"
    ax_: Any = None
    figure_: Any = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, by: str = "epoch", member: int = 0, ax: Any = None
    ) -> GradientFlowDisplay:
        """Draw the gradients of an estimator's training.

        Parameters
        ----------
        estimator : fitted estimator
            An ANNRegressor or ANNClassifier, alone or in a Pipeline or search.
        by : {"epoch", "layer"}, default="epoch"
            One line for each layer over the epochs; or one line over the layers for
            each of a few epochs, from the first to the last, which shows at one glance
            whether gradients vanish on their way back.
        member : int, default=0
            Which network of an ensemble.
        ax : matplotlib Axes, default=None
            By default a new one.

        Returns
        -------
        GradientFlowDisplay

        Raises
        ------
        TypeError
            When there is no network inside.
        ValueError
            For another `by`, a member that does not exist, and while the fit is still
            going on.
        sklearn.exceptions.NotFittedError
            Before it is fitted.
        ImportError
            Without matplotlib.

        Notes
        -----
        A gradient of zero, which has no logarithm, is a triangle at the foot.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn_ann import ANNRegressor
        >>> from sklearn_ann.plotting import GradientFlowDisplay
        >>> X, y = load_diabetes(return_X_y=True)
        >>> network = ANNRegressor((8, 8), solver="lbfgs", alpha=10, random_state=0)
        >>> display = GradientFlowDisplay.from_estimator(network.fit(X, y))
        >>> display.norms.shape == (network.n_iter_, 3)
        True
        """
        core, _ = network_in(estimator)
        network = one_of(core, member)
        check_recorded((network,))
        unit = "iteration" if network.solver_ == "lbfgs" else "epoch"
        return cls(network.gradient_norms_, by, unit).plot(ax=ax)

    @property
    def layers(self) -> list[str]:
        """Names of the layers, from the first to the output."""
        return [str(i + 1) for i in range(self.norms.shape[1] - 1)] + ["output"]

    def plot(self, ax: Any = None) -> GradientFlowDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            By default a new one.

        Returns
        -------
        GradientFlowDisplay
            This one, with `ax_` and `figure_`.

        Raises
        ------
        ValueError
            For another `by`.
        ImportError
            Without matplotlib.
        """
        if self.by not in BY:
            raise ValueError(f"by must be one of {', '.join(BY)}; got {self.by!r}.")
        self.ax_ = axes(ax)
        self.figure_ = self.ax_.figure
        _by_epoch(self) if self.by == "epoch" else _by_layer(self)
        self.ax_.set_yscale("log")
        self.ax_.set_ylabel("norm of the gradient")
        bare(self.ax_, "top", "right")
        return self


def _by_epoch(display: GradientFlowDisplay) -> None:
    ax, norms = display.ax_, display.norms
    epochs = np.arange(1, len(norms) + 1)
    n_layers = norms.shape[1]
    many = n_layers > MOST_IN_LEGEND
    for i, name in enumerate(display.layers):
        style = _shade(i, n_layers) if many else look(i)
        label = "output" if name == "output" else f"layer {name}"
        _line(ax, epochs, norms[:, i], label, style)
    ax.set_xlabel(display.unit)
    count_along(ax, len(norms))
    if many:
        _bar(display)
    elif n_layers > 1:
        legend_above(ax, n_layers)


def _by_layer(display: GradientFlowDisplay) -> None:
    ax, norms = display.ax_, display.norms
    layers = np.arange(1, norms.shape[1] + 1)
    for i, epoch in enumerate(_shown_epochs(len(norms))):
        name = f"{display.unit} {epoch + 1}"
        _line(ax, layers, norms[epoch], name, look(i))
    ax.set_xlabel("layer")
    step = -(-len(layers) // 10)
    ticks = [*layers[:-1:step], layers[-1]]
    if len(ticks) > 2 and ticks[-1] - ticks[-2] < step:
        del ticks[-2]
    ax.set_xticks(ticks, [display.layers[tick - 1] for tick in ticks])
    legend_above(ax, SHOWN_EPOCHS)


def _shown_epochs(n: int) -> list[int]:
    """Choose epochs, the first and the last among them, closer together at first."""
    return sorted(set(np.geomspace(1, n, SHOWN_EPOCHS).round().astype(int) - 1))


def _shade(i: int, n: int) -> dict[str, Any]:
    """Look of a layer among many: from dark to light, its ends strong."""
    from matplotlib import colormaps

    ends = {0: "-", n - 1: "--"}
    return {
        "color": colormaps["viridis"](0.92 * i / (n - 1)),
        "linestyle": ends.get(i, "-"),
        "linewidth": 2.2 if i in ends else 1.0,
        "marker": "o",
    }


def _line(
    ax: Any, x: np.ndarray, y: np.ndarray, name: str, style: dict[str, Any]
) -> None:
    """Draw what is positive; a triangle at the foot of the picture is a zero."""
    every = 1 if len(x) <= 30 else len(x) // 8
    size = 5 if len(x) <= 40 or style["marker"] != "o" else 4
    options = {"markersize": size, "markevery": every, **style}
    ax.plot(x, np.where(y > 0, y, np.nan), label=name, **options)
    if (zero := x[y == 0]).size:
        options = {"color": style["color"], "markersize": 5, "clip_on": False}
        foot = ax.get_xaxis_transform()
        ax.plot(zero, np.zeros(len(zero)), "v", transform=foot, **options)


def _bar(display: GradientFlowDisplay) -> None:
    """Put a bar of the layers' shades beside the picture."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    n = display.norms.shape[1]
    shades = ListedColormap([_shade(i, n)["color"] for i in range(n)])
    scale = ScalarMappable(BoundaryNorm(np.arange(n + 1) + 0.5, n), shades)
    bar = display.figure_.colorbar(scale, ax=display.ax_, label="layer")
    step = -(-n // 10)
    ticks = [*range(1, n - step + 1, step), n]
    bar.set_ticks(ticks, labels=[display.layers[tick - 1] for tick in ticks])
    bar.ax.minorticks_off()
