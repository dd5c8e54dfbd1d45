"""
All rows, or a few at a time
============================

A step of gradient descent needs the slope of the mean loss. *Full batch* looks at all
rows for it. *Stochastic* gradient descent looks at a few, takes the step, and looks at
a few others: each step is cheap, wrong at times, and right on average. This example
measures all three claims, and one that sounds odd: that being wrong at times can be a
merit.
"""

# %%
# Right on average
# ----------------
# Log wages of 3000 men, regressed on age. At a guess of 0 for the slope, what is the
# gradient? All rows give one answer, and a minibatch of 32 rows gives an estimate of
# it.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_ann.tables import load_wages

wages = load_wages()
x = ((wages["age"] - wages["age"].mean()) / wages["age"].std()).to_numpy()
y = (wages["log_wage"] - wages["log_wage"].mean()).to_numpy()
by_row = -y * x  # of (y - b x)^2 / 2 in b, at b = 0

rng = np.random.default_rng(0)
estimates = by_row[rng.integers(len(y), size=(5000, 32))].mean(axis=1)
print(f"all rows: {by_row.mean():.4f}")
print(f"mean of 5000 minibatches: {estimates.mean():.4f}")
print(f"share that points the wrong way: {np.mean(estimates > 0):.0%}")

# %%
# Many cheap steps
# ----------------
# The same network, the same rate, the same start; only the rows of a step differ. The
# horizontal axis counts looks at the data: in one pass the full batch takes one step,
# and minibatches of 32 take 94.

import warnings

from sklearn.exceptions import ConvergenceWarning

from sklearn_ann import ANNRegressor

X = wages[["year", "age"]]
curves = {}
for size in ("full", 300, 32, 4):
    network = ANNRegressor(
        hidden_layer_sizes=8,
        activation="tanh",
        solver="sgd",
        momentum=0,
        learning_rate_init=0.05,
        batch_size=size,
        alpha=0,
        max_iter=30,
        tol=0,
        n_iter_no_change=30,
        early_stopping=False,
        linear_skip=False,
        n_estimators=1,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # thirty passes are few
        curves[size] = network.fit(X, wages["log_wage"]).loss_curve_
    print(f"batch {size!s:>4}: loss after 30 passes {curves[size][-1]:.4f}")

# %%
# A minibatch of 4 is there first, and then does not settle: with a fixed rate its noise
# stays as it is. Rates that fall over time, or Adam, which scales each step by what
# gradients were like before, settle it.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6))
left.hist(estimates, bins=50, color="0.75")
left.axvline(0, color="k", lw=1)
left.axvline(by_row.mean(), color="C1", lw=2, label="all rows")
left.set(title="Gradients of 5000 minibatches", xlabel="gradient", yticks=[])
left.legend()
for (size, curve), style in zip(
    curves.items(), ("k-", "C0--", "C1-", "C2:"), strict=True
):
    label = "full batch" if size == "full" else f"batch of {size}"
    right.plot(range(1, 31), curve, style, label=label)
right.set(title="Loss", xlabel="looks at the data")
right.legend()
figure.tight_layout()

# %%
# A merit of being wrong
# ----------------------
# When did the Nile's yearly flow drop? A hidden unit with a steep curve is a step in
# time, and training moves the step to where the loss is low: to the structural break.
# The loss in the date of the break has several valleys. The deepest is at 1898, where
# Cobb (1978) places the break.

from statsmodels.datasets import nile

flow = nile.load_pandas().data
year, volume = flow["year"].to_numpy(), flow["volume"].to_numpy()
z = (volume - volume.mean()) / volume.std()
before, after = z[year < 1899].mean(), z[year >= 1899].mean()


def fitted(date, year):
    """A step at a date, from the early mean to the late one, and the unit behind it."""
    unit = 1 / (1 + np.exp(-np.clip((year - date) / 0.5, -50, 50)))
    return before + (after - before) * unit, unit


def gradient(date, rows):
    """Slope of half the mean squared error in the date, over some rows."""
    step, unit = fitted(date, year[rows])
    return np.mean((step - z[rows]) * (after - before) * unit * (1 - unit) * -2)


def descend(batch, seed, start=1920.0, rate=20.0, steps=2000):
    """The dates that descent visits, under a rate that falls to zero."""
    rng, dates = np.random.default_rng(seed), [start]
    for s in range(steps):
        rows = np.arange(100) if batch == "full" else rng.integers(100, size=batch)
        dates.append(dates[-1] - rate * (1 - s / steps) * gradient(dates[-1], rows))
    return np.array(dates)


all_rows, one_row = descend("full", 0), descend(1, 0)
ends = np.array([descend(1, seed)[-1] for seed in range(50)])
print(f"all rows end at {all_rows[-1]:.1f}")
slower = np.array([descend(1, seed, rate=5.0)[-1] for seed in range(50)])
for name, last in {
    "one row a step": ends,
    "the same, a quarter of the rate": slower,
}.items():
    print(
        f"{name}: {np.mean(np.abs(last - 1898.25) < 1.5):.0%} of 50 walks end at 1898"
    )

# %%
# From 1920 the full batch rolls into the nearest valley and stays, however long one
# waits. One row at a time costs a hundredth a step, is thrown out of shallow valleys,
# and comes to rest in the deep one. This is what may happen, not a promise: with a
# quarter of the rate most walks end in another valley.

dates = np.arange(1880, 1935, 0.1)
loss = [np.mean((fitted(d, year)[0] - z) ** 2) / 2 for d in dates]
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6))
left.plot(year, volume, "0.6", lw=1)
for walk, style, label in ((all_rows, "C0--", "all rows"), (one_row, "C1-", "one row")):
    level = fitted(walk[-1], year)[0] * volume.std() + volume.mean()
    left.plot(year, level, style, label=f"break found by {label}")
    right.plot(walk, np.arange(len(walk)), style, lw=1, label=label)
left.set(title="Flow of the Nile at Aswan", xlabel="year", ylabel="volume")
left.legend()
right.set(title="Where the walks were", xlabel="date of the break", ylabel="step")
right.set(xlim=(1880, 1935), ylim=(2000, 0))
valley = right.twinx()
valley.plot(dates, loss, "k", lw=1.5, alpha=0.5)
valley.set(yticks=[], ylim=(0, 1.0))
valley.annotate("loss", (1931, loss[-40]), (1927, 0.45))
right.legend(loc="lower left")
figure.tight_layout()
