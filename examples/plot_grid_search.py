"""
A grid search in seconds
========================

Settings of a network are searched by cross-validation: every setting, on every fold, is
one network to train. Small networks leave a processor idle, since most of their time is
calls. Inside ``batched_fits`` all networks of a search are trained in the same matrix
products.

The times on this page are those of the machine that built it, once, beside other work;
a careful measurement is on the page of :doc:`benchmarks </benchmarks>`. The data are
the wages that come with the package.
"""

# %%
# Sixty networks, three ways
# --------------------------
# Four rates and three penalties, on five folds. First scikit-learn's ``MLPRegressor``,
# then ours one after the other, then ours as stacks. All take the same number of epochs
# of the same batches.

import time
import warnings

import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline

from sklearn_ann import ANNRegressor, batched_fits
from sklearn_ann.tables import load_wages, make_problem, preprocessing

wages = make_problem(load_wages(), target="log_wage")
shared = {
    "hidden_layer_sizes": (16,),
    "activation": "tanh",
    "solver": "adam",
    "batch_size": 128,
    "max_iter": 20,
    "tol": 0,
    "n_iter_no_change": 20,
    "random_state": 0,
}
ours = ANNRegressor(
    **shared, early_stopping=False, linear_skip=False, n_estimators=1, dtype="float64"
)
theirs = MLPRegressor(**shared)


def searched(network):
    """The search, fitted, and its seconds."""
    pipeline = make_pipeline(preprocessing(wages.X), network)
    name = type(network).__name__.lower()
    grid = {
        f"{name}__learning_rate_init": [0.001, 0.003, 0.01, 0.03],
        f"{name}__alpha": [0.1, 1.0, 10.0],
    }
    search = GridSearchCV(pipeline, grid, cv=5, refit=False)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # twenty epochs are few
        search.fit(wages.X, wages.y)
    return search, time.perf_counter() - begin


peer, peer_seconds = searched(theirs)
single, single_seconds = searched(ours)
with batched_fits():
    stacked, stacked_seconds = searched(ours)

times = {
    "scikit-learn's MLPRegressor": peer_seconds,
    "ours, one after the other": single_seconds,
    "ours, as stacks": stacked_seconds,
}
pd.Series(times, name="seconds").to_frame().style.format("{:.1f}")

# %%
# The same results
# ----------------
# The stack is arithmetic, not approximation. In float64 the scores of all 60 networks
# agree with those of the search without it:

import numpy as np

folds = [f"split{k}_test_score" for k in range(5)]
scores = np.array([stacked.cv_results_[fold] for fold in folds])
gap = np.abs(scores - [single.cv_results_[fold] for fold in folds]).max()
print(f"largest difference between {scores.size} scores: {gap:.0e}")
print(f"same best setting: {stacked.best_params_ == single.best_params_}")

# %%
# What was found
# --------------

import matplotlib.pyplot as plt

results = pd.DataFrame(stacked.cv_results_)
grid = results.pivot_table(
    index="param_annregressor__alpha",
    columns="param_annregressor__learning_rate_init",
    values="mean_test_score",
)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), width_ratios=(1, 1.1))
places = np.arange(len(times))[::-1]
left.barh(places, list(times.values()), color=("0.8", "C0", "C1"))
for place, seconds in zip(places, times.values(), strict=True):
    left.annotate(f" {seconds:.1f} s", (seconds, place), va="center")
left.set_yticks(places, list(times))
left.set(title="Sixty networks", xlabel="seconds", xlim=(0, 1.25 * max(times.values())))
right.imshow(grid, cmap="Greys", aspect="auto", vmin=grid.min().min() - 0.02)
for (i, j), value in np.ndenumerate(grid.to_numpy()):
    dark = value > grid.to_numpy().mean()
    color = "w" if dark else "k"
    right.annotate(f"{value:.3f}", (j, i), ha="center", va="center", color=color)
right.set_xticks(range(grid.shape[1]), grid.columns)
right.set_yticks(range(grid.shape[0]), grid.index)
right.set(title="R2 out of sample", xlabel="learning rate", ylabel="alpha")
figure.tight_layout()
