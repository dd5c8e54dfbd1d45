"""
What more hidden units buy
==========================

One hidden layer with enough units can come as close as you like to any continuous
function on a bounded interval. Hornik, Stinchcombe and White (1989, Theorem 2.4) proved
it for squashing functions such as the logistic and tanh, Leshno, Lin, Pinkus and
Schocken (1993) for every activation that is no polynomial, relu among them.

The theorem says that good weights *exist*. It does not say that training finds them,
nor how many units are enough. This example keeps the two apart.
"""

# %%
# A polynomial
# ------------
# One of degree five, without any noise: 1000 rows to fit and 1000 to test, inputs
# uniform between 0 and 1.

import time
import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning

from sklearn_ann import ANNRegressor


def polynomial(x):
    return x**5 - 2 * x**3 + 6 * x**2 + 10 * x - 5


rng = np.random.default_rng(0)
x, x_test = rng.uniform(size=(2, 1000, 1))

# %%
# Networks of 1 to 500 units, each trained from five starts, in two ways that both look
# at the data 200 times: Adam in minibatches of 200 rows, as networks are usually
# trained, and L-BFGS, which uses the curvature of the loss. All other settings are the
# same and were fixed before.

UNITS, SEEDS = (1, 10, 50, 100, 500), range(5)
solvers = {
    "Adam": {"solver": "adam", "batch_size": 200, "learning_rate_init": 0.001},
    "L-BFGS": {"solver": "lbfgs", "max_fun": 100_000},
}
common = {
    "activation": "tanh",
    "alpha": 0,
    "max_iter": 200,
    "n_iter_no_change": 200,
    "early_stopping": False,
    "linear_skip": False,
    "n_estimators": 1,
}


def errors(units, target, seed, **settings):
    """Mean squared errors on the rows of the fit and on others; parameters; seconds."""
    tol = 1e-12 if settings["solver"] == "lbfgs" else 0
    network = ANNRegressor(units, **{**common, **settings}, tol=tol, random_state=seed)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 looks, then stop
        network.fit(x, target(x[:, 0]))
    seconds = time.perf_counter() - begin
    train, test = (
        np.mean((network.predict(rows) - target(rows[:, 0])) ** 2)
        for rows in (x, x_test)
    )
    return train, test, network.n_parameters_, seconds


rows = []
for solver, settings in solvers.items():
    for units in UNITS:
        found = [errors(units, polynomial, seed, **settings) for seed in SEEDS]
        train, test, parameters, seconds = (
            np.array(f) for f in zip(*found, strict=True)
        )
        rows.append(
            {
                "solver": solver,
                "units": units,
                "parameters": parameters[0],
                "train, best": train.min(),
                "train, median": np.median(train),
                "test, best": test.min(),
                "test, median": np.median(test),
                "seconds a fit": seconds.mean(),
            }
        )
table = pd.DataFrame(rows).set_index(["solver", "units"])
formats = {**dict.fromkeys(table.columns[1:5], "{:.1e}"), "seconds a fit": "{:.2f}"}
table.style.format(formats)

# %%
# What the table shows
# --------------------
# - *Test errors are nearly training errors.* There is no noise to fit, and 1000 rows
#   pin the curve down. With noise, more units would also mean more variance.
# - *With Adam the error falls from 1 to 50 units, and then no further*: 500 units are
#   no better than 50. The functions that 500 units can draw include all that 50 can, so
#   this is not the error of the *approximation*. It is that of the *optimisation*: 1000
#   steps do not arrive.
# - *With L-BFGS, which gets further, one unit is enough for an error of some
#   ten-thousandths.* On the unit interval this polynomial is nearly a piece of one
#   S-curve, so hardly anything is needed to approximate it. Here, too, 500 units end
#   above 50 after as many iterations.

one, ten = (table.loc[("L-BFGS", units), "train, best"] for units in (1, 10))
print(f"variance of the polynomial {np.var(polynomial(x)):.1f}")
print(f"L-BFGS, best of five: 1 unit {one:.0e}, 10 units {ten:.0e}")

# %%
# A function with more bends
# --------------------------
# To see the approximation error fall, take a function that one unit cannot draw: four
# half waves. Each new unit can add a bend. Best of ten starts, by L-BFGS.


def waves(x):
    return np.sin(4 * np.pi * x)


few = (1, 2, 3, 4, 5, 6, 8)
settings = {**solvers["L-BFGS"], "max_iter": 500}
by_start = np.array(
    [[errors(u, waves, seed, **settings)[1] for seed in range(10)] for u in few]
)
pd.DataFrame(
    {"best": by_start.min(axis=1), "median": np.median(by_start, axis=1)},
    index=pd.Index(few, name="units"),
).style.format("{:.1e}")

# %%
# Best and median differ by orders of magnitude: starts end in different valleys.
# ``n_init=10`` trains from ten starts as one stack and keeps the best.

import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
for solver, style in (("Adam", "C1s--"), ("L-BFGS", "C0o-")):
    part = table.loc[solver]
    left.loglog(part.index, part["test, median"], style, label=f"{solver}, median")
    left.fill_between(
        part.index, part["test, best"], part["test, median"], color=style[:2], alpha=0.2
    )
left.set_xticks(UNITS, UNITS)
left.minorticks_off()
left.set(title="Polynomial: best to median of 5 starts", xlabel="hidden units")
left.set(ylabel="mean squared error on test rows")
left.legend()
right.semilogy(few, by_start, ".", color="0.7")
right.semilogy(few, by_start.min(axis=1), "C0o-", label="best of 10 starts")
right.set(title="Four half waves, by L-BFGS", xlabel="hidden units")
right.legend()
figure.tight_layout()

# %%
# The curves behind the right picture, for the best start of some sizes:

grid = np.linspace(0, 1, 300)[:, None]
figure, axes = plt.subplots(1, 4, figsize=(10, 2.6), sharey=True)
for axis, units in zip(axes, (1, 2, 3, 5), strict=True):
    best = int(by_start[few.index(units)].argmin())
    network = ANNRegressor(
        units, **{**common, **settings}, tol=1e-12, random_state=best
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(x, waves(x[:, 0]))
    axis.plot(grid, waves(grid), "0.7", lw=3)
    axis.plot(grid, network.predict(grid), "C0--")
    axis.set(title=f"{units} unit{'s' if units > 1 else ''}", xlabel="x")
figure.tight_layout()
