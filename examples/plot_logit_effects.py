"""
Effects of a logit, and of a network
====================================

The coefficients of a logit are in log odds, which nobody reads; what is reported are
average marginal effects on the probability. They exist for a network as well, with
standard errors, and so the two can stand side by side.

The data are those of Fair (1978): 6366 married women, asked by a magazine in 1974, and
whether they had an affair.
"""

# %%
# The logit
# ---------

import numpy as np
from statsmodels.datasets import fair

from sklearn_ann import ANNClassifier, average_marginal_effects

women = fair.load_pandas().data
X = women[["rate_marriage", "age", "yrs_married", "children", "religious", "educ"]]
y = (women["affairs"] > 0).astype(int)
logit = ANNClassifier(hidden_layer_sizes=()).fit(X, y)
of_logit = average_marginal_effects(logit, X, y)
print(of_logit)

# %%
# The same as statsmodels', whose standard errors are compared in their classical form:

from statsmodels.api import Logit, add_constant

theirs = Logit(y, add_constant(X)).fit(disp=0).get_margeff()
classical = average_marginal_effects(logit, X, y, vcov="classical")
assert np.allclose(classical.estimate, theirs.margeff, rtol=1e-5)
assert np.allclose(classical.std_error, theirs.margeff_se, rtol=1e-5)

# %%
# The network
# -----------
# A few smooth units, a mild penalty (a thousandth of the rows), and trained until it
# has converged: then the standard errors of White (1982, 1989) hold for its effects,
# and the table says that it chose them (:doc:`/effects`). They are for what the
# penalised fit aims at. Nothing is said about its weights, which are not identified.

network = ANNClassifier(
    hidden_layer_sizes=4,
    activation="tanh",
    solver="lbfgs",
    alpha=len(y) / 1000,
    tol=1e-8,
    max_iter=5000,
    early_stopping=False,
    linear_skip=False,
    n_estimators=1,
    random_state=0,
).fit(X, y)
of_network = average_marginal_effects(network, X, y)
print(of_network)

# %%
# Do the two differ? Both were estimated from the same rows, so the difference has its
# own standard error, from both together:

print(of_network.difference(of_logit))

# %%
# By group
# --------
# The effect of a year of marriage, for each rating of the marriage (1 very poor to 5
# very good), with a test of the differences. A logit has such differences too, but only
# those that its curve makes: its effect is largest where the probability is near one
# half.

import pandas as pd

by_rating = {
    name: average_marginal_effects(
        model, X, y, features="yrs_married", by="rate_marriage"
    )
    for name, model in {"logit": logit, "network": network}.items()
}
frames = {name: effects.to_frame() for name, effects in by_rating.items()}
table = pd.DataFrame(
    {name: frame["estimate"].to_numpy() for name, frame in frames.items()},
    index=pd.Index(sorted(X["rate_marriage"].unique()), name="rating"),
)
table.round(4)

# %%

import matplotlib.pyplot as plt

from sklearn_ann.plotting import MarginalEffectsDisplay

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
both = {"logit": of_logit, "network": of_network}
MarginalEffectsDisplay.from_result(both, ax=left)
marks = {"logit": ("ko", -0.12), "network": ("C1s", 0.12)}
for name, frame in frames.items():
    mark, shift = marks[name]
    half = (frame["conf_high"] - frame["conf_low"]) / 2
    right.errorbar(table.index + shift, frame["estimate"], half, fmt=mark, capsize=3)
right.axhline(0, color="0.7", lw=1)
right.set(title="Effect of a year of marriage", xlabel="rating of the marriage")
figure.tight_layout()

# %%
# And out of sample?

from sklearn_ann import compare

print(compare({"logit": logit, "network": network}, X, y, cv=5))

# %%
# Out of sample the differences lie within their errors: to predict, the logit will do.
# Its effects have the signs and the order of the network's. One differs by more than
# its error: a year of marriage has a larger effect in the network, above all in
# marriages that are neither poor nor very good.
