"""
How sure is a network?
======================

Three questions hide in this one. How much does the curve depend on the *start* of
training? How much on the *sample*? And how far from the curve do *outcomes* lie? Each
has its own answer: an ensemble, a bootstrap, a prediction interval.

The data are Engel's (1857): income and expenditure on food of 235 Belgian households.
Expenditure rises less than in proportion with income, and spreads.
"""

# %%
# The start: an ensemble
# ----------------------
# Eight networks that differ in nothing but their seed, trained by minibatches and
# stopped early, each on rows that it holds out itself. ``n_estimators=8`` trains them
# as one stack and predicts their mean; the members are in ``estimators_``.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from statsmodels.datasets import engel

from sklearn_ann import ANNRegressor

households = engel.load_pandas().data
X, y = households[["income"]], households["foodexp"]
ensemble = ANNRegressor(
    hidden_layer_sizes=16,
    activation="tanh",
    solver="adamw",
    learning_rate_init=0.01,
    batch_size=32,
    max_iter=500,
    early_stopping=True,
    linear_skip=False,
    n_estimators=8,
    random_state=0,
).fit(X, y)
incomes = pd.DataFrame({"income": np.linspace(400, 3000, 80)})
members = np.array([member.predict(incomes) for member in ensemble.estimators_])
spread = members.std(axis=0, ddof=1)
for income in (500, 1000, 3000):
    over_seeds = np.interp(income, incomes["income"], spread)
    print(f"income {income:4}: standard deviation over seeds {over_seeds:.0f} francs")

# %%
# How the members were trained: each stops when the loss on its own held-out rows has
# not fallen for a while, and keeps its best epoch.

from sklearn_ann.plotting import LossCurveDisplay

losses = LossCurveDisplay.from_estimator(ensemble, log_scale=True)

# %%
# Members agree where there are many households and differ where there are few. One
# network against the mean of eight, out of sample:

from sklearn.model_selection import KFold, cross_val_score

folds = KFold(10, shuffle=True, random_state=0)
error = {}
for size in (1, 8):
    model = ensemble.set_params(n_estimators=size)
    scores = cross_val_score(model, X, y, cv=folds, scoring="neg_mean_squared_error")
    error[size] = np.sqrt(-scores.mean())
    print(f"networks: {size}, root mean squared error out of sample: {error[size]:.1f}")

# %%
# The sample: a bootstrap
# -----------------------
# OLS has a confidence band by formula. For a curve, refit the network on 200 samples of
# the households, drawn with replacement, all of them as one stack. The networks are
# smooth, small and converged.

from sklearn_ann import bootstrap_fits

smooth = ANNRegressor(
    hidden_layer_sizes=3,
    activation="tanh",
    solver="lbfgs",
    alpha=len(y) / 100,
    max_iter=2000,
    early_stopping=False,
    linear_skip=False,
    n_estimators=1,
    random_state=0,
)
replicates = bootstrap_fits(smooth, X, y, 200, random_state=0)

# %%
# Outcomes: a prediction interval
# -------------------------------
# A network of two quantiles, widened on households that it was not fitted to until nine
# in ten lie inside: conformalised quantile regression.

from sklearn_ann import ConformalRegressor

quantiles = ANNRegressor(
    hidden_layer_sizes=4,
    activation="tanh",
    loss="quantile",
    quantile=(0.05, 0.95),
    solver="adamw",
    alpha=len(y) / 1000,
    learning_rate="adaptive",
    learning_rate_init=0.01,
    tol=1e-5,
    max_iter=1000,
    early_stopping=False,
    linear_skip=False,
    n_estimators=1,
    random_state=0,
)
conformal = ConformalRegressor(quantiles, random_state=0).fit(X, y)
interval = conformal.predict_interval(incomes, conf_level=0.9)

inside = []
for train, test in folds.split(X):
    fold = ConformalRegressor(quantiles, random_state=0).fit(
        X.iloc[train], y.iloc[train]
    )
    bottom, top = fold.predict_interval(X.iloc[test], conf_level=0.9).T
    inside.append(((bottom <= y.iloc[test]) & (y.iloc[test] <= top)).mean())
print(f"share of left-out households inside: {np.mean(inside):.0%}")

# %%
# The pictures
# ------------

from sklearn_ann.plotting import PartialEffectDisplay

figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), sharey=True)
for axis in axes:
    axis.plot(X["income"], y, ".", color="0.75", ms=4)
    axis.set(xlabel="income", xlim=(350, 3050), ylim=(200, 2100))
axes[0].plot(incomes, members.T, color="C0", lw=0.7)
axes[0].plot(incomes, members.mean(axis=0), "k", lw=2)
axes[0].set(title="Eight starts, and their mean", ylabel="expenditure on food")
PartialEffectDisplay.from_estimator(
    smooth.fit(X, y),
    X,
    "income",
    replicates=replicates,
    grid=incomes["income"],
    ax=axes[1],
)
axes[1].set_title("The mean, with its band", pad=22)
axes[1].set_ylabel("")
axes[2].fill_between(incomes["income"], *interval.T, color="C2", alpha=0.3)
axes[2].plot(incomes, interval, "C2", lw=1)
axes[2].set(title="90% interval of outcomes")
figure.tight_layout()

# %%
# The band in the middle is about the mean of households with an income, and shrinks as
# the sample grows; the interval on the right is about a household, and does not.
