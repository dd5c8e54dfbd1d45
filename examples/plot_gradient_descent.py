"""
Gradient descent, step by step
==============================

OLS has a formula for its minimum. A network has none, so it walks: look at the slope of
the loss where you stand, take a step downhill, look again. This example takes the steps
one at a time, where everything can be drawn, and shows what the length of a step
decides.
"""

# %%
# One number to find
# ------------------
# One row, y = 5, and a model that is a constant, a. The loss is
#
# .. code-block:: text
#
#     loss(a) = (y - a)^2          slope(a) = -2 (y - a)
#     a  <-  a - rate * slope(a)
#
# At a = 2 the slope is -6. With a rate of 1 the step is 6 long, from 2 to 8, where the
# slope is +6: the walk bounces between 2 and 8 for ever. With .1 it creeps up on 5.


def walk(a, rate, steps):
    """Where gradient descent stands before and after each step."""
    path = [a]
    for _ in range(steps):
        a = a - rate * -2 * (5 - a)
        path.append(a)
    return path


print("rate 1 ", walk(2.0, 1.0, 4))
print("rate .1", [round(a, 4) for a in walk(2.0, 0.1, 4)])

# %%
# The same in the package: a network without hidden layer, whose weight is on an input
# that is zero, so that only the constant moves. scikit-learn and this package minimise
# *half* the squared error, so rates are twice as large for the same steps.

import warnings

from sklearn.exceptions import ConvergenceWarning

from sklearn_ann import ANNRegressor


def network_walk(rate, steps):
    """The same steps, taken by ANNRegressor; it goes on from where it stands."""
    network = ANNRegressor(
        hidden_layer_sizes=(),
        solver="sgd",
        momentum=0,
        batch_size="full",
        learning_rate_init=2 * rate,
        alpha=0,
        standardize=False,
        early_stopping=False,
        linear_skip=False,
        n_estimators=1,
        max_iter=1,
        warm_start=True,
    )
    path, start = [2.0], {"intercepts_init": [[2.0]]}
    for _ in range(steps):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one step is one step
            path.append(network.fit([[0.0]], [5.0], **start).intercept_)
        start = {}
    return path


print("rate 1 ", network_walk(1.0, 4))
print("rate .1", [round(a, 4) for a in network_walk(0.1, 4)])

# %%
# Three rates
# -----------
# On this parabola a rate below 1 arrives, 1 bounces, and more than 1 runs away. A rate
# of .5 would arrive in one step: it is Newton's, one over the second derivative.

import matplotlib.pyplot as plt
import numpy as np

around = np.linspace(-2.5, 12.5, 200)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True)
titles = (
    "rate .1: small steps",
    "rate 1: overshoots, and bounces",
    "rate 1.1: runs away",
)
for axis, rate, title in zip(axes, (0.1, 1.0, 1.1), titles, strict=True):
    path = np.array(network_walk(rate, 6 if rate > 1 else 12))
    axis.plot(around, (5 - around) ** 2, color="0.6")
    axis.plot(path, (5 - path) ** 2, "o-", color="C1", ms=4, lw=1)
    axis.plot(path[0], 9, "o", color="k")
    tangent = np.array([0.5, 3.5])
    axis.plot(tangent, 9 - 6 * (tangent - 2), "k--", lw=1)
    axis.set(title=title, xlabel="constant a", xlim=(-3, 13))
axes[0].annotate("start: slope -6", (2, 9), (3.4, 26), arrowprops={"arrowstyle": "-"})
axes[0].set(ylabel="loss", ylim=(-2, 60))
figure.tight_layout()

# %%
# Several numbers to find
# -----------------------
# With two parameters the loss is a bowl, and its shape decides. Expenditure on food is
# regressed on income (Engel's 235 households). In raw units one direction of the bowl
# is millions of times steeper than the other: a rate that is small enough for the steep
# one gets nowhere in the flat one. On standardised columns the bowl is round, and the
# same method arrives at once. That is why the package standardises by default.

from statsmodels.datasets import engel

households = engel.load_pandas().data
income, food = households["income"].to_numpy(), households["foodexp"].to_numpy()


def steepness(columns):
    """Second derivatives of half the mean squared error, along its axes."""
    return np.linalg.eigvalsh(columns.T @ columns / len(columns))


def standardised(x):
    """Mean 0, standard deviation 1."""
    return (x - x.mean()) / x.std()


for name, x in {"raw": income, "standardised": standardised(income)}.items():
    flat, steep = steepness(np.column_stack([np.ones(len(x)), x]))
    print(f"{name:13} steepest over flattest direction: {steep / flat:,.0f}")

# %%
# The walks, in income of thousands, so that a picture is possible at all:

figure, axes = plt.subplots(1, 2, figsize=(9, 3.8))
settings = {
    "income in thousands": (income / 1000, food / 1000, 0.9),
    "both standardised": (standardised(income), standardised(food), 0.9),
}
for axis, (name, (x, target, rate)) in zip(axes, settings.items(), strict=True):
    design = np.column_stack([np.ones(len(x)), x])
    best = np.linalg.lstsq(design, target)[0]
    b = np.add(best, (-0.5, 0.9))
    path = [b]
    for _ in range(25):
        b = b - rate * design.T @ (design @ b - target) / len(x)
        path.append(b)
    path = np.array(path)
    c, s = np.meshgrid(best[0] + np.linspace(-1, 1), best[1] + np.linspace(-1, 1))
    errors = target - c[..., None] - s[..., None] * x
    axis.contour(c, s, (errors**2).mean(axis=-1), 15, colors="0.75", linewidths=0.8)
    axis.plot(*path.T, "o-", color="C1", ms=3, lw=1)
    axis.plot(*best, "k+", ms=10)
    axis.set(title=name, xlabel="constant", ylabel="slope")
    axis.locator_params(nbins=5)
    left = np.linalg.norm(path[-1] - best) / np.linalg.norm(path[0] - best)
    print(f"{name:20} left of the distance after 25 steps: {left:.0e}")
figure.tight_layout()
