"""
A hidden layer needs a bend
===========================

Stack regressions, let the fitted values of some be the regressors of the next, and you
have a network with a hidden layer. This example stacks *linear* regressions and finds
that nothing is gained: a linear function of linear functions is a linear function. What
makes a hidden layer worth its name is the bend between the layers, the *activation*.

The data are the wages of 3000 men that come with the package.
"""

# %%
# Without a bend
# --------------
# Eight hidden units with ``activation="identity"``, which is none: 33 parameters. The
# penalty is switched off, so that nothing stands between the network and least squares.

from sklearn_ann import ANNRegressor
from sklearn_ann.tables import load_wages

wages = load_wages()
X, y = wages[["year", "age"]], wages["log_wage"]
plain = {
    "solver": "lbfgs",
    "alpha": 0,
    "tol": 1e-9,
    "max_iter": 2000,
    "early_stopping": False,
    "linear_skip": False,
    "n_estimators": 1,
    "random_state": 0,
}
flat = ANNRegressor(hidden_layer_sizes=8, activation="identity", **plain).fit(X, y)
ols = ANNRegressor(hidden_layer_sizes=()).fit(X, y)
print(f"parameters: {flat.n_parameters_} and {ols.n_parameters_}")

# %%
# It collapses
# ------------
# With weights W1 and constants b1 in the first layer, W2 and b2 in the second, the
# network says
#
# .. code-block:: text
#
#     y = (X W1 + b1) W2 + b2 = X (W1 W2) + (b1 W2 + b2)
#
# so the product of the two tables of weights is a vector of coefficients:

import numpy as np
import pandas as pd

W1, W2 = flat.coefs_
b1, b2 = flat.intercepts_
slopes, constant = (W1 @ W2)[:, 0], (b1 @ W2 + b2)[0]
pd.DataFrame(
    {
        "collapsed network": [constant, *slopes],
        "OLS": [ols.intercept_, *ols.coef_],
    },
    index=["constant", "year", "age"],
).round(5)

# %%
# The estimator knows this: where the whole map is linear it has ``coef_`` and
# ``intercept_``.

assert np.allclose(slopes, flat.coef_)
print(f"age: {flat.coef_[1]:.6f} collapsed, {ols.coef_[1]:.6f} OLS")

# %%
# More layers change nothing. Here are three of them, 24 hidden units in all:

deep = ANNRegressor((8, 8, 8), activation="identity", **plain).fit(X, y)
print(f"three layers, {deep.n_parameters_} parameters: age {deep.coef_[1]:.6f}")

# %%
# With a bend
# -----------
# The same eight units, with ``tanh`` after each of them. Now the product of the weights
# means nothing, and there is no ``coef_`` any more.

bent = ANNRegressor(8, activation="tanh", **{**plain, "alpha": 3, "tol": 1e-5})
bent.fit(X, y)
print("a vector of coefficients?", hasattr(bent, "coef_"))
for name, model in {"OLS": ols, "flat": flat, "bent": bent}.items():
    print(f"{name:5} R2 in the sample {model.score(X, y):.3f}")

# %%
# What each of the eight units contributes to the log wage, as age varies, adds up to
# the curve on the right. Without a bend all contributions are lines, and so is their
# sum, which lies on OLS.

import matplotlib.pyplot as plt

men = pd.DataFrame({"year": 2006, "age": np.arange(18, 81)})


def contributions(network, activation):
    """What each hidden unit adds to the prediction, less its mean: (rows, units)."""
    hidden = activation(men.to_numpy() @ network.coefs_[0] + network.intercepts_[0])
    parts = hidden * network.coefs_[1][:, 0]
    return parts - parts.mean(axis=0)


figure, axes = plt.subplots(1, 3, figsize=(10, 3.4))
axes[0].plot(men["age"], contributions(flat, lambda z: z), color="0.6", lw=1)
axes[0].set(title="Eight units without bend", ylabel="contribution to the log wage")
axes[1].plot(men["age"], contributions(bent, np.tanh), color="0.6", lw=1)
axes[1].set(title="Eight units with tanh")
mean_wage = wages.groupby("age")["log_wage"].mean()
axes[2].plot(mean_wage.index, mean_wage, ".", color="0.7", label="mean of an age")
axes[2].plot(men["age"], ols.predict(men), "k:", label="OLS")
axes[2].plot(men["age"], flat.predict(men), "C0--", label="without bend")
axes[2].plot(men["age"], bent.predict(men), "C1-", label="with tanh")
axes[2].set(title="Their sums", ylabel="log wage", ylim=(4, 5.2))
axes[2].legend(loc="lower center", fontsize="small")
for axis in axes:
    axis.set_xlabel("age")
figure.tight_layout()
