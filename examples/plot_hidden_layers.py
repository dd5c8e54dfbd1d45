"""
One hidden layer, and many
==========================

A hidden unit is a regression with a bend at the end; the output is a regression on the
hidden units. This example opens a small network and looks at its units, gives it a
second output that shares them, and then asks what more units and more layers are worth
on rows that were not used.

The data are the wages of 3000 men that come with the package.
"""

# %%
# Two hidden units, two outputs
# -----------------------------
# Two inputs, year and age; two hidden units; two outputs, the log wage and whether a
# man has health insurance (a linear probability model, so to speak). Both outputs are
# regressions on the *same* two units.

import numpy as np
import pandas as pd

from sklearn_ann import ANNRegressor
from sklearn_ann.tables import load_wages, make_problem, preprocessing

wages = load_wages()
X = wages[["year", "age"]]
Y = np.column_stack([wages["log_wage"], wages["health_insurance"] == "yes"])
textbook = {
    "activation": "tanh",
    "solver": "lbfgs",
    "tol": 1e-4,
    "max_iter": 2000,
    "early_stopping": False,
    "linear_skip": False,
    "n_estimators": 1,
    "random_state": 0,
}
network = ANNRegressor(hidden_layer_sizes=2, alpha=3, **textbook).fit(X, Y)
W1, W2 = network.coefs_
b1, b2 = network.intercepts_
print("from inputs to units:", W1.shape, " from units to outputs:", W2.shape)

# %%
# Predictions by hand: two regressions, a bend, two regressions.

hidden = np.tanh(X.to_numpy() @ W1 + b1)
assert np.allclose(hidden @ W2 + b2, network.predict(X))

# %%
# The diagram, with the lines as wide as the weights are large (of standardised columns,
# so that they can be compared), dashed where negative. Beside it the two units by age,
# and what the outputs make of them.

import matplotlib.pyplot as plt

from sklearn_ann.plotting import NetworkDisplay

figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), width_ratios=(1.2, 1, 1))
outputs = ("log wage", "insured")
NetworkDisplay.from_estimator(network, output_names=outputs, ax=axes[0])
axes[0].set_title("Two by two by two")

men = pd.DataFrame({"year": 2006, "age": np.arange(18, 81)})
units = np.tanh(men.to_numpy() @ W1 + b1)
for j, style in enumerate(("k-", "k--")):
    axes[1].plot(men["age"], units[:, j], style, label=f"unit {j + 1}")
axes[1].set(title="Hidden units, in 2006", xlabel="age", ylim=(-1.05, 1.05))
axes[1].legend()
wage, insured = network.predict(men).T
axes[2].plot(men["age"], wage, "C1-", label="log wage")
axes[2].set(title="Outputs, in 2006", xlabel="age", ylabel="log wage (solid)")
share = axes[2].twinx()
share.plot(men["age"], insured, "C2--")
share.set_ylabel("share insured (dashed)")
share.spines["right"].set_visible(True)
figure.tight_layout()

# %%
# More units, more layers
# -----------------------
# Now all eight columns, the log wage alone, and eleven architectures: from none to many
# hidden units in one layer, and the same number of units in two, three and four layers.
# All have the same penalty, a hundredth of the rows. Scores are out of sample, on five
# folds, and the networks are trained together.

from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline

from sklearn_ann import batched_fits

problem = make_problem(wages, target="log_wage")
architectures = [(), 1, 2, 4, 8, 16, 32, (16, 16), (8, 8, 8, 8), (32, 32), (32, 32, 32)]
folds = KFold(5, shuffle=True, random_state=0)
rows = []
for sizes in architectures:
    model = ANNRegressor(sizes, alpha=30, **{**textbook, "tol": 1e-3})
    pipeline = make_pipeline(preprocessing(problem.X), model)
    with batched_fits():
        scores = cross_validate(
            pipeline,
            problem.X,
            problem.y,
            cv=folds,
            return_train_score=True,
            return_estimator=True,
        )
    rows.append(
        {
            "hidden layers": str(sizes),
            "parameters": scores["estimator"][0][-1].n_parameters_,
            "R2 in sample": scores["train_score"].mean(),
            "R2 out of sample": scores["test_score"].mean(),
        }
    )
table = pd.DataFrame(rows).set_index("hidden layers")
table.style.format("{:.3f}", subset=["R2 in sample", "R2 out of sample"])

# %%
# One unit is worse than none: it bends, whether that fits or not. Four take what there
# is, and more of them do no harm out of sample, because the penalty holds them. More
# layers gain nothing here. Depth pays where functions are compositions of others, as in
# pictures and texts; a wage equation is a sum with a few bends and interactions.

figure, axis = plt.subplots(figsize=(7, 3.6))
places = np.arange(len(table))
axis.plot(places, table["R2 in sample"], "C0s--", label="in sample")
axis.plot(places, table["R2 out of sample"], "C1o-", label="out of sample")
axis.set_xticks(places, table.index, rotation=35, ha="right")
axis.set(ylabel="R2", title="Wages: architectures")
axis.legend()
figure.tight_layout()
