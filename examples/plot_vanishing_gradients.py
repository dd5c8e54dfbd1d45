"""
Why deep networks were hard to train
====================================

Back propagation multiplies: one factor for each layer on the way from the error to a
weight. Twenty factors of a quarter are one in a trillion, and the first layers learn
nothing; twenty factors of four are a trillion, and training explodes. This example
measures gradients by layer and shows what activation, starting weights and shortcuts do
about it.

The data are 442 diabetes patients with ten columns (Efron et al. 2004), which come with
scikit-learn. Nothing here needs twenty layers; the point is what happens to them.
"""

# %%
# Gradients by layer
# ------------------
# Before the first step, in networks of twenty layers of 16 units. Every fit keeps the
# norm of its gradient by layer and epoch in ``gradient_norms_``.

import warnings

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning

from sklearn_ann import ANNRegressor

X, y = load_diabetes(return_X_y=True)
DEPTH = 20
plain = {
    "solver": "adam",
    "alpha": 0,
    "tol": 0,
    "n_iter_no_change": 10_000,
    "early_stopping": False,
    "linear_skip": False,
    "n_estimators": 1,
    "dtype": "float64",
    "random_state": 0,
}


def trained(depth, max_iter, start=None, **settings):
    """A network of so many layers, and of so few epochs that it must complain."""
    settings = {**plain, "max_iter": max_iter, **settings}
    network = ANNRegressor((16,) * depth, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(X, y, **(start or {}))


def large_start(depth):
    """Weights twice as large as they should be, which no initialiser would draw."""
    rng = np.random.default_rng(0)
    sizes = [X.shape[1], *(16,) * depth, 1]
    scales = [2 * np.sqrt(2 / fan_in) for fan_in in sizes[:-1]]
    shapes = zip(scales, sizes[:-1], sizes[1:], strict=True)
    return {"coefs_init": [rng.normal(0, s, (m, n)) for s, m, n in shapes]}


recipes = {
    "logistic": {"activation": "logistic", "init": "glorot_uniform"},
    "relu, small start": {"activation": "relu", "init": "lecun_normal"},
    "relu, He's start": {"activation": "relu", "init": "he_normal"},
    "tanh, orthogonal start": {"activation": "tanh", "init": "orthogonal"},
    "selu": {"activation": "selu", "init": "lecun_normal"},
}
norms = {
    name: trained(DEPTH, 1, batch_size="full", **recipe).gradient_norms_[0]
    for name, recipe in recipes.items()
}
exploding = trained(DEPTH, 1, large_start(DEPTH), batch_size="full", standardize=False)
norms["relu, twice He's start"] = exploding.gradient_norms_[0]
first, last = (pd.Series({n: g[i] for n, g in norms.items()}) for i in (0, -1))
pd.DataFrame({"first layer": first, "last layer": last}).map("{:.0e}".format)

# %%
# The slope of the logistic curve is at most a quarter, so every layer passes on at most
# a quarter, times its weights. ``relu`` has slope one on half of its line and zero on
# the other: with starting weights of variance 2 over the number of inputs (He et al.
# 2015) a signal keeps its size on average; with half of that it loses some in every
# layer, with four times that it explodes.
#
# It does not get better by waiting. Forty epochs of the logistic network, and of
# ``relu`` with He's start: twenty-one lines each, from the first layer, dark, to the
# output, light.

import matplotlib.pyplot as plt

from sklearn_ann.plotting import GradientFlowDisplay

figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for axis, name in zip(axes, ("logistic", "relu, He's start"), strict=True):
    network = trained(DEPTH, 40, learning_rate_init=0.003, **recipes[name])
    GradientFlowDisplay.from_estimator(network, ax=axis)
    axis.set_title(name)

# %%
# What it means for training
# --------------------------
# The same hundred epochs of Adam, by depth. R2 is in the sample: the question is
# whether the network learns at all.

depths = (1, 2, 5, 10, 20, 30)
learned = pd.DataFrame(
    {
        name: [
            trained(d, 100, learning_rate_init=0.003, **recipe).score(X, y)
            for d in depths
        ]
        for name, recipe in recipes.items()
    },
    index=pd.Index(depths, name="layers"),
)
learned.round(2)

# %%
# A shortcut helps in another way. With ``linear_skip=True`` the inputs reach the output
# directly as well, as a regression beside the network; where the layers learn nothing,
# OLS remains.

settings = {**recipes["logistic"], "linear_skip": True, "learning_rate_init": 0.003}
stuck = trained(DEPTH, 400, **settings)
ols = ANNRegressor(hidden_layer_sizes=()).fit(X, y)
print(f"twenty logistic layers beside a line: R2 {stuck.score(X, y):.2f}")
print(f"OLS:                                  R2 {ols.score(X, y):.2f}")

# %%
# The cure for explosion, where the weights cannot be chosen, is to cut long gradients
# to a given length: ``max_grad_norm=1.0``.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
styles = ("C3-", "C4--", "C0-", "C2-.", "C1:", "k--")
for (name, by_layer), style in zip(norms.items(), styles, strict=True):
    left.semilogy(range(1, DEPTH + 2), by_layer, style, label=name)
left.set(
    title="Gradient by layer, before the first step", xlabel="layer", ylabel="norm"
)
left.set_xticks((1, 5, 10, 15, 21), ("1", "5", "10", "15", "output"))
left.legend(fontsize="x-small", loc="lower right")
for name, style in zip(learned, styles, strict=False):
    right.plot(depths, learned[name].clip(-0.1), style, marker="o", ms=3, label=name)
right.axhline(ols.score(X, y), color="0.7", lw=1)
right.annotate("OLS", (28, ols.score(X, y) + 0.01), color="0.5")
right.set(title="R2 in the sample after 100 epochs", xlabel="hidden layers")
right.legend(fontsize="x-small", loc="lower left")
figure.tight_layout()
